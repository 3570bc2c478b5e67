package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"egovmon/agent/words"
)

// maxSize bounds the program as it is released: commune lines are slow, and so are their disks.
const maxSize = 18_000_000

func TestSize(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", st.Size())
	if b, err := os.ReadFile(file); err != nil {
		t.Fatal(err)
	} else if said := words.Say(words.VI, "access.enter"); bytes.Contains(b, []byte(said)) {
		t.Errorf("the agent holds %q, which only the collector says: something in it calls words.Say in place of words.Tell", said)
	}
	if st.Size() > maxSize {
		t.Errorf("the stripped agent has %d bytes, at most %d are allowed: see with `go list -deps` what it began to import", st.Size(), maxSize)
	}
}

// The linker keeps every exported method of every type once a program can reach text/template, which calls methods by
// name; that alone is several megabytes.
func TestNoTemplates(t *testing.T) {
	for _, goos := range []string{"linux", "windows"} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		deps := strings.Fields(string(out))
		for _, bad := range []string{"text/template", "html/template"} {
			if slices.Contains(deps, bad) {
				t.Errorf("%s: the agent imports %s by some way", goos, bad)
			}
		}
		if !slices.Contains(deps, "egovmon/agent/daemon") {
			t.Fatalf("%s: go list gave %d packages without the agent's own", goos, len(deps))
		}
	}
}
