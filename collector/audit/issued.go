package audit

import (
	"bytes"
	"encoding/hex"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/collector/evidence"
	"egovmon/collector/profile"
	"egovmon/collector/report"
)

// An IssuedReport is a report that the log says was issued.
type IssuedReport struct {
	report.Issued
	Given bool `json:"given"` // the figures that were given are those of this one
}

// issued proves a report that was issued: it is the next version of what it is of, and rests on a state that this log had.
func (s *story) issued(e evidence.Stored) {
	if err := s.reports.Apply(e); err != nil {
		s.v.found(BadReport, e.Index, "%v", err)
		return
	}
	all := s.reports.All()
	i := all[len(all)-1]
	x := IssuedReport{Issued: i, Given: s.v.o.Figures != nil && bytes.Equal(s.v.o.Figures, e.Blob)}
	s.v.Issued = append(s.v.Issued, x)
	if e.Blob == nil {
		return // said before
	}
	m, err := report.Read(bytes.NewReader(e.Blob))
	if err != nil {
		s.v.found(BadReport, e.Index, "leaf %d (report %s, version %d): %v", e.Index, i.ID(), i.Number, err)
		return
	}
	root, err := hex.DecodeString(m.Root)
	if err != nil || len(root) != tlog.HashSize {
		s.v.found(BadReport, e.Index, "leaf %d (report %s, version %d): it names no root hash", e.Index, i.ID(), i.Number)
		return
	}
	if why := s.beginning(e.Index, m.Log.Origin, tlog.Tree{N: m.Leaves, Hash: tlog.Hash(root)}); why != "" {
		s.v.found(SplitView, e.Index, "leaf %d (report %s, version %d) rests on another log: %s", e.Index, i.ID(), i.Number, why)
	}
	if of := scopeOf(m, i.Scope); of != i.Scope {
		s.v.found(BadReport, e.Index, "leaf %d (report %s, version %d): the report itself is of %.80q", e.Index, i.ID(), i.Number, of.ID())
	}
	if x.Given && s.refig != nil {
		s.refig.given.Service, s.refig.given.Unit = i.Service, i.Unit
	}
}

// scopeOf is what a report itself says that it is of. One that was made before reports named their service and their unit
// is of those that all its rows are of, if these are what it was issued for.
func scopeOf(m report.Model, issued report.Scope) report.Scope {
	of := report.Scope{Period: m.Period, Calendar: issued.Calendar, Service: m.Service, Unit: m.Unit}
	if m.Service != "" || m.Unit != "" || len(m.Rows) == 0 {
		return of
	}
	if !slices.ContainsFunc(m.Rows, func(r report.Row) bool {
		return issued.Service != "" && r.Service != issued.Service || issued.Unit != "" && r.Unit != issued.Unit
	}) {
		of.Service, of.Unit = issued.Service, issued.Unit
	}
	return of
}

// given says when the figures that were given are a report of a period that was issued, and not as it was issued.
func (s *story) given() {
	if s.refig == nil || s.v.o.Figures == nil || s.refig.given.Version != report.Version {
		return
	}
	var last *IssuedReport
	for n := range s.v.Issued {
		x := &s.v.Issued[n]
		if x.Given {
			return
		}
		if x.Service == s.refig.given.Service && x.Unit == s.refig.given.Unit && s.of(*x) {
			last = x
		}
	}
	if last != nil {
		s.v.found(BadReport, last.Leaf, "the report that was given is not the one that was issued for %s: leaf %d holds version %d, with the SHA-256 %.16s", last.ID(), last.Leaf, last.Number, last.SHA256)
	}
}

// of reports whether an issued report is of the days of the given figures.
func (s *story) of(x IssuedReport) bool {
	from, to, err := profile.ParsePeriod(x.Period, x.Calendar)
	return err == nil && from.Equal(s.refig.given.From) && to.Equal(s.refig.given.To)
}
