package plan

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"egovmon/agent/check"
)

var (
	checkID   = regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)
	machineID = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	planKeys  = []string{"plan", "for", "version", "issued", "seal", "concurrency", "lines", "checks", "format"}
	checkKeys = []string{"id", "service", "kind", "every", "timeout", "confirm", "path", "with"}
	lineKeys  = []string{"path", "source"}
)

// Parse reads the text of a plan with the kinds a program knows. It is strict: unknown keys, bad values, duplicate ids
// and sums that cannot hold are all reported at once, as [Mistakes] with lines and hints. YAML's anchors and aliases
// are refused, since a plan has no need of them and a small text could grow without bound.
func Parse(text []byte, kinds check.Table) (*Plan, error) {
	root, m := document(text)
	if m != nil {
		return nil, Mistakes{*m}
	}
	if m := newer(root); m != nil {
		return nil, Mistakes{*m}
	}
	p := &parser{kinds: kinds}
	plan := &Plan{text: bytes.Clone(text), Seal: DefaultSeal, Concurrency: MaxParallel}
	p.plan(root, plan)
	if len(p.mistakes) == 0 {
		p.arithmetic(plan)
	}
	if err := p.mistakes.errorOrNil(); err != nil {
		return nil, err
	}
	return plan, nil
}

// newer says that a plan is of a later format than this program knows: then it is not for it to judge the rest.
func newer(root *yaml.Node) *Mistake {
	for i := 0; i+1 < len(root.Content); i += 2 {
		k, v := root.Content[i], root.Content[i+1]
		if k.Value != "format" {
			continue
		}
		if n, err := strconv.ParseUint(v.Value, 10, 32); err == nil && n > Format {
			return &Mistake{Line: k.Line, What: fmt.Sprintf("the plan is of format %d", n),
				Hint: fmt.Sprintf("this program reads plans of format %d: install a newer one", Format)}
		}
	}
	return nil
}

// document returns the one mapping of a text, after the checks that need no grammar.
func document(text []byte) (*yaml.Node, *Mistake) {
	switch {
	case len(text) > MaxBytes:
		return nil, &Mistake{What: fmt.Sprintf("the plan has %d bytes", len(text)),
			Hint: fmt.Sprintf("a plan has at most %d bytes; give each machine its own", MaxBytes)}
	case !utf8.Valid(text):
		return nil, &Mistake{What: "the plan is not UTF-8", Hint: "save it as UTF-8 without a byte order mark"}
	case bytes.IndexByte(text, '\t') >= 0:
		return nil, &Mistake{Line: lineOf(text, '\t'), What: "a tab", Hint: "indent with spaces"}
	case bytes.IndexByte(text, '\r') >= 0:
		return nil, &Mistake{Line: lineOf(text, '\r'), What: "a carriage return", Hint: "save the file with LF line ends"}
	}
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil && !strings.Contains(err.Error(), "no documents") {
		return nil, &Mistake{Line: errorLine(err), What: "this is not YAML", Hint: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	if m := refuseAliases(&doc, 0); m != nil {
		return nil, m
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, &Mistake{Line: 1, What: "the plan is empty or no mapping", Hint: "begin with `plan: NAME`"}
	}
	return doc.Content[0], nil
}

func lineOf(text []byte, b byte) int {
	return 1 + bytes.Count(text[:bytes.IndexByte(text, b)], []byte{'\n'})
}

var lineInError = regexp.MustCompile(`line (\d+)`)

func errorLine(err error) int {
	if m := lineInError.FindStringSubmatch(err.Error()); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 1
}

const maxDepth = 16

func refuseAliases(n *yaml.Node, depth int) *Mistake {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return &Mistake{Line: n.Line, What: "an anchor or alias (& or *)", Hint: "write the value out at each place"}
	}
	if depth > maxDepth {
		return &Mistake{Line: n.Line, What: fmt.Sprintf("more than %d levels of nesting", maxDepth), Hint: "a plan has five"}
	}
	for _, c := range n.Content {
		if m := refuseAliases(c, depth+1); m != nil {
			return m
		}
	}
	return nil
}

// A parser gathers the mistakes of one text.
type parser struct {
	kinds    check.Table
	mistakes Mistakes
}

func (p *parser) wrong(n *yaml.Node, where, what, hint string) {
	p.mistakes = append(p.mistakes, Mistake{n.Line, where, what, hint})
}

// fields walks a mapping: each key once, each known.
func (p *parser) fields(n *yaml.Node, where string, known []string, each func(key string, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.wrong(n, where, "this must be a mapping", "write `key: value` lines")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case seen[k.Value]:
			p.wrong(k, where, fmt.Sprintf("key %q stands twice", k.Value), "keep one")
		case !contains(known, k.Value):
			hint := "known here are " + strings.Join(known, ", ")
			if near := Nearest(k.Value, known); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			p.wrong(k, where, fmt.Sprintf("unknown key %q", k.Value), hint)
		default:
			each(k.Value, v)
		}
		seen[k.Value] = true
	}
}

func contains(list []string, s string) bool {
	return slices.Contains(list, s)
}

func (p *parser) plan(n *yaml.Node, plan *Plan) {
	has := map[string]bool{}
	p.fields(n, "", planKeys, func(key string, v *yaml.Node) {
		has[key] = true
		switch key {
		case "plan":
			plan.Name = p.text(v, key)
		case "for":
			plan.For = p.text(v, key)
			if !machineID.MatchString(plan.For) {
				p.wrong(v, "", fmt.Sprintf("for: %q is no machine id", plan.For), "use 1 to 63 of a-z, 0-9 and -")
			}
		case "version":
			plan.Version = p.number(v, key, 0, 1<<53)
		case "issued":
			plan.Issued = p.instant(v, key)
		case "seal":
			plan.Seal = p.duration(v, key, MinSeal, MaxSeal)
		case "concurrency":
			plan.Concurrency = int(p.number(v, key, 1, MaxParallel))
		case "format":
			p.number(v, key, 1, Format)
		case "lines":
			p.lines(v, plan)
		case "checks":
			p.checks(v, plan)
		}
	})
	if !has["plan"] {
		p.wrong(n, "", "`plan:` is missing", "name the plan, e.g. `plan: xa-an-thanh`")
	}
	if !has["checks"] {
		p.wrong(n, "", "`checks:` is missing", "list at least one check, or write `checks: []`")
	}
}

func (p *parser) lines(n *yaml.Node, plan *Plan) {
	if n.Kind != yaml.SequenceNode {
		p.wrong(n, "lines", "this must be a list", "write `- path: tslcd`")
		return
	}
	for i, item := range n.Content {
		where := fmt.Sprintf("lines[%d]", i)
		var l Line
		p.fields(item, where, lineKeys, func(key string, v *yaml.Node) {
			switch key {
			case "path":
				l.Path = p.path(v, where)
			case "source":
				a, err := netip.ParseAddr(p.text(v, where))
				if err != nil {
					p.wrong(v, where, fmt.Sprintf("source %q is no IP address", v.Value), "write this machine's address on that line, e.g. 10.20.1.15")
				}
				l.Source = a
			}
		})
		if l.Path != "" && plan.Source(l.Path).IsValid() {
			p.wrong(item, where, fmt.Sprintf("path %s has two lines", l.Path), "keep one")
		}
		plan.Lines = append(plan.Lines, l)
	}
}

func (p *parser) checks(n *yaml.Node, plan *Plan) {
	if n.Kind != yaml.SequenceNode {
		p.wrong(n, "checks", "this must be a list", "write `- id: …` items")
		return
	}
	if len(n.Content) > MaxChecks {
		p.wrong(n, "checks", fmt.Sprintf("%d checks", len(n.Content)), fmt.Sprintf("a machine runs at most %d", MaxChecks))
		return
	}
	first := map[string]int{}
	for i, item := range n.Content {
		c := p.check(item, i)
		if at, twice := first[c.ID]; twice && c.ID != "" {
			p.wrong(item, fmt.Sprintf("checks[%d] %q", i, c.ID), fmt.Sprintf("this id stands on line %d already", at), "give each check its own id")
		} else {
			first[c.ID] = item.Line
		}
		plan.Checks = append(plan.Checks, c)
	}
}

func (p *parser) check(n *yaml.Node, i int) Check {
	c := Check{Confirm: 1, Path: Internet, Line: n.Line}
	c.ID = valueOf(n, "id")
	where := fmt.Sprintf("checks[%d] %q", i, c.ID)
	var with *yaml.Node
	p.fields(n, where, checkKeys, func(key string, v *yaml.Node) {
		switch key {
		case "id":
			if !checkID.MatchString(p.text(v, where)) {
				p.wrong(v, where, fmt.Sprintf("id %q cannot be used", v.Value), "use 1 to 64 of a-z, 0-9, _, . and -")
			}
		case "service":
			c.Service = p.text(v, where)
			if !checkID.MatchString(c.Service) {
				p.wrong(v, where, fmt.Sprintf("service %q cannot be used", c.Service), "use 1 to 64 of a-z, 0-9, _, . and -")
			}
		case "kind":
			c.Kind = p.text(v, where)
		case "every":
			c.Every = p.duration(v, where+": every", MinEvery, MaxEvery)
			if c.Every%time.Second != 0 {
				p.wrong(v, where, fmt.Sprintf("every: %s is no whole number of seconds", v.Value), "write e.g. 60s")
			}
		case "timeout":
			c.Timeout = p.duration(v, where+": timeout", MinTimeout, MaxEvery)
		case "confirm":
			c.Confirm = int(p.number(v, where+": confirm", 0, MaxConfirm))
		case "path":
			c.Path = p.path(v, where)
		case "with":
			with = v
		}
	})
	for _, key := range []string{"id", "kind", "every"} {
		if valueOf(n, key) == "" {
			p.wrong(n, where, fmt.Sprintf("`%s:` is missing", key), "every check has id, kind and every")
		}
	}
	if c.Timeout == 0 {
		c.Timeout = min(DefaultTimeout, c.Every/3)
	}
	if c.Kind != "" {
		p.kind(n, where, &c, with)
	}
	return c
}

func (p *parser) kind(n *yaml.Node, where string, c *Check, with *yaml.Node) {
	k, ok := p.kinds.Lookup(c.Kind)
	if !ok {
		hint := "`agent kinds` lists them"
		if near := Nearest(c.Kind, p.kinds.Names()); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		p.wrong(n, where, fmt.Sprintf("there is no kind %q", c.Kind), hint)
		return
	}
	before := len(p.mistakes)
	c.Options = p.options(n, where, k, with)
	if len(p.mistakes) > before || k.New == nil {
		return
	}
	// What one option says about another is the kind's to judge; making the function and dropping it does that.
	env := check.Env{Check: c.ID, Timeout: c.Timeout, Now: func() time.Time { return time.Time{} },
		Secret: func(string) (string, error) { return "", nil }}
	if _, err := k.New(c.Options, env); err != nil {
		at := n
		if with != nil {
			at = with
		}
		p.wrong(at, where, err.Error(), "")
	}
}

// arithmetic refuses a plan that cannot be run even if every target answers at the last moment, and shows the sum.
func (p *parser) arithmetic(plan *Plan) {
	var load float64
	for i, c := range plan.Checks {
		if c.Worst() > c.Every {
			p.mistakes = append(p.mistakes, Mistake{c.Line, fmt.Sprintf("checks[%d] %q", i, c.ID),
				fmt.Sprintf("the worst case is (1 + confirm %d) × timeout %s + %d × %s = %s, more than every %s",
					c.Confirm, c.Timeout, c.Confirm, ConfirmPause, c.Worst(), c.Every),
				"shorten timeout, lower confirm or lengthen every"})
		}
		load += float64(c.Worst()) / float64(c.Every)
	}
	if load > float64(plan.Concurrency) {
		p.mistakes = append(p.mistakes, Mistake{0, "checks",
			fmt.Sprintf("in the worst case %.1f checks are under way at once (the sum of worst/every), more than concurrency %d", load, plan.Concurrency),
			"shorten timeouts, lengthen intervals or raise concurrency (at most " + strconv.Itoa(MaxParallel) + ")"})
	}
}

// valueOf returns the plain value of a key of a mapping, "" when there is none.
func valueOf(n *yaml.Node, key string) string {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// IsCheckID reports whether a check can be called so.
func IsCheckID(s string) bool { return checkID.MatchString(s) }
