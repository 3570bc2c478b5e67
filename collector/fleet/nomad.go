package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
)

// Bounds of one reading.
const (
	defaultTimeout = 20 * time.Second
	maxAnswer      = 64 << 20 // bytes of one answer: 10,000 allocations of about 4 KiB each
	perPage        = 200
	maxNodes       = 20_000
	maxToken       = 4 << 10
	maxContact     = time.Minute // a server that heard its leader longer ago may be cut off
	maxText        = 200         // of Nomad's words, in runes
)

// Nomad's defaults for a district.
const (
	DefaultJob  = "egovmon-agent"
	DefaultPool = "agents"
)

// A Config says where Nomad is and who we are to it. Only Addresses is needed.
type Config struct {
	// Addresses of servers, asked in turn until one answers: https://nomad-1.example.vn:4646, http://127.0.0.1:4646 or
	// unix:///secrets/api.sock.
	Addresses []string
	Region    string // default the asked server's own
	Namespace string // of the job; default "default"
	Job       string // the agents' job; default egovmon-agent
	Pool      string // the node pool of the agents' machines; default agents, "*" for every one
	// TokenFile holds the ACL token; read anew each time, so that it can be replaced. "" for none.
	TokenFile string
	// CAFile holds the certificates that a server may have, instead of the system's; CertFile and KeyFile are ours.
	CAFile, CertFile, KeyFile string
	// ServerName is the name in the servers' certificate, when it is not the address; usually server.global.nomad.
	ServerName string
	Timeout    time.Duration // for one reading from one server; default 20s
}

// An Error is a reading that failed.
type Error struct {
	Problem Problem
	Address string
	Err     error
}

// Error returns what happened where.
func (e *Error) Error() string {
	return fmt.Sprintf("nomad %s: %s: %v", e.Address, e.Problem, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// A Client reads the fleet from Nomad.
type Client struct {
	c       Config
	servers []server
	now     func() time.Time
}

type server struct {
	address string
	api     *api.Client
}

// NewClient prepares to ask; nothing is sent yet. Environment variables of Nomad's own client are not read.
func NewClient(c Config, now func() time.Time) (*Client, error) {
	if c.Job == "" {
		c.Job = DefaultJob
	}
	if c.Pool == "" {
		c.Pool = DefaultPool
	}
	if c.Namespace == "" {
		c.Namespace = api.DefaultNamespace
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if strings.ContainsAny(c.Pool, "\"\\`") {
		return nil, fmt.Errorf("nomad: %q is no name of a node pool", c.Pool)
	}
	conf, err := c.tls()
	if err != nil {
		return nil, err
	}
	if len(c.Addresses) == 0 {
		return nil, errors.New("nomad: no address: name at least one server, e.g. https://nomad.example.vn:4646")
	}
	n := &Client{c: c, now: now}
	for _, a := range c.Addresses {
		u, err := url.Parse(a)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "unix" || u.Scheme != "unix" && u.Host == "" {
			return nil, fmt.Errorf("nomad: address %q: write it as https://host:4646, http://127.0.0.1:4646 or unix:///path", a)
		}
		tr := &http.Transport{TLSClientConfig: conf.Clone(), TLSHandshakeTimeout: 10 * time.Second, MaxIdleConns: 2,
			IdleConnTimeout: 2 * time.Minute, MaxResponseHeaderBytes: 64 << 10}
		address := a
		if u.Scheme == "unix" {
			address = "http://127.0.0.1"
			tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", u.Path)
			}
		}
		cl, err := api.NewClient(&api.Config{Address: address, Region: c.Region, Namespace: c.Namespace,
			HttpClient: &http.Client{Transport: bounded{tr}, CheckRedirect: noRedirect}})
		if err != nil {
			return nil, fmt.Errorf("nomad: address %q: %w", a, err)
		}
		n.servers = append(n.servers, server{a, cl})
	}
	return n, nil
}

func (c Config) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("nomad: CA: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("nomad: CA: %s holds no certificate in PEM", c.CAFile)
		}
	}
	if c.CertFile != "" || c.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("nomad: our certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

// noRedirect: a token goes to the server that it was meant for.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// bounded ends the reading of an answer that is too large.
type bounded struct{ http.RoundTripper }

var errTooLarge = errors.New("the answer is too large")

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = &boundedBody{ReadCloser: res.Body, left: maxAnswer}
	}
	return res, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// Read asks one server after the other for nodes and allocations. The error is an [*Error]; nothing that came before it
// is to be believed.
func (n *Client) Read(ctx context.Context) (Inventory, error) {
	token, err := n.token()
	if err != nil {
		return Inventory{}, &Error{Forbidden, n.servers[0].address, err}
	}
	var last error
	for _, s := range n.servers {
		v, err := n.readFrom(ctx, s, token)
		if err == nil {
			return v, nil
		}
		last = &Error{problem(err), s.address, err}
		if ctx.Err() != nil {
			break
		}
	}
	return Inventory{}, last
}

func (n *Client) token() (string, error) {
	if n.c.TokenFile == "" {
		return "", nil
	}
	f, err := os.Open(n.c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil || len(b) > maxToken {
		return "", fmt.Errorf("token: %s holds no token (%d bytes): %w", n.c.TokenFile, len(b), err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (n *Client) readFrom(ctx context.Context, s server, token string) (Inventory, error) {
	ctx, cancel := context.WithTimeout(ctx, n.c.Timeout)
	defer cancel()
	options := func() *api.QueryOptions {
		return (&api.QueryOptions{AuthToken: token}).WithContext(ctx)
	}
	// A job that is not there has no allocations either, which would read as a fleet without agents.
	if _, meta, err := s.api.Jobs().Info(n.c.Job, options()); err != nil {
		return Inventory{}, fmt.Errorf("job %s: %w", n.c.Job, err)
	} else if err := trust(meta); err != nil {
		return Inventory{}, err
	}
	v := Inventory{Used: true, Read: n.now().UTC()}
	q := options()
	q.PerPage = perPage
	if n.c.Pool != "*" {
		q.Filter = fmt.Sprintf("NodePool == %q", n.c.Pool)
	}
	for {
		nodes, meta, err := s.api.Nodes().List(q)
		if err != nil {
			return Inventory{}, fmt.Errorf("nodes: %w", err)
		}
		if err := trust(meta); err != nil {
			return Inventory{}, err
		}
		for _, stub := range nodes {
			if stub != nil {
				v.Nodes = append(v.Nodes, nodeOf(stub))
			}
		}
		if len(v.Nodes) > maxNodes {
			return Inventory{}, fmt.Errorf("nodes: more than %d: %w", maxNodes, errTooLarge)
		}
		if meta.NextToken == "" {
			break
		}
		if meta.NextToken == q.NextToken || len(nodes) == 0 {
			return Inventory{}, fmt.Errorf("nodes: the page after %s does not end: %w", q.NextToken, errTooLarge)
		}
		q.NextToken = meta.NextToken
	}
	allocs, meta, err := s.api.Jobs().Allocations(n.c.Job, false, options())
	if err != nil {
		return Inventory{}, fmt.Errorf("allocations of %s: %w", n.c.Job, err)
	}
	if err := trust(meta); err != nil {
		return Inventory{}, err
	}
	v.place(allocs)
	return v, nil
}

func nodeOf(s *api.NodeListStub) Node {
	return Node{ID: s.ID, Name: strings.ToLower(short(s.Name)), Status: short(s.Status), Eligible: s.SchedulingEligibility == "eligible",
		Draining: s.Drain, Version: short(s.Version), Created: s.CreateIndex}
}

// place gives each node its newest allocation that is not meant to stop: stopped ones stay on the list for long.
func (v *Inventory) place(allocs []*api.AllocationListStub) {
	newest := map[string]*api.AllocationListStub{}
	for _, a := range allocs {
		if a == nil || a.DesiredStatus != api.AllocDesiredStatusRun {
			continue
		}
		if b := newest[a.NodeID]; b == nil || a.CreateIndex > b.CreateIndex {
			newest[a.NodeID] = a
		}
	}
	for i := range v.Nodes {
		n := &v.Nodes[i]
		a := newest[n.ID]
		if a == nil {
			continue
		}
		n.Alloc, n.JobVersion = short(a.ClientStatus), a.JobVersion
		if a.ClientStatus != api.AllocClientStatusRunning {
			n.Why = why(a)
		}
	}
}

// why is what a person should know of an allocation that does not run: the last failure of a task, or Nomad's summary.
func why(a *api.AllocationListStub) string {
	text := a.ClientDescription
	var at int64
	for _, t := range a.TaskStates {
		if t == nil || !t.Failed {
			continue
		}
		for _, e := range t.Events {
			if e != nil && e.DisplayMessage != "" && e.Time >= at {
				text, at = e.DisplayMessage, e.Time
			}
		}
	}
	return short(text)
}

// short makes text of Nomad's fit for a line.
func short(s string) string {
	rs := []rune(strings.ToValidUTF8(s, "?"))
	if len(rs) > maxText {
		rs = append(rs[:maxText-1], '…')
	}
	for i, r := range rs {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			rs[i] = ' '
		}
	}
	return string(rs)
}

var errNoLeader = errors.New("the server knows no leader, or has not heard it for a minute: what it lists may be anything")

// trust refuses an answer of a server that has lost its cluster: it says 200 and an empty list.
func trust(m *api.QueryMeta) error {
	if m == nil || !m.KnownLeader || m.LastContact > maxContact {
		return errNoLeader
	}
	return nil
}

// problem sorts an error into the closed list.
func problem(err error) Problem {
	var status api.UnexpectedResponseError
	var verify *tls.CertificateVerificationError
	var remote *net.OpError
	var dial *url.Error
	switch {
	case errors.Is(err, errNoLeader):
		return NoLeader
	case errors.As(err, &status) && status.HasStatusCode():
		switch {
		case status.StatusCode() == http.StatusForbidden:
			return Forbidden
		case status.StatusCode() == http.StatusNotFound && strings.Contains(status.Body(), "job not found"):
			return NoJob
		case strings.Contains(status.Body(), "No cluster leader"):
			return NoLeader
		}
		return ServerError
	case errors.As(err, &verify), errors.As(err, &remote) && remote.Op == "remote error", errors.Is(err, http.ErrSchemeMismatch):
		return Refused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &dial):
		return Unreachable
	}
	return Unreadable
}
