package incident

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/collector/verdict"
)

var start = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC) // ten o'clock of a Monday in Vietnam

const every = 15 * time.Second

// A world is what the standings of a small district are made from: one line a slot of 15 s.
type world struct {
	t     *testing.T
	book  Book
	m     *Machine
	model verdict.Model
	now   time.Time
	since map[string]verdict.Standing // by service and unit
	log   []string
	why   []string
}

func newWorld(t *testing.T) *world {
	return &world{t: t, m: NewMachine(Policy{}, start.Add(-time.Hour)), now: start, since: map[string]verdict.Standing{}, model: verdict.Model{
		Home: "d",
		Services: map[string]verdict.Service{
			"mail": {Every: every}, "web": {Every: every, Depends: []string{"login"}}, "login": {Every: every},
			"inet": {Every: every, Line: true}, "lan": {Every: every, Line: true},
		},
		Units: map[string]verdict.Unit{"a": {Expected: true}, "b": {Expected: true}, "c": {Expected: true}, "d": {Expected: true}},
	}}
}

// slot moves on by one slot in which the standings are as told: "mail=down:connect_refused", "mail@a=unknown:silent".
// What is not named stands on with the same state and a new result, unless it is silent.
func (w *world) slot(told string) {
	w.t.Helper()
	w.now = w.now.Add(every)
	for word := range strings.FieldsSeq(told) {
		name, what, _ := strings.Cut(word, "=")
		state, reason, _ := strings.Cut(what, ":")
		service, unit, _ := strings.Cut(name, "@")
		st, err := check.ParseState(state)
		if err != nil {
			w.t.Fatal(err)
		}
		s := w.since[name]
		if s.Since.IsZero() || s.State != st {
			s.Since = w.now
		}
		s.Service, s.Unit, s.State, s.Reason = service, unit, st, check.Reason(reason)
		w.since[name] = s
	}
	var all []verdict.Standing
	for _, name := range slices.Sorted(maps.Keys(w.since)) {
		s := w.since[name]
		if s.Reason != check.Silent {
			s.Last = w.now
		}
		w.since[name] = s
		all = append(all, s)
	}
	w.observe(all)
}

func (w *world) observe(all []verdict.Standing) {
	w.t.Helper()
	w.why = nil
	at := w.now.Add(3 * time.Second)
	events, waiting := w.m.Step(&w.book, verdict.Judge(all, w.model, verdict.Moment{}).Findings, at)
	for _, e := range events {
		if err := w.book.Apply(e); err != nil {
			w.t.Fatal(err)
		}
		w.log = append(w.log, fmt.Sprintf("%d %s %s%s%s %s %s", int(w.now.Sub(start)/every), e.What, e.Kind, dash(e.Component.Service), dash(e.Unit), e.Reason, e.Why))
	}
	for _, d := range waiting {
		w.why = append(w.why, string(d.Component.Kind)+dash(d.Component.Service)+dash(d.Component.Unit)+" "+d.Why)
	}
}

func dash(s string) string {
	if s == "" {
		return ""
	}
	return "-" + s
}

func (w *world) want(log ...string) {
	w.t.Helper()
	if diff := cmp.Diff(log, w.log); diff != "" {
		w.t.Errorf("events (-want +got):\n%s", diff)
	}
}

const (
	up   = "up:ok"
	down = "down:connect_refused"
	mute = "unknown:silent"
)

func TestTwoSlotsOpenAndTwoClose(t *testing.T) {
	w := newWorld(t)
	w.slot("mail=" + up)
	w.slot("mail=" + down)
	if len(w.why) != 1 || w.why[0] != "service-mail waiting_slot" {
		t.Errorf("after one slot: %v", w.why)
	}
	w.slot("mail=" + down)
	w.slot("mail=" + down)
	w.slot("mail=degraded:slow")
	if len(w.why) != 1 || w.why[0] != "service-mail waiting_good" {
		t.Errorf("after one good slot: %v", w.why)
	}
	w.slot("mail=degraded:slow")
	w.slot("mail=" + up)
	w.want("3 opened service-mail connect_refused first", "6 closed service-mail slow recovered")
}

func TestDegradedThenUpIsTwoGoodSlots(t *testing.T) {
	w := newWorld(t)
	w.slot("mail=" + down)
	w.slot("mail=" + down)
	w.slot("mail=degraded:slow")
	w.slot("mail=" + up)
	w.want("2 opened service-mail connect_refused first", "4 closed service-mail ok recovered")
}

func TestUnknownOpensAndClosesNothing(t *testing.T) {
	w := newWorld(t)
	for range 40 {
		w.slot("mail=unknown:no_permission")
	}
	w.slot("mail=" + down)
	w.slot("mail=unknown:internal")
	w.slot("mail=" + down)
	w.want()
	w.slot("mail=" + down)
	w.slot("mail=" + up)
	for range 40 {
		w.slot("mail=unknown:internal")
	}
	w.slot("mail=" + up)
	w.want("44 opened service-mail connect_refused first")
	w.slot("mail=" + up)
	w.want("44 opened service-mail connect_refused first", "87 closed service-mail ok recovered")
}

func TestLateDataOpensNothing(t *testing.T) {
	w := newWorld(t)
	old := verdict.Standing{Service: "mail", State: check.Down, Reason: check.ConnectRefused, Since: start, Last: start.Add(time.Hour), Every: every}
	w.now = start.Add(time.Hour + every + 90*time.Second)
	w.observe([]verdict.Standing{old})
	if len(w.why) != 1 || w.why[0] != "service-mail late" {
		t.Errorf("decisions: %v", w.why)
	}
	w.want()
	w.now = start.Add(time.Hour + 20*time.Second) // the same results, while they still speak for now
	w.observe([]verdict.Standing{old})
	if len(w.log) != 1 {
		t.Errorf("fresh results open %d incidents, want 1", len(w.log))
	}
}

func TestLateDataClosesNothing(t *testing.T) {
	w := newWorld(t)
	w.slot("mail=" + down)
	w.slot("mail=" + down)
	w.now = start.Add(time.Hour)
	w.observe([]verdict.Standing{{Service: "mail", State: check.Up, Reason: check.OK, Since: start, Last: start.Add(50 * time.Minute), Every: every}})
	w.want("2 opened service-mail connect_refused first")
}

func TestFlappingClosesLaterEachTime(t *testing.T) {
	w := newWorld(t)
	var took []int
	for range 5 {
		w.slot("mail=" + down)
		w.slot("mail=" + down)
		if len(w.book.open) != 1 {
			t.Fatalf("round %d opened nothing", len(took))
		}
		n := 0
		for ; len(w.book.open) > 0; n++ {
			w.slot("mail=" + up)
		}
		took = append(took, n)
	}
	if diff := cmp.Diff([]int{2, 4, 8, 16, 16}, took); diff != "" {
		t.Errorf("good slots until the closing (-want +got):\n%s", diff)
	}
	if !strings.HasSuffix(w.log[0], First) || !strings.HasSuffix(w.log[2], Repeat) {
		t.Errorf("why: %q, %q", w.log[0], w.log[2])
	}
}

func TestOneIncidentForAUnitsLine(t *testing.T) {
	w := newWorld(t)
	w.slot("mail=up:ok mail@a=up:ok mail@b=up:ok inet=up:ok inet@a=up:ok inet@b=up:ok lan=up:ok lan@a=up:ok lan@b=up:ok")
	w.slot("mail=unknown:no_uplink mail@a=unknown:no_uplink inet@a=down:timeout lan@a=down:timeout")
	w.slot("")
	w.slot("mail=up:ok mail@a=up:ok inet@a=up:ok lan@a=up:ok")
	w.slot("")
	w.want("3 opened line-a timeout first", "5 closed line-a ok recovered")
	if got := w.book.Closed()[0]; got.Through != "lan" && got.Through != "inet" {
		t.Errorf("the line is shown by %q", got.Through)
	}
}

func TestLineDownInTheOnlyUnitThatWatches(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.slot("inet=down:timeout inet@a=down:timeout mail=down:timeout mail@a=down:timeout")
	}
	w.want("2 opened line-a timeout first")
	if diff := cmp.Diff([]string{"service-inet muted_by_line", "service-mail muted_by_line"}, sorted(w.why)); diff != "" {
		t.Errorf("decisions (-want +got):\n%s", diff)
	}
}

func TestOneIncidentWhenSeveralLinesFail(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.slot("inet=down:timeout inet@a=down:timeout inet@b=down:timeout inet@c=up:ok")
	}
	w.want("2 opened service-inet timeout first")
}

func TestDependencyExplains(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.slot("web=down:http_status login=down:timeout")
	}
	w.slot("login=up:ok")
	w.slot("")
	w.slot("web=up:ok")
	w.slot("")
	w.want("2 opened service-login timeout first", "5 closed service-login ok recovered", "5 opened service-web http_status first",
		"7 closed service-web ok recovered")
}

func TestSilentUnit(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy Policy
		opened string
	}{
		{"as soon as can be", Policy{}, "3 opened line-a silent first"},
		{"less than two slots", Policy{Silence: 10 * time.Second}, "3 opened line-a silent first"},
		{"after five minutes", Policy{Silence: 5 * time.Minute}, "21 opened line-a silent first"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.m = NewMachine(tt.policy, start.Add(-time.Hour))
			w.slot("mail=up:ok mail@a=up:ok mail@b=up:ok mail@c=up:ok lan@a=up:ok lan@b=up:ok lan@c=up:ok")
			w.slot("mail@a=" + mute + " lan@a=" + mute)
			w.want()
			for range 20 {
				w.slot("")
			}
			w.want(tt.opened)
			if got := w.book.Open()[0].State; got != check.Unknown {
				t.Errorf("an incident of silence says %v", got)
			}
			w.slot("mail@a=up:ok lan@a=up:ok")
			w.slot("")
			w.want(tt.opened, "24 closed line-a ok recovered")
		})
	}
}

func TestDesktopsAreOffAtNight(t *testing.T) {
	w := newWorld(t)
	w.model.Units["a"] = verdict.Unit{}
	w.slot("mail=up:ok mail@a=" + mute + " mail@b=up:ok")
	for range 40 {
		w.slot("")
	}
	w.want()
	if len(w.why) != 1 || w.why[0] != "line-a not_expected" {
		t.Errorf("decisions: %v", w.why)
	}
}

func TestFleetWideSilenceIsOneIncident(t *testing.T) {
	for _, tt := range []struct {
		policy Policy
		opened string
	}{{Policy{}, "3 opened fleet silent first"}, {Policy{Silence: 5 * time.Minute}, "21 opened fleet silent first"}} {
		w := newWorld(t)
		w.m = NewMachine(tt.policy, start.Add(-time.Hour))
		w.slot("mail=up:ok mail@a=up:ok mail@b=up:ok mail@c=up:ok mail@d=up:ok")
		w.slot("mail@a=" + mute + " mail@b=" + mute + " mail@c=" + mute)
		w.want()
		for range 25 {
			w.slot("")
		}
		w.want(tt.opened)
		w.slot("mail@a=up:ok mail@b=up:ok mail@c=up:ok")
		w.slot("")
		w.want(tt.opened, "29 closed fleet ok recovered")
	}
}

func TestSilenceBeforeTheStartIsOurOwn(t *testing.T) {
	w := newWorld(t)
	w.m = NewMachine(Policy{Silence: 5 * time.Minute}, start)
	s := verdict.Standing{Service: "mail", Unit: "a", Reason: check.Silent, Since: start.Add(-24 * time.Hour), Last: start.Add(-24 * time.Hour), Every: every}
	w.now = start.Add(4 * time.Minute)
	w.observe([]verdict.Standing{s})
	w.want()
	w.now = start.Add(5 * time.Minute)
	w.observe([]verdict.Standing{s})
	if len(w.log) != 1 {
		t.Errorf("%d events five minutes after the start, want 1", len(w.log))
	}
}

func TestWithdrawnServiceIsClosed(t *testing.T) {
	w := newWorld(t)
	w.slot("mail=down:timeout web=up:ok")
	w.slot("")
	delete(w.since, "mail")
	for range 41 {
		w.slot("")
	}
	w.want("2 opened service-mail timeout first", "43 closed service-mail not_planned withdrawn")
}

func TestUpdateWhenTheReasonChanges(t *testing.T) {
	w := newWorld(t)
	w.slot("mail=down:timeout")
	for range 30 {
		w.slot("mail=down:connect_refused")
	}
	for range 30 {
		w.slot("mail=down:timeout")
	}
	w.want("2 opened service-mail connect_refused first", "42 updated service-mail timeout changed")
}

func TestBookRefusesWhatDoesNotFit(t *testing.T) {
	c := verdict.Component{Kind: verdict.OfService, Service: "mail"}
	var b Book
	must := func(e Event) {
		t.Helper()
		if err := b.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	refuse := func(name string, e Event) {
		t.Helper()
		if err := b.Apply(e); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	refuse("the end of nothing", Event{Incident: "x", What: Closed, At: start, Component: c})
	must(Event{Incident: "x", What: Opened, At: start, Component: c})
	refuse("a second opening", Event{Incident: "y", What: Opened, At: start, Component: c})
	must(Event{Incident: "x", What: Closed, At: start, Component: c})
	refuse("an update after the end", Event{Incident: "x", What: Updated, At: start, Component: c})
	must(Event{Incident: "x", What: Acknowledged, At: start, User: "u"})
	refuse("a second acknowledgement", Event{Incident: "x", What: Acknowledged, At: start, User: "v"})
	refuse("an unknown event", Event{Incident: "x", What: "exploded", At: start})
}
