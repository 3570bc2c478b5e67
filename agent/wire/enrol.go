package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// MaxEnrol is the most bytes a request to enrol, renew or say goodbye may have.
const MaxEnrol = 16 << 10

// The first byte of a public key in a note's verifier key: how it signs (C2SP signed-note).
const (
	AlgEd25519 = 1 // plain Ed25519, for journals, plans and the log
	AlgCosign  = 4 // timestamped Ed25519 cosignature/v1, for witnesses
)

// An EnrolRequest is the body of POST enrol, the one call without a client certificate.
type EnrolRequest struct {
	Token   string `json:"token"`             // ID.SECRET; the PIN is not sent
	Machine string `json:"machine,omitempty"` // what the caller expects to become; refused if the token says otherwise
	Unit    string `json:"unit,omitempty"`    // likewise
	CSR     []byte `json:"csr"`               // PKCS #10, DER; only its key counts
	Journal []byte `json:"journal"`           // algorithm byte and public key that will sign batches
	Cosign  []byte `json:"cosign"`            // algorithm byte and public key that will cosign checkpoints
	// JournalProof and CosignProof are Ed25519 signatures of Statement by those two keys.
	JournalProof []byte `json:"journal_proof"`
	CosignProof  []byte `json:"cosign_proof"`
	Build        string `json:"build,omitempty"` // version of the program
}

// Statement is what the new keys sign, so that nobody enrols a key that is not theirs.
func (r EnrolRequest) Statement() []byte {
	id, _, _ := strings.Cut(r.Token, ".")
	return keyStatement("egovmon-enrol/1", "token "+id, r.CSR, r.Journal, r.Cosign)
}

// An EnrolAnswer is what a machine needs to be one of the district's.
type EnrolAnswer struct {
	District    string `json:"district"`
	Machine     string `json:"machine"`
	Unit        string `json:"unit"`
	Certificate []byte `json:"certificate"` // X.509, DER
	PlanKey     string `json:"plan_key"`    // verifier key of plans
	LogKey      string `json:"log_key"`     // verifier key of checkpoints; its name is the log's origin
	Time        string `json:"time"`        // RFC 3339, milliseconds
}

// A RenewRequest is the body of POST renew. Without successors only the TLS key changes.
type RenewRequest struct {
	CSR     []byte     `json:"csr"`
	Journal *Successor `json:"journal,omitempty"`
	Cosign  *Successor `json:"cosign,omitempty"`
}

// A Successor is a new key in place of one of the same use.
type Successor struct {
	Key   []byte `json:"key"`   // algorithm byte and public key
	Proof []byte `json:"proof"` // Ed25519 signature of the statement by the new key
	Old   []byte `json:"old"`   // and by its predecessor
}

// Statement is what both keys of each successor sign.
func (r RenewRequest) Statement(machine string) []byte {
	var journal, cosign []byte
	if r.Journal != nil {
		journal = r.Journal.Key
	}
	if r.Cosign != nil {
		cosign = r.Cosign.Key
	}
	return keyStatement("egovmon-renew/1", "machine "+machine, r.CSR, journal, cosign)
}

// A RenewAnswer is what POST renew says.
type RenewAnswer struct {
	Certificate []byte `json:"certificate"` // X.509, DER
	Time        string `json:"time"`
}

func keyStatement(magic, who string, csr, journal, cosign []byte) []byte {
	h := sha256.Sum256(csr)
	return fmt.Appendf(nil, "%s\n%s\ncsr %x\njournal %s\ncosign %s\n", magic, who, h, dash(journal), dash(cosign))
}

// KeyLine is the line of a statement that names a key, with the line's end before it.
func KeyLine(use string, key []byte) []byte { return fmt.Appendf(nil, "\n%s %s\n", use, dash(key)) }

func dash(key []byte) string {
	if len(key) == 0 {
		return "-"
	}
	return base64.StdEncoding.EncodeToString(key)
}

// A Goodbye is the body of POST goodbye: the machine stops in order.
type Goodbye struct {
	Cause string `json:"cause"` // stop or shutdown, as in the journal's end record
}

// A TimeAnswer is what GET time says, to any caller.
type TimeAnswer struct {
	Time string `json:"time"` // RFC 3339, milliseconds
}

// A Refusal is the JSON body of every error answer that is not an Answer.
type Refusal struct {
	Code  Code   `json:"code"`
	Error string `json:"error"` // what was refused, and what to do
}

// A Code is a word of a closed list that says to a program why a call was refused.
type Code string

// Why a call was refused.
const (
	CodeTokenUnknown Code = "token_unknown" // no such token, or a wrong secret
	CodeTokenUsed    Code = "token_used"
	CodeTokenExpired Code = "token_expired"
	CodeTokenOther   Code = "token_other" // it is for another machine or unit
	CodeBadKey       Code = "bad_key"     // a key or its proof cannot be used
	CodeNoIdentity   Code = "no_identity" // no certificate, a foreign or an old one
	CodeRevoked      Code = "revoked"
	CodeBadRequest   Code = "bad_request"
	CodeTooLarge     Code = "too_large"
	CodeBusy         Code = "busy"
	CodeNotFound     Code = "not_found"
	CodeInternal     Code = "internal"
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const (
	tokenIDBytes     = 5
	tokenSecretBytes = 16
)

// A Token lets one machine enrol once. Its text is ID.SECRET.PIN in lower-case base32 without padding.
type Token struct {
	ID     [tokenIDBytes]byte
	Secret [tokenSecretBytes]byte
	Pin    [sha256.Size]byte // SHA-256 of the SPKI DER of the district's CA
}

// IDText returns the part that may be shown and logged.
func (t Token) IDText() string { return base32Lower.EncodeToString(t.ID[:]) }

// Sent returns the part that is sent to the collector, ID.SECRET.
func (t Token) Sent() string { return t.IDText() + "." + base32Lower.EncodeToString(t.Secret[:]) }

// String returns the whole token, which is a secret.
func (t Token) String() string { return t.Sent() + "." + base32Lower.EncodeToString(t.Pin[:]) }

// ParseToken reads a token as a person typed it: spaces around it and upper case do no harm.
func ParseToken(s string) (Token, error) {
	var t Token
	parts := strings.Split(strings.ToLower(strings.TrimSpace(s)), ".")
	if len(parts) != 3 {
		return Token{}, fmt.Errorf("the token has %d parts, not three with dots between: copy all of it", len(parts))
	}
	if err := parsePart(t.ID[:], parts[0], "first"); err != nil {
		return Token{}, err
	}
	if err := parsePart(t.Secret[:], parts[1], "second"); err != nil {
		return Token{}, err
	}
	return t, parsePart(t.Pin[:], parts[2], "third")
}

// ParseSent reads what Sent writes.
func ParseSent(s string) (Token, error) {
	var t Token
	id, secret, _ := strings.Cut(s, ".")
	return t, errors.Join(parsePart(t.ID[:], id, "first"), parsePart(t.Secret[:], secret, "second"))
}

func parsePart(to []byte, s, which string) error {
	if want := base32Lower.EncodedLen(len(to)); len(s) != want {
		return fmt.Errorf("the %s part of the token has %d letters, not %d: copy all of it", which, len(s), want)
	}
	b, err := base32Lower.DecodeString(s)
	if err != nil || base32Lower.EncodeToString(b) != s {
		return fmt.Errorf("the %s part of the token has a letter or digit that no token has: copy it again", which)
	}
	copy(to, b)
	return nil
}

var (
	machinePattern  = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	districtPattern = regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)
)

// IsMachine reports whether s can be the id of a machine.
func IsMachine(s string) bool { return machinePattern.MatchString(s) }

// IsDistrict reports whether s can be the id of a district or of a unit.
func IsDistrict(s string) bool { return districtPattern.MatchString(s) }

// MachineURI is the name of a machine in its certificate.
func MachineURI(district, machine string) string { return "egovmon://" + district + "/" + machine }

// JournalName is the note name that a machine signs batches with.
func JournalName(district, machine string) string {
	return "egovmon/" + district + "/journal/" + machine
}

// WitnessName is the note name that a witness cosigns checkpoints with.
func WitnessName(district, name string) string { return "egovmon/" + district + "/witness/" + name }

// PlanName is the note name that plans are signed with.
func PlanName(district string) string { return "egovmon/" + district + "/plan" }

// LogName is the note name and origin of the district's n-th log.
func LogName(district string, n int) string { return fmt.Sprintf("egovmon/%s/log/%d", district, n) }

// VerifierKey returns the verifier key (C2SP signed-note: NAME+HASH+BASE64) of a public key that begins with its
// algorithm byte.
func VerifierKey(name string, key []byte) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s+%08x+%s", name, keyHash(name, key), base64.StdEncoding.EncodeToString(key)), nil
}

// SignerKey returns the private form of VerifierKey, as golang.org/x/mod/sumdb/note writes it.
func SignerKey(name string, alg byte, key ed25519.PrivateKey) string {
	pub := append([]byte{alg}, key.Public().(ed25519.PublicKey)...)
	seed := append([]byte{alg}, key.Seed()...)
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, keyHash(name, pub), base64.StdEncoding.EncodeToString(seed))
}

// ParseSignerKey reads what SignerKey writes.
func ParseSignerKey(s string) (name string, alg byte, key ed25519.PrivateKey, err error) {
	rest, ok := strings.CutPrefix(s, "PRIVATE+KEY+")
	parts := strings.SplitN(rest, "+", 3)
	if !ok || len(parts) != 3 {
		return "", 0, nil, errors.New("this is no private key of the form PRIVATE+KEY+NAME+HASH+BASE64")
	}
	seed, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return "", 0, nil, fmt.Errorf("the private key of %s is damaged", parts[0])
	}
	name, alg, key = parts[0], seed[0], ed25519.NewKeyFromSeed(seed[1:])
	if SignerKey(name, alg, key) != s {
		return "", 0, nil, fmt.Errorf("the private key of %s does not match its hash", name)
	}
	return name, alg, key, nil
}

func keyHash(name string, key []byte) []byte {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write(key)
	return h.Sum(nil)[:4]
}

func checkKey(key []byte) error {
	if len(key) != 1+ed25519.PublicKeySize || key[0] != AlgEd25519 && key[0] != AlgCosign {
		return fmt.Errorf("a key of %d bytes is not an algorithm byte and an Ed25519 public key", len(key))
	}
	return nil
}

// Signed reports whether key, with its algorithm byte, made sig over msg.
func Signed(key, msg, sig []byte) bool {
	return checkKey(key) == nil && len(sig) == ed25519.SignatureSize && ed25519.Verify(key[1:], msg, sig)
}
