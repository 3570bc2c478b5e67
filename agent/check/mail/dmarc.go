package mail

import (
	"errors"
	"fmt"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// maxUp bounds how many names above a domain are asked for its policy.
const maxUp = 7

// isDMARC reports whether a TXT record is a DMARC record: the version stands first. RFC 7489, section 6.3.
func isDMARC(s string) bool {
	version, _, _ := strings.Cut(s, ";")
	name, value, _ := strings.Cut(version, "=")
	return strings.TrimSpace(name) == "v" && strings.TrimSpace(value) == "DMARC1"
}

// A dmarcRecord is what a record asks receivers to do with letters that fail: "none", "quarantine" or "reject".
type dmarcRecord struct {
	policy    string // for the domain itself
	subdomain string // for those below it
}

// parseDMARC reads a record that isDMARC.
func parseDMARC(s string) (dmarcRecord, error) {
	tags := map[string]string{}
	for i, part := range strings.Split(s, ";") {
		part = strings.TrimSpace(part)
		if i == 0 || part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !ok || name == "" {
			return dmarcRecord{}, fmt.Errorf("%s is no tag", told(part))
		}
		if _, twice := tags[name]; twice {
			return dmarcRecord{}, fmt.Errorf("the tag %s stands twice", told(name))
		}
		tags[name] = value
	}
	r := dmarcRecord{policy: strings.ToLower(tags["p"])}
	if r.policy == "" {
		return r, errors.New("the policy (p) is missing")
	}
	r.subdomain = r.policy
	if sp, ok := tags["sp"]; ok {
		r.subdomain = strings.ToLower(sp)
	}
	for _, p := range []string{r.policy, r.subdomain} {
		if _, ok := dmarcStrength(p); !ok {
			return r, fmt.Errorf("%q is no policy", told(p))
		}
	}
	return r, nil
}

// dmarcStrength puts the policies in order: 0 none, 1 quarantine, 2 reject.
func dmarcStrength(policy string) (strength int, ok bool) {
	switch policy {
	case "none":
		return 0, true
	case "quarantine":
		return 1, true
	case "reject":
		return 2, true
	}
	return 0, false
}

// judgeDMARC looks for the domain's record, then above it. Receivers go up to the organisation's domain, which they find
// in a list or by walking up; we walk up, and leave out the last label alone.
func (c *domainCheck) judgeDMARC(a *asking, facts *check.Facts) *reach.Fault {
	name := c.domain
	for range maxUp + 1 {
		records, bad := a.texts("_dmarc."+name, isDMARC)
		if bad != nil {
			return bad
		}
		if len(records) > 0 {
			facts.Add("dmarc_records_count", float64(len(records)))
			return c.judgePolicy(name, records, facts)
		}
		_, up, ok := strings.Cut(name, ".")
		if !ok || !strings.Contains(up, ".") {
			break
		}
		name = up
	}
	facts.Add("dmarc_records_count", 0)
	return reach.Failf(check.MailAuth, "%s has no DMARC record", c.domain)
}

// judgePolicy judges the records found at a name.
func (c *domainCheck) judgePolicy(name string, records []string, facts *check.Facts) *reach.Fault {
	if len(records) > 1 {
		return reach.Failf(check.MailAuth, "%s has %d DMARC records, which is none to a receiver", told(name), len(records))
	}
	r, err := parseDMARC(records[0])
	if err != nil {
		return reach.Failf(check.MailAuth, "DMARC of %s: %s", told(name), err)
	}
	policy := r.policy
	if name != c.domain {
		policy = r.subdomain
	}
	strength, _ := dmarcStrength(policy)
	facts.Add("dmarc_policy_code", float64(strength))
	if least, _ := dmarcStrength(c.dmarc); strength < least {
		return reach.Failf(check.MailAuth, "DMARC of %s asks for %s, the plan for at least %s", told(name), policy, c.dmarc)
	}
	return nil
}
