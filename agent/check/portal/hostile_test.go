package portal

import (
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// Whatever a page is, looking at its parts costs bounded time and memory and ends with its reason.
func TestHTTPOfHostilePages(t *testing.T) {
	url := webServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch r.URL.Path {
		case "/huge": // 500 MB, were it read
			chunk := []byte(strings.Repeat("<p>x", 16<<10))
			for range 500 << 20 / len(chunk) {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		case "/deep":
			_, _ = io.WriteString(w, strings.Repeat("<b>", 1_000_000)+"<p class=x>y")
		case "/links":
			_, _ = io.WriteString(w, strings.Repeat("<a href=/x>", 100_000))
		case "/words":
			for i := range 300_000 {
				fmt.Fprintf(w, "%x ", i*2654435761)
			}
		case "/json":
			_, _ = io.WriteString(w, strings.Repeat(`{"a":`, 700_000))
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for range 8000 { // 500 MB
				if _, err := z.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/cookies":
			for i := range 3000 {
				w.Header().Add("Set-Cookie", fmt.Sprintf("c%d=%s", i, strings.Repeat("x", 60)))
			}
			if r.URL.RawQuery == "" {
				http.Redirect(w, r, "/cookies?2", http.StatusFound)
			}
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		}
	})
	all := check.Options{"select": map[string]string{"div p.x:not(.y) > i ~ b": ""}, "changed": 0.5, "newest": "p.x, p .y", "newest_max": time.Hour}
	for _, tt := range []struct {
		path   string
		with   check.Options
		reason check.Reason
		detail string
	}{
		{"/huge", all, check.TooLarge, "more than"},
		{"/deep", all, check.ContentMissing, "no element"},
		{"/deep", check.Options{"changed": 0.5}, check.OK, ""},
		{"/links", check.Options{"links": int64(5)}, check.OK, ""},
		{"/words", check.Options{"changed": 0.5}, check.OK, ""},
		{"/json", check.Options{"json": map[string]string{"$.a.a.b": ""}}, check.Protocol, "not JSON"},
		{"/bomb", all, check.TooLarge, "more than"},
		{"/cookies", nil, check.OK, ""},
		{"/loop", nil, check.HTTPRedirect, "more than 10"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			o := check.Options{"url": url + tt.path}
			maps.Copy(o, tt.with)
			f := checktest.NewFunc(t, httpKind(), o, check.Env{})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			want{tt.reason, tt.detail, nil}.check(t, f(t.Context()))
			runtime.ReadMemStats(&after)
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 128<<20 {
				t.Errorf("%d MiB were allocated", spent>>20)
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}
