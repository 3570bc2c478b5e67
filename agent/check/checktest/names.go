package checktest

import (
	"net"
	"testing"

	mdns "github.com/miekg/dns"
)

// AnswerNames answers the questions that come to a socket for datagrams, until the test ends. answer fills in m, which is a reply to q without a
// record; when it returns false, nothing is said.
func AnswerNames(t testing.TB, c net.PacketConn, answer func(m, q *mdns.Msg) bool) {
	t.Helper()
	ready, done := make(chan struct{}), make(chan struct{})
	s := &mdns.Server{PacketConn: c, NotifyStartedFunc: func() { close(ready) }, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetReply(q)
		m.RecursionAvailable = true
		if answer(m, q) {
			_ = w.WriteMsg(m)
		}
	})}
	go func() { defer close(done); _ = s.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() { _ = s.Shutdown(); <-done })
}
