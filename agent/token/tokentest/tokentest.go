// Package tokentest makes what the tests of signing need: the helper program, and a driver of a token that behaves as it
// is told. Only tests import it.
package tokentest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"egovmon/agent/token/talk"
)

// Helper builds egovmon-token, and returns its path.
func Helper(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), talk.Name())
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "egovmon/agent/token")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building egovmon-token: %v\n%s", err, out)
	}
	return path
}

// Driver compiles the driver of pkcs11/testdata, whose head says what its environment means, and returns its path.
func Driver(t testing.TB) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("missing on this machine: gcc: run as root: apt-get install -y --no-install-recommends gcc libc6-dev")
	}
	_, here, _, _ := runtime.Caller(0)
	source := filepath.Join(filepath.Dir(here), "..", "pkcs11", "testdata", "driver.c")
	path := filepath.Join(t.TempDir(), "driver.so")
	if out, err := exec.CommandContext(t.Context(), gcc, "-shared", "-fPIC", "-o", path, source).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return path
}

// Tries returns how often the driver was given a PIN.
func Tries(t testing.TB, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(text)
}
