package filing

import (
	"fmt"
	"maps"
	"time"

	"egovmon/collector/evidence"
	"egovmon/collector/profile"
)

// LeafTime is how a leaf writes when something was entered: UTC, whole milliseconds.
const LeafTime = "2006-01-02T15:04:05.000Z"

// FormatTime writes an instant of a document, in whole seconds.
func FormatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Stamp writes when something was entered.
func Stamp(t time.Time) string { return t.UTC().Format(LeafTime) }

// Said leaves the empty values out, which a leaf does not hold. It changes all.
func Said(all map[string]string) map[string]string {
	maps.DeleteFunc(all, func(_, v string) bool { return v == "" })
	return all
}

// Values reads the values of a document's leaf, and keeps the first that this version cannot read.
type Values struct {
	leaf  evidence.Leaf
	index int64
	name  string
	err   error
}

// NewValues reads a leaf; name is what an error calls the document.
func NewValues(l evidence.Leaf, index int64, name string) *Values {
	return &Values{leaf: l, index: index, name: name}
}

// Bad keeps what is wrong with a value.
func (v *Values) Bad(key string, err error) {
	if v.err == nil {
		v.err = fmt.Errorf("%s in leaf %d: %s %q: %w; a newer version may have written it", v.name, v.index, key, v.leaf.Field(key), err)
	}
}

// Time reads an instant.
func (v *Values) Time(key string) time.Time { return v.time(key, time.RFC3339) }

// Stamp reads when something was entered.
func (v *Values) Stamp(key string) time.Time { return v.time(key, LeafTime) }

func (v *Values) time(key, layout string) time.Time {
	t, err := time.Parse(layout, v.leaf.Field(key))
	if err != nil {
		v.Bad(key, err)
	}
	return t
}

// Date reads a day.
func (v *Values) Date(key string) profile.Date {
	d, err := profile.ParseDate(v.leaf.Field(key))
	if err != nil {
		v.Bad(key, err)
	}
	return d
}

// Err is the first value that could not be read, nil for none.
func (v *Values) Err() error { return v.err }
