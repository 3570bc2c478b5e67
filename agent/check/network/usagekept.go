package network

import (
	"encoding/json"
	"math"
	"slices"
	"time"
)

// usageNote is the name under which a line keeps its use.
const usageNote = "use"

// maxDaySamples are all that a day can have, and some for a clock that went back.
const maxDaySamples = 2 * int(24*time.Hour/sampleEvery)

// A keptUsage is the use of a line over a restart: of the days that have ended what the rule needs, and the samples of the
// last one.
type keptUsage struct {
	Line string    `json:"line"`
	Days []keptDay `json:"days"` // the newest last
}

// A keptDay has samples, or how many there were and their 95th percentile, download first.
type keptDay struct {
	Date  string        `json:"date"`
	Count int           `json:"count,omitempty"`
	P95   *[2]float64   `json:"p95,omitempty"`
	BPS   *[2][]float32 `json:"bps,omitempty"`
}

// keepUsage writes the days of a line down, in some kilobytes.
func keepUsage(days []usedDay, line string) []byte {
	k := keptUsage{Line: line}
	for i, d := range days {
		day := keptDay{Date: d.date.Format(time.DateOnly)}
		switch {
		case d.count == 0 && i == len(days)-1:
			day.BPS = &d.bps
		default:
			day.P95 = new([2]float64)
			for dir := range day.P95 {
				day.Count, day.P95[dir] = d.of(dir)
			}
		}
		k.Days = append(k.Days, day)
	}
	note, err := json.Marshal(k)
	if err != nil {
		return nil
	}
	return note
}

// recallUsage reads what was kept of the line, as far as it can be so at now: nothing of another line, nothing of a day to
// come, no numbers that no line has.
func recallUsage(note []byte, line string, now time.Time) []usedDay {
	var k keptUsage
	if json.Unmarshal(note, &k) != nil || k.Line != line {
		return nil
	}
	var days []usedDay
	for _, d := range k.Days {
		date, err := time.ParseInLocation(time.DateOnly, d.Date, vietnam)
		if err != nil || date.After(midnight(now)) || len(days) > 0 && !date.After(days[len(days)-1].date) {
			continue
		}
		day := usedDay{date: date}
		switch {
		case d.BPS != nil && sane(d.BPS[0]) && sane(d.BPS[1]) && len(d.BPS[0]) == len(d.BPS[1]):
			day.bps = *d.BPS
		case d.P95 != nil && d.Count > 0 && d.Count <= maxDaySamples && saneRate(d.P95[0]) && saneRate(d.P95[1]):
			day.count, day.p95 = d.Count, *d.P95
		default:
			continue
		}
		days = append(days, day)
	}
	return days[max(0, len(days)-keepDays):]
}

func sane(samples []float32) bool {
	return len(samples) <= maxDaySamples && !slices.ContainsFunc(samples, func(f float32) bool { return !saneRate(float64(f)) })
}

// saneRate reports whether a line can carry so many bits a second.
func saneRate(bps float64) bool { return bps >= 0 && bps <= 1e13 && !math.IsNaN(bps) }
