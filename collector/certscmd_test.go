package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/collector/access"
	"egovmon/collector/certs"
)

// personCert writes the certificate of a person into a file, and its key into another.
func personCert(t *testing.T, dir, name, org string, days int) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(0x5401_77), Subject: pkix.Name{CommonName: name, Organization: []string{org}},
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(0, 0, days)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".cer"), filepath.Join(dir, name+".pem")
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	for path, text := range map[string][]byte{cert: der, key: both} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestCertsCommand enters certificates on the command line, sees them listed, and takes one off; a private key is
// refused. Those who may not see names see counts.
func TestCertsCommand(t *testing.T) {
	dir, scratch := t.TempDir(), t.TempDir()
	cmd := func(want int, args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		if code := run(t.Context(), append([]string{"certs", "--data", dir}, args...), &out, &errs); code != want {
			t.Fatalf("certs %v: exit %d, want %d: %s%s", args, code, want, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	lan, key := personCert(t, scratch, "Nguyen Lan", "UBND xã An Thanh", 20)
	hoa, _ := personCert(t, scratch, "Tran Hoa\x1b[31m", "UBND huyện Tứ Kỳ", 400)
	if out := cmd(exitDone, "add", "--unit", "xa-an-thanh", lan, hoa, lan); !strings.Contains(out, "2 entered, 1 were there before") {
		t.Error(out)
	}
	if out := cmd(exitUsage, "add", "--unit", "xa-an-thanh", key); !strings.Contains(out, "it holds a private key") {
		t.Error(out)
	}
	for _, bad := range [][]string{{"add", "--unit", "xa-an-thanh"}, {"remove", "x"}, {"drop"}, {"add", "--unit", "xa-an-thanh", "/no/such"}} {
		cmd(exitUsage, bad...)
	}
	if out := cmd(exitFailed, "add", "--unit", "xa-khong-co", lan); !strings.Contains(out, "is not in the profile") {
		t.Error(out)
	}
	if out := cmd(exitFailed, "add", lan); !strings.Contains(out, "unit: missing") {
		t.Error(out)
	}
	out := cmd(exitDone, "list")
	if !strings.Contains(out, "Nguyen Lan") || !strings.Contains(out, "UBND xã An Thanh") || strings.Contains(out, "\x1b") {
		t.Errorf("%q", out)
	}
	var a certsAnswer
	if err := json.Unmarshal([]byte(cmd(exitDone, "list", "--json")), &a); err != nil || len(a.Certificates) != 2 || len(a.Units) != 1 || a.Units[0].Days["30"] != 1 || a.Units[0].Days["later"] != 1 ||
		a.Units[0].Other != 1 {
		t.Fatalf("%v, %+v", err, a)
	}
	cmd(exitDone, "remove", itoa(a.Certificates[0].Leaf))
	if out := cmd(exitDone, "list"); strings.Contains(out, a.Certificates[0].Holder) || !strings.Contains(out, "xa-an-thanh") {
		t.Error(out)
	}
	cmd(exitFailed, "remove", itoa(a.Certificates[0].Leaf))
	// A person asks for the certificate to be erased: nobody finds the name again, and that it was there is known.
	left := a.Certificates[1]
	for _, why := range []string{"", "asked for by letter 12"} {
		var out, errs strings.Builder
		code := run(t.Context(), []string{"retention", "--data", dir, "--erase", itoa(left.Leaf), "--why", why}, &out, &errs)
		if why == "" && (code != exitFailed || !strings.Contains(errs.String(), "--why")) || why != "" && code != exitDone {
			t.Errorf("erased with why %q: exit %d, %s%s", why, code, out.String(), errs.String())
		}
	}
	var after certsAnswer
	if err := json.Unmarshal([]byte(cmd(exitDone, "list", "--json")), &after); err != nil || len(after.Certificates) != 1 || after.Units[0].Erased != 1 {
		t.Fatalf("%v, %+v", err, after)
	}
	if c := after.Certificates[0]; c.Leaf != left.Leaf || c.Holder != "" || c.Serial != "" || len(c.Of) != 0 {
		t.Errorf("after the erasing: %+v", c)
	}
}

func itoa(n int64) string { return big.NewInt(n).String() }

func TestWhoSeesHolders(t *testing.T) {
	for _, tt := range []struct {
		who  access.Who
		want bool
	}{
		{access.Who{Role: access.RoleAdmin, Person: true}, true},
		{access.Who{Role: access.RoleOperator, Person: true}, true},
		{access.Who{Role: access.RoleOperator, Unit: "a", Person: true}, false},
		{access.Who{Role: access.RoleAuditor, Person: true}, false},
		{access.Who{Role: access.RoleOfficer, Person: true}, false},
		{access.Who{Role: access.RoleViewer, Person: true}, false},
		{access.Who{Name: access.Program}, true},
		{access.Who{Name: "prom@token"}, false},
		{access.Who{}, false},
	} {
		if got := seesHolders(tt.who); got != tt.want {
			t.Errorf("%+v: %v", tt.who, got)
		}
	}
}

// TestCertsRights: an officer of a unit enters certificates of that unit, sees its counts, and takes none off.
func TestCertsRights(t *testing.T) {
	dir, scratch := t.TempDir(), t.TempDir()
	lan, key := personCert(t, scratch, "Nguyen Lan", "UBND xã An Thanh", 20)
	text, err := os.ReadFile(lan)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	ran := false
	err = withCenter(t.Context(), dir, &bytes.Buffer{}, func(string) error { return errNotRunning }, func(c *center) error {
		ran = true
		officer := access.Who{Name: "hoa", Unit: "xa-an-thanh", Role: access.RoleOfficer, Person: true}
		enter := func(unit string, text []byte) (certs.Added, error) {
			return c.changeCerts(t.Context(), certsRequest{Unit: unit, Files: [][]byte{text}}, officer)
		}
		if a, err := enter("xa-an-thanh", text); err != nil || a.New != 1 {
			t.Errorf("%+v, %v", a, err)
		}
		if _, err := enter("xa-van-to", text); err != errForeignCerts {
			t.Errorf("of another unit: %v", err)
		}
		if _, err := enter("xa-an-thanh", secret); err == nil || !strings.Contains(err.Error(), "private key") {
			t.Errorf("a private key: %v", err)
		}
		list, err := c.certificates()
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %d", err, len(list))
		}
		if _, err := c.changeCerts(t.Context(), certsRequest{Remove: &list[0].Leaf}, officer); err != errForeignCerts {
			t.Errorf("taken off by an officer: %v", err)
		}
		for _, w := range []access.Who{officer, {Name: "k", Role: access.RoleAuditor, Person: true}, {Name: "prom@token"}} {
			a, err := c.seenCerts(w)
			raw, _ := json.Marshal(a)
			if err != nil || len(a.Units) != 1 || strings.Contains(string(raw), "Lan") || strings.Contains(string(raw), "540177") {
				t.Errorf("%s: %v, %s", w.Name, err, raw)
			}
		}
		if a, err := c.seenCerts(access.Who{Name: "x", Unit: "xa-van-to", Role: access.RoleViewer}); err != nil || len(a.Units) != 0 {
			t.Errorf("another unit's counts: %+v, %v", a, err)
		}
		notice := c.certNotices(c.district(), c.now())
		if len(notice) != 1 || !strings.Contains(notice[0].VI, "0 đã hết hạn, 0 còn dưới 15 ngày, 1 còn 15–30 ngày") {
			t.Errorf("the first page says %+v", notice)
		}
		if later := c.certNotices(c.district(), c.now().AddDate(0, 0, -50)); later != nil {
			t.Errorf("70 days before, the first page says %+v", later)
		}
		if _, err := c.retention(t.Context(), retentionRequest{Erase: &list[0].Leaf, Why: "asked for"}, "lan"); err != nil {
			t.Fatal(err)
		}
		all, err := c.seenCerts(access.Who{Name: access.Program})
		if raw, _ := json.Marshal(all); err != nil || len(all.Certificates) != 1 || strings.Contains(string(raw), "Lan") || strings.Contains(string(raw), "540177") {
			t.Errorf("after the erasing, in the same program: %v, %s", err, raw)
		}
		g := registrar{c}
		ctx := access.With(context.Background(), officer)
		page, err := g.Certificates(ctx)
		if err != nil || len(page) != 1 || page[0].List != nil {
			t.Errorf("the page of an officer: %+v, %v", page, err)
		}
		return nil
	})
	if err != nil || !ran {
		t.Fatal(err, ran)
	}
}
