package board

import (
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

func TestFactOfAnOldPC(t *testing.T) {
	for v, want := range map[float64]string{1: "HĐH hết hỗ trợ", 0: "0"} {
		if got := factText(words.VI, check.Fact{Name: "os_ended_code", Value: v}); got != want {
			t.Errorf("os_ended_code %v is written %q, want %q", v, got, want)
		}
	}
}
