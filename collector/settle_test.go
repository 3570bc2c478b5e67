package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/collector/evidence"
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

// TestUnplannedNotices says how many machines have no new plan, with the first error in one line of bounded length.
func TestUnplannedNotices(t *testing.T) {
	if got := planNotices(nil); got != nil {
		t.Errorf("every machine has its plan, and %v is said", got)
	}
	got := planNotices([]error{errors.New("plan of pc-1: option \"url\": x\n" + strings.Repeat("y", 1000)), errors.New("z")})
	if len(got) != 1 || !strings.Contains(got[0].VI, "2 máy chưa nhận được kế hoạch") || !strings.Contains(got[0].EN, "2 machines have no plan") || !strings.HasSuffix(got[0].EN, `pc-1: option "url": x`) {
		t.Errorf("%v", got)
	}
	if got := planNotices([]error{errors.New(strings.Repeat("y", 1000))}); len(got[0].EN) > 600 {
		t.Errorf("%d bytes are said", len(got[0].EN))
	}
}

// TestUnreadNotices says on the first page what of the log could not be read.
func TestUnreadNotices(t *testing.T) {
	if got := unreadNotices(nil); got != nil {
		t.Errorf("all was read, and %v is said", got)
	}
	ran := false
	err := withCenter(t.Context(), t.TempDir(), &bytes.Buffer{}, func(string) error { return errNotRunning }, func(c *center) error {
		ran = true
		e, err := evidence.NewEntry(evidence.Certificate, map[string]string{"unit": "xa-an-thanh", "entered_at": "soon"}, nil, nil)
		if err != nil {
			return err
		}
		if _, err := c.store.Append(t.Context(), e); err != nil {
			return err
		}
		if _, err := c.certificates(); err != nil {
			return err
		}
		got := unreadNotices(c.unread())
		if len(got) != 1 || !strings.HasPrefix(got[0].VI, "1 mục trong nhật ký không đọc được") || !strings.Contains(got[0].EN, "1 entries of the log cannot be read") || !strings.Contains(got[0].EN, "certificate in leaf") {
			t.Errorf("%v", got)
		}
		if err := c.planMachines(t.Context()); err != nil || c.unplanned.Load() == nil || len(*c.unplanned.Load()) != 0 {
			t.Errorf("%v, %v", err, c.unplanned.Load())
		}
		c.unplanned.Store(&[]error{errors.New("plan of pc-1: x")})
		v, err := (&source{c: c}).View(t.Context())
		if err != nil {
			return err
		}
		for _, want := range append(got, planNotices(*c.unplanned.Load())...) {
			if !slices.Contains(v.Notices, want) {
				t.Errorf("the first page says %v, want %v", v.Notices, want)
			}
		}
		return nil
	})
	if err != nil || !ran {
		t.Fatal(err, ran)
	}
}
