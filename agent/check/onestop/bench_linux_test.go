package onestop

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// The peer of BenchmarkJourneyAgainstBare serves pages of 2 kB with a form token.
func TestMain(m *testing.M) {
	page := []byte(`<h1>Một cửa</h1><form method=post><input type=hidden name=token value=t0ken-12345><td class=ma>HS-2026/77</td></form>` + strings.Repeat("<p>Hồ sơ</p>", 130))
	checktest.MainWithPeer(m, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "s1", Path: "/"})
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	}))
}

// BenchmarkJourneyAgainstBare compares the processor time of a journey of five steps, with a cookie, a form token, a value taken
// from an element and texts that must be there, with that of five requests of a plain Go client on fresh connections.
func BenchmarkJourneyAgainstBare(b *testing.B) {
	a := checktest.NewAuthority(b, "127.0.0.1")
	_, address := checktest.StartPeer(b, a)
	o := parse(b, steps("https://"+address, approved+"      roots: "+a.Roots()+"\n",
		"{name: a, get: /, inputs: {token: token}, contains: [Một cửa]}",
		"{name: b, post: /b, form: {token: '${token}', user: probe}, contains: [Hồ sơ]}",
		"{name: c, get: /c, extract_select: {ma: td.ma}}",
		"{name: d, get: '/d?ma=${ma}', contains: [Hồ sơ], absent: [Lỗi]}",
		"{name: e, get: /e, extract: {x: 'HS-([0-9]+)'}}"))
	f, err := journeyKind().New(o, check.Env{Now: checktest.Epoch, Timeout: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	get := checktest.BareClient(a)
	checktest.Compare(b, 10, func(ctx context.Context) error {
		if r := f(ctx); r.Reason != check.OK {
			return fmt.Errorf("%s: %s", r.Reason, r.Detail)
		}
		return nil
	}, func(ctx context.Context) error {
		for range 5 {
			if err := get(ctx, "https://"+address+"/"); err != nil {
				return err
			}
		}
		return nil
	})
}
