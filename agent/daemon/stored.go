package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/durable"
	"egovmon/agent/host"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/agent/wire"
)

// PlanFile is the plan that was followed last, in the data folder: the signed note, byte for byte as the collector
// gave it.
const PlanFile = "plan.signed"

// plainFile is where versions before PlanFile kept the plan's text alone.
const plainFile = "plan.yaml"

// ErrUnsigned says that the plan on disk is one that an older version kept without its signature, and that nothing else
// vouches for it.
var ErrUnsigned = errors.New(plainFile + " is not signed, and not the plan that the journal says was followed last")

const maxPlanNote = wire.MaxPlan + 4<<10

// StoredPlan reads the plan that was kept in a data folder, for a start without the collector: it is signed by the
// district's plan key, for this machine, and no older than the one that the journal says was applied last; applied is
// nil when the journal names none. The error wraps [fs.ErrNotExist] when no plan was kept.
func StoredPlan(dir string, id *host.Identity, kinds check.Table, applied *journal.PlanApplied) (*plan.Plan, []byte, error) {
	signed, err := durable.Read(filepath.Join(dir, PlanFile), maxPlanNote)
	if errors.Is(err, fs.ErrNotExist) {
		p, err := plainPlan(dir, id, kinds, applied)
		return p, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	key, err := id.PlanVerifier()
	if err != nil {
		return nil, nil, fmt.Errorf("plan key: %w", err)
	}
	n, err := note.Open(signed, note.VerifierList(key))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: it was changed, or is of another district", PlanFile, err)
	}
	p, err := forMachine([]byte(n.Text), id, kinds)
	if err == nil && applied != nil && p.Version < applied.Version {
		err = fmt.Errorf("%s has version %d, and version %d was followed already", PlanFile, p.Version, applied.Version)
	}
	return p, signed, err
}

// plainPlan reads the text that an older version kept. It has no signature, so the journal, which has one, must say
// that exactly this text was followed last.
func plainPlan(dir string, id *host.Identity, kinds check.Table, applied *journal.PlanApplied) (*plan.Plan, error) {
	text, err := durable.Read(filepath.Join(dir, plainFile), wire.MaxPlan)
	if err != nil {
		return nil, err
	}
	p, err := forMachine(text, id, kinds)
	if err == nil && (applied == nil || applied.SHA256 != p.Hash()) {
		err = ErrUnsigned
	}
	return p, err
}

func forMachine(text []byte, id *host.Identity, kinds check.Table) (*plan.Plan, error) {
	p, err := plan.Parse(text, kinds)
	if err == nil && p.For != id.Machine {
		err = fmt.Errorf("it is for %s, and this is %s", p.For, id.Machine)
	}
	return p, err
}

// keepPlan keeps a plan as the collector signed it, and drops what an older version kept.
func keepPlan(dir string, signed []byte) error {
	if err := durable.Replace(filepath.Join(dir, PlanFile), signed); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, plainFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
