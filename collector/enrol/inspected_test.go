package enrol

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check/checktest"
	"egovmon/agent/daemon"
	"egovmon/agent/host"
	"egovmon/agent/push"
)

// A box opens the connections of an office and signs them anew, as it does for every site: with the names of the true
// certificate, below its own CA.
type box struct {
	addr  string
	heard atomic.Int64 // bytes of what was meant for the collector
}

func newBox(t *testing.T, collector *x509.Certificate, ca string, keepNames bool) *box {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: ca}, NotBefore: start.Add(-time.Hour), NotAfter: start.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "login.wifi.example"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if keepNames {
		leaf.Subject, leaf.DNSNames, leaf.IPAddresses = collector.Subject, collector.DNSNames, collector.IPAddresses
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	b := &box{}
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der, rootDER}, PrivateKey: key}}, ClientAuth: tls.RequestClientCert,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error { b.heard.Add(int64(len(raw))); return nil }}
	b.addr = checktest.ServeTLS(t, conf, func(c net.Conn) {
		n, _ := c.Read(make([]byte, 4096)) // and goes away: who was fooled is not to wait
		b.heard.Add(int64(n))
	})
	return b
}

// Whoever opens the connection on the way hears nothing, neither of enrolment nor of a machine that is enrolled, and a
// person is told what it is.
func TestTLSInspection(t *testing.T) {
	d := newDistrict(t)
	in := d.token(t, "an-thanh", "")
	id, err := d.enrol(t, d.token(t, "quang-khai", "").Token.String(), push.EnrolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := d.server.get(d.opts)
	if err != nil {
		t.Fatal(err)
	}
	collector := cert.Leaf
	for _, tt := range []struct {
		name string
		box  *box
		want push.Problem
	}{
		{"inspection", newBox(t, collector, "FortiGate CA UBND", true), push.TLSInspection},
		{"a CA that calls itself ours", newBox(t, collector, d.keys.CA.Subject.CommonName, true), push.TLSInspection},
		{"a captive portal", newBox(t, collector, "WiFi CA", false), push.WrongPeer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			there := *id
			there.Collector = "https://" + tt.box.addr
			now := func() time.Time { return d.now().Add(time.Minute) }
			direct := push.Proxy{}.Dial(nil)
			for what, call := range map[string]func() error{
				"enrol": func() error {
					_, err := push.Enrol(t.Context(), there.Collector, in.Token.String(), push.EnrolOptions{Now: now})
					return err
				},
				"renew": func() error { _, err := push.Renew(t.Context(), &there, push.RenewOptions{}, now); return err },
				"time":  func() error { _, err := daemon.AskTime(t.Context(), &there, direct); return err },
				"probe": func() error { return push.Probe(t.Context(), &there, direct) },
			} {
				err := call()
				if got := push.ProblemOf(err); got != tt.want || !strings.Contains(err.Error(), "nothing was sent") {
					t.Errorf("%s: %q: %v; want %q", what, got, err, tt.want)
				}
				if f, ok := errors.AsType[*host.ForeignError](err); !ok || f.Issuer == "" {
					t.Errorf("%s: who signed the certificate is not told: %v", what, err)
				}
			}
			if n := tt.box.heard.Load(); n != 0 {
				t.Errorf("the box heard %d bytes", n)
			}
		})
	}
}

// Enrolment and everything after it go through a proxy that asks for a password, and nothing goes around it.
func TestThroughProxy(t *testing.T) {
	d := newDistrict(t)
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	var connections atomic.Int64
	proxy := checktest.Serve(t, func(c net.Conn) {
		connections.Add(1)
		buf := make([]byte, 4096)
		n, _ := c.Read(buf)
		if head := string(buf[:n]); !strings.HasPrefix(head, "CONNECT collector.example:19443 ") || !strings.Contains(head, "Proxy-Authorization: Basic cGM6bWF0LWtoYXU=\r\n") {
			_, _ = io.WriteString(c, "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n")
			return
		}
		to, err := net.Dial("tcp", u.Host)
		if err != nil {
			return
		}
		defer to.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
		_, _ = io.Copy(c, to)
	})
	dial := push.Proxy{Address: proxy, User: "pc", Password: func() (string, error) { return "mat-khau", nil }}.Dial(
		func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != proxy {
				return nil, errors.New("around the proxy")
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		})
	id, err := push.Enrol(t.Context(), "https://collector.example:19443", d.token(t, "an-thanh", "").Token.String(), push.EnrolOptions{Now: d.now, Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := push.Renew(t.Context(), id, push.RenewOptions{Dial: dial}, d.now); err != nil {
		t.Fatal(err)
	}
	if n := connections.Load(); n != 2 {
		t.Errorf("%d connections through the proxy, want 2", n)
	}
}
