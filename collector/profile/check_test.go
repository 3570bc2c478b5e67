package profile

import (
	"strings"
	"testing"

	"egovmon/agent/check/kinds"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		edits []edit
		want  string // a line that begins so; "" for no line at all
	}{
		{"nothing to mend but the years without calendar", nil, "calendars/2025.yaml: warning: the calendar of 2025 IS MISSING"},
		{"an error alone", []edit{{"units.yaml", "kind: merge", "kind: join"}}, `units.yaml:28: succession "b-a": kind: "join" is not known`},
		{"unverified", []edit{{"units.yaml", "verified: true", "verified: false"}}, "units.yaml: warning: 1 of 4 entries are not verified (chưa xác minh)"},
		{"a year that is not complete", []edit{{"calendars/2024.yaml", "year: 2024", "year: 2024\nmissing: [Tết]"}}, "calendars/2024.yaml:1: warning: the calendar of 2024 is not complete: Tết"},
		{"empty parameter", []edit{{"parameters.yaml", "value: 192.0.2.1", "value: "}}, `parameters.yaml:4: warning: parameter "anchor" is empty: web.uplink not run (chưa cấu hình): fill in`},
		{"empty parameter of a deciding check", []edit{{"parameters.yaml", `values: [{value: "http://192.0.2.9/"}, {unit: xa-b, value: "http://192.0.2.10/"}]`, "value: "}},
			`parameters.yaml:2: warning: parameter "web.url" is empty: web.http not run (chưa cấu hình), and web not measured: fill in`},
		{"value of other days", []edit{{"parameters.yaml", "value: 192.0.2.1", "values: [{value: 192.0.2.1, valid_to: 2023-12-31}]"}}, `parameters.yaml:4: warning: parameter "anchor" is empty`},
		{"no check", []edit{{"services.yaml", "    checks:\n      - {id: gateway, kind: gateway, every: 30s, path: lan}\n      - {id: second, kind: gateway, every: 30s, path: lan}\n", ""}}, `services.yaml:18: warning: service "lan" has no check`},
		{"nobody watches", []edit{{"services.yaml", "watch: role:any", "watch: role:server"}}, `services.yaml:18: warning: service "lan": no machine of today is chosen by watch: role:server`},
		{"office of other days", []edit{{"offices.yaml", "contacts: [{kind: phone, value: \"\"}], valid_from: 2023-01-01", "valid_from: 2025-01-01"}}, `services.yaml:2: warning: service "web": office "VP" does not exist today`},
		{"no target", nil, "targets.yaml: warning: 2 services have no target (chưa đặt mục tiêu), as their pages and the reports will say: lan, summer: agree one"},
		{"a target of other days", []edit{{"targets.yaml", "valid_from: 2023-01-01", "valid_from: 2025-01-01"}}, "targets.yaml: warning: 3 services have no target (chưa đặt mục tiêu), as their pages and the reports will say: web, lan, summer"},
		{"a kind that no agent has", []edit{{"services.yaml", "{id: second, kind: gateway", "{id: second, kind: gatway"}}, `services.yaml:29: lan.second: there is no kind "gatway": did you mean "gateway"?`},
		{"an option that the kind has not", []edit{{"services.yaml", "status: [200]", "statuses: [200]"}}, `services.yaml:16: web.http: unknown key "statuses": did you mean "status"?`},
		{"arithmetic", []edit{{"services.yaml", "timeout: 5s, confirm: 2", "timeout: 30s, confirm: 2"}}, `services.yaml:16: web.http: the worst case is`},
		{"a value that the kind refuses", []edit{{"parameters.yaml", "http://192.0.2.9/", "192.0.2.9"}}, `services.yaml:16: web.http: `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var all strings.Builder
			found := false
			for _, p := range Check(fixture(t, tt.edits...), kinds.Table(), on(t, "2024-06-03")) {
				found = found || strings.HasPrefix(p.String(), tt.want)
				all.WriteString(p.String() + "\n")
			}
			if !found {
				t.Errorf("got:\n%swant a line that begins with\n%s", all.String(), tt.want)
			}
		})
	}
}

// Of the shipped sample nothing is wrong, whatever is still unknown about the district.
func TestCheckSample(t *testing.T) {
	warnings := 0
	for _, p := range Check(shipped(t), kinds.Table(), on(t, "2026-11-23")) {
		if !p.Warning {
			t.Errorf("%s", p)
		}
		warnings++
	}
	if warnings == 0 {
		t.Error("the sample is full of unverified facts, and nobody says so")
	}
}
