package control

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"egovmon/agent/check"
)

var testNow = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// declared reports what in a result the kind did not promise.
func declared(t *testing.T, r *check.Result) {
	t.Helper()
	k := controlKind()
	if !r.Reason.Valid() || r.State != r.Reason.State() {
		t.Errorf("reason %q with state %s", r.Reason, r.State)
	}
	seen := map[string]bool{}
	for _, f := range r.Facts {
		if d, ok := k.Fact(f.Name); !ok || f.Value < d.Min || f.Value > d.Max || seen[f.Name] {
			t.Errorf("fact %s = %v: declared %v [%v, %v], twice %v", f.Name, f.Value, ok, d.Min, d.Max, seen[f.Name])
		}
		seen[f.Name] = true
	}
	for _, p := range r.Phases {
		if !slices.Contains(k.Phases, p.Name) {
			t.Errorf("phase %s is not declared", p.Name)
		}
	}
}

// wantFacts compares some of a result's numbers; a negative one means that it must not be there.
func wantFacts(t *testing.T, r *check.Result, want map[string]float64) {
	t.Helper()
	for name, v := range want {
		got, ok := r.Facts.Get(name)
		if v < 0 && ok || v >= 0 && (!ok || got != check.RoundFact(name, v)) {
			t.Errorf("fact %s = %v (there: %v), want %v", name, got, ok, v)
		}
	}
}

// judged runs one control on a system.
func judged(t *testing.T, sys system, o check.Options) *check.Result {
	t.Helper()
	f, err := newControl(o, sys, func() time.Time { return testNow })
	if err != nil {
		t.Fatal(err)
	}
	r := f(t.Context())
	declared(t, &r)
	return &r
}

func TestThisMachine(t *testing.T) {
	for _, id := range ids() {
		o := check.Options{"id": id}
		switch id {
		case listeningPorts:
			o["allowed_ports"] = []string{"1-65535"}
		case backupAge:
			o["path"] = t.TempDir()
		case centreReach:
			o["addresses"] = []string{"127.0.0.1:1"}
		case portalRules:
			o["url"] = "https://127.0.0.1:1/"
		}
		f, err := controlKind().New(o, check.Env{})
		if err != nil {
			t.Fatal(err)
		}
		r := f(t.Context())
		declared(t, &r)
		t.Logf("%s %s %q %v", id, r.Reason, r.Detail, r.Facts)
		if r.Reason == check.Internal {
			t.Errorf("%s: %s", id, r.Detail)
		}
		if runtime.GOOS != "linux" {
			continue
		}
		if _, ok := r.Phases.Get("total"); !ok {
			t.Errorf("%s: the run was not timed", id)
		}
		switch id {
		case listeningPorts:
			if r.Reason != check.OK {
				t.Errorf("every port is allowed, but: %s %q", r.Reason, r.Detail)
			}
		case backupAge:
			if r.Reason != check.ControlFail {
				t.Errorf("an empty folder is %s %q", r.Reason, r.Detail)
			}
		case administrators:
			if n, _ := r.Facts.Get("uid0_count"); n < 1 {
				t.Errorf("%v accounts with user number 0", n)
			}
		case timeSync:
			if _, ok := r.Facts.Get("synchronised_code"); !ok {
				t.Errorf("the kernel was not asked for its clock: %s", r.Detail)
			}
		}
	}
}

// TestOptions breaks the options one by one.
func TestOptions(t *testing.T) {
	tests := []struct {
		name string
		with check.Options
		want string
	}{
		{"no control", check.Options{"id": "m99"}, `option "id": "m99" is no control that can be measured: write one of m01, m02, m03, m04`},
		{"of another control", check.Options{"id": "m04", "path": "/srv"}, `option "path" is not for m04, but for m20`},
		{"ages", check.Options{"id": "m05", "max_age": 48 * time.Hour, "fail_age": time.Hour}, `option "fail_age"`},
		{"port 0", check.Options{"id": "m07", "allowed_ports": []string{"0"}}, `option "allowed_ports": "0" is no port`},
		{"port range", check.Options{"id": "m07", "allowed_ports": []string{"9-8"}}, `option "allowed_ports": "9-8" is no port`},
		{"port protocol", check.Options{"id": "m07", "allowed_ports": []string{"22/sctp"}}, `option "allowed_ports"`},
		{"port too large", check.Options{"id": "m07", "allowed_ports": []string{"65536"}}, `option "allowed_ports"`},
		{"relative path", check.Options{"id": "m20", "path": "backup"}, `option "path": "backup" is not absolute`},
		{"relative data", check.Options{"id": "m20", "path": "/srv", "data_path": "d"}, `option "data_path"`},
		{"pattern", check.Options{"id": "m20", "path": "/srv/[a"}, `option "path": "/srv/[a" is no pattern`},
		{"hash", check.Options{"id": "m21", "sha256": "abc"}, `option "sha256": "abc" is not 64 hex digits`},
		{"domain", check.Options{"id": "m21", "domains": []string{"."}}, `option "domains"`},
		{"allowed host", check.Options{"id": "m21", "allowed_hosts": []string{"a.gov.vn=x"}}, `option "allowed_hosts": "a.gov.vn=x"`},
		{"resolver", check.Options{"id": "m21", "resolvers": []string{"dns"}}, `option "resolvers": "dns" is no address`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := newControl(tt.with, system{}, time.Now); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v, want %q…", err, tt.want)
			}
		})
	}
}

// TestKind finds an owner for every option and a place for every control.
func TestKind(t *testing.T) {
	k := controlKind()
	for _, o := range k.Options {
		for _, id := range users(o.Name) {
			if !slices.Contains(ids(), id) {
				t.Errorf("option %s is for %s, which is no control", o.Name, id)
			}
			if o.Name != "id" && !strings.Contains(o.Help, id) {
				t.Errorf("option %s: the help does not say that %s uses it: %s", o.Name, id, o.Help)
			}
		}
		if o.Name != "id" && len(users(o.Name)) == len(ids()) {
			t.Errorf("option %s belongs to no control", o.Name)
		}
	}
	for _, f := range k.Facts {
		if !strings.HasPrefix(f.Help, "m") {
			t.Errorf("fact %s: the help does not begin with its control: %s", f.Name, f.Help)
		}
	}
}

// TestNoReader runs every control on a system without readers: none may pass.
func TestNoReader(t *testing.T) {
	for _, id := range ids() {
		o := check.Options{"id": id}
		switch id {
		case listeningPorts:
			o["allowed_ports"] = []string{}
		case backupAge:
			o["path"] = "/srv"
		case centreReach:
			o["addresses"] = []string{"127.0.0.1:1"}
		case portalRules:
			o["url"] = "https://127.0.0.1:1/"
		}
		if r := judged(t, system{}, o); r.Reason != check.NotSupported {
			t.Errorf("%s without a reader: %s %q", id, r.Reason, r.Detail)
		}
	}
	if r := judged(t, system{}, check.Options{"id": "m07"}); r.Reason != check.NotConfigured {
		t.Errorf("ports without a list: %s", r.Reason)
	}
	for _, id := range []string{"m19", "m27"} {
		if r := judged(t, system{}, check.Options{"id": id}); r.Reason != check.NotConfigured {
			t.Errorf("%s without a target: %s", id, r.Reason)
		}
	}
	if r := judged(t, system{}, check.Options{"id": "m20"}); r.Reason != check.NotConfigured {
		t.Errorf("backup without a path: %s", r.Reason)
	}
}

// TestHung reads from a system that never answers, and from one that panics.
func TestHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var calls atomic.Int64
		sys := system{clock: func(context.Context) (clock, error) {
			calls.Add(1)
			<-release
			return clock{}, nil
		}}
		f, err := newControl(check.Options{"id": "m16"}, sys, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		r := f(ctx)
		if r.Reason != check.NotSupported || time.Since(begin) > 5*time.Second {
			t.Errorf("%s after %v", r.Reason, time.Since(begin))
		}
		if again := f(ctx); again.Reason != check.NotSupported || calls.Load() != 1 {
			t.Errorf("asked %d times while it hangs: %s", calls.Load(), again.Reason)
		}
		close(release)
		synctest.Wait()
		if r := f(t.Context()); calls.Load() != 2 || strings.Contains(r.Detail, "earlier run") {
			t.Errorf("after it returned: asked %d times: %q", calls.Load(), r.Detail)
		}
	})
	f, err := newControl(check.Options{"id": "m16"}, system{clock: func(context.Context) (clock, error) { panic("odd") }}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if r := f(t.Context()); r.Reason != check.Internal {
		t.Errorf("a panic is %s", r.Reason)
	}
}

// TestUnread gives every reader an error.
func TestUnread(t *testing.T) {
	for err, want := range map[error]check.Reason{
		errors.New("odd"): check.NotSupported,
		errNoReader:       check.NotSupported,
		errDenied:         check.NoPermission,
	} {
		if r := unread(err); r.Reason != want || r.Detail == "" {
			t.Errorf("%v: %s %q", err, r.Reason, r.Detail)
		}
	}
}
