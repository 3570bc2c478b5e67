package mail

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/dnssec"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/reach"
)

// daneOptions are the options about the records in DNS that bind a server to its certificate.
func daneOptions() []check.Option {
	return []check.Option{
		{Name: "dane", Type: check.TypeBool, Default: "false",
			Help: "The server's certificate must be the one that TLSA records of its name bind it to (RFC 7672): another one is tls_untrusted, missing records and such as DNSSEC does not vouch for are mail_auth. With starttls: offered nothing else is asked of the certificate."},
		{Name: "server", Type: check.TypeAddress, Help: "Resolver to ask for TLSA records; without it those of the system."},
		{Name: "anchors", Type: check.TypeStrings, Min: 1, Max: dnssec.MaxAnchors,
			Help: "DS or DNSKEY records to trust; with them this program proves the TLSA records itself, without them it believes a resolver that says it has (AD)."},
	}
}

func daneFacts() []check.FactDef {
	return []check.FactDef{
		{Name: "tlsa_count", Help: "usable TLSA records of the server", Max: lookup.MaxAnswers},
		{Name: "tlsa_match_code", Help: "1 when the certificate is one that these records name, 0 when it is not", Max: 1},
	}
}

// A binding is what DNS says of a server's certificate, for one check.
type binding struct {
	host     string // as the certificate has it
	owner    string // of the records
	servers  []string
	system   func() ([]netip.AddrPort, error)
	source   netip.Addr
	anchors  dnssec.Anchors // nil believes the resolver
	now      func() time.Time
	unproven func() bool // whether now is not sure; nil for sure
}

// newBinding reads the options; nil without dane.
func newBinding(o check.Options, env check.Env, s *server) (*binding, error) {
	if !o.Bool("dane") {
		for _, name := range []string{"server", "anchors"} {
			if o.Has(name) {
				return nil, fmt.Errorf("option %q: it is about TLSA records: write dane: true, too", name)
			}
		}
		return nil, nil
	}
	if s.starttls == tlsNone {
		return nil, errors.New("option \"dane\": without TLS there is no certificate: write starttls: offered")
	}
	b := &binding{host: s.name(), system: lookup.SystemServers, source: env.Source, now: s.now}
	if net.ParseIP(b.host) != nil {
		return nil, fmt.Errorf("option \"dane\": TLSA records belong to a name, not to %s: write server_name", b.host)
	}
	_, port, _ := net.SplitHostPort(s.address)
	b.owner = "_" + port + "._tcp." + b.host
	if _, err := lookup.NewQuery(b.owner, "TLSA", true, true); err != nil {
		return nil, err
	}
	if o.Has("server") {
		b.servers = []string{o.String("server")}
	}
	if env.ClockProven != nil {
		b.unproven = func() bool { return !env.ClockProven() }
	}
	if !o.Has("anchors") {
		return b, nil
	}
	var err error
	if b.anchors, err = dnssec.ParseAnchors(o.Strings("anchors")); err != nil {
		return nil, fmt.Errorf("option \"anchors\": %w", err)
	}
	if _, ok := b.anchors.Above(mdns.Fqdn(b.owner)); !ok {
		return nil, fmt.Errorf("option \"anchors\": none is at or above %s: name the key of a zone that it is in", b.host)
	}
	return b, nil
}

// look asks for the records. Only those are returned that a certificate can be compared with; the fault says why there are none.
func (b *binding) look(ctx context.Context) ([]*mdns.TLSA, *reach.Fault) {
	servers := b.servers
	if len(servers) == 0 {
		system, err := b.system()
		if err != nil || len(system) == 0 {
			return nil, reach.Failf(check.Partial, "TLSA of %s: the system's name servers cannot be found; name one with the option server", told(b.host))
		}
		for _, s := range system {
			servers = append(servers, s.String())
		}
	}
	ctx, cancel := lookup.Share(ctx, 2) // the other half is the server's
	defer cancel()
	a := &asking{ctx: ctx, servers: servers, source: b.source, most: maxQuestions, unchecked: b.anchors != nil}
	o := a.askDNSSEC(b.owner, "TLSA")
	if b.anchors != nil && o.Replied() {
		if bad := b.prove(a, o); bad != nil {
			return nil, bad
		}
	}
	switch o.Reason {
	case check.OK:
	case check.DNSEmpty, check.DNSNXDomain:
		return nil, reach.Failf(check.MailAuth, "%s has no TLSA record", told(b.host))
	default:
		return nil, reach.Failf(check.Partial, "TLSA of %s: %s (%s)", told(b.host), o.Detail, o.Reason)
	}
	if b.anchors == nil && !o.Message.AuthenticatedData {
		return nil, reach.Failf(check.MailAuth, "TLSA of %s: the resolver does not say that DNSSEC vouches for it", told(b.host))
	}
	return usableTLSA(b.host, o.Found)
}

// prove proves an answer from the anchors; the fault says why it is not to be believed.
func (b *binding) prove(a *asking, o lookup.Outcome) *reach.Fault {
	walk := dnssec.New(b.anchors, b.now(), func(_ context.Context, name string, typ uint16) (*mdns.Msg, error) {
		next := a.askDNSSEC(name, mdns.Type(typ).String())
		if !next.Replied() {
			return nil, fmt.Errorf("%s of %s: %s", mdns.Type(typ), told(name), next.Detail)
		}
		return next.Message, nil
	})
	found, err := walk.Prove(a.ctx, o.Message, b.owner, mdns.TypeTLSA)
	switch {
	case err != nil:
		return reach.Failf(check.Partial, "TLSA of %s: for the proof: %s", told(b.host), err)
	case found.Status == dnssec.Bogus && found.Untimely && b.unproven != nil && b.unproven():
		return reach.Failf(check.ClockUnproven, "TLSA of %s: %s; this machine's clock is not proven", told(b.host), found.Why)
	case found.Status == dnssec.Bogus:
		return reach.Failf(check.DNSBogus, "TLSA of %s: %s", told(b.host), found.Why)
	case found.Status == dnssec.Insecure && o.Reason == check.OK:
		return reach.Failf(check.MailAuth, "TLSA of %s: not signed: %s", told(b.host), found.Why)
	}
	return nil
}

// usableTLSA returns the records that bind a mail server: usage 2 and 3 (RFC 7672, section 3.1) in a form that a
// certificate can match (RFC 6698, section 2.1).
func usableTLSA(host string, found []mdns.RR) ([]*mdns.TLSA, *reach.Fault) {
	var usable []*mdns.TLSA
	for _, rr := range found {
		t, ok := rr.(*mdns.TLSA)
		if !ok || t.Usage != 2 && t.Usage != 3 {
			continue
		}
		if !soundTLSA(t) {
			return nil, reach.Failf(check.MailAuth, "TLSA of %s: a record of %d %d %d with %d bytes, which no server can fulfil", told(host), t.Usage, t.Selector, t.MatchingType, len(t.Certificate)/2)
		}
		usable = append(usable, t)
	}
	if len(usable) == 0 {
		return nil, reach.Failf(check.MailAuth, "TLSA of %s: no record of usage 2 or 3, which are those for mail", told(host))
	}
	return usable, nil
}

// soundTLSA reports whether a record can match anything. RFC 6698, section 2.1.
func soundTLSA(t *mdns.TLSA) bool {
	size := map[uint8]int{1: sha256.Size, 2: sha512.Size}[t.MatchingType]
	return t.Selector <= 1 && t.MatchingType <= 2 && len(t.Certificate) > 0 && (size == 0 || len(t.Certificate) == 2*size)
}

// matches reports whether a record names a certificate.
func matches(t *mdns.TLSA, c *x509.Certificate) bool {
	data := c.Raw
	if t.Selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch t.MatchingType {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	want, err := hex.DecodeString(t.Certificate)
	return err == nil && bytes.Equal(want, data)
}

// bound returns nil when the certificates that a server sent, its own first, are such as one of the records asks for.
// Usage 3 names the server's own, whose name and dates then do not matter; usage 2 an authority that it must lead to, within
// its dates and for this host. RFC 7672, sections 3.1.1 and 3.1.2.
func bound(records []*mdns.TLSA, sent []*x509.Certificate, host string, now time.Time) *reach.Fault {
	if len(sent) == 0 {
		return reach.Failf(check.TLSHandshake, "the server sent no certificate")
	}
	why := fmt.Sprintf("none of its %d TLSA records names the certificate of %s", len(records), told(host))
	for _, t := range records {
		if t.Usage == 3 {
			if matches(t, sent[0]) {
				return nil
			}
			continue
		}
		anchors := slices.DeleteFunc(slices.Clone(sent), func(c *x509.Certificate) bool { return !matches(t, c) })
		if t.Selector == 0 && t.MatchingType == 0 { // the record holds the authority, which need not be sent
			if der, err := hex.DecodeString(t.Certificate); err == nil {
				if c, err := x509.ParseCertificate(der); err == nil {
					anchors = append(anchors, c)
				}
			}
		}
		if len(anchors) == 0 {
			continue
		}
		err := leads(sent, anchors, now)
		if err == nil {
			err = sent[0].VerifyHostname(host)
		}
		if err == nil {
			return nil
		}
		why = "a TLSA record names its authority, but " + err.Error()
	}
	return reach.Failf(check.TLSUntrusted, "%s", why)
}

// leads verifies the chain that a server sent up to one of the anchors.
func leads(sent, anchors []*x509.Certificate, now time.Time) error {
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range sent[1:] {
		opts.Intermediates.AddCert(c)
	}
	for _, c := range anchors {
		opts.Roots.AddCert(c)
	}
	_, err := sent[0].Verify(opts)
	return err
}
