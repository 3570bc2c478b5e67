package network

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"
	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// wantSaid compares the whole of what a result says: its state follows from the reason.
func wantSaid(t *testing.T, r check.Result, reason check.Reason, detail string) {
	t.Helper()
	if want(t, r, reason); r.State != reason.State() || !strings.Contains(r.Detail, detail) {
		t.Errorf("%s, detail %q, want %s, %q", r.State, r.Detail, reason.State(), detail)
	}
}

// A name whose addresses are all of another IP version than the line's own address cannot be reached over it, whatever it is
// that is asked; nothing is said of the target.
func TestNameOfAnotherIPVersion(t *testing.T) {
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	checktest.AnswerNames(t, u, func(m, q *mdns.Msg) bool {
		if q.Question[0].Qtype == mdns.TypeA {
			m.Answer = []mdns.RR{&mdns.A{Hdr: mdns.RR_Header{Name: q.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 60}, A: net.IPv4(127, 0, 0, 1)}}
		}
		return true
	})
	l := line{source: netip.IPv6Loopback(), resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", u.LocalAddr().String())
	}}}
	addrs, bad := l.lookup(t.Context(), "may-in.test")
	if bad == nil || addrs != nil {
		t.Fatalf("%v, %v", addrs, bad)
	}
	wantSaid(t, *bad, check.Misconfigured, "may-in.test has no address of the IP version of ::1")
	l.source = netip.Addr{}
	if addrs, bad = l.lookup(t.Context(), "may-in.test"); bad != nil || len(addrs) != 1 {
		t.Errorf("without an address of its own: %v, %v", addrs, bad)
	}
}

// Where the system lets nobody send probes the way is unknown.
func TestPathWithoutRights(t *testing.T) {
	for _, tc := range []struct {
		err    error
		want   check.Reason
		detail string
	}{
		{errNoEcho, check.NoPermission, errNoEcho.Error()},
		{errNoTrace, check.NotSupported, errNoTrace.Error()},
		{context.DeadlineExceeded, check.ConnectTimeout, ""},
	} {
		p := &path{line: line{}, host: "127.0.0.1", protocol: modeAuto, hops: 3, wait: time.Second, pace: newPacer(time.Millisecond),
			open: func(proberOptions, chan<- answer) (prober, error) { return nil, tc.err }}
		r := p.check(t.Context())
		wantSaid(t, r, tc.want, tc.detail)
		if _, told := r.Facts.Get("hops_count"); told {
			t.Errorf("%v: hops are told of", tc.err)
		}
		wantFact(t, r, "ip_version_code", 4)
	}
}

// What cannot be asked at all is the plan's fault, not the server's.
func TestAddressesThatNobodyCanAsk(t *testing.T) {
	s := (&timekeeper{now: time.Now}).query(t.Context(), "no-port.test")
	if s.fault == nil || s.server != "no-port.test" {
		t.Fatalf("%+v", s)
	}
	wantSaid(t, *s.fault, check.Misconfigured, "no-port.test: ")
	if _, bad := (&ippPrinter{url: "http://[::1"}).post(t.Context(), nil); bad == nil {
		t.Error("a request to nowhere was sent")
	} else {
		wantSaid(t, *bad, check.Misconfigured, "")
	}
}

// How an exchange by SNMP can fail: a run that is called off says nothing of the device.
func TestSNMPFailures(t *testing.T) {
	off, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		ctx    context.Context
		err    error
		want   check.Reason
		detail string
	}{
		{off, gosnmp.ErrMaxRetriesExceeded, check.Internal, ""},
		{t.Context(), gosnmp.ErrMaxRetriesExceeded, check.Timeout, "another community"},
		{t.Context(), errors.New("recover: index out of range"), check.Protocol, "cannot be read"},
		{t.Context(), context.DeadlineExceeded, check.Timeout, "SNMP: "},
	} {
		wantSaid(t, new(snmpAgent).failed(tc.ctx, tc.err), tc.want, tc.detail)
	}
}

// A file of which only the head comes, and data of which next to nothing goes, leave nothing to tell of the line.
func TestThroughputOfNothing(t *testing.T) {
	head := "http://" + checktest.Serve(t, func(c net.Conn) {
		if _, err := io.ReadAtLeast(c, make([]byte, 4096), 16); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}
	}) + "/"
	r := checktest.NewFunc(t, throughputKind(), check.Options{"url": head, "enabled": true, "max_time": time.Second}, check.Env{})(t.Context())
	wantSaid(t, r, check.Timeout, "nothing of the file came in time")
	wantFact(t, r, "received_bytes", 0)

	s := shipment{status: 204, bytes: leastMeasured - 1, took: time.Second}
	if f := s.refusal(); f == nil || f.Reason != check.Timeout || !strings.Contains(f.Detail, "of which nothing can be told") {
		t.Errorf("%v", f)
	}
	s.bytes++
	if f := s.refusal(); f != nil {
		t.Errorf("%v", f)
	}
	off, cancel := context.WithCancel(t.Context())
	cancel()
	if f := s.judge(off, 1e12); f == nil || f.Reason != check.Internal {
		t.Errorf("a run that was called off: %v", f)
	}
}

// A name in letters of Vietnamese is asked for as DNS carries it: Go's resolver would say, unasked, that there is none.
func TestNameInOtherLetters(t *testing.T) {
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	checktest.AnswerNames(t, u, func(m, q *mdns.Msg) bool {
		if q.Question[0].Name == "xn--x-yfa.test." && q.Question[0].Qtype == mdns.TypeA {
			m.Answer = []mdns.RR{&mdns.A{Hdr: mdns.RR_Header{Name: q.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 60}, A: net.IPv4(127, 0, 0, 1)}}
		}
		return true
	})
	l := line{resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", u.LocalAddr().String())
	}}}
	if addrs, bad := l.lookup(t.Context(), "xã.test"); bad != nil || len(addrs) != 1 {
		t.Errorf("%v, %+v", addrs, bad)
	}
	for host, detail := range map[string]string{"-ạ_": "no host name", "fe80::1": "fe80::1%eth0"} {
		if _, bad := l.lookup(t.Context(), host); bad == nil {
			t.Errorf("%s has an address", host)
		} else {
			wantSaid(t, *bad, check.Misconfigured, detail)
		}
	}
	if addrs, bad := l.lookup(t.Context(), "fe80::1%lo"); bad != nil || len(addrs) != 1 {
		t.Errorf("%v, %+v", addrs, bad)
	}
}
