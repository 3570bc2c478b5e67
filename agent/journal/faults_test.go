package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/wire"
)

// A witness knows what a journal was given, and what it said of it.
type witness struct {
	given    []check.Result       // in order
	recorded int                  // how many of these were recorded
	heads    map[wire.Head]string // hashes of the batches that were shown
	upTo     map[wire.Head]int    // how many results those and the ones before held
	acked    int                  // how many results are acknowledged
	begun    bool                 // a journal was said to have begun
}

// mayBeGone reports whether something that ends with the n-th result is old enough to be removed, and acknowledged.
func (w *witness) mayBeGone(n int, now time.Time) bool {
	return n <= w.acked && now.Sub(w.given[n-1].Slot) > 14*24*time.Hour
}

// script lets a journal do everything it can, one step after the other, with the witness beside it. Whatever fails is
// tried again at the next step, as the agent does. The last step closes it.
func script(r *rig, w *witness) {
	w.heads, w.upTo = make(map[wire.Head]string), make(map[wire.Head]int)
	look := func(err error) {
		if err == nil {
			w.recorded = len(w.given)
		}
		if head, hash := r.j.Head(); head.Seq > 0 && w.heads[head] == "" {
			w.heads[head], w.upTo[head] = hash, len(w.given)
		}
	}
	w.begun = r.j.Begin(r.clock) == nil // what could not be written is held
	for i := range 14 {
		r.clock = r.clock.Add(time.Second)
		if i%4 == 3 {
			r.clock = r.clock.Add(time.Minute)
		}
		for _, id := range []string{"a", "b"} {
			res := r.result(id, check.OK)
			w.given = append(w.given, res)
			if err := r.j.Write([]check.Result{res}, nil); err != nil {
				r.Fatal(err)
			}
		}
		look(r.j.Sync())
		switch i {
		case 4, 10:
			if head, _ := r.j.Head(); head.Seq > 0 {
				w.acked = w.upTo[head]
				_ = r.j.Ack(head)
			}
		case 8:
			r.clock = r.clock.Add(15 * 24 * time.Hour)
			look(r.j.Rotate("clock_stepped", r.clock))
		}
	}
	r.clock = r.clock.Add(time.Second)
	look(r.j.Close("stop", r.clock))
}

// survives reopens a journal from a folder, goes on with it, and reports what does not hold: everything recorded is there
// once, in order, nothing that was not given, every batch that was shown is there byte for byte, and the chain verifies.
func (w *witness) survives(r *rig, dir string) error {
	n := &rig{TB: r.TB, o: r.o, verifiers: r.verifiers, clock: r.clock.Add(time.Minute)}
	n.o.Dir, n.o.disk = dir, newLab(r.TB, dir)
	n.o.Now = func() time.Time { return n.clock }
	n.open()
	if n.found.Unreadable != "" {
		return errors.New(n.found.Unreadable)
	}
	if w.begun && n.found.Journal == "" {
		return errors.New("a journal had begun, and is not there")
	}
	given, recorded := slices.Clone(w.given), w.recorded
	for _, res := range given[:recorded] {
		if res.Slot.After(n.found.LastTime.Add(time.Minute)) {
			return fmt.Errorf("a result of %s was recorded, and the last time is %s", res.Slot, n.found.LastTime)
		}
	}
	n.begin()
	given = append(given, n.tick("c")...)
	n.stop()
	var got []check.Result
	recs, hashes, err := n.chain()
	if err != nil {
		return err
	}
	got = resultsOf(recs)
	same := func(a, b check.Result) bool { return a.Check == b.Check && a.Slot.Equal(b.Slot) }
	at := 0
	for _, g := range got {
		i := slices.IndexFunc(given[at:], func(x check.Result) bool { return same(x, g) })
		if i < 0 {
			return fmt.Errorf("%s of %s is there a second time, or was never given", g.Check, g.Slot)
		}
		for _, x := range given[at : at+i] {
			if k := slices.IndexFunc(given, func(y check.Result) bool { return same(x, y) }); k < recorded {
				if !w.mayBeGone(k+1, n.clock) {
					return fmt.Errorf("%s of %s was recorded, and is lost", x.Check, x.Slot)
				}
			}
		}
		at += i + 1
	}
	if at != len(given) {
		return fmt.Errorf("%d results of %d are there", at, len(given))
	}
	for head, hash := range w.heads {
		if hashes[head] != hash && !(hashes[head] == "" && w.mayBeGone(w.upTo[head], n.clock)) {
			return fmt.Errorf("batch %d of journal %.4s was shown, and is another one now, or gone (%.8s)", head.Seq, head.Journal, hashes[head])
		}
	}
	rep, err := Verify(dir, n.verifiers)
	if err != nil || len(rep.Problems) > 0 {
		return fmt.Errorf("verify: %v %v", rep.Problems, err)
	}
	return nil
}

// chain reads what is sealed, as the collector would, with the hash of each batch.
func (r *rig) chain() (recs []Record, hashes map[wire.Head]string, err error) {
	hashes = make(map[wire.Head]string)
	var after wire.Head
	previous := NoPrevious
	for {
		bs, err := r.j.Batches(after, 100, 1<<20)
		if err != nil || len(bs) == 0 {
			return recs, hashes, err
		}
		for _, b := range bs {
			h, rs, err := Open(b.Batch, r.verifiers)
			if err != nil {
				return nil, nil, err
			}
			if h.Journal != after.Journal {
				previous = NoPrevious
				if h.Seq != 1 && len(recs) > 0 {
					return nil, nil, fmt.Errorf("journal %s begins with batch %d", h.Journal, h.Seq)
				}
				if h.Seq != 1 {
					previous = h.Previous // the ones before are acknowledged and old enough
				}
			}
			if h.Previous != previous || h.Head() != b.Head {
				return nil, nil, fmt.Errorf("batch %d of journal %s does not name the one before", h.Seq, h.Journal)
			}
			previous, after = b.Batch.Hash(), b.Head
			recs, hashes[b.Head] = append(recs, rs...), previous
		}
	}
}

// newLabRig is a journal that has not begun, on a lab, with segments so small that they roll.
func newLabRig(t *testing.T) (*rig, *lab) {
	r := &rig{TB: t, clock: testTime}
	signer, verifiers := testKey(t, testKeyName)
	r.verifiers = verifiers
	dir := filepath.Join(quickDir(t), "journal")
	d := newLab(t, dir)
	r.o = Options{Dir: dir, Machine: "pc-an-thanh-01", Signer: signer, Build: "test", Now: func() time.Time { return r.clock },
		Log: discard, disk: d, segmentSize: 1500}
	r.open()
	return r, d
}

// Whatever is lost in a power cut, at whichever operation: nothing that was recorded, and nothing that was shown.
func TestPowerCut(t *testing.T) {
	r, d := newLabRig(t)
	w := new(witness)
	dirs := quickDir(t)
	d.after = func(op string) {
		for i, c := range cuts {
			dir := filepath.Join(dirs, fmt.Sprint(d.count, "-", i))
			d.crash(t, dir, c)
			if err := w.survives(r, dir); err != nil {
				t.Errorf("power cut after operation %s; %s: %v", op, c.name, err)
			}
		}
	}
	script(r, w)
	if w.recorded != len(w.given) || d.count < 80 {
		t.Fatalf("%d operations, %d of %d results recorded", d.count, w.recorded, len(w.given))
	}
}

// Whichever operation fails, done or not, for one operation or a run of them, and whatever a power cut leaves at any
// later one: nothing that was recorded is lost or doubled.
func TestFaults(t *testing.T) {
	r, d := newLabRig(t)
	script(r, new(witness))
	for from := 1; from <= d.count; from++ {
		for _, f := range []fault{refused, kept, short} {
			for _, run := range []int{1, 4} {
				faultyRun(t, from, run, f, "")
			}
		}
		faultyRun(t, from, 2, first, "")
		// A batch is there that seemed to fail, no other segment can be begun, and the open file goes on.
		faultyRun(t, from, 25, first, ".seg")
		if t.Failed() {
			return
		}
	}
}

// faultyRun runs the script with a run of operations that fail, those that contain only.
func faultyRun(t *testing.T, from, run int, f fault, only string) {
	r, d := newLabRig(t)
	d.only = only
	d.from, d.to, d.fault = d.count+from, d.count+from+run, f
	w := new(witness)
	dirs := quickDir(t)
	failed := ""
	d.after = func(op string) {
		since := d.count - d.from
		if since == 0 {
			failed = op
		}
		// After the fault a crash at each of the next operations is tried, and then now and then.
		if since < 0 || since > 5 && since%17 != 0 || t.Failed() {
			return
		}
		c := cuts[d.count%2]
		dir := filepath.Join(dirs, fmt.Sprint(d.count))
		d.crash(t, dir, c)
		if err := w.survives(r, dir); err != nil {
			t.Errorf("%d operations from %q on were %s; crash after %q, %s: %v", run, failed, f, op, c.name, err)
		}
		_ = os.RemoveAll(dir)
	}
	script(r, w)
	if w.recorded < len(w.given)-2 {
		t.Errorf("%d operations from %q on were %s: %d of %d results are recorded in the end", run, failed, f, w.recorded, len(w.given))
	}
}

// What a killed run had written and not synced is made durable before the next run shows it: a power cut after that
// loses none of it.
func TestKillThenPowerCut(t *testing.T) {
	r, _ := newLabRig(t)
	r.begin()
	want := r.tick("a", "b")
	r.clock = r.clock.Add(5 * time.Second)
	want = append(want, r.tick("a")...) // the second batch's lines
	d := newLab(t, r.o.Dir)
	for name, f := range d.names { // nothing was synced
		f.changes, f.durable = []change{{0, f.durable}}, nil
		if name == openName {
			d.kept = map[string]*node{}
		}
	}
	r.o.disk = d
	r.open()
	if shown, _ := r.j.LatestOf("a"); !shown.Slot.Equal(want[2].Slot) {
		t.Fatalf("after the kill %+v is shown", shown)
	}
	head, hash := r.j.Head()
	w := &witness{given: want, recorded: len(want), heads: map[wire.Head]string{head: hash}, upTo: map[wire.Head]int{head: 2}}
	dir := filepath.Join(quickDir(t), "cut")
	d.crash(t, dir, cuts[1])
	if err := w.survives(r, dir); err != nil {
		t.Error(err)
	}
}

// A power cut leaves a segment that begins and holds no batch; the open file is still that of the batch before, which
// the segment before has.
func TestEmptyLastSegment(t *testing.T) {
	r, _ := newLabRig(t)
	r.o.segmentSize = 1
	r.open()
	r.begin()
	r.clock = r.clock.Add(time.Second)
	want := []check.Result{r.result("a", check.OK)}
	if err := errors.Join(r.j.Write(want, nil), r.j.Sync()); err != nil { // sealed at once
		t.Fatal(err)
	}
	r.stop() // the end is sealed without the open file
	var end int64
	frames(r.o.Dir, "00000002.seg", false, func(_ int64, f frame, _ error) bool { end = f.end; return false })
	if err := os.Truncate(filepath.Join(r.o.Dir, "00000002.seg"), end+5); err != nil {
		t.Fatal(err)
	}
	r.o.disk = newLab(t, r.o.Dir)
	r.start()
	if r.found.Unreadable != "" || r.found.TornBytes != 5 {
		t.Errorf("found %+v", r.found)
	}
	want = append(want, r.tick("b")...)
	r.stop()
	r.wantResults(want)
}
