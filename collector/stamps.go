package main

import (
	"time"

	"egovmon/agent/words"
	"egovmon/collector/board"
	"egovmon/collector/stamp"
)

// maxTold is how many bytes of an error people are shown.
const maxTold = 200

// stampNotices say when the log has had no time stamp for long, or when the authority's clock is another one.
func (c *center) stampNotices(now time.Time) []board.Name {
	if c.stamper == nil {
		return nil
	}
	st := c.stamper.Status()
	var out []board.Name
	add := func(key string, args func(l words.Lang) []any) {
		say := func(l words.Lang) string { return words.Say(l, key, args(l)...) }
		out = append(out, board.Name{VI: say(words.VI), EN: say(words.EN)})
	}
	if st.Overdue(now, c.config.TimeStamps.Every) {
		since := st.Last.At
		if since.IsZero() {
			since = st.Since
		}
		why := st.Err.Error()
		if len(why) > maxTold {
			why = why[:maxTold] + "…"
		}
		add("notice.stamp", func(l words.Lang) []any { return []any{words.DateTime(l, since), st.Failed, why} })
	}
	if st.Off.Abs() > stamp.FarOff {
		add("notice.stampclock", func(l words.Lang) []any { return []any{words.Duration(l, st.Off.Abs())} })
	}
	return out
}
