//go:build browser

package onestop

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"image/jpeg"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// kept are notes in memory.
type kept map[string][]byte

// Note returns what was kept.
func (k kept) Note(name string) []byte { return k[name] }

// Keep keeps it.
func (k kept) Keep(name string, data []byte) { k[name] = data }

// scripted is a system whose pages are made by scripts.
func scripted(t *testing.T, elsewhere *atomic.Int32) string {
	t.Helper()
	away := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(away.Close)
	other := strings.Replace(away.URL, "127.0.0.1", "localhost", 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch r.URL.Path {
		case "/":
			fmt.Fprintf(w, `<form method=post action=/login><input type=hidden name=token id=t><input name=user><input type=password name=pw><button>Vào</button></form>
				<img src="%s/x.png"><script>setTimeout(() => { document.getElementById("t").value = "t0ken" ; document.body.append("sẵn " + "sàng") }, 300)</script>`, other)
		case "/login":
			if r.PostFormValue("token") != "t0ken" || r.PostFormValue("user") != "probe" || r.PostFormValue("pw") != password {
				http.Error(w, "Sai mật khẩu "+r.PostFormValue("pw"), http.StatusUnauthorized)
				return
			}
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "s1", Path: "/"})
			http.Redirect(w, r, "/home", http.StatusFound)
		case "/home":
			if _, err := r.Cookie("session"); err != nil {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, `<p id=p></p><input value="Nguyễn Thị Lan"><script>alert("x"); fetch("/api").then(r => r.json()).then(o => { p.textContent = "Hồ sơ " + o.ma })</script>`)
		case "/api":
			_, _ = io.WriteString(w, `{"ma":"HS-77"}`)
		case "/away":
			http.Redirect(w, r, other+"/", http.StatusFound)
		case "/hang":
			<-r.Context().Done()
		case "/spin":
			_, _ = io.WriteString(w, "<script>for (;;) {}</script>")
		case "/heap":
			_, _ = io.WriteString(w, "<script>const a = []; for (;;) a.push(new Array(1e6).fill(Math.random()))</script>")
		case "/buffers":
			_, _ = io.WriteString(w, "<script>const a = []; setInterval(() => { const b = new Uint8Array(64 << 20); b.fill(7); a.push(b) }, 10)</script>")
		case "/elements":
			_, _ = io.WriteString(w, `<body><script>const s = "x".repeat(1 << 20); for (let i = 0; i < 24; i++) document.body.append(s)</script>`)
		case "/crash": // what the system does to the greediest when memory runs out
			_, _ = io.WriteString(w, "<script src=/killer></script>")
		case "/killer":
			endRenderers()
			<-r.Context().Done()
		case "/deep":
			_, _ = io.WriteString(w, strings.Repeat("<b>", 100_000)+"<p class=x>y")
		case "/large":
			_, _ = io.WriteString(w, strings.Repeat("x", 300_000))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func requireBrowser(t *testing.T) {
	t.Helper()
	if findBrowser() == "" {
		t.Skip("chromium is missing: apt-get install --no-install-recommends chromium")
	}
}

// A journey in Chromium goes where scripts make the pages, speaks to its own hosts alone and leaves a picture.
func TestJourneyInBrowser(t *testing.T) {
	requireBrowser(t)
	t.Setenv("TMPDIR", t.TempDir())
	var elsewhere atomic.Int32
	url := scripted(t, &elsewhere)
	open := "{name: mở trang, get: /, contains: [sẵn sàng]}"
	login := "{name: đăng nhập, post: /login, form: {user: probe, pw: {secret: x}}, contains: [HS-77], extract: {ma: 'Hồ sơ ([A-Z0-9-]+)'}}"
	for _, tt := range []struct {
		name   string
		extra  string
		lines  []string
		secret string
		limit  time.Duration
		reason check.Reason
		detail string
		steps  float64
	}{
		{"all is well", "", []string{open, login, "{name: c, get: '/home?ma=${ma}', select: {'#p': HS-77}}"}, password, 0, check.OK, "", 3},
		{"password wrong", "", []string{open, login}, "wrong-password", 0, check.Auth, `step 2 "đăng nhập": status 401`, 1},
		{"no form", "", []string{open, "{name: b, post: /search}"}, password, 0, check.ContentMissing, "no form that goes to /search", 1},
		{"no field", "", []string{open, "{name: b, post: /login, form: {captcha: x}}"}, password, 0, check.ContentMissing, "has no field captcha", 1},
		{"another site", "", []string{"{name: a, get: /away}"}, password, 0, check.HTTPRedirect, "another site, localhost", 0},
		{"not there", "", []string{"{name: a, get: /gone}"}, password, 0, check.HTTPStatus, "status 404", 0},
		{"content missing", "", []string{"{name: a, get: /, contains: [Hải Dương]}"}, password, 0, check.ContentMissing, "Hải Dương", 0},
		{"too large", "      max_bytes: 4096\n", []string{"{name: a, get: /large}"}, password, 0, check.TooLarge, "", 0},
		{"a page that does not come", "", []string{"{name: a, get: /hang}"}, password, 4 * time.Second, check.Timeout, `step 1 "a"`, 0},
		{"a script without end", "", []string{"{name: a, get: /spin}"}, password, 4 * time.Second, check.Timeout, `step 1 "a"`, 0},
		{"nobody there", "", []string{"{name: a, get: 'http://127.0.0.1:1/'}"}, password, 0, check.Protocol, "UNSAFE_PORT", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			notes := kept{}
			e := env(tt.secret)
			e.Notes, e.Timeout = notes, 60*time.Second
			if tt.limit > 0 {
				e.Timeout = tt.limit
			}
			f, err := journeyKind().New(parse(t, steps(url, approved+"      browser: true\n"+tt.extra, tt.lines...)), e)
			if err != nil {
				t.Fatal(err)
			}
			r := f(t.Context())
			checktest.Declared(t, journeyKind(), r)
			wants(t, r, tt.reason, tt.detail, map[string]float64{"steps_passed_count": tt.steps})
			if strings.Contains(r.Detail, tt.secret) {
				t.Errorf("the password stands in %q", r.Detail)
			}
			if tt.reason == check.HTTPRedirect || tt.reason == check.Protocol {
				return // there is no page to take a picture of
			}
			picture, err := jpeg.Decode(bytes.NewReader(notes["screenshot"]))
			if tt.limit == 0 && (err != nil || picture.Bounds().Dx() < 800 || len(notes["screenshot"]) > maxPicture) {
				t.Errorf("a picture of %d bytes: %v", len(notes["screenshot"]), err)
			}
			if tt.limit == 0 && r.State != check.Up && !strings.Contains(r.Detail, "; picture ") {
				t.Errorf("the detail names no picture: %q", r.Detail)
			}
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went to another site", n)
	}
	leftovers(t)
}

// A page that eats memory, or is nested without measure, costs bounded memory, the browser's and our own, and bounded time.
func TestJourneyInBrowserOfHostilePages(t *testing.T) {
	requireBrowser(t)
	t.Setenv("TMPDIR", t.TempDir())
	url := scripted(t, new(atomic.Int32))
	for _, tt := range []struct {
		path   string
		reason check.Reason
	}{{"/heap", check.TooLarge}, {"/buffers", check.TooLarge}, {"/elements", check.TooLarge}, {"/deep", check.TooLarge}, {"/crash", check.NotSupported}} {
		t.Run(tt.path, func(t *testing.T) {
			f, err := journeyKind().New(parse(t, steps(url, approved+"      browser: true\n      max_bytes: 128KiB\n", "{name: a, get: "+tt.path+", contains: [nothing of it]}")), env(password))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			peaks := watchMemory(t)
			begin := time.Now()
			r := f(ctx)
			browser, own := peaks()
			checktest.Declared(t, journeyKind(), r)
			wants(t, r, tt.reason, "", map[string]float64{"steps_passed_count": 0})
			if own > 128<<20 {
				t.Errorf("%d MiB were held", own>>20)
			}
			if browser == 0 || browser > 3*maxMemory {
				t.Errorf("the browser had %d MiB", browser>>20)
			}
			if took := time.Since(begin); took > time.Minute+10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
	leftovers(t)
}

// endRenderers ends what shows pages in the browsers of these tests.
func endRenderers() {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		text, _ := os.ReadFile(path)
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && bytes.Contains(text, []byte("--type=renderer")) && bytes.Contains(text, []byte(filepath.Join(os.TempDir(), "egovmon-browser-"))) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// watchMemory watches what the processes that this one has started have to themselves, and what this one holds; the function that it
// returns ends that and tells the most of each, in bytes.
func watchMemory(t *testing.T) func() (browser, own int64) {
	t.Helper()
	var browser, own int64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			own = max(own, int64(m.HeapInuse))
			tasks, _ := filepath.Glob("/proc/self/task/*/children")
			for _, path := range tasks {
				text, _ := os.ReadFile(path)
				for c := range strings.FieldsSeq(string(text)) {
					if pid, err := strconv.Atoi(c); err == nil {
						browser = max(browser, memoryOf(pid))
					}
				}
			}
		}
	}()
	return func() (int64, int64) { close(done); <-ended; return browser, own }
}

// In the browser certificates hold as they do without it: by the roots of the plan, and for the key that was judged alone.
func TestJourneyInBrowserByRoots(t *testing.T) {
	requireBrowser(t)
	t.Setenv("TMPDIR", t.TempDir())
	a, other := checktest.NewAuthority(t, "portal.test"), checktest.NewAuthority(t, "portal.test")
	serve := func(shown func(n int32) *tls.Certificate) string {
		var n atomic.Int32
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<p>Tứ Kỳ") }))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Listener = tls.NewListener(s.Listener, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return shown(n.Add(1)), nil }})
		s.Start()
		t.Cleanup(s.Close)
		return strings.Replace(s.URL, "http://", "https://", 1)
	}
	same := func(c tls.Certificate) func(int32) *tls.Certificate {
		return func(int32) *tls.Certificate { return &c }
	}
	first, second := a.Leaf(nil, nil), other.Leaf(nil, nil)
	good := serve(same(first))
	for _, tt := range []struct {
		name, url, roots string
		reason           check.Reason
		detail           string
	}{
		{"by the plan's roots", good, a.Roots(), check.OK, ""},
		{"by the system's alone", good, "", check.TLSUntrusted, "before the browser began"},
		{"expired", serve(same(a.Leaf(nil, func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) }))), a.Roots(), check.TLSExpired, "before the browser began"},
		{"of another name", serve(same(a.Leaf(nil, func(c *x509.Certificate) { c.IPAddresses = nil }))), a.Roots(), check.TLSName, "before the browser began"},
		{"ends soon", serve(same(a.Leaf(nil, func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(24 * time.Hour) }))), a.Roots(), check.CertExpiring, ""},
		{"another key for the browser", serve(func(n int32) *tls.Certificate {
			if n == 1 {
				return &first
			}
			return &second
		}), a.Roots(), check.TLSUntrusted, "the browser says"},
		{"nobody there", "https://" + checktest.ClosedPort(t), a.Roots(), check.ConnectRefused, "before the browser began"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			more := approved + "      browser: true\n"
			if tt.roots != "" {
				more += "      roots: " + tt.roots + "\n"
			}
			e := env("")
			e.Now, e.Timeout = checktest.Epoch, time.Minute
			f, err := journeyKind().New(parse(t, steps(tt.url, more, "{name: a, get: /, contains: [Tứ Kỳ]}")), e)
			if err != nil {
				t.Fatal(err)
			}
			r := f(t.Context())
			checktest.Declared(t, journeyKind(), r)
			wants(t, r, tt.reason, tt.detail, nil)
			if v, ok := r.Facts.Get("chain_valid_code"); tt.reason == check.OK && (!ok || v != 1) {
				t.Errorf("chain_valid_code = %v, %v", v, ok)
			}
		})
	}
	leftovers(t)
}

// leftovers reports folders and processes of browsers that have outlived their journeys.
func leftovers(t *testing.T) {
	t.Helper()
	mark := "egovmon-browser-"
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), mark+"*"))
	if err != nil || len(folders) > 0 {
		t.Errorf("left behind: %v %v", folders, err)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(filepath.Join(os.TempDir(), mark))) {
			t.Errorf("still running: %.100q", text)
		}
	}
}

// A browser that hangs, with a child of its own, is ended with it; one that is no browser, or is not there, is nobody's outage.
func TestJourneyInABrowserThatHangs(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := t.TempDir()
	for _, tt := range []struct {
		name, script string
		reason       check.Reason
	}{
		{"hangs", "sleep 1000 & echo $! > " + dir + "/child; sleep 1000", check.Timeout},
		{"ends at once", "exit 1", check.NotSupported},
		{"talks nonsense", "printf 'x\\0' >&4; sleep 1000", check.Protocol},
		{"talks without end", "while :; do printf '%065536d' 0 >&4; done", check.TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			program := filepath.Join(dir, "chromium")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o700); err != nil { //nolint:gosec // it is run
				t.Fatal(err)
			}
			j, err := newJourney(parse(t, steps("http://portal.test", approved+"      browser: true\n", "{name: a, get: /}")), env(""))
			if err != nil {
				t.Fatal(err)
			}
			j.program, j.timeout = program, time.Minute
			if tt.reason == check.Timeout {
				j.timeout = 3 * time.Second
			}
			checktest.Bounded(t, 256<<20, func() { // a message may have 32 MiB, in a buffer that grows
				r := j.run(t.Context())
				wants(t, r, tt.reason, "", nil)
				checktest.Declared(t, journeyKind(), r)
			})
			text, err := os.ReadFile(filepath.Join(dir, "child"))
			if tt.reason != check.Timeout {
				return
			}
			pid, bad := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil || bad != nil {
				t.Fatal(err, bad)
			}
			for range 200 { // a killed child is reaped by init
				stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
				if err != nil || strings.Contains(string(stat), ") Z ") {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Errorf("its child %d still runs", pid)
		})
	}
	j, err := newJourney(parse(t, steps("http://portal.test", approved+"      browser: true\n", "{name: a, get: /}")), env(""))
	if err != nil {
		t.Fatal(err)
	}
	j.program = "/no/such/browser"
	wants(t, j.run(t.Context()), check.NotSupported, "cannot be started", nil)
	leftovers(t)
}
