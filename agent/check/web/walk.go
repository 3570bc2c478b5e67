package web

import (
	"bytes"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// maxDepth is how deep a page may nest for a selector to see it; what lies deeper is read as if it stood there.
const maxDepth = 256

// maxFound bounds the text of one element that was found, in bytes.
const maxFound = 4 << 10

// A frame is one open element of a walk. The arrays have one place for each alternative of a selector, with a bit for each of its
// compounds.
type frame struct {
	tag                      string
	keys, values             []string
	place, children          int // among its siblings, from 1; how many children have begun
	at, within, last, before [maxAlternatives]uint16
	found                    int // index of what it collects its text for, -1 for nothing
	hidden                   bool
}

func (e *frame) attribute(name string) (string, bool) {
	for i, k := range e.keys {
		if k == name {
			return e.values[i], true
		}
	}
	return "", false
}

// A walk goes over a page once, with the elements that are open but no tree: neither deep nesting nor missing end tags cost
// anything.
type walk struct {
	stack []frame
	open  map[string]int // how many elements of a tag are open
	over  int            // elements that are open below maxDepth
	next  frame          // the one that begins
	enter func(e, parent *frame)
	text  func(stack []frame, text []byte)
}

// go over the page; stop ends it early.
func (w *walk) page(page []byte, stop func() bool) {
	w.open = map[string]int{}
	w.stack = append(w.stack[:0], frame{found: -1})
	z := html.NewTokenizer(bytes.NewReader(page))
	z.SetMaxBuf(maxTag)
	for !stop() {
		switch z.Next() {
		case html.ErrorToken:
			return
		case html.TextToken:
			w.text(w.stack, z.Text())
		case html.StartTagToken:
			w.start(z)
		case html.SelfClosingTagToken:
			w.start(z)
		case html.EndTagToken:
			name, _ := z.TagName()
			w.end(string(name))
		}
	}
}

func (w *walk) start(z *html.Tokenizer) {
	name, more := z.TagName()
	e := &w.next
	*e = frame{tag: string(name), found: -1}
	for more {
		var k, v []byte
		k, v, more = z.TagAttr()
		if len(e.keys) < 64 {
			e.keys, e.values = append(e.keys, string(k)), append(e.values, string(v))
		}
	}
	w.imply(e.tag)
	if len(w.stack) > maxDepth {
		if !void(e.tag) {
			w.over++
		}
		return
	}
	parent := &w.stack[len(w.stack)-1]
	parent.children++
	e.place = parent.children
	e.hidden = parent.hidden || unseen(e.tag)
	w.enter(e, parent)
	if !void(e.tag) {
		w.stack = append(w.stack, *e)
		w.open[e.tag]++
	}
}

// end closes the element, and those within it whose end was left out.
func (w *walk) end(tag string) {
	if w.over > 0 {
		w.over--
		return
	}
	if w.open[tag] > 0 {
		w.closeTo(tag)
	}
}

func (w *walk) closeTo(tag string) {
	for {
		e := &w.stack[len(w.stack)-1]
		w.open[e.tag]--
		last := e.tag == tag
		w.stack = w.stack[:len(w.stack)-1]
		if last {
			return
		}
	}
}

// imply closes the elements whose end tag may be left out before this one (HTML, section 13.1.2.4).
func (w *walk) imply(tag string) {
	switch tag {
	case "li":
		w.shut(" ul ol menu ", "li")
	case "dt", "dd":
		w.shut(" dl ", "dt", "dd")
	case "td", "th":
		w.shut(" tr table ", "td", "th")
	case "tr":
		w.shut(" table ", "tr")
	case "tbody", "thead", "tfoot":
		w.shut(" table ", "tbody", "thead", "tfoot")
	case "option":
		w.shut(" select optgroup datalist ", "option")
	case "address", "article", "aside", "blockquote", "div", "dl", "fieldset", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
		"header", "hr", "main", "nav", "ol", "p", "pre", "section", "table", "ul":
		w.shut(" td th button caption ", "p")
	}
}

// shut closes the nearest open element of these tags that stands within the nearest of the barrier.
func (w *walk) shut(barrier string, tags ...string) {
	if !slices.ContainsFunc(tags, func(t string) bool { return w.open[t] > 0 }) {
		return
	}
	for i := len(w.stack) - 1; i > 0; i-- {
		t := w.stack[i].tag
		if slices.Contains(tags, t) {
			w.over = 0
			w.closeTo(t)
			return
		}
		if strings.Contains(barrier, " "+t+" ") {
			return
		}
	}
}

// void reports whether an element of this name has no end (HTML, section 13.1.2).
func void(tag string) bool {
	switch tag {
	case "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr":
		return true
	}
	return false
}

// unseen reports whether a reader sees nothing of what stands in an element of this name.
func unseen(tag string) bool {
	switch tag {
	case "head", "script", "style", "template", "noscript", "svg", "iframe", "object":
		return true
	}
	return false
}

// Find returns what the selector finds on a page in UTF-8: the texts of the elements, with their white space folded, or the values
// of the attribute it names. It stops after most of them. Elements deeper than 256 levels are not seen.
func (s *Selector) Find(page []byte, most int) []string {
	var found []*bytes.Buffer
	var values []string
	w := walk{}
	w.enter = func(e, parent *frame) {
		for i := range s.any {
			s.any[i].meets(i, e, parent)
		}
		e.found = parent.found
		if !s.selects(e) {
			return
		}
		if s.attribute != "" {
			if v, ok := e.attribute(s.attribute); ok && len(values) < most {
				values = append(values, strings.TrimSpace(v[:min(len(v), maxFound)]))
			}
			return
		}
		// The text of an element within another that was found counts for both.
		if len(found) < most {
			found = append(found, new(bytes.Buffer))
			e.found = len(found) - 1
		}
	}
	w.text = func(stack []frame, text []byte) {
		last := -1
		for i := len(stack) - 1; i > 0; i-- {
			n := stack[i].found
			if n < 0 {
				return
			}
			if n == last {
				continue
			}
			last = n
			if b := found[n]; b.Len() < maxFound {
				b.WriteByte(' ')
				b.Write(text[:min(len(text), maxFound)])
			}
		}
	}
	done := func() bool { return s.attribute != "" && len(values) >= most }
	w.page(page, done)
	if s.attribute != "" {
		return values
	}
	for _, b := range found {
		values = append(values, strings.Join(strings.Fields(b.String()), " "))
	}
	return values
}

// Words returns the text of a page in UTF-8 as a reader sees it, a line for each stretch between two tags, without scripts and
// styles and without what stands in the elements that one of leave finds. It stops after most bytes. title is the page's title, and
// headings are its h1 and h2.
func Words(page []byte, leave *Selector, most int) (title string, headings, lines []string) {
	n := 0
	w := walk{enter: func(e, parent *frame) {
		if leave == nil {
			return
		}
		for i := range leave.any {
			leave.any[i].meets(i, e, parent)
		}
		e.hidden = e.hidden || leave.selects(e)
	}}
	w.text = func(stack []frame, text []byte) {
		e := &stack[len(stack)-1]
		if e.tag == "title" && title == "" {
			title = strings.Join(strings.Fields(string(text)), " ")
			return
		}
		if e.hidden {
			return
		}
		line := strings.Join(strings.Fields(string(text)), " ")
		if line == "" {
			return
		}
		n += len(line) + 32 // what keeping a short line costs
		lines = append(lines, line)
		for i := len(stack) - 1; i > max(0, len(stack)-4); i-- {
			if t := stack[i].tag; (t == "h1" || t == "h2") && len(headings) < 32 {
				headings = append(headings, line)
				break
			}
		}
	}
	w.page(page, func() bool { return n >= most })
	return title, headings, lines
}
