package pdf

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// doc writes a document of these objects, numbered from 1, with a table; more stands in the trailer.
func doc(more string, objects ...string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n")
	var table strings.Builder
	for i, o := range objects {
		fmt.Fprintf(&table, "%010d 00000 n \n", b.Len())
		fmt.Fprintf(&b, "%d 0 obj %s endobj\n", i+1, o)
	}
	fmt.Fprintf(&b, "xref\n1 %d\n%strailer <</Root 1 0 R %s>>\nstartxref\n%d\n%%%%EOF\n", len(objects), table.String(), more, bytes.LastIndex(b.Bytes(), []byte("endobj\n"))+7)
	return b.Bytes()
}

func deflated(n int64, fill byte) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	chunk := bytes.Repeat([]byte{fill}, 1<<20)
	for ; n > 0; n -= int64(len(chunk)) {
		_, _ = z.Write(chunk[:min(n, int64(len(chunk)))])
	}
	_ = z.Close()
	return b.String()
}

const good = "<</Type/Page/Parent 2 0 R>>"

// maxHostile is how many bytes such a document may cost: the values of a document, at most two million, and its streams.
const maxHostile = 256 << 20

// What a hostile document may try, at each place that is read.
func TestHostile(t *testing.T) {
	bomb := deflated(64<<20, 0)
	broken := func(text string, at int) []byte {
		return fmt.Appendf(nil, "%%PDF-1.7\n%s\nstartxref\n%d\n%%%%EOF\n", text, at)
	}
	pack := func(head string, n int64, body byte) string {
		data := deflated(n, body)
		return fmt.Sprintf("<</Type/ObjStm %s/Filter/FlateDecode/Length %d>>stream\n%s\nendstream", head, len(data), data)
	}
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"well", doc("", "<</Pages 2 0 R>>", "<</Kids[3 0 R]>>", good), ""},
		{"no end", []byte("%PDF-1.7\n1 0 obj"), "no startxref"},
		{"section beyond the end", broken("", 5000), "a section at byte 5000 of"},
		{"table that is none", broken("xref\n0 x", 9), "neither a subsection nor the trailer"},
		{"sections in a circle", broken("xref\ntrailer <</Prev 9>>", 9), "the sections lead in a circle"},
		{"a billion entries", broken("xref\n0 99999999\n"+strings.Repeat("0000000000 00000 n \n", 3), 9), "an entry that is none"},
		{"trailer a million deep", broken("xref\ntrailer "+strings.Repeat("[", 1<<20), 9), "nested more than 64 deep"},
		{"section that is a bomb", broken(fmt.Sprintf("1 0 obj <</Type/XRef/W[1 1 1]/Size 9/Filter/FlateDecode/Length %d>> stream\n%s\nendstream", len(bomb), bomb), 9), "more than 8388608 bytes once inflated"},
		{"no catalog", doc("", "[1 2]", "x", good), "the catalog is no dictionary"},
		{"catalog that is not there", doc("/Prev 1e9", "<<>>"), "a Prev that is no number"},
		{"another object in its place", bytes.Replace(doc("", "<</Pages 2 0 R>>", "<</Kids[3 0 R]>>", good), []byte("2 0 obj"), []byte("7 0 obj"), 1), "object 7 stands at byte"},
		{"kids in a circle", doc("", "<</Pages 2 0 R>>", "<</Kids[2 0 R]>>"), "the page tree has no end"},
		{"no kids", doc("", "<</Pages 2 0 R>>", "<</Kids[]>>"), "the document has no page"},
		{"kids that are none", doc("", "<</Pages 2 0 R>>", "<</Kids 5>>"), "is no array"},
		{"page within the catalog", doc("", "<</Pages <</Type/Page>>>>"), "no object of its own"},
		{"references in a circle", doc("", "<</Pages 2 0 R>>", "3 0 R", "2 0 R"), "without end"},
		{"length in a circle", doc("", "<</Pages 2 0 R>>", "<</Length 2 0 R>>stream\nendstream"), "whose length is itself"},
		{"length that is a stream", doc("", "<</Pages 2 0 R>>", "<</Length 3 0 R>>stream\nendstream", "[[[[1]]]]"), "nested"},
		{"length beyond the end", doc("", "<</Pages 2 0 R>>", "<</Length 99999>>stream\nendstream"), "whose length cannot be"},
		{"annotations that are none", doc("", "<</Pages 2 0 R>>", "<</Kids[3 0 R]>>", "<</Annots 7>>"), "is no array"},
		{"form that is none", doc("", "<</Pages 2 0 R/AcroForm 4 0 R>>", "<</Kids[3 0 R]>>", good, "(form)"), "the form is no dictionary"},
		{"key that is no name", doc("", "<<1 2>>"), "a key that is no name"},
		{"string without end", doc("", "(((")[:40], "no startxref"},
		{"encrypted", doc("/Encrypt 9 0 R", "<</Pages 2 0 R>>"), "encrypted"},
		{"number too large", []byte("%PDF-1.7\nxref\n9999999 1\n0000000000 00000 n \ntrailer <<>>\nstartxref\n9\n"), "at most 8388607"},
		{"many values", doc("", "["+strings.Repeat("0 ", 3<<20)+"]"), "more than 2097152 values"},
		{"object stream that is a bomb", packedDoc(t, pack("/N 1/First 4", 16<<20, ' ')), "once inflated"},
		{"object stream with a head that cannot be", packedDoc(t, pack("/N 1000000/First 4", 10, ' ')), "a head that cannot be"},
		{"object stream without its object", packedDoc(t, pack("/N 0/First 4", 10, ' ')), "where it should be"},
		{"object stream by another filter", packedDoc(t, "<</Type/ObjStm/N 1/First 4/Filter/LZWDecode/Length 2>>stream\nxx\nendstream"), "a filter that is not known"},
		{"object stream with an offset beyond", packedDoc(t, "<</Type/ObjStm/N 1/First 6/Length 8>>stream\n1 9999  \nendstream"), "list of objects that cannot be"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin := time.Now()
		d, err := Open(tt.data)
		if err == nil {
			_, err = d.Prepare(100, time.Unix(0, 0), "", "")
		}
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("%s took %s", tt.name, took)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > maxHostile {
			t.Errorf("%s: %d MiB were allocated, at most %d", tt.name, n>>20, maxHostile>>20)
		}
	}
	p := &Prepared{data: make([]byte, 12), begin: 0, end: 12}
	if _, err := p.Complete(make([]byte, 6)); err == nil || !strings.Contains(err.Error(), "room for 5") {
		t.Errorf("more than there is room for: %v", err)
	}
}

// packedDoc is a document whose catalog stands in an object stream, which is object 2.
func packedDoc(t *testing.T, stream string) []byte {
	t.Helper()
	text := "%PDF-1.7\n2 0 obj " + stream + "\nendobj\n"
	var table []byte
	for _, r := range [][]byte{{2, 0, 0, 2, 0}, {1, 0, 0, 9, 0}, {1, byte(len(text) >> 16), byte(len(text) >> 8), byte(len(text)), 0}} {
		table = append(table, r...)
	}
	text += fmt.Sprintf("3 0 obj <</Type/XRef/Size 4/Index[1 3]/W[1 3 1]/Root 1 0 R/Length %d>>stream\n%s\nendstream\nendobj\n", len(table), table)
	return []byte(text + fmt.Sprintf("startxref\n%d\n%%%%EOF\n", strings.Index(text, "3 0 obj")))
}

// Signatures that are none, read back.
func TestFindHostile(t *testing.T) {
	with := func(sig, more string) []byte {
		return doc("", "<</Pages 2 0 R/AcroForm<</Fields[4 0 R]>>"+more+">>", "<</Kids[3 0 R]>>", good, "<</FT/Sig/V 5 0 R>>", sig, "(x)")
	}
	for _, tt := range []struct{ name, sig, more, want string }{
		{"none", "null", "", "is no dictionary"},
		{"no range", "<</Contents<00>>>", "", "without its range or contents"},
		{"no contents", "<</ByteRange[0 1 2 3]>>", "", "without its range or contents"},
		{"backwards", "<</ByteRange[0 9 2 3]/Contents<00>>>", "", "whose range cannot be"},
		{"not from the beginning", "<</ByteRange[1 9 12 3]/Contents<00>>>", "", "whose range cannot be"},
		{"beyond the end", "<</ByteRange[0 1 2 99999]/Contents<00>>>", "", "whose range cannot be"},
		{"negative", "<</ByteRange[0 -1 2 3]/Contents<00>>>", "", "whose range cannot be"},
		{"no hexadecimal", "<</ByteRange[0 1 2 3]/Contents<0x>>>", "", "not in hexadecimal"},
		{"store that is none", "<</ByteRange[0 1 2 3]/Contents<00>>>", "/DSS 6 0 R", "the security store is no dictionary"},
		{"store without streams", "<</ByteRange[0 1 2 3]/Contents<00>>>", "/DSS<</Certs[6 0 R]>>", "something else than streams"},
		{"another gap", "<</ByteRange[0 1 2 3]/Contents<3003020105>>>", "", ""},
	} {
		d, err := Open(with(tt.sig, tt.more))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		f, err := d.Find()
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if tt.want == "" && (err != nil || f.Gap || f.End != 5) {
			t.Errorf("%s: %+v %v", tt.name, f, err)
		}
	}
	d, err := Open(doc("", "<</Pages 2 0 R>>", "<</Kids[3 0 R]>>", good))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Find(); err == nil || !strings.Contains(err.Error(), "has no signature") {
		t.Errorf("no signature: %v", err)
	}
}

// Whatever is opened can be signed and read back, or is an error; nothing panics and nothing takes long.
func FuzzOpen(f *testing.F) {
	sample, err := os.ReadFile("../document.pdf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	f.Add(doc("", "<</Pages 2 0 R/AcroForm<</Fields[]>>>>", "<</Kids[3 0 R]>>", good))
	f.Add(doc("/ID[<00><00>]/Info 4 0 R", "<</Pages 2 0 R/A#42 true>>", "<</Kids[3 0 R]>>", "<</Annots[4 0 R]>>", "<</Length 3>>stream\nabc\nendstream"))
	f.Add([]byte("%PDF-1.5\n1 0 obj <</Type/XRef/W[1 2 1]/Size 2/Root 1 0 R/Length 8>>stream\n\x01\x00\x09\x00\x01\x00\x09\x00\nendstream startxref 9"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		d, err := Open(data)
		if err != nil {
			return
		}
		_, _ = d.Find()
		p, err := d.Prepare(16, time.Unix(0, 0), "a", "b")
		if err != nil {
			return
		}
		var before bytes.Buffer
		p.Hash(&before)
		out, err := p.Complete([]byte{0x30, 0})
		if err != nil {
			t.Fatal(err)
		}
		again, err := Open(out)
		if err != nil {
			t.Fatalf("a signed document cannot be opened: %v", err)
		}
		found, err := again.Find()
		if err != nil {
			return // a field of the document itself may be broken
		}
		var after bytes.Buffer
		found.Hash(&after)
		if found.End == int64(len(out)) && (!found.Gap || !bytes.Equal(before.Bytes(), after.Bytes())) {
			t.Error("another signature is read back than was made")
		}
	})
}
