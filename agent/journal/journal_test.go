package journal

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/wire"
)

var discard = slog.New(slog.DiscardHandler)

// A rig is a journal in a temporary folder with a clock that stands until it is moved.
type rig struct {
	testing.TB
	o         Options
	verifiers note.Verifiers
	dicts     map[string][]byte // that the collector knows
	clock     time.Time
	j         *Journal
	found     Recovered
}

func newRig(t testing.TB) *rig {
	r := &rig{TB: t, clock: testTime}
	signer, verifiers := testKey(t, testKeyName)
	r.verifiers = verifiers
	r.o = Options{
		Dir: filepath.Join(t.TempDir(), "journal"), Machine: "pc-an-thanh-01", Signer: signer, Build: "test",
		Now: func() time.Time { return r.clock }, Log: discard,
	}
	r.start()
	return r
}

func (r *rig) now() time.Time { return r.clock }

// start opens the journal, as after a kill when it was open, and begins.
func (r *rig) start() {
	r.Helper()
	r.open()
	r.begin()
}

func (r *rig) begin() {
	r.Helper()
	if err := r.j.Begin(r.clock); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) open() {
	r.Helper()
	var err error
	if r.j, r.found, err = OpenJournal(r.o); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) stop() {
	r.Helper()
	if err := r.j.Close("stop", r.clock); err != nil {
		r.Fatal(err)
	}
}

// result is one that ended now.
func (r *rig) result(id string, reason check.Reason) check.Result {
	return check.Result{
		Check: id, Slot: r.clock.Truncate(time.Second), Start: r.clock.Add(-50 * time.Millisecond).Truncate(time.Millisecond),
		Took: 50 * time.Millisecond, State: reason.State(), Reason: reason, Attempts: 1,
	}
}

// tick moves the clock by a second and records a result of each check.
func (r *rig) tick(ids ...string) []check.Result {
	r.Helper()
	r.clock = r.clock.Add(time.Second)
	var rs []check.Result
	for _, id := range ids {
		rs = append(rs, r.result(id, check.OK))
	}
	if err := r.j.Record(rs, nil); err != nil {
		r.Fatal(err)
	}
	return rs
}

// sent reads every sealed batch as the collector would: each verified, each naming the one before.
func (r *rig) sent() (recs []Record, heads []wire.Head) {
	r.Helper()
	var after wire.Head
	previous := NoPrevious
	rd, err := NewReader()
	if err != nil {
		r.Fatal(err)
	}
	rd.Dictionaries(r.dictionary)
	for {
		bs, err := r.j.Batches(after, 3, 1<<20)
		if err != nil {
			r.Fatal(err)
		}
		if len(bs) == 0 {
			return recs, heads
		}
		for _, b := range bs {
			h, rs, err := rd.Open(b.Batch, r.verifiers)
			if err != nil {
				r.Fatal(err)
			}
			if h.Journal != after.Journal {
				previous = NoPrevious
			}
			if h.Previous != previous || h.Head() != b.Head {
				r.Fatalf("batch %v names %s as the one before, want %s", b.Head, h.Previous, previous)
			}
			previous, after = b.Batch.Hash(), b.Head
			recs, heads = append(recs, rs...), append(heads, b.Head)
		}
	}
}

func resultsOf(recs []Record) (rs []check.Result) {
	for _, r := range recs {
		if r.Result != nil {
			rs = append(rs, *r.Result)
		}
	}
	return rs
}

func (r *rig) wantResults(want []check.Result) {
	r.Helper()
	recs, _ := r.sent()
	if diff := cmp.Diff(want, resultsOf(recs)); diff != "" {
		r.Errorf("results in batches (-want +got):\n%s", diff)
	}
}

func TestRecordSealRead(t *testing.T) {
	r := newRig(t)
	if !r.found.First || r.found.Journal != "" {
		t.Errorf("found %+v in an empty folder", r.found)
	}
	var want []check.Result
	for range 200 {
		want = append(want, r.tick("a.http", "b.ping")...)
	}
	if got, _ := r.j.LatestOf("b.ping"); !cmp.Equal(got, want[len(want)-1]) {
		t.Errorf("latest is %+v", got)
	}
	if got := r.j.LastSlots()["a.http"]; !got.Equal(r.clock.Truncate(time.Second)) {
		t.Errorf("last slot is %s", got)
	}
	r.stop()
	recs, heads := r.sent()
	if diff := cmp.Diff(want, resultsOf(recs)); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if b, e := recs[0].Begin, recs[len(recs)-1].End; b == nil || b.Cause != "first" || e == nil || e.Cause != "stop" {
		t.Errorf("journal runs from %+v to %+v", recs[0], recs[len(recs)-1])
	}
	if len(heads) < 4 || len(heads) > 8 {
		t.Errorf("%d batches in 200 s", len(heads))
	}
	head, hash := r.j.Head()
	if head != heads[len(heads)-1] || !isHex(hash, 32) {
		t.Errorf("head is %v %s, want %v", head, hash, heads[len(heads)-1])
	}
}

func TestStopAndStart(t *testing.T) {
	r := newRig(t)
	if err := r.j.PlanApplied(PlanApplied{Version: 3, SHA256: NoPrevious, At: r.clock}); err != nil {
		t.Fatal(err)
	}
	want := r.tick("a", "b")
	r.stop()
	id := r.found.Journal
	r.clock = r.clock.Add(time.Hour)
	r.open()
	f := r.found
	if !f.Clean || f.EndCause != "stop" || f.First || f.Journal == "" || f.Journal == id || f.Plan == nil || f.Plan.Version != 3 || f.TornBytes != 0 || f.Unreadable != "" {
		t.Errorf("found %+v", f)
	}
	if !f.LastTime.Equal(r.clock.Add(-time.Hour)) || !f.LastSlot["b"].Equal(want[1].Slot) {
		t.Errorf("last time %s, last slots %v", f.LastTime, f.LastSlot)
	}
	if err := r.j.Record(nil, nil); !errors.Is(err, errBegin) {
		t.Errorf("recorded before begin: %v", err)
	}
	if err := r.j.Begin(r.clock); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, r.j.Latest()); diff != "" {
		t.Errorf("latest after a start (-want +got):\n%s", diff)
	}
	want = append(want, r.tick("a")...)
	r.stop()
	r.wantResults(want)
	recs, _ := r.sent()
	var begins []string
	for _, rec := range recs {
		if rec.Begin != nil {
			begins = append(begins, rec.Begin.Cause)
		}
	}
	if diff := cmp.Diff([]string{"first", "start"}, begins); diff != "" {
		t.Errorf("begins (-want +got):\n%s", diff)
	}
	if err := r.j.Record(nil, nil); !errors.Is(err, errClosed) {
		t.Errorf("recorded after close: %v", err)
	}
}

// A kill at any moment: the files are whatever was written.
func TestKill(t *testing.T) {
	r := newRig(t)
	var want []check.Result
	for range 150 {
		want = append(want, r.tick("a", "b")...)
		if last := r.found.LastSlot; last != nil && last["a"].After(r.clock) {
			t.Fatal("last slot is in the future")
		}
		r.start()
		if r.found.Clean || r.found.TornBytes != 0 || !r.found.LastTime.Equal(r.clock) {
			t.Fatalf("after a kill at %s: %+v", r.clock, r.found)
		}
	}
	r.stop()
	r.wantResults(want)
}

// What is written is there after a kill, and is shown only once it is synced.
func TestWriteThenKill(t *testing.T) {
	r := newRig(t)
	want := r.tick("a", "b")
	for range 20 {
		r.clock = r.clock.Add(time.Second)
		before := r.j.Stats().Recorded
		for _, id := range []string{"a", "b", "c"} {
			res := r.result(id, check.OK)
			want = append(want, res)
			if err := r.j.Write([]check.Result{res}, nil); err != nil {
				t.Fatal(err)
			}
			if got, _ := r.j.LatestOf(id); got.Slot.Equal(res.Slot) {
				t.Fatalf("%s of %s is shown before it is synced", id, res.Slot)
			}
		}
		if got := r.j.Stats(); got.Recorded != before || got.Held != 0 {
			t.Fatalf("before the sync: %+v", got)
		}
		r.start() // killed
		if r.found.TornBytes != 0 || r.found.Clean {
			t.Fatalf("found %+v", r.found)
		}
	}
	r.clock = r.clock.Add(time.Second)
	res := r.result("a", check.Timeout)
	if err := errors.Join(r.j.Write([]check.Result{res}, nil), r.j.Sync()); err != nil {
		t.Fatal(err)
	}
	if got, _ := r.j.LatestOf("a"); !got.Slot.Equal(res.Slot) {
		t.Error("what is synced is not shown")
	}
	r.stop()
	r.wantResults(append(want, res))
}

// A power cut leaves any part of the last write. What was recorded before it is there; the rest is said.
func TestTorn(t *testing.T) {
	for _, name := range []string{openName, "00000001.seg"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			want := r.tick("a", "b")
			r.clock = r.clock.Add(5 * time.Second)
			want = append(want, r.tick("a", "b")...) // in the open file
			if name != openName {
				r.clock = r.clock.Add(2 * time.Minute)
			}
			path := filepath.Join(r.o.Dir, name)
			whole := sizeOf(t, path)
			last := r.tick("a", "b") // sealed, or in the open file
			full, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if int64(len(full)) <= whole {
				t.Fatalf("the last record did not go to %s", name)
			}
			dir := r.o.Dir
			for cut := whole; cut <= int64(len(full)); cut++ {
				r.o.Dir = copyDir(t, dir)
				if err := os.WriteFile(filepath.Join(r.o.Dir, name), full[:cut], 0o600); err != nil {
					t.Fatal(err)
				}
				r.start()
				expect := want
				if cut == int64(len(full)) {
					expect = slices.Concat(want, last)
				}
				if got := r.found.TornBytes; cut < int64(len(full)) && got != cut-whole {
					t.Errorf("cut at %d: %d torn bytes, want %d", cut, got, cut-whole)
				}
				if r.found.Unreadable != "" {
					t.Fatalf("cut at %d: %s", cut, r.found.Unreadable)
				}
				expect = slices.Concat(expect, r.tick("c"))
				r.stop()
				r.wantResults(expect)
			}
		})
	}
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	return copyTo(t, filepath.Join(t.TempDir(), "copy"), dir)
}

func copyTo(t *testing.T, to, dir string) string {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestRotate(t *testing.T) {
	r := newRig(t)
	want := r.tick("a")
	old := r.j.ID()
	r.clock = r.clock.Add(-time.Hour)
	if err := r.j.Rotate("clock_stepped", r.clock); err != nil {
		t.Fatal(err)
	}
	if r.j.ID() == old || len(r.j.LastSlots()) != 0 || !r.j.LastRecordTime().Equal(r.clock) {
		t.Errorf("after the rotation: journal %s, last slots %v, last time %s", r.j.ID(), r.j.LastSlots(), r.j.LastRecordTime())
	}
	want = append(want, r.tick("a")...)
	r.start() // killed
	if r.found.Unreadable != "" || len(r.found.LastSlot) != 1 || !r.found.LastTime.Equal(r.clock) {
		t.Errorf("found %+v", r.found)
	}
	r.stop()
	r.wantResults(want)
	recs, heads := r.sent()
	var ends, begins []string
	for _, rec := range recs {
		if rec.End != nil {
			ends = append(ends, rec.End.Cause)
		}
		if b := rec.Begin; b != nil && b.Cause == "clock_stepped" {
			begins = append(begins, b.PreviousJournal, b.PreviousHead)
		}
	}
	i := slices.IndexFunc(heads, func(h wire.Head) bool { return h.Journal != old }) - 1
	bs, err := r.j.Batches(wire.Head{Journal: old, Seq: heads[i].Seq - 1}, 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{old, "2:" + bs[0].Batch.Hash()}, begins); diff != "" {
		t.Errorf("begin names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"clock_stepped", "stop"}, ends); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
}

func TestRotateThenKill(t *testing.T) {
	r := newRig(t)
	r.tick("a")
	if err := r.j.Rotate("fork", r.clock); err != nil {
		t.Fatal(err)
	}
	id := r.j.ID()
	r.open()
	if r.found.Journal != id || r.found.Clean || len(r.found.LastSlot) != 0 || r.found.Unreadable != "" {
		t.Errorf("found %+v, want journal %s", r.found, id)
	}
}

func TestAckAndPrune(t *testing.T) {
	r := newRig(t)
	r.o.segmentSize = 2000
	r.start()
	for range 40 {
		r.clock = r.clock.Add(time.Minute)
		r.tick("a", "b")
	}
	_, heads := r.sent()
	n := len(r.j.segments)
	if n < 5 {
		t.Fatalf("%d segments", n)
	}
	if s := r.j.Stats(); s.Batches != uint64(len(heads)) || s.Acked != (wire.Head{}) || s.Oldest.After(testTime.Add(2*time.Minute)) || s.Recorded != 80 {
		t.Errorf("stats before: %+v", s)
	}
	half := heads[len(heads)/2]
	for _, h := range []wire.Head{half, heads[3], half} {
		if err := r.j.Ack(h); err != nil {
			t.Fatal(err)
		}
		if got := r.j.Acked(); got != half {
			t.Fatalf("acknowledged %v after %v, want %v", got, h, half)
		}
	}
	for _, h := range []wire.Head{{Journal: half.Journal, Seq: 9999}, {Journal: NoPrevious[:32], Seq: 1}} {
		if err := r.j.Ack(h); !errors.Is(err, ErrUnknownHead) {
			t.Errorf("Ack(%v): %v", h, err)
		}
		if _, err := r.j.Batches(h, 1, 1); !errors.Is(err, ErrUnknownHead) {
			t.Errorf("Batches(%v): %v", h, err)
		}
	}
	if s := r.j.Stats(); s.Batches != uint64(len(heads)-len(heads)/2-1) {
		t.Errorf("%d batches not acknowledged of %d", s.Batches, len(heads))
	}
	r.start()
	if got := r.j.Acked(); got != half {
		t.Errorf("after a start %v is acknowledged, want %v", got, half)
	}
	if len(r.j.segments) < n {
		t.Errorf("%d segments of %d are left within 14 days", len(r.j.segments), n)
	}
	r.clock = r.clock.Add(15 * 24 * time.Hour)
	r.tick("a")
	head, _ := r.j.Head()
	if err := r.j.Ack(head); err != nil {
		t.Fatal(err)
	}
	if s := r.j.Stats(); s.Batches != 0 || !s.Oldest.IsZero() || s.Bytes <= 0 {
		t.Errorf("stats after: %+v", s)
	}
	if got := len(r.j.segments); got > 2 {
		t.Errorf("%d segments are left after 15 days", got)
	}
	names, _ := filepath.Glob(filepath.Join(r.o.Dir, "*.seg"))
	if len(names) != len(r.j.segments) {
		t.Errorf("%d files of %d segments", len(names), len(r.j.segments))
	}
	r.tick("b")
	r.stop()
	if bs, err := r.j.Batches(head, 10, 1<<20); err != nil || len(bs) == 0 {
		t.Errorf("after pruning: %d batches, %v", len(bs), err)
	}
}

func TestCursorLostOrRuined(t *testing.T) {
	for _, content := range []string{"", "egovmon-cursor/1 x 1 .\n", "egovmon-cursor/1 " + testJournal + " 7 .\n", strings.Repeat("x", 1000)} {
		r := newRig(t)
		r.tick("a")
		head, _ := r.j.Head()
		if err := r.j.Ack(head); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.o.Dir, cursorName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r.start()
		if r.found.Unreadable != "" || r.j.Acked() != (wire.Head{}) {
			t.Errorf("cursor %.20q: acknowledged %v, %s", content, r.j.Acked(), r.found.Unreadable)
		}
	}
}

// Batches that the collector has are gone here: the journal must not go on under numbers it has used.
func TestRewound(t *testing.T) {
	r := newRig(t)
	r.tick("a")
	before := copyDir(t, r.o.Dir)
	r.clock = r.clock.Add(time.Minute)
	r.tick("a")
	r.tick("b")
	head, _ := r.j.Head()
	if err := r.j.Ack(head); err != nil {
		t.Fatal(err)
	}
	old := r.j.ID()
	cursor, err := os.ReadFile(filepath.Join(r.o.Dir, cursorName))
	if err != nil {
		t.Fatal(err)
	}
	r.o.Dir = before
	if err := os.WriteFile(filepath.Join(r.o.Dir, cursorName), cursor, 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	if r.found.Unreadable == "" || r.j.ID() == old {
		t.Errorf("journal %s goes on after %+v", r.j.ID(), r.found)
	}
	kept := r.tick("c")
	r.stop()
	recs, _ := r.sent()
	rs := resultsOf(recs)
	if len(rs) == 0 || !cmp.Equal(rs[len(rs)-1], kept[0]) {
		t.Errorf("results after the loss: %+v", rs)
	}
	if !slices.ContainsFunc(recs, func(r Record) bool {
		return r.Begin != nil && r.Begin.Cause == "unreadable" && r.Begin.PreviousJournal == old
	}) {
		t.Error("no begin names the journal that is lost")
	}
}

func TestOtherMachine(t *testing.T) {
	r := newRig(t)
	r.tick("a")
	r.o.Machine = "pc-khac"
	if _, _, err := OpenJournal(r.o); err == nil {
		t.Error("opened with the key of another machine")
	}
	r.o.Signer, _ = testKey(t, "egovmon/tu-ky/journal/pc-khac")
	if _, _, err := OpenJournal(r.o); err == nil || !strings.Contains(err.Error(), "another folder") {
		t.Errorf("opened the journal of another machine: %v", err)
	}
}

func TestInvalidRecords(t *testing.T) {
	r := newRig(t)
	r.clock = r.clock.Add(time.Second)
	good := r.result("a", check.OK)
	bad := r.result("Bad Check", check.OK)
	odd := r.result("b", "no_such_reason")
	err := r.j.Record([]check.Result{bad, good, odd}, []check.Range{{Reason: check.OK, Check: "*", From: r.clock, To: r.clock}})
	if err == nil || !strings.Contains(err.Error(), "Bad Check") || !strings.Contains(err.Error(), "reason \"ok\"") {
		t.Errorf("error %v", err)
	}
	r.stop()
	odd.Reason, odd.State, odd.Detail = check.Internal, check.Unknown, `reason "no_such_reason" cannot stand in a result; `
	r.wantResults([]check.Result{good, odd})
}

func TestSegmentsRoll(t *testing.T) {
	r := newRig(t)
	r.o.segmentSize = 1
	r.start()
	var want []check.Result
	for range 5 {
		r.clock = r.clock.Add(time.Minute)
		want = append(want, r.tick("a", "b")...)
	}
	// Only the last segment is read at a start, and it knows the checks that are not in it.
	r.clock = r.clock.Add(time.Minute)
	want = append(want, r.tick("b")...)
	r.start()
	if got := slices.Sorted(maps.Keys(r.found.LastSlot)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("last slots of %v are known after a start", got)
	}
	r.stop()
	r.wantResults(want)
}

func TestCarry(t *testing.T) {
	r := newRig(t)
	var want []check.Result
	for range 3 {
		r.clock = r.clock.Add(time.Minute)
		want = append(want, r.tick("a", "b")...)
	}
	_, heads := r.sent()
	old := r.j.ID()
	if err := r.j.Ack(heads[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.j.Carry(old); err == nil {
		t.Error("carried from the journal that is written")
	}
	if err := r.j.Rotate("fork", r.clock); err != nil {
		t.Fatal(err)
	}
	last := r.j.LastRecordTime()
	n, err := r.j.Carry(old)
	if err != nil || n != len(want)-2 { // the first batch is acknowledged, with one tick in it
		t.Errorf("carried %d records, want %d: %v", n, len(want)-2, err)
	}
	if r.j.Acked().Journal != old || r.j.LastRecordTime() != last {
		t.Errorf("acknowledged %v, last time %s", r.j.Acked(), r.j.LastRecordTime())
	}
	r.stop()
	recs, heads := r.sent()
	if diff := cmp.Diff(slices.Concat(want, want[2:]), resultsOf(recs)); diff != "" {
		t.Errorf("results of both journals (-want +got):\n%s", diff)
	}
	if left := r.j.Stats().Batches; left == 0 || left >= uint64(len(heads)) {
		t.Errorf("%d batches of %d are to be sent", left, len(heads))
	}
	if _, err := r.j.Carry(NoPrevious[:32]); !errors.Is(err, ErrUnknownHead) {
		t.Errorf("carried from nowhere: %v", err)
	}
}
