package check

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// A Func runs one check once. It returns at the latest when ctx ends; a target that is dead, slow or malicious is a
// Result, never a panic. It may be called again as soon as it has returned, never twice at once.
type Func func(ctx context.Context) Result

// A Kind is one way of checking: what it is called, what it may be told, what it may report, and how to make its Func.
type Kind struct {
	Name    string    // as in a plan, e.g. "http"
	Family  string    // the folder it stands in, e.g. "portal"
	Summary string    // one English sentence for `agent kinds`
	Options []Option  // everything that may stand under `with:`
	Facts   []FactDef // every number its results may carry
	Phases  []string  // every step its results may carry

	// Line is true for the kinds that judge the line itself (gateway, uplink, ping of a gateway, …). They are never
	// gated: when nothing answers, they say so.
	Line bool
	// Target returns the hosts (names or addresses, without port) that a check with these options talks to; none for
	// a check that stays on the machine. It may be nil, which means none.
	Target func(o Options) []string
	// New makes the function. Options have been checked against Kind.Options; New checks what one option says about
	// another. Its errors name the option: `option "status": …: write …`.
	New func(o Options, env Env) (Func, error)
}

// An Env is what a Func needs of its surroundings.
type Env struct {
	// Check is the id in the plan.
	Check string
	// Timeout is what one attempt may take; the ctx given to the Func ends then too.
	Timeout time.Duration
	// Now is the clock that certificates and the like are judged by.
	Now func() time.Time
	// Source is the local address to send from, when the check's line asks for one. The zero Addr leaves it to the system.
	Source netip.Addr
	// Secret reads a secret by the name in the plan. It may be nil, when there are none.
	Secret func(name string) (string, error)
	// ClockProven tells whether Now is known to be right; while it is not, a certificate that seems expired or not yet
	// valid is reported as unknown (ClockUnproven). Nil means proven.
	ClockProven func() bool
	// Notes are what the check has kept over a restart; nil for none. See [Env.Kept].
	Notes Notes
	// Shared returns the notes on a thing that the checks of this machine share, by a name like that of a check; nil where
	// nothing is kept.
	Shared func(name string) SharedNotes
}

// A Type is the form of an option's value.
type Type string

// The forms an option can have, and the Go type that [Options] holds for each.
const (
	TypeString   Type = "string"    // string, Unicode NFC
	TypeStrings  Type = "strings"   // []string
	TypeInt      Type = "int"       // int64, within Min and Max
	TypeInts     Type = "ints"      // []int64
	TypeFloat    Type = "float"     // float64
	TypeBool     Type = "bool"      // bool
	TypeDuration Type = "duration"  // time.Duration, written 10s, 500ms
	TypeBytes    Type = "bytes"     // int64, written 100000, 64KiB or 2MiB
	TypeURL      Type = "url"       // string: absolute, with scheme and host
	TypeAddress  Type = "address"   // string: host:port
	TypeAddrs    Type = "addresses" // []string: host:port each
	TypeHost     Type = "host"      // string: a name or an IP address
	TypeMap      Type = "map"       // map[string]string
	TypeRegexps  Type = "regexps"   // []string, each of RE2 syntax
	TypeSecret   Type = "secret"    // string: the name in {secret: NAME}
	TypeValues   Type = "values"    // map[string]Value: texts, or {secret: NAME}
	TypeSteps    Type = "steps"     // []Options: a list of mappings, each with the options of Option.Step
)

// An Option is one key under `with:`.
type Option struct {
	Name     string
	Type     Type
	Required bool
	Default  string   // as a person would write it in a plan; "" for none
	Unit     string   // for `agent kinds`, e.g. "bytes"; "" where the type says it
	Enum     []string // the only values allowed; nil allows all of the type
	Min, Max float64  // bounds for int, float, duration (in seconds), bytes, and for how many values a list has; both 0 for none
	Help     string   // one English sentence
	Step     []Option // of steps: what may stand in each; nil for all other types
}

// A Value is a text that may be a secret of the machine. One of the two is "".
type Value struct {
	Text   string // Unicode NFC
	Secret string // the name in {secret: NAME}
}

// A FactDef declares a number: results with another name, or a value out of bounds, are rejected.
type FactDef struct {
	_    [0]func() // not comparable: lists of them would each bring 1 KB of code to compare them
	Name string    // ends in its unit
	Help string
	Min  float64
	Max  float64
}

// Options are the values under `with:`, by name, in the Go types that [Type] names. A default stands where the plan was
// silent; an option without value or default is absent.
type Options map[string]any

// Has reports whether the option has a value.
func (o Options) Has(name string) bool { _, ok := o[name]; return ok }

// String returns a string, url, address, host or secret option; "" when absent.
func (o Options) String(name string) string { s, _ := o[name].(string); return s }

// Strings returns a list of strings, addresses or regexps; nil when absent.
func (o Options) Strings(name string) []string { s, _ := o[name].([]string); return s }

// Int returns an int or bytes option; 0 when absent.
func (o Options) Int(name string) int64 { v, _ := o[name].(int64); return v }

// Ints returns a list of whole numbers; nil when absent.
func (o Options) Ints(name string) []int64 { v, _ := o[name].([]int64); return v }

// Float returns a float option; 0 when absent.
func (o Options) Float(name string) float64 { v, _ := o[name].(float64); return v }

// Bool returns a bool option; false when absent.
func (o Options) Bool(name string) bool { v, _ := o[name].(bool); return v }

// Duration returns a duration option; 0 when absent.
func (o Options) Duration(name string) time.Duration { v, _ := o[name].(time.Duration); return v }

// Map returns a map option; nil when absent.
func (o Options) Map(name string) map[string]string { v, _ := o[name].(map[string]string); return v }

// Values returns a values option; nil when absent.
func (o Options) Values(name string) map[string]Value { v, _ := o[name].(map[string]Value); return v }

// Steps returns a steps option; nil when absent.
func (o Options) Steps(name string) []Options { v, _ := o[name].([]Options); return v }

// A Table is the kinds a program knows. It is a value: there is no registry.
type Table []Kind

// Lookup returns the kind of this name.
func (t Table) Lookup(name string) (Kind, bool) {
	i := slices.IndexFunc(t, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return t[i], true
}

// Names lists the names of the kinds in alphabetical order.
func (t Table) Names() []string {
	var ns []string
	for _, k := range t {
		ns = append(ns, k.Name)
	}
	slices.Sort(ns)
	return ns
}

// Fact returns the declaration of a fact and whether the kind has it.
func (k Kind) Fact(name string) (FactDef, bool) {
	i := slices.IndexFunc(k.Facts, func(d FactDef) bool { return d.Name == name })
	if i < 0 {
		return FactDef{}, false
	}
	return k.Facts[i], true
}

// Option returns the declaration of an option and whether the kind has it.
func (k Kind) Option(name string) (Option, bool) {
	i := slices.IndexFunc(k.Options, func(d Option) bool { return d.Name == name })
	if i < 0 {
		return Option{}, false
	}
	return k.Options[i], true
}
