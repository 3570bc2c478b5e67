package history

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"egovmon/agent/check"

	"github.com/google/go-cmp/cmp"
)

// A statement is one thing that journals say, told in the words of the package comment.
type statement struct {
	journal  int
	slot     int64 // of a result
	from, to int64
	isRange  bool
	forAll   bool
	reason   check.Reason
}

// settleSecond returns what speaks for the second t, the first that holds; "" is nothing.
func settleSecond(said []statement, t int64) check.Reason {
	var best *statement
	for i := range said {
		s := &said[i]
		if t < s.from || t >= s.to {
			continue
		}
		switch {
		case best == nil:
		case s.isRange != best.isRange:
			if s.isRange {
				continue
			}
		case s.journal != best.journal:
			if s.journal < best.journal {
				continue
			}
		case s.isRange && s.forAll != best.forAll:
			if s.forAll {
				continue
			}
		case !s.isRange && s.slot < best.slot:
			continue
		}
		best = s
	}
	if best == nil {
		return ""
	}
	return best.reason
}

// TestSettleProperty writes random journals as an agent does, and compares the runs with each second told alone.
func TestSettleProperty(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 1))
	reasons := []check.Reason{check.OK, check.OK, check.Timeout, check.Slow}
	for round := range 2000 {
		var said []statement
		var layers []Layer
		var journals []*Journal
		now := int64(100)
		for k := range 1 + rnd.IntN(3) {
			j, l, first := &Journal{}, Layer{}, now
			j.Start(unix(first))
			for i := range said { // the later begin cuts the last result of each journal before
				if s := &said[i]; !s.isRange && last(said, i) && s.from < first && first < s.to {
					s.to = first
				}
			}
			every, version := int64(10), 0
			j.Apply(Plan{At: unix(now), SHA256: fmt.Sprint(version)})
			for range rnd.IntN(20) {
				switch rnd.IntN(8) {
				case 0: // a change of plan, or an end, in the middle of a slot
					now += int64(rnd.IntN(9))
					if rnd.IntN(2) == 0 {
						version++
						every = []int64{5, 10, 20}[rnd.IntN(3)]
						j.Apply(Plan{At: unix(now), SHA256: fmt.Sprint(version)})
					} else {
						j.Stop(End{At: unix(now)})
					}
					for i := range said {
						if s := &said[i]; !s.isRange && s.journal == k && s.from < now {
							s.to = min(s.to, now)
						}
					}
				case 1: // a range over something, of one check or of all
					s := statement{journal: k, from: now - int64(rnd.IntN(40)), to: now, isRange: true, forAll: rnd.IntN(2) == 0, reason: check.MissedStopped}
					if s.forAll {
						l.All = Over(l.All, []Run{{Span{s.from, s.to}, s.reason}})
					} else {
						s.reason = check.MissedOverrun
						l.Ranges = Over(l.Ranges, []Run{{Span{s.from, s.to}, s.reason}})
					}
					said = append(said, s)
				case 2: // slots that are not run
					now += every * int64(rnd.IntN(3))
				default:
					slot := (now + every - 1) / every * every
					r := reasons[rnd.IntN(len(reasons))]
					closed, late := j.Observe(Observation{Check: "c", Start: unix(slot), From: unix(slot), To: unix(slot + every), Reason: r})
					if len(late) > 0 {
						t.Fatalf("round %d: %v is late", round, late)
					}
					for _, c := range closed {
						l.Closed = Append(l.Closed, c)
					}
					said = append(said, statement{journal: k, slot: slot, from: slot, to: slot + every, reason: r})
					now = slot + 1
				}
			}
			l.Begun, l.Begin = j.Begun, j.Begin
			layers, journals = append(layers, l), append(journals, j)
			now = max(first+1, now+int64(rnd.IntN(30))-15) // the next journal's clock may have stepped back
		}
		for i := range layers {
			layers[i].Tail = journals[i].Tails["c"]
		}
		var want []Run
		for s := range int64(2000) {
			if r := settleSecond(said, s); r != "" {
				want = Append(want, Run{Span{s, s + 1}, r})
			}
		}
		if d := cmp.Diff(want, Settle(layers, Span{0, 2000}), equate); d != "" {
			t.Fatalf("round %d: -second by second +Settle\n%s\n%+v", round, d, said)
		}
	}
}

// last reports whether a result is the last one of its journal.
func last(said []statement, i int) bool {
	for _, s := range said[i+1:] {
		if !s.isRange && s.journal == said[i].journal {
			return false
		}
	}
	return true
}

// TestClocks: a fraction of a second is cut off, of instants of every sort, so that stretches go on where others end.
func TestClocks(t *testing.T) {
	j := &Journal{}
	half := 500 * time.Millisecond
	j.Start(unix(10).Add(half))
	j.Observe(Observation{Check: "c", Start: unix(10).Add(half), From: unix(10).Add(half), To: unix(60), Reason: check.OK})
	j.Stop(End{At: unix(30).Add(half)})
	if got, want := j.Tails["c"].Open, (Run{Span{10, 30}, check.OK}); got != want || j.Begin != 10 {
		t.Errorf("begin %d, run %v; want 10, %v", j.Begin, got, want)
	}
}

// TestCutsNeverRemove: an end with a clock far in the past takes nothing that was measured.
func TestCutsNeverRemove(t *testing.T) {
	j := &Journal{}
	for s := int64(1000); s < 2000; s += 10 {
		j.Observe(Observation{Check: "c", Start: unix(s), From: unix(s), To: unix(s + 10), Reason: check.OK})
	}
	j.Stop(End{At: unix(5)})
	if got, want := j.Tails["c"].Open, (Run{Span{1000, 2000}, check.OK}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	got := Settle([]Layer{{Tail: j.Tails["c"]}, {Begun: true, Begin: 500}}, Span{0, 3000})
	if d := cmp.Diff([]Run{{Span{1000, 2000}, check.OK}}, got); d != "" {
		t.Errorf("a later journal that begins before: -want +got\n%s", d)
	}
}

// TestWhatAStopLeaves: the seconds between two results that no slot was missed for say that the agent was stopped.
func TestWhatAStopLeaves(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(j *Journal) []Rest
		want []Rest
	}{
		{"a stop in the middle of a slot", func(j *Journal) []Rest { return j.Stop(End{unix(130), check.MissedStopped}) },
			[]Rest{{"c", Run{Span{130, 220}, check.MissedStopped}}}},
		{"a machine switched off", func(j *Journal) []Rest { return j.Stop(End{unix(130), check.MissedShutdown}) },
			[]Rest{{"c", Run{Span{130, 220}, check.MissedShutdown}}}},
		{"another journal goes on", func(j *Journal) []Rest { return j.Stop(End{At: unix(130)}) }, nil},
		{"a clock far in the past", func(j *Journal) []Rest { return j.Stop(End{unix(5), check.MissedStopped}) }, nil},
		{"long after the slot", func(j *Journal) []Rest { return j.Stop(End{unix(500), check.MissedStopped}) }, nil},
		{"killed, and back while the slot has its result", func(j *Journal) []Rest { return j.Start(unix(150)) }, nil},
		{"killed, and back in the next slot", func(j *Journal) []Rest { return j.Start(unix(175)) },
			[]Rest{{"c", Run{Span{160, 175}, check.MissedStopped}}}},
		{"killed, and back after a slot that a range tells of", func(j *Journal) []Rest { return j.Start(unix(230)) }, nil},
	} {
		j := &Journal{}
		j.Start(unix(10))
		j.Observe(Observation{Check: "c", Start: unix(100), From: unix(100), To: unix(160), Reason: check.OK})
		if d := cmp.Diff(c.want, c.do(j)); d != "" {
			t.Errorf("%s: -want +got\n%s", c.name, d)
		}
	}
}

func TestEpochs(t *testing.T) {
	plans := []Plan{{At: unix(10), SHA256: "a"}, {At: unix(20), SHA256: "b"}, {At: unix(15), SHA256: "c"}, {At: unix(30), SHA256: "d"}}
	var got []string
	for _, e := range Epochs(plans, 25) {
		got = append(got, fmt.Sprint(e.Span, e.Plan.SHA256))
	}
	if d := cmp.Diff([]string{"{10 15}a", "{15 30}c"}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestSwitchedOff: a machine that was switched off in order stays so until it is heard of again, and no longer.
func TestSwitchedOff(t *testing.T) {
	const off = check.MissedShutdown
	seen := func(j *Journal, from int64) {
		j.Observe(Observation{Check: "c", Start: unix(from), From: unix(from), To: unix(from + 60), Reason: check.OK})
	}
	for _, c := range []struct {
		name string
		do   func(j *Journal) (later []Layer)
		want []Run
	}{
		{"it is still off", func(j *Journal) []Layer { j.Stop(End{unix(130), off}); return nil }, []Run{{Span{130, 2000}, off}}},
		{"it is back, and measures", func(j *Journal) []Layer {
			j.Stop(End{unix(130), off})
			j.Start(unix(500))
			seen(j, 520)
			return nil
		}, []Run{{Span{520, 580}, check.OK}}},
		{"it is back, and has not measured yet", func(j *Journal) []Layer { j.Stop(End{unix(130), off}); j.Start(unix(500)); return nil }, nil},
		{"it is back in another journal", func(j *Journal) []Layer {
			j.Stop(End{unix(130), off})
			return []Layer{{}, {Begun: true, Begin: 100}, {Begun: true, Begin: 500}}
		}, []Run{{Span{130, 500}, off}}},
		{"only the agent was stopped", func(j *Journal) []Layer { j.Stop(End{unix(130), check.MissedStopped}); return nil }, nil},
		{"the agent goes on in another journal", func(j *Journal) []Layer { j.Stop(End{At: unix(130)}); return nil }, nil},
		{"the check was not measured for long", func(j *Journal) []Layer { j.Stop(End{unix(700), off}); return nil }, nil},
		{"a clock far in the past", func(j *Journal) []Layer { j.Stop(End{unix(5), off}); return nil }, nil},
	} {
		j := &Journal{}
		j.Start(unix(10))
		seen(j, 100)
		later := c.do(j)
		layers := append([]Layer{{Begun: true, Begin: 10, Off: j.Off, Tail: j.Tails["c"]}}, later...)
		after := Span{160, 2000}
		if d := cmp.Diff(Clip(c.want, after), Clip(Settle(layers, Span{0, 2000}), after)); d != "" {
			t.Errorf("%s: -want +got\n%s", c.name, d)
		}
	}
}
