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
		return fmt.Errorf("history index %s: add leaves from %d: %w", x.path, batches[0].Leaf, err)
	}
	return nil
}

func (x *Index) addLocked(ctx context.Context, batches []history.Batch) error {
	tx, err := x.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	w := &writer{ctx: ctx, tx: tx, journals: x.journals, changed: map[int64]*history.Journal{}, months: map[monthKey]*month{},
		checks: map[string]int64{"*": 0}}
	var next int64
	if err := tx.QueryRowContext(ctx, "SELECT next FROM cursor").Scan(&next); err != nil {
		return err
	}
	for _, b := range batches {
		if b.Leaf < next {
			continue
		}
		if err := w.batch(b); err != nil {
			return fmt.Errorf("leaf %d of %s: %w", b.Leaf, b.Machine, err)
		}
		next = b.Leaf + 1
	}
	if err := w.flush(); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE cursor SET next = ?", next); err != nil {
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
	tx       *sql.Tx
	journals map[int64]*history.Journal // of the index
	changed  map[int64]*history.Journal
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
	dirty bool
}

// batch takes what one batch says.
func (w *writer) batch(b history.Batch) error {
	machine, err := w.machine(b.Machine, b.Unit)
	if err != nil {
		return err
	}
	id, j, err := w.journal(machine, b.Journal)
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
				err = w.applied(id, *e.Plan)
			}
		case e.Begin != nil:
			err = errors.Join(w.rest(id, j.Start(e.Begin.At)), w.previous(machine, id, b.Journal, e.Begin.Previous))
		case e.End != nil:
			err = w.rest(id, j.Stop(*e.End))
		case e.Cloned != nil:
			err = w.cloned(machine, *e.Cloned)
		}
		if err != nil {
			return err
		}
	}
	w.changed[id] = j
	return nil
}

func (w *writer) machine(name, unit string) (id int64, err error) {
	err = w.tx.QueryRowContext(w.ctx, `INSERT INTO machines (name, unit) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET unit = excluded.unit WHERE unit <> excluded.unit RETURNING id`, name, unit).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) { // nothing to change
		err = w.tx.QueryRowContext(w.ctx, "SELECT id FROM machines WHERE name = ?", name).Scan(&id)
	}
	return id, err
}

// cloned notes since when, and perhaps until when, a machine was two.
func (w *writer) cloned(machine int64, c history.Cloned) error {
	var until any
	if !c.To.IsZero() {
		until = c.To.Unix()
	}
	_, err := w.tx.ExecContext(w.ctx, "INSERT OR REPLACE INTO cloned VALUES (?, ?, ?)", machine, c.From.Unix(), until)
	return err
}

// journal returns the state of a journal. One that was never heard of is the machine's latest, until its begin says more.
func (w *writer) journal(machine int64, name string) (int64, *history.Journal, error) {
	var id int64
	var state []byte
	err := w.tx.QueryRowContext(w.ctx, "SELECT id, state FROM journals WHERE machine = ? AND name = ?", machine, name).Scan(&id, &state)
	if errors.Is(err, sql.ErrNoRows) {
		err = w.tx.QueryRowContext(w.ctx, `INSERT INTO journals (machine, name, place)
			SELECT ?, ?, 1 + coalesce(max(place), -1) FROM journals WHERE machine = ? RETURNING id`, machine, name, machine).Scan(&id)
		if err == nil {
			err = w.order(machine)
		}
	}
	if err != nil {
		return 0, nil, err
	}
	if j, ok := w.journals[id]; ok {
		return id, j, nil
	}
	j := &history.Journal{}
	if state != nil {
		if j, err = unpackJournal(state); err != nil {
			return 0, nil, fmt.Errorf("journal %s: %w", name, err)
		}
	}
	w.journals[id] = j
	return id, j, nil
}

// previous notes which journal came before one that begins.
func (w *writer) previous(machine, id int64, name, previous string) error {
	if previous == "" || previous == name {
		return nil
	}
	changed, err := w.tx.ExecContext(w.ctx, "UPDATE journals SET previous = ? WHERE id = ? AND previous IS NULL", previous, id)
	if err != nil {
		return err
	}
	if n, err := changed.RowsAffected(); n == 0 || err != nil {
		return err
	}
	return w.order(machine)
}

// order puts the journals of a machine in order anew, after one was heard of or has named its predecessor.
func (w *writer) order(machine int64) error {
	var chain []link
	if err := rows(w.ctx, w.tx, func(r *sql.Rows) error {
		var l link
		err := r.Scan(&l.id, &l.name, &l.previous)
		chain = append(chain, l)
		return err
	}, "SELECT id, name, coalesce(previous, '') FROM journals WHERE machine = ? ORDER BY id", machine); err != nil {
		return err
	}
	for place, id := range ordered(chain) {
		if _, err := w.tx.ExecContext(w.ctx, "UPDATE journals SET place = ? WHERE id = ?", place, id); err != nil {
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

func (w *writer) applied(journal int64, p history.Plan) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("plan %s: %w", p.SHA256, err)
	}
	if _, err := w.tx.ExecContext(w.ctx, "INSERT INTO plans VALUES (?, ?) ON CONFLICT DO NOTHING", p.SHA256, text); err != nil {
		return err
	}
	_, err = w.tx.ExecContext(w.ctx, `INSERT INTO applied SELECT ?, 1 + coalesce(max(n), -1), ?, ? FROM applied WHERE journal = ?`,
		journal, p.At.Unix(), p.SHA256, journal)
	return err
}

// observe takes a result.
func (w *writer) observe(journal int64, j *history.Journal, o history.Observation) error {
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

func (w *writer) check(name string) (id int64, err error) {
	if id, ok := w.checks[name]; ok {
		return id, nil
	}
	if _, err = w.tx.ExecContext(w.ctx, "INSERT INTO checks (name) VALUES (?) ON CONFLICT DO NOTHING", name); err == nil {
		err = w.tx.QueryRowContext(w.ctx, "SELECT id FROM checks WHERE name = ?", name).Scan(&id)
	}
	w.checks[name] = id
	return id, err
}

func (w *writer) month(k monthKey) (*month, error) {
	if m, ok := w.months[k]; ok {
		return m, nil
	}
	var packed []byte
	m := &month{}
	err := w.tx.QueryRowContext(w.ctx, "SELECT packed FROM runs WHERE journal = ? AND month = ? AND chk = ? AND class = ?",
		k.journal, k.month, k.check, k.class).Scan(&packed)
	switch {
	case err == nil:
		if m.runs, err = unpack(packed, k.month); err != nil {
			return nil, err
		}
	case !errors.Is(err, sql.ErrNoRows):
		return nil, err
	}
	w.months[k] = m
	return m, nil
}

// flush writes what has changed.
func (w *writer) flush() error {
	keys := slices.SortedFunc(maps.Keys(w.months), func(a, b monthKey) int {
		return cmp.Or(cmp.Compare(a.journal, b.journal), cmp.Compare(a.month, b.month), cmp.Compare(a.check, b.check), cmp.Compare(a.class, b.class))
	})
	if len(keys) > 0 {
		put, err := w.tx.PrepareContext(w.ctx, "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)")
		if err != nil {
			return err
		}
		defer func() { _ = put.Close() }() // it ends with its transaction
		for _, k := range keys {
			m := w.months[k]
			if !m.dirty {
				continue
			}
			if _, err := put.ExecContext(w.ctx, k.journal, k.month, k.check, k.class, pack(m.runs, k.month)); err != nil {
				return err
			}
		}
	}
	for id, j := range w.changed {
		state := packJournal(j, slices.Sorted(maps.Keys(j.Tails)))
		if _, err := w.tx.ExecContext(w.ctx, "UPDATE journals SET state = ? WHERE id = ?", state, id); err != nil {
			return err
		}
	}
	return nil
}
