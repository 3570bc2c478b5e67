package faults

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check"
	"egovmon/agent/host"
	"egovmon/agent/journal"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/history/index"
	"egovmon/collector/intake"
)

// A remains is what a run left on disk, when nothing runs any more.
type remains struct {
	machine string
	agents  []string // data folders that have held the machine's journal
	keys    []string // private journal keys that the machine had before the one it has
	state   string   // folder of the collector
	kinds   check.Table
	// damaged: some of the agent's files were made unreadable, so that they do not verify.
	damaged bool
	// orphans: the log has results that no folder of the agent has any more.
	orphans bool
	// relogged: the collector's log was set back, so that it need not be the one that the agent has seen.
	relogged bool
	// cloned: two machines used the identity, so that results are parked.
	cloned bool
	// rejected are the reasons for which recorded results may be in the log and enter no figure.
	rejected []string
	rebuild  func(t *testing.T) string // dump of a history made again from the evidence; default by the rooms
}

// A key names one run of a check.
type key struct {
	check       string
	slot, start int64 // Unix ms
	detail      string
}

func keyOf(r check.Result) key {
	return key{r.Check, r.Slot.UnixMilli(), r.Start.UnixMilli(), r.Detail}
}

// ahead is the key of what the machine recorded, where its clock was wrong.
func (k key) ahead(o intake.Observation) key {
	k.slot, k.start = k.slot+o.Ahead.Milliseconds(), k.start+o.StartAhead.Milliseconds()
	return k
}

func (k key) String() string {
	return fmt.Sprintf("%s of %s, run at %s", k.check, time.UnixMilli(k.slot).UTC().Format("02T15:04:05"), time.UnixMilli(k.start).UTC().Format("02T15:04:05.000"))
}

// A story is what the remains say.
type story struct {
	recorded map[key]check.Result           // by the agent's folders
	archived map[key]intake.Observation     // by the log
	events   []intake.Accepted              // by the log
	observed map[string][]history.Run       // by the history: every second from the first plan on, by check
	totals   map[check.Reason]int64         // seconds of observed, of all checks
	span     history.Span                   // from the first plan to the last word
	rejected map[string]int                 // of archived batches
	dump     string                         // of the live history
	causes   []string                       // of the begins in the log
	ranges   map[check.Reason][]check.Range // in the log
}

// judge reads what is left and asks everything that must hold whatever happened.
func (r remains) judge(t *testing.T) *story {
	t.Helper()
	s := &story{recorded: map[key]check.Result{}, archived: map[key]intake.Observation{}, observed: map[string][]history.Run{},
		totals: map[check.Reason]int64{}, rejected: map[string]int{}, ranges: map[check.Reason][]check.Range{}}
	for _, dir := range r.agents {
		r.readJournal(t, dir, s)
	}
	store, close := r.openLog(t)
	r.readLog(t, store, s)
	close()
	r.onceEach(t, s)
	r.readHistory(t, s)
	s.everySecond(t)
	return s
}

// readJournal verifies an agent's journal and takes its results.
func (r remains) readJournal(t *testing.T, dir string, s *story) {
	t.Helper()
	id, err := host.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	var known []note.Verifier
	for _, key := range append([]string{id.JournalKey}, r.keys...) {
		name, alg, private, err := wire.ParseSignerKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := wire.VerifierKey(name, append([]byte{alg}, private[32:]...))
		if err != nil {
			t.Fatal(err)
		}
		v, err := note.NewVerifier(text)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(known, func(o note.Verifier) bool { return o.KeyHash() == v.KeyHash() }) {
			known = append(known, v)
		}
	}
	report, err := journal.Verify(filepath.Join(dir, "journal"), note.VerifierList(known...))
	if err != nil {
		t.Errorf("journal of %s: %v", filepath.Base(dir), err)
	}
	if !r.damaged && len(report.Problems) > 0 {
		t.Errorf("journal of %s does not verify: %d problems, the first: %.300v", filepath.Base(dir), len(report.Problems)+report.More, report.Problems[0])
	}
	for e := range journal.Read(filepath.Join(dir, "journal")) {
		for _, rec := range e.Records {
			if rec.Result != nil {
				s.recorded[keyOf(*rec.Result)] = *rec.Result
			}
		}
	}
}

// openLog verifies the log and opens it.
func (r remains) openLog(t *testing.T) (*evidence.Store, func()) {
	t.Helper()
	keys, err := openKeys(r.state, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	v, err := keys.LogVerifier()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(r.state, "evidence")
	if _, err := evidence.Verify(dir, v); err != nil {
		t.Errorf("the log does not verify: %.300v", err)
	}
	store, err := evidence.Open(evidence.Options{Dir: dir, Origin: v.Name(), Signer: keys.LogSigner, Verifier: v})
	if err != nil {
		t.Fatal(err)
	}
	return store, func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// readLog takes what the log says of the machine, and proves that the leaves are in it, one tree after the other.
func (r remains) readLog(t *testing.T, store *evidence.Store, s *story) {
	t.Helper()
	fold, err := intake.NewFold(r.kinds, store.Blob)
	if err != nil {
		t.Fatal(err)
	}
	err = intake.Replay(t.Context(), store, fold, 0, func(a intake.Accepted) error {
		if a.Machine != r.machine {
			return nil
		}
		s.events = append(s.events, a)
		for why, n := range a.Rejected {
			s.rejected[why] += n
		}
		for _, e := range a.Events {
			switch {
			case e.Observation != nil:
				k := keyOf(e.Observation.Result).ahead(*e.Observation)
				if _, twice := s.archived[k]; twice {
					t.Errorf("the log has %v twice", k)
				}
				s.archived[k] = *e.Observation
			case e.Begin != nil:
				s.causes = append(s.causes, e.Begin.Cause)
			case e.Range != nil:
				s.ranges[e.Range.Reason] = append(s.ranges[e.Range.Reason], *e.Range)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tree := store.Tree()
	for i := int64(0); i < tree.N; i += max(1, tree.N/40) {
		leaf, err := store.Leaf(i)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := store.ProveLeaf(i, tree.N)
		if err == nil {
			err = tlog.CheckRecord(proof, tree.N, tree.Hash, i, leaf.Hash())
		}
		if err != nil {
			t.Errorf("leaf %d is not proven to be in the log: %v", i, err)
		}
	}
	for _, a := range s.events { // every checkpoint that the agent saw is of this log
		if seen := a.Header.Checkpoint; seen != nil && seen.Size <= tree.N && !r.relogged {
			proof, err := store.ProveTree(seen.Size, tree.N)
			if err == nil {
				err = tlog.CheckTree(proof, tree.N, tree.Hash, seen.Size, seen.Hash)
			}
			if err != nil {
				t.Errorf("the log is not the one that the agent saw with %d leaves: %v", seen.Size, err)
				break
			}
		}
	}
}

// onceEach holds what was recorded against what is archived.
func (r remains) onceEach(t *testing.T, s *story) {
	t.Helper()
	var missing, changed, extra []key
	for k, want := range s.recorded {
		got, ok := s.archived[k]
		switch {
		case !ok:
			missing = append(missing, k)
		case got.Reason != want.Reason && !(r.cloned && got.Reason == check.IdentityCloned) || got.Took != want.Took || got.Attempts != want.Attempts:
			changed = append(changed, k)
		}
	}
	for k := range s.archived {
		if _, ok := s.recorded[k]; !ok && !r.orphans {
			extra = append(extra, k)
		}
	}
	if len(r.rejected) > 0 && len(missing) > 0 { // they are in the log, though not in the history
		n := 0
		for _, rejected := range s.rejected {
			n += rejected
		}
		if len(missing) <= n {
			missing = nil
		}
	}
	for what, keys := range map[string][]key{"is not in the log": missing, "is another one in the log": changed, "was never recorded, and is in the log": extra} {
		if len(keys) > 0 {
			slices.SortFunc(keys, func(a, b key) int { return int(a.start - b.start) })
			t.Errorf("%d results of %d; the first %s: %v", len(keys), len(s.recorded), what, keys[0])
		}
	}
	for why, n := range s.rejected {
		if !slices.Contains(r.rejected, why) {
			t.Errorf("%d records are rejected as %s", n, why)
		}
	}
}

// readHistory dumps the live history, compares it with one that is made again from the evidence, and takes its runs.
func (r remains) readHistory(t *testing.T, s *story) {
	t.Helper()
	path := filepath.Join(r.state, "history.db")
	s.dump = dump(t, path)
	again := ""
	if r.rebuild != nil {
		again = r.rebuild(t)
	} else {
		again = r.rebuilt(t)
	}
	if s.dump != again {
		t.Errorf("the history made again from the evidence is another one: %s", firstDifference(s.dump, again))
	}
	x, err := index.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	ids := map[string]bool{}
	for _, a := range s.events {
		for _, e := range a.Events {
			switch {
			case e.Plan != nil:
				if at := e.Plan.At.Unix(); s.span.From == 0 || at < s.span.From {
					s.span.From = at
				}
				for _, c := range e.Plan.Plan.Checks {
					ids[c.ID] = true
				}
			case e.Observation != nil:
				s.span.To = max(s.span.To, e.Observation.Start.Unix())
			case e.End != nil:
				s.span.To = max(s.span.To, e.End.At.Unix())
			}
		}
	}
	ms, err := x.Machines(t.Context(), []string{r.machine}, s.span)
	if err != nil {
		t.Fatal(err)
	}
	m := ms[r.machine]
	if m == nil {
		t.Fatalf("the history does not know machine %s", r.machine)
	}
	for id := range ids {
		s.observed[id] = m.Observed(id, s.span)
		for _, run := range s.observed[id] {
			s.totals[run.Reason] += run.Seconds()
		}
	}
}

// rebuilt makes the history again, with the rooms.
func (r remains) rebuilt(t *testing.T) string {
	t.Helper()
	store, close := r.openLog(t)
	defer close()
	path := filepath.Join(t.TempDir(), "history.db")
	x, err := index.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	fold, err := intake.NewFold(r.kinds, store.Blob)
	if err == nil {
		var all []history.Batch
		err = intake.Replay(t.Context(), store, fold, 0, func(a intake.Accepted) error { all = append(all, a.History()); return nil })
		if err == nil {
			err = x.Add(t.Context(), all...)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return dump(t, path)
}

// dump is every run of a history as text.
func dump(t *testing.T, path string) string {
	t.Helper()
	x, err := index.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var b bytes.Buffer
	if err := x.Dump(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d is %.420q, and %.420q", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d lines, and %d", len(x), len(y))
}

// everySecond holds the history against the log: a second of which a result speaks has its reason, unless a later one
// speaks of it too, and a second of which nothing speaks is silent.
func (s *story) everySecond(t *testing.T) {
	t.Helper()
	first := map[string]map[int64]check.Reason{} // of the seconds with which stretches begin
	many := map[string]map[int64]bool{}
	cut := map[string]int64{} // of each journal, by its last change of plan
	for _, a := range s.events {
		for _, e := range a.Events {
			if e.Plan != nil {
				cut[a.Header.Journal] = e.Plan.At.Unix()
			}
			o := e.Observation
			if o == nil {
				continue
			}
			if first[o.Check] == nil {
				first[o.Check], many[o.Check] = map[int64]check.Reason{}, map[int64]bool{}
			}
			at := max(o.From.Unix(), s.span.From)
			if c := cut[a.Header.Journal]; o.Start.Unix() >= c { // it is not that of a run under way at the change
				at = max(at, c)
			}
			if _, ok := first[o.Check][at]; ok {
				many[o.Check][at] = true
			}
			first[o.Check][at] = o.Reason
			if o.ClockUnproven {
				first[o.Check][at] = check.ClockUnproven
			}
		}
	}
	for id, starts := range first {
		for at, want := range starts {
			if many[id][at] || at >= s.span.To {
				continue
			}
			if got := reasonAt(s.observed[id], at); got != want && got != check.IdentityCloned {
				t.Errorf("%s at %s: the result says %s, the history %s", id, time.Unix(at, 0).UTC().Format("02T15:04:05"), want, got)
				return
			}
		}
	}
}

// reasonAt is what sorted runs say of a second.
func reasonAt(runs []history.Run, at int64) check.Reason {
	for _, r := range history.Clip(runs, history.Span{From: at, To: at + 1}) {
		return r.Reason
	}
	return ""
}

// measured reports whether a reason is one of a result.
func measured(r check.Reason) bool {
	return !r.Missed() && !r.AccountOnly() && r != check.ClockUnproven
}

// agree holds a disturbed run against the undisturbed one: of a second that both measured they say the same. It returns
// the share of the seconds that the reference measured and the disturbed run did too.
// Seconds of which unsure is true are passed over.
func agree(t *testing.T, reference, disturbed *story, unsure func(at int64) bool) float64 {
	t.Helper()
	var both, known int64
	for id, runs := range reference.observed {
		for _, r := range runs {
			if !measured(r.Reason) {
				continue
			}
			known += r.Seconds()
			for _, d := range history.Clip(disturbed.observed[id], r.Span) {
				if !measured(d.Reason) {
					continue
				}
				both += d.Seconds()
				if d.Reason == r.Reason {
					continue
				}
				for unsure != nil && d.From < d.To && unsure(d.From) {
					d.From++
				}
				if d.From < d.To {
					t.Errorf("%s from %s for %d s: undisturbed %s, disturbed %s", id, time.Unix(d.From, 0).UTC().Format("02T15:04:05"), d.Seconds(), r.Reason, d.Reason)
					return 0
				}
			}
		}
	}
	if known == 0 {
		t.Fatal("the undisturbed run measured nothing")
	}
	return float64(both) / float64(known)
}
