package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"egovmon/agent/durable"
	"egovmon/collector/evidence"
)

// A Ledger is where reports are issued; *evidence.Store is one.
type Ledger interface {
	Leaves
	Append(ctx context.Context, entries ...evidence.Entry) (first int64, err error)
	Blob(i int64) ([]byte, error)
}

// A Draft is a report that was made and is not issued.
type Draft struct {
	Scope      Scope           `json:"scope"`
	Made       time.Time       `json:"made"`
	By         string          `json:"by"` // who made it; Program for one that made itself
	SHA256     string          `json:"sha256"`
	ReviewedBy string          `json:"reviewed_by,omitempty"`
	ReviewedAt time.Time       `json:"reviewed_at,omitzero"`
	Model      json.RawMessage `json:"model,omitempty"`
}

// ErrSamePerson is the error of who would issue what it has made or reviewed itself.
var ErrSamePerson = errors.New("another person issues it; give that person an account of their own")

// Program makes drafts at each cut-off.
const Program = "egovmon"

// Reviewed reports whether a person has gone through it.
func (d Draft) Reviewed() bool { return d.ReviewedBy != "" }

// A Desk keeps drafts in a folder until they are issued: draft, reviewed, issued. Its methods may be called at the same
// time. Make it with NewDesk.
type Desk struct {
	dir string
	log Ledger
	now func() time.Time

	mu       sync.Mutex
	register Register
}

// NewDesk returns the desk with the drafts in dir.
func NewDesk(dir string, log Ledger, now func() time.Time) *Desk {
	return &Desk{dir: dir, log: log, now: now}
}

// maxDraft is the most bytes of a draft on disk.
const maxDraft = evidence.MaxBlob + 64<<10

func (d *Desk) path(s Scope) (string, error) {
	id := s.ID()
	if id == "" || strings.ContainsAny(id, `/\:`) || strings.HasPrefix(id, ".") || len(id) > 200 {
		return "", fmt.Errorf("report: %.200q cannot be filed", id)
	}
	return filepath.Join(d.dir, id+".json"), nil
}

// Put files a draft in place of the one before, whose review it ends.
func (d *Desk) Put(s Scope, m Model, by string) (Draft, error) {
	text, err := JSON(m)
	if err != nil {
		return Draft{}, err
	}
	if len(text) > evidence.MaxBlob {
		return Draft{}, fmt.Errorf("report: %d bytes, the log takes %d", len(text), evidence.MaxBlob)
	}
	x := Draft{Scope: s, Made: d.now().UTC().Truncate(time.Second), By: by, SHA256: sum(text), Model: text}
	d.mu.Lock()
	defer d.mu.Unlock()
	return x, d.save(x)
}

func (d *Desk) save(x Draft) error {
	path, err := d.path(x.Scope)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(d.dir); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	// The model is kept as the text that it is: as JSON in JSON its form could change.
	head := x
	head.Model = nil
	b, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	b = append(append(b, '\n'), x.Model...)
	if err := durable.Replace(path, b); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Draft returns the draft of a scope; ok is false if there is none.
func (d *Desk) Draft(s Scope) (x Draft, ok bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.draft(s)
}

func (d *Desk) draft(s Scope) (x Draft, ok bool, err error) {
	path, err := d.path(s)
	if err != nil {
		return x, false, err
	}
	b, err := durable.Read(path, maxDraft)
	if errors.Is(err, fs.ErrNotExist) {
		return x, false, nil
	}
	if err != nil {
		return x, false, fmt.Errorf("report: %w", err)
	}
	head, model, ok := bytes.Cut(b, []byte("\n"))
	if err := json.Unmarshal(head, &x); err != nil || !ok || x.Scope != s {
		return Draft{}, false, fmt.Errorf("report: %s is no draft (%v): remove it, and make the draft again", path, err)
	}
	if x.Model = model; sum(model) != x.SHA256 {
		return Draft{}, false, fmt.Errorf("report: %s was changed by hand: make the draft again", path)
	}
	return x, true, nil
}

// Drafts lists what is not issued, without the models.
func (d *Desk) Drafts() ([]Draft, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	es, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	var out []Draft
	for _, e := range es {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		b, err := durable.Read(filepath.Join(d.dir, e.Name()), maxDraft)
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		head, _, _ := bytes.Cut(b, []byte("\n"))
		var x Draft
		if err := json.Unmarshal(head, &x); err != nil {
			return nil, fmt.Errorf("report: %s: %w", e.Name(), err)
		}
		out = append(out, x)
	}
	return out, nil
}

// Issued lists every report that was issued, in the order of the log.
func (d *Desk) Issued() ([]Issued, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.register.Update(d.log)
	return d.register.All(), err
}

// Review notes that a person has gone through the draft with this SHA-256, or its beginning of at least 8 digits.
func (d *Desk) Review(s Scope, sha, by string) (Draft, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x, ok, err := d.draft(s)
	switch {
	case err != nil:
		return x, err
	case !ok:
		return x, fmt.Errorf("report: there is no draft of %s: make one first", s.ID())
	case len(sha) < 8 || !strings.HasPrefix(x.SHA256, sha):
		return x, fmt.Errorf("report: the draft of %s is %.16s now, not %.16q: read that one", s.ID(), x.SHA256, sha)
	case by == "" || by == Program:
		return x, errors.New("report: a person reviews a report")
	}
	x.ReviewedBy, x.ReviewedAt = by, d.now().UTC().Truncate(time.Second)
	return x, d.save(x)
}

// samePerson reports whether two names may be one person's. Whoever sits at the collector itself, with its command or a
// one-time link, has a name that ends in @local.
func samePerson(a, b string) bool {
	const local = "@local"
	a, b = strings.ToLower(a), strings.ToLower(b)
	return a == b || strings.HasSuffix(a, local) && strings.HasSuffix(b, local)
}

// SamePerson reports whether a name may be that of one of the others.
func SamePerson(name string, others ...string) bool {
	return slices.ContainsFunc(others, func(o string) bool { return samePerson(name, o) })
}

// Issue puts the reviewed draft into the log, for ever. Who made or reviewed it cannot issue it: four eyes see every
// report. The period must have ended. A scope that was issued before takes
// a reason, and becomes its next version.
func (d *Desk) Issue(ctx context.Context, s Scope, by, why string) (Issued, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.register.Update(d.log); err != nil {
		return Issued{}, err
	}
	x, ok, err := d.draft(s)
	if err != nil {
		return Issued{}, err
	}
	last, again := d.register.Last(s)
	if !ok {
		return Issued{}, fmt.Errorf("report: there is no draft of %s: make one, and have it reviewed", s.ID())
	}
	m, err := Read(bytes.NewReader(x.Model))
	now := d.now().UTC().Truncate(time.Second)
	switch {
	case err != nil:
		return Issued{}, err
	case !x.Reviewed():
		return Issued{}, fmt.Errorf("report: the draft of %s is not reviewed", s.ID())
	case now.Before(m.To) || m.Counted.Before(m.To):
		return Issued{}, fmt.Errorf("report: the draft of %s counts up to %s, and the period ends at %s: make it again after that", s.ID(), m.Counted.Format(time.RFC3339), m.To.Format(time.RFC3339))
	case again && oneLine(why) == "":
		return Issued{}, fmt.Errorf("report: %s was issued (leaf %d): say why there is a new version", s.ID(), last.Leaf)
	case by == "" || by == Program:
		return Issued{}, errors.New("report: a person issues a report")
	case samePerson(by, x.ReviewedBy):
		return Issued{}, fmt.Errorf("report: %q reviewed the draft of %s: %w", by, s.ID(), ErrSamePerson)
	case samePerson(by, x.By):
		return Issued{}, fmt.Errorf("report: %q made the draft of %s: %w", by, s.ID(), ErrSamePerson)
	}
	i := Issued{Scope: s, Number: 1, At: now, By: by, MadeBy: x.By, ReviewedBy: x.ReviewedBy, ReviewedAt: x.ReviewedAt, SHA256: x.SHA256, Supersedes: -1}
	if again {
		i.Number, i.Supersedes, i.Why = last.Number+1, last.Leaf, oneLine(why)
	}
	e, err := i.Entry(x.Model)
	if err != nil {
		return Issued{}, err
	}
	if i.Leaf, err = d.log.Append(ctx, e); err != nil {
		return Issued{}, err
	}
	path, err := d.path(s)
	if err == nil {
		err = os.Remove(path)
	}
	return i, errors.Join(err, d.register.Update(d.log))
}

// Model returns what an issued version says, from the log; 0 is the latest.
func (d *Desk) Model(s Scope, version int) (Model, Issued, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.register.Update(d.log); err != nil {
		return Model{}, Issued{}, err
	}
	i, ok := d.register.Version(s, version)
	if !ok {
		return Model{}, i, fmt.Errorf("report: %s was not issued, or has no version %d", s.ID(), version)
	}
	b, err := d.log.Blob(i.Leaf)
	if err != nil {
		return Model{}, i, err
	}
	m, err := Read(bytes.NewReader(b))
	return m, i, err
}
