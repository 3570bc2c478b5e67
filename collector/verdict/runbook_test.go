package verdict

import (
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

// TestRunbook: every way in which every kind of component can be broken has a page in both languages.
func TestRunbook(t *testing.T) {
	pages, shown := 0, map[check.Reason]bool{}
	for _, k := range Kinds() {
		reasons := k.Reasons()
		if len(reasons) == 0 {
			t.Errorf("%s cannot be broken", k)
		}
		for _, r := range reasons {
			shown[r] = true
			vi, en := Runbook(words.VI, k, r), Runbook(words.EN, k, r)
			pages++
			for _, e := range []Entry{vi, en} {
				if e.Title == "" || strings.HasPrefix(e.Title, ":") || strings.HasSuffix(e.Title, ": "+string(r)) || e.Impact == "" || e.First == "" || e.Call == "" {
					t.Errorf("%s, %s: %+v", k, r, e)
				}
			}
			if vi.Title == en.Title || vi.First == en.First || vi.Call == en.Call || vi.Impact == en.Impact {
				t.Errorf("%s, %s: the languages say the same: %+v", k, r, vi)
			}
		}
	}
	for _, r := range check.Reasons() {
		if r.State() == check.Down && !shown[r] {
			t.Errorf("%s is a reason of no kind of component", r)
		}
	}
	if pages < 150 {
		t.Errorf("%d pages", pages)
	}
	if vi, en := len(parts(words.VI)), len(parts(words.EN)); vi != len(Kinds()) || en != len(Kinds()) {
		t.Errorf("%d and %d parts, want %d", vi, en, len(Kinds()))
	}
}
