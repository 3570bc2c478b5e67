package verdict

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/agent/words"
	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

// district is a model of eight units on two carriers, and of the services of a small district.
func district() Model {
	web := func(host, zone string) Service {
		return Service{Every: time.Minute, Path: plan.Internet, Web: true, TLS: true, Host: host, Zone: zone, Resolver: "dns", Operator: "tinh"}
	}
	m := Model{Services: map[string]Service{
		"lan":  {Every: time.Minute, Path: plan.LAN, Line: true, Operator: "don_vi"},
		"inet": {Every: time.Minute, Path: plan.Internet, Line: true, Depends: []string{"lan"}, Operator: "nha_mang"},
		"dns":  {Every: time.Minute, Path: plan.Internet, Resolver: "dns", Host: "cong.tuky.vn", Zone: "tuky.vn", Operator: "so"},
		"cong": web("cong.tuky.vn", "tuky.vn"), "dvc": web("dvc.tinh.vn", "tinh.vn"), "tthc": web("mc.tinh.vn", "tinh.vn"), "mail": web("mail.tinh.vn", "tinh.vn"),
		"pc": {Every: time.Minute, Local: true, Operator: "don_vi"},
	}, Units: map[string]Unit{}}
	site := web("", "tuky.vn")
	site.PerUnit, site.Host = true, ""
	m.Services["xa"] = site
	login := web("dn.tinh.vn", "tinh.vn")
	m.Services["login"] = login
	one := m.Services["tthc"]
	one.Depends = []string{"login"}
	m.Services["tthc"] = one
	for i, u := range districtUnits {
		carrier := "A"
		if i >= 4 {
			carrier = "B"
		}
		m.Units[u] = Unit{Expected: true, Machines: []string{"pc-" + u}, Carriers: map[plan.Path]string{plan.Internet: carrier}, Resolvers: map[string]string{"dns": "192.0.2.53"}}
	}
	return m
}

var districtUnits = []string{"a", "b", "c", "d", "e", "f", "g", "h"}

// ballots makes the standings of the district: words such as "cong=tls_expired" for all units, "cong@a,b=timeout" for some;
// "*@a=no_uplink" is every service of the unit that is not named by itself.
func ballots(t *testing.T, m Model, text string) []Standing {
	t.Helper()
	why := map[[2]string]check.Reason{}
	for word := range strings.FieldsSeq(text) {
		name, reason, ok := strings.Cut(word, "=")
		service, units, some := strings.Cut(name, "@")
		if !ok {
			t.Fatalf("%q", word)
		}
		list := districtUnits
		if some {
			list = strings.Split(units, ",")
		}
		for _, u := range list {
			why[[2]string{service, u}] = check.Reason(reason)
		}
	}
	var out []Standing
	for s := range m.Services {
		for _, u := range districtUnits {
			r, ok := why[[2]string{s, u}]
			if !ok && s != "pc" && s != "lan" {
				r, ok = why[[2]string{"*", u}]
			}
			if !ok {
				r = check.OK
			}
			out = append(out, Standing{Service: s, Unit: u, State: r.State(), Reason: r, Since: noon.Add(-2 * time.Minute), Last: noon.Add(-time.Minute), Every: time.Minute})
		}
	}
	return out
}

func said(l Location) []string {
	out := []string{}
	for _, c := range l.Causes {
		out = append(out, string(c.Kind)+":"+c.Service+c.Unit+c.Name+" "+c.Owner)
	}
	slices.Sort(out)
	return out
}

func TestLocate(t *testing.T) {
	for _, tt := range []struct {
		name, votes string
		want        []string
	}{
		{"nothing is broken", "", []string{}},
		{"a portal", "cong=connect_refused", []string{"service:cong tinh"}},
		{"its certificate", "cong=tls_expired", []string{"certificate:cong tinh"}},
		{"a login, and what needs it", "login=timeout tthc=http_status", []string{"service:login tinh"}},
		{"the resolver is dead", "dns=dns_timeout cong=dns_timeout dvc=dns_timeout tthc=dns_timeout mail=dns_timeout login=dns_timeout xa=dns_timeout", []string{"resolver:dns192.0.2.53 so"}},
		{"a zone", "dns=dns_servfail cong=dns_servfail xa=dns_servfail", []string{"zone:tuky.vn tinh"}},
		{"a line", "inet@a=timeout *@a=no_uplink", []string{"line:ineta nha_mang"}},
		{"a line whose own vote is lost", "inet@a=silent *@a=no_uplink", []string{"line:ineta nha_mang"}},
		{"a local network", "lan@a=timeout inet@a=timeout *@a=no_uplink", []string{"lan:lana don_vi"}},
		{"a carrier", "inet@a,b,c,d=timeout *@a,b,c,d=no_uplink", []string{"carrier:inetA nha_mang"}},
		{"two lines of a carrier of four are two lines", "inet@a,b=timeout *@a,b=no_uplink", []string{"line:ineta nha_mang", "line:inetb nha_mang"}},
		{"a log-in page before one unit's web", "cong@a=captive_portal dvc@a=captive_portal tthc@a=captive_portal mail@a=captive_portal login@a=captive_portal xa@a=captive_portal",
			[]string{"access:a don_vi"}},
		{"large packets vanish", "cong@a=timeout dvc@a=timeout tthc@a=timeout mail@a=timeout login@a=timeout xa@a=timeout", []string{"access:a nha_mang"}},
		{"one unit's own site", "xa@c=http_status", []string{"site:xac tinh"}},
		{"three things at once", "inet@a=timeout *@a=no_uplink cong@b,c,d,e,f,g,h=tls_expired mail@b,c,d,e,f,g,h=connect_refused",
			[]string{"certificate:cong tinh", "line:ineta nha_mang", "service:mail tinh"}},
		{"one of eight sees it down: nobody can tell", "mail@a=timeout", []string{}},
	} {
		m := district()
		got := Locate(ballots(t, m, tt.votes), m, Moment{Now: noon})
		if diff := cmp.Diff(tt.want, said(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if got.Bound != 1 {
			t.Errorf("%s: a bound of %v, want the best set", tt.name, got.Bound)
		}
	}
}

func TestLocateIsTheSameForAnyOrder(t *testing.T) {
	m := district()
	votes := ballots(t, m, "inet@a,b,c,d=timeout *@a,b,c,d=no_uplink cong=tls_name login=timeout tthc=http_status xa@f=http_status")
	want := Locate(votes, m, Moment{Now: noon})
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		r.Shuffle(len(votes), func(i, j int) { votes[i], votes[j] = votes[j], votes[i] })
		if diff := cmp.Diff(want, Locate(votes, m, Moment{Now: noon})); diff != "" {
			t.Fatalf("another order gives another location (-want +got):\n%s", diff)
		}
	}
}

func TestStaleVotesNeverCount(t *testing.T) {
	m := district()
	votes := ballots(t, m, "cong=connect_refused")
	late := 30 * time.Second
	if got := Locate(votes, m, Moment{Now: noon.Add(time.Minute + late), Lateness: late}); len(got.Causes) != 1 || got.Stale != 0 {
		t.Errorf("within two slots: %v, %d stale", said(got), got.Stale)
	}
	if got := Locate(votes, m, Moment{Now: noon.Add(time.Minute + late + time.Second), Lateness: late}); len(got.Causes) != 0 || got.Stale != len(votes) {
		t.Errorf("after two slots: %v, %d of %d stale", said(got), got.Stale, len(votes))
	}
	if got := Locate(votes, m, Moment{Now: noon.Add(-time.Hour), Lateness: late}); len(got.Causes) != 0 || got.Stale != len(votes) {
		t.Errorf("votes from the future, after a step of the clock: %v, %d stale", said(got), got.Stale)
	}
}

func TestHysteresis(t *testing.T) {
	m := district()
	cause := []Component{{Kind: OfService, Service: "mail"}}
	for n, want := range map[int][2]bool{5: {false, true}, 6: {true, true}, 3: {false, true}, 2: {false, false}} {
		votes := ballots(t, m, "mail@"+strings.Join(districtUnits[:n], ",")+"=connect_refused")
		before := Locate(votes, m, Moment{Now: noon})
		after := Locate(votes, m, Moment{Now: noon, Before: cause})
		if got := [2]bool{len(before.Causes) > 0, len(after.Causes) > 0}; got != want {
			t.Errorf("%d of 8 votes down: blamed %v anew and %v when it was before, want %v", n, got[0], got[1], want)
		}
	}
}

func TestWhoeverTheOthersContradictIsNamed(t *testing.T) {
	m := district()
	got := Locate(ballots(t, m, "cong@b,c,d,e,f,g,h=connect_refused mail@b,c,d,e,f,g,h=tls_expired"), m, Moment{Now: noon})
	if diff := cmp.Diff([]string{"certificate:mail tinh", "service:cong tinh"}, said(got)); diff != "" {
		t.Errorf("one unit says that all is well (-want +got):\n%s", diff)
	}
	if len(got.Doubts) != 1 || got.Doubts[0].Unit != "a" || got.Doubts[0].Against != 2 || got.Doubts[0].Machine != "pc-a" {
		t.Errorf("doubts: %+v, want a in two votes", got.Doubts)
	}
	if c := got.Causes[0]; len(c.Against) != 1 || c.Against[0].Unit != "a" {
		t.Errorf("against the first cause: %+v", c.Against)
	}
	got = Locate(ballots(t, m, "cong@a=content_missing mail@a=http_status"), m, Moment{Now: noon})
	if len(got.Causes) != 0 || len(got.Doubts) != 1 || got.Doubts[0].Unit != "a" || got.Left != 2 {
		t.Errorf("one unit says that two services are down: causes %v, doubts %+v, %d unexplained", said(got), got.Doubts, got.Left)
	}
	if text := got.Doubts[0].Sentence(words.VI, Names{Unit: func(string) string { return "xã A" }}); !strings.HasPrefix(text, "xã A ") || !strings.HasSuffix(text, ".") {
		t.Errorf("it is said as %q", text)
	}
}

func TestContradictionsWithinAUnit(t *testing.T) {
	m := district()
	votes := ballots(t, m, "cong=connect_refused")
	for _, s := range votes { // every vote a second time, the other way round
		if s.Service == "cong" {
			s.State, s.Reason = check.Up, check.OK
			votes = append(votes, s)
		}
	}
	if got := Locate(votes, m, Moment{Now: noon}); len(got.Causes) != 0 {
		t.Errorf("half of the votes say the opposite, and %v is blamed", said(got))
	}
}

func TestWhatCannotBeDecidedIsSaid(t *testing.T) {
	m := district()
	for _, id := range []string{"dvc", "mail"} {
		s := m.Services[id]
		s.Address, s.Host = "192.0.2.1", "one.tinh.vn"
		m.Services[id] = s
	}
	got := Locate(ballots(t, m, "dvc=http_status mail=http_status"), m, Moment{Now: noon})
	if len(got.Causes) != 1 || len(got.Causes[0].Or) != 1 {
		t.Fatalf("two services of one host and one address: %+v", got.Causes)
	}
	c := got.Causes[0]
	kinds := []Kind{c.Kind, c.Or[0].Kind}
	slices.Sort(kinds)
	if diff := cmp.Diff([]Kind{OfBackend, OfPlatform}, kinds); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := c.Sentence(words.VI, Names{}); !strings.Contains(text, "chưa loại trừ") || c.Confidence > 0.6 {
		t.Errorf("%.2f: %s", c.Confidence, text)
	}
}

func TestWhatAUnitsServicesShareIsItsLine(t *testing.T) {
	m := district()
	for name, votes := range map[string]string{
		"the web":                "cong@a=timeout dvc@a=timeout tthc@a=timeout login@a=timeout mail@a=timeout xa@a=timeout",
		"whatever is large":      "cong@a=timeout dvc@a=timeout tthc@a=timeout login@a=timeout mail@a=timeout xa@a=timeout dns@a=timeout",
		"and two are not enough": "cong@a=timeout xa@a=timeout",
	} {
		all := ballots(t, m, votes)
		for id := range m.Services {
			all = append(all, Standing{Service: id, State: check.Up, Reason: check.OK, Since: noon.Add(-time.Hour), Last: noon, Every: time.Minute})
		}
		v := Judge(all, m, Moment{Now: noon})
		line := slices.IndexFunc(v.Findings, func(f Finding) bool { return f.Component == Component{Kind: OfLine, Unit: "a"} })
		site := slices.IndexFunc(v.Findings, func(f Finding) bool { return f.Component == Component{Kind: OfSite, Service: "xa", Unit: "a"} })
		if f, want := v.Findings[line], name != "and two are not enough"; f.Fault() != want || want && (f.Cause == nil || v.Findings[site].Muted != MutedByLine) {
			t.Errorf("%s: line %+v, site muted %q", name, f, v.Findings[site].Muted)
		}
	}
}

func TestASiteWaitsForWhatElseFailsThere(t *testing.T) {
	m := district()
	site := func(v Verdict) *Finding {
		k := slices.IndexFunc(v.Findings, func(f Finding) bool { return f.Component == Component{Kind: OfSite, Service: "xa", Unit: "a"} })
		if k < 0 {
			t.Fatal("the site has no finding")
		}
		return &v.Findings[k]
	}
	alone := ballots(t, m, "xa@a=http_status")
	alone = append(alone, Standing{Service: "xa", State: check.Up, Reason: check.OK, Last: noon, Every: time.Minute})
	if f := site(Judge(alone, m, Moment{Now: noon})); f.Unsettled || f.Cause == nil || f.Cause.Kind != OfSite {
		t.Errorf("alone: %+v", f)
	}
	both := ballots(t, m, "xa@a=timeout cong@a=timeout")
	for id := range m.Services { // as a whole
		both = append(both, Standing{Service: id, State: check.Up, Reason: check.OK, Since: noon.Add(-time.Hour), Last: noon, Every: time.Minute})
	}
	for i := range both {
		if both[i].Unit == "a" && both[i].Service == "cong" {
			both[i].Since = both[i].Last
		}
	}
	if f := site(Judge(both, m, Moment{Now: noon})); !f.Unsettled {
		t.Errorf("another service has just begun to fail: %+v", f)
	}
}

func TestSentenceAndTable(t *testing.T) {
	m := district()
	votes := ballots(t, m, "cong@a,b,c,d,e,f,g=tls_expired cong@h=silent")
	v := Judge(votes, m, Moment{Now: noon})
	if len(v.Causes) != 1 {
		t.Fatalf("%v", said(v.Location))
	}
	want := "Nhiều khả năng hỏng ở chứng thư của Cổng huyện (" + words.Reason(words.VI, check.TLSExpired).Title + "): 7 phiếu hỏng, 0 phiếu tốt, độ tin cậy "
	if got := v.Causes[0].Sentence(words.VI, Names{Service: func(string) string { return "Cổng huyện" }}); !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q…", got, want)
	}
	rows := v.Table(votes)
	k := slices.IndexFunc(rows, func(r Row) bool { return r.Service == "cong" })
	if k < 0 || rows[k] != (Row{Service: "cong", Votes: Votes{Down: 7, Unknown: 1}, Explained: 7}) {
		t.Errorf("the table is %+v", rows)
	}
	for _, k := range Kinds() {
		c := Component{Kind: k, Service: "s", Unit: "u", Name: "n"}
		if vi, en := c.Say(words.VI, Names{}), c.Say(words.EN, Names{}); vi == "" || strings.HasPrefix(vi, "<") || vi == en || vi == "n" {
			t.Errorf("%s is called %q and %q", k, vi, en)
		}
		if k != OfFleet && traits()[k].prior == 0 {
			t.Errorf("%s has no prior", k)
		}
	}
}

func TestLearn(t *testing.T) {
	m := district()
	var told []Learned
	for i, u := range districtUnits {
		address := "192.0.2.9"
		if i == 0 {
			address = "198.51.100.1"
		}
		told = append(told, Learned{Service: "dvc", Unit: u, Address: address, Issuer: "CA", Networks: []string{"AS1", "AS2", "AS1"}},
			Learned{Service: "mail", Unit: u, Address: "192.0.2.9"}, Learned{Service: "nobody", Unit: u, Address: "192.0.2.9"})
	}
	got := m.Learn(told)
	if s := got.Services["dvc"]; s.Address != "192.0.2.9" || s.Issuer != "CA" || !slices.Equal(s.Networks, []string{"AS1", "AS2"}) {
		t.Errorf("learned %+v", s)
	}
	if m.Services["dvc"].Address != "" || len(got.Services) != len(m.Services) {
		t.Error("the model that was given is changed, or has new services")
	}
	if l := Locate(ballots(t, m, "dvc=connect_refused mail=connect_refused"), got, Moment{Now: noon}); !slices.Equal(said(l), []string{"backend:192.0.2.9 tinh"}) {
		t.Errorf("two services behind one address: %v", said(l))
	}
}

func TestModelOfTheSampleProfile(t *testing.T) {
	files, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	m := FromProfile(p, time.Date(2024, 3, 4, 3, 0, 0, 0, time.UTC))
	if s := m.Services["inet"]; s.Path != plan.Internet || !s.Line || s.Operator == "" {
		t.Errorf("inet: %+v", s)
	}
	if s := m.Services["cong_h"]; !s.Web || s.Local || s.Path != plan.Internet {
		t.Errorf("cong_h: %+v", s)
	}
	if !m.Services["pc"].Local {
		t.Error("a workstation's own state passes through a line")
	}
}

func TestHostsAndZones(t *testing.T) {
	for in, want := range map[string][2]string{
		"https://Tuky.haiduong.gov.vn/x": {"tuky.haiduong.gov.vn", "haiduong.gov.vn"}, "mail.tinh.vn:25": {"mail.tinh.vn", "tinh.vn"}, "tinh.vn.": {"tinh.vn", "tinh.vn"},
		"https://192.0.2.1:8443/": {"192.0.2.1", ""}, "": {"", ""}, "[2001:db8::1]:53": {"2001:db8::1", ""},
	} {
		if h := hostOf(in); h != want[0] || zoneOf(h) != want[1] {
			t.Errorf("%q: host %q, zone %q, want %v", in, h, zoneOf(h), want)
		}
	}
}

// What a check of kind zone names is the zone itself, which is no host and stands in no zone above it.
func TestZonesByTheirOwnNames(t *testing.T) {
	named := func(kind, name string) profile.ServiceCheck {
		return profile.ServiceCheck{ID: kind, Kind: kind, Decides: true, With: []profile.Option{{Name: "name", Value: name}, {Name: "grace", Value: int64(1)}}}
	}
	f := &filler{p: &profile.Profile{}, units: []string{"tuky", "thanhha"}}
	for _, tc := range []struct {
		name       string
		checks     []profile.ServiceCheck
		host, zone string
	}{
		{"a zone", []profile.ServiceCheck{named("zone", "TuKy.tinh.vn.")}, "", "tuky.tinh.vn"},
		{"a zone and a host in it", []profile.ServiceCheck{named("zone", "tuky.tinh.vn"), named("dns", "www.tuky.tinh.vn")}, "www.tuky.tinh.vn", "tuky.tinh.vn"},
		{"a zone and a host elsewhere", []profile.ServiceCheck{named("zone", "tuky.tinh.vn"), named("dns", "www.tinh.vn")}, "www.tinh.vn", ""},
		{"a host", []profile.ServiceCheck{named("dns", "www.tinh.vn")}, "www.tinh.vn", "tinh.vn"},
	} {
		s := f.service(&profile.Service{Checks: tc.checks})
		if s.Host != tc.host || s.Zone != tc.zone || s.PerUnit {
			t.Errorf("%s: host %q, zone %q, per unit %v; want %q, %q", tc.name, s.Host, s.Zone, s.PerUnit, tc.host, tc.zone)
		}
	}
}

// TestSitesOfUnitsBehindOneAddress: a service that is another site for each unit, on two machines. One of them dies.
func TestSitesOfUnitsBehindOneAddress(t *testing.T) {
	m := district()
	s := m.Services["dvc"]
	s.PerUnit, s.Host = true, ""
	m.Services["dvc"] = s
	var told []Learned
	var votes strings.Builder
	half := len(districtUnits) / 2
	for i, u := range districtUnits {
		address := "aaaa00000001"
		if i < half {
			address = "bbbb00000002"
			votes.WriteString(" dvc@" + u + "=connect_refused")
		}
		told = append(told, Learned{Service: "dvc", Unit: u, Address: address})
	}
	got := m.Learn(told)
	if s := got.Services["dvc"]; s.Address != "" || len(s.Addresses) != len(districtUnits) {
		t.Fatalf("learned %+v", s)
	}
	if l := Locate(ballots(t, m, votes.String()), m, Moment{Now: noon}); len(l.Causes) != half {
		t.Errorf("without what was learned: %v, want a site each", said(l))
	}
	if l := Locate(ballots(t, m, votes.String()), got, Moment{Now: noon}); !slices.Equal(said(l), []string{"backend:bbbb00000002 tinh"}) {
		t.Errorf("half of the sites behind one address: %v", said(l))
	}
}
