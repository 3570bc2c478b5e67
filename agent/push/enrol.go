package push

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"egovmon/agent/host"
	"egovmon/agent/wire"
)

// Why enrolment or renewal failed, for whoever has to explain it. The errors of Enrol and Renew wrap at most one.
var (
	// ErrWrongPeer: the collector's key is not the one in the token. Nothing was sent.
	ErrWrongPeer = errors.New("another machine answered in the collector's place (TLS inspection or wrong address)")
	// ErrClock: the key is right, but by this machine's clock its certificate is not valid. Nothing was sent.
	ErrClock = errors.New("the clock of this machine is wrong: set date and time, then try again")
	// ErrUnreachable: no connection, or no answer.
	ErrUnreachable = errors.New("the collector cannot be reached: check the address, the network and the firewall")
)

// A RefusedError says that the collector answered and refused.
type RefusedError struct {
	Status int       // HTTP
	Code   wire.Code // "" when the answer was not the collector's JSON
	Text   string    // the collector's words: untrusted
}

// Error gives the collector's words.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the collector refused (%d %s): %s", e.Status, e.Code, e.Text)
}

// EnrolOptions say what the caller expects, and are all optional.
type EnrolOptions struct {
	Machine string           // refuse a token that is for another machine
	Unit    string           // or for another unit
	Build   string           // version of the program
	Now     func() time.Time // default time.Now
	Dial    Dial             // default the operating system's
}

// Enrol makes this machine one of the district's: it makes three keys, hands over their public parts with the token,
// and returns the identity, which the caller saves. Before anything is sent, the collector's chain must end in the key
// that the token names.
func Enrol(ctx context.Context, collectorURL, token string, o EnrolOptions) (*host.Identity, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	t, err := wire.ParseToken(token)
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	base, err := baseURL(collectorURL)
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	keys, err := newKeys()
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	req := wire.EnrolRequest{Token: t.Sent(), Machine: o.Machine, Unit: o.Unit, CSR: keys.csr, Build: o.Build,
		Journal: publicKey(wire.AlgEd25519, keys.journal), Cosign: publicKey(wire.AlgCosign, keys.cosign)}
	req.JournalProof = ed25519.Sign(keys.journal, req.Statement())
	req.CosignProof = ed25519.Sign(keys.cosign, req.Statement())
	var a wire.EnrolAnswer
	ca, err := enrolCall(ctx, base, t, req, &a, o)
	if err != nil {
		return nil, fmt.Errorf("enrol at %s: %w", base, err)
	}
	id, err := keys.identity(base, ca, a)
	if err != nil {
		return nil, fmt.Errorf("enrol at %s: the answer cannot be used: %w", base, err)
	}
	return id, nil
}

// attempts of one request: the collector answers the same request again, should the first answer have been lost.
const attempts = 3

func enrolCall(ctx context.Context, base string, t wire.Token, req wire.EnrolRequest, a *wire.EnrolAnswer, o EnrolOptions) (ca *x509.Certificate, err error) {
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyConnection does it, by the key in the token
		VerifyConnection: func(cs tls.ConnectionState) error {
			c, err := checkPin(cs.PeerCertificates, cs.ServerName, t.Pin, o.Now())
			if err == nil {
				ca = c
			}
			return err
		},
	}
	client, done := newClient(conf, o.Dial)
	defer done()
	for i := range attempts {
		if i > 0 {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Duration(i) * time.Second):
			}
		}
		err = call(ctx, client, base+wire.PathEnrol, req, a)
		if !errors.Is(err, ErrUnreachable) {
			break
		}
	}
	return ca, err
}

// checkPin finds the CA that the pin names in the chain, and verifies the server's certificate below it.
func checkPin(chain []*x509.Certificate, name string, pin [sha256.Size]byte, now time.Time) (*x509.Certificate, error) {
	for _, c := range chain {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		if subtle.ConstantTimeCompare(sum[:], pin[:]) != 1 {
			continue
		}
		if host.VerifyServer(chain, c, func(*x509.Certificate) time.Time { return now }) == nil {
			return c, nil
		}
		if host.VerifyServer(chain, c, func(leaf *x509.Certificate) time.Time { return leaf.NotBefore }) == nil {
			return nil, fmt.Errorf("%w (it says %s; the collector's certificate is valid from %s to %s)", ErrClock,
				now.Format(time.RFC3339), chain[0].NotBefore.Format(time.RFC3339), chain[0].NotAfter.Format(time.RFC3339))
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrWrongPeer, host.Foreign(chain, name, nil))
}

// RenewOptions say what is renewed besides the TLS key.
type RenewOptions struct {
	NewJournalKey bool // a successor of the key that signs batches
	NewCosignKey  bool // a successor of the key that cosigns checkpoints
	Dial          Dial // default the operating system's
}

// Renew returns the identity with a certificate for a new TLS key, and the successors that were asked for, each signed
// by its predecessor. The caller saves it and uses it from then on; until then the old one goes on being good. It is
// time for it when [host.Identity.RenewDue] says so.
func Renew(ctx context.Context, id *host.Identity, o RenewOptions, now func() time.Time) (*host.Identity, error) {
	keys, err := newKeys()
	if err != nil {
		return nil, fmt.Errorf("renew: %w", err)
	}
	req := wire.RenewRequest{CSR: keys.csr}
	if o.NewJournalKey {
		req.Journal = &wire.Successor{Key: publicKey(wire.AlgEd25519, keys.journal)}
	}
	if o.NewCosignKey {
		req.Cosign = &wire.Successor{Key: publicKey(wire.AlgCosign, keys.cosign)}
	}
	statement := req.Statement(id.Machine)
	next := *id
	if next.JournalKey, err = signSuccessor(req.Journal, keys.journal, id.JournalKey, statement); err != nil {
		return nil, fmt.Errorf("renew: journal key: %w", err)
	}
	if next.CosignKey, err = signSuccessor(req.Cosign, keys.cosign, id.CosignKey, statement); err != nil {
		return nil, fmt.Errorf("renew: cosigning key: %w", err)
	}
	client, done := newClient(id.TLSConfig(now), o.Dial)
	defer done()
	var a wire.RenewAnswer
	if err := call(ctx, client, id.Collector+wire.PathRenew, req, &a); err != nil {
		return nil, fmt.Errorf("renew at %s: %w", id.Collector, err)
	}
	leaf, err := x509.ParseCertificate(a.Certificate)
	if err == nil {
		next.TLS = tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: keys.tls, Leaf: leaf}
		err = errors.Join(next.Follow(id), next.Check())
	}
	if err != nil {
		return nil, fmt.Errorf("renew at %s: the answer cannot be used: %w", id.Collector, err)
	}
	return &next, nil
}

// signSuccessor has both keys sign the statement, and returns the private note key to use from now on.
func signSuccessor(s *wire.Successor, key ed25519.PrivateKey, old string, statement []byte) (string, error) {
	if s == nil {
		return old, nil
	}
	name, alg, oldKey, err := wire.ParseSignerKey(old)
	if err != nil {
		return "", err
	}
	s.Proof, s.Old = ed25519.Sign(key, statement), ed25519.Sign(oldKey, statement)
	return wire.SignerKey(name, alg, key), nil
}

// newIdentity are the keys that a machine makes for itself.
type newIdentity struct {
	tls             *ecdsa.PrivateKey
	csr             []byte
	journal, cosign ed25519.PrivateKey
}

func newKeys() (newIdentity, error) {
	var k newIdentity
	var err error
	if k.tls, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return k, err
	}
	if k.csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k.tls); err != nil {
		return k, err
	}
	if _, k.journal, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return k, err
	}
	_, k.cosign, err = ed25519.GenerateKey(rand.Reader)
	return k, err
}

func publicKey(alg byte, key ed25519.PrivateKey) []byte {
	return append([]byte{alg}, key.Public().(ed25519.PublicKey)...)
}

func (k newIdentity) identity(base string, ca *x509.Certificate, a wire.EnrolAnswer) (*host.Identity, error) {
	leaf, err := x509.ParseCertificate(a.Certificate)
	if err != nil {
		return nil, err
	}
	id := &host.Identity{
		District: a.District, Machine: a.Machine, Unit: a.Unit, Collector: base, CA: ca,
		TLS:        tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: k.tls, Leaf: leaf},
		JournalKey: wire.SignerKey(wire.JournalName(a.District, a.Machine), wire.AlgEd25519, k.journal),
		CosignKey:  wire.SignerKey(wire.WitnessName(a.District, a.Machine), wire.AlgCosign, k.cosign),
		PlanKey:    a.PlanKey, LogKey: a.LogKey,
	}
	return id, id.Check()
}

// baseURL returns https://host:port of what a person typed.
func baseURL(s string) (string, error) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", fmt.Errorf("%q is no address of a collector: write it as https://host:19443", s)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), defaultPort)
	}
	return "https://" + u.Host, nil
}

const defaultPort = "19443"

// newClient returns a client for few calls; done gives its connections back.
func newClient(conf *tls.Config, dial Dial) (c *http.Client, done func()) {
	t := &http.Transport{
		DialContext:         Proxy{}.Dial(dial),
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: 15 * time.Second,
	}
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: t, Timeout: wire.TimeoutOfCall, CheckRedirect: noRedirects}, t.CloseIdleConnections
}

// call posts a message and reads the answer. Its errors wrap one of this page's, or are a RefusedError.
func call(ctx context.Context, client *http.Client, url string, message, answer any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		return explain(err)
	}
	defer res.Body.Close()
	data, err := wire.ReadAll(res.Body, wire.MaxAnswer)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if res.StatusCode != http.StatusOK {
		return refusal(res.StatusCode, data)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("%w: %w", errAnswer, err)
	}
	return nil
}

// refusal is what an answer with an error status says.
func refusal(status int, data []byte) *RefusedError {
	var r wire.Refusal
	if json.Unmarshal(data, &r) != nil || r.Code == "" {
		r = wire.Refusal{Error: fmt.Sprintf("%.200q", data)}
	}
	return &RefusedError{status, r.Code, fmt.Sprintf("%.400s", r.Error)}
}
