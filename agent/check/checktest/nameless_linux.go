package checktest

import (
	"net"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
)

// Nameless is a World with a site "pc" whose resolver knows no name: what it says is the name's first label, silent, fails or
// refuses; anything else does not exist.
func Nameless(t testing.TB) *World {
	t.Helper()
	w := NewWorld(t)
	w.Site("pc", false)
	w.Resolver("pc", "127.0.0.1")
	var u net.PacketConn
	w.Do("pc", func() (err error) {
		u, err = net.ListenPacket("udp", "127.0.0.1:53")
		return err
	})
	t.Cleanup(func() { u.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			var q, m mdns.Msg
			if q.Unpack(buf[:n]) != nil {
				continue
			}
			switch label, _, _ := strings.Cut(q.Question[0].Name, "."); label {
			case "silent":
				continue
			case "fails":
				m.SetRcode(&q, mdns.RcodeServerFailure)
			case "refuses":
				m.SetRcode(&q, mdns.RcodeRefused)
			default:
				m.SetRcode(&q, mdns.RcodeNameError)
			}
			if b, err := m.Pack(); err == nil {
				_, _ = u.WriteTo(b, from)
			}
		}
	}()
	return w
}
