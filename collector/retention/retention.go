// Package retention says what of the log is kept for how long, and removes what is due: the bodies of batches after 25
// months, by a tombstone. Leaves, headers, incidents, attestations, reports and every body that says when a journal began,
// ended or took a plan stay for ever; so does what a legal hold names.
package retention

import (
	"context"
	"fmt"
	"iter"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/evidence"
	"egovmon/collector/intake"
)

// Months is how long bodies of batches are kept at least, and by default.
const Months = 25

// A Config is the part of collector.yaml about what is kept. Nothing is removed unless a person asks for it.
type Config struct {
	// Months is how long bodies of batches are kept. Default and least 25.
	Months int `yaml:"months"`
	// Hold are legal holds: bodies of batches that were received in these days stay until the hold is taken out.
	Hold []Hold `yaml:"hold"`
}

// A Hold keeps what was received from the beginning of the day From to the end of the day To, in Vietnam.
type Hold struct {
	From string `yaml:"from"` // YYYY-MM-DD
	To   string `yaml:"to"`   // YYYY-MM-DD; inclusive
	Why  string `yaml:"why"`
}

// A span is [from, to).
type span struct{ from, to time.Time }

// A Policy is a Config that was checked.
type Policy struct {
	months int
	holds  []span
}

// Policy checks a configuration; days reads two days, both inclusive.
func (c Config) Policy(days func(from, to string) (time.Time, time.Time, error)) (Policy, error) {
	p := Policy{months: c.Months}
	if p.months == 0 {
		p.months = Months
	}
	if p.months < Months {
		return p, fmt.Errorf("retention: months: %d: bodies of batches are kept at least %d months", c.Months, Months)
	}
	for i, h := range c.Hold {
		from, to, err := days(h.From, h.To)
		if err != nil {
			return p, fmt.Errorf("retention: hold[%d]: %w", i, err)
		}
		if h.Why == "" {
			return p, fmt.Errorf("retention: hold[%d]: say why", i)
		}
		p.holds = append(p.holds, span{from, to})
	}
	return p, nil
}

// Due reports whether a body that was received at an instant may be removed now.
func (p Policy) Due(received, now time.Time) bool {
	if now.Before(received.AddDate(0, p.months, 0)) {
		return false
	}
	for _, h := range p.holds {
		if !received.Before(h.from) && received.Before(h.to) {
			return false
		}
	}
	return true
}

// A Log is what is read; *evidence.Store is one.
type Log interface {
	Entries(from int64) iter.Seq2[evidence.Stored, error]
	Leaves(from int64) iter.Seq2[evidence.Stored, error]
	Blob(i int64) ([]byte, error)
}

// A Found is what is due.
type Found struct {
	Leaves   []int64   `json:"-"`
	Bodies   int       `json:"bodies"`
	Bytes    int64     `json:"bytes"`
	From, To time.Time // of their receipts; zero when there are none
}

// Find lists the batches whose bodies are due. A batch that says when its journal began, ended or took a plan is none of
// them: without it nothing that follows could be judged.
func Find(ctx context.Context, log Log, kinds check.Table, p Policy, now time.Time) (Found, error) {
	var out Found
	fold, err := intake.NewFold(kinds, log.Blob)
	if err != nil {
		return out, err
	}
	for e, err := range log.Entries(0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return out, fmt.Errorf("retention: %w", err)
		}
		a, ok, err := fold.Feed(e)
		if err != nil {
			return out, fmt.Errorf("retention: leaf %d: %w", e.Index, err)
		}
		if !ok || e.Body == nil || a.Header.Seq == 1 || !p.Due(a.Received, now) || structural(a) {
			continue
		}
		out.Leaves = append(out.Leaves, e.Index)
		out.Bytes += int64(len(e.Body))
		if out.Bodies++; out.From.IsZero() {
			out.From = a.Received
		}
		out.To = a.Received
	}
	return out, nil
}

func structural(a intake.Accepted) bool {
	for _, e := range a.Events {
		if e.Begin != nil || e.End != nil || e.Plan != nil {
			return true
		}
	}
	return false
}

// A Space is how much the log holds, and how fast it grows.
type Space struct {
	Leaves  int64 `json:"leaves"`
	Forever int64 `json:"forever_bytes"` // leaves and blobs
	Bodies  int64 `json:"bodies_bytes"`  // that were not removed
	// ForeverYear and BodiesYear are how much a year brings, after the last 30 days; 0 before a day has passed.
	ForeverYear int64 `json:"forever_bytes_a_year"`
	BodiesYear  int64 `json:"bodies_bytes_a_year"`
	// InAYear is what the log will hold in a year; Most what it will hold of bodies at most, with Months of them.
	InAYear int64 `json:"bytes_in_a_year"`
	Most    int64 `json:"bodies_bytes_at_most"`
}

// Measure measures the log. What was removed counts no more.
func Measure(log Log, p Policy, now time.Time) (Space, error) {
	var s Space
	var recent [2]int64 // forever, bodies
	window, first := 30*24*time.Hour, time.Time{}
	at := time.Time{}
	for e, err := range log.Leaves(0) {
		if err != nil {
			return s, fmt.Errorf("retention: %w", err)
		}
		if t, err := time.Parse(time.RFC3339, e.Leaf.Field("received")); err == nil {
			if at = t; first.IsZero() {
				first = t
			}
		}
		forever, bodies := int64(len(e.Leaf.Bytes())), int64(0)
		if r, ok := e.Leaf.Blob(); ok && !e.BlobRemoved() {
			forever += r.Size
		}
		if r, ok := e.Leaf.Body(); ok && !e.BodyRemoved() {
			bodies = r.Size
		}
		s.Leaves++
		s.Forever, s.Bodies = s.Forever+forever, s.Bodies+bodies
		if now.Sub(at) < window {
			recent[0], recent[1] = recent[0]+forever, recent[1]+bodies
		}
	}
	if over := min(window, now.Sub(first)); !first.IsZero() && over >= 24*time.Hour {
		year := float64(365*24*time.Hour) / float64(over)
		s.ForeverYear, s.BodiesYear = int64(float64(recent[0])*year), int64(float64(recent[1])*year)
	}
	s.Most = s.BodiesYear * int64(p.months) / 12
	s.InAYear = s.Forever + s.ForeverYear + min(s.Bodies+s.BodiesYear, max(s.Bodies, s.Most))
	return s, nil
}
