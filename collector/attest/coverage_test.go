package attest

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/evidence"
	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

// TestByLaw changes the law set and measures nothing again.
func TestByLaw(t *testing.T) {
	limits := func(pairs ...any) (list []profile.Limit) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, profile.Limit{Name: pairs[i].(string), Value: pairs[i+1].(float64)})
		}
		return list
	}
	const day = 86400.0
	for _, tt := range []struct {
		name    string
		control string
		state   check.State
		fact    string
		value   float64
		options check.Options
		law     []profile.Limit
		want    State
	}{
		{"the same limits", "m05", check.Up, "age_s", 20 * day, nil, limits("max_days", 31.0), Pass},
		{"a stricter law", "m05", check.Up, "age_s", 20 * day, nil, limits("max_days", 14.0), Fail},
		{"a looser law", "m05", check.Down, "age_s", 40 * day, nil, limits("max_days", 62.0), Pass},
		{"a looser law, but something else is wrong too", "m05", check.Degraded, "age_s", 20 * day, nil, limits("max_days", 62.0), Partial},
		{"the plan had limits of its own", "m05", check.Down, "age_s", 20 * day, check.Options{"max_age": 10 * 24 * time.Hour}, limits("max_days", 31.0), Pass},
		{"the plan's were looser", "m05", check.Up, "age_s", 40 * day, check.Options{"max_age": 60 * 24 * time.Hour}, limits("max_days", 31.0), Fail},
		{"between the plan's two", "m05", check.Degraded, "age_s", 40 * day, check.Options{"fail_age": 50 * 24 * time.Hour}, limits("max_days", 62.0), Pass},
		{"no numbers in the law", "m05", check.Down, "age_s", 40 * day, nil, nil, Fail},
		{"not measured", "m05", check.Down, "lists_age_s", 1, nil, limits("max_days", 62.0), Fail},
		{"nothing is known", "m05", check.Unknown, "age_s", 1, nil, limits("max_days", 62.0), Unknown},
		{"two steps: warned", "m02", check.Up, "age_s", 2.5 * day, nil, limits("warn_days", 2.0, "fail_days", 7.0), Partial},
		{"two steps: failed", "m02", check.Degraded, "age_s", 5 * day, nil, limits("warn_days", 1.0, "fail_days", 4.0), Fail},
		{"two steps: fine", "m02", check.Degraded, "age_s", 5 * day, nil, limits("warn_days", 6.0, "fail_days", 7.0), Pass},
		{"administrators", "m10", check.Down, "administrators_count", 3, nil, limits("max_count", 3.0), Pass},
		{"administrators of the plan", "m10", check.Up, "administrators_count", 4, check.Options{"max_count": int64(5)}, limits("max_count", 3.0), Fail},
		{"at least so long", "m12", check.Up, "password_length_count", 12, check.Options{"min_length": int64(8)}, limits("min_count", 14.0), Fail},
		{"shorter is enough", "m12", check.Down, "password_length_count", 10, nil, limits("min_count", 8.0), Pass},
		{"a log that reaches back", "m17", check.Up, "log_reach_s", 40 * day, nil, limits("level2_days", 90.0), Partial},
		{"a clock behind is off too", "m16", check.Up, "offset_s", -30, nil, limits("warn_seconds", 10.0), Partial},
		{"a control without numbers", "m04", check.Down, "age_s", 1, nil, limits("max_days", 9.0), Fail},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := control(tt.control, 1)
			c.Limits = tt.law
			m := Measured{State: tt.state, Facts: check.Facts{{Name: tt.fact, Value: tt.value}}, Options: tt.options}
			if got := ByLaw(c, m, testNow); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// TestByRoleAndLevel has one measured number judged by what the machine is.
func TestByRoleAndLevel(t *testing.T) {
	const day = 86400.0
	levels := []profile.Limit{{Name: "level2_days", Value: 30}, {Name: "level3_days", Value: 90}}
	locks := []profile.Limit{{Name: "user_minutes", Value: 15}, {Name: "admin_minutes", Value: 5}}
	for _, tt := range []struct {
		name    string
		control string
		fact    string
		value   float64
		law     []profile.Limit
		roles   []string
		from    int
		role    string
		level   int
		want    State
	}{
		{"a month of log at level 2", "m17", "log_reach_s", 40 * day, levels, nil, 0, "probe", 2, Pass},
		{"at level 3", "m17", "log_reach_s", 40 * day, levels, nil, 0, "probe", 3, Partial},
		{"at level 4, which has no number of its own", "m17", "log_reach_s", 40 * day, levels, nil, 0, "probe", 4, Partial},
		{"three months at level 3", "m17", "log_reach_s", 95 * day, levels, nil, 0, "server", 3, Pass},
		{"at level 1", "m17", "log_reach_s", 20 * day, levels, nil, 0, "probe", 1, Partial},
		{"at a level that nobody told", "m17", "log_reach_s", 40 * day, levels, nil, 0, "", 0, Pass},
		{"the screen of a user", "m13", "screen_lock_s", 600, locks, nil, 0, "workstation", 2, Pass},
		{"the screen of a server", "m13", "screen_lock_s", 600, locks, nil, 0, "server", 2, Fail},
		{"another role", "m15", "age_s", 1, nil, []string{"laptop"}, 0, "workstation", 2, NotApplicable},
		{"that role", "m15", "age_s", 1, nil, []string{"laptop"}, 0, "laptop", 2, Pass},
		{"a role that nobody told", "m15", "age_s", 1, nil, []string{"laptop"}, 0, "", 2, Pass},
		{"below the level", "m03", "age_s", 1, nil, nil, 3, "server", 2, NotApplicable},
		{"from the level on", "m03", "age_s", 1, nil, nil, 3, "server", 3, Pass},
	} {
		c := control(tt.control, 1)
		c.Limits, c.Roles, c.FromLevel = tt.law, tt.roles, tt.from
		m := Measured{Unit: "u", Machine: "pc", Control: tt.control, Role: tt.role, Level: tt.level, State: check.Up, Facts: check.Facts{{Name: tt.fact, Value: tt.value}}}
		if got := ByLaw(c, m, testNow); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if got := NewMatrix([]string{"u"}, []profile.Control{c}, []Measured{m}, nil, testNow).Units[0].Layers[0].Measured.Cells[0].State; got != tt.want {
			t.Errorf("%s: the matrix has %s, want %s", tt.name, got, tt.want)
		}
	}
}

// shipped is the profile that the collector carries.
func shipped() (*profile.Profile, error) {
	files, err := profiles.Embedded(profiles.Default)
	if err != nil {
		return nil, err
	}
	return profile.Load(files)
}

// TestBoundsOfTheCatalogue finds the limits that the bounds name in the shipped law sets.
func TestBoundsOfTheCatalogue(t *testing.T) {
	p, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	controls := Controls(p.LawAt(testNow), testNow)
	for _, b := range bounds() {
		found := false
		for _, c := range controls {
			if c.ID == b.control {
				found = !math.IsNaN(limitOf(c.Limits, b.warn)) || !math.IsNaN(limitOf(c.Limits, b.fail))
			}
		}
		if !found {
			t.Errorf("%s: the law set has neither %q nor %q", b.control, b.warn, b.fail)
		}
	}
}

func TestWorklistAndShare(t *testing.T) {
	controls := []profile.Control{control("m04", 1), control("m15", 1), control("m16", 1, 2), control("a09", 3), control("a02", 1)}
	results := []Measured{
		{Unit: "u", Machine: "pc-1", Control: "m04", State: check.Down}, {Unit: "u", Machine: "pc-2", Control: "m04", State: check.Down},
		{Unit: "u", Machine: "pc-1", Control: "m15", State: check.Degraded}, {Unit: "u", Machine: "pc-1", Control: "m16", State: check.Degraded},
		{Unit: "v", Machine: "pc-3", Control: "m04", State: check.Up},
	}
	m := NewMatrix([]string{"u", "v"}, controls, results, []Attestation{doc("a02", Met, "2026-01-01", "")}, testNow)
	var got []string
	for _, task := range m.Worklist("u") {
		got = append(got, task.Control.ID+":"+string(task.State))
	}
	// 5, 0.5×2×5, 0.5×2 and 0.9×1.
	if want := "m04:fail m16:partial m15:partial a09:missing"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	if list := m.Worklist("u"); list[0].Machines != 2 || list[0].Score != 5 || list[3].Machines != 0 {
		t.Errorf("%+v", list)
	}
	if all := m.Worklist(""); len(all) != 4+4 {
		t.Errorf("%d tasks of all units", len(all)) // v has three controls that nothing measures and two without documents
	}
	s := Tally{Pass: 1, Fail: 2, Excepted: 1, NotApplicable: 5}.Share()
	if s[Pass] != 0.25 || s[Fail] != 0.5 || s[Excepted] != 0.25 || len(s) != 3 {
		t.Errorf("%v", s)
	}
	if len((Tally{NotApplicable: 2}).Share()) != 0 {
		t.Error("nothing applies, but there are shares")
	}
}

func TestDossier(t *testing.T) {
	log := openLog(t)
	f := rules()
	f.Number = "=../../12/QĐ-UBND"
	a, err := New(f, setting())
	if err != nil {
		t.Fatal(err)
	}
	if a, err = Add(t.Context(), log, a, strings.NewReader("%PDF-1.7 quy chế")); err != nil {
		t.Fatal(err)
	}
	if a, err = Approve(t.Context(), log, a, "tam@tuky", testNow); err != nil {
		t.Fatal(err)
	}
	results := []Measured{{Unit: a.Unit, Machine: "pc-1", Control: "m04", State: check.Down, Reason: check.ControlFail, Slot: testNow, Facts: check.Facts{{Name: "firewall_closed_count", Value: 0}}}}
	m := NewMatrix([]string{a.Unit}, []profile.Control{control("m04", 1), control("a02", 1), control("a15", 1, 3)}, results, []Attestation{a}, testNow)
	write := func() []byte {
		t.Helper()
		var b bytes.Buffer
		if err := WriteDossier(&b, m.Units[0], testNow, log); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	one := write()
	if !bytes.Equal(one, write()) {
		t.Error("the same matrix gave other bytes")
	}
	if err := VerifyDossier(bytes.NewReader(one), int64(len(one))); err != nil {
		t.Error(err)
	}
	z, err := zip.NewReader(bytes.NewReader(one), int64(len(one)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range z.File {
		data, err := readZipped(f)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(data)
	}
	if files["lop-1/a02/12-QĐ-UBND.pdf"] != "%PDF-1.7 quy chế" || !strings.Contains(files["lop-1/m04/ket-qua-do.csv"], "firewall_closed_count=0") {
		t.Errorf("files: %v", files)
	}
	index := files["INDEX.csv"]
	for _, want := range []string{"lop-1/a02/12-QĐ-UBND.pdf", "'=../../12/QĐ-UBND", "lan@tuky,tam@tuky", "3,a15,,missing", "1,m04,,fail"} {
		if !strings.Contains(index, want) {
			t.Errorf("the index lacks %q:\n%s", want, index)
		}
	}
	// Each of these is found.
	rewrite := func(change func(name string, data []byte) (string, []byte)) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for name, text := range files {
			name, data := change(name, []byte(text))
			if name == "" {
				continue
			}
			e, err := w.Create(name)
			if err == nil {
				_, err = e.Write(data)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	const paper = "lop-1/a02/12-QĐ-UBND.pdf"
	for want, change := range map[string]func(string, []byte) (string, []byte){
		paper + ": has SHA-256": func(n string, d []byte) (string, []byte) {
			if n == paper {
				d = append(d, '!')
			}
			return n, d
		},
		paper + ": missing": func(n string, d []byte) (string, []byte) {
			if n == paper {
				n = ""
			}
			return n, d
		},
		"lop-9/x: not in SHA256SUMS": func(n string, d []byte) (string, []byte) {
			if n == paper {
				n = "lop-9/x"
			}
			return n, d
		},
		"leads out of it": func(n string, d []byte) (string, []byte) {
			if n == paper {
				n = "../x"
			}
			return n, d
		},
	} {
		b := rewrite(change)
		if err := VerifyDossier(bytes.NewReader(b), int64(len(b))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if err := WriteDossier(io.Discard, m.Units[0], testNow, swapped{}); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("another document in the log: %v", err)
	}
	if err := WriteDossier(io.Discard, m.Units[0], testNow, lost{}); !errors.Is(err, evidence.ErrNone) {
		t.Errorf("a document that is gone: %v", err)
	}
}

type swapped struct{}

func (swapped) Blob(int64) ([]byte, error) { return []byte("another"), nil }

type lost struct{}

func (lost) Blob(int64) ([]byte, error) { return nil, evidence.ErrNone }
