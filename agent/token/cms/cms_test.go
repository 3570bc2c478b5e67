package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"
)

func certificate(t *testing.T, k crypto.Signer) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(5), NotAfter: time.Unix(2e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A signature is taken only when the certificate's key made it over this very message. (What the messages are worth to
// others is tested with the kind sign.)
func TestSetSignature(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	h, err := HashByName("sha384")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []crypto.Signer{ec, rs} {
		m, err := New(h, []*x509.Certificate{certificate(t, k)}, []byte("digest"), time.Unix(1e9, 0))
		if err != nil {
			t.Fatal(err)
		}
		sign := func(by crypto.Signer, digest []byte) []byte {
			s, err := by.Sign(rand.Reader, digest, h.Hash)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if err := m.SetSignature(sign(k, m.Digest())); err != nil {
			t.Error(err)
		}
		for _, bad := range [][]byte{nil, sign(other, m.Digest()), sign(k, make([]byte, 48))} {
			if err := m.SetSignature(bad); !errors.Is(err, ErrOtherKey) {
				t.Errorf("%T %x: %v", k, bad, err)
			}
		}
		one, err1 := m.Bytes(nil, nil, nil, nil)
		two, err2 := m.Bytes(nil, [][]byte{m.chain[0].Raw}, nil, nil)
		if err1 != nil || err2 != nil || !bytes.Equal(one, two) {
			t.Errorf("the signer's certificate stands twice: %v %v", err1, err2)
		}
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(h, []*x509.Certificate{certificate(t, ed)}, nil, time.Time{}); err == nil {
		t.Error("a key of Ed25519 is taken")
	}
	if _, err := HashByName("sha1"); err == nil {
		t.Error("SHA-1 is taken")
	}
}
