package machine

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
)

func TestAssetOfLinux(t *testing.T) {
	pc := map[string]string{
		"sys/class/dmi/id/sys_vendor": "Dell Inc.\n", "sys/class/dmi/id/product_name": "OptiPlex 3050\n", "sys/class/dmi/id/product_serial": "ABC1234\n",
		"etc/os-release":     "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		"proc/meminfo":       "MemTotal:        8049032 kB\nMemFree: 1 kB\n",
		"sys/block/sda/size": "500118192\n", "sys/block/sda/removable": "0\n", "sys/block/sda/device/model": "x",
		"sys/block/sdb/size": "1000\n", "sys/block/sdb/removable": "1\n", "sys/block/sdb/device/model": "a stick",
		"sys/block/loop0/size": "1000\n",
	}
	tests := []struct {
		name   string
		change map[string]string
		want   asset
	}{
		{"PC", nil, asset{System: "Debian GNU/Linux 12 (bookworm)", Maker: "Dell Inc.", Model: "OptiPlex 3050", Serial: "ABC1234", Memory: 8049032 << 10, Disks: 500118192 * 512}},
		{"odd texts", map[string]string{"sys/class/dmi/id/product_serial": "Default string", "proc/meminfo": "MemTotal: -1 kB", "sys/block/sda/size": "many"},
			asset{System: "Debian GNU/Linux 12 (bookworm)", Maker: "Dell Inc.", Model: "OptiPlex 3050"}},
		{"board", map[string]string{"sys/class/dmi/id/sys_vendor": "", "sys/class/dmi/id/product_name": "", "sys/class/dmi/id/product_serial": "", "etc/os-release": "",
			"usr/lib/os-release": "PRETTY_NAME='Armbian 24'\n", "sys/firmware/devicetree/base/model": "Orange Pi 5\x00"},
			asset{System: "Armbian 24", Model: "Orange Pi 5", Memory: 8049032 << 10, Disks: 500118192 * 512}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for _, files := range []map[string]string{pc, tt.change} {
				for name, text := range files {
					root[name] = &fstest.MapFile{Data: []byte(text)}
				}
			}
			got, err := assetOf(root)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAssetOfOddFiles puts a named pipe and a link to itself where files are expected.
func TestAssetOfOddFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"etc", "proc"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "etc/os-release"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("meminfo", filepath.Join(dir, "proc/meminfo")); err != nil {
		t.Fatal(err)
	}
	if a, err := assetOf(os.DirFS(dir)); err != nil || a.System != "" || a.Memory != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestInventoryOfThisMachine(t *testing.T) {
	f, err := inventoryKind().New(check.Options{}, check.Env{})
	if err != nil {
		t.Fatal(err)
	}
	r := f(t.Context())
	t.Logf("%s %q %v", r.Reason, r.Detail, r.Facts)
	if n, _ := r.Facts.Get("memory_bytes"); r.State == check.Unknown || n == 0 {
		t.Errorf("%s %q", r.Reason, r.Detail)
	}
}
