package push

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// HistoryFile keeps the checkpoints that verified, a line each: when it came, origin, leaves, root hash and signature,
// from which the signed note can be put together again. Two machines whose files contradict one another were shown
// different logs.
const HistoryFile = "checkpoints"

const (
	maxHistory  = 1 << 20
	historyHead = "egovmon-checkpoints/1\n"
)

// remember adds a checkpoint to HistoryFile. That it fails is no reason to stop: the last one is kept apart.
func (p *Pusher) remember(t tlog.Tree, msg []byte) {
	line := fmt.Sprintf("%s %s %d %s %s\n", p.now().UTC().Format(time.RFC3339), p.logKey.Name(), t.N, t.Hash, signature(msg))
	path := filepath.Join(p.o.Dir, HistoryFile)
	err := appendLine(path, line)
	if st, e := os.Stat(path); e == nil && st.Size() > maxHistory {
		err = p.thinOut(path)
	}
	if err != nil {
		p.log.Warn("the history of checkpoints cannot be kept", "err", err)
	}
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if st, e := f.Stat(); e == nil && st.Size() == 0 {
		line = historyHead + line
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

func (p *Pusher) thinOut(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.keep(HistoryFile, thin(data, p.now()))
}

// thin leaves of the lines older than a day the first of each hour, and of those older than 30 days the first of each
// day. Lines that are no history's are dropped. Should the rest be too much all the same, its older half goes.
func thin(data []byte, now time.Time) []byte {
	var kept []string
	last := ""
	for line := range strings.Lines(string(data)) {
		stamp, _, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339, stamp)
		if err != nil || !strings.HasSuffix(line, "\n") {
			continue
		}
		key := line
		switch age := now.Sub(at); {
		case age > 30*24*time.Hour:
			key = stamp[:len("2026-11-23")]
		case age > 24*time.Hour:
			key = stamp[:len("2026-11-23T01")]
		}
		if key != last {
			kept = append(kept, line)
		}
		last = key
	}
	size := 0
	for _, l := range kept {
		size += len(l)
	}
	for size > maxHistory/2 {
		size -= len(kept[0])
		kept = kept[1:]
	}
	var b bytes.Buffer
	b.WriteString(historyHead)
	for _, l := range kept {
		b.WriteString(l)
	}
	return b.Bytes()
}
