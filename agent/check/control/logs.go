package control

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"egovmon/agent/check"
)

// logs are what a system keeps of what happened on it.
type logs struct {
	oldest, newest time.Time // of what is kept; zero when nothing is
	bytes          int64     // -1 when it could not be read
	memory         bool      // they are gone after the next start
}

// logsQuiet is how long a log that is on may be silent: something starts every day.
const logsQuiet = 26 * time.Hour

// judgeLogs asks that the log is written, survives a start and reaches back far enough.
func judgeLogs(v logs, l *limits, now time.Time) *check.Result {
	reach := now.Sub(v.oldest)
	var r *check.Result
	switch {
	case v.oldest.IsZero():
		return because(check.ControlFail, "no log is kept")
	case now.Sub(v.newest) > logsQuiet:
		r = because(check.ControlFail, "nothing has been written to the log for %d days", days(now.Sub(v.newest)))
	case v.memory:
		r = because(check.ControlFail, "the log is kept in memory alone, and gone after the next start")
	case reach < l.minAge:
		r = because(check.ControlPartial, "the log reaches %d days back; at least %d are wanted", days(reach), days(l.minAge))
	default:
		r = because(check.OK, "the log reaches %d days back", days(reach))
	}
	addAge(&r.Facts, "log_reach_s", v.oldest, now)
	if v.bytes >= 0 {
		r.Facts.Add("log_bytes", float64(v.bytes))
	}
	return r
}

// logs reads the heads of the journal's files, on the disk or else in memory.
func (t *tree) logs(ctx context.Context) (logs, error) {
	for _, dir := range []string{"var/log/journal", "run/log/journal"} {
		v, err := t.journals(ctx, dir)
		if err != nil {
			return logs{}, fmt.Errorf("the journal of the system: %w", bare(err))
		}
		if !v.oldest.IsZero() {
			v.memory = dir == "run/log/journal"
			return v, nil
		}
	}
	// Without a journal, the files of a log daemon. What was written last into a file that was put aside is as old as it says.
	names, err := t.list("var/log")
	if err != nil {
		return logs{}, fmt.Errorf("the logs of the system: %w", bare(err))
	}
	var v logs
	for _, name := range names {
		word, _, _ := strings.Cut(name, ".")
		if word, _, _ = strings.Cut(word, "-"); word != "auth" && word != "secure" && word != "syslog" && word != "messages" {
			continue
		}
		i, err := fs.Stat(t.root, path.Join("var/log", name))
		if err != nil || !i.Mode().IsRegular() {
			continue // put aside meanwhile
		}
		v.take(i.ModTime(), i.ModTime(), i.Size())
	}
	return v, nil
}

func (v *logs) take(oldest, newest time.Time, size int64) {
	if v.oldest.IsZero() || oldest.Before(v.oldest) {
		v.oldest = oldest
	}
	if newest.After(v.newest) {
		v.newest = newest
	}
	v.bytes += max(0, size)
}

// journals reads the system's files of a folder, which has one for each machine.
func (t *tree) journals(ctx context.Context, dir string) (logs, error) {
	var v logs
	machines, err := t.list(dir)
	if err != nil {
		return v, err
	}
	for _, m := range machines {
		names, err := t.list(path.Join(dir, m))
		if err != nil {
			return v, err
		}
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return v, err
			}
			if !strings.HasPrefix(name, "system") || !strings.HasSuffix(name, ".journal") {
				continue
			}
			if err := t.journal(&v, path.Join(dir, m, name)); err != nil {
				return v, err
			}
		}
	}
	return v, nil
}

// journal reads the head of one file (systemd's Journal File Format): its first bytes, and when its first and last entries were
// written, in microseconds since 1970. A file without entries says nothing.
func (t *tree) journal(v *logs, name string) error {
	const (
		magic             = "LPKSHHRH"
		headAt, tailAt    = 184, 192
		headBytes         = 200
		tooEarly, tooLate = 1 << 49, 1 << 52 // 1987 and 2112
	)
	f, err := t.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // rotated meanwhile
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, headBytes)
	if _, err := io.ReadFull(f, b); err != nil || string(b[:len(magic)]) != magic {
		return nil // not a journal, or one that has only been begun
	}
	head, tail := binary.LittleEndian.Uint64(b[headAt:]), binary.LittleEndian.Uint64(b[tailAt:])
	if head < tooEarly || head > tooLate || tail < head || tail > tooLate {
		return nil
	}
	size := int64(0)
	if i, err := f.Stat(); err == nil {
		size = i.Size()
	}
	v.take(time.UnixMicro(int64(head)), time.UnixMicro(int64(tail)), size)
	return nil
}
