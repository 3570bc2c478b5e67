package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
)

// others are who else is asked, so that what the servers say can be compared.
type others struct {
	reference string // host:port, "" for none
	authority bool
	query     lookup.Query // for the zone's own servers
}

func newOthers(o check.Options, q lookup.Query) (others, error) {
	x := others{reference: o.String("reference"), authority: o.Bool("authority")}
	if x.reference != "" {
		if err := hostPort("reference", x.reference); err != nil {
			return x, err
		}
	}
	var err error
	x.query, err = lookup.NewQuery(q.Name, mdns.Type(q.Type).String(), false, false)
	return x, err
}

func (x others) any() bool { return x.reference != "" || x.authority }

// An opinion is what one of the others said.
type opinion struct {
	lookup.Outcome
	who   string
	agree bool
}

// opinions are those of the others that answered.
type opinions struct{ all []opinion }

// ask asks the others once one of the servers has said something about the name.
func (x others) ask(ctx context.Context, c *checker, server string, s seen) opinions {
	var all opinions
	if !x.any() || !s.speaks() {
		return all
	}
	add := func(who string, o lookup.Outcome) {
		if o.Replied() {
			all.all = append(all.all, opinion{o, who, compatible(c.query.Name, s.Outcome, o)})
		}
	}
	through := server
	if x.reference != "" {
		through = x.reference
		a := lookup.Asker{Query: c.query, Tries: c.asker.Tries, Source: c.source}
		half, cancel := lookup.Share(ctx, 2)
		add("the reference "+x.reference, a.AskNamed(half, x.reference))
		cancel()
	}
	if x.authority {
		f := finder{stub: lookup.Stub{Servers: []string{through}, Source: c.source, Most: maxQuestions}, net: c.net, tries: c.asker.Tries}
		add("the zone's own server", f.authority(ctx, x.query))
	}
	return all
}

// contradicting names the first who says something else; "" when nobody does.
func (x opinions) contradicting() string {
	for _, o := range x.all {
		if !o.agree {
			return fmt.Sprintf("; %s (%s) has %s", o.who, o.Server, said(o.Outcome))
		}
	}
	return ""
}

func (x opinions) facts(fs *check.Facts) {
	if len(x.all) == 0 {
		return
	}
	fs.Add("compared_count", float64(len(x.all)))
	fs.Add("consistent_code", flag(x.contradicting() == ""))
}

// said is an outcome for a person.
func said(o lookup.Outcome) string {
	if got := contents(o.Found); len(got) > 0 {
		return short(strings.Join(got, ", "))
	}
	return o.Detail
}

// compatible tells whether two answers can be of one zone: they share a record, or neither has one. A part is enough, since
// some servers hand out now these and now those of many addresses. An alias whose end the other one does not know counts as
// its record.
func compatible(name string, a, b lookup.Outcome) bool {
	if len(a.Found) > 0 && len(b.Found) > 0 {
		other := contents(b.Found)
		return slices.ContainsFunc(contents(a.Found), func(s string) bool { return slices.Contains(other, s) })
	}
	if x, y := aliasOf(name, a), aliasOf(name, b); x != "" || y != "" {
		return x == y
	}
	return len(a.Found) == 0 && len(b.Found) == 0
}

// aliasOf is where a name's alias leads; "" when it has none.
func aliasOf(name string, o lookup.Outcome) string {
	if o.Message == nil {
		return ""
	}
	for _, rr := range o.Message.Answer {
		if c, ok := rr.(*mdns.CNAME); ok && mdns.CanonicalName(c.Hdr.Name) == mdns.CanonicalName(name) {
			return mdns.CanonicalName(c.Target)
		}
	}
	return ""
}
