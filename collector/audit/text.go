package audit

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

// Write tells a person what was proven with what was given, and what is wrong.
func (r *Result) Write(w io.Writer, l words.Lang) error {
	var b strings.Builder
	say := func(key string, args ...any) { fmt.Fprintln(&b, words.Say(l, key, args...)) }
	num := func(n int64) string { return words.Number(l, n) }
	say("audit.log", plain(r.Origin), num(r.Size), r.Root)
	say("audit.period", words.DateTime(l, r.From), words.DateTime(l, r.To))
	if r.Signed {
		say("audit.signed")
	}
	if r.Tree {
		say("audit.tree", num(r.Size))
	}
	if r.Batches > 0 {
		say("audit.batches", num(r.Batches), num(r.Bracketed), num(r.LateBatches))
		say("audit.attached", num(r.Blobs), num(r.Bodies), num(r.BodiesLeftOut))
		say("audit.plans", num(r.PlansBeforeUse))
	}
	for _, m := range r.Machines {
		say("audit.machine", plain(m.Machine), plain(m.Unit), num(m.Expected), num(m.Results), num(m.InRanges), num(m.Absent), num(m.Pending))
		for _, why := range slices.Sorted(maps.Keys(m.Ranges)) {
			say("audit.range", words.Reason(l, check.Reason(plain(string(why)))).Title, num(m.Ranges[why]))
		}
		for _, why := range slices.Sorted(maps.Keys(m.Rejected)) {
			say("audit.rejected", plain(why), num(m.Rejected[why]))
		}
		if m.FirstAbsent != "" {
			say("audit.absent", plain(m.FirstAbsent))
		}
	}
	if f := r.Figures; f != nil {
		say("audit.figures", f.Rows, f.Compared, len(f.Differences))
		for _, d := range f.Differences {
			fmt.Fprintln(&b, "  "+plain(d))
		}
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s [%s] %s\n", words.Say(l, "audit.wrong"), f.Code, plain(f.What))
	}
	if r.More > 0 {
		say("audit.more", num(r.More))
	}
	switch {
	case !r.OK():
		say("audit.bad", num(int64(len(r.Findings))+r.More))
	case r.KeyGiven:
		say("audit.good")
	default:
		say("audit.goodnokey")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// plain makes text from an export fit for a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
