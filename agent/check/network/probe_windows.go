package network

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Values of the status of a reply, besides those of an echo, from ipexport.h.
const (
	ipPacketTooBig      = 11009
	ipTTLExpiredTransit = 11013
	ipProtUnreachable   = 11004
	ipFlagDF            = 2  // IP_FLAG_DF: do not cut to pieces
	addr6At             = 6  // the address in IPV6_ADDRESS_EX: after port and flow, packed
	icmpReplyRoom       = 64 // for what the system writes behind a reply
)

// An echoProber sends echo requests by iphlpapi, which hands out what came back for each, and needs no rights. Each
// request waits on a goroutine of its own.
type echoProber struct {
	o       proberOptions
	answers chan<- answer
	api     icmpAPI
	handle  uintptr
	wg      sync.WaitGroup
}

// openProber opens what sends the probes of a protocol: this system shows hops for echo requests alone.
func openProber(o proberOptions, answers chan<- answer) (prober, error) {
	if o.protocol != byICMPProbe {
		return nil, errNoTrace
	}
	e := &echoProber{o: o, answers: answers, api: loadICMP()}
	create := e.api.create4
	if o.to.Is6() {
		create = e.api.create6
	}
	h, _, err := create.Call()
	if windows.Handle(h) == windows.InvalidHandle {
		return nil, fmt.Errorf("%w (IcmpCreateFile: %w)", errNoEcho, err)
	}
	e.handle = h
	return e, nil
}

func (e *echoProber) cost() int { return 1 }

func (e *echoProber) send(n int, p probe) error {
	head := 28
	if e.o.to.Is6() {
		head = 48
	}
	payload := newPayload(p.size - head)
	e.wg.Go(func() {
		status, from := e.api.probe(e.handle, e.o, p.ttl, payload)
		a := answer{n: n, from: from, at: time.Now()}
		switch {
		case status == ipSuccess:
			a.kind = fromTarget
		case status == ipTTLExpiredTransit:
			a.kind = fromHop
		case status == ipPacketTooBig:
			a.kind = tooBig
		case (status == ipNetUnreachable || status == ipHostUnreachable || status == ipProtUnreachable || status == ipPortUnreachable) && from == e.o.to:
			a.kind = fromTarget
		case status == ipNetUnreachable, status == ipHostUnreachable, status == ipProtUnreachable, status == ipPortUnreachable:
			a.kind = noWay
		default:
			return
		}
		select {
		case e.answers <- a:
		default:
		}
	})
	return nil
}

func (e *echoProber) close() {
	e.wg.Wait() // each ends when its time is up
	_, _, _ = e.api.close.Call(e.handle)
}

// probe returns the status of one echo and who answered.
func (api icmpAPI) probe(h uintptr, o proberOptions, ttl int, payload []byte) (status uint32, from netip.Addr) {
	buf := make([]byte, int(unsafe.Sizeof(echoReply{}))+len(payload)+8+icmpReplyRoom)
	options := ipOptions{ttl: byte(ttl), flags: ipFlagDF}
	ms := uintptr(max(1, o.wait))
	if o.to.Is6() {
		src, to := rawSockaddr(o.source), rawSockaddr(o.to)
		n, _, err := api.send6.Call(h, 0, 0, 0, uintptr(unsafe.Pointer(&src)), uintptr(unsafe.Pointer(&to)), uintptr(unsafe.Pointer(&payload[0])), uintptr(len(payload)),
			uintptr(unsafe.Pointer(&options)), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), ms)
		if n == 0 {
			return statusOf(err), netip.Addr{}
		}
		return *(*uint32)(unsafe.Pointer(&buf[status6At])), netip.AddrFrom16([16]byte(buf[addr6At : addr6At+16]))
	}
	to, src := o.to.As4(), [4]byte{}
	if o.source.Is4() {
		src = o.source.As4()
	}
	n, _, err := api.send4.Call(h, 0, 0, 0, uintptr(*(*uint32)(unsafe.Pointer(&src))), uintptr(*(*uint32)(unsafe.Pointer(&to))), uintptr(unsafe.Pointer(&payload[0])), uintptr(len(payload)),
		uintptr(unsafe.Pointer(&options)), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), ms)
	if n == 0 {
		return statusOf(err), netip.Addr{}
	}
	r := (*echoReply)(unsafe.Pointer(&buf[0]))
	return r.status, netip.AddrFrom4(r.addr)
}
