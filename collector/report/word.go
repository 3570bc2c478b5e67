package report

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"strings"

	qrcode "github.com/skip2/go-qrcode"

	"egovmon/agent/words"
)

// A word is a report as a word-processing document in the making.
type word struct {
	writer
	pictures []part
}

// body returns word/document.xml.
func (w *word) body() []byte {
	return append(append([]byte(documentHead), w.Bytes()...), documentTail...)
}

// firstLine is the indent of a paragraph's first line, 1 cm.
const firstLine = 567

func (w *word) text(s string) {
	w.p(para{align: "both", indent: firstLine, before: 6}, style{size: 14}, s)
}

func (w *word) section(s string) {
	w.p(para{align: "both", indent: firstLine, before: 6, keep: true}, style{size: 14, bold: true}, s)
}

func (w *word) letterhead(parent, body, number, place string) {
	widths := []int{4180, 5175}
	w.open(false, widths...)
	center := para{align: "center"}
	w.row(false, widths, func() {
		w.p(center, style{size: 12}, strings.ToUpper(parent))
		w.p(center, style{size: 12, bold: true}, strings.ToUpper(body))
		w.p(para{rule: true, margins: 1400, before: 2}, style{size: 2}, "")
	}, func() {
		// The name of the state and its motto are the same in every language of the product.
		w.p(center, style{size: 12, bold: true}, words.Say(words.VI, "report.state"))
		w.p(center, style{bold: true}, words.Say(words.VI, "report.motto"))
		w.p(para{rule: true, margins: 900, before: 2}, style{size: 2}, "")
	})
	w.row(false, widths, func() { w.p(center, style{}, number) }, func() { w.p(center, style{italic: true}, place) })
	w.close()
}

func (w *word) title(kind, subject string) {
	w.p(para{align: "center", before: 18}, style{size: 14, bold: true}, kind)
	w.p(para{align: "center"}, style{size: 14, bold: true}, subject)
	w.p(para{rule: true, margins: 3600, before: 3}, style{size: 2}, "")
}

// table writes a table with a heading row.
func (w *word) table(heads []string, widths []int, rows [][]string) {
	w.p(para{before: 6}, style{size: 2}, "")
	w.open(true, widths...)
	line := func(heading bool, cells []string) {
		var write []func()
		for i, c := range cells {
			align := "center"
			if i == 0 && !heading {
				align = "left"
			}
			write = append(write, func() { w.p(para{align: align}, style{size: 12, bold: heading}, c) })
		}
		w.row(heading, widths, write...)
	}
	line(true, heads)
	for _, r := range rows {
		line(false, r)
	}
	w.close()
}

// charts are for papers that nobody edits.
func (w *word) charts(charts) {}

// codeSide is the side of a QR code in print, in millimetres.
const codeSide = 32

// code writes a QR code as a picture.
func (w *word) code(caption, text string) {
	data, err := codePNG(text)
	if err != nil { // longer than a code takes: the text stands alone
		w.text(caption + " " + text)
		return
	}
	w.pictures = append(w.pictures, part{"word/media/code.png", data})
	w.picture("rId3", codeSide)
	w.p(para{align: "center"}, style{size: 11, italic: true}, caption)
	w.p(para{align: "center"}, style{size: 10}, text)
}

// bitmap is the code of a text, with its quiet zone; true is black.
func bitmap(text string) ([][]bool, error) {
	c, err := qrcode.New(text, qrcode.Medium)
	if err != nil {
		return nil, err
	}
	return c.Bitmap(), nil
}

func codePNG(text string) ([]byte, error) {
	bits, err := bitmap(text)
	if err != nil {
		return nil, err
	}
	const dot = 6
	side := len(bits) * dot
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			if bits[y/dot][x/dot] {
				img.SetColorIndex(x, y, 1)
			}
		}
	}
	var b bytes.Buffer
	err = png.Encode(&b, img)
	return b.Bytes(), err
}

func (w *word) sign(recipients string, lines []string, signer string) {
	widths := []int{4677, 4678}
	w.p(para{before: 6}, style{size: 2}, "")
	w.open(false, widths...)
	w.row(false, widths, func() {
		w.p(para{}, style{size: 12, bold: true, italic: true}, recipients)
		for _, line := range lines {
			w.p(para{}, style{size: 11}, line)
		}
	}, func() {
		w.p(para{align: "center"}, style{bold: true}, signer)
		for range 5 { // room for the signature and the name
			w.p(para{align: "center"}, style{}, "")
		}
	})
	w.close()
	w.p(para{}, style{size: 2}, "")
}
