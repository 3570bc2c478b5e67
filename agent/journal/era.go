package journal

import (
	"errors"
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
	clock   *Clock    // how far ahead it was, kept once something was recorded again by it; nil before
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
	return era{head: wire.Head{Journal: j.id, Seq: j.seq}, boot: boot, started: now.Add(-up).UTC().Truncate(time.Millisecond)}, boot != ""
}

// resumeClock corrects the offset measured last by what the clock was set since the run before. Of a clock that may have
// been set while the machine was off, nothing is known.
func (j *Journal) resumeClock(now time.Time) {
	e, ok := j.eraNow(now)
	if !ok || j.clock == nil || j.measured || len(j.eras) == 0 {
		return
	}
	// The clock is that of the last batch. An era behind that one may be of a journal of which nothing was sealed.
	last, known := j.eraOf(j.head)
	if !known || last.boot != e.boot {
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

// writeEras keeps the eras. What cannot be kept is tried again before the next batch is sealed.
func (j *Journal) writeEras() error {
	j.erasLate = true
	f, err := j.disk.Create(eraName + ".new")
	if err != nil {
		return err
	}
	if err := writeSync(f, []byte(formatEras(j.eras))); err != nil {
		return closeWith(f, err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	err = j.disk.Rename(eraName+".new", eraName)
	j.erasLate = err != nil
	return err
}

// formatEras is the text of the file: a line each, and the SHA-256 of all lines before it as the last one.
func formatEras(eras []era) string {
	var b strings.Builder
	b.WriteString(eraHead + "\n")
	for _, e := range eras {
		fmt.Fprintf(&b, "%s %d %s %s", e.head.Journal, e.head.Seq, e.boot, e.started.Format(layoutMilli))
		if e.clock != nil {
			fmt.Fprintf(&b, " %s %s", formatOffset(e.clock.Offset), e.clock.Measured.UTC().Format(layoutMilli))
		}
		b.WriteString("\n")
	}
	return b.String() + hashOf([]byte(b.String())) + "\n"
}

// readEras reads what writeEras wrote. Without a file that can be read, nothing is known.
func readEras(dir string) []era {
	f, err := os.Open(filepath.Join(dir, eraName))
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := wire.ReadAll(f, 256*maxEras)
	if err != nil {
		return nil
	}
	return parseEras(string(text))
}

// parseEras returns nil for a text that is not whole: what it says would move results to another time.
func parseEras(text string) (eras []era) {
	lines := strings.SplitAfter(text, "\n")
	n := len(lines) - 2 // the last line is behind the sum, and empty
	if n < 1 || n > maxEras+1 || lines[0] != eraHead+"\n" || lines[n+1] != "" {
		return nil
	}
	if lines[n] != hashOf([]byte(strings.Join(lines[:n], "")))+"\n" {
		return nil
	}
	for _, l := range lines[1:n] {
		e, err := parseEra(strings.Split(strings.TrimSuffix(l, "\n"), " "))
		if err != nil {
			return nil
		}
		eras = append(eras, e)
	}
	return eras
}

func parseEra(f []string) (e era, err error) {
	if len(f) != 4 && len(f) != 6 || !isHex(f[0], 16) || f[2] == "" {
		return era{}, errors.New("no era")
	}
	e.head.Journal, e.boot = f[0], f[2]
	if e.head.Seq, err = strconv.ParseUint(f[1], 10, 64); err != nil || e.head.Seq == 0 {
		return era{}, errors.New("no batch")
	}
	var p headerParser
	e.started = p.time(f[3])
	if len(f) == 6 {
		e.clock = &Clock{Offset: p.offset(f[4]), Measured: p.time(f[5])}
	}
	return e, p.err
}

// eraOf returns the era in which a batch was recorded; known is false when that was not kept.
func (j *Journal) eraOf(head wire.Head) (e era, known bool) {
	for _, e := range slices.Backward(j.eras) {
		if e.head.Journal == head.Journal && e.head.Seq <= head.Seq {
			return e, true
		}
	}
	return era{}, false
}

// learnt returns how far the clock of an era was ahead as the last measurement proves it: it was made in the same start of
// the machine, and by how much the clock was set in between is known. It is nil where nothing is proven.
func (j *Journal) learnt(e era) *Clock {
	if j.clock == nil || !j.measured || e.boot != j.present.boot {
		return nil
	}
	set := e.started.Sub(j.present.started)
	return &Clock{Offset: (j.clock.Offset + set).Round(time.Millisecond), Measured: j.clock.Measured.Add(set).Truncate(time.Millisecond)}
}

// keepLearnt keeps what is known now of the clocks before the present journal, durably: what is recorded again by them is
// recognised as such whatever happens in the middle of that, also after another start of the machine.
func (j *Journal) keepLearnt() error {
	for i := range j.eras {
		if e := &j.eras[i]; e.clock == nil && e.head.Journal != j.id {
			e.clock = j.learnt(*e)
		}
	}
	return errors.Join(j.writeEras(), j.disk.SyncDir())
}

// clockOf returns how far the clock was ahead when a batch was recorded, as far as that is proven. What a clock that is not
// set goes wrong by in long time it has done evenly since the measurement before.
func (j *Journal) clockOf(h Header) (offset time.Duration, proven bool) {
	e, known := j.eraOf(h.Head())
	c := e.clock
	if c == nil {
		c = j.learnt(e)
	}
	if !known || c == nil {
		return 0, false
	}
	offset = c.Offset
	if h.Clock == nil {
		return offset, true
	}
	between := c.Measured.Sub(h.Clock.Measured)
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
		e, _ := j.eraOf(h.Head())
		p.shift, p.boot = offset-present, e.boot
		p.clock = &Clock{Offset: offset, Measured: j.o.Now().Add(p.shift)}
		if j.clock != nil && j.measured {
			p.clock.Measured = j.clock.Measured.Add(p.shift)
		}
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
