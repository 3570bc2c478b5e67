package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"egovmon/deploy/lab/control"
	"egovmon/deploy/lab/district"
	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/stage"
)

// within is set for what a test starts: it never runs the tests again.
const within = "EGOVMON_LAB_WITHIN_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(within) != "" && filepath.Base(os.Args[0]) != "lab" {
		os.Exit(3)
	}
	testscript.Main(tests{m}, map[string]func(){"lab": main})
}

// tests takes the programs away that the tests have built.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	code := t.m.Run()
	if programsDir != "" {
		_ = os.RemoveAll(programsDir)
	}
	return code
}

// patience bounds every wait of a script; nothing hangs on its length but the time until a failure is told.
const patience = 5 * time.Minute

// labProgram runs this program as the process `lab`.
func labProgram(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Args[0] = "lab"
	cmd.Env = append(os.Environ(), within+"=1")
	return cmd
}

// freeListen is an address for a board.
func freeListen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// programsDir holds the programs once they are built.
var programsDir string

// programs builds both programs once for all tests.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "egovmon-lab-test-")
	if err != nil {
		return "", err
	}
	programsDir = dir
	return dir, build(context.Background(), dir)
})

func built(t *testing.T) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// open makes a folder that other users may enter, as some servers give up being root.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "egovmon-lab-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// up puts a lab up and takes it down at the test's end. Its transcript is an artifact of the test.
func up(t *testing.T, args ...string) (dir string) {
	t.Helper()
	dir = filepath.Join(open(t), "lab")
	args = append([]string{"up", "--dir", dir, "--bin", built(t), "--listen", freeListen(t), "--transcript", filepath.Join(t.ArtifactDir(), "transcript.ndjson")}, args...)
	begin := time.Now()
	out, err := labProgram(t.Context(), t, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("lab up: %v\n%.2000s", err, out)
	}
	t.Logf("up after %s", time.Since(begin).Round(100*time.Millisecond))
	t.Cleanup(func() { down(t, dir, !slices.Contains(args, "--loopback")) })
	return dir
}

// down takes a lab down, and fails when anything is left.
func down(t *testing.T, dir string, spaces bool) {
	t.Helper()
	out, err := labProgram(context.Background(), t, "down", "--dir", dir).CombinedOutput()
	if err != nil {
		t.Errorf("lab down: %v\n%.2000s", err, out)
	}
	nothingLeft(t, dir, spaces)
}

// nothingLeft fails when a process, mount or file of a lab is there, or a namespace of one that had some.
func nothingLeft(t *testing.T, dir string, spaces bool) {
	t.Helper()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	if left := strangers(); spaces && len(left) > 0 {
		t.Errorf("namespaces are left: %.200v", left)
	}
	if names, _ := filepath.Glob("/etc/netns/egl-*"); spaces && len(names) > 0 {
		t.Errorf("files are left: %.200v", names)
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir) {
		t.Errorf("a disk below %s is left", dir)
	}
	if left := marked(dir); len(left) > 0 {
		t.Errorf("processes are left: %.200v", left)
	}
}

// marked lists the programs that a lab of this folder has started.
func marked(dir string) (out []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		env, _ := os.ReadFile(f)
		if slices.Contains(strings.Split(string(env), "\x00"), "EGOVMON_LAB="+dir) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
			out = append(out, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return out
}

// needRoot skips a test of namespaces where they are not to be had.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("root is needed for network namespaces: run the test as root")
	}
	if err := servers.Require("ip"); err != nil {
		t.Skip(err)
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	dir := up(t, "--loopback")
	c := control.Dial(dir)
	st, err := c.Status(t.Context())
	if err != nil || len(st.Links) > 0 || len(st.Units) != stage.LoopbackTowns+1 || !slices.Contains(st.Offered, "portal-defaced") || slices.Contains(st.Offered, "line-cut") {
		t.Fatalf("the status is %+v, %v", st, err)
	}
	if out, err := labProgram(t.Context(), t, "up", "--dir", dir, "--loopback").CombinedOutput(); err == nil || !strings.Contains(string(out), "running in "+dir+" already") {
		t.Errorf("a second lab in the folder: %v: %.300s", err, out)
	}
	if out, err := labProgram(t.Context(), t, "fault", "--dir", dir, "line-cut").CombinedOutput(); err == nil || !strings.Contains(string(out), "network namespaces") {
		t.Errorf("a line of a lab on loopback: %v: %.300s", err, out)
	}
	if _, err := c.Fault(t.Context(), "portal-defaced", "", true); err != nil {
		t.Fatal(err)
	}
	waitFor(t.Fatalf, c, "the portal is down", func(b stage.Board) bool { return shows(b, "cong_h", "", "down", "content_forbidden") })
	if _, err := c.Fault(t.Context(), "portal-defaced", "", false); err != nil {
		t.Fatal(err)
	}
	waitFor(t.Fatalf, c, "the portal is up", func(b stage.Board) bool { return shows(b, "cong_h", "", "up", "") })
}

// seriesOf asks a server of a lab's status for the series of a PromQL expression, each as its labels and its number.
func seriesOf(c *control.Client, server, expr string) ([]string, error) {
	st, err := c.Status(context.Background())
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(st.Links, func(l stage.Link) bool { return l.Name == server })
	if i < 0 {
		return nil, fmt.Errorf("this lab has no %s: %v", server, st.Links)
	}
	u, err := url.Parse(st.Links[i].URL)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawQuery = "/api/v1/query", url.Values{"query": {expr}, "nocache": {"1"}}.Encode()
	resp, err := http.Get(u.String())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var a struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&a); err != nil || a.Error != "" {
		return nil, fmt.Errorf("%s: %s %.300s %w", expr, resp.Status, a.Error, err)
	}
	var out []string
	for _, r := range a.Data.Result {
		out = append(out, fmt.Sprint(r.Metric, " ", r.Value[1]))
	}
	return out, nil
}

// waitSeries asks until there is a series.
func waitSeries(fail func(format string, args ...any), c *control.Client, server, expr string) {
	var got []string
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if got, err = seriesOf(c, server, expr); err == nil && len(got) > 0 {
			return
		}
	}
	fail("waited %s until %s has %s: %v", patience, server, expr, err)
}

// needSeries skips a test of what stands beside the collector only where a test asks for it.
func needSeries(t *testing.T) {
	t.Helper()
	if err := servers.Require(servers.MetricsPrograms()...); err != nil {
		t.Skip(err)
	}
}

// TestSeries puts Prometheus, Alertmanager and VictoriaMetrics beside the collector: they have what it shows, and an alert of
// the shipped rules comes out.
func TestSeries(t *testing.T) {
	t.Parallel()
	needSeries(t)
	dir := up(t, "--loopback", "--prometheus", "--communes", "1")
	c := control.Dial(dir)
	for _, q := range []struct{ server, expr string }{
		{"Prometheus", `up{job="egovmon-collector"} == 1`},
		{"Prometheus", `egovmon_service_state{service="cong_h",state="up",unit=""} == 1`},
		{"Prometheus", `ALERTS{alertname="EgovWatchdog",alertstate="firing"}`},
		{"Prometheus", `egovmon_check_success{job="",unit=~"xa-.*"} == 1`}, // by remote write
		{"VictoriaMetrics", `egovmon_check_success{job="",unit=~"xa-.*"} == 1`},
	} {
		waitSeries(t.Errorf, c, q.server, q.expr)
	}
	if _, err := c.Fault(t.Context(), "portal-stopped", "", true); err != nil {
		t.Fatal(err)
	}
	waitSeries(t.Errorf, c, "Prometheus", `ALERTS{alertname="EgovServiceDown",service="cong_h"}`)
	waitSeries(t.Errorf, c, "VictoriaMetrics", `egovmon_check_success{service="cong_h"} == 0`)
	out, err := labProgram(t.Context(), t, "status", "--dir", dir).CombinedOutput()
	for _, want := range []string{"Prometheus: http://127.0.0.1:", "Alertmanager: http://127.0.0.1:", "VictoriaMetrics: http://127.0.0.1:"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("the status says %v, %.1000s, want %s", err, out, want)
		}
	}
	if left := strings.Join(marked(dir), "\n"); strings.Count(left, "prometheus") < 2 || !strings.Contains(left, "victoria") {
		t.Errorf("what bears the lab's mark is %.1000s", left)
	}
}

// kill ends the process that a lab lives in without warning.
func kill(t *testing.T, dir string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "lab.json"))
	if err != nil {
		t.Fatal(err)
	}
	var trace stage.Trace
	if err := json.Unmarshal(b, &trace); err != nil || trace.Keeper.Pid < 2 {
		t.Fatalf("the trace names keeper %d, %v", trace.Keeper.Pid, err)
	}
	if err := syscall.Kill(trace.Keeper.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// TestKilled kills a lab on loopback without warning: the next one clears up after it. What is left of one with real servers is
// seen at the end of the scripts.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := up(t, "--loopback")
	kill(t, dir)
	if out, err := labProgram(t.Context(), t, "up", "--loopback", "--dir", dir, "--bin", built(t), "--listen", freeListen(t)).CombinedOutput(); err != nil {
		t.Fatalf("lab up after a kill: %v\n%.2000s", err, out)
	}
}

// TestMenu runs the lab without a command, as an officer would: it ends with its terminal.
func TestMenu(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "lab")
	cmd := labProgram(t.Context(), t, "--loopback", "--dir", dir, "--bin", built(t), "--listen", freeListen(t))
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
	read := func(until string) string {
		var got bytes.Buffer
		for b := make([]byte, 1); !strings.HasSuffix(got.String(), until); {
			if _, err := out.Read(b); err != nil {
				t.Fatalf("the lab ended (%v) before it said %q: %.1000s", err, until, got.String())
			}
			got.Write(b)
		}
		return got.String()
	}
	if menu := read("> "); !strings.Contains(menu, "http://127.0.0.1:") || !strings.Contains(menu, "đang bảo trì") {
		t.Errorf("no link or no menu: %.500s", menu)
	}
	for _, step := range []struct{ key, want string }{{"1\n", "portal-stopped"}, {"1\n", "đã gỡ"}, {"99\n", "1 … "}} {
		if _, err := in.Write([]byte(step.key)); err != nil {
			t.Fatal(err)
		}
		if said := read("> "); !strings.Contains(said, step.want) {
			t.Errorf("after %q it says %.300s, want %s", step.key, said, step.want)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	nothingLeft(t, dir, false)
}

// alone lets one test at a time have the lab's namespaces.
var aloneMu sync.Mutex

func alone() func() {
	aloneMu.Lock()
	return aloneMu.Unlock
}

// shows reports whether a cell of the board has a state, and a reason unless that is "".
func shows(b stage.Board, service, unit, state, reason string) bool {
	return slices.ContainsFunc(b.Cells, func(c stage.Cell) bool {
		return c.Service == service && c.Unit == unit && c.State == state && (reason == "" || c.Reason == reason)
	})
}

// waitFor asks for the board until it is as it should be.
func waitFor(fail func(format string, args ...any), c *control.Client, what string, ok func(stage.Board) bool) {
	var b stage.Board
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if b, err = c.Board(context.Background()); err == nil && ok(b) {
			return
		}
	}
	fail("waited %s until %s: %v; open are %.300v", patience, what, err, openOf(b))
}

// TestScripts plays scripts in one lab of six communes. Besides testscript's own commands there are
//
//	fault NAME [on|off] [UNIT]              brings a fault about, or takes it away
//	await state SERVICE UNIT STATE [REASON]  waits until the board shows it; UNIT - is the service as a whole
//	await incident KIND ID [closed]          waits until one is open: line UNIT, service SERVICE, fleet -
//	await check CHECK STATE [REASON]         waits until the district's own machine has this result of a check
//	await series SERVER EXPR                waits until Prometheus or VictoriaMetrics has a series, in a lab that has them ([series])
//	expect open N                           demands that N incidents are open
//	expect told N                           demands that the office was told N times since the script began
//	await once N                            waits until N incidents of the script have ended, each of which the office was told of by one message when it
//	                                        began and one when it ended
//	expect owners N                         demands that the open incidents have causes of N owners, each its own
//	expect letters N SERVICE                demands that N letters about incidents of a service were handed to the mail server, or tried
//	await letter SERVICE EVENT              waits until a letter about an event of such an incident is delivered
//
// At the end of a script every fault is off, and the next one begins when all is well again.
func TestScripts(t *testing.T) {
	t.Parallel()
	needRoot(t)
	if err := stage.Missing(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(alone())
	var options []string
	beside := servers.Require(servers.MetricsPrograms()...) == nil
	if beside {
		options = []string{"--prometheus"}
	}
	dir := up(t, options...)
	c := control.Dial(dir)
	// A lab of real servers is killed while faults are on: what takes it down afterwards finds all of it.
	t.Cleanup(func() {
		for _, f := range []string{"line-delay", "captive-portal", "line-loss", "disk-full"} {
			if _, err := c.Fault(context.Background(), f, "", true); err != nil {
				t.Error(err)
			}
		}
		if out, err := labProgram(context.Background(), t, "up", "--dir", filepath.Join(open(t), "another"), "--bin", built(t), "--listen", freeListen(t)).CombinedOutput(); err == nil || !strings.Contains(string(out), "another lab is running") {
			t.Errorf("two labs at once: %v: %.300s", err, out)
		}
		if len(marked(dir)) < 20 {
			t.Errorf("only %v bear the lab's mark", marked(dir))
		}
		kill(t, dir)
	})
	var one sync.Mutex
	t.Run("in the lab", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: filepath.Join("testdata", "script"),
			Condition: func(cond string) (bool, error) {
				switch cond {
				case "series":
					return beside, nil
				case "long":
					return *long, nil
				}
				return false, fmt.Errorf("there is no condition %s", cond)
			},
			Setup: func(e *testscript.Env) error {
				one.Lock()
				st, err := c.Status(context.Background())
				if err != nil {
					one.Unlock()
					return err
				}
				e.Setenv("LAB", dir)
				for i, u := range st.Units {
					e.Setenv("U"+strconv.Itoa(i+1), u.ID)
				}
				e.Values[startKey{}] = st.Lines
				e.Defer(func() {
					defer one.Unlock()
					settle(t, c)
				})
				return nil
			},
			Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
				"fault": func(ts *testscript.TestScript, neg bool, args []string) { playFault(ts, c, neg, args) },
				"await": func(ts *testscript.TestScript, _ bool, args []string) { playWait(ts, c, args) },
				"expect": func(ts *testscript.TestScript, _ bool, args []string) {
					n, err := strconv.Atoi(args[1])
					ts.Check(err)
					if got := count(ts, c, append(args, "")); got != n {
						ts.Fatalf("%s: %d, want %d", args[0], got, n)
					}
				},
			},
		})
	})
}

// long plays what the scripts mark with [long], too.
var long = flag.Bool("long", false, "play every phase of the lab's scripts; some minutes more")

type startKey struct{}

// settle ends all faults and waits until nothing is open.
func settle(t *testing.T, c *control.Client) {
	st, err := c.Status(context.Background())
	if err != nil {
		t.Error(err)
		return
	}
	for _, f := range st.Faults {
		if _, err := c.Fault(context.Background(), f.Fault, f.Unit, false); err != nil {
			t.Error(err)
		}
	}
	waitFor(t.Errorf, c, "all is well", func(b stage.Board) bool { return len(openOf(b)) == 0 && b.Ready(len(st.Units)) == nil })
}

func playFault(ts *testscript.TestScript, c *control.Client, neg bool, args []string) {
	on, unit := true, ""
	if len(args) > 1 {
		on = args[1] == "on"
	}
	if len(args) > 2 {
		unit = args[2]
	}
	_, err := c.Fault(context.Background(), args[0], unit, on)
	if neg != (err != nil) {
		ts.Fatalf("fault %s: %v", args[0], err)
	}
}

func playWait(ts *testscript.TestScript, c *control.Client, args []string) {
	if args[0] == "series" {
		waitSeries(ts.Fatalf, c, args[1], args[2])
		return
	}
	if args[0] == "open" {
		waitFor(ts.Fatalf, c, strings.Join(args, " "), func(b stage.Board) bool { return strconv.Itoa(len(openOf(b))) == args[1] })
		return
	}
	args = append(args, "", "")
	if args[0] == "letter" {
		waitFor(ts.Fatalf, c, strings.Join(args, " "), func(stage.Board) bool { return slices.Contains(letters(ts, args[1], args[2]), true) })
		return
	}
	if args[0] == "once" {
		waitFor(ts.Fatalf, c, strings.Join(args, " "), func(stage.Board) bool { return fmt.Sprint(once(ts, c)) == args[1] })
		return
	}
	if args[0] == "check" {
		var last stage.Seen
		var err error
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			last, err = c.Check(context.Background(), district.HomeProbe, args[1])
			if err == nil && last.State == args[2] && (args[3] == "" || last.Reason == args[3]) {
				return
			}
		}
		ts.Fatalf("%s: last %s (%s: %.200s), %v", strings.Join(args, " "), last.State, last.Reason, last.Detail, err)
	}
	unit := strings.TrimPrefix(args[2], "-")
	waitFor(ts.Fatalf, c, strings.Join(args, " "), func(b stage.Board) bool {
		if args[0] == "state" {
			return shows(b, args[1], unit, args[3], args[4])
		}
		return slices.ContainsFunc(b.Incidents, func(i stage.Incident) bool {
			return i.Kind == args[1] && i.Service+i.Unit == unit && i.Closed.IsZero() == (args[3] == "")
		})
	})
}

// count says how many incidents are open, how often the office was told since the script began, and so on.
func count(ts *testscript.TestScript, c *control.Client, args []string) (n int) {
	switch what := args[0]; what {
	case "open", "owners":
		b, err := c.Board(context.Background())
		ts.Check(err)
		owners := map[string]bool{}
		for _, i := range openOf(b) {
			owners[i.Cause.Owner] = true
		}
		if what == "owners" {
			return len(owners)
		}
		return len(openOf(b))
	case "letters":
		return len(letters(ts, args[2], ""))
	}
	from, _ := ts.Value(startKey{}).(int)
	lines, err := c.Lines(context.Background(), from)
	ts.Check(err)
	for _, l := range lines {
		if l.What == "told" {
			n++
		}
	}
	return n
}

// once counts the incidents that have ended since the script began, and of which the office was told when they began and when
// they ended. It fails when the office was told of something twice.
func once(ts *testscript.TestScript, c *control.Client) (n int) {
	from, _ := ts.Value(startKey{}).(int)
	lines, err := c.Lines(context.Background(), from)
	ts.Check(err)
	told := map[string]int{}
	for _, l := range lines {
		if l.What == "told" {
			told[l.Incident+" "+l.Event]++
		}
	}
	for what, times := range told {
		if times > 1 {
			ts.Fatalf("the office was told %d times: %s", times, what)
		}
	}
	for _, l := range lines {
		if l.What == "closed" && told[l.Incident+" opened"] == 1 && told[l.Incident+" closed"] == 1 {
			n++
		}
	}
	return n
}

// letters lists the letters about a service's incidents, and about an event of theirs unless that is "": those in the outbox,
// delivered or not.
func letters(ts *testscript.TestScript, service, event string) (delivered []bool) {
	outbox := filepath.Join(ts.Getenv("LAB"), "collector", "alerts")
	files, err := os.ReadDir(outbox)
	ts.Check(err)
	for _, f := range files {
		var r struct {
			Address struct{ Channel string }
			Covers  []struct{ Incident, Event string }
			Sent    time.Time
		}
		b, err := os.ReadFile(filepath.Join(outbox, f.Name()))
		if err != nil || json.Unmarshal(b, &r) != nil || r.Address.Channel != "mail" {
			continue
		}
		for _, c := range r.Covers {
			if strings.HasSuffix(c.Incident, "-service-"+service) && (event == "" || c.Event == event) {
				delivered = append(delivered, !r.Sent.IsZero())
			}
		}
	}
	return delivered
}
