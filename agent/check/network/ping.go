package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"egovmon/agent/check"
)

// The values of the option mode.
const (
	modeAuto     = "auto"
	modeICMPOnly = "icmp"
	modeTCPOnly  = "tcp"
)

func pingKind() check.Kind {
	return check.Kind{
		Name:    "ping",
		Family:  "network",
		Summary: "Sends ICMP echo requests; measures loss, round trip and jitter, by TCP connections where ICMP is not allowed.",
		Options: []check.Option{
			{Name: "host", Type: check.TypeHost, Required: true, Help: "Name or address to send echo requests to."},
			{Name: "count", Type: check.TypeInt, Default: "4", Min: 1, Max: maxEchoes, Unit: "requests", Help: "How many echo requests to send in a run."},
			{Name: "interval", Type: check.TypeDuration, Default: "200ms", Min: 0.01, Max: 10, Help: "Time from one request to the next."},
			{Name: "size", Type: check.TypeBytes, Default: "56", Min: minEcho, Max: 1472, Unit: "bytes", Help: "Data in each request, after the ICMP header."},
			slowOption("the mean round trip"),
			{Name: "loss_warn", Type: check.TypeFloat, Default: "0", Min: 0, Max: 1, Unit: "ratio", Help: "The state is degraded when a larger share of the requests is lost."},
			familyOption(),
			{Name: "mode", Type: check.TypeString, Default: modeAuto, Enum: []string{modeAuto, modeICMPOnly, modeTCPOnly},
				Help: "auto sends ICMP and measures TCP connections where the system does not allow that; icmp and tcp insist on one."},
			{Name: "port", Type: check.TypeInt, Default: "443", Min: 1, Max: 65535, Help: "Port for TCP connections; one that is closed answers as well."},
		},
		Facts:  echoFacts(),
		Phases: []string{"dns", "echo", "total"},
		Target: func(o check.Options) []string { return []string{o.String("host")} },
		New:    newPing,
	}
}

func newPing(o check.Options, env check.Env) (check.Func, error) {
	p := pinger{
		line: line{family: o.String("family"), source: env.Source}, host: o.String("host"), mode: o.String("mode"), port: uint16(o.Int("port")),
		slow: o.Duration("slow"), lossWarn: o.Float("loss_warn"),
		run:  echoRun{source: env.Source, count: int(o.Int("count")), interval: o.Duration("interval"), size: int(o.Int("size"))},
		echo: echoRun.echo,
	}
	if err := checkFamily("host", p.host, p.line); err != nil {
		return nil, err
	}
	if all := time.Duration(p.run.count-1) * p.run.interval; env.Timeout > 0 && all >= env.Timeout {
		return nil, fmt.Errorf("option %q: %d requests %s apart take %s, and the timeout is %s: lower count or interval, or raise the timeout",
			"interval", p.run.count, p.run.interval, all, env.Timeout)
	}
	return p.check, nil
}

// A pinger is a check of kind ping.
type pinger struct {
	line     line
	host     string
	mode     string
	port     uint16
	slow     time.Duration
	lossWarn float64
	run      echoRun
	echo     func(echoRun, context.Context) (echoes, error)
}

func (p pinger) check(ctx context.Context) check.Result {
	begin := time.Now()
	var phases check.Phases
	addrs, bad := p.line.lookup(ctx, p.host)
	if _, err := netip.ParseAddr(p.host); err != nil {
		phases.Add("dns", time.Since(begin))
	}
	if bad != nil {
		bad.Phases = phases
		return *bad
	}
	p.run.to = addrs[0]
	sending := time.Now()
	r := p.measure(ctx)
	phases.Add("echo", time.Since(sending))
	phases.Add("total", time.Since(begin))
	r.Phases = phases
	r.Facts.Add("ip_version_code", ipVersion(p.run.to))
	return r
}

func (p pinger) measure(ctx context.Context) check.Result {
	if p.mode == modeTCPOnly {
		return p.connects(ctx, "measured by TCP")
	}
	e, err := p.echo(p.run, ctx)
	switch {
	case err == nil:
		return e.judge(ctx, p.lossWarn, p.slow)
	case !errors.Is(err, errNoEcho):
		return failed(ctx, check.StepConnect, err)
	case p.mode == modeICMPOnly:
		return check.Because(check.NoPermission, "%s", err)
	}
	return p.connects(ctx, "ICMP is not allowed here, so TCP was measured")
}

// connects measures by TCP and says so in the detail.
func (p pinger) connects(ctx context.Context, why string) check.Result {
	r := p.run.connects(ctx, p.port).judge(ctx, p.lossWarn, p.slow)
	note := fmt.Sprintf("%s (port %d)", why, p.port)
	if r.Detail != "" {
		note += "; " + r.Detail
	}
	r.Detail = check.CleanDetail(note)
	return r
}
