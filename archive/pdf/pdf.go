// Package pdf lays out the documents that people get from the archive: A4 pages with paragraphs,
// fields and tables, numbered page n / N, and the French words for days, durations and sizes.
// Any text can be laid out: what the font does not have is replaced where it can be seen, long
// words are broken, and what does not fit goes on on the next page. The same calls give the same
// bytes.
package pdf

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"
)

// Meta is what a document is called, and its shape.
type Meta struct {
	Title     string // in the properties of the file, and beside each page's number
	Made      time.Time
	Landscape bool
	Margin    float64 // mm, on all sides
}

// Style is a face of the font.
type Style string

// The styles.
const (
	Regular Style = ""
	Bold    Style = "B"
	Mono    Style = "M"
)

// Align says where a line stands between its ends.
type Align string

// The alignments.
const (
	Left   Align = "L"
	Centre Align = "C"
	Right  Align = "R"
)

const (
	point   = 25.4 / 72 // mm
	leading = 1.5       // of lines, in sizes of the font
	footer  = 8.0       // mm above the margin, for the number of the page
)

// Document is one on its way. Positions and sizes are in millimetres, those of fonts in points.
type Document struct {
	f             *fpdf.Fpdf
	meta          Meta
	width, height float64 // of the page
	y             float64 // where the next line starts
	style         Style
	size          float64
	glyphs        glyphs
	widths        map[Style]map[rune]int // of characters, in thousandths of the font's size
	tables        []*Table               // that are open: their titles stand on each page
}

// New starts a document, with its first page.
func New(m Meta) *Document {
	orientation := "P"
	if m.Landscape {
		orientation = "L"
	}
	d := &Document{f: fpdf.New(orientation, "mm", "A4", ""), meta: m, glyphs: newGlyphs(), widths: map[Style]map[rune]int{}}
	// The library writes into the font that it is given, when it makes a subset: each document has its own.
	d.f.AddUTF8FontFromBytes("go", "", bytes.Clone(goregular.TTF))
	d.f.AddUTF8FontFromBytes("go", "B", bytes.Clone(gobold.TTF))
	d.f.AddUTF8FontFromBytes("gomono", "", bytes.Clone(gomono.TTF))
	d.f.SetCatalogSort(true)
	d.f.SetCreationDate(m.Made.UTC())
	d.f.SetModificationDate(m.Made.UTC())
	d.meta.Title = d.clean(m.Title)
	d.f.SetTitle(d.meta.Title, true)
	d.f.SetLang("fr-FR")
	d.f.SetMargins(m.Margin, m.Margin, m.Margin)
	d.f.SetAutoPageBreak(false, 0) // Need breaks pages
	d.width, d.height = d.f.GetPageSize()
	d.addPage()
	d.Font(Regular, 10)
	return d
}

func (d *Document) addPage() {
	d.f.AddPage()
	d.y = d.meta.Margin
	for _, t := range d.tables {
		t.titles()
	}
}

// Font is what the next texts are set in.
func (d *Document) Font(s Style, size float64) {
	d.style, d.size = s, size
	if s == Mono {
		d.f.SetFont("gomono", "", size)
	} else {
		d.f.SetFont("go", string(s), size)
	}
}

// Line is the height of a line.
func (d *Document) Line() float64 { return d.size * point * leading }

// Width is that between the margins.
func (d *Document) Width() float64 { return d.width - 2*d.meta.Margin }

// Y is where the next line starts.
func (d *Document) Y() float64 { return d.y }

// Space leaves some height free.
func (d *Document) Space(height float64) { d.y += height }

// Go makes the next line of this page start elsewhere.
func (d *Document) Go(y float64) { d.y = y }

// left is the height that is left on the page.
func (d *Document) left() float64 { return d.height - d.meta.Margin - footer - d.y }

// Need starts another page unless so much height is left on this one.
func (d *Document) Need(height float64) {
	if d.left() < height {
		d.addPage()
	}
}

// Break starts another page.
func (d *Document) Break() { d.addPage() }

// Box draws a frame.
func (d *Document) Box(x, y, width, height float64) { d.f.Rect(x, y, width, height, "D") }

// Rule draws a line across the page, between the margins.
func (d *Document) Rule() { d.f.Line(d.meta.Margin, d.y, d.width-d.meta.Margin, d.y) }

// Text writes one line of text into a column from x, whose line starts at y. Nothing is broken or
// cut: it is for what Lines gave, or what is known to fit.
func (d *Document) Text(x, y, width float64, text string, a Align) {
	d.set(x, y, width, d.clean(text), a)
}

func (d *Document) set(x, y, width float64, clean string, a Align) {
	if clean == "" {
		return
	}
	switch a {
	case Centre:
		x += (width - d.measure(clean)) / 2
	case Right:
		x += width - d.measure(clean)
	}
	d.f.Text(x, y+d.Line()/2+0.33*d.size*point, clean)
}

// Paragraph writes a text between the margins, on as many lines and pages as it takes.
func (d *Document) Paragraph(text string) { d.Column(d.meta.Margin, d.Width(), text, Left) }

// Centred writes a text in the middle.
func (d *Document) Centred(text string) { d.Column(d.meta.Margin, d.Width(), text, Centre) }

// Column writes a text into a column of the page.
func (d *Document) Column(x, width float64, text string, a Align) {
	lines := d.Lines(text, width)
	for i, l := range lines {
		need := 1
		if i == 0 && len(lines) > 1 || i == len(lines)-2 {
			need = 2 // no line of a paragraph stands alone on a page
		}
		d.Need(float64(need) * d.Line())
		d.set(x, d.y, width, l, a)
		d.y += d.Line()
	}
}

// Height is what Column takes for a text.
func (d *Document) Height(text string, width float64) float64 {
	return float64(len(d.Lines(text, width))) * d.Line()
}

// Heading writes a text in bold; the lines that follow do not begin another page without it.
func (d *Document) Heading(text string) {
	style := d.style
	d.Font(Bold, d.size)
	d.Need(7 * d.Line())
	d.Paragraph(text)
	d.Font(style, d.size)
}

// Field writes a name in bold and what it has beside it, from the given distance.
func (d *Document) Field(name, value string, distance float64) {
	d.Font(Bold, d.size)
	names := d.Lines(name, distance-2)
	d.Font(Regular, d.size)
	values := d.Lines(value, d.Width()-distance)
	for i := range max(len(names), len(values)) {
		d.Need(d.Line())
		if i < len(names) {
			d.Font(Bold, d.size)
			d.set(d.meta.Margin, d.y, distance, names[i], Left)
			d.Font(Regular, d.size)
		}
		if i < len(values) {
			d.set(d.meta.Margin+distance, d.y, d.Width(), values[i], Left)
		}
		d.y += d.Line()
	}
}

// Item writes an entry of a list, behind a dash.
func (d *Document) Item(text string) {
	for i, l := range d.Lines(text, d.Width()-5) {
		d.Need(d.Line())
		if i == 0 {
			d.set(d.meta.Margin, d.y, 5, "–", Left)
		}
		d.set(d.meta.Margin+5, d.y, d.Width(), l, Left)
		d.y += d.Line()
	}
}

// Output numbers the pages and writes the document, which ends with it.
func (d *Document) Output(w io.Writer) error {
	d.number()
	if err := d.f.Output(w); err != nil {
		return fmt.Errorf("laying out %q: %w", d.meta.Title, err)
	}
	return nil
}

// number writes the number of each page, when it is known how many there are.
func (d *Document) number() {
	pages := d.f.PageCount()
	for n := 1; n <= pages; n++ {
		d.f.SetPage(n)
		d.Font(Bold, 6) // each page has its own idea of the font that is set: a change is written
		d.Font(Regular, 7)
		count := fmt.Sprintf("page %d / %d", n, pages)
		room := d.Width() - d.measure(count) - 10
		title := d.meta.Title
		if lines := d.Lines(title, room); len(lines) > 1 {
			title = lines[0] + " …"
		}
		y := d.height - d.meta.Margin
		d.set(d.meta.Margin, y, room, title, Left)
		d.set(d.meta.Margin, y, d.Width(), count, Right)
	}
}
