// Package notes keeps what checks remember over a restart of the agent (see [check.Notes]): a small file for each check
// that has something to remember, replaced in one durable step.
//
// A file is one line, "egovmon-notes/1 " and the SHA-256 of the rest in hexadecimal, and then JSON: the check, its kind,
// and the values by name. What is no such file is set aside under the same name with ".broken" at its end, said in the
// log, and begun anew: a check without memory is better than none.
package notes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/durable"
)

const (
	// Folder is the name of the folder within the agent's data folder.
	Folder = "notes"

	// keepFor is how long notes outlive their check's place in the plan.
	keepFor = 30 * 24 * time.Hour

	head             = "egovmon-notes/1 "
	shared           = "shared-"          // in the place of before
	before, after    = "check-", ".notes" // around the check's id, which alone may be a name that Windows keeps to itself
	broken           = ".broken"
	maxFile          = 2 * check.MaxNotes
	maxNames, maxOne = 64, 64 // how many names, and the length of each
)

// A Store is the notes of all checks of an agent. Its methods may be called at the same time.
type Store struct {
	dir string
	now func() time.Time
	log *slog.Logger

	mu  sync.Mutex
	all map[string]*notebook // by check; shared ones by "/" and their name
}

// New returns the notes that lie in a folder, which is made when something is first kept; the folder above it must be there.
func New(dir string, now func() time.Time, log *slog.Logger) *Store {
	return &Store{dir: dir, now: now, log: log, all: map[string]*notebook{}}
}

// Of returns the notes of a check. A check that has become one of another kind begins anew.
func (s *Store) Of(id, kind string) check.Notes {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.all[id]; b != nil && b.kind == kind {
		return b
	}
	b := &notebook{store: s, path: filepath.Join(s.dir, before+id+after), check: id, kind: kind}
	s.all[id] = b
	return b
}

// Shared returns the notes that all checks share under a name. Sweep leaves them.
func (s *Store) Shared(name string) check.SharedNotes {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.all["/"+name]
	if b == nil {
		b = &notebook{store: s, path: filepath.Join(s.dir, shared+name+after), check: name, held: make(chan struct{}, 1)}
		s.all["/"+name] = b
	}
	return b
}

// Sweep removes the notes of checks that have not been in the plan for a month, as far as earlier calls have seen it: it
// is called now and then, at least once a day. What writes that were cut short have left goes too.
func (s *Store) Sweep(planned func(id string) bool) error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	now := s.now()
	errs := []error{durable.Sweep(s.dir, now)}
	for _, e := range entries {
		id, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), broken), before)
		id, whole := strings.CutSuffix(id, after)
		fi, err := e.Info()
		if !ok || !whole || err != nil {
			continue
		}
		path := filepath.Join(s.dir, e.Name())
		switch age := now.Sub(fi.ModTime()); {
		case !e.Type().IsRegular():
			continue
		case age < 0, planned(id) && !strings.HasSuffix(e.Name(), broken):
			errs = append(errs, os.Chtimes(path, now, now))
		case age > keepFor:
			errs = append(errs, os.Remove(path))
			s.mu.Lock()
			delete(s.all, id)
			s.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

// A notebook is the notes of one check.
type notebook struct {
	store       *Store
	path        string
	check, kind string
	held        chan struct{} // of shared notes: full while somebody holds them

	mu      sync.Mutex
	unsaved map[string][]byte // all values while they could not be written; nil when what is on disk is what there is
	said    string            // the fault that was logged last, so that it is not repeated
}

// A page is what a file holds after its first line.
type page struct {
	Check  string            `json:"check"`
	Kind   string            `json:"kind"`
	Values map[string][]byte `json:"values"`
}

// Note implements [check.Notes].
func (b *notebook) Note(name string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.values()[name])
}

// Hold implements [check.SharedNotes].
func (b *notebook) Hold(ctx context.Context) (release func(), err error) {
	select {
	case b.held <- struct{}{}:
		return func() { <-b.held }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Keep implements [check.Notes].
func (b *notebook) Keep(name string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.values()
	if b.unsaved == nil && bytes.Equal(was[name], data) {
		return
	}
	next := maps.Clone(was)
	if next == nil {
		next = map[string][]byte{}
	}
	if next[name] = bytes.Clone(data); len(data) == 0 {
		delete(next, name)
	}
	if err := fits(next); err != nil {
		b.say("a check keeps too much: what it kept before stays", err)
		return
	}
	if err := b.write(next); err != nil {
		b.unsaved = next
		b.say("what a check is to remember cannot be written: it is lost if the agent stops now", err)
		return
	}
	b.unsaved, b.said = nil, ""
}

// Fault says why what is kept is not safe: nil when the next start of the agent will find what this one kept. A check that
// must rather stop than begin anew asks for it before and after it keeps something.
func (b *notebook) Fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unsaved != nil {
		return errors.New("what was kept could not be written")
	}
	if _, err := os.Lstat(b.path + broken); err == nil {
		return fmt.Errorf("what was kept is damaged, and set aside as %s", filepath.Base(b.path)+broken)
	}
	if _, err := read(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Forget removes all that a check has kept, also what was set aside.
func (s *Store) Forget(id string) error { return s.forget(id, before+id) }

// ForgetShared removes what was kept under a shared name.
func (s *Store) ForgetShared(name string) error { return s.forget("/"+name, shared+name) }

func (s *Store) forget(key, file string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
	path := filepath.Join(s.dir, file+after)
	for _, p := range []string{path, path + broken} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if _, err := os.Stat(s.dir); err != nil {
		return nil
	}
	return durable.SyncDir(s.dir)
}

func fits(values map[string][]byte) error {
	n := 0
	for name, data := range values {
		if n += len(name) + len(data); len(name) > maxOne {
			return fmt.Errorf("a name of %d bytes, at most %d", len(name), maxOne)
		}
	}
	if n > check.MaxNotes || len(values) > maxNames {
		return fmt.Errorf("%d bytes under %d names, at most %d under %d", n, len(values), check.MaxNotes, maxNames)
	}
	return nil
}

// say logs a fault, and one that goes on only once.
func (b *notebook) say(what string, err error) {
	if text := what + err.Error(); text != b.said {
		b.said = text
		b.store.log.Warn(what, "check", b.check, "err", err)
	}
}

// values returns what is kept, by name. What is not ours to read is set aside.
func (b *notebook) values() map[string][]byte {
	if b.unsaved != nil {
		return b.unsaved
	}
	p, err := read(b.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrPermission):
		b.say("what a check remembers cannot be read: it begins anew", err)
		return nil
	case err == nil && p.Check != b.check:
		err = fmt.Errorf("it is of the check %.80q", p.Check)
	}
	if err != nil {
		b.say("what a check remembers is broken: it is set aside, and the check begins anew", errors.Join(err, os.Rename(b.path, b.path+broken)))
		return nil
	}
	if p.Kind != b.kind {
		return nil
	}
	return p.Values
}

func read(path string) (page, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return page{}, err
	}
	if !fi.Mode().IsRegular() { // a pipe would keep us waiting
		return page{}, fmt.Errorf("%s is no plain file", path)
	}
	data, err := durable.Read(path, maxFile)
	if err != nil {
		return page{}, err
	}
	return parse(data)
}

func parse(data []byte) (page, error) {
	line, text, ok := bytes.Cut(data, []byte("\n"))
	want := sha256.Sum256(text)
	if sum, ours := bytes.CutPrefix(line, []byte(head)); !ok || !ours || string(sum) != hex.EncodeToString(want[:]) {
		return page{}, errors.New("it was damaged or changed, or is of another version of the agent")
	}
	var p page
	if err := json.Unmarshal(text, &p); err != nil {
		return page{}, err
	}
	return p, fits(p.Values)
}

func (b *notebook) write(values map[string][]byte) error {
	if _, err := os.Stat(filepath.Dir(b.store.dir)); err != nil {
		return err // a disk that is not mounted is not written under
	}
	if err := durable.MkdirAll(b.store.dir); err != nil {
		return err
	}
	text, err := json.Marshal(page{b.check, b.kind, values})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	return durable.Replace(b.path, append([]byte(head+hex.EncodeToString(sum[:])+"\n"), text...))
}
