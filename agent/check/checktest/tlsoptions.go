package checktest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
)

// TLSOptions sees that a kind that fetches a page heeds each of the options of TLS: what it says with the option differs from what it
// says without. The page has a form with a password, and was changed at [Epoch]; with is what else the kind needs.
func TLSOptions(t *testing.T, k check.Kind, with check.Options) {
	t.Helper()
	a := NewAuthority(t, "portal.test")
	sum := sha256.Sum256(a.Cert.Raw)
	for _, tt := range []struct {
		option        string
		value         any
		change        func(*x509.Certificate)
		newest        uint16 // version of TLS that the server speaks; 0 is any
		without, with check.Reason
	}{
		{"server_name", "portal.test", func(c *x509.Certificate) { c.IPAddresses = nil }, 0, check.TLSName, check.OK},
		{"warn_days", int64(5), func(c *x509.Certificate) { c.NotAfter = Epoch().Add(10 * 24 * time.Hour) }, 0, check.CertExpiring, check.OK},
		{"min_version", "1.3", nil, tls.VersionTLS12, check.OK, check.WeakTLS},
		{"issuer", "Nobody", nil, 0, check.OK, check.TLSUntrusted},
		{"distrusted", []string{hex.EncodeToString(sum[:])}, nil, 0, check.OK, check.TLSUntrusted},
		{"roots", a.Roots(), nil, 0, check.TLSUntrusted, check.OK},
	} {
		t.Run(tt.option, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Last-Modified", Epoch().Format(http.TimeFormat))
				_, _ = io.WriteString(w, `<form><input type=password></form>`)
			}))
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.Listener = tls.NewListener(s.Listener, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, tt.change)}, MaxVersion: tt.newest})
			s.Start()
			t.Cleanup(s.Close)
			for _, given := range []bool{false, true} {
				o := check.Options{"url": strings.Replace(s.URL, "http://", "https://", 1), "roots": a.Roots()}
				want := tt.without
				if tt.option == "roots" {
					delete(o, "roots")
				}
				if given {
					o[tt.option], want = tt.value, tt.with
				}
				maps.Copy(o, with)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				r := NewFunc(t, k, o, check.Env{})(ctx)
				cancel()
				if r.Reason != want {
					t.Errorf("with the option %v: %s %q, want %s", given, r.Reason, r.Detail, want)
				}
			}
		})
	}
}
