package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// A writer makes the body of a word-processing document (ECMA-376, WordprocessingML). Sizes are in points, lengths in
// twips (1/20 point).
type writer struct {
	bytes.Buffer
}

// A style says how a run of text looks. The zero style is 13 points, upright.
type style struct {
	size   int // points; 0 is 13
	bold   bool
	italic bool
}

// A para says how a paragraph stands.
type para struct {
	align   string // left, center, right, both
	indent  int    // of the first line
	before  int    // points above
	margins int    // left and right, for short rules
	rule    bool   // an empty paragraph with a line above it
	keep    bool   // on one page with the next
}

// escape writes text that may be anything as XML.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(clean(s))) // a Builder does not fail
	return b.String()
}

// p writes a paragraph of one style.
func (w *writer) p(f para, s style, text string) { w.runs(f, run{s, text}) }

// A run is text of one style.
type run struct {
	style
	text string
}

// runs writes a paragraph.
func (w *writer) runs(f para, runs ...run) {
	w.WriteString("<w:p><w:pPr>")
	if f.keep {
		w.WriteString("<w:keepNext/>")
	}
	if f.rule {
		w.WriteString(`<w:pBdr><w:top w:val="single" w:sz="6" w:space="1" w:color="000000"/></w:pBdr>`)
	}
	fmt.Fprintf(w, `<w:spacing w:before="%d" w:after="0"`, 20*f.before)
	if f.rule {
		w.WriteString(` w:line="120" w:lineRule="exact"`)
	}
	w.WriteString("/>")
	switch {
	case f.margins > 0:
		fmt.Fprintf(w, `<w:ind w:left="%d" w:right="%d"/>`, f.margins, f.margins)
	case f.indent > 0:
		fmt.Fprintf(w, `<w:ind w:firstLine="%d"/>`, f.indent)
	}
	if f.align != "" {
		fmt.Fprintf(w, `<w:jc w:val="%s"/>`, f.align)
	}
	w.WriteString("</w:pPr>")
	for _, r := range runs {
		w.WriteString("<w:r><w:rPr>")
		if r.bold {
			w.WriteString("<w:b/>")
		}
		if r.italic {
			w.WriteString("<w:i/>")
		}
		size := r.size
		if size == 0 {
			size = 13
		}
		fmt.Fprintf(w, `<w:sz w:val="%d"/><w:szCs w:val="%d"/></w:rPr><w:t xml:space="preserve">%s</w:t></w:r>`, 2*size, 2*size, escape(r.text))
	}
	w.WriteString("</w:p>\n")
}

// picture writes a square picture of so many millimetres (DrawingML, ECMA-376 part 1, section 20.4.2.8).
func (w *writer) picture(rel string, side int) {
	n := side * 36000 // English metric units
	fmt.Fprintf(w, `<w:p><w:pPr><w:keepNext/><w:spacing w:before="120" w:after="0"/><w:jc w:val="center"/></w:pPr><w:r><w:drawing>`+
		`<wp:inline xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" distT="0" distB="0" distL="0" distR="0">`+
		`<wp:extent cx="%d" cy="%d"/><wp:docPr id="1" name="QR" descr="QR"/>`+
		`<a:graphic xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><a:graphicData uri="http://schemas.openxmlformats.org/drawingml/2006/picture">`+
		`<pic:pic xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture"><pic:nvPicPr><pic:cNvPr id="1" name="QR"/><pic:cNvPicPr/></pic:nvPicPr>`+
		`<pic:blipFill><a:blip r:embed="%s"/><a:stretch><a:fillRect/></a:stretch></pic:blipFill>`+
		`<pic:spPr><a:xfrm><a:off x="0" y="0"/><a:ext cx="%d" cy="%d"/></a:xfrm><a:prstGeom prst="rect"><a:avLst/></a:prstGeom></pic:spPr></pic:pic>`+
		`</a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>`+"\n", n, n, rel, n, n)
}

// open begins a table whose columns have these widths; close ends it.
func (w *writer) open(lines bool, widths ...int) {
	w.WriteString("<w:tbl><w:tblPr><w:tblW w:w=\"0\" w:type=\"auto\"/>")
	if lines {
		w.WriteString("<w:tblBorders>")
		for _, side := range []string{"top", "left", "bottom", "right", "insideH", "insideV"} {
			fmt.Fprintf(w, `<w:%s w:val="single" w:sz="4" w:space="0" w:color="000000"/>`, side)
		}
		w.WriteString("</w:tblBorders>")
	}
	w.WriteString(`<w:tblLayout w:type="fixed"/>`)
	if !lines {
		w.WriteString(`<w:tblCellMar><w:left w:w="0" w:type="dxa"/><w:right w:w="0" w:type="dxa"/></w:tblCellMar>`)
	}
	w.WriteString("</w:tblPr><w:tblGrid>")
	for _, n := range widths {
		fmt.Fprintf(w, `<w:gridCol w:w="%d"/>`, n)
	}
	w.WriteString("</w:tblGrid>\n")
}

func (w *writer) close() { w.WriteString("</w:tbl>\n") }

// row writes a row of a table; each cell writes its paragraphs. A heading comes again on each page.
func (w *writer) row(heading bool, widths []int, cells ...func()) {
	w.WriteString("<w:tr><w:trPr><w:cantSplit/>")
	if heading {
		w.WriteString("<w:tblHeader/>")
	}
	w.WriteString("</w:trPr>")
	for i, cell := range cells {
		fmt.Fprintf(w, `<w:tc><w:tcPr><w:tcW w:w="%d" w:type="dxa"/></w:tcPr>`, widths[i])
		cell()
		w.WriteString("</w:tc>")
	}
	w.WriteString("</w:tr>\n")
}

// The fixed parts. Margins are those of Decree 30/2020, Appendix I: top and bottom 20 mm, left 30 mm, right 15 mm on A4;
// the page's number stands in the middle of the top margin, but not on the first page.
const (
	xmlHead = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	wordNS  = `xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"`

	contentTypes = xmlHead + `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">` +
		`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
		`<Default Extension="xml" ContentType="application/xml"/>` +
		`<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>` +
		`<Override PartName="/word/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.styles+xml"/>` +
		`<Override PartName="/word/header1.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.header+xml"/>` +
		`</Types>`
	packageRels = xmlHead + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` +
		`<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>` +
		`</Relationships>`
	documentRels = xmlHead + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` +
		`<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/>` +
		`<Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/header" Target="header1.xml"/>` +
		`</Relationships>`
	styles = xmlHead + `<w:styles ` + wordNS + `><w:docDefaults><w:rPrDefault><w:rPr>` +
		`<w:rFonts w:ascii="Times New Roman" w:hAnsi="Times New Roman" w:eastAsia="Times New Roman" w:cs="Times New Roman"/>` +
		`<w:color w:val="000000"/><w:sz w:val="26"/><w:szCs w:val="26"/><w:lang w:val="vi-VN"/>` +
		`</w:rPr></w:rPrDefault><w:pPrDefault/></w:docDefaults>` +
		`<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style></w:styles>`
	header = xmlHead + `<w:hdr ` + wordNS + `><w:p><w:pPr><w:jc w:val="center"/></w:pPr>` +
		`<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText xml:space="preserve"> PAGE </w:instrText></w:r>` +
		`<w:r><w:fldChar w:fldCharType="separate"/></w:r><w:r><w:t>2</w:t></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r></w:p></w:hdr>`
	documentHead = xmlHead + `<w:document ` + wordNS + `><w:body>` + "\n"
	documentTail = `<w:sectPr><w:headerReference w:type="default" r:id="rId2"/><w:pgSz w:w="11906" w:h="16838"/>` +
		`<w:pgMar w:top="1134" w:right="850" w:bottom="1134" w:left="1701" w:header="567" w:footer="567" w:gutter="0"/><w:titlePg/></w:sectPr>` +
		`</w:body></w:document>`
)

// document packs a body, with its pictures, into a file.
func document(body []byte, pictures []part) ([]byte, error) {
	types, rels := contentTypes, documentRels
	if len(pictures) > 0 {
		types = strings.Replace(types, `<Default Extension="xml"`, `<Default Extension="png" ContentType="image/png"/><Default Extension="xml"`, 1)
	}
	for i, p := range pictures {
		rels = strings.Replace(rels, "</Relationships>", fmt.Sprintf(`<Relationship Id="rId%d" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/image" Target="%s"/></Relationships>`, i+3, strings.TrimPrefix(p.name, "word/")), 1)
	}
	return pack(append([]part{
		{"[Content_Types].xml", []byte(types)},
		{"_rels/.rels", []byte(packageRels)},
		{"word/document.xml", body},
		{"word/_rels/document.xml.rels", []byte(rels)},
		{"word/styles.xml", []byte(styles)},
		{"word/header1.xml", []byte(header)},
	}, pictures...))
}
