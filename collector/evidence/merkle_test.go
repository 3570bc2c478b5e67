package evidence

import (
	"crypto/sha256"

	"golang.org/x/mod/sumdb/tlog"
)

// merkle is the Merkle tree hash exactly as RFC 6962, section 2.1, defines it, and nothing of the code under test.
func merkle(leaves [][]byte) tlog.Hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		return node(merkle(leaves[:k]), merkle(leaves[k:]))
	}
}

func node(left, right tlog.Hash) tlog.Hash {
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}
