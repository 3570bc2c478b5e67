package profile

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/plan"
)

// header writes everything of a plan but its checks.
func (p *Profile) header(m *Machine, at time.Time, version int64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "plan: %s\nfor: %s\nversion: %d\nissued: %s\n", quote(m.Unit), quote(m.ID), version, at.UTC().Format(time.RFC3339))
	for _, path := range []plan.Path{plan.Internet, plan.TSLCD} {
		if l, ok := p.LineOf(m, path, at); ok && l.Seal != 0 {
			fmt.Fprintf(&b, "seal: %s\n", duration(l.Seal))
			break
		}
	}
	first := true
	for _, path := range []plan.Path{plan.Internet, plan.TSLCD} {
		l, ok := p.LineOf(m, path, at)
		if !ok {
			continue
		}
		for _, ml := range m.Lines {
			if ml.Line != l.ID || !ml.Source.IsValid() {
				continue
			}
			if first {
				b.WriteString("lines:\n")
			}
			first = false
			fmt.Fprintf(&b, "  - {path: %s, source: %s}\n", path, quote(ml.Source.String()))
		}
	}
	return b.Bytes()
}

func writeCheck(b *bytes.Buffer, d decision) {
	c := d.check
	fmt.Fprintf(b, "  - id: %s\n    service: %s\n    kind: %s\n    every: %s\n", quote(d.Check), quote(d.service), quote(c.Kind), duration(c.Every))
	if c.Timeout != 0 {
		fmt.Fprintf(b, "    timeout: %s\n", duration(c.Timeout))
	}
	if c.Confirm >= 0 {
		fmt.Fprintf(b, "    confirm: %d\n", c.Confirm)
	}
	fmt.Fprintf(b, "    path: %s\n", c.Path)
	if len(d.with) > 0 {
		b.WriteString("    with:\n")
		for _, o := range d.with {
			fmt.Fprintf(b, "      %s: %s\n", quote(o.Name), flow(o.Value))
		}
	}
}

// flow writes an option's value on one line.
func flow(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		items := make([]string, len(v))
		for i, x := range v {
			items[i] = flow(x)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case []Option:
		items := make([]string, len(v))
		for i, o := range v {
			items[i] = strconv.Quote(o.Name) + ": " + flow(o.Value)
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	return `""`
}

var formPlain = regexp.MustCompile(`^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$`)

// quote leaves a word as it is where YAML cannot take it for anything but text.
func quote(s string) string {
	if formPlain.MatchString(s) && !slices.Contains([]string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}, s) {
		return s
	}
	return strconv.Quote(s)
}

// duration writes 60s as 1m, not as 1m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
