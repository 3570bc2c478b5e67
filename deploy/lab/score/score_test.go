package score

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"egovmon/deploy/lab/fault"
)

func played(t *testing.T, name, unit string) Played {
	t.Helper()
	f, err := fault.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return Played{Fault: f, Name: name, Unit: unit}
}

func TestJudge(t *testing.T) {
	line, portal, off := played(t, "line-cut", "xa-a"), played(t, "portal-stopped", ""), played(t, "pc-off", "xa-b")
	right, elsewhere := Stated{Component: fault.TheLine, Unit: "xa-a", Reason: "timeout", After: 20 * time.Second}, Stated{Component: fault.TheLine, Unit: "xa-c", Reason: "timeout"}
	for _, c := range []struct {
		name   string
		faults []Played
		stated []Stated
		want   []string // cause or class that was named, and whether that is right
		extra  int
	}{
		{"named", []Played{line}, []Stated{right}, []string{"line true"}, 0},
		{"another commune's line", []Played{line}, []Stated{elsewhere}, []string{"line false"}, 1},
		{"nothing said", []Played{line}, nil, []string{"none false"}, 0},
		{"its victim is named", []Played{line}, []Stated{{Component: "cong_h"}}, []string{"portal false"}, 1},
		{"both named", []Played{portal, line}, []Stated{right, {Component: "cong_h"}}, []string{"portal true", "line true"}, 0},
		{"one named twice", []Played{portal, line}, []Stated{{Component: "cong_h"}, {Component: "cong_h"}}, []string{"portal true", "portal false"}, 0},
		{"nobody to tell", []Played{off}, nil, []string{"none true"}, 0},
		{"told all the same", []Played{off}, []Stated{{Component: fault.TheLine, Unit: "xa-b"}}, []string{"line false"}, 1},
		{"one to tell and one not", []Played{off, line}, []Stated{right}, []string{"none true", "line true"}, 0},
	} {
		k := Case{Faults: c.faults, Stated: c.stated}
		var got []string
		for _, r := range Judge(k) {
			word := " false"
			if r.Right {
				word = " true"
			}
			got = append(got, r.Named+word)
		}
		if !reflect.DeepEqual(got, c.want) || Extra(k) != c.extra {
			t.Errorf("%s: %v and %d too many, want %v and %d", c.name, got, Extra(k), c.want, c.extra)
		}
	}
}

func TestWrongSeconds(t *testing.T) {
	bad := map[string]time.Duration{"cong_h": time.Minute, "dvc_q": 10 * time.Second}
	for name, want := range map[string]time.Duration{"portal-stopped": 10 * time.Second, "resolver-dead": 0, "disk-full": 70 * time.Second, "line-cut": 70 * time.Second, "both-lines-cut": 70 * time.Second, "pc-off": 70 * time.Second} {
		if got := WrongSeconds(Case{Faults: []Played{played(t, name, "")}, Bad: bad}); got != want {
			t.Errorf("%s: %s wrong, want %s", name, got, want)
		}
	}
}

func TestCasesAreThoseOfTheSeed(t *testing.T) {
	o := Options{Units: []string{"a", "b", "c"}, Doubles: 20, Seed: 7}
	for _, f := range fault.All() {
		o.Offered = append(o.Offered, f.Name)
	}
	first := Cases(o)
	if !reflect.DeepEqual(first, Cases(o)) || len(first) != len(o.Offered)+20 {
		t.Errorf("%d cases, or not the same ones for one seed", len(first))
	}
	for _, c := range first {
		if len(c.Faults) == 2 && c.Faults[0].Name == c.Faults[1].Name {
			t.Errorf("%s twice in a case", c.Faults[0].Name)
		}
	}
	o.Seed = 8
	if reflect.DeepEqual(first, Cases(o)) {
		t.Error("another seed makes the same cases")
	}
	o.Only, o.Doubles = []string{"line-cut"}, 5
	if got := Cases(o); len(got) != 1 {
		t.Errorf("%d cases of one fault, want 1", len(got))
	}
}

// A fake lab states a fault's component 20 s after it was brought about, and its services recover at once.
type fake struct {
	on     map[string]time.Time
	broken bool
	calls  int
}

func (f *fake) Fault(_ context.Context, name, unit string, on bool) error {
	if on {
		f.calls++
		f.on[name] = time.Now()
		return nil
	}
	delete(f.on, name)
	return nil
}

func (f *fake) Told(context.Context) (int, error) { return f.calls, nil }

func (f *fake) View(context.Context) (View, error) {
	if f.broken {
		return View{}, errors.New("no collector")
	}
	v := View{Well: len(f.on) == 0}
	for name, at := range f.on {
		x, err := fault.Find(name)
		if err != nil {
			return v, err
		}
		if time.Since(at) >= 10*time.Second {
			v.Down = append(v.Down, x.Component+" ", x.Component+" xa-a", x.Component+" xa-b")
		}
		if time.Since(at) >= 20*time.Second {
			v.Open = append(v.Open, Incident{ID: name, Component: x.Component, Opened: at.Add(20 * time.Second)})
		}
	}
	return v, nil
}

func TestPlay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Offered: []string{"portal-stopped", "tsa-dead"}, Hold: 45 * time.Second, Settle: time.Minute}
		lab := &fake{on: map[string]time.Time{}}
		cases := Play(t.Context(), lab, o)
		s := Sum(cases)
		for _, c := range cases {
			if len(c.Stated) != 1 || c.Bad["cong_h"]+c.Bad["kyso_usb"] < 25*time.Second {
				t.Errorf("%s: stated %v, down %v, want one statement and 25 s", Name(c), c.Stated, c.Bad)
			}
		}
		if s.Cases != 2 || s.Right != 2 || s.Median != 20*time.Second || s.Told != 2 || s.NaiveAlerts != 4 || s.NaiveRight != 0 || s.NaiveAfter != 10*time.Second || s.Wrong != 0 || len(lab.on) != 0 {
			t.Errorf("the summary is %+v with %d faults left on", s, len(lab.on))
		}
		if s.Matrix["portal"]["portal"] != 1 || s.Matrix["signature"]["signature"] != 1 || !reflect.DeepEqual(s.Columns(), []string{"portal", "signature", None}) {
			t.Errorf("the matrix is %v", s.Matrix)
		}
		lab.broken = true
		if s := Sum(Play(t.Context(), lab, o)); s.Cases != 0 || len(s.Unplayed) != 2 || !strings.Contains(s.Unplayed[0], "no collector") {
			t.Errorf("without a collector: %+v", s)
		}
	})
}
