package audit

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/collector/evidence"
)

// Bounds of what Verify reads. An export that is larger is not read at all.
const (
	maxDirectory = 64 << 20 // bytes of the zip's directory: 500,000 files, 30 million leaves
	maxLeaves    = 1 << 25
	maxSmall     = 64 << 10  // bytes of manifest, key, checkpoint
	maxContent   = 512 << 30 // bytes altogether, once decompressed
)

// An archive is a zip that may be hostile.
type archive struct {
	files map[string]*zip.File
	left  int64 // bytes that may still be decompressed
}

// openArchive reads the directory of a zip.
func openArchive(f *os.File) (*archive, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	bounded := &boundedAt{f, maxDirectory}
	z, err := zip.NewReader(bounded, st.Size())
	if err != nil {
		return nil, fmt.Errorf("it is no whole zip file (cut off while it was copied?): %w", err)
	}
	bounded.left = -1
	a := &archive{files: make(map[string]*zip.File, len(z.File)), left: maxContent}
	for _, x := range z.File {
		if _, twice := a.files[x.Name]; twice {
			return nil, fmt.Errorf("the zip has %q twice: it was not written by this program", x.Name)
		}
		a.files[x.Name] = x
	}
	return a, nil
}

// A boundedAt reads at most so many bytes; a negative number is no bound.
type boundedAt struct {
	r    io.ReaderAt
	left int64
}

// ReadAt implements io.ReaderAt.
func (b *boundedAt) ReadAt(p []byte, off int64) (int, error) {
	if b.left >= 0 {
		if b.left -= int64(len(p)); b.left < 0 {
			return 0, fmt.Errorf("the directory has more than %d bytes", maxDirectory)
		}
	}
	return b.r.ReadAt(p, off)
}

// open returns a file of the zip, of which no more than most bytes can be read.
func (a *archive) open(name string, most int64) (*content, error) {
	f := a.files[name]
	if f == nil {
		return nil, fmt.Errorf("%s is missing", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &content{a: a, name: name, c: r, r: bufio.NewReader(r), left: most}, nil
}

// small reads a file as a whole.
func (a *archive) small(name string) ([]byte, error) {
	c, err := a.open(name, maxSmall)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(c)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return b, errors.Join(err, c.c.Close())
}

// A content is a file of the zip that is being read.
type content struct {
	a    *archive
	name string
	c    io.Closer
	r    *bufio.Reader
	left int64
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.left -= int64(n)
	c.a.left -= int64(n)
	switch {
	case c.left < 0:
		return 0, fmt.Errorf("%s: it holds more than it may when it is decompressed: a zip bomb, or not written by this program", c.name)
	case c.a.left < 0:
		return 0, fmt.Errorf("the zip holds more than %d bytes when it is decompressed", int64(maxContent))
	}
	return n, err
}

// take reads n bytes.
func (c *content) take(n int64) ([]byte, error) {
	var buf bytes.Buffer // grows with what is there, not with what is claimed
	got, err := io.CopyN(&buf, c, n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%s: it ends after %d of %d bytes", c.name, got, n)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return buf.Bytes(), nil
}

// end closes the file, of which everything is to have been read.
func (c *content) end() error {
	var one [1]byte
	n, err := c.Read(one[:]) // the zip's own checksum is compared here
	switch {
	case n > 0:
		err = fmt.Errorf("%s: there is more in it than its leaves name", c.name)
	case errors.Is(err, io.EOF):
		err = nil
	case err != nil:
		err = fmt.Errorf("%s: %w", c.name, err)
	}
	return errors.Join(err, c.c.Close())
}

// leaves reads the texts of bundle n.
func (a *archive) leaves(n, size int64) ([][]byte, error) {
	w := bundleWidth(n, size)
	c, err := a.open(bundlePath(dirEntries, n, size), int64(w)*(2+evidence.MaxLeaf))
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for range w {
		head, err := c.take(2)
		if err != nil {
			return nil, errors.Join(err, c.c.Close())
		}
		text, err := c.take(int64(binary.BigEndian.Uint16(head)))
		if err != nil {
			return nil, errors.Join(err, c.c.Close())
		}
		out = append(out, text)
	}
	return out, c.end()
}

// hashes reads the hashes of bundle n.
func (a *archive) hashes(n, size int64) ([]tlog.Hash, error) {
	w := bundleWidth(n, size)
	c, err := a.open(bundlePath(dirHashes, n, size), int64(w)*tlog.HashSize)
	if err != nil {
		return nil, err
	}
	b, err := c.take(int64(w) * tlog.HashSize)
	if err != nil {
		return nil, errors.Join(err, c.c.Close())
	}
	out := make([]tlog.Hash, w)
	for i := range out {
		copy(out[i][:], b[i*tlog.HashSize:])
	}
	return out, c.end()
}

// attached reads the next bytes that a leaf names; nil when the export has none. Bytes that the leaf does not name are
// an error that ends the reading of the file; those that it names otherwise come with wrong true.
func (c *content) attached(ref evidence.Ref, named bool) (data []byte, wrong bool, err error) {
	head, err := c.take(4)
	if err != nil {
		return nil, false, err
	}
	n := int64(binary.BigEndian.Uint32(head))
	switch {
	case n == 0:
		return nil, false, nil
	case !named:
		return nil, false, fmt.Errorf("%s: %d bytes where the leaf names none", c.name, n)
	case n != ref.Size:
		return nil, false, fmt.Errorf("%s: %d bytes where the leaf names %d", c.name, n, ref.Size)
	}
	data, err = c.take(n)
	return data, err == nil && evidence.RefTo(data) != ref, err
}
