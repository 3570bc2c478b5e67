package words

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"egovmon/agent/check"
)

// fits reports what is wrong with a text that people read; "" for nothing.
func fits(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "is not UTF-8"
	case !norm.NFC.IsNormalString(s):
		return "is not in NFC"
	case s != strings.TrimSpace(s):
		return "has spaces around it"
	case strings.Contains(s, "  "):
		return "has two spaces"
	}
	return ""
}

func TestEveryReasonHasItsTexts(t *testing.T) {
	for _, r := range check.Reasons() {
		vi, en := Reason(VI, r), Reason(EN, r)
		for lang, x := range map[Lang]Text{VI: vi, EN: en} {
			if x.Title == "" || x.Title == string(r) {
				t.Errorf("%s has no %s title", r, lang)
			}
			if n := utf8.RuneCountInString(x.Title); n > 60 {
				t.Errorf("%s: the %s title has %d letters, more than 60: %s", r, lang, n, x.Title)
			}
			for _, s := range []string{x.Title, x.Impact, x.Action} {
				if bad := fits(s); bad != "" {
					t.Errorf("%s: %q %s", r, s, bad)
				}
			}
			if strings.HasSuffix(x.Title, ".") {
				t.Errorf("%s: the title %q ends in a full stop", r, x.Title)
			}
			for _, s := range []string{x.Impact, x.Action} {
				if s != "" && !strings.HasSuffix(s, ".") {
					t.Errorf("%s: %q is no whole sentence", r, s)
				}
			}
		}
		if (vi.Impact == "") != (en.Impact == "") || (vi.Action == "") != (en.Action == "") {
			t.Errorf("%s says more in one language than in the other", r)
		}
		if r.State() == check.Down && vi.Action == "" {
			t.Errorf("%s: nobody is told what to do", r)
		}
	}
	if n, want := len(reasons()), len(check.Reasons()); n != want {
		t.Errorf("%d reasons have texts, %d are on the list", n, want)
	}
	if got := Reason(VI, "hostile"); got.Title != "hostile" {
		t.Errorf("a word that is not on the list has the title %q", got.Title)
	}
}

func TestStates(t *testing.T) {
	want := map[check.State][2]string{
		check.Up:       {"Hoạt động bình thường", "up"},
		check.Degraded: {"Suy giảm", "degraded"},
		check.Down:     {"Gián đoạn", "down"},
		check.Unknown:  {"Không xác định", "unknown"},
	}
	for s, w := range want {
		if got := [2]string{State(VI, s), State(EN, s)}; got != w {
			t.Errorf("%v: %q, want %q", s, got, w)
		}
	}
}

var verb = regexp.MustCompile(`%[-+ #0]*[0-9]*(?:\.[0-9]+)?[a-zA-Z%]`)

func verbs(s string) []string { return verb.FindAllString(s, -1) }

func TestEveryPhraseIsSaidInBoth(t *testing.T) {
	for key, p := range phrases() {
		for i, s := range p {
			if s == "" {
				t.Errorf("%s lacks language %d", key, i)
			}
			if bad := fits(s); bad != "" {
				t.Errorf("%s: %q %s", key, s, bad)
			}
			if n := strings.Count(s, "%"); n != len(verbs(s))+strings.Count(s, "%%") {
				t.Errorf("%s: %q has a %% that is no verb", key, s)
			}
		}
		if vi, en := verbs(p[0]), verbs(p[1]); !slices.Equal(vi, en) {
			t.Errorf("%s: the verbs differ: %v and %v", key, vi, en)
		}
	}
	if got := Say(EN, "no.such.key", 1); got != "<no.such.key>" {
		t.Errorf("a missing phrase reads %q", got)
	}
	if got := Say(VI, "doctor.title", "pc-01"); got != "Khám máy: pc-01" {
		t.Errorf("with an argument: %q", got)
	}
}

// What the agent says by name must be among its own phrases: the collector's are not in its program.
func TestTheAgentsPhrases(t *testing.T) {
	told := regexp.MustCompile(`words\.Tell\([a-z.]+, "([^"]+[a-z])"`)
	seen := 0
	for _, pattern := range []string{"../*.go", "../daemon/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range told.FindAllSubmatch(source, -1) {
				seen++
				if key := string(m[1]); strings.HasPrefix(Tell(EN, key), "<") {
					t.Errorf("%s tells %q, which is not among the agent's phrases", name, key)
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d phrases were found in the agent's sources", seen)
	}
	for key := range agentPhrases() {
		if _, ok := collectorPhrases()[key]; ok {
			t.Errorf("%s stands in both catalogues", key)
		}
	}
	if got := Tell(VI, "doctor.title", "pc-01"); got != "Khám máy: pc-01" {
		t.Errorf("with an argument: %q", got)
	}
}

func TestParseLang(t *testing.T) {
	for in, want := range map[string]Lang{"en": EN, "EN-GB": EN, "en_US": EN, "vi": VI, "": VI, "english": VI, "enx": VI} {
		if got := ParseLang(in); got != want {
			t.Errorf("ParseLang(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	tests := []struct{ got, want string }{
		{Number(VI, 0), "0"}, {Number(VI, 999), "999"}, {Number(VI, 1000), "1.000"},
		{Number(VI, 1234567), "1.234.567"}, {Number(EN, 1234567), "1,234,567"}, {Number(VI, -123456), "-123.456"},
		{Number(EN, math.MinInt64), "-9,223,372,036,854,775,808"},
		{Decimal(VI, 1234.5, 2), "1.234,50"}, {Decimal(EN, 1234.5, 2), "1,234.50"}, {Decimal(VI, -0.25, 1), "-0,2"},
		{Decimal(VI, math.NaN(), 1), "NaN"}, {Decimal(VI, 1e6, 0), "1.000.000"},
		{Percent(VI, 0.9952, 2), "99,52\u00a0%"}, {Percent(EN, 0.9952, 2), "99.52%"}, {Percent(VI, 1, 0), "100\u00a0%"},
		{Bytes(VI, 0), "0\u00a0B"}, {Bytes(VI, 1023), "1.023\u00a0B"}, {Bytes(VI, 1024), "1,0\u00a0KiB"},
		{Bytes(EN, 1<<20-1), "1.0\u00a0MiB"}, {Bytes(VI, 13421772800), "12,5\u00a0GiB"}, {Bytes(VI, math.MaxInt64), "8.192,0\u00a0PiB"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestTimes(t *testing.T) {
	at := time.Date(2026, 11, 22, 18, 30, 5, 0, time.UTC) // already the 23rd in Vietnam
	later := at.Add(12 * time.Hour)
	tests := []struct{ got, want string }{
		{Date(at), "23/11/2026"}, {Clock(at), "01:30:05"},
		{DateTime(VI, at), "01:30:05 ngày 23/11/2026"}, {DateTime(EN, at), "23/11/2026 01:30:05"},
		{HourMinute(VI, at), "01 giờ 30 phút"}, {HourMinute(EN, at), "01:30"},
		{At(VI, at, later), "01:30"}, {At(VI, at, later.Add(24*time.Hour)), "01:30 ngày 23/11/2026"},
		{At(EN, at, at.AddDate(1, 0, 0)), "23/11/2026 01:30"},
		{At(VI, at, at.Add(-2*time.Hour)), "01:30 ngày 23/11/2026"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestDurations(t *testing.T) {
	tests := []struct {
		d      time.Duration
		vi, en string
	}{
		{0, "0\u00a0ms", "0\u00a0ms"},
		{-time.Hour, "0\u00a0ms", "0\u00a0ms"},
		{420 * time.Microsecond, "0,42\u00a0ms", "0.42\u00a0ms"},
		{8500 * time.Microsecond, "8,5\u00a0ms", "8.5\u00a0ms"},
		{120 * time.Millisecond, "120\u00a0ms", "120\u00a0ms"},
		{time.Second, "1 giây", "1 second"},
		{59500 * time.Millisecond, "1 phút", "1 minute"},
		{3 * time.Minute, "3 phút", "3 minutes"},
		{125 * time.Minute, "2 giờ 5 phút", "2 hours 5 minutes"},
		{time.Hour + 4*time.Second, "1 giờ", "1 hour"},
		{52 * time.Hour, "2 ngày 4 giờ", "2 days 4 hours"},
		{1234 * 24 * time.Hour, "1.234 ngày", "1,234 days"},
	}
	for _, tt := range tests {
		if vi, en := Duration(VI, tt.d), Duration(EN, tt.d); vi != tt.vi || en != tt.en {
			t.Errorf("%v: %q and %q, want %q and %q", tt.d, vi, en, tt.vi, tt.en)
		}
	}
	for d, want := range map[time.Duration]string{
		995 * time.Microsecond: "1,0\u00a0ms", 9960 * time.Microsecond: "10\u00a0ms",
		999600 * time.Microsecond: "1,00\u00a0s", 1250 * time.Millisecond: "1,25\u00a0s", 90 * time.Second: "90,00\u00a0s",
	} {
		if got := Milliseconds(VI, d); got != want {
			t.Errorf("Milliseconds(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestShareNeverRoundsUp(t *testing.T) {
	for v, want := range map[float64]string{1: "100,00\u00a0%", 0.999999: "99,99\u00a0%", 0.9952: "99,52\u00a0%", 0.57: "57,00\u00a0%", 0: "0,00\u00a0%"} {
		if got := Share(VI, &v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
}
