package incident

import (
	"errors"
	"fmt"
	"time"
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
	for _, k := range Classes() {
		if c == k {
			return true
		}
	}
	return false
}

// A Duty is a report that the law asks for.
type Duty struct {
	What DutyWhat
	Due  time.Time
	Rule string // where it is written
}

// A DutyWhat says what is to be reported.
type DutyWhat string

// The reports.
const (
	FirstNotice   DutyWhat = "first_notice"
	Report72      DutyWhat = "report_72"    // cause, scope, what was done
	DataNotice    DutyWhat = "data_notice"  // of a violation of personal data
	InitialReport DutyWhat = "first_report" // on the form of the older circular
	ClosingReport DutyWhat = "closing_report"
)

const day = 24 * time.Hour

// Duties lists the reports that an incident's class asks for, by the clocks of the law in force when it was found: from the
// finding, or for the closing report from the end. newLaw is when the decree of 2026 came into force; the zero Time leaves
// the older clocks. Of what is not classified, or no more than an outage, the law asks no report.
func (i *Incident) Duties(newLaw time.Time) (out []Duty) {
	add := func(what DutyWhat, from time.Time, after time.Duration, rule string) {
		out = append(out, Duty{what, from.Add(after), rule})
	}
	const old, now, data = "QĐ 05/2017/QĐ-TTg Đ11, TT 20/2017/TT-BTTTT Đ9", "NĐ 331/2026/NĐ-CP Đ31.2.d", "Luật 91/2025/QH15 Đ23.1"
	switch c := i.Life.Class; {
	case c == Unclassified || c == Availability:
	case newLaw.IsZero() || i.Opened.Before(newLaw):
		after := 5 * day
		if c == AtOnce {
			after = 0 // beyond one's own capacity
		}
		add(InitialReport, i.Opened, after, old)
		if !i.IsOpen() {
			add(ClosingReport, i.Closed, 5*day, old)
		}
	case c == AtOnce:
		add(FirstNotice, i.Opened, 0, now)
		add(Report72, i.Opened, 3*day, now)
	case c == Serious:
		add(FirstNotice, i.Opened, day, now)
		add(Report72, i.Opened, 3*day, now)
	}
	if i.Life.Class == PersonalData {
		add(DataNotice, i.Opened, 3*day, data)
	}
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
