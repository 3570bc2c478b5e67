package onestop

import (
	"net/http/httptest"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// backend starts one copy of the system behind nginx; it knows its own sessions and no others.
func backend(t *testing.T, session string) (*office, string) {
	t.Helper()
	app := &office{session: session}
	s := httptest.NewServer(app)
	t.Cleanup(s.Close)
	return app, strings.TrimPrefix(s.URL, "http://")
}

// Sessions and tokens that go astray on the way, and backends that do not know one another's: the lab's one-stop shop, which is in
// [TestJourneyOfTheLab], never does that.
func TestJourneyBehindNginx(t *testing.T) {
	for _, tt := range []struct {
		name     string
		upstream string // directives of the upstream block, beside its two servers
		location string // directives of the location
		one      bool   // there is one backend only
		reason   check.Reason
		detail   string
		steps    float64 // that went well
	}{
		{name: "packed", one: true, location: "gzip on; gzip_min_length 1;", reason: check.OK, steps: 3},
		{name: "the cookie is lost", one: true, location: "proxy_hide_header Set-Cookie;", reason: check.HTTPStatus, detail: `step 2 "đăng nhập": status 400`, steps: 1},
		{name: "the cookie is for another path", one: true, location: "proxy_cookie_path / /nowhere;", reason: check.HTTPStatus, detail: "step 2", steps: 1},
		{name: "another cookie takes its place", one: true, location: `add_header Set-Cookie "session=other; Path=/";`,
			reason: check.HTTPStatus, detail: "step 2", steps: 1},
		{name: "the token has another name", one: true, location: `sub_filter "name=__token" "name=__csrf";`, reason: check.ContentMissing, detail: `no input "__token"`, steps: 0},
		{name: "the token is of another session", one: true, location: `sub_filter "t&#111;ken+12345" "token+00000";`, reason: check.HTTPStatus, detail: "step 2", steps: 1},
		{name: "the dossier's number looks otherwise", one: true, location: `sub_filter "gần nhất:" "mới nhất:";`, reason: check.ContentMissing, detail: `step 2 "đăng nhập": ${code}`, steps: 1},
		{name: "a session bound to one backend of two", reason: check.HTTPStatus, detail: `step 2 "đăng nhập": status 400`, steps: 1},
		{name: "two backends, and people stay at theirs", upstream: "ip_hash;", reason: check.OK, steps: 3},
		{name: "the second backend is dead, and the first takes over", upstream: "server DEAD;", one: true, reason: check.OK, steps: 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, a := checktest.NewNginx(t), checktest.NewAuthority(t, "motcua.test")
			at := n.Listen("127.0.0.1")
			first, one := backend(t, "s1")
			apps := []*office{first}
			servers := "server " + one + ";"
			if !tt.one {
				second, two := backend(t, "s2")
				apps, servers = append(apps, second), servers+" server "+two+";"
			}
			n.HTTP("upstream office { " + strings.ReplaceAll(tt.upstream, "DEAD", checktest.ClosedPort(t)) + " " + servers + " }")
			n.Server("listen " + at + " ssl http2; " + n.Certificate(a.Leaf(nil, nil)) + ` location / { proxy_pass http://office; ` + tt.location + " }")
			n.Start()
			r := run(t.Context(), t, parse(t, walkPlan("https://"+at, "      roots: "+a.Roots()+"\n")), env(password))
			if r.Reason != tt.reason || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("got %s %q, want %s %q", r.Reason, r.Detail, tt.reason, tt.detail)
			}
			if got, _ := r.Facts.Get("steps_passed_count"); got != tt.steps {
				t.Errorf("%v steps went well, want %v", got, tt.steps)
			}
			if v, ok := r.Facts.Get("chain_valid_code"); !ok || v != 1 {
				t.Errorf("chain_valid_code = %v %v", v, ok)
			}
			for _, app := range apps {
				for _, p := range app.posts {
					if p != "/login" {
						t.Errorf("a form was sent to %s", p)
					}
				}
			}
		})
	}
}

// What nginx says when one page of the system behind it is gone, which the lab's shop has as a whole only, is told with the step at which it was.
func TestJourneyStoppedByNginx(t *testing.T) {
	for _, tt := range []struct{ name, search, detail string }{
		{"dead", "proxy_pass http://DEAD;", "status 502"},
		{"closed for maintenance", "return 503;", "status 503"},
		{"sent to the login again", "return 302 /;", "does not hold"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := checktest.NewNginx(t)
			at := n.Listen("127.0.0.1")
			_, one := backend(t, "s1")
			n.Server("listen " + at + "; location / { proxy_pass http://" + one + "; } location /search { " +
				strings.ReplaceAll(tt.search, "DEAD", checktest.ClosedPort(t)) + " }")
			n.Start()
			r := run(t.Context(), t, parse(t, walkPlan("http://"+at, "")), env(password))
			want := check.HTTPStatus
			if strings.HasPrefix(tt.detail, "does") {
				want = check.ContentMissing
			}
			if r.Reason != want || !strings.Contains(r.Detail, `step 3 "tra cứu": `) || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("got %s %q, want %s %q at step 3", r.Reason, r.Detail, want, tt.detail)
			}
		})
	}
}
