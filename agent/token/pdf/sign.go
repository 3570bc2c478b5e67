package pdf

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// fieldName begins the name of the signature field.
const fieldName = "egovmon"

// A Prepared is a document with a signature field whose signature is not there yet.
type Prepared struct {
	data       []byte
	begin, end int64 // of the signature with its angle brackets: data[begin:end]
}

// Prepare adds a signature field that nobody sees to the first page of a document, with room for a signature of so many
// bytes. signed is the time that it claims (section 12.8.1, M); readers show who and why.
func (d *Document) Prepare(room int, signed time.Time, who, why string) (*Prepared, error) {
	page, pageDict, err := d.firstPage()
	if err != nil {
		return nil, err
	}
	annots, err := d.arrayAt(pageDict.get("Annots"), "the annotations of the first page")
	if err != nil {
		return nil, err
	}
	root, err := d.catalog()
	if err != nil {
		return nil, err
	}
	form, fields, err := d.form(root)
	if err != nil {
		return nil, err
	}
	u := d.update()
	sig := ref{num: u.next}
	u.next++
	// The value begins with these two, so that their places are known: the byte range is filled in at its full width.
	head := "<</Type /Sig\n/ByteRange "
	space := strings.Repeat(" ", rangeWidth)
	contents := "<" + strings.Repeat("0", 2*room) + ">"
	rest := appendValue(nil, dict{{"Filter", name("Adobe.PPKLite")}, {"SubFilter", name("ETSI.CAdES.detached")}, {"M", date(signed)}, {"Name", text(who)}, {"Reason", text(why)}})
	at := u.put(sig, raw(head+space+"\n/Contents "+contents+"\n"+string(rest[len("<<"):])))
	widget := u.add(dict{
		{"Type", name("Annot")}, {"Subtype", name("Widget")}, {"FT", name("Sig")}, {"Rect", array{raw("0"), raw("0"), raw("0"), raw("0")}},
		{"F", raw("132")}, {"T", text(fmt.Sprintf("%s%d", fieldName, sig.num))}, {"P", page}, {"V", sig},
	})
	u.put(page, pageDict.with("Annots", append(annots[:len(annots):len(annots)], widget)))
	form = form.with("Fields", append(fields[:len(fields):len(fields)], widget)).with("SigFlags", raw("3"))
	rootRef, _ := d.trailer.get("Root").(ref)
	u.put(rootRef, root.with("AcroForm", form))
	p := &Prepared{data: u.finish()}
	p.begin = at + int64(len(head)+rangeWidth+len("\n/Contents "))
	p.end = p.begin + int64(len(contents))
	span := fmt.Sprintf("[0 %d %d %d]", p.begin, p.end, int64(len(p.data))-p.end)
	copy(p.data[at+int64(len(head)):], span)
	return p, nil
}

// rangeWidth is how many bytes the place of the byte range has; documents of 10 digits fit.
const rangeWidth = 40

// form returns the interactive form of a document and its fields; empty ones where there is none.
func (d *Document) form(root dict) (dict, array, error) {
	if root.get("AcroForm") == nil {
		return dict{}, nil, nil
	}
	form, err := d.dictAt(root.get("AcroForm"), "the form")
	if err != nil {
		return nil, nil, err
	}
	fields, err := d.arrayAt(form.get("Fields"), "the fields of the form")
	return form, fields, err
}

// Hash writes what the signature covers.
func (p *Prepared) Hash(w io.Writer) {
	_, _ = w.Write(p.data[:p.begin])
	_, _ = w.Write(p.data[p.end:])
}

// Complete puts the signature in, and returns the document.
func (p *Prepared) Complete(signature []byte) ([]byte, error) {
	if room := int(p.end-p.begin-2) / 2; len(signature) > room {
		return nil, fmt.Errorf("a signature of %d bytes, and room for %d", len(signature), room)
	}
	hex.Encode(p.data[p.begin+1:], signature)
	return p.data, nil
}

// Secure appends a document security store: certificates, OCSP answers and revocation lists, in DER.
func (d *Document) Secure(certs, ocsps, crls [][]byte) ([]byte, error) {
	root, err := d.catalog()
	if err != nil {
		return nil, err
	}
	u := d.update()
	store := dict{{"Type", name("DSS")}}
	for _, part := range []struct {
		key  name
		ders [][]byte
	}{{"Certs", certs}, {"OCSPs", ocsps}, {"CRLs", crls}} {
		var refs array
		for _, der := range part.ders {
			refs = append(refs, u.add(&stream{data: der}))
		}
		if refs != nil {
			store = append(store, pair{part.key, refs})
		}
	}
	// Readers that know ISO 32000-1 alone are told of the extension (ETSI EN 319 142-1, section 5.6).
	ext := dict{{"ESIC", dict{{"BaseVersion", name("1.7")}, {"ExtensionLevel", raw("5")}}}}
	root = root.with("DSS", u.add(store))
	if root.get("Extensions") == nil {
		root = root.with("Extensions", ext)
	}
	rootRef, _ := d.trailer.get("Root").(ref)
	u.put(rootRef, root)
	return u.finish(), nil
}

// A Found is the newest signature of a document, read back.
type Found struct {
	CMS     []byte
	covered [2][]byte
	// Gap tells that all but the signature itself is covered, from the document's first byte to End.
	Gap bool
	// End is the length of the revision that was signed.
	End int64
	// Signed is the time that the signature claims; zero for none that can be read.
	Signed time.Time
	// Certs, OCSPs and CRLs are the contents of the document security store.
	Certs, OCSPs, CRLs [][]byte
}

// Hash writes what the signature covers.
func (f *Found) Hash(w io.Writer) {
	for _, part := range f.covered {
		_, _ = w.Write(part)
	}
}

// maxFields bounds the fields that are looked at.
const maxFields = 10_000

// Find reads the newest signature: of the field whose signature covers most, reached from the trailer as readers do.
func (d *Document) Find() (*Found, error) {
	root, err := d.catalog()
	if err != nil {
		return nil, err
	}
	_, fields, err := d.form(root)
	if err != nil {
		return nil, err
	}
	var best *Found
	for _, f := range fields[:min(len(fields), maxFields)] {
		field, err := d.dictAt(f, "a field")
		if err != nil {
			return nil, err
		}
		if field.get("FT") != name("Sig") || field.get("V") == nil {
			continue
		}
		found, err := d.signature(field.get("V"))
		if err != nil {
			return nil, err
		}
		if best == nil || found.End > best.End {
			best = found
		}
	}
	if best == nil {
		return nil, errors.New("the document has no signature")
	}
	return best, d.store(root, best)
}

func (d *Document) signature(v value) (*Found, error) {
	sig, err := d.dictAt(v, "a signature")
	if err != nil {
		return nil, err
	}
	span, err := d.arrayAt(sig.get("ByteRange"), "the range of a signature")
	if err != nil {
		return nil, err
	}
	contents, ok := sig.get("Contents").(raw)
	if len(span) != 4 || !ok || !strings.HasPrefix(string(contents), "<") {
		return nil, errors.New("a signature without its range or contents")
	}
	var n [4]int64
	for i := range n {
		if n[i], ok = whole(span[i]); !ok || n[i] < 0 || n[i] > int64(len(d.data)) {
			return nil, errors.New("a signature whose range cannot be")
		}
	}
	if n[0] != 0 || n[1] > n[2] || n[2]+n[3] > int64(len(d.data)) {
		return nil, errors.New("a signature whose range cannot be")
	}
	f := &Found{End: n[2] + n[3], covered: [2][]byte{d.data[:n[1]], d.data[n[2] : n[2]+n[3]]}}
	f.Gap = bytes.Equal(d.data[n[1]:n[2]], []byte(contents))
	if f.CMS, err = hex.DecodeString(strings.Trim(string(contents), "<>")); err != nil {
		return nil, fmt.Errorf("a signature that is not in hexadecimal: %w", err)
	}
	f.CMS = derOf(f.CMS)
	if m, ok := sig.get("M").(raw); ok {
		f.Signed = parseDate(string(m))
	}
	return f, nil
}

// derOf cuts off the zeros that fill the room of a signature.
func derOf(b []byte) []byte {
	if len(b) < 2 || b[1] < 0x80 {
		return b[:min(len(b), 2+int(lastByte(b)))]
	}
	n, size := int(b[1]&0x7f), 0
	if n > 4 || len(b) < 2+n {
		return b
	}
	for _, c := range b[2 : 2+n] {
		size = size<<8 | int(c)
	}
	return b[:min(len(b), 2+n+size)]
}

func lastByte(b []byte) byte {
	if len(b) < 2 {
		return 0
	}
	return b[1]
}

// store reads the document security store.
func (d *Document) store(root dict, f *Found) error {
	if root.get("DSS") == nil {
		return nil
	}
	dss, err := d.dictAt(root.get("DSS"), "the security store")
	if err != nil {
		return err
	}
	for _, part := range []struct {
		key  name
		ders *[][]byte
	}{{"Certs", &f.Certs}, {"OCSPs", &f.OCSPs}, {"CRLs", &f.CRLs}} {
		refs, err := d.arrayAt(dss.get(part.key), "the security store")
		if err != nil {
			return err
		}
		for _, r := range refs[:min(len(refs), maxFields)] {
			v, err := d.resolve(r)
			if err != nil {
				return err
			}
			s, ok := v.(*stream)
			if !ok {
				return errors.New("the security store holds something else than streams")
			}
			data, err := d.inflate(s)
			if err != nil {
				return err
			}
			*part.ders = append(*part.ders, data)
		}
	}
	return nil
}

// parseDate reads a PDF date (section 7.9.4); the zero time for what is none. Without a zone it is taken for UTC.
func parseDate(s string) time.Time {
	s = strings.Trim(s, "()")
	s = strings.TrimSuffix(strings.ReplaceAll(s, "'", ""), "Z0000")
	for _, layout := range []string{"D:20060102150405Z", "D:20060102150405-0700", "D:20060102150405-07", "D:20060102150405"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}

// date writes a time as a PDF date in UTC (section 7.9.4).
func date(t time.Time) raw { return raw(t.UTC().Format("(D:20060102150405Z)")) }

// text writes a text string in UTF-16 (section 7.9.2.2).
func text(s string) raw {
	out := []byte("<FEFF")
	for _, r := range s {
		if r > 0xffff {
			r = '?'
		}
		out = fmt.Appendf(out, "%04X", r)
	}
	return raw(append(out, '>'))
}
