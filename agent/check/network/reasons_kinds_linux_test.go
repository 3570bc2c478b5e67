package network

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// planned runs a check as a plan writes it, in a site.
func planned(w *checktest.World, site, kind, with string, limit time.Duration) func(*testing.T) check.Result {
	return func(*testing.T) check.Result {
		return w.Check(site, checktest.Run{Plan: fmt.Sprintf("{id: inet.x, kind: %s, every: 300s, timeout: 60s, confirm: 0, with: {%s}}", kind, with), Limit: limit})[0]
	}
}

// unresolved are the acts of names that lead nowhere; with has %s in the place of the host.
func unresolved(w *checktest.World, kind, with string) []act {
	at := func(host string, limit time.Duration) func(*testing.T) check.Result {
		return planned(w, "pc", kind, fmt.Sprintf(with, host), limit)
	}
	return []act{
		{"no such name", check.DNSNXDomain, at("nobody.test", 0)},
		{"the resolver fails", check.DNSServfail, at("fails.test", 0)},
		{"the resolver is silent", check.DNSTimeout, at("silent.test", time.Second)},
	}
}

func TestReasonsOfCaptive(t *testing.T) {
	t.Parallel()
	w := nameless(t)
	w.IP("pc", "route add unreachable 192.0.2.1")
	const host = "known.test"
	ca, box := checktest.NewAuthority(t, host), checktest.NewAuthority(t, host)
	ends := func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(0, 0, -1) }
	other := func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"wifi.test"}, nil }
	known := says(t, 204, nil, "")
	ask := func(url string, o check.Options, env check.Env) func(*testing.T) check.Result {
		return func(t *testing.T) check.Result {
			all := check.Options{"url": url}
			maps.Copy(all, o)
			return captiveRun(t, all, env)
		}
	}
	shown := func(leaf tls.Certificate, env check.Env) func(*testing.T) check.Result {
		address := checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{leaf}}, nil)
		return ask(known, check.Options{"address": address, "server_name": host, "roots": ca.Roots()}, env)
	}
	answers := func(text string) string {
		return "http://" + checktest.Serve(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, text)
		}) + "/"
	}
	unproven := check.Env{ClockProven: func() bool { return false }}
	down := []check.Reason{
		check.DNSNXDomain, check.DNSServfail, check.DNSTimeout, check.DNSEmpty, check.ConnectRefused, check.ConnectUnreachable, check.ConnectReset,
		check.TLSHandshake, check.TLSName, check.TLSUntrusted, check.Timeout, check.Protocol, check.HTTPStatus, check.HTTPRedirect,
		check.TooLarge, check.Truncated, check.CaptivePortal,
	}
	play(t, captiveKind(), down, append(unresolved(w, "captive", `url: "http://%s/"`), []act{
		{"known", check.OK, ask(known, nil, check.Env{})},
		{"known, and its certificate", check.OK, shown(ca.Leaf(nil, nil), check.Env{})},
		{"slow", check.Slow, ask(known, check.Options{"slow": time.Nanosecond}, check.Env{})},
		{"the certificate has ended", check.Partial, shown(ca.Leaf(nil, ends), check.Env{})},
		{"the certificate has ended, says a clock that may be wrong", check.ClockUnproven, shown(ca.Leaf(nil, ends), unproven)},
		{"a block page", check.Blocked, ask(says(t, 403, nil, "Trang web này đã bị chặn"), nil, check.Env{})},
		{"roots that are not there", check.Misconfigured, ask(known, check.Options{"address": listen(t), "server_name": host, "roots": "/nowhere"}, check.Env{})},
		{"another version of IP", check.DNSEmpty, ask(known, check.Options{"family": "ip6"}, check.Env{})},
		{"closed", check.ConnectRefused, ask("http://"+refused(t)+"/", nil, check.Env{})},
		{"no way", check.ConnectUnreachable, planned(w, "pc", "captive", `url: "http://192.0.2.1/"`, 0)},
		{"hangs up", check.ConnectReset, ask(answers(""), nil, check.Env{})},
		{"a log-in page", check.CaptivePortal, ask(says(t, 200, nil, "log in"), nil, check.Env{})},
		{"a box that opens TLS", check.TLSUntrusted, shown(box.Leaf(nil, nil), check.Env{})},
		{"another's certificate", check.TLSName, shown(ca.Leaf(nil, other), check.Env{})},
		{"no TLS", check.TLSHandshake, ask(known, check.Options{"address": checktest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\n\r\n") }), "server_name": host, "roots": ca.Roots()}, check.Env{})},
		{"no answer", check.Timeout, func(t *testing.T) check.Result {
			return runFor(t, captiveKind(), checktest.WithDefaults(t, captiveKind(), check.Options{"url": "http://" + silent(t) + "/"}), checktest.WithEnv(check.Env{}), time.Second)
		}},
		{"no HTTP", check.Protocol, ask(answers("220 mail\r\n\r\n"), nil, check.Env{})},
		{"the server is ill", check.HTTPStatus, ask(says(t, 503, nil, "later"), nil, check.Env{})},
		{"moved within", check.HTTPRedirect, ask(says(t, 301, http.Header{"Location": {"/new"}}, ""), nil, check.Env{})},
		{"a head without end", check.TooLarge, ask(endless(t), nil, check.Env{})},
		{"breaks off", check.Truncated, ask(answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), check.Options{"status": []int64{200}}, check.Env{})},
	}...))
}

func TestReasonsOfNTP(t *testing.T) {
	t.Parallel()
	w := nameless(t)
	w.IP("pc", "route add unreachable 192.0.2.1", "route add prohibit 192.0.2.2")
	good := timeAnswer{stratum: 2, refid: "\x0a\x01\x01\x01", delay: 4 * time.Millisecond, spread: 10 * time.Millisecond}
	at := func(answers ...timeAnswer) string { s, _ := timeServer(t, answers...); return s }
	right, right2, late, dead, deny := at(good), at(good), at(timeAnswer{stratum: 2, ahead: time.Hour}), at(), at(timeAnswer{refid: "DENY"})
	ask := func(limit time.Duration, env check.Env, servers ...string) func(*testing.T) check.Result {
		return func(t *testing.T) check.Result {
			return runFor(t, ntpKind(), checktest.WithDefaults(t, ntpKind(), check.Options{"servers": servers, "max_root_distance": 16 * time.Second}), env, limit)
		}
	}
	down := []check.Reason{check.DNSNXDomain, check.DNSServfail, check.DNSTimeout, check.ConnectRefused, check.ConnectUnreachable, check.Timeout, check.Protocol}
	play(t, ntpKind(), down, append(unresolved(w, "ntp", `servers: ["%s:123"]`), []act{
		{"well", check.OK, ask(long, check.Env{}, right, right2)},
		{"one of three is wrong", check.ClockSkew, ask(long, check.Env{}, right, late, right2)},
		{"one of two is silent", check.Partial, ask(2*time.Second, check.Env{}, right, dead)},
		calledOff(ntpKind(), check.Options{"servers": []string{dead}}),
		{"refuses us", check.Blocked, ask(long, check.Env{}, deny)},
		{"another version of IP", check.Misconfigured, ask(long, check.Env{Source: netip.IPv6Loopback()}, right)},
		{"our own system forbids it", check.NoPermission, planned(w, "pc", "ntp", `servers: ["192.0.2.2:123"]`, 0)},
		{"nobody listens", check.ConnectRefused, ask(long, check.Env{}, checktest.ClosedPort(t))},
		{"no way", check.ConnectUnreachable, planned(w, "pc", "ntp", `servers: ["192.0.2.1:123"]`, 0)},
		{"silent", check.Timeout, ask(time.Second, check.Env{}, dead)},
		{"not synchronised", check.Protocol, ask(long, check.Env{}, at(timeAnswer{leap: 3}))},
	}...))
}

func TestReasonsOfDevice(t *testing.T) {
	t.Parallel()
	w := nameless(t)
	w.IP("pc", "addr add 192.0.2.7/32 dev lo", "addr add 192.0.2.8/32 dev lo", "route add unreachable 192.0.2.1")
	w.Nft("pc", "table inet t {\nchain c {\ntype filter hook input priority 0\nip daddr 192.0.2.7 icmp type echo-request reject with icmp type admin-prohibited\nip daddr 192.0.2.8 drop\n}\n}")
	look := func(o check.Options, env check.Env) func(*testing.T) check.Result {
		return func(t *testing.T) check.Result {
			return runFor(t, deviceKind(), deviceOptions(o), env, long)
		}
	}
	prints := func(limit time.Duration, h http.HandlerFunc) func(*testing.T) check.Result {
		return func(t *testing.T) check.Result { return printerAt(t, h, limit, nil) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	oldTLS := func(t *testing.T) check.Result { // a printer that knows SSL 3 only says so by an alert: RFC 5246, section 7.2.2
		address := checktest.Serve(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte{21, 3, 0, 0, 2, 2, 70})
			_, _ = io.Copy(io.Discard, c)
		})
		return look(check.Options{"url": "ipps://" + address + "/ipp/print"}, check.Env{})(t)
	}
	plain := func(t *testing.T) check.Result {
		s := httptest.NewServer(saysIPP(0, idle))
		defer s.Close()
		return look(check.Options{"url": strings.Replace(s.URL, "http", "ipps", 1) + "/ipp/print"}, check.Env{})(t)
	}
	open, closed := port(t, listen(t)), port(t, refused(t))
	down := []check.Reason{
		check.DNSNXDomain, check.DNSServfail, check.DNSTimeout, check.ConnectRefused, check.ConnectTimeout, check.ConnectUnreachable, check.ConnectReset,
		check.TLSHandshake, check.TLSProtocol, check.Timeout, check.Protocol, check.HTTPStatus, check.Auth, check.TooLarge, check.Truncated,
	}
	play(t, deviceKind(), down, append(unresolved(w, "device", "host: %s"), []act{
		{"well", check.OK, planned(w, "pc", "device", "host: 127.0.0.1", 0)},
		{"refuses echo itself", check.OK, planned(w, "pc", "device", "host: 192.0.2.7", 0)},
		{"a printer", check.OK, prints(long, saysIPP(0, idle, accepting))},
		{"out of paper", check.LowResource, prints(long, saysIPP(0, stopped, because("media-empty-error")))},
		{"one port of two", check.Partial, look(check.Options{"ports": []int64{open, closed}}, check.Env{})},
		{"slow", check.Slow, look(check.Options{"ping": true, "slow": time.Nanosecond}, check.Env{})},
		{"no rights to ping", check.NoPermission, func(*testing.T) check.Result {
			return w.Check("pc", checktest.Run{Plan: "{id: inet.x, kind: device, every: 300s, timeout: 60s, confirm: 0, with: {host: 192.0.2.8}}", User: 65534, Limit: time.Second})[0]
		}},
		calledOff(deviceKind(), check.Options{"host": "127.0.0.1"}),
		{"another version of IP", check.Misconfigured, look(check.Options{"ports": []int64{open}}, check.Env{Source: netip.IPv6Loopback()})},
		{"no community", check.NotConfigured, look(check.Options{"snmp": snmpV1, "community": "x"}, check.Env{Secret: func(string) (string, error) { return "", fmt.Errorf("none") }})},
		{"closed", check.ConnectRefused, look(check.Options{"ports": []int64{closed}}, check.Env{})},
		{"a port is silent", check.ConnectTimeout, planned(w, "pc", "device", "host: 192.0.2.8, ping: false, ports: [80]", time.Second)},
		{"off", check.Timeout, planned(w, "pc", "device", "host: 192.0.2.8", time.Second)},
		{"no way", check.ConnectUnreachable, planned(w, "pc", "device", "host: 192.0.2.1", 0)},
		{"hangs up", check.ConnectReset, prints(long, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })},
		{"no TLS", check.TLSHandshake, plain},
		{"old TLS", check.TLSProtocol, oldTLS},
		{"no printer", check.Protocol, prints(long, status(200))},
		{"no such page", check.HTTPStatus, prints(long, status(404))},
		{"wants a password", check.Auth, prints(long, status(401))},
		{"without end", check.TooLarge, prints(long, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/ipp")
			for _, err := w.Write(make([]byte, 32<<10)); err == nil; {
				_, err = w.Write(make([]byte, 32<<10))
			}
		})},
		{"cut off", check.Truncated, prints(long, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/ipp")
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write(make([]byte, 50))
		})},
	}...))
}

func TestReasonsOfNeighbours(t *testing.T) {
	t.Parallel()
	w := checktest.NewWorld(t)
	for _, site := range []string{"pc", "alone", "lonely"} {
		w.Site(site, false)
	}
	w.Join("pc", []string{"10.0.0.2/24"}, "lonely", []string{"10.0.0.1/24"})
	w.IP("pc", "neigh add 10.0.0.7 lladdr 00:1b:a9:00:00:07 nud noarp dev lonely", "neigh add 10.0.0.8 nud failed dev lonely")
	look := func(site, with string) func(*testing.T) check.Result { return planned(w, site, "neighbours", with, 0) }
	speaks := func(site, with string) func(*testing.T) check.Result {
		return func(t *testing.T) check.Result {
			w.Sysctl(site, "ipv4/neigh/lonely/base_reachable_time_ms", "3600000")
			w.IP("lonely", "link set pc address 00:1b:a9:00:00:01")
			want(t, planned(w, site, "ping", "host: 10.0.0.1", 0)(t), check.OK)
			return look(site, with)(t)
		}
	}
	play(t, neighboursKind(), []check.Reason{check.Timeout}, []act{
		{"nobody was asked for", check.NotSupported, look("alone", "known: []")},
		{"nobody answers", check.Timeout, look("pc", "known: []")},
		{"no such interface", check.Misconfigured, look("pc", "known: [], interfaces: [wlan7]")},
		{"known", check.OK, speaks("pc", `known: ["00:1b:a9:00:00:01"]`)},
		{"new", check.ControlPartial, look("pc", "known: []")},
	})
}

func TestReasonsOfLine(t *testing.T) {
	t.Parallel()
	w := twoLines(t)
	w.IP("pc", "link add bare0 type veth peer name bare1", "link set bare0 up", "link set bare1 up", "link add off0 type veth peer name off1")
	ask := func(with, rules string) func(*testing.T) check.Result {
		return func(t *testing.T) check.Result {
			w.Nft("tslcd", rules)
			return planned(w, "pc", "line", `anchors: ["10.9.0.1:443", "10.9.0.1:81"], `+with, 1500*time.Millisecond)(t)
		}
	}
	full := func(*testing.T) check.Result {
		c := &lineCheck{days: 1, limit: 0.9, capacity: [2]float64{1e6, 1e6}, notes: check.Env{}.Kept(), counters: func(string) (traffic, error) { return traffic{}, nil },
			now: func() time.Time { return monday.Add(10 * time.Hour) }}
		c.used.days = []usedDay{{date: monday.AddDate(0, 0, -1), count: daySamples, p95: [2]float64{0, 0.95e6}}}
		r := check.Because(check.OK, "")
		c.measure("eth0", &r)
		return r
	}
	play(t, lineKind(), []check.Reason{check.ConnectUnreachable, check.Timeout}, []act{
		{"well", check.OK, ask("interface: tslcd, need: 1", "")},
		{"slow", check.Slow, func(t *testing.T) check.Result {
			return runFor(t, lineKind(), checktest.WithDefaults(t, lineKind(), check.Options{"anchors": []string{listen(t)}, "slow": time.Nanosecond}), checktest.WithEnv(check.Env{}), long)
		}},
		{"one of two anchors", check.Partial, ask("interface: tslcd, need: 2", "table inet t {\nchain c {\ntype filter hook forward priority 0\ntcp dport 81 drop\n}\n}")},
		{"full", check.LowResource, full},
		{"no such interface", check.Misconfigured, ask("interface: wlan7", "")},
		{"no anchor answers", check.Timeout, ask("interface: tslcd", drop("drop"))},
		{"no link", check.ConnectUnreachable, ask("interface: off0", "")},
		{"no address", check.ConnectUnreachable, ask("interface: bare0", "")},
	})
}
