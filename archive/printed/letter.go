package printed

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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

// Letter is the answer to a request, or the letter that extends its time. agent signs it when the
// configuration names nobody.
func Letter(ctx context.Context, a *archive.Archive, x *archive.LetterContext, extension bool, agent string) (*letter.Letter, error) {
	q := x.Request
	settings, err := a.GDPRSettings(q.Tenant)
	if err != nil {
		return nil, err
	}
	l := &letter.Letter{
		From: letter.Sender{Name: a.TenantName(q.Tenant), Address: settings.Address}, Place: cmp.Or(settings.Place, a.TenantName(q.Tenant)), Date: time.Now(),
		To: append(nonEmpty(x.Opened.Who), x.Opened.Address...), Request: q.ID, Article: letter.Article(q.Article), Received: dayTime(q.Received), Basis: x.Decided.LegalBasis,
		Paragraphs: x.Decided.Paragraphs, Officer: settings.Officer, Court: settings.Court,
		Signatory: cmp.Or(settings.Signatory, agent), Function: cmp.Or(settings.Function, "Délégué à la protection des données"),
	}
	if len(l.To) == 0 {
		return nil, refused("nobody said whom to write to: give who, and the address, when the request is opened (sae request open --from FILE.json)")
	}
	if x.Extended.Reason != "" {
		l.Extension = &letter.Extension{Until: dayTime(q.Due), Why: x.Extended.Reason}
	}
	switch {
	case extension && l.Extension == nil:
		return nil, refused("the time of request %s was not extended: sae request extend", q.ID)
	case extension:
		l.Outcome = letter.Extended
	case q.Outcome == "":
		return nil, refused("request %s is not decided yet: sae request decide", q.ID)
	case q.Outcome == archive.Denied && slices.Equal(q.Grounds, []string{"12(6)"}):
		l.Outcome = letter.Unidentified
	default:
		l.Outcome = letter.Outcome(q.Outcome)
		if err := letterBody(ctx, a, x, l); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// refused says why there is nothing to print.
func refused(format string, args ...any) error {
	return &archive.Refusal{Problems: []string{fmt.Sprintf(format, args...)}}
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
func letterBody(ctx context.Context, a *archive.Archive, x *archive.LetterContext, l *letter.Letter) error {
	q := x.Request
	if q.Outcome != archive.Granted && len(q.Grounds) > 0 {
		l.Paragraphs = append([]string{"Motifs : RGPD, art. " + strings.Join(q.Grounds, ", ") + "."}, l.Paragraphs...)
	}
	switch q.Article {
	case 15:
		var err error
		l.Processing, err = processingOf(ctx, a, x)
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
func processingOf(ctx context.Context, a *archive.Archive, x *archive.LetterContext) (out []letter.Processing, err error) {
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
