package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"
)

// dummyHash is checked for names that nobody has, so that the time of an answer tells nothing.
const dummyHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// errRefused says that somebody may not enter. It does not say why: not that a name is known, or a password right.
var errRefused = errors.New("name, password or code are wrong, or the user is locked")

// errBusy says that too many passwords are being checked.
var errBusy = errors.New("too many try to enter at the same time")

// enter opens a session for who gives a name, a password and, if it has one, a code. It returns the session's secret.
func (a *Access) enter(ctx context.Context, id, password, code string) (secret string, err error) {
	if len(password) > 4*maxPassword {
		return "", errRefused
	}
	u, known := a.people.get(id)
	hash := u.Password
	if hash == "" {
		hash = dummyHash
	}
	right, err := a.checkHash(ctx, hash, password)
	if err != nil {
		return "", err
	}
	now := a.now()
	if !known || u.Password == "" || u.Disabled || now.Before(a.locks.until(id, now)) {
		return "", errRefused
	}
	var step int64
	if right && u.Code != "" {
		step, right = matchCode(u.Code, code, u.CodeStep, now)
	}
	if !right {
		if a.locks.wrong(id, now) {
			a.log.Warn("a user is locked after wrong tries", "user", id, "for", LockLife)
		}
		return "", errRefused
	}
	used := false
	err = a.people.touch(id, func(r *userRecord) {
		if used = step > 0 && step <= r.CodeStep || r.Password != u.Password || r.Disabled; used {
			return // the same code, at the same time; or another password by now
		}
		r.Entered = stamp(now)
		r.CodeStep = max(r.CodeStep, step)
	})
	if used || errors.Is(err, ErrNoUser) {
		return "", errRefused
	}
	if err != nil {
		return "", err // a code that is not written down as used could be used again
	}
	a.locks.forget(id)
	a.log.Info("a session began", "user", id)
	return a.begin(id)
}

// checkHash checks a password, a few at a time.
func (a *Access) checkHash(ctx context.Context, hash, password string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case a.hashing <- struct{}{}:
	case <-ctx.Done():
		return false, errBusy
	}
	defer func() { <-a.hashing }()
	return checkPassword(hash, password)
}

// begin opens a session of a user.
func (a *Access) begin(user string) (secret string, err error) {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dropEndedLocked(now)
	dropOldest(a.sessions, maxSessions-1, func(s session) time.Time { return s.ends })
	secret = rand.Text()
	a.sessions[sha256.Sum256([]byte(secret))] = session{user, now.Add(SessionLife)}
	if err := a.saveSessionsLocked(); err != nil {
		// The session is good until this program ends; only the next start will not know it.
		a.log.Error("a session could not be written down; it ends with the program", "err", err)
	}
	return secret, nil
}

// end closes the session of a secret.
func (a *Access) end(secret string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sessions, sha256.Sum256([]byte(secret)))
	a.saveOrTellLocked()
}

// endSessions closes every session of a user.
func (a *Access) endSessions(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for d, s := range a.sessions {
		if s.user == user {
			delete(a.sessions, d)
		}
	}
	a.saveOrTellLocked()
}

func (a *Access) saveOrTellLocked() {
	if err := a.saveSessionsLocked(); err != nil {
		a.log.Error("sessions that ended could not be written down; after a start they are open again", "err", err)
	}
}

// setUp sets the password of who holds a link for it, and its code where one is given or must be. It returns the secret
// of a session, or why the password or the code is not taken.
func (a *Access) setUp(ctx context.Context, link, password, again, code string) (secret string, why *weakness, err error) {
	u, ok := a.people.invited(link)
	if !ok {
		return "", nil, errRefused
	}
	withCode := code != "" || u.Role.needsCode()
	if why := weak(password, u.ID, withCode); why != nil {
		return "", why, nil
	}
	if string(plain(password)) != string(plain(again)) {
		return "", &weakness{"access.pw.again", nil}, nil
	}
	var step int64
	if withCode {
		if step, ok = matchCode(u.Setup.Code, code, 0, a.now()); !ok {
			return "", &weakness{"access.pw.code", nil}, nil
		}
	}
	hash, err := a.newHash(ctx, password)
	if err != nil {
		return "", nil, err
	}
	key := u.Setup.Code
	if !withCode {
		key = ""
	}
	if err := a.setPassword(ctx, u, u.Setup.SHA256, hash, key, step); err != nil {
		return "", nil, err
	}
	secret, err = a.begin(u.ID)
	return secret, nil, err
}

func (a *Access) newHash(ctx context.Context, password string) (string, error) {
	select {
	case a.hashing <- struct{}{}:
	case <-ctx.Done():
		return "", errBusy
	}
	defer func() { <-a.hashing }()
	return hashPassword(password), nil
}

// setPassword writes a password that u has set itself: that it did is in the log. setup names the link that it used up.
func (a *Access) setPassword(ctx context.Context, u userRecord, setup, hash, key string, step int64) error {
	p := &a.people
	p.writing.Lock()
	defer p.writing.Unlock()
	now, ok := p.get(u.ID)
	if !ok || now.Disabled || setup != "" && (now.Setup == nil || now.Setup.SHA256 != setup) || setup == "" && now.Password != u.Password {
		return errRefused // meanwhile somebody has changed the user
	}
	leaf, err := p.record(ctx, "password", u.ID, now.fields())
	if err != nil {
		return err
	}
	err = p.apply(leaf, func() {
		r := p.users[u.ID]
		r.Password, r.Setup, r.Leaf = hash, nil, leaf
		if setup != "" {
			r.Code, r.CodeStep = key, step
		}
		r.Entered = stamp(a.now())
	})
	a.endSessions(u.ID)
	a.locks.forget(u.ID)
	return err
}

// ChangePassword sets a new password for who knows the old one, and ends its sessions. why is the key of a phrase and its
// arguments that say what is wrong with the new one, "" when it was set.
func (a *Access) ChangePassword(ctx context.Context, id, old, fresh, again string) (why string, args []any, err error) {
	u, ok := a.people.get(id)
	if !ok || u.Password == "" || !a.now().After(a.locks.until(id, a.now())) {
		return "access.pw.old", nil, nil
	}
	right, err := a.checkHash(ctx, u.Password, old)
	if err != nil {
		return "", nil, err
	}
	if !right {
		a.locks.wrong(id, a.now())
		return "access.pw.old", nil, nil
	}
	if w := weak(fresh, id, u.Code != ""); w != nil {
		return w.phrase, w.args, nil
	}
	if string(plain(fresh)) != string(plain(again)) {
		return "access.pw.again", nil, nil
	}
	hash, err := a.newHash(ctx, fresh)
	if err != nil {
		return "", nil, err
	}
	return "", nil, a.setPassword(ctx, u, "", hash, "", 0)
}
