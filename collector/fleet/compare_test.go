package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/words"
	"egovmon/collector/intake"
	"egovmon/collector/profile"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func machine(id, role string) profile.Machine {
	return profile.Machine{Record: profile.Record{ID: id}, Unit: "xa-" + id, Role: role}
}

// heard is the status of a machine that called so long ago.
func heard(ago time.Duration) *intake.Status {
	return &intake.Status{Machine: "pc", Unit: "xa-pc", Contact: now.Add(-ago)}
}

func gone(cause string) *intake.Status {
	s := heard(time.Minute)
	s.Goodbye, s.GoodbyeCause = s.Contact, cause
	return s
}

func has(status, alloc string) Inventory {
	return Inventory{Used: true, Read: now, Nodes: []Node{{ID: "1", Name: "pc", Status: status, Alloc: alloc, Eligible: true, Since: now.Add(-3 * time.Hour)}}}
}

func (v Inventory) but(change func(*Inventory)) Inventory {
	v.Nodes = slices.Clone(v.Nodes)
	change(&v)
	return v
}

func TestCompare(t *testing.T) {
	none := Inventory{}
	empty := Inventory{Used: true, Read: now}
	never := Inventory{Used: true, Problem: Unreachable}
	old := has("ready", "").but(func(v *Inventory) { v.Read, v.Problem = now.Add(-StaleAfter-time.Second), Forbidden })
	drained := has("ready", "").but(func(v *Inventory) { v.Nodes[0].Draining, v.Nodes[0].Eligible = true, false })
	failed := has("ready", "failed").but(func(v *Inventory) { v.Nodes[0].Why = "Failed tasks" })
	twice := has("down", "").but(func(v *Inventory) {
		v.Nodes = append(v.Nodes, Node{ID: "2", Name: "pc", Status: "ready", Alloc: "running", Created: 5, Eligible: true})
		v.Nodes[0].Created = 9
	})
	fresh, silent := heard(time.Minute), heard(2*time.Hour)
	idle := &intake.Status{Machine: "pc", Unit: "xa-pc"}
	planned := &intake.Status{Machine: "pc"}
	for _, tt := range []struct {
		name   string
		nomad  Inventory
		status *intake.Status
		want   string // deployed, reporting, what
		detail string
	}{
		{"fine", has("ready", "running"), fresh, "running reports ok", "last heard 1m0s ago"},
		{"fine without Nomad", none, fresh, "unused reports ok", ""},
		{"fine, Nomad away", never, fresh, "unknown reports ok", "Nomad cannot be asked: unreachable"},
		{"just placed", has("ready", "pending"), fresh, "starting reports ok", ""},
		{"installed by hand", empty, fresh, "absent reports outside_nomad", "Nomad has no node of that name"},
		{"installed by hand beside a failed one", failed, fresh, "failed reports outside_nomad", "(Failed tasks)"},
		{"only the link is cut", has("disconnected", "unknown"), fresh, "disconnected reports nomad_link", "disconnected since 2026-11-23T06:00:00Z"},
		{"Nomad calls it down", has("down", ""), fresh, "down reports nomad_link", ""},
		{"runs and cannot be heard", has("ready", "running"), silent, "running silent cut_off", "last heard 2h0m0s ago"},
		{"failed", failed, silent, "failed silent agent_fault", "Failed tasks"},
		{"not placed", has("ready", ""), silent, "missing silent agent_fault", ""},
		{"drained", drained, silent, "drained silent agent_drained", ""},
		{"off", has("disconnected", "unknown"), silent, "disconnected silent machine_away", ""},
		{"off for good", has("down", ""), silent, "down silent machine_away", ""},
		{"said that it is switched off", has("disconnected", "unknown"), gone("shutdown"), "disconnected silent shut_down", "said goodbye (shutdown)"},
		{"said that it is stopped", none, gone("stop"), "unused silent stopped", "said goodbye (stop)"},
		{"said goodbye, and Nomad runs it again", has("ready", "running"), gone("stop"), "running silent cut_off", ""},
		{"silent without Nomad", none, silent, "unused silent silent", ""},
		{"silent, Nomad away", never, silent, "unknown silent silent", ""},
		{"silent, Nomad's last answer is old", old, silent, "unknown silent silent", "but that was at 2026-11-23T08:54:59Z; Nomad cannot be asked: forbidden"},
		{"silent, unknown to Nomad", empty, silent, "absent silent silent", ""},
		{"a word of Nomad's that is new", has("hibernating", "running"), silent, "unknown silent silent", ""},
		{"an allocation's word that is new", has("ready", "paused"), silent, "unknown silent silent", ""},
		{"enrolled, never heard", empty, idle, "absent never never_reported", "never heard"},
		{"enrolled, never heard, and runs", has("ready", "running"), idle, "running never cut_off", ""},
		{"not enrolled", has("ready", "failed"), nil, "failed not_enrolled never_enrolled", ""},
		{"not enrolled, but has a plan", none, planned, "unused not_enrolled never_enrolled", ""},
		{"installed anew", twice, fresh, "running reports ok", "the newest of 2 nodes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep := Reported{Since: now.Add(-time.Hour)}
			if tt.status != nil {
				rep.Machines = []intake.Status{*tt.status}
			}
			list := Compare([]profile.Machine{machine("pc", profile.RoleProbe)}, tt.nomad, rep, now)
			if len(list) != 1 {
				t.Fatalf("%d machines: %+v", len(list), list)
			}
			m := list[0]
			got := strings.Join([]string{string(m.Deployed), string(m.Reporting), string(m.What)}, " ")
			if got != tt.want || !strings.Contains(m.Detail, tt.detail) || !m.Expected || m.Unit != "xa-pc" {
				t.Errorf("got %q (%s), want %q (%s)", got, m.Detail, tt.want, tt.detail)
			}
			if !slices.Contains(Whats(), m.What) {
				t.Errorf("%s is not on the closed list", m.What)
			}
		})
	}
}

// A collector that has just started has heard nobody, which proves nothing.
func TestCompareJustStarted(t *testing.T) {
	expected := []profile.Machine{machine("pc", profile.RoleProbe), machine("pc-02", profile.RoleProbe), machine("pc-03", profile.RoleProbe)}
	bye := *gone("shutdown")
	bye.Machine = "pc-03"
	rep := Reported{Since: now.Add(-SilentAfter), Machines: []intake.Status{*heard(2 * time.Hour), bye}}
	var got []What
	for _, m := range Compare(expected, Inventory{}, rep, now) {
		got = append(got, m.What)
	}
	if diff := cmp.Diff([]What{Unknown, NeverEnrolled, ShutDown}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Whatever is the matter with Nomad, no machine is called gone for it.
func TestCompareNomadAway(t *testing.T) {
	expected := []profile.Machine{machine("pc", profile.RoleProbe), machine("may-chu", profile.RoleCollector), machine("pc-tk", profile.RoleWorkstation)}
	rep := Reported{Since: now.Add(-time.Hour), Machines: []intake.Status{*heard(time.Minute), {Machine: "may-chu", Unit: "h", Contact: now}, {Machine: "pc-tk", Unit: "h", Contact: now.Add(-time.Hour)}}}
	for _, p := range []Problem{Unreachable, Refused, Forbidden, NoLeader, NoJob, ServerError, Unreadable, TooEarly} {
		list := Compare(expected, Inventory{Used: true, Problem: p}, rep, now)
		var got []string
		for _, m := range list {
			got = append(got, m.ID+" "+string(m.Deployed)+" "+string(m.What))
		}
		if diff := cmp.Diff([]string{"may-chu unused ok", "pc unknown ok", "pc-tk unknown silent"}, got); diff != "" {
			t.Errorf("%s, -want +got:\n%s", p, diff)
		}
		if !strings.Contains(list[2].Detail, string(p)) || !strings.Contains(list[2].Detail, "workstation") {
			t.Errorf("%s: detail %q", p, list[2].Detail)
		}
	}
}

func TestCompareUnexpected(t *testing.T) {
	rep := Reported{Since: now.Add(-time.Hour), Machines: []intake.Status{*heard(time.Minute), {Machine: "old", Unit: "xa-old", Received: now.AddDate(0, -3, 0)}}}
	v := has("ready", "running").but(func(v *Inventory) { v.Nodes[0].Name = "pc-x" })
	var got []string
	for _, m := range Compare([]profile.Machine{machine("a", profile.RoleProbe)}, v, rep, now) {
		got = append(got, m.ID+" "+m.Unit+" "+string(m.Deployed)+" "+string(m.Reporting)+" "+string(m.What))
	}
	want := []string{"a xa-a absent not_enrolled never_enrolled", "pc xa-pc absent reports unexpected", "pc-x  running not_enrolled unexpected"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// That two machines use one identity is said before all else.
func TestCompareCloned(t *testing.T) {
	s := *heard(time.Minute)
	s.Cloned = now.Add(-time.Hour)
	for _, expected := range [][]profile.Machine{{machine("pc", profile.RoleProbe)}, nil} {
		list := Compare(expected, Inventory{}, Reported{Since: now.Add(-time.Hour), Machines: []intake.Status{s}}, now)
		if len(list) != 1 || list[0].What != Cloned || !strings.Contains(list[0].Detail, "enrol one of them again") {
			t.Errorf("%+v", list)
		}
	}
}

func TestEveryWhatHasWords(t *testing.T) {
	for _, w := range Whats() {
		for _, l := range []words.Lang{words.VI, words.EN} {
			if s := words.Say(l, "fleet."+string(w)); strings.HasPrefix(s, "<") {
				t.Errorf("%s has no phrase in %s", w, l)
			}
		}
	}
}

func TestShort(t *testing.T) {
	if got := short("a\nb\x00\xff\u0085" + strings.Repeat("ữ", 300)); len([]rune(got)) != maxText || !strings.HasPrefix(got, "a b ? ữ") {
		t.Errorf("%q", got)
	}
}
