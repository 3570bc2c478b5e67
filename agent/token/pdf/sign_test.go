package pdf

import (
	"bytes"
	"os"
	"testing"
	"time"
)

func TestRoundTrip(t *testing.T) {
	data, err := os.ReadFile("../document.pdf")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(data)
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Prepare(4096, time.Unix(1_800_000_000, 0), "Nguyễn Văn A", "kiểm tra")
	if err != nil {
		t.Fatal(err)
	}
	var before bytes.Buffer
	p.Hash(&before)
	out, err := p.Complete([]byte{0x30, 3, 2, 1, 5})
	if err != nil {
		t.Fatal(err)
	}
	if d, err = Open(out); err != nil {
		t.Fatal(err)
	}
	if out, err = d.Secure([][]byte{{1}}, [][]byte{{2}, {3}}, nil); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(out); err != nil {
		t.Fatal(err)
	}
	f, err := d.Find()
	if err != nil {
		t.Fatal(err)
	}
	var after bytes.Buffer
	f.Hash(&after)
	if !bytes.Equal(before.Bytes(), after.Bytes()) || !f.Gap || !bytes.Equal(f.CMS, []byte{0x30, 3, 2, 1, 5}) || f.Signed.Unix() != 1_800_000_000 || len(f.OCSPs) != 2 {
		t.Errorf("%+v", f.CMS)
	}
}

func TestParseDate(t *testing.T) {
	for text, want := range map[string]int64{
		"(D:20261123100000Z)": 1795428000, "(D:20261123170000+07'00')": 1795428000, "(D:20261123170000+07'00)": 1795428000, "(D:20261123100000Z00'00')": 1795428000,
		"(D:20261123100000)": 1795428000, "(2026)": 0, "": 0,
	} {
		got := parseDate(text)
		if want == 0 && !got.IsZero() || want != 0 && got.Unix() != want {
			t.Errorf("%s: %v, want %d", text, got.Unix(), want)
		}
	}
}
