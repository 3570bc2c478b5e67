package pcsc

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Without a resource manager readers are known by their class on USB.
func TestUSB(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{
		"1-2/product":             "SafeNet eToken 5110\n",
		"1-2:1.0/bInterfaceClass": "0b\n",
		"1-3:1.0/bInterfaceClass": "03\n",
		"1-4:1.0/bInterfaceClass": "0b\n",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := usb(dir)
	if want := []Reader{{Name: "SafeNet eToken 5110"}, {Name: "1-4:1.0"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := usb(filepath.Join(dir, "none")); err != nil || got != nil {
		t.Errorf("no USB: %+v %v", got, err)
	}
}

func TestNames(t *testing.T) {
	if got := names([]byte("one\x00t\xffo\x00\x00")); !slices.Equal(got, []string{"one", "t?o"}) {
		t.Errorf("%q", got)
	}
	if got := names([]byte(strings.Repeat("x\x00", 1000))); len(got) != maxReaders {
		t.Errorf("%d readers", len(got))
	}
}

// The system's own readers can be asked for, whatever there is of them.
func TestReaders(t *testing.T) {
	if _, err := Readers(); err != nil {
		t.Error(err)
	}
}
