package journal

import (
	"time"

	"egovmon/agent/check"
)

// When the disk is full, results are made smaller until they fit into what is left: first their details are left out,
// then their phases. What does not fit even so is held in memory, up to maxHeld; what comes then is given up, and a
// data_lost range says how much that was, as soon as there is room for it. A kill before that leaves it to the next
// start, which names the slots that have no record.

// A part is what is left out of results. A greater one includes the ones before.
type part int

const (
	nothing part = iota
	details
	phases
)

// calm is how long a disk must have had room before whole results are written to it again.
const calm = 10 * time.Second

// leftOut stands where a detail was.
const leftOut = "…"

// strip takes parts out of a result, and reports whether there was anything to take.
func strip(r *check.Result, without part) (changed bool) {
	if without >= details && r.Detail != "" && r.Detail != leftOut {
		r.Detail, changed = leftOut, true
	}
	if without >= phases && len(r.Phases) > 0 {
		r.Phases, changed = nil, true
	}
	return changed
}

// spare leaves out of a new result what is left out now.
func (j *Journal) spare(r check.Result) check.Result {
	if strip(&r, j.without) {
		j.spared++
	}
	return r
}

// squeeze writes the lines, without details and then without phases if the disk has no room for them.
func (j *Journal) squeeze(write func() error, now time.Time) error {
	err := write()
	if err != nil && diskFull(err) {
		j.fullAt = now
	}
	for err != nil && diskFull(err) && j.without < phases {
		j.without++
		if j.without == details {
			j.log.Error("disk is full: details are left out of what is recorded", "dir", j.o.Dir, "err", err)
		} else {
			j.log.Error("disk is full: phases are left out of what is recorded, too", "dir", j.o.Dir, "err", err)
		}
		if e := j.stripLines(); e != nil {
			return e
		}
		err = write()
	}
	return err
}

// relax goes back to whole results when the disk has had room for a while.
func (j *Journal) relax(now time.Time) {
	if j.without == nothing || j.failing || now.Sub(j.fullAt).Abs() < calm {
		return
	}
	j.without = nothing
	j.log.Info("disk has room again: whole results are recorded", "dir", j.o.Dir)
}

// stripLines writes the lines anew that are not on disk yet.
func (j *Journal) stripLines() error {
	var rd Reader
	recs, err := rd.lines(j.lines[j.written:])
	if err != nil {
		return err // they were written by this program
	}
	before := len(j.lines)
	j.lines = j.lines[:j.written]
	for i := range recs {
		if r := recs[i].Result; r != nil && strip(r, j.without) {
			j.spared++
		}
		if j.lines, err = j.enc.record(j.lines, &recs[i]); err != nil {
			return err
		}
	}
	for i := range j.waiting {
		strip(&j.waiting[i], j.without)
	}
	j.seal.bytes += len(j.lines) - before
	return nil
}

// A lost counts results that were given up.
type lost struct {
	slots    int
	from, to time.Time
}

func (l *lost) add(slot time.Time) {
	if l.slots == 0 || slot.Before(l.from) {
		l.from = slot
	}
	l.to = later(l.to, slot.Add(time.Second))
	l.slots++
}

// admitLoss records what was given up, once there is room again.
func (j *Journal) admitLoss(now time.Time) {
	if j.lost.slots == 0 || len(j.lines) >= maxHeld {
		return
	}
	to := later(j.lost.to, now.Truncate(time.Second)) // the last ones speak for the time until now
	r := check.Range{Reason: check.DataLost, Check: "*", From: j.lost.from, To: to, Slots: j.lost.slots}
	if err := j.add(&Record{Range: &r}, now); err != nil {
		j.log.Error("loss of results cannot be recorded", "slots", j.lost.slots, "err", err)
		return
	}
	j.lost = lost{}
}
