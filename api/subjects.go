package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
)

func (s *service) addSubjects() {
	add(s, huma.Operation{OperationID: "createSubject", Method: http.MethodPost, Path: "/v1/subjects", DefaultStatus: http.StatusCreated, Summary: "Record a data subject"}, s.createSubject)
	add(s, huma.Operation{OperationID: "showSubject", Method: http.MethodGet, Path: "/v1/subjects/{subject}", Summary: "The record of a data subject"}, s.showSubject)
	add(s, huma.Operation{OperationID: "findSubjects", Method: http.MethodPost, Path: "/v1/subjects/find", Summary: "Find data subjects by a federated identifier, or by name",
		Description: "By POST, so that no name stands in addresses."}, s.findSubjects)
}

// Names are names and birth of a person.
type Names struct {
	FamilyName string `json:"familyName,omitempty" maxLength:"200"`
	BirthName  string `json:"birthName,omitempty" maxLength:"200"`
	GivenNames string `json:"givenNames,omitempty" maxLength:"200"`
	BirthDate  string `json:"birthDate,omitempty" format:"date"`
	BirthPlace string `json:"birthPlace,omitempty" maxLength:"200"`
}

func (n Names) data() archive.PersonData {
	return archive.PersonData{FamilyName: n.FamilyName, BirthName: n.BirthName, GivenNames: n.GivenNames, BirthDate: n.BirthDate, BirthPlace: n.BirthPlace}
}

// NewSubject is a data subject to record.
type NewSubject struct {
	Names
	Identities []Person `json:"identities,omitempty" maxItems:"100" doc:"kept as keyed pseudonyms alone"`
}

type createSubjectInput struct {
	Keyed
	Body NewSubject
}

func (s *service) createSubject(ctx context.Context, who *Identity, in *createSubjectInput) (*done[*archive.Subject], error) {
	var ids []archive.FederatedID
	for _, p := range in.Body.Identities {
		ids = append(ids, archive.FederatedID{Issuer: p.Issuer, Sub: p.Sub})
	}
	subject, replayed, err := once(ctx, s, who, in.Key, "createSubject", in.Body, func(ctx context.Context) (*archive.Subject, error) {
		return s.of(who).NewSubject(ctx, who.Name, who.Tenant, in.Body.data(), ids)
	}, func(entry int64) (*archive.Subject, error) {
		it, err := s.of(who).Item(entry, 0)
		if err != nil {
			return nil, err
		}
		return s.reader(who, Reads{}).Subject(it.Unit)
	})
	if err != nil {
		return nil, err
	}
	return &done[*archive.Subject]{ETag: etag(subject.AsOf(), subject), Replayed: replayed, Location: "/v1/subjects/" + subject.ID, Body: subject}, nil
}

type subjectInput struct {
	Reads
	Fresh
	SubjectPath
}

func (s *service) showSubject(_ context.Context, who *Identity, in *subjectInput) (*shown[*archive.Subject], error) {
	subject, err := s.reader(who, in.Reads).Subject(in.Subject)
	if err != nil {
		return nil, err
	}
	return show(subject.AsOf(), in.Fresh, subject), nil
}

// SubjectQuery names whom to find: by an identifier, or by names.
type SubjectQuery struct {
	Names
	Identity *Person `json:"identity,omitempty"`
}

type findSubjectsInput struct {
	Reads
	Body SubjectQuery
}

type subjectsOutput struct {
	Body struct {
		Subjects []*archive.Subject `json:"subjects"`
	}
}

func (s *service) findSubjects(_ context.Context, who *Identity, in *findSubjectsInput) (*subjectsOutput, error) {
	out, r := &subjectsOutput{}, s.reader(who, in.Reads)
	out.Body.Subjects = []*archive.Subject{}
	if id := in.Body.Identity; id != nil {
		subject, err := r.FindSubject(who.Tenant, archive.FederatedID{Issuer: id.Issuer, Sub: id.Sub})
		if err != nil {
			return nil, err
		}
		out.Body.Subjects = append(out.Body.Subjects, subject)
		return out, nil
	}
	found, err := r.Subjects(who.Tenant, in.Body.data())
	if err != nil {
		return nil, err
	}
	out.Body.Subjects = append(out.Body.Subjects, found...)
	return out, nil
}
