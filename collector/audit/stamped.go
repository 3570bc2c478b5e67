package audit

import (
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check/signature"
	"egovmon/collector/evidence"
	"egovmon/collector/stamp"
)

// Stamping is what authorities of time stamps (RFC 3161) have signed of the log.
type Stamping struct {
	Stamps int64 `json:"stamps"` // in the log, each over a state that it had
	// Rooted is how many of them lead to roots that the auditor brought; the next three are of the last of these.
	Rooted    int64     `json:"rooted"`
	Size      int64     `json:"size"` // leaves that were there at At
	At        time.Time `json:"at,omitzero"`
	Authority string    `json:"authority,omitempty"`
	// Clock is by how much the collector's clock and an authority's differed at most, in seconds: positive when the collector
	// was ahead.
	Clock float64 `json:"clock_s"`
}

// stamped proves a time stamp: over a beginning of this log, or of one before it, and at a time that goes with the receipts.
func (s *story) stamped(e evidence.Stored) {
	bad := func(c Code, format string, args ...any) {
		s.v.found(c, e.Index, "leaf %d (stamp): %s", e.Index, fmt.Sprintf(format, args...))
	}
	l, err := stamp.ReadLeaf(e)
	if err != nil {
		bad(BadStamp, "%v", err)
		return
	}
	if e.Blob == nil {
		return // said before
	}
	tree, why := s.treeAt(e.Index, l.Origin, l.Size)
	if why != "" {
		bad(BadStamp, "%s", why)
		return
	}
	st, err := signature.ReadStamp(e.Blob, stamp.Digest(l.Origin, tree), nil, s.v.o.Trust.Roots)
	if err != nil {
		bad(BadStamp, "it is no time stamp over the first %d leaves of %s as they are here: %v", l.Size, l.Origin, err)
		return
	}
	x := &s.v.Stamping
	x.Stamps++
	if off := l.At.Sub(st.At).Seconds(); max(off, -off) > max(x.Clock, -x.Clock) {
		x.Clock = off
	}
	if len(s.v.o.Trust.Roots) > 0 && !st.Rooted {
		bad(BadStamp, "the certificate %s, which signed it at %s, leads to none of the roots that were given", st.Authority, st.At.Format(time.RFC3339))
		return
	}
	if mark, ok := s.mark(l.Origin, l.Size); ok && st.At.Before(mark.Add(-clockSlack)) {
		bad(BadTime, "%s stamped %d leaves at %s, and the collector says that it received some of them at %s: its clock was ahead", st.Authority, l.Size,
			st.At.Format(time.RFC3339), mark.Format(time.RFC3339))
	}
	if !st.Rooted {
		return
	}
	x.Rooted++
	if l.Origin == s.v.Origin && l.Size >= x.Size {
		x.Size, x.At, x.Authority = l.Size, st.At, st.Authority
	}
	if l.Origin == s.v.Origin && st.At.After(s.stampAt) { // a copied leaf of a former log says nothing of what follows here
		s.stampAt, s.stampLeaf = st.At, e.Index
	}
}

// mark returns a time by which some of the first size leaves of this log were received.
func (s *story) mark(origin string, size int64) (time.Time, bool) {
	if at := size / width; origin == s.v.Origin && at < int64(len(s.watch.marks)) {
		return s.watch.marks[at], true
	}
	return time.Time{}, false
}

// treeAt returns the tree of so many leaves of this log, or of one before it, when leaf index was added; or why there is none.
func (s *story) treeAt(index int64, origin string, size int64) (tlog.Tree, string) {
	at, tree := int64(0), &s.v.tree
	if origin != s.v.Origin {
		f := s.formerOf(origin)
		if f == nil {
			return tlog.Tree{}, fmt.Sprintf("it is of a log %.200q, this is %q", origin, s.v.Origin)
		}
		if at, tree = f.at, &f.tree; size > f.old.Tree.N {
			return tlog.Tree{}, fmt.Sprintf("it is over %d leaves of %s, of which %d were kept", size, origin, f.old.Tree.N)
		}
	}
	if size > index-at {
		return tlog.Tree{}, fmt.Sprintf("it is said to be over %d leaves, but there were %d before it", size, index-at)
	}
	root, err := tree.root(size)
	if err != nil {
		return tlog.Tree{}, err.Error()
	}
	return tlog.Tree{N: size, Hash: root}, ""
}

// afterStamp holds the receipt of a batch against the time stamps that stand before it in the log.
func (s *story) afterStamp(e evidence.Stored, received time.Time) {
	if !s.stampAt.IsZero() && received.Before(s.stampAt.Add(-clockSlack)) {
		s.v.found(BadTime, e.Index, "leaf %d (%s) was received at %s by the collector's clock, and leaf %d before it holds a time stamp of %s: the clock was set back", e.Index, describe(e.Leaf),
			received.Format(time.RFC3339), s.stampLeaf, s.stampAt.Format(time.RFC3339))
	}
}

// stampsWanted says when roots were given and nothing in the log leads to one.
func (s *story) stampsWanted() {
	if len(s.v.o.Trust.Roots) > 0 && s.v.Stamping.Stamps == 0 {
		s.v.found(BadStamp, -1, "nothing in this log is stamped by an authority whose roots were given: it never was, or its time stamps were taken out")
	}
}
