package alert

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An outside is the place that a Watcher calls.
type outside struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string // method, path and body
	do    http.HandlerFunc
}

func newOutside(t *testing.T) *outside {
	o := &outside{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		o.mu.Lock()
		o.calls = append(o.calls, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
		do := o.do
		o.mu.Unlock()
		if do != nil {
			do(w, r)
		}
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *outside) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.calls) == 0 {
		return ""
	}
	return o.calls[len(o.calls)-1]
}

// watching is a watcher at a time that can be moved, and what it has recorded.
type watching struct {
	*Watcher
	now      time.Time
	blind    string
	recorded []map[string]string
}

func newWatching(t *testing.T, file string, c *WatcherConfig) *watching {
	t.Helper()
	w := &watching{now: at(23, 10, 0)}
	var err error
	if w.Watcher, err = NewWatcher(WatcherOptions{File: file, Config: c, District: "tuky", Now: func() time.Time { return w.now }, Blind: func() string { return w.blind },
		Record: func(_ context.Context, fields map[string]string) error {
			w.recorded = append(w.recorded, fields)
			return nil
		}}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watching) state(t *testing.T, want string) {
	t.Helper()
	if got := w.Status().State; got != want {
		t.Errorf("the state is %s, want %s", got, want)
	}
}

var codeIn = regexp.MustCompile(`Code: ([A-Z2-7]{8})`)

func TestWatcherCountsOnceConfirmed(t *testing.T) {
	out, file := newOutside(t), filepath.Join(t.TempDir(), "watcher.json")
	config := func() *WatcherConfig { return &WatcherConfig{URL: out.URL + "/ping/secret"} }
	w := newWatching(t, file, config())
	w.state(t, WatcherUnconfirmed)
	if err := w.Confirm(t.Context(), "Lan", "AAAAAAAA"); !errors.Is(err, ErrNoTest) {
		t.Errorf("a confirmation without a test: %v", err)
	}
	if err := w.Test(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := codeIn.FindStringSubmatch(out.last())
	if m == nil || !strings.HasPrefix(out.last(), "POST /ping/secret/fail ") {
		t.Fatalf("the test called %q", out.last())
	}
	w.state(t, WatcherTesting)
	w = newWatching(t, file, config()) // a restart between the two
	if err := w.Confirm(t.Context(), "Lan", "AAAAAAAA"); !errors.Is(err, ErrWrongCode) {
		t.Errorf("a wrong code: %v", err)
	}
	if err := w.Confirm(t.Context(), " ", m[1]); err == nil {
		t.Error("nobody confirms")
	}
	w.state(t, WatcherTesting)
	if err := w.Confirm(t.Context(), "Lan", " "+strings.ToLower(m[1])+" "); err != nil {
		t.Fatal(err)
	}
	w.state(t, WatcherConfirmed)
	if len(w.recorded) != 1 || w.recorded[0]["user"] != "Lan" || strings.Contains(w.recorded[0]["watcher"], "secret") {
		t.Errorf("recorded %v", w.recorded)
	}
	if err := w.Confirm(t.Context(), "Lan", m[1]); !errors.Is(err, ErrNoTest) {
		t.Errorf("a code is taken twice: %v", err)
	}
	w = newWatching(t, file, config())
	w.state(t, WatcherConfirmed)
	w.now = w.now.Add(confirmedFor + time.Second)
	w.state(t, WatcherStale)
	other := newWatching(t, file, &WatcherConfig{URL: out.URL + "/ping/other"})
	other.state(t, WatcherUnconfirmed) // what was tested is another place
}

func TestWatcherTestsEnd(t *testing.T) {
	out := newOutside(t)
	w := newWatching(t, filepath.Join(t.TempDir(), "watcher.json"), &WatcherConfig{URL: out.URL, TestURL: out.URL + "/down?msg=${code}"})
	begin := func() string {
		t.Helper()
		if err := w.Test(t.Context()); err != nil {
			t.Fatal(err)
		}
		method, code, ok := strings.Cut(out.last(), " /down?msg=")
		if !ok || method != http.MethodGet {
			t.Fatalf("the test called %q", out.last())
		}
		return code
	}
	code := begin()
	for range testTries {
		if err := w.Confirm(t.Context(), "Lan", "WRONG"); !errors.Is(err, ErrWrongCode) {
			t.Fatal(err)
		}
	}
	if err := w.Confirm(t.Context(), "Lan", code); !errors.Is(err, ErrNoTest) {
		t.Errorf("after %d wrong codes: %v", testTries, err)
	}
	code = begin()
	w.now = w.now.Add(testFor + time.Second)
	if err := w.Confirm(t.Context(), "Lan", code); !errors.Is(err, ErrNoTest) {
		t.Errorf("a day later: %v", err)
	}
	out.do = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }
	if err := w.Test(t.Context()); err == nil || !strings.Contains(err.Error(), "answered 404") {
		t.Errorf("a test that does not arrive: %v", err)
	}
	w.state(t, WatcherUnconfirmed)
	if err := newWatching(t, filepath.Join(t.TempDir(), "w"), nil).Test(t.Context()); !errors.Is(err, ErrNoWatcher) {
		t.Errorf("a test of nobody: %v", err)
	}
}

func TestWatcherIsToldWhileTheCollectorSees(t *testing.T) {
	out := newOutside(t)
	led := 0
	private := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { led++ }))
	t.Cleanup(private.Close)
	w := newWatching(t, filepath.Join(t.TempDir(), "watcher.json"), &WatcherConfig{URL: out.URL + "/k3y", Method: http.MethodPost})
	for _, tc := range []struct {
		name   string
		blind  string
		do     http.HandlerFunc
		result string
		err    string
	}{
		{"it sees", "", nil, ResultOK, ""},
		{"it is blind", "nothing can be archived", nil, ResultBlind, ""},
		{"an error of the server", "", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, ResultError, "answered 500"},
		{"led to another address", "", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, private.URL, http.StatusFound) }, ResultError, "redirects are not followed"},
		{"an answer without end", "", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, ResultOK, ""},
		{"cut off", "", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ResultError, "EOF"},
	} {
		out.mu.Lock()
		out.do, out.calls = tc.do, nil
		out.mu.Unlock()
		before := w.Status()
		w.blind, w.now = tc.blind, w.now.Add(time.Minute)
		w.beat(t.Context())
		s := w.Status()
		if s.Counts[tc.result] != before.Counts[tc.result]+1 || !strings.Contains(s.Error, tc.err) || tc.err == "" && s.Error != "" || s.Blind != tc.blind {
			t.Errorf("%s: %+v", tc.name, s)
		}
		if strings.Contains(s.Error, "k3y") {
			t.Errorf("%s: the address is shown: %s", tc.name, s.Error)
		}
		called := out.last() != ""
		if called != (tc.blind == "") || called && out.last() != "POST /k3y ok" {
			t.Errorf("%s: called %q", tc.name, out.last())
		}
		if moved := s.Last.After(before.Last); moved != (tc.result == ResultOK) {
			t.Errorf("%s: the last success is %v, and was %v", tc.name, s.Last, before.Last)
		}
	}
	if led != 0 {
		t.Error("a redirect was followed")
	}
}

// TestWatcherHangs: a place that takes the connection and says nothing holds a call for the client's time, and no longer.
func TestWatcherHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, filepath.Join(t.TempDir(), "watcher.json"), &WatcherConfig{URL: "http://watcher.test/"})
		w.client.Transport = hanging{}
		begin := time.Now()
		w.beat(t.Context())
		if s := w.Status(); s.Counts[ResultError] != 1 || time.Since(begin) > webhookTimeout {
			t.Errorf("after %v: %+v", time.Since(begin), s)
		}
	})
}

type hanging struct{}

func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestWatcherRuns(t *testing.T) {
	out := newOutside(t)
	w := newWatching(t, filepath.Join(t.TempDir(), "watcher.json"), &WatcherConfig{URL: out.URL + "/x", StartURL: out.URL + "/x/start"})
	ctx, cancel := context.WithCancel(t.Context())
	out.do = func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/x" {
			cancel()
		}
	}
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	if len(out.calls) != 2 || out.calls[0] != "GET /x/start" || out.calls[1] != "GET /x" {
		t.Errorf("called %q", out.calls)
	}
}

func TestWatcherConfig(t *testing.T) {
	for _, tc := range []struct {
		c    WatcherConfig
		want string // of the error
	}{
		{WatcherConfig{URL: "https://w.test/x"}, ""},
		{WatcherConfig{}, "url is no URL"},
		{WatcherConfig{URL: "ftp://w.test"}, "url is no URL"},
		{WatcherConfig{URL: "https://w.test", StartURL: "x"}, "start_url is no URL"},
		{WatcherConfig{URL: "https://w.test", TestURL: "x/${code}"}, "test_url is no URL"},
		{WatcherConfig{URL: "https://w.test", Method: "PUT"}, "neither GET nor POST"},
		{WatcherConfig{URL: "https://w.test", Every: time.Second}, "want 10s to 1h"},
	} {
		err := tc.c.check()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%+v: %v, want %q", tc.c, err, tc.want)
		}
	}
	c := WatcherConfig{URL: "https://w.test/ping/k/?a=1"}
	if err := c.check(); err != nil || c.TestURL != "https://w.test/ping/k/fail?a=1" {
		t.Errorf("a test calls %q, %v", c.TestURL, err)
	}
}
