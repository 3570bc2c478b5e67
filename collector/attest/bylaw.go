package attest

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/profile"
)

// A bound compares a measured number with limits of a law set. Both are in the law set's unit after the number has been
// divided by unit.
type bound struct {
	control, fact string
	unit          float64
	// warn and fail are names of limits: beyond warn the control is met in part, beyond fail not. With one of them alone
	// nothing lies between.
	// One that begins with "level2_" has others beside it for higher levels, such as level3_days.
	warn, fail string
	// server is the limit in the place of fail for servers, which administrators alone use.
	server string
	// least is true where the number must be at least the limit.
	least bool
	// By what options of the plan the agent judged the same number, and their defaults in seconds or pieces.
	planWarn, planFail       string
	defaultWarn, defaultFail float64
}

const (
	minute = 60.0
	hour   = 3600.0
	oneDay = 86400.0
)

// bounds are the controls whose threshold is a number.
func bounds() []bound {
	return []bound{
		{control: "m02", fact: "age_s", unit: oneDay, warn: "warn_days", fail: "fail_days", planWarn: "max_age", planFail: "fail_age", defaultWarn: 3 * oneDay, defaultFail: 7 * oneDay},
		{control: "m05", fact: "age_s", unit: oneDay, fail: "max_days", planWarn: "max_age", planFail: "fail_age", defaultWarn: 31 * oneDay},
		{control: "m10", fact: "administrators_count", unit: 1, fail: "max_count", planFail: "max_count", defaultFail: 2},
		{control: "m11", fact: "age_s", unit: oneDay, fail: "max_days", planFail: "max_age", defaultFail: 45 * oneDay},
		{control: "m12", fact: "password_length_count", unit: 1, fail: "min_count", planFail: "min_length", defaultFail: 14, least: true},
		{control: "m12", fact: "age_s", unit: oneDay, warn: "admin_max_days", planWarn: "max_age", defaultWarn: 62 * oneDay},
		{control: "m13", fact: "screen_lock_s", unit: minute, fail: "user_minutes", server: "admin_minutes", planFail: "max_idle", defaultFail: 15 * minute},
		{control: "m13", fact: "tries_count", unit: 1, fail: "tries_count", planFail: "max_tries", defaultFail: 10},
		{control: "m16", fact: "offset_s", unit: 1, warn: "warn_seconds", planWarn: "max_offset", defaultWarn: 60},
		{control: "m17", fact: "log_reach_s", unit: oneDay, warn: "level2_days", planWarn: "min_age", defaultWarn: 30 * oneDay, least: true},
		{control: "m18", fact: "age_s", unit: minute, fail: "max_minutes", planFail: "max_age", defaultFail: 15 * minute},
		{control: "m20", fact: "age_s", unit: hour, fail: "max_hours", planWarn: "max_age", planFail: "fail_age", defaultWarn: 24 * hour},
	}
}

// ByLaw judges a result by the numbers of a control of a law set, without measuring again: what the agent judged by the
// limits of its plan is taken as it is where the law set has no number for it or the number was not measured. A law set
// asks nothing of machines of other roles, or of systems below a level: there the control does not apply. It
// can find a control worse than the plan did. Better it can find it only where the numbers alone explain what the agent
// found: something else may be wrong that the numbers do not show.
func ByLaw(c profile.Control, m Measured, now time.Time) State {
	if !c.AsksOf(m.Role, m.Level) {
		return NotApplicable
	}
	agent := m.state(now)
	if agent == Unknown {
		return Unknown
	}
	law, plan, judged := Pass, Pass, false
	for _, b := range bounds() {
		v, ok := m.Facts.Get(b.fact)
		if b.control != c.ID || !ok {
			continue
		}
		warn, fail := limitAt(c.Limits, b.warn, m.Level), limitAt(c.Limits, b.fail, m.Level)
		if v := limitOf(c.Limits, b.server); m.Role == profile.RoleServer && !math.IsNaN(v) {
			fail = v
		}
		if math.IsNaN(warn) && math.IsNaN(fail) {
			continue
		}
		judged = true
		law = worse(law, b.judge(math.Abs(v)/b.unit, warn, fail))
		warn = optionOf(m.Options, b.planWarn, b.defaultWarn)
		fail = optionOf(m.Options, b.planFail, b.defaultFail)
		if b.planFail != "" && b.defaultFail == 0 && !m.Options.Has(b.planFail) {
			fail = warn // the agent fails beyond max_age where the plan names no fail_age
		}
		plan = worse(plan, b.judge(math.Abs(v), warn, fail))
	}
	switch {
	case !judged:
		return agent
	case plan == agent:
		return law
	}
	return worse(law, agent)
}

func worse(a, b State) State {
	t := Tally{}
	t[a]++
	t[b]++
	return t.Worst()
}

// limitOf is a number of a law set; NaN when it has none of this name.
func limitOf(limits []profile.Limit, name string) float64 {
	if i := slices.IndexFunc(limits, func(l profile.Limit) bool { return l.Name == name }); i >= 0 {
		return limits[i].Value
	}
	return math.NaN()
}

// limitAt is a number of a law set for systems of a level: of level3_days and level2_days the first is for level 3 and above.
func limitAt(limits []profile.Limit, name string, level int) float64 {
	if rest, ok := strings.CutPrefix(name, "level2_"); ok {
		for ; level > 2; level-- {
			if v := limitOf(limits, "level"+strconv.Itoa(level)+"_"+rest); !math.IsNaN(v) {
				return v
			}
		}
	}
	return limitOf(limits, name)
}

// optionOf is a limit of a plan, durations in seconds; NaN when the agent has none.
func optionOf(o check.Options, name string, otherwise float64) float64 {
	switch v := o[name].(type) {
	case time.Duration:
		return v.Seconds()
	case int64:
		return float64(v)
	}
	if name == "" || otherwise == 0 {
		return math.NaN()
	}
	return otherwise
}

// judge compares one number with two limits, either of which may be NaN: then nothing is beyond it.
func (b bound) judge(v, warn, fail float64) State {
	past := func(limit float64) bool {
		if b.least {
			return v < limit
		}
		return v > limit
	}
	switch {
	case past(fail):
		return Fail
	case past(warn):
		return Partial
	}
	return Pass
}
