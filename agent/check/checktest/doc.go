// Package checktest holds what the tests of the families of kinds share: a certificate authority, servers on loopback that
// behave as told, Debian's nginx in front of a small application, and what every result must keep to. Only tests import it.
package checktest

import (
	"context"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// AtOnce is for the environment of a child of a test: with the race detector a program otherwise waits a second before it ends.
const AtOnce = "GORACE=atexit_sleep_ms=0"

// Epoch is the instant that certificates are judged at in tests.
func Epoch() time.Time { return time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC) }

// NewFunc makes a Func as a plan would, with the kind's defaults, and fails the test when a result strays from what the
// kind declares.
func NewFunc(t testing.TB, k check.Kind, o check.Options, env check.Env) check.Func {
	t.Helper()
	f, err := k.New(WithDefaults(t, k, o), WithEnv(env))
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) check.Result {
		r := f(ctx)
		Declared(t, k, r)
		return r
	}
}

// WithEnv fills in what an Env leaves out: the clock stands at [Epoch], and a run may take half a minute.
func WithEnv(env check.Env) check.Env {
	if env.Now == nil {
		env.Now = Epoch
	}
	if env.Timeout == 0 {
		env.Timeout = 30 * time.Second
	}
	return env
}

// WithDefaults puts options over the kind's defaults. An option that the kind does not have fails the test.
func WithDefaults(t testing.TB, k check.Kind, o check.Options) check.Options {
	t.Helper()
	all := check.Options{}
	for _, d := range k.Options {
		if d.Default == "" {
			continue
		}
		v, err := plan.Default(d)
		if err != nil {
			t.Fatalf("default of %s: %v", d.Name, err)
		}
		all[d.Name] = v
	}
	for name, v := range o {
		if _, ok := k.Option(name); !ok {
			t.Fatalf("kind %s has no option %q", k.Name, name)
		}
		all[name] = v
	}
	return all
}

// Declared reports what in a result the kind did not promise; its phases stand in the order in which the kind names them.
func Declared(t testing.TB, k check.Kind, r check.Result) {
	t.Helper()
	Sound(t, k, r)
	at := -1
	for _, p := range r.Phases {
		i := slices.Index(k.Phases, p.Name)
		if i < at {
			t.Errorf("phase %s is out of order in %v", p.Name, r.Phases)
		}
		at = i
	}
}

// Sound is Declared for a kind whose phases come in another order from case to case.
func Sound(t testing.TB, k check.Kind, r check.Result) {
	t.Helper()
	Said(t, k, r)
	if !r.Reason.Valid() || r.State != r.Reason.State() || r.Reason.Missed() || r.Reason.AccountOnly() {
		t.Errorf("reason %q with state %s", r.Reason, r.State)
	}
	if r.Detail != check.CleanDetail(r.Detail) {
		t.Errorf("detail %q is not clean", r.Detail)
	}
	seen := map[string]bool{}
	for _, f := range r.Facts {
		d, ok := k.Fact(f.Name)
		if !ok || seen[f.Name] || f.Value < d.Min || f.Value > d.Max {
			t.Errorf("fact %s = %v: declared %v [%v, %v], stands twice %v", f.Name, f.Value, ok, d.Min, d.Max, seen[f.Name])
		}
		seen[f.Name] = true
	}
	for i, p := range r.Phases {
		if !slices.Contains(k.Phases, p.Name) || slices.ContainsFunc(r.Phases[:i], func(q check.Phase) bool { return q.Name == p.Name }) {
			t.Errorf("phase %s: unknown, or twice in %v", p.Name, r.Phases)
		}
	}
	if len(r.Phases) == 0 || r.Phases[len(r.Phases)-1].Name != "total" {
		t.Errorf("phases %v do not end in total", r.Phases)
	}
}
