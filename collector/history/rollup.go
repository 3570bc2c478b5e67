package history

// A Value is one number of a roll-up.
type Value struct {
	Name     string // availability_lower, availability_upper, coverage, down_seconds
	Calendar string // Hours24x7 or ServiceHours
	Number   float64
}

// Rollup returns the numbers that are kept of a row for long views, at most four a calendar. What has no data is left
// out, so that a gap stays a gap.
func (r Row) Rollup() []Value {
	var out []Value
	for _, c := range r.Calendars {
		for _, v := range []struct {
			name string
			n    *float64
		}{
			{"availability_lower", c.Figures.Lower},
			{"availability_upper", c.Figures.Upper},
			{"coverage", c.Figures.Coverage},
		} {
			if v.n != nil {
				out = append(out, Value{v.name, c.Calendar, *v.n})
			}
		}
		if c.Account.Total() > c.Account.Excluded {
			out = append(out, Value{"down_seconds", c.Calendar, float64(c.Account.Down)})
		}
	}
	return out
}
