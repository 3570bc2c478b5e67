package portal

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/web"
)

// webServer serves with this handler over HTTP.
func webServer(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// raw answers each request with bytes as they stand, then hangs up.
func raw(t testing.TB, answer string) string {
	t.Helper()
	return "http://" + checktest.Serve(t, func(c net.Conn) {
		if readRequest(c) {
			_, _ = io.WriteString(c, answer)
		}
	})
}

// readRequest reads up to the empty line that ends a request without body.
func readRequest(c net.Conn) bool {
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.HasSuffix(got, []byte("\r\n\r\n")) {
		n, err := c.Read(buf)
		if err != nil {
			return false
		}
		got = append(got, buf[:n]...)
	}
	return true
}

func packed(t testing.TB, pack func(io.Writer) io.WriteCloser, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := pack(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipped(t testing.TB, text string) string {
	return packed(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, text)
}

func page(header, body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", header, len(body), body)
}

// An httpTest runs one check against one server and says what must come out.
type httpTest struct {
	name   string
	url    func(*testing.T) string
	with   check.Options
	env    check.Env
	reason check.Reason
	detail string
	facts  map[string]float64
}

func (tt httpTest) run(t *testing.T) {
	o := check.Options{"url": tt.url(t)}
	maps.Copy(o, tt.with)
	f := checktest.NewFunc(t, httpKind(), o, tt.env)
	for range 2 { // nothing may be left over from the run before
		r := f(t.Context())
		if r.Reason != tt.reason || !strings.Contains(r.Detail, tt.detail) {
			t.Errorf("got %s %q, want %s %q", r.Reason, r.Detail, tt.reason, tt.detail)
		}
		for name, want := range tt.facts {
			if got, ok := r.Facts.Get(name); !ok || got != want {
				t.Errorf("%s = %v %v, want %v", name, got, ok, want)
			}
		}
	}
}

// says serves a fixed answer.
func says(answer string) func(*testing.T) string {
	return func(t *testing.T) string { return raw(t, answer) }
}

func handler(h http.HandlerFunc) func(*testing.T) string {
	return func(t *testing.T) string { return webServer(t, h) }
}

func TestHTTPAnswers(t *testing.T) {
	strs := func(s ...string) []string { return s }
	utf8Page := func(body string) func(*testing.T) string {
		return says(page("Content-Type: text/html; charset=utf-8\r\n", body))
	}
	for _, tt := range []httpTest{
		{name: "all is well", url: says(page("", "hello")), reason: check.OK, facts: map[string]float64{
			"status_code": 200, "body_bytes": 5, "redirects_count": 0, "http_version_code": 11, "ip_family_code": 4}},
		{name: "HTTP/1.0 without a length", url: says("HTTP/1.0 200 OK\r\n\r\nhello"), reason: check.OK, facts: map[string]float64{"body_bytes": 5, "http_version_code": 10}},
		{name: "interim answers", url: says("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + page("", "hello")), reason: check.OK},
		{name: "interim answers without end", url: says(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100)), reason: check.Protocol},
		{name: "status", url: says("HTTP/1.1 502 Bad Gateway\r\n\r\n"), reason: check.HTTPStatus, detail: "status 502, want 200", facts: map[string]float64{"status_code": 502}},
		{name: "one of several statuses", url: says("HTTP/1.1 404 x\r\n\r\n"), with: check.Options{"status": []int64{200, 404}}, reason: check.OK},
		{name: "login refused", url: says("HTTP/1.1 401 Unauthorized\r\n\r\n"), with: check.Options{"user": "probe", "password": "x"}, env: secrets("pw"), reason: check.Auth},
		{name: "login wanted", url: says("HTTP/1.1 401 Unauthorized\r\n\r\n"), reason: check.HTTPStatus},
		{name: "the network wants a login", url: says("HTTP/1.1 511 Network Authentication Required\r\n\r\n"), reason: check.CaptivePortal},
		{name: "asked too often", url: says("HTTP/1.1 429 Too Many Requests\r\n\r\n"), reason: check.Blocked},
		{name: "forbidden by the site", url: says("HTTP/1.1 403 Forbidden\r\n\r\n"), reason: check.HTTPStatus},
		{name: "forbidden by a firewall", url: says("HTTP/1.1 403 Forbidden\r\nContent-Encoding: gzip\r\n\r\n" + gzipped(t, "<h1>Web Page Blocked!</h1>")), reason: check.Blocked, detail: "FortiWeb"},
		{name: "challenged by a firewall", url: says("HTTP/1.1 503 x\r\ncf-mitigated: challenge\r\n\r\n"), reason: check.Blocked, detail: "Cloudflare"},
		{name: "the proxy in between wants a login", url: says("HTTP/1.1 407 x\r\n\r\n"), reason: check.Auth},

		{name: "text is there", url: utf8Page("<p>Huyện Tứ Kỳ</p>"), with: check.Options{"contains": strs("Tứ Kỳ")}, reason: check.OK},
		{name: "text is not there", url: utf8Page("<p>It works!</p>"), with: check.Options{"contains": strs("It", "Tứ Kỳ")}, reason: check.ContentMissing, detail: `does not hold "Tứ Kỳ"`},
		{name: "text decomposed on the page", url: utf8Page("Tứ Kỳ"), with: check.Options{"contains": strs("Tứ Kỳ")}, reason: check.OK},
		{name: "text decomposed in the plan", url: utf8Page("Tứ Kỳ"), with: check.Options{"contains": strs("Tứ Kỳ")}, reason: check.OK},
		{name: "text as character references", url: utf8Page("T&#7913; K&#x1EF3;"), with: check.Options{"contains": strs("Tứ Kỳ")}, reason: check.OK},
		{name: "text in UTF-16", url: says(page("", "\xff\xfeT\x00\xe9\x1e\x00")), with: check.Options{"contains": strs("Tứ")}, reason: check.OK},
		{name: "text in windows-1258", url: says(page("Content-Type: text/html; charset=windows-1258\r\n", "T\xfd\xec")), with: check.Options{"contains": strs("Tứ")}, reason: check.OK},
		{name: "text in windows-1258, unsaid", url: says(page("", "T\xfd\xec")), with: check.Options{"contains": strs("Tứ")}, reason: check.OK},
		{name: "text in UTF-8, said by meta", url: says(page("", `<meta charset="utf-8">Tứ`)), with: check.Options{"contains": strs("Tứ")}, reason: check.OK},
		{name: "text in UTF-8, late and unsaid", url: says(page("", strings.Repeat(" ", 5000)+"Tứ")), with: check.Options{"contains": strs("Tứ")}, reason: check.OK},
		{name: "maintenance with status 200", url: utf8Page("Hệ thống đang bảo trì"), with: check.Options{"contains": strs("Hệ thống"), "absent": strs("bảo trì")}, reason: check.ContentForbidden, detail: `holds "bảo trì"`},
		{name: "maintenance as character references", url: utf8Page("b&#7843;o tr&igrave;"), with: check.Options{"absent": strs("bảo trì")}, reason: check.ContentForbidden},
		{name: "pattern", url: utf8Page("phiên bản 3.14"), with: check.Options{"matches": strs(`bản \d+\.\d+`)}, reason: check.OK},
		{name: "pattern not found", url: utf8Page("phiên bản ba"), with: check.Options{"matches": strs("phiên", `bản \d+`)}, reason: check.ContentMissing, detail: "nothing on the page matches"},
		{name: "header", url: says(page("Strict-Transport-Security: max-age=1\r\n", "")), with: check.Options{"answer_headers": map[string]string{"strict-transport-security": "max-age=[0-9]+"}}, reason: check.OK},
		{name: "header with another value", url: says(page("Server: old\r\n", "")), with: check.Options{"answer_headers": map[string]string{"Server": "^new$"}}, reason: check.ContentMissing, detail: "header Server"},
		{name: "header missing", url: says(page("", "")), with: check.Options{"answer_headers": map[string]string{"X": ""}}, reason: check.ContentMissing},

		{name: "gzip", url: says(page("Content-Encoding: gzip\r\n", gzipped(t, "Tứ Kỳ"))), with: check.Options{"contains": strs("Tứ Kỳ")}, reason: check.OK, facts: map[string]float64{"body_bytes": 9}},
		{name: "deflate by the book", url: says(page("Content-Encoding: deflate\r\n", packed(t, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }, "Tứ Kỳ"))), with: check.Options{"contains": strs("Tứ Kỳ")}, reason: check.OK},
		{name: "deflate as some do it", url: says(page("Content-Encoding: deflate\r\n", packed(t, func(w io.Writer) io.WriteCloser {
			z, err := flate.NewWriter(w, 9)
			if err != nil {
				t.Fatal(err)
			}
			return z
		}, "Tứ Kỳ"))), with: check.Options{"contains": strs("Tứ Kỳ")}, reason: check.OK},
		{name: "gzip of nothing", url: says(page("Content-Encoding: gzip\r\n", "")), reason: check.OK, facts: map[string]float64{"body_bytes": 0}},
		{name: "gzip that is none", url: says(page("Content-Encoding: gzip\r\n", "this is plain text, sorry")), reason: check.Protocol},
		{name: "gzip cut short", url: says(page("Content-Encoding: gzip\r\n", gzipped(t, "Tứ Kỳ")[:20])), reason: check.Truncated},
		{name: "packed as we did not ask", url: says(page("Content-Encoding: br\r\n", "x")), reason: check.Protocol, detail: "not asked for"},

		{name: "larger than max_bytes", url: says(page("", "123456")), with: check.Options{"max_bytes": int64(5)}, reason: check.TooLarge},
		{name: "as large as max_bytes", url: says(page("", "12345")), with: check.Options{"max_bytes": int64(5)}, reason: check.OK},
		{name: "smaller than min_bytes", url: says(page("", "1234")), with: check.Options{"min_bytes": int64(5)}, reason: check.Truncated, detail: "4 bytes, want at least 5"},
		{name: "as small as min_bytes", url: says(page("", "12345")), with: check.Options{"min_bytes": int64(5)}, reason: check.OK},
		{name: "slow", url: says(page("", "")), with: check.Options{"slow": time.Nanosecond}, reason: check.Slow},
		{name: "not slow", url: says(page("", "")), with: check.Options{"slow": time.Hour}, reason: check.OK},
		{name: "head", url: handler(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000000")
			if r.Method != http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
		}), with: check.Options{"method": "HEAD"}, reason: check.OK, facts: map[string]float64{"body_bytes": 0}},

		{name: "port closed", url: func(t *testing.T) string { return "http://" + checktest.ClosedPort(t) }, reason: check.ConnectRefused},
		{name: "only IPv4 there", url: says(page("", "")), with: check.Options{"family": "ip6"}, reason: check.DNSEmpty},
	} {
		t.Run(tt.name, tt.run)
	}
}

// secrets is a program whose only secret is this one.
func secrets(value string) check.Env {
	return check.Env{Secret: func(name string) (string, error) {
		if name != "x" {
			return "", errors.New("no such secret")
		}
		return value + "\n", nil
	}}
}

// Servers that are broken or mean harm.
func TestHTTPHostile(t *testing.T) {
	bomb := gzipped(t, strings.Repeat("\x00", 10<<20)) // gzip comes to 1 : 1,000, twice to more than 1 : 10,000
	if len(bomb)*900 > 10<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	many := bomb + bomb + bomb + bomb + bomb + bomb + bomb + bomb + bomb + bomb
	endless := func(text string) func(*testing.T) string {
		return func(t *testing.T) string {
			return "http://" + checktest.Serve(t, func(c net.Conn) {
				if !readRequest(c) {
					return
				}
				for {
					if _, err := io.WriteString(c, text); err != nil {
						return
					}
				}
			})
		}
	}
	after := func(first, text string) func(*testing.T) string {
		return func(t *testing.T) string {
			return "http://" + checktest.Serve(t, func(c net.Conn) {
				if !readRequest(c) {
					return
				}
				_, err := io.WriteString(c, first)
				for err == nil {
					_, err = io.WriteString(c, text)
				}
			})
		}
	}
	emptyBlocks := packed(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, "")[:10]
	limit := check.Options{"max_bytes": int64(1 << 20)}
	content := check.Options{"max_bytes": int64(1 << 20), "contains": []string{"Tứ Kỳ"}}
	for _, tt := range []httpTest{
		{name: "a body without end", url: after("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 4096)), with: limit, reason: check.TooLarge},
		{name: "a body without end, looked at", url: after("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 4096)), with: content, reason: check.TooLarge},
		{name: "chunks without end", url: after("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1000\r\n"+strings.Repeat("x", 4096)+"\r\n"), with: limit, reason: check.TooLarge},
		{name: "a packed body", url: says(page("Content-Encoding: gzip\r\n", bomb)), with: content, reason: check.TooLarge},
		{name: "packed twice, 1 : 10,000", url: says(page("Content-Encoding: gzip, gzip\r\n", gzipped(t, bomb))), with: content, reason: check.Protocol, detail: "not asked for"},
		{name: "many packed bodies", url: says(page("Content-Encoding: gzip\r\n", many)), with: limit, reason: check.TooLarge},
		{name: "packed nothing without end", url: after("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"+emptyBlocks, strings.Repeat("\x00\x00\x00\xff\xff", 800)), with: limit, reason: check.TooLarge},
		{name: "headers without end", url: after("HTTP/1.1 200 OK\r\n", "X-Bomb: "+strings.Repeat("x", 1000)+"\r\n"), reason: check.TooLarge},
		{name: "one header without end", url: after("HTTP/1.1 200 OK\r\nX: ", strings.Repeat("x", 4096)), reason: check.TooLarge},
		{name: "a status line without end", url: endless(strings.Repeat("x", 4096)), reason: check.TooLarge},
		{name: "trailers without end", url: after("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: "+strings.Repeat("x", 1000)+"\r\n"), with: limit, reason: check.Protocol},
		{name: "a chunk size that is none", url: says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"), reason: check.Protocol},
		{name: "a chunk size of many digits", url: says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n"), reason: check.Protocol},
		{name: "chunks one byte at a time, padded", url: after("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1;"+strings.Repeat("x", 2000)+"\r\na\r\n"), with: limit, reason: check.Protocol},
		{name: "a chunk cut short", url: says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhello"), reason: check.Truncated},
		{name: "a body cut short", url: says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"), reason: check.Truncated},
		{name: "headers cut short", url: says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), reason: check.Truncated},
		{name: "hangs up at once", url: func(t *testing.T) string { return "http://" + checktest.Serve(t, func(net.Conn) {}) }, reason: check.ConnectReset},
		{name: "hangs up after the request", url: says(""), reason: check.ConnectReset},
		{name: "two lengths", url: says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), reason: check.Protocol},
		{name: "HTTP/9", url: says("HTTP/9.9 200 OK\r\n\r\n"), reason: check.Protocol},
		{name: "status 99999", url: says("HTTP/1.1 99999 OK\r\n\r\n"), reason: check.Protocol},
		{name: "status 999", url: says("HTTP/1.1 999 x\r\n\r\n"), reason: check.HTTPStatus},
		{name: "status 000", url: says("HTTP/1.1 000 x\r\n\r\n"), reason: check.Protocol},
		{name: "speaks SSH", url: says("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), reason: check.Protocol},
		{name: "a text for a terminal", url: says("HTTP/1.1 302 x\r\nLocation: http://\u202e/\u202egnp\r\n\r\n"), reason: check.HTTPRedirect},
	} {
		t.Run(tt.name, tt.run)
	}
}

// Servers that only wait: the time runs out in the step where they stopped.
func TestHTTPTimeout(t *testing.T) {
	drip := func(first string, every time.Duration) func(net.Conn) {
		return func(c net.Conn) {
			if !readRequest(c) {
				return
			}
			_, err := io.WriteString(c, first)
			for err == nil {
				time.Sleep(every)
				_, err = io.WriteString(c, "x")
			}
		}
	}
	for _, tt := range []struct {
		name   string
		handle func(net.Conn)
		last   string // phase that was under way
		status bool
	}{
		{"silent", silent, "first_byte", false},
		{"drips the headers", drip("HTTP/1.1 200 OK\r\nX: ", 10*time.Millisecond), "first_byte", false},
		{"drips the body", drip("HTTP/1.1 200 OK\r\n\r\n", 10*time.Millisecond), "transfer", true},
		{"drips one byte a second", drip("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", time.Second), "transfer", true},
		{"stops in the body", func(c net.Conn) {
			if readRequest(c) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
				silent(c)
			}
		}, "transfer", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := checktest.NewFunc(t, httpKind(), check.Options{"url": "http://" + checktest.Serve(t, tt.handle)}, check.Env{})
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			r := f(ctx)
			if r.Reason != check.Timeout {
				t.Errorf("got %s %q, want timeout", r.Reason, r.Detail)
			}
			if len(r.Phases) < 2 || r.Phases[len(r.Phases)-2].Name != tt.last {
				t.Errorf("phases %v, want %s to be the last step", r.Phases, tt.last)
			}
			if _, ok := r.Facts.Get("status_code"); ok != tt.status {
				t.Errorf("status known: %v, want %v", ok, tt.status)
			}
		})
	}
	t.Run("the check's own time without a deadline", func(t *testing.T) {
		f := checktest.NewFunc(t, httpKind(), check.Options{"url": "http://" + checktest.Serve(t, silent)}, check.Env{Timeout: 100 * time.Millisecond})
		if r := f(context.WithoutCancel(t.Context())); r.Reason != check.Timeout {
			t.Errorf("got %s %q, want timeout", r.Reason, r.Detail)
		}
	})
	t.Run("called off", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := checktest.NewFunc(t, httpKind(), check.Options{"url": "http://" + checktest.Serve(t, func(c net.Conn) { readRequest(c); cancel(); silent(c) })}, check.Env{})
		if r := f(ctx); r.State != check.Unknown {
			t.Errorf("got %s %q: a run that is called off says nothing about the target", r.Reason, r.Detail)
		}
	})
}

func TestHTTPRedirects(t *testing.T) {
	var other string
	site := func(t *testing.T) string {
		return webServer(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/loop":
				http.Redirect(w, r, "/loop", http.StatusFound)
			case "/once":
				http.Redirect(w, r, "/page?secret=1", http.StatusMovedPermanently)
			case "/twice":
				http.Redirect(w, r, "/once", http.StatusTemporaryRedirect)
			case "/session":
				if _, err := r.Cookie("seen"); err == nil {
					fmt.Fprint(w, "welcome")
					return
				}
				http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
				http.Redirect(w, r, "/session", http.StatusFound)
			case "/away":
				http.Redirect(w, r, other+"/page", http.StatusFound)
			case "/file":
				w.Header().Set("Location", "file:///etc/passwd")
				w.WriteHeader(http.StatusFound)
			case "/broken":
				w.Header().Set("Location", "http://[::1")
				w.WriteHeader(http.StatusFound)
			case "/nowhere":
				w.WriteHeader(http.StatusFound)
			default:
				fmt.Fprintf(w, "page for %q", r.Header.Get("Authorization"))
			}
		})
	}
	at := func(path string) func(*testing.T) string {
		return func(t *testing.T) string { return site(t) + path }
	}
	other = strings.Replace(webServer(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "page for %q", r.Header.Get("Authorization"))
	}), "127.0.0.1", "localhost", 1)
	login := check.Options{"user": "probe", "password": "x"}
	with := func(o check.Options, key string, v any) check.Options {
		n := check.Options{key: v}
		maps.Copy(n, o)
		return n
	}
	for _, tt := range []httpTest{
		{name: "once", url: at("/once"), reason: check.OK, facts: map[string]float64{"redirects_count": 1, "status_code": 200}},
		{name: "twice", url: at("/twice"), with: check.Options{"redirects": int64(2)}, reason: check.OK, facts: map[string]float64{"redirects_count": 2}},
		{name: "once too often", url: at("/twice"), with: check.Options{"redirects": int64(1)}, reason: check.HTTPRedirect, detail: "more than 1 redirections"},
		{name: "none wanted", url: at("/once"), with: check.Options{"redirects": int64(0)}, reason: check.HTTPRedirect},
		{name: "expected itself", url: at("/once"), with: check.Options{"status": []int64{301}}, reason: check.OK, facts: map[string]float64{"redirects_count": 0, "status_code": 301}},
		{name: "a loop", url: at("/loop"), reason: check.HTTPRedirect, detail: "more than 10", facts: map[string]float64{"redirects_count": 10}},
		{name: "a session", url: at("/session"), with: check.Options{"contains": []string{"welcome"}}, reason: check.OK},
		{name: "to another site", url: at("/away"), reason: check.HTTPRedirect, detail: "other_hosts: true"},
		{name: "to another site, allowed", url: at("/away"), with: with(login, "other_hosts", true), env: secrets("pw"), reason: check.OK},
		{name: "the password does not go along", url: at("/away"), with: with(with(login, "other_hosts", true), "contains", []string{`page for ""`}), env: secrets("pw"), reason: check.OK},
		{name: "the password goes along at home", url: at("/once"), with: with(login, "contains", []string{`page for "Basic cHJvYmU6cHc="`}), env: secrets("pw"), reason: check.OK},
		{name: "to a file", url: at("/file"), reason: check.HTTPRedirect, detail: "cannot be followed"},
		{name: "to nonsense", url: at("/broken"), reason: check.HTTPRedirect},
		{name: "to nowhere", url: at("/nowhere"), reason: check.HTTPStatus, detail: "status 302"},
	} {
		t.Run(tt.name, tt.run)
	}
}

// What a URL may hold after the question mark does not get into a detail.
func TestShown(t *testing.T) {
	f := checktest.NewFunc(t, httpKind(), check.Options{"redirects": int64(0), "url": webServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/page?token=geheim#x", http.StatusFound)
	})}, check.Env{})
	if r := f(t.Context()); r.Reason != check.HTTPRedirect || strings.Contains(r.Detail, "geheim") || !strings.Contains(r.Detail, "/page") {
		t.Errorf("got %s %q", r.Reason, r.Detail)
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"example.vn", "www.example.vn", true}, {"www.example.vn", "EXAMPLE.vn", true}, {"example.vn", "example.vn", true},
		{"example.vn", "badexample.vn", false}, {"a.example.vn", "b.example.vn", false}, {"127.0.0.1", "localhost", false},
	} {
		if web.Kin(tt.a, tt.b) != tt.want {
			t.Errorf("kin(%s, %s) is not %v", tt.a, tt.b, tt.want)
		}
	}
}

func TestHTTPSRefusals(t *testing.T) {
	a := checktest.NewAuthority(t, "portal.test")
	asked := make(chan struct{}, 100)
	secure := func(change func(*x509.Certificate)) func(*testing.T) string {
		return func(t *testing.T) string {
			return "https://" + checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, change)}}, func(c net.Conn) {
				if readRequest(c) {
					asked <- struct{}{}
					_, _ = io.WriteString(c, page("", "hello"))
				}
			})
		}
	}
	end := checktest.Epoch().Add(-time.Hour)
	trust := check.Options{"roots": a.Roots()}
	for _, tt := range []httpTest{
		{name: "expired", url: secure(func(c *x509.Certificate) { c.NotAfter = end }), with: trust, reason: check.TLSExpired, facts: map[string]float64{"cert_not_after_unix": float64(end.Unix())}},
		{name: "expired, clock not proven", url: secure(func(c *x509.Certificate) { c.NotAfter = end }), with: trust, env: check.Env{ClockProven: func() bool { return false }}, reason: check.ClockUnproven},
		{name: "wrong name", url: secure(func(c *x509.Certificate) { c.IPAddresses = nil }), with: trust, reason: check.TLSName, facts: map[string]float64{"name_valid_code": 0}},
		{name: "untrusted", url: secure(nil), reason: check.TLSUntrusted, facts: map[string]float64{"chain_valid_code": 0}},
		{name: "TLS 1.0 only", url: func(t *testing.T) string {
			return "https://" + checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, func(c net.Conn) { asked <- struct{}{} })
		}, with: trust, reason: check.TLSProtocol, facts: map[string]float64{"tls_version_code": 10}},
		{name: "speaks SSH", url: func(t *testing.T) string {
			return "https://" + checktest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); silent(c) })
		}, reason: check.TLSHandshake, detail: "SSH"},
		{name: "hangs up in the handshake", url: func(t *testing.T) string { return "https://" + checktest.Serve(t, func(net.Conn) {}) }, reason: check.TLSHandshake},
	} {
		t.Run(tt.name, tt.run)
	}
	if len(asked) > 0 {
		t.Error("a request went to a server that was not to be trusted")
	}
	for _, tt := range []httpTest{
		{name: "all is well", url: secure(nil), with: trust, reason: check.OK, facts: map[string]float64{"tls_version_code": 13, "chain_valid_code": 1}},
		{name: "ends soon", url: secure(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(0, 0, 5) }), with: trust, reason: check.CertExpiring},
		{name: "weak", url: secure(nil), with: check.Options{"roots": trust["roots"], "min_version": "1.3", "slow": time.Nanosecond}, reason: check.Slow},
	} {
		t.Run(tt.name, tt.run)
	}
	t.Run("down to http", func(t *testing.T) {
		plain := raw(t, page("", "hello"))
		up := "https://" + checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}}, func(c net.Conn) {
			if readRequest(c) {
				_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: "+plain+"/\r\n\r\n")
			}
		})
		httpTest{url: func(*testing.T) string { return up }, with: trust, reason: check.HTTPRedirect, detail: "downgrade: true"}.run(t)
		httpTest{url: func(*testing.T) string { return up }, with: check.Options{"roots": trust["roots"], "downgrade": true}, reason: check.OK}.run(t)
	})
}
