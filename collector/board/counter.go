package board

import (
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

// A counterRow is one counter in words.
type counterRow struct {
	Sign
	Key, Name     string
	Lost, Unknown string // sentences; "" for none
}

// counterRows words the counters: those where citizens are turned away first.
func counterRows(l words.Lang, v View) []counterRow {
	names := map[string]string{}
	for _, s := range v.Services {
		names[s.ID] = or(s.Name.in(l), s.ID)
	}
	sentence := func(key string, ids []string) string {
		if len(ids) == 0 {
			return ""
		}
		var said []string
		for _, id := range ids {
			said = append(said, or(names[id], id))
		}
		return words.Say(l, key, strings.Join(said, ", "))
	}
	byState := map[string][]counterRow{}
	for _, c := range v.Counters {
		r := counterRow{Key: "counter-" + c.Unit, Name: or(c.Name.in(l), c.Unit), Lost: sentence("counter.lost", c.Lost), Unknown: sentence("counter.unknown", c.Unknown)}
		state := c.State
		switch state {
		case CounterReady:
			r.State = check.Up
		case CounterLimited:
			r.State = check.Degraded
		case CounterStopped:
			r.State = check.Down
		default:
			state = CounterUnclear
		}
		r.Word = words.Say(l, "counter."+state)
		byState[state] = append(byState[state], r)
	}
	var out []counterRow
	for _, state := range []string{CounterStopped, CounterLimited, CounterUnclear, CounterReady} {
		out = append(out, byState[state]...)
	}
	return out
}

// fewReady is up to how many counters that are ready have a row each.
const fewReady = 3

// gather takes those that are ready out of the rows and returns their names, where they would bury what is below.
func gather(rows []counterRow) (apart []counterRow, ready []string) {
	for _, r := range rows {
		if r.State == check.Up {
			ready = append(ready, r.Name)
		} else {
			apart = append(apart, r)
		}
	}
	if len(ready) <= fewReady {
		return rows, nil
	}
	return apart, ready
}
