package history

import (
	"math/rand/v2"
	"testing"
	"time"

	"egovmon/agent/check"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// letters are reasons by a letter, to write timelines second by second. A dot is a second of which nothing is said.
var letters = map[byte]check.Reason{
	'u': check.OK, 'g': check.Slow, 'p': check.Partial, 'd': check.Timeout, 'c': check.ConnectRefused, 'n': check.NoUplink,
	'?': check.Silent, '-': check.NotPlanned, 'k': check.ClockUnproven, 'm': check.MissedStopped, 'i': check.Internal, 'z': check.NotConfigured,
}

// drawn returns the runs that a drawing shows, from second 0 on.
func drawn(s string) []Run {
	var out []Run
	for i := range len(s) {
		if r, ok := letters[s[i]]; ok {
			out = Append(out, Run{Span{int64(i), int64(i) + 1}, r})
		}
	}
	return out
}

// drawing shows runs from second 0 to n.
func drawing(runs []Run, n int) string {
	s := make([]byte, n)
	for i := range s {
		s[i] = '.'
	}
	for _, r := range runs {
		for l, reason := range letters {
			if reason == r.Reason {
				for t := r.From; t < r.To; t++ {
					s[t] = l
				}
			}
		}
	}
	return string(s)
}

// scribble returns a random drawing of n seconds in which a letter tends to stay.
func scribble(rnd *rand.Rand, n int, alphabet string) string {
	s := make([]byte, n)
	for i := range s {
		if i == 0 || rnd.IntN(3) == 0 {
			s[i] = alphabet[rnd.IntN(len(alphabet))]
		} else {
			s[i] = s[i-1]
		}
	}
	return string(s)
}

func TestOverFillClip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		n := 1 + rnd.IntN(14)
		base, top := scribble(rnd, n, "u.dg"), scribble(rnd, n, "..ud")
		want, filled := []byte(base), []byte(base)
		for i := range n {
			if top[i] != '.' {
				want[i] = top[i]
			}
			if base[i] == '.' {
				filled[i] = '?'
			}
		}
		if d := cmp.Diff(drawn(string(want)), Over(drawn(base), drawn(top)), equate); d != "" {
			t.Fatalf("Over(%q, %q): -want +got\n%s", base, top, d)
		}
		from := rnd.IntN(n)
		to := from + rnd.IntN(n-from) + 1
		s := Span{int64(from), int64(to)}
		if got, want := drawing(Fill(drawn(base), s, check.Silent), n)[from:to], string(filled[from:to]); got != want {
			t.Fatalf("Fill(%q, %v) = %q, want %q", base, s, got, want)
		}
		if got, want := drawing(Clip(drawn(base), s), n)[from:to], base[from:to]; got != want {
			t.Fatalf("Clip(%q, %v) = %q, want %q", base, s, got, want)
		}
	}
}

func TestJoin(t *testing.T) {
	got := Join(Span{5, 7}, Span{1, 2}, Span{9, 9}, Span{2, 3}, Span{6, 10}, Span{12, 11})
	if d := cmp.Diff([]Span{{1, 3}, {5, 10}}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// equate takes nil and empty lists for the same.
var equate = cmpopts.EquateEmpty()

func unix(s int64) time.Time { return time.Unix(s, 0).UTC() }
