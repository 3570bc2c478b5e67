//go:build linux

package stage

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/town"
)

// An end is one interface of a site.
type end struct{ site, iface string }

// lines knows which interfaces are down, and through which faults: one comes up again when the last of them is over.
type lines struct {
	town *town.Town
	cut  map[end]map[string]bool
}

// set takes interfaces down for a fault, or no longer.
func (l *lines) set(ctx context.Context, by string, on bool, ends ...end) error {
	var errs []error
	for _, e := range ends {
		was := len(l.cut[e]) > 0
		if on {
			if l.cut[e] == nil {
				l.cut[e] = map[string]bool{}
			}
			l.cut[e][by] = true
		} else {
			delete(l.cut[e], by)
		}
		is := len(l.cut[e]) > 0
		switch {
		case is && !was:
			errs = append(errs, batch(ctx, town.Netns(e.site), false, "link set "+e.iface+" down\n"))
		case was && !is:
			errs = append(errs, batch(ctx, town.Netns(e.site), false, "link set "+e.iface+" up\n"),
				batch(ctx, town.Netns(e.site), true, l.town.Routes(e.site)))
		}
	}
	return errors.Join(errs...)
}

// all lists the ends of a site's cables at the site itself.
func (l *lines) all(site string) []end {
	var out []end
	for _, e := range l.town.Uses(site) {
		out = append(out, end{site, e.Iface})
	}
	return out
}

// sysctl sets values of a namespace's kernel: paths below /proc/sys/net, and what to write.
func sysctl(netns string, values [][2]string) error {
	return servers.Place{Netns: netns}.Do(func() error {
		for _, v := range values {
			if err := os.WriteFile(filepath.Join("/proc/sys/net", v[0]), []byte(v[1]), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}

// mount puts a small disk of its own into a folder.
func mount(dir, options string) error {
	if err := unix.Mount("egovmon-lab", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return &os.PathError{Op: "mount", Path: dir, Err: err}
	}
	return nil
}
