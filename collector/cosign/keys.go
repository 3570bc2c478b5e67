package cosign

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// A Known is a witness elsewhere whose cosignatures the log takes.
type Known struct {
	Key   string    `json:"key"` // verifier key
	Leaf  int64     `json:"leaf"`
	From  time.Time `json:"from"`
	By    string    `json:"by"`             // who accepted it
	Until time.Time `json:"until,omitzero"` // zero while it is accepted

	verifier *wire.Witness
}

// Name is the witness's name, as it stands in its key.
func (k Known) Name() string { name, _, _ := strings.Cut(k.Key, "+"); return name }

// A Book is which witnesses a log names, by its leaves. The zero Book knows none and is ready to use.
type Book struct {
	next int64
	list []Known
}

// Leaves is what a Book reads; *evidence.Store is one.
type Leaves interface {
	Leaves(from int64) iter.Seq2[evidence.Stored, error]
}

// Update reads what was added to the log.
func (b *Book) Update(log Leaves) error {
	for e, err := range log.Leaves(b.next) {
		if err != nil {
			return err
		}
		if err := b.Apply(e); err != nil {
			return err
		}
		b.next = e.Index + 1
	}
	return nil
}

// Apply takes in one leaf. Leaves of other types say nothing here.
func (b *Book) Apply(e evidence.Stored) error {
	if e.Leaf.Type() != evidence.WitnessKey {
		return nil
	}
	at, err := time.Parse(time.RFC3339, e.Leaf.Field("at"))
	if err != nil {
		return fmt.Errorf("leaf %d: witness-key: %w", e.Index, err)
	}
	v, err := wire.NewWitness(e.Leaf.Field("key"))
	if err != nil {
		return fmt.Errorf("leaf %d: witness-key: %w", e.Index, err)
	}
	if e.Leaf.Field("state") == stateEnded {
		for i := range b.list {
			if b.list[i].Key == v.Key() && b.list[i].Until.IsZero() {
				b.list[i].Until = at
			}
		}
		return nil
	}
	b.list = append(b.list, Known{Key: v.Key(), Leaf: e.Index, From: at, By: e.Leaf.Field("by"), verifier: v})
	return nil
}

// All lists every witness that was ever accepted, in the order of the log.
func (b *Book) All() []Known { return slices.Clone(b.list) }

// At lists those that are accepted at t.
func (b *Book) At(t time.Time) []Known {
	var out []Known
	for _, k := range b.list {
		if !t.Before(k.From) && (k.Until.IsZero() || t.Before(k.Until)) {
			out = append(out, k)
		}
	}
	return out
}

// Verifier returns what proves the witness's cosignatures.
func (k Known) Verifier() *wire.Witness { return k.verifier }

const (
	stateAccepted = "accepted"
	stateEnded    = "ended"
)

func keyEntry(key, state, by string, at time.Time) (evidence.Entry, error) {
	return evidence.NewEntry(evidence.WitnessKey, map[string]string{"at": wire.FormatTime(at), "by": by, "key": key, "state": state}, nil, nil)
}
