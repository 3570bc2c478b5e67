package servers

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
)

// newPKI makes a PKI whose answers are to be had at a Place.
func newPKI(t *testing.T, p Place) *PKI {
	t.Helper()
	ocsp, crl := RevocationURLs(p, p.IP.String())
	return must[*PKI](t)(NewPKI(filepath.Join(p.Dir, "pki"), PKIConfig{Now: time.Now(), OCSP: ocsp, CRL: crl}))
}

// Every state of a server's certificate is what it is called, to Go's own verifier.
func TestServerCertificates(t *testing.T) {
	p := newPKI(t, localhost(t))
	s := must[*ServerIdentity](t)(p.Server([]string{"cong.lab", "www.cong.lab"}))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(must[[]byte](t)(os.ReadFile(p.Roots)))
	for state, want := range map[Certificate]struct {
		chain   int
		expired bool
		name    bool
		trusted bool
	}{
		Good: {2, false, true, true}, Ending: {2, false, true, true}, Expired: {2, true, true, true}, OtherName: {2, false, false, true}, NoIntermediate: {1, false, true, false},
	} {
		pair, err := tls.LoadX509KeyPair(s.CertFile(state), s.KeyFile)
		if err != nil {
			t.Fatal(state, err)
		}
		at := time.Now()
		if want.expired {
			at = at.AddDate(0, 0, -2)
		}
		more := x509.NewCertPool()
		for _, der := range pair.Certificate[1:] {
			more.AddCert(must[*x509.Certificate](t)(x509.ParseCertificate(der)))
		}
		_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: more, CurrentTime: at})
		if len(pair.Certificate) != want.chain || (err == nil) != want.trusted || (pair.Leaf.VerifyHostname("www.cong.lab") == nil) != want.name ||
			pair.Leaf.NotAfter.Before(time.Now()) != want.expired {
			t.Errorf("%s: chain of %d, verified %v, name %v, until %s", state, len(pair.Certificate), err, pair.Leaf.VerifyHostname("www.cong.lab"), pair.Leaf.NotAfter)
		}
	}
	if _, err := p.Server(nil); err == nil {
		t.Error("a server without a name got a certificate")
	}
	if _, err := NewPKI(t.TempDir(), PKIConfig{}); err == nil {
		t.Error("a PKI was set up at no time")
	}
}

func TestKeysAreNotForAll(t *testing.T) {
	p := newPKI(t, localhost(t))
	id := must[*Identity](t)(p.G1.Officer("a", "Nguyễn Văn A"))
	s := must[*ServerIdentity](t)(p.Server([]string{"x.lab"}))
	for _, path := range []string{id.KeyFile, s.KeyFile, p.G1.KeyFile} {
		if st := must[os.FileInfo](t)(os.Stat(path)); st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %s", path, st.Mode())
		}
	}
}

func TestRevocation(t *testing.T) {
	need(t, "openssl", "faketime")
	places(t, func(t *testing.T, p Place) {
		pki := newPKI(t, p)
		r := must[*Revocation](t)(StartRevocation(t.Context(), p, RevocationConfig{PKI: pki}))
		defer r.Stop()
		old := must[*Identity](t)(pki.G1.Officer("old", "Nguyễn Văn A"))
		id := must[*Identity](t)(pki.G2.Officer("new", "Trần Thị B"))
		ocsp := func(reason check.Reason, with ...string) look {
			o := check.Options{"certificate": id.CertFile, "issuer": pki.G2.File, "roots": pki.Roots}
			if len(with) > 0 {
				o["method"] = with[0]
			}
			return look{kind: "ocsp", with: o, reason: reason}
		}
		crl := func(reason check.Reason) look {
			return look{kind: "crl", reason: reason, with: check.Options{"url": r.CRL(pki.G2), "issuer": pki.G2.File, "roots": pki.Roots, "certificates": id.CertFile}}
		}
		walk(t, []step{
			{"OCSP good", nil, ocsp(check.OK)},
			{"OCSP good by GET", nil, ocsp(check.OK, "GET")},
			{"OCSP of the old generation", nil, look{kind: "ocsp", reason: check.OK, with: check.Options{"certificate": old.CertFile, "issuer": pki.G1.File, "roots": pki.Roots}}},
			{"CRL fresh", nil, crl(check.OK)},
			{"CRL stale", func() error { return r.StaleCRL(true) }, crl(check.RevocationStale)},
			{"OCSP beside it", nil, ocsp(check.OK)},
			{"CRL fresh again", func() error { return r.StaleCRL(false) }, crl(check.OK)},
			{"OCSP stale", func() error { return r.StaleOCSP(true) }, ocsp(check.RevocationStale)},
			{"CRL beside it", nil, crl(check.OK)},
			{"OCSP fresh again", func() error { return r.StaleOCSP(false) }, ocsp(check.OK)},
			{"revoked", func() error { return r.Revoked(pki.G2, id.Cert.SerialNumber, true) }, ocsp(check.Revoked)},
			{"on the list", nil, crl(check.Revoked)},
			{"not revoked", func() error { return r.Revoked(pki.G2, id.Cert.SerialNumber, false) }, ocsp(check.OK)},
			{"off the list", nil, crl(check.OK)},
			{"dead", func() error { return r.Dead(true) }, ocsp(check.ConnectRefused)},
			{"alive", func() error { return r.Dead(false) }, ocsp(check.OK)},
		})
		if err := r.Revoked(pki.G1, id.Cert.SerialNumber, true); err == nil {
			t.Error("an authority revoked what it did not issue")
		}
		trustList(t, r, pki)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		see(t, "stopped", ocsp(check.ConnectRefused))
		if err := r.Dead(false); err == nil {
			t.Error("came back after Stop")
		}
	})
}

func trustList(t *testing.T, r *Revocation, pki *PKI) {
	t.Helper()
	for _, stale := range []bool{false, true} {
		if err := r.StaleCRL(stale); err != nil {
			t.Fatal(err)
		}
		resp := must[*http.Response](t)(http.Get(r.TrustList()))
		defer resp.Body.Close()
		var list struct {
			NextUpdate  time.Time
			Cerificates [][]byte
		}
		if err := json.Unmarshal(must[[]byte](t)(io.ReadAll(resp.Body)), &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Cerificates) != 4 || !slices.Equal(list.Cerificates[3], pki.G2.Cert.Raw) || list.NextUpdate.Before(time.Now()) != stale {
			t.Errorf("trust list of %d, next %s, stale %v", len(list.Cerificates), list.NextUpdate, stale)
		}
	}
}

func TestTimeStamps(t *testing.T) {
	need(t, "openssl", "faketime")
	places(t, func(t *testing.T, p Place) {
		pki := newPKI(t, p)
		s := must[*TSA](t)(StartTSA(t.Context(), p, TSAConfig{PKI: pki}))
		defer s.Stop()
		tsa := func(reason check.Reason) look {
			return look{kind: "tsa", with: check.Options{"url": s.URL(), "roots": pki.Roots, "max_skew": time.Minute}, reason: reason}
		}
		walk(t, []step{
			{"good", nil, tsa(check.OK)},
			{"ahead", func() error { return s.WrongClock(5 * time.Minute) }, tsa(check.TSASkew)},
			{"behind", func() error { return s.WrongClock(-5 * time.Minute) }, tsa(check.TSASkew)},
			{"right again", func() error { return s.WrongClock(0) }, tsa(check.OK)},
			{"dead", func() error { return s.Dead(true) }, tsa(check.ConnectRefused)},
			{"alive", func() error { return s.Dead(false) }, tsa(check.OK)},
		})
	})
}
