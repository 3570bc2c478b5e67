package enrol

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
)

const (
	tokenValidity = 72 * time.Hour
	tokenKept     = 30 * 24 * time.Hour // after it ended, so that a late caller is told why
	maxTokenFile  = 16 << 20
	maxTokens     = 20_000
)

// A token is one permission to enrol, as it is kept.
type token struct {
	ID      string    `json:"id"`
	Secret  []byte    `json:"secret"` // SHA-256 of the 128 random bits
	Unit    string    `json:"unit"`
	Machine string    `json:"machine"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	UsedAt  time.Time `json:"used_at,omitzero"`
	// UsedBy is the SHA-256 of the statement that used it: the same request may be answered again, no other.
	UsedBy []byte `json:"used_by,omitempty"`
}

func (t token) open(now time.Time) bool { return t.UsedAt.IsZero() && now.Before(t.Expires) }

// tokens is the file of tokens. The registrar's lock guards it.
type tokens struct {
	path string
	list map[string]token
}

func openTokens(path string) (*tokens, error) {
	ts := &tokens{path: path, list: map[string]token{}}
	data, err := durable.Read(path, maxTokenFile)
	if errors.Is(err, fs.ErrNotExist) {
		return ts, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &ts.list); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w: restore it, or remove it and make new tokens", path, err)
	}
	return ts, nil
}

// put keeps a token, durably, and forgets those that ended long ago.
func (ts *tokens) put(t token, now time.Time) error {
	old, had := ts.list[t.ID]
	ts.list[t.ID] = t
	for id, x := range ts.list {
		if now.Sub(x.Expires) > tokenKept {
			delete(ts.list, id)
		}
	}
	data, err := json.Marshal(ts.list)
	if err == nil {
		err = durable.Replace(ts.path, data)
	}
	if err != nil {
		if delete(ts.list, t.ID); had {
			ts.list[t.ID] = old
		}
		return fmt.Errorf("tokens: %w", err)
	}
	return nil
}

// end lets the open tokens of a machine expire.
func (ts *tokens) end(machine string, now time.Time) error {
	for _, t := range ts.list {
		if t.Machine != machine || !t.open(now) {
			continue
		}
		t.Expires = now.UTC()
		if err := ts.put(t, now); err != nil {
			return err
		}
	}
	return nil
}

// find returns the token with this ID and secret. It takes as long for a wrong ID as for a wrong secret.
func (ts *tokens) find(sent wire.Token) (token, bool) {
	t, ok := ts.list[sent.IDText()]
	want := t.Secret
	if !ok {
		want = make([]byte, sha256.Size)
	}
	got := sha256.Sum256(sent.Secret[:])
	return t, subtle.ConstantTimeCompare(got[:], want) == 1 && ok
}

// openFor reports whether somebody holds a token for the machine that can still be used.
func (ts *tokens) openFor(machine string, now time.Time) bool {
	for _, t := range ts.list {
		if t.Machine == machine && t.open(now) {
			return true
		}
	}
	return false
}

// An Invitation is a new token, for the person who carries it to the machine.
type Invitation struct {
	Token   wire.Token
	Unit    string
	Machine string
	Expires time.Time
}

// NewToken makes a token for a machine of the unit, good once and for 72 h. With machine "" it takes the first of the
// unit's machines that has neither identity nor open token.
func (r *Registrar) NewToken(unit, machine string) (Invitation, error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	now := r.opts.Now()
	machine, err := r.choose(unit, machine, now)
	if err != nil {
		return Invitation{}, fmt.Errorf("token: %w", err)
	}
	if len(r.tokens.list) >= maxTokens {
		return Invitation{}, fmt.Errorf("token: %d tokens are kept already: wait until some of them end", maxTokens)
	}
	in := Invitation{Token: wire.Token{Pin: r.opts.Keys.Pin()}, Unit: unit, Machine: machine, Expires: now.Add(tokenValidity).UTC()}
	rand.Read(in.Token.ID[:])
	rand.Read(in.Token.Secret[:])
	if _, taken := r.tokens.list[in.Token.IDText()]; taken {
		return Invitation{}, errors.New("token: the random id is taken: try again")
	}
	secret := sha256.Sum256(in.Token.Secret[:])
	err = r.tokens.put(token{ID: in.Token.IDText(), Secret: secret[:], Unit: unit, Machine: machine, Issued: now.UTC(), Expires: in.Expires}, now)
	return in, err
}

// choose returns the machine a token is for.
func (r *Registrar) choose(unit, machine string, now time.Time) (string, error) {
	ids, known := r.opts.Machines(unit)
	if !known {
		return "", fmt.Errorf("the profile has no unit %q: `collector profile check` lists them", unit)
	}
	for _, id := range ids {
		if machine == id {
			return id, nil
		}
		if m, enrolled := r.Machine(id); machine == "" && (!enrolled || !m.Revoked.IsZero()) && !r.tokens.openFor(id, now) {
			return id, nil
		}
	}
	if machine != "" {
		return "", fmt.Errorf("unit %q has no machine %q: add it to machines.yaml, or name one of %v", unit, machine, ids)
	}
	return "", fmt.Errorf("every machine of unit %q has an identity or an open token: add one to machines.yaml, or name one with --machine", unit)
}
