package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
)

func (s *service) addHooks() {
	add(s, huma.Operation{OperationID: "addWebhook", Method: http.MethodPost, Path: "/v1/webhooks", DefaultStatus: http.StatusCreated, Summary: "Register a webhook",
		Description: "It is told what happens from now on. The secret, by which what is sent is signed, is given this once: the answer to a retry does not hold it."}, s.addHook)
	add(s, huma.Operation{OperationID: "listWebhooks", Method: http.MethodGet, Path: "/v1/webhooks", Summary: "Webhooks of the tenant, and where each is"}, s.listHooks)
	add(s, huma.Operation{OperationID: "showWebhook", Method: http.MethodGet, Path: "/v1/webhooks/{webhook}", Summary: "A webhook, and where it is"}, s.showHook)
	add(s, huma.Operation{OperationID: "changeWebhook", Method: http.MethodPatch, Path: "/v1/webhooks/{webhook}", Summary: "Change, stop or let go on a webhook; replace its secret",
		Description: "To replace a secret: rotate draws a second, and both sign; when the receiver has it, retire drops the first. What is absent stays as it is."}, s.changeHook)
	add(s, huma.Operation{OperationID: "removeWebhook", Method: http.MethodDelete, Path: "/v1/webhooks/{webhook}", DefaultStatus: http.StatusNoContent, Summary: "Remove a webhook, with its dead letters"}, s.removeHook)
	add(s, huma.Operation{OperationID: "listDeadLetters", Method: http.MethodGet, Path: "/v1/webhooks/{webhook}/dead-letters", Summary: "Events that a webhook did not take in its time"}, s.listLetters)
	add(s, huma.Operation{OperationID: "replayWebhook", Method: http.MethodPost, Path: "/v1/webhooks/{webhook}/replay", DefaultStatus: http.StatusAccepted, Summary: "Deliver again",
		Description: "From a cursor or a time on, in order; or the dead letters, once each. Asking twice is asking once: events are told by their identifiers."}, s.replayHook)
}

// ShownHook is a webhook, and where it is. Its secrets are not told.
type ShownHook struct {
	archive.Webhook
	At      string     `json:"at" doc:"cursor: all before it was delivered, or is among the dead letters"`
	Behind  int64      `json:"behind" doc:"ledger entries and noted events that it was not told of yet"`
	Since   *time.Time `json:"behindSince,omitempty" doc:"when the first of them happened"`
	Failing *time.Time `json:"failingSince,omitempty"`
	Tries   int        `json:"tries,omitempty" doc:"in vain, of the event at the cursor"`
	Why     string     `json:"why,omitempty" doc:"a status, or: no answer, not reached, not allowed (an address of a private network)"`
	Gone    bool       `json:"gone,omitempty" doc:"it answered 410: nothing is delivered until it is let go on, or replayed"`
	Dead    int        `json:"deadLetters"`
}

// HookOf tells where a webhook is.
func HookOf(a *archive.Archive, w *archive.Webhook) (*ShownHook, error) {
	st, err := a.HookState(w.Tenant, w.ID)
	if err != nil {
		return nil, err
	}
	g, err := a.HookGauge(w.Tenant, w.ID)
	if err != nil {
		return nil, err
	}
	return &ShownHook{Webhook: *w, At: st.At.String(), Behind: g.Behind, Since: g.Since, Dead: g.Dead, Failing: st.Failing, Tries: st.Tries, Why: st.Why, Gone: st.Gone}, nil
}

// HooksOf tells of the webhooks of a tenant.
func HooksOf(a *archive.Archive, tenant string) ([]*ShownHook, error) {
	all, err := a.Webhooks(tenant)
	if err != nil {
		return nil, err
	}
	out := []*ShownHook{}
	for _, w := range all {
		x, err := HookOf(a, w)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// NewHook is a webhook to register.
type NewHook struct {
	Name  string   `json:"name" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9][A-Za-z0-9.-]*$" doc:"that no other webhook of the tenant has"`
	URL   string   `json:"url" minLength:"1" maxLength:"2000" example:"https://gru.example/sae" doc:"https, or http on this machine; not in a private network, unless the configuration says so"`
	Types []string `json:"types,omitempty" maxItems:"50" doc:"of events that it is told, such as sae.deposit; all when absent"`
}

type addHookInput struct {
	Keyed
	Body NewHook
}

// HookWithSecret is a webhook, with a secret that was drawn.
type HookWithSecret struct {
	ShownHook
	Secret string `json:"secret,omitempty" doc:"in the form of Standard Webhooks; it is not told again"`
}

type hookSecretOutput struct {
	Replayed string `header:"Idempotency-Replayed"`
	Body     HookWithSecret
}

// withSecret is the answer to what may draw a secret.
func (s *service) withSecret(who *Identity, w *archive.Webhook, secret string) (HookWithSecret, error) {
	x, err := HookOf(s.of(who), w)
	if err != nil {
		return HookWithSecret{}, err
	}
	return HookWithSecret{*x, secret}, nil
}

// hookOfEntry is the webhook that a ledger entry speaks of, as it is now.
func (s *service) hookOfEntry(who *Identity, entry int64) (HookWithSecret, error) {
	var detail integrity.WebhookDetail
	if err := s.detail(entry, &detail); err != nil {
		return HookWithSecret{}, err
	}
	w, err := s.of(who).WebhookOf(who.Tenant, detail.Webhook)
	if err != nil {
		return HookWithSecret{}, err
	}
	return s.withSecret(who, w, "")
}

func (s *service) addHook(ctx context.Context, who *Identity, in *addHookInput) (*hookSecretOutput, error) {
	b := in.Body
	out, replayed, err := once(ctx, s, who, in.Key, "addWebhook", b, func(ctx context.Context) (HookWithSecret, error) {
		w, secret, err := s.of(who).AddWebhook(ctx, who.Name, archive.NewWebhook{Tenant: who.Tenant, Name: b.Name, URL: b.URL, Types: b.Types})
		if err != nil {
			return HookWithSecret{}, err
		}
		return s.withSecret(who, w, secret)
	}, by(who, s.hookOfEntry))
	if err != nil {
		return nil, err
	}
	return &hookSecretOutput{replayed, out}, nil
}

type hooksOutput struct {
	Body struct {
		Webhooks []*ShownHook `json:"webhooks"`
	}
}

func (s *service) listHooks(_ context.Context, who *Identity, _ *struct{}) (*hooksOutput, error) {
	all, err := HooksOf(s.of(who), who.Tenant)
	if err != nil {
		return nil, err
	}
	out := &hooksOutput{}
	out.Body.Webhooks = all
	return out, nil
}

// HookPath names a webhook.
type HookPath struct {
	Webhook string `path:"webhook" pattern:"^w[a-z2-7]{26}$"`
}

type hookOutput struct {
	Body *ShownHook
}

func (s *service) showHook(_ context.Context, who *Identity, in *HookPath) (*hookOutput, error) {
	w, err := s.of(who).WebhookOf(who.Tenant, in.Webhook)
	if err != nil {
		return nil, err
	}
	x, err := HookOf(s.of(who), w)
	if err != nil {
		return nil, err
	}
	return &hookOutput{x}, nil
}

// HookChange says what of a webhook is to be changed.
type HookChange struct {
	URL      *string              `json:"url,omitempty" minLength:"1" maxLength:"2000"`
	Types    *[]string            `json:"types,omitempty" maxItems:"50" doc:"all when the list is empty"`
	Disabled *bool                `json:"disabled,omitempty" doc:"true stops it where it is; false lets it go on from there"`
	Secret   archive.SecretChange `json:"secret,omitempty" enum:"rotate,retire"`
}

type changeHookInput struct {
	Keyed
	HookPath
	Body HookChange
}

func (s *service) changeHook(ctx context.Context, who *Identity, in *changeHookInput) (*hookSecretOutput, error) {
	b := in.Body
	out, replayed, err := once(ctx, s, who, in.Key, "changeWebhook "+in.Webhook, b, func(ctx context.Context) (HookWithSecret, error) {
		w, secret, err := s.of(who).ChangeWebhook(ctx, who.Name, who.Tenant, in.Webhook, archive.WebhookChange{URL: b.URL, Types: b.Types, Disabled: b.Disabled, Secret: b.Secret})
		if err != nil {
			return HookWithSecret{}, err
		}
		return s.withSecret(who, w, secret)
	}, by(who, s.hookOfEntry))
	if err != nil {
		return nil, err
	}
	return &hookSecretOutput{replayed, out}, nil
}

type removeHookInput struct {
	Keyed
	HookPath
}

type removedHook struct {
	Replayed string `header:"Idempotency-Replayed"`
}

func (s *service) removeHook(ctx context.Context, who *Identity, in *removeHookInput) (*removedHook, error) {
	_, replayed, err := once(ctx, s, who, in.Key, "removeWebhook", in.Webhook,
		func(ctx context.Context) (none struct{}, err error) {
			return none, s.of(who).RemoveWebhook(ctx, who.Name, who.Tenant, in.Webhook)
		},
		func(int64) (none struct{}, err error) { return none, nil })
	if err != nil {
		return nil, err
	}
	return &removedHook{replayed}, nil
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
	if _, err := s.of(who).WebhookOf(who.Tenant, in.Webhook); err != nil {
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
		From    string     `json:"from,omitempty" maxLength:"40" pattern:"^[0-9]{1,18}([.][0-9]{1,18})?$" doc:"cursor from which all is delivered again: an event's, a dead letter's, or a ledger entry"`
		Since   *time.Time `json:"since,omitempty" doc:"instead: what happened at this time and later"`
		Letters bool       `json:"deadLetters,omitempty" doc:"instead: the dead letters are"`
	}
}

type replayOutput struct {
	Body struct {
		Letters int `json:"deadLetters" doc:"that will be delivered again"`
	}
}

func (s *service) replayHook(ctx context.Context, who *Identity, in *replayInput) (*replayOutput, error) {
	if _, err := s.of(who).WebhookOf(who.Tenant, in.Webhook); err != nil {
		return nil, err
	}
	out := &replayOutput{}
	named := 0
	for _, x := range []bool{in.Body.From != "", in.Body.Since != nil, in.Body.Letters} {
		if x {
			named++
		}
	}
	if named != 1 {
		return nil, &archive.Refusal{Problems: []string{"name a cursor (from), a time (since), or deadLetters: one of them"}}
	}
	if in.Body.Letters {
		n, err := s.of(who).ReplayLetters(ctx, who.Tenant, in.Webhook)
		out.Body.Letters = n
		return out, err
	}
	from, err := archive.ParseCursor(in.Body.From)
	if in.Body.Since != nil {
		from, err = s.of(who).FeedSince(*in.Body.Since)
	}
	if err != nil {
		return nil, err
	}
	return out, s.of(who).ReplayHook(ctx, who.Tenant, in.Webhook, from)
}
