package servers

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

// TSAConfig sets up an authority of time stamps.
type TSAConfig struct {
	PKI *PKI
	Now func() time.Time // nil for the system's clock
}

// A TSA is an authority of time stamps (RFC 3161) over HTTP at port 80. Each stamp is made by OpenSSL.
type TSA struct {
	p   Place
	now func() time.Time
	web *httpd

	mu    sync.Mutex
	shift time.Duration
}

// tsaSettings is OpenSSL's configuration of a TSA; the folder and the certificates are filled in.
const tsaSettings = `[tsa]
serial = %[1]s/serial
signer_cert = %[2]s
certs = %[3]s
signer_key = %[4]s
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha384, sha512
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
`

// StartTSA starts the authority.
func StartTSA(ctx context.Context, p Place, c TSAConfig) (*TSA, error) {
	if err := Require("openssl", "faketime"); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	use, err := soleUse(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8})
	if err != nil {
		return nil, err
	}
	id, err := c.PKI.G2.Issue("tsa", &x509.Certificate{Subject: pkix.Name{CommonName: "TSA (lab)"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: []pkix.Extension{use}})
	if err != nil {
		return nil, err
	}
	settings := filepath.Join(p.Dir, "tsa.cnf")
	if err := replace(settings, fmt.Appendf(nil, tsaSettings, p.Dir, id.CertFile, c.PKI.G2.File, id.KeyFile), 0o644); err != nil {
		return nil, err
	}
	if err := replace(filepath.Join(p.Dir, "serial"), []byte("01\n"), 0o644); err != nil {
		return nil, err
	}
	t := &TSA{p: p, now: c.Now}
	t.web, err = startHTTP(ctx, p, 80, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { t.serve(w, req, settings) }))
	return t, err
}

// Stop ends the server.
func (t *TSA) Stop() error { return t.web.Stop() }

// Addr is its host:port.
func (t *TSA) Addr() string { return t.p.at(80) }

// URL is where stamps are to be had.
func (t *TSA) URL() string { return t.p.url("http", t.p.IP.String(), 80) + "/" }

// Dead closes the port.
func (t *TSA) Dead(dead bool) error { return t.web.Dead(dead) }

// WrongClock sets the authority's clock ahead by this much, or behind; 0 sets it right.
func (t *TSA) WrongClock(ahead time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shift = ahead
	return nil
}

// serve answers one request (RFC 3161, section 3.4).
func (t *TSA) serve(w http.ResponseWriter, req *http.Request, settings string) {
	if req.Header.Get("Content-Type") != "application/timestamp-query" {
		http.Error(w, "a time-stamp query is expected", http.StatusUnsupportedMediaType)
		return
	}
	query, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t.mu.Lock() // one after the other: each takes the next serial number from a file
	defer t.mu.Unlock()
	args := []string{"openssl", "ts", "-reply", "-config", settings, "-section", "tsa", "-queryfile", "/dev/stdin", "-out", "/dev/stdout"}
	answer, err := opensslAt(req.Context(), t.p, t.shift+time.Until(t.now()), query, args)
	respond(w, "application/timestamp-reply", answer, err)
}
