package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/alert"
)

func TestBlindness(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name             string
		received, judged time.Duration // ago
		overtaken, full  bool
		blind            bool
	}{
		{"it sees", time.Minute, 2 * time.Second, false, false, false},
		{"the disk is full", time.Minute, 2 * time.Second, false, true, true},
		{"the log was set back", time.Minute, 2 * time.Second, true, false, true},
		{"nothing comes in", blindAfter + time.Second, 2 * time.Second, false, false, true},
		{"nothing is judged", time.Minute, judgedFor + time.Second, false, false, true},
	} {
		if why := blindness(now, now.Add(-tc.received), now.Add(-tc.judged), tc.overtaken, tc.full); (why != "") != tc.blind {
			t.Errorf("%s: %q", tc.name, why)
		}
	}
}

func TestWatcherNotices(t *testing.T) {
	for _, tc := range []struct {
		s    alert.WatcherStatus
		want string // in the notice; "" for none
	}{
		{alert.WatcherStatus{State: alert.WatcherConfirmed}, ""},
		{alert.WatcherStatus{State: alert.WatcherConfirmed, Error: "answered 500"}, "Không gọi được"},
		{alert.WatcherStatus{State: alert.WatcherNone}, "Không có người canh"},
		{alert.WatcherStatus{State: alert.WatcherUnconfirmed}, "chưa ai xác nhận"},
		{alert.WatcherStatus{State: alert.WatcherTesting}, "Đang thử"},
		{alert.WatcherStatus{State: alert.WatcherStale}, "hơn một năm"},
	} {
		n := watcherNotices(tc.s)
		if tc.want == "" && len(n) != 0 || tc.want != "" && (len(n) != 1 || !strings.Contains(n[0].VI, tc.want) || n[0].EN == "" || n[0].EN == n[0].VI) {
			t.Errorf("%+v: %v", tc.s, n)
		}
		if line := watcherLine(words.VI, tc.s, time.Now()); line == "" || strings.Contains(line, "<") {
			t.Errorf("%+v is said as %q", tc.s, line)
		}
	}
}

// TestWatcherRights: a test may wake somebody, so that not everybody begins one; programs confirm nothing.
func TestWatcherRights(t *testing.T) {
	for name, tc := range map[string]struct {
		ctx   context.Context
		by    string
		tests bool
	}{
		"nobody":      {t.Context(), "", false},
		"a program":   {access.With(t.Context(), access.Who{Name: access.Program}), "", false},
		"an operator": {access.WithUser(t.Context(), "lan@web"), "lan@web", false},
	} {
		if by, tests := (outside{}).Rights(tc.ctx); by != tc.by || tests != tc.tests {
			t.Errorf("%s: %q, %v", name, by, tests)
		}
	}
}

// TestWatcherCommand walks a running collector from a watcher that nobody has tested to one that counts.
func TestWatcherCommand(t *testing.T) {
	body := make(chan string, 10)
	out := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/w/fail" {
			body <- string(b)
		}
	}))
	defer out.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte("alert:\n  watcher: {url: "+out.URL+"/w}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, dir)
	watcher := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"watcher", "--data", c.dir}, args...), &stdout, &stderr); code != want {
			t.Fatalf("watcher %v: exit %d: %.300s", args, code, stderr.String())
		}
		return stdout.String() + stderr.String()
	}
	watcher(exitUsage, "confirm", "AAAAAAAA")
	if said := watcher(exitFailed, "confirm", "AAAAAAAA", "--by", "Lan"); !strings.Contains(said, "no test is under way") {
		t.Errorf("a confirmation without a test: %s", said)
	}
	if said := watcher(exitDone, "status", "--lang", "en"); !strings.Contains(said, "never tested") {
		t.Errorf("the status: %s", said)
	}
	watcher(exitDone, "test")
	code := regexp.MustCompile(`Code: (\w+)`).FindStringSubmatch(<-body)
	if code == nil {
		t.Fatal("the test tells no code")
	}
	if said := watcher(exitDone, "confirm", code[1], "--by", "Nguyễn Thị Lan", "--lang", "en"); !strings.Contains(said, "confirmed by Nguyễn Thị Lan") {
		t.Errorf("confirmed: %s", said)
	}
	var s alert.WatcherStatus
	if err := json.Unmarshal([]byte(watcher(exitDone, "status", "--json")), &s); err != nil || s.State != alert.WatcherConfirmed {
		t.Errorf("%+v, %v", s, err)
	}
	if code, page := c.get(c.base()+"/watcher", true); code != 200 || !strings.Contains(page, "Nguyễn Thị Lan") || !strings.Contains(page, "Đã thử và có người xác nhận") {
		t.Errorf("the board, status %d, does not say so", code)
	}
	if _, text := c.get(c.base()+"/metrics", true); !strings.Contains(text, "egovmon_watcher_confirmed 1\n") || !strings.Contains(text, `egovmon_watcher_calls_total{result="ok"}`) {
		t.Error("the metrics do not say so")
	}
}
