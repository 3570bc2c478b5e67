package report

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"egovmon/agent/check"
	"egovmon/agent/words"
	"egovmon/collector/history"
)

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if rewrite := flag.Lookup("update"); rewrite != nil && rewrite.Value.String() == "true" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; rewrite it with -update):\n%s", name, diff)
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite the golden files")
	flag.Parse()
	os.Exit(m.Run())
}

func TestDraftIsAsWritten(t *testing.T) {
	m := sample(t)
	golden(t, "document.xml", body(m))
	text := plain(t, body(m))
	for _, want := range []string{
		"CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM", "Độc lập - Tự do - Hạnh phúc", "ỦY BAN NHÂN DÂN HUYỆN TỨ KỲ", "PHÒNG VĂN HÓA VÀ THÔNG TIN",
		"Số: ……/BC-VHTT", "ngày …… tháng …… năm 2026", "BÁO CÁO", "quý III năm 2026", "từ ngày 15/06/2026 đến hết ngày 14/09/2026",
		"99,47\u00a0%", "98,79\u00a0% – 99,88\u00a0%", "08:30:00 02/07/2026", "Máy chủ từ chối kết nối", "Ký số: không có số liệu", "./.", "Nơi nhận:", "- UBND huyện;", "- Lưu: VT.",
		"đạt 1, không đạt 1, chưa đủ số liệu để kết luận 2", "Độ phủ số liệu chung",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the draft does not say %q", want)
		}
	}
}

// body is word/document.xml in Vietnamese.
func body(m Model) []byte {
	w := &word{}
	newDraft(m, words.VI, w).write()
	return w.body()
}

// plain returns the text of a document, and fails on what is not XML.
func plain(t *testing.T, doc []byte) string {
	t.Helper()
	var b strings.Builder
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := tok.(xml.CharData); ok {
			b.Write(c)
		}
	}
}

func TestSameModelSameBytes(t *testing.T) {
	for _, f := range []struct {
		name string
		make func(Model) ([]byte, error)
	}{
		{"json", JSON},
		{"docx", func(m Model) ([]byte, error) { return DOCX(m, words.VI) }},
		{"xlsx", func(m Model) ([]byte, error) { return XLSX(m, words.VI) }},
		{"pdf", func(m Model) ([]byte, error) { return PDF(m, words.VI) }},
		{"csv", CSV},
	} {
		t.Run(f.name, func(t *testing.T) {
			first, err := f.make(full(t))
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				again, err := f.make(full(t))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(first, again) {
					t.Fatal("the same model gave other bytes")
				}
			}
			changed := full(t)
			changed.Rows[0].Name += "!"
			if other, err := f.make(changed); err != nil || bytes.Equal(first, other) {
				t.Errorf("another model gave the same bytes (%v)", err)
			}
		})
	}
}

func TestWorkbookReadsBack(t *testing.T) {
	data, err := XLSX(sample(t), words.VI)
	if err != nil {
		t.Fatal(err)
	}
	f := openBook(t, data)
	if diff := cmp.Diff([]string{"Tính sẵn sàng", "Gián đoạn", "Nguồn số liệu"}, f.GetSheetList()); diff != "" {
		t.Error(diff)
	}
	rows, err := f.GetRows("Tính sẵn sàng", excelize.Options{RawCellValue: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 3+5 {
		t.Fatalf("%d rows, want title, period, heading and 5", len(rows))
	}
	want := []string{"Cổng TTĐT huyện", "Toàn địa bàn", "24/7", "0.9879", "0.9988", "0.9891"}
	if diff := cmp.Diff(want, rows[3][:6]); diff != "" {
		t.Error(diff)
	}
	if got := rows[7][3]; got != "0" {
		t.Errorf("a service of which nothing is known is up at least %q", got)
	}
	raw, err := f.GetCellValue("Gián đoạn", "C4", excelize.Options{RawCellValue: true})
	if err != nil || raw != "46205.3541666666" {
		t.Errorf("the outage begins at %q (%v), want the serial of 2026-07-02 08:30", raw, err)
	}
	if got, _ := f.GetCellValue("Gián đoạn", "E4"); got != "2:30:00" {
		t.Errorf("the outage lasted %q", got)
	}
	panes, err := f.GetPanes("Tính sẵn sàng")
	if err != nil || !panes.Freeze || panes.YSplit != 3 {
		t.Errorf("the heading does not stay: %+v %v", panes, err)
	}
}

// TestWorkbookOfThisEdition has what the first one had not: filters, the period before, counters and layers.
func TestWorkbookOfThisEdition(t *testing.T) {
	data, err := XLSX(full(t), words.VI)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, "report.xlsx", data)
	f := openBook(t, data)
	want := []string{"Tính sẵn sàng", "Gián đoạn", "Nguồn số liệu", "Quầy một cửa", "4 lớp"}
	if diff := cmp.Diff(want, f.GetSheetList()); diff != "" {
		t.Fatal(diff)
	}
	for _, s := range want {
		tables, err := f.GetTables(s)
		if err != nil || len(tables) != 1 || !strings.HasPrefix(tables[0].Range, "A3:") {
			t.Errorf("%s has the filters %+v, %v", s, tables, err)
		}
	}
	for cell, want := range map[string]string{"Tính sẵn sàng!S4": "98.72% ", "Tính sẵn sàng!U4": "Tăng", "Tính sẵn sàng!V4": "Phòng Văn hóa và Thông tin", "Gián đoạn!I4": "Phòng Văn hóa và Thông tin",
		"Quầy một cửa!E4": "469:43:20", "4 lớp!C4": "Không đạt"} {
		sheet, at, _ := strings.Cut(cell, "!")
		if got, err := f.GetCellValue(sheet, at); err != nil || got != want {
			t.Errorf("%s is %q, want %q (%v)", cell, got, want, err)
		}
	}
}

func openBook(t *testing.T, data []byte) *excelize.File {
	t.Helper()
	f, err := excelize.OpenReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// TestHostileText puts what an attacker may have had recorded into every text, and wants it back as text.
func TestHostileText(t *testing.T) {
	for _, evil := range []string{
		`=HYPERLINK("http://evil.example","x")`, "+1+1", "-2+3|cmd", "@SUM(A1)", `</w:t></w:r><w:p>`, `"><script>&amp;]]>`, "_x0041_",
		strings.Repeat("dài ", 2000), "a\x00b\x1bc\u202ed\ufffe", "\xff\xfe",
	} {
		m := sample(t)
		m.Rows[0].Name, m.Rows[1].UnitName, m.District = evil, evil, evil
		m.Issuer = Issuer{evil, evil, evil, []string{evil}, evil}
		m.Changes[0].What, m.Changes[0].Type, m.Log.Origin, m.Root, m.Rule = evil, evil, evil, evil, evil
		m.Rows[0].Outages[0].Reason = check.Reason(evil)
		m.Rows[0].Targets[0].Basis = evil
		text := plain(t, body(m))
		if !strings.Contains(text, clean(evil)) {
			t.Errorf("%q is not in the draft as it is", evil)
		}
		if strings.Count(string(body(m)), "<w:p>") != strings.Count(string(body(sample(t))), "<w:p>")-1 { // one recipient instead of two
			t.Errorf("%q changed the structure of the draft", evil)
		}
		data, err := XLSX(m, words.VI)
		if err != nil {
			t.Fatal(err)
		}
		f := openBook(t, data)
		for _, sheet := range f.GetSheetList() {
			rows, err := f.GetRows(sheet)
			if err != nil {
				t.Fatal(err)
			}
			for y, row := range rows {
				for x := range row {
					cell, _ := excelize.CoordinatesToCellName(x+1, y+1)
					if formula, _ := f.GetCellFormula(sheet, cell); formula != "" {
						t.Errorf("%s!%s is a formula: %s", sheet, cell, formula)
					}
				}
			}
		}
		if got, _ := f.GetCellValue("Tính sẵn sàng", "A4"); got != clean(evil) {
			t.Errorf("%q became %q", evil, got)
		}
		id, _ := f.GetCellStyle("Tính sẵn sàng", "A4")
		if s, err := f.GetStyle(id); err != nil || s.NumFmt != 49 {
			t.Errorf("the cell is not of the text type, so that editing it could make a formula of it: %+v %v", s, err)
		}
	}
}

func TestEmptyPeriod(t *testing.T) {
	m := sample(t)
	m.Rows, m.Changes = nil, nil
	text := plain(t, body(m))
	for _, want := range []string{"không có số liệu", "Không có số liệu.", "Không ghi nhận lần gián đoạn nào trong thời gian có số liệu."} {
		if !strings.Contains(text, want) {
			t.Errorf("the draft does not say %q", want)
		}
	}
	data, err := XLSX(m, words.VI)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := openBook(t, data).GetCellValue("Tính sẵn sàng", "A4"); got != "không có số liệu" {
		t.Errorf("the workbook says %q", got)
	}
}

// TestUnknownIsNeitherUpNorDown has a service of which nothing is known, and one that was excluded all the time.
func TestUnknownIsNeitherUpNorDown(t *testing.T) {
	m := sample(t)
	m.Rows = m.Rows[3:]
	text := plain(t, body(m))
	if strings.Contains(text, "100,00") || !strings.Contains(text, "- Ký số: không có số liệu (Chưa cấu hình).") {
		t.Errorf("a service that was not measured: %s", text)
	}
	if got := m.Rows[0].Targets[0].Verdict; got != Unsaid {
		t.Errorf("its target is %s", got)
	}
	gone := history.Account{Excluded: 86400}
	if f := gone.Figures(); Judge(f, 0.5) != Unsaid || words.Interval(words.VI, f.Lower, f.Upper) != "không có số liệu" {
		t.Errorf("a service that was excluded all the time: %s, %s", Judge(f, 0.5), words.Interval(words.VI, f.Lower, f.Upper))
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		a    history.Account
		want Verdict
	}{
		{"all known, exactly the objective", history.Account{Up: 995, Down: 5}, Met},
		{"all known, a second less", history.Account{Up: 994, Down: 6}, NotMet},
		{"the upper end does not reach it", history.Account{Up: 900, Down: 6, Unknown: 94}, NotMet},
		{"the objective lies inside", history.Account{Up: 990, Down: 4, Unknown: 6}, Unsaid},
		{"only the upper end reaches it", history.Account{Up: 990, Down: 5, Unknown: 5}, Unsaid},
		{"degraded counts as up", history.Account{Degraded: 995, Down: 5}, Met},
		{"nothing", history.Account{}, Unsaid},
	} {
		if got := Judge(c.a.Figures(), 0.995); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestPeriodNames(t *testing.T) {
	m := sample(t)
	for p, want := range map[string]string{"2026-Q3": "quý III năm 2026", "2026-H1": "6 tháng đầu năm 2026", "2026-9M": "9 tháng đầu năm 2026",
		"2026": "năm 2026", "2026-02": "tháng 02 năm 2026", "2026-09": "tháng 9 năm 2026", "": "từ ngày 15/06/2026 đến hết ngày 14/09/2026"} {
		m.Period = p
		if got := periodName(words.VI, m); got != want {
			t.Errorf("%q is called %q, want %q", p, got, want)
		}
	}
}

func TestJSONReadsBack(t *testing.T) {
	m := sample(t)
	b, err := JSON(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := Read(strings.NewReader(`{"version":"egovmon-report/2"}`)); err == nil {
		t.Error("a newer version was read")
	}
	var flat struct {
		Rows []history.Row `json:"rows"`
	}
	if err := json.Unmarshal(b, &flat); err != nil || flat.Rows[0].Service != "cong_h" || len(flat.Rows[0].Outages) != 1 {
		t.Errorf("the rows are not those of history: %v %+v", err, flat.Rows)
	}
}

func TestRowsAreBounded(t *testing.T) {
	m := sample(t)
	o := m.Rows[0].Outages[0]
	m.Rows[0].Outages = nil
	const most = 300
	for range most + 10 {
		m.Rows[0].Outages = append(m.Rows[0].Outages, o)
	}
	data, err := xlsx(m, words.VI, most)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := openBook(t, data).GetRows("Gián đoạn")
	if err != nil || len(rows) != most+1 || !strings.HasPrefix(rows[most][0], "Còn 14 dòng") {
		t.Errorf("%d rows, the last %q, %v", len(rows), rows[len(rows)-1], err)
	}
	if n := strings.Count(string(body(m)), "Máy chủ từ chối kết nối"); n != maxOutages {
		t.Errorf("the draft shows %d outages", n)
	}
}

// TestLibreOfficeOpensIt has a real word processor read the draft.
func TestLibreOfficeOpensIt(t *testing.T) {
	office, err := exec.LookPath("soffice")
	if err != nil {
		t.Skip("LibreOffice is missing: apt-get install libreoffice-writer-nogui to have it open the draft")
	}
	data, err := DOCX(full(t), words.VI)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, "report.docx", data)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "draft.docx"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, office, "--headless", "-env:UserInstallation=file://"+dir+"/profile", "--convert-to", "txt:Text (encoded):UTF8", "--outdir", dir, filepath.Join(dir, "draft.docx"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "draft.txt"))
	if err != nil || !strings.Contains(string(text), "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM") {
		t.Errorf("LibreOffice reads %.300q, %v", text, err)
	}
}

// TestPartsAreXML reads every part of the draft.
func TestPartsAreXML(t *testing.T) {
	data, err := DOCX(sample(t), words.VI)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if z.File[0].Name != "[Content_Types].xml" {
		t.Errorf("the first part is %s", z.File[0].Name)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		plain(t, b)
	}
}
