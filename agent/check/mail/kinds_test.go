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
