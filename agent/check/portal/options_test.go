package portal

import (
	"io"
	"net"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/web"
	"egovmon/agent/plan"
)

func TestHTTPOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{"url": "ftp://portal.test/"}, `option "url": scheme "ftp"`},
		{check.Options{"url": "https:///x"}, `option "url"`},
		{check.Options{"url": "https://-ạ_/"}, `option "url"`},
		{check.Options{"status": []int64{}}, `option "status"`},
		{check.Options{"min_bytes": int64(10), "max_bytes": int64(9)}, `option "min_bytes": 10`},
		{check.Options{"contains": []string{""}}, `option "contains"`},
		{check.Options{"absent": []string{""}}, `option "absent"`},
		{check.Options{"matches": []string{"("}}, `option "matches"`},
		{check.Options{"answer_headers": map[string]string{"X": "("}}, `option "answer_headers"`},
		{check.Options{"headers": map[string]string{"X": "a\r\nY: b"}}, `option "headers"`},
		{check.Options{"headers": map[string]string{"X Y": "a"}}, `option "headers"`},
		{check.Options{"headers": map[string]string{"connection": "keep-alive"}}, `option "headers": Connection`},
		{check.Options{"user_agent": "a\nb"}, `option "user_agent"`},
		{check.Options{"method": "HEAD", "contains": []string{"x"}}, `option "method"`},
		{check.Options{"user": "probe"}, `option "user"`},
		{check.Options{"user": "a:b", "password": "x"}, `option "user"`},
		{check.Options{"password": "x"}, `option "password"`},
		{check.Options{"proxy": "proxy.test:3128"}, `option "proxy"`},
		{check.Options{"proxy": "https://proxy.test"}, `option "proxy"`},
		{check.Options{"proxy": "http://a:b@proxy.test"}, `option "proxy": a user`},
		{check.Options{"proxy_user": "a", "proxy_password": "x"}, `option "proxy_user"`},
		{check.Options{"client_key": "k"}, `option "client_cert"`},
		{check.Options{"client_cert": "c", "client_key": "k", "client_key_secret": "s"}, `option "client_key"`},
		{check.Options{"distrusted": []string{"00"}}, `option "distrusted"`},
	} {
		if !tt.with.Has("url") {
			tt.with["url"] = "https://portal.test/"
		}
		_, err := httpKind().New(checktest.WithDefaults(t, httpKind(), tt.with), checktest.WithEnv(check.Env{}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.with, err, tt.want)
		}
	}
	for with, want := range map[string]string{"none": "portal.test", "environment": "portal.test", "http://proxy.test:3128": "proxy.test"} {
		got := httpKind().Target(check.Options{"url": "https://portal.test:8443/x", "proxy": with})
		if len(got) != 1 || got[0] != want {
			t.Errorf("proxy %s: target %v, want %s", with, got, want)
		}
	}
}

// Every kind can be planned with nothing but what it requires, and says of each option what it is for.
func TestKindsAreWhole(t *testing.T) {
	text := "plan: test\nchecks:\n" +
		"  - {id: a.tls, kind: tls, every: 60s, with: {address: 'cổng.vn:443', distrusted: ['" + strings.Repeat("ab", 32) + "']}}\n" +
		"  - {id: a.http, kind: http, every: 60s, with: {url: 'https://cổng.vn/', contains: ['Tứ Kỳ'], user: probe, password: {secret: mailbox}, client_cert: /x.pem}}\n"
	if _, err := plan.Parse([]byte(text), Kinds()); err != nil {
		t.Errorf("the plan was refused:\n%v", err)
	}
	for _, k := range Kinds() {
		if k.Family != "portal" || k.Summary == "" || k.New == nil || k.Target == nil {
			t.Errorf("kind %s is not whole", k.Name)
		}
		seen := map[string]bool{}
		for _, o := range k.Options {
			if seen[o.Name] || o.Type == "" || !strings.HasSuffix(o.Help, ".") || o.Required && o.Default != "" {
				t.Errorf("kind %s: option %s: twice, without type or help", k.Name, o.Name)
			}
			seen[o.Name] = true
		}
		for _, f := range k.Facts {
			if seen[f.Name] || f.Help == "" || f.Min > f.Max {
				t.Errorf("kind %s: fact %s: twice, without help or bounds", k.Name, f.Name)
			}
			seen[f.Name] = true
		}
	}
}

// Whatever a server sends as a page, reading it ends well and a text that stands there in plain UTF-8 is found.
func FuzzPage(f *testing.F) {
	f.Add([]byte("<meta charset=windows-1258>T\xfd\xec"), "text/html", "Tứ")
	f.Add([]byte("\xff\xfeT\x00"), "text/html; charset=utf-16", "T")
	f.Add([]byte("T&#7913; &amp &#xffffffff; &bogus;"), "", "Tứ")
	f.Add([]byte("\xef\xbb\xbfTứ"), "text/plain; charset=utf-8", "Tứ")
	f.Add([]byte("Tứ"), `text/html; charset="iso-2022-kr`, "ứ")
	f.Add([]byte("\x1b$B\x1b(B~{"), "text/html; charset=hz-gb-2312", "~")
	f.Fuzz(func(t *testing.T, body []byte, contentType, want string) {
		text := web.Decode(body, contentType)
		if len(text) > 16*len(body)+64 {
			t.Errorf("%d bytes became %d", len(body), len(text))
		}
		if !norm.NFC.IsNormal(text) {
			t.Errorf("%q is not in NFC", text)
		}
		if want == "" {
			return
		}
		a, err := newAssertions(check.Options{"contains": []string{want}, "matches": []string{"."}})
		if err != nil {
			t.Fatal(err)
		}
		_ = a.judge(body, contentType)
		if utf8.Valid(body) && strings.Contains(string(norm.NFC.Bytes(body)), norm.NFC.String(want)) && !strings.HasPrefix(string(body), "\ufeff") {
			if bad := a.judge(body, "text/plain; charset=utf-8"); bad != nil && bad.reason == check.ContentMissing && !strings.Contains(bad.detail, "matches") {
				t.Errorf("%q is in %q and was not found: %s", want, body, bad.detail)
			}
		}
	})
}

// Whatever a server sends as an answer, the check says one of its own reasons and keeps to what it declares.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 302 x\r\nLocation: //[::1\r\n\r\n", "HTTP/1.0 200\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n3\r\n\x1f\x8b\x08\r\n", "HTTP/1.1 100 x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-7\r\nSet-Cookie: =;;\r\n\r\n<p>", "\x00", "HTTP/1.1 403 x\r\n\r\nIncapsula incident ID",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		c, err := newHTTP(checktest.WithDefaults(t, httpKind(), check.Options{"url": "http://portal.test/", "contains": []string{"Tứ"}}), checktest.WithEnv(check.Env{}))
		if err != nil {
			t.Fatal(err)
		}
		s := new(scratch)
		fetch := fetch{c: c, scratch: s, last: answerNotRead()}
		req, bad := fetch.request(c.url, c.method)
		if bad != nil {
			t.Fatal(bad.detail)
		}
		_, bad = fetch.receive(&canned{data: answer}, req)
		fetch.number()
		r := bad.result()
		r.Facts, r.Phases = fetch.facts, fetch.spans.phases(0)
		checktest.Declared(t, httpKind(), r)
		s.release()
	})
}

// A canned connection has said all it will say.
type canned struct {
	net.Conn
	data []byte
}

// Read returns what is left.
func (c *canned) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.data)
	c.data = c.data[n:]
	return n, nil
}
