package control

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// clock asks the kernel whether its clock follows a source, which chrony, ntpd, timesyncd and PTP all tell it, and looks
// for their processes.
func (t *tree) clock(context.Context) (clock, error) {
	var c clock
	if t.adjust == nil {
		return clock{}, fmt.Errorf("the kernel's clock: %w", errNoReader)
	}
	k, err := t.adjust()
	if err != nil {
		return clock{}, fmt.Errorf("the kernel's clock: %w", err)
	}
	c.known, c.synchronised, c.maxError = true, k.synchronised, &k.maxError
	if k.synchronised {
		c.offset = &k.offset
	}
	found, err := t.running("chronyd", "systemd-timesyn", "ntpd", "ntpsec", "openntpd", "ptp4l", "phc2sys")
	c.hidden = err != nil
	c.services = slices.Sorted(maps.Keys(found))
	if i := slices.Index(c.services, "systemd-timesyn"); i >= 0 {
		c.services[i] = "systemd-timesyncd" // the kernel keeps 15 letters
	}
	if i, err := fs.Stat(t.root, "run/systemd/timesync/synchronized"); err == nil && found["systemd-timesyn"] > 0 {
		c.last = i.ModTime()
	}
	return c, nil
}
