package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"egovmon/agent/durable"
	"egovmon/collector/evidence"
)

const (
	peopleFile = "users.json"
	// peopleVersion is 2 since tokens may be bound to a unit: to a program that does not know that they would open more. What
	// has no such token is still written as version 1.
	peopleVersion = 2
	maxPeople     = 1 << 20
	leafTime      = "2006-01-02T15:04:05.000Z"
)

// A storedPeople is users.json: secrets, of which the log has none, and what the log said of roles up to a leaf.
type storedPeople struct {
	Version int            `json:"version"`
	Next    int64          `json:"next"`
	Users   []*userRecord  `json:"users"`
	Tokens  []*tokenRecord `json:"tokens,omitempty"`
}

// fields are a user's rights as the log has them.
func (u *userRecord) fields() map[string]string {
	f := map[string]string{"user": u.ID, "role": string(u.Role), "unit": u.Unit, "state": "active"}
	if u.Disabled {
		f["state"] = "disabled"
	}
	return f
}

// record writes a leaf. It returns its index.
func (p *people) record(ctx context.Context, action, by string, fields map[string]string) (int64, error) {
	if p.log == nil {
		return 0, ErrNoLog
	}
	if by == "" {
		return 0, errors.New("a change of users needs somebody who makes it")
	}
	fields["action"], fields["by"], fields["at"] = action, by, p.now().UTC().Format(leafTime)
	for k, v := range fields {
		if v == "" {
			delete(fields, k)
		}
	}
	e, err := evidence.NewEntry(evidence.User, fields, nil, nil)
	if err != nil {
		return 0, err
	}
	return p.log.Append(ctx, e)
}

// apply makes a change that the log has, and writes the file. After an error the change holds until the program ends;
// the next start learns of it from the log.
func (p *people) apply(leaf int64, change func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.next = max(p.next, leaf+1)
	return p.saveLocked()
}

// touch changes what the log does not have: secrets, and when somebody entered.
func (p *people) touch(id string, change func(*userRecord)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.users[id]
	if u == nil {
		return fmt.Errorf("user %q: %w", id, ErrNoUser)
	}
	change(u)
	return p.saveLocked()
}

func (p *people) saveLocked() error {
	s := storedPeople{Version: 1, Next: p.next}
	for _, u := range p.users {
		s.Users = append(s.Users, u)
	}
	for _, t := range p.tokens {
		if s.Tokens = append(s.Tokens, t); t.Unit != "" {
			s.Version = peopleVersion
		}
	}
	slices.SortFunc(s.Users, func(a, b *userRecord) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(s.Tokens, func(a, b *tokenRecord) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(p.dir, peopleFile), append(data, '\n'))
}

// open reads the file, and from the log what has changed since. A record whose rights are not those that its leaf gave
// is disabled: somebody has changed the file. Without a file the log says who there is; each then needs a new link.
func (p *people) open(log *slog.Logger) error {
	p.users, p.tokens = map[string]*userRecord{}, map[string]*tokenRecord{}
	if p.log == nil {
		return nil
	}
	path := filepath.Join(p.dir, peopleFile)
	data, err := durable.Read(path, maxPeople)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("users: %w", err)
	default:
		var s storedPeople
		if err := json.Unmarshal(data, &s); err != nil {
			return fmt.Errorf("users: %s: %w; move the file away: the log says who there is, and each user then needs a new link (collector user reset)", path, err)
		}
		if s.Version < 1 || s.Version > peopleVersion {
			return fmt.Errorf("users: %s is of version %d, and this program knows up to %d: a newer one has written it", path, s.Version, peopleVersion)
		}
		p.take(s, log)
	}
	if p.next > p.log.Size() { // of a log that was set back, or another one
		p.next = 0
	}
	from := p.next
	for leaf, err := range p.log.Leaves(from) {
		if err != nil {
			return fmt.Errorf("users: %w", err)
		}
		if leaf.Leaf.Type() == evidence.User {
			p.fold(leaf.Leaf, leaf.Index)
		}
		p.next = leaf.Index + 1
	}
	if p.next == from {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.saveLocked()
}

// take checks the file's records against the leaves that they name.
func (p *people) take(s storedPeople, log *slog.Logger) {
	p.next = max(0, s.Next)
	for _, u := range s.Users {
		if u == nil || !userName.MatchString(u.ID) {
			continue
		}
		if why := p.doubt(u); why != "" {
			log.Error("a user of users.json is not as the log has it, and cannot enter: set its role anew", "user", u.ID, "why", why)
			u.Disabled = true
		}
		p.users[u.ID] = u
	}
	for _, t := range s.Tokens {
		if t == nil || !userName.MatchString(t.Name) {
			continue
		}
		if l, err := p.log.Leaf(t.Leaf); err != nil || l.Type() != evidence.User || l.Field("token") != t.Name || l.Field("scopes") != join(t.Scopes) ||
			l.Field("until") != t.Ends.UTC().Format(leafTime) || l.Field("unit") != t.Unit {
			log.Error("a token of users.json is not as the log has it, and opens nothing", "token", t.Name)
			continue
		}
		p.tokens[t.Name] = t
	}
}

// doubt says why a record is not what its leaf says, "" when it is.
func (p *people) doubt(u *userRecord) string {
	l, err := p.log.Leaf(u.Leaf)
	if err != nil {
		return err.Error()
	}
	if l.Type() != evidence.User {
		return "its leaf is of another type"
	}
	for k, v := range u.fields() {
		if l.Field(k) != v {
			return "its " + k + " is another"
		}
	}
	return ""
}

// fold takes in a leaf that is newer than the file.
func (p *people) fold(l evidence.Leaf, index int64) {
	switch l.Field("action") {
	case "add", "change", "reset":
		id := l.Field("user")
		u := p.users[id]
		if u == nil {
			u = &userRecord{ID: id}
			p.users[id] = u
		}
		u.Role, u.Unit, u.Disabled, u.Leaf = Role(l.Field("role")), l.Field("unit"), l.Field("state") != "active", index
		if l.Field("action") == "reset" {
			u.Password, u.Code, u.CodeStep, u.Setup = "", "", 0, nil
		}
	case "remove":
		delete(p.users, l.Field("user"))
	case "token-end":
		delete(p.tokens, l.Field("token"))
	}
}

// stamp is a time to the second, as records keep it.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
