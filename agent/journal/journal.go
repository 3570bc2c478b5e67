package journal

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/wire"
)

const (
	openName    = "open"     // the open batch's lines
	openNew     = "open.new" // its next version, until it is renamed
	cursorName  = "cursor"
	segmentSize = 1 << 20
	// maxHeld is how many bytes of lines are held while nothing can be written. Below wire.MaxBody, so that they fit
	// one batch whatever they contain.
	maxHeld = 1000 << 10
)

// Options say where a journal lies and who writes it.
type Options struct {
	Dir     string           // folder of the journal alone; made with mode 0700
	Machine string           // id in the profile
	Signer  note.Signer      // of the machine's journal key, egovmon/D/journal/MACHINE
	Now     func() time.Time // the machine's clock
	Build   string           // version of the program, for begin records
	Log     *slog.Logger
	Seal    time.Duration // how long results are gathered; default 1 minute
	// Former is a file outside Dir that keeps the journal's last head, so that a journal can name the one before when Dir
	// is lost. Default none.
	Former string
	Keep   time.Duration // how long a batch stays after it was sealed, also when acknowledged; default and least 14 days

	// Boot tells which start of the machine this is, and how long ago it was, counting the time that the machine slept.
	// Without it, nothing of what was recorded by a wrong clock can be set right later. Optional.
	Boot func() (id string, up time.Duration)

	disk        disk  // default the operating system's
	segmentSize int64 // default segmentSize
}

// A Journal is the record of one machine on disk. Its methods may be called from several goroutines.
//
// What is on disk: the lines of the open batch, in one file, written and synced together at each call of Record; and
// segments of sealed batches, byte for byte as they are sent. Lines that are sealed in the call that brings them go
// into the batch only. A batch is in its segment before the file of the open batch is used again, and that file names
// the batch it belongs to, so that after a crash each line is in exactly one of the two.
type Journal struct {
	o    Options
	disk disk
	log  *slog.Logger

	writing sync.Mutex // one writer at a time; guards what follows
	enc     encoder
	zstd    *zstd.Encoder // without a dictionary; nil until it is needed
	packer  *packer       // of the dictionary in use; nil for none
	buf     []byte        // a frame being put together
	seal    sealer
	begun   bool
	closed  bool
	broken  string // why the journal that was found cannot go on; "" when it can

	id       string // of the journal; "" before the first one began
	seq      uint64 // of the open batch
	previous string // hash of the last sealed batch's note
	lines    []byte // of the open batch
	records  int    // how many lines
	written  int    // bytes of lines that the open file holds
	synced   int    // bytes of lines that are durable there
	waiting  []check.Result
	lost     lost
	without  part         // what is left out of results, as the disk is full
	fullAt   time.Time    // when it was last seen to be full
	plan     *PlanApplied // the last one recorded
	lastTime time.Time    // latest instant recorded in this journal
	clock    *Clock
	measured bool  // clock was measured since the journal was opened
	eras     []era // of what is kept, the present one at the end
	present  era   // of the clock that the machine has now
	erasLate bool  // eras are not on disk as they are here
	past     *past // nil, but while something is recorded again that another clock has seen
	seen     *Checkpoint
	failing  bool // the last write failed, which was logged

	lostInAll, spared int // results given up, and results with a part left out, since it was opened

	open      file
	openFresh bool // open still holds an earlier batch
	openSize  int64
	openSeed  uint32
	seg       file      // the last segment; nil when the next batch begins a new one
	segDict   string    // SHA-256 of the dictionary in the last segment; "" for none
	num       int       // of the last segment that was ever begun
	former    wire.Head // the last head that is known of a journal that is gone
	formerSum string    // its hash; "" when that is not known
	noted     time.Time // when the present head was kept in Options.Former
	litter    []string  // segments that failed when they were begun, and could not be removed
	damaged   *segment  // the last one, with whole batches behind a place that makes no sense
	armed     time.Time
	wake      chan struct{}
	sealed    chan struct{}

	mu       sync.RWMutex // guards what readers see
	latest   map[string]check.Result
	lastSlot map[string]time.Time
	segments []segment
	head     wire.Head
	headHash string
	acked    wire.Head
	oldest   time.Time // when the first batch that is not acknowledged was sealed; zero for none
	recorded uint64
	openUsed int64

	reading sync.Mutex
	pos     position
}

// A Recovered is what OpenJournal found.
type Recovered struct {
	First      bool                 // the folder was empty
	Journal    string               // id of the journal that goes on; "" when there is none
	LastTime   time.Time            // latest instant recorded; zero for none
	Clean      bool                 // the last record is an end
	EndCause   string               // cause of that end
	LastSlot   map[string]time.Time // the slot last recorded of each check, in this journal
	Ended      []string             // checks of which that slot is in no journal that goes on, as this one is unreadable
	Ranges     []check.Range        // those of the last segment and the open batch
	Plan       *PlanApplied         // the last one recorded; nil for none
	TornBytes  int64                // bytes at the end of a file that were never synced, and were cut off
	TornAt     time.Time            // when what is torn or unreadable was last written; zero when nothing is
	Deleted    string               // id of a journal that was here once, when the folder is empty
	Unreadable string               // why the journal cannot go on, so that Begin starts a new one; "" when it can
}

// OpenJournal opens the journal in a folder, and repairs what a crash left. It records nothing: when the clock is known to be
// plausible the caller calls [Journal.Begin], or [Journal.Rotate] when the clock is behind what was recorded.
func OpenJournal(o Options) (*Journal, Recovered, error) {
	if !machineName.MatchString(o.Machine) {
		return nil, Recovered{}, fmt.Errorf("journal: machine %.80q: a machine's name is 1 to 63 of a-z, 0-9 and -", o.Machine)
	}
	if err := signs(o.Signer.Name(), o.Machine); err != nil {
		return nil, Recovered{}, fmt.Errorf("journal: %w", err)
	}
	if o.Seal <= 0 {
		o.Seal = time.Minute
	}
	o.Keep = max(o.Keep, 14*24*time.Hour)
	if o.disk == nil {
		o.disk = folder(o.Dir)
	}
	if o.segmentSize == 0 {
		o.segmentSize = segmentSize
	}
	j := &Journal{
		o: o, disk: o.disk, log: o.Log, seal: sealer{seal: o.Seal}, seq: 1, previous: NoPrevious,
		wake: make(chan struct{}, 1), sealed: make(chan struct{}, 1),
		latest: make(map[string]check.Result), lastSlot: make(map[string]time.Time),
	}
	r, err := j.recover()
	if err != nil {
		return nil, Recovered{}, err
	}
	return j, r, nil
}

// Begin records that the agent has started. It comes before any other record.
func (j *Journal) Begin(now time.Time) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	switch {
	case j.closed:
		return errClosed
	case j.begun:
		return errors.New("journal: has begun already")
	}
	j.resumeClock(now)
	switch {
	case j.id == "" && j.former.Journal != "":
		return j.beginNew(now, "deleted")
	case j.id == "":
		return j.beginNew(now, "first")
	case j.broken != "":
		damaged := j.damaged
		err := j.beginNew(now, "unreadable")
		if damaged != nil {
			err = errors.Join(err, j.saveBehind(*damaged))
		}
		return err
	}
	j.begun = true
	j.seal.begin()
	j.enterEra(now)
	return j.record(now, Record{Begin: &Begin{At: now, Build: j.o.Build, Cause: "start"}})
}

// Rotate ends the journal and begins a new one, which names it: after the clock was set back (clock_stepped), or when
// the collector holds another continuation of it (fork). With an error the old journal goes on if [Journal.ID] is
// still the same; else the new one has begun and what could not be written is tried again with the next record.
func (j *Journal) Rotate(cause string, now time.Time) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.closed {
		return errClosed
	}
	if !j.begun {
		j.resumeClock(now)
		if j.id != "" && j.broken == "" {
			j.enterEra(now) // the end stands in a batch of the clock as it is now
		}
	}
	if err := j.endNow(cause, now); err != nil {
		return err
	}
	return j.beginNew(now, cause)
}

// endNow ends the present journal, if there is one that can go on.
func (j *Journal) endNow(cause string, now time.Time) error {
	if j.id == "" || j.broken != "" {
		return nil
	}
	lines, records := len(j.lines), j.records
	if err := j.add(&Record{End: &End{At: j.by(now), Cause: cause}}, now); err != nil {
		return err
	}
	if err := j.sealNow(now); err != nil {
		j.lines, j.records = j.lines[:lines], records
		return fmt.Errorf("journal %s: end it with cause %s: %w", j.id, cause, err)
	}
	j.publish()
	return nil
}

// by is now by the clock that the open batch is of.
func (j *Journal) by(now time.Time) time.Time {
	if j.past != nil {
		return now.Add(j.past.shift)
	}
	return now
}

// beginNew starts a journal under a fresh id.
func (j *Journal) beginNew(now time.Time, cause string) error {
	b := Begin{At: j.by(now), Build: j.o.Build, Cause: cause, PreviousJournal: j.id}
	switch {
	case j.id != "":
		b.PreviousHead = fmt.Sprintf("%d:%s", j.seq-1, j.previous)
	case j.former.Journal != "":
		b.PreviousJournal, b.PreviousHead = j.former.Journal, j.formerHead()
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	j.id, j.seq, j.previous = hex.EncodeToString(id[:]), 1, NoPrevious
	// What an unreadable journal's open batch held goes into the new one, behind its begin.
	carried, records := bytes.Clone(j.lines), j.records
	if j.broken == "" {
		carried, records = nil, 0
	}
	j.lines, j.records, j.written, j.synced, j.openFresh = j.lines[:0], 0, 0, 0, true
	j.waiting = nil
	j.closeSegment()
	if j.open != nil { // somebody may have removed it: the new journal has its own
		_ = j.open.Close()
		j.open = nil
	}
	j.lastTime = now
	j.begun, j.broken = true, ""
	j.enterEra(now)
	j.seal.sealed(now)
	j.seal.last = time.Time{}
	j.seal.begin()
	j.mu.Lock()
	clear(j.latest)
	clear(j.lastSlot)
	j.mu.Unlock()
	if err := j.add(&Record{Begin: &b}, now); err != nil {
		return err
	}
	j.lines = append(j.lines, carried...)
	j.records += records
	j.seal.wrote(len(carried), now)
	err := j.flush(now)
	j.remember(wire.Head{Journal: j.id}, "", now)
	return err
}

var (
	errClosed = errors.New("journal: is closed")
	errBegin  = errors.New("journal: has not begun: call Begin first")
)

// Write hands results and ranges to the operating system at once, so that a kill loses nothing of them. They are
// recorded, and shown, when [Journal.Sync] has returned; what cannot be written is held until then. The error tells of
// results that cannot stand in a journal, or that were given up because too much is held.
func (j *Journal) Write(results []check.Result, ranges []check.Range) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.ready(); err != nil {
		return err
	}
	err := j.admit(results, ranges, j.o.Now())
	if !j.failing {
		if e := j.writeOpen(); e != nil {
			j.complain("records cannot be written; they are held in memory", e)
		}
	}
	return err
}

// Sync makes durable what was written and held, in a sealed batch when one is due. With an error, what could not be
// written is held and tried again at the next call; when too much is held, results are given up and a data_lost range
// says so.
func (j *Journal) Sync() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.ready(); err != nil {
		return err
	}
	now := j.o.Now()
	j.relax(now)
	j.admitLoss(now)
	return j.flush(now)
}

// Record is Write and Sync in one.
func (j *Journal) Record(results []check.Result, ranges []check.Range) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.ready(); err != nil {
		return err
	}
	now := j.o.Now()
	err := j.admit(results, ranges, now)
	return errors.Join(err, j.flush(now))
}

// admit adds what one tick brought to the open batch, in memory.
func (j *Journal) admit(results []check.Result, ranges []check.Range, now time.Time) error {
	j.relax(now)
	j.admitLoss(now)
	var errs []error
	for i := range ranges {
		errs = append(errs, j.add(&Record{Range: &ranges[i]}, now))
	}
	for i := range results {
		if len(j.lines) >= maxOpen && !j.failing {
			errs = append(errs, j.flush(now))
		}
		errs = append(errs, j.addResult(&results[i], now))
	}
	return errors.Join(errs...)
}

// PlanApplied records which plan the machine follows from now on.
func (j *Journal) PlanApplied(p PlanApplied) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.ready(); err != nil {
		return err
	}
	return j.record(j.o.Now(), Record{Plan: &p})
}

func (j *Journal) ready() error {
	switch {
	case j.closed:
		return errClosed
	case !j.begun:
		return errBegin
	}
	return nil
}

// record adds one record and makes it durable.
func (j *Journal) record(now time.Time, r Record) error {
	if err := j.add(&r, now); err != nil {
		return err
	}
	return j.flush(now)
}

// add appends a line to the open batch, in memory.
func (j *Journal) add(r *Record, now time.Time) error {
	before := len(j.lines)
	lines, err := j.enc.record(j.lines, r)
	if err != nil {
		return err
	}
	j.lines = lines
	j.records++
	j.seal.wrote(len(j.lines)-before, now)
	if r.Plan != nil {
		p := *r.Plan
		j.plan = &p
	}
	j.lastTime = later(j.lastTime, instant(r))
	return nil
}

func (j *Journal) addResult(r *check.Result, now time.Time) error {
	if len(j.lines) >= maxHeld {
		j.lost.add(r.Slot)
		j.lostInAll++
		return fmt.Errorf("journal %s: result of %s at %s is given up: %d bytes wait to be written to %s", j.id, r.Check, r.Slot.Format(time.RFC3339), len(j.lines), j.o.Dir)
	}
	spared := j.spare(*r)
	if err := j.add(&Record{Result: &spared}, now); err != nil {
		return err
	}
	j.seal.result(r.Check, r.Reason)
	j.waiting = append(j.waiting, spared)
	return nil
}

// flush makes the lines durable: in a sealed batch when one is due, else in the file of the open batch.
func (j *Journal) flush(now time.Time) error {
	defer j.arm()
	if j.seal.due(now) {
		err := j.sealNow(now)
		if err == nil {
			j.publish()
			return nil
		}
		j.complain("batch cannot be sealed; its records go to the open file", err)
	}
	if err := j.squeeze(j.syncOpen, now); err != nil {
		j.complain("records cannot be written; they are held in memory", err)
		return fmt.Errorf("journal %s: %w", j.id, err)
	}
	j.publish()
	return nil
}

// complain logs the first of a run of failures.
func (j *Journal) complain(what string, err error) {
	if !j.failing {
		j.log.Error(what, "dir", j.o.Dir, "err", err)
	}
	j.failing = true
}

// publish shows what has become durable.
func (j *Journal) publish() {
	if j.synced == len(j.lines) && j.failing {
		j.failing = false
		j.log.Info("journal is written again", "dir", j.o.Dir)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.waiting {
		j.latest[r.Check] = r
		if j.lastSlot[r.Check].Before(r.Slot) {
			j.lastSlot[r.Check] = r.Slot
		}
	}
	j.recorded += uint64(len(j.waiting))
	j.openUsed = j.openSize
	j.waiting = slices.Delete(j.waiting, 0, len(j.waiting))
}

// arm wakes Run when the open batch is due before Run looks again.
func (j *Journal) arm() {
	if at, ok := j.seal.next(); ok && (j.armed.IsZero() || at.Before(j.armed)) {
		signal(j.wake)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Close records the end, seals what is open and closes the files. The next Open goes on in the same journal.
func (j *Journal) Close(cause string, now time.Time) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.closed {
		return nil
	}
	var err error
	if j.begun {
		j.admitLoss(now)
		err = j.add(&Record{End: &End{At: now, Cause: cause}}, now)
		if e := j.sealNow(now); e != nil {
			if e2 := j.syncOpen(); e2 != nil {
				err = errors.Join(err, e, e2)
			}
		}
		j.publish()
	}
	if head, hash := j.Head(); head.Journal == j.id && j.begun {
		j.remember(head, hash, now.Add(noteEvery))
	}
	j.closed = true
	j.closeSegment()
	if j.open != nil {
		err = errors.Join(err, j.open.Close())
		j.open = nil
	}
	if err != nil {
		return fmt.Errorf("journal %s: close: %w", j.id, err)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// instant is the latest time a record speaks of as past.
func instant(r *Record) time.Time {
	switch {
	case r.Result != nil:
		return later(r.Result.Slot, r.Result.Start.Add(r.Result.Took))
	case r.Range != nil:
		return r.Range.To.Add(-time.Second) // To itself is not in the stretch, and may be still to come
	case r.Plan != nil:
		return r.Plan.At
	case r.Begin != nil:
		return r.Begin.At
	case r.End != nil:
		return r.End.At
	}
	return time.Time{}
}
