package journal

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/wire"
)

// A Report is what Verify found.
type Report struct {
	Journals int
	Batches  int
	Records  int
	Open     int       // records that are not sealed yet
	Problems []Problem // at most 100; none when all is well
	More     int       // problems beyond those
	Notes    []Problem // writes that a kill or a power cut broke off before they were recorded: nothing is missing
}

// A Problem is something that is not as it should be, and where.
type Problem struct {
	File   string // in the folder
	Offset int64
	Kind   ProblemKind
	Err    error
}

// Error says where, and what.
func (p Problem) Error() string { return fmt.Sprintf("%s, byte %d: %v", p.File, p.Offset, p.Err) }

// Unwrap returns what is wrong.
func (p Problem) Unwrap() error { return p.Err }

// A ProblemKind says what to do about a problem. It is a key of the catalogue of texts, too.
type ProblemKind string

// Kinds of problem.
const (
	Unsigned   ProblemKind = "signature"  // not what this machine's key signed
	Chain      ProblemKind = "chain"      // a batch does not follow the one before
	Damaged    ProblemKind = "damaged"    // bytes on disk are not what was written
	Content    ProblemKind = "content"    // signed, and cannot be read
	Unreadable ProblemKind = "unreadable" // the file cannot be opened or read
	BrokenOff  ProblemKind = "broken_off" // a note: the last write of a file did not come to its end
)

// Verify checks every batch in a journal's folder: its signature, its place in the chain, its body and its lines. The
// error says that the folder cannot be read at all.
func Verify(dir string, verifiers note.Verifiers) (Report, error) {
	if _, err := segmentNumbers(dir); err != nil {
		return Report{}, err
	}
	v := verifier{keys: verifiers, ended: make(map[string]uint64)}
	for e := range Read(dir) {
		v.entry(e)
	}
	v.end(dir)
	return v.Report, nil
}

// A verifier goes over the entries of a journal's folder.
type verifier struct {
	Report
	keys  note.Verifiers
	last  Header
	hash  string            // of the last batch
	ended map[string]uint64 // by journal: its last batch
	torn  *Problem          // an end of a file that makes no sense; it is a note if what follows joins what was before
}

func (v *verifier) entry(e Entry) {
	switch torn := errors.Is(e.Err, errTorn); {
	case torn && e.File == openName:
		v.Notes = append(v.Notes, Problem{e.File, e.Offset, BrokenOff, e.Err})
		return
	case torn && v.torn == nil:
		v.torn = &Problem{e.File, e.Offset, Damaged, e.Err}
		return
	case torn:
		v.problem(e, Damaged, e.Err)
		return
	case e.Err != nil:
		v.problem(e, e.Problem(), e.Err)
	}
	if e.File == openName {
		v.Open += len(e.Records)
		return
	}
	if e.Batch.Note == nil {
		return
	}
	h, err := ParseNote(e.Batch.Note, v.keys)
	if err != nil {
		v.problem(e, Unsigned, err)
		return
	}
	if err := h.CheckBody(e.Batch.Body); err != nil {
		v.problem(e, Damaged, err)
		return
	}
	v.follow(e, h)
	v.Batches++
	v.Records += len(e.Records)
	v.last, v.hash = h, e.Batch.Hash()
	v.ended[h.Journal] = h.Seq
}

// follow checks that a batch follows the one before.
func (v *verifier) follow(e Entry, h Header) {
	joins := h.Seq == v.last.Seq+1 && h.Previous == v.hash
	switch {
	case h.Journal != v.last.Journal:
		joins = h.Seq == 1
		if v.Journals++; v.ended[h.Journal] > 0 {
			v.problem(e, Chain, fmt.Errorf("journal %s begins a second time", h.Journal))
		} else if h.Seq > 1 && v.Journals > 1 {
			v.problem(e, Chain, fmt.Errorf("journal %s begins with batch %d", h.Journal, h.Seq))
		}
	case h.Seq != v.last.Seq+1:
		v.problem(e, Chain, fmt.Errorf("batch %d of journal %s follows batch %d", h.Seq, h.Journal, v.last.Seq))
	case h.Previous != v.hash:
		v.problem(e, Chain, fmt.Errorf("batch %d of journal %s does not name the one before it", h.Seq, h.Journal))
	}
	v.settle(joins)
}

// settle decides what a broken end of a segment was.
func (v *verifier) settle(joins bool) {
	if v.torn == nil {
		return
	}
	if joins {
		v.torn.Kind = BrokenOff
		v.Notes = append(v.Notes, *v.torn)
	} else {
		v.add(*v.torn)
	}
	v.torn = nil
}

// end compares the last batch with what the other files know of it.
func (v *verifier) end(dir string) {
	next := wire.Head{Journal: v.last.Journal, Seq: v.last.Seq + 1}
	at, err := readOpenPlace(dir)
	acked := readCursor(dir)
	var missing *Problem
	switch {
	case acked.Journal != "" && acked.Seq > v.ended[acked.Journal]: // the last acknowledged one is always kept
		missing = &Problem{cursorName, 0, Chain, fmt.Errorf("the collector has batch %d of journal %s, and the last one here is %d", acked.Seq, acked.Journal, v.ended[acked.Journal])}
	case err == nil && at.journal == next.Journal && at.seq > next.Seq:
		missing = &Problem{openName, 0, Chain, fmt.Errorf("the open batch is %d of journal %s, and the last sealed one is %d", at.seq, at.journal, v.last.Seq)}
	}
	v.settle(missing == nil)
	if missing != nil {
		v.add(*missing)
	}
}

// readOpenPlace reads which batch the open file will be.
func readOpenPlace(dir string) (p place, err error) {
	err = fmt.Errorf("%s: not there, or damaged", filepath.Join(dir, openName))
	frames(dir, openName, true, func(_ int64, f frame, e error) bool {
		if e == nil && f.kind == kindOpen {
			p, err = parsePlace(string(f.payload), "egovmon-open/1", "seq")
		}
		return false
	})
	return p, err
}

func (v *verifier) problem(e Entry, kind ProblemKind, err error) {
	v.add(Problem{e.File, e.Offset, kind, err})
}

func (v *verifier) add(p Problem) {
	if len(v.Problems) == 100 {
		v.More++
		return
	}
	v.Problems = append(v.Problems, p)
}
