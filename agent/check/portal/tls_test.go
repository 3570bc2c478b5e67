package portal

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/reach"
)

func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestTLSReasons(t *testing.T) {
	a, other := checktest.NewAuthority(t, "portal.test"), checktest.NewAuthority(t, "portal.test")
	with := func(cert tls.Certificate, change func(*tls.Config)) func(*testing.T) string {
		return func(t *testing.T) string {
			cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
			if change != nil {
				change(cfg)
			}
			return checktest.ServeTLS(t, cfg, nil)
		}
	}
	says := func(text string) func(*testing.T) string {
		return func(t *testing.T) string {
			return checktest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, text); silent(c) })
		}
	}
	good := a.Leaf(nil, nil)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ends := func(d time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(d) }
	}
	unproven := func() bool { return false }
	tests := []struct {
		name   string
		peer   func(*testing.T) string
		with   check.Options
		env    check.Env
		reason check.Reason
		detail string
		facts  map[string]float64 // that must be there with this value
	}{
		{name: "all is well", peer: with(good, nil), reason: check.OK, detail: "issued by Test Root (Test)",
			facts: map[string]float64{"chain_valid_code": 1, "name_valid_code": 1, "tls_version_code": 13, "key_bits": 256, "chain_certs_count": 1, "ip_family_code": 4,
				"cert_not_after_unix": float64(checktest.Epoch().AddDate(0, 6, 0).Unix()), "root_not_after_unix": float64(checktest.Epoch().AddDate(10, 0, 0).Unix())}},
		{name: "expired", peer: with(a.Leaf(nil, ends(-time.Hour)), nil), reason: check.TLSExpired, detail: `certificate "portal.test" is valid from`,
			facts: map[string]float64{"chain_valid_code": 0, "name_valid_code": 1, "cert_not_after_unix": float64(checktest.Epoch().Add(-time.Hour).Unix()), "tls_version_code": 13}},
		{name: "expired, clock not proven", peer: with(a.Leaf(nil, ends(-time.Hour)), nil), env: check.Env{ClockProven: unproven}, reason: check.ClockUnproven, detail: "clock is not proven",
			facts: map[string]float64{"cert_not_after_unix": float64(checktest.Epoch().Add(-time.Hour).Unix())}},
		{name: "expired, clock proven", peer: with(a.Leaf(nil, ends(-time.Hour)), nil), env: check.Env{ClockProven: func() bool { return true }}, reason: check.TLSExpired},
		{name: "expired and for another name", peer: with(a.Leaf(nil, func(c *x509.Certificate) { ends(-time.Hour)(c); c.IPAddresses = nil }), nil), reason: check.TLSExpired,
			facts: map[string]float64{"name_valid_code": 0}},
		{name: "not yet valid", peer: with(a.Leaf(nil, func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().Add(time.Hour) }), nil), reason: check.TLSNotYetValid,
			facts: map[string]float64{"chain_valid_code": 0, "cert_not_before_unix": float64(checktest.Epoch().Add(time.Hour).Unix())}},
		{name: "not yet valid, clock not proven", peer: with(a.Leaf(nil, func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().Add(time.Hour) }), nil), env: check.Env{ClockProven: unproven}, reason: check.ClockUnproven},
		{name: "wrong name", peer: with(a.Leaf(nil, func(c *x509.Certificate) { c.IPAddresses = nil }), nil), reason: check.TLSName,
			facts: map[string]float64{"chain_valid_code": 1, "name_valid_code": 0}},
		{name: "server_name", peer: with(a.Leaf(nil, func(c *x509.Certificate) { c.IPAddresses = nil }), nil), with: check.Options{"server_name": "portal.test"}, reason: check.OK},
		{name: "wrong server_name", peer: with(good, nil), with: check.Options{"server_name": "other.test"}, reason: check.TLSName},
		{name: "untrusted", peer: with(other.Leaf(nil, nil), nil), reason: check.TLSUntrusted, detail: "issuer Test Root (Test)",
			facts: map[string]float64{"chain_valid_code": 0, "name_valid_code": 1, "cert_not_after_unix": float64(checktest.Epoch().AddDate(0, 6, 0).Unix())}},
		{name: "untrusted and for another name", peer: with(other.Leaf(nil, func(c *x509.Certificate) { c.IPAddresses = nil }), nil), reason: check.TLSName},
		{name: "issuer as planned", peer: with(good, nil), with: check.Options{"issuer": "test root"}, reason: check.OK},
		{name: "another issuer", peer: with(good, nil), with: check.Options{"issuer": "National CA"}, reason: check.TLSUntrusted, detail: "issued by Test Root (Test), not by the issuer that the plan names"},
		{name: "distrusted authority", peer: with(good, nil), with: check.Options{"distrusted": []string{fingerprint(a.Cert)}}, reason: check.TLSUntrusted, detail: "the plan distrusts"},
		{name: "another one distrusted", peer: with(good, nil), with: check.Options{"distrusted": []string{fingerprint(other.Cert)}}, reason: check.OK},
		{name: "ends soon", peer: with(a.Leaf(nil, ends(20*24*time.Hour)), nil), reason: check.CertExpiring, detail: `certificate "portal.test" ends 2026-12-13T03:00:00Z`,
			facts: map[string]float64{"chain_valid_code": 1, "chain_not_after_unix": float64(checktest.Epoch().Add(20 * 24 * time.Hour).Unix())}},
		{name: "ends soon, later than warn_days", peer: with(a.Leaf(nil, ends(20*24*time.Hour)), nil), with: check.Options{"warn_days": int64(19)}, reason: check.OK},
		{name: "ends soon, clock not proven", peer: with(a.Leaf(nil, ends(20*24*time.Hour)), nil), env: check.Env{ClockProven: unproven}, reason: check.OK},
		{name: "TLS 1.0 only", peer: with(a.Leaf(rsaKey, nil), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }), reason: check.TLSProtocol, detail: "at most TLS 1.0",
			facts: map[string]float64{"tls_version_code": 10, "chain_valid_code": 1}},
		{name: "TLS 1.1 only", peer: with(good, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), reason: check.TLSProtocol,
			facts: map[string]float64{"tls_version_code": 11}},
		{name: "TLS 1.1 allowed", peer: with(good, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), with: check.Options{"min_version": "1.0"}, reason: check.OK},
		{name: "TLS 1.2 where 1.3 is wanted", peer: with(good, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), with: check.Options{"min_version": "1.3"}, reason: check.WeakTLS, detail: "TLS 1.2, below"},
		{name: "weak key", peer: with(a.Leaf(small, nil), nil), reason: check.WeakTLS, detail: "an RSA key of 1024 bits", facts: map[string]float64{"key_bits": 1024}},
		{name: "weak cipher", peer: with(a.Leaf(rsaKey, nil), func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
		}), reason: check.WeakTLS, detail: "cipher suite TLS_RSA_WITH_AES_128_CBC_SHA", facts: map[string]float64{"tls_cipher_code": 0x2f}},
		{name: "alpn agreed", peer: with(good, func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }), with: check.Options{"alpn": []string{"h2"}}, reason: check.OK},
		{name: "alpn refused", peer: with(good, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }), with: check.Options{"alpn": []string{"h2"}}, reason: check.TLSHandshake},
		{name: "alpn not known", peer: with(good, nil), with: check.Options{"alpn": []string{"h2"}}, reason: check.TLSHandshake, detail: "agreed on none of the protocols"},
		{name: "hangs up", peer: func(t *testing.T) string { return checktest.Serve(t, func(net.Conn) {}) }, reason: check.TLSHandshake},
		{name: "speaks SSH", peer: says("SSH-2.0-OpenSSH_9.2p1\r\n"), reason: check.TLSHandshake, detail: "speaks SSH, not TLS"},
		{name: "speaks HTTP", peer: says("HTTP/1.1 400 Bad Request\r\n\r\n"), reason: check.TLSHandshake, detail: "speaks HTTP without TLS"},
		{name: "speaks something else", peer: says("220 mail.example.vn ESMTP\r\n"), reason: check.TLSHandshake},
		{name: "port closed", peer: func(t *testing.T) string { return checktest.ClosedPort(t) }, reason: check.ConnectRefused},
		{name: "no IPv6 address", peer: with(good, nil), with: check.Options{"family": "ip6"}, reason: check.DNSEmpty},
		{name: "slow", peer: with(good, nil), with: check.Options{"slow": time.Nanosecond}, reason: check.Slow, detail: "the limit is 1ns"},
		{name: "not slow", peer: with(good, nil), with: check.Options{"slow": time.Hour}, reason: check.OK},
		{name: "no such roots file", peer: with(good, nil), with: check.Options{"roots": "/no/such/roots.pem"}, reason: check.Misconfigured, detail: "/no/such/roots.pem"},
		{name: "roots that are none", peer: with(good, nil), with: check.Options{"roots": "tls_test.go"}, reason: check.Misconfigured, detail: "holds no certificate"},
		{name: "roots that are a folder", peer: with(good, nil), with: check.Options{"roots": "."}, reason: check.Misconfigured, detail: "no regular file"},
		{name: "source address that is not ours", peer: with(good, nil), env: check.Env{Source: netip.MustParseAddr("192.0.2.1")}, reason: check.ConnectUnreachable},
		{name: "source address", peer: with(good, nil), env: check.Env{Source: netip.MustParseAddr("127.0.0.1")}, reason: check.OK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"address": tt.peer(t), "roots": a.Roots()}
			maps.Copy(o, tt.with)
			f := checktest.NewFunc(t, tlsKind(), o, tt.env)
			for range 2 { // nothing may be left over from the run before
				r := f(t.Context())
				if r.Reason != tt.reason || !strings.Contains(r.Detail, tt.detail) {
					t.Errorf("got %s %q, want %s %q", r.Reason, r.Detail, tt.reason, tt.detail)
				}
				for name, want := range tt.facts {
					if got, ok := r.Facts.Get(name); !ok || got != want {
						t.Errorf("%s = %v %v, want %v", name, got, ok, want)
					}
				}
			}
		})
	}
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// The time runs out in the step where the peer falls silent.
func TestTLSTimeout(t *testing.T) {
	address := checktest.Serve(t, silent)
	for _, tt := range []struct {
		name string
		ctx  func() (context.Context, context.CancelFunc)
		want check.Reason
	}{
		{"in the handshake", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 100*time.Millisecond)
		}, check.Timeout},
		{"before connecting", func() (context.Context, context.CancelFunc) {
			return context.WithDeadline(t.Context(), time.Unix(1, 0))
		}, check.ConnectTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := checktest.NewFunc(t, tlsKind(), check.Options{"address": address}, check.Env{})
			ctx, cancel := tt.ctx()
			defer cancel()
			if r := f(ctx); r.Reason != tt.want {
				t.Errorf("got %s %q, want %s", r.Reason, r.Detail, tt.want)
			}
		})
	}
}

func TestTLSIntermediate(t *testing.T) {
	a := checktest.NewAuthority(t, "portal.test")
	middle := a.Sub("Middle", checktest.Epoch().AddDate(0, 0, 10))
	whole := middle.Leaf(nil, nil)
	leaf := whole
	leaf.Certificate = whole.Certificate[:1]

	t.Run("sent", func(t *testing.T) {
		r := checktest.NewFunc(t, tlsKind(), check.Options{"address": checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{whole}}, nil), "roots": a.Roots()}, check.Env{})(t.Context())
		if r.Reason != check.CertExpiring || !strings.Contains(r.Detail, `"Middle"`) {
			t.Errorf("got %s %q, want cert_expiring by the intermediate", r.Reason, r.Detail)
		}
		for name, want := range map[string]int64{"intermediate_not_after_unix": middle.Cert.NotAfter.Unix(), "chain_not_after_unix": middle.Cert.NotAfter.Unix(),
			"root_not_after_unix": a.Cert.NotAfter.Unix(), "chain_certs_count": 2} {
			if got, ok := r.Facts.Get(name); !ok || got != float64(want) {
				t.Errorf("%s = %v %v, want %d", name, got, ok, want)
			}
		}
	})
	t.Run("forgotten", func(t *testing.T) {
		r := checktest.NewFunc(t, tlsKind(), check.Options{"address": checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{leaf}}, nil), "roots": a.Roots()}, check.Env{})(t.Context())
		if r.Reason != check.TLSUntrusted {
			t.Errorf("got %s %q, want tls_untrusted", r.Reason, r.Detail)
		}
		if _, ok := r.Facts.Get("root_not_after_unix"); ok {
			t.Error("a root was reported that nobody has seen")
		}
	})
}

// A roots file that was replaced is read again, without a new plan.
func TestRootsAreReadAgain(t *testing.T) {
	a, b := checktest.NewAuthority(t, "portal.test"), checktest.NewAuthority(t, "portal.test")
	address := checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{b.Leaf(nil, nil)}}, nil)
	roots := a.Roots()
	f := checktest.NewFunc(t, tlsKind(), check.Options{"address": address, "roots": roots}, check.Env{})
	if r := f(t.Context()); r.Reason != check.TLSUntrusted {
		t.Fatalf("got %s %q", r.Reason, r.Detail)
	}
	text, err := os.ReadFile(b.Roots())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(roots, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(roots, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if r := f(t.Context()); r.Reason != check.OK {
		t.Errorf("got %s %q after the file was replaced", r.Reason, r.Detail)
	}
	big := filepath.Join(t.TempDir(), "big.pem")
	if err := os.WriteFile(big, bytes.Repeat([]byte("x"), reach.MaxPEM+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := checktest.NewFunc(t, tlsKind(), check.Options{"address": address, "roots": big}, check.Env{})(t.Context()); r.Reason != check.Misconfigured {
		t.Errorf("got %s %q for a file too large", r.Reason, r.Detail)
	}
}

func TestTLSOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{"address": "portal.test"}, `option "address"`},
		{check.Options{"address": "-ạ_:443"}, `option "address"`},
		{check.Options{"address": "portal.test:443", "distrusted": []string{"abc"}}, `option "distrusted": "abc"`},
		{check.Options{"address": "portal.test:443", "alpn": []string{""}}, `option "alpn"`},
	} {
		_, err := tlsKind().New(checktest.WithDefaults(t, tlsKind(), tt.with), checktest.WithEnv(check.Env{}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.with, err, tt.want)
		}
	}
	if got := tlsKind().Target(check.Options{"address": "[2001:db8::1]:443"}); len(got) != 1 || got[0] != "2001:db8::1" {
		t.Errorf("target %v", got)
	}
}

// An address in a country's own letters goes over the wire in ASCII.
func TestASCIIHost(t *testing.T) {
	for in, want := range map[string]string{"cổng.vn": "xn--cng-qmz.vn", "portal.test": "portal.test", "::1": "::1"} {
		if got, err := reach.ASCIIHost(in); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
}
