package portal

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// toldAt are addresses of a private network, which loopback's are not: of those nothing is told.
const toldAt, otherAt = "10.9.9.9", "10.9.9.8"

// elsewhere is a machine of a private network with a site at both addresses, plain and over TLS.
func elsewhere(t *testing.T, a *checktest.Authority) (w *checktest.World, plain, secure string) {
	t.Helper()
	w = checktest.NewWorld(t)
	w.Site("pc", false)
	w.IP("pc", "addr add "+toldAt+"/32 dev lo", "addr add "+otherAt+"/32 dev lo")
	s := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, loginForm) })}
	t.Cleanup(func() { _ = s.Close() })
	w.Do("pc", func() error {
		for _, secret := range []bool{false, true} {
			l, err := net.Listen("tcp", "0.0.0.0:0")
			if err != nil {
				return err
			}
			_, port, err := net.SplitHostPort(l.Addr().String())
			if err != nil {
				return err
			}
			if secret {
				secure, l = ":"+port, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}})
			} else {
				plain = ":" + port
			}
			go func() { _ = s.Serve(l) }()
		}
		return nil
	})
	return w, plain, secure
}

// The address of the server is told as a number, the same by every kind and another for another address.
func TestAddressIsTold(t *testing.T) {
	a := checktest.NewAuthority(t, "portal.test")
	w, plain, secure := elsewhere(t, a)
	codes := map[string]map[float64]bool{toldAt: {}, otherAt: {}}
	for _, at := range []string{toldAt, otherAt} {
		for _, one := range []struct {
			kind check.Kind
			with check.Options
		}{
			{httpKind(), check.Options{"url": "http://" + at + plain}},
			{httpKind(), check.Options{"url": "https://" + at + secure, "roots": a.Roots(), "server_name": "portal.test"}},
			{loginpageKind(), check.Options{"url": "http://" + at + plain}},
			{tlsKind(), check.Options{"address": at + secure, "roots": a.Roots(), "server_name": "portal.test"}},
		} {
			f := checktest.NewFunc(t, one.kind, one.with, check.Env{})
			w.Do("pc", func() error {
				r := f(context.WithoutCancel(t.Context()))
				v, _ := r.Facts.Get("address_code")
				if codes[at][v] = true; r.Reason != check.OK || v == 0 {
					t.Errorf("%s at %s: %s %q, address %v", one.kind.Name, at, r.Reason, r.Detail, v)
				}
				return nil
			})
		}
	}
	for v := range codes[toldAt] {
		if len(codes[toldAt]) != 1 || len(codes[otherAt]) != 1 || codes[otherAt][v] {
			t.Errorf("the addresses are told as %v", codes)
		}
	}
}

// CAA records are asked of the system's resolvers, and that there are none of those is told.
func TestCAAOfTheSystem(t *testing.T) {
	w := checktest.NewWorld(t)
	w.Site("pc", false)
	var port string
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.NotFoundHandler()}
	t.Cleanup(func() { _ = s.Close() })
	names := &mdns.Server{Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetReply(q)
		if rr, err := mdns.NewRR("localhost. CAA 0 issue \"ca.test\""); err == nil && q.Question[0].Qtype == mdns.TypeCAA {
			m.Answer = append(m.Answer, rr)
		}
		_ = w.WriteMsg(m)
	})}
	w.Do("pc", func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		if _, port, err = net.SplitHostPort(l.Addr().String()); err != nil {
			return err
		}
		go func() { _ = s.Serve(l) }()
		names.PacketConn, err = net.ListenPacket("udp", "127.0.0.1:53")
		return err
	})
	done := make(chan struct{})
	go func() { defer close(done); _ = names.ActivateAndServe() }()
	t.Cleanup(func() { _ = names.Shutdown(); <-done })
	plan := "{id: a.b, kind: http, every: 60s, path: lan, with: {url: 'http://localhost:" + port + "/', status: [404], family: ip4, caa: [ca.test]}}"
	for server, wanted := range map[string]want{
		"127.0.0.1": {check.OK, "", map[string]float64{"caa_count": 1}},
		"":          {check.Partial, "the system names no resolver", nil},
	} {
		w.Resolver("pc", server)
		for _, r := range w.Check("pc", checktest.Run{Plan: plan}) {
			wanted.check(t, r)
		}
	}
}
