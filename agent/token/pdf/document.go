package pdf

import (
	"bytes"
	"errors"
	"fmt"
)

const (
	maxObject   = 8388607 // ISO 32000-1, annex C, table C.1
	maxEntries  = 1 << 20 // of all cross-reference sections
	maxSections = 4096
	maxInflated = 8 << 20  // of one stream
	maxAll      = 32 << 20 // of all streams
	maxTail     = 2048     // how far from the end "startxref" may stand
)

// A Document is a PDF document in memory.
type Document struct {
	data    []byte
	entries map[uint32]entry
	trailer dict
	streams bool // whether the newest cross-reference section is a stream
	newest  int64
	values  int // left of maxValues
	bytes   int // left of maxAll
	packed  map[uint32]*packed
}

// An entry says where an object is: at an offset, or as number idx of an object stream.
type entry struct {
	free   bool
	in     uint32 // number of the object stream; 0 for an object of its own
	idx    uint32
	offset int64
	gen    uint32
}

// ErrEncrypted is a document that asks for a password.
var ErrEncrypted = errors.New("the document is encrypted")

// Open reads the cross-reference sections of a document, which must not be changed while it is in use.
func Open(data []byte) (*Document, error) {
	if !bytes.Contains(data[:min(len(data), 1024)], []byte("%PDF-")) {
		return nil, errors.New("no PDF document: it does not begin with %PDF-")
	}
	d := &Document{data: data, entries: map[uint32]entry{}, values: maxValues, bytes: maxAll, packed: map[uint32]*packed{}}
	tail := data[max(0, len(data)-maxTail):]
	i := bytes.LastIndex(tail, []byte("startxref"))
	if i < 0 {
		return nil, errors.New("no startxref at the end of the document: it was cut off")
	}
	p := d.parser(len(data) - len(tail) + i + len("startxref"))
	at, ok := p.number()
	if !ok {
		return nil, errors.New("startxref without a number")
	}
	d.newest = int64(at)
	if err := d.sections(int64(at)); err != nil {
		return nil, fmt.Errorf("cross-reference: %w", err)
	}
	if d.trailer.get("Encrypt") != nil {
		return nil, ErrEncrypted
	}
	if _, err := d.catalog(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Document) parser(at int) *parser { return &parser{data: d.data, at: at, left: &d.values} }

// sections reads the chain of sections from the newest to the oldest.
func (d *Document) sections(at int64) error {
	seen := map[int64]bool{}
	for range maxSections {
		if seen[at] {
			return fmt.Errorf("the sections lead in a circle at byte %d", at)
		}
		seen[at] = true
		if at < 0 || at >= int64(len(d.data)) {
			return fmt.Errorf("a section at byte %d of %d", at, len(d.data))
		}
		trailer, err := d.section(at)
		if err != nil {
			return fmt.Errorf("section at byte %d: %w", at, err)
		}
		if d.trailer == nil {
			d.trailer = trailer
		}
		prev := trailer.get("Prev")
		if prev == nil {
			return nil
		}
		var ok bool
		if at, ok = whole(prev); !ok {
			return errors.New("a Prev that is no number")
		}
	}
	return fmt.Errorf("more than %d sections", maxSections)
}

// section reads one section, a table or a stream.
func (d *Document) section(at int64) (dict, error) {
	p := d.parser(int(at))
	if !p.keyword("xref") {
		s, err := d.streamAt(p, nil)
		if err != nil {
			return nil, err
		}
		if d.trailer == nil {
			d.streams = true
		}
		return s.dict, d.xrefStream(s)
	}
	if err := d.table(p); err != nil {
		return nil, err
	}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	trailer, ok := v.(dict)
	if !ok {
		return nil, errors.New("a trailer that is no dictionary")
	}
	if hybrid := trailer.get("XRefStm"); hybrid != nil {
		off, ok := whole(hybrid)
		if !ok || off < 0 || off >= int64(len(d.data)) {
			return nil, errors.New("an XRefStm that leads nowhere")
		}
		s, err := d.streamAt(d.parser(int(off)), nil)
		if err != nil {
			return nil, err
		}
		if err := d.xrefStream(s); err != nil {
			return nil, err
		}
	}
	return trailer, nil
}

// table reads the subsections of a table up to the word trailer (section 7.5.4).
func (d *Document) table(p *parser) error {
	for !p.keyword("trailer") {
		first, ok1 := p.number()
		count, ok2 := p.number()
		if !ok1 || !ok2 {
			return fmt.Errorf("byte %d: neither a subsection nor the trailer", p.at)
		}
		for i := range count {
			off, ok1 := p.number()
			gen, ok2 := p.number()
			if !ok1 || !ok2 {
				return fmt.Errorf("byte %d: an entry that is none", p.at)
			}
			p.space()
			kind := p.word()
			if kind != "n" && kind != "f" {
				return fmt.Errorf("byte %d: an entry of kind %q", p.at, kind[:min(len(kind), 10)])
			}
			if err := d.enter(first+i, entry{free: kind == "f", offset: int64(off), gen: uint32(min(gen, 65535))}); err != nil {
				return err
			}
		}
	}
	return nil
}

// enter notes where an object is, unless a newer section has said so.
func (d *Document) enter(num uint64, e entry) error {
	if num > maxObject {
		return fmt.Errorf("an object with number %d, at most %d are allowed", num, maxObject)
	}
	if _, ok := d.entries[uint32(num)]; ok {
		return nil
	}
	if len(d.entries) >= maxEntries {
		return fmt.Errorf("more than %d entries", maxEntries)
	}
	d.entries[uint32(num)] = e
	return nil
}

// xrefStream reads the entries of a cross-reference stream (section 7.5.8).
func (d *Document) xrefStream(s *stream) error {
	if s.dict.get("Type") != name("XRef") {
		return errors.New("neither a table nor a stream of cross-references")
	}
	data, err := d.inflate(s)
	if err != nil {
		return err
	}
	w, ok := s.dict.get("W").(array)
	if !ok || len(w) != 3 {
		return errors.New("a stream without the widths of its fields (W)")
	}
	var wide [3]int
	for i := range wide {
		n, ok := whole(w[i])
		if !ok || n < 0 || n > 8 {
			return errors.New("widths that cannot be (W)")
		}
		wide[i] = int(n)
	}
	row := wide[0] + wide[1] + wide[2]
	size, _ := whole(s.dict.get("Size"))
	index, ok := s.dict.get("Index").(array)
	if !ok {
		index = array{raw("0"), raw(fmt.Sprint(size))}
	}
	if row == 0 || len(index)%2 != 0 {
		return errors.New("a stream whose Index or W cannot be")
	}
	for i := 0; i < len(index); i += 2 {
		first, ok1 := whole(index[i])
		count, ok2 := whole(index[i+1])
		if !ok1 || !ok2 || first < 0 || count < 0 || count > int64(len(data)/row) {
			return errors.New("a stream with fewer entries than its Index says")
		}
		for n := range count {
			if err := d.enter(uint64(first+n), rowEntry(data, wide)); err != nil {
				return err
			}
			data = data[row:]
		}
	}
	return nil
}

func rowEntry(data []byte, wide [3]int) entry {
	field := func(from, n int) (v uint64) {
		for _, b := range data[from : from+n] {
			v = v<<8 | uint64(b)
		}
		return v
	}
	kind := uint64(1) // where the field has no width
	if wide[0] > 0 {
		kind = field(0, wide[0])
	}
	two, three := field(wide[0], wide[1]), field(wide[0]+wide[1], wide[2])
	switch kind {
	case 1:
		return entry{offset: int64(min(two, 1<<62)), gen: uint32(min(three, 65535))}
	case 2:
		return entry{in: uint32(min(two, maxObject+1)), idx: uint32(min(three, 1<<31))}
	}
	return entry{free: true}
}

// object returns an object, nil for one that is not there.
func (d *Document) object(r ref) (value, error) {
	e, ok := d.entries[r.num]
	if !ok || e.free {
		return nil, nil
	}
	if e.in > 0 {
		return d.packedObject(e, r.num)
	}
	if e.offset >= int64(len(d.data)) {
		return nil, fmt.Errorf("object %d is said to be at byte %d of %d", r.num, e.offset, len(d.data))
	}
	p := d.parser(int(e.offset))
	v, err := d.objectAt(p, &r)
	if err != nil {
		return nil, fmt.Errorf("object %d: %w", r.num, err)
	}
	return v, nil
}

// objectAt reads "num gen obj value", which must be the object r unless that is nil.
func (d *Document) objectAt(p *parser, r *ref) (value, error) {
	begin := p.at
	num, ok1 := p.number()
	_, ok2 := p.number()
	if !ok1 || !ok2 || !p.keyword("obj") {
		return nil, fmt.Errorf("no object at byte %d", begin)
	}
	if r != nil && num != uint64(r.num) {
		return nil, fmt.Errorf("object %d stands at byte %d in its place", num, begin)
	}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	dct, ok := v.(dict)
	if !ok || !p.keyword("stream") {
		return v, nil
	}
	if p.at < len(p.data) && p.data[p.at] == '\r' {
		p.at++
	}
	if p.at < len(p.data) && p.data[p.at] == '\n' {
		p.at++
	}
	length := dct.get("Length")
	if lr, ok := length.(ref); ok {
		if r != nil && lr.num == r.num {
			return nil, errors.New("a stream whose length is itself")
		}
		if length, err = d.lengthOf(lr); err != nil {
			return nil, err
		}
	}
	n, ok := whole(length)
	if !ok || n < 0 || n > int64(len(p.data)-p.at) {
		return nil, fmt.Errorf("a stream at byte %d whose length cannot be", p.at)
	}
	return &stream{dct, p.data[p.at : p.at+int(n)]}, nil
}

// lengthOf reads the object that holds a stream's length; it must be a plain one, so that lengths never lead in a circle.
func (d *Document) lengthOf(r ref) (value, error) {
	e, ok := d.entries[r.num]
	if !ok || e.free || e.in > 0 || e.offset >= int64(len(d.data)) {
		return nil, errors.New("a stream whose length is nowhere")
	}
	p := d.parser(int(e.offset))
	num, ok1 := p.number()
	_, ok2 := p.number()
	if !ok1 || !ok2 || !p.keyword("obj") || num != uint64(r.num) {
		return nil, errors.New("a stream whose length is nowhere")
	}
	return p.value(maxNesting) // no array, no dictionary within
}

func (d *Document) streamAt(p *parser, r *ref) (*stream, error) {
	v, err := d.objectAt(p, r)
	if err != nil {
		return nil, err
	}
	s, ok := v.(*stream)
	if !ok {
		return nil, errors.New("no stream where one is expected")
	}
	return s, nil
}

// resolve follows references to a value.
func (d *Document) resolve(v value) (value, error) {
	for range 32 {
		r, ok := v.(ref)
		if !ok {
			return v, nil
		}
		var err error
		if v, err = d.object(r); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("references that lead to references without end")
}

func (d *Document) dictAt(v value, what string) (dict, error) {
	v, err := d.resolve(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	out, ok := v.(dict)
	if !ok {
		return nil, fmt.Errorf("%s is no dictionary", what)
	}
	return out, nil
}

func (d *Document) arrayAt(v value, what string) (array, error) {
	v, err := d.resolve(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if v == nil || v == raw("null") {
		return nil, nil
	}
	out, ok := v.(array)
	if !ok {
		return nil, fmt.Errorf("%s is no array", what)
	}
	return out, nil
}

// catalog returns the document's root.
func (d *Document) catalog() (dict, error) {
	if _, ok := d.trailer.get("Root").(ref); !ok {
		return nil, errors.New("the trailer names no catalog (Root)")
	}
	return d.dictAt(d.trailer.get("Root"), "the catalog")
}

// firstPage returns the reference to the first page.
func (d *Document) firstPage() (ref, dict, error) {
	root, err := d.catalog()
	if err != nil {
		return ref{}, nil, err
	}
	at := root.get("Pages")
	for range maxNesting {
		node, err := d.dictAt(at, "the page tree")
		if err != nil {
			return ref{}, nil, err
		}
		kids, err := d.arrayAt(node.get("Kids"), "the kids of a page tree")
		if err != nil {
			return ref{}, nil, err
		}
		if kids == nil {
			r, ok := at.(ref)
			if !ok {
				return ref{}, nil, errors.New("the first page is no object of its own")
			}
			return r, node, nil
		}
		if len(kids) == 0 {
			return ref{}, nil, errors.New("the document has no page")
		}
		at = kids[0]
	}
	return ref{}, nil, errors.New("the page tree has no end")
}
