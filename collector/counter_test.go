package main

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/kinds"
	"egovmon/agent/plan"
	"egovmon/collector/board"
	"egovmon/collector/history/index"
	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

// TestCounterBehindNginx judges the counter of one commune by what the checks of the systems that it needs see of them,
// behind nginx as they are in the field.
func TestCounterBehindNginx(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.URL.Path == "/login" {
			_, _ = io.WriteString(w, `<form method=post action=/login><input name=user><input type=password name=pw></form>`)
			return
		}
		_, _ = io.WriteString(w, "<title>Cổng Dịch vụ công quốc gia</title>")
	}))
	t.Cleanup(app.Close)
	n, a := checktest.NewNginx(t), checktest.NewAuthority(t, "motcua.test")
	good, ending := n.Listen("127.0.0.1"), n.Listen("127.0.0.1")
	soon := a.Leaf(nil, func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(48 * time.Hour) })
	for at, cert := range map[string]string{good: n.Certificate(a.Leaf(nil, nil)), ending: n.Certificate(soon)} {
		n.Server("listen " + at + " ssl http2; " + cert + `
			location / { proxy_pass ` + app.URL + `; }
			location /bare/ { return 200 "<div id=app></div>"; }
			location /dead/ { proxy_pass http://` + checktest.ClosedPort(t) + `; }
			location /closed/ { return 503; }
			location /busy/ { return 429; }`)
	}
	n.Start()
	p := embedded(t)
	for _, tt := range []struct {
		name      string
		tthc, dvc string // addresses of the two systems
		want      string
		lost      []string
		unknown   []string
	}{
		{"everything works", good + "/login", good + "/", board.CounterReady, nil, nil},
		{"a certificate that ends soon stops nobody", ending + "/login", good + "/", board.CounterReady, nil, nil},
		{"the one-stop-shop system is closed", good + "/closed/login", good + "/", board.CounterStopped, []string{"tthc"}, nil},
		{"its page opens and has no log-in", good + "/bare/login", good + "/", board.CounterStopped, []string{"tthc"}, nil},
		{"both are gone", good + "/dead/login", good + "/dead/", board.CounterStopped, []string{"tthc", "dvc_q"}, nil},
		{"one refuses the probe", good + "/busy/login", good + "/", board.CounterUnclear, nil, []string{"tthc"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			states := map[string]check.State{"power": check.Up, "lan": check.Up, "ket_noi": check.Up, "kyso_usb": check.Up, "kyso_may": check.Up, "may_in": check.Up,
				"tthc":  oneRun(t, "loginpage", "https://"+tt.tthc, a.Roots()),
				"dvc_q": oneRun(t, "http", "https://"+tt.dvc, a.Roots())}
			var standings []index.Standing
			for id, s := range states {
				standings = append(standings, index.Standing{Service: id, Unit: "xa-tu-ky", State: s})
			}
			got := counters(p, standings, checktest.Epoch())
			if len(got) != 1 || got[0].Unit != "xa-tu-ky" || got[0].State != tt.want || !slices.Equal(got[0].Lost, tt.lost) || !slices.Equal(got[0].Unknown, tt.unknown) {
				t.Errorf("got %+v, want %s, lost %v, unknown %v", got, tt.want, tt.lost, tt.unknown)
			}
		})
	}
}

// embedded is the sample profile, which has one counter a unit.
func embedded(t *testing.T) *profile.Profile {
	t.Helper()
	fsys, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// oneRun is the state that a check of this kind finds, as a plan asks for it.
func oneRun(t *testing.T, kind, url, roots string) check.State {
	t.Helper()
	text := fmt.Sprintf("plan: p\nchecks:\n  - {id: s.c, kind: %s, every: 60s, with: {url: %q, roots: %q}}\n", kind, url, roots)
	parsed, err := plan.Parse([]byte(text), kinds.Table())
	if err != nil {
		t.Fatal(err)
	}
	k, _ := kinds.Table().Lookup(kind)
	f, err := k.New(parsed.Checks[0].Options, checktest.WithEnv(check.Env{}))
	if err != nil {
		t.Fatal(err)
	}
	r := f(t.Context())
	if strings.Contains(r.Detail, "127.0.0.1") && strings.Contains(r.Detail, "->") {
		t.Errorf("the detail names our own end: %s", r.Detail)
	}
	return r.State
}
