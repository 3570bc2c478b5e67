package attest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"egovmon/collector/evidence"
	"egovmon/collector/filing"
)

// maxDocument is the largest document whose hash is taken. Those above [evidence.MaxBlob] are kept as their hash alone.
const maxDocument = 4 << 30

// Add writes an attestation into the log and returns it with its place there, its hash and size. document may be nil when
// the attestation gives the hash, or needs none. A document that is not the one of the hash is refused. One of at most
// 64 MiB is kept in the log, a larger one only as its hash: then Stored is false, and the caller tells the person to
// keep the file.
func Add(ctx context.Context, log filing.Appender, a Attestation, document io.Reader) (Attestation, error) {
	needless := a.Finding == NotNeeded || a.Finding == Withdrawn
	var blob []byte
	switch {
	case document != nil && needless:
		return Attestation{}, fmt.Errorf("attestation of %s: a finding of %s has no document: leave the file out", a.Control, a.Finding)
	case document != nil:
		ref, data, err := readDocument(ctx, document)
		if err != nil {
			return Attestation{}, fmt.Errorf("attestation of %s: document: %w", a.Control, err)
		}
		if want := a.Document; want.SHA256 != ([sha256.Size]byte{}) && (want.SHA256 != ref.SHA256 || want.Size != 0 && want.Size != ref.Size) {
			return Attestation{}, fmt.Errorf("attestation of %s: the document has %d bytes and SHA-256 %s, which is not the one given: check the file", a.Control, ref.Size, hex.EncodeToString(ref.SHA256[:]))
		}
		a.Document, a.Stored, blob = ref, data != nil, data
	case !needless && a.Document.SHA256 == ([sha256.Size]byte{}):
		return Attestation{}, fmt.Errorf("attestation of %s: no document: give the file, or its sha256 and size", a.Control)
	}
	entry, err := evidence.NewEntry(evidence.Attestation, a.fields(), blob, nil)
	if err != nil {
		return Attestation{}, fmt.Errorf("attestation of %s: %w", a.Control, err)
	}
	if _, err := Parse(entry.Leaf, -1); err != nil {
		return Attestation{}, fmt.Errorf("attestation of %s cannot be read back, make it with New: %w", a.Control, err)
	}
	if a.Leaf, err = log.Append(ctx, entry); err != nil {
		return Attestation{}, fmt.Errorf("attestation of %s: %w", a.Control, err)
	}
	if a.Stored {
		a.Blob = a.Leaf
	}
	return a, nil
}

// readDocument hashes a document and keeps it when it fits a blob; else data is nil.
func readDocument(ctx context.Context, r io.Reader) (ref evidence.Ref, data []byte, err error) {
	sum := sha256.New()
	var kept bytes.Buffer
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return ref, nil, err
		}
		n, err := r.Read(buf)
		sum.Write(buf[:n])
		ref.Size += int64(n)
		switch {
		case ref.Size > maxDocument:
			return ref, nil, fmt.Errorf("more than %d bytes: split it, or attest a signed summary", int64(maxDocument))
		case ref.Size <= evidence.MaxBlob:
			kept.Write(buf[:n])
		default:
			kept = bytes.Buffer{} // its hash alone
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return ref, nil, err
		}
	}
	if ref.Size == 0 {
		return ref, nil, errors.New("it is empty: give the signed document")
	}
	sum.Sum(ref.SHA256[:0])
	return ref, kept.Bytes(), nil
}

// A Fold turns the leaves of a log into the attestations that count. It serves one goroutine; the zero value has been fed
// nothing.
type Fold struct {
	next    int64
	list    []Attestation
	unknown []error

	exceptions []Exception
}

// Next is the index of the leaf that comes next.
func (f *Fold) Next() int64 { return f.next }

// Feed takes in the next leaf; those of other types only count. changed is true when what [Fold.Current] returns is
// another list now. An attestation that this version cannot read is kept apart, see [Fold.Unreadable].
func (f *Fold) Feed(s evidence.Stored) (changed bool, err error) {
	if err := filing.Step(s, &f.next); err != nil {
		return false, fmt.Errorf("attestations: %w", err)
	}
	if s.Leaf.Type() == evidence.Exception {
		if changed, err = f.feedException(s); err != nil {
			f.unknown = append(f.unknown, err)
		}
		return changed, nil
	}
	if s.Leaf.Type() != evidence.Attestation || s.Leaf.Field("control") == "" && (s.Leaf.Field("service") != "" || filing.Withdraws(s.Leaf)) {
		return false, nil // those about services are package confirm's
	}
	a, err := Parse(s.Leaf, s.Index)
	if err == nil {
		err = f.approval(s.Leaf, a)
	}
	if err != nil {
		f.unknown = append(f.unknown, err)
		return false, nil
	}
	f.list = slices.DeleteFunc(f.list, func(old Attestation) bool {
		return old.Unit == a.Unit && old.Control == a.Control && fold(old.Number) == fold(a.Number)
	})
	if a.Finding != Withdrawn {
		f.list = append(f.list, a)
	}
	return true, nil
}

// Current returns the attestations that count, in the order of the log. Those that were replaced or withdrawn are not
// among them.
func (f *Fold) Current() []Attestation { return slices.Clone(f.list) }

// Unreadable returns why leaves could not be read, one error each.
func (f *Fold) Unreadable() []error { return slices.Clone(f.unknown) }

// Load folds a whole log.
func Load(log filing.Reader) (*Fold, error) {
	f := &Fold{}
	for s, err := range log.Leaves(0) {
		if err == nil {
			_, err = f.Feed(s)
		}
		if err != nil {
			return nil, fmt.Errorf("attestations: %w", err)
		}
	}
	return f, nil
}
