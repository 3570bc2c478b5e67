package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"egovmon/agent/check/kinds"
	"egovmon/agent/daemon"
	"egovmon/agent/durable"
	"egovmon/agent/host"
	"egovmon/agent/plan"
	"egovmon/agent/push"
	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/exporter"
)

const (
	saveEvery  = 10 * time.Second
	stopWithin = 5 * time.Second
	ownAgain   = 5 * time.Second // until the built-in agent tries again while the log is held
)

func runRun(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "run" {
		args = args[1:]
	}
	fs := newFlags("run", "Starts the centre of a district with everything embedded: time series, history, evidence, board, and an agent for this\n"+
		"machine. Without options it takes the sample profile and keeps its state in $XDG_STATE_HOME/egovmon.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	file := fs.String("config", "", "configuration `FILE`; default collector.yaml in the state folder, which may be missing")
	prof := fs.String("profile", "", "folder `DIR` of the district's profile; default the sample in the program")
	listen := fs.String("listen", "", "`ADDR` of board, PromQL API and /metrics; default "+defaultListen+"; port 0 takes a free one")
	agents := fs.String("agents", "", "`ADDR` for agents; default "+defaultAgents+"; port 0 takes a free one")
	verbose := fs.Bool("v", false, "log more")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	s, err := newSetup(*data, *file, stderr, *verbose)
	if err != nil {
		fmt.Fprintf(stderr, "collector: %v\n", err)
		return exitUsage
	}
	overrule(&s.config.Profile, *prof, "")
	if s.config.Profile != "" {
		if s.config.Profile, err = filepath.Abs(s.config.Profile); err != nil {
			fmt.Fprintf(stderr, "collector: %v\n", err)
			return exitUsage
		}
	}
	overrule(&s.config.Listen, *listen, defaultListen)
	overrule(&s.config.Agents, *agents, defaultAgents)
	if _, err := openProfile(s.config.Profile); err != nil {
		fmt.Fprintf(stderr, "collector: %v\n", err)
		return exitUsage
	}
	if err := serveCenter(ctx, s, stdout); err != nil {
		fmt.Fprintf(stderr, "collector: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// overrule puts a flag's value over the configuration's, and the default where both are silent.
func overrule(dst *string, flag, def string) {
	if flag != "" {
		*dst = flag
	}
	if *dst == "" {
		*dst = def
	}
}

func newSetup(data, file string, stderr io.Writer, verbose bool) (setup, error) {
	dir, err := dataDir(data)
	if err != nil {
		return setup{}, err
	}
	if err := durable.CheckOwner(dir); err != nil {
		return setup{}, err
	}
	cfg, err := loadConfig(dir, file)
	if err != nil {
		return setup{}, err
	}
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	return setup{dir: dir, config: cfg, log: log, now: time.Now, build: exporter.ThisBuild()}, nil
}

// serveCenter opens the centre and serves until ctx ends.
func serveCenter(ctx context.Context, s setup, stdout io.Writer) (err error) {
	c, err := openCenter(ctx, s)
	if err != nil {
		return err
	}
	defer func() {
		if e := c.close(); err == nil {
			err = e
		}
	}()
	if err := s.keepLast(); err != nil {
		return err
	}
	agents, err := net.Listen("tcp", s.config.Agents)
	if err != nil {
		return fmt.Errorf("%s for agents: %w; name another address with --agents", s.config.Agents, err)
	}
	defer agents.Close()
	pages, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("%s for the board: %w; name another address with --listen", s.config.Listen, err)
	}
	defer pages.Close()
	acc, err := access.New(access.Options{Dir: s.dir, Now: s.now, Hosts: c.names(), Logger: s.log, Log: c.store})
	if err != nil {
		return err
	}
	if err := c.openAlerts(ctx); err != nil {
		return err
	}
	if err := c.openFleet(); err != nil {
		return err
	}
	c.params["collector.agents"] = dialable(agents.Addr())
	var own lateAgent
	shown := &metrics{c: c, own: &own, plans: map[string]*plan.Plan{}}
	web, secured, err := c.web(acc, shown, pages)
	if err != nil {
		return err
	}
	base := "http://" + dialable(pages.Addr())
	if web.TLSConfig != nil {
		base = "https://" + dialable(pages.Addr())
	}
	if err := c.announce(acc, base, stdout); err != nil {
		return err
	}
	defer os.Remove(filepath.Join(s.dir, runFile))
	self, _ := c.district().CollectorMachine(c.now())
	wait, hold := c.settling(self.ID)
	if hold {
		c.store.Hold()
	}
	g, ctx := errgroup.WithContext(ctx)
	if hold {
		g.Go(func() error { return c.settle(ctx, self.ID, wait) })
	}
	g.Go(func() error { return c.intake.Run(ctx) })
	g.Go(func() error { return c.series.Run(ctx) })
	g.Go(func() error { return c.follow(ctx) })
	g.Go(func() error { return c.saveCursor(ctx) })
	g.Go(func() error { return c.rollUp(ctx) })
	g.Go(func() error { return (&selfScrape{c: c, gather: shown.gatherer()}).run(ctx) })
	g.Go(func() error { return c.observe(ctx) })
	g.Go(func() error { return c.watchFleet(ctx) })
	g.Go(func() error { return c.cosigned.Run(ctx) })
	g.Go(func() error { return c.draftReports(ctx) })
	g.Go(func() error { return c.inquire(ctx, c.inquiry) })
	if c.stamper != nil {
		g.Go(func() error { return c.stamper.Run(ctx) })
	}
	g.Go(func() error { return c.alerts.Run(ctx) })
	g.Go(func() error { return c.watcher.Run(ctx) })
	g.Go(func() error {
		return serve(ctx, c.intake.HTTP(), func(h *http.Server) error { return h.ServeTLS(agents, "", "") })
	})
	g.Go(func() error { return serve(ctx, web, func(h *http.Server) error { return h.Serve(secured) }) })
	g.Go(func() error { return c.runOwnAgent(ctx, &own, "https://"+dialable(agents.Addr())) })
	return g.Wait()
}

// serve answers until ctx ends, and then gives what is under way a moment.
func serve(ctx context.Context, h *http.Server, listen func(*http.Server) error) error {
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		if h.Shutdown(ctx) != nil {
			_ = h.Close()
		}
	})
	defer stop()
	if err := listen(h); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// dialable is where this machine itself reaches a listener: loopback for one on every address.
func dialable(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok || !t.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(t.Port))
}

// announce prints where everything is, and a one-time link to the board.
func (c *center) announce(acc *access.Access, base string, w io.Writer) error {
	b, err := json.Marshal(running{Board: base})
	if err != nil {
		return err
	}
	if err := durable.Replace(filepath.Join(c.dir, runFile), b); err != nil {
		return err
	}
	link, err := acc.Link(base)
	if err != nil {
		return err
	}
	vi, en := words.VI, words.EN
	p := c.district()
	name := unitName(p, p.District, c.now())
	fmt.Fprintf(w, "%s\n%s\n\n", words.Say(vi, "collector.ready", name.VI), words.Say(en, "collector.ready", cmp.Or(name.EN, name.VI)))
	fmt.Fprintf(w, "  %-24s %s\n", words.Say(vi, "collector.board"), link)
	fmt.Fprintf(w, "  %-24s %s/api/v1/   (%s %s)\n", "PromQL", base, words.Say(vi, "collector.token"), filepath.Join(c.dir, tokenFile))
	fmt.Fprintf(w, "  %-24s %s/metrics\n", "Prometheus", base)
	fmt.Fprintf(w, "  %-24s %s\n", words.Say(vi, "collector.agents"), c.agentsURL())
	if c.intake.RecoveryKey() == "" {
		fmt.Fprintf(w, "  %-24s collector recovery-key --data %s\n", words.Say(vi, "collector.recovery"), c.dir)
	}
	fmt.Fprintf(w, "  %-24s %s\n\n%s\n%s\n", words.Say(vi, "collector.state"), c.dir, words.Say(vi, "collector.stop"), words.Say(en, "collector.stop"))
	return nil
}

// saveCursor keeps the cursor of the series.
func (c *center) saveCursor(ctx context.Context) error {
	t := time.NewTicker(saveEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := c.cursor.save(); err != nil {
				c.log.Error("the cursor of the series cannot be kept", "err", err)
			}
		}
	}
}

// A lateAgent is the agent of this machine, once it runs.
type lateAgent struct {
	mu sync.Mutex
	d  *daemon.Daemon
}

func (l *lateAgent) set(d *daemon.Daemon) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.d = d
}

func (l *lateAgent) get() *daemon.Daemon {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.d
}

// runOwnAgent enrols this machine through the real protocol, if it is not yet, and runs its agent.
func (c *center) runOwnAgent(ctx context.Context, own *lateAgent, url string) error {
	for {
		d, err := c.ownAgent(ctx, url)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			own.set(d)
			return d.Run(ctx)
		}
		if _, over := c.store.Overtaken(); !over && !c.store.Held() {
			return fmt.Errorf("the agent for this machine: %w", err)
		}
		c.log.Warn("the agent for this machine waits for the log", "err", err) // after a restore it enrols anew
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(ownAgain):
		}
	}
}

func (c *center) ownAgent(ctx context.Context, url string) (*daemon.Daemon, error) {
	m, ok := c.district().CollectorMachine(c.now())
	if !ok {
		return nil, errors.New("the profile has no machine for the collector")
	}
	dir := filepath.Join(c.dir, agentDir)
	id, err := host.LoadIdentity(dir)
	known, _ := c.registry.Machine(m.ID)
	switch {
	case errors.Is(err, host.ErrNotEnrolled), err == nil && (id.Machine != m.ID || id.District != c.district().District || known.ID == ""):
		inv, err := c.registry.NewToken(m.Unit, m.ID)
		if err != nil {
			return nil, err
		}
		if id, err = push.Enrol(ctx, url, inv.Token.String(), push.EnrolOptions{Build: c.build.Version, Now: c.now}); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	id.Collector = url
	if err := id.Save(dir); err != nil {
		return nil, err
	}
	if err := c.planMachines(ctx); err != nil {
		c.log.Error("not every machine has a new plan", "err", err)
	}
	return daemon.Open(daemon.Options{Dir: dir, Identity: id, Kinds: kinds.Table(), Config: daemon.Config{Listen: "-"},
		Build: c.build, Log: c.log.With("agent", m.ID), Now: c.now})
}
