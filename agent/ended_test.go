package main

import (
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

// A PC whose operating system has no support any more says so in its line, in the words of the catalogue.
func TestLineOfAnOldPC(t *testing.T) {
	for ended, want := range map[float64]bool{1: true, 0: false} {
		r := check.Because(check.OK, "")
		r.Facts.Add("os_ended_code", ended)
		var b strings.Builder
		writeLine(&b, words.VI, r)
		if got := strings.Contains(b.String(), "HĐH hết hỗ trợ"); got != want {
			t.Errorf("os_ended_code %v: %s", ended, b.String())
		}
	}
}
