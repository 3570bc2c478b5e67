package profile

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"egovmon/agent/plan"
)

// lineAnchors stands for the anchors of the machine's line on the check's path. It is the whole of an option's value.
const lineAnchors = "line.anchors"

// formPlaceholder finds ${NAME}, which a parameter fills in, and $${NAME}, which stands for ${NAME} itself: the steps of a
// journey have variables of their own.
var formPlaceholder = regexp.MustCompile(`\$?\$\{([^{}]*)\}`)

// literal reports whether a match of formPlaceholder is left for the kind.
func literal(match string) bool { return strings.HasPrefix(match, "$$") }

// eachString calls f with every string in an option's value.
func eachString(v any, f func(string)) {
	switch v := v.(type) {
	case string:
		f(v)
	case []any:
		for _, x := range v {
			eachString(x, f)
		}
	case []Option:
		for _, o := range v {
			eachString(o.Value, f)
		}
	}
}

// placeholders lists the names in ${…} of an option's value, each once.
func placeholders(v any) []string {
	var names []string
	eachString(v, func(s string) {
		for _, m := range formPlaceholder.FindAllStringSubmatch(s, -1) {
			if !literal(m[0]) && !slices.Contains(names, m[1]) {
				names = append(names, m[1])
			}
		}
	})
	return names
}

// broken reports whether a string of the value has a ${ that is not closed, or line.anchors or loop.peers beside other text.
func broken(v any) bool {
	bad := false
	eachString(v, func(s string) {
		rest := formPlaceholder.ReplaceAllString(s, "")
		bad = bad || strings.Contains(rest, "${") ||
			strings.Contains(s, "${"+lineAnchors+"}") && s != "${"+lineAnchors+"}" ||
			strings.Contains(s, "${"+loopPeers+"}") && s != "${"+loopPeers+"}"
	})
	return bad
}

// An expander fills in the parameters for one machine at one time.
type expander struct {
	p       *Profile
	machine *Machine
	at      time.Time
	given   map[string]string // what the program fills in; it goes before the profile
	loop    loop              // the check whose options these are
	missing []string          // names that nobody has filled in, each once
}

func (e *expander) lookup(name string) string {
	if v := e.given[name]; v != "" {
		return v
	}
	d, ok := e.p.Parameter(name, e.machine.Unit, e.at)
	if !ok {
		e.lack(name)
	}
	return d.Value
}

func (e *expander) lack(name string) {
	if !slices.Contains(e.missing, name) {
		e.missing = append(e.missing, name)
	}
}

func (e *expander) text(s string) string {
	return formPlaceholder.ReplaceAllStringFunc(s, func(m string) string {
		if literal(m) {
			return m[1:]
		}
		return e.lookup(m[2 : len(m)-1])
	})
}

// value returns an option's value with every ${…} filled in; what could not be is in missing.
func (e *expander) value(v any, path plan.Path) any {
	switch v := v.(type) {
	case string:
		if v == "${"+lineAnchors+"}" {
			return e.anchors(path)
		}
		if v == "${"+loopPeers+"}" {
			return e.peers()
		}
		return e.text(v)
	case []any:
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = e.value(x, path)
		}
		return list
	case []Option:
		os := make([]Option, len(v))
		for i, o := range v {
			os[i] = Option{o.Name, e.value(o.Value, path), o.Line}
		}
		return os
	}
	return v
}

func (e *expander) anchors(path plan.Path) any {
	l, ok := e.p.LineOf(e.machine, path, e.at)
	if !ok || len(l.Anchors) == 0 {
		e.lack(lineAnchors)
		return nil
	}
	list := make([]any, len(l.Anchors))
	for i, a := range l.Anchors {
		list[i] = e.text(a)
	}
	return list
}
