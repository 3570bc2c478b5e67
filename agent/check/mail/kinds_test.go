package mail

import (
	"strings"
	"testing"

	"egovmon/agent/plan"
)

// Every kind can be planned with nothing but what it requires, and says of each option and number what it is for.
func TestKindsAreWhole(t *testing.T) {
	text := `plan: test
checks:
  - {id: a.smtp, kind: smtp, every: 60s, with: {address: 'thư.vn:587', auth: [PLAIN], user: probe@xa.test, password: {secret: mailbox}}}
  - {id: a.mx, kind: smtp, every: 60s, with: {address: 'mail.test:25', starttls: offered, alive: ['mail.test:587'], egress: ['a.test:25', 'b.test:25']}}
  - {id: a.imap, kind: imap, every: 60s, with: {address: 'mail.test:993', quota_warn: 0.8}}
  - {id: a.pop3, kind: pop3, every: 60s, with: {address: 'mail.test:995', quota: 10MiB, quota_warn: 0.8, user: probe@xa.test, password: {secret: mailbox}, login_pause: 1h}}
  - {id: a.loop, kind: mailloop, every: 300s, timeout: 30s, with: {address: 'mail.test:465', starttls: implicit, imap: 'mail.test:143', imap_starttls: required, mailbox: probe@xa.test, user: probe@xa.test, password: {secret: mailbox}, key: {secret: loop},
      peers: [probe2@xa.test], each: 1, folder: thu-thu, pace: 15m, daily: 300, late: 2m, lost: 30m, wait: 5s, attachment: 1KiB, pass: [dkim], authserv: mx.test}}
  - {id: a.loop_alone, kind: mailloop, every: 300s, with: {address: 'mail.test:587', imap: 'mail.test:993', mailbox: probe@xa.test, user: probe@xa.test, password: {secret: mailbox}, key: {secret: loop}, peers: []}}
  - {id: a.maildns_all, kind: maildns, every: 600s, with: {name: xa.vn, dkim: [s1], dkim_bits: 2048, mta_sts: enforce, mta_sts_address: 'sts.test:443', tls_rpt: true, dane: true, reverse: true, blocklists: [bl.test], senders: ['192.0.2.1', '2001:db8::1']}}
  - {id: a.maildns, kind: maildns, every: 600s, with: {name: xã.vn, servers: ['10.20.1.1:53'], dmarc: quarantine}}
`
	if _, err := plan.Parse([]byte(text), Kinds()); err != nil {
		t.Errorf("the plan was refused:\n%v", err)
	}
	for _, k := range Kinds() {
		if k.Family != "mail" || k.Summary == "" || k.New == nil || k.Target == nil {
			t.Errorf("kind %s is not whole", k.Name)
		}
		seen := map[string]bool{}
		for _, o := range k.Options {
			if seen[o.Name] || o.Type == "" || !strings.HasSuffix(o.Help, ".") || o.Required && o.Default != "" {
				t.Errorf("kind %s: option %s: twice, without type or help", k.Name, o.Name)
			}
			seen[o.Name] = true
		}
		for _, f := range k.Facts {
			if seen[f.Name] || f.Help == "" || f.Min > f.Max {
				t.Errorf("kind %s: fact %s: twice, without help or bounds", k.Name, f.Name)
			}
			seen[f.Name] = true
		}
	}
}
