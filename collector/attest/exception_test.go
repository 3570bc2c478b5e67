package attest

import (
	"maps"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/evidence"
	"egovmon/collector/profile"
)

func noFirewall() ExceptionForm {
	return ExceptionForm{Control: "m04", Unit: "xa-an-thanh", Reason: "phần mềm kế toán cũ", Measure: "máy đứng sau tường lửa của xã", ValidTo: "2026-12-31"}
}

func TestNewException(t *testing.T) {
	if x, err := NewException(noFirewall(), setting()); err != nil || x.ValidTo != date("2026-12-31") || x.EnteredBy != "lan@tuky" {
		t.Fatalf("%+v, %v", x, err)
	}
	for want, change := range map[string]func(*ExceptionForm){
		"control:":               func(f *ExceptionForm) { f.Control = "m99" },
		"unit:":                  func(f *ExceptionForm) { f.Unit = "xa-khac" },
		"reason: missing":        func(f *ExceptionForm) { f.Reason = " " },
		"measure: missing":       func(f *ExceptionForm) { f.Measure = "" },
		"valid_to: missing":      func(f *ExceptionForm) { f.ValidTo = "" },
		"is past":                func(f *ExceptionForm) { f.ValidTo = "2026-11-22" },
		"more than 366 days":     func(f *ExceptionForm) { f.ValidTo = "2027-11-25" },
		"reason: \"a\\x00\"":     func(f *ExceptionForm) { f.Reason = "a\x00" },
		"measure: 641 bytes":     func(f *ExceptionForm) { f.Measure = strings.Repeat("x", 641) },
		"valid_to: \"31/12/26\"": func(f *ExceptionForm) { f.ValidTo = "31/12/26" },
	} {
		f := noFirewall()
		change(&f)
		if _, err := NewException(f, setting()); err == nil || !strings.Contains(err.Error(), strings.SplitN(want, "\"", 2)[0]) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// TestExceptionInTheLog goes the whole way: entered, approved by another, over, withdrawn.
func TestExceptionInTheLog(t *testing.T) {
	log := openLog(t)
	x, err := NewException(noFirewall(), setting())
	if err != nil {
		t.Fatal(err)
	}
	if x, err = AddException(t.Context(), log, x); err != nil {
		t.Fatal(err)
	}
	state := func(now time.Time) (State, State) {
		t.Helper()
		f, err := Load(log)
		if err != nil || len(f.Unreadable()) > 0 {
			t.Fatal(err, f.Unreadable())
		}
		m := NewMatrix([]string{"xa-an-thanh"}, []profile.Control{control("m04", 1)}, []Measured{{Unit: "xa-an-thanh", Machine: "pc", Control: "m04", State: check.Down}}, nil, now, f.Exceptions()...)
		c := m.Units[0].Layers[0].Measured.Cells[0]
		return c.State, c.Beneath
	}
	if s, _ := state(testNow); s != Fail {
		t.Errorf("nobody has approved it: %s", s)
	}
	for _, who := range []string{"lan@tuky", " LAN@tuky ", ""} {
		if err := ApproveException(t.Context(), log, x, who, testNow); err == nil {
			t.Errorf("%q approved what Lan entered", who)
		}
	}
	if err := ApproveException(t.Context(), log, x, "huong@tuky", date("2027-01-01").Start()); err == nil {
		t.Error("an exception that is over was approved")
	}
	if err := ApproveException(t.Context(), log, x, "huong@tuky", testNow); err != nil {
		t.Fatal(err)
	}
	if s, beneath := state(testNow); s != Excepted || beneath != Fail {
		t.Errorf("%s over %s", s, beneath)
	}
	if s, _ := state(date("2026-12-31").Start()); s != Excepted {
		t.Errorf("on its last day: %s", s)
	}
	if s, _ := state(date("2027-01-01").Start()); s != Fail {
		t.Errorf("after its last day: %s", s)
	}
	f, err := Load(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := ApproveException(t.Context(), log, f.Exceptions()[0], "tam@tuky", testNow); err == nil {
		t.Error("it was approved twice")
	}
	if err := WithdrawException(t.Context(), log, x, "lan@tuky", testNow); err != nil {
		t.Fatal(err)
	}
	if s, _ := state(testNow); s != Fail {
		t.Errorf("withdrawn: %s", s)
	}
}

// TestExceptionLeaves reads leaves that nobody should have written.
func TestExceptionLeaves(t *testing.T) {
	const at = "2026-11-23T03:00:00.000Z"
	enter := map[string]string{"act": "enter", "control": "m04", "unit": "u", "reason": "r", "measure": "m", "valid_to": "2026-12-31", "by": "lan", "at": at}
	for name, second := range map[string]map[string]string{
		"approved by who entered it": {"act": "approve", "of": "0", "by": "Lan", "at": at},
		"approved by nobody":         {"act": "approve", "of": "0", "at": at},
		"of another leaf":            {"act": "approve", "of": "7", "by": "huong", "at": at},
		"an act of the future":       {"act": "extend", "of": "0", "by": "huong", "at": at},
		"without a time":             {"act": "approve", "of": "0", "by": "huong"},
	} {
		f := &Fold{}
		for i, fields := range []map[string]string{enter, second} {
			e, err := evidence.NewEntry(evidence.Exception, fields, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Feed(evidence.Stored{Entry: e, Index: int64(i)}); err != nil {
				t.Fatal(err)
			}
		}
		if xs := f.Exceptions(); len(xs) != 1 || xs[0].ApprovedBy != "" || len(f.Unreadable()) != 1 {
			t.Errorf("%s: %+v, %v", name, xs, f.Unreadable())
		}
	}
}

func TestExceptionOfAMachine(t *testing.T) {
	x := Exception{Control: "m04", Unit: "u", Machine: "pc-1", ValidTo: date("2026-12-31"), ApprovedBy: "b"}
	down := func(machine string) Measured {
		return Measured{Unit: "u", Machine: machine, Control: "m04", State: check.Down}
	}
	up := down("pc-1")
	up.State = check.Up
	cell := func(results []Measured, xs ...Exception) Cell {
		return NewMatrix([]string{"u"}, []profile.Control{control("m04", 1)}, results, nil, testNow, xs...).Units[0].Layers[0].Measured.Cells[0]
	}
	if c := cell([]Measured{down("pc-1"), down("pc-2")}, x); c.State != Fail || c.Machines[Excepted] != 1 || c.Machines[Fail] != 1 {
		t.Errorf("the other machine still fails: %s %v", c.State, c.Machines)
	}
	if c := cell([]Measured{down("pc-1")}, x); c.State != Excepted || c.Beneath != Fail {
		t.Errorf("%s over %s", c.State, c.Beneath)
	}
	if c := cell([]Measured{up}, x); c.State != Pass || c.Beneath != "" {
		t.Errorf("what is met needs no exception: %s over %s", c.State, c.Beneath)
	}
	other := x
	other.Unit = "v"
	if c := cell([]Measured{down("pc-1")}, other); c.State != Fail {
		t.Errorf("another unit's: %s", c.State)
	}
	// A document that is missing may be excepted for the unit, not for a machine.
	for _, tt := range []struct {
		machine string
		want    State
	}{{"", Excepted}, {"pc-1", Missing}} {
		m := NewMatrix([]string{"u"}, []profile.Control{control("a02", 1)}, nil, nil, testNow, Exception{Control: "a02", Unit: "u", Machine: tt.machine, ValidTo: date("2026-12-31"), ApprovedBy: "b"})
		if s := m.Units[0].Layers[0].Attested.Cells[0].State; s != tt.want {
			t.Errorf("a02, machine %q: %s", tt.machine, s)
		}
	}
}

func TestApprove(t *testing.T) {
	log := openLog(t)
	f := rules()
	f.ApprovedBy = ""
	a, err := New(f, setting())
	if err != nil {
		t.Fatal(err)
	}
	if a, err = Add(t.Context(), log, a, strings.NewReader("%PDF-1.7 quy chế")); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"", "lan@tuky", "Lan@TuKy"} {
		if _, err := Approve(t.Context(), log, a, who, testNow); err == nil {
			t.Errorf("%q approved what Lan entered", who)
		}
	}
	done, err := Approve(t.Context(), log, a, "huong@tuky", testNow)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Approve(t.Context(), log, done, "tam@tuky", testNow); err == nil {
		t.Error("it was approved twice")
	}
	all, err := Load(log)
	if err != nil || len(all.Unreadable()) > 0 {
		t.Fatal(err, all.Unreadable())
	}
	list := all.Current()
	if len(list) != 1 || list[0] != done || !list[0].Stored || list[0].Blob != a.Leaf || list[0].Document != a.Document {
		t.Errorf("%+v", list)
	}
	if s := StateOf(control("a02", 1), list, testNow); s.Unapproved || s.State != Pass {
		t.Errorf("%+v", s)
	}
}

// TestApproveLeaves reads approvals that nobody should have written.
func TestApproveLeaves(t *testing.T) {
	a, err := New(rules(), setting())
	if err != nil {
		t.Fatal(err)
	}
	a.ApprovedBy = ""
	first := a.fields()
	for name, change := range map[string]func(map[string]string){
		"another document":    func(m map[string]string) { m["document"] = strings.Repeat("ab", 32) + " 5" },
		"a later end":         func(m map[string]string) { m["valid_to"] = "2030-01-01" },
		"by the same person":  func(m map[string]string) { m["approved_by"] = "LAN@tuky" },
		"by nobody":           func(m map[string]string) { delete(m, "approved_by") },
		"of a leaf elsewhere": func(m map[string]string) { m["approves"] = "9" },
		"of no leaf":          func(m map[string]string) { m["approves"] = "x" },
	} {
		second := map[string]string{}
		maps.Copy(second, first)
		second["approves"], second["approved_by"] = "0", "huong@tuky"
		change(second)
		f := &Fold{}
		for i, fields := range []map[string]string{first, second} {
			e, err := evidence.NewEntry(evidence.Attestation, fields, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Feed(evidence.Stored{Entry: e, Index: int64(i)}); err != nil {
				t.Fatal(err)
			}
		}
		if l := f.Current(); len(l) != 1 || l[0].Acted || len(f.Unreadable()) != 1 {
			t.Errorf("%s: %+v, %v", name, l, f.Unreadable())
		}
	}
}
