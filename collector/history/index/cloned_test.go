package index

import (
	"bytes"
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

// A file of the version before is taken over.
func TestFromVersion1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	feed(t, x, history.Batch{Machine: "pc", Unit: "u", Journal: "a", Events: []history.Event{begin(0, ""), told(0, "p", "s.http 60"), obs("s.http", 0, 60, check.OK)}})
	var before, after bytes.Buffer
	if err := x.Dump(t.Context(), &before); err != nil {
		t.Fatal(err)
	}
	if _, err := x.write.Exec("DROP TABLE cloned; PRAGMA user_version = 1"); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if x, err = Open(path); err != nil {
			t.Fatal(err)
		}
		after.Reset()
		if err := x.Dump(t.Context(), &after); err != nil {
			t.Fatal(err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before.String(), after.String()); diff != "" {
			t.Fatalf("-before +after:\n%s", diff)
		}
	}
}
