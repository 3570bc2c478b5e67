package main

import (
	"context"
	"errors"
	"testing"

	"egovmon/collector/access"
	"egovmon/collector/board"
)

// TestKeeper says who may see machines, and who may let them in.
func TestKeeper(t *testing.T) {
	k := keeper{&center{}}
	for _, tt := range []struct {
		who  string
		ctx  context.Context
		name string
		err  error
	}{
		{"nobody", t.Context(), "", board.ErrForbidden},
		{"an operator", access.WithUser(t.Context(), "lan@web"), "lan@web", nil},
		{"a person of one unit", access.With(t.Context(), access.Who{Name: "hoa", Unit: "xa-a", Role: access.RoleOfficer, Person: true}), "", board.ErrForbidden},
	} {
		if name, err := k.Rights(tt.ctx); name != tt.name || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v", tt.who, name, err)
		}
		if tt.err == nil {
			continue
		}
		_, err := k.Machines(tt.ctx)
		_, err2 := k.Invite(tt.ctx, "xa-a", "")
		if err3 := k.Revoke(tt.ctx, "pc", "x"); !errors.Is(err, tt.err) || !errors.Is(err2, tt.err) || !errors.Is(err3, tt.err) {
			t.Errorf("%s: %v, %v, %v", tt.who, err, err2, err3)
		}
	}
}
