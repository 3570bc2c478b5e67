package report

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"

	"egovmon/collector/history"
)

// CSV writes the figures for programs (RFC 4180, UTF-8): one line a row and calendar; shares are numbers from 0 to 1, empty
// where there are no data. No cell can be taken for a formula.
func CSV(m Model) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	lines := [][]string{{"service", "service_name", "unit", "unit_name", "calendar", "available_lower", "available_upper", "coverage", "up_s", "degraded_s", "down_s", "unknown_s", "excluded_s",
		"outages", "objective", "verdict", "previous_lower", "previous_upper", "owner"}}
	for _, r := range m.Rows {
		for _, c := range r.Calendars {
			lines = append(lines, csvLine(r, c))
		}
	}
	for _, line := range lines {
		for i, s := range line {
			line[i] = harmless(s)
		}
	}
	if err := w.WriteAll(lines); err != nil {
		return nil, fmt.Errorf("report: CSV: %w", err)
	}
	return b.Bytes(), nil
}

func csvLine(r Row, c history.Counted) []string {
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	share := func(v *float64) string {
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'f', -1, 64)
	}
	a := c.Account
	line := []string{r.Service, r.Name, r.Unit, r.UnitName, c.Calendar, share(c.Figures.Lower), share(c.Figures.Upper), share(c.Figures.Coverage),
		n(a.Up), n(a.Degraded), n(a.Down), n(a.Unknown), n(a.Excluded), strconv.Itoa(len(r.Outages)), "", ""}
	if t, ok := r.Target(c.Calendar); ok {
		line[14], line[15] = share(&t.Objective), string(t.Verdict)
	}
	_, before := r.Compare(c)
	return append(line, share(before.Lower), share(before.Upper), r.Owner)
}

// harmless keeps spreadsheets from taking a text for a formula.
func harmless(s string) string {
	s = clean(s)
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}
