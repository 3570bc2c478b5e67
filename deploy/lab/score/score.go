package score

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"egovmon/deploy/lab/fault"
)

// A Stated is one cause that was stated: an incident that was opened while the faults were on.
type Stated struct {
	Component string        `json:"component"` // a service's id, fault.TheLine or fault.TheFleet
	Unit      string        `json:"unit,omitempty"`
	Reason    string        `json:"reason"`
	After     time.Duration `json:"after"` // from the first fault to the opening

	Through string `json:"through,omitempty"` // as of an Incident
	Cause   string `json:"cause,omitempty"`
	Name    string `json:"name,omitempty"`
	Of      string `json:"of,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Silent  bool   `json:"silent,omitempty"`

	incident string
}

// A Played is one fault of a case, and where it struck.
type Played struct {
	fault.Fault `json:"-"`
	Name        string `json:"name"`
	Unit        string `json:"unit,omitempty"`
}

// A Case is one or two faults, and what came of them.
type Case struct {
	Faults []Played      `json:"faults"`
	Stated []Stated      `json:"stated"`
	Told   int           `json:"told"` // messages about openings that people got
	Lasted time.Duration `json:"lasted"`
	Err    string        `json:"err,omitempty"` // it could not be played

	// Bad lists, by service as a whole, how long it was shown as down.
	Bad map[string]time.Duration `json:"bad"`
	// Naive is what the rule "any check down is an alert" would have told: one alert for each service of each unit that
	// was seen down, and after how long the first came.
	Naive      []string      `json:"naive"`
	NaiveAfter time.Duration `json:"naive_after"`
	// NaiveBad lists, by service, how long that rule would have taken it as down: while any unit has it down.
	NaiveBad map[string]time.Duration `json:"naive_bad"`
	// Quorum is what a rule without a model of risks would have told: a service that so many units have down is broken, and
	// of fewer units it is the line of each. QuorumLast is what it said last, while the faults were on.
	Quorum     []string `json:"quorum"`
	QuorumLast []string `json:"quorum_last"`
}

// quorum is how many units must have a service down before the quorum rule calls the service broken.
const quorum = 3

// quorumSays applies the quorum rule to what is seen down: a service's id, or fault.TheLine, a blank and a unit.
func quorumSays(down []string) (out []string) {
	units := map[string][]string{}
	for _, d := range down {
		if service, unit, _ := strings.Cut(d, " "); unit != "" {
			units[service] = append(units[service], unit)
		}
	}
	said := map[string]bool{}
	for service, list := range units {
		if len(list) >= quorum {
			said[service] = true
			continue
		}
		for _, u := range list {
			said[fault.TheLine+" "+u] = true
		}
	}
	return slices.Sorted(maps.Keys(said))
}

// quorumRight counts the faults of a case whose component and place the quorum rule said last. A fault of which nobody need be
// told is right when the rule never said anything.
func quorumRight(c Case) (n int) {
	for k, p := range c.Faults {
		want := p.Component
		if want == fault.TheLine {
			want += " " + p.Unit
		}
		if want == "" && len(c.Quorum) == 0 || want != "" && slices.Contains(c.QuorumLast, want) && !Hidden(c, k) {
			n++
		}
	}
	return n
}

// Read reads the cases of a run as `lab score --json` wrote them.
func Read(r io.Reader) ([]Case, error) {
	var run struct {
		Cases []Case `json:"cases"`
	}
	if err := json.NewDecoder(io.LimitReader(r, maxRun)).Decode(&run); err != nil {
		return nil, fmt.Errorf("no run of the score: %w", err)
	}
	for i := range run.Cases {
		for k := range run.Cases[i].Faults {
			p := &run.Cases[i].Faults[k]
			f, err := fault.Find(p.Name)
			if err != nil {
				return nil, fmt.Errorf("case %d: %w", i+1, err)
			}
			p.Fault = f
		}
	}
	return run.Cases, nil
}

// maxRun bounds what Read reads: a thousand cases are a few megabytes.
const maxRun = 64 << 20

// A Result is what one fault of a case came to.
type Result struct {
	Fault string
	True  fault.Cause
	// Named is the class of the statement that fits, "none" when nothing was stated, or of the first one that does not fit.
	Named string
	Right bool // the component and the place were stated
	// Cause and Owner say whether the right kind of cause, and who can mend it, were named, too.
	Cause, Owner bool
	After        time.Duration // until the right one was stated; 0 without one
}

// None stands in the matrix for a fault of which nothing was stated.
const None = "none"

// fits reports whether a statement names the fault: its component and, where it struck one unit, that unit. That the lines
// of several units are down is the carrier, when it is stated so, and so are names for whatever service first shows it.
func (p Played) fits(s Stated) bool {
	if p.Cause == fault.Carrier && s.Component == fault.TheLine && s.Cause == "carrier" {
		return true
	}
	if s.Component != p.Component && s.Of != p.Component && !(p.Cause == fault.Names && (s.Cause == "resolver" || s.Cause == "zone")) {
		return false
	}
	return s.Unit == "" || p.Unit == "" || s.Unit == p.Unit
}

// Judge compares each fault of a case with what was stated. A fault of which nobody need be told is right when nothing
// was stated that fits none of the others.
func Judge(c Case) []Result {
	used := map[int]bool{}
	out := make([]Result, len(c.Faults))
	for k, p := range c.Faults {
		out[k] = Result{Fault: p.Name, True: p.Cause, Named: None}
		for i, s := range c.Stated {
			if !used[i] && p.Component != "" && p.fits(s) {
				used[i] = true
				out[k].Named, out[k].Right, out[k].After = class(s), true, s.After
				out[k].Cause, out[k].Owner = out[k].Named == string(p.Cause), s.owner() == p.Owner
				break
			}
		}
	}
	for k, p := range c.Faults {
		if out[k].Right {
			continue
		}
		for i, s := range c.Stated {
			if !used[i] {
				used[i] = true
				out[k].Named = class(s)
				break
			}
		}
		if p.Component == "" && out[k].Named == None {
			out[k].Right, out[k].Cause, out[k].Owner = true, true, true
		}
	}
	return out
}

// Silent stands in the matrix for a unit of which nothing is heard: its lines, its network or its power.
const Silent = "silent"

// class is the column of a statement: the class of the cause that it names.
func class(s Stated) string {
	switch s.Cause {
	case "certificate":
		return string(fault.Certificate)
	case "carrier":
		if s.Component == "tslcd" || s.Through == "tslcd" {
			return string(fault.Dedicated)
		}
		return string(fault.Carrier)
	case "resolver", "zone":
		return string(fault.Names)
	case "lan", "site":
		return string(fault.LAN)
	case "access":
		if s.Reason == "captive_portal" || strings.HasPrefix(s.Reason, "tls_") {
			return string(fault.LAN)
		}
		return string(fault.Line)
	case "machine":
		return string(fault.PC)
	case "authority":
		return string(fault.Signature)
	case "backend", "platform":
		return string(fault.Backend)
	}
	switch {
	case s.Component == fault.TheLine && s.Silent:
		return Silent
	case s.Component == fault.TheLine:
		return string(fault.Line)
	}
	if c, ok := map[string]fault.Cause{"mail": fault.Mail, "kyso_usb": fault.Signature, "ky_thu": fault.Signature, "kyso_dd": fault.Signature, "cong_x": fault.Backend, "inet": fault.Carrier, "tslcd": fault.Dedicated,
		"dns_local": fault.Names, "may_in": fault.LAN, "pc": fault.PC, "thu_thap": fault.Centre, fault.TheFleet: fault.Centre, "": None}[s.Component]; ok {
		return string(c)
	}
	return string(fault.Portal)
}

// owner is who is asked to mend it. Of a unit of which nothing is heard, the unit is asked first.
func (s Stated) owner() string {
	if s.Owner == "" && s.Silent {
		return "don_vi"
	}
	return s.Owner
}

// Extra counts the statements of a case that fit none of its faults: alerts that name what is not to blame.
func Extra(c Case) (n int) {
	for _, s := range c.Stated {
		if !slices.ContainsFunc(c.Faults, func(p Played) bool { return p.Component != "" && p.fits(s) }) {
			n++
		}
	}
	return n
}

// Hidden reports whether nobody could see a fault of a case for another one: all that it takes down is down by the other
// one, too, which is nearer to who measures, or is the same thing.
func Hidden(c Case, k int) bool {
	p := c.Faults[k]
	for i, q := range c.Faults {
		if i == k || !p.Down || !q.Down {
			continue
		}
		same := p.Component == q.Component && p.Unit == q.Unit
		everything := q.Scope == fault.OneUnit && slices.Contains(q.Hurts, "*") && p.Unit == q.Unit && p.Scope == fault.OneUnit
		covered := q.Scope == fault.Everywhere && near(q.Cause) < near(p.Cause) && !slices.ContainsFunc(p.Hurts, func(s string) bool { return !slices.Contains(q.Hurts, s) })
		if same && (near(q.Cause) < near(p.Cause) || near(q.Cause) == near(p.Cause) && i < k) || everything && !same || covered {
			return true
		}
	}
	return false
}

// near orders causes by how near they are to who measures.
func near(c fault.Cause) int {
	return slices.Index([]fault.Cause{fault.PC, fault.Centre, fault.LAN, fault.Line, fault.Carrier, fault.Dedicated, fault.Names, fault.Certificate, fault.Backend, fault.Portal, fault.Mail, fault.Signature}, c)
}

// WrongSeconds is how long services were shown as down, as a whole, that no fault of the case takes down everywhere: what
// is broken in one unit is not down for the others.
func WrongSeconds(c Case) time.Duration { return wrong(c, c.Bad) }

func wrong(c Case, bad map[string]time.Duration) (sum time.Duration) {
	for service, d := range bad {
		if !slices.ContainsFunc(c.Faults, func(p Played) bool {
			return p.Down && p.Scope == fault.Everywhere && (slices.Contains(p.Hurts, service) || slices.Contains(p.Hurts, "*"))
		}) {
			sum += d
		}
	}
	return sum
}

// HeldOut reports whether a fault is one of the third that is kept out of tuning: by a hash of its name, so that nobody
// chooses them.
func HeldOut(name string) bool {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()%3 == 0
}

// A Part is how many of some faults were named rightly.
type Part struct {
	Faults, Right int // component and place
	Cause, Owner  int // and the kind of cause, and who can mend it
}

func (p *Part) add(r Result) {
	p.Faults++
	for _, x := range []struct {
		yes bool
		n   *int
	}{{r.Right, &p.Right}, {r.Right && r.Cause, &p.Cause}, {r.Right && r.Owner, &p.Owner}} {
		if x.yes {
			*x.n++
		}
	}
}

// A Summary adds up cases.
type Summary struct {
	Cases, Faults, Right, Extra, Told, NaiveAlerts int
	Hidden                                         int // faults that another one of their case hides, and that were not named
	// NaiveRight counts the faults of which the naive rule gives exactly one alert, which then names the cause.
	NaiveRight int
	// QuorumRight counts the faults whose place the quorum rule said, and QuorumAlerts what it said in all.
	QuorumRight, QuorumAlerts int
	Wrong                     time.Duration
	NaiveWrong                time.Duration
	Parts                     map[string]Part           // single and double faults, and the singles that were kept out of tuning
	Longest                   time.Duration             // to the right statement
	Median                    time.Duration             // to the right statement
	NaiveAfter                time.Duration             // median to the first naive alert
	Matrix                    map[string]map[string]int // true cause × stated cause
	Unplayed                  []string
}

// Sum adds cases up.
func Sum(cases []Case) Summary {
	s := Summary{Matrix: map[string]map[string]int{}, Parts: map[string]Part{}}
	var after, naive []time.Duration
	for _, c := range cases {
		if c.Err != "" {
			s.Unplayed = append(s.Unplayed, Name(c)+": "+c.Err)
			continue
		}
		s.Cases++
		s.Extra += Extra(c)
		s.Told += c.Told
		s.Wrong += WrongSeconds(c)
		s.NaiveWrong += wrong(c, c.NaiveBad)
		s.NaiveAlerts += len(c.Naive)
		if c.NaiveAfter > 0 {
			naive = append(naive, c.NaiveAfter)
		}
		for k, r := range Judge(c) {
			if !r.Right && Hidden(c, k) {
				s.Hidden++
				continue
			}
			s.Faults++
			if r.Right {
				s.Right++
			}
			if r.After > 0 {
				after = append(after, r.After)
			}
			s.Longest = max(s.Longest, r.After)
			for _, name := range parts(c, r) {
				p := s.Parts[name]
				p.add(r)
				s.Parts[name] = p
			}
			row := s.Matrix[string(r.True)]
			if row == nil {
				row = map[string]int{}
				s.Matrix[string(r.True)] = row
			}
			row[r.Named]++
		}
		s.NaiveRight += naiveRight(c)
		s.QuorumRight += quorumRight(c)
		s.QuorumAlerts += len(c.Quorum)
	}
	s.Median, s.NaiveAfter = median(after), median(naive)
	return s
}

// The parts of a summary.
const (
	Singles = "single"
	Doubles = "double"
	Kept    = "held out" // of the singles
)

func parts(c Case, r Result) []string {
	switch {
	case len(c.Faults) > 1:
		return []string{Doubles}
	case HeldOut(r.Fault):
		return []string{Singles, Kept}
	}
	return []string{Singles}
}

// naiveRight counts the faults of a case for which the naive rule raises its one alert, and no other.
func naiveRight(c Case) int {
	if len(c.Faults) > 1 {
		return 0
	}
	p := c.Faults[0]
	if p.Component == "" {
		if len(c.Naive) == 0 {
			return 1
		}
		return 0
	}
	if len(c.Naive) == 1 && strings.HasPrefix(c.Naive[0], p.Component+" ") {
		return 1
	}
	return 0
}

func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// Name is the names of a case's faults.
func Name(c Case) string {
	var names []string
	for _, p := range c.Faults {
		names = append(names, p.Name)
	}
	return strings.Join(names, "+")
}

// Columns lists the stated causes of a matrix, in the order of the alphabet, None last.
func (s Summary) Columns() []string {
	seen := map[string]bool{}
	for _, row := range s.Matrix {
		for k := range row {
			seen[k] = true
		}
	}
	delete(seen, None)
	return append(slices.Sorted(maps.Keys(seen)), None)
}
