package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"egovmon/agent/check"
)

// upkeep is how the machine's disks and its power fare.
type upkeep struct {
	disks    int // file systems, arrays and disks that the kernel keeps a count of errors for
	faulty   int // of them with errors
	ups      int
	battery  bool     // a UPS feeds the machine
	low      bool     // and is nearly empty
	ends     []ending // of the runs of the system before the present one, the oldest first
	unknown  error    // why they could not be read; nil when they could
	diskless error    // why no disk could be asked
	upsless  error    // why the UPS could not be asked
	verdict  bool     // faulty is what the disks say of themselves, not what the system counts on them
}

// An ending is how one run of the system ended, told at the next start.
type ending struct {
	at   time.Time // of the next start
	kind endingKind
}

type endingKind uint8

const (
	cleanEnd endingKind = iota // it was switched off or restarted
	crashEnd                   // the kernel stopped and left a record of it
	powerEnd                   // neither: most likely the power was cut
)

// judgeUpkeep asks for disks without errors and for runs that end in order. What could not be read can only make it worse.
func judgeUpkeep(v upkeep, l *limits, now time.Time) *check.Result {
	crashes, cuts, clean := 0, 0, 0
	for _, e := range v.ends {
		switch {
		case now.Sub(e.at) > l.maxAge:
		case e.kind == crashEnd:
			crashes++
		case e.kind == powerEnd:
			cuts++
		default:
			clean++
		}
	}
	var weak []string
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			weak = append(weak, fmt.Sprintf(format, args...))
		}
	}
	add(v.battery, "the UPS feeds this machine")
	add(v.low && !v.battery, "the UPS's battery is low")
	add(crashes > 0, "%d crashes in %d days", crashes, days(l.maxAge))
	add(cuts > 0, "%d ends without a shutdown in %d days, most likely power cuts", cuts, days(l.maxAge))
	var r *check.Result
	switch {
	case v.faulty > 0:
		text := "the kernel counts errors on %d of %d disks and file systems"
		if v.verdict {
			text = "%d of %d disks say that they are failing"
		}
		r = because(check.ControlFail, "%s", strings.Join(append([]string{fmt.Sprintf(text, v.faulty, v.disks)}, weak...), "; "))
	case v.low && v.battery:
		r = because(check.ControlFail, "the UPS feeds this machine and is nearly empty")
	case len(weak) > 0:
		r = because(check.ControlPartial, "%s", strings.Join(weak, "; "))
	case v.unknown != nil:
		r = unread(fmt.Errorf("how the system ended before: %w", v.unknown))
	case v.upsless != nil:
		r = unread(fmt.Errorf("the UPS, asked of NUT: %w", v.upsless))
	case v.diskless != nil:
		r = unread(fmt.Errorf("errors of the disks: %w", v.diskless))
	case v.verdict:
		r = because(check.OK, "%d disks call themselves healthy, %d ends in order", v.disks, clean)
	default:
		r = because(check.OK, "%d disks and file systems without errors, %d ends in order; the disks' own verdict (SMART) was not asked for", v.disks, clean)
	}
	if v.diskless == nil {
		r.Facts.Add("disks_faulty_count", float64(v.faulty))
	}
	if v.upsless == nil {
		r.Facts.Add("ups_count", float64(v.ups))
	}
	if v.ups > 0 {
		r.Facts.Add("on_battery_code", yes01(v.battery))
	}
	if v.unknown == nil {
		r.Facts.Add("power_cuts_count", float64(cuts))
		r.Facts.Add("crashes_count", float64(crashes))
	}
	return r
}

// upkeep reads what the kernel tells of disks and power, and how the runs before ended.
func (t *tree) upkeep(context.Context) (upkeep, error) {
	var v upkeep
	v.diskless = t.disks(&v)
	if err := t.supplies(&v); err != nil {
		return upkeep{}, fmt.Errorf("the power supplies: %w", bare(err))
	}
	v.ends, v.unknown = t.endings()
	return v, nil
}

// disks counts the errors that need no right to be read: those of ext4, of arrays (md) and the state of NVMe disks.
func (t *tree) disks(v *upkeep) error {
	for _, s := range []struct {
		dir, file string
		bad       func(text string) bool
	}{
		{"sys/fs/ext4", "errors_count", func(s string) bool { return s != "0" }},
		{"sys/block", "md/degraded", func(s string) bool { return s != "0" }},
		{"sys/class/nvme", "state", func(s string) bool { return s == "dead" }},
	} {
		names, err := t.list(s.dir)
		if err != nil {
			return bare(err)
		}
		for _, name := range names {
			b, err := t.read(path.Join(s.dir, name, s.file), 4096)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
				continue
			}
			if err != nil {
				return bare(err)
			}
			v.disks++
			v.faulty += int(yes01(s.bad(strings.TrimSpace(string(b)))))
		}
	}
	if v.disks == 0 {
		return fmt.Errorf("the kernel counts none for what is here: %w", errors.ErrUnsupported)
	}
	return nil
}

// supplies looks for a UPS among the kernel's power supplies. One that a program of its own watches is not among them.
func (t *tree) supplies(v *upkeep) error {
	const dir, nearlyEmpty = "sys/class/power_supply", 20
	names, err := t.list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		kind, _ := t.text(path.Join(dir, name, "type"))
		if strings.TrimSpace(kind) != "UPS" {
			continue
		}
		v.ups++
		status, _ := t.text(path.Join(dir, name, "status"))
		if strings.TrimSpace(status) == "Discharging" {
			v.battery = true
			left, _ := t.text(path.Join(dir, name, "capacity"))
			n := wholeNumber(left)
			v.low = v.low || n >= 0 && n < nearlyEmpty
		}
	}
	return nil
}

// endings reads from wtmp how each run ended: in order when the shutdown stands before the next start, else by a crash when
// the kernel left a record of one in between, else by a cut.
func (t *tree) endings() ([]ending, error) {
	entries, err := t.wtmp()
	if err != nil {
		return nil, bare(err)
	}
	crashes := t.crashes()
	var list []ending
	var last time.Time // the start before
	clean, booted := false, false
	for _, e := range entries {
		switch {
		case e.kind == wtmpRunning && e.user == "shutdown":
			clean = true
		case e.kind == wtmpBoot:
			if booted {
				kind := powerEnd
				if clean {
					kind = cleanEnd
				} else if crashed(crashes, last, e.at) {
					kind = crashEnd
				}
				list = append(list, ending{e.at, kind})
			}
			clean, booted, last = false, true, e.at
		}
	}
	if !booted {
		return nil, fmt.Errorf("no start of the system is recorded: %w", errors.ErrUnsupported)
	}
	return list, nil
}

// crashes is when the kernel left records of its end: kdump's folders, and what systemd-pstore saved at the next start.
func (t *tree) crashes() (at []time.Time) {
	for _, dir := range []string{"var/crash", "var/lib/systemd/pstore"} {
		entries, err := readDir(t.root, dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if i, err := e.Info(); err == nil && (e.IsDir() || strings.HasPrefix(e.Name(), "dmesg")) {
				at = append(at, i.ModTime())
			}
		}
	}
	return at
}

// crashed reports whether a record was left between a start and shortly after the next, when it is saved.
func crashed(records []time.Time, from, to time.Time) bool {
	for _, at := range records {
		if at.After(from) && at.Before(to.Add(slack)) {
			return true
		}
	}
	return false
}
