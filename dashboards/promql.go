package dashboards

import (
	"fmt"
	"strings"

	"egovmon/agent/check"
	"egovmon/exporter"
)

// Codes of states in the panels of states over time, from worst told to best.
const (
	codeUnknown = iota
	codeDown
	codeDegraded
	codeUp
)

// stateCode is the worst that is known of each group of services, as a code; a group of which nothing is known is
// unknown, and one without samples has no series at that time. Matchers choose the services.
func stateCode(by, matchers string) string {
	var parts []string
	for _, s := range []struct {
		state check.State
		code  int
	}{{check.Down, codeDown}, {check.Degraded, codeDegraded}, {check.Up, codeUp}} {
		parts = append(parts, fmt.Sprintf(`(%s == 1) * %d`, inState(by, s.state, matchers), s.code))
	}
	parts = append(parts, fmt.Sprintf(`%s * %d`, inState(by, check.Unknown, matchers), codeUnknown))
	return strings.Join(parts, fmt.Sprintf(" or on (%s) ", by))
}

// inState is 1 for each group with a service in a state.
func inState(by string, s check.State, matchers string) string {
	return fmt.Sprintf(`max by (%s) (%s{state="%s",%s})`, by, exporter.ServiceState, s, matchers)
}

// howMany counts the groups with a service in a state: 0 when there is none, nothing when nothing is known of any.
func howMany(by string, s check.State, matchers string) string {
	return "sum(" + inState(by, s, matchers) + ")"
}

// perGroup counts the services of each group that are in a state.
func perGroup(by string, s check.State, matchers string) string {
	return fmt.Sprintf(`sum by (%s) (max by (%s, service) (%s{state="%s",%s}))`, by, by, exporter.ServiceState, s, matchers)
}

// hourly is the highest availability that what is known of each hour allows, without the hours of which nothing is
// known: those would read as 100 %.
func hourly(by, matchers string) string {
	m := `window="1h",calendar="$calendar",` + matchers
	return fmt.Sprintf(`max by (%s) (%s{bound="upper",%s}) and on (%s) max by (%s) (%s{%s}) > 0`,
		by, exporter.ServiceAvail, m, by, by, exporter.ServiceCoverage, m)
}

// daysLeft is how many days remain until the first certificate of a check ends. Certificates are looked at seldom,
// so the last hours count.
func daysLeft(by, matchers string) string {
	return fmt.Sprintf(`(min by (%s) (last_over_time(%s{%s}[3h])) - time()) / 86400`, by, exporter.CertNotAfter, matchers)
}
