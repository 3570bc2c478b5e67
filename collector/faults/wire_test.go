package faults

import (
	"context"
	"errors"
	"net"
	"sync"
)

// A line joins the agents of a bubble to their collector with pipes in memory, and may be cut.
type line struct {
	mu     sync.Mutex
	to     *pipeListener // nil while nobody listens
	down   bool
	conns  map[net.Conn]bool
	change func(net.Conn) net.Conn // what happens to the collector's end of a new connection; nil for nothing
}

var errLine = errors.New("the line is cut")

// dial is [daemon.Options.Dial].
func (l *line) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.mu.Lock()
	to, down, change := l.to, l.down, l.change
	l.mu.Unlock()
	if to == nil || down {
		return nil, errLine
	}
	near, far := net.Pipe()
	served := far
	if change != nil {
		served = change(far)
	}
	select {
	case to.queue <- served:
	case <-to.closed:
		return nil, errLine
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		l.conns = map[net.Conn]bool{}
	}
	l.conns[near] = true
	return near, nil
}

// listen opens the collector's end.
func (l *line) listen() net.Listener {
	p := &pipeListener{queue: make(chan net.Conn), closed: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = p
	return p
}

// cut ends every connection, and keeps new ones from being made until mend.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for c := range l.conns {
		_ = c.Close()
	}
	clear(l.conns)
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// with puts something between agents and collector, for connections made from now on.
func (l *line) with(change func(net.Conn) net.Conn) {
	l.cut()
	l.mend()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.change = change
}

// A pipeListener accepts the far ends of pipes.
type pipeListener struct {
	queue  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.queue:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 19443} }
