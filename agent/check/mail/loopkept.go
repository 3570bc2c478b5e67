package mail

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// What a loop keeps in its check's notes, by name.
const (
	postingNote = "sent"
	ledgerNote  = "under_way"
)

// maxSeenKept letters that were found are kept in mind over a restart: more than one run can read.
const maxSeenKept = 4 * maxLetters

// A posting is what is kept of the letters handed in, so that a restart sends no more than a day may have.
type posting struct {
	Day    time.Time `json:"day"`
	Copies int       `json:"copies"`
	Last   time.Time `json:"last"`
	Turn   int       `json:"turn"`
}

// recall reads what was handed in before this start.
func (c *loopCheck) recall() {
	if c.notes == nil || !c.last.IsZero() {
		return
	}
	var p posting
	if json.Unmarshal(c.notes.Note(postingNote), &p) == nil && p.Copies >= 0 && p.Turn >= 0 {
		c.day, c.copies, c.last, c.turn = p.Day, min(p.Copies, c.daily), p.Last, p.Turn%max(1, len(c.peers))
	}
}

// keep writes down what is handed in.
func (c *loopCheck) keep() {
	if c.notes == nil {
		return
	}
	if note, err := json.Marshal(posting{c.day, c.copies, c.last, c.turn}); err == nil {
		c.notes.Keep(postingNote, note)
	}
}

// A keptLedger is a [ledger] as it is kept over a restart: a letter is found late or proven lost whatever the agent did
// meanwhile. It has a place for at most maxPending and maxSeenKept letters, about 48 KB.
type keptLedger struct {
	Of     string       `json:"of"` // whose letters: see [loopCheck.whose]
	Out    []keptPosted `json:"out,omitempty"`
	Seen   []uint64     `json:"seen,omitempty"`
	Proved int64        `json:"proved,omitempty"` // milliseconds since 1970
}

// A keptPosted is a [posted].
type keptPosted struct {
	Serial uint64 `json:"serial"`
	At     int64  `json:"at"`               // milliseconds since 1970
	Absent int64  `json:"absent,omitempty"` // whole minutes after At, so that not every run has to write
	Lost   bool   `json:"lost,omitempty"`
	Proof  []byte `json:"p,omitempty"` // see [proof]; notes of older programs have none
}

// whose names the mailbox and where it is: letters from before a plan that names another are not looked for.
func (c *loopCheck) whose() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{c.mailbox, c.imap.server.address, c.imap.server.user}, "\n")))
	return hex.EncodeToString(sum[:16])
}

// recallLedger reads, in the first run after a start, what was under way before it. What cannot be so is left out.
func (c *loopCheck) recallLedger(now time.Time) {
	if c.known || c.notes == nil {
		return
	}
	c.known = true
	var k keptLedger
	if json.Unmarshal(c.notes.Note(ledgerNote), &k) != nil || k.Of != c.whose() || len(k.Out) > maxPending || len(k.Seen) > maxSeenKept {
		return
	}
	l := &c.ledger
	for _, p := range k.Out {
		at := time.UnixMilli(p.At)
		twice := slices.ContainsFunc(l.out, func(o posted) bool { return o.serial == p.Serial })
		if twice || p.Serial >= maxSerial || p.Absent < 0 || p.Absent > int64(now.Sub(at)/time.Minute) || at.After(now.Add(l.late)) {
			continue // the clock was ahead, for one: nothing can be told of such a letter
		}
		o := posted{serial: p.Serial, at: at, lost: p.Lost}
		if len(p.Proof) == len(o.proof) {
			o.proof = proof(p.Proof)
		}
		if p.Absent > 0 {
			o.absent = at.Add(time.Duration(p.Absent) * time.Minute)
		}
		l.out = append(l.out, o)
	}
	slices.SortStableFunc(l.out, func(a, b posted) int { return a.at.Compare(b.at) })
	l.seen = k.Seen
	if proved := time.UnixMilli(k.Proved); k.Proved != 0 && !proved.After(now.Add(l.late)) {
		l.proved = proved
	}
}

// keepLedger writes down what is under way. It is called when a letter was taken, before one that was found is deleted,
// and at the end of a run.
func (c *loopCheck) keepLedger() {
	if c.notes == nil {
		return
	}
	k := keptLedger{Of: c.whose(), Seen: c.ledger.seen[max(0, len(c.ledger.seen)-maxSeenKept):]}
	for _, p := range c.ledger.out {
		o := keptPosted{Serial: p.serial, At: p.at.UnixMilli(), Lost: p.lost}
		if p.proof != (proof{}) {
			o.Proof = p.proof[:]
		}
		if !p.absent.IsZero() {
			o.Absent = int64(min(max(0, p.absent.Sub(p.at)), c.ledger.lost) / time.Minute)
		}
		k.Out = append(k.Out, o)
	}
	if !c.ledger.proved.IsZero() {
		k.Proved = c.ledger.proved.UnixMilli()
	}
	if note, err := json.Marshal(k); err == nil {
		c.notes.Keep(ledgerNote, note)
	}
}
