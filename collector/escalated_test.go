package main

import (
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/collector/access"
	"egovmon/collector/evidence"
	"egovmon/collector/incident"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
)

// TestEscalationsAreRecordedOnce: every step that an incident is taken further is in its life, and in the log, once, however many
// addresses the step has and however often they are tried.
func TestEscalationsAreRecordedOnce(t *testing.T) {
	key, public, err := note.GenerateKey(rand.Reader, "egovmon/d/log/1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	dir, now := t.TempDir(), time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	log, err := evidence.Open(evidence.Options{Dir: filepath.Join(dir, "evidence"), Origin: signer.Name(), Signer: signer, Verifier: verifier})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := &center{setup: setup{log: slog.New(slog.DiscardHandler)}}
	c.incidents, err = incident.Open(t.Context(), incident.Options{Dir: filepath.Join(dir, "incidents"), Log: log, Now: func() time.Time { return now }, Logger: c.log,
		Model: func(time.Time) verdict.Model {
			return verdict.Model{Services: map[string]verdict.Service{"mail": {Every: 15 * time.Second}}}
		}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		since := now.Add(-time.Minute)
		if err := c.incidents.Observe(t.Context(), now, []verdict.Standing{{Service: "mail", State: check.Down, Reason: check.ConnectRefused, Since: since, Last: now}}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(15 * time.Second)
	}
	open := c.incidents.Open()
	if len(open) != 1 {
		t.Fatalf("%d incidents are open", len(open))
	}
	id, before := open[0].ID, log.Size()
	head, deputy := profile.Name{VI: "Trưởng phòng VHTT"}, profile.Name{VI: "Chánh Văn phòng"}
	for _, step := range []profile.Name{head, head, deputy, head, deputy} {
		c.escalated(t.Context(), id, step)
	}
	c.escalated(t.Context(), "no-such-incident", head)
	i, _ := c.incidents.Find(id)
	if n := log.Size() - before; n != 2 || len(i.Life.Entries) != 2 || i.Life.Step != deputy.VI || i.Life.Entries[0].To != head.VI || i.Life.Entries[0].User != access.Program {
		t.Errorf("%d leaves, life %+v", n, i.Life)
	}
}
