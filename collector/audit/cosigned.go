package audit

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
	"egovmon/collector/cosign"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
)

// Witnessing is what others than the log's operator have signed of it.
type Witnessing struct {
	Checkpoints int64 `json:"checkpoints"` // with cosignatures that the log names the keys of
	// Signers are all whose cosignatures count, by name.
	Signers []Signer `json:"signers"`
	// Seen is how many states that somebody had written down are beginnings of this log.
	Seen int `json:"seen"`
	// Protected is the leaves from 0 to before which nobody can have changed anything without the witnesses whose keys the
	// auditor brought: the most that one of them has signed, or that had been written down. 0 for none.
	Protected int64 `json:"protected"`
	// Until is when these had been there at the latest; zero where no witness said it.
	Until time.Time `json:"until,omitzero"`
}

// A Signer is one who cosigned.
type Signer struct {
	Name  string    `json:"name"`
	Given bool      `json:"given"` // the auditor brought its key; else only the log names it
	Count int64     `json:"count"`
	Size  int64     `json:"size"` // the most leaves that it signed
	At    time.Time `json:"at"`   // when it signed these
}

// A watchers is the keys of those who cosign, and what they have signed.
type watchers struct {
	book  cosign.Book
	marks []time.Time // latest receipt before leaf i·width
	by    map[string]*Signer
}

// passes notes the time that the log has come to.
func (s *story) passes(index int64) {
	if index%width == 0 {
		s.watch.marks = append(s.watch.marks, s.last)
	}
}

// cosigned proves a checkpoint of this log that others have signed.
func (s *story) cosigned(e evidence.Stored) {
	bad := func(c Code, format string, args ...any) {
		s.wrong(c, e.Index, "leaf %d (cosigned): %s", e.Index, fmt.Sprintf(format, args...))
	}
	if e.Blob == nil {
		return // said before
	}
	text, cs, err := wire.ReadCosignatures(e.Blob, s.signers()...)
	if err != nil {
		bad(BadCosigned, "%v", err)
		return
	}
	origin, t, err := wire.ParseCheckpoint(text)
	if err != nil {
		bad(BadCosigned, "%v", err)
		return
	}
	if why := s.beginning(e.Index, origin, t); why != "" {
		bad(SplitView, "%s", why)
		return
	}
	if origin == s.v.Origin {
		if _, err := note.Open(e.Blob, note.VerifierList(s.v.key)); err != nil {
			bad(BadCosigned, "it is not signed by the log itself: %v", err)
			return
		}
	}
	if len(cs) == 0 {
		bad(BadCosigned, "nobody has signed it whose key is known")
		return
	}
	s.v.Witnessing.Checkpoints++
	for _, c := range cs {
		if at := t.N / width; origin == s.v.Origin && at < int64(len(s.watch.marks)) && c.At.Before(s.watch.marks[at].Add(-clockSlack)) {
			s.v.found(BadTime, e.Index, "leaf %d (cosigned): %s signed %d leaves at %s, and the collector says that it received some of them at %s: its clock was ahead, or they were put in later",
				e.Index, c.Name, t.N, c.At.Format(time.RFC3339), s.watch.marks[at].Format(time.RFC3339))
		}
		s.count(c, t.N, origin)
	}
}

// count adds one cosignature.
func (s *story) count(c wire.Cosignature, size int64, origin string) {
	w := s.watch.by[c.Name]
	if w == nil {
		w = &Signer{Name: c.Name, Given: slices.ContainsFunc(s.v.o.Trust.Witnesses, func(g *wire.Witness) bool { return g.Name() == c.Name })}
		s.watch.by[c.Name] = w
	}
	w.Count++
	if origin == s.v.Origin && size >= w.Size {
		w.Size, w.At = size, c.At
	}
}

// signers are the keys of all who may cosign. Where the auditor brought the key of a witness, only that one counts for its
// name: who holds the log could name another one.
func (s *story) signers() []*wire.Witness {
	ws := slices.Clone(s.v.o.Trust.Witnesses)
	add := func(w *wire.Witness) {
		if !slices.ContainsFunc(ws, func(x *wire.Witness) bool { return x.Name() == w.Name() && slices.Contains(s.v.o.Trust.Witnesses, x) }) {
			ws = append(ws, w)
		}
	}
	for _, m := range s.roll.Machines() {
		for _, k := range m.Keys {
			if k.Use != enrol.Cosign {
				continue
			}
			if w, err := wire.NewWitness(k.Key); err == nil {
				add(w)
			}
		}
	}
	for _, k := range s.watch.book.All() {
		add(k.Verifier())
	}
	return ws
}

// beginning says why a tree that somebody has signed cannot have been this log's when leaf index was added; "" when it can.
func (s *story) beginning(index int64, origin string, t tlog.Tree) string {
	at, tree := int64(0), &s.v.tree
	if origin != s.v.Origin {
		i := slices.IndexFunc(s.former, func(f *former) bool { return f.old.Old == origin })
		if i < 0 {
			return fmt.Sprintf("it is of a log %.200q, this is %q", origin, s.v.Origin)
		}
		at, tree = s.former[i].at, &s.former[i].tree
		if t.N > s.former[i].old.Tree.N {
			return "" // that part of the former log is lost, as its succession says
		}
	}
	if t.N > index-at {
		return fmt.Sprintf("%d leaves were signed, but there were %d before it: the log was longer before", t.N, index-at)
	}
	if root, err := tree.root(t.N); err != nil || root != t.Hash {
		return fmt.Sprintf("the root %s was signed for %d leaves, in this log it is %s: the log was rewritten, or another one was shown to the witnesses", t.Hash, t.N, root)
	}
	return ""
}

// witnessed holds what the auditor brought against the log, and says how far it is protected.
func (s *story) witnessed() {
	w := &s.v.Witnessing
	for _, seen := range s.v.o.Trust.Seen {
		if why := s.beginning(s.v.Size, seen.Origin, tlog.Tree{N: seen.Size, Hash: seen.Root}); why != "" {
			s.wrong(SplitView, -1, "the state of %d leaves that was written down before: %s", seen.Size, why)
			continue
		}
		w.Seen++
		if seen.Origin == s.v.Origin {
			w.Protected = max(w.Protected, seen.Size)
		}
	}
	for _, g := range s.v.o.Trust.Witnesses {
		if s.watch.by[g.Name()] == nil {
			s.wrong(BadCosigned, -1, "nothing in this log is signed by %s, whose key was given: the log it watches is another one, or its signatures were taken out", g.Name())
		}
	}
	for _, x := range s.watch.by {
		w.Signers = append(w.Signers, *x)
		if x.Given && x.Size >= w.Protected {
			w.Protected, w.Until = x.Size, x.At
		}
	}
	slices.SortFunc(w.Signers, func(a, b Signer) int { return compareSigners(a, b) })
}

func compareSigners(a, b Signer) int {
	if a.Given != b.Given {
		if a.Given {
			return -1
		}
		return 1
	}
	if a.Name < b.Name {
		return -1
	}
	return 1
}
