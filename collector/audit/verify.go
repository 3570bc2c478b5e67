package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check"
	"egovmon/agent/wire"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/intake"
	"egovmon/collector/profile"
)

// Options say what an export is verified with.
type Options struct {
	// Key is the log's verifier key, got by another way than the export. "" takes the export's own: then it is proven
	// consistent, and not whose it is.
	Key   string
	Kinds check.Table
	// Trust is what else was got by other ways. Its Key counts where Key is "".
	Trust Trust
	// Figures are given ones to compare, as `collector report --format json` or `collector availability --json` writes
	// them; nil compares none.
	Figures []byte
	// Scratch is a folder for files that are made and removed again; "" is the system's. It is used for Figures only.
	Scratch string
	// Batch says what the accounts need of a batch, Terms what they need of the profile with the machines that have an
	// identity at the instant at. Both are needed for Figures only, and are the collector's own.
	Batch func(intake.Accepted) history.Batch
	Terms func(p *profile.Profile, machines []enrol.Machine, from, to, at time.Time) history.Catalogue
}

// Verify proves the export in a file. What is wrong stands in the Result; the error is for a file that cannot be read as
// an export at all, and for a key that is none.
func Verify(ctx context.Context, path string, o Options) (Result, error) {
	r := Result{Findings: []Finding{}, Leaves: map[string]int64{}, Machines: []Machine{}, Witnessing: Witnessing{Signers: []Signer{}}, Issued: []IssuedReport{}}
	o.Key = cmp.Or(o.Key, o.Trust.Key)
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return r, fmt.Errorf("audit verify: %w", err)
	}
	defer f.Close()
	a, err := openArchive(f)
	if err != nil {
		return r, fmt.Errorf("audit verify %s: %w", path, err)
	}
	v := &verifier{a: a, o: o, Result: &r}
	if err := v.verify(ctx); err != nil {
		return r, fmt.Errorf("audit verify %s: %w", path, err)
	}
	return r, nil
}

// A verifier is one run of Verify.
type verifier struct {
	*Result
	a      *archive
	o      Options
	m      manifest
	key    note.Verifier
	signed tlog.Tree
	tree   grown
	story  *story
}

// errStop ends a verification after a finding that makes what follows meaningless.
var errStop = errors.New("stopped")

func (v *verifier) verify(ctx context.Context) error {
	if err := v.manifest(); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{v.checkpoint, v.files, v.leaves, v.attachments} {
		if err := step(ctx); errors.Is(err, errStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// manifest reads what the export claims to be.
func (v *verifier) manifest() error {
	b, err := v.a.small(fileManifest)
	if err != nil {
		return fmt.Errorf("this is no export of a collector: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&v.m); err != nil {
		return fmt.Errorf("%s: %w", fileManifest, err)
	}
	switch {
	case v.m.Version != Version:
		return fmt.Errorf("%s: version %.40q, this program reads %q: use the program that wrote it, or a newer one", fileManifest, v.m.Version, Version)
	case v.m.Size < 1 || v.m.Size > maxLeaves:
		return fmt.Errorf("%s: %d leaves: from 1 to %d can be read", fileManifest, v.m.Size, maxLeaves)
	case !v.m.From.Before(v.m.To):
		return fmt.Errorf("%s: the period is empty", fileManifest)
	}
	v.Origin, v.Size, v.From, v.To = v.m.Origin, v.m.Size, v.m.From.UTC(), v.m.To.UTC()
	return nil
}

// checkpoint proves the signed state of the log.
func (v *verifier) checkpoint(context.Context) error {
	own, err := v.a.small(fileKey)
	if err != nil {
		return err
	}
	key := strings.TrimSpace(string(own))
	if v.o.Key != "" {
		v.KeyGiven = true
		if given := strings.TrimSpace(v.o.Key); given != key {
			v.found(BadKey, -1, "the export names the key %.200q, the one given is %.200q: it is the export of another log, or forged", key, given)
			key = given
		}
	}
	if v.key, err = note.NewVerifier(key); err != nil {
		if v.KeyGiven {
			return fmt.Errorf("the key that was given is none: %w", err)
		}
		return fmt.Errorf("%s: %w", fileKey, err)
	}
	msg, err := v.a.small(fileCheckpoint)
	if err != nil {
		return err
	}
	n, err := note.Open(msg, note.VerifierList(v.key))
	if err != nil {
		v.found(BadCheckpoint, -1, "the checkpoint is not signed by the key %s+%08x: %v", v.key.Name(), v.key.KeyHash(), err)
		return errStop
	}
	origin, tree, err := wire.ParseCheckpoint(n.Text)
	if err != nil {
		v.found(BadCheckpoint, -1, "%v", err)
		return errStop
	}
	v.Signed, v.signed, v.Root = true, tree, hex.EncodeToString(tree.Hash[:])
	if origin != v.m.Origin || origin != v.key.Name() || tree.N != v.m.Size {
		v.found(BadCheckpoint, -1, "the checkpoint is of %q with %d leaves, the export says %q with %d, the key is of %q", origin, tree.N, v.m.Origin, v.m.Size, v.key.Name())
		return errStop
	}
	return nil
}

// files compares the names in the zip with those that an export of this size has.
func (v *verifier) files(context.Context) error {
	want := map[string]bool{"README.vi.txt": true, "README.en.txt": true, fileManifest: true, fileKey: true, fileCheckpoint: true}
	bundles := (v.m.Size + width - 1) / width
	for n := range bundles {
		for _, dir := range []string{dirEntries, dirHashes, dirBlobs, dirBodies} {
			name := bundlePath(dir, n, v.m.Size)
			want[name] = true
			if v.a.files[name] == nil {
				v.found(BadExport, n*width, "%s is missing: leaves %d to %d cannot be proved", name, n*width, n*width+int64(bundleWidth(n, v.m.Size))-1)
			}
		}
	}
	for name := range v.a.files {
		if !want[name] {
			v.found(BadExport, -1, "%.200q does not belong into an export of %d leaves", name, v.m.Size)
		}
	}
	if len(v.Findings) > 0 && v.Findings[len(v.Findings)-1].Code == BadExport {
		return errStop
	}
	return nil
}

// leaves proves the tree.
func (v *verifier) leaves(ctx context.Context) error {
	altered := int64(-1) // the first leaf that is not the one its tile has
	for n := range (v.m.Size + width - 1) / width {
		if err := ctx.Err(); err != nil {
			return err
		}
		texts, err := v.a.leaves(n, v.m.Size)
		if err != nil {
			v.found(BadLeaf, n*width, "%v", err)
			return errStop
		}
		hashes, err := v.a.hashes(n, v.m.Size)
		if err != nil {
			v.found(BadLeaf, n*width, "%v", err)
			return errStop
		}
		for i, text := range texts {
			h := tlog.RecordHash(text)
			if h != hashes[i] && altered < 0 {
				altered = n*width + int64(i)
			}
			if err := v.tree.add(h); err != nil {
				return err
			}
		}
	}
	root, err := v.tree.root(v.m.Size)
	if err != nil {
		return err
	}
	v.Tree = root == v.signed.Hash
	switch {
	case !v.Tree && altered >= 0:
		v.found(BadLeaf, altered, "leaf %d is not the one that the log has: its bytes have another hash than its tile", altered)
		return errStop
	case !v.Tree:
		v.found(BadTree, -1, "the checkpoint signs the root %s for %d leaves, the leaves give %s: leaves were changed, added or removed", v.signed.Hash, v.m.Size, root)
		return errStop
	case altered >= 0:
		v.found(BadExport, altered, "the tile of leaf %d has another hash than the leaf", altered)
	}
	return nil
}

// attachments proves blobs, bodies and what they say.
func (v *verifier) attachments(ctx context.Context) error {
	s, err := newStory(ctx, v)
	if err != nil {
		return err
	}
	v.story = s
	defer s.close()
	for n := range (v.m.Size + width - 1) / width {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := v.bundle(ctx, n); err != nil {
			return err
		}
	}
	s.removed()
	s.signed()
	s.witnessed()
	s.stampsWanted()
	s.given()
	if err := v.slots(ctx); err != nil {
		return err
	}
	return s.finish(ctx)
}

// bundle proves what is attached to the leaves of one bundle.
func (v *verifier) bundle(ctx context.Context, n int64) error {
	texts, err := v.a.leaves(n, v.m.Size)
	if err != nil {
		return err // it was read before
	}
	blobs, err := v.a.open(bundlePath(dirBlobs, n, v.m.Size), width*(4+evidence.MaxBlob))
	if err != nil {
		return err
	}
	bodies, err := v.a.open(bundlePath(dirBodies, n, v.m.Size), width*(4+evidence.MaxBlob))
	if err != nil {
		return errors.Join(err, blobs.c.Close())
	}
	for i, text := range texts {
		index := n*width + int64(i)
		leaf, err := evidence.ParseLeaf(text)
		if err != nil {
			v.found(BadLeaf, index, "leaf %d: %v", index, err)
			return errStop
		}
		v.Leaves[string(leaf.Type())]++
		e := evidence.Stored{Entry: evidence.Entry{Leaf: leaf}, Index: index}
		ref, named := leaf.Blob()
		var wrong bool
		if e.Blob, wrong, err = blobs.attached(ref, named); err != nil {
			v.found(BadBlob, index, "leaf %d (%s): %v", index, leaf.Type(), err)
			return errStop
		}
		switch {
		case wrong:
			v.found(BadBlob, index, "the blob of leaf %d (%s) is not the one that the leaf names (SHA-256 %x)", index, describe(leaf), ref.SHA256)
			v.story.broken = true
		case named && e.Blob == nil && evidence.Removable(leaf.Type(), evidence.BlobPiece):
			v.story.gone(absent{leaf: index, piece: evidence.BlobPiece, code: BadBlob, what: fmt.Sprintf("the blob of leaf %d (%s) is missing", index, describe(leaf))})
		case named && e.Blob == nil:
			v.found(BadBlob, index, "the blob of leaf %d (%s) is missing", index, describe(leaf))
			v.story.broken = true
		case named:
			v.Blobs++
		}
		ref, named = leaf.Body()
		if e.Body, wrong, err = bodies.attached(ref, named); err != nil {
			v.found(BadBody, index, "leaf %d (%s): %v", index, describe(leaf), err)
			return errStop
		}
		if wrong {
			v.found(BadBody, index, "the body of leaf %d (%s) is not the one that was signed (SHA-256 %x)", index, describe(leaf), ref.SHA256)
			v.story.broken = true
			continue
		}
		if e.Body != nil {
			v.Bodies++
		}
		if err := v.story.tell(ctx, e); err != nil {
			return err
		}
	}
	for _, c := range []*content{blobs, bodies} {
		if err := c.end(); err != nil {
			v.found(BadExport, n*width, "%v", err)
			return errStop
		}
	}
	return nil
}

// describe names what a leaf is of.
func describe(l evidence.Leaf) string {
	switch l.Type() {
	case evidence.Batch:
		return fmt.Sprintf("batch %s of journal %.8s of %s", l.Field("seq"), l.Field("journal"), l.Field("machine"))
	case evidence.Plan:
		return fmt.Sprintf("plan %s of %s", l.Field("version"), l.Field("machine"))
	}
	if f := l.Field("file"); f != "" {
		return string(l.Type()) + " " + f
	}
	return string(l.Type())
}

// grown is a tree that grows by leaves and knows its root at every size it had.
type grown struct {
	hashes []tlog.Hash // at their StoredHashIndex
	leaves int64
	roots  map[int64]tlog.Hash
}

// ReadHashes implements tlog.HashReader.
func (g *grown) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(g.hashes)) {
			return nil, fmt.Errorf("hash %d is not in a tree of %d leaves", x, g.leaves)
		}
		out[i] = g.hashes[x]
	}
	return out, nil
}

func (g *grown) add(leaf tlog.Hash) error {
	hs, err := tlog.StoredHashesForRecordHash(g.leaves, leaf, g)
	if err != nil {
		return err
	}
	g.hashes = append(g.hashes, hs...)
	g.leaves++
	return nil
}

// root returns the root of the first n leaves.
func (g *grown) root(n int64) (tlog.Hash, error) {
	if h, ok := g.roots[n]; ok {
		return h, nil
	}
	h, err := tlog.TreeHash(n, g)
	if g.roots == nil || len(g.roots) > 1<<16 {
		g.roots = map[int64]tlog.Hash{}
	}
	g.roots[n] = h
	return h, err
}
