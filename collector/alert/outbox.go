package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"egovmon/agent/durable"
)

// A Record is what the outbox keeps of one message.
type Record struct {
	Version int     `json:"version"`
	Key     string  `json:"key"`
	Address Address `json:"address"`
	Covers  []Cover `json:"covers"`
	// First is when the first attempt began, and Attempts counts those that began.
	First    time.Time `json:"first"`
	Attempts int       `json:"attempts"`
	// Next is before when no other attempt is made.
	Next time.Time `json:"next"`
	// Sent is when the other side took it; zero until then.
	Sent  time.Time `json:"sent"`
	Error string    `json:"error,omitempty"` // of the last attempt
}

const (
	recordVersion = 1
	recordSuffix  = ".json"
	maxRecord     = 1 << 20
	// maxRecords bounds what a start reads: far more than a month of alerts.
	maxRecords = 100_000
	// keepRecords is how long a record is kept after the incidents that it covers are over.
	keepRecords = 30 * 24 * time.Hour
)

// An outbox keeps records as files of one folder, one a message.
type outbox struct {
	dir string

	mu      sync.Mutex
	records map[string]Record
}

// keyPattern is what keys look like; they are names of files.
var keyPattern = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9_.-]{0,200}$`)

// openOutbox reads the records back. One that cannot be read is an error: without it a message might be sent again.
func openOutbox(dir string, log *slog.Logger) (*outbox, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("alert: outbox: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("alert: outbox: %w", err)
	}
	if len(names) > maxRecords {
		return nil, fmt.Errorf("alert: outbox %s holds %d files: move those older than a month elsewhere", dir, len(names))
	}
	o := &outbox{dir: dir, records: map[string]Record{}}
	for _, e := range names {
		path := filepath.Join(dir, e.Name())
		if strings.HasSuffix(e.Name(), ".new") { // cut short while it was written: the file it was for is whole
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				log.Warn("alert: a leftover of the outbox cannot be removed", "file", path, "err", err)
			}
			continue
		}
		key, ok := strings.CutSuffix(e.Name(), recordSuffix)
		if !ok {
			continue
		}
		r, err := readRecord(path)
		if err == nil && r.Key != key {
			err = fmt.Errorf("it is of %q", r.Key)
		}
		if err != nil {
			return nil, fmt.Errorf("alert: outbox: %s: %w: move it away, and its message may be sent once more", path, err)
		}
		o.records[key] = r
	}
	return o, nil
}

func readRecord(path string) (r Record, err error) {
	fi, err := os.Stat(path)
	if err != nil {
		return r, err
	}
	if fi.Size() > maxRecord {
		return r, fmt.Errorf("%d bytes, the most is %d", fi.Size(), maxRecord)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, err
	}
	if r.Version != recordVersion {
		return r, fmt.Errorf("version %d, and this program knows %d", r.Version, recordVersion)
	}
	return r, nil
}

// all returns the records by key.
func (o *outbox) all() map[string]Record {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.records)
}

// put writes a record; when it returns nil it is durable.
func (o *outbox) put(r Record) error {
	r.Version = recordVersion
	if !keyPattern.MatchString(r.Key) {
		return fmt.Errorf("alert: outbox: %q cannot be the name of a message", r.Key)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := durable.Replace(filepath.Join(o.dir, r.Key+recordSuffix), data); err != nil {
		return fmt.Errorf("alert: outbox: %w", err)
	}
	o.remember(r)
	return nil
}

// remember keeps a record until the program ends.
func (o *outbox) remember(r Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.records[r.Key] = r
}

// prune removes the records that are old, and of incidents that are over.
func (o *outbox) prune(now time.Time, open map[string]bool) error {
	var errs []error
	for key, r := range o.all() {
		if now.Sub(r.First) < keepRecords || slices.ContainsFunc(r.Covers, func(c Cover) bool { return open[c.Incident] }) {
			continue
		}
		if err := os.Remove(filepath.Join(o.dir, key+recordSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		o.mu.Lock()
		delete(o.records, key)
		o.mu.Unlock()
	}
	return errors.Join(errs...)
}
