package intake

import (
	"maps"
	"slices"
	"strings"
	"time"

	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

// A Status is how one machine gets on with the collector, for people and metrics.
type Status struct {
	Machine  string    `json:"machine"`
	Unit     string    `json:"unit"`
	Contact  time.Time `json:"contact,omitzero"`  // its last call of any kind
	Received time.Time `json:"received,omitzero"` // of the batch that was archived last
	Head     wire.Head `json:"-"`                 // that batch
	// Clock is what the last batch said of the machine's clock; nil while it was never measured.
	Clock   *journal.Clock `json:"clock,omitempty"`
	Build   string         `json:"build,omitempty"`   // the program's version, as it began last
	Applied string         `json:"applied,omitempty"` // SHA-256 of the plan it follows
	Plan    string         `json:"-"`                 // SHA-256 of the plan it is to follow; "" for none
	// Rejected counts results of archived batches that enter no figure, by the words of judge.go.
	Rejected map[string]int64 `json:"rejected,omitempty"`
	// Refused counts batches that were not the machine's next ones, and calls beyond its quota, by the words below.
	Refused map[string]int64 `json:"refused,omitempty"`
	// Cloned is since when two machines have used the identity; zero once one of them has enrolled again.
	Cloned time.Time `json:"cloned,omitzero"`
	// Goodbye is when it last said that it stops, GoodbyeCause why; zero once it has come back.
	Goodbye      time.Time `json:"goodbye,omitzero"`
	GoodbyeCause string    `json:"goodbye_cause,omitempty"`
}

// Why something was not taken in: the words of [Status.Refused].
const (
	RefusedFork      = "fork"      // another batch stands in its place
	RefusedGap       = "gap"       // batches before it are missing
	RefusedOld       = "old"       // long archived, or another in place of one that was
	RefusedSignature = "signature" // not signed by the machine that the certificate is for
	RefusedBody      = "body"      // not the body that was signed
	RefusedSize      = "size"      // larger than the agent API allows
	RefusedFrame     = "frame"     // the request cannot be read
	// RefusedDictionary: compressed with a dictionary that the log does not have, as after the restore of an older one.
	RefusedDictionary = "dictionary"
	RefusedQuota      = "quota" // too much, or too many at once
)

// Status lists every machine that has an identity, a plan or a batch, by id.
func (s *Server) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, 0, len(s.machines))
	for _, m := range s.machines {
		st := m.status
		st.Rejected, st.Refused = maps.Clone(st.Rejected), maps.Clone(st.Refused)
		st.Head, st.Plan = m.heads.held(""), m.plan.SHA256
		if id, ok := s.opts.Registrar.Machine(st.Machine); ok {
			st.Unit = id.Unit
			if id.Enrolled.After(st.Cloned) {
				st.Cloned = time.Time{}
			}
		}
		all = append(all, st)
	}
	for _, id := range s.opts.Registrar.Machines() {
		if s.machines[id.ID] == nil {
			all = append(all, Status{Machine: id.ID, Unit: id.Unit})
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Machine, b.Machine) })
	return all
}

// judged notes what the fold says of a batch.
func (s *Server) judged(a Accepted) {
	s.with(a.Machine, func(m *machine) {
		st := &m.status
		st.Clock = a.Header.Clock
		for why, n := range a.Rejected {
			count(&st.Rejected, why, n)
		}
		for _, e := range a.Events {
			switch {
			case e.Begin != nil:
				st.Build = e.Begin.Build
			case e.Cloned != nil:
				s.cloned(st, *e.Cloned)
			case e.Plan != nil:
				st.Applied = e.Plan.Plan.Hash()
			}
		}
	})
}

// cloned says of a machine that it is two, or one again.
func (s *Server) cloned(st *Status, c Cloned) {
	if !c.To.IsZero() {
		st.Cloned = time.Time{}
		return
	}
	st.Cloned = c.From
	s.opts.Logger.Error("intake: two machines use one identity, as a copied disk makes them: nothing they send is a figure until one of them enrols again with a new token",
		"machine", st.Machine, "since", c.From)
}

func (s *Server) refused(id, why string) {
	s.with(id, func(m *machine) { count(&m.status.Refused, why, 1) })
}

func count(c *map[string]int64, why string, n int) {
	if *c == nil {
		*c = map[string]int64{}
	}
	(*c)[why] += int64(n)
}
