package intake

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
	"egovmon/collector/cosign"
)

// signs is a Cosigning that says what a test wants.
type signs struct {
	asked string
	err   error
	took  []string
}

func (s *signs) Asked(machine string) string { return strings.ReplaceAll(s.asked, "MACHINE", machine) }

func (s *signs) TakeMachine(machine string, msg []byte) error {
	s.took = append(s.took, machine+": "+string(msg))
	return s.err
}

func (s *signs) TakeWitness(msg []byte) error { return s.TakeMachine("witness", msg) }

func (s *signs) Published() []byte { return nil }

// Who has no certificate reads the checkpoint and proofs of the log, and can neither stop it nor make it wait.
func TestWitnessedLog(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	a.push(t, a.seal(t, a.opening(t)...))
	size := c.log.Size()
	h := c.Server.Handler()
	call := func(method, path string, body []byte) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(body)))
		return w
	}
	if w := call(http.MethodGet, wire.PathLogCheckpoint, nil); w.Code != http.StatusOK || w.Body.String() != string(c.log.Checkpoint()) {
		t.Fatalf("the checkpoint: %d %s", w.Code, w.Body)
	}
	w := call(http.MethodGet, wire.PathLogCheckpoint+"?from=2", nil)
	proof, err := wire.DecodeProof(w.Header().Get(wire.HeaderProof))
	old, err2 := c.log.TreeAt(2)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if now := c.log.Tree(); tlog.CheckTree(proof, now.N, now.Hash, old.N, old.Hash) != nil {
		t.Errorf("no proof from 2 to %d leaves: %d", now.N, w.Code)
	}
	for _, q := range []string{fmt.Sprint("?from=", size+1), "?from=-1", "?from=x", "?from=3&size=2", fmt.Sprint("?from=1&size=", size+1), "?from=1&size=x"} {
		if w := call(http.MethodGet, wire.PathLogCheckpoint+q, nil); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", q, w.Code, w.Body)
		}
	}
	if !c.Claimed().IsZero() {
		t.Error("a stranger is believed to have seen more of the log than there is")
	}
	for name, x := range map[string]struct {
		path string
		body []byte
		want int
	}{
		"its own checkpoint":        {wire.PathLogCheckpoint, c.log.Checkpoint(), http.StatusOK},
		"what is no checkpoint":     {wire.PathLogCheckpoint, []byte("hello"), http.StatusBadRequest},
		"an endless checkpoint":     {wire.PathLogCheckpoint, make([]byte, wire.MaxAnswer+1), http.StatusRequestEntityTooLarge},
		"nothing is cosigned here":  {wire.PathLogCosignature, []byte("x"), http.StatusNotFound},
		"a machine without a paper": {wire.PathCosign, []byte("x"), http.StatusUnauthorized},
	} {
		if w := call(http.MethodPost, x.path, x.body); w.Code != x.want {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if _, over := c.log.Overtaken(); over || c.log.Size() != size {
		t.Error("a stranger has changed the log")
	}
	flood := 0
	for range 10 * witnessCalls {
		if w := call(http.MethodGet, wire.PathLogCheckpoint, nil); w.Code == http.StatusTooManyRequests {
			flood++
		}
	}
	if flood == 0 {
		t.Error("any number of calls is answered")
	}
}

// A machine is asked for its cosignature with every answer, and what it brings is taken as its own alone.
func TestCosigning(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	s := &signs{asked: "for MACHINE"}
	c.Server.opts.Cosigning = s
	if _, ans := a.push(t, a.seal(t, a.opening(t)...)); ans.Cosign != "for "+a.id.Machine {
		t.Errorf("the answer asks for %q", ans.Cosign)
	}
	for _, x := range []struct {
		err  error
		want int
	}{
		{nil, http.StatusOK},
		{fmt.Errorf("x: %w", cosign.ErrForeign), http.StatusBadRequest},
		{errors.New("no note"), http.StatusBadRequest},
		{fmt.Errorf("x: %w", cosign.ErrSplit), http.StatusConflict},
	} {
		s.err = x.err
		if res, body := a.call(t, http.MethodPost, wire.PathCosign, []byte("signed")); res.StatusCode != x.want {
			t.Errorf("%v: %s %s", x.err, res.Status, body)
		}
	}
	if len(s.took) != 4 || s.took[0] != a.id.Machine+": signed" {
		t.Errorf("taken: %q", s.took)
	}
	if c.Contradictions() != 1 {
		t.Errorf("%d contradictions, want that of two histories", c.Contradictions())
	}
	if res, _ := a.call(t, http.MethodPost, wire.PathCosign, make([]byte, wire.MaxAnswer+1)); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("an endless cosignature: %s", res.Status)
	}
}
