package control

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
)

const (
	maxHistory  = 64 << 20 // bytes of one file of history, unpacked
	maxRotated  = 60       // files of history, five years of months
	aptTime     = "2006-01-02  15:04:05"
	dnfTime     = "2006-01-02T15:04:05-0700"
	aptLists    = "var/lib/apt/lists"
	aptPeriodic = "var/lib/apt/periodic"
)

// A history is where a package manager writes what it did.
type history struct {
	dir, base string
	scan      func(ctx context.Context, r io.Reader) (last, begins time.Time, err error)
}

// patches reads the history of apt or of dnf.
func (t *tree) patches(ctx context.Context) (patches, error) {
	var p patches
	for _, h := range []history{{"var/log/apt", "history.log", t.scanApt}, {"var/log", "dnf.rpm.log", scanDnf}} {
		last, begins, err := t.upgrades(ctx, h)
		if err != nil {
			return patches{}, fmt.Errorf("the history of package upgrades: %w", bare(err))
		}
		if last.After(p.last) {
			p.last = last
		}
		if p.begins.IsZero() || !begins.IsZero() && begins.Before(p.begins) {
			p.begins = begins
		}
	}
	p.lists = t.fetched()
	p.reboot = t.has("run", "reboot-required") || t.has("var/run", "reboot-required")
	return p, nil
}

// upgrades looks through a history from its newest file back to the first upgrade. begins is where what was read begins.
func (t *tree) upgrades(ctx context.Context, h history) (last, begins time.Time, err error) {
	names, err := t.list(h.dir)
	if err != nil {
		return last, begins, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return rotation(n, h.base) < 0 })
	check.Order(names, func(a, b string) int { return rotation(a, h.base) - rotation(b, h.base) })
	for _, name := range names[:min(len(names), maxRotated)] {
		from, to, err := t.upgradesIn(ctx, path.Join(h.dir, name), h)
		if err != nil {
			return last, begins, err
		}
		if !to.IsZero() && (begins.IsZero() || to.Before(begins)) {
			begins = to
		}
		if !from.IsZero() {
			return from, begins, nil
		}
	}
	return last, begins, nil
}

// rotation is how often a file of this base name was rotated: history.log 0, history.log.2.gz 2; negative for others.
func rotation(name, base string) int {
	rest, ok := strings.CutPrefix(name, base)
	switch {
	case !ok:
		return -1
	case rest == "":
		return 0
	}
	rest = strings.TrimSuffix(rest, ".gz")
	n, err := strconv.Atoi(strings.TrimLeft(rest, ".-")) // dnf's are named after the day or the number
	if err != nil || n < 1 {
		return -1
	}
	if n > 19700101 {
		n = 99999999 - n + 1000 // a day: the later the less rotated
	}
	return n
}

func (t *tree) upgradesIn(ctx context.Context, name string, h history) (last, begins time.Time, err error) {
	f, err := t.open(name)
	if err != nil {
		return last, begins, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return last, begins, fmt.Errorf("%s is damaged: %w", path.Base(name), err)
		}
		r = z
	}
	return h.scan(ctx, io.LimitReader(r, maxHistory))
}

// scanApt reads stanzas of apt's history. One that holds an upgrade and ended without an error counts.
func (t *tree) scanApt(ctx context.Context, r io.Reader) (last, begins time.Time, err error) {
	upgraded, failed := false, false
	err = starts(ctx, r, func(line string) {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "Start-Date":
			upgraded, failed = false, false
			if at, err := time.ParseInLocation(aptTime, value, t.zone); err == nil && (begins.IsZero() || at.Before(begins)) {
				begins = at
			}
		case "Upgrade":
			upgraded = true
		case "Error":
			failed = true
		case "End-Date":
			if at, err := time.ParseInLocation(aptTime, value, t.zone); err == nil && upgraded && !failed && at.After(last) {
				last = at
			}
		}
	})
	return last, begins, err
}

// scanDnf reads dnf's log of packages: time, level, what was done.
func scanDnf(ctx context.Context, r io.Reader) (last, begins time.Time, err error) {
	err = starts(ctx, r, func(line string) {
		f := strings.Fields(line)
		if len(f) < 3 {
			return
		}
		at, err := time.Parse(dnfTime, f[0])
		if err != nil {
			return
		}
		if begins.IsZero() || at.Before(begins) {
			begins = at
		}
		if (f[2] == "Upgrade:" || f[2] == "Upgraded:") && at.After(last) {
			last = at
		}
	})
	return last, begins, err
}

// starts calls f with each line, of long ones with the beginning: apt lists hundreds of packages in one line.
func starts(ctx context.Context, r io.Reader, f func(line string)) error {
	b := bufio.NewReaderSize(r, 4096)
	for {
		line, long, err := b.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f(string(line))
		for long && err == nil {
			_, long, err = b.ReadLine()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// fetched is when the lists of available packages last came, by the newest file that says so.
func (t *tree) fetched() (newest time.Time) {
	look := func(name string) {
		if i, err := fs.Stat(t.root, name); err == nil && i.Mode().IsRegular() && i.ModTime().After(newest) {
			newest = i.ModTime()
		}
	}
	look(path.Join(aptPeriodic, "update-success-stamp"))
	names, _ := t.list(aptLists)
	for _, name := range names {
		if strings.HasSuffix(name, "Release") {
			look(path.Join(aptLists, name))
		}
	}
	return newest
}
