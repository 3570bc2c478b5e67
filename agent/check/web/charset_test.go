package web

import (
	"strings"
	"testing"
)

func TestDecodeCharset(t *testing.T) {
	for _, tt := range []struct{ name, body, kind, want string }{
		{"unsaid, UTF-8", "Tứ Kỳ", "text/html", "Tứ Kỳ"},
		{"unsaid, windows-1258", "T\xfd\xec Ky\xcc", "", "Tứ Kỳ"},
		{"header", "T\xfd\xec", "text/html; charset=CP1258", "Tứ"},
		{"header before meta", `<meta charset=utf-8>T` + "\xfd\xec", "text/html; charset=windows-1258", "<meta charset=utf-8>Tứ"},
		{"header of latin 1", "caf\xe9", "text/plain; charset=ISO-8859-1", "café"},
		{"header of a charset that is not known", "Tứ", "text/html; charset=big5", "Tứ"},
		{"mark before header", "\xef\xbb\xbfTứ", "text/html; charset=windows-1258", "Tứ"},
		{"UTF-16 by mark", "\xff\xfeT\x00\xe9\x1e", "", "\ufeffTứ"},
		{"meta, and bytes that are none of it", `<META http-equiv="Content-Type" content="text/html; charset=UTF-8">` + "T\xfd", "", `<META http-equiv="Content-Type" content="text/html; charset=UTF-8">` + "T\xfd"},
		{"meta too far away", strings.Repeat(" ", 2000) + "<meta charset=utf-8>T\xfd\xec", "", strings.Repeat(" ", 2000) + "<meta charset=utf-8>Tứ"},
		{"composed", "Tu\u031b\u0301", "text/html; charset=utf-8", "Tứ"},
	} {
		if got := string(Decode([]byte(tt.body), tt.kind)); got != tt.want {
			t.Errorf("%s: %.60q, want %.60q", tt.name, got, tt.want)
		}
	}
}
