package api

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
)

// What the data of each type of event are. EventData holds them all; these are its parts, one for each
// schema that is told of, and a test holds what is told against them.

// EntryEvent are the data of what is a ledger entry.
type EntryEvent struct {
	Entry     int64    `json:"ledgerEntry"`
	Operation string   `json:"operation"`
	Units     []string `json:"units,omitempty" maxItems:"1000" doc:"identifiers of those that it touched"`
	More      bool     `json:"moreUnits,omitempty" doc:"it touched more than are named"`
}

// SealEvent are the data of sae.seal.
type SealEvent struct {
	Entry     int64     `json:"ledgerEntry"`
	Operation string    `json:"operation"`
	Seal      EventSeal `json:"seal"`
}

// RefusedEvent are the data of sae.refused.
type RefusedEvent struct {
	Refused EventRefused `json:"refused"`
}

// DueEvent are the data of sae.due.
type DueEvent struct {
	Units []string `json:"units" minItems:"1" maxItems:"1" doc:"identifier of the unit"`
	Due   EventDue `json:"due"`
}

// eventTypes are the types that do not change, with what they mean. Those of other ledger entries have
// the kind of the entry as their name, and the data of an entry.
var eventTypes = []struct {
	name string
	when string
	data reflect.Type
}{
	{eventOfKind(integrity.Deposit), "A deposit or a transfer was archived.", typeOf[EntryEvent]()},
	{eventOfNoted(archive.NotedRefused), "A deposit was refused; nothing of it was kept.", typeOf[RefusedEvent]()},
	{eventOfKind(integrity.Seal), "What was archived has its time-stamp.", typeOf[SealEvent]()},
	{eventOfNoted(archive.NotedDue), "The retention of a unit is over soon.", typeOf[DueEvent]()},
	{eventOfKind(integrity.Destroyed), "Units were destroyed.", typeOf[EntryEvent]()},
	{eventOfKind(integrity.PaperDestroyed), "The paper of units was destroyed; their copies stay.", typeOf[EntryEvent]()},
	{eventOfKind(integrity.Erased), "Units were erased (GDPR art. 17).", typeOf[EntryEvent]()},
	{eventOfKind(integrity.FileEvent), "An event of a citizen file was recorded.", typeOf[EntryEvent]()},
	{eventOfKind(integrity.EliminationProposed), "A list of units to destroy was frozen.", typeOf[EntryEvent]()},
	{eventOfKind(integrity.EliminationAgreed), "The originating agency agreed to it.", typeOf[EntryEvent]()},
	{eventOfKind(integrity.EliminationVisaed), "The control authority gave its visa.", typeOf[EntryEvent]()},
	{eventOfKind(integrity.EliminationRefused), "One of them refused.", typeOf[EntryEvent]()},
	{eventOfKind(integrity.EliminationWithdrawn), "It was given up.", typeOf[EntryEvent]()},
	{eventOfKind(integrity.EliminationExecuted), "What could be destroyed of it was.", typeOf[EntryEvent]()},
	{eventOfKind(integrity.EliminationCertified), "Its destruction certificate was archived.", typeOf[EntryEvent]()},
}

func eventOfKind(k integrity.Kind) string { return "sae." + string(k) }

func eventOfNoted(k archive.NotedKind) string { return "sae." + string(k) }

// tellEventTypes puts the types into the interface, as webhooks of OpenAPI 3.1.
func (s *service) tellEventTypes() {
	doc := s.api.OpenAPI()
	doc.Webhooks = map[string]*huma.PathItem{}
	for _, x := range eventTypes {
		data := doc.Components.Schemas.Schema(x.data, true, x.data.Name())
		event := &huma.Schema{AllOf: []*huma.Schema{doc.Components.Schemas.Schema(typeOf[CloudEvent](), true, "CloudEvent"),
			{Type: "object", Properties: map[string]*huma.Schema{"type": {Type: "string", Enum: []any{x.name}}, "data": data}}}}
		doc.Webhooks[x.name] = &huma.PathItem{Post: &huma.Operation{Method: http.MethodPost, Summary: strings.TrimSuffix(x.when, "."), Tags: []string{"events"},
			Description: x.when + " Sent to webhooks that are registered for it, and told by GET /v1/events. Any 2xx says that the receiver has it; 410 stops the webhook.",
			Security:    []map[string][]string{{}},
			Parameters: []*huma.Param{
				{Name: "webhook-id", In: "header", Required: true, Description: "identifier of the event: the same when it is sent again", Schema: &huma.Schema{Type: "string"}},
				{Name: "webhook-timestamp", In: "header", Required: true, Description: "when it was sent, in seconds since 1970", Schema: &huma.Schema{Type: "string"}},
				{Name: "webhook-signature", In: "header", Required: true, Description: "v1, and base64 of HMAC-SHA256 over webhook-id.webhook-timestamp.body, for each secret", Schema: &huma.Schema{Type: "string"}},
			},
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/cloudevents+json": {Schema: event}}},
			Responses:   map[string]*huma.Response{"2XX": {Description: "the receiver has it"}, "410": {Description: "nothing is to be sent any more"}}}}
	}
}
