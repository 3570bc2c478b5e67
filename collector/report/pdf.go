package report

import (
	"bytes"
	_ "embed" // the fonts
	"fmt"
	"strings"
	"time"

	"codeberg.org/go-pdf/fpdf"

	"egovmon/agent/words"
)

// The faces of the PDF; of each, only the letters that are used go into a file. Their licence stands beside them.
var (
	//go:embed fonts/LiberationSerif-Regular.ttf
	serif []byte
	//go:embed fonts/LiberationSerif-Bold.ttf
	serifBold []byte
	//go:embed fonts/LiberationSerif-Italic.ttf
	serifItalic []byte
	//go:embed fonts/LiberationSerif-BoldItalic.ttf
	serifBoldItalic []byte
)

// PDF writes the report for reading and printing, with charts, in the layout of the draft. Number, place, date and
// signature stay empty there, too.
func PDF(m Model, l words.Lang) ([]byte, error) {
	s := newSheet()
	s.f.SetTitle(subject(l, m), true)
	s.f.SetLang(string(l))
	s.f.SetCreationDate(m.Generated.UTC())
	s.f.SetModificationDate(m.Generated.UTC())
	newDraft(m, l, s).write()
	var b bytes.Buffer
	if err := s.f.Output(&b); err != nil {
		return nil, fmt.Errorf("report: PDF: %w", err)
	}
	return b.Bytes(), nil
}

// Lengths of the page in millimetres: A4, with the margins of Decree 30/2020, Appendix I.
const (
	pageWidth, pageHeight   = 210, 297
	marginLeft, marginRight = 30, 15
	marginTop, marginBottom = 20, 20
	textWidth               = pageWidth - marginLeft - marginRight
	pageEnd                 = pageHeight - marginBottom
	millimetre              = 1440 / 25.4 // in twips
	point                   = 25.4 / 72   // in millimetres
	lineHeight              = 1.25        // of the size of the letters
	cellPadding             = 0.8
	family                  = "LiberationSerif"
)

// A sheet is a report as pages in the making.
type sheet struct {
	f    *fpdf.Fpdf
	size float64 // of the letters, in points
}

func newSheet() *sheet {
	s := &sheet{f: fpdf.New("P", "mm", "A4", "")}
	f := s.f
	f.SetCatalogSort(true)
	f.SetCompression(true)
	f.SetProducer("egovmon", true)
	f.SetCreator("egovmon", true)
	f.SetMargins(marginLeft, marginTop, marginRight)
	f.SetAutoPageBreak(false, marginBottom)
	f.AddUTF8FontFromBytes(family, "", serif)
	f.AddUTF8FontFromBytes(family, "B", serifBold)
	f.AddUTF8FontFromBytes(family, "I", serifItalic)
	f.AddUTF8FontFromBytes(family, "BI", serifBoldItalic)
	f.SetHeaderFuncMode(func() {
		if f.PageNo() > 1 { // not on the first page
			size := s.size
			s.font("", 13)
			s.put(marginLeft, 10, textWidth, "center", fmt.Sprint(f.PageNo()))
			s.size = size
		}
	}, true)
	f.AddPage()
	return s
}

func (s *sheet) font(style string, size float64) {
	s.f.SetFont(family, style, size)
	s.size = size
}

// high is the height of a line.
func (s *sheet) high() float64 { return s.size * point * lineHeight }

// room begins a new page where less than so much is left of this one.
func (s *sheet) room(height float64) {
	if s.f.GetY()+height > pageEnd {
		s.f.AddPage()
		s.f.SetXY(marginLeft, marginTop)
	}
}

// printable is text that the fonts can show; what they cannot is shown as such.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\u00a0', r == '\u202f':
			return '\u00a0'
		case r < 0x530, r >= 0x1e00 && r < 0x2070, r >= 0x20a0 && r < 0x20c0, r >= 0x2190 && r < 0x2200, r == '≥', r == '≤', r == '×':
			return r
		}
		return '?'
	}, clean(text))
}

// put writes one line at a place and returns its height.
func (s *sheet) put(x, y, width float64, align, text string) {
	n := s.f.GetStringWidth(text)
	switch align {
	case "center":
		x += (width - n) / 2
	case "right":
		x += width - n
	}
	s.f.Text(x, y+s.size*point, text)
}

// wrap breaks a text into lines of at most width, the first one shorter by indent. Words that are wider are broken.
func (s *sheet) wrap(text string, width, indent float64) []string {
	var lines []string
	line, most := "", width-indent
	space := s.f.GetStringWidth(" ")
	used := 0.0
	flush := func() {
		lines, line, used, most = append(lines, line), "", 0, width
	}
	for w := range strings.SplitSeq(printable(text), " ") {
		n := s.f.GetStringWidth(w)
		if line != "" && used+space+n > most {
			flush()
		}
		for n > most {
			head := s.fitting(w, most)
			line, w = w[:head], w[head:]
			flush()
			n = s.f.GetStringWidth(w)
		}
		if line != "" {
			line += " "
			used += space
		}
		line += w
		used += n
	}
	return append(lines, line)
}

// fitting returns how many bytes of a word fit; at least one letter.
func (s *sheet) fitting(w string, width float64) int {
	last := 0
	for i, r := range w {
		next := i + len(string(r))
		if last > 0 && s.f.GetStringWidth(w[:next]) > width {
			break
		}
		last = next
	}
	return last
}

// justified writes a line whose words reach from margin to margin.
func (s *sheet) justified(x, y, width float64, line string) {
	list := strings.Split(line, " ")
	sum := 0.0
	for _, w := range list {
		sum += s.f.GetStringWidth(w)
	}
	if len(list) < 2 {
		s.put(x, y, width, "left", line)
		return
	}
	gap := (width - sum) / float64(len(list)-1)
	for _, w := range list {
		s.f.Text(x, y+s.size*point, w)
		x += s.f.GetStringWidth(w) + gap
	}
}

const indentFirst = 10 // of a paragraph's first line

func (s *sheet) text(t string) {
	s.font("", 14)
	s.f.SetY(s.f.GetY() + 6*point)
	lines := s.wrap(t, textWidth, indentFirst)
	for i, line := range lines {
		s.room(s.high())
		x, width := float64(marginLeft), float64(textWidth)
		if i == 0 {
			x, width = x+indentFirst, width-indentFirst
		}
		if i == len(lines)-1 {
			s.put(x, s.f.GetY(), width, "left", line)
		} else {
			s.justified(x, s.f.GetY(), width, line)
		}
		s.f.SetY(s.f.GetY() + s.high())
	}
}

func (s *sheet) section(t string) {
	s.font("B", 14)
	s.room(4 * s.high())
	s.f.SetY(s.f.GetY() + 6*point)
	for _, line := range s.wrap(t, textWidth-indentFirst, 0) {
		s.put(marginLeft+indentFirst, s.f.GetY(), textWidth, "left", line)
		s.f.SetY(s.f.GetY() + s.high())
	}
}

// column writes centred lines in a column and returns where they end.
func (s *sheet) column(x, y, width float64, style string, size float64, text string) float64 {
	s.font(style, size)
	for _, line := range s.wrap(text, width, 0) {
		s.put(x, y, width, "center", line)
		y += s.high()
	}
	return y
}

func (s *sheet) letterhead(parent, body, number, place string) {
	const left, right = 74, textWidth - 74
	const second = marginLeft + left
	y := s.column(marginLeft, marginTop, left, "", 12, strings.ToUpper(parent))
	y = s.column(marginLeft, y, left, "B", 12, strings.ToUpper(body))
	s.f.Line(marginLeft+25, y+1, marginLeft+left-25, y+1)
	z := s.column(second, marginTop, right, "B", 12, words.Say(words.VI, "report.state"))
	z = s.column(second, z, right, "B", 13, words.Say(words.VI, "report.motto"))
	s.f.Line(second+16, z+1, second+right-16, z+1)
	y = max(y, z) + 3
	a := s.column(marginLeft, y, left, "", 13, number)
	b := s.column(second, y, right, "I", 13, place)
	s.f.SetY(max(a, b))
}

func (s *sheet) title(kind, subject string) {
	y := s.column(marginLeft, s.f.GetY()+6, textWidth, "B", 14, kind)
	y = s.column(marginLeft+10, y, textWidth-20, "B", 14, strings.ReplaceAll(subject, " năm ", " năm\u00a0"))
	s.f.Line(marginLeft+63, y+1, marginLeft+textWidth-63, y+1)
	s.f.SetY(y + 3)
}

// table writes a table whose heading comes again on each page.
func (s *sheet) table(heads []string, widths []int, rows [][]string) {
	s.f.SetY(s.f.GetY() + 2)
	s.row(heads, widths, true)
	for _, r := range rows {
		if s.f.GetY()+s.rowHeight(r, widths) > pageEnd {
			s.room(pageHeight)
			s.row(heads, widths, true)
		}
		s.row(r, widths, false)
	}
	s.f.SetY(s.f.GetY() + 2)
}

// cells breaks the texts of a row into lines.
func (s *sheet) cells(row []string, widths []int, heading bool) (lines [][]string, most int) {
	style := ""
	if heading {
		style = "B"
	}
	s.font(style, 11)
	for i, c := range row {
		l := s.wrap(c, float64(widths[i])/millimetre-2*cellPadding, 0)
		lines, most = append(lines, l), max(most, len(l))
	}
	return lines, most
}

func (s *sheet) rowHeight(row []string, widths []int) float64 {
	_, n := s.cells(row, widths, false)
	return float64(n)*s.high() + 2*cellPadding
}

func (s *sheet) row(row []string, widths []int, heading bool) {
	lines, most := s.cells(row, widths, heading)
	height := float64(most)*s.high() + 2*cellPadding
	if heading {
		s.room(height + 3*s.high()) // not alone at the end of a page
	}
	x, y := float64(marginLeft), s.f.GetY()
	s.f.SetLineWidth(0.2)
	for i, l := range lines {
		width := float64(widths[i]) / millimetre
		if heading {
			s.f.SetFillColor(221, 230, 240)
			s.f.Rect(x, y, width, height, "FD")
		} else {
			s.f.Rect(x, y, width, height, "D")
		}
		align, top := "center", y+(height-float64(len(l))*s.high())/2
		if i == 0 && !heading {
			align = "left"
		}
		for _, line := range l {
			s.put(x+cellPadding, top, width-2*cellPadding, align, line)
			top += s.high()
		}
		x += width
	}
	s.f.SetY(y + height)
}

// code draws a QR code and its text.
func (s *sheet) code(caption, text string) {
	bits, err := bitmap(text)
	if err != nil {
		s.text(caption + " " + text)
		return
	}
	s.room(codeSide + 14)
	dot := float64(codeSide) / float64(len(bits))
	left, top := float64(marginLeft)+(textWidth-codeSide)/2, s.f.GetY()+2
	s.f.SetFillColor(0, 0, 0)
	for y, row := range bits {
		for x := 0; x < len(row); {
			n := 0
			for x+n < len(row) && row[x+n] {
				n++
			}
			if n > 0 {
				s.f.Rect(left+float64(x)*dot, top+float64(y)*dot, float64(n)*dot, dot, "F")
			}
			x += max(n, 1)
		}
	}
	y := s.column(marginLeft, top+codeSide, textWidth, "I", 11, caption)
	s.f.SetY(s.column(marginLeft, y, textWidth, "", 9, text))
}

func (s *sheet) sign(recipients string, lines []string, signer string) {
	const half = textWidth / 2.0
	s.room(55)
	top := s.f.GetY() + 6
	s.font("", 13)
	s.column(marginLeft+half, top, half, "B", 13, signer)
	s.font("BI", 12)
	s.put(marginLeft, top, half, "left", recipients)
	y := top + s.high()
	for _, t := range lines {
		s.font("", 11)
		for _, line := range s.wrap(t, half-4, 0) {
			if y+s.high() > pageEnd {
				s.f.AddPage()
				y = marginTop
			}
			s.put(marginLeft, y, half, "left", line)
			y += s.high()
		}
	}
	s.f.SetY(y)
}

// paint are the colours of a chart: they differ in lightness, too, for printers without colours.
var paint = [5][3]int{{198, 224, 180}, {244, 194, 76}, {176, 32, 32}, {217, 217, 217}, {189, 215, 238}}

const (
	barHeight, barGap = 4.2, 1.6
	nameWidth         = 52
	figureWidth       = 30
)

// charts draws how the seconds of each service fell, and when it was down.
func (s *sheet) charts(c charts) {
	height := func() float64 { return float64(len(c.bars))*(barHeight+barGap) + 22 }
	s.shares(c, min(height(), pageEnd-marginTop))
	down := c
	down.bars = nil
	for _, b := range c.bars {
		if len(b.outages) > 0 {
			down.bars = append(down.bars, b)
		}
	}
	if len(down.bars) > 0 && c.from.Before(c.to) {
		s.timeline(down, min(float64(len(down.bars))*(barHeight+barGap)+18, pageEnd-marginTop))
	}
}

// label writes the name of a bar, cut to its width.
func (s *sheet) label(y float64, name string) {
	s.font("", 10)
	name = printable(name)
	if n := s.fitting(name, nameWidth-6); n < len(name) {
		name = strings.TrimSpace(name[:n]) + "…"
	}
	s.put(marginLeft, y, nameWidth, "left", name)
}

func (s *sheet) shares(c charts, height float64) {
	s.room(height)
	y := s.column(marginLeft, s.f.GetY()+3, textWidth, "I", 12, c.caption) + 1
	s.font("", 10)
	x := float64(marginLeft)
	for i, name := range c.legend {
		s.fill(paint[i])
		s.f.Rect(x, y+0.6, 4, 3, "FD")
		s.put(x+5, y, 0, "left", name)
		x += s.f.GetStringWidth(name) + 9
	}
	y += 6
	const width = textWidth - nameWidth - figureWidth
	for _, b := range c.bars {
		s.label(y, b.name)
		var total int64
		for _, n := range b.seconds {
			total += n
		}
		x := float64(marginLeft + nameWidth)
		for i, n := range b.seconds {
			if n <= 0 || total == 0 {
				continue
			}
			w := width * float64(n) / float64(total)
			s.fill(paint[i])
			s.f.Rect(x, y, w, barHeight, "F")
			x += w
		}
		s.f.Rect(marginLeft+nameWidth, y, width, barHeight, "D")
		s.put(marginLeft+nameWidth+width, y, figureWidth, "right", printable(b.figure))
		y += barHeight + barGap
	}
	s.f.SetY(y + 2)
}

func (s *sheet) fill(c [3]int) { s.f.SetFillColor(c[0], c[1], c[2]) }

// leastMark is the width of the mark of an outage too short to be seen.
const leastMark = 0.5

func (s *sheet) timeline(c charts, height float64) {
	s.room(height)
	y := s.column(marginLeft, s.f.GetY()+3, textWidth, "I", 12, c.timeline) + 2
	const left, width = marginLeft + nameWidth, textWidth - nameWidth - 6
	at := func(t time.Time) float64 {
		return left + width*min(1, max(0, t.Sub(c.from).Seconds()/c.to.Sub(c.from).Seconds()))
	}
	end := y + float64(len(c.bars))*(barHeight+barGap)
	s.font("", 9)
	s.f.SetDrawColor(200, 200, 200)
	for _, t := range marks(c.from, c.to) {
		s.f.Line(at(t), y, at(t), end)
		s.put(at(t)-10, end, 20, "center", t.In(words.Zone()).Format("02/01"))
	}
	s.f.SetDrawColor(0, 0, 0)
	for _, b := range c.bars {
		s.label(y, b.name)
		s.fill(paint[2])
		for _, o := range b.outages[:min(len(b.outages), maxMarks)] {
			s.f.Rect(at(o.From), y, max(leastMark, at(o.To)-at(o.From)), barHeight, "F")
		}
		s.f.Rect(left, y, width, barHeight, "D")
		y += barHeight + barGap
	}
	s.f.SetY(end + 6)
}

// maxMarks is how many outages of a service a chart shows.
const maxMarks = 2000

// marks are the days under a time axis: the first, and then some eight of equal distance.
func marks(from, to time.Time) []time.Time {
	const most = 8
	days := int(to.Sub(from).Hours()/24 + 0.5)
	step := max(1, (days+most-1)/most)
	var out []time.Time
	for t := from; t.Before(to); t = t.AddDate(0, 0, step) {
		out = append(out, t)
	}
	return out
}
