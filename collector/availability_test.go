package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"egovmon/collector/access"
	"egovmon/collector/board"
)

// TestPageOfFigures: who is bound to a unit gets that unit's figures and no others; who may not see figures gets none.
func TestPageOfFigures(t *testing.T) {
	s, err := offlineSetup(t.TempDir(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	c, err := openCenter(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.close() })
	acc, err := access.New(access.Options{Dir: c.dir, Now: c.now, Log: c.store})
	if err != nil {
		t.Fatal(err)
	}
	now := c.now()
	as := func(unit string, scopes ...access.Scope) context.Context {
		t.Helper()
		secret, err := acc.AddToken(t.Context(), access.Operator, access.Token{Name: "t" + unit + string(scopes[0]), Scopes: scopes, Unit: unit, Ends: now.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		var ctx context.Context
		r := httptest.NewRequest("GET", "http://127.0.0.1:19090/history", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		acc.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() })).ServeHTTP(httptest.NewRecorder(), r)
		if ctx == nil {
			t.Fatal("the token does not open")
		}
		return ctx
	}
	const own, other = "xa-chi-minh-2025", "xa-tan-ky-2025"
	ask := func(ctx context.Context, unit string) (units map[string]bool, err error) {
		a, err := c.pageOfFigures(ctx, board.HistoryQuery{From: now.Add(-time.Hour), To: now, Unit: unit})
		units = map[string]bool{}
		for _, r := range a.Rows {
			units[r.Unit] = true
		}
		return units, err
	}
	bound := as(own, access.ScopeBoard)
	for _, unit := range []string{"", own} {
		if units, err := ask(bound, unit); err != nil || units[""] || units[other] {
			t.Errorf("bound to %s, asking for %q: %v, %v", own, unit, units, err)
		}
	}
	if _, err := ask(bound, other); !errors.Is(err, board.ErrForbidden) {
		t.Errorf("another unit's: %v", err)
	}
	if _, err := ask(as("", access.ScopeBoard), ""); !errors.Is(err, board.ErrForbidden) {
		t.Errorf("who may see the board alone: %v", err)
	}
	if units, err := ask(as("", access.ScopeFigures), ""); err != nil || !units[""] || len(units) < 2 {
		t.Errorf("who may see figures: %v, %v", units, err)
	}
	if _, err := ask(t.Context(), ""); !errors.Is(err, board.ErrForbidden) {
		t.Errorf("nobody: %v", err)
	}
}
