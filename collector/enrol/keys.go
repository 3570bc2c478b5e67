package enrol

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
)

const (
	caKeyFile   = "ca.key"
	caFile      = "ca.pem"
	planKeyFile = "plan.key"
	logKeyFile  = "log.key"

	maxKeyFile = 16 << 10

	caValidity      = 20 * 365 * 24 * time.Hour
	machineValidity = 90 * 24 * time.Hour
	serverValidity  = 30 * 24 * time.Hour
	serverRenew     = 10 * 24 * time.Hour // a server certificate with less than this to run is replaced
	backdate        = 24 * time.Hour      // clocks of agents may be behind
)

// Keys are the keys that a collector uses day by day, each in its own file. Release and recovery keys are kept offline
// and are not among them.
type Keys struct {
	District string
	CA       *x509.Certificate
	// PlanSigner signs plans as egovmon/D/plan, LogSigner checkpoints as egovmon/D/log/1.
	PlanSigner, LogSigner note.Signer
	// PlanKey and LogKey are their verifier keys.
	PlanKey, LogKey string

	ca crypto.Signer
}

// OpenKeys reads the keys in the folder dir, and makes those that are not there yet: the folder with mode 0700, the
// files with 0600. Keys of another district are an error.
func OpenKeys(dir, district string, now func() time.Time) (*Keys, error) {
	if !wire.IsDistrict(district) {
		return nil, fmt.Errorf("keys: district %q is no id: use a-z, 0-9, _, . and -", district)
	}
	if err := durable.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if err := durable.Sweep(dir, now()); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	k := &Keys{District: district}
	if err := k.openCA(dir, now()); err != nil {
		return nil, fmt.Errorf("keys %s: %w", dir, err)
	}
	var err error
	if k.PlanSigner, k.PlanKey, err = openNoteKey(filepath.Join(dir, planKeyFile), wire.PlanName(district)); err != nil {
		return nil, fmt.Errorf("keys %s: %w", dir, err)
	}
	if k.LogSigner, k.LogKey, err = openNoteKey(filepath.Join(dir, logKeyFile), wire.LogName(district, 1)); err != nil {
		return nil, fmt.Errorf("keys %s: %w", dir, err)
	}
	return k, nil
}

// LogVerifier checks the checkpoints that LogSigner signs.
func (k *Keys) LogVerifier() (note.Verifier, error) { return note.NewVerifier(k.LogKey) }

// Pin is what agents know the CA by: the SHA-256 of its key (SPKI DER).
func (k *Keys) Pin() [sha256.Size]byte { return sha256.Sum256(k.CA.RawSubjectPublicKeyInfo) }

// openCA reads the CA. The key comes first: from it the certificate can be made again, and the pin stays.
func (k *Keys) openCA(dir string, now time.Time) error {
	der, err := openPEM(filepath.Join(dir, caKeyFile), "PRIVATE KEY", func() ([]byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKCS8PrivateKey(key)
	})
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return fmt.Errorf("%s: %w: restore it from a backup; a new one means that every machine enrols again", caKeyFile, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return fmt.Errorf("%s: a %T cannot sign", caKeyFile, key)
	}
	k.ca = signer
	der, err = openPEM(filepath.Join(dir, caFile), "CERTIFICATE", func() ([]byte, error) { return newCA(k.District, signer, now) })
	if err != nil {
		return err
	}
	if k.CA, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("%s: %w", caFile, err)
	}
	if err := k.CA.CheckSignatureFrom(k.CA); err != nil {
		return fmt.Errorf("%s: %w", caFile, err)
	}
	if want := "egovmon CA " + k.District; k.CA.Subject.CommonName != want {
		return fmt.Errorf("%s is that of %q, not %q: these keys are another district's; use its profile, or another data folder",
			caFile, k.CA.Subject.CommonName, want)
	}
	return nil
}

func newCA(district string, key crypto.Signer, now time.Time) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "egovmon CA " + district},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caValidity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
}

// issueMachine returns the certificate (DER) of a machine's TLS key.
func (k *Keys) issueMachine(machine string, pub any, now time.Time) (*x509.Certificate, error) {
	uri, err := url.Parse(wire.MachineURI(k.District, machine))
	if err != nil {
		return nil, err
	}
	return k.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: machine},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(machineValidity),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{uri},
	}, pub)
}

// issueServer returns the certificate of the agents' port for these host names and addresses.
func (k *Keys) issueServer(names []string, pub any, now time.Time) (*x509.Certificate, error) {
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "egovmon collector " + k.District},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(serverValidity),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if n != "" {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	return k.issue(t, pub)
}

func (k *Keys) issue(t *x509.Certificate, pub any) (*x509.Certificate, error) {
	var err error
	if t.SerialNumber, err = newSerial(); err != nil {
		return nil, err
	}
	t.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, t, k.CA, pub, k.ca)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// newSerial returns a positive number of 127 random bits (RFC 5280, section 4.1.2.2: at most 20 octets).
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}

func openPEM(path, block string, create func() ([]byte, error)) ([]byte, error) {
	text, err := durable.Read(path, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		der, err := create()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		return der, durable.Replace(path, pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}))
	}
	if err != nil {
		return nil, err
	}
	b, _ := pem.Decode(text)
	if b == nil || b.Type != block {
		return nil, fmt.Errorf("%s is not a PEM file with a %q: restore it from a backup", filepath.Base(path), block)
	}
	return b.Bytes, nil
}

func openNoteKey(path, name string) (note.Signer, string, error) {
	base := filepath.Base(path)
	text, err := durable.Read(path, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		skey, _, err := note.GenerateKey(rand.Reader, name)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", base, err)
		}
		text = []byte(skey + "\n")
		if err := durable.Replace(path, text); err != nil {
			return nil, "", err
		}
	} else if err != nil {
		return nil, "", err
	}
	got, alg, key, err := wire.ParseSignerKey(trimNewline(text))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w: restore it from a backup", base, err)
	}
	if got != name || alg != wire.AlgEd25519 {
		return nil, "", fmt.Errorf("%s is the key of %q, not of %q: these keys are another district's", base, got, name)
	}
	signer, err := note.NewSigner(trimNewline(text))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", base, err)
	}
	verifier, err := note.NewEd25519VerifierKey(name, publicOf(key))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", base, err)
	}
	return signer, verifier, nil
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func trimNewline(b []byte) string { return strings.TrimSuffix(string(b), "\n") }
