package audit

import (
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/journal"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// A former log is one that this log came after, when its end was lost. Its leaves stand here from index at on, as far as
// they were kept.
type former struct {
	leaf int64  // of the succession
	note []byte // the succession as it was signed
	old  wire.Succession
	at   int64
	tree grown
}

// formerOf returns the former log of a name; nil when there is none.
func (s *story) formerOf(origin string) *former {
	for _, f := range s.former {
		if f.old.Old == origin {
			return f
		}
	}
	return nil
}

// logs follows the logs before this one: their successions are the first leaves, the latest first, and each is followed by
// the leaves of the log that it ended.
func (s *story) logs(e evidence.Stored) error {
	for _, f := range s.former {
		if n := e.Index - f.at; n < 0 || n >= f.old.Tree.N {
			continue
		}
		if err := f.tree.add(e.Leaf.Hash()); err != nil {
			return err
		}
		if f.tree.leaves < f.old.Tree.N {
			continue
		}
		if root, err := f.tree.root(f.old.Tree.N); err != nil || root != f.old.Tree.Hash {
			s.wrong(BadLeaf, f.leaf, "leaf %d says that %s ended with the root %s, its leaves have %s: it was rewritten when it was copied", f.leaf, f.old.Old, f.old.Tree.Hash, root)
		}
	}
	if e.Leaf.Type() != evidence.LogKey {
		return nil
	}
	if key := e.Leaf.Field("recovery"); key != "" && s.recovery == nil { // the first one holds for ever
		v, err := note.NewVerifier(key)
		if err != nil {
			s.wrong(BadLeaf, e.Index, "leaf %d: recovery key: %v", e.Index, err)
			return nil
		}
		s.recovery = v
	}
	if e.Leaf.Field("old") != "" {
		f, err := newFormer(e)
		if err == nil && e.Index != int64(len(s.former)) {
			err = fmt.Errorf("a succession stands at the beginning of a log")
		}
		if err != nil {
			s.wrong(BadLeaf, e.Index, "leaf %d (%s): %v", e.Index, describe(e.Leaf), err)
			return nil
		}
		s.former = append(s.former, f)
	}
	return nil
}

func newFormer(e evidence.Stored) (*former, error) {
	size, err := strconv.ParseInt(e.Leaf.Field("size"), 10, 64)
	if err != nil || size < 0 {
		return nil, fmt.Errorf("size %.40q is no number of leaves", e.Leaf.Field("size"))
	}
	root, err := tlog.ParseHash(e.Leaf.Field("root"))
	if err != nil {
		return nil, err
	}
	return &former{leaf: e.Index, note: e.Blob, at: e.Index + 1, old: wire.Succession{Old: e.Leaf.Field("old"), Tree: tlog.Tree{N: size, Hash: root}}}, nil
}

// signed proves that each log before this one was ended with the recovery key, and not by whoever holds the collector's.
func (s *story) signed() {
	next := s.v.Origin
	for _, f := range s.former {
		bad := func(format string, args ...any) {
			s.wrong(BadLeaf, f.leaf, "leaf %d (log-key): %s", f.leaf, fmt.Sprintf(format, args...))
		}
		switch {
		case f.tree.leaves != f.old.Tree.N:
			bad("%s ended with %d leaves, %d of them are here", f.old.Old, f.old.Tree.N, f.tree.leaves)
		case s.recovery == nil:
			bad("the log names no recovery key, and only that one may end %s", f.old.Old)
		default:
			got, err := wire.OpenSuccession(f.note, s.recovery)
			if err != nil {
				bad("%v", err)
			} else if got.Old != f.old.Old || got.Tree != f.old.Tree || got.New != next {
				bad("another succession was signed: of %s with %d leaves to %s", got.Old, got.Tree.N, got.New)
			}
		}
		next = f.old.Old
	}
}

// saw compares the state of this former log that a machine had seen when it sealed the batch of a leaf here. It says what is
// wrong; lost is that the machine had seen leaves that nobody has any more, as the succession says.
func (f *former) saw(leaf int64, c journal.Checkpoint) (lost bool, wrong string) {
	copied := leaf < f.at+f.old.Tree.N
	switch {
	case copied && c.Size > leaf-f.at:
		return false, fmt.Sprintf("the machine saw %d leaves of %s, but this batch was leaf %d there: the log was longer before", c.Size, c.Origin, leaf-f.at)
	case c.Size > f.old.Tree.N:
		return true, ""
	}
	if root, err := f.tree.root(c.Size); err != nil || root != c.Hash {
		return false, fmt.Sprintf("the machine saw the root %s for %d leaves of %s, here it is %s: the log was rewritten, or another one was shown to the machine", c.Hash, c.Size, c.Origin, root)
	}
	return false, ""
}
