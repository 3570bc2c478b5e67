package score

import (
	"slices"
	"testing"

	"egovmon/deploy/lab/fault"
)

func TestQuorumRule(t *testing.T) {
	play := func(name, unit string) Played {
		f, err := fault.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		return Played{Fault: f, Name: name, Unit: unit}
	}
	for _, tc := range []struct {
		name   string
		faults []Played
		down   []string
		says   []string
		right  int
	}{
		{"a portal, of three units", []Played{play("portal-stopped", "")}, []string{"cong_h ", "cong_h a", "cong_h b", "cong_h c"}, []string{"cong_h"}, 1},
		{"a portal, of two units alone", []Played{play("portal-stopped", "")}, []string{"cong_h a", "cong_h b"}, []string{"line a", "line b"}, 0},
		{"a line", []Played{play("line-cut", "a")}, []string{"inet a"}, []string{"line a"}, 1},
		{"the line of another unit", []Played{play("line-cut", "b")}, []string{"inet a"}, []string{"line a"}, 0},
		{"two faults", []Played{play("line-cut", "a"), play("portal-stopped", "")}, []string{"inet a", "cong_h b", "cong_h c", "cong_h d"}, []string{"cong_h", "line a"}, 2},
		{"nothing to tell, and nothing told", []Played{play("crl-stale", "")}, nil, nil, 1},
		{"nothing to tell, and told", []Played{play("crl-stale", "")}, []string{"kyso_usb a"}, []string{"line a"}, 0},
	} {
		c := Case{Faults: tc.faults, QuorumLast: quorumSays(tc.down)}
		c.Quorum = c.QuorumLast
		if !slices.Equal(c.QuorumLast, tc.says) || quorumRight(c) != tc.right {
			t.Errorf("%s: it says %v, %d right; want %v, %d", tc.name, c.QuorumLast, quorumRight(c), tc.says, tc.right)
		}
	}
}
