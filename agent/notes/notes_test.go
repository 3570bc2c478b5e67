package notes

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
)

const childEnv = "EGOVMON_NOTES"

// A child of the test keeps what grows and shrinks, until it is killed.
func TestMain(m *testing.M) {
	dir, asked := os.LookupEnv(childEnv)
	if !asked {
		os.Exit(m.Run())
	}
	n := New(dir, time.Now, slog.New(slog.DiscardHandler)).Of("a.loop", "mailloop")
	for i := byte(0); ; i++ {
		n.Keep("sent", bytes.Repeat([]byte{i}, 1+int(i)*200))
		fmt.Println(i)
	}
}

// A journal of what was logged.
type journal struct{ bytes.Buffer }

func (j *journal) lines() int { return bytes.Count(j.Bytes(), []byte("\n")) }

// open is a store as after a start of the agent, and what it logs.
func open(t *testing.T, dir string) (*Store, *journal) {
	t.Helper()
	j := &journal{}
	return New(dir, time.Now, slog.New(slog.NewTextHandler(j, nil))), j
}

func folder(t *testing.T) string { return filepath.Join(t.TempDir(), Folder) }

func wantNote(t *testing.T, n check.Notes, name, want string) {
	t.Helper()
	if got := string(n.Note(name)); got != want {
		t.Errorf("note %s is %.60q (%d bytes), want %.60q", name, got, len(got), want)
	}
}

// The path of the notes of the check "a.b".
func pathOf(dir string) string { return filepath.Join(dir, before+"a.b"+after) }

func TestNotesOutliveTheAgent(t *testing.T) {
	dir := folder(t)
	s, _ := open(t, dir)
	n := s.Of("a.b", "line")
	wantNote(t, n, "days", "")
	if _, err := os.Stat(dir); err == nil {
		t.Error("a folder for nothing")
	}
	n.Keep("days", []byte("one"))
	n.Keep("more", []byte("x"))
	n.Keep("days", []byte("two"))
	n.Keep("more", nil)
	s.Of("a.c", "line").Keep("days", []byte("of another"))

	s, log := open(t, dir)
	n = s.Of("a.b", "line")
	wantNote(t, n, "days", "two")
	wantNote(t, n, "more", "")
	wantNote(t, s.Of("a.c", "line"), "days", "of another")
	if s.Of("a.b", "line") != n {
		t.Error("one check has two notebooks")
	}
	// Under the same id, a check of another kind knows nothing of what that one kept.
	other := s.Of("a.b", "throughput")
	wantNote(t, other, "days", "")
	other.Keep("day", []byte("z"))
	wantNote(t, other, "days", "")
	wantNote(t, other, "day", "z")
	if fi, err := os.Stat(pathOf(dir)); err != nil || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", fi, err)
	}
	if log.lines() != 0 {
		t.Errorf("logged: %.300s", log)
	}
}

// What checks share has one notebook whoever asks, is apart from what a check of that name keeps, is held by one at a time,
// and stays.
func TestShared(t *testing.T) {
	dir := folder(t)
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	s := New(dir, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	s.Of("t-1", "line").Keep("x", []byte("of the check"))
	n := s.Shared("t-1")
	wantNote(t, n, "x", "")
	n.Keep("x", []byte("of all"))
	release, err := n.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Shared("t-1").Hold(ended); err == nil {
		t.Error("two hold it")
	}
	release()
	if release, err = s.Shared("t-1").Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	release()
	for range 100 {
		now = now.AddDate(0, 0, 1)
		if err := s.Sweep(func(string) bool { return false }); err != nil {
			t.Fatal(err)
		}
	}
	s, _ = open(t, dir)
	wantNote(t, s.Shared("t-1"), "x", "of all")
	wantNote(t, s.Of("t-1", ""), "x", "")
	if err := s.ForgetShared("t-1"); err != nil {
		t.Fatal(err)
	}
	wantNote(t, s.Shared("t-1"), "x", "")
}

func TestTooMuchIsNotKept(t *testing.T) {
	s, log := open(t, folder(t))
	n := s.Of("a.b", "line")
	n.Keep("days", bytes.Repeat([]byte{0xff}, check.MaxNotes-len("days")))
	for range 2 {
		n.Keep("more", []byte("x"))
	}
	wantNote(t, n, "more", "")
	n.Keep("days", make([]byte, check.MaxNotes))
	n.Keep(strings.Repeat("n", maxOne+1), []byte("x"))
	if got := n.Note("days"); len(got) != check.MaxNotes-len("days") || got[0] != 0xff {
		t.Errorf("%d bytes are left", len(got))
	}
	if log.lines() != 3 {
		t.Errorf("%d lines: %.300s", log.lines(), log)
	}
	n.Keep("days", []byte("x"))
	for i := range 2 * maxNames {
		n.Keep(fmt.Sprint("n", i), []byte("x"))
	}
	if wantNote(t, n, "n3", "x"); n.Note(fmt.Sprint("n", maxNames)) != nil {
		t.Error("names without end")
	}
}

// signed is a file whose first line is right.
func signed(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return []byte(head + hex.EncodeToString(sum[:]) + "\n" + text)
}

func TestBrokenNotesAreSetAside(t *testing.T) {
	write := func(change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	instead := func(f func(path string) error) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := f(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, harm := range map[string]func(*testing.T, string){
		"empty":           write(func([]byte) []byte { return nil }),
		"cut off":         write(func(b []byte) []byte { return b[:len(b)-1] }),
		"one bit":         write(func(b []byte) []byte { return bytes.Replace(b, []byte("b25l"), []byte("b25m"), 1) }),
		"another version": write(func(b []byte) []byte { return bytes.Replace(b, []byte("/1 "), []byte("/2 "), 1) }),
		"no JSON":         write(func([]byte) []byte { return signed("{") }),
		"another check's": write(func([]byte) []byte { return signed(`{"check":"a.c","kind":"line","values":{"days":"eA=="}}`) }),
		"too much": write(func([]byte) []byte {
			return signed(`{"check":"a.b","kind":"line","values":{"days":"` + strings.Repeat("AAAA", check.MaxNotes/3+1) + `"}}`)
		}),
		"huge":         write(func([]byte) []byte { return make([]byte, maxFile+1) }),
		"a folder":     instead(func(path string) error { return os.Mkdir(path, 0o700) }),
		"a link":       instead(func(path string) error { return os.Symlink("/dev/zero", path) }),
		"a named pipe": instead(func(path string) error { return exec.Command("mkfifo", path).Run() }),
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && strings.HasPrefix(name, "a ") {
				t.Skip("made with programs of Unix")
			}
			dir := folder(t)
			s, _ := open(t, dir)
			s.Of("a.b", "line").Keep("days", []byte("one"))
			harm(t, pathOf(dir))
			s, log := open(t, dir)
			n := s.Of("a.b", "line")
			for range 2 {
				wantNote(t, n, "days", "")
			}
			if log.lines() != 1 || !strings.Contains(log.String(), "check=a.b") {
				t.Errorf("logged: %.300s", log)
			}
			if _, err := os.Lstat(pathOf(dir) + broken); err != nil {
				t.Errorf("set aside: %v", err)
			}
			n.Keep("days", []byte("two"))
			s, _ = open(t, dir)
			wantNote(t, s.Of("a.b", "line"), "days", "two")
		})
	}
}

// What cannot be written is kept as long as the program runs, and written when that can be done again.
func TestNotesThatCannotBeWritten(t *testing.T) {
	data := t.TempDir()
	dir := filepath.Join(data, "disk", Folder)
	s, log := open(t, dir)
	n := s.Of("a.b", "line")
	n.Keep("days", []byte("one"))
	n.Keep("more", []byte("x"))
	n.Keep("more", []byte("y"))
	n.Note("days")[0]++ // what is handed out is the caller's
	wantNote(t, n, "days", "one")
	wantNote(t, n, "more", "y")
	if _, err := os.Stat(filepath.Dir(dir)); err == nil {
		t.Error("it made the folder of a disk that is not mounted")
	}
	if log.lines() != 1 {
		t.Errorf("%d lines: %.300s", log.lines(), log)
	}
	if err := os.Mkdir(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	n.Keep("more", []byte("y"))
	s, _ = open(t, dir)
	wantNote(t, s.Of("a.b", "line"), "days", "one")
	wantNote(t, s.Of("a.b", "line"), "more", "y")
}

// However the agent is killed, the old value is there or the new one.
func TestKilledWhileWriting(t *testing.T) {
	dir := folder(t)
	for round := range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		last := byte(0)
		for range 3 + 2*round {
			if lines.Scan() {
				_, _ = fmt.Sscan(lines.Text(), &last)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // said before it died
			_, _ = fmt.Sscan(lines.Text(), &last)
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		s, log := open(t, dir)
		got := s.Of("a.loop", "mailloop").Note("sent")
		if len(got) == 0 || got[0] != last && got[0] != last+1 || len(got) != 1+int(got[0])*200 || log.lines() != 0 {
			t.Fatalf("round %d: %d bytes, of %d or the next: %.300s", round, len(got), last, log)
		}
	}
}

func TestSweep(t *testing.T) {
	dir := folder(t)
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	s := New(dir, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	for _, id := range []string{"stays", "leaves", "breaks"} {
		s.Of(id, "line").Keep("x", []byte("y"))
	}
	path := func(id string) string { return filepath.Join(dir, before+id+after) }
	if err := os.Rename(path("breaks"), path("breaks")+broken); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "of-others")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path("stays"), path("leaves"), path("breaks") + broken, foreign} {
		if err := os.Chtimes(name, now, now); err != nil {
			t.Fatal(err)
		}
	}
	days := func(n int, planned ...string) {
		for range n {
			now = now.AddDate(0, 0, 1)
			if err := s.Sweep(func(id string) bool { return strings.Contains(strings.Join(planned, " "), id) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	there := func(when string, want ...string) {
		t.Helper()
		var got []string
		for _, e := range []string{"stays", "leaves", "breaks"} {
			if len(s.Of(e, "line").Note("x")) > 0 {
				got = append(got, e)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	days(40, "stays", "leaves", "breaks")
	there("after 40 days", "stays", "leaves")
	if _, err := os.Stat(path("breaks") + broken); err == nil {
		t.Error("what was set aside stays for ever")
	}
	days(30, "stays")
	there("30 days later", "stays", "leaves")
	days(1, "stays")
	there("a day more", "stays")
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a file that is not ours: %v", err)
	}
	// A file from a time to come is counted from now on.
	later := now.AddDate(9, 0, 0)
	if err := os.Chtimes(path("stays"), later, later); err != nil {
		t.Fatal(err)
	}
	days(31)
	there("its check has left", "stays")
	days(1)
	there("a day more")
	if err := New(filepath.Join(dir, "none"), time.Now, nil).Sweep(func(string) bool { return false }); err != nil {
		t.Errorf("no notes yet: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(signed(`{"check":"a.b","kind":"line","values":{"days":"eA=="}}`))
	f.Add([]byte(head))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range [][]byte{data, signed(string(data))} {
			if p, err := parse(b); err == nil && fits(p.Values) != nil {
				t.Errorf("%.80q holds too much", b)
			}
		}
	})
}
