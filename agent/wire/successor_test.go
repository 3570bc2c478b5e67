package wire

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func newNoteKey(t testing.TB, name string) (note.Signer, string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return s, vkey
}

func TestSuccession(t *testing.T) {
	recovery, vkey := newNoteKey(t, RecoveryName("tu-ky"))
	other, _ := newNoteKey(t, RecoveryName("tu-ky"))
	_, logKey := newNoteKey(t, LogName("tu-ky", 2))
	_, foreign := newNoteKey(t, LogName("khac", 2))
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	good := Succession{Old: "egovmon/tu-ky/log/1", Tree: tlog.Tree{N: 7, Hash: tlog.RecordHash([]byte("x"))}, New: "egovmon/tu-ky/log/2",
		Key: logKey, At: time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC), Why: "đĩa hỏng, khôi phục bản của hôm qua"}
	for _, tt := range []struct {
		name   string
		change func(s *Succession)
		text   func(string) string
		signer note.Signer
		ok     bool
	}{
		{"good", nil, nil, recovery, true},
		{"signed by another key", nil, nil, other, false},
		{"skips a log", func(s *Succession) { s.New = "egovmon/tu-ky/log/3" }, nil, recovery, false},
		{"goes back", func(s *Succession) { s.Old = "egovmon/tu-ky/log/2"; s.New = "egovmon/tu-ky/log/1" }, nil, recovery, false},
		{"key of another log", func(s *Succession) { s.Key = foreign }, nil, recovery, false},
		{"of another district", func(s *Succession) { s.Old, s.New, s.Key = "egovmon/khac/log/1", "egovmon/khac/log/2", foreign }, nil, recovery, false},
		{"no reason", func(s *Succession) { s.Why = "" }, nil, recovery, false},
		{"long reason", func(s *Succession) { s.Why = strings.Repeat("x", MaxWhy+1) }, nil, recovery, false},
		{"a newer version", nil, func(s string) string { return strings.Replace(s, "/1\n", "/2\n", 1) }, recovery, false},
		{"a line too many", nil, func(s string) string { return s + "x y\n" }, recovery, false},
		{"a time in another form", nil, func(s string) string { return strings.Replace(s, "01:02:03Z", "08:02:03+07:00", 1) }, recovery, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := good
			if tt.change != nil {
				tt.change(&s)
			}
			text := s.Text()
			if tt.text != nil {
				text = tt.text(text)
			}
			msg, err := note.Sign(&note.Note{Text: text}, tt.signer)
			if err != nil {
				t.Fatal(err)
			}
			got, err := OpenSuccession(msg, v)
			if (err == nil) != tt.ok || tt.ok && got != good {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestLogNumber(t *testing.T) {
	for name, want := range map[string]int{"egovmon/tu-ky/log/1": 1, "egovmon/tu-ky/log/12": 12, "egovmon/tu-ky/log/0": 0, "egovmon/tu-ky/log/01": 0,
		"egovmon/tu-ky/log/-1": 0, "egovmon/tu-ky/log/": 0, "egovmon/tu-ky/plan": 0, "egovmon/khac/log/1": 0, "egovmon/tu-ky/log/1/2": 0, "egovmon/tu-ky/log/99999999": 0} {
		if n, ok := LogNumber("tu-ky", name); ok != (want > 0) || ok && n != want {
			t.Errorf("%s: %d, %v", name, n, ok)
		}
	}
}

func FuzzOpenSuccession(f *testing.F) {
	_, vkey, err := note.GenerateKey(rand.Reader, RecoveryName("tu-ky"))
	if err != nil {
		f.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("egovmon-successor/1\nold egovmon/tu-ky/log/1 7 AAAA\nnew egovmon/tu-ky/log/2\nkey k\nat 2026-11-23T01:02:03Z\nwhy x\n")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := parseSuccession(text); err == nil && s.Text() != text {
			t.Errorf("%q is read as %+v", text, s)
		}
		if _, err := OpenSuccession([]byte(text), v); err == nil {
			t.Errorf("%q is believed without a signature", text)
		}
	})
}
