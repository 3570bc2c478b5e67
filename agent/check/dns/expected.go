package dns

import (
	"fmt"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
)

// The values of the option match.
const (
	matchAll   = "all"
	matchAny   = "any"
	matchExact = "exact"
)

func matchOption() check.Option {
	return check.Option{Name: "match", Type: check.TypeString, Default: matchAll, Enum: []string{matchAll, matchAny, matchExact},
		Help: "Which of the expected contents must be there: all of them, any of them, or exactly these and no other."}
}

// An expectation is what a plan says of a question's answer. The zero value takes any.
type expectation struct {
	contents []string // as [lookup.Data] writes them
	match    string
}

func newExpectation(q lookup.Query, o check.Options) (expectation, error) {
	want, err := expected(q, o.Strings("answers"))
	return expectation{want, o.String("match")}, err
}

// compare turns an answer without the expected contents into dns_mismatch.
func (e expectation) compare(o *lookup.Outcome) {
	if o.Reason != check.OK || len(e.contents) == 0 {
		return
	}
	got := contents(o.Found)
	missing, extra := "", ""
	hits := 0
	for _, w := range e.contents {
		if slices.Contains(got, w) {
			hits++
		} else if missing == "" {
			missing = w
		}
	}
	for _, g := range got {
		if !slices.Contains(e.contents, g) && extra == "" {
			extra = g
		}
	}
	switch {
	case e.match == matchAny && hits == 0, e.match != matchAny && missing != "":
		o.Reason, o.Detail = check.DNSMismatch, fmt.Sprintf("%s is missing, got %s", short(missing), short(strings.Join(got, ", ")))
	case e.match == matchExact && extra != "":
		o.Reason, o.Detail = check.DNSMismatch, fmt.Sprintf("%s is not expected", short(extra))
	}
}

// expected brings what a plan expects of a question into the form of [lookup.Data].
func expected(q lookup.Query, answers []string) ([]string, error) {
	var all []string
	for _, a := range answers {
		switch q.Type {
		case mdns.TypeANY:
			return nil, fmt.Errorf("option %q: they cannot be compared for type ANY: name one type", "answers")
		case mdns.TypeTXT:
			all = append(all, a)
			continue
		case mdns.TypeCNAME, mdns.TypeNS, mdns.TypePTR, mdns.TypeDNAME:
			a = mdns.Fqdn(a)
		}
		typ := mdns.Type(q.Type).String()
		if strings.ContainsAny(a, "\n\r;$()") {
			return nil, fmt.Errorf("option %q: %q is no content of a record of type %s: write it as a zone file has it, on one line", "answers", a, typ)
		}
		rr, err := mdns.NewRR(". 0 IN " + typ + " " + a)
		if err != nil || rr == nil {
			return nil, fmt.Errorf("option %q: %q is no content of a record of type %s: write it as a zone file has it, e.g. 192.0.2.1 for A", "answers", a, typ)
		}
		all = append(all, lookup.Data(rr))
	}
	return all, nil
}
