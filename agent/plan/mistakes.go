package plan

import (
	"fmt"
	"sort"
	"strings"
)

// A Mistake is one thing that is wrong in a text a person wrote, and how to mend it.
type Mistake struct {
	Line  int    // from 1; 0 when the whole text is meant
	Where string // e.g. checks[3] "cong_h.http"
	What  string // what is wrong, with the value
	Hint  string // what to do
}

func (m Mistake) String() string {
	var b strings.Builder
	if m.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", m.Line)
	}
	if m.Where != "" {
		b.WriteString(m.Where + ": ")
	}
	b.WriteString(m.What)
	if m.Hint != "" {
		b.WriteString(": " + m.Hint)
	}
	return b.String()
}

// maxMistakes are listed; a text with more is cut short, so that an error stays readable.
const maxMistakes = 50

// Mistakes are all that is wrong in one text, in the order of lines. It is never an empty error.
type Mistakes []Mistake

// Error lists one mistake a line.
func (ms Mistakes) Error() string {
	lines := make([]string, 0, len(ms))
	for i, m := range ms {
		if i == maxMistakes {
			lines = append(lines, fmt.Sprintf("… and %d more", len(ms)-i))
			break
		}
		lines = append(lines, m.String())
	}
	return strings.Join(lines, "\n")
}

// errorOrNil sorts by line and returns nil for none.
func (ms Mistakes) errorOrNil() error {
	if len(ms) == 0 {
		return nil
	}
	ms.byLine()
	return ms
}

// byLine sorts stably, with what encoding packages bring along: see [check.Order].
func (ms Mistakes) byLine() {
	sort.SliceStable(ms, func(i, j int) bool { return ms[i].Line < ms[j].Line })
}

// Nearest returns the known word that s was probably meant to be, or "".
func Nearest(s string, known []string) string {
	best, bestD := "", 3
	for _, k := range known {
		if d := distance(s, k); d < bestD && d < len(k) {
			best, bestD = k, d
		}
	}
	return best
}

// distance is the number of letters to insert, remove or replace (Levenshtein), at most 3.
func distance(a, b string) int {
	if len(a)-len(b) > 2 || len(b)-len(a) > 2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diag
			if a[i] != b[j] {
				d++
			}
			diag = row[j+1]
			row[j+1] = min(d, row[j]+1, diag+1)
		}
	}
	return min(row[len(b)], 3)
}
