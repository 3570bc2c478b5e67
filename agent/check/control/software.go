package control

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"egovmon/agent/check"
)

// software is what is installed, and what runs that nobody wants.
type software struct {
	packages []string // names, in lower case
	miners   int      // processes of known programs that mine coins
	unread   error    // why the packages could not be read; nil when they could
}

// maxPackages bounds the list of what is installed.
const maxPackages = 50000

// judgeSoftware asks that nothing is installed that the plan forbids and that nothing mines. What could not be read can
// only make it worse.
func judgeSoftware(v software, l *limits) *check.Result {
	bad := 0
	for _, p := range v.packages {
		if slices.ContainsFunc(l.forbidden, func(pattern string) bool { ok, _ := path.Match(pattern, p); return ok }) {
			bad++
		}
	}
	var r *check.Result
	switch {
	case v.miners > 0:
		r = because(check.ControlFail, "%d programs that mine coins run", v.miners)
	case bad > 0:
		r = because(check.ControlFail, "%d of %d programs are not allowed", bad, len(v.packages))
	case v.unread != nil:
		r = unread(fmt.Errorf("the list of programs: %w", v.unread))
	default:
		r = because(check.OK, "%d programs, none of them forbidden", len(v.packages))
	}
	r.Facts.Add("miners_count", float64(v.miners))
	if v.unread == nil {
		sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(v.packages)), "\n")))
		r.Facts.Add("software_count", float64(len(v.packages)))
		r.Facts.Add("forbidden_count", float64(bad))
		r.Facts.Add("software_hash_serial", float64(binary.BigEndian.Uint64(sum[:8])>>16))
	}
	return r
}

// unwanted are patterns of programs that nobody needs in an office.
func unwanted() []string {
	return []string{"xmrig*", "cpuminer*", "minergate*", "nicehash*", "*kmspico*", "*kmsauto*", "*re-loader*"}
}

// readForbidden reads the patterns of the plan.
func (l *limits) readForbidden(o check.Options) error {
	l.forbidden = unwanted()
	for _, s := range o.Strings("forbidden") {
		pattern := strings.ToLower(strings.TrimSpace(s))
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fmt.Errorf("option \"forbidden\": %q is no pattern: * and ? stand for any text and any letter, [ must be closed", s)
		}
		l.forbidden = append(l.forbidden, pattern)
	}
	return nil
}

// software reads the lists of dpkg, apk and pacman. That of rpm is a data base which cannot be read from outside.
func (t *tree) software(ctx context.Context) (software, error) {
	found, err := t.running("xmrig", "xmr-stak", "minerd", "cpuminer", "ethminer", "nbminer", "t-rex", "lolMiner", "phoenixminer",
		"kdevtmpfsi", "kinsing", "xmrigDaemon", "nanominer")
	if err != nil {
		return software{}, err
	}
	var v software
	for _, n := range found {
		v.miners += n
	}
	v.packages, v.unread = t.packages(ctx)
	return v, nil
}

func (t *tree) packages(ctx context.Context) ([]string, error) {
	for _, list := range []struct{ file, name, status string }{
		{"var/lib/dpkg/status", "Package: ", "Status: "},
		{"lib/apk/db/installed", "P:", ""},
	} {
		f, err := t.open(list.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, bare(err)
		}
		defer f.Close()
		return scanPackages(ctx, f, list.name, list.status)
	}
	names, err := t.list("var/lib/pacman/local")
	if err != nil {
		return nil, bare(err)
	}
	if len(names) == 0 || len(names) > maxPackages {
		return nil, fmt.Errorf("no list of packages that can be read: %w", errors.ErrUnsupported)
	}
	var list []string
	for _, n := range names {
		// A folder is called NAME-VERSION-RELEASE.
		if parts := strings.Split(n, "-"); len(parts) > 2 {
			list = append(list, strings.ToLower(strings.Join(parts[:len(parts)-2], "-")))
		}
	}
	return list, nil
}

// scanPackages reads a list of paragraphs. Without a status every paragraph is an installed package.
func scanPackages(ctx context.Context, r io.Reader, nameKey, statusKey string) ([]string, error) {
	const most = 64 << 20
	limited := &io.LimitedReader{R: r, N: most}
	s := bufio.NewScanner(limited)
	s.Buffer(make([]byte, 0, 64<<10), maxFile)
	var list []string
	name := ""
	for s.Scan() {
		if n, ok := strings.CutPrefix(s.Text(), nameKey); ok {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			name = strings.ToLower(n)
			if statusKey == "" {
				list = append(list, name)
			}
		} else if status, ok := strings.CutPrefix(s.Text(), statusKey); ok && statusKey != "" && strings.HasSuffix(status, " installed") {
			list = append(list, name)
		}
		if len(list) > maxPackages {
			return nil, fmt.Errorf("more than %d packages: %w", maxPackages, errors.ErrUnsupported)
		}
	}
	if limited.N == 0 {
		return nil, fmt.Errorf("a list of more than %d bytes: %w", most, errors.ErrUnsupported)
	}
	return list, s.Err()
}
