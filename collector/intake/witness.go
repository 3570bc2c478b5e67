package intake

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/time/rate"

	"egovmon/agent/wire"
	"egovmon/collector/cosign"
	"egovmon/collector/enrol"
)

// A Cosigning gathers cosignatures; *cosign.Gatherer is one.
type Cosigning interface {
	// Asked returns the checkpoint that a machine is to cosign; "" for none.
	Asked(machine string) string
	TakeMachine(machine string, msg []byte) error
	TakeWitness(msg []byte) error
	// Published returns the checkpoint that witnesses are to sign, with the cosignatures that it has; nil for none.
	Published() []byte
}

// witnessCalls are how many calls a second those without a certificate have, all together.
const witnessCalls = 20

// witnessed adds the paths of those who witness the log. The checkpoint is no secret, and what is brought is signed.
func (s *Server) witnessed(mux *http.ServeMux) {
	mux.HandleFunc("POST "+wire.PathCosign, s.known(s.cosigned))
	calls := rate.NewLimiter(witnessCalls, 2*witnessCalls)
	open := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !calls.Allow() {
				w.Header().Set("Retry-After", "5")
				s.fail(w, r, &enrol.Refusal{Code: wire.CodeBusy, Text: "too many calls at once: try again in a few seconds"})
				return
			}
			h(w, r)
		}
	}
	mux.HandleFunc("GET "+wire.PathLogCheckpoint, open(s.publish))
	mux.HandleFunc("POST "+wire.PathLogCheckpoint, open(func(w http.ResponseWriter, r *http.Request) { s.shown(w, r, enrol.Machine{ID: "-"}) }))
	mux.HandleFunc("POST "+wire.PathLogCosignature, open(s.witness))
}

// publish answers the checkpoint that witnesses are to sign, and the proof that they ask for.
func (s *Server) publish(w http.ResponseWriter, r *http.Request) {
	var msg []byte
	if s.opts.Cosigning != nil {
		msg = s.opts.Cosigning.Published()
	}
	if msg == nil {
		msg = s.opts.Evidence.Checkpoint()
	}
	size, err := checkpointSize(msg)
	if err == nil {
		err = s.continued(w.Header(), r, size)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(msg)
}

// continued proves, if the caller asks for it, that the tree it names is the beginning of that of size leaves, or of the
// other one that it names. Trees that the log does not have are a bad request: who asks is not believed to have seen them.
func (s *Server) continued(h http.Header, r *http.Request, size int64) error {
	q := r.URL.Query()
	if !q.Has(wire.ParamFrom) {
		return nil
	}
	from, err := strconv.ParseInt(q.Get(wire.ParamFrom), 10, 64)
	if err == nil && q.Has(wire.ParamSize) {
		size, err = strconv.ParseInt(q.Get(wire.ParamSize), 10, 64)
	}
	if err != nil || from < 0 || size < 0 || max(from, size) > s.opts.Evidence.Size() || from > size && q.Has(wire.ParamSize) {
		return &enrol.Refusal{Code: wire.CodeBadRequest, Text: fmt.Sprintf("%s=%.40s and %s=%.40s are no numbers of leaves of a log with %d",
			wire.ParamFrom, q.Get(wire.ParamFrom), wire.ParamSize, q.Get(wire.ParamSize), s.opts.Evidence.Size())}
	}
	if from > size {
		return nil // an older one is published than the caller has: it asks for the proof between the two
	}
	proof, err := s.opts.Evidence.ProveTree(from, size)
	if err == nil {
		h.Set(wire.HeaderProof, wire.EncodeProof([]tlog.Hash(proof)))
	}
	return err
}

// cosigned takes the cosignature of a machine.
func (s *Server) cosigned(w http.ResponseWriter, r *http.Request, m enrol.Machine) {
	s.takeCosignature(w, r, func(msg []byte) error { return s.opts.Cosigning.TakeMachine(m.ID, msg) })
}

// witness takes the cosignature of a witness elsewhere, who is known by it alone.
func (s *Server) witness(w http.ResponseWriter, r *http.Request) {
	s.takeCosignature(w, r, func(msg []byte) error { return s.opts.Cosigning.TakeWitness(msg) })
}

func (s *Server) takeCosignature(w http.ResponseWriter, r *http.Request, take func(msg []byte) error) {
	if s.opts.Cosigning == nil {
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeNotFound, Text: "nothing is cosigned here"})
		return
	}
	msg, err := wire.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxAnswer+1), wire.MaxAnswer)
	if err != nil {
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeTooLarge, Text: fmt.Sprintf("a checkpoint has at most %d bytes", wire.MaxAnswer)})
		return
	}
	switch err := take(msg); {
	case err == nil:
		s.reply(w, http.StatusOK, struct{}{})
	case errors.Is(err, cosign.ErrSplit):
		s.contradictions.Add(1)
		s.reply(w, http.StatusConflict, wire.Refusal{Code: wire.CodeBadRequest, Error: err.Error()})
	case errors.Is(err, cosign.ErrForeign):
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeBadKey, Text: err.Error()})
	default:
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeBadRequest, Text: err.Error()})
	}
}
