package servers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/kinds"
)

// A transcript keeps what servers print.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// localhost is a Place of a test, at an address of loopback of its own that no other program uses.
func localhost(t *testing.T) Place {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "egovmon-servers-") // not t.TempDir: servers' own users must get in
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	said := &transcript{}
	t.Cleanup(func() {
		if t.Failed() {
			lines := strings.Split(strings.TrimSpace(said.String()), "\n")
			t.Logf("the server said:\n%s", strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	pid := os.Getpid()
	return Loopback(dir, netip.AddrFrom4([4]byte{127, byte(100 + pid>>16%100), byte(pid >> 8), byte(pid)}), said)
}

// namespace is a Place in a network namespace of the test, at the far end of a line that ends in this one.
func namespace(t *testing.T) Place {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a network namespace is made as root only")
	}
	need(t, "ip")
	p := localhost(t)
	pid := os.Getpid()
	name, line := fmt.Sprintf("egovsrv%d", pid), fmt.Sprintf("egs%d", pid)
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces here: ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	// Addresses of RFC 2544, which nobody has.
	net4 := func(host int) netip.Addr {
		return netip.AddrFrom4([4]byte{198, 18 + byte(pid>>14&1), byte(pid >> 6), byte(pid<<2) + byte(host)})
	}
	run("netns", "add", name)
	t.Cleanup(func() { run("netns", "del", name) })
	run("-n", name, "link", "set", "lo", "up")
	run("link", "add", line, "type", "veth", "peer", "name", "eth0", "netns", name)
	run("addr", "add", net4(1).String()+"/30", "dev", line)
	run("link", "set", line, "up")
	run("-n", name, "addr", "add", net4(2).String()+"/30", "dev", "eth0")
	run("-n", name, "link", "set", "eth0", "up")
	p.Netns, p.IP, p.Port = name, net4(2), nil
	return p
}

// A look is a run of one of our kinds of check, and what must come out of it.
type look struct {
	kind   string
	with   check.Options
	secret string
	reason check.Reason
	detail string
}

// see runs a check.
func see(t *testing.T, what string, l look) check.Facts {
	t.Helper()
	i := slices.IndexFunc(kinds.Table(), func(k check.Kind) bool { return k.Name == l.kind })
	if i < 0 {
		t.Fatalf("no kind %q", l.kind)
	}
	k := kinds.Table()[i]
	env := checktest.WithEnv(check.Env{Now: time.Now, Secret: func(string) (string, error) { return l.secret, nil }})
	f := must[check.Func](t)(k.New(checktest.WithDefaults(t, k, l.with), env))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := f(ctx)
	if r.Reason != l.reason || !strings.Contains(r.Detail, l.detail) {
		t.Errorf("%s: got %s %q, want %s %q", what, r.Reason, r.Detail, l.reason, l.detail)
	}
	return r.Facts
}

// A step changes a server, or not, and looks at it.
type step struct {
	name   string
	change func() error // nil for none
	look
}

// walk goes through steps in their order; each change is made twice, which must be the same as once.
func walk(t *testing.T, steps []step) {
	t.Helper()
	for _, s := range steps {
		if s.change != nil {
			for range 2 {
				if err := s.change(); err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
			}
		}
		see(t, s.name, s.look)
	}
}

// places runs a test on loopback and in a network namespace.
func places(t *testing.T, f func(t *testing.T, p Place)) {
	t.Run("loopback", func(t *testing.T) { f(t, localhost(t)) })
	t.Run("namespace", func(t *testing.T) { f(t, namespace(t)) })
}

// need skips a test without these programs.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if err := Require(programs...); err != nil {
		t.Skip(err)
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestMissingPrograms(t *testing.T) {
	err := Require("sh", "no-such-program")
	want := "missing on this machine: no-such-program: run as root: apt-get install"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := Require("sh"); err != nil {
		t.Error(err)
	}
	p := localhost(t)
	err = Command(t.Context(), p, "no-such-program", "x").Run()
	if _, ok := Missing(fmt.Errorf("up: %w", err)); !ok {
		t.Errorf("got %v, want a missing program", err)
	}
	e := &MissingError{Programs: []string{"named", "nginx"}, Packages: []string{"bind9", "nginx-light"}}
	if pkgs, ok := Missing(errors.Join(e)); !ok || !slices.Equal(pkgs, e.Packages) || !strings.HasSuffix(e.Error(), "--no-install-recommends bind9 nginx-light") {
		t.Errorf("got %v %v %v", pkgs, ok, e)
	}
	for _, name := range Programs() {
		if packageOf()[name] == "" {
			t.Errorf("nobody knows where %s comes from", name)
		}
	}
}

// family starts a program that starts another one, and returns the numbers of both.
func family(ctx context.Context, t *testing.T, p Place) (*Process, []int) {
	t.Helper()
	cmd := Command(ctx, p, "sh", "-c", "trap '' TERM; sleep 1000 & echo $$ $!; wait; wait")
	out := must[interface{ Read([]byte) (int, error) }](t)(cmd.StdoutPipe())
	r := must[*Process](t)(Start(cmd))
	t.Cleanup(func() { _ = r.SignalGroup(syscall.SIGKILL); <-r.Done() })
	line := must[string](t)(bufio.NewReader(out).ReadString('\n'))
	var pids []int
	for f := range strings.FieldsSeq(line) {
		pids = append(pids, must[int](t)(strconv.Atoi(f)))
	}
	return r, pids
}

func allGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		err := until(t.Context(), nil, "gone", func() error {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil || strings.Contains(string(text), ") Z ") {
				return nil // a dead one that nobody asked for yet is gone
			}
			return errors.New("still there")
		})
		if err != nil {
			t.Errorf("process %d: %v", pid, err)
		}
	}
}

func TestProcessesEndWithTheirContext(t *testing.T) {
	places(t, func(t *testing.T, p Place) {
		ctx, cancel := context.WithCancel(t.Context())
		r, pids := family(ctx, t, p)
		if r.Pid() != pids[0] {
			t.Errorf("process %d, want %d: signals would go elsewhere", r.Pid(), pids[0])
		}
		cancel()
		<-r.Done()
		allGone(t, pids)
		if r.Err() == nil || r.Stop() != nil || r.Signal(syscall.SIGHUP) != nil {
			t.Error("a program that has ended is not taken as one")
		}
	})
}

// A thread that ends takes programs with it that it started; the one that Start uses does not end before them.
func TestProcessOutlivesThreads(t *testing.T) {
	p := localhost(t)
	var threads, starts sync.WaitGroup
	running := make([]*Process, 30)
	for i := range running {
		for range 5 {
			threads.Go(runtime.LockOSThread) // and never unlocked: the thread ends
		}
		starts.Go(func() {
			r, err := Start(Command(t.Context(), p, "sleep", "1000"))
			if err != nil {
				t.Error(err)
				return
			}
			running[i] = r
		})
	}
	threads.Wait()
	starts.Wait()
	for range 100 {
		threads.Go(runtime.LockOSThread)
	}
	threads.Wait()
	for _, r := range running {
		if r != nil && !r.Running() {
			t.Error("a program is gone:", r.Err())
		}
	}
	if err := (Place{Netns: "no-such-namespace"}).Do(func() error { return nil }); err == nil {
		t.Error("entered a namespace that is not there")
	}
}

// A program that AppArmor keeps out of its Place runs from a copy in it, and any other from where it is.
func TestUnconfined(t *testing.T) {
	for _, tt := range []struct {
		name, enabled, profile string
		copied                 bool
	}{
		{"no AppArmor", "", "", false},
		{"AppArmor is off", "N\n", "usr.sbin.named", false},
		{"no profile", "Y\n", "usr.sbin.cupsd", false},
		{"a profile", "Y\n", "usr.sbin.named", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root, dir := t.TempDir(), t.TempDir()
			program := filepath.Join(root, "usr/sbin/named")
			profile := strings.ReplaceAll(strings.TrimPrefix(filepath.Dir(program), "/"), "/", ".") + "." + strings.TrimPrefix(tt.profile, "usr.sbin.")
			for path, text := range map[string]string{program: "program", filepath.Join(root, "etc/apparmor.d", profile): "", filepath.Join(root, "sys/module/apparmor/parameters/enabled"): tt.enabled} {
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				got := must[string](t)(unconfined(root, dir, program))
				text := string(must[[]byte](t)(os.ReadFile(got)))
				st := must[os.FileInfo](t)(os.Stat(got))
				if (got != program) != tt.copied || text != "program" || st.Mode().Perm() != 0o755 {
					t.Errorf("runs %s (%q, %s)", got, text, st.Mode())
				}
			}
		})
	}
}

func TestListenInPlace(t *testing.T) {
	places(t, func(t *testing.T, p Place) {
		l := must[interface {
			Close() error
		}](t)(p.Listen(t.Context(), 80))
		defer l.Close()
		c, err := p.DialContext(t.Context(), "tcp", p.at(80))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if p.Netns != "" {
			elsewhere := p
			elsewhere.Netns = ""
			if _, err := elsewhere.Listen(t.Context(), 80); err == nil {
				t.Error("the address is known outside of the namespace")
			}
		}
		u, err := p.ListenPacket(t.Context(), 123)
		if err != nil {
			t.Fatal(err)
		}
		u.Close()
	})
}

func TestPorts(t *testing.T) {
	ip := netip.MustParseAddr("127.0.0.1")
	port := FreePorts(ip)
	// None that this system hands out by itself: by default those from 32768 on.
	if a, b := port(80), port(443); a == b || a != port(80) || a < 1024 || a >= 32768 || b >= 32768 {
		t.Errorf("ports %d and %d", a, b)
	}
	if got := (Place{IP: ip}).url("https", "mc.test", 443); got != "https://mc.test" {
		t.Error(got)
	}
	if got := (Place{IP: ip, Port: func(std int) int { return std + 9000 }}).url("https", "mc.test", 443); got != "https://mc.test:9443" {
		t.Error(got)
	}
}
