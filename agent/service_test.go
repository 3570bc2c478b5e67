package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestService(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name, args string
		code       int
		want       string
	}{
		{"no word", "service", exitUsage, "say install, remove or status"},
		{"another word", "service restart", exitUsage, "say install, remove or status"},
		{"too much", "service status now", exitUsage, `"now" is too much`},
		{"help", "service --help", exitDone, "as a service"},
		{"not enrolled", "service install --data " + dir, exitUsage, "agent enrol --collector"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), strings.Fields(tt.args), &out, &out); code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: exit code %d, want %d:\n%s", tt.name, code, tt.code, &out)
		}
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"service", "status"}, &out, &errs); code != exitDone || !strings.Contains(out.String(), "running:") {
		t.Errorf("status: exit code %d\n%s%s", code, &out, &errs)
	}
	out.Reset()
	if code := run(t.Context(), []string{"service", "status", "--json"}, &out, &errs); code != exitDone || !strings.HasPrefix(out.String(), `{"installed":`) {
		t.Errorf("status --json: exit code %d\n%s%s", code, &out, &errs)
	}
}
