package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/board"
)

// TestProver says who may prove exports, and how what is none ends: nothing stays behind.
func TestProver(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	c := &center{}
	p := prover{c, 100}
	lan := access.WithUser(t.Context(), "lan@web")
	prove := func(ctx context.Context, text string) error {
		_, err := p.Prove(ctx, words.VI, "", strings.NewReader(text))
		return err
	}
	for who, ctx := range map[string]context.Context{"nobody": t.Context(), "one unit": access.With(t.Context(), access.Who{Name: "hoa", Unit: "xa-a", Role: access.RoleOfficer, Person: true})} {
		_, err := p.Standing(ctx)
		if err2 := prove(ctx, "x"); !errors.Is(err, board.ErrForbidden) || !errors.Is(err2, board.ErrForbidden) {
			t.Errorf("%s: %v, %v", who, err, err2)
		}
	}
	if err := prove(lan, strings.Repeat("x", 101)); !errors.Is(err, board.ErrExportLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := prove(lan, strings.Repeat("x", 100)); err == nil || !strings.Contains(err.Error(), "zip") || strings.Contains(err.Error(), dir) {
		t.Errorf("no zip: %v", err)
	}
	c.proving.Lock()
	if err := prove(lan, "x"); !errors.Is(err, board.ErrProving) {
		t.Errorf("a second one: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}
