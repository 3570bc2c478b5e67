package host

import (
	"bytes"
	"golang.org/x/sys/windows"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A secret that a person writes is protected once it has been read, for this machine alone.
func TestSecretSealsItself(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, SecretsDir, "proxy")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("mật khẩu\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := Secret(dir, "proxy"); err != nil || got != "mật khẩu" {
			t.Fatalf("%q, %v", got, err)
		}
		content, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(content, []byte(sealedMagic)) || bytes.Contains(content, []byte("kh")) {
			t.Fatalf("the file holds %q, %v", content, err)
		}
	}
	damaged, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)-20] ^= 1
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Secret(dir, "proxy"); err == nil {
		t.Errorf("a damaged file gives %q", got)
	}
}

func TestReadableByStrangers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "icacls", path, "/grant", "*S-1-1-0:R").CombinedOutput(); err != nil {
		t.Skipf("icacls does not work here (wine has none that does): %v: %.200s", err, out)
	}
	if open, err := readableByStrangers(path); !open || err != nil {
		t.Fatalf("everybody may read it: %t, %v", open, err)
	}
	if _, err := readPrivate(path, 10); err != nil {
		t.Fatal(err)
	}
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil {
		t.Skip("wine keeps no access lists: only Windows shows whether others are kept out")
	}
	if open, err := readableByStrangers(path); open || err != nil {
		t.Errorf("after it was read: %t, %v", open, err)
	}
}
