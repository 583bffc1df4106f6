package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sae/integrity"
	"sae/retention"
)

// A request of a data subject (GDPR art. 15 to 22) is opened, the identity of who asks is checked,
// it is analysed where something is to be erased, decided by the data-protection officer, answered
// within a month and carried out. What is kept of it in clear names nobody; what is said with its
// steps is enciphered, and is destroyed when the subject was erased.

// Articles are those of the GDPR by which a data subject may ask for something here.
var Articles = map[int]string{15: "access", 16: "rectification", 17: "erasure", 18: "restriction", 20: "portability", 21: "objection"}

// RequestStep is what can be done to a request.
type RequestStep string

// The steps.
const (
	RequestOpened     RequestStep = "opened"
	RequestIdentified RequestStep = "identified" // the identity of who asks was checked
	RequestExtended   RequestStep = "extended"   // by at most two months (art. 12(3))
	RequestAnalysed   RequestStep = "analysed"   // unit by unit
	RequestDecided    RequestStep = "decided"    // by the data-protection officer
	RequestAnswered   RequestStep = "answered"   // the letter was sent
	RequestExecuted   RequestStep = "executed"   // by another person than who decided
	RequestWithdrawn  RequestStep = "withdrawn"  // by the person: ended
)

func (s RequestStep) ledgerKind() integrity.Kind { return integrity.Kind("request-" + string(s)) }

// Outcome is what is decided on a request.
type Outcome string

// The outcomes.
const (
	Granted Outcome = "granted"
	Partly  Outcome = "partly"
	Denied  Outcome = "refused"
)

// Request is a request as it is kept. It names no person but by pseudonym.
type Request struct {
	ID       string             `json:"request"`
	Tenant   string             `json:"tenant"`
	Article  int                `json:"article"`
	Subject  string             `json:"subject,omitempty"`
	Units    []string           `json:"units,omitempty"` // that it is about, with all below them, beside the subject's files
	Received string             `json:"received"`        // day
	Due      string             `json:"due"`             // last day for the answer
	Steps    []RequestStepTaken `json:"steps"`
	Outcome  Outcome            `json:"outcome,omitempty"`
	Grounds  []string           `json:"grounds,omitempty"` // of what is refused, such as "17(3)(b)"
	// Erasure is the list of units that a decision lets go; Promised is the day on which the first
	// of those that are to be erased later is due. It may tell a birth, and is kept with the words.
	Erasure  string `json:"erasure,omitempty"`
	Promised string `json:"promised,omitempty"`
	// Purged is the ledger entry by which its words were destroyed.
	Purged int64 `json:"purged,omitempty"`
}

// RequestStepTaken is a step that was taken.
type RequestStepTaken struct {
	Step      RequestStep `json:"step"`
	Entry     int64       `json:"ledgerEntry"`
	Time      time.Time   `json:"time"`
	Agent     string      `json:"agent"` // pseudonym
	Operation string      `json:"operation"`
}

// RequestWords are what is said with a step; they are kept enciphered.
type RequestWords struct {
	Who        string           `json:"who,omitempty"`     // opened: who asks
	Address    []string         `json:"address,omitempty"` // where the answer goes
	Wish       string           `json:"wish,omitempty"`
	Channel    string           `json:"channel,omitempty"` // by letter, by a portal...
	Method     string           `json:"method,omitempty"`  // identified: how
	Failed     bool             `json:"failed,omitempty"`
	Reason     string           `json:"reason,omitempty"` // extended, withdrawn, executed
	Findings   []ErasureFinding `json:"findings,omitempty"`
	Members    []string         `json:"members,omitempty"` // subjects whose files were looked at
	LegalBasis string           `json:"legalBasis,omitempty"`
	Paragraphs []string         `json:"paragraphs,omitempty"` // of the answer
	Letter     string           `json:"letter,omitempty"`     // answered: SHA-256 of the letter, hex
	Sent       string           `json:"sent,omitempty"`       // day
	Promised   string           `json:"promised,omitempty"`   // decided: see Request
}

const requestID = "q"

// State is the last step but for answers, which may come before or after what is carried out.
func (q *Request) State() RequestStep { return q.Steps[len(q.Steps)-1].Step }

// step gives the last step of a kind that was taken.
func (q *Request) step(s RequestStep) (RequestStepTaken, bool) {
	for i := len(q.Steps) - 1; i >= 0; i-- {
		if q.Steps[i].Step == s {
			return q.Steps[i], true
		}
	}
	return RequestStepTaken{}, false
}

func (q *Request) took(s RequestStep) bool { _, ok := q.step(s); return ok }

// toExecute reports whether a decision is to be carried out.
func (q *Request) toExecute() bool { return q.took(RequestDecided) && q.Outcome != Denied }

// Ended reports whether nothing is left to do.
func (q *Request) Ended() bool {
	return q.took(RequestWithdrawn) || q.took(RequestAnswered) && (!q.toExecute() || q.took(RequestExecuted))
}

// Late reports whether the answer is overdue on a day.
func (q *Request) Late(today string) bool {
	return !q.took(RequestAnswered) && !q.took(RequestWithdrawn) && q.Due < today
}

// erases reports whether an article asks for units to be erased.
func (q *Request) erases() bool { return q.Article == 17 || q.Article == 21 }

// monthsAfter is the last day of a period of months (Regulation (EEC, Euratom) 1182/71 art. 3).
func monthsAfter(day string, months int) string {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return ""
	}
	end, _ := retention.Duration{Count: months, Unit: retention.Months}.End(t)
	return end.Format(time.DateOnly)
}

// NewRequest says what is asked.
type NewRequest struct {
	Tenant   string
	Article  int
	Subject  string   // data subject
	Units    []string // units, with all below them, that stand outside of the subject's files
	Received string   // day; today when empty
	Words    RequestWords
}

// OpenRequest opens a request of a data subject, on behalf of agent.
func (a *Archive) OpenRequest(ctx context.Context, agent string, n NewRequest) (*Request, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	of, err := a.tenant(n.Tenant)
	if err == nil {
		err = of.mayIfNamed(agent, Depositor, Archivist, OriginatingAgency, DataProtection)
	}
	if err != nil {
		return nil, err
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	q := &Request{ID: newID(requestID), Tenant: of.ID, Article: n.Article, Subject: n.Subject, Units: n.Units, Received: cmp.Or(n.Received, now().Format(time.DateOnly))}
	bad := &Refusal{}
	if err := a.checkNewRequest(q, &n.Words, bad); err != nil {
		return nil, err
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	q.Due = monthsAfter(q.Received, 1)
	words := RequestWords{Who: n.Words.Who, Address: n.Words.Address, Wish: n.Words.Wish, Channel: n.Words.Channel}
	return q, a.takeRequestStep(ctx, agent, q, RequestOpened, words)
}

// maxRequestUnits bounds the units that a request names, and maxErasure those that it is about.
const (
	maxRequestUnits = 1_000
	maxErasure      = 100_000
)

func (a *Archive) checkNewRequest(q *Request, w *RequestWords, bad *Refusal) error {
	if Articles[q.Article] == "" {
		bad.addf("article %d: want 15 (access), 16 (rectification), 17 (erasure), 18 (restriction), 20 (portability) or 21 (objection)", q.Article)
	}
	if _, err := time.Parse(time.DateOnly, q.Received); err != nil || q.Received > now().Format(time.DateOnly) {
		bad.addf("received: %q is not a day until today: want YYYY-MM-DD", q.Received)
	}
	if q.Subject == "" && len(q.Units) == 0 {
		bad.addf("whom is it about? name the data subject (sae subject find), or units")
	}
	if len(q.Units) > maxRequestUnits {
		bad.addf("%d units: a request names at most %d", len(q.Units), maxRequestUnits)
		return nil
	}
	w.check(bad)
	return a.cat.view(func(t *tx) error {
		if q.Subject != "" {
			s, err := a.subject(t, q.Subject)
			switch {
			case errors.Is(err, ErrNotFound) || err == nil && s.Tenant != q.Tenant:
				bad.addf("subject %q: %v", q.Subject, ErrNotFound)
			case err != nil:
				return err
			case s.MergedInto != "":
				bad.addf("subject %s was merged into %s: name that, or split it first when they are two persons (sae subject split)", q.Subject, s.MergedInto)
			}
		}
		for _, id := range q.Units {
			u, err := a.unit(t, id, 0)
			switch {
			case errors.Is(err, ErrNotFound) || err == nil && (u.Tenant != q.Tenant || !isUnit(id)):
				bad.addf("unit %q: %v", id, ErrNotFound)
			case err != nil:
				return err
			}
		}
		return nil
	})
}

func (w *RequestWords) check(bad *Refusal) {
	plain := func(what, s string, most int) {
		if problems := (&Refusal{}); s != "" {
			checkText(what, s, most, problems)
			if len(problems.Problems) > 0 { // which would quote it
				bad.addf("%s: it is not plain text of at most %d bytes", what, most)
			}
		}
	}
	plain("who asks", w.Who, 1_000)
	plain("wish", w.Wish, 100_000)
	plain("channel", w.Channel, 200)
	plain("method", w.Method, 1_000)
	plain("reason", w.Reason, 10_000)
	plain("legal basis", w.LegalBasis, 10_000)
	for _, all := range [][]string{w.Address, w.Paragraphs} {
		if len(all) > 100 {
			bad.addf("%d lines or paragraphs: at most 100", len(all))
		}
		for _, s := range all {
			plain("a line or paragraph", s, 20_000)
		}
	}
}

// takeRequestStep records a step, on behalf of agent; change, which may be nil, changes the request
// with it.
func (a *Archive) takeRequestStep(ctx context.Context, agent string, q *Request, step RequestStep, words RequestWords) error {
	op := &operation{id: newID(opID), entry: integrity.Entry{Kind: step.ledgerKind(), Tenant: q.Tenant, Agent: agentID(a.indexKey, agent)}}
	said := op.say(string(mustJSON(words)))
	op.detail = func(position) any {
		return integrity.RequestDetail{Request: q.ID, Article: q.Article, Due: q.Due, Outcome: string(q.Outcome), Grounds: q.Grounds, Erasure: q.Erasure, Text: said}
	}
	after := *q
	op.records = append(op.records, func(p position) []record {
		after.Steps = append(slices.Clone(q.Steps), RequestStepTaken{step, p.entry, p.time, op.entry.Agent, op.id})
		stored := after
		stored.Promised = ""
		return []record{{bktReq, []byte(q.ID), mustJSON(stored)}}
	})
	if err := a.commitBy(ctx, agent, op); err != nil {
		return fmt.Errorf("recording that request %s is %s: %w", q.ID, step, err)
	}
	*q = after
	return nil
}

// dataRequest reads a request.
func (t *tx) dataRequest(id string) (*Request, error) {
	v, err := t.get(bktReq, []byte(id))
	if err == nil && (v == nil || !idForm.MatchString(id)) {
		err = fmt.Errorf("request %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return parseRequest(v)
}

func parseRequest(v []byte) (*Request, error) {
	q := &Request{}
	err := json.Unmarshal(v, q)
	if err == nil && len(q.Steps) == 0 {
		err = errors.New("no step was taken")
	}
	if err != nil {
		return nil, damaged("request", q.ID, err)
	}
	return q, nil
}

// DataRequest gives a request of a data subject.
func (a *Archive) DataRequest(id string) (q *Request, err error) {
	if err := a.knows("request", id); err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		if q, err = t.dataRequest(id); err != nil {
			return err
		}
		w, err := a.requestWords(t, q, RequestDecided)
		q.Promised = w.Promised
		return err
	})
	return q, err
}

// DataRequests gives the requests of a tenant, in the order in which they were opened.
func (a *Archive) DataRequests(tenant string) (out []*Request, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		return t.eachRequest(func(q *Request) error {
			if q.Tenant != of.ID {
				return nil
			}
			w, err := a.requestWords(t, q, RequestDecided)
			q.Promised = w.Promised
			out = append(out, q)
			return err
		})
	})
	slices.SortFunc(out, func(x, y *Request) int { return cmp.Compare(x.Steps[0].Entry, y.Steps[0].Entry) })
	return out, err
}

func (t *tx) eachRequest(f func(*Request) error) error {
	return t.scan(bktReq, nil, nil, func(_, v []byte) (bool, error) {
		q, err := parseRequest(v)
		if err == nil {
			err = f(q)
		}
		return err == nil, err
	})
}

// RequestWords gives what was said with the last step of a kind; nothing when it was not taken, or
// the words were destroyed.
func (a *Archive) RequestWords(q *Request, step RequestStep) (w RequestWords, err error) {
	err = a.cat.view(func(t *tx) error { w, err = a.requestWords(t, q, step); return err })
	return w, err
}

func (a *Archive) requestWords(t *tx, q *Request, step RequestStep) (w RequestWords, err error) {
	taken, ok := q.step(step)
	if !ok || q.Purged != 0 {
		return w, nil
	}
	words, err := a.operationText(t, taken.Operation)
	if err == nil {
		err = json.Unmarshal(words, &w)
	}
	return w, err
}

// requestRule is what a step wants.
type requestRule struct {
	roles []Role
	// strict: nobody has the role whom the configuration does not name.
	strict bool
	before []RequestStep // must have been taken
	never  []RequestStep // must not have been
}

var requestRules = map[RequestStep]requestRule{
	RequestIdentified: {roles: []Role{Depositor, Archivist, OriginatingAgency, DataProtection}, never: []RequestStep{RequestDecided}},
	RequestExtended:   {roles: []Role{DataProtection}, strict: true, never: []RequestStep{RequestAnswered, RequestExtended}},
	RequestAnalysed:   {roles: []Role{Archivist, DataProtection}, never: []RequestStep{RequestDecided}},
	RequestDecided:    {roles: []Role{DataProtection}, strict: true, never: []RequestStep{RequestDecided}},
	RequestAnswered:   {roles: []Role{Archivist, DataProtection}, before: []RequestStep{RequestDecided}, never: []RequestStep{RequestAnswered}},
	RequestExecuted:   {roles: []Role{Archivist}, strict: true, before: []RequestStep{RequestDecided}, never: []RequestStep{RequestExecuted}},
	RequestWithdrawn:  {roles: []Role{Archivist, OriginatingAgency, DataProtection}, never: []RequestStep{RequestAnswered, RequestExecuted}},
}

// checkRequestStep says what stands against a step.
func (a *Archive) checkRequestStep(agent string, q *Request, step RequestStep) error {
	of, err := a.tenant(q.Tenant)
	if err != nil {
		return err
	}
	rule, bad := requestRules[step], &Refusal{}
	if rule.strict {
		err = of.may(agent, rule.roles[0])
	} else {
		err = of.mayIfNamed(agent, rule.roles...)
	}
	if err != nil {
		return err
	}
	if q.took(RequestWithdrawn) {
		bad.addf("request %s was withdrawn", q.ID)
	}
	for _, s := range rule.before {
		if !q.took(s) {
			bad.addf("request %s is not %s yet", q.ID, s)
		}
	}
	for _, s := range rule.never {
		if q.took(s) {
			bad.addf("request %s is %s already", q.ID, s)
		}
	}
	if step == RequestExecuted {
		if q.Outcome == Denied {
			bad.addf("request %s was refused: there is nothing to carry out", q.ID)
		}
		if s, ok := q.step(RequestDecided); ok && s.Agent == agentID(a.indexKey, agent) {
			bad.addf("%s decided on request %s: another person carries it out", agent, q.ID)
		}
	}
	return bad.orNil()
}

// stepRequest takes a step that changes nothing but the request.
func (a *Archive) stepRequest(ctx context.Context, agent, id string, step RequestStep, words RequestWords, also func(*Request, *RequestWords, *Refusal) error) (*Request, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	q, err := a.DataRequest(id)
	if err != nil {
		return nil, err
	}
	if err := a.checkRequestStep(agent, q, step); err != nil {
		return nil, err
	}
	bad := &Refusal{}
	words.check(bad)
	if err := also(q, &words, bad); err != nil {
		return nil, err
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	return q, a.takeRequestStep(ctx, agent, q, step, words)
}

// IdentifyRequest records how the identity of who asks was checked, on behalf of agent (art. 12(6)).
func (a *Archive) IdentifyRequest(ctx context.Context, agent, id, method string, failed bool) (*Request, error) {
	if err := a.knows("request", id); err != nil {
		return nil, err
	}
	return a.stepRequest(ctx, agent, id, RequestIdentified, RequestWords{Method: method, Failed: failed}, func(_ *Request, _ *RequestWords, bad *Refusal) error {
		if strings.TrimSpace(method) == "" {
			bad.addf("how was the identity checked? say the method; write no number of a document into it")
		}
		return nil
	})
}

// ExtendRequest extends the time for the answer, on behalf of agent, within the first month and by at
// most two (art. 12(3)); the person is to be told why.
func (a *Archive) ExtendRequest(ctx context.Context, agent, id string, months int, reason string) (*Request, error) {
	if err := a.knows("request", id); err != nil {
		return nil, err
	}
	return a.stepRequest(ctx, agent, id, RequestExtended, RequestWords{Reason: reason}, func(q *Request, _ *RequestWords, bad *Refusal) error {
		if months < 1 || months > 2 {
			bad.addf("%d months: the time is extended by one or two (art. 12(3))", months)
		}
		if now().Format(time.DateOnly) > q.Due {
			bad.addf("the first month is over since %s: an extension was to be said before (art. 12(3))", q.Due)
		}
		if strings.TrimSpace(reason) == "" {
			bad.addf("no reason: the person is to be told why (complexity, number of requests)")
		}
		q.Due = monthsAfter(q.Received, 1+months)
		return nil
	})
}

// WithdrawRequest records that the person does not ask any more, on behalf of agent. Nothing that was
// decided is carried out.
func (a *Archive) WithdrawRequest(ctx context.Context, agent, id, reason string) (*Request, error) {
	if err := a.knows("request", id); err != nil {
		return nil, err
	}
	return a.stepRequest(ctx, agent, id, RequestWithdrawn, RequestWords{Reason: reason}, func(q *Request, _ *RequestWords, bad *Refusal) error {
		if strings.TrimSpace(reason) == "" {
			bad.addf("no reason: say why")
		}
		if len(bad.Problems) > 0 {
			return nil
		}
		if q.Erasure == "" { // a decision that failed may have left one
			return a.sweepErasures(ctx, agent, q)
		}
		return a.withdrawErasure(ctx, agent, q)
	})
}

// AnswerRequest records that the answer was sent, on behalf of agent; letter is the SHA-256 of it, hex.
func (a *Archive) AnswerRequest(ctx context.Context, agent, id, letter, sent string) (*Request, error) {
	if err := a.knows("request", id); err != nil {
		return nil, err
	}
	sent = cmp.Or(sent, now().Format(time.DateOnly))
	return a.stepRequest(ctx, agent, id, RequestAnswered, RequestWords{Letter: letter, Sent: sent}, func(q *Request, _ *RequestWords, bad *Refusal) error {
		if _, err := time.Parse(time.DateOnly, sent); err != nil || sent > now().Format(time.DateOnly) || sent < q.Received {
			bad.addf("sent: %q is not a day between its arrival and today", sent)
		}
		return nil
	})
}

// Decision is what the data-protection officer decides.
type Decision struct {
	Outcome    Outcome
	Grounds    []string // of what is refused
	LegalBasis string
	Paragraphs []string // of the answer
	// Of an erasure: units of the analysis, by number, that are refused, or erased, otherwise than it
	// says, each with a ground.
	Refuse, Erase []OtherDecision
}

// DecideRequest decides, on behalf of agent, the data-protection officer.
func (a *Archive) DecideRequest(ctx context.Context, agent, id string, d Decision) (*Request, error) {
	if err := a.knows("request", id); err != nil {
		return nil, err
	}
	words := RequestWords{LegalBasis: d.LegalBasis, Paragraphs: d.Paragraphs}
	return a.stepRequest(ctx, agent, id, RequestDecided, words, func(q *Request, w *RequestWords, bad *Refusal) error {
		if strings.TrimSpace(d.LegalBasis) == "" {
			bad.addf("no legal basis: name the article and the text on which the decision rests")
		}
		if err := a.checkDecision(q, &d, bad); err != nil || len(bad.Problems) > 0 {
			return err
		}
		q.Outcome, q.Grounds = d.Outcome, d.Grounds
		if err := a.sweepErasures(ctx, agent, q); err != nil {
			return err
		}
		switch {
		case !q.erases():
			return nil
		case d.Outcome != Denied:
			return a.decideErasure(ctx, agent, q, &d, w, bad)
		}
		analysed, err := a.RequestWords(q, RequestAnalysed) // what is refused now may be due later
		w.Findings, w.Members = analysed.Findings, analysed.Members
		w.promise()
		q.Promised = w.Promised
		return err
	})
}

// promise finds the day from which the first unit can be erased that cannot be now.
func (w *RequestWords) promise() {
	w.Promised = ""
	for _, f := range w.Findings {
		if f.Verdict == retention.EraseAt && (w.Promised == "" || f.Date < w.Promised) {
			w.Promised = f.Date
		}
	}
}

// grounds on which a request is refused: of art. 12 any, of others their own.
var groundsOf = map[int][]string{
	15: {"15(4)"}, 16: {"89(3)"}, 17: {"17(3)(a)", "17(3)(b)", "17(3)(c)", "17(3)(d)", "17(3)(e)"}, 18: {"18(1)", "89(3)"},
	20: {"20(3)", "20(4)", "89(3)"}, 21: {"21(1)", "21(6)", "17(3)(b)", "17(3)(d)", "17(3)(e)", "89(3)"},
}

var groundsOfAll = []string{"12(2)", "12(5)", "12(6)", "23"}

func (a *Archive) checkDecision(q *Request, d *Decision, bad *Refusal) error {
	if !slices.Contains([]Outcome{Granted, Partly, Denied}, d.Outcome) {
		bad.addf("outcome %q: want granted, partly or refused", d.Outcome)
	}
	known := append(slices.Clone(groundsOf[q.Article]), groundsOfAll...)
	for _, g := range d.Grounds {
		if !slices.Contains(known, g) {
			bad.addf("ground %q: of article %d want some of %s", g, q.Article, strings.Join(known, ", "))
		}
	}
	if d.Outcome == Denied && len(d.Grounds) == 0 {
		bad.addf("it is refused without a ground: want some of %s", strings.Join(known, ", "))
	}
	if d.Outcome == Granted && len(d.Grounds) > 0 {
		bad.addf("it is granted, and grounds are given for which something is refused")
	}
	if !q.erases() && len(d.Refuse)+len(d.Erase) > 0 {
		bad.addf("units are refused or erased by number in a request for erasure alone")
	}
	if d.Outcome == Denied {
		return nil
	}
	w, err := a.RequestWords(q, RequestIdentified)
	if err == nil && (!q.took(RequestIdentified) || w.Failed) {
		bad.addf("the identity of who asks is not established: sae request identify, or refuse by 12(6)")
	}
	if q.erases() && !q.took(RequestAnalysed) {
		bad.addf("it was not analysed: sae request analyse says unit by unit what can be erased")
	}
	return err
}

// checkRequests holds the requests against the ledger: their steps are those that it knows, and what
// was said with them is what it commits to, unless that was destroyed.
func (a *Archive) checkRequests(t *tx, find func(where string, err error)) error {
	steps, purged := map[string]int{}, map[string]int64{}
	err := t.entriesOf(func(index int64, e integrity.Entry) error {
		if e.Kind == integrity.RequestPurged {
			var d integrity.PurgedDetail
			err := e.ReadDetail(e.Kind, &d)
			for _, id := range d.Requests {
				purged[id] = index
			}
			return err
		}
		var d integrity.RequestDetail
		if err := e.ReadDetail(e.Kind, &d); err != nil {
			return err
		}
		steps[d.Request]++
		if err := a.checkRequestEntry(t, index, e, d); err != nil {
			find(d.Request, err)
		}
		return nil
	}, "request-")
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	err = t.eachRequest(func(q *Request) error {
		seen[q.ID] = true
		if steps[q.ID] != len(q.Steps) || purged[q.ID] != q.Purged {
			find(q.ID, fmt.Errorf("it has %d steps, the ledger %d; its words are destroyed by entry %d, the ledger says %d", len(q.Steps), steps[q.ID], q.Purged, purged[q.ID]))
		}
		return nil
	})
	for id := range steps {
		if !seen[id] {
			find(id, errors.New("the ledger knows the request, and it is not there"))
		}
	}
	return err
}

func (a *Archive) checkRequestEntry(t *tx, index int64, e integrity.Entry, d integrity.RequestDetail) error {
	q, err := t.dataRequest(d.Request)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(q.Steps, func(s RequestStepTaken) bool { return s.Entry == index && s.Step.ledgerKind() == e.Kind })
	if i < 0 || q.Article != d.Article || q.Tenant != e.Tenant || q.Steps[i].Agent != e.Agent || q.Steps[i].Operation != e.Operation || !q.Steps[i].Time.Equal(e.Time) {
		return fmt.Errorf("it is not the request of ledger entry %d", index)
	}
	if i == len(q.Steps)-1 && (q.Due != d.Due || string(q.Outcome) != d.Outcome || !slices.Equal(q.Grounds, d.Grounds) || q.Erasure != d.Erasure) {
		return fmt.Errorf("it is not as ledger entry %d says", index)
	}
	if q.Purged != 0 {
		return nil
	}
	words, err := a.commitmentOf(t, e.Operation)
	if err == nil && words != d.Text {
		err = fmt.Errorf("what was said with it is not what ledger entry %d commits to", index)
	}
	return err
}

// ShownRequest is a request as it is shown: with what was said, for who has a role that reads.
type ShownRequest struct {
	*Request
	RequestWords
	Steps    []ShownStep `json:"steps"`
	Promised string      `json:"promised,omitempty"` // of the request, and of its words
}

// ShownStep is a step with the name of who took it.
type ShownStep struct {
	RequestStepTaken
	Name string `json:"name,omitempty"`
}

// Request gives a request; what was said with it, for those who have a role that reads.
func (r *Reader) Request(id string) (*ShownRequest, error) {
	if err := r.a.knows("request", id); err != nil {
		return nil, err
	}
	a := r.a
	q, err := a.DataRequest(id)
	if err != nil {
		return nil, err
	}
	of, err := a.tenant(q.Tenant)
	if err != nil {
		return nil, err
	}
	out := &ShownRequest{Request: q}
	reads := of.mayIfNamed(r.agent, readingRoles...) == nil
	err = a.cat.view(func(t *tx) error {
		if !reads {
			q.Promised = "" // it may tell a birth
		}
		for _, s := range q.Steps {
			shown := ShownStep{RequestStepTaken: s}
			if reads {
				if shown.Name, err = a.agentName(t, s.Agent); err != nil {
					return err
				}
			}
			out.Steps = append(out.Steps, shown)
		}
		if !reads {
			return nil
		}
		for _, step := range []RequestStep{RequestOpened, RequestIdentified, RequestExtended, RequestAnalysed, RequestDecided, RequestAnswered} {
			w, err := a.requestWords(t, q, step)
			if err != nil {
				return err
			}
			out.RequestWords.over(w)
		}
		return nil
	})
	if err == nil && reads && q.Purged == 0 {
		verb, about := VerbSubject, []string{q.Subject}
		if q.Subject == "" {
			verb, about = VerbRequest, q.Units
		}
		err = r.logRead(q.Tenant, verb, about)
	}
	if err != nil {
		return nil, err
	}
	out.Promised = q.Promised
	return out, nil
}

// Requests is Archive.DataRequests; the days on which something is to be erased later, for those who
// have a role that reads.
func (r *Reader) Requests(tenant string) ([]*Request, error) {
	of, err := r.a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	all, err := r.a.DataRequests(of.ID)
	if of.mayIfNamed(r.agent, readingRoles...) != nil {
		for _, q := range all {
			q.Promised = "" // it may tell a birth
		}
	}
	return all, err
}

// over puts what was said later over what was said before.
func (w *RequestWords) over(later RequestWords) {
	w.Who, w.Wish, w.Channel = cmp.Or(later.Who, w.Who), cmp.Or(later.Wish, w.Wish), cmp.Or(later.Channel, w.Channel)
	w.Method, w.Failed, w.Reason = cmp.Or(later.Method, w.Method), later.Failed || w.Failed && later.Method == "", cmp.Or(later.Reason, w.Reason)
	w.LegalBasis, w.Letter, w.Sent = cmp.Or(later.LegalBasis, w.LegalBasis), cmp.Or(later.Letter, w.Letter), cmp.Or(later.Sent, w.Sent)
	if len(later.Address) > 0 {
		w.Address = later.Address
	}
	if len(later.Findings) > 0 {
		w.Findings, w.Members = later.Findings, later.Members
	}
	if len(later.Paragraphs) > 0 {
		w.Paragraphs = later.Paragraphs
	}
}

// agentName is the name behind an agent's pseudonym; "" when nobody gave it.
func (a *Archive) agentName(t *tx, agent string) (string, error) {
	v, err := t.get(bktAgent, []byte(agent))
	if err != nil || v == nil {
		return "", err
	}
	var r agentRecord
	s, err := decodeRecord(v, &r)
	if err != nil {
		return "", damaged("agent", agent, err)
	}
	key, err := a.vault.Unwrap(keyStore{t}, r.Key)
	if err != nil {
		return "", damaged("agent", agent, err)
	}
	_, name, err := s.open(key)
	if err != nil {
		return "", damaged("agent", agent, err)
	}
	return string(name), nil
}
