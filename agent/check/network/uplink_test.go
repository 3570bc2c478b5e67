//go:build linux

package network

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"egovmon/agent/check"
)

func TestUplink(t *testing.T) {
	a, b, c := listen(t), listen(t), listen(t)
	no1, no2, no3 := refused(t), refused(t), refused(t)
	for _, tc := range []struct {
		name     string
		anchors  []string
		need     int64
		slow     time.Duration
		source   string
		limit    time.Duration
		want     check.Reason
		answered float64
	}{
		{"all", []string{a, b, c}, 0, 0, "", 5 * time.Second, check.OK, 3},
		{"half, rounded up", []string{a, b, no1}, 0, 0, "", 5 * time.Second, check.OK, 2},
		{"fewer than half", []string{a, no1, no2}, 0, 0, "", 5 * time.Second, check.Partial, 1},
		{"fewer than needed", []string{a, b, no1}, 3, 0, "", 5 * time.Second, check.Partial, 2},
		{"one is enough", []string{a, no1, no2}, 1, 0, "", 5 * time.Second, check.OK, 1},
		{"none", []string{no1, no2, no3}, 0, 0, "", 5 * time.Second, check.Timeout, 0},
		{"silent", []string{silent(t), no2, no3}, 0, 0, "", 200 * time.Millisecond, check.Timeout, 0},
		{"slow", []string{a, b, c}, 0, time.Nanosecond, "", 5 * time.Second, check.Slow, 3},
		{"line without its address", []string{a, b, c}, 0, 0, "192.0.2.77", 5 * time.Second, check.Timeout, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env := check.Env{}
			if tc.source != "" {
				env.Source = netip.MustParseAddr(tc.source)
			}
			r := runFor(t, uplinkKind(), check.Options{"anchors": tc.anchors, "need": tc.need, "slow": tc.slow}, env, tc.limit)
			want(t, r, tc.want)
			wantFact(t, r, "answered_count", tc.answered)
			wantFact(t, r, "asked_count", 3)
			if _, ok := r.Facts.Get("rtt_min_s"); ok != (tc.answered > 0) {
				t.Errorf("rtt_min_s is there: %v", ok)
			}
		})
	}
}

func TestUplinkDoesNotWaitForTheSilent(t *testing.T) {
	a, b := listen(t), listen(t)
	f, err := newUplink(check.Options{"anchors": []string{a, b, silent(t)}}, check.Env{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := f(ctx)
	want(t, r, check.OK)
	wantFact(t, r, "answered_count", 2)
	if ctx.Err() != nil {
		t.Error("it waited for the whole timeout")
	}
}

func TestUplinkIsCutShort(t *testing.T) {
	f, err := newUplink(check.Options{"anchors": []string{silent(t), "127.0.0.1:1", "127.0.0.1:2"}}, check.Env{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want(t, f(ctx), check.Internal)
}

func TestProbeAnchors(t *testing.T) {
	anchors := []string{listen(t), refused(t), listen(t), "no port"}
	if got := ProbeAnchors(t.Context(), anchors, netip.Addr{}); got != 2 {
		t.Errorf("%d answered, want 2", got)
	}
	if got := ProbeAnchors(t.Context(), nil, netip.Addr{}); got != 0 {
		t.Errorf("%d of no anchors answered", got)
	}
	if got := ProbeAnchors(t.Context(), anchors, netip.MustParseAddr("192.0.2.77")); got != 0 {
		t.Errorf("%d answered over a line that we do not have", got)
	}
}
