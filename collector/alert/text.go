package alert

import (
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/agent/words"
	"egovmon/collector/incident"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
)

// A Text is what people read of an incident, in one language. It holds no addresses and no names of accounts.
type Text struct {
	Title  string `json:"title,omitempty"` // one line
	System string `json:"system,omitempty"`
	Unit   string `json:"unit,omitempty"`
	Since  string `json:"since,omitempty"`
	Until  string `json:"until,omitempty"`  // of a closed one
	Lasted string `json:"lasted,omitempty"` // likewise
	Scope  string `json:"scope,omitempty"`
	Cause  string `json:"cause,omitempty"` // suspected
	Impact string `json:"impact,omitempty"`
	Action string `json:"action,omitempty"` // the first step, and whom to call
	Ack    string `json:"ack,omitempty"`
}

// maxNames is how many units a text names.
const maxNames = 5

// Describe puts an incident into words.
func Describe(i *incident.Incident, p *profile.Profile, l words.Lang, now time.Time) Text {
	d := describer{i: i, p: p, l: l}
	t := Text{System: d.system(), Unit: d.units(), Since: words.At(l, i.Since, now), Scope: d.scope()}
	reason := words.Reason(l, i.Reason)
	t.Cause, t.Impact, t.Action = reason.Title, reason.Impact, reason.Action
	switch {
	case i.Kind == verdict.OfFleet:
		t.Title, t.Impact = words.Say(l, "alert.fleet"), ""
		t.Cause, t.Action = words.Say(l, "alert.cause.fleet"), words.Say(l, "alert.action.fleet")
	case i.State != check.Down:
		t.Title, t.Impact = words.Say(l, "alert.silent", t.Unit), ""
		t.Cause, t.Action = words.Say(l, "alert.cause.silent", d.carrier()), words.Say(l, "alert.action.silent")
	case i.Kind == verdict.OfLine:
		t.Title = words.Say(l, "alert.line", t.Unit)
		t.Cause = words.Say(l, "alert.cause.line", d.service(i.Through), lower(reason.Title), d.carrier())
		t.Action = d.mendLine(d.unit(i.Unit))
	case i.Kind == verdict.OfSite:
		t.Title = words.Say(l, "alert.site", d.unit(i.Unit), t.System)
		t.Action = d.mendService(reason.Action)
	default:
		t.Title = words.Say(l, "alert.down", t.System)
		t.Action = d.mendService(reason.Action)
	}
	d.part(&t)
	switch {
	case !i.IsOpen() && i.Why == incident.Withdrawn:
		t.Title = words.Say(l, "alert.withdrawn", d.what(t))
	case !i.IsOpen():
		t.Title = words.Say(l, "alert.over", d.what(t))
	}
	if !i.IsOpen() {
		t.Until, t.Lasted = words.At(l, i.Restored, now), words.Duration(l, i.Restored.Sub(i.Since))
		t.Impact, t.Action = "", ""
	}
	t.Ack = words.Say(l, "alert.ack.none")
	if i.Acknowledged() {
		t.Ack = words.Say(l, "alert.ack.at", words.At(l, i.Ack.At, now))
	} else if !i.IsOpen() {
		t.Ack = ""
	}
	return t
}

// part adds what is broken, where the votes of several services or units have shown it.
func (d *describer) part(t *Text) {
	c := d.i.Cause
	if c.Kind == "" || d.i.State != check.Down || d.i.Kind == verdict.OfFleet {
		return
	}
	what := c.Say(d.l, verdict.Names{Service: d.service, Unit: d.unit})
	t.Cause = words.Say(d.l, "alert.cause.part", t.Cause, what, words.Percent(d.l, c.Confidence, 0))
	switch c.Kind {
	case verdict.OfCarrier, verdict.OfResolver, verdict.OfZone, verdict.OfPlatform, verdict.OfBackend, verdict.OfAuthority, verdict.OfNetwork:
		t.Title = words.Say(d.l, "alert.part", what)
		t.Action = strings.TrimSpace(verdict.Runbook(d.l, c.Kind, d.i.Reason).First + " " + t.Action)
	case verdict.OfAccess:
		if d.i.Kind == verdict.OfLine {
			t.Title = words.Say(d.l, "alert.access", t.Unit)
		}
	}
}

type describer struct {
	i *incident.Incident
	p *profile.Profile
	l words.Lang
}

func (d *describer) pick(n profile.Name) string {
	if d.l == words.EN && n.EN != "" {
		return n.EN
	}
	return n.VI
}

// what is the thing that broke, in a few words.
func (d *describer) what(t Text) string {
	switch d.i.Kind {
	case verdict.OfService:
		return t.System
	case verdict.OfLine:
		return t.Unit
	case verdict.OfSite:
		return t.System + ", " + d.unit(d.i.Unit)
	default:
		return lower(words.Say(d.l, "alert.fleet"))
	}
}

func (d *describer) service(id string) string {
	if s, ok := d.p.Service(id, d.i.Opened); ok {
		return d.pick(s.Name)
	}
	return id
}

func (d *describer) system() string {
	switch {
	case d.i.Kind == verdict.OfService || d.i.Kind == verdict.OfSite:
		return d.service(d.i.Component.Service)
	case d.i.Through != "":
		return d.service(d.i.Through)
	}
	return ""
}

func (d *describer) unit(id string) string {
	if u, ok := d.p.Unit(id); ok {
		return d.pick(u.NameAt(d.i.Opened))
	}
	return id
}

// units names where it is; a service that no unit watches by itself is down for the whole district.
func (d *describer) units() string {
	if len(d.i.Units) == 0 {
		return d.unit(d.p.District)
	}
	var names []string
	for _, u := range d.i.Units[:min(len(d.i.Units), maxNames)] {
		names = append(names, d.unit(u))
	}
	if len(d.i.Units) > maxNames {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

func (d *describer) scope() string {
	v := d.i.Votes
	switch {
	case d.i.Kind == verdict.OfSite:
		return d.unit(d.i.Unit)
	case d.i.Kind == verdict.OfLine:
		return words.Say(d.l, "alert.scope.unit")
	case d.i.Kind == verdict.OfFleet:
		return words.Say(d.l, "alert.scope.fleet", v.Unknown)
	case v.Up+v.Down == 0:
		return d.unit(d.p.District)
	}
	return words.Say(d.l, "alert.scope.votes", v.Down, v.Up+v.Down)
}

// carrier names who runs the unit's line.
func (d *describer) carrier() string {
	if c := d.lineCarrier(""); c != "" {
		return c
	}
	return words.Say(d.l, "alert.carrier")
}

// lineCarrier is who runs the unit's line of a path, "" for any of its lines; "" when nobody has said.
func (d *describer) lineCarrier(path plan.Path) string {
	if d.i.Unit == "" {
		return ""
	}
	for _, l := range d.p.Lines {
		if l.Unit == d.i.Unit && l.Carrier != "" && (path == "" || l.Path == path) && l.Valid.CoversTime(d.i.Opened) {
			return l.Carrier
		}
	}
	return ""
}

// mendLine says whom to call when the line of a unit is cut: the unit for what stands there, then who runs the line.
func (d *describer) mendLine(unit string) string {
	path := plan.Internet
	s, ok := d.p.Service(d.i.Through, d.i.Opened)
	if ok && len(s.Checks) > 0 {
		path = s.Checks[0].Path
	}
	if path == plan.LAN {
		return words.Say(d.l, "alert.action.lan", unit)
	}
	whom := d.lineCarrier(path)
	if whom == "" && ok {
		whom = d.operator(s)
	}
	if whom == "" {
		whom = words.Say(d.l, "alert.action.provider")
	}
	return words.Say(d.l, "alert.action.line", unit, whom)
}

// mendService says what to do about a service, who runs it, and what to do without it where it is mail.
func (d *describer) mendService(first string) string {
	s, ok := d.p.Service(d.i.Component.Service, d.i.Opened)
	if !ok {
		return first
	}
	parts := []string{first}
	if name := d.operator(s); name != "" {
		parts = append(parts, words.Say(d.l, "alert.action.operator", name))
	}
	if slices.ContainsFunc(s.Checks, carriesMail) {
		parts = append(parts, words.Say(d.l, "alert.action.mail"))
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

// carriesMail reports whether a check speaks with a mail server.
func carriesMail(c profile.ServiceCheck) bool {
	return slices.Contains([]string{"smtp", "imap", "pop3", "mailloop"}, c.Kind)
}

// operator names who runs a service; "" when the profile does not say.
func (d *describer) operator(s *profile.Service) string {
	o, ok := d.p.Operator(s.Operator, d.i.Opened)
	if !ok {
		return ""
	}
	return d.pick(o.Name)
}

// lower begins a sentence's text in small letters, to stand within another one; words in capitals stay.
func lower(s string) string {
	r := []rune(s)
	if len(r) > 1 && strings.ToUpper(string(r[1])) != string(r[1]) {
		return strings.ToLower(string(r[0])) + string(r[1:])
	}
	return s
}

// Content is a message as it goes out.
type Content struct {
	Key     string
	Subject string // Vietnamese, one line
	Text    string // Vietnamese, then English; lines end with \n
	Short   string // Vietnamese, at most shortChars characters: for telephones
	Items   []Payload
	Why     string
	Urgent  bool // of a critical service
}

// A Payload is one incident in a call of a webhook.
type Payload struct {
	Incident string    `json:"incident"`
	Event    string    `json:"event"` // opened, escalated-N, closed
	Kind     string    `json:"kind"`  // service, line, fleet
	Service  string    `json:"service,omitempty"`
	Unit     string    `json:"unit,omitempty"`
	State    string    `json:"state"`
	Reason   string    `json:"reason"`
	Severity string    `json:"severity"`
	Since    time.Time `json:"since"`
	Opened   time.Time `json:"opened"`
	Closed   time.Time `json:"closed,omitzero"`
	Acked    time.Time `json:"acknowledged,omitzero"`
	Text     Text      `json:"vi"`
	English  Text      `json:"en"`
}

// Render puts a message into words. It reads the same for the same message, incidents and day.
func Render(m *Message, p *profile.Profile, now time.Time) Content {
	c := Content{Key: m.Key, Why: m.Why}
	if m.Test {
		c.Subject = words.Say(words.VI, "alert.test")
		c.Text = words.Say(words.VI, "alert.test.text", words.Date(now)) + "\n\n----------\n\n" + words.Say(words.EN, "alert.test.text", words.Date(now)) + "\n"
		c.Short = cutChars(words.Say(words.VI, "alert.test.short", words.Date(now)))
		return c
	}
	for _, it := range m.Items {
		i := it.State
		vi, en := Describe(&i, p, words.VI, now), Describe(&i, p, words.EN, now)
		c.Urgent = c.Urgent || it.Severity == profile.Critical
		if c.Subject == "" {
			c.Subject = subject(&it, vi)
		}
		c.Items = append(c.Items, Payload{Incident: i.ID, Event: it.Event, Kind: string(i.Kind), Service: i.Component.Service, Unit: i.Unit,
			State: i.State.String(), Reason: string(i.Reason), Severity: string(it.Severity), Since: i.Since, Opened: i.Opened, Closed: i.Closed,
			Acked: i.Ack.At, Text: vi, English: en})
	}
	if m.Digest {
		c.Subject = words.Say(words.VI, "alert.digest", words.Date(now), len(m.Items))
	}
	var b strings.Builder
	for _, l := range []words.Lang{words.VI, words.EN} {
		if b.Len() > 0 {
			b.WriteString("\n----------\n\n")
		}
		if m.Digest {
			b.WriteString(words.Say(l, "alert.digest", words.Date(now), len(m.Items)) + "\n\n")
		}
		for k, it := range m.Items {
			if k > 0 {
				b.WriteString("\n")
			}
			write(&b, &it, p, l, now)
		}
	}
	c.Text = b.String()
	c.Short = shortText(m, c.Subject, p, now)
	return c
}

// shortChars is the most characters of a short text: three parts of an SMS.
const shortChars = 200

// shortText is what fits into an SMS: what, where, since when, the first step, the incident's number.
func shortText(m *Message, subject string, p *profile.Profile, now time.Time) string {
	if len(m.Items) != 1 {
		return cutChars(subject)
	}
	i := m.Items[0].State
	t := Describe(&i, p, words.VI, now)
	if !i.IsOpen() {
		return cutChars(words.Say(words.VI, "alert.short.over", subject, t.Until, t.Lasted))
	}
	return cutChars(words.Say(words.VI, "alert.short", subject, t.Since, t.Cause))
}

// cutChars leaves at most shortChars characters.
func cutChars(s string) string {
	r := []rune(s)
	if len(r) <= shortChars {
		return s
	}
	return string(r[:shortChars-1]) + "…"
}

func subject(it *Item, t Text) string {
	if strings.HasPrefix(it.Event, Escalated) {
		return words.Say(words.VI, "alert.escalated", t.Title)
	}
	return t.Title
}

func write(b *strings.Builder, it *Item, p *profile.Profile, l words.Lang, now time.Time) {
	t := Describe(&it.State, p, l, now)
	line := func(s string) { b.WriteString(s + "\n") }
	label := func(key, value string) {
		if value != "" {
			line(words.Say(l, key, value))
		}
	}
	line(strings.ToUpper(t.Title))
	label("alert.system", t.System)
	label("alert.unit", t.Unit)
	label("alert.since", t.Since)
	if t.Until != "" {
		line(words.Say(l, "alert.until", t.Until, t.Lasted))
	}
	label("alert.scope", t.Scope)
	label("alert.cause", t.Cause)
	label("alert.impact", t.Impact)
	label("alert.action", t.Action)
	if step := it.Step; step.VI != "" {
		name := step.VI
		if l == words.EN && step.EN != "" {
			name = step.EN
		}
		label("alert.step", name)
	}
	if t.Ack != "" {
		line(t.Ack)
	}
	label("alert.id", it.State.ID)
}
