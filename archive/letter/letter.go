// Package letter writes the French documents of what persons ask about their data, as PDF: the
// answer to a request (GDPR art. 15 to 18, 20, 21), the index of the package that they receive, and the
// record of processing activities (art. 30), which is there as plain text, too. It knows
// neither the archive nor who decides: it is given what was decided, and words it.
//
// Each document checks what it is given first, and says all that is wrong; any text will do, of a
// bounded size. The same input gives the same bytes. The properties of a file have its title and the
// time that it was given, nothing of the person but the number of the request.
package letter

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sae/archive/pdf"
)

// Article is one of the GDPR: the right that a person exercises.
type Article int

// The articles.
const (
	Access        Article = 15
	Rectification Article = 16
	Erasure       Article = 17
	Restriction   Article = 18
	Portability   Article = 20
	Objection     Article = 21
)

// Outcome is what a letter says.
type Outcome string

// The outcomes. Extended and Unidentified are not the last word.
const (
	Granted      Outcome = "granted"
	Partly       Outcome = "partly"
	Refused      Outcome = "refused"
	Nothing      Outcome = "nothing"      // the archive has no data of the person
	Extended     Outcome = "extended"     // the answer takes longer (art. 12(3))
	Unidentified Outcome = "unidentified" // who asks is to be made sure of (art. 12(6))
)

// Decision is what becomes of one document.
type Decision string

// The decisions.
const (
	EraseNow   Decision = "ERASE_NOW"
	EraseAt    Decision = "ERASE_AT" // on the finding's date
	Keep       Decision = "REFUSED"  // what was asked for is not done: it stays as it is
	Held       Decision = "HELD"     // a hold forbids erasing it
	Restricted Decision = "RESTRICTED"
	Noted      Decision = "NOTED" // a note was added to it
	Given      Decision = "GIVEN"
	Redacted   Decision = "REDACTED" // given, but for some passages
	Withheld   Decision = "WITHHELD" // not given
	Stopped    Decision = "STOPPED"  // it is not processed any more as the person objects to
)

// Sender is who answers for the data.
type Sender struct {
	Name    string
	Address []string // lines
}

// Letter is an answer. Days are those of the times' own zones.
type Letter struct {
	From       Sender
	Place      string
	Date       time.Time
	To         []string // name and address, lines
	Salutation string   // "Madame, Monsieur" when empty
	Request    string   // its number
	Article    Article
	Received   time.Time
	Outcome    Outcome
	Extension  *Extension   // of the time to answer: this letter announces it, or an earlier one did
	Asked      []string     // what shows who asks, when that is not sure
	Basis      string       // in law, of the answer
	Processing []Processing // what art. 15(1) has told
	Findings   []Finding
	Effective  time.Time // from this day what was erased is beyond recovery, with escrowed keys, too
	Exports    []Export  // that handed out what is erased
	Paragraphs []string  // in the words of the data-protection officer
	Officer    string    // how to reach the data-protection officer
	Court      string    // name and address of the administrative court
	Enclosures []string
	Signatory  string
	Function   string
}

// Extension is a time to answer that was made longer.
type Extension struct {
	Until time.Time
	Why   string
}

// Finding is what was decided on one document.
type Finding struct {
	Number      int
	Document    string // its title, or "pièce n° 3"
	Decision    Decision
	Ground      string // code: RGPD art. 17(3)(b)
	Explanation string // in French
	Date        string // YYYY-MM-DD, or what there is
}

// Export is a copy that was handed out.
type Export struct {
	Recipient string
	Date      string // YYYY-MM-DD, or what there is
	What      string
}

// Processing is what persons are told of a processing.
type Processing struct {
	Name       string
	Purpose    string
	Basis      string // GDPR art. 6, and the law that says so
	Special    string // ground for special categories
	Subjects   []string
	Data       []string
	Recipients []string
	Retention  []Retention
	Source     string // of the data
	Transfers  string // outside the Union
	Automated  string // decisions
}

// Retention is a rule under which documents are kept.
type Retention struct {
	Rule     string // its code
	Name     string
	Duration string // P10Y, unlimited
	Trigger  string // in French: from what it counts
	Action   string // Keep, Destroy, Sort
	Basis    string
}

// Sizes of a letter: millimetres, and points for the font. The window of an envelope shows what
// stands at the right.
const (
	margin   = 20.0
	fontSize = 10.0
	window   = 105.0 // left edge of the addressee
	below    = 45.0  // top of it
	distance = 32.0  // from the names of references to what they are
	signing  = 18.0  // height for a signature
)

// PDF writes the letter.
func (l *Letter) PDF(w io.Writer) error {
	if err := l.check(); err != nil {
		return fmt.Errorf("checking the letter: %w", err)
	}
	d := pdf.New(pdf.Meta{Title: "Réponse à la demande n° " + l.Request, Made: l.Date, Margin: margin})
	l.head(d)
	l.object(d)
	l.paragraphs(d, l.salutation()+",", l.opening())
	if l.Extension != nil && l.Outcome != Extended {
		l.paragraphs(d, l.extended())
	}
	l.paragraphs(d, l.outcome()...)
	if l.Outcome == Unidentified {
		list(d, l.asked())
	}
	if l.Basis != "" {
		l.paragraphs(d, "Fondement juridique : "+sentence(l.Basis))
	}
	l.findings(d)
	l.after(d)
	l.paragraphs(d, l.Paragraphs...)
	l.rights(d)
	l.end(d)
	return d.Output(w)
}

func (l *Letter) paragraphs(d *pdf.Document, texts ...string) {
	for _, t := range texts {
		d.Paragraph(t)
		d.Space(2)
	}
}

func heading(d *pdf.Document, text string) {
	d.Space(1.5)
	d.Heading(text)
	d.Space(1)
}

func list(d *pdf.Document, texts []string) {
	for _, t := range texts {
		d.Item(t)
	}
	d.Space(2)
}

// head has who writes, to whom, where and when.
func (l *Letter) head(d *pdf.Document) {
	d.Font(pdf.Bold, fontSize+1)
	d.Column(margin, window-margin-10, oneLine(l.From.Name), pdf.Left)
	d.Font(pdf.Regular, fontSize)
	for _, a := range l.From.Address {
		d.Column(margin, window-margin-10, oneLine(a), pdf.Left)
	}
	y := d.Y()
	d.Go(below)
	for _, a := range l.To {
		d.Column(window, margin+d.Width()-window, oneLine(a), pdf.Left)
	}
	d.Go(max(y, d.Y(), below+30) + 5)
	d.Column(margin, d.Width(), fmt.Sprintf("%s, le %s", l.Place, pdf.Day(l.Date)), pdf.Right)
	d.Space(6)
}

// oneLine keeps the lines of an address as many as they are.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (l *Letter) object(d *pdf.Document) {
	d.Field("Objet :", l.subject(), distance)
	d.Field("Nos références :", "demande n° "+l.Request, distance)
	if len(l.Enclosures) > 0 {
		d.Field("Pièces jointes :", strings.Join(l.Enclosures, "\n"), distance)
	}
	d.Space(6)
}

// findings has a table of what is decided on each document; of an erasure, one of what goes and one
// of what stays.
func (l *Letter) findings(d *pdf.Document) {
	if l.Article != Erasure {
		l.table(d, "Suite donnée, pièce par pièce", l.Findings)
		return
	}
	var goes, stays []Finding
	for _, f := range l.Findings {
		if f.Decision == EraseNow || f.Decision == EraseAt {
			goes = append(goes, f)
		} else {
			stays = append(stays, f)
		}
	}
	l.table(d, "Ce qui est effacé", goes)
	l.table(d, "Ce qui est conservé, et pourquoi", stays)
}

func (l *Letter) table(d *pdf.Document, title string, findings []Finding) {
	if len(findings) == 0 {
		return
	}
	heading(d, title)
	d.Font(pdf.Regular, 8.5)
	t := d.Table([]pdf.Cell{{Title: "N°", Width: 12}, {Title: "Pièce", Width: 50}, {Title: "Suite donnée", Width: 36}, {Title: "Motif", Width: 72}})
	for _, f := range findings {
		why := f.Explanation
		if f.Ground != "" {
			why = strings.TrimLeft(why+"\n"+f.Ground, "\n")
		}
		t.Row(fmt.Sprint(f.Number), f.Document, f.words(l.Article), why)
	}
	t.End()
	d.Font(pdf.Regular, fontSize)
	d.Space(3)
}

// after has what follows from an erasure, and what a person who has access is told beside.
func (l *Letter) after(d *pdf.Document) {
	if !l.Effective.IsZero() {
		l.paragraphs(d, fmt.Sprintf("À compter du %s, ce qui est effacé ne peut plus être reconstitué par quiconque, y compris à partir des sauvegardes et des clés placées sous séquestre.", pdf.Day(l.Effective)))
	}
	if len(l.Exports) > 0 {
		heading(d, "Copies remises auparavant")
		l.paragraphs(d, "Des copies de ces données ont été remises aux destinataires suivants :")
		var texts []string
		for _, x := range l.Exports {
			texts = append(texts, x.words())
		}
		list(d, texts)
	}
	if len(l.Processing) == 0 {
		return
	}
	heading(d, "Informations sur le traitement de vos données (RGPD, art. 15(1))")
	for _, p := range l.Processing {
		d.Heading(p.Name)
		for _, f := range p.told() {
			d.Field(f.name, strings.Join(f.values, "\n"), 46)
		}
		d.Space(2)
	}
	l.paragraphs(d, toldRights)
}

// rights has who can be asked, and where to complain.
func (l *Letter) rights(d *pdf.Document) {
	if l.Officer != "" {
		heading(d, "Délégué à la protection des données")
		l.paragraphs(d, "Pour toute question sur cette lettre ou sur vos données, vous pouvez vous adresser au délégué à la protection des données : "+l.Officer)
	}
	heading(d, "Voies de recours")
	texts := l.remedies()
	last := len(texts) - 1
	l.paragraphs(d, texts[:last]...)
	d.Need(d.Height(texts[last], d.Width()) + l.closing(d)) // a signature does not stand alone on a page
	l.paragraphs(d, texts[last])
}

// closing is the height of what end writes.
func (l *Letter) closing(d *pdf.Document) float64 {
	wide := margin + d.Width() - window
	return d.Height(l.regards(), d.Width()) + d.Height(l.Function, wide) + signing + d.Height(l.Signatory, wide) + 12
}

// end has the closing words, and the place for a signature.
func (l *Letter) end(d *pdf.Document) {
	l.paragraphs(d, l.regards())
	d.Space(6)
	d.Column(window, margin+d.Width()-window, l.Function, pdf.Left)
	d.Space(signing)
	d.Font(pdf.Bold, fontSize)
	d.Column(window, margin+d.Width()-window, l.Signatory, pdf.Left)
	d.Font(pdf.Regular, fontSize)
}
