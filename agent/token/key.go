package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"egovmon/agent/check"
	"egovmon/agent/token/pkcs11"
	"egovmon/agent/token/talk"
)

// openKey finds the key. What is wrong with it is a mistake of the plan, but for a token that is not there.
func openKey(q talk.Signing) (key, error) {
	chain, err := parseChain(q.Chain)
	if err != nil {
		return nil, because(check.Misconfigured, "certificate: %v", err)
	}
	switch k := q.Key; {
	case k.Module != "":
		return openToken(k, chain)
	case k.PKCS12 != nil:
		return openPKCS12(k, chain)
	case k.PEM != "":
		return openPEM(k.PEM, chain)
	}
	return nil, because(check.Misconfigured, "no key: name a secret or a module")
}

func parseChain(ders [][]byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// A fileKey is a private key in memory.
type fileKey struct {
	signer crypto.Signer
	chain  []*x509.Certificate
}

func openPEM(text string, chain []*x509.Certificate) (key, error) {
	b, rest := pem.Decode([]byte(text))
	for b != nil && !strings.HasSuffix(b.Type, "PRIVATE KEY") {
		b, rest = pem.Decode(rest)
	}
	if b == nil {
		return nil, because(check.Misconfigured, "key: no private key in PEM stands in the secret")
	}
	var k any
	var err error
	switch b.Type {
	case "PRIVATE KEY":
		k, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	case "RSA PRIVATE KEY":
		k, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY":
		k, err = x509.ParseECPrivateKey(b.Bytes)
	default:
		return nil, because(check.Misconfigured, "key: the secret is a %q, want a private key without encryption, or PKCS#12", check.CleanDetail(b.Type))
	}
	if err != nil {
		return nil, because(check.Misconfigured, "key: the private key cannot be read")
	}
	return newFileKey(k, chain)
}

func openPKCS12(q talk.Key, more []*x509.Certificate) (key, error) {
	k, cert, above, err := pkcs12.DecodeChain(q.PKCS12, q.Password)
	if err != nil && !errors.Is(err, pkcs12.ErrIncorrectPassword) {
		// A secret is a text, whose last newline is no part of it; in a file as it is that may have been its last byte.
		k, cert, above, err = pkcs12.DecodeChain(append(slices.Clip(q.PKCS12), '\n'), q.Password)
	}
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, because(check.Misconfigured, "key: the password of the PKCS#12 file is wrong")
	case err != nil:
		return nil, because(check.Misconfigured, "key: the PKCS#12 file cannot be read")
	}
	return newFileKey(k, slices.Concat([]*x509.Certificate{cert}, above, more))
}

func newFileKey(k any, chain []*x509.Certificate) (key, error) {
	signer, ok := k.(crypto.Signer)
	if !ok {
		return nil, because(check.Misconfigured, "key: a private key of a kind that cannot sign")
	}
	if len(chain) == 0 {
		return nil, because(check.Misconfigured, "certificate: none is given, and none stands with the key")
	}
	pub, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(signer.Public()) {
		return nil, because(check.Misconfigured, "certificate with serial %x: the private key is not that of the certificate", chain[0].SerialNumber)
	}
	return &fileKey{signer, chain}, nil
}

func (k *fileKey) opened() talk.Opened { return talk.Opened{Chain: raws(k.chain)} }

func raws(chain []*x509.Certificate) [][]byte {
	var all [][]byte
	for _, c := range chain {
		all = append(all, c.Raw)
	}
	return all
}

func (k *fileKey) login(string) error { return nil }

func (k *fileKey) sign(digest []byte, h crypto.Hash) ([]byte, error) {
	s, err := k.signer.Sign(rand.Reader, digest, h)
	if err != nil {
		return nil, because(check.Misconfigured, "key: %v", err)
	}
	return s, nil
}

func (k *fileKey) close() {}

// A tokenKey is a private key on a token.
type tokenKey struct {
	m     *pkcs11.Module
	s     *pkcs11.Session
	token pkcs11.Token
	id    string
	chain []*x509.Certificate
	pin   string
	key   *pkcs11.Key
}

func openToken(q talk.Key, more []*x509.Certificate) (key, error) {
	m, err := pkcs11.Open(q.Module)
	if err != nil {
		return nil, because(check.Misconfigured, "module: %v", err)
	}
	k := &tokenKey{m: m, id: q.ID}
	if k.token, err = m.Find(q.Token); err == nil {
		if k.s, err = m.Session(k.token); err == nil {
			err = k.certificates(more)
		}
	}
	if err == nil && k.token.Flags&pkcs11.FlagLoginRequired != 0 {
		err = k.token.Safe()
	}
	if err != nil {
		k.close()
		return nil, tokenFault(err, false)
	}
	if k.token.Flags&pkcs11.FlagProtectedPath != 0 {
		k.close()
		return nil, because(check.NotSupported, "token %q wants its PIN typed at the reader, which only a person can do", k.token.Label)
	}
	return k, nil
}

// certificates finds the certificate of the key: the token's, else the one that the plan names.
func (k *tokenKey) certificates(more []*x509.Certificate) error {
	all, err := k.s.Certificates()
	if err != nil {
		return err
	}
	var own []*x509.Certificate
	for _, c := range all {
		if k.id != "" && c.ID != k.id {
			continue
		}
		cert, err := x509.ParseCertificate(c.DER)
		if err == nil && !cert.IsCA {
			own = append(own, cert)
		}
	}
	switch {
	case len(own) > 1:
		return fmt.Errorf("%w: token %q has %d certificates: name one by key_id", pkcs11.ErrKey, k.token.Label, len(own))
	case len(own) == 0 && len(more) == 0:
		return fmt.Errorf("%w: token %q has no certificate of key %q: name a file with it", pkcs11.ErrKey, k.token.Label, k.id)
	}
	for _, c := range more {
		if !slices.ContainsFunc(own, func(o *x509.Certificate) bool { return bytes.Equal(o.Raw, c.Raw) }) {
			own = append(own, c)
		}
	}
	k.chain = own
	return nil
}

// tokenFault says which reason an error of a token is.
func tokenFault(err error, tried bool) error {
	f := &fault{reason: check.Internal, detail: err.Error(), tried: tried}
	switch {
	case errors.Is(err, pkcs11.ErrAbsent):
		f.reason = check.TokenAbsent
	case errors.Is(err, pkcs11.ErrPIN):
		f.reason = check.PINRefused
	case errors.Is(err, pkcs11.ErrKey):
		f.reason = check.Misconfigured
	default:
		f.detail = "the token's driver: " + f.detail
	}
	return f
}

func (k *tokenKey) opened() talk.Opened {
	return talk.Opened{Chain: raws(k.chain), Login: k.token.Flags&pkcs11.FlagLoginRequired != 0, Token: k.token.Label, Serial: k.token.Serial}
}

func (k *tokenKey) login(pin string) error {
	tried, err := k.s.Login(pin)
	if err != nil {
		return tokenFault(err, tried)
	}
	k.pin = pin
	if k.key, err = k.s.Key(k.id); err != nil {
		return tokenFault(err, false)
	}
	return nil
}

func (k *tokenKey) sign(digest []byte, h crypto.Hash) ([]byte, error) {
	s, err := k.key.Sign(digest, h, k.pin)
	if err != nil {
		return nil, tokenFault(err, errors.Is(err, pkcs11.ErrPIN))
	}
	return s, nil
}

func (k *tokenKey) close() {
	if k.s != nil {
		k.s.Close()
	}
	k.m.Close()
}
