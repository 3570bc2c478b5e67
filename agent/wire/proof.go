package wire

import (
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// maxProof is more hashes than a proof in a tree of 2^63 leaves has.
const maxProof = 128

// EncodeProof writes the hashes of a proof, a record's or a tree's, in their order as base64 (RFC 4648, section 4, with
// padding) with commas between. An empty proof is the empty string.
func EncodeProof(p []tlog.Hash) string {
	var b strings.Builder
	for i, h := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]))
	}
	return b.String()
}

// DecodeProof reads what EncodeProof writes, and nothing else.
func DecodeProof(s string) ([]tlog.Hash, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > maxProof*45 {
		return nil, fmt.Errorf("proof of %d bytes: %w", len(s), ErrLimit)
	}
	var p []tlog.Hash
	for f := range strings.SplitSeq(s, ",") {
		b, err := base64.StdEncoding.Strict().DecodeString(f)
		if err != nil || len(b) != tlog.HashSize || strings.ContainsAny(f, "\r\n") {
			return nil, fmt.Errorf("hash %d of the proof, %.60q, is not a SHA-256 in base64", len(p)+1, f)
		}
		p = append(p, tlog.Hash(b))
	}
	return p, nil
}
