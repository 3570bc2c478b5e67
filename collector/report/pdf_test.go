package report

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/words"
	"egovmon/collector/history"
)

// full is sample with all that this edition says.
func full(t testing.TB) Model {
	t.Helper()
	m := sample(t)
	m.Edition, m.Root = ThisEdition, strings.Repeat("00ff", 16)
	m.Before = &Stretch{Period: "2026-Q2", From: day(2026, 3, 15), To: day(2026, 6, 15)}
	worse := history.Account{Up: 7800000, Down: 100000, Unknown: 1000}.Figures()
	for i := range m.Rows {
		m.Rows[i].Owner = "Phòng Văn hóa và Thông tin"
		if m.Rows[i].measured() {
			m.Rows[i].Previous = []Before{{history.Hours24x7, worse}}
		}
	}
	const hours = 1700000
	m.Counters = []Counter{
		{Unit: "an-thanh", UnitName: "Xã An Thanh", Calendar: history.ServiceHours, Seconds: history.CounterSum{Ready: hours - 9000, Limited: 3600, Stopped: 1800, Unclear: 3600}},
		{Unit: "tu-ky", UnitName: "Thị trấn Tứ Kỳ", Calendar: history.ServiceHours, Seconds: history.CounterSum{Unclear: hours}},
	}
	for n := range 4 {
		m.Layers = append(m.Layers, Layers{n + 1, map[string]int{"pass": 40 + n, "fail": 2}, map[string]int{"missing": 3}})
	}
	m.LayersAt = m.Generated
	m.Reform = []Joined{{Service: "cong_h", Name: "Cổng TTĐT huyện", Unit: "xa-tan-ky", UnitName: "Xã Tân Kỳ", Calendar: history.Hours24x7, From: []string{"dai-hop", "hung-dao"},
		FromNames: []string{"Xã Đại Hợp", "Xã Hưng Đạo"}, Parts: true, Account: history.Account{Up: 100, Down: 1}}}
	return m
}

// big is a district of so many services, each in 24 units, with long names and many outages.
func big(t testing.TB, services int) Model {
	t.Helper()
	m := full(t)
	m.Rows = nil
	for i := range services {
		a := history.Account{Up: 7900000 - int64(i)*20000, Degraded: int64(i) * 1000, Down: int64(i) * 9000, Unknown: 40000, Causes: map[check.Reason]int64{check.Timeout: int64(i) * 9000, check.Silent: 40000}}
		for u := range 25 {
			r := Row{Row: history.Row{Service: fmt.Sprintf("s%02d", i), From: m.From, To: m.To, Calendars: []history.Counted{counted(history.Hours24x7, a), counted(history.ServiceHours, a)}},
				Name: fmt.Sprintf("Hệ thống thông tin giải quyết thủ tục hành chính, phân hệ số %d", i), Owner: "Văn phòng Hội đồng nhân dân và Ủy ban nhân dân"}
			if u > 0 {
				r.Unit, r.UnitName = fmt.Sprintf("u%02d", u), fmt.Sprintf("Xã Quảng Nghiệp %d", u)
			}
			for k := range i % 9 {
				from := m.From.AddDate(0, 0, 10*k+i%7).Add(8 * time.Hour)
				r.Outages = append(r.Outages, history.Outage{From: from, To: from.Add(time.Duration(k+1) * 7 * time.Hour), Down: int64(k+1) * 25200, Reason: check.TLSUntrusted})
			}
			for _, c := range r.Calendars {
				r.Targets = append(r.Targets, Target{c.Calendar, 0.995, "mục tiêu nội bộ", Judge(c.Figures, 0.995)})
			}
			r.Previous = []Before{{history.Hours24x7, history.Account{Up: 99, Down: 1}.Figures()}}
			m.Rows = append(m.Rows, r)
		}
	}
	return m
}

// keep writes a document to where -artifacts keeps it for a look.
func keep(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.ArtifactDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func poppler(t *testing.T, name string, args ...string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is missing: apt-get install poppler-utils", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %.300s", name, err, out)
	}
	return string(out)
}

// TestPDFIsReadable has another program read the PDF: its text, its fonts and its pages.
func TestPDFIsReadable(t *testing.T) {
	data, err := PDF(full(t), words.VI)
	if err != nil {
		t.Fatal(err)
	}
	path := keep(t, "report.pdf", data)
	text := strings.Join(strings.Fields(poppler(t, "pdftotext", path, "-")), " ")
	for _, want := range []string{
		"CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM", "Độc lập - Tự do - Hạnh phúc", "ỦY BAN NHÂN DÂN HUYỆN TỨ KỲ", "PHÒNG VĂN HÓA VÀ THÔNG TIN", "Số: ……/BC-VHTT",
		"quý III năm 2026", "98,79 % – 99,88 %", "Máy chủ từ chối", "trên địa bàn huyện Tứ Kỳ", "III. SO VỚI KỲ TRƯỚC", "Tăng", "V. QUẦY MỘT CỬA SẴN SÀNG", "VI. BẢO ĐẢM AN TOÀN THÔNG TIN THEO MÔ HÌNH 4 LỚP",
		"Xã Đại Hợp, Xã Hưng", "Biểu đồ 1.", "Biểu đồ 2.", "egovmon/tu-ky/log/1 1234 00ff00ff", "Nơi nhận:", "- Lưu: VT.", "./.",
	} {
		if !strings.Contains(text, strings.Join(strings.Fields(want), " ")) {
			t.Errorf("the PDF does not say %q", want)
		}
	}
	info := poppler(t, "pdfinfo", path)
	for _, want := range []string{"A4", "Sep 15", "egovmon", "Tính sẵn sàng"} {
		if !strings.Contains(info, want) {
			t.Errorf("pdfinfo does not say %q:\n%s", want, info)
		}
	}
	for line := range strings.Lines(poppler(t, "pdffonts", path)) {
		if strings.Contains(line, "Liberation") && (!strings.Contains(line, "yes yes yes") && !strings.Contains(line, "yes no  yes")) {
			t.Errorf("a font is not embedded: %s", line)
		}
	}
	if len(data) > 400<<10 {
		t.Errorf("%d bytes: the fonts are not cut to what is used", len(data))
	}
}

// TestPDFOfMuch has a district of 40 services on as many pages as it takes; nothing may stand outside the margins.
func TestPDFOfMuch(t *testing.T) {
	m := big(t, 40)
	m.Rows[0].Name = strings.Repeat("A", 400)
	m.Log.Origin = strings.Repeat("x", 300)
	data, err := PDF(m, words.VI)
	if err != nil {
		t.Fatal(err)
	}
	path := keep(t, "big.pdf", data)
	boxes := poppler(t, "pdftotext", "-bbox", path, "-")
	n := 0
	for line := range strings.Lines(boxes) {
		var x, y, right, bottom float64
		if _, err := fmt.Sscanf(strings.TrimSpace(line), `<word xMin="%f" yMin="%f" xMax="%f" yMax="%f">`, &x, &y, &right, &bottom); err != nil {
			continue
		}
		n++
		if x < 84.5 || right > 553.5 || y < 28 || bottom > 790 {
			t.Errorf("outside the margins: %.120s", line)
		}
	}
	if n < 1000 {
		t.Errorf("%d words", n)
	}
}

// TestHostilePDF puts what nobody expects into every text.
func TestHostilePDF(t *testing.T) {
	for _, evil := range []string{"", " ", "😀 \U0010ffff 漢字 \u200b", ") Tj ET (", `\)\(\\`, strings.Repeat("dài ", 2000), strings.Repeat("x", 5000), "\xff\xfe", "a\x00b"} {
		m := full(t)
		m.Rows[0].Name, m.District, m.Log.Origin, m.Root, m.Rule = evil, evil, evil, evil, evil
		m.Issuer = Issuer{evil, evil, evil, []string{evil}, evil}
		m.Counters[0].UnitName, m.Reform[0].FromNames, m.Rows[0].Owner = evil, []string{evil}, evil
		m.Changes[0].What = evil
		m.Rows[0].Calendars[0].Account = history.Account{Up: -5, Down: -1}
		data, err := PDF(m, words.VI)
		if err != nil || !bytes.HasPrefix(data, []byte("%PDF-")) {
			t.Errorf("%.20q: %v", evil, err)
		}
		if _, err := DOCX(m, words.VI); err != nil {
			t.Errorf("%.20q: %v", evil, err)
		}
	}
}

// TestCodeSaysTheLog reads what the code is made of: the words that audit verify takes.
func TestCodeSaysTheLog(t *testing.T) {
	m := full(t)
	if got, want := m.Seen(), "egovmon/tu-ky/log/1 1234 "+m.Root; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	bits, err := bitmap(m.Seen())
	if err != nil || len(bits) < 21 || len(bits) != len(bits[0]) {
		t.Fatalf("%d modules, %v", len(bits), err)
	}
	// The three finder patterns stand in its corners, inside the quiet zone of four modules.
	n := len(bits)
	for _, c := range [][2]int{{4, 4}, {4, n - 11}, {n - 11, 4}} {
		for i := range 7 {
			if !bits[c[0]][c[1]+i] || !bits[c[0]+6][c[1]+i] {
				t.Errorf("no finder pattern at %v", c)
			}
		}
	}
}

func TestTrend(t *testing.T) {
	f := func(up, down, unknown int64) history.Figures {
		return history.Account{Up: up, Down: down, Unknown: unknown}.Figures()
	}
	for _, c := range []struct {
		name        string
		before, now history.Figures
		want        Trend
	}{
		{"all known and more", f(90, 10, 0), f(95, 5, 0), Better},
		{"all known and less", f(95, 5, 0), f(90, 10, 0), Worse},
		{"the same", f(95, 5, 0), f(95, 5, 0), Alike},
		{"the intervals overlap", f(90, 5, 5), f(93, 5, 2), NoTrend},
		{"the same interval is not the same figure", f(90, 5, 5), f(90, 5, 5), NoTrend},
		{"nothing was known before", f(0, 0, 100), f(95, 5, 0), NoBefore},
		{"there was nothing before", history.Figures{}, f(95, 5, 0), NoBefore},
	} {
		if got := compare(c.before, c.now); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestCSV(t *testing.T) {
	m := full(t)
	m.Rows[0].Name = `=HYPERLINK("x")`
	b, err := CSV(m)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\r\n"), "\r\n")
	if len(lines) != 6 || !strings.HasPrefix(lines[1], `cong_h,"'=HYPERLINK(""x"")",,,24x7,0.98`) || !strings.Contains(lines[1], ",0.995,not_met,") && !strings.Contains(lines[1], ",0.995,cannot_be_said,") {
		t.Errorf("%d lines, the second %q", len(lines), lines[1])
	}
}
