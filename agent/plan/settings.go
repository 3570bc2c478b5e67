package plan

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Settings reads the YAML of a program's own configuration into a struct with yaml tags, as strictly as a plan is read:
// every unknown key, key that stands twice and value of another form is a mistake. Text without any key leaves into as
// it is. The error lists all of them, each with file and line and with the known key that was probably meant.
func Settings(file string, text []byte, into any) error {
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil && !strings.Contains(err.Error(), "no documents") {
		return inFile{file, Mistakes{{Line: errorLine(err), What: "this is not YAML", Hint: strings.TrimPrefix(err.Error(), "yaml: ")}}}
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil
	}
	if m := refuseAliases(&doc, 0); m != nil {
		return inFile{file, Mistakes{*m}}
	}
	p := &parser{}
	p.keys(doc.Content[0], "", reflect.TypeOf(into))
	if len(p.mistakes) == 0 {
		p.forms(doc.Load(into))
	}
	if len(p.mistakes) > 0 {
		p.mistakes.byLine()
		return inFile{file, p.mistakes}
	}
	return nil
}

// keys reports what stands in n and has no place in a value of type t.
func (p *parser) keys(n *yaml.Node, where string, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
	case t.Kind() == reflect.Struct:
		fields := map[string]reflect.Type{}
		var known []string
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if f.IsExported() && name != "-" && name != "" {
				fields[name] = f.Type
				known = append(known, name)
			}
		}
		p.fields(n, where, known, func(key string, v *yaml.Node) { p.keys(v, inside(where, key), fields[key]) })
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		for i, item := range n.Content {
			p.keys(item, where+"["+strconv.Itoa(i)+"]", t.Elem())
		}
	}
}

func inside(where, key string) string {
	if where == "" {
		return key
	}
	return where + "." + key
}

// forms turns what the decoder says of values into mistakes.
func (p *parser) forms(err error) {
	if err == nil {
		return
	}
	if all, ok := errors.AsType[*yaml.LoadErrors](err); ok {
		for _, e := range all.Errors {
			p.mistakes = append(p.mistakes, Mistake{Line: e.Mark.Line, What: e.Message, Hint: "write a value of that form"})
		}
		return
	}
	p.mistakes = append(p.mistakes, Mistake{Line: errorLine(err), What: strings.TrimPrefix(err.Error(), "yaml: ")})
}

// inFile is an error about a file.
type inFile struct {
	file     string
	mistakes Mistakes
}

// Error lists one mistake a line, each as file:line: what.
func (e inFile) Error() string {
	var lines []string
	for i, m := range e.mistakes {
		if i == maxMistakes {
			lines = append(lines, fmt.Sprintf("… and %d more", len(e.mistakes)-i))
			break
		}
		at := e.file + ": "
		if m.Line > 0 {
			at = fmt.Sprintf("%s:%d: ", e.file, m.Line)
		}
		m.Line = 0
		lines = append(lines, at+m.String())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes.
func (e inFile) Unwrap() error { return e.mistakes }
