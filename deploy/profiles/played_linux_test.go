package profiles_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/kinds"
	"egovmon/agent/plan"
	"egovmon/collector/profile"
	"egovmon/deploy/lab/servers"
)

// insideEnv tells the test program that it runs in the network of its own that the rows are played in.
const insideEnv = "EGOVMON_CATALOGUE"

// TestCatalogue plays every row of both profiles: a machine's plan is derived from the profile, with its parameters filled in by
// the addresses of servers on this machine, and each check of it is run twice, while its server works and while it does not. What
// the collector judges by itself follows from these results. All of it happens in a network of its own, in which the standard ports are free.
func TestCatalogue(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real servers: left out by -short")
	}
	if os.Getenv(roomEnv) != "" {
		inRoom(t)
		return
	}
	if os.Getenv(insideEnv) != "" {
		inside(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: the rows are played in a network namespace")
	}
	if err := servers.Require("ip", "named", "dnssec-keygen", "dnssec-signzone", "unbound", "/usr/lib/postfix/sbin/master", "dovecot", "/usr/lib/dovecot/imap", "openssl", "chronyd", "nft"); err != nil {
		t.Skip(err)
	}
	w := checktest.NewWorld(t)
	w.Site("pc", false)
	w.Site("gw", true)
	w.Join("pc", []string{"10.0.1.2/24"}, "gw", []string{"10.0.1.1/24"})
	w.IP("pc", "route add default via 10.0.1.1")
	w.Sysctl("pc", "ipv4/neigh/gw/retrans_time_ms", "100") // how often an address is asked for that nobody has
	// Two devices of the office, of which the inventory knows the router.
	w.Site("la", false)
	w.Join("pc", []string{"10.0.2.2/24"}, "la", []string{"10.0.2.1/24"})
	w.IP("pc", "link set gw address 00:1b:a9:00:00:03")
	w.IP("gw", "link set pc address "+knownDevice)
	w.IP("la", "link set pc address 00:1b:a9:00:00:02")
	for _, at := range []string{namesAt, webAt, mailAt, "127.0.0.11", "127.0.0.12", "127.0.0.13", listsAt, stampsAt, printerAt, oldPCAt} {
		w.IP("pc", "addr add "+at+"/8 dev lo")
	}
	w.Resolver("pc", resolverAt)
	dir, err := os.MkdirTemp("/tmp", "egovmon-catalogue-") // not t.TempDir: the programs' own users must get in
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := w.Command(t.Context(), "pc", os.Args[0], "-test.run=^TestCatalogue$", "-test.v")
	// What programs trust by themselves is the authority of the servers here.
	cmd.Env = append(os.Environ(), insideEnv+"="+dir, "SSL_CERT_FILE="+filepath.Join(dir, "pki", "roots.pem"), "SSL_CERT_DIR=/nonexistent", checktest.AtOnce)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		lines := strings.Split(said.String(), "\n")
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "=== ") || strings.Contains(l, "--- PASS") })
		t.Fatalf("%v:\n%.6000s", err, strings.Join(lines, "\n"))
	}
}

// Where things stand in that network. What is at nowhere is on the machine's own network, and nobody has that address.
const (
	resolverAt = "127.0.0.1"
	namesAt    = "127.0.0.2"
	webAt      = "127.0.0.3"
	mailAt     = "127.0.0.4"
	listsAt    = "127.0.0.21"
	stampsAt   = "127.0.0.22"
	printerAt  = "127.0.0.31"
	oldPCAt    = "127.0.0.32"
	closed     = "127.0.0.99"
	nowhere    = "10.0.1.99"
	strangerAt = "10.0.2.1"

	knownDevice = "00:1b:a9:00:00:01"
	portalName  = "cong.tuky.gov.vn"
)

// cast are the servers that the rows are played against.
type cast struct {
	t        *testing.T
	dir      string
	pki      *servers.PKI
	officer  *servers.Identity
	names    *servers.Names
	resolver *servers.Resolver
	revoked  *servers.Revocation
	stamps   *servers.TSA
	mail     *servers.Mail
	rooms    map[string][]byte // what the checks of the machine itself keep
	played   map[string]check.Result
	printer  *servers.Printer
	signing  *servers.SignService
	secrets  map[string]string
}

func (c *cast) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// place is a folder of its own and an address with the standard ports.
func (c *cast) place(name, ip string) servers.Place {
	dir := filepath.Join(c.dir, name)
	c.must(os.Mkdir(dir, 0o755))
	return servers.Place{Dir: dir, IP: netip.MustParseAddr(ip), Log: io.Discard}
}

func assemble(t *testing.T) *cast {
	t.Helper()
	c := &cast{t: t, dir: os.Getenv(insideEnv), played: map[string]check.Result{}}
	lists := c.place("lists", listsAt)
	ocsp, crl := servers.RevocationURLs(lists, listsAt)
	var err error
	c.pki, err = servers.NewPKI(filepath.Join(c.dir, "pki"), servers.PKIConfig{Now: time.Now(), OCSP: ocsp, CRL: crl})
	c.must(err)
	c.officer, err = c.pki.G2.Officer("giam-sat", "Khóa giám sát")
	c.must(err)
	key, err := os.ReadFile(c.officer.KeyFile)
	c.must(err)
	chain, err := os.ReadFile(c.officer.CertFile)
	c.must(err)
	c.secrets = map[string]string{"ky-so-giam-sat": string(key) + string(chain), "mail-probe": "mật khẩu", "mail-loop": "khóa chung"}
	var g sync.WaitGroup
	for _, start := range []func() error{c.startNames, c.startWeb, c.startMail, c.startClocks, c.startDesk, func() (err error) {
		c.revoked, err = servers.StartRevocation(t.Context(), lists, servers.RevocationConfig{PKI: c.pki})
		return err
	}, func() (err error) {
		c.stamps, err = servers.StartTSA(t.Context(), servers.Place{Dir: lists.Dir, IP: netip.MustParseAddr(stampsAt), Log: io.Discard}, servers.TSAConfig{PKI: c.pki})
		return err
	}} {
		g.Go(func() {
			if err := start(); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return c
}

// startNames starts the resolver of the machine and the authority that it asks.
func (c *cast) startNames() (err error) {
	state := servers.ZoneConfig{Name: "tuky.gov.vn", Records: []string{"cong A " + webAt, "cong AAAA ::1"}}
	c.names, err = servers.StartNames(c.t.Context(), c.place("names", namesAt), servers.NamesConfig{Zones: []servers.ZoneConfig{state, {Name: "lab.test", Signed: true,
		Records: []string{"cong A " + webAt, "cong AAAA ::1", "@ MX 10 mail", "mail A " + mailAt, `@ TXT "v=spf1 mx -all"`, `_dmarc TXT "v=DMARC1; p=reject"`}}}})
	if err != nil {
		return err
	}
	c.t.Cleanup(func() { _ = c.names.Stop() })
	c.resolver, err = servers.StartResolver(c.t.Context(), c.place("resolver", resolverAt), servers.ResolverFor(c.names))
	if err == nil {
		c.t.Cleanup(func() { _ = c.resolver.Stop() })
	}
	return err
}

// startWeb starts the sites, with and without TLS, and whatever takes a connection.
func (c *cast) startWeb() error {
	id, err := c.pki.Server([]string{"cong.lab.test", portalName}, netip.MustParseAddr(webAt))
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(id.CertFile(servers.Good), id.KeyFile)
	if err != nil {
		return err
	}
	quiet := log.New(io.Discard, "", 0)
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now().Format(time.RFC3339)
		w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		if r.Host == portalName && r.TLS == nil {
			http.Redirect(w, r, "https://"+portalName+"/", http.StatusMovedPermanently)
			return
		}
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/dang-nhap":
			_, _ = io.WriteString(w, `<html><title>Đăng nhập</title><form method="post"><input name="taikhoan"><input type="password" name="matkhau"></form></html>`)
		case "/sso":
			_, _ = io.WriteString(w, `<html><title>Đăng nhập</title><form method="post"><input name="sodinhdanh"></form></html>`)
		case "/moi":
			_, _ = fmt.Fprintf(w, `{"data":[{"updated":%q}]}`, now)
		case "/tin":
			_, _ = fmt.Fprintf(w, `<html><span class="ngay">%s</span></html>`, now)
		default:
			_, _ = io.WriteString(w, "<html><title>Tứ Kỳ</title><p>Cổng thông tin điện tử Tứ Kỳ. Tra cứu hồ sơ H23-1: đã tiếp nhận.</p></html>")
		}
	})
	for _, port := range []string{":80", ":443"} {
		l, err := net.Listen("tcp", webAt+port)
		if err != nil {
			return err
		}
		if port == ":443" {
			l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}})
		}
		s := &http.Server{Handler: page, ErrorLog: quiet, ReadHeaderTimeout: time.Minute}
		go func() { _ = s.Serve(l) }()
		c.t.Cleanup(func() { _ = s.Close() })
	}
	for _, at := range []string{webAt + ":1", oldPCAt + ":445", "127.0.0.41:853", "127.0.0.42:853", "127.0.0.43:853"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		c.t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_ = conn.Close()
			}
		}()
	}
	return nil
}

func (c *cast) startMail() (err error) {
	boxes := map[string]string{"probe@lab.test": c.secrets["mail-probe"]}
	for _, name := range []string{"tu-ky-2023", "hai-phong-2025"} {
		for _, u := range load(c.t, name).Units {
			boxes[boxOf(u.ID)] = c.secrets["mail-probe"]
		}
	}
	c.mail, err = servers.StartMail(c.t.Context(), c.place("mail", mailAt), servers.MailConfig{PKI: c.pki, Host: "mail.lab.test", Domains: []string{"lab.test"}, Boxes: boxes})
	if err == nil {
		c.t.Cleanup(func() { _ = c.mail.Stop() })
	}
	return err
}

// boxOf is the monitoring mailbox of a unit.
func boxOf(unit string) string { return "probe-" + unit + "@lab.test" }

func (c *cast) startClocks() error {
	for i := range 3 {
		k, err := servers.StartClock(c.t.Context(), c.place(fmt.Sprint("clock", i), fmt.Sprintf("127.0.0.%d", 11+i)), servers.ClockConfig{})
		if err != nil {
			return err
		}
		c.t.Cleanup(func() { _ = k.Stop() })
	}
	return nil
}

// startDesk starts what stands at a desk: the printer, the signing program with its process, the mobile signature's service.
func (c *cast) startDesk() (err error) {
	if c.printer, err = servers.StartPrinter(c.t.Context(), c.place("printer", printerAt), servers.PrinterConfig{Name: "may-in"}); err != nil {
		return err
	}
	c.t.Cleanup(func() { _ = c.printer.Stop() })
	if c.signing, err = servers.StartSignService(c.t.Context(), c.place("signing", "127.0.0.1"), servers.SignServiceConfig{}); err != nil {
		return err
	}
	c.t.Cleanup(func() { _ = c.signing.Stop() })
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		return err
	}
	path := filepath.Join(c.dir, "VGCASignService.exe")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(c.t.Context(), path, "600")
	if err := cmd.Start(); err != nil {
		return err
	}
	c.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return nil
}

// parameters fills in a profile's parameters: with what works, or with what does not.
func (c *cast) parameters(p *profile.Profile, works bool) map[string]string {
	fresh := filepath.Join(c.dir, "sao-luu.bak")
	c.must(os.WriteFile(fresh, bytes.Repeat([]byte("x"), 2048), 0o644))
	host := map[bool]string{true: webAt, false: closed}[works]
	at := map[bool]string{true: webAt + ":1", false: closed + ":1"}[works]
	site := "http://" + host
	printer := map[bool]string{true: printerAt, false: nowhere}[works]
	anchors := strings.Join(strings.Fields(c.names.Anchors()[0]), " ")
	choose := func(good, bad string) string {
		if works {
			return good
		}
		return bad
	}
	own := map[string]string{
		"neo.internet.1": choose("127.0.0.41:853", nowhere+":853"), "neo.internet.2": choose("127.0.0.42:853", nowhere+":854"), "neo.internet.3": choose("127.0.0.43:853", nowhere+":855"),
		"neo.tslcd.1": choose("127.0.0.41:853", nowhere+":853"), "neo.tslcd.2": choose("127.0.0.42:853", nowhere+":854"), "neo.tslcd.3": choose("127.0.0.43:853", nowhere+":855"),
		"neo.known.url": site + "/204", "neo.known.tls": host + ":443", "neo.known.host": choose("10.0.1.1", nowhere),
		"lan.known": knownDevice, "may_in.host": printer, "xep_hang.host": printer, "truyen_thanh.host": printer, "power.ups": printer,
		"may_cu.host": choose(oldPCAt, nowhere), "may_cu.os": "Windows 7", "may_cu.os_end": "2020-01-14",
		"dns_local.server": choose(resolverAt, closed) + ":53", "dns_local.name": "cong.lab.test", "cong_h.host": "cong.lab.test", "cong_x.host": "cong.lab.test", "qlvb.host": "cong.lab.test", "cong_h.zone": "lab.test", "dns.anchor.1": anchors, "dns.anchor.2": anchors,
		"ntp.server.1": choose("127.0.0.11:123", closed+":123"), "ntp.server.2": choose("127.0.0.12:123", closed+":124"), "ntp.server.3": choose("127.0.0.13:123", closed+":125"),
		"backup.file": choose(fresh, fresh+".mat"), "qlns.backup": choose(fresh, fresh+".mat"),
		"vneid.login_url": site + "/sso", "vneid.sso_host": host, "vneid.field": "sodinhdanh",
		"cong_h.address": host + ":443", "cong_x.address": host + ":443", "dvc_q.address": host + ":443", "qlvb.address": host + ":443", "tthc.address": host + ":443", "thanhtoan.address": host + ":443",
		"lgsp.address": host + ":443", "soc.address": host + ":443", "tabmis.address": at, "qlns.address": at,
		"mail.submission": choose(mailAt, closed) + ":587", "mail.imap": choose(mailAt, closed) + ":993", "mail.domain": choose("lab.test", "khong-co.lab.test"),
		"kyso.tsa": choose(stampsAt, closed) + ":80", "kyso.tsa_url": choose("http://"+stampsAt+"/", "http://"+closed+"/"), "kyso.roots": c.pki.Roots, "kyso.sign_roots": c.pki.Roots,
		"kyso.ocsp": choose(listsAt, closed) + ":80", "kyso.ocsp_url": choose(c.revoked.OCSP(), "http://"+closed+"/"), "kyso.crl_url": choose(c.revoked.CRL(c.pki.G2), "http://"+closed+"/"),
		"kyso.ctl_url": choose(c.revoked.TrustList(), "http://"+closed+"/"), "kyso.certificate": c.officer.CertFile, "kyso.issuer": c.pki.G2.File, "kyso.certs": choose(c.officer.CertFile, "/khong/co.pem"),
		"kyso.mssp": at, "kyso.mssp_url": "https://" + host + "/",
		"tthc.approved": "12/QD", "tthc.approved_on": "2023-01-01", "tthc.approved_until": "2099-12-31", "tthc.lookup_path": "/tra-cuu", "tthc.lookup_text": "Tra cứu", "tthc.lookup_result": "/tra-cuu?ma=H23-1", "tthc.lookup_code": "H23-1",
		"cong_h.url": choose("https://"+portalName+"/", "https://"+closed+"/"), "cong_h.news_url": site + "/tin", "cong_h.news_select": "span.ngay",
		"cong_x.url": choose("https://"+portalName+"/", "https://"+closed+"/"), "cong_x.news_url": site + "/tin", "cong_x.news_select": "span.ngay",
	}
	given := map[string]string{}
	for _, q := range p.Parameters {
		_, end, _ := strings.Cut(q.ID, ".")
		switch v, ok := own[q.ID]; {
		case q.ID == "mail.probe": // each unit has its own
		case ok:
			given[q.ID] = v
		case q.Builtin:
			given[q.ID] = at
		case end == "freshness_json":
			given[q.ID] = "$.data[*].updated"
		case end == "freshness_url":
			given[q.ID] = site + "/moi"
		case end == "login_url", end == "webmail", q.ID == "qlvb.url", q.ID == "tthc.url", q.ID == "tabmis.url":
			given[q.ID] = site + "/dang-nhap"
		default:
			given[q.ID] = site + "/"
		}
	}
	return given
}

// A take is what one check of a row came to.
type take struct {
	kind         string
	decides      bool
	works, fails check.Result
}

// inside plays the rows in the network that the test has made.
func inside(t *testing.T) {
	c := assemble(t)
	if conn, err := net.Dial("tcp", "10.0.1.1:1"); err == nil { // the machine has talked to its router
		conn.Close()
	}
	takes := map[string]map[string]take{}
	days := map[string][]string{"tu-ky-2023": {"2024-06-03", "2026-06-01"}, "hai-phong-2025": {"2026-06-01", "2026-11-23"}}
	names := slices.Sorted(maps.Keys(days))
	c.firewall(true)
	for _, name := range names {
		for _, day := range days[name] {
			takes[name+day] = map[string]take{}
			c.play(load(t, name), day, true, takes[name+day])
		}
	}
	// Now all that has no other address is broken: the way out and the names. Letters stay in the queue, somebody has brought a device.
	c.firewall(false)
	c.must(c.mail.Stuck(true))
	if conn, err := net.Dial("tcp", strangerAt+":1"); err == nil {
		conn.Close()
	}
	c.must(exec.CommandContext(t.Context(), "ip", "route", "del", "default").Run())
	c.must(c.resolver.Halt(true))
	c.must(c.signing.Off(true))
	for _, name := range names {
		for _, day := range days[name] {
			c.play(load(t, name), day, false, takes[name+day])
		}
	}
	for _, name := range names {
		p := load(t, name)
		for _, day := range days[name] {
			for id, x := range takes[name+day] {
				judgeTake(t, name, id, x)
			}
			d, err := profile.ParseDate(day)
			c.must(err)
			judgeRows(t, name, p, d.Start().Add(9*time.Hour), takes[name+day])
		}
	}
}

// play runs every check that some machine of the profile is told on a day, once each. What was run already, on another day or for the
// other profile, with the very same options is not run again.
func (c *cast) play(p *profile.Profile, day string, works bool, takes map[string]take) {
	c.t.Helper()
	d, err := profile.ParseDate(day)
	c.must(err)
	at, given := d.Start().Add(9*time.Hour), c.parameters(p, works)
	giveBoxes(p)
	var mu sync.Mutex
	var g sync.WaitGroup
	room := make(chan struct{}, 12)
	done := map[string]bool{}
	for _, m := range p.MachinesAt(at) {
		text, checks := c.told(p, m.ID, at, given)
		var own []string
		for _, k := range checks {
			if done[k.ID] {
				continue
			}
			done[k.ID] = true
			svc, _ := p.Service(k.Service, at)
			keep := func(r check.Result) {
				mu.Lock()
				defer mu.Unlock()
				x := takes[k.ID]
				x.kind, x.decides = k.Kind, slices.Contains(svc.Deciding(), k.ID)
				if works {
					x.works = r
				} else {
					x.fails = r
				}
				takes[k.ID] = x
			}
			if keep(check.Result{}); ofTheMachine(k) {
				own = append(own, k.ID)
				continue
			}
			key, err := json.Marshal([]any{works, k.ID, k.Kind, k.Options})
			c.must(err)
			mu.Lock()
			r, ok := c.played[string(key)]
			mu.Unlock()
			if ok {
				keep(r)
				continue
			}
			g.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				r := c.once(p, m.ID, k, at, works)
				keep(r)
				mu.Lock()
				defer mu.Unlock()
				c.played[string(key)] = r
			})
		}
		for id, r := range c.atHome(text, own, works) {
			mu.Lock()
			x := takes[id]
			if works {
				x.works = r
			} else {
				x.fails = r
			}
			takes[id] = x
			mu.Unlock()
		}
	}
	g.Wait()
}

// once runs a check of a machine once.
func (c *cast) once(p *profile.Profile, machine string, k plan.Check, at time.Time, works bool) check.Result {
	if k.Kind == "mailloop" && !works {
		return c.letterKept(p, machine, k.ID, at)
	}
	return c.run(k)
}

// giveBoxes gives every unit a monitoring mailbox of its own.
func giveBoxes(p *profile.Profile) {
	i := slices.IndexFunc(p.Parameters, func(q profile.Parameter) bool { return q.ID == "mail.probe" })
	p.Parameters[i].Values = nil
	for _, u := range p.Units {
		p.Parameters[i].Values = append(p.Parameters[i].Values, profile.Dated{Value: boxOf(u.ID), Unit: u.ID, Valid: p.Parameters[i].Valid})
	}
}

// told is the plan of a machine, and its checks.
func (c *cast) told(p *profile.Profile, machine string, at time.Time, given map[string]string) (text []byte, checks []plan.Check) {
	c.t.Helper()
	text, why, err := p.PlanFor(machine, at, given, 1)
	c.must(err)
	for _, w := range why {
		if w.Because == profile.BecauseNotConfigured {
			c.t.Errorf("%s: %s", w.Check, w.Detail)
		}
	}
	parsed, err := plan.Parse(text, kinds.Table())
	c.must(err)
	return text, parsed.Checks
}

// atHome runs the checks of a machine itself on one that is well kept, or on one that is not.
func (c *cast) atHome(text []byte, ids []string, works bool) map[string]check.Result {
	c.t.Helper()
	if len(ids) == 0 {
		return nil
	}
	root := c.office("may-bo-quen", false)
	if works {
		root = c.office("may-tot", true)
	}
	s := c.enter(room{Root: root, Plan: string(text), IDs: ids, Now: officeNow(), Kept: c.rooms})
	if works {
		c.rooms = s.Kept
	}
	return s.Results
}

// letterKept runs the loop of letters while the server takes them and delivers none: once to hand one in, and once two hours later.
func (c *cast) letterKept(p *profile.Profile, machine, id string, at time.Time) check.Result {
	_, checks := c.told(p, machine, at, c.parameters(p, true))
	i := slices.IndexFunc(checks, func(k plan.Check) bool { return k.ID == id })
	kind, _ := kinds.Table().Lookup(checks[i].Kind)
	o := maps.Clone(checks[i].Options)
	o["wait"] = time.Duration(0) // the second run looks for it
	var later time.Duration
	f, err := kind.New(o, check.Env{Check: id, Timeout: time.Minute, Now: func() time.Time { return time.Now().Add(later) }, Secret: c.secret})
	if err != nil {
		return check.Because(check.Misconfigured, "%v", err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	r := f(ctx)
	if _, sent := r.Facts.Get("sent_serial"); !sent {
		return check.Because(check.Internal, "no letter was handed in: %s %s", r.Reason, r.Detail)
	}
	later = 2 * time.Hour
	return f(ctx)
}

// secret gives the machine's secrets.
func (c *cast) secret(name string) (string, error) {
	if s, ok := c.secrets[name]; ok {
		return s, nil
	}
	return "", errors.New("there is none")
}

// run runs a check once, as an agent does.
func (c *cast) run(k plan.Check) check.Result {
	kind, _ := kinds.Table().Lookup(k.Kind)
	limit := max(k.Timeout, 20*time.Second)
	if k.Kind == "path" || k.Kind == "ntp" {
		limit = k.Timeout
	}
	f, err := kind.New(k.Options, check.Env{Check: k.ID, Timeout: limit, Now: time.Now, Secret: c.secret})
	if err != nil {
		return check.Because(check.Misconfigured, "%v", err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	return f(ctx)
}

// judgeTake sees that a check works with its server and not without it.
func judgeTake(t *testing.T, profile, id string, x take) {
	t.Helper()
	good := x.works.State == check.Up || x.works.State == check.Degraded
	bad := x.fails.State == check.Down
	switch x.kind {
	case "mobilepki", "certs": // explain: without a certificate of ours the service lets nobody in, a missing file is no fault of the authority
		good, bad = x.works.Reason != check.Misconfigured && x.works.Reason != check.Internal, x.fails.State != check.Up
	case "freshness":
		bad = bad || x.fails.State == check.Degraded
	case "mailloop":
		good, bad = x.works.State == check.Up, x.fails.Reason == check.MailLost
	case "host", "neighbours", "inventory": // tell of the machine and its network, which are there while anything is told
		good = x.works.State == check.Up
		bad = x.fails.Reason == map[string]check.Reason{"host": check.LowResource, "neighbours": check.ControlPartial, "inventory": check.ContentChanged}[x.kind]
	case "control":
		switch _, control, _ := strings.Cut(id, "."); control {
		case "m03", "m15": // the plan does not ask for an agent against malware or an encrypted disk: it is told whether they are there
			bad = x.fails.Reason == check.ControlPartial && x.fails.Detail != x.works.Detail
		}
	}
	if x.decides && x.kind != "host" && x.fails.State != check.Down {
		bad = false
	}
	if !good {
		t.Errorf("%s: %s (%s) with its server: %s (%s: %.200s)", profile, id, x.kind, x.works.State, x.works.Reason, x.works.Detail)
	}
	if !bad {
		t.Errorf("%s: %s (%s) without its server: %s (%s: %.200s)", profile, id, x.kind, x.fails.State, x.fails.Reason, x.fails.Detail)
	}
}
