package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/check/network"
	"egovmon/agent/daemon"
	"egovmon/agent/host"
	"egovmon/agent/push"
	"egovmon/agent/schedule"
	"egovmon/agent/words"
	"egovmon/exporter"
)

// A finding is one line of an examination. The findings come in the order in which things depend on one another, from
// this machine outwards, so that the first one that is bad is the one to mend. The detail is data of a result, in English:
// it stands apart from the sentences that a person reads.
type finding struct {
	Key    string       `json:"key"` // of the catalogue, or the id of a check of the plan
	State  check.State  `json:"-"`
	Word   string       `json:"state"`
	Reason check.Reason `json:"reason,omitempty"`
	Detail string       `json:"detail,omitempty"`
	Said   string       `json:"said,omitempty"` // what stands in brackets, in the language of who reads it
	advice string       // key of the catalogue; "" for the reason's own

	// Of the way to a system: the key of the sentence that says where it breaks off, and the last hop that answered.
	sentence, after string
}

const (
	doctorTimeout = 8 * time.Second // of each look
	doctorChecks  = 50              // of the plan, at most
)

func runDoctor(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("doctor", "Examines this machine from the inside outwards and says what fails first, in words that can be read out over the\n"+
		"phone. With a SYSTEM — the address of its page, a mail server as host:port, or a check of the plan that goes to one — it says where the way there breaks\n"+
		"off: machine, LAN, gateway, line, carrier, resolver, server, certificate or page. It exits 0 when nothing is wrong and 1\n"+
		"when something is.", stderr)
	data := fs.String("data", "", "data folder `DIR`")
	lang := fs.String("lang", "vi", "language: vi or en")
	asJSON := fs.Bool("json", false, "write one JSON object a line")
	file := fs.String("plan", "", "for the way to a SYSTEM: a plan to take in place of the machine's own, a YAML `FILE`")
	to, args := positional(args)
	behind := 1 // the system may also follow the flags
	if to != "" {
		behind = 0
	}
	if ok, code := parse(fs, args, behind); !ok {
		return code
	}
	if behind > 0 {
		to = fs.Arg(0)
	}
	dir, err := dataDir(*data)
	if err != nil {
		fmt.Fprintf(stderr, "agent doctor: %v\n", err)
		return exitUsage
	}
	l := words.ParseLang(*lang)
	name, _ := os.Hostname()
	title, look := words.Tell(l, "doctor.title", name), examine(ctx, dir, l)
	if to != "" {
		p, err := storedPlan(*file, dir)
		if err != nil {
			fmt.Fprintf(stderr, "agent doctor: the plan %s cannot be used:\n%v\n", *file, err)
			return exitUsage
		}
		s, err := findSystem(to, p, dir)
		if err != nil {
			fmt.Fprintf(stderr, "%s\nagent doctor: %v\n", words.Tell(l, "doctor.nosystem"), err)
			return exitUsage
		}
		title, look = words.Tell(l, "doctor.way.title", name, s.url.Host), examineWay(ctx, s)
	}
	if !*asJSON {
		fmt.Fprintf(stdout, "%s\n\n", title)
	}
	var all []finding
	for f := range look {
		all = append(all, f)
		if *asJSON {
			f.Word = f.State.String()
			b, _ := json.Marshal(f)
			fmt.Fprintf(stdout, "%s\n", b)
		} else {
			writeFinding(stdout, l, len(all), f)
		}
	}
	bad := firstBad(all)
	if !*asJSON {
		fmt.Fprintln(stdout)
		conclude(stdout, l, all, bad)
	}
	if bad >= 0 {
		return exitFailed
	}
	return exitDone
}

// conclude says what to do first, and what to read out when calling for help.
func conclude(w io.Writer, l words.Lang, all []finding, bad int) {
	if bad < 0 {
		fmt.Fprintln(w, words.Tell(l, "doctor.allfine"))
		return
	}
	f := all[bad]
	if f.sentence != "" {
		fmt.Fprintln(w, sentenceOf(l, f))
	} else {
		fmt.Fprintln(w, words.Tell(l, "doctor.first", bad+1, label(l, f.Key)))
	}
	advice := words.Reason(l, f.Reason).Action
	if f.advice != "" {
		advice = words.Tell(l, f.advice)
	}
	if advice != "" {
		fmt.Fprintln(w, words.Tell(l, "doctor.advice", advice))
	}
	fmt.Fprintln(w, words.Tell(l, "doctor.call", bad+1, f.Reason))
}

// firstBad returns the index of the first finding that is down, else of the first that is degraded, else of a way that
// could not be judged, else -1.
func firstBad(fs []finding) int {
	for _, want := range []check.State{check.Down, check.Degraded} {
		if i := slices.IndexFunc(fs, func(f finding) bool { return f.State == want }); i >= 0 {
			return i
		}
	}
	return slices.IndexFunc(fs, func(f finding) bool { return f.sentence != "" })
}

func label(l words.Lang, key string) string {
	if s := words.Tell(l, "doctor."+key); s != "<doctor."+key+">" {
		return s
	}
	return key
}

func writeFinding(w io.Writer, l words.Lang, number int, f finding) {
	mark, word := "?", words.Tell(l, "doctor.unknown")
	switch f.State {
	case check.Up:
		mark, word = " ", words.Tell(l, "doctor.fine")
	case check.Degraded, check.Down:
		mark, word = "!", words.Tell(l, "doctor.bad")
	}
	if f.State == check.Unknown && f.Reason == "" {
		word = words.Tell(l, "doctor.notlooked")
	}
	fmt.Fprintf(w, "%s %2d. %-36s %s", mark, number, label(l, f.Key), word)
	if f.State != check.Up && f.Reason != "" {
		fmt.Fprintf(w, ": %s", words.Reason(l, f.Reason).Title)
	}
	if f.Said != "" {
		fmt.Fprintf(w, " (%s)", f.Said)
	}
	fmt.Fprintln(w)
	if f.Detail != "" {
		fmt.Fprintf(w, "      %s\n", words.Tell(l, "doctor.detail", f.Detail))
	}
}

// examineWay looks at the way to a system and yields its stages.
func examineWay(ctx context.Context, s *system) func(yield func(finding) bool) {
	return func(yield func(finding) bool) {
		e := s.look(ctx)
		for _, f := range judgeWay(e).findings(e) {
			if !yield(f) {
				return
			}
		}
	}
}

// examine looks at one thing after the other and yields what it found as soon as it knows.
func examine(ctx context.Context, dir string, l words.Lang) func(yield func(finding) bool) {
	return func(yield func(finding) bool) {
		id, err := host.LoadIdentity(dir)
		config, configErr := daemon.LoadConfig(dir, "")
		now := time.Now()
		steps := []func() finding{
			func() finding { return examineClock(now, exporter.ThisBuild().Date, l) },
			func() finding { return examineKind(ctx, "disk", "host", "doctor.diskadvice") },
			func() finding { return examineAddress(l) },
			func() finding { return examineGateway(ctx, l) },
			func() finding { return examineIdentity(id, err, now, l) },
		}
		if id != nil {
			steps = append(steps,
				func() finding { return examineDNS(ctx, id) },
				func() finding {
					if configErr != nil {
						return finding{Key: "collector", State: check.Down, Reason: check.Misconfigured, Detail: configErr.Error()}
					}
					return examineCollector(ctx, id, config.Dial(dir), l)
				},
				func() finding { return examineRunning(dir, l) },
				func() finding { return examineJournal(dir, l) })
		}
		for _, s := range steps {
			if ctx.Err() != nil || !yield(s()) {
				return
			}
		}
		for _, f := range examinePlan(ctx, dir) {
			if !yield(f) {
				return
			}
		}
	}
}

func found(key string, r check.Result) finding {
	return finding{Key: key, State: r.State, Reason: r.Reason, Detail: r.Detail}
}

func examineClock(now, built time.Time, l words.Lang) finding {
	f := finding{Key: "clock", State: check.Up, Reason: check.OK, Said: now.Format("15:04:05 02/01/2006 -07:00")}
	if now.Before(built) {
		f.State, f.Reason, f.Said, f.advice = check.Down, check.ClockUnset, words.Tell(l, "doctor.notime", f.Said), "doctor.clockadvice"
	}
	return f
}

func examineAddress(l words.Lang) finding {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return found("address", check.Because(check.NoPermission, "%v", err))
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return finding{Key: "address", State: check.Up, Reason: check.OK, Said: n.IP.String()}
		}
	}
	return finding{Key: "address", State: check.Down, Reason: check.ConnectUnreachable, Said: words.Tell(l, "doctor.noaddress"), advice: "doctor.cableadvice"}
}

// examineKind looks at something with a kind of check.
func examineKind(ctx context.Context, key, kind, advice string) finding {
	f := found(key, runKind(ctx, key, kind))
	f.advice = advice
	return f
}

// runKind runs a kind of check with its defaults.
func runKind(ctx context.Context, key, kind string) check.Result {
	k, ok := kinds.Table().Lookup(kind)
	if !ok {
		return check.Because(check.NotSupported, "no kind %s", kind)
	}
	fn, err := k.New(defaults(kind), check.Env{Check: key, Timeout: doctorTimeout, Now: time.Now})
	if err != nil {
		return check.Because(check.Misconfigured, "%v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	return fn(ctx)
}

// examineGateway looks at the unit's router, and says in words when this machine knows of none.
func examineGateway(ctx context.Context, l words.Lang) finding {
	r := runKind(ctx, "gateway", "gateway")
	f := found("gateway", r)
	f.advice = "doctor.gatewayadvice"
	if n, ok := r.Facts.Get("default_routes_count"); ok && n == 0 && r.State == check.Down {
		f.Detail, f.Said, f.advice = "", words.Tell(l, "doctor.nogateway"), "doctor.break.noroute.do"
	}
	return f
}

func examineIdentity(id *host.Identity, err error, now time.Time, l words.Lang) finding {
	switch {
	case errors.Is(err, host.ErrNotEnrolled):
		return finding{Key: "identity", State: check.Down, Reason: check.NotConfigured, Said: words.Tell(l, "doctor.notenrolled"), advice: "doctor.enroladvice"}
	case err != nil:
		return found("identity", check.Because(check.Misconfigured, "%v", err))
	}
	r := check.OK
	switch end := id.TLS.Leaf.NotAfter; {
	case now.After(end):
		r = check.TLSExpired
	case id.RenewDue(now):
		r = check.CertExpiring
	}
	return finding{Key: "identity", State: r.State(), Reason: r,
		Said: words.Tell(l, "doctor.enrolled", id.Machine, id.Collector, id.TLS.Leaf.NotAfter.Format("02/01/2006"))}
}

// examineRunning tells whether the agent works in the data folder.
func examineRunning(dir string, l words.Lang) finding {
	running, err := daemon.Running(dir)
	switch {
	case err != nil:
		return found("running", check.Because(check.NoPermission, "%v", err))
	case !running:
		return finding{Key: "running", State: check.Down, Reason: check.MissedStopped, Said: words.Tell(l, "doctor.notrunning"), advice: "doctor.runadvice"}
	}
	return finding{Key: "running", State: check.Up, Reason: check.OK}
}

// examineJournal says what waits to be sent.
func examineJournal(dir string, l words.Lang) finding {
	b, err := daemon.Waiting(dir)
	if err != nil {
		return found("journal", check.Because(check.Misconfigured, "%v", err))
	}
	if b.Batches == 0 {
		return finding{Key: "journal", State: check.Up, Reason: check.OK, Said: words.Tell(l, "doctor.nowaiting")}
	}
	f := finding{Key: "journal", State: check.Up, Reason: check.OK, Said: words.Tell(l, "doctor.waiting", b.Batches, b.Oldest.Local().Format("15:04 02/01/2006"))}
	if time.Since(b.Oldest) > 24*time.Hour {
		f.State, f.Reason = check.Degraded, check.Stale
	}
	return f
}

// examineDNS asks the system for the collector's name, the way the agent itself does.
func examineDNS(ctx context.Context, id *host.Identity) finding {
	u, err := url.Parse(id.Collector)
	if err != nil || net.ParseIP(u.Hostname()) != nil || u.Hostname() == "localhost" {
		return finding{Key: "dns", State: check.Up, Reason: check.OK, Said: "–"}
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
	if err != nil {
		r := check.Classify(check.StepResolve, err)
		return finding{Key: "dns", State: r.State(), Reason: r, Said: u.Hostname(), advice: "doctor.dnsadvice"}
	}
	return finding{Key: "dns", State: check.Up, Reason: check.OK, Said: u.Hostname() + " → " + addrs[0]}
}

// examineCollector asks the collector for its time over the pinned key.
func examineCollector(ctx context.Context, id *host.Identity, dial push.Dial, l words.Lang) finding {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	at, err := daemon.AskTime(ctx, id, dial)
	if err != nil {
		return unreached(err, l)
	}
	if d := time.Since(at); d.Abs() > time.Minute {
		return finding{Key: "clock", State: check.ClockSkew.State(), Reason: check.ClockSkew, Said: words.Duration(l, d.Abs()), advice: "doctor.clockadvice"}
	}
	if err := push.Probe(ctx, id, dial); err != nil {
		return unreached(err, l)
	}
	return finding{Key: "collector", State: check.Up, Reason: check.OK, Said: id.Collector}
}

// unreached says why the collector cannot be spoken to.
func unreached(err error, l words.Lang) finding {
	p := push.ProblemOf(err)
	f := finding{Key: "collector", State: check.Down, Said: words.Tell(l, "reach."+string(p)), Detail: err.Error(), advice: "reach.do." + string(p)}
	switch p {
	case push.TLSInspection, push.WrongPeer:
		f.Reason = check.TLSUntrusted
	case push.WrongClock:
		f.Reason = check.TLSNotYetValid
	case push.ProxyAuth, push.Revoked, push.NoIdentity:
		f.Reason = check.Auth
	case push.ProxyRefused:
		f.Reason = check.HTTPStatus
	case push.ProxySilent:
		f.Reason = check.Timeout
	case push.ProxyGarbage, push.ProxyUnusable, push.BadAnswer:
		f.Reason = check.Protocol
	default:
		f.Reason = check.Classify(check.StepConnect, err)
	}
	return f
}

// examinePlan runs the checks of the plan that the machine last followed.
func examinePlan(ctx context.Context, dir string) []finding {
	id, err := host.LoadIdentity(dir)
	if err != nil {
		return nil // said already
	}
	p, _, err := daemon.StoredPlan(dir, id, kinds.Table(), nil)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, daemon.ErrUnsigned) {
		return nil
	}
	if err != nil {
		return []finding{found("plan", check.Because(check.Misconfigured, "%v", err))}
	}
	n := 0
	o := schedule.Options{Machine: p.For, Kinds: kinds.Table(), Anchors: network.ProbeAnchors,
		Secret: func(name string) (string, error) { return host.Secret(dir, name) }}
	var fs []finding
	looked := false
	for _, r := range schedule.Once(ctx, o, p, func(string) bool { n++; return n <= doctorChecks }) {
		f := found(r.Check, r)
		// Of the first page that does not come, where the way to it breaks off.
		if c, ok := p.Check(r.Check); ok && !looked && (c.Kind == "http" || c.Kind == "loginpage") && r.State == check.Down {
			if s, err := findSystem(c.ID, p, dir); err == nil {
				looked = true
				e := s.look(ctx)
				if b := judgeWay(e); b.at != pastAll {
					f.sentence, f.advice, f.after = "doctor.break."+b.how, "doctor.break."+b.how+".do", b.after
				}
			}
		}
		fs = append(fs, f)
	}
	return fs
}

// dataDir is the folder that --data names, or the system's own.
func dataDir(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	dir, err := host.DataDir()
	return dir, err
}
