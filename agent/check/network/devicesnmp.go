package network

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/gosnmp/gosnmp"

	"egovmon/agent/check"
)

// sysUpTime is the time since the device's management was started, in hundredths of a second (RFC 3418).
const sysUpTime = ".1.3.6.1.2.1.1.3.0"

// An snmpAgent is what of a device speaks SNMP.
type snmpAgent struct {
	v1        bool
	port      uint16
	source    netip.Addr
	community func() (string, error)
}

// ask gets sysUpTime, and asks a second time when nothing came in half of the time.
func (a *snmpAgent) ask(ctx context.Context, to netip.Addr) check.Result {
	community, err := a.community()
	if err != nil {
		return check.Because(check.NotConfigured, "community: %s", err)
	}
	wait := 2 * time.Second
	if end, ok := ctx.Deadline(); ok {
		wait = max(time.Until(end)/2, time.Millisecond)
	}
	g := &gosnmp.GoSNMP{Target: to.String(), Port: a.port, Transport: "udp", Community: community, Version: gosnmp.Version2c,
		Context: ctx, Timeout: wait, Retries: 1, MaxOids: 1}
	if a.v1 {
		g.Version = gosnmp.Version1
	}
	if a.source.IsValid() {
		g.LocalAddr = netip.AddrPortFrom(a.source, 0).String()
	}
	if err := g.Connect(); err != nil {
		return a.failed(ctx, err)
	}
	defer g.Conn.Close()
	defer context.AfterFunc(ctx, func() { _ = g.Conn.SetDeadline(time.Unix(1, 0)) })()
	packet, err := g.Get([]string{sysUpTime})
	if err != nil {
		return a.failed(ctx, err)
	}
	return readUptime(packet)
}

// failed is the result of an exchange that did not come off.
func (a *snmpAgent) failed(ctx context.Context, err error) check.Result {
	var r check.Result
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return failed(ctx, check.StepExchange, err)
	case errors.Is(err, gosnmp.ErrMaxRetriesExceeded):
		r = check.Because(check.Timeout, "SNMP: no answer; the device may be off, or want another community")
	case strings.HasPrefix(err.Error(), "recover:"):
		r = check.Because(check.Protocol, "SNMP: an answer that cannot be read")
	default:
		r = failed(ctx, check.StepExchange, err)
		r.Detail = check.CleanDetail("SNMP: " + r.Detail)
	}
	return r
}

// readUptime reads the answer to a request for sysUpTime.
func readUptime(p *gosnmp.SnmpPacket) check.Result {
	if p == nil || p.RequestID == 0 { // the library takes number 0 for an answer to every request
		return check.Because(check.Protocol, "SNMP: an answer to no request")
	}
	if p.Error != gosnmp.NoError {
		return check.Because(check.Protocol, "SNMP: the device says error %d", p.Error)
	}
	if len(p.Variables) != 1 || strings.TrimPrefix(p.Variables[0].Name, ".") != strings.TrimPrefix(sysUpTime, ".") {
		return check.Because(check.Protocol, "SNMP: an answer to another question")
	}
	v := p.Variables[0]
	ticks, ok := v.Value.(uint32)
	if v.Type != gosnmp.TimeTicks || !ok {
		return check.Because(check.Protocol, "SNMP: no time since its start in the answer")
	}
	r := check.Because(check.OK, "")
	r.Facts.Add("uptime_s", float64(ticks)/100)
	return r
}
