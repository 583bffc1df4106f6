// Package bordereau lays out the bordereau d'élimination, and the attestation of what was
// destroyed, as PDF, in the form that the Archives départementales know: service, typologies, extreme dates, retention and its text, final
// action, volume, and the places for the agreement of the originating agency and for the visa of
// the State's scientific and technical control (Code du patrimoine art. L212-2, L212-3, R212-14
// and R212-51). It is in French, as legal documents are. The same input gives the same bytes.
package bordereau

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
)

// Bordereau is what stands in one.
type Bordereau struct {
	Reference string // of the request
	Authority string // archival agency
	Proposed  time.Time
	At        string // day for which retentions were looked at
	Lines     []Line
	Units     int64
	Refused   int64
	Root      string // commitment to the list, hex
	Entry     int64  // of the ledger
	Steps     []Step
	Paper     bool // what goes is paper, of which the copy stays
	// Attestation makes it the attestation of what was destroyed; nil for the bordereau.
	Attestation *Attestation
}

// Attestation is what an attestation says beside its bordereau.
type Attestation struct {
	Made             time.Time
	Destroyed        int64 // units
	Deleted, Waiting int64 // copies
	// Effective is when sealed copies of the root key are gone that would open what was destroyed;
	// zero when nothing is known of them.
	Effective time.Time
	Exports   []Export
}

// Export is an export that handed out units before they were destroyed.
type Export struct {
	Operation string
	When      time.Time
	Entry     int64
	Units     int64
}

// Line is a line: units of one agency under the same rules.
type Line struct {
	First, Units, Objects, Bytes int64
	Agency                       string
	Rules                        []Rule
	From, To                     string // extreme dates
	Due                          string // from which all are due
}

// Rule is a rule as the line names it.
type Rule struct{ ID, Name, Duration, Action, Basis string }

// Step is a step that was taken.
type Step struct {
	What    string // in French
	When    time.Time
	Entry   int64
	Refused int64
}

// Sizes in millimetres; A4 across.
const (
	margin   = 12.0
	height   = 4.6
	fontSize = 8.5
)

var columns = []struct {
	title string
	width float64
}{{"N°", 20}, {"Service producteur", 34}, {"Typologie et règle", 62}, {"Dates extrêmes", 30}, {"DUA", 20}, {"Sort final", 20}, {"Volume", 32}, {"Texte de référence", 55}}

// PDF gives the document.
func (b *Bordereau) PDF() ([]byte, error) {
	p := fpdf.New("L", "mm", "A4", "")
	p.AddUTF8FontFromBytes("go", "", goregular.TTF)
	p.AddUTF8FontFromBytes("go", "B", gobold.TTF)
	p.SetCatalogSort(true)
	made, title := b.Proposed.UTC(), "Bordereau d'élimination "+b.Reference
	if b.Attestation != nil {
		made, title = b.Attestation.Made.UTC(), "Attestation de destruction, élimination "+b.Reference
	}
	p.SetCreationDate(made)
	p.SetModificationDate(made)
	p.SetTitle(title, true)
	p.SetLang("fr-FR")
	p.SetMargins(margin, margin, margin)
	p.SetAutoPageBreak(true, margin+8)
	p.AliasNbPages("{pages}")
	p.SetFooterFunc(func() {
		p.SetY(-margin - 2)
		p.SetFont("go", "", 7)
		p.CellFormat(0, 4, fmt.Sprintf("%s – page %d/{pages}", title, p.PageNo()), "", 0, "C", false, 0, "")
	})
	p.AddPage()
	b.head(p)
	b.table(p)
	b.end(p)
	var out bytes.Buffer
	if err := p.Output(&out); err != nil {
		return nil, fmt.Errorf("laying out the bordereau: %w", err)
	}
	return out.Bytes(), nil
}

func (b *Bordereau) head(p *fpdf.Fpdf) {
	title := "BORDEREAU D'ÉLIMINATION D'ARCHIVES PUBLIQUES"
	if b.Attestation != nil {
		title = "ATTESTATION DE DESTRUCTION D'ARCHIVES PUBLIQUES"
	}
	p.SetFont("go", "B", 14)
	p.CellFormat(0, 8, title, "", 1, "C", false, 0, "")
	p.SetFont("go", "", fontSize)
	p.CellFormat(0, 5, "Code du patrimoine, art. L. 212-2, L. 212-3, R. 212-14 et R. 212-51. Toute élimination est interdite sans le visa.", "", 1, "C", false, 0, "")
	if b.Paper {
		p.CellFormat(0, 5, "Originaux papier numérisés : les copies numériques, présumées fiables (Code civil, art. 1379 ; décret n° 2016-1673), sont conservées.", "", 1, "C", false, 0, "")
	}
	p.Ln(2)
	lines := [][2]string{
		{"Service d'archives", b.Authority}, {"Référence de la demande", b.Reference}, {"Établi le", day(b.Proposed)}, {"Échéances arrêtées au", frenchDay(b.At)},
		{"Nombre d'unités", fmt.Sprintf("%d, dont %d refusées", b.Units, b.Refused)},
		{"Liste annexée", fmt.Sprintf("empreinte (racine RFC 6962) %s, entrée %d du journal", b.Root, b.Entry)},
	}
	if c := b.Attestation; c != nil {
		lines = append(lines, [][2]string{
			{"Unités détruites", fmt.Sprintf("%d, attesté le %s", c.Destroyed, day(c.Made))},
			{"Copies", c.copies()},
			{"Preuve", "le fichier attestation-destruction.json, joint, nomme chaque unité et se vérifie sans le service (sae verify)"},
		}...)
	}
	for _, l := range lines {
		p.SetFont("go", "B", fontSize)
		p.CellFormat(48, 5, l[0], "", 0, "L", false, 0, "")
		p.SetFont("go", "", fontSize)
		p.CellFormat(0, 5, l[1], "", 1, "L", false, 0, "")
	}
	p.Ln(2)
}

func (b *Bordereau) table(p *fpdf.Fpdf) {
	titles := func() {
		p.SetFont("go", "B", fontSize)
		p.SetFillColor(230, 230, 230)
		for _, c := range columns {
			p.CellFormat(c.width, 6, c.title, "1", 0, "C", true, 0, "")
		}
		p.Ln(-1)
		p.SetFont("go", "", fontSize)
	}
	titles()
	_, page := p.GetPageSize()
	for _, l := range b.Lines {
		cells := l.cells()
		rows := 1
		split := make([][]string, len(cells))
		for i, c := range cells {
			for part := range strings.SplitSeq(c, "\n") {
				split[i] = append(split[i], p.SplitText(part, columns[i].width-2)...)
			}
			rows = max(rows, len(split[i]))
		}
		h := float64(rows)*height + 1.5
		if p.GetY()+h > page-margin-10 {
			p.AddPage()
			titles()
		}
		x, y := p.GetXY()
		for i, lines := range split {
			p.Rect(x, y, columns[i].width, h, "D")
			for n, text := range lines {
				p.SetXY(x, y+0.7+float64(n)*height)
				p.CellFormat(columns[i].width, height, text, "", 0, "L", false, 0, "")
			}
			x += columns[i].width
		}
		p.SetXY(margin, y+h)
	}
}

// cells are the texts of a line, by column.
func (l *Line) cells() []string {
	var names, durations, actions, bases []string
	for _, r := range l.Rules {
		name := r.ID
		if r.Name != "" {
			name = r.Name + " (" + r.ID + ")"
		}
		names, durations, actions = append(names, name), append(durations, frenchDuration(r.Duration)), append(actions, frenchAction(r.Action))
		if r.Basis != "" {
			bases = append(bases, r.Basis)
		}
	}
	dates := "non renseignées"
	if l.From != "" || l.To != "" {
		dates = frenchDay(l.From) + "\n" + frenchDay(l.To)
	}
	return []string{
		fmt.Sprintf("%d à %d", l.First, l.First+l.Units-1), l.Agency, strings.Join(names, "\n"), dates, strings.Join(durations, "\n"), strings.Join(actions, "\n"),
		fmt.Sprintf("%d unités\n%d fichiers\n%s", l.Units, l.Objects, octets(l.Bytes)), strings.Join(bases, "\n"),
	}
}

// end has the steps that were taken, and the places for signatures.
func (b *Bordereau) end(p *fpdf.Fpdf) {
	_, page := p.GetPageSize()
	if p.GetY()+60 > page-margin-10 {
		p.AddPage()
	}
	p.Ln(4)
	for _, s := range b.Steps {
		text := fmt.Sprintf("%s le %s (entrée %d du journal)", s.What, day(s.When), s.Entry)
		if s.Refused > 0 {
			text += fmt.Sprintf(", %d unités refusées", s.Refused)
		}
		p.CellFormat(0, 5, text, "", 1, "L", false, 0, "")
	}
	if b.Attestation != nil {
		b.Attestation.exports(p)
		return
	}
	p.Ln(3)
	y, width := p.GetY(), 88.0
	for i, who := range []string{"Le responsable du service d'archives", "Accord du service producteur", "Visa du contrôle scientifique et technique de l'État"} {
		x := margin + float64(i)*(width+4.5)
		p.Rect(x, y, width, 34, "D")
		p.SetXY(x, y+1)
		p.SetFont("go", "B", fontSize)
		p.CellFormat(width, 5, who, "", 2, "C", false, 0, "")
		p.SetFont("go", "", fontSize)
		p.CellFormat(width, 5, "Nom, qualité, date et signature :", "", 0, "L", false, 0, "")
	}
}

// copies says what became of them.
func (c *Attestation) copies() string {
	text := fmt.Sprintf("%d effacées ; les clés de chiffrement sont détruites", c.Deleted)
	if c.Waiting > 0 {
		text += fmt.Sprintf(" ; %d encore verrouillées ou injoignables, illisibles sans clé, seront effacées ensuite", c.Waiting)
	}
	if !c.Effective.IsZero() {
		text += " ; irrécupérables à partir du " + c.Effective.UTC().Format("02/01/2006 15:04 MST") + ", copies scellées de la clé racine comprises"
	}
	return text
}

// exports names who may have copies still.
func (c *Attestation) exports(p *fpdf.Fpdf) {
	p.Ln(3)
	if len(c.Exports) == 0 {
		p.CellFormat(0, 5, "Aucun export enregistré ne contenait ces unités.", "", 1, "L", false, 0, "")
		return
	}
	p.CellFormat(0, 5, "Exports enregistrés qui contenaient de ces unités avant leur destruction :", "", 1, "L", false, 0, "")
	for _, x := range c.Exports {
		p.CellFormat(0, 5, fmt.Sprintf("– %s, le %s (entrée %d du journal), %d unités", x.Operation, day(x.When), x.Entry, x.Units), "", 1, "L", false, 0, "")
	}
}

var months = [...]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}

func day(t time.Time) string {
	d := fmt.Sprint(t.Day())
	if t.Day() == 1 {
		d = "1er"
	}
	return fmt.Sprintf("%s %s %d", d, months[t.Month()-1], t.Year())
}

// frenchDay writes YYYY-MM-DD, or what there is, as a date.
func frenchDay(s string) string {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return s
	}
	return day(t)
}

// frenchDuration writes P10Y and the like.
func frenchDuration(s string) string {
	if s == "unlimited" {
		return "illimitée"
	}
	var n int
	var unit rune
	if _, err := fmt.Sscanf(s, "P%d%c", &n, &unit); err != nil {
		return s
	}
	word := map[rune][2]string{'Y': {"an", "ans"}, 'M': {"mois", "mois"}, 'D': {"jour", "jours"}}[unit]
	if n < 2 {
		return fmt.Sprintf("%d %s", n, word[0])
	}
	return fmt.Sprintf("%d %s", n, word[1])
}

func frenchAction(s string) string {
	if f := map[string]string{"Keep": "Conservation", "Destroy": "Élimination", "Sort": "Tri"}[s]; f != "" {
		return f
	}
	return s
}

// octets writes a size with a decimal comma.
func octets(n int64) string {
	units := []string{"octets", "ko", "Mo", "Go", "To"}
	size, i := float64(n), 0
	for size >= 1000 && i < len(units)-1 {
		size, i = size/1000, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d octets", n)
	}
	return strings.Replace(fmt.Sprintf("%.1f %s", size, units[i]), ".", ",", 1)
}
