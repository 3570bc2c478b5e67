package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
)

// Names in a state folder.
const (
	stagedDir  = "restore.new" // an unpacked backup
	readyFile  = "READY"       // in stagedDir: everything is verified, what is left is to put it in place
	freshLog   = "evidence.new"
	beforeDirs = "before-restore-"
	oldLogs    = "evidence-log-"
)

// replaced are the files and folders of a state that a restore takes away: those that come from the backup, and those
// that are derived or belong to what was before.
var replaced = []string{evidenceDir, freshLog, keysDir, "enrol", "alerts", "reports", "cosign", "incidents", "intake", "series", "history.db", "history.db-wal", "history.db-shm",
	"agent", "collector.yaml", "last.json"}

// Stage returns an empty folder in the state folder to unpack a backup in. What a restore left there that was broken off
// before it was Ready is removed.
func Stage(dir string) (string, error) {
	staged := filepath.Join(dir, stagedDir)
	if _, err := os.Stat(filepath.Join(staged, readyFile)); err == nil {
		return "", fmt.Errorf("%s: a restore was broken off while it put things in place: run `collector restore --continue`", staged)
	}
	if err := os.RemoveAll(staged); err != nil {
		return "", err
	}
	return staged, durable.MkdirAll(staged)
}

// MirrorDir returns the folder of one log in a folder of mirrors. A mirror of a log that came after it is an error: this
// one is over.
func MirrorDir(to, origin string) (string, error) {
	district := wire.DistrictOf(origin)
	n, ok := wire.LogNumber(district, origin)
	if !ok {
		return "", fmt.Errorf("mirror: %.200q is no log", origin)
	}
	if next := filepath.Join(to, "log-"+strconv.Itoa(n+1)); exists(next) {
		return "", fmt.Errorf("mirror: %s holds the log after %s already, which is over: this state was set back", next, origin)
	}
	return filepath.Join(to, "log-"+strconv.Itoa(n)), nil
}

// Interrupted reports whether a restore was broken off while it put things in place.
func Interrupted(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, stagedDir, readyFile))
	return err == nil
}

// Place puts a staged and verified state in place of the one that is there, which goes into a folder beside it, whose
// name is returned; "" when there was none. A kill in between is mended by calling it again.
func Place(dir string, now time.Time) (before string, err error) {
	staged := filepath.Join(dir, stagedDir)
	stamp, names, err := ready(staged, now)
	if err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	before = filepath.Join(dir, beforeDirs+stamp)
	for _, name := range slices.Concat(replaced, names) {
		if err := swap(dir, staged, before, name, slices.Contains(names, name)); err != nil {
			return "", fmt.Errorf("restore: %w", err)
		}
	}
	if err := errors.Join(durable.SyncDir(dir), os.RemoveAll(staged), durable.SyncDir(dir)); err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	if _, err := os.Stat(before); err != nil {
		before = ""
	}
	return before, nil
}

// ready notes, once, what is staged: the time that names the folder of what was before, and the names to put in place.
func ready(staged string, now time.Time) (stamp string, names []string, err error) {
	path := filepath.Join(staged, readyFile)
	text, err := durable.Read(path, 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(staged)
		if err != nil {
			return "", nil, err
		}
		text = []byte(now.UTC().Format("20060102T150405Z"))
		for _, e := range entries {
			if slices.Contains(replaced, e.Name()) || e.Name() == profileDir {
				text = append(append(text, '\n'), e.Name()...)
			}
		}
		if err := durable.Replace(path, text); err != nil {
			return "", nil, err
		}
	} else if err != nil {
		return "", nil, err
	}
	lines := strings.Split(string(text), "\n")
	return lines[0], lines[1:], nil
}

// swap takes one file or folder away, and puts the staged one in its place, if there was one. Of what a run before has
// done nothing is done again.
func swap(dir, staged, before, name string, isStaged bool) error {
	at, from, to := filepath.Join(dir, name), filepath.Join(staged, name), filepath.Join(before, name)
	if isStaged && !exists(from) {
		return nil
	}
	if exists(at) && !exists(to) {
		if err := durable.MkdirAll(before); err != nil {
			return err
		}
		if err := os.Rename(at, to); err != nil {
			return err
		}
	}
	if !isStaged {
		return nil
	}
	return os.Rename(from, at)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// FinishSuccession completes a succession that was broken off between taking the old log away and putting the new one in
// its place. Without one it does nothing.
func FinishSuccession(dir string) error {
	fresh, at := filepath.Join(dir, freshLog), filepath.Join(dir, evidenceDir)
	if exists(at) || !exists(filepath.Join(fresh, "checkpoint")) || !exists(filepath.Join(fresh, readyFile)) {
		return nil
	}
	if err := os.Rename(fresh, at); err != nil {
		return err
	}
	return errors.Join(os.Remove(filepath.Join(at, readyFile)), durable.SyncDir(dir))
}

// FreshLog returns an empty folder in the state folder for the log that is to come after the one there.
func FreshLog(dir string) (string, error) {
	fresh := filepath.Join(dir, freshLog)
	return fresh, os.RemoveAll(fresh)
}

// Succeed puts the log made in FreshLog in place of the n-th, which goes into a folder beside it, whose name is returned.
func Succeed(dir string, n int) (old string, err error) {
	fresh, at := filepath.Join(dir, freshLog), filepath.Join(dir, evidenceDir)
	old = filepath.Join(dir, oldLogs+strconv.Itoa(n))
	if exists(old) {
		return "", fmt.Errorf("successor: %s is there already: move it away", old)
	}
	err = durable.Replace(filepath.Join(fresh, readyFile), []byte("the log in this folder is whole\n"))
	if err == nil {
		err = os.Rename(at, old)
	}
	if err == nil {
		err = FinishSuccession(dir)
	}
	if err != nil {
		return "", fmt.Errorf("successor: %w", err)
	}
	return old, nil
}
