package cosign

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
)

// Files of a witness, and the bounds of what it keeps.
const (
	keyFile   = "witness.key"
	vkeyFile  = "witness.vkey"
	lastFile  = "last"  // of a log: the last checkpoint that was signed
	splitFile = "split" // of a log: checkpoints that contradict it, one after the other
	maxSplit  = 1 << 20
)

// A Witness signs checkpoints of logs that it is told of. Its methods may be called at the same time. Make it with
// OpenWitness.
type Witness struct {
	dir    string
	signer string
	key    *wire.Witness
	now    func() time.Time

	mu   sync.Mutex
	logs map[string]note.Verifier // by origin
}

// NewWitnessKey makes a witness's folder and key; its verifier key is for those who are to believe it.
func NewWitnessKey(dir, name string) (vkey string, err error) {
	if err := durable.MkdirAll(dir); err != nil {
		return "", fmt.Errorf("witness: %w", err)
	}
	path := filepath.Join(dir, keyFile)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("witness: there is a key in %s already (%v): a witness keeps its key", path, err)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	if vkey, err = wire.VerifierKey(name, append([]byte{wire.AlgCosign}, pub...)); err != nil {
		return "", err
	}
	if _, err := wire.NewWitness(vkey); err != nil {
		return "", fmt.Errorf("witness: name %.200q: no spaces and no plus signs: %w", name, err)
	}
	if err := durable.Replace(path, []byte(wire.SignerKey(name, wire.AlgCosign, priv)+"\n")); err != nil {
		return "", fmt.Errorf("witness: %w", err)
	}
	return vkey, durable.Replace(filepath.Join(dir, vkeyFile), []byte(vkey+"\n"))
}

// OpenWitness opens a witness's folder for these logs, by their verifier keys.
func OpenWitness(dir string, logs []string, now func() time.Time) (*Witness, error) {
	b, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("witness: %w: make a key with `collector witness init`", err)
	}
	w := &Witness{dir: dir, signer: strings.TrimSpace(string(b)), now: now, logs: map[string]note.Verifier{}}
	name, alg, key, err := wire.ParseSignerKey(w.signer)
	if err != nil || alg != wire.AlgCosign {
		return nil, fmt.Errorf("witness: %s holds no cosigning key: %w", keyFile, err)
	}
	vkey, err := wire.VerifierKey(name, append([]byte{alg}, key.Public().(ed25519.PublicKey)...))
	if err != nil {
		return nil, err
	}
	if w.key, err = wire.NewWitness(vkey); err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	for _, log := range logs {
		v, err := note.NewVerifier(log)
		if err != nil {
			return nil, fmt.Errorf("witness: key of a log: %w", err)
		}
		w.logs[v.Name()] = v
	}
	return w, nil
}

// Key returns the witness's verifier key.
func (w *Witness) Key() string { return w.key.Key() }

// folder is where is kept what was signed of a log.
func (w *Witness) folder(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return filepath.Join(w.dir, "log-"+hex.EncodeToString(sum[:8]))
}

// ErrUnknownLog is wrapped by the errors about logs that the witness was not told of.
var ErrUnknownLog = errors.New("this witness was not told of the log")

// A StaleError says that the witness has signed another checkpoint than its caller thinks.
type StaleError struct{ Size int64 }

// Error says which.
func (e *StaleError) Error() string {
	return fmt.Sprintf("the last checkpoint that was signed here has %d leaves", e.Size)
}

// Last returns the last checkpoint of a log that was signed here; the zero Tree and nil if there is none.
func (w *Witness) Last(origin string) (t tlog.Tree, msg []byte, err error) {
	v, ok := w.logs[origin]
	if !ok {
		return t, nil, fmt.Errorf("witness: log %.200q: %w", origin, ErrUnknownLog)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last(v)
}

func (w *Witness) last(v note.Verifier) (t tlog.Tree, msg []byte, err error) {
	path := filepath.Join(w.folder(v.Name()), lastFile)
	msg, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil, nil
	}
	if err == nil {
		t, err = openBy(msg, v)
	}
	if err != nil {
		return t, nil, fmt.Errorf("witness: %s: %w: without it nothing is signed of this log", path, err)
	}
	return t, msg, nil
}

// openBy opens a checkpoint that a log has signed.
func openBy(msg []byte, v note.Verifier) (tlog.Tree, error) {
	if len(msg) > wire.MaxAnswer {
		return tlog.Tree{}, fmt.Errorf("checkpoint of %d bytes: %w", len(msg), wire.ErrLimit)
	}
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("checkpoint: %w: want a signature by %s+%08x", err, v.Name(), v.KeyHash())
	}
	origin, t, err := wire.ParseCheckpoint(n.Text)
	if err == nil && origin != v.Name() {
		err = fmt.Errorf("checkpoint of %.200q, want %s", origin, v.Name())
	}
	return t, err
}

// Sign cosigns a checkpoint that continues the last one that was signed here, whose size the caller names: proof is the
// consistency proof between the two. The checkpoint is kept, durably, before its cosignature is given away. A checkpoint
// that the log signed and that cannot continue it is kept too, and the error wraps ErrSplit; one that is only not proven
// is refused. A caller that names another size gets a *StaleError.
func (w *Witness) Sign(msg []byte, old int64, proof tlog.TreeProof) (wire.Cosignature, error) {
	origin, _, _ := strings.Cut(string(msg[:min(len(msg), 256)]), "\n")
	v, ok := w.logs[origin]
	if !ok {
		return wire.Cosignature{}, fmt.Errorf("witness: log %.200q: %w", origin, ErrUnknownLog)
	}
	t, err := openBy(msg, v)
	if err != nil {
		return wire.Cosignature{}, fmt.Errorf("witness: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last, _, err := w.last(v)
	if err != nil {
		return wire.Cosignature{}, err
	}
	switch {
	case last.N == t.N && last != t:
		return wire.Cosignature{}, w.contradicts(origin, msg, fmt.Errorf("%d leaves with the root %s, and with %s", t.N, last.Hash, t.Hash))
	case old != last.N || t.N < old:
		return wire.Cosignature{}, &StaleError{last.N}
	case old > 0 && t.N > old:
		if err := tlog.CheckTree(proof, t.N, t.Hash, last.N, last.Hash); err != nil {
			return wire.Cosignature{}, fmt.Errorf("witness: %s: %d leaves are not proven to continue the %d that were signed before: %w: %w", origin, t.N, old, err, errUnproven)
		}
	}
	text := wire.FormatCheckpoint(origin, t)
	c, err := wire.Cosign(text, w.signer, w.now())
	if err != nil {
		return wire.Cosignature{}, err
	}
	if err := durable.MkdirAll(w.folder(origin)); err != nil {
		return wire.Cosignature{}, fmt.Errorf("witness: %w", err)
	}
	if err := durable.Replace(filepath.Join(w.folder(origin), lastFile), msg); err != nil {
		return wire.Cosignature{}, fmt.Errorf("witness: the checkpoint cannot be kept: %w", err)
	}
	return c, nil
}

var errUnproven = errors.New("no proof of consistency")

// Contradicts keeps a checkpoint that the log signed and cannot prove to go with what was signed here.
func (w *Witness) Contradicts(msg []byte, why error) error {
	origin, _, _ := strings.Cut(string(msg[:min(len(msg), 256)]), "\n")
	v, ok := w.logs[origin]
	if !ok {
		return fmt.Errorf("witness: log %.200q: %w", origin, ErrUnknownLog)
	}
	if _, err := openBy(msg, v); err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.contradicts(origin, msg, why)
}

func (w *Witness) contradicts(origin string, msg []byte, why error) error {
	err := fmt.Errorf("witness: %s: %w: %w; the proof is kept in %s: show it to the inspectorate", origin, why, ErrSplit, w.folder(origin))
	path := filepath.Join(w.folder(origin), splitFile)
	had, e := os.ReadFile(path)
	if e != nil && !errors.Is(e, fs.ErrNotExist) {
		return errors.Join(err, e)
	}
	if strings.Contains(string(had), string(msg)) || len(had)+len(msg) > maxSplit {
		return err
	}
	return errors.Join(err, durable.MkdirAll(w.folder(origin)), durable.Replace(path, append(had, msg...)))
}

// Splits returns the checkpoints that contradict what was signed here of a log, one after the other; nil for none.
func (w *Witness) Splits(origin string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(w.folder(origin), splitFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}
