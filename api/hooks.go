package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/archive/serving"
)

func (s *service) addHooks() {
	add(s, huma.Operation{OperationID: "listWebhooks", Method: http.MethodGet, Path: "/v1/webhooks", Summary: "Webhooks of the tenant, and where each is",
		Description: "Webhooks are named in the configuration of the service (serve.webhooks)."}, s.listHooks)
	add(s, huma.Operation{OperationID: "listDeadLetters", Method: http.MethodGet, Path: "/v1/webhooks/{webhook}/dead-letters", Summary: "Events that a webhook did not take in its time"}, s.listLetters)
	add(s, huma.Operation{OperationID: "replayWebhook", Method: http.MethodPost, Path: "/v1/webhooks/{webhook}/replay", DefaultStatus: http.StatusAccepted, Summary: "Deliver again",
		Description: "From a cursor on, in order; or the dead letters, once each. Asking twice is asking once: events are told by their identifiers."}, s.replayHook)
}

// ShownHook is a webhook, and where it is. Its secrets are not told.
type ShownHook struct {
	Name    string     `json:"name"`
	URL     string     `json:"url"`
	Types   []string   `json:"types,omitempty"`
	At      string     `json:"at" doc:"cursor: all before it was delivered, or is among the dead letters"`
	Behind  int64      `json:"behind" doc:"ledger entries and noted events that it was not told of yet"`
	Failing *time.Time `json:"failingSince,omitempty"`
	Tries   int        `json:"tries,omitempty" doc:"in vain, of the event at the cursor"`
	Why     string     `json:"why,omitempty" doc:"a status, or: no answer, not reached"`
	Gone    bool       `json:"gone,omitempty" doc:"it answered 410: nothing is delivered until it is replayed"`
	Dead    int        `json:"deadLetters"`
}

// HooksOf tells of the webhooks of a tenant, by the view of it.
func HooksOf(a *archive.Archive, all []serving.Webhook, tenant string) ([]ShownHook, error) {
	end, err := a.FeedEnd()
	if err != nil {
		return nil, err
	}
	out := []ShownHook{}
	for _, h := range all {
		if h.Tenant != tenant {
			continue
		}
		st, _, err := a.HookState(tenant, h.Name)
		if err != nil {
			return nil, err
		}
		x := ShownHook{Name: h.Name, URL: h.URL, Types: h.Types, At: st.At.String(), Behind: max(0, end.Entry-st.At.Entry) + max(0, end.Noted-st.At.Noted), Failing: st.Failing, Tries: st.Tries, Why: st.Why, Gone: st.Gone}
		if err := a.DeadLetters(tenant, h.Name, func(archive.DeadLetter) (bool, error) { x.Dead++; return true, nil }); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// webhooksOf are those of the configuration, each with its tenant named.
func (s *service) webhooksOf() []serving.Webhook {
	all := make([]serving.Webhook, len(s.config.Webhooks))
	for i, h := range s.config.Webhooks {
		all[i] = h
		all[i].Tenant = s.tenant(h.Tenant)
	}
	return all
}

type hooksOutput struct {
	Body struct {
		Webhooks []ShownHook `json:"webhooks"`
	}
}

func (s *service) listHooks(_ context.Context, who *Identity, _ *struct{}) (*hooksOutput, error) {
	all, err := HooksOf(s.of(who), s.webhooksOf(), who.Tenant)
	if err != nil {
		return nil, err
	}
	out := &hooksOutput{}
	out.Body.Webhooks = all
	return out, nil
}

// HookPath names a webhook.
type HookPath struct {
	Webhook string `path:"webhook" pattern:"^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$"`
}

// hookOf wants a webhook of who asks.
func (s *service) hookOf(who *Identity, name string) error {
	for _, h := range s.webhooksOf() {
		if h.Name == name && h.Tenant == who.Tenant {
			return nil
		}
	}
	return fmt.Errorf("webhook %q: %w", name, archive.ErrNotFound)
}

type lettersInput struct {
	HookPath
	After string `query:"after" maxLength:"40" pattern:"^[0-9]{1,18}[.][0-9]{1,18}$" doc:"cursor: the next of the page before"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

// ShownLetter is an event that was given up.
type ShownLetter struct {
	At    string    `json:"at" doc:"its cursor"`
	ID    string    `json:"event"`
	Type  string    `json:"type"`
	Given time.Time `json:"givenUp"`
	Tries int       `json:"tries"`
	Why   string    `json:"why"`
	Again bool      `json:"again,omitempty" doc:"it is to be delivered again"`
}

type lettersOutput struct {
	Body struct {
		Letters []ShownLetter `json:"deadLetters"`
		Next    string        `json:"next,omitempty"`
	}
}

func (s *service) listLetters(_ context.Context, who *Identity, in *lettersInput) (*lettersOutput, error) {
	if err := s.hookOf(who, in.Webhook); err != nil {
		return nil, err
	}
	after := archive.Cursor{Entry: -1}
	if in.After != "" {
		var err error
		if after, err = archive.ParseCursor(in.After); err != nil {
			return nil, err
		}
	}
	out := &lettersOutput{}
	out.Body.Letters = []ShownLetter{}
	err := s.of(who).DeadLetters(who.Tenant, in.Webhook, func(d archive.DeadLetter) (bool, error) {
		if d.At.Entry < after.Entry || d.At.Entry == after.Entry && d.At.Noted <= after.Noted {
			return true, nil
		}
		if len(out.Body.Letters) == in.Limit {
			out.Body.Next = out.Body.Letters[in.Limit-1].At
			return false, nil
		}
		out.Body.Letters = append(out.Body.Letters, ShownLetter{d.At.String(), d.ID, d.Type, d.Given, d.Tries, d.Why, d.Again})
		return true, nil
	})
	return out, err
}

type replayInput struct {
	Keyed
	HookPath
	Body struct {
		From    string `json:"from,omitempty" maxLength:"40" pattern:"^[0-9]{1,18}([.][0-9]{1,18})?$" doc:"cursor from which all is delivered again"`
		Letters bool   `json:"deadLetters,omitempty" doc:"instead: the dead letters are"`
	}
}

type replayOutput struct {
	Body struct {
		Letters int `json:"deadLetters" doc:"that will be delivered again"`
	}
}

func (s *service) replayHook(ctx context.Context, who *Identity, in *replayInput) (*replayOutput, error) {
	if err := s.hookOf(who, in.Webhook); err != nil {
		return nil, err
	}
	out := &replayOutput{}
	if in.Body.Letters == (in.Body.From != "") {
		return nil, &archive.Refusal{Problems: []string{"name a cursor (from), or deadLetters: one of them"}}
	}
	if in.Body.Letters {
		n, err := s.of(who).ReplayLetters(ctx, who.Tenant, in.Webhook)
		out.Body.Letters = n
		return out, err
	}
	from, err := archive.ParseCursor(in.Body.From)
	if err != nil {
		return nil, err
	}
	return out, s.of(who).ReplayHook(ctx, who.Tenant, in.Webhook, from)
}
