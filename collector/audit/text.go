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
	"egovmon/collector/history"
)

// maxOutages is how many outages of a service are told; the JSON has all.
const maxOutages = 50

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
		if r.ProvenLate > 0 {
			say("audit.provenlate", num(r.ProvenLate), words.Share(l, new(float64(r.ProvenLate)/float64(r.Batches))))
		}
		say("audit.attached", num(r.Blobs), num(r.Bodies), num(r.BodiesLeftOut))
		say("audit.plans", num(r.PlansBeforeUse))
		if r.SawLost > 0 {
			say("audit.lost", num(r.SawLost))
		}
	}
	r.Witnessing.write(&b, l, r.Size)
	r.Stamping.write(&b, l)
	for _, x := range r.Removed.Stones {
		say("audit.tombstone", num(x.Leaf), num(x.Count), plain(x.Piece), words.DateTime(l, x.At), plain(x.By), plain(x.Why))
	}
	if r.Removed.InPeriod > 0 {
		say("audit.unproven", num(r.Removed.InPeriod))
	}
	for _, i := range r.Issued {
		say("audit.issued", plain(i.ID()), i.Number, num(i.Leaf), words.DateTime(l, i.At), plain(i.By), plain(i.ReviewedBy))
		if i.Given {
			say("audit.given")
		}
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
		f.write(&b, l)
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
	case r.KeyGiven && r.Witnessing.Protected > 0:
		say("audit.goodwitness", num(r.Witnessing.Protected), num(r.Size-r.Witnessing.Protected))
	case r.KeyGiven:
		say("audit.good")
	default:
		say("audit.goodnokey")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// write tells what authorities of time stamps have signed.
func (x *Stamping) write(w io.Writer, l words.Lang) {
	switch {
	case x.Rooted > 0:
		fmt.Fprintln(w, words.Say(l, "audit.stamped", words.Number(l, x.Rooted), plain(x.Authority), words.Number(l, x.Size), words.DateTime(l, x.At)))
	case x.Stamps > 0:
		fmt.Fprintln(w, words.Say(l, "audit.unrooted", words.Number(l, x.Stamps)))
	}
}

// write tells who else has signed the log, and how far that goes.
func (x *Witnessing) write(w io.Writer, l words.Lang, size int64) {
	say := func(key string, args ...any) { fmt.Fprintln(w, words.Say(l, key, args...)) }
	if x.Checkpoints > 0 {
		say("audit.cosigned", words.Number(l, x.Checkpoints))
	}
	for _, s := range x.Signers {
		key := "audit.signer.log"
		if s.Given {
			key = "audit.signer.given"
		}
		say(key, plain(s.Name), words.Number(l, s.Count), words.Number(l, s.Size), words.DateTime(l, s.At))
	}
	if x.Seen > 0 {
		say("audit.seen", x.Seen)
	}
	if x.Protected > 0 && x.Protected < size {
		say("audit.notyet", words.Number(l, x.Protected), words.Number(l, size-1))
	}
}

// write tells of the figures: each service of which a second is known, with its outages.
func (f *Figures) write(w io.Writer, l words.Lang) {
	say := func(key string, args ...any) { fmt.Fprintln(w, words.Say(l, key, args...)) }
	say("audit.worked", f.Rows, words.DateTime(l, f.Counted))
	silent := 0
	for _, r := range f.Services {
		if !slices.ContainsFunc(r.Calendars, func(c history.Counted) bool { return c.Figures.Coverage != nil && *c.Figures.Coverage > 0 }) {
			silent++
			continue
		}
		for _, c := range r.Calendars {
			if c.Figures.Coverage == nil {
				continue
			}
			say("audit.service", plain(r.Service), plain(c.Calendar), words.Interval(l, c.Figures.Lower, c.Figures.Upper), words.Share(l, c.Figures.Coverage),
				words.Clocked(c.Account.Down))
		}
		for n, o := range r.Outages {
			if n == maxOutages {
				say("audit.outages", words.Number(l, int64(len(r.Outages)-n)))
				break
			}
			say("audit.outage", words.DateTime(l, o.From), words.DateTime(l, o.To), words.Duration(l, o.To.Sub(o.From)), words.Reason(l, o.Reason).Title)
		}
	}
	if silent > 0 {
		say("audit.silent", silent)
	}
	if f.Given {
		say("audit.figures", f.Compared, len(f.Differences))
	}
	for _, d := range f.Differences {
		fmt.Fprintln(w, "  "+plain(d))
	}
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
