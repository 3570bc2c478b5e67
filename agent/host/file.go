package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"egovmon/agent/durable"
)

// MaxSecret is the most bytes a secret may have.
const MaxSecret = 64 << 10

var secretName = regexp.MustCompile(`^[a-z0-9_-][a-z0-9_.-]{0,63}$`)

// IsSecretName reports whether a secret can be called so.
func IsSecretName(name string) bool { return secretName.MatchString(name) }

// SecretsDir is the folder of secrets within the data folder: apart from the keys of the machine, which no plan may name.
const SecretsDir = "secrets"

// Secret reads the secret that a plan or the configuration names from the data folder dir: the file secrets/NAME, a plain
// one of at most MaxSecret bytes that nobody but its owner can read (mode 0600). One newline at its end is not part of it.
func Secret(dir, name string) (string, error) {
	if !secretName.MatchString(name) {
		return "", fmt.Errorf("secret %q is no name: use 1 to 64 of a-z, 0-9, _, . and -, not beginning with a dot", name)
	}
	path := filepath.Join(dir, SecretsDir, name)
	data, err := readSealed(path, MaxSecret)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("secret %q: there is no such file as %s: write the value into it, for the service account alone (mode 0600): %w", name, path, fs.ErrNotExist)
	}
	if errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("secret %q: this account cannot read %s: give the file to the owner of the folder: %w", name, path, fs.ErrPermission)
	}
	if err != nil {
		return "", fmt.Errorf("secret %q: %w", name, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

// readSealed returns what a file holds that is for us alone. Where the machine has a key, a file that it does not protect
// yet is protected at once: written by a person, or by a version before.
func readSealed(path string, limit int64) ([]byte, error) {
	content, err := readPrivate(path, 2*limit)
	if err != nil {
		return nil, err
	}
	key := machineKey()
	data, plain, err := openWith(key, content)
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if plain && key != nil {
		if err := writeSealed(path, data); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// writeSealed replaces a file that is for us alone.
func writeSealed(path string, data []byte) error {
	content, err := sealWith(machineKey(), data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := durable.Replace(path, content); err != nil {
		return err
	}
	return keepOut(path)
}

// readPrivate is the one way by which keys and secrets are read.
func readPrivate(path string, limit int64) ([]byte, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no plain file: put the value itself there", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	now, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !os.SameFile(fi, now):
		return nil, fmt.Errorf("%s was replaced while it was opened: try again", path)
	}
	if err := private(path, now); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, nil
}
