package machine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
)

// notebook keeps notes in memory.
type notebook map[string][]byte

func (n notebook) Note(name string) []byte       { return n[name] }
func (n notebook) Keep(name string, data []byte) { n[name] = data }

var bought = asset{System: "Debian GNU/Linux 12", Maker: "Dell Inc.", Model: "OptiPlex 3050", Memory: 8e9, Disks: 256e9, Links: []string{"00:1b:a9:12:34:56"}}

// at is a moment of the test's calendar, so many hours after its begin.
func at(hours float64) time.Time {
	return time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC).Add(time.Duration(hours * float64(time.Hour)))
}

func stocktaking(t *testing.T, o check.Options, notes check.Notes, when time.Time, a asset, err error) check.Result {
	t.Helper()
	k := inventoryKind()
	for _, d := range k.Options {
		if _, given := o[d.Name]; !given && d.Default != "" {
			v, err := time.ParseDuration(d.Default)
			if err != nil {
				t.Fatal(err)
			}
			o[d.Name] = v
		}
	}
	f, newErr := newInventory(o, check.Env{Now: func() time.Time { return when }, Notes: notes}, func(context.Context) (asset, error) { return a, err })
	if newErr != nil {
		t.Fatal(newErr)
	}
	r := f(t.Context())
	for _, x := range r.Facts {
		if d, ok := k.Fact(x.Name); !ok || x.Value < d.Min || x.Value > d.Max {
			t.Errorf("fact %s = %v is not declared so", x.Name, x.Value)
		}
	}
	if _, ok := r.Phases.Get("total"); !ok {
		t.Error("the run was not timed")
	}
	return r
}

func TestInventoryChanges(t *testing.T) {
	notes := notebook{}
	less, other := bought, bought
	less.Memory = 4e9
	other.Links = []string{"00:1b:a9:65:43:21"}
	for _, step := range []struct {
		name    string
		hours   float64
		in      asset
		want    check.Reason
		detail  string
		changed float64
	}{
		{"the first time nothing has changed", 0, bought, check.OK, "model OptiPlex 3050", 0},
		{"the same", 1, bought, check.OK, "", 0},
		{"memory is gone", 2, less, check.ContentChanged, "changed: memory; now", 1},
		{"it stays gone", 3, less, check.ContentChanged, "changed: memory", 1},
		{"another card too", 4, asset{less.System, less.Maker, less.Model, "", less.Memory, less.Disks, other.Links}, check.ContentChanged, "changed: memory, links", 2},
		{"a day later", 27, asset{less.System, less.Maker, less.Model, "", less.Memory, less.Disks, other.Links}, check.ContentChanged, "changed: links", 1},
		{"another day later", 60, asset{less.System, less.Maker, less.Model, "", less.Memory, less.Disks, other.Links}, check.OK, "", 0},
		{"what cannot be read has not changed", 61, asset{less.System, "", less.Model, "", less.Memory, less.Disks, other.Links}, check.Partial, "not readable: maker", 0},
		{"nor when it can be read again", 62, asset{less.System, less.Maker, less.Model, "", less.Memory, less.Disks, other.Links}, check.OK, "", 0},
		{"a field that is new", 63, asset{less.System, less.Maker, less.Model, "ABC1234", less.Memory, less.Disks, other.Links}, check.OK, "serial ABC1234", 0},
	} {
		r := stocktaking(t, check.Options{}, notes, at(step.hours), step.in, nil)
		if n, _ := r.Facts.Get("changed_count"); r.Reason != step.want || !strings.Contains(r.Detail, step.detail) || n != step.changed {
			t.Errorf("%s: %s %q, %v changes; want %s %q", step.name, r.Reason, r.Detail, n, step.want, step.detail)
		}
		if strings.Contains(r.Detail, "1b:a9") {
			t.Errorf("%s: the detail holds a hardware address: %s", step.name, r.Detail)
		}
	}
}

// TestInventoryNumbers finds each part's change in its own number.
func TestInventoryNumbers(t *testing.T) {
	number := func(a asset) (n [3]float64) {
		r := stocktaking(t, check.Options{}, notebook{}, at(0), a, nil)
		for i, name := range []string{"system_hash_serial", "hardware_hash_serial", "network_hash_serial"} {
			n[i], _ = r.Facts.Get(name)
		}
		return n
	}
	base := number(bought)
	for i, change := range []func(*asset){
		func(a *asset) { a.System = "Debian GNU/Linux 13" },
		func(a *asset) { a.Disks++ },
		func(a *asset) { a.Links = append([]string{"00:00:5e:00:00:01"}, a.Links...) },
	} {
		a := bought
		change(&a)
		got := number(a)
		for j := range got {
			if (got[j] != base[j]) != (i == j) {
				t.Errorf("change %d: number %d is %v, was %v", i, j, got[j], base[j])
			}
		}
	}
}

func TestInventoryJudgement(t *testing.T) {
	bare := bought
	bare.Model, bare.Disks = "", 0
	for _, tt := range []struct {
		name   string
		with   check.Options
		in     asset
		err    error
		want   check.Reason
		detail string
	}{
		{"read", check.Options{}, bought, nil, check.OK, "memory 8.0 GB; disks 256.0 GB"},
		{"reviewed lately", check.Options{"reviewed": "2026-01-10"}, bought, nil, check.OK, ""},
		{"reviewed long ago", check.Options{"reviewed": "2025-11-01"}, bought, nil, check.Stale, "2025-11-01"},
		{"the plan allows more", check.Options{"reviewed": "2025-11-01", "max_age": 500 * 24 * time.Hour}, bought, nil, check.OK, ""},
		{"not all read", check.Options{}, bare, nil, check.Partial, "not readable: model, disks"},
		{"nothing read", check.Options{}, asset{}, errors.New("made up"), check.NotSupported, "made up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := stocktaking(t, tt.with, notebook{"inventory": []byte("{damaged")}, at(0), tt.in, tt.err)
			if r.Reason != tt.want || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("%s %q, want %s %q", r.Reason, r.Detail, tt.want, tt.detail)
			}
		})
	}
	if _, err := newInventory(check.Options{"reviewed": "10/01/2026"}, check.Env{}, nil); err == nil || !strings.HasPrefix(err.Error(), `option "reviewed"`) {
		t.Errorf("a day in another form: %v", err)
	}
}

func TestBrief(t *testing.T) {
	for in, want := range map[string]string{
		"  Dell\tInc. \n": "Dell Inc.", "To Be Filled By O.E.M.": "", "Default string": "", "None": "", "": "",
		strings.Repeat("ư", 30): strings.Repeat("ư", 24),
	} {
		if got := brief(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
