package board

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

func handlerOf(f *fake) http.Handler {
	return NewHandler(f, Options{Now: func() time.Time { return noon }, Fresh: -1})
}

func get(h http.Handler, path string, edits ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for _, e := range edits {
		e(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A page is a parsed answer.
type page struct {
	*html.Node
	text string // all that is shown, with single spaces
}

func parse(t *testing.T, w *httptest.ResponseRecorder) page {
	t.Helper()
	n, err := html.Parse(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return page{n, strings.Join(strings.Fields(b.String()), " ")}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// all returns the elements of a name; with a class, those that have it.
func (p page) all(name, class string) []*html.Node {
	var out []*html.Node
	for d := range p.Descendants() {
		if d.Type == html.ElementNode && d.Data == name && (class == "" || strings.Contains(" "+attr(d, "class")+" ", " "+class+" ")) {
			out = append(out, d)
		}
	}
	return out
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func paths() []string {
	return []string{"/", "/service/mail", "/service/tabmis", "/service/dien", "/check/" + me + "/thu_thap.check", "/check/" + me + "/lan.check", "/incident/20261123-000110-service-mail",
		"/incident/20261122-150000-service-qlvb", "/incident/nothing", "/nowhere"}
}

// Every page is whole in both languages: no phrase is missing, ids are unique and what refers to an id finds it.
func TestPagesAreWhole(t *testing.T) {
	missing := regexp.MustCompile(`<[a-z]+\.[a-z.]+>|&lt;[a-z]+\.[a-z.]+&gt;|%![a-z]|ZgotmplZ|<no value>`)
	for _, f := range []*fake{newcomer(), district(), troubled(), {view: View{}}} {
		for _, path := range paths() {
			for _, lang := range []string{"vi", "en"} {
				w := get(acking(f, nil), path+"?lang="+lang)
				if m := missing.FindString(w.Body.String()); m != "" {
					t.Errorf("%s in %s: %s", path, lang, m)
				}
				p := parse(t, w)
				if got := attr(p.all("html", "")[0], "lang"); got != lang {
					t.Errorf("%s: lang=%q, want %q", path, got, lang)
				}
				ids := map[string]bool{}
				for d := range p.Descendants() {
					if id := attr(d, "id"); id != "" {
						if ids[id] {
							t.Errorf("%s: two elements are %q", path, id)
						}
						ids[id] = true
					}
				}
				for d := range p.Descendants() {
					for _, key := range []string{"href", "aria-labelledby"} {
						ref, ok := strings.CutPrefix(attr(d, key), "#")
						if key == "aria-labelledby" {
							ref, ok = attr(d, key), attr(d, key) != ""
						}
						if ok && !ids[ref] {
							t.Errorf("%s: %s=%q leads nowhere", path, key, ref)
						}
					}
					if d.Type == html.ElementNode && (d.Data == "style" || attr(d, "style") != "" || attr(d, "onclick") != "" || d.Data == "script" && attr(d, "src") == "") {
						t.Errorf("%s: <%s> needs what the policy forbids", path, d.Data)
					}
				}
				if len(p.all("h1", "")) != 1 || len(p.all("main", "")) != 1 || attr(p.all("a", "skip")[0], "href") != "#main" {
					t.Errorf("%s: want one h1, one main and a way to skip to it", path)
				}
				for _, th := range p.all("th", "") {
					if attr(th, "scope") == "" {
						t.Errorf("%s: the heading %q says not what it is for", path, textOf(th))
					}
				}
			}
		}
	}
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	h := handlerOf(newcomer())
	for _, path := range []string{"/", "/service/pc", "/check/" + me + "/pc.check"} {
		for d := range parse(t, get(h, path)).Descendants() {
			for _, key := range []string{"href", "src"} {
				to := attr(d, key)
				switch {
				case to == "" || strings.HasPrefix(to, "#"):
				case strings.HasPrefix(to, "?"):
					to = path + to
					fallthrough
				default:
					if code := get(h, to).Code; code != http.StatusOK {
						t.Errorf("%s links to %s: status %d", path, to, code)
					}
				}
			}
		}
	}
}

func TestFrontSaysWhatIsMeasured(t *testing.T) {
	p := parse(t, get(handlerOf(newcomer()), "/"))
	for _, want := range []string{"Huyện Tứ Kỳ", "2 Hoạt động bình thường", "1 Không xác định", "13 Không đo được", "Dịch vụ đang được đo (3)",
		"từ 08:27", "Máy này không đo được mục này", "Số liệu nhận lần cuối lúc 08:30:12 ngày 23/11/2026", "10 dịch vụ chưa cấu hình", "cong_h.url",
		"parameters.yaml", "23 đơn vị chưa có tác tử", "2 dịch vụ chưa có điểm đo", "14 mục", "qL8k2mQ0sZ4e…", "bản 1 · 3 phép kiểm tra"} {
		if !strings.Contains(p.text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	rows := p.all("tbody", "")[0]
	if got := strings.Count(textOf(rows), "Hoạt động bình thường"); got != 4 {
		t.Errorf("the table says %d times that something works, want 4", got)
	}
	if strings.Contains(textOf(rows), "TABMIS") {
		t.Error("what is not measured stands among what is")
	}
	en := parse(t, get(handlerOf(newcomer()), "/?lang=en"))
	for _, want := range []string{"Tứ Kỳ District", "2 Up", "Central collector", "since 08:27", "10 services are not configured"} {
		if !strings.Contains(en.text, want) {
			t.Errorf("the English page lacks %q", want)
		}
	}
}

// Every sign comes with its word, in every form of the table.
func TestNoStateByColourAlone(t *testing.T) {
	p := parse(t, get(handlerOf(district()), "/"))
	n := 0
	for _, td := range p.all("td", "") {
		for d := range td.Descendants() {
			if d.Type == html.ElementNode && d.Data == "svg" {
				n++
				if attr(d, "aria-hidden") != "true" || textOf(td) == "" {
					t.Errorf("a sign without a word: %s", attr(td, "class"))
				}
			}
		}
	}
	if n < 13*24 {
		t.Errorf("%d signs in the table of 13 services and 24 units", n)
	}
	if want := "Xã Đại Hợp: Gián đoạn, từ 06:55, Không trả lời trong thời gian cho phép"; !strings.Contains(p.text, want) {
		t.Errorf("nothing says %q", want)
	}
	for _, s := range check.States() {
		if len(p.all("svg", s.String())) == 0 {
			t.Errorf("the fixture has no %s", s)
		}
	}
}

func TestTroubles(t *testing.T) {
	p := parse(t, get(handlerOf(district()), "/"))
	var got []string
	for _, li := range p.all("p", "what") {
		got = append(got, textOf(li))
	}
	want := []string{"Gián đoạn Thư điện tử công vụ", "Gián đoạn Đường truyền Internet Xã Đại Hợp", "Suy giảm Cổng TTĐT huyện",
		"Không xác định Xã Đại Hợp Mạng truyền số liệu chuyên dùng", "Không xác định Chữ ký số chuyên dùng Chính phủ (thiết bị USB) Xã An Thanh"}
	if len(got) != len(want) {
		t.Fatalf("%d troubles, want %d: %q", len(got), len(want), got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("trouble %d is %q, want %q", i, got[i], want[i])
		}
	}
	f := newcomer()
	f.edit(func(v *View) { v.Cells = v.Cells[:4] })
	if p := parse(t, get(handlerOf(f), "/")); !strings.Contains(p.text, words.Say(words.VI, "board.fine")) {
		t.Error("all is well, and nothing says so")
	}
	// One unit has it up, and too few vote for the service as a whole.
	f.edit(func(v *View) {
		v.Cells = []Cell{{Service: "pc", Reason: check.NotPlanned, Since: noon.Add(-time.Hour)},
			{Service: "pc", Unit: "huyen-tu-ky", State: check.Up, Reason: check.OK, Since: noon.Add(-time.Hour), Last: noon}}
	})
	if p := parse(t, get(handlerOf(f), "/")); strings.Contains(p.text, words.Say(words.VI, "board.fine")) ||
		!strings.Contains(p.text, words.Say(words.VI, "board.unknown", 1)) && !strings.Contains(p.text, "Không xác định Máy trạm") {
		t.Error("a service is unknown as a whole, and the page says that all is well")
	}
	f.edit(func(v *View) { v.Cells = nil })
	if p := parse(t, get(handlerOf(f), "/")); !strings.Contains(p.text, words.Say(words.VI, "board.wait")) || strings.Contains(p.text, words.Say(words.VI, "board.fine")) {
		t.Error("nothing is measured, and the page says that all is well")
	}
}

func TestUnknownIsNeverShownAsUp(t *testing.T) {
	f := newcomer()
	f.edit(func(v *View) {
		v.Cells = []Cell{{Service: "pc", Unit: "huyen-tu-ky", Reason: check.Silent, Since: noon.Add(-time.Hour), Checks: []CheckRef{{me, "pc.check"}}}}
	})
	p := parse(t, get(handlerOf(f), "/"))
	if !strings.Contains(p.text, "0 Hoạt động bình thường") || !strings.Contains(p.text, "1 Không xác định") {
		t.Errorf("a silent machine: %.600s", p.text)
	}
}

func TestCheckPage(t *testing.T) {
	p := parse(t, get(handlerOf(newcomer()), "/check/"+me+"/thu_thap.check"))
	for _, want := range []string{"Máy chủ thu thập tập trung", "Máy chủ từ chối kết nối", "mỗi 15 giây", "thử 2 lần", "160 ms", "Máy ngủ, không đo (thiếu 30 lần đo)",
		"Không có số liệu (thiếu 4 lần đo)", "Áp dụng kế hoạch đo bản 3", "kết nối 6,0 ms", "73,42 %", "47,1 KiB", "8,3 ms", "status_code 200", "Các lần đo gần nhất (47)"} {
		if !strings.Contains(p.text, strings.ReplaceAll(want, "\u00a0", " ")) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := len(p.all("tr", "gap")); n != 2 {
		t.Errorf("%d gaps in the table, want 2", n)
	}
	if n := len(p.all("rect", "hole")); n != 2 {
		t.Errorf("%d holes in the chart, want 2", n)
	}
	if n := len(p.all("rect", "s-down")); n != 5 {
		t.Errorf("%d failures in the strip, want 5", n)
	}
}

// A check that has fallen silent is not shown in its last colour.
func TestSilentCheck(t *testing.T) {
	f := newcomer()
	d := f.details[CheckRef{me, "pc.check"}]
	d.Entries = d.Entries[3:] // the newest is fine, and two minutes old
	f.details[CheckRef{me, "pc.check"}] = d
	verdict := func() string {
		return attr(parse(t, get(handlerOf(f), "/check/"+me+"/pc.check")).all("div", "verdict")[0], "class")
	}
	if got := verdict(); got != "verdict up" {
		t.Errorf("soon after: %s", got)
	}
	f.edit(func(v *View) { v.Now = v.Now.Add(time.Hour) })
	if got := verdict(); got != "verdict unknown" {
		t.Errorf("an hour later: %s", got)
	}
	f.edit(func(v *View) { v.Cells[3].Held = true })
	if got := verdict(); got != "verdict up" {
		t.Errorf("newer results are known to be on their way: %s", got)
	}
	if p := parse(t, get(handlerOf(f), "/")); !strings.Contains(p.text, "* kết quả gần nhất") {
		t.Error("the mark of what is held is not explained")
	}
}

// What comes from outside stays text, wherever it is shown.
func TestHostileTexts(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}`
	f := newcomer()
	d := f.details[CheckRef{me, "pc.check"}]
	d.Entries[0].Result.Detail, d.Entries[0].Result.Reason = evil, check.Reason(evil)
	d.Entries[1].Result.Phases = check.Phases{{Name: evil, Took: time.Millisecond}}
	d.Entries[0].Result.Facts = check.Facts{{Name: evil, Value: 1}}
	d.Kind, d.Machine = evil, evil
	f.details[CheckRef{me, "pc.check"}] = d
	f.edit(func(v *View) {
		v.District, v.Log.Root = Name{evil, evil}, evil
		v.Notices = []Name{{evil, evil}}
		v.Agents[0].Machine, v.Agents[0].Notice = evil, Name{evil, evil}
		v.Services[1].Name, v.Services[1].Owner = Name{evil, evil}, Name{evil, evil}
		v.Units[0].Name = Name{evil, evil}
		v.Cells[3].Reason, v.Cells[3].State = check.Reason(evil), check.Down
		v.Cells[3].Checks = []CheckRef{{"javascript:alert(3)//", evil}}
		v.NotConfigured[0].Parameters = []string{evil}
	})
	h := handlerOf(f)
	for _, path := range []string{"/", "/service/pc", "/check/" + me + "/pc.check", "/check/%3Cscript%3E/x", "/?lang=%22%3E%3Cscript%3E"} {
		w := get(h, path)
		p := parse(t, w)
		if n := len(p.all("script", "")); n != 1 {
			t.Errorf("%s: %d scripts, want our own", path, n)
		}
		if n := len(p.all("img", "")); n != 0 {
			t.Errorf("%s: %d images", path, n)
		}
		for d := range p.Descendants() {
			for _, a := range d.Attr {
				if strings.HasPrefix(a.Key, "on") || (a.Key == "href" || a.Key == "src") && strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Val)), "javascript:") {
					t.Errorf("%s: <%s %s=%q>", path, d.Data, a.Key, a.Val)
				}
			}
		}
		if path == "/service/pc" && !strings.Contains(p.text, "<script>alert(1)</script>") {
			t.Error("the text itself is not shown")
		}
	}
}

func TestPolicyAndLanguage(t *testing.T) {
	h := handlerOf(newcomer())
	w := get(h, "/?lang=en")
	csp := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("the policy lacks %s: %s", want, csp)
		}
	}
	if strings.Contains(csp, "unsafe") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("header %v", w.Header())
	}
	if got := w.Header().Get("Referrer-Policy"); got != "same-origin" {
		t.Errorf("Referrer-Policy: %s", got)
	}
	cookies := w.Result().Cookies()
	if len(cookies) != 1 || cookies[0].Value != "en" || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode {
		t.Fatalf("cookies %v, want the language", cookies)
	}
	if got := get(h, "/", func(r *http.Request) { r.AddCookie(cookies[0]) }).Header().Get("Content-Language"); got != "en" {
		t.Errorf("with the cookie the page is in %q", got)
	}
	for _, path := range []string{"/", "/?lang=fr", "/?lang="} {
		if w := get(h, path); w.Header().Get("Content-Language") != "vi" || len(w.Result().Cookies()) != 0 {
			t.Errorf("%s: language %q, cookies %v", path, w.Header().Get("Content-Language"), w.Result().Cookies())
		}
	}
}

func TestPollingIsCheap(t *testing.T) {
	f := newcomer()
	h := handlerOf(f)
	first := get(h, "/?part=main")
	tag := first.Header().Get("ETag")
	if tag == "" || bytes.Contains(first.Body.Bytes(), []byte("<html")) || !bytes.Contains(first.Body.Bytes(), []byte("<h1")) {
		t.Fatalf("ETag %q, body %.80q", tag, first.Body.String())
	}
	has := func(tag string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("If-None-Match", tag) }
	}
	f.edit(func(v *View) { v.Now = v.Now.Add(5 * time.Second) })
	if w := get(h, "/?part=main", has(`"other", W/`+tag)); w.Code != http.StatusNotModified || w.Body.Len() != 0 || w.Header().Get("ETag") != tag {
		t.Errorf("nothing changed but the time: status %d, %d bytes", w.Code, w.Body.Len())
	}
	f.edit(func(v *View) { v.Cells[0].State, v.Cells[0].Reason = check.Down, check.Timeout })
	if w := get(h, "/?part=main", has(tag)); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Gián đoạn") {
		t.Errorf("a service went down: status %d", w.Code)
	}
	if w := get(h, "/nowhere", has("*")); w.Code != http.StatusNotFound || w.Header().Get("ETag") != "" {
		t.Errorf("an error page: status %d, ETag %q", w.Code, w.Header().Get("ETag"))
	}
}

func TestManyBrowsersCostOneQuestion(t *testing.T) {
	f, now := newcomer(), noon
	h := NewHandler(f, Options{Now: func() time.Time { return now }})
	for range 10 {
		get(h, "/")
	}
	now = now.Add(999 * time.Millisecond)
	get(h, "/service/pc")
	if f.asked != 1 {
		t.Errorf("asked %d times within a second, want once", f.asked)
	}
	now = now.Add(time.Millisecond)
	if get(h, "/"); f.asked != 2 {
		t.Errorf("asked %d times after a second, want twice", f.asked)
	}
}

func TestStatusCodes(t *testing.T) {
	h := handlerOf(newcomer())
	for path, want := range map[string]int{"/": 200, "/nowhere": 404, "/service/": 404, "/service/nothing": 404, "/check/x": 404, "/check/nobody/pc.check": 404,
		"/assets/board.css": 404, "/assets/": 404, "/api/board": 200, "/api/check/nobody/x": 404, "/api/check/" + me + "/pc.check": 200, "/check/broken/x": 503, "/api/check/broken/x": 503} {
		if got := get(h, path).Code; got != want {
			t.Errorf("GET %s: status %d, want %d", path, got, want)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		r, w := httptest.NewRequest(method, "/", nil), httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: status %d, want 405", method, w.Code)
		}
	}
	f := newcomer()
	f.err = errors.New("disk /secret/path is gone")
	var log bytes.Buffer
	h = NewHandler(f, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, path := range []string{"/", "/service/pc", "/check/x/y", "/api/board"} {
		if w := get(h, path); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s of a broken source: status %d, %.200s", path, w.Code, w.Body.String())
		}
	}
	if !strings.Contains(log.String(), "disk /secret/path is gone") {
		t.Error("the log does not say what is wrong")
	}
}

func TestAssets(t *testing.T) {
	h := handlerOf(newcomer())
	p := parse(t, get(h, "/"))
	var found []string
	for d := range p.Descendants() {
		for _, key := range []string{"src", "href"} {
			if v := attr(d, key); strings.HasPrefix(v, "/assets/") {
				found = append(found, v)
			}
		}
	}
	if len(found) != 3 {
		t.Fatalf("assets %v, want style, script and icon", found)
	}
	hashed := regexp.MustCompile(`^/assets/[a-z]+\.[0-9a-f]{12}\.(css|js|svg)$`)
	for _, path := range found {
		w := get(h, path)
		if !hashed.MatchString(path) || w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("Content-Type") == "" {
			t.Errorf("%s: status %d, header %v", path, w.Code, w.Header())
		}
		if bytes.Contains(w.Body.Bytes(), []byte("http://")) && !strings.HasSuffix(path, ".svg") || bytes.Contains(w.Body.Bytes(), []byte("https://")) {
			t.Errorf("%s loads something from elsewhere", path)
		}
	}
}

func TestAPI(t *testing.T) {
	h := handlerOf(newcomer())
	var v struct {
		District Name `json:"district"`
		Cells    []struct {
			Service, Unit, State, Reason string
			Since                        time.Time
			Checks                       []CheckRef
		} `json:"cells"`
		Log Log `json:"log"`
	}
	if err := json.Unmarshal(get(h, "/api/board").Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Cells) != 6 || v.Cells[1].State != "up" || v.Cells[1].Reason != "ok" || v.Cells[1].Unit != "huyen-tu-ky" || v.Log.Size != 14 {
		t.Errorf("got %+v", v)
	}
	var d struct {
		Every   float64 `json:"every_s"`
		Entries []struct {
			Result *struct {
				State, Reason, Detail string
				Took                  float64            `json:"took_s"`
				Phases                map[string]float64 `json:"phases"`
			}
			Gap  *Gap
			Mark *Mark
		}
	}
	if err := json.Unmarshal(get(h, "/api/check/"+me+"/thu_thap.check").Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if r := d.Entries[0].Result; d.Every != 15 || r == nil || r.State != "down" || r.Reason != "connect_refused" || r.Took != 0.16 || r.Phases["connect"] != 0.006 {
		t.Errorf("got %+v", d.Entries[0].Result)
	}
}

func TestPhrasesOfPhasesAndMarks(t *testing.T) {
	var keys []string
	for _, p := range phaseKeys() {
		keys = append(keys, "phase."+p)
	}
	for _, m := range []string{MarkPlan, MarkRemoved, MarkBegin, MarkEnd} {
		keys = append(keys, "check.mark."+m)
	}
	for _, k := range keys {
		if got := words.Say(words.VI, k); strings.HasPrefix(got, "<") {
			t.Errorf("%s has no phrase", k)
		}
	}
}

func TestLettersOfAService(t *testing.T) {
	f := newcomer()
	f.edit(func(v *View) {
		v.Letters = []Letters{{Service: v.Services[0].ID, Counts: map[string]int{"on_time": 1234, "lost": 1, "off the list": 3},
			Lost: []LostLetter{{From: "pc-<a>", To: "pc-b", At: noon.Add(-2 * time.Hour), Proof: noon.Add(-time.Hour)}}}}
	})
	page := get(handlerOf(f), "/service/"+f.view.Services[0].ID).Body.String()
	for _, want := range []string{words.Say(words.VI, "letters.title"), "đến đúng hạn: <b>1.234</b>", "mất: <b>1</b>", "pc-&lt;a&gt; gửi"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(page, words.Say(words.VI, "letters.late")) || strings.Contains(page, "off the list") {
		t.Error("the page names what there is none of")
	}
	for _, o := range letterOutcomes() {
		if got := words.Say(words.VI, "letters."+o); strings.HasPrefix(got, "<") {
			t.Errorf("letters.%s has no phrase", o)
		}
	}
}

func TestCounters(t *testing.T) {
	f := newcomer()
	f.edit(func(v *View) {
		v.Counters = []Counter{
			{Unit: "xa-a", Name: Name{VI: "Xã A"}, State: CounterReady},
			{Unit: "xa-b", Name: Name{VI: "Xã <b>"}, State: CounterStopped, Lost: []string{"pc"}, Unknown: []string{"no-such"}},
			{Unit: "xa-c", Name: Name{VI: "Xã C"}, State: "off the list"},
		}
	})
	p := parse(t, get(handlerOf(f), "/"))
	at := func(s string) int {
		i := strings.Index(p.text, s)
		if i < 0 {
			t.Errorf("the page does not say %q", s)
		}
		return i
	}
	stopped, unclear, ready := at("Ngừng tiếp nhận Xã <b>"), at("Không xác định Xã C"), at("Sẵn sàng Xã A")
	if stopped > unclear || unclear > ready {
		t.Error("the counter where people are turned away does not come first")
	}
	at("Mất: Máy trạm.")
	at("Không đo được: no-such.")
	page := get(handlerOf(f), "/").Body.String()
	if first, then := strings.Index(page, `id="counters"`), strings.Index(page, `class="tally"`); first < 0 || first > then {
		t.Error("the counters are not the first thing on the page")
	}
	// Many that are ready share a row, so that what is not stays in sight.
	f.edit(func(v *View) {
		for i := range 20 {
			v.Counters = append(v.Counters, Counter{Unit: fmt.Sprint("xa-", i), Name: Name{VI: fmt.Sprintf("Xã %02d", i)}, State: CounterReady})
		}
	})
	page = get(handlerOf(f), "/").Body.String()
	p = parse(t, get(handlerOf(f), "/"))
	at("Ngừng tiếp nhận Xã <b>")
	at("Sẵn sàng (21) Xã A, Xã 00, Xã 01")
	if n := strings.Count(page, `<li id="counter-`); n != 2 {
		t.Errorf("%d counters have a row of their own", n)
	}
	f.edit(func(v *View) { v.Counters = nil })
	if p := parse(t, get(handlerOf(f), "/")); strings.Contains(p.text, "Quầy một cửa") {
		t.Error("a section without counters")
	}
}

// A service of which one check lacks a value is measured all the same, and named with what it lacks.
func TestPartlyConfigured(t *testing.T) {
	f := newcomer()
	before := len(f.view.NotConfigured)
	f.edit(func(v *View) {
		v.NotConfigured = append(v.NotConfigured, NotConfigured{"pc", []string{"pc.m20"}, []string{"sao_luu.thu_muc"}})
	})
	h := handlerOf(f)
	p := parse(t, get(h, "/?lang=vi"))
	for _, want := range []string{"1 dịch vụ còn phép kiểm tra chưa cấu hình", "pc.m20", "sao_luu.thu_muc", strconv.Itoa(before) + " dịch vụ chưa cấu hình"} {
		if !strings.Contains(p.text, want) {
			t.Errorf("the first page does not say %q", want)
		}
	}
	p = parse(t, get(h, "/service/pc?lang=en"))
	if !strings.Contains(p.text, "Checks that are not configured: pc.m20") || !strings.Contains(p.text, "sao_luu.thu_muc") {
		t.Error("the page of the service does not name the check")
	}
}

// Too few votes are said in words: the account's own reason speaks of plans.
func TestTooFewVotes(t *testing.T) {
	for _, tt := range []struct {
		short  *Shortage
		reason check.Reason
		want   string
		not    string
	}{
		{&Shortage{1, 2, 1}, check.NotPlanned, "Chưa đủ phiếu: 1 đơn vị có kết quả, cần ít nhất 2", "Không có trong kế hoạch đo"},
		{&Shortage{1, 2, 1}, check.Silent, "Chưa đủ phiếu: 1 đơn vị có kết quả, cần ít nhất 2 (Chưa nhận được số liệu)", ""},
		{&Shortage{2, 2, 2}, check.NotPlanned, "Chưa đủ phiếu: cần kết quả qua ít nhất 2 nhà mạng", "Không có trong kế hoạch đo"},
		{nil, check.NotPlanned, "Không có trong kế hoạch đo", "Chưa đủ phiếu"},
	} {
		f := newcomer()
		f.edit(func(v *View) {
			for i := range v.Cells {
				if c := &v.Cells[i]; c.Service == "pc" && c.Unit == "" {
					c.State, c.Reason, c.Short = check.Unknown, tt.reason, tt.short
				}
			}
		})
		h := handlerOf(f)
		for _, path := range []string{"/?lang=vi", "/service/pc?lang=vi"} {
			p := parse(t, get(h, path))
			if !strings.Contains(p.text, tt.want) || tt.not != "" && strings.Contains(p.text, tt.not) {
				t.Errorf("%s, %s: does not say %q, or says %q", tt.reason, path, tt.want, tt.not)
			}
		}
	}
}

// A service's page says what was set for it, on what basis and whether anybody has confirmed it, or that nothing was set.
func TestServiceSaysItsTargets(t *testing.T) {
	f := troubled()
	f.view.Services[0].Targets = []Target{{"service_hours", 0.995, "mục tiêu <b>nội bộ</b>", false}, {"24x7", 0.99, "Quyết định 7", true}}
	h := NewHandler(f, Options{Now: func() time.Time { return noon }})
	for path, want := range map[string]string{
		f.view.Services[0].ID:              "Mục tiêu sẵn sàng: Giờ phục vụ: 99,50\u00a0% (mục tiêu &lt;b&gt;nội bộ&lt;/b&gt;), chưa xác minh; 24/7: 99,00\u00a0% (Quyết định 7)<",
		f.view.Services[1].ID:              "Mục tiêu sẵn sàng: Chưa đặt mục tiêu<",
		f.view.Services[1].ID + "?lang=en": "Availability targets: No target<",
	} {
		if code, page := fetched(h, "/service/"+path); code != 200 || !strings.Contains(page, want) {
			_, page, _ = strings.Cut(page, `id="targets"`)
			t.Errorf("%s: status %d; the page does not say %q: %.200s", path, code, want, page)
		}
	}
}

// TestBasisInBothLanguages: what stands where no document is cited is said in the reader's language, a document as it is called.
func TestBasisInBothLanguages(t *testing.T) {
	for basis, want := range map[string]string{"mục tiêu nội bộ": "(the unit's own target)", "Quyết định 7": "(Quyết định 7)"} {
		if got := (Target{"24x7", 0.99, basis, true}).in(words.EN); !strings.HasSuffix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := (Target{"24x7", 0.99, "mục tiêu nội bộ", true}).in(words.VI); !strings.HasSuffix(got, "(mục tiêu nội bộ)") {
		t.Error(got)
	}
}
