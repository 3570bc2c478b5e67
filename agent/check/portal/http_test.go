package portal

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"egovmon/agent/check"
)

func TestHTTPFirst(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "<p>Huy&#7879;n Tứ Kỳ")
	}))
	defer s.Close()
	f := newFunc(t, httpKind(), check.Options{"url": s.URL, "contains": []string{"Huyện Tứ Kỳ"}}, check.Env{})
	r := f(t.Context())
	t.Logf("%+v", r)
	if r.Reason != check.OK {
		t.Errorf("got %s %s", r.Reason, r.Detail)
	}
	a := newAuthority(t)
	addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.leaf(nil, nil)}}, nil)
	f = newFunc(t, tlsKind(), check.Options{"address": addr, "roots": a.roots()}, check.Env{})
	r = f(t.Context())
	t.Logf("%+v", r)
	if r.Reason != check.OK {
		t.Errorf("got %s %s", r.Reason, r.Detail)
	}
}
