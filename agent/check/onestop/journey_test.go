package onestop

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

const password = "Mật khẩu+của/máy 9"

// An office is a small system of a one-stop shop: a login with a form token and a session, and a look-up page.
type office struct {
	mu       sync.Mutex
	broken   string
	posts    []string
	other    string // the address of another site
	sessions int
	session  string // the only one it knows; "" is s1
}

// ServeHTTP serves the system, broken as asked.
func (o *office) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.Method == http.MethodPost {
		o.posts = append(o.posts, r.URL.Path)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	switch r.URL.Path {
	case "/":
		o.sessions++
		http.SetCookie(w, &http.Cookie{Name: "session", Value: o.known(), Path: "/", HttpOnly: true})
		if o.broken != "token" {
			_, _ = io.WriteString(w, `<form method=post action=/login><input type=hidden name=__token value="t&#111;ken+12345">`)
		}
	case "/login":
		o.login(w, r)
	case "/home":
		if c, err := r.Cookie("user"); err != nil || c.Value != "probe" {
			http.Error(w, "no session", http.StatusForbidden)
			return
		}
		if o.broken == "home" {
			_, _ = io.WriteString(w, "Lỗi hệ thống, mật khẩu "+password)
			return
		}
		_, _ = io.WriteString(w, `<p>Xin chào</p><p>Hồ sơ gần nhất: HS-2026/77 &amp; khác</p>`)
	case "/search":
		o.search(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (o *office) known() string {
	if o.session == "" {
		return "s1"
	}
	return o.session
}

func (o *office) login(w http.ResponseWriter, r *http.Request) {
	c, err := r.Cookie("session")
	switch {
	case err != nil || c.Value != o.known() || r.PostFormValue("__token") != "token+12345":
		http.Error(w, "forged", http.StatusBadRequest)
	case o.broken == "echo":
		w.Header().Set("Location", "http://%zz/"+r.PostFormValue("pw"))
		w.WriteHeader(http.StatusFound)
	case o.broken == "away":
		http.Redirect(w, r, o.other, http.StatusFound)
	case o.broken == "resubmit":
		http.Redirect(w, r, "/submit-dossier", http.StatusTemporaryRedirect)
	case o.broken == "loop":
		http.Redirect(w, r, "/login", http.StatusTemporaryRedirect)
	case r.PostFormValue("user") != "probe" || r.PostFormValue("pw") != password:
		http.Error(w, "wrong", http.StatusUnauthorized)
	default:
		http.SetCookie(w, &http.Cookie{Name: "user", Value: "probe"})
		http.Redirect(w, r, "/home", http.StatusFound)
	}
}

func (o *office) search(w http.ResponseWriter, r *http.Request) {
	switch o.broken {
	case "down":
		w.WriteHeader(http.StatusBadGateway)
	case "busy":
		w.WriteHeader(http.StatusTooManyRequests)
	case "portal":
		w.WriteHeader(http.StatusNetworkAuthenticationRequired)
	case "large":
		_, _ = io.WriteString(w, strings.Repeat("x", 5000))
	case "head":
		w.Header().Set("X", strings.Repeat("x", 300<<10))
	case "hang", "short", "junk":
		o.mu.Unlock()
		defer o.mu.Lock()
		if o.broken == "hang" {
			<-r.Context().Done()
			return
		}
		conn, _, _ := http.NewResponseController(w).Hijack()
		defer conn.Close()
		answer := "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nTrạng"
		if o.broken == "junk" {
			answer = "SSH-2.0-x\r\n\r\n"
		}
		_, _ = io.WriteString(conn, answer)
	case "late":
		<-time.After(5 * time.Millisecond)
		_, _ = io.WriteString(w, "Trạng thái HS-2026/77")
	case "error":
		_, _ = io.WriteString(w, "Trạng thái: đang xử lý. Lỗi hệ thống")
	default:
		fmt.Fprintf(w, "<p>Hồ sơ %s</p><p>Trạng thái: đang xử lý</p>", r.URL.Query().Get("code"))
	}
}

// walkPlan is a journey through the office as a plan has it; extra stands at the end of its options.
func walkPlan(url, extra string) string {
	return `plan: test
checks:
  - id: mc.journey
    kind: journey
    every: 5m
    with:
      url: ` + url + `
      approved: "12/GP-STTTT"
      max_bytes: 4096
      steps:
        - name: mở trang
          get: /
          inputs: {token: __token}
        - name: đăng nhập
          post: /login
          form: {user: probe, pw: {secret: probe}, __token: "${token}"}
          contains: [Xin chào]
          extract: {code: 'gần nhất: ([^ <]+)'}
        - name: tra cứu
          get: /search
          form: {code: "${code}"}
          contains: ["Trạng thái", "HS-2026/77"]
          absent: ["Lỗi hệ thống"]
` + extra
}

func parse(t testing.TB, text string) check.Options {
	t.Helper()
	p, err := plan.Parse([]byte(text), Kinds())
	if err != nil {
		t.Fatal(err)
	}
	return p.Checks[0].Options
}

func env(secret string) check.Env {
	return check.Env{Now: func() time.Time { return time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC) }, Timeout: 30 * time.Second,
		Secret: func(name string) (string, error) {
			if secret == "" {
				return "", errors.New("no file " + name)
			}
			return secret + "\n", nil
		}}
}

// run makes the function, runs it twice and reports what strays from what the kind declares.
func run(ctx context.Context, t *testing.T, o check.Options, e check.Env) check.Result {
	t.Helper()
	k := journeyKind()
	f, err := k.New(o, e)
	if err != nil {
		t.Fatal(err)
	}
	f(ctx) // nothing may be left over from the run before
	r := f(ctx)
	if !r.Reason.Valid() || r.State != r.Reason.State() || r.Detail != check.CleanDetail(r.Detail) {
		t.Errorf("result %+v", r)
	}
	seen := map[string]bool{}
	for _, x := range r.Facts {
		if d, ok := k.Fact(x.Name); !ok || seen[x.Name] || x.Value < d.Min || x.Value > d.Max {
			t.Errorf("fact %s = %v: not as declared, or twice", x.Name, x.Value)
		}
		seen[x.Name] = true
	}
	at := -1
	for _, p := range r.Phases {
		i := slices.Index(k.Phases, p.Name)
		if i <= at {
			t.Errorf("phase %s: unknown, twice or out of order in %v", p.Name, r.Phases)
		}
		at = i
	}
	if _, ok := r.Phases.Get("total"); !ok {
		t.Error("no total")
	}
	return r
}

func TestJourney(t *testing.T) {
	for _, tt := range []struct {
		name, broken, secret, extra string
		reason                      check.Reason
		detail                      string
		steps                       int // phases timed besides total
	}{
		{name: "all is well", reason: check.OK, steps: 3},
		{name: "no form token", broken: "token", reason: check.ContentMissing, detail: `step 1 "mở trang": ${token}: the page has no input "__token"`, steps: 1},
		{name: "password wrong", secret: "wrong", reason: check.Auth, detail: `step 2 "đăng nhập"`, steps: 2},
		{name: "no secret", secret: "-", reason: check.NotConfigured, detail: `secret "probe"`, steps: 2},
		{name: "page after the login", broken: "home", reason: check.ContentMissing, detail: `step 2 "đăng nhập": the page does not hold "Xin chào"`, steps: 2},
		{name: "sent to another site", broken: "away", reason: check.HTTPRedirect, detail: "another site, http://localhost", steps: 2},
		{name: "sent to where the form must not go", broken: "resubmit", reason: check.HTTPRedirect, detail: "not in the plan", steps: 2},
		{name: "sent round and round", broken: "loop", reason: check.HTTPRedirect, detail: "more than 5", steps: 2},
		{name: "an echo of the password", broken: "echo", reason: check.HTTPRedirect, detail: "cannot be followed", steps: 2},
		{name: "look-up is down", broken: "down", reason: check.HTTPStatus, detail: `step 3 "tra cứu": status 502, want 200`, steps: 3},
		{name: "asked too often", broken: "busy", reason: check.Blocked, steps: 3},
		{name: "the network wants a login", broken: "portal", reason: check.CaptivePortal, steps: 3},
		{name: "too large", broken: "large", reason: check.TooLarge, detail: "more than 4096", steps: 3},
		{name: "too large a head", broken: "head", reason: check.TooLarge, detail: "headers", steps: 3},
		{name: "cut short", broken: "short", reason: check.Truncated, steps: 3},
		{name: "no HTTP", broken: "junk", reason: check.Protocol, steps: 3},
		{name: "hangs", broken: "hang", reason: check.Timeout, detail: `step 3 "tra cứu"`, steps: 3},
		{name: "an error on the page", broken: "error", reason: check.ContentForbidden, detail: "Lỗi hệ thống", steps: 3},
		{name: "slow", broken: "late", extra: "      slow: 1ms\n", reason: check.Slow, steps: 3},
		{name: "approved today", extra: "      approved_until: 2026-11-23\n", reason: check.OK, steps: 3},
		{name: "approved until yesterday", extra: "      approved_until: 2026-11-22\n", reason: check.EvidenceExpired, detail: "2026-11-22"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := &office{broken: tt.broken, other: "http://localhost.test/"}
			s := httptest.NewServer(app)
			t.Cleanup(s.Close)
			secret := map[string]string{"": password, "-": "", "wrong": "wrong"}[tt.secret]
			e := env(secret)
			if tt.broken == "hang" {
				e.Timeout = 500 * time.Millisecond
			}
			r := run(t.Context(), t, parse(t, walkPlan(s.URL, tt.extra)), e)
			if r.Reason != tt.reason || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("got %s %q, want %s %q", r.Reason, r.Detail, tt.reason, tt.detail)
			}
			if strings.Contains(r.Detail, password) || strings.Contains(r.Detail, "12345") {
				t.Errorf("a secret stands in %q", r.Detail)
			}
			if len(r.Phases) != tt.steps+1 {
				t.Errorf("phases %v, want %d steps and total", r.Phases, tt.steps)
			}
			if n, _ := r.Facts.Get("steps_passed_count"); tt.reason == check.OK && n != 3 {
				t.Errorf("%v steps passed", n)
			}
			for _, p := range app.posts {
				if p != "/login" {
					t.Errorf("a form was sent to %s", p)
				}
			}
			if tt.reason == check.EvidenceExpired && app.sessions > 0 {
				t.Error("something was sent without approval")
			}
		})
	}
}

func TestJourneyCannotConnect(t *testing.T) {
	s := httptest.NewServer(nil)
	url := s.URL
	s.Close()
	if r := run(t.Context(), t, parse(t, walkPlan(url, "")), env(password)); r.Reason != check.ConnectRefused || !strings.Contains(r.Detail, "step 1") {
		t.Errorf("got %s %q", r.Reason, r.Detail)
	}
	app := httptest.NewTLSServer(&office{})
	t.Cleanup(app.Close)
	if r := run(t.Context(), t, parse(t, walkPlan(app.URL, "")), env(password)); r.Reason != check.TLSUntrusted {
		t.Errorf("got %s %q", r.Reason, r.Detail)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := run(ctx, t, parse(t, walkPlan(app.URL, "")), env(password)); r.Reason != check.Internal {
		t.Errorf("called off: got %s %q", r.Reason, r.Detail)
	}
}

func TestJourneyMistakes(t *testing.T) {
	base := walkPlan("http://mc.test", "")
	for _, tt := range []struct{ old, now, want string }{
		{`approved: "12/GP-STTTT"`, "slow: 1s", `option "approved": a step posts`},
		{`approved: "12/GP-STTTT"`, `approved: " "`, `option "approved": a step posts`},
		{"max_bytes: 4096", "approved_until: tomorrow", `option "approved_until"`},
		{"max_bytes: 4096", `user_agent: "a\u0007"`, `option "user_agent"`},
		{"url: http://mc.test", "url: ftp://mc.test", `option "url": scheme "ftp"`},
		{"get: /search", "get: http://else.test/", "host else.test is of another site"},
		{"get: /search", "get: '/${nix}'", "${nix}: no step before finds it"},
		{"get: /search", "inputs: {a: b}", "write either get or post"},
		{"post: /login", "post: '/${token}'", "a variable in the address"},
		{"post: /login", "get: /login", "a secret would stand in the address"},
		{"'gần nhất: ([^ <]+)'", "'gần nhất'", "with one group"},
		{"inputs: {token:", "inputs: {a-b:", "is no name of a variable"},
		{`absent: ["Lỗi hệ thống"]`, `absent: [""]`, "absent: an empty text"},
		{`absent: ["Lỗi hệ thống"]`, `status: []`, "status: an empty list"},
	} {
		text := strings.Replace(base, tt.old, tt.now, 1)
		if text == base {
			t.Fatalf("%q is not in the plan", tt.old)
		}
		_, err := plan.Parse([]byte(text), Kinds())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.now, err, tt.want)
		}
	}
	o := parse(t, strings.Replace(walkPlan("http://mc.test", "      hosts: [sso.test]\n"), "get: /search", "get: 'https://sso.test/x?y=${code}'", 1))
	if got := journeyKind().Target(o); !slices.Equal(got, []string{"mc.test", "sso.test"}) {
		t.Errorf("target %v", got)
	}
}

// Whatever a page gives a variable, an address made with it keeps its host, and its query stays the query.
func FuzzFillAddress(f *testing.F) {
	f.Add("//evil.test/")
	f.Add("a?b=c&d=e#f")
	f.Add("../../..")
	f.Add("\x00%zz@evil.test:80")
	j, err := newJourney(parse(f, walkPlan("http://mc.test", "")), env(password))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, at := range []string{"/a/${v}", "/a?x=${v}&y=1", "${v}", "http://mc.test/${v}"} {
			u, err := j.address(fillAddress(at, map[string]string{"v": value}))
			if err == nil && u.Host != "mc.test" {
				t.Errorf("%q with %q leads to %s", at, value, u)
			}
			if err == nil && strings.Contains(at, "?") && (u.Query().Get("x") != value || u.Query().Get("y") != "1") {
				t.Errorf("%q with %q became %s", at, value, u)
			}
		}
	})
}

func TestMask(t *testing.T) {
	w := walk{secrets: []string{"p w/1"}, vars: map[string]string{"token": "abc p w/1 def", "n": "7"}}
	if got := w.mask("a p w/1 b p+w%2F1 c p%20w%2F1 d abc p w/1 def 7"); got != "a *** b *** c *** d *** 7" {
		t.Errorf("got %q", got)
	}
}

func TestJourneyOverTLS(t *testing.T) {
	s := httptest.NewTLSServer(&office{})
	t.Cleanup(s.Close)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t.Context(), t, parse(t, walkPlan(s.URL, "      roots: "+roots+"\n")), env(password))
	if v, ok := r.Facts.Get("chain_valid_code"); r.Reason != check.OK || v != 1 || !ok {
		t.Errorf("got %s %q, chain %v %v", r.Reason, r.Detail, v, ok)
	}
	r = run(t.Context(), t, parse(t, walkPlan(s.URL, "      roots: "+roots+"\n      warn_days: 3650\n      issuer: nobody\n")), env(password))
	if r.Reason != check.TLSUntrusted {
		t.Errorf("another issuer: got %s %q", r.Reason, r.Detail)
	}
	// An https page must not send the browser, and its cookies, on in the clear.
	plain := httptest.NewServer(&office{})
	t.Cleanup(plain.Close)
	down := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/", http.StatusFound))
	t.Cleanup(down.Close)
	r = run(t.Context(), t, parse(t, walkPlan(down.URL, "      roots: "+roots+"\n")), env(password))
	if r.Reason != check.HTTPRedirect || !strings.Contains(r.Detail, "from https") {
		t.Errorf("downgrade: got %s %q", r.Reason, r.Detail)
	}
}
