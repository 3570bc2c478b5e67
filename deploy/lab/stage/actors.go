//go:build linux

package stage

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"egovmon/deploy/lab/district"
	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/town"
)

// Zones of the lab's names. The district's is signed.
const (
	zoneDistrict = "tuky.test"
	zoneProvince = "tinh.test"
	zoneNational = "qg.test"
	portalName   = "cong." + zoneDistrict
	mailName     = "mail." + zoneDistrict
	postName     = "mail." + zoneProvince // the province's
	// Zones that are broken for good, as one finds them: nobody works with them.
	zoneBogus = "chu-ky-sai." + zoneDistrict    // its signatures do not verify
	zoneLame  = "uy-quyen-hong." + zoneProvince // delegated to a server that does not know it
)

// needs lists the programs that the real servers are made of.
func needs() []string {
	return []string{"ip", "nginx", "named", "dnssec-keygen", "dnssec-signzone", "unbound", "/usr/lib/postfix/sbin/master", "dovecot", "/usr/lib/dovecot/imap", "opendkim", "openssl", "faketime", "chronyd", "softhsm2-util", "nft"}
}

// Missing says which programs a lab of real servers lacks, and how to get them; nil when all are there.
func Missing() error { return servers.Require(needs()...) }

// actors are the real servers of a lab.
type actors struct {
	pki                                                   *servers.PKI
	portal, communes, province, onestop, national, paying *servers.Portals
	names                                                 *servers.Names
	resolver                                              *servers.Resolver
	mail, post                                            *servers.Mail // of the district and of the province
	revocation                                            *servers.Revocation
	tsa                                                   *servers.TSA
	officer                                               *servers.Identity
	token                                                 *servers.Token
	mobile                                                *servers.MobilePKI
	clocks                                                []*servers.Clock
	messages                                              *servers.Messages
	keys                                                  map[string]*servers.DKIMKey // by mail domain
	records                                               []string                    // of the district's zone
}

// openActors starts the real servers, and works out the endpoints.
func (s *Stage) openActors() error {
	var a actors
	at, err := s.place(town.Province, "pki", s.town.ProvinceAddr(pkiAt))
	if err != nil {
		return err
	}
	ocsp, crl := servers.RevocationURLs(at, at.IP.String())
	if a.pki, err = servers.NewPKI(filepath.Join(s.cfg.Dir, "servers", "ca"), servers.PKIConfig{Now: time.Now(), OCSP: ocsp, CRL: crl}); err != nil {
		return err
	}
	s.ends.Roots = a.pki.Roots
	s.pki = a.pki
	for _, step := range []func(*actors) error{s.openPortals, s.openNames, s.openMail, func(a *actors) error { return s.openSignature(a, at) }, s.openTrial, s.openMobile, s.openClocks, s.openMessages} {
		if err := step(&a); err != nil {
			return err
		}
	}
	s.actorHands(&a)
	s.signingHands(&a)
	return nil
}

// openPortals starts nginx for each of the web's owners.
func (s *Stage) openPortals(a *actors) error {
	var communes []servers.SiteConfig
	s.ends.Communes = map[string]district.Web{}
	for i, u := range s.units {
		host := fmt.Sprintf("x%02d.%s", i+1, zoneDistrict)
		communes = append(communes, servers.SiteConfig{Name: host, Kind: servers.PortalSite, Title: "Trang thông tin điện tử " + u.VI, Backend: "xa"})
		s.ends.Communes[u.ID] = district.Web{URL: "https://" + host + "/"}
	}
	for _, w := range []struct {
		to    **servers.Portals
		web   *district.Web
		zone  string
		at    int
		sites []servers.SiteConfig
		path  string
	}{
		{&a.portal, &s.ends.Portal, town.Province, portalAt, []servers.SiteConfig{{Name: portalName, Kind: servers.PortalSite, Title: "Cổng thông tin điện tử huyện Tứ Kỳ"}}, ""},
		{&a.communes, new(district.Web), town.Province, backendAt, communes, ""},
		{&a.province, &s.ends.Province, town.Province, provinceAt, []servers.SiteConfig{{Name: "dichvucong." + zoneProvince, Kind: servers.ServiceSite, Title: "Cổng Dịch vụ công của tỉnh"}}, ""},
		{&a.onestop, &s.ends.OneStop, town.Province, onestopAt, []servers.SiteConfig{{Name: "motcua." + zoneProvince, Kind: servers.OneStopSite, Title: "Một cửa điện tử"}}, ""},
		{&a.national, &s.ends.National, town.National, nationalAt, []servers.SiteConfig{{Name: "dichvucong." + zoneNational, Kind: servers.ServiceSite, Title: "Cổng Dịch vụ công quốc gia"}}, ""},
		{&a.paying, &s.ends.Payment, town.National, paymentAt, []servers.SiteConfig{{Name: "thanhtoan." + zoneNational, Kind: servers.PaymentSite, Title: "Thanh toán trực tuyến"}}, "thanh-toan"},
	} {
		p, err := s.place(w.zone, w.sites[0].Name, s.zoneAddr(w.zone, w.at))
		if err != nil {
			return err
		}
		if *w.to, err = servers.StartPortals(s.ctx, p, servers.PortalsConfig{PKI: a.pki, Sites: w.sites, Users: map[string]string{probeUser: probePassword}}); err != nil {
			return err
		}
		s.stops = append(s.stops, (*w.to).Stop)
		for _, site := range w.sites {
			s.names[site.Name] = p.IP
		}
		*w.web = district.Web{URL: "https://" + w.sites[0].Name + "/" + w.path}
	}
	s.ends.Known = "http://" + s.names["thanhtoan."+zoneNational].String() + "/" // no fault stops it: it is there to judge lines
	s.ends.PortalIP = s.names[portalName].String()
	s.ends.LogIn = probeUser
	return nil
}

// The account with which agents look dossiers up.
const (
	probeUser     = "giamsat"
	probePassword = "chi-de-thu"
	loopKey       = "chi-de-thu: khoa chung cua vong thu"
)

// openNames starts the authority of the zones and the resolver.
func (s *Stage) openNames(a *actors) error {
	of, err := s.mailRecords(a)
	if err != nil {
		return err
	}
	for name, ip := range s.names {
		for _, z := range []string{zoneDistrict, zoneProvince, zoneNational} {
			if host, ok := cutZone(name, z); ok {
				of[z] = append(of[z], fmt.Sprintf("%s A %s", host, ip))
			}
		}
	}
	a.records = of[zoneDistrict]
	p, err := s.place(town.Province, "names", s.town.ProvinceAddr(namesAt))
	if err != nil {
		return err
	}
	if a.names, err = servers.StartNames(s.ctx, p, servers.NamesConfig{Zones: []servers.ZoneConfig{
		{Name: zoneDistrict, Records: of[zoneDistrict], Signed: true}, {Name: zoneProvince, Records: of[zoneProvince]}, {Name: zoneNational, Records: of[zoneNational]},
		{Name: zoneBogus, Records: []string{"www A 192.0.2.1"}, Signed: true}, {Name: zoneLame, Records: []string{"www A 192.0.2.1"}}}}); err != nil {
		return err
	}
	s.stops = append(s.stops, a.names.Stop)
	if err := errors.Join(a.names.Bogus(zoneBogus, true), a.names.Lame(zoneLame, true)); err != nil {
		return err
	}
	if p, err = s.place(town.Province, "resolver", s.town.ProvinceAddr(resolverAt)); err != nil {
		return err
	}
	if a.resolver, err = servers.StartResolver(s.ctx, p, servers.ResolverFor(a.names)); err != nil {
		return err
	}
	s.stops = append(s.stops, a.resolver.Stop)
	s.ends.Resolver = a.resolver.Addr()
	for _, key := range a.names.Anchors() {
		s.ends.Keys = append(s.ends.Keys, strings.Join(strings.Fields(key), " "))
	}
	return nil
}

func cutZone(name, zone string) (host string, ok bool) {
	rest := len(name) - len(zone) - 1
	if rest < 1 || name[rest] != '.' || name[rest+1:] != zone {
		return "", false
	}
	return name[:rest], true
}

// openSignature starts what answers about certificates, and the time stamps.
func (s *Stage) openSignature(a *actors, at servers.Place) (err error) {
	if a.revocation, err = servers.StartRevocation(s.ctx, at, servers.RevocationConfig{PKI: a.pki}); err != nil {
		return err
	}
	s.stops = append(s.stops, a.revocation.Stop)
	p, err := s.place(town.Province, "tsa", s.town.ProvinceAddr(tsaAt))
	if err != nil {
		return err
	}
	if a.tsa, err = servers.StartTSA(s.ctx, p, servers.TSAConfig{PKI: a.pki}); err != nil {
		return err
	}
	s.stops = append(s.stops, a.tsa.Stop)
	if a.officer, err = a.pki.G2.Officer("can-bo", "Cán bộ một cửa"); err != nil {
		return err
	}
	if err := s.openToken(a); err != nil {
		return err
	}
	s.ends.Signature = district.Signature{OCSP: a.revocation.OCSP(), CRL: a.revocation.CRL(a.pki.G2), TSA: a.tsa.URL(), TrustList: a.revocation.TrustList(),
		Certificate: a.officer.CertFile, Issuer: a.pki.G2.File, Root: a.pki.Roots}
	return nil
}

// actorHands lays the hands on the real servers.
func (s *Stage) actorHands(a *actors) {
	portal := a.portal.Site(portalName)
	shows := func(c servers.Certificate) hand {
		return everywhere(func(on bool) error {
			if on {
				return portal.UseCertificate(c)
			}
			return portal.UseCertificate(servers.Good)
		})
	}
	maps.Copy(s.hands, map[string]hand{
		"portal-stopped":       everywhere(a.portal.Halt),
		"portal-maintenance":   everywhere(portal.Maintenance),
		"portal-defaced":       everywhere(portal.Deface),
		"portal-cert-expired":  shows(servers.Expired),
		"portal-cert-name":     shows(servers.OtherName),
		"portal-cert-chain":    shows(servers.NoIntermediate),
		"backend-down":         everywhere(func(on bool) error { return a.communes.BackendDown("xa", on) }),
		"national-portal-down": everywhere(a.national.Halt),
		"lookup-fails":         everywhere(a.onestop.Site("motcua." + zoneProvince).LookupFails),
		"resolver-dead":        everywhere(a.resolver.Halt),
		// The lie is an address for documentation (RFC 5737), where nobody is.
		"resolver-lies": everywhere(func(on bool) error {
			lies := map[string]netip.Addr{}
			if on {
				for name := range s.names {
					lies[name] = netip.AddrFrom4([4]byte{192, 0, 2, 66})
				}
			}
			return a.resolver.Lies(lies)
		}),
		"zone-servfail":     everywhere(func(on bool) error { return a.names.Servfail(zoneDistrict, on) }),
		"zone-lame":         everywhere(func(on bool) error { return a.names.Lame(zoneDistrict, on) }),
		"dnssec-bogus":      everywhere(func(on bool) error { return a.names.Bogus(zoneDistrict, on) }),
		"mail-queue-stuck":  everywhere(a.mail.Stuck),
		"imap-refuses":      everywhere(a.mail.IMAPRefuses),
		"starttls-stripped": everywhere(a.mail.STARTTLSStripped),
		"spf-broken": everywhere(func(on bool) error {
			if on {
				return a.names.SetRecords(zoneDistrict, servers.BreakSPF(a.records))
			}
			return a.names.SetRecords(zoneDistrict, a.records)
		}),
		"crl-stale":    everywhere(a.revocation.StaleCRL),
		"ocsp-revoked": everywhere(func(on bool) error { return a.revocation.Revoked(a.pki.G2, a.officer.Cert.SerialNumber, on) }),
		"tsa-dead":     everywhere(a.tsa.Dead),
		"tsa-clock": everywhere(func(on bool) error {
			if on {
				return a.tsa.WrongClock(10 * time.Minute)
			}
			return a.tsa.WrongClock(0)
		}),
	})
}
