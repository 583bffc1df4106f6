package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
)

func (s *service) addEvents() {
	add(s, huma.Operation{OperationID: "listEvents", Method: http.MethodGet, Path: "/v1/events", Summary: "What happened, in order, as CloudEvents",
		Description: "From the ledger: nothing is lost, whatever becomes of the service or the client, and any of it can be asked for again. Ask with from = the next of the page before. " +
			"Units are named by their identifiers alone."}, s.listEvents)
}

type eventsInput struct {
	From  int64 `query:"from" minimum:"0" doc:"ledger entry from which to begin"`
	Limit int   `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Wait  int   `query:"wait" minimum:"0" maximum:"60" doc:"seconds to wait for something to happen"`
}

// CloudEvent is something that happened (CloudEvents 1.0, JSON format).
type CloudEvent struct {
	SpecVersion string    `json:"specversion" example:"1.0"`
	ID          string    `json:"id" doc:"the ledger entry"`
	Source      string    `json:"source" doc:"the ledger: its origin"`
	Type        string    `json:"type" doc:"sae. and the kind of the ledger entry" example:"sae.deposit"`
	Time        time.Time `json:"time"`
	DataType    string    `json:"datacontenttype"`
	Data        EventData `json:"data"`
}

// EventData are what an event is about.
type EventData struct {
	Entry     int64                 `json:"ledgerEntry"`
	Operation string                `json:"operation"`
	Units     []string              `json:"units,omitempty" doc:"that it touched, at most 1000"`
	More      bool                  `json:"moreUnits,omitempty" doc:"it touched more than are named"`
	Seal      *integrity.SealDetail `json:"seal,omitempty" doc:"of sae.seal, which is of all tenants"`
}

type eventsOutput struct {
	Body struct {
		Events []CloudEvent `json:"events"`
		Next   int64        `json:"next" doc:"from where to ask on"`
	}
}

// lookAgain is how often it is looked whether something happened, for who waits.
const lookAgain = 500 * time.Millisecond

func (s *service) listEvents(ctx context.Context, who *Identity, in *eventsInput) (*eventsOutput, error) {
	wait, cancel := context.WithTimeout(ctx, time.Duration(in.Wait)*time.Second)
	defer cancel()
	for from := in.From; ; {
		events, next, err := s.of(who).Feed(who.Tenant, from, in.Limit)
		if err != nil {
			return nil, err
		}
		if len(events) > 0 {
			return s.eventsOf(events, next)
		}
		if next > from { // what others have was passed over: there may be more
			from = next
			continue
		}
		select {
		case <-wait.Done():
			return s.eventsOf(nil, next)
		case <-time.After(lookAgain):
		}
	}
}

func (s *service) eventsOf(events []archive.FedEvent, next int64) (*eventsOutput, error) {
	out := &eventsOutput{}
	out.Body.Events, out.Body.Next = []CloudEvent{}, next
	for _, x := range events {
		e := CloudEvent{SpecVersion: "1.0", ID: strconv.FormatInt(x.Index, 10), Source: s.a.Config().Origin, Type: "sae." + string(x.Entry.Kind), Time: x.Entry.Time, DataType: "application/json",
			Data: EventData{Entry: x.Index, Operation: x.Entry.Operation, Units: x.Units, More: x.More}}
		if x.Entry.Kind == integrity.Seal {
			e.Data.Seal = &integrity.SealDetail{}
			if err := x.Entry.ReadDetail(integrity.Seal, e.Data.Seal); err != nil {
				return nil, err
			}
		}
		out.Body.Events = append(out.Body.Events, e)
	}
	return out, nil
}
