package check

import "context"

// MaxNotes bounds what one check keeps, names included, in bytes.
const MaxNotes = 64 << 10

// Notes are the little that a check keeps over a restart of the agent and a change of the plan: what was used of a daily
// cap, not to try a password again. They are for one check and lie in plain files: nothing in them may be secret. What they
// return was read from a disk and may be anything. A check asks for them in a run, not when it is made.
type Notes interface {
	// Note returns what was kept last under a name; nil when nothing was, or it was lost.
	Note(name string) []byte
	// Keep puts data in the place of what was kept under a name; empty data forgets it. On return it is on disk; when that
	// fails it is kept as long as the program runs. More than MaxNotes is not kept at all.
	Keep(name string, data []byte)
}

// SharedNotes are notes that all checks of a machine share, about a thing that several may use. They stay however long no
// check asks for them.
type SharedNotes interface {
	Notes
	// Hold waits until nobody holds these notes, and keeps others from holding them until release is called. Its error is
	// that ctx ended.
	Hold(ctx context.Context) (release func(), err error)
}

// Kept returns the notes of the check, or notes that keep nothing where there are none.
func (e Env) Kept() Notes {
	if e.Notes == nil {
		return noNotes{}
	}
	return e.Notes
}

type noNotes struct{}

func (noNotes) Note(string) []byte  { return nil }
func (noNotes) Keep(string, []byte) {}
