package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/retention"
)

// Reads is a read of what tells of persons: what for goes into the log of accesses. The words of why are
// in a header, and not in the address, which proxies write down.
type Reads struct {
	Purpose archive.Purpose `header:"X-Purpose" enum:"access,dissemination,reuse,instruction,legal-claims,consent,protection-of-others,public-interest,data-subject-request,audit" doc:"what it is read for; instruction when absent"`
	Why     string          `header:"X-Purpose-Reason" maxLength:"1000" doc:"why, in words, for the log of accesses"`
}

// reader reads in the name of who asks.
func (s *service) reader(who *Identity, in Reads) *archive.Reader {
	r := s.of(who).As(who.Name, retention.ToRead)
	if in.Purpose != "" || in.Why != "" {
		p := in.Purpose
		if p == "" {
			p = archive.ForInstruction
		}
		r = r.For(p, in.Why)
	}
	return r
}

// Paged is a page of a list.
type Paged struct {
	After string `query:"after" maxLength:"64" doc:"cursor: the next of the page before"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

// UnitPath names a unit.
type UnitPath struct {
	Unit string `path:"unit" pattern:"^[um][a-z2-7]{26}$"`
}

func (s *service) addUnits() {
	add(s, huma.Operation{OperationID: "listUnits", Method: http.MethodGet, Path: "/v1/units", Summary: "List units, in the order in which they were archived"}, s.listUnits)
	add(s, huma.Operation{OperationID: "showUnit", Method: http.MethodGet, Path: "/v1/units/{unit}", Summary: "Show a unit",
		Description: "Of a unit that is not open to who asks, what tells nothing about anybody. The ETag changes with all that is shown; If-None-Match is answered by 304."}, s.showUnit)
	add(s, huma.Operation{OperationID: "unitHistory", Method: http.MethodGet, Path: "/v1/units/{unit}/history", Summary: "All ledger entries on a unit"}, s.unitHistory)
	add(s, huma.Operation{OperationID: "unitRetention", Method: http.MethodGet, Path: "/v1/units/{unit}/retention", Summary: "Which rules apply to a unit, and what becomes of it"}, s.unitRetention)
	add(s, huma.Operation{OperationID: "unitProof", Method: http.MethodGet, Path: "/v1/units/{unit}/proof", Summary: "Proof bundle of a unit, with its documents (ASiC-E)",
		Responses: binary("application/vnd.etsi.asic-e+zip", "the bundle")}, s.unitProof)
	add(s, huma.Operation{OperationID: "search", Method: http.MethodPost, Path: "/v1/search", Summary: "Search among what is open to who asks",
		Description: "By POST, so that what is searched for does not stand in addresses."}, s.search)
}

// binary are the responses of an operation that gives bytes.
func binary(mediaType, description string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {Description: description, Content: map[string]*huma.MediaType{mediaType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}}
}

type listUnitsInput struct {
	Reads
	Paged
	Subject   string          `header:"X-Subject" maxLength:"1000" doc:"identifier of the citizen file: in a header, as it tells of a person"`
	Agreement string          `query:"archivalAgreement" maxLength:"64"`
	Agency    string          `query:"originatingAgency" maxLength:"200"`
	Channel   archive.Channel `query:"channel" enum:"digital,digitised,paper,both"`
	State     string          `query:"state" enum:"pending,sealed"`
	From      time.Time       `query:"archivedFrom"`
	To        time.Time       `query:"archivedBefore"`
}

type unitsOutput struct {
	Body archive.Page
}

func (s *service) listUnits(_ context.Context, who *Identity, in *listUnitsInput) (*unitsOutput, error) {
	p, err := s.reader(who, in.Reads).List(archive.Filter{Tenant: who.Tenant, Subject: in.Subject, Agreement: in.Agreement, Agency: in.Agency, Channel: in.Channel,
		State: in.State, From: in.From, To: in.To, After: in.After, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return &unitsOutput{p}, nil
}

type showUnitInput struct {
	Reads
	UnitPath
	Fresh
	Version int `query:"version" minimum:"0" doc:"0 is the last"`
}

func (s *service) showUnit(_ context.Context, who *Identity, in *showUnitInput) (*shown[*archive.Unit], error) {
	as, err := s.of(who).AsOf(in.Unit) // before it is read: what changes in between is not passed off as read
	if err != nil {
		return nil, err
	}
	u, err := s.reader(who, in.Reads).Unit(in.Unit, in.Version)
	if err != nil {
		return nil, err
	}
	return show(as, in.Fresh, u), nil
}

// tagOf is the entity tag of what is shown.
func tagOf(v any) string {
	sum := sha256.Sum256(mustJSON(v))
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

// matches holds an entity tag against a list of them (RFC 9110 section 13.1.2).
func matches(list, tag string) bool {
	for _, t := range strings.Split(list, ",") {
		if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == tag {
			return true
		}
	}
	return false
}

type unitInput struct {
	Reads
	UnitPath
}

type historyOutput struct {
	Body struct {
		Events []archive.Event `json:"events"`
	}
}

func (s *service) unitHistory(_ context.Context, who *Identity, in *unitInput) (*historyOutput, error) {
	events, err := s.of(who).History(in.Unit) // it names nobody
	if err != nil {
		return nil, err
	}
	out := &historyOutput{}
	out.Body.Events = events
	return out, nil
}

type retentionInput struct {
	Reads
	UnitPath
	At string `query:"at" format:"date" doc:"day on which it is looked at; today when absent"`
}

type retentionOutput struct {
	Body *archive.Retention
}

func (s *service) unitRetention(_ context.Context, who *Identity, in *retentionInput) (*retentionOutput, error) {
	at := in.At
	if at == "" {
		at = today()
	}
	r, err := s.reader(who, in.Reads).Retention(in.Unit, at)
	if err != nil {
		return nil, err
	}
	return &retentionOutput{r}, nil
}

func today() string { return time.Now().UTC().Format(time.DateOnly) }

// unitProof gives a bundle. What fails when part of it was given out cuts the connection.
func (s *service) unitProof(ctx context.Context, who *Identity, in *unitInput) (*huma.StreamResponse, error) {
	r := s.reader(who, in.Reads)
	return s.stream("unitProof", "application/vnd.etsi.asic-e+zip", in.Unit+".asice", func(w io.Writer) error { return r.Proof(ctx, in.Unit, w) }), nil
}

// endStream answers with a problem when nothing was given out yet; else the connection is cut, so that
// nobody takes a part for the whole.
func (s *service) endStream(hc huma.Context, operation string, begun bool, err error) {
	if err == nil {
		return
	}
	p := s.fail(hc.Context(), operation, err)
	if begun {
		panic(http.ErrAbortHandler)
	}
	s.write(hc, p)
}

type searchInput struct {
	Reads
	Body struct {
		Words string `json:"words" minLength:"1" maxLength:"1000"`
		Limit int    `json:"limit,omitempty" minimum:"1" maximum:"1000" default:"100"`
	}
}

func (s *service) search(_ context.Context, who *Identity, in *searchInput) (*unitsOutput, error) {
	units, err := s.reader(who, in.Reads).Search(who.Tenant, in.Body.Words, in.Body.Limit)
	if err != nil {
		return nil, err
	}
	if units == nil {
		units = []*archive.Unit{}
	}
	return &unitsOutput{archive.Page{Units: units}}, nil
}
