package letter

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sae/archive/pdf"
)

// Index is what lies on top of the readable package that a person receives.
type Index struct {
	From      Sender
	Title     string // "Copie de vos données personnelles" when empty
	Request   string // its number
	Article   Article
	Made      time.Time
	Person    string   // whose data they are: a line
	Files     []string // numbers of the person's files
	Documents []Document
	Accesses  []Consultation
	Officer   string // how to reach the data-protection officer
}

// Document is one of the package.
type Document struct {
	Number  int
	Title   string
	Type    string
	Date    string // YYYY-MM-DD, or what there is
	Channel string // digital, digitised, paper, both
	Format  string
	Size    int64
	Name    string    // of its file in the package; none: paper
	SHA256  string    // hex
	Proof   string    // file of its proof bundle in the package
	Sealed  time.Time // zero: it is not sealed yet
	Rule    string
	Due     string // YYYY-MM-DD, or what there is
}

// Consultation is an access to the person's data by a recipient.
type Consultation struct {
	Date      string // YYYY-MM-DD, or what there is
	Recipient string
	What      string
}

// Columns of the index, across an A4 page.
var (
	documents = []pdf.Cell{{Title: "N°", Width: 11}, {Title: "Titre", Width: 52}, {Title: "Type", Width: 30}, {Title: "Date", Width: 21}, {Title: "Origine", Width: 18}, {Title: "Format", Width: 23}, {Title: "Taille", Width: 17},
		{Title: "Fichier", Width: 37}, {Title: "SHA-256", Width: 19, Style: pdf.Mono}, {Title: "Scellée le", Width: 19}, {Title: "Règle et échéance", Width: 26}}
	digests = []pdf.Cell{{Title: "N°", Width: 11}, {Title: "Fichier", Width: 86}, {Title: "SHA-256", Width: 106, Style: pdf.Mono}, {Title: "Dossier de preuve", Width: 70}}
	visits  = []pdf.Cell{{Title: "Date", Width: 35}, {Title: "Destinataire", Width: 100}, {Title: "Objet", Width: 138}}
)

const (
	across     = 12.0 // margin of pages that are wider than high
	small      = 7.5  // points
	digestHead = 8    // digits of a digest that the table has
)

// PDF writes the index.
func (x *Index) PDF(w io.Writer) error {
	if err := x.check(); err != nil {
		return fmt.Errorf("checking the index: %w", err)
	}
	title := x.Title
	if title == "" {
		title = "Copie de vos données personnelles"
	}
	d := pdf.New(pdf.Meta{Title: title, Made: x.Made, Landscape: true, Margin: across})
	x.head(d, title)
	x.documents(d)
	x.consultations(d)
	x.explanation(d)
	x.digests(d)
	return d.Output(w)
}

func (x *Index) head(d *pdf.Document, title string) {
	d.Font(pdf.Bold, 14)
	d.Centred(title)
	d.Font(pdf.Regular, 9)
	d.Space(3)
	var size int64
	for _, doc := range x.Documents {
		size += doc.Size
	}
	lines := []field{
		{"Remise par", append([]string{x.From.Name}, x.From.Address...)}, {"Remise à", []string{x.Person}}, {"Demande", []string{x.reference()}}, {"Établi le", []string{pdf.Day(x.Made)}},
		{"Dossiers", []string{strings.Join(x.Files, ", ")}}, {"Pièces", []string{fmt.Sprintf("%d, %s en tout", len(x.Documents), pdf.Octets(size))}}, {"Délégué à la protection des données", []string{x.Officer}},
	}
	for _, f := range filled(lines) {
		d.Field(f.name, strings.Join(f.values, "\n"), 64)
	}
	d.Space(4)
}

func (x *Index) reference() string {
	s := "n° " + x.Request
	if x.Article != 0 {
		s += fmt.Sprintf(" (article %d du RGPD)", x.Article)
	}
	return s
}

func (x *Index) documents(d *pdf.Document) {
	if len(x.Documents) == 0 {
		d.Paragraph("Ce dossier ne contient aucune pièce.")
		return
	}
	d.Font(pdf.Regular, small)
	t := d.Table(documents)
	for i := range x.Documents {
		t.Row(x.Documents[i].cells()...)
	}
	t.End()
}

// cells are the texts of a document, by column.
func (doc *Document) cells() []string {
	sealed := "pas encore"
	if !doc.Sealed.IsZero() {
		sealed = pdf.Day(doc.Sealed)
	}
	rule := doc.Rule
	if doc.Due != "" {
		rule = strings.TrimLeft(rule+"\n"+pdf.Date(doc.Due), "\n")
	}
	size := ""
	if doc.Name != "" {
		size = pdf.Octets(doc.Size)
	}
	digest := doc.SHA256
	if len(digest) > digestHead {
		digest = strings.ToValidUTF8(digest[:digestHead], "") + "…"
	}
	return []string{fmt.Sprint(doc.Number), doc.Title, doc.Type, pdf.Date(doc.Date), channel(doc.Channel), doc.Format, size, doc.Name, digest, sealed, rule}
}

func channel(s string) string {
	if f := map[string]string{"digital": "numérique", "digitised": "numérisée", "paper": "papier", "both": "papier et numérique"}[s]; f != "" {
		return f
	}
	return s
}

func (x *Index) consultations(d *pdf.Document) {
	if len(x.Accesses) == 0 {
		return
	}
	d.Font(pdf.Regular, 9)
	d.Space(4)
	heading(d, "Qui a eu accès à vos données")
	d.Font(pdf.Regular, small)
	t := d.Table(visits)
	for _, a := range x.Accesses {
		t.Row(pdf.Date(a.Date), a.Recipient, a.What)
	}
	t.End()
}

// digests has the digests in full, as the commands that make them print them.
func (x *Index) digests(d *pdf.Document) {
	some := false
	for i := range x.Documents {
		some = some || x.Documents[i].SHA256 != ""
	}
	if !some {
		return
	}
	d.Font(pdf.Regular, 9)
	d.Space(4)
	heading(d, "Empreintes SHA-256 complètes et dossiers de preuve")
	d.Font(pdf.Regular, small)
	t := d.Table(digests)
	for _, doc := range x.Documents {
		if doc.SHA256 != "" {
			t.Row(fmt.Sprint(doc.Number), doc.Name, doc.SHA256, doc.Proof)
		}
	}
	t.End()
}

// explanation is a page that says what is in the package, and how to verify it.
func (x *Index) explanation(d *pdf.Document) {
	d.Break()
	say := func(title string, texts ...string) {
		heading(d, title)
		for _, t := range texts {
			d.Paragraph(t)
			d.Space(1.5)
		}
	}
	command := func(lines ...string) {
		d.Font(pdf.Mono, 9)
		for _, l := range lines {
			d.Paragraph("    " + l)
		}
		d.Font(pdf.Regular, 9.5)
		d.Space(1.5)
	}
	d.Font(pdf.Regular, 9.5)
	say("Ce que contient ce dossier",
		"Le tableau énumère les pièces qui vous sont remises. La colonne « Fichier » donne le nom de chacune dans ce dossier : elle s'ouvre comme tout autre fichier. Une pièce sans fichier n'existe que sur papier.",
		"La colonne « Scellée le » donne le jour où la pièce a été scellée par un horodatage électronique : il est prouvé qu'elle existait alors, et qu'elle n'a pas changé depuis. La règle dit combien de temps la pièce est conservée ; l'échéance est le jour où ce temps finit.",
		"Ce dossier contient des données personnelles : conservez-le en lieu sûr, et ne le transmettez qu'à des personnes en qui vous avez confiance.")
	say("Vérifier qu'un fichier est celui qui est décrit ici", "L'empreinte SHA-256 d'un fichier est un nombre de 64 chiffres hexadécimaux, qui change du tout au tout si un seul caractère du fichier change. Calculez-la, et comparez-la à celle de la liste qui suit cette page :")
	command("certutil -hashfile FICHIER SHA256     (Windows)", "shasum -a 256 FICHIER                 (macOS)", "sha256sum FICHIER                     (Linux)")
	say("Vérifier une preuve", "Un dossier de preuve (fichier .asice) contient une pièce et tout ce qui prouve la date de son archivage et son intégrité depuis. La vérification ne demande ni notre service ni le réseau. Avec le programme sae-verify :")
	command("sae-verify --roots RACINES.pem PREUVE.asice")
	d.Paragraph("Avec openssl (3.0 ou plus récent) et sha256sum seulement, sans aucun de nos programmes :")
	d.Space(1.5)
	command("unzip PREUVE.asice -d preuve", "sh preuve/verify.sh RACINES.pem")
	d.Paragraph("RACINES.pem est le certificat racine de l'autorité d'horodatage. Prenez-le auprès de cette autorité ou dans une liste de confiance, pas dans ce dossier. " + x.proofs())
}

// proofs says where they are.
func (x *Index) proofs() string {
	for i := range x.Documents {
		if x.Documents[i].Proof != "" {
			return "Le dossier de preuve de chaque pièce est indiqué dans la liste des empreintes."
		}
	}
	return "Ce dossier ne contient pas de dossiers de preuve : vous pouvez les demander au service qui vous le remet."
}

func (x *Index) check() error {
	var c checker
	c.sender(&x.From)
	c.text("title", x.Title, maxBlock)
	c.needed("request", x.Request, maxBlock)
	c.text("person", x.Person, maxLine)
	c.text("data-protection officer", x.Officer, maxLine)
	c.list("files", x.Files, maxRows, maxBlock)
	if x.Made.IsZero() {
		c.addf("date: missing")
	}
	c.count("documents", len(x.Documents), maxRows)
	for i := range x.Documents {
		doc := &x.Documents[i]
		for _, t := range [][2]string{{"title", doc.Title}, {"type", doc.Type}, {"date", doc.Date}, {"channel", doc.Channel}, {"format", doc.Format}, {"file", doc.Name}, {"digest", doc.SHA256}, {"proof", doc.Proof}, {"rule", doc.Rule}, {"due date", doc.Due}} {
			c.text(fmt.Sprintf("document %d: %s", doc.Number, t[0]), t[1], maxLine)
		}
	}
	c.count("accesses", len(x.Accesses), maxRows)
	for _, a := range x.Accesses {
		c.text("access", a.Date+a.Recipient+a.What, maxLine)
	}
	return c.err()
}
