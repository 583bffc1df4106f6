package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
	"sae/retention"
)

func (s *service) addEvents() {
	add(s, huma.Operation{OperationID: "listEvents", Method: http.MethodGet, Path: "/v1/events", Summary: "What happened, in order, as CloudEvents",
		Description: "From the ledger, and from what is noted beside it (deposits that were refused, units that are due soon): nothing is lost, whatever becomes of the service or the client, and any of it can be asked for again. " +
			"Ask with from = the next of the page before. Units are named by their identifiers alone. The types, and the schema of the data of each, are under webhooks."}, s.listEvents)
	s.tellEventTypes()
}

type eventsInput struct {
	From  string   `query:"from" maxLength:"40" pattern:"^[0-9]{1,18}([.][0-9]{1,18})?$" default:"0" doc:"cursor from which to begin: the next of a page, or a ledger entry"`
	Types []string `query:"type" maxItems:"50" doc:"of the events that are wanted, such as sae.deposit; all when absent"`
	Limit int      `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Wait  int      `query:"wait" minimum:"0" maximum:"60" doc:"seconds to wait for something to happen"`
}

// CloudEvent is something that happened (CloudEvents 1.0, JSON format).
type CloudEvent struct {
	SpecVersion string    `json:"specversion" example:"1.0"`
	ID          string    `json:"id" doc:"the ledger entry, or n and a number for what was noted beside the ledger"`
	Source      string    `json:"source" doc:"the ledger: its origin"`
	Type        string    `json:"type" doc:"sae. and the kind of the ledger entry; sae.refused and sae.due" example:"sae.deposit"`
	Subject     string    `json:"subject,omitempty" doc:"the unit, when there is one"`
	Time        time.Time `json:"time"`
	DataType    string    `json:"datacontenttype"`
	Data        EventData `json:"data"`
}

// EventData are what an event is about.
type EventData struct {
	Entry     *int64        `json:"ledgerEntry,omitempty" doc:"absent for what is noted beside the ledger"`
	Operation string        `json:"operation,omitempty"`
	Units     []string      `json:"units,omitempty" doc:"that it touched, at most 1000"`
	More      bool          `json:"moreUnits,omitempty" doc:"it touched more than are named"`
	Seal      *EventSeal    `json:"seal,omitempty" doc:"of sae.seal, which is of all tenants"`
	Refused   *EventRefused `json:"refused,omitempty" doc:"of sae.refused"`
	Due       *EventDue     `json:"due,omitempty" doc:"of sae.due"`
}

// EventSeal tells of a seal.
type EventSeal struct {
	integrity.SealDetail
	First *int64 `json:"firstEntry,omitempty" doc:"first ledger entry that has something in the batch"`
	Last  *int64 `json:"lastEntry,omitempty" doc:"last one; a large entry may be in several batches"`
}

// EventRefused tells of a deposit that was refused.
type EventRefused struct {
	By       string `json:"agent" doc:"who asked, by the pseudonym that the ledger has"`
	Request  string `json:"request" doc:"identifier of the request: the instance of the problem that was told"`
	Asked    string `json:"asked" doc:"operation that was asked for" example:"createDeposit"`
	Code     string `json:"code" doc:"of the problem" example:"refused"`
	Problems int    `json:"problems" doc:"how many things were wrong"`
}

// EventDue tells of a unit whose retention is over soon.
type EventDue struct {
	Verdict retention.Verdict `json:"verdict" doc:"what may become of it then"`
	Within  int               `json:"withinDays" doc:"it is over within so many days of the event"`
}

type eventsOutput struct {
	Body struct {
		Events []CloudEvent `json:"events"`
		Next   string       `json:"next" doc:"from where to ask on"`
	}
}

// lookAgain is how often it is looked whether something happened, for who waits.
const lookAgain = 500 * time.Millisecond

// passOver bounds how long what is not for who asks is passed over for one answer.
const passOver = 5 * time.Second

func (s *service) listEvents(ctx context.Context, who *Identity, in *eventsInput) (*eventsOutput, error) {
	from, err := archive.ParseCursor(in.From)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, time.Duration(in.Wait)*time.Second)
	defer cancel()
	out := &eventsOutput{}
	out.Body.Events = []CloudEvent{}
	for began := time.Now(); ; {
		fed, next, err := s.of(who).Feed(who.Tenant, from, in.Limit)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		for _, x := range fed {
			e, err := eventOf(s.a, x)
			if err != nil {
				return nil, err
			}
			if wanted(in.Types, e.Type) {
				out.Body.Events = append(out.Body.Events, e)
			}
		}
		out.Body.Next = next.String()
		if len(out.Body.Events) > 0 {
			return out, nil
		}
		if next != from { // what others have, or is not wanted, was passed over: there may be more
			if from = next; time.Since(began) > passOver+time.Duration(in.Wait)*time.Second {
				return out, nil // who asks goes on from there
			}
			continue
		}
		select {
		case <-wait.Done():
			return out, nil
		case <-time.After(lookAgain):
		}
	}
}

// wanted reports whether a type is among those that are; all are when none is named.
func wanted(types []string, one string) bool { return len(types) == 0 || slices.Contains(types, one) }

// eventOf writes an event as it is told.
func eventOf(a *archive.Archive, x archive.FedEvent) (CloudEvent, error) {
	e := CloudEvent{SpecVersion: "1.0", Source: a.Config().Origin, DataType: "application/json"}
	if n := x.Noted; n != nil {
		e.ID, e.Type, e.Time, e.Subject = fmt.Sprintf("n%d", x.At.Noted), eventOfNoted(n.Kind), n.Time, n.Unit
		switch n.Kind {
		case archive.NotedRefused:
			e.Data.Refused = &EventRefused{n.Agent, n.Request, n.Asked, n.Code, n.Problems}
		case archive.NotedDue:
			e.Data.Units, e.Data.Due = []string{n.Unit}, &EventDue{n.Verdict, n.Within}
		}
		return e, nil
	}
	e.ID, e.Type, e.Time = strconv.FormatInt(x.At.Entry, 10), eventOfKind(x.Entry.Kind), x.Entry.Time
	e.Data = EventData{Entry: &x.At.Entry, Operation: x.Entry.Operation, Units: x.Units, More: x.More}
	if len(x.Units) == 1 {
		e.Subject = x.Units[0]
	}
	if x.Entry.Kind == integrity.Seal {
		e.Data.Seal = &EventSeal{}
		if x.Sealed != nil {
			e.Data.Seal.First, e.Data.Seal.Last = &x.Sealed[0], &x.Sealed[1]
		}
		if err := x.Entry.ReadDetail(integrity.Seal, &e.Data.Seal.SealDetail); err != nil {
			return e, err
		}
	}
	return e, nil
}

// noting has what an operation refuses noted before it is told.
func noting[I, O any](s *service, operation string, handle func(context.Context, *Identity, *I) (*O, error)) func(context.Context, *Identity, *I) (*O, error) {
	return func(ctx context.Context, who *Identity, in *I) (*O, error) {
		out, err := handle(ctx, who, in)
		if err != nil {
			p := problemOf(err)
			if failed := s.noteRefused(ctx, who, operation, p.Code, p.Status, len(p.Faults)); failed != nil {
				return nil, failed
			}
		}
		return out, err
	}
}

// noteRefused notes a deposit that was refused. What failed, or may be asked for again as it is, was not.
func (s *service) noteRefused(ctx context.Context, who *Identity, operation, code string, status, problems int) error {
	if status >= 500 || status == http.StatusConflict || code == "incomplete" {
		return nil
	}
	return s.of(who).NoteRefused(who.Name, who.Tenant, archive.Noted{Request: requestOf(ctx).id, Asked: operation, Code: code, Problems: max(1, problems)})
}
