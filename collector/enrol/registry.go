package enrol

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/collector/evidence"
)

// A Use is what a key of a machine is for.
type Use string

// The three keys of a machine.
const (
	TLS     Use = "tls"
	Journal Use = "journal"
	Cosign  Use = "cosign"
)

// overlap is how long a key stays good after its successor took over: what was sealed before is still to be sent.
const overlap = 30 * 24 * time.Hour

// A Key is one key that a machine has or had.
type Key struct {
	Use  Use    `json:"use"`
	Key  string `json:"key"`  // verifier key of a note; for TLS the SPKI DER in base64
	Leaf int64  `json:"leaf"` // where the log records it
	// From is when it was recorded. Until is when it stopped to be good, or will; zero while nothing has ended it.
	From        time.Time `json:"from"`
	Until       time.Time `json:"until,omitzero"`
	Serial      string    `json:"serial,omitempty"`      // of the certificate, hex, for TLS
	NotAfter    time.Time `json:"not_after,omitzero"`    // likewise
	Certificate []byte    `json:"certificate,omitempty"` // DER, likewise
	Token       string    `json:"token,omitempty"`       // id of the token it came by; "" for a successor
}

// good reports whether the key counts at t.
func (k Key) good(t time.Time) bool { return k.Until.IsZero() || t.Before(k.Until) }

// A Machine is one identity that the district has given.
type Machine struct {
	ID       string    `json:"id"`
	Unit     string    `json:"unit"`
	Enrolled time.Time `json:"enrolled"`         // the last time, by a token
	Revoked  time.Time `json:"revoked,omitzero"` // zero while it is welcome
	Keys     []Key     `json:"keys"`             // all it ever had, in the order of the log
}

// Current returns the newest key of a use that no other has replaced.
func (m Machine) Current(use Use) (Key, bool) {
	for _, k := range slices.Backward(m.Keys) {
		if k.Use == use && k.Until.IsZero() {
			return k, true
		}
	}
	return Key{}, false
}

// Verifiers returns the keys that may sign the machine's batches at t.
func (m Machine) Verifiers(t time.Time) note.Verifiers {
	var vs []note.Verifier
	for _, k := range m.Keys {
		if k.Use == Journal && k.good(t) {
			if v, err := note.NewVerifier(k.Key); err == nil {
				vs = append(vs, v)
			}
		}
	}
	return note.VerifierList(vs...)
}

// A registry is what the leaves of the log say of machines.
type registry map[string]*Machine

// apply takes in one leaf. Leaves of other types say nothing here.
func (g registry) apply(s evidence.Stored) error {
	switch s.Leaf.Type() {
	case evidence.AgentKey:
		return g.key(s)
	case evidence.Revocation:
		return g.revoke(s)
	}
	return nil
}

func (g registry) key(s evidence.Stored) error {
	l := s.Leaf
	at, err := time.Parse(time.RFC3339, l.Field("at"))
	if err != nil {
		return fmt.Errorf("leaf %d: agent-key: %w", s.Index, err)
	}
	k := Key{Use: Use(l.Field("use")), Key: l.Field("key"), Leaf: s.Index, From: at, Token: l.Field("token")}
	if k.Use == TLS {
		k.Serial, k.Certificate = l.Field("serial"), s.Blob
		if k.NotAfter, err = time.Parse(time.RFC3339, l.Field("not_after")); err != nil {
			return fmt.Errorf("leaf %d: agent-key: %w", s.Index, err)
		}
	}
	id := l.Field("machine")
	m := g[id]
	if m == nil {
		m = &Machine{ID: id}
		g[id] = m
	}
	for i := range m.Keys {
		old := &m.Keys[i]
		switch {
		case !old.good(at) || k.Token != "" && old.Token == k.Token:
			// ended before, or given together with this one
		case k.Token != "":
			old.Until = at // a person had it enrol again: what came before is good no more
		case old.Use == k.Use && old.Until.IsZero():
			old.Until = at.Add(overlap)
		}
	}
	if k.Token != "" {
		m.Unit, m.Enrolled, m.Revoked = l.Field("unit"), at, time.Time{}
	}
	m.Keys = append(m.Keys, k)
	return nil
}

func (g registry) revoke(s evidence.Stored) error {
	m := g[s.Leaf.Field("machine")]
	if m == nil {
		return nil
	}
	at, err := time.Parse(time.RFC3339, s.Leaf.Field("at"))
	if err != nil {
		return fmt.Errorf("leaf %d: revocation: %w", s.Index, err)
	}
	m.Revoked = at
	for i := range m.Keys {
		if m.Keys[i].good(at) {
			m.Keys[i].Until = at
		}
	}
	return nil
}

// machines returns copies, by id.
func (g registry) machines() []Machine {
	ms := make([]Machine, 0, len(g))
	for _, id := range slices.Sorted(maps.Keys(g)) {
		ms = append(ms, g[id].clone())
	}
	return ms
}

func (m *Machine) clone() Machine {
	c := *m
	c.Keys = slices.Clone(m.Keys)
	return c
}

// A newKey is a key that is to be recorded.
type newKey struct {
	use   Use
	key   string
	blob  []byte            // the certificate, or the statement and signatures by which it was given
	extra map[string]string // further fields
}

// keyEntries makes the leaves of the keys of one enrolment or renewal.
func keyEntries(machine, unit string, at time.Time, common map[string]string, keys []newKey) ([]evidence.Entry, error) {
	var es []evidence.Entry
	for _, k := range keys {
		f := map[string]string{
			"machine": machine, "unit": unit, "use": string(k.use), "key": k.key, "at": at.UTC().Format(time.RFC3339Nano),
		}
		maps.Copy(f, common)
		maps.Copy(f, k.extra)
		e, err := evidence.NewEntry(evidence.AgentKey, f, k.blob, nil)
		if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	return es, nil
}

func spkiText(der []byte) string { return base64.StdEncoding.EncodeToString(der) }
