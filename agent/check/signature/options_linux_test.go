package signature

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/deploy/lab/servers"
)

// lasting is a certificate that is valid today, whenever that is.
func lasting(a *checktest.Authority, use x509.ExtKeyUsage) tls.Certificate {
	return a.Leaf(nil, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter, c.ExtKeyUsage = time.Now().Add(-time.Hour), time.Now().AddDate(0, 6, 0), []x509.ExtKeyUsage{use}
	})
}

// An askedServer speaks TLS, has nothing, and tells who asked it last.
type askedServer struct {
	url   string
	agent chan string
}

func newAsked(t *testing.T, cert tls.Certificate) askedServer {
	t.Helper()
	a := askedServer{agent: make(chan string, 10)}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.agent <- r.UserAgent()
		w.WriteHeader(http.StatusNotFound)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	t.Cleanup(s.Close)
	a.url = s.URL
	return a
}

// Each kind that asks a server names itself as told, and trusts the roots that it was given and no others.
func TestHowEachKindAsks(t *testing.T) {
	ca, a := checktest.NewAuthority(t, "pki.test"), newAuthority(t, checktest.Epoch())
	cert, _ := a.officer(nil)
	s := newAsked(t, ca.Leaf(nil, nil))
	fixed := func(k check.Kind, o check.Options) func(check.Options) check.Result {
		return func(more check.Options) check.Result {
			all := check.Options{"url": s.url}
			maps.Copy(all, o)
			maps.Copy(all, more)
			return checktest.NewFunc(t, k, all, check.Env{})(t.Context())
		}
	}
	for _, k := range []struct {
		name string
		run  func(check.Options) check.Result
	}{
		{"ocsp", fixed(ocspKind(), check.Options{"certificate": certPEM(t, cert), "issuer": a.file()})},
		{"crl", fixed(crlKind(), check.Options{"issuer": a.file()})},
		{"tsa", fixed(tsaKind(), check.Options{"roots": a.file()})},
		{"trustlist", fixed(trustlistKind(), nil)},
	} {
		t.Run(k.name, func(t *testing.T) { howItAsks(t, s, ca, k.run) })
	}
}

func howItAsks(t *testing.T, s askedServer, ca *checktest.Authority, run func(check.Options) check.Result) {
	t.Helper()
	want(t, run(check.Options{"tls_roots": ca.Roots(), "user_agent": "huyen-giam-sat"}), check.HTTPStatus, "404")
	select {
	case got := <-s.agent:
		if got != "huyen-giam-sat" {
			t.Errorf("it calls itself %q", got)
		}
	default:
		t.Error("the server was not asked")
	}
	want(t, run(check.Options{"tls_roots": checktest.NewAuthority(t, "x.test").Roots()}), check.TLSUntrusted, "")
	want(t, run(nil), check.TLSUntrusted, "")
	want(t, run(check.Options{"tls_roots": ca.Roots(), "family": "ip6"}), check.DNSEmpty, "")
}

// How long before its end a certificate is told.
func TestWarnedInTime(t *testing.T) {
	a := newAuthority(t, checktest.Epoch()) // it ends in ten years
	soon := a.sub("Ends soon")
	soon.cert, soon.key = a.sign(&x509.Certificate{Subject: soon.cert.Subject, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		NotAfter: checktest.Epoch().AddDate(0, 0, 5)})
	officer, _ := a.officer(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(0, 0, 20) })
	answer := serve(t, "application/ocsp-response", func([]byte) []byte {
		body, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{SerialNumber: officer.SerialNumber, ThisUpdate: checktest.Epoch()}, a.key)
		if err != nil {
			t.Error(err)
		}
		return body
	})
	list := serve(t, "application/pkix-crl", func([]byte) []byte {
		return soon.list(func(l *x509.RevocationList) { l.NextUpdate = checktest.Epoch().Add(time.Hour) })
	})
	cert, key := a.stampCert(nil)
	stamps := serve(t, "application/timestamp-reply", stamper{t: t, cert: cert, key: key, at: checktest.Epoch()}.answer)
	for _, tt := range []struct {
		kind   check.Kind
		o      check.Options
		option string
		late   int64 // not told
		soon   int64 // told
	}{
		{ocspKind(), check.Options{"url": answer, "certificate": certPEM(t, officer), "issuer": a.file()}, "warn_days", 19, 21},
		{ocspKind(), check.Options{"url": answer, "certificate": certPEM(t, officer), "issuer": a.file(), "roots": a.file(), "warn_days": int64(1)}, "root_warn_days", 3650, 3655},
		{crlKind(), check.Options{"url": list, "issuer": soon.file()}, "warn_days", 4, 6},
		{tsaKind(), check.Options{"url": stamps, "roots": a.file()}, "root_warn_days", 3650, 3655},
	} {
		for days, reason := range map[int64]check.Reason{tt.late: check.OK, tt.soon: check.CertExpiring} {
			o := maps.Clone(tt.o)
			o[tt.option] = days
			t.Run(fmt.Sprintf("%s %s %d", tt.kind.Name, tt.option, days), func(t *testing.T) {
				want(t, checktest.NewFunc(t, tt.kind, o, check.Env{})(t.Context()), reason, "")
			})
		}
	}
}

// What the check certs takes of its options to those that it asks, and to chains.
func TestCertsAsks(t *testing.T) {
	g := newGeneration(t, "G1", x509.SHA1WithRSA, 2010, 2030, nil)
	old, _ := g.sub.officer(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })
	o := check.Options{"files": []string{certPEM(t, old)}, "roots": certPEM(t, g.root), "intermediates": g.sub.file()}
	for allowed, reason := range map[bool]check.Reason{true: check.OK, false: check.SignatureInvalid} {
		o["sha1_chain"] = allowed
		want(t, checktest.NewFunc(t, certsKind(), o, check.Env{})(t.Context()), reason, "")
	}
	a := newAuthority(t, checktest.Epoch())
	url := serve(t, "application/pkix-crl", func([]byte) []byte {
		return a.list(func(l *x509.RevocationList) { l.NextUpdate = checktest.Epoch().AddDate(0, 1, 0) })
	})
	officer, _ := a.officer(func(c *x509.Certificate) { c.CRLDistributionPoints = []string{url} })
	for family, good := range map[string]float64{"ip4": 1, "ip6": 0} {
		r := checktest.NewFunc(t, certsKind(), check.Options{"files": []string{certPEM(t, officer)}, "roots": a.file(), "hosts": []string{"127.0.0.1"}, "family": family}, check.Env{})(t.Context())
		wantFacts(t, r, map[string]float64{"good_count": good, "unasked_count": 1 - good})
	}
}

// The process is looked for by the path that the plan names.
func TestSignservicePath(t *testing.T) {
	var asked string
	c, err := newSignserviceCheck(checktest.WithDefaults(t, signserviceKind(), check.Options{"address": checktest.ClosedPort(t), "process": "ky.exe", "path": "/opt/ky/ky.exe"}), checktest.WithEnv(check.Env{}))
	if err != nil {
		t.Fatal(err)
	}
	c.find = func(_ context.Context, name, path string) (int, error) { asked = name + " " + path; return 0, nil }
	c.run(t.Context())
	if asked != "ky.exe /opt/ky/ky.exe" {
		t.Errorf("looked for %q", asked)
	}
}

// What the check sign takes of its options to the signer's chain and to the time stamp.
func TestSignByItsOptions(t *testing.T) {
	l := newSignLab(t)
	a, both := l.own()
	by := func(of *authority, change func(*x509.Certificate), roots string, more check.Options) check.Options {
		c, k := of.officer(change)
		name := fmt.Sprintf("own %d", len(l.secrets))
		l.secrets[name] = keyPEM(t, k)
		o := check.Options{"key": name, "certificate": certPEM(t, c, of.cert), "roots": roots, "level": levelT}
		maps.Copy(o, more)
		return o
	}
	g := newGeneration(t, "G1", x509.SHA1WithRSA, 2010, 2049, nil)
	g.sub.at = time.Now()
	sha1 := func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }
	five := func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, 5) }
	for name, tt := range map[string]struct {
		with   check.Options
		reason check.Reason
		detail string
	}{
		"the time stamp under the signer's roots": {by(a, nil, a.file(), nil), check.TSAInvalid, ""},
		"the time stamp under its own roots":      {by(a, nil, a.file(), check.Options{"tsa_roots": l.pki.Roots}), check.OK, ""},
		"ends after what is told":                 {by(a, five, both, check.Options{"warn_days": int64(4)}), check.OK, ""},
		"ends within what is told":                {by(a, five, both, check.Options{"warn_days": int64(6)}), check.CertExpiring, ""},
		"the root is told long before":            {by(a, nil, both, check.Options{"root_warn_days": int64(3660)}), check.CertExpiring, "Thử nghiệm Root"},
		"the root is not told yet":                {by(a, nil, both, check.Options{"root_warn_days": int64(3600)}), check.OK, ""},
		"SHA-1 allowed":                           {by(g.sub, sha1, certPEM(t, g.root), check.Options{"sha1_chain": true, "tsa_roots": l.pki.Roots}), check.OK, ""},
		"SHA-1 not allowed":                       {by(g.sub, sha1, certPEM(t, g.root), check.Options{"sha1_chain": false, "tsa_roots": l.pki.Roots}), check.SignatureInvalid, ""},
		"the policy of the time stamp":            {check.Options{"level": levelT, "policy": servers.TSAPolicy}, check.OK, ""},
		"a policy that it does not have":          {check.Options{"level": levelT, "policy": "1.2.3"}, check.TSAInvalid, "unacceptedPolicy"},
		"the time stamp over IPv6":                {check.Options{"family": "ip6"}, check.DNSEmpty, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := *l
			l.t = t
			want(t, l.run(tt.with), tt.reason, tt.detail)
		})
	}
	ca := checktest.NewAuthority(t, "tsa.test")
	s := newAsked(t, lasting(ca, x509.ExtKeyUsageServerAuth))
	howItAsks(t, s, ca, func(more check.Options) check.Result {
		o := check.Options{"tsa": s.url}
		maps.Copy(o, more)
		return l.run(o)
	})
}

// What the check mobilepki asks for, how, and how long it waits after a refusal.
func TestMobilePKIOptions(t *testing.T) {
	var body, code string
	ca := checktest.NewAuthority(t, "mpki.test")
	cert := ca.Leaf(nil, func(c *x509.Certificate) { c.IPAddresses = nil })
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		body = string(text)
		_, _ = io.WriteString(w, strings.Replace(envelope, "%", `<r><StatusCode Value="`+code+`"/></r>`, 1))
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	at := checktest.Epoch()
	of := func(more check.Options) check.Func {
		o := check.Options{"url": s.URL, "roots": ca.Roots(), "server_name": "mpki.test", "call": "status", "approved": "12/CV", "ap_id": "a", "ap_password": "p"}
		maps.Copy(o, more)
		return checktest.NewFunc(t, mobilepkiKind(), o, check.Env{Now: func() time.Time { return at }, Secret: func(string) (string, error) { return "x", nil }})
	}
	code = "208"
	for name, tt := range map[string]struct {
		with   check.Options
		reason check.Reason
	}{
		"as it is":       {nil, check.OK},
		"another name":   {check.Options{"server_name": "other.test"}, check.TLSName},
		"the issuer":     {check.Options{"issuer": "Test Root"}, check.OK},
		"another issuer": {check.Options{"issuer": "Somebody"}, check.TLSUntrusted},
		"not new enough": {check.Options{"min_version": "1.3"}, check.WeakTLS},
		"IPv6":           {check.Options{"family": "ip6"}, check.DNSEmpty},
	} {
		t.Run(name, func(t *testing.T) { want(t, of(tt.with)(t.Context()), tt.reason, "") })
	}
	want(t, of(check.Options{"transaction": "khong-co-1"})(t.Context()), check.OK, "")
	if !strings.Contains(body, `MSSP_TransID="khong-co-1"`) {
		t.Errorf("asked for %.300s", body)
	}
	code = "104"
	f := of(check.Options{"login_pause": time.Hour})
	want(t, f(t.Context()), check.Auth, "is not accepted")
	at = at.Add(59 * time.Minute)
	want(t, f(t.Context()), check.Auth, "not tried before")
	at = at.Add(2 * time.Minute)
	want(t, f(t.Context()), check.Auth, "is not accepted")
}
