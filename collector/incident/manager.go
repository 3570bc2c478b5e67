package incident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"egovmon/agent/durable"
	"egovmon/collector/evidence"
	"egovmon/collector/verdict"
)

// Errors of Ack.
var (
	ErrUnknown      = errors.New("no such incident")
	ErrAcknowledged = errors.New("somebody has acknowledged it already")
)

const (
	cursorFile    = "incidents.json"
	cursorVersion = 1
	maxCursor     = 1 << 20
	// cursorEvery is how often the place in the log is kept while nothing happens, so that a start need not read far.
	cursorEvery = 10 * time.Minute
)

// Options are what a Manager is made from. Log, Dir and Model must be set.
type Options struct {
	// Dir holds the place in the log up to which incidents were read. It can be deleted: the next start reads the whole log.
	Dir string
	Log *evidence.Store
	// Model says through what the votes pass at a time. It is asked at every Observe.
	Model  func(now time.Time) verdict.Model
	Policy Policy
	Now    func() time.Time // for acknowledgements; default time.Now
	Logger *slog.Logger     // default slog.Default()
	// Changed is called after every event, with no lock held; it must not block. nil for nobody.
	Changed func()
}

// A Manager keeps the incidents of a district. Its methods may be called at the same time.
type Manager struct {
	opts Options

	writing sync.Mutex // held from judging an event until it is applied
	machine *Machine
	kept    time.Time // when the cursor was written
	before  []verdict.Component

	mu       sync.Mutex
	book     Book
	waiting  []Decision
	explains map[verdict.Component]string // the decisions that were logged
	latest   verdict.Location
	table    []verdict.Row
	doubted  map[string]bool // units whose contradictions were logged
}

// A cursor is where to begin to read, and the leaves before that which are still of use. It is believed only when the
// log has the same leaf at its end.
type cursor struct {
	Version int     `json:"version"`
	Next    int64   `json:"next"`
	Last    string  `json:"last"` // hash of leaf Next-1
	Leaves  []int64 `json:"leaves"`
}

// Open reads the incidents back from the log.
func Open(ctx context.Context, o Options) (*Manager, error) {
	if o.Log == nil || o.Model == nil || o.Dir == "" {
		return nil, errors.New("incident: Options need a Dir, a Log and a Model")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := durable.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("incident: %w", err)
	}
	m := &Manager{opts: o, explains: map[verdict.Component]string{}}
	from, err := m.readCursor()
	if err != nil {
		o.Logger.Warn("incident: reading the whole log", "err", err)
		m.book, from = Book{}, 0
	}
	for s, err := range o.Log.Leaves(from) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("incident: %w", err)
		}
		m.fold(s.Leaf, s.Index)
	}
	if err := m.saveCursor(); err != nil {
		o.Logger.Warn("incident: the next start will read more of the log", "err", err)
	}
	return m, nil
}

// fold adds a leaf to the book. A leaf that does not fit is told of and left out; it stays in the log.
func (m *Manager) fold(l evidence.Leaf, index int64) {
	e, ok, err := eventFrom(l)
	if err == nil && ok {
		err = m.book.apply(e, index)
	}
	if err != nil {
		m.opts.Logger.Error("incident: a leaf of the log does not fit what came before it", "leaf", index, "err", err)
	}
}

// readCursor reads the leaves that are of use, and says from where on the log is to be read.
func (m *Manager) readCursor() (int64, error) {
	data, err := os.ReadFile(filepath.Join(m.opts.Dir, cursorFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var c cursor
	if len(data) > maxCursor {
		return 0, fmt.Errorf("%s is larger than this program writes it", cursorFile)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return 0, fmt.Errorf("%s: %w", cursorFile, err)
	}
	if c.Version != cursorVersion || c.Next < 1 {
		return 0, fmt.Errorf("%s is of version %d, not %d", cursorFile, c.Version, cursorVersion)
	}
	last, err := m.opts.Log.Leaf(c.Next - 1)
	if err != nil {
		return 0, err
	}
	if last.Hash().String() != c.Last {
		return 0, fmt.Errorf("%s was made from another log", cursorFile)
	}
	for _, i := range c.Leaves {
		l, err := m.opts.Log.Leaf(i)
		if err != nil {
			return 0, err
		}
		m.fold(l, i)
	}
	return c.Next, nil
}

// saveCursor keeps the place in the log.
func (m *Manager) saveCursor() error {
	c := cursor{Version: cursorVersion, Next: m.opts.Log.Size()}
	if c.Next == 0 {
		return nil
	}
	last, err := m.opts.Log.Leaf(c.Next - 1)
	if err != nil {
		return err
	}
	c.Last = last.Hash().String()
	m.mu.Lock()
	for _, i := range append(m.book.Open(), m.book.Closed()...) {
		c.Leaves = append(c.Leaves, i.leaves...)
	}
	m.mu.Unlock()
	slices.Sort(c.Leaves)
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(m.opts.Dir, cursorFile), data)
}

// Observe judges how the services stand at now: call it every few seconds, with what holds then. Events are in the log
// when it returns. After an error nothing has changed, and the next call tries again. Standings of nothing say nothing.
func (m *Manager) Observe(ctx context.Context, now time.Time, standings []verdict.Standing) error {
	if len(standings) == 0 {
		return nil
	}
	model := m.opts.Model(now)
	m.writing.Lock()
	defer m.writing.Unlock()
	at := verdict.Moment{Now: now, Lateness: m.opts.Policy.Lateness, Before: m.before}
	v := verdict.Judge(standings, model, at)
	findings := v.Findings
	m.before = m.before[:0:0]
	for _, c := range v.Causes {
		m.before = append(m.before, c.Component)
	}
	m.show(v, v.Table(standings))
	if m.machine == nil {
		m.machine = NewMachine(m.opts.Policy, now)
	}
	events, waiting := m.machine.Step(&m.book, findings, now) // only writers change the book
	m.explain(waiting)
	if err := m.write(ctx, events); err != nil {
		return err
	}
	if len(events) == 0 && now.Sub(m.kept).Abs() >= cursorEvery {
		m.kept = now
		if err := m.saveCursor(); err != nil {
			m.opts.Logger.Warn("incident: the next start will read more of the log", "err", err)
		}
	}
	return nil
}

// show keeps what the votes of now say, and logs whom the others contradict in more than one vote.
func (m *Manager) show(v verdict.Verdict, table []verdict.Row) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.latest, m.table = v.Location, table
	doubted := map[string]bool{}
	for _, d := range v.Doubts {
		if d.Against < 2 {
			continue
		}
		doubted[d.Unit] = true
		if !m.doubted[d.Unit] {
			m.opts.Logger.Warn("incident: the other units contradict this one; its agent may be wrong", "unit", d.Unit, "machine", d.Machine, "against", d.Against, "votes", d.Votes)
		}
	}
	m.doubted = doubted
}

// Located returns what the votes of the latest Observe say, and the table of votes.
func (m *Manager) Located() (verdict.Location, []verdict.Row) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest, m.table
}

// explain keeps why faults change nothing, and logs what is new of it.
func (m *Manager) explain(waiting []Decision) {
	said := map[verdict.Component]string{}
	for _, d := range waiting {
		said[d.Component] = d.Why
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range waiting {
		if m.explains[d.Component] != d.Why {
			m.opts.Logger.Info("incident: no event", "kind", d.Component.Kind, "service", d.Component.Service, "unit", d.Component.Unit, "reason", d.Why)
		}
	}
	m.waiting, m.explains = waiting, said
}

// write puts events into the log, and then into the book.
func (m *Manager) write(ctx context.Context, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	entries := make([]evidence.Entry, len(events))
	for i, e := range events {
		var err error
		if entries[i], err = e.entry(); err != nil {
			return fmt.Errorf("incident %s: %w", e.Incident, err)
		}
	}
	at, err := m.opts.Log.Append(ctx, entries...)
	if err != nil {
		return fmt.Errorf("incident: %d events are not written and will be tried again: %w", len(events), err)
	}
	m.mu.Lock()
	for i := range entries {
		m.fold(entries[i].Leaf, at+int64(i))
	}
	m.mu.Unlock()
	for _, e := range events {
		m.opts.Logger.Info("incident", "id", e.Incident, "event", e.What, "reason", e.Reason, "why", e.Why)
	}
	if err := m.saveCursor(); err != nil {
		m.opts.Logger.Warn("incident: the next start will read more of the log", "err", err)
	}
	if m.opts.Changed != nil {
		m.opts.Changed()
	}
	return nil
}

// Ack records that a person took note of an incident, open or closed. The user is named in the log as given; the note may
// be empty and is cut to 512 bytes. The error wraps ErrUnknown or ErrAcknowledged.
func (m *Manager) Ack(ctx context.Context, id, user, note string) error {
	user = said(user, maxUser)
	if user == "" {
		return fmt.Errorf("incident %.*q: an acknowledgement needs a user", maxID, id)
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	i := m.book.find(id)
	switch {
	case i == nil:
		return fmt.Errorf("incident %.*q: %w", maxID, id, ErrUnknown)
	case i.Acknowledged():
		return fmt.Errorf("incident %s: %w", i.ID, ErrAcknowledged)
	}
	return m.write(ctx, []Event{{Incident: i.ID, What: Acknowledged, At: m.opts.Now().UTC().Truncate(time.Millisecond), User: user, Note: said(note, maxNote)}})
}

// Open lists the open incidents, the oldest first.
func (m *Manager) Open() []Incident {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.book.Open()
}

// Recent lists closed incidents, the latest first: at most n of them.
func (m *Manager) Recent(n int) []Incident {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.book.Closed()
	return all[:min(n, len(all))]
}

// All lists the open incidents and then the closed ones that are remembered.
func (m *Manager) All() []Incident {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(m.book.Open(), m.book.Closed()...)
}

// Waiting says why faults of the latest Observe changed nothing.
func (m *Manager) Waiting() []Decision {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.waiting)
}
