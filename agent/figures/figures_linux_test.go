package figures

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/daemon"
	"egovmon/agent/daemon/daemontest"
	"egovmon/agent/journal"
)

var measure = flag.Bool("figures", false, "measure, for some minutes, and print figures")

func TestMain(m *testing.M) {
	if role := os.Getenv("EGOVMON_FIGURES"); role != "" {
		os.Exit(child(role))
	}
	os.Exit(m.Run())
}

// startServers runs the peers in a process of their own.
func startServers(t *testing.T) peers {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "EGOVMON_FIGURES=servers", "EGOVMON_FIGURES_DIR="+t.TempDir())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var p peers
	if err := json.Unmarshal(line, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// probe runs a client in a process of its own.
func probe(t *testing.T, p peers, role string, atOnce, checks int, every, d time.Duration) spent {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "EGOVMON_FIGURES="+role, "EGOVMON_FIGURES_DIR="+t.TempDir(), "EGOVMON_FIGURES_PEERS="+string(b),
		fmt.Sprintf("EGOVMON_FIGURES_ARGS=%d %d %d %d", atOnce, checks, every, d))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var s spent
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatal(err)
	}
	if s.Probes == 0 || s.Failed > s.Probes/100 {
		t.Errorf("%s: %d of %d probes failed: these figures mean nothing", role, s.Failed, s.Probes)
	}
	return s
}

func (s spent) perThousand() float64 { return s.CPU / float64(s.Probes) * 1000 }
func (s spent) rate() float64        { return float64(s.Probes) / s.Seconds }

func wanted(t *testing.T) {
	if !*measure {
		t.Skip("prints figures with -figures")
	}
}

// long is how long the slow measurements last.
func long() time.Duration {
	if testing.Short() {
		return 10 * time.Second
	}
	return 70 * time.Second
}

func TestFigureProcessor(t *testing.T) {
	wanted(t)
	p := startServers(t)
	for range 2 {
		bare := probe(t, p, "bare", places, 0, 0, 5*time.Second)
		one := probe(t, p, "bare", 1, 0, 0, 5*time.Second)
		full := probe(t, p, "agent", 0, 4000, time.Second, 5*time.Second)
		calm := probe(t, p, "agent", 0, 200, time.Second, 10*time.Second)
		t.Logf("CPU s per 1,000 probes: bare loop %.3f at %d at once (%.0f/s), %.3f one by one (%.0f/s)", bare.perThousand(), places, bare.rate(), one.perThousand(), one.rate())
		t.Logf("agent with journal: %.3f at %d at once (%.0f/s), ratio %.2f; %.3f at 200/s, ratio to one by one %.2f", full.perThousand(), places, full.rate(),
			full.perThousand()/bare.perThousand(), calm.perThousand(), calm.perThousand()/one.perThousand())
	}
}

func TestFigureOverload(t *testing.T) {
	wanted(t)
	p := startServers(t)
	most := 4500 // a second: a little more than it can do
	best := probe(t, p, "agent", 0, most, time.Second, 10*time.Second)
	most = int(best.rate())
	over := probe(t, p, "agent", 0, 10*most, time.Second, 10*time.Second)
	t.Logf("%.0f probes/s at most; %.0f/s when 10 times that is asked for (ratio %.2f), %d slots named as missed; CPU s per 1,000 probes %.3f and %.3f",
		best.rate(), over.rate(), over.rate()/best.rate(), over.Missed, best.perThousand(), over.perThousand())
}

// build makes the agent as it is released.
func build(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "egovmon/agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// runAgent starts the released program, enrolled, with a kept plan of n checks on loopback, and more lines of one.
func runAgent(t *testing.T, p peers, n int, every string, more ...string) (cmd *exec.Cmd, dir string, started time.Time) {
	t.Helper()
	c, err := daemontest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	id, err := c.Identity("pc-01")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("plan: figures\nfor: pc-01\nversion: 1\nchecks:\n")
	for i := range n {
		b.WriteString(p.check(i, "every: "+every+", timeout: 2s"))
	}
	for _, line := range more {
		b.WriteString("  - " + line + "\n")
	}
	c.SetPlan("pc-01", 1, b.String())
	signed, err := c.SignPlan(b.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, daemon.PlanFile), signed, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets", "letters"), []byte("of figures"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), build(t), "run", "--data", dir, "--listen", "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	started = time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() })
	return cmd, dir, started
}

// recorded counts the results of different checks in a journal.
func recorded(dir string) int {
	seen := map[string]bool{}
	for e := range journal.Read(filepath.Join(dir, "journal")) {
		for _, r := range e.Records {
			if r.Result != nil {
				seen[r.Result.Check] = true
			}
		}
	}
	return len(seen)
}

func TestFigureFirstResult(t *testing.T) {
	wanted(t)
	p := startServers(t)
	_, dir, started := runAgent(t, p, 40, "1m")
	var first time.Duration
	for time.Since(started) < 10*time.Second {
		n := recorded(dir)
		if n > 0 && first == 0 {
			first = time.Since(started)
		}
		if n == 40 {
			t.Logf("first result durable %s after the process started, all of 40 checks after %s", first.Round(time.Millisecond), time.Since(started).Round(time.Millisecond))
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d of 40 checks recorded after 10 s", recorded(dir))
}

func TestFigureIdle(t *testing.T) {
	wanted(t)
	p := startServers(t)
	cmd, _, _ := runAgent(t, p, 20, "1m")
	time.Sleep(5 * time.Second)
	before, start := cpuOf(cmd.Process.Pid), time.Now()
	time.Sleep(long())
	used, passed := cpuOf(cmd.Process.Pid)-before, time.Since(start).Seconds()
	t.Logf("20 checks a minute: %.2f s of processor time in %.0f s: %.2f %% of a core", used, passed, used/passed*100)
}

func TestFigureMemory(t *testing.T) {
	wanted(t)
	p := startServers(t)
	cmd, _, _ := runAgent(t, p, 100, "15s")
	for end := time.Now().Add(long()); time.Now().Before(end); time.Sleep(10 * time.Second) {
		rss, anon, file := memory(cmd.Process.Pid)
		t.Logf("100 checks at 15 s: resident %.1f MiB, of which %.1f anonymous and %.1f of the program's file", rss, anon, file)
	}
}

// The kinds that judge lines, ten to thirty times as often as a plan has them, beside what a desk checks anyhow.
func TestFigureLines(t *testing.T) {
	wanted(t)
	p := startServers(t)
	cmd, _, _ := runAgent(t, p, 40, "1m",
		"{id: n.gateway, kind: gateway, every: 15s, timeout: 3s, path: lan, with: {host: 127.0.0.1}}",
		"{id: n.ping, kind: ping, every: 30s, timeout: 3s, with: {host: 127.0.0.1}}",
		"{id: n.path, kind: path, every: 30s, timeout: 10s, confirm: 0, with: {host: 127.0.0.1}}",
		fmt.Sprintf("{id: n.line, kind: line, every: 30s, timeout: 3s, with: {anchors: [%q], down_mbps: 100, up_mbps: 100}}", p.TCP),
		fmt.Sprintf("{id: n.captive, kind: captive, every: 30s, timeout: 5s, with: {url: %q, status: [200]}}", p.HTTP),
		fmt.Sprintf("{id: n.throughput, kind: throughput, every: 30s, timeout: 7s, with: {url: %q}}", p.HTTP))
	time.Sleep(5 * time.Second)
	before, start := cpuOf(cmd.Process.Pid), time.Now()
	time.Sleep(long())
	used, passed := cpuOf(cmd.Process.Pid)-before, time.Since(start).Seconds()
	rss, anon, _ := memory(cmd.Process.Pid)
	t.Logf("40 checks a minute and the kinds of lines twice a minute: %.2f s of processor time in %.0f s: %.2f %% of a core; resident %.1f MiB, of which %.1f anonymous",
		used, passed, used/passed*100, rss, anon)
}

// What the agent may cost, with all kinds of check that a desk asks of lines, names and mail.
const (
	mostShare    = 0.01 // of a core
	mostResident = 20.0 // MiB
)

// Every kind of line, name and mail once a minute, which is more than a plan has of most, and the gateway as a plan has it.
func TestFigureKinds(t *testing.T) {
	wanted(t)
	p := startServers(t)
	tcpPort := p.TCP[strings.LastIndexByte(p.TCP, ':')+1:]
	var more []string
	for _, c := range []struct{ kind, rest, with string }{
		{"gateway", "every: 15s, timeout: 6s, path: lan", "host: 127.0.0.1"},
		{"ping", "every: 1m, timeout: 5s", "host: 127.0.0.1"},
		{"tcp", "every: 1m, timeout: 5s", fmt.Sprintf("address: %q", p.TCP)},
		{"uplink", "every: 1m, timeout: 5s", fmt.Sprintf("anchors: [%q, %q, %q]", p.TCP, p.SMTP, p.IMAP)},
		{"path", "every: 1m, timeout: 20s, confirm: 0", "host: 127.0.0.1"},
		{"line", "every: 1m, timeout: 5s", fmt.Sprintf("anchors: [%q], down_mbps: 100, up_mbps: 100", p.TCP)},
		{"throughput", "every: 1m, timeout: 20s, confirm: 0", fmt.Sprintf("url: %q, enabled: true, max_time: 5s", p.HTTP+"file")},
		{"captive", "every: 1m, timeout: 5s", fmt.Sprintf("url: %q, status: [200]", p.HTTP)},
		{"neighbours", "every: 1m, timeout: 5s", "known: []"},
		{"ntp", "every: 1m, timeout: 5s", fmt.Sprintf("servers: [%q]", p.NTP)},
		{"device", "every: 1m, timeout: 10s", "host: 127.0.0.1, ports: [" + tcpPort + "]"},
		{"dns", "every: 1m, timeout: 5s", fmt.Sprintf("name: tuky.test, server: %q", p.DNS)},
		{"zone", "every: 1m, timeout: 10s", fmt.Sprintf("name: tuky.test, server: %q, family: ip4", p.DNS)},
		{"hijack", "every: 1m, timeout: 10s", fmt.Sprintf("name: www.tuky.test, answers: [192.0.2.1], missing: [\"missing-{random}.tuky.test\"], server: %q", p.DNS)},
		{"smtp", "every: 1m, timeout: 10s", fmt.Sprintf("address: %q, roots: %q", p.SMTP, p.Roots)},
		{"imap", "every: 1m, timeout: 10s", fmt.Sprintf("address: %q, roots: %q", p.IMAP, p.Roots)},
		{"pop3", "every: 1m, timeout: 10s", fmt.Sprintf("address: %q, roots: %q", p.POP3, p.Roots)},
		{"maildns", "every: 1m, timeout: 10s", fmt.Sprintf("name: tuky.test, server: %q", p.DNS)},
		{"mailloop", "every: 1m, timeout: 20s", fmt.Sprintf("address: %q, imap: %q, roots: %q, mailbox: a@tuky.test, user: a, password: {secret: letters}, key: {secret: letters}, pace: 10m, wait: 0s", p.SMTP, p.IMAP, p.Roots)},
	} {
		more = append(more, fmt.Sprintf("{id: n.%s, kind: %s, %s, with: {%s}}", c.kind, c.kind, c.rest, c.with))
	}
	cmd, dir, _ := runAgent(t, p, 0, "1m", more...)
	time.Sleep(5 * time.Second)
	before, start := cpuOf(cmd.Process.Pid), time.Now()
	var peak, own float64
	for end := start.Add(long()); time.Now().Before(end); time.Sleep(time.Second) {
		rss, anon, _ := memory(cmd.Process.Pid)
		peak, own = max(peak, rss), max(own, anon)
	}
	used, passed := cpuOf(cmd.Process.Pid)-before, time.Since(start).Seconds()
	last := map[string]string{}
	for e := range journal.Read(filepath.Join(dir, "journal")) {
		for _, r := range e.Records {
			if r.Result != nil {
				last[r.Result.Check] = string(r.Result.Reason) + " " + r.Result.Detail
			}
		}
	}
	for id, said := range last {
		if !strings.HasPrefix(said, "ok ") {
			t.Logf("%s: %s", id, said)
		}
	}
	if passed > 60 && len(last) < len(more) {
		t.Errorf("%d of %d checks recorded: these figures mean nothing", len(last), len(more))
	}
	t.Logf("%d kinds once a minute: %.2f s of processor time in %.0f s: %.2f %% of a core; resident %.1f MiB at most, of which %.1f anonymous", len(more), used, passed, used/passed*100, peak, own)
	if used/passed > mostShare || peak > mostResident {
		t.Errorf("more than %g of a core or %g MiB", mostShare, mostResident)
	}
}
