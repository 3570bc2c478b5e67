package lookup

import (
	"context"
	"net"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
)

// serve starts a resolver by UDP that gives a response code, or records, by the names asked.
func serve(t *testing.T, answer func(name string) (rcode int, records []string)) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			var q, m mdns.Msg
			if q.Unpack(buf[:n]) != nil {
				continue
			}
			rcode, records := answer(q.Question[0].Name)
			m.SetRcode(&q, rcode)
			for _, text := range records {
				rr, err := mdns.NewRR(text)
				if err != nil {
					t.Error(err)
					continue
				}
				m.Answer = append(m.Answer, rr)
			}
			if b, err := m.Pack(); err == nil {
				c.WriteTo(b, from)
			}
		}
	}()
	return c.LocalAddr().String()
}

func TestCAA(t *testing.T) {
	server := serve(t, func(name string) (int, []string) {
		switch name {
		case "tuky.test.":
			return 0, []string{`tuky.test. 60 IN CAA 0 issue "ca.test"`, `tuky.test. 60 IN CAA 0 iodef "mailto:a@tuky.test"`}
		case "fails.test.":
			return mdns.RcodeServerFailure, nil
		case "empty.tuky.test.":
			return 0, nil
		}
		return mdns.RcodeNameError, nil
	})
	for _, tc := range []struct {
		name, at string
		records  int
		want     check.Reason
	}{
		{"tuky.test", "tuky.test.", 2, check.OK},
		{"WWW.a.tuky.test.", "tuky.test.", 2, check.OK},
		{"empty.tuky.test", "tuky.test.", 2, check.OK},
		{"other.test", ".", 0, check.DNSEmpty},
		{"www.fails.test", "fails.test.", 0, check.DNSServfail},
	} {
		s := Stub{Servers: []string{server}, Most: 20}
		records, at, o := s.CAA(t.Context(), tc.name)
		if len(records) != tc.records || at != tc.at || o.Reason != tc.want {
			t.Errorf("%s: %d records at %s, %s (%s); want %d at %s, %s", tc.name, len(records), at, o.Reason, o.Detail, tc.records, tc.at, tc.want)
		}
	}
	s := Stub{Servers: []string{server}, Most: 2}
	if _, _, o := s.CAA(t.Context(), "a.b.c.other.test"); o.Reason != check.Protocol || s.Asked() != 2 {
		t.Errorf("%s after %d questions", o.Reason, s.Asked())
	}
}

// TestStub asks the next resolver when the one before it fails, and leaves it time.
func TestStub(t *testing.T) {
	good := serve(t, func(name string) (int, []string) { return 0, []string{name + " 60 IN A 192.0.2.1"} })
	bad := serve(t, func(string) (int, []string) { return mdns.RcodeServerFailure, nil })
	mute, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	for _, tc := range []struct {
		name    string
		servers []string
		want    check.Reason
		asked   int
	}{
		{"good", []string{good, bad}, check.OK, 1},
		{"fails first", []string{bad, good}, check.OK, 2},
		{"silent first", []string{mute.LocalAddr().String(), good}, check.OK, 2},
		{"all fail", []string{bad, mute.LocalAddr().String()}, check.DNSServfail, 2},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		s := Stub{Servers: tc.servers, Most: 20}
		if o := s.Ask(ctx, "www.test", "A"); o.Reason != tc.want || s.Asked() != tc.asked {
			t.Errorf("%s: %s (%s) after %d questions, want %s after %d", tc.name, o.Reason, o.Detail, s.Asked(), tc.want, tc.asked)
		}
		cancel()
	}
	s := Stub{Servers: []string{good}, Most: 20}
	if o := s.Ask(t.Context(), "a b", "A"); o.Reason != check.DNSNXDomain || s.Asked() != 0 {
		t.Errorf("%s after %d questions", o.Reason, s.Asked())
	}
}
