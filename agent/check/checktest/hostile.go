package checktest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Form is a login form, which stands on those of the hostile pages that are good in spite of all.
const Form = `<form><input name=user><input type=password name=pw><input type=hidden name=t value=v></form>`

// HostilePages serves pages that mean to cost whoever looks at them more than a page may: by their size, their depth, their number of parts,
// their packing, their cookies, where they lead to, and how slowly they come. It returns the site's URL.
//
//	/huge       500 MB of HTML             /deep      a million elements in one another, then the form
//	/bomb       500 MB in a small gzip     /hollow    gzip blocks without end that hold nothing
//	/forms /fields /images /tag /links /dates   tens of thousands of one thing, or more; one tag of 3 MB
//	/nested     JSON in 700,000 objects    /list      a JSON list without end
//	/cookies    3,000 cookies, twice       /head      headers without end
//	/loop       leads to itself            /far/0     leads on and on, each time elsewhere
//	/drops/head /drops/body                a byte now and then, without end, the latter as an image
func HostilePages(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(hostile))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL
}

func hostile(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	say := func(s ...string) {
		for _, x := range s {
			_, _ = io.WriteString(w, x)
		}
	}
	endless := func(unit string, most int) {
		unit = strings.Repeat(unit, 1+(64<<10)/len(unit))
		for n := 0; n < most; n += len(unit) {
			if _, err := io.WriteString(w, unit); err != nil {
				return
			}
		}
	}
	const large = 500 << 20
	switch path := r.URL.Path; path {
	case "/huge":
		endless("<p>x", large)
	case "/deep":
		say(strings.Repeat("<b>", 1_000_000), "<p class=x>y", Form)
	case "/forms":
		say(strings.Repeat("<form></form>", 50_000), Form)
	case "/fields":
		say("<form>", strings.Repeat("<input name=a>", 200_000), Form)
	case "/images":
		say(Form, strings.Repeat("<img src=a>", 50_000), "<img id=cap src=b>")
	case "/tag":
		say(`<input name=a value="`, strings.Repeat("x", 3<<20), `">`, Form)
	case "/links":
		say(strings.Repeat("<a href=/x>", 100_000))
	case "/dates":
		say(strings.Repeat("<i>1/1/2026</i>", 60_000))
	case "/words":
		for i := range 300_000 {
			fmt.Fprintf(w, "%x ", i*2654435761)
		}
	case "/nested":
		say(strings.Repeat(`{"a":`, 700_000))
	case "/list":
		say(`{"data":[`)
		endless(`{"at":"2026-11-23"},`, large)
	case "/bomb":
		packed(w)
	case "/hollow":
		Hollow(w)
	case "/cookies":
		manyCookies(w, r)
	case "/head":
		for i := range 8000 {
			w.Header().Add("X-"+strconv.Itoa(i), strings.Repeat("x", 90))
		}
	case "/loop":
		http.Redirect(w, r, path, http.StatusFound)
	case "/drops/head", "/drops/body":
		drops(w, path == "/drops/head")
	default:
		if n, err := strconv.Atoi(strings.TrimPrefix(path, "/far/")); err == nil {
			http.Redirect(w, r, "/far/"+strconv.Itoa(n+1), http.StatusSeeOther)
			return
		}
		http.NotFound(w, r)
	}
}

// packed sends a gzip that is much larger without it: the same megabyte over and over.
func packed(w http.ResponseWriter) {
	w.Header().Set("Content-Encoding", "gzip")
	var text bytes.Buffer
	z := gzip.NewWriter(&text)
	for range 16 {
		_, _ = z.Write(make([]byte, 64<<10))
	}
	_ = z.Flush() // ends on a whole byte
	const head = 10
	if _, err := w.Write(text.Bytes()[:head]); err != nil {
		return
	}
	for range 500 {
		if _, err := w.Write(text.Bytes()[head:]); err != nil {
			return
		}
	}
}

// Hollow sends a gzip that never ends and holds nothing.
func Hollow(w http.ResponseWriter) {
	w.Header().Set("Content-Encoding", "gzip")
	text := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
	for {
		text += strings.Repeat("\x00\x00\x00\xff\xff", 10_000) // stored blocks of no bytes: RFC 1951, section 3.2.4
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
		text = ""
	}
}

// manyCookies sets more cookies than anybody may, and refuses whoever brings more of them than a server takes.
func manyCookies(w http.ResponseWriter, r *http.Request) {
	if len(r.Header.Get("Cookie")) > 20<<10 {
		w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
		return
	}
	for i := range 3000 {
		w.Header().Add("Set-Cookie", fmt.Sprintf("c%d=%s", i, strings.Repeat("x", 60)))
	}
	if r.URL.RawQuery == "" {
		http.Redirect(w, r, "/cookies?2", http.StatusFound)
		return
	}
	_, _ = io.WriteString(w, Form)
}

// drops sends a byte now and then until the other side is gone.
func drops(w http.ResponseWriter, head bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if !head {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
	}
	for _, c := range "HTTP/1.1 200 OK\r\nX: " {
		if _, err := conn.Write([]byte{byte(c)}); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	for {
		if _, err := conn.Write([]byte("x")); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// HostileImages serves a page with a login form, whose images are of the same kinds as the pages of [HostilePages]: /huge, /bomb, /drops/body.
func HostileImages(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			_, _ = io.WriteString(w, Form)
			return
		}
		hostile(typed{w}, r)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL
}

// typed says of everything that it is an image.
type typed struct{ http.ResponseWriter }

// Write writes.
func (w typed) Write(p []byte) (int, error) {
	w.Header().Set("Content-Type", "image/png")
	return w.ResponseWriter.Write(p)
}

// Unwrap is the writer within.
func (w typed) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Bounded does something that meets such a page, and sees that it costs no more than so much memory, in bytes, and not much time,
// however slow the machine is. What the page's own server needs is counted too.
func Bounded(t testing.TB, most uint64, do func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	do()
	took := time.Since(begin)
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; spent > most {
		t.Errorf("%d MiB were allocated", spent>>20)
	}
	if took > 30*time.Second {
		t.Errorf("took %s", took)
	}
}
