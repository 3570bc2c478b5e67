//go:build linux

package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"egovmon/agent/durable"
	"egovmon/deploy/lab/district"
	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/town"
)

const (
	portBoard  = 19090
	portAgents = 19443
	portOffice = 19099
)

// centrePlace is where the collector runs.
func (s *Stage) centrePlace() servers.Place {
	p := servers.Place{Dir: filepath.Join(s.cfg.Dir, "collector"), Netns: s.netns(town.District), IP: loopback}
	return p
}

// openCentre starts the collector, the office that it tells, and the way to its board.
func (s *Stage) openCentre() error {
	p := s.centrePlace()
	board, agents := fmt.Sprintf("127.0.0.1:%d", portBoard), ""
	if s.cfg.Loopback {
		l, err := net.Listen("tcp", s.cfg.Listen)
		if err != nil {
			return fmt.Errorf("%w: name another address for the board with --listen", err)
		}
		_ = l.Close()
		board, agents = s.cfg.Listen, fmt.Sprintf("127.0.0.1:%d", servers.FreePorts(loopback)(portAgents))
	} else {
		agents = fmt.Sprintf("%s:%d", s.town.CollectorAddr(), portAgents)
		l, err := net.Listen("tcp", s.cfg.Listen)
		if err != nil {
			return fmt.Errorf("%w: name another address for the board with --listen", err)
		}
		s.forward(p, l, board)
	}
	log := s.logTo("collector")
	s.centre = &program{name: "collector", trace: s.trace, ended: s.unexpected, make: func() *exec.Cmd {
		cmd := servers.Command(s.ctx, p, filepath.Join(s.cfg.Bin, "collector"), "run", "--data", p.Dir, "--profile", filepath.Join(s.cfg.Dir, "profile"), "--listen", board, "--agents", agents)
		cmd.Stdout, cmd.Stderr = log, log
		return cmd
	}}
	s.api = &api{dir: p.Dir, agents: "https://" + agents, client: &http.Client{Timeout: 10 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return p.DialContext(ctx, network, board)
		}}}}
	if err := s.centre.start(); err != nil {
		return err
	}
	s.stops = append(s.stops, func() error { return s.centre.stop(syscall.SIGTERM) })
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	s.centre.mu.Lock()
	proc := s.centre.proc
	s.centre.mu.Unlock()
	if proc != nil {
		go func() {
			select {
			case <-proc.Done():
				cancel(fmt.Errorf("the collector ended: see %s", filepath.Join(s.cfg.Dir, "log", "collector.log")))
			case <-ctx.Done():
			}
		}()
	}
	return s.api.wait(ctx)
}

// forward lets this machine's loopback reach a page that is in the district's namespace.
func (s *Stage) forward(p servers.Place, l net.Listener, to string) {
	stop := context.AfterFunc(s.ctx, func() { _ = l.Close() })
	s.stops = append(s.stops, func() error { stop(); return ignoreClosed(l.Close()) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go join(s.ctx, c, func(ctx context.Context) (net.Conn, error) { return p.DialContext(ctx, "tcp", to) })
		}
	}()
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// join copies between a connection and another one until either ends.
func join(ctx context.Context, c net.Conn, dial func(context.Context) (net.Conn, error)) {
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d, err := dial(ctx)
	if err != nil {
		return
	}
	defer d.Close()
	stop := context.AfterFunc(ctx, func() { _, _ = c.Close(), d.Close() })
	defer stop()
	go func() {
		defer cancel()
		_, _ = io.Copy(d, c)
	}()
	_, _ = io.Copy(c, d)
}

// An api speaks to the collector's board.
type api struct {
	dir    string
	agents string // URL for agents
	client *http.Client
}

// do sends a request and decodes the answer.
func (a *api) do(ctx context.Context, method, path string, in, out any) error {
	token, err := durable.Read(filepath.Join(a.dir, "local.token"), 1<<10)
	if err != nil {
		return err
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, bytes.TrimSpace(b))
	}
	return json.Unmarshal(b, out)
}

// wait returns when the collector answers.
func (a *api) wait(ctx context.Context) error {
	return until(ctx, "the collector answers", func() error { return a.do(ctx, http.MethodGet, "/api/board", nil, &struct{}{}) })
}

// until asks again and again until ask returns nil, or for as long as a start may take.
func until(ctx context.Context, what string, ask func() error) error {
	limit := time.Now().Add(readyWithin)
	for {
		err := ask()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(limit):
			return fmt.Errorf("waited %s until %s: %w", readyWithin, what, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Link makes a fresh one-time link to the board, as this machine reaches it.
func (s *Stage) Link(ctx context.Context) (string, error) {
	var a struct {
		Link string `json:"link"`
	}
	if err := s.api.do(ctx, http.MethodPost, "/api/local/link", struct{}{}, &a); err != nil {
		return "", err
	}
	u, err := url.Parse(a.Link)
	if err != nil {
		return "", err
	}
	u.Host = s.cfg.Listen
	return u.String(), nil
}

// openAgents enrols every machine with a token and starts the agents.
func (s *Stage) openAgents() error {
	g, ctx := errgroup.WithContext(s.ctx)
	g.SetLimit(4)
	for _, u := range s.units {
		if err := s.prepare(u); err != nil {
			return err
		}
		g.Go(func() error { return s.enrol(ctx, u) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	// All are started at once, when the collector has plans for them.
	s.stops = append(s.stops, s.stopAgents)
	for _, u := range s.units {
		if err := u.agent.start(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) stopAgents() error {
	var g errgroup.Group
	for _, u := range s.units {
		if u.agent != nil {
			g.Go(func() error { return u.agent.stop(syscall.SIGTERM) })
		}
	}
	return g.Wait()
}

// prepare makes a machine's folders. Its systemctl says whether the machine is being switched off.
func (s *Stage) prepare(u *unit) error {
	bin := filepath.Join(s.cfg.Dir, "bin", u.Machine)
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	state := filepath.Join(bin, "state")
	if err := os.WriteFile(state, []byte("running\n"), 0o644); err != nil {
		return err
	}
	script := fmt.Sprintf("#!/bin/sh\n# The machine's own systemctl: an agent that is told to stop asks it why.\ncat '%s'\n", state)
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(script), 0o755); err != nil {
		return err
	}
	p := servers.Place{Dir: u.dir, Netns: s.netns(u.pc)}
	log := s.logTo(u.Machine)
	u.agent = &program{name: u.Machine, trace: s.trace, ended: s.unexpected, make: func() *exec.Cmd {
		cmd := servers.Command(s.ctx, p, filepath.Join(s.cfg.Bin, "agent"), "run", "--data", u.data(), "--listen", "-")
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		if u.token != nil {
			cmd.Env = append(cmd.Env, "SOFTHSM2_CONF="+u.token.Settings)
		}
		cmd.Stdout, cmd.Stderr = log, log
		return cmd
	}}
	return nil
}

// data is where a machine's agent keeps its state: on the machine's own disk.
func (u *unit) data() string { return filepath.Join(u.dir, "egovmon") }

// secrets is the folder of the agent's secrets.
func (u *unit) secrets() string { return filepath.Join(u.data(), "secrets") }

func (s *Stage) enrol(ctx context.Context, u *unit) error {
	var a struct {
		Token string `json:"token"`
	}
	if err := s.api.do(ctx, http.MethodPost, "/api/local/token", map[string]string{"unit": u.ID, "machine": u.Machine}, &a); err != nil {
		return err
	}
	cmd := servers.Command(ctx, servers.Place{Dir: u.dir, Netns: s.netns(u.pc)}, filepath.Join(s.cfg.Bin, "agent"), "enrol", "--data", u.data(), "--collector", s.api.agents, "--token", "-")
	cmd.Stdin = strings.NewReader(a.Token)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	p, err := servers.Start(cmd)
	if err == nil {
		<-p.Done()
		err = p.Err()
	}
	if err != nil {
		return fmt.Errorf("enrol %s: %w: %.300s", u.Machine, err, bytes.TrimSpace(said.Bytes()))
	}
	if s.ends.LogIn == "" {
		return nil
	}
	dir := u.secrets()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{district.LogInSecret: probePassword, district.BoxSecret: probePassword, district.LoopSecret: loopKey, district.PINSecret: probePassword, district.APSecret: probePassword} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// unexpected notes that a program ended by itself.
func (s *Stage) unexpected(name string, err error) {
	if s.ctx.Err() != nil {
		return
	}
	text := "ended"
	if err != nil {
		text = err.Error()
	}
	s.cfg.Log.Error("a program of the lab ended by itself", "program", name, "err", err)
	s.script.write(Line{What: "program-ended", Program: name, Detail: text})
}

// waitReady waits until every service is seen to work from every unit that watches it.
func (s *Stage) waitReady() error {
	return until(s.ctx, "every service works", func() error {
		b, err := s.Board(s.ctx)
		if err != nil {
			return err
		}
		return b.Ready(len(s.units))
	})
}

// A Board is what the collector's board shows, as far as the lab asks.
type Board struct {
	Cells     []Cell     `json:"cells"`
	Incidents []Incident `json:"incidents"`
	Agents    []struct {
		Machine  string    `json:"machine"`
		Received time.Time `json:"received"`
	} `json:"agents"`
}

// A Cell is how one service is, as a whole (Unit is "") or as one unit has it.
type Cell struct {
	Service string    `json:"service"`
	Unit    string    `json:"unit"`
	State   string    `json:"state"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since"`
}

// An Incident is one that the collector has opened.
type Incident struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`
	Service  string    `json:"service"`
	Unit     string    `json:"unit"`
	Through  string    `json:"through"`
	State    string    `json:"state"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Opened   time.Time `json:"opened"`
	Closed   time.Time `json:"closed"`
	Services []string  `json:"services"`
	Units    []string  `json:"units"`
	Joined   int       `json:"joined"`
	Cause    struct {
		Kind    string `json:"kind"`
		Service string `json:"service"`
		Unit    string `json:"unit"`
		Name    string `json:"name"`
		Owner   string `json:"owner"`
	} `json:"cause"`
	Ack struct {
		User string    `json:"user"`
		At   time.Time `json:"at"`
		Note string    `json:"note"`
	} `json:"ack"`
}

// Board asks the collector for what its board shows.
func (s *Stage) Board(ctx context.Context) (Board, error) {
	var b Board
	err := s.api.do(ctx, http.MethodGet, "/api/board", nil, &b)
	return b, err
}

// A Seen is the latest result of one check of one machine. The zero value is none yet.
type Seen struct {
	State  string    `json:"state"`
	Reason string    `json:"reason"`
	Detail string    `json:"detail"`
	Slot   time.Time `json:"slot"`
}

// Check asks the collector for what a machine's check saw last.
func (s *Stage) Check(ctx context.Context, machine, id string) (last Seen, err error) {
	var d struct {
		Entries []struct {
			Result *Seen `json:"result"`
		} `json:"entries"`
	}
	if err := s.api.do(ctx, http.MethodGet, "/api/check/"+url.PathEscape(machine)+"/"+url.PathEscape(id), nil, &d); err != nil {
		return last, err
	}
	for _, e := range d.Entries {
		if e.Result != nil && e.Result.Slot.After(last.Slot) {
			last = *e.Result
		}
	}
	return last, nil
}

// Ready says what does not work yet; nil when every service does, as a whole and in every unit.
func (b Board) Ready(units int) error {
	whole, heard := 0, map[string]bool{}
	for _, c := range b.Cells {
		if c.Reason == "not_configured" || c.Reason == "not_planned" && c.Unit != "" {
			continue
		}
		if c.State != "up" && c.State != "degraded" {
			return fmt.Errorf("%s %s is %s (%s)", c.Service, c.Unit, c.State, c.Reason)
		}
		if c.Unit == "" {
			whole++
		} else {
			heard[c.Unit] = true
		}
	}
	if whole == 0 || len(heard) < units {
		return fmt.Errorf("%d of %d units are heard", len(heard), units)
	}
	return nil
}
