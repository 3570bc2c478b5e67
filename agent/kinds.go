package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/plan"
)

func runKinds(_ context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("kinds", "Lists the kinds of check, or the options and facts of one KIND.", stderr)
	asJSON := fs.Bool("json", false, "write one JSON object a kind")
	name, args := positional(args)
	behind := 1 // the kind may also follow the flags
	if name != "" {
		behind = 0
	}
	if ok, code := parse(fs, args, behind); !ok {
		return code
	}
	if behind > 0 {
		name = fs.Arg(0)
	}
	table := kinds.Table()
	if name != "" {
		k, ok := table.Lookup(name)
		if !ok {
			fmt.Fprintf(stderr, "agent kinds: there is no kind %q", name)
			if near := plan.Nearest(name, table.Names()); near != "" {
				fmt.Fprintf(stderr, ": did you mean %q?", near)
			}
			fmt.Fprintf(stderr, "\nknown are %s\n", strings.Join(table.Names(), ", "))
			return exitUsage
		}
		table = check.Table{k}
	}
	switch {
	case *asJSON:
		for _, k := range table {
			kindJSON(stdout, k)
		}
	case name != "":
		describe(stdout, table[0])
	default:
		family := ""
		for _, k := range table {
			if k.Family != family {
				family = k.Family
				fmt.Fprintf(stdout, "%s\n", family)
			}
			fmt.Fprintf(stdout, "  %-12s %s\n", k.Name, k.Summary)
		}
		fmt.Fprintln(stdout, "\nagent kinds KIND shows the options of one.")
	}
	return exitDone
}

// positional takes a leading word that is no flag off the arguments, so that flags may follow it.
func positional(args []string) (string, []string) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return args[0], args[1:]
	}
	return "", args
}

func describe(w io.Writer, k check.Kind) {
	fmt.Fprintf(w, "%s (%s): %s\n", k.Name, k.Family, k.Summary)
	if len(k.Options) > 0 {
		fmt.Fprint(w, "\nOptions, under `with:`\n")
	}
	for _, o := range k.Options {
		fmt.Fprintf(w, "  %-16s %-10s %s\n", o.Name, o.Type, o.Help)
		var notes []string
		if o.Required {
			notes = append(notes, "required")
		}
		if o.Default != "" {
			notes = append(notes, "default "+o.Default)
		}
		if o.Unit != "" {
			notes = append(notes, "in "+o.Unit)
		}
		if len(o.Enum) > 0 {
			notes = append(notes, "one of "+strings.Join(o.Enum, ", "))
		}
		if o.Max > o.Min {
			notes = append(notes, fmt.Sprintf("from %.12g to %.12g", o.Min, o.Max))
		}
		if len(notes) > 0 {
			fmt.Fprintf(w, "  %-16s %-10s %s\n", "", "", strings.Join(notes, "; "))
		}
		for _, of := range o.Step {
			fmt.Fprintf(w, "    - %-12s %-10s %s\n", of.Name, of.Type, of.Help)
		}
	}
	if len(k.Facts) > 0 {
		fmt.Fprint(w, "\nFacts it may report\n")
	}
	for _, f := range k.Facts {
		fmt.Fprintf(w, "  %-30s %s\n", f.Name, f.Help)
	}
	if len(k.Phases) > 0 {
		fmt.Fprintf(w, "\nPhases it times: %s\n", strings.Join(k.Phases, ", "))
	}
}

func kindJSON(w io.Writer, k check.Kind) {
	type option struct {
		Name     string     `json:"name"`
		Type     check.Type `json:"type"`
		Required bool       `json:"required,omitempty"`
		Default  string     `json:"default,omitempty"`
		Unit     string     `json:"unit,omitempty"`
		Enum     []string   `json:"enum,omitempty"`
		Min      float64    `json:"min,omitempty"`
		Max      float64    `json:"max,omitempty"`
		Help     string     `json:"help"`
		Step     []option   `json:"step,omitempty"`
	}
	type fact struct {
		Name string `json:"name"`
		Help string `json:"help"`
	}
	var listed func(defs []check.Option) []option
	listed = func(defs []check.Option) (os []option) {
		for _, o := range defs {
			os = append(os, option{o.Name, o.Type, o.Required, o.Default, o.Unit, o.Enum, o.Min, o.Max, o.Help, listed(o.Step)})
		}
		return os
	}
	var facts []fact
	for _, f := range k.Facts {
		facts = append(facts, fact{f.Name, f.Help})
	}
	b, _ := json.Marshal(struct {
		Kind    string   `json:"kind"`
		Family  string   `json:"family"`
		Summary string   `json:"summary"`
		Options []option `json:"options"`
		Facts   []fact   `json:"facts"`
		Phases  []string `json:"phases"`
	}{k.Name, k.Family, k.Summary, listed(k.Options), facts, k.Phases})
	fmt.Fprintf(w, "%s\n", b)
}
