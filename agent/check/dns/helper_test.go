package dns

import (
	"context"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// declared fails the test when a result carries what the kind does not declare, or a state that is not its reason's.
func declared(t *testing.T, r check.Result) {
	t.Helper()
	k := dnsKind()
	checktest.Said(t, k, r)
	if !r.Reason.Valid() || r.State != r.Reason.State() {
		t.Errorf("reason %q with state %s", r.Reason, r.State)
	}
	seen := map[string]bool{}
	for _, f := range r.Facts {
		d, ok := k.Fact(f.Name)
		if !ok || seen[f.Name] {
			t.Errorf("fact %s is not declared, or twice", f.Name)
		} else if f.Value < d.Min || f.Value > d.Max {
			t.Errorf("fact %s = %v, declared %v to %v", f.Name, f.Value, d.Min, d.Max)
		}
		seen[f.Name] = true
	}
	for _, p := range r.Phases {
		if !slices.Contains(k.Phases, p.Name) {
			t.Errorf("phase %s is not declared", p.Name)
		}
	}
}

// run asks for motcua.test A with these options over the kind's defaults.
func run(t *testing.T, o check.Options, env check.Env, limit time.Duration) check.Result {
	t.Helper()
	f, err := dnsKind().New(options(o), env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r := f(ctx)
	declared(t, r)
	return r
}

func options(change check.Options) check.Options {
	o := check.Options{"name": "motcua.test", "type": "A", "match": matchAll, "protocol": "udp", "recursion": true, "tries": int64(2)}
	maps.Copy(o, change)
	return o
}

func want(t *testing.T, r check.Result, reason check.Reason) {
	t.Helper()
	if r.Reason != reason {
		t.Errorf("reason %s (%s), want %s", r.Reason, r.Detail, reason)
	}
}

func wantFact(t *testing.T, r check.Result, name string, value float64) {
	t.Helper()
	if got, ok := r.Facts.Get(name); !ok || got != value {
		t.Errorf("fact %s = %v, %v; want %v", name, got, ok, value)
	}
}

// A peer is a name server on loopback, by UDP and TCP on one port, that answers as a test says.
type peer struct {
	address string
	udp     net.PacketConn
}

// serve starts a peer whose answers miekg/dns packs. A nil answer is silence.
func serve(t *testing.T, answer func(q *mdns.Msg, tcp bool) *mdns.Msg) string {
	t.Helper()
	p := serveRaw(t, func(_ *peer, q []byte, tcp bool) [][]byte {
		var m mdns.Msg
		if err := m.Unpack(q); err != nil {
			t.Errorf("the question cannot be read: %v", err)
			return nil
		}
		a := answer(&m, tcp)
		if a == nil {
			return nil
		}
		b, err := a.Pack()
		if err != nil {
			t.Errorf("the answer cannot be packed: %v", err)
		}
		return [][]byte{b}
	})
	return p.address
}

// bothPorts listens by TCP and UDP at one port.
func bothPorts(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		if u, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			t.Cleanup(func() { u.Close() })
			return l, u
		}
	}
	t.Fatal("no port is free for both TCP and UDP")
	return nil, nil
}

// serveRaw starts a peer that answers each question with messages as they are.
func serveRaw(t *testing.T, answer func(p *peer, q []byte, tcp bool) [][]byte) *peer {
	t.Helper()
	l, u := bothPorts(t)
	p := &peer{l.Addr().String(), u}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, b := range answer(p, slices.Clone(buf[:n]), false) {
				u.WriteTo(b, from)
			}
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.talk(c, answer)
		}
	}()
	return p
}

// talk answers one question by TCP and waits until the other side has hung up.
func (p *peer) talk(c net.Conn, answer func(*peer, []byte, bool) [][]byte) {
	defer c.Close()
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return
	}
	q := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, q); err != nil {
		return
	}
	answers := answer(p, q, true)
	if answers == nil {
		return
	}
	for _, b := range answers {
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	}
	io.Copy(io.Discard, c)
}

// reply makes an answer with records in zone-file form.
func reply(t testing.TB, q *mdns.Msg, rcode int, records ...string) *mdns.Msg {
	m := new(mdns.Msg)
	m.SetRcode(q, rcode)
	for _, s := range records {
		rr, err := mdns.NewRR(s)
		if err != nil {
			t.Error(err)
			return m
		}
		m.Answer = append(m.Answer, rr)
	}
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(1232, opt.Do())
	}
	return m
}

// zone starts a peer that gives every question the same answer.
func zone(t *testing.T, rcode int, records ...string) string {
	t.Helper()
	return serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg { return reply(t, q, rcode, records...) })
}

// silent returns the address of a socket that reads nothing.
func silent(t *testing.T) string {
	t.Helper()
	return serve(t, func(*mdns.Msg, bool) *mdns.Msg { return nil })
}

// refused returns an address at which nothing listens, for UDP and TCP.
func refused(t *testing.T) string { return checktest.ClosedPort(t) }
