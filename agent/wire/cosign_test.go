package wire_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

func witnessKey(t *testing.T, name string, seed byte) (signer string, w *wire.Witness) {
	t.Helper()
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
	vkey, err := wire.VerifierKey(name, append([]byte{wire.AlgCosign}, key.Public().(ed25519.PublicKey)...))
	if err != nil {
		t.Fatal(err)
	}
	if w, err = wire.NewWitness(vkey); err != nil {
		t.Fatal(err)
	}
	if w.Key() != vkey {
		t.Errorf("Key() = %q, want %q", w.Key(), vkey)
	}
	return wire.SignerKey(name, wire.AlgCosign, key), w
}

// TestCosignature holds what is signed against the words of C2SP tlog-cosignature, written out here once more.
func TestCosignature(t *testing.T) {
	const name = "egovmon/d/witness/pc-01"
	signer, w := witnessKey(t, name, 'a')
	text := wire.FormatCheckpoint("egovmon/d/log/1", tlog.Tree{N: 7, Hash: tlog.Hash{1, 2}})
	at := time.Date(2026, 11, 23, 1, 2, 3, 500, time.UTC)
	c, err := wire.Cosign(text, signer, at)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(c.Line)
	if len(fields) != 3 || fields[0] != "—" || fields[1] != name {
		t.Fatalf("line %q", c.Line)
	}
	raw, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil || len(raw) != 4+8+64 {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("a", ed25519.SeedSize)))
	pub := key.Public().(ed25519.PublicKey)
	id := sha256.Sum256(append([]byte(name+"\n\x04"), pub...))
	if string(raw[:4]) != string(id[:4]) {
		t.Error("the key id is another one than the specification's")
	}
	if got := binary.BigEndian.Uint64(raw[4:]); got != uint64(at.Unix()) {
		t.Errorf("time %d", got)
	}
	if !ed25519.Verify(pub, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at.Unix(), text), raw[12:]) {
		t.Error("the signature is not over what the specification says")
	}
	n, err := note.Open(wire.Cosigned(text, c), note.VerifierList(w))
	if err != nil || n.Text != text {
		t.Fatalf("as a note: %v", err)
	}
	got, cs, err := wire.ReadCosignatures(wire.Cosigned(text, c), w)
	if err != nil || got != text || len(cs) != 1 || !cs[0].At.Equal(at.Truncate(time.Second)) || cs[0].Line != c.Line {
		t.Errorf("read back %q %+v %v", got, cs, err)
	}
}

func TestCosignatureBad(t *testing.T) {
	signer, w := witnessKey(t, "w1", 'a')
	_, other := witnessKey(t, "w1", 'b') // same name, another key
	text := wire.FormatCheckpoint("egovmon/d/log/1", tlog.Tree{N: 7})
	c, err := wire.Cosign(text, signer, time.Unix(1000, 0))
	if err != nil {
		t.Fatal(err)
	}
	good := string(wire.Cosigned(text, c))
	raw, _ := base64.StdEncoding.DecodeString(strings.Fields(c.Line)[2])
	later := append([]byte(nil), raw...)
	later[11]++ // the time is under the signature
	for name, x := range map[string]struct {
		msg  string
		by   *wire.Witness
		want int
		bad  bool
	}{
		"as it is":        {good, w, 1, false},
		"twice":           {good + c.Line, w, 1, false},
		"by another key":  {good, other, 0, false},
		"of another size": {strings.Replace(good, "\n7\n", "\n8\n", 1), w, 0, false},
		"at another time": {strings.Replace(good, strings.Fields(c.Line)[2], base64.StdEncoding.EncodeToString(later), 1), w, 0, false},
		"plain Ed25519":   {strings.Replace(good, strings.Fields(c.Line)[2], base64.StdEncoding.EncodeToString(append(raw[:4:4], raw[12:]...)), 1), w, 0, false},
		"no checkpoint":   {"hello\n\n" + c.Line, w, 0, true},
		"no signature":    {text, w, 0, true},
		"not a line":      {good + "— w1\n", w, 0, true},
		"cut off":         {good[:len(good)-1], w, 0, true},
		"very many":       {text + "\n" + strings.Repeat(c.Line, 70), w, 0, true},
		"very large":      {text + "\n" + strings.Repeat(c.Line, 700), w, 0, true},
	} {
		_, cs, err := wire.ReadCosignatures([]byte(x.msg), x.by)
		if (err != nil) != x.bad || len(cs) != x.want {
			t.Errorf("%s: %d cosignatures, %v", name, len(cs), err)
		}
	}
	if _, err := wire.Cosign("hello\n", signer, time.Unix(1, 0)); err == nil {
		t.Error("something else than a checkpoint is cosigned")
	}
	plain := wire.SignerKey("w1", wire.AlgEd25519, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if _, err := wire.Cosign(text, plain, time.Unix(1, 0)); err == nil {
		t.Error("a journal's key cosigns")
	}
	for _, bad := range []string{"", "w1", "w1+00000000+BA==", strings.Replace(w.Key(), "w1+", "w2+", 1), "w 1" + w.Key()[2:]} {
		if _, err := wire.NewWitness(bad); err == nil {
			t.Errorf("%q is taken for a witness's key", bad)
		}
	}
}

func FuzzReadCosignatures(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	text := wire.FormatCheckpoint("egovmon/d/log/1", tlog.Tree{N: 7})
	c, _ := wire.Cosign(text, wire.SignerKey("w1", wire.AlgCosign, key), time.Unix(1000, 0))
	vkey, _ := wire.VerifierKey("w1", append([]byte{wire.AlgCosign}, key.Public().(ed25519.PublicKey)...))
	w, err := wire.NewWitness(vkey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire.Cosigned(text, c))
	f.Add([]byte("\n\n— a AAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		got, cs, err := wire.ReadCosignatures(msg, w)
		if err == nil && len(cs) > 0 && got != text {
			t.Fatalf("a cosignature over %q", got)
		}
	})
}
