package verdict

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

// Names says how people call services and units. A nil function leaves the ids.
type Names struct {
	Service, Unit func(id string) string
}

func (n Names) service(id string) string {
	if n.Service == nil || id == "" {
		return id
	}
	return n.Service(id)
}

func (n Names) unit(id string) string {
	if n.Unit == nil || id == "" {
		return id
	}
	return n.Unit(id)
}

// Say names a component in words, such as "đường truyền của xã An Thanh".
func (c Component) Say(l words.Lang, n Names) string {
	switch c.Kind {
	case OfService:
		return words.Say(l, "verdict.service", n.service(c.Service))
	case OfLine:
		return words.Say(l, "verdict.line", n.unit(c.Unit))
	case OfFleet:
		return words.Say(l, "verdict.fleet")
	case OfMachine:
		return words.Say(l, "verdict.machine", cmp.Or(n.unit(c.Unit), c.Name))
	case OfLAN:
		return words.Say(l, "verdict.lan", n.unit(c.Unit))
	case OfAccess:
		return words.Say(l, "verdict.access", n.unit(c.Unit))
	case OfSite:
		return words.Say(l, "verdict.site", n.service(c.Service), n.unit(c.Unit))
	case OfCarrier:
		return words.Say(l, "verdict.carrier", c.Name)
	case OfResolver:
		return strings.TrimSpace(words.Say(l, "verdict.resolver", c.Name))
	case OfZone:
		return words.Say(l, "verdict.zone", c.Name)
	case OfCertificate:
		return words.Say(l, "verdict.certificate", n.service(c.Service))
	case OfAuthority:
		return words.Say(l, "verdict.authority", c.Name)
	case OfPlatform:
		return words.Say(l, "verdict.platform", c.Name)
	case OfBackend:
		return words.Say(l, "verdict.backend", c.Name)
	case OfNetwork:
		return words.Say(l, "verdict.network", c.Name)
	}
	return c.Name
}

// Sentence says in one sentence what is broken, on which votes, how sure that is, and what it could also be.
func (c *Cause) Sentence(l words.Lang, n Names) string {
	text := words.Say(l, "verdict.sentence", c.Say(l, n), words.Reason(l, c.Reason).Title, c.Votes.Down, c.Votes.Up, words.Percent(l, c.Confidence, 0))
	if len(c.Or) > 0 {
		var or []string
		for _, o := range c.Or {
			or = append(or, o.Say(l, n))
		}
		text += words.Say(l, "verdict.or", strings.Join(or, ", "))
	}
	return text + "."
}

// Sentence says that the others contradict a unit.
func (d *Doubt) Sentence(l words.Lang, n Names) string {
	return words.Say(l, "verdict.doubt", n.unit(d.Unit), d.Against, d.Votes)
}

// A Row is a line of the table of votes: how the units have a service, and how many of those that have it down a cause
// explains.
type Row struct {
	Service string
	Votes
	Explained int
}

// Table counts the votes by service, in the order of the alphabet.
func (v *Verdict) Table(standings []Standing) []Row {
	rows := map[string]*Row{}
	for i := range standings {
		s := &standings[i]
		if s.Unit == "" || !measured(*s) {
			continue
		}
		r := rows[s.Service]
		if r == nil {
			r = &Row{Service: s.Service}
			rows[s.Service] = r
		}
		switch {
		case good(*s):
			r.Up++
		case s.State == check.Down:
			r.Down++
			if slices.ContainsFunc(v.Causes, func(c Cause) bool { return slices.Contains(c.Services, s.Service) && slices.Contains(c.Units, s.Unit) }) {
				r.Explained++
			}
		default:
			r.Unknown++
		}
	}
	out := make([]Row, 0, len(rows))
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		out = append(out, *rows[id])
	}
	return out
}
