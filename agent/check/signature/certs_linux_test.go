package signature

import (
	"net/netip"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/deploy/lab/servers"
)

// The helper program gives the certificate of a PKCS#12 store back, without its key.
func TestCertsInPKCS12(t *testing.T) {
	if path, err := helper(); err != nil {
		t.Fatal(path, err)
	}
	pki, _ := labPKI(t)
	officer, err := pki.G2.Officer("good", "Nguyễn Văn A")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	store := filepath.Join(dir, "a.p12")
	cmd := exec.CommandContext(t.Context(), "openssl", "pkcs12", "-export", "-in", officer.CertFile, "-inkey", officer.KeyFile, "-certfile", pki.G2.File, "-out", store, "-passout", "pass:bí mật")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(string(out), err)
	}
	o := check.Options{"files": []string{dir}, "roots": pki.Roots, "password": "p12"}
	env := func(password string) check.Env {
		return check.Env{Now: time.Now, Secret: func(string) (string, error) { return password, nil }}
	}
	own := func(c *certsCheck) { c.find = helper }
	r := runCerts(t, o, env("bí mật"), own)
	want(t, r, check.OK, "1 certificates")
	wantFacts(t, r, map[string]float64{"certs_count": 1, "private_keys_count": 0, "untrusted_count": 0})
	want(t, runCerts(t, o, env("sai"), own), check.Misconfigured, "1 files cannot be read")
	delete(o, "password")
	want(t, runCerts(t, o, env(""), own), check.Misconfigured, "1 files cannot be read")
}

// A token is asked without a PIN, and is unplugged.
func TestCertsOnToken(t *testing.T) {
	if path, err := helper(); err != nil {
		t.Fatal(path, err)
	}
	if err := servers.Require("softhsm2-util"); err != nil {
		t.Skip(err)
	}
	pki, _ := labPKI(t)
	officer, err := pki.G2.Officer("good", "Nguyễn Văn A")
	if err != nil {
		t.Fatal(err)
	}
	p := servers.Loopback(t.TempDir(), netip.MustParseAddr("127.0.0.1"), nil)
	token, err := servers.NewToken(t.Context(), p, servers.TokenConfig{Label: "Nguyen Van A", PIN: "123456", Owner: officer})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", token.Settings)
	run := func() check.Result {
		return runCerts(t, check.Options{"modules": []string{token.Module}, "roots": pki.Roots, "intermediates": pki.G2.File}, check.Env{Now: time.Now}, func(c *certsCheck) { c.find = helper })
	}
	// SoftHSM2's own program puts no certificates on a token.
	want(t, run(), check.NotConfigured, "1 tokens without a certificate")
	done(t, token.Unplug(true))
	want(t, run(), check.TokenAbsent, "no token")
	r := runCerts(t, check.Options{"modules": []string{"/no/such.so"}}, check.Env{Now: checktest.Epoch}, func(c *certsCheck) { c.find = helper })
	want(t, r, check.NotSupported, "tokens: ")
}
