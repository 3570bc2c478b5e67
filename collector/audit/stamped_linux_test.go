package audit

import (
	"bytes"
	"crypto/x509"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check/signature"
	"egovmon/agent/words"
	"egovmon/collector/evidence"
	"egovmon/collector/stamp"
	"egovmon/deploy/lab/servers"
)

// An authority stamps with OpenSSL at the time that it is told.
type authority struct {
	t     *testing.T
	tsa   *servers.TSA
	roots []*x509.Certificate
	file  string // of the roots
	at    time.Time
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	if err := servers.Require("openssl", "faketime"); err != nil {
		t.Skip(err)
	}
	a := &authority{t: t}
	pki, err := servers.NewPKI(t.TempDir(), servers.PKIConfig{Now: start.AddDate(0, -1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	a.file = pki.Roots
	if a.tsa, err = servers.StartTSA(t.Context(), servers.Loopback(t.TempDir(), netip.MustParseAddr("127.0.0.1"), nil), servers.TSAConfig{PKI: pki, Now: func() time.Time { return a.at }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.tsa.Stop() })
	text, err := os.ReadFile(pki.Roots)
	if err != nil {
		t.Fatal(err)
	}
	if a.roots, err = stamp.ParseRoots(text); err != nil {
		t.Fatal(err)
	}
	return a
}

// over returns a token over a tree of the world's log.
func (a *authority) over(tree tlog.Tree, at time.Time) []byte {
	a.t.Helper()
	a.at = at
	req, _, err := signature.StampRequest(stamp.Digest("egovmon/d/log/1", tree))
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := http.Post(a.tsa.URL(), "application/timestamp-query", bytes.NewReader(req))
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	token, err := signature.StampToken(answer)
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

// stampNow puts a token into the log, by the collector's clock at the instant clock.
func (w *world) stampNow(a *authority, at, clock time.Time, change func(l *stamp.Leaf, token []byte)) int64 {
	w.t.Helper()
	l := stamp.Leaf{Origin: "egovmon/d/log/1", Size: w.store.Size(), At: clock}
	token := a.over(w.store.Tree(), at)
	if change != nil {
		change(&l, token)
	}
	e, err := l.Entry(token)
	if err == nil {
		l.Index, err = w.store.Append(w.t.Context(), e)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return l.Index
}

func (w *world) verifyRooted(roots []*x509.Certificate) Result {
	w.t.Helper()
	o := w.options()
	o.Trust.Roots = roots
	r, err := Verify(w.t.Context(), w.export(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// TestStampedLog proves time stamps of a real authority, with its root and without.
func TestStampedLog(t *testing.T) {
	a := newAuthority(t)
	w := new(world).build(t)
	at := start.Add(3 * time.Hour)
	w.stampNow(a, at, at.Add(2*time.Second), nil)
	w.stampNow(a, at.Add(time.Hour), at.Add(time.Hour), nil)
	r := w.verifyRooted(a.roots)
	if !r.OK() || r.Stamping.Stamps != 2 || r.Stamping.Rooted != 2 || r.Stamping.Size != w.store.Size()-1 || r.Stamping.At.Sub(at.Add(time.Hour)).Abs() > time.Minute {
		t.Errorf("%+v %.400v", r.Stamping, r.Findings)
	}
	var b strings.Builder
	if err := r.Write(&b, words.EN); err != nil || !strings.Contains(b.String(), "that lead to the roots given: 2") {
		t.Errorf("%v\n%s", err, b.String())
	}
	b.Reset()
	if r = w.verifyRooted(nil); !r.OK() || r.Stamping.Stamps != 2 || r.Stamping.Rooted != 0 {
		t.Errorf("without roots: %+v %.400v", r.Stamping, r.Findings)
	}
	if err := r.Write(&b, words.VI); err != nil || !strings.Contains(b.String(), "chưa chứng minh được là của ai") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// TestStampAttacks is what an operator with the collector's key may try with time stamps.
func TestStampAttacks(t *testing.T) {
	a := newAuthority(t)
	stamped := start.Add(3 * time.Hour)
	for _, c := range []struct {
		name string
		w    world
		do   func(w *world)
		code Code
		what string
	}{
		{"a token over another log", world{}, func(w *world) {
			w.stampNow(a, stamped, stamped, func(l *stamp.Leaf, _ []byte) { l.Size-- })
		}, BadStamp, "other data"},
		{"a token that was changed", world{}, func(w *world) {
			w.stampNow(a, stamped, stamped, func(_ *stamp.Leaf, token []byte) { token[len(token)-3] ^= 0xff })
		}, BadStamp, "it is no time stamp"},
		{"leaves that are not there yet", world{}, func(w *world) {
			w.stampNow(a, stamped, stamped, func(l *stamp.Leaf, _ []byte) { l.Size += 9 })
		}, BadStamp, "there were"},
		{"a token of another log", world{}, func(w *world) {
			w.stampNow(a, stamped, stamped, func(l *stamp.Leaf, _ []byte) { l.Origin = "egovmon/x/log/1" })
		}, BadStamp, "it is of a log"},
		{"the clock was ahead of the stamp", world{before: func(w *world) {
			for range 300 {
				w.append(evidence.Rule, map[string]string{"name": "votes/1"}, nil, nil)
			}
		}}, func(w *world) {
			for range 300 {
				w.append(evidence.Rule, map[string]string{"name": "votes/1"}, nil, nil)
			}
			w.stampNow(a, start.Add(-time.Hour), stamped, nil)
		}, BadTime, "its clock was ahead"},
		{"the clock was set back behind a stamp", world{before: func(w *world) { w.stampNow(a, start.Add(30*time.Minute), start.Add(-time.Minute), nil) }}, func(*world) {}, BadTime, "the clock was set back"},
		{"the stamps were taken out", world{}, func(*world) {}, BadStamp, "taken out"},
		{"no token at all", world{}, func(w *world) {
			w.append(evidence.Stamp, map[string]string{"at": "2026-11-23T11:00:00Z", "origin": "egovmon/d/log/1", "size": "3"}, []byte("no token"), nil)
		}, BadStamp, "it is no time stamp"},
	} {
		w := &c.w
		w.build(t)
		c.do(w)
		t.Run(c.name, func(t *testing.T) { found(t, w.verifyRooted(a.roots), c.code, -2, c.what) })
	}
	// An authority of one's own making.
	w := new(world).build(t)
	leaf := w.stampNow(newAuthority(t), stamped, stamped, nil)
	found(t, w.verifyRooted(a.roots), BadStamp, leaf, "leads to none of the roots")
	// The trust file has roots, too.
	text, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := ParseTrust(append([]byte(TrustVersion+"\n"), text...))
	if err != nil || len(trust.Roots) != len(a.roots) {
		t.Errorf("%d roots, %v", len(trust.Roots), err)
	}
}
