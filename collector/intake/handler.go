package intake

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
)

// Bounds of one call in time, from the first byte of its header.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = wire.TimeoutOfCall
	writeTimeout  = 2 * wire.TimeoutOfCall
	idleTimeout   = 20 * time.Minute // longer than the longest seal: a handshake costs as much as two batches
)

// HTTP returns the server of the agents' port, ready for ServeTLS with empty file names.
func (s *Server) HTTP() *http.Server {
	var p http.Protocols
	p.SetHTTP1(true) // one call after another is all an agent needs
	return &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         s.opts.Registrar.TLSConfig(),
		Protocols:         &p,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
	}
}

// Handler answers the agent API.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathEnrol, s.enrol)
	mux.HandleFunc("GET "+wire.PathTime, s.time)
	mux.HandleFunc("POST "+wire.PathRenew, s.known(s.renew))
	mux.HandleFunc("GET "+wire.PathPlan, s.known(s.plan))
	mux.HandleFunc(dictionaryPart, s.known(s.dictionary))
	mux.HandleFunc("POST "+wire.PathBatches, s.known(s.batches))
	mux.HandleFunc("GET "+wire.PathCheckpoint, s.known(s.checkpoint))
	mux.HandleFunc("POST "+wire.PathCheckpoint, s.known(s.shown))
	mux.HandleFunc("POST "+wire.PathPlan, s.known(s.returned))
	mux.HandleFunc("GET "+wire.PathRecovery, s.known(s.recovery))
	mux.HandleFunc("GET "+wire.PathSuccessor, s.known(s.successor))
	mux.HandleFunc("POST "+wire.PathGoodbye, s.known(s.goodbye))
	s.witnessed(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), wire.TimeoutOfCall)
		defer cancel()
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
}

// known lets enrolled machines in.
func (s *Server) known(h func(w http.ResponseWriter, r *http.Request, m enrol.Machine)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		m, err := s.opts.Registrar.Identify(r.TLS)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.with(m.ID, func(x *machine) { x.status.Contact = s.opts.Now().UTC() })
		h(w, r, m)
	}
}

func (s *Server) enrol(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	allowed := s.enrolling.allow(r.RemoteAddr, s.opts.Now())
	s.mu.Unlock()
	if !allowed {
		w.Header().Set("Retry-After", "30")
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeBusy, Text: "too many machines enrol at once: try again in half a minute"})
		return
	}
	var req wire.EnrolRequest
	err := readJSON(w, r, &req)
	if err == nil {
		var a wire.EnrolAnswer
		if a, err = s.opts.Registrar.Enrol(r.Context(), req); err == nil {
			s.reply(w, http.StatusOK, a)
			return
		}
	}
	s.fail(w, r, err)
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request, m enrol.Machine) {
	var req wire.RenewRequest
	err := readJSON(w, r, &req)
	if err == nil {
		var a wire.RenewAnswer
		if a, err = s.opts.Registrar.Renew(r.Context(), m.ID, req); err == nil {
			s.reply(w, http.StatusOK, a)
			return
		}
	}
	s.fail(w, r, err)
}

func (s *Server) time(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, wire.TimeAnswer{Time: wire.FormatTime(s.opts.Now())})
}

func (s *Server) goodbye(w http.ResponseWriter, r *http.Request, m enrol.Machine) {
	var g wire.Goodbye
	if err := readJSON(w, r, &g); err != nil {
		s.fail(w, r, err)
		return
	}
	if len(g.Cause) > 64 || strings.ContainsFunc(g.Cause, func(c rune) bool { return (c < 'a' || c > 'z') && c != '_' }) {
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeBadRequest, Text: "the cause of a goodbye is a word of a-z and _"})
		return
	}
	s.with(m.ID, func(x *machine) { x.status.Goodbye, x.status.GoodbyeCause = s.opts.Now().UTC(), g.Cause })
	s.reply(w, http.StatusOK, s.answer(m.ID, "", ""))
}

func (s *Server) plan(w http.ResponseWriter, r *http.Request, m enrol.Machine) {
	p := s.planOf(m.ID)
	if p.SHA256 == "" {
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeNotFound, Text: fmt.Sprintf("there is no plan for machine %s yet", m.ID)})
		return
	}
	w.Header().Set("ETag", `"`+p.SHA256+`"`)
	if matches(r.Header.Get("If-None-Match"), p.SHA256) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	text, err := s.planText(p)
	var signed []byte
	if err == nil {
		signed, err = s.sign(text)
	}
	if err == nil {
		err = s.prove(w.Header(), p.Leaf)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(signed)
}

// prove sets the headers that show that a leaf is in the log.
func (s *Server) prove(h http.Header, leaf int64) error {
	checkpoint := s.opts.Evidence.Checkpoint()
	size, err := checkpointSize(checkpoint)
	if err != nil {
		return err
	}
	proof, err := s.opts.Evidence.ProveLeaf(leaf, size)
	if err != nil {
		return err
	}
	l, err := s.opts.Evidence.Leaf(leaf)
	if err != nil {
		return err
	}
	h.Set(wire.HeaderLeafText, base64.StdEncoding.EncodeToString(l.Bytes()))
	h.Set(wire.HeaderLeaf, strconv.FormatInt(leaf, 10))
	h.Set(wire.HeaderProof, wire.EncodeProof(proof))
	h.Set(wire.HeaderCheckpoint, base64.StdEncoding.EncodeToString(checkpoint))
	return nil
}

// checkpointSize reads the size from a checkpoint that this collector signed.
func checkpointSize(signed []byte) (int64, error) {
	text, _, _ := strings.Cut(string(signed), "\n\n")
	_, tree, err := wire.ParseCheckpoint(text + "\n")
	return tree.N, err
}

// matches reports whether an If-None-Match names the tag (RFC 9110, section 13.1.2), quoted or bare.
func matches(header, tag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == "*" || strings.Trim(part, `"`) == tag {
			return true
		}
	}
	return false
}

func (s *Server) checkpoint(w http.ResponseWriter, r *http.Request, m enrol.Machine) {
	a := s.answer(m.ID, "", "")
	w.Header().Set(wire.HeaderDictionary, wire.DictionaryKeep)
	status, err := s.consistency(w.Header(), r, &a)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.reply(w, status, a)
}

// consistency proves, if the caller asks for it, that the tree it saw is the beginning of that of the answer. One that
// is larger than the log has the proof that the log was cut or restored: it is told so, with a conflict.
func (s *Server) consistency(h http.Header, r *http.Request, a *wire.Answer) (status int, err error) {
	q := r.URL.Query()
	if !q.Has(wire.ParamFrom) {
		return http.StatusOK, nil
	}
	size, err := checkpointSize([]byte(a.Checkpoint))
	if err != nil {
		return 0, err
	}
	old, err := strconv.ParseInt(q.Get(wire.ParamFrom), 10, 64)
	to := size
	if err == nil && q.Has(wire.ParamSize) {
		to, err = strconv.ParseInt(q.Get(wire.ParamSize), 10, 64)
	}
	if err != nil || old < 0 || to < old && q.Has(wire.ParamSize) {
		return 0, &enrol.Refusal{Code: wire.CodeBadRequest,
			Text: fmt.Sprintf("%s=%.40s and %s=%.40s are no numbers of leaves", wire.ParamFrom, q.Get(wire.ParamFrom), wire.ParamSize, q.Get(wire.ParamSize))}
	}
	if max(old, to) > size {
		s.mu.Lock()
		s.claimed = time.Now()
		s.mu.Unlock()
		a.Error = fmt.Sprintf("the log has %d leaves, not %d", size, max(old, to))
		return http.StatusConflict, nil
	}
	proof, err := s.opts.Evidence.ProveTree(old, to)
	if err != nil {
		return 0, err
	}
	h.Set(wire.HeaderProof, wire.EncodeProof([]tlog.Hash(proof)))
	return http.StatusOK, nil
}

// readJSON reads one small message.
func readJSON(w http.ResponseWriter, r *http.Request, to any) error {
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return &enrol.Refusal{Code: wire.CodeBadRequest, Text: fmt.Sprintf("Content-Encoding %.40q: send it as it is", enc)}
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, wire.MaxEnrol)).Decode(to)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return &enrol.Refusal{Code: wire.CodeTooLarge, Text: fmt.Sprintf("the request is larger than %d bytes", wire.MaxEnrol)}
	}
	if err != nil {
		return &enrol.Refusal{Code: wire.CodeBadRequest, Text: "the request is not the JSON of this call: " + err.Error()}
	}
	return nil
}

func (s *Server) reply(w http.ResponseWriter, status int, message any) {
	data, err := json.Marshal(message)
	if err != nil {
		s.opts.Logger.Error("intake: answer", "err", err)
		http.Error(w, "internal", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(data, '\n'))
}

// fail tells the caller what concerns it; anything else is logged, and called internal.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	refused := asRefusal(err)
	if refused == nil {
		s.opts.Logger.Error("intake: a call failed", "path", r.URL.Path, "err", err)
		refused = &enrol.Refusal{Code: wire.CodeInternal, Text: "the collector cannot do this now: try again later, and look into its log"}
	}
	s.reply(w, statusOf(refused.Code, err), wire.Refusal{Code: refused.Code, Error: refused.Text})
}

func statusOf(c wire.Code, err error) int {
	switch c {
	case wire.CodeTokenUnknown, wire.CodeNoIdentity:
		return http.StatusUnauthorized
	case wire.CodeTokenUsed, wire.CodeTokenExpired, wire.CodeTokenOther, wire.CodeRevoked:
		return http.StatusForbidden
	case wire.CodeBadKey, wire.CodeBadRequest:
		return http.StatusBadRequest
	case wire.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case wire.CodeBusy:
		return http.StatusTooManyRequests
	case wire.CodeNotFound:
		return http.StatusNotFound
	}
	if errors.Is(err, evidence.ErrStopped) || errors.Is(err, evidence.ErrClosed) || errors.Is(err, evidence.ErrOvertaken) {
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
