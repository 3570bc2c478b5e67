package signature

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/token/pkcs11"
	"egovmon/agent/token/talk"
	"egovmon/agent/token/tokentest"
	"egovmon/deploy/lab/servers"
)

// withToken gives a lab a token of SoftHSM2 with the officer's key on it.
func (l *signLab) withToken() *servers.Token {
	l.t.Helper()
	p := l.place
	p.Dir = l.t.TempDir()
	k, err := servers.NewToken(l.t.Context(), p, servers.TokenConfig{Label: "Nguyen Van A", PIN: "123456", Owner: l.officer})
	if err != nil {
		if _, ok := servers.Missing(err); ok {
			l.t.Skip(err)
		}
		l.t.Fatal(err)
	}
	l.t.Setenv("SOFTHSM2_CONF", k.Settings)
	l.secrets["pin"], l.secrets["other pin"] = "123456", "999999"
	return k
}

// onToken are the options of a key on a token.
func onToken(module string, more check.Options) check.Options {
	o := check.Options{"key": nil, "module": module, "pin": "pin"}
	maps.Copy(o, more)
	return o
}

// flags asks the helper for the flags of the only token.
func (l *signLab) flags(module string) uint64 {
	l.t.Helper()
	path, err := l.find()
	if err != nil {
		l.t.Fatal(err)
	}
	c, err := talk.Start(l.t.Context(), path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	a, err := c.Say(talk.Request{Version: talk.Version, Command: talk.List, Modules: []string{module}})
	if err != nil || len(a.List) != 1 || len(a.List[0].Tokens) != 1 {
		l.t.Fatalf("%+v %v", a, err)
	}
	return a.List[0].Tokens[0].Flags
}

// A token signs, refuses a wrong PIN once, and is then left alone until a person acts.
func TestSignOnToken(t *testing.T) {
	l := newSignLab(t)
	k := l.withToken()
	want(t, l.run(onToken(k.Module, check.Options{"form": "both", "token": "Nguyen Van A", "key_id": "01"})), check.OK, "verified")
	if l.marks.text != nil || l.marks.stored != 4 {
		t.Errorf("after two log-ins that succeeded: mark %q, written %d times", l.marks.text, l.marks.stored)
	}
	want(t, l.run(onToken(k.Module, check.Options{"pin": "other pin"})), check.PINRefused, "was refused: C_Login returned 0xa0; the PIN is not tried again")
	if f := l.flags(k.Module); f&pkcs11.FlagPINCountLow == 0 || f&(pkcs11.FlagPINFinalTry|pkcs11.FlagPINLocked) != 0 {
		t.Errorf("flags %#x after one wrong PIN", f)
	}
	want(t, l.run(onToken(k.Module, check.Options{"pin": "other pin"})), check.PINRefused, "the token did not take the PIN on ")
	// The PIN was changed here, but the token still counts: a person must log in once.
	want(t, l.run(onToken(k.Module, nil)), check.PINRefused, "was given wrongly since it was last given rightly: it is not tried")
	if l.marks.stored != 5 {
		t.Errorf("written %d times: the mark of the PIN that was refused stays", l.marks.stored)
	}
	done(t, k.Unplug(true))
	want(t, l.run(onToken(k.Module, nil)), check.TokenAbsent, "not plugged in")
	done(t, k.Unplug(false))
	want(t, l.run(onToken(k.Module, check.Options{"token": "khác"})), check.TokenAbsent, `none of 1 is called "khác"`)
}

// Of two tokens and two keys, those that the plan names sign: with any other the certificate does not fit, or the PIN is not right.
func TestSignWithTheTokenThatIsNamed(t *testing.T) {
	l := newSignLab(t)
	a, roots := l.own()
	owner := func(name string) *servers.Identity {
		cert, key := a.officer(func(c *x509.Certificate) { c.Subject.CommonName = name })
		return &servers.Identity{Cert: cert, CertFile: certPEM(t, cert, a.cert), KeyFile: write(t, "key.pem", []byte(keyPEM(t, key)))}
	}
	first, second, third := owner("Trần Thị B"), owner("Lê Văn C"), owner("Phạm Thị D")
	k := l.withToken()
	p := l.place
	p.Dir = filepath.Dir(k.Settings)
	l.secrets["pin of B"] = "654321"
	if _, err := servers.NewToken(t.Context(), p, servers.TokenConfig{Label: "Tran Thi B", PIN: "654321", Owner: first}); err != nil {
		t.Fatal(err)
	}
	for id, of := range map[string]*servers.Identity{"0a": second, "0b": third} {
		if out, err := exec.CommandContext(t.Context(), "softhsm2-util", "--import", of.KeyFile, "--token", "Tran Thi B", "--label", id, "--id", id, "--pin", "654321").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	with := func(token, id, pin string, of *servers.Identity) check.Options {
		o := onToken(k.Module, check.Options{"roots": roots, "level": levelT, "certificate": of.CertFile, "pin": pin})
		for name, v := range map[string]string{"token": token, "key_id": id} {
			if v != "" {
				o[name] = v
			}
		}
		return o
	}
	for name, tt := range map[string]struct {
		with   check.Options
		reason check.Reason
		detail string
	}{
		"the first token":                 {with("Nguyen Van A", "", "pin", l.officer), check.OK, "verified"},
		"the second token, its first key": {with("Tran Thi B", "01", "pin of B", first), check.OK, "verified"},
		"its second key":                  {with("Tran Thi B", "0A", "pin of B", second), check.OK, "verified"},
		"its third key":                   {with("Tran Thi B", "0b", "pin of B", third), check.OK, "verified"},
		"a key of somebody else":          {with("Tran Thi B", "0b", "pin of B", second), check.Misconfigured, "the private key is not that of the certificate"},
		"a token of somebody else":        {with("Nguyen Van A", "01", "pin", first), check.Misconfigured, "the private key is not that of the certificate"},
		"a token that is not named":       {with("", "01", "pin", l.officer), check.Misconfigured, "2 tokens fit"},
		"a key that is not named":         {with("Tran Thi B", "", "pin of B", first), check.Misconfigured, "3 private keys"},
	} {
		t.Run(name, func(t *testing.T) {
			l := *l
			l.t = t
			want(t, l.run(tt.with), tt.reason, tt.detail)
			if l.marks.text != nil {
				t.Errorf("mark %q: the PIN is held for wrong", l.marks.text)
			}
		})
	}
	l.secrets["pin of A for B"] = "123456"
	want(t, l.run(with("Tran Thi B", "01", "pin of A for B", first)), check.PINRefused, "was refused: C_Login returned 0xa0")
}

// Every way in which a token and its driver may be broken, and how often the PIN was tried in it.
func TestSignTokenBroken(t *testing.T) {
	l := newSignLab(t)
	driver := tokentest.Driver(t)
	l.secrets["pin"] = "123456"
	for _, tt := range []struct {
		name, flags, open, login string
		with                     check.Options
		reason                   check.Reason
		detail                   string
		tries                    int
		stopped                  bool
	}{
		{name: "wrong PIN", login: "a0", reason: check.PINRefused, detail: "was refused", tries: 1, stopped: true},
		{name: "wrong PIN that locks", login: "a4", reason: check.PINRefused, detail: "was refused", tries: 1, stopped: true},
		{name: "locked", flags: "40000", reason: check.PINRefused, detail: "is locked: it is not tried"},
		{name: "last try", flags: "20000", reason: check.PINRefused, detail: "would be locked by one more wrong try"},
		{name: "wrong before", flags: "10000", reason: check.PINRefused, detail: "was given wrongly"},
		{name: "to be changed", flags: "80000", reason: check.PINRefused, detail: "must be changed first"},
		{name: "typed at the reader", flags: "100", reason: check.NotSupported, detail: "typed at the reader"},
		{name: "no PIN in the plan", with: check.Options{"pin": nil}, reason: check.NotConfigured, detail: "the token asks for one"},
		{name: "no such secret", with: check.Options{"pin": "none"}, reason: check.NotConfigured, detail: "pin: "},
		{name: "pulled out at the login", login: "e0", reason: check.TokenAbsent, detail: "not plugged in", tries: 1, stopped: true},
		{name: "no key", login: "0", reason: check.Misconfigured, detail: "0 private keys", tries: 1},
		{name: "driver fails", login: "30", reason: check.Internal, detail: "C_Login returned 0x30", tries: 1, stopped: true},
		{name: "driver hangs at the start", open: "hang", reason: check.Timeout, detail: "may hang"},
		{name: "driver crashes at the start", open: "crash", reason: check.Internal, detail: "it ended without an answer: "},
		{name: "driver hangs at the login", login: "hang", reason: check.Timeout, detail: "may hang", tries: 1, stopped: true},
		{name: "driver crashes at the login", login: "crash", reason: check.Internal, detail: "it ended without an answer", tries: 1, stopped: true},
		{name: "driver prints without end", login: "flood", reason: check.Timeout, detail: "may hang", tries: 1, stopped: true},
		{name: "driver takes all memory", login: "eat", reason: check.Internal, detail: "it ended without an answer", tries: 1, stopped: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tries := filepath.Join(t.TempDir(), "tries")
			at := filepath.Join(t.TempDir(), "at")
			for name, value := range map[string]string{"FLAGS": tt.flags, "OPEN": tt.open, "LOGIN": tt.login, "TRIES": tries, "AT": at} {
				t.Setenv("DRIVER_"+name, value)
			}
			l := *l
			l.t, l.marks, l.tokens = t, &fakeMarks{}, fakeTokens{}
			if tt.reason == check.Timeout {
				l.dueAt = at
			}
			o := onToken(driver, tt.with)
			want(t, l.run(o), tt.reason, tt.detail)
			if n := tokentest.Tries(t, tries); n != tt.tries {
				t.Errorf("the PIN was tried %d times, want %d", n, tt.tries)
			}
			if (l.marks.text != nil) != tt.stopped {
				t.Errorf("mark %q", l.marks.text)
			}
			if !tt.stopped {
				return
			}
			// Whatever the driver would do now, it is not even loaded.
			want(t, l.run(o), check.PINRefused, "the token did not take the PIN on ")
			if n := tokentest.Tries(t, tries); n != tt.tries {
				t.Errorf("the PIN was tried again: %d times", n)
			}
		})
	}
}

// other is a lab of another check of the same machine.
func (l *signLab) other() *signLab {
	o := *l
	o.name, o.marks = "khac.sign", &fakeMarks{}
	return &o
}

// A token locks after a few wrong PINs, whoever gave them: what one check was refused no other tries, with whatever PIN, and
// two that run at once do not try together.
func TestSignTwoChecksOneToken(t *testing.T) {
	l := newSignLab(t)
	driver := tokentest.Driver(t)
	tries := filepath.Join(t.TempDir(), "tries")
	t.Setenv("DRIVER_TRIES", tries)
	t.Setenv("DRIVER_LOGIN", "a0")
	l.secrets["pin"], l.secrets["other pin"] = "123456", "999999"
	b := l.other()
	results := make(chan check.Result, 2)
	for _, c := range []*signCheck{l.check(onToken(driver, nil)), b.check(onToken(driver, check.Options{"pin": "other pin"}))} {
		go func() { results <- c.run(t.Context()) }()
	}
	for range 2 {
		want(t, <-results, check.PINRefused, "")
	}
	if n := tokentest.Tries(t, tries); n != 1 {
		t.Errorf("the token was given %d PINs, want 1", n)
	}
	// Whoever did not try is stopped by the other's mark, and says whose that is.
	if first := l.marks.text != nil; first == (b.marks.text != nil) {
		t.Fatalf("marks %q, %q", l.marks.text, b.marks.text)
	} else if !first {
		l, b = b, l
	}
	want(t, b.run(onToken(driver, nil)), check.PINRefused, "did not take the PIN of the check ")
	want(t, b.run(onToken(driver, check.Options{"pin": "other pin"})), check.PINRefused, "`agent sign reset "+cmp.Or(b.name, "ky_so.sign"))
	if n := tokentest.Tries(t, tries); n != 1 {
		t.Errorf("the token was given %d PINs, want 1", n)
	}
	// Nothing that lets the machine forget lets it try.
	for _, token := range l.tokens {
		token.err = os.ErrPermission
	}
	want(t, b.run(onToken(driver, nil)), check.Internal, "cannot be read, so that it is not tried")
	l.tokens = nil
	if c := b.check(onToken(driver, nil)); c != nil {
		c.shared = nil
		want(t, c.run(t.Context()), check.NotConfigured, "without a data folder")
	}
	if n := tokentest.Tries(t, tries); n != 1 {
		t.Errorf("the token was given %d PINs, want 1", n)
	}
}

// On a real token, what one check was refused stops the other, and the token has one mark.
func TestSignTwoChecksSoftHSM(t *testing.T) {
	l := newSignLab(t)
	k := l.withToken()
	b := l.other()
	want(t, b.run(onToken(k.Module, check.Options{"level": levelT})), check.OK, "verified")
	want(t, l.run(onToken(k.Module, check.Options{"pin": "other pin"})), check.PINRefused, "was refused: C_Login returned 0xa0")
	want(t, b.run(onToken(k.Module, nil)), check.PINRefused, "was given wrongly since it was last given rightly: it is not tried; log in once with the token's own program")
	if f := l.flags(k.Module); f&pkcs11.FlagPINCountLow == 0 || f&(pkcs11.FlagPINFinalTry|pkcs11.FlagPINLocked) != 0 {
		t.Errorf("flags %#x after one wrong PIN", f)
	}
	if len(l.tokens) != 1 {
		t.Errorf("one token has %d names", len(l.tokens))
	}
	for _, token := range l.tokens {
		if !strings.Contains(string(token.pin), `"by":"ky_so.sign"`) {
			t.Errorf("the token's mark: %q", token.pin)
		}
	}
}

// What keeps the PIN from being tried must be kept itself.
func TestSignMarks(t *testing.T) {
	l := newSignLab(t)
	driver := tokentest.Driver(t)
	tries := filepath.Join(t.TempDir(), "tries")
	t.Setenv("DRIVER_TRIES", tries)
	l.secrets["pin"] = "123456"
	l.marks.err = os.ErrPermission
	want(t, l.run(onToken(driver, nil)), check.Internal, "cannot be read, so that it is not tried")
	l.marks = &fakeMarks{text: []byte(`{"v":2}`)}
	want(t, l.run(onToken(driver, nil)), check.PINRefused, "does not know")
	l.marks = nil
	want(t, l.run(onToken(driver, nil)), check.NotConfigured, "without a data folder")
	if n := tokentest.Tries(t, tries); n != 0 {
		t.Errorf("the PIN was tried %d times", n)
	}
}

// Keys of RSA are signed with in another way.
func TestSignOnTokenRSA(t *testing.T) {
	l := newSignLab(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	a, roots := l.own()
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "Trần Thị B"}, KeyUsage: x509.KeyUsageContentCommitment,
		NotBefore: a.at.Add(-time.Hour), NotAfter: a.at.AddDate(1, 0, 0)}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	owner := &servers.Identity{Cert: cert, CertFile: certPEM(t, cert), KeyFile: write(t, "key.pem", []byte(keyPEM(t, key)))}
	ec := l.officer
	l.officer = owner
	k := l.withToken()
	dir := t.TempDir()
	for _, hash := range []string{"sha256", "sha384", "sha512"} {
		want(t, l.run(onToken(k.Module, check.Options{"roots": roots, "level": levelT, "hash": hash, "keep": dir})), check.OK, "verified")
		if out, err := exec.CommandContext(t.Context(), "pdfsig", "-nocert", filepath.Join(dir, "ky_so.sign.pdf")).CombinedOutput(); err == nil && !strings.Contains(string(out), "Signature is Valid") {
			t.Errorf("%s: %.900s", hash, out)
		}
	}
	// A certificate that is not of the key on the token is seen before anything leaves.
	want(t, l.run(onToken(k.Module, check.Options{"certificate": ec.CertFile, "level": levelT})), check.Misconfigured, "the private key is not that of the certificate")
	if l.marks.text != nil {
		t.Error("the PIN was right, and is held for wrong")
	}
	want(t, l.run(onToken(k.Module, check.Options{"certificate": nil})), check.Misconfigured, "has no certificate of key")
	want(t, l.run(onToken(k.Module, check.Options{"roots": roots, "level": levelT, "key_id": "02"})), check.Misconfigured, "0 private keys with id")
	want(t, l.run(onToken(k.Module, check.Options{"roots": roots, "level": levelT, "key_id": "x"})), check.Misconfigured, "not in hexadecimal")
	want(t, l.run(onToken("/nowhere.so", nil)), check.Misconfigured, "module: ")
}

// A PIN stands in no argument, no environment and no result, also while the token is at it.
func TestSignPINStaysHidden(t *testing.T) {
	l := newSignLab(t)
	driver := tokentest.Driver(t)
	l.secrets["pin"] = "2468013579"
	at, due := filepath.Join(t.TempDir(), "at"), filepath.Join(t.TempDir(), "due")
	t.Setenv("DRIVER_LOGIN", "hang")
	t.Setenv("DRIVER_AT", at)
	l.dueAt = due
	looked := make(chan int)
	go func() {
		defer close(looked)
		for {
			if _, err := os.Stat(at); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		n := 0
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, path := range lines {
			text, _ := os.ReadFile(path)
			if !strings.Contains(string(text), "egovmon-token") {
				continue
			}
			n++
			env, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
			if strings.Contains(string(text)+string(env), "2468013579") {
				t.Error("the PIN can be read in /proc")
			}
		}
		_ = os.WriteFile(due, nil, 0o600)
		looked <- n
	}()
	r := l.run(onToken(driver, nil))
	if n := <-looked; n == 0 {
		t.Error("the helper was not seen")
	}
	want(t, r, check.Timeout, "may hang")
	if strings.Contains(string(l.marks.text), "2468013579") {
		t.Error("the PIN stands in the notes")
	}
}
