package control

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"egovmon/agent/check"
)

// upsd answers on loopback as Network UPS Tools do: a line asked for, the lines answered.
func upsd(t *testing.T, answers map[string]string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for in := bufio.NewScanner(conn); in.Scan(); {
					answer, ok := answers[in.Text()]
					if !ok {
						answer = "ERR UNKNOWN-COMMAND\n"
					}
					if _, err := conn.Write([]byte(answer)); err != nil || answer == "" {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestNUT(t *testing.T) {
	list := "BEGIN LIST UPS\nUPS apc \"the office's\"\nEND LIST UPS\n"
	status := func(s string) map[string]string {
		return map[string]string{"LIST UPS": list, "GET VAR apc ups.status": "VAR apc ups.status \"" + s + "\"\n"}
	}
	for _, tt := range []struct {
		name    string
		answers map[string]string
		reason  check.Reason
		ups     float64
		says    string
	}{
		{"on line", status("OL CHRG"), check.OK, 1, "healthy"},
		{"on battery", status("OB DISCHRG"), check.ControlPartial, 1, "the UPS feeds this machine"},
		{"nearly empty", status("OB LB"), check.ControlFail, 1, "nearly empty"},
		{"on line with a low battery", status("OL LB CHRG"), check.ControlPartial, 1, "battery is low"},
		{"no UPS", map[string]string{"LIST UPS": "BEGIN LIST UPS\nEND LIST UPS\n"}, check.OK, 0, ""},
		{"stale", map[string]string{"LIST UPS": list, "GET VAR apc ups.status": "ERR DATA-STALE\n"}, check.NotSupported, 0, "DATA-STALE"},
		{"nobody is let in", map[string]string{"LIST UPS": "ERR ACCESS-DENIED\n"}, check.NoPermission, 0, "ACCESS-DENIED"},
		{"another program", map[string]string{"LIST UPS": "HTTP/1.1 400 Bad Request\n"}, check.NotSupported, 0, "no upsd"},
		{"hangs up", map[string]string{"LIST UPS": ""}, check.NotSupported, 0, "the UPS"},
		{"a list without end", map[string]string{"LIST UPS": "BEGIN LIST UPS\n" + strings.Repeat("UPS x\n", 100000)}, check.NotSupported, 0, "no upsd"},
		{"a line without end", map[string]string{"LIST UPS": strings.Repeat("x", 100000)}, check.NotSupported, 0, "the UPS"},
		{"another UPS's state", map[string]string{"LIST UPS": list, "GET VAR apc ups.status": "VAR eaton ups.status \"OL\"\n"}, check.NotSupported, 0, "no upsd"},
	} {
		sys := system{upkeep: func(context.Context) (upkeep, error) { return upkeep{disks: 1, verdict: true}, nil }, network: from(netip.Addr{})}
		o := check.Options{"id": upkeepPower, "ups": upsd(t, tt.answers)}
		r := judged(t, sys, o)
		if n, _ := r.Facts.Get("ups_count"); r.Reason != tt.reason || n != tt.ups || !strings.Contains(r.Detail, tt.says) {
			t.Errorf("%s: %s (%s), %v UPS; want %s, %v", tt.name, r.Reason, r.Detail, n, tt.reason, tt.ups)
		}
		if got := targets(o); len(got) != 1 || got[0] != "127.0.0.1" {
			t.Errorf("%s: it talks to %v", tt.name, got)
		}
	}
	// Without a server the machine is what it is.
	sys := system{upkeep: func(context.Context) (upkeep, error) { return upkeep{disks: 1, faulty: 1}, nil }, network: from(netip.Addr{})}
	if r := judged(t, sys, check.Options{"id": upkeepPower, "ups": "127.0.0.1:1"}); r.Reason != check.ControlFail {
		t.Errorf("a failing disk beside a dead UPS server: %s (%s)", r.Reason, r.Detail)
	}
}
