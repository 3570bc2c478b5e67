package control

import (
	"fmt"
	"io/fs"
	"net/netip"
	"testing"
	"time"

	"egovmon/agent/check"
)

var errDenied = fmt.Errorf("made up: %w", fs.ErrPermission)

func TestJudgeFirewall(t *testing.T) {
	tests := []struct {
		in   firewall
		want check.Reason
	}{
		{firewall{true, 2, 2}, check.OK},
		{firewall{false, 1, 1}, check.OK},
		{firewall{true, 2, 1}, check.ControlPartial},
		{firewall{true, 2, 0}, check.ControlFail},
		{firewall{}, check.ControlFail},
	}
	for _, tt := range tests {
		r := judgeFirewall(tt.in)
		declared(t, r)
		if r.Reason != tt.want {
			t.Errorf("%+v: %s, want %s", tt.in, r.Reason, tt.want)
		}
		wantFacts(t, r, map[string]float64{"firewall_closed_count": float64(tt.in.closed), "firewall_rules_code": yes01(tt.in.rules)})
	}
}

func TestJudgePatches(t *testing.T) {
	ago := func(days float64) time.Time { return testNow.Add(-time.Duration(days * float64(day))) }
	l := &limits{maxAge: 31 * day, failAge: 62 * day}
	tests := []struct {
		name string
		in   patches
		want check.Reason
		age  float64
	}{
		{"young", patches{last: ago(3), begins: ago(300)}, check.OK, 3 * 86400},
		{"at the limit", patches{last: ago(31)}, check.OK, 31 * 86400},
		{"old", patches{last: ago(32)}, check.ControlPartial, 32 * 86400},
		{"too old", patches{last: ago(63)}, check.ControlFail, 63 * 86400},
		{"restart needed", patches{last: ago(1), reboot: true}, check.ControlPartial, 86400},
		{"too old, restart needed", patches{last: ago(90), reboot: true}, check.ControlFail, 90 * 86400},
		{"never, long record", patches{begins: ago(40)}, check.ControlFail, -1},
		{"never, short record", patches{begins: ago(2)}, check.ControlPartial, -1},
		{"no record", patches{}, check.NotSupported, -1},
		{"in the future", patches{last: ago(-1)}, check.ControlPartial, -1},
		{"a moment ahead", patches{last: ago(-0.001)}, check.OK, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := judgePatches(tt.in, l, testNow)
			declared(t, r)
			if r.Reason != tt.want {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
			wantFacts(t, r, map[string]float64{"age_s": tt.age})
		})
	}
}

func TestJudgeListeners(t *testing.T) {
	at := func(a string, port uint16, udp bool) listener { return listener{netip.MustParseAddr(a), port, udp} }
	tests := []struct {
		name    string
		allowed []string
		in      []listener
		want    check.Reason
		seen    float64
		strange float64
		lowest  float64
	}{
		{"nothing", nil, nil, check.OK, 0, 0, -1},
		{"loopback is no exposure", nil, []listener{at("127.0.0.1", 25, false), at("::1", 631, false), at("127.0.0.53", 53, true)}, check.OK, 0, 0, -1},
		{"allowed", []string{"22", "53/udp"}, []listener{at("0.0.0.0", 22, false), at("::", 22, false), at("10.0.0.1", 53, true)}, check.OK, 2, 0, -1},
		{"other protocol", []string{"53/udp"}, []listener{at("0.0.0.0", 53, false)}, check.ControlFail, 1, 1, 53},
		{"remote control", []string{"22/tcp"}, []listener{at("0.0.0.0", 22, false), at("::", 5900, false), at("0.0.0.0", 3389, false)}, check.ControlFail, 3, 2, 3389},
		{"a range", []string{"5000-5002"}, []listener{at("0.0.0.0", 5000, false), at("0.0.0.0", 5002, true), at("0.0.0.0", 5003, false)}, check.ControlFail, 3, 1, 5003},
		{"asking by UDP is no offer", nil, []listener{at("0.0.0.0", 40000, true)}, check.OK, 0, 0, -1},
		{"TCP on a high port is one", nil, []listener{at("0.0.0.0", 40000, false)}, check.ControlFail, 1, 1, 40000},
		{"UDP on a low port is one", nil, []listener{at("0.0.0.0", 161, true)}, check.ControlFail, 1, 1, 161},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := readLimits(check.Options{"allowed_ports": tt.allowed}, listeningPorts)
			if err != nil {
				t.Fatal(err)
			}
			r := judgeListeners(listeners{tt.in, 32768}, l)
			declared(t, r)
			if r.Reason != tt.want {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
			wantFacts(t, r, map[string]float64{"listening_count": tt.seen, "unexpected_count": tt.strange, "unexpected_port_code": tt.lowest})
		})
	}
}

func TestJudgeAccounts(t *testing.T) {
	l := &limits{maxCount: 2}
	tests := []struct {
		name string
		in   accounts
		l    *limits
		want check.Reason
	}{
		{"few", accounts{administrators: 2, uid0: 1}, l, check.OK},
		{"many", accounts{administrators: 3, uid0: 1}, l, check.ControlFail},
		{"a second root", accounts{administrators: 2, uid0: 2}, l, check.ControlFail},
		{"no password", accounts{administrators: 1, uid0: 1, passwordless: 1, sudoRead: true}, l, check.ControlFail},
		{"no password, allowed", accounts{administrators: 1, uid0: 1, passwordless: 1, sudoRead: true}, &limits{maxCount: 2, passwordless: true}, check.OK},
		{"automatic", accounts{administrators: 1, uid0: 1, autologon: 1}, l, check.ControlFail},
		{"sudo hidden", accounts{administrators: 1, uid0: 1, unread: []string{"the rules of sudo"}, denied: true}, l, check.NoPermission},
		{"sudo odd", accounts{administrators: 1, uid0: 1, unread: []string{"the rules of sudo"}}, l, check.NotSupported},
		{"sudo hidden, but a fault is seen", accounts{administrators: 9, uid0: 1, unread: []string{"the rules of sudo"}, denied: true}, l, check.ControlFail},
		{"Windows", accounts{administrators: 1, uid0: -1}, l, check.OK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := judgeAccounts(tt.in, tt.l)
			declared(t, r)
			if r.Reason != tt.want {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
			passwordless := -1.0
			if tt.in.sudoRead {
				passwordless = float64(tt.in.passwordless)
			}
			wantFacts(t, r, map[string]float64{"administrators_count": float64(tt.in.administrators), "uid0_count": float64(tt.in.uid0), "passwordless_count": passwordless})
		})
	}
}

func TestJudgeClock(t *testing.T) {
	l := &limits{maxOffset: time.Minute, maxAge: 8 * day}
	chrony := []string{"chronyd"}
	tests := []struct {
		name string
		in   clock
		want check.Reason
	}{
		{"good", clock{known: true, synchronised: true, services: chrony, offset: new(0.004), maxError: new(0.02)}, check.OK},
		{"without a known service", clock{known: true, synchronised: true, offset: new(-0.004)}, check.OK},
		{"far behind", clock{known: true, synchronised: true, services: chrony, offset: new(-61.0)}, check.ControlPartial},
		{"not yet", clock{known: true, services: chrony}, check.ControlPartial},
		{"nobody", clock{known: true}, check.ControlFail},
		{"nobody seen", clock{known: true, hidden: true}, check.ControlFail},
		{"off", clock{known: true, synchronised: true, off: true}, check.ControlFail},
		{"unknown", clock{services: chrony}, check.NotSupported},
		{"long ago", clock{known: true, synchronised: true, services: chrony, last: testNow.Add(-9 * day)}, check.ControlPartial},
		{"lately", clock{known: true, synchronised: true, services: chrony, last: testNow.Add(-7 * day)}, check.OK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := judgeClock(tt.in, l, testNow)
			declared(t, r)
			if r.Reason != tt.want {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
		})
	}
}

func TestJudgeBackups(t *testing.T) {
	file := func(hours float64, size int64) backupFile {
		return backupFile{testNow.Add(-time.Duration(hours * float64(time.Hour))), size}
	}
	l := &limits{maxAge: 24 * time.Hour, failAge: 48 * time.Hour, minBytes: 100}
	tests := []struct {
		name string
		in   backups
		want check.Reason
	}{
		{"good", backups{2, file(5, 1000), file(29, 2000), false}, check.OK},
		{"late", backups{1, file(25, 1000), backupFile{}, false}, check.ControlPartial},
		{"too late", backups{1, file(49, 1000), backupFile{}, false}, check.ControlFail},
		{"small", backups{1, file(5, 99), backupFile{}, false}, check.ControlFail},
		{"with the data", backups{1, file(5, 1000), backupFile{}, true}, check.ControlPartial},
		{"too late and with the data", backups{1, file(49, 1000), backupFile{}, true}, check.ControlFail},
		{"from the future", backups{1, file(-5, 1000), backupFile{}, false}, check.ControlPartial},
		{"none", backups{}, check.ControlFail},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := judgeBackups(tt.in, l, testNow)
			declared(t, r)
			if r.Reason != tt.want {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
		})
	}
	wantFacts(t, judgeBackups(tests[0].in, l, testNow), map[string]float64{"age_s": 5 * 3600, "backup_bytes": 1000, "backup_size_ratio": 0.5, "backups_count": 2, "same_device_code": 0})
	wantFacts(t, judgeBackups(backups{}, l, testNow), map[string]float64{"age_s": -1, "backup_bytes": -1, "backups_count": 0})
}

func TestJudgeNames(t *testing.T) {
	at := func(name, a string) allowedHost { return allowedHost{name, netip.MustParseAddr(a)} }
	sum := [32]byte{1, 2, 3, 4, 5, 6, 7}
	const hash = "0102030405060700000000000000000000000000000000000000000000000000"
	tests := []struct {
		name string
		with check.Options
		in   names
		want check.Reason
	}{
		{"clean", nil, names{hosts: hosts{entries: 3, sum: sum}, resolvers: []string{"10.0.0.1"}}, check.OK},
		{"no file", nil, names{hosts: hosts{absent: true}}, check.OK},
		{"a government name", nil, names{hosts: hosts{entries: 3, watched: []allowedHost{at("dichvucong.gov.vn", "203.0.113.9")}}}, check.ControlFail},
		{"allowed", check.Options{"allowed_hosts": []string{"mc.gov.vn"}}, names{hosts: hosts{watched: []allowedHost{at("mc.gov.vn", "10.1.2.3")}}}, check.OK},
		{"allowed at its address", check.Options{"allowed_hosts": []string{"mc.gov.vn=10.1.2.3"}}, names{hosts: hosts{watched: []allowedHost{at("mc.gov.vn", "10.1.2.3")}}}, check.OK},
		{"elsewhere", check.Options{"allowed_hosts": []string{"mc.gov.vn=10.1.2.3"}}, names{hosts: hosts{watched: []allowedHost{at("mc.gov.vn", "203.0.113.9")}}}, check.ControlFail},
		{"expected", check.Options{"sha256": hash}, names{hosts: hosts{sum: sum}}, check.OK},
		{"changed", check.Options{"sha256": hash}, names{hosts: hosts{sum: [32]byte{9}}}, check.ControlPartial},
		{"resolver allowed", check.Options{"resolvers": []string{"10.0.0.1"}}, names{resolvers: []string{"10.0.0.1"}}, check.OK},
		{"resolver strange", check.Options{"resolvers": []string{"10.0.0.1"}}, names{resolvers: []string{"10.0.0.1", "203.0.113.53"}}, check.ControlFail},
		{"resolvers hidden", check.Options{"resolvers": []string{"10.0.0.1"}}, names{unread: errDenied}, check.NoPermission},
		{"resolvers hidden, not asked for", nil, names{unread: errDenied}, check.OK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := readLimits(tt.with, hostsFile)
			if err != nil {
				t.Fatal(err)
			}
			r := judgeNames(tt.in, l)
			declared(t, r)
			if r.Reason != tt.want {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
			serial := float64(0x010203040506)
			if tt.in.sum == sum {
				wantFacts(t, r, map[string]float64{"hosts_hash_serial": serial})
			}
		})
	}
}
