package journal

import (
	"testing"
	"time"

	"egovmon/agent/check"
)

func TestSealer(t *testing.T) {
	type step struct {
		at     time.Duration // since the journal began
		id     string        // a result of this check; "" asks only
		reason check.Reason
		due    bool
	}
	many := func(n int) (ss []step) {
		ss = append(ss, step{0, "a", check.OK, true})
		for i := range n {
			ss = append(ss, step{3 * time.Second, "a", check.OK, i == maxResults-1})
		}
		return ss
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"empty is never due", []step{{time.Hour, "", "", false}}},
		{"first result at once, the next after seal", []step{
			{0, "a", check.OK, true},
			{15 * time.Second, "a", check.OK, false},
			{74 * time.Second, "", "", false},
			{75 * time.Second, "", "", true},
		}},
		{"first round, at most every 2 s", []step{
			{0, "a", check.OK, true},
			{1 * time.Second, "b", check.OK, false},
			{1900 * time.Millisecond, "c", check.OK, false},
			{2 * time.Second, "", "", true},
			{3 * time.Second, "a", check.OK, false},
		}},
		{"a change and the two results after it", []step{
			{0, "a", check.OK, true},
			{10 * time.Second, "a", check.Timeout, true},
			{20 * time.Second, "a", check.Timeout, true},
			{30 * time.Second, "a", check.Timeout, true},
			{40 * time.Second, "a", check.Timeout, false},
		}},
		{"another reason of the same state is a change", []step{
			{0, "a", check.Timeout, true},
			{10 * time.Second, "a", check.HTTPStatus, true},
		}},
		{"a change soon after a seal waits", []step{
			{0, "a", check.OK, true},
			{time.Second, "a", check.Timeout, false},
			{1999 * time.Millisecond, "", "", false},
			{2 * time.Second, "", "", true},
		}},
		{"another check's results do not count as following", []step{
			{0, "a", check.OK, true}, {2 * time.Second, "b", check.OK, true},
			{10 * time.Second, "a", check.Timeout, true},
			{20 * time.Second, "b", check.OK, false},
			{20 * time.Second, "a", check.Timeout, true},
		}},
		{"500 results", many(maxResults)},
		{"clock set back", []step{
			{time.Hour, "a", check.OK, true},
			{time.Hour + 3*time.Second, "a", check.OK, false},
			{time.Minute, "", "", true},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sealer{seal: time.Minute}
			s.begin()
			for i, st := range tt.steps {
				now := testTime.Add(st.at)
				if st.id != "" {
					s.result(st.id, st.reason)
					s.wrote(300, now)
				}
				got := s.due(now)
				if got != st.due {
					t.Fatalf("step %d at %s: due %v, want %v", i, st.at, got, st.due)
				}
				if got {
					s.sealed(now)
				}
			}
		})
	}
}
