package signature

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// A generation is a root and the authority below it that issues.
type generation struct {
	root *x509.Certificate
	sub  *authority
}

// newGeneration makes a generation whose certificates are all signed with this algorithm; change may spoil that of the
// authority which issues.
func newGeneration(t testing.TB, name string, algo x509.SignatureAlgorithm, from, to int, change func(*x509.Certificate)) generation {
	t.Helper()
	// Keys of an old PKI are of RSA; 1024 bits keep the test short.
	rootKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	year := func(y int) time.Time { return time.Date(y, 6, 1, 0, 0, 0, 0, time.UTC) }
	tmpl := func(cn string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(int64(from)), Subject: pkix.Name{CommonName: cn}, NotBefore: year(from), NotAfter: year(to), IsCA: true,
			BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SignatureAlgorithm: algo}
	}
	make := func(c, parent *x509.Certificate, pub *rsa.PublicKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, rootKey)
		if err != nil {
			t.Fatal(err)
		}
		c, err = x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	g := generation{sub: newAuthority(t, checktest.Epoch())}
	root := tmpl("RootCA " + name)
	g.root = make(root, root, &rootKey.PublicKey)
	below := tmpl("CA " + name)
	if change != nil {
		change(below)
	}
	g.sub.cert, g.sub.key = make(below, g.root, &key.PublicKey), key
	return g
}

// Both generations are led to their own root, which each answer names; the older one is signed over SHA-1 and ends in
// 2030.
func TestGenerations(t *testing.T) {
	g1 := newGeneration(t, "G1", x509.SHA1WithRSA, 2010, 2030, nil)
	g2 := newGeneration(t, "G2", x509.SHA256WithRSA, 2018, 2048, nil)
	roots := certPEM(t, g1.root, g2.root)
	sha1 := func(o check.Options) check.Options { o["sha1_chain"] = true; return o }
	for _, tt := range []struct {
		name   string
		of     generation
		with   check.Options
		reason check.Reason
		detail string
		anchor float64
	}{
		{"G2", g2, check.Options{"roots": roots}, check.OK, `, under "RootCA G2"`, 2},
		{"G2, SHA-1 allowed", g2, sha1(check.Options{"roots": roots}), check.OK, `, under "RootCA G2"`, 2},
		{"G1", g1, sha1(check.Options{"roots": roots}), check.OK, `, under "RootCA G1", which ends 2030-06-01`, 1},
		{"G1, SHA-1 not allowed", g1, check.Options{"roots": roots}, check.RevocationInvalid, "the option sha1_chain allows that", 0},
		{"G1, told 4 years before", g1, sha1(check.Options{"roots": roots, "root_warn_days": int64(4 * 366)}), check.CertExpiring, `"RootCA G1" ends 2030-06-01`, 1},
		{"G1, not told 3 years before", g1, sha1(check.Options{"roots": roots, "root_warn_days": int64(3 * 365)}), check.OK, "", 1},
		{"G1 under the root of G2", g1, sha1(check.Options{"roots": certPEM(t, g2.root)}), check.RevocationInvalid, "unknown authority", 0},
		{"G1, ended", newGeneration(t, "G1", x509.SHA1WithRSA, 2010, 2025, nil), nil, check.RevocationInvalid, "", 0},
		{"G1, critical extension", newGeneration(t, "G1", x509.SHA1WithRSA, 2010, 2030, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), nil, check.RevocationInvalid, "", 0},
		{"G1, constraints of names", newGeneration(t, "G1", x509.SHA1WithRSA, 2010, 2030, func(c *x509.Certificate) {
			c.PermittedDNSDomains = []string{"ca.test"}
		}), nil, check.RevocationInvalid, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.with == nil {
				tt.with = sha1(check.Options{"roots": certPEM(t, tt.of.root)})
			}
			// The list is signed over SHA-256 or SHA-1, as the generation does it.
			body := tt.of.sub.list(func(l *x509.RevocationList) {
				l.SignatureAlgorithm = tt.of.root.SignatureAlgorithm
				l.NextUpdate = checktest.Epoch().Add(time.Hour)
			})
			o := check.Options{"url": serve(t, "application/pkix-crl", func([]byte) []byte { return body }), "issuer": tt.of.sub.file()}
			maps.Copy(o, tt.with)
			r := checktest.NewFunc(t, crlKind(), o, check.Env{})(t.Context())
			want(t, r, tt.reason, tt.detail)
			if got, _ := r.Facts.Get("anchor_code"); got != tt.anchor {
				t.Errorf("anchor %v, want %v", got, tt.anchor)
			}
		})
	}
}

// A time stamp and an OCSP answer of the first generation.
func TestFirstGeneration(t *testing.T) {
	g := newGeneration(t, "G1", x509.SHA1WithRSA, 2010, 2030, nil)
	roots := certPEM(t, g.root)
	sha1 := func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }
	cert, key := g.sub.stampCert(sha1)
	s := stamper{t: t, cert: cert, key: key, at: checktest.Epoch(), more: []*x509.Certificate{g.sub.cert}}
	url := serve(t, "application/timestamp-reply", s.answer)
	want(t, checktest.NewFunc(t, tsaKind(), check.Options{"url": url, "roots": roots, "sha1_chain": true}, check.Env{})(t.Context()), check.OK, `under "RootCA G1", which ends 2030`)
	want(t, checktest.NewFunc(t, tsaKind(), check.Options{"url": url, "roots": roots}, check.Env{})(t.Context()), check.TSAInvalid, "sha1_chain")
	// A certificate for servers does not stamp, over SHA-1 neither.
	other, otherKey := g.sub.stampCert(func(c *x509.Certificate) { sha1(c); c.NotAfter = checktest.Epoch().Add(-time.Hour) })
	s.cert, s.key = other, otherKey
	url = serve(t, "application/timestamp-reply", s.answer)
	want(t, checktest.NewFunc(t, tsaKind(), check.Options{"url": url, "roots": roots, "sha1_chain": true}, check.Env{})(t.Context()), check.TSAInvalid, "outside the validity")

	officer, _ := g.sub.officer(sha1)
	responder, responderKey := g.sub.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "OCSP G1"}, SignatureAlgorithm: x509.SHA1WithRSA,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}})
	url = serve(t, "application/ocsp-response", func([]byte) []byte {
		body, err := ocsp.CreateResponse(g.sub.cert, responder, ocsp.Response{SerialNumber: officer.SerialNumber, ThisUpdate: checktest.Epoch(), Certificate: responder}, responderKey)
		if err != nil {
			t.Error(err)
		}
		return body
	})
	o := check.Options{"url": url, "certificate": certPEM(t, officer), "issuer": g.sub.file(), "roots": roots, "sha1_chain": true}
	r := checktest.NewFunc(t, ocspKind(), o, check.Env{})(t.Context())
	want(t, r, check.OK, `under "RootCA G1", which ends 2030`)
	wantFacts(t, r, map[string]float64{"responder_code": signerToCheck, "anchor_code": 1})
	delete(o, "roots")
	o["sha1_chain"] = false
	want(t, checktest.NewFunc(t, ocspKind(), o, check.Env{})(t.Context()), check.RevocationInvalid, "was not appointed by the issuer")
}

// Nobody's name stands in a result, whatever went wrong with the certificate.
func TestNoPersonIsNamed(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	soon, _ := a.officer(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(0, 0, 3) })
	gone, _ := a.officer(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) })
	status := ocsp.Good
	url := serve(t, "application/ocsp-response", func([]byte) []byte {
		body, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{Status: status, SerialNumber: soon.SerialNumber, ThisUpdate: checktest.Epoch(), RevokedAt: checktest.Epoch()}, a.key)
		if err != nil {
			t.Error(err)
		}
		return body
	})
	for _, tt := range []struct {
		cert   *x509.Certificate
		issuer string
		status int
		want   check.Reason
	}{
		{soon, a.file(), ocsp.Good, check.CertExpiring}, {soon, a.file(), ocsp.Revoked, check.Revoked}, {soon, a.file(), ocsp.Unknown, check.RevocationInvalid},
		{gone, a.file(), ocsp.Good, check.Misconfigured}, {soon, a.sub("Khác").file(), ocsp.Good, check.Misconfigured},
	} {
		status = tt.status
		r := checktest.NewFunc(t, ocspKind(), check.Options{"url": url, "certificate": certPEM(t, tt.cert), "issuer": tt.issuer}, check.Env{})(t.Context())
		want(t, r, tt.want, "")
		if contains(r.Detail, "Nguyễn") {
			t.Errorf("%s names a person: %q", tt.want, r.Detail)
		}
	}
}
