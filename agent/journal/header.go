package journal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

// Version is the first line of every header.
const Version = "egovmon-batch/1"

// NoPrevious stands in [Header.Previous] of a journal's first batch.
const NoPrevious = "0000000000000000000000000000000000000000000000000000000000000000"

const (
	layoutMilli = "2006-01-02T15:04:05.000Z"
	empty       = "-"
)

var machineName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// A Header is what a machine signs of a batch. Its text is the text of a signed note; see [Header.Text].
type Header struct {
	Machine    string      // id in the profile, [a-z0-9-]{1,63}
	Journal    string      // random 128-bit id, 32 lower-case hex digits
	Seq        uint64      // place in the journal, from 1
	Previous   string      // SHA-256 of the whole signed note before, lower-case hex; NoPrevious for seq 1
	Body       string      // SHA-256 of the stored body, lower-case hex
	Stored     int         // bytes of the body as stored
	Raw        int         // bytes of the body after decompression
	Records    int         // lines of the body
	Sealed     time.Time   // UTC, milliseconds
	Clock      *Clock      // nil while it was never measured
	Checkpoint *Checkpoint // the last one seen of the collector's log; nil while there was none
	Dictionary string      // SHA-256 of the compression dictionary, lower-case hex; "" for none
}

// A Clock says how far the machine's clock was off.
type Clock struct {
	Offset   time.Duration // whole milliseconds; positive: the machine was ahead of the collector
	Measured time.Time     // UTC, milliseconds, by the machine's clock
}

// A Checkpoint names a state of the collector's log.
type Checkpoint struct {
	Origin string // name of the log: no spaces
	Size   int64  // leaves
	Hash   tlog.Hash
}

// Text returns the lines of the header, each with its newline, in the one form that [ParseHeader] takes.
func (h Header) Text() string {
	var b strings.Builder
	b.Grow(512)
	fmt.Fprintf(&b, "%s\nmachine %s\njournal %s\nseq %d\nprevious %s\n", Version, h.Machine, h.Journal, h.Seq, h.Previous)
	fmt.Fprintf(&b, "body %s %d %d %d\n", h.Body, h.Stored, h.Raw, h.Records)
	fmt.Fprintf(&b, "sealed %s\n", h.Sealed.UTC().Format(layoutMilli))
	if c := h.Clock; c == nil {
		b.WriteString("clock -\n")
	} else {
		fmt.Fprintf(&b, "clock %s %s\n", formatOffset(c.Offset), c.Measured.UTC().Format(layoutMilli))
	}
	if c := h.Checkpoint; c == nil {
		b.WriteString("checkpoint -\n")
	} else {
		fmt.Fprintf(&b, "checkpoint %s %d %s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Hash[:]))
	}
	d := h.Dictionary
	if d == "" {
		d = empty
	}
	b.WriteString("dictionary " + d + "\n")
	return b.String()
}

// formatOffset writes seconds with exactly three decimals.
func formatOffset(d time.Duration) string {
	ms, sign := d.Round(time.Millisecond).Milliseconds(), ""
	if ms < 0 {
		ms, sign = -ms, "-"
	}
	return fmt.Sprintf("%s%d.%03d", sign, ms/1000, ms%1000)
}

// Validate reports what is wrong with the values of the header.
func (h Header) Validate() error {
	switch {
	case !machineName.MatchString(h.Machine):
		return fmt.Errorf("machine %.80q: a machine's name is 1 to 63 of a-z, 0-9 and -", h.Machine)
	case !isHex(h.Journal, 16):
		return fmt.Errorf("journal %.80q is not 32 lower-case hex digits", h.Journal)
	case h.Seq == 0:
		return errors.New("seq 0: batches are numbered from 1")
	case !isHex(h.Previous, 32):
		return fmt.Errorf("previous %.80q is not a SHA-256 in lower-case hex", h.Previous)
	case (h.Seq == 1) != (h.Previous == NoPrevious):
		return fmt.Errorf("seq %d with previous %s: zeros stand in the first batch only", h.Seq, h.Previous)
	case !isHex(h.Body, 32):
		return fmt.Errorf("body %.80q is not a SHA-256 in lower-case hex", h.Body)
	case h.Records < 1:
		return fmt.Errorf("%d records: a batch has at least one", h.Records)
	case h.Stored < 1 || h.Stored > wire.MaxBody:
		return fmt.Errorf("body of %d stored bytes: at most %d are allowed", h.Stored, wire.MaxBody)
	case h.Raw < 1 || h.Raw > wire.MaxRaw:
		return fmt.Errorf("body of %d bytes after decompression: at most %d are allowed", h.Raw, wire.MaxRaw)
	case h.Records > h.Raw:
		return fmt.Errorf("body of %d records in %d bytes: impossible", h.Records, h.Raw)
	case !plausible(h.Sealed):
		return fmt.Errorf("sealed %s: not a time of this format", h.Sealed)
	case h.Clock != nil && !plausible(h.Clock.Measured):
		return fmt.Errorf("clock measured %s: not a time of this format", h.Clock.Measured)
	case h.Dictionary != "" && !isHex(h.Dictionary, 32):
		return fmt.Errorf("dictionary %.80q is not a SHA-256 in lower-case hex", h.Dictionary)
	}
	if c := h.Checkpoint; c != nil {
		if c.Size < 0 || c.Origin == "" || c.Origin == empty || len(c.Origin) > 256 || strings.ContainsFunc(c.Origin, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return fmt.Errorf("checkpoint %.80q %d: not an origin without spaces and a size", c.Origin, c.Size)
		}
	}
	return nil
}

// Head names the batch with this header: journal and seq.
func (h Header) Head() wire.Head { return wire.Head{Journal: h.Journal, Seq: h.Seq} }

// plausible reports whether t can be written in this format.
func plausible(t time.Time) bool {
	y := t.UTC().Year()
	return y >= 1970 && y <= 9999
}

func isHex(s string, size int) bool {
	if len(s) != 2*size {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ParseHeader reads the text of a header. It is strict: only the bytes that [Header.Text] writes are taken, so that a
// header has one text and one hash. A header of a newer version is refused by name.
func ParseHeader(text string) (Header, error) {
	if len(text) > wire.MaxHeader {
		return Header{}, fmt.Errorf("header of %d bytes: at most %d are allowed", len(text), wire.MaxHeader)
	}
	p := headerParser{rest: text}
	if v := p.line(); v != Version {
		if strings.HasPrefix(v, "egovmon-batch/") {
			return Header{}, fmt.Errorf("header of version %.40q: this program reads %s; install a newer one", v, Version)
		}
		return Header{}, fmt.Errorf("header begins with %.40q, want %s", v, Version)
	}
	var h Header
	h.Machine = p.fields("machine", 1)[0]
	h.Journal = p.fields("journal", 1)[0]
	h.Seq = uint64(p.number(p.fields("seq", 1)[0]))
	h.Previous = p.fields("previous", 1)[0]
	body := p.fields("body", 4)
	h.Body, h.Stored, h.Raw, h.Records = body[0], int(p.number(body[1])), int(p.number(body[2])), int(p.number(body[3]))
	h.Sealed = p.time(p.fields("sealed", 1)[0])
	if f := p.fields("clock", 2); f[0] != empty {
		h.Clock = &Clock{Offset: p.offset(f[0]), Measured: p.time(f[1])}
	}
	if f := p.fields("checkpoint", 3); f[0] != empty {
		h.Checkpoint = &Checkpoint{Origin: f[0], Size: p.number(f[1]), Hash: p.hash(f[2])}
	}
	if f := p.fields("dictionary", 1); f[0] != empty {
		h.Dictionary = f[0]
	}
	if p.err == nil && p.rest != "" {
		p.err = errors.New("header goes on after the dictionary line")
	}
	if p.err != nil {
		return Header{}, p.err
	}
	if err := h.Validate(); err != nil {
		return Header{}, err
	}
	if h.Text() != text {
		return Header{}, errors.New("header is not in canonical form: numbers without leading zeros, times in UTC with 3 decimals")
	}
	return h, nil
}

// A headerParser takes lines off a text and keeps the first error.
type headerParser struct {
	rest string
	n    int
	err  error
}

func (p *headerParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("header line %d: %w", p.n, fmt.Errorf(format, args...))
	}
}

func (p *headerParser) line() string {
	p.n++
	l, rest, ok := strings.Cut(p.rest, "\n")
	if !ok {
		p.fail("the text ends too early")
	}
	p.rest = rest
	return l
}

// fields returns n values of the line that begins with key. A lone - gives - and n-1 empty values.
func (p *headerParser) fields(key string, n int) []string {
	out := make([]string, n)
	l := p.line()
	name, rest, _ := strings.Cut(l, " ")
	f := strings.Split(rest, " ")
	switch {
	case name != key:
		p.fail("begins with %.40q, want %s", name, key)
	case rest == empty:
		out[0] = empty
	case len(f) != n:
		p.fail("%s has %d values, want %d", key, len(f), n)
	default:
		copy(out, f)
	}
	return out
}

func (p *headerParser) number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		p.fail("%.40q is not a whole number", s)
	}
	return n
}

func (p *headerParser) time(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		p.fail("%.40q is not a time such as 2026-11-23T01:00:00.000Z", s)
	}
	return t.UTC()
}

func (p *headerParser) offset(s string) time.Duration {
	digits, neg := strings.CutPrefix(s, "-")
	whole, frac, ok := strings.Cut(digits, ".")
	sec, err1 := strconv.ParseUint(whole, 10, 32)
	ms, err2 := strconv.ParseUint(frac, 10, 16)
	if !ok || err1 != nil || err2 != nil || len(frac) != 3 {
		p.fail("%.40q is not seconds with three decimals", s)
		return 0
	}
	d := time.Duration(sec)*time.Second + time.Duration(ms)*time.Millisecond
	if neg {
		return -d
	}
	return d
}

func (p *headerParser) hash(s string) (h tlog.Hash) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(h) {
		p.fail("%.60q is not a SHA-256 in base64", s)
	}
	copy(h[:], b)
	return h
}
