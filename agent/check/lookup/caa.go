package lookup

import (
	"context"
	"strings"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
)

// CAA finds which authorities may issue certificates for a name: the records of the name, or of the nearest name above it that
// has some, and at which name they stand. RFC 8659, section 3. None at all allows every authority; the outcome then is
// dns_empty. Another outcome than ok and dns_empty says that a resolver failed, so that nobody may issue.
func (s *Stub) CAA(ctx context.Context, name string) (records []*mdns.CAA, at string, o Outcome) {
	for at = mdns.CanonicalName(name); at != "." && at != ""; {
		o = s.Ask(ctx, at, "CAA")
		switch o.Reason {
		case check.OK:
			for _, rr := range o.Found {
				if c, ok := rr.(*mdns.CAA); ok {
					records = append(records, c)
				}
			}
			return records, at, o
		case check.DNSEmpty, check.DNSNXDomain:
		default:
			return nil, at, o
		}
		if _, rest, ok := strings.Cut(at, "."); ok && rest != "" {
			at = rest
		} else {
			at = "."
		}
	}
	return nil, ".", Outcome{Server: o.Server, Reason: check.DNSEmpty, Detail: "neither " + name + " nor a name above it has CAA records"}
}
