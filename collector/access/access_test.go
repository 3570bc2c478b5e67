package access

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const base = "http://127.0.0.1:19090"

// A clock is set by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)} }

func open(t *testing.T, dir string, c *clock, hosts ...string) *Access {
	t.Helper()
	a, err := New(Options{Dir: dir, Now: c.now, Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// whoami answers with the user.
func whoami(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, User(r.Context())) }

// ask sends a request through the middleware; edit may change it.
func ask(a *Access, method, target string, edit func(*http.Request)) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	a.Middleware(http.HandlerFunc(whoami)).ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func link(t *testing.T, a *Access) string {
	t.Helper()
	l, err := a.Link(base)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// enter opens a link and returns the cookie that it gave.
func enter(t *testing.T, a *Access) *http.Cookie {
	t.Helper()
	resp := ask(a, "GET", link(t, a), nil)
	if resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) != 1 {
		t.Fatalf("opening a link: status %d, %d cookies; want 303 and one", resp.StatusCode, len(resp.Cookies()))
	}
	return resp.Cookies()[0]
}

func with(c *http.Cookie) func(*http.Request) { return func(r *http.Request) { r.AddCookie(c) } }

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestLinkOpensASession(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	l := link(t, a)
	resp := ask(a, "GET", l, nil)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" {
		t.Fatalf("status %d, Location %q; want 303 to /", resp.StatusCode, resp.Header.Get("Location"))
	}
	if got := resp.Header.Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("Referrer-Policy %q lets the link out", got)
	}
	c := resp.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge != 12*3600 || c.Secure {
		t.Errorf("cookie %v: want HttpOnly, SameSite=Lax, Path=/, 12 h, and Secure only over TLS", c)
	}
	if strings.Contains(l, c.Value) {
		t.Error("the session has the secret of the link")
	}
	resp = ask(a, "GET", base+"/x", with(c))
	if got := body(t, resp); resp.StatusCode != 200 || got != Operator {
		t.Errorf("with the cookie: status %d, user %q; want 200 and %s", resp.StatusCode, got, Operator)
	}
}

func TestLinkIsGoodOnce(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	l := link(t, a)
	c := ask(a, "GET", l, nil).Cookies()[0]
	resp := ask(a, "GET", l, nil)
	if resp.StatusCode != http.StatusGone || len(resp.Cookies()) != 0 {
		t.Errorf("second use: status %d, cookies %v; want 410 and none", resp.StatusCode, resp.Cookies())
	}
	if s := body(t, resp); !strings.Contains(s, "collector link") || !strings.Contains(s, "đã hết hạn") || !strings.Contains(s, "expired") {
		t.Errorf("the page does not say what to do:\n%s", s)
	}
	if resp := ask(a, "GET", l, with(c)); resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) != 0 {
		t.Errorf("reloaded by its user: status %d, cookies %v; want 303 and no new session", resp.StatusCode, resp.Cookies())
	}
	if resp := ask(a, "GET", base+linkPath, nil); resp.StatusCode != http.StatusGone {
		t.Errorf("an empty link: status %d, want 410", resp.StatusCode)
	}
}

func TestLinkSurvivesWhoeverOnlyLooks(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	l := link(t, a)
	looks := []struct {
		name, method string
		edit         func(*http.Request)
		want         int
	}{
		{"HEAD", "HEAD", nil, 200},
		{"POST", "POST", nil, 405},
		{"Chromium prefetch", "GET", header("Sec-Purpose", "prefetch"), 503},
		{"Chromium prerender", "GET", header("Sec-Purpose", "prefetch;prerender"), 503},
		{"older browsers", "GET", header("Purpose", "prefetch"), 503},
		{"Firefox", "GET", header("X-Moz", "prefetch"), 503},
		{"Safari", "GET", header("X-Purpose", "preview"), 503},
	}
	for _, tt := range looks {
		resp := ask(a, tt.method, l, tt.edit)
		if resp.StatusCode != tt.want || len(resp.Cookies()) > 0 {
			t.Errorf("%s: status %d, cookies %v; want %d and none", tt.name, resp.StatusCode, resp.Cookies(), tt.want)
		}
	}
	if resp := ask(a, "GET", l, nil); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("after all that: status %d, want 303", resp.StatusCode)
	}
}

func TestTimes(t *testing.T) {
	c := newClock()
	a := open(t, t.TempDir(), c)
	late := link(t, a)
	c.add(LinkLife)
	if resp := ask(a, "GET", late, nil); resp.StatusCode != http.StatusGone {
		t.Errorf("a link after %v: status %d, want 410", LinkLife, resp.StatusCode)
	}
	cookie := enter(t, a)
	c.add(SessionLife - time.Second)
	if resp := ask(a, "GET", base+"/x", with(cookie)); resp.StatusCode != 200 {
		t.Errorf("a second before its end: status %d, want 200", resp.StatusCode)
	}
	c.add(time.Second)
	if resp := ask(a, "GET", base+"/x", with(cookie)); resp.StatusCode != 401 {
		t.Errorf("at its end: status %d, want 401", resp.StatusCode)
	}
}

func TestLinksAreBounded(t *testing.T) {
	c := newClock()
	a := open(t, t.TempDir(), c)
	first := link(t, a)
	for range maxLinks {
		c.add(time.Second)
		link(t, a)
	}
	if len(a.links) != maxLinks {
		t.Errorf("%d open links, want %d", len(a.links), maxLinks)
	}
	if resp := ask(a, "GET", first, nil); resp.StatusCode != http.StatusGone {
		t.Errorf("the oldest of too many: status %d, want 410", resp.StatusCode)
	}
}

func TestLinkWantsABase(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	for _, bad := range []string{"", "127.0.0.1:19090", "ftp://h", "http://", "http://%zz"} {
		if l, err := a.Link(bad); err == nil {
			t.Errorf("below %q: link %s, want an error", bad, l)
		}
	}
	l, err := a.Link("https://giamsat.tuky.test/some/where?q=1")
	if err != nil || !strings.HasPrefix(l, "https://giamsat.tuky.test/l/") || strings.Contains(l, "q=1") {
		t.Errorf("link %q, error %v", l, err)
	}
}

func TestSessionsSurviveARestart(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	a := open(t, dir, c)
	cookie := enter(t, a)
	stored, err := os.ReadFile(filepath.Join(dir, sessionsFile))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(stored, []byte(cookie.Value)) {
		t.Error("the file holds the secret itself")
	}
	for _, name := range []string{sessionsFile, localTokenFile} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || privateMode && fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, error %v; want 0600", name, fi.Mode(), err)
		}
	}
	b := open(t, dir, c)
	if b.LocalToken() != a.LocalToken() {
		t.Error("the local token changed")
	}
	if resp := ask(b, "GET", base+"/x", with(cookie)); resp.StatusCode != 200 {
		t.Errorf("after a restart: status %d, want 200", resp.StatusCode)
	}
	c.add(SessionLife)
	if b = open(t, dir, c); len(b.sessions) != 0 {
		t.Errorf("%d sessions that had ended were read again", len(b.sessions))
	}
}

func TestFilesThatAreNotOurs(t *testing.T) {
	tests := []struct {
		name, file, content string
		wantErr             string
	}{
		{"empty token", localTokenFile, "", "delete the file"},
		{"short token", localTokenFile, "abc\n", "delete the file"},
		{"two tokens", localTokenFile, strings.Repeat("A", 26) + " " + strings.Repeat("B", 26), "delete the file"},
		{"huge token", localTokenFile, strings.Repeat("A", maxTokenBytes+1), "larger than"},
		{"huge sessions", sessionsFile, strings.Repeat(" ", maxSessionsBytes+1), "larger than"},
		{"sessions of nothing", sessionsFile, "{", ""},
		{"a session for ever", sessionsFile, `[{"sha256":"` + strings.Repeat("00", 32) + `","user":"x","ends":"2999-01-01T00:00:00Z"}]`, ""},
		{"a session of nobody", sessionsFile, `[{"sha256":"` + strings.Repeat("00", 32) + `","ends":"2026-11-23T02:00:00Z"}]`, ""},
		{"a short digest", sessionsFile, `[{"sha256":"00","user":"x","ends":"2026-11-23T02:00:00Z"}]`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := New(Options{Dir: dir, Now: newClock().now})
			if tt.wantErr == "" {
				if err != nil || len(a.sessions) != 0 {
					t.Errorf("error %v, want none and no session", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v, want one that says %q and where", err, tt.wantErr)
			}
		})
	}
}

func TestAnOpenTokenIsClosed(t *testing.T) {
	if !privateMode {
		t.Skip("this system has no permission bits")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, localTokenFile)
	if err := os.WriteFile(path, []byte(strings.Repeat("A", 26)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if _, err := New(Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 || !strings.Contains(log.String(), "could be read by others") {
		t.Errorf("mode %v, error %v, log %q", fi.Mode(), err, log.String())
	}
}

func TestPrograms(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	tests := []struct {
		name string
		edit func(*http.Request)
		want int
	}{
		{"bearer", header("Authorization", "Bearer "+a.LocalToken()), 200},
		{"scheme in small letters", header("Authorization", "bearer "+a.LocalToken()), 200},
		{"basic", basic("grafana", a.LocalToken()), 200},
		{"basic, token as the name", basic(a.LocalToken(), ""), 401},
		{"another token", header("Authorization", "Bearer "+strings.Repeat("A", 26)), 401},
		{"a part of it", header("Authorization", "Bearer "+a.LocalToken()[:25]), 401},
		{"no token", header("Authorization", "Bearer "), 401},
		{"another scheme", header("Authorization", "Digest "+a.LocalToken()), 401},
		{"in the address", func(r *http.Request) { r.URL.RawQuery = "token=" + a.LocalToken() }, 401},
		{"none", nil, 401},
	}
	for _, tt := range tests {
		resp := ask(a, "GET", base+"/api/v1/query", tt.edit)
		got := body(t, resp)
		if resp.StatusCode != tt.want || (tt.want == 200) != (got == Program) {
			t.Errorf("%s: status %d, body %q; want %d", tt.name, resp.StatusCode, got, tt.want)
		}
		if tt.want == 401 && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: WWW-Authenticate %q; Basic would make browsers ask for a password", tt.name, resp.Header.Get("WWW-Authenticate"))
		}
	}
}

func TestHost(t *testing.T) {
	a := open(t, t.TempDir(), newClock(), "GiamSat.TuKy.test", "10.20.0.1", "[fd00::1]:443", "")
	good := []string{"127.0.0.1", "127.0.0.1:19090", "127.8.9.1:1", "localhost", "LocalHost:19090", "localhost.", "[::1]:19090", "[::1]",
		"giamsat.tuky.test", "GIAMSAT.tuky.test:8443", "giamsat.tuky.test.:8443", "10.20.0.1:80", "[fd00::1]"}
	bad := []string{"", "evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "giamsat.tuky.test.evil.test", "10.20.0.2", "169.254.169.254", "[fd00::2]", "0.0.0.0", "127.1", "xgiamsat.tuky.test"}
	for _, hosts := range []struct {
		list []string
		want bool
	}{{good, true}, {bad, false}} {
		for _, h := range hosts.list {
			resp := ask(a, "GET", base+"/x", func(r *http.Request) {
				r.Host = h
				r.Header.Set("Authorization", "Bearer "+a.LocalToken())
			})
			if (resp.StatusCode == 200) != hosts.want || !hosts.want && resp.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("Host %q: status %d", h, resp.StatusCode)
			}
		}
	}
}

func TestWithoutASession(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	resp := ask(a, "GET", base+"/", nil)
	page := body(t, resp)
	for _, want := range []string{`lang="vi"`, `lang="en"`, "collector link", "Cần liên kết đăng nhập", "A link is needed to enter"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, header %v", resp.StatusCode, resp.Header)
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	resp = ask(a, "GET", base+"/api/board", nil)
	if got := body(t, resp); resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") || len(got) > 200 {
		t.Errorf("another path: status %d, %q", resp.StatusCode, got)
	}
}

func TestOtherSitesCannotWrite(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	cookie := enter(t, a)
	from := func(site string, edits ...func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", site)
			for _, e := range edits {
				e(r)
			}
		}
	}
	basic := func(r *http.Request) { r.SetBasicAuth("x", a.LocalToken()) }
	tests := []struct {
		name, method string
		edit         func(*http.Request)
		want         int
	}{
		{"our own page", "POST", from("same-origin", with(cookie)), 200},
		{"another site", "POST", from("cross-site", with(cookie)), 403},
		{"another port of this machine", "POST", from("same-site", with(cookie)), 403},
		{"an old browser, another origin", "DELETE", func(r *http.Request) { r.AddCookie(cookie); r.Header.Set("Origin", "http://127.0.0.1:8080") }, 403},
		{"an old browser, our origin", "DELETE", func(r *http.Request) { r.AddCookie(cookie); r.Header.Set("Origin", base) }, 200},
		{"reading from another site", "GET", from("cross-site", with(cookie)), 200},
		{"a remembered password, another site", "POST", from("cross-site", basic), 403},
		{"bearer", "POST", from("cross-site", header("Authorization", "Bearer "+a.LocalToken())), 200},
		{"a program with a password", "POST", basic, 200},
	}
	for _, tt := range tests {
		if resp := ask(a, tt.method, base+"/x", tt.edit); resp.StatusCode != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, resp.StatusCode, tt.want)
		}
	}
}

func TestFailuresAreBounded(t *testing.T) {
	c := newClock()
	var log bytes.Buffer
	a, err := New(Options{Dir: t.TempDir(), Now: c.now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	cookie := enter(t, a)
	secret := strings.Repeat("GUESSED", 4)
	status := map[int]int{}
	for range 3 * failuresAtOnce {
		status[ask(a, "GET", base+"/x", header("Authorization", "Bearer "+secret)).StatusCode]++
	}
	if status[401] != failuresAtOnce || status[429] != 2*failuresAtOnce {
		t.Errorf("answers %v, want %d × 401 and the rest 429", status, failuresAtOnce)
	}
	if n := strings.Count(log.String(), "request refused"); n != failuresAtOnce {
		t.Errorf("%d lines in the log, want %d", n, failuresAtOnce)
	}
	if ask(a, "GET", base+linkPath+secret, nil).StatusCode != 429 {
		t.Error("guessing links is not slowed")
	}
	// Whoever has the right secret is not shut out by those who have not.
	if ask(a, "GET", base+"/x", with(cookie)).StatusCode != 200 || ask(a, "GET", link(t, a), nil).StatusCode != http.StatusSeeOther {
		t.Error("a good session or link is refused because of others' failures")
	}
	c.add(time.Second)
	if ask(a, "GET", base+linkPath+secret, nil).StatusCode != http.StatusGone {
		t.Error("a second later it is still slowed")
	}
	if strings.Contains(log.String(), secret) || strings.Contains(log.String(), cookie.Value) {
		t.Error("a secret is in the log")
	}
}

func TestKnownUser(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	outer := func(r *http.Request) { *r = *r.WithContext(WithUser(r.Context(), "an@tuky")) }
	if got := body(t, ask(a, "GET", base+"/x", outer)); got != "an@tuky" {
		t.Errorf("user %q, want the one that the layer before knew", got)
	}
	if u := User(context.Background()); u != "" {
		t.Errorf("user %q of an empty context", u)
	}
}

func TestCookiesOfTwoPorts(t *testing.T) {
	a, b := open(t, t.TempDir(), newClock()), open(t, t.TempDir(), newClock())
	mine := enter(t, a)
	resp := ask(b, "GET", strings.Replace(link(t, b), "19090", "29090", 1), nil)
	if other := resp.Cookies()[0]; other.Name == mine.Name {
		t.Errorf("both ports use the cookie %s, and a browser sends one for both", mine.Name)
	}
	resp = ask(a, "GET", link(t, a), func(r *http.Request) { r.Host = "localhost" })
	if got := resp.Cookies()[0].Name; got != "egovmon" {
		t.Errorf("without a port the cookie is %q", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	l := link(t, a)
	var opened, tries sync.Map
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			tries.Store(i, true)
			if resp := ask(a, "GET", l, nil); resp.StatusCode == http.StatusSeeOther {
				opened.Store(i, true)
			}
		})
	}
	wg.Wait()
	n := 0
	opened.Range(func(_, _ any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d of 8 opened one link, want 1", n)
	}
}
