//go:build linux

package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/deploy/lab/servers"
)

// port is the port of host:port.
func port(t *testing.T, address string) int64 {
	t.Helper()
	p, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return int64(p.Port())
}

// deviceOptions are what the plan says of a device on this machine that is not pinged.
func deviceOptions(more check.Options) check.Options {
	o := check.Options{"host": "127.0.0.1", "ping": false}
	maps.Copy(o, more)
	return withDefaults(deviceKind(), o)
}

func TestDevicePortsAndEcho(t *testing.T) {
	open, closed, quiet := port(t, listen(t)), port(t, refused(t)), port(t, silent(t))
	for _, tc := range []struct {
		name   string
		o      check.Options
		limit  time.Duration
		want   check.Reason
		detail string
	}{
		{"a port is open", check.Options{"ports": []int64{open}}, 20 * time.Second, check.OK, ""},
		{"none is", check.Options{"ports": []int64{closed}}, 20 * time.Second, check.ConnectRefused, "port "},
		{"it does not answer", check.Options{"ports": []int64{quiet}}, 300 * time.Millisecond, check.ConnectTimeout, "port "},
		{"one of two", check.Options{"ports": []int64{open, closed}}, 20 * time.Second, check.Partial, "1 of 2 do not work"},
		{"an old PC in time", check.Options{"ports": []int64{open}, "os": "Windows 7", "os_end": "2099-01-14"}, 20 * time.Second, check.OK, ""},
		{"an old PC", check.Options{"ports": []int64{open}, "os": "Windows 7", "os_end": "2020-01-14"}, 20 * time.Second, check.OK, "Windows 7 has had no support since 2020-01-15"},
		{"an old PC that is off", check.Options{"ports": []int64{closed}, "os": "Windows 7", "os_end": "2020-01-14"}, 20 * time.Second, check.ConnectRefused, "no support"},
		{"no such name", check.Options{"host": "name.invalid.", "ports": []int64{open}}, time.Nanosecond, check.DNSTimeout, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := runFor(t, deviceKind(), deviceOptions(tc.o), check.Env{}, tc.limit)
			want(t, r, tc.want)
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q lacks %q", r.Detail, tc.detail)
			}
			if tc.o.Has("os_end") {
				wantFact(t, r, "os_ended_code", one(strings.Contains(tc.detail, "support")))
			}
		})
	}
	r := run(t, deviceKind(), deviceOptions(check.Options{"ports": []int64{open, closed}}), check.Env{})
	wantFact(t, r, "ports_count", 2)
	wantFact(t, r, "ports_open_count", 1)
	// The last day of support is one with support.
	day := func(s string) func() time.Time {
		return func() time.Time { at, _ := time.Parse(time.RFC3339, s); return at }
	}
	o := deviceOptions(check.Options{"ports": []int64{open}, "os": "Windows 7", "os_end": "2020-01-14"})
	wantFact(t, run(t, deviceKind(), o, check.Env{Now: day("2020-01-14T23:59:59Z")}), "os_ended_code", 0)
	wantFact(t, run(t, deviceKind(), o, check.Env{Now: day("2020-01-15T00:00:00Z")}), "os_ended_code", 1)
}

// What an echo says, beside what services say.
func TestDeviceEcho(t *testing.T) {
	answered := func(run echoRun, _ context.Context) (echoes, error) {
		return echoes{mode: modeDatagram, sent: run.count, rtts: []time.Duration{3 * time.Millisecond}}, nil
	}
	nothing := func(run echoRun, _ context.Context) (echoes, error) { return echoes{sent: run.count}, nil }
	forbidden := func(echoRun, context.Context) (echoes, error) { return echoes{}, errNoEcho }
	broken := func(echoRun, context.Context) (echoes, error) { return echoes{}, errors.New("network is down") }
	open, closed := port(t, listen(t)), port(t, refused(t))
	for _, tc := range []struct {
		name string
		echo func(echoRun, context.Context) (echoes, error)
		o    check.Options
		want check.Reason
	}{
		{"one of three is enough", answered, nil, check.OK},
		{"slow", answered, check.Options{"slow": time.Millisecond}, check.Slow},
		{"slow, and a port is open", answered, check.Options{"slow": time.Millisecond, "ports": []int64{open}}, check.Slow},
		{"silent", nothing, nil, check.Timeout},
		{"silent, but a port is open", nothing, check.Options{"ports": []int64{open}}, check.OK},
		{"silent, and no port is open", nothing, check.Options{"ports": []int64{closed}}, check.ConnectRefused},
		{"answers, but no port is open", answered, check.Options{"ports": []int64{closed}}, check.ConnectRefused},
		{"not allowed, and no port answers", forbidden, check.Options{"host": "192.0.2.1"}, check.NoPermission},
		{"not allowed, but a port is open", forbidden, check.Options{"ports": []int64{open}}, check.OK},
		{"not allowed, but TCP answers", forbidden, nil, check.OK},
		{"cannot be sent", broken, nil, check.ConnectUnreachable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := deviceOptions(tc.o)
			o["ping"] = true
			d := &device{line: line{family: anyFamily}, host: o.String("host"), slow: o.Duration("slow"), echo: tc.echo, now: time.Now, run: echoRun{count: 3}}
			for _, p := range o.Ints("ports") {
				d.ports = append(d.ports, uint16(p))
			}
			limit := 20 * time.Second
			if d.host != "127.0.0.1" {
				limit = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if d.host == "192.0.2.1" {
				inNetwork(t, []string{"route add unreachable 192.0.2.1"}, func() { want(t, d.ping(ctx, netip.MustParseAddr(d.host)), tc.want) })
				return
			}
			r := d.check(ctx)
			declared(t, deviceKind(), r)
			want(t, r, tc.want)
		})
	}
	// The real one, to this machine.
	o := deviceOptions(check.Options{"ping": true})
	r := run(t, deviceKind(), o, check.Env{})
	want(t, r, check.OK)
	wantFact(t, r, "ip_version_code", 4)
}

// printerAt runs the kind against a printer that says what serve says.
func printerAt(t *testing.T, serve http.HandlerFunc, limit time.Duration, more check.Options) check.Result {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // else the server does not see that the client has gone
		r.Body = io.NopCloser(bytes.NewReader(body))
		serve(w, r)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	o := check.Options{"url": s.URL + "/ipp/print"}
	maps.Copy(o, more)
	return runFor(t, deviceKind(), deviceOptions(o), check.Env{}, limit)
}

// ippAnswer writes an answer to a request: attributes as tag, name, value; a name of "" goes on with the attribute before.
func ippAnswer(status uint16, request []byte, attributes ...[3]string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{2, 0}, status)
	b = append(append(b, request[4:8]...), ippOperationGroup)
	put := func(tag byte, name, value string) {
		b = append(binary.BigEndian.AppendUint16(append(b, tag), uint16(len(name))), name...)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
	}
	put(ippCharset, "attributes-charset", "utf-8")
	b = append(b, ippPrinterGroup)
	for _, a := range attributes {
		put(a[0][0], a[1], a[2])
	}
	return append(b, ippEnd)
}

// says answers every request with these attributes.
func saysIPP(status uint16, attributes ...[3]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		request, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/ipp")
		w.Write(ippAnswer(status, request, attributes...))
	}
}

var (
	idle       = [3]string{"\x23", "printer-state", "\x00\x00\x00\x03"}
	printing   = [3]string{"\x23", "printer-state", "\x00\x00\x00\x04"}
	stopped    = [3]string{"\x23", "printer-state", "\x00\x00\x00\x05"}
	accepting  = [3]string{"\x22", "printer-is-accepting-jobs", "\x01"}
	refusing   = [3]string{"\x22", "printer-is-accepting-jobs", "\x00"}
	twelveJobs = [3]string{"\x21", "queued-job-count", "\x00\x00\x00\x0c"}
)

func because(word string) [3]string { return [3]string{"\x44", "printer-state-reasons", word} }

func TestDevicePrinterStates(t *testing.T) {
	for _, tc := range []struct {
		name   string
		says   http.HandlerFunc
		o      check.Options
		want   check.Reason
		detail string
	}{
		{"idle", saysIPP(0, idle, accepting, because("none")), nil, check.OK, ""},
		{"prints", saysIPP(0, printing, accepting, twelveJobs), nil, check.OK, ""},
		{"successful, with attributes left out", saysIPP(1, idle), nil, check.OK, ""},
		{"paper out", saysIPP(0, stopped, because("media-empty-error")), nil, check.LowResource, "media-empty"},
		{"paper out, without a grade", saysIPP(0, idle, because("media-needed")), nil, check.LowResource, "media-needed"},
		{"paper out, stopped, and only warned of", saysIPP(0, stopped, because("media-empty-warning")), nil, check.LowResource, "media-empty"},
		{"toner is low", saysIPP(0, idle, because("toner-low-warning")), nil, check.OK, ""},
		{"toner is low, which counts", saysIPP(0, idle, because("toner-low-warning")), check.Options{"warnings": true}, check.LowResource, "toner-low"},
		{"only reported", saysIPP(0, idle, because("toner-low-report")), check.Options{"warnings": true}, check.OK, ""},
		{"a jam", saysIPP(0, stopped, because("media-jam-error"), [3]string{"\x44", "", "door-open"}), nil, check.Partial, "has stopped: media-jam, door-open"},
		{"the toner is missing", saysIPP(0, stopped, because("toner-missing-error")), nil, check.Partial, "has stopped"},
		{"stopped for no reason", saysIPP(0, stopped), nil, check.Partial, "has stopped"},
		{"takes no jobs", saysIPP(0, idle, refusing), nil, check.Partial, "takes no jobs"},
		{"wants attention", saysIPP(0, idle, because("cover-open-error")), nil, check.Partial, "wants attention: cover-open"},
		{"a reason that is no keyword", saysIPP(0, stopped, because("media-empty\x1b[31m")), nil, check.Partial, "has stopped"},
		{"refuses to tell", saysIPP(0x0403), nil, check.Auth, "0x0403"},
		{"version not supported", saysIPP(0x0503), nil, check.Protocol, "0x0503"},
		{"does not tell its state", saysIPP(0, accepting), nil, check.Protocol, "does not tell"},
		{"a state that there is not", saysIPP(0, [3]string{"\x23", "printer-state", "\x7f\xff\xff\xff"}), nil, check.Protocol, "does not tell"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := printerAt(t, tc.says, 20*time.Second, tc.o)
			want(t, r, tc.want)
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q lacks %q", r.Detail, tc.detail)
			}
		})
	}
	r := printerAt(t, saysIPP(0, printing, refusing, twelveJobs, because("moving-to-paused-warning")), 20*time.Second, nil)
	wantFact(t, r, "printer_state_code", 4)
	wantFact(t, r, "printer_accepting_code", 0)
	wantFact(t, r, "printer_jobs_count", 12)
	wantFact(t, r, "printer_reasons_count", 1)
}

func TestDevicePrintersThatMisbehave(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/ipp")
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}
	drip := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/ipp")
		for r.Context().Err() == nil {
			w.Write([]byte{1})
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(time.Second):
			}
		}
	}
	for _, tc := range []struct {
		name  string
		says  http.HandlerFunc
		limit time.Duration
		want  check.Reason
	}{
		{"never answers", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 300 * time.Millisecond, check.Timeout},
		{"a byte a second", drip, 300 * time.Millisecond, check.Timeout},
		{"an answer without end", endless, 20 * time.Second, check.TooLarge},
		{"no printer", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, 20 * time.Second, check.Protocol},
		{"not found", http.NotFound, 20 * time.Second, check.HTTPStatus},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}, 20 * time.Second, check.HTTPStatus},
		{"wants a password", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, 20 * time.Second, check.Auth},
		{"an answer to another request", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/ipp")
			w.Write(ippAnswer(0, make([]byte, 8), idle))
		}, 20 * time.Second, check.Protocol},
		{"cut off", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/ipp")
			w.Header().Set("Content-Length", "100")
			w.Write(make([]byte, 50))
		}, 20 * time.Second, check.Truncated},
		{"empty", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "application/ipp") }, 20 * time.Second, check.Protocol},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 20 * time.Second, check.ConnectReset},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want(t, printerAt(t, tc.says, tc.limit, nil), tc.want)
		})
	}
	o := deviceOptions(check.Options{"url": "ipps://" + listen(t) + "/ipp/print"}) // accepts and closes: no TLS
	want(t, run(t, deviceKind(), o, check.Env{}), check.ConnectReset)
	o = deviceOptions(check.Options{"url": "ipp://" + refused(t) + "/ipp/print"})
	want(t, run(t, deviceKind(), o, check.Env{}), check.ConnectRefused)
	s := httptest.NewTLSServer(saysIPP(0, idle))
	defer s.Close()
	o = deviceOptions(check.Options{"url": strings.Replace(s.URL, "https", "ipps", 1)})
	want(t, run(t, deviceKind(), o, check.Env{}), check.OK)
	if addr, err := ippURL("ipp://may-in.test/ipp/print"); err != nil || addr != "http://may-in.test:631/ipp/print" {
		t.Errorf("%s, %v", addr, err)
	}
}

// The lab's printer, and Net-SNMP's agent beside it as one device.
func TestDevicePeers(t *testing.T) {
	if err := servers.Require("snmpd"); err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("/tmp", "egovmon-device-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := servers.Loopback(dir, netip.MustParseAddr("127.0.0.1"), nil)
	printer, err := servers.StartPrinter(t.Context(), p, servers.PrinterConfig{Name: "may-in-mot-cua"})
	if err != nil {
		t.Fatal(err)
	}
	defer printer.Stop()
	agent, err := servers.StartSNMP(t.Context(), p, servers.SNMPConfig{Community: "quay"})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Stop()
	u, err := url.Parse(printer.URL())
	if err != nil {
		t.Fatal(err)
	}
	o := check.Options{"url": "ipp://" + u.Host + u.Path, "ports": []int64{port(t, printer.Addr())}, "snmp": snmpV2c, "snmp_port": port(t, agent.Addr()), "community": "quay"}
	env := check.Env{Secret: func(string) (string, error) { return "quay", nil }}
	f, err := newDevice(deviceOptions(o), env)
	if err != nil {
		t.Fatal(err)
	}
	look := func(f check.Func, limit time.Duration, reason check.Reason, detail string) check.Result {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		r := f(ctx)
		declared(t, deviceKind(), r)
		want(t, r, reason)
		if !strings.Contains(r.Detail, detail) {
			t.Errorf("detail %q lacks %q", r.Detail, detail)
		}
		return r
	}
	r := look(f, 30*time.Second, check.OK, "")
	wantFact(t, r, "restarted_code", 0)
	if up, ok := r.Facts.Get("uptime_s"); !ok || up > 3600 {
		t.Errorf("uptime %v", up)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(printer.OutOfPaper(true))
	look(f, 30*time.Second, check.LowResource, "media-empty")
	must(printer.OutOfPaper(false))
	must(printer.Off(true))
	look(f, 30*time.Second, check.ConnectRefused, "port ")
	must(printer.Off(false))
	must(agent.Halt(true))
	look(f, 30*time.Second, check.Partial, "1 of 3 do not work: SNMP")
	must(agent.Halt(false))
	look(f, 30*time.Second, check.OK, "")

	o["snmp"] = snmpV1
	v1, err := newDevice(deviceOptions(o), env)
	must(err)
	look(v1, 30*time.Second, check.OK, "")
	alone := check.Options{"snmp": snmpV2c, "snmp_port": port(t, agent.Addr())}
	public, err := newDevice(deviceOptions(alone), check.Env{}) // another community than the device's: it stays silent
	must(err)
	look(public, time.Second, check.Timeout, "SNMP")
	alone["community"] = "quay"
	missing, err := newDevice(deviceOptions(alone), check.Env{Secret: func(string) (string, error) { return "", errors.New("no such secret") }})
	must(err)
	look(missing, time.Second, check.NotConfigured, "community")
	o["community"] = "quay"
	missing, err = newDevice(deviceOptions(o), check.Env{Secret: func(string) (string, error) { return "", errors.New("no such secret") }})
	must(err)
	look(missing, 30*time.Second, check.OK, "no such secret")
	must(agent.Hang(true))
	only, err := newDevice(deviceOptions(alone), env)
	must(err)
	look(only, time.Second, check.Timeout, "SNMP")
	must(agent.Hang(false))
	look(only, 30*time.Second, check.OK, "")
	must(agent.Halt(true))
	look(only, 30*time.Second, check.ConnectRefused, "SNMP")
}

// snmpAnswer writes an answer in version 2c to a request, with one variable.
func snmpAnswer(request []byte, change func(pdu []byte) []byte, oid, value []byte) []byte {
	wrap := func(tag byte, parts ...[]byte) []byte {
		b := slices.Concat(parts...)
		return append([]byte{tag, byte(len(b))}, b...)
	}
	// The number of the request: the first integer behind the community.
	at := 7 + int(request[6])
	id := request[at+2 : at+4+int(request[at+3])]
	pdu := slices.Concat(id, []byte{2, 1, 0, 2, 1, 0}, wrap(0x30, wrap(0x30, wrap(6, oid), value)))
	if change != nil {
		pdu = change(pdu)
	}
	return wrap(0x30, []byte{2, 1, 1}, wrap(4, []byte("public")), wrap(0xa2, pdu))
}

func TestDevicesThatMisanswerSNMP(t *testing.T) {
	oid := []byte{0x2b, 6, 1, 2, 1, 1, 3, 0}
	ticks := []byte{0x43, 4, 0, 1, 0x86, 0xa0} // 1000 s
	for _, tc := range []struct {
		name  string
		says  func(request []byte) []byte
		limit time.Duration
		want  check.Reason
	}{
		{"right", func(q []byte) []byte { return snmpAnswer(q, nil, oid, ticks) }, 20 * time.Second, check.OK},
		{"another variable", func(q []byte) []byte { return snmpAnswer(q, nil, []byte{0x2b, 6, 1, 2, 1, 1, 5, 0}, ticks) }, 20 * time.Second, check.Protocol},
		{"another type", func(q []byte) []byte { return snmpAnswer(q, nil, oid, []byte{2, 1, 5}) }, 20 * time.Second, check.Protocol},
		{"no such object", func(q []byte) []byte { return snmpAnswer(q, nil, oid, []byte{0x80, 0}) }, 20 * time.Second, check.Protocol},
		{"an error", func(q []byte) []byte {
			return snmpAnswer(q, func(b []byte) []byte { b[2+int(b[1])+2] = 5; return b }, oid, ticks)
		}, 20 * time.Second, check.Protocol},
		{"to no request", func(q []byte) []byte {
			return snmpAnswer(q, func(b []byte) []byte { return append([]byte{2, 1, 0}, b[2+int(b[1]):]...) }, oid, ticks)
		}, 20 * time.Second, check.Protocol},
		{"to another request", func(q []byte) []byte {
			return snmpAnswer(q, func(b []byte) []byte { return append([]byte{2, 1, 77}, b[2+int(b[1]):]...) }, oid, ticks)
		}, time.Second, check.Timeout},
		{"no SNMP", func([]byte) []byte { return []byte("HTTP/1.1 200 OK\r\n\r\n") }, 20 * time.Second, check.Protocol},
		{"lengths that lie", func([]byte) []byte { return []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 2, 1, 1} }, 20 * time.Second, check.Protocol},
		{"a large one", func([]byte) []byte { return make([]byte, 60000) }, 20 * time.Second, check.Protocol},
		{"nothing", func([]byte) []byte { return nil }, time.Second, check.Timeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() {
				buf := make([]byte, 2000)
				for {
					n, from, err := c.ReadFrom(buf)
					if err != nil {
						return
					}
					if answer := tc.says(slices.Clone(buf[:n])); answer != nil {
						c.WriteTo(answer, from)
					}
				}
			}()
			o := deviceOptions(check.Options{"snmp": snmpV2c, "snmp_port": port(t, c.LocalAddr().String())})
			r := runFor(t, deviceKind(), o, check.Env{}, tc.limit)
			want(t, r, tc.want)
			if tc.want == check.OK {
				wantFact(t, r, "uptime_s", 1000)
			}
		})
	}
}

// A device that restarts, one whose counter begins again after 497 days, and clocks that differ a little.
func TestStarts(t *testing.T) {
	begin := time.Now()
	for _, tc := range []struct {
		name   string
		before time.Duration // uptime at the first look
		after  time.Duration // between the looks
		up     time.Duration // at the second
		want   bool
	}{
		{"goes on", time.Hour, time.Minute, time.Hour + time.Minute, false},
		{"started anew", time.Hour, time.Minute, 20 * time.Second, true},
		{"started anew while nobody looked, and runs for longer", time.Minute, time.Hour, 50 * time.Minute, true},
		{"started at the first look", 0, time.Minute, time.Minute, false},
		{"its clock is slow", time.Hour, 10 * time.Hour, 11*time.Hour - 5*time.Minute, false},
		{"its clock is fast", time.Hour, 10 * time.Hour, 11*time.Hour + 5*time.Minute, false},
		{"the counter is full", ticksEnd - time.Minute, 5 * time.Minute, 4 * time.Minute, false},
		{"started anew after a year", 366 * 24 * time.Hour, 5 * time.Minute, 4 * time.Minute, true},
	} {
		var s starts
		if s.anew(tc.before, begin) {
			t.Errorf("%s: at the first look", tc.name)
		}
		if got := s.anew(tc.up, begin.Add(tc.after)); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
		if s.anew(tc.up+time.Minute, begin.Add(tc.after+time.Minute)) {
			t.Errorf("%s: still at the third look", tc.name)
		}
	}
}

func TestDeviceOptionsThatCannotHold(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    check.Options
		env  check.Env
		want string
	}{
		{"nothing to look at", check.Options{}, check.Env{}, `"ping"`},
		{"a port that there is not", check.Options{"ports": []int64{70000}}, check.Env{}, `"ports"`},
		{"too many ports", check.Options{"ports": slices.Repeat([]int64{80}, 17)}, check.Env{}, `"ports"`},
		{"a scheme that no printer has", check.Options{"url": "ftp://a.test/"}, check.Env{}, `"url"`},
		{"a community without SNMP", check.Options{"ping": true, "community": "x"}, check.Env{}, `"community"`},
		{"a community without secrets", check.Options{"snmp": snmpV1, "community": "x"}, check.Env{}, `"community"`},
		{"the end of what", check.Options{"ping": true, "os_end": "2020-01-14"}, check.Env{}, `"os_end"`},
		{"no day", check.Options{"ping": true, "os": "Windows 7", "os_end": "14/01/2020"}, check.Env{}, `"os_end"`},
		{"of the other family", check.Options{"ping": true, "family": ip6}, check.Env{}, `"host"`},
		{"longer than the timeout", check.Options{"ping": true, "count": int64(20)}, check.Env{Timeout: 5 * time.Second}, `"count"`},
	} {
		if _, err := newDevice(deviceOptions(tc.o), tc.env); err == nil || !strings.Contains(err.Error(), "option "+tc.want) {
			t.Errorf("%s: %v, want an error that names the option %s", tc.name, err, tc.want)
		}
	}
	if got := deviceKind().Target(check.Options{"host": "10.1.1.1", "url": "ipp://may-in.test/ipp/print"}); !slices.Equal(got, []string{"10.1.1.1", "may-in.test"}) {
		t.Errorf("targets %v", got)
	}
	f, err := newDevice(deviceOptions(check.Options{"ports": []int64{port(t, silent(t))}}), check.Env{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want(t, f(ctx), check.Internal)
}

func FuzzPrinter(f *testing.F) {
	request := ippRequest(7, "ipp://may-in.test/ipp/print")
	f.Add(ippAnswer(0, request, stopped, because("media-empty-error"), [3]string{"\x44", "", "door-open"}, accepting, twelveJobs))
	f.Add(ippAnswer(0x0503, request))
	f.Add(ippAnswer(0, request, slices.Repeat([][3]string{because("door-open"), idle}, 2*maxReasons)...))
	f.Add([]byte{1, 1, 0, 0, 0, 0, 0, 7, 4, 0x44, 0xff, 0xff, 3})
	f.Add(request)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parsePrinter(b)
		if err != nil {
			return
		}
		if len(s.reasons) > maxReasons || s.jobs < -1 {
			t.Errorf("%d reasons, %d jobs", len(s.reasons), s.jobs)
		}
		declared(t, deviceKind(), s.judge(true))
	})
}

func FuzzIPPURL(f *testing.F) {
	for _, s := range []string{"ipp://may-in.test/ipp/print", "ipps://[::1]:631/", "http://a", "ipp://a:b/c", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ippURL(s); err == nil && !strings.HasPrefix(strings.ToLower(got), "http") {
			t.Errorf("%s becomes %s", strconv.Quote(s), strconv.Quote(got))
		}
	})
}
