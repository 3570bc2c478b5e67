package journal

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
)

// An Entry is what lies at one place of a journal on disk: a sealed batch, or records of the open one.
type Entry struct {
	File    string // in the folder
	Offset  int64
	Batch   Batch    // zero for records of the open batch
	Header  Header   // of the batch, not verified; zero for records of the open batch
	Records []Record // what can be read
	Err     error    // what is wrong here; reading goes on behind it, or with the next file
}

// Read yields what lies in a journal's folder, oldest first, the open batch last. It changes nothing, and may run
// beside the agent. Segments that a failed write left open at the end may hold a batch that the next segment has too.
func Read(dir string) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		nums, err := segmentNumbers(dir)
		if err != nil {
			yield(Entry{File: ".", Err: err})
			return
		}
		rd, err := NewReader()
		if err != nil {
			yield(Entry{File: ".", Err: err})
			return
		}
		var last Header
		for _, num := range nums {
			if !rd.segment(dir, segment{num: num}.name(), func(e Entry) bool {
				if e.Header.Seq > 0 {
					last = e.Header
				}
				return yield(e)
			}) {
				return
			}
		}
		rd.openFile(dir, last, yield)
	}
}

// frames walks the frames of a file. With seeded, the CRC of the first one seeds the others.
func frames(dir, name string, seeded bool, use func(at int64, f frame, err error) bool) bool {
	f, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	if err != nil {
		return use(0, frame{}, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return use(0, frame{}, err)
	}
	var seed uint32
	for at := int64(0); ; {
		fr, err := readFrame(f, at, st.Size(), seed)
		if err == io.EOF {
			return true
		}
		if err != nil {
			return use(at, frame{}, err)
		}
		if seeded && at == 0 {
			seed = fr.sum
		}
		if !use(at, fr, nil) {
			return false
		}
		at = fr.end
	}
}

func (r *Reader) segment(dir, name string, yield func(Entry) bool) bool {
	r.Dictionaries(inSegment(dir, name))
	return frames(dir, name, false, func(at int64, f frame, err error) bool {
		e := Entry{File: name, Offset: at, Err: err}
		switch {
		case err != nil:
		case f.kind == kindSegment || f.kind == kindDictionary:
			return true
		case f.kind != kindBatch:
			e.Err = fmt.Errorf("frame of unknown kind %q", f.kind)
		default:
			if e.Batch, e.Err = splitBatch(f.payload); e.Err != nil {
				break
			}
			if e.Header, e.Err = headerOf(e.Batch.Note); e.Err == nil {
				e.Records, e.Err = r.Records(e.Header, e.Batch.Body)
			}
		}
		return yield(e)
	})
}

// openFile yields what the open batch's file holds, unless that batch was sealed since: last is the last sealed one.
func (r *Reader) openFile(dir string, last Header, yield func(Entry) bool) {
	var head frame
	frames(dir, openName, true, func(at int64, f frame, err error) bool {
		e := Entry{File: openName, Offset: at, Err: err}
		switch {
		case err != nil:
		case at == 0:
			head = f
			p, err := parsePlace(string(f.payload), "egovmon-open/1", "seq")
			return err != nil || p.journal != last.Journal || p.seq > last.Seq
		case f.kind != kindLines || head.kind != kindOpen:
			e.Err = fmt.Errorf("frame of unknown kind %q", f.kind)
		default:
			e.Records, e.Err = r.lines(f.payload)
		}
		return yield(e)
	})
}

// A Report is what Verify found.
type Report struct {
	Journals int
	Batches  int
	Records  int
	Open     int     // records that are not sealed yet
	Problems []error // at most 100; none when all is well
	More     int     // problems beyond those
}

// Verify checks every batch in a journal's folder: its signature, its place in the chain, its body and its lines. The
// error says that the folder cannot be read at all.
func Verify(dir string, verifiers note.Verifiers) (Report, error) {
	if _, err := segmentNumbers(dir); err != nil {
		return Report{}, err
	}
	var r Report
	var last Header
	var lastHash string
	sealedLast := make(map[string]uint64)
	for e := range Read(dir) {
		if e.File == openName && e.Err == nil {
			r.Open += len(e.Records)
			continue
		}
		if e.Err != nil {
			r.problem(e, e.Err)
		}
		if e.Batch.Note == nil {
			continue
		}
		h, err := ParseNote(e.Batch.Note, verifiers)
		if err == nil {
			err = h.CheckBody(e.Batch.Body)
		}
		if err != nil {
			r.problem(e, err)
			continue
		}
		switch {
		case h.Journal != last.Journal:
			if r.Journals++; sealedLast[h.Journal] > 0 {
				r.problem(e, fmt.Errorf("journal %s begins a second time", h.Journal))
			}
		case h.Seq == last.Seq && e.Batch.Hash() == lastHash:
			continue // written again after a failure
		case h.Seq != last.Seq+1:
			r.problem(e, fmt.Errorf("batch %d of journal %s follows batch %d", h.Seq, h.Journal, last.Seq))
		case h.Previous != lastHash:
			r.problem(e, fmt.Errorf("batch %d of journal %s does not name the one before it", h.Seq, h.Journal))
		}
		r.Batches++
		r.Records += len(e.Records)
		last, lastHash = h, e.Batch.Hash()
		sealedLast[h.Journal] = h.Seq
	}
	return r, nil
}

func (r *Report) problem(e Entry, err error) {
	if len(r.Problems) == 100 {
		r.More++
		return
	}
	r.Problems = append(r.Problems, fmt.Errorf("%s, byte %d: %w", e.File, e.Offset, err))
}
