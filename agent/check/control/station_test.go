package control

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf16"

	"egovmon/agent/check"
)

// An export is a registry as "reg export" writes it, keys and names in lower case: uint64, string or other.
type export map[string]map[string]any

// readExport reads the named exports, later ones over earlier ones.
func readExport(t *testing.T, names ...string) export {
	t.Helper()
	e := export{}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join("testdata", "registry", name+".reg"))
		if err != nil {
			t.Fatal(err)
		}
		key := ""
		text := strings.NewReplacer("\r\n", "\n", ",\\\n  ", ",").Replace(string(b))
		for line := range strings.SplitSeq(text, "\n") {
			switch {
			case strings.HasPrefix(line, "["):
				key = strings.ToLower(strings.TrimPrefix(strings.Trim(line, "[]"), `HKEY_LOCAL_MACHINE\`))
				if e[key] == nil {
					e[key] = map[string]any{}
				}
			case strings.HasPrefix(line, `"`):
				name, value, _ := strings.Cut(line[1:], `"=`)
				e[key][strings.ToLower(name)] = exported(t, value)
			}
		}
	}
	return e
}

func exported(t *testing.T, value string) any {
	t.Helper()
	kind, data, _ := strings.Cut(value, ":")
	if strings.HasPrefix(value, `"`) {
		kind = `"`
	}
	octets := func() []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(data, ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	switch kind {
	case `"`:
		return strings.ReplaceAll(strings.Trim(value, `"`), `\\`, `\`)
	case "dword":
		n, err := strconv.ParseUint(data, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		return n
	case "hex(b)":
		var n uint64
		for i, b := range octets() {
			n |= uint64(b) << (8 * i)
		}
		return n
	case "hex(2)":
		var u []uint16
		for b := octets(); len(b) > 1; b = b[2:] {
			u = append(u, uint16(b[0])|uint16(b[1])<<8)
		}
		return strings.TrimRight(string(utf16.Decode(u)), "\x00")
	}
	return octets()
}

var errType = errors.New("unexpected key value type")

func (e export) value(key, name string) (any, error) {
	v, ok := e[strings.ToLower(key)][strings.ToLower(name)]
	if !ok {
		return nil, fmt.Errorf("the system cannot find the file specified: %w", fs.ErrNotExist)
	}
	return v, nil
}

func (e export) Number(key, name string) (uint64, error) {
	v, err := e.value(key, name)
	n, ok := v.(uint64)
	if err == nil && !ok {
		err = errType
	}
	return n, err
}

func (e export) Text(key, name string) (string, error) {
	v, err := e.value(key, name)
	s, ok := v.(string)
	if err == nil && !ok {
		err = errType
	}
	return s, err
}

func (e export) Bytes(key, name string) ([]byte, error) {
	v, err := e.value(key, name)
	b, ok := v.([]byte)
	if err == nil && !ok {
		err = errType
	}
	return b, err
}

func (e export) Keys(key string) (names []string, err error) {
	prefix := strings.ToLower(key)
	found := e[prefix] != nil
	for k := range e {
		if rest, ok := strings.CutPrefix(k, prefix+`\`); ok {
			found = true
			if !strings.Contains(rest, `\`) {
				names = append(names, strings.Replace(rest, "package_for_", "Package_for_", 1))
			}
		}
	}
	if !found {
		return nil, fs.ErrNotExist
	}
	return names, nil
}

// closedKeys is a registry that the account may not read.
type closedKeys struct{}

func (closedKeys) Number(string, string) (uint64, error) { return 0, errDenied }
func (closedKeys) Text(string, string) (string, error)   { return "", errDenied }
func (closedKeys) Bytes(string, string) ([]byte, error)  { return nil, errDenied }
func (closedKeys) Keys(string) ([]string, error)         { return nil, errDenied }

// office is a Windows PC of a commune on which all is well.
func office(t *testing.T, exports ...string) station {
	return station{
		registry:  readExport(t, append([]string{"good"}, exports...)...),
		running:   func(string) (bool, error) { return true, nil },
		otherWall: func() (bool, error) { return false, nil },
		sockets: func(context.Context) ([]listener, error) {
			return []listener{{netip.MustParseAddr("0.0.0.0"), 135, false}, {netip.MustParseAddr("::"), 135, false}, {netip.MustParseAddr("0.0.0.0"), 51000, true}, {netip.MustParseAddr("127.0.0.1"), 19100, false}}, nil
		},
		admins:      func() ([]member, error) { return []member{{disabled: true}, {}, {}}, nil },
		nameServers: func() ([]string, error) { return []string{"10.1.2.3"}, nil },
		volume: func(name string) fs.FS {
			return map[string]fs.FS{
				"C:": fstest.MapFS{"Windows/System32/drivers/etc/hosts": {Data: []byte("# Copyright\r\n127.0.0.1 localhost\r\n")}},
				"D:": fstest.MapFS{
					"moved/hosts":     {Data: []byte("\xef\xbb\xbf203.0.113.9 dichvucong.gov.vn\r\n")},
					"Sao lưu/m1c.bak": {Data: []byte("x"), ModTime: testNow.Add(-time.Hour)},
				},
				"//nas/saoluu": fstest.MapFS{"tu-ky/m1c.bak": {Data: []byte("x"), ModTime: testNow.Add(-30 * time.Hour)}},
			}[name]
		},
		device: func(p string) (uint64, error) {
			if p == "C:/" {
				return 'C', nil
			}
			return uint64(p[0]), nil
		},
		variables: func(name string) string {
			return map[string]string{"systemroot": `C:\Windows`, "systemdrive": "C:"}[strings.ToLower(name)]
		},
	}
}

func TestStation(t *testing.T) {
	stopped := func(s *station) { s.running = func(string) (bool, error) { return false, nil } }
	unasked := func(s *station) { s.running = func(string) (bool, error) { return false, errDenied } }
	other := func(s *station) { s.otherWall = func() (bool, error) { return true, nil } }
	server := func(s *station) { s.otherWall = func() (bool, error) { return false, fs.ErrNotExist } }
	closed := func(s *station) {
		s.registry = closedKeys{}
		s.sockets = func(context.Context) ([]listener, error) { return nil, errDenied }
		s.admins = func() ([]member, error) { return nil, errDenied }
	}
	tests := []struct {
		name    string
		id      string
		exports []string
		with    check.Options
		change  func(*station)
		want    check.Reason
		facts   map[string]float64
	}{
		{"on", "m04", nil, nil, nil, check.OK, map[string]float64{"firewall_scopes_count": 3, "firewall_closed_count": 3, "firewall_rules_code": 0}},
		{"one profile off", "m04", []string{"public-off"}, nil, nil, check.ControlPartial, map[string]float64{"firewall_closed_count": 2}},
		{"off", "m04", []string{"all-off"}, nil, nil, check.ControlFail, map[string]float64{"firewall_closed_count": 0}},
		{"off on a server", "m04", []string{"all-off"}, nil, server, check.ControlFail, nil},
		{"off, another one on", "m04", []string{"all-off"}, nil, other, check.OK, nil},
		{"off, but by policy on", "m04", []string{"public-off", "policy-on"}, nil, nil, check.OK, nil},
		{"on, but lets all in", "m04", []string{"inbound-allowed"}, nil, nil, check.ControlPartial, nil},
		{"service disabled", "m04", []string{"service-disabled"}, nil, nil, check.ControlFail, nil},
		{"service stopped", "m04", nil, nil, stopped, check.ControlFail, nil},
		{"service not asked", "m04", nil, nil, unasked, check.OK, nil},
		{"wrong type", "m04", []string{"wrong-type"}, nil, nil, check.NotSupported, nil},
		{"rules asked for", "m04", nil, check.Options{"proof": "rules"}, nil, check.NotSupported, nil},
		{"closed", "m04", nil, nil, closed, check.NoPermission, nil},

		{"patched", "m05", nil, nil, nil, check.OK, map[string]float64{"age_s": 11*86400 + 7*3600, "reboot_pending_code": 0}},
		{"patched, too old", "m05", nil, check.Options{"max_age": 10 * day}, nil, check.ControlFail, nil},
		{"restart needed", "m05", []string{"reboot"}, nil, nil, check.ControlPartial, nil},
		{"never patched", "m05", []string{"no-updates"}, nil, nil, check.ControlFail, map[string]float64{"age_s": -1}},
		{"closed", "m05", nil, nil, closed, check.NoPermission, nil},

		{"ports", "m07", nil, check.Options{"allowed_ports": []string{"135"}}, nil, check.OK, map[string]float64{"listening_count": 1}},
		{"port not allowed", "m07", nil, check.Options{"allowed_ports": []string{}}, nil, check.ControlFail, map[string]float64{"unexpected_port_code": 135}},
		{"closed", "m07", nil, check.Options{"allowed_ports": []string{}}, closed, check.NoPermission, nil},

		{"administrators", "m10", nil, nil, nil, check.OK, map[string]float64{"administrators_count": 2, "uid0_count": -1, "autologon_count": 0}},
		{"too many", "m10", nil, check.Options{"max_count": int64(1)}, nil, check.ControlFail, nil},
		{"automatic", "m10", []string{"autologon"}, nil, nil, check.ControlFail, map[string]float64{"autologon_count": 1}},
		{"automatic, as a number", "m10", []string{"autologon-number"}, nil, nil, check.ControlFail, nil},
		{"automatic, wrong type", "m10", []string{"wrong-type"}, nil, nil, check.NotSupported, nil},
		{"closed", "m10", nil, nil, closed, check.NoPermission, nil},

		{"clock", "m16", nil, nil, nil, check.OK, map[string]float64{"age_s": 3*86400 + 3*3600, "synchronised_code": 1, "offset_s": -1}},
		{"right long ago", "m16", []string{"right-long-ago"}, nil, nil, check.ControlPartial, nil},
		{"right long ago, allowed", "m16", []string{"right-long-ago"}, check.Options{"max_age": 20 * day}, nil, check.OK, nil},
		{"follows nobody", "m16", []string{"nosync"}, nil, nil, check.ControlFail, nil},
		{"switched off", "m16", []string{"service-disabled"}, nil, nil, check.ControlFail, nil},
		{"not told", "m16", []string{"never-right"}, nil, nil, check.NotSupported, map[string]float64{"synchronised_code": -1}},
		{"wrong type", "m16", []string{"wrong-type"}, nil, nil, check.NotSupported, nil},
		{"closed", "m16", nil, nil, closed, check.NoPermission, nil},

		{"another drive", "m20", nil, check.Options{"path": `D:\Sao lưu\*.bak`}, nil, check.OK, map[string]float64{"age_s": 3600, "same_device_code": 0}},
		{"the data's drive", "m20", nil, check.Options{"path": `D:\Sao lưu`, "data_path": `D:\`}, nil, check.ControlPartial, nil},
		{"a share", "m20", nil, check.Options{"path": `\\nas\saoluu\tu-ky\*.bak`}, nil, check.ControlFail, map[string]float64{"age_s": 30 * 3600}},

		{"hosts", "m21", nil, nil, nil, check.OK, map[string]float64{"hosts_entries_count": 1, "resolvers_count": 1}},
		{"hosts moved", "m21", []string{"hosts-moved"}, nil, nil, check.ControlFail, map[string]float64{"hosts_unexpected_count": 1}},
		{"hosts moved oddly", "m21", []string{"hosts-relative"}, nil, nil, check.NotSupported, nil},
		{"resolver", "m21", nil, check.Options{"resolvers": []string{"10.1.2.4"}}, nil, check.ControlFail, nil},
		{"closed", "m21", nil, nil, closed, check.NoPermission, nil},
	}
	for _, tt := range tests {
		t.Run(tt.id+" "+tt.name, func(t *testing.T) {
			s := office(t, tt.exports...)
			if tt.change != nil {
				tt.change(&s)
			}
			o := check.Options{"id": tt.id}
			maps.Copy(o, tt.with)
			r := judged(t, s.system(), o)
			if r.Reason != tt.want {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
			wantFacts(t, r, tt.facts)
			if strings.Contains(r.Detail, "vanthu") || strings.Contains(r.Detail, `\`) {
				t.Errorf("the detail holds names: %s", r.Detail)
			}
		})
	}
}

func TestFileTime(t *testing.T) {
	for v, want := range map[uint64]time.Time{
		0: {}, 1: {}, 1 << 63: {},
		116444736000000000: time.Unix(0, 0),
		0x1dd78bcc24d1800:  time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC),
	} {
		if got := fileTime(v); !got.Equal(want) {
			t.Errorf("%d: %v, want %v", v, got, want)
		}
	}
}
