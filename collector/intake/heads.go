package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"egovmon/agent/journal"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// recent is how many batches before the head of a journal are known by their hash: as many as one request may hold, so
// that a request whose answer was lost is recognised as a whole.
const recent = wire.MaxBatches

// A hash is the SHA-256 of a header note.
type hash [sha256.Size]byte

// MarshalText writes lower-case hex.
func (h hash) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h[:])), nil }

// UnmarshalText reads what MarshalText writes.
func (h *hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("%.80q is not a SHA-256 in hex", text)
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// A head is how far one journal is archived.
type head struct {
	Seq    uint64 `json:"seq"`
	Hashes []hash `json:"hashes"` // of the last batches, at most recent of them, that of Seq at the end
}

// push advances the head by one batch.
func (h *head) push(note hash) {
	h.Seq++
	if len(h.Hashes) == recent {
		h.Hashes = append(h.Hashes[:0], h.Hashes[1:]...)
	}
	h.Hashes = append(h.Hashes, note)
}

// at returns the hash of batch seq, if it is one of the recent.
func (h *head) at(seq uint64) (hash, bool) {
	if seq > h.Seq || h.Seq-seq >= uint64(len(h.Hashes)) {
		return hash{}, false
	}
	return h.Hashes[uint64(len(h.Hashes))-1-(h.Seq-seq)], true
}

// heads are the journals of one machine.
type heads struct {
	Latest   string           `json:"latest"` // journal of the batch that was archived last
	Journals map[string]*head `json:"journals"`
}

// A verdict is what heads say of a batch.
type verdict uint8

const (
	next      verdict = iota // it follows the head
	duplicate                // it is archived already
	fork                     // another batch stands in its place, or before it
	gap                      // batches before it are missing
	old                      // it may be archived or not, nobody remembers
)

// judge tells whether a batch is its journal's next one. want is where the machine is to send from instead. A batch so
// old that nobody remembers its hash is not called a duplicate, which would lose it if it is another: the machine is
// asked for the oldest one that is remembered. If that is the same, all before it are, since each names the one before.
func (m *heads) judge(h journal.Header, note hash) (v verdict, want *wire.Head) {
	j := m.Journals[h.Journal]
	if j == nil {
		if h.Seq == 1 {
			return next, nil
		}
		return gap, &wire.Head{Journal: h.Journal, Seq: 1}
	}
	switch {
	case h.Seq <= j.Seq:
		switch known, ok := j.at(h.Seq); {
		case !ok:
			return old, &wire.Head{Journal: h.Journal, Seq: j.Seq + 1 - uint64(len(j.Hashes))}
		case known != note:
			return fork, nil
		}
		return duplicate, nil
	case h.Seq > j.Seq+1:
		return gap, &wire.Head{Journal: h.Journal, Seq: j.Seq + 1}
	}
	if last, _ := j.at(j.Seq); hex.EncodeToString(last[:]) != h.Previous {
		return fork, nil
	}
	return next, nil
}

// push takes in a batch that judge called next.
func (m *heads) push(id string, note hash) {
	j := m.Journals[id]
	if j == nil {
		if m.Journals == nil {
			m.Journals = map[string]*head{}
		}
		j = &head{}
		m.Journals[id] = j
	}
	j.push(note)
	m.Latest = id
}

// held is the head of a journal, or of the journal that was fed last when this one is not known.
func (m *heads) held(id string) wire.Head {
	if m.Journals[id] == nil {
		id = m.Latest
	}
	if j := m.Journals[id]; j != nil {
		return wire.Head{Journal: id, Seq: j.Seq}
	}
	return wire.Head{}
}

// clone copies what judge and push need for the journals named, so that a request can be judged before it is archived.
func (m *heads) clone() *heads {
	c := &heads{Latest: m.Latest, Journals: make(map[string]*head, len(m.Journals))}
	for id, j := range m.Journals {
		c.Journals[id] = &head{Seq: j.Seq, Hashes: slices.Clone(j.Hashes)}
	}
	return c
}

// replay takes in an archived batch. One that is taken in already changes nothing.
func (m *heads) replay(l evidence.Leaf) error {
	seq, err := strconv.ParseUint(l.Field("seq"), 10, 64)
	blob, ok := l.Blob()
	if err != nil || !ok {
		return fmt.Errorf("a receipt without seq or header: %w", err)
	}
	id := l.Field("journal")
	if j := m.Journals[id]; j != nil && seq <= j.Seq {
		return nil
	}
	if want := m.held(id).Seq + 1; m.Journals[id] != nil && seq != want || m.Journals[id] == nil && seq != 1 {
		return fmt.Errorf("the receipt of batch %d of journal %s does not follow the one before", seq, id)
	}
	m.push(id, hash(blob.SHA256))
	return nil
}
