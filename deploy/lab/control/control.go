//go:build linux

package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"egovmon/deploy/lab/fault"
	"egovmon/deploy/lab/stage"
)

// Socket is the name of the socket in a lab's folder.
const Socket = "control.sock"

const (
	maxRequest = 4 << 10
	maxAnswer  = 32 << 20
)

// ErrNone says that no lab runs in the folder.
var ErrNone = errors.New("no lab is running in this folder: `lab up` starts one")

// A request is about one fault.
type request struct {
	Fault string `json:"fault"`
	Unit  string `json:"unit,omitempty"`
	On    bool   `json:"on"`
}

// Listen opens the socket of a lab's folder.
func Listen(dir string) (net.Listener, error) {
	path := filepath.Join(dir, Socket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Serve answers for a lab until ctx ends. down is called when somebody asks to take it down.
func Serve(ctx context.Context, l net.Listener, s *stage.Stage, down func()) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		st := s.Status()
		for _, f := range fault.All() {
			if s.Missing(f.Name) == "" {
				st.Offered = append(st.Offered, f.Name)
			} else {
				st.Missing = append(st.Missing, f.Name+": "+s.Missing(f.Name))
			}
		}
		answer(w, st, nil)
	})
	mux.HandleFunc("GET /board", func(w http.ResponseWriter, r *http.Request) {
		b, err := s.Board(r.Context())
		answer(w, b, err)
	})
	mux.HandleFunc("GET /check", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		seen, err := s.Check(r.Context(), q.Get("machine"), q.Get("check"))
		answer(w, seen, err)
	})
	mux.HandleFunc("GET /link", func(w http.ResponseWriter, r *http.Request) {
		link, err := s.Link(r.Context())
		answer(w, link, err)
	})
	mux.HandleFunc("GET /lines", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.URL.Query().Get("from"))
		answer(w, s.Lines(n), err)
	})
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		var q request
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&q); err != nil {
			answer(w, nil, err)
			return
		}
		a, err := s.Fault(context.WithoutCancel(r.Context()), q.Fault, q.Unit, q.On)
		answer(w, a, err)
	})
	mux.HandleFunc("POST /down", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, struct{}{}, nil)
		down()
	})
	srv := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(end) != nil {
			_ = srv.Close()
		}
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// A Client speaks to the lab of a folder.
type Client struct{ http *http.Client }

// Dial returns a client for the lab of a folder. Its calls fail with ErrNone where none runs.
func Dial(dir string) *Client {
	return &Client{&http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, Socket))
		}}}}
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return ErrNone
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%.1000s", bytes.TrimSpace(b))
	}
	return json.Unmarshal(b, out)
}

// Status asks how the lab is.
func (c *Client) Status(ctx context.Context) (s stage.Status, err error) {
	err = c.do(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}

// Board asks for what the collector's board shows.
func (c *Client) Board(ctx context.Context) (b stage.Board, err error) {
	err = c.do(ctx, http.MethodGet, "/board", nil, &b)
	return b, err
}

// Check asks for what a machine's check saw last.
func (c *Client) Check(ctx context.Context, machine, id string) (s stage.Seen, err error) {
	err = c.do(ctx, http.MethodGet, "/check?"+url.Values{"machine": {machine}, "check": {id}}.Encode(), nil, &s)
	return s, err
}

// Link asks for a fresh one-time link to the board.
func (c *Client) Link(ctx context.Context) (link string, err error) {
	err = c.do(ctx, http.MethodGet, "/link", nil, &link)
	return link, err
}

// Lines asks for the transcript from the n-th line on.
func (c *Client) Lines(ctx context.Context, n int) (l []stage.Line, err error) {
	err = c.do(ctx, http.MethodGet, "/lines?from="+strconv.Itoa(n), nil, &l)
	return l, err
}

// Fault brings a fault about, or takes it away.
func (c *Client) Fault(ctx context.Context, name, unit string, on bool) (a stage.Active, err error) {
	err = c.do(ctx, http.MethodPost, "/fault", request{name, unit, on}, &a)
	return a, err
}

// Down asks the lab to end. It returns before that is done.
func (c *Client) Down(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/down", nil, &struct{}{})
}
