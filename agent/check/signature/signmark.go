package signature

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"time"

	"egovmon/agent/check"
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
	text, err := c.marks.Load()
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
	if string(pinSum(m.Salt, pin)) != string(m.Sum) {
		return nil // a person has changed it
	}
	return because(check.PINRefused, "the token did not take the PIN on %s; nothing is tried until it was changed here, or `agent sign reset %s` was run", stamp(m.At), c.name)
}

// mark notes that the PIN is about to be tried.
func (c *signCheck) mark(pin string) *fault {
	m := pinMark{Version: 1, At: c.at.now().UTC().Truncate(time.Second), Salt: make([]byte, 16)}
	_, _ = rand.Read(m.Salt) // never fails
	m.Sum = pinSum(m.Salt, pin)
	text, err := json.Marshal(m)
	if err == nil {
		err = c.marks.Store(text)
	}
	if err != nil {
		return because(check.Internal, "that the PIN is tried cannot be noted, so that it is not: %v", err)
	}
	return nil
}

// unmark notes that the token took the PIN, or was not given it.
func (c *signCheck) unmark() *fault {
	if err := c.marks.Store(nil); err != nil {
		return because(check.Internal, "that the PIN was right cannot be noted: %v", err)
	}
	return nil
}

// pinNote is the name of the mark among the notes of the check.
const pinNote = "pin"

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

// Stopped tells whether the notes of a check of the kind sign keep it from trying its PIN, should that be the same still.
func Stopped(n check.Notes) bool {
	text, err := noteMarks{n}.Load()
	return err != nil || text != nil
}
