package enrol

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

const (
	tokenFile    = "tokens.json"
	registryFile = "registry.json"
	maxRegistry  = 256 << 20
)

// A Log is all that the registrar needs of the evidence; *evidence.Store is one.
type Log interface {
	// Append returns once the entries are durable, all or none, with the index of the first.
	Append(ctx context.Context, entries ...evidence.Entry) (first int64, err error)
	Entries(from int64) iter.Seq2[evidence.Stored, error]
	Leaf(i int64) (evidence.Leaf, error)
}

// Options say what a registrar works with. All but Names and Logger is needed.
type Options struct {
	Dir  string // its folder; made with mode 0700
	Keys *Keys
	Log  Log
	// Machines lists the machines that a unit is to have, in the order in which they are given out.
	Machines func(unit string) (ids []string, known bool)
	// Names are the host names and addresses in the certificate of the agents' port, besides those of loopback.
	Names  []string
	Now    func() time.Time
	Logger *slog.Logger
}

// A Refusal is an error that a caller of the agent API is told.
type Refusal struct {
	Code wire.Code
	Text string // what was refused, and what to do
}

// Error returns the text.
func (r *Refusal) Error() string { return r.Text }

func refuse(code wire.Code, format string, args ...any) *Refusal {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// A Registrar gives identities to machines and knows which are good. Its methods may be called at the same time.
type Registrar struct {
	opts   Options
	server serverCert

	writing sync.Mutex // one change at a time; guards tokens, nextSave
	tokens  *tokens
	// nextSave is before when the cache is not written again: it grows with the fleet, and a fleet enrols in a row.
	nextSave time.Time

	mu       sync.RWMutex
	registry registry
	next     int64 // first leaf that registry has not taken in
}

// A cache is the registry's file: what the leaves before Next say. Last is the hash of leaf Next-1, so that the file of
// another log is not believed.
type cache struct {
	Version int      `json:"version"`
	Next    int64    `json:"next"`
	Last    string   `json:"last"`
	Known   registry `json:"known"`
}

const cacheVersion = 1

// Open reads what the log says of machines, and the tokens.
func Open(ctx context.Context, o Options) (*Registrar, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registrar{opts: o, registry: registry{}}
	err := durable.MkdirAll(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	if r.tokens, err = openTokens(filepath.Join(o.Dir, tokenFile)); err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	r.readCache()
	if err := r.follow(ctx); err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	if _, err := r.server.get(r.opts); err != nil {
		return nil, fmt.Errorf("enrol: certificate of the agents' port: %w", err)
	}
	return r, r.writeCache()
}

// readCache takes the file if it is of this log; otherwise all leaves are read again.
func (r *Registrar) readCache() {
	path := filepath.Join(r.opts.Dir, registryFile)
	data, err := durable.Read(path, maxRegistry)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var c cache
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err == nil && (c.Version != cacheVersion || c.Next < 0 || c.Known == nil) {
		err = fmt.Errorf("version %d is not %d", c.Version, cacheVersion)
	}
	if err == nil && c.Next > 0 {
		var last evidence.Leaf
		if last, err = r.opts.Log.Leaf(c.Next - 1); err == nil && last.Hash().String() != c.Last {
			err = errors.New("it was made from another log")
		}
	}
	if err != nil {
		r.opts.Logger.Warn("enrol: reading all leaves again", "file", path, "err", err)
		return
	}
	r.registry, r.next = c.Known, c.Next
}

func (r *Registrar) writeCache() error {
	r.mu.RLock()
	c := cache{Version: cacheVersion, Next: r.next, Known: r.registry}
	var err error
	if c.Next > 0 {
		var last evidence.Leaf
		last, err = r.opts.Log.Leaf(c.Next - 1)
		if err == nil {
			c.Last = last.Hash().String()
		}
	}
	var data []byte
	if err == nil {
		data, err = json.Marshal(c)
	}
	r.mu.RUnlock()
	if err == nil {
		err = durable.Replace(filepath.Join(r.opts.Dir, registryFile), data)
	}
	if err != nil {
		return fmt.Errorf("enrol: %s: %w", registryFile, err)
	}
	return nil
}

// follow takes in the leaves from next on.
func (r *Registrar) follow(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s, err := range r.opts.Log.Entries(r.next) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = r.registry.apply(s)
		}
		if err != nil {
			return err
		}
		r.next = s.Index + 1
	}
	return nil
}

// record appends entries to the log and takes them in. The caller holds r.writing.
func (r *Registrar) record(ctx context.Context, es []evidence.Entry) error {
	first, err := r.opts.Log.Append(ctx, es...)
	if err != nil {
		return err
	}
	// Others append too, but only the registrar what the registry knows: the leaves before first say nothing to it.
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, e := range es {
		if err := r.registry.apply(evidence.Stored{Entry: e, Index: first + int64(i)}); err != nil {
			return err
		}
	}
	r.next = first + int64(len(es))
	return nil
}

// saveCost is how many times as long as it takes to write the cache there is none written: 1/saveCost of the time.
const saveCost = 20

// saveCache writes the file after a change, unless it was written just before; the change itself is in the log already,
// and the next start reads from there what the file lacks. The caller holds r.writing.
func (r *Registrar) saveCache() {
	began := time.Now()
	if began.Before(r.nextSave) {
		return
	}
	if err := r.writeCache(); err != nil {
		r.opts.Logger.Warn("enrol: the next start will read more leaves", "err", err)
	}
	r.nextSave = time.Now().Add(saveCost * time.Since(began))
}

// Machine returns an identity by its id.
func (r *Registrar) Machine(id string) (Machine, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m, ok := r.registry[id]
	if !ok {
		return Machine{}, false
	}
	return m.clone(), true
}

// Machines lists every identity that was ever given, by id.
func (r *Registrar) Machines() []Machine {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.registry.machines()
}

// Enrol gives the holder of a token an identity. Its keys are in the log when it returns. A request that used a token is
// answered again with the same certificate, in case the first answer was lost; any other use of it is a Refusal.
func (r *Registrar) Enrol(ctx context.Context, req wire.EnrolRequest) (wire.EnrolAnswer, error) {
	sent, err := wire.ParseSent(req.Token)
	if err != nil {
		return wire.EnrolAnswer{}, refuse(wire.CodeTokenUnknown, "%v", err)
	}
	keys, err := checkKeys(req)
	if err != nil {
		return wire.EnrolAnswer{}, err
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	now := r.opts.Now()
	t, ok := r.tokens.find(sent)
	if !ok {
		return wire.EnrolAnswer{}, refuse(wire.CodeTokenUnknown, "the collector knows no such token: copy all of it, or ask the district for a new one")
	}
	use := sha256.Sum256(req.Statement())
	if !t.UsedAt.IsZero() && subtle.ConstantTimeCompare(use[:], t.UsedBy) != 1 {
		return wire.EnrolAnswer{}, refuse(wire.CodeTokenUsed, "token %s was used at %s: each is good once; ask the district for a new one", t.ID, t.UsedAt.Format(time.RFC3339))
	}
	if !now.Before(t.Expires) {
		return wire.EnrolAnswer{}, refuse(wire.CodeTokenExpired, "token %s ended at %s: ask the district for a new one", t.ID, t.Expires.Format(time.RFC3339))
	}
	if req.Machine != "" && req.Machine != t.Machine || req.Unit != "" && req.Unit != t.Unit {
		return wire.EnrolAnswer{}, refuse(wire.CodeTokenOther, "token %s is for machine %s of unit %s, not for this one: ask the district for one of its own", t.ID, t.Machine, t.Unit)
	}
	if cert := r.given(t); cert != nil {
		return r.answer(t, cert, now), nil
	}
	t.UsedAt, t.UsedBy = now.UTC(), use[:]
	if err := r.tokens.put(t, now); err != nil {
		return wire.EnrolAnswer{}, err
	}
	return r.give(ctx, t, req, keys, now)
}

// given returns the certificate that a used token has led to, if it has.
func (r *Registrar) given(t token) []byte {
	if t.UsedAt.IsZero() {
		return nil
	}
	m, _ := r.Machine(t.Machine)
	for _, k := range m.Keys {
		if k.Use == TLS && k.Token == t.ID {
			return k.Certificate
		}
	}
	return nil
}

func (r *Registrar) give(ctx context.Context, t token, req wire.EnrolRequest, csr *x509.CertificateRequest, now time.Time) (wire.EnrolAnswer, error) {
	cert, err := r.opts.Keys.issueMachine(t.Machine, csr.PublicKey, now)
	if err != nil {
		return wire.EnrolAnswer{}, err
	}
	journal, cosign, err := r.noteKeys(t.Machine, req.Journal, req.Cosign)
	if err != nil {
		return wire.EnrolAnswer{}, err
	}
	es, err := keyEntries(t.Machine, t.Unit, now, map[string]string{"token": t.ID}, []newKey{
		tlsKey(cert),
		{use: Journal, key: journal, blob: proofBlob(req.Statement(), req.JournalProof, nil)},
		{use: Cosign, key: cosign, blob: proofBlob(req.Statement(), req.CosignProof, nil)},
	})
	if err != nil {
		return wire.EnrolAnswer{}, err
	}
	if err := r.record(ctx, es); err != nil {
		return wire.EnrolAnswer{}, err
	}
	r.saveCache()
	r.opts.Logger.Info("machine enrolled", "machine", t.Machine, "unit", t.Unit, "token", t.ID)
	return r.answer(t, cert.Raw, now), nil
}

func (r *Registrar) answer(t token, cert []byte, now time.Time) wire.EnrolAnswer {
	k := r.opts.Keys
	return wire.EnrolAnswer{
		District: k.District, Machine: t.Machine, Unit: t.Unit, Certificate: cert,
		PlanKey: k.PlanKey, LogKey: k.LogKey, Time: wire.FormatTime(now),
	}
}

func (r *Registrar) noteKeys(machine string, journal, cosign []byte) (j, c string, err error) {
	if j, err = wire.VerifierKey(wire.JournalName(r.opts.Keys.District, machine), journal); err != nil {
		return "", "", err
	}
	c, err = wire.VerifierKey(wire.WitnessName(r.opts.Keys.District, machine), cosign)
	return j, c, err
}

func tlsKey(cert *x509.Certificate) newKey {
	return newKey{
		use: TLS, key: spkiText(cert.RawSubjectPublicKeyInfo), blob: cert.Raw,
		extra: map[string]string{"serial": cert.SerialNumber.Text(16), "not_after": cert.NotAfter.UTC().Format(time.RFC3339)},
	}
}

// proofBlob keeps the statement by which a key was given, with the signatures of the new key and of the old one.
func proofBlob(statement, proof, old []byte) []byte {
	b := fmt.Appendf(nil, "%sproof %x\n", statement, proof)
	if old != nil {
		b = fmt.Appendf(b, "old %x\n", old)
	}
	return b
}

// checkKeys judges the three keys of a request, and that whoever sent it has them.
func checkKeys(req wire.EnrolRequest) (*x509.CertificateRequest, error) {
	csr, err := checkCSR(req.CSR)
	if err != nil {
		return nil, err
	}
	statement := req.Statement()
	switch {
	case len(req.Journal) == 0 || req.Journal[0] != wire.AlgEd25519 || !wire.Signed(req.Journal, statement, req.JournalProof):
		return nil, refuse(wire.CodeBadKey, "the journal key is no Ed25519 key that signed the request: update the agent")
	case len(req.Cosign) == 0 || req.Cosign[0] != wire.AlgCosign || !wire.Signed(req.Cosign, statement, req.CosignProof):
		return nil, refuse(wire.CodeBadKey, "the cosigning key is no Ed25519 key that signed the request: update the agent")
	case string(req.Journal[1:]) == string(req.Cosign[1:]):
		return nil, refuse(wire.CodeBadKey, "the journal and cosigning keys are the same: each has its own")
	}
	return csr, nil
}

func checkCSR(der []byte) (*x509.CertificateRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, refuse(wire.CodeBadKey, "the certificate request cannot be used: %v", err)
	}
	switch k := csr.PublicKey.(type) {
	case ed25519.PublicKey:
		return csr, nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return csr, nil
		}
	}
	return nil, refuse(wire.CodeBadKey, "a TLS key of type %T cannot be used: use ECDSA P-256 or Ed25519", csr.PublicKey)
}
