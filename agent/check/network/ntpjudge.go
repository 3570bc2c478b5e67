package network

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
)

// timeLimits are what the plan asks of servers of time and of this machine's clock.
type timeLimits struct {
	need     int
	offset   time.Duration
	distance time.Duration
	stratum  int
}

// minDistance is how far two right servers may seem apart whatever they claim: timestamps are taken by programs.
const minDistance = 5 * time.Millisecond

// judgeTime says what the samples of all servers mean. The down reason is that of the first server that says something of
// its service: one that refuses us alone does not.
func judgeTime(all []timeSample, l timeLimits) check.Result {
	var usable []timeSample
	var faults []*check.Result
	answered, resting := 0, 0
	for _, s := range all {
		if s.answered {
			answered++
		}
		if s.resting {
			resting++
		}
		if s.fault != nil {
			faults = append(faults, s.fault)
		} else {
			usable = append(usable, s)
		}
	}
	right, ahead := majority(usable)
	r := judgeVotes(usable, right, ahead, faults, l)
	r.Facts.Add("asked_count", float64(len(all)))
	r.Facts.Add("answered_count", float64(answered))
	r.Facts.Add("synchronised_count", float64(len(usable)))
	r.Facts.Add("resting_count", float64(resting))
	if len(right) == 0 {
		return r
	}
	best := slices.MinFunc(right, func(a, b timeSample) int { return cmp.Compare(a.distance, b.distance) })
	fastest := slices.MinFunc(right, func(a, b timeSample) int { return cmp.Compare(a.rtt, b.rtt) })
	r.Facts.Add("agreeing_count", float64(len(right)))
	r.Facts.Add("falsetickers_count", float64(len(usable)-len(right)))
	r.Facts.Add("offset_s", max(-maxOffset, min(maxOffset, ahead.Seconds())))
	r.Facts.Add("stratum_code", float64(best.stratum))
	r.Facts.Add("leap_code", float64(best.leap))
	r.Facts.Add("root_distance_s", min(3600, best.distance.Seconds()))
	r.Facts.Add("rtt_min_s", max(0, min(3600, fastest.rtt.Seconds())))
	return r
}

func judgeVotes(usable, right []timeSample, ahead time.Duration, faults []*check.Result, l timeLimits) check.Result {
	if len(usable) == 0 {
		i := max(0, slices.IndexFunc(faults, func(f *check.Result) bool { return f.State == check.Down }))
		return check.Because(faults[i].Reason, "%s", faults[i].Detail)
	}
	if len(right) == 0 {
		return check.Because(check.ClockSkew, "%s: no majority agrees, so that nobody can tell which clock is right", list(usable))
	}
	if ahead.Abs() > l.offset {
		who := "ahead of"
		if ahead < 0 {
			who = "behind"
		}
		note := ""
		if len(right) == 1 {
			note = "; one server alone cannot tell whose clock is wrong"
		}
		return check.Because(check.ClockSkew, "this machine's clock is %s %s %s, at most %s is allowed%s", brief(ahead.Abs()), who, list(right), l.offset, note)
	}
	if len(right) < len(usable) {
		var wrong []timeSample
		for _, s := range usable {
			if !slices.ContainsFunc(right, func(t timeSample) bool { return t.server == s.server }) {
				wrong = append(wrong, s)
			}
		}
		return check.Because(check.ClockSkew, "%s differs by %s from the majority", list(wrong), brief((ahead - wrong[0].ahead).Abs()))
	}
	if len(right) < l.need {
		// Without a fault every server is in the majority, and need is no more than there are.
		return check.Because(check.Partial, "%d servers agree, %d are wanted; %s", len(right), l.need, faults[0].Detail)
	}
	return check.Because(check.OK, "")
}

// majority returns the samples that agree with one another when they are more than half, and how far this machine's clock
// is ahead of what they agree on. A sample says that the offset lies within its distance; the instant that most of them
// allow is looked for at the ends of these stretches (the algorithm of RFC 5905, section 11.2.1, without its allowance for
// late midpoints).
func majority(usable []timeSample) ([]timeSample, time.Duration) {
	radius := func(s timeSample) time.Duration { return max(s.distance, minDistance) }
	var best []timeSample
	for _, s := range usable {
		edge := s.ahead - radius(s) // where most stretches overlap, one of them begins
		var in []timeSample
		for _, o := range usable {
			if o.ahead-radius(o) <= edge && edge <= o.ahead+radius(o) {
				in = append(in, o)
			}
		}
		if len(in) > len(best) {
			best = in
		}
	}
	if 2*len(best) <= len(usable) {
		return nil, 0
	}
	low, high := best[0].ahead-radius(best[0]), best[0].ahead+radius(best[0])
	for _, s := range best[1:] {
		low, high = max(low, s.ahead-radius(s)), min(high, s.ahead+radius(s))
	}
	return best, low + (high-low)/2
}

// list names servers for a person, as the plan names them.
func list(samples []timeSample) string {
	var names []string
	for _, s := range samples {
		names = append(names, s.server)
	}
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// brief rounds a stretch of time to what a person wants of it.
func brief(d time.Duration) time.Duration {
	if d > time.Minute {
		return d.Round(time.Second)
	}
	return d.Round(time.Millisecond)
}
