package intake

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/gob"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/wire"
)

var (
	returning = flag.Int("returning", 12, "how many machines come back at once in TestReturningFleet; 10000 is the national case")
	spread    = flag.Duration("spread", 0, "over which their first tries lie: agents back off up to 5m")
)

// The most that the collector's heap may grow while a fleet of n comes back: what the requests under way may take, and
// for each machine its open connection, its plan and what is remembered of its journal.
// Half of it is what was alive and is not collected yet.
func mostHeap(n int) int64 { return 256<<20 + int64(n)*(160<<10) }

// TestReturningFleet lets a fleet come back after an hour away: each machine has an hour of twenty checks a minute to
// send, in real batches with its own keys, slots and chain. All is measured and signed before the clock starts, and sent
// by another process, so that what is counted of memory is the collector's; the processors are shared. Who finds no
// place is told to come later, and does. It takes
//
//	go test ./collector/intake -run TestReturningFleet -returning 10000 -timeout 60m -v
//
// to see the national case (all at once; -spread 5m is nearer to life), a quarter of an hour to make what they send, and
// 2 GB in the temporary folder.
func TestReturningFleet(t *testing.T) {
	c := newBusyCentre(t, Limits{Enrolments: 1 << 20})
	c.close()
	var events, rejected atomic.Int64
	c.opts.Consumers = []Consumer{{Name: "count", Accept: func(_ context.Context, a Accepted) error {
		events.Add(int64(len(a.Events)))
		rejected.Add(int64(len(a.Rejected)))
		return nil
	}}}
	c.open(t)
	first := c.busy(t, "xa-0", true)
	first.takes(t, first.offered(t))
	dir := t.TempDir()
	c.measureFleet(t, dir, *returning, first.dict)
	c.set(c.now().Add(time.Hour))
	first.flush(t)
	before := events.Load()

	debug.FreeOSMemory()
	second := time.Second
	if *returning <= 20 {
		second = time.Millisecond
	}
	m := watchMemory()
	c.run()
	began := time.Now()
	got := drive(t, dir, fleetOrder{URL: c.url, CA: c.keys.CA.Raw, Now: c.now(), Spread: *spread, Second: second})
	first.flush(t)
	judged := time.Since(began)
	heap, rss := m.stop()

	results := *returning * 60 * 20
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("%d machines over %s, %d results: all acknowledged after %s, judged after %s; %.0f results/s; longest wait of a machine %s, half of them at most %s",
		*returning, *spread, results, got.Drained.Round(time.Millisecond), judged.Round(time.Millisecond), float64(results)/got.Drained.Seconds(),
		got.Longest.Round(time.Millisecond), got.Median.Round(time.Millisecond))
	t.Logf("heap at most %d MiB, %d MiB above what it was; resident %s; asked to come later: %s; load %.14s", heap.peak>>20, (heap.peak-heap.base)>>20, rss, said(got.Refused), load)
	for _, e := range got.Failed {
		t.Error(e)
	}
	if n := int(events.Load() - before); n != results+2**returning || rejected.Load() > 0 {
		t.Errorf("%d events, want %d results and %d that begin; %d reasons to reject", n, results, 2**returning, rejected.Load())
	}
	if grown := heap.peak - heap.base; grown > mostHeap(*returning) {
		t.Errorf("the heap grew by %d MiB, at most %d are allowed", grown>>20, mostHeap(*returning)>>20)
	}
}

// said lists how often what was said.
func said(n map[string]int) string {
	var out []string
	for _, why := range slices.Sorted(maps.Keys(n)) {
		out = append(out, fmt.Sprintf("%d × %s", n[why], why))
	}
	if out == nil {
		return "none"
	}
	return strings.Join(out, ", ")
}

// measureFleet enrols n machines, and writes to dir what each has to send after an hour.
func (c *centre) measureFleet(t *testing.T, dir string, n int, dict []byte) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, sentFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	roll, err := os.Create(filepath.Join(dir, rollFile))
	if err != nil {
		t.Fatal(err)
	}
	defer roll.Close()
	out, enc, end := bufio.NewWriterSize(f, 1<<20), gob.NewEncoder(roll), int64(0)
	var mu sync.Mutex
	measure := func(i int) error {
		b := c.busy(t, fmt.Sprintf("xa-%d", i+1), false)
		b.client.CloseIdleConnections()
		b.dict = dict
		body, from := frames(b.opens(t)), b.now()
		for i := range 60 {
			x := b.measured(t, from.Add(time.Duration(i)*time.Minute), time.Minute)
			body = wire.AppendBatch(body, x.Note, x.Body)
		}
		key, err := x509.MarshalPKCS8PrivateKey(b.id.TLS.PrivateKey)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if _, err := out.Write(body); err != nil {
			return err
		}
		end += int64(len(body))
		return enc.Encode(returner{b.id.Machine, b.id.TLS.Certificate[0], key, end - int64(len(body)), len(body)})
	}
	const some = 500
	for first := 0; first < n; first += some {
		if first > 0 { // used tokens are kept for a month, in a file that is written anew at each: here it stays small
			c.close()
			if err := os.Remove(filepath.Join(c.dir, "enrol", "tokens.json")); err != nil {
				t.Fatal(err)
			}
			c.open(t)
		}
		var wg sync.WaitGroup
		for k := range 2 {
			wg.Go(func() {
				for i := first + k; i < min(first+some, n); i += 2 {
					if err := measure(i); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
}

// drive lets another process be the fleet.
func drive(t *testing.T, dir string, o fleetOrder) (got fleetReport) {
	t.Helper()
	data, err := json.Marshal(o)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, orderFile), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run", "^TestFleetProcess$", "-test.timeout", "0")
	cmd.Env = append(os.Environ(), fleetFolder+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the fleet: %v\n%.2000s", err, out)
	}
	if data, err = os.ReadFile(filepath.Join(dir, reportFile)); err == nil {
		err = json.Unmarshal(data, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A memory is the bytes of the heap in use: at the beginning, and at most.
type memory struct{ base, peak int64 }

// A memoryWatch looks at this process five times a second.
type memoryWatch struct{ stop func() (memory, string) }

func watchMemory() memoryWatch {
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the peak of resident memory starts anew (Linux)
	m := memory{base: heapInUse()}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			m.peak = max(m.peak, heapInUse())
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	})
	return memoryWatch{func() (memory, string) {
		close(quit)
		wg.Wait()
		rss := "unknown"
		status, _ := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(status)) {
			if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				rss = "at most " + strings.TrimSpace(v)
			}
		}
		return m, rss
	}}
}

// heapInUse is the memory of the heap's objects, dead ones that are not collected yet included.
func heapInUse() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() + s[1].Value.Uint64())
}
