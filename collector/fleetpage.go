package main

import (
	"context"
	"fmt"

	"egovmon/agent/wire"
	"egovmon/collector/access"
	"egovmon/collector/board"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
	"egovmon/collector/intake"
)

// keeper is the board's page of machines.
type keeper struct{ c *center }

// Rights names who may let machines in: people who have the right to; others who may read figures of every unit look.
func (k keeper) Rights(ctx context.Context) (string, error) {
	w := access.Of(ctx)
	switch {
	case !w.May(access.ScopeFigures) || w.Unit != "":
		return "", board.ErrForbidden
	case w.Person && w.May(access.ScopeEnrol):
		return w.Name, nil
	}
	return "", nil
}

// acts is Rights for who does something.
func (k keeper) acts(ctx context.Context) (string, error) {
	by, err := k.Rights(ctx)
	if err == nil && by == "" {
		err = board.ErrForbidden
	}
	return by, err
}

// Machines lists the fleet.
func (k keeper) Machines(ctx context.Context) ([]board.FleetMachine, error) {
	if _, err := k.Rights(ctx); err != nil {
		return nil, err
	}
	heard := map[string]intake.Status{}
	for _, s := range k.c.intake.Status() {
		heard[s.Machine] = s
	}
	var out []board.FleetMachine
	for _, m := range k.c.fleet() {
		x := board.FleetMachine{Machine: m, Build: heard[m.ID].Build, Received: heard[m.ID].Received}
		if id, ok := k.c.registry.Machine(m.ID); ok && id.Revoked.IsZero() {
			if key, ok := id.Current(enrol.TLS); ok {
				x.CertEnds = key.NotAfter
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// Invite makes a token. Who made it for which machine stands in the log before anybody sees it.
func (k keeper) Invite(ctx context.Context, unit, machine string) (board.Invitation, error) {
	by, err := k.acts(ctx)
	if err != nil {
		return board.Invitation{}, err
	}
	t, err := k.c.newToken(tokenRequest{Unit: unit, Machine: machine})
	if err != nil {
		return board.Invitation{}, err
	}
	e, err := evidence.NewEntry(evidence.Acknowledgement, map[string]string{"token": "machine", "unit": t.Unit, "machine": t.Machine, "user": by,
		"at": wire.FormatTime(k.c.now()), "expires": wire.FormatTime(t.Expires)}, nil, nil)
	if err == nil {
		_, err = k.c.store.Append(ctx, e)
	}
	return board.Invitation{Token: t.Token, Machine: t.Machine, Unit: t.Unit, Collector: t.Collector, Expires: t.Expires}, err
}

// Revoke ends a machine's identity. The log has who did it behind the reason.
func (k keeper) Revoke(ctx context.Context, machine, why string) error {
	by, err := k.acts(ctx)
	if err != nil {
		return err
	}
	if why == "" {
		return fmt.Errorf("the reason is missing: it stands in the log for good")
	}
	return k.c.revoke(ctx, revokeRequest{Machine: machine, Why: fmt.Sprintf("%s (%.64s)", why, by)})
}
