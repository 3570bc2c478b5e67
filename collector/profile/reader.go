package profile

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"golang.org/x/text/unicode/norm"

	"egovmon/agent/plan"
)

// Bounds of what a profile may hold.
const (
	maxFileBytes = 4 << 20
	maxDepth     = 16
	maxText      = 2000 // bytes of one value
	maxItems     = 20000
)

// A reader turns the text of one file into values and gathers what is wrong on the way.
type reader struct {
	file     string
	problems *Problems
}

func (r *reader) wrong(n *yaml.Node, hint, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	*r.problems = append(*r.problems, Problem{File: r.file, Line: line, What: fmt.Sprintf(format, args...), Hint: hint})
}

// document returns the one mapping of the text, or nil after having said what is wrong.
func (r *reader) document(text []byte) *yaml.Node {
	switch {
	case len(text) > maxFileBytes:
		r.wrong(nil, fmt.Sprintf("a file has at most %d", maxFileBytes), "the file has %d bytes", len(text))
		return nil
	case !utf8.Valid(text):
		r.wrong(nil, "save it as UTF-8", "the file is not UTF-8")
		return nil
	}
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		r.notYAML(err)
		return nil
	}
	if !r.plain(&doc, 0) {
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		r.wrong(&doc, "begin with a key, e.g. `units:`", "the file is no mapping")
		return nil
	}
	return doc.Content[0]
}

func (r *reader) notYAML(err error) {
	p := Problem{File: r.file, Line: 1, What: "this is not YAML", Hint: strings.TrimPrefix(err.Error(), "yaml: ")}
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		p.Line, p.Hint = max(1, e.Mark.Line), e.Message
	}
	*r.problems = append(*r.problems, p)
}

// plain refuses what a profile has no need of: anchors and aliases, with which a small text grows without bound, tags,
// and deep nesting.
func (r *reader) plain(n *yaml.Node, depth int) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.wrong(n, "write the value out at each place", "an anchor or alias (& or *)")
		return false
	case n.Style&yaml.TaggedStyle != 0:
		r.wrong(n, "write the value without it", "a tag (%s)", n.Tag)
		return false
	case depth > maxDepth:
		r.wrong(n, "a profile has no need of more", "more than %d levels of nesting", maxDepth)
		return false
	}
	for _, c := range n.Content {
		if !r.plain(c, depth+1) {
			return false
		}
	}
	return true
}

// fields are the keys of one mapping. Each method takes one key; done reports the keys that nobody took.
type fields struct {
	*reader
	node  *yaml.Node
	where string // e.g. `service "cong_h"`
	keys  map[string]*yaml.Node
	taken []string
}

// mapping opens a mapping; nil, with a problem, when it is none.
func (r *reader) mapping(n *yaml.Node, where string) *fields {
	f := &fields{reader: r, node: n, where: where, keys: map[string]*yaml.Node{}}
	if n.Kind != yaml.MappingNode {
		r.wrong(n, "write `key: value` lines", "%s: this must be a mapping", where)
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if _, twice := f.keys[k.Value]; twice {
			r.wrong(k, "keep one", "%s: key %q stands twice", where, k.Value)
			continue
		}
		f.keys[k.Value] = v
	}
	return f
}

// done reports unknown keys, with the known one that was probably meant.
func (f *fields) done() {
	for i := 0; i+1 < len(f.node.Content); i += 2 {
		k := f.node.Content[i]
		if slices.Contains(f.taken, k.Value) {
			continue
		}
		hint := "known here are " + strings.Join(f.taken, ", ")
		if near := plan.Nearest(k.Value, f.taken); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		f.wrong(k, hint, "%s: unknown key %q", f.where, k.Value)
	}
}

// take returns the value of a key; nil when the key is absent or empty.
func (f *fields) take(key string) *yaml.Node {
	f.taken = append(f.taken, key)
	n := f.keys[key]
	if n != nil && n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	return n
}

// need is take for a key that must have a value.
func (f *fields) need(key, example string) *yaml.Node {
	n := f.take(key)
	if n == nil {
		f.wrong(f.node, "write `"+key+": "+example+"`", "%s: `%s:` is missing", f.where, key)
	}
	return n
}

// scalar returns the text of a plain value, in Unicode NFC and without control characters.
func (f *fields) scalar(n *yaml.Node, key string) string {
	switch {
	case n == nil:
		return ""
	case n.Kind != yaml.ScalarNode:
		f.wrong(n, "write one value", "%s: %s is no plain value", f.where, key)
		return ""
	case len(n.Value) > maxText:
		f.wrong(n, fmt.Sprintf("write at most %d", maxText), "%s: %s has %d bytes", f.where, key, len(n.Value))
		return ""
	case strings.ContainsFunc(n.Value, unicode.IsControl):
		f.wrong(n, "write it on one line, without tabs", "%s: %s holds a control character", f.where, key)
		return ""
	}
	return norm.NFC.String(n.Value)
}

func (f *fields) text(key string) string { return f.scalar(f.take(key), key) }

func (f *fields) needText(key, example string) string { return f.scalar(f.need(key, example), key) }

// matching returns a text of a form; example shows the form.
func (f *fields) matching(n *yaml.Node, key string, form *regexp.Regexp, example string) string {
	s := f.scalar(n, key)
	if n != nil && s != "" && !form.MatchString(s) {
		f.wrong(n, example, "%s: %s %q cannot be used", f.where, key, s)
		return ""
	}
	return s
}

// oneOf returns a word of a closed list, or the default when the key is absent.
func (f *fields) oneOf(key string, words []string, fallback string) string {
	n := f.take(key)
	if n == nil {
		return fallback
	}
	s := f.scalar(n, key)
	if !slices.Contains(words, s) {
		f.wrong(n, "write one of "+strings.Join(words, ", "), "%s: %s: %q is not known", f.where, key, s)
		return fallback
	}
	return s
}

func (f *fields) boolean(key string, fallback bool) bool {
	n := f.take(key)
	if n == nil {
		return fallback
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Value != "true" && n.Value != "false" {
		f.wrong(n, "write true or false", "%s: %s: %q is neither", f.where, key, n.Value)
		return fallback
	}
	return n.Value == "true"
}

func (f *fields) date(key string) Date {
	n := f.take(key)
	if n == nil {
		return 0
	}
	d, err := ParseDate(f.scalar(n, key))
	if err != nil {
		f.wrong(n, "", "%s: %s: %v", f.where, key, err)
	}
	return d
}

func (f *fields) duration(key string, low, high time.Duration) time.Duration {
	n := f.take(key)
	if n == nil {
		return 0
	}
	d, err := time.ParseDuration(f.scalar(n, key))
	switch {
	case err != nil:
		f.wrong(n, "write a number with its unit, e.g. 60s or 5m", "%s: %s: %q is no duration", f.where, key, n.Value)
		return 0
	case d < low || d > high:
		f.wrong(n, fmt.Sprintf("write %s to %s", duration(low), duration(high)), "%s: %s: %s is out of bounds", f.where, key, d)
		return 0
	}
	return d
}

func (f *fields) whole(key string, low, high, fallback int) int {
	n := f.take(key)
	if n == nil {
		return fallback
	}
	v, err := strconv.Atoi(f.scalar(n, key))
	if err != nil || v < low || v > high {
		f.wrong(n, fmt.Sprintf("write a whole number from %d to %d", low, high), "%s: %s: %q", f.where, key, n.Value)
		return fallback
	}
	return v
}

func (f *fields) number(key string, low, high float64) float64 {
	n := f.take(key)
	if n == nil {
		return 0
	}
	v, err := strconv.ParseFloat(f.scalar(n, key), 64)
	if err != nil || !(v >= low && v <= high) {
		f.wrong(n, fmt.Sprintf("write a number from %v to %v", low, high), "%s: %s: %q", f.where, key, n.Value)
		return 0
	}
	return v
}

// items returns the entries of a list; none when the key is absent or empty.
func (f *fields) items(key string) []*yaml.Node {
	n := f.take(key)
	switch {
	case n == nil:
		return nil
	case n.Kind != yaml.SequenceNode:
		f.wrong(n, "write `- …` items or [a, b]", "%s: %s is no list", f.where, key)
		return nil
	case len(n.Content) > maxItems:
		f.wrong(n, fmt.Sprintf("write at most %d", maxItems), "%s: %s has %d items", f.where, key, len(n.Content))
		return nil
	}
	return n.Content
}

// words returns a list of texts of a form, each once.
func (f *fields) words(key string, form *regexp.Regexp, example string) []string {
	var ws []string
	for _, n := range f.items(key) {
		w := f.matching(n, key, form, example)
		switch {
		case w == "" && n.Value == "":
			f.wrong(n, "remove it", "%s: an empty item in %s", f.where, key)
		case w == "":
		case slices.Contains(ws, w):
			f.wrong(n, "keep one", "%s: %s names %q twice", f.where, key, w)
		default:
			ws = append(ws, w)
		}
	}
	return ws
}
