package dns

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// overHTTPS starts a server of DNS over HTTPS whose answers a test writes.
func overHTTPS(t *testing.T, a *checktest.Authority, handle http.HandlerFunc) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handle, TLSConfig: &tls.Config{NextProtos: []string{"h2", "http/1.1"}}}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// packed answers a question in wire format.
func packed(t *testing.T, q []byte, change func(*mdns.Msg)) []byte {
	var m mdns.Msg
	if err := m.Unpack(q); err != nil {
		t.Error(err)
		return nil
	}
	r := reply(t, &m, mdns.RcodeSuccess, "motcua.test. 60 IN A 192.0.2.1")
	if change != nil {
		change(r)
	}
	b, err := r.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

func TestOverHTTPS(t *testing.T) {
	a := checktest.NewAuthority(t, "dns.test")
	const media = "application/dns-message"
	for _, tc := range []struct {
		name   string
		handle func(w http.ResponseWriter, q []byte)
		want   check.Reason
		detail string
	}{
		{"good", func(w http.ResponseWriter, q []byte) { w.Write(packed(t, q, nil)) }, check.OK, ""},
		{"no such name", func(w http.ResponseWriter, q []byte) {
			w.Write(packed(t, q, func(m *mdns.Msg) { m.Rcode, m.Answer = mdns.RcodeNameError, nil }))
		}, check.DNSNXDomain, ""},
		{"another id", func(w http.ResponseWriter, q []byte) { w.Write(packed(t, q, func(m *mdns.Msg) { m.Id = 7 })) }, check.Protocol, "another question"},
		{"another name", func(w http.ResponseWriter, q []byte) {
			w.Write(packed(t, q, func(m *mdns.Msg) { m.Question[0].Name = "x.test." }))
		}, check.Protocol, "another question"},
		{"64 KiB and more", func(w http.ResponseWriter, q []byte) { w.Write(append(packed(t, q, nil), make([]byte, 1<<16)...)) }, check.TooLarge, "more than 65535 bytes"},
		{"without end", func(w http.ResponseWriter, _ []byte) {
			for w := w; ; {
				if _, err := w.Write(make([]byte, 1<<14)); err != nil {
					return
				}
			}
		}, check.TooLarge, ""},
		{"a status", func(w http.ResponseWriter, _ []byte) { w.WriteHeader(http.StatusForbidden) }, check.HTTPStatus, "status 403"},
		{"elsewhere", func(w http.ResponseWriter, _ []byte) {
			w.Header().Set("Location", "https://192.0.2.1/dns-query")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, check.HTTPStatus, "status 307"},
		{"a page", func(w http.ResponseWriter, _ []byte) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>")
		}, check.Protocol, "text/html"},
		{"nothing", func(http.ResponseWriter, []byte) {}, check.Protocol, ""},
		{"half a message", func(w http.ResponseWriter, q []byte) { b := packed(t, q, nil); w.Write(b[:len(b)-3]) }, check.Protocol, "malformed"},
		{"broken off", func(w http.ResponseWriter, _ []byte) {
			w.Header().Set("Content-Length", "500")
			w.Write(make([]byte, 100))
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			panic(http.ErrAbortHandler)
		}, check.Truncated, "breaks off after"},
		{"broken off before it begins", func(http.ResponseWriter, []byte) { panic(http.ErrAbortHandler) }, check.Protocol, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := overHTTPS(t, a, func(w http.ResponseWriter, r *http.Request) {
				q, err := io.ReadAll(r.Body)
				if err != nil || r.Method != http.MethodPost || r.URL.Path != "/dns-query" || r.Header.Get("Content-Type") != media || r.ProtoMajor != 2 {
					t.Errorf("%s %s %s %s: %v", r.Method, r.URL, r.Proto, r.Header, err)
				}
				w.Header().Set("Content-Type", media)
				tc.handle(w, q)
			})
			r := runSecure(t, a, check.Options{"server": server, "protocol": protocolHTTPS}, long)
			want(t, r, tc.want)
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q, want %q", r.Detail, tc.detail)
			}
		})
	}
}

func runSecure(t *testing.T, a *checktest.Authority, o check.Options, limit time.Duration) check.Result {
	t.Helper()
	o["name"], o["roots"] = "motcua.test", a.Roots()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return checktest.NewFunc(t, dnsKind(), o, check.Env{})(ctx)
}

// TestSilenceOverTLS has servers that stop at some step.
func TestSilenceOverTLS(t *testing.T) {
	t.Parallel()
	a := checktest.NewAuthority(t, "dns.test")
	cfg := &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}}
	mute := func(c net.Conn) { io.Copy(io.Discard, c) }
	for name, server := range map[string]string{
		"no handshake": checktest.Serve(t, mute),
		"no answer":    checktest.ServeTLS(t, cfg, mute),
		"half an answer": checktest.ServeTLS(t, cfg, func(c net.Conn) {
			c.Write([]byte{0, 200, 1, 2, 3})
			mute(c)
		}),
	} {
		for _, protocol := range []string{protocolTLS, protocolHTTPS} {
			if name == "half an answer" && protocol == protocolHTTPS {
				continue
			}
			begin := time.Now()
			want(t, runSecure(t, a, check.Options{"server": server, "protocol": protocol}, 2*soon), check.DNSTimeout)
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("%s by %s took %s", name, protocol, took)
			}
		}
	}
	half := overHTTPS(t, a, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/dns-message")
		w.Write(make([]byte, 10))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	want(t, runSecure(t, a, check.Options{"server": half, "protocol": protocolHTTPS}, 2*soon), check.DNSTimeout)
	greeting := checktest.Serve(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
	closed := refused(t)
	for _, protocol := range []string{protocolTLS, protocolHTTPS} {
		want(t, runSecure(t, a, check.Options{"server": greeting, "protocol": protocol}, long), check.TLSHandshake)
		want(t, runSecure(t, a, check.Options{"server": closed, "protocol": protocol}, long), check.ConnectRefused)
	}
}

// TestCertificates judges what a resolver shows as the kind tls does.
func TestCertificates(t *testing.T) {
	a := checktest.NewAuthority(t, "dns.test")
	leaf := func(change func(*x509.Certificate)) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, change)}}
	}
	answer := func(c net.Conn) {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, q); err == nil {
			b := packed(t, q, nil)
			c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
		}
	}
	good := leaf(nil)
	print := fmt.Sprintf("%x", sha256.Sum256(a.Cert.Raw))
	for _, tc := range []struct {
		name string
		cfg  *tls.Config
		o    check.Options
		want check.Reason
	}{
		{"good", good, nil, check.OK},
		{"good, by name", good, check.Options{"server_name": "dns.test"}, check.OK},
		{"another name", good, check.Options{"server_name": "other.test"}, check.TLSName},
		{"ended", leaf(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) }), nil, check.TLSExpired},
		{"begins later", leaf(func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().Add(time.Hour) }), nil, check.TLSNotYetValid},
		{"ends soon", good, check.Options{"warn_days": int64(365)}, check.CertExpiring},
		{"old", &tls.Config{Certificates: good.Certificates, MaxVersion: tls.VersionTLS11}, nil, check.TLSProtocol},
		{"not new enough", &tls.Config{Certificates: good.Certificates, MaxVersion: tls.VersionTLS12}, check.Options{"min_version": "1.3"}, check.WeakTLS},
		{"another issuer", good, check.Options{"issuer": "nobody"}, check.TLSUntrusted},
		{"distrusted", good, check.Options{"distrusted": []string{print}}, check.TLSUntrusted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := check.Options{"protocol": protocolTLS, "server": checktest.ServeTLS(t, tc.cfg, answer)}
			maps.Copy(o, tc.o)
			want(t, runSecure(t, a, o, long), tc.want)
		})
	}
}

// TestKeptConnection has a server that ends each connection after so many answers, as it may.
func TestKeptConnection(t *testing.T) {
	a := checktest.NewAuthority(t, "dns.test")
	var conns atomic.Int32
	server := checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}}, func(c net.Conn) {
		conns.Add(1)
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		var m mdns.Msg
		if m.Unpack(q) != nil {
			return
		}
		record := "motcua.test. 60 IN A 192.0.2.1"
		if m.Question[0].Qtype == mdns.TypeAAAA {
			record = "motcua.test. 60 IN AAAA 2001:db8::1"
		}
		b, err := reply(t, &m, 0, record).Pack()
		if err != nil {
			t.Error(err)
		}
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	})
	r := runSecure(t, a, check.Options{"server": server, "protocol": protocolTLS, "ipv6": true}, long)
	want(t, r, check.OK)
	wantFact(t, r, "aaaa_count", 1)
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestLargeAnswers gives all the records that a message over TCP holds.
func TestLargeAnswers(t *testing.T) {
	server := serve(t, func(q *mdns.Msg, tcp bool) *mdns.Msg {
		m := reply(t, q, 0)
		if !tcp {
			m.Truncated = true
			return m
		}
		for i := range 3000 {
			m.Answer = append(m.Answer, &mdns.A{Hdr: mdns.RR_Header{Name: "motcua.test.", Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 60}, A: net.IPv4(198, 18, byte(i>>8), byte(i))})
		}
		m.Compress = true
		return m
	})
	r := run(t, check.Options{"server": server}, check.Env{}, long)
	want(t, r, check.OK)
	wantFact(t, r, "answers_count", 1000)
	// Without a signature it proves nothing, and costs no more.
	begin := time.Now()
	anchor := "test. DS 1 13 2 " + strings.Repeat("0", 64)
	want(t, run(t, check.Options{"server": server, "anchors": []string{anchor}}, check.Env{Now: checktest.Epoch}, long), check.DNSBogus)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

// TestServerWithoutDNSSEC strips what proves an answer.
func TestServerWithoutDNSSEC(t *testing.T) {
	anchor := "test. DS 1 13 2 " + strings.Repeat("0", 64)
	server := serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
		if q.Question[0].Qtype == mdns.TypeDNSKEY {
			return reply(t, q, 0, "test. 60 IN DNSKEY 257 3 13 "+strings.Repeat("A", 86)+"==")
		}
		return reply(t, q, 0, "motcua.test. 60 IN A 192.0.2.1")
	})
	r := run(t, check.Options{"server": server, "anchors": []string{anchor}}, check.Env{Now: checktest.Epoch}, long)
	want(t, r, check.NotSupported)
	if r.State != check.Unknown {
		t.Errorf("state %s", r.State)
	}
	// One that fails at the keys proves nothing either way.
	for rcode, reason := range map[int]check.Reason{mdns.RcodeServerFailure: check.DNSServfail, mdns.RcodeRefused: check.DNSRefused} {
		server := serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
			if q.Question[0].Qtype == mdns.TypeDNSKEY {
				return reply(t, q, rcode)
			}
			return reply(t, q, 0, "motcua.test. 60 IN A 192.0.2.1")
		})
		r := run(t, check.Options{"server": server, "anchors": []string{anchor}}, check.Env{Now: checktest.Epoch}, long)
		want(t, r, reason)
		if !strings.Contains(r.Detail, "DNSKEY of test.") {
			t.Errorf("detail %q", r.Detail)
		}
	}
}

// TestServfailOrBogus tells a server that will not hand out what it found bogus from one that fails.
func TestServfailOrBogus(t *testing.T) {
	for _, tc := range []struct {
		name      string
		unchecked bool // it answers when it need not validate
		recursion bool
		want      check.Reason
	}{{"fails", false, true, check.DNSServfail}, {"found it bogus", true, true, check.DNSBogus}, {"is the zone's own", true, false, check.DNSServfail}} {
		server := serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
			if q.CheckingDisabled && tc.unchecked {
				return reply(t, q, 0, "motcua.test. 60 IN A 192.0.2.1")
			}
			return reply(t, q, mdns.RcodeServerFailure)
		})
		t.Run(tc.name, func(t *testing.T) {
			want(t, run(t, check.Options{"server": server, "recursion": tc.recursion}, check.Env{}, long), tc.want)
		})
	}
}

func TestMoreOptionsThatCannotHold(t *testing.T) {
	anchor := "test. DS 1 13 2 " + strings.Repeat("0", 64)
	for _, tc := range []struct {
		name string
		o    check.Options
		want string
	}{
		{"no anchor", check.Options{"anchors": []string{"motcua.test. A 192.0.2.1"}}, "anchors"},
		{"anchor of another zone", check.Options{"anchors": []string{"other" + anchor}}, "anchors"},
		{"proof of any type", check.Options{"anchors": []string{anchor}, "type": "ANY"}, "anchors"},
		{"signed without anchors", check.Options{"signed": true}, "signed"},
		{"the system's servers by TLS", check.Options{"protocol": protocolTLS}, "protocol"},
		{"no path", check.Options{"protocol": protocolHTTPS, "server": "127.0.0.1:443", "doh_path": "dns-query"}, "doh_path"},
		{"a path with a template", check.Options{"protocol": protocolHTTPS, "server": "127.0.0.1:443", "doh_path": "/dns-query{?dns}"}, "doh_path"},
		{"no fingerprint", check.Options{"protocol": protocolTLS, "server": "127.0.0.1:853", "distrusted": []string{"x"}}, "distrusted"},
		{"no reference", check.Options{"reference": "192.0.2.1"}, "reference"},
		{"ipv6 of another type", check.Options{"ipv6": true, "type": "AAAA"}, "ipv6"},
	} {
		if _, err := dnsKind().New(options(tc.o), check.Env{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("option %q", tc.want)) {
			t.Errorf("%s: %v, want an error that names the option %s", tc.name, err, tc.want)
		}
	}
}
