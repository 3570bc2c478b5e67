package onestop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

const (
	maxListed = 100_000   // names of one folder
	maxTail   = 256 << 10 // bytes of the newest file that are read
	listAt    = 512       // names read at once
)

// files are those whose newest counts.
type files struct {
	folder, pattern string // pattern is of path.Match; "" when folder is the file itself
	least           int64
	most            int           // names that are looked at
	busy            chan struct{} // holds one while a look goes on: a disk that hangs is asked once
}

func newFiles(path string, least int64) (*files, error) {
	f := &files{folder: path, least: least, most: maxListed, busy: make(chan struct{}, 1)}
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("option \"file\": %q is no absolute path", path)
	}
	if strings.ContainsAny(path, "*?[") {
		f.folder, f.pattern = filepath.Split(path)
		if strings.ContainsAny(f.folder, "*?[") || f.pattern == "" {
			return nil, fmt.Errorf("option \"file\": %q: a pattern may stand in the last part only, e.g. /var/backups/*.bak", path)
		}
		if _, err := filepath.Match(f.pattern, "x"); err != nil {
			return nil, fmt.Errorf("option \"file\": %q is no pattern: write e.g. /var/backups/*.bak", path)
		}
	}
	return f, nil
}

// A newestFile is what a look at files found.
type newestFile struct {
	at    time.Time
	size  int64
	count int
	tail  []byte // of its text, when that was asked for
	bad   *reach.Fault
}

// look finds the newest file. A disk that does not answer, as of a server that is away, ends with ctx.
func (f *files) look(ctx context.Context, read bool) newestFile {
	select {
	case f.busy <- struct{}{}:
	default:
		return newestFile{bad: reach.Failf(check.Timeout, "the disk has not answered since an earlier run")}
	}
	done := make(chan newestFile, 1)
	go func() {
		defer func() { <-f.busy }()
		done <- f.newest(ctx, read)
	}()
	select {
	case n := <-done:
		return n
	case <-ctx.Done():
		return newestFile{bad: reach.Failf(check.Classify(check.StepExchange, ctx.Err()), "the disk does not answer")}
	}
}

func (f *files) newest(ctx context.Context, read bool) (n newestFile) {
	path := f.folder
	var err error
	if f.pattern == "" {
		err = n.meet(path, f.least)
	} else {
		path, err = f.list(ctx, &n)
	}
	if n.bad = f.fault(err, n.count); n.bad == nil && read {
		n.readTail(path)
	}
	return n
}

// fault says what a look that found so many files and ended with err comes to.
func (f *files) fault(err error, found int) *reach.Fault {
	switch {
	case err == nil && found == 0:
		return reach.Failf(check.ContentMissing, "no file of at least %d bytes is there", f.least)
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return reach.Failf(check.NoPermission, "the agent may not look: let its account read the folder")
	case errors.Is(err, fs.ErrNotExist):
		return reach.Failf(check.ContentMissing, "no such file or folder")
	case errors.Is(err, errMany):
		return reach.Failf(check.TooLarge, "the folder has more than %d names", f.most)
	}
	return reach.Failf(check.NotSupported, "%s", plainPath(err))
}

var errMany = errors.New("too many names")

// errIrregular says that a path is a device, a pipe or a folder, which is never opened.
var errIrregular = errors.New("it is no regular file")

// list meets every file of the folder that the pattern fits. It returns the path of the newest.
func (f *files) list(ctx context.Context, n *newestFile) (path string, err error) {
	d, err := os.Open(f.folder)
	if err != nil {
		return "", err
	}
	defer d.Close()
	for listed := 0; ; {
		names, err := d.Readdirnames(listAt)
		for _, name := range names {
			if listed++; listed > f.most {
				return "", errMany
			}
			if ok, _ := filepath.Match(f.pattern, name); !ok {
				continue
			}
			was := n.at
			one := filepath.Join(f.folder, name)
			// What is gone again, is no regular file or cannot be looked at does not count.
			if n.meet(one, f.least) == nil && n.at != was || path == "" && n.count == 1 {
				path = one
			}
		}
		if errors.Is(err, io.EOF) {
			return path, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return "", err
		}
	}
}

// meet looks at one file without opening it, over links.
func (n *newestFile) meet(path string, least int64) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errIrregular
	}
	if st.Size() < least {
		return nil
	}
	n.count++
	if n.count == 1 || st.ModTime().After(n.at) {
		n.at, n.size = st.ModTime(), st.Size()
	}
	return nil
}

// readTail reads the end of the file.
func (n *newestFile) readTail(path string) {
	file, err := openPlain(path)
	if err == nil {
		defer file.Close()
		var st fs.FileInfo
		if st, err = file.Stat(); err == nil && !st.Mode().IsRegular() {
			err = errIrregular // it was put there since it was looked at
		}
		if err == nil {
			n.tail, err = io.ReadAll(io.NewSectionReader(file, max(0, st.Size()-maxTail), maxTail))
		}
	}
	n.bad = unreadable(err)
}

// unreadable says what an error of reading the newest file comes to, nil for none.
func unreadable(err error) *reach.Fault {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return reach.Failf(check.NoPermission, "the agent may not read the newest file: let its account do so")
	case err != nil:
		return reach.Failf(check.NotSupported, "reading the newest file: %s", plainPath(err))
	}
	return nil
}

// plainPath is what an error of a file says without the path, which may name a person.
func plainPath(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// lookAtFiles finds the newest file, and the date in it where one is asked for.
func (f *freshness) lookAtFiles(ctx context.Context) (s sighting, bad *reach.Fault) {
	begin := time.Now()
	n := f.files.look(ctx, f.matches != nil)
	s.phases.Add("read", time.Since(begin))
	if n.bad != nil {
		return s, n.bad
	}
	s.facts.Add("size_bytes", float64(n.size))
	if f.matches == nil {
		s.count, s.last = n.count, web.Moment{At: n.at}
		return s, nil
	}
	return s, f.newest(&s, groupsFromEnd(f, n.tail), "in the newest file")
}

// groupsFromEnd finds the dates of a text, those at its end when there are many.
func groupsFromEnd(f *freshness, tail []byte) []string {
	var found []string
	for _, m := range f.matches.FindAllSubmatch(web.Decode(tail, ""), -1) {
		found = append(found, string(m[1]))
	}
	return found[max(0, len(found)-maxDates):]
}
