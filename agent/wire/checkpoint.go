package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// FormatCheckpoint returns the text of a checkpoint (C2SP tlog-checkpoint): three lines, the log's origin, the number
// of leaves, and the root hash in base64.
func FormatCheckpoint(origin string, t tlog.Tree) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, t.N, t.Hash)
}

// ParseCheckpoint reads the text of a checkpoint note whose signature was verified. It accepts no further lines.
func ParseCheckpoint(text string) (origin string, t tlog.Tree, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] == "" || lines[3] != "" {
		return "", tlog.Tree{}, errors.New("checkpoint: want three lines: origin, size and root hash")
	}
	if t.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return "", tlog.Tree{}, fmt.Errorf("checkpoint: size: %w", err)
	}
	if t.Hash, err = tlog.ParseHash(lines[2]); err != nil {
		return "", tlog.Tree{}, fmt.Errorf("checkpoint: root hash: %w", err)
	}
	if t.N < 0 || FormatCheckpoint(lines[0], t) != text {
		return "", tlog.Tree{}, errors.New("checkpoint: the size is negative, or a line is not in its shortest form")
	}
	return lines[0], t, nil
}
