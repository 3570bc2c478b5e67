package index

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/collector/history"
)

func clonedAt(from, to int64) history.Event {
	c := &history.Cloned{From: at(from)}
	if to != 0 {
		c.To = at(to)
	}
	return history.Event{Cloned: c}
}

// While a machine is two, nothing of it is known, whatever it says and whatever it has said of that time before. What
// came before and comes after counts.
func TestCloned(t *testing.T) {
	x := opened(t)
	feed(t, x, history.Batch{Machine: "pc", Unit: "an-thanh", Journal: "a", Events: []history.Event{
		begin(0, ""), told(0, "p", "s.http 60", "s.other 60"),
		obs("s.http", 0, 60, check.OK), obs("s.http", 60, 60, check.OK), obs("s.http", 120, 60, check.Timeout),
	}}, history.Batch{Machine: "pc", Unit: "an-thanh", Journal: "b", Events: []history.Event{
		clonedAt(90, 0), begin(90, "a"), obs("s.http", 180, 60, check.OK),
	}})
	runs := func(id string) string {
		t.Helper()
		ms, err := x.Machines(t.Context(), []string{"pc"}, history.Span{From: at(0).Unix(), To: at(600).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range ms["pc"].Runs[id] {
			out = append(out, time.Duration(r.Seconds()*int64(time.Second)).String()+" "+string(r.Reason))
		}
		return strings.Join(out, ", ")
	}
	if got, want := runs("s.http"), "1m30s ok, 8m30s identity_cloned"; got != want {
		t.Errorf("while it is two: %s, want %s", got, want)
	}
	if got, want := runs("s.other"), "8m30s identity_cloned"; got != want {
		t.Errorf("a check that said nothing: %s, want %s", got, want)
	}
	feed(t, x, history.Batch{Machine: "pc", Unit: "an-thanh", Journal: "c", Events: []history.Event{
		clonedAt(90, 240), begin(240, ""), told(240, "p", "s.http 60", "s.other 60"), obs("s.http", 240, 60, check.OK),
	}})
	if got, want := runs("s.http"), "1m30s ok, 2m30s identity_cloned, 1m0s ok"; got != want {
		t.Errorf("enrolled again: %s, want %s", got, want)
	}
	var dump bytes.Buffer
	if err := x.Dump(t.Context(), &dump); err != nil {
		t.Fatal(err)
	}
	if line := "cloned pc "; strings.Count(dump.String(), line) != 1 {
		t.Errorf("the dump lacks %q, or has it more than once", line)
	}
}

// A file of an earlier version is filled again from the beginning of the log.
func TestFromEarlierVersions(t *testing.T) {
	batch := history.Batch{Machine: "pc", Unit: "u", Journal: "a", Events: []history.Event{begin(0, ""), told(0, "p", "s.http 60"), obs("s.http", 0, 60, check.OK)}}
	for version, change := range map[int]string{1: "DROP TABLE cloned", 2: "DELETE FROM runs", 3: "UPDATE journals SET state = NULL"} {
		path := filepath.Join(t.TempDir(), "history.db")
		var want, got bytes.Buffer
		for _, dump := range []*bytes.Buffer{&want, &got} {
			x, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if next, err := x.Cursor(t.Context()); next != 0 || err != nil {
				t.Errorf("version %d: the log is read from %d on, %v", version, next, err)
			}
			feed(t, x, batch)
			if err := x.Dump(t.Context(), dump); err != nil {
				t.Fatal(err)
			}
			if _, err := x.write.Exec(fmt.Sprintf("%s; PRAGMA user_version = %d", change, version)); err != nil {
				t.Fatal(err)
			}
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want.String(), got.String()); diff != "" {
			t.Errorf("version %d: -before +after:\n%s", version, diff)
		}
	}
}
