package durable

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// Rename puts a file in the place of another, and returns once that is on disk. For a short while it tries again when
// another process (a virus scanner, as a rule) has one of them open without sharing it.
func Rename(from, to string) error {
	src, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	dst, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	for range 10 {
		err = windows.MoveFileEx(src, dst, windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH)
		if err == nil {
			return nil
		}
		if !errors.Is(err, windows.ERROR_SHARING_VIOLATION) && !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}

// SyncDir does nothing: NTFS journals names by itself, Rename waits for it, and Windows cannot flush a folder.
func SyncDir(string) error { return nil }

// KeepOwner does nothing: a new file inherits the access list of its folder.
func KeepOwner(*os.File) error { return nil }

func inherit(string, string) error { return nil }

// OtherOwner always says no: access lists are inherited, whoever makes a file.
func OtherOwner(string) (name string, other bool) { return "", false }
