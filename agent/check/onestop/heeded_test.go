package onestop

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

func TestOptionsOfTLS(t *testing.T) {
	t.Run("journey", func(t *testing.T) {
		checktest.TLSOptions(t, journeyKind(), check.Options{"approved": "1", "steps": []check.Options{{"name": "a", "get": "/", "status": []int64{200}}}})
	})
	t.Run("freshness", func(t *testing.T) { checktest.TLSOptions(t, freshnessKind(), check.Options{"max_age": time.Hour}) })
}

// Values that cannot be used, and a server that ends the connection while it is sent to.
func TestRareReasons(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<p class=a>x:y</p><p class=b>"+strings.Repeat("x", maxValue+1)+"</p><input name=long value="+strings.Repeat("z", maxValue+1)+">")
	}))
	t.Cleanup(s.Close)
	for _, tt := range []struct {
		steps  []string
		reason check.Reason
		detail string
	}{
		{[]string{"{name: a, get: /, extract: {v: '(xxxxx+)'}}"}, check.TooLarge, "${v} would have 4097 bytes"},
		{[]string{"{name: a, get: /, inputs: {v: long}}"}, check.TooLarge, "${v} would have 4097 bytes"},
		{[]string{"{name: a, get: /, extract_select: {v: p.b}}"}, check.OK, ""}, // an element's text is cut to as much
		{[]string{"{name: a, get: /, extract_select: {v: p.a}}", "{name: b, get: '${v}'}"}, check.Misconfigured, "cannot be used with the variables"},
	} {
		wants(t, run(t.Context(), t, parse(t, steps(s.URL, approved, tt.steps...)), env("")), tt.reason, tt.detail, nil)
	}
	gone := "      roots: /no/such.pem\n"
	wants(t, run(t.Context(), t, parse(t, steps("https://"+checktest.Serve(t, func(net.Conn) {}), approved+gone, "{name: a, get: /}")), env("")), check.Misconfigured, "step 1", nil)
	at := checktest.Serve(t, func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 1000))
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	})
	e := env("x")
	e.Secret = func(string) (string, error) { return strings.Repeat("x", 16<<20), nil }
	wants(t, run(t.Context(), t, parse(t, steps("http://"+at, approved, "{name: a, post: /, form: {f: {secret: x}}}")), e), check.ConnectReset, "sending the request", nil)
	e.Secret = func(string) (string, error) { return "", errors.New("there is none") }
	wants(t, run(t.Context(), t, parse(t, steps(s.URL, approved, "{name: a, post: /, form: {f: {secret: x}}}")), e), check.NotConfigured, "there is none", nil)
}
