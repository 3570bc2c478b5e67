package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"egovmon/collector/evidence"
)

// How long a link for setting a password is good, and how many users and tokens there may be.
const (
	SetupLife = 72 * time.Hour
	TokenLife = 366 * 24 * time.Hour // the longest of a program's token

	maxUsers  = 500
	maxTokens = 100
	maxName   = 120 // bytes of a display name
)

// Errors of changes.
var (
	ErrNoUser    = errors.New("no such user")
	ErrNoToken   = errors.New("no such token")
	ErrTaken     = errors.New("the name is taken")
	ErrLastAdmin = errors.New("no other administrator could enter: make another one first")
	ErrNoLog     = errors.New("users are kept in the log, and there is none here")
)

// A Log is what people need of the transparency log: every change of who may do what is a leaf before it holds.
type Log interface {
	Append(ctx context.Context, entries ...evidence.Entry) (first int64, err error)
	Leaves(from int64) iter.Seq2[evidence.Stored, error]
	Leaf(i int64) (evidence.Leaf, error)
	Size() int64
}

// An Account is a person who may enter.
type Account struct {
	ID       string // as it stands in the log: lower-case letters, digits, dot, hyphen, underscore
	Name     string // for people; not in the log
	Role     Role
	Unit     string // the only unit it sees; "" is all
	Disabled bool
	Ready    bool      // it has set a password
	Code     bool      // it enters with a second factor
	Invited  time.Time // its link for setting a password is good until then; zero for none
	Entered  time.Time // when it last entered; zero for never
	Locked   time.Time // it cannot enter until then; zero for no lock
}

// A Token is what a program enters with.
type Token struct {
	Name   string
	Scopes []Scope
	Ends   time.Time
	Unit   string // the only unit that it sees; "" is all
}

// people are the users and tokens of an Access.
type people struct {
	log     Log
	dir     string
	now     func() time.Time
	changed func(user string) // the sessions of a user end

	writing sync.Mutex // held from judging a change until it is written

	mu     sync.Mutex
	users  map[string]*userRecord
	tokens map[string]*tokenRecord
	next   int64 // the leaf of the log that comes next
}

// A userRecord is a user as it is kept in the file.
type userRecord struct {
	ID       string       `json:"id"`
	Name     string       `json:"name,omitempty"`
	Role     Role         `json:"role"`
	Unit     string       `json:"unit,omitempty"`
	Disabled bool         `json:"disabled,omitempty"`
	Leaf     int64        `json:"leaf"` // that last said role, unit and disabled
	Password string       `json:"password,omitempty"`
	Code     string       `json:"code,omitempty"`      // secret of one-time codes
	CodeStep int64        `json:"code_step,omitempty"` // the last one used
	Entered  time.Time    `json:"entered,omitzero"`
	Setup    *setupRecord `json:"setup,omitempty"`
}

// A setupRecord is an open link for setting a password.
type setupRecord struct {
	SHA256 string    `json:"sha256"`
	Ends   time.Time `json:"ends"`
	Code   string    `json:"code"` // the secret of one-time codes that it offers
}

type tokenRecord struct {
	Name   string    `json:"name"`
	SHA256 string    `json:"sha256"`
	Scopes []Scope   `json:"scopes"`
	Ends   time.Time `json:"ends"`
	Leaf   int64     `json:"leaf"`
	Unit   string    `json:"unit,omitempty"`
}

var (
	userName  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,31}$`)
	unitName  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	noLetters = regexp.MustCompile(`^[0-9._-]+$`)
)

// Any reports whether there are users. While there are none, whoever holds a one-time link may do everything.
func (a *Access) Any() bool {
	a.people.mu.Lock()
	defer a.people.mu.Unlock()
	return len(a.people.users) > 0
}

// Users returns the users, by id.
func (a *Access) Users() []Account {
	p, now := &a.people, a.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Account, 0, len(p.users))
	for _, u := range p.users {
		x := Account{ID: u.ID, Name: u.Name, Role: u.Role, Unit: u.Unit, Disabled: u.Disabled, Ready: u.Password != "", Code: u.Code != "",
			Entered: u.Entered, Locked: a.locks.until(u.ID, now)}
		if u.Setup != nil && now.Before(u.Setup.Ends) {
			x.Invited = u.Setup.Ends
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Account) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Tokens returns the tokens of programs, by name.
func (a *Access) Tokens() []Token {
	p := &a.people
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Token, 0, len(p.tokens))
	for _, t := range p.tokens {
		out = append(out, Token{t.Name, slices.Clone(t.Scopes), t.Ends, t.Unit})
	}
	slices.SortFunc(out, func(a, b Token) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// AddUser makes a user, and returns the path of the link with which it sets its password, within [SetupLife].
func (a *Access) AddUser(ctx context.Context, by string, u Account) (path string, err error) {
	if err := checkUser(u); err != nil {
		return "", err
	}
	p := &a.people
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	n, taken := len(p.users), p.users[u.ID] != nil
	p.mu.Unlock()
	switch {
	case taken:
		return "", fmt.Errorf("user %s: %w", u.ID, ErrTaken)
	case n >= maxUsers:
		return "", fmt.Errorf("there are %d users, and no more are kept: remove those who have left", n)
	}
	leaf, err := p.record(ctx, "add", by, map[string]string{"user": u.ID, "role": string(u.Role), "unit": u.Unit, "state": "active"})
	if err != nil {
		return "", err
	}
	r := &userRecord{ID: u.ID, Name: u.Name, Role: u.Role, Unit: u.Unit, Leaf: leaf}
	path, err = p.invite(r)
	if err != nil {
		return "", err
	}
	return path, p.apply(leaf, func() { p.users[r.ID] = r })
}

// A Change is what is to be another way; nil leaves it.
type Change struct {
	Role     *Role
	Unit     *string
	Disabled *bool
}

// ChangeUser changes what a user may do. It ends the user's sessions.
func (a *Access) ChangeUser(ctx context.Context, by, id string, c Change) error {
	return a.people.change(ctx, by, id, "change", func(u *userRecord) error {
		if c.Role != nil {
			u.Role = *c.Role
		}
		if c.Unit != nil {
			u.Unit = *c.Unit
		}
		if c.Disabled != nil {
			u.Disabled = *c.Disabled
		}
		return checkUser(Account{ID: u.ID, Name: u.Name, Role: u.Role, Unit: u.Unit})
	})
}

// ResetUser takes a user's password and codes away and returns the path of a link with which it sets new ones. It ends
// the user's sessions.
func (a *Access) ResetUser(ctx context.Context, by, id string) (path string, err error) {
	err = a.people.change(ctx, by, id, "reset", func(u *userRecord) error {
		u.Password, u.Code, u.CodeStep = "", "", 0
		path, err = a.people.invite(u)
		return err
	})
	if err == nil {
		a.locks.forget(id)
	}
	return path, err
}

// RemoveUser ends a user. What it did stays in the log.
func (a *Access) RemoveUser(ctx context.Context, by, id string) error {
	return a.people.change(ctx, by, id, "remove", func(u *userRecord) error { u.Role = ""; return nil })
}

// AddToken makes a token for a program, good for at most [TokenLife].
func (a *Access) AddToken(ctx context.Context, by string, t Token) (secret string, err error) {
	p, now := &a.people, a.now()
	switch {
	case !userName.MatchString(t.Name):
		return "", fmt.Errorf("token %q: a name has 2 to 32 of a-z, 0-9, dot, hyphen, underscore", t.Name)
	case len(t.Scopes) == 0:
		return "", fmt.Errorf("token %s: no scopes: give some of %s", t.Name, join(Scopes()))
	case t.Unit != "" && !unitName.MatchString(t.Unit):
		return "", fmt.Errorf("token %s: %.40q is no unit", t.Name, t.Unit)
	case !t.Ends.After(now), t.Ends.After(now.Add(TokenLife)):
		return "", fmt.Errorf("token %s: its end must be within a year from now", t.Name)
	}
	for _, s := range t.Scopes {
		if !slices.Contains(Scopes(), s) {
			return "", fmt.Errorf("token %s: scope %q: write some of %s", t.Name, s, join(Scopes()))
		}
		if t.Unit != "" && !ofUnit(s) {
			return "", fmt.Errorf("token %s: %s shows what is of every unit, and cannot be bound to one", t.Name, s)
		}
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	n, taken := len(p.tokens), p.tokens[t.Name] != nil
	p.mu.Unlock()
	switch {
	case taken:
		return "", fmt.Errorf("token %s: %w", t.Name, ErrTaken)
	case n >= maxTokens:
		return "", fmt.Errorf("there are %d tokens, and no more are kept: end those that nothing uses", n)
	}
	leaf, err := p.record(ctx, "token", by, map[string]string{"token": t.Name, "scopes": join(t.Scopes), "until": t.Ends.UTC().Format(leafTime), "unit": t.Unit})
	if err != nil {
		return "", err
	}
	secret = "egov_" + rand.Text()
	r := &tokenRecord{t.Name, digestOf(secret), slices.Clone(t.Scopes), t.Ends.UTC(), leaf, t.Unit}
	return secret, p.apply(leaf, func() { p.tokens[t.Name] = r })
}

// EndToken ends a token at once.
func (a *Access) EndToken(ctx context.Context, by, name string) error {
	p := &a.people
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	known := p.tokens[name] != nil
	p.mu.Unlock()
	if !known {
		return fmt.Errorf("token %q: %w", name, ErrNoToken)
	}
	leaf, err := p.record(ctx, "token-end", by, map[string]string{"token": name})
	if err != nil {
		return err
	}
	return p.apply(leaf, func() { delete(p.tokens, name) })
}

// change writes a change of a user into the log, then into the file.
func (p *people) change(ctx context.Context, by, id, action string, edit func(*userRecord) error) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	old := p.users[id]
	var u userRecord
	if old != nil {
		u = *old
	}
	p.mu.Unlock()
	if old == nil {
		return fmt.Errorf("user %q: %w", id, ErrNoUser)
	}
	if err := edit(&u); err != nil {
		return err
	}
	if old.Role == RoleAdmin && !old.Disabled && old.Password != "" && (u.Role != RoleAdmin || u.Disabled) && !p.otherAdmin(id) {
		return fmt.Errorf("user %s: %w", id, ErrLastAdmin)
	}
	leaf, err := p.record(ctx, action, by, u.fields())
	if err != nil {
		return err
	}
	u.Leaf = leaf
	err = p.apply(leaf, func() {
		if u.Role == "" {
			delete(p.users, id)
			return
		}
		p.users[id] = &u
	})
	p.changed(id)
	return err
}

// otherAdmin reports whether an administrator besides id could enter.
func (p *people) otherAdmin(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.users {
		if u.ID != id && u.Role == RoleAdmin && !u.Disabled && u.Password != "" {
			return true
		}
	}
	return false
}

// invite makes a new link for setting a password.
func (p *people) invite(u *userRecord) (path string, err error) {
	key, err := newCodeKey(u.ID)
	if err != nil {
		return "", err
	}
	secret := rand.Text()
	u.Setup = &setupRecord{digestOf(secret), p.now().Add(SetupLife).UTC(), key}
	return setupPath + secret, nil
}

// invited returns a copy of who a link for setting a password belongs to.
func (p *people) invited(secret string) (userRecord, bool) {
	d := digestOf(secret)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.users {
		if u.Setup != nil && u.Setup.SHA256 == d && p.now().Before(u.Setup.Ends) && !u.Disabled {
			return *u, true
		}
	}
	return userRecord{}, false
}

// get returns a copy of a user's record.
func (p *people) get(id string) (userRecord, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u := p.users[id]; u != nil {
		return *u, true
	}
	return userRecord{}, false
}

// program returns the token that a secret is of.
func (p *people) program(secret string) (Who, bool) {
	d := digestOf(secret)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tokens {
		if t.SHA256 == d && p.now().Before(t.Ends) {
			return newProgram(t.Name+"@token", t.Scopes).bound(t.Unit), true
		}
	}
	return Who{}, false
}

func digestOf(secret string) string {
	d := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(d[:])
}

func checkUser(u Account) error {
	switch {
	case !userName.MatchString(u.ID) || noLetters.MatchString(u.ID):
		return fmt.Errorf("user %q: an id has 2 to 32 of a-z, 0-9, dot, hyphen, underscore, and a letter among them", u.ID)
	case len(u.Name) > maxName || !utf8.ValidString(u.Name) || slices.ContainsFunc([]rune(u.Name), func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }):
		return fmt.Errorf("user %s: a name has at most %d bytes and no control characters", u.ID, maxName)
	case u.Unit != "" && !unitName.MatchString(u.Unit):
		return fmt.Errorf("user %s: unit %q: write the id of a unit of the profile", u.ID, u.Unit)
	case u.Unit != "" && (u.Role == RoleAdmin || u.Role == RoleOperator || u.Role == RoleAuditor):
		return fmt.Errorf("user %s: a role of %s is for the whole district: leave the unit out", u.ID, u.Role)
	}
	_, err := ParseRole(string(u.Role))
	return err
}
