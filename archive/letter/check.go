package letter

import (
	"errors"
	"fmt"
	"strings"
)

// The bounds of what a document is given.
const (
	maxBlock = 100      // bytes of a line of an address
	maxLine  = 2_000    // bytes of a text in a table or beside a name
	maxText  = 20_000   // bytes of a paragraph
	maxLines = 8        // of an address
	maxList  = 500      // entries of a list
	maxRows  = 50_000   // rows of a table
	maxTotal = 32 << 20 // bytes of all texts; a new line counts as newLine
	newLine  = 40       // what it costs on paper
	maxShown = 20       // problems
)

// Problems are what is wrong, each with where.
type Problems []string

func (p Problems) Error() string {
	if len(p) > maxShown {
		return strings.Join(p[:maxShown], "\n") + fmt.Sprintf("\nand %d more", len(p)-maxShown)
	}
	return strings.Join(p, "\n")
}

// checker collects what is wrong.
type checker struct {
	bad   Problems
	total int
}

func (c *checker) addf(format string, args ...any) {
	c.bad = append(c.bad, fmt.Sprintf(format, args...))
}

func (c *checker) text(name, s string, most int) {
	c.total += len(s) + newLine*strings.Count(s, "\n")
	if len(s) > most {
		c.addf("%s: %d bytes, at most %d", name, len(s), most)
	}
}

// needed is a text that must be there.
func (c *checker) needed(name, s string, most int) {
	if strings.TrimSpace(s) == "" {
		c.addf("%s: missing", name)
	}
	c.text(name, s, most)
}

func (c *checker) count(name string, n, most int) {
	if n > most {
		c.addf("%s: %d, at most %d", name, n, most)
	}
}

func (c *checker) list(name string, texts []string, entries, most int) {
	c.count(name, len(texts), entries)
	for _, t := range texts {
		c.text(name, t, most)
	}
}

func (c *checker) sender(s *Sender) {
	c.needed("sender", s.Name, maxBlock)
	c.list("sender's address", s.Address, maxLines, maxBlock)
}

func (c *checker) processing(p *Processing) {
	c.needed("processing: name", p.Name, maxLine)
	for _, t := range [][2]string{{"purpose", p.Purpose}, {"legal basis", p.Basis}, {"special categories", p.Special}, {"source", p.Source}, {"transfers", p.Transfers}, {"automated decisions", p.Automated}} {
		c.text("processing: "+t[0], t[1], maxLine)
	}
	c.list("processing: data subjects", p.Subjects, maxList, maxLine)
	c.list("processing: data", p.Data, maxList, maxLine)
	c.list("processing: recipients", p.Recipients, maxList, maxLine)
	c.count("processing: rules", len(p.Retention), maxList)
	for _, r := range p.Retention {
		c.text("processing: a rule", r.Rule+r.Name+r.Duration+r.Trigger+r.Action+r.Basis, maxLine)
	}
}

func (c *checker) err() error {
	if c.total > maxTotal {
		c.addf("%d bytes of text in all, at most %d", c.total, maxTotal)
	}
	if len(c.bad) > 0 {
		return c.bad
	}
	return nil
}

// check says all that is wrong with a letter. A letter that says less than the law asks for is wrong.
func (l *Letter) check() error {
	var c checker
	l.parts(&c)
	l.lists(&c)
	if err := c.err(); err != nil {
		return err
	}
	return l.whole()
}

func (l *Letter) parts(c *checker) {
	c.sender(&l.From)
	c.needed("place", l.Place, maxBlock)
	c.needed("addressee", strings.Join(l.To, ""), maxLines*maxBlock)
	c.list("addressee", l.To, maxLines, maxBlock)
	c.needed("request", l.Request, maxBlock)
	c.needed("signatory", l.Signatory, maxBlock)
	c.needed("function of the signatory", l.Function, 2*maxBlock)
	c.text("salutation", l.Salutation, maxBlock)
	c.text("legal basis", l.Basis, maxText)
	c.text("data-protection officer", l.Officer, maxLine)
	c.text("court", l.Court, maxLine)
	if _, ok := articles[l.Article]; !ok {
		c.addf("article %d: it is 15, 16, 17, 18, 20 or 21", l.Article)
	}
	if l.Date.IsZero() {
		c.addf("date: missing")
	}
	if l.Received.IsZero() {
		c.addf("day of receipt: missing")
	}
	if x := l.Extension; x != nil {
		c.text("reasons of the extension", x.Why, maxText)
		if !x.Until.After(l.Received) {
			c.addf("extension: it ends before the request was received")
		}
	}
}

func (l *Letter) lists(c *checker) {
	c.list("information asked for", l.Asked, maxList, maxLine)
	c.list("paragraphs", l.Paragraphs, maxList, maxText)
	c.list("enclosures", l.Enclosures, maxList, maxLine)
	c.count("findings", len(l.Findings), maxRows)
	for _, f := range l.Findings {
		if _, ok := decisions[f.Decision]; !ok {
			c.addf("finding %d: decision %q is not known", f.Number, f.Decision)
		}
		c.text("finding: document", f.Document, maxLine)
		c.text("finding: ground", f.Ground, maxLine)
		c.text("finding: explanation", f.Explanation, maxText)
		c.text("finding: date", f.Date, maxBlock)
	}
	c.count("exports", len(l.Exports), maxRows)
	for _, x := range l.Exports {
		c.text("export", x.Recipient+x.Date+x.What, maxLine)
	}
	c.count("processings", len(l.Processing), maxList)
	for i := range l.Processing {
		c.processing(&l.Processing[i])
	}
}

// whole holds what the law asks for against the outcome.
func (l *Letter) whole() error {
	var refused, erased bool
	for _, f := range l.Findings {
		refused = refused || (f.Explanation != "" || f.Ground != "")
		erased = erased || f.Decision == EraseNow
	}
	reasons := refused || l.Basis != "" || len(l.Paragraphs) > 0
	switch {
	case l.Outcome == Extended && (l.Extension == nil || strings.TrimSpace(l.Extension.Why) == ""):
		return errors.New("an extension says until when and why (art. 12(3))")
	case (l.Outcome == Refused || l.Outcome == Partly) && !reasons:
		return errors.New("a refusal gives its reasons: legal basis, findings or paragraphs (art. 12(4))")
	case l.Article == Access && (l.Outcome == Granted || l.Outcome == Partly) && len(l.Processing) == 0:
		return errors.New("who is given access is told of the processing (art. 15(1))")
	case erased && l.Effective.IsZero():
		return errors.New("an erasure says from which day it is beyond recovery")
	}
	switch l.Outcome {
	case Nothing, Extended, Unidentified:
		if len(l.Findings) > 0 || !l.Effective.IsZero() {
			return fmt.Errorf("outcome %q decides nothing on documents: it has no findings, and no day of erasure", l.Outcome)
		}
		return nil
	case Granted, Partly, Refused:
		return nil
	}
	return fmt.Errorf("outcome %q is not known", l.Outcome)
}
