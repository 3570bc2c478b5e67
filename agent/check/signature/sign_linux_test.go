package signature

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/token/talk"
	"egovmon/deploy/lab/servers"
)

// helper builds egovmon-token once for all tests.
var helper = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "egovmon-token-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, talk.Name())
	cmd := exec.Command("go", "build", "-o", path, "egovmon/agent/token")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	return path, nil
})

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
	proven  func() bool
	now     func() time.Time
	dueAt   string // a run's time is up as soon as this file is there; "" for never
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
	l := &signLab{t: t, find: helper, marks: &fakeMarks{}, now: time.Now}
	if path, err := helper(); err != nil {
		t.Fatal(path, err)
	}
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

func (l *signLab) run(more check.Options) check.Result {
	l.t.Helper()
	c, err := newSignCheck(checktest.WithDefaults(l.t, signKind(), l.options(more)), checktest.WithEnv(check.Env{Check: "ky_so.sign", Now: l.now, Secret: l.secret, ClockProven: l.proven}))
	if err != nil {
		l.t.Fatal(err)
	}
	c.find = l.find
	if l.marks != nil {
		c.marks = l.marks
	}
	ctx := l.t.Context()
	if l.dueAt != "" {
		ctx = dueOnce(ctx, l.dueAt)
	}
	r := c.run(ctx)
	checktest.Declared(l.t, signKind(), r)
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

func TestSignBasics(t *testing.T) {
	l := newSignLab(t)
	dir := t.TempDir()
	r := l.run(check.Options{"form": "both", "keep": dir})
	t.Log(r)
	want(t, r, check.OK, "signed (cades, b-lt)")
	out, err := exec.Command("pdfsig", "-nocert", filepath.Join(dir, "ky_so.sign.pdf")).CombinedOutput()
	t.Log(string(out), err)
	cmd := exec.Command("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", filepath.Join(dir, "ky_so.sign.p7s"), "-content", "../../token/document.pdf", "-CAfile", l.pki.Roots, "-out", "/dev/null", "-purpose", "any", "-cades")
	out, err = cmd.CombinedOutput()
	t.Log(string(out), err)
}
