package report

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// A Scope is what a report is of: a period, and the whole district, one service or one unit.
type Scope struct {
	Period   string `json:"period"`             // as profile.ParsePeriod reads it
	Calendar bool   `json:"calendar,omitempty"` // by the calendar, not by Decree 09/2019
	Service  string `json:"service,omitempty"`
	Unit     string `json:"unit,omitempty"`
}

// ID names the scope, in files and for people: 2026-Q3, 2026-Q3+calendar+unit.xa-an-thanh.
func (s Scope) ID() string {
	id := s.Period
	if s.Calendar {
		id += "+calendar"
	}
	if s.Service != "" {
		id += "+service." + s.Service
	}
	if s.Unit != "" {
		id += "+unit." + s.Unit
	}
	return id
}

// FileName is what a report is called as a file; version 0 is a draft.
func FileName(s Scope, version int, format string) string {
	name := "bao-cao-" + strings.ToLower(s.ID())
	if version > 0 {
		name += "-ban-" + strconv.Itoa(version)
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, name) + "." + format
}

// An Issued is a report that was issued. It never changes; what is found later makes a new version.
type Issued struct {
	Scope
	Number     int       `json:"version"` // 1, 2, …
	Leaf       int64     `json:"leaf"`
	At         time.Time `json:"at"`
	By         string    `json:"by"`
	MadeBy     string    `json:"made_by,omitempty"` // of the draft; "" in what older programs wrote
	ReviewedBy string    `json:"reviewed_by"`
	ReviewedAt time.Time `json:"reviewed_at"`
	Why        string    `json:"why,omitempty"` // of a version after the first
	SHA256     string    `json:"sha256"`        // of the JSON of its Model
	Supersedes int64     `json:"supersedes"`    // leaf of the version before; -1 for the first
}

// maxWhy is the most bytes of a reason.
const maxWhy = 500

// Entry returns the leaf of an issued report, with its Model as JSON.
func (i Issued) Entry(model []byte) (evidence.Entry, error) {
	f := map[string]string{"at": wire.FormatTime(i.At), "by": i.By, "period": i.Period, "reviewed_at": wire.FormatTime(i.ReviewedAt), "reviewed_by": i.ReviewedBy,
		"version": strconv.Itoa(i.Number)}
	if i.Calendar {
		f["calendar"] = "true"
	}
	for key, v := range map[string]string{"made_by": i.MadeBy, "service": i.Service, "unit": i.Unit, "why": i.Why} {
		if v != "" {
			f[key] = v
		}
	}
	if i.Supersedes >= 0 {
		f["supersedes"] = strconv.FormatInt(i.Supersedes, 10)
	}
	return evidence.NewEntry(evidence.Report, f, model, nil)
}

// A Register is the reports that a log says were issued. The zero Register has none and is ready to use.
type Register struct {
	next int64
	list []Issued
}

// Leaves is what a Register reads; *evidence.Store is one.
type Leaves interface {
	Leaves(from int64) iter.Seq2[evidence.Stored, error]
}

// Update reads what was added to the log.
func (r *Register) Update(log Leaves) error {
	for e, err := range log.Leaves(r.next) {
		if err != nil {
			return err
		}
		if err := r.Apply(e); err != nil {
			return err
		}
		r.next = e.Index + 1
	}
	return nil
}

// Apply takes in one leaf. Leaves of other types say nothing here. A report that is not the next version of its scope is
// an error, and is not taken in.
func (r *Register) Apply(e evidence.Stored) error {
	if e.Leaf.Type() != evidence.Report {
		return nil
	}
	i, err := parseIssued(e)
	if err != nil {
		return fmt.Errorf("leaf %d: report: %w", e.Index, err)
	}
	number, supersedes := 1, int64(-1)
	if last, ok := r.Last(i.Scope); ok {
		number, supersedes = last.Number+1, last.Leaf
	}
	if i.Number != number || i.Supersedes != supersedes {
		return fmt.Errorf("leaf %d: report: version %d of %s, which supersedes leaf %d; the next one is version %d and supersedes leaf %d", e.Index, i.Number, i.ID(), i.Supersedes, number, supersedes)
	}
	r.list = append(r.list, i)
	return nil
}

func parseIssued(e evidence.Stored) (i Issued, err error) {
	f := e.Leaf.Field
	i = Issued{Scope: Scope{Period: f("period"), Calendar: f("calendar") == "true", Service: f("service"), Unit: f("unit")}, Leaf: e.Index,
		By: f("by"), MadeBy: f("made_by"), ReviewedBy: f("reviewed_by"), Why: f("why"), Supersedes: -1}
	var errs [4]error
	i.Number, errs[0] = strconv.Atoi(f("version"))
	i.At, errs[1] = time.Parse(time.RFC3339, f("at"))
	i.ReviewedAt, errs[2] = time.Parse(time.RFC3339, f("reviewed_at"))
	if s := f("supersedes"); s != "" {
		i.Supersedes, errs[3] = strconv.ParseInt(s, 10, 64)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return i, err
	}
	ref, ok := e.Leaf.Blob()
	if !ok {
		return i, errors.New("it holds no report")
	}
	i.SHA256 = hex.EncodeToString(ref.SHA256[:])
	return i, nil
}

// All lists every report that was issued, in the order of the log.
func (r *Register) All() []Issued { return slices.Clone(r.list) }

// Last returns the latest version of a scope.
func (r *Register) Last(s Scope) (Issued, bool) {
	for _, i := range slices.Backward(r.list) {
		if i.Scope == s {
			return i, true
		}
	}
	return Issued{}, false
}

// Version returns one version of a scope; 0 is the latest.
func (r *Register) Version(s Scope, number int) (Issued, bool) {
	if number == 0 {
		return r.Last(s)
	}
	n := slices.IndexFunc(r.list, func(i Issued) bool { return i.Scope == s && i.Number == number })
	if n < 0 {
		return Issued{}, false
	}
	return r.list[n], true
}

// sum is the SHA-256 of bytes, in hex.
func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// oneLine makes a person's words fit for a leaf.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(clean(s)), " ")
	for len(s) > maxWhy {
		s = s[:strings.LastIndexByte(s[:maxWhy], ' ')+1]
		s = strings.TrimSpace(s)
	}
	return s
}
