package intake

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

// checkPlan does what an agent does with the answer to GET plan.
func checkPlan(t *testing.T, a *agent, h http.Header, body, want []byte) {
	t.Helper()
	v, err := a.id.PlanVerifier()
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(body, note.VerifierList(v))
	if err != nil || n.Text != string(want) {
		t.Fatalf("plan %q: %v", body, err)
	}
	signed, err := base64.StdEncoding.DecodeString(h.Get(wire.HeaderCheckpoint))
	if err != nil {
		t.Fatal(err)
	}
	lv, err := a.id.LogVerifier()
	if err != nil {
		t.Fatal(err)
	}
	cp, err := note.Open(signed, note.VerifierList(lv))
	if err != nil {
		t.Fatal(err)
	}
	_, tree, err := wire.ParseCheckpoint(cp.Text)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := wire.DecodeProof(h.Get(wire.HeaderProof))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := strconv.ParseInt(h.Get(wire.HeaderLeaf), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(h.Get(wire.HeaderLeafText))
	if err != nil || !strings.Contains(string(text), "\nmachine "+a.id.Machine+"\n") {
		t.Fatalf("leaf %q: %v", text, err)
	}
	if !strings.Contains(string(text), "\nat 2026-11-23T") {
		t.Errorf("the leaf does not say when the plan was recorded: %q", text)
	}
	record := tlog.RecordHash(text)
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, leaf, record); err != nil {
		t.Errorf("the plan is not proved to be in the log: %v", err)
	}
}

func TestPlan(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	if res, body := a.call(t, http.MethodGet, wire.PathPlan, nil); res.StatusCode != http.StatusNotFound {
		t.Fatalf("no plan yet: %s %s", res.Status, body)
	}
	text := planText(a.id.Machine, 3, "60s")
	size := c.log.Size()
	for range 2 {
		if err := c.SetPlan(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if c.log.Size() != size+1 {
		t.Errorf("%d leaves for one plan", c.log.Size()-size)
	}
	for name, bad := range map[string][]byte{
		"an older version": planText(a.id.Machine, 2, "30s"),
		"the same version": planText(a.id.Machine, 3, "30s"),
		"no machine":       []byte(strings.Replace(string(text), "for: "+a.id.Machine+"\n", "", 1)),
		"no plan":          []byte("checks: 1\n"),
		"no last newline":  []byte(strings.TrimSuffix(string(planText(a.id.Machine, 9, "30s")), "\n")),
	} {
		if err := c.SetPlan(t.Context(), bad); err == nil {
			t.Errorf("%s is in force", name)
		}
	}
	if c.log.Size() != size+1 {
		t.Error("a refused plan left a leaf")
	}
	res, body := a.call(t, http.MethodGet, wire.PathPlan, nil)
	checkPlan(t, a, res.Header, body, text)
	etag := res.Header.Get("ETag")
	if _, ans := a.push(t, a.seal(t, begin(start))); `"`+ans.Plan+`"` != etag {
		t.Errorf("the answer to batches names plan %s, its ETag is %s", ans.Plan, etag)
	}
	for _, tag := range []string{etag, strings.Trim(etag, `"`), `"x", ` + etag, "W/" + etag} {
		if res, _ := a.call(t, http.MethodGet, wire.PathPlan, nil, "If-None-Match", tag); res.StatusCode != http.StatusNotModified {
			t.Errorf("If-None-Match %s: %s", tag, res.Status)
		}
	}
	next := planText(a.id.Machine, 4, "30s")
	if err := c.SetPlan(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	res, body = a.call(t, http.MethodGet, wire.PathPlan, nil, "If-None-Match", etag)
	checkPlan(t, a, res.Header, body, next)
}

func TestCheckpoint(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	old := c.log.Tree()
	a.push(t, a.seal(t, a.opening(t)...))
	res, body := a.call(t, http.MethodGet, wire.PathCheckpoint+"?from="+strconv.FormatInt(old.N, 10), nil)
	ans, err := wire.DecodeAnswer(strings.NewReader(string(body)))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res.Status, err)
	}
	proof, err := wire.DecodeProof(res.Header.Get(wire.HeaderProof))
	if err != nil {
		t.Fatal(err)
	}
	now := c.log.Tree()
	if err := tlog.CheckTree(proof, now.N, now.Hash, old.N, old.Hash); err != nil || !strings.Contains(ans.Checkpoint, now.Hash.String()) {
		t.Errorf("proof from %d to %d: %v", old.N, now.N, err)
	}
	for q, want := range map[string]int{"?from=99999": http.StatusConflict, "?from=-1": http.StatusBadRequest, "?from=2&size=1": http.StatusBadRequest, "?from=1&size=99999": http.StatusConflict, "?from=1&size=2": http.StatusOK, "?from=x": http.StatusBadRequest, "": http.StatusOK, "?from=0": http.StatusOK} {
		if res, body := a.call(t, http.MethodGet, wire.PathCheckpoint+q, nil); res.StatusCode != want {
			t.Errorf("%s: %s %s", q, res.Status, body)
		}
	}
}

func TestGoodbyeAndTime(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	if res, _ := a.call(t, http.MethodPost, wire.PathGoodbye, []byte(`{"cause":"shutdown"}`)); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	if res, _ := a.call(t, http.MethodPost, wire.PathGoodbye, []byte(`{"cause":"<script>"}`)); res.StatusCode != http.StatusBadRequest {
		t.Fatal(res.Status)
	}
	st := c.Status()
	if len(st) != 1 || st[0].GoodbyeCause != "shutdown" || st[0].Goodbye.IsZero() || st[0].Unit != "an-thanh" || st[0].Contact.IsZero() {
		t.Errorf("status %+v", st)
	}
	a.push(t, a.seal(t, begin(start)))
	if st := c.Status(); !st[0].Goodbye.IsZero() || st[0].Head.Seq != 1 {
		t.Errorf("status after it came back: %+v", st)
	}
	// The time is told to a machine whose own clock is wrong, when it asks by key.
	tr := &http.Transport{TLSClientConfig: a.id.TLSConfigByKey()}
	defer tr.CloseIdleConnections()
	a.client = &http.Client{Transport: tr}
	res, body := a.call(t, http.MethodGet, wire.PathTime, nil)
	if res.StatusCode != http.StatusOK || !strings.Contains(string(body), start.Format(time.RFC3339)[:19]) {
		t.Errorf("time: %s %s", res.Status, body)
	}
}
