package signature

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// An own authority issues what the lab's would not: it is a root beside those of the lab.
func (l *signLab) own() (*authority, string) {
	l.t.Helper()
	a := newAuthority(l.t, time.Now())
	lab, err := os.ReadFile(l.pki.Roots)
	if err != nil {
		l.t.Fatal(err)
	}
	own, err := os.ReadFile(a.file())
	if err != nil {
		l.t.Fatal(err)
	}
	return a, write(l.t, "roots.pem", append(lab, own...))
}

func keyPEM(t testing.TB, k crypto.Signer) string {
	t.Helper()
	text, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
}

// listOver answers with a revocation list of an authority.
func (a *authority) listOver(revoked ...*x509.Certificate) string {
	tmpl := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: a.at.Add(-time.Hour), NextUpdate: a.at.Add(time.Hour)}
	for _, c := range revoked {
		tmpl.RevokedCertificateEntries = append(tmpl.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: a.at.Add(-time.Minute)})
	}
	text, err := x509.CreateRevocationList(rand.Reader, tmpl, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return serve(a.t, "application/pkix-crl", func([]byte) []byte { return text })
}

// Each reason of the signer's certificate and of what says whether it was revoked.
func TestSignReasonsOfTheSigner(t *testing.T) {
	l := newSignLab(t)
	a, roots := l.own()
	by := func(change func(*x509.Certificate)) check.Options {
		c, k := a.officer(change)
		name := fmt.Sprintf("own %d", len(l.secrets))
		l.secrets[name] = keyPEM(t, k)
		return check.Options{"key": name, "certificate": certPEM(t, c), "roots": roots, "level": levelT}
	}
	asks := func(change func(*x509.Certificate)) check.Options {
		o := by(change)
		o["level"] = levelLT
		return o
	}
	listed := func(url string) check.Options {
		return asks(func(c *x509.Certificate) { c.CRLDistributionPoints = []string{url} })
	}
	soon := by(func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, 5) })
	good := l.run(listed(a.listOver()))
	want(t, good, check.OK, "")
	wantFacts(t, good, map[string]float64{"revocation_count": 2, "uncovered_count": 1})
	both := asks(func(c *x509.Certificate) {
		c.OCSPServer, c.CRLDistributionPoints = []string{"http://127.0.0.1:1/"}, []string{a.listOver()}
	})
	large := serve(t, "application/pkix-crl", func([]byte) []byte { return make([]byte, 5<<20) })
	stale := *a
	stale.at = time.Now().Add(-48 * time.Hour)
	for _, tt := range []struct {
		name   string
		with   check.Options
		reason check.Reason
		detail string
	}{
		{"a responder that is dead, and a list", both, check.OK, ""},
		{"ends soon", soon, check.CertExpiring, "ends "},
		{"has ended", by(func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, -1) }), check.SignatureInvalid, "is valid from"},
		{"of nobody that we know", check.Options{"roots": a.file(), "tsa_roots": l.pki.Roots}, check.SignatureInvalid, "unknown authority"},
		{"not for signatures", by(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), check.Misconfigured, "not for signatures (key usage)"},
		{"names nowhere to ask", asks(nil), check.Misconfigured, "nowhere to ask whether it was revoked: write level: b-t"},
		{"list of another", listed(newAuthority(t, time.Now()).listOver()), check.RevocationInvalid, "the signer's: "},
		{"list that is stale", listed(stale.listOver()), check.RevocationStale, "the signer's: the next update was due"},
		{"list that is too large", listed(large), check.TooLarge, "the signer's: "},
		{"list that is none", listed(serve(t, "x", func([]byte) []byte { return []byte("none") })), check.Protocol, "the signer's: the revocation list of"},
		{"responder that is busy", asks(func(c *x509.Certificate) {
			c.OCSPServer = []string{serve(t, "application/ocsp-response", func([]byte) []byte { return []byte{0x30, 3, 10, 1, 3} })}
		}), check.RevocationInvalid, "tryLater"},
		{"slow", check.Options{"slow": time.Nanosecond}, check.Slow, "the limit is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := *l
			l.t = t
			want(t, l.run(tt.with), tt.reason, tt.detail)
		})
	}
}

// The lab's own responder and its faults.
func TestSignReasonsOfRevocation(t *testing.T) {
	l := newSignLab(t)
	done(t, l.revoked.StaleOCSP(true))
	want(t, l.run(nil), check.RevocationStale, "the signer's: ")
	done(t, l.revoked.StaleOCSP(false))
	done(t, l.tsa.WrongClock(10*time.Minute))
	want(t, l.run(nil), check.TSASkew, "")
	done(t, l.tsa.WrongClock(0))
	done(t, l.revoked.StaleCRL(true))
	want(t, l.run(nil), check.OK, "") // the responder answers, so that no list is asked
	done(t, l.revoked.StaleCRL(false))
	done(t, l.revoked.Revoked(l.pki.G2, l.tsa.Certificate().SerialNumber, true))
	want(t, l.run(nil), check.Revoked, "the time stamp's: ")
	want(t, l.run(check.Options{"level": levelT}), check.OK, "")
	done(t, l.revoked.Revoked(l.pki.G2, l.officer.Cert.SerialNumber, true))
	want(t, l.run(nil), check.Revoked, "the signer's: ")
	done(t, l.revoked.Dead(true))
	want(t, l.run(nil), check.ConnectRefused, "the signer's: ")
	done(t, l.tsa.Dead(true))
	want(t, l.run(nil), check.ConnectRefused, "the time stamp: ")
}

// Each reason of the time stamp.
func TestSignReasonsOfTheStamp(t *testing.T) {
	l := newSignLab(t)
	a, roots := l.own()
	cert, key := a.stampCert(nil)
	revoked, revokedKey := (*x509.Certificate)(nil), crypto.Signer(nil)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text, _ := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: a.at.Add(-time.Hour), NextUpdate: a.at.Add(time.Hour),
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: revoked.SerialNumber, RevocationTime: a.at}}}, a.cert, a.key)
		_, _ = w.Write(text)
	}))
	defer hook.Close()
	revoked, revokedKey = a.stampCert(func(c *x509.Certificate) { c.CRLDistributionPoints = []string{hook.URL} })
	ending, endingKey := a.stampCert(func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, 5) })
	web, webKey := a.stampCert(func(c *x509.Certificate) {
		c.ExtraExtensions = nil
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	stranger := newAuthority(t, time.Now())
	foreign, foreignKey := stranger.stampCert(nil)
	serial := int64(100)
	by := func(change func(*stamper)) func() responder {
		return func() responder {
			return func(q []byte) []byte {
				serial++
				s := stamper{t: t, cert: cert, key: key, at: time.Now(), info: func(i *wireInfo) { i.Serial = big.NewInt(serial) }}
				if change != nil {
					change(&s)
				}
				return s.answer(q)
			}
		}
	}
	late := func(d time.Duration) func() responder {
		return by(func(s *stamper) { s.at = s.at.Add(d) })
	}
	info := func(change func(*wireInfo)) func() responder { return by(func(s *stamper) { s.info = change }) }
	as := func(c *x509.Certificate, k crypto.Signer) func() responder {
		return by(func(s *stamper) { s.cert, s.key = c, k })
	}
	fixed := func(text string) func() responder {
		return func() responder { return func([]byte) []byte { return []byte(text) } }
	}
	for _, tt := range []struct {
		name   string
		answer func() responder
		with   check.Options
		proven func() bool
		reason check.Reason
		detail string
	}{
		{name: "well", answer: by(nil), reason: check.OK},
		{name: "ahead", answer: late(10 * time.Minute), reason: check.TSASkew, detail: "ahead of this machine's clock"},
		{name: "behind", answer: late(-10 * time.Minute), reason: check.TSASkew, detail: "behind this machine's clock"},
		{name: "ahead, as is allowed", answer: late(10 * time.Minute), with: check.Options{"max_skew": time.Hour}, reason: check.OK},
		{name: "local time", answer: late(7 * time.Hour), reason: check.TSASkew, detail: "7 h are the difference between local time and UTC"},
		{name: "ahead by a clock that is not proven", answer: late(time.Hour), proven: func() bool { return false }, reason: check.ClockUnproven, detail: "not proven"},
		{name: "other imprint", answer: info(func(i *wireInfo) { i.Imprint.Hashed = bytes.Repeat([]byte{1}, 32) }), reason: check.TSAInvalid, detail: "message imprint"},
		{name: "other nonce", answer: info(func(i *wireInfo) { i.Nonce = big.NewInt(5) }), reason: check.TSAInvalid, detail: "nonce"},
		{name: "other policy", answer: by(nil), with: check.Options{"policy": "1.2.3"}, reason: check.OK},
		{name: "certificate of a web server", answer: as(web, webKey), reason: check.TSAInvalid, detail: "not for this use"},
		{name: "certificate of nobody that we know", answer: as(foreign, foreignKey), reason: check.TSAInvalid, detail: "unknown authority"},
		{name: "certificate that was revoked", answer: as(revoked, revokedKey), reason: check.Revoked, detail: "the time stamp's: "},
		{name: "certificate that ends soon", answer: as(ending, endingKey), with: check.Options{"level": levelT}, reason: check.SignatureExpiring, detail: "the time stamp's chain ends soon"},
		{name: "refused", answer: fixed("\x30\x05\x30\x03\x02\x01\x02"), reason: check.TSAInvalid, detail: "rejection"},
		{name: "a page", answer: fixed("<html>Đăng nhập</html>"), reason: check.Protocol, detail: "a web page"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := *l
			l.t, l.proven = t, tt.proven
			o := check.Options{"roots": roots, "tsa": serve(t, "application/timestamp-reply", tt.answer())}
			maps.Copy(o, tt.with)
			want(t, l.run(o), tt.reason, tt.detail)
		})
	}
	for status, reason := range map[string]check.Reason{"404 x": check.HTTPStatus, "302 x\r\nLocation: http://khac.test/": check.HTTPRedirect, "429 x": check.Blocked, "511 x": check.CaptivePortal} {
		o := check.Options{"tsa": hangsUp(t, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n")}
		want(t, l.run(o), reason, "the time stamp: ")
	}
	want(t, l.run(check.Options{"tsa": hangsUp(t, "")}), check.ConnectReset, "the time stamp: ")
	want(t, l.run(check.Options{"tsa": hangsUp(t, "HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nabc")}), check.Truncated, "the time stamp: ")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := l.check(nil)
	want(t, c.run(ctx), check.Internal, "called off")
}

// Every form of key, and every way to give one that is none.
func TestSignKeys(t *testing.T) {
	l := newSignLab(t)
	k, err := x509.ParsePKCS8PrivateKey(pemBytes(t, l.secrets["key"]))
	if err != nil {
		t.Fatal(err)
	}
	p12, err := pkcs12.Modern.Encode(k, l.officer.Cert, []*x509.Certificate{l.pki.G2.Cert}, "bí mật")
	if err != nil {
		t.Fatal(err)
	}
	certs, err := os.ReadFile(l.officer.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	_, other := newAuthority(t, time.Now()).officer(nil)
	maps.Copy(l.secrets, map[string]string{
		"p12": string(p12), "p12 in base64": base64.StdEncoding.EncodeToString(p12), "password": "bí mật", "wrong password": "x", "both": l.secrets["key"] + string(certs),
		"certificates before": string(certs) + l.secrets["key"], "other": keyPEM(t, other), "encrypted": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"broken": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "only certificates": string(certs), "text": "hello", "cut p12": string(p12[:len(p12)/2]),
	})
	for _, tt := range []struct {
		key    string
		with   check.Options
		reason check.Reason
		detail string
	}{
		{"p12", check.Options{"key_password": "password", "certificate": nil}, check.OK, ""},
		{"p12 in base64", check.Options{"key_password": "password", "certificate": nil}, check.OK, ""},
		{"both", check.Options{"certificate": nil}, check.OK, ""},
		{"certificates before", check.Options{"certificate": nil}, check.OK, ""},
		{"key", check.Options{"hash": "sha384"}, check.OK, ""},
		{"key", check.Options{"hash": "sha512", "form": "both"}, check.OK, ""},
		{"p12", check.Options{"key_password": "wrong password", "certificate": nil}, check.Misconfigured, "the password of the PKCS#12 file is wrong"},
		{"cut p12", check.Options{"key_password": "password", "certificate": nil}, check.Misconfigured, "PKCS#12 file cannot be read"},
		{"text", check.Options{"certificate": nil}, check.Misconfigured, "PKCS#12 file cannot be read"},
		{"key", check.Options{"certificate": nil}, check.Misconfigured, "none is given, and none stands with the key"},
		{"other", nil, check.Misconfigured, "the private key is not that of the certificate"},
		{"encrypted", nil, check.Misconfigured, "without encryption, or PKCS#12"},
		{"broken", nil, check.Misconfigured, "cannot be read"},
		{"only certificates", nil, check.Misconfigured, "no private key"},
		{"none", nil, check.NotConfigured, "key: "},
		{"p12", check.Options{"key_password": "none"}, check.NotConfigured, "key_password: "},
		{"key", check.Options{"certificate": "/nowhere.pem"}, check.Misconfigured, "certificate: "},
		{"key", check.Options{"roots": "/nowhere.pem"}, check.Misconfigured, "roots: "},
		{"key", check.Options{"document": "/nowhere.pdf"}, check.Misconfigured, "document: "},
		{"key", check.Options{"keep": "/nowhere/at/all"}, check.Misconfigured, "keep: "},
	} {
		o := check.Options{"key": tt.key}
		maps.Copy(o, tt.with)
		want(t, l.run(o), tt.reason, tt.detail)
	}
}

func pemBytes(t *testing.T, text string) []byte {
	t.Helper()
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		t.Fatal("no PEM")
	}
	return b.Bytes
}

// Documents that would take a reader's time and memory, or that are none.
func TestSignDocuments(t *testing.T) {
	l := newSignLab(t)
	var bomb bytes.Buffer
	z := zlib.NewWriter(&bomb)
	_, _ = io.CopyN(z, zeros{}, 16<<20)
	_ = z.Close()
	xref := func(n int) string { return fmt.Sprintf("\nstartxref\n%d\n%%%%EOF\n", n) }
	for _, tt := range []struct {
		name, text, detail string
	}{
		{"text", "Kính gửi", "it does not begin with %PDF-"},
		{"empty", "", "it does not begin with %PDF-"},
		{"cut off", "%PDF-1.7\n1 0 obj", "no startxref"},
		{"a section beyond the end", "%PDF-1.7\n" + xref(5000), "a section at byte 5000 of"},
		{"a table that is none", "%PDF-1.7\nxref\n0 x" + xref(9), "neither a subsection nor the trailer"},
		{"sections in a circle", "%PDF-1.7\nxref\ntrailer <</Prev 9>>" + xref(9), "the sections lead in a circle"},
		{"a billion entries", "%PDF-1.7\nxref\n0 99999999\n" + strings.Repeat("0000000000 00000 n \n", 3), "an entry that is none"},
		{"deep", "%PDF-1.7\nxref\ntrailer " + strings.Repeat("[", 1<<20) + xref(9), "nested more than 64 deep"},
		{"a bomb", fmt.Sprintf("%%PDF-1.7\n1 0 obj <</Type/XRef/W[1 1 1]/Size 9/Filter/FlateDecode/Length %d>> stream\n%s\nendstream", bomb.Len(), bomb.String()) + xref(9), "more than 8388608 bytes once inflated"},
		{"a page tree without end", "%PDF-1.7\nxref\n1 1\n0000000070 00000 n \n2 1\n0000000110 00000 n \ntrailer <</Root 1 0 R>>\n" + xref(9), "no object"},
		{"encrypted", "%PDF-1.7\nxref\ntrailer <</Root 1 0 R/Encrypt 2 0 R>>" + xref(9), "the document is encrypted"},
		{"larger than is signed", "%PDF-1.7\n" + strings.Repeat(" ", 10<<20), "has more than 10485760 bytes"},
	} {
		if tt.name == "a billion entries" {
			tt.text += xref(9)
		}
		t.Run(tt.name, func(t *testing.T) {
			l := *l
			l.t = t
			path := filepath.Join(t.TempDir(), "d.pdf")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			want(t, l.run(check.Options{"document": path}), check.Misconfigured, tt.detail)
			if tt.name == "larger than is signed" {
				return
			}
			// Signed beside it, a document may be anything.
			want(t, l.run(check.Options{"document": path, "form": "cades", "level": levelT}), check.OK, "cades")
		})
	}
	want(t, l.run(check.Options{"document": t.TempDir()}), check.Misconfigured, "no regular file")
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// What one option says about another.
func TestSignOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{}, `option "key"`},
		{check.Options{"key": "k", "module": "/m.so"}, `option "key"`},
		{check.Options{"key": "k", "pin": "p"}, `option "pin"`},
		{check.Options{"key": "k", "token": "p"}, `option "token"`},
		{check.Options{"key": "k", "key_id": "01"}, `option "key_id"`},
		{check.Options{"module": "/m.so", "key_password": "p"}, `option "key_password"`},
		{check.Options{"module": "m.so"}, `option "module"`},
		{check.Options{"key": "k", "keep": "x"}, `option "keep"`},
		{check.Options{"key": "k", "tsa": "ftp://x"}, `option "url"`},
		{check.Options{"key": "k", "policy": "x"}, `option "policy"`},
		{check.Options{"key": "k", "roots": ""}, `option "roots"`},
	} {
		o := check.Options{"tsa": "http://tsa.test/", "roots": "/r.pem"}
		maps.Copy(o, tt.with)
		_, err := signKind().New(checktest.WithDefaults(t, signKind(), o), checktest.WithEnv(check.Env{}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v", tt.with, err)
		}
	}
	pki, _ := labPKI(t)
	id := must(pki.G2.Officer("a", "A"))(t)
	got := signKind().Target(check.Options{"tsa": "http://tsa.test/", "certificate": id.CertFile})
	if len(got) != 2 || got[0] != "127.0.0.1" || got[1] != "tsa.test" {
		t.Errorf("targets %v", got)
	}
}
