package control

import (
	"context"
	"fmt"
	"path"
	"strings"

	"egovmon/agent/check"
)

// autorun is what happens when somebody plugs in a disk that they brought.
type autorun struct {
	refused bool     // disks at USB are not taken at all
	screens bool     // somebody works at a screen here, where the desktop may open what is plugged in
	off     bool     // a policy forbids the desktop to
	mounts  []string // what takes such disks in without asking
}

// judgeAutorun asks that nothing of a disk is run or opened by itself.
func judgeAutorun(v autorun) *check.Result {
	var r *check.Result
	switch {
	case v.refused:
		r = because(check.OK, "disks at USB are not taken")
	case len(v.mounts) > 0:
		r = because(check.ControlFail, "%s takes in disks at USB without asking", strings.Join(v.mounts, ", "))
	case v.screens && !v.off:
		r = because(check.ControlPartial, "no policy keeps the desktop from opening what is plugged in")
	default:
		r = because(check.OK, "nothing on a disk at USB is run or opened by itself")
	}
	r.Facts.Add("usb_refused_code", yes01(v.refused))
	r.Facts.Add("automounts_count", float64(len(v.mounts)))
	if v.screens {
		r.Facts.Add("autorun_off_code", yes01(v.off))
	}
	return r
}

// autorun reads the rules of udev, the settings of the kernel's modules and the policies of GNOME.
func (t *tree) autorun(context.Context) (autorun, error) {
	v := autorun{screens: t.desktop()}
	for _, dir := range []string{"etc/modprobe.d", "usr/lib/modprobe.d"} {
		err := t.eachLine(dir, ".conf", func(line string) {
			f := strings.Fields(line)
			if len(f) >= 3 && f[0] == "install" && (f[1] == "usb-storage" || f[1] == "usb_storage") && !strings.Contains(line, "modprobe") {
				v.refused = true
			}
		})
		if err != nil {
			return autorun{}, fmt.Errorf("the settings of the kernel's modules: %w", bare(err))
		}
	}
	udev := false
	err := t.eachLine("etc/udev/rules.d", ".rules", func(line string) {
		low := strings.ToLower(line)
		udev = udev || strings.Contains(low, "run") && strings.Contains(low, "mount") && !strings.Contains(low, "umount")
	})
	if err != nil {
		return autorun{}, fmt.Errorf("the rules of udev: %w", bare(err))
	}
	if udev {
		v.mounts = append(v.mounts, "udev")
	}
	text, err := t.text("etc/usbmount/usbmount.conf")
	if err != nil {
		return autorun{}, fmt.Errorf("the settings of usbmount: %w", bare(err))
	}
	if setting(text, "ENABLED") == "1" {
		v.mounts = append(v.mounts, "usbmount")
	}
	if v.screens {
		gnome, err := t.dconf()
		if err != nil {
			return autorun{}, fmt.Errorf("the policies of the desktop: %w", bare(err))
		}
		const media = "org/gnome/desktop/media-handling/"
		v.off = gnome[media+"autorun-never"] == "true"
	}
	return v, nil
}

// eachLine gives the lines of the settings in a folder.
func (t *tree) eachLine(dir, suffix string, see func(line string)) error {
	names, err := t.list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		text, err := t.text(path.Join(dir, name))
		if err != nil {
			return err
		}
		for line := range settings(text) {
			see(line)
		}
	}
	return nil
}
