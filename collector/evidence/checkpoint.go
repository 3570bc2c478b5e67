package evidence

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

const (
	checkpointFile = "checkpoint"
	maxCheckpoint  = 64 << 10
)

func signCheckpoint(s note.Signer, origin string, t tlog.Tree) ([]byte, error) {
	return note.Sign(&note.Note{Text: wire.FormatCheckpoint(origin, t)}, s)
}

// readCheckpoint returns the checkpoint that was persisted last; msg is nil if there is none.
func readCheckpoint(d disk, v note.Verifier) (origin string, t tlog.Tree, msg []byte, err error) {
	msg, err = readFile(d, checkpointFile, maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return "", tlog.Tree{}, nil, nil
	}
	if err != nil {
		return "", tlog.Tree{}, nil, err
	}
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		return "", tlog.Tree{}, nil, fmt.Errorf("%s: %w: it is damaged, or signed by another key than %s+%08x: put the right one back", checkpointFile, err, v.Name(), v.KeyHash())
	}
	origin, t, err = wire.ParseCheckpoint(n.Text)
	return origin, t, msg, err
}
