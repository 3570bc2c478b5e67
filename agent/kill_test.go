//go:build unix

package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/daemon"
	"egovmon/agent/daemon/daemontest"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
)

var rounds = flag.Int("rounds", 20, "how often TestKill kills an agent; before a release: go test ./agent -run TestKill -rounds 200")

// A victim is an agent's data folder, whose program is killed again and again, and what was seen of it from outside.
type victim struct {
	*testing.T
	c     *daemontest.Collector
	dir   string
	keys  note.Verifiers
	plan  *plan.Plan
	shown map[string]map[float64]bool // by check: starts of runs that /metrics showed
}

// The program is killed at random moments: what it had shown or sent is in its journal, once, in a chain that verifies,
// and when it has ended in order the collector has all that the journal has, and every slot that it was to run is a
// result or named in a range.
func TestKill(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range *rounds {
		v.live(func() time.Duration { return time.Duration(r.IntN(1500)) * time.Millisecond }, syscall.SIGKILL)
		if v.look(); t.Failed() {
			t.Fatalf("in round %d of seed %d", i+1, seed)
		}
	}
	v.live(nil, syscall.SIGTERM)
	v.look()
	v.settled()
}

func newVictim(t *testing.T) *victim {
	c, err := daemontest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	id, err := c.Identity(machine)
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{T: t, c: c, dir: t.TempDir(), shown: make(map[string]map[float64]bool)}
	if err := id.Save(v.dir); err != nil {
		t.Fatal(err)
	}
	if v.keys, err = id.JournalVerifiers(); err != nil {
		t.Fatal(err)
	}
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	go func() {
		for {
			conn, err := peer.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	var b strings.Builder
	fmt.Fprintf(&b, "plan: test\nfor: %s\nversion: 1\nseal: 5s\nchecks:\n", machine)
	for i := range 40 {
		fmt.Fprintf(&b, "  - {id: a.x%d, kind: tcp, every: 10s, timeout: 2s, with: {address: '%s'}}\n", i, peer.Addr())
	}
	if v.plan, err = plan.Parse([]byte(b.String()), kinds.Table()); err != nil {
		t.Fatal(err)
	}
	c.SetPlan(machine, 1, b.String())
	return v
}

var listening = regexp.MustCompile(`listen=(127\.0\.0\.1:\d+)`)

// live runs the program and ends it with a signal: after a while, or, with nil, when it has shown a result of its own.
// Until then it looks at /metrics.
func (v *victim) live(while func() time.Duration, end syscall.Signal) {
	v.Helper()
	cmd := exec.CommandContext(v.Context(), "agent", "run", "--data", v.dir, "--listen", "127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		v.Fatal(err)
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		v.Fatal(err)
	}
	var log bytes.Buffer
	lines, address := bufio.NewScanner(stderr), ""
	for address == "" && lines.Scan() {
		fmt.Fprintln(&log, lines.Text())
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			address = m[1]
		}
	}
	if address == "" {
		v.Fatalf("the agent does not run:\n%s", &log)
	}
	drained := make(chan struct{})
	go func() { defer close(drained); _, _ = io.Copy(&log, stderr) }()
	limit := time.After(time.Minute)
	if while != nil {
		limit = time.After(while())
	}
watch:
	for {
		select {
		case <-limit:
			if while == nil {
				v.Errorf("no result is shown within a minute")
			}
			break watch
		case <-time.After(20 * time.Millisecond):
			if newest := v.scrape(address); while == nil && newest.After(started) {
				break watch
			}
		}
	}
	if err := cmd.Process.Signal(end); err != nil {
		v.Errorf("the agent ended by itself: %v", err)
	}
	<-drained
	if err := cmd.Wait(); err != nil && end == syscall.SIGTERM {
		v.Errorf("the agent ends with %v:\n%s", err, &log)
	}
}

var lastRun = regexp.MustCompile(`(?m)^egovmon_check_last_run_timestamp_seconds\{check="([a-z0-9.]+)"\} (\S+)$`)

// scrape notes what /metrics shows as recorded, and returns when the newest run began.
func (v *victim) scrape(address string) (newest time.Time) {
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return newest
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return newest
	}
	for _, m := range lastRun.FindAllSubmatch(text, -1) {
		id := string(m[1])
		at, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			v.Fatal(err)
		}
		if v.shown[id] == nil {
			v.shown[id] = make(map[float64]bool)
		}
		v.shown[id][at] = true
		if t := time.UnixMilli(int64(at * 1000)); t.After(newest) {
			newest = t
		}
	}
	return newest
}

// A slot names a result.
type slot struct {
	check string
	at    int64
}

// records reads the journal; a result that is there twice is an error.
func (v *victim) records() (results map[slot]check.Result, others []journal.Record) {
	v.Helper()
	results = make(map[slot]check.Result)
	for e := range journal.Read(daemon.JournalDir(v.dir)) {
		for _, rec := range e.Records {
			if rec.Result == nil {
				others = append(others, rec)
				continue
			}
			k := slot{rec.Result.Check, rec.Result.Slot.Unix()}
			if _, twice := results[k]; twice {
				v.Errorf("%s has two results for %s", k.check, rec.Result.Slot)
			}
			results[k] = *rec.Result
		}
	}
	return results, others
}

// look compares the journal with what was seen from outside.
func (v *victim) look() {
	v.Helper()
	rep, err := journal.Verify(daemon.JournalDir(v.dir), v.keys)
	if err != nil || len(rep.Problems) > 0 || rep.Journals > 1 {
		v.Errorf("journal: %+v, %v", rep, err)
	}
	results, _ := v.records()
	starts := make(map[string]map[float64]bool)
	for k, r := range results {
		if starts[k.check] == nil {
			starts[k.check] = make(map[float64]bool)
		}
		starts[k.check][float64(r.Start.UnixMilli())/1000] = true
	}
	for id, shown := range v.shown {
		for at := range shown {
			if !starts[id][at] {
				v.Errorf("%s: /metrics showed the run of %f, and the journal does not have it", id, at)
			}
		}
	}
	for _, r := range v.c.Results() {
		if got, ok := results[slot{r.Check, r.Slot.Unix()}]; !ok || !got.Start.Equal(r.Start) {
			v.Errorf("the collector has %s of %s, and the journal does not", r.Check, r.Slot)
		}
	}
	if p := v.c.Problems(); len(p) > 0 {
		v.Errorf("the collector found fault: %q", p)
	}
}

// settled checks that everything is sent, and every slot accounted for.
func (v *victim) settled() {
	v.Helper()
	results, others := v.records()
	if n := len(v.c.Results()); n != len(results) || n == 0 {
		v.Errorf("the collector has %d results, the journal %d", n, len(results))
	}
	var epochs []plan.Epoch
	var ranges []check.Range
	var last time.Time // start
	for _, rec := range others {
		switch {
		case rec.Plan != nil:
			if n := len(epochs); n > 0 {
				epochs[n-1].To = rec.Plan.At
			}
			epochs = append(epochs, plan.Epoch{From: rec.Plan.At, Plan: v.plan})
		case rec.Range != nil:
			ranges = append(ranges, *rec.Range)
		case rec.Begin != nil:
			last = rec.Begin.At
		}
	}
	due := plan.Expected(machine, epochs, epochs[0].From, last)
	n := 0
	for _, d := range due {
		if d.Slot.Add(10 * time.Second).After(last) {
			continue // was run after the last start
		}
		n++
		_, ok := results[slot{d.Check, d.Slot.Unix()}]
		for _, g := range ranges {
			ok = ok || (g.Check == "*" || g.Check == d.Check) && !d.Slot.Before(g.From) && d.Slot.Before(g.To)
		}
		if !ok {
			v.Errorf("%s at %s has neither a result nor a range", d.Check, d.Slot.Format(time.TimeOnly))
		}
	}
	seen := 0
	for _, shown := range v.shown {
		seen += len(shown)
	}
	v.Logf("%d results, %d slots accounted for, %d runs were seen on /metrics", len(results), n, seen)
}
