package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

const (
	// RecoveryFile has the verifier key of the district's recovery key. It is taken once, from the log.
	RecoveryFile = "recovery.key"
	// SuccessorsFile has the successions that were followed, as a JSON list of signed notes.
	SuccessorsFile = "successors.json"

	showGap        = time.Hour
	recoveryGap    = time.Hour // until a collector without a recovery key is asked for it again
	maxSuccessions = 64
	keyLeafHeader  = "egovmon-leaf/1 log-key\n"
)

// loadKeys finds the key of the log that is followed now: that of the identity, or of a log that came after it.
func (p *Pusher) loadKeys() error {
	p.logKey = p.o.LogKey
	text, err := os.ReadFile(filepath.Join(p.o.Dir, RecoveryFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	v, err := note.NewVerifier(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", RecoveryFile, err)
	}
	if v.Name() != wire.RecoveryName(wire.DistrictOf(p.o.LogKey.Name())) {
		return nil // of another district, where this machine was enrolled before
	}
	p.recovery = v
	data, err := os.ReadFile(filepath.Join(p.o.Dir, SuccessorsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &p.successions)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", SuccessorsFile, err)
	}
	for _, msg := range p.successions {
		s, err := wire.OpenSuccession([]byte(msg), p.recovery)
		if err != nil {
			return fmt.Errorf("%s: %w", SuccessorsFile, err)
		}
		if s.Old != p.logKey.Name() { // the machine enrolled again since
			continue
		}
		if p.logKey, err = note.NewVerifier(s.Key); err != nil {
			return fmt.Errorf("%s: %w", SuccessorsFile, err)
		}
	}
	return nil
}

// isOver reports whether a log is one that the followed one came after.
func (p *Pusher) isOver(origin string) bool {
	district := wire.DistrictOf(p.logKey.Name())
	n, ok := wire.LogNumber(district, origin)
	now, _ := wire.LogNumber(district, p.logKey.Name())
	return ok && n < now
}

// archive puts the last checkpoint of a log that ended aside, for ever.
func (p *Pusher) archive(origin string) error {
	n, _ := wire.LogNumber(wire.DistrictOf(origin), origin)
	err := os.Rename(filepath.Join(p.o.Dir, CheckpointFile), filepath.Join(p.o.Dir, CheckpointFile+"."+strconv.Itoa(n)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// succeed follows the collector to another log, if the recovery key says that it comes after the one followed now.
func (p *Pusher) succeed(ctx context.Context, origin string) error {
	if p.isOver(origin) {
		return fmt.Errorf("checkpoint of %s, which ended when %s began: %w", origin, p.logKey.Name(), ErrRewound)
	}
	if p.recovery == nil {
		return fmt.Errorf("the collector has a new log, %.200q, and this machine knows no recovery key by which to believe it: enrol it again with a new token", origin)
	}
	n, ok := wire.LogNumber(wire.DistrictOf(p.logKey.Name()), p.logKey.Name())
	if !ok {
		return fmt.Errorf("log %s cannot be succeeded", p.logKey.Name())
	}
	var a wire.SuccessorAnswer
	if err := p.getJSON(ctx, fmt.Sprintf("%s?%s=%d", wire.PathSuccessor, wire.ParamFrom, n), &a); err != nil {
		return err
	}
	key, last, err := p.chain(a.Notes)
	if err != nil {
		return err
	}
	if key.Name() != origin {
		return fmt.Errorf("the collector's log is %.200q, and the successions lead to %s", origin, key.Name())
	}
	t, err := openCheckpoint([]byte(a.Checkpoint), key)
	if err != nil {
		return fmt.Errorf("successor: %w", err)
	}
	msg := a.Notes[len(a.Notes)-1]
	sum := sha256.Sum256([]byte(msg))
	blob := fmt.Appendf(nil, "\nblob %x %d\n", sum, len(msg))
	if len(a.Leaf) > maxLeaf || !bytes.HasPrefix(a.Leaf, []byte(keyLeafHeader)) || !bytes.HasSuffix(a.Leaf, blob) {
		return errors.New("successor: the first leaf of the new log does not hold the succession")
	}
	if err := inLog(t, a.Proof, 0, a.Leaf); err != nil {
		return fmt.Errorf("successor: %w", err)
	}
	return p.follows(key, last, a.Notes)
}

// chain goes through successions from the log followed now on, and returns the key at its end.
func (p *Pusher) chain(notes []string) (key note.Verifier, last wire.Succession, err error) {
	key = p.logKey
	if len(notes) == 0 || len(notes) > maxSuccessions {
		return nil, last, fmt.Errorf("successor: %d successions", len(notes))
	}
	for _, msg := range notes {
		if last, err = wire.OpenSuccession([]byte(msg), p.recovery); err != nil {
			return nil, last, err
		}
		if last.Old != key.Name() {
			return nil, last, fmt.Errorf("successor: a succession of %s, after %s", last.Old, key.Name())
		}
		if key, err = note.NewVerifier(last.Key); err != nil {
			return nil, last, err
		}
	}
	return key, last, nil
}

// follows takes another log for the one that is followed. The successions are durable first: what a kill leaves then is
// mended at the next start.
func (p *Pusher) follows(key note.Verifier, s wire.Succession, notes []string) error {
	all := append(append([]string(nil), p.successions...), notes...)
	data, err := json.MarshalIndent(all, "", "\t")
	if err == nil {
		err = p.keep(SuccessorsFile, data)
	}
	old := p.logKey.Name()
	if err == nil {
		err = p.archive(old)
	}
	if err != nil {
		return fmt.Errorf("successor: %w", err)
	}
	p.log.Warn("the district's log was succeeded: what the collector lacks is sent again", "old", old, "seen", p.tree.N, "restored", s.Tree.N,
		"new", s.New, "why", s.Why)
	p.successions, p.logKey, p.signed, p.owing = all, key, nil, true
	p.tree, p.latest, p.latestSigned, p.cosigned = tlog.Tree{}, tlog.Tree{}, nil, tlog.Tree{}
	p.mu.Lock()
	p.stats.Leaves = 0
	p.mu.Unlock()
	return nil
}

// learnRecovery asks for the district's recovery key, if it is not known, and believes it if it is in the log.
func (p *Pusher) learnRecovery(ctx context.Context) {
	if p.recovery != nil || p.tree.N == 0 || p.now().Before(p.askRecovery) {
		return
	}
	p.askRecovery = p.now().Add(recoveryGap)
	if err := p.fetchRecovery(ctx); err != nil && ctx.Err() == nil {
		p.refuse("recovery key", err)
	}
}

func (p *Pusher) fetchRecovery(ctx context.Context) error {
	var a wire.RecoveryAnswer
	if err := p.getJSON(ctx, wire.PathRecovery, &a); err != nil {
		if _, ok := errors.AsType[*temporaryError](err); ok {
			return nil // the collector has none, or does not know the question
		}
		return err
	}
	v, err := note.NewVerifier(a.Key)
	if err != nil || v.Name() != wire.RecoveryName(wire.DistrictOf(p.logKey.Name())) {
		return fmt.Errorf("%.200q is no recovery key of this district", a.Key)
	}
	if len(a.Leaf) > maxLeaf || !bytes.HasPrefix(a.Leaf, []byte(keyLeafHeader)) || !bytes.Contains(a.Leaf, []byte("\nrecovery "+a.Key+"\n")) {
		return errors.New("the leaf does not name the recovery key")
	}
	t, err := p.see(ctx, []byte(a.Checkpoint), "")
	if err != nil {
		return err
	}
	if err := inLog(t, a.Proof, a.Index, a.Leaf); err != nil {
		return err
	}
	if err := p.keep(RecoveryFile, []byte(a.Key+"\n")); err != nil {
		return err
	}
	p.recovery = v
	p.log.Info("recovery key taken from the log", "key", a.Key)
	return nil
}

// getJSON makes one call; that it is not answered with 200 is a temporaryError.
func (p *Pusher) getJSON(ctx context.Context, path string, to any) error {
	status, _, data, err := p.exchange(ctx, http.MethodGet, path, "", nil, wire.MaxAnswer)
	if err != nil {
		return &temporaryError{err}
	}
	if status != http.StatusOK {
		return &temporaryError{fmt.Errorf("GET %s: the collector answers %d: %.200q", path, status, data)}
	}
	p.count(class(status), true)
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("GET %s: %.80q is not the collector's JSON: %w", path, data, err)
	}
	return nil
}
