package signature

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/token/talk"
)

// marks keep what a check must still know after the agent was started anew: that a PIN was tried. Each is one small file.
type marks interface {
	// Load returns what was stored; nil for nothing.
	Load() ([]byte, error)
	// Store returns once data is on disk; nil removes it.
	Store(data []byte) error
}

// A pinMark says that a token was given a PIN whose outcome is a refusal or not known. It is written before the token is
// given the PIN, and removed once it took it: whatever happens in between, there is no second try.
type pinMark struct {
	Version int       `json:"v"`
	At      time.Time `json:"at"`
	// Salt and Sum tell whether the PIN was changed since. Of a PIN that is wrong 32 bits say nothing about the right one.
	Salt []byte `json:"salt"`
	Sum  []byte `json:"sum"`
	By   string `json:"by,omitempty"` // the check that tried
}

const sumBytes = 4

func pinSum(salt []byte, pin string) []byte {
	h := sha256.New()
	_, _ = h.Write(salt)
	_, _ = h.Write([]byte(pin))
	return h.Sum(nil)[:sumBytes]
}

// stopped says when a PIN must not be tried: it was given to the token before, and not taken.
func (c *signCheck) stopped(pin string) *fault {
	if c.marks == nil {
		return because(check.NotConfigured, "without a data folder nothing remembers that a PIN was refused, so that none is tried: name the folder with --data")
	}
	return c.stoppedBy(c.marks, pin)
}

// stoppedBy says when a mark keeps the PIN from being tried.
func (c *signCheck) stoppedBy(of marks, pin string) *fault {
	text, err := of.Load()
	if err != nil {
		return because(check.Internal, "whether the PIN was tried before cannot be read, so that it is not tried: %v", err)
	}
	if text == nil {
		return nil
	}
	var m pinMark
	if err := json.Unmarshal(text, &m); err != nil || m.Version != 1 {
		return because(check.PINRefused, "the PIN was tried before, in a way that this version does not know: run `agent sign reset %s` once it is known to be right", c.name)
	}
	if m.By != "" && m.By != c.name {
		return because(check.PINRefused, "the token did not take the PIN of the check %s on %s; nothing is tried until that one has signed, or `agent sign reset %s` was run", m.By, stamp(m.At), c.name)
	}
	if string(pinSum(m.Salt, pin)) != string(m.Sum) {
		return nil // a person has changed it
	}
	return because(check.PINRefused, "the token did not take the PIN on %s; nothing is tried until it was changed here, or `agent sign reset %s` was run", stamp(m.At), c.name)
}

// A claim is a token that one check alone may use, and that bears the mark of a try: its own, because several checks may be
// told to use one token, and the check's.
type claim struct {
	release func()
	marks   [2]marks
}

// claim waits until no other check uses the token, and notes that its PIN is about to be tried, unless it was tried before
// and not taken. A PIN that only its own check has given to the token may have been changed since by a person; of one that
// another check has given nobody knows that.
func (c *signCheck) claim(ctx context.Context, o *talk.Opened, pin string) (*claim, *fault) {
	if c.shared == nil {
		return nil, because(check.NotConfigured, "without a data folder nothing remembers that a PIN was refused, so that none is tried: name the folder with --data")
	}
	name := tokenName(o, c.o.String("module"))
	c.notes.Keep(tokenNote, []byte(name))
	shared := c.shared(name)
	release, err := shared.Hold(ctx)
	if err != nil {
		return nil, because(check.Classify(check.StepExchange, err), "another check has not done with the token: %v", err)
	}
	k := &claim{release: release, marks: [2]marks{noteMarks{shared}, c.marks}}
	bad := c.stoppedBy(k.marks[0], pin)
	if bad == nil {
		bad = c.mark(k, pin)
	}
	if bad != nil {
		release()
		return nil, bad
	}
	return k, nil
}

// tokenName names a token among all of the machine, whatever reads it: by its serial number, else by what there is.
func tokenName(o *talk.Opened, module string) string {
	sum := sha256.Sum256([]byte(cmp.Or(o.Serial, o.Token, module)))
	return "token-" + hex.EncodeToString(sum[:8])
}

// mark notes that the PIN is about to be tried.
func (c *signCheck) mark(k *claim, pin string) *fault {
	m := pinMark{Version: 1, At: c.at.now().UTC().Truncate(time.Second), Salt: make([]byte, 16), By: c.name}
	_, _ = rand.Read(m.Salt) // never fails
	m.Sum = pinSum(m.Salt, pin)
	text, err := json.Marshal(m)
	for _, of := range k.marks {
		if err == nil {
			err = of.Store(text)
		}
	}
	if err != nil {
		return because(check.Internal, "that the PIN is tried cannot be noted, so that it is not: %v", err)
	}
	return nil
}

// unmark notes that the token took the PIN, or was not given it.
func (k *claim) unmark() *fault {
	for _, of := range k.marks {
		if err := of.Store(nil); err != nil {
			return because(check.Internal, "that the PIN was right cannot be noted: %v", err)
		}
	}
	return nil
}

// Names among the notes of a check: the mark, and the token that the check used last.
const (
	pinNote   = "pin"
	tokenNote = "token"
)

// newMarks keeps the mark among the check's notes; nil where there are none.
func newMarks(env check.Env) marks {
	if env.Notes == nil {
		return nil
	}
	return noteMarks{env.Notes}
}

// noteMarks are marks among notes. Notes begin anew when they are damaged, which a PIN must not.
type noteMarks struct{ notes check.Notes }

func (m noteMarks) fault() error {
	if f, ok := m.notes.(interface{ Fault() error }); ok {
		return f.Fault()
	}
	return nil
}

func (m noteMarks) Load() ([]byte, error) { return m.notes.Note(pinNote), m.fault() }

func (m noteMarks) Store(data []byte) error {
	m.notes.Keep(pinNote, data)
	return m.fault()
}

// Stopped tells whether the notes of a check of the kind sign, or those on the token that it used last, keep it from trying
// its PIN, should that be the same still. token is the shared name of that token, "" for none.
func Stopped(n check.Notes, shared func(name string) check.SharedNotes) (token string, stopped bool) {
	text, err := noteMarks{n}.Load()
	stopped = err != nil || text != nil
	if name := string(n.Note(tokenNote)); isTokenName(name) {
		text, err := noteMarks{shared(name)}.Load()
		return name, stopped || err != nil || text != nil
	}
	return "", stopped
}

// isTokenName tells a name of ours from what a disk may hold.
func isTokenName(s string) bool {
	sum, ok := strings.CutPrefix(s, "token-")
	raw, err := hex.DecodeString(sum)
	return ok && err == nil && len(raw) == 8
}
