package control

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"egovmon/agent/check"
)

// A file of a tree that a test adds; "" takes it away.
type file struct{ name, text string }

// treeWith lays files over the recording of a Debian 12.
func treeWith(t *testing.T, files ...file) fstest.MapFS {
	t.Helper()
	m := readTree(t)
	for _, f := range files {
		delete(m, f.name)
		if f.text != "" {
			m[f.name] = &fstest.MapFile{Data: []byte(f.text), Mode: 0o644, ModTime: stamp}
		}
	}
	return m
}

// An upkeepTest is one state of a machine and what a control must say of it.
type upkeepTest struct {
	name   string
	root   fs.FS
	with   check.Options
	want   check.Reason
	detail string
	facts  map[string]float64
}

func runUpkeep(t *testing.T, id string, tests []upkeepTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"id": id}
			maps.Copy(o, tt.with)
			r := judged(t, tree{root: tt.root}.system(), o)
			if r.Reason != tt.want || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("%s %q, want %s %q", r.Reason, r.Detail, tt.want, tt.detail)
			}
			wantFacts(t, r, tt.facts)
		})
	}
}

func TestProtection(t *testing.T) {
	process := func(name string) file { return file{"proc/900/comm", name + "\n"} }
	n := func(n float64) map[string]float64 { return map[string]float64{"antimalware_count": n} }
	runUpkeep(t, "m01", []upkeepTest{
		{"none", treeWith(t), nil, check.ControlFail, "no program", n(0)},
		{"at times", treeWith(t, process("clamd")), nil, check.ControlPartial, "clamd", n(1)},
		{"always", treeWith(t, process("clamd"), file{"proc/901/comm", "clamonacc\n"}), nil, check.OK, "clamonacc", n(2)},
		{"the download alone guards nothing", treeWith(t, process("freshclam")), nil, check.ControlFail, "", n(0)},
		{"one that the plan names", treeWith(t, process("bkavd")), check.Options{"programs": []string{"bkavd"}}, check.OK, "bkavd", n(1)},
		{"processes are hidden", guarded{treeWith(t), []string{"proc/1/comm"}}, nil, check.NoPermission, "", n(-1)},
	})
}

func TestPatterns(t *testing.T) {
	aged := func(age time.Duration, names ...string) fs.FS {
		m := readTree(t)
		for _, name := range names {
			m["var/lib/clamav/"+name] = &fstest.MapFile{Data: []byte("x"), Mode: 0o644, ModTime: testNow.Add(-age)}
		}
		return m
	}
	runUpkeep(t, "m02", []upkeepTest{
		{"of today", aged(2*time.Hour, "daily.cvd"), nil, check.OK, "0 days", map[string]float64{"age_s": 7200}},
		{"at the limit", aged(3*day, "daily.cld"), nil, check.OK, "", nil},
		{"old", aged(4*day, "daily.cld"), nil, check.ControlPartial, "4 days", nil},
		{"too old", aged(8*day, "daily.cld"), nil, check.ControlFail, "8 days", nil},
		{"too old for the plan", aged(30*time.Hour, "daily.cld"), check.Options{"max_age": 24 * time.Hour, "fail_age": 26 * time.Hour}, check.ControlFail, "", nil},
		{"the plan allows more", aged(8*day, "daily.cld"), check.Options{"max_age": 9 * day}, check.OK, "", nil},
		{"the main signatures change once a year", aged(time.Hour, "main.cvd"), nil, check.NotSupported, "", map[string]float64{"age_s": -1}},
		{"in the future", aged(-day, "daily.cvd"), nil, check.ControlPartial, "future", map[string]float64{"age_s": -1}},
		{"none", readTree(t), nil, check.NotSupported, "", nil},
		{"hidden", guarded{aged(time.Hour, "daily.cvd"), []string{"var/lib/clamav"}}, nil, check.NoPermission, "", nil},
	})
}

func TestRelease(t *testing.T) {
	debian := file{"etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n"}
	until := func(s string) check.Options { return check.Options{"os_ends": []string{"ubuntu 22.04=2020-01-01", s}} }
	runUpkeep(t, "m06", []upkeepTest{
		{"supported", treeWith(t, debian), until("debian 12=2028-06-30"), check.OK, "until 2028-06-30", map[string]float64{"support_end_unix": 1845936000}},
		{"the last day", treeWith(t, debian), check.Options{"os_ends": []string{"Debian  12 = 2026-11-23"}, "warn_days": int64(0)}, check.OK, "", nil},
		{"the day after", treeWith(t, debian), until("debian 12=2026-11-22"), check.ControlFail, "no support since 2026-11-22", nil},
		{"ends soon", treeWith(t, debian), until("debian 12=2027-01-31"), check.ControlPartial, "ends on 2027-01-31", nil},
		{"ends later than the plan warns", treeWith(t, debian), check.Options{"os_ends": []string{"debian 12=2027-01-31"}, "warn_days": int64(30)}, check.OK, "", nil},
		{"not in the plan", treeWith(t, debian), nil, check.NotConfigured, `"debian 12=`, map[string]float64{"support_end_unix": -1}},
		{"by its own word", treeWith(t, file{"usr/lib/os-release", "ID=fedora\nVERSION_ID=39\nSUPPORT_END=2024-11-12\n"}), nil, check.ControlFail, "fedora 39", nil},
		{"the plan goes before its own word", treeWith(t, file{"etc/os-release", "ID=fedora\nVERSION_ID=39\nSUPPORT_END=2024-11-12\n"}), until("fedora 39=2030-01-01"), check.OK, "", nil},
		{"narrower first", treeWith(t, file{"etc/os-release", "ID=fedora\nVERSION_ID=39\nVARIANT_ID=iot\n"}), check.Options{"os_ends": []string{"fedora 39=2030-01-01", "fedora 39 iot=2020-01-01"}}, check.ControlFail, "", nil},
		{"it does not say", treeWith(t), until("debian 12=2028-06-30"), check.NotSupported, "", nil},
		{"hidden", guarded{treeWith(t, debian), []string{"etc/os-release"}}, nil, check.NoPermission, "", nil},
	})
	for _, s := range []string{"debian 12", "debian 12=30/06/2028", "=2028-06-30"} {
		if _, err := newControl(check.Options{"id": "m06", "os_ends": []string{s}}, system{}, time.Now); err == nil || !strings.HasPrefix(err.Error(), `option "os_ends"`) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// listening adds a socket of TCP or UDP to the recording; the address is in hex, as the kernel writes it.
func listening(t *testing.T, table, address string) file {
	t.Helper()
	name, state := "proc/net/"+table, tcpListen
	if table == "udp" {
		state = udpOpen
	}
	return file{name, string(readTree(t)[name].Data) + fmt.Sprintf("   9: %s 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 1 1 0000000000000000 100 0 0 10 0\n", address, state)}
}

func TestOldProtocols(t *testing.T) {
	smb := listening(t, "tcp", "00000000:01BD")
	conf := func(text string) file { return file{"etc/samba/smb.conf", "[global]\n" + text + "\n"} }
	n := func(n float64) map[string]float64 { return map[string]float64{"old_protocols_count": n} }
	runUpkeep(t, "m08", []upkeepTest{
		{"none", treeWith(t), nil, check.OK, "", n(0)},
		{"Telnet", treeWith(t, listening(t, "tcp", "00000000:0017")), nil, check.ControlFail, "Telnet", n(1)},
		{"Telnet to itself", treeWith(t, listening(t, "tcp", "0100007F:0017")), nil, check.OK, "", n(0)},
		{"FTP", treeWith(t, listening(t, "tcp", "0B01A8C0:0015")), nil, check.ControlFail, "FTP", n(1)},
		{"LLMNR", treeWith(t, listening(t, "udp", "00000000:14EB")), nil, check.ControlFail, "LLMNR", n(1)},
		{"Samba as it comes", treeWith(t, smb, conf("workgroup = X")), nil, check.OK, "", nil},
		{"SMBv1", treeWith(t, smb, conf("server min protocol = NT1")), nil, check.ControlFail, "SMBv1", n(1)},
		{"SMBv1 by its other name", treeWith(t, smb, conf("Min Protocol = lanman2")), nil, check.ControlFail, "SMBv1", nil},
		{"the last word holds", treeWith(t, smb, conf("server min protocol = NT1\nserver min protocol = SMB3")), nil, check.OK, "", nil},
		{"SMBv1, and nobody listens", treeWith(t, conf("server min protocol = NT1")), nil, check.OK, "", nil},
		{"settings elsewhere", treeWith(t, smb, conf("include = /etc/samba/more.conf")), nil, check.NotSupported, "Samba", nil},
		{"settings hidden", guarded{treeWith(t, smb, conf("")), []string{"etc/samba"}}, nil, check.NoPermission, "Samba", nil},
		{"what is seen stands", guarded{treeWith(t, file{"proc/net/tcp", smb.text + listening(t, "tcp", "00000000:0017").text}, conf("")), []string{"etc/samba"}}, nil, check.ControlFail, "Telnet", nil},
		{"sockets hidden", guarded{treeWith(t), []string{"proc/net"}}, nil, check.NoPermission, "", nil},
	})
}

func TestRemotes(t *testing.T) {
	ssh := func(text string) file { return file{"etc/ssh/sshd_config", text} }
	keys := "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
	process := func(name string) file { return file{"proc/900/comm", name + "\n"} }
	runUpkeep(t, "m09", []upkeepTest{
		{"keys alone", treeWith(t, ssh(keys)), nil, check.OK, "", map[string]float64{"ssh_listens_code": 1, "ssh_password_code": 0, "ssh_root_code": 0, "remote_tools_count": 0}},
		{"as it comes", treeWith(t, ssh("UsePAM yes\n")), nil, check.ControlPartial, "password alone", map[string]float64{"ssh_password_code": 1, "ssh_root_code": 0}},
		{"a password, which is allowed", treeWith(t, ssh("UsePAM yes\n")), check.Options{"ssh_password": true}, check.OK, "", nil},
		{"a password through PAM", treeWith(t, ssh("PasswordAuthentication no\nUsePAM yes\n")), nil, check.ControlPartial, "", nil},
		{"its older name", treeWith(t, ssh("PasswordAuthentication no\nUsePAM yes\nChallengeResponseAuthentication no\n")), nil, check.OK, "", nil},
		{"root by password", treeWith(t, ssh("PermitRootLogin yes\n")), check.Options{"ssh_password": true}, check.ControlFail, "root", map[string]float64{"ssh_root_code": 1}},
		{"root by key", treeWith(t, ssh("PermitRootLogin yes\n"+keys)), nil, check.OK, "", nil},
		{"the first word holds", treeWith(t, ssh("permitrootlogin=no\nPermitRootLogin yes\n"+keys)), nil, check.OK, "", nil},
		{"for some only", treeWith(t, ssh("Match User x\n"+keys)), nil, check.ControlPartial, "", nil},
		{"in a file that it includes", treeWith(t, ssh("Include /etc/ssh/sshd_config.d/*.conf\n"+keys), file{"etc/ssh/sshd_config.d/10-x.conf", "PasswordAuthentication yes\nPermitRootLogin yes\n"}), nil, check.ControlFail, "root", nil},
		{"in one that it does not", treeWith(t, ssh("Include sshd_config.d/*.conf\n"+keys), file{"etc/ssh/sshd_config.d/10-x.bak", "PermitRootLogin yes\nPasswordAuthentication yes\n"}), nil, check.OK, "", nil},
		{"files in a ring", treeWith(t, ssh("Include /etc/ssh/sshd_config\n")), nil, check.NotSupported, "SSH", nil},
		{"at another port, where nobody listens", treeWith(t, ssh("Port 2222\n")), nil, check.OK, "", map[string]float64{"ssh_listens_code": 0, "ssh_password_code": -1}},
		{"settings hidden", guarded{treeWith(t, ssh(keys)), []string{"etc/ssh"}}, nil, check.NoPermission, "SSH", nil},
		{"a program", treeWith(t, ssh(keys), process("anydesk")), nil, check.ControlFail, "anydesk", map[string]float64{"remote_tools_count": 1, "remote_unexpected_count": 1}},
		{"a program that is allowed", treeWith(t, ssh(keys), process("anydesk")), check.Options{"allowed_remote": []string{"AnyDesk"}}, check.OK, "", map[string]float64{"remote_unexpected_count": 0}},
		{"processes hidden", guarded{treeWith(t, ssh(keys)), []string{"proc/1/comm"}}, nil, check.NoPermission, "processes", nil},
		{"what is seen stands", guarded{treeWith(t, ssh("PermitRootLogin yes\n")), []string{"proc/1/comm"}}, nil, check.ControlFail, "root", nil},
	})
}

func TestEncryption(t *testing.T) {
	mount := func(number string) file {
		return file{"proc/self/mountinfo", "22 1 0:5 / /proc rw - proc proc rw\n29 1 " + number + " / / rw,relatime shared:1 - ext4 /dev/x rw\n"}
	}
	dev := "sys/dev/block/254:1/"
	plain := file{"sys/dev/block/8:1/partition", "1\n"}
	runUpkeep(t, "m15", []upkeepTest{
		{"not encrypted", treeWith(t, mount("8:1"), plain), nil, check.ControlPartial, "does not ask", map[string]float64{"encrypted_code": 0}},
		{"not encrypted, though it must be", treeWith(t, mount("8:1"), plain), check.Options{"required": true}, check.ControlFail, "", nil},
		{"LUKS", treeWith(t, mount("254:1"), file{dev + "dm/uuid", "CRYPT-LUKS2-0123-x\n"}), check.Options{"required": true}, check.OK, "", map[string]float64{"encrypted_code": 1}},
		{"LVM upon LUKS", treeWith(t, mount("254:1"), file{dev + "dm/uuid", "LVM-abc\n"}, file{dev + "slaves/dm-0/dm/uuid", "CRYPT-LUKS2-x\n"}), nil, check.OK, "", nil},
		{"LVM upon both", treeWith(t, mount("254:1"), file{dev + "dm/uuid", "LVM-abc\n"}, file{dev + "slaves/dm-0/dm/uuid", "CRYPT-LUKS2-x\n"}, file{dev + "slaves/sdb1/partition", "1\n"}), nil, check.ControlPartial, "", nil},
		{"the last mount holds", treeWith(t, file{"proc/self/mountinfo", mount("254:1").text + "30 1 8:1 / / rw - ext4 /dev/y rw\n"}, file{dev + "dm/uuid", "CRYPT-x\n"}, plain), nil, check.ControlPartial, "", nil},
		{"a container", treeWith(t, mount("0:50")), nil, check.NotSupported, "", map[string]float64{"encrypted_code": -1}},
		{"no list", treeWith(t), nil, check.NotSupported, "", nil},
		{"hidden", guarded{treeWith(t, mount("254:1"), file{dev + "dm/uuid", "CRYPT-x\n"}), []string{"sys/dev"}}, nil, check.NoPermission, "", nil},
	})
}

// journalHead is the beginning of a journal's file whose entries lie between two instants.
func journalHead(first, last time.Time) string {
	b := make([]byte, 256)
	copy(b, "LPKSHHRH")
	binary.LittleEndian.PutUint64(b[184:], uint64(first.UnixMicro()))
	binary.LittleEndian.PutUint64(b[192:], uint64(last.UnixMicro()))
	return string(b)
}

func TestLogs(t *testing.T) {
	const dir = "var/log/journal/0123456789abcdef0123456789abcdef"
	ago := func(d float64) time.Time { return testNow.Add(-time.Duration(d * float64(day))) }
	kept := func(name string, first, last float64) file {
		return file{path.Join(dir, name), journalHead(ago(first), ago(last))}
	}
	now := kept("system.journal", 2, 0.01)
	written := func(names map[string]float64) fs.FS {
		m := readTree(t)
		for name, d := range names {
			m["var/log/"+name] = &fstest.MapFile{Data: []byte("x"), Mode: 0o640, ModTime: ago(d)}
		}
		return m
	}
	runUpkeep(t, "m17", []upkeepTest{
		{"far enough", treeWith(t, now, kept("system@1.journal", 40, 20), kept("system@2.journal", 20, 2)), nil, check.OK, "40 days", map[string]float64{"log_reach_s": 40 * 86400, "log_bytes": 768}},
		{"not far enough", treeWith(t, now), nil, check.ControlPartial, "2 days back", nil},
		{"far enough for the plan", treeWith(t, now), check.Options{"min_age": 24 * time.Hour}, check.OK, "", nil},
		{"not far enough for level 3", treeWith(t, now, kept("system@1.journal", 40, 2)), check.Options{"min_age": 2160 * time.Hour}, check.ControlPartial, "", nil},
		{"only of people", treeWith(t, kept("user-1000.journal", 40, 0.01)), nil, check.ControlFail, "no log is kept", nil},
		{"silent", treeWith(t, kept("system.journal", 40, 3)), nil, check.ControlFail, "for 3 days", nil},
		{"in memory", treeWith(t, file{"run/log/journal/0123/system.journal", journalHead(ago(40), ago(0.01))}), nil, check.ControlFail, "memory", nil},
		{"a file that is no journal", treeWith(t, now, file{dir + "/system@x.journal", "x" + journalHead(ago(40), ago(1))[1:]}), nil, check.ControlPartial, "2 days", nil},
		{"one that has only been begun", treeWith(t, now, file{dir + "/system@x.journal", "LPKSHHRH"}), nil, check.ControlPartial, "2 days", nil},
		{"one that lies", treeWith(t, now, file{dir + "/system@x.journal", journalHead(time.Unix(0, 0), ago(0))}), nil, check.ControlPartial, "2 days", nil},
		{"of a log daemon", written(map[string]float64{"auth.log": 0.01, "auth.log.1": 7, "auth.log.4.gz": 31}), nil, check.OK, "31 days", nil},
		{"of another one", written(map[string]float64{"secure": 0.01, "secure-20261101": 22}), nil, check.ControlPartial, "22 days", nil},
		{"others do not count", written(map[string]float64{"dpkg.log": 0.01, "dpkg.log.1": 90}), nil, check.ControlFail, "no log", nil},
		{"hidden", guarded{treeWith(t, now), []string{dir}}, nil, check.NoPermission, "", nil},
	})
}

func TestPasswords(t *testing.T) {
	pam := func(module string) file {
		return file{"etc/pam.d/common-password", "# new ones\npassword requisite " + module + "\npassword optional pam_gnome_keyring.so\n"}
	}
	long := pam("pam_pwquality.so retry=3 minlen=14")
	shadow := func(hash string, d int) file {
		return file{"etc/shadow", fmt.Sprintf("root:*:19000:0:99999:7:::\nnobody:$y$j9T$x:10000:0:99999:7:::\n%s:%s:%d:0:99999:7:::\n", "root", hash, int(testNow.Unix()/86400)-d)}
	}
	n := func(length, age float64) map[string]float64 {
		return map[string]float64{"password_length_count": length, "age_s": age}
	}
	young := shadow("$y$j9T$x", 10)
	runUpkeep(t, "m12", []upkeepTest{
		{"good", treeWith(t, long, young), nil, check.OK, "14 letters", n(14, 10*86400+36000)},
		{"old", treeWith(t, long, shadow("$y$j9T$x", 70)), nil, check.ControlPartial, "70 days", nil},
		{"old, which is allowed", treeWith(t, long, shadow("$y$j9T$x", 70)), check.Options{"max_age": 90 * day}, check.OK, "", nil},
		{"locked", treeWith(t, long, shadow("!$y$j9T$x", 70)), nil, check.OK, "", n(14, -1)},
		{"none needed", treeWith(t, long, shadow("", 1)), nil, check.ControlFail, "1 administrators", map[string]float64{"empty_passwords_count": 1}},
		{"short", treeWith(t, pam("pam_unix.so obscure yescrypt"), young), nil, check.ControlFail, "of 6 letters", n(6, 10*86400+36000)},
		{"short, with a second proof", treeWith(t, pam("pam_pwquality.so"), young), check.Options{"min_length": int64(8)}, check.OK, "", n(8, 10*86400+36000)},
		{"in the module's settings", treeWith(t, pam("pam_pwquality.so"), file{"etc/security/pwquality.conf", "# minlen = 8\nminlen = 16\n"}, young), nil, check.OK, "16 letters", nil},
		{"in a later file of them", treeWith(t, pam("pam_pwquality.so"), file{"etc/security/pwquality.conf", "minlen = 16\n"}, file{"etc/security/pwquality.conf.d/1.conf", "minlen=9\n"}, young), nil, check.ControlFail, "of 9 letters", nil},
		{"of Red Hat", treeWith(t, file{"etc/pam.d/system-auth", "password requisite pam_pwquality.so minlen=15\n"}, young), nil, check.OK, "", nil},
		{"the ages are root's to read", guarded{treeWith(t, long, young), []string{"etc/shadow"}}, nil, check.NoPermission, "", n(14, -1)},
		{"what is seen stands", guarded{treeWith(t, pam("pam_unix.so"), young), []string{"etc/shadow"}}, nil, check.ControlFail, "of 6", nil},
		{"no rules", treeWith(t, young), nil, check.NotSupported, "", n(-1, -1)},
	})
}

func TestTrust(t *testing.T) {
	root := func(name, body string) file {
		return file{name, "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString([]byte(body)) + "\n-----END CERTIFICATE-----\n"}
	}
	sum := sha256.Sum256([]byte("ours"))
	ours := strings.ToUpper(hex.EncodeToString(sum[:]))
	const dir = "usr/local/share/ca-certificates/"
	n := func(added, odd, proxies, oddProxies float64) map[string]float64 {
		return map[string]float64{"added_roots_count": added, "unexpected_roots_count": odd, "proxies_count": proxies, "unexpected_proxies_count": oddProxies}
	}
	allowed := check.Options{"allowed_roots": []string{ours[:2] + ":" + ours[2:]}, "allowed_proxies": []string{"Proxy.tuky.gov.vn"}}
	proxy := file{"etc/environment", "PATH=/bin\nexport https_proxy=\"http://proxy.tuky.gov.vn:3128/\"\nHTTP_PROXY=proxy.tuky.gov.vn:3128\nno_proxy=localhost\n"}
	runUpkeep(t, "m22", []upkeepTest{
		{"nobody", treeWith(t), nil, check.OK, "", n(0, 0, 0, 0)},
		{"a root", treeWith(t, root(dir+"ours.crt", "ours")), nil, check.ControlFail, "1 root certificates", n(1, 1, 0, 0)},
		{"a root that is allowed", treeWith(t, root(dir+"ours.crt", "ours")), allowed, check.OK, "", n(1, 0, 0, 0)},
		{"another beside it, further down", treeWith(t, root(dir+"ours.crt", "ours"), root(dir+"a/b.crt", "theirs")), allowed, check.ControlFail, "1 root certificates", n(2, 1, 0, 0)},
		{"two in one file", treeWith(t, file{dir + "x.crt", root("", "ours").text + root("", "theirs").text}), allowed, check.ControlFail, "", n(2, 1, 0, 0)},
		{"of Red Hat", treeWith(t, root("etc/pki/ca-trust/source/anchors/x.pem", "theirs")), nil, check.ControlFail, "", n(1, 1, 0, 0)},
		{"what is no certificate", treeWith(t, file{dir + "x.crt", "DER"}), nil, check.ControlFail, "cannot be read", n(0, 0, 0, 0)},
		{"a note", treeWith(t, file{dir + "README", "roots stand here"}), nil, check.OK, "", nil},
		{"a proxy", treeWith(t, proxy), nil, check.ControlFail, "1 proxies", n(0, 0, 1, 1)},
		{"a proxy that is allowed", treeWith(t, proxy), allowed, check.OK, "", n(0, 0, 1, 0)},
		{"hidden", guarded{treeWith(t, root(dir+"x.crt", "ours")), []string{dir + "x.crt"}}, nil, check.NoPermission, "", nil},
		{"a file of 2 MB", treeWith(t, file{dir + "x.crt", strings.Repeat("x", 2<<20)}), nil, check.NotSupported, "", nil},
	})
	if _, err := newControl(check.Options{"id": "m22", "allowed_roots": []string{"ab"}}, system{}, time.Now); err == nil || !strings.HasPrefix(err.Error(), `option "allowed_roots"`) {
		t.Errorf("a hash that is none: %v", err)
	}
}

// What Windows keeps in its registry, over the recording of a good machine.
func TestUpkeepOfStations(t *testing.T) {
	const (
		current = `software\microsoft\windows nt\currentversion`
		server  = `system\currentcontrolset\control\terminal server`
		policy  = `software\policies\microsoft\windows nt\`
		service = `system\currentcontrolset\services\`
	)
	off := map[string]map[string]any{policy + "dnsclient": {"enablemulticast": uint64(0)}}
	for _, tt := range []struct {
		name   string
		id     string
		with   check.Options
		keys   []map[string]map[string]any
		want   check.Reason
		detail string
	}{
		{"old build", "m06", check.Options{"os_ends": []string{"windows 19045=2025-10-14"}}, []map[string]map[string]any{{current: {"currentbuildnumber": "19045", "editionid": "Professional", "installationtype": "Client"}}}, check.ControlFail, "2025-10-14"},
		{"its edition is supported for longer", "m06", check.Options{"os_ends": []string{"windows 19045=2025-10-14", "windows 19045 enterprises=2032-01-13"}}, []map[string]map[string]any{{current: {"currentbuildnumber": "19045", "editionid": "EnterpriseS", "installationtype": "Client"}}}, check.OK, ""},
		{"a server of the same build", "m06", check.Options{"os_ends": []string{"windows 17763=2020-11-10", "windows server 17763=2029-01-09"}}, []map[string]map[string]any{{current: {"currentbuildnumber": "17763", "installationtype": "Server Core"}}}, check.OK, ""},
		{"a build of the wrong type", "m06", nil, []map[string]map[string]any{{current: {"currentbuildnumber": uint64(19045)}}}, check.NotSupported, ""},
		{"all off", "m08", nil, []map[string]map[string]any{off}, check.OK, ""},
		{"LLMNR as it comes", "m08", nil, nil, check.ControlFail, "LLMNR"},
		{"SMBv1 switched on", "m08", nil, []map[string]map[string]any{off, {service + `lanmanserver\parameters`: {"smb1": uint64(1)}}}, check.ControlFail, "SMBv1"},
		{"SMBv1 by its feature", "m08", nil, []map[string]map[string]any{off, {service + "mrxsmb10": {"start": uint64(2)}}}, check.ControlFail, "SMBv1"},
		{"SMBv1 switched off, with its feature", "m08", nil, []map[string]map[string]any{off, {service + "mrxsmb10": {"start": uint64(2)}}, {service + `lanmanserver\parameters`: {"smb1": uint64(0)}}}, check.OK, ""},
		{"its feature is disabled", "m08", nil, []map[string]map[string]any{off, {service + "mrxsmb10": {"start": uint64(4)}}}, check.OK, ""},
		{"a value of the wrong type", "m08", nil, []map[string]map[string]any{{policy + "dnsclient": {"enablemulticast": "0"}}}, check.NotSupported, "LLMNR"},
		{"nobody from elsewhere", "m09", nil, nil, check.OK, ""},
		{"Remote Desktop", "m09", nil, []map[string]map[string]any{{server: {"fdenytsconnections": uint64(0)}}}, check.ControlFail, "rdp"},
		{"Remote Desktop, which is allowed", "m09", check.Options{"allowed_remote": []string{"rdp"}}, []map[string]map[string]any{{server: {"fdenytsconnections": uint64(0)}, server + `\winstations\rdp-tcp`: {"userauthentication": uint64(1)}}}, check.OK, ""},
		{"without NLA", "m09", check.Options{"allowed_remote": []string{"rdp"}}, []map[string]map[string]any{{server: {"fdenytsconnections": uint64(0)}, server + `\winstations\rdp-tcp`: {"userauthentication": uint64(0)}}}, check.ControlFail, "authentication"},
		{"a policy goes first", "m09", nil, []map[string]map[string]any{{server: {"fdenytsconnections": uint64(0)}, policy + "terminal services": {"fdenytsconnections": uint64(1)}}}, check.OK, ""},
		{"a program's service", "m09", nil, []map[string]map[string]any{{service + "anydesk": {"start": uint64(2)}}}, check.ControlFail, "AnyDesk"},
		{"a setting of the wrong type", "m09", nil, []map[string]map[string]any{{server: {"fdenytsconnections": "0"}}}, check.NotSupported, "Remote Desktop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := office(t, "good")
			e := s.registry.(export)
			for _, keys := range tt.keys {
				maps.Copy(e, keys)
			}
			s.running = func(string) (bool, error) { return true, nil }
			o := check.Options{"id": tt.id}
			maps.Copy(o, tt.with)
			r := judged(t, s.system(), o)
			if r.Reason != tt.want || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("%s %q, want %s %q", r.Reason, r.Detail, tt.want, tt.detail)
			}
		})
	}
}

func FuzzSSHSettings(f *testing.F) {
	f.Add("PermitRootLogin yes\nInclude /etc/ssh/*.conf\nMatch all\nPort 22\n")
	f.Add("Include *\nPort 99999\nx\n=\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := (&tree{root: fstest.MapFS{"etc/ssh/sshd_config": {Data: []byte(text)}}}).sshd()
		if err == nil && (len(s.ports) == 0 || len(s.ports) > 64 || len(s.values) > 1000 || s.files > 65) {
			t.Errorf("%d ports, %d values, %d files", len(s.ports), len(s.values), s.files)
		}
	})
}
