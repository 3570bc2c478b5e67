//go:build linux

package network

import (
	"math"
	"slices"
	"testing"
	"testing/quick"
	"time"

	"egovmon/agent/check"
)

func TestPercentile95(t *testing.T) {
	upTo := func(n int) []float32 {
		var s []float32
		for i := range n {
			s = append(s, float32(n-i))
		}
		return s
	}
	for _, tc := range []struct {
		samples []float32
		want    float64
	}{
		{nil, 0}, {[]float32{7}, 7}, {[]float32{1, 2}, 2}, {upTo(19), 19}, {upTo(20), 19}, {upTo(100), 95}, {upTo(288), 274},
	} {
		if got := percentile95(tc.samples); got != tc.want {
			t.Errorf("of %d samples: %v, want %v", len(tc.samples), got, tc.want)
		}
	}
	// At least 95 % of the samples do not exceed it, and fewer do not reach it; the samples stay as they were.
	if err := quick.Check(func(in []float32) bool {
		samples := slices.DeleteFunc(in, func(f float32) bool { return math.IsNaN(float64(f)) })
		before := slices.Clone(samples)
		p, below, upto := percentile95(samples), 0, 0
		for _, s := range samples {
			if float64(s) < p {
				below++
			}
			if float64(s) <= p {
				upto++
			}
		}
		n := float64(len(samples))
		return slices.Equal(before, samples) && (n == 0 || float64(upto) >= 0.95*n && float64(below) < 0.95*n)
	}, nil); err != nil {
		t.Error(err)
	}
}

// monday is an instant in Vietnam: 23 November 2026, 00:00.
var monday = time.Date(2026, 11, 23, 0, 0, 0, 0, vietnam)

// feed lets a line carry down and up bits a second for a time, with a reading every so often.
func feed(u *usage, from time.Time, d, every time.Duration, down, up float64) time.Time {
	for end := from.Add(d); from.Before(end); {
		from = from.Add(every)
		t := u.last
		u.observe(from, traffic{t.down + uint64(down/8*every.Seconds()), t.up + uint64(up/8*every.Seconds())})
	}
	return from
}

func TestSamplesOfFiveMinutes(t *testing.T) {
	for _, every := range []time.Duration{20 * time.Second, time.Minute, 5 * time.Minute, 7 * time.Minute} {
		var u usage
		u.observe(monday, traffic{1000, 50})
		feed(&u, monday, 70*time.Minute, every, 8e6, 8e5)
		if len(u.days) != 1 {
			t.Fatalf("every %s: %d days", every, len(u.days))
		}
		for dir, want := range []float32{8e6, 8e5} {
			if got := u.days[0].bps[dir]; len(got) != 14 || slices.ContainsFunc(got, func(f float32) bool { return math.Abs(float64(f/want-1)) > 1e-4 }) {
				t.Errorf("every %s, direction %d: %d samples %v, want 14 of %v", every, dir, len(got), got, want)
			}
		}
	}
}

// A part of five minutes is no sample.
func TestSamplesThatAreNotWhole(t *testing.T) {
	for name, tc := range map[string]struct {
		read func(u *usage)
		want int
	}{
		"begun in the middle": {func(u *usage) {
			u.observe(monday.Add(time.Minute), traffic{})
			feed(u, monday.Add(time.Minute), 8*time.Minute, time.Minute, 8, 8)
		}, 0},
		"the machine slept": {func(u *usage) {
			u.observe(monday, traffic{})
			u.observe(monday.Add(11*time.Minute), traffic{1 << 30, 1 << 30})
		}, 0},
		"the counters began anew": {func(u *usage) {
			u.observe(monday, traffic{1000, 1000})
			u.observe(monday.Add(4*time.Minute), traffic{10, 1100})
			u.observe(monday.Add(8*time.Minute), traffic{20, 1200})
		}, 0},
		"the clock went back": {func(u *usage) {
			u.observe(monday.Add(time.Hour), traffic{})
			u.observe(monday.Add(59*time.Minute), traffic{10, 10})
			u.observe(monday.Add(61*time.Minute), traffic{20, 20})
		}, 0},
		"the same instant": {func(u *usage) {
			u.observe(monday, traffic{})
			u.observe(monday, traffic{10, 10})
			u.observe(monday.Add(5*time.Minute), traffic{20, 20})
		}, 1},
		"whole": {func(u *usage) { u.observe(monday, traffic{}); u.observe(monday.Add(10*time.Minute), traffic{20, 20}) }, 2},
	} {
		var u usage
		tc.read(&u)
		n := 0
		for _, d := range u.days {
			n += len(d.bps[0])
		}
		if n != tc.want {
			t.Errorf("%s: %d samples, want %d", name, n, tc.want)
		}
	}
}

// The rule: 95 % of a day's samples within 90 % of the capacity, or the line is full when that fails 7 days in a row.
func TestFullLine(t *testing.T) {
	day := func(back, samples int, share float64) usedDay {
		d := usedDay{date: monday.AddDate(0, 0, -back)}
		for range samples {
			for i := range d.bps {
				d.bps[i] = append(d.bps[i], float32(share*1e6))
			}
		}
		return d
	}
	week := func(share float64) []usedDay {
		var ds []usedDay
		for i := range 7 {
			ds = append(ds, day(7-i, 288, share))
		}
		return ds
	}
	with := func(ds []usedDay, i int, d usedDay) []usedDay { ds[i] = d; return ds }
	capacity := [2]float64{1e6, 1e6}
	for name, tc := range map[string]struct {
		days     []usedDay
		capacity [2]float64
		want     int
	}{
		"seven days above":                      {week(0.95), capacity, 7},
		"at the limit is not above":             {week(0.9), capacity, 0},
		"below":                                 {week(0.5), capacity, 0},
		"one good day ends the row":             {with(week(0.95), 3, day(4, 288, 0.5)), capacity, 3},
		"a day with few samples proves nothing": {with(week(0.95), 3, day(4, daySamples-1, 0.95)), capacity, 3},
		"half a day's samples stand for it":     {with(week(0.95), 3, day(4, daySamples, 0.95)), capacity, 7},
		"yesterday is not known":                {week(0.95)[:6], capacity, 0},
		"a day is missing":                      {slices.Delete(week(0.95), 2, 3), capacity, 4},
		"today does not count":                  {append(week(0.95), day(0, 200, 0.1)), capacity, 7},
		"only one direction has a capacity":     {week(0.95), [2]float64{0, 1e6}, 7},
		"no capacity":                           {week(0.95), [2]float64{}, 0},
		"nothing seen":                          {nil, capacity, 0},
	} {
		if got := loaded(tc.days, monday.Add(10*time.Hour), tc.capacity, 0.9); got.days != tc.want {
			t.Errorf("%s: %d days, want %d", name, got.days, tc.want)
		}
	}
	l := loaded(week(0.95), monday, [2]float64{0, 1e6}, 0.9)
	if l.worst != 1 || l.p95[0] >= 0 || math.Abs(l.p95[1]-0.95) > 1e-6 {
		t.Errorf("%+v", l)
	}
}

// What was kept is believed as far as it can be so.
func TestRecallUsage(t *testing.T) {
	now := monday.Add(10 * time.Hour)
	for name, tc := range map[string]struct {
		note string
		want int // days
	}{
		"a week":                   {`{"line":"eth0","days":[{"date":"2026-11-21","count":288,"p95":[1,2]},{"date":"2026-11-22","count":288,"p95":[1,2]},{"date":"2026-11-23","bps":[[1,2],[3,4]]}]}`, 3},
		"of another line":          {`{"line":"eth1","days":[{"date":"2026-11-22","count":288,"p95":[1,2]}]}`, 0},
		"nothing":                  {"", 0},
		"no JSON":                  {`{"line":"eth0","days":[`, 0},
		"of a day to come":         {`{"line":"eth0","days":[{"date":"2026-11-24","count":288,"p95":[1,2]}]}`, 0},
		"no date":                  {`{"line":"eth0","days":[{"date":"yesterday","count":288,"p95":[1,2]}]}`, 0},
		"a day twice":              {`{"line":"eth0","days":[{"date":"2026-11-22","count":288,"p95":[1,2]},{"date":"2026-11-22","count":288,"p95":[1,2]},{"date":"2026-11-21","count":9,"p95":[1,2]}]}`, 1},
		"less than nothing":        {`{"line":"eth0","days":[{"date":"2026-11-22","count":288,"p95":[-1,2]},{"date":"2026-11-23","bps":[[-1],[3]]}]}`, 0},
		"more than any line":       {`{"line":"eth0","days":[{"date":"2026-11-22","count":288,"p95":[1,2e13]}]}`, 0},
		"too many samples":         {`{"line":"eth0","days":[{"date":"2026-11-22","count":577,"p95":[1,2]}]}`, 0},
		"samples in one direction": {`{"line":"eth0","days":[{"date":"2026-11-22","bps":[[1,2],[3]]}]}`, 0},
		"no samples":               {`{"line":"eth0","days":[{"date":"2026-11-22"},{"date":"2026-11-23","p95":[1,1]}]}`, 0},
	} {
		days := recallUsage([]byte(tc.note), "eth0", now)
		if len(days) != tc.want {
			t.Errorf("%s: %d days, want %d", name, len(days), tc.want)
		}
		loaded(days, now, [2]float64{1, 1}, 0.9)
	}
}

func FuzzRecallUsage(f *testing.F) {
	f.Add([]byte(`{"line":"","days":[{"date":"2026-11-21","count":288,"p95":[1,2]},{"date":"2026-11-23","bps":[[1,2],[3,4]]}]}`))
	f.Fuzz(func(t *testing.T, note []byte) {
		days := recallUsage(note, "", monday)
		if l := loaded(days, monday, [2]float64{1, 1}, 0.9); len(days) > keepDays || l.days > keepDays {
			t.Errorf("%d days", len(days))
		}
		if n := len(keepUsage(days, "")); n == 0 || n > check.MaxNotes {
			t.Errorf("%d bytes", n)
		}
	})
}

// Eight weeks of readings stay as small as the days that are kept.
func TestUsageIsBounded(t *testing.T) {
	var u usage
	u.observe(monday, traffic{})
	feed(&u, monday, 56*24*time.Hour, 5*time.Minute, 9.5e5, 1)
	if len(u.days) != keepDays {
		t.Fatalf("%d days are kept", len(u.days))
	}
	for _, d := range u.days {
		if len(d.bps[0]) != 288 {
			t.Fatalf("%s has %d samples", d.date, len(d.bps[0]))
		}
	}
	if n := len(keepUsage(u.days, "eth0")); n > 16<<10 {
		t.Errorf("%d bytes are kept", n)
	}
	if l := loaded(u.days, monday.AddDate(0, 0, 56), [2]float64{1e6, 1e6}, 0.9); l.days != keepDays {
		t.Errorf("%d days above", l.days)
	}
}
