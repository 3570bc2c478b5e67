package servers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// PrinterConfig sets up a printer.
type PrinterConfig struct {
	Name string
}

// A Printer is what a network printer shows to those who ask: IPP at port 631 (Get-Printer-Attributes of RFC 8011, section 4.2.5, in
// the encoding of RFC 8010), and port 9100, which takes pages as they come.
type Printer struct {
	p     Place
	c     PrinterConfig
	web   *httpd
	raw   *listener
	empty atomic.Bool
}

// StartPrinter starts both ports.
func StartPrinter(ctx context.Context, p Place, c PrinterConfig) (*Printer, error) {
	s := &Printer{p: p, c: c}
	var err error
	if s.web, err = startHTTP(ctx, p, 631, http.HandlerFunc(s.serve)); err != nil {
		return nil, err
	}
	s.raw, err = startListener(ctx, p, 9100, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// serve answers one IPP request.
func (s *Printer) serve(w http.ResponseWriter, r *http.Request) {
	head := make([]byte, 8)
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/ipp" {
		http.Error(w, "IPP is spoken here", http.StatusUnsupportedMediaType)
		return
	}
	if _, err := io.ReadFull(r.Body, head); err != nil {
		http.Error(w, "no IPP request", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/ipp")
	_, _ = w.Write(s.answer(head))
}

// Numbers of IPP (RFC 8011, sections 4.2.5, 5.4.11 and B.1; RFC 8010, section 3.5).
const (
	ippGetPrinter   = 0x000b
	ippOK           = 0x0000
	ippNotSupported = 0x0501 // server-error-operation-not-supported
	ippIdle         = 3
	ippStopped      = 5

	tagOperation = 0x01
	tagEnd       = 0x03
	tagPrinter   = 0x04
	tagBoolean   = 0x22
	tagEnum      = 0x23
	tagName      = 0x42
	tagKeyword   = 0x44
	tagCharset   = 0x47
	tagLanguage  = 0x48
)

// answer makes the answer to a request with this beginning: version, operation, number of the request.
func (s *Printer) answer(head []byte) []byte {
	status := uint16(ippOK)
	if binary.BigEndian.Uint16(head[2:]) != ippGetPrinter {
		status = ippNotSupported
	}
	b := append([]byte{head[0], head[1]}, byte(status>>8), byte(status))
	b = append(b, head[4:8]...)
	b = append(b, tagOperation)
	b = attribute(b, tagCharset, "attributes-charset", []byte("utf-8"))
	b = attribute(b, tagLanguage, "attributes-natural-language", []byte("vi"))
	if status == ippOK {
		state, reason := byte(ippIdle), "none"
		if s.empty.Load() {
			state, reason = ippStopped, "media-empty-error"
		}
		b = append(b, tagPrinter)
		b = attribute(b, tagName, "printer-name", []byte(s.c.Name))
		b = attribute(b, tagEnum, "printer-state", []byte{0, 0, 0, state})
		b = attribute(b, tagKeyword, "printer-state-reasons", []byte(reason))
		b = attribute(b, tagBoolean, "printer-is-accepting-jobs", []byte{1})
	}
	return append(b, tagEnd)
}

// attribute adds an attribute with one value (RFC 8010, section 3.1.4).
func attribute(b []byte, tag byte, name string, value []byte) []byte {
	b = append(b, tag)
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

// OutOfPaper lets the printer say that it has stopped because no paper is left.
func (s *Printer) OutOfPaper(on bool) error { s.empty.Store(on); return nil }

// Off closes both ports, as a printer that was switched off.
func (s *Printer) Off(on bool) error { return errors.Join(s.web.Dead(on), s.raw.dead(on)) }

// Stop ends it for good.
func (s *Printer) Stop() error {
	err := s.web.Stop()
	if s.raw != nil {
		err = errors.Join(err, s.raw.stop())
	}
	return err
}

// URL is where IPP is spoken.
func (s *Printer) URL() string { return s.p.url("http", s.p.IP.String(), 631) + "/ipp/print" }

// Addr is the host:port that takes pages.
func (s *Printer) Addr() string { return s.p.at(9100) }

// A listener handles connections to a port of a Place, and can be dead for a while.
type listener struct {
	ctx    context.Context
	p      Place
	std    int
	handle func(net.Conn)

	mu      sync.Mutex
	l       net.Listener // nil while it is dead
	conns   map[net.Conn]bool
	stopped bool
	served  sync.WaitGroup
}

// startListener handles connections until stop or the end of ctx.
func startListener(ctx context.Context, p Place, std int, handle func(net.Conn)) (*listener, error) {
	s := &listener{ctx: ctx, p: p, std: std, handle: handle, conns: map[net.Conn]bool{}}
	if err := s.dead(false); err != nil {
		return nil, fmt.Errorf("listen at %s: %w", p.at(std), err)
	}
	context.AfterFunc(ctx, func() { _ = s.stop() })
	return s, nil
}

// dead closes the port and all connections, or opens the port again.
func (s *listener) dead(on bool) error {
	s.mu.Lock()
	if on {
		l := s.l
		s.l = nil
		for c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		if l == nil {
			return nil
		}
		err := l.Close()
		s.served.Wait()
		return err
	}
	defer s.mu.Unlock()
	switch {
	case s.l != nil:
		return nil
	case s.stopped || s.ctx.Err() != nil:
		return errStopped
	}
	l, err := s.p.Listen(s.ctx, s.std)
	if err != nil {
		return err
	}
	s.l = l
	s.served.Go(func() { s.accept(l) })
	return nil
}

func (s *listener) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		gone := s.l != l
		s.conns[c] = true
		s.mu.Unlock()
		s.served.Go(func() {
			if !gone {
				s.handle(c)
			}
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			_ = c.Close()
		})
	}
}

func (s *listener) stop() error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	return s.dead(true)
}
