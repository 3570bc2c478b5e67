package profile

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func communes(p *Profile, t testing.TB, when string) []Unit {
	var out []Unit
	for _, u := range p.UnitsAt(on(t, when)) {
		if u.ParentAt(on(t, when)) == p.District {
			out = append(out, u)
		}
	}
	return out
}

// The sample follows the district through its three shapes.
func TestSampleUnits(t *testing.T) {
	p := sample(t)
	for when, want := range map[string]int{"2023-06-01": 23, "2024-12-31": 23, "2025-01-01": 20, "2025-06-30": 20, "2025-07-01": 6, "2026-11-23": 6} {
		us := communes(p, t, when)
		if len(us) != want {
			t.Errorf("%s: %d communes, want %d", when, len(us), want)
		}
		codes := map[string]string{}
		for _, u := range us {
			at := on(t, when)
			code := u.CodeAt(at)
			if code == "" || codes[code] != "" {
				t.Errorf("%s: code %q of %s belongs to %q too", when, code, u.ID, codes[code])
			}
			codes[code] = u.ID
			if !p.UnderDistrict(u.ID, at) {
				t.Errorf("%s: %s is not under the district", when, u.ID)
			}
			// One point of measurement, and since the communes of today the PC of the counter, on which people sign.
			var probes, counters int
			for _, m := range p.MachinesOf(u.ID, at) {
				switch {
				case m.Role == RoleProbe:
					probes++
				case slices.Contains(m.Duties, "ky-so"):
					counters++
				}
			}
			if now := when >= "2025-07-01"; probes != 1 || now != (counters == 1) || len(p.MachinesOf(u.ID, at)) != probes+counters {
				t.Errorf("%s: %s has %d probes and %d counters", when, u.ID, probes, counters)
			}
		}
		if m, ok := p.CollectorMachine(on(t, when)); !ok || m.ID != "may-chu-huyen" || m.Unit != p.District {
			t.Errorf("%s: the collector's machine is %q", when, m.ID)
		}
	}
}

// One code, three units in turn: a code is no key.
func TestCodesMove(t *testing.T) {
	p := sample(t)
	tests := []struct{ when, code, want string }{
		{"2023-06-01", "11131", "xa-van-to"},
		{"2025-07-01", "11131", "xa-chi-minh-2025"},
		{"2023-06-01", "11095", "xa-chi-minh"},
		{"2023-06-01", "11086", "xa-hung-dao"},
		{"2025-07-01", "11086", "xa-dai-son-2025"},
		{"2023-06-01", "11098", "xa-tai-son"},
		{"2025-01-01", "11098", "xa-ky-son"},
		{"2025-06-30", "11074", "thi-tran-tu-ky"},
		{"2025-07-01", "11074", "xa-tu-ky"},
	}
	for _, tt := range tests {
		var got []string
		for _, u := range p.UnitsAt(on(t, tt.when)) {
			if u.CodeAt(on(t, tt.when)) == tt.code {
				got = append(got, u.ID)
			}
		}
		if diff := cmp.Diff([]string{tt.want}, got); diff != "" {
			t.Errorf("%s on %s (-want +got):\n%s", tt.code, tt.when, diff)
		}
	}
}

func TestSuccessors(t *testing.T) {
	p := sample(t)
	tests := []struct {
		unit, when string
		want       []string
	}{
		{"xa-an-thanh", "2025-06-30", []string{"xa-an-thanh"}},
		{"xa-an-thanh", "2025-07-01", []string{"xa-chi-minh-2025"}},
		{"xa-tai-son", "2025-01-01", []string{"xa-ky-son"}},
		{"xa-tai-son", "2026-01-01", []string{"xa-tan-ky-2025"}}, // over two changes
		{"xa-hung-dao", "2026-01-01", []string{"xa-dai-son-2025", "xa-tan-ky-2025"}},
		{"xa-thanh-hai", "2026-01-01", []string{"xa-dai-son-2025"}},
		{"tinh-hai-duong", "2026-01-01", []string{"thanh-pho-hai-phong"}},
		{"xa-tu-ky", "2023-01-01", nil},
		{"nobody", "2023-01-01", nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, p.SuccessorsAt(tt.unit, on(t, tt.when))); diff != "" {
			t.Errorf("%s on %s (-want +got):\n%s", tt.unit, tt.when, diff)
		}
	}
}

// Every unit that ended has somebody who carries on.
func TestNobodyIsLost(t *testing.T) {
	p := sample(t)
	for _, u := range p.Units {
		if u.Valid.To == 0 || u.ID == "huyen-thanh-ha" {
			continue
		}
		if len(p.SuccessorsAt(u.ID, on(t, "2026-11-23"))) == 0 {
			t.Errorf("%s ended on %s and nobody follows", u.ID, u.Valid.To)
		}
	}
}

func TestNameAt(t *testing.T) {
	p := loaded(t)
	u, _ := p.Unit("xa-a")
	for when, want := range map[string]string{"2022-01-01": "Xã A", "2024-12-31": "Xã A", "2025-01-01": "Xã A mới", "2050-01-01": "Xã A mới"} {
		if got := u.NameAt(on(t, when)).VI; got != want {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
	if _, ok := p.Unit("xa-c"); ok {
		t.Error("there is a unit xa-c")
	}
	district, _ := sample(t).Unit("huyen-tu-ky")
	if got := district.NameAt(on(t, "2023-06-01")); got != (Name{"Huyện Tứ Kỳ", "Tứ Kỳ District"}) {
		t.Errorf("the district is called %v", got)
	}
	if before, after := district.CodeAt(on(t, "2025-06-30")), district.CodeAt(on(t, "2025-07-01")); before != "298" || after != "" {
		t.Errorf("code %q, then %q", before, after)
	}
}

func TestParameter(t *testing.T) {
	p := loaded(t, edit{"parameters.yaml", `{value: "http://192.0.2.9/"}`, `{value: "http://192.0.2.9/", valid_to: 2024-12-31}, {value: "http://192.0.2.8/", valid_from: 2025-02-01}`})
	tests := []struct {
		unit, when, want string
	}{
		{"xa-a", "2024-12-31", "http://192.0.2.9/"},
		{"xa-a", "2025-01-01", ""},
		{"xa-a", "2025-02-01", "http://192.0.2.8/"},
		{"xa-b", "2025-01-01", "http://192.0.2.10/"},
		{"", "2024-01-01", "http://192.0.2.9/"},
	}
	for _, tt := range tests {
		got, ok := p.Parameter("web.url", tt.unit, on(t, tt.when))
		if got.Value != tt.want || ok != (tt.want != "") {
			t.Errorf("%s on %s: got %q, %v, want %q", tt.unit, tt.when, got.Value, ok, tt.want)
		}
	}
	if _, ok := p.Parameter("nothing", "", on(t, "2024-01-01")); ok {
		t.Error("an unknown parameter has a value")
	}
}

// An office keeps its id while its name and place change.
func TestDatedRecords(t *testing.T) {
	p := sample(t)
	before, _ := p.Office("VHTT", on(t, "2025-06-30"))
	after, _ := p.Office("VHTT", on(t, "2025-07-01"))
	if before.Name.VI != "Phòng Văn hóa và Thông tin" || after.Name.VI != "Phòng Văn hóa - Xã hội" || before.Unit != p.District || after.Unit != "" {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if o, _ := p.Operator("tinh", on(t, "2026-01-01")); !strings.Contains(o.Name.VI, "Hải Phòng") {
		t.Errorf("the province's operator is %+v", o)
	}
	if _, ok := p.Service("cong_h", on(t, "2025-07-01")); ok {
		t.Error("the district's portal outlives the district")
	}
	if sets := p.LawAt(on(t, "2026-06-30")); len(sets) != 1 || sets[0].ID != "vn-2019-2026" || len(sets[0].Controls) != 44 {
		t.Errorf("law on 2026-06-30: %d sets", len(sets))
	}
	if sets := p.LawAt(on(t, "2026-07-01")); len(sets) != 1 || sets[0].ID != "vn-2026" || len(sets[0].Controls) != 44 {
		t.Errorf("law on 2026-07-01: %d sets", len(sets))
	}
	if x, ok := p.Target("tthc", ServiceHours, on(t, "2026-01-01")); !ok || x.Objective != 0.995 || x.Basis != "mục tiêu nội bộ" {
		t.Errorf("target: %+v", x)
	}
	if _, ok := p.Target("pakn", Hours24x7, on(t, "2026-01-01")); ok {
		t.Error("a target that nobody set")
	}
	if ds := p.RosterAt(on(t, "2026-01-01")); len(ds) != 3 || ds[0].ID != "truc-vhtt" {
		t.Errorf("roster: %v", ds)
	}
}

func TestNextChange(t *testing.T) {
	p := loaded(t)
	tests := []struct{ from, want string }{
		{"2024-02-01", "2024-05-01"}, // summer begins
		{"2024-05-01", "2024-09-01"}, // and ends
		{"2024-09-01", "2024-12-20"},
		{"2024-12-31", "2025-01-11"},
		{"2025-06-29", "2025-07-01"}, // xa-b ends
		{"2020-01-11", "2020-05-01"},
	}
	for _, tt := range tests {
		if got := DateOf(p.NextChange(on(t, tt.from))).String(); got != tt.want {
			t.Errorf("after %s: got %s, want %s", tt.from, got, tt.want)
		}
	}
	p.Services = nil
	if got := p.NextChange(on(t, "2030-01-01")); !got.IsZero() {
		t.Errorf("something changes on %s", got)
	}
}

func TestWithMachine(t *testing.T) {
	p := loaded(t)
	at := on(t, "2024-06-03")
	q := WithMachine(p, Machine{Record: Record{ID: "m-c", Valid: Span{From: day(t, "2024-06-03")}}, Unit: "xa-a", Role: RoleWorkstation})
	if _, ok := p.Machine("m-c", at); ok {
		t.Error("the profile itself was changed")
	}
	if m, ok := q.Machine("m-c", at); !ok || m.Unit != "xa-a" {
		t.Errorf("the machine is missing: %v", m)
	}
	if _, ok := q.Machine("m-c", on(t, "2024-06-02")); ok {
		t.Error("the machine is there before its first day")
	}
	if _, _, err := q.PlanFor("m-c", at, nil, 1); err != nil {
		t.Error(err)
	}
	same := WithMachine(p, Machine{Record: Record{ID: "m-d", Valid: Span{From: 1}}, Unit: "xa-a"})
	if m, _ := same.Machine("m-d", at); m.Unit != "d" {
		t.Errorf("machines.yaml must win, got unit %s", m.Unit)
	}
}
