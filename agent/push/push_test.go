package push

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

const machine = "pc-an-thanh-01"

var start = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

func newKey(t testing.TB, name string) (note.Signer, note.Verifier) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	keyTexts.Store(v.KeyHash(), vkey)
	return s, v
}

// keyTexts are the verifier keys that newKey made, by their hash: a note.Verifier does not tell its own.
var keyTexts sync.Map

// A log is a transparency log in memory.
type log struct {
	signer note.Signer
	hashes []tlog.Hash
	n      int64
	leaves []string
}

func (l *log) ReadHashes(ix []int64) ([]tlog.Hash, error) {
	var hs []tlog.Hash
	for _, i := range ix {
		hs = append(hs, l.hashes[i])
	}
	return hs, nil
}

func (l *log) add(leaf string) int64 {
	hs, err := tlog.StoredHashes(l.n, []byte(leaf), l)
	if err != nil {
		panic(err)
	}
	l.hashes = append(l.hashes, hs...)
	l.leaves = append(l.leaves, leaf)
	l.n++
	return l.n - 1
}

func (l *log) checkpoint() string {
	h, err := tlog.TreeHash(l.n, l)
	if err != nil {
		panic(err)
	}
	msg, err := note.Sign(&note.Note{Text: wire.FormatCheckpoint(l.signer.Name(), tlog.Tree{N: l.n, Hash: h})}, l.signer)
	if err != nil {
		panic(err)
	}
	return string(msg)
}

func (l *log) consistency(from, to int64) string {
	if from < 1 || from > to || to > l.n {
		return ""
	}
	p, err := tlog.ProveTree(to, from, l)
	if err != nil {
		panic(err)
	}
	return wire.EncodeProof(p)
}

// A collector takes batches as the real one does. Its hooks make it misbehave.
type collector struct {
	t        testing.TB
	keys     note.Verifiers
	planKey  note.Signer
	mu       sync.Mutex
	log      *log
	heads    map[string]uint64
	notes    map[string]string // hash of the last note, by journal
	known    map[string]bool   // hashes of all notes
	latest   string
	results  []check.Result
	records  []journal.Record
	plan     string // text
	planLeaf string
	planAt   int64
	calls    []string // what was asked, in order
	clock    func() time.Time
	dicts    map[string][]byte // that it has, by SHA-256
	used     []string          // dictionaries of the batches it was sent, in order

	shown     []string   // checkpoints that it was shown
	returned  []string   // plans that it was given back
	recovery  func() any // answers GET recovery; nil for 404
	successor func() any

	before func(w http.ResponseWriter, r *http.Request) bool // answers itself when true
	change func(a *wire.Answer, h http.Header)
}

// asked is how many calls came.
func (c *collector) asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.URL.Path != wire.PathRecovery { // asked once an hour while there is none
		c.calls = append(c.calls, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/agent/v1/"))
	}
	if c.before != nil && c.before(w, r) {
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "POST " + wire.PathBatches:
		status, want := c.take(r.Body)
		c.answer(w, r, status, want)
	case "GET " + wire.PathCheckpoint:
		c.answer(w, r, http.StatusOK, nil)
	case "GET " + wire.PathPlan:
		c.sendPlan(w)
	case "POST " + wire.PathPlan:
		b, _ := io.ReadAll(r.Body)
		c.returned = append(c.returned, string(b))
	case "POST " + wire.PathCheckpoint:
		b, _ := io.ReadAll(r.Body)
		c.shown = append(c.shown, string(b))
	case "GET " + wire.PathRecovery:
		c.sendJSON(w, c.recovery)
	case "GET " + wire.PathSuccessor:
		c.sendJSON(w, c.successor)
	case "GET " + wire.PathDictionary + path.Base(r.URL.Path):
		b, ok := c.dicts[path.Base(r.URL.Path)]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write(b)
	case "POST " + wire.PathGoodbye:
		b, _ := io.ReadAll(r.Body)
		c.calls = append(c.calls, strings.TrimSpace(string(b)))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (c *collector) sendJSON(w http.ResponseWriter, f func() any) {
	if f == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if err := json.NewEncoder(w).Encode(f()); err != nil {
		c.t.Error(err)
	}
}

func (c *collector) take(body io.Reader) (int, *wire.Head) {
	for f, err := range wire.ReadBatches(body) {
		if err != nil {
			c.t.Errorf("request: %v", err)
			return http.StatusBadRequest, nil
		}
		b := journal.Batch{Note: f.Header, Body: f.Body}
		rd, err := journal.NewReader()
		if err != nil {
			c.t.Fatal(err)
		}
		rd.Dictionaries(func(sha256 string) ([]byte, error) {
			if b, ok := c.dicts[sha256]; ok {
				return b, nil
			}
			return nil, journal.ErrDictionary
		})
		h, recs, err := rd.Open(b, c.keys)
		if errors.Is(err, journal.ErrDictionary) {
			return http.StatusConflict, nil
		}
		c.used = append(c.used, h.Dictionary)
		if err != nil {
			c.t.Errorf("batch: %v", err)
			return http.StatusBadRequest, nil
		}
		previous, ok := c.notes[h.Journal]
		if !ok {
			previous = journal.NoPrevious
		}
		switch head := c.heads[h.Journal]; {
		case h.Seq <= head && c.known[b.Hash()]:
			continue
		case h.Seq > head+1:
			return http.StatusConflict, &wire.Head{Journal: h.Journal, Seq: head + 1}
		case h.Seq <= head || h.Previous != previous:
			return http.StatusConflict, nil
		}
		c.heads[h.Journal], c.notes[h.Journal], c.latest = h.Seq, b.Hash(), h.Journal
		c.known[b.Hash()] = true
		c.log.add("batch " + b.Hash())
		c.records = append(c.records, recs...)
		for _, rec := range recs {
			if rec.Result != nil {
				c.results = append(c.results, *rec.Result)
			}
		}
	}
	return http.StatusOK, nil
}

func (c *collector) answer(w http.ResponseWriter, r *http.Request, status int, want *wire.Head) {
	a := wire.Answer{Head: wire.Head{Journal: c.latest, Seq: c.heads[c.latest]}, Want: want, Time: wire.FormatTime(c.clock())}
	if c.log.n > 0 {
		a.Checkpoint = c.log.checkpoint()
	}
	if c.plan != "" {
		sum := sha256.Sum256([]byte(c.plan))
		a.Plan = hex.EncodeToString(sum[:])
	}
	from, _ := strconv.ParseInt(r.FormValue(wire.ParamFrom), 10, 64)
	to := c.log.n
	if s := r.FormValue(wire.ParamSize); s != "" {
		to, _ = strconv.ParseInt(s, 10, 64)
	}
	if r.Method == http.MethodGet && max(from, to) > c.log.n {
		status = http.StatusConflict
	}
	w.Header().Set(wire.HeaderProof, c.log.consistency(from, to))
	if c.change != nil {
		c.change(&a, w.Header())
	}
	b, err := wire.EncodeAnswer(a)
	if err != nil {
		c.t.Error(err)
	}
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

func (c *collector) setPlan(text string, version int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := sha256.Sum256([]byte(text))
	c.plan = text
	c.planLeaf = fmt.Sprintf("egovmon-leaf/1 plan\nmachine %s\nversion %d\nblob %x %d\n", machine, version, sum, len(text))
	c.planAt = c.log.add(c.planLeaf)
}

func (c *collector) sendPlan(w http.ResponseWriter) {
	msg, err := note.Sign(&note.Note{Text: c.plan}, c.planKey)
	if err != nil {
		c.t.Error(err)
	}
	proof, err := tlog.ProveRecord(c.log.n, c.planAt, c.log)
	if err != nil {
		c.t.Error(err)
	}
	h := w.Header()
	h.Set(wire.HeaderLeaf, strconv.FormatInt(c.planAt, 10))
	h.Set(wire.HeaderLeafText, base64.StdEncoding.EncodeToString([]byte(c.planLeaf)))
	h.Set(wire.HeaderCheckpoint, base64.StdEncoding.EncodeToString([]byte(c.log.checkpoint())))
	h.Set(wire.HeaderProof, wire.EncodeProof(proof))
	if c.change != nil {
		c.change(&wire.Answer{}, h)
	}
	_, _ = w.Write(msg)
}

// A rig is an agent's journal and pusher before a collector.
type rig struct {
	testing.TB
	c       *collector
	srv     *httptest.Server // nil in a bubble
	j       *journal.Journal
	p       *Pusher
	o       Options
	jo      journal.Options
	clock   time.Time
	plans   []string
	refuse  error
	version int64
	want    []check.Result
}

func (r *rig) InForce() (string, int64) {
	if len(r.plans) == 0 {
		return "", 0
	}
	sum := sha256.Sum256([]byte(r.plans[len(r.plans)-1]))
	return hex.EncodeToString(sum[:]), r.version
}

func (r *rig) Apply(text, _ []byte) error {
	if r.refuse != nil {
		return r.refuse
	}
	r.plans = append(r.plans, string(text))
	r.version++
	return nil
}

func newRig(t testing.TB) *rig {
	r := &rig{TB: t, clock: start}
	now := func() time.Time { return r.clock }
	r.setUp(now)
	r.srv = httptest.NewUnstartedServer(r.c)
	r.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	r.srv.StartTLS()
	t.Cleanup(r.srv.Close)
	r.o.Collector, r.o.Client = r.srv.URL, r.srv.Client()
	r.restart()
	return r
}

func (r *rig) setUp(now func() time.Time) {
	journalKey, journalVer := newKey(r, "egovmon/tu-ky/journal/"+machine)
	planKey, planVer := newKey(r, "egovmon/tu-ky/plan")
	logKey, logVer := newKey(r, "egovmon/tu-ky/log/1")
	r.c = &collector{
		t: r, keys: note.VerifierList(journalVer), planKey: planKey, log: &log{signer: logKey},
		heads: map[string]uint64{}, notes: map[string]string{}, known: map[string]bool{}, clock: now,
	}
	quiet := slog.New(slog.DiscardHandler)
	r.jo = journal.Options{Dir: filepath.Join(r.TempDir(), "journal"), Machine: machine, Signer: journalKey, Now: now, Build: "test", Log: quiet}
	r.o = Options{Machine: machine, LogKey: logVer, PlanKey: planVer, Plans: r, Dir: r.TempDir(), Now: now, Log: quiet, Prove: -1, Gap: time.Minute}
	r.o.Fork = func(at time.Time) error { return r.j.Rotate("fork", at) }
}

// restart opens journal and pusher anew, as after a kill.
func (r *rig) restart() {
	r.Helper()
	var err error
	if r.j, _, err = journal.OpenJournal(r.jo); err != nil {
		r.Fatal(err)
	}
	if err := r.j.Begin(r.o.Now()); err != nil {
		r.Fatal(err)
	}
	r.o.Journal = r.j
	if r.p, err = New(r.o); err != nil {
		r.Fatal(err)
	}
}

// measure records and seals a result.
func (r *rig) measure() {
	r.Helper()
	r.clock = r.clock.Add(time.Minute)
	res := check.Result{Check: "a", Slot: r.clock, Start: r.clock, Took: time.Millisecond, State: check.Up, Reason: check.OK, Attempts: 1}
	if err := r.j.Record([]check.Result{res}, nil); err != nil {
		r.Fatal(err)
	}
	r.want = append(r.want, res)
	r.clock = r.clock.Add(time.Minute)
	if err := r.j.Record(nil, nil); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) round() {
	r.Helper()
	if err := r.p.Round(r.Context()); err != nil {
		r.Fatal(err)
	}
}

// arrived checks that the collector has every result once, in order.
func (r *rig) arrived() {
	r.Helper()
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if diff := cmp.Diff(r.want, r.c.results); diff != "" {
		r.Errorf("results at the collector (-want +got):\n%s", diff)
	}
}

func (r *rig) refused(want uint64) {
	r.Helper()
	if got := r.p.Stats().Refused; got != want {
		r.Errorf("%d checkpoints and plans refused, want %d", got, want)
	}
}

func TestPush(t *testing.T) {
	r := newRig(t)
	for range 5 {
		r.measure()
		r.round()
	}
	r.arrived()
	r.refused(0)
	s := r.p.Stats()
	if s.Requests["2xx"] == 0 || s.Failures != 0 || !s.LastSuccess.Equal(r.clock) || s.Batches != r.j.Stats().Head.Seq || r.j.Stats().Batches != 0 {
		t.Errorf("stats %+v", s)
	}
	if got := len(r.c.calls); got != 5 {
		t.Errorf("%d calls for 5 pushes: %v", got, r.c.calls)
	}
	// The next header carries clock and checkpoint.
	cp := r.c.log.checkpoint()
	r.measure()
	bs, err := r.j.Batches(r.j.Acked(), 1, 1<<20)
	if err != nil || len(bs) == 0 {
		t.Fatal(err)
	}
	h, err := journal.ParseNote(bs[0].Batch.Note, r.c.keys)
	if err != nil {
		t.Fatal(err)
	}
	if h.Clock == nil || h.Checkpoint == nil || !strings.HasPrefix(cp, fmt.Sprintf("%s\n%d\n%s\n", h.Checkpoint.Origin, h.Checkpoint.Size, h.Checkpoint.Hash)) {
		t.Errorf("header:\n%s\nlast checkpoint:\n%s", h.Text(), cp)
	}
	r.restart()
	r.measure()
	r.round()
	r.arrived()
	r.refused(0)
	if err := r.p.Goodbye(t.Context(), "stop"); err != nil {
		t.Fatal(err)
	}
	if got := r.c.calls[len(r.c.calls)-1]; got != `{"cause":"stop"}` {
		t.Errorf("goodbye was %s", got)
	}
}

func TestClockOffset(t *testing.T) {
	r := newRig(t)
	r.c.clock = func() time.Time { return r.clock.Add(3 * time.Second) }
	r.round()
	if got := r.p.Stats().Offset; got > -2900*time.Millisecond || got < -3100*time.Millisecond {
		t.Errorf("offset %s of a clock 3 s behind", got)
	}
}

// Whatever goes wrong in between, every result arrives once.
func TestPushThroughFailures(t *testing.T) {
	huge := func(w http.ResponseWriter) {
		_, _ = io.Copy(w, io.LimitReader(zeros{}, wire.MaxAnswer+1))
	}
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request, c *collector)
		class  string
		err    string
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request, _ *collector) { w.WriteHeader(500) }, "5xx", "answers 500"},
		{"403", func(w http.ResponseWriter, _ *http.Request, _ *collector) { w.WriteHeader(403) }, "4xx", "answers 403"},
		{"redirect", func(w http.ResponseWriter, _ *http.Request, _ *collector) { w.WriteHeader(304) }, "3xx", "answers 304"},
		{"429", func(w http.ResponseWriter, r *http.Request, c *collector) {
			w.Header().Set("Retry-After", "77")
			c.answer(w, r, 429, nil)
		}, "429", "wait 1m17s"},
		{"429 by a proxy", func(w http.ResponseWriter, _ *http.Request, _ *collector) { w.WriteHeader(429) }, "429", "wait 1s"},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request, _ *collector) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"head":`)
		}, "error", "unexpected EOF"},
		{"cut off", func(http.ResponseWriter, *http.Request, *collector) { panic(http.ErrAbortHandler) }, "error", "EOF"},
		{"a web page", func(w http.ResponseWriter, _ *http.Request, _ *collector) { _, _ = io.WriteString(w, "<html>log in") }, "error", "not the collector's JSON"},
		{"a huge answer", func(w http.ResponseWriter, _ *http.Request, _ *collector) { huge(w) }, "error", "more than 65536 bytes"},
		{"taken, and the answer lost", func(_ http.ResponseWriter, r *http.Request, c *collector) {
			if r.Method == http.MethodPost {
				c.take(r.Body)
			}
			panic(http.ErrAbortHandler)
		}, "error", "EOF"},
		{"taken, and a server error", func(w http.ResponseWriter, r *http.Request, c *collector) {
			if r.Method == http.MethodPost {
				c.take(r.Body)
			}
			w.WriteHeader(503)
		}, "5xx", "answers 503"},
		{"200 and nothing archived", func(w http.ResponseWriter, r *http.Request, c *collector) { c.answer(w, r, 200, nil) }, "2xx", "says that its head is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.measure()
			r.c.before = func(w http.ResponseWriter, req *http.Request) bool { tt.answer(w, req, r.c); return true }
			err := r.p.Round(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
			if s := r.p.Stats(); s.Requests[tt.class] == 0 {
				t.Errorf("counted %v, want %s", s.Requests, tt.class)
			}
			if r.j.Acked() != (wire.Head{}) {
				t.Errorf("%v counts as acknowledged", r.j.Acked())
			}
			r.c.before = nil
			r.round()
			r.arrived()
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// Why the collector is not reached is shown as long as it is so.
func TestProblemIsShown(t *testing.T) {
	r := newRig(t)
	var from []string
	for _, tt := range []struct {
		body string
		want Problem
	}{
		{`{"code":"revoked","error":"ask for a new token"}`, Revoked}, {`{"code":"no_identity","error":"x"}`, NoIdentity}, {"<html>", BadAnswer},
	} {
		r.c.before = func(w http.ResponseWriter, req *http.Request) bool {
			from = append(from, req.RemoteAddr)
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, tt.body)
			return true
		}
		err := r.p.Round(t.Context())
		if got := r.p.Stats().Problem; got != tt.want || err == nil {
			t.Errorf("%s: %q, %v; want %q", tt.body, got, err, tt.want)
		}
	}
	// A connection may be older than our certificate: where the identity is refused, the next call makes a new one.
	if len(slices.Compact(from)) != 3 {
		t.Errorf("refused calls came by the connections %v", from)
	}
	r.c.before = nil
	if err := r.p.Round(t.Context()); err != nil || r.p.Stats().Problem != "" {
		t.Errorf("it works again: %v, %q", err, r.p.Stats().Problem)
	}
}

func TestPartialSuccess(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.measure()
	}
	r.c.before = func(w http.ResponseWriter, req *http.Request) bool {
		var some []byte
		n := 0
		for f, err := range wire.ReadBatches(req.Body) {
			if n++; err == nil && n <= 2 {
				some = wire.AppendBatch(some, f.Header, f.Body)
			}
		}
		r.c.take(strings.NewReader(string(some)))
		r.c.answer(w, req, 429, nil)
		return true
	}
	if err := r.p.Round(t.Context()); err == nil {
		t.Error("no error of a 429")
	}
	if len(r.c.results) == 0 || len(r.c.results) == len(r.want) {
		t.Fatalf("%d results of %d were taken", len(r.c.results), len(r.want))
	}
	if r.p.after.Seq != 2 || r.j.Acked() != (wire.Head{}) {
		t.Errorf("goes on after %v, acknowledged %v; want 2 and nothing yet", r.p.after, r.j.Acked())
	}
	r.c.before = nil
	r.round()
	r.arrived()
	if r.j.Stats().Batches != 0 {
		t.Errorf("%d batches are not acknowledged", r.j.Stats().Batches)
	}
}

// The collector lost its disk and asks for everything again.
func TestWant(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.measure()
		r.round()
	}
	clear(r.c.heads)
	clear(r.c.notes)
	clear(r.c.known)
	r.c.results = nil
	r.measure()
	r.round()
	r.arrived()
}

func TestWantInCircles(t *testing.T) {
	r := newRig(t)
	r.measure()
	r.c.before = func(w http.ResponseWriter, req *http.Request) bool {
		r.c.answer(w, req, 409, &wire.Head{Journal: r.j.ID(), Seq: 1})
		return true
	}
	if err := r.p.Round(t.Context()); err == nil || !strings.Contains(err.Error(), "asks again") {
		t.Errorf("error %v", err)
	}
	if len(r.c.calls) > 3 {
		t.Errorf("%d calls in a circle", len(r.c.calls))
	}
}

func TestWantOfNothing(t *testing.T) {
	r := newRig(t)
	r.measure()
	id := r.j.ID()
	r.c.before = func(w http.ResponseWriter, req *http.Request) bool {
		r.c.answer(w, req, 409, &wire.Head{Journal: strings.Repeat("0", 32), Seq: 5})
		return true
	}
	if err := r.p.Round(t.Context()); err == nil {
		t.Error("no error of a want that cannot be")
	}
	if r.j.ID() != id {
		t.Error("the journal was given up for a journal that is not ours")
	}
}

// The disk was set back to an earlier state: the collector has other batches under the same numbers.
func TestFork(t *testing.T) {
	r := newRig(t)
	r.measure()
	r.round()
	snapshot := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(snapshot, os.DirFS(r.jo.Dir)); err != nil {
		t.Fatal(err)
	}
	r.measure()
	r.round()
	old := r.j.ID()
	r.jo.Dir = snapshot
	r.restart()
	r.measure()
	r.measure()
	r.round()
	if r.j.ID() == old {
		t.Fatal("the forked journal goes on")
	}
	r.measure() // seals what was carried
	r.round()
	r.measure()
	r.round()
	r.arrived()
	if r.j.Stats().Batches != 0 {
		t.Errorf("%d batches are left", r.j.Stats().Batches)
	}
	if !slices.ContainsFunc(r.c.records, func(rec journal.Record) bool {
		return rec.Begin != nil && rec.Begin.Cause == "fork" && rec.Begin.PreviousJournal == old
	}) {
		t.Error("no begin names the forked journal")
	}
}

func TestForkOverAndOver(t *testing.T) {
	r := newRig(t)
	r.measure()
	r.c.before = func(w http.ResponseWriter, req *http.Request) bool { r.c.answer(w, req, 409, nil); return true }
	_ = r.p.Round(t.Context())
	r.measure()
	if err := r.p.Round(t.Context()); err == nil || !strings.Contains(err.Error(), "refuses the new journal") {
		t.Errorf("error %v", err)
	}
	if len(r.c.calls) > 5 {
		t.Errorf("%d calls", len(r.c.calls))
	}
	r.c.before = nil
	r.measure()
	r.round()
	r.arrived()
}

// The cursor is lost, and the batches are so old that the collector knows them by its head only.
func TestCursorLost(t *testing.T) {
	r := newRig(t)
	for range 5 {
		r.measure()
		r.round()
	}
	id := r.j.ID()
	clear(r.c.known)
	if err := os.Remove(filepath.Join(r.jo.Dir, "cursor")); err != nil {
		t.Fatal(err)
	}
	r.restart()
	r.round()
	r.measure()
	r.round()
	r.arrived()
	if r.j.ID() != id {
		t.Error("the journal was given up")
	}
}

func TestCheckpoints(t *testing.T) {
	for _, tt := range []struct {
		name   string
		break_ func(r *rig)
		err    bool
		proof  bool // the refused checkpoint is kept as evidence
	}{
		{"continues", func(*rig) {}, false, false},
		{"continues, the proof is asked for", func(r *rig) {
			r.c.change = func(_ *wire.Answer, h http.Header) {
				if last := r.c.calls[len(r.c.calls)-1]; strings.HasPrefix(last, "POST") {
					h.Del(wire.HeaderProof)
				}
			}
		}, false, false},
		{"no proof", func(r *rig) { r.c.change = func(_ *wire.Answer, h http.Header) { h.Del(wire.HeaderProof) } }, true, false},
		{"signed by another", func(r *rig) { r.c.log.signer, _ = newKey(r, r.c.log.signer.Name()) }, true, false},
		{"of another log", func(r *rig) { r.c.log.signer, _ = newKey(r, "egovmon/khac/log/1") }, true, false},
		{"not a note", func(r *rig) { r.c.change = func(a *wire.Answer, _ http.Header) { a.Checkpoint = "hello" } }, true, false},
		{"rewritten", func(r *rig) {
			l := &log{signer: r.c.log.signer}
			for i := range r.c.log.n + 5 {
				l.add(fmt.Sprint("other ", i))
			}
			r.c.log = l
		}, true, true},
		{"shrunk", func(r *rig) { r.c.log = &log{signer: r.c.log.signer} }, true, true},
		{"rewritten at the same size", func(r *rig) {
			l := &log{signer: r.c.log.signer}
			for i := range r.p.tree.N - 1 {
				l.add(fmt.Sprint("other ", i))
			}
			r.c.log = l // one batch is added by the push
		}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			for range 3 {
				r.measure()
				r.round()
			}
			before := r.p.tree
			tt.break_(r)
			r.measure()
			r.round() // results are taken whatever the checkpoint is
			r.arrived()
			want := uint64(0)
			if tt.err {
				want = 1
			}
			r.refused(want)
			if moved := r.p.tree != before; moved == tt.err {
				t.Errorf("checkpoint went from %v to %v", before, r.p.tree)
			}
			if _, err := os.Stat(filepath.Join(r.o.Dir, RefusedFile)); (err == nil) != tt.proof {
				t.Errorf("the refused checkpoint is kept: %v, want %v", err == nil, tt.proof)
			}
			last := r.p.tree
			r.restart()
			if r.p.tree != last {
				t.Errorf("after a start the checkpoint is %v, want %v", r.p.tree, last)
			}
		})
	}
}

func TestCheckpointFileRuined(t *testing.T) {
	r := newRig(t)
	if err := os.WriteFile(filepath.Join(r.o.Dir, CheckpointFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(r.o); err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("error %v", err)
	}
}

func TestPlan(t *testing.T) {
	const text = "plan: xã An Thanh\nversion: 3\n"
	for _, tt := range []struct {
		name   string
		break_ func(r *rig)
		ok     bool
	}{
		{"good", func(*rig) {}, true},
		{"signed by another", func(r *rig) { r.c.planKey, _ = newKey(r, r.c.planKey.Name()) }, false},
		{"leaf of another machine", func(r *rig) { r.c.planLeaf = strings.Replace(r.c.planLeaf, machine, "pc-khac", 1) }, false},
		{"older version", func(r *rig) { r.version = 3; r.plans = []string{"the one in force"} }, false},
		{"leaf of another plan", func(r *rig) { r.c.plan += "#\n" }, false},
		{"leaf not shown", func(r *rig) { r.c.change = func(_ *wire.Answer, h http.Header) { h.Del(wire.HeaderLeafText) } }, false},
		{"leaf not in the log", func(r *rig) { r.c.planLeaf = strings.Replace(r.c.planLeaf, "version", "a 1\nversion", 1) }, false},
		{"proof broken", func(r *rig) {
			r.c.change = func(a *wire.Answer, h http.Header) {
				if a.Time == "" {
					h.Set(wire.HeaderProof, "x")
				}
			}
		}, false},
		{"index of another leaf", func(r *rig) {
			r.c.change = func(_ *wire.Answer, h http.Header) {
				if h.Get(wire.HeaderLeaf) != "" {
					h.Set(wire.HeaderLeaf, "0")
				}
			}
		}, false},
		{"refused by the reader", func(r *rig) { r.refuse = fmt.Errorf("checks[0]: no such kind") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.measure()
			r.round()
			r.c.setPlan(text, 3)
			r.measure()
			tt.break_(r)
			had := len(r.plans)
			r.round()
			if got := len(r.plans) > had; got != tt.ok {
				t.Errorf("plan applied: %v, want %v", got, tt.ok)
			}
			if tt.ok && r.plans[len(r.plans)-1] != text {
				t.Errorf("plan %q", r.plans[len(r.plans)-1])
			}
			if tt.ok {
				r.refused(0)
			} else {
				r.refused(1)
			}
			r.arrived()
			// Neither an applied plan nor a refused one is fetched with every push.
			n := len(r.c.calls)
			r.measure()
			r.round()
			if got := r.c.calls[n:]; len(got) != 1 {
				t.Errorf("calls of the next push: %v", got)
			}
		})
	}
}

func TestPlanServerFails(t *testing.T) {
	r := newRig(t)
	r.c.setPlan("plan: x\n", 1)
	r.c.before = func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path == wire.PathPlan {
			w.WriteHeader(502)
			return true
		}
		return false
	}
	r.round()
	r.c.before = nil
	r.round()
	if len(r.plans) != 1 {
		t.Error("a plan that could not be fetched once is not fetched again")
	}
}

func TestHangingServer(t *testing.T) {
	r := newRig(t)
	r.measure()
	entered := make(chan struct{})
	r.c.before = func(_ http.ResponseWriter, req *http.Request) bool {
		_, _ = io.Copy(io.Discard, req.Body) // the server sees a hang-up only then
		close(entered)
		<-req.Context().Done()
		return true
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.p.Run(ctx) }()
	<-entered
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	r.c.mu.Lock()
	r.c.before = nil
	r.c.mu.Unlock()
	r.round()
	r.arrived()
}

func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		tries int
		roll  float64
		want  time.Duration
	}{
		{0, 0, 100 * time.Millisecond},
		{0, 0.5, 500 * time.Millisecond},
		{3, 0.5, 4 * time.Second},
		{8, 1, 256 * time.Second},
		{9, 1, 5 * time.Minute},
		{1000, 1, 5 * time.Minute},
	} {
		if got := backoff(tt.tries, tt.roll); got != tt.want {
			t.Errorf("backoff(%d, %g) = %s, want %s", tt.tries, tt.roll, got, tt.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"": time.Second, "0": time.Second, "-5": time.Second, "30": 30 * time.Second, "99999999": time.Hour, "soon": time.Second,
		start.Add(2 * time.Minute).Format(http.TimeFormat): 2 * time.Minute,
	} {
		if got := retryAfter(in, start); got != want {
			t.Errorf("retryAfter(%q) = %s, want %s", in, got, want)
		}
	}
}

// A direct transport calls the collector without a socket, so that time can be made to pass.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.h.ServeHTTP(w, r)
	return w.Result(), nil
}

func bubble(t *testing.T) *rig {
	r := &rig{TB: t}
	r.setUp(time.Now)
	r.o.Collector, r.o.Client = "https://collector.test", &http.Client{Transport: direct{r.c}}
	r.restart()
	return r
}

// result records a result of now.
func (r *rig) result(reason check.Reason) {
	r.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	res := check.Result{Check: "a", Slot: now, Start: now, State: reason.State(), Reason: reason, Attempts: 1}
	if err := r.j.Record([]check.Result{res}, nil); err != nil {
		r.Fatal(err)
	}
	r.want = append(r.want, res)
}

func (r *rig) run(ctx context.Context) (wait func()) {
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.j.Run(ctx) })
	wg.Go(func() { _ = r.p.Run(ctx) })
	return wg.Wait
}

func TestRunSendsWhatIsSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubble(t)
		ctx, cancel := context.WithCancel(t.Context())
		wait := r.run(ctx)
		defer func() { cancel(); wait() }()
		time.Sleep(time.Second)
		r.result(check.OK)
		synctest.Wait()
		r.arrived() // the first result at once
		for range 3 {
			time.Sleep(10 * time.Second)
			r.result(check.OK)
		}
		time.Sleep(10 * time.Second)
		r.result(check.Timeout)
		synctest.Wait()
		r.arrived() // a change at once
		r.result(check.Timeout)
		r.result(check.Timeout)
		time.Sleep(5 * time.Second)
		r.arrived()
		r.result(check.Timeout)
		time.Sleep(61 * time.Second)
		r.arrived() // everything within `seal`
		n := r.c.asked()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := r.c.asked() - n; got != 10 {
			t.Errorf("%d calls in 10 idle minutes, want one each", got)
		}
	})
}

// A proof is larger than all else in an answer: it is asked for now and then, and at once where something is wrong.
func TestProofsNowAndThen(t *testing.T) {
	r := newRig(t)
	r.o.Prove = 0
	r.restart()
	var asked []string
	r.c.before = func(_ http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path == wire.PathBatches {
			asked = append(asked, req.FormValue(wire.ParamFrom))
		}
		return false
	}
	seen := r.p.tree.N
	for range 12 { // two minutes each
		r.measure()
		r.round()
	}
	r.refused(0)
	proofs := 0
	for _, from := range asked[1:] {
		if from != "" {
			proofs++
		}
	}
	if proofs != 2 || r.p.tree.N <= seen {
		t.Errorf("%d proofs in 24 minutes, want 2; asked %q", proofs, asked)
	}
	// A log that was rewritten is noticed with the next proof, one that shrank at once; then each call asks.
	last := r.p.tree
	r.c.mu.Lock()
	r.c.log = &log{signer: r.c.log.signer}
	r.c.mu.Unlock()
	r.measure()
	r.round()
	if r.p.tree != last || r.p.Stats().Refused == 0 {
		t.Errorf("a log that shrank: %d refused, tree %v", r.p.Stats().Refused, r.p.tree)
	}
	r.arrived()
}

func TestGap(t *testing.T) {
	for seal, want := range map[time.Duration]time.Duration{
		5 * time.Second: 75 * time.Second, time.Minute: 75 * time.Second, 90 * time.Second: 112500 * time.Millisecond, 15 * time.Minute: 2 * time.Minute,
	} {
		if got := Gap(seal); got != want {
			t.Errorf("sealed every %s: %s, want %s", seal, got, want)
		}
	}
}

func TestRunBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubble(t)
		r.p.roll = func() float64 { return 0.999 }
		r.c.before = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true }
		ctx, cancel := context.WithCancel(t.Context())
		wait := r.run(ctx)
		defer func() { cancel(); wait() }()
		for range 120 { // results go on coming in
			time.Sleep(30 * time.Second)
			r.result(check.OK)
		}
		synctest.Wait()
		if got := r.c.asked(); got < 15 || got > 25 {
			t.Errorf("%d calls in an hour without a collector", got)
		}
		if s := r.p.Stats(); s.Failures != r.c.asked() || s.LastError == "" {
			t.Errorf("stats %+v after %d calls", s, r.c.asked())
		}
		r.c.mu.Lock()
		r.c.before = nil
		r.c.mu.Unlock()
		time.Sleep(7 * time.Minute)
		r.arrived()
		if s := r.p.Stats(); s.Failures != 0 || s.LastError != "" {
			t.Errorf("stats %+v after a success", s)
		}
	})
}

// The collector says 429 to spread its load, 503 and 507 when it cannot take anything; a proxy may say 503 too, and with
// that nobody can silence an agent for long.
func TestRunObeysRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		status int
		after  string
		least  time.Duration
		calls  int // in two hours, at least
	}{
		{http.StatusTooManyRequests, "600", 10 * time.Minute, 10},
		{http.StatusTooManyRequests, "86400", time.Hour, 2},
		{http.StatusServiceUnavailable, "450", 450 * time.Second, 14},
		{http.StatusServiceUnavailable, "86400", 10 * time.Minute, 10},
		{http.StatusInsufficientStorage, "540", 9 * time.Minute, 11},
		{http.StatusInsufficientStorage, "86400", 10 * time.Minute, 10},
		{http.StatusServiceUnavailable, "", 0, 20},
		{http.StatusInternalServerError, "86400", 0, 20},
	} {
		t.Run(fmt.Sprint(tt.status, tt.after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := bubble(t)
				var at []time.Time
				r.c.before = func(w http.ResponseWriter, req *http.Request) bool {
					at = append(at, time.Now())
					if tt.after != "" {
						w.Header().Set("Retry-After", tt.after)
					}
					w.WriteHeader(tt.status)
					return true
				}
				ctx, cancel := context.WithCancel(t.Context())
				wait := r.run(ctx)
				time.Sleep(2*time.Hour + time.Minute)
				cancel()
				wait()
				if len(at) < tt.calls {
					t.Fatalf("%d calls in two hours, want %d at least", len(at), tt.calls)
				}
				for i := range at[1:] {
					if gap := at[i+1].Sub(at[i]); gap < tt.least {
						t.Errorf("called again after %s, want %s at least", gap, tt.least)
					}
				}
			})
		})
	}
}

// A byte of the journal goes bad before its batch was sent: what can be read arrives, under a new journal.
func TestDamaged(t *testing.T) {
	r := newRig(t)
	r.measure()
	r.round()
	old := r.j.ID()
	r.measure()
	r.measure()
	path := filepath.Join(r.jo.Dir, "00000001.seg")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-10] ^= 1 // of the last batch
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r.round()
	if r.j.ID() == old {
		t.Fatal("the damaged journal goes on")
	}
	r.measure()
	r.round()
	r.want = slices.Delete(r.want, 2, 3) // the one that cannot be read
	r.arrived()
	if r.j.Stats().Batches != 0 {
		t.Errorf("%d batches are not acknowledged", r.j.Stats().Batches)
	}
}

func TestRunAsksSoonWhileThereIsNoPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubble(t)
		ctx, cancel := context.WithCancel(t.Context())
		wait := r.run(ctx)
		defer func() { cancel(); wait() }()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if n := r.c.asked(); n < 4 || n > 6 {
			t.Errorf("%d calls in the first 15 seconds without a plan, want about one at 0, 2, 6 and 14", n)
		}
	})
}
