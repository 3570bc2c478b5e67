package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/history"
)

// packVersion is the first byte of every packed value.
const packVersion = 2

// localOffset is Vietnam's +07:00, without daylight saving.
const localOffset = 7 * 60 * 60

// monthOf returns the local month of a second, counted from January 1970.
func monthOf(t int64) int {
	local := time.Unix(t+localOffset, 0).UTC()
	return (local.Year()-1970)*12 + int(local.Month()) - 1
}

// monthSpan returns the seconds of a local month.
func monthSpan(month int) history.Span {
	start := func(m int) int64 {
		return time.Date(1970, time.Month(1+m), 1, 0, 0, 0, 0, time.UTC).Unix() - localOffset
	}
	return history.Span{From: start(month), To: start(month + 1)}
}

// pack writes sorted runs that lie in a month:
//
//	version, uvarint number of reasons, each: uvarint length and bytes
//	uvarint number of runs, each: uvarint seconds since the one before (the first: since the month began),
//	uvarint seconds, uvarint place of the reason
func pack(runs []history.Run, month int) []byte {
	b := append(make([]byte, 0, 32+4*len(runs)), packVersion)
	var t table
	for _, r := range runs {
		t.place(r.Reason)
	}
	b = t.append(b)
	b = binary.AppendUvarint(b, uint64(len(runs)))
	at := monthSpan(month).From
	for _, r := range runs {
		b = binary.AppendUvarint(b, uint64(r.From-at))
		b = binary.AppendUvarint(b, uint64(r.Seconds()))
		b = binary.AppendUvarint(b, uint64(t.place(r.Reason)))
		at = r.To
	}
	return b
}

// unpack reads what pack wrote. The runs are sorted, not empty and within the month.
func unpack(b []byte, month int) ([]history.Run, error) {
	r := reader{b: b}
	if v := r.byte(); v != packVersion {
		r.fail(fmt.Errorf("version %d, want %d", v, packVersion))
	}
	reasons := r.table()
	in := monthSpan(month)
	at := in.From
	runs := make([]history.Run, 0, r.count(3))
	for range cap(runs) {
		from := at + r.seconds(in)
		to := from + r.seconds(in)
		reason := r.reason(reasons)
		if r.err != nil {
			break
		}
		if to <= from || to > in.To {
			r.fail(errors.New("a run is empty or runs out of its month"))
			break
		}
		runs = append(runs, history.Run{Span: history.Span{From: from, To: to}, Reason: reason})
		at = to
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("packed runs of month %d: %w", month, err)
	}
	return runs, nil
}

// A kept journal is what must be known to go on with it, and how much of it the file holds.
type kept struct {
	*history.Journal
	plans  int64         // that it applied
	months map[int]int64 // packed values by month
}

func newKept() *kept { return &kept{Journal: &history.Journal{}, months: map[int]int64{}} }

// packJournal writes what is kept of a journal; unpackJournal reads it.
func packJournal(j *kept) []byte {
	ids := slices.Sorted(maps.Keys(j.Tails))
	b := append(make([]byte, 0, 64+48*len(ids)), packVersion)
	begun := uint64(0)
	if j.Begun {
		begun = 1
	}
	b = binary.AppendUvarint(b, begun)
	b = binary.AppendVarint(b, j.Begin)
	b = binary.AppendVarint(b, j.Cut)
	b = binary.AppendVarint(b, j.Off)
	b = appendString(b, j.Plan)
	b = binary.AppendUvarint(b, uint64(j.plans))
	b = binary.AppendUvarint(b, uint64(len(j.months)))
	for _, m := range slices.Sorted(maps.Keys(j.months)) {
		b = binary.AppendUvarint(b, uint64(m))
		b = binary.AppendUvarint(b, uint64(j.months[m]))
	}
	var t table
	for _, id := range ids {
		t.place(j.Tails[id].Open.Reason)
	}
	b = t.append(b)
	b = binary.AppendUvarint(b, uint64(len(ids)))
	for _, id := range ids {
		tail := j.Tails[id]
		b = appendString(b, id)
		b = binary.AppendVarint(b, tail.Open.From)
		b = binary.AppendVarint(b, tail.Open.To-tail.Open.From)
		b = binary.AppendVarint(b, tail.Last.From-tail.Open.From)
		b = binary.AppendVarint(b, tail.Last.To-tail.Open.From)
		b = binary.AppendUvarint(b, uint64(t.place(tail.Open.Reason)))
	}
	return b
}

func unpackJournal(b []byte) (*kept, error) {
	r := reader{b: b}
	if v := r.byte(); v != packVersion {
		r.fail(fmt.Errorf("version %d, want %d", v, packVersion))
	}
	j := newKept()
	*j.Journal = history.Journal{Begun: r.uvarint() == 1, Begin: r.varint(), Cut: r.varint(), Off: r.varint(), Plan: r.string()}
	j.plans = int64(r.uvarint())
	for range r.count(2) {
		m := int(r.uvarint())
		j.months[m] = int64(r.uvarint())
	}
	reasons := r.table()
	n := r.count(6)
	j.Tails = make(map[string]history.Tail, n)
	for range n {
		id := r.string()
		from := r.varint()
		t := history.Tail{Open: history.Run{Span: history.Span{From: from, To: from + r.varint()}}}
		t.Last = history.Span{From: from + r.varint(), To: from + r.varint()}
		t.Open.Reason = r.reason(reasons)
		j.Tails[id] = t
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("packed journal: %w", err)
	}
	return j, nil
}

// A table gives reasons small numbers in the order in which they are met.
type table []check.Reason

func (t *table) place(r check.Reason) int {
	for i, have := range *t {
		if have == r {
			return i
		}
	}
	*t = append(*t, r)
	return len(*t) - 1
}

func (t table) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(t)))
	for _, r := range t {
		b = appendString(b, string(r))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A reader reads a packed value. After the first mistake it returns zeros, and end returns the mistake.
type reader struct {
	b   []byte
	err error
}

var errShort = errors.New("it stops short")

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes too many", len(r.b))
	}
	return r.err
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(errShort)
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of things that take at least size bytes each.
func (r *reader) count(size int) int {
	v := r.uvarint()
	if v > uint64(len(r.b)/size) {
		r.fail(fmt.Errorf("%d entries in %d bytes", v, len(r.b)))
		return 0
	}
	return int(v)
}

// seconds reads a distance that cannot be longer than a stretch.
func (r *reader) seconds(in history.Span) int64 {
	v := r.uvarint()
	if v > uint64(in.Seconds()) {
		r.fail(fmt.Errorf("%d seconds are longer than the month", v))
		return 0
	}
	return int64(v)
}

func (r *reader) string() string {
	n := r.count(1)
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) table() table {
	t := make(table, 0, r.count(2))
	for range cap(t) {
		reason, err := check.ParseReason(r.string())
		if err != nil {
			r.fail(err)
			break
		}
		t = append(t, reason)
	}
	return t
}

func (r *reader) reason(t table) check.Reason {
	v := r.uvarint()
	if v >= uint64(len(t)) {
		r.fail(fmt.Errorf("reason %d of %d", v, len(t)))
		return ""
	}
	return t[v]
}
