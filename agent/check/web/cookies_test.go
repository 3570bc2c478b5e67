package web

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
)

// A site that sets cookies without end makes neither the jar nor the next request grow.
func TestCookiesAreBounded(t *testing.T) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	u := &url.URL{Scheme: "https", Host: "portal.test", Path: "/"}
	send := func() string {
		req := &http.Request{URL: u, Header: http.Header{}}
		SendCookies(jar, req)
		return req.Header.Get("Cookie")
	}
	KeepCookies(jar, u, &http.Response{Header: http.Header{"Set-Cookie": {"session=s1; Path=/", "user=u1"}}})
	if got := send(); got != "session=s1; user=u1" {
		t.Errorf("sent %q", got)
	}
	for answer := range 50 {
		var set []string
		for i := range 3000 {
			set = append(set, fmt.Sprintf("c%d-%d=%s", answer, i, strings.Repeat("x", 500)))
		}
		KeepCookies(jar, u, &http.Response{Header: http.Header{"Set-Cookie": set}})
	}
	if n := len(jar.Cookies(u)); n > 50*maxCookies+2 {
		t.Errorf("%d cookies are kept", n)
	}
	if got := send(); len(got) > maxCookieBytes+4*maxCookies || !strings.Contains(got, "session=s1") {
		t.Errorf("%d bytes are sent, beginning %.40q", len(got), got)
	}
}
