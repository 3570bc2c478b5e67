package alert

import (
	"slices"
	"time"

	"egovmon/collector/incident"
	"egovmon/collector/profile"
	"egovmon/collector/suspend"
	"egovmon/collector/verdict"
)

// A View is the district as Plan sees it.
type View struct {
	Profile  *profile.Profile
	Channels map[string]Channel // by kind of contact; a kind that is not here cannot be used
	Hours    string             // hours of the calendars: office hours
	Digest   time.Duration      // after midnight in Vietnam
	// Always and Critical are told at once of every incident, and of critical ones, besides people. They are programs:
	// that they were told does not mean that anybody was.
	Always, Critical []Address
	// TestDay and TestAt are when every address gets a test; TestAt below zero is never.
	TestDay time.Weekday
	TestAt  time.Duration // after midnight in Vietnam
	Most    int           // messages to an address in an hour; 0 is no bound
	// Held are stretches that were announced: of what broke within one, and because of nothing else, nobody is told before
	// it is over.
	Held []suspend.Notice
}

// opening is when an incident became one for people: when it opened, or when the announced stretches that account for it
// ended. What had begun before such a stretch is no part of it.
func (v *View) opening(i *incident.Incident) time.Time {
	at := i.Opened
	for range v.Held { // each can put it off once
		moved := false
		for k := range v.Held {
			n := &v.Held[k]
			follows := at.After(i.Opened) // the stretch before it
			if n.Covers(at) && accounts(n, i) && (follows || !i.Since.Before(n.From)) {
				at, moved = n.End(), true
			}
		}
		if !moved {
			break
		}
	}
	return at
}

// accounts reports whether a notice accounts for all that an incident hurts.
func accounts(n *suspend.Notice, i *incident.Incident) bool {
	if n.Unit != "" && (i.Unit != n.Unit && (i.Unit != "" || len(i.Units) != 1 || i.Units[0] != n.Unit)) {
		return false
	}
	switch {
	case n.Service == "":
		return true
	case i.Kind == verdict.OfService:
		return i.Component.Service == n.Service
	case i.Kind == verdict.OfLine:
		return i.Through == n.Service
	}
	return false
}

// machine reports whether an address is one that no person reads.
func (v *View) machine(a Address) bool {
	return slices.Contains(v.Always, a) || slices.Contains(v.Critical, a)
}

// independent reports whether no single service takes both channels away.
func (v *View) independent(a, b Address) bool {
	if a.Channel == b.Channel {
		return false
	}
	return !slices.ContainsFunc(v.Channels[a.Channel].Depends, func(s string) bool { return slices.Contains(v.Channels[b.Channel].Depends, s) })
}

// other is the same contact by another channel; ok is false when there is none.
func (v *View) other(a Address) (Address, bool) {
	_, ok := v.Channels[ByModem]
	return Address{ByModem, a.To}, ok && a.Channel == BySMS
}

// everybody lists the addresses of all offices and of the whole roster.
func (v *View) everybody(now time.Time) []Address {
	var s step
	for _, o := range v.Profile.Offices {
		if o.Valid.CoversTime(now) {
			s.add(o.Contacts, now)
		}
	}
	for _, d := range v.Profile.RosterAt(now) {
		s.add(d.Contacts, now)
	}
	return s.contact
}

// A Channel is one way to reach people.
type Channel struct {
	Depends []string // services without which it does not work
}

// An Address is where a message goes.
type Address struct {
	Channel string
	To      string
}

// A step is who is told next.
type step struct {
	number  int // 0 is the owner and those on duty
	title   profile.Name
	after   time.Duration
	duty    bool // on duty now
	contact []Address
}

// severity says how much is lost in an incident.
func (v *View) severity(i *incident.Incident) profile.Severity {
	id := i.Component.Service
	switch i.Kind {
	case verdict.OfFleet:
		return profile.Critical
	case verdict.OfLine:
		id = i.Through
	}
	if s, ok := v.Profile.Service(id, i.Opened); ok && (i.Kind == verdict.OfService || i.Kind == verdict.OfSite || s.Severity == profile.Critical) {
		return s.Severity
	}
	return profile.Major
}

// steps lists who is told of an incident, in order: the owner's office and those on duty, then the roster.
func (v *View) steps(i *incident.Incident, now time.Time) []step {
	roster := v.Profile.RosterAt(now)
	first := step{duty: true}
	for _, id := range v.owners(i, roster, now) {
		if o, ok := v.Profile.Office(id, now); ok {
			first.title = o.Name
			first.add(o.Contacts, now)
		}
	}
	if len(first.contact) == 0 && len(roster) > 0 { // the office on duty stands in for an owner without an address
		if o, ok := v.Profile.Office(roster[0].Office, now); ok {
			first.title = o.Name
			first.add(o.Contacts, now)
		}
	}
	var later []step
	for _, d := range roster {
		s := step{number: d.Step, title: d.Title, after: d.After, duty: len(v.Profile.ServiceHours(d.Hours, "", now, now.Add(time.Second))) > 0}
		s.add(d.Contacts, now)
		if d.After > 0 {
			later = append(later, s)
		} else if s.duty {
			for _, a := range s.contact {
				first.put(a)
			}
		}
	}
	return append([]step{first}, later...)
}

// owners lists the offices that answer for what broke.
func (v *View) owners(i *incident.Incident, roster []profile.Duty, now time.Time) []string {
	var ids []string
	id := i.Component.Service
	if i.Kind == verdict.OfLine {
		id = i.Through
	}
	// What only one unit has is told there, too; a carrier's fault is nothing that a unit can mend.
	if (i.Kind == verdict.OfLine || i.Kind == verdict.OfSite) && i.Cause.Kind != verdict.OfCarrier {
		for _, o := range v.Profile.Offices {
			if o.Unit == i.Unit && o.Valid.CoversTime(now) {
				ids = append(ids, o.ID)
			}
		}
	}
	if s, ok := v.Profile.Service(id, now); ok {
		ids = append(ids, s.Owner)
	}
	if i.Kind == verdict.OfFleet && len(roster) > 0 {
		ids = append(ids, roster[0].Office)
	}
	return ids
}

func (s *step) add(cs []profile.Contact, now time.Time) {
	for _, c := range cs {
		if c.Value != "" && c.Valid.CoversTime(now) {
			s.put(Address{c.Kind, c.Value})
		}
	}
}

func (s *step) put(a Address) {
	if !slices.Contains(s.contact, a) {
		s.contact = append(s.contact, a)
	}
}

// Why a message is sent now, or not yet, or never.
const (
	NowCritical    = "critical"        // of a critical service, at any hour
	NowInHours     = "in_hours"        // it happened within office hours
	WaitHours      = "waiting_hours"   // it happened in a break of the office hours
	WaitDigest     = "waiting_digest"  // it happened outside office hours
	Escalation     = "escalation"      // nobody has acknowledged it
	WaitAck        = "waiting_ack"     // the steps before have time to acknowledge
	WaitRetry      = "waiting_retry"   // the last attempt failed, the next one comes later
	Repeat         = "repeat"          // told already
	DependsBroken  = "channel_depends" // the channel depends on what broke
	NoChannel      = "no_channel"      // no address of this step can be used
	NotConfigured  = "not_configured"  // no channel of this kind is set up
	TooOld         = "too_old"         // it is over for long, and was never told
	OffDuty        = "off_duty"        // the step is not on duty now
	NotForThisStep = "minor"           // not worth escalating
	OneChannel     = "one_channel"     // critical, and no second channel is independent of the first
	RateLimited    = "rate_limited"    // the address got as many messages as it takes in an hour
	Suspended      = "suspended"       // it was announced that this would not work now
	WeeklyTest     = "weekly_test"     // it says that the channel works
)

func (v *View) inHours(at time.Time) bool {
	return len(v.Profile.ServiceHours(v.Hours, "", at, at.Add(time.Second))) > 0
}

// farthest is how many days off in a row are looked over for the next working day.
const farthest = 30

// due returns when people are told of what happened at a time, and why then.
func (v *View) due(at time.Time, severity profile.Severity) (time.Time, string) {
	if severity == profile.Critical {
		return at, NowCritical
	}
	if v.inHours(at) {
		return at, NowInHours
	}
	day := profile.DateOf(at)
	hours := v.Profile.ServiceHours(v.Hours, "", day.Start(), (day + 1).Start())
	if len(hours) > 0 && hours[0].Start.Before(at) {
		for _, h := range hours {
			if h.Start.After(at) {
				return h.Start, WaitHours
			}
		}
	}
	for d := day; d < day+farthest; d++ {
		if t := d.Start().Add(v.Digest); !t.Before(at) && v.Profile.IsWorkingDay(d) {
			return t, WaitDigest
		}
	}
	t := day.Start().Add(v.Digest)
	if t.Before(at) {
		t = (day + 1).Start().Add(v.Digest)
	}
	return t, WaitDigest
}
