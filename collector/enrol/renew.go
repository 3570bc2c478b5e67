package enrol

import (
	"context"
	"fmt"
	"time"

	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// Renew gives a machine that has shown its certificate one for a new TLS key, and takes in the successors of its other
// keys, each signed by its predecessor. All of them are in the log when it returns. The keys before stay good for 30
// days, so that what they sealed can still be sent.
func (r *Registrar) Renew(ctx context.Context, machine string, req wire.RenewRequest) (wire.RenewAnswer, error) {
	csr, err := checkCSR(req.CSR)
	if err != nil {
		return wire.RenewAnswer{}, err
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	now := r.opts.Now()
	m, ok := r.Machine(machine)
	if !ok || !m.Revoked.IsZero() {
		return wire.RenewAnswer{}, refuse(wire.CodeNoIdentity, "machine %s has no identity to renew: enrol it again with a new token", machine)
	}
	cert, err := r.opts.Keys.issueMachine(machine, csr.PublicKey, now)
	if err != nil {
		return wire.RenewAnswer{}, err
	}
	keys := []newKey{tlsKey(cert)}
	district, statement := r.opts.Keys.District, req.Statement(machine)
	for _, s := range []struct {
		use  Use
		name string
		alg  byte
		*wire.Successor
	}{
		{Journal, wire.JournalName(district, machine), wire.AlgEd25519, req.Journal},
		{Cosign, wire.WitnessName(district, machine), wire.AlgCosign, req.Cosign},
	} {
		if s.Successor == nil {
			continue
		}
		old, _ := m.Current(s.use)
		key, err := succeed(old, s.name, s.alg, statement, s.Successor)
		if err != nil {
			return wire.RenewAnswer{}, err
		}
		keys = append(keys, newKey{use: s.use, key: key, blob: proofBlob(statement, s.Proof, s.Old), extra: map[string]string{"predecessor": old.Key}})
	}
	es, err := keyEntries(machine, m.Unit, now, nil, keys)
	if err != nil {
		return wire.RenewAnswer{}, err
	}
	if err := r.record(ctx, es); err != nil {
		return wire.RenewAnswer{}, err
	}
	r.saveCache()
	r.opts.Logger.Info("machine renewed its keys", "machine", machine, "keys", len(keys))
	return wire.RenewAnswer{Certificate: cert.Raw, Time: wire.FormatTime(now)}, nil
}

// succeed returns the verifier key of a successor, once it and its predecessor have signed the statement.
func succeed(old Key, name string, alg byte, statement []byte, s *wire.Successor) (string, error) {
	key, err := wire.VerifierKey(name, s.Key)
	switch {
	case err != nil || s.Key[0] != alg || !wire.Signed(s.Key, statement, s.Proof):
		return "", refuse(wire.CodeBadKey, "the new %s key is no Ed25519 key that signed the request", old.Use)
	case !wire.Signed(noteKey(old.Key), statement, s.Old):
		return "", refuse(wire.CodeBadKey, "the new %s key is not signed by the one before: a lost key needs a new token", old.Use)
	case key == old.Key:
		return "", refuse(wire.CodeBadKey, "the new %s key is the one before", old.Use)
	}
	return key, nil
}

// Revoke ends a machine's identity at once: its certificate and keys are good no more, nor are the tokens that were made
// for it, until it enrols again with a new one. why is for people, and stands in the log.
func (r *Registrar) Revoke(ctx context.Context, machine, why string) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	m, ok := r.Machine(machine)
	if err := r.tokens.end(machine, r.opts.Now()); err != nil {
		return fmt.Errorf("revoke %s: %w", machine, err)
	}
	if !ok {
		return fmt.Errorf("revoke: no machine %q was ever enrolled", machine)
	}
	if !m.Revoked.IsZero() {
		return nil
	}
	f := map[string]string{"machine": machine, "at": r.opts.Now().UTC().Format(time.RFC3339Nano), "why": why}
	if k, ok := m.Current(TLS); ok {
		f["serial"] = k.Serial
	}
	e, err := evidence.NewEntry(evidence.Revocation, f, nil, nil)
	if err == nil {
		err = r.record(ctx, []evidence.Entry{e})
	}
	if err != nil {
		return fmt.Errorf("revoke %s: %w", machine, err)
	}
	r.saveCache()
	r.opts.Logger.Info("machine revoked", "machine", machine, "why", why)
	return nil
}
