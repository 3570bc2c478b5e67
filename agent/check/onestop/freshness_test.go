package onestop

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/web"
)

// fresh runs the kind once with these options; its clock stands at checktest.Epoch, 10:00 on a Monday in Vietnam.
func fresh(t *testing.T, o check.Options, env check.Env) check.Result {
	t.Helper()
	if !o.Has("max_age") {
		o["max_age"] = 2 * time.Hour
	}
	f := checktest.NewFunc(t, freshnessKind(), o, env)
	return f(t.Context())
}

func wants(t *testing.T, r check.Result, reason check.Reason, detail string, facts map[string]float64) {
	t.Helper()
	if r.Reason != reason || !strings.Contains(r.Detail, detail) {
		t.Errorf("got %s %q, want %s %q", r.Reason, r.Detail, reason, detail)
	}
	for name, want := range facts {
		if got, ok := r.Facts.Get(name); !ok || got != want {
			t.Errorf("%s = %v %v, want %v", name, got, ok, want)
		}
	}
}

// made writes a file of the age.
func made(t *testing.T, dir, name, text string, age time.Duration) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := checktest.Epoch().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFreshnessOfFiles(t *testing.T) {
	dir := t.TempDir()
	one := made(t, dir, "one", "x", time.Hour)
	made(t, dir, "a-1.bak", "xx", 3*time.Hour)
	made(t, dir, "a-2.bak", "xxx", time.Hour)
	made(t, dir, "a-3.bak", "", time.Minute)
	made(t, dir, "b-1.bak", "x", 0)
	ahead := made(t, dir, "ahead", "x", -time.Hour)
	text := made(t, dir, "log", "08:00 23/11/2026 xong\n09:00 23/11/2026 xong\nhết", 100*time.Hour)
	long := made(t, dir, "long", strings.Repeat("01/01/2026 xong\n", 40_000)+"23/11/2026 xong", 0)
	other := made(t, dir, "other", "không có gì", 0)
	old := made(t, dir, "old", "x", 5*time.Hour)
	if err := os.Mkdir(filepath.Join(dir, "a-4.bak"), 0o700); err != nil {
		t.Fatal(err)
	}
	unproven := check.Env{ClockProven: func() bool { return false }}
	for _, tt := range []struct {
		name   string
		with   check.Options
		env    check.Env
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{"one file", check.Options{"file": one}, check.Env{}, check.OK, "last 2026-11-23 09:00:00 +07:00",
			map[string]float64{"age_s": 3600, "found_count": 1, "size_bytes": 1, "last_unix": float64(checktest.Epoch().Unix() - 3600)}},
		{"shown in another zone", check.Options{"file": one, "zone": "-01:30"}, check.Env{}, check.OK, "last 2026-11-23 00:30:00 -01:30", nil},
		{"the newest of several, without empty ones and folders", check.Options{"file": filepath.Join(dir, "a-*.bak")}, check.Env{}, check.OK, "", map[string]float64{"age_s": 3600, "found_count": 2, "size_bytes": 3}},
		{"empty ones count", check.Options{"file": filepath.Join(dir, "a-*.bak"), "min_bytes": int64(0)}, check.Env{}, check.OK, "", map[string]float64{"age_s": 60, "found_count": 3}},
		{"all are too small", check.Options{"file": filepath.Join(dir, "a-*.bak"), "min_bytes": int64(100)}, check.Env{}, check.ContentMissing, "no file of at least 100 bytes", nil},
		{"too old", check.Options{"file": old}, check.Env{}, check.Stale, "5h0m0s old, the limit is 2h0m0s", map[string]float64{"age_s": 18000}},
		{"too old, clock not proven", check.Options{"file": old}, unproven, check.ClockUnproven, "", nil},
		{"lost", check.Options{"file": old, "lost_age": 4 * time.Hour}, check.Env{}, check.ContentMissing, "5h0m0s old, the limit is 4h0m0s", nil},
		{"not lost yet", check.Options{"file": old, "lost_age": 6 * time.Hour}, check.Env{}, check.Stale, "", nil},
		{"within hours", check.Options{"file": old, "hours": []string{"T2-T6 07:30-11:30", "mon-fri 13:30-17:00"}, "max_age": 3 * time.Hour}, check.Env{}, check.OK, "", map[string]float64{"age_s": 18000, "work_age_s": 9000}},
		{"too old within hours", check.Options{"file": old, "hours": []string{"cn-T2 07:30-17:00"}}, check.Env{}, check.Stale, "2h30m0s of working hours old", map[string]float64{"work_age_s": 9000}},
		{"in the future", check.Options{"file": ahead}, check.Env{}, check.ClockSkew, "in the future", map[string]float64{"ahead_s": 3600}},
		{"in the future, clock not proven", check.Options{"file": ahead}, unproven, check.ClockUnproven, "in the future", nil},
		{"in the future, as far as it may", check.Options{"file": ahead, "ahead": time.Hour}, check.Env{}, check.OK, "", map[string]float64{"age_s": 0}},
		{"date in the file", check.Options{"file": text, "matches": `(?m)^(.*) xong`}, check.Env{}, check.OK, "", map[string]float64{"age_s": 3600, "found_count": 2}},
		{"date in the end of a long file", check.Options{"file": long, "matches": `(.*) xong`}, check.Env{}, check.OK, "last 2026-11-23", map[string]float64{"age_s": 0, "found_count": 256}},
		{"date in the file, of another zone", check.Options{"file": text, "matches": `(.*) xong`, "zone": "+00:00"}, check.Env{}, check.ClockSkew, "", nil},
		{"no date in the file", check.Options{"file": other, "matches": `(.*) xong`}, check.Env{}, check.ContentMissing, "nothing is found in the newest file", nil},
		{"something else in the file", check.Options{"file": other, "matches": `không (.*)`}, check.Env{}, check.ContentMissing, `is no date: "có gì"`, nil},
		{"no such file", check.Options{"file": filepath.Join(dir, "gone")}, check.Env{}, check.ContentMissing, "no such file", nil},
		{"no such folder", check.Options{"file": filepath.Join(dir, "gone", "*")}, check.Env{}, check.ContentMissing, "no such file", nil},
		{"nothing fits", check.Options{"file": filepath.Join(dir, "z-*")}, check.Env{}, check.ContentMissing, "no file", nil},
		{"a folder", check.Options{"file": dir}, check.Env{}, check.NotSupported, "no regular file", nil},
		{"slow", check.Options{"file": one, "slow": time.Nanosecond}, check.Env{}, check.Slow, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) { wants(t, fresh(t, tt.with, tt.env), tt.reason, tt.detail, tt.facts) })
	}
}

// A disk that does not answer is given up in time, and asked by one run at a time.
func TestFreshnessOfAHangingDisk(t *testing.T) {
	f, err := newFiles(filepath.Join(t.TempDir(), "x"), 1)
	if err != nil {
		t.Fatal(err)
	}
	f.busy <- struct{}{}
	if n := f.look(t.Context(), false); n.bad == nil || n.bad.Reason != check.Timeout {
		t.Errorf("got %+v", n.bad)
	}
	<-f.busy
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if n := f.look(ctx, false); n.bad == nil || n.bad.Reason != check.Timeout && n.bad.Reason != check.ContentMissing {
		t.Errorf("got %+v", n.bad)
	}
}

func TestFreshnessOfPages(t *testing.T) {
	ago := func(d time.Duration) string { return checktest.Epoch().Add(-d).Format(http.TimeFormat) }
	serve := func(kind, modified, body string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/login":
				if u, p, ok := r.BasicAuth(); !ok || u != "probe" || p != password {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
			case "/gone":
				http.NotFound(w, r)
				return
			case "/busy":
				w.WriteHeader(http.StatusTooManyRequests)
				return
			case "/wall":
				w.WriteHeader(http.StatusNetworkAuthenticationRequired)
				return
			case "/away":
				http.Redirect(w, r, "http://elsewhere.test/", http.StatusFound)
				return
			case "/packed":
				w.Header().Set("Content-Encoding", "gzip")
			case "/junk", "/short", "/hang":
				conn, _, _ := http.NewResponseController(w).Hijack()
				defer conn.Close()
				switch r.URL.Path {
				case "/short":
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
				case "/junk":
					_, _ = io.WriteString(conn, "SSH-2.0-x\r\n\r\n")
				default:
					_, _ = conn.Read(make([]byte, 1))
				}
				return
			case "/agent":
				body = `{"at":"2026-11-23T02:00:00Z"}`
				if r.UserAgent() != "egovmon (phong vhtt)" {
					body = "{}"
				}
			}
			w.Header().Set("Content-Type", kind)
			if modified != "" {
				w.Header().Set("Last-Modified", modified)
			}
			_, _ = io.WriteString(w, body)
		}))
		t.Cleanup(s.Close)
		return s
	}
	const doc = `{"data":[{"updated":"23/11/2026 08:00"},{"updated":"2026-11-23T02:00:00Z"},{"updated":null}],"n":1795399200}`
	api := serve("application/json", ago(90*time.Minute), doc)
	page := serve("text/html; charset=utf-8", "", `<table><tr><td class=ngay>22/11/2026<tr><td class=ngay>Hôm nay, 9h00</table><p>Văn bản đến gần nhất: 5 phút trước</p>`)
	for _, tt := range []struct {
		name, url string
		with      check.Options
		env       check.Env
		reason    check.Reason
		detail    string
		facts     map[string]float64
	}{
		{"Last-Modified", api.URL, nil, check.Env{}, check.OK, "", map[string]float64{"age_s": 5400, "status_code": 200, "found_count": 1, "ip_family_code": 4}},
		{"no Last-Modified", page.URL, nil, check.Env{}, check.ContentMissing, "no Last-Modified", nil},
		{"a JSON field", api.URL, check.Options{"json": "$.data[0].updated"}, check.Env{}, check.OK, "", map[string]float64{"age_s": 7200}},
		{"the newest of JSON fields", api.URL, check.Options{"json": "$.data[*].updated"}, check.Env{}, check.OK, "", map[string]float64{"age_s": 3600, "found_count": 2}},
		{"Unix seconds", api.URL, check.Options{"json": "$.n"}, check.Env{}, check.OK, "", map[string]float64{"age_s": 3600}},
		{"no such JSON field", api.URL, check.Options{"json": "$.gone"}, check.Env{}, check.ContentMissing, "nothing is found on the page", nil},
		{"a JSON field that is no date", api.URL, check.Options{"json": "$.data[2].updated"}, check.Env{}, check.ContentMissing, "is no date", nil},
		{"no JSON", page.URL, check.Options{"json": "$.n"}, check.Env{}, check.Protocol, "not JSON", nil},
		{"elements", page.URL, check.Options{"select": "td.ngay"}, check.Env{}, check.OK, "", map[string]float64{"age_s": 3600, "found_count": 2}},
		{"a text", page.URL, check.Options{"matches": "gần nhất: ([^<]*)"}, check.Env{}, check.OK, "", map[string]float64{"age_s": 300}},
		{"too old", api.URL, check.Options{"max_age": time.Hour}, check.Env{}, check.Stale, "", nil},
		{"account", api.URL + "/login", check.Options{"user": "probe", "password": "x"}, env(password), check.OK, "", nil},
		{"account refused", api.URL + "/login", check.Options{"user": "probe", "password": "x"}, env("wrong"), check.Auth, "", nil},
		{"no secret", api.URL + "/login", check.Options{"user": "probe", "password": "x"}, env(""), check.NotConfigured, "", nil},
		{"login wanted", api.URL + "/login", nil, check.Env{}, check.HTTPStatus, "status 401", nil},
		{"not there", api.URL + "/gone", nil, check.Env{}, check.HTTPStatus, "status 404", map[string]float64{"status_code": 404}},
		{"asked too often", api.URL + "/busy", nil, check.Env{}, check.Blocked, "", nil},
		{"the network wants a login", api.URL + "/wall", nil, check.Env{}, check.CaptivePortal, "", nil},
		{"sent to another site", api.URL + "/away", nil, check.Env{}, check.HTTPRedirect, "", nil},
		{"packed, unasked", api.URL + "/packed", nil, check.Env{}, check.Protocol, "not asked for", nil},
		{"cut short", api.URL + "/short", nil, check.Env{}, check.Truncated, "", nil},
		{"no HTTP", api.URL + "/junk", nil, check.Env{}, check.Protocol, "", nil},
		{"silent", api.URL + "/hang", nil, check.Env{Timeout: 200 * time.Millisecond}, check.Timeout, "", nil},
		{"too large", api.URL, check.Options{"max_bytes": int64(20)}, check.Env{}, check.TooLarge, "", nil},
		{"by its name", api.URL + "/agent", check.Options{"json": "$.at", "user_agent": "egovmon (phong vhtt)"}, check.Env{}, check.OK, "", nil},
		{"port closed", "http://" + checktest.ClosedPort(t), nil, check.Env{}, check.ConnectRefused, "", nil},
		{"only IPv4 there", api.URL, check.Options{"family": "ip6"}, check.Env{}, check.DNSEmpty, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": tt.url}
			maps.Copy(o, tt.with)
			wants(t, fresh(t, o, tt.env), tt.reason, tt.detail, tt.facts)
		})
	}
}

// Called off is nobody's fault.
func TestFreshnessCalledOff(t *testing.T) {
	s := checktest.ServeTLS(t, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := checktest.NewFunc(t, freshnessKind(), check.Options{"url": "https://" + s, "max_age": time.Hour}, check.Env{})(ctx)
	if r.State == check.Down {
		t.Errorf("got %s %q", r.Reason, r.Detail)
	}
}

func TestFreshnessOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{}, `option "file": name one source`},
		{check.Options{"file": "/x", "url": "http://a.test"}, `option "file": name one source`},
		{check.Options{"file": "x"}, `option "file": "x" is no absolute path`},
		{check.Options{"file": "/*/x"}, `option "file"`},
		{check.Options{"file": "/x/["}, `option "file"`},
		{check.Options{"file": "/x/*/"}, `option "file"`},
		{check.Options{"file": "/x", "json": "$.a"}, `option "file": a date in a file`},
		{check.Options{"file": "/x", "user": "a"}, `option "user": a file needs no account`},
		{check.Options{"file": "/x", "lost_age": time.Minute}, `option "lost_age"`},
		{check.Options{"file": "/x", "zone": "ICT"}, `option "zone"`},
		{check.Options{"file": "/x", "hours": []string{"mon 8-9"}}, `option "hours"`},
		{check.Options{"file": "/x", "hours": []string{"xyz 08:00-09:00"}}, `option "hours"`},
		{check.Options{"file": "/x", "hours": []string{"mon-xyz 08:00-09:00"}}, `option "hours"`},
		{check.Options{"file": "/x", "hours": []string{"mon 09:00-08:00"}}, `option "hours"`},
		{check.Options{"file": "/x", "hours": []string{"mon"}}, `option "hours"`},
		{check.Options{"url": "ftp://a.test"}, `option "url"`},
		{check.Options{"url": "http://a.test", "json": "a"}, `option "json"`},
		{check.Options{"url": "http://a.test", "select": "["}, `option "select"`},
		{check.Options{"url": "http://a.test", "matches": "a"}, `option "matches"`},
		{check.Options{"url": "http://a.test", "matches": "(a)", "json": "$"}, `option "matches": json, select`},
		{check.Options{"url": "http://a.test", "user": "u", "password": "p"}, `option "user": a password is sent through verified TLS only`},
		{check.Options{"url": "https://a.test", "user": "u"}, `option "user": write both`},
		{check.Options{"url": "https://a.test", "user": "u:", "password": "p"}, `option "user"`},
		{check.Options{"url": "https://a.test", "user_agent": "a\nb"}, `option "user_agent"`},
		{check.Options{"address": "a.test:993"}, `option "user": a mailbox needs`},
		{check.Options{"address": "a.test:993", "user": "u", "password": "p", "json": "$"}, `option "address"`},
	} {
		tt.with["max_age"] = time.Hour
		_, err := freshnessKind().New(checktest.WithDefaults(t, freshnessKind(), tt.with), checktest.WithEnv(check.Env{}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.with, err, tt.want)
		}
	}
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{"url": "https://a.test:8443/x"}, "[a.test]"},
		{check.Options{"address": "a.test:993"}, "[a.test]"},
		{check.Options{"address": "[::1]:993"}, "[::1]"},
		{check.Options{"file": "/x"}, "[]"},
	} {
		if got := fmt.Sprint(freshnessKind().Target(tt.with)); got != tt.want {
			t.Errorf("%v: target %s, want %s", tt.with, got, tt.want)
		}
	}
}

func TestWorking(t *testing.T) {
	shifts, err := parseHours([]string{"mon-fri 07:30-11:30", "T2-T6 13:30-17:00", "sat 08:00-24:00"})
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", s, web.Vietnam())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range []struct {
		from, to string
		want     time.Duration
	}{
		{"2026-11-23 08:00", "2026-11-23 10:00", 2 * time.Hour},
		{"2026-11-23 11:00", "2026-11-23 14:00", time.Hour},
		{"2026-11-20 16:00", "2026-11-23 08:30", 18 * time.Hour},
		{"2026-11-22 00:00", "2026-11-22 23:00", 0},
		{"2026-11-23 10:00", "2026-11-23 08:00", 0},
		{"2026-11-09 00:00", "2026-11-23 00:00", 2 * (5*7*time.Hour + 5*30*time.Minute + 16*time.Hour)},
		{"0001-01-01 00:00", "0001-01-01 00:00", 0},
	} {
		if got := working(shifts, at(tt.from), at(tt.to)); got != tt.want {
			t.Errorf("%s to %s: %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
	if got := working(shifts, time.Time{}, at("2026-11-23 00:00")); got > maxAge {
		t.Errorf("since ever: %s", got)
	}
}
