package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/wire"
)

// A Backlog is what the collector has not acknowledged. The zero value is nothing.
type Backlog struct {
	Batches int       // sealed
	Records int       // in these, and in the open batch
	Oldest  time.Time // when the first of these batches was sealed; zero for none
	Last    time.Time // when the last batch was sealed, acknowledged or not; zero for none
}

// Waiting tells what in a journal's folder waits to be sent. It changes nothing, and may run beside the agent. A folder
// that is not there holds nothing; what cannot be read is not counted.
func Waiting(dir string) (Backlog, error) {
	if _, err := segmentNumbers(dir); errors.Is(err, fs.ErrNotExist) {
		return Backlog{}, nil
	} else if err != nil {
		return Backlog{}, err
	}
	acked := readCursor(dir)
	var b Backlog
	for e := range Read(dir) {
		if e.Header.Seq > 0 {
			b.Last = e.Header.Sealed
			if e.Header.Head() == acked {
				b = Backlog{Last: b.Last}
				continue
			}
			if b.Batches++; b.Batches == 1 {
				b.Oldest = e.Header.Sealed
			}
		}
		b.Records += len(e.Records)
	}
	return b, nil
}

// readCursor reads the acknowledged head; the zero Head when there is no readable one.
func readCursor(dir string) wire.Head {
	text, err := os.ReadFile(filepath.Join(dir, cursorName))
	if err != nil || len(text) > 200 {
		return wire.Head{}
	}
	return parseCursor(strings.Fields(string(text)))
}

// parseCursor reads the words of a cursor's line.
func parseCursor(words []string) wire.Head {
	if len(words) != 4 || words[0] != "egovmon-cursor/1" || words[3] != "." || !isHex(words[1], 16) {
		return wire.Head{}
	}
	seq, err := strconv.ParseUint(words[2], 10, 64)
	if err != nil {
		return wire.Head{}
	}
	return wire.Head{Journal: words[1], Seq: seq}
}

// AppendLine appends a record as it stands in a batch: one JSON object and a newline.
func AppendLine(dst []byte, r *Record) ([]byte, error) {
	var e encoder
	return e.record(dst, r)
}
