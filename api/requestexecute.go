package api

import (
	"archive/zip"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/archive/printed"
	"sae/integrity"
)

// What carries the decision on a data subject's request out: by an archivist who did not decide.

func (s *service) addRequestExecution() {
	addRequestStep(s, requestStep[Restricting]{name: "restrictByRequest", path: "restriction", summary: "Carry out a restriction (art. 18): the subject's files are read for named purposes alone", must: true, ends: ledgerKind(archive.RequestExecuted),
		do: func(ctx context.Context, agent, id string, b Restricting) (*archive.Request, error) {
			purposes := b.Purposes
			if len(purposes) == 0 {
				purposes = []archive.Purpose{archive.ForLegalClaims, archive.ForConsent, archive.ForDataSubject}
			}
			if b.Reason == "" {
				b.Reason = "GDPR art. 18, request " + id
			}
			if _, err := s.of(identityOf(ctx)).ExecuteRestriction(ctx, agent, id, purposes, b.Reason); err != nil {
				return nil, err
			}
			return s.of(identityOf(ctx)).DataRequest(id)
		}})
	addRequestStep(s, requestStep[OptionalReason]{name: "endRequest", path: "end", summary: "Record that a decision was carried out: of a package, of corrections, or of what was done outside of the archive", must: true,
		do: func(ctx context.Context, agent, id string, b OptionalReason) (*archive.Request, error) {
			return s.of(identityOf(ctx)).EndExecution(ctx, agent, id, b.Reason)
		}})
	add(s, huma.Operation{OperationID: "correctUnit", Method: http.MethodPost, Path: requestRoot + "/corrections/units/{unit}", DefaultStatus: http.StatusCreated, Summary: "Correct what is said of a unit, as a decision allows (art. 16)",
		Description: "The document stays as it was sealed: the unit gets a version with corrected metadata. The request ends with endRequest. If-Match is required, with the ETag of the unit (428 without it)."}, s.correctUnit)
	add(s, huma.Operation{OperationID: "correctSubject", Method: http.MethodPost, Path: requestRoot + "/corrections/subject", DefaultStatus: http.StatusCreated, Summary: "Correct names and birth of the subject, as a decision allows (art. 16)",
		Description: "The request ends with endRequest. If-Match is required, with the ETag of the subject (428 without it)."}, s.correctSubject)
	add(s, huma.Operation{OperationID: "takePackage", Method: http.MethodPost, Path: requestRoot + "/package", Summary: "Package of what the archive holds of a person (art. 15, 20), as zip",
		Description: "Index, documents, data and proofs. Each time it is made it is entered into the ledger, as handed out; it can be made again until the request is ended (endRequest). It takes no Idempotency-Key: asked for again, it is made again.",
		Responses:   binary("application/zip", "the package")}, s.takePackage)
	add(s, huma.Operation{OperationID: "executeErasure", Method: http.MethodPost, Path: requestRoot + "/erasure", Summary: "Carry out an erasure (art. 17, 21): it cannot be taken back",
		Description: "By another archivist than who decided, when the answer was sent. Units are looked at again, and destroyed with their keys; when nothing is left of the subject, so are its record and what its requests said. " + goesOn + " " + needsMatch,
		Responses:   accepted(s)}, s.executeErasure)
	add(s, huma.Operation{OperationID: "showErasure", Method: http.MethodGet, Path: requestRoot + "/erasure", Summary: "How far an erasure is"}, s.showErasure)
	add(s, huma.Operation{OperationID: "requestCertificate", Method: http.MethodGet, Path: requestRoot + "/certificate", Summary: "Certificate of an erasure: what was erased, when, under which decision; it names nobody",
		Responses: certificateResponses()}, s.requestCertificate)
	add(s, huma.Operation{OperationID: "makeRequestCertificate", Method: http.MethodPost, Path: requestRoot + "/certificate", DefaultStatus: http.StatusCreated, Summary: "Make the certificate of an erasure, when no time-stamping authority answered at its end"}, s.makeRequestCertificate)
}

// goesOn is what the description of an operation says that destroys.
const goesOn = "202 means that it is under way: ask how far it is, or wait with Prefer. Stopped at any point, by a crash too, it goes on when it is asked for again."

// accepted are the responses of what may be under way after its answer.
func accepted(s *service) map[string]*huma.Response {
	schema := s.api.OpenAPI().Components.Schemas.Schema(typeOf[Execution](), true, "Execution")
	content := map[string]*huma.MediaType{"application/json": {Schema: schema}}
	return map[string]*huma.Response{"200": {Description: "it has ended", Content: content}, "202": {Description: "it is under way", Content: content}}
}

// Restricting says what a restriction leaves open.
type Restricting struct {
	Purposes []archive.Purpose `json:"purposes,omitempty" maxItems:"10" enum:"legal-claims,consent,protection-of-others,public-interest,data-subject-request,audit" doc:"for which it is read all the same; legal-claims, consent and data-subject-request when absent"`
	Reason   string            `json:"reason,omitempty" maxLength:"10000" doc:"kept enciphered"`
}

// OptionalReason may say why, or how.
type OptionalReason struct {
	Reason string `json:"reason,omitempty" maxLength:"10000" doc:"why, or how; kept enciphered"`
}

// UnitCorrection says what is corrected of a unit: fields that are absent stay as they are.
type UnitCorrection struct {
	Title       *string           `json:"title,omitempty" maxLength:"10000"`
	Description *string           `json:"description,omitempty" maxLength:"100000"`
	StartDate   *string           `json:"startDate,omitempty" maxLength:"64"`
	EndDate     *string           `json:"endDate,omitempty" maxLength:"64"`
	Custom      map[string]string `json:"custom,omitempty" doc:"empty values are taken out"`
	Note        string            `json:"note" minLength:"1" maxLength:"100000" doc:"what was wrong, and by what it is known; kept enciphered with the unit"`
	Restrict    bool              `json:"restrict,omitempty" doc:"close the versions before it but for named purposes"`
}

type correctUnitInput struct {
	Keyed
	IfMatch
	RequestPath
	UnitPath
	Body UnitCorrection
}

func (s *service) correctUnit(ctx context.Context, who *Identity, in *correctUnitInput) (*done[*archive.Request], error) {
	if _, err := s.dataRequest(who, in.Request); err != nil {
		return nil, err
	}
	if err := s.ours(who, in.Unit); err != nil {
		return nil, err
	}
	b, ends := in.Body, integrity.Rectification
	if b.Restrict {
		ends = integrity.Restriction
	}
	correct := func(ctx context.Context) (*archive.Request, error) {
		_, err := s.of(who).ExecuteRectification(ctx, who.Name, in.Request, archive.Rectified{Unit: in.Unit, Title: b.Title, Description: b.Description, StartDate: b.StartDate, EndDate: b.EndDate, Custom: b.Custom, Note: b.Note, Restrict: b.Restrict})
		if err != nil {
			return nil, err
		}
		return s.of(who).DataRequest(in.Request)
	}
	q, replayed, err := once(ctx, s, who, in.Key, "correctUnit "+in.Request+" "+in.Unit, b, held(s, in.Unit, in.IfMatch, true, correct),
		func(int64) (*archive.Request, error) { return s.of(who).DataRequest(in.Request) }, ends)
	if err != nil {
		return nil, err
	}
	return &done[*archive.Request]{Replayed: replayed, Location: "/v1/units/" + in.Unit, Body: q}, nil
}

// SubjectCorrection says what is corrected of a subject: fields that are absent stay as they are.
type SubjectCorrection struct {
	Names
	Reason string `json:"reason" minLength:"1" maxLength:"10000" doc:"what was wrong, and by what it is known; kept enciphered"`
}

type correctSubjectInput struct {
	Keyed
	IfMatch
	RequestPath
	Body SubjectCorrection
}

func (s *service) correctSubject(ctx context.Context, who *Identity, in *correctSubjectInput) (*done[*archive.Request], error) {
	q, err := s.dataRequest(who, in.Request)
	if err == nil && q.Subject == "" {
		err = &archive.Refusal{Problems: []string{"request " + q.ID + " names no data subject"}}
	}
	if err != nil {
		return nil, err
	}
	q, replayed, err := once(ctx, s, who, in.Key, "correctSubject "+in.Request, in.Body, held(s, q.Subject, in.IfMatch, true, func(ctx context.Context) (*archive.Request, error) {
		if _, err := s.of(who).ExecuteSubjectRectification(ctx, who.Name, in.Request, in.Body.data(), in.Body.Reason); err != nil {
			return nil, err
		}
		return s.of(who).DataRequest(in.Request)
	}), func(int64) (*archive.Request, error) { return s.of(who).DataRequest(in.Request) })
	if err != nil {
		return nil, err
	}
	return &done[*archive.Request]{Replayed: replayed, Location: "/v1/subjects/" + q.Subject, Body: q}, nil
}

type packageInput struct {
	Reads
	RequestPath
}

// takePackage gives the package as it is made. What waits for its seal is sealed before: a document
// without proof is worth less to the person.
func (s *service) takePackage(ctx context.Context, who *Identity, in *packageInput) (*huma.StreamResponse, error) {
	if _, err := s.dataRequest(who, in.Request); err != nil {
		return nil, err
	}
	if _, err := s.a.Seal(ctx, who.Name); err != nil {
		s.log.Warn("sealing before a package", "request", requestOf(ctx).id, "error", err)
	}
	r := s.reader(who, in.Reads)
	return s.zipped("takePackage", in.Request+".zip", func(files archive.Files) error {
		_, err := r.ExecuteAccess(ctx, in.Request, files, func(p *archive.PersonalData, w io.Writer) error { return printed.Index(s.of(who), p, w) })
		return err
	}), nil
}

// zipped streams a zip.
func (s *service) zipped(operation, name string, write func(archive.Files) error) *huma.StreamResponse {
	return s.stream(operation, "application/zip", name, func(w io.Writer) error {
		z := zip.NewWriter(w)
		if err := write(archive.ZipFiles{Writer: z, Modified: time.Now()}); err != nil {
			return err
		}
		return z.Close()
	})
}
