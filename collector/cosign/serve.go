package cosign

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

// PathAdd is where a witness is brought checkpoints (C2SP tlog-witness).
const PathAdd = "/add-checkpoint"

const (
	maxAdd       = wire.MaxAnswer
	maxAddProof  = 63 // hashes, by the specification
	headerWithin = 10 * time.Second
)

// Server returns the server of a witness that is brought checkpoints, as C2SP tlog-witness has it: POST add-checkpoint with
// the size that the witness signed last, the proof from it, and the checkpoint; it answers the signature's line.
func (w *Witness) Server() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+PathAdd, w.add)
	return &http.Server{Handler: mux, ReadHeaderTimeout: headerWithin, ReadTimeout: wire.TimeoutOfCall, WriteTimeout: wire.TimeoutOfCall, MaxHeaderBytes: 8 << 10}
}

func (w *Witness) add(rw http.ResponseWriter, r *http.Request) {
	body, err := wire.ReadAll(http.MaxBytesReader(rw, r.Body, maxAdd+1), maxAdd)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	old, proof, msg, err := parseAdd(string(body))
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	c, err := w.Sign(msg, old, proof)
	stale, isStale := errors.AsType[*StaleError](err)
	switch {
	case err == nil:
		_, _ = fmt.Fprint(rw, c.Line)
	case isStale:
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprintf(rw, "%d\n", stale.Size)
	case errors.Is(err, ErrUnknownLog):
		http.Error(rw, err.Error(), http.StatusNotFound)
	case errors.Is(err, errUnproven):
		http.Error(rw, err.Error(), http.StatusUnprocessableEntity)
	case errors.Is(err, ErrSplit):
		http.Error(rw, err.Error(), http.StatusConflict)
	default:
		http.Error(rw, err.Error(), http.StatusForbidden)
	}
}

// parseAdd reads the body of add-checkpoint: "old N", the proof's hashes in base64, a line each, an empty line, the note.
func parseAdd(body string) (old int64, proof tlog.TreeProof, msg []byte, err error) {
	head, note, ok := strings.Cut(body, "\n\n")
	lines := strings.Split(head, "\n")
	size, ok2 := strings.CutPrefix(lines[0], "old ")
	if !ok || !ok2 || len(lines) > 1+maxAddProof {
		return 0, nil, nil, fmt.Errorf("want a line \"old SIZE\", at most %d hashes, an empty line and the checkpoint", maxAddProof)
	}
	if old, err = strconv.ParseInt(size, 10, 64); err != nil || old < 0 || strconv.FormatInt(old, 10) != size {
		return 0, nil, nil, fmt.Errorf("size %.40q is no number of leaves", size)
	}
	for i, line := range lines[1:] {
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(h) != tlog.HashSize {
			return 0, nil, nil, fmt.Errorf("hash %d of the proof, %.60q, is not a SHA-256 in base64", i+1, line)
		}
		proof = append(proof, tlog.Hash(h))
	}
	return old, proof, []byte(note), nil
}
