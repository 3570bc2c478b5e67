package alert

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/collector/incident"
	"egovmon/collector/profile"
	"egovmon/collector/suspend"
	"egovmon/collector/verdict"
)

// at is a time of day in Vietnam, in November 2026: the 23rd is a Monday, the 24th a holiday.
func at(day, hour, minute int) time.Time {
	return time.Date(2026, 11, day, hour, minute, 0, 0, profile.Zone())
}

func contact(kind, value string) profile.Contact { return profile.Contact{Kind: kind, Value: value} }

// district is a small profile: two offices, three steps of a roster, services of each severity, one year.
func district() *profile.Profile {
	rec := func(id string) profile.Record { return profile.Record{ID: id} }
	name := func(vi, en string) profile.Name { return profile.Name{VI: vi, EN: en} }
	service := func(id, owner string, s profile.Severity, n profile.Name) profile.Service {
		return profile.Service{Record: rec(id), Owner: owner, Severity: s, Name: n}
	}
	day := profile.NewDate(2026, time.November, 24)
	return &profile.Profile{
		District: "d",
		Units: []profile.Unit{
			{Record: rec("d"), Names: []profile.Dated{{Name: name("Huyện D", "D District")}}},
			{Record: rec("xa-a"), Names: []profile.Dated{{Name: name("Xã A", "A Commune")}}},
			{Record: rec("xa-b"), Names: []profile.Dated{{Name: name("Xã B", "B Commune")}}},
		},
		Machines: []profile.Machine{{Record: rec("collector"), Unit: "d", Role: profile.RoleCollector}},
		Lines:    []profile.Line{{Record: rec("a-net"), Unit: "xa-a", Carrier: "VNPT"}},
		Services: []profile.Service{
			service("mail", "VHTT", profile.Critical, name("Thư điện tử công vụ", "Official e-mail")),
			service("cong", "VHTT", profile.Critical, name("Cổng TTĐT huyện", "District portal")),
			service("tabmis", "TCKH", profile.Major, name("TABMIS", "")),
			service("hoc", "NV", profile.Minor, name("Học liệu", "Learning")),
			service("inet", "VHTT", profile.Major, name("Internet", "Internet")),
		},
		Offices: []profile.Office{
			{Record: rec("VHTT"), Name: name("Phòng VH-TT", "Culture Office"), Contacts: []profile.Contact{contact(ByMail, "vhtt@d.test"), contact(ByWebhook, "http://d.test/vhtt")}},
			{Record: rec("TCKH"), Name: name("Phòng TC-KH", "Finance Office"), Contacts: []profile.Contact{contact(ByMail, "tckh@d.test")}},
			{Record: rec("NV"), Name: name("Phòng Nội vụ", "Home Affairs")},
		},
		Roster: []profile.Duty{
			{Record: rec("truc"), Office: "VHTT", Title: name("Trực", "On duty"), Step: 1, Hours: profile.Hours24x7},
			{Record: rec("truong"), Office: "VHTT", Title: name("Trưởng phòng", "Head"), Step: 2, After: 30 * time.Minute, Hours: profile.Hours24x7,
				Contacts: []profile.Contact{contact(ByWebhook, "http://d.test/head")}},
			{Record: rec("chanh"), Office: "VP", Title: name("Chánh Văn phòng", "Chief"), Step: 3, After: time.Hour, Hours: "hanh-chinh",
				Contacts: []profile.Contact{contact(ByMail, "chief@d.test"), contact("phone", "1")}},
		},
		Years: []profile.Year{{Year: 2026, Week: []time.Weekday{1, 2, 3, 4, 5},
			Hours: []profile.Hours{{Name: "hanh-chinh", Weekdays: []time.Weekday{1, 2, 3, 4, 5}, Times: []profile.Clock{{From: 450, To: 720}, {From: 780, To: 990}}}},
			Days:  []profile.Day{{Record: rec("2026-11-24"), Date: day, Kind: profile.DayHoliday}}}},
	}
}

// A town is a district over time: what happens to incidents, and who is told.
type town struct {
	t      *testing.T
	view   View
	events []incident.Event
	sent   map[string]Record
	down   map[string]bool // channels on which attempts fail
	log    []string
}

func newTown(t *testing.T) *town {
	c := Config{Mail: &MailConfig{Host: "relay.test", From: "egovmon@d.test", Depends: []string{"mail", "inet"}}, Webhook: &WebhookConfig{}, Test: never}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	w := &town{t: t, view: c.View(), sent: map[string]Record{}, down: map[string]bool{}}
	w.view.Profile = district()
	return w
}

func (w *town) incidents() []incident.Incident {
	var b incident.Book
	for _, e := range w.events {
		if err := b.Apply(e); err != nil {
			w.t.Fatal(err)
		}
	}
	return append(b.Open(), b.Closed()...)
}

func (w *town) opens(service string, when time.Time) {
	c := verdict.Component{Kind: verdict.OfService, Service: service}
	e := incident.Event{Incident: "i-" + service, What: incident.Opened, At: when, Component: c, State: check.Down, Reason: check.ConnectRefused, Since: when.Add(-time.Minute), Units: []string{"xa-a", "xa-b"}, Votes: verdict.Votes{Down: 2, Up: 1}}
	if unit, ok := strings.CutPrefix(service, "@"); ok {
		e.Incident, e.Component, e.Through, e.Units = "i-line-"+unit, verdict.Component{Kind: verdict.OfLine, Unit: unit}, "inet", []string{unit}
		e.Reason = check.Timeout
	}
	w.events = append(w.events, e)
}

func (w *town) closes(service string, when time.Time) {
	for _, i := range w.incidents() {
		if i.ID == "i-"+service {
			w.events = append(w.events, incident.Event{Incident: i.ID, What: incident.Closed, At: when, Why: incident.Recovered, Component: i.Component, Since: when.Add(-time.Minute)})
		}
	}
}

func (w *town) acks(service string, when time.Time) {
	w.events = append(w.events, incident.Event{Incident: "i-" + service, What: incident.Acknowledged, At: when, User: "u"})
}

// run plans every minute of a stretch, and delivers what is planned, unless its channel is down.
func (w *town) run(from, to time.Time) {
	w.t.Helper()
	all := w.incidents()
	for now := from; !now.After(to); now = now.Add(time.Minute) {
		messages, _ := Plan(now, all, w.sent, w.view)
		for _, m := range messages {
			r := w.sent[m.Key]
			if r.First.IsZero() {
				r.First = now
			}
			r.Key, r.Address, r.Covers, r.Attempts = m.Key, m.Address, m.Covers(), r.Attempts+1
			if w.down[m.Channel] {
				r.Next = now.Add(backOff(r.Attempts - 1))
			} else {
				if !r.Sent.IsZero() {
					w.t.Errorf("%s is sent a second time at %v", m.Key, now)
				}
				r.Sent = now
				var what []string
				for _, c := range m.Covers() {
					what = append(what, strings.TrimPrefix(c.Incident, "i-")+" "+c.Event)
				}
				to := m.To[strings.LastIndexAny(m.To, "/")+1:]
				w.log = append(w.log, fmt.Sprintf("%s %s %s: %s", now.Format("2 15:04"), to, m.Why, strings.Join(what, ", ")))
			}
			w.sent[m.Key] = r
		}
	}
}

func (w *town) want(log ...string) {
	w.t.Helper()
	got := slices.Clone(w.log)
	slices.Sort(got)
	slices.Sort(log)
	if diff := cmp.Diff(log, got); diff != "" {
		w.t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestCriticalAtNight(t *testing.T) {
	w := newTown(t)
	w.opens("cong", at(22, 2, 0)) // a Sunday
	w.run(at(22, 1, 59), at(22, 2, 10))
	w.acks("cong", at(22, 2, 10))
	w.run(at(22, 2, 11), at(22, 5, 0))
	w.closes("cong", at(22, 5, 0))
	w.run(at(22, 5, 0), at(22, 9, 0))
	w.want("22 02:00 vhtt@d.test critical: cong opened", "22 02:00 vhtt critical: cong opened",
		"22 05:00 vhtt@d.test critical: cong closed", "22 05:00 vhtt critical: cong closed")
}

func TestMailIncidentGoesByWebhook(t *testing.T) {
	w := newTown(t)
	w.opens("mail", at(23, 10, 0))
	w.opens("tabmis", at(23, 10, 1)) // its only address is one of mail: the next step of the roster hears of it
	w.acks("tabmis", at(23, 10, 2))
	w.acks("mail", at(23, 10, 2))
	w.run(at(23, 10, 0), at(23, 11, 0))
	w.want("23 10:00 vhtt critical: mail opened", "23 10:01 head in_hours: tabmis opened")
	_, waiting := Plan(at(23, 11, 0), w.incidents(), w.sent, w.view)
	if !slices.Contains(waiting, Decision{Cover: Cover{"i-mail", Opened}, Address: Address{ByMail, "vhtt@d.test"}, Why: DependsBroken}) {
		t.Errorf("no decision says why mail was not used: %+v", waiting)
	}
	w.log = nil
	w.closes("mail", at(23, 11, 0))
	w.run(at(23, 11, 0), at(23, 12, 0))
	w.want("23 11:00 vhtt critical: mail closed", "23 11:00 tckh@d.test in_hours: tabmis opened")
}

func TestOnlyMailAndMailIsDown(t *testing.T) {
	w := newTown(t)
	delete(w.view.Channels, ByWebhook)
	w.opens("mail", at(23, 10, 0))
	w.run(at(23, 10, 0), at(23, 11, 0))
	w.want()
	_, waiting := Plan(at(23, 11, 0), w.incidents(), w.sent, w.view)
	if !slices.Contains(waiting, Decision{Cover: Cover{"i-mail", Opened}, Why: NoChannel}) {
		t.Errorf("nothing says that nobody can be told: %+v", waiting)
	}
	w.closes("mail", at(23, 11, 0))
	w.run(at(23, 11, 0), at(23, 12, 0))
	w.want("23 11:00 vhtt@d.test critical: mail closed") // the one message of it, and it says that it is over
}

func TestOwnLineDownIsNoWayForMail(t *testing.T) {
	w := newTown(t)
	w.opens("@d", at(23, 10, 0))
	w.acks("line-d", at(23, 10, 1))
	w.run(at(23, 10, 0), at(23, 11, 0))
	w.want("23 10:00 vhtt in_hours: line-d opened")
}

func TestAnotherUnitsLineIsNoReasonAgainstMail(t *testing.T) {
	w := newTown(t)
	w.opens("@xa-a", at(23, 10, 0))
	w.acks("line-xa-a", at(23, 10, 1))
	w.run(at(23, 10, 0), at(23, 11, 0))
	w.want("23 10:00 vhtt in_hours: line-xa-a opened", "23 10:00 vhtt@d.test in_hours: line-xa-a opened")
}

func TestOutsideOfficeHoursIsForTheDigest(t *testing.T) {
	w := newTown(t)
	w.opens("tabmis", at(23, 17, 0)) // Monday evening; Tuesday is a holiday
	w.opens("hoc", at(24, 9, 0))
	w.closes("hoc", at(24, 12, 0))
	w.run(at(23, 17, 0), at(25, 7, 29))
	w.want()
	w.acks("tabmis", at(25, 7, 20))
	w.run(at(25, 7, 30), at(25, 10, 0))
	w.closes("tabmis", at(25, 10, 0))
	w.run(at(25, 10, 0), at(26, 12, 0))
	w.want("25 07:30 tckh@d.test waiting_digest: tabmis opened",
		"25 07:30 vhtt waiting_digest: hoc closed", "25 07:30 vhtt@d.test waiting_digest: hoc closed",
		"25 10:00 tckh@d.test in_hours: tabmis closed")
}

func TestOneDigestForSeveral(t *testing.T) {
	w := newTown(t)
	w.opens("hoc", at(25, 18, 0))
	w.opens("@xa-a", at(25, 19, 0))
	w.opens("inet", at(25, 20, 0)) // mail cannot be used now
	w.run(at(25, 18, 0), at(26, 7, 0))
	w.want()
	for _, s := range []string{"inet", "hoc", "line-xa-a"} {
		w.acks(s, at(26, 7, 0))
	}
	w.run(at(26, 7, 0), at(26, 9, 0))
	w.want("26 07:30 vhtt waiting_digest: hoc opened, line-xa-a opened, inet opened")
}

func TestLunchIsABreak(t *testing.T) {
	w := newTown(t)
	w.opens("tabmis", at(23, 12, 15))
	w.acks("tabmis", at(23, 12, 16))
	w.run(at(23, 12, 15), at(25, 12, 0))
	w.want("23 13:00 tckh@d.test waiting_hours: tabmis opened")
}

func TestEscalation(t *testing.T) {
	w := newTown(t)
	w.opens("cong", at(23, 9, 0))
	w.run(at(23, 9, 0), at(23, 11, 30))
	w.want("23 09:00 vhtt critical: cong opened", "23 09:00 vhtt@d.test critical: cong opened",
		"23 09:30 head escalation: cong escalated-2", "23 10:00 chief@d.test escalation: cong escalated-3")
	w.log = nil
	w.closes("cong", at(23, 11, 30))
	w.run(at(23, 11, 30), at(23, 12, 0))
	w.want("23 11:30 vhtt critical: cong closed", "23 11:30 vhtt@d.test critical: cong closed",
		"23 11:30 head critical: cong closed", "23 11:30 chief@d.test critical: cong closed")
}

func TestEscalationWaitsForTheStepsHours(t *testing.T) {
	w := newTown(t)
	w.opens("cong", at(23, 22, 0))
	w.run(at(23, 22, 0), at(25, 8, 0))
	w.want("23 22:00 vhtt critical: cong opened", "23 22:00 vhtt@d.test critical: cong opened",
		"23 22:30 head escalation: cong escalated-2", "25 07:30 chief@d.test escalation: cong escalated-3")
}

func TestAcknowledgementStopsEscalation(t *testing.T) {
	w := newTown(t)
	w.opens("cong", at(23, 9, 0))
	w.run(at(23, 9, 0), at(23, 9, 29))
	w.acks("cong", at(23, 9, 29))
	w.run(at(23, 9, 30), at(23, 16, 0))
	w.want("23 09:00 vhtt critical: cong opened", "23 09:00 vhtt@d.test critical: cong opened")
}

func TestMinorIsNotEscalated(t *testing.T) {
	w := newTown(t)
	w.opens("hoc", at(23, 9, 0))
	w.run(at(23, 9, 0), at(23, 16, 0))
	w.want("23 09:00 vhtt in_hours: hoc opened", "23 09:00 vhtt@d.test in_hours: hoc opened")
}

func TestARelayAwayHoldsUpNobodyElse(t *testing.T) {
	w := newTown(t)
	w.down[ByMail] = true
	w.opens("cong", at(23, 9, 0))
	w.acks("cong", at(23, 9, 1))
	w.run(at(23, 9, 0), at(23, 10, 0))
	w.want("23 09:00 vhtt critical: cong opened")
	w.closes("cong", at(23, 10, 0))
	delete(w.down, ByMail)
	w.run(at(23, 10, 0), at(23, 11, 0))
	// Who never heard of it while it lasted hears nothing of it afterwards: somebody else of the office did.
	w.want("23 09:00 vhtt critical: cong opened", "23 10:00 vhtt critical: cong closed")
}

func TestNobodyIsToldOfWhatIsLongOver(t *testing.T) {
	w := newTown(t)
	w.opens("cong", at(20, 9, 0))
	w.closes("cong", at(20, 10, 0))
	w.run(at(21, 10, 1), at(21, 10, 5))
	w.want()
	w.run(at(21, 9, 59), at(21, 10, 5))
	w.want("21 09:59 vhtt critical: cong closed", "21 09:59 vhtt@d.test critical: cong closed")
}

func TestAgainTheSameDay(t *testing.T) {
	w := newTown(t)
	w.opens("hoc", at(25, 18, 0))
	w.run(at(25, 18, 0), at(26, 7, 31))
	w.events[0].Incident = "i-first"
	w.sent = map[string]Record{}
	w.run(at(26, 7, 32), at(26, 7, 40))
	for key, r := range w.sent { // as if that digest had told of something else
		r.Covers = []Cover{{"i-other", Opened}}
		w.sent[key] = r
	}
	w.log = nil
	w.run(at(26, 7, 41), at(26, 7, 50))
	w.want("26 07:41 vhtt waiting_digest: first opened", "26 07:41 vhtt@d.test waiting_digest: first opened")
}

func TestPlanIsPure(t *testing.T) {
	w := newTown(t)
	for _, s := range []string{"cong", "tabmis", "hoc", "@xa-a", "@xa-b"} {
		w.opens(s, at(23, 9, 0))
	}
	all := w.incidents()
	first, waiting := Plan(at(23, 9, 0), all, w.sent, w.view)
	slices.Reverse(all)
	for range 20 {
		again, more := Plan(at(23, 9, 0), all, w.sent, w.view)
		if diff := cmp.Diff(first, again, cmp.AllowUnexported(incident.Incident{})); diff != "" || len(more) != len(waiting) {
			t.Fatalf("two plans of the same (-first +again):\n%s", diff)
		}
	}
}

func TestConfig(t *testing.T) {
	for text, c := range map[string]Config{
		"digest":                    {Digest: "half past seven"},
		"host is empty":             {Mail: &MailConfig{From: "a@b.test"}},
		"starttls":                  {Mail: &MailConfig{Host: "h", From: "a@b.test", STARTTLS: "maybe"}},
		"belong together":           {Mail: &MailConfig{Host: "h", From: "a@b.test", User: "u"}},
		"never sent in the clear":   {Mail: &MailConfig{Host: "h", From: "a@b.test", User: "u", PasswordFile: "f", STARTTLS: TLSNone}},
		"from":                      {Mail: &MailConfig{Host: "h", From: "nobody"}},
		"port":                      {Mail: &MailConfig{Host: "h", From: "a@b.test", Port: 70000}},
		"password_file: open /none": {Mail: &MailConfig{Host: "h", From: "a@b.test", User: "u", PasswordFile: "/none"}},
		"secret_file: open /none":   {Webhook: &WebhookConfig{SecretFile: "/none"}},
		"ca_file: open /none":       {Webhook: &WebhookConfig{CAFile: "/none"}},
	} {
		_, err := New(Options{Dir: t.TempDir(), Config: c, Incidents: func() []incident.Incident { return nil }, Profile: district})
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAnnouncedSuspensionHoldsAlerts(t *testing.T) {
	notice := func(service, unit string, from, to time.Time) suspend.Notice {
		return suspend.Notice{Ground: suspend.Announced, Service: service, Unit: unit, From: from, To: to}
	}
	night := notice("cong", "", at(22, 2, 0), at(22, 4, 0))
	whole := []string{"22 02:10 vhtt@d.test critical: cong opened", "22 02:10 vhtt critical: cong opened"}
	told := func(hour, minute int) []string {
		return []string{fmt.Sprintf("22 %02d:%02d vhtt@d.test critical: cong opened", hour, minute), fmt.Sprintf("22 %02d:%02d vhtt critical: cong opened", hour, minute)}
	}
	for _, c := range []struct {
		name   string
		held   []suspend.Notice
		opens  string
		at     time.Time
		closes time.Time
		want   []string
	}{
		{"over when it was to be over", []suspend.Notice{night}, "cong", at(22, 2, 10), at(22, 3, 59), nil},
		{"still down when it was to be over", []suspend.Notice{night}, "cong", at(22, 2, 10), time.Time{}, append(told(4, 0), "22 04:30 head escalation: cong escalated-2")},
		{"down before it began", []suspend.Notice{night}, "cong", at(22, 2, 0), at(22, 2, 5), []string{"22 02:00 vhtt@d.test critical: cong opened", "22 02:00 vhtt critical: cong opened",
			"22 02:05 vhtt@d.test critical: cong closed", "22 02:05 vhtt critical: cong closed"}},
		{"one follows the other", []suspend.Notice{notice("cong", "", at(22, 4, 0), at(22, 4, 20)), night}, "cong", at(22, 2, 10), time.Time{}, told(4, 20)},
		{"of another service", []suspend.Notice{notice("mail", "", at(22, 2, 0), at(22, 4, 0))}, "cong", at(22, 2, 10), at(22, 2, 15), append(slices.Clone(whole),
			"22 02:15 vhtt@d.test critical: cong closed", "22 02:15 vhtt critical: cong closed")},
		{"of one unit, and two are hit", []suspend.Notice{notice("cong", "xa-a", at(22, 2, 0), at(22, 4, 0))}, "cong", at(22, 2, 10), at(22, 2, 15), append(slices.Clone(whole),
			"22 02:15 vhtt@d.test critical: cong closed", "22 02:15 vhtt critical: cong closed")},
		{"a power cut, and the unit's line", []suspend.Notice{notice("", "xa-a", at(22, 2, 0), at(22, 4, 0))}, "@xa-a", at(22, 2, 10), at(22, 3, 0), nil},
		{"a power cut of another unit", []suspend.Notice{notice("", "xa-b", at(22, 2, 0), at(22, 4, 0))}, "@xa-a", at(22, 2, 10), at(22, 3, 0), []string{
			"23 07:30 vhtt@d.test waiting_digest: line-xa-a closed", "23 07:30 vhtt waiting_digest: line-xa-a closed"}},
		{"cut short", []suspend.Notice{{Ground: suspend.Announced, Service: "cong", From: at(22, 2, 0), To: at(22, 4, 0), Withdrawn: at(22, 3, 0)}}, "cong", at(22, 2, 10), time.Time{},
			append(told(3, 0), "22 03:30 head escalation: cong escalated-2")},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTown(t)
			w.view.Held = c.held
			w.opens(c.opens, c.at)
			if w.run(at(22, 1, 0), min2(c.closes, at(22, 4, 30))); !c.closes.IsZero() {
				w.closes(strings.Replace(c.opens, "@", "line-", 1), c.closes)
				w.run(c.closes, at(23, 8, 0))
			}
			w.want(c.want...)
		})
	}
}

// TestHeldSaysWhy: of what is held, one decision says so and until when, and nothing else is said of it.
func TestHeldSaysWhy(t *testing.T) {
	w := newTown(t)
	w.view.Held = []suspend.Notice{{Ground: suspend.Announced, Service: "cong", From: at(22, 2, 0), To: at(22, 4, 0)}}
	w.opens("cong", at(22, 2, 10))
	_, waiting := Plan(at(22, 3, 0), w.incidents(), w.sent, w.view)
	if diff := cmp.Diff([]Decision{{Cover: Cover{"i-cong", Opened}, Why: Suspended, Until: at(22, 4, 0)}}, waiting); diff != "" {
		t.Errorf("decisions (-want +got):\n%s", diff)
	}
}

// min2 is the earlier of two times, or the one that is set.
func min2(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
