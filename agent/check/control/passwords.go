package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
)

// passwords are what a system asks of new passwords, and how old those of its administrators are.
type passwords struct {
	length int       // the fewest letters
	oldest time.Time // when an administrator last changed a password, the longest ago; zero when none of them has one
	empty  int       // administrators who need none
	unread error     // why the administrators' could not be read; nil when they could
}

// judgePasswords asks for long passwords, and for young ones of administrators. What could not be read can only make it worse.
func judgePasswords(v passwords, l *limits, now time.Time) *check.Result {
	age := now.Sub(v.oldest)
	var r *check.Result
	switch {
	case v.empty > 0:
		r = because(check.ControlFail, "%d administrators need no password", v.empty)
	case v.length < l.minLength:
		r = because(check.ControlFail, "passwords of %d letters are taken; at least %d are wanted", v.length, l.minLength)
	case v.unread != nil:
		r = unread(fmt.Errorf("the administrators' passwords: %w", v.unread))
	case !v.oldest.IsZero() && age > l.maxAge:
		r = because(check.ControlPartial, "an administrator's password is %d days old; at most %d are allowed", days(age), days(l.maxAge))
	default:
		r = because(check.OK, "passwords of at least %d letters, and young ones of administrators", v.length)
	}
	r.Facts.Add("password_length_count", float64(v.length))
	if v.unread == nil {
		r.Facts.Add("empty_passwords_count", float64(v.empty))
		addAge(&r.Facts, "age_s", v.oldest, now)
	}
	return r
}

// passwords reads what PAM asks of new passwords, and shadow(5), which root alone may.
func (t *tree) passwords(context.Context, time.Time) (passwords, error) {
	var v passwords
	var err error
	if v.length, err = t.passwordLength(); err != nil {
		return passwords{}, fmt.Errorf("the rules for passwords: %w", err)
	}
	p, err := t.people()
	if err != nil {
		return passwords{}, err
	}
	admins := map[string]bool{}
	for name, who := range p.accounts {
		admins[name] = who.uid == "0"
	}
	for _, group := range []string{"sudo", "wheel", "admin"} {
		for _, name := range p.members(group) {
			admins[name] = true
		}
	}
	shadow, err := t.read("etc/shadow", maxFile)
	if err != nil {
		v.unread = bare(err)
		return v, nil
	}
	for line := range strings.Lines(string(shadow)) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) < 3 || !admins[f[0]] || strings.HasPrefix(f[1], "!") || strings.HasPrefix(f[1], "*") {
			continue // nobody's, or one that lets nobody in
		}
		if f[1] == "" {
			v.empty++
		}
		// 0 asks for a new one at the next log-on.
		if n, err := strconv.ParseUint(f[2], 10, 20); err == nil && n > 0 {
			if at := time.Unix(int64(n)*86400, 0); v.oldest.IsZero() || at.Before(v.oldest) {
				v.oldest = at
			}
		}
	}
	return v, nil
}

// passwordLength is the fewest letters that PAM takes: as its module for good passwords is told (pwquality.conf(5), by itself 8), or
// pam_unix(8) by itself, 6.
func (t *tree) passwordLength() (int, error) {
	length := -1
	for _, name := range []string{"etc/pam.d/common-password", "etc/pam.d/system-auth", "etc/pam.d/password-auth"} {
		text, err := t.text(name)
		if err != nil {
			return 0, bare(err)
		}
		for line := range settings(text) {
			f := strings.Fields(line)
			if len(f) < 3 || strings.TrimPrefix(f[0], "-") != "password" {
				continue
			}
			n := -1
			switch {
			case strings.Contains(line, "pam_pwquality.so"), strings.Contains(line, "pam_cracklib.so"):
				if n, err = t.quality(); err != nil {
					return 0, bare(err)
				}
			case strings.Contains(line, "pam_unix.so"):
				n = 6
			default:
				continue
			}
			for _, word := range f {
				if s, ok := strings.CutPrefix(word, "minlen="); ok {
					if m, err := strconv.Atoi(s); err == nil {
						n = m
					}
				}
			}
			length = max(length, n) // each module must take a password
		}
	}
	if length < 0 {
		return 0, fmt.Errorf("PAM has none here: %w", errors.ErrUnsupported)
	}
	return min(length, 1<<16), nil
}

// quality is the length that the module for good passwords asks for.
func (t *tree) quality() (int, error) {
	const dir = "etc/security/pwquality.conf.d"
	files := []string{"etc/security/pwquality.conf"}
	names, err := t.list(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".conf") {
			files = append(files, path.Join(dir, name))
		}
	}
	length := 8
	for _, name := range files {
		text, err := t.text(name)
		if err != nil {
			return 0, err
		}
		if n, err := strconv.Atoi(setting(text, "minlen")); err == nil {
			length = max(n, 6) // it takes no less
		}
	}
	return length, nil
}
