package profile

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"egovmon/deploy/profiles"
)

// small is a district of two communes, in which every kind of entry stands once.
var small = map[string]string{
	"units.yaml": `district: d
units:
  - id: d
    kind: huyen
    names: [{vi: Huyện D, en: D District}]
    valid_from: 2023-01-01
    source: s
    verified: true
  - id: xa-a
    kind: xa
    names:
      - {vi: Xã A, en: A Commune, valid_to: 2024-12-31}
      - {vi: Xã A mới, en: New A Commune, valid_from: 2025-01-01}
    codes: [{code: "1"}]
    parents: [{unit: d}]
    valid_from: 2023-01-01
    source: s
    verified: true
  - id: xa-b
    kind: xa
    names: [{vi: Xã B, en: B Commune}]
    parents: [{unit: d}]
    valid_from: 2023-01-01
    valid_to: 2025-06-30
    source: s
    verified: true
succeeds:
  - {id: b-a, from: xa-b, to: xa-a, date: 2025-07-01, kind: merge, source: s, verified: true}
`,
	"services.yaml": `services:
  - id: web
    name: {vi: Trang, en: Site}
    operator: tinh
    owner: VP
    valid_from: 2023-01-01
    valid_to:
    source: s
    verified: true
    season:
    hours: hanh-chinh
    severity: major
    depends: [lan]
    watch: one_per_unit
    checks:
      - {id: http, kind: http, every: 60s, timeout: 5s, confirm: 2, path: internet, with: {url: "${web.url}", status: [200], contains: ["Tứ Kỳ"]}}
      - {id: uplink, kind: uplink, every: 60s, with: {anchors: "${line.anchors}"}}
  - id: lan
    name: {vi: Mạng, en: Network}
    operator: tinh
    owner: VP
    valid_from: 2023-01-01
    source: s
    verified: true
    severity: minor
    watch: role:any
    checks:
      - {id: gateway, kind: gateway, every: 30s, path: lan}
      - {id: second, kind: gateway, every: 30s, path: lan}
  - id: summer
    name: {vi: Hè, en: Summer}
    operator: tinh
    owner: VP
    valid_from: 2023-01-01
    source: s
    verified: true
    season: [05-01..08-31, 12-20..01-10]
    severity: info
    watch: district
    checks:
      - {id: tcp, kind: tcp, every: 60s, path: lan, with: {address: "${own.agents}"}}
`,
	"machines.yaml": `machines:
  - {id: m-a-1, unit: xa-a, role: probe, duties: [quay], lines: [{line: a-net, source: 10.0.0.5}], valid_from: 2023-01-01, source: s, verified: true}
  - {id: m-a-0, unit: xa-a, role: workstation, valid_from: 2023-01-01, source: s, verified: true}
  - {id: m-b-1, unit: xa-b, role: probe, valid_from: 2023-01-01, valid_to: 2025-06-30, source: s, verified: true}
  - {id: m-d, unit: d, role: collector, valid_from: 2023-01-01, source: s, verified: true}
`,
	"lines.yaml": `lines:
  - {id: a-net, unit: xa-a, path: internet, carrier: x, anchors: ["${anchor}:53", "192.0.2.2:53", "192.0.2.3:53"], down_mbps: 100, seal: 30s, valid_from: 2023-01-01, source: s, verified: true}
`,
	"offices.yaml": `operators:
  - {id: tinh, name: {vi: Tỉnh, en: Province}, valid_from: 2023-01-01, source: s, verified: true}
offices:
  - {id: VP, name: {vi: Văn phòng, en: Office}, unit: d, contacts: [{kind: phone, value: ""}], valid_from: 2023-01-01, source: s, verified: true}
`,
	"roster.yaml": `roster:
  - {id: truc, office: VP, title: {vi: Trực, en: On duty}, step: 1, after: 30m, hours: hanh-chinh, valid_from: 2023-01-01, source: s, verified: true}
`,
	"targets.yaml": `targets:
  - {id: t, service: web, objective: 0.995, calendar: 24x7, basis: mục tiêu nội bộ, valid_from: 2023-01-01, source: s, verified: true}
`,
	"law.yaml": `law_sets:
  - id: l
    name: {vi: Luật, en: Law}
    valid_from: 2023-01-01
    source: s
    verified: true
    controls:
      - {id: m02, name: {vi: Mẫu, en: Signatures}, layers: [2], threshold: "≤ 1", limits: {ok_days: 1}, basis: b}
`,
	"parameters.yaml": `parameters:
  - {id: web.url, values: [{value: "http://192.0.2.9/"}, {unit: xa-b, value: "http://192.0.2.10/"}], valid_from: 2023-01-01, source: s, verified: true}
  - {id: own.agents, builtin: true, valid_from: 2023-01-01, source: s, verified: true}
  - {id: anchor, value: 192.0.2.1, valid_from: 2023-01-01, source: s, verified: true}
`,
	"calendars/2024.yaml": `year: 2024
week: [mon, tue, wed, thu, fri]
hours:
  - {id: h1, name: hanh-chinh, weekdays: [mon, tue, wed, thu, fri], times: ["07:30-12:00", "13:00-16:30"], valid_from: 2024-01-01, valid_to: 2024-12-31, source: s, verified: true}
  - {id: h2, name: hanh-chinh, unit: xa-b, weekdays: [sat], times: ["08:00-10:00"], valid_from: 2024-01-01, valid_to: 2024-12-31, source: s, verified: true}
days:
  - {date: 2024-01-01, name: Tết Dương lịch, kind: le, yearly: true, source: s, verified: true}
  - {date: 2024-04-29, name: Hoán đổi, kind: hoan_doi_nghi, source: s, verified: true}
  - {date: 2024-05-04, name: Làm bù, kind: lam_bu, source: s, verified: true}
`,
}

// edit is one change of a file of the small profile: the first old is replaced.
type edit struct{ file, old, new string }

func fixture(t testing.TB, edits ...edit) fs.FS {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range small {
		for _, e := range edits {
			if e.file != name {
				continue
			}
			if e.old != "" && !strings.Contains(text, e.old) {
				t.Fatalf("%s does not hold %q", name, e.old)
			}
			text = strings.Replace(text, e.old, e.new, 1)
		}
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	for _, e := range edits {
		if _, known := small[e.file]; !known {
			fsys[e.file] = &fstest.MapFile{Data: []byte(e.new)}
		}
	}
	return fsys
}

func loaded(t testing.TB, edits ...edit) *Profile {
	t.Helper()
	p, err := Load(fixture(t, edits...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func shipped(t testing.TB) fs.FS {
	t.Helper()
	fsys, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

func sample(t testing.TB) *Profile {
	t.Helper()
	p, err := Load(shipped(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// on returns noon in Vietnam of a day.
func on(t testing.TB, day string) time.Time {
	t.Helper()
	d, err := ParseDate(day)
	if err != nil {
		t.Fatal(err)
	}
	return d.Start().Add(12 * time.Hour)
}
