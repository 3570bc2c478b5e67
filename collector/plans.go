package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
	"egovmon/collector/board"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
	"egovmon/collector/profile"
)

// planMachines derives the plan of every machine that has an identity, and puts it in force where it says something new.
// A machine whose plan cannot be derived keeps the one it has.
func (c *center) planMachines(ctx context.Context) error {
	c.addEnrolled()
	p, now := c.district(), c.now()
	var errs []error
	for _, m := range c.registry.Machines() {
		if !m.Revoked.IsZero() {
			continue
		}
		if err := c.planMachine(ctx, p, m.ID, now); err != nil {
			errs = append(errs, err)
		}
	}
	c.unplanned.Store(&errs)
	return errors.Join(errs...)
}

// planNotices say how many machines have no plan that says what the profile says now, and why one of them has none.
func planNotices(errs []error) []board.Name {
	if len(errs) == 0 {
		return nil
	}
	why, _, _ := strings.Cut(errs[0].Error(), "\n")
	return []board.Name{said("notice.unplanned", len(errs), fmt.Sprintf("%.300s", why))}
}

func (c *center) planMachine(ctx context.Context, p *profile.Profile, machine string, now time.Time) error {
	old, version, has, err := c.intake.Plan(machine)
	if err != nil {
		return fmt.Errorf("plan of %s: %w", machine, err)
	}
	text, _, err := p.PlanFor(machine, now, c.builtins(), version+1)
	if err != nil {
		return fmt.Errorf("plan of %s: %w", machine, err)
	}
	if has && profile.SamePlan(old, text) {
		return nil
	}
	if err := c.intake.SetPlan(ctx, text); err != nil {
		return fmt.Errorf("plan of %s: %w", machine, err)
	}
	c.log.Info("plan in force", "machine", machine, "version", version+1)
	return nil
}

// builtins are the parameters that the program itself fills in.
func (c *center) builtins() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := map[string]string{}
	maps.Copy(m, c.params)
	return m
}

// follow derives the plans anew whenever the profile changes with the day.
// A machine that has just enrolled finds its plan within newEvery.
func (c *center) follow(ctx context.Context) error {
	t := time.NewTicker(newEvery)
	defer t.Stop()
	next, seen := c.district().NextPlan(c.now()), enrolments(c.registry.Machines())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			now := enrolments(c.registry.Machines())
			if now == seen && (next.IsZero() || c.now().Before(next)) {
				continue
			}
			seen = now
		}
		if err := c.planMachines(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("not every machine has a new plan", "err", err)
		}
		next = c.district().NextPlan(c.now())
	}
}

const newEvery = time.Second / 2

// enrolments changes whenever a machine enrols or is revoked.
func enrolments(ms []enrol.Machine) (n int64) {
	for _, m := range ms {
		n += 1 + m.Enrolled.UnixMilli()%1e9 + m.Revoked.UnixMilli()%1e9
	}
	return n
}

// recordProfile puts the files of the profile, the rule of accounting and the log's key into the log, as far as they
// are not there as they are now. It comes before anything is planned from them.
func (c *center) recordProfile(ctx context.Context) error {
	path := filepath.Join(c.dir, enrolDir, "profile.json")
	said := map[string]string{}
	if b, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(b, &said); err != nil {
			said = map[string]string{} // said again: a leaf too many does no harm
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var entries []evidence.Entry
	at := wire.FormatTime(c.now())
	add := func(name string, t evidence.Type, fields map[string]string, blob []byte) error {
		key := fmt.Sprintf("%x", sha256.Sum256(append(fmt.Append(nil, fields), blob...)))
		if said[name] == key {
			return nil
		}
		fields["at"] = at // outside of the key: the same file is said once, not at every start
		e, err := evidence.NewEntry(t, fields, blob, nil)
		if err != nil {
			return fmt.Errorf("log %s: %w", name, err)
		}
		said[name] = key
		entries = append(entries, e)
		return nil
	}
	if err := add("rule", evidence.Rule, map[string]string{"name": "votes/1"}, nil); err != nil {
		return err
	}
	if err := add("log-key", evidence.LogKey, map[string]string{"key": c.keys.LogKey, "plan-key": c.keys.PlanKey}, nil); err != nil {
		return err
	}
	for _, f := range c.profile.Files {
		t := evidence.Profile
		switch {
		case strings.HasPrefix(f.Name, "calendars/"):
			t = evidence.Calendar
		case f.Name == "targets.yaml":
			t = evidence.Target
		}
		sum := sha256.Sum256(f.Data)
		if err := add(f.Name, t, map[string]string{"file": f.Name, "sha256": hex.EncodeToString(sum[:]), "district": c.profile.District}, f.Data); err != nil {
			return err
		}
	}
	if len(entries) == 0 {
		return nil
	}
	if _, err := c.store.Append(ctx, entries...); err != nil {
		return err
	}
	b, err := json.MarshalIndent(said, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	return durable.Replace(path, b)
}
