package report

import (
	"slices"
	"time"

	"egovmon/collector/history"
	"egovmon/collector/profile"
)

// A Joined is what former units had of a service, under the unit that goes on with their work: old history in the
// structure of another day. Seconds of several units add up.
type Joined struct {
	Service   string          `json:"service"`
	Name      string          `json:"name"`
	Unit      string          `json:"unit"`
	UnitName  string          `json:"unit_name"`
	Calendar  string          `json:"calendar"`
	From      []string        `json:"from"` // units of the period, in the order of the rows
	FromNames []string        `json:"from_names"`
	Parts     bool            `json:"parts,omitempty"` // one of them was split: only a part of it went to this unit
	Account   history.Account `json:"account"`
}

// Join puts rows of units in the structure of the day of at: a unit that was merged or split by then counts for each unit
// that carries on its work, wholly, and Parts says so. Names of units are those of the end of the rows for former ones, and
// of at for the others. Rows of services as a whole are left out.
func Join(p *profile.Profile, rows []Row, at time.Time) []Joined {
	type key struct{ service, unit, calendar string }
	place := map[key]int{}
	var out []Joined
	for _, r := range rows {
		if r.Unit == "" {
			continue
		}
		heirs := p.SuccessorsAt(r.Unit, at)
		for _, unit := range heirs {
			for _, c := range r.Calendars {
				k := key{r.Service, unit, c.Calendar}
				i, ok := place[k]
				if !ok {
					i = len(out)
					place[k] = i
					out = append(out, Joined{Service: r.Service, Name: r.Name, Unit: unit, UnitName: unitName(p, unit, at), Calendar: c.Calendar})
				}
				j := &out[i]
				j.From, j.FromNames = append(j.From, r.Unit), append(j.FromNames, r.UnitName)
				j.Parts = j.Parts || len(heirs) > 1
				j.Account.Add(c.Account)
			}
		}
	}
	return out
}

// reformed is what of the joined rows differs from the rows of the period: units that others go on with.
func reformed(list []Joined) []Joined {
	return slices.DeleteFunc(list, func(j Joined) bool {
		return len(j.From) == 1 && j.From[0] == j.Unit || j.Calendar != history.Hours24x7 || j.Account.Total() == j.Account.Unknown
	})
}
