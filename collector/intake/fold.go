package intake

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/collector/evidence"
)

const (
	lateAfter  = 5 * time.Minute // from sealing to receipt, by one clock
	keptPast   = 24 * time.Hour  // a slot may lie so far before its journal's start
	keptFuture = 2 * time.Minute // and so far after the receipt
	maxFolded  = 8               // journals of one machine that can still go on
	maxApplied = 8               // plans of one journal by which a result may be judged
)

// A Fold turns the log into Accepted values. It is fed every leaf in order; what it says of a batch depends on the
// leaves up to it and on the kinds, and on nothing else. It serves one goroutine.
type Fold struct {
	kinds  check.Table
	text   func(leaf int64) ([]byte, error)
	reader *journal.Reader
	parsed map[string]*plan.Plan // by hash; those in force somewhere, nil for one that cannot be used
	broken error                 // why the text of a plan could not be read from the log
	state  foldState
}

// foldState is all that a fold remembers, as it is kept in a snapshot.
type foldState struct {
	Next     int64                      `json:"next"` // first leaf it has not been fed
	Plans    map[string]int64           `json:"plans"`
	Machines map[string]*foldMachine    `json:"machines"`
	Journals map[string]*journalInForce `json:"journals"` // by "MACHINE JOURNAL"
	// Dictionaries are the leaves of dictionaries by SHA-256, Shapes the newest for machines with the same checks.
	Dictionaries map[string]int64 `json:"dictionaries"`
	Shapes       map[string]made  `json:"shapes"`
}

type foldMachine struct {
	Unit  string    `json:"unit"`
	First time.Time `json:"first"` // when it first had an identity: nothing it says is older
	// Sealed is when its last archived batch was. What is still to come was recorded after that.
	Sealed time.Time `json:"sealed,omitzero"`
	// Ahead is how far its clock was ahead by that batch; see ahead.
	Ahead time.Duration `json:"ahead,omitzero"`
	Order []string      `json:"journals"` // keys of its journals, the newest at the end
	// Enrolled is when it last came by a token, Places where it has stood since it is known, Clone what says that it is two.
	Enrolled time.Time `json:"enrolled,omitzero"`
	Places   []place   `json:"places,omitempty"`
	Clone    cloning   `json:"clone,omitzero"`
}

// journalInForce is what holds at the present end of one journal.
type journalInForce struct {
	Start time.Time `json:"start"` // of the journal; zero until it has said so
	// Floor is Start, or when the last batch before this journal was sealed, if that is earlier: what a journal that
	// broke off could not deliver any more is carried over into the next one.
	Floor time.Time        `json:"floor"`
	Begin time.Time        `json:"begin"` // of the agent's present run
	Plans []applied        `json:"plans"` // as they were applied, the one in force at the end
	Slots map[string]slots `json:"slots"` // of each check that has a result
	// First is the first second that a result speaks for, Sealed when the last batch was, by the collector's clock.
	First  time.Time `json:"first,omitzero"`
	Sealed time.Time `json:"sealed,omitzero"`
}

// applied is a plan that a machine has followed.
type applied struct {
	SHA256 string    `json:"sha256"`
	At     time.Time `json:"at"`
}

// NewFold returns a fold that has been fed nothing. text returns the blob of a leaf of the log, for the texts of plans and
// for dictionaries.
func NewFold(kinds check.Table, text func(leaf int64) ([]byte, error)) (*Fold, error) {
	r, err := journal.NewReader()
	if err != nil {
		return nil, err
	}
	f := &Fold{kinds: kinds, text: text, reader: r, parsed: map[string]*plan.Plan{}, state: foldState{
		Plans: map[string]int64{}, Machines: map[string]*foldMachine{}, Journals: map[string]*journalInForce{},
		Dictionaries: map[string]int64{}, Shapes: map[string]made{},
	}}
	r.Dictionaries(f.dictionary)
	return f, nil
}

// Next is the index of the leaf that the fold is to be fed next.
func (f *Fold) Next() int64 { return f.state.Next }

// Feed takes in the next leaf. ok is true if it was a batch. An error means that the log itself cannot be read.
func (f *Fold) Feed(s evidence.Stored) (a Accepted, ok bool, err error) {
	if s.Index != f.state.Next {
		return Accepted{}, false, fmt.Errorf("fold: leaf %d, but %d comes next", s.Index, f.state.Next)
	}
	switch s.Leaf.Type() {
	case evidence.Plan:
		// The first leaf of a text is where it is found; others say that it is in force again.
		if _, known := f.state.Plans[s.Leaf.Field("sha256")]; !known {
			f.state.Plans[s.Leaf.Field("sha256")] = s.Index
		}
	case evidence.Dictionary:
		if err := f.dictionaryLeaf(s); err != nil {
			return Accepted{}, false, fmt.Errorf("fold: leaf %d: %w", s.Index, err)
		}
	case evidence.AgentKey:
		if err := f.identity(s.Leaf); err != nil {
			return Accepted{}, false, fmt.Errorf("fold: leaf %d: %w", s.Index, err)
		}
	case evidence.Batch:
		if a, err = f.batch(s); err != nil {
			return Accepted{}, false, fmt.Errorf("fold: leaf %d: %w", s.Index, err)
		}
		ok = true
	}
	f.state.Next++
	return a, ok, nil
}

func (f *Fold) identity(l evidence.Leaf) error {
	at, err := time.Parse(time.RFC3339, l.Field("at"))
	if err != nil {
		return err
	}
	m := f.machine(l.Field("machine"))
	if m.First.IsZero() || at.Before(m.First) {
		m.First = at.UTC()
	}
	m.moved(l.Field("unit"), at.UTC())
	if byToken(l) {
		m.Enrolled = at.UTC()
		m.Clone.enrolled(at.UTC())
	}
	return nil
}

func (f *Fold) machine(id string) *foldMachine {
	m := f.state.Machines[id]
	if m == nil {
		m = &foldMachine{}
		f.state.Machines[id] = m
	}
	return m
}

// journal returns the state of a machine's journal. The oldest of more than maxFolded is forgotten.
func (f *Fold) journal(machine, id string) *journalInForce {
	key := machine + " " + id
	j := f.state.Journals[key]
	if j == nil {
		j = &journalInForce{Slots: map[string]slots{}}
		m := f.machine(machine)
		if n := len(m.Order); n > 0 { // what is carried over was run by the plans of the journal before
			j.Plans = slices.Clone(f.state.Journals[m.Order[n-1]].Plans)
		}
		f.state.Journals[key] = j
		m.Order = append(m.Order, key)
		if len(m.Order) > maxFolded {
			delete(f.state.Journals, m.Order[0])
			m.Order = slices.Delete(m.Order, 0, 1)
		}
	}
	return j
}

func (f *Fold) batch(s evidence.Stored) (Accepted, error) {
	received, err := time.Parse(time.RFC3339, s.Leaf.Field("received"))
	if err != nil {
		return Accepted{}, err
	}
	h, err := readHeader(s.Blob)
	if err != nil {
		return Accepted{}, err
	}
	m := f.machine(h.Machine)
	a := Accepted{Leaf: s.Index, Received: received.UTC(), Machine: h.Machine, Unit: m.Unit, Header: h, Rejected: map[string]int{}}
	a.places = m.Places
	a.Late = received.Sub(sealedAt(h)) > lateAfter
	if c := f.twins(m, h.Machine+" "+h.Journal, h, received.UTC()); c != nil {
		a.Events = append(a.Events, Event{Cloned: c})
	}
	var records []journal.Record
	if !s.BodyRemoved() { // what it said is gone, and was right then
		records, err = f.reader.Records(h, s.Body)
	}
	if err != nil {
		n := h.Records
		bad, content := errors.AsType[*journal.ContentError](err)
		switch {
		case content:
			n = bad.Lines
		case !errors.Is(err, journal.ErrDictionary): // the log has it, and it cannot be read
			return Accepted{}, err
		}
		a.Rejected[RejectedUnreadable] += max(n, 1)
	}
	j := judge{
		Fold: f, a: &a, m: m, j: f.journal(h.Machine, h.Journal), clock: clockOffset(h), last: received.Add(keptFuture),
		ahead: ahead(h), before: m.Ahead,
	}
	for _, r := range records {
		j.record(r)
	}
	j.j.Sealed = sealedAt(h)
	if sealed := j.within(j.at(h.Sealed)); sealed.After(m.Sealed) {
		m.Sealed = sealed
	}
	m.Ahead = j.ahead
	return a, f.broken
}

// readHeader reads the header of an archived note, whose signature was verified before it was archived.
func readHeader(note []byte) (journal.Header, error) {
	i := bytes.LastIndex(note, []byte("\n\n"))
	if i < 0 {
		return journal.Header{}, errors.New("the header is no signed note")
	}
	return journal.ParseHeader(string(note[:i+1]))
}

// plan returns the plan with this hash if the log has it, it can be read and it is for the machine.
func (f *Fold) plan(sum, machine string) *plan.Plan {
	p, ok := f.parsed[sum]
	if !ok {
		p = f.parse(sum)
		f.parsed[sum] = p
	}
	if p == nil || p.For != machine {
		return nil
	}
	return p
}

func (f *Fold) parse(sum string) *plan.Plan {
	leaf, ok := f.state.Plans[sum]
	if !ok {
		return nil
	}
	text, err := f.text(leaf)
	if err != nil {
		f.broken = fmt.Errorf("plan %s: %w", sum, err)
		return nil
	}
	p, err := plan.Parse(text, f.kinds)
	if err != nil || p.Hash() != sum {
		return nil
	}
	return p
}

// inForce returns the plan that a journal follows at its present end, and its hash; nil for none.
func (f *Fold) inForce(machine, id string) (p *plan.Plan, sha256 string) {
	j := f.state.Journals[machine+" "+id]
	if j == nil || len(j.Plans) == 0 {
		return nil, ""
	}
	sha256 = j.Plans[len(j.Plans)-1].SHA256
	return f.plan(sha256, machine), sha256
}

// forget drops parsed plans that no journal is likely to need again; those that one does are parsed again.
func (f *Fold) forget() {
	used := map[string]bool{}
	for _, j := range f.state.Journals {
		for _, ap := range j.Plans[max(0, len(j.Plans)-2):] {
			used[ap.SHA256] = true
		}
	}
	maps.DeleteFunc(f.parsed, func(sum string, _ *plan.Plan) bool { return !used[sum] })
}
