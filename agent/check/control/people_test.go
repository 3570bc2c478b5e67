package control

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"egovmon/agent/check"
)

// wtmpOf writes records as the system does.
func wtmpOf(entries ...wtmpEntry) string {
	var b strings.Builder
	for _, e := range entries {
		r := make([]byte, wtmpRecord)
		binary.LittleEndian.PutUint16(r, e.kind)
		copy(r[wtmpUser:wtmpUser+wtmpName], e.user)
		binary.LittleEndian.PutUint32(r[wtmpSeconds:], uint32(e.at.Unix()))
		b.Write(r)
	}
	return b.String()
}

func daysAgo(n float64) time.Time { return testNow.Add(-time.Duration(n * float64(day))) }

// epochDay is a day as shadow(5) counts them.
func epochDay(t time.Time) int64 { return t.Unix() / 86400 }

func TestJudgeIdle(t *testing.T) {
	l := &limits{maxAge: 45 * day}
	for _, tt := range []struct {
		name string
		in   idlers
		want check.Reason
		idle float64
	}{
		{"nobody", idlers{}, check.OK, 0},
		{"at the limit", idlers{seen: []time.Time{daysAgo(45)}}, check.OK, 0},
		{"longer", idlers{seen: []time.Time{daysAgo(1), daysAgo(46)}}, check.ControlFail, 1},
		{"never", idlers{seen: []time.Time{{}}}, check.ControlFail, 1},
		{"perhaps switched off", idlers{seen: []time.Time{{}}, locks: errDenied}, check.NoPermission, -1},
		{"locks are hidden, but all are used", idlers{seen: []time.Time{daysAgo(2)}, locks: errDenied}, check.OK, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := judgeIdle(tt.in, l, testNow)
			declared(t, r)
			if r.Reason != tt.want {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
			wantFacts(t, r, map[string]float64{"idle_accounts_count": tt.idle, "accounts_count": float64(len(tt.in.seen))})
		})
	}
}

func TestIdle(t *testing.T) {
	passwd := file{"etc/passwd", "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/sh\nhoa:x:1000:1000:Nguyễn Thị Hòa:/home/hoa:/bin/bash\n" +
		"văn thư:x:1001:1001::/home/vt:/bin/bash\nweb:x:1002:1002::/srv:/usr/sbin/nologin\nnobody:x:65534:65534::/:/bin/sh\n"}
	shadow := func(hoa, clerk string) file {
		return file{"etc/shadow", fmt.Sprintf("root:!:19000:0:99999:7:::\nhoa:%s:19000:0:99999:7:::\nvăn thư:%s:19000:0:99999:7:::\n", hoa, clerk)}
	}
	logOns := file{"var/log/wtmp", wtmpOf(wtmpEntry{wtmpLogOn, "hoa", daysAgo(2)}, wtmpEntry{wtmpLogOn, "văn thư", daysAgo(60)})}
	lastlog := func(uid int64, at time.Time) file {
		b := make([]byte, uid*lastlogRecord+lastlogRecord)
		binary.LittleEndian.PutUint32(b[uid*lastlogRecord:], uint32(at.Unix()))
		return file{"var/log/lastlog", string(b)}
	}
	n := func(n, idle float64) map[string]float64 {
		return map[string]float64{"accounts_count": n, "idle_accounts_count": idle}
	}
	runUpkeep(t, "m11", []upkeepTest{
		{"one is idle", treeWith(t, passwd, shadow("$y$x", "$y$x"), logOns), nil, check.ControlFail, "1 of 2 accounts", n(2, 1)},
		{"it is locked", treeWith(t, passwd, shadow("$y$x", "!$y$x"), logOns), nil, check.OK, "", n(1, 0)},
		{"it has no password", treeWith(t, passwd, shadow("$y$x", "*"), logOns), nil, check.OK, "", n(1, 0)},
		{"it has expired", treeWith(t, passwd, file{"etc/shadow", fmt.Sprintf("root:*:1:::::\nroot:*:1:0:9:7:::\nvăn thư:$y$x:1:0:9:7::%d:\n", epochDay(daysAgo(1)))}, logOns), nil, check.OK, "", n(1, 0)},
		{"it expires later", treeWith(t, passwd, file{"etc/shadow", fmt.Sprintf("root:*:1:0:9:7:::\nvăn thư:$y$x:1:0:9:7::%d:\n", epochDay(daysAgo(-5)))}, logOns), nil, check.ControlFail, "", n(2, 1)},
		{"it got a new password", treeWith(t, passwd, file{"etc/shadow", fmt.Sprintf("root:*:1:0:9:7:::\nvăn thư:$y$x:%d:0:9:7:::\n", epochDay(daysAgo(3)))}, logOns), nil, check.OK, "", n(2, 0)},
		{"lastlog knows it", treeWith(t, passwd, shadow("$y$x", "$y$x"), logOns, lastlog(1001, daysAgo(5))), nil, check.OK, "", n(2, 0)},
		{"lastlog alone", treeWith(t, passwd, shadow("!", "$y$x"), lastlog(1001, daysAgo(5))), nil, check.OK, "", n(1, 0)},
		{"the plan allows more", treeWith(t, passwd, shadow("$y$x", "$y$x"), logOns), check.Options{"max_age": 90 * day}, check.OK, "", n(2, 0)},
		{"locks are hidden", guarded{treeWith(t, passwd, shadow("$y$x", "!"), logOns), []string{"etc/shadow"}}, nil, check.NoPermission, "", map[string]float64{"idle_accounts_count": -1}},
		{"no record", treeWith(t, passwd, shadow("$y$x", "!")), nil, check.NotSupported, "", nil},
		{"the record is hidden", guarded{treeWith(t, passwd, logOns), []string{"var/log/wtmp"}}, nil, check.NoPermission, "", nil},
	})
}

func TestJudgeLocking(t *testing.T) {
	l := &limits{maxTries: 10, maxIdle: 15 * time.Minute}
	for _, tt := range []struct {
		name string
		in   locking
		want check.Reason
	}{
		{"server", locking{tries: 5}, check.OK},
		{"any number", locking{}, check.ControlFail},
		{"at the limit", locking{tries: 10, screens: true, idle: 15 * time.Minute}, check.OK},
		{"too many", locking{tries: 11}, check.ControlFail},
		{"never locked", locking{tries: 5, screens: true}, check.ControlFail},
		{"too late", locking{tries: 5, screens: true, idle: 16 * time.Minute}, check.ControlFail},
		{"screen not read", locking{tries: 5, screens: true, unread: errNoReader}, check.NotSupported},
		{"screen hidden", locking{tries: 5, screens: true, unread: errDenied}, check.NoPermission},
		{"screen hidden, but a fault is seen", locking{screens: true, unread: errDenied}, check.ControlFail},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := judgeLocking(tt.in, l)
			declared(t, r)
			if r.Reason != tt.want {
				t.Errorf("%s %q, want %s", r.Reason, r.Detail, tt.want)
			}
		})
	}
}

func TestLocking(t *testing.T) {
	pam := func(lines string) file { return file{"etc/pam.d/common-auth", "auth required pam_unix.so\n" + lines} }
	lock := pam("auth required pam_faillock.so preauth silent\n")
	conf := func(s string) file { return file{"etc/security/faillock.conf", s} }
	screen := file{"usr/share/xsessions/gnome.desktop", "[Desktop Entry]\n"}
	gnome := func(s string) file { return file{"etc/dconf/db/local.d/00-lock", s} }
	const session = "[org/gnome/desktop/session]\nidle-delay=uint32 600\n[org/gnome/desktop/screensaver]\nlock-enabled=true\nlock-delay=uint32 %d\n"
	n := func(tries, idle float64) map[string]float64 {
		return map[string]float64{"tries_count": tries, "screen_lock_s": idle}
	}
	runUpkeep(t, "m13", []upkeepTest{
		{"nothing locks", treeWith(t, pam("")), nil, check.ControlFail, "lock no account", n(0, -1)},
		{"by itself", treeWith(t, lock), nil, check.OK, "", n(3, -1)},
		{"as set", treeWith(t, lock, conf("# deny = 9\ndeny = 5\n")), nil, check.OK, "", n(5, -1)},
		{"too many", treeWith(t, lock, conf("deny = 12")), nil, check.ControlFail, "12 wrong passwords", n(12, -1)},
		{"the plan allows fewer", treeWith(t, lock), check.Options{"max_tries": int64(2)}, check.ControlFail, "", nil},
		{"in the line", treeWith(t, pam("auth required pam_faillock.so authfail deny=4\n")), nil, check.OK, "", n(4, -1)},
		{"the older module", treeWith(t, pam("auth required pam_tally2.so deny=6\n")), nil, check.OK, "", n(6, -1)},
		{"commented out", treeWith(t, pam("#auth required pam_faillock.so\n")), nil, check.ControlFail, "", n(0, -1)},
		{"another stack", treeWith(t, pam("account required pam_faillock.so\n")), nil, check.ControlFail, "", n(0, -1)},
		{"screen by policy", treeWith(t, lock, screen, gnome(fmt.Sprintf(session, 30))), nil, check.OK, "", n(3, 630)},
		{"screen too late", treeWith(t, lock, screen, gnome(fmt.Sprintf(session, 400))), nil, check.ControlFail, "after 17 minutes", n(3, 1000)},
		{"the plan allows more", treeWith(t, lock, screen, gnome(fmt.Sprintf(session, 400))), check.Options{"max_idle": 20 * time.Minute}, check.OK, "", nil},
		{"screen never", treeWith(t, lock, screen, gnome("[org/gnome/desktop/session]\nidle-delay=uint32 0\n")), nil, check.ControlFail, "is not locked", n(3, 0)},
		{"lock switched off", treeWith(t, lock, screen, gnome("[org/gnome/desktop/session]\nidle-delay=300\n[org/gnome/desktop/screensaver]\nlock-enabled=false\n")), nil, check.ControlFail, "", n(3, 0)},
		{"KDE", treeWith(t, lock, screen, file{"etc/xdg/kscreenlockerrc", "[Daemon]\nAutolock=true\nTimeout=5\n"}), nil, check.OK, "", n(3, 300)},
		{"KDE, off", treeWith(t, lock, screen, file{"etc/xdg/kscreenlockerrc", "[Daemon]\nAutolock=false\nTimeout=5\n"}), nil, check.ControlFail, "", n(3, 0)},
		{"each user's own", treeWith(t, lock, screen), nil, check.NotSupported, "own setting", n(3, -1)},
		{"policies are hidden", guarded{treeWith(t, lock, screen, gnome("x")), []string{"etc/dconf"}}, nil, check.NoPermission, "", n(3, -1)},
		{"no PAM", treeWith(t), nil, check.NotSupported, "", nil},
		{"PAM is hidden", guarded{treeWith(t, lock), []string{"etc/pam.d/common-auth"}}, nil, check.NoPermission, "", nil},
	})
}

func TestAutorun(t *testing.T) {
	screen := file{"usr/share/wayland-sessions/plasma.desktop", "[Desktop Entry]\n"}
	policy := func(v string) file {
		return file{"etc/dconf/db/site.d/10-media", "[org/gnome/desktop/media-handling]\nautomount=" + v + "\nautorun-never=" + v + "\n"}
	}
	runUpkeep(t, "m14", []upkeepTest{
		{"server", treeWith(t), nil, check.OK, "", map[string]float64{"autorun_off_code": -1, "usb_refused_code": 0}},
		{"desktop", treeWith(t, screen), nil, check.ControlPartial, "no policy", map[string]float64{"autorun_off_code": 0}},
		{"desktop by policy", treeWith(t, screen, policy("false"), file{"etc/dconf/db/site.d/20-media", "[org/gnome/desktop/media-handling]\nautorun-never=true\n"}), nil, check.OK, "", map[string]float64{"autorun_off_code": 1}},
		{"desktop, policy lets it", treeWith(t, screen, policy("false")), nil, check.ControlPartial, "", map[string]float64{"autorun_off_code": 0}},
		{"refused", treeWith(t, screen, file{"etc/modprobe.d/usb.conf", "install usb-storage /bin/false\n"}), nil, check.OK, "not taken", map[string]float64{"usb_refused_code": 1}},
		{"loaded in another way", treeWith(t, screen, file{"etc/modprobe.d/usb.conf", "install usb-storage /sbin/modprobe --ignore-install usb-storage\n"}), nil, check.ControlPartial, "", nil},
		{"a rule mounts", treeWith(t, file{"etc/udev/rules.d/99-usb.rules", "ACTION==\"add\", SUBSYSTEM==\"block\", RUN+=\"/usr/bin/mount $devnode /mnt\"\n"}), nil, check.ControlFail, "udev", map[string]float64{"automounts_count": 1}},
		{"a rule unmounts", treeWith(t, file{"etc/udev/rules.d/99-usb.rules", "ACTION==\"remove\", RUN+=\"/usr/bin/umount /mnt\"\n"}), nil, check.OK, "", nil},
		{"usbmount", treeWith(t, file{"etc/usbmount/usbmount.conf", "ENABLED=1\n"}), nil, check.ControlFail, "usbmount", nil},
		{"usbmount, off", treeWith(t, file{"etc/usbmount/usbmount.conf", "ENABLED=0\n"}), nil, check.OK, "", nil},
		{"rules are hidden", guarded{treeWith(t, file{"etc/udev/rules.d/x.rules", "x"}), []string{"etc/udev"}}, nil, check.NoPermission, "", nil},
	})
}

func TestEDR(t *testing.T) {
	process := file{"proc/901/comm", "wazuh-agentd\n"}
	// Connections to 10.20.0.9:1514 and, from this machine, of others.
	table := func(state string) file {
		return file{"proc/net/tcp", "  sl  local_address rem_address   st\n   0: 0A00140A:C350 0900140A:05EA " + state + " 0\n"}
	}
	to := check.Options{"addresses": []string{"10.20.0.9:1514"}}
	runUpkeep(t, "m03", []upkeepTest{
		{"none, not asked for", treeWith(t), nil, check.ControlPartial, "no agent", map[string]float64{"edr_count": 0}},
		{"none", treeWith(t), check.Options{"required": true}, check.ControlFail, "no agent", nil},
		{"no centre in the plan", treeWith(t, process), nil, check.ControlPartial, "names no centre", map[string]float64{"edr_count": 1, "centres_connected_count": -1}},
		{"connected", treeWith(t, process, table("01")), to, check.OK, "wazuh-agentd", map[string]float64{"centres_connected_count": 1}},
		{"closing", treeWith(t, process, table("06")), to, check.ControlFail, "connected to none", map[string]float64{"centres_connected_count": 0}},
		{"another port", treeWith(t, process, table("01")), check.Options{"addresses": []string{"10.20.0.9:1515"}}, check.ControlFail, "", nil},
		{"one that the plan names", treeWith(t, file{"proc/901/comm", "bkavedr\n"}, table("01")), check.Options{"programs": []string{"bkavedr"}, "addresses": []string{"[::ffff:10.20.0.9]:1514"}}, check.OK, "bkavedr", nil},
		{"connections are hidden", guarded{treeWith(t, process), []string{"proc/net"}}, to, check.NoPermission, "", nil},
		{"a table that is odd", treeWith(t, process, file{"proc/net/tcp", "x\n 0: a b 01\n"}), to, check.NotSupported, "", nil},
		{"processes are hidden", guarded{treeWith(t), []string{"proc/1/comm"}}, nil, check.NoPermission, "", nil},
	})
	if _, err := newControl(check.Options{"id": "m03", "addresses": []string{"siem.tinh.vn:1514"}}, system{}, time.Now); err == nil || !strings.HasPrefix(err.Error(), `option "addresses"`) {
		t.Errorf("a name as a centre: %v", err)
	}
}

func TestForwarding(t *testing.T) {
	process := func(name string) file { return file{"proc/901/comm", name + "\n"} }
	rsyslog := func(s string) file { return file{"etc/rsyslog.d/50-soc.conf", s} }
	table := file{"proc/net/tcp6", "  sl  local_address rem_address   st\n   0: 00000000000000000000000001000000:C350 0000000000000000FFFF00000900140A:05EA 01 0\n"}
	to := check.Options{"addresses": []string{"10.20.0.9:1514"}}
	// The recorded clock is UTC.
	acked := func(ago time.Duration) file {
		return file{"var/ossec/var/run/wazuh-agentd.state", "# State\nstatus='connected'\nlast_ack='" + testNow.Add(-ago).In(time.Local).Format(time.DateTime) + "'\n"}
	}
	runUpkeep(t, "m18", []upkeepTest{
		{"none", treeWith(t), nil, check.ControlFail, "nothing forwards", map[string]float64{"forwarders_count": 0}},
		{"a log daemon that keeps all", treeWith(t, process("rsyslogd"), rsyslog("*.* /var/log/all\n")), nil, check.ControlFail, "", nil},
		{"by UDP", treeWith(t, process("rsyslogd"), rsyslog("*.* @10.20.0.9:514\n")), nil, check.ControlPartial, "rsyslogd", map[string]float64{"forwarders_count": 1}},
		{"commented out", treeWith(t, process("rsyslogd"), rsyslog("#*.* @10.20.0.9:514\n")), nil, check.ControlFail, "", nil},
		{"by an action", treeWith(t, process("rsyslogd"), rsyslog("action(type=\"omfwd\" target=\"10.20.0.9\")\n"), table), to, check.OK, "rsyslogd", map[string]float64{"centres_connected_count": 1}},
		{"not connected", treeWith(t, process("rsyslogd"), rsyslog("*.* @@10.20.0.9:1514\n")), to, check.ControlFail, "connected to none", nil},
		{"syslog-ng", treeWith(t, process("syslog-ng"), file{"etc/syslog-ng/syslog-ng.conf", "source s { network(port(514)); };\ndestination d { network(\"10.20.0.9\"); };\n"}), nil, check.ControlPartial, "syslog-ng", nil},
		{"syslog-ng that only takes", treeWith(t, process("syslog-ng"), file{"etc/syslog-ng/syslog-ng.conf", "source s { network(port(514)); };\n"}), nil, check.ControlFail, "", nil},
		{"sent lately", treeWith(t, process("wazuh-agentd"), acked(5*time.Minute)), nil, check.OK, "5 minutes", map[string]float64{"age_s": 300}},
		{"at the limit", treeWith(t, process("wazuh-agentd"), acked(15*time.Minute)), nil, check.OK, "", nil},
		{"sent too long ago, though connected", treeWith(t, process("wazuh-agentd"), acked(16*time.Minute), table), to, check.ControlFail, "16 minutes", nil},
		{"the plan allows more", treeWith(t, process("wazuh-agentd"), acked(16*time.Minute)), check.Options{"max_age": time.Hour}, check.OK, "", nil},
		{"in the future", treeWith(t, process("wazuh-agentd"), acked(-time.Hour)), nil, check.ControlPartial, "future", nil},
		{"one that the plan names", treeWith(t, process("bkavlog"), table), check.Options{"programs": []string{"bkavlog"}, "addresses": []string{"10.20.0.9:1514"}}, check.OK, "bkavlog", nil},
		{"settings are hidden", guarded{treeWith(t, process("rsyslogd"), rsyslog("x")), []string{"etc/rsyslog.d"}}, nil, check.NoPermission, "", nil},
	})
}

func TestSoftware(t *testing.T) {
	const installed, removed = "install ok installed", "deinstall ok config-files"
	dpkg := func(pairs ...string) file {
		var b strings.Builder
		for i := 0; i < len(pairs); i += 2 {
			fmt.Fprintf(&b, "Package: %s\nStatus: %s\nVersion: 1\nDescription: x\n Status: in a text\n\n", pairs[i], pairs[i+1])
		}
		return file{"var/lib/dpkg/status", b.String()}
	}
	n := func(all, bad float64) map[string]float64 {
		return map[string]float64{"software_count": all, "forbidden_count": bad}
	}
	runUpkeep(t, "m23", []upkeepTest{
		{"clean", treeWith(t, dpkg("bash", installed, "curl", installed)), nil, check.OK, "2 programs", n(2, 0)},
		{"never wanted", treeWith(t, dpkg("bash", installed, "XMRig-cuda", installed)), nil, check.ControlFail, "1 of 2", n(2, 1)},
		{"taken away", treeWith(t, dpkg("bash", installed, "xmrig", removed)), nil, check.OK, "", n(1, 0)},
		{"forbidden by the plan", treeWith(t, dpkg("bash", installed, "qbittorrent", installed)), check.Options{"forbidden": []string{"*Torrent*"}}, check.ControlFail, "", n(2, 1)},
		{"a miner runs", treeWith(t, dpkg("bash", installed), file{"proc/901/comm", "kdevtmpfsi\n"}), nil, check.ControlFail, "mine coins", map[string]float64{"miners_count": 1}},
		{"apk", treeWith(t, file{"lib/apk/db/installed", "C:x\nP:musl\nV:1\n\nP:xmrig\nV:2\n"}), nil, check.ControlFail, "1 of 2", n(2, 1)},
		{"pacman", treeWith(t, file{"var/lib/pacman/local/xmr-stak-1.0-1/desc", "x"}, file{"var/lib/pacman/local/cpuminer-1.0-1/desc", "x"}), nil, check.ControlFail, "1 of 2", n(2, 1)},
		{"no list", treeWith(t), nil, check.NotSupported, "", n(-1, -1)},
		{"no list, but a miner", treeWith(t, file{"proc/901/comm", "xmrig\n"}), nil, check.ControlFail, "", nil},
		{"the list is hidden", guarded{treeWith(t, dpkg("a", installed)), []string{"var/lib/dpkg"}}, nil, check.NoPermission, "", nil},
		{"a line without end", treeWith(t, file{"var/lib/dpkg/status", strings.Repeat("x", 2<<20)}), nil, check.NotSupported, "", nil},
	})
	if _, err := newControl(check.Options{"id": "m23", "forbidden": []string{"[a"}}, system{}, time.Now); err == nil || !strings.HasPrefix(err.Error(), `option "forbidden"`) {
		t.Errorf("a pattern that is none: %v", err)
	}
}

// TestSoftwareChange finds that another list has another number, and the same list in another order has not.
func TestSoftwareChange(t *testing.T) {
	number := func(names ...string) float64 {
		v, _ := judgeSoftware(software{packages: names}, &limits{}).Facts.Get("software_hash_serial")
		return v
	}
	if number("a", "b") != number("b", "a") || number("a", "b") == number("a", "c") {
		t.Errorf("%v, %v, %v", number("a", "b"), number("b", "a"), number("a", "c"))
	}
}

func TestUpkeepOfTheMachine(t *testing.T) {
	boot := func(ago float64) wtmpEntry { return wtmpEntry{wtmpBoot, "reboot", daysAgo(ago)} }
	down := func(ago float64) wtmpEntry { return wtmpEntry{wtmpRunning, "shutdown", daysAgo(ago)} }
	login := func(ago float64) wtmpEntry { return wtmpEntry{wtmpLogOn, "hoa", daysAgo(ago)} }
	wtmp := func(entries ...wtmpEntry) file { return file{"var/log/wtmp", wtmpOf(entries...)} }
	ext4 := func(n string) file { return file{"sys/fs/ext4/sda1/errors_count", n + "\n"} }
	ups := func(status, capacity string) []file {
		const dir = "sys/class/power_supply/hidups-1/"
		return []file{{dir + "type", "UPS\n"}, {dir + "status", status + "\n"}, {dir + "capacity", capacity + "\n"}, ext4("0"), wtmp(boot(3))}
	}
	crash := func(at time.Time, files ...file) fstest.MapFS {
		m := treeWith(t, files...)
		m["var/lib/systemd/pstore/dmesg-efi-1"] = &fstest.MapFile{Data: []byte("x"), ModTime: at}
		return m
	}
	n := func(cuts, crashes float64) map[string]float64 {
		return map[string]float64{"power_cuts_count": cuts, "crashes_count": crashes}
	}
	runUpkeep(t, "m26", []upkeepTest{
		{"good", treeWith(t, ext4("0"), wtmp(boot(9), login(8), down(5), boot(5))), nil, check.OK, "1 ends in order", n(0, 0)},
		{"the power was cut", treeWith(t, ext4("0"), wtmp(boot(9), login(8), boot(5))), nil, check.ControlPartial, "power cuts", n(1, 0)},
		{"an order of the run before the cut", treeWith(t, ext4("0"), wtmp(down(10), boot(9), boot(5))), nil, check.ControlPartial, "", n(1, 0)},
		{"the kernel crashed", crash(daysAgo(5).Add(time.Minute), ext4("0"), wtmp(boot(9), boot(5))), nil, check.ControlPartial, "1 crashes", n(0, 1)},
		{"it crashed before", crash(daysAgo(12), ext4("0"), wtmp(boot(9), boot(5))), nil, check.ControlPartial, "power cuts", n(1, 0)},
		{"long ago", treeWith(t, ext4("0"), wtmp(boot(90), boot(60), down(4), boot(4))), nil, check.OK, "", n(0, 0)},
		{"long ago, but the plan looks so far", treeWith(t, ext4("0"), wtmp(boot(90), boot(60))), check.Options{"max_age": 70 * day}, check.ControlPartial, "", n(1, 0)},
		{"errors on a file system", treeWith(t, ext4("3"), wtmp(boot(3))), nil, check.ControlFail, "errors on 1 of 1", map[string]float64{"disks_faulty_count": 1}},
		{"an array lacks a disk", treeWith(t, ext4("0"), file{"sys/block/md0/md/degraded", "1\n"}, wtmp(boot(3))), nil, check.ControlFail, "1 of 2", nil},
		{"a dead disk", treeWith(t, file{"sys/class/nvme/nvme0/state", "dead\n"}, wtmp(boot(3))), nil, check.ControlFail, "", nil},
		{"UPS at the mains", treeWith(t, ups("Charging", "15")...), nil, check.OK, "", map[string]float64{"ups_count": 1, "on_battery_code": 0}},
		{"UPS feeds", treeWith(t, ups("Discharging", "80")...), nil, check.ControlPartial, "UPS", map[string]float64{"on_battery_code": 1}},
		{"UPS nearly empty", treeWith(t, ups("Discharging", "19")...), nil, check.ControlFail, "nearly empty", nil},
		{"a battery is no UPS", treeWith(t, ext4("0"), wtmp(boot(3)), file{"sys/class/power_supply/BAT0/type", "Battery\n"}, file{"sys/class/power_supply/BAT0/status", "Discharging\n"}), nil, check.OK, "", map[string]float64{"ups_count": 0}},
		{"no record of starts", treeWith(t, ext4("0")), nil, check.NotSupported, "how the system ended", n(-1, -1)},
		{"an empty record", treeWith(t, ext4("0"), wtmp(login(1))), nil, check.NotSupported, "", nil},
		{"the record is hidden", guarded{treeWith(t, ext4("0"), wtmp(boot(3))), []string{"var/log/wtmp"}}, nil, check.NoPermission, "", nil},
		{"no disk that tells", treeWith(t, wtmp(boot(3))), nil, check.NotSupported, "errors of the disks", map[string]float64{"disks_faulty_count": -1}},
		{"nothing is read, but the power was cut", treeWith(t, wtmp(boot(9), boot(5))), nil, check.ControlPartial, "", nil},
	})
}

// FuzzWtmp reads records that somebody damaged.
func FuzzWtmp(f *testing.F) {
	f.Add([]byte(wtmpOf(wtmpEntry{wtmpBoot, "reboot", testNow}, wtmpEntry{wtmpLogOn, "hoa", testNow})))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr := tree{root: fstest.MapFS{"var/log/wtmp": {Data: b}, "etc/passwd": {Data: []byte("a:x:1000:1000::/:/bin/sh\n")}}}
		entries, err := tr.wtmp()
		if err == nil && len(entries) != len(b)/wtmpRecord && len(entries) != wtmpMost {
			t.Errorf("%d records of %d bytes", len(entries), len(b))
		}
		if _, err := tr.idlers(context.Background(), testNow); err != nil {
			t.Error(err)
		}
	})
}
