package main

import (
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"egovmon/agent/daemon/daemontest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"agent": main})
}

// TestScripts runs the whole program. Besides testscript's own commands there are
//
//	exits CODE COMMAND…     runs a command that must end with this code
//	peers                   starts servers on loopback: $HTTP, $HTTPS, $ROOTS, $TCP, $DNS, $NOBODY, $WEB (host:port of $HTTPS)
//	fill FILE…              puts variables of the environment into files
//	blob FILE BYTES         makes a large file
//	collector               starts a collector on loopback: $COLLECTOR, $TOKEN
//	identity DIR            enrols a machine with it
//	plan VERSION FILE       puts a plan in force at the collector
//	archived PATTERN        waits until the collector holds a record whose check matches
//	called CALL             demands that the collector was called so
//	waitfile FILE PATTERN   waits until a file holds a match
//	damage DIR              changes a byte in the middle of the first segment of a journal
//	terminate               sends SIGTERM to what runs in the background
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Values[collectorKey{}] = new(*daemontest.Collector)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "peers": startPeers, "fill": fill, "blob": blob, "collector": startCollector, "identity": identity, "plan": setPlan,
			"archived": archived, "called": called, "waitfile": waitFile, "terminate": terminate, "damage": damage,
		},
	})
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func startPeers(ts *testscript.TestScript, _ bool, _ []string) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte("<!doctype html><meta charset=utf-8><title>Tứ Kỳ</title>"))
	})
	plain, secure := httptest.NewServer(page), httptest.NewTLSServer(page)
	ts.Defer(plain.Close)
	ts.Defer(secure.Close)
	secure.Config.ErrorLog = nil
	roots := ts.MkAbs("roots.pem")
	ts.Check(os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600))
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv("NOBODY", nobody.Addr().String())
	ts.Check(nobody.Close())
	names, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	s := &dns.Server{PacketConn: names, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if rr, err := dns.NewRR(q.Question[0].Name + " 60 IN A 192.0.2.1"); err == nil {
			m.Answer = []dns.RR{rr}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	ts.Defer(func() { _ = names.Close() })
	ts.Setenv("HTTP", plain.URL)
	ts.Setenv("HTTPS", secure.URL)
	ts.Setenv("WEB", strings.TrimPrefix(secure.URL, "https://"))
	ts.Setenv("TCP", strings.TrimPrefix(plain.URL, "http://"))
	ts.Setenv("DNS", names.LocalAddr().String())
	ts.Setenv("ROOTS", roots)
}

func fill(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

func blob(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(f.Truncate(n))
	ts.Check(f.Close())
}

// A script keeps its collector under collectorKey.
type collectorKey struct{}

func collectorOf(ts *testscript.TestScript) *daemontest.Collector {
	return *ts.Value(collectorKey{}).(**daemontest.Collector)
}

const machine = "pc-an-thanh-01"

func startCollector(ts *testscript.TestScript, _ bool, _ []string) {
	c, err := daemontest.New()
	ts.Check(err)
	ts.Defer(c.Close)
	*ts.Value(collectorKey{}).(**daemontest.Collector) = c
	ts.Setenv("COLLECTOR", c.URL)
	ts.Setenv("TOKEN", c.Token(machine))
}

func identity(ts *testscript.TestScript, _ bool, args []string) {
	id, err := collectorOf(ts).Identity(machine)
	ts.Check(err)
	ts.Check(id.Save(ts.MkAbs(args[0])))
}

func setPlan(ts *testscript.TestScript, _ bool, args []string) {
	version, err := strconv.Atoi(args[0])
	ts.Check(err)
	collectorOf(ts).SetPlan(machine, version, ts.ReadFile(args[1]))
}

// patience bounds every wait; nothing depends on how long one takes.
const patience = 2 * time.Minute

func wait(ts *testscript.TestScript, what string, ok func() bool) {
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("waited in vain for %s", what)
		}
	}
}

func archived(ts *testscript.TestScript, _ bool, args []string) {
	id := regexp.MustCompile(args[0])
	wait(ts, "a result of "+args[0], func() bool {
		for _, r := range collectorOf(ts).Results() {
			if id.MatchString(r.Check) {
				return true
			}
		}
		return false
	})
}

func called(ts *testscript.TestScript, _ bool, args []string) {
	want := strings.Join(args, " ")
	if slices.Contains(collectorOf(ts).Calls(), want) {
		return
	}
	ts.Fatalf("the collector was called %q, not %s", collectorOf(ts).Calls(), want)
}

// waitFile reads the files of a data folder, too: `waitfile DIR/journal PATTERN` looks at the records.
func waitFile(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile(args[1])
	wait(ts, args[1]+" in "+args[0], func() bool {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && re.Match(b)
	})
}

func terminate(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGTERM))
	}
}

func damage(ts *testscript.TestScript, _ bool, args []string) {
	file := filepath.Join(ts.MkAbs(args[0]), "00000001.seg")
	b, err := os.ReadFile(file)
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(file, b, 0o600))
}
