package pdf

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// An update is an incremental update in the making: what is appended to a document (section 7.5.6).
type update struct {
	d       *Document
	out     []byte // appended so far
	next    uint32
	offsets map[uint32]at
}

// at is where a new object begins in the finished document.
type at struct {
	offset int64
	gen    uint32
}

func (d *Document) update() *update {
	u := &update{d: d, offsets: map[uint32]at{}, out: []byte("\n")}
	if size, ok := whole(d.trailer.get("Size")); ok && size > 0 && size <= maxObject {
		u.next = uint32(size)
	}
	for num := range d.entries {
		u.next = max(u.next, num+1)
	}
	return u
}

// add appends an object under a new number.
func (u *update) add(v value) ref {
	r := ref{num: u.next}
	u.next++
	u.put(r, v)
	return r
}

// put appends an object in place of the one that has this number, and returns where its value begins.
func (u *update) put(r ref, v value) int64 {
	u.offsets[r.num] = at{int64(len(u.d.data) + len(u.out)), r.gen}
	u.out = fmt.Appendf(u.out, "%d %d obj\n", r.num, r.gen)
	begin := int64(len(u.d.data) + len(u.out))
	if s, ok := v.(*stream); ok {
		u.out = appendValue(u.out, s.dict.with("Length", raw(fmt.Sprint(len(s.data)))))
		u.out = append(append(append(u.out, "\nstream\n"...), s.data...), "\nendstream"...)
	} else {
		u.out = appendValue(u.out, v)
	}
	u.out = append(u.out, "\nendobj\n"...)
	return begin
}

// finish appends the cross-reference section and returns the whole document.
func (u *update) finish() []byte {
	trailer := dict{{"Root", u.d.trailer.get("Root")}, {"Prev", raw(fmt.Sprint(u.d.newest))}}
	for _, key := range []name{"Info", "ID"} {
		if v := u.d.trailer.get(key); v != nil {
			trailer = append(trailer, pair{key, v})
		}
	}
	begin := int64(len(u.d.data) + len(u.out))
	if u.d.streams {
		u.crossStream(trailer)
	} else {
		u.crossTable(trailer)
	}
	u.out = fmt.Appendf(u.out, "startxref\n%d\n%%%%EOF\n", begin)
	return slices.Concat(u.d.data, u.out)
}

func (u *update) crossTable(trailer dict) {
	u.out = append(u.out, "xref\n"...)
	for _, run := range u.runs() {
		u.out = fmt.Appendf(u.out, "%d %d\n", run[0], len(run))
		for _, num := range run {
			u.out = fmt.Appendf(u.out, "%010d %05d n \n", u.offsets[num].offset, u.offsets[num].gen)
		}
	}
	u.out = append(u.out, "trailer\n"...)
	u.out = append(appendValue(u.out, trailer.with("Size", raw(fmt.Sprint(u.next)))), '\n')
}

func (u *update) crossStream(trailer dict) {
	r := ref{num: u.next}
	u.next++
	u.offsets[r.num] = at{offset: int64(len(u.d.data) + len(u.out))}
	var rows []byte
	var index array
	for _, run := range u.runs() {
		index = append(index, raw(fmt.Sprint(run[0])), raw(fmt.Sprint(len(run))))
		for _, num := range run {
			rows = append(rows, 1)
			rows = binary.BigEndian.AppendUint32(rows, uint32(u.offsets[num].offset))
			rows = binary.BigEndian.AppendUint16(rows, uint16(u.offsets[num].gen))
		}
	}
	trailer = append(trailer, pair{"Type", name("XRef")}, pair{"W", array{raw("1"), raw("4"), raw("2")}}, pair{"Index", index}, pair{"Size", raw(fmt.Sprint(u.next))})
	u.put(r, &stream{trailer, rows})
}

// runs groups the numbers of the new objects into runs without a gap.
func (u *update) runs() [][]uint32 {
	var out [][]uint32
	for _, num := range slices.Sorted(maps.Keys(u.offsets)) {
		if n := len(out); n > 0 && out[n-1][len(out[n-1])-1]+1 == num {
			out[n-1] = append(out[n-1], num)
		} else {
			out = append(out, []uint32{num})
		}
	}
	return out
}
