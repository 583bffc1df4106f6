// Package printed lays out what an archive says on paper: bordereaux, certificates, letters to data
// subjects, the record of processing. It reads the archive, and fills in what bordereau and letter print.
package printed

import (
	"context"
	"fmt"

	"sae/archive"
	"sae/archive/bordereau"
	"sae/integrity/certificate"
	"sae/retention"
)

// stepsInFrench are how a bordereau names the steps.
var stepsInFrench = map[archive.EliminationStep]string{
	archive.Proposed: "Demande établie", archive.Agreed: "Accord du service producteur", archive.Visaed: "Visa du contrôle scientifique et technique",
	archive.Refused: "Refus", archive.Withdrawn: "Retrait de la demande", archive.ExecutedStep: "Élimination exécutée", archive.Certified: "Attestation de destruction",
}

func bordereauOf(a *archive.Archive, e *archive.Elimination) (*bordereau.Bordereau, error) {
	s, err := a.RulesAt(e.Tenant, e.Steps[0].Entry)
	if err != nil {
		return nil, err
	}
	b := &bordereau.Bordereau{Paper: e.Kind == archive.ForPaper, Reference: e.ID, Authority: a.TenantName(e.Tenant), Proposed: e.Steps[0].Time, At: e.At, Units: e.Units, Refused: int64(len(e.Refusals)), Root: fmt.Sprintf("%x", e.Root[:]), Entry: e.Steps[0].Entry}
	for _, l := range e.Lines {
		line := bordereau.Line{First: l.First, Units: l.Units, Objects: l.Objects, Bytes: l.Bytes, Agency: l.Agency, From: l.From, To: l.To, Due: l.Due}
		for _, id := range l.Rules {
			r, _ := s.Last(id)
			line.Rules = append(line.Rules, bordereau.Rule{ID: id, Name: r.Name, Duration: r.Duration.String(), Action: string(retention.Destroy), Basis: r.Basis})
		}
		b.Lines = append(b.Lines, line)
	}
	for _, step := range e.Steps {
		b.Steps = append(b.Steps, bordereau.Step{What: stepsInFrench[step.Step], When: step.Time, Entry: step.Entry, Refused: step.Refused})
	}
	return b, nil
}

// Bordereau is the bordereau d'élimination of a request, as PDF.
func Bordereau(a *archive.Archive, e *archive.Elimination) ([]byte, error) {
	b, err := bordereauOf(a, e)
	if err != nil {
		return nil, err
	}
	return b.PDF()
}

// Certify seals what is not sealed, archives the certificate of an elimination or erasure that was
// executed, on behalf of agent, and seals that, too.
func Certify(ctx context.Context, a *archive.Archive, agent, id string) (*archive.Certificate, error) {
	if _, err := a.Seal(ctx, agent); err != nil {
		return nil, err
	}
	cert, err := a.Certify(ctx, agent, id, func(e *archive.Elimination, h certificate.Head) ([]byte, error) {
		b, err := bordereauOf(a, e)
		if err != nil {
			return nil, err
		}
		b.Attestation = &bordereau.Attestation{Made: h.Made, Destroyed: h.Destroyed, Deleted: h.Copies.Deleted, Waiting: h.Copies.Waiting}
		if h.Effective != nil {
			b.Attestation.Effective = *h.Effective
		}
		for _, x := range h.Exports {
			b.Attestation.Exports = append(b.Attestation.Exports, bordereau.Export{Operation: x.Operation, When: x.Time, Entry: x.Entry, Units: x.Units})
		}
		return b.PDF()
	})
	if err == nil { // the certificate is a document like others: it is sealed, too
		_, err = a.Seal(ctx, agent)
	}
	return cert, err
}
