package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// cursorRow is the one row of cursor.
type cursorRow struct{ next, machines int64 }

func (r cursorRow) checksum() int64 { return sumOf("cursor", r.next, r.machines) }

func readCursor(ctx context.Context, tx *snapshot) (r cursorRow, err error) {
	var sum int64
	err = tx.QueryRowContext(ctx, "SELECT next, machines, sum FROM cursor").Scan(&r.next, &r.machines, &sum)
	if errors.Is(err, sql.ErrNoRows) || err == nil && sum != r.checksum() {
		return r, damaged("the cursor")
	}
	return r, err
}

func (r cursorRow) write(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE cursor SET next = ?, machines = ?, sum = ?", r.next, r.machines, r.checksum())
	return err
}

// A machineRow is a machine.
type machineRow struct {
	id               int64
	name, unit       string
	journals, cloned int64
}

func (r machineRow) checksum() int64 {
	return sumOf("machines", r.id, r.name, r.unit, r.journals, r.cloned)
}

func (r *machineRow) scan(from scanner) error {
	var sum int64
	err := from.Scan(&r.id, &r.name, &r.unit, &r.journals, &r.cloned, &sum)
	if err == nil && sum != r.checksum() {
		err = damaged("machine %d, %.80q", r.id, r.name)
	}
	return err
}

func (r machineRow) write(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE machines SET unit = ?, journals = ?, cloned = ?, sum = ? WHERE id = ?",
		r.unit, r.journals, r.cloned, r.checksum(), r.id)
	return err
}

// readMachine finds a machine by its name. It is not there if the file never heard of it.
func (s *snapshot) readMachine(ctx context.Context, name string) (r machineRow, there bool, err error) {
	err = s.row(ctx, r.scan, "SELECT id, name, unit, journals, cloned, sum FROM machines WHERE name = ?", name)
	if errors.Is(err, sql.ErrNoRows) {
		return r, false, s.absent(ctx, name)
	}
	return r, err == nil, err
}

// absent makes sure that the file never heard of a machine: a damaged page may hide it from a search by name.
func (s *snapshot) absent(ctx context.Context, name string) error {
	if err := s.census(ctx); err != nil {
		return err
	}
	if s.names[name] {
		return damaged("machine %.80q is not found by its name", name)
	}
	return nil
}

// census fills in names.
func (s *snapshot) census(ctx context.Context) error {
	if s.names != nil {
		return nil
	}
	names := map[string]bool{}
	if err := rows(ctx, s, func(found *sql.Rows) error {
		var r machineRow
		err := r.scan(found)
		names[r.name] = true
		return err
	}, "SELECT id, name, unit, journals, cloned, sum FROM machines NOT INDEXED"); err != nil {
		return err
	}
	c, err := readCursor(ctx, s)
	if err == nil && int64(len(names)) != c.machines {
		err = damaged("%d machines are there instead of %d", len(names), c.machines)
	}
	if err == nil {
		s.names = names
	}
	return err
}

// A journalRow is a journal of a machine, but for its state.
type journalRow struct {
	id, machine int64
	name        string
	place       int64
	previous    string // "" until its begin has named one
}

func (r journalRow) checksum() int64 {
	return sumOf("journals", r.id, r.machine, r.name, r.place, null(r.previous))
}

// null is how an empty text stands in the file.
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (r journalRow) write(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE journals SET place = ?, previous = ?, sum = ? WHERE id = ?", r.place, null(r.previous), r.checksum(), r.id)
	return err
}

// stateSum is the checksum of a journal's packed state.
func stateSum(id int64, state []byte) int64 { return sumOf("state", id, state) }

// A storedJournal is a row as it is read.
type storedJournal struct {
	journalRow
	state *kept // nil in one that this transaction has made
}

// readJournals lists the journals of a machine by their place; with a name, that one alone.
func readJournals(ctx context.Context, tx *snapshot, m machineRow, name string) (out []storedJournal, err error) {
	query, args := "SELECT id, machine, name, place, previous, sum, state, state_sum FROM journals WHERE machine = ? ORDER BY place, id", []any{m.id}
	if name != "" {
		query, args = "SELECT id, machine, name, place, previous, sum, state, state_sum FROM journals WHERE machine = ? AND name = ?", []any{m.id, name}
	}
	err = rows(ctx, tx, func(found *sql.Rows) error {
		var j storedJournal
		var previous sql.NullString
		var sum int64
		var state []byte
		var ofState sql.NullInt64
		if err := found.Scan(&j.id, &j.machine, &j.name, &j.place, &previous, &sum, &state, &ofState); err != nil {
			return err
		}
		j.previous = previous.String
		if sum != j.checksum() || previous.Valid && j.previous == "" {
			return damaged("journal %d, %.80q", j.id, j.name)
		}
		if state != nil || ofState.Valid {
			if ofState.Int64 != stateSum(j.id, state) {
				return damaged("the state of journal %.80q", j.name)
			}
			if j.state, err = unpackJournal(state); err != nil {
				return fmt.Errorf("journal %.80q: %w", j.name, err)
			}
		}
		out = append(out, j)
		return nil
	}, query, args...)
	if err == nil && name == "" && int64(len(out)) != m.journals {
		err = damaged("%d journals are there instead of %d", len(out), m.journals)
	}
	return out, err
}

// A checkRow is the name of a check.
type checkRow struct {
	id   int64
	name string
}

func (r checkRow) checksum() int64 { return sumOf("checks", r.id, r.name) }

// readChecks fills in the names of all checks.
func (s *snapshot) readChecks(ctx context.Context) error {
	if s.checks != nil {
		return nil
	}
	checks := map[int64]string{}
	if err := rows(ctx, s, func(found *sql.Rows) error {
		var c checkRow
		var sum int64
		if err := found.Scan(&c.id, &c.name, &sum); err != nil {
			return err
		}
		if sum != c.checksum() {
			return damaged("check %d, %.80q", c.id, c.name)
		}
		checks[c.id] = c.name
		return nil
	}, "SELECT id, name, sum FROM checks NOT INDEXED"); err != nil {
		return err
	}
	s.checks = checks
	return nil
}

// runsSum is the checksum of packed runs.
func runsSum(k monthKey, packed []byte) int64 {
	return sumOf("runs", k.journal, int64(k.month), k.check, int64(k.class), packed)
}

func planSum(sha256 string, text []byte) int64 { return sumOf("plans", sha256, text) }

func appliedSum(journal, n, at int64, sha256 string) int64 {
	return sumOf("applied", journal, n, at, sha256)
}

func clonedSum(machine, since int64, until any) int64 { return sumOf("cloned", machine, since, until) }
