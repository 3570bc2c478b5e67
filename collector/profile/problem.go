package profile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is one thing to mend in a profile.
type Problem struct {
	File    string // e.g. services.yaml; "" when the profile as a whole is meant
	Line    int    // from 1; 0 when the whole file is meant
	What    string // what is wrong, with the value
	Hint    string // what to do
	Warning bool   // the profile can be used, but says less than it should
}

// String returns `file:line: what: hint`; a warning says so after the place.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:", p.Line)
		}
		b.WriteByte(' ')
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.What)
	if p.Hint != "" {
		b.WriteString(": " + p.Hint)
	}
	return b.String()
}

// maxShown problems are listed in one error; a profile with more is cut short, so that the error stays readable.
const maxShown = 100

// Problems are all that is wrong in a profile, by file and line.
type Problems []Problem

// Error lists one problem a line.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == maxShown {
			fmt.Fprintf(&b, "… and %d more", len(ps)-i)
			break
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// sorted returns the problems by file, then by line, errors and warnings mixed as they stand in the text.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return ps
}
