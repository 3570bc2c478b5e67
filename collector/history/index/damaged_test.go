package index

import (
	"bytes"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/collector/history"
)

var everyByte = flag.Bool("every-byte", false, "flip a bit in each byte of a file, not in some")

// lived is a small file with every kind of row: two machines, one of them two for a while, journals in a chain, plans,
// results and ranges of two months.
func lived(t *testing.T, path string) {
	t.Helper()
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	feed(t, x, twoDesks()...)
	const later = 31 * 24 * 60 * 60
	feed(t, x,
		batch("a", "j1", begin(0, ""), told(0, "p", "s.web 60"), obs("s.web", later, 60, check.OK), obs("s.web", later+60, 60, check.Timeout),
			obs("s.web", later+120, 60, check.OK), missed("*", 500, 700, check.MissedOverrun), end(later+200)),
		batch("a", "j2", begin(later+300, "j1"), told(later+300, "q", "s.web 60"), obs("s.web", later+300, 60, check.OK)),
		history.Batch{Machine: "a", Unit: "xa-a", Journal: "j2", Events: []history.Event{{Cloned: &history.Cloned{From: at(900), To: at(1000)}}}},
		history.Batch{Machine: "b", Unit: "xa-b", Journal: "j9", Events: []history.Event{{Cloned: &history.Cloned{From: at(900)}}}},
	)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

// all reads everything that the file holds, and takes one more batch.
func all(t *testing.T, path string) (before, after string, err error) {
	t.Helper()
	x, err := Open(path)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = x.Close() }()
	var out bytes.Buffer
	if err := x.Dump(t.Context(), &out); err != nil {
		return "", "", err
	}
	next, err := x.Cursor(t.Context())
	if err != nil {
		return "", "", err
	}
	before = fmt.Sprintf("next %d\n%s", next, out.String())
	more := batch("a", "j2", obs("s.web", 60*24*60*60, 60, check.Slow), obs("s.new", 60*24*60*60, 60, check.Slow), obs("s.web", 61*24*60*60, 60, check.OK))
	more.Leaf = next
	if err := x.Add(t.Context(), more); err != nil {
		return before, "", err
	}
	out.Reset()
	err = x.Dump(t.Context(), &out)
	return before, out.String(), err
}

// Whatever bit of a row has gone bad, the row is an error that says what to do, and no figure.
func TestFlippedRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	lived(t, path)
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	want := dump(t, x)
	flips := map[string]int{}
	for _, table := range []string{"cursor", "machines", "cloned", "checks", "journals", "plans", "applied", "runs"} {
		names, stored := contents(t, x, table)
		same := strings.Join(names, " IS ? AND ") + " IS ?"
		for _, row := range stored {
			for i, name := range names {
				for _, bad := range flipped(row[i]) {
					after := append([]any{}, row...)
					after[i] = bad
					change := fmt.Sprintf("UPDATE %s SET %s = ? WHERE %s", table, name, same)
					if _, err := x.write.Exec(change, append([]any{bad}, row...)...); err != nil {
						continue // another row has this key
					}
					flips[table]++
					_, err := x.Cursor(t.Context())
					if err == nil {
						err = x.Dump(t.Context(), &bytes.Buffer{})
					}
					if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "collector rebuild") || !strings.Contains(err.Error(), path) {
						t.Errorf("%s.%s of %.60v is %.60v: %v", table, name, row, bad, err)
					}
					if _, err := x.write.Exec(change, append([]any{row[i]}, after...)...); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if flips[table] < 6 {
			t.Errorf("table %s was flipped in %d places only", table, flips[table])
		}
	}
	if got := dump(t, x); got != want {
		t.Error("the flips were not all taken back")
	}
}

// contents returns the columns of a table and its rows.
func contents(t *testing.T, x *Index, table string) (names []string, out [][]any) {
	t.Helper()
	found, err := x.write.Query("SELECT * FROM " + table)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = found.Close() }()
	if names, err = found.Columns(); err != nil {
		t.Fatal(err)
	}
	for found.Next() {
		row, to := make([]any, len(names)), make([]any, len(names))
		for i := range row {
			to[i] = &row[i]
		}
		if err := found.Scan(to...); err != nil {
			t.Fatal(err)
		}
		out = append(out, row)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return names, out
}

// flipped returns a value with one bit changed, in some places of it.
func flipped(v any) (out []any) {
	switch v := v.(type) {
	case int64:
		out = append(out, v^1, v^1<<31)
	case string:
		for i := range v {
			b := []byte(v)
			b[i] ^= 1
			out = append(out, string(b))
		}
	case []byte:
		for i := range v {
			b := bytes.Clone(v)
			b[i] ^= 1 << (i % 8)
			out = append(out, b)
		}
	case nil:
		out = append(out, int64(1))
	}
	return out
}

// Whatever byte of the file has gone bad, what it holds is given as it was, or there is an error that says what to do: no
// figure changes, and nothing is lost. It takes -every-byte to see it of each of them.
func TestFlippedBytes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	lived(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantBefore, wantAfter, err := all(t, path)
	if err != nil {
		t.Fatal(err)
	}
	var places []int // most of the pages is empty
	for i, b := range whole {
		if b != 0 || i%100 == 0 {
			places = append(places, i)
		}
	}
	rnd := rand.New(rand.NewPCG(4, 4))
	if !*everyByte {
		rnd.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
		places = places[:150]
	}
	found, fine := 0, 0
	for _, i := range places {
		bad := bytes.Clone(whole)
		bad[i] ^= 1 << rnd.IntN(8)
		if err := errors.Join(Remove(path), os.WriteFile(path, bad, 0o600)); err != nil {
			t.Fatal(err)
		}
		before, after, err := all(t, path)
		empty := before == "next 0\n" // of another version: it is filled again
		switch {
		case err != nil && !strings.Contains(err.Error(), "collector rebuild"):
			t.Errorf("byte %d: the error does not say what to do: %v", i, err)
		case before != "" && before != wantBefore && !empty:
			t.Errorf("byte %d: it holds something else", i)
		case err == nil && after != wantAfter && !empty:
			t.Errorf("byte %d: after a batch more it holds something else", i)
		case err != nil:
			found++
		default:
			fine++
		}
	}
	t.Logf("%d flips were found, %d changed nothing", found, fine)
	if found == 0 {
		t.Error("no flip was found")
	}
}

// A row that a damaged page hides from a search is missed.
func TestHiddenRows(t *testing.T) {
	for _, gone := range []string{
		"DELETE FROM cursor", "DELETE FROM machines WHERE name = 'b'", "DELETE FROM journals WHERE name = 'j1'",
		"DELETE FROM cloned WHERE machine = 1", "DELETE FROM checks WHERE name = 's.web'", "DELETE FROM plans WHERE sha256 = 'p'",
		"DELETE FROM applied WHERE n = 0", "DELETE FROM runs WHERE class = 1", "UPDATE journals SET state = NULL, state_sum = NULL WHERE name = 'j1'",
	} {
		path := filepath.Join(t.TempDir(), "history.db")
		lived(t, path)
		db, err := sql.Open("sqlite", path)
		if err == nil {
			_, err = db.Exec(gone)
		}
		if err = errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := all(t, path); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", gone, err)
		}
	}
}

// TestFiguresOfDamagedRuns: where the runs of one machine among many have gone bad, figures are an error that names the
// machine, however many others are being read and settled beside it.
func TestFiguresOfDamagedRuns(t *testing.T) {
	const machines, bad = 40, 23
	x := opened(t)
	var names []string
	for i := range machines {
		m := fmt.Sprintf("m%02d", i)
		names = append(names, m)
		feed(t, x, batch(m, "j", begin(0, ""), told(0, "p", "s.web 60"), obs("s.web", 0, 60, check.OK), obs("s.web", 60, 60, check.Timeout), obs("s.web", 120, 60, check.OK)))
	}
	s := history.Span{From: at(0).Unix(), To: at(3600).Unix()}
	whole, err := x.Machines(t.Context(), names, s)
	if err != nil || len(whole) != machines {
		t.Fatalf("%d machines, %v", len(whole), err)
	}
	for name, m := range whole {
		if m.Name != name || len(m.Runs["s.web"]) == 0 {
			t.Fatalf("machine %s is %s with %d runs", name, m.Name, len(m.Runs["s.web"]))
		}
	}
	if _, err := x.write.Exec("UPDATE runs SET sum = sum + 1 WHERE journal = (SELECT j.id FROM journals j JOIN machines m ON m.id = j.machine WHERE m.name = ?)", names[bad]); err != nil {
		t.Fatal(err)
	}
	got, err := x.Machines(t.Context(), names, s)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(fmt.Sprint(err), "machine "+names[bad]+":") || got != nil {
		t.Errorf("%d machines, %v; want an error that names %s", len(got), err, names[bad])
	}
}
