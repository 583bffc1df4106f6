package pdf

// Room around the texts of a cell, in millimetres.
const (
	beside = 1.0
	above  = 0.75
)

// Cell is the title of a column and its width in millimetres.
type Cell struct {
	Title string
	Width float64
	Style Style // of its texts
}

// Table is one whose rows are written as they come. Its titles stand on each page.
type Table struct {
	d       *Document
	columns []Cell
	size    float64
}

// Table starts one, from the left margin, in the size of font that is set. End ends it.
func (d *Document) Table(columns []Cell) *Table {
	t := &Table{d: d, columns: columns, size: d.size}
	d.Need(5 * d.Line())
	t.titles()
	d.tables = append(d.tables, t)
	return t
}

// End ends the table: the pages that follow have no titles of it.
func (t *Table) End() {
	t.d.tables = t.d.tables[:len(t.d.tables)-1]
	t.d.Font(Regular, t.size)
}

func (t *Table) titles() {
	d := t.d
	d.Font(Bold, t.size)
	rows, split := 1, make([][]string, len(t.columns))
	for i, c := range t.columns {
		split[i] = d.Lines(c.Title, c.Width-2*beside)
		rows = max(rows, len(split[i]))
	}
	height := float64(rows)*d.Line() + 2*above
	x := d.meta.Margin
	d.f.SetFillColor(230, 230, 230)
	for i, c := range t.columns {
		d.f.Rect(x, d.y, c.Width, height, "DF")
		for n, text := range split[i] {
			d.set(x, d.y+above+float64(n)*d.Line(), c.Width, text, Centre)
		}
		x += c.Width
	}
	d.f.SetFillColor(0, 0, 0) // that of texts, too
	d.y += height
	d.Font(Regular, t.size)
}

// Row writes a row: a text for each column. One that no page can hold goes on on the next.
func (t *Table) Row(cells ...string) {
	d := t.d
	rows := 1
	split := make([][]string, len(t.columns))
	for i, c := range t.columns {
		d.Font(c.Style, t.size)
		if i < len(cells) {
			split[i] = d.Lines(cells[i], c.Width-2*beside)
		}
		rows = max(rows, len(split[i]))
	}
	d.Font(Regular, t.size)
	line := d.Line()
	if whole := float64(rows)*line + 2*above; whole > d.left() && (whole <= t.page() || d.left() < 4*line) {
		d.addPage()
	}
	for from := 0; ; d.addPage() {
		n := min(rows-from, max(1, int((d.left()-2*above)/line)))
		t.part(split, from, n)
		if from += n; from >= rows {
			return
		}
	}
}

// page is the height that rows have on a page of their own.
func (t *Table) page() float64 { return t.d.height - 2*t.d.meta.Margin - footer - 4*t.d.Line() }

// part draws n lines of a row.
func (t *Table) part(split [][]string, from, n int) {
	d := t.d
	height := float64(n)*d.Line() + 2*above
	x := d.meta.Margin
	for i, c := range t.columns {
		d.f.Rect(x, d.y, c.Width, height, "D")
		d.Font(c.Style, t.size)
		for j := from; j < min(from+n, len(split[i])); j++ {
			d.set(x+beside, d.y+above+float64(j-from)*d.Line(), c.Width-2*beside, split[i][j], Left)
		}
		x += c.Width
	}
	d.Font(Regular, t.size)
	d.y += height
}
