//go:build !windows

package host

import (
	"fmt"
	"os"
	"path/filepath"
)

// DataDir returns the folder of the agent's data when --data names none: /var/lib/egovmon for root, else
// $XDG_STATE_HOME/egovmon-agent, where XDG_STATE_HOME defaults to ~/.local/state.
func DataDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/egovmon", nil
	}
	// The XDG base directory specification has relative values ignored.
	if base := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "egovmon-agent"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for data: %w; name a folder with --data", err)
	}
	return filepath.Join(home, ".local", "state", "egovmon-agent"), nil
}
