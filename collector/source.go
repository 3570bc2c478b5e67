package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/agent/words"
	"egovmon/collector/alert"
	"egovmon/collector/attest"
	"egovmon/collector/board"
	"egovmon/collector/confirm"
	"egovmon/collector/history"
	"egovmon/collector/history/index"
	"egovmon/collector/incident"
	"egovmon/collector/profile"
)

const (
	termsFor              = time.Minute        // the terms of services are used again so long
	viewBack              = 7 * 24 * time.Hour // how far the beginning of a state is looked for
	viewBridge            = 5 * time.Minute    // an agent that starts anew within it interrupts no state
	shownClosed, shownFor = 5, 24 * time.Hour  // closed incidents on the first page
	pushGrace             = 10 * time.Second   // from a batch's sealing until its results are in the history
)

// A source gives the board what it shows.
type source struct {
	c *center

	mu      sync.Mutex
	terms   time.Time // when what follows was worked out
	of      *profile.Profile
	cat     history.Catalogue
	missing []board.NotConfigured
}

// Check returns what one check saw last.
func (s *source) Check(_ context.Context, machine, id string) (board.Detail, bool, error) {
	d, ok := s.c.live.Detail(machine, id)
	return d, ok, nil
}

// View returns the whole first page.
func (s *source) View(ctx context.Context) (board.View, error) {
	now, p := s.c.now(), s.c.district()
	cat, missing := s.standing(p, now)
	standings, err := s.c.index.Now(ctx, cat, index.Moment{At: now, Back: viewBack, Hold: hold(p), Bridge: viewBridge})
	if err != nil {
		return board.View{}, fmt.Errorf("board: %w", err)
	}
	v := board.View{Now: now, District: unitName(p, p.District, now), Agents: s.agents(now)}
	v.Log.Size, v.Log.Root = s.c.root()
	for _, a := range v.Agents {
		if a.Received.After(v.Received) {
			v.Received = a.Received
		}
	}
	units := map[string]bool{}
	for _, st := range standings {
		c := s.cell(cat, st)
		if st.Unit == "" && st.State == check.Unknown {
			c.Short = shortage(p, standings, st.Service, now)
		}
		v.Cells = append(v.Cells, c)
		units[st.Unit] = true
	}
	for _, u := range p.UnitsAt(now) {
		if units[u.ID] {
			v.Units = append(v.Units, board.Unit{ID: u.ID, Name: unitName(p, u.ID, now)})
		}
	}
	for _, svc := range p.ServicesAt(now) {
		v.Services = append(v.Services, service(p, &svc, now))
	}
	v.NotConfigured, v.Notices = missing, slices.Concat(s.c.logNotices(), planNotices(*cmp.Or(s.c.unplanned.Load(), new([]error))), unreadNotices(s.c.unread()), s.c.reportNotices(now), s.c.stampNotices(now), s.c.certNotices(p, now), notices(p, now))
	for _, x := range boarded(s.c.held(), p) {
		if x.End().After(now) {
			v.Suspensions = append(v.Suspensions, x)
		}
	}
	v.Incidents, v.Counters = s.incidents(p, now), counters(p, standings, now)
	m, err := s.c.matrix(p, now)
	if err != nil {
		return board.View{}, fmt.Errorf("board: %w", err)
	}
	v.Letters = s.c.lettersOf(now)
	for _, row := range m.Units {
		u := board.UnitLayers{Unit: row.Unit, Name: unitName(p, row.Unit, now)}
		for i, l := range row.Layers {
			u.Layers[i] = board.Layer{Measured: controls(l.Measured.Tally), Attested: controls(l.Attested.Tally)}
		}
		v.Layers = append(v.Layers, u)
	}
	return v, nil
}

// standing is what changes with the profile alone: the terms of services, and what they lack.
func (s *source) standing(p *profile.Profile, now time.Time) (history.Catalogue, []board.NotConfigured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	said, err := s.c.confirmations()
	if err != nil {
		s.c.log.Error("confirmations cannot be read", "err", err)
	}
	if s.of == p && now.Sub(s.terms).Abs() < termsFor {
		return confirm.Apply(s.cat, said), s.missing
	}
	s.cat, s.of, s.terms = catalogue(p, now.Add(-viewBack-time.Hour), now.Add(2*termsFor)), p, now
	s.missing = nil
	for _, svc := range p.ServicesAt(now) {
		if n := notConfigured(p, &svc, now); len(n.Checks) > 0 {
			s.missing = append(s.missing, n)
		}
	}
	return confirm.Apply(s.cat, said), s.missing
}

// hold is how long results may be on their way: the longest that any line gathers them, and the push.
func hold(p *profile.Profile) time.Duration {
	var longest time.Duration
	for _, l := range p.Lines {
		longest = max(longest, cmp.Or(l.Seal, plan.DefaultSeal))
	}
	lined := func(m profile.Machine) bool {
		return slices.ContainsFunc(p.Lines, func(l profile.Line) bool { return l.Unit == m.Unit })
	}
	for _, m := range p.Machines {
		if !lined(m) { // nothing says how long its agent gathers
			longest = max(longest, plan.DefaultSeal)
		}
	}
	return cmp.Or(longest, plan.DefaultSeal) + pushGrace
}

// cell is how a service stands, with the checks that tell why.
func (s *source) cell(cat history.Catalogue, st index.Standing) board.Cell {
	c := board.Cell{Service: st.Service, Unit: st.Unit, State: st.State, Reason: st.Reason, Since: st.Since, Open: st.Open, Last: st.Last, Held: st.Held}
	seen := map[board.CheckRef]bool{}
	for _, svc := range cat.Services {
		if svc.ID != st.Service {
			continue
		}
		for _, w := range svc.Watchers {
			if st.Unit != "" && w.Unit != st.Unit {
				continue
			}
			for _, id := range s.c.live.Checks(w.Machine) {
				ref := board.CheckRef{Machine: w.Machine, ID: id}
				if strings.HasPrefix(id, st.Service+".") && !seen[ref] {
					seen[ref] = true
					c.Checks = append(c.Checks, ref)
				}
			}
		}
	}
	return c
}

// shortage says how many of the units that must vote on a service do; nil when none does.
func shortage(p *profile.Profile, standings []index.Standing, service string, now time.Time) *board.Shortage {
	voting := 0
	for _, st := range standings {
		if st.Service == service && st.Unit != "" && st.State.Known() {
			voting++
		}
	}
	if voting == 0 {
		return nil
	}
	q := p.Quorum(service, now)
	return &board.Shortage{Voting: voting, Units: q.Units, Carriers: q.Carriers}
}

// counterNeeds are the services that a one-stop-shop counter needs, as the profile has them at an instant.
func counterNeeds(p *profile.Profile, svc *profile.Service, at time.Time) []history.Need {
	var needs []history.Need
	for _, id := range svc.Depends {
		dep, ok := p.Service(id, at)
		needs = append(needs, history.Need{Service: id, Vital: ok && dep.Severity == profile.Critical})
	}
	return needs
}

// counters are the one-stop-shop counters of the units that have a point of measurement, as far as anything they need is
// known.
func counters(p *profile.Profile, standings []index.Standing, now time.Time) []board.Counter {
	states := map[string]map[string]check.State{} // by unit and service
	for _, st := range standings {
		if states[st.Unit] == nil {
			states[st.Unit] = map[string]check.State{}
		}
		states[st.Unit][st.Service] = st.State
	}
	var out []board.Counter
	for _, svc := range p.ServicesAt(now) {
		if !slices.ContainsFunc(svc.Checks, func(c profile.ServiceCheck) bool { return c.Kind == "counter" }) {
			continue
		}
		needs := counterNeeds(p, &svc, now)
		for _, u := range p.UnitsAt(now) {
			if u.ID == p.District || states[u.ID] == nil {
				continue
			}
			c := history.Counter(needs, states[u.ID])
			if len(c.Unknown) == len(needs) {
				continue // nothing is known there
			}
			out = append(out, board.Counter{Unit: u.ID, Name: unitName(p, u.ID, now), State: string(c.Readiness), Lost: c.Lost, Unknown: c.Unknown})
		}
	}
	return out
}

func controls(t attest.Tally) board.Controls {
	c := board.Controls{}
	for state, n := range t {
		if n > 0 {
			c[string(state)] = n
		}
	}
	return c
}

// incidents are the open incidents and those that closed within a day.
func (s *source) incidents(p *profile.Profile, now time.Time) []board.Incident {
	if s.c.incidents == nil {
		return nil
	}
	list := s.c.incidents.Open()
	for _, i := range s.c.incidents.Recent(shownClosed) {
		if now.Sub(i.Closed) < shownFor {
			list = append(list, i)
		}
	}
	out := make([]board.Incident, 0, len(list))
	for _, i := range list {
		b := board.Incident{ID: i.ID, Kind: string(i.Kind), Service: i.Service, Unit: i.Unit, Through: i.Through, State: i.State, Reason: i.Reason,
			Since: i.Since, Opened: i.Opened, Closed: i.Closed, Restored: i.Restored, Withdrawn: i.Why == incident.Withdrawn,
			Services: i.Services, Units: i.Units, Votes: board.Votes{Up: i.Votes.Up, Down: i.Votes.Down, Unknown: i.Votes.Unknown},
			Ack: board.Ack{User: i.Ack.User, At: i.Ack.At, Note: i.Ack.Note}, Life: shownLife(i.Life)}
		if i.IsOpen() {
			vi, en := alert.Describe(&i, p, words.VI, now), alert.Describe(&i, p, words.EN, now)
			b.Action = board.Name{VI: vi.Action, EN: en.Action}
			if c := i.Cause; c.Kind != "" {
				b.Suspect, b.Joined = board.Name{VI: vi.Cause, EN: en.Cause}, len(i.Joined)
				b.Cause = board.Cause{Kind: string(c.Kind), Service: c.Component.Service, Unit: c.Component.Unit, Name: c.Component.Name, Owner: c.Owner, Confidence: c.Confidence}
			}
		}
		if i.Kind == board.KindLine {
			b.Owner, b.Carrier = unitName(p, i.Unit, now), carrier(p, i.Unit, now)
		}
		out = append(out, b)
	}
	return out
}

// shownLife is what people made of an incident, for the board.
func shownLife(l incident.Life) board.Life {
	out := board.Life{Class: string(l.Class), Assignee: l.Assignee, Concluded: !l.Concluded.IsZero()}
	for _, e := range l.Entries {
		out.Entries = append(out.Entries, board.LifeEntry{What: string(e.What), At: e.At, User: e.User, To: e.To, Note: e.Note})
	}
	return out
}

// carrier is who runs a unit's lines; "" when nobody has said.
func carrier(p *profile.Profile, unit string, now time.Time) string {
	for _, l := range p.Lines {
		if l.Unit == unit && l.Carrier != "" && l.Valid.CoversTime(now) {
			return l.Carrier
		}
	}
	return ""
}

func (s *source) agents(now time.Time) []board.Agent {
	var out []board.Agent
	for _, st := range s.c.intake.Status() {
		a := board.Agent{Machine: st.Machine, Unit: st.Unit, Contact: st.Contact, Received: st.Received, Build: st.Build}
		for _, n := range st.Rejected {
			a.Rejected += n
		}
		if text, version, ok, err := s.c.intake.Plan(st.Machine); err == nil && ok {
			a.PlanVersion = version
			a.Checks = strings.Count(string(text), "\n  - id: ")
		}
		if st.Clock != nil && st.Clock.Offset.Abs() > time.Minute {
			r := check.ClockUnproven
			a.Notice = board.Name{VI: words.Reason(words.VI, r).Title, EN: words.Reason(words.EN, r).Title}
		}
		out = append(out, a)
	}
	return out
}

func unitName(p *profile.Profile, id string, at time.Time) board.Name {
	u, ok := p.Unit(id)
	if !ok {
		return board.Name{VI: id, EN: id}
	}
	n := u.NameAt(at)
	return board.Name{VI: n.VI, EN: n.EN}
}

func service(p *profile.Profile, svc *profile.Service, at time.Time) board.Service {
	s := board.Service{ID: svc.ID, Name: board.Name{VI: svc.Name.VI, EN: svc.Name.EN}, Attested: true}
	if o, ok := p.Office(svc.Owner, at); ok {
		s.Owner = board.Name{VI: o.Name.VI, EN: o.Name.EN}
	}
	if o, ok := p.Operator(svc.Operator, at); ok {
		s.Operator = board.Name{VI: o.Name.VI, EN: o.Name.EN}
	}
	for _, c := range svc.Checks {
		if c.Kind != "attested" && c.Kind != "derived" && c.Kind != "counter" {
			s.Attested = false
		}
	}
	for _, calendar := range []string{profile.ServiceHours, profile.Hours24x7} {
		if t, ok := p.Target(svc.ID, calendar, at); ok {
			s.Targets = append(s.Targets, board.Target{Calendar: calendar, Objective: t.Objective, Basis: t.Basis, Verified: t.Verified})
		}
	}
	s.Available = board.Name{VI: svc.Available.VI, EN: svc.Available.EN}
	if c := svc.AtCollector(); c != nil && c.Kind != profile.KindCounter {
		s.How = c.Kind
	}
	if r := svc.Rule(); r != nil {
		s.Attested = false
		s.Rule = board.Name{VI: ruleText(words.VI, p, r, at), EN: ruleText(words.EN, p, r, at)}
	}
	return s
}

// ruleText words a rule, with the names of services.
func ruleText(l words.Lang, p *profile.Profile, r *profile.Rule, at time.Time) string {
	var items []string
	for _, x := range r.Of {
		if x.Rule != nil {
			items = append(items, "("+ruleText(l, p, x.Rule, at)+")")
			continue
		}
		name := x.Service
		if s, ok := p.Service(x.Service, at); ok {
			if name = s.Name.VI; l == words.EN {
				name = s.Name.EN
			}
		}
		if x.Check != "" {
			name += " · " + x.Check
		}
		items = append(items, name)
	}
	list := strings.Join(items, "; ")
	switch r.Need {
	case len(r.Of):
		return words.Say(l, "rule.all", list)
	case 1:
		return words.Say(l, "rule.any", list)
	}
	return words.Say(l, "rule.some", r.Need, list)
}

// notConfigured lists the checks that some unit cannot run, and the parameters that keep it from that.
func notConfigured(p *profile.Profile, svc *profile.Service, at time.Time) board.NotConfigured {
	n := board.NotConfigured{Service: svc.ID}
	add := func(list *[]string, s string) {
		if !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	for _, u := range p.UnitsAt(at) {
		for _, l := range p.NotConfigured(svc.ID, u.ID, at) {
			add(&n.Checks, l.Check)
			for _, name := range l.Parameters {
				add(&n.Parameters, name)
			}
		}
	}
	return n
}

// notices are what the operator must know of the profile.
func notices(p *profile.Profile, now time.Time) []board.Name {
	var out []board.Name
	if years := p.MissingYears(profile.DateOf(now), profile.DateOf(now)); len(years) > 0 {
		y := strings.Trim(fmt.Sprint(years), "[]")
		out = append(out, said("notice.calendar", y))
	}
	return out
}
