package attest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"egovmon/collector/evidence"
)

// A Blobs gives the documents that the log holds.
type Blobs interface {
	// Blob returns the blob of a leaf, compared with the leaf.
	Blob(leaf int64) ([]byte, error)
}

// WriteDossier writes the evidence file ("hồ sơ minh chứng") of one unit as a ZIP: a folder for each layer, in it one for
// each criterion with its state (and, of a measured one, its results) and the documents that the log holds. INDEX.csv lists
// every file with its SHA-256 and its leaf, SHA256SUMS the same for sha256sum(1). The same matrix gives the same bytes. A
// document that the log holds as its hash alone is listed without a file, for whoever keeps it to add.
func WriteDossier(w io.Writer, row Row, at time.Time, log Blobs) error {
	d := dossier{zip: zip.NewWriter(w), at: at.UTC().Truncate(2 * time.Second)}
	d.index = [][]string{{"lop", "tieu_chi", "ten", "trang_thai", "tep", "sha256", "bytes", "la", "so_ky_hieu", "ngay_ban_hanh", "den_ngay", "nguoi_nhap", "nguoi_duyet"}}
	for i, layer := range row.Layers {
		for _, c := range layer.Measured.Cells {
			if err := d.measured(i+1, c); err != nil {
				return err
			}
		}
		for _, c := range layer.Attested.Cells {
			if err := d.attested(i+1, c, log); err != nil {
				return err
			}
		}
	}
	return d.close()
}

type dossier struct {
	zip   *zip.Writer
	at    time.Time
	index [][]string
	sums  strings.Builder
}

// file adds a file and returns its hash.
func (d *dossier) file(name string, data []byte) (string, error) {
	w, err := d.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: d.at})
	if err == nil {
		_, err = w.Write(data)
	}
	if err != nil {
		return "", fmt.Errorf("evidence file: %s: %w", name, err)
	}
	sum := sha256.Sum256(data)
	h := hex.EncodeToString(sum[:])
	fmt.Fprintf(&d.sums, "%s  %s\n", h, name)
	return h, nil
}

func folder(layer int, c Cell) string { return fmt.Sprintf("lop-%d/%s", layer, c.Control.ID) }

func (d *dossier) measured(layer int, c Cell) error {
	rows := [][]string{{"may", "luc", "trang_thai", "ly_do", "so_do"}}
	for _, r := range c.Results {
		var facts []string
		for _, f := range r.Facts.Sorted() {
			facts = append(facts, f.Name+"="+strconv.FormatFloat(f.Value, 'f', -1, 64))
		}
		rows = append(rows, []string{r.Machine, r.Slot.UTC().Format(time.RFC3339), string(r.state(d.at)), string(r.Reason), strings.Join(facts, " ")})
	}
	name := folder(layer, c) + "/ket-qua-do.csv"
	data := table(rows)
	sum, err := d.file(name, data)
	d.list(layer, c, name, sum, strconv.Itoa(len(data)), "", nil)
	return err
}

func (d *dossier) attested(layer int, c Cell, log Blobs) error {
	a := c.Status.Document
	if a == nil {
		d.list(layer, c, "", "", "", "", nil)
		return nil
	}
	name, sum, size := "", "", ""
	if a.Document != (evidence.Ref{}) {
		sum, size = hex.EncodeToString(a.Document.SHA256[:]), strconv.FormatInt(a.Document.Size, 10)
	}
	if a.Stored {
		blob, err := log.Blob(a.Blob)
		if err != nil {
			return fmt.Errorf("evidence file: %s: %w", c.Control.ID, err)
		}
		name = folder(layer, c) + "/" + fileName(a.Number) + extension(blob)
		got, err := d.file(name, blob)
		if err != nil {
			return err
		}
		if got != sum {
			return fmt.Errorf("evidence file: %s: leaf %d holds a document with SHA-256 %s, the attestation says %s", c.Control.ID, a.Blob, got, sum)
		}
	}
	d.list(layer, c, name, sum, size, strconv.FormatInt(a.Leaf, 10), a)
	return nil
}

func (d *dossier) list(layer int, c Cell, name, sum, size, leaf string, a *Attestation) {
	row := []string{strconv.Itoa(layer), c.Control.ID, c.Control.Name.VI, string(c.State), name, sum, size, leaf, "", "", "", "", ""}
	if a != nil {
		copy(row[8:], []string{a.Number, a.Issued.String(), c.Status.ValidTo.String(), a.EnteredBy, a.ApprovedBy})
	}
	d.index = append(d.index, row)
}

func (d *dossier) close() error {
	if _, err := d.file("INDEX.csv", table(d.index)); err != nil {
		return err
	}
	if _, err := d.file("SHA256SUMS", []byte(d.sums.String())); err != nil {
		return err
	}
	return d.zip.Close()
}

// table writes rows as CSV that a spreadsheet reads as UTF-8, with no cell that it would take for a formula.
func table(rows [][]string) []byte {
	b := bytes.NewBufferString("\ufeff")
	w := csv.NewWriter(b)
	for _, row := range rows {
		safe := make([]string, len(row))
		for i, cell := range row {
			if safe[i] = cell; cell != "" && strings.ContainsRune("=+-@\t", rune(cell[0])) {
				safe[i] = "'" + cell
			}
		}
		_ = w.Write(safe) // a buffer takes everything
	}
	w.Flush()
	return b.Bytes()
}

// fileName is the number of a document as the name of a file: nothing in it leads out of its folder.
func fileName(number string) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '-'
	}, number)
	if name = strings.Trim(name, "-"); name == "" {
		return "van-ban"
	}
	return name
}

func extension(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("%PDF-")):
		return ".pdf"
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return ".docx"
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return ".jpg"
	case bytes.HasPrefix(data, []byte("\x89PNG")):
		return ".png"
	}
	return ".bin"
}

// maxDossier bounds what VerifyDossier reads of one file.
const maxDossier = evidence.MaxBlob + 1<<20

// VerifyDossier compares every file of an evidence file with SHA256SUMS. The error names all that differ, are missing or
// were added.
func VerifyDossier(r io.ReaderAt, size int64) error {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return fmt.Errorf("evidence file: %w", err)
	}
	got := map[string]string{}
	var sums []byte
	for _, f := range z.File {
		data, err := readZipped(f)
		if err != nil {
			return fmt.Errorf("evidence file: %s: %w", f.Name, err)
		}
		if _, twice := got[f.Name]; twice || f.Name != path.Clean(f.Name) || path.IsAbs(f.Name) || strings.HasPrefix(f.Name, "../") {
			return fmt.Errorf("evidence file: %q stands in it twice or leads out of it", f.Name)
		}
		if f.Name == "SHA256SUMS" {
			sums = data
			continue
		}
		sum := sha256.Sum256(data)
		got[f.Name] = hex.EncodeToString(sum[:])
	}
	var faults []error
	for line := range strings.Lines(string(sums)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		switch there, found := got[name]; {
		case !ok:
			faults = append(faults, fmt.Errorf("SHA256SUMS: %q is no line", line))
		case !found:
			faults = append(faults, fmt.Errorf("%s: missing", name))
		case there != sum:
			faults = append(faults, fmt.Errorf("%s: has SHA-256 %s, not %s", name, there, sum))
		}
		delete(got, name)
	}
	for name := range got {
		faults = append(faults, fmt.Errorf("%s: not in SHA256SUMS", name))
	}
	return errors.Join(faults...)
}

func readZipped(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxDossier+1))
	if err == nil && len(b) > maxDossier {
		err = fmt.Errorf("more than %d bytes", maxDossier)
	}
	return b, err
}
