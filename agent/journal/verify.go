package journal

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
)

// An Entry is what lies at one place of a journal on disk: a sealed batch, or records of the open one.
type Entry struct {
	File    string // in the folder
	Offset  int64
	Batch   Batch    // zero for records of the open batch
	Header  Header   // of the batch, not verified; zero for records of the open batch
	Records []Record // what can be read
	Err     error    // what is wrong here; reading goes on behind it, or with the next file

	joined bool // after a broken end: what follows goes on where this ends
}

// Problem tells what kind of problem an entry's error is.
func (e Entry) Problem() ProblemKind {
	switch torn := errors.Is(e.Err, errTorn); {
	case torn && (e.joined || e.File == openName):
		return BrokenOff
	case torn:
		return Damaged
	case e.Batch.Note == nil:
		return Unreadable
	}
	return Content
}

// Read yields what lies in a journal's folder, oldest first, the open batch last. It changes nothing, and may run
// beside the agent. Batches that a failed write left at the end of a segment, and that the next segment has, are passed
// over.
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
		places := make([]place, len(nums))
		for i, num := range nums {
			places[i], _, _ = readPlace(filepath.Join(dir, segment{num: num}.name())) // the zero place if it is damaged
		}
		var last Header
		for i, num := range nums {
			limit := followedAt(places[i:])
			if !rd.segment(dir, segment{num: num}.name(), func(e Entry) bool {
				if e.Header.Seq >= limit {
					return true
				}
				if e.Header.Seq > 0 {
					last = e.Header
				}
				e.joined = limit == last.Seq+1 && places[i].journal == last.Journal
				return yield(e)
			}) {
				return
			}
		}
		rd.openFile(dir, last, yield)
	}
}

// followedAt returns the batch with which the journal of the first place goes on in another segment; the largest number
// if it does not.
func followedAt(places []place) uint64 {
	for _, p := range places[1:] {
		switch p.journal {
		case "":
			continue // cannot be read
		case places[0].journal:
			return p.seq
		}
		break
	}
	return math.MaxUint64
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
