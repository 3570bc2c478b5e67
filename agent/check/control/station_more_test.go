package control

import (
	"context"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"egovmon/agent/check"
)

// TestMoreOfAStation reads agents, forwarders, locks, autorun and programs of a Windows machine.
func TestMoreOfAStation(t *testing.T) {
	const (
		service = `system\currentcontrolset\services\`
		system1 = `software\microsoft\windows\currentversion\policies\system`
		shell   = `software\microsoft\windows\currentversion\policies\explorer`
		list    = `software\microsoft\windows\currentversion\uninstall`
		forward = `software\policies\microsoft\windows\eventlog\eventforwarding\subscriptionmanager`
	)
	type keys = map[string]map[string]any
	on := func(name string) keys { return keys{service + name: {"start": uint64(2)}} }
	to := check.Options{"addresses": []string{"10.20.0.9:1514"}}
	for _, tt := range []struct {
		name, id string
		with     check.Options
		keys     keys
		change   func(*station)
		want     check.Reason
		detail   string
	}{
		{"no agent", "m03", check.Options{"required": true}, nil, nil, check.ControlFail, "no agent"},
		{"an agent, connected", "m03", to, on("wazuhsvc"), nil, check.OK, "WazuhSvc"},
		{"not connected", "m03", to, on("sense"), func(s *station) {
			s.connected = func(context.Context, []netip.AddrPort) (int, error) { return 0, nil }
		}, check.ControlFail, "connected to none"},
		{"its service is stopped", "m03", nil, on("sense"), func(s *station) { s.running = func(string) (bool, error) { return false, nil } }, check.ControlPartial, "no agent"},
		{"services cannot be asked", "m03", nil, on("sense"), func(s *station) { s.running = func(string) (bool, error) { return false, errDenied } }, check.NoPermission, ""},
		{"no forwarder", "m18", nil, nil, nil, check.ControlFail, "nothing forwards"},
		{"a forwarder", "m18", to, on("winlogbeat"), nil, check.OK, "winlogbeat"},
		{"Windows' own", "m18", to, keys{forward: {"1": "Server=http://soc.tinh.vn:5985/wsman"}}, nil, check.OK, "WinRM"},
		{"a setting of the wrong type", "m18", to, keys{forward: {"1": uint64(1)}}, nil, check.NotSupported, "forwarding of events"},
		{"locked in time", "m13", nil, keys{system1: {"inactivitytimeoutsecs": uint64(900)}}, nil, check.OK, ""},
		{"locked late", "m13", nil, keys{system1: {"inactivitytimeoutsecs": uint64(1800)}}, nil, check.ControlFail, "30 minutes"},
		{"no policy", "m13", nil, nil, nil, check.NotSupported, "own setting"},
		{"a policy of the wrong type", "m13", nil, keys{system1: {"inactivitytimeoutsecs": "900"}}, nil, check.NotSupported, ""},
		{"any number of tries", "m13", nil, nil, func(s *station) { s.lockout = func() (int, error) { return 0, nil } }, check.ControlFail, "lock no account"},
		{"the lock cannot be asked", "m13", nil, nil, func(s *station) { s.lockout = func() (int, error) { return 0, errDenied } }, check.NoPermission, ""},
		{"autorun as it comes", "m14", nil, nil, nil, check.ControlPartial, "no policy"},
		{"autorun off", "m14", nil, keys{shell: {"nodrivetypeautorun": uint64(255)}}, nil, check.OK, ""},
		{"autorun off for some drives", "m14", nil, keys{shell: {"nodrivetypeautorun": uint64(145)}}, nil, check.ControlPartial, ""},
		{"no disks at USB", "m14", nil, keys{service + "usbstor": {"start": uint64(4)}}, nil, check.OK, "not taken"},
		{"autorun of the wrong type", "m14", nil, keys{shell: {"nodrivetypeautorun": "255"}}, nil, check.NotSupported, ""},
		{"programs", "m23", nil, keys{list + `\unikey`: {"displayname": "UniKey 4.3"}}, nil, check.OK, "1 programs"},
		{"a program to break licences", "m23", nil, keys{list + `\x`: {"displayname": "KMSpico v10"}, list + `\y`: {"displayname": uint64(1)}}, nil, check.ControlFail, "1 of 1"},
		{"no list", "m23", nil, nil, nil, check.NotSupported, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := office(t, "good")
			e := s.registry.(export)
			maps.Copy(e, tt.keys)
			s.running = func(string) (bool, error) { return true, nil }
			s.lockout = func() (int, error) { return 5, nil }
			s.connected = func(_ context.Context, c []netip.AddrPort) (int, error) { return len(c), nil }
			if tt.change != nil {
				tt.change(&s)
			}
			o := check.Options{"id": tt.id}
			maps.Copy(o, tt.with)
			r := judged(t, s.system(), o)
			if r.Reason != tt.want || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("%s %q, want %s %q", r.Reason, r.Detail, tt.want, tt.detail)
			}
		})
	}
}
