package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check/certlist"
	"egovmon/agent/check/signature"
	"egovmon/collector/evidence"
)

var epoch = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// person makes the certificate of somebody, which ends in so many days.
func person(t testing.TB, name, org string, days int, ca bool) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name, Organization: []string{org}}, IsCA: ca, BasicConstraintsValid: ca,
		NotBefore: epoch.AddDate(-3, 0, 0), NotAfter: epoch.Add(time.Duration(days)*24*time.Hour + time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func inPEM(certs ...*x509.Certificate) []byte {
	var b []byte
	for _, c := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return b
}

// openLog is a real log, and its folder.
func openLog(t *testing.T) (*evidence.Store, string) {
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
	dir := t.TempDir()
	s, err := evidence.Open(evidence.Options{Dir: dir, Origin: "egovmon/tu-ky/log/1", Signer: signer, Verifier: verifier, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, dir
}

func TestRegister(t *testing.T) {
	log, dir := openLog(t)
	var r Register
	update := func() []Entry {
		t.Helper()
		if err := r.Update(log); err != nil || len(r.Unreadable()) > 0 {
			t.Fatal(err, r.Unreadable())
		}
		return r.All()
	}
	add := func(unit string, text []byte, want Added) {
		t.Helper()
		got, err := Add(t.Context(), log, update(), unit, "lan", text, epoch)
		if err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	lan, hoa := person(t, "Nguyễn Thị Lan", "UBND xã An Thanh", 100, false), person(t, "Trần Hoa", "UBND huyện Tứ Kỳ", 10, false)
	root := person(t, "Root", "Ban Cơ yếu", 1000, true)
	add("xa-an-thanh", inPEM(lan, root, hoa, lan), Added{New: 2, Known: 1, Skipped: 1})
	add("xa-khac", lan.Raw, Added{Known: 1})
	for text, want := range map[string]error{string(inPEM(root)): ErrNobody, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n": certlist.ErrPrivateKey} {
		before := log.Size()
		if _, err := Add(t.Context(), log, update(), "xa-an-thanh", "lan", []byte(text), epoch); !errors.Is(err, want) || log.Size() != before {
			t.Errorf("%v, want %v; %d leaves more", err, want, log.Size()-before)
		}
	}
	list := update()
	if len(list) != 2 || !list[0].Cert.Equal(hoa) || !list[1].Cert.Equal(lan) || list[0].EnteredBy != "lan" || !list[0].EnteredAt.Equal(epoch) {
		t.Fatalf("%+v", list)
	}
	// No leaf names anybody: all that is personal is in the body.
	for s, err := range log.Leaves(0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Thị Lan", "Trần Hoa", "Nguyễn", "Tứ Kỳ", lan.NotAfter.Format(time.DateOnly)} {
			if strings.Contains(string(s.Leaf.Bytes()), name) {
				t.Errorf("leaf %d holds %q", s.Index, name)
			}
		}
		if _, has := s.Leaf.Blob(); has {
			t.Errorf("leaf %d keeps the certificate for ever", s.Index)
		}
	}
	if err := Remove(t.Context(), log, list, 77, "lan", epoch); err == nil {
		t.Error("a leaf that is no certificate was removed")
	}
	if err := Remove(t.Context(), log, list, list[0].Leaf, "lan", epoch); err != nil {
		t.Fatal(err)
	}
	if list = update(); len(list) != 1 || !list[0].Cert.Equal(lan) {
		t.Errorf("%+v", list)
	}
	add("xa-an-thanh", hoa.Raw, Added{New: 1}) // again
	// Read anew, it is the same.
	var again Register
	if err := again.Update(log); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(leaves(update()), leaves(again.All())); diff != "" {
		t.Error(diff)
	}
	// Private keys are nowhere on the disk.
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if text, _ := os.ReadFile(path); bytes.Contains(text, []byte("PRIVATE KEY")) {
				t.Errorf("%s holds a private key", path)
			}
		}
		return err
	})
}

func leaves(list []Entry) (out []int64) {
	for _, e := range list {
		out = append(out, e.Leaf)
	}
	return out
}

// bodyless is a log whose bodies are gone.
type bodyless struct{ *evidence.Store }

func (bodyless) Body(int64) ([]byte, error) { return nil, evidence.ErrNone }

// A certificate that was removed from the evidence is one of which nothing is known but its unit.
func TestErased(t *testing.T) {
	log, _ := openLog(t)
	if _, err := Add(t.Context(), log, nil, "xa-an-thanh", "lan", person(t, "Lan", "x", 10, false).Raw, epoch); err != nil {
		t.Fatal(err)
	}
	var r Register
	if err := r.Update(bodyless{log}); err != nil {
		t.Fatal(err)
	}
	got := Tallies(r.All(), func(string) []string { return nil }, epoch)
	if diff := cmp.Diff([]Tally{{Unit: "xa-an-thanh", Erased: 1}}, got); diff != "" {
		t.Error(diff)
	}
}

// A register that runs forgets a certificate as soon as its tombstone stands in the log, even where the erasing was broken off, and
// keeps the others. A tombstone of papers takes nothing.
func TestForgotten(t *testing.T) {
	log, _ := openLog(t)
	var r Register
	for _, name := range []string{"Lan", "Hoa", "Minh"} {
		if _, err := Add(t.Context(), log, nil, "xa-an-thanh", "lan", person(t, name, "x", 10, false).Raw, epoch); err != nil {
			t.Fatal(err)
		}
	}
	known := func() string {
		t.Helper()
		if err := r.Update(log); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range r.All() {
			if e.Cert != nil {
				names = append(names, e.Cert.Subject.CommonName)
			}
		}
		slices.Sort(names)
		return fmt.Sprint(len(r.All()), names)
	}
	if got := known(); got != "3 [Hoa Lan Minh]" {
		t.Fatal(got)
	}
	tombstone := func(leaf int64, piece evidence.Piece) evidence.Removal {
		return evidence.Removal{At: epoch, By: "lan", Why: "request", Piece: piece, Leaves: evidence.Runs([]int64{leaf})}
	}
	if _, err := log.Remove(t.Context(), tombstone(0, evidence.BodyPiece)); err != nil {
		t.Fatal(err)
	}
	if got := known(); got != "3 [Hoa Minh]" {
		t.Error(got)
	}
	for _, removal := range []evidence.Removal{tombstone(2, evidence.BlobPiece), tombstone(1, evidence.BodyPiece)} {
		e, err := removal.Entry()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(t.Context(), e); err != nil { // and nothing is erased yet
			t.Fatal(err)
		}
	}
	if got := known(); got != "3 [Minh]" {
		t.Error(got)
	}
	r = Register{}
	if got := known(); got != "3 [Minh]" || len(r.Unreadable()) > 0 {
		t.Error("read anew:", got, r.Unreadable())
	}
	// One that cannot be read is told, and stops nothing.
	e, err := evidence.NewEntry(evidence.Tombstone, map[string]string{"at": "soon", "piece": "body"}, []byte("2 2\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got := known(); got != "3 [Minh]" || len(r.Unreadable()) != 1 {
		t.Error(got, r.Unreadable())
	}
}

func TestUnreadable(t *testing.T) {
	log, _ := openLog(t)
	for _, fields := range []map[string]string{{"removes": "0"}, {"removes": "x"}, {"unit": "a", "entered_at": "soon"}, {"entered_at": "2026-11-23T03:00:00.000Z"}} {
		e, err := evidence.NewEntry(evidence.Certificate, fields, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	var r Register
	if err := r.Update(log); err != nil || len(r.Unreadable()) != 4 || len(r.All()) != 0 {
		t.Errorf("%v, %v, %v", err, r.Unreadable(), r.All())
	}
}

func TestFull(t *testing.T) {
	log, _ := openLog(t)
	if _, err := Add(t.Context(), log, make([]Entry, maxEntries), "a", "lan", person(t, "Lan", "x", 10, false).Raw, epoch); err == nil || !strings.Contains(err.Error(), "take off those") {
		t.Error(err)
	}
}

func TestTallies(t *testing.T) {
	const today = "UBND xã An Thanh"
	var list []Entry
	for _, x := range []struct {
		unit, name, org string
		days            int
	}{
		{"b", "Ended", today, -5}, {"b", "15", today, 3}, {"b", "30", today, 20}, {"b", "60", today, 50}, {"b", "later", "UBND xã Văn Tố", 400},
		{"b", "renewed", today, 2}, {"b", "renewed", today, 700}, {"b", "renewed", today, -700}, {"a", "other unit's", "x", 100},
	} {
		list = append(list, Entry{Unit: x.unit, Cert: person(t, x.name, x.org, x.days, false)})
	}
	// An ended one is not asked about, whatever was said of it once.
	for i, s := range map[int]signature.Standing{0: signature.Revoked, 1: signature.Revoked, 2: signature.Good, 8: signature.Stray} {
		list[i].Standing = s
	}
	names := func(unit string) []string { return map[string][]string{"b": {today}}[unit] }
	want := []Tally{
		{Unit: "a", Classes: [certlist.Classes]int{certlist.Later: 1}, First: list[8].Cert.NotAfter, Stray: 1},
		{Unit: "b", Classes: [certlist.Classes]int{1, 1, 1, 1, 2}, Other: 1, Renewed: 2, First: list[1].Cert.NotAfter, Revoked: 1, Good: 1, Unasked: 3},
	}
	got := Tallies(list, names, epoch)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got[1].Sum() != 6 {
		t.Errorf("%d certificates", got[1].Sum())
	}
}
