// Program egovmon-token is the agent's helper for what the agent must not do in its own process: it loads the drivers of
// signing tokens (PKCS #11, PC/SC), which may hang or crash, and signs documents. The agent starts it, talks to it over its
// standard input and output (package talk), bounds its time, memory and output, and ends it.
//
// It reads nothing but what it is told, opens no connection, and keeps nothing.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/token/talk"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Println("egovmon-token is started by the egovmon agent, beside which it stands. It takes no arguments.")
		os.Exit(2)
	}
	debug.SetGCPercent(20) // a guest on an old machine: documents are held in memory, and processor time there is enough
	out, err := harden()
	if err != nil {
		os.Exit(1)
	}
	// The agent's end is ours too: a driver that hangs must not outlive it.
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, os.Stdin)
		_ = w.CloseWithError(errors.Join(io.EOF, err))
		time.AfterFunc(time.Second, func() { os.Exit(3) })
	}()
	if err := serve(talk.NewLine(r, out)); err != nil {
		os.Exit(1)
	}
}

// serve answers one request.
func serve(line *talk.Line) error {
	var q talk.Request
	if err := line.Read(&q); err != nil {
		return err
	}
	a, err := answer(line, q)
	if err != nil {
		return line.Write(talk.Answer{Version: talk.Version, Error: told(err)})
	}
	a.Version = talk.Version
	return line.Write(a)
}

func answer(line *talk.Line, q talk.Request) (*talk.Answer, error) {
	if q.Version != talk.Version {
		return nil, because(check.Misconfigured, "the agent speaks version %d, %s version %d: install both from the same package", q.Version, talk.Name(), talk.Version)
	}
	switch q.Command {
	case talk.List:
		return list(q.Modules), nil
	case talk.Readers:
		return readers()
	case talk.Sign:
		if q.Sign != nil {
			s := &signing{line: line, q: *q.Sign, clock: stopwatch{last: time.Now(), took: map[string]float64{}}}
			return s.run()
		}
	}
	return nil, because(check.Internal, "a request that is none: %q", q.Command)
}

// A fault is why a request was not fulfilled.
type fault struct {
	reason check.Reason
	detail string
	tried  bool
}

func (f *fault) Error() string { return f.detail }

func because(r check.Reason, format string, args ...any) error {
	return &fault{reason: r, detail: fmt.Sprintf(format, args...)}
}

// told makes an answer of an error.
func told(err error) *talk.Error {
	f, ok := errors.AsType[*fault](err)
	if !ok {
		f = &fault{reason: check.Internal, detail: err.Error()}
	}
	return &talk.Error{Reason: string(f.reason), Detail: check.CleanDetail(f.detail), Tried: f.tried}
}

// A stopwatch times the steps up to an answer.
type stopwatch struct {
	last time.Time
	took map[string]float64
}

// lap ends a step.
func (s *stopwatch) lap(step string) {
	now := time.Now()
	s.took[step] += now.Sub(s.last).Seconds()
	s.last = now
}

// answered returns the steps so far, and begins anew.
func (s *stopwatch) answered() map[string]float64 {
	took := s.took
	s.took = map[string]float64{}
	return took
}
