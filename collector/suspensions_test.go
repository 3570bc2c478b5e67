package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/collector/profile"
	"egovmon/collector/suspend"
)

func suspensionCmd(t *testing.T, dir string, want int, args ...string) string {
	t.Helper()
	var out, errs strings.Builder
	if code := run(t.Context(), append([]string{"suspension", "--data", dir}, args...), &out, &errs); code != want {
		t.Fatalf("suspension %v: exit %d, want %d: %s%s", args, code, want, out.String(), errs.String())
	}
	return out.String() + errs.String()
}

// TestSuspensionCommand enters notices on the command line and from a file, takes them back, and sees them in the figures.
func TestSuspensionCommand(t *testing.T) {
	dir, scratch := t.TempDir(), t.TempDir()
	day := func(days int) string { return profile.DateOf(time.Now().AddDate(0, 0, days)).String() }
	common := []string{"--number", "15/TB", "--place", "Cổng TTĐT tỉnh"}
	add := func(want int, args ...string) string {
		return suspensionCmd(t, dir, want, append(append([]string{"add"}, args...), common...)...)
	}
	if out := suspensionCmd(t, dir, exitDone, "list"); !strings.Contains(out, "Chưa có") {
		t.Errorf("an empty list: %s", out)
	}
	if out := add(exitDone, "--service", "mail", "--from", day(40)+" 22:00", "--to", day(41)+" 02:00", "--announced", day(0)); !strings.Contains(out, "đúng hạn") {
		t.Errorf("announced 40 days before: %s", out)
	}
	if out := add(exitDone, "--service", "mail", "--from", day(1)+" 22:00", "--to", day(2)+" 02:00", "--announced", day(0), "--lang", "en"); !strings.Contains(out, "too late") {
		t.Errorf("announced a day before: %s", out)
	}
	if out := add(exitFailed, "--service", "thu", "--from", "x", "--to", "y", "--announced", "z"); strings.Count(out, ";") < 3 {
		t.Errorf("not all that is wrong: %s", out)
	}
	// Force majeure, all of yesterday, with its document.
	document := filepath.Join(scratch, "bien-ban.txt")
	if err := os.WriteFile(document, []byte("biên bản"), 0o600); err != nil {
		t.Fatal(err)
	}
	add(exitDone, "--ground", "force_majeure", "--service", "thu_thap", "--from", day(-1)+" 00:00", "--to", day(0)+" 00:00", "--announced", day(0), "--document", document)
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"availability", "--data", dir, "--from", day(-1), "--to", day(-1), "--service", "thu_thap", "--json"}, &out, &errs); code != exitDone {
		t.Fatalf("availability: %s", errs.String())
	}
	var a figuresAnswer
	if err := json.Unmarshal([]byte(out.String()), &a); err != nil || len(a.Rows) == 0 {
		t.Fatalf("%v, %.300s", err, out.String())
	}
	if c := a.Rows[0].Calendars[0]; c.Account.Excluded != 0 || c.Afterwards == nil || c.Afterwards.Account.Excluded != 24*60*60 {
		t.Errorf("a day of force majeure: %+v, want it counted, and both figures", c)
	}
	// A file with two power cuts; a wrong one enters neither.
	file := filepath.Join(scratch, "cat-dien.yaml")
	var text strings.Builder
	text.WriteString("suspensions:\n")
	for _, unit := range []string{"xa-an-thanh", "xa-%s"} {
		text.WriteString(fmt.Sprintf("  - {ground: power_cut, unit: %s, from: \"%s 06:00\", to: \"%s 18:00\", number: \"7/PC\", announced: \"%s\", place: \"điện lực\"}\n", unit, day(3), day(3), day(0)))
	}
	write := func(second string) {
		if err := os.WriteFile(file, fmt.Appendf(nil, strings.ReplaceAll(text.String(), "xa-%s", "%s"), second), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("xa-khong-co")
	if out := suspensionCmd(t, dir, exitFailed, "add", "--file", file); !strings.Contains(out, "number 2") {
		t.Errorf("a wrong entry of a file: %s", out)
	}
	if out := suspensionCmd(t, dir, exitDone, "list"); strings.Contains(out, "7/PC") {
		t.Errorf("a file of which one entry is wrong was entered in part:\n%s", out)
	}
	write("xa-van-to")
	suspensionCmd(t, dir, exitDone, "add", "--file", file)
	var list []suspension
	if err := json.Unmarshal([]byte(suspensionCmd(t, dir, exitDone, "list", "--json")), &list); err != nil || len(list) != 5 {
		t.Fatalf("%v, %d notices, want 5", err, len(list))
	}
	if list[0].Service != "mail" || list[0].Standing != suspend.InTime || list[0].Announced != day(0) || list[0].EnteredBy == "" {
		t.Errorf("the latest: %+v", list[0])
	}
	leaf := fmt.Sprint(list[0].Leaf)
	if out := suspensionCmd(t, dir, exitFailed, "withdraw", leaf); !strings.Contains(out, "note: it is missing") {
		t.Errorf("without a reason: %s", out)
	}
	if out := suspensionCmd(t, dir, exitDone, "withdraw", leaf, "--note", "hoãn"); !strings.Contains(out, "đã hủy") {
		t.Errorf("taken back: %s", out)
	}
	for want, args := range map[string][]string{"taken back already": {"withdraw", leaf, "--note", "x"}, "no notice": {"withdraw", "0", "--note", "x"}} {
		if out := suspensionCmd(t, dir, exitFailed, args...); !strings.Contains(out, want) {
			t.Errorf("%v: %s", args, out)
		}
	}
	for _, args := range [][]string{{"withdraw"}, {"withdraw", "x"}, {"drop", "1"}, {"add", "--file", "/nowhere"}, {"add", "--document", "/nowhere"}} {
		suspensionCmd(t, dir, exitUsage, args...)
	}
}

// TestNoticesOfOtherUnits: who is bound to a unit enters and takes back those of that unit.
func TestNoticesOfOtherUnits(t *testing.T) {
	s, err := offlineSetup(t.TempDir(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	c, err := openCenter(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.close() })
	now := time.Now()
	form := func(unit string) suspendRequest {
		return suspendRequest{Add: []suspend.Form{{Ground: "power_cut", Unit: unit, From: now.Add(24 * time.Hour).Format(time.RFC3339), To: now.Add(30 * time.Hour).Format(time.RFC3339),
			Number: "7/PC", Announced: profile.DateOf(now).String(), Place: "x"}}}
	}
	if _, err := c.suspend(t.Context(), form("xa-an-thanh"), "an", "xa-van-to"); !errors.Is(err, errForeign) {
		t.Errorf("another unit's: %v", err)
	}
	list, err := c.suspend(t.Context(), form("xa-an-thanh"), "an", "xa-an-thanh")
	if err != nil || len(list) != 1 {
		t.Fatalf("its own: %v", err)
	}
	back := suspendRequest{Withdraw: &list[0].Leaf, Note: "x"}
	if _, err := c.suspend(t.Context(), back, "binh", "xa-van-to"); !errors.Is(err, errForeign) {
		t.Errorf("another unit's, taken back: %v", err)
	}
	if _, err := c.suspend(t.Context(), back, "an", "xa-an-thanh"); err != nil {
		t.Errorf("its own, taken back: %v", err)
	}
	many := suspendRequest{Add: make([]suspend.Form, maxNotices+1)}
	if _, err := c.suspend(t.Context(), many, "an", ""); err == nil || !strings.Contains(err.Error(), "at most 200") {
		t.Errorf("very many: %v", err)
	}
	both := suspendRequest{Add: make([]suspend.Form, 2), Document: []byte("x")}
	if _, err := c.suspend(t.Context(), both, "an", ""); err == nil || !strings.Contains(err.Error(), "one notice") {
		t.Errorf("one document for two: %v", err)
	}
}
