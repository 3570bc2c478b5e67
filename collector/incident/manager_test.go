package incident

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/collector/evidence"
	"egovmon/collector/verdict"
)

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// A house is a log in a folder, and managers over it.
type house struct {
	t   *testing.T
	dir string
	key string
	log *evidence.Store
	m   *Manager
	now time.Time

	verifier note.Verifier
}

func newHouse(t *testing.T) *house {
	t.Helper()
	key, public, err := note.GenerateKey(rand.Reader, "egovmon/d/log/1")
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, dir: t.TempDir(), key: key, now: start, verifier: v}
	h.open()
	t.Cleanup(func() { _ = h.log.Close() })
	return h
}

func (h *house) open() {
	h.t.Helper()
	s, err := note.NewSigner(h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	h.log, err = evidence.Open(evidence.Options{Dir: filepath.Join(h.dir, "evidence"), Origin: s.Name(), Signer: s, Verifier: h.verifier})
	if err != nil {
		h.t.Fatal(err)
	}
	h.m, err = Open(h.t.Context(), Options{Dir: filepath.Join(h.dir, "incident"), Log: h.log, Now: func() time.Time { return h.now },
		Logger: slog.New(slog.DiscardHandler), Model: func(time.Time) verdict.Model {
			return verdict.Model{Services: map[string]verdict.Service{"mail": {Every: every}}}
		}})
	if err != nil {
		h.t.Fatal(err)
	}
}

// reopen is a restart.
func (h *house) reopen() {
	h.t.Helper()
	if err := h.log.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.open()
}

func (h *house) observe(state check.State, reason check.Reason, since, last time.Time) {
	h.t.Helper()
	h.now = last.Add(2 * time.Second)
	err := h.m.Observe(h.t.Context(), h.now, []verdict.Standing{{Service: "mail", State: state, Reason: reason, Since: since, Last: last}})
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestEveryEventIsALeaf(t *testing.T) {
	h := newHouse(t)
	h.observe(check.Down, check.ConnectRefused, start, start.Add(every))
	id := h.m.Open()[0].ID
	if err := h.m.Ack(t.Context(), id, "operator@local", "đã gọi\nđơn vị vận hành"); err != nil {
		t.Fatal(err)
	}
	h.observe(check.Up, check.OK, start.Add(2*every), start.Add(3*every))
	var got []string
	for s, err := range h.log.Leaves(0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(s.Leaf.Bytes()))
	}
	want := []string{
		"egovmon-leaf/1 incident\nat 2026-11-23T03:00:17.000Z\nevent opened\nid 20261123-100017-service-mail\nkind service\nreason connect_refused\n" +
			"rule incident/2\nservice mail\nservices mail\nsince 2026-11-23T03:00:00Z\nstate down\nvotes up=0 down=0 unknown=0\nwhy first\n",
		"egovmon-leaf/1 acknowledgement\nat 2026-11-23T03:00:17.000Z\nincident 20261123-100017-service-mail\nnote đã gọi đơn vị vận hành\nuser operator@local\n",
		"egovmon-leaf/1 incident\nat 2026-11-23T03:00:47.000Z\nevent closed\nid 20261123-100017-service-mail\nkind service\nreason ok\n" +
			"rule incident/2\nservice mail\nservices mail\nsince 2026-11-23T03:00:30Z\nstate up\nvotes up=0 down=0 unknown=0\nwhy recovered\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("leaves (-want +got):\n%s", diff)
	}
}

func TestARestartKeepsEverything(t *testing.T) {
	for _, keep := range []bool{true, false} {
		h := newHouse(t)
		for k := range 3 { // three incidents; the last one stays open
			base := start.Add(time.Duration(k) * 2 * time.Hour)
			h.observe(check.Down, check.ConnectRefused, base, base.Add(every))
			if k == 2 {
				h.observe(check.Down, check.Timeout, base, base.Add(time.Hour))
			}
			if err := h.m.Ack(t.Context(), h.m.Open()[0].ID, "user", ""); err != nil {
				t.Fatal(err)
			}
			if k < 2 {
				h.observe(check.Up, check.OK, base.Add(2*every), base.Add(3*every))
			}
		}
		want := h.m.All()
		if len(want) != 3 || !want[0].Acknowledged() || want[0].Reason != check.Timeout {
			t.Fatalf("before the restart: %+v", want)
		}
		if !keep {
			if err := os.Remove(filepath.Join(h.dir, "incident", cursorFile)); err != nil {
				t.Fatal(err)
			}
		}
		h.reopen()
		if diff := cmp.Diff(want, h.m.All(), cmp.AllowUnexported(Incident{})); diff != "" {
			t.Errorf("cursor kept: %v: after the restart (-want +got):\n%s", keep, diff)
		}
		before := h.log.Size()
		h.observe(check.Down, check.Timeout, start.Add(4*time.Hour), start.Add(5*time.Hour+every))
		if h.log.Size() != before {
			t.Error("the restart opened the same incident again")
		}
	}
}

func TestACursorOfAnotherLogIsNotBelieved(t *testing.T) {
	h := newHouse(t)
	h.observe(check.Down, check.ConnectRefused, start, start.Add(every))
	path := filepath.Join(h.dir, "incident", cursorFile)
	for name, text := range map[string]string{
		"another hash": `{"version":1,"next":1,"last":"AAAA","leaves":[]}`,
		"beyond":       `{"version":1,"next":9,"last":"AAAA","leaves":[]}`,
		"newer":        `{"version":2,"next":1}`,
		"torn":         `{"version":1,"ne`,
		"huge":         strings.Repeat(" ", maxCursor+1),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		h.reopen()
		if n := len(h.m.Open()); n != 1 {
			t.Errorf("%s: %d incidents are open, want 1", name, n)
		}
	}
}

func TestNothingHappensThatIsNotWritten(t *testing.T) {
	h := newHouse(t)
	if err := h.log.Close(); err != nil { // from here on nothing can be written
		t.Fatal(err)
	}
	st := []verdict.Standing{{Service: "mail", State: check.Down, Reason: check.Timeout, Since: start, Last: start.Add(every)}}
	if err := h.m.Observe(t.Context(), start.Add(20*time.Second), st); err == nil {
		t.Fatal("an event that could not be written was taken")
	}
	if n := len(h.m.Open()); n != 0 {
		t.Errorf("%d incidents are open that the log does not have", n)
	}
	h.open()
	if err := h.m.Observe(t.Context(), start.Add(21*time.Second), st); err != nil {
		t.Fatal(err)
	}
	if n := len(h.m.Open()); n != 1 {
		t.Errorf("%d incidents are open after the second try, want 1", n)
	}
}

func TestAckRefuses(t *testing.T) {
	h := newHouse(t)
	h.observe(check.Down, check.ConnectRefused, start, start.Add(every))
	id := h.m.Open()[0].ID
	if err := h.m.Ack(t.Context(), "nothing", "u", ""); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown incident: %v", err)
	}
	if err := h.m.Ack(t.Context(), id, " \n", ""); err == nil {
		t.Error("nobody acknowledged it, and that was taken")
	}
	if err := h.m.Ack(t.Context(), id, "u\x00\xff", strings.Repeat("ă", 1000)); err != nil {
		t.Fatal(err)
	}
	if a := h.m.Open()[0].Ack; len(a.Note) != maxNote || a.User != "u \ufffd" && a.User != "u" {
		t.Errorf("user %q, a note of %d bytes", a.User, len(a.Note))
	}
	if err := h.m.Ack(t.Context(), id, "v", ""); !errors.Is(err, ErrAcknowledged) {
		t.Errorf("a second acknowledgement: %v", err)
	}
}
