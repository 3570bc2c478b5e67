package host_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/host"
	"egovmon/agent/wire"
)

var start = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func TestDataDir(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Setenv("ProgramData", `C:\ProgramData`)
		if dir, err := host.DataDir(); err != nil || dir != `C:\ProgramData\egovmon` {
			t.Errorf("%s, %v", dir, err)
		}
		return
	}
	t.Setenv("XDG_STATE_HOME", "/somewhere")
	want := "/somewhere/egovmon-agent"
	if os.Geteuid() == 0 {
		want = "/var/lib/egovmon"
	}
	if dir, err := host.DataDir(); err != nil || dir != want {
		t.Errorf("%s, %v, want %s", dir, err, want)
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, host.SecretsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "identity.json"), []byte("the machine's keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, host.SecretsDir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("probe-mailbox", "mật khẩu\n", 0o600)
	write("read-only", "x", 0o400)
	write("two-lines", "a\nb\n\n", 0o600)
	write("for-all", "x", 0o644)
	write("for-group", "x", 0o640)
	write("large", strings.Repeat("x", host.MaxSecret+1), 0o600)
	write("largest", strings.Repeat("x", host.MaxSecret), 0o600)
	write(".hidden", "x", 0o600)
	if err := os.Mkdir(filepath.Join(dir, host.SecretsDir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, host.SecretsDir, "probe-mailbox"), filepath.Join(dir, host.SecretsDir, "link")); err != nil && runtime.GOOS != "windows" {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, want, err string }{
		{"probe-mailbox", "mật khẩu", ""},
		{"read-only", "x", ""},
		{"two-lines", "a\nb\n", ""},
		{"largest", strings.Repeat("x", host.MaxSecret), ""},
		{"large", "", "more than 65536 bytes"},
		{"for-all", "", "chmod 600"},
		{"for-group", "", "chmod 600"},
		{"none", "", "no such file"},
		{"folder", "", "no plain file"},
		{"link", "", "no plain file"},
		{".hidden", "", "no name"},
		{"..", "", "no name"},
		{"../secrets/probe-mailbox", "", "no name"},
		{"Probe", "", "no name"},
		{"", "", "no name"},
		{"identity.json", "", "no such file"}, // beside the folder
	} {
		if runtime.GOOS == "windows" && (tt.err == "chmod 600" || tt.name == "link" || tt.name == "none") {
			continue // modes and links are other things there
		}
		got, err := host.Secret(dir, tt.name)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %d bytes, %v; want %d bytes, error %q", tt.name, len(got), err, len(tt.want), tt.err)
		}
	}
}

// An authority is a CA for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{key: key}
	a.cert = a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, key)
	return a
}

func (a authority) issue(t *testing.T, c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(1), start, start.Add(90*24*time.Hour)
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newIdentity(t *testing.T) *host.Identity {
	t.Helper()
	ca := newAuthority(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(wire.MachineURI("tu-ky", "pc-01"))
	if err != nil {
		t.Fatal(err)
	}
	leaf := ca.issue(t, &x509.Certificate{URIs: []*url.URL{uri}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key)
	id := &host.Identity{District: "tu-ky", Machine: "pc-01", Unit: "an-thanh", Collector: "https://127.0.0.1:19443", CA: ca.cert,
		TLS: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}}
	for name, to := range map[string]*string{"plan": &id.PlanKey, "log/1": &id.LogKey} {
		if _, *to, err = note.GenerateKey(rand.Reader, "egovmon/tu-ky/"+name); err != nil {
			t.Fatal(err)
		}
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id.JournalKey = wire.SignerKey(wire.JournalName("tu-ky", "pc-01"), wire.AlgEd25519, ed)
	id.CosignKey = wire.SignerKey(wire.WitnessName("tu-ky", "pc-01"), wire.AlgCosign, ed)
	return id
}

func TestIdentitySaveLoad(t *testing.T) {
	id, dir := newIdentity(t), filepath.Join(t.TempDir(), "data")
	if _, err := host.LoadIdentity(dir); !errors.Is(err, host.ErrNotEnrolled) {
		t.Errorf("no identity: %v", err)
	}
	for range 2 { // the second time it replaces
		if err := id.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	got, err := host.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(id.JournalKey+id.CosignKey+id.PlanKey+id.LogKey+id.Collector+id.Unit, got.JournalKey+got.CosignKey+got.PlanKey+got.LogKey+got.Collector+got.Unit); d != "" {
		t.Error(d)
	}
	if !got.TLS.Leaf.Equal(id.TLS.Leaf) || !got.CA.Equal(id.CA) {
		t.Error("other certificates")
	}
	path := filepath.Join(dir, "identity.json")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("%d files in the folder, want 1: %v", len(files), err)
	}
	if runtime.GOOS != "windows" {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", fi.Mode(), err)
		}
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" { // what is protected cannot be edited
		if !strings.HasPrefix(string(good), "egovmon-sealed/1 dpapi\n") {
			t.Errorf("the file is not protected: %.40q", good)
		}
		return
	}
	for name, bad := range map[string]string{
		"cut":             string(good[:len(good)/2]),
		"newer":           strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		"another machine": strings.ReplaceAll(string(good), "pc-01", "pc-02"),
		"no collector":    strings.Replace(string(good), "https://127.0.0.1:19443", "http://127.0.0.1", 1),
		"no certificate":  strings.ReplaceAll(string(good), "CERTIFICATE", "CERT"),
	} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := host.LoadIdentity(dir); err == nil || !strings.Contains(err.Error(), "enrol again") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIdentityCheck(t *testing.T) {
	other := newIdentity(t)
	for name, spoil := range map[string]func(id *host.Identity){
		"another CA":          func(id *host.Identity) { id.CA = other.CA },
		"another key":         func(id *host.Identity) { id.TLS.PrivateKey = other.TLS.PrivateKey },
		"swapped note keys":   func(id *host.Identity) { id.JournalKey, id.CosignKey = id.CosignKey, id.JournalKey },
		"another plan key":    func(id *host.Identity) { id.PlanKey = id.LogKey },
		"no log key":          func(id *host.Identity) { id.LogKey = "" },
		"another district":    func(id *host.Identity) { id.District = "gia-loc" },
		"a machine's bad id":  func(id *host.Identity) { id.Machine = "PC 01" },
		"no certificate":      func(id *host.Identity) { id.TLS = tls.Certificate{} },
		"collector elsewhere": func(id *host.Identity) { id.Collector = "ftp://x" },
	} {
		id := newIdentity(t)
		spoil(id)
		if id.Check() == nil || id.Save(t.TempDir()) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The collector is known by its key, not by its name; anything else, a machine among them, is not the collector.
func TestVerifyServer(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	server := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	good := ca.issue(t, &x509.Certificate{ExtKeyUsage: server}, key)
	for _, tt := range []struct {
		name  string
		chain []*x509.Certificate
		at    time.Time
		ok    bool
	}{
		{"the collector", []*x509.Certificate{good, ca.cert}, start.Add(time.Hour), true},
		{"too late", []*x509.Certificate{good, ca.cert}, start.AddDate(1, 0, 0), false},
		{"too early", []*x509.Certificate{good, ca.cert}, start.AddDate(-1, 0, 0), false},
		{"a machine", []*x509.Certificate{ca.issue(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key), ca.cert}, start.Add(time.Hour), false},
		{"another CA", []*x509.Certificate{other.issue(t, &x509.Certificate{ExtKeyUsage: server}, key), ca.cert}, start.Add(time.Hour), false},
		{"nobody", nil, start, false},
	} {
		err := host.VerifyServer(tt.chain, ca.cert, func(*x509.Certificate) time.Time { return tt.at })
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
