package signature

import (
	"bytes"
	"crypto/x509"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/deploy/lab/servers"
)

// labPKI is the lab's authorities, whose lists and answers are to be had at a place on loopback.
func labPKI(t *testing.T) (*servers.PKI, servers.Place) {
	t.Helper()
	if err := servers.Require("openssl", "faketime"); err != nil {
		t.Skip(err)
	}
	p := servers.Loopback(t.TempDir(), netip.MustParseAddr("127.0.0.1"), nil)
	ocsp, crl := servers.RevocationURLs(p, p.IP.String())
	pki, err := servers.NewPKI(filepath.Join(p.Dir, "pki"), servers.PKIConfig{Now: time.Now(), OCSP: ocsp, CRL: crl})
	if err != nil {
		t.Fatal(err)
	}
	return pki, p
}

// labRevocation answers about two officers, of whom the second is revoked.
func labRevocation(t *testing.T) (r *servers.Revocation, pki *servers.PKI, good, bad *servers.Identity) {
	t.Helper()
	pki, p := labPKI(t)
	r, err := servers.StartRevocation(t.Context(), p, servers.RevocationConfig{PKI: pki})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { done(t, r.Stop()) })
	if good, err = pki.G2.Officer("good", "Nguyễn Văn A"); err != nil {
		t.Fatal(err)
	}
	if bad, err = pki.G2.Officer("bad", "Trần Thị B"); err != nil {
		t.Fatal(err)
	}
	done(t, r.Revoked(pki.G2, bad.Cert.SerialNumber, true))
	return r, pki, good, bad
}

func done(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// now runs a check by the system's clock, which OpenSSL goes by.
func now(t *testing.T, k check.Kind, o check.Options) check.Result {
	t.Helper()
	return checktest.NewFunc(t, k, o, check.Env{Now: time.Now})(t.Context())
}

// OpenSSL makes the list.
func TestCRLByOpenSSL(t *testing.T) {
	r, pki, good, bad := labRevocation(t)
	var last float64
	for _, form := range []string{"", ".pem"} {
		of := func(id *servers.Identity) check.Options {
			return check.Options{"url": r.CRL(pki.G2) + form, "issuer": pki.G2.File, "certificates": id.CertFile}
		}
		got := now(t, crlKind(), of(good))
		want(t, got, check.OK, "")
		wantFacts(t, got, map[string]float64{"entries_count": 1})
		n, _ := got.Facts.Get("crl_number_serial")
		if n < 0x4b1 || n <= last {
			t.Errorf("number %v after %v", n, last)
		}
		last = n
		want(t, now(t, crlKind(), of(bad)), check.Revoked, "(reason 1)")
	}
	done(t, r.StaleCRL(true))
	want(t, now(t, crlKind(), check.Options{"url": r.CRL(pki.G2), "issuer": pki.G2.File}), check.RevocationStale, "")
	done(t, r.Dead(true))
	want(t, now(t, crlKind(), check.Options{"url": r.CRL(pki.G2), "issuer": pki.G2.File}), check.ConnectRefused, "")
}

// The lab's trust list holds the authorities of both generations.
func TestTrustlistOfTheLab(t *testing.T) {
	r, pki, _, _ := labRevocation(t)
	o := check.Options{"url": r.TrustList(), "roots": pki.Roots}
	got := now(t, trustlistKind(), o)
	want(t, got, check.OK, "4 certificates on the list")
	wantFacts(t, got, map[string]float64{"certs_valid_count": 4, "anchors_count": 2, "anchors_missing_count": 0})
	stranger, _ := labPKI(t)
	want(t, now(t, trustlistKind(), check.Options{"url": r.TrustList(), "roots": stranger.Roots}), check.ContentMissing, "2 of 2 roots")
	done(t, r.StaleCRL(true))
	want(t, now(t, trustlistKind(), o), check.TrustlistStale, "")
	done(t, r.Dead(true))
	want(t, now(t, trustlistKind(), o), check.ConnectRefused, "")
}

// OpenSSL answers, with the nonce that was sent; its answer to one request is none to the next.
func TestOCSPByOpenSSL(t *testing.T) {
	server, pki, good, bad := labRevocation(t)
	run := func(url string, id *servers.Identity) check.Result {
		return now(t, ocspKind(), check.Options{"url": url, "certificate": id.CertFile, "issuer": pki.G2.File, "nonce": "require"})
	}
	r := run(server.OCSP(), good)
	want(t, r, check.OK, "")
	wantFacts(t, r, map[string]float64{"nonce_code": 1, "cert_status_code": 0})
	want(t, run(server.OCSP(), bad), check.Revoked, "was revoked")
	done(t, server.NamedByKey(true)) // the responder named by its key, not by its name
	want(t, run(server.OCSP(), good), check.OK, "")
	var kept []byte
	replay := serve(t, "application/ocsp-response", func(request []byte) []byte {
		if kept == nil {
			kept = asked(t, server.OCSP(), "application/ocsp-request", request)
		}
		return kept
	})
	want(t, run(replay, good), check.OK, "")
	want(t, run(replay, good), check.RevocationInvalid, "the nonce in the answer is not ours")
	done(t, server.StaleOCSP(true))
	want(t, run(server.OCSP(), good), check.RevocationStale, "")
	done(t, server.Dead(true))
	want(t, run(server.OCSP(), good), check.ConnectRefused, "")
}

// asked sends a request on to a server of the lab.
func asked(t *testing.T, url, kind string, request []byte) []byte {
	t.Helper()
	resp, err := http.Post(url, kind, bytes.NewReader(request))
	if err != nil {
		t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	done(t, err)
	return body
}

// OpenSSL stamps with keys of two kinds, names its certificate in three ways, and refuses what it does not have.
func TestTSAByOpenSSL(t *testing.T) {
	twoHashes := []string{"sha256", "sha512"}
	for _, tt := range []struct {
		name   string
		server servers.TSAConfig
		with   check.Options
		reason check.Reason
		detail string
	}{
		{"EC", servers.TSAConfig{}, nil, check.OK, "stamped"},
		{"RSA, named by SHA-1", servers.TSAConfig{RSA: true, NamedBy: "sha1"}, nil, check.OK, "stamped"},
		{"SHA-512, with policy", servers.TSAConfig{RSA: true, NamedBy: "sha512"}, check.Options{"hash": "sha512", "policy": servers.TSAPolicy}, check.OK, "stamped"},
		{"SHA-384, which it does not know", servers.TSAConfig{Digests: twoHashes}, check.Options{"hash": "sha384"}, check.TSAInvalid, "rejection, badAlg"},
		{"a policy that it does not have", servers.TSAConfig{}, check.Options{"policy": "1.2.3"}, check.TSAInvalid, "rejection, unacceptedPolicy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pki, p := labPKI(t)
			tt.server.PKI = pki
			s, err := servers.StartTSA(t.Context(), p, tt.server)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop()
			o := check.Options{"url": s.URL(), "roots": pki.Roots}
			maps.Copy(o, tt.with)
			r := now(t, tsaKind(), o)
			want(t, r, tt.reason, tt.detail)
			if got := s.Certificate().PublicKeyAlgorithm == x509.RSA; got != tt.server.RSA {
				t.Errorf("a key of RSA: %v", got)
			}
			if tt.reason == check.OK {
				wantFacts(t, r, map[string]float64{"accuracy_s": servers.TSAAccuracy.Seconds()})
			}
		})
	}
}

// OpenSSL's clock is wrong, or nobody is there.
func TestTSAByOpenSSLBroken(t *testing.T) {
	pki, p := labPKI(t)
	s, err := servers.StartTSA(t.Context(), p, servers.TSAConfig{PKI: pki})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	o := check.Options{"url": s.URL(), "roots": pki.Roots}
	done(t, s.WrongClock(10*time.Minute))
	want(t, now(t, tsaKind(), o), check.TSASkew, "ahead")
	done(t, s.WrongClock(-10*time.Minute))
	want(t, now(t, tsaKind(), o), check.TSASkew, "behind")
	done(t, s.WrongClock(0))
	want(t, now(t, tsaKind(), o), check.OK, "stamped")
	stranger, _ := labPKI(t)
	want(t, now(t, tsaKind(), check.Options{"url": s.URL(), "roots": stranger.Roots}), check.TSAInvalid, "certificate")
	done(t, s.Dead(true))
	want(t, now(t, tsaKind(), o), check.ConnectRefused, "")
}
