package servers

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// TSAConfig sets up an authority of time stamps.
type TSAConfig struct {
	PKI *PKI
	Now func() time.Time // nil for the system's clock
	// RSA gives it a key of RSA in the place of P-256.
	RSA bool
	// NamedBy is the hash by which a stamp names the certificate (RFC 5816): "sha1", "sha256", "sha512"; "" for sha256.
	NamedBy string
	// Digests are the hashes of data that it stamps; nil for sha256, sha384 and sha512.
	Digests []string
}

// TSAPolicy is the policy of the authority's stamps; it has no other.
const TSAPolicy = "1.3.6.1.4.1.99999.1"

// TSAAccuracy is how exact its stamps say that they are.
const TSAAccuracy = 1500100 * time.Microsecond

// A TSA is an authority of time stamps (RFC 3161) over HTTP at port 80. Each stamp is made by OpenSSL.
type TSA struct {
	p   Place
	now func() time.Time
	web *httpd
	id  *Identity

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
default_policy = ` + TSAPolicy + `
digests = %[5]s
accuracy = secs:1, millisecs:500, microsecs:100
ordering = yes
tsa_name = yes
ess_cert_id_chain = yes
ess_cert_id_alg = %[6]s
clock_precision_digits = 6
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
	if c.Digests == nil {
		c.Digests = []string{"sha256", "sha384", "sha512"}
	}
	key, err := newKey()
	if c.RSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		return nil, err
	}
	id, err := c.PKI.G2.issueOver("tsa", &x509.Certificate{Subject: pkix.Name{CommonName: "TSA (lab)"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: []pkix.Extension{use}}, key)
	if err != nil {
		return nil, err
	}
	settings := filepath.Join(p.Dir, "tsa.cnf")
	if err := replace(settings, fmt.Appendf(nil, tsaSettings, p.Dir, id.CertFile, c.PKI.G2.File, id.KeyFile, strings.Join(c.Digests, ", "), cmp.Or(c.NamedBy, "sha256")), 0o644); err != nil {
		return nil, err
	}
	if err := replace(filepath.Join(p.Dir, "serial"), []byte("01\n"), 0o644); err != nil {
		return nil, err
	}
	t := &TSA{p: p, now: c.Now, id: id}
	t.web, err = startHTTP(ctx, p, 80, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { t.serve(w, req, settings) }))
	return t, err
}

// Stop ends the server.
func (t *TSA) Stop() error { return t.web.Stop() }

// Addr is its host:port.
func (t *TSA) Addr() string { return t.p.at(80) }

// URL is where stamps are to be had.
func (t *TSA) URL() string { return t.p.url("http", t.p.IP.String(), 80) + "/" }

// Certificate is the one that stamps are signed with.
func (t *TSA) Certificate() *x509.Certificate { return t.id.Cert }

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
