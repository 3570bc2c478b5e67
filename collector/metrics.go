package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/daemon"
	"egovmon/agent/plan"
	"egovmon/collector/alert"
	"egovmon/collector/history"
	"egovmon/collector/history/index"
	"egovmon/collector/profile"
	"egovmon/collector/series"
	"egovmon/exporter"
)

const (
	figuresFor     = time.Minute // figures of windows are given again so long
	scrapeDeadline = 20 * time.Second
)

// metadata describes the families to programs that ask the PromQL API for it.
func metadata() []series.Metadata {
	var out []series.Metadata
	for _, f := range exporter.Families() {
		out = append(out, series.Metadata{Name: f.Name, Type: strings.ToLower(string(f.Type)), Help: f.Help, Unit: f.Unit})
	}
	return out
}

// handler answers /metrics and /probe.
func (m *metrics) handler() http.Handler {
	c := m.c
	mux := http.NewServeMux()
	mux.Handle("/metrics", exporter.MetricsHandler(m.gatherer(), c.log))
	mux.Handle("/probe", exporter.ProbeHandler(m.checks, c.log))
	return mux
}

// metrics tells what the collector shows of itself.
type metrics struct {
	c   *center
	own *lateAgent

	mu      sync.Mutex
	made    time.Time
	windows map[string][]exporter.Window // by service
	plans   map[string]*plan.Plan        // by machine
}

func (m *metrics) state() exporter.CollectorState {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeDeadline)
	defer cancel()
	c, now := m.c, m.c.now()
	p := c.district()
	s := exporter.CollectorState{Build: c.build, LogLeaves: c.store.Size(), LogFailures: c.logFailures(), ArchiveFailing: c.intake.Archive().Failing, WorkingTime: map[string]bool{}}
	if st, err := os.Stat(filepath.Join(c.dir, evidenceDir, "checkpoint")); err == nil {
		s.LogCheckpoint = st.ModTime()
	}
	for _, st := range c.intake.Status() {
		a := exporter.FleetAgent{Machine: st.Machine, Unit: st.Unit, LastContact: st.Contact, Cloned: st.Cloned, Rejected: st.Rejected, Refused: st.Refused}
		s.Agents = append(s.Agents, a)
	}
	var standings []index.Standing
	cat, err := c.catalogue(p, now.Add(-time.Hour), now.Add(time.Minute))
	if err == nil {
		standings, err = c.index.Now(ctx, cat, index.Moment{At: now, Back: time.Hour, Hold: hold(p)})
	}
	if err != nil {
		c.log.Error("states cannot be read for /metrics", "err", err)
	}
	windows := m.figures(ctx, p, now)
	s.Services = services(standings, windows)
	for _, svc := range p.ServicesAt(now) {
		if len(p.Watchers(svc.ID, now)) == 0 && len(notConfigured(p, &svc, now).Checks) > 0 {
			s.NotConfigured++
		}
	}
	for _, h := range hours(p, now) {
		s.WorkingTime[h] = len(p.ServiceHours(h, "", now, now.Add(time.Second))) > 0
	}
	if c.alerts != nil {
		for _, n := range c.alerts.Counts() {
			s.Notifications = append(s.Notifications, exporter.Notification{Channel: n.Channel, Result: n.Result, N: n.N})
		}
	}
	if layers, err := c.shownMatrix(p, now); err == nil {
		s.Controls, s.Layers = controlFacts(layers)
	} else {
		c.log.Error("controls cannot be read for /metrics", "err", err)
	}
	if s.UserCerts, err = c.userCerts(now); err != nil {
		c.log.Error("certificates cannot be read for /metrics", "err", err)
	}
	if c.watcher != nil {
		w := c.watcher.Status()
		s.Watcher = &exporter.Watcher{Confirmed: w.State == alert.WatcherConfirmed, Last: w.Last, Calls: w.Counts}
	}
	if d := m.own.get(); d != nil {
		if machine, ok := p.CollectorMachine(now); ok {
			s.BuiltIn = &exporter.BuiltIn{Machine: machine.ID, Unit: machine.Unit, State: d.State()}
		}
	}
	return s
}

// logFailures counts what speaks against the log: checkpoints that machines have seen and it does not hold.
func (c *center) logFailures() int64 {
	n := c.intake.Contradictions()
	if _, over := c.store.Overtaken(); over {
		n++
	}
	return n
}

// gatherer gathers all that the collector shows.
func (m *metrics) gatherer() prometheus.Gatherer {
	if m.c.config.showNode() {
		return exporter.CollectorGatherer(m.state, m.c.metrics, exporter.NodeGatherer())
	}
	return exporter.CollectorGatherer(m.state, m.c.metrics)
}

// checks are the checks of every machine with their last results, for /probe.
func (m *metrics) checks() []exporter.CheckState {
	var out []exporter.CheckState
	for _, st := range m.c.intake.Status() {
		p := m.plan(st.Machine)
		if p == nil {
			continue
		}
		for _, ch := range p.Checks {
			s := exporter.CheckState{ID: ch.ID, Service: ch.Service, Kind: ch.Kind, Target: daemon.Target(ch), Every: ch.Every}
			if r, ok := m.c.live.Last(st.Machine, ch.ID); ok {
				s.Last = &r.Result
			}
			out = append(out, s)
		}
	}
	return out
}

// plan returns the plan in force for a machine, which is read once.
func (m *metrics) plan(machine string) *plan.Plan {
	text, version, ok, err := m.c.intake.Plan(machine)
	if err != nil || !ok {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.plans[machine]; p != nil && p.Version == version {
		return p
	}
	p, err := plan.Parse(text, kinds.Table())
	if err != nil {
		return nil
	}
	m.plans[machine] = p
	return p
}

// services brings the standings of each service together.
func services(standings []index.Standing, windows map[string][]exporter.Window) []exporter.ServiceFacts {
	var out []exporter.ServiceFacts
	for _, st := range standings {
		if st.Unit == "" {
			out = append(out, exporter.ServiceFacts{ID: st.Service, State: st.State, Units: map[string]check.State{},
				View: map[string]int{"total": 0, "fresh": 0, "failing": 0}, Windows: windows[st.Service]})
			continue
		}
		f := &out[len(out)-1] // the service as a whole comes first
		f.Units[st.Unit] = st.State
		f.View["total"]++
		if st.State.Known() {
			f.View["fresh"]++
		}
		if st.State == check.Down {
			f.View["failing"]++
		}
	}
	return out
}

// hours lists the names of the working hours of this year's calendar.
func hours(p *profile.Profile, now time.Time) []string {
	seen := map[string]bool{}
	var names []string
	for _, h := range p.YearOf(now.In(profile.Zone()).Year()).Hours {
		if !seen[h.Name] {
			seen[h.Name] = true
			names = append(names, h.Name)
		}
	}
	return names
}

// figures are the figures of services over the last hour, day and 30 days, worked out at most once a minute.
func (m *metrics) figures(ctx context.Context, p *profile.Profile, now time.Time) map[string][]exporter.Window {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.windows != nil && now.Sub(m.made).Abs() < figuresFor {
		return m.windows
	}
	out := map[string][]exporter.Window{}
	for _, w := range []struct {
		name string
		back time.Duration
	}{{"1h", time.Hour}, {"1d", 24 * time.Hour}, {"30d", 30 * 24 * time.Hour}} {
		from := now.Add(-w.back)
		var rows []history.Row
		cat, err := m.c.catalogue(p, from, now)
		if err == nil {
			rows, err = m.c.index.Availability(ctx, cat, history.Query{From: from, To: now, Now: now})
		}
		if err != nil {
			m.c.log.Error("figures cannot be read for /metrics", "window", w.name, "err", err)
			continue
		}
		for _, r := range rows {
			if r.Unit == "" {
				out[r.Service] = append(out[r.Service], window(p, r, w.name, now)...)
			}
		}
	}
	m.windows, m.made = out, now
	return out
}

func window(p *profile.Profile, r history.Row, name string, now time.Time) []exporter.Window {
	var out []exporter.Window
	for _, c := range r.Calendars {
		w := exporter.Window{Calendar: c.Calendar, Name: name, Lower: c.Figures.Lower, Upper: c.Figures.Upper, Coverage: c.Figures.Coverage,
			Seconds: map[string]float64{}}
		if t, ok := p.Target(r.Service, c.Calendar, now); ok {
			w.Objective = &t.Objective
		}
		for account, n := range map[string]int64{"up": c.Account.Up, "degraded": c.Account.Degraded, "down": c.Account.Down,
			"unknown": c.Account.Unknown, "excluded": c.Account.Excluded} {
			if n > 0 {
				w.Seconds[account] = float64(n)
			}
		}
		out = append(out, w)
	}
	return out
}
