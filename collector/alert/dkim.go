package alert

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
	gomail "github.com/wneessen/go-mail"
)

// signedHeaders are covered by a signature. From stands twice, so that nobody can add another one.
func signedHeaders() []string {
	return []string{"From", "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
}

// minRSA is the least size of a key that receivers believe (RFC 8301, section 3.2).
const minRSA = 1024

// signing reads the key.
func signing(c *DKIMConfig) (*dkim.SignOptions, error) {
	data, err := readFile(c.KeyFile, maxCA)
	if err != nil {
		return nil, fmt.Errorf("key_file: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("key_file: %s holds no PEM key", c.KeyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return nil, fmt.Errorf("key_file: %s holds neither a PKCS #8 nor a PKCS #1 key", c.KeyFile)
		}
	}
	o := &dkim.SignOptions{Domain: c.Domain, Selector: c.Selector, HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		Hash: crypto.SHA256, HeaderKeys: signedHeaders()}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < minRSA {
			return nil, fmt.Errorf("key_file: an RSA key of %d bits; receivers believe %d and more", k.N.BitLen(), minRSA)
		}
		o.Signer = k
	case ed25519.PrivateKey:
		o.Signer = k
	default:
		return nil, fmt.Errorf("key_file: %T cannot sign letters: give an RSA or Ed25519 key", key)
	}
	return o, nil
}

// signLetter puts the signature into a letter of which nothing else changes any more.
func signLetter(letter *gomail.Msg, o *dkim.SignOptions) error {
	var text, signed bytes.Buffer
	if _, err := letter.WriteTo(&text); err != nil {
		return err
	}
	if err := dkim.Sign(&signed, &text, o); err != nil {
		return err
	}
	name, value, ok := strings.Cut(signed.String(), ": ")
	end := headerEnd(value)
	if !ok || name != "DKIM-Signature" || end < 0 {
		return errors.New("the signature is not where it should be")
	}
	letter.SetGenHeaderPreformatted("DKIM-Signature", value[:end])
	return nil
}

// headerEnd is where the first header of a text ends: at the first line break that no blank follows. -1 where it does not.
func headerEnd(s string) int {
	for at := 0; ; {
		i := strings.Index(s[at:], "\r\n")
		if i < 0 || at+i+2 >= len(s) {
			return -1
		}
		if at += i; s[at+2] != ' ' && s[at+2] != '\t' {
			return at
		}
		at += 2
	}
}
