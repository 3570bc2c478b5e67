package history

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFates(t *testing.T) {
	begin := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return begin.Add(time.Duration(minutes) * time.Minute) }
	found := func(transit time.Duration, altered bool) map[uint64]Arrival {
		return map[uint64]Arrival{7: {transit, altered}, 8: {}}
	}
	for _, tt := range []struct {
		name  string
		r     Receiver
		now   time.Time
		want  Outcome
		proof time.Time
	}{
		{"found", Receiver{Found: found(time.Second, false)}, at(1), LetterOnTime, time.Time{}},
		{"found at the limit", Receiver{Found: found(5*time.Minute, false)}, at(10), LetterOnTime, time.Time{}},
		{"late", Receiver{Found: found(6*time.Minute, false)}, at(10), LetterLate, time.Time{}},
		{"a day late is late, not lost", Receiver{Since: at(-60), Last: at(1500), Found: found(24*time.Hour, false)}, at(1500), LetterLate, time.Time{}},
		{"altered", Receiver{Found: found(time.Hour, true)}, at(90), LetterAltered, time.Time{}},
		{"not yet", Receiver{Since: at(-60), Last: at(59)}, at(59), LetterWaiting, time.Time{}},
		{"lost", Receiver{Since: at(-60), Last: at(60)}, at(60), LetterLost, at(60)},
		{"lost, others were found", Receiver{Since: at(0), Last: at(70), Found: map[uint64]Arrival{8: {}}}, at(80), LetterLost, at(70)},
		{"the receiver looked too early", Receiver{Since: at(-60), Last: at(59)}, at(60), LetterUnproven, time.Time{}},
		{"the receiver was started anew meanwhile", Receiver{Since: at(1), Last: at(90)}, at(90), LetterUnproven, time.Time{}},
		{"the receiver tells nothing", Receiver{}, at(600), LetterUnproven, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent := []SentLetter{{Service: "mail", Serial: 7, From: "a", At: begin, To: []string{"b"}, Late: 5 * time.Minute, Lost: time.Hour}}
			got := Fates(sent, map[string]Receiver{"b": tt.r}, tt.now)
			want := []Fate{{Service: "mail", Serial: 7, From: "a", To: "b", At: begin, Outcome: tt.want, Transit: tt.r.Found[7].Transit, Proof: tt.proof}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Each copy has a fate of its own, in the order of sending.
func TestFatesOfCopies(t *testing.T) {
	begin := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	sent := []SentLetter{
		{Serial: 2, From: "b", At: begin.Add(time.Minute), To: []string{"a"}, Lost: time.Hour},
		{Serial: 1, From: "a", At: begin, To: []string{"c", "b"}, Lost: time.Hour},
		{Serial: 3, From: "c", At: begin},
	}
	var got []string
	for _, f := range Fates(sent, map[string]Receiver{"b": {Found: map[uint64]Arrival{1: {}}}}, begin.Add(2*time.Hour)) {
		got = append(got, f.From+f.To+" "+string(f.Outcome))
	}
	if diff := cmp.Diff([]string{"ab on_time", "ac unproven", "ba unproven"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
