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
		ch, ok := p.v.Channels[a.Channel]
		switch {
		case !ok:
			p.wait(c, a, NotConfigured, time.Time{})
		case slices.ContainsFunc(ch.Depends, func(s string) bool { return p.broken[s] }):
			p.wait(c, a, DependsBroken, time.Time{})
		default:
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		p.wait(c, Address{}, NoChannel, time.Time{})
	}
	return out
}

// open plans the first message of an incident, and its escalation.
func (p *planner) open(i *incident.Incident) {
	severity := p.v.severity(i)
	steps := p.v.steps(i, p.now)
	due, why := p.v.due(i.Opened, severity)
	c := Cover{i.ID, Opened}
	item := Item{Cover: c, State: *i, Severity: severity}
	to := p.usable(c, steps[0].contact)
	for _, s := range steps[1:] { // somebody must hear of it
		if len(to) > 0 {
			break
		}
		to = p.usable(c, s.contact)
	}
	for _, a := range to {
		p.add(item, a, due, why)
	}
	begun := p.begun(i.ID)
	if begun.IsZero() || i.Acknowledged() {
		return
	}
	for _, s := range steps[1:] {
		p.escalate(i, s, begun, severity)
	}
}

// begun is when the first message of an incident was first tried.
func (p *planner) begun(id string) (t time.Time) {
	for _, r := range p.sent {
		if slices.Contains(r.Covers, Cover{id, Opened}) && (t.IsZero() || r.First.Before(t)) {
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
		if t.Incident == i.ID && t.Event != Closed && !slices.Contains(to, t.Address) {
			to = append(to, t.Address)
		}
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
	m := Message{Key: item.Incident + "." + item.Event + "." + short(a), Address: a, Why: why, Items: []Item{item}}
	if p.ready(&m) {
		p.out = append(p.out, m)
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
