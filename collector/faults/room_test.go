package faults

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/daemon"
	"egovmon/agent/host"
	"egovmon/agent/plan"
	"egovmon/agent/push"
	"egovmon/agent/wire"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
	"egovmon/collector/history/index"
	"egovmon/collector/intake"
	"egovmon/exporter"
)

const (
	district = "d"
	unit     = "xa-a"
	machine  = "m-a-1"
	address  = "https://127.0.0.1:19443"
)

// built is when the programs of a bubble were built: no earlier clock is plausible.
var built = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// opening is when the clock of a bubble begins to matter: 15:00 of a Monday in Vietnam.
var opening = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// A world is a district inside a bubble: one collector, agents, and services whose state follows a script.
type world struct {
	*testing.T
	dir    string // holds all folders
	line   line
	kinds  check.Table
	script func(id string, at time.Time) check.Reason
	every  time.Duration // of each check
	seal   time.Duration // of plans; 0 for the default
	checks []string
	runs   atomic.Int64
	shift  atomic.Int64 // what the bubble's own clock lacks, in ns: time in which every machine here stood still

	centre *centre // nil while the collector is away
	state  string  // the collector's folder

	recovery    note.Signer // nil without one
	recoveryKey string
	wrap        func(http.Handler) http.Handler
	logs        *notebook
}

// inBubble runs f in a bubble whose clock stands at opening.
func inBubble(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(opening))
		w := newWorld(t)
		f(w)
		if t.Failed() {
			t.Logf("the last lines of the logs:\n%s", w.logs.tail(25))
		}
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: scratch(t), every: 5 * time.Minute, checks: []string{"web.one", "web.two", "web.three"}, logs: &notebook{}}
	w.state = filepath.Join(w.dir, "collector")
	w.script = flapping
	w.kinds = check.Table{{Name: "tcp", New: w.newCheck}}
	return w
}

// scratch is a folder in memory where there is one: what a bubble writes is synced thousands of times.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "egovmon-faults-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// flapping is a script by which each service is down for two slots of five minutes in eight, each at another time. It
// changes with the slots, so that it does not matter when in its slot a check is run.
func flapping(id string, at time.Time) check.Reason {
	slot := plan.SlotAt(machine, plan.Check{ID: id, Every: 5 * time.Minute}, at)
	switch (slot.Unix()/300 + int64(len(id))) % 8 {
	case 0, 1:
		return check.ConnectRefused
	case 4:
		return check.Slow
	}
	return check.OK
}

func (w *world) newCheck(_ check.Options, env check.Env) (check.Func, error) {
	return func(context.Context) check.Result {
		// The detail names the run, whatever the machine takes for the time and whoever else has its name.
		return check.Because(w.script(env.Check, w.now()), "run %d", w.runs.Add(1))
	}, nil
}

func (w *world) log(who string) *slog.Logger {
	return slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelInfo})).With("who", who)
}

// now is the true time. [world.standStill] moves it.
func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.shift.Load())) }

// must ends the test on an error.
func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// A centre is a collector's rooms from the agents' port to the history.
type centre struct {
	*intake.Server
	keys  *enrol.Keys
	store *evidence.Store
	reg   *enrol.Registrar
	index *index.Index
	stop  func()
}

// open starts the collector on its folder.
func (w *world) open() {
	w.Helper()
	c := &centre{}
	var err error
	c.keys, err = openKeys(w.state, w.now)
	w.must(err)
	v, err := c.keys.LogVerifier()
	w.must(err)
	c.store, err = evidence.Open(evidence.Options{Dir: filepath.Join(w.state, "evidence"), Origin: v.Name(), Signer: c.keys.LogSigner, Verifier: v, Logger: w.log("collector")})
	w.must(err)
	c.reg, err = enrol.Open(w.Context(), enrol.Options{Dir: filepath.Join(w.state, "enrol"), Keys: c.keys, Log: c.store, Now: w.now, Logger: w.log("collector"),
		Machines: func(string) ([]string, bool) { return []string{machine, "m-a-2", "m-a-3"}, true }})
	w.must(err)
	c.index, err = index.Open(filepath.Join(w.state, "history.db"))
	w.must(err)
	next, err := c.index.Cursor(w.Context())
	w.must(err)
	c.Server, err = intake.Open(w.Context(), intake.Options{Dir: filepath.Join(w.state, "intake"), Evidence: c.store, Registrar: c.reg, Kinds: w.kinds,
		PlanSigner: c.keys.PlanSigner, Now: w.now, Logger: w.log("collector"),
		Consumers: []intake.Consumer{{Name: "history", Next: next, Accept: func(ctx context.Context, a intake.Accepted) error {
			return c.index.Add(ctx, a.History())
		}}}})
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			w.Error(err)
		}
	})
	w.centre = c
	h := w.server()
	l := w.line.listen()
	wg.Go(func() {
		if err := h.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			w.Error(err)
		}
	})
	w.Cleanup(func() { // of a test that was broken off
		if w.centre == c {
			w.close()
		}
	})
	c.stop = func() {
		_ = h.Close()
		cancel()
		wg.Wait()
	}
}

// openKeys opens the keys of a collector's folder, with that of its present log.
func openKeys(state string, now func() time.Time) (*enrol.Keys, error) {
	dir := filepath.Join(state, "keys")
	keys, err := enrol.OpenKeys(dir, district, now)
	if err != nil {
		return nil, err
	}
	origin, err := evidence.ReadOrigin(filepath.Join(state, "evidence"))
	if err != nil {
		return nil, err
	}
	return keys, keys.UseLog(dir, origin)
}

// setUpRecovery gives the district a recovery key, which is kept with the test.
func (w *world) setUpRecovery() {
	w.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, wire.RecoveryName(district))
	w.must(err)
	w.recovery, err = note.NewSigner(skey)
	w.must(err)
	e, err := evidence.NewEntry(evidence.LogKey, map[string]string{"at": wire.FormatTime(w.now()), "recovery": vkey}, nil, nil)
	w.must(err)
	_, err = w.centre.store.Append(w.Context(), e)
	w.must(err)
	w.recoveryKey = vkey
}

// succeed begins the log after the one that there is. The collector is stopped.
func (w *world) succeed() {
	w.Helper()
	dir := filepath.Join(w.state, "evidence")
	keys, err := openKeys(w.state, w.now)
	w.must(err)
	v, err := keys.LogVerifier()
	w.must(err)
	old, err := evidence.OpenReader(dir, v)
	w.must(err)
	n, _ := wire.LogNumber(district, old.Origin())
	w.must(keys.NewLog(filepath.Join(w.state, "keys"), n))
	v, err = keys.LogVerifier()
	w.must(err)
	s := wire.Succession{Old: old.Origin(), Tree: old.Tree(), New: v.Name(), Key: keys.LogKey, At: w.now().UTC().Truncate(time.Second), Why: "restored"}
	msg, err := note.Sign(&note.Note{Text: s.Text()}, w.recovery)
	w.must(err)
	rv, err := note.NewVerifier(w.recoveryKey)
	w.must(err)
	w.must(evidence.Succeed(w.Context(), old, evidence.Options{Dir: dir + ".new", Origin: v.Name(), Signer: keys.LogSigner, Verifier: v}, msg, rv, nil))
	w.must(errors.Join(old.Close(), os.RemoveAll(dir), os.Rename(dir+".new", dir), index.Remove(filepath.Join(w.state, "history.db"))))
}

// server answers agents, through what the test has put before it.
func (w *world) server() *http.Server {
	h := w.centre.HTTP()
	if w.wrap != nil {
		h.Handler = w.wrap(h.Handler)
	}
	return h
}

// close stops the collector. What has been acknowledged is in its folder then.
func (w *world) close() {
	w.Helper()
	c := w.centre
	if c == nil {
		return
	}
	w.centre = nil
	w.line.cut()
	c.stop()
	w.must(errors.Join(c.index.Close(), c.store.Close()))
	w.line.mend()
}

// crash stops the collector as a kill does: it goes on from what its folder held at this moment.
func (w *world) crash() {
	w.Helper()
	synctest.Wait()
	held := w.copy(w.state)
	w.close()
	w.replace(w.state, held)
}

// copy copies a folder and returns the copy.
func (w *world) copy(dir string) string {
	w.Helper()
	to, err := os.MkdirTemp(w.dir, filepath.Base(dir)+"-copy-")
	w.must(err)
	w.must(copyFolder(to, dir))
	return to
}

// replace puts a copy of a folder in the place of another.
func (w *world) replace(dir, by string) {
	w.Helper()
	names, _ := os.ReadDir(dir) // there may be none yet; the folder itself may be a disk of its own, and stays
	for _, n := range names {
		w.must(os.RemoveAll(filepath.Join(dir, n.Name())))
	}
	w.must(copyFolder(dir, by))
}

// copyFolder copies all files of a folder, with their modes.
func copyFolder(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
}

// plan puts a plan in force for a machine.
func (w *world) plan(machine string, version int) {
	w.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "plan: p\nfor: %s\nversion: %d\nissued: 2026-11-23T01:00:00Z\n", machine, version)
	if w.seal > 0 {
		fmt.Fprintf(&b, "seal: %s\n", w.seal)
	}
	b.WriteString("checks:\n")
	for _, id := range w.checks {
		service, _, _ := strings.Cut(id, ".")
		fmt.Fprintf(&b, "- {id: %s, service: %s, kind: tcp, every: %ds, timeout: 2s, confirm: 0, path: lan}\n", id, service, w.every/time.Second)
	}
	w.must(w.centre.SetPlan(w.Context(), []byte(b.String())))
}

// An agent is one agent program of a machine, with the machine's clock.
type agent struct {
	w     *world
	dir   string
	id    *host.Identity
	shift atomic.Int64 // of the machine's clock, in ns
	slept atomic.Int64 // how long it has been suspended, in ns
	boots atomic.Int64 // how often it was started again

	stop func(kill bool)
}

func (a *agent) now() time.Time { return a.w.now().Add(time.Duration(a.shift.Load())) }

// enrol gives a machine an identity and a folder.
func (w *world) enrol(name string) *agent {
	w.Helper()
	a := &agent{w: w, dir: filepath.Join(w.dir, name)}
	w.must(os.MkdirAll(a.dir, 0o700))
	w.identify(a, name)
	return a
}

// again gives a machine a new identity, in the folder that it has.
func (w *world) again(a *agent) {
	w.Helper()
	w.identify(a, a.id.Machine)
}

// identify enrols over a socket of loopback, which is closed again, so that time can pass.
func (w *world) identify(a *agent, name string) {
	w.Helper()
	in, err := w.centre.reg.NewToken(unit, name)
	w.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	h := w.server()
	done := make(chan struct{})
	go func() { defer close(done); _ = h.ServeTLS(l, "", "") }()
	id, err := push.Enrol(w.Context(), "https://"+l.Addr().String(), in.Token.String(), push.EnrolOptions{Now: w.now})
	_ = h.Close()
	<-done
	w.must(err)
	id.Collector = address
	a.id = id
	w.must(id.Save(a.dir))
}

// start runs the agent on its folder.
func (a *agent) start() {
	a.w.Helper()
	d, err := daemon.Open(daemon.Options{Dir: a.dir, Identity: a.id, Kinds: a.w.kinds, Config: daemon.Config{Listen: "-"},
		Build: exporter.Build{Version: "test", Date: built}, Log: a.w.log("agent " + filepath.Base(a.dir)), Now: a.now, Dial: a.w.line.dial,
		Suspended: func() time.Duration { return time.Duration(a.slept.Load()) },
		Boot:      func() (string, time.Duration) { return fmt.Sprint("boot", a.boots.Load()), a.w.now().Sub(built) }})
	a.w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	ended := false
	a.w.Cleanup(func() { // of a test that was broken off
		if !ended {
			cancel()
			<-done
		}
	})
	a.stop = func(kill bool) {
		a.w.Helper()
		ended = true
		var held string
		if kill {
			synctest.Wait()
			held = a.w.copy(a.dir)
			a.w.line.cut()
		}
		cancel()
		if err := <-done; err != nil && !kill {
			a.w.Error(err)
		}
		if kill {
			a.w.replace(a.dir, held)
			a.w.line.mend()
		}
	}
}

// settle lets everything that is recorded arrive.
func (w *world) settle() {
	w.Helper()
	time.Sleep(20 * time.Minute)
	synctest.Wait()
}

// A notebook is a log that several goroutines write.
type notebook struct {
	mu sync.Mutex
	b  []byte
}

func (n *notebook) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.b = append(n.b, p...)
	return len(p), nil
}

func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return string(n.b)
}

// tail returns the last lines.
func (n *notebook) tail(lines int) string {
	all := strings.Split(strings.TrimRight(n.String(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
