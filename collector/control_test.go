package main

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/collector/attest"
	"egovmon/collector/profile"
)

func controlCmd(t *testing.T, dir string, want int, args ...string) string {
	t.Helper()
	var out, errs strings.Builder
	if code := run(t.Context(), append([]string{"control", args[0], "--data", dir}, args[1:]...), &out, &errs); code != want {
		t.Fatalf("control %v: exit %d, want %d: %s%s", args, code, want, out.String(), errs.String())
	}
	return out.String() + errs.String()
}

// TestControlCommand enters a document and an exception, and follows both to the second pair of eyes and the evidence file.
func TestControlCommand(t *testing.T) {
	dir, scratch := t.TempDir(), t.TempDir()
	const unit = "xa-tan-ky-2025"
	paper := filepath.Join(scratch, "quyche.pdf")
	if err := os.WriteFile(paper, []byte("%PDF-1.7 quy chế"), 0o600); err != nil {
		t.Fatal(err)
	}
	document := []string{"attest", "--control", "a02", "--unit", unit, "--number", "12/QĐ-UBND", "--issued", "2026-01-05", "--issuer", "UBND", "--signer", "Nguyễn Văn A", "--file", paper}
	controlCmd(t, dir, exitDone, document...)
	if out := controlCmd(t, dir, exitFailed, "except", "--unit", unit, "--control", "m04"); !strings.Contains(out, "measure: missing") || !strings.Contains(out, "valid_to: missing") {
		t.Errorf("not all that is wrong: %s", out)
	}
	soon := (profile.DateOf(time.Now()) + 100).String()
	controlCmd(t, dir, exitDone, "except", "--unit", unit, "--control", "m04", "--reason", "máy cũ", "--measure", "sau tường lửa", "--valid-to", soon)

	var v controlsView
	if err := json.Unmarshal([]byte(controlCmd(t, dir, exitDone, "status", "--json")), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Exceptions) != 1 || len(v.Unapproved) != 1 || len(v.Units) != 1 || v.Units[0].Unit != unit {
		t.Fatalf("%+v", v)
	}
	for _, l := range v.Units[0].Layers {
		for _, s := range []attest.Share{l.Measured, l.Attested} {
			sum := 0.0
			for _, x := range s {
				sum += x
			}
			if len(s) > 0 && (sum < 0.999 || sum > 1.001) {
				t.Errorf("layer %d: the parts add up to %v", l.Layer, sum)
			}
		}
	}
	// The same program entered both: it is no second person.
	for _, leaf := range []int64{v.Exceptions[0].Leaf, v.Unapproved[0].Leaf} {
		if out := controlCmd(t, dir, exitFailed, "approve", strconv.FormatInt(leaf, 10)); !strings.Contains(out, "second person") {
			t.Errorf("leaf %d: %s", leaf, out)
		}
	}
	if out := controlCmd(t, dir, exitDone, "status"); !strings.Contains(out, "Việc cần làm trước") || !strings.Contains(out, "Ngoại lệ được duyệt") || !strings.Contains(out, "Chưa có người thứ hai duyệt") {
		t.Errorf("%s", out)
	}

	file := filepath.Join(scratch, "hs.zip")
	controlCmd(t, dir, exitDone, "file", "--unit", unit, "--out", file)
	controlCmd(t, dir, exitDone, "verify", file)
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f, err := z.Open("lop-1/a02/12-QĐ-UBND.pdf")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || string(b) != "%PDF-1.7 quy chế" {
		t.Errorf("%q, %v", b, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	controlCmd(t, dir, exitFailed, "verify", file)
	controlCmd(t, dir, exitFailed, "file", "--unit", "xa-khong-co", "--out", file)
	controlCmd(t, dir, exitUsage, "approve", "x")
	controlCmd(t, dir, exitUsage, "extend")
	controlCmd(t, dir, exitDone, "withdraw", strconv.FormatInt(v.Exceptions[0].Leaf, 10))
	if out := controlCmd(t, dir, exitDone, "status"); strings.Contains(out, "Ngoại lệ") {
		t.Errorf("withdrawn, but shown: %s", out)
	}
}

// TestControlsOfAUnit keeps who is bound to a unit to it, and lets a second person approve.
func TestControlsOfAUnit(t *testing.T) {
	s, err := offlineSetup(t.TempDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c, err := openCenter(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	const unit = "xa-tan-ky-2025"
	form := attest.ExceptionForm{Control: "m04", Unit: unit, Reason: "r", Measure: "m", ValidTo: (profile.DateOf(c.now()) + 9).String()}
	if _, err := c.actOnControls(t.Context(), controlsRequest{Except: &form}, "lan@tuky", "xa-khac"); !errors.Is(err, errForeign) {
		t.Errorf("for another unit: %v", err)
	}
	x, err := c.actOnControls(t.Context(), controlsRequest{Except: &form}, "lan@tuky", unit)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		by, unit string
		want     bool
	}{{"lan@tuky", "", false}, {"huong@tuky", "xa-khac", false}, {"huong@tuky", unit, true}, {"tam@tuky", "", false}} {
		if _, err := c.actOnControls(t.Context(), controlsRequest{Approve: &x.Leaf}, tt.by, tt.unit); (err == nil) != tt.want {
			t.Errorf("approved by %s of %q: %v", tt.by, tt.unit, err)
		}
	}
	if _, err := c.actOnControls(t.Context(), controlsRequest{}, "lan@tuky", ""); err == nil {
		t.Error("nothing was done, and no error")
	}
	nowhere := int64(0)
	if _, err := c.actOnControls(t.Context(), controlsRequest{Withdraw: &nowhere}, "lan@tuky", ""); err == nil {
		t.Error("a leaf about something else was withdrawn")
	}
}

// TestControlOf maps the kinds that measure a control beside other uses.
func TestControlOf(t *testing.T) {
	for kind, want := range map[string]string{"control": "m04", "neighbours": "m24", "inventory": "m25", "maildns": "m28", "http": ""} {
		if got := controlOf(plan.Check{Kind: kind, Options: check.Options{"id": "m04"}}); got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}
