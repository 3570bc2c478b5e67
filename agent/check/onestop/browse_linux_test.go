//go:build browser

package onestop

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
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
			wants(t, j.run(t.Context()), tt.reason, "", nil)
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
