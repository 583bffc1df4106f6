package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/api/remote"
	"sae/archive"
	"sae/archive/printed"
	"sae/retention"
)

// executeFlags are the flags of request execute.
type executeFlags struct {
	out      string
	reason   string
	purposes []string
	unit     string
	title    string
	about    string
	start    string
	end      string
	fields   []string
	note     string
	restrict bool
	more     bool
	person   archive.PersonData
	from     string
	done     bool
}

func (c *cli) requestExecuteCmd() *cobra.Command {
	x := &executeFlags{}
	cmd := &cobra.Command{
		Use:   "execute REQUEST",
		Short: "Carry a decision out, as an archivist who did not decide",
		Long: `Carry a decision out. What it does follows from the article:

  15, 20  access, portability: -o FOLDER|FILE.zip takes the package: index, documents, data, proofs
  16      rectification: --unit and what is to be corrected (--title, --field NAME=VALUE...), with a
          --note; or, of the subject, --family-name and so on, or --from FILE.json. The document stays
          as it was sealed: the unit gets a version with corrected metadata. --restrict closes the
          versions before it but for named purposes. --more: there is more to correct.
  17, 21  erasure: units are looked at again, and destroyed with their keys; when nothing is left of
          the subject, so are its record and what its requests said. The answer must have been sent.
          Interrupted, the same command goes on.
  18      restriction: the subject's files are read for named purposes alone (--purposes).

--done ends a request that was carried out outside of the archive, or in several steps.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error { return c.executeRequest(cmd, a, args[0], x) })
		},
	}
	f := cmd.Flags()
	f.StringVarP(&x.out, "out", "o", "", "15, 20: folder, or zip, to write; it must not exist")
	f.StringVar(&x.reason, "reason", "", "18, --done: why, or how; kept enciphered")
	f.StringSliceVar(&x.purposes, "purposes", nil, "18: purposes for which it is read all the same, of legal-claims, consent, protection-of-others, public-interest, data-subject-request, audit (default legal-claims,consent,data-subject-request)")
	f.StringVar(&x.unit, "unit", "", "16: unit to correct")
	f.StringVar(&x.title, "title", "", "16: its title")
	f.StringVar(&x.about, "description", "", "16: its description")
	f.StringVar(&x.start, "start-date", "", "16: start date of the document's facts")
	f.StringVar(&x.end, "end-date", "", "16: end date of them")
	f.StringArrayVar(&x.fields, "field", nil, "16: NAME=VALUE of a field; without VALUE it is taken out; may be repeated")
	f.StringVar(&x.note, "note", "", "16: what was wrong, and by what it is known; kept enciphered with the unit")
	f.BoolVar(&x.restrict, "restrict", false, "16: close the versions before but for named purposes")
	f.BoolVar(&x.more, "more", false, "16: there is more to correct: the request stays open")
	f.StringVar(&x.person.FamilyName, "family-name", "", "16: of the subject")
	f.StringVar(&x.person.BirthName, "birth-name", "", "16: of the subject")
	f.StringVar(&x.person.GivenNames, "given-names", "", "16: of the subject")
	f.StringVar(&x.person.BirthDate, "birth-date", "", "16: of the subject, YYYY-MM-DD")
	f.StringVar(&x.person.BirthPlace, "birth-place", "", "16: of the subject")
	f.StringVar(&x.from, "from", "", "16: JSON file with familyName, birthName, givenNames, birthDate, birthPlace of the subject; - is standard input")
	f.BoolVar(&x.done, "done", false, "it was carried out: only record that")
	return cmd
}

func (c *cli) executeRequest(cmd *cobra.Command, a *archive.Archive, id string, x *executeFlags) error {
	q, err := a.DataRequest(id)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	switch {
	case x.done:
		if q, err = a.EndExecution(ctx, c.agent, id, x.reason); err != nil {
			return err
		}
		return c.told(q, "request %s is carried out\n", id)
	case q.Article == 15 || q.Article == 20:
		return c.executeAccess(ctx, a, id, x)
	case q.Article == 16:
		return c.executeRectification(cmd, a, id, x)
	case q.Article == 18:
		return c.executeRestriction(ctx, a, id, x)
	}
	return c.executeErasure(ctx, a, id)
}

// executeAccess writes a package into a folder or a zip, and ends the request.
func (c *cli) executeAccess(ctx context.Context, a *archive.Archive, id string, x *executeFlags) error {
	if x.out == "" {
		return usagef("name the folder, or the zip, to write: -o FOLDER or -o FILE.zip")
	}
	if _, err := c.sealAll(ctx, a); err != nil { // a document without proof is worth less to the person
		c.log().Warn("sealing what waits", "error", err)
	}
	var data *archive.PersonalData
	write := func(files archive.Files) (err error) {
		data, err = c.reader(a).ExecuteAccess(ctx, id, files, func(p *archive.PersonalData, w io.Writer) error { return printed.Index(a, p, w) })
		return err
	}
	var err error
	if strings.EqualFold(filepath.Ext(x.out), ".zip") {
		err = c.writeZip(x.out, write)
	} else {
		err = c.writeFolder(x.out, func(d remote.NewFolder) error {
			files := &folderFiles{NewFolder: d}
			return errors.Join(write(files), files.end())
		})
	}
	if err != nil {
		return err
	}
	if _, err := a.EndExecution(ctx, c.agent, id, "package of "+data.Made.Format(time.DateOnly)); err != nil {
		return fmt.Errorf("the package is in %s: %w", x.out, err)
	}
	if c.json {
		return c.printJSON(data)
	}
	c.printf("package of %d units in %s, for request %s\n", len(data.Documents), x.out, id)
	for _, w := range data.Withheld {
		c.printf("not given: unit %s: %s\n", w.Unit, strings.ReplaceAll(w.Why, "\n", "; "))
	}
	return nil
}

func (c *cli) executeRectification(cmd *cobra.Command, a *archive.Archive, id string, x *executeFlags) error {
	ctx := cmd.Context()
	if x.from != "" {
		if err := c.readWords(x.from, &x.person); err != nil {
			return err
		}
	}
	person := x.person != (archive.PersonData{})
	switch {
	case person && x.unit != "":
		return usagef("correct a unit, or the subject: one after the other, with --more")
	case person:
		s, err := a.ExecuteSubjectRectification(ctx, c.agent, id, x.person, x.note)
		if err != nil {
			return err
		}
		if !c.json {
			c.printf("subject %s, version %d\n", s.ID, s.Version)
		}
	case x.unit != "":
		r, err := x.rectified(cmd)
		if err != nil {
			return err
		}
		rev, err := a.ExecuteRectification(ctx, c.agent, id, r)
		if err != nil {
			return err
		}
		if !c.json {
			c.printf("unit %s is corrected (ledger entry %d): sae show %s\n", x.unit, rev.Entry, x.unit)
		}
	default:
		return usagef("say what to correct: --unit and --title, --field..., or of the subject --family-name...")
	}
	if x.more {
		return nil
	}
	q, err := a.EndExecution(ctx, c.agent, id, x.note)
	if err != nil {
		return err
	}
	return c.told(q, "request %s is carried out\n", id)
}

// rectified are the corrections that flags say: those that were given, also as empty.
func (x *executeFlags) rectified(cmd *cobra.Command) (archive.Rectified, error) {
	r := archive.Rectified{Unit: x.unit, Note: x.note, Restrict: x.restrict}
	for flag, f := range map[string]struct {
		to   **string
		from *string
	}{"title": {&r.Title, &x.title}, "description": {&r.Description, &x.about}, "start-date": {&r.StartDate, &x.start}, "end-date": {&r.EndDate, &x.end}} {
		if cmd.Flags().Changed(flag) {
			*f.to = f.from
		}
	}
	for _, f := range x.fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return r, usagef("--field %q: want NAME=VALUE", name)
		}
		if r.Custom == nil {
			r.Custom = map[string]string{}
		}
		r.Custom[name] = value
	}
	return r, nil
}

func (c *cli) executeRestriction(ctx context.Context, a *archive.Archive, id string, x *executeFlags) error {
	purposes := []archive.Purpose{archive.ForLegalClaims, archive.ForConsent, archive.ForDataSubject}
	if len(x.purposes) > 0 {
		purposes = nil
		for _, p := range x.purposes {
			purposes = append(purposes, archive.Purpose(p))
		}
	}
	if x.reason == "" {
		x.reason = "GDPR art. 18, request " + id
	}
	act, err := a.ExecuteRestriction(ctx, c.agent, id, purposes, x.reason)
	if err != nil {
		return err
	}
	return c.told(act, "restriction %s on %d files and units (ledger entry %d); lift it with: sae restriction lift %s\n", act.ID, len(act.Units), act.Entry, act.ID)
}

// erasedJSON is the outcome of an erasure, with its certificate.
type erasedJSON struct {
	*archive.Erased
	Certificate *archive.Certificate `json:"certificate,omitempty"`
}

func (c *cli) executeErasure(ctx context.Context, a *archive.Archive, id string) error {
	out, err := a.ExecuteErasure(ctx, c.agent, id, nil)
	if err != nil {
		return err
	}
	cert, err := a.CertificateOf(out.Elimination)
	if errors.Is(err, archive.ErrNotFound) {
		cert, err = c.certify(ctx, a, out.Elimination, out.Destroyed)
	}
	if err != nil && !errors.Is(err, archive.ErrNoAuthority) {
		return fmt.Errorf("%d units are erased; their certificate: %w", out.Destroyed, err)
	}
	if c.json {
		return c.printJSON(erasedJSON{out, cert})
	}
	c.printf("%d units erased (ledger entry %d), %d copies deleted, %d wait\n", out.Destroyed, out.Entry, out.Deleted, out.Waiting)
	for _, k := range out.Kept {
		c.printf("kept: %d  unit %s  %s%s\n", k.Number, k.Unit, k.Reason, reasonDates(k.Reasons))
	}
	for _, s := range out.Subjects {
		c.printf("the record of subject %s is erased\n", s)
	}
	if out.Words {
		c.printf("what the requests of the person said is destroyed\n")
	}
	for _, e := range out.Exports {
		c.printf("handed out before: export %s of %s (ledger entry %d), %d units: whoever has it is to be told (art. 19)\n", e.Operation, e.Time.Format(time.DateOnly), e.Entry, e.Units)
	}
	c.printf("beyond recovery, also with sealed copies of the root key, from %s\n", out.Effective.Format(time.RFC3339))
	if cert != nil {
		c.printf("certificate: record %s: sae request certificate %s -o erasure.json\n", cert.Record, id)
	} else {
		c.printf("no time-stamping authority answered: make the certificate later with sae request certificate %s\n", id)
	}
	return nil
}

func reasonDates(reasons []retention.Reason) string {
	for _, r := range reasons {
		if r.Date != "" {
			return " until " + r.Date
		}
	}
	return ""
}
