package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// PortalsConfig sets up a server of sites.
type PortalsConfig struct {
	PKI   *PKI
	Sites []SiteConfig      // at least one; the first is also found by the address
	Users map[string]string // who may log in to one-stop shops, with passwords
	Plain bool              // port 80 shows the sites, too, and sends nobody to 443
}

// Portals is nginx at ports 80 and 443 with sites by name, and behind it the programs that make their pages. Port 80 sends
// browsers to 443, unless it shows the sites as well.
type Portals struct {
	p        Place
	nginx    *daemon
	sites    []*Site
	backends map[string]*httpd
}

// StartPortals starts the server and all that is behind it.
func StartPortals(ctx context.Context, p Place, c PortalsConfig) (*Portals, error) {
	if len(c.Sites) == 0 {
		return nil, errors.New("a server of portals needs a site")
	}
	if err := Require("nginx"); err != nil {
		return nil, err
	}
	s := &Portals{p: p, backends: map[string]*httpd{}}
	var blocks strings.Builder
	behind := map[string]hosts{}
	for i, sc := range c.Sites {
		site, err := newSite(p, c, sc)
		if err != nil {
			return nil, err
		}
		s.sites = append(s.sites, site)
		backend := backendOf(sc)
		if behind[backend] == nil {
			behind[backend] = hosts{}
		}
		for _, name := range append([]string{sc.Name}, sc.Aliases...) {
			behind[backend][name] = site
		}
		s.block(&blocks, site, backend, i == 0, c.Plain)
	}
	if first := behind[backendOf(c.Sites[0])]; first != nil {
		first[p.IP.String()] = s.sites[0]
	}
	if err := s.startBackends(ctx, behind); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	var err error
	if s.nginx, err = startNginx(ctx, p, blocks.String(), 80, 443); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func backendOf(c SiteConfig) string {
	if c.Backend == "" {
		return c.Name
	}
	return c.Backend
}

func newSite(p Place, c PortalsConfig, sc SiteConfig) (*Site, error) {
	if !slices.Contains([]SiteKind{PortalSite, ServiceSite, OneStopSite, PaymentSite}, sc.Kind) {
		return nil, fmt.Errorf("site %q is of no known kind: %q", sc.Name, sc.Kind)
	}
	id, err := c.PKI.Server(append([]string{sc.Name}, sc.Aliases...), p.IP)
	if err != nil {
		return nil, fmt.Errorf("site %q: %w", sc.Name, err)
	}
	site := &Site{c: sc, users: c.Users, tls: id, file: filepath.Join(p.Dir, fileName(sc.Name)+".pem"), url: p.url("https", sc.Name, 443), sessions: map[string]*session{}}
	return site, site.UseCertificate(Good)
}

// block adds nginx's blocks of a site.
func (s *Portals) block(b *strings.Builder, site *Site, backend string, first, both bool) {
	names := strings.Join(append([]string{site.c.Name}, site.c.Aliases...), " ")
	plain, secure := "listen "+s.p.at(80), "listen "+s.p.at(443)+" ssl"
	if first {
		plain, secure = plain+" default_server", secure+" default_server"
	}
	port := ""
	if n := s.p.port(443); n != 443 {
		port = fmt.Sprintf(":%d", n)
	}
	if both {
		secure += "; " + plain
	} else {
		fmt.Fprintf(b, "server { %s; server_name %s; return 301 https://$host%s$request_uri; }\n", plain, names, port)
	}
	fmt.Fprintf(b, "server { %s; server_name %s; ssl_certificate $dir/%s; ssl_certificate_key %s; location / { proxy_pass http://unix:%s; } }\n",
		secure, names, filepath.Base(site.file), "$dir/"+filepath.Base(site.file)+".key", s.socket(backend))
}

// socket is where nginx finds a backend: in the file system, so that it needs no port in any namespace.
func (s *Portals) socket(backend string) string {
	return filepath.Join(s.p.Dir, fileName(backend)+".sock")
}

func (s *Portals) startBackends(ctx context.Context, behind map[string]hosts) error {
	for name, sites := range behind {
		path := s.socket(name)
		back := &httpd{ctx: ctx, handler: sites, listen: func() (net.Listener, error) {
			_ = os.Remove(path) // what a run that was killed left
			return (&net.ListenConfig{}).Listen(ctx, "unix", path)
		}}
		if err := back.Dead(false); err != nil {
			return fmt.Errorf("backend %q: %w", name, err)
		}
		context.AfterFunc(ctx, func() { _ = back.Stop() })
		s.backends[name] = back
	}
	return nil
}

// hosts are the sites of one program behind nginx, by the names of their hosts.
type hosts map[string]*Site

// ServeHTTP hands a request to the site that it is for.
func (h hosts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	if s := h[strings.ToLower(name)]; s != nil {
		s.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

// Stop ends the server and all that is behind it.
func (s *Portals) Stop() error {
	var errs []error
	if s.nginx != nil {
		errs = append(errs, s.nginx.stop())
	}
	for _, b := range s.backends {
		errs = append(errs, b.Stop())
	}
	return errors.Join(errs...)
}

// Addr is the host:port of HTTPS.
func (s *Portals) Addr() string { return s.p.at(443) }

// URL is the address of the first site by its number, without a slash at its end.
func (s *Portals) URL() string { return s.p.url("https", s.p.IP.String(), 443) }

// PlainURL is the address of the first site at port 80.
func (s *Portals) PlainURL() string { return s.p.url("http", s.p.IP.String(), 80) }

// Site returns the site of this name; nil when there is none.
func (s *Portals) Site(name string) *Site {
	if i := slices.IndexFunc(s.sites, func(x *Site) bool { return x.c.Name == name }); i >= 0 {
		return s.sites[i]
	}
	return nil
}

// Sites lists all sites, in their order.
func (s *Portals) Sites() []*Site { return slices.Clone(s.sites) }

// Halt ends nginx, so that its ports are closed, or starts it again.
func (s *Portals) Halt(on bool) error { return s.nginx.halt(on) }

// BackendDown ends the program behind nginx that sites share (or a site's own one, by the site's name), or starts it again.
func (s *Portals) BackendDown(backend string, down bool) error {
	b := s.backends[backend]
	if b == nil {
		return fmt.Errorf("no backend %q behind these sites", backend)
	}
	return b.Dead(down)
}

// CaptiveConfig sets up the portal of a line that wants its user to log in first.
type CaptiveConfig struct {
	PKI  *PKI
	Host string // name of the login page's host
}

// A Captive answers whatever is asked, in the place of everybody: over HTTP it leads to its login page, over TLS it shows its
// own certificate. A line is led to it by its gateway.
type Captive struct {
	p     Place
	nginx *daemon
}

// StartCaptive starts the portal at ports 80 and 443.
func StartCaptive(ctx context.Context, p Place, c CaptiveConfig) (*Captive, error) {
	id, err := c.PKI.Server([]string{c.Host})
	if err != nil {
		return nil, err
	}
	if err := id.install(Good, filepath.Join(p.Dir, "captive.pem")); err != nil {
		return nil, err
	}
	login := p.url("http", c.Host, 80) + "/login"
	n, err := startNginx(ctx, p, fmt.Sprintf(`
	server { listen %s default_server; location / { return 302 %s; }
		location = /login { return 200 "<!DOCTYPE html><title>Wi-Fi</title><h1>Đăng nhập để dùng Internet</h1><form><input name=phone><button>Kết nối</button></form>"; } }
	server { listen %s ssl default_server; ssl_certificate captive.pem; ssl_certificate_key captive.pem.key; return 302 %s; }`,
		p.at(80), login, p.at(443), login), 80, 443)
	if err != nil {
		return nil, err
	}
	return &Captive{p: p, nginx: n}, nil
}

// Stop ends the portal.
func (c *Captive) Stop() error { return c.nginx.stop() }

// Addr is the host:port of HTTP.
func (c *Captive) Addr() string { return c.p.at(80) }

// Halt ends the portal for a while, or starts it again.
func (c *Captive) Halt(on bool) error { return c.nginx.halt(on) }
