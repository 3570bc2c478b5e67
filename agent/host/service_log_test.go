package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l, err := OpenLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.max = 100
	line := strings.Repeat("x", 39) + "\n"
	for range 5 {
		if n, err := l.Write([]byte(line)); err != nil || n != len(line) {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	size := func(name string) int64 {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	if now, old := size(LogFile), size(LogFile+".old"); now != 40 || old != 80 {
		t.Errorf("%d and %d bytes, want 40 and 80", now, old)
	}
	if _, err := l.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if l, err = OpenLog(dir); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.max = 100
	for range 2 {
		if _, err := l.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if now := size(LogFile); now != 40 {
		t.Errorf("opened again and filled: %d bytes, want 40", now)
	}
}
