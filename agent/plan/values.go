package plan

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
	"golang.org/x/text/unicode/norm"

	"egovmon/agent/check"
)

const (
	maxString = 4096 // bytes of one value
	maxItems  = 256  // values of one list or map
	maxSteps  = 20   // of one option
)

// text returns a plain value in NFC.
func (p *parser) text(v *yaml.Node, where string) string {
	if v.Kind != yaml.ScalarNode {
		p.wrong(v, where, "this must be one value", "write it on one line after the colon")
		return ""
	}
	if len(v.Value) > maxString {
		p.wrong(v, where, fmt.Sprintf("a value of %d bytes", len(v.Value)), fmt.Sprintf("at most %d", maxString))
		return ""
	}
	return norm.NFC.String(v.Value)
}

func (p *parser) number(v *yaml.Node, where string, lo, hi int64) int64 {
	n, err := strconv.ParseInt(p.text(v, where), 10, 64)
	if err != nil || n < lo || n > hi {
		p.wrong(v, where, fmt.Sprintf("%q is no whole number from %d to %d", v.Value, lo, hi), "write a number without a unit")
		return lo
	}
	return n
}

func (p *parser) duration(v *yaml.Node, where string, lo, hi time.Duration) time.Duration {
	d, err := time.ParseDuration(p.text(v, where))
	switch {
	case err != nil:
		p.wrong(v, where, fmt.Sprintf("%q is no duration", v.Value), "write a number with a unit, e.g. 60s, 5m, 1h")
	case d < lo:
		p.wrong(v, where, fmt.Sprintf("%s is too short", v.Value), fmt.Sprintf("at least %s", lo))
	case hi > 0 && d > hi:
		p.wrong(v, where, fmt.Sprintf("%s is too long", v.Value), fmt.Sprintf("at most %s", hi))
	default:
		return d
	}
	return lo
}

func (p *parser) instant(v *yaml.Node, where string) time.Time {
	t, err := time.Parse(time.RFC3339, p.text(v, where))
	if err != nil {
		p.wrong(v, where, fmt.Sprintf("%q is no time", v.Value), "write e.g. 2026-11-23T01:00:00Z")
	}
	return t.UTC()
}

func (p *parser) path(v *yaml.Node, where string) Path {
	switch path := Path(p.text(v, where)); path {
	case Internet, TSLCD, LAN:
		return path
	}
	p.wrong(v, where, fmt.Sprintf("path %q is none of internet, tslcd, lan", v.Value), "name the line the check goes over")
	return Internet
}

// options turns `with:` into values of the forms that the kind declares, with its defaults.
func (p *parser) options(n *yaml.Node, where string, k check.Kind, with *yaml.Node) check.Options {
	return p.declared(n, where, "with", "kind "+k.Name, k.Options, with)
}

// declared reads a mapping whose keys are the declared options; owner is who declares them.
func (p *parser) declared(n *yaml.Node, where, key, owner string, defs []check.Option, with *yaml.Node) check.Options {
	o := check.Options{}
	if with != nil && (with.Kind != yaml.ScalarNode || with.Value != "") {
		var known []string
		for _, d := range defs {
			known = append(known, d.Name)
		}
		inside := where + ": " + key
		p.fields(with, inside, known, func(name string, v *yaml.Node) {
			d, _ := check.Kind{Options: defs}.Option(name)
			if val, ok := p.value(v, inside+": "+name, d); ok {
				o[name] = val
			} else {
				o[name] = nil
			}
		})
	}
	for _, d := range defs {
		if o.Has(d.Name) {
			continue
		}
		switch {
		case d.Required:
			p.wrong(n, where, fmt.Sprintf("%s needs the option `%s:` (%s)", owner, d.Name, d.Type), d.Help)
		case d.Default != "":
			if v, err := Default(d); err == nil {
				o[d.Name] = v
			} else {
				p.wrong(n, where, fmt.Sprintf("the default of option %s of %s is wrong: %v", d.Name, owner, err), "this is a fault of the program")
			}
		}
	}
	return o
}

// Default returns the value of an option's default, in the Go type that its form has.
func Default(d check.Option) (any, error) {
	var doc yaml.Node
	if err := yaml.Load([]byte(d.Default), &doc); err != nil || len(doc.Content) != 1 {
		return nil, fmt.Errorf("%q is not one YAML value", d.Default)
	}
	p := &parser{}
	v, _ := p.value(doc.Content[0], "", d)
	if err := p.mistakes.errorOrNil(); err != nil {
		return nil, err
	}
	return v, nil
}

// value reads one option. The second result is false when a mistake was noted.
func (p *parser) value(v *yaml.Node, where string, d check.Option) (any, bool) {
	before := len(p.mistakes)
	val := p.form(v, where, d)
	return val, len(p.mistakes) == before
}

func (p *parser) form(v *yaml.Node, where string, d check.Option) any {
	switch d.Type {
	case check.TypeInt:
		lo, hi := bounds(d)
		return p.number(v, where, lo, hi)
	case check.TypeInts:
		lo, hi := bounds(d)
		var ns []int64
		p.list(v, where, check.Option{Type: check.TypeInts}, func(item *yaml.Node) { ns = append(ns, p.number(item, where, lo, hi)) })
		return ns
	case check.TypeFloat:
		f, err := strconv.ParseFloat(p.text(v, where), 64)
		if err != nil || f != f || d.Max > d.Min && (f < d.Min || f > d.Max) {
			p.wrong(v, where, fmt.Sprintf("%q is no number that fits", v.Value), boundsText(d))
		}
		return f
	case check.TypeBool:
		if s := p.text(v, where); s != "true" && s != "false" {
			p.wrong(v, where, fmt.Sprintf("%q is neither true nor false", v.Value), "write true or false")
		}
		return v.Value == "true"
	case check.TypeDuration:
		return p.duration(v, where, time.Duration(d.Min*float64(time.Second)), time.Duration(d.Max*float64(time.Second)))
	case check.TypeBytes:
		return p.size(v, where, d)
	case check.TypeMap:
		m := map[string]string{}
		p.pairs(v, where, func(key string, val *yaml.Node) { m[key] = p.text(val, where) })
		return m
	case check.TypeSecret:
		return p.secret(v, where)
	case check.TypeValues:
		m := map[string]check.Value{}
		p.pairs(v, where, func(key string, val *yaml.Node) {
			if val.Kind == yaml.MappingNode {
				m[key] = check.Value{Secret: p.secret(val, where)}
			} else {
				m[key] = check.Value{Text: p.text(val, where)}
			}
		})
		return m
	case check.TypeSteps:
		return p.steps(v, where, d)
	case check.TypeStrings, check.TypeAddrs, check.TypeRegexps:
		var ss []string
		p.list(v, where, d, func(item *yaml.Node) { ss = append(ss, p.single(item, where, d)) })
		return ss
	default:
		return p.single(v, where, d)
	}
}

// steps reads a list of mappings.
func (p *parser) steps(v *yaml.Node, where string, d check.Option) []check.Options {
	var steps []check.Options
	if d.Max == 0 || d.Max > maxSteps {
		d.Max = maxSteps
	}
	p.list(v, where, d, func(item *yaml.Node) {
		at := fmt.Sprintf("step %d", len(steps)+1)
		if item.Kind != yaml.MappingNode {
			p.wrong(item, where, at+" is no mapping", "write `- name: …` and its options below")
		}
		steps = append(steps, p.declared(item, where, at, at, d.Step, item))
	})
	return steps
}

// single reads one string of the option's form.
func (p *parser) single(v *yaml.Node, where string, d check.Option) string {
	s := p.text(v, where)
	switch d.Type {
	case check.TypeURL:
		p.url(v, where, s)
	case check.TypeAddress, check.TypeAddrs:
		if host, port, err := net.SplitHostPort(s); err != nil || host == "" || !isPort(port) {
			p.wrong(v, where, fmt.Sprintf("%q is no host:port", s), "write e.g. 10.20.1.1:443, mail.example.vn:587 or [2001:db8::1]:53")
		}
	case check.TypeHost:
		if s == "" || strings.ContainsAny(s, "/: @") && !isAddr(s) {
			p.wrong(v, where, fmt.Sprintf("%q is no host", s), "write a name or an IP address, without scheme and port")
		}
	case check.TypeRegexps:
		if _, err := regexp.Compile(s); err != nil {
			p.wrong(v, where, fmt.Sprintf("%q is no regular expression: %v", s, err), "the syntax is RE2's")
		}
	}
	if len(d.Enum) > 0 && !contains(d.Enum, s) {
		p.wrong(v, where, fmt.Sprintf("%q is not allowed", s), "write one of "+strings.Join(d.Enum, ", "))
	}
	return s
}

func (p *parser) url(v *yaml.Node, where, s string) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		p.wrong(v, where, fmt.Sprintf("%q is no URL", s), "write it as https://host/path")
	case u.Scheme == "" || u.Host == "" && !strings.HasPrefix(s, u.Scheme+"://"):
		p.wrong(v, where, fmt.Sprintf("url %q has no scheme", s), "write it as https://host/path")
	case u.Hostname() == "":
		p.wrong(v, where, fmt.Sprintf("url %q has no host", s), "write it as https://host/path")
	case u.User != nil:
		p.wrong(v, where, "a user name or password in a URL", "use the options user and password: {secret: NAME}")
	}
}

func (p *parser) size(v *yaml.Node, where string, d check.Option) int64 {
	s, unit := p.text(v, where), int64(1)
	for suffix, mult := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = strings.TrimSpace(rest), mult
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	lo, hi := bounds(d)
	if err != nil || n < 0 || n > hi/unit || n*unit < lo {
		p.wrong(v, where, fmt.Sprintf("%q is no size that fits", v.Value), "write bytes, KiB or MiB, e.g. 512KiB; "+boundsText(d))
		return lo
	}
	return n * unit
}

func (p *parser) secret(v *yaml.Node, where string) string {
	name := ""
	if v.Kind != yaml.MappingNode {
		p.wrong(v, where, "a secret must not stand in a plan", "write {secret: NAME} and keep the value in the secrets folder")
		return ""
	}
	p.fields(v, where, []string{"secret"}, func(_ string, n *yaml.Node) { name = p.text(n, where) })
	if !checkID.MatchString(name) {
		p.wrong(v, where, fmt.Sprintf("secret %q is no name", name), "use 1 to 64 of a-z, 0-9, _, . and -")
	}
	return name
}

func (p *parser) list(v *yaml.Node, where string, d check.Option, each func(*yaml.Node)) {
	if v.Kind != yaml.SequenceNode {
		p.wrong(v, where, "this must be a list", "write it in brackets, e.g. [a, b]")
		return
	}
	if n := len(v.Content); n > maxItems || d.Max > 0 && n > int(d.Max) || n < int(d.Min) {
		p.wrong(v, where, fmt.Sprintf("a list of %d values", n), boundsText(d))
		return
	}
	for _, item := range v.Content {
		each(item)
	}
}

func (p *parser) pairs(v *yaml.Node, where string, each func(key string, v *yaml.Node)) {
	if v.Kind != yaml.MappingNode || len(v.Content) > 2*maxItems {
		p.wrong(v, where, "this must be a mapping", "write {Name: value}")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(v.Content); i += 2 {
		k := v.Content[i].Value
		if seen[k] {
			p.wrong(v.Content[i], where, fmt.Sprintf("key %q stands twice", k), "keep one")
			continue
		}
		seen[k] = true
		each(k, v.Content[i+1])
	}
}

func bounds(d check.Option) (lo, hi int64) {
	if d.Max > d.Min {
		return int64(d.Min), int64(d.Max)
	}
	return 0, 1 << 53
}

func boundsText(d check.Option) string {
	if d.Max > d.Min || d.Max > 0 {
		return fmt.Sprintf("from %g to %g", d.Min, d.Max)
	}
	if d.Min > 0 {
		return fmt.Sprintf("at least %g", d.Min)
	}
	return fmt.Sprintf("at most %d values", maxItems)
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
