package servers

import (
	"net"
	"testing"

	"egovmon/agent/check"
)

func TestSNMP(t *testing.T) {
	need(t, "snmpd")
	places(t, func(t *testing.T, p Place) {
		s := must[*SNMP](t)(StartSNMP(t.Context(), p, SNMPConfig{Community: "public"}))
		defer s.Stop()
		host, port, err := net.SplitHostPort(s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		device := func(reason check.Reason) look {
			n := int64(0)
			for _, c := range port {
				n = 10*n + int64(c-'0')
			}
			return look{kind: "device", with: check.Options{"host": host, "ping": false, "snmp": "v2c", "snmp_port": n}, reason: reason}
		}
		walk(t, []step{
			{"on", nil, device(check.OK)},
			{"off", func() error { return s.Halt(true) }, device(check.ConnectRefused)},
			{"on again", func() error { return s.Halt(false) }, device(check.OK)},
		})
	})
	if _, err := StartSNMP(t.Context(), localhost(t), SNMPConfig{Community: "two words"}); err == nil {
		t.Error("a community of two words was taken")
	}
}
