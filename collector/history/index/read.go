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
	"slices"
	"time"

	"egovmon/collector/history"
)

// A Subject is one check of one machine.
type Subject struct {
	Machine string
	Unit    string // of the machine's last batch
	Check   string
}

// view runs f in one snapshot of the file.
func (x *Index) view(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := x.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("history index %s: %w", x.path, err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	if err := f(tx); err != nil {
		return fmt.Errorf("history index %s: %w", x.path, err)
	}
	return nil
}

// rows calls scan for every row of a query.
func rows(ctx context.Context, tx *sql.Tx, scan func(*sql.Rows) error, query string, args ...any) error {
	found, err := tx.QueryContext(ctx, query, args...)
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

// Subjects lists what there are runs of, by machine and check.
func (x *Index) Subjects(ctx context.Context) ([]Subject, error) {
	var out []Subject
	err := x.view(ctx, func(tx *sql.Tx) error {
		seen := map[Subject]bool{}
		if err := rows(ctx, tx, func(r *sql.Rows) error {
			var s Subject
			err := r.Scan(&s.Machine, &s.Unit, &s.Check)
			seen[s] = true
			return err
		}, `SELECT DISTINCT m.name, m.unit, c.name FROM runs r JOIN journals j ON j.id = r.journal JOIN machines m ON m.id = j.machine
			JOIN checks c ON c.id = r.chk WHERE r.chk <> 0`); err != nil {
			return err
		}
		return rows(ctx, tx, func(r *sql.Rows) error {
			var s Subject
			var state []byte
			if err := r.Scan(&s.Machine, &s.Unit, &state); err != nil {
				return err
			}
			j, err := unpackJournal(state)
			if err != nil {
				return err
			}
			for s.Check = range j.Tails {
				seen[s] = true
			}
			out = slices.SortedFunc(maps.Keys(seen), func(a, b Subject) int {
				return cmp.Or(cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.Check, b.Check))
			})
			return nil
		}, "SELECT m.name, m.unit, j.state FROM journals j JOIN machines m ON m.id = j.machine WHERE j.state IS NOT NULL")
	})
	return out, err
}

// Runs returns what is known of one check of one machine in [from, to), by time. What no result and no range speaks for
// is left out. A subject that was never heard of has no runs.
func (x *Index) Runs(ctx context.Context, machine, id string, from, to time.Time) ([]history.Run, error) {
	s := history.Span{From: from.Unix(), To: to.Unix()}
	var out []history.Run
	err := x.view(ctx, func(tx *sql.Tx) error {
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
	out := map[string]*history.Machine{}
	err := x.view(ctx, func(tx *sql.Tx) error {
		for _, name := range names {
			d, err := loadMachine(ctx, tx, name, s)
			if err != nil {
				return fmt.Errorf("machine %s: %w", name, err)
			}
			if len(d.journals) > 0 {
				out[name] = d.machine(s, hold)
			}
		}
		return nil
	})
	return out, err
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
	id    int64
	name  string
	place int
	state *history.Journal
	runs  map[string]*[2][]history.Run // by check ("*" for ranges of all), then class
}

// loadMachine reads a machine. Its runs are complete for s, and may go beyond.
func loadMachine(ctx context.Context, tx *sql.Tx, name string, s history.Span) (*dossier, error) {
	d := &dossier{name: name}
	err := rows(ctx, tx, func(r *sql.Rows) error {
		f := &filed{runs: map[string]*[2][]history.Run{}, state: &history.Journal{}}
		var state []byte
		if err := r.Scan(&f.id, &f.name, &f.place, &state); err != nil {
			return err
		}
		d.journals = append(d.journals, f)
		if state == nil {
			return nil
		}
		var err error
		f.state, err = unpackJournal(state)
		return err
	}, `SELECT j.id, j.name, j.place, j.state FROM journals j JOIN machines m ON m.id = j.machine WHERE m.name = ? ORDER BY j.place`, name)
	if err != nil {
		return nil, err
	}
	if err := d.loadCloned(ctx, tx); err != nil {
		return nil, err
	}
	plans := map[string]*history.Plan{}
	for _, f := range d.journals {
		if err := f.load(ctx, tx, s); err != nil {
			return nil, fmt.Errorf("journal %s: %w", f.name, err)
		}
		if err := d.loadPlans(ctx, tx, f.id, plans); err != nil {
			return nil, fmt.Errorf("journal %s: %w", f.name, err)
		}
	}
	return d, nil
}

// loadCloned reads when the machine was two.
func (d *dossier) loadCloned(ctx context.Context, tx *sql.Tx) error {
	return rows(ctx, tx, func(r *sql.Rows) error {
		var s history.Span
		err := r.Scan(&s.From, &s.To)
		d.cloned = append(d.cloned, s)
		return err
	}, "SELECT since, coalesce(until, ?) FROM cloned JOIN machines m ON m.id = machine WHERE m.name = ? ORDER BY since", int64(lastSecond), d.name)
}

// load reads the closed runs of the months of s.
func (f *filed) load(ctx context.Context, tx *sql.Tx, s history.Span) error {
	if s.Seconds() == 0 {
		return nil
	}
	return rows(ctx, tx, func(r *sql.Rows) error {
		var name string
		var n, class int
		var packed []byte
		if err := r.Scan(&name, &n, &class, &packed); err != nil {
			return err
		}
		runs, err := unpack(packed, n)
		if err != nil {
			return fmt.Errorf("check %s: %w", name, err)
		}
		have := f.runs[name]
		if have == nil {
			have = &[2][]history.Run{}
			f.runs[name] = have
		}
		if class != results && class != ranges {
			return fmt.Errorf("check %s: class %d", name, class)
		}
		for _, r := range runs {
			have[class] = history.Append(have[class], r)
		}
		return nil
	}, `SELECT c.name, r.month, r.class, r.packed FROM runs r JOIN checks c ON c.id = r.chk
		WHERE r.journal = ? AND r.month BETWEEN ? AND ? ORDER BY r.month`, f.id, monthOf(s.From), monthOf(s.To-1))
}

func (d *dossier) loadPlans(ctx context.Context, tx *sql.Tx, journal int64, plans map[string]*history.Plan) error {
	return rows(ctx, tx, func(r *sql.Rows) error {
		var at int64
		var sha string
		var text []byte
		if err := r.Scan(&at, &sha, &text); err != nil {
			return err
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
	}, "SELECT a.at, a.sha256, p.plan FROM applied a JOIN plans p USING (sha256) WHERE a.journal = ? ORDER BY a.n", journal)
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
	err := x.view(ctx, func(tx *sql.Tx) error {
		var names []string
		if err := rows(ctx, tx, func(r *sql.Rows) error {
			var name string
			err := r.Scan(&name)
			names = append(names, name)
			return err
		}, "SELECT name FROM machines ORDER BY name"); err != nil {
			return err
		}
		for _, name := range names {
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

func (f *filed) dump(ctx context.Context, tx *sql.Tx, w io.Writer, machine string) error {
	j := f.state
	if _, err := fmt.Fprintf(w, "journal %s %d %s begin %d cut %d off %d plan %s\n", machine, f.place, f.name, j.Begin, j.Cut, j.Off, cmp.Or(j.Plan, "-")); err != nil {
		return err
	}
	d := &dossier{}
	if err := d.loadPlans(ctx, tx, f.id, map[string]*history.Plan{}); err != nil {
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
