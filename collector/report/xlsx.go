package report

import (
	"archive/zip"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"

	"egovmon/agent/check"
	"egovmon/agent/words"
	"egovmon/collector/history"
)

// maxRows is the most rows of one sheet; a year of a district has a few thousand.
const maxRows = 20000

// XLSX writes the Model as a workbook of three sheets: figures, outages, and what they rest on. Shares, seconds and
// instants are numbers with a format; every text is a cell of the text type, so that nothing in it is ever a formula.
func XLSX(m Model, l words.Lang) ([]byte, error) { return xlsx(m, l, maxRows) }

// xlsx is XLSX with sheets of so many rows.
func xlsx(m Model, l words.Lang, rows int) (data []byte, err error) {
	f := excelize.NewFile()
	defer func() { err = errors.Join(err, f.Close()) }()
	b := &workbook{f: f, l: l, m: m, rows: rows}
	if err := b.write(); err != nil {
		return nil, fmt.Errorf("report: workbook: %w", err)
	}
	var buf bytes.Buffer
	if err := f.Write(&buf); err != nil {
		return nil, fmt.Errorf("report: workbook: %w", err)
	}
	return repack(buf.Bytes())
}

// A workbook is an XLSX in the making.
type workbook struct {
	f *excelize.File
	l words.Lang
	m Model

	rows   int // most of a sheet
	tables int

	head, text, bold, ratio, when, span, count int // styles
}

// Widths of a column, in letters.
const (
	narrow = 14
	medium = 22
	wide   = 44
)

func (b *workbook) write() error {
	if err := b.styles(); err != nil {
		return err
	}
	names := []string{words.Say(b.l, "report.sheet.figures"), words.Say(b.l, "report.sheet.outages"), words.Say(b.l, "report.sheet.sources")}
	if err := b.f.SetSheetName("Sheet1", names[0]); err != nil {
		return err
	}
	if b.m.Edition > 0 {
		names = append(names, words.Say(b.l, "report.sheet.counters"), words.Say(b.l, "report.sheet.layers"))
	}
	for _, n := range names[1:] {
		if _, err := b.f.NewSheet(n); err != nil {
			return err
		}
	}
	if err := b.f.SetDocProps(&excelize.DocProperties{Creator: "egovmon", LastModifiedBy: "egovmon", Title: subject(b.l, b.m),
		Created: b.m.Generated.Format(time.RFC3339), Modified: b.m.Generated.Format(time.RFC3339), Language: string(b.l)}); err != nil {
		return err
	}
	err := errors.Join(b.figures(names[0]), b.outages(names[1]), b.sources(names[2]))
	if b.m.Edition > 0 {
		err = errors.Join(err, b.counters(names[3]), b.layers(names[4]))
	}
	return err
}

func (b *workbook) say(key string, args ...any) string { return words.Say(b.l, key, args...) }

func (b *workbook) styles() error {
	font := &excelize.Font{Family: "Times New Roman", Size: 12}
	head := &excelize.Font{Family: "Times New Roman", Size: 12, Bold: true}
	var errs []error
	style := func(s excelize.Style) int {
		if s.Font == nil {
			s.Font = font
		}
		id, err := b.f.NewStyle(&s)
		errs = append(errs, err)
		return id
	}
	b.text = style(excelize.Style{NumFmt: 49, Alignment: &excelize.Alignment{Vertical: "top", WrapText: true}})
	b.bold = style(excelize.Style{NumFmt: 49, Font: head})
	b.head = style(excelize.Style{NumFmt: 49, Font: head, Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{"DDE6F0"}},
		Alignment: &excelize.Alignment{Horizontal: "center", Vertical: "center", WrapText: true}})
	b.ratio = style(excelize.Style{CustomNumFmt: new(`0.00\ %`)})
	b.when = style(excelize.Style{CustomNumFmt: new(`dd/mm/yyyy\ hh:mm:ss`)})
	b.span = style(excelize.Style{CustomNumFmt: new(`[h]:mm:ss`)})
	b.count = style(excelize.Style{NumFmt: 3})
	return errors.Join(errs...)
}

// A table is a sheet with a title, a heading that stays in sight, and rows.
type table struct {
	w    *excelize.StreamWriter
	next int // row
	most int
	left int // rows that were left out
	name string
	wide int // columns
}

func (b *workbook) table(sheet string, title string, heads []string, widths []float64) (*table, error) {
	w, err := b.f.NewStreamWriter(sheet)
	if err != nil {
		return nil, err
	}
	for i, width := range widths {
		if err := w.SetColWidth(i+1, i+1, width); err != nil {
			return nil, err
		}
	}
	if err := w.SetPanes(&excelize.Panes{Freeze: true, YSplit: 3, TopLeftCell: "A4", ActivePane: "bottomLeft"}); err != nil {
		return nil, err
	}
	b.tables++
	t := &table{w: w, next: 1, most: b.rows, name: fmt.Sprintf("bang_%d", b.tables), wide: len(heads)}
	cells := make([]any, len(heads))
	for i, h := range heads {
		cells[i] = excelize.Cell{StyleID: b.head, Value: h}
	}
	err = errors.Join(t.put(b.cell(b.bold, title)), t.put(b.cell(b.text, days(b.l, b.m.From, b.m.To))), t.put(cells...))
	return t, err
}

func (t *table) put(cells ...any) error {
	if t.next > t.most {
		t.left++
		return nil
	}
	err := t.w.SetRow(fmt.Sprintf("A%d", t.next), cells)
	t.next++
	return err
}

// headRow is the row of the headings.
const headRow = 3

// end finishes the sheet, whose columns people can filter; what did not fit is said in its last row.
func (b *workbook) end(t *table) error {
	if b.m.Edition > 0 && t.next > headRow+1 {
		last, err := excelize.CoordinatesToCellName(t.wide, t.next-1)
		if err == nil {
			err = t.w.AddTable(&excelize.Table{Range: fmt.Sprintf("A%d:%s", headRow, last), Name: t.name, ShowRowStripes: new(false)})
		}
		if err != nil {
			return err
		}
	}
	if t.left > 0 {
		if err := t.w.SetRow(fmt.Sprintf("A%d", t.next), []any{b.cell(b.bold, b.say("report.leftout", t.left))}); err != nil {
			return err
		}
	}
	return t.w.Flush()
}

func (b *workbook) cell(style int, s string) excelize.Cell {
	return excelize.Cell{StyleID: style, Value: clean(s)}
}

func (b *workbook) str(s string) excelize.Cell { return b.cell(b.text, s) }

// share is a cell with a share; without data it says so in words.
func (b *workbook) share(v *float64) excelize.Cell {
	if v == nil {
		return b.str(b.say("figures.none"))
	}
	return excelize.Cell{StyleID: b.ratio, Value: words.ShareDown(*v)}
}

// seconds is a cell with a stretch of time, in days as workbooks count them.
func (b *workbook) seconds(n int64) excelize.Cell {
	return excelize.Cell{StyleID: b.span, Value: float64(n) / 86400}
}

// at is a cell with an instant of Vietnam, in days from 1899-12-30.
func (b *workbook) at(t time.Time) excelize.Cell {
	_, offset := t.In(words.Zone()).Zone()
	return excelize.Cell{StyleID: b.when, Value: float64(t.Unix()+int64(offset))/86400 + 25569}
}

func (b *workbook) heads(key string) []string { return strings.Split(b.say(key), "\t") }

func (b *workbook) figures(sheet string) error {
	heads := b.heads("report.head.figures")
	widths := []float64{wide, medium, narrow, narrow, narrow, narrow, narrow, narrow, narrow, narrow, narrow, narrow, narrow, narrow, medium, medium, narrow, narrow}
	if b.m.Edition > 0 {
		heads, widths = append(heads, b.heads("report.head.figures.more")...), append(widths, narrow, narrow, medium, wide)
	}
	t, err := b.table(sheet, subject(b.l, b.m), heads, widths)
	if err != nil {
		return err
	}
	rows := 0
	for _, r := range b.m.Rows {
		for _, c := range r.Calendars {
			rows++
			if err := t.put(b.figureRow(r, c)...); err != nil {
				return err
			}
		}
	}
	if rows == 0 {
		if err := t.put(b.str(b.say("figures.none"))); err != nil {
			return err
		}
	}
	return b.end(t)
}

func (b *workbook) figureRow(r Row, c history.Counted) []any {
	a := c.Account
	cells := []any{b.str(r.Name), b.str(scope(b.l, r)), b.str(calendarName(b.l, c.Calendar)), b.share(c.Figures.Lower), b.share(c.Figures.Upper),
		b.share(c.Figures.Coverage), b.seconds(a.Up + a.Degraded), b.seconds(a.Degraded), b.seconds(a.Down), b.seconds(a.Unknown), b.seconds(a.Excluded),
		excelize.Cell{StyleID: b.count, Value: len(r.Outages)}}
	if target, ok := r.Target(c.Calendar); ok {
		cells = append(cells, b.share(&target.Objective), b.str(verdictName(b.l, target.Verdict)), b.str(target.Basis))
	} else {
		cells = append(cells, b.str(""), b.str(b.say("report.notarget")), b.str(""))
	}
	cells = append(cells, b.str(causes(b.l, r, a)))
	if c.Afterwards != nil {
		cells = append(cells, b.share(c.Afterwards.Figures.Lower), b.share(c.Afterwards.Figures.Upper))
	}
	if b.m.Edition > 0 {
		if c.Afterwards == nil {
			cells = append(cells, b.str(""), b.str(""))
		}
		way, before := r.Compare(c)
		if way == NoBefore {
			before = history.Figures{}
		}
		cells = append(cells, b.share(before.Lower), b.share(before.Upper), b.str(trendName(b.l, way)), b.str(r.Owner))
	}
	return cells
}

// causes names the reasons of an account's seconds that are not up, the longest first.
func causes(l words.Lang, row Row, a history.Account) string {
	var list []string
	for _, r := range longest(a) {
		list = append(list, cause(l, row, r)+" "+words.Clocked(a.Causes[r]))
	}
	return strings.Join(list, "; ")
}

// cause names a reason of a row. Of a service as a whole, seconds that no plan covered are also those in which fewer units
// were planned, or measured, than its quorum asks for.
func cause(l words.Lang, row Row, r check.Reason) string {
	if r == check.NotPlanned && row.Unit == "" && row.Check == "" {
		return words.Say(l, "report.few")
	}
	return words.Reason(l, r).Title
}

func (b *workbook) outageHeads() []string {
	heads := b.heads("report.head.outages")
	if b.m.Edition > 0 {
		more := b.heads("report.head.owned")
		heads = append(heads, more[len(more)-1])
	}
	return heads
}

// counters is how long the one-stop-shop counters were ready.
func (b *workbook) counters(sheet string) error {
	t, err := b.table(sheet, b.say("report.counters"), b.heads("report.head.countersheet"), []float64{wide, medium, narrow, narrow, narrow, narrow, narrow, narrow})
	if err != nil {
		return err
	}
	for _, c := range b.m.Counters {
		f := counterFigures(c.Seconds)
		if err := t.put(b.str(c.UnitName), b.str(calendarName(b.l, c.Calendar)), b.share(f.Lower), b.share(f.Upper), b.seconds(c.Seconds.Ready), b.seconds(c.Seconds.Limited),
			b.seconds(c.Seconds.Stopped), b.seconds(c.Seconds.Unclear)); err != nil {
			return err
		}
	}
	if len(b.m.Counters) == 0 {
		if err := t.put(b.str(b.say("report.nocounter"))); err != nil {
			return err
		}
	}
	return b.end(t)
}

// layers is how the controls of the four layers stand.
func (b *workbook) layers(sheet string) error {
	t, err := b.table(sheet, b.say("report.part.layers"), b.heads("report.head.layersheet"), []float64{wide, medium, medium, narrow})
	if err != nil {
		return err
	}
	for _, x := range b.m.Layers {
		for _, part := range []struct {
			how    string
			states map[string]int
		}{{"control.measured", x.Measured}, {"control.attested", x.Attested}} {
			for _, s := range slices.Sorted(maps.Keys(part.states)) {
				if err := t.put(b.str(layerName(b.l, x.Layer)), b.str(b.say(part.how)), b.str(b.say("control."+s)), excelize.Cell{StyleID: b.count, Value: part.states[s]}); err != nil {
					return err
				}
			}
		}
	}
	if len(b.m.Layers) == 0 {
		if err := t.put(b.str(b.say("report.nolayers"))); err != nil {
			return err
		}
	}
	return b.end(t)
}

func (b *workbook) outages(sheet string) error {
	t, err := b.table(sheet, b.say("report.outages"), b.outageHeads(), []float64{wide, medium, medium, medium, narrow, narrow, wide, narrow, wide})
	if err != nil {
		return err
	}
	rows := 0
	for _, r := range b.m.Rows {
		for _, o := range r.Outages {
			rows++
			state := ""
			if o.Ongoing {
				state = b.say("report.ongoing")
			}
			cells := []any{b.str(r.Name), b.str(scope(b.l, r)), b.at(o.From), b.at(o.To), b.seconds(int64(o.To.Sub(o.From) / time.Second)), b.seconds(o.Down),
				b.str(words.Reason(b.l, o.Reason).Title), b.str(state)}
			if b.m.Edition > 0 {
				cells = append(cells, b.str(r.Owner))
			}
			if err := t.put(cells...); err != nil {
				return err
			}
		}
	}
	if rows == 0 {
		if err := t.put(b.str(b.say("report.nooutage"))); err != nil {
			return err
		}
	}
	return b.end(t)
}

func (b *workbook) sources(sheet string) error {
	t, err := b.table(sheet, b.say("report.sources"), b.heads("report.head.sources"), []float64{wide, wide, medium, medium})
	if err != nil {
		return err
	}
	m := b.m
	pairs := [][2]string{{"report.rule", m.Rule}, {"report.counted", words.DateTime(b.l, m.Counted)}, {"report.generated", words.DateTime(b.l, m.Generated)},
		{"report.log.origin", m.Log.Origin}, {"report.log.size", words.Number(b.l, m.Leaves)}, {"report.log.root", m.Root}, {"report.log.key", m.Log.Key}}
	if len(m.Missing) > 0 {
		pairs = append(pairs, [2]string{"report.missing", years(m.Missing)})
	}
	for _, p := range pairs {
		if err := t.put(b.str(b.say(p[0])), b.str(p[1])); err != nil {
			return err
		}
	}
	for line := range strings.Lines(m.Log.Checkpoint) {
		if err := t.put(b.str(b.say("report.log.checkpoint")), b.str(line)); err != nil {
			return err
		}
	}
	for _, c := range m.Changes {
		if err := t.put(b.str(b.say("report.change", typeName(b.l, c.Type), c.What)), b.str(changeTime(b.l, c)), b.str(b.say("report.leaf", c.Leaf))); err != nil {
			return err
		}
	}
	return b.end(t)
}

func years(list []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]")
}

// repack writes a zip anew with its files in the order of their names and without times, so that equal content is equal
// bytes.
func repack(data []byte) ([]byte, error) {
	in, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	files := slices.Clone(in.File)
	slices.SortFunc(files, func(a, b *zip.File) int { return cmp.Compare(a.Name, b.Name) })
	var parts []part
	for _, f := range files {
		r, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("report: %s: %w", f.Name, err)
		}
		content, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, fmt.Errorf("report: %s: %w", f.Name, err)
		}
		parts = append(parts, part{f.Name, content})
	}
	return pack(parts)
}

// A part is one file of a document.
type part struct {
	name string
	data []byte
}

// pack makes a zip of parts. It holds no time: the same parts give the same bytes.
func pack(parts []part) ([]byte, error) {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, p := range parts {
		w, err := z.CreateHeader(&zip.FileHeader{Name: p.name, Method: zip.Deflate})
		if err == nil {
			_, err = w.Write(p.data)
		}
		if err != nil {
			return nil, fmt.Errorf("report: %s: %w", p.name, err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return buf.Bytes(), nil
}
