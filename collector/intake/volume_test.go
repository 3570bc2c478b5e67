package intake

import (
	"context"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/journal"
	"egovmon/agent/journal/journaltest"
	"egovmon/agent/push"
	"egovmon/collector/evidence"
)

// The most that a result may take in the archive and on the line, at 20 checks a minute. To see the figures:
//
//	go test ./collector/intake -run 'TestVolume|TestTraffic' -v
const (
	mostBytesMinute   = 65  // B a result in the archive, sealed every minute
	mostBytesFive     = 40  // sealed every five minutes
	mostTrafficMinute = 130 // kB/h both ways with TLS, on a kept connection
	mostTrafficFive   = 80
)

// TestVolume measures what a result takes on the collector's disk, everything counted: segments, tree and index. One
// machine alone is the worst case, since each of its batches is a group by itself.
func TestVolume(t *testing.T) {
	for _, tt := range []struct {
		seal time.Duration
		most float64
	}{{time.Minute, mostBytesMinute}, {5 * time.Minute, mostBytesFive}} {
		t.Run(tt.seal.String(), func(t *testing.T) {
			c := newBusyCentre(t, Limits{})
			b := c.busy(t, "an-thanh", true)
			b.takes(t, b.offered(t))
			before := folderSize(t, filepath.Join(c.dir, "evidence"))
			const batches = 60
			for range batches {
				b.sends(t, b.measures(t, tt.seal))
			}
			size := folderSize(t, filepath.Join(c.dir, "evidence")) - before
			results := batches * 20 * int(tt.seal/time.Minute)
			got := float64(size) / float64(results)
			t.Logf("archive: %.1f bytes a result, sealed every %s", got, tt.seal)
			if got > tt.most {
				t.Errorf("%.1f bytes a result, at most %.0f are allowed", got, tt.most)
			}
			c.wantWhole(t, int(b.seq-1-batches)*20+results)
		})
	}
}

func folderSize(t testing.TB, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			size += fi.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// A meter counts what goes over the wire, with TLS, both ways.
type meter struct {
	bytes atomic.Int64
	conns atomic.Int64
}

type metered struct {
	net.Conn
	m *meter
}

func (c metered) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.m.bytes.Add(int64(n))
	return n, err
}

func (c metered) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.m.bytes.Add(int64(n))
	return n, err
}

// A talker is a whole agent's end, journal and pusher as they are, on the test's clock.
type talker struct {
	*busy
	meter meter
	j     *journal.Journal
	p     *push.Pusher
	f     *followed
}

func (c *centre) talker(t *testing.T) *talker {
	t.Helper()
	x := &talker{busy: c.busy(t, "an-thanh", false)}
	tr := push.NewTransport(x.id.TLSConfig(x.now), func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		x.meter.conns.Add(1)
		return metered{conn, &x.meter}, err
	})
	t.Cleanup(tr.CloseIdleConnections)
	dir := t.TempDir()
	var err error
	x.j, _, err = journal.OpenJournal(journal.Options{Dir: filepath.Join(dir, "journal"), Machine: x.id.Machine, Signer: x.signer, Now: x.now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.j.Begin(x.now()); err != nil {
		t.Fatal(err)
	}
	logKey, err := x.id.LogVerifier()
	if err != nil {
		t.Fatal(err)
	}
	planKey, err := x.id.PlanVerifier()
	if err != nil {
		t.Fatal(err)
	}
	x.f = &followed{journal: func() *journal.Journal { return x.j }, now: x.now, kinds: journaltest.Kinds()}
	x.p, err = push.New(push.Options{Collector: x.url, Client: &http.Client{Transport: tr}, Machine: x.id.Machine, Journal: x.j, LogKey: logKey, PlanKey: planKey,
		Plans: x.f, Fork: func(now time.Time) error { return x.j.Rotate("fork", now) }, Dir: dir, Now: x.now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// runs measures for d as an agent does: it records each second, sends what is sealed, and asks when it was silent for
// as long as it may be.
func (x *talker) runs(t *testing.T, d time.Duration) (results int) {
	t.Helper()
	rs := x.m.Results(x.now(), d)
	silent := x.now()
	for end := x.now().Add(d); x.now().Before(end); {
		x.set(x.now().Add(time.Second))
		n := 0
		for n < len(rs) && rs[n].Start.Before(x.now()) {
			n++
		}
		if err := x.j.Record(rs[:n], nil); err != nil {
			t.Fatal(err)
		}
		rs, results = rs[n:], results+n
		head, _ := x.j.Head()
		if head == x.j.Acked() && x.now().Sub(silent) < push.Gap(x.j.SealEvery()) {
			continue
		}
		silent = x.now()
		if err := x.p.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		x.flush(t)
	}
	return results
}

// fill lets the log grow by so many leaves.
func (c *centre) fill(t testing.TB, leaves int) {
	t.Helper()
	es := make([]evidence.Entry, leaves)
	for i := range es {
		var err error
		if es[i], err = evidence.NewEntry(evidence.Incident, map[string]string{"n": strconv.Itoa(i)}, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.log.Append(t.Context(), es...); err != nil {
		t.Fatal(err)
	}
}

// TestTraffic measures an hour of an agent's traffic with its collector, every byte of TLS counted, after the plan has
// come and a dictionary. The log has some leaves already: a proof grows with their logarithm, 45 bytes for twice as many.
func TestTraffic(t *testing.T) {
	for _, tt := range []struct {
		seal time.Duration
		most float64
	}{{time.Minute, mostTrafficMinute}, {5 * time.Minute, mostTrafficFive}} {
		t.Run(tt.seal.String(), func(t *testing.T) {
			c := newBusyCentre(t, Limits{})
			c.fill(t, 1<<14)
			x := c.talker(t)
			text := strings.Replace(string(x.m.Plan(2)), "checks:", "seal: "+tt.seal.String()+"\nchecks:", 1)
			if err := c.SetPlan(t.Context(), []byte(text)); err != nil {
				t.Fatal(err)
			}
			x.runs(t, 2*tt.seal+10*time.Second)
			if x.j.SetSeal(tt.seal); x.f.plan == nil {
				t.Fatal("no plan came")
			}
			x.runs(t, 25*time.Minute)
			if x.j.Dictionary() == "" {
				t.Fatal("no dictionary is used")
			}
			before, conns := x.meter.bytes.Load(), x.meter.conns.Load()
			results := x.runs(t, time.Hour)
			got := float64(x.meter.bytes.Load()-before) / 1000
			t.Logf("traffic: %.1f kB/h for %d results, sealed every %s", got, results, tt.seal)
			if got > tt.most {
				t.Errorf("%.1f kB/h, at most %.0f are allowed", got, tt.most)
			}
			if n := x.meter.conns.Load() - conns; n != 0 {
				t.Errorf("%d connections were made anew within the hour", n)
			}
			if st := x.p.Stats(); st.Refused != 0 || st.Leaves == 0 {
				t.Errorf("the agent does not believe the collector: %+v", st)
			}
		})
	}
}
