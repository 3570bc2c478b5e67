package machine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

func readAsset(context.Context) (asset, error) {
	a, err := assetOf(os.DirFS("/"))
	a.Links = hardwareLinks()
	return a, err
}

// assetOf reads a Linux machine from its files, without rights: the firmware's table (DMI), the kernel and os-release(5).
func assetOf(root fs.FS) (asset, error) {
	const dmi = "sys/class/dmi/id/"
	a := asset{
		Maker: brief(small(root, dmi+"sys_vendor")), Model: brief(small(root, dmi+"product_name")), Serial: brief(small(root, dmi+"product_serial")),
	}
	if a.Model == "" {
		a.Model = brief(strings.TrimRight(small(root, "sys/firmware/devicetree/base/model"), "\x00"))
	}
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		for line := range strings.Lines(small(root, name)) {
			if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				a.System = brief(strings.Trim(strings.TrimSpace(v), `"'`))
			}
		}
		if a.System != "" {
			break
		}
	}
	if f := strings.Fields(small(root, "proc/meminfo")); len(f) > 1 && f[0] == "MemTotal:" {
		if n, err := strconv.ParseUint(f[1], 10, 43); err == nil {
			a.Memory = n << 10
		}
	}
	disks, err := fs.ReadDir(root, "sys/block")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return a, err
	}
	for _, d := range disks {
		block := path.Join("sys/block", d.Name())
		if _, err := fs.Stat(root, block+"/device"); err != nil || strings.TrimSpace(small(root, block+"/removable")) == "1" {
			continue // made by the kernel, or brought by somebody
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(small(root, block+"/size")), 10, 43); err == nil {
			a.Disks += n * 512 // sectors of the kernel, whatever the disk's own are
		}
	}
	return a, nil
}

// small is the text of a small file; "" when it cannot be read, or is no regular file.
func small(root fs.FS, name string) string {
	i, err := fs.Stat(root, name)
	if err != nil || !i.Mode().IsRegular() {
		return ""
	}
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return ""
	}
	return string(b)
}
