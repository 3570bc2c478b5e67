package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"egovmon/agent/check/kinds"
	"egovmon/agent/daemon/daemontest"
	"egovmon/agent/journal"
)

// What lies on disk is believed only if the district signed it for this machine, and if it is not an old one put back.
func TestStoredPlan(t *testing.T) {
	r := newRig(t)
	text := r.plan(3, "")
	sum := sha256.Sum256([]byte(text))
	other, err := daemontest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	sign := func(c *daemontest.Collector, text string) []byte {
		t.Helper()
		b, err := c.SignPlan(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := sign(r.c, text)
	for _, tt := range []struct {
		name    string
		file    string
		data    []byte
		applied *journal.PlanApplied
		want    string // in the error; "" for none
	}{
		{"as it was signed", PlanFile, good, &journal.PlanApplied{Version: 3}, ""},
		{"newer than the journal says", PlanFile, good, &journal.PlanApplied{Version: 2}, ""},
		{"the journal knows none", PlanFile, good, nil, ""},
		{"a word changed", PlanFile, []byte(strings.Replace(string(good), "10s", "24h", 1)), nil, "changed"},
		{"signed by another district", PlanFile, sign(other, text), nil, "another district"},
		{"not signed", PlanFile, []byte(text), nil, "changed"},
		{"an older one put back", PlanFile, good, &journal.PlanApplied{Version: 4}, "version 4 was followed already"},
		{"for another machine", PlanFile, sign(r.c, strings.Replace(text, machine, "pc-khac", 1)), nil, "it is for pc-khac"},
		{"endless", PlanFile, append(good, make([]byte, maxPlanNote)...), nil, "is larger than"},
		{"of an older version of the program", plainFile, []byte(text), &journal.PlanApplied{Version: 3, SHA256: hex.EncodeToString(sum[:])}, ""},
		{"without a signature, unknown to the journal", plainFile, []byte(text), &journal.PlanApplied{Version: 3, SHA256: "00"}, "not signed"},
		{"without a signature and without a journal", plainFile, []byte(text), nil, "not signed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, tt.file), tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			p, _, err := StoredPlan(dir, r.id, kinds.Table(), tt.applied)
			switch {
			case tt.want == "" && (err != nil || p.Version != 3):
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, _, err := StoredPlan(t.TempDir(), r.id, kinds.Table(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a plan: %v", err)
	}
}

// A plan on disk that was tampered with starts nothing; the collector's answer mends it.
func TestTamperedPlanIsNotFollowed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.c.SetPlan(machine, 1, r.plan(1, ""))
	_, stop := r.start()
	r.until("the first result", func() bool { return len(r.c.Results()) > 0 })
	stop()
	path := filepath.Join(r.dir, PlanFile)
	signed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(signed), "every: 10s", "every: 24h", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(r.options())
	if err != nil {
		t.Fatal(err)
	}
	if hash, _ := d.InForce(); hash != "" {
		t.Error("the agent follows a plan that nobody signed")
	}
	if !strings.Contains(r.log.String(), PlanFile) {
		t.Errorf("the log does not say so:\n%s", r.log.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	r.until("the plan from the collector", func() bool { h, _ := d.InForce(); return h != "" })
	r.until("the plan on disk", func() bool { b, err := os.ReadFile(path); return err == nil && string(b) == string(signed) })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
