package profiles_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Where the recordings of machines lie that the tests of the controls read too.
const recordings = "../../agent/check/control/testdata/tree"

// day is one day.
const day = 24 * time.Hour

// officeNow is when the machines of the office are looked at: the recording is of that morning.
func officeNow() time.Time { return time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) }

// ofAnyOffice are files of both machines: one disk of 240 GB, 8 GB of memory, Debian 12.
func ofAnyOffice() map[string]string {
	return map[string]string{
		"etc/os-release":              "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n",
		"proc/self/mountinfo":         "29 1 254:1 / / rw,relatime shared:1 - ext4 /dev/mapper/goc rw\n",
		"proc/self/mounts":            "/dev/mapper/goc / ext4 rw,relatime 0 0\n",
		"proc/filesystems":            "nodev\ttmpfs\n\text4\n",
		"proc/meminfo":                "MemTotal: 8000000 kB\nMemFree: 3000000 kB\nMemAvailable: 5000000 kB\nBuffers: 0 kB\nCached: 2000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
		"proc/stat":                   "cpu  1000 0 500 90000 10 0 5 0 0 0\ncpu0 1000 0 500 90000 10 0 5 0 0 0\nbtime 1763800000\n",
		"proc/uptime":                 "86400.00 80000.00\n",
		"proc/loadavg":                "0.10 0.20 0.30 1/200 900\n",
		"proc/net/dev":                "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed\n",
		"sys/class/dmi/id/sys_vendor": "Dell Inc.\n", "sys/class/dmi/id/product_name": "OptiPlex 3080\n", "sys/class/dmi/id/product_serial": "ABC1234\n",
		"sys/block/sda/size": "468862128\n", "sys/block/sda/removable": "0\n", "sys/block/sda/device/model": "SSD\n",
		"sys/fs/ext4/sda1/errors_count":     "0\n",
		"usr/share/xsessions/gnome.desktop": "[Desktop Entry]\n",
	}
}

// wellKept is a machine on which every control is met, or as far as a plan that asks for no more can tell.
func wellKept() map[string]string {
	now := officeNow()
	const dconf = "[org/gnome/desktop/session]\nidle-delay=uint32 600\n[org/gnome/desktop/screensaver]\nlock-enabled=true\nlock-delay=uint32 30\n[org/gnome/desktop/media-handling]\nautorun-never=true\n"
	files := ofAnyOffice()
	maps.Copy(files, map[string]string{
		"proc/900/comm": "clamd\n", "proc/901/comm": "clamonacc\n", "proc/902/comm": "wazuh-agentd\n", "var/lib/clamav/daily.cvd": "x",
		"var/ossec/var/run/wazuh-agentd.state": "status='connected'\nlast_ack='" + now.Add(-5*time.Minute).Format(time.DateTime) + "'\n",
		"etc/ssh/sshd_config":                  "PasswordAuthentication no\nKbdInteractiveAuthentication no\n",
		"etc/pam.d/common-password":            "password requisite pam_pwquality.so retry=3 minlen=14\n",
		"etc/pam.d/common-auth":                "auth required pam_unix.so\nauth required pam_faillock.so preauth silent\n",
		"etc/shadow":                           fmt.Sprintf("root:!:%[1]d:0:99999:7:::\nlan:$y$j9T$x:%[1]d:0:99999:7:::\nvanthu:$y$j9T$x:%[1]d:0:99999:7:::\n", now.Unix()/86400-10),
		"etc/dconf/db/local.d/00-policy":       dconf,
		"var/log/wtmp":                         starts(startedAt("shutdown", now.Add(-4*day)), startedAt("reboot", now.Add(-3*day)), loggedOn("lan", now.Add(-day)), loggedOn("vanthu", now.Add(-2*day))),
		"var/log/journal/0123456789abcdef0123456789abcdef/system.journal":   journalOf(now.Add(-2*day), now.Add(-time.Minute)),
		"var/log/journal/0123456789abcdef0123456789abcdef/system@1.journal": journalOf(now.Add(-40*day), now.Add(-2*day)),
		"var/lib/dpkg/status":         "Package: bash\nStatus: install ok installed\nVersion: 5\n\n",
		"sys/dev/block/254:1/dm/uuid": "CRYPT-LUKS2-0123-x\n",
	})
	return files
}

// neglected is a machine on which no control is met that can be.
func neglected() map[string]string {
	now := officeNow()
	files := ofAnyOffice()
	maps.Copy(files, map[string]string{
		"proc/402/comm": "agetty\n", "proc/900/comm": "anydesk\n", "var/lib/clamav/daily.cvd": "x",
		"etc/os-release":            "PRETTY_NAME=\"Debian GNU/Linux 9 (stretch)\"\nID=debian\nVERSION_ID=\"9\"\nSUPPORT_END=2022-06-30\n",
		"etc/ssh/sshd_config":       "PermitRootLogin yes\n",
		"etc/pam.d/common-password": "password requisite pam_unix.so obscure\n",
		"etc/pam.d/common-auth":     "auth required pam_unix.so\n",
		"etc/shadow":                "root:$y$j9T$x:10000:0:99999:7:::\nlan:$y$j9T$x:10000:0:99999:7:::\nvanthu:$y$j9T$x:10000:0:99999:7:::\n",
		"var/log/wtmp":              starts(startedAt("reboot", now.Add(-9*day)), loggedOn("lan", now.Add(-60*day)), startedAt("reboot", now.Add(-5*day))),
		"run/log/journal/0123456789abcdef0123456789abcdef/system.journal": journalOf(now.Add(-40*day), now.Add(-time.Minute)),
		"var/lib/dpkg/status":                    "Package: xmrig\nStatus: install ok installed\nVersion: 6\n\n",
		"usr/local/share/ca-certificates/la.crt": "-----BEGIN CERTIFICATE-----\nbGE=\n-----END CERTIFICATE-----\n",
		"etc/udev/rules.d/99-usb.rules":          "ACTION==\"add\", SUBSYSTEM==\"block\", RUN+=\"/usr/bin/mount $devnode /mnt\"\n",
		"sys/fs/ext4/sda1/errors_count":          "3\n",
		"proc/net/tcp":                           "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 00000000:0017 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0000000000000000 100 0 0 10 0\n   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0000000000000000 100 0 0 10 0\n",
		"sys/class/dmi/id/product_name":          "Vostro 220\n",
		"sys/dev/block/254:1/partition":          "1\n",
		"sys/class/dmi/id/product_serial":        "ZZZ9\n",
		"proc/sys/net/ipv4/ip_local_port_range":  "32768\t60999\n",
		"run/systemd/timesync/synchronized":      "GONE",
	})
	return files
}

// journalOf is the beginning of a file of systemd's journal with entries between two instants.
func journalOf(first, last time.Time) string {
	b := make([]byte, 256)
	copy(b, "LPKSHHRH")
	binary.LittleEndian.PutUint64(b[184:], uint64(first.UnixMicro()))
	binary.LittleEndian.PutUint64(b[192:], uint64(last.UnixMicro()))
	return string(b)
}

// A start is one record of utmp(5): of a start or an end of the system, or of somebody who logs on.
type start struct {
	kind uint16
	user string
	at   time.Time
}

func startedAt(what string, at time.Time) start {
	return start{map[string]uint16{"reboot": 2, "shutdown": 1}[what], what, at}
}

func loggedOn(user string, at time.Time) start { return start{7, user, at} }

// starts writes records as utmp(5) has them on 64-bit Linux.
func starts(list ...start) string {
	var b strings.Builder
	for _, s := range list {
		r := make([]byte, 384)
		binary.LittleEndian.PutUint16(r, s.kind)
		copy(r[44:76], s.user)
		binary.LittleEndian.PutUint32(r[340:], uint32(s.at.Unix()))
		b.Write(r)
	}
	return b.String()
}

// office makes the root folder of a machine: on a small disk of its own, which is full when the machine is neglected.
func (c *cast) office(name string, kept bool) string {
	c.t.Helper()
	root := filepath.Join(c.dir, name)
	if _, err := os.Stat(root); err == nil {
		return root
	}
	c.must(os.Mkdir(root, 0o755))
	c.must(syscall.Mount("tmpfs", root, "tmpfs", 0, "size=2m,mode=755"))
	c.t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	laid, files := []string{"debian12"}, wellKept()
	if !kept {
		laid, files = append(laid, "patched-long-ago", "admins", "tampered", "autologon-gdm"), neglected()
	}
	for i := range laid {
		laid[i] = filepath.Join(recordings, laid[i]+".txtar")
	}
	c.furnish(root, officeNow(), laid, files)
	if !kept {
		old := officeNow().Add(-30 * day)
		c.must(os.Chtimes(filepath.Join(root, "var/lib/clamav/daily.cvd"), old, old))
		f, err := os.Create(filepath.Join(root, "day"))
		c.must(err)
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		c.must(f.Close())
	}
	return root
}

// firewall closes this network's ports to others, or opens them.
func (c *cast) firewall(on bool) {
	c.t.Helper()
	rules := "flush ruleset\n"
	if on {
		rules += "table inet t {\nchain c {\ntype filter hook input priority 0; policy drop;\niifname lo accept\nct state established,related accept\nmeta l4proto { icmp, icmpv6 } accept\n}\n}\n"
	}
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	c.must(cmd.Run())
}
