package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"egovmon/collector/access"
	"egovmon/collector/board"
	"egovmon/collector/report"
)

// Who may do what on the page of reports: the office in charge moves them on, auditors read, and the others see nothing.
func TestReporterRoles(t *testing.T) {
	r := reporter{&center{}}
	for _, c := range []struct {
		who  string
		ctx  context.Context
		name string
		err  error
	}{
		{"nobody", t.Context(), "", board.ErrForbidden},
		{"an operator", access.WithUser(t.Context(), "lan@web"), "lan@web", nil},
		{"a person of one unit", access.With(t.Context(), access.Who{Name: "hoa", Unit: "xa-a", Role: access.RoleOfficer, Person: true}), "", board.ErrForbidden},
	} {
		name, err := r.Acts(c.ctx)
		if name != c.name || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v; want %q, %v", c.who, name, err, c.name, c.err)
		}
		if c.err == nil {
			continue
		}
		s := report.Scope{Period: "2026-Q3"}
		_, file := r.File(c.ctx, s, 1, "pdf", "vi")
		for what, err := range map[string]error{"make": r.Make(c.ctx, s, report.Issuer{}), "review": r.Review(c.ctx, s, "x"), "issue": r.Issue(c.ctx, s, ""), "verify": r.Verify(c.ctx, s, 1), "file": file} {
			if !errors.Is(err, board.ErrForbidden) {
				t.Errorf("%s, %s: %v", c.who, what, err)
			}
		}
	}
}

// Drafts that people ask for are made one after the other, each once, and what could not be made stays in sight for a while.
func TestWorkshop(t *testing.T) {
	var w workshop
	now := time.Date(2026, 9, 15, 3, 0, 0, 0, time.UTC)
	asked := func(i int) *askedReport {
		return &askedReport{scope: report.Scope{Period: fmt.Sprint(2000 + i)}, by: "an"}
	}
	for i := range maxAsked {
		if err := w.ask(asked(i), now); err != nil {
			t.Fatal(err)
		}
	}
	if w.ask(asked(0), now) == nil || w.ask(asked(99), now) == nil {
		t.Error("the same draft twice, or more than may wait")
	}
	select {
	case <-w.wakes():
	default:
		t.Error("nobody is woken")
	}
	a := w.next()
	w.on(a, 3)
	if m := w.making(now); len(m) != maxAsked || m[0].Step != 3 || m[0].Steps != reportSteps || m[1].Step != 0 {
		t.Errorf("in the making: %+v", m)
	}
	w.end(a, errors.New("no data"), now)
	b := w.next()
	if b == nil || b == a {
		t.Fatal("one that failed is made for ever")
	}
	w.end(b, nil, now)
	if m := w.making(now); len(m) != maxAsked-1 || m[0].Failed != "no data" {
		t.Errorf("afterwards: %+v", m)
	}
	if m := w.making(now.Add(shownFailure)); len(m) != maxAsked-2 {
		t.Errorf("later %d are shown", len(m))
	}
	if err := w.ask(asked(0), now); err != nil {
		t.Errorf("what failed cannot be asked for again: %v", err)
	}
}
