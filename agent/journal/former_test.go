package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/wire"
)

// A journal that somebody deleted is named by the one that comes next, as far as its head is known elsewhere.
func TestDeleted(t *testing.T) {
	for _, tt := range []struct {
		name   string
		spoil  func(file string) error
		cause  string
		before bool // names the one before
		head   bool // and its head
	}{
		{"the head is known", func(string) error { return nil }, "deleted", true, true},
		{"it is not", os.Remove, "first", false, false},
		{"its file is cut short", func(f string) error { return os.Truncate(f, 30) }, "first", false, false},
		{"its file is of another make", func(f string) error { return os.WriteFile(f, []byte("egovmon-head/9 x 1 -\n"), 0o600) }, "first", false, false},
		{"its file is huge", func(f string) error { return os.WriteFile(f, []byte(strings.Repeat("x", 1e6)), 0o600) }, "first", false, false},
		{"only the journal is known", func(f string) error {
			return os.WriteFile(f, fmt.Appendf(nil, "egovmon-head/1 %s 0 -\n", testJournal), 0o600)
		}, "deleted", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.o.Dir = filepath.Join(t.TempDir(), "journal")
			r.o.Former = filepath.Join(t.TempDir(), "journal.head")
			r.start()
			r.tick("a")
			head, hash := r.j.Head()
			if err := r.j.Ack(head); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.RemoveAll(r.o.Dir), tt.spoil(r.o.Former)); err != nil {
				t.Fatal(err)
			}
			r.clock = r.clock.Add(time.Hour)
			r.start()
			if !r.found.First || (r.found.Deleted != "") != tt.before {
				t.Errorf("found %+v", r.found)
			}
			r.tick("a")
			r.stop()
			recs, _ := r.sent()
			b := recs[0].Begin
			want := ""
			if tt.head {
				want = fmt.Sprintf("%d:%s", head.Seq, hash)
			}
			if b == nil || b.Cause != tt.cause || (b.PreviousJournal != "") != tt.before || b.PreviousHead != want {
				t.Errorf("the journal begins with %+v, want cause %s and head %q", b, tt.cause, want)
			}
			r.clock = r.clock.Add(time.Hour)
			r.start()
			if r.found.Deleted != "" || r.j.ID() != r.found.Journal {
				t.Errorf("at the start after that: %+v", r.found)
			}
		})
	}
}

// The folder is deleted under a running agent: as soon as the collector is to be sent something, a new journal begins,
// in a new folder, and from then on nothing is lost.
func TestDeletedMeanwhile(t *testing.T) {
	r := newRig(t)
	r.tick("a")
	old := r.j.ID()
	if err := os.RemoveAll(r.o.Dir); err != nil {
		t.Fatal(err)
	}
	r.clock = r.clock.Add(time.Minute)
	r.tick("a")
	_, err := r.j.Batches(wire.Head{}, 10, 1<<20)
	if damage, ok := errors.AsType[*DamagedError](err); !ok || damage.Journal != old {
		t.Fatalf("batches of a folder that is gone: %v", err)
	}
	if err := r.j.Rotate("fork", r.clock); err != nil { // as the pusher does
		t.Fatal(err)
	}
	want := r.tick("a", "b")
	want = append(want, r.tick("a", "b")...) // not sealed yet
	r.start()                                // killed
	want = append(want, r.tick("a")...)
	r.stop()
	r.wantResults(want)
	recs, _ := r.sent()
	if b := recs[0].Begin; b == nil || b.PreviousJournal != old {
		t.Errorf("the new journal begins with %+v, want one that names %s", b, old)
	}
}
