package dns

import (
	"fmt"
	"strings"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check/lookup"
)

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
