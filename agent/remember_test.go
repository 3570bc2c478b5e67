package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check/kinds"
	"egovmon/agent/notes"
	"egovmon/agent/plan"
)

// What a check remembers it remembers in the data folder, if there is one.
func TestCheckRemembers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100_000)) }))
	defer s.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "plan.yaml")
	text := fmt.Sprintf("plan: x\nchecks:\n  - {id: a.t, kind: throughput, every: 1h, timeout: 30s, with: {enabled: true, url: '%s', max_bytes: 100000, daily_bytes: 150000}}\n", s.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	look := func(data string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := runCheck(t.Context(), []string{"--plan", file, "--data", data}, &out, &errs); code != exitDone || errs.Len() > 0 {
			t.Errorf("exit %d: %.300s", code, errs.String())
		}
		return out.String()
	}
	if first, second := look(dir), look(dir); !strings.Contains(first, "(ok)") || !strings.Contains(second, "(not_configured)") {
		t.Errorf("first %.200q, then %.200q", first, second)
	}
	none := filepath.Join(dir, "none")
	if first, second := look(none), look(none); !strings.Contains(first, "(ok)") || !strings.Contains(second, "(ok)") {
		t.Errorf("without a folder first %.200q, then %.200q", first, second)
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("it made a data folder")
	}
}

// The doctor knows what the check of the plan remembers that it runs in its place, and nothing of others.
func TestWayRemembers(t *testing.T) {
	p, err := plan.Parse([]byte("plan: x\nchecks:\n  - {id: thu.smtp, kind: smtp, every: 60s, with: {address: 'mail.test:587'}}\n"), kinds.Table())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	notes.New(filepath.Join(dir, notes.Folder), time.Now, slog.New(slog.DiscardHandler)).Of("thu.smtp", "smtp").Keep("x", []byte("y"))
	for name, want := range map[string]string{"thu.smtp": "y", "mail.test:587": "y", "other.test:587": ""} {
		s, err := findSystem(name, p, dir)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if n := s.notes("smtp"); n != nil {
			got = string(n.Note("x"))
		}
		if got != want || s.notes("captive") != nil {
			t.Errorf("%s: %q is remembered, want %q", name, got, want)
		}
		if s.dir = filepath.Join(dir, "none"); s.notes("smtp") != nil {
			t.Errorf("%s: notes without a data folder", name)
		}
	}
}
