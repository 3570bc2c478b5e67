package audit

import (
	"archive/zip"
	"context"
	_ "embed" // for the read-me files
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
	"egovmon/collector/intake"
)

//go:embed readme.vi.txt
var readmeVI []byte

//go:embed readme.en.txt
var readmeEN []byte

// margin is how far outside of a period a body's time may lie and still be exported: the longest `every`, for a slot
// that speaks into the period.
const margin = 24 * time.Hour

// A Log is what Export reads; *evidence.Store is one.
type Log interface {
	Checkpoint() []byte
	Entries(from int64) iter.Seq2[evidence.Stored, error]
	Blob(i int64) ([]byte, error)
}

// An ExportOptions says what is exported.
type ExportOptions struct {
	From, To time.Time   // [From, To)
	Key      string      // verifier key of the log
	Kinds    check.Table // of the collector
}

// Export writes the zip of a period. It is a function of the log alone: the same checkpoint and period give the same
// bytes. It may run beside the collector.
func Export(ctx context.Context, log Log, o ExportOptions, w io.Writer) error {
	if err := export(ctx, log, o, w); err != nil {
		return fmt.Errorf("audit export: %w", err)
	}
	return nil
}

func export(ctx context.Context, log Log, o ExportOptions, w io.Writer) error {
	if !o.From.Before(o.To) {
		return errors.New("the period is empty")
	}
	v, err := note.NewVerifier(o.Key)
	if err != nil {
		return fmt.Errorf("key of the log: %w", err)
	}
	signed := log.Checkpoint()
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	origin, tree, err := wire.ParseCheckpoint(n.Text)
	if err != nil {
		return err
	}
	x := &exporter{z: zip.NewWriter(w), log: log, size: tree.N}
	want, err := x.needed(ctx, o)
	if err != nil {
		return err
	}
	m, err := manifest{Version, origin, tree.N, o.From.UTC(), o.To.UTC()}.encode()
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{"README.vi.txt", readmeVI}, {"README.en.txt", readmeEN}, {fileManifest, m}, {fileKey, []byte(o.Key + "\n")}, {fileCheckpoint, signed}} {
		if err := x.file(f.name, zip.Deflate); err != nil {
			return err
		}
		if _, err := x.w.Write(f.data); err != nil {
			return err
		}
	}
	steps := []struct {
		dir    string
		method uint16
		write  func(io.Writer, evidence.Stored) error
	}{
		{dirEntries, zip.Deflate, func(w io.Writer, e evidence.Stored) error {
			return put(w, binary.BigEndian.AppendUint16(nil, uint16(len(e.Leaf.Bytes()))), e.Leaf.Bytes())
		}},
		{dirHashes, zip.Store, func(w io.Writer, e evidence.Stored) error { h := e.Leaf.Hash(); return put(w, h[:], nil) }},
		{dirBlobs, zip.Deflate, func(w io.Writer, e evidence.Stored) error {
			return put(w, binary.BigEndian.AppendUint32(nil, uint32(len(e.Blob))), e.Blob)
		}},
		{dirBodies, zip.Store, func(w io.Writer, e evidence.Stored) error {
			body := e.Body
			if !want[e.Index] {
				body = nil
			}
			return put(w, binary.BigEndian.AppendUint32(nil, uint32(len(body))), body)
		}},
	}
	for _, s := range steps {
		if err := x.bundles(ctx, s.dir, s.method, s.write); err != nil {
			return err
		}
	}
	return x.z.Close()
}

func put(w io.Writer, head, data []byte) error {
	_, err := w.Write(head)
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}

// An exporter writes one zip.
type exporter struct {
	z    *zip.Writer
	w    io.Writer // of the file being written
	log  Log
	size int64
}

// file begins a file. It has no time, so that a log and a period have one export.
func (x *exporter) file(name string, method uint16) (err error) {
	x.w, err = x.z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
	return err
}

// entries are those of the checkpoint.
func (x *exporter) entries(ctx context.Context) iter.Seq2[evidence.Stored, error] {
	return func(yield func(evidence.Stored, error) bool) {
		for e, err := range x.log.Entries(0) {
			if err == nil {
				err = ctx.Err()
			}
			if err == nil && e.Index >= x.size {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (x *exporter) bundles(ctx context.Context, dir string, method uint16, write func(io.Writer, evidence.Stored) error) error {
	for e, err := range x.entries(ctx) {
		if err == nil && e.Index%width == 0 {
			err = x.file(bundlePath(dir, e.Index/width, x.size), method)
		}
		if err == nil {
			err = write(x.w, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// needed tells of which leaves the bodies are exported.
func (x *exporter) needed(ctx context.Context, o ExportOptions) (map[int64]bool, error) {
	fold, err := intake.NewFold(o.Kinds, x.log.Blob)
	if err != nil {
		return nil, err
	}
	p := period{o.From, o.To}
	sealed := map[string]time.Time{}
	want := map[int64]bool{}
	for e, err := range x.entries(ctx) {
		if err != nil {
			return nil, err
		}
		a, ok, err := fold.Feed(e)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		key := a.Header.Machine + " " + a.Header.Journal
		if p.mustHave(sealed[key], a.Header) || p.speaks(a) {
			want[e.Index] = true
		}
		sealed[key] = a.Header.Sealed
	}
	return want, nil
}

// A period is [from, to).
type period struct{ from, to time.Time }

// mustHave reports whether the body of a batch belongs into the export by its header alone: what was gathered since the
// batch before it may be of the period. The first batch of a journal always does.
func (p period) mustHave(before time.Time, h journal.Header) bool {
	return h.Seq == 1 || before.Before(p.to.Add(margin)) && h.Sealed.After(p.from.Add(-margin))
}

// speaks reports whether a batch says something of the period, or what batches after it are judged by.
func (p period) speaks(a intake.Accepted) bool {
	for _, e := range a.Events {
		switch {
		case e.Observation != nil && e.Observation.From.Before(p.to) && e.Observation.To.After(p.from):
			return true
		case e.Range != nil && e.Range.From.Before(p.to) && e.Range.To.After(p.from):
			return true
		case e.Begin != nil, e.End != nil, e.Plan != nil:
			return true
		}
	}
	return false
}
