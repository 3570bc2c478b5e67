package onestop

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// The address of the first server is told as a number: one of a private network here, since of loopback's nothing is told.
func TestAddressIsTold(t *testing.T) {
	const first, second = "10.9.9.9", "10.9.9.8"
	w := checktest.NewWorld(t)
	w.Site("pc", false)
	w.IP("pc", "addr add "+first+"/32 dev lo", "addr add "+second+"/32 dev lo")
	var port string
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", checktest.Epoch().Format(http.TimeFormat))
		if r.URL.Path == "/go" {
			http.Redirect(w, r, "http://"+second+port+"/", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "x")
	})}
	t.Cleanup(func() { _ = s.Close() })
	w.Do("pc", func() error {
		l, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			return err
		}
		_, port, err = net.SplitHostPort(l.Addr().String())
		port = ":" + port
		go func() { _ = s.Serve(l) }()
		return err
	})
	told := func(k check.Kind, o check.Options) (v float64) {
		f := checktest.NewFunc(t, k, o, check.Env{})
		w.Do("pc", func() error {
			r := f(context.WithoutCancel(t.Context()))
			if v, _ = r.Facts.Get("address_code"); r.Reason != check.OK || v == 0 {
				t.Errorf("%v: %s %q, address %v", o["url"], r.Reason, r.Detail, v)
			}
			return nil
		})
		return v
	}
	steps := func(path string) []check.Options {
		return []check.Options{{"name": "a", "get": path, "status": []int64{200}}}
	}
	one := told(freshnessKind(), check.Options{"url": "http://" + first + port + "/", "max_age": time.Hour})
	two := told(freshnessKind(), check.Options{"url": "http://" + second + port + "/", "max_age": time.Hour})
	way := told(journeyKind(), check.Options{"url": "http://" + first + port + "/", "approved": "1", "hosts": []string{second}, "steps": steps("/go")})
	if one == two || way != one {
		t.Errorf("addresses %v, %v and, on the way from one to the other, %v", one, two, way)
	}
}

// A mailbox whose certificate ends soon is told of, unless the letters in it say something worse; working hours make the search look
// further back.
func TestFreshnessOfAWornMailbox(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	for _, tt := range []struct {
		name   string
		empty  bool
		with   check.Options
		reason check.Reason
		since  string
	}{
		{"a letter", false, check.Options{"warn_days": int64(21)}, check.CertExpiring, "SINCE 22-Oct-2026"},
		{"an old one", false, check.Options{"max_age": time.Minute}, check.Stale, ""},
		{"none", true, nil, check.ContentMissing, ""},
		{"in working hours", false, check.Options{"hours": []string{"T2-T6 07:30-17:00"}, "max_age": 5 * 24 * time.Hour}, check.CertExpiring, "SINCE 23-Sep-2026"},
		{"lost only after long", false, check.Options{"lost_age": 60 * 24 * time.Hour}, check.CertExpiring, "SINCE 23-Sep-2026"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked string
			uid := "MAX 7 COUNT 1"
			if tt.empty {
				uid = "COUNT 0"
			}
			at := serveMailbox(t, a, 5, func(c net.Conn) {
				converse(c, "UID SEARCH", func(c net.Conn, tag, command string) {
					asked = command
					_, _ = io.WriteString(c, "* ESEARCH (TAG \""+tag+"\") UID "+uid+"\r\n"+tag+" OK\r\n")
				})
			})
			o := check.Options{"address": at, "server_name": "mail.test", "roots": a.Roots(), "user": "giamsat", "password": "x", "max_age": 2 * time.Hour}
			maps.Copy(o, tt.with)
			f, err := freshnessKind().New(checktest.WithDefaults(t, freshnessKind(), o), checktest.WithEnv(check.Env{Secret: func(string) (string, error) { return password, nil }}))
			if err != nil {
				t.Fatal(err)
			}
			wants(t, f(t.Context()), tt.reason, "", nil)
			if !strings.Contains(asked, tt.since) {
				t.Errorf("the mailbox was asked %q, want %s", asked, tt.since)
			}
		})
	}
}
