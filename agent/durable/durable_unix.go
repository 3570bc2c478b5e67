//go:build unix

package durable

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// Rename puts a file in the place of another. It is durable once SyncDir has returned.
func Rename(from, to string) error { return os.Rename(from, to) }

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// KeepOwner gives a file that root has just made to the owner of its folder: a service that is not root is to read it.
func KeepOwner(f *os.File) error {
	uid, gid, ok := otherOwner(filepath.Dir(f.Name()))
	if !ok {
		return nil
	}
	return f.Chown(uid, gid)
}

func inherit(dir, above string) error {
	uid, gid, ok := otherOwner(above)
	if !ok {
		return nil
	}
	return os.Lchown(dir, uid, gid)
}

// otherOwner returns the owner of a folder if we are root and it is not root's.
func otherOwner(dir string) (uid, gid int, ok bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return 0, 0, false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}

// OtherOwner returns the name (else the number) of the owner of a folder, or of the nearest one above it that is there,
// if this program runs as root and the owner is not root. What root makes there by other means than this package would
// be out of the owner's reach.
func OtherOwner(dir string) (name string, other bool) {
	dir = filepath.Clean(dir)
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	uid, _, ok := otherOwner(dir)
	if !ok {
		return "", false
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username, true
	}
	return "#" + strconv.Itoa(uid), true
}
