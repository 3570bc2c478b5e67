package incident

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"egovmon/collector/profile"
)

// A Class is what sort of incident a person says it is. The program proposes none: an outage is not by itself an incident
// of security.
type Class string

// The classes.
const (
	Unclassified Class = ""
	Availability Class = "availability"  // something did not work, and no more
	Security     Class = "security"      // an incident of information security
	Serious      Class = "serious"       // a serious incident of network security
	AtOnce       Class = "at_once"       // one that touches national security or public order, or interrupts severely
	PersonalData Class = "personal_data" // personal data were violated
)

// Classes lists what a person may choose from.
func Classes() []Class { return []Class{Availability, Security, Serious, AtOnce, PersonalData} }

// A Life is what people made of an incident. Its zero value is an incident that nobody has touched.
type Life struct {
	Class     Class
	ClassedAt time.Time
	ClassedBy string
	Assignee  string
	Assigned  time.Time
	Step      string // to whom it was escalated last
	Cause     string // in words, once it is concluded
	Measure   string
	Concluded time.Time
	By        string  // who concluded it
	Entries   []Entry // everything in order, the latest ones of very many
}

// An Entry is one thing that a person did.
type Entry struct {
	What     What
	At       time.Time
	User     string
	Note, To string
	Class    Class
}

// maxEntries is how many entries a life remembers; the log has all of them.
const maxEntries = 200

// ErrConcluded is the error of a second conclusion.
var ErrConcluded = errors.New("it is concluded already")

// apply adds a person's event.
func (l *Life) apply(e Event) error {
	entry := Entry{What: e.What, At: e.At, User: e.User, Note: e.Note, To: e.To, Class: e.Class}
	switch e.What {
	case Assigned:
		l.Assignee, l.Assigned = e.To, e.At
	case Escalated:
		l.Step = e.To
	case Classified:
		if !e.Class.known() {
			return fmt.Errorf("class %.40q: want one of %v", e.Class, Classes())
		}
		l.Class, l.ClassedAt, l.ClassedBy = e.Class, e.At, e.User
	case Concluded:
		if !l.Concluded.IsZero() {
			return ErrConcluded
		}
		l.Cause, l.Measure, l.Concluded, l.By = e.Note, e.Measure, e.At, e.User
	}
	entries := append(l.Entries[:len(l.Entries):len(l.Entries)], entry)
	l.Entries = entries[max(0, len(entries)-maxEntries):]
	return nil
}

func (c Class) known() bool {
	return slices.Contains(Classes(), c)
}

// A Duty is a report that the law asks for of one incident.
type Duty struct {
	Report string // in the words of [profile.LawDuty]
	Due    time.Time
	Basis  string // the place in the law
}

// Duties lists the reports that an incident's class asks for, by the law in force when it was found, the most urgent first.
// Of what nobody has classified, or what is no more than an outage, the law asks no report.
func (i *Incident) Duties(law []profile.LawSet) (out []Duty) {
	for _, set := range law {
		if !set.Valid.CoversTime(i.Opened) {
			continue
		}
		for _, d := range set.Duties {
			from := i.Opened
			if d.Closed {
				from = i.Closed
			}
			if Class(d.Class) == i.Life.Class && !from.IsZero() {
				out = append(out, Duty{d.Report, from.Add(d.Within), d.Basis})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Duty) int { return a.Due.Compare(b.Due) })
	return out
}

// Times are how long people took, over several incidents.
type Times struct {
	Owner        string
	Incidents    int
	Acknowledged int
	Restored     int
	ToAck        time.Duration // mean from the opening to the acknowledgement (MTTA); 0 without any
	ToRestore    time.Duration // mean from the first slot that showed the fault to its end (MTTR); 0 without any
}

// TimesByOwner adds incidents up by who answers for them. An acknowledgement after the end counts as one.
func TimesByOwner(list []Incident, owner func(*Incident) string) map[string]Times {
	out := map[string]Times{}
	ack, restore := map[string]time.Duration{}, map[string]time.Duration{}
	for k := range list {
		i := &list[k]
		o := owner(i)
		t := out[o]
		t.Owner = o
		t.Incidents++
		if i.Acknowledged() {
			t.Acknowledged++
			ack[o] += i.Ack.At.Sub(i.Opened)
			t.ToAck = ack[o] / time.Duration(t.Acknowledged)
		}
		if !i.IsOpen() && i.Why != Withdrawn {
			t.Restored++
			restore[o] += i.Restored.Sub(i.Since)
			t.ToRestore = restore[o] / time.Duration(t.Restored)
		}
		out[o] = t
	}
	return out
}
