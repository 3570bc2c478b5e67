package servers

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxBody is the largest request that a server of ours reads.
const maxBody = 1 << 20

// An httpd is an HTTP server of ours at a port of a Place, which can be dead for a while.
type httpd struct {
	ctx     context.Context
	listen  func() (net.Listener, error)
	handler http.Handler
	errors  *log.Logger // nil for the standard one

	mu      sync.Mutex
	server  *http.Server // nil while it is dead
	stopped bool
	served  sync.WaitGroup
}

// startHTTP serves at a port until Stop or the end of ctx.
func startHTTP(ctx context.Context, p Place, std int, h http.Handler) (*httpd, error) {
	s := &httpd{ctx: ctx, handler: h, listen: func() (net.Listener, error) { return p.Listen(ctx, std) }}
	if err := s.Dead(false); err != nil {
		return nil, fmt.Errorf("listen at %s: %w", p.at(std), err)
	}
	context.AfterFunc(ctx, func() { _ = s.Stop() })
	return s, nil
}

// Dead closes the port and every connection, or opens the port again.
func (s *httpd) Dead(dead bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case dead && s.server != nil:
		err := s.server.Close()
		s.server = nil
		s.served.Wait()
		return err
	case dead || s.server != nil:
		return nil
	case s.stopped || s.ctx.Err() != nil:
		return errStopped
	}
	l, err := s.listen()
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.MaxBytesHandler(s.handler, maxBody), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, ErrorLog: s.errors,
		BaseContext: func(net.Listener) context.Context { return s.ctx }}
	s.server = server
	s.served.Go(func() { _ = server.Serve(l) })
	return nil
}

// Stop ends it for good.
func (s *httpd) Stop() error {
	err := s.Dead(true)
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	return err
}
