package host

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestShuttingDown(t *testing.T) {
	for _, tt := range []struct {
		name, systemctl string
		nologin, want   bool
	}{
		{"systemd is stopping", "echo stopping; exit 1", false, true},
		{"systemd runs", "echo running", true, false},
		{"some units failed", "echo degraded; exit 1", true, false},
		{"systemd is not to be reached", "echo 'Failed to connect to bus' >&2; exit 1", true, true},
		{"nor are log-ins forbidden", "exit 1", false, false},
		{"another init runs", "echo offline; exit 1", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\n"+tt.systemctl+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir)
			file := filepath.Join(dir, "nologin")
			if tt.nologin {
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := shuttingDown(t.Context(), file); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// utmpRecord is one as the system writes it.
func utmpRecord(kind uint16, user string, at time.Time) []byte {
	b := make([]byte, recordSize)
	binary.LittleEndian.PutUint16(b, kind)
	copy(b[userAt:], user)
	binary.LittleEndian.PutUint32(b[secondsAt:], uint32(at.Unix()))
	return b
}

func TestShutDownAt(t *testing.T) {
	end := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		records [][]byte
		want    bool
	}{
		{"no records", nil, false},
		{"two seconds later", [][]byte{utmpRecord(2, "reboot", end.Add(-9*time.Hour)), utmpRecord(1, "shutdown", end.Add(2*time.Second)), utmpRecord(2, "reboot", end.Add(14*time.Hour))}, true},
		{"the day before", [][]byte{utmpRecord(1, "shutdown", end.Add(-24*time.Hour)), utmpRecord(2, "reboot", end.Add(-15*time.Hour))}, false},
		{"stopped, and switched off an hour later", [][]byte{utmpRecord(1, "shutdown", end.Add(time.Hour))}, false},
		{"another run level", [][]byte{utmpRecord(1, "runlevel", end)}, false},
		{"a user of that name", [][]byte{utmpRecord(7, "shutdown", end)}, false},
		{"half a record", [][]byte{utmpRecord(1, "shutdown", end), make([]byte, 100)}, true},
	} {
		b := bytes.Join(tt.records, nil)
		if got := shutDownAt(bytes.NewReader(b), int64(len(b)), end); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
