package main

import (
	"strings"
	"testing"
	"time"

	"egovmon/collector/intake"
)

// The board says since when nothing can be archived, and what to do, but not where files are.
func TestArchiveNotices(t *testing.T) {
	if n := archiveNotices(intake.Archive{}); len(n) != 0 {
		t.Errorf("all is well, and it says %v", n)
	}
	n := archiveNotices(intake.Archive{Failing: time.Date(2026, 11, 23, 1, 5, 0, 0, time.UTC), Why: "write /var/lib/x: no space left"})
	if len(n) != 1 {
		t.Fatalf("%d notices, want 1", len(n))
	}
	for text, want := range map[string]string{n[0].VI: "Không ghi được kho lưu bằng chứng từ 08:05 23/11/2026", n[0].EN: "cannot be written since 08:05 23/11/2026"} {
		if !strings.Contains(text, want) || strings.Contains(text, "/var/lib") {
			t.Errorf("%q, want %q and no path", text, want)
		}
	}
}

// TestSplitNotices tells people of two histories as soon as somebody has signed another one.
func TestSplitNotices(t *testing.T) {
	if got := splitNotices(0); len(got) != 0 {
		t.Errorf("nothing was signed, and %v is said", got)
	}
	if got := splitNotices(2); len(got) != 1 || !strings.Contains(got[0].VI, "HAI LỊCH SỬ: 2") || !strings.Contains(got[0].EN, "TWO HISTORIES: 2") {
		t.Errorf("two signatures: %v", got)
	}
}
