package alert

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/incident"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
)

// The events that messages tell of.
const (
	Opened    = "opened"
	Escalated = "escalated" // with the number of the roster's step behind it
	Closed    = "closed"
)

// A Cover is one event that a message tells of.
type Cover struct {
	Incident string `json:"incident"`
	Event    string `json:"event"` // opened, escalated-N, closed
}

// An Item is one incident in a message.
type Item struct {
	Cover
	State    incident.Incident
	Severity profile.Severity
	Step     profile.Name // who is told by an escalation
	Only     bool         // of a closed one: nobody was told of its opening
}

// A Message is one thing to send now.
type Message struct {
	Key string // names it for ever: the same event and address have the same key
	Address
	Why      string // why now
	Digest   bool
	Test     bool // of the channel: it has no Items
	Items    []Item
	Attempts int // made before
}

// Covers lists the events that the message tells of.
func (m *Message) Covers() []Cover {
	out := make([]Cover, len(m.Items))
	for i := range m.Items {
		out[i] = m.Items[i].Cover
	}
	return out
}

// A Decision says why an event is not told to an address now.
type Decision struct {
	Cover
	Address           // zero where it is about a whole step
	Why     string    // one of the words of view.go
	Until   time.Time // when that changes, if that is known
}

// tooOld is how long after it was due an all-clear of which nobody was told anything is dropped.
const tooOld = 24 * time.Hour

// Plan returns the messages that are to be sent at now and were not, and why others are not. sent is what the outbox
// keeps, by key. The result depends on nothing else and comes in a fixed order.
func Plan(now time.Time, incidents []incident.Incident, sent map[string]Record, v View) ([]Message, []Decision) {
	p := planner{now: now, v: v, sent: sent, told: map[told]bool{}, broken: map[string]bool{}, digests: map[string]*Message{}}
	for _, r := range sent {
		for _, c := range r.Covers {
			if !r.Sent.IsZero() {
				p.told[told{c, r.Address}] = true
			}
		}
	}
	incidents = slices.Clone(incidents)
	slices.SortFunc(incidents, func(a, b incident.Incident) int {
		return cmp.Or(a.Opened.Compare(b.Opened), strings.Compare(a.ID, b.ID))
	})
	for _, i := range incidents {
		p.breaks(&i)
	}
	p.test()
	for _, i := range incidents {
		if i.IsOpen() {
			p.open(&i)
		} else {
			p.closed(&i)
		}
	}
	return p.finish(), p.waiting
}

type told struct {
	Cover
	Address
}

type planner struct {
	now     time.Time
	v       View
	sent    map[string]Record
	told    map[told]bool
	broken  map[string]bool // services that are down
	out     []Message
	digests map[string]*Message // by key
	waiting []Decision
}

// breaks notes what an open incident breaks. A unit's line counts where the collector itself stands.
func (p *planner) breaks(i *incident.Incident) {
	if !i.IsOpen() || i.State != check.Down {
		return
	}
	switch i.Kind {
	case verdict.OfService:
		p.broken[i.Component.Service] = true
	case verdict.OfLine:
		if c, ok := p.v.Profile.CollectorMachine(p.now); ok && c.Unit == i.Unit {
			p.broken[i.Through] = true
		}
	}
}

func (p *planner) wait(c Cover, a Address, why string, until time.Time) {
	p.waiting = append(p.waiting, Decision{Cover: c, Address: a, Why: why, Until: until})
}

// usable lists those addresses whose channel works and does not depend on what is down.
func (p *planner) usable(c Cover, list []Address) []Address {
	var out []Address
	for _, a := range list {
		why := p.unusable(a)
		if why == "" {
			out = append(out, a)
			continue
		}
		if b, ok := p.v.other(a); ok && p.unusable(b) == "" {
			out = append(out, b)
			continue
		}
		p.wait(c, a, why, time.Time{})
	}
	if len(out) == 0 {
		p.wait(c, Address{}, NoChannel, time.Time{})
	}
	return out
}

// unusable says why an address cannot be used, "" when it can.
func (p *planner) unusable(a Address) string {
	ch, ok := p.v.Channels[a.Channel]
	switch {
	case !ok:
		return NotConfigured
	case slices.ContainsFunc(ch.Depends, func(s string) bool { return p.broken[s] }):
		return DependsBroken
	}
	return ""
}

// second adds to those who are told of something critical an address by a channel that does not fail together with one of
// theirs: another one of theirs, or the first of the next steps.
func (p *planner) second(c Cover, to []Address, later []step) []Address {
	for _, a := range to {
		if slices.ContainsFunc(to, func(b Address) bool { return p.v.independent(a, b) }) {
			return to
		}
	}
	try := func(b Address) bool {
		return p.unusable(b) == "" && slices.ContainsFunc(to, func(a Address) bool { return p.v.independent(a, b) })
	}
	for _, a := range to {
		if b, ok := p.v.other(a); ok && try(b) {
			return append(to, b)
		}
	}
	for _, s := range later {
		for _, a := range s.contact {
			if b, ok := p.v.other(a); !try(a) && ok {
				a = b
			}
			if try(a) {
				return append(to, a)
			}
		}
	}
	if len(to) > 0 {
		p.wait(c, Address{}, OneChannel, time.Time{})
	}
	return to
}

// programs plans what is told to programs: at once.
func (p *planner) programs(item Item, severity profile.Severity, at time.Time) {
	list := p.v.Always
	if severity == profile.Critical {
		list = append(slices.Clone(list), p.v.Critical...)
	}
	for _, a := range list {
		p.add(item, a, at, NowCritical)
	}
}

// open plans the first message of an incident, and its escalation.
func (p *planner) open(i *incident.Incident) {
	severity := p.v.severity(i)
	steps := p.v.steps(i, p.now)
	opened := p.v.opening(i)
	due, why := p.v.due(opened, severity)
	c := Cover{i.ID, Opened}
	if p.now.Before(opened) {
		p.wait(c, Address{}, Suspended, opened)
		return
	}
	item := Item{Cover: c, State: *i, Severity: severity}
	to := p.usable(c, steps[0].contact)
	for _, s := range steps[1:] { // somebody must hear of it
		if len(to) > 0 {
			break
		}
		to = p.usable(c, s.contact)
	}
	if severity == profile.Critical {
		to = p.second(c, to, steps[1:])
	}
	for _, a := range to {
		p.add(item, a, due, why)
	}
	p.programs(item, severity, opened)
	begun := p.begun(i.ID)
	if begun.IsZero() || i.Acknowledged() {
		return
	}
	for _, s := range steps[1:] {
		p.escalate(i, s, begun, severity)
	}
}

// begun is when the first message of an incident to a person was first tried.
func (p *planner) begun(id string) (t time.Time) {
	for _, r := range p.sent {
		if slices.Contains(r.Covers, Cover{id, Opened}) && !p.v.machine(r.Address) && (t.IsZero() || r.First.Before(t)) {
			t = r.First
		}
	}
	return t
}

func (p *planner) escalate(i *incident.Incident, s step, begun time.Time, severity profile.Severity) {
	c := Cover{i.ID, fmt.Sprintf("%s-%d", Escalated, s.number)}
	due := begun.Add(s.after)
	switch {
	case severity != profile.Critical && severity != profile.Major:
		p.wait(c, Address{}, NotForThisStep, time.Time{})
	case p.now.Before(due):
		p.wait(c, Address{}, WaitAck, due)
	case !s.duty, severity != profile.Critical && !p.v.inHours(p.now):
		p.wait(c, Address{}, OffDuty, time.Time{})
	default:
		item := Item{Cover: c, State: *i, Severity: severity, Step: s.title}
		for _, a := range p.usable(c, s.contact) {
			p.add(item, a, due, Escalation)
		}
	}
}

// closed plans the one all-clear: to those who were told, or, when nobody was, to those who should have been.
func (p *planner) closed(i *incident.Incident) {
	severity := p.v.severity(i)
	due, why := p.v.due(i.Closed, severity)
	c := Cover{i.ID, Closed}
	item := Item{Cover: c, State: *i, Severity: severity}
	var to []Address
	for t := range p.told {
		switch {
		case t.Incident != i.ID || t.Event == Closed || slices.Contains(to, t.Address):
		case p.v.machine(t.Address):
			p.add(item, t.Address, i.Closed, NowCritical)
		default:
			to = append(to, t.Address)
		}
	}
	if len(to) == 0 && i.Closed.Before(p.v.opening(i)) { // as it was announced
		p.wait(c, Address{}, Suspended, time.Time{})
		return
	}
	if len(to) == 0 {
		item.Only = true
		to = p.v.steps(i, p.now)[0].contact
		if p.now.Sub(due) > tooOld {
			p.wait(c, Address{}, TooOld, time.Time{})
			return
		}
	}
	slices.SortFunc(to, func(a, b Address) int {
		return cmp.Or(strings.Compare(a.Channel, b.Channel), strings.Compare(a.To, b.To))
	})
	for _, a := range p.usable(c, to) {
		p.add(item, a, due, why)
	}
}

// add plans one event for one address, unless it was told, is not due, or failed a moment ago.
func (p *planner) add(item Item, a Address, due time.Time, why string) {
	if p.told[told{item.Cover, a}] {
		p.wait(item.Cover, a, Repeat, time.Time{})
		return
	}
	if p.now.Before(due) {
		p.wait(item.Cover, a, why, due)
		return
	}
	if why == WaitDigest {
		p.digest(item, a, due)
		return
	}
	if until := p.full(a); item.Severity != profile.Critical && p.now.Before(until) {
		p.wait(item.Cover, a, RateLimited, until)
		return
	} else if !until.IsZero() && item.Severity != profile.Critical {
		p.digest(item, a, until) // what has gathered goes out as one
		return
	}
	m := Message{Key: item.Incident + "." + item.Event + "." + short(a), Address: a, Why: why, Items: []Item{item}}
	if p.ready(&m) {
		p.out = append(p.out, m)
	}
}

// full says until when an address takes no more, or, in the past, when it could take more again after it had been full;
// the zero time when it was not full.
func (p *planner) full(a Address) time.Time {
	if p.v.Most == 0 || p.v.machine(a) {
		return time.Time{}
	}
	var at []time.Time
	for _, r := range p.sent {
		if r.Address == a && !r.Sent.IsZero() && p.now.Sub(r.Sent) < 2*time.Hour {
			at = append(at, r.Sent)
		}
	}
	if len(at) < p.v.Most {
		return time.Time{}
	}
	slices.SortFunc(at, func(x, y time.Time) int { return y.Compare(x) }) // the latest first
	return at[p.v.Most-1].Add(time.Hour)
}

// testLate is how long after its time a test is still sent: one that is later says nothing of that morning.
const testLate = 3 * time.Hour

// test plans the weekly message by which people see that their channel works.
func (p *planner) test() {
	day := profile.DateOf(p.now)
	due := day.Start().Add(p.v.TestAt)
	if p.v.TestAt < 0 || due.In(profile.Zone()).Weekday() != p.v.TestDay || p.now.Before(due) || p.now.Sub(due) > testLate {
		return
	}
	list := p.v.everybody(p.now)
	for _, a := range slices.Clone(list) {
		if b, ok := p.v.other(a); ok {
			list = append(list, b)
		}
	}
	for _, a := range list {
		m := Message{Key: fmt.Sprintf("test-%s.%s", day, short(a)), Address: a, Why: WeeklyTest, Test: true}
		if p.unusable(a) == "" && p.sent[m.Key].Sent.IsZero() && p.ready(&m) {
			p.out = append(p.out, m)
		}
	}
}

// ready reports whether a message may be tried now.
func (p *planner) ready(m *Message) bool {
	r := p.sent[m.Key]
	m.Attempts = r.Attempts
	if p.now.Before(r.Next) {
		for _, c := range m.Covers() {
			p.wait(c, m.Address, WaitRetry, r.Next)
		}
		return false
	}
	return true
}

// digest puts an event into the digest of its address and day. One that comes after that digest was sent starts another.
func (p *planner) digest(item Item, a Address, due time.Time) {
	key := ""
	for n := 1; ; n++ {
		key = fmt.Sprintf("digest-%s-%d.%s", profile.DateOf(due), n, short(a))
		if p.sent[key].Sent.IsZero() {
			break
		}
	}
	m := p.digests[key]
	if m == nil {
		m = &Message{Key: key, Address: a, Why: WaitDigest, Digest: true}
		p.digests[key] = m
	}
	m.Items = append(m.Items, item)
}

func (p *planner) finish() []Message {
	for _, m := range p.digests {
		if p.ready(m) {
			p.out = append(p.out, *m)
		}
	}
	slices.SortStableFunc(p.out, func(a, b Message) int { return strings.Compare(a.Key, b.Key) })
	return p.out
}

// short names an address in a key without giving it away.
func short(a Address) string {
	sum := sha256.Sum256([]byte(a.Channel + "\n" + a.To))
	return hex.EncodeToString(sum[:5])
}
