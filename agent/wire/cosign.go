package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Paths of the log for those who witness it. They need no certificate: what is asked for is signed by the log, and what
// is brought by a witness.
const (
	PathLogCheckpoint  = "/log/v1/checkpoint"  // GET: the checkpoint to cosign, a signed note; ?from=A adds a proof in HeaderProof, ?from=A&size=B another
	PathLogCosignature = "/log/v1/cosignature" // POST: that checkpoint with a witness's cosignature
)

// PathCosign takes a checkpoint that a machine has cosigned, as a note with that signature.
const PathCosign = "/agent/v1/cosign"

const (
	cosignMagic = "cosignature/v1\n"
	cosignSize  = 8 + ed25519.SignatureSize
	keyHashSize = 4
)

// MaxCosignatures is the most signatures beside the log's that are read of a checkpoint.
const MaxCosignatures = 64

// A Witness proves cosignatures of one witness: it implements note.Verifier. Make it with NewWitness.
type Witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

// NewWitness reads the verifier key of a witness (C2SP tlog-cosignature: algorithm byte 0x04).
func NewWitness(vkey string) (*Witness, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("this is no verifier key of the form NAME+HASH+BASE64")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != AlgCosign {
		return nil, fmt.Errorf("the key of %.200q is no key for cosignatures (algorithm byte %#02x and an Ed25519 public key)", parts[0], AlgCosign)
	}
	if again, err := VerifierKey(parts[0], key); err != nil || again != vkey || !isKeyName(parts[0]) {
		return nil, fmt.Errorf("the key of %.200q does not match its hash: copy all of it", parts[0])
	}
	return &Witness{parts[0], binary.BigEndian.Uint32(keyHash(parts[0], key)), ed25519.PublicKey(key[1:])}, nil
}

// isKeyName reports whether a name may stand in a key (C2SP signed-note).
func isKeyName(s string) bool { return s != "" && !strings.ContainsAny(s, " \t\r\n+\u00a0") }

// Name implements note.Verifier.
func (w *Witness) Name() string { return w.name }

// KeyHash implements note.Verifier.
func (w *Witness) KeyHash() uint32 { return w.hash }

// Key returns the verifier key.
func (w *Witness) Key() string {
	key, _ := VerifierKey(w.name, append([]byte{AlgCosign}, w.key...)) // its form was seen
	return key
}

// Verify implements note.Verifier: sig is eight bytes of POSIX time and an Ed25519 signature over the time and the
// checkpoint (C2SP tlog-cosignature).
func (w *Witness) Verify(msg, sig []byte) bool {
	if len(sig) != cosignSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	return at < 1<<62 && ed25519.Verify(w.key, cosignedText(msg, at), sig[8:])
}

// cosignedText is what a witness signs.
func cosignedText(text []byte, at uint64) []byte {
	return append(fmt.Appendf(nil, "%stime %d\n", cosignMagic, at), text...)
}

// A Cosignature is the word of one witness that a checkpoint was, at a time, the largest of its log that the witness had
// seen, and that it continued every one before.
type Cosignature struct {
	Name string
	At   time.Time // whole seconds, UTC
	Line string    // the signature's line in the note, with its newline
}

// Cosign signs the text of a checkpoint with a key as SignerKey writes it. Nothing about the log is proven here.
func Cosign(text, signer string, at time.Time) (Cosignature, error) {
	name, alg, key, err := ParseSignerKey(signer)
	if err != nil {
		return Cosignature{}, fmt.Errorf("cosigning key: %w", err)
	}
	if alg != AlgCosign || at.Unix() < 0 {
		return Cosignature{}, fmt.Errorf("the key of %s does not cosign (algorithm byte %#02x), or the time %s is before 1970", name, alg, at)
	}
	if _, _, err := ParseCheckpoint(text); err != nil {
		return Cosignature{}, err
	}
	sig := binary.BigEndian.AppendUint64(nil, uint64(at.Unix()))
	sig = append(sig, ed25519.Sign(key, cosignedText([]byte(text), uint64(at.Unix())))...)
	pub := append([]byte{AlgCosign}, key.Public().(ed25519.PublicKey)...)
	line := fmt.Sprintf("\u2014 %s %s\n", name, base64.StdEncoding.EncodeToString(append(keyHash(name, pub), sig...)))
	return Cosignature{Name: name, At: time.Unix(at.Unix(), 0).UTC(), Line: line}, nil
}

// Cosigned returns the text of a checkpoint with a cosignature alone, as PathCosign takes it.
func Cosigned(text string, c Cosignature) []byte { return []byte(text + "\n" + c.Line) }

// ReadCosignatures returns the signatures of a note that these witnesses made, in their order in the note, one a witness.
// A note that is not well formed is an error; what others have signed, or nobody has, is passed over.
func ReadCosignatures(msg []byte, witnesses ...*Witness) (text string, cs []Cosignature, err error) {
	if len(msg) > MaxAnswer {
		return "", nil, fmt.Errorf("checkpoint of %d bytes: %w", len(msg), ErrLimit)
	}
	cut := bytes.LastIndex(msg, []byte("\n\n"))
	if cut < 0 || !bytes.HasSuffix(msg, []byte("\n")) {
		return "", nil, errors.New("a checkpoint without signatures")
	}
	text = string(msg[:cut+1])
	if _, _, err := ParseCheckpoint(text); err != nil {
		return "", nil, err
	}
	lines := strings.SplitAfter(string(msg[cut+2:]), "\n")
	if lines = lines[:len(lines)-1]; len(lines) > 1+MaxCosignatures {
		return "", nil, fmt.Errorf("a checkpoint with %d signatures: %w", len(lines), ErrLimit)
	}
	seen := map[string]bool{}
	for _, line := range lines {
		name, sig, ok := signatureLine(line)
		if !ok {
			return "", nil, fmt.Errorf("%.80q is no signature of a note", line)
		}
		for _, w := range witnesses {
			if w.name == name && !seen[name] && binary.BigEndian.Uint32(sig) == w.hash && w.Verify([]byte(text), sig[keyHashSize:]) {
				seen[name] = true
				cs = append(cs, Cosignature{name, time.Unix(int64(binary.BigEndian.Uint64(sig[keyHashSize:])), 0).UTC(), line})
			}
		}
	}
	return text, cs, nil
}

// signatureLine reads one line of signatures: an em dash, the name, and base64 of key hash and signature.
func signatureLine(line string) (name string, sig []byte, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "\u2014 ")
	name, b64, ok2 := strings.Cut(rest, " ")
	sig, err := base64.StdEncoding.Strict().DecodeString(b64)
	return name, sig, ok && ok2 && isKeyName(name) && err == nil && len(sig) > keyHashSize
}

// Signers returns the names in the signatures of a note, of which nothing is verified.
func Signers(msg []byte) []string {
	_, sigs, _ := strings.Cut(string(msg[:min(len(msg), MaxAnswer)]), "\n\n")
	var names []string
	for line := range strings.Lines(sigs) {
		if name, _, ok := signatureLine(line); ok {
			names = append(names, name)
		}
	}
	return names
}

// FormatSeen returns one line that names a checkpoint for people and QR codes: origin, size and root hash.
func FormatSeen(origin string, size int64, root string) string {
	return origin + " " + strconv.FormatInt(size, 10) + " " + root
}

var _ note.Verifier = (*Witness)(nil)
