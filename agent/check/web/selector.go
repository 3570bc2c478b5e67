package web

import (
	"fmt"
	"strconv"
	"strings"
)

// Bounds of one selector.
const (
	maxAlternatives = 8   // parts between commas
	maxCompounds    = 16  // elements in a row, as in "ul li a"
	maxSelector     = 512 // bytes
)

// A Selector finds elements of a page. It is a subset of CSS (Selectors Level 4): type, *, #id, .class, [attribute] with =, ~=,
// |=, ^=, $= and *=, :first-child, :nth-child(number), :not() of one of these, the combinators " ", ">", "+" and "~", and lists
// with commas. At its end may stand @attribute: what is found is then the value of that attribute and not the element's text.
type Selector struct {
	text      string
	attribute string // "" for the text
	any       []alternative
}

// An alternative is one part of a list: compounds, each tied to the one before it.
type alternative []compound

// A compound is what one element must be.
type compound struct {
	tie  byte // how it stands to the compound before: ' ', '>', '+' or '~'; 0 for the first
	must []condition
}

// A condition is one simple selector.
type condition struct {
	not   bool
	what  byte // 't' a type, 'n' the place among siblings, 'u' anything; else how the attribute compares: '?' is there, or = ~ | ^ $ *
	name  string
	value string
	place int
}

// String returns the selector as it was written.
func (s *Selector) String() string { return s.text }

// ParseSelector reads a selector.
func ParseSelector(text string) (*Selector, error) {
	s := &Selector{text: text}
	if len(text) > maxSelector {
		return nil, fmt.Errorf("a selector of %d bytes: write at most %d", len(text), maxSelector)
	}
	p := selectorReader{rest: strings.TrimSpace(text)}
	for {
		a, err := p.alternative()
		if err != nil {
			return nil, fmt.Errorf("selector %q: %w", text, err)
		}
		s.any = append(s.any, a)
		if len(s.any) > maxAlternatives {
			return nil, fmt.Errorf("selector %q: more than %d parts", text, maxAlternatives)
		}
		if !p.take(",") {
			break
		}
		p.space()
	}
	if p.take("@") {
		if s.attribute = strings.ToLower(p.name()); s.attribute == "" {
			return nil, fmt.Errorf("selector %q: no attribute after @: write e.g. time@datetime", text)
		}
	}
	if p.space(); p.rest != "" {
		return nil, fmt.Errorf("selector %q: %q is not understood: write e.g. div.tin > time[datetime]", text, p.rest)
	}
	return s, nil
}

// A selectorReader goes over the text of a selector.
type selectorReader struct{ rest string }

func (p *selectorReader) take(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest = rest
	return ok
}

func (p *selectorReader) space() bool {
	rest := strings.TrimLeft(p.rest, " \t\r\n")
	had := len(rest) < len(p.rest)
	p.rest = rest
	return had
}

// name reads an identifier, "" when none stands here.
func (p *selectorReader) name() string {
	n := 0
	for n < len(p.rest) {
		c := p.rest[n]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c >= 0x80 {
			n++
			continue
		}
		break
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

func (p *selectorReader) alternative() (alternative, error) {
	var a alternative
	tie := byte(0)
	for {
		must, err := p.compound()
		if err != nil {
			return nil, err
		}
		a = append(a, compound{tie, must})
		if len(a) > maxCompounds {
			return nil, fmt.Errorf("more than %d elements in a row", maxCompounds)
		}
		spaced := p.space()
		switch {
		case p.rest == "" || p.rest[0] == ',' || p.rest[0] == '@':
			return a, nil
		case strings.IndexByte(">+~", p.rest[0]) >= 0:
			tie = p.rest[0]
			p.rest = p.rest[1:]
			p.space()
		case spaced:
			tie = ' '
		default:
			return nil, fmt.Errorf("%q is not understood: write e.g. div.tin > time[datetime]", p.rest)
		}
	}
}

func (p *selectorReader) compound() ([]condition, error) {
	var must []condition
	if p.take("*") {
		must = append(must, condition{what: 'u'})
	} else if tag := p.name(); tag != "" {
		must = append(must, condition{what: 't', name: strings.ToLower(tag)})
	}
	for p.rest != "" && strings.IndexByte("#.[:", p.rest[0]) >= 0 {
		c, err := p.simple()
		if err != nil {
			return nil, err
		}
		must = append(must, c)
	}
	if len(must) == 0 {
		return nil, fmt.Errorf("no element is named where %q stands: write e.g. div.tin > time[datetime]", p.rest)
	}
	return must, nil
}

// simple reads one of #id, .class, [attribute], :pseudo-class.
func (p *selectorReader) simple() (condition, error) {
	sign := p.rest[0]
	p.rest = p.rest[1:]
	switch sign {
	case '#', '.':
		name := p.name()
		if name == "" {
			return condition{}, fmt.Errorf("no name after %q", sign)
		}
		if sign == '#' {
			return condition{what: '=', name: "id", value: name}, nil
		}
		return condition{what: '~', name: "class", value: name}, nil
	case '[':
		return p.attribute()
	}
	switch name := strings.ToLower(p.name()); {
	case name == "first-child":
		return condition{what: 'n', place: 1}, nil
	case name == "nth-child" && p.take("("):
		p.space()
		n, err := strconv.Atoi(p.name())
		p.space()
		if err != nil || n < 1 || !p.take(")") {
			return condition{}, fmt.Errorf(":nth-child takes a number from 1, e.g. :nth-child(2)")
		}
		return condition{what: 'n', place: n}, nil
	case name == "not" && p.take("("):
		p.space()
		one, err := p.compound()
		p.space()
		if err != nil || len(one) != 1 || one[0].not || !p.take(")") {
			return condition{}, fmt.Errorf(":not takes one tag, #id, .class or [attribute], e.g. :not(.quangcao)")
		}
		one[0].not = true
		return one[0], nil
	default:
		return condition{}, fmt.Errorf(":%s is not known: use :first-child, :nth-child(2) or :not(.x)", name)
	}
}

func (p *selectorReader) attribute() (condition, error) {
	p.space()
	c := condition{what: '?', name: strings.ToLower(p.name())}
	p.space()
	if c.name == "" {
		return c, fmt.Errorf("no attribute after [")
	}
	if p.take("]") {
		return c, nil
	}
	for _, op := range []string{"=", "~=", "|=", "^=", "$=", "*="} {
		if p.take(op) {
			c.what = op[0]
			p.space()
			value, ok := p.value()
			p.space()
			if !ok || !p.take("]") {
				break
			}
			c.value = value
			return c, nil
		}
	}
	return c, fmt.Errorf(`[%s is not understood: write e.g. [%s="x"]`, c.name, c.name)
}

// value reads a name or a text in quotes, without escapes.
func (p *selectorReader) value() (string, bool) {
	for _, quote := range []string{`"`, "'"} {
		if p.take(quote) {
			s, rest, ok := strings.Cut(p.rest, quote)
			p.rest = rest
			return s, ok
		}
	}
	s := p.name()
	return s, s != ""
}

// holds reports whether an element is as the condition says.
func (c *condition) holds(e *frame) bool {
	var is bool
	switch c.what {
	case 'u':
		is = true
	case 't':
		is = e.tag == c.name
	case 'n':
		is = e.place == c.place
	default:
		v, has := e.attribute(c.name)
		is = has && compares(c.what, v, c.value)
	}
	return is != c.not
}

// compares is the comparison of an attribute. Selectors Level 4, section 6: an empty value is a part of nothing.
func compares(how byte, have, want string) bool {
	switch how {
	case '?':
		return true
	case '=':
		return have == want
	case '~':
		for w := range strings.FieldsSeq(have) {
			if w == want {
				return true
			}
		}
		return false
	case '|':
		return have == want || strings.HasPrefix(have, want+"-")
	case '^':
		return want != "" && strings.HasPrefix(have, want)
	case '$':
		return want != "" && strings.HasSuffix(have, want)
	default:
		return want != "" && strings.Contains(have, want)
	}
}

// meets marks in e which compounds of the alternative end at it, from what holds of its parent and of the sibling before.
func (a alternative) meets(i int, e, parent *frame) {
	for k := range a {
		bit := uint16(1) << k
		var tied bool
		switch a[k].tie {
		case 0:
			tied = true
		case ' ':
			tied = parent.within[i]&(bit>>1) != 0
		case '>':
			tied = parent.at[i]&(bit>>1) != 0
		case '+':
			tied = parent.last[i]&(bit>>1) != 0
		default:
			tied = parent.before[i]&(bit>>1) != 0
		}
		if !tied {
			continue
		}
		all := true
		for j := range a[k].must {
			if !a[k].must[j].holds(e) {
				all = false
				break
			}
		}
		if all {
			e.at[i] |= bit
		}
	}
	e.within[i] = parent.within[i] | e.at[i]
	parent.last[i] = e.at[i]
	parent.before[i] |= e.at[i]
}

// selects reports whether the element is one that the selector finds, once it was met.
func (s *Selector) selects(e *frame) bool {
	for i, a := range s.any {
		if e.at[i]&(1<<(len(a)-1)) != 0 {
			return true
		}
	}
	return false
}
