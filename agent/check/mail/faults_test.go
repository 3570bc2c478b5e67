package mail

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/reach"
)

func wantFault(t *testing.T, f *reach.Fault, reason check.Reason, detail string) {
	t.Helper()
	if f == nil || f.Reason != reason || !strings.Contains(f.Detail, detail) {
		t.Errorf("%+v, want %s, %q", f, reason, detail)
	}
}

// A binding by DNS that cannot be looked up is not one that is broken.
func TestBindingThatCannotBeLookedUp(t *testing.T) {
	bind := func(o check.Options) *binding {
		o["dane"], o["address"] = true, "mail.test:25"
		all := checktest.WithDefaults(t, smtpKind(), o)
		s, err := newServer(all, checktest.WithEnv(check.Env{}))
		if err != nil {
			t.Fatal(err)
		}
		b, err := newBinding(all, checktest.WithEnv(check.Env{}), s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := bind(check.Options{})
	for _, err := range []error{fs.ErrNotExist, nil} {
		b.system = func() ([]netip.AddrPort, error) { return nil, err }
		records, f := b.look(t.Context())
		if wantFault(t, f, check.Partial, "TLSA of mail.test: the system's name servers cannot be found"); len(records) != 0 {
			t.Errorf("%d records", len(records))
		}
	}
	b.system = func() ([]netip.AddrPort, error) {
		return []netip.AddrPort{netip.MustParseAddrPort(resolver(t, "_25._tcp.mail.test AD\n_25._tcp.mail.test. TLSA 3 1 1 "+strings.Repeat("ab", 32)+"\n"))}, nil
	}
	if records, f := b.look(t.Context()); f != nil || len(records) != 1 {
		t.Errorf("by the system's: %d records, %v", len(records), f)
	}
	// The records come, and what proves them does not.
	anchor := []string{"test. DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"}
	b = bind(check.Options{"anchors": anchor, "server": resolver(t, "_25._tcp.mail.test. TLSA 3 1 1 "+strings.Repeat("ab", 32)+"\n"+
		"_25._tcp.mail.test. RRSIG TLSA 8 4 60 20270101000000 20260101000000 20326 test. AAAA\ntest SERVFAIL\n")})
	_, f := b.look(t.Context())
	wantFault(t, f, check.Partial, "for the proof: DNSKEY of test.")
}

// A handshake without a certificate is no TLS that binds anything.
func TestBoundToNothing(t *testing.T) {
	wantFault(t, bound([]*mdns.TLSA{{Usage: 3}}, nil, "mail.test", checktest.Epoch()), check.TLSHandshake, "the server sent no certificate")
}

// What a domain's check asks is bounded, has a form that DNS can hold, and ends with its run.
func TestQuestionsOfADomain(t *testing.T) {
	long := strings.Repeat("a", 64) + ".test"
	dead := []string{resolver(t, "a.test SILENT\n"), resolver(t, "a.test SERVFAIL\n")}
	a := &asking{ctx: t.Context(), servers: dead[1:], most: 3}
	if o := a.ask(long, "TXT"); o.Reason != check.DNSNXDomain || !strings.Contains(o.Detail, "is no name that DNS can hold") || a.questions != 0 {
		t.Errorf("%s, %q, %d questions", o.Reason, o.Detail, a.questions)
	}
	if texts, f := a.texts(long, func(string) bool { return true }); f != nil || texts != nil {
		t.Errorf("such a name has %q, %v", texts, f)
	}
	for range 3 {
		if o := a.ask("a.test", "TXT"); o.Reason != check.DNSServfail {
			t.Errorf("%s, %s", o.Reason, o.Detail)
		}
	}
	o := a.ask("a.test", "TXT")
	if o.Reason != check.Protocol || o.Detail != "the domain takes more than 3 questions" {
		t.Errorf("%s, %q", o.Reason, o.Detail)
	}
	_, f := a.texts("a.test", func(string) bool { return true })
	wantFault(t, f, check.Partial, "TXT of a.test: the domain takes more than 3 questions (protocol)")
	off, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the agent stops"))
	_, f = (&asking{ctx: off, servers: dead, most: 3}).texts("a.test", func(string) bool { return true })
	wantFault(t, f, check.Internal, "")
}
