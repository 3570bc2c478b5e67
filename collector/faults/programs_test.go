package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/daemon"
)

// TestMain takes the programs away that the tests have built.
func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := builtOnce(false); err == nil && dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// builtOnce builds both programs at the first call with want, and returns the folder that they are in.
var builtOnce = func() func(want bool) (string, error) {
	var once sync.Once
	var dir string
	var err error
	return func(want bool) (string, error) {
		if want {
			once.Do(func() { dir, err = build("") })
		}
		return dir, err
	}
}()

// build builds both programs, with an overlay of sources if one is named.
func build(overlay string) (string, error) {
	dir, err := os.MkdirTemp("", "egovmon-faults-")
	if err != nil {
		return "", err
	}
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, "egovmon/agent", "egovmon/collector")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("go build: %w: %.2000s", err, out)
	}
	return dir, nil
}

// programs returns the folder with both programs.
func programs(t *testing.T) string {
	t.Helper()
	dir, err := builtOnce(true)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// A process is a program under way.
type process struct {
	cmd  *exec.Cmd
	logs *notebook
	done chan struct{}
	err  error
}

// launch starts a program. Each line that it prints is given to said.
func launch(t *testing.T, logs *notebook, said func(line string), name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), logs: logs, done: make(chan struct{})}
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			fmt.Fprintf(logs, "%s: %s\n", filepath.Base(name), lines.Text())
			said(lines.Text())
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	go func() {
		p.err = p.cmd.Wait()
		_ = w.Close()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends it at once, and returns when it has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks it to end, and waits until it has.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		t.Errorf("%s does not end", filepath.Base(p.cmd.Path))
		p.kill()
	}
	if p.err != nil {
		t.Errorf("%s ends with %v", filepath.Base(p.cmd.Path), p.err)
	}
}

const record = "valid_from: 2023-01-01, source: s, verified: true"

// probes is how many checks the machine of a real district runs, each every 10 s.
const probes = 20

// profileFiles is a district of one commune, with one service whose checks ask a peer on this machine.
func profileFiles(peer string) map[string]string {
	var checks []string
	for i := range probes {
		checks = append(checks, fmt.Sprintf("{id: p%d, kind: http, every: 10s, timeout: 4s, confirm: 0, path: lan, with: {url: \"http://%s/web.p%d\", status: [200]}}", i, peer, i))
	}
	year := time.Now().Year()
	return map[string]string{
		"units.yaml":                           "district: d\nunits:\n  - {id: d, kind: huyen, names: [{vi: Huyện D, en: D District}], " + record + "}\n  - {id: xa-a, kind: xa, names: [{vi: Xã A, en: A Commune}], parents: [{unit: d}], " + record + "}\n",
		"services.yaml":                        "services:\n  - {id: web, name: {vi: Trang, en: Site}, operator: tinh, owner: VP, hours: 24x7, severity: major, quorum: {units: 1, carriers: 1}, watch: one_per_unit, checks: [" + strings.Join(checks, ", ") + "], " + record + "}\n",
		"machines.yaml":                        "machines:\n  - {id: m-a-1, unit: xa-a, role: probe, " + record + "}\n  - {id: m-d, unit: d, role: collector, " + record + "}\n",
		"lines.yaml":                           "lines: []\n",
		"offices.yaml":                         "operators:\n  - {id: tinh, name: {vi: Tỉnh, en: Province}, " + record + "}\noffices:\n  - {id: VP, name: {vi: Văn phòng, en: Office}, unit: d, contacts: [], " + record + "}\n",
		"roster.yaml":                          "roster: []\n",
		"targets.yaml":                         "targets:\n  - {id: t, service: web, objective: 0.995, calendar: 24x7, basis: mục tiêu nội bộ, " + record + "}\n",
		"law.yaml":                             "law_sets: []\n",
		"parameters.yaml":                      "parameters: []\n",
		fmt.Sprintf("calendars/%d.yaml", year): fmt.Sprintf("year: %d\nweek: [mon, tue, wed, thu, fri]\nhours:\n  - {id: h1, name: hanh-chinh, weekdays: [mon, tue, wed, thu, fri], times: [\"07:30-12:00\", \"13:00-16:30\"], valid_from: %d-01-01, valid_to: %d-12-31, source: s, verified: true}\ndays: []\n", year, year, year),
	}
}

// period is how long the state of a real peer stays the same.
const period = time.Minute

// byMinute is the script of a real peer: each check is down in one minute of three.
func byMinute(id string, at time.Time) check.Reason {
	if (at.Unix()/int64(period/time.Second)+int64(len(id)))%3 == 0 {
		return check.HTTPStatus
	}
	return check.OK
}

// newPeer starts a web server on loopback that follows the script.
func newPeer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if byMinute(strings.TrimPrefix(r.URL.Path, "/"), time.Now()) != check.OK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

// A town is a district of real processes: a collector, an agent that watches a peer, and a port between them that stays
// the same while the collector's own changes.
type town struct {
	*testing.T
	bin, dir     string
	state, agent string // data folders
	profile      string
	port         *forwarder
	logs         *notebook
	collector    *process
	watcher      *process
	metrics      atomic.Value // URL of the agent's /metrics
}

// newTown makes a district and enrols its machine. Nothing runs when it returns but the collector.
func newTown(t *testing.T, bin, peer string) *town {
	t.Helper()
	w := &town{T: t, bin: bin, dir: t.TempDir(), logs: &notebook{}}
	w.state, w.agent, w.profile = filepath.Join(w.dir, "state"), filepath.Join(w.dir, "agent"), filepath.Join(w.dir, "profile")
	for name, text := range profileFiles(peer) {
		path := filepath.Join(w.profile, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.port = newForwarder(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last lines:\n%s", w.logs.tail(30))
		}
	})
	w.open()
	var a struct{ Token string }
	if err := json.Unmarshal([]byte(w.run("collector", "token", "--data", w.state, "--unit", unit, "--machine", machine, "--json")), &a); err != nil {
		t.Fatal(err)
	}
	w.run("agent", "enrol", "--data", w.agent, "--collector", "https://"+w.port.addr, "--token", a.Token)
	return w
}

// run runs a subcommand to its end and returns what it printed.
func (w *town) run(program string, args ...string) string {
	w.Helper()
	out, errs, err := w.try(program, args...)
	if err != nil {
		w.Fatalf("%s %s: %v: %.600s%.600s", program, args[0], err, out, errs)
	}
	return out
}

func (w *town) try(program string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(w.bin, program), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

var (
	agentsURL = regexp.MustCompile(`https://(127\.0\.0\.1:\d+)`)
	metricsAt = regexp.MustCompile(`metrics are answered.*listen=(127\.0\.0\.1:\d+)`)
)

// open starts the collector, and returns once agents reach it.
func (w *town) open() {
	w.Helper()
	ready := make(chan struct{})
	var once sync.Once
	w.collector = launch(w.T, w.logs, func(line string) {
		if m := agentsURL.FindStringSubmatch(line); m != nil && !strings.Contains(line, "level=") {
			w.port.aim(m[1])
			once.Do(func() { close(ready) })
		}
	}, filepath.Join(w.bin, "collector"), "--data", w.state, "--profile", w.profile, "--listen", "127.0.0.1:0", "--agents", "127.0.0.1:0")
	select {
	case <-ready:
	case <-w.collector.done:
		w.Fatalf("the collector does not start: %v:\n%s", w.collector.err, w.logs.tail(10))
	case <-time.After(2 * time.Minute):
		w.Fatal("the collector does not start within two minutes")
	}
}

// start starts the agent, and returns once it answers /metrics.
func (w *town) start() {
	w.Helper()
	ready := make(chan struct{})
	var once sync.Once
	w.watcher = launch(w.T, w.logs, func(line string) {
		if m := metricsAt.FindStringSubmatch(line); m != nil {
			w.metrics.Store("http://" + m[1] + "/metrics")
			once.Do(func() { close(ready) })
		}
	}, filepath.Join(w.bin, "agent"), "run", "--data", w.agent, "--listen", "127.0.0.1:0")
	select {
	case <-ready:
	case <-w.watcher.done:
		w.Fatalf("the agent does not start: %v:\n%s", w.watcher.err, w.logs.tail(10))
	case <-time.After(2 * time.Minute):
		w.Fatal("the agent does not start within two minutes")
	}
}

var lastRun = regexp.MustCompile(`(?m)^egovmon_check_last_run_timestamp_seconds\{check="([^"]+)"\} (\S+)$`)

// shown is what the agent says that it has recorded: by check, when it was run last. Nil when it does not answer.
func (w *town) shown() map[string]float64 {
	url, _ := w.metrics.Load().(string)
	resp, err := http.Get(url)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil
	}
	m := map[string]float64{}
	for _, f := range lastRun.FindAllStringSubmatch(string(text), -1) {
		var at float64
		if _, err := fmt.Sscan(f[2], &at); err == nil {
			m[f[1]] = at
		}
	}
	return m
}

// rest stops the agent in order, once all that it has recorded is with the collector, and then the collector.
func (w *town) rest() {
	w.Helper()
	for range 20 {
		w.watcher.stop(w.T)
		left, err := daemon.Waiting(w.agent)
		if err != nil {
			w.Fatal(err)
		}
		if left.Batches == 0 {
			w.collector.stop(w.T)
			today := time.Now().In(time.FixedZone("", 7*3600)).Format("2006-01-02")
			w.figures(span{today, today}) // brings the index to the end of the log, if the stop came before that
			return
		}
		w.start() // the goodbye came too late for what was recorded last
		w.eventually("what waits is sent", func() bool {
			left, err := daemon.Waiting(w.agent)
			return err == nil && left.Batches == 0
		})
	}
	w.Error("the agent does not deliver what it has recorded")
}

// eventually waits for up to two minutes.
func (w *town) eventually(what string, ok func() bool) {
	w.Helper()
	for late := time.Now().Add(2 * time.Minute); !ok(); {
		if time.Now().After(late) {
			w.Fatalf("%s: not within two minutes", what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// remains tells what to judge, once agent and collector have ended.
func (w *town) remains() remains {
	return remains{machine: machine, agents: []string{w.agent}, state: w.state, kinds: kinds.Table(), rebuild: func(t *testing.T) string {
		w.run("collector", "rebuild", "--data", w.state)
		return dump(t, filepath.Join(w.state, "history.db"))
	}}
}

// A forwarder passes on what comes to its port to another, which may change.
type forwarder struct {
	addr string
	to   atomic.Value // string
}

func newForwarder(t *testing.T) *forwarder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f := &forwarder{addr: l.Addr().String()}
	f.aim("")
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go f.pass(c)
			}
		}
	}()
	return f
}

func (f *forwarder) aim(addr string) { f.to.Store(addr) }

func (f *forwarder) pass(near net.Conn) {
	defer near.Close()
	to, _ := f.to.Load().(string)
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	}()
	_, _ = io.Copy(near, far)
}
