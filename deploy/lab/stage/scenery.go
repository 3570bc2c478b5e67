//go:build linux

package stage

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"egovmon/deploy/lab/district"
	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/standin"
	"egovmon/deploy/lab/town"
)

// Where things stand within their zones: the last number of the address.
const (
	namesAt    = 3
	resolverAt = 4
	portalAt   = 10
	backendAt  = 11
	provinceAt = 12
	onestopAt  = 13
	mailAt     = 14
	pkiAt      = 15
	tsaAt      = 16
	postAt     = 17
	clockAt    = 18 // and the two after it
	nationalAt = 10
	paymentAt  = 11
	messagesAt = 12
	mobileAt   = 13
)

// scenery is what the stand-ins of a lab are.
type scenery struct {
	portal, backend, province, onestop, national, payment *standin.Site
	resolver                                              *standin.Resolver
}

// openServers starts everything that the machines ask, and works out the endpoints.
func (s *Stage) openServers() error {
	if err := s.openOffice(); err != nil {
		return err
	}
	if err := s.openTargets(); err != nil {
		return err
	}
	if s.cfg.Loopback || s.cfg.Simple {
		return s.openScenery()
	}
	return s.openActors()
}

// openScenery starts the stand-ins.
func (s *Stage) openScenery() error {
	pki, err := standin.NewPKI(time.Now())
	if err != nil {
		return err
	}
	s.ends.Roots = filepath.Join(s.cfg.Dir, "servers", "roots.pem")
	if err := os.MkdirAll(filepath.Dir(s.ends.Roots), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(s.ends.Roots, pki.Roots, 0o644); err != nil {
		return err
	}
	var sc scenery
	for _, w := range []struct {
		site        **standin.Site
		web         *district.Web
		zone        string
		at          int
		host, title string
	}{
		{&sc.portal, &s.ends.Portal, town.Province, portalAt, "cong.tuky.test", "Cổng thông tin điện tử huyện Tứ Kỳ"},
		{&sc.province, &s.ends.Province, town.Province, provinceAt, "dichvucong.tinh.test", "Dịch vụ công của tỉnh"},
		{&sc.onestop, &s.ends.OneStop, town.Province, onestopAt, "motcua.tinh.test", "Một cửa điện tử"},
		{&sc.national, &s.ends.National, town.National, nationalAt, "dichvucong.qg.test", "Cổng Dịch vụ công quốc gia"},
		{&sc.payment, &s.ends.Payment, town.National, paymentAt, "thanhtoan.qg.test", "Thanh toán trực tuyến"},
		{&sc.backend, new(district.Web), town.Province, backendAt, "xa.tuky.test", "Trang thông tin điện tử xã"},
	} {
		if *w.site, *w.web, err = s.openSite(pki, w.zone, w.at, w.host, w.title); err != nil {
			return err
		}
		if w.site == &sc.backend {
			s.ends.Communes = map[string]district.Web{}
			for _, u := range s.units {
				s.ends.Communes[u.ID] = *w.web
			}
		}
	}
	if sc.resolver, err = s.openResolver(); err != nil {
		return err
	}
	s.sceneryHands(&sc)
	return nil
}

// openSite starts a web site in a zone.
func (s *Stage) openSite(pki *standin.PKI, zone string, at int, host, title string) (*standin.Site, district.Web, error) {
	p, err := s.place(zone, host, s.zoneAddr(zone, at))
	if err != nil {
		return nil, district.Web{}, err
	}
	addr := listenAt(p, 443)
	site, err := standin.NewSite(pki, host, title, func() (net.Listener, error) { return listenIn(p, addr) })
	if err != nil {
		return nil, district.Web{}, err
	}
	s.stops = append(s.stops, site.Stop)
	s.names[host] = p.IP
	if s.cfg.Loopback {
		return site, district.Web{URL: "https://" + addr + "/", Name: host}, nil
	}
	return site, district.Web{URL: "https://" + host + "/"}, nil
}

func (s *Stage) zoneAddr(zone string, at int) netip.Addr {
	switch {
	case s.town == nil:
		return loopback
	case zone == town.National:
		return s.town.NationalAddr(at)
	}
	return s.town.ProvinceAddr(at)
}

// listenAt is the address in a place for a standard port.
func listenAt(p servers.Place, std int) string {
	port := std
	if p.Port != nil {
		port = p.Port(std)
	}
	return net.JoinHostPort(p.IP.String(), fmt.Sprint(port))
}

func listenIn(p servers.Place, addr string) (l net.Listener, err error) {
	err = p.Do(func() error {
		l, err = net.Listen("tcp", addr)
		return err
	})
	return l, err
}

// openResolver starts the resolver; it knows every name that was given out before.
func (s *Stage) openResolver() (*standin.Resolver, error) {
	p, err := s.place(town.Province, "resolver", s.zoneAddr(town.Province, resolverAt))
	if err != nil {
		return nil, err
	}
	addr := listenAt(p, 53)
	r, err := standin.NewResolver(s.names, func() (c net.PacketConn, err error) {
		err = p.Do(func() error {
			c, err = net.ListenPacket("udp", addr)
			return err
		})
		return c, err
	})
	if err != nil {
		return nil, err
	}
	s.stops = append(s.stops, r.Stop)
	s.ends.Resolver, s.ends.PortalIP = addr, s.names["cong.tuky.test"].String()
	return r, nil
}

// openTargets starts the neutral targets of both lines and what stands on desks.
func (s *Stage) openTargets() error {
	if s.cfg.Loopback {
		return nil
	}
	listen := func(site string, a netip.Addr, port int) (string, error) {
		p := servers.Place{Netns: town.Netns(site), IP: a}
		addr := netip.AddrPortFrom(a, uint16(port)).String()
		l, err := listenIn(p, addr)
		if err != nil {
			return "", err
		}
		standin.Discard(s.ctx, l)
		s.stops = append(s.stops, func() error { return ignoreClosed(l.Close()) })
		return addr, nil
	}
	for i := range 3 {
		a, err := listen(town.National, s.town.NationalAddr(i+1), 853)
		if err != nil {
			return err
		}
		d, err := listen(town.Province, s.town.DedicatedAddr(i+1), 853)
		if err != nil {
			return err
		}
		s.ends.Internet, s.ends.TSLCD = append(s.ends.Internet, a), append(s.ends.TSLCD, d)
	}
	s.ends.Gateway, s.ends.Printers, s.ends.Disks = true, map[string]string{}, map[string]string{}
	for _, u := range s.units {
		if err := s.openDesk(u); err != nil {
			return err
		}
		s.ends.Disks[u.ID] = u.dir
	}
	return nil
}

// An office takes the collector's calls about incidents.
type office struct {
	server *http.Server
	script *transcript
}

// openOffice starts what the collector's webhook calls.
func (s *Stage) openOffice() error {
	p := s.centrePlace()
	port := portOffice
	if s.cfg.Loopback {
		port = servers.FreePorts(loopback)(portOffice)
	}
	addr := net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	l, err := listenIn(p, addr)
	if err != nil {
		return err
	}
	o := &office{script: s.script}
	o.server = &http.Server{Handler: o, ReadTimeout: 10 * time.Second}
	go func() { _ = o.server.Serve(l) }() // ends with Close
	s.stops = append(s.stops, o.server.Close)
	s.told, s.ends.Webhook = o, "http://"+addr+"/"
	return nil
}

func (o *office) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return
	}
	if strings.HasPrefix(r.URL.Path, alertsPath) {
		o.alerts(w, b)
		return
	}
	var call struct {
		Title string `json:"title"`
		Items []struct {
			Incident string `json:"incident"`
			Event    string `json:"event"`
		} `json:"items"`
	}
	if json.Unmarshal(b, &call) != nil {
		http.Error(w, "this is no call of the collector", http.StatusBadRequest)
		return
	}
	var events, incidents []string
	for _, i := range call.Items {
		events, incidents = append(events, i.Event), append(incidents, i.Incident)
	}
	o.script.write(Line{What: "told", Detail: call.Title, Event: strings.Join(events, " "), Incident: strings.Join(incidents, " ")})
}
