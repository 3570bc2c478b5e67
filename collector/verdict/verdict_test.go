package verdict

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

var noon = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

func standing(service, unit string, reason check.Reason) Standing {
	return Standing{Service: service, Unit: unit, State: reason.State(), Reason: reason, Since: noon.Add(-time.Minute), Last: noon}
}

func model() Model {
	return Model{Home: "d", Services: map[string]Service{
		"lan": {Line: true, Every: 15 * time.Second}, "inet": {Line: true, Every: 30 * time.Second, Depends: []string{"lan"}},
		"mail": {Every: time.Minute, Depends: []string{"dns"}}, "dns": {Every: time.Minute}},
		Units: map[string]Unit{"a": {Expected: true}, "b": {Expected: true}, "c": {Expected: true}, "d": {Expected: true}}}
}

// faults lists what is down or silent, with what mutes it.
func faults(fs []Finding) map[string]string {
	out := map[string]string{}
	for _, f := range fs {
		if f.Fault() {
			out[string(f.Kind)+":"+f.Component.Service+f.Unit+" "+string(f.Reason)] = f.Muted
		}
	}
	return out
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name string
		in   []Standing
		want map[string]string
	}{
		{"all is well", []Standing{standing("mail", "", check.OK), standing("mail", "a", check.Slow)}, map[string]string{}},
		{"one service", []Standing{standing("mail", "", check.Timeout), standing("mail", "a", check.Timeout), standing("mail", "b", check.Timeout)},
			map[string]string{"service:mail timeout": ""}},
		{"one unit sees a service down, the others do not", []Standing{standing("mail", "", check.OK), standing("mail", "a", check.Timeout), standing("mail", "b", check.OK)},
			map[string]string{}},
		{"a unit's network takes its line along", []Standing{standing("inet", "a", check.Timeout), standing("lan", "a", check.Timeout), standing("mail", "a", check.NoUplink)},
			map[string]string{"line:a timeout": ""}},
		{"everything of a unit is no_uplink", []Standing{standing("mail", "a", check.NoUplink), standing("dns", "a", check.Silent), standing("mail", "b", check.OK), standing("mail", "c", check.OK)},
			map[string]string{"line:a " + string(check.NoUplink): ""}},
		{"what a unit was never to measure says nothing", []Standing{standing("mail", "a", check.NotPlanned), standing("dns", "a", check.NotConfigured)}, map[string]string{}},
		{"shut down in order", []Standing{standing("mail", "a", check.MissedShutdown), standing("dns", "a", check.MissedShutdown)}, map[string]string{}},
		{"a dependency explains", []Standing{standing("dns", "", check.DNSTimeout), standing("mail", "", check.DNSTimeout)},
			map[string]string{"service:dns dns_timeout": "", "service:mail dns_timeout": MutedByDependency}},
		{"our own line explains who is silent", []Standing{standing("inet", "d", check.Timeout), standing("mail", "a", check.Silent), standing("mail", "b", check.Silent), standing("mail", "c", check.Silent)},
			map[string]string{"line:d timeout": "", "line:a silent": MutedByLine, "line:b silent": MutedByLine, "line:c silent": MutedByLine, "fleet: silent": MutedByLine}},
		{"most are silent", []Standing{standing("mail", "a", check.Silent), standing("mail", "b", check.Silent), standing("mail", "c", check.Silent), standing("mail", "d", check.OK)},
			map[string]string{"fleet: silent": "", "line:a silent": MutedByFleet, "line:b silent": MutedByFleet, "line:c silent": MutedByFleet}},
		{"half is not most", []Standing{standing("mail", "a", check.Silent), standing("mail", "b", check.Silent), standing("mail", "c", check.OK), standing("mail", "d", check.OK)},
			map[string]string{"line:a silent": "", "line:b silent": ""}},
		{"a carrier's fault", []Standing{standing("inet", "", check.Timeout), standing("inet", "a", check.Timeout), standing("inet", "b", check.Timeout), standing("mail", "c", check.Silent), standing("mail", "d", check.OK)},
			map[string]string{"service:inet timeout": "", "line:a timeout": MutedByService, "line:b timeout": MutedByService, "line:c silent": MutedByService}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, faults(Judge(tt.in, model(), Moment{}).Findings)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestDependenciesInACircleMuteNobody(t *testing.T) {
	m := Model{Services: map[string]Service{"x": {Depends: []string{"y"}}, "y": {Depends: []string{"x"}}}}
	want := map[string]string{"service:x timeout": "", "service:y timeout": ""}
	if diff := cmp.Diff(want, faults(Judge([]Standing{standing("x", "", check.Timeout), standing("y", "", check.Timeout)}, m, Moment{}).Findings)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What follows from a service that is down is no fault of its own, whether or not the profile also says that it depends on it.
func TestDerivedIsNoFaultOfItsOwn(t *testing.T) {
	files, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Services {
		if p.Services[i].ID == "chungthuc" {
			p.Services[i].Depends = nil
		}
	}
	m := FromProfile(p, time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC))
	in := []Standing{standing("dvc_q", "", check.HTTPStatus), standing("kyso_usb", "", check.OK), standing("chungthuc", "", check.HTTPStatus), standing("ket_noi", "xa-tu-ky", check.OK)}
	want := map[string]string{"service:dvc_q http_status": "", "service:chungthuc http_status": MutedByService}
	got := faults(Judge(in, m, Moment{}).Findings)
	if got["service:chungthuc http_status"] == "" || got["service:dvc_q http_status"] != "" {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
	}
}

func TestFromTheSampleProfile(t *testing.T) {
	files, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	m := FromProfile(p, time.Date(2024, 3, 4, 3, 0, 0, 0, time.UTC))
	for _, id := range []string{"lan", "inet", "tslcd"} {
		if !m.Services[id].Line {
			t.Errorf("%s is no line", id)
		}
	}
	if m.Services["mail"].Line || m.Services["mail"].Every != time.Minute {
		t.Errorf("mail: %+v", m.Services["mail"])
	}
	if !m.dependsOn("inet", "lan") || m.dependsOn("lan", "inet") {
		t.Error("inet needs lan, and not the other way round")
	}
	if m.Home == "" || len(m.Units) < 20 {
		t.Errorf("home %q, %d units", m.Home, len(m.Units))
	}
}
