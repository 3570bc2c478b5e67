// Package certs is the register of the public certificates that people of the district sign with: which unit they are of,
// and when they end. A certificate names a person. It stands in the body of its leaf, which can be removed later, and
// never in the leaf itself; who may see names is for the callers to judge. Private keys are refused.
package certs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"egovmon/agent/check/certlist"
	"egovmon/agent/check/signature"
	"egovmon/collector/evidence"
)

// What the register holds at most.
const (
	MaxUpload  = certlist.MaxBytes // bytes of one file
	maxEntries = 20_000
)

const leafTime = "2006-01-02T15:04:05.000Z"

// An Entry is one certificate of the register.
type Entry struct {
	Leaf      int64
	Unit      string             // id in the profile
	Cert      *x509.Certificate  // nil when the certificate was removed from the evidence
	Standing  signature.Standing // for who fills it in; the register knows nothing of it
	EnteredBy string
	EnteredAt time.Time
}

// A Log is what the register needs of the evidence.
type Log interface {
	// Append adds entries, in order and all or none, and returns the index of the first.
	Append(ctx context.Context, entries ...evidence.Entry) (first int64, err error)
	// Leaves yields the leaves from an index on, without their blobs and bodies.
	Leaves(from int64) iter.Seq2[evidence.Stored, error]
	// Blob returns the blob of a leaf.
	Blob(i int64) ([]byte, error)
	// Body returns the body of a leaf.
	Body(i int64) ([]byte, error)
}

// A Register holds the certificates of a log. It serves one goroutine; the zero value has been fed nothing.
type Register struct {
	next       int64
	list       []Entry
	unreadable []error
}

// Update takes in the leaves that are new in the log.
func (r *Register) Update(log Log) error {
	for s, err := range log.Leaves(r.next) {
		if err != nil {
			return fmt.Errorf("certificates: %w", err)
		}
		switch s.Leaf.Type() {
		case evidence.Certificate:
			r.take(log, s.Leaf, s.Index)
		case evidence.Tombstone:
			if err := r.forget(log, s); err != nil {
				return fmt.Errorf("certificates: %w", err)
			}
		}
		r.next = s.Index + 1
	}
	return nil
}

// take takes in one leaf. One that this version cannot read is kept apart, see [Register.Unreadable].
func (r *Register) take(log Log, l evidence.Leaf, index int64) {
	if s := l.Field("removes"); s != "" {
		leaf, err := strconv.ParseInt(s, 10, 64)
		n := len(r.list)
		if r.list = slices.DeleteFunc(r.list, func(e Entry) bool { return e.Leaf == leaf }); err != nil || len(r.list) == n {
			r.unreadable = append(r.unreadable, fmt.Errorf("leaf %d takes leaf %.40q off the register, which is no certificate there", index, s))
		}
		return
	}
	e := Entry{Leaf: index, Unit: l.Field("unit"), EnteredBy: l.Field("entered_by")}
	var err error
	if e.EnteredAt, err = time.Parse(leafTime, l.Field("entered_at")); err != nil || e.Unit == "" {
		r.unreadable = append(r.unreadable, fmt.Errorf("certificate in leaf %d: unit or time cannot be read; a newer version may have written it", index))
		return
	}
	body, err := log.Body(index)
	if err == nil {
		e.Cert, err = x509.ParseCertificate(bytes.Clone(body))
	}
	if err != nil {
		e.Cert = nil // removed: that it was there is known, and nothing else
	}
	r.list = append(r.list, e)
}

// forget drops the certificates that a tombstone names, whether or not they are erased by now.
func (r *Register) forget(log Log, s evidence.Stored) (err error) {
	if s.Blob, err = log.Blob(s.Index); err != nil {
		return err
	}
	gone, err := evidence.ReadRemoval(s)
	if err != nil {
		r.unreadable = append(r.unreadable, err)
	}
	if err != nil || gone.Piece != evidence.BodyPiece {
		return nil
	}
	for i := range r.list {
		if gone.Has(r.list[i].Leaf) {
			r.list[i].Cert = nil
		}
	}
	return nil
}

// All returns the certificates by unit, in the order of their ends.
func (r *Register) All() []Entry {
	list := slices.Clone(r.list)
	end := func(e Entry) time.Time {
		if e.Cert == nil {
			return time.Time{}
		}
		return e.Cert.NotAfter
	}
	slices.SortStableFunc(list, func(x, y Entry) int {
		return cmp.Or(cmp.Compare(x.Unit, y.Unit), end(x).Compare(end(y)), cmp.Compare(x.Leaf, y.Leaf))
	})
	return list
}

// Unreadable returns why leaves could not be read, one error each.
func (r *Register) Unreadable() []error { return slices.Clone(r.unreadable) }

// Added says what came of a file.
type Added struct {
	New     int `json:"new"`     // certificates that stand in the register now
	Known   int `json:"known"`   // that stood there before, of whatever unit
	Skipped int `json:"skipped"` // certificates of authorities, which are nobody's
}

// ErrNobody is that a file holds certificates of authorities alone.
var ErrNobody = errors.New("it holds certificates of authorities alone: hand over those of the people who sign")

// Add enters the certificates of a file for a unit. known is the register as it is; nothing is entered twice.
func Add(ctx context.Context, log Log, known []Entry, unit, by string, text []byte, now time.Time) (a Added, err error) {
	certs, err := certlist.Parse(text)
	if err != nil {
		return a, err
	}
	seen := map[[sha256.Size]byte]bool{}
	for _, e := range known {
		if e.Cert != nil {
			seen[sha256.Sum256(e.Cert.Raw)] = true
		}
	}
	var entries []evidence.Entry
	for _, c := range certs {
		sum := sha256.Sum256(c.Raw)
		switch {
		case c.IsCA:
			a.Skipped++
			continue
		case seen[sum]:
			a.Known++
			continue
		}
		seen[sum] = true
		e, err := evidence.NewEntry(evidence.Certificate, map[string]string{"unit": unit, "entered_by": by, "entered_at": now.UTC().Format(leafTime)}, nil, c.Raw)
		if err != nil {
			return Added{}, err
		}
		entries = append(entries, e)
	}
	switch {
	case a.Skipped == len(certs):
		return Added{}, ErrNobody
	case len(known)+len(entries) > maxEntries:
		return Added{}, fmt.Errorf("the register has %d certificates, and holds %d: take off those that have ended", len(known), maxEntries)
	case len(entries) == 0:
		return a, nil
	}
	if _, err := log.Append(ctx, entries...); err != nil {
		return Added{}, err
	}
	a.New = len(entries)
	return a, nil
}

// Remove takes the certificate of a leaf off the register. What was recorded of it stays in the log.
func Remove(ctx context.Context, log Log, known []Entry, leaf int64, by string, now time.Time) error {
	if !slices.ContainsFunc(known, func(e Entry) bool { return e.Leaf == leaf }) {
		return fmt.Errorf("leaf %d is no certificate of the register", leaf)
	}
	e, err := evidence.NewEntry(evidence.Certificate, map[string]string{"removes": strconv.FormatInt(leaf, 10), "entered_by": by, "entered_at": now.UTC().Format(leafTime)}, nil, nil)
	if err == nil {
		_, err = log.Append(ctx, e)
	}
	return err
}

// A Tally is how many certificates of a unit are in each class. It names nobody.
type Tally struct {
	Unit    string                `json:"unit"`
	Classes [certlist.Classes]int `json:"-"`
	Other   int                   `json:"other_unit"` // in force, and mentioning none of the unit's names of today
	Erased  int                   `json:"erased"`     // whose certificate was removed from the evidence
	Renewed int                   `json:"renewed"`    // ended or ending, whose holder has a later one
	First   time.Time             `json:"first_ends,omitzero"`
	// Of those in force: revoked, not revoked when last asked about, leading to none of the roots, and of which nobody knows.
	Revoked int `json:"revoked"`
	Good    int `json:"good"`
	Stray   int `json:"stray"`
	Unasked int `json:"unasked"`
}

// Sum is how many there are.
func (t Tally) Sum() (n int) {
	for _, x := range t.Classes {
		n += x
	}
	return n
}

// Tallies counts the certificates of each unit. names are a unit's names of today; none: they are not compared. Those
// whose holder has a later certificate count as Renewed alone.
func Tallies(list []Entry, names func(unit string) []string, now time.Time) []Tally {
	last := map[string]time.Time{}
	for _, e := range list {
		if e.Cert != nil && e.Cert.NotAfter.After(last[string(e.Cert.RawSubject)]) {
			last[string(e.Cert.RawSubject)] = e.Cert.NotAfter
		}
	}
	var all []Tally
	for _, e := range list {
		i := slices.IndexFunc(all, func(t Tally) bool { return t.Unit == e.Unit })
		if i < 0 {
			i, all = len(all), append(all, Tally{Unit: e.Unit})
		}
		t := &all[i]
		if e.Cert == nil {
			t.Erased++
			continue
		}
		class := certlist.Of(e.Cert, now)
		if class < certlist.Later && last[string(e.Cert.RawSubject)].After(e.Cert.NotAfter) {
			t.Renewed++
			continue
		}
		t.Classes[class]++
		if class == certlist.Ended {
			continue
		}
		switch e.Standing {
		case signature.Revoked:
			t.Revoked++
		case signature.Good:
			t.Good++
		case signature.Stray:
			t.Stray++
		default:
			t.Unasked++
		}
		if t.First.IsZero() || e.Cert.NotAfter.Before(t.First) {
			t.First = e.Cert.NotAfter
		}
		if ns := names(e.Unit); len(ns) > 0 && !certlist.MentionsUnit(e.Cert, ns) {
			t.Other++
		}
	}
	slices.SortFunc(all, func(x, y Tally) int { return cmp.Compare(x.Unit, y.Unit) })
	return all
}
