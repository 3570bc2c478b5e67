package control

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
)

// reporters are programs that report to a centre: agents against malware (m03) or forwarders of the log (m18).
type reporters struct {
	running   []string
	connected int       // of the centres that the plan names, those with an open connection
	unread    error     // why the connections could not be read; nil when they could
	sent      time.Time // when something was last sent; zero where that leaves no trace
}

func (v reporters) names() string { return strings.Join(v.running, ", ") }

// judgeEDR asks for an agent that is connected to its centre.
func judgeEDR(v reporters, l *limits) *check.Result {
	var r *check.Result
	switch {
	case len(v.running) == 0 && l.required:
		r = because(check.ControlFail, "no agent that reports malware to a centre runs")
	case len(v.running) == 0:
		r = because(check.ControlPartial, "no agent that reports malware to a centre runs, which the plan does not ask for")
	case len(l.centres) == 0:
		r = because(check.ControlPartial, "%s runs; the plan names no centre to look for a connection to", v.names())
	case v.unread != nil:
		r = unread(fmt.Errorf("the connections: %w", v.unread))
	case v.connected == 0:
		r = because(check.ControlFail, "%s runs, but is connected to none of its centres", v.names())
	default:
		r = because(check.OK, "%s runs and is connected to its centre", v.names())
	}
	r.Facts.Add("edr_count", float64(len(v.running)))
	v.addConnected(&r.Facts, l)
	return r
}

// judgeForwarding asks for a forwarder that has sent lately or, where that leaves no trace, is connected to its centre.
func judgeForwarding(v reporters, l *limits, now time.Time) *check.Result {
	age := now.Sub(v.sent)
	var r *check.Result
	switch {
	case len(v.running) == 0:
		r = because(check.ControlFail, "nothing forwards the log")
	case !v.sent.IsZero() && age < -slack:
		r = because(check.ControlPartial, "what %s sent last is dated in the future", v.names())
	case !v.sent.IsZero() && age > l.maxAge:
		r = because(check.ControlFail, "%s runs, but sent last %.0f minutes ago; at most %.0f are allowed", v.names(), age.Minutes(), l.maxAge.Minutes())
	case !v.sent.IsZero():
		r = because(check.OK, "%s sent last %.0f minutes ago", v.names(), max(0, age.Minutes()))
	case len(l.centres) == 0:
		r = because(check.ControlPartial, "%s runs; when it sent last leaves no trace here, and the plan names no centre to look for a connection to", v.names())
	case v.unread != nil:
		r = unread(fmt.Errorf("the connections: %w", v.unread))
	case v.connected == 0:
		r = because(check.ControlFail, "%s runs, but is connected to none of its centres", v.names())
	default:
		r = because(check.OK, "%s runs and is connected to its centre", v.names())
	}
	r.Facts.Add("forwarders_count", float64(len(v.running)))
	addAge(&r.Facts, "age_s", v.sent, now)
	v.addConnected(&r.Facts, l)
	return r
}

func (v reporters) addConnected(f *check.Facts, l *limits) {
	if len(l.centres) > 0 && v.unread == nil {
		f.Add("centres_connected_count", float64(v.connected))
	}
}

// readCentres reads the addresses of centres. Those that connections are compared with must be numbers: a name may have many.
func (l *limits) readCentres(o check.Options, id string) error {
	for _, s := range o.Strings("addresses") {
		a, err := netip.ParseAddrPort(strings.TrimSpace(s))
		if err != nil && id != centreReach {
			return fmt.Errorf("option \"addresses\": %q: for %s write address and port in numbers, such as 10.1.2.3:1514", s, id)
		}
		l.centres = append(l.centres, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	l.addresses = o.Strings("addresses")
	return nil
}

// edr looks for the processes of known agents, and for those that the plan names, by the names that the kernel keeps.
func (t *tree) edr(_ context.Context, l *limits) (reporters, error) {
	known := []string{"wdavdaemon", "falcon-sensor", "sentinelone-age", "klnagent", "cbagentd", "wazuh-agentd", "ossec-agentd",
		"osqueryd", "ir_agent", "elastic-endpoin", "bdagentd", "ds_agent", "velociraptor"}
	return t.reporters(append(known, l.programs...), l)
}

// forwarders looks for the processes of known forwarders. A log daemon counts when its settings name where to.
func (t *tree) forwarders(_ context.Context, l *limits) (reporters, error) {
	known := []string{"filebeat", "fluent-bit", "fluentd", "td-agent", "nxlog", "splunkd", "wazuh-agentd", "ossec-agentd", "vector",
		"promtail", "auditbeat"}
	v, err := t.reporters(append(known, l.programs...), l)
	if err != nil {
		return v, err
	}
	daemons, err := t.running("rsyslogd", "syslog-ng")
	if err != nil {
		return v, err
	}
	for _, name := range slices.Sorted(maps.Keys(daemons)) {
		forwards, err := t.forwards(name)
		if err != nil {
			return v, fmt.Errorf("the settings of %s: %w", name, bare(err))
		}
		if forwards {
			v.running = append(v.running, name)
		}
	}
	v.sent = t.lastSent()
	return v, nil
}

func (t *tree) reporters(names []string, l *limits) (reporters, error) {
	found, err := t.running(names...)
	if err != nil {
		return reporters{}, err
	}
	v := reporters{running: slices.Sorted(maps.Keys(found))}
	if len(l.centres) > 0 {
		v.connected, v.unread = t.connected(l.centres)
	}
	return v, nil
}

// forwards reports whether a log daemon is told to send on what it gets.
func (t *tree) forwards(daemon string) (bool, error) {
	main, dir, marks := "etc/rsyslog.conf", "etc/rsyslog.d", []string{"omfwd", "omrelp"}
	if daemon == "syslog-ng" {
		main, dir, marks = "etc/syslog-ng/syslog-ng.conf", "etc/syslog-ng/conf.d", []string{"network(", "syslog(", "tcp(", "udp("}
	}
	names, err := t.list(dir)
	if err != nil {
		return false, err
	}
	files := []string{main}
	for _, name := range names {
		if strings.HasSuffix(name, ".conf") {
			files = append(files, path.Join(dir, name))
		}
	}
	for _, file := range files {
		text, err := t.text(file)
		if err != nil {
			return false, err
		}
		for line := range settings(text) {
			f := strings.Fields(line)
			// rsyslog.conf(5): a selector, then @host for UDP and @@host for TCP.
			if daemon == "rsyslogd" && len(f) == 2 && strings.HasPrefix(f[1], "@") {
				return true, nil
			}
			line = strings.ToLower(line)
			if slices.ContainsFunc(marks, func(m string) bool { return strings.Contains(line, m) }) && !strings.HasPrefix(line, "source") {
				return true, nil
			}
		}
	}
	return false, nil
}

// lastSent is when a forwarder that keeps a record of it last sent; zero when none does, or none that may be read.
func (t *tree) lastSent() (last time.Time) {
	for _, name := range []string{"var/lib/filebeat/registry/filebeat/log.json"} {
		if i, err := fs.Stat(t.root, name); err == nil && i.Mode().IsRegular() && i.ModTime().After(last) {
			last = i.ModTime()
		}
	}
	zone := t.zone
	if zone == nil {
		zone = time.Local
	}
	for _, dir := range []string{"var/ossec/var/run/wazuh-agentd.state", "var/ossec/var/run/ossec-agentd.state"} {
		if text, err := t.text(dir); err == nil {
			if at, err := time.ParseInLocation(time.DateTime, setting(text, "last_ack"), zone); err == nil && at.After(last) {
				last = at
			}
		}
	}
	return last
}

// connected counts the centres to which the kernel has an open connection.
func (t *tree) connected(centres []netip.AddrPort) (int, error) {
	const established = "01"
	open := map[netip.AddrPort]bool{}
	read := 0
	for _, table := range []string{"proc/net/tcp", "proc/net/tcp6"} {
		b, err := t.read(table, maxTable)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, bare(err)
		}
		read++
		s := bufio.NewScanner(bytes.NewReader(b))
		for first := true; s.Scan(); first = false {
			f := strings.Fields(s.Text())
			if first || len(f) < 4 || f[3] != established {
				continue
			}
			a, port, err := socketAddress(f[2])
			if err != nil {
				return 0, err
			}
			open[netip.AddrPortFrom(a.Unmap(), port)] = true
		}
		if err := s.Err(); err != nil {
			return 0, err
		}
	}
	if read == 0 {
		return 0, fs.ErrNotExist
	}
	n := 0
	for _, c := range centres {
		n += int(yes01(open[c]))
	}
	return n, nil
}

// wholeNumber reads digits; a faulty text is -1.
func wholeNumber(s string) int {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}
