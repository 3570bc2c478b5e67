package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"egovmon/collector/intake"
	"egovmon/collector/profile"
)

const (
	// SilentAfter is how long after its last call a machine counts as silent. An agent calls at least every two minutes.
	SilentAfter = 5 * time.Minute
	// StaleAfter is how old Nomad's answer may be before the deployment is unknown.
	StaleAfter = 5 * time.Minute
)

// A Deployment is what Nomad says of the agent on a machine.
type Deployment string

// The deployments.
const (
	Running      Deployment = "running"      // Nomad runs it
	Starting     Deployment = "starting"     // Nomad has placed it
	Failed       Deployment = "failed"       // Nomad gave up on it
	Missing      Deployment = "missing"      // Nomad has the machine, and runs no agent there
	Drained      Deployment = "drained"      // as Missing, because somebody drained the machine or made it ineligible
	Disconnected Deployment = "disconnected" // Nomad has lost the machine; its agent is left alone
	Down         Deployment = "down"         // Nomad has lost the machine for good, or it was shut down
	Absent       Deployment = "absent"       // Nomad does not know the machine
	Unused       Deployment = "unused"       // there is no Nomad, or the machine is not its business
	Unclear      Deployment = "unknown"      // Nomad cannot be asked, or its answer cannot be trusted
)

// A Reporting is what the collector itself has heard of a machine.
type Reporting string

// The reportings.
const (
	Reports     Reporting = "reports"      // it called within SilentAfter
	Silent      Reporting = "silent"       // it did, once
	Never       Reporting = "never"        // it has an identity, and never called
	NotEnrolled Reporting = "not_enrolled" // it has no identity
	Unheard     Reporting = "unknown"      // the collector has not been listening for long enough
)

// A What says what is the matter with a machine: the closed list of this package. Its words for people are the phrases
// "fleet." + What.
type What string

// What may be the matter.
const (
	OK            What = "ok"
	OutsideNomad  What = "outside_nomad"  // it reports, though Nomad runs no agent there: installed by hand
	NomadLink     What = "nomad_link"     // it reports, though Nomad has lost it: only Nomad's link is cut
	CutOff        What = "cut_off"        // Nomad runs the agent, and it does not reach the collector
	AgentFault    What = "agent_fault"    // the machine is there, and its agent does not run
	AgentStarting What = "agent_starting" // it is being started
	AgentDrained  What = "agent_drained"  // somebody has taken the machine out of service
	MachineAway   What = "machine_away"   // neither Nomad nor the collector hears of it: off, or its line is cut
	ShutDown      What = "shut_down"      // it said that it is being switched off
	Stopped       What = "stopped"        // it said that somebody stops the agent
	Quiet         What = "silent"         // it stopped reporting, and nobody can say why
	NeverReported What = "never_reported" // it has an identity, and nothing ever came
	NeverEnrolled What = "never_enrolled" // it has no identity
	Cloned        What = "cloned"         // two machines use its identity
	Unexpected    What = "unexpected"     // it reports, or Nomad has it, and the profile does not
	Unknown       What = "unknown"        // it is too early to say
)

// Whats lists the closed list, the best first.
func Whats() []What {
	return []What{OK, OutsideNomad, NomadLink, ShutDown, Stopped, AgentStarting, AgentDrained, Unknown, MachineAway, Quiet,
		CutOff, AgentFault, NeverReported, NeverEnrolled, Cloned, Unexpected}
}

// A Machine is one line of the fleet.
type Machine struct {
	ID        string     `json:"machine"`
	Unit      string     `json:"unit,omitempty"`
	Role      string     `json:"role,omitempty"` // as the profile says it
	Expected  bool       `json:"expected"`
	Deployed  Deployment `json:"deployed"`
	Reporting Reporting  `json:"reporting"`
	What      What       `json:"what"`
	// Detail is the evidence in English. It may hold words of Nomad's: untrusted text wherever it is shown.
	Detail string    `json:"detail,omitempty"`
	Heard  time.Time `json:"heard,omitzero"` // its last call
}

// Reported is what the collector has heard.
type Reported struct {
	Since    time.Time // since when it has been listening; a silence before that proves nothing
	Machines []intake.Status
}

// Compare explains each machine that the profile expects, Nomad has or that reports, in the order of their ids. A node
// of Nomad is the machine of the same name.
func Compare(expected []profile.Machine, nomad Inventory, reported Reported, now time.Time) []Machine {
	all := map[string]*Machine{}
	get := func(id string) *Machine {
		m := all[id]
		if m == nil {
			m = &Machine{ID: id}
			all[id] = m
		}
		return m
	}
	heard := map[string]intake.Status{}
	for _, s := range reported.Machines {
		heard[s.Machine] = s
		if reporting(s, reported.Since, now) == Reports {
			get(s.Machine).Unit = s.Unit
		}
	}
	for _, e := range expected {
		m := get(e.ID)
		m.Unit, m.Role, m.Expected = e.Unit, e.Role, true
	}
	nodes := nomad.byName()
	for name := range nodes {
		get(name)
	}
	list := make([]Machine, 0, len(all))
	for id, m := range all {
		s := heard[id]
		m.Heard = latest(s.Contact, s.Received)
		m.Reporting = reporting(s, reported.Since, now)
		m.Deployed = nomad.deployed(nodes[id], m.Role, now)
		m.What = judge(m, s)
		m.Detail = detail(m, s, nomad, nodes[id], now)
		list = append(list, *m)
	}
	slices.SortFunc(list, func(a, b Machine) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func reporting(s intake.Status, since, now time.Time) Reporting {
	last := latest(s.Contact, s.Received)
	switch {
	case last.IsZero() && s.Unit == "":
		return NotEnrolled
	case !last.IsZero() && now.Sub(last) <= SilentAfter && s.Goodbye.IsZero():
		return Reports
	case !s.Goodbye.IsZero():
		return Silent
	case now.Sub(since) <= SilentAfter:
		return Unheard
	case last.IsZero():
		return Never
	}
	return Silent
}

// judge is the table of this package.
func judge(m *Machine, s intake.Status) What {
	switch {
	case !s.Cloned.IsZero():
		return Cloned
	case !m.Expected:
		return Unexpected
	}
	switch m.Reporting {
	case Reports:
		switch m.Deployed {
		case Missing, Drained, Failed, Absent:
			return OutsideNomad
		case Disconnected, Down:
			return NomadLink
		}
		return OK
	case NotEnrolled:
		return NeverEnrolled
	case Unheard:
		return Unknown
	}
	switch m.Deployed {
	case Running:
		return CutOff
	case Starting:
		return AgentStarting
	}
	if !s.Goodbye.IsZero() {
		if s.GoodbyeCause == "shutdown" {
			return ShutDown
		}
		return Stopped
	}
	switch m.Deployed {
	case Failed, Missing:
		return AgentFault
	case Drained:
		return AgentDrained
	case Disconnected, Down:
		return MachineAway
	}
	if m.Reporting == Never {
		return NeverReported
	}
	return Quiet
}

// detail is the evidence: what Nomad said, when, and when the machine was heard.
func detail(m *Machine, s intake.Status, inv Inventory, nodes []Node, now time.Time) string {
	var parts []string
	if len(nodes) > 0 {
		n := nodes[0]
		p := "Nomad: " + string(n.deployed())
		if !n.Since.IsZero() {
			p += " since " + stamp(n.Since)
		}
		if n.Why != "" {
			p += " (" + n.Why + ")"
		}
		if len(nodes) > 1 {
			p += fmt.Sprintf(", the newest of %d nodes of that name", len(nodes))
		}
		if m.Deployed == Unclear {
			p += ", but that was at " + stamp(inv.Read)
		}
		parts = append(parts, p)
	} else if m.Deployed == Absent {
		parts = append(parts, "Nomad has no node of that name")
	}
	if inv.Problem != "" && m.Deployed != Unused {
		parts = append(parts, "Nomad cannot be asked: "+string(inv.Problem))
	}
	if !s.Cloned.IsZero() {
		parts = append(parts, fmt.Sprintf("two machines have used this identity since %s: enrol one of them again with a new token", stamp(s.Cloned)))
	}
	switch {
	case !s.Goodbye.IsZero():
		parts = append(parts, fmt.Sprintf("said goodbye (%s) at %s", cmp.Or(s.GoodbyeCause, "no cause"), stamp(s.Goodbye)))
	case !m.Heard.IsZero():
		parts = append(parts, fmt.Sprintf("last heard %s ago", now.Sub(m.Heard).Round(time.Second)))
	case m.Reporting != NotEnrolled:
		parts = append(parts, "never heard")
	}
	if (m.Role == profile.RoleWorkstation || m.Role == profile.RoleLaptop) && m.Reporting == Silent {
		parts = append(parts, "a workstation may be switched off after work")
	}
	return strings.Join(parts, "; ")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
