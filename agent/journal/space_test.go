package journal

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
)

// full is a result with everything that can be left out.
func (r *rig) full(id string) check.Result {
	res := r.result(id, check.OK)
	for len(res.Detail) < 200 { // cannot be compressed
		res.Detail += string(rune('A' + rand.IntN(26)))
	}
	for _, name := range []string{"connect", "dns", "first_byte", "send", "tls", "total", "transfer"} {
		res.Phases = append(res.Phases, check.Phase{Name: name, Took: time.Duration(100+rand.IntN(900)) * time.Millisecond})
	}
	res.Took = time.Duration(rand.IntN(1e6)) * 10 * time.Microsecond
	return res
}

// rate tells what is left of a result.
func rate(r check.Result) part {
	switch {
	case len(r.Phases) == 0:
		return phases
	case r.Detail == leftOut:
		return details
	}
	return nothing
}

// fillUp records results, one a tick while they fit, until some are lost, and returns how many those were that it gave.
func (r *rig) fillUp() (given int) {
	r.Helper()
	for r.j.Stats().Lost == 0 {
		r.clock = r.clock.Add(time.Second)
		rs := []check.Result{r.full("a")}
		if r.j.Stats().Held > 0 {
			rs = slices.Repeat(rs, 200)
		}
		_ = r.j.Write(rs, nil)
		_ = r.j.Sync()
		if given += len(rs); given > 1e5 {
			r.Fatal("held without bound")
		}
	}
	return given
}

// wantAll checks that each result given is recorded, or counted by a range. It returns which parts were left out, in the
// order of the results.
func (r *rig) wantAll(given, lost int) (seen []part) {
	r.Helper()
	recs, _ := r.sent()
	n, said := 0, 0
	for _, rec := range recs {
		switch {
		case rec.Range != nil && rec.Range.Reason == check.DataLost:
			said += rec.Range.Slots
			if rec.Range.To.Sub(rec.Range.From) < time.Second {
				r.Errorf("range %+v holds no time", rec.Range)
			}
		case rec.Result != nil && rec.Result.Check == "a":
			n++
			if p := rate(*rec.Result); len(seen) == 0 || seen[len(seen)-1] != p {
				seen = append(seen, p)
			}
		}
	}
	if n != given-lost || said != lost {
		r.Errorf("%d results of %d are recorded, and ranges tell of %d lost; want %d and %d", n, given, said, given-lost, lost)
	}
	return seen
}

// On a full disk whole results come first, then ones without details, then ones without phases, then none, which a range
// says; and whole ones again when there is room.
func TestDiskFull(t *testing.T) {
	r, d := newLabRig(t)
	r.o.Seal = time.Hour
	r.open()
	r.begin()
	var whole, before int64
	for range 4 { // the first ones are sealed at once
		r.clock = r.clock.Add(3 * time.Second)
		if err := r.j.Record([]check.Result{r.full("a")}, nil); err != nil {
			t.Fatal(err)
		}
		before, whole = d.used(), d.used()-before
	}
	d.size = before + 3*whole - 90 // of the third, the detail does not fit
	given := 4 + r.fillUp()
	s := r.j.Stats()
	if s.Held == 0 || s.Spared == 0 {
		t.Errorf("on a full disk: %+v", s)
	}
	if got, _ := r.j.LatestOf("a"); !got.Slot.Before(r.clock.Add(-time.Minute)) && s.Recorded > uint64(given)/2 {
		t.Errorf("%d of %d results are shown as recorded, up to %s", s.Recorded, given, got.Slot)
	}
	d.size = 0
	r.clock = r.clock.Add(time.Second)
	if err := r.j.Sync(); err != nil {
		t.Fatal(err)
	}
	r.clock = r.clock.Add(calm)
	if err := r.j.Record([]check.Result{r.full("a")}, nil); err != nil {
		t.Fatal(err)
	}
	r.stop()
	seen := r.wantAll(given+1, s.Lost)
	if want := []part{nothing, details, phases, nothing}; !slices.Equal(seen, want) {
		r.Errorf("parts left out, in the order of the results: %v, want %v", seen, want)
	}
}

// A kill while the disk is full loses what was held, and only that; the next start finds the last slot that is there.
func TestDiskFullThenKill(t *testing.T) {
	r, d := newLabRig(t)
	r.begin()
	r.tick("a")
	d.size = d.used() + 500
	var errs []error
	for range 20 {
		r.clock = r.clock.Add(time.Second)
		errs = append(errs, r.j.Record([]check.Result{r.full("a")}, nil))
	}
	if !errors.Is(errs[19], errFull) {
		t.Fatalf("the disk is full, and the journal says %v", errs[19])
	}
	shown, _ := r.j.LatestOf("a")
	r.open()
	if got := r.found.LastSlot["a"]; got.Before(shown.Slot) || r.found.Unreadable != "" {
		t.Errorf("last slot %s, shown before was %s; %s", got, shown.Slot, r.found.Unreadable)
	}
	d.size = 0
	r.begin()
	r.tick("b")
	r.stop()
	if _, _, err := r.chain(); err != nil {
		t.Error(err)
	}
}
