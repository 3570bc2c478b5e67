package evidence

import (
	"bytes"
	"maps"
	"strings"
	"testing"
)

func TestLeafRoundTrip(t *testing.T) {
	for _, typ := range types {
		e, err := NewEntry(typ, map[string]string{"b": "a b  c", "a-1": "Tu\u031bky\u0300", "z_": "x"}, []byte("blob"), []byte("body"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseLeaf(e.Leaf.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		blob, ok1 := got.Blob()
		body, ok2 := got.Body()
		if got.Type() != typ || !ok1 || blob != RefTo([]byte("blob")) || !ok2 || body != RefTo([]byte("body")) || got.Hash() != e.Leaf.Hash() {
			t.Errorf("%q reads %+v", e.Leaf.Bytes(), got)
		}
		if got.Field("a-1") != "Tưkỳ" {
			t.Errorf("the value is %q, want it in NFC", got.Field("a-1"))
		}
		if want := map[string]string{"b": "a b  c", "a-1": "Tưkỳ", "z_": "x"}; !maps.Equal(maps.Collect(got.Fields()), want) {
			t.Errorf("fields %v, want %v", maps.Collect(got.Fields()), want)
		}
	}
}

func TestNewLeafRefuses(t *testing.T) {
	tests := []struct {
		name       string
		typ        Type
		key, value string
		want       string
	}{
		{"type", "sermon", "a", "b", "unknown"},
		{"no type", "", "a", "b", "unknown"},
		{"blob key", Plan, "blob", "b", "set by the store"},
		{"body key", Plan, "body", "b", "set by the store"},
		{"empty key", Plan, "", "b", "form"},
		{"key with a space", Plan, "a b", "b", "form"},
		{"upper case", Plan, "A", "b", "form"},
		{"long key", Plan, strings.Repeat("a", 33), "b", "form"},
		{"empty value", Plan, "a", "", "no value"},
		{"newline", Plan, "a", "b\nblob x", "control"},
		{"C1 control", Plan, "a", "b\u0085", "control"},
		{"not UTF-8", Plan, "a", "\xff", "UTF-8"},
		{"too long", Plan, "a", strings.Repeat("x", MaxLeaf), "into the blob"},
	}
	for _, tt := range tests {
		if _, err := NewLeaf(tt.typ, map[string]string{tt.key: tt.value}, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := NewLeaf(Report, nil, make([]byte, MaxBlob+1)); err == nil {
		t.Error("a blob that is too large")
	}
}

func TestParseLeafRefuses(t *testing.T) {
	ref := RefTo([]byte("x")).String()
	good := "egovmon-leaf/1 plan\na 1\nbody " + ref + "\nc 3\nblob " + ref + "\n"
	if _, err := ParseLeaf([]byte(good)); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"":                                             "newline",
		"egovmon-leaf/1 plan":                          "newline",
		"egovmon-leaf/2 plan\n":                        "newer",
		"egovmon-leaf/1 sermon\n":                      "newer",
		"egovmon-leaf/1 plan\n\n":                      "form",
		"egovmon-leaf/1 plan\r\n":                      "unknown",
		"egovmon-leaf/1 plan\na\n":                     "no value",
		"egovmon-leaf/1 plan\na \n":                    "no value",
		"egovmon-leaf/1 plan\n a 1\n":                  "form",
		"egovmon-leaf/1 plan\nb 1\na 1\n":              "does not come after",
		"egovmon-leaf/1 plan\na 1\na 1\n":              "does not come after",
		"egovmon-leaf/1 plan\na e\u0301\n":             "NFC",
		"egovmon-leaf/1 plan\nblob " + ref + "\nc 1\n": "not the last",
		"egovmon-leaf/1 plan\nblob " + ref + "\nblob " + ref + "\n":     "not the last",
		"egovmon-leaf/1 plan\nblob " + strings.ToUpper(ref) + "\n":      "lower-case",
		"egovmon-leaf/1 plan\nblob " + ref[:64] + "\n":                  "blob",
		"egovmon-leaf/1 plan\nblob " + ref[:64] + " 0\n":                "size from 1",
		"egovmon-leaf/1 plan\nblob " + ref[:64] + " 01\n":               "lower-case",
		"egovmon-leaf/1 plan\nbody " + ref[:64] + " 99999999999\n":      "size from 1",
		"egovmon-leaf/1 plan\nbody " + ref[1:] + "\n":                   "SHA-256",
		"egovmon-leaf/1 plan\na " + strings.Repeat("x", MaxLeaf) + "\n": "the most",
	}
	for text, want := range tests {
		if _, err := ParseLeaf([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseLeaf(f *testing.F) {
	f.Add([]byte("egovmon-leaf/1 plan\n"))
	f.Add([]byte("egovmon-leaf/1 user\nname Nguyễn Thị Hoà\nrole operator\n"))
	f.Add([]byte("egovmon-leaf/1 plan\na 1\nbody " + RefTo(nil).String() + "\nblob " + RefTo([]byte("x")).String() + "\n"))
	f.Add([]byte("egovmon-leaf/1 batch\nbody " + RefTo([]byte("y")).String() + "\nseq 4\nblob " + RefTo([]byte("x")).String() + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := ParseLeaf(text)
		if err != nil {
			return
		}
		if !bytes.Equal(l.Bytes(), text) {
			t.Fatalf("%q became %q", text, l.Bytes())
		}
		again, err := NewLeaf(l.Type(), maps.Collect(l.Fields()), nil)
		if err != nil {
			t.Fatalf("%q is read, but cannot be made: %v", text, err)
		}
		_, blob := l.Blob()
		_, body := l.Body()
		if !blob && !body && !bytes.Equal(again.Bytes(), text) {
			t.Fatalf("%q is made as %q", text, again.Bytes())
		}
	})
}

// FuzzScanner reads any bytes as a segment: no more may be allocated than there is, and what is read must be what
// would be written.
func FuzzScanner(f *testing.F) {
	d := newMemDisk()
	s, err := open(testOptions(f, "mem"), d)
	if err != nil {
		f.Fatal(err)
	}
	appendN(f, s, 0, 4)
	seg := d.names[segmentName(0)].data
	f.Add(seg)
	f.Add(seg[:len(seg)-1])
	f.Add(append(bytes.Clone(seg), 'L', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newMemDisk()
		d.names["x"] = &memData{data: data}
		file, err := d.Open("x")
		if err != nil {
			t.Fatal(err)
		}
		sc, err := newScanner("x", file, 0, pickAhead)
		if err != nil {
			t.Fatal(err)
		}
		header, err := sc.header()
		if err != nil {
			return
		}
		out := appendFrame(nil, kindHeader, header)
		for {
			r, err := sc.next()
			if err != nil {
				break
			}
			if r.commit {
				out = appendCommit(out, r.tree)
			} else if r.packed { // compressed as whoever wrote it liked
				if err := r.check(); err != nil {
					t.Fatal(err)
				}
				out = append(out, data[len(out):sc.off]...)
			} else {
				out = appendEntry(out, r.Entry)
			}
			if int64(len(out)) != sc.off || !bytes.Equal(out, data[:len(out)]) {
				t.Fatalf("at %d: read is not what was written", sc.start)
			}
		}
	})
}
