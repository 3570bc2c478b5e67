package enrol

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
	"time"

	"egovmon/agent/host"
	"egovmon/agent/push"
	"egovmon/agent/wire"
)

// A kept connection is one that calls are made on again and again.
type kept struct {
	client *http.Client
	url    string
}

func (d *district) keep(t *testing.T, id *host.Identity) *kept {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: id.TLSConfig(d.now)}
	t.Cleanup(tr.CloseIdleConnections)
	return &kept{&http.Client{Transport: tr}, d.url}
}

// call reports the status and whether the connection was the one before.
func (k *kept) call(t *testing.T) (status int, body string, reused bool) {
	t.Helper()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url+wire.PathPlan, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := k.client.Do(req)
	if err != nil {
		return 0, err.Error(), reused
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), reused
}

// What ends an identity ends it at once, on connections that are open as well.
func TestIdentityEndsOnOpenConnections(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(t *testing.T, d *district, id *host.Identity)
		code wire.Code
	}{
		"revoked": {func(t *testing.T, d *district, id *host.Identity) {
			if err := d.Revoke(t.Context(), id.Machine, "máy bị mất"); err != nil {
				t.Fatal(err)
			}
		}, wire.CodeRevoked},
		"expired": {func(_ *testing.T, d *district, id *host.Identity) { d.clock = id.TLS.Leaf.NotAfter.Add(time.Second) }, wire.CodeNoIdentity},
		"enrolled again": {func(t *testing.T, d *district, id *host.Identity) {
			d.clock = d.clock.Add(time.Minute)
			if _, err := d.enrol(t, d.token(t, id.Unit, id.Machine).Token.String(), push.EnrolOptions{}); err != nil {
				t.Fatal(err)
			}
		}, wire.CodeNoIdentity},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDistrict(t)
			id, err := d.enrol(t, d.token(t, "an-thanh", "").Token.String(), push.EnrolOptions{})
			if err != nil {
				t.Fatal(err)
			}
			k := d.keep(t, id)
			if status, body, _ := k.call(t); status != http.StatusOK {
				t.Fatalf("%d %s", status, body)
			}
			tt.end(t, d, id)
			status, body, reused := k.call(t)
			if !reused {
				t.Fatal("the connection was not kept: this shows nothing")
			}
			if status != http.StatusForbidden || !strings.Contains(body, string(tt.code)) {
				t.Errorf("%d %s, want the code %s", status, body, tt.code)
			}
			if status, _ := d.call(t, id); status == http.StatusOK {
				t.Error("a new connection is taken")
			}
		})
	}
}

// A certificate request may ask for whatever it likes: only its key counts.
func TestForeignNamesInRequest(t *testing.T) {
	d := newDistrict(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := url.Parse(wire.MachineURI("tu-ky", "pc-quang-khai-01"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := asn1.Marshal(struct{ CA bool }{true})
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "egovmon collector tu-ky"}, URIs: []*url.URL{other}, DNSNames: []string{"collector", "*"},
		IPAddresses: []net.IP{{127, 0, 0, 1}}, EmailAddresses: []string{"a@example.vn"},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: ca}},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := d.enrol(t, d.token(t, "an-thanh", "pc-an-thanh-01").Token.String(), push.EnrolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Renew(t.Context(), id.Machine, wire.RenewRequest{CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(a.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.URIs) != 1 || c.URIs[0].String() != wire.MachineURI("tu-ky", "pc-an-thanh-01") || c.Subject.CommonName != "pc-an-thanh-01" {
		t.Errorf("the certificate names %v, %v", c.URIs, c.Subject)
	}
	if len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses) != 0 || c.IsCA {
		t.Errorf("names %v %v %v, CA %t", c.DNSNames, c.IPAddresses, c.EmailAddresses, c.IsCA)
	}
	if len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Errorf("it is good for %v", c.ExtKeyUsage)
	}
}

// A successor that was signed for one machine is none for another.
func TestRenewalOfAnotherMachine(t *testing.T) {
	d := newDistrict(t)
	var ids []*host.Identity
	for range 2 {
		id, err := d.enrol(t, d.token(t, "an-thanh", "").Token.String(), push.EnrolOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	thief := *ids[0]
	thief.TLS = ids[1].TLS // the connection of one, the keys of another
	_, err := push.Renew(t.Context(), &thief, push.RenewOptions{NewJournalKey: true}, d.now)
	if r, ok := errors.AsType[*push.RefusedError](err); !ok || r.Code != wire.CodeBadKey {
		t.Errorf("%v", err)
	}
	revoked := ids[0]
	if err := d.Revoke(t.Context(), revoked.Machine, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := push.Renew(t.Context(), revoked, push.RenewOptions{}, d.now); err == nil {
		t.Error("a revoked machine renews itself")
	}
	late := *ids[1]
	d.clock = late.TLS.Leaf.NotAfter.Add(time.Second)
	if _, err := push.Renew(t.Context(), &late, push.RenewOptions{}, d.now); err == nil {
		t.Error("a machine whose certificate has ended renews itself")
	}
}
