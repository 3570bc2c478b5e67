package report

import (
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/wire"
	"egovmon/agent/words"
	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

// An Input is what a Model is made from.
type Input struct {
	Profile    *profile.Profile
	Period     string
	Service    string // the only one that it is of; "" for all
	Unit       string // likewise
	From, To   time.Time
	Counted    time.Time // the zero Time is To
	Generated  time.Time
	Rule       string        // "" is votes/1
	Rows       []history.Row // of services and units
	Missing    []int         // years without a complete calendar
	Changes    []Change
	Checkpoint []byte // the signed note of the log when the rows were worked out
	LogKey     string // verifier key of the log
	Issuer     Issuer

	Before     *Stretch // the period before; nil compares with nothing
	BeforeRows []history.Row
	Counters   []Counter
	Layers     []Layers
	LayersAt   time.Time
}

// Build makes the Model of a report. A checkpoint that the key does not verify is an error.
func Build(in Input) (Model, error) {
	if in.Profile == nil || !in.From.Before(in.To) {
		return Model{}, errors.New("report: a profile and a period that is not empty are needed")
	}
	v, err := note.NewVerifier(in.LogKey)
	if err != nil {
		return Model{}, fmt.Errorf("report: key of the log: %w", err)
	}
	n, err := note.Open(in.Checkpoint, note.VerifierList(v))
	if err != nil {
		return Model{}, fmt.Errorf("report: checkpoint: %w", err)
	}
	origin, tree, err := wire.ParseCheckpoint(n.Text)
	if err != nil {
		return Model{}, fmt.Errorf("report: checkpoint: %w", err)
	}
	m := Model{
		Version: Version, Period: in.Period, Service: in.Service, Unit: in.Unit, Rule: in.Rule, From: in.From.UTC(), To: in.To.UTC(), Counted: in.Counted.UTC(),
		Generated: in.Generated.UTC().Truncate(time.Second), Leaves: tree.N, Root: hex.EncodeToString(tree.Hash[:]),
		Missing: in.Missing, Issuer: in.Issuer, Changes: in.Changes,
		Log:     Log{Origin: origin, Key: in.LogKey, Checkpoint: string(in.Checkpoint)},
		Edition: ThisEdition, Before: in.Before, Counters: in.Counters, Layers: in.Layers,
	}
	if !in.LayersAt.IsZero() {
		m.LayersAt = in.LayersAt.UTC().Truncate(time.Second)
	}
	if m.Rule == "" {
		m.Rule = "votes/1"
	}
	if in.Counted.IsZero() || m.Counted.After(m.To) {
		m.Counted = m.To
	}
	last := m.To.Add(-time.Second)
	m.District = unitName(in.Profile, in.Profile.District, last)
	for _, r := range in.Rows {
		if r.Machine == "" {
			m.Rows = append(m.Rows, row(in.Profile, r, m.From, last))
		}
	}
	if in.Before != nil {
		previous(m.Rows, in.BeforeRows)
	}
	if in.Service != "" {
		m.Of.ServiceName = serviceName(in.Profile, in.Service, m.From, last)
	}
	if in.Unit != "" {
		m.Of.UnitName = unitName(in.Profile, in.Unit, last)
	}
	m.Reform = reformed(Join(in.Profile, m.Rows, m.Generated))
	return m, nil
}

// previous puts the figures of the period before beside those of this one.
func previous(rows []Row, before []history.Row) {
	for i := range rows {
		for _, b := range before {
			if b.Service != rows[i].Service || b.Unit != rows[i].Unit || b.Machine != "" {
				continue
			}
			for _, c := range b.Calendars {
				rows[i].Previous = append(rows[i].Previous, Before{c.Calendar, c.Figures})
			}
		}
	}
}

// serviceName is what a service is called at the end of the period, or else at its beginning.
func serviceName(p *profile.Profile, id string, first, last time.Time) string {
	for _, t := range []time.Time{last, first} {
		if svc, ok := p.Service(id, t); ok && svc.Name.VI != "" {
			return svc.Name.VI
		}
	}
	return id
}

// row names a row as at the end of the period, or else at its beginning, and says what was asked of it.
func row(p *profile.Profile, r history.Row, first, last time.Time) Row {
	out := Row{Row: r, Name: r.Service}
	for _, t := range []time.Time{last, first} {
		if svc, ok := p.Service(r.Service, t); ok && svc.Name.VI != "" {
			out.Name = svc.Name.VI
			if o, ok := p.Office(svc.Owner, t); ok {
				out.Owner = o.Name.VI
			}
			out.Counter = svc.AtCollector() != nil && svc.AtCollector().Kind == profile.KindCounter
			if c := svc.AtCollector(); c != nil && c.Kind != profile.KindCounter {
				out.Name = words.Say(words.VI, "service.how", out.Name, words.Say(words.VI, "service.how."+c.Kind))
			}
			break
		}
	}
	if r.Unit != "" {
		out.UnitName = unitName(p, r.Unit, last)
	}
	out.Targets = Targets(p, r, first, last.Add(time.Second))
	return out
}

// Targets says what was asked of a row in [from, to), and whether it was met: by the target in force at the end, or else
// at the beginning.
func Targets(p *profile.Profile, r history.Row, from, to time.Time) []Target {
	var out []Target
	for _, c := range r.Calendars {
		t, ok := p.Target(r.Service, c.Calendar, to.Add(-time.Second))
		if !ok {
			t, ok = p.Target(r.Service, c.Calendar, from)
		}
		if ok {
			out = append(out, Target{c.Calendar, t.Objective, t.Basis, Judge(c.Figures, t.Objective)})
		}
	}
	return out
}

func unitName(p *profile.Profile, id string, t time.Time) string {
	if u, ok := p.Unit(id); ok {
		if n := u.NameAt(t).VI; n != "" {
			return n
		}
	}
	return id
}

// Changes lists the leaves in [from, to) that changed what was measured or how it counts: plans, profile, targets,
// calendars, rules, exclusions and corrections. Leaves of whose neighbours the time is known only on one side are listed
// when they can be of the period. The entries are those of the log from its first leaf on.
func Changes(entries iter.Seq2[evidence.Stored, error], from, to time.Time) ([]Change, error) {
	out := []Change{}
	var last time.Time
	open := 0 // of out: those before have their Before
	for e, err := range entries {
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		if at, ok := leafTime(e.Leaf); ok {
			for ; open < len(out); open++ {
				out[open].Before = at
			}
			if at.After(last) {
				last = at
			}
			// What is certain not to be of the period need not be kept.
			for open > 0 && out[open-1].Before.Before(from) {
				out = append(out[:open-1], out[open:]...)
				open--
			}
		}
		switch t := e.Leaf.Type(); t {
		case evidence.Plan, evidence.Profile, evidence.Target, evidence.Calendar, evidence.Rule, evidence.Exclusion, evidence.Correction:
			if last.Before(to) {
				out = append(out, Change{Leaf: e.Index, Type: string(t), What: what(e.Leaf), After: last})
			}
		}
	}
	return out, nil
}

// leafTime returns the time that a leaf names of itself.
func leafTime(l evidence.Leaf) (time.Time, bool) {
	for _, k := range []string{"received", "at"} {
		if t, err := time.Parse(time.RFC3339, l.Field(k)); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// what names the object of a change.
func what(l evidence.Leaf) string {
	switch {
	case l.Field("file") != "":
		return l.Field("file")
	case l.Field("machine") != "" && l.Field("version") != "":
		return l.Field("machine") + " v" + l.Field("version")
	case l.Field("machine") != "":
		return l.Field("machine")
	}
	return l.Field("name")
}
