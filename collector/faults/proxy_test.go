package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"egovmon/agent/push"
	"egovmon/agent/wire"
)

// answered runs a handler and returns its answer as it goes over the line.
func answered(h http.Handler, r *http.Request) (*httptest.ResponseRecorder, []byte) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	var b bytes.Buffer
	_ = rec.Result().Write(&b)
	return rec, b.Bytes()
}

// send writes bytes as the answer, and ends the connection.
func send(w http.ResponseWriter, b []byte) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = c.Write(b)
	_ = c.Close()
}

// TestHalfAnAnswer cuts the answers to batches off after every length. The collector has taken the batches each time.
func TestHalfAnAnswer(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	cuts, whole, every, on := 0, 0, false, false
	disturb(t, func(w *world) {
		w.every, w.seal = time.Minute, 5*time.Second
		if w.wrap = nil; on {
			return
		}
		on = true // the twin's answers stay whole
		w.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path != wire.PathBatches {
					h.ServeHTTP(rw, r)
					return
				}
				_, b := answered(h, r)
				mu.Lock()
				n := len(b)
				if whole++; whole%8 != 0 && cuts < len(b) {
					n = cuts
					cuts++
				}
				every = every || cuts >= max(len(b), 500) // the shortest answers have a little less, headers and all
				mu.Unlock()
				send(rw, b[:n])
			})
		}
	}, func(r *rig) {
		for end := r.now().Add(24 * time.Hour); r.now().Before(end); time.Sleep(time.Minute) {
			mu.Lock()
			done := every
			mu.Unlock()
			if done {
				return
			}
		}
	}, func(r *rig, u, s *story, share float64) {
		everything(r, u, s, share)
		if !every || cuts < 500 {
			r.Errorf("only %d answers were cut off", cuts)
		}
	})
}

// TestCutConnections cuts what the collector sends, TLS and all, off after a growing number of bytes.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	disturb(t, func(w *world) { w.every = time.Minute }, func(r *rig) {
		for n := 0; n < 6000; n += 97 {
			r.line.with(func(c net.Conn) net.Conn { return &stingy{Conn: c, left: n} })
			time.Sleep(time.Minute)
		}
		r.line.with(nil)
	}, everything)
}

// A stingy connection ends after so many bytes.
type stingy struct {
	net.Conn
	mu   sync.Mutex
	left int
}

func (s *stingy) Write(p []byte) (int, error) {
	s.mu.Lock()
	n := min(s.left, len(p))
	s.left -= n
	s.mu.Unlock()
	if n == len(p) {
		return s.Conn.Write(p)
	}
	m, _ := s.Conn.Write(p[:n])
	_ = s.Conn.Close()
	return m, net.ErrClosed
}

// TestReplayedAnswers gives an agent answers that it was given before: those to the same kind of call, from long ago or
// from the call before, with the request passed on or not. What was not taken is sent again, and no answer of the past is
// taken for a log that was changed.
func TestReplayedAnswers(t *testing.T) {
	t.Parallel()
	for _, passOn := range []bool{true, false} {
		t.Run(fmt.Sprintf("passed on %v", passOn), func(t *testing.T) {
			var mu sync.Mutex
			var old []*http.Response
			var bodies [][]byte
			calls, replays, wrapped, over := 0, 0, false, false
			disturb(t, func(w *world) {
				w.every = time.Minute
				if wrapped {
					return
				}
				wrapped = true
				w.wrap = func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
						if r.URL.Path != wire.PathBatches {
							h.ServeHTTP(rw, r)
							return
						}
						mu.Lock()
						calls++
						n := calls
						replay := n > 20 && n%3 == 0 && !over
						mu.Unlock()
						if replay {
							if passOn {
								_, _ = answered(h, r)
							} else {
								_, _ = io.Copy(io.Discard, r.Body)
							}
							mu.Lock()
							at := len(old) - 1
							if n%2 == 0 {
								at = n % len(old)
							}
							res, body := old[at], bodies[at]
							replays++
							mu.Unlock()
							maps.Copy(rw.Header(), res.Header)
							rw.WriteHeader(res.StatusCode)
							_, _ = rw.Write(body)
							return
						}
						rec, b := answered(h, r)
						res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), r)
						if err == nil {
							mu.Lock()
							old, bodies = append(old, res), append(bodies, bytes.Clone(rec.Body.Bytes()))
							mu.Unlock()
						}
						maps.Copy(rw.Header(), rec.Result().Header)
						rw.WriteHeader(rec.Code)
						_, _ = rw.Write(rec.Body.Bytes())
					})
				}
			}, func(*rig) {
				time.Sleep(2 * time.Hour)
				mu.Lock()
				over = true
				mu.Unlock()
			}, func(r *rig, u, s *story, share float64) {
				everything(r, u, s, share)
				if replays < 50 {
					r.Errorf("%d answers were replayed", replays)
				}
				if _, err := os.Stat(filepath.Join(r.a.dir, push.RefusedFile)); err == nil {
					r.Error("an answer of the past is taken for proof that the log was changed")
				}
			})
		})
	}
}
