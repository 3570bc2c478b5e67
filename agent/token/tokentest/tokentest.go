// Package tokentest makes what the tests of signing need: the helper program, and a driver of a token that behaves as it
// is told. Only tests import it.
package tokentest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"egovmon/agent/token/talk"
)

// folderVariable tells the tests of one program where the helper is kept that they share.
const folderVariable = "EGOVMON_TOKENTEST"

// Main runs the tests of a program, with a folder for the helper that goes with them: TestMain calls it.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "egovmon-token-")
	if err == nil {
		err = os.Setenv(folderVariable, dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	return m.Run()
}

// Build builds egovmon-token, unless that was done for this program, and returns its path.
func Build() (string, error) {
	path := filepath.Join(os.Getenv(folderVariable), talk.Name())
	if !filepath.IsAbs(path) {
		return "", errors.New("no folder for egovmon-token: TestMain must call tokentest.Main")
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.Command("go", "build", "-o", path, "egovmon/agent/token")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building egovmon-token: %w\n%s", err, out)
	}
	return path, nil
}

// Helper is Build for one test.
func Helper(t testing.TB) string {
	t.Helper()
	path, err := Build()
	if err != nil {
		t.Fatal(err)
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
