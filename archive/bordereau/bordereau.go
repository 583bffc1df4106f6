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

	"sae/archive/pdf"
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

// Sizes in millimetres, and that of the font in points; A4 across.
const (
	margin   = 12.0
	fontSize = 8.5
)

var columns = []pdf.Cell{{Title: "N°", Width: 20}, {Title: "Service producteur", Width: 34}, {Title: "Typologie et règle", Width: 62}, {Title: "Dates extrêmes", Width: 30}, {Title: "DUA", Width: 20}, {Title: "Sort final", Width: 20},
	{Title: "Volume", Width: 32}, {Title: "Texte de référence", Width: 55}}

// PDF gives the document.
func (b *Bordereau) PDF() ([]byte, error) {
	m := pdf.Meta{Title: "Bordereau d'élimination " + b.Reference, Made: b.Proposed, Landscape: true, Margin: margin}
	if b.Attestation != nil {
		m.Title, m.Made = "Attestation de destruction, élimination "+b.Reference, b.Attestation.Made
	}
	d := pdf.New(m)
	b.head(d)
	t := d.Table(columns)
	for _, l := range b.Lines {
		t.Row(l.cells()...)
	}
	t.End()
	b.end(d)
	var out bytes.Buffer
	if err := d.Output(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (b *Bordereau) head(d *pdf.Document) {
	title := "BORDEREAU D'ÉLIMINATION D'ARCHIVES PUBLIQUES"
	if b.Attestation != nil {
		title = "ATTESTATION DE DESTRUCTION D'ARCHIVES PUBLIQUES"
	}
	d.Font(pdf.Bold, 14)
	d.Centred(title)
	d.Font(pdf.Regular, fontSize)
	d.Centred("Code du patrimoine, art. L. 212-2, L. 212-3, R. 212-14 et R. 212-51. Toute élimination est interdite sans le visa.")
	if b.Paper {
		d.Centred("Originaux papier numérisés : les copies numériques, présumées fiables (Code civil, art. 1379 ; décret n° 2016-1673), sont conservées.")
	}
	d.Space(2)
	lines := [][2]string{
		{"Service d'archives", b.Authority}, {"Référence de la demande", b.Reference}, {"Établi le", pdf.Day(b.Proposed)}, {"Échéances arrêtées au", pdf.Date(b.At)},
		{"Nombre d'unités", fmt.Sprintf("%d, dont %d refusées", b.Units, b.Refused)},
		{"Liste annexée", fmt.Sprintf("empreinte (racine RFC 6962) %s, entrée %d du journal", b.Root, b.Entry)},
	}
	if c := b.Attestation; c != nil {
		lines = append(lines, [][2]string{
			{"Unités détruites", fmt.Sprintf("%d, attesté le %s", c.Destroyed, pdf.Day(c.Made))},
			{"Copies", c.copies()},
			{"Preuve", "le fichier attestation-destruction.json, joint, nomme chaque unité et se vérifie sans le service (sae verify)"},
		}...)
	}
	for _, l := range lines {
		d.Field(l[0], l[1], 48)
	}
	d.Space(2)
}

// cells are the texts of a line, by column.
func (l *Line) cells() []string {
	var names, durations, actions, bases []string
	for _, r := range l.Rules {
		name := r.ID
		if r.Name != "" {
			name = r.Name + " (" + r.ID + ")"
		}
		names, durations, actions = append(names, name), append(durations, pdf.Duration(r.Duration)), append(actions, pdf.Action(r.Action))
		if r.Basis != "" {
			bases = append(bases, r.Basis)
		}
	}
	dates := "non renseignées"
	if l.From != "" || l.To != "" {
		dates = pdf.Date(l.From) + "\n" + pdf.Date(l.To)
	}
	return []string{
		fmt.Sprintf("%d à %d", l.First, l.First+l.Units-1), l.Agency, strings.Join(names, "\n"), dates, strings.Join(durations, "\n"), strings.Join(actions, "\n"),
		fmt.Sprintf("%d unités\n%d fichiers\n%s", l.Units, l.Objects, pdf.Octets(l.Bytes)), strings.Join(bases, "\n"),
	}
}

// end has the steps that were taken, and the places for signatures.
func (b *Bordereau) end(d *pdf.Document) {
	d.Need(60)
	d.Space(4)
	for _, s := range b.Steps {
		text := fmt.Sprintf("%s le %s (entrée %d du journal)", s.What, pdf.Day(s.When), s.Entry)
		if s.Refused > 0 {
			text += fmt.Sprintf(", %d unités refusées", s.Refused)
		}
		d.Paragraph(text)
	}
	if b.Attestation != nil {
		b.Attestation.exports(d)
		return
	}
	d.Space(3)
	d.Need(35)
	y, width := d.Y(), 88.0
	for i, who := range []string{"Le responsable du service d'archives", "Accord du service producteur", "Visa du contrôle scientifique et technique de l'État"} {
		x := margin + float64(i)*(width+4.5)
		d.Box(x, y, width, 34)
		d.Font(pdf.Bold, fontSize)
		d.Text(x, y+1, width, who, pdf.Centre)
		d.Font(pdf.Regular, fontSize)
		d.Text(x+1, y+6, width, "Nom, qualité, date et signature :", pdf.Left)
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
func (c *Attestation) exports(d *pdf.Document) {
	d.Space(3)
	if len(c.Exports) == 0 {
		d.Paragraph("Aucun export enregistré ne contenait ces unités.")
		return
	}
	d.Paragraph("Exports enregistrés qui contenaient de ces unités avant leur destruction :")
	for _, x := range c.Exports {
		d.Paragraph(fmt.Sprintf("– %s, le %s (entrée %d du journal), %d unités", x.Operation, pdf.Day(x.When), x.Entry, x.Units))
	}
}
