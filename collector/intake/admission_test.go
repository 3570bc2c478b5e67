package intake

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"egovmon/agent/wire"
)

func TestGate(t *testing.T) {
	g := newGate(Limits{Requests: 3, Room: 1000})
	enter := func(bytes int64, at time.Duration, want bool) time.Duration {
		t.Helper()
		after, ok := g.enter(bytes, start.Add(at))
		if ok != want {
			t.Errorf("%d bytes with %d requests of %d bytes under way: %v, want %v", bytes, g.under, g.size, ok, want)
		}
		return after
	}
	enter(5000, 0, true) // one alone may be as large as a request may be
	enter(1, 0, false)
	g.leave(5000, start)
	enter(500, 0, true)
	enter(501, 0, false)
	enter(500, 0, true)
	enter(0, 0, true)
	enter(0, 0, false) // the fourth
	g.leave(0, start)
	g.leave(500, start)
	g.leave(500, start)
	if g.under != 0 || g.size != 0 {
		t.Errorf("%d requests of %d bytes are left", g.under, g.size)
	}

	// Each of a crowd is told to come later than the one before, by what a request takes.
	g = newGate(Limits{Requests: 1, Room: 1000})
	enter(1, 0, true)
	var last time.Duration
	for range 200 {
		last = enter(1, 0, false)
	}
	if last != 200*time.Second/firstRate {
		t.Errorf("the last of 200 is to wait %s", last)
	}
	// What it takes is learned from what was done meanwhile: ten in a second, then always ten.
	now := time.Duration(0)
	for range 20 {
		for range 10 {
			now += 100 * time.Millisecond
			g.leave(1, start.Add(now))
			enter(1, now, true)
			enter(1, now, false)
		}
	}
	if g.rate < 9 || g.rate > 13 {
		t.Errorf("%.1f requests a second are expected, 10 were done", g.rate)
	}
	for range 100_000 {
		last = enter(1, now, false)
	}
	if last != longQueue {
		t.Errorf("the last of very many is to wait %s, want %s", last, longQueue)
	}
	// In quiet times nothing is learned: few requests say nothing of how many there could be.
	before := g.rate
	for range 100 {
		now += time.Minute
		g.leave(1, start.Add(now))
		enter(1, now, true)
	}
	if g.rate != before {
		t.Errorf("in quiet times %.1f requests a second became %.1f", before, g.rate)
	}
}

// half sends the header of a request and nothing of its body, and returns what comes in answer to the rest.
func (a *agent) half(t *testing.T, body []byte) (finish func() int) {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(a.url, "https://"), a.id.TLSConfig(a.now))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", wire.PathBatches, wire.TypeBatches, len(body))
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil || !strings.Contains(line, " 100 ") {
		t.Fatalf("it is not let in: %q, %v", line, err)
	}
	in.ReadString('\n')
	return func() int {
		if _, err := conn.Write(body); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
}

// Only so many requests, and so many bytes, are taken in at a time. Who is turned away is told when to come, loses nothing
// and has not sent what there was no room for; who was let in is served.
func TestCrowd(t *testing.T) {
	for name, limits := range map[string]Limits{"requests": {Requests: 2}, "bytes": {Room: 200_000}} {
		t.Run(name, func(t *testing.T) {
			c := newBusyCentre(t, limits)
			body := func(a *agent) []byte {
				b := frames(a.seal(t, begin(a.now())))
				return append(b, make([]byte, 100_000-len(b))...) // what follows the batch is signed by nobody
			}
			x := c.talker(t)
			x.runs(t, 10*time.Second)
			one, two := c.agent(t, "binh-lang"), c.agent(t, "cam-giang")
			first, second := one.half(t, body(one)), two.half(t, body(two))
			if err := x.j.Record(x.m.Results(x.now().Add(-time.Hour), time.Hour), nil); err != nil {
				t.Fatal(err)
			}
			if err := x.j.Rotate("test", x.now()); err != nil {
				t.Fatal(err)
			}
			head, _ := x.j.Head()
			before := x.meter.bytes.Load()
			if err := x.p.Round(t.Context()); err == nil || !strings.Contains(err.Error(), "busy") {
				t.Errorf("a third request: %v", err)
			}
			if n := x.meter.bytes.Load() - before; n > 20_000 {
				t.Errorf("the agent sent %d bytes that there was no room for", n)
			}
			if n := c.gate.under; n != 2 {
				t.Errorf("%d requests are under way, want 2", n)
			}
			res, _ := x.call(t, http.MethodPost, wire.PathBatches, make([]byte, 100_000), "Content-Type", wire.TypeBatches)
			if after, err := strconv.Atoi(res.Header.Get("Retry-After")); res.StatusCode != http.StatusTooManyRequests || err != nil || after < 1 || after > 20 {
				t.Errorf("%s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
			}
			for _, finish := range []func() int{first, second} {
				if status := finish(); status != http.StatusForbidden {
					t.Errorf("a request that was let in: %d, want that its end is told to be signed by nobody", status)
				}
			}
			for x.j.Acked() != head {
				if err := x.p.Round(t.Context()); err != nil {
					t.Fatalf("once there is room: %v", err)
				}
			}
			if n := c.gate.under; n != 0 || c.gate.size != 0 {
				t.Errorf("%d requests of %d bytes are left", n, c.gate.size)
			}
		})
	}
}
