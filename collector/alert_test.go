package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"egovmon/collector/incident"
)

// TestAnIncidentReachesTheOffice stops a service, sees the office told once by webhook, acknowledges, starts the service
// and sees one all-clear.
func TestAnIncidentReachesTheOffice(t *testing.T) {
	t.Parallel()
	office := newOffice(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	prof := withService(t, trial(addr))
	edit(t, filepath.Join(prof, "offices.yaml"), "    contacts: []", fmt.Sprintf(
		"    contacts:\n      - {kind: webhook, value: %q, valid_from: 2023-01-01, valid_to: , source: test, verified: true}", office.url))
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte("alert: {webhook: {}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, dir, "--profile", prof)
	const id = "may-chu-huyen thu.tcp"
	eventually(t, "the service is up", func() bool { return c.query("egovmon_check_success")[id] == "1" })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the office is told", func() bool { return office.count("opened thu connect_refused") > 0 })
	acknowledge(t, c)
	work(t, c, dir)
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	eventually(t, "the all-clear", func() bool { return office.count("closed thu") > 0 })
	if office.count("opened") != 1 || office.count("closed") != 1 {
		t.Errorf("%d messages of the opening and %d all-clears, want one of each", office.count("opened"), office.count("closed"))
	}
}

// An office takes calls of the webhook.
type office struct {
	url  string
	mu   sync.Mutex
	told []string // events, in the order in which they came
}

func newOffice(t *testing.T) *office {
	o := &office{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		var call struct {
			Items []struct{ Event, Service, Reason string } `json:"items"`
		}
		if err := json.Unmarshal(b, &call); err != nil {
			t.Errorf("%v in %.200s", err, b)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, i := range call.Items {
			o.told = append(o.told, i.Event+" "+i.Service+" "+i.Reason)
		}
	}))
	t.Cleanup(s.Close)
	o.url = s.URL
	return o
}

// count says how many events that begin like this it was told of.
func (o *office) count(prefix string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.told {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// acknowledge presses the board's button for the one open incident.
func acknowledge(t *testing.T, c *centre) {
	t.Helper()
	if code, _ := c.get(c.link, false); code != http.StatusOK {
		t.Fatalf("the link answers %d", code)
	}
	var board struct {
		Incidents []struct {
			ID  string
			Ack struct{ User, Note string }
		}
	}
	read := func() {
		_, body := c.get(c.base()+"/api/board", false)
		if err := json.Unmarshal([]byte(body), &board); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the incident is on the board", func() bool { read(); return len(board.Incidents) == 1 })
	resp, err := c.http.PostForm(c.base()+"/incident/"+board.Incidents[0].ID+"/ack", url.Values{"note": {"đang xử lý"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if read(); resp.StatusCode != http.StatusOK || board.Incidents[0].Ack.User != "operator@local" || board.Incidents[0].Ack.Note != "đang xử lý" {
		t.Errorf("acknowledging answers %d, and the board says %+v", resp.StatusCode, board.Incidents[0].Ack)
	}
}

// work does what people do to the one open incident, through the API; a program with the local token may only read.
func work(t *testing.T, c *centre, dir string) {
	t.Helper()
	list := func() (a lifeAnswer) {
		_, body := c.get(c.base()+pathIncidents, false)
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatalf("%v in %.200s", err, body)
		}
		return a
	}
	id := list().Incidents[0].ID
	post := func(id, body string, bearer bool) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base()+pathIncidents+"/"+id, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		client := c.http
		if bearer {
			req.Header.Set("Authorization", "Bearer "+c.token)
			client = http.DefaultClient
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, tt := range []struct {
		name, id, body string
		bearer         bool
		want           int
	}{
		{"a program", id, `{"what":"commented","note":"x"}`, true, http.StatusForbidden},
		{"another incident", "nothing", `{"what":"commented","note":"x"}`, false, http.StatusNotFound},
		{"no class", id, `{"what":"classified","class":"bad"}`, false, http.StatusBadRequest},
		{"an unknown key", id, `{"what":"commented","not":"x"}`, false, http.StatusBadRequest},
		{"too much", id, `{"what":"commented","note":"` + strings.Repeat("x", maxAct) + `"}`, false, http.StatusBadRequest},
		{"too early", id, `{"what":"concluded","note":"c","measure":"m"}`, false, http.StatusBadRequest},
		{"to whom", id, `{"what":"assigned","to":"an@tuky"}`, false, http.StatusOK},
		{"what it is", id, `{"what":"classified","class":"serious"}`, false, http.StatusOK},
	} {
		if got := post(tt.id, tt.body, tt.bearer); got != tt.want {
			t.Errorf("%s answers %d, want %d", tt.name, got, tt.want)
		}
	}
	if i := list().Incidents[0]; i.Assignee != "an@tuky" || i.Class != incident.Serious || len(i.Entries) != 2 || i.Entries[0].User != "operator@local" {
		t.Errorf("the incident is %+v", i)
	}
	if code, text := c.get(c.base()+pathIncidents+"/"+id+"/form?what=first", false); code != http.StatusOK || !strings.Contains(text, "BÁO CÁO BAN ĐẦU") {
		t.Errorf("the form answers %d: %.200s", code, text)
	}
	if code, _ := c.get(c.base()+pathIncidents+"/"+id+"/form?what=closing", false); code != http.StatusConflict {
		t.Errorf("the closing form of an open incident answers %d", code)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"incidents", "--data", dir}, &out, &errs); code != exitDone || !strings.Contains(out.String(), id) {
		t.Errorf("collector incidents: %d\n%.300s%.300s", code, out.String(), errs.String())
	}
}

// edit replaces a text in a file.
func edit(t *testing.T, name, from, to string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), from) {
		t.Fatalf("%s does not hold %q", name, from)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(b), from, to)), 0o600); err != nil {
		t.Fatal(err)
	}
}
