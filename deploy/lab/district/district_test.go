package district

import (
	"os"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check/kinds"
	"egovmon/collector/profile"
	"egovmon/deploy/lab/fault"
)

// full are endpoints of everything that a lab may have.
func full(communes []Commune) Endpoints {
	e := Endpoints{Roots: "/lab/roots.pem", Resolver: "10.213.251.4:53", Keys: []string{"tuky.test. DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"}, Internet: []string{"10.213.250.1:853", "10.213.250.2:853", "10.213.250.3:853"},
		TSLCD: []string{"10.213.248.1:853", "10.213.248.2:853", "10.213.248.3:853"}, Gateway: true, LogIn: "giamsat", PortalIP: "10.213.251.10",
		Portal: Web{URL: "https://cong.tuky.test/"}, Province: Web{URL: "https://dichvucong.tinh.test/"}, National: Web{URL: "https://dichvucong.qg.test/"},
		Payment: Web{URL: "https://thanhtoan.qg.test/"}, OneStop: Web{URL: "https://motcua.tinh.test/"}, Communes: map[string]Web{}, Printers: map[string]string{}, Disks: map[string]string{},
		Mail:      Mail{SMTP: "mail.tuky.test:587", IMAP: "mail.tuky.test:993", Domain: "tuky.test", ServerName: "mail.tuky.test"},
		Signature: Signature{OCSP: "http://10.213.251.15/ocsp", CRL: "http://10.213.251.15/g2.crl", TSA: "http://10.213.251.16/", TrustList: "http://10.213.251.15/gca.ctl", Certificate: "/lab/c.pem", Issuer: "/lab/i.pem", Root: "/lab/r.pem"},
		Post:      Mail{SMTP: "mail.tinh.test:25", Domain: "tinh.test", ServerName: "mail.tinh.test"}, Clocks: []string{"10.213.251.18:123", "10.213.251.19:123", "10.213.251.20:123"},
		Messages: "10.213.250.12:80", Signs: true, Known: "http://10.213.250.10/",
		Trial:  Trial{Module: "/usr/lib/softhsm/libsofthsm2.so", Token: "giam-sat", Certificates: map[string]string{}},
		Mobile: Mobile{URL: "https://10.213.250.13:18083/", AP: "giamsat", Certificates: map[string]string{}, Keys: map[string]string{}}, Boxes: map[string]Box{}, Webhook: "http://127.0.0.1:19099/"}
	for _, id := range append([]string{Home}, ids(communes)...) {
		e.Communes[id], e.Printers[id], e.Disks[id] = Web{URL: "https://x01.tuky.test/"}, "10.213.1.20:9100", "/lab/pc/"+id
		e.Trial.Certificates[id], e.Mobile.Certificates[id], e.Mobile.Keys[id] = "/lab/ky-"+id+".pem", "/lab/dd-"+id+".pem", "/lab/dd-"+id+".key"
		e.Boxes[id] = Box{"pc-" + id + "@tuky.test", "mail.tuky.test:587", "mail.tuky.test:993"}
	}
	return e
}

func ids(list []Commune) []string {
	var out []string
	for _, c := range list {
		out = append(out, c.ID)
	}
	return out
}

func TestProfile(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, profile.Zone())
	for _, n := range []int{1, 6, 7, 24} {
		communes, err := Communes(n, now)
		if err != nil || len(communes) != n {
			t.Fatalf("Communes(%d) = %d, %v", n, len(communes), err)
		}
		dir := t.TempDir()
		if err := Write(dir, communes, map[string]string{Home: "Nhà mạng A"}, full(communes), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		for _, p := range profile.Check(os.DirFS(dir), kinds.Table(), now) {
			if !p.Warning {
				t.Errorf("%d communes: %v", n, p)
			}
		}
		p, err := profile.Load(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(p.MachinesAt(now)); got != n+2 {
			t.Errorf("%d communes have %d machines", n, got)
		}
		services := map[string]bool{fault.TheLine: true, fault.TheFleet: true, "": true, "*": true}
		for _, s := range p.ServicesAt(now) {
			services[s.ID] = true
		}
		for _, f := range fault.All() {
			for _, s := range append([]string{f.Component}, f.Hurts...) {
				if !services[s] {
					t.Errorf("fault %s speaks of %q, which no lab has", f.Name, s)
				}
			}
		}
	}
}

// What the names' further checks find is shown; the accounts rest on the resolver's answer alone, as before.
func TestNamesDecideByOneCheck(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, profile.Zone())
	communes, err := Communes(2, now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Write(dir, communes, nil, full(communes), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.ServicesAt(now) {
		if s.ID != "dns_local" {
			continue
		}
		var kinds []string
		for _, c := range s.Checks {
			kinds = append(kinds, c.Kind)
			if c.Decides != (c.ID == "dns") {
				t.Errorf("check %s decides: %v", c.ID, c.Decides)
			}
		}
		if got := strings.Join(kinds, " "); got != "dns hijack dns zone" {
			t.Errorf("kinds %s", got)
		}
	}
}

func TestOnlyWhatIsThere(t *testing.T) {
	communes, err := Communes(2, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Write(dir, communes, nil, Endpoints{Roots: "r", Portal: Web{URL: "https://127.0.0.1:1/", Name: "cong.tuky.test"}}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dir + "/services.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(text), "  - id: "); got != 2 {
		t.Errorf("%d services, want the collector and the portal alone", got)
	}
}
