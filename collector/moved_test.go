package main

import (
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/enrol"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

// What a machine measured before it moved stays in the account of its old unit, and not a second of it comes into the
// new one's.
func TestMovedMachine(t *testing.T) {
	p := *embedded(t)
	from := time.Date(2024, 3, 8, 17, 0, 0, 0, time.UTC) // midnight of the 9th in Vietnam
	move, to := from.AddDate(0, 0, 1), from.AddDate(0, 0, 3)
	const id, before, after = "pc-thi-tran-01", "thi-tran-tu-ky", "xa-an-thanh"
	i := slices.IndexFunc(p.Machines, func(m profile.Machine) bool { return m.ID == id && m.Unit == before })
	if i < 0 {
		t.Fatal("the sample has no such machine any more")
	}
	old := p.Machines[i]
	moved := old
	moved.Unit, moved.Valid.From = after, profile.DateOf(move)
	old.Valid.To = profile.DateOf(move) - 1
	// It is the only machine of either unit.
	p.Machines = slices.DeleteFunc(slices.Clone(p.Machines), func(m profile.Machine) bool { return m.Unit == before || m.Unit == after })
	p.Machines = append(p.Machines, old, moved)

	cat := catalogue(&p, from, to)
	all := history.Span{From: from.Unix(), To: to.Unix()}
	shown := 0
	for _, svc := range cat.Services {
		if !slices.ContainsFunc(svc.Watchers, func(w history.Watcher) bool { return w.Machine == id }) || svc.Valid.From > all.From {
			continue
		}
		m := &history.Machine{Name: id, Runs: map[string][]history.Run{}}
		plan := &history.Plan{At: from, SHA256: "p"}
		deciding, known := svc.Deciding, true
		for _, o := range cat.Services { // what follows from others has them measured
			if svc.Derived != nil && slices.Contains(svc.Derived.Services(), o.ID) {
				deciding = append(slices.Clone(deciding), o.Deciding...)
				known = known && slices.ContainsFunc(o.Watchers, func(w history.Watcher) bool { return w.Machine == id })
			}
		}
		if !known {
			continue // it rests on what is not configured
		}
		for _, c := range deciding {
			plan.Checks = append(plan.Checks, history.Check{ID: c, Service: svc.ID, Kind: "host", Path: "lan", Every: 60})
			m.Runs[c] = []history.Run{{Span: all, Reason: check.OK}}
		}
		m.Epochs = []history.Epoch{{Span: all, Plan: plan}}
		up := map[string]int64{}
		for _, r := range history.Evaluate(cat, map[string]*history.Machine{id: m}, history.Query{From: from, To: to, Service: svc.ID, Machines: true}) {
			if r.Machine == id {
				c, _ := r.Calendar(history.Hours24x7)
				up["machine "+r.Unit] += c.Account.Up
			} else if r.Machine == "" && r.Unit != "" {
				c, _ := r.Calendar(history.Hours24x7)
				up[r.Unit] += c.Account.Up
			}
		}
		day := int64(24 * 60 * 60)
		if up[before] != day || up[after] != 2*day {
			t.Errorf("%s: %d s up in the old unit, %d in the new one; want one day and two", svc.ID, up[before], up[after])
		}
		shown++
	}
	if shown == 0 {
		t.Error("no service is watched by the machine: this shows nothing")
	}
}

// A machine that the profile does not name stays in the accounts of the days before it was revoked.
func TestRevokedMachineKeepsItsPast(t *testing.T) {
	p := embedded(t)
	at := time.Date(2024, 3, 9, 8, 0, 0, 0, time.UTC)
	p = withEnrolled(p, []enrol.Machine{{ID: "pc-mat-01", Unit: "xa-an-thanh", Enrolled: at.AddDate(0, -1, 0), Revoked: at}}, at.AddDate(0, 1, 0))
	if m, ok := p.Machine("pc-mat-01", at.AddDate(0, 0, -1)); !ok || m.Unit != "xa-an-thanh" {
		t.Error("before it was revoked it stands nowhere")
	}
	if _, ok := p.Machine("pc-mat-01", at.AddDate(0, 0, 1)); ok {
		t.Error("it is expected after it was revoked")
	}
}
