package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"
)

func read(r io.Reader) (fs []Frame, err error) {
	for f, e := range ReadBatches(r) {
		if e != nil {
			return fs, e
		}
		fs = append(fs, f)
	}
	return fs, nil
}

func TestBatches(t *testing.T) {
	want := []Frame{{[]byte("one"), []byte("first body")}, {[]byte("two"), bytes.Repeat([]byte{7}, 300)}, {[]byte("three"), []byte{}}}
	var b []byte
	size := 0
	for _, f := range want {
		b = AppendBatch(b, f.Header, f.Body)
		size += FrameSize(len(f.Header), len(f.Body))
	}
	if size != len(b) {
		t.Errorf("FrameSize adds up to %d, there are %d bytes", size, len(b))
	}
	got, err := read(iotest.OneByteReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	whole := 0
	for cut := range b {
		fs, err := read(bytes.NewReader(b[:cut]))
		if err == nil {
			whole++
		} else if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", cut, err)
		}
		if len(fs) > len(want) {
			t.Errorf("cut at %d: %d batches", cut, len(fs))
		}
	}
	if whole != len(want) {
		t.Errorf("%d of the cuts read without an error, want the %d that fall between batches", whole, len(want))
	}
}

func TestBatchesLengthWithoutEnd(t *testing.T) {
	if fs, err := read(bytes.NewReader(bytes.Repeat([]byte{0xff}, 100))); err == nil || len(fs) != 0 {
		t.Errorf("%d batches, error %v", len(fs), err)
	}
}

func TestBatchesLimits(t *testing.T) {
	uvarint := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	mib := make([]byte, 1<<20)
	for _, tt := range []struct {
		name string
		in   []byte
		n    int   // whole batches read
		err  error // nil for no error
	}{
		{"empty", nil, 0, nil},
		{"header promises too much", uvarint(MaxHeader + 1), 0, ErrLimit},
		{"header promises all memory", uvarint(1 << 62), 0, ErrLimit},
		{"body promises too much", append([]byte{1, 'h'}, uvarint(MaxBody+1)...), 0, ErrLimit},
		{"too many", bytes.Repeat(AppendBatch(nil, []byte("h"), []byte("b")), MaxBatches+1), MaxBatches, ErrLimit},
		{"as many as allowed", bytes.Repeat(AppendBatch(nil, []byte("h"), []byte("b")), MaxBatches), MaxBatches, nil},
		{"too much in all", bytes.Repeat(AppendBatch(nil, nil, mib), 9), 7, ErrLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fs, err := read(bytes.NewReader(tt.in))
			if len(fs) != tt.n || !errors.Is(err, tt.err) {
				t.Errorf("%d batches, error %v; want %d, %v", len(fs), err, tt.n, tt.err)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	want := Answer{Head: Head{"00ff", 7}, Checkpoint: "log\n1\n…", Want: &Head{"00ff", 3}, Plan: "ab", Time: "2026-11-23T01:00:00.000Z"}
	b, err := EncodeAnswer(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeAnswer(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if got, err := DecodeAnswer(strings.NewReader(`{"head":{"journal":"a","seq":1},"want":null,"later":[1]}`)); err != nil || got.Want != nil || got.Head.Seq != 1 {
		t.Errorf("answer of a newer collector: %+v, %v", got, err)
	}
	for _, in := range []string{"", "<html>", `{"head":{"seq":-1}}`, `{} {}`, `[`} {
		if _, err := DecodeAnswer(strings.NewReader(in)); err == nil {
			t.Errorf("%q was read as an answer", in)
		}
	}
	if _, err := DecodeAnswer(neverEnds{}); !errors.Is(err, ErrLimit) {
		t.Errorf("endless answer: %v", err)
	}
	if _, err := EncodeAnswer(Answer{Error: strings.Repeat("x", MaxAnswer)}); !errors.Is(err, ErrLimit) {
		t.Errorf("huge answer: %v", err)
	}
}

type neverEnds struct{}

func (neverEnds) Read(p []byte) (int, error) { return len(p), nil }

func TestProof(t *testing.T) {
	a, b := tlog.RecordHash([]byte("a")), tlog.RecordHash([]byte("b"))
	for _, want := range [][]tlog.Hash{nil, {a}, {a, b, a}} {
		got, err := DecodeProof(EncodeProof(want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("proof (-want +got):\n%s", diff)
		}
	}
	one := EncodeProof([]tlog.Hash{a})
	for _, in := range []string{",", one + ",", "x", one[:40], one + "\n", strings.Repeat(one+",", 200) + one} {
		if _, err := DecodeProof(in); err == nil {
			t.Errorf("%.60q was read as a proof", in)
		}
	}
}

func FuzzReadBatches(f *testing.F) {
	f.Add(AppendBatch(AppendBatch(nil, []byte("h"), []byte("b")), nil, nil))
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, in []byte) {
		fs, err := read(bytes.NewReader(in))
		if err != nil {
			return
		}
		var b []byte
		for _, f := range fs {
			b = AppendBatch(b, f.Header, f.Body)
		}
		if again, err := read(bytes.NewReader(b)); err != nil || len(again) != len(fs) {
			t.Errorf("%d batches, written again: %d, %v", len(fs), len(again), err)
		}
	})
}
