package history

import (
	"cmp"
	"slices"

	"egovmon/agent/check"
)

// A Span is a stretch of Unix seconds [From, To). One with To ≤ From is empty.
type Span struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Seconds returns the length.
func (s Span) Seconds() int64 { return max(0, s.To-s.From) }

// Meet returns what both stretches have in common; it may be empty.
func (s Span) Meet(o Span) Span { return Span{max(s.From, o.From), min(s.To, o.To)} }

// Holds reports whether the second t lies in the stretch.
func (s Span) Holds(t int64) bool { return s.From <= t && t < s.To }

// Join returns the seconds of all spans as sorted stretches that do not touch; it is never nil.
func Join(spans ...Span) []Span {
	in := slices.DeleteFunc(slices.Clone(spans), func(s Span) bool { return s.To <= s.From })
	slices.SortFunc(in, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	out := []Span{}
	for _, s := range in {
		if n := len(out); n > 0 && s.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, s.To)
			continue
		}
		out = append(out, s)
	}
	return out
}

// A Run is a stretch with one reason, and so with one state.
type Run struct {
	Span
	Reason check.Reason `json:"reason"`
}

// State returns the state that goes with the reason.
func (r Run) State() check.State { return r.Reason.State() }

// Append appends r to sorted runs that end at or before r.From, joined with the last where the reason is the same.
func Append(runs []Run, r Run) []Run {
	if r.To <= r.From {
		return runs
	}
	if n := len(runs); n > 0 && runs[n-1].To == r.From && runs[n-1].Reason == r.Reason {
		runs[n-1].To = r.To
		return runs
	}
	return append(runs, r)
}

// Clip returns the parts of sorted runs within s.
func Clip(runs []Run, s Span) []Run {
	i, _ := slices.BinarySearchFunc(runs, s.From, ending)
	var out []Run
	for _, r := range runs[i:] {
		if r.From >= s.To {
			break
		}
		out = Append(out, Run{r.Span.Meet(s), r.Reason})
	}
	return out
}

// Over lays sorted runs over others: where both speak, top does. The result is sorted, and joined where it can be.
func Over(base, top []Run) []Run {
	if len(base) == 0 {
		return slices.Clone(top)
	}
	if len(top) == 0 {
		return slices.Clone(base)
	}
	out := make([]Run, 0, len(base)+len(top))
	b, at := 0, base[0].From // what of base[b] is not yet used begins at `at`
	// under emits what base says before the second `until`, and skips what it says before `resume`.
	under := func(until, resume int64) {
		for b < len(base) {
			r := base[b]
			r.From = max(r.From, at)
			if r.From >= until {
				break
			}
			out = Append(out, Run{Span{r.From, min(r.To, until)}, r.Reason})
			if r.To > until {
				break
			}
			b++
		}
		at = max(at, resume)
		for b < len(base) && base[b].To <= at {
			b++
		}
	}
	for _, t := range top {
		under(t.From, t.To)
		out = Append(out, t)
	}
	if b < len(base) {
		under(base[len(base)-1].To, base[len(base)-1].To)
	}
	return out
}

// Fill returns runs that cover all of s: what the sorted runs say there, and reason where they say nothing.
func Fill(runs []Run, s Span, reason check.Reason) []Run {
	out := make([]Run, 0, 2*len(runs)+1)
	at := s.From
	for _, r := range Clip(runs, s) {
		out = Append(out, Run{Span{at, r.From}, reason})
		out = Append(out, r)
		at = r.To
	}
	return Append(out, Run{Span{at, s.To}, reason})
}
