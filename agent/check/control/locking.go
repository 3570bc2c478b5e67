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

// locking is what keeps strangers from an account: its lock after wrong passwords, and that of a screen left alone.
type locking struct {
	tries   int           // wrong passwords until the account is locked; 0 for any number
	screens bool          // somebody works at a screen here
	idle    time.Duration // until such a screen locks itself; 0 for never
	unread  error         // why idle could not be read; nil when it could
}

// judgeLocking asks for few tries and for a screen that locks itself soon. What could not be read can only make it worse.
func judgeLocking(v locking, l *limits) *check.Result {
	var bad []string
	switch {
	case v.tries == 0:
		bad = append(bad, "wrong passwords lock no account")
	case v.tries > l.maxTries:
		bad = append(bad, fmt.Sprintf("%d wrong passwords are taken before an account is locked; at most %d are allowed", v.tries, l.maxTries))
	}
	if v.screens && v.unread == nil {
		switch {
		case v.idle == 0:
			bad = append(bad, "a screen that is left alone is not locked")
		case v.idle > l.maxIdle:
			bad = append(bad, fmt.Sprintf("a screen is locked after %.0f minutes; at most %.0f are allowed", v.idle.Minutes(), l.maxIdle.Minutes()))
		}
	}
	var r *check.Result
	switch {
	case len(bad) > 0:
		r = because(check.ControlFail, "%s", strings.Join(bad, "; "))
	case v.screens && v.unread != nil:
		r = unread(fmt.Errorf("the lock of the screen: %w", v.unread))
	default:
		r = because(check.OK, "accounts are locked after %d wrong passwords, screens in time", v.tries)
	}
	r.Facts.Add("tries_count", float64(v.tries))
	if v.screens && v.unread == nil {
		r.Facts.Add("screen_lock_s", v.idle.Seconds())
	}
	return r
}

// locking reads PAM's lock (pam_faillock(8)) and the policies of GNOME and KDE.
func (t *tree) locking(context.Context) (locking, error) {
	v := locking{screens: t.desktop()}
	var err error
	if v.tries, err = t.tries(); err != nil {
		return locking{}, fmt.Errorf("the lock of accounts: %w", bare(err))
	}
	if v.screens {
		v.idle, v.unread = t.screenLock()
	}
	return v, nil
}

// desktop reports whether somebody can work at a screen of this machine.
func (t *tree) desktop() bool {
	for _, dir := range []string{"usr/share/xsessions", "usr/share/wayland-sessions"} {
		if names, err := t.list(dir); err == nil && len(names) > 0 {
			return true
		}
	}
	return false
}

// tries is after how many wrong passwords PAM locks an account; 0 for never.
func (t *tree) tries() (int, error) {
	read, tries := 0, 0
	for _, name := range []string{"common-auth", "system-auth", "password-auth", "login"} {
		text, err := t.read(path.Join("etc/pam.d", name), maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		read++
		for line := range settings(string(text)) {
			f := strings.Fields(line)
			n := 0
			switch {
			case strings.TrimPrefix(f[0], "-") != "auth":
				continue
			case strings.Contains(line, "pam_faillock.so"):
				if n, err = t.faillock(); err != nil {
					return 0, err
				}
			case !strings.Contains(line, "pam_tally2.so"):
				continue
			}
			for _, word := range f {
				if s, ok := strings.CutPrefix(word, "deny="); ok && wholeNumber(s) >= 0 {
					n = wholeNumber(s)
				}
			}
			tries = max(tries, n) // the loosest way in counts
		}
	}
	if read == 0 {
		return 0, fmt.Errorf("PAM has none here: %w", errors.ErrUnsupported)
	}
	return min(tries, 1e6), nil
}

// faillock is what faillock.conf(5) says; 3 when it is silent.
func (t *tree) faillock() (int, error) {
	text, err := t.text("etc/security/faillock.conf")
	if n := wholeNumber(setting(text, "deny")); n >= 0 {
		return n, err
	}
	return 3, err
}

// screenLock is after how long the desktop locks its screen, as the machine's policy says: what each user set alone lies in
// folders that are nobody else's business.
func (t *tree) screenLock() (time.Duration, error) {
	gnome, err := t.dconf()
	if err != nil {
		return 0, bare(err)
	}
	if delay, ok := gnome["org/gnome/desktop/session/idle-delay"]; ok {
		enabled := gnome["org/gnome/desktop/screensaver/lock-enabled"] != "false"
		more := max(0, dconfNumber(gnome["org/gnome/desktop/screensaver/lock-delay"]))
		if n := dconfNumber(delay); n > 0 && enabled {
			return time.Duration(n+more) * time.Second, nil
		}
		return 0, nil
	}
	text, err := t.text("etc/xdg/kscreenlockerrc")
	if err != nil {
		return 0, bare(err)
	}
	if n := wholeNumber(setting(text, "Timeout")); n >= 0 {
		if strings.EqualFold(setting(text, "Autolock"), "false") {
			n = 0
		}
		return time.Duration(n) * time.Minute, nil
	}
	return 0, fmt.Errorf("no policy of this machine sets it, and each user's own setting is not read: %w", errors.ErrUnsupported)
}

// dconfNumber reads "uint32 300" or "300"; -1 when it is neither.
func dconfNumber(s string) int { return wholeNumber(strings.TrimPrefix(s, "uint32 ")) }

// dconf reads the policies of the GNOME desktop (dconf(7)): folder/key → value. Of two the later file counts.
func (t *tree) dconf() (map[string]string, error) {
	all := map[string]string{}
	dbs, err := t.list("etc/dconf/db")
	if err != nil {
		return nil, err
	}
	for _, db := range dbs {
		if !strings.HasSuffix(db, ".d") {
			continue
		}
		names, err := t.list(path.Join("etc/dconf/db", db))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			file := path.Join("etc/dconf/db", db, name)
			if i, err := fs.Stat(t.root, file); err != nil || i.IsDir() {
				continue // the locks, or gone meanwhile
			}
			text, err := t.text(file)
			if err != nil {
				return nil, err
			}
			folder := ""
			for line := range settings(text) {
				if line[0] == '[' {
					folder = strings.Trim(line, "[]")
				} else if k, v, ok := strings.Cut(line, "="); ok && len(all) < 10000 {
					all[folder+"/"+strings.TrimSpace(k)] = strings.TrimSpace(v)
				}
			}
		}
	}
	return all, nil
}
