package mail

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// A canned connection has said all it will say.
type canned struct {
	net.Conn
	io.Reader
}

// Read returns what is left.
func (c canned) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// Write takes anything.
func (canned) Write(p []byte) (int, error) { return len(p), nil }

// fuzzSession lets a check talk to a server that has said this.
func fuzzSession(t *testing.T, k check.Kind, said []byte, talk func(*session) *reach.Fault) {
	t.Helper()
	conn := canned{Reader: bytes.NewReader(said)}
	s := &session{server: &server{starttls: tlsNone}, conn: conn, in: bufio.NewReaderSize(conn, maxLine)}
	r := talk(s).Result()
	s.phases.Add(phaseTotal, 0)
	r.Facts, r.Phases = s.facts, s.phases
	if s.heard > maxHeard+maxLine {
		t.Errorf("heard %d bytes", s.heard)
	}
	if bytes.Contains(said, []byte(userName)) || bytes.Contains(said, []byte(password)) {
		r.Detail = "" // the server may say what it likes before it is told
	}
	sound(t, k, r)
}

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}
