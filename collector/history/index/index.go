package index

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

//go:embed schema.sql
var schema string

// schemaVersion is PRAGMA user_version of a file that schema made.
const schemaVersion = 5

// emptied takes everything out of a file of an earlier version, which knew less of a batch. The cursor of the new one is at
// the beginning of the log, so that it is read again.
const emptied = `DROP TABLE IF EXISTS runs; DROP TABLE IF EXISTS applied; DROP TABLE IF EXISTS plans; DROP TABLE IF EXISTS journals;
	DROP TABLE IF EXISTS checks; DROP TABLE IF EXISTS cloned; DROP TABLE IF EXISTS machines; DROP TABLE IF EXISTS cursor`

// keptJournals is how many journals' states stay in memory between batches.
const keptJournals = 4096

// An Index is an open file. Its methods may be called from several goroutines.
type Index struct {
	path  string
	write *sql.DB // one connection
	read  *sql.DB

	mu       sync.Mutex      // one Add at a time
	journals map[int64]*kept // states as they are in the file, by row
}

// Open opens the file, or makes an empty one, readable by its owner only. A file of another version is an error; delete
// it, and rebuild.
func Open(path string) (*Index, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("history index: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("history index: %w", err)
	}
	x := &Index{path: path, journals: map[int64]*kept{}}
	if x.write, err = open(path, "immediate"); err != nil {
		return nil, err
	}
	x.write.SetMaxOpenConns(1)
	if x.read, err = open(path, "deferred"); err != nil {
		return nil, errors.Join(err, x.write.Close())
	}
	x.read.SetMaxOpenConns(max(2, runtime.NumCPU()))
	if err := x.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("history index %s: %w", path, err), x.Close())
	}
	return x, nil
}

// open opens a pool of connections. What SQLite has acknowledged survives a kill; a power cut may take the last
// transactions with their cursor, and those batches come again from the log.
func open(path, lock string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("history index: %w", err)
	}
	slash := filepath.ToSlash(abs)
	if slash[0] != '/' {
		slash = "/" + slash
	}
	u := url.URL{Scheme: "file", Path: slash, RawQuery: url.Values{
		"_txlock": {lock},
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)"},
	}.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("history index %s: %w", path, err)
	}
	return db, nil
}

// prepare makes the tables of an empty file.
func (x *Index) prepare() error {
	var version int
	if err := x.write.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("it cannot be read, delete it and run `collector rebuild`: %w", explained(err))
	}
	switch version {
	case schemaVersion:
		return nil
	case 0, 1, 2, 3, 4:
		first := fmt.Sprintf("INSERT INTO cursor VALUES (0, 0, %d); INSERT INTO checks VALUES (0, '*', %d)",
			cursorRow{}.checksum(), checkRow{0, "*"}.checksum())
		_, err := x.write.Exec(fmt.Sprintf("BEGIN IMMEDIATE; %s; %s; %s; PRAGMA user_version = %d; COMMIT", emptied, schema, first, schemaVersion))
		return err
	default:
		return fmt.Errorf("it has version %d, this program reads %d: delete it and run `collector rebuild`", version, schemaVersion)
	}
}

// Close closes the file. Calls under way fail.
func (x *Index) Close() error {
	return errors.Join(x.read.Close(), x.write.Close())
}

// Cursor returns the index of the first leaf that was not yet given to Add: a feed goes on from there.
func (x *Index) Cursor(ctx context.Context) (int64, error) {
	var c cursorRow
	err := x.view(ctx, func(tx *snapshot) (err error) {
		c, err = readCursor(ctx, tx)
		return err
	})
	return c.next, err
}

// Remove deletes the file, which nobody may have open, so that Open makes an empty one. A file that is not there is none
// to delete.
func Remove(path string) error {
	var errs []error
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + end); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("history index: %w", err))
		}
	}
	return errors.Join(errs...)
}
