package attest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"egovmon/collector/evidence"
	"egovmon/collector/profile"
)

var testNow = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// control is an attested control of one layer.
func control(id string, layers ...int) profile.Control {
	kind := kindAttested
	if id[0] == 'm' {
		kind = "measured"
	}
	return profile.Control{Record: profile.Record{ID: id}, Kind: kind, Layers: layers}
}

func setting() Setting {
	return Setting{
		Controls: []profile.Control{control("m04", 1), control("a02", 1), control("a07", 2), control("a09", 3), control("a15", 1, 3)},
		Unit:     func(id string) bool { return id == "xa-an-thanh" },
		By:       "lan@tuky", Now: testNow,
	}
}

func rules() Form {
	return Form{Control: "a02", Unit: "xa-an-thanh", Number: "12/QĐ-UBND", Issued: "2026-01-05", Issuer: "UBND xã An Thanh", Signer: "Nguyễn Văn A", ValidTo: "2027-01-04", ApprovedBy: "huong@tuky"}
}

func TestNew(t *testing.T) {
	a, err := New(rules(), setting())
	if err != nil {
		t.Fatal(err)
	}
	want := Attestation{
		Control: "a02", Unit: "xa-an-thanh", Finding: Met, Number: "12/QĐ-UBND", Issued: profile.NewDate(2026, 1, 5), Issuer: "UBND xã An Thanh",
		Signer: "Nguyễn Văn A", ValidTo: profile.NewDate(2027, 1, 4), EnteredBy: "lan@tuky", EnteredAt: testNow, ApprovedBy: "huong@tuky", Leaf: -1,
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	change := func(f func(*Form)) Form {
		x := rules()
		f(&x)
		return x
	}
	good := map[string]Form{
		"composed otherwise": change(func(f *Form) { f.Signer = "  Nguye\u0302\u0303n Va\u0306n A " }),
		"today":              change(func(f *Form) { f.Issued = "2026-11-23" }),
		"ends on its day":    change(func(f *Form) { f.ValidTo = f.Issued }),
		"not applicable":     {Control: "a02", Unit: "xa-an-thanh", Finding: "not_applicable", Note: "đơn vị không có hệ thống riêng"},
		"hash alone":         change(func(f *Form) { f.SHA256, f.Size = strings.Repeat("AB", 32), 5 }),
		"a07":                change(func(f *Form) { f.Control, f.Organisation = "a07", "Viettel" }),
	}
	for name, f := range good {
		a, err := New(f, setting())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "composed otherwise" && a.Signer != "Nguyễn Văn A" {
			t.Errorf("signer %q", a.Signer)
		}
	}
	bad := []struct {
		want string
		form Form
	}{
		{`control: "a99" is not in the law set in force: write one of a02, a07, a09, a15`, change(func(f *Form) { f.Control = "a99" })},
		{`control: missing`, change(func(f *Form) { f.Control = "" })},
		{`control: m04 is measured by an agent`, change(func(f *Form) { f.Control = "m04" })},
		{`unit: "xa-khac" is not in the profile`, change(func(f *Form) { f.Unit = "xa-khac" })},
		{`unit: missing`, change(func(f *Form) { f.Unit = "" })},
		{`number: missing`, change(func(f *Form) { f.Number = " " })},
		{`number: "1\n2" holds a control character`, change(func(f *Form) { f.Number = "1\n2" })},
		{`number: not UTF-8`, change(func(f *Form) { f.Number = "\xff" })},
		{`issuer: 321 bytes, at most 320`, change(func(f *Form) { f.Issuer = strings.Repeat("a", 321) })},
		{`issuer: missing`, change(func(f *Form) { f.Issuer = "" })},
		{`signer: missing`, change(func(f *Form) { f.Signer = "" })},
		{`issued: "05/01/2026" is no date`, change(func(f *Form) { f.Issued = "05/01/2026" })},
		{`issued: missing`, change(func(f *Form) { f.Issued = "" })},
		{`issued: 2026-11-24 is in the future, today is 2026-11-23`, change(func(f *Form) { f.Issued = "2026-11-24" })},
		{`valid_to: 2026-01-04 is before the day of issue 2026-01-05`, change(func(f *Form) { f.ValidTo = "2026-01-04" })},
		{`finding: "good": write one of`, change(func(f *Form) { f.Finding = "good" })},
		{`note: missing: say why`, change(func(f *Form) { f.Finding = "not_applicable" })},
		{`organisation: missing: a09`, change(func(f *Form) { f.Control = "a09" })},
		{`approved_by: "LAN@tuky" entered it`, change(func(f *Form) { f.ApprovedBy = "LAN@tuky" })},
		{`sha256: "abc" is not 64 hex digits`, change(func(f *Form) { f.SHA256 = "abc" })},
		{`size: given without sha256`, change(func(f *Form) { f.Size = 5 })},
		{`size: -1`, change(func(f *Form) { f.SHA256, f.Size = strings.Repeat("ab", 32), -1 })},
		{`sha256: a finding of not_applicable has no document`, change(func(f *Form) {
			f.Finding, f.Note, f.SHA256 = "not_applicable", "x", strings.Repeat("ab", 32)
		})},
	}
	for _, tt := range bad {
		if _, err := New(tt.form, setting()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %s", err, tt.want)
		}
	}
	nobody := setting()
	nobody.By = ""
	_, err = New(Form{}, nobody)
	for _, field := range []string{"control", "unit", "number", "issued", "issuer", "signer", "entered by"} {
		if err == nil || !strings.Contains(err.Error(), field+":") {
			t.Errorf("an empty form: nothing is said of %s: %v", field, err)
		}
	}
}

// openLog is a real log.
func openLog(t *testing.T) *evidence.Store {
	t.Helper()
	key, pub, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 64)), "egovmon/tu-ky/log/1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(pub)
	if err != nil {
		t.Fatal(err)
	}
	s, err := evidence.Open(evidence.Options{Dir: t.TempDir(), Origin: "egovmon/tu-ky/log/1", Signer: signer, Verifier: verifier, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestAddAndLoad(t *testing.T) {
	log := openLog(t)
	document := []byte("%PDF-1.7 quy chế")
	sum := sha256.Sum256(document)
	add := func(f Form, document io.Reader) Attestation {
		t.Helper()
		a, err := New(f, setting())
		if err != nil {
			t.Fatal(err)
		}
		a, err = Add(t.Context(), log, a, document)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	other, err := evidence.NewEntry(evidence.Rule, map[string]string{"name": "votes/1"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	first := add(rules(), bytes.NewReader(document))
	if first.Leaf != 1 || !first.Stored || first.Document != (evidence.Ref{SHA256: sum, Size: int64(len(document))}) {
		t.Errorf("%+v", first)
	}
	if blob, err := log.Blob(1); err != nil || !bytes.Equal(blob, document) {
		t.Errorf("the document in the log: %q, %v", blob, err)
	}
	hashed := rules()
	hashed.Control, hashed.Number, hashed.SHA256, hashed.Size, hashed.ApprovedBy = "a15", "9/BB", hex.EncodeToString(sum[:]), 100<<20, ""
	second := add(hashed, nil)
	if second.Stored {
		t.Error("a hash was stored as a document")
	}
	none := add(Form{Control: "a09", Unit: "xa-an-thanh", Finding: "not_applicable", Note: "chưa đến kỳ"}, nil)

	f, err := Load(log)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Attestation{first, second, none}, f.Current()); diff != "" || len(f.Unreadable()) != 0 {
		t.Errorf("-want +got\n%s\n%v", diff, f.Unreadable())
	}

	// A new one of the same number takes the place, a withdrawal takes it away.
	better := rules()
	better.Number, better.Signer = "12/qđ-ubnd", "Trần Thị B"
	third := add(better, bytes.NewReader(document))
	back := add(Form{Control: "a15", Unit: "xa-an-thanh", Finding: "withdrawn", Number: "9/BB", Note: "nhập nhầm"}, nil)
	feed := func() {
		t.Helper()
		for s, err := range log.Leaves(f.Next()) {
			if err != nil {
				t.Fatal(err)
			}
			if changed, err := f.Feed(s); err != nil || !changed {
				t.Errorf("leaf %d: changed %v, %v", s.Index, changed, err)
			}
		}
	}
	feed()
	if diff := cmp.Diff([]Attestation{none, third}, f.Current()); diff != "" || f.Next() != back.Leaf+1 {
		t.Errorf("-want +got\n%s", diff)
	}
	again, err := Load(log)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.Current(), again.Current()); diff != "" {
		t.Errorf("folded at once and in steps differ\n%s", diff)
	}
	if _, err := f.Feed(evidence.Stored{Index: 3}); err == nil {
		t.Error("a leaf was fed twice")
	}
}

// endless is a document of so many zero bytes.
func endless(n int64) io.Reader { return io.LimitReader(zeros{}, n) }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// discard is a log that takes everything.
type discard struct{ entries []evidence.Entry }

func (d *discard) Append(_ context.Context, es ...evidence.Entry) (int64, error) {
	d.entries = append(d.entries, es...)
	return int64(len(d.entries) - 1), nil
}

func TestDocuments(t *testing.T) {
	a, err := New(rules(), setting())
	if err != nil {
		t.Fatal(err)
	}
	wrong := a
	wrong.Document = evidence.Ref{SHA256: [32]byte{1}}
	size := a
	size.Document = evidence.Ref{SHA256: sha256.Sum256([]byte("x")), Size: 2}
	none := a
	none.Finding, none.Note = NotNeeded, "x"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	failing := io.MultiReader(strings.NewReader("x"), errReader{})
	tests := []struct {
		name     string
		ctx      context.Context
		a        Attestation
		document io.Reader
		want     string
	}{
		{"missing", t.Context(), a, nil, "no document: give the file"},
		{"empty", t.Context(), a, strings.NewReader(""), "it is empty"},
		{"another hash", t.Context(), wrong, strings.NewReader("x"), "which is not the one given"},
		{"another size", t.Context(), size, strings.NewReader("x"), "which is not the one given"},
		{"not needed", t.Context(), none, strings.NewReader("x"), "has no document"},
		{"unreadable", t.Context(), a, failing, "torn"},
		{"stopped", ctx, a, strings.NewReader("x"), "canceled"},
		{"not made with New", t.Context(), Attestation{Control: "a02"}, strings.NewReader("x"), "make it with New"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := &discard{}
			if _, err := Add(tt.ctx, log, tt.a, tt.document); err == nil || !strings.Contains(err.Error(), tt.want) || len(log.entries) != 0 {
				t.Errorf("error %v, want %s; %d leaves", err, tt.want, len(log.entries))
			}
		})
	}
	// Above 64 MiB the hash alone is kept.
	for _, n := range []int64{evidence.MaxBlob, evidence.MaxBlob + 1} {
		log := &discard{}
		got, err := Add(t.Context(), log, a, endless(n))
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, endless(n)); err != nil {
			t.Fatal(err)
		}
		if got.Document.Size != n || !bytes.Equal(got.Document.SHA256[:], h.Sum(nil)) || got.Stored != (n <= evidence.MaxBlob) || (len(log.entries[0].Blob) > 0) != got.Stored {
			t.Errorf("%d bytes: %s stored %v, blob of %d", n, got.Document, got.Stored, len(log.entries[0].Blob))
		}
		if said := log.entries[0].Leaf.Field("document") != ""; said == got.Stored {
			t.Errorf("%d bytes: the hash stands beside the blob: %v", n, said)
		}
		back, err := Parse(log.entries[0].Leaf, 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, back); diff != "" {
			t.Errorf("read back\n%s", diff)
		}
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("torn") }

// TestLargest fills every field to its end.
func TestLargest(t *testing.T) {
	long := func(n int) string { return strings.Repeat("ế", n/3) }
	f := Form{
		Control: "a09", Unit: "xa-an-thanh", Finding: "in_part", Number: long(maxShort), Issued: "2026-01-01", Issuer: long(maxLong), Signer: long(maxLong),
		ValidTo: "2199-01-01", Organisation: long(maxLong), OrganisationID: long(maxShort), Note: long(maxNote), ApprovedBy: long(maxShort), SHA256: strings.Repeat("ab", 32), Size: maxDocument,
	}
	a, err := New(f, setting())
	if err != nil {
		t.Fatal(err)
	}
	log := &discard{}
	if _, err := Add(t.Context(), log, a, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(log.entries[0].Leaf.Bytes()); n > evidence.MaxLeaf {
		t.Errorf("%d bytes", n)
	}
}

func TestUnreadable(t *testing.T) {
	good := map[string]string{"control": "a02", "unit": "u", "finding": "met", "number": "1", "issued": "2026-01-01", "entered_at": "2026-11-23T03:00:00.000Z", "entered_by": "x"}
	leaf := func(t evidence.Type, key, value string) evidence.Leaf {
		m := map[string]string{}
		maps.Copy(m, good)
		if m[key] = value; value == "" {
			delete(m, key)
		}
		l, err := evidence.NewLeaf(t, m, nil)
		if err != nil {
			panic(err)
		}
		return l
	}
	if _, err := Parse(leaf(evidence.Attestation, "note", "x"), 0); err != nil {
		t.Fatal(err)
	}
	var leaves []evidence.Stored
	for _, kv := range [][2]string{{"finding", "splendid"}, {"issued", "soon"}, {"valid_to", "2026-13-01"}, {"entered_at", "now"}, {"control", ""}, {"unit", ""}, {"number", ""}, {"document", "abc 5"}, {"document", strings.Repeat("ab", 32) + " -1"}} {
		l := leaf(evidence.Attestation, kv[0], kv[1])
		if a, err := Parse(l, 4); err == nil || !strings.Contains(err.Error(), "leaf 4") || a != (Attestation{}) {
			t.Errorf("%s %q: %v", kv[0], kv[1], err)
		}
		leaves = append(leaves, evidence.Stored{Entry: evidence.Entry{Leaf: l}, Index: int64(len(leaves))})
	}
	if _, err := Parse(leaf(evidence.Exception, "note", "x"), 0); err == nil {
		t.Error("a leaf of another type was read")
	}
	f, err := Load(listed(leaves))
	if err != nil || len(f.Unreadable()) != len(leaves) || len(f.Current()) != 0 {
		t.Errorf("%v, %d unreadable of %d", err, len(f.Unreadable()), len(leaves))
	}
	if _, err := Load(listed(append(leaves, leaves[0]))); err == nil {
		t.Error("a log out of order was loaded")
	}
}

// listed is a log of leaves.
type listed []evidence.Stored

func (l listed) Leaves(from int64) iter.Seq2[evidence.Stored, error] {
	return func(yield func(evidence.Stored, error) bool) {
		for _, s := range l[from:] {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func TestFlags(t *testing.T) {
	var f Form
	set := flag.NewFlagSet("attest", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	f.Flags(set)
	err := set.Parse([]string{"--control", "a02", "--unit", "xa-an-thanh", "--number", "12/QĐ-UBND", "--issued", "2026-01-05", "--issuer", "UBND xã An Thanh", "--signer", "Nguyễn Văn A", "--valid-to", "2027-01-04", "--approved-by", "huong@tuky"})
	if err != nil {
		t.Fatal(err)
	}
	want := rules()
	want.Finding = "met"
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	var names []string
	set.VisitAll(func(x *flag.Flag) { names = append(names, x.Name) })
	if len(names) != 14 || !slices.Contains(names, "organisation-id") {
		t.Errorf("flags %v", names)
	}
}
