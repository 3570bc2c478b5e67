package network

import (
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// taker takes what is sent to it, counts it, and answers with a status; it wants some of it before.
func taker(t *testing.T, status int, wants int64, taken *atomic.Int64) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.CopyN(io.Discard, r.Body, wants)
		taken.Add(n)
		w.Header().Set("X-Method", r.Method)
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/in"
}

func TestUpload(t *testing.T) {
	var fetched, taken atomic.Int64
	const all = 1 << 40
	file := file(t, 1<<20, &fetched, nil) + "/file"
	ca := checktest.NewAuthority(t, "up.test")
	secure := "https://" + checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf(nil, nil)}}, func(c net.Conn) {
		for left, b := 1, make([]byte, 32<<10); left > 0; {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			if strings.HasSuffix(string(b[:n]), "0\r\n\r\n") { // the last chunk: RFC 9112, section 7.1
				left = 0
			}
		}
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	}) + "/"
	stuck := "http://" + checktest.Serve(t, func(net.Conn) { <-t.Context().Done() }) + "/"
	// sips takes a megabyte and then nothing more.
	sips := "http://" + checktest.Serve(t, func(c net.Conn) {
		_, _ = io.CopyN(io.Discard, c, 1<<20)
		<-t.Context().Done()
	}) + "/"
	for _, tc := range []struct {
		name, url string
		o         check.Options
		want      check.Reason
		sent      float64 // -1 for not told
		detail    string
	}{
		{"as much as is allowed and no more", taker(t, 201, all, &taken), nil, check.OK, 1 << 20, ""},
		{"another bound", taker(t, 204, all, &taken), check.Options{"upload_bytes": int64(200_000)}, check.OK, 200_000, ""},
		{"by POST", taker(t, 200, all, &taken), check.Options{"upload_method": "POST"}, check.OK, 1 << 20, ""},
		{"over TLS", secure, check.Options{"roots": ca.Roots()}, check.OK, 1 << 20, ""},
		{"fast enough", taker(t, 201, all, &taken), check.Options{"min_up_mbps": 0.001}, check.OK, 1 << 20, ""},
		{"too slow", taker(t, 201, all, &taken), check.Options{"min_up_mbps": 1e5}, check.Slow, 1 << 20, "upload: "},
		{"too slow both ways", taker(t, 201, all, &taken), check.Options{"min_up_mbps": 1e5, "min_mbps": 1e5}, check.Slow, 1 << 20, "; upload: "},
		{"not taken", taker(t, 403, all, &taken), nil, check.HTTPStatus, 1 << 20, "upload: status 403"},
		{"refused before all is there", taker(t, 413, 1000, &taken), check.Options{"upload_bytes": int64(32 << 20)}, check.HTTPStatus, -1, "413"},
		{"says yes before all is there", taker(t, 200, 1000, &taken), check.Options{"upload_bytes": int64(32 << 20)}, check.Protocol, -1, "before all"},
		{"moved", taker(t, 302, all, &taken), nil, check.HTTPRedirect, 1 << 20, "upload_url"},
		{"nobody listens", "http://" + refused(t) + "/", nil, check.ConnectRefused, -1, "upload: "},
		{"no answer", stuck, check.Options{"upload_bytes": int64(200_000), "max_time": time.Second}, check.Timeout, -1, "in time"},
		{"hangs up", "http://" + checktest.Serve(t, func(net.Conn) {}) + "/", nil, check.ConnectReset, -1, "upload: "},
		{"the time is up first", sips, check.Options{"upload_bytes": int64(64 << 20), "max_time": time.Second, "min_up_mbps": 1e4}, check.Slow, -1, "upload: "},
		{"an authority that nobody trusts", secure, nil, check.TLSUntrusted, -1, "upload: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := check.Options{"enabled": true, "url": file, "max_time": 20 * time.Second, "upload_url": tc.url, "daily_bytes": int64(1 << 30)}
			maps.Copy(o, tc.o)
			r := checktest.NewFunc(t, throughputKind(), o, check.Env{Timeout: time.Minute})(t.Context())
			want(t, r, tc.want)
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q lacks %q", r.Detail, tc.detail)
			}
			if got, ok := r.Facts.Get("sent_bytes"); tc.sent >= 0 && (!ok || got != tc.sent) {
				t.Errorf("sent_bytes %v, %v; want %v", got, ok, tc.sent)
			}
			if _, ok := r.Facts.Get("up_bits_per_s"); ok != (r.Reason == check.OK || r.Reason == check.Slow) {
				t.Errorf("a rate with %s: %v", r.Reason, ok)
			}
			sent, _ := r.Facts.Get("sent_bytes")
			wantFact(t, r, "today_bytes", 1<<20+sent)
		})
	}
}

// What is sent goes by the method that the plan names.
func TestUploadMethod(t *testing.T) {
	var fetched atomic.Int64
	file := file(t, 1<<20, &fetched, nil) + "/file"
	for _, method := range []string{http.MethodPut, http.MethodPost} {
		var got atomic.Value
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			got.Store(r.Method)
		}))
		t.Cleanup(s.Close)
		o := check.Options{"enabled": true, "url": file, "max_time": 20 * time.Second, "upload_url": s.URL, "upload_bytes": int64(100_000), "upload_method": method}
		want(t, checktest.NewFunc(t, throughputKind(), o, check.Env{Timeout: time.Minute})(t.Context()), check.OK)
		if got.Load() != method {
			t.Errorf("it was sent by %v, want %s", got.Load(), method)
		}
	}
}

// What is sent counts among the day's bytes; after a download that failed nothing is sent, and without upload_url never.
func TestUploadSparesTheLine(t *testing.T) {
	var fetched, taken atomic.Int64
	files := file(t, 1<<20, &fetched, nil)
	url := taker(t, 201, 1<<40, &taken)
	run := func(o check.Options) check.Result {
		all := check.Options{"enabled": true, "url": files + "/file", "max_time": 20 * time.Second, "max_bytes": int64(100_000), "upload_bytes": int64(100_000), "daily_bytes": int64(350_000)}
		maps.Copy(all, o)
		return checktest.NewFunc(t, throughputKind(), all, check.Env{Timeout: time.Minute})(t.Context())
	}
	want(t, run(nil), check.OK)
	want(t, run(check.Options{"upload_url": url, "url": files + "/gone"}), check.HTTPStatus)
	want(t, run(check.Options{"upload_url": url, "enabled": false}), check.NotConfigured)
	if n := taken.Load(); n != 0 {
		t.Errorf("%d bytes were sent", n)
	}
	f := checktest.NewFunc(t, throughputKind(), check.Options{"enabled": true, "url": files + "/file", "upload_url": url, "max_time": 20 * time.Second,
		"max_bytes": int64(100_000), "upload_bytes": int64(100_000), "daily_bytes": int64(350_000)}, check.Env{Timeout: time.Minute, Now: func() time.Time { return monday }})
	want(t, f(t.Context()), check.OK)
	r := f(t.Context())
	want(t, r, check.NotConfigured)
	wantFact(t, r, "today_bytes", 200_000)
	if n := taken.Load(); n != 100_000 {
		t.Errorf("%d bytes were sent", n)
	}
}

// A line that stops: what surely went over it is measured, and what the system still holds is not.
func TestShipmentIsBounded(t *testing.T) {
	s := source{most: 1 << 38, time: 50 * time.Millisecond, block: make([]byte, uploadBlock)}
	begin := time.Now()
	if n, err := io.Copy(io.Discard, &s); err != nil || n != s.sent || n < uploadBlock {
		t.Errorf("%d bytes, %d counted, %v", n, s.sent, err)
	}
	if took := time.Since(begin); s.sent == s.most || took < s.time {
		t.Errorf("it ended after %s and %d bytes", took, s.sent)
	}
	s = source{most: 300_001, time: time.Hour, block: make([]byte, uploadBlock)}
	if n, err := io.Copy(io.Discard, &s); err != nil || n != s.most {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A slow line: what is measured is what the line carries, not what the system holds.
func TestUploadOverASlowLine(t *testing.T) {
	t.Parallel()
	w := checktest.NewWorld(t)
	w.Site("pc", false)
	w.Site("web", false)
	w.Join("pc", []string{"10.0.0.2/24"}, "web", []string{"10.0.0.1/24"})
	var taken atomic.Int64
	w.Do("web", func() error {
		l, err := net.Listen("tcp", "10.0.0.1:80")
		if err != nil {
			return err
		}
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			taken.Add(n)
			_, _ = w.Write(make([]byte, 100_000))
		})}}
		s.Start()
		t.Cleanup(s.Close)
		return nil
	})
	w.Shape("pc", "web", "4mbit")
	plan := `{id: inet.t, kind: throughput, every: 1h, timeout: 30s, confirm: 0, with: {enabled: true, url: "http://10.0.0.1/", max_bytes: 100000, upload_url: "http://10.0.0.1/", upload_bytes: 64MiB, daily_bytes: 100MiB, max_time: 6s, min_up_mbps: 100}}`
	r := w.Check("pc", checktest.Run{Plan: plan, Limit: 30 * time.Second})[0]
	declared(t, throughputKind(), r)
	want(t, r, check.Slow)
	if bps, _ := r.Facts.Get("up_bits_per_s"); bps <= 0 || bps > 4.4e6 {
		t.Errorf("%v bits a second over a line of 4 Mbit/s: %s", bps, r.Detail)
	}
}
