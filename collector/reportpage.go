package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/board"
	"egovmon/collector/profile"
	"egovmon/collector/report"
)

// Bounds of drafts that people asked for on the board.
const (
	maxAsked     = 8
	reportSteps  = 5
	shownFailure = 10 * time.Minute
)

// An asked report is a draft that somebody asked for, until it is made.
type askedReport struct {
	scope  report.Scope
	issuer report.Issuer
	by     string
	step   int
	failed string
	at     time.Time // when it failed
}

// A workshop makes the drafts that people ask for, one after the other. The zero workshop is ready to use.
type workshop struct {
	mu   sync.Mutex
	list []*askedReport
	wake chan struct{}
}

// ask puts a draft in the queue.
func (w *workshop) ask(a *askedReport, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = slices.DeleteFunc(w.list, func(x *askedReport) bool {
		return x.failed != "" && (x.scope == a.scope || now.Sub(x.at) > shownFailure)
	})
	switch {
	case slices.ContainsFunc(w.list, func(x *askedReport) bool { return x.scope == a.scope }):
		return fmt.Errorf("the draft of %s is being made", a.scope.ID())
	case len(w.list) >= maxAsked:
		return fmt.Errorf("%d drafts are being made: wait for them", len(w.list))
	}
	w.list = append(w.list, a)
	select {
	case w.woken() <- struct{}{}:
	default:
	}
	return nil
}

// woken is the channel on which the maker waits; w.mu is held.
func (w *workshop) woken() chan struct{} {
	if w.wake == nil {
		w.wake = make(chan struct{}, 1)
	}
	return w.wake
}

// wakes is where the maker waits.
func (w *workshop) wakes() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.woken()
}

// next returns the next draft to be made; nil for none.
func (w *workshop) next() *askedReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.list {
		if a.failed == "" {
			return a
		}
	}
	return nil
}

// on notes how far a draft is.
func (w *workshop) on(a *askedReport, step int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.step = step
}

// end takes a draft that was made off the list, and keeps one that was not for people to see.
func (w *workshop) end(a *askedReport, err error, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		a.failed, a.at = err.Error(), now
		return
	}
	w.list = slices.DeleteFunc(w.list, func(x *askedReport) bool { return x == a })
}

func (w *workshop) making(now time.Time) []board.Making {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []board.Making
	for _, a := range w.list {
		if a.failed == "" || now.Sub(a.at) < shownFailure {
			out = append(out, board.Making{Scope: a.scope, Step: a.step, Steps: reportSteps, Failed: a.failed})
		}
	}
	return out
}

// makeAsked makes the drafts that people asked for.
func (c *center) makeAsked(ctx context.Context) {
	for a := c.workshop.next(); a != nil && ctx.Err() == nil; a = c.workshop.next() {
		m, err := c.reportSteps(ctx, a.scope, a.issuer, func(n int) { c.workshop.on(a, n) })
		if err == nil {
			_, err = c.desk.Put(a.scope, m, a.by)
		}
		if err != nil && ctx.Err() != nil {
			return
		}
		c.workshop.end(a, err, c.now())
	}
}

// reporter is the board's page of reports.
type reporter struct{ c *center }

// Acts names who may move reports on; people alone do on the board.
func (a reporter) Acts(ctx context.Context) (string, error) {
	w := access.Of(ctx)
	switch {
	case !w.May(access.ScopeFigures) || w.Unit != "":
		return "", board.ErrForbidden
	case mayReport(w):
		return w.Name, nil
	}
	return "", nil
}

// acts is Acts for who does something.
func (a reporter) acts(ctx context.Context) (string, error) {
	name, err := a.Acts(ctx)
	if err == nil && name == "" {
		err = board.ErrForbidden
	}
	return name, err
}

// List is how reports stand.
func (a reporter) List(context.Context) (board.ReportList, error) {
	drafts, err := a.c.desk.Drafts()
	issued, err2 := a.c.desk.Issued()
	return board.ReportList{Making: a.c.workshop.making(a.c.now()), Drafts: drafts, Issued: issued, Issuer: a.c.issuer(report.Issuer{}), Deadline: func(s report.Scope) time.Time {
		_, end, err := profile.ParsePeriod(s.Period, s.Calendar)
		if err != nil || profile.IsRange(s.Period) {
			return time.Time{}
		}
		return deadline(a.c.district(), end)
	}}, errors.Join(err, err2)
}

// Make asks for a draft.
func (a reporter) Make(ctx context.Context, s report.Scope, issuer report.Issuer) error {
	by, err := a.acts(ctx)
	if err != nil {
		return err
	}
	from, _, err := profile.ParsePeriod(s.Period, s.Calendar)
	if err != nil {
		return err
	}
	if !from.Before(a.c.now()) {
		return fmt.Errorf("%s has not begun", s.ID())
	}
	return a.c.workshop.ask(&askedReport{scope: s, issuer: issuer, by: by}, a.c.now())
}

// Review notes that somebody has gone through a draft.
func (a reporter) Review(ctx context.Context, s report.Scope, sha256 string) error {
	by, err := a.acts(ctx)
	if err == nil {
		_, err = a.c.desk.Review(s, sha256, by)
	}
	return err
}

// Issue puts a draft into the log.
func (a reporter) Issue(ctx context.Context, s report.Scope, why string) error {
	by, err := a.acts(ctx)
	if err == nil {
		_, err = a.c.desk.Issue(ctx, s, by, why)
	}
	return err
}

// Verify holds an issued report against the log: what it says is what its leaf names, and the state of the log that it
// rests on is a beginning of the log of today.
func (a reporter) Verify(ctx context.Context, s report.Scope, version int) error {
	if _, err := a.Acts(ctx); err != nil {
		return err
	}
	m, i, err := a.c.desk.Model(s, version)
	if err != nil {
		return err
	}
	t, err := a.c.store.TreeAt(m.Leaves)
	switch {
	case err != nil:
		return err
	case hex.EncodeToString(t.Hash[:]) != m.Root:
		return fmt.Errorf("the log of today is not the one that version %d of %s (leaf %d) rests on", i.Number, s.ID(), i.Leaf)
	}
	return nil
}

// File writes a draft or an issued report.
func (a reporter) File(ctx context.Context, s report.Scope, version int, format string, l words.Lang) ([]byte, error) {
	if _, err := a.Acts(ctx); err != nil {
		return nil, err
	}
	var m report.Model
	var err error
	if version > 0 {
		m, _, err = a.c.desk.Model(s, version)
	} else {
		var d report.Draft
		var ok bool
		if d, ok, err = a.c.desk.Draft(s); err == nil && !ok {
			err = fmt.Errorf("there is no draft of %s", s.ID())
		}
		if err == nil {
			m, err = report.Read(bytes.NewReader(d.Model))
		}
	}
	if err != nil {
		return nil, err
	}
	out, err := render(m, format, l)
	return out.Data, err
}
