package push

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/wire"
)

// prefix returns a log with the first n leaves of l, as an older copy of it has.
func (l *log) prefix(n int64) *log {
	c := &log{signer: l.signer}
	for _, leaf := range l.leaves[:n] {
		c.add(leaf)
	}
	return c
}

// Two signed checkpoints that cannot both be true are a fork, whatever their sizes; an older state of the collector is
// a rewind; an old answer on the way is neither. In none of them is a result lost or the checkpoint given up.
func TestContradictions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		break_ func(r *rig)
		want   error
		shown  bool // the collector is shown what it signed
	}{
		{"set back to an older state", func(r *rig) { r.c.log = r.c.log.prefix(3) }, ErrRewound, true},
		{"set back, and grown differently since", func(r *rig) {
			r.c.log = r.c.log.prefix(3)
			for i := range 20 {
				r.c.log.add(fmt.Sprint("another leaf ", i))
			}
		}, ErrLog, true},
		{"an old answer replayed", func(r *rig) {
			old := r.c.log.prefix(3).checkpoint()
			r.c.change = func(a *wire.Answer, h http.Header) {
				if last := r.c.calls[len(r.c.calls)-1]; strings.HasPrefix(last, "POST") {
					a.Checkpoint = old
					h.Del(wire.HeaderProof)
				}
			}
		}, ErrReplayed, false},
		{"an old answer from another history", func(r *rig) {
			other := &log{signer: r.c.log.signer}
			for i := range 3 {
				other.add(fmt.Sprint("another leaf ", i))
			}
			old := other.checkpoint()
			r.c.change = func(a *wire.Answer, _ http.Header) {
				if last := r.c.calls[len(r.c.calls)-1]; strings.HasPrefix(last, "POST") {
					a.Checkpoint = old
				}
			}
		}, ErrLog, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			var said strings.Builder
			r.o.Log = slog.New(slog.NewTextHandler(&said, nil))
			r.restart()
			for range 6 {
				r.measure()
				r.round()
			}
			before, signed := r.p.tree, string(r.p.signed)
			tt.break_(r)
			r.measure()
			r.round()
			r.arrived()
			if r.p.tree != before {
				t.Errorf("the checkpoint went from %v to %v", before, r.p.tree)
			}
			want := []uint64{1, 0}
			if errors.Is(tt.want, ErrReplayed) {
				want = []uint64{0, 1}
			}
			if s := r.p.Stats(); s.Refused != want[0] || s.Replayed != want[1] {
				t.Errorf("%d refused, %d replayed, want %d", s.Refused, s.Replayed, want)
			}
			if !strings.Contains(said.String(), tt.want.Error()) {
				t.Errorf("the log does not say %q:\n%s", tt.want, said.String())
			}
			if got := slices.Contains(r.c.shown, signed); got != tt.shown {
				t.Errorf("the collector was shown its own checkpoint: %v, want %v", got, tt.shown)
			}
			if _, err := os.Stat(filepath.Join(r.o.Dir, RefusedFile)); (err == nil) != tt.shown {
				t.Errorf("evidence is kept: %v, want %v", err == nil, tt.shown)
			}
			r.restart()
			if r.p.tree != before || string(r.p.signed) != signed {
				t.Errorf("after a start the checkpoint is %v, want %v", r.p.tree, before)
			}
		})
	}
}

// What speaks against the collector is kept, each piece once, and not without bound.
func TestRefusedIsBounded(t *testing.T) {
	r := newRig(t)
	var all string
	for i := range 1000 {
		msg := fmt.Sprintf("egovmon/tu-ky/log/1\n%d\nx\n\n— x %s\n", i%500, strings.Repeat("y", 200))
		r.p.keepRefused([]byte(msg))
		if i == 0 {
			all = msg
		}
	}
	b, err := os.ReadFile(filepath.Join(r.o.Dir, RefusedFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > maxRefused || strings.Count(string(b), all) != 1 {
		t.Errorf("%d bytes, the first one %d times", len(b), strings.Count(string(b), all))
	}
}

// Every checkpoint that verified can be put together again from the history.
func TestHistory(t *testing.T) {
	r := newRig(t)
	var seen []string
	for range 4 {
		r.measure()
		r.round()
		seen = append(seen, string(r.p.signed))
	}
	b, err := os.ReadFile(filepath.Join(r.o.Dir, HistoryFile))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != len(seen)+1 || lines[0]+"\n" != historyHead {
		t.Fatalf("%d lines for %d checkpoints:\n%s", len(lines), len(seen), b)
	}
	for i, line := range lines[1:] {
		f := strings.Fields(line)
		again := fmt.Sprintf("%s\n%s\n%s\n\n— %s %s\n", f[1], f[2], f[3], f[1], f[4])
		if again != seen[i] {
			t.Errorf("line %d gives %q, want %q", i, again, seen[i])
		}
		if _, err := note.Open([]byte(again), note.VerifierList(r.o.LogKey)); err != nil {
			t.Error(err)
		}
	}
}

func TestThin(t *testing.T) {
	now := start
	var b strings.Builder
	b.WriteString(historyHead)
	for at := now.Add(-60 * 24 * time.Hour); at.Before(now); at = at.Add(10 * time.Minute) {
		fmt.Fprintf(&b, "%s log 1 x y\n", at.Format(time.RFC3339))
	}
	b.WriteString("a torn li")
	got := string(thin([]byte(b.String()), now))
	lines := strings.Count(got, "\n") - 1
	if want := 31 + 29*24 + 144; lines < want-3 || lines > want+3 { // days, hours, each
		t.Errorf("%d lines are left, want about %d", lines, want)
	}
	if again := string(thin([]byte(got), now)); again != got {
		t.Error("thinning twice takes more away")
	}
	if strings.Contains(got, "torn") {
		t.Error("a torn line is kept")
	}
	big := historyHead + strings.Repeat(fmt.Sprintf("%s %s\n", now.Format(time.RFC3339), strings.Repeat("x", 200)), 1)
	for i := 0; len(big) < 2*maxHistory; i++ {
		big += fmt.Sprintf("%s %d %s\n", now.Format(time.RFC3339), i, strings.Repeat("x", 1000))
	}
	if n := len(thin([]byte(big), now)); n > maxHistory/2+len(historyHead) {
		t.Errorf("%d bytes are left", n)
	}
}

// Between two proofs, too, a log that became shorter than what was signed is told of at once, and one that grew
// differently with the next proof.
func TestBetweenProofs(t *testing.T) {
	for _, tt := range []struct {
		name string
		grow int // other leaves, after the log was set back
		want error
	}{{"set back", 2, ErrRewound}, {"grown differently", 30, ErrLog}} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			var said strings.Builder
			r.o.Log, r.o.Prove = slog.New(slog.NewTextHandler(&said, nil)), time.Hour
			r.restart()
			for range 10 {
				r.measure()
				r.round()
			}
			proven, latest := r.p.tree, r.p.latest
			if latest.N < proven.N+3 {
				t.Fatalf("%d leaves were seen and %d proven", latest.N, proven.N)
			}
			r.c.log = r.c.log.prefix(proven.N + 1)
			for i := range tt.grow {
				r.c.log.add(fmt.Sprint("another leaf ", i))
			}
			if errors.Is(tt.want, ErrLog) {
				r.clock = r.clock.Add(2 * time.Hour)
			}
			r.measure()
			r.round()
			r.arrived()
			r.refused(1)
			if !strings.Contains(said.String(), tt.want.Error()) {
				t.Errorf("the log does not say %q:\n%s", tt.want, said.String())
			}
			if len(r.c.shown) != 1 || !strings.Contains(r.c.shown[0], fmt.Sprintf("\n%d\n", latest.N)) {
				t.Errorf("the collector was shown %q", r.c.shown)
			}
			if r.p.tree != proven {
				t.Errorf("the checkpoint went from %v to %v", proven, r.p.tree)
			}
		})
	}
}
