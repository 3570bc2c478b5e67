package journal

import (
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/wire"
)

func TestWaiting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	if b, err := Waiting(dir); err != nil || b != (Backlog{}) {
		t.Errorf("a folder that is not there: %+v, %v", b, err)
	}
	skey, _, err := note.GenerateKey(rand.Reader, "egovmon/d/journal/pc-01")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	j, _, err := OpenJournal(Options{Dir: dir, Machine: "pc-01", Signer: signer, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Begin(now); err != nil {
		t.Fatal(err)
	}
	record := func() {
		now = now.Add(time.Second)
		r := check.Result{Check: "a", Slot: now, Start: now, Took: time.Millisecond, State: check.Up, Reason: check.OK, Attempts: 1}
		if err := j.Record([]check.Result{r}, nil); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, batches, records int) {
		t.Helper()
		b, err := Waiting(dir)
		if err != nil || b.Batches != batches || b.Records != records || b.Oldest.IsZero() != (batches == 0) {
			t.Errorf("%s: %+v, %v; want %d batches, %d records", what, b, err, batches, records)
		}
	}
	record() // the first result of a check is sealed at once
	want("one batch", 1, 2)
	record()
	want("one batch, and a record of the open one", 1, 3)
	if err := j.Ack(wire.Head{Journal: j.ID(), Seq: 1}); err != nil {
		t.Fatal(err)
	}
	want("the batch is acknowledged", 0, 1)
	if err := j.Close("stop", now); err != nil {
		t.Fatal(err)
	}
	// The file of the open batch still holds the record that is sealed by now.
	want("closed", 1, 2)
	n := 0
	for e := range Read(dir) {
		n += len(e.Records)
	}
	if n != 4 {
		t.Errorf("%d records are read, want 4, each once", n)
	}
}
