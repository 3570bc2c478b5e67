package control

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
)

// idlers are the accounts that a person can log on with, and when each was last used.
type idlers struct {
	seen []time.Time // of each account: its last log-on or, where that is later, its last new password; zero for never
	// locks says why it could not be read which accounts are switched off; nil when it could, and those are not among seen.
	locks error
}

// judgeIdle asks that accounts which nobody uses are switched off.
func judgeIdle(v idlers, l *limits, now time.Time) *check.Result {
	idle := 0
	var longest time.Time
	for _, at := range v.seen {
		if now.Sub(at) > l.maxAge {
			idle++
			if longest.IsZero() || !at.IsZero() && at.Before(longest) {
				longest = at
			}
		}
	}
	var r *check.Result
	switch {
	case idle > 0 && v.locks != nil:
		r = unread(fmt.Errorf("%d accounts were not used for %d days; whether they are switched off: %w", idle, days(l.maxAge), v.locks))
	case idle > 0:
		r = because(check.ControlFail, "%d of %d accounts were not used for %d days and are not switched off", idle, len(v.seen), days(l.maxAge))
	default:
		r = because(check.OK, "all %d accounts were used within %d days", len(v.seen), days(l.maxAge))
	}
	r.Facts.Add("accounts_count", float64(len(v.seen)))
	if idle == 0 || v.locks == nil {
		r.Facts.Add("idle_accounts_count", float64(idle))
		addAge(&r.Facts, "age_s", longest, now)
	}
	return r
}

// Records of who logs on (utmp(5), lastlog(8)), the same on every Linux that this program is made for.
const (
	wtmpRecord  = 384
	wtmpUser    = 44
	wtmpName    = 32
	wtmpSeconds = 340
	wtmpRunning = 1 // RUN_LVL; with the user "shutdown" the system goes down
	wtmpBoot    = 2 // BOOT_TIME
	wtmpLogOn   = 7 // USER_PROCESS
	wtmpMost    = 16384

	lastlogRecord = 292
	maxAccounts   = 10000
)

// A wtmpEntry is one record of wtmp.
type wtmpEntry struct {
	kind uint16
	user string
	at   time.Time
}

// wtmp returns the last records of who logged on and when the system started, the oldest first.
func (t *tree) wtmp() ([]wtmpEntry, error) {
	f, err := t.open("var/log/wtmp")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return nil, err
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	size := i.Size() - i.Size()%wtmpRecord
	b := make([]byte, min(size, wtmpMost*wtmpRecord))
	if n, err := at.ReadAt(b, size-int64(len(b))); n < len(b) {
		return nil, err
	}
	list := make([]wtmpEntry, 0, len(b)/wtmpRecord)
	for ; len(b) >= wtmpRecord; b = b[wtmpRecord:] {
		user, _, _ := bytes.Cut(b[wtmpUser:wtmpUser+wtmpName], []byte{0})
		list = append(list, wtmpEntry{binary.LittleEndian.Uint16(b), string(user), time.Unix(int64(binary.LittleEndian.Uint32(b[wtmpSeconds:])), 0)})
	}
	return list, nil
}

// idlers reads the accounts that have a shell, when they were last used, and which of them are switched off.
func (t *tree) idlers(_ context.Context, now time.Time) (idlers, error) {
	text, err := t.read("etc/passwd", maxFile)
	if err != nil {
		return idlers{}, fmt.Errorf("the list of accounts: %w", bare(err))
	}
	last, err := t.logOns()
	if err != nil {
		return idlers{}, fmt.Errorf("the record of who logged on: %w", bare(err))
	}
	defer last.close()
	off, changed, locks := t.shadow(now)
	v := idlers{locks: locks}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) < 7 || !hasShell(f[6]) || off[f[0]] {
			continue
		}
		uid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil || uid != 0 && uid < 1000 || uid == 65534 || len(v.seen) == maxAccounts {
			continue
		}
		at := last.of(f[0], uid)
		if changed[f[0]].After(at) {
			at = changed[f[0]]
		}
		v.seen = append(v.seen, at)
	}
	return v, nil
}

// hasShell reports whether a log-on gets further than a refusal.
func hasShell(shell string) bool {
	return !strings.HasSuffix(shell, "/nologin") && !strings.HasSuffix(shell, "/false") && !strings.HasSuffix(shell, "/sync")
}

// logOns are the records of who logged on last.
type logOns struct {
	seen    map[string]time.Time // from wtmp, by account
	lastlog fs.File              // one record for each user number; nil where it is not there
}

// logOns opens them: wtmp or lastlog may be missing, not both.
func (t *tree) logOns() (logOns, error) {
	v := logOns{seen: map[string]time.Time{}}
	entries, err := t.wtmp()
	for _, e := range entries {
		if e.kind == wtmpLogOn && e.at.After(v.seen[e.user]) {
			v.seen[e.user] = e.at
		}
	}
	f, err2 := t.open("var/log/lastlog")
	if err != nil && err2 != nil {
		return v, bare(err)
	}
	v.lastlog = f
	return v, nil
}

func (v logOns) close() {
	if v.lastlog != nil {
		v.lastlog.Close()
	}
}

// of is the last log-on of an account; zero for none. The file of lastlog has holes, and is read at one place only.
func (v logOns) of(name string, uid uint64) time.Time {
	at := v.seen[name]
	if f, ok := v.lastlog.(io.ReaderAt); ok {
		var b [4]byte
		if _, err := f.ReadAt(b[:], int64(uid)*lastlogRecord); err == nil {
			if n := binary.LittleEndian.Uint32(b[:]); n > 0 && time.Unix(int64(n), 0).After(at) {
				at = time.Unix(int64(n), 0)
			}
		}
	}
	return at
}

// shadow reads which accounts are switched off (shadow(5): no password fits, or the account has expired), and when the
// passwords of the others were last changed. Only root may.
func (t *tree) shadow(now time.Time) (off map[string]bool, changed map[string]time.Time, err error) {
	text, err := t.read("etc/shadow", maxFile)
	if err != nil {
		return nil, nil, bare(err)
	}
	off, changed = map[string]bool{}, map[string]time.Time{}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) < 8 {
			continue
		}
		ends := wholeNumber(f[7])
		off[f[0]] = strings.HasPrefix(f[1], "!") || strings.HasPrefix(f[1], "*") || ends >= 0 && int64(ends)*86400 <= now.Unix()
		if n := wholeNumber(f[2]); n > 0 {
			changed[f[0]] = time.Unix(int64(n)*86400, 0)
		}
	}
	return off, changed, nil
}
