package check

import "fmt"

// A State says how a target was, in its user's words. The zero value is Unknown: what was not measured is neither
// up nor down.
type State uint8

// The four states, in no order of gravity.
const (
	Unknown  State = iota // we could not tell
	Up                    // it works as its users expect
	Degraded              // it works, but not as it should
	Down                  // it does not work for its users
)

// States lists the four states in the order people read them.
func States() []State { return []State{Up, Degraded, Down, Unknown} }

// String returns the word used on the wire, in labels and in files: "up", "degraded", "down" or "unknown".
func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Degraded:
		return "degraded"
	case Down:
		return "down"
	default:
		return "unknown"
	}
}

// ParseState reads the word that String writes.
func ParseState(s string) (State, error) {
	for _, st := range States() {
		if st.String() == s {
			return st, nil
		}
	}
	return Unknown, fmt.Errorf("state %q is none of up, degraded, down, unknown", s)
}

// Known reports whether the state tells something about the target.
func (s State) Known() bool { return s != Unknown }
