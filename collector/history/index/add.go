package index

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/collector/history"
)

// Bounds of what a batch may say. What lies beyond is cut off, so that a wrong clock cannot fill the file.
const (
	firstSecond = 0             // 1970-01-01T00:00:00Z
	lastSecond  = 7_258_118_400 // 2200-01-01T00:00:00Z
	longest     = 10 * 366 * 24 * 60 * 60
)

// The classes of runs.
const (
	results = 0
	ranges  = 1
)

// Add takes batches in the order of the log, and writes what they say and the cursor in one transaction: all of it, or
// after an error none. Batches before the cursor were taken already and are passed over.
func (x *Index) Add(ctx context.Context, batches ...history.Batch) error {
	if len(batches) == 0 {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	err := x.addLocked(ctx, batches)
	if err != nil {
		clear(x.journals) // they may be ahead of the file
		return fmt.Errorf("history index %s: add leaves from %d: %w", x.path, batches[0].Leaf, explained(err))
	}
	return nil
}

func (x *Index) addLocked(ctx context.Context, batches []history.Batch) error {
	tx, err := x.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	w := &writer{ctx: ctx, tx: &snapshot{Tx: tx}, journals: x.journals, changed: map[int64]*kept{}, months: map[monthKey]*month{},
		checks: map[string]int64{"*": 0}}
	if w.cursor, err = readCursor(ctx, w.tx); err != nil {
		return err
	}
	for _, b := range batches {
		if b.Leaf < w.cursor.next {
			continue
		}
		if err := w.batch(b); err != nil {
			return fmt.Errorf("leaf %d of %s: %w", b.Leaf, b.Machine, err)
		}
		w.cursor.next = b.Leaf + 1
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.cursor.write(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if len(x.journals) > keptJournals {
		clear(x.journals)
	}
	return nil
}

// A writer holds what one transaction has changed and not yet written.
type writer struct {
	ctx      context.Context
	tx       *snapshot
	cursor   cursorRow
	journals map[int64]*kept // of the index
	changed  map[int64]*kept
	months   map[monthKey]*month
	checks   map[string]int64
}

type monthKey struct {
	journal int64
	month   int
	check   int64
	class   int
}

type month struct {
	runs  []history.Run
	fresh bool // the file has none
	dirty bool
}

// batch takes what one batch says.
func (w *writer) batch(b history.Batch) error {
	machine, err := w.machine(b.Machine, b.Unit)
	if err != nil {
		return err
	}
	id, j, err := w.journal(&machine, b.Journal)
	if err != nil {
		return err
	}
	for _, e := range b.Events {
		switch {
		case e.Observation != nil:
			err = w.observe(id, j, *e.Observation)
		case e.Range != nil:
			err = w.stretch(id, *e.Range)
		case e.Plan != nil:
			if j.Apply(*e.Plan) {
				err = w.applied(id, j, *e.Plan)
			}
		case e.Begin != nil:
			err = errors.Join(w.rest(id, j.Start(e.Begin.At)), w.previous(machine, b.Journal, e.Begin.Previous))
		case e.End != nil:
			err = w.rest(id, j.Stop(*e.End))
		case e.Cloned != nil:
			err = w.cloned(&machine, *e.Cloned)
		}
		if err != nil {
			return err
		}
	}
	w.changed[id] = j
	return nil
}

func (w *writer) machine(name, unit string) (machineRow, error) {
	m, there, err := w.tx.readMachine(w.ctx, name)
	if err != nil || there && m.unit == unit {
		return m, err
	}
	if !there {
		m = machineRow{name: name}
		if err := w.tx.QueryRowContext(w.ctx, "INSERT INTO machines (name, unit, journals, cloned, sum) VALUES (?, '', 0, 0, 0) RETURNING id", name).Scan(&m.id); err != nil {
			return m, err
		}
		w.cursor.machines++
		w.tx.names[name] = true
	}
	m.unit = unit
	return m, m.write(w.ctx, w.tx.Tx)
}

// cloned notes since when, and perhaps until when, a machine was two.
func (w *writer) cloned(m *machineRow, c history.Cloned) error {
	var until any
	if !c.To.IsZero() {
		until = c.To.Unix()
	}
	since := c.From.Unix()
	sum := clonedSum(m.id, since, until)
	changed, err := w.tx.ExecContext(w.ctx, "UPDATE cloned SET until = ?, sum = ? WHERE machine = ? AND since = ?", until, sum, m.id, since)
	if err != nil {
		return err
	}
	if n, err := changed.RowsAffected(); n > 0 || err != nil {
		return err
	}
	if _, err := w.tx.ExecContext(w.ctx, "INSERT INTO cloned VALUES (?, ?, ?, ?)", m.id, since, until, sum); err != nil {
		return err
	}
	m.cloned++
	return m.write(w.ctx, w.tx.Tx)
}

// journal returns the state of a journal. One that was never heard of is the machine's latest, until its begin says more.
func (w *writer) journal(m *machineRow, name string) (int64, *kept, error) {
	found, err := readJournals(w.ctx, w.tx, *m, name)
	if err != nil {
		return 0, nil, err
	}
	if len(found) == 0 {
		id, err := w.newJournal(m, name)
		return id, w.journals[id], err
	}
	id := found[0].id
	if w.journals[id] == nil {
		if w.journals[id] = found[0].state; found[0].state == nil {
			return 0, nil, damaged("journal %.80q has no state", name)
		}
	}
	return id, w.journals[id], nil
}

func (w *writer) newJournal(m *machineRow, name string) (id int64, err error) {
	have, err := readJournals(w.ctx, w.tx, *m, "")
	if err != nil {
		return 0, err
	}
	j := journalRow{machine: m.id, name: name}
	for _, h := range have {
		if j.place = max(j.place, h.place+1); h.name == name {
			return 0, damaged("journal %.80q is not found by its name", name)
		}
	}
	if err := w.tx.QueryRowContext(w.ctx, "INSERT INTO journals (machine, name, place, sum) VALUES (?, ?, ?, 0) RETURNING id", m.id, name, j.place).Scan(&j.id); err != nil {
		return 0, err
	}
	m.journals++
	w.journals[j.id] = newKept()
	if err := errors.Join(j.write(w.ctx, w.tx.Tx), m.write(w.ctx, w.tx.Tx)); err != nil {
		return 0, err
	}
	return j.id, w.order(*m)
}

// previous notes which journal came before one that begins.
func (w *writer) previous(m machineRow, name, previous string) error {
	if previous == "" || previous == name {
		return nil
	}
	j, err := readJournals(w.ctx, w.tx, m, name)
	if err != nil || j[0].previous != "" {
		return err
	}
	j[0].previous = previous
	if err := j[0].write(w.ctx, w.tx.Tx); err != nil {
		return err
	}
	return w.order(m)
}

// order puts the journals of a machine in order anew, after one was heard of or has named its predecessor.
func (w *writer) order(m machineRow) error {
	js, err := readJournals(w.ctx, w.tx, m, "")
	if err != nil {
		return err
	}
	slices.SortFunc(js, func(a, b storedJournal) int { return cmp.Compare(a.id, b.id) })
	var chain []link
	by := map[int64]journalRow{}
	for _, j := range js {
		chain = append(chain, link{j.id, j.name, j.previous})
		by[j.id] = j.journalRow
	}
	for place, id := range ordered(chain) {
		j := by[id]
		if j.place == int64(place) {
			continue
		}
		j.place = int64(place)
		if err := j.write(w.ctx, w.tx.Tx); err != nil {
			return err
		}
	}
	return nil
}

// A link is a journal of a machine with the one that it names as its predecessor.
type link struct {
	id             int64
	name, previous string
}

// ordered returns the journals so that each follows its predecessor. Where that leaves a choice, the one that was heard of
// first comes first; so it is with those that name one another in a circle, which no honest machine writes.
func ordered(chain []link) []int64 {
	known := map[string]bool{}
	followers := map[string][]link{}
	for _, l := range chain {
		known[l.name] = true
		followers[l.previous] = append(followers[l.previous], l)
	}
	var out []int64
	done := map[int64]bool{}
	var todo []link // the next one last
	for _, l := range slices.Backward(chain) {
		todo = append(todo, l) // taken last, if nothing led to it
	}
	for _, l := range slices.Backward(chain) {
		if !known[l.previous] {
			todo = append(todo, l)
		}
	}
	for len(todo) > 0 {
		l := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if done[l.id] {
			continue
		}
		done[l.id] = true
		out = append(out, l.id)
		for _, f := range slices.Backward(followers[l.name]) {
			todo = append(todo, f)
		}
	}
	return out
}

func (w *writer) applied(journal int64, j *kept, p history.Plan) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("plan %s: %w", p.SHA256, err)
	}
	if _, err := w.tx.ExecContext(w.ctx, "INSERT INTO plans VALUES (?, ?, ?) ON CONFLICT DO NOTHING", p.SHA256, text, planSum(p.SHA256, text)); err != nil {
		return err
	}
	n, at := j.plans, p.At.Unix()
	j.plans++
	_, err = w.tx.ExecContext(w.ctx, "INSERT INTO applied VALUES (?, ?, ?, ?, ?)", journal, n, at, p.SHA256, appliedSum(journal, n, at, p.SHA256))
	return err
}

// observe takes a result.
func (w *writer) observe(journal int64, j *kept, o history.Observation) error {
	s := bounded(history.Span{From: o.From.Unix(), To: o.To.Unix()}, int64(plan.MaxEvery/time.Second))
	o.From, o.To, o.Reason = time.Unix(s.From, 0), time.Unix(s.To, 0), listed(o.Reason)
	closed, late := j.Observe(o)
	for _, r := range closed {
		if err := w.put(journal, o.Check, results, r, after); err != nil {
			return err
		}
	}
	for _, r := range late {
		if err := w.put(journal, o.Check, results, r, under); err != nil {
			return err
		}
	}
	return nil
}

// stretch takes a range record: of two of one journal the later one holds.
func (w *writer) stretch(journal int64, r check.Range) error {
	s := history.Span{From: r.From.Unix(), To: r.To.Unix()}
	s.From = max(s.From, s.To-longest)
	return w.put(journal, r.Check, ranges, history.Run{Span: bounded(s, longest), Reason: listed(r.Reason)}, history.Over)
}

// rest takes what is left of slots by a stop, under what ranges of the check say.
func (w *writer) rest(journal int64, rest []history.Rest) error {
	for _, r := range rest {
		r.Span = bounded(r.Span, longest)
		if err := w.put(journal, r.Check, ranges, r.Run, under); err != nil {
			return err
		}
	}
	return nil
}

// listed returns a reason of the closed list: what a batch says in another word, nobody can tell.
func listed(r check.Reason) check.Reason {
	if !r.Valid() {
		return check.Internal
	}
	return r
}

// bounded returns what of s lies within the bounds.
func bounded(s history.Span, length int64) history.Span {
	s = s.Meet(history.Span{From: firstSecond, To: lastSecond})
	s.To = min(s.To, s.From+length)
	return s
}

// after and under are ways to put a run to others, like [history.Over].
func after(runs, r []history.Run) []history.Run { return history.Append(runs, r[0]) }
func under(runs, r []history.Run) []history.Run { return history.Over(r, runs) }

// put puts a run to those of its months.
func (w *writer) put(journal int64, name string, class int, r history.Run, how func(runs, r []history.Run) []history.Run) error {
	chk, err := w.check(name)
	if err != nil {
		return err
	}
	for from := r.From; from < r.To; {
		n := monthOf(from)
		part := history.Run{Span: r.Span.Meet(monthSpan(n)), Reason: r.Reason}
		m, err := w.month(monthKey{journal, n, chk, class})
		if err != nil {
			return err
		}
		m.runs, m.dirty = how(m.runs, []history.Run{part}), true
		from = part.To
	}
	return nil
}

func (w *writer) check(name string) (int64, error) {
	if id, ok := w.checks[name]; ok {
		return id, nil
	}
	c := checkRow{name: name}
	var sum int64
	err := w.tx.QueryRowContext(w.ctx, "SELECT id, sum FROM checks WHERE name = ?", name).Scan(&c.id, &sum)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if c.id, err = w.newCheck(name); err != nil {
			return 0, err
		}
	case err != nil:
		return 0, err
	case sum != c.checksum():
		return 0, damaged("check %d, %.80q", c.id, name)
	}
	w.checks[name] = c.id
	return c.id, nil
}

func (w *writer) newCheck(name string) (id int64, err error) {
	var hidden int
	if err := w.tx.QueryRowContext(w.ctx, "SELECT count(*) FROM checks NOT INDEXED WHERE name = ?", name).Scan(&hidden); err != nil {
		return 0, err
	}
	if hidden > 0 {
		return 0, damaged("check %.80q is not found by its name", name)
	}
	if err := w.tx.QueryRowContext(w.ctx, "INSERT INTO checks (name, sum) VALUES (?, 0) RETURNING id", name).Scan(&id); err != nil {
		return 0, err
	}
	_, err = w.tx.ExecContext(w.ctx, "UPDATE checks SET sum = ? WHERE id = ?", checkRow{id, name}.checksum(), id)
	return id, err
}

func (w *writer) month(k monthKey) (*month, error) {
	if m, ok := w.months[k]; ok {
		return m, nil
	}
	var packed []byte
	var sum int64
	m := &month{}
	err := w.tx.row(w.ctx, func(r scanner) error { return r.Scan(&packed, &sum) },
		"SELECT packed, sum FROM runs WHERE journal = ? AND month = ? AND chk = ? AND class = ?", k.journal, k.month, k.check, k.class)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		m.fresh, err = true, w.whole(k)
	case err != nil:
	case sum != runsSum(k, packed):
		err = damaged("the runs of check %d in month %d of journal %d", k.check, k.month, k.journal)
	default:
		m.runs, err = unpack(packed, k.month)
	}
	if err != nil {
		return nil, err
	}
	w.months[k] = m
	return m, nil
}

// whole makes sure that a month of a journal lacks nothing, before what it does not seem to have is written anew.
func (w *writer) whole(k monthKey) error {
	var have int64
	if err := w.tx.row(w.ctx, func(r scanner) error { return r.Scan(&have) },
		"SELECT count(*) FROM runs WHERE journal = ? AND month = ?", k.journal, k.month); err != nil {
		return err
	}
	if want := w.journals[k.journal].months[k.month]; have != want {
		return damaged("%d packed runs of month %d of journal %d are there instead of %d", have, k.month, k.journal, want)
	}
	return nil
}

// flush writes what has changed.
func (w *writer) flush() error {
	keys := slices.SortedFunc(maps.Keys(w.months), func(a, b monthKey) int {
		return cmp.Or(cmp.Compare(a.journal, b.journal), cmp.Compare(a.month, b.month), cmp.Compare(a.check, b.check), cmp.Compare(a.class, b.class))
	})
	if len(keys) > 0 {
		put, err := w.tx.PrepareContext(w.ctx, "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)")
		if err != nil {
			return err
		}
		defer func() { _ = put.Close() }() // it ends with its transaction
		for _, k := range keys {
			m := w.months[k]
			if !m.dirty {
				continue
			}
			packed := pack(m.runs, k.month)
			if _, err := put.ExecContext(w.ctx, k.journal, k.month, k.check, k.class, packed, runsSum(k, packed)); err != nil {
				return err
			}
			if m.fresh {
				w.journals[k.journal].months[k.month]++
			}
		}
	}
	for id, j := range w.changed {
		state := packJournal(j)
		put, err := w.tx.prepared(w.ctx, "UPDATE journals SET state = ?, state_sum = ? WHERE id = ?")
		if err != nil {
			return err
		}
		if _, err := put.ExecContext(w.ctx, state, stateSum(id, state), id); err != nil {
			return err
		}
	}
	return nil
}
