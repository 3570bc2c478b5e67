package exporter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"egovmon/agent/check"
)

// A CollectorState is what the collector shows of itself, read anew at each scrape. As in an [AgentState], the zero
// value of a time or pointer means that there is nothing to show, and its metric is absent.
type CollectorState struct {
	Build    Build
	Agents   []FleetAgent   // in the order of machines
	Services []ServiceFacts // in the order of the profile

	WorkingTime   map[string]bool // by calendar: whether it is working time now
	NotConfigured int             // services that nothing measures, because a value they need was left empty

	LogLeaves     int64
	LogCheckpoint time.Time // when the newest was made
	LogFailures   int64     // of verification

	ArchiveFailing time.Time // since when nothing that agents send can be archived; zero while it can

	Notifications []Notification // attempts to tell people, since the start
	Watcher       *Watcher       // nil leaves its families out

	Controls []ControlFacts // of the model "4 lớp", in the order of the catalogue
	Layers   []LayerFacts   // by unit and layer

	UserCerts []UserCerts // by unit

	BuiltIn *BuiltIn // the collector's own agent; nil for none
}

// A ControlFacts is at how many units a control stands in each state.
type ControlFacts struct {
	Control string
	Units   map[string]int // by state, of a closed list
}

// A LayerFacts is how many controls of one layer at a unit are in each state.
type LayerFacts struct {
	Unit, Layer, Part string         // part: measured or attested
	Controls          map[string]int // by state, of a closed list
}

// UserCerts are how many certificates of a unit's people there are.
type UserCerts struct {
	Unit       string
	Within     map[string]int // by expires_within
	Revocation map[string]int // by state; nil when nobody may be asked
}

// A Watcher is how it stands with the watcher outside.
type Watcher struct {
	Confirmed bool              // a person confirmed that it alarms somebody
	Last      time.Time         // when it was last told that the collector sees; zero for never
	Calls     map[string]uint64 // by result
}

// A Notification is how many attempts to tell people by a channel came to a result.
type Notification struct {
	Channel, Result string // closed lists of the alert
	N               uint64
}

// A FleetAgent is one enrolled machine.
type FleetAgent struct {
	Machine, Unit string
	LastContact   time.Time        // zero when it was never heard of
	Cloned        time.Time        // since when two machines have used its identity; zero for no
	Refused       map[string]int64 // batches and calls that were not taken in, by intake's own closed list of whys
	Rejected      map[string]int64 // results that enter no figure, by intake's own closed list of whys
}

// A ServiceFacts is what is known of one service now. Every map may be nil.
type ServiceFacts struct {
	ID      string
	State   check.State            // of the service as a whole
	Units   map[string]check.State // as seen from each unit
	View    map[string]int         // units by what they see: total, fresh, failing
	Windows []Window
}

// A Window is the figures of a service over one stretch of a calendar.
type Window struct {
	Calendar string // 24x7 or service_hours
	Name     string // 5m, 1h, 1d, 30d, quarter or year
	// The bounds of the availability, the coverage and what was agreed; nil where the denominator is 0, or nothing was
	// agreed.
	Lower, Upper, Coverage, Objective *float64
	Seconds                           map[string]float64 // by account; empty ones may be left out
}

// A BuiltIn is the agent that runs inside the collector, which has no port of its own.
type BuiltIn struct {
	Machine, Unit string
	State         AgentState
}

// CollectorGatherer gathers the collector's families, those of the Go runtime and of the process, and what other rooms
// keep in registries of their own. The families of the built-in agent bear the labels machine and unit, those of its
// checks kind and service too; with [MetricsHandler] they follow ?collect= as an agent's do.
func CollectorGatherer(state func() CollectorState, extra ...prometheus.Gatherer) prometheus.Gatherer {
	return collectorGatherer{state, append([]prometheus.Gatherer{ownRegistry()}, extra...)}
}

type collectorGatherer struct {
	state func() CollectorState
	rest  []prometheus.Gatherer
}

// Gather gathers the four series a check alone.
func (g collectorGatherer) Gather() ([]*dto.MetricFamily, error) { return g.with(collect{}).Gather() }

func (g collectorGatherer) with(c collect) prometheus.Gatherer {
	ours := gathererOf(func() []*dto.MetricFamily { return gatherCollector(g.state(), c) })
	return join(append([]prometheus.Gatherer{ours}, g.rest...))
}

func gatherCollector(st CollectorState, c collect) []*dto.MetricFamily {
	s := newSet()
	s.build(st.Build)
	for _, a := range st.Agents {
		labels := s.with(nil, LabelMachine, a.Machine, LabelUnit, a.Unit)
		s.instant(AgentLastContact, a.LastContact, labels...)
		s.instant(AgentCloned, a.Cloned, labels...)
		counts(s, AgentRefused, LabelReason, a.Refused, s.with(nil, LabelMachine, a.Machine))
		counts(s, AgentRejected, LabelReason, a.Rejected, s.with(nil, LabelMachine, a.Machine))
	}
	for i := range st.Services {
		s.service(&st.Services[i])
	}
	for _, name := range sortedKeys(st.WorkingTime) {
		s.add(WorkingTime, truth(st.WorkingTime[name]), s.label(LabelCalendar, name))
	}
	for _, n := range st.Notifications {
		s.add(Notifications, float64(n.N), s.with(nil, LabelChannel, n.Channel, LabelResult, n.Result)...)
	}
	for _, c := range st.Controls {
		for _, state := range sortedKeys(c.Units) {
			s.add(ControlUnits, float64(c.Units[state]), s.with(nil, LabelControl, c.Control, LabelState, state)...)
		}
	}
	for _, l := range st.Layers {
		for _, state := range sortedKeys(l.Controls) {
			s.add(LayerControls, float64(l.Controls[state]), s.with(nil, LabelLayer, l.Layer, LabelPart, l.Part, LabelState, state, LabelUnit, l.Unit)...)
		}
	}
	for _, u := range st.UserCerts {
		for _, within := range sortedKeys(u.Within) {
			s.add(UserCertsWithin, float64(u.Within[within]), s.with(nil, LabelWithin, within, LabelUnit, u.Unit)...)
		}
		for _, state := range sortedKeys(u.Revocation) {
			s.add(UserCertsRevoked, float64(u.Revocation[state]), s.with(nil, LabelState, state, LabelUnit, u.Unit)...)
		}
	}
	if w := st.Watcher; w != nil {
		s.add(WatcherConfirmed, truth(w.Confirmed))
		s.instant(WatcherLast, w.Last)
		for _, result := range sortedKeys(w.Calls) {
			s.add(WatcherCalls, float64(w.Calls[result]), s.label(LabelResult, result))
		}
	}
	s.add(BoardNotConfigured, float64(st.NotConfigured))
	if st.LogLeaves > 0 {
		s.add(LogLeaves, float64(st.LogLeaves))
	}
	s.instant(LogCheckpoint, st.LogCheckpoint)
	s.add(LogFailures, float64(st.LogFailures))
	s.instant(ArchiveFailing, st.ArchiveFailing)
	if b := st.BuiltIn; b != nil {
		s.builtIn(b, c)
	}
	return s.families()
}

func (s *set) service(sv *ServiceFacts) {
	whole := s.with(nil, LabelService, sv.ID)
	s.states(sv.State, whole)
	for _, u := range sortedKeys(sv.Units) {
		s.states(sv.Units[u], s.with(whole, LabelUnit, u))
	}
	for _, v := range sortedKeys(sv.View) {
		s.add(ServiceVantages, float64(sv.View[v]), s.with(whole, LabelView, v)...)
	}
	for _, w := range sv.Windows {
		labels := s.with(whole, LabelCalendar, w.Calendar, LabelWindow, w.Name)
		s.known(ServiceAvail, w.Lower, s.with(labels, LabelBound, "lower"))
		s.known(ServiceAvail, w.Upper, s.with(labels, LabelBound, "upper"))
		s.known(ServiceCoverage, w.Coverage, labels)
		s.known(ServiceObjective, w.Objective, labels)
		counts(s, ServiceSeconds, LabelAccount, w.Seconds, labels)
	}
}

// states adds one series a state: 1 for the one it is, 0 for the others.
func (s *set) states(is check.State, labels []*dto.LabelPair) {
	for _, st := range check.States() {
		s.add(ServiceState, truth(st == is), s.with(labels, LabelState, st.String())...)
	}
}

// known adds a number, unless there is none.
func (s *set) known(name string, v *float64, labels []*dto.LabelPair) {
	if v != nil {
		s.add(name, *v, labels...)
	}
}

// builtIn adds the agent inside the collector. What it saw of the log is left out: the log is here.
func (s *set) builtIn(b *BuiltIn, c collect) {
	labels := s.with(nil, LabelMachine, b.Machine, LabelUnit, b.Unit)
	s.agent(b.State, labels)
	for i := range b.State.Checks {
		ck := &b.State.Checks[i]
		s.check(ck, c, s.with(labels, LabelCheck, ck.ID, LabelKind, ck.Kind, LabelService, ck.Service))
	}
}
