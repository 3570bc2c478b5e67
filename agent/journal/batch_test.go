package journal

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check"
	"egovmon/agent/wire"
)

const testJournal = "00112233445566778899aabbccddeeff"

var testTime = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

func testKey(t testing.TB, name string) (note.Signer, note.Verifiers) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return s, note.VerifierList(v)
}

// testResults are n results such as a plan of ten checks gives.
func testResults(n int) []check.Result {
	rs := make([]check.Result, 0, n)
	for i := range n {
		slot := testTime.Add(time.Duration(i/10) * 15 * time.Second)
		r := check.Result{
			Check: fmt.Sprintf("service%d.http", i%10), Slot: slot, Start: slot.Add(time.Duration(100+i%10) * time.Millisecond),
			Took: time.Duration(12340+70*(i%97)) * 10 * time.Microsecond, State: check.Up, Reason: check.OK, Attempts: 1,
			Facts: check.Facts{
				{Name: "body_bytes", Value: float64(18231 + i%13)}, {Name: "cert_not_after_unix", Value: 1795392000}, {Name: "status_code", Value: 200},
			},
		}
		r.Phases.Add("connect", time.Duration(3000+i*7%900)*time.Microsecond)
		r.Phases.Add("dns", time.Duration(800+i*3%400)*time.Microsecond)
		r.Phases.Add("first_byte", time.Duration(40000+i*31%9000)*time.Microsecond)
		r.Phases.Add("tls", time.Duration(9000+i*13%2000)*time.Microsecond)
		if i%50 == 49 {
			r.State, r.Reason, r.Detail, r.Attempts = check.Down, check.ConnectRefused, "dial tcp 127.0.0.1:9: connection refused", 2
		}
		rs = append(rs, r)
	}
	return rs
}

func testRecords() []Record {
	recs := []Record{
		{Begin: &Begin{At: testTime, Build: "1.0 \"x\"\\", PreviousJournal: testJournal, PreviousHead: "7:" + NoPrevious, Cause: "first"}},
		{Plan: &PlanApplied{Version: 17, SHA256: NoPrevious, At: testTime.Add(time.Millisecond)}},
		{Range: &check.Range{Reason: check.MissedStopped, Check: "*", From: testTime.Add(-time.Hour), To: testTime.Add(-time.Minute), Slots: 240}},
	}
	for _, r := range testResults(20) {
		recs = append(recs, Record{Result: &r})
	}
	recs[5].Result.Detail = "không kết nối được \"cổng\" \\ 443"
	return append(recs, Record{End: &End{At: testTime, Cause: "stop"}})
}

func testHeader() Header {
	return Header{
		Machine: "pc-an-thanh-01", Journal: testJournal, Seq: 2, Previous: hashOf([]byte("x")), Sealed: testTime.Add(1234 * time.Millisecond),
		Clock:      &Clock{Offset: -125 * time.Millisecond, Measured: testTime},
		Checkpoint: &Checkpoint{Origin: "egovmon/tu-ky/log/1", Size: 42, Hash: tlog.Hash(sha256.Sum256([]byte("tree")))},
	}
}

const testKeyName = "egovmon/tu-ky/journal/pc-an-thanh-01"

func TestSealOpen(t *testing.T) {
	signer, verifiers := testKey(t, testKeyName)
	recs := testRecords()
	b, err := Seal(testHeader(), recs, signer)
	if err != nil {
		t.Fatal(err)
	}
	h, got, err := Open(b, verifiers)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(recs, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	want := testHeader()
	want.Body, want.Stored, want.Raw, want.Records = hashOf(b.Body), len(b.Body), h.Raw, len(recs)
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if n, err := ParseNote(b.Note, verifiers); err != nil || n.Text() != h.Text() {
		t.Errorf("ParseNote: %v", err)
	}
}

func TestHeaderText(t *testing.T) {
	h := testHeader()
	h.Body, h.Stored, h.Raw, h.Records = hashOf([]byte("b")), 10, 20, 1
	want := `egovmon-batch/1
machine pc-an-thanh-01
journal 00112233445566778899aabbccddeeff
seq 2
previous 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
body 3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d 10 20 1
sealed 2026-11-23T01:00:01.234Z
clock -0.125 2026-11-23T01:00:00.000Z
checkpoint egovmon/tu-ky/log/1 42 3dNSfGqjOSYDE7Vfmhk0R8rVaDRf16ijafiN7Ucoz6Q=
dictionary -
`
	h.Checkpoint.Hash, _ = tlog.ParseHash("3dNSfGqjOSYDE7Vfmhk0R8rVaDRf16ijafiN7Ucoz6Q=")
	if diff := cmp.Diff(want, h.Text()); diff != "" {
		t.Fatalf("text (-want +got):\n%s", diff)
	}
	got, err := ParseHeader(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h, got); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
	for _, tt := range []struct{ name, old, new, err string }{
		{"newer", "batch/1", "batch/2", "install a newer one"},
		{"other text", "egovmon-batch/1", "hello", "begins with"},
		{"machine", "pc-an", "PC-an", "machine's name"},
		{"machine with a space", "pc-an", "pc an", "2 values"},
		{"journal", "ccddeeff", "CCDDEEFF", "32 lower-case hex"},
		{"seq zero", "seq 2", "seq 0", "numbered from 1"},
		{"seq with zero in front", "seq 2", "seq 02", "canonical"},
		{"seq signed", "seq 2", "seq -2", "whole number"},
		{"first with previous", "seq 2", "seq 1", "first batch only"},
		{"stored too much", " 10 20 1", " 1048577 2000000 1", "at most 1048576"},
		{"raw too much", " 10 20 1", " 10 16777217 1", "at most 16777216"},
		{"raw overflows", " 10 20 1", " 10 99999999999999999999 1", "whole number"},
		{"no record", " 10 20 1", " 10 20 0", "at least one"},
		{"time with offset", "01.234Z", "01.234+00:00", "canonical"},
		{"time without milliseconds", "01.234Z", "01Z", "canonical"},
		{"clock", "-0.125", "-0.1250", "three decimals"},
		{"clock minus zero", "-0.125", "-0.000", "canonical"},
		{"hash", "3dNSf", "3d!Sf", "base64"},
		{"dictionary", "dictionary -", "dictionary x", "dictionary"},
		{"more", "dictionary -\n", "dictionary -\nmore\n", "goes on"},
		{"less", "dictionary -\n", "", "too early"},
		{"order", "seq 2\n", "", `begins with "previous", want seq`},
		{"carriage return", "seq 2\n", "seq 2\r\n", "whole number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseHeader(strings.Replace(want, tt.old, tt.new, 1))
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
		})
	}
	if _, err := ParseHeader(strings.Repeat("x", wire.MaxHeader+1)); err == nil {
		t.Error("an endless header was read")
	}
}

func TestOpenRefuses(t *testing.T) {
	signer, verifiers := testKey(t, testKeyName)
	other, _ := testKey(t, testKeyName)
	good, err := Seal(testHeader(), testRecords(), signer)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := Seal(testHeader(), testRecords(), other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Seal(testHeader(), testRecords(), wrongName{signer}); err == nil {
		t.Error("sealed with the key of another machine")
	}
	twice := append(append([]byte{}, good.Note...), foreign.Note[strings.LastIndex(string(foreign.Note), "\n\n")+2:]...)
	flipped := append([]byte{}, good.Body...)
	flipped[len(flipped)/2] ^= 1
	dict := testHeader()
	dict.Dictionary = NoPrevious
	withDict, err := Seal(dict, testRecords(), signer)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		b    Batch
		err  string
	}{
		{"key of another", foreign, "no verifiable signatures"},
		{"a second signature", Batch{twice, good.Body}, "2 signatures"},
		{"header changed", Batch{[]byte(strings.Replace(string(good.Note), "seq 2", "seq 3", 1)), good.Body}, "invalid signature"},
		{"body changed", Batch{good.Note, flipped}, "the header says"},
		{"body cut", Batch{good.Note, good.Body[:10]}, "the header says"},
		{"no note", Batch{nil, good.Body}, "malformed"},
		{"huge note", Batch{make([]byte, wire.MaxHeader+1), nil}, "at most"},
		{"unknown dictionary", withDict, "not known here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, recs, err := Open(tt.b, verifiers)
			if err == nil || !strings.Contains(err.Error(), tt.err) || recs != nil {
				t.Errorf("%d records, error %v, want one with %q", len(recs), err, tt.err)
			}
		})
	}
}

// A wrongName signs under the name of another machine.
type wrongName struct{ note.Signer }

func (wrongName) Name() string { return "egovmon/tu-ky/journal/pc-khac" }

func TestOpenSignedNonsense(t *testing.T) {
	signer, verifiers := testKey(t, testKeyName)
	z, err := newCompressor(nil)
	if err != nil {
		t.Fatal(err)
	}
	line := func(r Record) string {
		b, err := new(encoder).record(nil, &r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	good := line(testRecords()[4])
	for _, tt := range []struct {
		name    string
		lines   string
		records int // as the header says
		read    int
		bad     int
		err     string
	}{
		{"unknown type", good + `{"x":1}` + "\n" + good, 3, 2, 1, "line 2: want a record's first key"},
		{"space", strings.Replace(good, `":`, `": `, 1), 1, 0, 1, "line 1"},
		{"one line less", good, 2, 1, 1, "body has 1 lines, the header says 2"},
		{"no newline", good + strings.TrimSuffix(good, "\n"), 2, 1, 1, "no newline"},
		{"empty lines", strings.Repeat("\n", 1000), 1000, 0, 1000, "line 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := sealLines(testHeader(), []byte(tt.lines), tt.records, z, signer)
			if err != nil {
				t.Fatal(err)
			}
			_, recs, err := Open(b, verifiers)
			bad, ok := errors.AsType[*ContentError](err)
			if !ok || bad.Lines != tt.bad || len(recs) != tt.read || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%d records, error %v; want %d records, %d bad, %q", len(recs), err, tt.read, tt.bad, tt.err)
			}
		})
	}
}
