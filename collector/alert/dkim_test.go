package alert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
)

// keyFile writes a private key and returns its path and its record in DNS.
func keyFile(t *testing.T, key crypto.Signer) (path, record string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "dkim.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	switch k := key.Public().(type) {
	case ed25519.PublicKey:
		return path, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(k)
	case *rsa.PublicKey:
		der, _ := x509.MarshalPKIXPublicKey(k)
		return path, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	}
	return path, ""
}

// signedLetter is a letter in Vietnamese as it goes to the relay.
func signedLetter(t *testing.T, c *DKIMConfig) string {
	t.Helper()
	config := Config{Mail: &MailConfig{Host: "relay.test", From: "Giám sát <egovmon@d.test>", DKIM: c}}
	if err := config.Check(); err != nil {
		t.Fatal(err)
	}
	m, err := newMailer(*config.Mail)
	if err != nil {
		t.Fatal(err)
	}
	letter, err := m.letter("vhtt@d.test", Content{Key: "k", Subject: "Gián đoạn: Cổng TTĐT huyện, " + strings.Repeat("rất dài ", 20), Text: "Hệ thống: Cổng TTĐT huyện\n\n.một dòng bắt đầu bằng dấu chấm\n  lề \t\n\n", Urgent: true})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := letter.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDKIM(t *testing.T) {
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, small, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"RSA": big, "Ed25519": small} {
		path, record := keyFile(t, key)
		text := signedLetter(t, &DKIMConfig{Selector: "s1", KeyFile: path})
		verify := func(text string) error {
			vs, err := dkim.VerifyWithOptions(strings.NewReader(text), &dkim.VerifyOptions{LookupTXT: func(domain string) ([]string, error) {
				if domain != "s1._domainkey.d.test" {
					return nil, fmt.Errorf("asked for %s", domain)
				}
				return []string{record}, nil
			}})
			if err == nil && len(vs) != 1 {
				err = fmt.Errorf("%d signatures", len(vs))
			}
			if err == nil {
				err = vs[0].Err
			}
			return err
		}
		if err := verify(text); err != nil {
			t.Errorf("%s: %v in\n%.1500s", name, err, text)
		}
		for what, other := range map[string]string{
			"another subject": strings.Replace(text, "\r\nSubject:", "\r\nSubject: x", 1), "another text": strings.TrimRight(text, "\r\n=") + "x\r\n",
			"a second sender": strings.Replace(text, "\r\nSubject:", "\r\nFrom: <x@y.test>\r\nSubject:", 1),
		} {
			if verify(other) == nil {
				t.Errorf("%s: %s goes unseen", name, what)
			}
		}
	}
}

// TestOpendkimBelievesIt has another program verify a letter.
func TestOpendkimBelievesIt(t *testing.T) {
	tool, err := exec.LookPath("opendkim")
	if err != nil {
		t.Skip("opendkim is missing: apt-get install opendkim")
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	path, record := keyFile(t, key)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	keys := write("keys", "s1._domainkey.d.test "+record+"\n")
	conf := write("conf", "Mode v\nTestPublicKeys "+keys+"\nSyslog no\nRequireSafeKeys no\nInternalHosts 192.0.2.1\nAlwaysAddARHeader yes\n")
	text := signedLetter(t, &DKIMConfig{Selector: "s1", KeyFile: path})
	judge := func(text string) string {
		out, _ := exec.CommandContext(t.Context(), tool, "-x", conf, "-v", "-v", "-t", write("letter", text)).CombinedOutput()
		return string(out)
	}
	if out := judge(text); !strings.Contains(out, "verification (s=s1, d=d.test, 2048-bit key) succeeded") {
		t.Errorf("opendkim says:\n%.800s", out)
	}
	if out := judge(strings.Replace(text, "\r\nSubject:", "\r\nSubject: x", 1)); strings.Contains(out, "succeeded") {
		t.Errorf("opendkim believes an altered letter:\n%.800s", out)
	}
}

func TestDKIMConfig(t *testing.T) {
	weak, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve, _ := keyFile(t, weak)
	none := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(none, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		c    DKIMConfig
		want string
	}{
		{DKIMConfig{KeyFile: none}, "selector"}, {DKIMConfig{Selector: "s1"}, "key_file"}, {DKIMConfig{Selector: "s 1", KeyFile: none}, "selector"},
		{DKIMConfig{Selector: "s1", KeyFile: "/nowhere"}, "no such file"}, {DKIMConfig{Selector: "s1", KeyFile: none}, "no PEM key"},
		{DKIMConfig{Selector: "s1", KeyFile: curve}, "cannot sign letters"},
	} {
		config := Config{Mail: &MailConfig{Host: "relay.test", From: "egovmon@d.test", DKIM: &c.c}}
		err := config.Check()
		if err == nil {
			_, err = newMailer(*config.Mail)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.c, err, c.want)
		}
	}
}
