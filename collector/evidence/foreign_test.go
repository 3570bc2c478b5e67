package evidence

import (
	"encoding/binary"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// A foreigner reads a log over HTTP by the C2SP specifications alone, with code that others wrote: checkpoints with
// transparency-dev/formats, trees and proofs with transparency-dev/merkle.
type foreigner struct {
	tileClient
}

func (f foreigner) checkpoint() *log.Checkpoint {
	f.t.Helper()
	_, v := testKeys()
	c, rest, n, err := log.ParseCheckpoint(f.get("/checkpoint"), testOrigin, v)
	if err != nil || len(rest) != 0 || len(n.Sigs) != 1 {
		f.t.Fatalf("checkpoint: %v", err)
	}
	return c
}

// tile returns the hashes of a tile in a log of so many leaves.
func (f foreigner) tile(level uint, n, size uint64) (hashes [][]byte) {
	f.t.Helper()
	path, width := tilePath(fmt.Sprint(level), int(n), int(size>>(8*level)))
	data := f.get(path)
	if len(data) != width*rfc6962.DefaultHasher.Size() {
		f.t.Fatalf("%s has %d bytes for %d hashes", path, len(data), width)
	}
	for ; len(data) > 0; data = data[rfc6962.DefaultHasher.Size():] {
		hashes = append(hashes, data[:rfc6962.DefaultHasher.Size()])
	}
	return hashes
}

// node returns the hash of a node of the tree, from the tile that it is in.
func (f foreigner) node(id compact.NodeID, size uint64) []byte {
	f.t.Helper()
	level, within := id.Level/8, id.Level%8
	first := id.Index << within // of its leaves at the tile's level
	hashes := f.tile(level, first/256, size)[first%256:]
	return above(hashes[:1<<within])
}

// above returns the root of a full subtree.
func above(hashes [][]byte) []byte {
	if len(hashes) == 1 {
		return hashes[0]
	}
	half := len(hashes) / 2
	return rfc6962.DefaultHasher.HashChildren(above(hashes[:half]), above(hashes[half:]))
}

// hashes puts a proof together.
func (f foreigner) hashes(n proof.Nodes, err error, size uint64) [][]byte {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
	var hashes [][]byte
	for _, id := range n.IDs {
		hashes = append(hashes, f.node(id, size))
	}
	hashes, err = n.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
	if err != nil {
		f.t.Fatal(err)
	}
	return hashes
}

// leaf returns the bytes of a leaf, from its entry bundle.
func (f foreigner) leaf(i, size uint64) []byte {
	f.t.Helper()
	path, _ := tilePath("entries", int(i/256), int(size))
	data := f.get(path)
	for range i % 256 {
		data = data[2+binary.BigEndian.Uint16(data):]
	}
	return data[2 : 2+binary.BigEndian.Uint16(data)]
}

// TestForeignReader has the log read by an implementation that is not ours: every checkpoint continues the one before,
// and leaves are in it that the entry bundles hold.
func TestForeignReader(t *testing.T) {
	s := mustOpen(t, testOptions(t, t.TempDir()))
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	f := foreigner{tileClient{t, server.URL}}
	var before *log.Checkpoint
	size := 0
	for _, grow := range []int{1, 6, 249, 1, 255, 300, 65_536 - 812, 70} { // 1, 7, 256, 257, 512, 812, 65,536, 65,606
		var group []Entry
		for range grow {
			group = append(group, testEntry(t, size))
			size++
		}
		if _, err := s.Append(t.Context(), group...); err != nil {
			t.Fatal(err)
		}
		c := f.checkpoint()
		if c.Size != uint64(size) {
			t.Fatalf("the checkpoint is of %d leaves, want %d", c.Size, size)
		}
		for _, i := range []int{0, size / 3, size / 2, size - 1} {
			leaf := f.leaf(uint64(i), c.Size)
			if want := testEntry(t, i).Leaf.Bytes(); string(leaf) != string(want) {
				t.Fatalf("leaf %d is %q, want %q", i, leaf, want)
			}
			n, err := proof.Inclusion(uint64(i), c.Size)
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(i), c.Size, rfc6962.DefaultHasher.HashLeaf(leaf), f.hashes(n, err, c.Size), c.Hash); err != nil {
				t.Errorf("leaf %d of %d: %v", i, size, err)
			}
		}
		if before != nil {
			n, err := proof.Consistency(before.Size, c.Size)
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, before.Size, c.Size, f.hashes(n, err, c.Size), before.Hash, c.Hash); err != nil {
				t.Errorf("%d leaves after %d: %v", c.Size, before.Size, err)
			}
		}
		before = c
	}
	// The proofs that the collector gives itself are those that others expect.
	tree := s.Tree()
	p, err := s.ProveLeaf(300, tree.N)
	if err != nil {
		t.Fatal(err)
	}
	hashes := make([][]byte, len(p))
	for i := range p {
		hashes[i] = p[i][:]
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(testEntry(t, 300).Leaf.Bytes())
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, 300, uint64(tree.N), leaf, hashes, tree.Hash[:]); err != nil {
		t.Error(err)
	}
}
