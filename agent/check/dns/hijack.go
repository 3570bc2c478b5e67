package dns

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/reach"
)

// randomWord stands in a name for a label that nobody can know beforehand.
const randomWord = "{random}"

// maxMissing bounds how many names a check sees to be missing.
const maxMissing = 8

func hijackKind() check.Kind {
	return check.Kind{
		Name:    "hijack",
		Family:  "dns",
		Summary: "Sees whether somebody forges what name servers say: a name that must not exist, a name that must have one answer, two answers to one question, an answer from where no name server is.",
		Options: []check.Option{
			serverOption(),
			serversOption(),
			{Name: "missing", Type: check.TypeStrings, Min: 1, Max: maxMissing,
				Help: `Names that must not exist; {random} in one stands for a label that is another one in each run, as in "{random}.example.vn". An address for one is dns_mismatch.`},
			{Name: "name", Type: check.TypeString, Help: "A name that must have the contents of answers; any other answer is dns_mismatch, and that it does not exist is dns_nxdomain."},
			{Name: "type", Type: check.TypeString, Default: "A", Help: "Record type of name, as of the kind dns."},
			{Name: "answers", Type: check.TypeStrings, Min: 1, Max: 64, Help: "Contents of name, as a zone file writes them."},
			matchOption(),
			{Name: "decoy", Type: check.TypeAddress, Help: "An address where no name server is; an answer from there is captive_portal: somebody on the way answers in the place of others."},
			{Name: "wait", Type: check.TypeDuration, Default: "200ms", Max: 5,
				Help: "How long a second, different answer to one question is waited for, by which the first is known to be forged on the way (dns_mismatch); 0s does not wait. A silent decoy takes as long."},
			triesOption(),
		},
		Facts: []check.FactDef{
			{Name: "servers_count", Help: "servers asked", Max: maxServers},
			{Name: "servers_ok_count", Help: "servers that said what is right to every question", Max: maxServers},
			{Name: "forged_count", Help: "answers of servers that are forged", Max: maxServers * (maxMissing + 1)},
			{Name: "doubled_count", Help: "questions that got two different answers", Max: maxServers * (maxMissing + 1)},
			{Name: "decoy_code", Help: "1 when something answered from where no name server is, else 0", Max: 1},
			{Name: "questions_count", Help: "questions asked", Max: maxServers*(maxMissing+1) + 1},
		},
		Phases: []string{"dns", "total"},
		Target: targets,
		New: func(o check.Options, env check.Env) (check.Func, error) {
			return newHijack(o, env, theInternet())
		},
	}
}

// A hijackCheck is a check of kind hijack.
type hijackCheck struct {
	place
	missing []string
	query   *lookup.Query // of the name that must have its answer; nil for none
	want    expectation
	decoy   string
	wait    time.Duration
	tries   int
}

func newHijack(o check.Options, env check.Env, net internet) (check.Func, error) {
	c := &hijackCheck{missing: o.Strings("missing"), decoy: o.String("decoy"), wait: o.Duration("wait"), tries: max(1, int(o.Int("tries")))}
	var err error
	if c.place, err = newPlace(o, env, net); err != nil {
		return nil, err
	}
	for _, name := range c.missing {
		if _, err := missingQuery(name); err != nil {
			return nil, fmt.Errorf("option %q: %q is no domain name: write e.g. {random}.example.vn", "missing", name)
		}
	}
	switch {
	case o.Has("name") != o.Has("answers"):
		return nil, fmt.Errorf("option %q: a name goes with the answers that it must have: write both", "name")
	case !o.Has("name") && len(c.missing) == 0 && c.decoy == "":
		return nil, fmt.Errorf("option %q: there is nothing to see: write missing, decoy, or name and answers", "missing")
	}
	if o.Has("name") {
		q, err := lookup.NewQuery(o.String("name"), o.String("type"), true, false)
		if err != nil {
			return nil, err
		}
		if c.want, err = newExpectation(q, o); err != nil {
			return nil, err
		}
		c.query = &q
	}
	if c.decoy != "" {
		if err := hostPort("decoy", c.decoy); err != nil {
			return nil, err
		}
		if slices.Contains(c.servers, c.decoy) {
			return nil, fmt.Errorf("option %q: %s is one of the servers: write an address where none is", "decoy", c.decoy)
		}
	}
	return c.check, nil
}

// missingQuery asks for a name that must not exist.
func missingQuery(name string) (lookup.Query, error) {
	word := strings.ToLower(rand.Text()[:16])
	return lookup.NewQuery(strings.ReplaceAll(name, randomWord, word), "A", true, false)
}

// A hearing is what one server said to all questions.
type hearing struct {
	server    string
	took      time.Duration
	fault     *reach.Fault // the worst that it said; nil for nothing
	forged    int
	doubled   int
	questions int
}

func (c *hijackCheck) check(ctx context.Context) check.Result {
	begin := time.Now()
	var servers []string
	if c.query != nil || len(c.missing) > 0 {
		var bad *check.Result
		if servers, bad = c.resolvers(); bad != nil {
			bad.Phases.Add("total", time.Since(begin))
			return *bad
		}
	}
	all := make([]hearing, len(servers))
	answered := false
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { all[i] = c.hear(ctx, s) })
	}
	if c.decoy != "" {
		wg.Go(func() { answered = c.answersFrom(ctx) })
	}
	wg.Wait()
	if ctx.Err() == context.Canceled {
		r := check.Because(check.Internal, "called off")
		r.Phases.Add("total", time.Since(begin))
		return r
	}
	r := c.judge(all, answered).Result()
	c.report(&r, all, answered)
	r.Phases.Add("total", time.Since(begin))
	return r
}

// judge makes one fault of what was heard, nil for none: a forgery by any server counts, since users ask that one too; of
// servers that fail, only all.
func (c *hijackCheck) judge(all []hearing, decoy bool) *reach.Fault {
	if decoy {
		return reach.Failf(check.CaptivePortal, "an answer came from %s, where no name server is: somebody on the way gives it", c.decoy)
	}
	bad := 0
	var first *hearing
	for i := range all {
		h := &all[i]
		if h.fault == nil {
			continue
		}
		bad++
		if h.forged > 0 {
			return reach.Failf(h.fault.Reason, "%s: %s", h.server, h.fault.Detail)
		}
		if first == nil {
			first = h
		}
	}
	switch {
	case bad == 0:
		return nil
	case bad == len(all):
		return reach.Failf(first.fault.Reason, "%s: %s", first.server, first.fault.Detail)
	}
	return reach.Failf(check.Partial, "%d of %d servers cannot tell; %s: %s", bad, len(all), first.server, first.fault.Detail)
}

// hear asks one server everything, one question after the other.
func (c *hijackCheck) hear(ctx context.Context, server string) hearing {
	begin := time.Now()
	h := hearing{server: server}
	if c.query != nil {
		o := c.ask(ctx, server, *c.query, &h)
		c.want.compare(&o)
		switch o.Reason {
		case check.OK:
		case check.DNSMismatch, check.DNSNXDomain, check.DNSEmpty:
			h.lies(o.Reason, "%s: %s", c.query.Name, o.Detail)
		default:
			h.fails(o)
		}
	}
	for _, name := range c.missing {
		q, err := missingQuery(name)
		if err != nil {
			continue // its form was checked at the start
		}
		switch o := c.ask(ctx, server, q, &h); o.Reason {
		case check.DNSNXDomain, check.DNSEmpty:
		case check.OK:
			h.lies(check.DNSMismatch, "%s does not exist, and is said to be at %s", name, said(o))
		default:
			h.fails(o)
		}
	}
	h.took = time.Since(begin)
	return h
}

func (h *hearing) lies(r check.Reason, format string, args ...any) {
	if h.forged++; h.forged == 1 {
		h.fault = reach.Failf(r, format, args...)
	}
}

func (h *hearing) fails(o lookup.Outcome) {
	if h.fault == nil {
		h.fault = reach.Failf(o.Reason, "%s", o.Detail)
	}
}

// ask puts one question and waits for a second answer to it.
func (c *hijackCheck) ask(ctx context.Context, server string, q lookup.Query, h *hearing) lookup.Outcome {
	one, cancel := lookup.Share(ctx, len(c.missing)+1-h.questions)
	defer cancel()
	h.questions++
	a := lookup.Asker{Query: q, Tries: c.tries, Source: c.source, Linger: c.wait}
	o := a.AskNamed(one, server)
	// A question that was sent again may well get two answers.
	if second := o.Second; second != nil && o.Sent == 1 && !alikeAnswers(o, *second) {
		h.doubled++
		h.lies(check.DNSMismatch, "two answers to one question: %s, then %s", said(o), said(*second))
	}
	return o
}

// alikeAnswers tells whether two answers to one question, which came one after the other, can come from one server: the same
// one sent twice, or one with another part of the addresses.
func alikeAnswers(a, b lookup.Outcome) bool {
	if a.Reason != b.Reason {
		return false
	}
	return a.Reason != check.OK || slices.Equal(contents(a.Found), contents(b.Found))
}

// answersFrom tells whether anything answers at the decoy.
func (c *hijackCheck) answersFrom(ctx context.Context) bool {
	q := c.query
	if q == nil {
		name := "www." + strings.ToLower(rand.Text()[:16]) + ".test"
		if len(c.missing) > 0 {
			name = c.missing[0]
		}
		asked, err := missingQuery(name)
		if err != nil {
			return false
		}
		q = &asked
	}
	short, cancel := context.WithTimeout(ctx, max(c.wait, 50*time.Millisecond))
	defer cancel()
	a := lookup.Asker{Query: *q, Tries: 1, Source: c.source}
	return a.AskNamed(short, c.decoy).Message != nil
}

func (c *hijackCheck) report(r *check.Result, all []hearing, decoy bool) {
	good, forged, doubled, questions := 0, 0, 0, 0
	took := time.Duration(0)
	for _, h := range all {
		if h.fault == nil {
			good++
		}
		forged, doubled, questions = forged+h.forged, doubled+h.doubled, questions+h.questions
		took = max(took, h.took)
	}
	r.Facts.Add("servers_count", float64(len(all)))
	r.Facts.Add("servers_ok_count", float64(good))
	r.Facts.Add("forged_count", float64(min(forged, maxServers*(maxMissing+1))))
	r.Facts.Add("doubled_count", float64(doubled))
	if c.decoy != "" {
		questions++
		r.Facts.Add("decoy_code", flag(decoy))
	}
	r.Facts.Add("questions_count", float64(questions))
	if len(all) > 0 {
		r.Phases.Add("dns", took)
	}
}
