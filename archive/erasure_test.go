package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sae/archive/procedure"
	"sae/retention"
)

const gdprRoles = "    roles: {archivist: [alice, dave], data-protection-officer: [dora], originating-agency: [bob]}\n    accept-unknown:"

// citizens is an archive with the shipped procedures, and who plays which role.
func citizens(t *testing.T) (*Archive, string) {
	t.Helper()
	dir := createEdited(t, func(c string) string { return strings.Replace(c, "    accept-unknown:", gdprRoles, 1) })
	a := reopened(t, dir)
	ctx := context.Background()
	rules, err := retention.Starting()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := a.PlanRules(ctx, "", rules, false)
	if err == nil {
		_, err = a.ChangeRules(ctx, "alice", plan)
	}
	for _, id := range procedure.Shipped() {
		if err == nil {
			_, err = a.AddProcedure(ctx, "alice", "", procedure.ShippedFile(id))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

// own is a procedure whose files go one year after their end, without sampling.
const own = `id: OWN
name: Aide facultative
channels: [digital, digitised, paper, both]
rules: {appraisal: [AIDE-REFUSEE, AIDE-FACULTATIVE]}
processing: {purpose: p, legal-basis: b, data-subjects: [s], data: [d]}
documents:
  - {id: form, name: Formulaire, expected: true, at-most: 2}
  - {id: mail, name: Courrier, channels: [digital]}
events: [{id: decision, name: Décision, trigger: last-decision, repeats: true}, {id: end, name: Fin, closes: true}]
`

var franceConnect = FederatedID{"https://fournisseur.example", "af31-0007"}

// openOwn opens a file of a person, with two documents.
func openOwn(t *testing.T, a *Archive, number string, person PersonData, ids ...FederatedID) (subject *Subject, file string, docs *Deposited) {
	t.Helper()
	ctx := context.Background()
	if _, err := a.Procedure("", "OWN"); errors.Is(err, ErrNotFound) {
		if _, err := a.AddProcedure(ctx, "alice", "", []byte(own)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := a.NewSubject(ctx, "alice", "", person, ids)
	if err != nil {
		t.Fatal(err)
	}
	f, err := a.OpenFile(ctx, "alice", NewFile{Procedure: "OWN", Number: number, Persons: []string{s.ID}})
	if err != nil {
		t.Fatal(err)
	}
	form, mail := digital("form "+person.FamilyName, "form of "+person.FamilyName), digital("mail "+person.FamilyName, "mail of "+person.FamilyName)
	form.Document, mail.Document = "form", "mail"
	d, err := a.Deposit(ctx, "alice", Deposit{File: number, Units: []NewUnit{form, mail}})
	if err != nil {
		t.Fatal(err)
	}
	return s, f.Units[0].ID, d
}

// decided is a request for erasure that is decided and answered.
func decided(t *testing.T, a *Archive, subject string, outcome Outcome) *Request {
	t.Helper()
	ctx := context.Background()
	q, err := a.OpenRequest(ctx, "alice", NewRequest{Article: 17, Subject: subject, Words: RequestWords{Who: planted, Wish: planted}})
	if err == nil {
		_, err = a.IdentifyRequest(ctx, "alice", q.ID, "at the desk", false)
	}
	if err == nil {
		_, _, err = a.AnalyseRequest(ctx, "alice", q.ID)
	}
	if err == nil {
		q, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: outcome, LegalBasis: "RGPD art. 17(1)(a)"})
	}
	if err == nil {
		q, err = a.AnswerRequest(ctx, "dora", q.ID, "", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestErasureIsReal: after everything of a person was erased, a copy of all that there was before and
// all that is alive afterwards give nothing of it back; everything else is as it was.
func TestErasureIsReal(t *testing.T) {
	ctx := context.Background()
	a, dir := citizens(t)
	defer func() { a.Close() }()
	s, file, docs := openOwn(t, a, "F-1", PersonData{FamilyName: planted, GivenNames: planted, BirthDate: "1931-02-03", BirthPlace: planted}, franceConnect)
	other, otherFile, otherDocs := openOwn(t, a, "F-2", PersonData{FamilyName: "Martin"}, FederatedID{franceConnect.Issuer, "other"})
	if _, err := a.RecordEvent(ctx, "alice", EventRequest{File: "F-1", Event: "decision", Day: "2015-03-01", Reason: planted}); err != nil {
		t.Fatal(err)
	}
	hold, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{file}, Reason: planted, Owner: planted})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.EndAct(ctx, "alice", hold.ID, planted); err != nil {
		t.Fatal(err)
	}
	if _, err := a.LinkIdentity(ctx, "alice", s.ID, FederatedID{"https://cd99.example", "local"}, planted); err != nil {
		t.Fatal(err)
	}
	mustSeal(t, a)
	before := filepath.Join(t.TempDir(), "before")
	a.Close()
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	restorePermissions(t, before)
	a = reopened(t, dir)
	q := decided(t, a, s.ID, Granted)
	out, err := a.ExecuteErasure(ctx, "dave", q.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out.Destroyed != 3 || len(out.Kept) != 0 || !slices.Equal(out.Subjects, []string{s.ID}) || !out.Words {
		t.Errorf("%+v", out)
	}
	for range 2 {
		for _, id := range []string{file, docs.Units[0].ID, docs.Units[1].ID, s.ID} {
			var destroyed *DestroyedError
			if _, err := a.Unit(id); !errors.As(err, &destroyed) {
				t.Errorf("%s: %v", id, err)
			}
			stone, _, err := a.Tombstone(id)
			if err != nil || stone.Article != 17 || stone.Under != q.Erasure {
				t.Errorf("%+v %v", stone, err)
			}
		}
		if _, err := a.FindSubject("", franceConnect); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if all, err := a.Subjects("", PersonData{FamilyName: planted}); err != nil || len(all) != 0 {
			t.Error(all, err)
		}
		if u, err := a.FileOfPerson("", "OWN", FederatedID{franceConnect.Issuer, "other"}); err != nil || u != otherFile {
			t.Error(u, err)
		}
		if o, err := a.Subject(other.ID); err != nil || o.FamilyName != "Martin" {
			t.Error(o, err)
		}
		if _, err := a.Unit(otherDocs.Units[0].ID); err != nil {
			t.Error(err)
		}
		for _, step := range []RequestStep{RequestOpened, RequestIdentified, RequestDecided} {
			if w, err := a.RequestWords(must(a.DataRequest(q.ID)), step); err != nil || w.Who != "" || w.Wish != "" || w.LegalBasis != "" {
				t.Errorf("%s: %+v %v", step, w, err)
			}
		}
		acts, err := a.Acts("", "")
		if err != nil || len(acts) != 2 || !acts[0].Withheld || !acts[1].Withheld {
			t.Errorf("%+v %v", acts, err)
		}
		mustSeal(t, a)
		if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
			t.Errorf("%+v %v", r.List, err)
		}
		mustFsck(t, a)
		a.Close()
		a = reopened(t, dir)
	}
	notIn(t, dir, planted)
	nothingOpens(t, before, dir)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprint(err))
	}
	return v
}
