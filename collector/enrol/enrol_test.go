package enrol

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/host"
	"egovmon/agent/push"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// A district is a registrar on its log, with a clock that the test moves and the calls of the agent API that concern it.
type district struct {
	*Registrar
	keys  *Keys
	store *evidence.Store
	dir   string
	clock time.Time
	url   string
}

var start = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func (d *district) now() time.Time { return d.clock }

func (d *district) options() Options {
	return Options{
		Dir: filepath.Join(d.dir, "enrol"), Keys: d.keys, Log: d.store, Now: d.now,
		Machines: func(unit string) ([]string, bool) {
			ids, ok := map[string][]string{
				"an-thanh": {"pc-an-thanh-01", "pc-an-thanh-02"}, "quang-khai": {"pc-quang-khai-01"},
			}[unit]
			return ids, ok
		},
	}
}

func (d *district) open(t *testing.T) {
	t.Helper()
	var err error
	if d.Registrar, err = Open(t.Context(), d.options()); err != nil {
		t.Fatal(err)
	}
}

func newDistrict(t *testing.T) *district {
	t.Helper()
	d := &district{dir: t.TempDir(), clock: start}
	var err error
	if d.keys, err = OpenKeys(filepath.Join(d.dir, "keys"), "tu-ky", d.now); err != nil {
		t.Fatal(err)
	}
	v, err := d.keys.LogVerifier()
	if err != nil {
		t.Fatal(err)
	}
	d.store, err = evidence.Open(evidence.Options{Dir: filepath.Join(d.dir, "evidence"), Origin: v.Name(), Signer: d.keys.LogSigner, Verifier: v})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.store.Close() })
	d.open(t)
	d.serve(t)
	return d
}

// serve answers enrol, renew and time over TLS as the intake does.
func (d *district) serve(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathEnrol, func(w http.ResponseWriter, r *http.Request) {
		var req wire.EnrolRequest
		err := json.NewDecoder(r.Body).Decode(&req)
		var a wire.EnrolAnswer
		if err == nil {
			a, err = d.Enrol(r.Context(), req)
		}
		reply(w, a, err)
	})
	mux.HandleFunc("POST "+wire.PathRenew, func(w http.ResponseWriter, r *http.Request) {
		var req wire.RenewRequest
		var a wire.RenewAnswer
		m, err := d.Identify(r.TLS)
		if err == nil {
			err = json.NewDecoder(r.Body).Decode(&req)
		}
		if err == nil {
			a, err = d.Renew(r.Context(), m.ID, req)
		}
		reply(w, a, err)
	})
	mux.HandleFunc("GET "+wire.PathPlan, func(w http.ResponseWriter, r *http.Request) {
		m, err := d.Identify(r.TLS)
		reply(w, m.ID, err)
	})
	d.url = serveTLS(t, d.TLSConfig(), mux)
}

func serveTLS(t *testing.T, conf *tls.Config, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, TLSConfig: conf, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	go s.ServeTLS(l, "", "")
	t.Cleanup(func() { s.Close() })
	return "https://" + l.Addr().String()
}

func reply(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		refused, ok := errors.AsType[*Refusal](err)
		if !ok {
			refused = &Refusal{wire.CodeInternal, err.Error()}
		}
		w.WriteHeader(http.StatusForbidden)
		answer = wire.Refusal{Code: refused.Code, Error: refused.Text}
	}
	json.NewEncoder(w).Encode(answer)
}

func (d *district) token(t *testing.T, unit, machine string) Invitation {
	t.Helper()
	in, err := d.NewToken(unit, machine)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func (d *district) enrol(t *testing.T, token string, o push.EnrolOptions) (*host.Identity, error) {
	t.Helper()
	if o.Now == nil {
		o.Now = d.now
	}
	return push.Enrol(t.Context(), d.url, token, o)
}

// call asks for something that needs an identity.
func (d *district) call(t *testing.T, id *host.Identity) (int, string) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: id.TLSConfig(d.now)}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Get(d.url + wire.PathPlan)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := wire.ReadAll(res.Body, wire.MaxAnswer)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestEnrol(t *testing.T) {
	d := newDistrict(t)
	in := d.token(t, "an-thanh", "")
	if in.Machine != "pc-an-thanh-01" {
		t.Errorf("token is for %s, want the first machine of the unit", in.Machine)
	}
	if second := d.token(t, "an-thanh", ""); second.Machine != "pc-an-thanh-02" {
		t.Errorf("second token is for %s, want the machine nobody has a token for", second.Machine)
	}
	if _, err := d.NewToken("an-thanh", ""); err == nil {
		t.Error("a third token for two machines")
	}
	id, err := d.enrol(t, strings.ToUpper(in.Token.String())+"\n", push.EnrolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if id.Machine != in.Machine || id.Unit != "an-thanh" || id.District != "tu-ky" {
		t.Errorf("identity of %s, %s, %s", id.Machine, id.Unit, id.District)
	}
	if days := id.TLS.Leaf.NotAfter.Sub(start); days != 90*24*time.Hour {
		t.Errorf("certificate for %s, want 90 days", days)
	}
	if code, body := d.call(t, id); code != http.StatusOK {
		t.Errorf("a call with the new identity: %d %s", code, body)
	}

	// Saved and loaded, it is the same identity.
	dir := filepath.Join(t.TempDir(), "agent")
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	id, err = host.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if code, body := d.call(t, id); code != http.StatusOK {
		t.Errorf("a call with the loaded identity: %d %s", code, body)
	}

	// Every key is a leaf, and the registry after a restart says the same, with its cache and without.
	uses := map[string]bool{}
	for s, err := range d.store.Entries(0) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Leaf.Type() == evidence.AgentKey && s.Leaf.Field("machine") == id.Machine {
			uses[s.Leaf.Field("use")] = true
		}
	}
	if !uses["tls"] || !uses["journal"] || !uses["cosign"] {
		t.Errorf("leaves for the keys %v, want all three", uses)
	}
	d.open(t)
	m, _ := d.Machine(id.Machine)
	signer, err := id.JournalSigner()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Verifiers(d.clock).Verifier(signer.Name(), signer.KeyHash()); err != nil {
		t.Errorf("the journal key is not known after a restart: %v", err)
	}
}

func TestTokenRefused(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, d *district) (token string, o push.EnrolOptions)
		code wire.Code
		is   error
	}{
		{"used twice", func(t *testing.T, d *district) (string, push.EnrolOptions) {
			in := d.token(t, "an-thanh", "")
			if _, err := d.enrol(t, in.Token.String(), push.EnrolOptions{}); err != nil {
				t.Fatal(err)
			}
			return in.Token.String(), push.EnrolOptions{}
		}, wire.CodeTokenUsed, nil},
		{"late", func(t *testing.T, d *district) (string, push.EnrolOptions) {
			in := d.token(t, "an-thanh", "")
			d.clock = d.clock.Add(72 * time.Hour)
			return in.Token.String(), push.EnrolOptions{}
		}, wire.CodeTokenExpired, nil},
		{"other unit", func(t *testing.T, d *district) (string, push.EnrolOptions) {
			return d.token(t, "an-thanh", "").Token.String(), push.EnrolOptions{Unit: "quang-khai"}
		}, wire.CodeTokenOther, nil},
		{"other machine", func(t *testing.T, d *district) (string, push.EnrolOptions) {
			return d.token(t, "an-thanh", "").Token.String(), push.EnrolOptions{Machine: "pc-quang-khai-01"}
		}, wire.CodeTokenOther, nil},
		{"wrong secret", func(t *testing.T, d *district) (string, push.EnrolOptions) {
			in := d.token(t, "an-thanh", "")
			in.Token.Secret[3] ^= 1
			return in.Token.String(), push.EnrolOptions{}
		}, wire.CodeTokenUnknown, nil},
		{"wrong id", func(t *testing.T, d *district) (string, push.EnrolOptions) {
			in := d.token(t, "an-thanh", "")
			in.Token.ID[0] ^= 1
			return in.Token.String(), push.EnrolOptions{}
		}, wire.CodeTokenUnknown, nil},
		{"wrong pin", func(t *testing.T, d *district) (string, push.EnrolOptions) {
			in := d.token(t, "an-thanh", "")
			in.Token.Pin[31] ^= 1
			return in.Token.String(), push.EnrolOptions{}
		}, "", push.ErrWrongPeer},
		{"wrong clock", func(t *testing.T, d *district) (string, push.EnrolOptions) {
			in := d.token(t, "an-thanh", "")
			return in.Token.String(), push.EnrolOptions{Now: func() time.Time { return time.Date(2009, 1, 1, 0, 0, 0, 0, time.UTC) }}
		}, "", push.ErrClock},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDistrict(t)
			token, o := tt.make(t, d)
			size := d.store.Size()
			_, err := d.enrol(t, token, o)
			if refused, ok := errors.AsType[*push.RefusedError](err); tt.code != "" && (!ok || refused.Code != tt.code) {
				t.Errorf("error %v, want the code %s", err, tt.code)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v, want %v", err, tt.is)
			}
			if d.store.Size() != size {
				t.Error("a refused token left a leaf")
			}
		})
	}
}

// A lost answer is asked for again with the same keys, across a restart of the collector.
func TestEnrolAgain(t *testing.T) {
	d := newDistrict(t)
	in := d.token(t, "an-thanh", "")
	var req wire.EnrolRequest
	url := serveTLS(t, d.TLSConfig(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	if _, err := push.Enrol(t.Context(), url, in.Token.String(), push.EnrolOptions{Now: d.now}); err == nil {
		t.Fatal("enrolled at a teapot")
	}
	first, err := d.Enrol(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	d.open(t)
	again, err := d.Enrol(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if string(first.Certificate) != string(again.Certificate) {
		t.Error("the same request was given two certificates")
	}
}

// A crash between the use of a token and the leaves must not cost the token.
func TestEnrolAfterFailedAppend(t *testing.T) {
	d := newDistrict(t)
	in := d.token(t, "an-thanh", "")
	o := d.options()
	o.Log = failing{d.store}
	broken, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	good := d.Registrar
	d.Registrar = broken
	var req wire.EnrolRequest
	d.url = capture(t, d, &req)
	if _, err := d.enrol(t, in.Token.String(), push.EnrolOptions{}); err == nil {
		t.Fatal("enrolled without a log")
	}
	d.Registrar = good
	d.open(t)
	if _, err := d.Enrol(t.Context(), req); err != nil {
		t.Errorf("the same request after the log is back: %v", err)
	}
}

type failing struct{ *evidence.Store }

func (failing) Append(context.Context, ...evidence.Entry) (int64, error) {
	return 0, errors.New("disk full")
}

// capture serves enrol and keeps the last request.
func capture(t *testing.T, d *district, req *wire.EnrolRequest) string {
	return serveTLS(t, d.TLSConfig(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(req); err != nil {
			t.Error(err)
		}
		a, err := d.Enrol(r.Context(), *req)
		reply(w, a, err)
	}))
}

func TestNothingIsSentToAWrongPeer(t *testing.T) {
	d := newDistrict(t)
	in := d.token(t, "an-thanh", "")
	other := newDistrict(t)
	asked := false
	hear := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true })
	// An inspecting box that shows the true CA's certificate below its own.
	conf := other.TLSConfig()
	cert, err := other.server.get(other.opts)
	if err != nil {
		t.Fatal(err)
	}
	forged := *cert
	forged.Certificate = [][]byte{cert.Certificate[0], d.keys.CA.Raw}
	conf.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &forged, nil }
	_, err = push.Enrol(t.Context(), serveTLS(t, conf, hear), in.Token.String(), push.EnrolOptions{Now: d.now})
	if !errors.Is(err, push.ErrWrongPeer) || asked {
		t.Errorf("error %v, request sent: %t", err, asked)
	}

	// A machine's certificate must not pass as the collector's.
	id, err := d.enrol(t, in.Token.String(), push.EnrolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	machine := id.TLS
	machine.Certificate = [][]byte{id.TLS.Certificate[0], d.keys.CA.Raw}
	url := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{machine}}, hear)
	_, err = push.Enrol(t.Context(), url, d.token(t, "an-thanh", "").Token.String(), push.EnrolOptions{Now: d.now})
	if !errors.Is(err, push.ErrWrongPeer) || asked {
		t.Errorf("a machine in the collector's place: error %v, request sent: %t", err, asked)
	}
}

func TestNoTLSThere(t *testing.T) {
	d := newDistrict(t)
	in := d.token(t, "an-thanh", "").Token.String()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go http.Serve(l, http.NotFoundHandler())
	if _, err := push.Enrol(t.Context(), l.Addr().String(), in, push.EnrolOptions{Now: d.now}); !errors.Is(err, push.ErrWrongPeer) {
		t.Errorf("plain HTTP: %v", err)
	}
	if _, err := push.Enrol(t.Context(), "http://x", in, push.EnrolOptions{}); err == nil || !strings.Contains(err.Error(), "https://host:19443") {
		t.Errorf("a wrong address: %v", err)
	}
}

func TestRenew(t *testing.T) {
	d := newDistrict(t)
	old, err := d.enrol(t, d.token(t, "an-thanh", "").Token.String(), push.EnrolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d.clock = start.Add(59 * 24 * time.Hour); old.RenewDue(d.clock) {
		t.Error("due with 31 days to run")
	}
	if d.clock = start.Add(61 * 24 * time.Hour); !old.RenewDue(d.clock) {
		t.Error("not due with 29 days to run")
	}
	id, err := push.Renew(t.Context(), old, push.RenewOptions{NewJournalKey: true, NewCosignKey: true}, d.now)
	if err != nil {
		t.Fatal(err)
	}
	if id.JournalKey == old.JournalKey || id.CosignKey == old.CosignKey {
		t.Error("the keys are the same")
	}
	for name, x := range map[string]*host.Identity{"old": old, "new": id} {
		if code, body := d.call(t, x); code != http.StatusOK {
			t.Errorf("the %s certificate: %d %s", name, code, body)
		}
		s, err := x.JournalSigner()
		if err != nil {
			t.Fatal(err)
		}
		m, _ := d.Machine(id.Machine)
		if _, err := m.Verifiers(d.clock).Verifier(s.Name(), s.KeyHash()); err != nil {
			t.Errorf("the %s journal key: %v", name, err)
		}
		_, err = m.Verifiers(d.clock.Add(31*24*time.Hour)).Verifier(s.Name(), s.KeyHash())
		if (err == nil) != (name == "new") {
			t.Errorf("the %s journal key after the overlap: %v", name, err)
		}
	}
	// A successor that its predecessor did not sign.
	forged := *id
	forged.JournalKey = old.JournalKey
	_, err = push.Renew(t.Context(), &forged, push.RenewOptions{NewJournalKey: true}, d.now)
	if refused, ok := errors.AsType[*push.RefusedError](err); !ok || refused.Code != wire.CodeBadKey {
		t.Errorf("a successor of an old key: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	d := newDistrict(t)
	id, err := d.enrol(t, d.token(t, "an-thanh", "").Token.String(), push.EnrolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	open := d.token(t, "an-thanh", id.Machine)
	if err := d.Revoke(t.Context(), id.Machine, "máy bị mất"); err != nil {
		t.Fatal(err)
	}
	_, err = d.enrol(t, open.Token.String(), push.EnrolOptions{})
	if r, ok := errors.AsType[*push.RefusedError](err); !ok || r.Code != wire.CodeTokenExpired {
		t.Errorf("a token from before: %v", err)
	}
	for range 2 { // before and after a restart
		if code, body := d.call(t, id); code != http.StatusForbidden || !strings.Contains(body, string(wire.CodeRevoked)) {
			t.Errorf("a revoked machine: %d %s", code, body)
		}
		d.open(t)
	}
	// It comes back by a token, and what it had stays dead.
	d.clock = d.clock.Add(time.Minute)
	again, err := d.enrol(t, d.token(t, "an-thanh", id.Machine).Token.String(), push.EnrolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := d.call(t, again); code != http.StatusOK {
		t.Errorf("enrolled again: %d", code)
	}
	if code, body := d.call(t, id); code != http.StatusForbidden || !strings.Contains(body, string(wire.CodeNoIdentity)) {
		t.Errorf("the old certificate: %d %s", code, body)
	}
}

func TestForeignCertificate(t *testing.T) {
	d, other := newDistrict(t), newDistrict(t)
	id, err := other.enrol(t, other.token(t, "an-thanh", "").Token.String(), push.EnrolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	id.CA = d.keys.CA // it believes the server; the server must not believe it
	conf := id.TLSConfig(d.now)
	cert := id.TLS
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	tr := &http.Transport{TLSClientConfig: conf}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Get(d.url + wire.PathPlan)
	if err == nil {
		res.Body.Close()
		t.Errorf("another district's certificate: %s", res.Status)
	}
}

func TestServerCertificateRenewsItself(t *testing.T) {
	d := newDistrict(t)
	first, err := d.server.get(d.opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		after time.Duration
		same  bool
	}{{19 * 24 * time.Hour, true}, {21 * 24 * time.Hour, false}} {
		d.clock = start.Add(tt.after)
		c, err := d.server.get(d.opts)
		if err != nil {
			t.Fatal(err)
		}
		if (c == first) != tt.same {
			t.Errorf("after %s the same certificate: %t", tt.after, c == first)
		}
		if !c.Leaf.NotAfter.After(d.clock) {
			t.Errorf("after %s the certificate has ended", tt.after)
		}
	}
}

func TestKeysOfAnotherDistrict(t *testing.T) {
	d := newDistrict(t)
	pin := d.keys.Pin()
	again, err := OpenKeys(filepath.Join(d.dir, "keys"), "tu-ky", d.now)
	if err != nil || again.Pin() != pin || again.LogKey != d.keys.LogKey {
		t.Errorf("opened again: %v", err)
	}
	if _, err := OpenKeys(filepath.Join(d.dir, "keys"), "gia-loc", d.now); err == nil || !strings.Contains(err.Error(), "another district") {
		t.Errorf("another district's keys: %v", err)
	}
}

// Nobody enrols a key that is not theirs, or one that cannot be used.
func TestKeysRefused(t *testing.T) {
	d := newDistrict(t)
	var good wire.EnrolRequest
	in := d.token(t, "an-thanh", "")
	url := serveTLS(t, d.TLSConfig(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&good); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	if _, err := push.Enrol(t.Context(), url, in.Token.String(), push.EnrolOptions{Now: d.now}); err == nil {
		t.Fatal("enrolled at a teapot")
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p384)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte, i int) []byte { b = slices.Clone(b); b[i] ^= 1; return b }
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	size := d.store.Size()
	for name, change := range map[string]func(r *wire.EnrolRequest){
		"no CSR":                 func(r *wire.EnrolRequest) { r.CSR = nil },
		"a CSR not signed":       func(r *wire.EnrolRequest) { r.CSR = flip(r.CSR, len(r.CSR)-1) },
		"another curve":          func(r *wire.EnrolRequest) { r.CSR = large },
		"journal key not proven": func(r *wire.EnrolRequest) { r.JournalProof = flip(r.JournalProof, 5) },
		"cosign key not proven":  func(r *wire.EnrolRequest) { r.CosignProof = nil },
		"another's journal key": func(r *wire.EnrolRequest) {
			r.Journal = append([]byte{wire.AlgEd25519}, other.Public().(ed25519.PublicKey)...)
			r.CosignProof = nil
		},
		"algorithms swapped": func(r *wire.EnrolRequest) { r.Journal, r.Cosign = flip(r.Journal, 0), flip(r.Cosign, 0) },
		"one key for both": func(r *wire.EnrolRequest) {
			pub := other.Public().(ed25519.PublicKey)
			r.Journal, r.Cosign = append([]byte{wire.AlgEd25519}, pub...), append([]byte{wire.AlgCosign}, pub...)
			r.JournalProof = ed25519.Sign(other, r.Statement())
			r.CosignProof = r.JournalProof
		},
		"no key": func(r *wire.EnrolRequest) { r.Journal = nil },
	} {
		req := good
		change(&req)
		_, err := d.Enrol(t.Context(), req)
		if refused, ok := errors.AsType[*Refusal](err); !ok || refused.Code != wire.CodeBadKey {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d.store.Size() != size {
		t.Error("a refused key left a leaf")
	}
	if _, err := d.Enrol(t.Context(), good); err != nil {
		t.Errorf("the token is still good after all that: %v", err)
	}
}

// The file beside the log only saves time: one that is damaged or of another log is not believed.
func TestRegistryFile(t *testing.T) {
	d, other := newDistrict(t), newDistrict(t)
	id, err := d.enrol(t, d.token(t, "an-thanh", "").Token.String(), push.EnrolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.enrol(t, other.token(t, "quang-khai", "").Token.String(), push.EnrolOptions{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.options().Dir, registryFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(filepath.Join(other.options().Dir, registryFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"good": good, "cut": good[:len(good)/2], "another log's": foreign, "newer": []byte(`{"version":2,"next":3,"known":{}}`)} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		d.open(t)
		if ms := d.Machines(); len(ms) != 1 || ms[0].ID != id.Machine || len(ms[0].Keys) != 3 {
			t.Errorf("%s: machines %+v", name, ms)
		}
		if code, body := d.call(t, id); code != http.StatusOK {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	if err := os.WriteFile(filepath.Join(d.options().Dir, tokenFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), d.options()); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged file of tokens: %v", err)
	}
}
