package servers

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// unconfined returns where to run a program from, so that it may read and write below dir. Debian's AppArmor profiles of BIND, Unbound
// and chrony (/etc/apparmor.d/usr.sbin.named and so on) let them into their own folders alone, and are bound to their paths: where such a
// profile is in force, the program is copied to dir. root is the root of the file system.
func unconfined(root, dir, path string) (string, error) {
	on, err := os.ReadFile(filepath.Join(root, "sys/module/apparmor/parameters/enabled"))
	if err != nil || !strings.HasPrefix(string(on), "Y") {
		return path, nil // no AppArmor in this kernel
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	profile := strings.ReplaceAll(strings.TrimPrefix(real, "/"), "/", ".")
	if _, err := os.Stat(filepath.Join(root, "etc/apparmor.d", profile)); errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	to := filepath.Join(dir, filepath.Base(real))
	if _, err := os.Stat(to); err == nil {
		return to, nil
	}
	return to, copyProgram(to, real)
}

func copyProgram(to, from string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}
