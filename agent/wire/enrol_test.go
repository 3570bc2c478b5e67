package wire

import (
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func TestToken(t *testing.T) {
	var tok Token
	rand.Read(tok.ID[:])
	rand.Read(tok.Secret[:])
	rand.Read(tok.Pin[:])
	text := tok.String()
	if len(text) != 8+1+26+1+52 || strings.ToLower(text) != text {
		t.Errorf("token %q", text)
	}
	for _, s := range []string{text, " " + strings.ToUpper(text) + "\r\n"} {
		if got, err := ParseToken(s); err != nil || got != tok {
			t.Errorf("ParseToken(%q) = %v, %v", s, got, err)
		}
	}
	if got, err := ParseSent(tok.Sent()); err != nil || got.ID != tok.ID || got.Secret != tok.Secret {
		t.Errorf("ParseSent: %v, %v", got, err)
	}
	if strings.Contains(tok.Sent(), strings.Split(text, ".")[2]) {
		t.Error("the pin is sent")
	}
	for name, s := range map[string]string{
		"empty": "", "cut": text[:40], "two parts": tok.Sent(), "four parts": text + ".x", "a wrong digit": strings.Replace(text, ".", "1.", 1)[1:],
		"a letter more": text + "a", "digits that are none": "18181818" + text[8:],
	} {
		if _, err := ParseToken(s); err == nil || !strings.Contains(err.Error(), "copy") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("aaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	f.Add("a.b.c")
	f.Add("........")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseToken(s)
		if err != nil {
			return
		}
		if again, err := ParseToken(tok.String()); err != nil || again != tok {
			t.Errorf("%q: %v", s, err)
		}
	})
}

// What we write as keys is what golang.org/x/mod/sumdb/note writes and reads.
func TestNoteKeys(t *testing.T) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := JournalName("tu-ky", "pc-01")
	want, err := note.NewEd25519VerifierKey(name, pub)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := VerifierKey(name, append([]byte{AlgEd25519}, pub...)); err != nil || got != want {
		t.Errorf("verifier key %s, %v, want %s", got, err, want)
	}
	signer, err := note.NewSigner(SignerKey(name, AlgEd25519, priv))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(want)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Sign(&note.Note{Text: "x\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(n, note.VerifierList(verifier)); err != nil {
		t.Error(err)
	}
	cosign := SignerKey(WitnessName("tu-ky", "pc-01"), AlgCosign, priv)
	gotName, alg, key, err := ParseSignerKey(cosign)
	if err != nil || gotName != "egovmon/tu-ky/witness/pc-01" || alg != AlgCosign || !key.Equal(priv) {
		t.Errorf("%s, %d, %v", gotName, alg, err)
	}
	for name, bad := range map[string]string{
		"empty": "", "a verifier key": want, "another hash": strings.Replace(cosign, "+witness", "+witnes", 1), "cut": cosign[:len(cosign)-4],
		"another name": strings.Replace(cosign, "pc-01", "pc-02", 1),
	} {
		if _, _, _, err := ParseSignerKey(bad); err == nil && bad != cosign {
			t.Errorf("%s is taken", name)
		}
	}
	for _, key := range [][]byte{nil, {1}, append([]byte{2}, pub...), append([]byte{1, 0}, pub...)} {
		if _, err := VerifierKey("n", key); err == nil || Signed(key, nil, make([]byte, 64)) {
			t.Errorf("a key of %d bytes is taken", len(key))
		}
	}
}

// The statements of two different requests are never the same text.
func TestStatements(t *testing.T) {
	a := EnrolRequest{Token: "id.secret", CSR: []byte("csr"), Journal: []byte("j"), Cosign: []byte("c")}
	b := a
	b.Token = "id.other" // the secret is not in the statement, which stands in the log
	if string(a.Statement()) != string(b.Statement()) || strings.Contains(string(a.Statement()), "secret") {
		t.Errorf("statement %q", a.Statement())
	}
	seen := map[string]bool{string(a.Statement()): true}
	for _, r := range []RenewRequest{{CSR: []byte("csr")}, {CSR: []byte("csr"), Journal: &Successor{Key: []byte("j")}}, {CSR: []byte("csr"), Cosign: &Successor{Key: []byte("j")}}} {
		if s := string(r.Statement("id")); seen[s] {
			t.Errorf("twice: %q", s)
		} else {
			seen[s] = true
		}
	}
}
