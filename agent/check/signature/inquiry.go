package signature

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/certlist"
)

// A Standing is what is known of whether a certificate was revoked.
type Standing int

// The standings.
const (
	Unasked Standing = iota // nobody knows: it was not asked, or could not be learnt
	Good                    // it was not revoked when last asked about
	Revoked                 // it was revoked
	Stray                   // it leads to none of the roots, so that no answer about it can be verified
)

// An InquiryConfig says how certificates that are kept in one place are asked about, as the kind certs does on a machine.
type InquiryConfig struct {
	Roots         string        // PEM file of the roots
	Intermediates string        // PEM file of the authorities between; "" for none
	Hosts         []string      // that certificates may send the asker to
	SHA1          bool          // whether certificates of a chain may be signed over SHA-1
	Asks          int           // most requests of one round
	Recheck       time.Duration // how long an answer holds
	Now           func() time.Time
}

// An Inquiry asks whether certificates were revoked, by the rules of the kind certs, and remembers the answers. It serves
// one goroutine.
type Inquiry struct{ c *certsCheck }

// NewInquiry returns an inquiry that knows nothing yet.
func NewInquiry(cfg InquiryConfig) (*Inquiry, error) {
	if len(cfg.Hosts) == 0 {
		return nil, errors.New("option \"hosts\": nobody may be asked: write the hosts of the authorities, e.g. ocsp.ca.gov.vn")
	}
	c, err := newCertsCheck(check.Options{"files": []string{cfg.Roots}, "roots": cfg.Roots, "intermediates": cfg.Intermediates, "hosts": cfg.Hosts, "asks": int64(cfg.Asks),
		"recheck": cfg.Recheck, "sha1_chain": cfg.SHA1, "user_agent": "egovmon"}, check.Env{Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	return &Inquiry{c}, nil
}

// Ask plays one round and returns the standing of each certificate that is in force; above are authorities that were found
// beside them. An error says that roots or intermediates cannot be read.
func (q *Inquiry) Ask(ctx context.Context, certs, above []*x509.Certificate) (map[[sha256.Size]byte]Standing, error) {
	roots, err := q.c.trust.load()
	if err != nil {
		return nil, err
	}
	more, err := q.c.intermediates.load()
	if err != nil {
		return nil, err
	}
	f := &found{above: slices.Concat(above, more)}
	for _, x := range certs {
		if usable(x) == nil && !x.IsCA {
			f.certs = append(f.certs, x)
		}
	}
	slices.SortStableFunc(f.certs, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	var facts check.Facts
	chains, _ := q.c.chains(f, roots, &facts)
	_, _ = q.c.revocation(ctx, f, chains, new(spans), &facts)
	out := make(map[[sha256.Size]byte]Standing, len(f.certs))
	for i, x := range f.certs {
		if certlist.Of(x, q.c.fetcher.at.now()) == certlist.Ended {
			continue
		}
		sum := sha256.Sum256(x.Raw)
		switch s := q.c.states[sum]; {
		case len(chains[i]) < 2:
			out[sum] = Stray
		case s.reason == check.OK:
			out[sum] = Good
		case s.reason == check.Revoked:
			out[sum] = Revoked
		default:
			out[sum] = Unasked
		}
	}
	return out, nil
}
