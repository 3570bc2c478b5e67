package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"egovmon/agent/check"
)

// The values of the option snmp.
const (
	snmpNone = "none"
	snmpV1   = "v1"
	snmpV2c  = "v2c"
)

const (
	deviceInterval = 200 * time.Millisecond
	maxPorts       = 16
	// echoPort is where a device is tried by TCP when the system lets us send no echo: a refusal is an answer as well.
	echoPort = 80
)

func deviceKind() check.Kind {
	return check.Kind{
		Name:    "device",
		Family:  "network",
		Summary: "Looks at what carries no agent: printer, scanner, queue machine, or a PC whose operating system is too old. Echo, TCP ports, IPP, SNMP.",
		Options: []check.Option{
			{Name: "host", Type: check.TypeHost, Required: true, Help: "Name or address of the device."},
			{Name: "ping", Type: check.TypeBool, Default: "true", Help: "Whether to send echo requests. When something else of the device answers, silence to them says nothing."},
			{Name: "count", Type: check.TypeInt, Default: "3", Min: 1, Max: 20, Unit: "requests", Help: "How many echo requests to send in a run; one answer is enough."},
			slowOption("the mean round trip"),
			{Name: "ports", Type: check.TypeInts, Min: 1, Max: 65535, Help: "TCP ports, 16 at most, that must take a connection, such as 9100 of a printer or 445 of a PC."},
			{Name: "url", Type: check.TypeURL, Help: "Where a printer speaks IPP: ipp://10.1.2.3/ipp/print, or with http, https or ipps. Its certificate is not judged: printers make their own."},
			{Name: "warnings", Type: check.TypeBool, Default: "false", Help: "Whether the state is degraded by what the printer only warns of, such as low toner."},
			{Name: "snmp", Type: check.TypeString, Default: snmpNone, Enum: []string{snmpNone, snmpV1, snmpV2c}, Help: "Version of SNMP to ask the time since the device's start by (sysUpTime)."},
			{Name: "snmp_port", Type: check.TypeInt, Default: "161", Min: 1, Max: 65535, Unit: "port", Help: "UDP port of SNMP."},
			{Name: "community", Type: check.TypeSecret, Help: "Community for SNMP; without it public."},
			{Name: "os", Type: check.TypeString, Help: "Operating system of a PC on which the agent does not run, such as Windows 7."},
			{Name: "os_end", Type: check.TypeString, Help: "The last day on which its maker supported it, such as 2020-01-14; after it the result says so."},
			familyOption(),
		},
		Facts: append(append(echoFacts(),
			check.FactDef{Name: "ports_count", Help: "TCP ports that were tried", Max: maxPorts},
			check.FactDef{Name: "ports_open_count", Help: "of them open", Max: maxPorts},
			check.FactDef{Name: "uptime_s", Help: "since the device started, as it says", Max: 1 << 32},
			check.FactDef{Name: "restarted_code", Help: "1 when it started anew since the last run", Max: 1},
			check.FactDef{Name: "os_ended_code", Help: "1 when its operating system is no longer supported", Max: 1},
		), printerFacts()...),
		Phases: []string{"dns", "echo", "connect", "ipp", "snmp", "total"},
		Target: func(o check.Options) []string {
			hosts := []string{o.String("host")}
			if u, err := url.Parse(o.String("url")); err == nil && u.Hostname() != "" && u.Hostname() != hosts[0] {
				hosts = append(hosts, u.Hostname())
			}
			return hosts
		},
		New: newDevice,
	}
}

func newDevice(o check.Options, env check.Env) (check.Func, error) {
	d := &device{line: line{family: o.String("family"), source: env.Source}, host: o.String("host"), slow: o.Duration("slow"), warnings: o.Bool("warnings"),
		run:  echoRun{source: env.Source, count: int(o.Int("count")), interval: deviceInterval, size: 56, linger: time.Second},
		echo: echoRun.echo, now: env.Now, os: o.String("os")}
	if d.now == nil {
		d.now = time.Now
	}
	if !o.Bool("ping") {
		d.echo = nil
	}
	if err := checkFamily("host", d.host, d.line); err != nil {
		return nil, err
	}
	if all := time.Duration(d.run.count-1) * deviceInterval; d.echo != nil && env.Timeout > 0 && all >= env.Timeout/2 {
		return nil, fmt.Errorf("option %q: %d requests take %s, more than half of the timeout of %s: lower the count or raise the timeout", "count", d.run.count, all, env.Timeout)
	}
	if n := len(o.Ints("ports")); n > maxPorts {
		return nil, fmt.Errorf("option %q: %d ports: name at most %d", "ports", n, maxPorts)
	}
	for i, p := range o.Ints("ports") {
		if p < 1 || p > 65535 {
			return nil, fmt.Errorf("option %q: number %d is %d: write numbers from 1 to 65535", "ports", i+1, p)
		}
		d.ports = append(d.ports, uint16(p))
	}
	if err := d.readServices(o, env); err != nil {
		return nil, err
	}
	if err := d.readEnd(o); err != nil {
		return nil, err
	}
	if d.echo == nil && len(d.ports) == 0 && d.ipp == nil && d.snmp == nil {
		return nil, fmt.Errorf("option %q: false leaves nothing to look at: name ports, url or snmp", "ping")
	}
	return d.check, nil
}

// readServices reads what is asked of IPP and SNMP.
func (d *device) readServices(o check.Options, env check.Env) error {
	if o.Has("url") {
		u, err := ippURL(o.String("url"))
		if err != nil {
			return fmt.Errorf("option %q: %w", "url", err)
		}
		d.ipp = &ippPrinter{url: u, said: o.String("url"), source: env.Source}
	}
	version := o.String("snmp")
	if version == "" || version == snmpNone {
		if o.Has("community") {
			return fmt.Errorf("option %q: it is for SNMP: write snmp: v2c, or take it out", "community")
		}
		return nil
	}
	d.snmp = &snmpAgent{v1: version == snmpV1, port: uint16(o.Int("snmp_port")), source: env.Source, community: func() (string, error) { return "public", nil }}
	if o.Has("community") {
		name := o.String("community")
		if env.Secret == nil {
			return fmt.Errorf("option %q: this agent has no secrets", "community")
		}
		d.snmp.community = func() (string, error) { return env.Secret(name) }
	}
	return nil
}

// readEnd reads until when the operating system was supported.
func (d *device) readEnd(o check.Options) error {
	text := o.String("os_end")
	switch {
	case text == "":
		return nil
	case d.os == "":
		return fmt.Errorf("option %q: of which operating system: name it with os", "os_end")
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return fmt.Errorf("option %q: %q is no day: write it as 2020-01-14", "os_end", text)
	}
	d.end = day.AddDate(0, 0, 1)
	return nil
}

// A device is a check of this kind.
type device struct {
	line     line
	host     string
	slow     time.Duration
	warnings bool
	run      echoRun
	echo     func(echoRun, context.Context) (echoes, error) // nil when no echo is sent
	ports    []uint16
	ipp      *ippPrinter // nil when it is no printer
	snmp     *snmpAgent  // nil when it is not asked
	os       string
	end      time.Time // from then on its system is not supported; zero when that is not said
	now      func() time.Time

	started starts
}

func (d *device) check(ctx context.Context) check.Result {
	begin := time.Now()
	var phases check.Phases
	addrs, bad := d.line.lookup(ctx, d.host)
	if _, err := netip.ParseAddr(d.host); err != nil {
		phases.Add("dns", time.Since(begin))
	}
	if bad != nil {
		bad.Phases = phases
		return *bad
	}
	s := d.see(ctx, addrs[0], &phases)
	r := s.judge()
	if r.State != check.Up && errors.Is(ctx.Err(), context.Canceled) {
		r = check.Because(check.Internal, "the run was cut short")
	}
	phases.Add("total", time.Since(begin))
	r.Phases = phases
	r.Facts = append(r.Facts, s.facts...)
	r.Facts.Add("ip_version_code", ipVersion(addrs[0]))
	if !d.end.IsZero() {
		ended := !d.now().Before(d.end)
		r.Facts.Add("os_ended_code", one(ended))
		if ended {
			note := fmt.Sprintf("%s has had no support since %s", d.os, d.end.Format(time.DateOnly))
			if r.Detail != "" {
				note = r.Detail + "; " + note
			}
			r.Detail = check.CleanDetail(note)
		}
	}
	return r
}

// A sighting is what was seen of a device in one run.
type sighting struct {
	echo     *check.Result  // nil when no echo was sent
	services []check.Result // ports and IPP: what the device is there for
	snmp     *check.Result  // nil when it was not asked; it tells about the device, no more
	notes    []string
	facts    check.Facts
}

// see looks at one thing after the other: small devices serve one at a time.
func (d *device) see(ctx context.Context, to netip.Addr, phases *check.Phases) sighting {
	var s sighting
	left := len(d.ports)
	for _, more := range []bool{d.echo != nil, d.ipp != nil, d.snmp != nil} {
		if more {
			left++
		}
	}
	step := func(look func(context.Context) check.Result) check.Result {
		sub, cancel := share(ctx, left)
		defer cancel()
		left--
		r := look(sub)
		s.facts = append(s.facts, r.Facts...)
		return r
	}
	since := func(name string, begin time.Time) { phases.Add(name, time.Since(begin)) }
	if begin := time.Now(); d.echo != nil {
		s.echo = new(step(func(ctx context.Context) check.Result { return d.ping(ctx, to) }))
		since("echo", begin)
	}
	if begin := time.Now(); len(d.ports) > 0 {
		open := 0
		for _, p := range d.ports {
			r := step(func(ctx context.Context) check.Result { return d.connects(ctx, netip.AddrPortFrom(to, p)) })
			if s.services = append(s.services, r); r.State == check.Up {
				open++
			}
		}
		since("connect", begin)
		s.facts.Add("ports_count", float64(len(d.ports)))
		s.facts.Add("ports_open_count", float64(open))
	}
	if begin := time.Now(); d.ipp != nil {
		s.services = append(s.services, step(func(ctx context.Context) check.Result { return d.ipp.ask(ctx, d.warnings) }))
		since("ipp", begin)
	}
	if begin := time.Now(); d.snmp != nil {
		s.snmp = new(step(func(ctx context.Context) check.Result { return d.snmp.ask(ctx, to) }))
		since("snmp", begin)
	}
	if up, ok := s.facts.Get("uptime_s"); ok {
		anew := d.started.anew(time.Duration(up*float64(time.Second)), time.Now())
		s.facts.Add("restarted_code", one(anew))
		if anew {
			s.notes = append(s.notes, fmt.Sprintf("it started anew %s ago", time.Duration(up)*time.Second))
		}
	}
	return s
}

// ping sends echoes, or tries TCP where the system lets us send none.
func (d *device) ping(ctx context.Context, to netip.Addr) check.Result {
	d.run.to = to
	e, err := d.echo(d.run, ctx)
	if errors.Is(err, errNoEcho) {
		if e = d.run.connects(ctx, echoPort); len(e.rtts) == 0 {
			return check.Because(check.NoPermission, "%s", err)
		}
	} else if err != nil {
		return failed(ctx, check.StepConnect, err)
	}
	if len(e.rtts) == 0 && e.denial > 0 { // a firewall of its own: a sign of life all the same
		r := check.Because(check.OK, "it says itself that it refuses echo")
		r.Facts.Add("icmp_mode_code", float64(e.mode))
		return r
	}
	return e.judge(ctx, 1, d.slow)
}

// connects tries a port.
func (d *device) connects(ctx context.Context, to netip.AddrPort) check.Result {
	if _, err := d.line.connect(ctx, to); err != nil {
		r := failed(ctx, check.StepConnect, err)
		r.Detail = check.CleanDetail(fmt.Sprintf("port %d: %s", to.Port(), r.Detail))
		return r
	}
	return check.Because(check.OK, "")
}

// judge says what a sighting means. The services decide; where none was asked for, any sign of life does.
func (s sighting) judge() check.Result {
	var dead, weak []check.Result
	for _, r := range s.services {
		switch r.State {
		case check.Up:
		case check.Degraded:
			weak = append(weak, r)
		default:
			dead = append(dead, r)
		}
	}
	echoed := s.echo != nil && (s.echo.State == check.Up || s.echo.State == check.Degraded)
	told := s.snmp != nil && s.snmp.State == check.Up
	asked := len(s.services)
	switch {
	case asked > 0 && len(dead) == asked:
		return s.because(dead[0])
	case asked == 0 && !echoed && !told && s.echo != nil:
		return s.because(*s.echo)
	case asked == 0 && !echoed && !told:
		return s.because(*s.snmp)
	}
	if s.snmp != nil {
		asked++
		switch s.snmp.State {
		case check.Down:
			dead = append(dead, *s.snmp)
		case check.Unknown:
			s.notes = append(s.notes, s.snmp.Detail)
		}
	}
	switch {
	case len(dead) > 0:
		return s.because(check.Because(check.Partial, "%d of %d do not work: %s", len(dead), asked, dead[0].Detail))
	case len(weak) > 0:
		return s.because(weak[0])
	case echoed && s.echo.Reason == check.Slow:
		return s.because(*s.echo)
	}
	return s.because(check.Because(check.OK, ""))
}

// because is a result with the notes behind its detail, and without the facts of its part.
func (s sighting) because(r check.Result) check.Result {
	text := s.notes
	if r.Detail != "" {
		text = append([]string{r.Detail}, text...)
	}
	return check.Because(r.Reason, "%s", strings.Join(text, "; "))
}

// one writes a yes or no as a number.
func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// starts remembers when a device seems to have started. The zero value knows nothing.
type starts struct {
	up   time.Duration // at the last look
	seen time.Time     // of the last look
}

const (
	// ticksEnd is when the counter of SNMP begins again without a new start: 2^32 hundredths of a second.
	ticksEnd = (1 << 32) * 10 * time.Millisecond
	// startSlack is how much the clocks of two looks may differ.
	startSlack = time.Minute
)

// anew reports whether a device that has run for up has started since the last look.
func (s *starts) anew(up time.Duration, now time.Time) bool {
	before := *s
	*s = starts{up, now}
	if before.seen.IsZero() {
		return false
	}
	wanted := before.up + now.Sub(before.seen)
	return up+startSlack+now.Sub(before.seen)/50 < wanted && wanted < ticksEnd-startSlack
}
