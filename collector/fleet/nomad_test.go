package fleet

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	pathJob    = "/v1/job/egovmon-agent"
	pathAllocs = pathJob + "/allocations"
	pathNodes  = "/v1/nodes"
)

// A recording is one recorded answer.
type recording struct {
	status  int
	headers map[string]string
	body    []byte
}

func recorded(t *testing.T, file string) recording {
	t.Helper()
	index, err := os.ReadFile("testdata/nomad/responses.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(index)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if f[0] != file {
			continue
		}
		var r recording
		if r.status, err = strconv.Atoi(f[2]); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(f[3]), &r.headers); err != nil {
			t.Fatal(err)
		}
		if r.body, err = os.ReadFile(filepath.Join("testdata/nomad", file)); err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Fatalf("responses.tsv has no %s", file)
	return recording{}
}

func (r recording) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	for k, v := range r.headers {
		w.Header().Set(k, v)
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body)
}

// cluster serves recorded answers: of the job, of its allocations, of the nodes.
func cluster(t *testing.T, job, allocs, nodes string) *http.ServeMux {
	t.Helper()
	m := http.NewServeMux()
	m.Handle(pathJob, recorded(t, job))
	m.Handle(pathAllocs, recorded(t, allocs))
	m.Handle(pathNodes, recorded(t, nodes))
	return m
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

var readAt = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func newClient(t *testing.T, c Config) *Client {
	t.Helper()
	n, err := NewClient(c, func() time.Time { return readAt })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// said is what matters of a node, in one line.
func said(v Inventory) []string {
	var out []string
	for _, n := range v.Nodes {
		out = append(out, strings.TrimRight(fmt.Sprintf("%s %s/%s %s v%d %s", n.Name, n.Status, n.Alloc, n.deployed(), n.JobVersion, n.Why), " "))
	}
	return out
}

func TestRead(t *testing.T) {
	const jobFile, all = "job_egovmon-agent.json", "job_egovmon-agent_allocations"
	for _, tt := range []struct {
		name, allocs, nodes string
		want                []string
	}{
		{"both run", all + ".json", "nodes.json",
			[]string{"pc-quang-phuc-01 ready/running running v0", "pc-tan-ky-01 ready/running running v0"}},
		{"one is disconnected", all + "_one_unknown.json", "nodes_one_disconnected.json",
			[]string{"pc-quang-phuc-01 disconnected/unknown disconnected v0 alloc is unknown since its node is disconnected", "pc-tan-ky-01 ready/running running v0"}},
		{"it is back", all + "_after_reconnect.json", "nodes_after_reconnect.json",
			[]string{"pc-quang-phuc-01 ready/running running v0", "pc-tan-ky-01 ready/running running v0"}},
		{"one is down, its allocation lost", all + "_one_lost.json", "nodes_one_down.json",
			[]string{"pc-quang-phuc-01 down/ down v0", "pc-tan-ky-01 ready/running running v1"}},
		{"a new allocation stands beside the lost one", all + "_after_down.json", "nodes_after_reconnect.json",
			[]string{"pc-quang-phuc-01 ready/running running v1", "pc-tan-ky-01 ready/running running v1"}},
		{"setup failed after a reboot while the line was cut", all + "_failed_after_offline_reboot.json", "nodes.json",
			[]string{`pc-quang-phuc-01 ready/failed failed v2 failed to setup alloc: pre-run hook "group_services" failed: rpc error: failed to get conn: rpc error: lead thread didn't get connection`,
				"pc-tan-ky-01 ready/running running v2"}},
		{"a node without an allocation", all + ".json", "nodes_three.json",
			[]string{"pc-dai-son-01 ready/ missing v0", "pc-quang-phuc-01 ready/running running v0", "pc-tan-ky-01 ready/running running v0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newClient(t, Config{Addresses: []string{serve(t, cluster(t, jobFile, tt.allocs, tt.nodes))}})
			v, err := n.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, said(v)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if !v.Used || !v.Read.Equal(readAt) || v.Problem != "" {
				t.Errorf("inventory is %+v", v)
			}
		})
	}
}

// What cannot be believed is a problem, never an empty fleet.
func TestReadFails(t *testing.T) {
	const jobFile, allocs = "job_egovmon-agent.json", "job_egovmon-agent_allocations.json"
	text := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, body) })
	}
	good := map[string]string{"X-Nomad-Index": "9", "X-Nomad-Knownleader": "true", "X-Nomad-Lastcontact": "0"}
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range good {
			w.Header().Set(k, v)
		}
		_, _ = w.Write([]byte(`[{"Name":"`))
		chunk := bytes.Repeat([]byte{'x'}, 1<<20)
		for range 70 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	pages := func(w http.ResponseWriter, r *http.Request) {
		rec := recorded(t, "nodes_page1.json")
		rec.headers["X-Nomad-Nexttoken"] = "5fc0284d-30dd-49dd-f925-65cd8c19b4a3"
		rec.ServeHTTP(w, r)
	}
	silent := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	drip := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range good {
			w.Header().Set(k, v)
		}
		_, _ = w.Write([]byte("["))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	stale := recorded(t, "nodes.json")
	stale.headers["X-Nomad-Lastcontact"] = "61000"
	for _, tt := range []struct {
		name, path string
		answer     http.Handler
		want       Problem
	}{
		{"nodes: no permission", pathNodes, recorded(t, "acl_403_nodes.txt"), Forbidden},
		{"nodes: malformed token", pathNodes, recorded(t, "acl_403_nodes_malformed_token.txt"), Forbidden},
		{"job: no permission", pathJob, recorded(t, "acl_403_job.txt"), Forbidden},
		{"allocations: no permission", pathAllocs, recorded(t, "acl_403_job_allocations.txt"), Forbidden},
		{"nodes: no leader", pathNodes, recorded(t, "error_500_no_leader_nodes.txt"), NoLeader},
		{"nodes: 200 and an empty list without a leader", pathNodes, recorded(t, "nodes_stale_no_leader.json"), NoLeader},
		{"allocations: 200 and an empty list without a leader", pathAllocs, recorded(t, "nodes_stale_no_leader.json"), NoLeader},
		{"nodes: the leader was heard 61 s ago", pathNodes, stale, NoLeader},
		{"there is no such job", pathJob, recorded(t, "error_404_job.txt"), NoJob},
		{"429", pathNodes, text(http.StatusTooManyRequests, "slow down"), ServerError},
		{"502 of a proxy", pathNodes, text(http.StatusBadGateway, "<html>"), ServerError},
		{"a redirect is not followed", pathNodes, http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound), ServerError},
		{"200 without Nomad's headers", pathNodes, text(http.StatusOK, "[]"), NoLeader},
		{"a page of a captive portal", pathNodes, recording{200, good, []byte("<html>")}, Unreadable},
		{"half an answer", pathNodes, recording{200, good, []byte(`[{"Name":`)}, Unreadable},
		{"another shape", pathNodes, recording{200, good, []byte(`{"nodes":[]}`)}, Unreadable},
		{"pages without end", pathNodes, http.HandlerFunc(pages), Unreadable},
		{"too large", pathNodes, endless, Unreadable},
		{"silence", pathNodes, silent, Unreachable},
		{"an answer that stops", pathNodes, drip, Unreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{pathJob: jobFile, pathAllocs: allocs, pathNodes: "nodes.json"}
			m := http.NewServeMux()
			for p, f := range files {
				if p == tt.path {
					m.Handle(p, tt.answer)
				} else {
					m.Handle(p, recorded(t, f))
				}
			}
			c := Config{Addresses: []string{serve(t, m)}}
			if tt.want == Unreachable {
				c.Timeout = 300 * time.Millisecond
			}
			v, err := newClient(t, c).Read(t.Context())
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Problem != tt.want {
				t.Fatalf("got %v, want the problem %s", err, tt.want)
			}
			if v.Used || len(v.Nodes) > 0 || !v.Read.IsZero() {
				t.Errorf("beside the error stands %+v", v)
			}
		})
	}
}

func TestReadAsks(t *testing.T) {
	var asked []string
	base := cluster(t, "job_egovmon-agent.json", "job_egovmon-agent_allocations.json", "nodes.json")
	second := recorded(t, "nodes_after_reconnect.json")
	m := http.NewServeMux()
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+" "+r.URL.Query().Get("filter")+" "+r.URL.Query().Get("next_token")+" "+r.Header.Get("X-Nomad-Token"))
		switch {
		case r.URL.Path == pathNodes && r.URL.Query().Get("next_token") == "":
			recorded(t, "nodes_page1.json").ServeHTTP(w, r)
		case r.URL.Path == pathNodes:
			var nodes []json.RawMessage
			if err := json.Unmarshal(second.body, &nodes); err != nil {
				t.Error(err)
			}
			last, _ := json.Marshal(nodes[1:])
			recording{200, second.headers, last}.ServeHTTP(w, r)
		default:
			base.ServeHTTP(w, r)
		}
	})
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := newClient(t, Config{Addresses: []string{serve(t, m)}, TokenFile: token}).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"pc-quang-phuc-01 ready/running running v0", "pc-tan-ky-01 ready/running running v0"}, said(v)); diff != "" {
		t.Errorf("nodes of two pages, -want +got:\n%s", diff)
	}
	want := []string{pathJob + "   s3cret", pathNodes + ` NodePool == "agents"  s3cret`,
		pathNodes + ` NodePool == "agents" 5fc0284d-30dd-49dd-f925-65cd8c19b4a3 s3cret`, pathAllocs + "   s3cret"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("requests, -want +got:\n%s", diff)
	}
	if err := os.WriteFile(token, make([]byte, maxToken+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = newClient(t, Config{Addresses: []string{serve(t, m)}, TokenFile: token}).Read(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || e.Problem != Forbidden {
		t.Errorf("with 4 KiB of zeros for a token: %v", err)
	}
}

// The next server is asked when one is away, has no leader or refuses.
func TestReadFailsOver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + l.Addr().String()
	l.Close()
	const jobFile, allocs = "job_egovmon-agent.json", "job_egovmon-agent_allocations.json"
	lost := serve(t, cluster(t, jobFile, allocs, "nodes_stale_no_leader.json"))
	fine := serve(t, cluster(t, jobFile, allocs, "nodes.json"))
	v, err := newClient(t, Config{Addresses: []string{dead, lost, fine}}).Read(t.Context())
	if err != nil || len(v.Nodes) != 2 {
		t.Errorf("%d nodes, %v", len(v.Nodes), err)
	}
	_, err = newClient(t, Config{Addresses: []string{lost, dead}}).Read(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || e.Problem != Unreachable || e.Address != dead {
		t.Errorf("when none answers: %v", err)
	}
}

func TestReadOverTLSAndSocket(t *testing.T) {
	h := cluster(t, "job_egovmon-agent.json", "job_egovmon-agent_allocations.json", "nodes.json")
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := newClient(t, Config{Addresses: []string{s.URL}, CAFile: ca}).Read(t.Context()); err != nil || len(v.Nodes) != 2 {
		t.Errorf("with its CA: %d nodes, %v", len(v.Nodes), err)
	}
	for name, c := range map[string]Config{
		"unknown CA":    {Addresses: []string{s.URL}},
		"another name":  {Addresses: []string{s.URL}, CAFile: ca, ServerName: "server.global.nomad"},
		"plain server":  {Addresses: []string{strings.Replace(serve(t, h), "http:", "https:", 1)}, CAFile: ca},
		"no client key": {Addresses: []string{mutual(t, h)}, CAFile: ca},
	} {
		_, err := newClient(t, c).Read(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || e.Problem != Refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	u := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}}
	u.Start()
	t.Cleanup(u.Close)
	if v, err := newClient(t, Config{Addresses: []string{"unix://" + path}}).Read(t.Context()); err != nil || len(v.Nodes) != 2 {
		t.Errorf("over a socket: %d nodes, %v", len(v.Nodes), err)
	}
}

// mutual serves over TLS only to clients with a certificate, by the same test certificate.
func mutual(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestNewClientRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"no address":      {},
		"no scheme":       {Addresses: []string{"127.0.0.1:4646"}},
		"another scheme":  {Addresses: []string{"ftp://127.0.0.1/"}},
		"no host":         {Addresses: []string{"https:///v1"}},
		"a missing CA":    {Addresses: []string{"http://127.0.0.1"}, CAFile: empty + ".not"},
		"an empty CA":     {Addresses: []string{"http://127.0.0.1"}, CAFile: empty},
		"a lone key":      {Addresses: []string{"http://127.0.0.1"}, KeyFile: empty},
		"a pool of quote": {Addresses: []string{"http://127.0.0.1"}, Pool: `a" or Name != "`},
	} {
		if _, err := NewClient(c, time.Now); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
