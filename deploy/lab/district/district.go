package district

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"egovmon/agent/durable"
	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

// Home is the unit that the collector stands in, and the machines there.
const (
	Home      = "huyen-tu-ky"
	Collector = "may-chu-huyen"
	HomeProbe = "pc-huyen-01"
)

// A Commune is one unit of the lab.
type Commune struct {
	ID      string // as in the sample profile
	VI, EN  string
	Machine string
}

// Communes returns the first n communes of the sample profile: those of today as long as they suffice, else those of
// 2023, and the ones that were made in 2025.
func Communes(n int, now time.Time) ([]Commune, error) {
	files, err := profiles.Embedded(profiles.Default)
	if err != nil {
		return nil, err
	}
	p, err := profile.Load(files)
	if err != nil {
		return nil, err
	}
	first := time.Date(2023, 1, 2, 0, 0, 0, 0, profile.Zone())
	for _, at := range [][]time.Time{{now}, {first}, {first, first.AddDate(2, 0, 0)}} {
		var out []Commune
		for _, t := range at {
			for _, u := range p.UnitsAt(t) {
				if u.Kind != "xa" && u.Kind != "thi_tran" || slices.ContainsFunc(out, func(c Commune) bool { return c.ID == u.ID }) || !below(u, t) {
					continue
				}
				i := slices.IndexFunc(u.Names, func(d profile.Dated) bool { return d.Valid.CoversTime(t) })
				if i < 0 {
					continue
				}
				machine := "pc-" + strings.TrimPrefix(u.ID, "xa-") + "-01"
				out = append(out, Commune{ID: u.ID, VI: u.Names[i].Name.VI, EN: u.Names[i].Name.EN, Machine: machine})
			}
		}
		if len(out) >= n {
			return out[:n], nil
		}
	}
	return nil, fmt.Errorf("the sample profile has no %d communes", n)
}

// below reports whether a unit is one of the district's own at t.
func below(u profile.Unit, t time.Time) bool {
	return slices.ContainsFunc(u.Parents, func(d profile.Dated) bool { return d.Value == Home && d.Valid.CoversTime(t) })
}

// A Web is a web site as agents reach it.
type Web struct {
	URL  string
	Name string // server name of its certificate, where the URL has none
}

// Endpoints are the addresses of a lab. What is empty is not in the profile at all.
type Endpoints struct {
	Roots    string   // PEM file of the web sites' root
	Resolver string   // host:port
	Keys     []string // of the signed zones, as a zone file has them; none where nothing is signed
	Known    string   // URL over plain HTTP that leads elsewhere with 301: who changes that stands in between; "" for none
	Internet []string // neutral targets, host:port
	TSLCD    []string
	Gateway  bool // whether units have a gateway of their own

	LogIn string // account at the one-stop shop, whose password is the secret LogInSecret; "" looks up without one

	Portal, Province, National, Payment, OneStop Web
	PortalIP                                     string            // what the portal's name leads to
	Communes                                     map[string]Web    // by unit
	Printers                                     map[string]string // by unit, host:port
	Mail                                         Mail
	Post                                         Mail           // of the province, to which the district's letters go
	Boxes                                        map[string]Box // of machines, by unit
	Clocks                                       []string       // servers of time, host:port
	Messages                                     string         // gateway of messages to telephones, host:port
	Signs                                        bool           // whether machines have a program that signs
	Signature                                    Signature
	Trial                                        Trial
	Mobile                                       Mobile
	Disks                                        map[string]string // by unit: the disk of the machine
	Webhook                                      string            // where the office is told
	Letters                                      string            // the mailbox where it is told besides; "" for none
}

// The names of secrets.
const (
	LogInSecret = "mot-cua"   // the password of Endpoints.LogIn
	BoxSecret   = "hop-thu"   // that of a machine's own mailbox
	LoopSecret  = "vong-thu"  // what all machines that send letters to one another share
	PINSecret   = "pin-ky-so" // the PIN of a machine's token
	APSecret    = "ky-so-dd"  // the password of Mobile.AP
)

// MobileSlow is how long the service of signatures by mobile phone may take.
const MobileSlow = 3 * time.Second

// A Box is a machine's own mailbox.
type Box struct {
	Address          string // e.g. giamsat-1@tuky.test
	Submission, IMAP string // host:port of its server
}

// Mail is the mail system.
type Mail struct {
	SMTP, IMAP string // host:port
	Domain     string
	ServerName string // of its certificate
}

// Signature is what signatures are checked against.
type Signature struct {
	OCSP, CRL, TSA, TrustList string // URLs
	Certificate, Issuer, Root string // files
}

// Trial is what each machine signs with, to see whether it can.
type Trial struct {
	Module       string            // of the token's driver; "" for no trial
	Token        string            // its label
	Certificates map[string]string // PEM files, by unit
}

// Mobile is the service of signatures by mobile phone.
type Mobile struct {
	URL, AP            string            // and who asks, whose password is the secret APSecret; without a URL it is not there
	Certificates, Keys map[string]string // PEM files of the client, by unit
}

// Write writes the profile into a folder. every is the time of a round.
func Write(dir string, communes []Commune, carriers map[string]string, e Endpoints, every time.Duration) error {
	w := writer{communes: communes, carriers: carriers, e: e, every: every}
	files := map[string]string{
		"units.yaml": w.units(), "machines.yaml": w.machines(), "lines.yaml": w.lines(), "offices.yaml": w.offices(), "services.yaml": w.services(),
		"parameters.yaml": w.parameters(), "roster.yaml": "roster: []\n", "targets.yaml": "targets: []\n", "law.yaml": "law_sets: []\n",
	}
	if err := os.MkdirAll(filepath.Join(dir, "calendars"), 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := durable.Replace(filepath.Join(dir, name), []byte("# Written by the lab; it goes with it.\n"+text)); err != nil {
			return err
		}
	}
	sample, err := profiles.Embedded(profiles.Default)
	if err != nil {
		return err
	}
	years, err := fs.Glob(sample, "calendars/*.yaml")
	if err != nil {
		return err
	}
	for _, y := range years {
		text, err := fs.ReadFile(sample, y)
		if err != nil {
			return err
		}
		if err := durable.Replace(filepath.Join(dir, y), text); err != nil {
			return err
		}
	}
	return nil
}
