package profiles_test

import (
	"slices"
	"testing"
	"time"

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
			day := s.Valid.From.Start().Add(12 * time.Hour)
			_, operator := p.Operator(s.Operator, day)
			_, owner := p.Office(s.Owner, day)
			if s.Name.VI == "" || s.Name.EN == "" || s.Available.VI == "" || s.Available.EN == "" || s.Source == "" || s.Hours == "" || s.Severity == "" || len(s.Checks) == 0 || !operator || !owner {
				t.Errorf("%s: service %s (%s) is not whole: %+v, operator %v, owner %v", name, s.ID, s.Valid, s.Available, operator, owner)
			}
			if s.Verified {
				t.Errorf("%s: service %s: who verified it?", name, s.ID)
			}
			if r := s.Rule(); s.AtCollector() != nil && s.AtCollector().Kind == profile.KindDerived && r == nil {
				t.Errorf("%s: service %s follows from nothing", name, s.ID)
			}
		}
		for _, x := range p.Targets {
			if x.Basis == "" || x.Verified {
				t.Errorf("%s: target %s: basis %q, verified %v", name, x.ID, x.Basis, x.Verified)
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
