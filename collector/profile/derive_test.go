package profile

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/plan"
	"egovmon/deploy/profiles"
)

var update = flag.Bool("update", false, "rewrite the golden plans in testdata")

var agents = map[string]string{"collector.agents": "127.0.0.1:19443"}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, diff)
	}
}

// The plans of the machine that the collector runs on and of one commune, as the sample has them.
func TestGoldenPlans(t *testing.T) {
	p := sample(t)
	tests := []struct{ machine, when, file string }{
		{"may-chu-huyen", "2026-11-23", "may-chu-huyen.yaml"},
		{"pc-an-thanh-01", "2023-06-01", "pc-an-thanh-01.yaml"},
	}
	for _, tt := range tests {
		t.Run(tt.machine, func(t *testing.T) {
			text, _, err := p.PlanFor(tt.machine, on(t, tt.when), agents, 3)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tt.file, text)
			parsed, err := plan.Parse(text, kinds.Table())
			if err != nil {
				t.Fatalf("the agent refuses it:\n%v", err)
			}
			if parsed.For != tt.machine || parsed.Version != 3 || !parsed.Issued.Equal(on(t, tt.when)) {
				t.Errorf("for %s, version %d, issued %s", parsed.For, parsed.Version, parsed.Issued)
			}
		})
	}
}

// This machine watches itself, its gateway and the collector, whatever the operator has not yet filled in; nothing of
// it goes to a host that nobody named.
func TestBuiltinMachineStaysLocal(t *testing.T) {
	p := sample(t)
	for _, when := range []string{"2023-06-01", "2025-03-01", "2026-11-23", "2030-01-01"} {
		text, _, err := p.PlanFor("may-chu-huyen", on(t, when), agents, 1)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := plan.Parse(text, kinds.Table())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]plan.Path{}
		for _, c := range parsed.Checks {
			got[c.ID] = c.Path
		}
		want := map[string]plan.Path{"thu_thap.tcp": plan.LAN, "pc.host": plan.LAN, "lan.gateway": plan.LAN,
			"pc.m01": plan.LAN, "pc.m02": plan.LAN, "pc.m03": plan.LAN, "pc.m11": plan.LAN, "pc.m13": plan.LAN, "pc.m14": plan.LAN, "pc.m18": plan.LAN,
			"pc.m23": plan.LAN, "pc.m26": plan.LAN, "pc.kiem_ke": plan.LAN, "pc.m04": plan.LAN, "pc.m05": plan.LAN, "pc.m06": plan.LAN, "pc.m08": plan.LAN, "pc.m09": plan.LAN,
			"pc.m10": plan.LAN, "pc.m12": plan.LAN, "pc.m15": plan.LAN, "pc.m16": plan.LAN, "pc.m17": plan.LAN, "pc.m21": plan.LAN, "pc.m22": plan.LAN}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
}

// Every machine of the sample gets a plan that an agent accepts, at each of its ages.
func TestSamplePlansParse(t *testing.T) {
	p := sample(t)
	for _, when := range []string{"2023-06-01", "2024-12-31", "2025-01-01", "2025-07-01", "2026-11-23"} {
		for _, m := range p.MachinesAt(on(t, when)) {
			text, _, err := p.PlanFor(m.ID, on(t, when), agents, 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := plan.Parse(text, kinds.Table()); err != nil {
				t.Errorf("%s on %s:\n%v", m.ID, when, err)
			}
		}
	}
}

// Once an operator has filled in everything, every check of the sample is one that an agent takes.
func TestSampleFilledInParses(t *testing.T) {
	for name, days := range map[string][]string{profiles.Default: {"2023-06-01", "2026-06-01"}, "hai-phong-2025": {"2025-07-01", "2026-06-01", "2026-07-01"}} {
		t.Run(name, func(t *testing.T) {
			fsys, err := profiles.Embedded(name)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Load(fsys)
			if err != nil {
				t.Fatal(err)
			}
			filledInParses(t, p, days)
		})
	}
}

func filledInParses(t *testing.T, p *Profile, days []string) {
	t.Helper()
	given := map[string]string{}
	for _, q := range p.Parameters {
		switch _, end, _ := strings.Cut(q.ID, "."); end {
		case "address", "server", "submission", "imap", "tsa", "ocsp", "mssp", "agents", "internet.1", "internet.2", "internet.3", "tslcd.1", "tslcd.2", "tslcd.3",
			"server.1", "server.2", "server.3", "known.tls":
			given[q.ID] = q.ID + ".test:443"
		case "known.url":
			given[q.ID] = "http://known.test/"
		case "probe":
			given[q.ID] = "probe@host.test"
		case "os", "os_end":
			given[q.ID] = "2020-01-14" // a name as well as a day
		case "known":
			given[q.ID] = "00:1b:a9:00:00:01 3c:52:82:00:00:02"
		case "anchor.1", "anchor.2":
			given[q.ID] = ". IN DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000"
		case "host", "ups", "known.host", "sso_host", "name", "domain", "field", "zone":
			given[q.ID] = "host.test"
		case "lookup_path", "lookup_result":
			given[q.ID] = "/tra-cuu?ma=1"
		case "file", "backup":
			given[q.ID] = "/var/backups/*.bak"
		case "freshness_json":
			given[q.ID] = "$.data[*].updated"
		case "news_select":
			given[q.ID] = "span.ngay"
		case "approved", "lookup_text", "lookup_code", "roots", "sign_roots", "certs", "certificate", "issuer":
			given[q.ID] = "x"
		case "approved_on", "approved_until":
			given[q.ID] = "2026-06-01"
		default:
			given[q.ID] = "https://host.test/"
		}
	}
	for _, when := range days {
		for _, m := range p.MachinesAt(on(t, when)) {
			text, why, err := p.PlanFor(m.ID, on(t, when), given, 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := plan.Parse(text, kinds.Table()); err != nil {
				t.Errorf("%s on %s:\n%v", m.ID, when, err)
			}
			for _, w := range why {
				if w.Because == BecauseNotConfigured {
					t.Errorf("%s on %s: %s: %s", m.ID, when, w.Check, w.Detail)
				}
			}
		}
	}
}

// The steps of a journey go into the plan as they stand, their own variables among them.
func TestJourneyInPlan(t *testing.T) {
	p := loaded(t, edit{"services.yaml", "      - {id: uplink, kind: uplink,", `      - id: tra_cuu
        kind: journey
        every: 5m
        with:
          url: "${web.url}"
          approved: "12/GP"
          steps:
            - {name: mở trang, get: /, inputs: {token: __token}}
            - name: đăng nhập
              post: /login
              form: {user: probe, pw: {secret: probe}, __token: "$${token}", from: "${anchor}"}
              status: [200, 302]
      - {id: uplink, kind: uplink,`})
	text, _, err := p.PlanFor("m-a-1", on(t, "2024-06-03"), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := plan.Parse(text, kinds.Table())
	if err != nil {
		t.Fatalf("the agent refuses it: %v\n%s", err, text)
	}
	for _, c := range parsed.Checks {
		if c.ID != "web.tra_cuu" {
			continue
		}
		steps := c.Options.Steps("steps")
		if len(steps) != 2 || steps[0].Map("inputs")["token"] != "__token" {
			t.Fatalf("steps %v", steps)
		}
		want := map[string]check.Value{"user": {Text: "probe"}, "pw": {Secret: "probe"}, "__token": {Text: "${token}"}, "from": {Text: "192.0.2.1"}}
		if diff := cmp.Diff(want, steps[1].Values("form")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		return
	}
	t.Errorf("no journey in:\n%s", text)
}

func TestPlanText(t *testing.T) {
	p := loaded(t, edit{"services.yaml", `contains: ["Tứ Kỳ"]}}`, `contains: ["a: \"b\" # c", yes, "null"], n: {k: v}, x: 1.5, y: true}}`})
	text, _, err := p.PlanFor("m-a-1", on(t, "2024-06-03"), nil, 9007199254740992)
	if err != nil {
		t.Fatal(err)
	}
	want := `plan: xa-a
for: m-a-1
version: 9007199254740992
issued: 2024-06-03T05:00:00Z
seal: 30s
lines:
  - {path: internet, source: "10.0.0.5"}
checks:
  - id: web.http
    service: web
    kind: http
    every: 1m
    timeout: 5s
    confirm: 2
    path: internet
    with:
      url: "http://192.0.2.9/"
      status: [200]
      contains: ["a: \"b\" # c", "yes", "null"]
      "n": {"k": "v"}
      x: 1.5
      "y": true
  - id: web.uplink
    service: web
    kind: uplink
    every: 1m
    path: internet
    with:
      anchors: ["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"]
  - id: lan.gateway
    service: lan
    kind: gateway
    every: 30s
    path: lan
  - id: lan.second
    service: lan
    kind: gateway
    every: 30s
    path: lan
`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhy(t *testing.T) {
	own := map[string]string{"own.agents": "127.0.0.1:1"}
	tests := []struct {
		name    string
		machine string
		when    string
		params  map[string]string
		edits   []edit
		want    map[string]Because // of the checks that matter here
		detail  string             // somewhere in the details
	}{
		{"the unit's probe", "m-a-1", "2024-06-03", own, nil,
			map[string]Because{"web.http": BecausePlanned, "web.uplink": BecausePlanned, "lan.gateway": BecausePlanned, "lan.second": BecausePlanned, "summer.tcp": BecauseNotWatching}, "watch: district chooses m-d"},
		{"another machine of the unit", "m-a-0", "2024-06-03", own, nil,
			map[string]Because{"web.http": BecauseNotWatching, "lan.gateway": BecausePlanned}, "watch: one_per_unit chooses m-a-1"},
		{"the district's machine in season", "m-d", "2024-06-03", own, nil,
			map[string]Because{"web.http": BecauseNotWatching, "summer.tcp": BecausePlanned}, "the unit has no machine of role probe"},
		{"out of season", "m-d", "2024-04-30", own, nil, map[string]Because{"summer.tcp": BecauseOutOfSeason}, ""},
		{"season over the year's end", "m-d", "2024-01-10", own, nil, map[string]Because{"summer.tcp": BecausePlanned}, ""},
		{"the day after it", "m-d", "2024-01-11", own, nil, map[string]Because{"summer.tcp": BecauseOutOfSeason}, ""},
		{"the program filled nothing in", "m-d", "2024-06-03", nil, nil, map[string]Because{"summer.tcp": BecauseNotConfigured}, "own.agents"},
		{"an empty parameter takes the check that needs it", "m-a-1", "2024-06-03", own, []edit{{"parameters.yaml", "value: 192.0.2.1", "value: "}},
			map[string]Because{"web.http": BecausePlanned, "web.uplink": BecauseNotConfigured, "lan.gateway": BecausePlanned}, "empty in parameters.yaml: anchor"},
		{"no anchors", "m-a-1", "2024-06-03", own, []edit{{"lines.yaml", `anchors: ["${anchor}:53", "192.0.2.2:53", "192.0.2.3:53"], `, ""}},
			map[string]Because{"web.http": BecausePlanned, "web.uplink": BecauseNotConfigured}, "line.anchors"},
		{"a value of another unit only", "m-a-1", "2024-06-03", own, []edit{{"parameters.yaml", `{value: "http://192.0.2.9/"}, `, ""}},
			map[string]Because{"web.http": BecauseNotConfigured, "web.uplink": BecausePlanned}, "web.url"},
		{"no line of the path", "m-a-1", "2024-06-03", own, []edit{{"services.yaml", "path: internet", "path: tslcd"}},
			map[string]Because{"web.http": BecauseNoLine, "web.uplink": BecausePlanned}, "no line of path tslcd"},
		{"a unit without lines has Internet", "m-b-1", "2024-06-03", own, []edit{{"services.yaml", `      - {id: uplink, kind: uplink, every: 60s, with: {anchors: "${line.anchors}"}}` + "\n", ""}},
			map[string]Because{"web.http": BecausePlanned}, ""},
		{"and no other line", "m-b-1", "2024-06-03", own, []edit{{"services.yaml", "path: internet", "path: tslcd"}},
			map[string]Because{"web.http": BecauseNoLine, "web.uplink": BecauseNotConfigured}, ""},
		{"a kind of the collector", "m-a-1", "2024-06-03", own, []edit{{"services.yaml", "{id: second, kind: gateway", "{id: second, kind: attested"}},
			map[string]Because{"lan.gateway": BecausePlanned, "lan.second": BecauseAtCollector}, ""},
		{"no check", "m-a-1", "2024-06-03", own, []edit{{"services.yaml", "    checks:\n      - {id: gateway, kind: gateway, every: 30s, path: lan}\n      - {id: second, kind: gateway, every: 30s, path: lan}\n", ""}},
			map[string]Because{"": BecauseNoCheck}, ""},
		{"the first of two probes by id, not by line", "m-a-1", "2024-06-03", own, []edit{{"machines.yaml", "role: workstation", "role: probe"}}, map[string]Because{"web.http": BecauseNotWatching}, "chooses m-a-0"},
		{"the later of two probes in the file", "m-b-1", "2024-06-03", own, []edit{{"machines.yaml", "machines:\n", "machines:\n  - {id: m-a, unit: xa-b, role: probe, valid_from: 2023-01-01, source: s, verified: true}\n"}}, map[string]Because{"web.http": BecauseNotWatching}, "chooses m-a"},
		{"a duty", "m-a-1", "2024-06-03", own, []edit{{"services.yaml", "watch: role:any", "watch: role:quay"}}, map[string]Because{"lan.gateway": BecausePlanned}, ""},
		{"not the duty", "m-a-0", "2024-06-03", own, []edit{{"services.yaml", "watch: role:any", "watch: role:quay"}}, map[string]Because{"lan.gateway": BecauseNotWatching}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := loaded(t, tt.edits...)
			text, why, err := p.PlanFor(tt.machine, on(t, tt.when), tt.params, 1)
			if err != nil {
				t.Fatal(err)
			}
			got, details := map[string]Because{}, ""
			for _, w := range why {
				if _, asked := tt.want[w.Check]; asked {
					got[w.Check] = w.Because
				}
				details += w.Detail + "\n"
				if w.Check != "" && strings.Contains(string(text), "id: "+w.Check+"\n") != w.Planned() {
					t.Errorf("%s is %s, and the plan says otherwise:\n%s", w.Check, w.Because, text)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !strings.Contains(details, tt.detail) {
				t.Errorf("details without %q:\n%s", tt.detail, details)
			}
		})
	}
}

// A service that has ended is in no plan, and not explained either: it does not exist.
func TestPlanAfterTheEnd(t *testing.T) {
	p := loaded(t, edit{"services.yaml", "    valid_to:\n", "    valid_to: 2024-06-02\n"})
	_, why, err := p.PlanFor("m-a-1", on(t, "2024-06-03"), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range why {
		if w.Service == "web" {
			t.Errorf("%+v", w)
		}
	}
	if _, _, err := p.PlanFor("m-b-1", on(t, "2025-07-01"), nil, 1); err == nil || !strings.Contains(err.Error(), `no machine "m-b-1" on 2025-07-01`) {
		t.Errorf("a machine that is gone: %v", err)
	}
}

func TestPlanTooLong(t *testing.T) {
	p := loaded(t)
	s, _ := p.Service("lan", on(t, "2024-06-03"))
	long := Option{Name: "x", Value: strings.Repeat("x", maxText)}
	for range 300 {
		s.Checks = append(s.Checks, ServiceCheck{ID: "c", Kind: "gateway", Every: time.Minute, Path: plan.LAN, With: []Option{long}})
	}
	if _, _, err := p.PlanFor("m-a-1", on(t, "2024-06-03"), nil, 1); err == nil || !strings.Contains(err.Error(), "more than 524288") {
		t.Errorf("got %v", err)
	}
}

func TestSamePlan(t *testing.T) {
	p := loaded(t)
	a, _, _ := p.PlanFor("m-a-1", on(t, "2024-06-03"), nil, 1)
	b, _, _ := p.PlanFor("m-a-1", on(t, "2024-06-04"), nil, 2)
	c, _, _ := p.PlanFor("m-a-0", on(t, "2024-06-03"), nil, 1)
	if string(a) == string(b) || !SamePlan(a, b) || SamePlan(a, c) {
		t.Errorf("another version: same %v; another machine: same %v", SamePlan(a, b), SamePlan(a, c))
	}
}

func TestVotes(t *testing.T) {
	at := on(t, "2024-06-03")
	p := loaded(t, edit{"lines.yaml", "lines:\n", "lines:\n  - {id: b-net, unit: xa-b, path: internet, carrier: y, anchors: [a, b, c], valid_from: 2023-01-01, source: s, verified: true}\n"})
	web, _ := p.Service("web", at)
	if diff := cmp.Diff([]string{"web.http"}, web.Deciding()); diff != "" {
		t.Errorf("deciding by default (-want +got):\n%s", diff)
	}
	web.Checks[1].Decides = true
	if diff := cmp.Diff([]string{"web.uplink"}, web.Deciding()); diff != "" {
		t.Errorf("deciding as told (-want +got):\n%s", diff)
	}
	if got := (&Service{}).Deciding(); got != nil {
		t.Errorf("without checks %v decide", got)
	}
	want := []Watcher{{"xa-a", "m-a-1", plan.Internet, "x", nil}, {"xa-b", "m-b-1", plan.Internet, "y", nil}}
	if diff := cmp.Diff(want, p.Watchers("web", at)); diff != "" {
		t.Errorf("watchers (-want +got):\n%s", diff)
	}
	if got := p.Watchers("summer", at); len(got) != 1 || got[0].Machine != "m-d" {
		t.Errorf("what the program fills in must not count as missing: %v", got)
	}
	if got := p.Watchers("summer", on(t, "2024-04-01")); got != nil {
		t.Errorf("out of season %v watch", got)
	}
	if got := p.Watchers("nothing", at); got != nil {
		t.Errorf("%v watch nothing", got)
	}
	quorums := map[string]Quorum{"web": {2, 1}, "lan": {2, 1}, "summer": {1, 1}, "nothing": {1, 1}}
	for id, want := range quorums {
		if got := p.Quorum(id, at); got != want {
			t.Errorf("quorum of %s: got %v, want %v", id, got, want)
		}
	}
	if got := p.Quorum("web", on(t, "2025-07-01")); got != (Quorum{1, 1}) {
		t.Errorf("one unit is left: got %v", got)
	}
	web.Quorum = Quorum{Units: 3, Carriers: 2}
	if got := p.Quorum("web", at); got != (Quorum{3, 2}) {
		t.Errorf("as told: got %v", got)
	}
}

func TestNotConfigured(t *testing.T) {
	p := sample(t)
	at := on(t, "2026-11-23")
	tests := []struct {
		service, unit string
		want          []Lack
	}{
		{"inet", "huyen-tu-ky", []Lack{{"inet.uplink", true, []string{"neo.internet.1", "neo.internet.2", "neo.internet.3"}},
			{"inet.captive", false, []string{"neo.known.tls", "neo.known.url"}}, {"inet.path", false, []string{"neo.known.host"}}}},
		{"qlvb", "xa-tu-ky", []Lack{{"qlvb.dang_nhap", true, []string{"qlvb.url"}}, {"qlvb.http", false, []string{"qlvb.url"}}, {"qlvb.dns", false, []string{"qlvb.host"}}, {"qlvb.tls", false, []string{"qlvb.address"}}, {"qlvb.van_ban_den", false, []string{"qlvb.freshness_json", "qlvb.freshness_url"}}}},
		{"qlvb", "huyen-tu-ky", nil}, // nobody there is to watch it
		{"dvc_q", "xa-tu-ky", []Lack{{"dvc_q.dang_nhap", false, []string{"dvc_q.login_url"}}}},
		{"motcua_bo", "xa-tu-ky", nil},
		{"thu_thap", "huyen-tu-ky", nil},
		{"nothing", "xa-tu-ky", nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, p.NotConfigured(tt.service, tt.unit, at)); diff != "" {
			t.Errorf("%s at %s (-want +got):\n%s", tt.service, tt.unit, diff)
		}
	}
}

// One empty parameter is the lack of the checks that need it, and of no other; a vote lacks it only where it decides.
func TestPartlyConfigured(t *testing.T) {
	at := on(t, "2024-06-03")
	noAnchor := edit{"parameters.yaml", "value: 192.0.2.1", "value: "}
	p := loaded(t, noAnchor)
	if diff := cmp.Diff([]Lack{{"web.uplink", false, []string{"anchor"}}}, p.NotConfigured("web", "xa-a", at)); diff != "" {
		t.Errorf("lacking (-want +got):\n%s", diff)
	}
	if got := p.Watchers("web", at); len(got) != 2 || got[0].NotConfigured != nil {
		t.Errorf("a check that only explains keeps machines from watching: %+v", got)
	}
	s, _ := p.Service("web", at)
	s.Checks[0].Decides, s.Checks[1].Decides = true, true
	if got := p.Watchers("web", at); len(got) != 2 || !cmp.Equal(got[0].NotConfigured, []string{"web.uplink"}) || got[0].Path != plan.Internet {
		t.Errorf("a deciding check is missing: %+v", got)
	}
	s.Checks[0].Decides = false
	if got := p.Watchers("web", at); got != nil {
		t.Errorf("machines whose only deciding check cannot run watch: %+v", got)
	}
}

// The national case: 10,000 machines in 3,321 units. Each step goes over the machines once, not once a machine.
func BenchmarkWatchers(b *testing.B) {
	p := sample(b)
	at := on(b, "2026-11-23")
	p.Machines = nil
	for i := range 10000 {
		unit := fmt.Sprintf("xa-%d", i%3321)
		p.Machines = append(p.Machines, Machine{Record: Record{ID: fmt.Sprintf("pc-%05d", i), Valid: Span{From: 1}}, Unit: unit, Role: RoleProbe})
	}
	b.Run("watchers", func(b *testing.B) {
		for b.Loop() {
			if n := len(p.Watchers("dvc_q", at)); n != 3321 {
				b.Fatalf("%d watchers", n)
			}
		}
	})
	b.Run("plan", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := p.PlanFor("pc-00000", at, agents, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}
