package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// settings are the values of each key of a unit, in order.
func settings(unit string) map[string][]string {
	m := map[string][]string{}
	for line := range strings.Lines(unit) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(k, "#") {
			m[k] = append(m[k], v)
		}
	}
	return m
}

func TestUnits(t *testing.T) {
	for _, u := range []struct{ name, text, program, data, user, dynamic string }{
		{AgentName, AgentUnit, AgentProgram, AgentData, "egovmon", "yes"},
		{CollectorName, CollectorUnit, CollectorProgram, CollectorData, "egovmon-collector", ""},
	} {
		s := settings(u.text)
		start := strings.Join(s["ExecStart"], "\n")
		if !strings.HasPrefix(start, u.program+" run --data "+u.data) {
			t.Errorf("%s starts %q", u.name, start)
		}
		if got := strings.Join(s["StateDirectory"], " "); "/var/lib/"+got != u.data {
			t.Errorf("%s: StateDirectory=%s, and the data are in %s", u.name, got, u.data)
		}
		for key, want := range map[string]string{
			"DynamicUser": u.dynamic, "User": u.user, "ProtectSystem": "strict", "ProtectHome": "yes", "NoNewPrivileges": "yes", "PrivateTmp": "yes",
			"AmbientCapabilities": "CAP_NET_RAW", "CapabilityBoundingSet": "CAP_NET_RAW", "StateDirectoryMode": "0700",
			"RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK", "SystemCallErrorNumber": "EPERM", "RestartPreventExitStatus": "2",
		} {
			if got := strings.Join(s[key], "|"); got != want {
				t.Errorf("%s: %s=%s, want %s", u.name, key, got, want)
			}
		}
		// The clock is read with adjtimex(2), and which programs run stands in /proc.
		for _, key := range []string{"ProtectClock", "ProtectProc", "ProcSubset"} {
			if v, ok := s[key]; ok {
				t.Errorf("%s: %s=%s would make controls unmeasurable", u.name, key, v)
			}
		}
		if f := s["SystemCallFilter"]; len(f) == 0 || f[len(f)-1] != "adjtimex" {
			t.Errorf("%s: SystemCallFilter=%v does not end by allowing adjtimex", u.name, f)
		}
	}
}

// systemd itself reads the units, with the programs where the test put them.
func TestVerify(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is missing: apt-get install systemd")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/true\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	check := func(name, unit string) string {
		t.Helper()
		file := filepath.Join(dir, name+".service")
		if err := os.WriteFile(file, []byte(unit), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--recursive-errors=no", file).CombinedOutput()
		if err != nil && len(out) == 0 {
			t.Fatal(err)
		}
		var about []string
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, name+".service") {
				about = append(about, line)
			}
		}
		return strings.Join(about, "")
	}
	agent := strings.ReplaceAll(AgentUnit, AgentProgram, program)
	if out := check(AgentName, agent); out != "" {
		t.Errorf("systemd-analyze verify says:\n%s", out)
	}
	if out := check(CollectorName, strings.ReplaceAll(CollectorUnit, CollectorProgram, program)); out != "" {
		t.Errorf("systemd-analyze verify says:\n%s", out)
	}
	if out := check(AgentName, strings.Replace(agent, "ProtectSystem=strict", "ProtectSytem=strict", 1)); !strings.Contains(out, "ProtectSytem") {
		t.Errorf("a misspelt key goes unnoticed: %q", out)
	}
}

var exposure = regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)

// The exposure that systemd computes of a unit, from 0 (none) to 10.
func TestExposure(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is missing: apt-get install systemd")
	}
	for name, text := range map[string]string{AgentName: AgentUnit, CollectorName: CollectorUnit} {
		file := filepath.Join(t.TempDir(), name+".service")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--no-pager", file).CombinedOutput()
		m := exposure.FindSubmatch(out)
		if m == nil {
			t.Skipf("systemd-analyze cannot judge files (systemd 250 and later can): %v: %.200s", err, out)
		}
		level, _ := strconv.ParseFloat(string(m[1]), 64)
		t.Logf("%s: %.1f", name, level)
		if level > 3 {
			t.Errorf("%s: exposure %.1f, at most 3.0 is allowed:\n%s", name, level, out)
		}
	}
}
