package evidence

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// TestForged changes a segment and makes the checksums right again, as one would who wants to hide it.
func TestForged(t *testing.T) {
	_, v := testKeys()
	d, states := small(t, 3)
	name := segmentName(0)
	last := d.names[name].data[states[2].size(t, name):]
	head := slices.Clone(states[2].names[name].data)
	e, other := testEntry(t, 2), testEntry(t, 4)
	tree := func(h tlog.Hash) tlog.Tree { return tlog.Tree{N: 3, Hash: h} }
	good := merkle([][]byte{testEntry(t, 0).Leaf.text, testEntry(t, 1).Leaf.text, e.Leaf.text})
	forged := merkle([][]byte{testEntry(t, 0).Leaf.text, testEntry(t, 1).Leaf.text, other.Leaf.text})
	if !bytes.Equal(last, appendCommit(appendEntry(nil, e), tree(good))) {
		t.Fatal("a group is not written as the test thinks")
	}
	tests := []struct {
		name, want string
		tail       []byte
	}{
		{"another leaf", errTree.Error(), appendCommit(appendEntry(nil, other), tree(good))},
		{"another leaf and root", "one of them is of another time", appendCommit(appendEntry(nil, other), tree(forged))},
		{"another body", "not those that the leaf names", appendCommit(appendEntry(nil, Entry{Leaf: e.Leaf, Blob: e.Blob, Body: []byte("x")}), tree(good))},
		{"another size", errTree.Error(), appendCommit(appendEntry(nil, e), tlog.Tree{N: 4, Hash: good})},
	}
	for _, tt := range tests {
		c := d.clone()
		c.names[name].data = slices.Concat(head, tt.tail)
		if _, err := verify(c, v); err == nil {
			t.Errorf("%s: Verify finds nothing", tt.name)
		}
		if _, err := open(testOptions(t, "mem"), c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: open: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestTailIsCut looks whether Open leaves nothing behind the last commit, and syncs what it signs.
func TestTailIsCut(t *testing.T) {
	d, states := small(t, 3)
	name := segmentName(0)
	d.names[checkpointFile] = states[2].names[checkpointFile]
	whole := d.size(t, name)
	d.names[name].data = append(d.names[name].data, bytes.Repeat([]byte("x"), 500)...)
	d.names[name].synced = nil
	s, err := open(testOptions(t, "mem"), d)
	if err != nil {
		t.Fatal(err)
	}
	checkLog(t, s, 3)
	if got := d.size(t, name); got != whole || len(d.names[name].synced) != whole {
		t.Errorf("%s has %d bytes, %d of them synced; want %d", name, got, len(d.names[name].synced), whole)
	}
}
