package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/daemon/daemontest"
	"egovmon/agent/host"
	"egovmon/agent/journal"
	"egovmon/exporter"
)

const machine = "pc-an-thanh-01"

// A notebook is a log that several goroutines write.
type notebook struct {
	mu sync.Mutex
	b  strings.Builder
}

func (n *notebook) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(p)
}

func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.String()
}

// A rig is one machine and its collector.
type rig struct {
	*testing.T
	c    *daemontest.Collector
	id   *host.Identity
	dir  string
	peer string // an address that accepts connections
	log  notebook
}

func newRig(t *testing.T) *rig {
	c, err := daemontest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	id, err := c.Identity(machine)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return &rig{T: t, c: c, id: id, dir: t.TempDir(), peer: l.Addr().String()}
}

func (r *rig) plan(version int, checks string) string {
	return fmt.Sprintf("plan: test\nfor: %s\nversion: %d\nseal: 5s\nchecks:\n  - {id: a.tcp, kind: tcp, every: 10s, timeout: 2s, with: {address: '%s'}}\n%s",
		machine, version, r.peer, checks)
}

func (r *rig) options() Options {
	return Options{Dir: r.dir, Identity: r.id, Kinds: kinds.Table(), Config: Config{Listen: "127.0.0.1:0"},
		Build: exporter.Build{Version: "test"}, Log: slog.New(slog.NewTextHandler(&r.log, nil))}
}

// start opens and runs an agent until the returned function is called.
func (r *rig) start() (*Daemon, func()) {
	r.Helper()
	d, err := Open(r.options())
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return d, func() {
		r.Helper()
		cancel()
		if err := <-done; err != nil {
			r.Errorf("the agent ends with %v", err)
		}
	}
}

// until waits for something that other goroutines bring about.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("waited in vain for %s; the log says:\n%s", what, r.log.String())
		}
	}
}

func (r *rig) metrics(d *Daemon) string {
	r.Helper()
	resp, err := http.Get("http://" + d.Addr() + "/metrics")
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	return string(b)
}

func TestWholeWay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.c.SetPlan(machine, 1, r.plan(1, ""))
	d, stop := r.start()
	r.until("a result at the collector", func() bool { return len(r.c.Results()) > 0 })
	if got := r.c.Results()[0]; got.Check != "a.tcp" || got.State != check.Up {
		t.Errorf("result %+v, want a.tcp up", got)
	}
	for _, want := range []string{`egovmon_check_success{check="a.tcp"} 1`, "egovmon_agent_config_version 1", `egovmon_push_requests_total{code="2xx"}`} {
		if m := r.metrics(d); !strings.Contains(m, want) && !strings.Contains(m, strings.Replace(want, `{code="2xx"}`, "", 1)) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	stop()
	if calls := r.c.Calls(); calls[len(calls)-1] != "POST goodbye" {
		t.Errorf("the last call is %q, want POST goodbye", calls[len(calls)-1])
	}
	recs := r.c.Records()
	if recs[0].Begin == nil || recs[1].Plan == nil || recs[len(recs)-1].End == nil || recs[len(recs)-1].End.Cause != "stop" {
		t.Errorf("records begin with %+v, %+v and end with %+v; want begin, plan, …, end", recs[0], recs[1], recs[len(recs)-1])
	}
	if b, err := Waiting(r.dir); err != nil || b.Batches != 0 {
		t.Errorf("after a stop in order %+v waits (%v)", b, err)
	}
	first := d.journal.ID()

	// Without the collector the plan and the journal go on.
	r.c.Close()
	d, stop = r.start()
	r.until("a run", func() bool { return d.sched.Stats().Runs > 0 && d.journal.Stats().Recorded > 0 })
	if d.journal.ID() != first {
		t.Errorf("journal %s after a restart, want %s to go on", d.journal.ID(), first)
	}
	stop()
	b, err := Waiting(r.dir)
	if err != nil || b.Batches == 0 || b.Records < 3 || b.Oldest.IsZero() {
		t.Errorf("%+v waits (%v), want what was recorded without the collector", b, err)
	}
	if p := r.c.Problems(); len(p) > 0 {
		t.Errorf("the collector found fault: %q", p)
	}
	var kindsOf []string
	for e := range journal.Read(JournalDir(r.dir)) {
		for _, x := range e.Records {
			switch {
			case x.Begin != nil:
				kindsOf = append(kindsOf, "begin "+x.Begin.Cause)
			case x.Plan != nil:
				kindsOf = append(kindsOf, fmt.Sprint("plan ", x.Plan.Version))
			case x.End != nil:
				kindsOf = append(kindsOf, "end "+x.End.Cause)
			}
		}
	}
	want := []string{"begin first", "plan 1", "end stop", "begin start", "plan 1", "end stop"}
	if !slices.Equal(kindsOf, want) {
		t.Errorf("the journal says %q, want %q", kindsOf, want)
	}
}

func TestNewerPlanIsRefusedAndTheOldOneKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.c.SetPlan(machine, 1, r.plan(1, ""))
	d, stop := r.start()
	defer stop()
	r.until("the first result", func() bool { return len(r.c.Results()) > 0 })
	r.c.SetPlan(machine, 2, r.plan(2, "  - {id: a.new, kind: quantum, every: 1m}\n"))
	// The next batch's answer names the new plan; the agent seals one at the next result.
	r.until("the refusal", func() bool { return d.State().LogFailures > 0 })
	if _, v := d.InForce(); v != 1 || d.State().PlanVersion != 1 {
		t.Errorf("version %d is followed and %d shown, want 1: a plan that is not understood changes nothing", v, d.State().PlanVersion)
	}
	for _, want := range []string{`there is no kind \"quantum\"`, "cannot be used by version test"} {
		if !strings.Contains(strings.ReplaceAll(r.log.String(), `\\\"`, `\"`), want) {
			t.Errorf("the log does not say %s:\n%s", want, r.log.String())
		}
	}
	n := d.sched.Stats().Runs
	r.until("the old plan's next run", func() bool { return d.sched.Stats().Runs > n })
	if text, err := os.ReadFile(filepath.Join(r.dir, PlanFile)); err != nil || strings.Contains(string(text), "quantum") {
		t.Errorf("the kept plan is no longer the one that is followed (%v)", err)
	}
	r.c.SetPlan(machine, 3, r.plan(3, "  - {id: a.two, kind: tcp, every: 1m, with: {address: '"+r.peer+"'}}\n"))
	r.until("a plan that is understood again", func() bool { _, v := d.InForce(); return v == 3 })
}

func TestSecondAgentIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, stop := r.start()
	_, err := Open(r.options())
	if err == nil || !strings.Contains(err.Error(), r.dir) || !strings.Contains(err.Error(), "another agent works in it") {
		t.Errorf("a second agent on the same folder: %v", err)
	}
	stop()
	d, err := Open(r.options())
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *rig, o *Options)
		want   string
	}{
		{"port taken", func(r *rig, o *Options) { o.Config.Listen = r.peer }, "name another address with --listen"},
		{"no such web config", func(r *rig, o *Options) { o.Config.WebConfig = filepath.Join(r.dir, "web.yml") }, "web.yml"},
		{"bad journal key", func(_ *rig, o *Options) { o.Identity.JournalKey = "x" }, "journal key"},
		{"bad log key", func(_ *rig, o *Options) { o.Identity.LogKey = "x" }, "log key"},
		{"folder is a file", func(r *rig, o *Options) {
			o.Dir = filepath.Join(r.dir, "file")
			if err := os.WriteFile(o.Dir, nil, 0o600); err != nil {
				r.Fatal(err)
			}
		}, "data folder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			o := r.options()
			tt.change(r, &o)
			if _, err := Open(o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			id, err := r.c.Identity(machine)
			if err != nil {
				t.Fatal(err)
			}
			r.id = id
			d, err := Open(r.options())
			if err != nil {
				t.Fatalf("something was left open: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = d.Run(ctx)
		})
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
		listen, web      string
		node             bool
	}{
		{name: "no file", listen: DefaultListen, node: true},
		{name: "empty", text: "\n", listen: DefaultListen, node: true},
		{name: "all", text: "listen: 0.0.0.0:9\nweb_config: web.yml\nnode_metrics: false\n", listen: "0.0.0.0:9", web: "web.yml"},
		{name: "unknown key", text: "listn: x\n", want: `agent.yaml:1: unknown key "listn": did you mean "listen"?`},
		{name: "wrong form", text: "\nnode_metrics: perhaps\n", want: "agent.yaml:2: "},
		{name: "no YAML", text: "{", want: "agent.yaml"},
		{name: "too large", text: strings.Repeat("#", maxConfig+1), want: "this is no agent.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.text != "" {
				if err := os.WriteFile(filepath.Join(dir, ConfigFile), []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c, err := LoadConfig(dir, "")
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error %v, want one with %q", err, tt.want)
				}
				return
			}
			if tt.web != "" {
				tt.web = filepath.Join(dir, tt.web)
			}
			if err != nil || c.Listen != tt.listen || c.WebConfig != tt.web || c.ShowNode() != tt.node {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
	if _, err := LoadConfig(t.TempDir(), "missing.yaml"); err == nil {
		t.Error("a configuration that is named must be there")
	}
}
