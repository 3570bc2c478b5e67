package main

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"egovmon/agent/check/kinds"
	"egovmon/agent/plan"
	"egovmon/collector/attest"
	"egovmon/collector/profile"
	"egovmon/collector/report"
	"egovmon/exporter"
)

// layers keeps what documents attest, read from the log as it grows.
type layers struct {
	mu   sync.Mutex
	fold attest.Fold

	shown attest.Matrix // the last one for /metrics
}

// shownMatrixFor is how long a matrix is good for /metrics: to make one, the plan of every machine is read.
const shownMatrixFor = time.Minute

// shownMatrix is the matrix of at most a minute ago.
func (c *center) shownMatrix(p *profile.Profile, now time.Time) (attest.Matrix, error) {
	c.layers.mu.Lock()
	m := c.layers.shown
	c.layers.mu.Unlock()
	if age := now.Sub(m.At); age >= 0 && age < shownMatrixFor {
		return m, nil
	}
	m, err := c.matrix(p, now)
	if err == nil {
		c.layers.mu.Lock()
		c.layers.shown = m
		c.layers.mu.Unlock()
	}
	return m, err
}

// controlFacts are the numbers of a matrix.
func controlFacts(m attest.Matrix) (controls []exporter.ControlFacts, layers []exporter.LayerFacts) {
	at := map[string]int{} // control → its place
	for _, row := range m.Units {
		seen := map[string]bool{}
		for i, l := range row.Layers {
			for part, p := range map[string]attest.Part{"measured": l.Measured, "attested": l.Attested} {
				f := exporter.LayerFacts{Unit: row.Unit, Layer: strconv.Itoa(i + 1), Part: part, Controls: map[string]int{}}
				for s, n := range p.Tally {
					f.Controls[string(s)] = n
				}
				layers = append(layers, f)
			}
			for _, c := range slices.Concat(l.Measured.Cells, l.Attested.Cells) {
				id := c.Control.ID
				if seen[id] {
					continue
				}
				seen[id] = true
				k, ok := at[id]
				if !ok {
					k = len(controls)
					at[id] = k
					controls = append(controls, exporter.ControlFacts{Control: id, Units: map[string]int{}})
				}
				controls[k].Units[string(c.State)]++
			}
		}
	}
	return controls, layers
}

// layerSums adds up the controls of all units, by layer.
func layerSums(units []attest.Row) []report.Layers {
	if len(units) == 0 {
		return nil
	}
	out := make([]report.Layers, attest.Layers)
	for i := range out {
		out[i] = report.Layers{Layer: i + 1, Measured: map[string]int{}, Attested: map[string]int{}}
		for _, u := range units {
			for s, n := range u.Layers[i].Measured.Tally {
				out[i].Measured[string(s)] += n
			}
			for s, n := range u.Layers[i].Attested.Tally {
				out[i].Attested[string(s)] += n
			}
		}
	}
	return out
}

// updateLayers reads what was added to the log; layers.mu is held.
func (c *center) updateLayers() error {
	for s, err := range c.store.Leaves(c.layers.fold.Next()) {
		if err == nil {
			_, err = c.layers.fold.Feed(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// matrix is how the controls of the four layers stand at the units.
func (c *center) matrix(p *profile.Profile, now time.Time) (attest.Matrix, error) {
	c.layers.mu.Lock()
	defer c.layers.mu.Unlock()
	if err := c.updateLayers(); err != nil {
		return attest.Matrix{}, err
	}
	documents := c.layers.fold.Current()
	results := c.measured(p, now)
	units := map[string]bool{}
	for _, d := range documents {
		units[d.Unit] = true
	}
	for _, r := range results {
		units[r.Unit] = true
	}
	for _, x := range c.layers.fold.Exceptions() {
		units[x.Unit] = true
	}
	var ids []string
	for _, u := range p.UnitsAt(now) {
		if units[u.ID] {
			ids = append(ids, u.ID)
		}
	}
	if len(ids) == 0 {
		return attest.Matrix{At: now}, nil
	}
	return attest.NewMatrix(ids, attest.Controls(p.LawAt(now), now), results, documents, now, c.layers.fold.Exceptions()...), nil
}

// measured are the latest results of the checks of controls.
func (c *center) measured(district *profile.Profile, now time.Time) []attest.Measured {
	var out []attest.Measured
	for _, st := range c.intake.Status() {
		text, _, ok, err := c.intake.Plan(st.Machine)
		if err != nil || !ok {
			continue
		}
		p, err := plan.Parse(text, kinds.Table())
		if err != nil {
			continue
		}
		var role string
		var level int
		place, placed := district.Machine(st.Machine, now)
		if placed {
			role, level = place.Role, place.Level
		}
		for _, ch := range p.Checks {
			control := controlOf(ch)
			if control == "" {
				continue
			}
			r, ok := c.live.Last(st.Machine, ch.ID)
			if !ok {
				continue
			}
			to := r.Slot.Add(ch.Every)
			if placed && place.OnAtWork() {
				to = speaksUntil(district, st.Unit, to, ch.Every, now)
			}
			out = append(out, attest.Measured{Unit: st.Unit, Machine: st.Machine, Control: control, Role: role, Level: level,
				State: r.State, Reason: r.Reason, Facts: r.Facts, Options: ch.Options, Slot: r.Slot, To: to})
		}
	}
	return out
}

// longestOff is how long a workstation may be off for its last results still to stand: the longest holidays, and some days.
const longestOff = 21 * 24 * time.Hour

// speaksUntil is until when the result of a machine that is on at work speaks: a PC that is switched off after work leaves
// how it was as it was. Only office hours of its unit count, and so much of them as one run may take to come. to is when
// the result would end on a machine that is always on.
func speaksUntil(p *profile.Profile, unit string, to time.Time, every time.Duration, now time.Time) time.Time {
	if !now.After(to) || now.Sub(to) > longestOff || len(p.MissingYears(profile.DateOf(to), profile.DateOf(now))) > 0 {
		return to
	}
	left := every
	for _, open := range p.ServiceHours("hanh-chinh", unit, to, now) {
		span := open.End.Sub(open.Start)
		if span >= left {
			return open.Start.Add(left)
		}
		left -= span
	}
	return now.Add(time.Second)
}

// controlOf is the control of the model "4 lớp" that a check measures; "" for none. Three are measured by kinds that have
// uses beside it.
func controlOf(ch plan.Check) string {
	switch ch.Kind {
	case "control":
		return ch.Options.String("id")
	case "neighbours":
		return "m24"
	case "inventory":
		return "m25"
	case "maildns":
		return "m28"
	}
	return ""
}
