package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check/signature"
	"egovmon/agent/notes"
)

// A person clears what keeps a PIN from being tried; nothing else does.
func TestSignReset(t *testing.T) {
	dir := t.TempDir()
	reset := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"sign"}, args...), &out, &errs)
		return code, out.String() + errs.String()
	}
	store := func() *notes.Store {
		return notes.New(filepath.Join(dir, notes.Folder), time.Now, slog.New(slog.DiscardHandler))
	}
	of := func(id string) bool { _, yes := signature.Stopped(store().Of(id, "sign"), store().Shared); return yes }
	stopped := func() bool { return of("ky_so.sign") }
	if code, text := reset("reset", "ky_so.sign", "--data", dir); code != exitDone || !strings.Contains(text, "nothing keeps") {
		t.Errorf("nothing kept: %d %.200q", code, text)
	}
	store().Of("ky_so.sign", "sign").Keep("pin", []byte(`{"v":1}`))
	store().Of("khac.sign", "sign").Keep("pin", []byte(`{"v":1}`))
	if !stopped() {
		t.Fatal("it is not stopped")
	}
	// A disk that damages the mark does not let the PIN be tried.
	file := filepath.Join(dir, notes.Folder, "check-ky_so.sign.notes")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first look sets the damaged file aside
		if !stopped() {
			t.Error("damage lets the PIN be tried again")
		}
	}
	if code, text := reset("reset", "ky_so.sign", "--data", dir); code != exitDone || !strings.Contains(text, "tried once") || stopped() {
		t.Errorf("reset: %d %.200q", code, text)
	}
	if !of("khac.sign") {
		t.Error("another check was let try its PIN too")
	}
	// Another check's try on the same token is cleared by the id of the one that it stops.
	const token = "token-0011223344556677"
	store().Of("ky_so.sign", "sign").Keep("token", []byte(token))
	store().Shared(token).Keep("pin", []byte(`{"v":1,"by":"khac.sign"}`))
	if !stopped() {
		t.Fatal("the token's mark does not stop it")
	}
	if code, text := reset("reset", "ky_so.sign", "--data", dir); code != exitDone || !strings.Contains(text, "tried once") || stopped() || store().Shared(token).Note("pin") != nil {
		t.Errorf("reset of the token: %d %.200q", code, text)
	}
	for _, bad := range [][]string{{}, {"reset"}, {"set", "a.b"}, {"reset", "A B"}, {"reset", "a.b", "--data", filepath.Join(dir, "none")}} {
		if code, _ := reset(bad...); code != exitUsage {
			t.Errorf("%q: exit %d", bad, code)
		}
	}
}
