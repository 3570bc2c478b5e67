package restore

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
)

const (
	sealInfo   = "egovmon-recovery-seal/1"
	keysInfo   = "egovmon-backup-keys/1"
	publicFile = "recovery.pub"
	maxKeyFile = 16 << 10
	// sealOverhead is what sealing adds: the X25519 share and the tag.
	sealOverhead = 32 + 16
)

// A PublicKey is what the collector knows of the district's recovery key.
type PublicKey struct {
	Verifier string // verifier key of egovmon/D/recovery
	Seal     string // X25519 public key, base64: what only the recovery key is to read is sealed to it
}

// A PrivateKey is the recovery key itself. It exists on paper, and in memory for as long as a command needs it.
type PrivateKey struct {
	Public PublicKey
	Signer note.Signer
	text   string
	seal   *ecdh.PrivateKey
}

// NewKey makes a recovery key for a district.
func NewKey(district string) (*PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("recovery key: %w", err)
	}
	return ParseKey(wire.SignerKey(wire.RecoveryName(district), wire.AlgEd25519, key))
}

// ParseKey reads what Text gives, as a person typed it: spaces and line ends around and within it do no harm.
func ParseKey(text string) (*PrivateKey, error) {
	text = strings.Join(strings.Fields(text), "")
	name, alg, key, err := wire.ParseSignerKey(text)
	if err != nil {
		return nil, fmt.Errorf("recovery key: %w", err)
	}
	district := strings.TrimSuffix(strings.TrimPrefix(name, "egovmon/"), "/recovery")
	if alg != wire.AlgEd25519 || name != wire.RecoveryName(district) || !wire.IsDistrict(district) {
		return nil, fmt.Errorf("recovery key: this is the key of %.200q", name)
	}
	k := &PrivateKey{text: text}
	if k.Signer, err = note.NewSigner(text); err != nil {
		return nil, fmt.Errorf("recovery key: %w", err)
	}
	seed, err := hkdf.Key(sha256.New, key.Seed(), nil, sealInfo, 32)
	if err == nil {
		k.seal, err = ecdh.X25519().NewPrivateKey(seed)
	}
	if err == nil {
		k.Public.Verifier, err = note.NewEd25519VerifierKey(name, key.Public().(ed25519.PublicKey))
	}
	if err != nil {
		return nil, fmt.Errorf("recovery key: %w", err)
	}
	k.Public.Seal = base64.StdEncoding.EncodeToString(k.seal.PublicKey().Bytes())
	return k, nil
}

// Text is the key as it is printed, once. It is the secret itself.
func (k *PrivateKey) Text() string { return k.text }

// NoteVerifier checks what the recovery key signs.
func (p PublicKey) NoteVerifier() (note.Verifier, error) { return note.NewVerifier(p.Verifier) }

// Check reports what is wrong with a public key.
func (p PublicKey) Check(district string) error {
	v, err := note.NewVerifier(p.Verifier)
	if err != nil || v.Name() != wire.RecoveryName(district) {
		return fmt.Errorf("recovery key: %.200q is not the verifier key of %s", p.Verifier, wire.RecoveryName(district))
	}
	_, err = p.ecdh()
	return err
}

func (p PublicKey) ecdh() (*ecdh.PublicKey, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(p.Seal)
	if err != nil {
		return nil, fmt.Errorf("recovery key: %.100q is no X25519 key: %w", p.Seal, err)
	}
	k, err := ecdh.X25519().NewPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("recovery key: %.100q is no X25519 key: %w", p.Seal, err)
	}
	return k, nil
}

// seal closes data so that only the recovery key opens it.
func (p PublicKey) sealed(data []byte) ([]byte, error) {
	k, err := p.ecdh()
	if err != nil {
		return nil, err
	}
	pub, err := hpke.NewDHKEMPublicKey(k)
	if err != nil {
		return nil, fmt.Errorf("recovery key: %w", err)
	}
	return hpke.Seal(pub, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(keysInfo), data)
}

// open opens what was sealed.
func (k *PrivateKey) open(data []byte) ([]byte, error) {
	if len(data) < sealOverhead {
		return nil, errors.New("the sealed keys are cut off")
	}
	priv, err := hpke.NewDHKEMPrivateKey(k.seal)
	if err == nil {
		data, err = hpke.Open(priv, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(keysInfo), data)
	}
	if err != nil {
		return nil, fmt.Errorf("the sealed keys cannot be opened with this recovery key (%s): it is another district's, or they are damaged", k.Public.Verifier)
	}
	return data, nil
}

// ReadPublic reads the public half from a folder of keys; ok is false if no recovery key was made yet.
func ReadPublic(keys string) (p PublicKey, ok bool, err error) {
	data, err := durable.Read(filepath.Join(keys, publicFile), maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("recovery key: %w", err)
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if len(lines) != 2 {
		return p, false, fmt.Errorf("recovery key: %s has not two lines: restore it from a backup", publicFile)
	}
	p = PublicKey{string(lines[0]), string(lines[1])}
	if _, err := p.NoteVerifier(); err != nil {
		return p, false, fmt.Errorf("recovery key: %s: %w", publicFile, err)
	}
	if _, err := p.ecdh(); err != nil {
		return p, false, fmt.Errorf("%s: %w", publicFile, err)
	}
	return p, true, nil
}

// SavePublic keeps the public half in a folder of keys.
func SavePublic(keys string, p PublicKey) error {
	if err := durable.Replace(filepath.Join(keys, publicFile), []byte(p.Verifier+"\n"+p.Seal+"\n")); err != nil {
		return fmt.Errorf("recovery key: %w", err)
	}
	return nil
}
