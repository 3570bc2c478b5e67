package host

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
)

const (
	identityFile    = "identity.json"
	identityVersion = 1
	maxFormer       = 8
	maxIdentity     = 64 << 10
)

// ErrNotEnrolled is wrapped by the error of LoadIdentity in a folder without an identity.
var ErrNotEnrolled = errors.New("this machine is not enrolled: run `agent enrol --collector URL --token T` with a token from the district")

// An Identity is who a machine is to the collector, and whom it believes. It is made by enrolment, and replaced as a
// whole when a key is renewed.
type Identity struct {
	District  string
	Machine   string
	Unit      string
	Collector string // base URL, https://host:port

	CA  *x509.Certificate // the only root that is believed, known by its key
	TLS tls.Certificate   // the machine's certificate and key; Leaf is set

	JournalKey string // private note key that signs batches
	CosignKey  string // private note key that cosigns checkpoints
	PlanKey    string // verifier key of plans
	LogKey     string // verifier key of checkpoints

	// Former are the verifier keys of what signed this machine's batches before JournalKey, the last one first; at most
	// maxFormer. The journal keeps such batches for 14 days.
	Former []string
}

// A stored is the file of an identity.
type stored struct {
	Version     int    `json:"version"`
	District    string `json:"district"`
	Machine     string `json:"machine"`
	Unit        string `json:"unit"`
	Collector   string `json:"collector"`
	CA          string `json:"ca"`          // PEM
	Certificate string `json:"certificate"` // PEM
	Key         string `json:"key"`         // PEM, PKCS #8
	JournalKey  string `json:"journal_key"`
	CosignKey   string `json:"cosign_key"`
	PlanKey     string `json:"plan_key"`
	LogKey      string `json:"log_key"`

	Former []string `json:"former_journal_keys,omitempty"`
}

// Save writes the identity into the agent's data folder, for its owner alone, in one step.
func (id *Identity) Save(dir string) error {
	if err := id.Check(); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(id.TLS.PrivateKey)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	data, err := json.MarshalIndent(stored{
		Version: identityVersion, District: id.District, Machine: id.Machine, Unit: id.Unit, Collector: id.Collector,
		CA: toPEM("CERTIFICATE", id.CA.Raw), Certificate: toPEM("CERTIFICATE", id.TLS.Certificate[0]), Key: toPEM("PRIVATE KEY", key),
		JournalKey: id.JournalKey, CosignKey: id.CosignKey, PlanKey: id.PlanKey, LogKey: id.LogKey,
		Former: id.Former,
	}, "", "\t")
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if err := durable.MkdirAll(dir); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if err := keepOut(dir); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if err := writeSealed(filepath.Join(dir, identityFile), append(data, '\n')); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// LoadIdentity reads the identity in the agent's data folder. The error wraps ErrNotEnrolled when there is none.
func LoadIdentity(dir string) (*Identity, error) {
	path := filepath.Join(dir, identityFile)
	data, err := readSealed(path, maxIdentity)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNotEnrolled)
	}
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	id, err := parseIdentity(data)
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w; if it cannot be restored, enrol again with a new token", path, err)
	}
	return id, nil
}

func parseIdentity(data []byte) (*Identity, error) {
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("the file is damaged: %w", err)
	}
	if s.Version != identityVersion {
		return nil, fmt.Errorf("version %d was written by another version of the program, this one reads %d", s.Version, identityVersion)
	}
	ca, err := fromPEM("ca", "CERTIFICATE", s.CA, x509.ParseCertificate)
	if err != nil {
		return nil, err
	}
	leaf, err := fromPEM("certificate", "CERTIFICATE", s.Certificate, x509.ParseCertificate)
	if err != nil {
		return nil, err
	}
	key, err := fromPEM("key", "PRIVATE KEY", s.Key, x509.ParsePKCS8PrivateKey)
	if err != nil {
		return nil, err
	}
	id := &Identity{
		District: s.District, Machine: s.Machine, Unit: s.Unit, Collector: s.Collector, CA: ca,
		TLS:        tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf},
		JournalKey: s.JournalKey, CosignKey: s.CosignKey, PlanKey: s.PlanKey, LogKey: s.LogKey,
		Former: s.Former,
	}
	return id, id.Check()
}

// Check reports what in the identity does not fit together. It judges no validity in time.
func (id *Identity) Check() error {
	u, err := url.Parse(id.Collector)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("collector %q is no address: write it as https://host:19443", id.Collector)
	case !wire.IsDistrict(id.District):
		return fmt.Errorf("district %q is no id", id.District)
	case !wire.IsMachine(id.Machine):
		return fmt.Errorf("machine %q is no id", id.Machine)
	case id.CA == nil || id.TLS.Leaf == nil || len(id.TLS.Certificate) == 0:
		return errors.New("the CA's or the machine's certificate is missing")
	}
	if err := id.TLS.Leaf.CheckSignatureFrom(id.CA); err != nil {
		return fmt.Errorf("the machine's certificate is not of the district's CA: %w", err)
	}
	if uris := id.TLS.Leaf.URIs; len(uris) != 1 || uris[0].String() != wire.MachineURI(id.District, id.Machine) {
		return fmt.Errorf("the certificate is not that of machine %s", id.Machine)
	}
	if err := samePublic(id.TLS.Leaf.PublicKey, id.TLS.PrivateKey); err != nil {
		return err
	}
	if err := checkSigner(id.JournalKey, wire.JournalName(id.District, id.Machine), wire.AlgEd25519); err != nil {
		return fmt.Errorf("journal key: %w", err)
	}
	if err := checkSigner(id.CosignKey, wire.WitnessName(id.District, id.Machine), wire.AlgCosign); err != nil {
		return fmt.Errorf("cosigning key: %w", err)
	}
	if v, err := note.NewVerifier(id.PlanKey); err != nil || v.Name() != wire.PlanName(id.District) {
		return fmt.Errorf("plan key %q is not the verifier key of %s", id.PlanKey, wire.PlanName(id.District))
	}
	if _, err := note.NewVerifier(id.LogKey); err != nil {
		return fmt.Errorf("log key %q: %w", id.LogKey, err)
	}
	for _, k := range id.Former[:min(len(id.Former), maxFormer)] {
		if _, err := note.NewVerifier(k); err != nil {
			return fmt.Errorf("former journal key %.200q: %w", k, err)
		}
	}
	return nil
}

func checkSigner(key, name string, alg byte) error {
	got, a, _, err := wire.ParseSignerKey(key)
	if err != nil {
		return err
	}
	if got != name || a != alg {
		return fmt.Errorf("it is for %s (algorithm %d), not for %s (algorithm %d)", got, a, name, alg)
	}
	return nil
}

func samePublic(pub any, key crypto.PrivateKey) error {
	s, ok := key.(crypto.Signer)
	if !ok {
		return errors.New("the private key cannot sign")
	}
	a, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return err
	}
	b, err := x509.MarshalPKIXPublicKey(s.Public())
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return errors.New("the private key does not belong to the certificate")
	}
	return nil
}

// JournalSigner signs the headers of batches.
func (id *Identity) JournalSigner() (note.Signer, error) { return note.NewSigner(id.JournalKey) }

// JournalVerifier checks what JournalSigner signs.
func (id *Identity) JournalVerifier() (note.Verifier, error) {
	text, err := id.journalPublic()
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(text)
}

// JournalVerifiers check what JournalSigner signs, and what the keys before it have signed.
func (id *Identity) JournalVerifiers() (note.Verifiers, error) {
	text, err := id.journalPublic()
	if err != nil {
		return nil, err
	}
	var all []note.Verifier
	for _, k := range append([]string{text}, id.Former[:min(len(id.Former), maxFormer)]...) {
		v, err := note.NewVerifier(k)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return note.VerifierList(all...), nil
}

func (id *Identity) journalPublic() (string, error) {
	name, alg, key, err := wire.ParseSignerKey(id.JournalKey)
	if err != nil {
		return "", err
	}
	return wire.VerifierKey(name, append([]byte{alg}, key.Public().(ed25519.PublicKey)...))
}

// Follow remembers the key of an identity that this one takes the place of, so that what it has signed can be told from
// what nobody has. With the same key there is nothing to remember.
func (id *Identity) Follow(old *Identity) error {
	text, err := old.journalPublic()
	if err != nil || old.JournalKey == id.JournalKey {
		return err
	}
	former := slices.Compact(append([]string{text}, old.Former...))
	id.Former = former[:min(len(former), maxFormer)]
	return nil
}

// PlanVerifier checks plans.
func (id *Identity) PlanVerifier() (note.Verifier, error) { return note.NewVerifier(id.PlanKey) }

// LogVerifier checks checkpoints; its name is the log's origin.
func (id *Identity) LogVerifier() (note.Verifier, error) { return note.NewVerifier(id.LogKey) }

// RenewDue reports whether the certificate ends within 30 days, so that it is time to renew it.
func (id *Identity) RenewDue(now time.Time) bool {
	return id.TLS.Leaf.NotAfter.Sub(now) < 30*24*time.Hour
}

// TLSConfig is for calls to the collector: TLS 1.3, our certificate, and a peer whose chain ends in the district's CA
// at the time that now tells. A nil now is time.Now.
//
// The host name is not compared: the CA issues certificates for servers to the collector alone, and the address by
// which a commune reaches it (a forwarded port, a new number) is not always one that the collector knows.
func (id *Identity) TLSConfig(now func() time.Time) *tls.Config {
	if now == nil {
		now = time.Now
	}
	return id.tlsConfig(func(*x509.Certificate) time.Time { return now() })
}

// TLSConfigByKey is for GET time alone, while our own clock is not plausible: the chain must end in the CA's key, at
// whatever time.
func (id *Identity) TLSConfigByKey() *tls.Config {
	return id.tlsConfig(func(leaf *x509.Certificate) time.Time { return leaf.NotBefore })
}

func (id *Identity) tlsConfig(at func(leaf *x509.Certificate) time.Time) *tls.Config {
	ca := id.CA
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{id.TLS},
		InsecureSkipVerify: true, // VerifyConnection does it, without the host name
		VerifyConnection: func(cs tls.ConnectionState) error {
			return verifyServer(cs.PeerCertificates, ca, at, cs.ServerName)
		},
	}
}

// VerifyServer checks that a chain is that of a server below ca at the time that at tells of its first certificate. The
// error is a [ForeignError], or an [x509.CertificateInvalidError] where only the time is wrong.
func VerifyServer(chain []*x509.Certificate, ca *x509.Certificate, at func(leaf *x509.Certificate) time.Time) error {
	return verifyServer(chain, ca, at, "")
}

func verifyServer(chain []*x509.Certificate, ca *x509.Certificate, at func(leaf *x509.Certificate) time.Time, name string) error {
	if len(chain) == 0 {
		return Foreign(nil, name, nil)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	verify := func(t time.Time) error {
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, CurrentTime: t, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		return err
	}
	err := verify(at(chain[0]))
	if err != nil && verify(chain[0].NotBefore) != nil {
		return Foreign(chain, name, err)
	}
	return err
}

func toPEM(block string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}))
}

func fromPEM[T any](what, block, text string, parse func([]byte) (T, error)) (T, error) {
	var none T
	b, rest := pem.Decode([]byte(text))
	if b == nil || b.Type != block || len(bytes.TrimSpace(rest)) > 0 {
		return none, fmt.Errorf("%s is not one PEM block %q", what, block)
	}
	v, err := parse(b.Bytes)
	if err != nil {
		return none, fmt.Errorf("%s: %w", what, err)
	}
	return v, nil
}
