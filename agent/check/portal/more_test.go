package portal

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

const htmlType = "Content-Type: text/html; charset=utf-8\r\n"

// What must stand where, and what a page is in place of the site's own.
func TestHTTPParts(t *testing.T) {
	doc := says(page("Content-Type: application/json\r\n", `{"status":"UP","db":[{"ok":true},{"ok":false}],"n":12}`))
	home := says(page(htmlType, `<title>Cổng TTĐT</title><h1 class=ten>Huyện Tứ Kỳ</h1><ul><li>một<li>hai</ul>`+strings.Repeat("tin ", 400)))
	m := func(kv ...string) map[string]string {
		all := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			all[kv[i]] = kv[i+1]
		}
		return all
	}
	short := func(title, text string) func(*testing.T) string {
		return says(page(htmlType, "<title>"+title+"</title><p>"+text))
	}
	news := strings.Repeat("Tin trong huyện hôm nay. ", 400)
	for _, tt := range []httpTest{
		{name: "JSON", url: doc, with: check.Options{"json": m("$.status", "^UP$", "$.db[*].ok", "true", "$.n", "")}, reason: check.OK},
		{name: "JSON of another value", url: doc, with: check.Options{"json": m("$.status", "^DOWN$")}, reason: check.ContentMissing, detail: "no value at $.status matches"},
		{name: "JSON without the value", url: doc, with: check.Options{"json": m("$.gone", "")}, reason: check.ContentMissing, detail: "no value at $.gone"},
		{name: "no JSON", url: home, with: check.Options{"json": m("$.n", "")}, reason: check.Protocol, detail: "not JSON"},
		{name: "elements", url: home, with: check.Options{"select": m("h1.ten", "Tứ Kỳ", "li + li", "^hai$", "title", "")}, reason: check.OK},
		{name: "an element with another text", url: home, with: check.Options{"select": m("h1.ten", "Hải Dương")}, reason: check.ContentMissing, detail: `no element "h1.ten" matches "Hải Dương"`},
		{name: "no such element", url: home, with: check.Options{"select": m("form", "")}, reason: check.ContentMissing, detail: `no element "form"`},
		{name: "no element that must not be", url: home, with: check.Options{"select_absent": []string{"iframe"}}, reason: check.OK},
		{name: "an element that must not be", url: home, with: check.Options{"select_absent": []string{"iframe", "li"}}, reason: check.ContentForbidden, detail: `element "li"`},

		{name: "maintenance by its title", url: short("Hệ thống đang BẢO TRÌ", "Xin quay lại sau"), reason: check.ContentForbidden, detail: `announces maintenance: "bảo trì"`},
		{name: "maintenance in a few words", url: short("Thông báo", "Cổng tạm dừng cung cấp dịch vụ đến 6h"), reason: check.ContentForbidden, detail: "tạm dừng cung cấp"},
		{name: "maintenance as character references", url: short("x", "H&#7879; th&#7889;ng &#273;ang b&#7843;o tr&igrave;"), reason: check.ContentForbidden},
		{name: "maintenance, signs not looked for", url: short("bảo trì", ""), with: check.Options{"signs": false}, reason: check.OK},
		{name: "news of maintenance", url: short("Cổng TTĐT", news+"Thông báo bảo trì hệ thống"), reason: check.OK},
		{name: "an article on maintenance", url: short("Thông báo bảo trì hệ thống", news), reason: check.OK},
		{name: "maintenance in a script", url: short("Cổng", "<script>var s = 'bảo trì'</script>"), reason: check.OK},
		{name: "maintenance with status 503", url: says("HTTP/1.1 503 x\r\n" + htmlType + "\r\n<title>Bảo trì</title>"), reason: check.HTTPStatus, detail: "status 503, want 200: the page announces maintenance"},
		{name: "closed with status 503, unsaid", url: says("HTTP/1.1 503 x\r\n\r\n<title>x</title>"), reason: check.HTTPStatus, detail: "status 503, want 200"},
		{name: "a firewall's page with status 200", url: short("Request Rejected", "The requested URL was rejected. Please consult with your administrator."), with: check.Options{"contains": []string{"Tứ Kỳ"}}, reason: check.Blocked, detail: "F5 BIG-IP"},
		{name: "refused by country", url: says("HTTP/1.1 403 x\r\n\r\nThe Amazon CloudFront distribution is configured to block access from your country."), reason: check.Blocked, detail: "by country"},
		{name: "defaced", url: short("HaCked By x", "greetz"), reason: check.ContentChanged, detail: `sign of defacement: "hacked by"`},
		{name: "news of a defacement", url: short("Cổng TTĐT", news+"trang bị hack bởi nhóm"), reason: check.OK},

		{name: "HSTS", url: says(page("Strict-Transport-Security: max-age=\"31536000\" ; includeSubDomains\r\n", "")), reason: check.OK},
	} {
		t.Run(tt.name, tt.run)
	}
}

func TestHSTS(t *testing.T) {
	for text, want := range map[string]time.Duration{"max-age=60": time.Minute, "includeSubDomains; Max-Age=\"60\"": time.Minute, "": 0, "max-age": 0, "max-age=-1": 0, "max-age=x": 0, "max-age=0": 0,
		"max-age=99999999999999999999": 0, "max-age=9000000000": century * time.Second} {
		if got := hstsAge(http.Header{"Strict-Transport-Security": {text}}); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	a := checktest.NewAuthority(t, "portal.test")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=86400")
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}}
	s.StartTLS()
	t.Cleanup(s.Close)
	for limit, want := range map[time.Duration]check.Reason{24 * time.Hour: check.OK, 25 * time.Hour: check.WeakTLS} {
		r := checktest.NewFunc(t, httpKind(), check.Options{"url": s.URL, "roots": a.Roots(), "server_name": "portal.test", "hsts": limit}, check.Env{})(t.Context())
		if v, _ := r.Facts.Get("hsts_s"); r.Reason != want || v != 86400 {
			t.Errorf("%s: %s %q, %v", limit, r.Reason, r.Detail, v)
		}
	}
}

// A page that changes a little is the same; one that changes at once is not, until it has stayed so.
func TestHTTPChanged(t *testing.T) {
	text := func(n int) string {
		var b strings.Builder
		for i := range 60 {
			fmt.Fprintf(&b, "<p>Bài viết %s của huyện về việc %s</p>", strings.Repeat("a", 1+(i+n)%60), strings.Repeat("b", 1+(i+n)%60))
		}
		return b.String()
	}
	var body atomic.Value
	url := webServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		s, _ := body.Load().(string)
		_, _ = io.WriteString(w, s)
	})
	now := checktest.Epoch()
	clock := check.Env{Now: func() time.Time { return now }}
	f := checktest.NewFunc(t, httpKind(), check.Options{"url": url, "changed": 0.5, "changed_for": 2 * time.Hour, "ignore": ".dem", "tolerate": []string{"Chào (buổi sáng|buổi chiều)"}}, clock)
	for i, tt := range []struct {
		body   string
		later  time.Duration
		reason check.Reason
		least  float64
		most   float64
	}{
		{text(0) + "Chào buổi sáng 08:00 <b class=dem>một hai ba bốn</b>", 0, check.OK, 2, -1},
		{text(0) + "Chào buổi chiều 17:31 <b class=dem>năm sáu bảy tám</b>", time.Minute, check.OK, 0, 0},
		{text(0) + "<p>Một bài mới", time.Minute, check.OK, 0, 0.2},
		{"<p>Trang này là của chúng tôi rồi nhé các bạn", time.Minute, check.ContentChanged, 0.9, 1},
		{text(0) + "<p>Một bài mới", time.Minute, check.OK, 0, 0},
		{"<p>Giao diện mới của cổng thông tin", time.Minute, check.ContentChanged, 0.9, 1},
		{"<p>Giao diện mới của cổng thông tin", time.Hour, check.ContentChanged, 0.9, 1},
		{"<p>Giao diện mới của cổng thông tin", time.Hour, check.OK, 0.9, 1},
		{"<p>Giao diện mới của cổng thông tin", time.Minute, check.OK, 0, 0},
	} {
		body.Store(tt.body)
		now = now.Add(tt.later)
		r := f(t.Context())
		v, ok := r.Facts.Get("changed_ratio")
		if r.Reason != tt.reason || ok != (tt.least <= 1) || ok && (v < tt.least || v > tt.most) {
			t.Errorf("%d: %s %q, changed %v %v", i, r.Reason, r.Detail, v, ok)
		}
	}

	body.Store(text(0))
	shown := checktest.NewFunc(t, httpKind(), check.Options{"url": url, "reference": "show"}, clock)(t.Context()).Detail
	if shown != mustSketch(t, shown).String() {
		t.Errorf("shown is %q", shown)
	}
	declared := checktest.NewFunc(t, httpKind(), check.Options{"url": url, "reference": shown, "changed": 0.3, "changed_for": time.Minute}, clock)
	for range 3 { // a reference of the plan is never learnt anew
		body.Store(text(0))
		if r := declared(t.Context()); r.Reason != check.OK {
			t.Errorf("%s %q", r.Reason, r.Detail)
		}
		body.Store("<p>Một trang khác hẳn với trang đã khai báo")
		now = now.Add(time.Hour)
		if r := declared(t.Context()); r.Reason != check.ContentChanged || !strings.Contains(r.Detail, "100 % of the text") {
			t.Errorf("%s %q", r.Reason, r.Detail)
		}
	}
}

func mustSketch(t *testing.T, text string) sketch {
	t.Helper()
	s, err := parseSketch(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func FuzzSketch(f *testing.F) {
	f.Add("một hai ba bốn năm", "một hai ba bốn sáu")
	f.Add("", "a")
	same := func(s string) string { return s }
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := newSketch([]string{a}, same), newSketch([]string{b}, same)
		there, back := x.changed(y), y.changed(x)
		if there != back || there < 0 || there > 1 || x.changed(x) != 0 {
			t.Errorf("%v and %v", there, back)
		}
		if z, err := parseSketch(x.String()); err != nil || z.changed(x) != 0 || len(x.String()) > 240 {
			t.Errorf("%q: %v", x, err)
		}
		_, _ = parseSketch(a)
	})
}

func TestHTTPSizeChange(t *testing.T) {
	size := 1000
	url := webServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", size)) })
	f := checktest.NewFunc(t, httpKind(), check.Options{"url": url, "size_change": 0.5}, check.Env{})
	for i, tt := range []struct {
		size   int
		reason check.Reason
	}{{1000, check.OK}, {10, check.OK}, {1000, check.OK}, {1100, check.OK}, {1400, check.OK}, {1600, check.ContentChanged}, {300, check.ContentChanged}, {900, check.OK}} {
		size = tt.size
		if r := f(t.Context()); r.Reason != tt.reason {
			t.Errorf("%d: %s %q", i, r.Reason, r.Detail)
		}
	}
	for range sizes { // a site that was rebuilt becomes usual
		size = 5000
		f(t.Context())
	}
	if r := f(t.Context()); r.Reason != check.OK {
		t.Errorf("after many: %s %q", r.Reason, r.Detail)
	}
}

// kept is what a check keeps, as the daemon has it.
type kept map[string][]byte

// Note returns what was kept.
func (k kept) Note(name string) []byte { return k[name] }

// Keep keeps it.
func (k kept) Keep(name string, data []byte) { k[name] = data }

// What was learnt of a page outlives the program, and a note that is damaged is as none.
func TestHTTPRemembers(t *testing.T) {
	body := "<p>một hai ba bốn năm sáu"
	url := webServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
	notes := kept{}
	now := checktest.Epoch()
	run := func() check.Result {
		env := check.Env{Notes: notes, Now: func() time.Time { return now }}
		return checktest.NewFunc(t, httpKind(), check.Options{"url": url, "changed": 0.5, "size_change": 9.0, "changed_for": time.Hour}, env)(t.Context())
	}
	want{check.OK, "", nil}.check(t, run())
	want{check.OK, "", map[string]float64{"changed_ratio": 0}}.check(t, run())
	body = "<p>trang này của người khác rồi"
	want{check.ContentChanged, "", nil}.check(t, run())
	now = now.Add(59 * time.Minute)
	want{check.ContentChanged, "", nil}.check(t, run())
	now = now.Add(time.Minute)
	want{check.OK, "", map[string]float64{"changed_ratio": 1}}.check(t, run())
	want{check.OK, "", map[string]float64{"changed_ratio": 0}}.check(t, run())
	for _, damaged := range []string{"", "{", "[]", `{"Version":2,"Reference":"t1:AAAAAQAAAAI"}`, `{"Version":1,"Reference":"t1:A"}`, `{"Version":1,"Sizes":[-1]}`, `{"Version":1,"Sizes":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}`} {
		notes[noteName] = []byte(damaged)
		if r := run(); r.Reason != check.OK {
			t.Errorf("%s: %s %q", damaged, r.Reason, r.Detail)
		}
	}
	if len(notes[noteName]) > 2048 {
		t.Errorf("a note of %d bytes", len(notes[noteName]))
	}
}

// A page that changes a little at every run is written down now and then only.
func TestHTTPSparesTheDisk(t *testing.T) {
	n, written := 0, 0
	url := webServer(t, func(w http.ResponseWriter, _ *http.Request) {
		n++
		_, _ = io.WriteString(w, "<p>một hai ba bốn năm sáu bảy tám chín mười "+strings.Repeat("x", n))
	})
	now := checktest.Epoch()
	f := checktest.NewFunc(t, httpKind(), check.Options{"url": url, "changed": 0.5}, check.Env{Now: func() time.Time { return now }, Notes: counting(func() { written++ })})
	for range 60 {
		f(t.Context())
		now = now.Add(time.Minute)
	}
	if written < 2 || written > 4 {
		t.Errorf("written %d times in an hour", written)
	}
}

// counting calls itself for every note that is kept.
type counting func()

// Note has none.
func (counting) Note(string) []byte { return nil }

// Keep counts.
func (c counting) Keep(string, []byte) { c() }

// pagesOf serves a site of several pages.
func pagesOf(t *testing.T, pages map[string]string, asked *[]string) string {
	t.Helper()
	return webServer(t, func(w http.ResponseWriter, r *http.Request) {
		if asked != nil {
			*asked = append(*asked, r.Method+" "+r.URL.RequestURI())
		}
		body, ok := pages[r.URL.Path]
		switch {
		case !ok:
			http.NotFound(w, r)
		case body == "500":
			w.WriteHeader(http.StatusInternalServerError)
		case body == "login":
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasPrefix(body, "->"):
			http.Redirect(w, r, body[2:], http.StatusFound)
		default:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, body)
		}
	})
}

func TestHTTPNewest(t *testing.T) {
	url := pagesOf(t, map[string]string{
		"/":     "<p class=ngay>21/11/2026</p><p class=ngay>Hôm nay, 08:00</p><p class=ngay>sớm</p>",
		"/next": "<p class=ngay>23/11/2027",
		"/rss":  `<?xml version="1.0"?><rss><channel><item><title>x</title><pubDate>Sun, 22 Nov 2026 10:00:00 +0700</pubDate></item><item><pubDate>Fri, 20 Nov 2026 10:00:00 +0700</pubDate></item></channel></rss>`,
		"/map":  `<urlset><url><loc>http://x/</loc><lastmod>2026-11-21T10:00:00+07:00</lastmod></url></urlset>`,
		"/none": "<rss></rss>",
	}, nil)
	for _, tt := range []httpTest{
		{name: "on the page", with: check.Options{"newest": ".ngay", "newest_max": 3 * time.Hour}, reason: check.OK, facts: map[string]float64{"newest_age_s": 7200}},
		{name: "too old", with: check.Options{"newest": ".ngay", "newest_max": time.Hour}, reason: check.Stale, detail: "of 2026-11-23", facts: map[string]float64{"newest_age_s": 7200}},
		{name: "in the future", url: func(*testing.T) string { return url + "/next" }, with: check.Options{"newest": ".ngay", "newest_max": time.Hour}, reason: check.ClockSkew, detail: "in the future"},
		{name: "no date", with: check.Options{"newest": ".gone", "newest_max": time.Hour}, reason: check.Partial, detail: "no date of an article is found in the page"},
		{name: "in a feed", with: check.Options{"feed": url + "/rss", "newest_max": 25 * time.Hour}, reason: check.OK, facts: map[string]float64{"newest_age_s": 86400}},
		{name: "in a sitemap", with: check.Options{"feed": url + "/map", "newest_max": 25 * time.Hour}, reason: check.Stale, facts: map[string]float64{"newest_age_s": 2 * 86400}},
		{name: "no date in the feed", with: check.Options{"feed": url + "/none", "newest_max": time.Hour}, reason: check.Partial, detail: "in the feed"},
		{name: "no feed", with: check.Options{"feed": url + "/gone", "newest_max": time.Hour}, reason: check.Partial, detail: "the feed: status 404"},
	} {
		if tt.url == nil {
			tt.url = func(*testing.T) string { return url + "/" }
		}
		t.Run(tt.name, tt.run)
	}
}

func TestHTTPLinks(t *testing.T) {
	pages := map[string]string{
		"/": `<a href="/tin">a</a><a href=/tin#b>b</a><a href=/gone>c</a><a href="/login">d</a><a href=/logout>e</a><a href="http://elsewhere.test/">f</a><a href="mailto:a@b">g</a><a href="javascript:x()">h</a>
			<a href=/away>i</a><a href=/admin/x>j</a><a href=/admin/open>k</a><a href=/down>l</a><a href=/>m</a><a href="/tim?q=1">n</a>`,
		"/tin": "x", "/login": "login", "/away": "->http://elsewhere.test/", "/admin/x": "x", "/admin/open": "x", "/down": "500", "/tim": "x",
		"/robots.txt": "# none\nUser-agent: other\nDisallow: /\n\nUser-agent: *\nDisallow: /admin/ # all\nAllow: /admin/open\nDisallow: /*?q=\n",
		"/map":        "<urlset><url><loc>%s/tin</loc></url><url><loc>http://elsewhere.test/x</loc></url></urlset>",
		"/empty":      "<p>x",
	}
	var asked []string
	url := pagesOf(t, pages, &asked)
	pages["/map"] = fmt.Sprintf(pages["/map"], url)
	run := func(o check.Options) check.Result {
		asked = nil
		all := check.Options{"url": url + "/"}
		maps.Copy(all, o)
		return checktest.NewFunc(t, httpKind(), all, check.Env{})(t.Context())
	}
	r := run(check.Options{"links": int64(20)})
	got := strings.Join(asked, ", ")
	if r.Reason != check.Partial || !strings.Contains(r.Detail, "2 of 6 links lead nowhere: "+url+"/") || got == "" {
		t.Errorf("%s %q", r.Reason, r.Detail)
	}
	for _, never := range []string{"/logout", "/admin/x", "/tim", "elsewhere"} {
		if strings.Contains(got, never) {
			t.Errorf("%s was asked for: %s", never, got)
		}
	}
	for _, always := range []string{"GET /, GET /robots.txt, HEAD /", "HEAD /admin/open", "HEAD /gone", "HEAD /down", "HEAD /tin", "HEAD /login", "HEAD /away"} {
		if !strings.Contains(got, always) {
			t.Errorf("%s was not asked for: %s", always, got)
		}
	}
	if r := run(check.Options{"links": int64(2)}); len(asked) != 4 {
		t.Errorf("%s %q: asked %v", r.Reason, r.Detail, asked)
	}
	if r := run(check.Options{"links": int64(5), "sitemap": url + "/map"}); r.Reason != check.OK || len(asked) != 4 {
		t.Errorf("sitemap: %s %q: asked %v", r.Reason, r.Detail, asked)
	}
	if r := run(check.Options{"links": int64(5), "sitemap": url + "/gone"}); r.Reason != check.Partial || !strings.Contains(r.Detail, "the sitemap: status 404") {
		t.Errorf("no sitemap: %s %q", r.Reason, r.Detail)
	}
	if r := run(check.Options{"url": url + "/empty", "links": int64(5)}); r.Reason != check.Partial || !strings.Contains(r.Detail, "no link") {
		t.Errorf("no links: %s %q", r.Reason, r.Detail)
	}
	pages["/robots.txt"] = "User-agent: egovmon\nDisallow: /"
	if r := run(check.Options{"links": int64(5)}); r.Reason != check.OK || len(asked) != 2 {
		t.Errorf("all forbidden: %s %q: asked %v", r.Reason, r.Detail, asked)
	}
	delete(pages, "/robots.txt")
	if r := run(check.Options{"links": int64(20)}); r.Reason != check.Partial || !strings.Contains(strings.Join(asked, ", "), "/admin/x") {
		t.Errorf("no robots.txt: %s %q: asked %v", r.Reason, r.Detail, asked)
	}
	pages["/robots.txt"] = "500"
	if r := run(check.Options{"links": int64(5)}); r.Reason != check.OK || len(asked) != 2 {
		t.Errorf("robots.txt broken: %s %q: asked %v", r.Reason, r.Detail, asked)
	}
}

// A link whose server ends the connection leads nowhere, and what is left of the time bounds the rest.
func TestBrokenLinks(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := webServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			_, _ = io.WriteString(w, "<a href=/cut>x</a>")
		case "/stop":
			_, _ = io.WriteString(w, "<a href=/off>x</a>")
		case "/off":
			cancel()
			<-r.Context().Done()
		case "/slow":
			_, _ = io.WriteString(w, "<a href=/hang>x</a><a href=/hang2>x</a><a href=/hang3>x</a>")
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/robots.txt":
			http.NotFound(w, r)
		default:
			<-r.Context().Done()
		}
	})
	f := checktest.NewFunc(t, httpKind(), check.Options{"url": s, "links": int64(3)}, check.Env{})
	want{check.Partial, "1 of 1 links lead nowhere: " + s + "/cut: connect_reset", map[string]float64{"links_count": 1, "links_broken_count": 1}}.check(t, f(t.Context()))
	f = checktest.NewFunc(t, httpKind(), check.Options{"url": s + "/slow", "links": int64(3)}, check.Env{Timeout: time.Second})
	begin := time.Now()
	want{check.Partial, "links lead nowhere", nil}.check(t, f(t.Context()))
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("took %s", took)
	}
	f = checktest.NewFunc(t, httpKind(), check.Options{"url": s + "/stop", "links": int64(3)}, check.Env{})
	want{check.OK, "", map[string]float64{"links_count": 0}}.check(t, f(ctx)) // called off in the middle: no link is blamed
}

func TestRobotRules(t *testing.T) {
	for _, tt := range []struct {
		path, rule string
		want       bool
	}{{"/a/b", "/a", true}, {"/b", "/a", false}, {"/a/x.pdf", "/*.pdf$", true}, {"/a/x.pdf?q", "/*.pdf$", false}, {"/a", "/a$", true}, {"/ab", "/a$", false}, {"/a", "/a*$", true}, {"/x", "*", true}} {
		if got := (robotRule{path: tt.rule}).fits(tt.path); got != tt.want {
			t.Errorf("%s %s: %v", tt.rule, tt.path, got)
		}
	}
}

func TestHTTPForced(t *testing.T) {
	a := checktest.NewAuthority(t, "127.0.0.1")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}}
	s.StartTLS()
	t.Cleanup(s.Close)
	plain := pagesOf(t, map[string]string{"/shows": "x", "/leads": "->https://127.0.0.1/", "/round": "->http://127.0.0.1/x"}, nil)
	for path, want := range map[string]struct {
		reason check.Reason
		code   float64
	}{plain + "/shows": {check.WeakTLS, 0}, plain + "/leads": {check.OK, 1}, plain + "/round": {check.WeakTLS, 0}, plain + "/gone": {check.OK, 1}, "http://" + checktest.ClosedPort(t) + "/": {check.OK, 1}} {
		r := checktest.NewFunc(t, httpKind(), check.Options{"url": s.URL, "roots": a.Roots(), "plain_url": path}, check.Env{})(t.Context())
		if v, ok := r.Facts.Get("https_forced_code"); r.Reason != want.reason || !ok || v != want.code {
			t.Errorf("%s: %s %q, %v", path, r.Reason, r.Detail, v)
		}
	}
}

// Every address of a name is tried: here several of one machine, on one port.
func TestHTTPAddresses(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Tứ Kỳ") }))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr
	good, dead, dead2 := addr("127.0.0.1"), addr("127.0.0.2"), addr("127.0.0.3")
	six := addr("::1")
	if l, err := net.Listen("tcp", net.JoinHostPort("::1", port)); err == nil {
		six6 := &http.Server{Handler: s.Config.Handler, ReadHeaderTimeout: time.Minute}
		go func() { _ = six6.Serve(l) }()
		t.Cleanup(func() { _ = six6.Close() })
	} else {
		six = netip.Addr{}
		t.Logf("without an address of IPv6: %v", err)
	}
	for _, tt := range []struct {
		name   string
		has    []netip.Addr
		with   check.Options
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{"all do", []netip.Addr{good, addr("::ffff:127.0.0.1")}, nil, check.OK, "", map[string]float64{"addresses_count": 2, "addresses_failed_count": 0, "ipv4_code": 1, "ipv6_code": 0}},
		{"one of three is dead", []netip.Addr{dead, good, good}, nil, check.Partial, "1 of 3 addresses fail: 127.0.0.2: connect_refused", map[string]float64{"addresses_failed_count": 1, "status_code": 200}},
		{"the content is missing everywhere", []netip.Addr{good, good}, check.Options{"contains": []string{"Hải Dương"}}, check.ContentMissing, "", map[string]float64{"addresses_failed_count": 2, "ipv4_code": 0}},
		{"all are dead", []netip.Addr{dead, dead2}, nil, check.ConnectRefused, "127.0.0.2", nil},
		{"both families", []netip.Addr{good, six}, check.Options{"addresses": addressesFamilies}, check.OK, "", map[string]float64{"ipv4_code": 1, "ipv6_code": 1}},
		{"both families, one address dead", []netip.Addr{dead, good, six}, check.Options{"addresses": addressesFamilies}, check.OK, "", map[string]float64{"addresses_failed_count": 1}},
		{"no IPv6", []netip.Addr{good}, check.Options{"addresses": addressesFamilies}, check.Partial, "no address of IPv6", nil},
		{"IPv4 dead", []netip.Addr{dead, six}, check.Options{"addresses": addressesFamilies}, check.Partial, "no address of IPv4 does; 127.0.0.2", map[string]float64{"ipv4_code": 0, "ipv6_code": 1}},
		{"only IPv4 asked for", []netip.Addr{good}, check.Options{"family": "ip4"}, check.OK, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, a := range tt.has {
				if !a.IsValid() {
					t.Skip("this machine has no IPv6 loopback")
				}
			}
			o := check.Options{"url": "http://portal.test:" + port + "/", "addresses": addressesAll}
			maps.Copy(o, tt.with)
			r := runAt(t, o, func(_ context.Context, network, host string) ([]netip.Addr, error) {
				if host != "portal.test" || (network == "ip4") != (o.String("family") == "ip4") {
					t.Errorf("asked for %s of %s", network, host)
				}
				return tt.has, nil
			})
			want{tt.reason, tt.detail, tt.facts}.check(t, r)
		})
	}
	r := runAt(t, check.Options{"url": "http://portal.test/", "addresses": addressesAll}, func(context.Context, string, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	})
	want{check.DNSNXDomain, "", nil}.check(t, r)
}

// runAt runs http with names resolved by resolve.
func runAt(t *testing.T, o check.Options, resolve func(context.Context, string, string) ([]netip.Addr, error)) check.Result {
	t.Helper()
	c, err := newHTTP(checktest.WithDefaults(t, httpKind(), o), checktest.WithEnv(check.Env{}))
	if err == nil {
		err = c.beyond(checktest.WithDefaults(t, httpKind(), o), checktest.WithEnv(check.Env{}))
	}
	if err != nil {
		t.Fatal(err)
	}
	c.pool, c.more.resolve = &sync.Pool{New: func() any { return new(scratch) }}, resolve
	r := c.run(t.Context())
	checktest.Declared(t, httpKind(), r)
	return r
}

func TestHTTP2(t *testing.T) {
	a := checktest.NewAuthority(t, "127.0.0.1")
	serve := func(two bool) string {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/bomb":
				for {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			case "/hang":
				<-r.Context().Done()
			case "/cut":
				panic(http.ErrAbortHandler)
			case "/round":
				http.Redirect(w, r, "/", http.StatusFound)
			case "/head":
				w.Header().Set("X", strings.Repeat("x", 600<<10))
			case "/hollow":
				checktest.Hollow(w)
			default:
				fmt.Fprintf(w, "Tứ Kỳ %s", r.Proto)
			}
		}))
		s.EnableHTTP2 = two
		s.TLS = &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	two, one := serve(true), serve(false)
	for _, tt := range []struct {
		name, url, protocol string
		with                check.Options
		env                 check.Env
		reason              check.Reason
		detail              string
		version             float64
	}{
		{"not asked for", two, protocol1, nil, check.Env{}, check.OK, "", 11},
		{"where there is", two, protocolAny, check.Options{"contains": []string{"HTTP/2.0"}}, check.Env{}, check.OK, "", 20},
		{"where there is none", one, protocolAny, check.Options{"contains": []string{"HTTP/1.1"}}, check.Env{}, check.OK, "", 11},
		{"had", two, protocol2, nil, check.Env{}, check.OK, "", 20},
		{"over a redirection", two + "/round", protocol2, nil, check.Env{}, check.OK, "", 20},
		{"not had", one, protocol2, nil, check.Env{}, check.Protocol, "does not speak HTTP/2", 0},
		{"a body without end", two + "/bomb", protocol2, nil, check.Env{}, check.TooLarge, "", 20},
		{"packed nothing without end", two + "/hollow", protocol2, check.Options{"max_bytes": int64(64 << 10)}, check.Env{}, check.TooLarge, "more bytes than may come", 20},
		{"headers without end", two + "/head", protocol2, nil, check.Env{}, check.Protocol, "", 0},
		{"silent", two + "/hang", protocol2, nil, check.Env{Timeout: 500 * time.Millisecond}, check.Timeout, "", 0},
		{"cut", two + "/cut", protocol2, nil, check.Env{}, check.Protocol, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": tt.url, "roots": a.Roots(), "protocol": tt.protocol}
			maps.Copy(o, tt.with)
			r := checktest.NewFunc(t, httpKind(), o, tt.env)(t.Context())
			if v, _ := r.Facts.Get("http_version_code"); r.Reason != tt.reason || !strings.Contains(r.Detail, tt.detail) || v != tt.version {
				t.Errorf("%s %q, version %v", r.Reason, r.Detail, v)
			}
		})
	}
}

// A server that takes the connection and no request is asked once: another connection would hide that.
func TestHTTP2IsAskedOnce(t *testing.T) {
	a := checktest.NewAuthority(t, "portal.test")
	var connections atomic.Int32
	at := checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}, NextProtos: []string{"h2"}}, func(c net.Conn) {
		connections.Add(1)
		// SETTINGS, then GOAWAY that nothing was taken (RFC 9113, section 6.8).
		_, _ = c.Write([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x08\x07\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"))
		_, _ = io.Copy(io.Discard, c)
	})
	o := check.Options{"url": "https://" + at, "server_name": "portal.test", "roots": a.Roots(), "protocol": protocol2}
	want{check.Protocol, "the server ended the connection", nil}.check(t, checktest.NewFunc(t, httpKind(), o, check.Env{})(t.Context()))
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestHTTPMoreOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{"json": map[string]string{"x": ""}}, `option "json"`},
		{check.Options{"json": map[string]string{"$.x": "("}}, `option "json"`},
		{check.Options{"select": map[string]string{"[": ""}}, `option "select"`},
		{check.Options{"select": map[string]string{"a": "("}}, `option "select"`},
		{check.Options{"select_absent": []string{""}}, `option "select_absent"`},
		{check.Options{"ignore": "["}, `option "ignore"`},
		{check.Options{"tolerate": []string{"("}}, `option "tolerate"`},
		{check.Options{"reference": "x", "changed": 0.5}, `option "reference"`},
		{check.Options{"reference": "t1:"}, `option "reference": write changed`},
		{check.Options{"reference": "t1:AAAAAgAAAAE", "changed": 0.5}, `option "reference"`},
		{check.Options{"newest": "["}, `option "newest"`},
		{check.Options{"newest": "a"}, `option "newest_max"`},
		{check.Options{"newest_max": time.Hour}, `option "newest_max"`},
		{check.Options{"newest": "a", "feed": "https://portal.test/rss", "newest_max": time.Hour}, `option "feed"`},
		{check.Options{"feed": "https://other.test/rss", "newest_max": time.Hour}, `option "feed": other.test is of another site`},
		{check.Options{"feed": "ftp://portal.test/rss", "newest_max": time.Hour}, `option "feed"`},
		{check.Options{"plain_url": "https://portal.test/"}, `option "plain_url"`},
		{check.Options{"sitemap": "https://portal.test/map"}, `option "sitemap"`},
		{check.Options{"url": "http://portal.test", "hsts": time.Hour}, `option "url"`},
		{check.Options{"url": "http://portal.test", "protocol": protocol2}, `option "url"`},
		{check.Options{"addresses": addressesAll, "proxy": "http://proxy.test"}, `option "addresses"`},
		{check.Options{"addresses": addressesFamilies, "family": "ip4"}, `option "addresses"`},
		{check.Options{"caa": []string{"-ạ_"}}, `option "caa"`},
		{check.Options{"url": "https://192.0.2.1", "caa": []string{"a.test"}}, `option "caa"`},
		{check.Options{"method": "HEAD", "changed": 0.5}, `option "method"`},
		{check.Options{"method": "HEAD", "json": map[string]string{"$": ""}}, `option "method"`},
	} {
		if !tt.with.Has("url") {
			tt.with["url"] = "https://portal.test/"
		}
		_, err := httpKind().New(checktest.WithDefaults(t, httpKind(), tt.with), checktest.WithEnv(check.Env{}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.with, err, tt.want)
		}
	}
}
