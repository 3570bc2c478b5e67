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
	AnswerNames(t, u, func(m, q *mdns.Msg) bool {
		switch label, _, _ := strings.Cut(q.Question[0].Name, "."); label {
		case "silent":
			return false
		case "fails":
			m.Rcode = mdns.RcodeServerFailure
		case "refuses":
			m.Rcode = mdns.RcodeRefused
		default:
			m.Rcode = mdns.RcodeNameError
		}
		return true
	})
	return w
}
