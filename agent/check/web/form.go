package web

import (
	"bytes"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// Bounds of what is kept of one page.
const (
	MaxForms  = 64      // forms, and images
	MaxFields = 512     // inputs of one page
	maxTag    = 1 << 20 // bytes of one tag, or of the text between two
)

// A Field is one control that a form would send.
type Field struct {
	Name  string
	Type  string // of an input, in lower case, "text" when it says none; else the element: select, textarea, button
	Value string // as the page sets it; "" for a textarea or a select
	form  string // the id of the form that it says it belongs to
}

// A Form is one form of a page.
type Form struct {
	Action string // as written; "" sends to the page itself
	Method string // in lower case; "get" when it says none
	Fields []Field
	id     string
}

// An Image is one image of a page.
type Image struct {
	Source string // as written
	Names  string // its id, name, class and alternative text
}

// Elements are the forms and images of one page.
type Elements struct {
	Forms  []Form
	Images []Image
	Loose  []Field // controls outside of any form, as pages with scripts have them
}

// Has reports whether the form has a control of this name.
func (f Form) Has(name string) bool {
	return slices.ContainsFunc(f.Fields, func(x Field) bool { return x.Name == name })
}

// HasType reports whether the form has a control of this type.
func (f Form) HasType(kind string) bool {
	return slices.ContainsFunc(f.Fields, func(x Field) bool { return x.Type == kind })
}

// Value returns what the page sets for the first control of this name, and whether there is one.
func (e Elements) Value(name string) (string, bool) {
	for _, f := range e.Forms {
		for _, x := range f.Fields {
			if x.Name == name {
				return x.Value, true
			}
		}
	}
	for _, x := range e.Loose {
		if x.Name == name {
			return x.Value, true
		}
	}
	return "", false
}

// Parse reads the forms and images of a page in UTF-8. It looks at tags alone and builds no tree, so that neither deep
// nesting nor missing end tags cost anything; what stands in comments, scripts and templates does not count. It stops at
// the bounds above.
func Parse(page []byte) Elements {
	p := reader{open: -1}
	z := html.NewTokenizer(bytes.NewReader(page))
	z.SetMaxBuf(maxTag)
	for p.fields < MaxFields {
		switch z.Next() {
		case html.ErrorToken:
			return p.done()
		case html.StartTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			p.start(string(name), z)
		case html.EndTagToken:
			name, _ := z.TagName()
			p.end(string(name))
		}
	}
	return p.done()
}

// A reader goes over the tags of a page.
type reader struct {
	found     Elements
	open      int // index of the form whose end has not come, -1 for none
	templates int // how many are open
	fields    int
}

func (p *reader) start(tag string, z *html.Tokenizer) {
	switch tag {
	case "template":
		p.templates++
		return
	case "form", "input", "select", "textarea", "button", "img":
	default:
		return
	}
	if p.templates > 0 {
		return
	}
	a := attributes(z)
	switch tag {
	case "form":
		// A form inside another is ignored (HTML, section 13.2.6.4.7).
		if p.open < 0 && len(p.found.Forms) < MaxForms {
			p.found.Forms = append(p.found.Forms, Form{Action: strings.TrimSpace(a["action"]), Method: or(strings.ToLower(a["method"]), "get"), id: a["id"]})
			p.open = len(p.found.Forms) - 1
		}
	case "img":
		if len(p.found.Images) < MaxForms {
			p.found.Images = append(p.found.Images, Image{strings.TrimSpace(a["src"]), strings.Join([]string{a["id"], a["name"], a["class"], a["alt"]}, " ")})
		}
	default:
		p.field(tag, a)
	}
}

func (p *reader) field(tag string, a map[string]string) {
	f := Field{Name: a["name"], Type: tag, Value: a["value"], form: a["form"]}
	if tag == "input" {
		f.Type = or(strings.ToLower(strings.TrimSpace(a["type"])), "text")
	}
	p.fields++
	if p.open >= 0 && f.form == "" {
		p.found.Forms[p.open].Fields = append(p.found.Forms[p.open].Fields, f)
		return
	}
	p.found.Loose = append(p.found.Loose, f)
}

func (p *reader) end(tag string) {
	switch tag {
	case "form":
		if p.templates == 0 {
			p.open = -1
		}
	case "template":
		p.templates = max(0, p.templates-1)
	}
}

// done gives the controls that name their form to it.
func (p *reader) done() Elements {
	var loose []Field
	for _, x := range p.found.Loose {
		i := slices.IndexFunc(p.found.Forms, func(f Form) bool { return x.form != "" && f.id == x.form })
		if i < 0 {
			loose = append(loose, x)
			continue
		}
		p.found.Forms[i].Fields = append(p.found.Forms[i].Fields, x)
	}
	p.found.Loose = loose
	return p.found
}

// attributes reads those that matter here; of several with one name the first counts.
func attributes(z *html.Tokenizer) map[string]string {
	a := map[string]string{}
	for more := true; more; {
		var key, value []byte
		key, value, more = z.TagAttr()
		switch k := string(key); k {
		case "name", "type", "value", "form", "action", "method", "id", "src", "class", "alt":
			if _, twice := a[k]; !twice {
				a[k] = string(value)
			}
		}
	}
	return a
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
