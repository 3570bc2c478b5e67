package pdf

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
)

// packed is an object stream (section 7.5.7), inflated.
type packed struct {
	data    []byte
	offsets []int // of each object within data
	numbers []uint32
}

// packedObject reads an object out of an object stream.
func (d *Document) packedObject(e entry, num uint32) (value, error) {
	p, ok := d.packed[e.in]
	if !ok {
		var err error
		if p, err = d.unpack(e.in); err != nil {
			return nil, fmt.Errorf("object stream %d: %w", e.in, err)
		}
		d.packed[e.in] = p
	}
	if int64(e.idx) >= int64(len(p.numbers)) || p.numbers[e.idx] != num {
		return nil, fmt.Errorf("object %d is not in object stream %d where it should be", num, e.in)
	}
	in := &parser{data: p.data, at: p.offsets[e.idx], left: &d.values}
	return in.value(0)
}

func (d *Document) unpack(num uint32) (*packed, error) {
	e, ok := d.entries[num]
	if !ok || e.free || e.in > 0 || e.offset >= int64(len(d.data)) {
		return nil, errors.New("it is not there")
	}
	s, err := d.streamAt(d.parser(int(e.offset)), &ref{num: num})
	if err != nil {
		return nil, err
	}
	data, err := d.inflate(s)
	if err != nil {
		return nil, err
	}
	n, ok1 := whole(s.dict.get("N"))
	first, ok2 := whole(s.dict.get("First"))
	if !ok1 || !ok2 || n < 0 || first < 0 || first > int64(len(data)) || n > int64(len(data)) {
		return nil, errors.New("a head that cannot be (N, First)")
	}
	out := &packed{data: data}
	p := &parser{data: data[:first], left: &d.values}
	for range n {
		obj, ok1 := p.number()
		off, ok2 := p.number()
		if !ok1 || !ok2 || obj > maxObject || int64(off)+first > int64(len(data)) {
			return nil, errors.New("a list of objects that cannot be")
		}
		out.numbers = append(out.numbers, uint32(obj))
		out.offsets = append(out.offsets, int(int64(off)+first))
	}
	return out, nil
}

// inflate returns the bytes of a stream that is not compressed, or by Flate.
func (d *Document) inflate(s *stream) ([]byte, error) {
	filter, parms := s.dict.get("Filter"), s.dict.get("DecodeParms")
	if a, ok := filter.(array); ok {
		switch len(a) {
		case 0:
			filter = nil
		case 1:
			filter = a[0]
		default:
			return nil, errors.New("more than one filter")
		}
	}
	if a, ok := parms.(array); ok && len(a) == 1 {
		parms = a[0]
	}
	if filter == nil {
		return s.data, nil
	}
	if filter != name("FlateDecode") {
		return nil, fmt.Errorf("a filter that is not known here: %.20v", filter)
	}
	z, err := zlib.NewReader(bytes.NewReader(s.data))
	if err != nil {
		return nil, err
	}
	limit := min(maxInflated, d.bytes)
	data, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	if len(data) > limit {
		return nil, fmt.Errorf("a stream of more than %d bytes once inflated", limit)
	}
	if err != nil {
		return nil, err
	}
	d.bytes -= len(data)
	return predicted(data, parms)
}

// predicted undoes a predictor (section 7.4.4.4); PNG's are the ones that cross-references use.
func predicted(data []byte, parms value) ([]byte, error) {
	p, _ := parms.(dict)
	predictor, _ := whole(p.get("Predictor"))
	if predictor <= 1 {
		return data, nil
	}
	columns, ok := whole(p.get("Columns"))
	if !ok {
		columns = 1
	}
	colors, ok1 := whole(p.get("Colors"))
	bits, ok2 := whole(p.get("BitsPerComponent"))
	if predictor < 10 || ok1 && colors != 1 || ok2 && bits != 8 || columns < 1 || columns > 1<<16 {
		return nil, errors.New("a predictor that is not known here")
	}
	n := int(columns)
	out := make([]byte, 0, len(data))
	prior := make([]byte, n)
	for len(data) > 0 {
		if len(data) < n+1 {
			return nil, errors.New("a last row that is cut short")
		}
		row := data[1 : n+1]
		switch data[0] {
		case 0:
		case 1:
			for i := 1; i < n; i++ {
				row[i] += row[i-1]
			}
		case 2:
			for i := range row {
				row[i] += prior[i]
			}
		default:
			return nil, errors.New("a predictor that is not known here")
		}
		out, prior, data = append(out, row...), row, data[n+1:]
	}
	return out, nil
}
