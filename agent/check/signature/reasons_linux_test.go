package signature

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// A scene is what one run of a kind meets, and what it is to say.
type scene struct {
	name string
	want check.Reason
	run  func(t *testing.T) check.Result
}

// play plays the scenes, which are all that the kind can say of a target that is down.
func play(t *testing.T, k check.Kind, down []check.Reason, acts []scene) {
	t.Helper()
	var scenes []checktest.Scene
	for _, a := range acts {
		scenes = append(scenes, checktest.Scene{Name: a.name, Want: a.want, Run: func(t *testing.T) check.Result {
			r := a.run(t)
			checktest.Declared(t, k, r)
			return r
		}})
	}
	checktest.PlayScenes(t, down, scenes)
}

// fetchReasons are what every fetch can say of a server that is down; [stage.fetch] plays them.
func fetchReasons(more ...check.Reason) []check.Reason {
	return append(more, check.DNSNXDomain, check.DNSServfail, check.DNSTimeout, check.DNSEmpty, check.ConnectRefused, check.ConnectTimeout, check.ConnectUnreachable, check.ConnectReset,
		check.TLSHandshake, check.TLSExpired, check.TLSNotYetValid, check.TLSName, check.TLSUntrusted, check.TLSProtocol, check.Timeout, check.Protocol, check.HTTPStatus,
		check.HTTPRedirect, check.TooLarge, check.Truncated, check.CaptivePortal)
}

// A stage is what the kinds that ask a server are played on.
type stage struct {
	t    *testing.T
	kind check.Kind
	o    check.Options // all but the url
	w    *checktest.World
}

// at runs the kind against a URL.
func (s *stage) at(url string, more check.Options, env check.Env) func(t *testing.T) check.Result {
	return func(t *testing.T) check.Result {
		o := maps.Clone(s.o)
		maps.Copy(o, more)
		o["url"] = url
		return checktest.NewFunc(t, s.kind, o, env)(t.Context())
	}
}

// inside runs the kind in the site whose resolver knows no name.
func (s *stage) inside(url string, limit time.Duration) func(t *testing.T) check.Result {
	return func(*testing.T) check.Result {
		var with strings.Builder
		for name, v := range s.o {
			if text, ok := v.(string); ok {
				v = strconv.Quote(text)
			}
			fmt.Fprintf(&with, ", %s: %v", name, v)
		}
		return s.w.Check("pc", checktest.Run{Limit: limit, Plan: fmt.Sprintf("{id: a.b, kind: %s, every: 600s, timeout: 20s, confirm: 0, with: {url: %q%s}}", s.kind.Name, url, with.String())})[0]
	}
}

// fetch are the acts of servers that cannot be asked, and the limit of what they may say.
func (s *stage) fetch(tooLarge int) []scene {
	t := s.t
	s.w = checktest.Nameless(t)
	s.w.IP("pc", "addr add 192.0.2.9/32 dev lo", "route add unreachable 192.0.2.1")
	s.w.Nft("pc", "table inet t {\nchain c {\ntype filter hook input priority 0\nip daddr 192.0.2.9 drop\n}\n}")
	ends := func(text string, reset bool) string {
		return "http://" + checktest.Serve(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, text)
			if reset {
				_ = c.(*net.TCPConn).SetLinger(0)
			}
		})
	}
	status := func(code int) string {
		return ends(fmt.Sprintf("HTTP/1.1 %d x\r\nLocation: http://other.test/\r\nContent-Length: 0\r\n\r\n", code), false)
	}
	a := checktest.NewAuthority(t, "ca.test")
	byTLS := func(change func(*x509.Certificate), most uint16) string {
		return "https://" + checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, change)}, MaxVersion: most}, nil)
	}
	roots := check.Options{"tls_roots": a.Roots()}
	body := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", tooLarge) + strings.Repeat("x", tooLarge)
	silent := says(t, "")
	return []scene{
		{"no such name", check.DNSNXDomain, s.inside("http://nobody.test/", 0)},
		{"the resolver fails", check.DNSServfail, s.inside("http://fails.test/", 0)},
		{"the resolver is silent", check.DNSTimeout, s.inside("http://silent.test/", time.Second)},
		{"of the other IP version", check.DNSEmpty, s.at(status(200), check.Options{"family": "ip6"}, check.Env{})},
		{"closed", check.ConnectRefused, s.inside("http://127.0.0.1:1/", 0)},
		{"nobody answers", check.ConnectTimeout, s.inside("http://192.0.2.9/", time.Second)},
		{"no way", check.ConnectUnreachable, s.inside("http://192.0.2.1/", 0)},
		{"resets", check.ConnectReset, s.at(ends("", true), nil, check.Env{})},
		{"no TLS", check.TLSHandshake, s.at("https"+strings.TrimPrefix(ends("220 mail\r\n", false), "http"), roots, check.Env{})},
		{"TLS ended", check.TLSExpired, s.at(byTLS(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) }, 0), roots, check.Env{})},
		{"TLS not begun", check.TLSNotYetValid, s.at(byTLS(func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().Add(time.Hour) }, 0), roots, check.Env{})},
		{"TLS of another name", check.TLSName, s.at(byTLS(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"other.test"}, nil }, 0), roots, check.Env{})},
		{"TLS of a stranger", check.TLSUntrusted, s.at(byTLS(nil, 0), check.Options{"tls_roots": checktest.NewAuthority(t, "x.test").Roots()}, check.Env{})},
		{"TLS of old", check.TLSProtocol, s.at(byTLS(nil, tls.VersionTLS11), roots, check.Env{})},
		{"TLS ended, by an unproven clock", check.ClockUnproven, s.at(byTLS(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) }, 0), roots, check.Env{ClockProven: func() bool { return false }})},
		{"says nothing", check.Timeout, func(t *testing.T) check.Result {
			o := maps.Clone(s.o)
			o["url"] = silent
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			return checktest.NewFunc(t, s.kind, o, check.Env{})(ctx)
		}},
		{"something else", check.Protocol, s.at(ends("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nxxxxx", false), nil, check.Env{})},
		{"fails", check.HTTPStatus, s.at(status(500), nil, check.Env{})},
		{"sends elsewhere", check.HTTPRedirect, s.at(status(302), nil, check.Env{})},
		{"too much", check.TooLarge, s.at(ends(body, false), nil, check.Env{})},
		{"stops short", check.Truncated, s.at(ends("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nxxxxx", false), nil, check.Env{})},
		{"a log-in page of the network", check.CaptivePortal, s.at(status(511), nil, check.Env{})},
		{"asked too often", check.Blocked, s.at(status(429), nil, check.Env{})},
	}
}

func TestReasonsOfOCSP(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, checktest.Epoch())
	cert, _ := a.officer(nil)
	s := &stage{t: t, kind: ocspKind(), o: check.Options{"certificate": certPEM(t, cert), "issuer": a.file()}}
	says := func(r ocsp.Response) func(t *testing.T) check.Result {
		r.SerialNumber, r.RevokedAt = cert.SerialNumber, checktest.Epoch()
		return s.at(serve(t, "application/ocsp-response", func([]byte) []byte {
			body, err := ocsp.CreateResponse(a.cert, a.cert, r, a.key)
			if err != nil {
				t.Error(err)
			}
			return body
		}), nil, check.Env{})
	}
	at := checktest.Epoch()
	play(t, s.kind, fetchReasons(check.Revoked, check.RevocationInvalid), append(s.fetch(ocspBytes+1),
		scene{"good", check.OK, says(ocsp.Response{ThisUpdate: at})},
		scene{"revoked", check.Revoked, says(ocsp.Response{ThisUpdate: at, Status: ocsp.Revoked})},
		scene{"unknown", check.RevocationInvalid, says(ocsp.Response{ThisUpdate: at, Status: ocsp.Unknown})},
		scene{"old", check.RevocationStale, says(ocsp.Response{ThisUpdate: at.Add(-time.Hour), NextUpdate: at.Add(-time.Minute)})},
	))
}

func TestReasonsOfCRL(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	cert, _ := a.officer(nil)
	s := &stage{t: t, kind: crlKind(), o: check.Options{"issuer": a.file(), "certificates": certPEM(t, cert), "max_bytes": int64(10000)}}
	says := func(body []byte) func(t *testing.T) check.Result {
		return s.at(serve(t, "application/pkix-crl", func([]byte) []byte { return body }), check.Options{"max_bytes": int64(1 << 20)}, check.Env{})
	}
	acts := append(s.fetch(10001),
		scene{"good", check.OK, says(a.list(nil))},
		scene{"revoked", check.Revoked, says(a.list(revokedNow(cert)))},
		scene{"of a stranger", check.RevocationInvalid, says(stranger.list(nil))},
		scene{"old", check.RevocationStale, says(a.list(func(l *x509.RevocationList) { l.NextUpdate = checktest.Epoch().Add(-time.Minute) }))},
	)
	play(t, s.kind, fetchReasons(check.Revoked, check.RevocationInvalid), acts)
}

func TestReasonsOfTSA(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	cert, key := a.stampCert(nil)
	s := &stage{t: t, kind: tsaKind(), o: check.Options{"roots": a.file()}}
	stamps := func(c *x509.Certificate, k crypto.Signer, by time.Duration, more check.Options) func(t *testing.T) check.Result {
		return s.at(serve(t, "application/timestamp-reply", stamper{t: t, cert: c, key: k, at: checktest.Epoch().Add(by)}.answer), more, check.Env{})
	}
	list := newShelf(t)
	list.body = a.list(revokedNow(cert))
	foreign, foreignKey := stranger.stampCert(nil)
	play(t, s.kind, fetchReasons(check.TSAInvalid, check.Revoked, check.RevocationInvalid), append(s.fetch(tsaBytes+1),
		scene{"good", check.OK, stamps(cert, key, 0, nil)},
		scene{"revoked", check.Revoked, stamps(cert, key, 0, check.Options{"crl": list.url})},
		scene{"a list of a stranger", check.RevocationInvalid, stamps(cert, key, 0, check.Options{"crl": serve(t, "", func([]byte) []byte { return stranger.list(nil) })})},
		scene{"of a stranger", check.TSAInvalid, stamps(foreign, foreignKey, 0, nil)},
		scene{"7 hours ahead", check.TSASkew, stamps(cert, key, 7*time.Hour, nil)},
	))
}

func TestReasonsOfTrustlist(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, checktest.Epoch())
	s := &stage{t: t, kind: trustlistKind(), o: check.Options{"roots": a.file(), "max_bytes": int64(10000)}}
	says := func(body []byte) func(t *testing.T) check.Result {
		return s.at(serve(t, "application/json", func([]byte) []byte { return body }), check.Options{"max_bytes": int64(1 << 20)}, check.Env{})
	}
	key, cert := rsaSigner(t, newAuthority(t, checktest.Epoch()))
	play(t, s.kind, fetchReasons(check.ContentMissing, check.SignatureInvalid), append(s.fetch(10001),
		scene{"good", check.OK, says(listed(t, nil, a.cert))},
		scene{"without our root", check.ContentMissing, says(listed(t, nil, newAuthority(t, checktest.Epoch()).cert))},
		scene{"signed by a stranger", check.SignatureInvalid, says(message(t, cert, key, listed(t, nil, a.cert)))},
		scene{"old", check.TrustlistStale, says(listed(t, with("NextUpdate", checktest.Epoch().Add(-time.Minute)), a.cert))},
	))
}

func TestReasonsOfCerts(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	good := a.person("A", "B", 400)
	list := newShelf(t)
	gone, _ := a.officer(func(c *x509.Certificate) { c.CRLDistributionPoints, c.Subject = []string{list.url}, pkix.Name{} })
	list.body = a.list(revokedNow(gone))
	look := func(o check.Options, certs ...*x509.Certificate) func(t *testing.T) check.Result {
		return func(t *testing.T) check.Result {
			all := check.Options{"files": []string{folder(t, certs...)}, "roots": a.file()}
			maps.Copy(all, o)
			return checktest.NewFunc(t, certsKind(), all, check.Env{})(t.Context())
		}
	}
	play(t, certsKind(), []check.Reason{check.Revoked, check.SignatureInvalid, check.Timeout}, []scene{
		{"good", check.OK, look(nil, good)},
		{"ends soon", check.SignatureExpiring, look(nil, a.person("A", "B", 5))},
		{"revoked", check.Revoked, look(check.Options{"hosts": []string{"127.0.0.1"}}, gone)},
		{"of a stranger", check.SignatureInvalid, look(nil, stranger.person("A", "B", 400))},
		{"none", check.NotConfigured, look(nil)},
		{"out of time", check.Timeout, func(t *testing.T) check.Result {
			past, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
			defer cancel()
			return checktest.NewFunc(t, certsKind(), check.Options{"files": []string{folder(t, good)}}, check.Env{})(past)
		}},
	})
}

func TestReasonsOfSignservice(t *testing.T) {
	t.Parallel()
	a := checktest.NewAuthority(t, "localhost")
	program := func(change func(*x509.Certificate)) string {
		return checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, change)}}, nil)
	}
	run := func(address string, limit time.Duration, find func(context.Context, string, string) (int, error)) func(t *testing.T) check.Result {
		return func(t *testing.T) check.Result {
			o := check.Options{"address": address}
			if find != nil {
				o["process"] = "VGCASignService.exe"
			}
			c, err := newSignserviceCheck(checktest.WithDefaults(t, signserviceKind(), o), checktest.WithEnv(check.Env{}))
			if err != nil {
				t.Fatal(err)
			}
			if find != nil {
				c.find = find
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			return c.run(ctx)
		}
	}
	none := func(context.Context, string, string) (int, error) { return 0, nil }
	silent := checktest.Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	plain := checktest.Serve(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	past := func(t *testing.T) check.Result { return run(silent, -time.Second, nil)(t) }
	play(t, signserviceKind(), []check.Reason{check.ConnectRefused, check.ConnectTimeout, check.TLSHandshake, check.Timeout, check.ContentMissing}, []scene{
		{"well", check.OK, run(program(nil), time.Minute, nil)},
		{"ends soon", check.CertExpiring, run(program(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(0, 0, 5) }), time.Minute, nil)},
		{"closed", check.ConnectRefused, run("127.0.0.1:1", time.Minute, nil)},
		{"no time to connect", check.ConnectTimeout, past},
		{"no TLS", check.TLSHandshake, run(plain, time.Minute, nil)},
		{"says nothing", check.Timeout, run(silent, 500*time.Millisecond, nil)},
		{"another program at the port", check.ContentMissing, run(program(nil), time.Minute, none)},
		{"no list of processes", check.NotSupported, run(program(nil), time.Minute, func(context.Context, string, string) (int, error) { return 0, http.ErrNotSupported })},
	})
}

// A source that is not ours, of the fetches; the kinds of one host all go the same way.
func TestSourceOfAFetch(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	s := &stage{t: t, kind: crlKind(), o: check.Options{"issuer": a.file()}}
	want(t, s.at("http://127.0.0.1:1/", nil, check.Env{Source: netip.MustParseAddr("192.0.2.77")})(t), check.ConnectUnreachable, "")
}
