package standin

import (
	"context"
	"crypto/tls"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Page says what a site answers.
type Page int

// What a site may answer.
const (
	Normal      Page = iota
	Maintenance      // "đang bảo trì", with status 200
	Defaced          // somebody else's words, with status 200
	BadGateway       // 502: the machine behind it is away
	NoLookUp         // everything but the look-up of dossiers
)

// A Site is one web site over TLS.
type Site struct {
	Host  string
	Title string

	listen func() (net.Listener, error)
	certs  map[Certificate]*tls.Certificate

	mu     sync.Mutex
	cert   Certificate
	page   Page
	server *http.Server
	done   chan struct{}
}

// NewSite starts a site. listen opens its port, again after each Stop.
func NewSite(p *PKI, host, title string, listen func() (net.Listener, error)) (*Site, error) {
	certs, err := p.certificates(host)
	if err != nil {
		return nil, err
	}
	s := &Site{Host: host, Title: title, listen: listen, certs: certs}
	return s, s.Start()
}

// Start opens the site's port, unless it is open.
func (s *Site) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return nil
	}
	l, err := s.listen()
	if err != nil {
		return fmt.Errorf("site %s: %w", s.Host, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", s.answer)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.certs[s.cert], nil
		}}}
	done := make(chan struct{})
	s.server, s.done = srv, done
	go func() {
		defer close(done)
		_ = srv.ServeTLS(l, "", "") // ends with Close
	}()
	return nil
}

// Stop closes the port: who connects is refused.
func (s *Site) Stop() error {
	s.mu.Lock()
	srv, done := s.server, s.done
	s.server = nil
	s.mu.Unlock()
	if srv == nil {
		return nil
	}
	err := srv.Close()
	<-done
	return err
}

// Show has the site show a certificate. Connections that are open end.
func (s *Site) Show(c Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cert = c
}

// Answer has the site answer in this way.
func (s *Site) Answer(p Page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = p
}

func (s *Site) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	page, title := s.page, html.EscapeString(s.Title)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Connection", "close")
	lookUp := r.URL.Path == "/tra-cuu"
	switch {
	case page == Maintenance:
		title = "Hệ thống đang bảo trì, vui lòng quay lại sau"
	case page == Defaced:
		title = "Hacked by nobody"
	case page == BadGateway, page == NoLookUp && lookUp:
		w.WriteHeader(http.StatusBadGateway)
		title = "502 Bad Gateway"
	case lookUp:
		title += ": hồ sơ đã tiếp nhận"
	}
	_, _ = fmt.Fprintf(w, "<!doctype html><html lang=vi><meta charset=utf-8><title>%s</title><h1>%s</h1></html>\n", title, title)
}

// Discard takes connections and closes them: a neutral target, or a printer's port. It ends with ctx.
func Discard(ctx context.Context, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	go func() {
		defer stop()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
}
