package servers

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// RevocationConfig sets up a server of revocation.
type RevocationConfig struct {
	PKI *PKI
	Now func() time.Time // nil for the system's clock
}

// A Revocation answers whether certificates of a PKI were revoked: lists and the trust list over HTTP, and OCSP (RFC 6960). Lists
// are made by OpenSSL, and so is each OCSP answer, by its responder, which is asked once per request: by itself it cannot be told the
// address to listen at.
type Revocation struct {
	p    Place
	c    RevocationConfig
	web  *httpd
	sign map[string]*Identity // of the responder, by the authority's name

	mu        sync.Mutex
	staleCRL  bool
	staleOCSP bool
	byKey     bool
}

// The paths of what is to be had.
const (
	pathCRL       = "/pki/pub/crl"
	pathTrustList = "/pki/pub/ctl/gca.ctl"
	pathOCSP      = "/ocsp"
)

// How old stale answers are, and for how long answers hold.
const (
	staleFor = 10 * 24 * time.Hour
	validFor = 24 * time.Hour
)

// RevocationURLs returns where a server at a Place will answer, by the name or address of its host: the responder, and the folder
// of lists. Certificates hold both, so that they are needed before the server is.
func RevocationURLs(p Place, host string) (ocsp, crl string) {
	base := p.url("http", host, 80)
	return base + pathOCSP, base + pathCRL
}

// StartRevocation starts the server at port 80.
func StartRevocation(ctx context.Context, p Place, c RevocationConfig) (*Revocation, error) {
	if err := Require("openssl", "faketime"); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	r := &Revocation{p: p, c: c, sign: map[string]*Identity{}}
	for _, a := range []*Authority{c.PKI.G1, c.PKI.G2} {
		id, err := a.responder()
		if err != nil {
			return nil, err
		}
		r.sign[a.Name] = id
		if err := r.prepareLists(a); err != nil {
			return nil, err
		}
	}
	mux := http.NewServeMux()
	for _, a := range []*Authority{c.PKI.G1, c.PKI.G2} {
		mux.HandleFunc("GET "+pathCRL+"/"+a.CRLName(), func(w http.ResponseWriter, req *http.Request) { r.serveCRL(w, req, a) })
		mux.HandleFunc("GET "+pathCRL+"/"+a.CRLName()+".pem", func(w http.ResponseWriter, req *http.Request) { r.serveCRL(w, req, a) })
	}
	mux.HandleFunc("GET "+pathTrustList, r.serveTrustList)
	mux.HandleFunc("POST "+pathOCSP, r.serveOCSP)
	mux.HandleFunc("GET "+pathOCSP+"/", r.serveOCSP)
	var err error
	r.web, err = startHTTP(ctx, p, 80, mux)
	return r, err
}

// Stop ends the server.
func (r *Revocation) Stop() error { return r.web.Stop() }

// Addr is its host:port.
func (r *Revocation) Addr() string { return r.p.at(80) }

// OCSP is the responder's URL.
func (r *Revocation) OCSP() string { u, _ := RevocationURLs(r.p, r.p.IP.String()); return u }

// CRL is the URL of an authority's list in DER; with ".pem" at its end it is the list in PEM.
func (r *Revocation) CRL(a *Authority) string {
	_, u := RevocationURLs(r.p, r.p.IP.String())
	return u + "/" + a.CRLName()
}

// TrustList is the URL of the list of authorities.
func (r *Revocation) TrustList() string { return r.p.url("http", r.p.IP.String(), 80) + pathTrustList }

// Dead closes the port.
func (r *Revocation) Dead(dead bool) error { return r.web.Dead(dead) }

// StaleCRL lets lists, the trust list too, be ones that were due again days ago.
func (r *Revocation) StaleCRL(stale bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.staleCRL = stale
	return nil
}

// StaleOCSP lets answers be ones that held until days ago.
func (r *Revocation) StaleOCSP(stale bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.staleOCSP = stale
	return nil
}

// NamedByKey lets OCSP answers name the responder by its key, or by its name again; both are allowed.
func (r *Revocation) NamedByKey(on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byKey = on
	return nil
}

// Revoked lets a certificate be revoked since an hour ago, in answers and lists.
func (r *Revocation) Revoked(a *Authority, serial *big.Int, revoked bool) error {
	if !revoked {
		return a.Revoke(serial, time.Time{})
	}
	return a.Revoke(serial, r.c.Now().Add(-time.Hour))
}

// listTimes is when a list was issued and is due again.
func (r *Revocation) listTimes() (issued, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	issued = r.c.Now().Add(-time.Minute)
	if r.staleCRL {
		issued = issued.Add(-staleFor)
	}
	return issued, issued.Add(validFor)
}

// crlSettings is OpenSSL's configuration of an authority that issues lists; the register, the file of the next list's number, the
// authority's certificate and its key are filled in.
const crlSettings = `[ca]
default_ca = c
[c]
database = %s
crlnumber = %s
certificate = %s
private_key = %s
default_md = sha256
crl_extensions = e
[e]
authorityKeyIdentifier = keyid
`

// firstList is the number of an authority's first list: one that has issued lists for years.
const firstList = 0x4b1

// prepareLists writes what OpenSSL makes an authority's lists from, but for the register.
func (r *Revocation) prepareLists(a *Authority) error {
	number := filepath.Join(r.p.Dir, "number-"+a.Name)
	settings := fmt.Appendf(nil, crlSettings, r.registerFile(a), number, a.File, a.KeyFile)
	return errors.Join(replace(filepath.Join(r.p.Dir, "crl-"+a.Name+".cnf"), settings, 0o644), replace(number, fmt.Appendf(nil, "%04X\n", firstList), 0o644))
}

func (r *Revocation) registerFile(a *Authority) string {
	return filepath.Join(r.p.Dir, "index-"+a.Name+".txt")
}

// serveCRL answers with a new list, in DER, or where the path ends in .pem in PEM.
func (r *Revocation) serveCRL(w http.ResponseWriter, req *http.Request, a *Authority) {
	list, err := r.list(req.Context(), a)
	if err == nil && !strings.HasSuffix(req.URL.Path, ".pem") {
		list, err = unpacked(list)
	}
	respond(w, "application/pkix-crl", list, err)
}

// list lets OpenSSL make a list (RFC 5280, section 5) from the authority's register, in PEM.
func (r *Revocation) list(ctx context.Context, a *Authority) ([]byte, error) {
	issued, next := r.listTimes()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := replace(r.registerFile(a), a.register(), 0o644); err != nil {
		return nil, err
	}
	args := []string{"openssl", "ca", "-gencrl", "-batch", "-config", filepath.Join(r.p.Dir, "crl-"+a.Name+".cnf"), "-crlhours", fmt.Sprint(int(next.Sub(issued).Hours()))}
	return opensslAt(ctx, r.p, time.Until(issued), nil, args)
}

func unpacked(text []byte) ([]byte, error) {
	b, _ := pem.Decode(text)
	if b == nil || b.Type != "X509 CRL" {
		return nil, fmt.Errorf("OpenSSL made no list: %.100q", text)
	}
	return b.Bytes, nil
}

func (r *Revocation) serveTrustList(w http.ResponseWriter, _ *http.Request) {
	text, err := r.c.PKI.TrustList(r.listTimes())
	respond(w, "application/json", text, err)
}

func respond(w http.ResponseWriter, kind string, body []byte, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body)
}

// serveOCSP answers a request in the body, or in the path in base64 (RFC 6960, appendix A.1).
func (r *Revocation) serveOCSP(w http.ResponseWriter, req *http.Request) {
	query, err := io.ReadAll(req.Body)
	if req.Method == http.MethodGet {
		var text string
		if text, err = url.PathUnescape(strings.TrimPrefix(req.URL.EscapedPath(), pathOCSP+"/")); err == nil {
			query, err = base64.StdEncoding.DecodeString(text)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := r.answer(req.Context(), query)
	respond(w, "application/ocsp-response", answer, err)
}

// answer lets OpenSSL answer for the authority that knows the certificate; one that does not says "unknown" or that it may not tell.
func (r *Revocation) answer(ctx context.Context, query []byte) ([]byte, error) {
	a, err := r.asked(query)
	if err != nil {
		return nil, err
	}
	register := r.registerFile(a)
	id := r.sign[a.Name]
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := replace(register, a.register(), 0o644); err != nil {
		return nil, err
	}
	args := []string{"openssl", "ocsp", "-index", register, "-CA", a.File, "-rsigner", id.CertFile, "-rkey", id.KeyFile,
		"-nmin", fmt.Sprint(int(validFor.Minutes())), "-reqin", "/dev/stdin", "-respout", "/dev/stdout"}
	if r.byKey {
		args = append(args, "-resp_key_id")
	}
	shift := time.Until(r.c.Now())
	if r.staleOCSP {
		shift -= staleFor
	}
	return opensslAt(ctx, r.p, shift, query, args)
}

// asked finds the authority that a request is about by the hash of its key, which a CertID holds (RFC 6960, section 4.1.1).
func (r *Revocation) asked(query []byte) (*Authority, error) {
	for _, a := range []*Authority{r.c.PKI.G1, r.c.PKI.G2} {
		for _, sum := range keyHashes(a.Cert) {
			if bytes.Contains(query, sum) {
				return a, nil
			}
		}
	}
	return nil, errors.New("the request is about no certificate of this PKI")
}

// opensslAt runs OpenSSL by a clock that is off by shift, with text as its input, and returns its output.
func opensslAt(ctx context.Context, p Place, shift time.Duration, text []byte, args []string) ([]byte, error) {
	shift = shift.Round(time.Second)
	if shift.Abs() > 2*time.Second {
		args = append([]string{"faketime", "-f", fmt.Sprintf("%+ds", int64(shift.Seconds()))}, args...)
	}
	p.Netns = "" // it needs no network
	cmd := Command(ctx, p, args[0], args[1:]...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &said
	r, err := Start(cmd)
	if err != nil {
		return nil, err
	}
	<-r.Done()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return out.Bytes(), nil
}
