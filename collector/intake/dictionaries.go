package intake

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/agent/wire"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
)

// A dictionary is made of what machines with the same checks have sent: one line of each check. What a target says of
// itself (its certificate, its codes, its size) stands in such a line as in those to come, and what is left of a result
// is little more than its durations. It is in the log before it is offered, so that whoever has the log can read every
// batch. It depends on the results that came first and on nothing else of a machine: see typical.
const (
	dictionaryAge  = 14 * 24 * time.Hour // after which another one is made: certificates change
	gatherFor      = 10 * time.Minute    // from the first line to the dictionary, by the receipts
	gatherEvery    = 10 * time.Minute    // checks that run more seldom are not waited for
	maxGathering   = 64                  // kinds of machine for which lines are gathered at a time
	minDictionary  = 1 << 10             // bytes; a plan of so few checks gains nothing by one
	maxMadeAtOnce  = 64                  // dictionaries in one dictionaryAge, of all kinds of machine
	dictionaryPart = "GET " + wire.PathDictionary + "{sha256}"
)

// A made is the newest dictionary for machines with the same checks.
type made struct {
	SHA256 string    `json:"sha256"`
	At     time.Time `json:"at"`
}

// shapeOf names what machines with equal checks have in common: SHA-256 over their ids, kinds and periods.
func shapeOf(p *plan.Plan) string {
	var lines []string
	for _, c := range p.Checks {
		lines = append(lines, fmt.Sprintf("%s %s %s\n", c.ID, c.Kind, c.Every))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:])
}

// dictionary takes in the leaf of one.
func (f *Fold) dictionaryLeaf(s evidence.Stored) error {
	ref, ok := s.Leaf.Blob()
	at, err := time.Parse(time.RFC3339, s.Leaf.Field("at"))
	if !ok || err != nil {
		return fmt.Errorf("a dictionary without bytes or time: %w", err)
	}
	name := hex.EncodeToString(ref.SHA256[:])
	if _, known := f.state.Dictionaries[name]; !known {
		f.state.Dictionaries[name] = s.Index
	}
	if shape := s.Leaf.Field("shape"); shape != "" {
		f.state.Shapes[shape] = made{name, at.UTC()}
	}
	return nil
}

// dictionary finds the bytes of one that stands in the log before the leaf that is fed next.
func (f *Fold) dictionary(sha256 string) ([]byte, error) {
	leaf, ok := f.state.Dictionaries[sha256]
	if !ok {
		return nil, journal.ErrDictionary
	}
	return f.text(leaf)
}

// A gathering is the lines of one kind of machine so far.
type gathering struct {
	since time.Time
	want  map[string]bool // checks that are waited for
	lines map[string][]byte
}

// dictionaries is what the server knows of them. Its fields belong to Run, but for those that Server.mu guards.
type dictionaries struct {
	leaves map[string]int64 // by SHA-256; guarded by Server.mu
	shapes map[string]made  // guarded by Server.mu

	shapeOf   map[string]string // by SHA-256 of a plan's text
	gathering map[string]*gathering
	made      []time.Time // receipts at which the last ones were made
}

// replayDictionary takes in the leaf of a dictionary.
func (s *Server) replayDictionary(e evidence.Stored) error {
	ref, ok := e.Leaf.Blob()
	if !ok {
		return fmt.Errorf("a dictionary without bytes")
	}
	at, err := time.Parse(time.RFC3339, e.Leaf.Field("at"))
	if err != nil {
		return err
	}
	s.dict.know(hex.EncodeToString(ref.SHA256[:]), e.Leaf.Field("shape"), e.Index, at.UTC())
	return nil
}

func (d *dictionaries) know(name, shape string, leaf int64, at time.Time) {
	if _, known := d.leaves[name]; !known {
		d.leaves[name] = leaf
	}
	if shape != "" {
		d.shapes[shape] = made{name, at}
	}
}

// knows reports whether the log has a dictionary.
func (s *Server) knows(sha256 string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.dict.leaves[sha256]
	return ok
}

// gather notes which checks a machine runs, takes lines out of a batch, and makes a dictionary when there are enough. The caller is Run.
func (s *Server) gather(ctx context.Context, a Accepted) {
	d := &s.dict
	p, text := s.feed.fold.inForce(a.Machine, a.Header.Journal)
	if p == nil {
		return
	}
	shape, ok := d.shapeOf[text]
	if !ok {
		if len(d.shapeOf) > 1<<15 {
			clear(d.shapeOf)
		}
		shape = shapeOf(p)
		d.shapeOf[text] = shape
	}
	var last made
	s.with(a.Machine, func(m *machine) { m.shape, last = shape, d.shapes[shape] })
	if last.SHA256 != "" && a.Received.Sub(last.At) < dictionaryAge || s.opts.Now().Sub(a.Received) > gatherFor {
		return // there is one, or this is read again from the log
	}
	g := d.gathering[shape]
	if g == nil {
		if len(d.gathering) >= maxGathering {
			return
		}
		g = newGathering(p, a.Received)
		d.gathering[shape] = g
	}
	g.add(a, s.feed.fold.kinds)
	if len(g.want) > 0 && a.Received.Sub(g.since) < gatherFor {
		return
	}
	delete(d.gathering, shape)
	if b := g.dictionary(p); len(b) >= minDictionary {
		s.makeDictionary(ctx, shape, b, a.Received)
	}
}

func newGathering(p *plan.Plan, since time.Time) *gathering {
	g := &gathering{since: since, want: map[string]bool{}, lines: map[string][]byte{}}
	for _, c := range p.Checks {
		if c.Every <= gatherEvery {
			g.want[c.ID] = true
		}
	}
	return g
}

func (g *gathering) add(a Accepted, kinds check.Table) {
	for _, e := range a.Events {
		o := e.Observation
		if o == nil || o.State != check.Up {
			continue
		}
		k, _ := kinds.Lookup(o.Kind)
		r := typical(o, k)
		if line, err := journal.AppendLine(nil, &journal.Record{Result: &r}); err == nil {
			g.lines[o.Check] = line
			delete(g.want, o.Check)
		}
	}
}

// typical is a result as it may stand in a dictionary, which other machines get to see: with the detail only where a
// target outside of the commune is spoken of, and with no more of a check that looks at the machine itself (its state,
// its controls, its certificates) than the names of its numbers.
func typical(o *Observation, k check.Kind) check.Result {
	r := o.Result
	if k.Target == nil || o.Path == plan.LAN {
		r.Detail = ""
	}
	if k.Target != nil {
		return r
	}
	r.Facts = slices.Clone(r.Facts)
	for i := range r.Facts {
		r.Facts[i].Value = 0
	}
	return r
}

// dictionary puts the lines together, those of the checks that run most often first, as many as there is room for.
func (g *gathering) dictionary(p *plan.Plan) (b []byte) {
	checks := slices.Clone(p.Checks)
	slices.SortFunc(checks, func(a, b plan.Check) int {
		return cmp.Or(cmp.Compare(a.Every, b.Every), strings.Compare(a.ID, b.ID))
	})
	for _, c := range checks {
		if line := g.lines[c.ID]; len(b)+len(line) <= wire.MaxDictionary {
			b = append(b, line...)
		}
	}
	return b
}

// makeDictionary puts one into the log, then into use.
func (s *Server) makeDictionary(ctx context.Context, shape string, b []byte, at time.Time) {
	d := &s.dict
	d.made = slices.DeleteFunc(d.made, func(t time.Time) bool { return at.Sub(t) >= dictionaryAge })
	if len(d.made) >= maxMadeAtOnce {
		return
	}
	e, err := evidence.NewEntry(evidence.Dictionary, map[string]string{"at": at.UTC().Format(time.RFC3339), "shape": shape}, b, nil)
	var leaf int64
	if err == nil {
		leaf, err = s.opts.Evidence.Append(ctx, e)
	}
	if err != nil {
		s.opts.Logger.Warn("intake: no dictionary is made; batches are larger than they could be", "err", err)
		return
	}
	d.made = append(d.made, at)
	ref, _ := e.Leaf.Blob()
	name := hex.EncodeToString(ref.SHA256[:])
	s.mu.Lock()
	d.know(name, shape, leaf, at.UTC())
	s.mu.Unlock()
	s.opts.Logger.Info("dictionary made", "sha256", name, "bytes", len(b), "leaf", leaf)
	s.wake()
}

// offer says in an answer which dictionary the machine is to use: a SHA-256, DictionaryKeep for the one it has, if any,
// and DictionaryNone when that is not known here. used is that of the batch before; "" for none.
func (s *Server) offer(h http.Header, id, used string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.dict.leaves[used]
	value := wire.DictionaryKeep
	switch next := s.dict.shapes[s.machine(id).shape].SHA256; {
	case next != "" && next != used:
		value = next
	case used != "" && !known:
		value = wire.DictionaryNone
	}
	h.Set(wire.HeaderDictionary, value)
}

// dictionary answers the bytes of one.
func (s *Server) dictionary(w http.ResponseWriter, r *http.Request, _ enrol.Machine) {
	name := r.PathValue("sha256")
	s.mu.Lock()
	leaf, ok := s.dict.leaves[name]
	s.mu.Unlock()
	if !ok {
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeNotFound, Text: "the log has no such dictionary: go on without"})
		return
	}
	b, err := s.opts.Evidence.Blob(leaf)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(b)
}
