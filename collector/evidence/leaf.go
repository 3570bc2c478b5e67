package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/text/unicode/norm"
)

// A Type says what a leaf records. The list is closed: a reader refuses a type that it does not know.
type Type string

// The types of leaf, as they stand in the first line of a leaf.
const (
	Plan            Type = "plan"            // a plan, logged before it is in force; blob: its YAML
	Profile         Type = "profile"         // one profile record, or its change; blob: the record
	Calendar        Type = "calendar"        // the calendar of a year; blob: the file
	Target          Type = "target"          // an availability target of a service; blob: the record
	Rule            Type = "rule"            // a rule of accounting in force from a date, e.g. votes/1
	Dictionary      Type = "dictionary"      // a compression dictionary for batch bodies; blob: its bytes
	Batch           Type = "batch"           // the receipt of a batch; blob: its header note, body: its stored body
	Exclusion       Type = "exclusion"       // a stretch excluded from the figures, with its ground
	Correction      Type = "correction"      // a statement that corrects an earlier leaf
	AgentKey        Type = "agent-key"       // a key of an agent (TLS, journal, cosigning) or its successor
	WitnessKey      Type = "witness-key"     // a key that may cosign checkpoints
	LogKey          Type = "log-key"         // the key of this log, or its successor
	Revocation      Type = "revocation"      // a key or certificate that is valid no more
	Attestation     Type = "attestation"     // something a person attests that cannot be measured; blob: the paper
	Exception       Type = "exception"       // a permitted departure from a control, with its end
	Incident        Type = "incident"        // an event in the life of an incident
	Acknowledgement Type = "acknowledgement" // a person took note of an incident or alert
	User            Type = "user"            // a user or a role was added, changed or removed
	Tombstone       Type = "tombstone"       // stored bodies that were removed, by what right
	Report          Type = "report"          // an issued report; blob: the document
	Cosigned        Type = "cosigned"        // what others have seen of this log; blob: its checkpoint, with their cosignatures
	Stamp           Type = "stamp"           // a time stamp (RFC 3161) over a checkpoint of this log; blob: the token
	Certificate     Type = "certificate"     // a person's public certificate was entered or taken off; body: the certificate
)

var types = []Type{
	Plan, Profile, Calendar, Target, Rule, Dictionary, Batch, Exclusion, Correction, AgentKey, WitnessKey,
	LogKey, Revocation, Attestation, Exception, Incident, Acknowledgement, User, Tombstone, Report, Cosigned, Stamp, Certificate,
}

// MaxLeaf is the most bytes a leaf may have.
const MaxLeaf = 4 << 10

// MaxBlob is the most bytes a blob or a body may have.
const MaxBlob = 64 << 20

const (
	leafMagic = "egovmon-leaf/1 "
	blobKey   = "blob" // always the last line
	bodyKey   = "body" // sorted among the other keys
)

// A Ref names bytes by content.
type Ref struct {
	SHA256 [sha256.Size]byte
	Size   int64
}

// String returns the reference as it stands in a leaf: lower-case hex, a space, the size in bytes.
func (r Ref) String() string {
	return hex.EncodeToString(r.SHA256[:]) + " " + strconv.FormatInt(r.Size, 10)
}

// RefTo returns the reference to data.
func RefTo(data []byte) Ref { return Ref{sha256.Sum256(data), int64(len(data))} }

// A Leaf is one entry of the log: a type and a few named values, and the hashes of the bytes it speaks of.
// It is made by NewLeaf, NewEntry or ParseLeaf and never changed; the zero Leaf is of no use.
type Leaf struct {
	typ        Type
	text       []byte
	fields     map[string]string
	blob, body *Ref
}

// Type returns what the leaf records.
func (l Leaf) Type() Type { return l.typ }

// Bytes returns the leaf as it stands in the log. The caller must not change it.
func (l Leaf) Bytes() []byte { return l.text }

// Hash returns the leaf's hash in the Merkle tree (RFC 6962, section 2.1).
func (l Leaf) Hash() tlog.Hash { return tlog.RecordHash(l.text) }

// Field returns the value of key, or "" if the leaf has no such key.
func (l Leaf) Field(key string) string { return l.fields[key] }

// Fields yields the keys and values in the order of the leaf, without its blob and body.
func (l Leaf) Fields() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, k := range slices.Sorted(maps.Keys(l.fields)) {
			if !yield(k, l.fields[k]) {
				return
			}
		}
	}
}

// Blob returns the reference to the leaf's blob; ok is false if it has none.
func (l Leaf) Blob() (ref Ref, ok bool) { return deref(l.blob) }

// Body returns the reference to the leaf's body; ok is false if it has none.
func (l Leaf) Body() (ref Ref, ok bool) { return deref(l.body) }

func deref(r *Ref) (Ref, bool) {
	if r == nil {
		return Ref{}, false
	}
	return *r, true
}

// NewLeaf returns the leaf of type t with these fields. Values are put into Unicode NFC. A blob of no bytes is none.
// Keys are [a-z][a-z0-9_-]{0,31}, but not "blob" or "body"; values are not empty and hold no control characters.
func NewLeaf(t Type, fields map[string]string, blob []byte) (Leaf, error) {
	e, err := NewEntry(t, fields, blob, nil)
	return e.Leaf, err
}

// An Entry is a leaf with the bytes that it refers to, as Append takes it.
type Entry struct {
	Leaf Leaf
	Blob []byte // kept as long as the leaf; nil if the leaf has no blob
	Body []byte // may be removed after its time is up; nil if the leaf has no body

	blobGone, bodyGone bool // removed, where the entry was read from
}

// NewEntry returns the entry for a leaf like that of NewLeaf, with its blob and its body.
func NewEntry(t Type, fields map[string]string, blob, body []byte) (Entry, error) {
	if !slices.Contains(types, t) {
		return Entry{}, fmt.Errorf("evidence: leaf type %q is unknown: use one of the constants", t)
	}
	l := Leaf{typ: t, fields: make(map[string]string, len(fields))}
	lines := make(map[string]string, len(fields)+1)
	for k, v := range fields {
		if k == blobKey || k == bodyKey {
			return Entry{}, fmt.Errorf("evidence: %s leaf: the key %q is set by the store: leave it out", t, k)
		}
		v = norm.NFC.String(v)
		if err := checkField(k, v); err != nil {
			return Entry{}, fmt.Errorf("evidence: %s leaf: %w", t, err)
		}
		l.fields[k], lines[k] = v, v
	}
	if len(blob) > MaxBlob || len(body) > MaxBlob {
		return Entry{}, fmt.Errorf("evidence: %s leaf: a blob of %d and a body of %d bytes: each may have %d", t, len(blob), len(body), MaxBlob)
	}
	if len(body) > 0 {
		l.body = new(RefTo(body))
		lines[bodyKey] = l.body.String()
	}
	text := append([]byte(leafMagic), t...)
	text = append(text, '\n')
	for _, k := range slices.Sorted(maps.Keys(lines)) {
		text = fmt.Appendf(text, "%s %s\n", k, lines[k])
	}
	if len(blob) > 0 {
		l.blob = new(RefTo(blob))
		text = fmt.Appendf(text, "%s %s\n", blobKey, l.blob)
	}
	if len(text) > MaxLeaf {
		return Entry{}, fmt.Errorf("evidence: %s leaf has %d bytes, the most is %d: put long values into the blob", t, len(text), MaxLeaf)
	}
	l.text = text
	return Entry{Leaf: l, Blob: blob, Body: body}, nil
}

// check reports whether the entry's bytes are those that its leaf refers to.
func (e Entry) check() error {
	if e.Leaf.text == nil {
		return errors.New("the leaf is empty: make it with NewLeaf or NewEntry")
	}
	if err := checkRef(blobKey, e.Leaf.blob, e.Blob); err != nil && !e.blobGone {
		return err
	}
	if err := checkRef(bodyKey, e.Leaf.body, e.Body); err != nil && !e.bodyGone {
		return err
	}
	return nil
}

func checkRef(what string, want *Ref, data []byte) error {
	switch {
	case want == nil && len(data) == 0:
		return nil
	case want == nil:
		return fmt.Errorf("the leaf names no %s, but %d bytes of one are given", what, len(data))
	case *want != RefTo(data):
		return fmt.Errorf("the %s has %d bytes and another SHA-256 than the leaf says (%s)", what, len(data), want)
	}
	return nil
}

var keyPattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

func checkField(key, value string) error {
	switch {
	case !keyPattern.MatchString(key):
		return fmt.Errorf("key %q is not of the form %s", key, keyPattern)
	case value == "":
		return fmt.Errorf("key %q has no value: leave the key out", key)
	case !utf8.ValidString(value):
		return fmt.Errorf("the value of %q is not UTF-8", key)
	case strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("the value of %q holds a control character", key)
	case !norm.NFC.IsNormalString(value):
		return fmt.Errorf("the value of %q is not in Unicode NFC", key)
	}
	return nil
}

// ParseLeaf reads a leaf and accepts only what NewLeaf and NewEntry write. It keeps a copy of text.
func ParseLeaf(text []byte) (Leaf, error) {
	l, err := parseLeaf(bytes.Clone(text))
	if err != nil {
		return Leaf{}, fmt.Errorf("evidence: leaf: %w", err)
	}
	return l, nil
}

func parseLeaf(text []byte) (Leaf, error) {
	if len(text) > MaxLeaf {
		return Leaf{}, fmt.Errorf("%d bytes, the most is %d", len(text), MaxLeaf)
	}
	rest, ok := strings.CutSuffix(string(text), "\n")
	if !ok {
		return Leaf{}, errors.New("the last line does not end with a newline")
	}
	lines := strings.Split(rest, "\n")
	name, ok := strings.CutPrefix(lines[0], leafMagic)
	if !ok {
		return Leaf{}, fmt.Errorf("does not begin with %q: written by a newer version, or no leaf", leafMagic)
	}
	l := Leaf{typ: Type(name), text: text, fields: make(map[string]string, len(lines))}
	if !slices.Contains(types, l.typ) {
		return Leaf{}, fmt.Errorf("type %q is unknown: read it with a newer version", name)
	}
	last := ""
	for i, line := range lines[1:] {
		key, value, _ := strings.Cut(line, " ")
		if err := checkField(key, value); err != nil {
			return Leaf{}, fmt.Errorf("line %d: %w", i+2, err)
		}
		if key == blobKey {
			if i+2 != len(lines) {
				return Leaf{}, fmt.Errorf("line %d: %s is not the last line", i+2, blobKey)
			}
			last = "" // the blob's line is outside the order
		}
		if key <= last {
			return Leaf{}, fmt.Errorf("line %d: key %q does not come after %q", i+2, key, last)
		}
		last = key
		var err error
		switch key {
		case blobKey:
			l.blob, err = parseRef(value)
		case bodyKey:
			l.body, err = parseRef(value)
		default:
			l.fields[key] = value
		}
		if err != nil {
			return Leaf{}, fmt.Errorf("line %d: %s: %w", i+2, key, err)
		}
	}
	return l, nil
}

func parseRef(s string) (*Ref, error) {
	digest, size, _ := strings.Cut(s, " ")
	var r Ref
	if len(digest) != hex.EncodedLen(len(r.SHA256)) {
		return nil, fmt.Errorf("%q is not a SHA-256 in hex and a size", s)
	}
	if _, err := hex.Decode(r.SHA256[:], []byte(digest)); err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return nil, err
	}
	r.Size = n
	if n < 1 || n > MaxBlob || r.String() != s {
		return nil, fmt.Errorf("%q is not lower-case hex and a size from 1 to %d", s, MaxBlob)
	}
	return &r, nil
}

const receivedFormat = "2006-01-02T15:04:05.000Z"

// BatchEntry returns the receipt of a batch: the leaf names the machine, the journal, the number seq in it and the
// time of receipt, the blob is the header note as signed by the agent, the body the stored (compressed) body.
// A body of no bytes is none.
func BatchEntry(machine, journal string, seq uint64, received time.Time, header, body []byte) (Entry, error) {
	if len(header) == 0 {
		return Entry{}, fmt.Errorf("evidence: batch %d of journal %s has no header", seq, journal)
	}
	return NewEntry(Batch, map[string]string{
		"journal":  journal,
		"machine":  machine,
		"received": received.UTC().Format(receivedFormat),
		"seq":      strconv.FormatUint(seq, 10),
	}, header, body)
}
