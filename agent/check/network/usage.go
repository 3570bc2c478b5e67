package network

import (
	"math"
	"slices"
	"time"
)

const (
	// sampleEvery is the length of one sample of a line's use.
	sampleEvery = 5 * time.Minute
	// readingGap is the longest time between two readings of the counters across which the use is still known.
	readingGap = 2 * sampleEvery
	// daySamples are how many samples a day must have for its 95th percentile to stand for the day: half of them.
	daySamples = 144
	// keepDays are held: the longest time over which the rule can be asked for, and today.
	keepDays = 32
)

// vietnam is the time by which days are counted.
var vietnam = time.FixedZone("+07", 7*60*60)

// A traffic is what an interface's counters show, in bytes since they were last at 0.
type traffic struct{ down, up uint64 }

// A usage gathers the use of a line from readings of its counters. Circular 06/2026 (Thông tư 06/2026), article 5.6 and
// appendix I.3: the 95th percentile of the 5-minute samples of each direction must not be above 90 % of the capacity on
// 7 days in a row. The zero value has seen nothing.
type usage struct {
	at      time.Time // of the last reading; zero for none
	last    traffic
	slot    time.Time // the sample under way
	filled  time.Duration
	bytes   [2]float64
	sample  [2]float64 // bits a second of the last whole sample
	whole   bool       // there is one
	days    []usedDay  // the newest last
	samples int        // whole samples so far
}

// A usedDay holds the samples of one day in bits a second, download first.
type usedDay struct {
	date time.Time // midnight in Vietnam
	bps  [2][]float32
	// Of a day that ended before this start: how many samples it had, and their 95th percentile.
	count int
	p95   [2]float64
}

// of returns the number of samples of a direction and their 95th percentile.
func (d usedDay) of(dir int) (samples int, p95 float64) {
	if d.count > 0 {
		return d.count, d.p95[dir]
	}
	return len(d.bps[dir]), percentile95(d.bps[dir])
}

// observe takes a reading. What lies between two readings is spread evenly over the time. Counters that went back, a
// clock that went back and too long a gap begin anew: a part of a sample is no sample.
func (u *usage) observe(at time.Time, now traffic) {
	gap := at.Sub(u.at)
	known := !u.at.IsZero() && gap > 0 && gap <= readingGap && now.down >= u.last.down && now.up >= u.last.up
	from, rate := u.at, [2]float64{}
	if known {
		rate = [2]float64{float64(now.down-u.last.down) / gap.Seconds(), float64(now.up-u.last.up) / gap.Seconds()}
	} else if gap != 0 {
		u.slot, u.filled, u.bytes = at.Truncate(sampleEvery), 0, [2]float64{}
	}
	u.at, u.last = at, now
	for known && from.Before(at) {
		end := from.Truncate(sampleEvery).Add(sampleEvery)
		if end.After(at) {
			end = at
		}
		if slot := from.Truncate(sampleEvery); !slot.Equal(u.slot) {
			u.slot, u.filled, u.bytes = slot, 0, [2]float64{}
		}
		part := end.Sub(from)
		u.filled += part
		u.bytes[0] += rate[0] * part.Seconds()
		u.bytes[1] += rate[1] * part.Seconds()
		if u.filled == sampleEvery {
			u.keep()
		}
		from = end
	}
}

// keep puts the sample under way among those of its day.
func (u *usage) keep() {
	s := sampleEvery.Seconds()
	u.sample, u.whole = [2]float64{u.bytes[0] * 8 / s, u.bytes[1] * 8 / s}, true
	u.samples++
	date := midnight(u.slot)
	if n := len(u.days); n == 0 || !u.days[n-1].date.Equal(date) {
		if n > 0 && date.Before(u.days[n-1].date) {
			return // the clock went back over midnight: those days are told already
		}
		u.days = append(u.days, usedDay{date: date})
		u.days = u.days[max(0, len(u.days)-keepDays):]
	}
	d := &u.days[len(u.days)-1]
	for i := range d.bps {
		d.bps[i] = append(d.bps[i], float32(u.sample[i]))
	}
}

func midnight(t time.Time) time.Time {
	y, m, d := t.In(vietnam).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, vietnam)
}

// percentile95 is the 95th percentile by the nearest rank: the least sample that 95 % of them do not exceed. It is 0
// without samples.
func percentile95(samples []float32) float64 {
	if len(samples) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(samples))
	return float64(s[int(math.Ceil(0.95*float64(len(s))))-1])
}

// A load is how full a line was.
type load struct {
	days  int        // ended days in a row, up to the last one, whose 95th percentile was above the limit in a direction
	p95   [2]float64 // of the last ended day, as a share of the capacity; -1 when it is not known
	worst int        // the direction that has been above it for so long: 0 down, 1 up
}

// loaded judges the days that have ended at an instant. A day with too few samples, or of which nothing is known, proves
// nothing and ends the row. capacity is in bits a second; 0 is not known.
func loaded(days []usedDay, now time.Time, capacity [2]float64, limit float64) load {
	l := load{p95: [2]float64{-1, -1}}
	for dir, all := range capacity {
		want, row := midnight(now).AddDate(0, 0, -1), 0
		for _, d := range slices.Backward(days) {
			if all <= 0 || d.date.After(want) {
				continue
			}
			samples, p95 := d.of(dir)
			if !d.date.Equal(want) || samples < daySamples {
				break
			}
			share := p95 / all
			if l.p95[dir] < 0 && d.date.Equal(midnight(now).AddDate(0, 0, -1)) {
				l.p95[dir] = share
			}
			if share <= limit {
				break
			}
			row++
			want = want.AddDate(0, 0, -1)
		}
		if row > l.days {
			l.days, l.worst = row, dir
		}
	}
	return l
}
