package exporter

import (
	"testing"
	"time"

	"egovmon/agent/check"
)

// Only an answer shows whether it is right; who did not answer has said nothing wrong.
func TestNamesConsistent(t *testing.T) {
	for _, tt := range []struct {
		kind   string
		reason check.Reason
		want   float64 // -1 for none
	}{
		{"dns", check.OK, 1}, {"dns", check.Slow, 1}, {"zone", check.DNSLame, 1}, {"dns", check.DNSMismatch, 0}, {"dns", check.DNSInconsistent, 0}, {"zone", check.DNSBogus, 0}, {"hijack", check.DNSMismatch, 0},
		{"dns", check.DNSTimeout, -1}, {"hijack", check.ConnectRefused, -1}, {"dns", check.NoUplink, -1}, {"maildns", check.DNSMismatch, -1}, {"http", check.OK, -1},
	} {
		s := newSet()
		s.names(tt.kind, &check.Result{State: tt.reason.State(), Reason: tt.reason, Start: time.Unix(1, 0)}, nil)
		got := -1.0
		if f, ok := s.byName[DNSConsistent]; ok {
			got = f.GetMetric()[0].GetGauge().GetValue()
		}
		if got != tt.want {
			t.Errorf("%s %s: %g, want %g", tt.kind, tt.reason, got, tt.want)
		}
	}
}
