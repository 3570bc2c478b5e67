package journal

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
)

func TestLines(t *testing.T) {
	r := check.Result{
		Check: "cong_h.http", Slot: testTime, Start: testTime.Add(1234567 * time.Nanosecond), Took: 1234567 * time.Microsecond, State: check.Down,
		Reason: check.HTTPStatus, Detail: "mã \"503\"\\\u00a0", Attempts: 2,
		Phases: check.Phases{{Name: "tls", Took: 10 * time.Microsecond}, {Name: "dns", Took: -time.Second}, {Name: "tls", Took: 5 * time.Microsecond}, {Name: "Bad", Took: 1}},
		Facts: check.Facts{
			{Name: "z_ratio", Value: 0.1234567}, {Name: "a_bytes", Value: 1 << 53}, {Name: "b_bytes", Value: 1<<53 + 2}, {Name: "n_s", Value: math.NaN()},
			{Name: "i_s", Value: math.Inf(-1)}, {Name: "z_ratio", Value: 9}, {Name: "bad name", Value: 1},
		},
	}
	for _, tt := range []struct {
		rec  Record
		want string
	}{
		{Record{Result: &r}, `{"attempts":2,"check":"cong_h.http","detail":"mã \"503\"\\ ","facts":{"a_bytes":9007199254740992,"z_ratio":0.12346},"phases":{"dns":0,"tls":0.00002},"reason":"http_status","slot":"2026-11-23T01:00:00Z","start":"2026-11-23T01:00:00.001Z","state":"down","t":"result","took_s":1.23457}`},
		{
			Record{Range: &check.Range{Reason: check.MissedStopped, Check: "*", From: testTime, To: testTime.Add(1500 * time.Millisecond), Slots: 7}},
			`{"check":"*","from":"2026-11-23T01:00:00.000Z","reason":"missed_stopped","slots":7,"t":"range","to":"2026-11-23T01:00:01.500Z"}`,
		},
		{Record{Plan: &PlanApplied{3, NoPrevious, testTime}}, `{"at":"2026-11-23T01:00:00.000Z","sha256":"` + NoPrevious + `","t":"plan","version":3}`},
		{Record{Begin: &Begin{At: testTime, Build: "1\n\x01", Cause: "start"}}, `{"at":"2026-11-23T01:00:00.000Z","build":"1\n\u0001","cause":"start","previous_head":"","previous_journal":"","t":"begin"}`},
		{Record{End: &End{testTime, "stop"}}, `{"at":"2026-11-23T01:00:00.000Z","cause":"stop","t":"end"}`},
	} {
		b, err := new(encoder).record(nil, &tt.rec)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.ReplaceAll(tt.want, `\\ "`, "\\\\\u00a0\""), strings.TrimSuffix(string(b), "\n")); diff != "" {
			t.Errorf("line (-want +got):\n%s", diff)
		}
		if !json.Valid(b) {
			t.Errorf("not JSON: %s", b)
		}
		if _, err := new(decoder).record(bytes.TrimSuffix(b, []byte("\n"))); err != nil {
			t.Errorf("own line is refused: %v\n%s", err, b)
		}
	}
}

// The forms of RFC 8785, section 3.2.2.3 and appendix B, at 5 digits.
func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", math.Copysign(0, -1): "0", 1: "1", -1.5: "-1.5", 0.1: "0.1", 0.000001: "0.000001", 0.0000001: "1e-7", 0.00000012345: "1.2345e-7", 123456: "123460",
		1e20: "100000000000000000000", 1e21: "1e+21", 1.5e300: "1.5e+300", 5e-324: "4.9407e-324", 99999.6: "100000", 12.3456: "12.346",
	} {
		if got := string(appendNumber(nil, v)); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		v := rnd.NormFloat64() * math.Pow(10, float64(rnd.IntN(60)-30))
		s := string(appendNumber(nil, v))
		back, err := strconv.ParseFloat(s, 64)
		if err != nil || math.Abs(back-v) > math.Abs(v)*1e-4 {
			t.Fatalf("%v is written %s", v, s)
		}
		if again := string(appendNumber(nil, back)); again != s {
			t.Fatalf("%v is written %s, and that %s", v, s, again)
		}
		js, _ := json.Marshal(back) // ECMAScript's form but for two digits of small exponents
		if want := strings.NewReplacer("e-0", "e-", "e+0", "e+").Replace(string(js)); want != s {
			t.Fatalf("%v is written %s, want %s", v, s, want)
		}
	}
	for range 20000 {
		d := time.Duration(rnd.Int64N(int64(48 * time.Hour))).Round(tick)
		s := string(appendSeconds(nil, d))
		if want := strconv.FormatFloat(float64(d/tick)/1e5, 'f', -1, 64); s != want {
			t.Fatalf("%s is written %s, want %s", d, s, want)
		}
	}
}

func TestDecoderRefuses(t *testing.T) {
	r := testResults(50)[49]
	b, err := new(encoder).record(nil, &Record{Result: &r})
	if err != nil {
		t.Fatal(err)
	}
	good := strings.TrimSuffix(string(b), "\n")
	if _, err := new(decoder).record([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, new string }{
		{"state against reason", `"state":"down"`, `"state":"up"`},
		{"unknown reason", `connect_refused`, `whatever`},
		{"reason of a range", `"reason":"connect_refused"`, `"reason":"missed_stopped"`},
		{"unknown key", `,"t":`, `,"state2":1,"t":`},
		{"unknown type", `"t":"result"`, `"t":"other"`},
		{"keys out of order", `{"attempts":2,"check":"service9.http"`, `{"check":"service9.http","attempts":2`},
		{"space", `"attempts":2`, `"attempts": 2`},
		{"number with zeros", `"attempts":2`, `"attempts":02`},
		{"number with exponent", `"status_code":200`, `"status_code":2e2`},
		{"not a number", `"status_code":200`, `"status_code":NaN`},
		{"too precise", `"took_s":`, `"took_s":0.123456,"x":`},
		{"negative", `"attempts":2`, `"attempts":-2`},
		{"too large", `"status_code":200`, `"status_code":9007199254740993`},
		{"escape for nothing", `refused"`, `refuse\u0064"`},
		{"bad check", `service9.http`, `Service9.http`},
		{"slot with fraction", `:00Z","start`, `:00.000Z","start`},
		{"slot in another zone", `:00Z","start`, `:00+00:00","start`},
		{"fact twice", `"status_code":200`, `"status_code":200,"status_code":200`},
		{"control character", `dial tcp`, "dial\x01tcp"},
		{"not UTF-8", `dial tcp`, "dial\xfftcp"},
		{"text behind it", `}` + "$", `}}`},
	} {
		line := strings.Replace(good+"$", tt.old, tt.new, 1)
		line = strings.TrimSuffix(line, "$")
		if _, err := new(decoder).record([]byte(line)); err == nil {
			t.Errorf("%s: read %s", tt.name, line)
		}
		if line == good {
			t.Errorf("%s: nothing was changed", tt.name)
		}
	}
	if _, err := new(decoder).record(bytes.Repeat([]byte("x"), maxLine)); err == nil {
		t.Error("a line without end was read")
	}
}

func TestBombs(t *testing.T) {
	signer, _ := testKey(t, testKeyName)
	z, err := newCompressor(nil)
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 64<<20)
	if _, err := sealLines(testHeader(), big, 1, z, signer); err == nil {
		t.Error("a body of 64 MiB was sealed")
	}
	// The header tells a small size, the frame inflates beyond it.
	body := z.EncodeAll(big[:8<<20], nil)
	h := testHeader()
	h.Body, h.Stored, h.Raw, h.Records = hashOf(body), len(body), 100, 1
	rd, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1, func() {
		if _, err := rd.Records(h, body); err == nil {
			t.Error("a bomb was read")
		}
	}); n > 100 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range testRecords() {
		b, err := new(encoder).record(nil, &r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.TrimSuffix(b, []byte("\n")))
	}
	f.Add([]byte(`{"attempts":1,"check":"\ud800"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		rec, err := new(decoder).record(line)
		if err != nil {
			return
		}
		again, err := new(encoder).record(nil, &rec)
		if err != nil || string(again) != string(line)+"\n" || !json.Valid(line) {
			t.Errorf("%q was read, and is written %q (%v)", line, again, err)
		}
	})
}

func FuzzEncode(f *testing.F) {
	f.Add("a.http", int64(0), int64(5), "ok", "detail", 1, "total", int64(12345), "loss_ratio", 0.25)
	f.Add("", int64(-1), int64(1)<<62, "x", "\xff\n\u202e", -1, "B", int64(-1), "x_bytes", math.NaN())
	f.Fuzz(func(t *testing.T, id string, slot, took int64, reason, detail string, attempts int, phase string, d int64, fact string, v float64) {
		r := check.Result{
			Check: id, Slot: time.Unix(slot, 0), Start: time.Unix(slot, took), Took: time.Duration(took), Reason: check.Reason(reason), Detail: detail,
			Attempts: attempts, Phases: check.Phases{{Name: phase, Took: time.Duration(d)}}, Facts: check.Facts{{Name: fact, Value: v}},
		}
		b, err := new(encoder).record(nil, &Record{Result: &r})
		if err != nil {
			return
		}
		if _, err := new(decoder).record(bytes.TrimSuffix(b, []byte("\n"))); err != nil {
			t.Errorf("%q cannot be read: %v", b, err)
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	h := testHeader()
	h.Body, h.Stored, h.Raw, h.Records = hashOf(nil), 1, 1, 1
	f.Add(h.Text())
	h.Clock, h.Checkpoint = nil, nil
	f.Add(h.Text())
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := ParseHeader(text); err == nil && h.Text() != text {
			t.Errorf("%q was read, and is written %q", text, h.Text())
		}
	})
}

// A note that is taken is the machine's own, whole and in one form.
func FuzzParseNote(f *testing.F) {
	signer, verifiers := testKey(f, testKeyName)
	b, err := Seal(testHeader(), testRecords(), signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.Note)
	f.Add(append(bytes.Clone(b.Note), b.Note[bytes.Index(b.Note, []byte("\n\n"))+2:]...))
	f.Add([]byte("egovmon-batch/1\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ParseNote(data, verifiers)
		if err == nil && (h.Machine != testHeader().Machine || !bytes.HasPrefix(data, []byte(h.Text()+"\n"))) {
			t.Errorf("%q was read as a note of %s", data, h.Machine)
		}
	})
}
