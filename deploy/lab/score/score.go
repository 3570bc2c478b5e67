package score

import (
	"cmp"
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
}

// A Result is what one fault of a case came to.
type Result struct {
	Fault string
	Cause fault.Cause
	// Named is the stated cause that fits, "none" when nothing was stated, or the first one that does not fit.
	Named string
	Right bool
	After time.Duration // until the right one was stated; 0 without one
}

// None stands in the matrix for a fault of which nothing was stated.
const None = "none"

// fits reports whether a statement names the fault: its component and, where it struck one unit, that unit.
func (p Played) fits(s Stated) bool {
	if s.Component != p.Component {
		return false
	}
	return s.Component != fault.TheLine || p.Unit == "" || s.Unit == p.Unit
}

// Judge compares each fault of a case with what was stated. A fault of which nobody need be told is right when nothing
// was stated that fits none of the others.
func Judge(c Case) []Result {
	used := map[int]bool{}
	out := make([]Result, len(c.Faults))
	for k, p := range c.Faults {
		out[k] = Result{Fault: p.Name, Cause: p.Cause, Named: None}
		for i, s := range c.Stated {
			if !used[i] && p.Component != "" && p.fits(s) {
				used[i] = true
				out[k].Named, out[k].Right, out[k].After = class(s), true, s.After
				break
			}
		}
	}
	for k, p := range c.Faults {
		if out[k].Right {
			out[k].Named = string(p.Cause)
			continue
		}
		for i, s := range c.Stated {
			if !used[i] {
				used[i] = true
				out[k].Named = class(s)
				break
			}
		}
		out[k].Right = p.Component == "" && out[k].Named == None
	}
	return out
}

// class is the column of a statement that fits no fault.
func class(s Stated) string {
	return cmp.Or(s.Component, None)
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

// WrongSeconds is how long services were shown as down, as a whole, that no fault of the case takes down.
func WrongSeconds(c Case) (sum time.Duration) {
	for service, d := range c.Bad {
		if !slices.ContainsFunc(c.Faults, func(p Played) bool {
			return p.Down && (slices.Contains(p.Hurts, service) || slices.Contains(p.Hurts, "*"))
		}) {
			sum += d
		}
	}
	return sum
}

// A Summary adds up cases.
type Summary struct {
	Cases, Faults, Right, Extra, Told, NaiveAlerts int
	// NaiveRight counts the faults of which the naive rule gives exactly one alert, which then names the cause.
	NaiveRight int
	Wrong      time.Duration
	Median     time.Duration             // to the right statement
	NaiveAfter time.Duration             // median to the first naive alert
	Matrix     map[string]map[string]int // true cause × stated cause
	Unplayed   []string
}

// Sum adds cases up.
func Sum(cases []Case) Summary {
	s := Summary{Matrix: map[string]map[string]int{}}
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
		s.NaiveAlerts += len(c.Naive)
		if c.NaiveAfter > 0 {
			naive = append(naive, c.NaiveAfter)
		}
		for _, r := range Judge(c) {
			s.Faults++
			if r.Right {
				s.Right++
			}
			if r.After > 0 {
				after = append(after, r.After)
			}
			row := s.Matrix[string(r.Cause)]
			if row == nil {
				row = map[string]int{}
				s.Matrix[string(r.Cause)] = row
			}
			row[r.Named]++
		}
		s.NaiveRight += naiveRight(c)
	}
	s.Median, s.NaiveAfter = median(after), median(naive)
	return s
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
