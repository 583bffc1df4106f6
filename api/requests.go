package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
)

// Requests of data subjects (GDPR art. 15 to 21): opened, decided and answered here; what carries them
// out is in requestexecute.go.

// requestRoot is where they are.
const requestRoot = "/v1/requests/{request}"

func (s *service) addRequests() {
	add(s, huma.Operation{OperationID: "listRequests", Method: http.MethodGet, Path: "/v1/requests", Summary: "Requests of data subjects, in the order in which they were opened"}, s.listRequests)
	add(s, huma.Operation{OperationID: "showRequest", Method: http.MethodGet, Path: requestRoot, Summary: "A request: its steps, and what was said with them"}, s.showRequest)
	add(s, huma.Operation{OperationID: "openRequest", Method: http.MethodPost, Path: "/v1/requests", DefaultStatus: http.StatusCreated, Summary: "Open a request of a data subject",
		Description: "What is said of the person is kept enciphered, and is destroyed with her data."}, s.openRequest)
	addRequestStep(s, requestStep[IdentityCheck]{name: "identifyRequest", path: "identify", summary: "Record how the identity of who asks was checked (art. 12(6))",
		do: func(ctx context.Context, agent, id string, b IdentityCheck) (*archive.Request, error) {
			return s.of(identityOf(ctx)).IdentifyRequest(ctx, agent, id, b.Method, b.Failed)
		}})
	addRequestStep(s, requestStep[Extension]{name: "extendRequest", path: "extend", summary: "Extend the time for the answer, within the first month (art. 12(3))",
		do: func(ctx context.Context, agent, id string, b Extension) (*archive.Request, error) {
			return s.of(identityOf(ctx)).ExtendRequest(ctx, agent, id, b.Months, b.Reason)
		}})
	addRequestStep(s, requestStep[RequestDecision]{name: "decideRequest", path: "decide", summary: "Decide, as the data-protection officer", must: true, ends: ledgerKind(archive.RequestDecided),
		do: func(ctx context.Context, agent, id string, b RequestDecision) (*archive.Request, error) {
			return s.of(identityOf(ctx)).DecideRequest(ctx, agent, id, archive.Decision(b))
		}})
	addRequestStep(s, requestStep[Answered]{name: "answerRequest", path: "answer", summary: "Record that the answer was sent",
		do: func(ctx context.Context, agent, id string, b Answered) (*archive.Request, error) {
			return s.of(identityOf(ctx)).AnswerRequest(ctx, agent, id, b.Letter, b.Sent)
		}})
	addRequestStep(s, requestStep[Reason]{name: "withdrawRequest", path: "withdraw", summary: "Record that the person does not ask any more", ends: ledgerKind(archive.RequestWithdrawn),
		do: func(ctx context.Context, agent, id string, b Reason) (*archive.Request, error) {
			return s.of(identityOf(ctx)).WithdrawRequest(ctx, agent, id, b.Reason)
		}})
	add(s, huma.Operation{OperationID: "analyseRequest", Method: http.MethodPost, Path: requestRoot + "/analyse", DefaultStatus: http.StatusCreated, Summary: "Say unit by unit what can be erased now, later, or not (art. 17)"}, s.analyseRequest)
	add(s, huma.Operation{OperationID: "purgeRequest", Method: http.MethodPost, Path: requestRoot + "/purge", DefaultStatus: http.StatusCreated, Summary: "Destroy what an ended request said of the person; what it came to stays, as codes",
		Description: needsMatch}, s.purgeRequest)
	add(s, huma.Operation{OperationID: "requestLetter", Method: http.MethodGet, Path: requestRoot + "/letter", Summary: "The answer to the person, in French: to be read, signed and sent",
		Responses: binary("application/pdf", "the letter")}, s.requestLetter)
}

func ledgerKind(step archive.RequestStep) integrity.Kind {
	return integrity.Kind("request-" + string(step))
}

// RequestPath names a request of a data subject.
type RequestPath struct {
	Request string `path:"request" pattern:"^q[a-z2-7]{26}$"`
}

// dataRequest is a request of who asks' tenant.
func (s *service) dataRequest(who *Identity, id string) (*archive.Request, error) {
	q, err := s.of(who).DataRequest(id)
	if err == nil && q.Tenant != who.Tenant {
		err = fmt.Errorf("request %q: %w", id, archive.ErrNotFound)
	}
	return q, err
}

type listRequestsInput struct {
	Paged
	All bool `query:"all" doc:"those that are ended, too"`
}

type requestsOutput struct {
	Body struct {
		Requests []*archive.Request `json:"requests"`
		Next     string             `json:"next,omitempty"`
	}
}

func (s *service) listRequests(_ context.Context, who *Identity, in *listRequestsInput) (*requestsOutput, error) {
	all, err := s.reader(who, Reads{}).Requests(who.Tenant)
	if err != nil {
		return nil, err
	}
	chosen := all[:0]
	for _, q := range all {
		if in.All || !q.Ended() || q.ID == in.After {
			chosen = append(chosen, q)
		}
	}
	out := &requestsOutput{}
	out.Body.Requests, out.Body.Next, err = pageOf(chosen, in.Paged, func(q *archive.Request) string { return q.ID })
	return out, err
}

// pageOf gives a page of a list: what is behind the one that after names, and the last of it when there
// is more.
func pageOf[T any](all []T, in Paged, id func(T) string) (page []T, next string, err error) {
	page = []T{}
	seen := in.After == ""
	for i, x := range all {
		if seen {
			if page = append(page, x); len(page) == in.Limit && i < len(all)-1 {
				return page, id(x), nil
			}
		}
		seen = seen || id(x) == in.After
	}
	if !seen {
		return nil, "", invalid(Fault{"the cursor is not one that a page gave", "query.after"})
	}
	return page, "", nil
}

type showRequestInput struct {
	Reads
	Fresh
	RequestPath
}

func (s *service) showRequest(_ context.Context, who *Identity, in *showRequestInput) (*shown[*archive.ShownRequest], error) {
	q, err := s.dataRequest(who, in.Request)
	if err != nil {
		return nil, err
	}
	r, err := s.reader(who, in.Reads).Request(q.ID)
	if err != nil {
		return nil, err
	}
	return show(r.AsOf(), in.Fresh, r), nil
}

// NewRequest says what a data subject asks.
type NewRequest struct {
	Article  int      `json:"article" enum:"15,16,17,18,20,21" doc:"of the GDPR: access, rectification, erasure, restriction, portability, objection"`
	Subject  string   `json:"subject,omitempty" maxLength:"64" doc:"data subject whose files it is about"`
	Units    []string `json:"units,omitempty" maxItems:"1000" doc:"units, with all below them, that stand outside of the subject's files"`
	Received string   `json:"received,omitempty" format:"date" doc:"day on which it came; today when absent"`
	Who      string   `json:"who,omitempty" maxLength:"1000" doc:"who asks; kept enciphered"`
	Address  []string `json:"address,omitempty" maxItems:"100" doc:"where the answer goes; kept enciphered"`
	Wish     string   `json:"wish,omitempty" maxLength:"100000" doc:"what is asked; kept enciphered"`
	Channel  string   `json:"channel,omitempty" maxLength:"200" doc:"how it came"`
}

type openRequestInput struct {
	Keyed
	Body NewRequest
}

func (s *service) openRequest(ctx context.Context, who *Identity, in *openRequestInput) (*done[*archive.Request], error) {
	b := in.Body
	q, replayed, err := once(ctx, s, who, in.Key, "openRequest", b, func(ctx context.Context) (*archive.Request, error) {
		return s.of(who).OpenRequest(ctx, who.Name, archive.NewRequest{Tenant: who.Tenant, Article: b.Article, Subject: b.Subject, Units: b.Units, Received: b.Received,
			Words: archive.RequestWords{Who: b.Who, Address: b.Address, Wish: b.Wish, Channel: b.Channel}})
	}, by(who, s.requestOfEntry))
	if err != nil {
		return nil, err
	}
	return requestDone(q, replayed), nil
}

func requestDone(q *archive.Request, replayed string) *done[*archive.Request] {
	return &done[*archive.Request]{ETag: etag(q.AsOf(), q), Replayed: replayed, Location: "/v1/requests/" + q.ID, Body: q}
}

// requestOfEntry is the request that a ledger entry speaks of, as it is now.
func (s *service) requestOfEntry(who *Identity, entry int64) (*archive.Request, error) {
	e, err := s.entry(entry)
	if err != nil {
		return nil, err
	}
	if e.Kind == integrity.RequestPurged {
		var d integrity.PurgedDetail
		if err := e.ReadDetail(e.Kind, &d); err != nil || len(d.Requests) == 0 {
			return nil, cmp.Or(err, archive.ErrNotFound)
		}
		return s.of(who).DataRequest(d.Requests[0])
	}
	var d integrity.RequestDetail
	if err := e.ReadDetail(e.Kind, &d); err != nil {
		return nil, err
	}
	return s.of(who).DataRequest(d.Request)
}

// entry is a ledger entry, read.
func (s *service) entry(index int64) (e integrity.Entry, err error) {
	b, err := s.a.Entry(index)
	if err != nil {
		return e, err
	}
	return integrity.ParseEntry(b)
}

// requestStep is a step that is taken with a body B.
type requestStep[B any] struct {
	name, path, summary, about string
	must                       bool           // wants If-Match
	ends                       integrity.Kind // of the entry that ends it, when it takes several
	do                         func(ctx context.Context, agent, id string, b B) (*archive.Request, error)
}

type requestStepInput[B any] struct {
	Keyed
	IfMatch
	RequestPath
	Body B
}

func addRequestStep[B any](s *service, step requestStep[B]) {
	about := step.about
	if step.must {
		about += " " + needsMatch
	}
	add(s, huma.Operation{OperationID: step.name, Method: http.MethodPost, Path: requestRoot + "/" + step.path, DefaultStatus: http.StatusCreated, Summary: step.summary, Description: about},
		func(ctx context.Context, who *Identity, in *requestStepInput[B]) (*done[*archive.Request], error) {
			if _, err := s.dataRequest(who, in.Request); err != nil {
				return nil, err
			}
			q, replayed, err := once(ctx, s, who, in.Key, step.name+" "+in.Request, in.Body, held(s, in.Request, in.IfMatch, step.must, func(ctx context.Context) (*archive.Request, error) {
				return step.do(ctx, who.Name, in.Request, in.Body)
			}), by(who, s.requestOfEntry), step.ends)
			if err != nil {
				return nil, err
			}
			return requestDone(q, replayed), nil
		})
}

// IdentityCheck says how an identity was checked.
type IdentityCheck struct {
	Method string `json:"method" minLength:"1" maxLength:"1000" doc:"how; no numbers of documents; kept enciphered"`
	Failed bool   `json:"failed,omitempty" doc:"it could not be established"`
}

// Extension extends the time for an answer.
type Extension struct {
	Months int    `json:"months" minimum:"1" maximum:"2"`
	Reason string `json:"reason" minLength:"1" maxLength:"10000" doc:"as the person is told; kept enciphered"`
}

// RequestDecision is what the data-protection officer decides.
type RequestDecision struct {
	Outcome    archive.Outcome         `json:"outcome" enum:"granted,partly,refused"`
	Grounds    []string                `json:"grounds,omitempty" maxItems:"20" doc:"of what is refused, such as 17(3)(b)"`
	LegalBasis string                  `json:"legalBasis" minLength:"1" maxLength:"10000" doc:"as the person is told"`
	Paragraphs []string                `json:"paragraphs,omitempty" maxItems:"100" doc:"of the answer"`
	Refuse     []archive.OtherDecision `json:"refuseUnits,omitempty" maxItems:"1000" doc:"of an erasure: units of the analysis, by number, that stay all the same"`
	Erase      []archive.OtherDecision `json:"eraseUnits,omitempty" maxItems:"1000" doc:"units that go although their retention runs: 17(1)(d), (e) or (f)"`
}

// Answered says that the answer was sent.
type Answered struct {
	Letter string `json:"letter,omitempty" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of the letter as it was sent; kept enciphered"`
	Sent   string `json:"sent,omitempty" format:"date" doc:"today when absent"`
}

// Reason says why.
type Reason struct {
	Reason string `json:"reason" minLength:"1" maxLength:"10000" doc:"why; kept enciphered"`
}

type requestWriteInput struct {
	Keyed
	IfMatch
	RequestPath
}

// Analysed is a request, and what was found of its units.
type Analysed struct {
	Request *archive.Request `json:"request"`
	archive.Analysis
}

func (s *service) analyseRequest(ctx context.Context, who *Identity, in *requestWriteInput) (*done[Analysed], error) {
	if _, err := s.dataRequest(who, in.Request); err != nil {
		return nil, err
	}
	a, replayed, err := once(ctx, s, who, in.Key, "analyseRequest", in.Request, held(s, in.Request, in.IfMatch, false, func(ctx context.Context) (Analysed, error) {
		q, an, err := s.of(who).AnalyseRequest(ctx, who.Name, in.Request)
		if err != nil {
			return Analysed{}, err
		}
		return Analysed{q, *an}, nil
	}), func(entry int64) (Analysed, error) {
		q, err := s.requestOfEntry(who, entry)
		if err != nil {
			return Analysed{}, err
		}
		w, err := s.of(who).RequestWords(q, archive.RequestAnalysed)
		return Analysed{q, archive.Analysis{Members: w.Members, Findings: w.Findings}}, err
	})
	if err != nil {
		return nil, err
	}
	return &done[Analysed]{ETag: etag(a.Request.AsOf(), a), Replayed: replayed, Location: "/v1/requests/" + in.Request, Body: a}, nil
}

func (s *service) purgeRequest(ctx context.Context, who *Identity, in *requestWriteInput) (*done[*archive.Request], error) {
	if _, err := s.dataRequest(who, in.Request); err != nil {
		return nil, err
	}
	q, replayed, err := once(ctx, s, who, in.Key, "purgeRequest", in.Request, held(s, in.Request, in.IfMatch, true, func(ctx context.Context) (*archive.Request, error) {
		return s.of(who).PurgeRequest(ctx, who.Name, in.Request)
	}), by(who, s.requestOfEntry))
	if err != nil {
		return nil, err
	}
	return requestDone(q, replayed), nil
}
