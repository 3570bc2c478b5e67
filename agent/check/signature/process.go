package signature

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/shirou/gopsutil/v3/process"

	"egovmon/agent/check"
)

// findProcesses counts the processes of a name, which run from path unless that is "". A process that ends while it is
// looked at, or may not be looked at, is not counted; without any hit the latter is an error, since it could be the one.
func findProcesses(ctx context.Context, name, path string) (int, error) {
	all, err := process.ProcessesWithContext(ctx)
	if err != nil {
		return 0, err
	}
	n, hidden := 0, error(nil)
	for _, p := range all {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		got, err := p.NameWithContext(ctx)
		if err != nil || !sameName(got, name) {
			continue
		}
		if path != "" {
			exe, err := p.ExeWithContext(ctx)
			if err != nil && errors.Is(err, fs.ErrPermission) {
				hidden = err
			}
			if err != nil || !samePath(exe, path) {
				continue
			}
		}
		n++
	}
	if n == 0 && hidden != nil {
		return 0, hidden
	}
	return n, nil
}

// sameName compares names of programs; Windows' ending may be left out.
func sameName(a, b string) bool {
	plain := func(s string) string { return strings.TrimSuffix(strings.ToLower(s), ".exe") }
	return plain(a) == plain(b)
}

func samePath(a, b string) bool {
	a, b = filepath.Clean(a), filepath.Clean(b)
	return a == b || runtime.GOOS == "windows" && strings.EqualFold(a, b)
}

// processReason says what it means that processes cannot be listed.
func processReason(err error) check.Reason {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return check.NoPermission
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return check.Internal
	}
	return check.NotSupported
}
