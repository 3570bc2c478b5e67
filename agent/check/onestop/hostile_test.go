package onestop

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// Whatever a page is, a step costs bounded time and memory and ends with its reason.
func TestJourneyOfHostilePages(t *testing.T) {
	url := checktest.HostilePages(t)
	for _, tt := range []struct {
		line   string
		reason check.Reason
		detail string
	}{
		{"{name: a, get: /huge, select: {p.x: ''}}", check.TooLarge, "more than"},
		{"{name: a, get: /deep, select: {p.y: ''}}", check.ContentMissing, "nothing is found"},
		{"{name: a, get: /deep, extract_select: {y: p.y}}", check.ContentMissing, "${y}: nothing is found"},
		{"{name: a, get: /deep, extract: {y: 'class=x>(.)'}}", check.OK, ""},
		{"{name: a, get: /deep, extract: {y: 'class=z>(.)'}}", check.ContentMissing, "${y}: nothing on the page matches"},
		{"{name: a, get: /deep, inputs: {y: t}}", check.OK, ""},
		{"{name: a, get: /fields, inputs: {y: t}}", check.ContentMissing, `${y}: the page has no input "t"`},
		{"{name: a, get: /tag, inputs: {y: t}}", check.ContentMissing, `${y}: the page has no input "t"`},
		{"{name: a, get: /nested, json: {'$.a.b': ''}}", check.Protocol, "not JSON"},
		{"{name: a, get: /nested, extract_json: {y: '$.a.a.b'}}", check.Protocol, "${y}: not JSON"},
		{"{name: a, get: /list, extract_json: {y: '$.data[0].at'}}", check.TooLarge, "more than"},
		{"{name: a, get: /bomb, contains: [x]}", check.Protocol, "not asked for"},
		{"{name: a, get: /cookies}", check.OK, ""},
		{"{name: a, get: /head}", check.TooLarge, "headers of more than"},
		{"{name: a, get: /loop}", check.HTTPRedirect, "more than 5"},
		{"{name: a, get: /far/0}", check.HTTPRedirect, "more than 5"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			f, err := journeyKind().New(parse(t, steps(url, approved, tt.line)), env(""))
			if err != nil {
				t.Fatal(err)
			}
			checktest.Bounded(t, 64<<20, func() {
				r := f(t.Context())
				wants(t, r, tt.reason, tt.detail, nil)
				checktest.Declared(t, journeyKind(), r)
				if n, _ := r.Facts.Get("requests_count"); n > maxRequests+1 {
					t.Errorf("%v requests were made", n)
				}
			})
		})
	}
}

// Whatever the source of a date is, looking there costs bounded time and memory and ends with its reason.
func TestFreshnessOfHostilePages(t *testing.T) {
	url := checktest.HostilePages(t)
	large := func(o check.Options) check.Options { o["max_bytes"] = int64(16 << 20); return o }
	for _, tt := range []struct {
		path   string
		with   check.Options
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{"/huge", check.Options{"select": "p"}, check.TooLarge, "more than 1048576 bytes", nil},
		{"/huge", nil, check.TooLarge, "more than", nil},
		{"/deep", large(check.Options{"select": "p.y"}), check.ContentMissing, "nothing is found", nil},
		{"/deep", large(check.Options{"matches": "class=x>(.)"}), check.ContentMissing, `is no date: "y"`, nil},
		{"/dates", large(check.Options{"select": "i"}), check.Stale, "2026-01-01", map[string]float64{"found_count": maxDates}},
		{"/dates", large(check.Options{"matches": "<i>(.*?)<"}), check.Stale, "2026-01-01", map[string]float64{"found_count": maxDates}},
		{"/tag", large(check.Options{"select": "input@value"}), check.ContentMissing, "nothing is found", nil},
		{"/nested", large(check.Options{"json": "$.a.b"}), check.Protocol, "not JSON", nil},
		{"/nested", large(check.Options{"json": "$[*][*][*]"}), check.Protocol, "not JSON", nil},
		{"/list", large(check.Options{"json": "$.data[*].at"}), check.TooLarge, "more than", nil},
		{"/bomb", check.Options{"select": "p"}, check.Protocol, "not asked for", nil},
		{"/cookies", nil, check.ContentMissing, "no Last-Modified", nil},
		{"/head", nil, check.TooLarge, "headers of more than", nil},
		{"/loop", nil, check.HTTPRedirect, "more than 5", nil},
		{"/far/0", nil, check.HTTPRedirect, "more than 5", nil},
	} {
		t.Run(tt.path, func(t *testing.T) {
			o := check.Options{"url": url + tt.path, "max_age": time.Hour}
			maps.Copy(o, tt.with)
			f := checktest.NewFunc(t, freshnessKind(), o, check.Env{})
			checktest.Bounded(t, 128<<20, func() { wants(t, f(t.Context()), tt.reason, tt.detail, tt.facts) })
		})
	}
}

// A mailbox that floods, that never ends a line, that counts more letters than there can be, or that comes by drops.
func TestFreshnessOfAHostileMailbox(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	flood := func(c net.Conn, unit string) {
		for text := strings.Repeat(unit, 1000); ; {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
	for _, tt := range []struct {
		name   string
		handle func(net.Conn)
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{"a greeting without end", func(c net.Conn) { flood(c, "* OK ready ") }, check.Protocol, "a line of more than", nil},
		{"news without end", func(c net.Conn) {
			converse(c, "EXAMINE", func(c net.Conn, _, _ string) { flood(c, "* 1 EXISTS\r\n") })
		}, check.Protocol, "more than 100 lines", nil},
		{"long news without end", func(c net.Conn) {
			converse(c, "EXAMINE", func(c net.Conn, _, _ string) { flood(c, "* OK "+strings.Repeat("x", 30_000)+"\r\n") })
		}, check.Protocol, "more than 262144 bytes", nil},
		{"letters without end", func(c net.Conn) {
			converse(c, "UID SEARCH", func(c net.Conn, _, _ string) { _, _ = io.WriteString(c, "* SEARCH"); flood(c, " 7") })
		}, check.Protocol, "a line of more than", nil},
		{"more letters than there can be", func(c net.Conn) {
			converse(c, "UID SEARCH", func(c net.Conn, tag, _ string) {
				fmt.Fprintf(c, "* ESEARCH (TAG %q) UID MAX 7 COUNT 4294967295\r\n%s OK\r\n", tag, tag)
			})
		}, check.OK, "", map[string]float64{"found_count": maxCount, "age_s": 3600}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := check.Env{Secret: func(string) (string, error) { return password, nil }}
			at := serveMailbox(t, a, 300, tt.handle)
			o := check.Options{"address": at, "server_name": "mail.test", "roots": a.Roots(), "user": "giamsat", "password": "x", "max_age": 2 * time.Hour}
			f, err := freshnessKind().New(checktest.WithDefaults(t, freshnessKind(), o), checktest.WithEnv(e))
			if err != nil {
				t.Fatal(err)
			}
			checktest.Bounded(t, 64<<20, func() {
				r := f(t.Context())
				wants(t, r, tt.reason, tt.detail, tt.facts)
				checktest.Sound(t, freshnessKind(), r)
			})
		})
	}
}

// What comes by drops, without end, is given up when the time is over, wherever it comes from. The runs wait beside one another.
func TestDrops(t *testing.T) {
	url, a := checktest.HostilePages(t), checktest.NewAuthority(t, "mail.test")
	mailbox := serveMailbox(t, a, 300, func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, "*"); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	way := func(path string) check.Options { return parse(t, steps(url, approved, "{name: a, get: "+path+"}")) }
	for _, tt := range []struct {
		name   string
		kind   check.Kind
		with   check.Options
		detail string
	}{
		{"a journey's answer", journeyKind(), way("/drops/head"), "waiting for the answer"},
		{"a journey's page", journeyKind(), way("/drops/body"), "reading the page"},
		{"an answer", freshnessKind(), check.Options{"url": url + "/drops/head", "max_age": time.Hour}, "waiting for the answer"},
		{"a page", freshnessKind(), check.Options{"url": url + "/drops/body", "max_age": time.Hour}, "reading the page"},
		{"a mailbox", freshnessKind(), check.Options{"address": mailbox, "server_name": "mail.test", "roots": a.Roots(), "user": "giamsat", "password": "x", "max_age": time.Hour}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := check.Env{Timeout: time.Second, Secret: func(string) (string, error) { return password, nil }}
			f, err := tt.kind.New(checktest.WithDefaults(t, tt.kind, tt.with), checktest.WithEnv(e))
			if err != nil {
				t.Fatal(err)
			}
			checktest.Bounded(t, 64<<20, func() { wants(t, f(t.Context()), check.Timeout, tt.detail, nil) })
		})
	}
}

// serveMailbox serves as mail.test over TLS, with a certificate that ends in some days.
func serveMailbox(t *testing.T, a *checktest.Authority, days int, handle func(net.Conn)) string {
	t.Helper()
	cert := a.Leaf(nil, func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(0, 0, days) })
	return checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}}, handle)
}

// converse answers IMAP commands as a mailbox with one letter of an hour ago, and leaves one command to then; only after a search it goes on.
func converse(c net.Conn, left string, then func(c net.Conn, tag, command string)) {
	_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR ESEARCH] ready\r\n")
	for in := bufio.NewScanner(c); in.Scan(); {
		tag, command, _ := strings.Cut(in.Text(), " ")
		if strings.HasPrefix(command, left) {
			then(c, tag, command)
			if left != "UID SEARCH" {
				return
			}
			continue
		}
		switch {
		case strings.HasPrefix(command, "CAPABILITY"):
			_, _ = io.WriteString(c, "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR ESEARCH\r\n")
		case strings.HasPrefix(command, "UID FETCH"):
			_, _ = io.WriteString(c, "* 1 FETCH (UID 7 INTERNALDATE \"23-Nov-2026 09:00:00 +0700\")\r\n")
		}
		_, _ = io.WriteString(c, tag+" OK\r\n")
	}
}

// What cannot be read of the newest file, or was put there since it was looked at, is said for what it is, without the path.
func TestNewestFileCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	var n newestFile
	n.readTail(filepath.Join(dir, "gone"))
	if n.bad == nil || n.bad.Reason != check.NotSupported || strings.Contains(n.bad.Detail, dir) {
		t.Errorf("gone since: %+v", n.bad)
	}
	n = newestFile{}
	n.readTail(dir)
	if n.bad == nil || n.bad.Reason != check.NotSupported || !strings.Contains(n.bad.Detail, "no regular file") {
		t.Errorf("a folder since: %+v", n.bad)
	}
	for err, want := range map[error]check.Reason{
		&fs.PathError{Op: "open", Path: dir, Err: fs.ErrPermission}:       check.NoPermission,
		&fs.PathError{Op: "open", Path: dir, Err: errors.New("I/O")}:      check.NotSupported,
		&fs.PathError{Op: "read", Path: dir, Err: os.ErrDeadlineExceeded}: check.NotSupported,
	} {
		bad := unreadable(err)
		if bad == nil || bad.Reason != want || strings.Contains(bad.Detail, dir) {
			t.Errorf("%v: %+v, want %s", err, bad, want)
		}
	}
	if bad := unreadable(nil); bad != nil {
		t.Errorf("read well: %+v", bad)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range listAt + 1 {
		made(t, dir, fmt.Sprint("n-", i), "x", 0)
	}
	f, err := newFiles(filepath.Join(dir, "n-*"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.list(ctx, &n); !errors.Is(err, context.Canceled) {
		t.Errorf("a long folder, called off: %v", err)
	}
}
