//go:build linux

package network

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/notes"
)

// file serves a file of some size and counts the bytes that were taken; each 64 KiB it waits for wait, when that is not nil.
func file(t *testing.T, size int, sent *atomic.Int64, wait <-chan struct{}) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/file", http.StatusFound)
			return
		case "/gone":
			http.NotFound(w, r)
			return
		case "/short":
			w.Header().Set("Content-Length", "1000000")
		}
		block := make([]byte, 64<<10)
		for left := size; left > 0; {
			n, err := w.Write(block[:min(left, len(block))])
			sent.Add(int64(n))
			if err != nil {
				return
			}
			left -= n
			if wait != nil {
				_ = http.NewResponseController(w).Flush()
				select {
				case <-wait:
				case <-r.Context().Done():
				}
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestThroughput(t *testing.T) {
	var sent atomic.Int64
	never := make(chan struct{})
	big, small, stuck := file(t, 8<<20, &sent, nil), file(t, 1000, &sent, nil), file(t, 8<<20, &sent, never)
	ca := checktest.NewAuthority(t, "file.test")
	secure := checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf(nil, nil)}}, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 1<<20, strings.Repeat("x", 1<<20))
	})
	quiet := checktest.Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	on := check.Options{"enabled": true, "max_time": time.Second}
	for _, tc := range []struct {
		name, url string
		o         check.Options
		want      check.Reason
		received  float64
	}{
		{"as much as is allowed and no more", big + "/file", nil, check.OK, 1 << 20},
		{"another bound", big + "/file", check.Options{"max_bytes": int64(200_000)}, check.OK, 200_000},
		{"over TLS", "https://" + secure + "/", check.Options{"roots": ca.Roots()}, check.OK, 1 << 20},
		{"fast enough", big + "/file", check.Options{"min_mbps": 0.001}, check.OK, 1 << 20},
		{"too slow", big + "/file", check.Options{"min_mbps": 1e5}, check.Slow, 1 << 20},
		{"the time is up first", stuck + "/file", nil, check.OK, 64 << 10},
		{"the time is up first, and that is too slow", stuck + "/file", check.Options{"min_mbps": 100.0}, check.Slow, 64 << 10},
		{"too small a file", small + "/file", nil, check.Truncated, 1000},
		{"a file that breaks off", small + "/short", nil, check.Truncated, 1000},
		{"no such file", big + "/gone", nil, check.HTTPStatus, -1},
		{"moved", big + "/moved", nil, check.HTTPRedirect, -1},
		{"no answer", "http://" + quiet + "/", nil, check.Timeout, -1},
		{"nobody listens", "http://" + refused(t) + "/", nil, check.ConnectRefused, -1},
		{"connection is not answered", "http://" + silent(t) + "/", nil, check.Timeout, -1},
		{"an authority that nobody trusts", "https://" + secure + "/", nil, check.TLSUntrusted, -1},
		{"no TLS", "https://" + strings.TrimPrefix(big, "http://") + "/", nil, check.TLSHandshake, -1},
		{"an address of the other family", big + "/file", check.Options{"family": "ip6"}, check.DNSEmpty, -1},
		{"roots that cannot be read", "https://" + secure + "/", check.Options{"roots": "/nowhere"}, check.Misconfigured, -1},
		{"off", big + "/file", check.Options{"enabled": false}, check.NotConfigured, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := maps.Clone(on)
			o["url"] = tc.url
			maps.Copy(o, tc.o)
			r := checktest.NewFunc(t, throughputKind(), o, check.Env{})(t.Context())
			want(t, r, tc.want)
			if got, ok := r.Facts.Get("received_bytes"); ok != (tc.received >= 0) || ok && got != tc.received {
				t.Errorf("received_bytes %v, %v; want %v", got, ok, tc.received)
			}
			if _, ok := r.Facts.Get("down_bits_per_s"); ok != (r.Reason == check.OK || r.Reason == check.Slow) {
				t.Errorf("a rate with %s: %v", r.Reason, ok)
			}
		})
	}
}

// The plan must say so, and even then the line is used at its hours and up to the day's bytes only. What is not allowed
// opens no connection.
func TestThroughputSparesTheLine(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(make([]byte, 100_000))
	}))
	t.Cleanup(s.Close)
	at := monday.Add(12 * time.Hour)
	f := checktest.NewFunc(t, throughputKind(), check.Options{"url": s.URL, "enabled": true, "max_bytes": int64(100_000), "daily_bytes": int64(250_000),
		"hours": []string{"11:45-13:15", "22:00-05:00"}}, check.Env{Now: func() time.Time { return at }})
	for i, tc := range []struct {
		at    time.Time
		want  check.Reason
		used  float64
		asked int64
	}{
		{monday.Add(11 * time.Hour), check.NotConfigured, 0, 0},
		{monday.Add(11*time.Hour + 45*time.Minute), check.OK, 100_000, 1},
		{monday.Add(13*time.Hour + 15*time.Minute), check.NotConfigured, 100_000, 1},
		{monday.Add(22 * time.Hour), check.OK, 200_000, 2},
		{monday.Add(23 * time.Hour), check.NotConfigured, 200_000, 2}, // 50,000 bytes are left, a run takes 100,000
		{monday.Add(28 * time.Hour), check.OK, 100_000, 3},
		{monday.Add(23 * time.Hour), check.OK, 200_000, 4}, // the clock was set back over midnight: it is still the later day's account
		{monday.Add(12 * time.Hour), check.NotConfigured, 200_000, 4},
		{monday.Add(30 * time.Hour), check.NotConfigured, 200_000, 4},
	} {
		at = tc.at
		r := f(t.Context())
		if r.Reason != tc.want || asked.Load() != tc.asked {
			t.Errorf("run %d: %s (%s) after %d questions, want %s after %d", i, r.Reason, r.Detail, asked.Load(), tc.want, tc.asked)
		}
		wantFact(t, r, "today_bytes", tc.used)
	}
	off := checktest.NewFunc(t, throughputKind(), check.Options{"url": s.URL}, check.Env{})
	if r := off(t.Context()); r.Reason != check.NotConfigured || !strings.Contains(r.Detail, "enabled: true") || asked.Load() != 4 {
		t.Errorf("a plan that says nothing: %s (%s), %d questions", r.Reason, r.Detail, asked.Load())
	}
}

// A day's bytes are not given anew by a restart, nor by one in the middle of a run.
func TestThroughputRemembers(t *testing.T) {
	var sent atomic.Int64
	url := file(t, 1<<20, &sent, nil) + "/file"
	at := monday.Add(12 * time.Hour)
	kept := notes.New(filepath.Join(t.TempDir(), notes.Folder), time.Now, slog.New(slog.DiscardHandler)).Of("a.t", "throughput")
	run := func(change check.Options) check.Result {
		o := check.Options{"url": url, "enabled": true, "max_bytes": int64(100_000), "daily_bytes": int64(250_000)}
		maps.Copy(o, change)
		return checktest.NewFunc(t, throughputKind(), o, check.Env{Now: func() time.Time { return at }, Notes: kept})(t.Context())
	}
	want(t, run(nil), check.OK)
	r := run(check.Options{"url": url + "?another=1"})
	want(t, r, check.OK)
	wantFact(t, r, "today_bytes", 200_000)
	want(t, run(nil), check.NotConfigured)
	want(t, run(check.Options{"daily_bytes": int64(300_000)}), check.OK)
	at = at.AddDate(0, 0, 1)
	wantFact(t, run(nil), "today_bytes", 100_000)

	// Cut off in the middle, a run counts with all that it could have fetched.
	at = at.AddDate(0, 0, 1)
	stuck := file(t, 1<<20, &sent, make(chan struct{}))
	ctx, cancel := context.WithCancel(t.Context())
	f := checktest.NewFunc(t, throughputKind(), check.Options{"url": stuck + "/file", "enabled": true, "max_bytes": int64(100_000), "daily_bytes": int64(199_999)}, check.Env{Now: func() time.Time { return at }, Notes: kept})
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	for end := time.Now().Add(time.Minute); !strings.Contains(string(kept.Note(consumptionNote)), at.Format(time.DateOnly)) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	during := run(check.Options{"daily_bytes": int64(199_999)}) // as after a kill
	cancel()
	<-done
	want(t, during, check.NotConfigured)

	for _, tc := range []struct {
		note string
		want check.Reason
	}{
		{`{`, check.OK}, {`{"day":"2026-11-20T00:00:00+07:00","used":250000}`, check.OK}, {`{"day":"2099-11-20T00:00:00+07:00","used":-1}`, check.OK},
		{`{"day":"2099-11-20T00:00:00+07:00","used":9223372036854775807}`, check.NotConfigured},
	} {
		kept.Keep(consumptionNote, []byte(tc.note))
		if r := run(nil); r.Reason != tc.want {
			t.Errorf("%s: %s (%s), want %s", tc.note, r.Reason, r.Detail, tc.want)
		}
	}
	kept.Keep(consumptionNote, []byte(`{"day":"`+midnight(at).Format(time.RFC3339)+`","used":-1000000}`))
	wantFact(t, run(nil), "today_bytes", 100_000)
	// A clock that was ahead does not take the days up to then.
	at = at.AddDate(0, 0, 1)
	want(t, run(nil), check.OK)
}

func TestThroughputCalledOff(t *testing.T) {
	var sent atomic.Int64
	url := file(t, 1<<20, &sent, make(chan struct{}))
	f := checktest.NewFunc(t, throughputKind(), check.Options{"url": url, "enabled": true}, check.Env{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	want(t, f(ctx), check.Internal)
}

func TestThroughputOptions(t *testing.T) {
	const url = "http://file.test/"
	for _, tc := range []struct {
		o    check.Options
		env  check.Env
		want string
	}{
		{check.Options{"url": "ftp://file.test/"}, check.Env{}, `"url"`},
		{check.Options{"url": "http://u:p@file.test/"}, check.Env{}, `"url"`},
		{check.Options{"url": url, "max_bytes": int64(2 << 20), "daily_bytes": int64(1 << 20)}, check.Env{}, `"daily_bytes"`},
		{check.Options{"url": url, "max_time": 10 * time.Second}, check.Env{Timeout: 10 * time.Second}, `"max_time"`},
		{check.Options{"url": url, "upload_url": "ftp://file.test/"}, check.Env{}, `"upload_url"`},
		{check.Options{"url": url, "upload_url": "http://u:p@file.test/"}, check.Env{}, `"upload_url"`},
		{check.Options{"url": url, "upload_url": url, "max_bytes": int64(1 << 20), "upload_bytes": int64(1 << 20), "daily_bytes": int64(2<<20 - 1)}, check.Env{}, `"daily_bytes"`},
		{check.Options{"url": url, "upload_url": url, "max_time": 6 * time.Second}, check.Env{Timeout: 10 * time.Second}, `"max_time"`},
		{check.Options{"url": url, "hours": []string{"7-9"}}, check.Env{}, `"hours"`},
		{check.Options{"url": url, "hours": []string{"07:00-07:00"}}, check.Env{}, `"hours"`},
	} {
		o := checktest.WithDefaults(t, throughputKind(), tc.o)
		if _, err := newThroughput(o, tc.env); err == nil || !strings.Contains(err.Error(), "option "+tc.want) {
			t.Errorf("%v: %v, want an error that names %s", tc.o, err, tc.want)
		}
	}
	if got := throughputKind().Target(check.Options{"url": url, "upload_url": "https://up.test/in"}); strings.Join(got, " ") != "file.test up.test" {
		t.Errorf("targets %v", got)
	}
	if got := throughputKind().Target(check.Options{"url": url}); len(got) != 1 || got[0] != "file.test" {
		t.Errorf("targets %v", got)
	}
}
