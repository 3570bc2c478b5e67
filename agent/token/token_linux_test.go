package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"egovmon/agent/check"
	"egovmon/agent/token/talk"
	"egovmon/agent/token/tokentest"
)

func TestMain(m *testing.M) { os.Exit(tokentest.Main(m)) }

// ask starts the program and sends one request.
func ask(t *testing.T, path string, q talk.Request) (*talk.Answer, error) {
	t.Helper()
	c, err := talk.Start(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Say(q)
}

// What tokens show without a PIN, and drivers that show nothing.
func TestList(t *testing.T) {
	path, driver := tokentest.Helper(t), tokentest.Driver(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "Nguyễn Văn A"}, NotAfter: time.Unix(2e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert := filepath.Join(t.TempDir(), "cert.der")
	tries := filepath.Join(t.TempDir(), "tries")
	open := filepath.Join(t.TempDir(), "open.so")
	for file, text := range map[string][]byte{cert: der, open: {}} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DRIVER_CERT", cert)
	t.Setenv("DRIVER_FLAGS", "20000")
	t.Setenv("DRIVER_TRIES", tries)
	request := talk.Request{Version: talk.Version, Command: talk.List, Modules: []string{driver, "/nowhere.so", "libx.so", open, cert, t.TempDir()}}
	a, err := ask(t, path, request)
	if err != nil || len(a.List) != 6 {
		t.Fatalf("%+v %v", a, err)
	}
	if m := a.List[0]; m.Error != "" || len(m.Tokens) != 1 || m.Tokens[0].Label != "Thu nghiem" || m.Tokens[0].Serial != "0001" || m.Tokens[0].Slot != 7 || m.Tokens[0].Flags != 0x20404 ||
		len(m.Tokens[0].Certificates) != 1 || m.Tokens[0].Certificates[0].ID != "ab" || m.Tokens[0].Certificates[0].Label != "Chung thu" || !bytes.Equal(m.Tokens[0].Certificates[0].DER, der) {
		t.Errorf("%+v", m)
	}
	for i, why := range []string{"", "no such file", "write its whole path", "can be changed by others", "cannot be loaded", "no regular file"} {
		if m := a.List[i]; !strings.Contains(m.Error, why) || i > 0 && m.Tokens != nil {
			t.Errorf("%s: %+v, want %q", request.Modules[i], m, why)
		}
	}
	t.Setenv("DRIVER_HUGE", "1")
	if a, err := ask(t, path, request); err != nil || len(a.List[0].Tokens) != 1 || a.List[0].Tokens[0].Certificates[0].ID != "" {
		t.Errorf("an id of a terabyte: %+v %v", a, err)
	}
	if n := tokentest.Tries(t, tries); n != 0 {
		t.Errorf("%d PINs were tried", n)
	}
}

func TestReaders(t *testing.T) {
	if a, err := ask(t, tokentest.Helper(t), talk.Request{Version: talk.Version, Command: talk.Readers}); err != nil || len(a.Readers) > 64 {
		t.Errorf("%+v %v", a, err)
	}
}

// What is no request is answered, and ends.
func TestBadRequests(t *testing.T) {
	path := tokentest.Helper(t)
	for _, tt := range []struct {
		q      talk.Request
		reason check.Reason
		detail string
	}{
		{talk.Request{Version: 2, Command: talk.List}, check.Misconfigured, "speaks version 2"},
		{talk.Request{Version: 1, Command: "format"}, check.Internal, `none: "format"`},
		{talk.Request{Version: 1, Command: talk.Sign}, check.Internal, "none"},
		{talk.Request{Version: 1, Command: talk.Sign, Sign: &talk.Signing{Hash: "md5"}}, check.Misconfigured, `hash "md5" is not known`},
		{talk.Request{Version: 1, Command: talk.Sign, Sign: &talk.Signing{Hash: "sha256"}}, check.Misconfigured, "no key"},
		{talk.Request{Version: 1, Command: talk.Sign, Sign: &talk.Signing{Hash: "sha256", Chain: [][]byte{{1}}}}, check.Misconfigured, "certificate: "},
	} {
		_, err := ask(t, path, tt.q)
		if e, ok := errors.AsType[*talk.Error](err); !ok || check.Reason(e.Reason) != tt.reason || !strings.Contains(e.Detail, tt.detail) {
			t.Errorf("%+v: %v", tt.q, err)
		}
	}
	if r := fileReason(&fs.PathError{Err: fs.ErrPermission}); r != check.NoPermission {
		t.Errorf("a file that must not be read: %s", r)
	}
}

// The program keeps a PIN from whoever looks at it, and ends with the agent, whatever a driver does.
func TestHarden(t *testing.T) {
	path, driver := tokentest.Helper(t), tokentest.Driver(t)
	at := filepath.Join(t.TempDir(), "at")
	t.Setenv("DRIVER_OPEN", "hang")
	t.Setenv("DRIVER_AT", at)
	cmd := exec.CommandContext(t.Context(), path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := talk.NewLine(nil, in).Write(talk.Request{Version: 1, Command: talk.List, Modules: []string{driver}}); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(at); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	limits, err := os.ReadFile(filepath.Join("/proc", "self", "limits"))
	if err == nil {
		limits, err = os.ReadFile("/proc/" + pid(cmd) + "/limits")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Max core file size 0 0", "Max data size 536870912 536870912", "Max cpu time 60 60", "Max file size 67108864 67108864"} {
		if !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), want) {
			t.Errorf("limits without %q:\n%s", want, limits)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "readlink", "/proc/"+pid(cmd)+"/fd/1").Output(); err != nil || strings.TrimSpace(string(out)) != "/dev/null" {
		t.Errorf("what a driver prints goes to %s %v", out, err)
	}
	_ = in.Close() // the agent is gone
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 3 {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(2 * time.Minute):
		t.Error("it outlives the agent")
		_ = cmd.Process.Kill()
	}
	if out.Len() > 0 {
		t.Errorf("it printed %.200q", out.String())
	}
	help, err := exec.CommandContext(t.Context(), path, "--pin", "1").Output()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 2 || !strings.Contains(string(help), "takes no arguments") {
		t.Errorf("%q %v", help, err)
	}
}

func pid(cmd *exec.Cmd) string { return big.NewInt(int64(cmd.Process.Pid)).String() }

// A child that was told to end is gone, and says so once.
func TestChildCalledOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, err := talk.Start(ctx, tokentest.Helper(t))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := c.Say(talk.Request{Version: 1, Command: talk.Readers}); err == nil {
		if _, err = c.Say(talk.Request{}); err == nil {
			t.Error("it answers after its end")
		}
	}
	if err := c.Close(); err == nil {
		t.Error("it ended in order")
	}
	_ = c.Close()
}

// A file of PKCS#12 may end in a newline that was taken for that of a text.
func TestPKCS12Newline(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(9), NotAfter: time.Unix(2e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	// The iterations of its checksum stand last.
	text, err := pkcs12.Modern.WithIterations(0x080a).Encode(key, cert, nil, "x")
	if err != nil {
		t.Fatal(err)
	}
	if text[len(text)-1] != '\n' {
		t.Fatalf("the last byte is %#x: another form than this test was written for", text[len(text)-1])
	}
	if _, err := openPKCS12(talk.Key{PKCS12: text[:len(text)-1], Password: "x"}, nil); err != nil {
		t.Error(err)
	}
	if _, err := openPKCS12(talk.Key{PKCS12: text[:len(text)-2], Password: "x"}, nil); err == nil {
		t.Error("a file that was cut is read")
	}
}
