package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/agent/wire"
)

// dictionary makes one of the lines of a few results, which the rig's collector then knows.
func (r *rig) addDictionary(n int) []byte {
	r.Helper()
	var b []byte
	var err error
	for i := range n {
		x := r.result(fmt.Sprintf("c%d.http", i), check.OK)
		if b, err = AppendLine(b, &Record{Result: &x}); err != nil {
			r.Fatal(err)
		}
	}
	if r.dicts == nil {
		r.dicts = make(map[string][]byte)
	}
	r.dicts[hashOf(b)] = b
	return b
}

func (r *rig) dictionary(sha256 string) ([]byte, error) {
	b, ok := r.dicts[sha256]
	if !ok {
		return nil, ErrDictionary
	}
	return b, nil
}

// minute records and seals a batch.
func (r *rig) minute() []check.Result {
	r.Helper()
	rs := r.tick("c1.http", "c2.http")
	r.clock = r.clock.Add(time.Minute)
	r.j.sealDue()
	return rs
}

// named lists the dictionaries of the batches, in order, "" for none.
func (r *rig) named() (out []string) {
	r.Helper()
	bs, err := r.j.Batches(wire.Head{}, 1000, 1<<30)
	if err != nil {
		r.Fatal(err)
	}
	for _, b := range bs {
		h, err := headerOf(b.Batch.Note)
		if err != nil {
			r.Fatal(err)
		}
		out = append(out, h.Dictionary)
	}
	return out
}

// With a dictionary, without, with another one and through starts the journal reads what it wrote, each segment by
// itself, and so do the collector and `journal verify`.
func TestDictionary(t *testing.T) {
	r := newRig(t)
	one, two := r.addDictionary(3), r.addDictionary(4)
	want := r.minute()
	use := func(b []byte) {
		t.Helper()
		if err := r.j.SetDictionary(b); err != nil {
			t.Fatal(err)
		}
		want = append(want, r.minute()...)
	}
	use(one)
	use(one)
	use(two)
	r.start() // as after a kill
	if got := r.j.Dictionary(); got != "" {
		t.Errorf("after a start the dictionary is %q: it must be offered anew", got)
	}
	want = append(want, r.minute()...)
	use(two)
	segments, err := segmentNumbers(r.o.Dir)
	if err != nil || len(segments) != 3 { // none, one, two
		t.Errorf("segments %v, %v; a dictionary that the last one holds does not begin another", segments, err)
	}
	use(nil)
	r.stop()
	var got []string
	for _, name := range r.named() {
		if len(got) == 0 || got[len(got)-1] != name {
			got = append(got, name)
		}
	}
	if diff := cmp.Diff([]string{"", hashOf(one), hashOf(two), "", hashOf(two), ""}, got); diff != "" {
		t.Errorf("dictionaries of the batches (-want +got):\n%s", diff)
	}
	r.wantResults(want)
	rep, err := Verify(r.o.Dir, r.verifiers)
	if err != nil || len(rep.Problems) > 0 || rep.Records < len(want) {
		t.Errorf("verify: %+v, %v", rep, err)
	}
	r.start()
	if r.found.Unreadable != "" || len(r.j.Latest()) != 2 {
		t.Errorf("found %+v, and %d last results", r.found, len(r.j.Latest()))
	}
	// The first batches are removed, and with them their segment; the rest is read as before.
	if err := os.Remove(filepath.Join(r.o.Dir, segment{num: segments[0]}.name())); err != nil {
		t.Fatal(err)
	}
	for e := range Read(r.o.Dir) {
		if e.Err != nil {
			t.Errorf("%s, byte %d: %v", e.File, e.Offset, e.Err)
		}
	}
}

// A journal that the collector cannot take is recorded again from batches with a dictionary.
func TestCarryWithDictionary(t *testing.T) {
	r := newRig(t)
	if err := r.j.SetDictionary(r.addDictionary(3)); err != nil {
		t.Fatal(err)
	}
	want := r.minute()
	want = append(want, r.minute()...)
	old := r.j.ID()
	if err := r.j.SetDictionary(nil); err != nil {
		t.Fatal(err)
	}
	if err := r.j.Rotate("fork", r.clock); err != nil {
		t.Fatal(err)
	}
	if n, err := r.j.Carry(old); err != nil || n != len(want) {
		t.Errorf("carried %d of %d, %v", n, len(want), err)
	}
	r.stop()
	r.wantResults(append(want, want...))
}

func TestDictionaryRefused(t *testing.T) {
	r := newRig(t)
	if err := r.j.SetDictionary(make([]byte, wire.MaxDictionary+1)); err == nil || r.j.Dictionary() != "" {
		t.Errorf("a dictionary that is too large is used: %v", err)
	}
	if err := r.j.SetDictionary(make([]byte, wire.MaxDictionary)); err != nil {
		t.Errorf("one as large as allowed: %v", err)
	}
	d := r.addDictionary(3)
	signer, verifiers := testKey(t, testKeyName)
	b, err := SealWith(testHeader(), testRecords(), d, signer)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		find func(string) ([]byte, error)
		want string // "" for none
	}{
		{"known", r.dictionary, ""},
		{"nobody to ask", nil, ErrDictionary.Error()},
		{"unknown", func(string) ([]byte, error) { return nil, ErrDictionary }, ErrDictionary.Error()},
		{"another", func(string) ([]byte, error) { return d[1:], nil }, "SHA-256"},
		{"none", func(string) ([]byte, error) { return nil, nil }, "from 1 to"},
		{"cannot be read", func(string) ([]byte, error) { return nil, errors.New("disk") }, "disk"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rd, err := NewReader()
			if err != nil {
				t.Fatal(err)
			}
			rd.Dictionaries(tt.find)
			_, recs, err := rd.Open(b, verifiers)
			if tt.want == "" {
				if err != nil || len(recs) != len(testRecords()) {
					t.Errorf("%d records, %v", len(recs), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(recs) != 0 {
				t.Errorf("%d records, error %v, want %q", len(recs), err, tt.want)
			}
			if _, content := errors.AsType[*ContentError](err); content {
				t.Error("what is missing here is called a mistake of the batch")
			}
		})
	}
}

// A reader keeps few dictionaries ready, and finds again those that it let go.
func TestManyDictionaries(t *testing.T) {
	r := newRig(t)
	signer, verifiers := testKey(t, testKeyName)
	rd, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	rd.Dictionaries(func(sha256 string) ([]byte, error) { asked++; return r.dictionary(sha256) })
	var bs []Batch
	for i := range maxKnown + 4 {
		b, err := SealWith(testHeader(), testRecords(), r.addDictionary(i+1), signer)
		if err != nil {
			t.Fatal(err)
		}
		bs = append(bs, b)
	}
	for range 2 {
		for _, b := range bs {
			if _, _, err := rd.Open(b, verifiers); err != nil {
				t.Fatal(err)
			}
			if _, _, err := rd.Open(bs[0], verifiers); err != nil { // the one used all the time stays
				t.Fatal(err)
			}
		}
	}
	if len(rd.known) != maxKnown || len(rd.order) != maxKnown || asked != 2*len(bs)-1 {
		t.Errorf("%d ready, %d in order, asked %d times, want %d, %d, %d", len(rd.known), len(rd.order), asked, maxKnown, maxKnown, 2*len(bs)-1)
	}
}

// A body that inflates beyond what its header says is refused before it is written, with a dictionary as without.
func TestBombWithDictionary(t *testing.T) {
	r := newRig(t)
	d := bytes.Repeat([]byte{0}, 4096)
	r.dicts = map[string][]byte{hashOf(d): d}
	z, err := newCompressor(d)
	if err != nil {
		t.Fatal(err)
	}
	h := testHeader()
	h.Dictionary = hashOf(d)
	rd, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	rd.Dictionaries(r.dictionary)
	for _, size := range []int{8 << 20, wire.MaxRaw + 1} {
		body := z.EncodeAll(make([]byte, size), nil)
		h.Body, h.Stored, h.Raw, h.Records = hashOf(body), len(body), 100, 1
		if _, err := rd.Records(h, body); err == nil { // the decoder is made
			t.Fatal("a bomb was read")
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := rd.Records(h, body)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > 1<<20 {
			t.Errorf("%d bytes were allocated for a bomb, %v", n, err)
		}
	}
	// The size is right, but the frame asks for more: what DecodeAll writes stops at the size.
	lie := z.EncodeAll(make([]byte, 8<<20), nil)
	small := z.EncodeAll(make([]byte, 300), nil)
	forged := append(bytes.Clone(small[:6]), lie[9:]...)
	h.Body, h.Stored, h.Raw, h.Records = hashOf(forged), len(forged), 300, 1
	if _, err := rd.Records(h, forged); err == nil {
		t.Error("a frame that lies about its size was read")
	}
}

// A segment of the version without dictionaries is as it always was, one with names the version that older programs
// refuse.
func TestSegmentVersions(t *testing.T) {
	r := newRig(t)
	r.minute()
	if err := r.j.SetDictionary(r.addDictionary(2)); err != nil {
		t.Fatal(err)
	}
	r.minute()
	r.stop()
	for num, want := range map[int]string{1: "egovmon-segment/1\n", 2: "egovmon-segment/2\n"} {
		b, err := os.ReadFile(filepath.Join(r.o.Dir, segment{num: num}.name()))
		if err != nil || !bytes.Contains(b[:64], []byte(want)) {
			t.Errorf("segment %d does not begin as %q: %v", num, want, err)
		}
	}
	if _, err := parseSegment("egovmon-segment/3\n"); err == nil {
		t.Error("a segment of a version to come is read")
	}
}

func FuzzDictionary(f *testing.F) {
	line := []byte(`{"at":"2026-11-23T01:00:00.000Z","cause":"stop","t":"end"}` + "\n")
	z, err := newCompressor(line)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line, z.EncodeAll(line, nil), len(line))
	f.Add([]byte{0}, []byte("\x28\xb5\x2f\xfd"), 1)
	f.Fuzz(func(t *testing.T, dictionary, body []byte, raw int) {
		if len(dictionary) > wire.MaxDictionary || raw < 1 || raw > 1<<20 {
			return
		}
		rd, err := NewReader()
		if err != nil {
			t.Fatal(err)
		}
		rd.Dictionaries(func(string) ([]byte, error) { return dictionary, nil })
		h := testHeader()
		h.Dictionary, h.Body, h.Stored, h.Raw, h.Records = hashOf(dictionary), hashOf(body), len(body), raw, 1
		recs, err := rd.Records(h, body)
		if err == nil && len(recs) != 1 {
			t.Errorf("%d records of a body that says 1", len(recs))
		}
	})
}
