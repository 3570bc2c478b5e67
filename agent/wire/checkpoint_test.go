package wire

import (
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

func TestCheckpoint(t *testing.T) {
	tree := tlog.Tree{N: 1 << 40, Hash: tlog.RecordHash(nil)}
	text := FormatCheckpoint("egovmon/tu-ky/log/1", tree)
	origin, got, err := ParseCheckpoint(text)
	if err != nil || origin != "egovmon/tu-ky/log/1" || got != tree {
		t.Fatalf("%q: %q %v %v", text, origin, got, err)
	}
	h := tree.Hash.String()
	for _, bad := range []string{
		"", "\n", "\n1\n" + h + "\n", "o\n1\n" + h, "o\n01\n" + h + "\n", "o\n+1\n" + h + "\n", "o\n-1\n" + h + "\n",
		"o\n1\n" + h[1:] + "\n", "o\n1\n" + h + "\nmore\n", "o\n99999999999999999999\n" + h + "\n", "o\r\n1\n" + h + "\r\n",
	} {
		if _, _, err := ParseCheckpoint(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add(FormatCheckpoint("egovmon/tu-ky/log/1", tlog.Tree{N: 7}))
	f.Add("o\n1\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		if origin, tree, err := ParseCheckpoint(s); err == nil && FormatCheckpoint(origin, tree) != s {
			t.Errorf("%q is read as %q %v", s, origin, tree)
		}
	})
}
