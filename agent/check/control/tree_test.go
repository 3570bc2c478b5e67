package control

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"egovmon/agent/check"
)

// gives is a reader of rules that answers so.
func gives(chains []nftChain, err error) func(context.Context) ([]nftChain, error) {
	return func(context.Context) ([]nftChain, error) { return chains, err }
}

// stamp is when the files of a recorded tree were last written.
var stamp = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// readTree lays the named recordings over that of a Debian 12.
func readTree(t *testing.T, overlays ...string) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	for _, name := range append([]string{"debian12"}, overlays...) {
		a, err := txtar.ParseFile(filepath.Join("testdata", "tree", name+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			data := f.Data
			if rest, ok := bytes.CutPrefix(data, []byte("PACKED\n")); ok {
				var b bytes.Buffer
				z := gzip.NewWriter(&b)
				if _, err := z.Write(rest); err != nil {
					t.Fatal(err)
				}
				if err := z.Close(); err != nil {
					t.Fatal(err)
				}
				data = b.Bytes()
			}
			m[f.Name] = &fstest.MapFile{Data: data, Mode: 0o644, ModTime: stamp}
		}
	}
	return m
}

// A guarded tree refuses to open some paths and all below them, as to an account without rights.
type guarded struct {
	fs.FS
	closed []string
}

func (g guarded) Open(name string) (fs.File, error) {
	for _, c := range g.closed {
		if name == c || strings.HasPrefix(name, c+"/") {
			return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
		}
	}
	return g.FS.Open(name)
}

func TestRecordedTrees(t *testing.T) {
	denied := gives(nil, syscall.EPERM)
	synced := func() (kernelClock, error) { return kernelClock{true, 0.002, 0.05}, nil }
	unsynced := func() (kernelClock, error) { return kernelClock{false, 0, 16}, nil }
	hanoi := time.FixedZone("+07", 7*3600)
	tests := []struct {
		name     string
		id       string
		overlays []string
		closed   []string
		with     check.Options
		tree     tree // all but root
		want     check.Reason
		facts    map[string]float64
	}{
		{"no firewall, rules read", "m04", nil, nil, nil, tree{chains: gives(nil, nil)}, check.ControlFail, map[string]float64{"firewall_rules_code": 1, "firewall_scopes_count": 2}},
		{"no firewall, rules hidden", "m04", nil, nil, nil, tree{chains: denied}, check.NoPermission, nil},
		{"no code for rules", "m04", []string{"no-netfilter"}, nil, nil, tree{chains: denied}, check.ControlFail, map[string]float64{"firewall_rules_code": 0}},
		{"code for rules built in", "m04", []string{"netfilter-builtin"}, nil, nil, tree{chains: denied}, check.NoPermission, nil},
		{"modules hidden", "m04", []string{"no-netfilter"}, []string{"proc/modules"}, nil, tree{chains: denied}, check.NoPermission, nil},
		{"no way to ask", "m04", nil, nil, nil, tree{}, check.NotSupported, nil},
		{"ufw on", "m04", []string{"ufw-on"}, nil, nil, tree{chains: denied}, check.OK, map[string]float64{"firewall_rules_code": 0, "firewall_closed_count": 2}},
		{"ufw on, not in force", "m04", []string{"ufw-on"}, nil, nil, tree{chains: gives(nil, nil)}, check.ControlFail, map[string]float64{"firewall_rules_code": 1}},
		{"ufw on, proof asked for", "m04", []string{"ufw-on"}, nil, check.Options{"proof": "rules"}, tree{chains: denied}, check.NoPermission, nil},
		{"ufw for IPv4", "m04", []string{"ufw-ipv4"}, nil, nil, tree{chains: denied}, check.ControlPartial, nil},
		{"ufw lets all in", "m04", []string{"ufw-allow"}, nil, nil, tree{chains: denied}, check.ControlFail, nil},
		{"ufw off", "m04", []string{"ufw-off"}, nil, nil, tree{chains: denied}, check.NoPermission, nil},
		{"ufw off, no code for rules", "m04", []string{"ufw-off", "no-netfilter"}, nil, nil, tree{chains: denied}, check.ControlFail, nil},
		{"ufw not started", "m04", []string{"ufw-not-started"}, nil, nil, tree{chains: denied}, check.NoPermission, nil},
		{"nftables, chain of its own", "m04", []string{"nftables-chain"}, nil, nil, tree{chains: denied}, check.ControlFail, nil},
		{"ufw hidden", "m04", []string{"ufw-on"}, []string{"etc/ufw"}, nil, tree{chains: denied}, check.NoPermission, nil},
		{"nftables on", "m04", []string{"nftables-on"}, nil, nil, tree{chains: denied}, check.OK, nil},
		{"nftables as installed", "m04", []string{"nftables-open"}, nil, nil, tree{chains: denied}, check.ControlFail, nil},
		{"nftables, last rule, IPv4", "m04", []string{"nftables-last"}, nil, nil, tree{chains: denied}, check.ControlPartial, nil},
		{"nftables not started", "m04", []string{"nftables-disabled"}, nil, nil, tree{chains: denied}, check.NoPermission, nil},
		{"firewalld", "m04", []string{"firewalld-on"}, nil, nil, tree{chains: denied}, check.OK, nil},
		{"firewalld, folder closed", "m04", []string{"firewalld-on"}, []string{"etc/firewalld"}, nil, tree{chains: denied}, check.OK, nil},
		{"firewalld trusts all", "m04", []string{"firewalld-trusted"}, nil, nil, tree{chains: denied}, check.ControlFail, nil},
		{"firewalld stopped", "m04", []string{"firewalld-stopped"}, nil, nil, tree{chains: denied}, check.NoPermission, nil},
		{"firewalld, processes hidden", "m04", []string{"firewalld-on"}, []string{"proc/1"}, nil, tree{chains: denied}, check.NoPermission, nil},
		{"iptables-legacy", "m04", []string{"legacy"}, nil, nil, tree{chains: gives(nil, nil)}, check.NotSupported, nil},

		{"patched", "m05", nil, nil, nil, tree{}, check.OK, map[string]float64{"age_s": 18*86400 + 10*3600 - 6*3600 - 32*60 - 9, "lists_age_s": 3600, "reboot_pending_code": 0}},
		{"patched, in Vietnam", "m05", nil, nil, nil, tree{zone: hanoi}, check.OK, map[string]float64{"age_s": 18*86400 + 17*3600 - 6*3600 - 32*60 - 9}},
		{"restart needed", "m05", []string{"restart-needed"}, nil, nil, tree{}, check.ControlPartial, map[string]float64{"reboot_pending_code": 1}},
		{"patched long ago", "m05", []string{"patched-long-ago"}, nil, nil, tree{}, check.ControlFail, map[string]float64{"age_s": 64*86400 + 50*60 - 2}},
		{"patched long ago, allowed", "m05", []string{"patched-long-ago"}, nil, check.Options{"max_age": 65 * day}, tree{}, check.OK, nil},
		{"never patched", "m05", []string{"never-patched"}, nil, nil, tree{}, check.ControlFail, map[string]float64{"age_s": -1}},
		{"history hidden", "m05", nil, []string{"var/log/apt"}, nil, tree{}, check.NoPermission, nil},
		{"dnf", "m05", []string{"dnf"}, nil, nil, tree{}, check.OK, map[string]float64{"age_s": 5*86400 + 9*3600 - 5}},

		{"desktop's ports", "m07", nil, nil, check.Options{"allowed_ports": []string{"22/tcp", "5353/udp"}}, tree{}, check.OK, map[string]float64{"listening_count": 2, "unexpected_count": 0}},
		{"ssh not allowed", "m07", nil, nil, check.Options{"allowed_ports": []string{"5353/udp"}}, tree{}, check.ControlFail, map[string]float64{"listening_count": 2, "unexpected_count": 1, "unexpected_port_code": 22}},
		{"tables hidden", "m07", nil, []string{"proc/net"}, check.Options{"allowed_ports": []string{}}, tree{}, check.NoPermission, nil},

		{"two administrators", "m10", nil, nil, nil, tree{}, check.OK, map[string]float64{"administrators_count": 2, "uid0_count": 1, "passwordless_count": 0, "autologon_count": 0}},
		{"sudo hidden", "m10", nil, []string{"etc/sudoers", "etc/sudoers.d"}, nil, tree{}, check.NoPermission, map[string]float64{"administrators_count": 2, "passwordless_count": -1}},
		{"part of sudo hidden", "m10", nil, []string{"etc/sudoers.d"}, nil, tree{}, check.NoPermission, nil},
		{"sudo left out", "m10", nil, []string{"etc/sudoers"}, check.Options{"sudoers": false}, tree{}, check.OK, nil},
		{"sudo hidden, too many", "m10", nil, []string{"etc/sudoers"}, check.Options{"max_count": int64(1)}, tree{}, check.ControlFail, nil},
		{"every way", "m10", []string{"admins"}, nil, nil, tree{}, check.ControlFail, map[string]float64{"administrators_count": 7, "uid0_count": 2, "passwordless_count": 1}},
		{"gdm", "m10", []string{"autologon-gdm"}, nil, nil, tree{}, check.ControlFail, map[string]float64{"autologon_count": 1}},
		{"lightdm", "m10", []string{"autologon-lightdm"}, nil, nil, tree{}, check.ControlFail, map[string]float64{"autologon_count": 1}},
		{"sddm", "m10", []string{"autologon-sddm"}, nil, nil, tree{}, check.ControlFail, map[string]float64{"autologon_count": 1}},
		{"console", "m10", []string{"autologon-console"}, nil, nil, tree{}, check.ControlFail, map[string]float64{"autologon_count": 1}},
		{"log-on hidden", "m10", nil, []string{"etc/gdm3"}, nil, tree{}, check.NoPermission, nil},

		{"synchronised", "m16", nil, nil, nil, tree{adjust: synced}, check.OK, map[string]float64{"synchronised_code": 1, "offset_s": 0.002, "max_error_s": 0.05, "time_services_count": 1, "age_s": 3600}},
		{"processes hidden", "m16", nil, []string{"proc/1"}, nil, tree{adjust: synced}, check.OK, map[string]float64{"time_services_count": -1}},
		{"not synchronised", "m16", nil, nil, nil, tree{adjust: unsynced}, check.ControlPartial, map[string]float64{"offset_s": -1, "synchronised_code": 0}},
		{"kernel refuses", "m16", nil, nil, nil, tree{adjust: func() (kernelClock, error) { return kernelClock{}, syscall.EPERM }}, check.NoPermission, nil},

		{"hosts", "m21", nil, nil, nil, tree{}, check.OK, map[string]float64{"hosts_entries_count": 6, "hosts_watched_count": 0, "resolvers_count": 2}},
		{"tampered", "m21", []string{"tampered"}, nil, nil, tree{}, check.ControlFail, map[string]float64{"hosts_entries_count": 6, "hosts_watched_count": 2, "hosts_unexpected_count": 2}},
		{"other domain", "m21", []string{"tampered"}, nil, check.Options{"domains": []string{"example.com"}}, tree{}, check.ControlFail, map[string]float64{"hosts_watched_count": 1}},
		{"resolver not allowed", "m21", nil, nil, check.Options{"resolvers": []string{"192.168.1.1"}}, tree{}, check.ControlFail, map[string]float64{"resolvers_unexpected_count": 1}},
		{"resolvers allowed", "m21", nil, nil, check.Options{"resolvers": []string{"192.168.1.1", "fe80::1"}}, tree{}, check.OK, map[string]float64{"resolvers_unexpected_count": 0}},
		{"changed", "m21", nil, nil, check.Options{"sha256": strings.Repeat("00", 32)}, tree{}, check.ControlPartial, nil},
		{"hosts hidden", "m21", nil, []string{"etc/hosts"}, nil, tree{}, check.NoPermission, nil},
	}
	for _, tt := range tests {
		t.Run(tt.id+" "+tt.name, func(t *testing.T) {
			tr := tt.tree
			tr.root = guarded{readTree(t, tt.overlays...), tt.closed}
			if tr.zone == nil {
				tr.zone = time.UTC
			}
			o := check.Options{"id": tt.id}
			maps.Copy(o, tt.with)
			r := judged(t, tr.system(), o)
			if r.Reason != tt.want {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
			wantFacts(t, r, tt.facts)
			for _, private := range []string{"lan", "vanthu", "etc/", "/", "toor"} {
				if strings.Contains(r.Detail, private) {
					t.Errorf("the detail holds %q: %s", private, r.Detail)
				}
			}
		})
	}
}

func TestBackupTree(t *testing.T) {
	at := func(hours int, size int, mode fs.FileMode) *fstest.MapFile {
		return &fstest.MapFile{Data: make([]byte, size), ModTime: testNow.Add(-time.Duration(hours) * time.Hour), Mode: mode}
	}
	root := fstest.MapFS{
		"srv/data/db":                at(0, 100, 0o644),
		"srv/backup/2026-11-21.zst":  at(50, 900, 0o600),
		"srv/backup/2026-11-22.zst":  at(26, 1000, 0o600),
		"srv/backup/2026-11-23.zst":  at(2, 500, 0o600),
		"srv/backup/latest.zst":      at(0, 0, fs.ModeSymlink|0o777),
		"srv/backup/pipe.zst":        at(0, 0, fs.ModeNamedPipe|0o600),
		"srv/backup/log/today.txt":   at(1, 10, 0o600),
		"srv/other/a/b/c/old.zst":    at(400, 10, 0o600),
		"srv/empty/readme/.keep":     at(400, 0, 0o600),
		"srv/sorted/1":               at(1, 500, 0o600),
		"srv/sorted/2":               at(10, 1000, 0o600),
		"srv/sorted/3":               at(20, 9, 0o600),
		"srv/many/site1/2026/a.dump": at(3, 10, 0o600),
		"srv/many/site2/2026/a.dump": at(4, 20, 0o600),
	}
	devices := func(p string) (uint64, error) {
		switch {
		case strings.HasPrefix(p, "/srv/backup"):
			return 7, nil
		case p == "/nowhere":
			return 0, &fs.PathError{Op: "stat", Path: p, Err: syscall.ENOENT}
		}
		return 1, nil
	}
	tests := []struct {
		name   string
		with   check.Options
		closed string
		want   check.Reason
		facts  map[string]float64
	}{
		{"pattern", check.Options{"path": "/srv/backup/*.zst"}, "", check.OK, map[string]float64{"backups_count": 3, "age_s": 7200, "backup_bytes": 500, "backup_size_ratio": 0.5, "same_device_code": 0}},
		{"folder", check.Options{"path": "/srv/backup/"}, "", check.OK, map[string]float64{"backups_count": 4, "age_s": 3600}},
		{"one file", check.Options{"path": "/srv/backup/2026-11-22.zst"}, "", check.ControlFail, map[string]float64{"backups_count": 1, "age_s": 26 * 3600}},
		{"one file, allowed", check.Options{"path": "/srv/backup/2026-11-22.zst", "max_age": 30 * time.Hour}, "", check.OK, nil},
		{"on the data's disk", check.Options{"path": "/srv/many/*/2026/*.dump"}, "", check.ControlPartial, map[string]float64{"backups_count": 2, "same_device_code": 1}},
		{"the data are elsewhere", check.Options{"path": "/srv/many/*/2026/*.dump", "data_path": "/srv/backup"}, "", check.OK, nil},
		{"newest first", check.Options{"path": "/srv/sorted", "data_path": "/srv/backup"}, "", check.OK, map[string]float64{"backup_size_ratio": 0.5}},
		{"too small", check.Options{"path": "/srv/backup/*.zst", "min_bytes": int64(501)}, "", check.ControlFail, nil},
		{"nothing matches", check.Options{"path": "/srv/backup/*.bak"}, "", check.ControlFail, map[string]float64{"backups_count": 0}},
		{"not mounted", check.Options{"path": "/mnt/nas/*.zst"}, "", check.ControlFail, nil},
		{"closed", check.Options{"path": "/srv/backup/*.zst"}, "srv/backup", check.NoPermission, nil},
		{"no such data", check.Options{"path": "/srv/backup/*.zst", "data_path": "/nowhere"}, "", check.NotSupported, nil},
		{"a pattern of folders", check.Options{"path": "/srv/o*"}, "", check.ControlFail, map[string]float64{"backups_count": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"id": "m20"}
			maps.Copy(o, tt.with)
			var closed []string
			if tt.closed != "" {
				closed = []string{tt.closed}
			}
			r := judged(t, tree{root: guarded{root, closed}, device: devices}.system(), o)
			if r.Reason != tt.want {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
			wantFacts(t, r, tt.facts)
			if strings.Contains(r.Detail, "srv") {
				t.Errorf("the detail names files: %s", r.Detail)
			}
		})
	}
}

// TestHugeFiles reads files that are larger than any such file is.
func TestHugeFiles(t *testing.T) {
	big := fstest.MapFS{
		"etc/hosts":    {Data: bytes.Repeat([]byte("127.0.0.1 a\n"), 3<<20)},
		"etc/passwd":   {Data: bytes.Repeat([]byte("a:x:1:1::/:\n"), 1<<17)},
		"etc/group":    {},
		"proc/net/tcp": {Data: bytes.Repeat([]byte("x"), maxTable+1)},
	}
	for _, o := range []check.Options{{"id": "m21"}, {"id": "m10"}, {"id": "m07", "allowed_ports": []string{}}} {
		if r := judged(t, tree{root: big}.system(), o); r.Reason != check.NotSupported {
			t.Errorf("%s of huge files: %s %q", o["id"], r.Reason, r.Detail)
		}
	}
	long := fstest.MapFS{"etc/hosts": {Data: []byte("127.0.0.1 " + strings.Repeat("a ", 40000) + "x.gov.vn\n")}}
	if r := judged(t, tree{root: long}.system(), check.Options{"id": "m21"}); r.Reason != check.NotSupported {
		t.Errorf("a line without end: %s %q", r.Reason, r.Detail)
	}
}

// TestSudoRules reads lines of sudoers(5) one way and the other.
func TestSudoRules(t *testing.T) {
	tests := []struct {
		name, text   string
		admins       float64 // root is one
		passwordless float64
	}{
		{"nothing", "# ALL ALL=(ALL) ALL", 1, 0},
		{"one", "lan ALL=(ALL:ALL) ALL", 2, 0},
		{"two users of one rule", "lan, vanthu ALL = ALL", 3, 0},
		{"without a password", "lan ALL=(ALL) NOPASSWD:ALL", 2, 1},
		{"two tags", "lan ALL=(ALL) SETENV:NOPASSWD: /bin/ls, ALL", 2, 1},
		{"the tag ends", "lan ALL=NOPASSWD: /bin/ls, PASSWD: ALL", 2, 0},
		{"some commands", "lan ALL=NOPASSWD: /bin/ls", 1, 0},
		{"commands by a name given later", "lan ALL=NOPASSWD: EVERY\nCmnd_Alias EVERY = ALL", 2, 1},
		{"a name of a name", "Cmnd_Alias EVERY = ALL\nCmnd_Alias MORE = /bin/ls, EVERY\nlan ALL=MORE", 2, 0},
		{"users by a name", "User_Alias IT = lan : HELP = vanthu\nHELP ALL=ALL", 2, 0},
		{"a name that holds itself", "User_Alias IT = IT, lan\nIT ALL=ALL", 2, 0},
		{"everybody", "ALL ALL=(ALL) ALL", 4, 0},
		{"by number", "#1001 ALL=(ALL) ALL", 2, 0},
		{"by group number", "%#1001 ALL=(ALL) ALL", 2, 0},
		{"by group", "%users ALL=(ALL) ALL", 3, 0},
		{"nobody is asked", "Defaults:lan !authenticate", 1, 1},
		{"a comment behind", "lan ALL=(ALL) /bin/ls # ALL", 1, 0},
		{"continued", "lan ALL = \\\n ALL", 2, 0},
		{"not a rule", "lan", 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := readTree(t)
			m["etc/group"] = &fstest.MapFile{Data: []byte("users:x:100:vanthu,lan\nvanthu:x:1001:\n")}
			m["etc/sudoers"] = &fstest.MapFile{Data: []byte(tt.text + "\n")}
			r := judged(t, tree{root: m, zone: time.UTC}.system(), check.Options{"id": "m10"})
			wantFacts(t, r, map[string]float64{"administrators_count": tt.admins, "passwordless_count": tt.passwordless})
		})
	}
}

// TestErrorsHideNames finds no path in what a person reads.
func TestErrorsHideNames(t *testing.T) {
	err := bare(&fs.PathError{Op: "open", Path: "/home/lan/x", Err: fs.ErrPermission})
	if strings.Contains(err.Error(), "lan") || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v", err)
	}
}
