package letter

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sae/archive/pdf"
)

// Register is the record of processing activities of a controller (GDPR art. 30(1)).
type Register struct {
	Controller Sender
	Officer    string // data-protection officer: name and how to reach
	Made       time.Time
	Activities []Activity
	Measures   []string // of security (art. 32)
}

// Activity is one processing, with what there is of it.
type Activity struct {
	Processing
	Code         string // of the procedure
	Open, Closed int64  // files
	Documents    int64
}

// PDF writes the record.
func (r *Register) PDF(w io.Writer) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("checking the record of processing: %w", err)
	}
	d := pdf.New(pdf.Meta{Title: registerTitle, Made: r.Made, Margin: margin})
	d.Font(pdf.Bold, 15)
	d.Centred(registerTitle)
	d.Font(pdf.Regular, fontSize)
	d.Centred(registerLaw)
	d.Space(6)
	for i, s := range r.sections() {
		if i > 0 {
			d.Space(5)
			d.Font(pdf.Regular, fontSize+2)
			d.Heading(s.title)
			d.Font(pdf.Regular, fontSize)
			d.Rule()
			d.Space(1.5)
		}
		for _, f := range s.fields {
			if f.name == "" {
				list(d, f.values)
				continue
			}
			d.Field(f.name, strings.Join(f.values, "\n"), 48)
			d.Space(0.8)
		}
	}
	return d.Output(w)
}

// Text writes the record as plain text in UTF-8.
func (r *Register) Text(w io.Writer) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("checking the record of processing: %w", err)
	}
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s\n%s\n\n", strings.ToUpper(registerTitle), registerLaw)
	for i, s := range r.sections() {
		if i > 0 {
			title := plain(s.title)
			fmt.Fprintf(out, "\n%s\n%s\n", title, strings.Repeat("-", min(columnsOfText, utf8.RuneCountInString(title))))
		}
		for _, f := range s.fields {
			f.write(out)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the record of processing: %w", err)
	}
	return nil
}

const (
	registerTitle = "Registre des activités de traitement"
	registerLaw   = "Règlement (UE) 2016/679 (RGPD), article 30(1)"
)

// section is a part of the record, as both of its forms have it.
type section struct {
	title  string
	fields []field
}

func (r *Register) sections() []section {
	all := []section{{"", filled([]field{
		{"Responsable du traitement", append([]string{r.Controller.Name}, r.Controller.Address...)}, {"Délégué à la protection des données", []string{r.Officer}},
		{"Établi le", []string{pdf.Day(r.Made)}}, {"Activités", []string{fmt.Sprint(len(r.Activities))}},
	})}}
	for i := range r.Activities {
		all = append(all, r.Activities[i].section(i+1))
	}
	if len(r.Measures) > 0 {
		all = append(all, section{"Mesures de sécurité (RGPD, art. 32)", []field{{"", r.Measures}}})
	}
	return all
}

// section is an activity. What the article asks for is said to be missing when it is.
func (a *Activity) section(n int) section {
	title := fmt.Sprintf("%d. %s", n, a.Name)
	if a.Code != "" {
		title += " (" + a.Code + ")"
	}
	or := func(s, other string) []string {
		if strings.TrimSpace(s) == "" {
			return []string{other}
		}
		return []string{s}
	}
	retention := a.retention()
	if len(retention) == 0 {
		retention = []string{"non renseignée"}
	}
	return section{title, filled([]field{
		{"Finalités", or(a.Purpose, "non renseignées")}, {"Base juridique", or(a.Basis, "non renseignée")}, {"Catégories particulières", or(a.Special, "aucune indiquée")},
		{"Personnes concernées", or(strings.Join(a.Subjects, ", "), "non renseignées")}, {"Catégories de données", or(strings.Join(a.Data, ", "), "non renseignées")},
		{"Destinataires", or(strings.Join(a.Recipients, ", "), "aucun indiqué")}, {"Transferts hors de l'UE", or(a.Transfers, "aucun indiqué")}, {"Source des données", []string{a.Source}}, {"Décision automatisée", []string{a.Automated}},
		{"Durées de conservation", retention},
		{"Dossiers", []string{fmt.Sprintf("%d en cours, %d clos", a.Open, a.Closed)}}, {"Pièces", []string{fmt.Sprint(a.Documents)}},
	})}
}

// Columns of the record as plain text.
const (
	columnsOfText = 96
	columnOfValue = 38
)

// write writes a field as lines of text: a list when it has no name.
func (f *field) write(w io.Writer) {
	first, width := f.name+" :", columnOfValue
	for _, v := range f.values {
		if f.name == "" {
			first, width = "-", 2
		}
		for _, line := range fold(plain(v), columnsOfText-width) {
			fmt.Fprintf(w, "%-*s%s\n", width, first, line)
			first = ""
		}
	}
}

// plain has no signs that a terminal obeys, and one line.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// fold breaks a text at spaces into lines of about so many characters; longer words stay whole.
func fold(s string, most int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > most {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

func (r *Register) check() error {
	var c checker
	c.sender(&r.Controller)
	c.text("data-protection officer", r.Officer, maxLine)
	if r.Made.IsZero() {
		c.addf("date: missing")
	}
	c.count("activities", len(r.Activities), maxRows)
	for i := range r.Activities {
		c.processing(&r.Activities[i].Processing)
		c.text("activity: code", r.Activities[i].Code, maxBlock)
	}
	c.list("security measures", r.Measures, maxList, maxLine)
	return c.err()
}
