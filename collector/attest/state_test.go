package attest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

func date(s string) profile.Date {
	if s == "" {
		return 0
	}
	d, err := profile.ParseDate(s)
	if err != nil {
		panic(err)
	}
	return d
}

// doc is a document that was entered on the day after its issue.
func doc(id string, f Finding, issued, to string) Attestation {
	return Attestation{Control: id, Unit: "u", Finding: f, Number: issued, Issued: date(issued), ValidTo: date(to), EnteredAt: date(issued).Start().Add(36 * time.Hour), ApprovedBy: "b", Acted: true}
}

func by(a Attestation, organisation, number string) Attestation {
	a.Organisation, a.OrganisationID = organisation, number
	return a
}

func TestStateOf(t *testing.T) {
	// 2026-11-23 in Vietnam.
	tests := []struct {
		name   string
		docs   []Attestation
		want   State
		reason check.Reason
		left   int
		warn   int
	}{
		{"none", nil, Missing, check.EvidenceMissing, 0, 0},
		{"of another control", []Attestation{doc("a03", Met, "2026-01-01", "")}, Missing, check.EvidenceMissing, 0, 0},
		{"without end", []Attestation{doc("a02", Met, "2020-01-01", "")}, Pass, check.OK, 0, 0},
		{"61 days left", []Attestation{doc("a02", Met, "2026-01-01", "2027-01-23")}, Pass, check.OK, 61, 0},
		{"60 days left", []Attestation{doc("a02", Met, "2026-01-01", "2027-01-22")}, Pass, check.EvidenceExpiring, 60, 60},
		{"31 days left", []Attestation{doc("a02", Met, "2026-01-01", "2026-12-24")}, Pass, check.EvidenceExpiring, 31, 60},
		{"30 days left", []Attestation{doc("a02", Met, "2026-01-01", "2026-12-23")}, Pass, check.EvidenceExpiring, 30, 30},
		{"7 days left", []Attestation{doc("a02", Met, "2026-01-01", "2026-11-30")}, Pass, check.EvidenceExpiring, 7, 7},
		{"last day", []Attestation{doc("a02", Met, "2026-01-01", "2026-11-23")}, Pass, check.EvidenceExpiring, 0, 7},
		{"ended yesterday", []Attestation{doc("a02", Met, "2026-01-01", "2026-11-22")}, Expired, check.EvidenceExpired, -1, 0},
		{"in part, ends soon", []Attestation{doc("a02", InPart, "2026-01-01", "2026-11-24")}, Partial, check.ControlPartial, 1, 7},
		{"not met", []Attestation{doc("a02", NotMet, "2026-01-01", "")}, Fail, check.ControlFail, 0, 0},
		{"not applicable", []Attestation{doc("a02", NotNeeded, "2026-01-01", "")}, NotApplicable, check.OK, 0, 0},
		{"not applicable, ended", []Attestation{doc("a02", NotNeeded, "2026-01-01", "2026-11-01")}, Expired, check.EvidenceExpired, -22, 0},
		{"withdrawn", []Attestation{doc("a02", Withdrawn, "2026-01-01", "")}, Missing, check.EvidenceMissing, 0, 0},
		{"issued tomorrow", []Attestation{doc("a02", Met, "2026-11-24", "")}, Missing, check.EvidenceMissing, 0, 0},
		{"the last issued decides", []Attestation{doc("a02", NotMet, "2026-03-01", ""), doc("a02", Met, "2026-02-01", "")}, Fail, check.ControlFail, 0, 0},
		{"what has ended does not", []Attestation{doc("a02", NotMet, "2026-03-01", "2026-04-01"), doc("a02", Met, "2026-02-01", "")}, Pass, check.OK, 0, 0},
		{"the last ended", []Attestation{doc("a02", Met, "2025-01-01", "2025-12-31"), doc("a02", Met, "2024-01-01", "2026-11-13")}, Expired, check.EvidenceExpired, -10, 0},
		{"a finding of a newer version", []Attestation{doc("a02", "splendid", "2026-01-01", "")}, Unknown, check.NotSupported, 0, 0},
	}
	// 23:59 of the day before in UTC is still the day in Vietnam.
	for _, now := range []time.Time{testNow, time.Date(2026, 11, 22, 17, 0, 0, 0, time.UTC), time.Date(2026, 11, 23, 16, 59, 59, 0, time.UTC)} {
		for _, tt := range tests {
			s := StateOf(control("a02", 1), tt.docs, now)
			if s.State != tt.want || s.Reason() != tt.reason || s.DaysLeft != tt.left || s.Warn != tt.warn || (s.Document == nil) != (tt.want == Missing) {
				t.Errorf("%s at %v: %+v (%s), want %s (%s), %d days, warning %d", tt.name, now, s, s.Reason(), tt.want, tt.reason, tt.left, tt.warn)
			}
			if !s.Reason().Valid() {
				t.Errorf("%s: reason %q is not on the list", tt.name, s.Reason())
			}
		}
	}
}

func TestCycle(t *testing.T) {
	c := control("a09", 3)
	c.Limits = []profile.Limit{{Name: "cycle_days", Value: 365}}
	for issued, want := range map[string]State{"2025-11-23": Pass, "2025-11-22": Expired} {
		if s := StateOf(c, []Attestation{by(doc("a09", Met, issued, ""), "X", "")}, testNow); s.State != want {
			t.Errorf("issued %s: %s until %s, want %s", issued, s.State, s.ValidTo, want)
		}
	}
	if s := StateOf(c, []Attestation{by(doc("a09", Met, "2020-01-01", "2030-01-01"), "X", "")}, testNow); s.State != Pass {
		t.Errorf("its own end goes before the cycle: %s", s.State)
	}
}

func TestApproval(t *testing.T) {
	a := doc("a02", Met, "2026-01-01", "")
	a.Acted = false
	if s := StateOf(control("a02", 1), []Attestation{a}, testNow); !s.Unapproved {
		t.Error("who entered it named a second person, who did nothing")
	}
	a.Acted = true
	if s := StateOf(control("a02", 1), []Attestation{a}, testNow); s.Unapproved {
		t.Error("approved")
	}
	a.ApprovedBy = ""
	if s := StateOf(control("a02", 1), []Attestation{a}, testNow); !s.Unapproved {
		t.Error("nobody approved it")
	}
}

// One person alone can prove nothing: what nobody else has approved waits, except that it may say that a control is not met.
func TestFourEyes(t *testing.T) {
	alone := func(a Attestation) Attestation { a.Acted = false; return a }
	nobody := func(a Attestation) Attestation { a.ApprovedBy, a.Acted = "", false; return a }
	watch := by(doc("a07", Met, "2026-01-01", ""), "Viettel", "")
	tests := []struct {
		name    string
		control string
		docs    []Attestation
		want    State
	}{
		{"nobody approved", "a02", []Attestation{nobody(doc("a02", Met, "2026-01-01", ""))}, Waiting},
		{"only named", "a02", []Attestation{alone(doc("a02", Met, "2026-01-01", ""))}, Waiting},
		{"in part", "a02", []Attestation{nobody(doc("a02", InPart, "2026-01-01", ""))}, Waiting},
		{"does not apply", "a02", []Attestation{nobody(doc("a02", NotNeeded, "2026-01-01", ""))}, Waiting},
		{"not met", "a02", []Attestation{nobody(doc("a02", NotMet, "2026-01-01", ""))}, Fail},
		{"an approved one goes before a newer", "a02", []Attestation{nobody(doc("a02", InPart, "2026-03-01", "")), doc("a02", Met, "2026-01-01", "")}, Pass},
		{"a newer one says not met", "a02", []Attestation{nobody(doc("a02", NotMet, "2026-03-01", "")), doc("a02", Met, "2026-01-01", "")}, Fail},
		{"the approved one has ended", "a02", []Attestation{nobody(doc("a02", Met, "2026-03-01", "")), doc("a02", Met, "2026-01-01", "2026-02-01")}, Waiting},
		{"it has ended itself", "a02", []Attestation{nobody(doc("a02", Met, "2026-01-01", "2026-02-01"))}, Expired},
		{"an assessment by who watches", "a09", []Attestation{watch, nobody(by(doc("a09", Met, "2026-03-01", ""), "viettel", ""))}, Fail},
		{"an assessment by another", "a09", []Attestation{watch, nobody(by(doc("a09", Met, "2026-03-01", ""), "Bkav", ""))}, Waiting},
		{"a watcher that nobody approved", "a09", []Attestation{nobody(watch), by(doc("a09", Met, "2026-03-01", ""), "Viettel", "")}, Fail},
	}
	for _, tt := range tests {
		c := control(tt.control, 1)
		s := StateOf(c, tt.docs, testNow)
		if s.State != tt.want || s.State == Waiting && (s.Reason() != check.EvidenceMissing || !s.Unapproved || s.Document == nil) {
			t.Errorf("%s: %s (%s), want %s", tt.name, s.State, s.Reason(), tt.want)
		}
		m := NewMatrix([]string{"u"}, []profile.Control{c}, nil, tt.docs, testNow)
		if got := m.Units[0].Layers[0].Attested.Tally; got[tt.want] != 1 || got.Applicable() != 1 {
			t.Errorf("%s: the matrix has %v", tt.name, got)
		}
		if list := m.Worklist(""); (len(list) == 0) != (tt.want == Pass) {
			t.Errorf("%s: %d things to do", tt.name, len(list))
		}
	}
	if (Tally{Waiting: 1, Pass: 5, Partial: 2}).Worst() != Waiting {
		t.Error("what waits is hidden by what is met")
	}
}

func TestIndependence(t *testing.T) {
	watch := doc("a07", Met, "2026-01-01", "2026-12-31")
	assess := doc("a09", Met, "2026-06-01", "2027-06-01")
	other := watch
	other.Unit = "v"
	tests := []struct {
		name string
		docs []Attestation
		want bool
	}{
		{"nobody watches", []Attestation{by(assess, "Bkav", "")}, true},
		{"another one", []Attestation{by(watch, "Viettel", ""), by(assess, "Bkav", "")}, true},
		{"the same", []Attestation{by(watch, "Viettel", ""), by(assess, "Viettel", "")}, false},
		{"the same, written otherwise", []Attestation{by(watch, "CÔNG TY  AN NINH MẠNG ", ""), by(assess, "Công ty an ninh mạng", "")}, false},
		{"the same number", []Attestation{by(watch, "Viettel", "0100109106"), by(assess, "Tổng công ty", "0100109106")}, false},
		{"the same name, other numbers", []Attestation{by(watch, "Chi nhánh", "1"), by(assess, "Chi nhánh", "2")}, true},
		{"one number is missing", []Attestation{by(watch, "Viettel", "1"), by(assess, "viettel", "")}, false},
		{"watched before", []Attestation{by(doc("a07", Met, "2025-01-01", "2026-05-31"), "Bkav", ""), by(assess, "Bkav", "")}, true},
		{"watched until the day", []Attestation{by(doc("a07", Met, "2025-01-01", "2026-06-01"), "Bkav", ""), by(assess, "Bkav", "")}, false},
		{"watches since", []Attestation{by(doc("a07", Met, "2026-06-02", ""), "Bkav", ""), by(assess, "Bkav", "")}, true},
		{"two watch", []Attestation{by(watch, "Viettel", ""), by(doc("a07", Met, "2025-01-01", ""), "Bkav", ""), by(assess, "Bkav", "")}, false},
		{"at another unit", []Attestation{by(other, "Bkav", ""), by(assess, "Bkav", "")}, true},
		{"taken back", []Attestation{by(doc("a07", Withdrawn, "2025-01-01", ""), "Bkav", ""), by(assess, "Bkav", "")}, true},
		{"nobody named", []Attestation{by(watch, "Viettel", ""), by(assess, "", "")}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := StateOf(control("a09", 3), tt.docs, testNow)
			want := map[bool]State{true: Pass, false: Fail}[tt.want]
			if s.State != want || s.Dependent == tt.want {
				t.Errorf("%s, dependent %v; want %s", s.State, s.Dependent, want)
			}
		})
	}
	// What has ended is that first, and a watcher is never judged by this rule.
	old := by(doc("a09", Met, "2026-06-01", "2026-07-01"), "Viettel", "")
	if s := StateOf(control("a09", 3), []Attestation{by(watch, "Viettel", ""), old}, testNow); s.State != Expired {
		t.Errorf("%s", s.State)
	}
	if s := StateOf(control("a07", 2), []Attestation{by(watch, "Viettel", ""), by(assess, "Viettel", "")}, testNow); s.State != Pass {
		t.Errorf("%s", s.State)
	}
}

func TestMatrix(t *testing.T) {
	at := func(machine, id string, r check.Reason) Measured {
		return Measured{Unit: "u", Machine: machine, Control: id, State: r.State(), Reason: r, Slot: testNow.Add(-time.Hour), To: testNow.Add(time.Second)}
	}
	stale := at("pc1", "m16", check.OK)
	stale.To = testNow
	elsewhere := at("pc9", "m04", check.ControlFail)
	elsewhere.Unit = "v"
	controls := []profile.Control{control("m04", 1), control("m05", 1), control("m16", 1, 2), control("m19", 2, 4), control("m20", 1), control("m21", 1), control("a02", 1), control("a07", 2), control("a15", 1, 3), control("a99", 9)}
	foreign := doc("a02", Met, "2026-01-01", "")
	foreign.Unit = "v"
	m := NewMatrix([]string{"u", "v", "w"}, controls,
		[]Measured{
			at("pc2", "m04", check.OK), at("pc1", "m04", check.OK), elsewhere,
			at("pc1", "m05", check.ControlPartial), at("pc2", "m05", check.OK),
			stale,
			at("pc1", "m19", check.ConnectTimeout), at("pc2", "m19", check.NoPermission),
			at("pc1", "m20", check.OK), at("pc1", "m20", check.ControlFail),
			at("pc1", "m21", check.OK), at("pc2", "m21", check.NoPermission),
		},
		[]Attestation{doc("a02", Met, "2026-01-01", "2026-11-01"), doc("a07", NotNeeded, "2026-01-01", ""), foreign}, testNow)

	type cell struct {
		ID       string
		State    State
		Machines Tally
	}
	cells := func(p Part) (list []cell) {
		for _, c := range p.Cells {
			list = append(list, cell{c.Control.ID, c.State, c.Machines})
		}
		return list
	}
	u := m.Units[0]
	m16 := cell{"m16", Unknown, Tally{Unknown: 1}}
	m19 := cell{"m19", Fail, Tally{Fail: 1, Unknown: 1}}
	wants := [Layers][2][]cell{
		{{
			{"m04", Pass, Tally{Pass: 2}}, {"m05", Partial, Tally{Partial: 1, Pass: 1}}, m16,
			{"m20", Fail, Tally{Fail: 1}}, {"m21", Unknown, Tally{Pass: 1, Unknown: 1}},
		}, {{"a02", Expired, nil}, {"a15", Missing, nil}}},
		{{m16, m19}, {{"a07", NotApplicable, nil}}},
		{nil, {{"a15", Missing, nil}}},
		{{m19}, nil},
	}
	for i, want := range wants {
		if diff := cmp.Diff(want[0], cells(u.Layers[i].Measured)); diff != "" {
			t.Errorf("layer %d, measured: -want +got\n%s", i+1, diff)
		}
		if diff := cmp.Diff(want[1], cells(u.Layers[i].Attested)); diff != "" {
			t.Errorf("layer %d, attested: -want +got\n%s", i+1, diff)
		}
	}
	if diff := cmp.Diff(Tally{Pass: 1, Partial: 1, Unknown: 2, Fail: 1}, u.Layers[0].Measured.Tally); diff != "" {
		t.Errorf("layer 1 adds up to\n%s", diff)
	}
	if n := u.Layers[1].Attested.Tally.Applicable(); n != 0 {
		t.Errorf("%d controls apply in layer 2, attested", n)
	}
	if r := u.Layers[0].Measured.Cells[0].Results; len(r) != 2 || r[0].Machine != "pc1" {
		t.Errorf("results are not by machine: %v", r)
	}
	if v := m.Units[1].Layers[0]; v.Measured.Cells[0].State != Fail || v.Attested.Cells[0].State != Pass {
		t.Errorf("unit v: %s, %s", v.Measured.Cells[0].State, v.Attested.Cells[0].State)
	}
	// A unit that nobody measures has no pass anywhere.
	for i, l := range m.Units[2].Layers {
		if l.Measured.Tally[Pass] > 0 || l.Attested.Tally[Pass] > 0 || len(l.Measured.Cells) != l.Measured.Tally[Unknown] || len(l.Attested.Cells) != l.Attested.Tally[Missing] {
			t.Errorf("unit w, layer %d: %v, %v", i+1, l.Measured.Tally, l.Attested.Tally)
		}
	}
}

func TestWorst(t *testing.T) {
	tests := []struct {
		in   Tally
		want State
	}{
		{nil, Unknown},
		{Tally{Pass: 3}, Pass},
		{Tally{Pass: 3, NotApplicable: 1}, Pass},
		{Tally{NotApplicable: 2}, NotApplicable},
		{Tally{Pass: 3, Unknown: 1}, Unknown},
		{Tally{Unknown: 3, Partial: 1}, Partial},
		{Tally{Partial: 3, Missing: 1}, Missing},
		{Tally{Missing: 3, Expired: 1}, Expired},
		{Tally{Expired: 3, Fail: 1, Pass: 9}, Fail},
	}
	for _, tt := range tests {
		if got := tt.in.Worst(); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.in, got, tt.want)
		}
	}
	for _, s := range States() {
		if got := (Tally{s: 1}).Worst(); got != s {
			t.Errorf("%s alone is %s", s, got)
		}
	}
}

// TestControls takes the catalogue as the profile of the district has it.
func TestControls(t *testing.T) {
	old, young := control("a02", 1), control("a02", 1)
	old.Basis, young.Basis = "old", "new"
	gone := control("m99", 1)
	gone.Valid.To = date("2026-06-30")
	got := Controls([]profile.LawSet{{Controls: []profile.Control{control("m04", 1), old, gone}}, {Controls: []profile.Control{young, control("a07", 2)}}}, testNow)
	var ids []string
	for _, c := range got {
		ids = append(ids, c.ID+c.Basis)
	}
	if diff := cmp.Diff([]string{"m04", "a02new", "a07"}, ids); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestShippedCatalogue puts the law set of the sample profile that is in force into a matrix, with a document for every
// attested control.
func TestShippedCatalogue(t *testing.T) {
	files, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	controls := Controls(p.LawAt(testNow), testNow)
	if len(controls) == 0 {
		t.Fatal("no law set is in force")
	}
	unit := p.UnitsAt(testNow)[0].ID
	s := Setting{Controls: controls, Unit: func(id string) bool { _, ok := p.Unit(id); return ok }, By: "lan@tuky", Now: testNow}
	var documents []Attestation
	want := Tally{}
	for _, c := range controls {
		if c.Kind != kindAttested {
			want[Unknown] += len(c.Layers)
			continue
		}
		f := rules()
		f.Control, f.Unit, f.Organisation = c.ID, unit, "organisation of "+c.ID
		a, err := New(f, s)
		if err != nil {
			t.Fatal(err)
		}
		a.ApprovedBy, a.Acted = "b", true
		documents = append(documents, a)
		want[Pass] += len(c.Layers)
	}
	got := Tally{}
	for i, l := range NewMatrix([]string{unit}, controls, nil, documents, testNow).Units[0].Layers {
		if l.Measured.Tally[Pass] > 0 || l.Attested.Tally[Unknown] > 0 {
			t.Errorf("layer %d mixes what is measured and what is attested: %v, %v", i+1, l.Measured.Tally, l.Attested.Tally)
		}
		if len(l.Attested.Cells) == 0 {
			t.Errorf("layer %d has no attested control", i+1)
		}
		got[Unknown] += l.Measured.Tally[Unknown]
		got[Pass] += l.Attested.Tally[Pass]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
