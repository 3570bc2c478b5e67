package control

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
)

func TestCentres(t *testing.T) {
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	shut, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := shut.Addr().String()
	shut.Close()
	there := open.Addr().String()
	for _, tt := range []struct {
		name      string
		addresses []string
		want      check.Reason
		detail    string
		reached   float64
	}{
		{"answers", []string{there}, check.OK, "1 centres", 1},
		{"one of two", []string{there, refused}, check.ControlPartial, "1 of 2 centres cannot be reached: connect_refused", 1},
		{"none", []string{refused}, check.ControlFail, "none of 1", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := judged(t, system{network: from(netip.Addr{})}, check.Options{"id": "m19", "addresses": tt.addresses})
			if r.Reason != tt.want || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
			wantFacts(t, r, map[string]float64{"centres_count": float64(len(tt.addresses)), "centres_reached_count": tt.reached})
		})
	}
	// The line's own address is where the connection leaves from: one that this machine has not cannot be.
	if r := judged(t, system{network: from(netip.MustParseAddr("192.0.2.1"))}, check.Options{"id": "m19", "addresses": []string{there}}); r.Reason != check.ControlFail {
		t.Errorf("from an address that is not here: %s %q", r.Reason, r.Detail)
	}
}

func TestJudgePortal(t *testing.T) {
	good := portal{host: "tuky.haiduong.gov.vn", v4: 1, v6: 1, version: tls.VersionTLS13, notAfter: testNow.Add(90 * day), hsts: time.Hour, forced: true}
	for _, tt := range []struct {
		name   string
		change func(*portal)
		want   check.Reason
		detail string
	}{
		{"good", func(*portal) {}, check.OK, "TLS 1.3"},
		{"TLS 1.2", func(p *portal) { p.version = tls.VersionTLS12 }, check.OK, ""},
		{"TLS 1.1 at best", func(p *portal) { p.version, p.old = tls.VersionTLS11, true }, check.ControlFail, "TLS 1.1"},
		{"old TLS too", func(p *portal) { p.old = true }, check.ControlPartial, "still spoken"},
		{"no HTTPS", func(p *portal) { *p = portal{host: p.host, v4: 1, v6: 1, noHTTPS: true} }, check.ControlFail, "HTTPS is not offered"},
		{"not trusted", func(p *portal) { p.bad = errNoReader }, check.ControlFail, "not trusted"},
		{"expired", func(p *portal) { p.notAfter = testNow }, check.ControlFail, "expired"},
		{"ends soon", func(p *portal) { p.notAfter = testNow.Add(20 * day) }, check.ControlPartial, "in 20 days"},
		{"no HSTS", func(p *portal) { p.hsts = 0 }, check.ControlPartial, "no HSTS"},
		{"HTTP stays HTTP", func(p *portal) { p.forced = false }, check.ControlPartial, "does not lead"},
		{"no IPv6", func(p *portal) { p.v6 = 0 }, check.ControlPartial, "no IPv6"},
		{"a name of its own", func(p *portal) { p.host = "tukygov.vn" }, check.ControlPartial, "gov.vn"},
		{"the worst decides", func(p *portal) { p.v6, p.notAfter = 0, testNow.Add(-day) }, check.ControlFail, "IPv6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := good
			tt.change(&p)
			r := judgePortal(p, &limits{warn: 21 * day}, testNow)
			declared(t, r)
			if r.Reason != tt.want || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("%s %q, want %s %q", r.Reason, r.Detail, tt.want, tt.detail)
			}
		})
	}
}

// A site is a portal on loopback that a network leads to under another name.
type site struct {
	secure, plain *httptest.Server
	roots         string
	network       network
}

// newSite starts a portal; min and max bound its versions of TLS.
func newSite(t *testing.T, minimum, maximum uint16, secure, plain http.HandlerFunc) site {
	t.Helper()
	s := site{secure: httptest.NewUnstartedServer(secure), plain: httptest.NewServer(plain)}
	s.secure.TLS = &tls.Config{MinVersion: minimum, MaxVersion: maximum}
	s.secure.StartTLS()
	t.Cleanup(s.secure.Close)
	t.Cleanup(s.plain.Close)
	s.roots = filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(s.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	to := map[string]string{"443": s.secure.Listener.Addr().String(), "80": s.plain.Listener.Addr().String()}
	s.network = network{
		dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, network, to[port])
		},
		lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")}, nil
		},
	}
	return s
}

func TestPortal(t *testing.T) {
	secure := func(hsts string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if hsts != "" {
				w.Header().Set("Strict-Transport-Security", hsts)
			}
		}
	}
	leads := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusMovedPermanently) }
	}
	page := func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("xin chào")) }
	// The certificate of httptest is for example.com, and good for decades.
	const url = "https://example.com/"
	for _, tt := range []struct {
		name     string
		min, max uint16
		secure   http.HandlerFunc
		plain    http.HandlerFunc
		url      string
		detail   string
		facts    map[string]float64
	}{
		{"all but the name", tls.VersionTLS12, tls.VersionTLS13, secure("max-age=31536000; includeSubDomains"), leads(url), url, "its name is not below gov.vn",
			map[string]float64{"tls_version_code": 772, "hsts_s": 31536000, "https_forced_code": 1, "tls_old_code": 0, "ipv6_count": 1, "ipv4_count": 1}},
		{"old versions too", tls.VersionTLS10, tls.VersionTLS13, secure(""), leads(url), url, "TLS 1.0 or 1.1 is still spoken; no HSTS", map[string]float64{"tls_old_code": 1, "hsts_s": 0}},
		{"only old ones", tls.VersionTLS10, tls.VersionTLS11, secure("max-age=1"), leads(url), url, "TLS 1.1 is the best", map[string]float64{"tls_version_code": 770}},
		{"HTTP stays", tls.VersionTLS12, tls.VersionTLS13, secure("max-age=5"), page, url, "HTTP does not lead", map[string]float64{"https_forced_code": 0}},
		{"HTTP leads elsewhere", tls.VersionTLS12, tls.VersionTLS13, secure("max-age=5"), leads("https://elsewhere.example/"), url, "HTTP does not lead", nil},
		{"HTTP leads to HTTP", tls.VersionTLS12, tls.VersionTLS13, secure("max-age=5"), leads("http://example.com/x"), url, "HTTP does not lead", nil},
		{"another name", tls.VersionTLS12, tls.VersionTLS13, secure("max-age=5"), leads(url), "https://mc.tuky.gov.vn/", "not trusted", map[string]float64{"gov_name_code": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.min, tt.max, tt.secure, tt.plain)
			r := judged(t, system{network: s.network}, check.Options{"id": "m27", "url": tt.url, "roots": s.roots})
			if !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("%s %q, want %q", r.Reason, r.Detail, tt.detail)
			}
			wantFacts(t, r, tt.facts)
		})
	}
}

// TestPortalAway asks portals that do not answer as portals do.
func TestPortalAway(t *testing.T) {
	s := newSite(t, tls.VersionTLS12, tls.VersionTLS13, func(http.ResponseWriter, *http.Request) {}, func(http.ResponseWriter, *http.Request) {})
	with := check.Options{"id": "m27", "url": "https://example.com/"}
	ask := func(n network) *check.Result { return judged(t, system{network: n}, with) }
	if r := ask(s.network); r.Reason != check.ControlFail || !strings.Contains(r.Detail, "not trusted") {
		t.Errorf("a certificate of nobody: %s %q", r.Reason, r.Detail)
	}
	lost := s.network
	lost.lookup = func(context.Context, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	if r := ask(lost); r.Reason != check.NotSupported {
		t.Errorf("without a name: %s %q", r.Reason, r.Detail)
	}
	s.plain.Close()
	if r := ask(s.network); strings.Contains(r.Detail, "does not lead") {
		t.Errorf("HTTP is not offered: %s %q", r.Reason, r.Detail)
	}
	s.secure.Close()
	if r := ask(s.network); r.Reason != check.ControlFail || !strings.Contains(r.Detail, "HTTPS is not offered") {
		t.Errorf("HTTPS is not offered: %s %q", r.Reason, r.Detail)
	}
	for url, want := range map[string]string{"http://example.com/": "example.com:443", "http://example.com:8080/x": "example.com:443", "http://[2001:db8::1]:80/": "[2001:db8::1]:443"} {
		var asked []string
		n := s.network
		n.dial = func(_ context.Context, _, address string) (net.Conn, error) {
			asked = append(asked, address)
			return nil, syscall.ECONNREFUSED
		}
		r := judged(t, system{network: n}, check.Options{"id": "m27", "url": url})
		if r.Reason != check.ControlFail || !strings.Contains(r.Detail, "HTTPS is not offered") || !slices.Equal(asked, []string{want}) {
			t.Errorf("%s: %s %q, asked %v", url, r.Reason, r.Detail, asked)
		}
	}
	endless, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer endless.Close()
	go func() {
		for {
			conn, err := endless.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					if _, err := conn.Write([]byte(strings.Repeat("x", 4096))); err != nil {
						return
					}
				}
			}()
		}
	}()
	n := s.network
	n.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, endless.Addr().String())
	}
	if r := ask(n); r.Reason != check.NotSupported {
		t.Errorf("noise: %s %q", r.Reason, r.Detail)
	}
}

// TestVerifyDays leaves the days of a certificate to the judgement, and everything else not.
func TestVerifyDays(t *testing.T) {
	s := newSite(t, tls.VersionTLS12, tls.VersionTLS13, func(http.ResponseWriter, *http.Request) {}, func(http.ResponseWriter, *http.Request) {})
	leaf := s.secure.Certificate()
	roots, err := readRoots(s.roots)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify([]*x509.Certificate{leaf}, "example.com", roots, leaf.NotAfter.Add(day)); err != nil {
		t.Errorf("an old certificate is judged by its days alone: %v", err)
	}
	if err := verify([]*x509.Certificate{leaf}, "example.org", roots, leaf.NotBefore.Add(day)); err == nil {
		t.Error("another name is taken")
	}
	if _, err := readRoots(t.TempDir()); err == nil {
		t.Error("a folder is taken as roots")
	}
}

// TestTargets tells the schedule whom a control talks to.
func TestTargets(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{"id": "m19", "addresses": []string{"siem.tinh.vn:6514", "[2001:db8::1]:514"}}, "siem.tinh.vn 2001:db8::1"},
		{check.Options{"id": "m27", "url": "https://tuky.gov.vn/x"}, "tuky.gov.vn"},
		{check.Options{"id": "m03", "addresses": []string{"10.0.0.1:1514"}}, ""},
		{check.Options{"id": "m04"}, ""},
	} {
		if got := strings.Join(controlKind().Target(tt.with), " "); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.with, got, tt.want)
		}
	}
}

// TestBounded ends an answer whose head has no end.
func TestBounded(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		defer there.Close()
		for {
			if _, err := there.Write([]byte("X: y\r\n")); err != nil {
				return
			}
		}
	}()
	b := &bounded{here, 1000}
	n, err := io.Copy(io.Discard, io.LimitReader(b, 5000))
	if n != 1000 || err == nil {
		t.Errorf("%d bytes were read: %v", n, err)
	}
}
