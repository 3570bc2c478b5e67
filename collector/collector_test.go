package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"egovmon/agent/check/kinds"
	"egovmon/agent/daemon"
	"egovmon/agent/push"
	"egovmon/collector/history/index"
	"egovmon/collector/profile"
	"egovmon/exporter"
)

// A running collector, started like a person would start it.
type centre struct {
	t     *testing.T
	dir   string
	link  string
	agent string // URL for agents
	stop  func() string
	http  *http.Client // with a session
	token string
}

// start runs the program with the sample profile on free ports of loopback.
func start(t *testing.T, dir string, args ...string) *centre {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var stderr syncBuffer
	done := make(chan int, 1)
	go func() {
		code := run(ctx, append([]string{"--data", dir, "--listen", "127.0.0.1:0", "--agents", "127.0.0.1:0", "-v"}, args...), in, &stderr)
		_ = in.Close()
		done <- code
	}()
	c := &centre{t: t, dir: dir}
	c.stop = sync.OnceValue(func() string {
		cancel()
		if code := <-done; code != exitDone {
			t.Errorf("the collector exits %d:\n%s", code, stderr.String())
		}
		return stderr.String()
	})
	t.Cleanup(func() { c.stop() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := regexp.MustCompile(`http://\S+/l/\S+`).FindString(lines.Text()); m != "" {
			c.link = m
		}
		if m := regexp.MustCompile(`https://127\S+`).FindString(lines.Text()); m != "" {
			c.agent = m
		}
		if strings.Contains(lines.Text(), "Ctrl-C. ") || strings.HasPrefix(lines.Text(), "The link works once") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if c.link == "" || c.agent == "" {
		t.Fatalf("no link or address was printed:\n%s", stderr.String())
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.http = &http.Client{Jar: jar}
	b, err := os.ReadFile(filepath.Join(dir, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	c.token = strings.TrimSpace(string(b))
	return c
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *syncBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func (c *centre) base() string {
	u, err := url.Parse(c.link)
	if err != nil {
		c.t.Fatal(err)
	}
	return "http://" + u.Host
}

// get fetches a page with the session, or with the token when it has none.
func (c *centre) get(path string, token bool) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	h := c.http
	if token {
		req.Header.Set("Authorization", "Bearer "+c.token)
		h = http.DefaultClient
	}
	resp, err := h.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// query asks PromQL and returns the values by the labels machine and check.
func (c *centre) query(expr string) map[string]string {
	c.t.Helper()
	_, body := c.get(c.base()+"/api/v1/query?query="+url.QueryEscape(expr), true)
	var a struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		c.t.Fatalf("%s: %v", body, err)
	}
	out := map[string]string{}
	for _, r := range a.Data.Result {
		out[r.Metric["machine"]+" "+r.Metric["check"]], _ = r.Value[1].(string)
	}
	return out
}

// eventually waits until ok, asking again every 50 ms, for at most five minutes: a machine under load is no fault.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(5 * time.Minute)
	for !ok() {
		select {
		case <-late:
			t.Fatalf("%s: not within five minutes", what)
		case <-t.Context().Done():
			t.Fatal(what)
		case <-tick.C:
		}
	}
}

// TestTheWholeWay is the issue in one test: the program starts with nothing, and this machine's results are on the board
// and in PromQL; it stops and goes on where it was; and the evidence alone gives the same history.
func TestTheWholeWay(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	c := start(t, dir)
	checks := []string{"may-chu-huyen pc.host", "may-chu-huyen lan.gateway", "may-chu-huyen thu_thap.tcp"}
	eventually(t, "every check of this machine in PromQL", func() bool {
		got := c.query("egovmon_check_last_run_timestamp_seconds")
		for _, id := range checks {
			if got[id] == "" {
				return false
			}
		}
		return true
	})
	if got := c.query("egovmon_check_success")["may-chu-huyen thu_thap.tcp"]; got != "1" {
		t.Errorf("the collector's own port: success %q, want 1", got)
	}
	// The link opens the board, once.
	if code, _ := c.get(c.base()+"/api/board", false); code != http.StatusUnauthorized {
		t.Errorf("the board without a session answers %d", code)
	}
	if code, body := c.get(c.link, false); code != http.StatusOK || !strings.Contains(body, "Máy chủ thu thập") {
		t.Fatalf("the board answers %d:\n%.400s", code, body)
	}
	var board struct {
		Cells []struct {
			Service, Unit, State, Reason string
		}
	}
	eventually(t, "this machine on the board", func() bool {
		_, body := c.get(c.base()+"/api/board", false)
		if err := json.Unmarshal([]byte(body), &board); err != nil {
			t.Fatal(err)
		}
		for _, cell := range board.Cells {
			if cell.Service == "thu_thap" && cell.Unit == "huyen-tu-ky" {
				return cell.State == "up"
			}
		}
		return false
	})
	if code, body := c.get(c.base()+"/check/may-chu-huyen/thu_thap.tcp", false); code != http.StatusOK || !strings.Contains(body, "thu_thap.tcp") {
		t.Errorf("the page of one check answers %d", code)
	}
	if got := c.query(`sum(egovmon_service_state{service="thu_thap",unit=""})`)[" "]; got != "1" {
		t.Errorf("the collector does not keep its own states in PromQL: %q", got)
	}
	var listed, complaints bytes.Buffer
	if code := run(t.Context(), []string{"fleet", "--data", dir}, &listed, &complaints); code != exitDone ||
		!strings.Contains(listed.String(), "may-chu-huyen") || strings.Contains(listed.String(), "<fleet.") {
		t.Errorf("fleet exits %d: %s%s", code, listed.String(), complaints.String())
	}
	if code, body := c.get(c.base()+"/api/sd", true); code != http.StatusOK || !strings.Contains(body, `"__param_module":"tcp"`) {
		t.Errorf("/api/sd answers %d: %.200s", code, body)
	}
	if code, body := c.get(c.base()+"/metrics", true); code != http.StatusOK || !strings.Contains(body, "egovmon_build_info") {
		t.Errorf("/metrics answers %d: %.200s", code, body)
	}
	c.stop()

	// Again, with the same state: nothing is lost, and the same machine goes on.
	before := dump(t, dir)
	again := start(t, dir)
	eventually(t, "results after the restart", func() bool {
		return again.query("egovmon_check_success")["may-chu-huyen thu_thap.tcp"] == "1"
	})
	log := again.stop()
	if strings.Contains(log, "machine enrolled") {
		t.Error("the machine was enrolled a second time")
	}
	after := dump(t, dir)
	if len(before) == 0 || strings.Count(after, "\n") < strings.Count(before, "\n") {
		t.Errorf("the history shrank over a restart:\n%s\n---\n%s", before, after)
	}

	// The evidence alone gives the same history.
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"rebuild", "--data", dir}, &out, &errs); code != exitDone {
		t.Fatalf("rebuild exits %d: %s", code, errs.String())
	}
	if got := dump(t, dir); got != after {
		t.Errorf("rebuilt history differs:\n%s\n--- live\n%s", got, after)
	}
	out.Reset()
	if code := run(t.Context(), []string{"availability", "--data", dir, "--from", "2020-01-01", "--to", "2099-12-31", "--service", "thu_thap", "--unit", "huyen-tu-ky", "--json"}, &out, &errs); code != exitDone {
		t.Fatalf("availability exits %d: %s", code, errs.String())
	}
	var a figuresAnswer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	if len(a.Rows) != 1 || a.Rows[0].Calendars[0].Account.Up == 0 || a.Rows[0].Calendars[0].Account.Down != 0 {
		t.Errorf("figures %+v, want seconds up and none down", a.Rows)
	}
}

// dump is every run of the history, as text.
func dump(t *testing.T, dir string) string {
	t.Helper()
	x, err := index.Open(filepath.Join(dir, indexFile))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var b strings.Builder
	if err := x.Dump(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSecondMachine enrols a commune's machine with a token from the command line and runs its agent.
func TestSecondMachine(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	c := start(t, dir)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"token", "--data", dir, "--unit", "xa-tu-ky", "--machine", "pc-thu-01", "--json"}, &out, &errs); code != exitDone {
		t.Fatalf("token exits %d: %s", code, errs.String())
	}
	var a tokenAnswer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	id, err := push.Enrol(t.Context(), c.agent, a.Token, push.EnrolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if id.Machine != "pc-thu-01" || id.Unit != "xa-tu-ky" {
		t.Errorf("enrolled as %s of %s", id.Machine, id.Unit)
	}
	d, err := daemon.Open(daemon.Options{Dir: filepath.Join(t.TempDir(), "agent"), Identity: id, Kinds: kinds.Table(),
		Config: daemon.Config{Listen: "-"}, Build: exporter.ThisBuild(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	eventually(t, "the new machine's results in PromQL", func() bool {
		return c.query("egovmon_check_success")["pc-thu-01 pc.host"] != ""
	})
	eventually(t, "the commune's counter on the board", func() bool {
		_, body := c.get(c.base()+"/api/board", true)
		var v struct {
			Counters []struct {
				Unit, State string
				Unknown     []string
			}
		}
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		for _, k := range v.Counters {
			if k.Unit == "xa-tu-ky" && k.State == "ready" {
				t.Error("a counter of which much is unknown is called ready")
			}
			if k.Unit == "xa-tu-ky" && k.State != "" {
				return true
			}
		}
		return false
	})
	out.Reset()
	if code := run(t.Context(), []string{"revoke", "--data", dir, "--machine", "pc-thu-01", "--why", "máy bị mất"}, &out, &errs); code != exitDone {
		t.Errorf("revoke exits %d: %s", code, errs.String())
	}
	if got := push.ProblemOf(push.Probe(t.Context(), id, nil)); got != push.Revoked {
		t.Errorf("after it was revoked: %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	out.Reset()
	if code := run(t.Context(), []string{"token", "--data", dir, "--unit", "xa-khong-co"}, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "xa-khong-co") {
		t.Errorf("a token for an unknown unit: exit %d, %s", code, errs.String())
	}
}

func TestCommandLine(t *testing.T) {
	bad := t.TempDir()
	if err := os.WriteFile(filepath.Join(bad, configFile), []byte("listne: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		out  []string
		errs []string
	}{
		{"help", []string{"--help"}, exitDone, []string{"collector token --unit ID", "Exit codes"}, nil},
		{"version", []string{"version"}, exitDone, []string{"egovmon dev"}, nil},
		{"a wrong word", []string{"fly"}, exitUsage, nil, []string{`no command "fly"`}},
		{"a wrong flag", []string{"--fly"}, exitUsage, nil, []string{"fly"}},
		{"a wrong configuration", []string{"--data", bad}, exitUsage, nil, []string{configFile, "listne"}},
		{"no profile there", []string{"--data", t.TempDir(), "--profile", filepath.Join(bad, "none")}, exitUsage, nil, []string{"cannot be used", "units.yaml"}},
		{"the sample profile", []string{"profile", "check", "../deploy/profiles/tu-ky-2023"}, exitDone, []string{"0 errors"}, nil},
		{"an empty profile", []string{"profile", "check", bad}, exitFailed, []string{"units.yaml"}, nil},
		{"profile of nothing", []string{"profile", "check", filepath.Join(bad, "none")}, exitUsage, nil, []string{"is no folder"}},
		{"profile without a folder", []string{"profile", "check"}, exitUsage, nil, []string{"collector profile check DIR"}},
		{"the plan of this machine", []string{"plan", "--data", t.TempDir(), "--machine", "may-chu-huyen"}, exitDone, []string{"for: may-chu-huyen", "thu_thap.tcp", "# + pc.host", "not_configured"}, nil},
		{"the plan of nobody", []string{"plan", "--data", t.TempDir(), "--machine", "pc-x"}, exitUsage, nil, []string{"pc-x"}},
		{"options behind words", []string{"profile", "check", "../deploy/profiles/tu-ky-2023", "-errors"}, exitDone, []string{"0 errors"}, nil},
		{"help behind words", []string{"profile", "check", "--help"}, exitDone, nil, []string{"collector profile check DIR"}},
		{"no machine", []string{"plan"}, exitUsage, nil, []string{"--machine NAME is missing"}},
		{"no unit", []string{"token", "--data", bad}, exitUsage, nil, []string{"--unit ID is missing"}},
		{"revoke nobody", []string{"revoke", "--why", "x"}, exitUsage, nil, []string{"--machine NAME is missing"}},
		{"revoke for no reason", []string{"revoke", "--machine", "pc-x"}, exitUsage, nil, []string{"--why TEXT is missing"}},
		{"revoke on two lines", []string{"revoke", "--machine", "pc-x", "--why", "a\nb"}, exitUsage, nil, []string{"on one line"}},
		{"no time", []string{"availability"}, exitUsage, nil, []string{"--from D --to D, or --period P"}},
		{"a wrong day", []string{"availability", "--from", "yesterday", "--to", "2026-11-23"}, exitUsage, nil, []string{"yesterday"}},
		{"a wrong period", []string{"availability", "--period", "2026-Q5"}, exitUsage, nil, []string{"2026-Q5"}},
		{"rebuild of nothing", []string{"rebuild", "--data", t.TempDir()}, exitFailed, nil, []string{"no evidence"}},
		{"a link of nobody", []string{"link", "--data", t.TempDir()}, exitFailed, nil, []string{"no collector is running"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), tt.args, &out, &errs); code != tt.code {
				t.Errorf("exit %d, want %d\n%s%s", code, tt.code, out.String(), errs.String())
			}
			for _, w := range tt.out {
				if !strings.Contains(out.String(), w) {
					t.Errorf("the output does not say %q:\n%s", w, out.String())
				}
			}
			for _, w := range tt.errs {
				if !strings.Contains(errs.String(), w) {
					t.Errorf("the error does not say %q:\n%s", w, errs.String())
				}
			}
		})
	}
}

func TestRebuildRefusesBesideARunningCollector(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	start(t, dir)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"rebuild", "--data", dir}, &out, &errs); code != exitFailed || errs.Len() == 0 {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	if code := run(t.Context(), []string{"--data", dir, "--listen", "127.0.0.1:0", "--agents", "127.0.0.1:0"}, &out, &errs); code != exitFailed {
		t.Errorf("a second collector on the same state exits %d", code)
	}
}

// TestWebConfig puts TLS and a password before the board: users get in with theirs, subcommands with the local token.
func TestWebConfig(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("mật khẩu"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"web.yml":  "basic_auth_users: {vhtt: '" + string(hash) + "'}\n",
		configFile: "web_config: web.yml\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := start(t, dir)
	base := strings.Replace(c.base(), "https://", "http://", 1)
	ask := func(set func(r *http.Request)) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/api/board", nil)
		if err != nil {
			t.Fatal(err)
		}
		set(req)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, tt := range []struct {
		name string
		set  func(r *http.Request)
		want int
	}{
		{"nobody", func(*http.Request) {}, http.StatusUnauthorized},
		{"a wrong password", func(r *http.Request) { r.SetBasicAuth("vhtt", "sai") }, http.StatusUnauthorized},
		{"the right one", func(r *http.Request) { r.SetBasicAuth("vhtt", "mật khẩu") }, http.StatusOK},
		{"the local token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+c.token) }, http.StatusOK},
		{"a wrong token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+c.token+"x") }, http.StatusUnauthorized},
		{"a foreign host", func(r *http.Request) { r.SetBasicAuth("vhtt", "mật khẩu"); r.Host = "evil.test" }, http.StatusMisdirectedRequest},
	} {
		if got := ask(tt.set); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// What was said to the running collector by a flag holds for the commands that work on its state afterwards, too.
func TestOfflineCommandsTakeTheProfileOfTheLastRun(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own")
	if err := os.CopyFS(own, os.DirFS("../deploy/profiles/tu-ky-2023")); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(own, "services.yaml")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("kind: host, every: 30s"), []byte("kind: host, every: 45s"), 1)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "state")
	c := start(t, dir, "--profile", own)
	do := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append(args, "--data", dir), &out, &errs); code != exitDone {
			t.Fatalf("%v exits %d: %s", args, code, errs.String())
		}
		return out.String() + errs.String()
	}
	if got := do("plan", "--machine", "may-chu-huyen"); !strings.Contains(got, "every: 45s") || !strings.Contains(got, strings.TrimPrefix(c.agent, "https://")) {
		t.Errorf("beside the running collector the plan is\n%s", got)
	}
	if got := do("token", "--unit", "xa-tu-ky"); !strings.Contains(got, c.agent+" ") || !strings.Contains(got, "Only this machine itself") {
		t.Errorf("a token says\n%s", got)
	}
	c.stop()
	leaves := func() int64 {
		var a figuresAnswer
		if err := json.Unmarshal([]byte(do("availability", "--from", "2020-01-01", "--to", "2020-01-02", "--json")), &a); err != nil {
			t.Fatal(err)
		}
		return a.Leaves
	}
	before := leaves()
	if got := do("plan", "--machine", "may-chu-huyen"); !strings.Contains(got, "every: 45s") {
		t.Errorf("without a running collector the plan is\n%s", got)
	}
	if after := leaves(); after != before {
		t.Errorf("commands that only read added %d leaves to the log", after-before)
	}
	if err := os.RemoveAll(own); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"availability", "--data", dir, "--from", "2020-01-01", "--to", "2020-01-02"}, &out, &errs); code == exitDone || !strings.Contains(errs.String(), own) {
		t.Errorf("with the profile gone the command exits %d and says %s", code, errs.String())
	}
}

func TestStateIsForItsOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has access lists instead of modes")
	}
	dir := filepath.Join(t.TempDir(), "state")
	start(t, dir).stop()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		files++
		return nil
	})
	if err != nil || files < 10 {
		t.Errorf("%d files, %v", files, err)
	}
}

// The index of history may lie behind the log after a kill; figures must not.
func TestFiguresWithoutAnIndexAreThoseOfTheLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	c := start(t, dir)
	eventually(t, "this machine's results in PromQL", func() bool {
		return c.query("egovmon_check_success")["may-chu-huyen thu_thap.tcp"] != ""
	})
	c.stop()
	if err := index.Remove(filepath.Join(dir, indexFile)); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"availability", "--data", dir, "--from", "2020-01-01", "--to", "2099-12-31",
		"--service", "thu_thap", "--unit", "huyen-tu-ky", "--json"}, &out, &errs); code != exitDone {
		t.Fatalf("availability exits %d: %s", code, errs.String())
	}
	var a figuresAnswer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	if len(a.Rows) != 1 || a.Rows[0].Calendars[0].Account.Up == 0 {
		t.Errorf("nothing was up: %s", out.String())
	}
}

// TestTheTokenStaysHome: another program has taken the port that a killed collector had.
func TestTheTokenStaysHome(t *testing.T) {
	dir := t.TempDir()
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a stranger was sent the local token")
		}
		_, _ = io.WriteString(w, `{"link":"http://127.0.0.1/"}`)
	}))
	defer thief.Close()
	for name, text := range map[string]string{runFile: `{"board":"` + thief.URL + `"}`, tokenFile: "secret\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"link", "--data", dir}, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "another program answers") {
		t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
	}
}

// proveOnTheBoard hands an export to the page of proofs, whole and cut off.
func proveOnTheBoard(t *testing.T, c *centre) {
	t.Helper()
	if code, page := c.get(c.link, false); code != 200 {
		t.Fatalf("the link: status %d, %.200s", code, page)
	}
	now := time.Now()
	_, export := c.get(fmt.Sprintf("%s%s?from=%d&to=%d", c.base(), pathAudit, now.Add(-time.Hour).Unix(), now.Add(time.Hour).Unix()), true)
	for _, tt := range []struct {
		text string
		code int
		want string
	}{{export, 200, "Bản xuất đạt"}, {export[:len(export)/2], 422, "Không đọc được bản xuất"}} {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		f, err := m.CreateFormFile("export", "a.zip")
		_, err2 := io.WriteString(f, tt.text)
		if err := errors.Join(err, err2, m.Close()); err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base()+"/audit", &b)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", m.FormDataContentType())
		req.Header.Set("Origin", c.base())
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tt.code || !strings.Contains(string(page), tt.want) {
			t.Errorf("an export on the board: status %d, want %d and %q:\n%.600s", resp.StatusCode, tt.code, tt.want, page)
		}
	}
}

// inviteOnTheBoard makes a token on the page of machines, and finds in the log who did.
func inviteOnTheBoard(t *testing.T, c *centre) {
	t.Helper()
	post := func(fields url.Values) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base()+"/fleet", strings.NewReader(fields.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", c.base())
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(page)
	}
	if code, page := c.get(c.base()+"/fleet", false); code != 200 || !strings.Contains(page, "may-chu-huyen") {
		t.Errorf("the page of machines: status %d, %.300s", code, page)
	}
	if code, page := post(url.Values{"do": {"invite"}, "unit": {"huyen-tu-ky"}, "machine": {"pc-moi"}}); code != 200 || !strings.Contains(page, "agent enrol --collector") {
		t.Errorf("a token: status %d, %.300s", code, page)
	}
	if code, _ := post(url.Values{"do": {"revoke"}, "machine": {"pc-moi"}, "why": {"mất"}}); code != 422 {
		t.Errorf("a machine without an identity is revoked: status %d", code)
	}
	_, checkpoint := c.get(c.base()+"/log/checkpoint", true)
	size, err := strconv.Atoi(strings.Split(checkpoint, "\n")[1])
	if err != nil {
		t.Fatal(err)
	}
	said := false
	for n := range size/256 + 1 { // a bundle that is not full has its width in its name
		name := fmt.Sprintf("/log/tile/entries/%03d", n)
		if n == size/256 {
			name += fmt.Sprintf(".p/%d", size%256)
		}
		_, bundle := c.get(c.base()+name, true)
		said = said || strings.Contains(bundle, "pc-moi") && strings.Contains(bundle, "acknowledgement")
	}
	if !said {
		t.Error("the log does not say that a token was made")
	}
}

// TestReportAndAudit takes a report and an export from a running collector and proves the one with the other.
func TestReportAndAudit(t *testing.T) {
	t.Parallel()
	dir, out := filepath.Join(t.TempDir(), "state"), t.TempDir()
	c := start(t, dir)
	eventually(t, "results", func() bool { return c.query("egovmon_check_success")["may-chu-huyen thu_thap.tcp"] == "1" })
	period := profile.DateOf(time.Now()).String()[:7] // this month, by the calendar
	do := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, &stdout, &stderr); code != want {
			t.Fatalf("collector %s exits %d: %s%s", strings.Join(args, " "), code, stdout.String(), stderr.String())
		}
		return stdout.String() + stderr.String()
	}
	for _, format := range []string{"docx", "xlsx", "json"} {
		name := filepath.Join(out, "report."+format)
		do(exitDone, "report", "--data", dir, "--period", period, "--calendar-period", "--format", format, "--out", name)
		if st, err := os.Stat(name); err != nil || st.Size() < 1000 {
			t.Errorf("%s: %v, %v", format, st, err)
		}
	}
	proveOnTheBoard(t, c)
	inviteOnTheBoard(t, c)
	zip := filepath.Join(out, "audit.zip")
	// Those of a part, made while agents send.
	parts := map[string]string{"--unit": "huyen-tu-ky", "--service": "thu_thap"}
	for flag, id := range parts {
		do(exitDone, "report", "--data", dir, "--period", period, "--calendar-period", "--format", "json", flag, id, "--out", filepath.Join(out, id+".json"))
	}
	c.stop()
	do(exitDone, "report", "--data", dir, "--period", period, "--calendar-period", "--format", "json", "--out", filepath.Join(out, "report.json"))
	do(exitDone, "audit", "export", "--data", dir, "--period", period, "--calendar-period", "--out", zip)
	said := do(exitDone, "audit", "verify", zip, "--figures", filepath.Join(out, "report.json"))
	if !strings.Contains(said, "may-chu-huyen") || !strings.Contains(said, "Số liệu tính lại từ nhật ký") {
		t.Errorf("the verdict does not name the machine:\n%s", said)
	}
	for _, id := range parts {
		do(exitDone, "audit", "verify", zip, "--figures", filepath.Join(out, id+".json"))
	}
	if said := do(exitDone, "retention", "--data", dir, "--remove", "--lang", "en"); !strings.Contains(said, "Due: 0 bodies") || strings.Contains(said, "tombstone is leaf") {
		t.Errorf("of a new log something is due:\n%s", said)
	}
	do(exitFailed, "retention", "--data", dir, "--erase", "1", "--why", "w") // no paper
	// One byte of the export.
	b, err := os.ReadFile(zip)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(zip, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(t.Context(), []string{"audit", "verify", zip}, io.Discard, io.Discard); code == exitDone {
		t.Error("a changed export verifies")
	}
}
