//go:build linux

package stage

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// TranscriptFile is the name of the transcript in the lab's folder: one JSON object a line.
const TranscriptFile = "transcript.ndjson"

// A Line is one line of the transcript: what happened, and of whom. What is empty is left out.
//
//	ready          the lab is up; Seconds says after how long
//	fault-on       with Fault, Unit, and the truth about it: Cause, Owner, Component
//	fault-off      likewise
//	state          a service looks different: Service, Unit ("" as a whole), State, Reason
//	opened         an incident: Incident, Kind, Service, Unit, Through, State, Reason
//	acknowledged   by User
//	closed
//	told           the office got a message: Detail is its title, Event what it tells, Incident of which
//	alert          Alertmanager told of one of Prometheus' alerts: Detail is its name, State firing or resolved, Service, Unit
//	program-ended  a program of the lab ended by itself
//	down           the lab goes
type Line struct {
	At        time.Time `json:"at"`
	What      string    `json:"what"`
	Fault     string    `json:"fault,omitempty"`
	Cause     string    `json:"cause,omitempty"`
	Owner     string    `json:"owner,omitempty"`
	Component string    `json:"component,omitempty"`
	Incident  string    `json:"incident,omitempty"`
	Kind      string    `json:"kind,omitempty"`
	Service   string    `json:"service,omitempty"`
	Unit      string    `json:"unit,omitempty"`
	Through   string    `json:"through,omitempty"`
	State     string    `json:"state,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	User      string    `json:"user,omitempty"`
	Event     string    `json:"event,omitempty"`
	Program   string    `json:"program,omitempty"`
	Detail    string    `json:"detail,omitempty"`
	Seconds   float64   `json:"seconds,omitempty"`
}

// A transcript keeps the lines of one run.
type transcript struct {
	also func([]byte)

	mu    sync.Mutex
	f     *os.File
	lines []Line
}

func newTranscript(dir string, also func([]byte)) (*transcript, error) {
	f, err := os.OpenFile(filepath.Join(dir, TranscriptFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &transcript{f: f, also: also}, nil
}

// write adds a line; its time is now unless it has one.
func (t *transcript) write(l Line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.At.IsZero() {
		l.At = time.Now().UTC().Truncate(time.Millisecond)
	}
	b, err := json.Marshal(l)
	if err != nil {
		return
	}
	b = append(b, '\n')
	t.lines = append(t.lines, l)
	if t.f != nil {
		_, _ = t.f.Write(b) // the lab goes on when its disk is full
	}
	if t.also != nil {
		t.also(b)
	}
}

// since returns the lines from the n-th on.
func (t *transcript) since(n int) []Line {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n < 0 || n > len(t.lines) {
		return nil
	}
	return append([]Line(nil), t.lines[n:]...)
}

func (t *transcript) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.f
	t.f = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// Lines returns the transcript from the n-th line on.
func (s *Stage) Lines(n int) []Line { return s.script.since(n) }

// watch writes down what the board shows, as it changes, until ctx ends.
func (s *Stage) watch(ctx context.Context) {
	type key struct{ service, unit string }
	cells, open := map[key]string{}, map[string]Incident{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		b, err := s.Board(ctx)
		if err != nil {
			continue // the collector may be the fault
		}
		for _, c := range b.Cells {
			k, v := key{c.Service, c.Unit}, c.State+" "+c.Reason
			if cells[k] != v {
				if cells[k] != "" {
					s.script.write(Line{What: "state", Service: c.Service, Unit: c.Unit, State: c.State, Reason: c.Reason})
				}
				cells[k] = v
			}
		}
		for _, i := range b.Incidents {
			s.watchIncident(open, i)
		}
	}
}

func (s *Stage) watchIncident(open map[string]Incident, i Incident) {
	l := Line{Incident: i.ID, Kind: i.Kind, Service: i.Service, Unit: i.Unit, Through: i.Through, State: i.State, Reason: i.Reason}
	was, known := open[i.ID]
	if !known {
		l.What, l.At = "opened", i.Opened
		s.script.write(l)
	}
	if was.Ack.User == "" && i.Ack.User != "" {
		l.What, l.At, l.User, l.Detail = "acknowledged", i.Ack.At, i.Ack.User, i.Ack.Note
		s.script.write(l)
		l.User, l.Detail = "", ""
	}
	if was.Closed.IsZero() && !i.Closed.IsZero() {
		l.What, l.At = "closed", i.Closed
		l.Seconds = i.Closed.Sub(i.Opened).Seconds()
		s.script.write(l)
	}
	open[i.ID] = i
}

// Status says how the lab is.
type Status struct {
	Since    time.Time `json:"since"`
	Board    string    `json:"board"` // address
	Loopback bool      `json:"loopback,omitempty"`
	Links    []Link    `json:"links,omitempty"` // to what was asked for beside the board
	Units    []Unit    `json:"units"`
	Faults   []Active  `json:"faults"`
	Offered  []string  `json:"offered"` // names of the faults that can be had here
	Missing  []string  `json:"missing,omitempty"`
	Open     []Incident
	Lines    int `json:"lines"` // of the transcript
}

// A Link leads to a page of a server, as this machine reaches it.
type Link struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// A Unit is one site with an agent.
type Unit struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Machine string `json:"machine"`
	Netns   string `json:"netns,omitempty"`
}

// Status returns how the lab is.
func (s *Stage) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Links: s.series.links(), Since: s.trace.Since, Board: "http://" + s.cfg.Listen, Loopback: s.cfg.Loopback, Faults: append([]Active{}, s.active...), Lines: len(s.script.since(0))}
	for _, u := range s.units {
		st.Units = append(st.Units, Unit{u.ID, u.VI, u.Machine, s.netns(u.pc)})
	}
	return st
}
