package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Paths by which a log that cannot go on is succeeded.
const (
	PathRecovery  = "/agent/v1/recovery"  // GET: the district's recovery key, proven to be in the log
	PathSuccessor = "/agent/v1/successor" // GET ?from=N: how log N was succeeded
)

// MaxWhy is the most bytes that the reason of a succession may have.
const MaxWhy = 500

// RecoveryName is the note name that successions are signed with, by the key that is kept offline.
func RecoveryName(district string) string { return "egovmon/" + district + "/recovery" }

// LogNumber returns N of the name egovmon/D/log/N; ok is false if the name is no log's of this district.
func LogNumber(district, name string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(name, "egovmon/"+district+"/log/")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 1 && n <= 1e6 && LogName(district, n) == name
}

// DistrictOf returns D of the name egovmon/D/log/N; "" for another name.
func DistrictOf(name string) string {
	parts := strings.Split(name, "/")
	if len(parts) != 4 || parts[0] != "egovmon" || parts[2] != "log" || !IsDistrict(parts[1]) {
		return ""
	}
	if _, ok := LogNumber(parts[1], name); !ok {
		return ""
	}
	return parts[1]
}

// A Succession says that a new log goes on where an old one cannot: the collector was restored, and agents hold
// checkpoints that the old log cannot be brought to any more. It is a signed note of the recovery key, and the blob of
// the new log's first leaf.
type Succession struct {
	Old  string    // origin of the log that ends
	Tree tlog.Tree // of the old log, as far as the new one holds it
	New  string    // origin of the log that begins: one number higher
	Key  string    // verifier key of the new log
	At   time.Time // whole seconds
	Why  string    // for people; one line
}

const successionMagic = "egovmon-successor/1"

// Text returns the text of the note.
func (s Succession) Text() string {
	return fmt.Sprintf("%s\nold %s %d %s\nnew %s\nkey %s\nat %s\nwhy %s\n", successionMagic, s.Old, s.Tree.N, s.Tree.Hash, s.New, s.Key,
		s.At.UTC().Format(time.RFC3339), s.Why)
}

// Check reports what in a succession does not fit together.
func (s Succession) Check() error {
	district := DistrictOf(s.Old)
	old, ok := LogNumber(district, s.Old)
	if !ok || s.New != LogName(district, old+1) {
		return fmt.Errorf("succession: %.200q does not follow %.200q", s.New, s.Old)
	}
	v, err := note.NewVerifier(s.Key)
	switch {
	case err != nil || v.Name() != s.New:
		return fmt.Errorf("succession: %.200q is not the key of %s", s.Key, s.New)
	case s.Tree.N < 0:
		return errors.New("succession: a log of less than no leaves")
	case s.Why == "" || len(s.Why) > MaxWhy || !utf8.ValidString(s.Why) || strings.ContainsFunc(s.Why, unicode.IsControl):
		return fmt.Errorf("succession: say why in one line of at most %d bytes", MaxWhy)
	}
	return nil
}

// OpenSuccession reads a succession that the recovery key has signed.
func OpenSuccession(msg []byte, recovery note.Verifier) (Succession, error) {
	if len(msg) > MaxHeader {
		return Succession{}, fmt.Errorf("succession of %d bytes: %w", len(msg), ErrLimit)
	}
	n, err := note.Open(msg, note.VerifierList(recovery))
	if err != nil {
		return Succession{}, fmt.Errorf("succession: %w: want a signature by %s", err, recovery.Name())
	}
	s, err := parseSuccession(n.Text)
	if err == nil {
		err = s.Check()
	}
	if err == nil && recovery.Name() != RecoveryName(DistrictOf(s.Old)) {
		err = fmt.Errorf("succession of %s, signed by %s", s.Old, recovery.Name())
	}
	if err != nil {
		return Succession{}, err
	}
	return s, nil
}

func parseSuccession(text string) (s Succession, err error) {
	bad := errors.New("succession: want the lines egovmon-successor/1, old, new, key, at and why: written by a newer version, or none")
	lines := strings.Split(text, "\n")
	if len(lines) != 7 || lines[0] != successionMagic || lines[6] != "" {
		return s, bad
	}
	values := make([]string, 0, 5)
	for i, key := range []string{"old ", "new ", "key ", "at ", "why "} {
		v, ok := strings.CutPrefix(lines[i+1], key)
		if !ok {
			return s, bad
		}
		values = append(values, v)
	}
	old := strings.Split(values[0], " ")
	if len(old) != 3 {
		return s, bad
	}
	s.Old, s.New, s.Key, s.Why = old[0], values[1], values[2], values[4]
	if s.Tree.N, err = strconv.ParseInt(old[1], 10, 64); err != nil {
		return s, bad
	}
	if s.Tree.Hash, err = tlog.ParseHash(old[2]); err != nil {
		return s, bad
	}
	if s.At, err = time.Parse(time.RFC3339, values[3]); err != nil {
		return s, bad
	}
	if s.Text() != text {
		return s, bad
	}
	return s, nil
}

// A RecoveryAnswer is what GET recovery says. The leaf is in the log: its field recovery is the key.
type RecoveryAnswer struct {
	Key        string `json:"key"`        // verifier key of egovmon/D/recovery
	Leaf       []byte `json:"leaf"`       // text of the leaf that records it
	Index      int64  `json:"index"`      // of the leaf
	Proof      string `json:"proof"`      // of its inclusion in the tree of the checkpoint (EncodeProof)
	Checkpoint string `json:"checkpoint"` // signed note
}

// A SuccessorAnswer is what GET successor?from=N says.
type SuccessorAnswer struct {
	Notes      []string `json:"notes"`      // the successions from log N on, in their order
	Leaf       []byte   `json:"leaf"`       // text of the first leaf of the last log, whose blob is the last note
	Proof      string   `json:"proof"`      // of its inclusion in the tree of the checkpoint
	Checkpoint string   `json:"checkpoint"` // of the last log
}
