package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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

// Plans that were followed are kept for as long as the journal keeps what was measured by them, so that a collector which
// was restored can judge that: each in plans/VERSION.signed, as it came, from when it is followed on.
const (
	formerFolder = "plans"
	formerEnd    = ".signed"
	mostFormer   = 16
	formerFor    = 15 * 24 * time.Hour
)

// formerVersions lists the versions of the plans that are kept, in their order.
func formerVersions(dir string) ([]int64, error) {
	entries, err := os.ReadDir(filepath.Join(dir, formerFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var versions []int64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), formerEnd)
		if v, err := strconv.ParseInt(name, 10, 64); ok && err == nil && v > 0 {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	return versions, err
}

func formerName(dir string, version int64) string {
	return filepath.Join(dir, formerFolder, strconv.FormatInt(version, 10)+formerEnd)
}

// formerPlans returns the plans that are kept of versions below one, in their order. The newest are read even if others
// cannot be.
func formerPlans(dir string, below int64) (plans [][]byte, err error) {
	versions, err := formerVersions(dir)
	for _, v := range versions[max(0, len(versions)-mostFormer):] {
		if v >= below {
			break
		}
		signed, e := durable.Read(formerName(dir, v), maxPlanNote)
		if err = errors.Join(err, e); e == nil {
			plans = append(plans, signed)
		}
	}
	return plans, err
}

// keepFormer keeps a plan among those that were followed, and drops those that ended to be long ago: the one before a
// plan ends when that one begins.
func keepFormer(dir string, signed []byte, version int64, at time.Time) error {
	if err := durable.MkdirAll(filepath.Join(dir, formerFolder)); err != nil {
		return err
	}
	versions, err := formerVersions(dir)
	for i, v := range versions {
		long := len(versions)-i >= mostFormer
		if !long && i+1 < len(versions) {
			st, e := os.Stat(formerName(dir, versions[i+1]))
			long = e == nil && at.Sub(st.ModTime()) > formerFor
		}
		if long {
			err = errors.Join(err, os.Remove(formerName(dir, v)))
		}
	}
	return errors.Join(err, durable.Replace(formerName(dir, version), signed))
}

// keepPlan keeps a plan as the collector signed it, and drops what an older version kept.
func keepPlan(dir string, signed []byte, version int64, at time.Time) error {
	if err := durable.Replace(filepath.Join(dir, PlanFile), signed); err != nil {
		return err
	}
	if err := keepFormer(dir, signed, version, at); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, plainFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
