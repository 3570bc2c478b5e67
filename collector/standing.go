package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"egovmon/agent/check/certlist"
	"egovmon/agent/check/signature"
	"egovmon/collector/certs"
	"egovmon/exporter"
)

// How the certificates of the register are asked about.
const (
	inquiryFirst = time.Minute      // after the start
	inquiryEvery = 10 * time.Minute // a round
	inquiryAsks  = 30               // requests of a round: the authority serves the whole country
	inquiryTime  = 5 * time.Minute  // a round at most
	recheckEvery = 24 * time.Hour
)

// A certsConfig says whom the collector may ask whether certificates of the register were revoked. Without hosts it asks
// nobody, and their revocation is not known.
type certsConfig struct {
	// Roots is a PEM file of the roots that the certificates must lead to.
	Roots string `yaml:"roots"`
	// Intermediates is a PEM file of the authorities between the roots and the certificates.
	Intermediates string `yaml:"intermediates"`
	// Hosts are the hosts that certificates may send the collector to, e.g. [ocsp.ca.gov.vn, ca.gov.vn].
	Hosts []string `yaml:"hosts"`
	// SHA1 allows chains that are signed over SHA-1, as those of the first generation are. Default false.
	SHA1 bool `yaml:"sha1_chain"`
	// Recheck is for how long an answer holds. Default 24h, from 1h to 168h.
	Recheck time.Duration `yaml:"recheck"`
}

func (c certsConfig) check() error {
	switch {
	case len(c.Hosts) == 0 && (c.Roots != "" || c.Intermediates != "" || c.SHA1 || c.Recheck != 0):
		return errors.New("configuration: certificates.hosts: missing: write the hosts that may be asked, e.g. [ocsp.ca.gov.vn, ca.gov.vn]")
	case len(c.Hosts) > 0 && c.Roots == "":
		return errors.New("configuration: certificates.roots: missing: answers about revocation are verified from roots: name a PEM file of them")
	case c.Recheck != 0 && (c.Recheck < time.Hour || c.Recheck > 168*time.Hour):
		return fmt.Errorf("configuration: certificates.recheck %s: want 1h to 168h", c.Recheck)
	}
	return nil
}

// openInquiry makes what asks about certificates; nil when nobody may be asked.
func (c *center) openInquiry() (*signature.Inquiry, error) {
	cfg := c.config.Certificates
	if len(cfg.Hosts) == 0 {
		return nil, nil
	}
	every := cfg.Recheck
	if every == 0 {
		every = recheckEvery
	}
	q, err := signature.NewInquiry(signature.InquiryConfig{Roots: cfg.Roots, Intermediates: cfg.Intermediates, Hosts: cfg.Hosts, SHA1: cfg.SHA1, Asks: inquiryAsks, Recheck: every, Now: c.now})
	if err != nil {
		return nil, fmt.Errorf("configuration: certificates: %w", err)
	}
	return q, nil
}

// inquire asks about the certificates of the register, a few at a time, until ctx ends.
func (c *center) inquire(ctx context.Context, q *signature.Inquiry) error {
	if q == nil {
		return nil
	}
	said := ""
	for wait := inquiryFirst; ; wait = inquiryEvery {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		err := c.inquireOnce(ctx, q)
		if ctx.Err() != nil {
			return nil
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != said && err != nil {
			c.log.Error("whether certificates of the register were revoked cannot be asked", "err", err)
		}
		said = text
	}
}

func (c *center) inquireOnce(ctx context.Context, q *signature.Inquiry) error {
	ctx, cancel := context.WithTimeout(ctx, inquiryTime)
	defer cancel()
	list, err := c.certificates()
	if err != nil {
		return err
	}
	var all []*x509.Certificate
	for _, e := range list {
		if e.Cert != nil {
			all = append(all, e.Cert)
		}
	}
	standings, err := q.Ask(ctx, all, nil)
	if err != nil {
		return err
	}
	c.holders.mu.Lock()
	defer c.holders.mu.Unlock()
	c.holders.standings = standings
	return nil
}

// stand adds to the register's entries what is known of them.
func (h *holders) stand(list []certs.Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, e := range list {
		if e.Cert != nil && h.standings != nil {
			list[i].Standing = h.standings[sha256.Sum256(e.Cert.Raw)]
		}
	}
}

// userCerts are the counts of the register for /metrics: units and classes, and nobody's name.
func (c *center) userCerts(now time.Time) ([]exporter.UserCerts, error) {
	list, err := c.certificates()
	if err != nil {
		return nil, err
	}
	var out []exporter.UserCerts
	for _, t := range certs.Tallies(list, func(string) []string { return nil }, now) {
		u := exporter.UserCerts{Unit: t.Unit, Within: map[string]int{}}
		for class, name := range [certlist.Classes]string{"expired", "15d", "30d", "60d", "ok"} {
			u.Within[name] = t.Classes[class]
		}
		if len(c.config.Certificates.Hosts) > 0 {
			u.Revocation = map[string]int{"good": t.Good, "revoked": t.Revoked, "stray": t.Stray, "unknown": t.Unasked}
		}
		out = append(out, u)
	}
	return out, nil
}

// standingWord is a standing in the listing of certificates; "" for what nobody knows.
func standingWord(s signature.Standing) string {
	return map[signature.Standing]string{signature.Good: "good", signature.Revoked: "revoked", signature.Stray: "stray"}[s]
}
