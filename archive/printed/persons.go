package printed

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sae/archive"
	"sae/archive/letter"
	"sae/retention"
)

// Index lays out the index of the package that a person receives.
func Index(a *archive.Archive, p *archive.PersonalData, w io.Writer) error {
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

// measures are those that the archive takes whatever the configuration says (GDPR art. 32).
var measures = []string{
	"Chiffrement de chaque pièce et de chaque notice sous une clé propre, qui peut être détruite seule (AES-256-GCM)",
	"Journal d'archivage en ajout seul, signé et horodaté (RFC 3161, RFC 4998), qui ne contient aucune donnée à caractère personnel",
	"Copies multiples, contrôlées et réparées ; effacement par destruction des clés",
	"Journal des consultations scellé ; droits par rôle ; limitation du traitement par finalité",
}

// Register is the record of processing activities (GDPR art. 30) of a tenant.
func Register(a *archive.Archive, tenant string, all []*archive.Processed) (*letter.Register, error) {
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
