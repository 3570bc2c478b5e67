package profiles_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"egovmon/agent/check/kinds"
	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

// systems are what officials and citizens of a commune work with, in the order of the catalogue: platforms, finance, education, justice,
// social affairs and reform, applications, infrastructure, the counter.
var systems = []string{
	"lgsp", "ndxp", "vneid", "truc",
	"tabmis", "dvckb", "qlns", "mqhns", "qltsc",
	"csdl_gd", "mxh_ht", "tsdc",
	"hotich", "lienthong", "lltp", "chungthuc",
	"ncc", "cbccvc", "parscore", "baocao", "pakn",
	"qlvb", "cong_h", "cong_x", "mail", "kyso_usb", "kyso_sim", "tthc", "dvc_t", "dvc_q", "motcua_bo", "thanhtoan", "danhgia",
	"lan", "inet", "tslcd", "dns_local", "ntp", "power", "pc", "backup", "truyen_thanh",
	"quay",
}

// ended are the systems that no longer existed when a profile began.
var ended = map[string][]string{"hai-phong-2025": {"cong_h", "dvc_t"}}

func load(t *testing.T, name string) *profile.Profile {
	t.Helper()
	fsys, err := profiles.Embedded(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range profile.Check(fsys, kinds.Table(), time.Date(2026, 11, 23, 9, 0, 0, 0, profile.Zone())) {
		if !problem.Warning {
			t.Errorf("%s: %v", name, problem)
		}
	}
	return p
}

// Every system is a row that says who runs it, who answers for it, what working means, and how it is checked. Nothing is
// verified before somebody has done so on the spot.
func TestCatalogueIsWhole(t *testing.T) {
	for _, name := range []string{"tu-ky-2023", "hai-phong-2025"} {
		p := load(t, name)
		for _, id := range systems {
			if !slices.ContainsFunc(p.Services, func(s profile.Service) bool { return s.ID == id }) != slices.Contains(ended[name], id) {
				t.Errorf("%s: system %s: there, or missing, against what is expected", name, id)
			}
		}
		for _, s := range p.Services {
			for _, lack := range lacks(p, &s) {
				t.Errorf("%s: service %s (%s): %s", name, s.ID, s.Valid, lack)
			}
		}
		for _, row := range written(t, name) {
			for _, key := range []string{"season", "hours", "depends", "quorum", "watch", "severity", "valid_to", "verified"} {
				if _, there := row[key]; !there {
					t.Errorf("%s: service %v does not write %s, be it empty", name, row["id"], key)
				}
			}
		}
		for _, x := range p.Targets {
			if x.Basis == "" || x.Verified {
				t.Errorf("%s: target %s: basis %q, verified %v", name, x.ID, x.Basis, x.Verified)
			}
		}
	}
}

// written are the rows as they stand in the file, where what is left out would mean its default without anybody having thought of it.
func written(t *testing.T, name string) []map[string]any {
	t.Helper()
	fsys, err := profiles.Embedded(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(fsys, "services.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Services []map[string]any }
	if err := yaml.Unmarshal(text, &all); err != nil || len(all.Services) == 0 {
		t.Fatalf("%d services: %v", len(all.Services), err)
	}
	return all.Services
}

// lacks names what a row does not say.
func lacks(p *profile.Profile, s *profile.Service) (list []string) {
	day := s.Valid.From.Start().Add(12 * time.Hour)
	_, operator := p.Operator(s.Operator, day)
	_, owner := p.Office(s.Owner, day)
	collected := s.AtCollector()
	for _, x := range []struct {
		what string
		said bool
	}{
		{"a Vietnamese name", s.Name.VI != ""},
		{"an English name", s.Name.EN != "" && s.Name.EN != s.Name.VI},
		{"what available means in Vietnamese", s.Available.VI != ""},
		{"what available means in English", s.Available.EN != "" && s.Available.EN != s.Available.VI},
		{"an operator of its days", operator},
		{"an owner of its days", owner},
		{"a source", s.Source != ""},
		{"service hours", s.Hours != ""},
		{"how grave its loss is", s.Severity != ""},
		{"a check", len(s.Checks) > 0},
		{"that nobody has verified it yet", !s.Verified},
		{"from what it follows", collected == nil || collected.Kind != profile.KindDerived || s.Rule() != nil},
		{"which machines may run its checks", s.Watch.String() != ""},
		{"what decides", len(s.Deciding()) > 0},
		{"whether there is a target: write one with its basis, or list the service under untargeted", slices.Contains(untargeted(), s.ID) !=
			slices.ContainsFunc(p.Targets, func(x profile.Target) bool { return x.Service == s.ID && x.Basis != "" && x.Valid.Covers(s.Valid.From) })},
	} {
		if !x.said {
			list = append(list, "it does not say "+x.what)
		}
	}
	for _, c := range s.Checks {
		if _, ok := kinds.Table().Lookup(c.Kind); !ok && !slices.Contains([]string{profile.KindDerived, profile.KindAttested, profile.KindCounter}, c.Kind) {
			list = append(list, "check "+c.ID+" is of the unknown kind "+c.Kind)
		}
	}
	return list
}

// untargeted are the services for which nobody has set a target: no text read names one, and the proposal covers portals, document and mail
// systems, signatures and lines alone. The board and the reports say of each that none is set.
func untargeted() []string {
	return []string{"pc", "lan", "dns_local", "ntp", "power", "backup", "may_in", "xep_hang", "may_cu", "truyen_thanh", "ndxp", "truc", "tabmis", "dvckb", "qlns", "mqhns", "qltsc",
		"csdl_gd", "mxh_ht", "tsdc", "lienthong", "lltp", "chungthuc", "ncc", "cbccvc", "parscore", "baocao", "pakn", "danhgia"}
}

// Of a row from which anything is taken away, lacks says what.
func TestLacksSeesEachField(t *testing.T) {
	for _, name := range []string{"tu-ky-2023", "hai-phong-2025"} {
		p := load(t, name)
		for what, take := range map[string]func(*profile.Service){
			"a Vietnamese name":                  func(s *profile.Service) { s.Name.VI = "" },
			"an English name":                    func(s *profile.Service) { s.Name.EN = s.Name.VI },
			"what available means in Vietnamese": func(s *profile.Service) { s.Available.VI = "" },
			"what available means in English":    func(s *profile.Service) { s.Available.EN = "" },
			"an operator of its days":            func(s *profile.Service) { s.Operator = "khong_co" },
			"an owner of its days":               func(s *profile.Service) { s.Owner = "KHONG" },
			"a source":                           func(s *profile.Service) { s.Source = "" },
			"service hours":                      func(s *profile.Service) { s.Hours = "" },
			"how grave its loss is":              func(s *profile.Service) { s.Severity = "" },
			"a check":                            func(s *profile.Service) { s.Checks = nil },
			"that nobody has verified it yet":    func(s *profile.Service) { s.Verified = true },
			"whether there is a target":          func(s *profile.Service) { s.ID = "khac" },
			"check http is of the unknown kind":  func(s *profile.Service) { s.Checks[1].Kind = "htp" },
		} {
			day := time.Date(2026, 6, 1, 9, 0, 0, 0, profile.Zone())
			s, _ := p.Service("tthc", day)
			one := *s
			one.Checks = slices.Clone(s.Checks)
			if take(&one); !slices.ContainsFunc(lacks(p, &one), func(l string) bool { return strings.Contains(l, what) }) {
				t.Errorf("%s: a row without it is not missed: %s: %q", name, what, lacks(p, &one))
			}
		}
	}
}

// While nothing is filled in, a row whose host is not known is not configured, and counts as not measured; nothing else is planned in its place.
func TestUnknownHostsAreNotConfigured(t *testing.T) {
	for name, unit := range map[string]string{"tu-ky-2023": "xa-tu-ky", "hai-phong-2025": "xa-tan-ky-2025"} {
		p, at := load(t, name), time.Date(2026, 6, 1, 9, 0, 0, 0, profile.Zone())
		for _, id := range []string{"lgsp", "mqhns", "mxh_ht", "ncc", "cbccvc", "parscore", "baocao", "pakn", "qlvb", "mail", "tthc", "danhgia", "backup", "truyen_thanh", "dns_local", "ntp"} {
			units := []string{unit, p.District}
			lacks := slices.ContainsFunc(units, func(u string) bool {
				return slices.ContainsFunc(p.NotConfigured(id, u, at), func(l profile.Lack) bool { return l.Decides })
			})
			if !lacks && len(p.Watchers(id, at)) > 0 {
				t.Errorf("%s: %s is measured though nobody has said where it is", name, id)
			}
		}
	}
}

// A journey is not planned before the system's owner has approved it: the reference, its day and its last day are parameters of the
// profile, and none of them may be missing.
func TestJourneysWaitForTheirApproval(t *testing.T) {
	for _, name := range []string{"tu-ky-2023", "hai-phong-2025"} {
		p, at, journeys := load(t, name), time.Date(2026, 6, 1, 9, 0, 0, 0, profile.Zone()), 0
		for _, s := range p.ServicesAt(at) {
			for _, c := range s.Checks {
				if c.Kind != "journey" {
					continue
				}
				journeys++
				wants := []string{s.ID + ".approved", s.ID + ".approved_on", s.ID + ".approved_until"}
				waits := slices.ContainsFunc(p.Units, func(u profile.Unit) bool {
					return slices.ContainsFunc(p.NotConfigured(s.ID, u.ID, at), func(l profile.Lack) bool {
						return l.Check == s.ID+"."+c.ID && !slices.ContainsFunc(wants, func(w string) bool { return !slices.Contains(l.Parameters, w) })
					})
				})
				if !waits {
					t.Errorf("%s: %s.%s does not wait for %q", name, s.ID, c.ID, wants)
				}
			}
		}
		if journeys == 0 {
			t.Errorf("%s has no journey", name)
		}
	}
}

// wantKinds are the kinds of check that each system's row must have among its own, so that what people mean by "it works" is looked at.
func wantKinds() map[string][]string {
	return map[string][]string{
		"lgsp": {"tcp", "tls"}, "ndxp": {"attested"}, "vneid": {"http", "loginpage"}, "truc": {"attested", "freshness"},
		"tabmis": {"tcp", "loginpage"}, "dvckb": {"http", "loginpage"}, "qlns": {"tcp", "freshness"}, "mqhns": {"http", "loginpage"}, "qltsc": {"http", "loginpage"},
		"csdl_gd": {"http", "loginpage"}, "mxh_ht": {"http"}, "tsdc": {"http"},
		"hotich": {"http", "loginpage"}, "lienthong": {"http", "loginpage"}, "lltp": {"http"}, "chungthuc": {"derived"},
		"ncc": {"http", "loginpage"}, "cbccvc": {"http", "loginpage"}, "parscore": {"http", "loginpage"}, "baocao": {"http", "loginpage"}, "pakn": {"http"},
		"qlvb": {"dns", "tls", "http", "loginpage", "freshness"}, "cong_h": {"http", "tls", "dns", "freshness", "control"}, "cong_x": {"http", "tls", "dns", "freshness", "control"},
		"mail": {"smtp", "imap", "loginpage", "maildns", "mailloop"}, "kyso_usb": {"tsa", "ocsp", "crl", "trustlist"}, "kyso_sim": {"tcp", "mobilepki"},
		"tthc": {"loginpage", "tls", "http", "journey", "freshness"}, "dvc_t": {"http", "loginpage"}, "dvc_q": {"http", "loginpage"}, "motcua_bo": {"http"},
		"thanhtoan": {"http", "tls"}, "danhgia": {"http"},
		"lan": {"gateway", "neighbours"}, "inet": {"uplink", "path", "captive"}, "tslcd": {"uplink", "line"}, "dns_local": {"dns", "hijack"}, "ntp": {"ntp"},
		"power": {"derived", "device"}, "pc": {"host", "inventory", "control"}, "backup": {"freshness"}, "truyen_thanh": {"device"}, "quay": {"counter"},
	}
}

// Each row has the checks that tell whether its system works, names who may run them, and leads to services that are there. What matters
// in a part of the year only, or to one kind of machine, says so.
func TestRowsHaveTheirChecks(t *testing.T) {
	for _, name := range []string{"tu-ky-2023", "hai-phong-2025"} {
		p := load(t, name)
		for _, id := range systems {
			if slices.Contains(ended[name], id) {
				continue
			}
			want := wantKinds()[id]
			if len(want) == 0 {
				t.Errorf("%s: the test does not say how %s is checked", name, id)
			}
			for _, s := range p.Services {
				if s.ID != id {
					continue
				}
				day := s.Valid.From.Start().Add(12 * time.Hour)
				for _, kind := range want {
					if !slices.ContainsFunc(s.Checks, func(c profile.ServiceCheck) bool { return c.Kind == kind }) {
						t.Errorf("%s: %s has no check of kind %s", name, id, kind)
					}
				}
				for _, dep := range s.Depends {
					if _, ok := p.Service(dep, day); !ok {
						t.Errorf("%s: %s depends on %s, which is not there on %s", name, id, dep, s.Valid.From)
					}
				}
				waits := slices.ContainsFunc(p.Units, func(u profile.Unit) bool { return len(p.NotConfigured(id, u.ID, day)) > 0 })
				if s.AtCollector() == nil && len(p.Watchers(id, day)) == 0 && !waits && s.InSeason(day) {
					t.Errorf("%s: nobody watches %s on %s", name, id, s.Valid.From)
				}
			}
		}
		day := p.Services[0].Valid.From.Start().Add(12 * time.Hour)
		if s, _ := p.Service("tsdc", day); s.InSeason(time.Date(2026, 1, 15, 9, 0, 0, 0, profile.Zone())) || !s.InSeason(time.Date(2026, 6, 15, 9, 0, 0, 0, profile.Zone())) {
			t.Errorf("%s: admission to school is not of the summer alone", name)
		}
		// A counter is ready with power, the network of the house, the Internet or the dedicated one, the one-stop-shop system, the national
		// portal, the signing program, printer and scanner. The authority's own services are not among them: dossiers are taken without.
		quay, _ := p.Service("quay", day)
		if want := []string{"power", "lan", "ket_noi", "tthc", "dvc_q", "kyso_may", "may_in"}; !slices.Equal(quay.Depends, want) {
			t.Errorf("%s: a counter needs %v, want %v", name, quay.Depends, want)
		}
		way, _ := p.Service("ket_noi", day)
		if r := way.Rule(); r == nil || r.Need != 1 || len(r.Of) != 2 || r.Of[0].Service != "inet" || r.Of[1].Service != "tslcd" {
			t.Errorf("%s: the way out of a unit is %+v", name, r)
		}
		if s, _ := p.Service("tabmis", day); s.Watch.String() != "role:tai-chinh" {
			t.Errorf("%s: TABMIS is watched by %q, and only the machines of the finance office may", name, s.Watch)
		}
	}
}
