package attest

import (
	"cmp"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/profile"
)

// Controls by which the independence of layer 3 is judged.
const (
	monitoring = "a07" // who watches: layer 2
	assessment = "a09" // who assesses: layer 3
)

// A State is how a control stands at a unit.
type State string

// The states, from the best to the worst; Unknown, Expired, Missing and Waiting say that nothing proves it.
const (
	Pass          State = "pass"    // Đạt
	NotApplicable State = "na"      // Không áp dụng
	Partial       State = "partial" // Đạt một phần
	Fail          State = "fail"    // Không đạt
	Unknown       State = "unknown" // Không đo được
	Expired       State = "expired" // Hết hạn
	Missing       State = "missing" // Chưa có minh chứng
	// Waiting is a document that one person entered and no second one has approved: it proves nothing yet.
	Waiting State = "waiting" // Chờ duyệt
	// Excepted is not met, but permitted for a time by an exception in force: never a pass.
	Excepted State = "exception" // Ngoại lệ
)

// States lists them in the order of the constants.
func States() []State {
	return []State{Pass, NotApplicable, Partial, Fail, Unknown, Expired, Missing, Waiting, Excepted}
}

// Warnings are the days before the end of a document at which somebody is told.
func Warnings() []int { return []int{60, 30, 7} }

// A Status is how an attested control stands at a unit, and why.
type Status struct {
	State State
	// Document is the attestation that decides; nil when the state is Missing.
	Document *Attestation
	// ValidTo is the last day of the deciding document; zero when it counts for ever.
	ValidTo profile.Date
	// DaysLeft is how many days are left after today; negative when it has ended. Meaningless without ValidTo.
	DaysLeft int
	// Warn is the step of Warnings that has been passed: 60, 30 or 7; 0 when none is.
	Warn int
	// Unapproved is true while no second person stands behind the document.
	Unapproved bool
	// Dependent is true when an assessment of layer 3 was made by who watches in layer 2: the state is then Fail.
	Dependent bool
}

// Reason is the word of the closed list for the state.
func (s Status) Reason() check.Reason {
	switch {
	case s.State == Missing, s.State == Waiting:
		return check.EvidenceMissing
	case s.State == Expired:
		return check.EvidenceExpired
	case s.State == Fail:
		return check.ControlFail
	case s.State == Partial:
		return check.ControlPartial
	case s.State == Unknown:
		return check.NotSupported
	case s.Warn > 0:
		return check.EvidenceExpiring
	}
	return check.OK
}

// limitCycle is the limit of a control that says after how many days a document without an end of its own is due again.
const limitCycle = "cycle_days"

// Until returns the last day on which the document counts for the control: its own, or its day of issue and the control's
// cycle; zero when it counts for ever.
func Until(c profile.Control, a Attestation) profile.Date {
	if a.ValidTo != 0 {
		return a.ValidTo
	}
	i := slices.IndexFunc(c.Limits, func(l profile.Limit) bool { return l.Name == limitCycle })
	if i < 0 || c.Limits[i].Value < 1 || a.Issued == 0 {
		return 0
	}
	return a.Issued + profile.Date(c.Limits[i].Value)
}

// StateOf judges a control by the documents of one unit. Those of other controls are passed over, except that the
// documents about who watches (a07) decide whether an assessment (a09) is independent. Among documents that count, the
// last issued one decides; else the one that ended last. A document counts once a second person has approved it, and at
// once when it says that the control is not met: bad news needs no second person. While none in force counts, one that
// waits for approval makes the state Waiting.
func StateOf(c profile.Control, documents []Attestation, now time.Time) Status {
	today := profile.DateOf(now)
	mine := slices.DeleteFunc(slices.Clone(documents), func(a Attestation) bool {
		return a.Control != c.ID || a.Finding == Withdrawn || a.Issued > today
	})
	if len(mine) == 0 {
		return Status{State: Missing}
	}
	ended := func(a Attestation) bool { u := Until(c, a); return u != 0 && u < today }
	waits := func(a Attestation) bool {
		return (!a.Approved() || !a.Acted) && a.Finding != NotMet && !dependent(a, documents)
	}
	slices.SortStableFunc(mine, func(a, b Attestation) int {
		switch endedA, endedB := ended(a), ended(b); {
		case !endedA && !endedB && waits(a) != waits(b):
			if waits(a) {
				return 1
			}
			return -1
		case endedA && endedB:
			return cmp.Or(cmp.Compare(Until(c, b), Until(c, a)), b.EnteredAt.Compare(a.EnteredAt))
		case endedA:
			return 1
		case endedB:
			return -1
		}
		return cmp.Or(cmp.Compare(b.day(), a.day()), b.EnteredAt.Compare(a.EnteredAt))
	})
	a := mine[0]
	s := Status{Document: &a, ValidTo: Until(c, a), Unapproved: !a.Approved() || !a.Acted}
	if s.ValidTo != 0 {
		s.DaysLeft = int(s.ValidTo - today)
		for _, w := range Warnings() {
			if s.DaysLeft >= 0 && s.DaysLeft <= w {
				s.Warn = w
			}
		}
	}
	switch {
	case ended(a):
		s.State = Expired
	case dependent(a, documents):
		s.State, s.Dependent = Fail, true
	case waits(a):
		s.State = Waiting
	default:
		s.State = map[Finding]State{Met: Pass, InPart: Partial, NotMet: Fail, NotNeeded: NotApplicable}[a.Finding]
	}
	if s.State == "" {
		s.State = Unknown
	}
	return s
}

// dependent reports whether an attestation is an assessment that is not independent.
func dependent(a Attestation, documents []Attestation) bool {
	return a.Control == assessment && a.Finding != NotNeeded && !Independent(a, documents)
}

// day is when the document was issued, or entered where it has no such day.
func (a Attestation) day() profile.Date {
	if a.Issued != 0 {
		return a.Issued
	}
	return profile.DateOf(a.EnteredAt)
}

// Independent reports whether an assessment of layer 3 was made by another organisation than any that the documents of
// the same unit name as watching (a07) on the day of the assessment. Organisations are the same when their tax numbers
// are, or, where one has none, their names without regard to case and spaces. An organisation that nobody named is not
// shown to be independent.
func Independent(a Attestation, documents []Attestation) bool {
	if a.Organisation == "" {
		return false
	}
	return !slices.ContainsFunc(documents, func(m Attestation) bool {
		if m.Control != monitoring || m.Unit != a.Unit || m.Finding == Withdrawn || m.Finding == NotNeeded {
			return false
		}
		inForce := m.Issued <= a.Issued && (m.ValidTo == 0 || m.ValidTo >= a.Issued)
		return inForce && sameOrganisation(a, m)
	})
}

func sameOrganisation(a, b Attestation) bool {
	if a.OrganisationID != "" && b.OrganisationID != "" {
		return fold(a.OrganisationID) == fold(b.OrganisationID)
	}
	return fold(a.Organisation) == fold(b.Organisation)
}
