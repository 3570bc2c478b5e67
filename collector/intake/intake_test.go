package intake

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/host"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/agent/push"
	"egovmon/agent/wire"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
)

var start = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// kinds is a table with one kind, so that these tests speak of the intake alone.
var kinds = check.Table{{
	Name:   "tcp",
	Facts:  []check.FactDef{{Name: "rtt_avg_s", Min: 0, Max: 60}, {Name: "any_count"}},
	Phases: []string{"connect"},
	New: func(check.Options, check.Env) (check.Func, error) {
		return func(context.Context) check.Result { return check.Because(check.OK, "") }, nil
	},
}}

// A centre is a collector as far as the intake goes, on loopback and on a clock that the test moves.
type centre struct {
	*Server
	dir   string
	url   string
	keys  *enrol.Keys
	reg   *enrol.Registrar
	log   *evidence.Store
	opts  Options
	stop  func()
	mu    sync.Mutex
	clock time.Time
	since time.Time // when the clock began to run; zero while it stands
	got   []Accepted
	moved string // a machine that every unit may have
}

func (c *centre) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.since.IsZero() {
		return c.clock.Add(time.Since(c.since))
	}
	return c.clock
}

// run lets the clock go.
func (c *centre) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
}

func (c *centre) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock = t
}

func (c *centre) accepted() []Accepted {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got
}

func newCentre(t testing.TB, limits Limits) *centre {
	t.Helper()
	c := &centre{dir: t.TempDir(), clock: start}
	var err error
	if c.keys, err = enrol.OpenKeys(filepath.Join(c.dir, "keys"), "tu-ky", c.now); err != nil {
		t.Fatal(err)
	}
	c.opts = Options{Dir: filepath.Join(c.dir, "intake"), Kinds: kinds, PlanSigner: c.keys.PlanSigner, Now: c.now, Limits: limits}
	c.open(t)
	t.Cleanup(c.close)
	return c
}

// open starts the collector, close stops it, so that a test can do both again.
func (c *centre) open(t testing.TB) {
	t.Helper()
	origin, err := evidence.ReadOrigin(filepath.Join(c.dir, "evidence"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.keys.UseLog(filepath.Join(c.dir, "keys"), origin); err != nil {
		t.Fatal(err)
	}
	v, err := c.keys.LogVerifier()
	if err != nil {
		t.Fatal(err)
	}
	c.log, err = evidence.Open(evidence.Options{Dir: filepath.Join(c.dir, "evidence"), Origin: v.Name(), Signer: c.keys.LogSigner, Verifier: v})
	if err != nil {
		t.Fatal(err)
	}
	c.reg, err = enrol.Open(t.Context(), enrol.Options{Dir: filepath.Join(c.dir, "enrol"), Keys: c.keys, Log: c.log, Now: c.now,
		Machines: func(unit string) ([]string, bool) {
			return []string{"pc-" + unit + "-01", "pc-" + unit + "-02", moving, c.moved}, true
		}})
	if err != nil {
		t.Fatal(err)
	}
	o := c.opts
	o.Evidence, o.Registrar = c.log, c.reg
	if o.Consumers == nil {
		next := int64(0)
		if n := len(c.got); n > 0 {
			next = c.got[n-1].Leaf + 1
		}
		o.Consumers = []Consumer{{Name: "test", Next: next, Accept: func(_ context.Context, a Accepted) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.got = append(c.got, a)
			return nil
		}}}
	}
	if c.Server, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	c.serve(t)
	stopHTTP := c.stop
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	c.stop = func() { stopHTTP(); cancel(); wg.Wait() }
}

// serve opens the agents' port, without feeding the consumers.
func (c *centre) serve(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.url = "https://" + l.Addr().String()
	h := c.HTTP()
	var wg sync.WaitGroup
	wg.Go(func() { h.ServeTLS(l, "", "") })
	c.stop = func() { h.Close(); wg.Wait() }
}

func (c *centre) close() {
	c.stop()
	c.log.Close()
}

// An agent is one machine's end: its identity and the head of its journal.
type agent struct {
	*centre
	id       *host.Identity
	signer   note.Signer
	client   *http.Client
	journal  string
	seq      uint64
	previous string
}

// moving is a machine that any unit may have.
const moving = "pc-moving-01"

func (c *centre) agent(t testing.TB, unit string) *agent {
	t.Helper()
	return c.machineOf(t, unit, "")
}

// machineOf is agent for a machine by its name.
func (c *centre) machineOf(t testing.TB, unit, machine string) *agent {
	t.Helper()
	in, err := c.reg.NewToken(unit, machine)
	if err != nil {
		t.Fatal(err)
	}
	id, err := push.Enrol(t.Context(), c.url, in.Token.String(), push.EnrolOptions{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{centre: c, id: id}
	a.fresh(t)
	return a
}

// fresh gives the agent a new journal, and connections with its identity.
func (a *agent) fresh(t testing.TB) {
	t.Helper()
	var err error
	if a.signer, err = a.id.JournalSigner(); err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: a.id.TLSConfig(a.now)}
	t.Cleanup(tr.CloseIdleConnections)
	a.client = &http.Client{Transport: tr}
	b := make([]byte, 16)
	rand.Read(b)
	a.journal, a.seq, a.previous = hex.EncodeToString(b), 0, journal.NoPrevious
}

func (a *agent) header() journal.Header {
	return journal.Header{Machine: a.id.Machine, Journal: a.journal, Seq: a.seq + 1, Previous: a.previous, Sealed: a.now()}
}

// seal makes the next batch, and counts it as sent.
func (a *agent) seal(t testing.TB, recs ...journal.Record) journal.Batch {
	t.Helper()
	b, err := journal.Seal(a.header(), recs, a.signer)
	if err != nil {
		t.Fatal(err)
	}
	a.seq, a.previous = a.seq+1, b.Hash()
	return b
}

func frames(bs ...journal.Batch) []byte {
	var out []byte
	for _, b := range bs {
		out = wire.AppendBatch(out, b.Note, b.Body)
	}
	return out
}

func (a *agent) call(t testing.TB, method, path string, body []byte, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := a.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, data
}

// push sends batches and reads the answer.
func (a *agent) push(t testing.TB, bs ...journal.Batch) (int, wire.Answer) {
	t.Helper()
	return a.post(t, frames(bs...))
}

func (a *agent) post(t testing.TB, body []byte) (int, wire.Answer) {
	t.Helper()
	res, data := a.call(t, http.MethodPost, wire.PathBatches, body, "Content-Type", wire.TypeBatches)
	ans, err := wire.DecodeAnswer(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", res.Status, err)
	}
	return res.StatusCode, ans
}

func (a *agent) flush(t testing.TB) {
	t.Helper()
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func planText(machine string, version int, every string) []byte {
	return fmt.Appendf(nil, "plan: p\nfor: %s\nversion: %d\nissued: 2026-11-23T01:00:00Z\nchecks:\n- {id: s.tcp, service: s, kind: tcp, every: %s}\n", machine, version, every)
}

func begin(at time.Time) journal.Record {
	return journal.Record{Begin: &journal.Begin{At: at, Build: "test", Cause: "start"}}
}

func applies(t testing.TB, text []byte, at time.Time) journal.Record {
	t.Helper()
	p, err := plan.Parse(text, kinds)
	if err != nil {
		t.Fatal(err)
	}
	return journal.Record{Plan: &journal.PlanApplied{Version: p.Version, SHA256: p.Hash(), At: at}}
}

// slot returns the first slot of s.tcp (every 60 s) of a machine at or after t.
func slot(machine string, t time.Time) time.Time {
	return plan.NextSlot(machine, plan.Check{ID: "s.tcp", Every: time.Minute}, t)
}

func result(at time.Time) journal.Record {
	r := check.Because(check.OK, "")
	r.Check, r.Slot, r.Start, r.Took, r.Attempts = "s.tcp", at, at.Add(250*time.Millisecond), 3*time.Millisecond, 1
	return journal.Record{Result: &r}
}

// opening is what an agent's first batch says.
func (a *agent) opening(t testing.TB) []journal.Record {
	t.Helper()
	text := planText(a.id.Machine, 1, "60s")
	if err := a.SetPlan(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	return []journal.Record{begin(a.now()), applies(t, text, a.now())}
}

func TestTheWholeWay(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	recs := a.opening(t)
	first := slot(a.id.Machine, start.Add(-time.Minute+time.Second)) // under way when the agent begins
	r := result(first)
	r.Result.Start = start.Add(100 * time.Millisecond)
	r.Result.Facts = check.Facts{{Name: "rtt_avg_s", Value: 0.003}}
	r.Result.Phases = check.Phases{{Name: "connect", Took: 3 * time.Millisecond}}
	c.set(start.Add(2 * time.Second))
	b1 := a.seal(t, append(recs, r)...)
	c.set(start.Add(6 * time.Minute))
	second := slot(a.id.Machine, start.Add(time.Second))
	b2 := a.seal(t, result(second), journal.Record{Range: &check.Range{Reason: check.MissedOverrun, Check: "*", From: start, To: start.Add(time.Second), Slots: 1}})

	code, ans := a.push(t, b1, b2)
	if code != http.StatusOK || ans.Head != (wire.Head{Journal: a.journal, Seq: 2}) || ans.Want != nil {
		t.Fatalf("%d %+v", code, ans)
	}
	v, _ := c.keys.LogVerifier()
	n, err := note.Open([]byte(ans.Checkpoint), note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	if _, tree, err := wire.ParseCheckpoint(n.Text); err != nil || tree.N != c.log.Size() {
		t.Errorf("checkpoint of %d leaves, the log has %d: %v", tree.N, c.log.Size(), err)
	}

	// Byte for byte in the evidence.
	size := c.log.Size()
	for i, b := range []journal.Batch{b1, b2} {
		blob, err := c.log.Blob(size - 2 + int64(i))
		body, err2 := c.log.Body(size - 2 + int64(i))
		if err != nil || err2 != nil || !bytes.Equal(blob, b.Note) || !bytes.Equal(body, b.Body) {
			t.Errorf("batch %d is not archived as it was sent: %v %v", i+1, err, err2)
		}
	}

	// And judged.
	a.flush(t)
	got := c.accepted()
	if len(got) != 2 {
		t.Fatalf("%d accepted batches, want 2", len(got))
	}
	if g := got[0]; g.Unit != "an-thanh" || g.Machine != a.id.Machine || len(g.Rejected) != 0 || !g.Late || len(g.Events) != 3 {
		t.Errorf("the first batch: %+v", g)
	}
	if got[1].Late || len(got[1].Events) != 2 || got[1].Events[1].Range == nil {
		t.Errorf("the second batch: %+v", got[1])
	}
	o := got[0].Events[2].Observation
	if o.Service != "s" || o.Kind != "tcp" || o.Path != plan.Internet || o.Every != time.Minute || o.ClockUnproven {
		t.Errorf("observation %+v", o)
	}
	if !o.From.Equal(start) || !o.To.Equal(first.Add(time.Minute)) {
		t.Errorf("it speaks for %s to %s, want the agent's begin and the end of the slot %s", o.From, o.To, first)
	}

	// Sent again, it is acknowledged and archived once.
	if code, ans = a.push(t, b1, b2); code != http.StatusOK || ans.Head.Seq != 2 || c.log.Size() != size {
		t.Errorf("sent again: %d %+v, %d leaves", code, ans, c.log.Size())
	}
}

func TestRestart(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	b := a.seal(t, append(a.opening(t), result(slot(a.id.Machine, start)))...)
	if code, ans := a.push(t, b); code != http.StatusOK {
		t.Fatal(code, ans)
	}
	a.flush(t)
	for range 2 {
		c.close()
		c.open(t)
		c.set(c.now().Add(time.Minute))
		if code, ans := a.push(t, a.seal(t, result(slot(a.id.Machine, c.now())))); code != http.StatusOK {
			t.Fatalf("after a restart: %d %+v", code, ans)
		}
		a.flush(t)
	}
	got := c.accepted()
	if len(got) != 3 {
		t.Fatalf("%d accepted, want 3", len(got))
	}
	// From the beginning, or from a snapshot, the log says the same.
	for from := range []int{0, 1, 2} {
		var again []Accepted
		if err := c.CatchUp(t.Context(), got[from].Leaf, func(a Accepted) error { again = append(again, a); return nil }); err != nil {
			t.Fatal(err)
		}
		if g, w := asJSON(t, again), asJSON(t, got[from:]); g != w {
			t.Errorf("from %d:\n%s\nwant\n%s", from, g, w)
		}
	}
	// The plan is served after the restart too, with its leaf and proof.
	res, body := a.call(t, http.MethodGet, wire.PathPlan, nil)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("plan: %s %s", res.Status, body)
	}
	checkPlan(t, a, res.Header, body, planText(a.id.Machine, 1, "60s"))
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
