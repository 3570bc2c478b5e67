package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/collector/access"
	"egovmon/exporter"
)

// The collector asks about the certificates of the register where it was told to, and what it learns stands on the board for
// who may see names, in the counts for the others, and without any name in /metrics.
func TestInquire(t *testing.T) {
	now := time.Now()
	caKey, caTmpl := newKey(t), &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), SubjectKeyId: []byte{1}}
	ca := issue(t, caTmpl, caTmpl, caKey, caKey)
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Minute), NextUpdate: now.AddDate(0, 0, 7),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(20), RevocationTime: now.Add(-time.Minute)}}}, ca, caKey)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(list)
	}))
	defer s.Close()
	host, _, _ := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
	var file []byte
	for i, serial := range []int64{10, 20, 30} {
		c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprintf("Person %d", serial)}, NotBefore: now.Add(-time.Hour),
			NotAfter: now.AddDate(0, 0, 20+100*i), CRLDistributionPoints: []string{s.URL + "/list"}}
		of, key := ca, caKey
		if serial == 30 { // of nobody that is trusted
			of, key = c, newKey(t)
		}
		file = append(file, pemOf(issue(t, c, of, newKey(t), key))...)
	}
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pemOf(ca), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err = withCenter(t.Context(), dir, &bytes.Buffer{}, func(string) error { return errNotRunning }, func(c *center) error {
		admin := access.Who{Name: "an", Role: access.RoleAdmin, Person: true}
		if _, err := c.changeCerts(t.Context(), certsRequest{Unit: "xa-an-thanh", Files: [][]byte{file}}, admin); err != nil {
			return err
		}
		if got, err := c.userCerts(c.now()); err != nil || len(got) != 1 || got[0].Revocation != nil {
			t.Errorf("while nobody may be asked: %+v, %v", got, err)
		}
		c.config.Certificates = certsConfig{Roots: roots, Hosts: []string{host}}
		q, err := c.openInquiry()
		if err != nil {
			return err
		}
		for range 2 {
			if err := c.inquireOnce(t.Context(), q); err != nil {
				return err
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the list was fetched %d times, want once a day", n)
		}
		got, err := c.userCerts(c.now())
		want := []exporter.UserCerts{{Unit: "xa-an-thanh", Within: map[string]int{"expired": 0, "15d": 0, "30d": 1, "60d": 0, "ok": 2},
			Revocation: map[string]int{"good": 1, "revoked": 1, "stray": 1, "unknown": 0}}}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
		a, err := c.seenCerts(admin)
		if err != nil {
			return err
		}
		var said []string
		for _, x := range a.Certificates {
			said = append(said, x.Holder+" "+x.Revocation)
		}
		if diff := cmp.Diff([]string{"Person 10 good", "Person 20 revoked", "Person 30 stray"}, said); diff != "" {
			t.Error(diff)
		}
		if n := c.certNotices(c.district(), c.now()); len(n) != 2 || !strings.Contains(n[0].VI, "1 đã bị thu hồi") {
			t.Errorf("the first page says %+v", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCertsConfig(t *testing.T) {
	for text, want := range map[string]string{
		"certificates: {hosts: [ca.test]}":                                "certificates.roots: missing",
		"certificates: {roots: r.pem}":                                    "certificates.hosts: missing",
		"certificates: {roots: r.pem, hosts: [a.test], recheck: 1m}":      "recheck 1m0s: want 1h to 168h",
		"certificates: {roots: r.pem, hosts: [a.test], recheck: 200h}":    "want 1h to 168h",
		"certificates: {roots: r.pem, hosts: [a.test], recheck: 12h}":     "",
		"certificates: {roots: r.pem, hosts: [a.test], sha1_chain: true}": "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, configFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := loadConfig(dir, "")
		switch {
		case want == "" && (err != nil || c.Certificates.Roots != filepath.Join(dir, "r.pem")):
			t.Errorf("%s: %v, %q", text, err, c.Certificates.Roots)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", text, err)
		}
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate of key, signed by the authority's.
func issue(t *testing.T, c, by *x509.Certificate, key, of *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), of)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
