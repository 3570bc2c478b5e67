package checktest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// A World is some network namespaces of a test's own, joined as it likes. Everything in it goes when the test ends.
type World struct {
	t      testing.TB
	prefix string
	links  int
}

var worlds atomic.Int32 // so that two worlds of one process have different names

// NewWorld skips the test where namespaces cannot be made, and says why.
func NewWorld(t testing.TB) *World {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root: run the tests as root")
	}
	for program, pkg := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the program %s is missing: apt-get install %s", program, pkg)
		}
	}
	w := &World{t: t, prefix: fmt.Sprintf("eg%s-%d-", strconv.FormatInt(int64(os.Getpid()), 36), worlds.Add(1))}
	if out, err := exec.Command("ip", "netns", "add", w.prefix+"try").CombinedOutput(); err != nil {
		t.Skipf("network namespaces are not allowed here: %s", bytes.TrimSpace(out))
	}
	w.remove("try")
	return w
}

func (w *World) remove(site string) {
	if out, err := exec.Command("ip", "netns", "del", w.prefix+site).CombinedOutput(); err != nil {
		w.t.Errorf("ip netns del: %s", bytes.TrimSpace(out))
	}
}

// Site adds a namespace. A router passes packets on, and does so without limit of its ICMP errors.
func (w *World) Site(site string, router bool) {
	w.t.Helper()
	w.command("", "ip", "netns", "add", w.prefix+site)
	w.t.Cleanup(func() { w.remove(site) })
	w.IP(site, "link set lo up")
	settings := map[string]string{
		"ipv4/icmp_ratelimit": "0", "ipv4/icmp_msgs_per_sec": "100000", "ipv6/icmp/ratelimit": "0",
		"ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0", "ipv6/conf/default/accept_dad": "0",
	}
	if router {
		settings["ipv4/ip_forward"], settings["ipv6/conf/all/forwarding"] = "1", "1"
	}
	for name, value := range settings {
		w.Sysctl(site, name, value)
	}
}

// Sysctl writes a setting below /proc/sys/net.
func (w *World) Sysctl(site, name, value string) {
	w.t.Helper()
	w.Do(site, func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644) })
}

// Join puts a cable between two sites. Each end is an interface named after the other site, with its addresses
// (10.0.0.1/24, 2001:db8::1/64).
func (w *World) Join(a string, aAddrs []string, b string, bAddrs []string) {
	w.t.Helper()
	w.links++
	w.command("", "ip", "link", "add", b, "netns", w.prefix+a, "type", "veth", "peer", "name", a, "netns", w.prefix+b)
	for _, end := range []struct {
		site, iface string
		addrs       []string
	}{{a, b, aAddrs}, {b, a, bAddrs}} {
		var text []string
		for _, addr := range end.addrs {
			option := ""
			if strings.Contains(addr, ":") {
				option = " nodad"
			}
			text = append(text, "addr add "+addr+" dev "+end.iface+option)
		}
		w.IP(end.site, append(text, "link set "+end.iface+" up")...)
	}
}

// IP runs commands of the program ip in a site.
func (w *World) IP(site string, commands ...string) {
	w.t.Helper()
	cmd := exec.Command("ip", "-n", w.prefix+site, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("%s: ip %s: %v: %.300s", site, strings.Join(commands, "; "), err, bytes.TrimSpace(out))
	}
}

// Nft loads rules of nftables into a site, in place of those there.
func (w *World) Nft(site, rules string) {
	w.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", w.prefix+site, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader("flush ruleset\n" + rules + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("%s: nft: %v: %.300s", site, err, bytes.TrimSpace(out))
	}
}

// Shape lets an interface of a site send no more than a rate, as tc writes it (4mbit).
func (w *World) Shape(site, iface, rate string) {
	w.t.Helper()
	w.command(site, "tc", "qdisc", "add", "dev", iface, "root", "tbf", "rate", rate, "burst", "32kb", "latency", "400ms")
}

// Counted returns the packets that the named counter of table inet t has seen.
func (w *World) Counted(site, counter string) int {
	w.t.Helper()
	out := w.command(site, "nft", "list", "counter", "inet", "t", counter)
	_, after, _ := strings.Cut(out, "packets ")
	n, err := strconv.Atoi(strings.Fields(after + " ?")[0])
	if err != nil {
		w.t.Fatalf("%s: counter %s: %.200s", site, counter, out)
	}
	return n
}

func (w *World) command(site, name string, args ...string) string {
	w.t.Helper()
	if site != "" {
		name, args = "ip", append([]string{"netns", "exec", w.prefix + site, name}, args...)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %s: %v: %.300s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return string(out)
}

// Resolver makes what [World.Command] runs in a site ask this name server, and know no names by file.
func (w *World) Resolver(site, server string) {
	w.t.Helper()
	dir := "/etc/netns/" + w.prefix + site
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.RemoveAll(dir) })
	for name, text := range map[string]string{"resolv.conf": "nameserver " + server + "\n", "hosts": "127.0.0.1 localhost\n"} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

// Command makes a command that runs in a site.
func (w *World) Command(ctx context.Context, site, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", w.prefix + site, name}, args...)...)
}

// Do calls f on a thread of the site: sockets that f opens itself belong there. What f starts as goroutines does not.
func (w *World) Do(site string, f func() error) {
	w.t.Helper()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		fd, err := unix.Open("/run/netns/"+w.prefix+site, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			result <- err
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	if err := <-result; err != nil {
		w.t.Fatalf("%s: %v", site, err)
	}
}

// childEnv tells a test program that it is to run a check and nothing else.
const childEnv = "EGOVMON_CHECK"

// A Run is a check that a child of the test runs in a site.
type Run struct {
	Plan  string        // the check's mapping as in a plan, e.g. "{id: a.b, kind: ping, every: 60s, with: {…}}"
	Lines string        // the lines of the machine as in a plan; "" for none
	Times int           // how often; 0 is once
	Limit time.Duration // of each time; 0 is 20 s
	User  int           // user id to become first; 0 stays root
	Gate  string        // a named pipe that the child reads to its end before the second time; "" for none
}

// Check runs a check in a site, in a process of its own. The test program must call [Child] in its TestMain.
func (w *World) Check(site string, r Run) []check.Result {
	w.t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := w.Command(w.t.Context(), site, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text), AtOnce)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("%s: %v: %.500s", site, err, bytes.TrimSpace(said.Bytes()))
	}
	var rs []check.Result
	if err := json.Unmarshal(out, &rs); err != nil {
		w.t.Fatalf("%s: %v: %.300s", site, err, out)
	}
	return rs
}

// Child runs the check that a parent asked for and ends the process; it returns when nobody asked.
func Child(kinds check.Table) {
	text, asked := os.LookupEnv(childEnv)
	if !asked {
		return
	}
	rs, err := runChild(text, kinds)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(rs)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runChild(text string, kinds check.Table) ([]check.Result, error) {
	var r Run
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, err
	}
	head := "plan: x\n"
	if r.Lines != "" {
		head += "lines: " + r.Lines + "\n"
	}
	p, err := plan.Parse([]byte(head+"checks:\n  - "+r.Plan+"\n"), kinds)
	if err != nil {
		return nil, err
	}
	c := p.Checks[0]
	k, _ := kinds.Lookup(c.Kind)
	if r.Limit == 0 {
		r.Limit = 20 * time.Second
	}
	if r.User != 0 {
		if err := syscall.Setgroups(nil); err != nil {
			return nil, err
		}
		if err := syscall.Setgid(r.User); err != nil {
			return nil, err
		}
		if err := syscall.Setuid(r.User); err != nil {
			return nil, err
		}
	}
	f, err := k.New(c.Options, check.Env{Check: c.ID, Timeout: r.Limit, Now: time.Now, Source: p.Source(c.Path)})
	if err != nil {
		return nil, err
	}
	var rs []check.Result
	for i := range max(1, r.Times) {
		if i == 1 && r.Gate != "" {
			if _, err := os.ReadFile(r.Gate); err != nil {
				return nil, err
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), r.Limit)
		rs = append(rs, f(ctx))
		cancel()
	}
	return rs, nil
}
