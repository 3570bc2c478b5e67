package index

import (
	"bufio"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"egovmon/collector/history"
)

// A snapshot is the file as it was when a transaction began.
type snapshot struct {
	*sql.Tx
	names  map[string]bool      // of all machines, once one was looked for that is not there
	checks map[int64]string     // the names of all checks, once runs were read
	ready  map[string]*sql.Stmt // by query; they end with the transaction
}

// prepared returns the statement of a query, which is read by SQLite once in a transaction: a country asks the same of some
// thousand machines.
func (s *snapshot) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if have := s.ready[query]; have != nil {
		return have, nil
	}
	stmt, err := s.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if s.ready == nil {
		s.ready = map[string]*sql.Stmt{}
	}
	s.ready[query] = stmt
	return stmt, nil
}

// A scanner is a row that was found.
type scanner interface{ Scan(...any) error }

// row scans the one row of a query; it is [sql.ErrNoRows] where there is none.
func (s *snapshot) row(ctx context.Context, scan func(from scanner) error, query string, args ...any) error {
	stmt, err := s.prepared(ctx, query)
	if err != nil {
		return err
	}
	return scan(stmt.QueryRowContext(ctx, args...))
}

// view runs f in one snapshot of the file.
func (x *Index) view(ctx context.Context, f func(tx *snapshot) error) error {
	tx, err := x.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("history index %s: %w", x.path, err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	if err := f(&snapshot{Tx: tx}); err != nil {
		return fmt.Errorf("history index %s: %w", x.path, explained(err))
	}
	return nil
}

// rows calls scan for every row of a query.
func rows(ctx context.Context, tx *snapshot, scan func(*sql.Rows) error, query string, args ...any) error {
	stmt, err := tx.prepared(ctx, query)
	if err != nil {
		return err
	}
	found, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { _ = found.Close() }() // Err says it
	for found.Next() {
		if err := scan(found); err != nil {
			return err
		}
	}
	return found.Err()
}

// Runs returns what is known of one check of one machine in [from, to), by time. What no result and no range speaks for
// is left out. A subject that was never heard of has no runs.
func (x *Index) Runs(ctx context.Context, machine, id string, from, to time.Time) ([]history.Run, error) {
	s := history.Span{From: from.Unix(), To: to.Unix()}
	var out []history.Run
	err := x.view(ctx, func(tx *snapshot) error {
		d, err := loadMachine(ctx, tx, machine, s)
		if err == nil {
			out = d.machine(s, 0).Runs[id]
		}
		return err
	})
	return out, err
}

// Machines returns what is known of machines in s. Those that were never heard of are left out.
func (x *Index) Machines(ctx context.Context, names []string, s history.Span) (map[string]*history.Machine, error) {
	return x.machines(ctx, names, s, 0)
}

func (x *Index) machines(ctx context.Context, names []string, s history.Span, hold int64) (map[string]*history.Machine, error) {
	found := make([]*history.Machine, len(names))
	err := x.view(ctx, func(tx *snapshot) error {
		return settled(func(yield func(int, *dossier) bool) error {
			for i, name := range names {
				d, err := readDossier(ctx, tx, name, s)
				if err != nil {
					return fmt.Errorf("machine %s: %w", name, err)
				}
				if len(d.journals) > 0 && !yield(i, d) {
					return nil
				}
			}
			return nil
		}, func(i int, d *dossier) { found[i] = d.machine(s, hold) })
	})
	if err != nil {
		return nil, err
	}
	out := make(map[string]*history.Machine, len(names))
	for i, m := range found {
		if m != nil {
			out[names[i]] = m
		}
	}
	return out, nil
}

// settled opens the dossiers that read yields and settles them, side by side and while the next ones are read: a snapshot is
// read by one, and reading takes half of the time.
func settled(read func(yield func(int, *dossier) bool) error, settle func(int, *dossier)) error {
	type numbered struct {
		n int
		d *dossier
	}
	workers := runtime.GOMAXPROCS(0)
	work := make(chan numbered, 4*workers)
	errs := make([]error, workers)
	var failed atomic.Bool
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			for w := range work {
				if failed.Load() {
					continue
				}
				if err := w.d.open(); err != nil {
					errs[i] = fmt.Errorf("machine %s: %w", w.d.name, err)
					failed.Store(true)
					continue
				}
				settle(w.n, w.d)
			}
		})
	}
	err := read(func(n int, d *dossier) bool {
		work <- numbered{n, d}
		return !failed.Load()
	})
	close(work)
	all.Wait()
	return cmp.Or(err, errors.Join(errs...))
}

// A dossier is what the file holds of a machine for some months.
type dossier struct {
	name     string
	journals []*filed // in their order
	applied  []history.Plan
	cloned   []history.Span
}

// A filed journal is one with its closed runs.
type filed struct {
	id     int64
	name   string
	place  int64
	state  *kept
	packed []packedRow                  // until they are opened
	runs   map[string]*[2][]history.Run // by check ("*" for ranges of all), then class
}

// A packedRow is the runs of a check in a month as the file has them.
type packedRow struct {
	key   monthKey
	check string
	runs  []byte
	sum   int64
}

// loadMachine reads a machine; one that was never heard of has no journals. Its runs are complete for s, and may go beyond.
func loadMachine(ctx context.Context, tx *snapshot, name string, s history.Span) (*dossier, error) {
	d, err := readDossier(ctx, tx, name, s)
	if err != nil {
		return nil, err
	}
	return d, d.open()
}

// open checks and unpacks what was read.
func (d *dossier) open() error {
	for _, f := range d.journals {
		if err := f.open(); err != nil {
			return fmt.Errorf("journal %s: %w", f.name, err)
		}
	}
	return nil
}

// readDossier is loadMachine, but leaves the runs packed.
func readDossier(ctx context.Context, tx *snapshot, name string, s history.Span) (*dossier, error) {
	d := &dossier{name: name}
	m, there, err := tx.readMachine(ctx, name)
	if err != nil || !there {
		return d, err
	}
	js, err := readJournals(ctx, tx, m, "")
	if err != nil {
		return nil, err
	}
	if err := d.loadCloned(ctx, tx, m); err != nil {
		return nil, err
	}
	plans := map[string]*history.Plan{}
	for _, j := range js {
		if j.state == nil {
			return nil, damaged("journal %.80q has no state", j.name)
		}
		f := &filed{id: j.id, name: j.name, place: j.place, state: j.state, runs: map[string]*[2][]history.Run{}}
		d.journals = append(d.journals, f)
		if err := f.read(ctx, tx, s); err != nil {
			return nil, fmt.Errorf("journal %s: %w", f.name, err)
		}
		if err := d.loadPlans(ctx, tx, f, plans); err != nil {
			return nil, fmt.Errorf("journal %s: %w", f.name, err)
		}
	}
	return d, nil
}

// loadCloned reads when the machine was two.
func (d *dossier) loadCloned(ctx context.Context, tx *snapshot, m machineRow) error {
	err := rows(ctx, tx, func(r *sql.Rows) error {
		var since, sum int64
		var until sql.NullInt64
		if err := r.Scan(&since, &until, &sum); err != nil {
			return err
		}
		s, end := history.Span{From: since, To: lastSecond}, any(nil)
		if until.Valid {
			s.To, end = until.Int64, until.Int64
		}
		if sum != clonedSum(m.id, since, end) {
			return damaged("since when it was two")
		}
		d.cloned = append(d.cloned, s)
		return nil
	}, "SELECT since, until, sum FROM cloned WHERE machine = ? ORDER BY since", m.id)
	if err == nil && int64(len(d.cloned)) != m.cloned {
		err = damaged("it was two %d times instead of %d", len(d.cloned), m.cloned)
	}
	return err
}

// read reads the closed runs of the months of s, and leaves them packed.
func (f *filed) read(ctx context.Context, tx *snapshot, s history.Span) error {
	if s.Seconds() == 0 {
		return nil
	}
	if err := tx.readChecks(ctx); err != nil {
		return err
	}
	first, last := monthOf(s.From), monthOf(s.To-1)
	have := map[int]int64{}
	err := rows(ctx, tx, func(r *sql.Rows) error {
		p := packedRow{key: monthKey{journal: f.id}}
		if err := r.Scan(&p.key.check, &p.key.month, &p.key.class, &p.runs, &p.sum); err != nil {
			return err
		}
		var there bool
		if p.check, there = tx.checks[p.key.check]; !there {
			return damaged("check %d of the runs of month %d is not there", p.key.check, p.key.month)
		}
		have[p.key.month]++
		f.packed = append(f.packed, p)
		return nil
	}, "SELECT chk, month, class, packed, sum FROM runs WHERE journal = ? AND month BETWEEN ? AND ? ORDER BY month", f.id, first, last)
	if err != nil {
		return err
	}
	for m, want := range f.state.months {
		if m >= first && m <= last && have[m] != want {
			return damaged("%d packed runs of month %d are there instead of %d", have[m], m, want)
		}
	}
	return nil
}

// open checks and unpacks what was read.
func (f *filed) open() error {
	for _, p := range f.packed {
		if p.sum != runsSum(p.key, p.runs) {
			return damaged("the runs of check %.80s in month %d", p.check, p.key.month)
		}
		if err := f.add(p.check, p.key, p.runs); err != nil {
			return err
		}
	}
	f.packed = nil
	return nil
}

// add takes packed runs.
func (f *filed) add(check string, k monthKey, packed []byte) error {
	runs, err := unpack(packed, k.month)
	if err != nil {
		return fmt.Errorf("check %s: %w", check, err)
	}
	if k.class != results && k.class != ranges {
		return fmt.Errorf("check %s: class %d", check, k.class)
	}
	have := f.runs[check]
	if have == nil {
		have = &[2][]history.Run{}
		f.runs[check] = have
	}
	have[k.class] = slices.Grow(have[k.class], len(runs))
	for _, r := range runs {
		have[k.class] = history.Append(have[k.class], r)
	}
	return nil
}

// loadPlans reads the plans that a journal applied. plans are those that were read for others.
func (d *dossier) loadPlans(ctx context.Context, tx *snapshot, f *filed, plans map[string]*history.Plan) error {
	var have int64
	err := rows(ctx, tx, func(r *sql.Rows) error {
		var n, at, sum, ofPlan int64
		var sha string
		var text []byte
		if err := r.Scan(&n, &at, &sha, &sum, &text, &ofPlan); err != nil {
			return err
		}
		have++
		if sum != appliedSum(f.id, n, at, sha) || ofPlan != planSum(sha, text) {
			return damaged("plan %.80s", sha)
		}
		p := plans[sha]
		if p == nil {
			p = &history.Plan{}
			if err := json.Unmarshal(text, p); err != nil {
				return fmt.Errorf("plan %s: %w", sha, err)
			}
			plans[sha] = p
		}
		again := *p
		again.At = time.Unix(at, 0).UTC()
		d.applied = append(d.applied, again)
		return nil
	}, "SELECT a.n, a.at, a.sha256, a.sum, p.plan, p.sum FROM applied a JOIN plans p USING (sha256) WHERE a.journal = ? ORDER BY a.n", f.id)
	if err == nil && have != f.state.plans {
		err = damaged("%d plans are there instead of %d", have, f.state.plans)
	}
	return err
}

// checks returns the names of all checks that something is known of.
func (d *dossier) checks() []string {
	seen := map[string]bool{}
	for _, f := range d.journals {
		for id := range f.runs {
			seen[id] = true
		}
		for id := range f.state.Tails {
			seen[id] = true
		}
	}
	for _, p := range d.applied { // a range for all checks is one for each of them
		for _, c := range p.Checks {
			seen[c.ID] = true
		}
	}
	delete(seen, "*")
	return slices.Sorted(maps.Keys(seen))
}

// layers returns what the journals say of one check.
func (d *dossier) layers(id string) []history.Layer {
	out := make([]history.Layer, len(d.journals))
	for i, f := range d.journals {
		out[i] = history.Layer{Begun: f.state.Begun, Begin: f.state.Begin, Off: f.state.Off, Tail: f.state.Tails[id]}
		if r := f.runs[id]; r != nil {
			out[i].Closed, out[i].Ranges = r[results], r[ranges]
		}
		if r := f.runs["*"]; r != nil {
			out[i].All = r[ranges]
		}
	}
	return out
}

// machine settles what the journals say. The last result of a check is held for some more seconds where nothing else is
// known: 0 for every figure.
func (d *dossier) machine(s history.Span, hold int64) *history.Machine {
	m := &history.Machine{Name: d.name, Epochs: history.Epochs(d.applied, s.To), Runs: map[string][]history.Run{}}
	for _, id := range d.checks() {
		layers := d.layers(id)
		runs := history.Settle(layers, s)
		if n := len(runs); n > 0 && hold > 0 && runs[n-1].Reason != "" {
			runs = history.Over([]history.Run{held(layers, hold, s)}, runs)
		}
		if len(d.cloned) > 0 {
			runs = history.Park(runs, d.cloned, s)
		}
		m.Runs[id] = runs
	}
	return m
}

// held returns what the last result said, for hold seconds after it.
func held(layers []history.Layer, hold int64, s history.Span) history.Run {
	var last history.Tail
	for _, l := range layers {
		if l.Tail.Last.To >= last.Last.To {
			last = l.Tail
		}
	}
	return history.Run{Span: history.Span{From: last.Last.To, To: last.Last.To + hold}.Meet(s), Reason: last.Open.Reason}
}

// Dump writes every run that the file holds as text, sorted: one line for each stretch that a journal says something of a
// check, and for each plan that a machine applied. Two files that were fed the same batches give the same bytes,
// in whatever order machines came in and however batches were bundled.
func (x *Index) Dump(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriter(w)
	err := x.view(ctx, func(tx *snapshot) error {
		if err := tx.census(ctx); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(tx.names)) {
			d, err := loadMachine(ctx, tx, name, history.Span{From: firstSecond, To: lastSecond})
			if err != nil {
				return fmt.Errorf("machine %s: %w", name, err)
			}
			for _, c := range d.cloned {
				if _, err := fmt.Fprintf(out, "cloned %s %d %d\n", name, c.From, c.To); err != nil {
					return err
				}
			}
			for _, f := range d.journals {
				if err := f.dump(ctx, tx, out, name); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return errors.Join(err, out.Flush())
}

func (f *filed) dump(ctx context.Context, tx *snapshot, w io.Writer, machine string) error {
	j := f.state
	off := ""
	if j.Off != 0 { // it has not always been known
		off = fmt.Sprintf(" off %d", j.Off)
	}
	if _, err := fmt.Fprintf(w, "journal %s %d %s begin %d cut %d%s plan %s\n", machine, f.place, f.name, j.Begin, j.Cut, off, cmp.Or(j.Plan, "-")); err != nil {
		return err
	}
	d := &dossier{}
	if err := d.loadPlans(ctx, tx, f, map[string]*history.Plan{}); err != nil {
		return err
	}
	for _, p := range d.applied {
		if _, err := fmt.Fprintf(w, "plan %s %d %d %s version %d checks %d\n", machine, f.place, p.At.Unix(), p.SHA256, p.Version, len(p.Checks)); err != nil {
			return err
		}
	}
	for id := range j.Tails {
		if f.runs[id] == nil {
			f.runs[id] = &[2][]history.Run{}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(f.runs)) {
		runs := *f.runs[id]
		runs[results] = history.Append(runs[results], j.Tails[id].Open)
		for class, name := range []string{"result", "range"} {
			for _, r := range runs[class] {
				if _, err := fmt.Fprintf(w, "%s %s %d %s %d %d %s\n", name, machine, f.place, id, r.From, r.To, r.Reason); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
