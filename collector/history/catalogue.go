package history

import "math"

// A Catalogue says what is watched, by whom, and in which calendar: the part of a profile that accounts depend on.
type Catalogue struct {
	// Services in the order of the profile. A service whose terms changed stands once for each stretch, one after the
	// other, with the same ID.
	Services []Service
}

// A Service is one service for as long as its terms stay the same.
type Service struct {
	ID       string
	Valid    Span     // its calendar; a zero To is open
	Deciding []string // ids of the checks that decide, as plans have them
	Quorum   Quorum
	Watchers []Watcher
	// Hours are its service hours. Nil leaves the calendar service_hours out; an empty list has no second in it.
	Hours     []Span
	UnitHours map[string][]Span // of units with hours of their own, instead of Hours
	Excluded  []Exclusion

	// Shared is a service that one machine watches for every unit: what it is as a whole is what each unit has of it.
	Shared bool
	// Derived says from which other services this one's state follows; nil for one that is measured.
	Derived *Expr
	// Attested is a service that no machine measures: Words, in the order in which they were given, say how it is.
	Attested bool
	Words    []Word
}

// A Quorum is how many units, on how many carriers, must vote before a service has a state. Zero Units stand for
// min(2, units planned to watch it), zero Carriers for 1.
type Quorum struct {
	Units    int
	Carriers int
}

// A Watcher is a machine that watches a service for its unit.
type Watcher struct {
	Machine string
	Unit    string
	Carrier string // of the line it uses; all whose carrier is not known ("") count as one
	Valid   Span   // while it is to watch; a zero To is open
	// NotConfigured are deciding checks that are in none of its plans because the profile lacks a parameter of theirs.
	// The machine has no vote unless another one is down, and the account says why: not_configured.
	NotConfigured []string
}

// An Exclusion is a stretch that was announced, or declared afterwards, to be left out of the figures.
type Exclusion struct {
	Span
	InTime bool   // announced early enough; if not, the figures without and with it are both given
	Unit   string // "" is every unit, and the service as a whole
}

// open returns s with an open end in place of a zero To.
func open(s Span) Span {
	if s.To == 0 {
		s.To = math.MaxInt64
	}
	return s
}

// hours returns the service hours of a unit, or of the service for "", and whether there are any.
func (s Service) hours(unit string) ([]Span, bool) {
	if h, ok := s.UnitHours[unit]; ok && unit != "" {
		return h, true
	}
	return s.Hours, s.Hours != nil
}

// excluded returns the stretches that were announced in time, and all of them.
func (s Service) excluded(unit string) (inTime, all []Span) {
	for _, e := range s.Excluded {
		if e.Unit != "" && e.Unit != unit {
			continue
		}
		all = append(all, e.Span)
		if e.InTime {
			inTime = append(inTime, e.Span)
		}
	}
	return Join(inTime...), Join(all...)
}
