package incident

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/collector/evidence"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
	"egovmon/deploy/profiles"
)

// carriers gives the world two units on one carrier, and two on another one.
func (w *world) carriers() {
	lan, inet := w.model.Services["lan"], w.model.Services["inet"]
	lan.Path, inet.Path, inet.Operator = plan.LAN, plan.Internet, "nha_mang"
	w.model.Services["lan"], w.model.Services["inet"] = lan, inet
	for id, u := range w.model.Units {
		u.Carriers = map[plan.Path]string{plan.Internet: map[bool]string{true: "A", false: "B"}[id < "d"]}
		w.model.Units[id] = u
	}
}

func TestACarriersFaultIsOneIncident(t *testing.T) {
	w := newWorld(t)
	w.carriers()
	all := "inet=up:ok inet@a=%s inet@b=%s inet@c=%s inet@d=up:ok lan@a=up:ok lan@b=up:ok lan@c=up:ok lan@d=up:ok"
	w.slot(fmt.Sprintf(all, up, up, up))
	w.slot(fmt.Sprintf(all, down, up, up)) // the first unit shows it a slot before the others
	for range 5 {
		w.slot(fmt.Sprintf(all, "down:timeout", "down:timeout", "down:timeout"))
	}
	open := w.book.Open()
	if len(open) != 1 || len(open[0].Joined) != 2 || open[0].Cause.Kind != verdict.OfCarrier || open[0].Cause.Owner != "nha_mang" {
		t.Fatalf("%d are open, want one, joined by two, of cause carrier: %.300v", len(open), w.log)
	}
	w.slot(fmt.Sprintf(all, up, "down:timeout", "down:timeout"))
	w.slot("")
	w.slot("")
	if len(w.book.Open()) != 1 {
		t.Error("the incident is closed while two of its lines are down")
	}
	w.slot(fmt.Sprintf(all, up, up, up))
	w.slot("")
	opened, closed := 0, 0
	for _, e := range w.log {
		var n int
		var what string
		fmt.Sscan(e, &n, &what)
		switch What(what) {
		case Opened:
			opened++
		case Closed:
			closed++
		}
	}
	if opened != 1 || closed != 1 || len(w.book.Open()) != 0 {
		t.Errorf("%d openings and %d closings, want one of each: %.300v", opened, closed, w.log)
	}
	for range 4 {
		w.slot("")
	}
	if n := len(w.book.Open()); n != 0 {
		t.Errorf("%d incidents open afterwards", n)
	}
}

func TestWhatJoinsAnIncidentOpensNone(t *testing.T) {
	var b Book
	line := func(u string) verdict.Component { return verdict.Component{Kind: verdict.OfLine, Unit: u} }
	for _, e := range []Event{
		{Incident: "x", What: Opened, At: start, Component: line("a"), Units: []string{"a"}},
		{Incident: "x", What: Joined, At: start, Component: line("b"), Units: []string{"b"}},
	} {
		if err := b.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Apply(Event{Incident: "y", What: Opened, At: start, Component: line("b")}); err == nil {
		t.Error("what has joined opens an incident of its own")
	}
	if err := b.Apply(Event{Incident: "x", What: Joined, At: start, Component: line("b")}); err == nil {
		t.Error("it joins twice")
	}
	if open := b.Open(); len(open) != 1 || !slices.Equal(open[0].Units, []string{"a", "b"}) {
		t.Errorf("%d open", len(open))
	}
	if err := b.Apply(Event{Incident: "x", What: Closed, At: start, Component: line("a")}); err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(Event{Incident: "y", What: Opened, At: start, Component: line("b")}); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

// TestAMonthWithoutFaults loses one vote in twenty, and has single slots that one unit alone sees down.
func TestAMonthWithoutFaults(t *testing.T) {
	const slot = 5 * time.Minute
	w := newWorld(t)
	w.carriers()
	services := []string{"lan", "inet", "mail", "web", "login"}
	for _, id := range services {
		s := w.model.Services[id]
		s.Every = slot
		w.model.Services[id] = s
	}
	units := []string{"a", "b", "c", "d"}
	r := rand.New(rand.NewPCG(11, 30))
	votes := 0
	for w.now = start; w.now.Before(start.AddDate(0, 1, 0)); w.now = w.now.Add(slot) {
		var all []verdict.Standing
		for _, id := range services {
			all = append(all, verdict.Standing{Service: id, State: check.Up, Reason: check.OK, Since: start, Last: w.now, Every: slot})
			for _, u := range units {
				key := id + "@" + u
				why := check.OK
				switch p := r.Float64(); {
				case p < 0.05:
					why = check.Silent
				case p < 0.06:
					why = check.Slow
				case p < 0.061 && w.since[key].State != check.Down:
					why = check.Timeout
				}
				s := w.since[key]
				if s.State != why.State() || s.Since.IsZero() {
					s.Since = w.now
				}
				if why != check.Silent {
					s.Last = w.now
				}
				s.Service, s.Unit, s.State, s.Reason, s.Every = id, u, why.State(), why, slot
				w.since[key] = s
				all = append(all, s)
				votes++
			}
		}
		w.observe(all)
	}
	if len(w.log) != 0 {
		t.Errorf("%d events in a month without faults (%d votes): %.300v", len(w.log), votes, w.log)
	}
}

func TestClockJumpsOpenAndCloseNothing(t *testing.T) {
	w := newWorld(t)
	all := []verdict.Standing{
		{Service: "mail", State: check.Down, Reason: check.Timeout, Since: start, Last: start.Add(time.Minute), Every: every},
		{Service: "mail", Unit: "a", State: check.Down, Reason: check.Timeout, Since: start, Last: start.Add(time.Minute), Every: every},
	}
	for _, jump := range []time.Duration{3 * time.Hour, 48 * time.Hour} {
		w.now = start.Add(jump)
		w.observe(all)
	}
	w.want()
	w.now = start.Add(time.Minute)
	w.observe(all)
	w.now = start.Add(-3 * time.Hour) // the collector's clock steps back
	w.observe(all)
	w.now = start.Add(time.Minute)
	w.observe(all)
	w.want("4 opened service-mail timeout first")
}

func TestLeavesOfTheRuleBeforeAreRead(t *testing.T) {
	e := Event{Incident: "x", What: Opened, At: start, Component: verdict.Component{Kind: verdict.OfService, Service: "mail"}, State: check.Down, Reason: check.Timeout,
		Since: start, Why: First, Cause: Cause{Component: verdict.Component{Kind: verdict.OfBackend, Name: "192.0.2.1"}, Owner: "tinh", Confidence: 0.93}}
	for _, e := range []Event{e,
		{Incident: "x", What: Joined, At: start, Component: verdict.Component{Kind: verdict.OfSite, Service: "may_in", Unit: "a"}, State: check.Down, Reason: check.Timeout, Since: start, Why: SameCause},
		{Incident: "x", What: Classified, At: start, User: "u", Class: Security},
		{Incident: "x", What: Concluded, At: start, User: "u", Note: "cáp đứt", Measure: "nối lại"},
		{Incident: "x", What: Assigned, At: start, User: "u", To: "v", Note: "n"}} {
		entry, err := e.entry()
		if err != nil {
			t.Fatal(err)
		}
		got, ok, err := eventFrom(entry.Leaf)
		if err != nil || !ok {
			t.Fatalf("%s: %v %v", e.What, ok, err)
		}
		if diff := cmp.Diff(e, got, cmp.Comparer(func(a, b []string) bool { return slices.Equal(a, b) })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.What, diff)
		}
	}
	old := map[string]string{"at": "2026-11-23T03:00:17.000Z", "event": "opened", "id": "x", "kind": "service", "reason": "timeout", "rule": "incident/1", "service": "mail",
		"since": "2026-11-23T03:00:00Z", "state": "down", "votes": "up=0 down=2 unknown=0", "why": "first"}
	for rule, want := range map[string]bool{"incident/1": true, Rule: true, "incident/3": false} {
		old["rule"] = rule
		entry, err := evidenceEntry(old)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, err := eventFrom(entry); (ok && err == nil) != want {
			t.Errorf("a leaf of rule %s: read %v, %v; want %v", rule, ok, err, want)
		}
	}
}

func TestDuties(t *testing.T) {
	files, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	older := time.Date(2024, 3, 4, 3, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		class  Class
		at     time.Time
		closed bool
		want   []string // report and hours from the finding
	}{
		{"nobody has classified it", Unclassified, start, true, nil},
		{"an outage", Availability, start, true, nil},
		{"the older law", Security, older, false, []string{"first_report 120"}},
		{"the older law, over after two hours", Security, older, true, []string{"first_report 120", "closing_report 122"}},
		{"beyond one's own capacity", AtOnce, older, false, []string{"first_report 0"}},
		{"serious", Serious, start, true, []string{"first_notice 24", "detail 72"}},
		{"at once", AtOnce, start, false, []string{"first_notice 0", "detail 72"}},
		{"personal data", PersonalData, start, false, []string{"data_notice 72"}},
		{"security, not serious", Security, start, false, nil},
	} {
		i := Incident{Opened: tt.at, Life: Life{Class: tt.class}}
		if tt.closed {
			i.Closed = tt.at.Add(2 * time.Hour)
		}
		var got []string
		for _, d := range i.Duties(p.LawSets) {
			got = append(got, fmt.Sprintf("%s %g", d.Report, d.Due.Sub(i.Opened).Hours()))
			if d.Basis == "" {
				t.Errorf("%s: %s has no basis", tt.name, d.Report)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestTimesByOwner(t *testing.T) {
	one := func(owner string, ack, restored time.Duration) Incident {
		i := Incident{Opened: start, Since: start.Add(-time.Minute), Cause: Cause{Owner: owner}}
		if ack > 0 {
			i.Ack = Ack{User: "u", At: start.Add(ack)}
		}
		if restored > 0 {
			i.Closed, i.Restored = start.Add(restored+time.Minute), start.Add(restored)
		}
		return i
	}
	gone := one("a", 0, time.Hour)
	gone.Why = Withdrawn
	got := TimesByOwner([]Incident{one("a", 2*time.Minute, 9*time.Minute), one("a", 4*time.Minute, 0), one("b", 0, 19*time.Minute), gone},
		func(i *Incident) string { return i.Cause.Owner })
	want := map[string]Times{"a": {"a", 3, 2, 1, 3 * time.Minute, 10 * time.Minute}, "b": {"b", 1, 0, 1, 0, 20 * time.Minute}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func evidenceEntry(fields map[string]string) (evidence.Leaf, error) {
	e, err := evidence.NewEntry(evidence.Incident, fields, nil, nil)
	return e.Leaf, err
}

func TestWhatPeopleDoIsKept(t *testing.T) {
	h := newHouse(t)
	h.observe(check.Down, check.ConnectRefused, start, start.Add(every))
	id := h.m.Open()[0].ID
	do := func(a Act) error { return h.m.Act(t.Context(), id, a) }
	for name, a := range map[string]Act{
		"nobody": {What: Commented, Note: "n"}, "no comment": {What: Commented, User: "u"}, "to nobody": {What: Assigned, User: "u"}, "nowhere": {What: Escalated, User: "u"},
		"no class": {What: Classified, User: "u", Class: "bad"}, "no measure": {What: Concluded, User: "u", Note: "n"}, "the machine's": {What: Closed, User: "u"},
		"by the other way": {What: Acknowledged, User: "u"}, "too early": {What: Concluded, User: "u", Note: "n", Measure: "m"},
	} {
		if err := do(a); !errors.Is(err, ErrAct) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := h.m.Act(t.Context(), "nothing", Act{What: Commented, User: "u", Note: "n"}); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown incident: %v", err)
	}
	must := func(a Act) {
		t.Helper()
		if err := do(a); err != nil {
			t.Fatal(err)
		}
	}
	must(Act{What: Assigned, User: "u", To: "v"})
	must(Act{What: Commented, User: "v", Note: "đã gọi\nSở"})
	must(Act{What: Commented, User: "v", Note: "đang sửa"})
	must(Act{What: Escalated, User: "u", To: "Phó Chủ tịch"})
	must(Act{What: Classified, User: "u", Class: Security})
	must(Act{What: Classified, User: "u", Class: Serious})
	h.observe(check.Up, check.OK, start.Add(2*every), start.Add(3*every))
	must(Act{What: Concluded, User: "u", Note: "hỏng nguồn", Measure: "thay nguồn"})
	if err := do(Act{What: Concluded, User: "u", Note: "n", Measure: "m"}); !errors.Is(err, ErrConcluded) {
		t.Errorf("a second conclusion: %v", err)
	}
	want, _ := h.m.Find(id)
	l := want.Life
	if l.Assignee != "v" || l.Step != "Phó Chủ tịch" || l.Class != Serious || l.Cause != "hỏng nguồn" || l.Measure != "thay nguồn" || len(l.Entries) != 7 || l.Entries[1].Note != "đã gọi Sở" {
		t.Errorf("its life: %+v", l)
	}
	for _, keep := range []bool{true, false} {
		if !keep {
			if err := os.Remove(filepath.Join(h.dir, "incident", cursorFile)); err != nil {
				t.Fatal(err)
			}
		}
		h.reopen()
		if got, _ := h.m.Find(id); !cmp.Equal(want, got, cmp.AllowUnexported(Incident{})) {
			t.Errorf("cursor kept: %v: after the restart (-want +got):\n%s", keep, cmp.Diff(want, got, cmp.AllowUnexported(Incident{})))
		}
	}
}

// TestSitesOnOneMachine: three services that have nothing in common by their names stand on one machine, or show
// certificates of one authority. What successes told of that is learned, and makes one incident of the failures.
func TestSitesOnOneMachine(t *testing.T) {
	services := []string{"mail", "login", "site"}
	for _, tc := range []struct {
		name    string
		learned verdict.Learned
		reason  string
		kind    verdict.Kind
	}{
		{"the machine dies", verdict.Learned{Address: "4a8f01d2c3b4"}, "connect_timeout", verdict.OfBackend},
		{"its web server stops", verdict.Learned{Address: "4a8f01d2c3b4"}, "connect_refused", verdict.OfBackend},
		{"the issuing certificate ends", verdict.Learned{Issuer: "99aa01d2c3b4"}, "tls_expired", verdict.OfAuthority},
		{"the issuing certificate is taken back", verdict.Learned{Issuer: "99aa01d2c3b4"}, "tls_revoked", verdict.OfAuthority},
		{"nothing is known", verdict.Learned{}, "connect_timeout", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.carriers()
			delete(w.model.Services, "web")
			var told []verdict.Learned
			for _, id := range services {
				w.model.Services[id] = verdict.Service{Every: every, Path: plan.Internet, Web: true, TLS: true, Operator: "tinh"}
				for _, unit := range []string{"a", "b", "c", "d"} {
					l := tc.learned
					l.Service, l.Unit = id, unit
					told = append(told, l)
				}
			}
			w.model = w.model.Learn(told)
			all := func(state string) string {
				words := []string{"inet=up:ok lan=up:ok"}
				for _, id := range services {
					words = append(words, id+"="+state)
					for _, unit := range []string{"a", "b", "c", "d"} {
						words = append(words, id+"@"+unit+"="+state, "inet@"+unit+"=up:ok", "lan@"+unit+"=up:ok")
					}
				}
				return strings.Join(words, " ")
			}
			w.slot(all(up))
			for range 4 {
				w.slot(all("down:" + tc.reason))
			}
			open := w.book.Open()
			want := 1
			if tc.kind == "" {
				want = len(services)
			}
			if len(open) != want || tc.kind != "" && (open[0].Cause.Kind != tc.kind || open[0].Cause.Owner != "tinh" || len(open[0].Joined) != 2) {
				t.Fatalf("%d are open, want %d of cause %q: %.300v", len(open), want, tc.kind, w.log)
			}
			for range 3 {
				w.slot(all(up))
			}
			if n := len(w.book.Open()); n != 0 {
				t.Errorf("%d are open afterwards", n)
			}
		})
	}
}
