package main

import (
	"archive/zip"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/archive/letter"
	"sae/retention"
)

// triggersInFrench are the events at which retentions start, as persons are told.
var triggersInFrench = map[string]string{
	"document-date": "la date du document", "file-closed": "la clôture du dossier", "last-decision": "la dernière décision", "end-of-right": "la fin du droit", "death": "le décès", "birthday": "la naissance",
}

// exportsInFrench are to whom an export handed units out, as persons are told.
var exportsInFrench = map[string]string{
	"ArchiveDeliveryRequestReply": "Communication à un lecteur autorisé", "ArchiveTransfer": "Transfert à un autre service d'archives",
	"ArchiveRestitutionRequestReply": "Restitution au service d'origine", "PersonalData": "Copie remise à la personne concernée",
}

// triggerInFrench is when the duration of a rule starts.
func triggerInFrench(r *retention.Rule) string {
	if n, ok := strings.CutPrefix(r.Trigger, "birthday-"); ok {
		return "le " + n + "e anniversaire"
	}
	return triggersInFrench[r.Event()]
}

// findingsInFrench are why a unit is not erased, as persons are told.
var findingsInFrench = map[retention.ErasureReason]string{
	retention.ErasureHeld:       "La pièce est gelée : elle est nécessaire à la constatation, à l'exercice ou à la défense de droits en justice.",
	retention.ErasureRuns:       "La pièce est conservée pour respecter une obligation légale, jusqu'au terme de sa durée d'utilité administrative.",
	retention.ErasureOpenEnded:  "La pièce est conservée pour respecter une obligation légale ; le point de départ de sa durée de conservation n'est pas encore connu.",
	retention.ErasureDefinitive: "La pièce est conservée définitivement, à des fins archivistiques dans l'intérêt public (RGPD, art. 89 ; code du patrimoine, art. L212-2 et L212-3).",
	retention.ErasureUnsorted:   "La pièce doit faire l'objet de la sélection prévue par le code du patrimoine (art. L212-3).",
	retention.ErasureUnclear:    "Les règles de conservation de la pièce sont à préciser par le service d'archives.",
	"OTHER_PERSONS":             "La pièce concerne aussi d'autres personnes, dont les droits s'opposent à son effacement.",
	"HAS_CHILDREN":              "Le dossier est conservé aussi longtemps que des pièces qu'il contient.",
	"SHARED":                    "Une autre pièce, conservée, s'y réfère.",
	"OFFICER":                   "Décision du délégué à la protection des données.",
}

// writeLetter writes the answer to a request, or the letter that extends its time.
func (c *cli) writeLetter(ctx context.Context, a *archive.Archive, id string, extension bool, out string) error {
	x, err := c.reader(a).LetterContext(ctx, id)
	if err != nil {
		return err
	}
	q := x.Request
	settings, err := a.GDPRSettings(q.Tenant)
	if err != nil {
		return err
	}
	l := &letter.Letter{
		From: letter.Sender{Name: a.TenantName(q.Tenant), Address: settings.Address}, Place: cmp.Or(settings.Place, a.TenantName(q.Tenant)), Date: time.Now(),
		To: append(nonEmpty(x.Opened.Who), x.Opened.Address...), Request: q.ID, Article: letter.Article(q.Article), Received: dayTime(q.Received), Basis: x.Decided.LegalBasis,
		Paragraphs: x.Decided.Paragraphs, Officer: settings.Officer, Court: settings.Court,
		Signatory: cmp.Or(settings.Signatory, c.agent), Function: cmp.Or(settings.Function, "Délégué à la protection des données"),
	}
	if len(l.To) == 0 {
		return fmt.Errorf("nobody said whom to write to: give who, and the address, when the request is opened (sae request open --from FILE.json)")
	}
	if x.Extended.Reason != "" {
		l.Extension = &letter.Extension{Until: dayTime(q.Due), Why: x.Extended.Reason}
	}
	switch {
	case extension && l.Extension == nil:
		return fmt.Errorf("the time of request %s was not extended: sae request extend", id)
	case extension:
		l.Outcome = letter.Extended
	case q.Outcome == "":
		return fmt.Errorf("request %s is not decided yet: sae request decide", id)
	case q.Outcome == archive.Denied && slices.Equal(q.Grounds, []string{"12(6)"}):
		l.Outcome = letter.Unidentified
	default:
		l.Outcome = letter.Outcome(q.Outcome)
		if err := c.letterBody(ctx, a, x, l); err != nil {
			return err
		}
	}
	return c.writeNew(out, l.PDF)
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func dayTime(day string) time.Time {
	t, err := time.ParseInLocation(time.DateOnly, day, time.Local)
	if err != nil {
		return time.Time{}
	}
	return t
}

// letterBody adds to a letter what was decided of each unit, and what the article wants told.
func (c *cli) letterBody(ctx context.Context, a *archive.Archive, x *archive.LetterContext, l *letter.Letter) error {
	q := x.Request
	if q.Outcome != archive.Granted && len(q.Grounds) > 0 {
		l.Paragraphs = append([]string{"Motifs : RGPD, art. " + strings.Join(q.Grounds, ", ") + "."}, l.Paragraphs...)
	}
	switch q.Article {
	case 15:
		var err error
		l.Processing, err = c.processingOf(ctx, a, x)
		if err != nil {
			return err
		}
		fallthrough
	case 20:
		if q.Outcome != archive.Denied {
			l.Enclosures = []string{"copie de vos données, avec son sommaire"}
		}
		return nil
	case 17, 21:
		l.Findings = lettersFindings(x, l.Article)
		for _, e := range x.Exports {
			l.Exports = append(l.Exports, letter.Export{Recipient: cmp.Or(exportsInFrench[e.Message], e.Message), Date: e.Time.Format(time.DateOnly), What: fmt.Sprintf("%d pièces (inscription n° %d au journal)", e.Units, e.Entry)})
		}
		if q.Outcome != archive.Denied {
			effective, err := a.EffectiveFrom(time.Now().UTC())
			if err != nil {
				return err
			}
			if l.Effective = effective.Local(); dayTime(q.Due).After(l.Effective) { // until then it is carried out
				l.Effective = dayTime(q.Due)
			}
		}
	}
	return nil
}

func lettersFindings(x *archive.LetterContext, article letter.Article) (out []letter.Finding) {
	for _, f := range x.Decided.Findings {
		d := letter.Finding{Number: int(f.Number), Document: cmp.Or(x.Titles[f.Unit], fmt.Sprintf("pièce n° %d", f.Number)), Explanation: findingsInFrench[f.Why], Date: f.Date}
		if f.Ground != "" {
			d.Ground = "RGPD art. " + f.Ground
		}
		switch {
		case f.Verdict == retention.EraseNow && article == letter.Objection:
			d.Decision = letter.Stopped
		case f.Verdict == retention.EraseNow && x.Request.Outcome != archive.Denied:
			d.Decision = letter.EraseNow
		case f.Verdict == retention.EraseAt && article == letter.Erasure:
			d.Decision = letter.EraseAt
		case f.Why == retention.ErasureHeld && article == letter.Erasure:
			d.Decision = letter.Held
		default:
			d.Decision = letter.Keep
		}
		out = append(out, d)
	}
	return out
}

// processingOf are what art. 15(1) has told of the procedures of a person's files.
func (c *cli) processingOf(ctx context.Context, a *archive.Archive, x *archive.LetterContext) (out []letter.Processing, err error) {
	seen := map[string]bool{}
	s, err := a.Rules(x.Request.Tenant)
	if err != nil {
		return nil, err
	}
	for _, f := range x.Files {
		if seen[f.Procedure] {
			continue
		}
		seen[f.Procedure] = true
		p, err := a.Procedure(x.Request.Tenant, f.Procedure)
		if err != nil {
			return nil, err
		}
		var rules []retention.Versioned
		for _, id := range p.Rules.Appraisal {
			if r, ok := s.Last(id); ok {
				rules = append(rules, r)
			}
		}
		out = append(out, processing(p, rules))
	}
	return out, ctx.Err()
}

func processing(p *archive.ProcedureVersion, rules []retention.Versioned) letter.Processing {
	out := letter.Processing{Name: p.Name, Purpose: p.Processing.Purpose, Basis: p.Processing.Basis, Special: p.Processing.Special, Subjects: p.Processing.Subjects, Data: p.Processing.Data, Recipients: p.Processing.Recipients,
		Source: "Les pièces que vous avez remises, et celles que le service a établies ou reçues pour instruire votre dossier.", Transfers: "Aucun.", Automated: "Aucune décision fondée exclusivement sur un traitement automatisé."}
	for _, r := range rules {
		out.Retention = append(out.Retention, letter.Retention{Rule: r.ID, Name: r.Name, Duration: r.Duration.String(), Trigger: triggerInFrench(&r.Rule), Action: string(r.FinalAction), Basis: r.Basis})
	}
	return out
}

// personalIndex lays out the index of the package that a person receives.
func (c *cli) personalIndex(a *archive.Archive, p *archive.PersonalData, w io.Writer) error {
	settings, err := a.GDPRSettings(p.Tenant)
	if err != nil {
		return err
	}
	x := &letter.Index{From: letter.Sender{Name: a.TenantName(p.Tenant), Address: settings.Address}, Request: p.Request, Article: letter.Article(p.Article), Made: p.Made, Officer: settings.Officer}
	if s := p.Subject; s != nil {
		x.Person = strings.TrimSpace(s.GivenNames + " " + cmp.Or(s.FamilyName, s.BirthName))
	}
	for _, f := range p.Files {
		x.Files = append(x.Files, f.Number)
	}
	for _, d := range p.Documents {
		if d.Folder {
			continue
		}
		row := letter.Document{Number: d.Number, Title: d.Unit.Title, Type: cmp.Or(d.Type, d.Unit.Document), Date: d.Unit.StartDate, Channel: string(d.Unit.Channel), Proof: d.Proof, Due: d.Terms.Assess.Due}
		if d.Sealed != nil {
			row.Sealed = *d.Sealed
		}
		for _, r := range d.Terms.Rules {
			if r.Category == retention.Appraisal {
				row.Rule = r.Rule
			}
		}
		if len(d.Objects) == 0 {
			x.Documents = append(x.Documents, row)
		}
		for i, o := range d.Objects {
			object := d.Unit.Objects[i]
			row.Name, row.Size, row.SHA256, row.Format = o.Name, object.Size, object.SHA256, cmp.Or(object.Format.Name, object.Format.PUID)
			x.Documents = append(x.Documents, row)
		}
	}
	for _, e := range p.Exports {
		x.Accesses = append(x.Accesses, letter.Consultation{Date: e.Time.Format(time.DateOnly), Recipient: cmp.Or(exportsInFrench[e.Message], e.Message), What: fmt.Sprintf("%d pièces remises (inscription n° %d au journal)", e.Units, e.Entry)})
	}
	return x.PDF(w)
}

func (c *cli) gdprRegisterCmd() *cobra.Command {
	var tenant, out string
	cmd := &cobra.Command{
		Use:   "register [-o FILE.pdf]",
		Short: "Print the record of processing activities (art. 30), from the procedures and what the archive holds",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(true, func(a *archive.Archive) error {
				all, err := a.Register(cmd.Context(), tenant)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(all)
				}
				r, err := c.register(a, tenant, all)
				if err != nil {
					return err
				}
				if out == "" {
					return r.Text(c.out)
				}
				if err := c.writeNew(out, r.PDF); err != nil {
					return err
				}
				c.printf("record of processing activities written to %s\n", out)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().StringVarP(&out, "out", "o", "", "write a PDF; the file must not exist")
	return cmd
}

// measures are those that the archive takes whatever the configuration says (GDPR art. 32).
var measures = []string{
	"Chiffrement de chaque pièce et de chaque notice sous une clé propre, qui peut être détruite seule (AES-256-GCM)",
	"Journal d'archivage en ajout seul, signé et horodaté (RFC 3161, RFC 4998), qui ne contient aucune donnée à caractère personnel",
	"Copies multiples, contrôlées et réparées ; effacement par destruction des clés",
	"Journal des consultations scellé ; droits par rôle ; limitation du traitement par finalité",
}

func (c *cli) register(a *archive.Archive, tenant string, all []*archive.Processed) (*letter.Register, error) {
	settings, err := a.GDPRSettings(tenant)
	if err != nil {
		return nil, err
	}
	r := &letter.Register{Controller: letter.Sender{Name: a.TenantName(tenant), Address: settings.Address}, Officer: settings.Officer, Made: time.Now(), Measures: append(slices.Clone(measures), settings.Measures...)}
	for _, p := range all {
		activity := letter.Activity{Processing: processing(p.ProcedureVersion, p.Terms), Code: p.ID, Open: p.Open, Closed: p.Closed, Documents: p.Documents}
		activity.Source, activity.Automated = "", ""
		r.Activities = append(r.Activities, activity)
	}
	return r, nil
}

func (c *cli) gdprCheckCmd() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Name what to look at: units without rule or past due, late requests, subjects without open file, erasures that are due",
		Long: `Name what somebody should look at who answers for the protection of data; status 1 when there is
something. It names identifiers, and nobody.

  NO_RULE             a unit that no retention ever ends
  PAST_DUE            a unit that is to be destroyed, and is still there
  LATE_REQUEST        a request that should have been answered
  NO_OPEN_FILE        a subject without an open file
  ERASURE_DUE         units that were to be erased later, and now can be
  ERASURE_UNFINISHED  an erasure of which the person was told, and that is not carried out`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := 0
			err := c.open(true, func(a *archive.Archive) error {
				return a.CheckGDPR(cmd.Context(), tenant, func(f archive.GDPRFinding) error {
					found++
					return c.told(f, "%-18s  %s  %-10s  %s\n", f.Code, f.ID, orText(f.Date, "-"), f.Do)
				})
			})
			if err != nil {
				return err
			}
			if found == 0 {
				if !c.json {
					c.printf("nothing to look at\n")
				}
				return nil
			}
			return errSaid
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	return cmd
}

// writeZip writes a new zip by f; when f fails, nothing is left behind.
func (c *cli) writeZip(file string, f func(archive.Files) error) error {
	return c.writeNew(file, func(w io.Writer) error { return zipped(w, f) })
}

// zipped writes a zip by f.
func zipped(w io.Writer, f func(archive.Files) error) error {
	z := zip.NewWriter(w)
	if err := f(archive.ZipFiles{Writer: z, Modified: time.Now()}); err != nil {
		return err
	}
	return z.Close()
}
