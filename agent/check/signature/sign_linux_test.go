package signature

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/token/tokentest"
	"egovmon/deploy/lab/servers"
)

// helper is the path of egovmon-token, which is built when the first test asks for it.
func helper() (string, error) { return tokentest.Build() }

// A signLab is everything that a signature needs: an authority with its responder and lists, time stamps, and an officer's key.
type signLab struct {
	t       *testing.T
	pki     *servers.PKI
	place   servers.Place
	revoked *servers.Revocation
	tsa     *servers.TSA
	officer *servers.Identity
	secrets map[string]string
	find    func() (string, error)
	marks   *fakeMarks
	tokens  fakeTokens
	name    string // of the check, when it is another
	proven  func() bool
	now     func() time.Time
	dueAt   string // a run's time is up as soon as this file is there; "" for never
}

// fakeTokens are the notes on tokens, in memory, which every check of a lab shares.
type fakeTokens map[string]*fakeToken

func (m fakeTokens) of(name string) check.SharedNotes {
	if m[name] == nil {
		m[name] = &fakeToken{hold: make(chan struct{}, 1)}
	}
	return m[name]
}

type fakeToken struct {
	pin  []byte
	hold chan struct{}
	err  error
}

func (m *fakeToken) Fault() error { return m.err }

func (m *fakeToken) Note(string) []byte         { return m.pin }
func (m *fakeToken) Keep(_ string, text []byte) { m.pin = text }
func (m *fakeToken) Hold(ctx context.Context) (func(), error) {
	select {
	case m.hold <- struct{}{}:
		return func() { <-m.hold }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fakeMarks keep a mark in memory.
type fakeMarks struct {
	text   []byte
	stored int
	err    error
}

func (m *fakeMarks) Load() ([]byte, error) { return m.text, m.err }

func (m *fakeMarks) Store(text []byte) error {
	if m.err == nil {
		m.text = text
		m.stored++
	}
	return m.err
}

func newSignLab(t *testing.T) *signLab {
	t.Helper()
	l := &signLab{t: t, find: tokentest.Build, marks: &fakeMarks{}, tokens: fakeTokens{}, now: time.Now}
	tokentest.Helper(t)
	l.revoked, l.pki, l.officer, _ = labRevocation(t)
	l.place = servers.Loopback(t.TempDir(), netip.MustParseAddr("127.0.0.1"), nil)
	var err error
	if l.tsa, err = servers.StartTSA(t.Context(), l.place, servers.TSAConfig{PKI: l.pki}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { done(t, l.tsa.Stop()) })
	key, err := os.ReadFile(l.officer.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	l.secrets = map[string]string{"key": string(key)}
	return l
}

// options are those of a signature with the officer's key, with these over them; nil takes one away.
func (l *signLab) options(more check.Options) check.Options {
	o := check.Options{"key": "key", "certificate": l.officer.CertFile, "tsa": l.tsa.URL(), "roots": l.pki.Roots}
	for k, v := range more {
		o[k] = v
		if v == nil {
			delete(o, k)
		}
	}
	return o
}

func (l *signLab) secret(name string) (string, error) {
	if s, ok := l.secrets[name]; ok {
		return s, nil
	}
	return "", os.ErrNotExist
}

// check makes a check with these options.
func (l *signLab) check(more check.Options) *signCheck {
	l.t.Helper()
	c, err := newSignCheck(checktest.WithDefaults(l.t, signKind(), l.options(more)), checktest.WithEnv(check.Env{Check: cmp.Or(l.name, "ky_so.sign"), Now: l.now, Secret: l.secret, ClockProven: l.proven, Shared: l.tokens.of}))
	if err != nil {
		l.t.Fatal(err)
	}
	c.find = l.find
	if l.marks != nil {
		c.marks = l.marks
	}
	return c
}

func (l *signLab) run(more check.Options) check.Result {
	l.t.Helper()
	c := l.check(more)
	ctx := l.t.Context()
	if l.dueAt != "" {
		ctx = dueOnce(ctx, l.dueAt)
	}
	r := c.run(ctx)
	checktest.Declared(l.t, signKind(), r)
	for name, text := range l.secrets {
		if len(text) > 5 && strings.Contains(r.Detail, text) {
			l.t.Errorf("the secret %q stands in the result: %s", name, r.Detail)
		}
	}
	if strings.Contains(r.Detail, "Nguyễn Văn A") {
		l.t.Errorf("a person is named: %s", r.Detail)
	}
	return r
}

// A due is a context whose time is up when its channel is closed, whatever the clock says.
type due struct {
	context.Context
	up chan struct{}
}

func (d due) Done() <-chan struct{} { return d.up }

func (d due) Err() error {
	select {
	case <-d.up:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// dueOnce ends a run as its time limit would, once a file is there: a test of what hangs then takes as long as it needs to
// begin to hang, and no longer.
func dueOnce(ctx context.Context, path string) context.Context {
	d := due{ctx, make(chan struct{})}
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(path); err == nil {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
		close(d.up)
	}()
	return d
}

// What is signed verifies in independent programs: poppler's pdfsig, and OpenSSL for the message and the time stamp.
func TestSignByOthers(t *testing.T) {
	l := newSignLab(t)
	for _, program := range []string{"pdfsig", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("missing on this machine: %s: run as root: apt-get install -y --no-install-recommends poppler-utils openssl", program)
		}
	}
	tool := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		if err != nil {
			t.Errorf("%s %s: %v: %.600s", name, args[0], err, out)
		}
		return string(out)
	}
	for _, level := range []string{levelT, levelLT} {
		for _, hash := range []string{"sha256", "sha512"} {
			dir := t.TempDir()
			r := l.run(check.Options{"form": "both", "keep": dir, "level": level, "hash": hash})
			want(t, r, check.OK, "(cades, "+level+")")
			wantFacts(t, r, map[string]float64{"document_bytes": 23966, "cert_not_after_unix": float64(l.officer.Cert.NotAfter.Unix())})
			pdf, p7s := filepath.Join(dir, "ky_so.sign.pdf"), filepath.Join(dir, "ky_so.sign.p7s")
			said := tool("pdfsig", "-nocert", pdf)
			for _, part := range []string{"Signature is Valid", "ETSI.CAdES.detached", "Signer Certificate Common Name: Nguyễn Văn A", "SHA-" + hash[3:]} {
				if !strings.Contains(said, part) {
					t.Errorf("%s %s: pdfsig does not say %q: %.900s", level, hash, part, said)
				}
			}
			if whole := strings.Contains(said, "Total document signed"); whole != (level == levelT) {
				t.Errorf("%s: whole document signed: %v", level, whole)
			}
			verify := []string{"cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", p7s, "-content", "../../token/document.pdf", "-CAfile", l.pki.Roots, "-purpose", "any", "-out", filepath.Join(dir, "out")}
			if said := tool("openssl", verify...); !strings.Contains(said, "CAdES Verification successful") {
				t.Errorf("%s %s: openssl: %.300s", level, hash, said)
			}
			// The stamp within the message is over the signature's value.
			text, err := os.ReadFile(p7s)
			done(t, err)
			d, err := parseDetached(text)
			if err != nil {
				t.Fatal(err)
			}
			token, err := d.signer.stamped()
			done(t, err)
			done(t, os.WriteFile(filepath.Join(dir, "value"), d.signer.signature, 0o600))
			done(t, os.WriteFile(filepath.Join(dir, "token"), token, 0o600))
			if said := tool("openssl", "ts", "-verify", "-token_in", "-in", filepath.Join(dir, "token"), "-data", filepath.Join(dir, "value"), "-CAfile", l.pki.Roots); !strings.Contains(said, "Verification: OK") {
				t.Errorf("%s %s: openssl ts: %.300s", level, hash, said)
			}
			// A byte of the document that is changed shows.
			text, err = os.ReadFile(pdf)
			done(t, err)
			text[len(text)/8] ^= 1
			spoilt := filepath.Join(dir, "spoilt.pdf")
			done(t, os.WriteFile(spoilt, text, 0o600))
			if out, _ := exec.CommandContext(t.Context(), "pdfsig", "-nocert", spoilt).CombinedOutput(); strings.Contains(string(out), "Signature is Valid") {
				t.Error("pdfsig takes a changed document")
			}
			// Signed once, a document can be signed again, and both hold.
			again := l.run(check.Options{"document": pdf, "keep": t.TempDir(), "level": level, "hash": hash})
			want(t, again, check.OK, "")
		}
	}
}

// A document may be of either kind: with tables of cross-references, and with streams of them and of objects.
func TestSignTwice(t *testing.T) {
	l := newSignLab(t)
	if _, err := exec.LookPath("pdfsig"); err != nil {
		t.Skip("missing on this machine: pdfsig: run as root: apt-get install -y --no-install-recommends poppler-utils")
	}
	for _, first := range []string{"", streamed(t)} {
		dir := t.TempDir()
		o := check.Options{"keep": dir, "document": first}
		if first == "" {
			o["document"] = nil
		}
		want(t, l.run(o), check.OK, "")
		once := filepath.Join(t.TempDir(), "once.pdf")
		done(t, os.Rename(filepath.Join(dir, "ky_so.sign.pdf"), once))
		want(t, l.run(check.Options{"keep": dir, "document": once}), check.OK, "")
		out, err := exec.CommandContext(t.Context(), "pdfsig", "-nocert", filepath.Join(dir, "ky_so.sign.pdf")).CombinedOutput()
		if err != nil || strings.Count(string(out), "Signature is Valid") != 2 {
			t.Errorf("%v: %.1500s", err, out)
		}
	}
}

// A program that writes local time where UTC belongs is told of by what it signed.
func TestSignAfterLocalTime(t *testing.T) {
	l := newSignLab(t)
	dir := t.TempDir()
	l.now = func() time.Time { return time.Now().Add(7 * time.Hour) }
	r := l.run(check.Options{"keep": dir, "level": levelT})
	want(t, r, check.TSASkew, "7 h are the difference between local time and UTC")
	if by, _ := r.Facts.Get("signing_time_offset_s"); by < 25000 || by > 25400 {
		t.Errorf("the signing time is %v s ahead", by)
	}
	l.now = time.Now
	once := filepath.Join(t.TempDir(), "once.pdf")
	done(t, os.Rename(filepath.Join(dir, "ky_so.sign.pdf"), once))
	r = l.run(check.Options{"document": once, "keep": dir})
	want(t, r, check.OK, "the document's earlier signature claims a time ")
	if by, _ := r.Facts.Get("document_time_offset_s"); by < 25000 || by > 25400 {
		t.Errorf("the document's signing time is %v s ahead", by)
	}
	r = l.run(check.Options{"document": filepath.Join(dir, "ky_so.sign.pdf")})
	want(t, r, check.OK, "")
	if by, ok := r.Facts.Get("document_time_offset_s"); !ok || by < -100 || by > 100 || strings.Contains(r.Detail, "earlier signature") {
		t.Errorf("%v %v %q", by, ok, r.Detail)
	}
}

// streamed writes a document with streams of cross-references and of objects.
func streamed(t *testing.T) string {
	t.Helper()
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	objects := []string{"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Resources<<>>>>"}
	var head, body string
	for i, o := range objects {
		head += fmt.Sprintf("%d %d ", i+1, len(body))
		body += o + " "
	}
	_, _ = io.WriteString(z, head+body)
	done(t, z.Close())
	text := "%PDF-1.5\n"
	at := len(text)
	text += fmt.Sprintf("4 0 obj\n<</Type/ObjStm/N 3/First %d/Filter/FlateDecode/Length %d>>stream\n%s\nendstream\nendobj\n", len(head), packed.Len(), packed.String())
	xref := len(text)
	rows := []byte{0, 0, 0, 0, 2, 0, 4, 0, 2, 0, 4, 1, 2, 0, 4, 2, 1, byte(at >> 8), byte(at), 0, 1, byte(xref >> 8), byte(xref), 0}
	// Each row less the one above it, as PNG's predictor 2 has it.
	var rowsPNG []byte
	for i := 0; i < len(rows); i += 4 {
		rowsPNG = append(rowsPNG, 2)
		for j := i; j < i+4; j++ {
			var above byte
			if j >= 4 {
				above = rows[j-4]
			}
			rowsPNG = append(rowsPNG, rows[j]-above)
		}
	}
	packed.Reset()
	z = zlib.NewWriter(&packed)
	_, _ = z.Write(rowsPNG)
	done(t, z.Close())
	text += fmt.Sprintf("5 0 obj\n<</Type/XRef/Size 6/W[1 2 1]/Root 1 0 R/Filter/FlateDecode/DecodeParms<</Predictor 12/Columns 4>>/Length %d>>stream\n%s\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n", packed.Len(), packed.String(), xref)
	return write(t, "streamed.pdf", []byte(text))
}
