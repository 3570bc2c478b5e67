package exporter

import (
	"cmp"
	"maps"
	"runtime"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"

	"egovmon/agent/check"
)

// gatherAgent returns the families of an agent's state, in the order of names; checks are in the order of the plan.
func gatherAgent(st AgentState, c collect) []*dto.MetricFamily {
	s := newSet()
	s.build(st.Build)
	s.agent(st, nil)
	if st.LogLeaves > 0 {
		s.add(LogLeaves, float64(st.LogLeaves))
	}
	s.instant(LogCheckpoint, st.LogCheckpoint)
	s.add(LogFailures, float64(st.LogFailures))
	for i := range st.Checks {
		ck := &st.Checks[i]
		s.check(ck, c, []*dto.LabelPair{s.label(LabelCheck, ck.ID)})
	}
	return s.families()
}

func (s *set) build(b Build) {
	s.add(BuildInfo, 1, s.label("goarch", runtime.GOARCH), s.label("goos", runtime.GOOS), s.label("goversion", b.Go),
		s.label("revision", b.Revision), s.label("version", b.Version))
}

// agent adds what an agent shows of itself as a whole, apart from the log.
func (s *set) agent(st AgentState, labels []*dto.LabelPair) {
	s.add(CheckRuns, float64(st.Runs), labels...)
	s.add(ChecksRunning, float64(st.Running), labels...)
	s.histogram(CheckStartDelay, st.Delay, labels...)
	counts(s, CheckMissed, LabelReason, st.Missed, labels)
	counts(s, SpoolDropped, LabelReason, st.SpoolDropped, labels)
	counts(s, PushRequests, LabelCode, st.PushRequests, labels)
	s.add(SpoolBatches, float64(st.SpoolBatches), labels...)
	s.add(SpoolBytes, float64(st.SpoolBytes), labels...)
	s.add(SpoolSpared, float64(st.SpoolSpared), labels...)
	s.instant(SpoolOldest, st.SpoolOldest, labels...)
	s.instant(PushLastSuccess, st.PushLastSuccess, labels...)
	if st.PushProblem != "" {
		s.add(PushProblem, 1, s.with(labels, LabelReason, st.PushProblem)...)
	}
	s.instant(AgentCertNotAfter, st.CertNotAfter, labels...)
	s.instant(AgentPlanApplied, st.PlanApplied, labels...)
	if st.PlanVersion > 0 {
		s.add(AgentPlanVersion, float64(st.PlanVersion), labels...)
	}
	if st.ClockOffset != nil {
		s.add(ClockOffset, st.ClockOffset.Seconds(), s.with(labels, LabelSource, "collector")...)
	}
	if ahead, ok := aheadOfNTP(st.Checks); ok {
		s.add(ClockOffset, ahead, s.with(labels, LabelSource, "ntp")...)
	}
}

// aheadOfNTP is how many seconds this machine's clock is ahead of the servers of time, by the latest check of kind ntp that
// could tell; false for none.
func aheadOfNTP(checks []CheckState) (ahead float64, ok bool) {
	var at time.Time
	for _, c := range checks {
		if c.Kind != "ntp" || c.Last == nil || c.Last.Start.Before(at) {
			continue
		}
		if v, told := c.Last.Facts.Get("offset_s"); told {
			ahead, ok, at = v, true, c.Last.Start
		}
	}
	return ahead, ok
}

// counts adds the samples of one family by the values of one label, in their order.
func counts[K ~string, N int64 | float64](s *set, name, label string, by map[K]N, labels []*dto.LabelPair) {
	for _, k := range sortedKeys(by) {
		s.add(name, float64(by[k]), s.with(labels, label, string(k))...)
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// check adds one check: at most four series, and what c asks for.
func (s *set) check(ck *CheckState, c collect, labels []*dto.LabelPair) {
	if c.info {
		s.add(CheckInterval, ck.Every.Seconds(), labels...)
		s.add(CheckInfo, 1, s.with(labels, LabelKind, ck.Kind, LabelService, ck.Service)...)
	}
	r := ck.Last
	if r == nil {
		return
	}
	if r.State.Known() {
		s.add(CheckSuccess, truth(r.State != check.Down), labels...)
	}
	s.add(CheckDuration, r.Took.Seconds(), labels...)
	s.instant(CheckLastRun, r.Start, labels...)
	s.add(CheckReason, 1, s.with(labels, LabelReason, string(r.Reason))...)
	if c.phases {
		for _, p := range r.Phases {
			s.add(CheckPhase, p.Took.Seconds(), s.with(labels, LabelPhase, p.Name)...)
		}
	}
	if c.tls {
		s.certificates(r, labels)
	}
	if c.facts {
		s.facts(r, labels)
		s.names(ck.Kind, r, labels)
	}
}

// certificates adds what the kinds that judge a server's chain saw of it, whether or not it verified. Other certificates,
// of an OCSP answer or a time stamp, are among the facts alone.
func (s *set) certificates(r *check.Result, labels []*dto.LabelPair) {
	valid, judged := r.Facts.Get("chain_valid_code")
	if !judged {
		return
	}
	for _, p := range [...]struct{ position, fact string }{
		{"leaf", "cert_not_after_unix"}, {"intermediate", "intermediate_not_after_unix"}, {"root", "root_not_after_unix"},
	} {
		if v, ok := r.Facts.Get(p.fact); ok {
			s.add(CertNotAfter, v, s.with(labels, LabelPosition, p.position)...)
		}
	}
	s.add(ChainValid, valid, labels...)
}

// names adds what the kinds that ask name servers saw of their answers: whether they agree with what they must be, where there was an answer
// to compare, and when the first signature ends that a proof rests on.
func (s *set) names(kind string, r *check.Result, labels []*dto.LabelPair) {
	if kind != "dns" && kind != "zone" && kind != "hijack" {
		return
	}
	wrong := r.Reason == check.DNSInconsistent || r.Reason == check.DNSMismatch || r.Reason == check.DNSBogus
	if wrong || r.State == check.Up || r.State == check.Degraded {
		s.add(DNSConsistent, truth(!wrong), labels...)
	}
	if v, ok := r.Facts.Get("rrsig_not_after_unix"); ok {
		s.add(DNSSigned, v, labels...)
	}
}

// facts adds every number that the run saw, and the loss of packets under a name of its own.
func (s *set) facts(r *check.Result, labels []*dto.LabelPair) {
	for _, f := range r.Facts.Sorted() {
		s.add(CheckFact, f.Value, s.with(labels, LabelFact, f.Name)...)
	}
	if v, ok := r.Facts.Get("loss_ratio"); ok {
		s.add(PathLoss, v, labels...)
	}
}

// with returns labels and more of them, given as name, value, name, value …, in the order of names. A name that is
// among labels already is left as it is.
func (s *set) with(labels []*dto.LabelPair, more ...string) []*dto.LabelPair {
	out := make([]*dto.LabelPair, len(labels), len(labels)+len(more)/2)
	copy(out, labels)
	for i := 0; i < len(more); i += 2 {
		at, found := slices.BinarySearchFunc(out, more[i], func(l *dto.LabelPair, name string) int { return cmp.Compare(l.GetName(), name) })
		if !found {
			out = slices.Insert(out, at, s.label(more[i], more[i+1]))
		}
	}
	return out
}
