package host

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"egovmon/deploy/systemd"
)

func TestInstallUnit(t *testing.T) {
	dir := t.TempDir()
	steps, err := installUnit(dir, Service{Program: systemd.AgentProgram, Data: systemd.AgentData})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"systemctl daemon-reload", "systemctl enable --now egovmon-agent"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	got, err := os.ReadFile(filepath.Join(dir, "egovmon-agent.service"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(systemd.AgentUnit, string(got)); diff != "" {
		t.Errorf("with the usual paths it is the packaged unit, -want +got:\n%s", diff)
	}
	if _, err := installUnit(dir, Service{Program: "/opt/egovmon/agent", Data: "/var/lib/egovmon-02"}); err != nil {
		t.Fatalf("again: %v", err)
	}
	got, _ = os.ReadFile(filepath.Join(dir, "egovmon-agent.service"))
	for _, want := range []string{"ExecStart=/opt/egovmon/agent run --data /var/lib/egovmon-02\n", "\nStateDirectory=egovmon-02\n", "ConditionPathExists=/var/lib/egovmon-02/identity.json\n"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("the unit lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "egovmon-02-02") || strings.Contains(string(got), systemd.AgentProgram) {
		t.Errorf("the unit is\n%s", got)
	}
	wants := filepath.Join(dir, "multi-user.target.wants")
	if err := os.Mkdir(wants, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(unitFile(dir), unitFile(wants)); err != nil {
		t.Fatal(err)
	}
	if _, err := removeUnit(dir); err == nil || !strings.Contains(err.Error(), "systemctl disable --now egovmon-agent") {
		t.Errorf("remove while it is enabled: %v", err)
	}
	if err := os.Remove(unitFile(wants)); err != nil {
		t.Fatal(err)
	}
	steps, err = removeUnit(dir)
	if err != nil || len(steps) != 1 {
		t.Errorf("remove: %q, %v", steps, err)
	}
	if _, err := removeUnit(dir); err == nil || !strings.Contains(err.Error(), "there is no") {
		t.Errorf("remove what is not there: %v", err)
	}
}

func TestInstallUnitRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, s := range map[string]Service{
		"a relative program":    {"agent", systemd.AgentData},
		"a blank":               {"/opt/my agent", systemd.AgentData},
		"a line break":          {"/opt/agent", "/var/lib/x\nUser=root"},
		"a specifier":           {"/opt/%h", systemd.AgentData},
		"a home":                {"/home/lan/agent", systemd.AgentData},
		"a temporary program":   {"/tmp/agent", systemd.AgentData},
		"data outside /var/lib": {systemd.AgentProgram, "/srv/egovmon"},
		"data by the back door": {systemd.AgentProgram, "/var/lib/../../srv"},
	} {
		if _, err := installUnit(dir, s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := os.Stat(unitFile(dir)); err == nil {
		t.Error("a refused unit was written")
	}
	if err := os.WriteFile(unitFile(dir), []byte("[Service]\nExecStart=/bin/other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := installUnit(dir, Service{systemd.AgentProgram, systemd.AgentData}); err == nil {
		t.Error("somebody else's unit was overwritten")
	}
}

func TestParseShow(t *testing.T) {
	for _, tt := range []struct {
		out  string
		want ServiceState
	}{
		{"LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n", ServiceState{true, true, true, "active (running)"}},
		{"LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled\n", ServiceState{true, false, false, "inactive (dead)"}},
		{"LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nUnitFileState=enabled-runtime\n", ServiceState{true, false, true, "activating (auto-restart)"}},
		{"LoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\n", ServiceState{false, false, false, "inactive (dead)"}},
	} {
		if got := parseShow(tt.out, ServiceState{}); got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.out, got, tt.want)
		}
	}
}
