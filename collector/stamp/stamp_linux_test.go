package stamp

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check/signature"
	"egovmon/collector/evidence"
	"egovmon/deploy/lab/servers"
)

// opened is a log with one leaf.
func opened(t testing.TB) *evidence.Store {
	t.Helper()
	private, public, err := note.GenerateKey(nil, "egovmon/d/log/1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	s, err := evidence.Open(evidence.Options{Dir: t.TempDir(), Origin: v.Name(), Signer: signer, Verifier: v})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	add(t, s)
	return s
}

func add(t testing.TB, s *evidence.Store) {
	t.Helper()
	e, err := evidence.NewEntry(evidence.Rule, map[string]string{"name": "votes/1"}, nil, nil)
	if err == nil {
		_, err = s.Append(t.Context(), e)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRealAuthority has OpenSSL stamp a log.
func TestRealAuthority(t *testing.T) {
	if err := servers.Require("openssl", "faketime"); err != nil {
		t.Skip(err)
	}
	now := time.Now()
	pki, err := servers.NewPKI(t.TempDir(), servers.PKIConfig{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	tsa, err := servers.StartTSA(t.Context(), servers.Loopback(t.TempDir(), netip.MustParseAddr("127.0.0.1"), nil), servers.TSAConfig{PKI: pki})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tsa.Stop() })
	log := opened(t)
	clock := now
	s, err := Open(Options{Config: Config{URL: tsa.URL(), Roots: pki.Roots}, Log: log, Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	if wait, err := s.Due(); err != nil || wait > 0 {
		t.Fatalf("a log without a stamp is due in %s, %v", wait, err)
	}
	if err := s.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	token, err := log.Blob(1)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := log.TreeAt(1)
	if err != nil {
		t.Fatal(err)
	}
	st, err := signature.ReadStamp(token, Digest(log.Origin(), tree), nil, s.roots)
	if err != nil || !st.Rooted || st.At.Sub(now).Abs() > time.Hour || !strings.Contains(st.Authority, "TSA") {
		t.Errorf("%+v, %v", st, err)
	}
	other := tree
	other.Hash[0] ^= 1
	if _, err := signature.ReadStamp(token, Digest(log.Origin(), other), nil, s.roots); err == nil {
		t.Error("it is taken for one over another tree")
	}
	if st, err := signature.ReadStamp(token, Digest(log.Origin(), tree), nil, nil); err != nil || st.Rooted {
		t.Errorf("without roots: %+v, %v", st, err)
	}
	if wait, err := s.Due(); err != nil || wait > Every || wait < Every-time.Second {
		t.Errorf("the next is due in %s, %v", wait, err)
	}
	clock = clock.Add(25 * time.Hour)
	if wait, err := s.Due(); err != nil || wait > 0 {
		t.Errorf("a day later it is due in %s, %v", wait, err)
	}

	// The authority's clock is hours off: the stamp counts, and people are told of the clock.
	if err := tsa.WrongClock(3 * time.Hour); err != nil {
		t.Fatal(err)
	}
	clock = time.Now()
	if err := s.Once(t.Context()); err != nil || s.Status().Off.Abs() < FarOff {
		t.Errorf("off by %s, %v", s.Status().Off, err)
	}

	// A Stamper that starts anew knows of the last one from the log.
	again, err := Open(Options{Config: s.o.Config, Log: log, Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	if wait, err := again.Due(); err != nil || wait < Every-time.Hour {
		t.Errorf("after a restart it is due in %s, %v", wait, err)
	}

	// Roots of another authority.
	foreign, err := servers.NewPKI(t.TempDir(), servers.PKIConfig{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	size := log.Size()
	if s, err = Open(Options{Config: Config{URL: tsa.URL(), Roots: foreign.Roots}, Log: log, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	if err := s.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "does not lead to a root") || log.Size() != size {
		t.Errorf("under other roots: %v, %d leaves", err, log.Size())
	}
	// An answer to another request: the one over the log as it was.
	answer, err := os.ReadFile(saved(t, tsa.URL(), log))
	if err != nil {
		t.Fatal(err)
	}
	replay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }))
	defer replay.Close()
	if s, err = Open(Options{Config: Config{URL: replay.URL, Roots: pki.Roots}, Log: log, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	if err := s.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "nonce") {
		t.Errorf("an answer that was kept: %v", err)
	}
}

// saved keeps an answer over the state that the log has.
func saved(t *testing.T, url string, log *evidence.Store) string {
	t.Helper()
	req, _, err := signature.StampRequest(Digest(log.Origin(), log.Tree()))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url, "application/timestamp-query", strings.NewReader(string(req)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	path := filepath.Join(t.TempDir(), "answer")
	if err = errors.Join(err, os.WriteFile(path, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}
