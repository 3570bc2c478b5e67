package signature

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/plan"
)

// A signing program that listens on loopback with a certificate that it signed itself, and counts what is sent to it
// after the handshake.
func signingProgram(t testing.TB, ends time.Time, change func(*tls.Config)) (address string, got *atomic.Int64) {
	t.Helper()
	a := newAuthority(t, checktest.Epoch())
	self := &authority{t: t, at: checktest.Epoch(), next: a.next}
	c, key := self.sign(&x509.Certificate{NotAfter: ends})
	cfg := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.Raw}, PrivateKey: key}}}
	if change != nil {
		change(cfg)
	}
	got = new(atomic.Int64)
	return checktest.Serve(t, func(conn net.Conn) {
		s := tls.Server(conn, cfg)
		if s.Handshake() != nil {
			return
		}
		n, _ := io.Copy(io.Discard, s)
		got.Add(n)
	}), got
}

func TestSignserviceReasons(t *testing.T) {
	year := checktest.Epoch().AddDate(1, 0, 0)
	good, sent := signingProgram(t, year, nil)
	soon, _ := signingProgram(t, checktest.Epoch().AddDate(0, 0, 20), nil)
	ended, _ := signingProgram(t, checktest.Epoch().Add(-time.Hour), nil)
	old, _ := signingProgram(t, year, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 })
	plain := checktest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
	found := func(n int, err error) func(context.Context, string, string) (int, error) {
		return func(_ context.Context, name, path string) (int, error) {
			if name != "VGCASignService.exe" {
				t.Errorf("looked for %q", name)
			}
			return n, err
		}
	}
	unproven := func() bool { return false }
	tests := []struct {
		name    string
		address string
		with    check.Options
		find    func(context.Context, string, string) (int, error)
		proven  func() bool
		reason  check.Reason
		detail  string
		facts   map[string]float64
	}{
		{name: "all is well", address: good, reason: check.OK, detail: "certificate until 2027-11-23", facts: map[string]float64{
			"cert_not_after_unix": float64(year.Unix()), "cert_not_before_unix": float64(checktest.Epoch().AddDate(0, -1, 0).Unix()), "tls_version_code": 13}},
		{name: "by name", address: strings.Replace(good, "127.0.0.1", "localhost", 1), reason: check.OK},
		{name: "an old program", address: old, reason: check.OK, facts: map[string]float64{"tls_version_code": 10}},
		{name: "certificate ends soon", address: soon, reason: check.CertExpiring, detail: "ends 2026-12-13"},
		{name: "certificate ends later than asked", address: soon, with: check.Options{"warn_days": int64(19)}, reason: check.OK},
		{name: "certificate has ended", address: ended, reason: check.CertExpiring, facts: map[string]float64{"cert_not_after_unix": float64(checktest.Epoch().Unix() - 3600)}},
		{name: "certificate has ended by an unproven clock", address: ended, proven: unproven, reason: check.OK},
		{name: "not started", address: checktest.ClosedPort(t), reason: check.ConnectRefused},
		{name: "speaks without TLS", address: plain, reason: check.TLSHandshake},
		{name: "process and port", address: good, find: found(2, nil), reason: check.OK, facts: map[string]float64{"processes_count": 2}},
		{name: "process without port", address: checktest.ClosedPort(t), find: found(1, nil), reason: check.ConnectRefused, detail: "is running; "},
		{name: "neither process nor port", address: checktest.ClosedPort(t), find: found(0, nil), reason: check.ConnectRefused, detail: "VGCASignService.exe is not running; ", facts: map[string]float64{"processes_count": 0}},
		{name: "another program at the port", address: good, find: found(0, nil), reason: check.ContentMissing, detail: "though something answers"},
		{name: "processes hidden", address: good, find: found(0, fmt.Errorf("open: %w", fs.ErrPermission)), reason: check.NoPermission},
		{name: "processes hidden, port closed", address: checktest.ClosedPort(t), find: found(0, fs.ErrPermission), reason: check.ConnectRefused},
		{name: "no list of processes", address: good, find: found(0, errors.New("not implemented")), reason: check.NotSupported},
		{name: "processes too slow", address: good, find: found(0, context.DeadlineExceeded), reason: check.Internal},
		{name: "slow", address: good, with: check.Options{"slow": time.Nanosecond}, reason: check.Slow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"address": tt.address}
			if tt.find != nil {
				o["process"] = "VGCASignService.exe"
			}
			maps.Copy(o, tt.with)
			c, err := newSignserviceCheck(checktest.WithDefaults(t, signserviceKind(), o), checktest.WithEnv(check.Env{ClockProven: tt.proven}))
			if err != nil {
				t.Fatal(err)
			}
			if tt.find != nil {
				c.find = tt.find
			}
			r := c.run(t.Context())
			checktest.Declared(t, signserviceKind(), r)
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
		})
	}
	if n := sent.Load(); n != 0 {
		t.Errorf("%d bytes were sent to the program", n)
	}
}

func TestSignserviceTimeout(t *testing.T) {
	address := checktest.Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	f := checktest.NewFunc(t, signserviceKind(), check.Options{"address": address}, check.Env{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	want(t, f(ctx), check.Timeout, "")
}

// A process of this system is found by its name, and by its file.
func TestFindProcesses(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("the program sleep is missing: apt install coreutils")
	}
	text, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	// Longer than the 15 letters that the kernel keeps of a name.
	path := filepath.Join(t.TempDir(), "VGCASignService-test")
	if err := os.WriteFile(path, text, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for _, tt := range []struct {
		name, path string
		want       int
	}{
		{"VGCASignService-test", "", 1}, {"vgcasignservice-TEST.exe", "", 1}, {"VGCASignService-test", path, 1},
		{"VGCASignService-test", "/usr/bin/other", 0}, {"VGCASignService-tes", "", 0}, {"no-such-program", "", 0},
	} {
		if n, err := findProcesses(t.Context(), tt.name, tt.path); n != tt.want || err != nil {
			t.Errorf("%s from %q: %d, %v, want %d", tt.name, tt.path, n, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := findProcesses(ctx, "VGCASignService-test", ""); err == nil {
		t.Error("a run that was called off counts")
	}
}

func TestOptionsThatCannotHold(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, _ := a.officer(nil)
	pem := certPEM(t, cert)
	for _, tt := range []struct {
		kind check.Kind
		with check.Options
		want string
	}{
		{signserviceKind(), check.Options{"address": "192.0.2.1:8987"}, `option "address": 192.0.2.1 is not this machine's loopback`},
		{signserviceKind(), check.Options{"address": "0.0.0.0:8987"}, `option "address"`},
		{signserviceKind(), check.Options{"address": "sign.test:8987"}, `option "address"`},
		{signserviceKind(), check.Options{"address": "localhost.test:8987"}, `option "address"`},
		{signserviceKind(), check.Options{"address": "127.0.0.1"}, `option "address"`},
		{signserviceKind(), check.Options{"path": "/x"}, `option "path"`},
		{ocspKind(), check.Options{"certificate": pem}, `option "issuer"`},
		{ocspKind(), check.Options{"issuer": pem}, `option "certificate"`},
		{ocspKind(), check.Options{"certificate": pem, "issuer": pem, "url": "ldap://x.test/"}, `option "url": scheme "ldap"`},
		{ocspKind(), check.Options{"certificate": pem, "issuer": pem, "user_agent": "a\nb"}, `option "user_agent"`},
		{crlKind(), check.Options{"url": "http://crl.test/x.crl"}, `option "issuer"`},
		{crlKind(), check.Options{"issuer": pem, "url": "http:///x"}, `option "url"`},
		{crlKind(), check.Options{"issuer": pem, "url": "http://a:b@crl.test/"}, `option "url": a user`},
		{crlKind(), check.Options{"issuer": pem, "url": "http://crl.test/", "serials": []string{"xyz"}}, `option "serials": "xyz"`},
		{crlKind(), check.Options{"issuer": pem, "url": "http://crl.test/", "serials": []string{""}}, `option "serials"`},
		{crlKind(), check.Options{"issuer": pem, "url": "http://crl.test/", "serials": []string{strings.Repeat("f", 65)}}, `option "serials"`},
		{crlKind(), check.Options{"issuer": pem, "url": "http://crl.test/", "user_agent": "ạ"}, `option "user_agent"`},
		{ocspKind(), check.Options{"certificate": pem, "issuer": pem, "responder_crl": "http:///x"}, `option "responder_crl"`},
		{crlKind(), check.Options{"issuer": pem, "url": "http://crl.test/", "delta_url": "http:///x"}, `option "delta_url"`},
		{crlKind(), check.Options{"issuer": pem, "url": "http://crl.test/", "delta": true, "freshest": true}, `option "delta": a delta list has no`},
		{tsaKind(), check.Options{"url": "http://tsa.test/", "roots": pem, "crl": "http:///x"}, `option "crl"`},
		{trustlistKind(), check.Options{"url": "http:///x"}, `option "url"`},
		{trustlistKind(), check.Options{"url": "http://ca.test/", "user_agent": "\x7f"}, `option "user_agent"`},
		{trustlistKind(), check.Options{"url": "http://ca.test/", "copies": []string{"ctl/gca.ctl"}}, `option "copies": "ctl/gca.ctl" is no path`},
		{trustlistKind(), check.Options{"url": "http://ca.test/", "copies": []string{"/[a"}}, `option "copies"`},
		{tsaKind(), check.Options{"url": "http://tsa.test/"}, `option "roots"`},
		{tsaKind(), check.Options{"url": "tsa.test", "roots": pem}, `option "url"`},
		{tsaKind(), check.Options{"url": "http://tsa.test/", "roots": pem, "user_agent": "\x7f"}, `option "user_agent"`},
		{tsaKind(), check.Options{"url": "http://tsa.test/", "roots": pem, "policy": "1"}, `option "policy": "1"`},
		{tsaKind(), check.Options{"url": "http://tsa.test/", "roots": pem, "policy": "3.1"}, `option "policy"`},
		{tsaKind(), check.Options{"url": "http://tsa.test/", "roots": pem, "policy": "1.40"}, `option "policy"`},
		{tsaKind(), check.Options{"url": "http://tsa.test/", "roots": pem, "policy": "1.x"}, `option "policy"`},
	} {
		_, err := tt.kind.New(checktest.WithDefaults(t, tt.kind, tt.with), checktest.WithEnv(check.Env{}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %v: got %v, want %s", tt.kind.Name, tt.with, err, tt.want)
		}
	}
}

// Every kind can be planned with nothing but what it requires, and says of each option what it is for.
func TestKindsAreWhole(t *testing.T) {
	text := "plan: test\nchecks:\n" +
		"  - {id: a.ocsp, kind: ocsp, every: 300s, with: {certificate: /a.pem, issuer: /b.pem, max_age: 48h}}\n" +
		"  - {id: a.crl, kind: crl, every: 300s, with: {url: 'http://ca.gov.vn/pki/pub/crl/cp.crl', issuer: /b.pem, serials: ['5401:0A3F']}}\n" +
		"  - {id: a.tsa, kind: tsa, every: 300s, with: {url: 'http://tsa.ca.gov.vn', roots: /r.pem, max_skew: 10s}}\n" +
		"  - {id: a.ctl, kind: trustlist, every: 300s, with: {url: 'http://ca.gov.vn/pki/pub/ctl/gca.ctl'}}\n" +
		"  - {id: a.certs, kind: certs, every: 3600s, with: {files: [/c], units: ['UBND xã An Thanh'], roots: /r.pem, hosts: [ocsp.ca.gov.vn]}}\n" +
		"  - {id: a.sign, kind: signservice, every: 60s}\n" +
		"  - {id: a.act, kind: sign, every: 1800s, timeout: 60s, with: {key: {secret: k}, certificate: /c.pem, tsa: 'http://tsa.ca.gov.vn', roots: /r.pem}}\n" +
		"  - {id: a.token, kind: sign, every: 1800s, timeout: 60s, with: {module: /usr/lib/p11.so, pin: {secret: p}, form: both, level: b-t, tsa: 'http://tsa.ca.gov.vn', roots: /r.pem}}\n" +
		"  - {id: a.sim, kind: mobilepki, every: 300s, with: {url: 'https://mpki1.ca.gov.vn:18083/', client_cert: /c.pem, call: status, approved: 12/CV, ap_id: x, ap_password: {secret: p}}}\n"
	if _, err := plan.Parse([]byte(text), Kinds()); err != nil {
		t.Errorf("the plan was refused:\n%v", err)
	}
	for _, k := range Kinds() {
		if k.Family != "signature" || !strings.HasSuffix(k.Summary, ".") && !strings.HasSuffix(k.Summary, ").") || k.New == nil || k.Target == nil != (k.Name == "signservice") {
			t.Errorf("kind %s is not whole", k.Name)
		}
		seen := map[string]bool{}
		for _, o := range k.Options {
			if seen[o.Name] || o.Type == "" || !strings.HasSuffix(o.Help, ".") || o.Required && o.Default != "" || o.Type == check.TypeInt && o.Unit == "" {
				t.Errorf("kind %s: option %s: twice, without type, unit or help", k.Name, o.Name)
			}
			seen[o.Name] = true
		}
		for _, f := range k.Facts {
			if seen[f.Name] || f.Help == "" || f.Min >= f.Max || !check.WholeFact(f.Name) && !strings.HasSuffix(f.Name, "_s") && f.Name != "key_bits" {
				t.Errorf("kind %s: fact %s: twice, without help, unit or bounds", k.Name, f.Name)
			}
			seen[f.Name] = true
		}
	}
}
