package index

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/history"

	"github.com/google/go-cmp/cmp"
)

func run(from, to int64, r check.Reason) history.Run {
	return history.Run{Span: history.Span{From: from, To: to}, Reason: r}
}

// TestMonths: months begin at midnight in Vietnam, which is 17:00 UTC of the day before.
func TestMonths(t *testing.T) {
	at := func(s string) int64 {
		t.Helper()
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.Unix()
	}
	november := (2026-1970)*12 + 10
	tests := []struct {
		at   string
		want int
	}{
		{"2026-10-31T16:59:59Z", november - 1},
		{"2026-10-31T17:00:00Z", november},
		{"2026-11-30T16:59:59Z", november},
		{"2026-11-30T17:00:00Z", november + 1},
		{"2026-11-01T00:00:00+07:00", november},
		{"1970-01-01T00:00:00Z", 0},
	}
	for _, tt := range tests {
		if got := monthOf(at(tt.at)); got != tt.want {
			t.Errorf("monthOf(%s) = %d, want %d", tt.at, got, tt.want)
		}
	}
	want := history.Span{From: at("2026-11-01T00:00:00+07:00"), To: at("2026-12-01T00:00:00+07:00")}
	if got := monthSpan(november); got != want {
		t.Errorf("monthSpan = %v, want %v", got, want)
	}
}

func sample() []history.Run {
	s := monthSpan(682)
	return []history.Run{run(s.From, s.From+60, check.OK), run(s.From+60, s.From+120, check.Timeout), run(s.From+4000, s.To-1, check.OK),
		run(s.To-1, s.To, check.ClockUnproven)}
}

func TestPackSize(t *testing.T) {
	b := pack(sample(), 682)
	got, err := unpack(b, 682)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sample(), got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if len(b) > 60 {
		t.Errorf("four runs take %d bytes", len(b))
	}
	for n := range len(b) {
		if _, err := unpack(b[:n], 682); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a whole", n, len(b))
		}
	}
}

// FuzzUnpack: whatever is read is sorted, within the month, and written again as an equal list.
func FuzzUnpack(f *testing.F) {
	f.Add(pack(sample(), 682))
	f.Add(pack(nil, 682))
	f.Add([]byte{2, 1, 2, 'o', 'k', 1, 0, 0, 0})
	f.Add([]byte{2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		runs, err := unpack(b, 682)
		if err != nil {
			return
		}
		in, at := monthSpan(682), int64(0)
		for _, r := range runs {
			if r.From < max(at, in.From) || r.To <= r.From || r.To > in.To || !r.Reason.Valid() {
				t.Fatalf("run %v after %d in %v", r, at, in)
			}
			at = r.To
		}
		again, err := unpack(pack(runs, 682), 682)
		if err != nil || !slices.Equal(runs, again) {
			t.Fatalf("packed again: %v, %v; want %v", again, err, runs)
		}
	})
}

func FuzzUnpackJournal(f *testing.F) {
	j := newKept()
	j.plans, j.months[682] = 1, 3
	*j.Journal = history.Journal{Begun: true, Begin: 1e9, Cut: -1, Off: 1e9 + 30, Plan: "ab", Tails: map[string]history.Tail{
		"s.web": {Open: run(1e9, 1e9+600, check.OK), Last: history.Span{From: 1e9 + 540, To: 1e9 + 600}}}}
	f.Add(packJournal(j))
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := unpackJournal(b)
		if err != nil {
			return
		}
		once := packJournal(j)
		again, err := unpackJournal(once)
		if err != nil || !bytes.Equal(once, packJournal(again)) {
			t.Fatalf("%v; %v again is %v", err, j, again)
		}
	})
}
