package portal

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// resolver answers questions for CAA from zone lines; a name that has no line does not exist.
func resolver(t *testing.T, rcode int, zone string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	checktest.AnswerNames(t, conn, func(m, q *mdns.Msg) bool {
		m.Rcode = rcode
		for line := range strings.Lines(zone) {
			rr, err := mdns.NewRR(line)
			if err != nil {
				t.Error(err)
			} else if rr.Header().Name == q.Question[0].Name {
				m.Answer = append(m.Answer, rr)
			}
		}
		return true
	})
	return conn.LocalAddr().String()
}

func TestHTTPCAA(t *testing.T) {
	url := webServer(t, func(http.ResponseWriter, *http.Request) {})
	port := netip.MustParseAddrPort(strings.TrimPrefix(url, "http://")).Port()
	for _, tt := range []struct {
		name   string
		rcode  int
		zone   string
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{"the right one", 0, "localhost. CAA 0 issue \"CA.test; account=1\"\nlocalhost. CAA 0 iodef \"mailto:a@b\"", check.OK, "", map[string]float64{"caa_count": 1}},
		{"nobody", 0, "localhost. CAA 0 issue \";\"", check.OK, "", nil},
		{"none", 0, "", check.WeakTLS, "no CAA record", map[string]float64{"caa_count": 0}},
		{"another too", 0, "localhost. CAA 0 issue \"ca.test\"\nlocalhost. CAA 0 issue \"other.test\"", check.WeakTLS, `also name "other.test"`, map[string]float64{"caa_count": 2}},
		{"only wildcards", 0, "localhost. CAA 0 issuewild \"ca.test\"", check.WeakTLS, "no CAA record", nil},
		{"the resolver fails", mdns.RcodeServerFailure, "", check.Partial, "CAA records cannot be had", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": "http://localhost:" + netip.AddrPortFrom(netip.IPv4Unspecified(), port).String()[len("0.0.0.0:"):], "family": "ip4", "caa": []string{"ca.test"}, "server": resolver(t, tt.rcode, tt.zone)}
			want{tt.reason, tt.detail, tt.facts}.of(t, checktest.NewFunc(t, httpKind(), o, check.Env{}))
		})
	}
}
