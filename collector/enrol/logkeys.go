package enrol

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"egovmon/agent/wire"
)

// logKeyName is the file of the key of a district's n-th log.
func logKeyName(n int) string {
	if n == 1 {
		return logKeyFile
	}
	return fmt.Sprintf("log-%d.key", n)
}

// UseLog takes the key of the log with this name, egovmon/D/log/N, from the folder of OpenKeys for LogSigner and
// LogKey. The name "" stands for the first log. A key that is not there is an error: only NewLog makes one.
func (k *Keys) UseLog(dir, origin string) error {
	if origin == "" {
		return nil
	}
	n, ok := wire.LogNumber(k.District, origin)
	if !ok {
		return fmt.Errorf("keys %s: log %.200q is not one of district %s: use its profile, or another data folder", dir, origin, k.District)
	}
	if n == 1 {
		return nil
	}
	path := filepath.Join(dir, logKeyName(n))
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("keys: the key of %s is missing: restore it from a backup: %w", origin, err)
	}
	return k.openLog(dir, n)
}

// NewLog makes the key of the log after the n-th, if it is not there yet, and takes it for LogSigner and LogKey.
func (k *Keys) NewLog(dir string, n int) error { return k.openLog(dir, n+1) }

func (k *Keys) openLog(dir string, n int) (err error) {
	if k.LogSigner, k.LogKey, err = openNoteKey(filepath.Join(dir, logKeyName(n)), wire.LogName(k.District, n)); err != nil {
		return fmt.Errorf("keys %s: %w", dir, err)
	}
	return nil
}

// LogKeyFiles lists the files of log keys in a folder of keys, the first log's at the beginning.
func LogKeyFiles(dir string) ([]string, error) {
	var names []string
	for n := 1; ; n++ {
		name := logKeyName(n)
		_, err := os.Stat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
}
