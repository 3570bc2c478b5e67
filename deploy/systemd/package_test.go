package systemd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// top is the checkout's root, where release.sh runs nfpm.
const top = "../.."

type nfpmFile struct {
	Name     string `yaml:"name"`
	Contents []struct {
		Src  string `yaml:"src"`
		Dst  string `yaml:"dst"`
		Type string `yaml:"type"`
		Info struct {
			Mode *int `yaml:"mode"`
		} `yaml:"file_info"`
	} `yaml:"contents"`
	Scripts map[string]string `yaml:"scripts"`
}

// What the packages take exists, and goes where the units look for it.
func TestPackages(t *testing.T) {
	for file, want := range map[string][]string{
		"agent":     {AgentProgram, "/usr/bin/egovmon-token", "/lib/systemd/system/" + AgentName + ".service", "/usr/share/doc/egovmon-agent/guide.vi.md"},
		"collector": {CollectorProgram, "/lib/systemd/system/" + CollectorName + ".service", "/etc/egovmon/collector.yaml", "/usr/share/egovmon/profiles/tu-ky-2023"},
	} {
		text, err := os.ReadFile(filepath.Join(top, "deploy", "nfpm-"+file+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var n nfpmFile
		if err := yaml.Load(text, &n); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if n.Name != "egovmon-"+file || len(n.Scripts) != 2 {
			t.Errorf("%s: name %q, scripts %v", file, n.Name, n.Scripts)
		}
		have := map[string]bool{}
		for _, c := range n.Contents {
			have[c.Dst] = true
			if (c.Info.Mode == nil) != (c.Type == "tree") {
				t.Errorf("%s: %s: a file has a mode, a folder takes those of the checkout", file, c.Dst)
			}
			if strings.HasPrefix(c.Src, "${DIST}/linux-${ARCH}/egovmon-") {
				continue
			}
			if _, err := os.Stat(filepath.Join(top, c.Src)); err != nil {
				t.Errorf("%s takes %s: %v", file, c.Src, err)
			}
		}
		for _, dst := range want {
			if !have[dst] {
				t.Errorf("%s does not bring %s", file, dst)
			}
		}
		for _, s := range n.Scripts {
			if out, err := exec.CommandContext(t.Context(), "sh", "-n", filepath.Join(top, s)).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", s, err, out)
			}
		}
	}
}

// PowerShell 5.1 reads a script without a byte order mark in the machine's own code page, and Vietnamese becomes noise.
func TestWindowsScript(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "deploy/windows/install.ps1"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
		t.Error("install.ps1 has no byte order mark")
	}
	for _, want := range []string{"enrol --collector $Collector --token - --data $data", "service install --data $data", "'*S-1-5-19:(OI)(CI)F'"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("install.ps1 lacks %q", want)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "bash", "-n", filepath.Join(top, "deploy/release.sh")).CombinedOutput(); err != nil {
		t.Errorf("release.sh: %v\n%s", err, out)
	}
}
