package check

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxDetail is the largest Detail in bytes.
const MaxDetail = 256

// A Result is one observation of one target. It is made once and never edited. A [Func] fills State, Reason, Detail,
// Phases and Facts; schedule, which knows the plan and the clock, fills the rest.
type Result struct {
	Check    string        // id in the plan, e.g. "cong_h.http"
	Slot     time.Time     // UTC, whole seconds: the instant the plan called for
	Start    time.Time     // UTC, milliseconds: when it really ran
	Took     time.Duration // monotonic: the whole run, every attempt
	State    State         // always Reason.State()
	Reason   Reason        // closed list: the lowest layer that failed
	Detail   string        // for a person, ≤ MaxDetail bytes; no secrets or personal data; untrusted, never a label
	Attempts int           // tries in this slot; 1 unless a failure was confirmed
	Phases   Phases        // where the time went, in the order it passed
	Facts    Facts         // numbers the kind declares
}

// Because returns the part of a Result that a check can tell: the reason, its state, and a detail for a person, which
// is cut to MaxDetail bytes of valid UTF-8 without control characters.
func Because(r Reason, format string, args ...any) Result {
	d := format
	if len(args) > 0 {
		d = fmt.Sprintf(format, args...)
	}
	return Result{State: r.State(), Reason: r, Detail: CleanDetail(d)}
}

// CleanDetail makes text fit for [Result.Detail]: valid UTF-8, no control and no bidirectional characters, at most
// MaxDetail bytes. The address and port that this machine sent from go out of it: they are another at each run, so that
// one fault would read differently every time, and are nobody's business.
func CleanDetail(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0, r == utf8.RuneError:
			return -1
		case r == 0x061c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff:
			return -1
		}
		return r
	}, s)
	s = withoutLocal(s)
	if len(s) <= MaxDetail {
		return s
	}
	cut := MaxDetail - len("…")
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// withoutLocal takes the near end out of what package net writes of a connection: "read tcp 10.0.0.5:51234->192.0.2.1:443:
// i/o timeout" becomes "read tcp 192.0.2.1:443: i/o timeout".
func withoutLocal(s string) string {
	for from := 0; ; {
		i := strings.Index(s[from:], "->")
		if i < 0 {
			return s
		}
		i += from
		begin := strings.LastIndexByte(s[:i], ' ') + 1
		if _, err := netip.ParseAddrPort(s[begin:i]); err != nil {
			from = i + len("->")
			continue
		}
		s, from = s[:begin]+s[i+len("->"):], begin
	}
}

// A Phase is one step of a run and how long it took.
type Phase struct {
	Name string // dns, connect, tls, send, first_byte, transfer, total, …: names the kind declares
	Took time.Duration
}

// Phases are the steps of one run. The zero value is none.
type Phases []Phase

// Add appends a step. Durations are rounded to 10 µs, and a negative one is 0.
func (p *Phases) Add(name string, took time.Duration) {
	*p = append(*p, Phase{name, max(0, took.Round(10*time.Microsecond))})
}

// Get returns the duration of a step and whether it was measured.
func (p Phases) Get(name string) (time.Duration, bool) {
	for _, ph := range p {
		if ph.Name == name {
			return ph.Took, true
		}
	}
	return 0, false
}

// A Fact is one number that a run saw. Its unit is the end of its name: cert_not_after_unix, loss_ratio, rtt_avg_s.
type Fact struct {
	Name  string
	Value float64
}

// Facts are the numbers of one run. The zero value is none; a fact that was not seen is left out, never zero.
type Facts []Fact

// Add appends a number, rounded as it will be recorded (see [RoundFact]). NaN and infinities are left out.
func (f *Facts) Add(name string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	*f = append(*f, Fact{name, RoundFact(name, v)})
}

// Get returns a number and whether it was seen.
func (f Facts) Get(name string) (float64, bool) {
	for _, x := range f {
		if x.Name == name {
			return x.Value, true
		}
	}
	return 0, false
}

// Sorted returns a copy in the order of names, as it is recorded.
func (f Facts) Sorted() Facts {
	s := slices.Clone(f)
	Order(s, func(a, b Fact) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// Order sorts a short list stably, by insertion: package slices compiles 5 KB of its own for every type of element, which
// the agent is spared for lists of some dozens.
func Order[T any](list []T, compare func(a, b T) int) {
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && compare(list[j], list[j-1]) < 0; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

// WholeFact reports whether numbers of this name are whole: _unix, _bytes, _count, _serial and _code, exact to 2^53.
func WholeFact(name string) bool {
	for _, end := range []string{"_unix", "_bytes", "_count", "_serial", "_code"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// RoundFact returns v as it is recorded: whole for the names of [WholeFact], else 5 significant digits.
func RoundFact(name string, v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return v
	}
	if WholeFact(name) {
		return math.Round(v)
	}
	// Scaling by a power of ten, which is exact for the exponents that occur, and one rounding division.
	digits := 5 - int(math.Ceil(math.Log10(math.Abs(v))))
	switch {
	case digits > 300:
		return 0
	case digits >= 0:
		p := math.Pow(10, float64(digits))
		return math.Round(v*p) / p
	default:
		p := math.Pow(10, float64(-digits))
		return math.Round(v/p) * p
	}
}

// A Range says that a stretch of slots was not run, or was run and is lost. [From, To) in UTC.
type Range struct {
	Reason Reason    // one for which Missed is true
	Check  string    // id in the plan, or "*" for every check
	From   time.Time // UTC
	To     time.Time // UTC; not in the stretch
	Slots  int       // how many slots of Check (of all checks, for "*") began in the stretch
}
