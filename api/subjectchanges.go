package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
)

// What can be done to the record of a data subject. Who has no role that reads is told that it was done,
// and no names.

func (s *service) addSubjectChanges() {
	const at = "/v1/subjects/{subject}"
	add(s, huma.Operation{OperationID: "listSubjects", Method: http.MethodGet, Path: "/v1/subjects", Summary: "List data subjects, in the order of identifiers, which are drawn at random"}, s.listSubjects)
	addSubjectStep(s, "linkIdentity", at+"/identities", "Link a federated identifier to a subject", false, func(ctx context.Context, who *Identity, id string, b Linked) (*archive.Subject, error) {
		return s.of(who).LinkIdentity(ctx, who.Name, id, archive.FederatedID{Issuer: b.Issuer, Sub: b.Sub}, b.Reason)
	})
	addSubjectStep(s, "unlinkIdentity", at+"/identities/unlink", "Take a federated identifier from a subject", false, func(ctx context.Context, who *Identity, id string, b Linked) (*archive.Subject, error) {
		return s.of(who).UnlinkIdentity(ctx, who.Name, id, archive.FederatedID{Issuer: b.Issuer, Sub: b.Sub}, b.Reason)
	})
	addSubjectStep(s, "mergeSubject", at+"/merge", "Record that a subject is the same person as another, into which it goes", true, func(ctx context.Context, who *Identity, id string, b Merging) (*archive.Subject, error) {
		if err := s.ours(who, b.Into); err != nil {
			return nil, err
		}
		return s.of(who).MergeSubjects(ctx, who.Name, id, b.Into, b.Reason)
	})
	addSubjectStep(s, "splitSubject", at+"/split", "Take apart what is not one person; the answer is the other subject", true, func(ctx context.Context, who *Identity, id string, b Splitting) (*archive.Subject, error) {
		if b.Merged != "" {
			if err := s.ours(who, b.Merged); err != nil {
				return nil, err
			}
		}
		r := archive.SplitRequest{Merged: b.Merged, Files: b.Files, Person: b.Person.data(), Reason: b.Reason}
		for _, p := range b.Identities {
			r.Identities = append(r.Identities, archive.FederatedID{Issuer: p.Issuer, Sub: p.Sub})
		}
		return s.of(who).SplitSubject(ctx, who.Name, id, r)
	})
	addSubjectStep(s, "rectifySubject", at+"/rectify", "Correct names and birth of a subject", true, func(ctx context.Context, who *Identity, id string, b SubjectCorrection) (*archive.Subject, error) {
		return s.of(who).RectifySubject(ctx, who.Name, id, "", b.data(), b.Reason)
	})
}

// SubjectPath names a data subject.
type SubjectPath struct {
	Subject string `path:"subject" pattern:"^h[a-z2-7]{26}$"`
}

type listSubjectsInput struct {
	Reads
	Paged
}

type subjectPageOutput struct {
	Body archive.SubjectPage
}

func (s *service) listSubjects(_ context.Context, who *Identity, in *listSubjectsInput) (*subjectPageOutput, error) {
	p, err := s.reader(who, in.Reads).ListSubjects(who.Tenant, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return &subjectPageOutput{p}, nil
}

// Linked is a federated identifier that is linked, or taken away.
type Linked struct {
	Person
	Reason string `json:"reason,omitempty" maxLength:"10000" doc:"how it is known; kept enciphered"`
}

// Merging says into which subject another goes.
type Merging struct {
	Into   string `json:"into" pattern:"^h[a-z2-7]{26}$"`
	Reason string `json:"reason" minLength:"1" maxLength:"10000" doc:"how it is known that the two are one person; kept enciphered"`
}

// Splitting says what is taken out of a subject: one that was merged into it, or identifiers and files.
type Splitting struct {
	Merged     string   `json:"merged,omitempty" pattern:"^(h[a-z2-7]{26})?$"`
	Identities []Person `json:"identities,omitempty" maxItems:"100"`
	Files      []string `json:"files,omitempty" maxItems:"1000" doc:"units of citizen files"`
	Person     Names    `json:"person,omitempty" doc:"of the other subject"`
	Reason     string   `json:"reason" minLength:"1" maxLength:"10000" doc:"how it is known that these are two persons; kept enciphered"`
}

type subjectStepInput[B any] struct {
	Keyed
	IfMatch
	SubjectPath
	Body B
}

func addSubjectStep[B any](s *service, name, path, summary string, must bool, do func(ctx context.Context, who *Identity, id string, b B) (*archive.Subject, error)) {
	about := ""
	if must {
		about = needsMatch
	}
	add(s, huma.Operation{OperationID: name, Method: http.MethodPost, Path: path, DefaultStatus: http.StatusCreated, Summary: summary, Description: about},
		func(ctx context.Context, who *Identity, in *subjectStepInput[B]) (*done[*archive.Subject], error) {
			if err := s.ours(who, in.Subject); err != nil {
				return nil, err
			}
			id, replayed, err := once(ctx, s, who, in.Key, name+" "+in.Subject, in.Body, held(s, in.Subject, in.IfMatch, must, func(ctx context.Context) (string, error) {
				subject, err := do(ctx, who, in.Subject, in.Body)
				if err != nil {
					return "", err
				}
				return subject.ID, nil
			}), by(who, s.lastUnit))
			if err != nil {
				return nil, err
			}
			subject, err := s.reader(who, Reads{}).Subject(id)
			if err != nil {
				return nil, err
			}
			return &done[*archive.Subject]{ETag: etag(subject.AsOf(), subject), Replayed: replayed, Location: "/v1/subjects/" + id, Body: subject}, nil
		})
}

// lastUnit is the last record that an operation made: of a split the other subject.
func (s *service) lastUnit(who *Identity, entry int64) (string, error) {
	e, err := s.entry(entry)
	if err != nil || e.Items == nil {
		return "", err
	}
	it, err := s.of(who).Item(entry, e.Items.Count-1)
	return it.Unit, err
}
