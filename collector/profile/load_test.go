package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// manyWitnesses are the lines of n machines that cosign.
func manyWitnesses(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  - {id: w-%d, unit: xa-a, role: probe, duties: [witness], valid_from: 2023-01-01, source: s, verified: true}\n", i)
	}
	return b.String()
}

func TestLoadMistakes(t *testing.T) {
	rec := "valid_from: 2023-01-01, source: s, verified: true"
	tests := []struct {
		name string
		edit edit
		want string // one line of the error begins with it
	}{
		{"unknown key", edit{"services.yaml", "severity: major", "severty: major"}, `services.yaml:12: service "web": unknown key "severty": did you mean "severity"?`},
		{"unknown top key", edit{"lines.yaml", "", "line: []\n"}, `lines.yaml:1: lines.yaml: unknown key "line": did you mean "lines"?`},
		{"key twice", edit{"services.yaml", "severity: major", "owner: VP"}, `services.yaml:12: service: key "owner" stands twice`},
		{"bad date", edit{"units.yaml", "valid_to: 2025-06-30", "valid_to: 30/06/2025"}, `units.yaml:24: unit "xa-b": valid_to: "30/06/2025" is no date: write it as YYYY-MM-DD`},
		{"day that no month has", edit{"units.yaml", "valid_to: 2025-06-30", "valid_to: 2025-06-31"}, `units.yaml:24: unit "xa-b": valid_to: "2025-06-31" is no date`},
		{"ends before it begins", edit{"units.yaml", "valid_to: 2025-06-30", "valid_to: 2022-06-30"}, `units.yaml:24: unit "xa-b": it ends on 2022-06-30, before it begins on 2023-01-01`},
		{"year out of bounds", edit{"units.yaml", "date: 2025-07-01", "date: 0001-01-01"}, `units.yaml:28: succession "b-a": date: "0001-01-01" lies outside`},
		{"no valid_from", edit{"lines.yaml", "valid_from: 2023-01-01, ", ""}, "lines.yaml:2: line \"a-net\": `valid_from:` is missing"},
		{"no source", edit{"lines.yaml", "source: s, ", ""}, "lines.yaml:2: line \"a-net\": `source:` is missing"},
		{"no verified", edit{"lines.yaml", ", verified: true", ""}, "lines.yaml:2: line \"a-net\": `verified:` is missing"},
		{"verified in words", edit{"lines.yaml", "verified: true", "verified: yes"}, `lines.yaml:2: line "a-net": verified: "yes" is neither`},
		{"no id", edit{"lines.yaml", "id: a-net, ", ""}, "lines.yaml:2: line: `id:` is missing"},
		{"id with capitals", edit{"machines.yaml", "id: m-a-0", "id: M-A-0"}, `machines.yaml:3: machine: id "M-A-0" cannot be used: use 1 to 63 of a-z, 0-9 and -`},
		{"names overlap", edit{"units.yaml", "valid_to: 2024-12-31", "valid_to: 2025-01-01"}, `units.yaml:13: unit "xa-a": names: 2025-01-01 on overlaps 2023-01-01 to 2025-01-01 of line 12`},
		{"name beyond its unit", edit{"units.yaml", "{vi: Xã A, en: A Commune,", "{vi: Xã A, en: A Commune, valid_from: 2022-01-01,"}, `units.yaml:12: unit "xa-a": names: 2022-01-01 to 2024-12-31 reaches beyond 2023-01-01 on`},
		{"no name", edit{"units.yaml", "    names: [{vi: Xã B, en: B Commune}]\n", ""}, `units.yaml:19: unit "xa-b" has no name`},
		{"dangling parent", edit{"units.yaml", "parents: [{unit: d}]", "parents: [{unit: e}]"}, `units.yaml:15: unit "xa-a": parents: there is no "e"`},
		{"parents in a circle", edit{"units.yaml", "kind: huyen", "kind: huyen\n    parents: [{unit: xa-a}]"}, `units.yaml:3: unit "d": parents go in a circle: d → xa-a → d`},
		{"dangling district", edit{"units.yaml", "district: d", "district: dd"}, `units.yaml:1: district: there is no unit "dd"`},
		{"dangling successor", edit{"units.yaml", "to: xa-a, date", "to: xa-c, date"}, `units.yaml:28: succession "b-a": to: there is no "xa-c": did you mean "xa-a"?`},
		{"follows itself", edit{"units.yaml", "to: xa-a, date", "to: xa-b, date"}, `units.yaml:28: succession "b-a": a unit cannot follow itself`},
		{"unit twice", edit{"units.yaml", "id: xa-b\n", "id: xa-a\n"}, `units.yaml:19: unit "xa-a" stands on line 9 already: ids are for ever`},
		{"machine twice on the same days", edit{"machines.yaml", "id: m-a-0", "id: m-a-1"}, `machines.yaml:3: machine "m-a-1" (2023-01-01 on) stands on line 2 already (2023-01-01 on): end the older entry`},
		{"dangling unit", edit{"machines.yaml", "unit: xa-b", "unit: xa-c"}, `machines.yaml:4: machine "m-b-1": unit: there is no "xa-c": did you mean "xa-`},
		{"unknown role", edit{"machines.yaml", "role: workstation", "role: tablet"}, `machines.yaml:3: machine "m-a-0": role: "tablet" is not known: write one of probe, workstation, laptop, server, collector`},
		{"level 6", edit{"machines.yaml", "role: workstation", "role: laptop, level: 6"}, `machines.yaml:3: machine "m-a-0": level: "6": write a whole number from 1 to 5`},
		{"level of a laptop", edit{"machines.yaml", "role: workstation", "role: laptop, level: 3"}, ""},
		{"dangling line", edit{"machines.yaml", "line: a-net", "line: b-net"}, `machines.yaml:2: machine "m-a-1": lines: there is no "b-net": did you mean "a-net"?`},
		{"line of another unit", edit{"machines.yaml", "role: workstation", "role: workstation, lines: [a-net], duties: [x]"}, ""},
		{"line elsewhere", edit{"lines.yaml", "unit: xa-a", "unit: d"}, `machines.yaml:2: machine "m-a-1": line "a-net" belongs to unit "d"`},
		{"source is no address", edit{"machines.yaml", "source: 10.0.0.5", "source: eth0"}, `machines.yaml:2: machine "m-a-1": source "eth0" is no IP address`},
		{"two anchors", edit{"lines.yaml", `, "192.0.2.3:53"`, ""}, `lines.yaml:2: line "a-net": 2 anchors cannot prove a line`},
		{"a line of path lan", edit{"lines.yaml", "path: internet", "path: lan"}, `lines.yaml:2: line "a-net": path lan is no line`},
		{"negative capacity", edit{"lines.yaml", "down_mbps: 100", "down_mbps: -1"}, `lines.yaml:2: line "a-net": down_mbps: "-1"`},
		{"capacity is not a number", edit{"lines.yaml", "down_mbps: 100", "down_mbps: .nan"}, `lines.yaml:2: line "a-net": down_mbps: ".nan"`},
		{"seal too short", edit{"lines.yaml", "seal: 30s", "seal: 1s"}, `lines.yaml:2: line "a-net": seal: 1s is out of bounds: write 5s to 15m`},
		{"dangling anchor", edit{"lines.yaml", "${anchor}", "${ancor}"}, `lines.yaml:2: line "a-net": anchors: parameter: there is no "ancor": did you mean "anchor"?`},
		{"anchor not closed", edit{"lines.yaml", "${anchor}", "${anchor"}, `lines.yaml:2: line "a-net": anchor "${anchor:53" cannot be filled in`},
		{"dangling owner", edit{"services.yaml", "owner: VP", "owner: VHTT"}, `services.yaml:2: service "web": owner: there is no "VHTT": add it, or mend the id`},
		{"dangling operator", edit{"services.yaml", "operator: tinh", "operator: tin"}, `services.yaml:2: service "web": operator: there is no "tin": did you mean "tinh"?`},
		{"dangling hours", edit{"services.yaml", "hours: hanh-chinh", "hours: gio-khac"}, `services.yaml:2: service "web": hours: there is no "gio-khac"`},
		{"dangling dependence", edit{"services.yaml", "depends: [lan]", "depends: [wan]"}, `services.yaml:2: service "web": depends: there is no "wan": did you mean "lan"?`},
		{"depends in a circle", edit{"services.yaml", "severity: minor", "severity: minor\n    depends: [web]"}, `services.yaml:18: service "lan": depends go in a circle: lan → web → lan`},
		{"dangling parameter", edit{"services.yaml", "${web.url}", "${web.uri}"}, `services.yaml:16: service "web": check "http": url: parameter: there is no "web.uri": did you mean "web.url"?`},
		{"parameter not closed", edit{"services.yaml", "${web.url}", "${web.url"}, `services.yaml:16: service "web": check "http": url: a ${ that cannot be filled in`},
		{"anchors beside other text", edit{"services.yaml", "${line.anchors}", "x${line.anchors}"}, `services.yaml:17: service "web": check "uplink": anchors: a ${ that cannot be filled in`},
		{"peers without a mailbox", edit{"services.yaml", "${line.anchors}", "${loop.peers}"}, `services.yaml:17: service "web": check "uplink": anchors: ${loop.peers} without mailbox`},
		{"peers beside other text", edit{"services.yaml", "${line.anchors}", "x${loop.peers}"}, `services.yaml:17: service "web": check "uplink": anchors: a ${ that cannot be filled in`},
		{"peers in an anchor", edit{"lines.yaml", "${anchor}:53", "${loop.peers}"}, `lines.yaml:2: line "a-net": anchor "${loop.peers}" cannot be filled in`},
		{"parameter of the peers' name", edit{"parameters.yaml", "id: anchor", "id: loop.peers"}, `parameters.yaml:4: parameter "loop.peers": the collector fills it in`},
		{"every too short", edit{"services.yaml", "every: 60s", "every: 1ms"}, `services.yaml:16: service "web": check "http": every: 1ms is out of bounds: write 10s to 24h`},
		{"every in parts of seconds", edit{"services.yaml", "every: 60s", "every: 10500ms"}, `services.yaml:16: service "web": check "http": every: 10.5s: write whole seconds`},
		{"every without unit", edit{"services.yaml", "every: 60s", "every: 60"}, `services.yaml:16: service "web": check "http": every: "60" is no duration`},
		{"no every", edit{"services.yaml", "every: 60s, ", ""}, "services.yaml:16: service \"web\": check \"http\": `every:` is missing"},
		{"confirm too often", edit{"services.yaml", "confirm: 2", "confirm: 4"}, `services.yaml:16: service "web": check "http": confirm: "4": write a whole number from 0 to 3`},
		{"unknown path", edit{"services.yaml", "path: internet", "path: wifi"}, `services.yaml:16: service "web": check "http": path: "wifi" is not known`},
		{"check twice", edit{"services.yaml", "id: second", "id: gateway"}, `services.yaml:29: service "lan": check "gateway" stands on line 28 already`},
		{"empty option", edit{"services.yaml", `url: "${web.url}"`, "url: "}, `services.yaml:16: service "web": check "http": option "url" is empty`},
		{"unknown severity", edit{"services.yaml", "severity: major", "severity: high"}, `services.yaml:12: service "web": severity: "high" is not known`},
		{"unknown watch", edit{"services.yaml", "watch: one_per_unit", "watch: everyone"}, `services.yaml:14: service "web": watch: "everyone" is not known: write one_per_unit, district or role:NAME`},
		{"watch of a role nobody has", edit{"services.yaml", "watch: role:any", "watch: role:quax"}, `services.yaml:18: service "lan": watch: no machine has the role or duty "quax"`},
		{"the collector as its own witness", edit{"machines.yaml", "unit: d, role: collector,", "unit: d, role: collector, duties: [witness],"}, `machines.yaml:5: machine "m-d": the duty "witness" on the collector's own machine proves nothing`},
		{"eight witnesses", edit{"machines.yaml", "machines:\n", "machines:\n" + manyWitnesses(8)}, `machines.yaml:2: machine "w-0": on 2023-01-01 8 machines have the duty "witness", at most 7 can`},
		{"seven witnesses", edit{"machines.yaml", "machines:\n", "machines:\n" + manyWitnesses(7)}, ``},
		{"season", edit{"services.yaml", "05-01..08-31", "summer"}, `services.yaml:37: service "summer": season "summer": write the first and the last day`},
		{"season on a day that no year has", edit{"services.yaml", "05-01..08-31", "05-01..09-31"}, `services.yaml:37: service "summer": season "05-01..09-31" names a day that no year has`},
		{"quorum", edit{"services.yaml", "watch: role:any", "watch: role:any\n    quorum: {units: 0}"}, `services.yaml:27: service "lan": quorum: units: "0": write a whole number`},
		{"contact kind", edit{"offices.yaml", "kind: phone", "kind: fax"}, `offices.yaml:4: office "VP": contacts: kind: "fax" is not known`},
		{"office of no unit", edit{"offices.yaml", "unit: d, ", ""}, `offices.yaml:4: office "VP" needs exactly one of unit and unit_kinds`},
		{"dangling office", edit{"roster.yaml", "office: VP", "office: XX"}, `roster.yaml:2: duty "truc": office: there is no "XX"`},
		{"step 0", edit{"roster.yaml", "step: 1", "step: 0"}, `roster.yaml:2: duty "truc": step: "0"`},
		{"derived", edit{"services.yaml", "- {id: second, kind: gateway, every: 30s, path: lan}", "- {id: d, kind: derived, every: 60s, with: {any: [web, {all: [web.http, summer]}]}}"}, ``},
		{"derived without a rule", edit{"services.yaml", "- {id: second, kind: gateway, every: 30s, path: lan}", "- {id: d, kind: derived, every: 60s}"}, ``},
		{"derived from nobody", edit{"services.yaml", "- {id: second, kind: gateway, every: 30s, path: lan}", "- {id: d, kind: derived, every: 60s, with: {all: [wob]}}"}, `services.yaml:29: service "lan": check "d": there is no "wob": did you mean "web"?`},
		{"derived from no check", edit{"services.yaml", "- {id: second, kind: gateway, every: 30s, path: lan}", "- {id: d, kind: derived, every: 60s, with: {all: [web.htp]}}"}, `services.yaml:29: service "lan": check "d": service "web" has no check "htp"`},
		{"derived by a rule that is none", edit{"services.yaml", "- {id: second, kind: gateway, every: 30s, path: lan}", "- {id: d, kind: derived, every: 60s, with: {some: [web]}}"}, `services.yaml:29: service "lan": check "d": "some" is none of all, any, at_least, of`},
		{"derived from itself", edit{"services.yaml", "- {id: second, kind: gateway, every: 30s, path: lan}", "- {id: d, kind: derived, every: 60s, with: {all: [lan]}}"}, `services.yaml:18: service "lan": derived services go in a circle: lan → lan`},
		{"decides beside others", edit{"services.yaml", "- {id: second, kind: gateway, every: 30s, path: lan}", "- {id: second, kind: gateway, every: 30s, path: lan, decides: true}\n      - {id: x, kind: attested, every: 24h, decides: true}"}, `services.yaml:30: service "lan": check "x": what the collector judges by itself cannot decide beside others`},
		{"dangling target", edit{"targets.yaml", "service: web", "service: wob"}, `targets.yaml:2: target "t": service: there is no "wob": did you mean "web"?`},
		{"objective in percent", edit{"targets.yaml", "0.995", "99.5"}, `targets.yaml:2: target "t": objective: "99.5": write a number from 0 to 1`},
		{"two targets", edit{"targets.yaml", "targets:\n", "targets:\n  - {id: u, service: web, objective: 0.9, calendar: 24x7, basis: b, " + rec + "}\n"}, `targets.yaml:3: target "t": service "web" has a target for 24x7 on line 2 already`},
		{"parameter values overlap", edit{"parameters.yaml", "unit: xa-b, ", ""}, `parameters.yaml:2: parameter "web.url": 2023-01-01 on overlaps 2023-01-01 on of line 2`},
		{"parameter of no unit", edit{"parameters.yaml", "unit: xa-b", "unit: xa-z"}, `parameters.yaml:2: parameter "web.url": unit: there is no "xa-z"`},
		{"builtin with value", edit{"parameters.yaml", "builtin: true", "builtin: true, value: x"}, `parameters.yaml:3: parameter "own.agents": the program fills this in`},
		{"parameter of a line's name", edit{"parameters.yaml", "id: anchor", "id: line.anchors"}, `parameters.yaml:4: parameter "line.anchors": names that begin with line. come from lines.yaml`},
		{"control id", edit{"law.yaml", "id: m02", "id: x02"}, `law.yaml:8: law set "l": control: id "x02" cannot be used`},
		{"no layer", edit{"law.yaml", "layers: [2], ", ""}, `law.yaml:8: law set "l": control "m02" belongs to no layer`},
		{"control of a role", edit{"law.yaml", "layers: [2]", "layers: [2], roles: [laptop, server], from_level: 3"}, ""},
		{"control of no role", edit{"law.yaml", "layers: [2]", "layers: [2], roles: [tablet]"}, `law.yaml:8: law set "l": control "m02": roles: "tablet" is not known: write some of probe, workstation, laptop, server, collector`},
		{"control from level 0", edit{"law.yaml", "layers: [2]", "layers: [2], from_level: 0"}, `law.yaml:8: law set "l": control "m02": from_level: "0"`},
		{"document of a role", edit{"law.yaml", "id: m02, name: {vi: Mẫu, en: Signatures}, layers: [2]", "id: a02, name: {vi: Mẫu, en: Signatures}, layers: [2], roles: [server]"}, `law.yaml:8: law set "l": control "a02": roles and from_level are of measured controls`},
		{"layer 5", edit{"law.yaml", "layers: [2]", "layers: [5]"}, `law.yaml:8: law set "l": control "m02": layers "5" cannot be used`},
		{"wrong year", edit{"calendars/2024.yaml", "year: 2024", "year: 2025"}, `calendars/2024.yaml:1: year 2025 stands in the file of 2024`},
		{"day of another year", edit{"calendars/2024.yaml", "date: 2024-05-04", "date: 2025-05-04"}, `calendars/2024.yaml:9: day "2025-05-04" lies outside 2024`},
		{"day twice", edit{"calendars/2024.yaml", "date: 2024-04-29", "date: 2024-01-01"}, `calendars/2024.yaml:8: day 2024-01-01 stands on line 7 already`},
		{"make-up on a working day", edit{"calendars/2024.yaml", "date: 2024-05-04", "date: 2024-05-03"}, `calendars/2024.yaml:9: day 2024-05-03 (Friday) is a working day already`},
		{"day kind", edit{"calendars/2024.yaml", "kind: lam_bu", "kind: nghi"}, `calendars/2024.yaml:9: day "2024-05-04": kind: "nghi" is not known`},
		{"hours over midnight", edit{"calendars/2024.yaml", "13:00-16:30", "22:00-06:00"}, `calendars/2024.yaml:4: hours "h1": times: "22:00-06:00": write them in the order of the day`},
		{"hours to 24:30", edit{"calendars/2024.yaml", "13:00-16:30", "13:00-24:30"}, `calendars/2024.yaml:4: hours "h1": times: "13:00-24:30"`},
		{"hours overlap", edit{"calendars/2024.yaml", "unit: xa-b, weekdays: [sat]", "weekdays: [fri]"}, `calendars/2024.yaml:5: hours "h2": hanh-chinh has hours for these days on line 4 already`},
		{"hours beyond their year", edit{"calendars/2024.yaml", "valid_to: 2024-12-31", "valid_to: 2025-12-31"}, `calendars/2024.yaml:4: hours "h1": 2024-01-01 to 2025-12-31 reaches beyond 2024`},
		{"weekday", edit{"calendars/2024.yaml", "weekdays: [mon", "weekdays: [thứ-hai"}, `calendars/2024.yaml:4: hours "h1": weekdays: "thứ-hai" is no day of the week`},
		{"calendar with another name", edit{"calendars/24.yaml", "", "year: 2024\n"}, `calendars/24.yaml: no calendar has this name`},
		{"file with another name", edit{"service.yaml", "", "x: 1\n"}, `service.yaml: nothing reads this file: did you mean services.yaml?`},
		{"not YAML", edit{"law.yaml", "law_sets:", "law_sets: ["}, `law.yaml:2: this is not YAML`},
		{"empty file", edit{"law.yaml", small["law.yaml"], ""}, `law.yaml:1: this is not YAML`},
		{"two documents", edit{"law.yaml", "law_sets:", "---\nlaw_sets: []\n---\nlaw_sets:"}, `law.yaml:1: this is not YAML`},
		{"a list", edit{"law.yaml", small["law.yaml"], "- a\n"}, `law.yaml:1: the file is no mapping`},
		{"anchor", edit{"law.yaml", "source: s", "source: &s s"}, `law.yaml:5: an anchor or alias`},
		{"tag", edit{"law.yaml", "source: s", "source: !!binary cw=="}, `law.yaml:5: a tag (!!binary)`},
		{"control character", edit{"law.yaml", "source: s", `source: "a\x07b"`}, `law.yaml:5: law set "l": source holds a control character`},
		{"a mapping for a word", edit{"law.yaml", "source: s", "source: {a: b}"}, `law.yaml:5: law set "l": source is no plain value`},
		{"a word for a list", edit{"law.yaml", "layers: [2]", "layers: 2"}, `law.yaml:8: law set "l": control "m02": layers is no list`},
		{"not UTF-8", edit{"law.yaml", "source: s", "source: \xff"}, `law.yaml: the file is not UTF-8`},
		{"deep nesting", edit{"law.yaml", "source: s", "source: " + strings.Repeat("[", 30) + strings.Repeat("]", 30)}, `law.yaml:5: more than 16 levels of nesting`},
		{"too long a text", edit{"law.yaml", "source: s", "source: " + strings.Repeat("s", maxText+1)}, `law.yaml:5: law set "l": source has 2001 bytes`},
		{"too long a file", edit{"law.yaml", "source: s", "source: s #" + strings.Repeat("s", maxFileBytes)}, `law.yaml: the file has 4194305 bytes`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(fixture(t, tt.edit))
			if tt.want == "" {
				if err != nil {
					t.Fatalf("got %v, want no error", err)
				}
				return
			}
			if err == nil {
				t.Fatalf("got no error, want %q", tt.want)
			}
			for line := range strings.Lines(err.Error()) {
				if strings.HasPrefix(line, tt.want) {
					return
				}
			}
			t.Errorf("got:\n%v\nwant a line that begins with\n%s", err, tt.want)
		})
	}
}

// An IT officer mends a profile in one go: mistakes in several files come together, in order.
func TestLoadReportsAllAtOnce(t *testing.T) {
	_, err := Load(fixture(t, edit{"units.yaml", "kind: merge", "kind: join"}, edit{"services.yaml", "owner: VP", "owner: V"},
		edit{"services.yaml", "every: 30s", "every: 3s"}, edit{"lines.yaml", "seal: 30s", "seal: x"}))
	problems, ok := errors.AsType[Problems](err)
	if !ok {
		t.Fatalf("got %v, want Problems", err)
	}
	var places []string
	for _, p := range problems {
		places = append(places, fmt.Sprintf("%s:%d", p.File, p.Line))
	}
	want := []string{"lines.yaml:2", "services.yaml:2", "services.yaml:28", "units.yaml:28"}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Errorf("places (-want +got):\n%s\n%v", diff, err)
	}
}

func TestLoadMissingFiles(t *testing.T) {
	_, err := Load(fstest.MapFS{})
	for _, part := range parts() {
		if !strings.Contains(fmt.Sprint(err), part.file+": the file is missing") {
			t.Errorf("%s is not named in: %v", part.file, err)
		}
	}
}

// brokenFS fails on reading, as a disk does.
type brokenFS struct{ fs.FS }

func (b brokenFS) Open(name string) (fs.File, error) {
	if name == "law.yaml" {
		return nil, fs.ErrPermission
	}
	return b.FS.Open(name)
}

func TestLoadUnreadable(t *testing.T) {
	_, err := Load(brokenFS{fixture(t)})
	if err == nil || !strings.HasPrefix(err.Error(), "law.yaml: permission denied") {
		t.Errorf("got %v", err)
	}
}

func TestLoadIsDeterministic(t *testing.T) {
	if diff := cmp.Diff(sample(t), sample(t), cmp.AllowUnexported(Profile{})); diff != "" {
		t.Error(diff)
	}
}

// Names are compared after Unicode normalisation wherever they came from.
func TestLoadNormalises(t *testing.T) {
	p := loaded(t, edit{"units.yaml", "Huyện D", "Huye\u0323\u0302n D"})
	if got := p.Units[0].Names[0].Name.VI; got != "Huyện D" {
		t.Errorf("got %+q", got)
	}
}

func FuzzLoad(f *testing.F) {
	for name, text := range small {
		f.Add(name, text)
	}
	f.Add("units.yaml", "a: &a [*a]")
	f.Add("calendars/2024.yaml", "year: 2024\nweek: [mon]\nhours: [{times: [\"24:00-24:00\"]}]")
	f.Fuzz(func(t *testing.T, name, text string) {
		if _, known := small[name]; !known {
			return
		}
		fsys := fixture(t).(fstest.MapFS)
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
		p, err := Load(fsys)
		if (p == nil) == (err == nil) {
			t.Fatalf("profile %v and error %v", p != nil, err)
		}
		if p == nil {
			return
		}
		at := on(t, "2024-06-01")
		for _, m := range p.MachinesAt(at) {
			text, _, err := p.PlanFor(m.ID, at, nil, 1)
			again, _, _ := p.PlanFor(m.ID, at, nil, 1)
			if err != nil || string(text) != string(again) {
				t.Fatalf("plan of %s: %v, the same twice: %v", m.ID, err, string(text) == string(again))
			}
		}
		for _, s := range p.Services {
			p.Calendar(s.ID, ServiceHours, "xa-a", at, at.AddDate(0, 0, 20))
			p.Quorum(s.ID, at)
		}
		if next := p.NextChange(at); !next.IsZero() && !next.After(at) {
			t.Fatalf("next change %s lies before %s", next, at)
		}
	})
}
