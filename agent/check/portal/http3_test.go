//go:build http3

package portal

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// serve3 serves by HTTP/3 on a loopback port and returns the address.
func serve3(t *testing.T, cert tls.Certificate) string {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http3.Server{TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}}), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bomb":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/hang":
			<-r.Context().Done()
		case "/hollow":
			checktest.Hollow(w)
		case "/head":
			w.Header().Set("X", strings.Repeat("x", 600<<10))
		case "/round":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/503":
			w.WriteHeader(503)
		default:
			fmt.Fprintf(w, "Tứ Kỳ %s", r.Proto)
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(socket) }()
	t.Cleanup(func() { _ = s.Close(); _ = socket.Close(); <-done })
	return "https://" + socket.LocalAddr().String()
}

// notLogged sees that nothing is said on the standard logger until the test ends.
func notLogged(t *testing.T) {
	t.Helper()
	var logged bytes.Buffer
	log.SetOutput(&logged)
	t.Cleanup(func() {
		if log.SetOutput(os.Stderr); logged.Len() > 0 {
			t.Errorf("the standard logger was told %q", logged.String())
		}
	})
}

func TestHTTP3(t *testing.T) {
	notLogged(t)
	a := checktest.NewAuthority(t, "127.0.0.1")
	good := serve3(t, a.Leaf(nil, nil))
	old := serve3(t, a.Leaf(nil, func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) }))
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	short := check.Env{Timeout: time.Second}
	for _, tt := range []struct {
		name, url string
		with      check.Options
		env       check.Env
		reason    check.Reason
		detail    string
		version   float64
	}{
		{"had", good, check.Options{"contains": []string{"Tứ Kỳ HTTP/3.0"}}, check.Env{}, check.OK, "", 30},
		{"by another name", strings.Replace(good, "127.0.0.1", "localhost", 1), check.Options{"server_name": "127.0.0.1"}, check.Env{}, check.OK, "", 30},
		{"over a redirection", good + "/round", nil, check.Env{}, check.OK, "", 30},
		{"a status", good + "/503", nil, check.Env{}, check.HTTPStatus, "503", 30},
		{"a body without end", good + "/bomb", nil, check.Env{}, check.TooLarge, "", 30},
		{"packed nothing without end", good + "/hollow", check.Options{"max_bytes": int64(64 << 10)}, check.Env{}, check.TooLarge, "more bytes than may come", 30},
		{"headers without end", good + "/head", nil, check.Env{}, check.Protocol, "", 0},
		{"no answer to the request", good + "/hang", nil, short, check.Timeout, "", 0},
		{"a certificate that has ended", old, nil, check.Env{}, check.TLSExpired, "", 0},
		{"another root", good, check.Options{"roots": checktest.NewAuthority(t, "127.0.0.1").Roots()}, check.Env{}, check.TLSUntrusted, "", 0},
		{"nothing there", "https://" + silent.LocalAddr().String(), nil, short, check.ConnectTimeout, "may not speak HTTP/3", 0},
		{"no such name", "https://khong-co.invalid", nil, check.Env{}, check.DNSNXDomain, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": tt.url, "roots": a.Roots(), "protocol": protocol3}
			maps.Copy(o, tt.with)
			begin := time.Now()
			r := checktest.NewFunc(t, httpKind(), o, tt.env)(t.Context())
			if tt.name == "no such name" && r.Reason != check.DNSNXDomain && r.Reason.State() != check.Up {
				return // a resolver that is not there says otherwise
			}
			if v, ok := r.Facts.Get("ip_family_code"); tt.version > 0 && (!ok || v != 4) {
				t.Errorf("ip_family_code %v, %v", v, ok)
			}
			if v, _ := r.Facts.Get("http_version_code"); r.Reason != tt.reason || !strings.Contains(r.Detail, tt.detail) || v != tt.version {
				t.Errorf("%s %q, version %v", r.Reason, r.Detail, v)
			}
			limit := time.Minute
			if tt.reason == check.ConnectTimeout {
				limit = 4500 * time.Millisecond // QUIC itself would go on for five seconds and more
			}
			if tt.reason == check.Timeout {
				limit = 20 * time.Second // and a connection for thirty
			}
			if d := time.Since(begin); d > limit {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// The addresses of a name are tried over QUIC too: each where it is, and not where the system finds the name.
func TestHTTP3AtAllAddresses(t *testing.T) {
	notLogged(t)
	a := checktest.NewAuthority(t, "portal.test")
	o := check.Options{"url": strings.Replace(serve3(t, a.Leaf(nil, nil)), "127.0.0.1", "portal.test", 1), "roots": a.Roots(), "protocol": protocol3, "addresses": addressesAll}
	r := runAt(t, o, func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})
	if v, _ := r.Facts.Get("addresses_count"); r.Reason != check.OK || v != 1 {
		t.Errorf("%s %q, %v addresses", r.Reason, r.Detail, v)
	}
}

// QUIC's own ends say that nobody answers, as that of the run does.
func TestHTTP3NobodyAnswers(t *testing.T) {
	for _, err := range []error{&quic.HandshakeTimeoutError{}, &quic.IdleTimeoutError{}} {
		if bad := new(fetch).refused3(t.Context(), err); bad.reason != check.ConnectTimeout {
			t.Errorf("%v: %s", err, bad.reason)
		}
	}
}
