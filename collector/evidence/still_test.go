package evidence

import (
	"context"
	"errors"
	"testing"
)

// TestStill has others append while somebody reads: they wait, and come after.
func TestStill(t *testing.T) {
	s := mustOpen(t, testOptions(t, t.TempDir()))
	var err error
	done := make(chan error, 1)
	if err = s.Still(t.Context(), func() error {
		before := s.Size()
		ctx, stop := context.WithCancelCause(t.Context())
		stop(errors.New("gave up"))
		if _, err := s.Append(ctx, testEntry(t, 0)); err == nil {
			t.Error("something was appended meanwhile")
		}
		if err := s.Still(ctx, func() error { t.Error("a second one ran at the same time"); return nil }); err == nil {
			t.Error("a second one did not wait")
		}
		go func() { _, err := s.Append(t.Context(), testEntry(t, 0)); done <- err }()
		if s.Size() != before {
			t.Errorf("%d leaves, %d before", s.Size(), before)
		}
		return errors.New("as it is")
	}); err == nil || err.Error() != "as it is" {
		t.Errorf("got %v", err)
	}
	if err := <-done; err != nil || s.Size() != 1 {
		t.Errorf("what waited: %v, %d leaves", err, s.Size())
	}
}
