package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// MaxProof is the most hashes that a proof may have; an inclusion proof has at most one for each level of the tree,
// a consistency proof one more.
const MaxProof = 64

// FormatProof returns an inclusion or consistency proof as it travels: each hash in base64, joined by commas, in the
// order of tlog.RecordProof and tlog.TreeProof. The empty proof, as of the only leaf of a tree, is "".
func FormatProof(proof []tlog.Hash) string {
	parts := make([]string, len(proof))
	for i, h := range proof {
		parts[i] = h.String()
	}
	return strings.Join(parts, ",")
}

// ParseProof reads what FormatProof wrote. The result is for tlog.CheckRecord or tlog.CheckTree.
func ParseProof(s string) ([]tlog.Hash, error) {
	if s == "" {
		return nil, nil
	}
	if n := strings.Count(s, ",") + 1; n > MaxProof {
		return nil, fmt.Errorf("proof: %d hashes, the most is %d", n, MaxProof)
	}
	var proof []tlog.Hash
	for part := range strings.SplitSeq(s, ",") {
		h, err := tlog.ParseHash(part)
		if err != nil || h.String() != part {
			return nil, fmt.Errorf("proof: hash %d is not 32 bytes in base64", len(proof)+1)
		}
		proof = append(proof, h)
	}
	return proof, nil
}

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
