package journal

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"egovmon/agent/check"
)

// A decoder reads lines in the one form that an encoder writes. Its zero value is ready.
type decoder struct {
	enc   encoder
	again []byte            // the line written once more, to compare
	words map[string]string // names seen before, so that a thousand results share them
}

// record reads one line, given without its newline.
func (d *decoder) record(line []byte) (Record, error) {
	if len(line)+1 > maxLine {
		return Record{}, fmt.Errorf("line of %d bytes: at most %d are allowed", len(line), maxLine-1)
	}
	c := &cursor{rest: line, d: d}
	var r Record
	switch {
	case c.has(`{"attempts":`):
		r.Result = c.result()
	case c.has(`{"check":"`):
		r.Range = c.missed()
	case c.has(`{"at":"`):
		c.dated(&r)
	default:
		c.fail("a record's first key")
	}
	if c.err == nil && len(c.rest) > 0 {
		c.fail("the end of the line")
	}
	if c.err != nil {
		return Record{}, c.err
	}
	if x := r.Result; x != nil && (x.Reason.Missed() || x.Reason.AccountOnly()) {
		return Record{}, fmt.Errorf("result of %s with reason %s, which cannot stand in a result", x.Check, x.Reason)
	}
	again, err := d.enc.record(d.again[:0], &r)
	d.again = again
	if err != nil {
		return Record{}, err
	}
	if !bytes.Equal(again[:len(again)-1], line) {
		return Record{}, errors.New("line is not in canonical form (RFC 8785, one form for each value)")
	}
	return r, nil
}

// word returns b as a string, the same one for the same bytes.
func (d *decoder) word(b []byte) string {
	if s, ok := d.words[string(b)]; ok {
		return s
	}
	s := string(b)
	if d.words == nil {
		d.words = make(map[string]string)
	}
	if len(d.words) < 10000 && len(s) <= 64 {
		d.words[s] = s
	}
	return s
}

// A cursor walks along a line and keeps the first error.
type cursor struct {
	rest []byte
	d    *decoder
	err  error
}

func (c *cursor) fail(want string) {
	if c.err == nil {
		c.err = fmt.Errorf("want %s at %.40q", want, c.rest)
	}
}

// has takes lit off the line if it is next.
func (c *cursor) has(lit string) bool {
	if c.err != nil || len(c.rest) < len(lit) || string(c.rest[:len(lit)]) != lit {
		return false
	}
	c.rest = c.rest[len(lit):]
	return true
}

func (c *cursor) want(lit string) {
	if !c.has(lit) {
		c.fail(lit)
	}
}

func (c *cursor) result() *check.Result {
	r := &check.Result{Attempts: int(c.whole())}
	c.want(`,"check":"`)
	r.Check = c.plain()
	if c.has(`,"detail":`) {
		r.Detail = c.text()
	}
	if c.has(`,"facts":{`) {
		for c.more(len(r.Facts)) {
			name := c.name()
			r.Facts = append(r.Facts, check.Fact{Name: name, Value: c.number()})
		}
	}
	if c.has(`,"phases":{`) {
		for c.more(len(r.Phases)) {
			name := c.name()
			r.Phases = append(r.Phases, check.Phase{Name: name, Took: c.seconds()})
		}
	}
	c.want(`,"reason":"`)
	r.Reason = check.Reason(c.plain())
	r.State = r.Reason.State()
	c.want(`,"slot":"`)
	r.Slot = c.time()
	c.want(`,"start":"`)
	r.Start = c.time()
	c.want(`,"state":"`)
	c.want(r.State.String()) // a state has one reason's word only
	c.want(`","t":"result","took_s":`)
	r.Took = c.seconds()
	c.want("}")
	return r
}

func (c *cursor) missed() *check.Range {
	r := &check.Range{Check: c.plain()}
	c.want(`,"from":"`)
	r.From = c.time()
	c.want(`,"reason":"`)
	r.Reason = check.Reason(c.plain())
	c.want(`,"slots":`)
	r.Slots = int(c.whole())
	c.want(`,"t":"range","to":"`)
	r.To = c.time()
	c.want("}")
	return r
}

// dated reads the records that begin with their instant: plan, begin and end.
func (c *cursor) dated(r *Record) {
	at := c.time()
	switch {
	case c.has(`,"sha256":"`):
		r.Plan = &PlanApplied{At: at, SHA256: c.plain()}
		c.want(`,"t":"plan","version":`)
		r.Plan.Version = c.whole()
	case c.has(`,"build":`):
		r.Begin = &Begin{At: at, Build: c.text()}
		c.want(`,"cause":`)
		r.Begin.Cause = c.text()
		c.want(`,"previous_head":`)
		r.Begin.PreviousHead = c.text()
		c.want(`,"previous_journal":`)
		r.Begin.PreviousJournal = c.text()
		c.want(`,"t":"begin"`)
	default:
		r.End = &End{At: at}
		c.want(`,"cause":`)
		r.End.Cause = c.text()
		c.want(`,"t":"end"`)
	}
	c.want("}")
}

// more reports whether another pair stands in an object of n pairs so far, and takes the comma or the closing brace.
func (c *cursor) more(n int) bool {
	if c.err != nil {
		return false
	}
	if n >= maxNames {
		c.fail("at most 512 names")
		return false
	}
	if n > 0 {
		if c.has("}") {
			return false
		}
		c.want(",")
	}
	return c.err == nil
}

// name reads a key and its colon.
func (c *cursor) name() string {
	c.want(`"`)
	s := c.plain()
	c.want(":")
	return s
}

// plain reads up to the closing quote of a string that needs no escapes; the opening one is off the line.
func (c *cursor) plain() string {
	i := bytes.IndexByte(c.rest, '"')
	if c.err != nil || i < 0 || bytes.IndexByte(c.rest[:i], '\\') >= 0 {
		c.fail("a plain string")
		return ""
	}
	s := c.d.word(c.rest[:i])
	c.rest = c.rest[i+1:]
	return s
}

// text reads a JSON string with its quotes.
func (c *cursor) text() string {
	if c.want(`"`); c.err != nil {
		return ""
	}
	if i := bytes.IndexAny(c.rest, `"\`); i >= 0 && c.rest[i] == '"' {
		return c.plain()
	}
	var s []byte
	for i := 0; i < len(c.rest); i++ {
		switch b := c.rest[i]; b {
		case '"':
			c.rest = c.rest[i+1:]
			return string(s)
		case '\\':
			char, n := unescape(c.rest[i+1:])
			if n == 0 {
				c.fail("a known escape")
				return ""
			}
			s = append(s, char)
			i += n
		default:
			s = append(s, b)
		}
	}
	c.fail("a closed string")
	return ""
}

// unescape reads what follows a backslash, and says how many bytes that took: 0 when it is none of the escapes that the
// canonical form knows.
func unescape(b []byte) (char byte, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	const from, to = `"\btnfr`, "\"\\\b\t\n\f\r"
	for i := range len(from) {
		if b[0] == from[i] {
			return to[i], 1
		}
	}
	if len(b) < 5 || string(b[:3]) != "u00" {
		return 0, 0
	}
	v, err := strconv.ParseUint(string(b[3:5]), 16, 8)
	if err != nil {
		return 0, 0
	}
	return byte(v), 5
}

// digits takes a number's characters off the line.
func (c *cursor) digits() string {
	i := 0
	for i < len(c.rest) && i < 32 && (c.rest[i] >= '0' && c.rest[i] <= '9' || bytes.IndexByte([]byte("+-.e"), c.rest[i]) >= 0) {
		i++
	}
	s := string(c.rest[:i])
	c.rest = c.rest[i:]
	return s
}

func (c *cursor) whole() int64 {
	n, err := strconv.ParseInt(c.digits(), 10, 64)
	if err != nil || n < 0 || n > maxWhole {
		c.fail("a whole number before this")
	}
	return n
}

func (c *cursor) number() float64 {
	v, err := strconv.ParseFloat(c.digits(), 64)
	if err != nil {
		c.fail("a number before this")
	}
	return v
}

func (c *cursor) seconds() time.Duration {
	s := c.digits()
	whole, frac, _ := bytes.Cut([]byte(s), []byte("."))
	sec, err := strconv.ParseUint(string(whole), 10, 32)
	n := time.Duration(sec) * time.Second
	unit := 100 * time.Millisecond
	for _, b := range frac {
		if b < '0' || b > '9' || unit < tick {
			err = errors.New("no digit")
			break
		}
		n += time.Duration(b-'0') * unit
		unit /= 10
	}
	if err != nil {
		c.fail("seconds with at most 5 decimals before this")
	}
	return n
}

// time reads an instant up to its closing quote.
func (c *cursor) time() time.Time {
	i := bytes.IndexByte(c.rest, '"')
	if c.err != nil || i < 0 || i > len(layoutMilli) {
		c.fail("a time")
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, string(c.rest[:i]))
	if err != nil {
		c.fail("a time such as 2026-11-23T01:00:00.000Z")
	}
	c.rest = c.rest[i+1:]
	return t.UTC()
}
