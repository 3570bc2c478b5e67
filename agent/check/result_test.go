package check

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestRoundFact(t *testing.T) {
	tests := []struct {
		name string
		in   float64
		want float64
	}{
		{"rtt_avg_s", 0.0123456789, 0.012346},
		{"rtt_avg_s", 123456.789, 123460},
		{"rtt_avg_s", 1, 1},
		{"rtt_avg_s", 100000, 100000},
		{"rtt_avg_s", -2.718281828, -2.7183},
		{"rtt_avg_s", 0, 0},
		{"rtt_avg_s", 1e-310, 0},
		{"loss_ratio", 1.0 / 3, 0.33333},
		{"cert_not_after_unix", 1795428098.4, 1795428098},
		{"body_bytes", 1<<53 - 1, 1<<53 - 1},
		{"issuer_code", 123456789012345, 123456789012345},
		{"redirects_count", 2.5, 3},
		{"zone_serial", 2026112301, 2026112301},
	}
	for _, tt := range tests {
		if got := RoundFact(tt.name, tt.in); got != tt.want {
			t.Errorf("RoundFact(%s, %v) = %v, want %v", tt.name, tt.in, got, tt.want)
		}
	}
}

// What is written must be read as the same number, with no more digits than were kept.
func FuzzRoundFact(f *testing.F) {
	for _, v := range []float64{0.1, 1e-9, 123456789, 9.99995, 99999.5, -0.000123455, 1e300, 5e-324, math.MaxFloat64} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v float64) {
		got := RoundFact("x_s", v)
		if math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) > 1e300 || math.Abs(v) < 1e-290 {
			return
		}
		if again := RoundFact("x_s", got); again != got {
			t.Errorf("%v becomes %v, then %v", v, got, again)
		}
		if math.Abs(got-v) > math.Abs(v)*6e-5 {
			t.Errorf("%v becomes %v", v, got)
		}
		mantissa, _, _ := strings.Cut(strconv.FormatFloat(math.Abs(got), 'e', -1, 64), "e")
		if digits := len(strings.ReplaceAll(mantissa, ".", "")); digits > 5 && math.Abs(v) < 1e15 && math.Abs(v) > 1e-15 {
			t.Errorf("%v becomes %v with %d digits", v, got, digits)
		}
	})
}

func TestCleanDetail(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "status 502, want 200", "status 502, want 200"},
		{"Vietnamese", "Tứ Kỳ", "Tứ Kỳ"},
		{"lines", "a\nb\tc\r", "a b c "},
		{"control", "a\x00b\x1b[31mc\u0085d", "ab[31mcd"},
		{"bidi", "abc\u202egnp\u2066x\u2069.exe\ufeff", "abcgnpx.exe"},
		{"near end", "read tcp 10.0.0.5:51234->192.0.2.1:443: i/o timeout", "read tcp 192.0.2.1:443: i/o timeout"},
		{"near end, IPv6", "write udp [fe80::1%eth0]:51234->[2001:db8::1]:53: x", "write udp [2001:db8::1]:53: x"},
		{"two near ends", "read tcp 10.0.0.5:1->10.0.0.5:2->a: read udp 10.0.0.5:3->b", "read tcp a: read udp b"},
		{"an arrow", "http://a.test -> http://b.test, x->y", "http://a.test -> http://b.test, x->y"},
		{"broken UTF-8", "a\xff\xfeb", "ab"},
		{"just fits", strings.Repeat("x", MaxDetail), strings.Repeat("x", MaxDetail)},
		{"too long", strings.Repeat("x", MaxDetail+1), strings.Repeat("x", MaxDetail-3) + "…"},
		{"cut at a letter", strings.Repeat("ứ", 200), strings.Repeat("ứ", (MaxDetail-3)/3) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := CleanDetail(tt.in)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if len(got) > MaxDetail || !utf8.ValidString(got) {
				t.Errorf("%d bytes, valid %v", len(got), utf8.ValidString(got))
			}
		})
	}
}

func FuzzCleanDetail(f *testing.F) {
	f.Add("a\x00\u202e" + strings.Repeat("ứ", 100))
	f.Add("1.2.3.4:5->1.2.3.4:6->" + strings.Repeat("1.2.3.4:5->", 30))
	f.Fuzz(func(t *testing.T, s string) {
		got := CleanDetail(s)
		if len(got) > MaxDetail || !utf8.ValidString(got) || CleanDetail(got) != got {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}

func TestBecause(t *testing.T) {
	got := Because(HTTPStatus, "status %d\n", 502)
	want := Result{State: Down, Reason: HTTPStatus, Detail: "status 502 "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPhasesAndFacts(t *testing.T) {
	var p Phases
	p.Add("dns", 1234567*time.Nanosecond)
	p.Add("connect", -time.Second)
	if diff := cmp.Diff(Phases{{"dns", 1230 * time.Microsecond}, {"connect", 0}}, p); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if d, ok := p.Get("dns"); !ok || d != 1230*time.Microsecond {
		t.Errorf("dns: %v %v", d, ok)
	}
	if _, ok := p.Get("tls"); ok {
		t.Error("a phase that was not measured was found")
	}
	var f Facts
	f.Add("z_s", 1.23456789)
	f.Add("nan_s", math.NaN())
	f.Add("inf_s", math.Inf(1))
	f.Add("a_count", 3)
	if diff := cmp.Diff(Facts{{"a_count", 3}, {"z_s", 1.2346}}, f.Sorted()); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	if f[0].Name != "z_s" {
		t.Error("Sorted changed its receiver")
	}
	if _, ok := f.Get("nan_s"); ok {
		t.Error("a fact that is no number was kept")
	}
}

func TestOptions(t *testing.T) {
	o := Options{"s": "x", "ss": []string{"a"}, "i": int64(3), "is": []int64{4}, "f": 0.5, "b": true, "d": time.Second, "m": map[string]string{"k": "v"}}
	if o.String("s") != "x" || o.Int("i") != 3 || o.Float("f") != 0.5 || !o.Bool("b") || o.Duration("d") != time.Second {
		t.Errorf("options read wrongly: %v", o)
	}
	if diff := cmp.Diff([]any{[]string{"a"}, []int64{4}, map[string]string{"k": "v"}}, []any{o.Strings("ss"), o.Ints("is"), o.Map("m")}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// An option of another form reads as absent.
	if o.String("i") != "" || o.Int("s") != 0 || o.Strings("s") != nil || o.Ints("ss") != nil || o.Float("i") != 0 || o.Bool("s") || o.Duration("i") != 0 || o.Map("s") != nil {
		t.Error("an option was read in a form that it has not")
	}
	if !o.Has("s") || o.Has("none") {
		t.Error("Has")
	}
}

func TestTable(t *testing.T) {
	k := Kind{Name: "b", Options: []Option{{Name: "url"}}, Facts: []FactDef{{Name: "x_s", Max: 2}}}
	table := Table{k, {Name: "a"}}
	if diff := cmp.Diff([]string{"a", "b"}, table.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if got, ok := table.Lookup("b"); !ok || got.Name != "b" {
		t.Errorf("Lookup(b) = %v, %v", got.Name, ok)
	}
	if _, ok := table.Lookup("c"); ok {
		t.Error("a kind that is not there was found")
	}
	if d, ok := k.Fact("x_s"); !ok || d.Max != 2 {
		t.Errorf("fact %v %v", d, ok)
	}
	if _, ok := k.Fact("y_s"); ok {
		t.Error("a fact that is not declared was found")
	}
	if d, ok := k.Option("url"); !ok || d.Name != "url" {
		t.Errorf("option %v %v", d, ok)
	}
	if _, ok := k.Option("URL"); ok {
		t.Error("an option that is not declared was found")
	}
}
