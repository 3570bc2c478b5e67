package history

import (
	"cmp"
	"slices"
	"time"
)

// A SentLetter is a test letter that a machine handed in, as its own result tells: the server took it for these others.
type SentLetter struct {
	Service string
	Serial  uint64
	From    string    // the machine
	At      time.Time // when it was taken
	To      []string  // machines whose mailboxes it was taken for; its own is none of them
	Late    time.Duration
	Lost    time.Duration
}

// An Arrival is a letter that a machine found in its mailbox.
type Arrival struct {
	Transit time.Duration
	Altered bool
}

// A Receiver is what a machine tells of its mailbox: from Since to Last every letter that came was told of, so that one
// of that time which is not among Found was not there. The zero value has told of nothing.
type Receiver struct {
	Since, Last time.Time
	Found       map[uint64]Arrival // by serial
}

// An Outcome is what became of one copy of a letter.
type Outcome string

// The outcomes.
const (
	LetterOnTime   Outcome = "on_time"  // it was found, unaltered and soon enough
	LetterLate     Outcome = "late"     // it was found, later than allowed, however late
	LetterAltered  Outcome = "altered"  // it was found, and is not what was sent
	LetterLost     Outcome = "lost"     // the sender's server took it, and the receiver searched for it in vain after long enough
	LetterWaiting  Outcome = "waiting"  // it may still come
	LetterUnproven Outcome = "unproven" // the receiver has not looked, or not without a break: nothing is known
)

// Outcomes lists them, the good ones first.
func Outcomes() []Outcome {
	return []Outcome{LetterOnTime, LetterLate, LetterAltered, LetterLost, LetterWaiting, LetterUnproven}
}

// A Fate is what became of the copy of a letter for one machine, as both ends show it together.
type Fate struct {
	Service  string
	Serial   uint64
	From, To string // machines
	At       time.Time
	Outcome  Outcome
	Transit  time.Duration // of one that was found
	Proof    time.Time     // of one that is lost: when the receiver last searched for it in vain
}

// Fates joins what the senders say with what the receivers say. It judges each copy by itself, in the order of the time
// of sending, then by receiver. What arrives after all is late, not lost, as soon as its arrival is told.
func Fates(sent []SentLetter, receivers map[string]Receiver, now time.Time) []Fate {
	var all []Fate
	for _, s := range sent {
		for _, to := range s.To {
			all = append(all, s.fate(to, receivers[to], now))
		}
	}
	slices.SortStableFunc(all, func(a, b Fate) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.To, b.To)) })
	return all
}

// fate judges one copy.
func (s *SentLetter) fate(to string, r Receiver, now time.Time) Fate {
	f := Fate{Service: s.Service, Serial: s.Serial, From: s.From, To: to, At: s.At, Outcome: LetterUnproven}
	end := s.At.Add(s.Lost)
	a, found := r.Found[s.Serial]
	switch {
	case found && a.Altered:
		f.Outcome, f.Transit = LetterAltered, a.Transit
	case found && a.Transit > s.Late:
		f.Outcome, f.Transit = LetterLate, a.Transit
	case found:
		f.Outcome, f.Transit = LetterOnTime, a.Transit
	case now.Before(end):
		f.Outcome = LetterWaiting
	case !r.Since.IsZero() && !r.Since.After(s.At) && !r.Last.Before(end):
		f.Outcome, f.Proof = LetterLost, r.Last
	}
	return f
}
