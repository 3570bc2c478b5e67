package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"egovmon/deploy/systemd"
)

// unitDir is where an administrator's units stand; a package's own are in /lib/systemd/system.
const unitDir = "/etc/systemd/system"

func unitFile(dir string) string { return filepath.Join(dir, ServiceName+".service") }

// InstallService writes the unit for systemd and returns the commands that make it work, which need root and are not run
// here.
func InstallService(s Service) ([]string, error) { return installUnit(unitDir, s) }

func installUnit(dir string, s Service) ([]string, error) {
	text, err := unitText(s)
	if err != nil {
		return nil, err
	}
	path := unitFile(dir)
	if old, err := os.ReadFile(path); err == nil && !strings.Contains(string(old), "egovmon agent") {
		return nil, fmt.Errorf("%s is there already and is not the agent's: look at it, and remove it by hand", path)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: run this command as root", err)
		}
		return nil, err
	}
	return []string{"systemctl daemon-reload", "systemctl enable --now " + ServiceName}, nil
}

// unitText is the packaged unit with this machine's program and folder.
func unitText(s Service) (string, error) {
	for what, path := range map[string]string{"program": s.Program, "data folder": s.Data} {
		if !filepath.IsAbs(path) || strings.ContainsAny(path, " \t\n\"'\\%$") {
			return "", fmt.Errorf("the %s %q cannot stand in a unit: move it to an absolute path without blanks, quotes, %% and $", what, path)
		}
	}
	for _, home := range []string{"/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"} {
		if strings.HasPrefix(s.Program, home) {
			return "", fmt.Errorf("the service does not see %s: copy the program to %s first, and run `%s service install`",
				home, systemd.AgentProgram, systemd.AgentProgram)
		}
	}
	text := strings.ReplaceAll(systemd.AgentUnit, systemd.AgentProgram, s.Program)
	if s.Data != systemd.AgentData {
		name, ok := strings.CutPrefix(filepath.Clean(s.Data), "/var/lib/")
		if !ok {
			return "", fmt.Errorf("the data folder %s is not under /var/lib, where systemd keeps the state of services: leave --data out", s.Data)
		}
		text = strings.ReplaceAll(text, systemd.AgentData+"\n", filepath.Clean(s.Data)+"\n")
		text = strings.ReplaceAll(text, systemd.AgentData+"/", filepath.Clean(s.Data)+"/")
		text = strings.ReplaceAll(text, "StateDirectory=egovmon\n", "StateDirectory="+name+"\n")
	}
	return text, nil
}

// RemoveService removes the unit that InstallService wrote, once it is stopped and disabled, and returns the command that
// makes systemd forget it.
func RemoveService() ([]string, error) { return removeUnit(unitDir) }

func removeUnit(dir string) ([]string, error) {
	if _, err := os.Lstat(filepath.Join(dir, "multi-user.target.wants", ServiceName+".service")); err == nil {
		return nil, fmt.Errorf("the service is enabled: run `systemctl disable --now %s` first, as root", ServiceName)
	}
	err := os.Remove(unitFile(dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no %s; a unit that a package brought goes with the package", unitFile(dir))
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: run this command as root", err)
	case err != nil:
		return nil, err
	}
	return []string{"systemctl daemon-reload"}, nil
}

// QueryService asks systemd. Without systemd only the files are looked at.
func QueryService(ctx context.Context) (ServiceState, error) {
	var s ServiceState
	for _, dir := range []string{unitDir, "/lib/systemd/system", "/usr/lib/systemd/system"} {
		if _, err := os.Stat(unitFile(dir)); err == nil {
			s.Installed = true
		}
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		s.Detail = "systemd does not run this machine"
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=LoadState,ActiveState,SubState,UnitFileState", ServiceName).Output()
	if err != nil {
		return s, fmt.Errorf("systemctl show %s: %w", ServiceName, err)
	}
	return parseShow(string(out), s), nil
}

// parseShow reads the properties that systemctl printed.
func parseShow(out string, s ServiceState) ServiceState {
	p := map[string]string{}
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			p[k] = v
		}
	}
	s.Installed = s.Installed || p["LoadState"] == "loaded"
	s.Running = p["ActiveState"] == "active"
	s.AtBoot = strings.HasPrefix(p["UnitFileState"], "enabled")
	s.Detail = p["ActiveState"] + " (" + p["SubState"] + ")"
	return s
}
