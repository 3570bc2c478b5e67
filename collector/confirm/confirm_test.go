package confirm

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"egovmon/agent/check"
	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

const record = "valid_from: 2023-01-01, source: s, verified: true"

var now = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func district(t *testing.T) *profile.Profile {
	t.Helper()
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"units.yaml": "district: d\nunits:\n  - {id: d, kind: huyen, names: [{vi: D, en: D}], " + record + "}\n",
		"services.yaml": "services:\n" +
			"  - {id: nen, name: {vi: N, en: N}, operator: t, owner: VP, severity: major, watch: district, checks: [{id: x, kind: attested, every: 24h}], " + record + "}\n" +
			"  - {id: web, name: {vi: W, en: W}, operator: t, owner: VP, severity: major, watch: district, checks: [{id: x, kind: tcp, every: 60s}], " + record + "}\n",
		"machines.yaml": "machines: []\n", "lines.yaml": "lines: []\n", "roster.yaml": "roster: []\n", "targets.yaml": "targets: []\n", "law.yaml": "law_sets: []\n", "parameters.yaml": "parameters: []\n",
		"offices.yaml": "operators:\n  - {id: t, name: {vi: T, en: T}, " + record + "}\noffices:\n  - {id: VP, name: {vi: V, en: V}, unit: d, contacts: [], " + record + "}\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	p, err := profile.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNew(t *testing.T) {
	p := district(t)
	good := Form{Service: "nen", State: "up", ValidTo: "2026-12-31", Number: " 7/BC ", Issued: "2026-11-20", Issuer: "Cục"}
	for _, tt := range []struct {
		name string
		edit func(f *Form)
		want string
	}{
		{"good", func(*Form) {}, ""},
		{"of a unit", func(f *Form) { f.Unit = "d" }, ""},
		{"from before", func(f *Form) { f.From = "2026-11-20 08:30" }, ""},
		{"for today", func(f *Form) { f.ValidTo = "2026-11-23" }, ""},
		{"no service", func(f *Form) { f.Service = "x" }, "service: the profile has no"},
		{"measured", func(f *Form) { f.Service = "web" }, "write one of nen"},
		{"no unit", func(f *Form) { f.Unit = "x" }, "unit: the profile has no"},
		{"state", func(f *Form) { f.State = "unknown" }, "state:"},
		{"ended", func(f *Form) { f.ValidTo = "2026-11-22" }, "valid_to:"},
		{"for too long", func(f *Form) { f.ValidTo = "2027-11-25" }, "valid_to:"},
		{"no end", func(f *Form) { f.ValidTo = "" }, "valid_to:"},
		{"issued tomorrow", func(f *Form) { f.Issued = "2026-11-24" }, "issued:"},
		{"from tomorrow", func(f *Form) { f.From = "2026-11-24 08:00" }, "from:"},
		{"from long ago", func(f *Form) { f.From = "2026-10-01 08:00" }, "from:"},
		{"from nonsense", func(f *Form) { f.From = "hôm qua" }, "is no time"},
		{"no number", func(f *Form) { f.Number = " " }, "number: it is missing"},
		{"a long number", func(f *Form) { f.Number = strings.Repeat("x", 200) }, "number: 200 bytes"},
		{"lines in the issuer", func(f *Form) { f.Issuer = "a\nb" }, "issuer:"},
	} {
		f := good
		tt.edit(&f)
		w, err := New(f, Setting{Profile: p, By: "an", Now: now})
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			l, err := evidence.NewLeaf(evidence.Attestation, w.fields(), nil)
			if err != nil {
				t.Fatal(err)
			}
			back, err := Parse(l, -1)
			if d := cmp.Diff(w, back, cmpopts.EquateComparable(evidence.Ref{})); err != nil || d != "" || !Is(l) {
				t.Errorf("%s: %v, read back (-want +got):\n%s", tt.name, err, d)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestBook(t *testing.T) {
	fields := func(more ...string) map[string]string {
		f := map[string]string{"service": "nen", "state": "down", "from": "2026-11-23T07:00:00Z", "valid_to": "2026-11-30", "number": "7", "issued": "2026-11-20", "issuer": "c", "entered_by": "an", "entered_at": "2026-11-23T08:00:00.000Z"}
		for i := 0; i+1 < len(more); i += 2 {
			f[more[i]] = more[i+1]
		}
		return f
	}
	var b Book
	for i, f := range []map[string]string{
		fields(), fields("state", "up", "unit", "d"), {"withdraws": "0", "entered_by": "an", "entered_at": "2026-11-23T09:00:00.000Z", "note": "n"},
		fields("state", "gone"), fields("from", "2026-11-23T09:00:00Z"), fields("valid_to", "2028-01-01"), fields("entered_at", "x"), fields("issued", ""), fields("number", ""),
		{"withdraws": "99", "entered_by": "an", "note": "n"}, {"withdraws": "x", "entered_by": "an", "note": "n"}, {"control": "a01", "unit": "d", "finding": "met", "number": "1"},
	} {
		for k, v := range f {
			if v == "" {
				delete(f, k)
			}
		}
		l, err := evidence.NewLeaf(evidence.Attestation, f, nil)
		if err != nil {
			t.Fatal(i, err)
		}
		b.Take(l, int64(i))
	}
	if n := len(b.Unreadable()); n != 8 || len(b.All()) != 2 || !b.All()[0].Withdrawn {
		t.Fatalf("%d cannot be read, %d can: %v", n, len(b.All()), b.Unreadable())
	}
	cat := Apply(history.Catalogue{Services: []history.Service{{ID: "nen", Attested: true}, {ID: "nen"}, {ID: "web", Attested: true}}}, b.All())
	end := time.Date(2026, 11, 30, 17, 0, 0, 0, time.UTC).Unix()
	want := []history.Word{{Span: history.Span{From: time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC).Unix(), To: end}, Unit: "d", Reason: check.OK}}
	if d := cmp.Diff(want, cat.Services[0].Words); d != "" || cat.Services[1].Words != nil || cat.Services[2].Words != nil {
		t.Errorf("(-want +got):\n%s", d)
	}
}
