package host

import (
	"errors"
	"os"
	"path/filepath"
)

// DataDir returns the folder of the agent's data when --data names none: %ProgramData%\egovmon.
func DataDir() (string, error) {
	base := os.Getenv("ProgramData")
	if !filepath.IsAbs(base) {
		return "", errors.New("no place for data: the variable ProgramData is not set to a folder; name one with --data")
	}
	return filepath.Join(base, "egovmon"), nil
}
