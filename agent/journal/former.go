package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
)

// noteEvery bounds how often the head is kept outside the journal's folder: it is one more sync.
const noteEvery = 10 * time.Minute

// The file has one line: egovmon-head/1 JOURNAL SEQ HASH, with - for a hash that is not known; seq 0 while nothing was
// sealed.
const formerVersion = "egovmon-head/1"

// remember keeps a head outside the folder, unless that was done a short while ago for the same journal.
func (j *Journal) remember(head wire.Head, hash string, now time.Time) {
	if j.o.Former == "" || head.Seq > 0 && now.Sub(j.noted).Abs() < noteEvery {
		return
	}
	if hash == "" {
		hash = empty
	}
	if err := durable.Replace(j.o.Former, fmt.Appendf(nil, "%s %s %d %s\n", formerVersion, head.Journal, head.Seq, hash)); err != nil {
		j.log.Warn("head of the journal cannot be kept outside its folder", "file", j.o.Former, "err", err)
		return
	}
	if j.noted = now; head.Seq == 0 {
		j.noted = time.Time{} // the first batch is noted, too
	}
}

// recoverFormer reads the head of a journal that is gone.
func (j *Journal) recoverFormer(r *Recovered) {
	if j.o.Former == "" || !r.First {
		return
	}
	text, err := durable.Read(j.o.Former, 200)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	head, hash, ok := parseFormer(string(text))
	if err != nil || !ok {
		j.log.Warn("last head of a journal that is gone cannot be read", "file", j.o.Former, "err", err)
		return
	}
	j.former, j.formerSum, r.Deleted = head, hash, head.Journal
	j.log.Error("journal is gone; a new one will name it", "dir", j.o.Dir, "journal", head.Journal, "seq", head.Seq)
}

func parseFormer(text string) (head wire.Head, hash string, ok bool) {
	w := strings.Fields(text)
	if len(w) != 4 || w[0] != formerVersion || !isHex(w[1], 16) || w[3] != empty && !isHex(w[3], 32) {
		return wire.Head{}, "", false
	}
	seq, err := strconv.ParseUint(w[2], 10, 64)
	if err != nil {
		return wire.Head{}, "", false
	}
	if hash = w[3]; hash == empty {
		hash = ""
	}
	return wire.Head{Journal: w[1], Seq: seq}, hash, true
}

// formerHead is the head of the journal that is gone, as a begin record names it.
func (j *Journal) formerHead() string {
	if j.former.Seq == 0 || j.formerSum == "" {
		return ""
	}
	return fmt.Sprintf("%d:%s", j.former.Seq, j.formerSum)
}
