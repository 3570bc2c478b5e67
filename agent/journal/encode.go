package journal

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"egovmon/agent/check"
)

// Bounds of one line of a body.
const (
	maxLine  = 64 << 10 // bytes
	minLine  = 40       // bytes; the shortest, an end without a cause, has 56
	maxText  = 1 << 10  // bytes of build, cause and the like
	maxNames = 512      // phases or facts of one result
	maxWhole = 1 << 53  // whole numbers are exact up to here in every JSON reader
	tick     = 10 * time.Microsecond
)

// An encoder writes records as lines in the canonical form of RFC 8785: keys in order, one form for each number and
// string. Its zero value is ready; it is reused so that a line costs no garbage.
type encoder struct {
	phases check.Phases
	facts  check.Facts
}

// record appends one line with its newline.
func (e *encoder) record(dst []byte, r *Record) ([]byte, error) {
	switch {
	case r.Result != nil:
		return e.result(dst, r.Result)
	case r.Range != nil:
		return e.missed(dst, r.Range)
	case r.Plan != nil:
		return e.plan(dst, r.Plan)
	case r.Begin != nil:
		return e.begin(dst, r.Begin)
	case r.End != nil:
		return e.end(dst, r.End)
	}
	return dst, fmt.Errorf("journal: a record without content cannot be written")
}

// result appends a result. What names it must be right; its particulars are brought into bounds: a reason that cannot
// stand in a result becomes internal, the state follows the reason, details are cleaned, durations rounded to 10 µs,
// facts to their digits; NaN, infinities and whole numbers above 2^53 are left out; phases of one name are added up.
func (e *encoder) result(dst []byte, r *check.Result) ([]byte, error) {
	if !validCheck(r.Check) {
		return dst, fmt.Errorf("journal: result of check %.80q: an id is 1 to 64 of a-z, 0-9, _ . -", r.Check)
	}
	if !plausible(r.Slot) || !plausible(r.Start) {
		return dst, fmt.Errorf("journal: result of %s: slot %s or start %s is not a time of this format", r.Check, r.Slot, r.Start)
	}
	reason, detail := r.Reason, r.Detail
	if !reason.Valid() || reason.Missed() || reason.AccountOnly() {
		detail = check.CleanDetail(fmt.Sprintf("reason %q cannot stand in a result; %s", string(reason), detail))
		reason = check.Internal
	}
	start := len(dst)
	dst = append(dst, `{"attempts":`...)
	dst = strconv.AppendInt(dst, int64(max(0, r.Attempts)), 10)
	dst = append(dst, `,"check":"`...)
	dst = append(dst, r.Check...)
	dst = append(dst, '"')
	if detail = cleanDetail(detail); detail != "" {
		dst = append(dst, `,"detail":`...)
		dst = appendString(dst, detail)
	}
	dst = e.appendFacts(dst, r.Facts)
	dst = e.appendPhases(dst, r.Phases)
	dst = append(dst, `,"reason":"`...)
	dst = append(dst, reason...)
	dst = append(dst, `","slot":"`...)
	dst = appendSecond(dst, r.Slot)
	dst = append(dst, `","start":"`...)
	dst = appendMilli(dst, r.Start)
	dst = append(dst, `","state":"`...)
	dst = append(dst, reason.State().String()...)
	dst = append(dst, `","t":"result","took_s":`...)
	dst = appendSeconds(dst, r.Took)
	dst = append(dst, "}\n"...)
	if len(dst)-start > maxLine {
		return dst[:start], fmt.Errorf("journal: result of %s takes %d bytes: at most %d are allowed", r.Check, len(dst)-start, maxLine)
	}
	return dst, nil
}

func (e *encoder) missed(dst []byte, r *check.Range) ([]byte, error) {
	switch {
	case r.Check != "*" && !validCheck(r.Check):
		return dst, fmt.Errorf("journal: range of check %.80q: want an id of 1 to 64 of a-z, 0-9, _ . - or *", r.Check)
	case !r.Reason.Missed():
		return dst, fmt.Errorf("journal: range of %s with reason %.40q: only a missed_ reason, clock_unset or data_lost can stand there", r.Check, r.Reason)
	case !plausible(r.From) || !plausible(r.To) || milli(r.To) < milli(r.From):
		return dst, fmt.Errorf("journal: range of %s from %s to %s: not a stretch of time", r.Check, r.From, r.To)
	case r.Slots < 0 || r.Slots > maxWhole:
		return dst, fmt.Errorf("journal: range of %s with %d slots: not a count", r.Check, r.Slots)
	}
	dst = append(dst, `{"check":"`...)
	dst = append(dst, r.Check...)
	dst = append(dst, `","from":"`...)
	dst = appendMilli(dst, r.From)
	dst = append(dst, `","reason":"`...)
	dst = append(dst, r.Reason...)
	dst = append(dst, `","slots":`...)
	dst = strconv.AppendInt(dst, int64(r.Slots), 10)
	dst = append(dst, `,"t":"range","to":"`...)
	dst = appendMilli(dst, r.To)
	return append(dst, "\"}\n"...), nil
}

func (e *encoder) plan(dst []byte, r *PlanApplied) ([]byte, error) {
	if !plausible(r.At) || !isHex(r.SHA256, 32) || r.Version < 0 || r.Version > maxWhole {
		return dst, fmt.Errorf("journal: plan version %d, SHA-256 %.80q at %s: not a plan", r.Version, r.SHA256, r.At)
	}
	dst = append(dst, `{"at":"`...)
	dst = appendMilli(dst, r.At)
	dst = append(dst, `","sha256":"`...)
	dst = append(dst, r.SHA256...)
	dst = append(dst, `","t":"plan","version":`...)
	dst = strconv.AppendInt(dst, r.Version, 10)
	return append(dst, "}\n"...), nil
}

func (e *encoder) begin(dst []byte, r *Begin) ([]byte, error) {
	if !plausible(r.At) || !validText(r.Build) || !validText(r.Cause) {
		return dst, fmt.Errorf("journal: begin at %s, build %.80q, cause %.80q: want a time and texts of at most %d bytes", r.At, r.Build, r.Cause, maxText)
	}
	if r.PreviousJournal != "" && !isHex(r.PreviousJournal, 16) || !validText(r.PreviousHead) {
		return dst, fmt.Errorf("journal: begin after journal %.80q, head %.80q: want a journal's id and its last batch", r.PreviousJournal, r.PreviousHead)
	}
	dst = append(dst, `{"at":"`...)
	dst = appendMilli(dst, r.At)
	dst = append(dst, `","build":`...)
	dst = appendString(dst, r.Build)
	dst = append(dst, `,"cause":`...)
	dst = appendString(dst, r.Cause)
	dst = append(dst, `,"previous_head":`...)
	dst = appendString(dst, r.PreviousHead)
	dst = append(dst, `,"previous_journal":`...)
	dst = appendString(dst, r.PreviousJournal)
	return append(dst, `,"t":"begin"}`+"\n"...), nil
}

func (e *encoder) end(dst []byte, r *End) ([]byte, error) {
	if !plausible(r.At) || !validText(r.Cause) {
		return dst, fmt.Errorf("journal: end at %s, cause %.80q: want a time and a text of at most %d bytes", r.At, r.Cause, maxText)
	}
	dst = append(dst, `{"at":"`...)
	dst = appendMilli(dst, r.At)
	dst = append(dst, `","cause":`...)
	dst = appendString(dst, r.Cause)
	return append(dst, `,"t":"end"}`+"\n"...), nil
}

func (e *encoder) appendFacts(dst []byte, facts check.Facts) []byte {
	e.facts = e.facts[:0]
	for _, f := range facts {
		if validName(f.Name) && writable(f) && len(e.facts) < maxNames {
			e.facts = append(e.facts, f)
		}
	}
	if len(e.facts) == 0 {
		return dst
	}
	check.Order(e.facts, func(a, b check.Fact) int { return cmp.Compare(a.Name, b.Name) })
	dst = append(dst, `,"facts":{`...)
	for i, f := range e.facts {
		if i > 0 {
			if f.Name == e.facts[i-1].Name {
				continue // the first of a name stands, as Facts.Get reads it
			}
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, f.Name...)
		dst = append(dst, `":`...)
		dst = appendFact(dst, f)
	}
	return append(dst, '}')
}

func (e *encoder) appendPhases(dst []byte, phases check.Phases) []byte {
	e.phases = e.phases[:0]
	for _, p := range phases {
		i := slices.IndexFunc(e.phases, func(q check.Phase) bool { return q.Name == p.Name })
		switch {
		case i >= 0:
			e.phases[i].Took += p.Took
		case validName(p.Name) && len(e.phases) < maxNames:
			e.phases = append(e.phases, p)
		}
	}
	if len(e.phases) == 0 {
		return dst
	}
	check.Order(e.phases, func(a, b check.Phase) int { return cmp.Compare(a.Name, b.Name) })
	dst = append(dst, `,"phases":{`...)
	for i, p := range e.phases {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, p.Name...)
		dst = append(dst, `":`...)
		dst = appendSeconds(dst, p.Took)
	}
	return append(dst, '}')
}

// writable reports whether a fact has a value that this format can hold.
func writable(f check.Fact) bool {
	if math.IsNaN(f.Value) || math.IsInf(f.Value, 0) {
		return false
	}
	return !check.WholeFact(f.Name) || math.Abs(f.Value) <= maxWhole
}

// appendFact writes a whole number, or one of 5 significant digits, as ECMAScript does (RFC 8785, section 3.2.2.3).
func appendFact(dst []byte, f check.Fact) []byte {
	if check.WholeFact(f.Name) {
		return strconv.AppendInt(dst, int64(math.Round(f.Value)), 10)
	}
	return appendNumber(dst, f.Value)
}

// appendNumber writes v with 5 significant digits. A decimal of so few digits is the shortest one of its double, so
// that placing its digits is all there is to do.
func appendNumber(dst []byte, v float64) []byte {
	var scratch [16]byte
	e := strconv.AppendFloat(scratch[:0], math.Abs(v), 'e', 4, 64) // d.dddde±xx
	digits := [5]byte{e[0], e[2], e[3], e[4], e[5]}
	exp, _ := strconv.Atoi(string(e[7:])) // of the first digit
	n := 5
	for n > 0 && digits[n-1] == '0' {
		n--
	}
	if n == 0 {
		return append(dst, '0')
	}
	if v < 0 {
		dst = append(dst, '-')
	}
	d := digits[:n]
	switch {
	case exp >= 21 || exp < -6:
		dst = append(dst, d[0])
		if n > 1 {
			dst = append(append(dst, '.'), d[1:]...)
		}
		dst = append(dst, 'e')
		if exp > 0 {
			dst = append(dst, '+')
		}
		return strconv.AppendInt(dst, int64(exp), 10)
	case exp < 0:
		dst = append(dst, "0."...)
		dst = append(dst, "00000"[:-exp-1]...)
		return append(dst, d...)
	case exp >= n-1:
		dst = append(dst, d...)
		return append(dst, "00000000000000000000"[:exp-n+1]...)
	default:
		dst = append(dst, d[:exp+1]...)
		return append(append(dst, '.'), d[exp+1:]...)
	}
}

// appendSeconds writes a duration in seconds, rounded to 10 µs; a negative one is 0.
func appendSeconds(dst []byte, d time.Duration) []byte {
	n := int64(max(0, d).Round(tick) / tick)
	dst = strconv.AppendInt(dst, n/100000, 10)
	frac := n % 100000
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.')
	for unit := int64(10000); frac > 0; unit /= 10 {
		dst = append(dst, byte('0'+frac/unit))
		frac %= unit
	}
	return dst
}

func appendSecond(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, time.RFC3339)
}

func appendMilli(dst []byte, t time.Time) []byte {
	dst = t.UTC().AppendFormat(dst, time.RFC3339) // …Z
	ms := t.Nanosecond() / int(time.Millisecond)
	return append(dst[:len(dst)-1], '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// milli is an instant as it is recorded.
func milli(t time.Time) int64 { return t.UnixMilli() }

// appendString writes a JSON string as RFC 8785, section 3.2.2.2, has it; s is valid UTF-8.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case c == '\b':
			dst = append(dst, `\b`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\f':
			dst = append(dst, `\f`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, '"')
}

// cleanDetail spares the common detail, plain ASCII, the walk that [check.CleanDetail] takes.
func cleanDetail(s string) string {
	if len(s) <= check.MaxDetail && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return s
	}
	return check.CleanDetail(s)
}

func validText(s string) bool { return len(s) <= maxText && utf8.ValidString(s) }

func validCheck(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func validName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
