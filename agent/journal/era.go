package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/wire"
)

const (
	eraName = "clock" // the file of eras, in the folder
	eraHead = "egovmon-clock/1"
	maxEras = 256
	// clockStep is by how much a clock must have been set for a new era to begin.
	clockStep = 2 * time.Second
	// clockWrong is how far the clock that a batch states may be from what is known of it since. The collector takes a
	// clock for right that is off by no more.
	clockWrong = time.Minute
	clockFresh = 24 * time.Hour // an older measurement says nothing of a batch
	// maxDrift is by how much the clock of a computer runs too fast or slow at most: what a kernel corrects (adjtimex(2)).
	maxDrift = 500e-6
)

// An era is a stretch of a journal in which the machine's clock was not set. Between two eras of one start of the machine
// it is known by how much it was: the start lies elsewhere by it.
type era struct {
	head    wire.Head // the first batch that is of it
	boot    string    // which start of the machine
	started time.Time // when that was, by the clock of this era
}

// A past is the state of the clock under which what is recorded again was recorded first.
type past struct {
	clock *Clock        // for headers
	shift time.Duration // how far ahead of the present clock that one would be now
	boot  string        // as in era
}

// unproven stands for the start of a machine of which nothing is known.
const unproven = "-"

// eraNow returns the era of this moment, as one that begins with the open batch. ok is false where that cannot be told.
func (j *Journal) eraNow(now time.Time) (e era, ok bool) {
	if j.o.Boot == nil {
		return era{}, false
	}
	boot, up := j.o.Boot()
	if j.past != nil {
		now, boot = now.Add(j.past.shift), j.past.boot
	}
	return era{wire.Head{Journal: j.id, Seq: j.seq}, boot, now.Add(-up).UTC().Truncate(time.Millisecond)}, boot != ""
}

// resumeClock corrects the offset measured last by what the clock was set since the run before. Of a clock that may have
// been set while the machine was off, nothing is known.
func (j *Journal) resumeClock(now time.Time) {
	e, ok := j.eraNow(now)
	if !ok || j.clock == nil || j.measured || len(j.eras) == 0 {
		return
	}
	last := j.eras[len(j.eras)-1]
	if last.boot != e.boot {
		j.clock = nil
	} else if by := e.started.Sub(last.started); by.Abs() > clockStep {
		j.clock = &Clock{Offset: j.clock.Offset + by, Measured: j.clock.Measured.Add(by)}
	}
}

// enterEra notes in which era the open batch is, if that is another one than before.
func (j *Journal) enterEra(now time.Time) {
	e, ok := j.eraNow(now)
	if !ok {
		return
	}
	if j.past == nil {
		j.present = e
	}
	if n := len(j.eras); n > 0 {
		last := j.eras[n-1]
		if last.boot == e.boot && e.started.Sub(last.started).Abs() <= clockStep && last.head.Journal == e.head.Journal {
			return
		}
		if last.head == e.head { // nothing was sealed in it
			j.eras = j.eras[:n-1]
		}
	}
	j.eras = append(j.eras, e)
	j.eras = slices.Delete(j.eras, 0, max(0, len(j.eras)-maxEras))
	if err := j.writeEras(); err != nil {
		j.log.Warn("it cannot be kept when the clock was set; what is sent late may be of an unproven time", "dir", j.o.Dir, "err", err)
	}
}

func (j *Journal) writeEras() error {
	var b strings.Builder
	b.WriteString(eraHead + "\n")
	for _, e := range j.eras {
		fmt.Fprintf(&b, "%s %d %s %s\n", e.head.Journal, e.head.Seq, e.boot, e.started.Format(layoutMilli))
	}
	f, err := j.disk.Create(eraName + ".new")
	if err != nil {
		return err
	}
	if err := writeSync(f, []byte(b.String())); err != nil {
		return closeWith(f, err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	return j.disk.Rename(eraName+".new", eraName)
}

// readEras reads what writeEras wrote. Without a file that can be read, nothing is known.
func readEras(dir string) (eras []era) {
	f, err := os.Open(filepath.Join(dir, eraName))
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := wire.ReadAll(f, 256*maxEras)
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if lines[0] != eraHead || len(lines) > maxEras+1 {
		return nil
	}
	for _, l := range lines[1:] {
		f := strings.Split(l, " ")
		if len(f) != 4 || !isHex(f[0], 16) || f[2] == "" {
			return nil
		}
		seq, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil || seq == 0 {
			return nil
		}
		at, err := time.Parse(layoutMilli, f[3])
		if err != nil {
			return nil
		}
		eras = append(eras, era{wire.Head{Journal: f[0], Seq: seq}, f[2], at.UTC()})
	}
	return eras
}

// clockOf returns how far the clock was ahead when a batch was recorded, as far as the last measurement proves it: it was
// made in the same start of the machine, and by how much the clock was set in between is known. What a clock that is not
// set goes wrong by in long time it has done evenly since the measurement before.
func (j *Journal) clockOf(h Header) (offset time.Duration, proven bool) {
	if j.clock == nil || !j.measured || len(j.eras) == 0 {
		return 0, false
	}
	now := j.present
	i := len(j.eras) - 1
	for i >= 0 && (j.eras[i].head.Journal != h.Journal || j.eras[i].head.Seq > h.Seq) {
		i--
	}
	if i < 0 || j.eras[i].boot != now.boot {
		return 0, false
	}
	set := j.eras[i].started.Sub(now.started)
	offset = j.clock.Offset + set
	if h.Clock == nil {
		return offset, true
	}
	between := j.clock.Measured.Add(set).Sub(h.Clock.Measured)
	drift := offset - h.Clock.Offset
	if since := h.Sealed.Sub(h.Clock.Measured); since >= 0 && since < between && drift.Abs().Seconds() <= maxDrift*between.Seconds() {
		offset = h.Clock.Offset + time.Duration(float64(drift)*(since.Seconds()/between.Seconds()))
	}
	return offset.Round(time.Millisecond), true
}

// seenBy returns how far the clock was ahead by which a batch was recorded, as well as it is known.
func (j *Journal) seenBy(h Header) time.Duration {
	if offset, proven := j.clockOf(h); proven {
		return offset
	}
	return stated(h)
}

// stated is how far ahead the clock was by what a header says, as the collector reads it.
func stated(h Header) time.Duration {
	if h.Clock == nil || h.Sealed.Sub(h.Clock.Measured).Abs() > clockFresh {
		return 0
	}
	return h.Clock.Offset
}

// pastOf returns the clock by which a batch was recorded: as it is proven now, or as the batch states it. It is nil for one
// that is like the present clock.
func (j *Journal) pastOf(h Header) *past {
	var present time.Duration
	if j.clock != nil {
		present = j.clock.Offset
	}
	offset, proven := j.clockOf(h)
	p := &past{boot: unproven}
	switch {
	case proven:
		p.shift, p.boot = offset-present, j.present.boot
		p.clock = &Clock{Offset: offset, Measured: j.clock.Measured.Add(p.shift)}
	case stated(h) == 0 && present.Abs() <= clockWrong:
		return nil
	case stated(h) != 0:
		p.shift = stated(h) - present
		p.clock = &Clock{Offset: stated(h), Measured: j.o.Now().Add(p.shift - h.Sealed.Sub(h.Clock.Measured))}
	}
	if p.shift.Abs() <= clockStep && (proven || stated(h) != 0) {
		return nil
	}
	return p
}

// misdated reports whether a batch states another clock than it was recorded by.
func (j *Journal) misdated(h Header) bool {
	offset, proven := j.clockOf(h)
	return proven && (offset-stated(h)).Abs() > clockWrong
}
