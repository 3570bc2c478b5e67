package dns

import (
	"context"
	"errors"
	"fmt"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/dnssec"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/reach"
)

const phaseDNSSEC = "dnssec"

func anchorsOption() check.Option {
	return check.Option{Name: "anchors", Type: check.TypeStrings, Min: 1, Max: dnssec.MaxAnchors,
		Help: `DS or DNSKEY records to trust, as a zone file has them (". DS 20326 8 2 E06D…"); with them the answer is proven from there by this program, and dns_bogus if it should be signed and does not verify.`}
}

func signedOption() check.Option {
	return check.Option{Name: "signed", Type: check.TypeBool, Default: "false", Help: "The answer must be signed all the way from an anchor; an unsigned one is partial."}
}

func signatureWarnOption() check.Option {
	return check.Option{Name: "signature_warn", Type: check.TypeDuration, Default: "48h", Max: 90 * 24 * 3600,
		Help: "DNSSEC signatures of which one ends within this time are signature_expiring."}
}

func proofFacts() []check.FactDef {
	return []check.FactDef{
		{Name: "secure_code", Help: "1 when the answer is proven from an anchor, 0 when it is proven to be unsigned; only with anchors", Max: 1},
		{Name: "zones_count", Help: "zones on the way from the anchor whose keys were proven", Max: 200},
		{Name: "signatures_count", Help: "signatures that were checked", Max: 1000},
		{Name: "rrsig_not_after_unix", Help: "when the first of the signatures ends that the proof rests on", Max: 1 << 40},
	}
}

// A prover proves answers by DNSSEC. Without anchors it proves nothing.
type prover struct {
	anchors dnssec.Anchors // nil for none
	signed  bool
	warn    time.Duration
	now     func() time.Time
	proven  func() bool // whether now is; nil for yes
}

// newProver reads the options. The name must be below an anchor.
func newProver(o check.Options, env check.Env, name string) (prover, error) {
	p := prover{signed: o.Bool("signed"), warn: o.Duration("signature_warn"), now: env.Now, proven: env.ClockProven}
	if p.now == nil {
		p.now = time.Now
	}
	if !o.Has("anchors") {
		if p.signed {
			return p, fmt.Errorf("option %q: what is signed shows with anchors only: name them", "signed")
		}
		return p, nil
	}
	var err error
	if p.anchors, err = dnssec.ParseAnchors(o.Strings("anchors")); err != nil {
		return p, fmt.Errorf("option %q: %w", "anchors", err)
	}
	if _, ok := p.anchors.Above(name); !ok {
		return p, fmt.Errorf("option %q: none is at or above %s: name the key of a zone that it is in", "anchors", name)
	}
	return p, nil
}

// A proof is what came of proving one answer. The zero value is none.
type proof struct {
	made     bool
	status   dnssec.Status
	why      string
	zones    int
	checks   int
	notAfter time.Time
	took     time.Duration
}

// A failed is the error of a question that got no answer about the name.
type failed struct {
	lookup.Outcome
	name string
	typ  uint16
}

func (f *failed) Error() string {
	return fmt.Sprintf("%s of %s: %s", mdns.Type(f.typ), f.name, f.Detail)
}

// through lets a walk ask a server by an Asker.
func through(a *lookup.Asker, server string) dnssec.AskFunc {
	return func(ctx context.Context, name string, typ uint16) (*mdns.Msg, error) {
		q, err := lookup.NewQuery(name, mdns.Type(typ).String(), true, true)
		if err != nil {
			return nil, err
		}
		a.Query = q.Unvalidated()
		o := a.AskNamed(ctx, server)
		if !o.Replied() {
			return nil, &failed{o, name, typ}
		}
		return o.Message, nil
	}
}

// prove proves a message that answers the question of a, whose server it asks for the rest. What fails replaces the
// outcome's reason.
func (p prover) prove(ctx context.Context, a *lookup.Asker, s *seen, m *mdns.Msg) {
	if p.anchors == nil || m == nil {
		return
	}
	begin := time.Now()
	q := a.Query
	w := dnssec.New(p.anchors, p.now(), through(a, s.Server.String()))
	found, err := w.Prove(ctx, m, q.Name, q.Type)
	if f := p.fault(found, err); f != nil {
		s.Reason, s.Detail = f.Reason, f.Detail
	}
	s.proof = proofOf(w, found, err)
	s.proof.took = time.Since(begin)
}

func proofOf(w *dnssec.Walk, found dnssec.Proof, err error) proof {
	return proof{made: err == nil, status: found.Status, why: found.Why, zones: w.Zones(), checks: w.Checks(), notAfter: w.NotAfter()}
}

// fault says what a proof takes from an answer; nil for nothing.
func (p prover) fault(found dnssec.Proof, err error) *reach.Fault {
	var no *failed
	switch {
	case errors.Is(err, dnssec.ErrStripped):
		return reach.Failf(check.NotSupported, "%s: ask one that does", err)
	case errors.As(err, &no):
		return reach.Failf(no.Reason, "for the proof: %s", no)
	case err != nil:
		return reach.Failf(check.Protocol, "for the proof: %s", err)
	case found.Status != dnssec.Bogus:
		return nil
	case found.Untimely && p.proven != nil && !p.proven():
		return reach.Failf(check.ClockUnproven, "%s; this machine's clock is not proven", found.Why)
	}
	return reach.Failf(check.DNSBogus, "%s", found.Why)
}

// whyServfail tells a server that found the answer bogus from one that failed: the first one hands it out when it is told
// not to validate. RFC 4035, section 3.2.2.
func (p prover) whyServfail(ctx context.Context, a *lookup.Asker, s *seen) {
	q := a.Query
	a.Query = q.Unvalidated()
	o := a.AskNamed(ctx, s.Server.String())
	if !o.Replied() {
		return
	}
	s.Reason, s.Detail = check.DNSBogus, "the server answers only when it need not validate: "+s.Detail
	a.Query = q
	own := seen{Outcome: o}
	p.prove(ctx, a, &own, o.Message)
	if s.proof = own.proof; own.Reason == check.DNSBogus {
		s.Detail = own.Detail
	}
}

// shortcomings are what is not as it should be about a proof that holds; nil for nothing.
func (p prover) shortcomings(x proof) *reach.Fault {
	if !x.made {
		return nil
	}
	if p.signed && x.status != dnssec.Secure {
		return reach.Failf(check.Partial, "not signed: %s", x.why)
	}
	if left := x.notAfter.Sub(p.now()); !x.notAfter.IsZero() && left < p.warn && (p.proven == nil || p.proven()) {
		return reach.Failf(check.SignatureExpiring, "a DNSSEC signature ends %s", x.notAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

func (x proof) facts(fs *check.Facts) {
	if x.checks > 0 {
		fs.Add("zones_count", float64(x.zones))
		fs.Add("signatures_count", float64(x.checks))
	}
	if x.made && x.status != dnssec.Bogus {
		fs.Add("secure_code", flag(x.status == dnssec.Secure))
		if !x.notAfter.IsZero() {
			fs.Add("rrsig_not_after_unix", float64(x.notAfter.Unix()))
		}
	}
}
