package evidence

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/mod/sumdb/note"
)

// copyLog copies the folder of a log, as a snapshot of the machine does.
func copyLog(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// An older copy of a log that is shown what the newer one signed signs nothing more, also after a start, until it holds
// again what it was shown.
func TestOvertaken(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testOptions(t, dir))
	appendN(t, s, 0, 20)
	if err := s.Show(s.Checkpoint()); err != nil {
		t.Fatalf("its own checkpoint: %v", err)
	}
	early := s.Checkpoint()
	older := copyLog(t, dir)
	appendN(t, s, 20, 5)
	if err := s.Show(early); err != nil {
		t.Fatalf("an earlier checkpoint: %v", err)
	}
	newest := s.Checkpoint()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	o := mustOpen(t, testOptions(t, older))
	before := string(o.Checkpoint())
	if err := o.Show(newest); !errors.Is(err, ErrOvertaken) {
		t.Fatalf("a newer checkpoint: %v", err)
	}
	for range 2 {
		if _, err := o.Append(t.Context(), testEntry(t, 99)); !errors.Is(err, ErrOvertaken) {
			t.Fatalf("Append: %v", err)
		}
		if got, ok := o.Overtaken(); !ok || got.N != 25 || string(o.Checkpoint()) != before {
			t.Errorf("overtaken by %v, %v", got, ok)
		}
		checkLog(t, o, 20)
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		o = mustOpen(t, testOptions(t, older))
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	msg, err := os.ReadFile(filepath.Join(older, overtakenFile))
	if err != nil || string(msg) != string(newest) {
		t.Errorf("the checkpoint is not kept: %v", err)
	}

	// The newest copy is put back with the mark: it holds what was shown.
	whole := copyLog(t, dir)
	if err := os.WriteFile(filepath.Join(whole, overtakenFile), newest, 0o600); err != nil {
		t.Fatal(err)
	}
	w := mustOpen(t, testOptions(t, whole))
	appendN(t, w, 25, 1)
	if _, ok := w.Overtaken(); ok {
		t.Error("it is overtaken though it holds everything")
	}
}

// A log that went on differently from a copy is overtaken by the copy's checkpoint, whatever the sizes.
func TestOvertakenByAnotherHistory(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testOptions(t, dir))
	appendN(t, s, 0, 10)
	other := mustOpen(t, testOptions(t, copyLog(t, dir)))
	appendN(t, other, 10, 3)
	for i := range 5 {
		if _, err := s.Append(t.Context(), testEntry(t, 100+i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Show(other.Checkpoint()); !errors.Is(err, ErrOvertaken) {
		t.Fatalf("%v", err)
	}
	if err := s.Show(other.Checkpoint()); !errors.Is(err, ErrOvertaken) {
		t.Fatalf("shown twice: %v", err)
	}
	if _, err := s.Append(t.Context(), testEntry(t, 99)); !errors.Is(err, ErrOvertaken) {
		t.Errorf("Append: %v", err)
	}
}

// Nobody but the log itself can stop it.
func TestShowRefusesStrangers(t *testing.T) {
	s := mustOpen(t, testOptions(t, t.TempDir()))
	appendN(t, s, 0, 3)
	skey, _, err := note.GenerateKey(rand.Reader, testOrigin)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := note.Sign(&note.Note{Text: testOrigin + "\n99\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"}, stranger)
	if err != nil {
		t.Fatal(err)
	}
	signer, _ := testKeys()
	otherLog, err := note.Sign(&note.Note{Text: "egovmon/khac/log/1\n99\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	for name, msg := range map[string][]byte{"forged": forged, "of another log": otherLog, "nothing": nil, "text": []byte("hello"), "endless": make([]byte, 1<<20)} {
		if err := s.Show(msg); err == nil || errors.Is(err, ErrOvertaken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	appendN(t, s, 3, 1)
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, testOptions(t, t.TempDir()))
		s.Hold()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Append(ctx, testEntry(t, 0)); err == nil || !strings.Contains(err.Error(), "held") {
			t.Errorf("Append while held: %v", err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := s.Append(t.Context(), testEntry(t, 0))
			done <- err
		}()
		synctest.Wait()
		if len(done) > 0 || s.Size() != 0 {
			t.Fatal("an Append went through")
		}
		s.Release()
		if err := <-done; err != nil || s.Size() != 1 {
			t.Errorf("after the release: %v, %d leaves", err, s.Size())
		}
		s.Release()
		s.Hold()
		go func() {
			_, err := s.Append(t.Context(), testEntry(t, 1))
			done <- err
		}()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}
