package control

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Flags of an account (lmaccess.h, UF_…).
const (
	accountDisabled   = 0x2
	accountNoPassword = 0x20 // a password is not required
	accountNormal     = 0x200

	neverExpires = 0xffffffff // TIMEQ_FOREVER
)

// A user is an account of this machine, as NetUserEnum tells of it (USER_INFO_2), without its name.
type user struct {
	flags       uint32
	lastLogOn   uint32 // seconds since 1970; 0 when it is not known
	passwordAge uint32 // seconds
	expires     uint32 // seconds since 1970; neverExpires
}

// off reports whether nobody can log on with the account.
func (u user) off(now time.Time) bool {
	return u.flags&accountDisabled != 0 || u.flags&accountNormal == 0 ||
		u.expires != 0 && u.expires != neverExpires && !now.Before(time.Unix(int64(u.expires), 0))
}

// password is when the account's password was last changed; when it never was, that is decades ago.
func (u user) password(now time.Time) time.Time {
	return now.Add(-time.Duration(u.passwordAge) * time.Second)
}

// A member is one account or group among the administrators.
type member struct {
	disabled bool
	local    bool // an account of this machine: user tells about it
	user     user
}

// idlers reads the accounts of this machine, not those of a domain.
func (s *station) idlers(ctx context.Context, now time.Time) (idlers, error) {
	if s.users == nil {
		return idlers{}, fmt.Errorf("the list of accounts: %w", errNoReader)
	}
	users, err := s.users(ctx)
	if err != nil {
		return idlers{}, fmt.Errorf("the list of accounts: %w", err)
	}
	var v idlers
	for _, u := range users {
		if u.off(now) {
			continue
		}
		at := u.password(now)
		if logOn := time.Unix(int64(u.lastLogOn), 0); u.lastLogOn != 0 && logOn.After(at) {
			at = logOn
		}
		v.seen = append(v.seen, at)
	}
	return v, nil
}

// passwords reads the rules for new passwords of this machine, and how old those of its administrators are.
func (s *station) passwords(_ context.Context, now time.Time) (passwords, error) {
	if s.letters == nil {
		return passwords{}, fmt.Errorf("the rules for passwords: %w", errNoReader)
	}
	var v passwords
	var err error
	if v.length, err = s.letters(); err != nil {
		return passwords{}, fmt.Errorf("the rules for passwords: %w", err)
	}
	members, err := s.admins()
	if err != nil {
		v.unread = err
		return v, nil
	}
	for _, m := range members {
		switch {
		case m.disabled:
		case !m.local:
			v.unread = fmt.Errorf("a group or an account of a domain is among the administrators: %w", errors.ErrUnsupported)
		case m.user.off(now):
		default:
			if m.user.flags&accountNoPassword != 0 {
				v.empty++
			}
			if at := m.user.password(now); v.oldest.IsZero() || at.Before(v.oldest) {
				v.oldest = at
			}
		}
	}
	return v, nil
}
