//go:build http3

package portal

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// Over QUIC the address of the server is told as over TCP.
func TestHTTP3TellsTheAddress(t *testing.T) {
	notLogged(t)
	a := checktest.NewAuthority(t, "portal.test")
	w, plain, _ := elsewhere(t, a)
	s := &http3.Server{TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, func(c *x509.Certificate) { c.IPAddresses = append(c.IPAddresses, net.ParseIP(otherAt)) })}}),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/round" {
				http.Redirect(w, r, fmt.Sprintf("https://%s/", otherAt+r.URL.Query().Get("port")), http.StatusFound)
			}
		})}
	var socket net.PacketConn
	w.Do("pc", func() (err error) {
		socket, err = net.ListenPacket("udp", "0.0.0.0:0")
		return err
	})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(socket) }()
	t.Cleanup(func() { _ = s.Close(); _ = socket.Close(); <-done })
	_, port, err := net.SplitHostPort(socket.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	told := func(o check.Options) (v float64) {
		f := checktest.NewFunc(t, httpKind(), o, check.Env{})
		w.Do("pc", func() error {
			r := f(context.WithoutCancel(t.Context()))
			if v, _ = r.Facts.Get("address_code"); r.Reason != check.OK {
				t.Errorf("%v: %s %q", o["url"], r.Reason, r.Detail)
			}
			return nil
		})
		return v
	}
	wanted := told(check.Options{"url": "http://" + toldAt + plain})
	for _, path := range []string{"/", "/round?port=:" + port} { // the first server's, wherever it leads
		o := check.Options{"url": "https://" + toldAt + ":" + port + path, "roots": a.Roots(), "server_name": "portal.test", "protocol": protocol3, "other_hosts": true}
		if got := told(o); got != wanted || got == 0 {
			t.Errorf("%s: %v, want %v", path, got, wanted)
		}
	}
}
