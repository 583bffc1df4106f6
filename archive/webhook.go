package archive

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"

	"sae/archive/serving"
	"sae/integrity"
)

// A webhook is told what happens in a tenant: see feed.go. Who registers it opens a way out of the
// archive, so that the ledger has it. Its address and its secrets are enciphered, as they stand: they
// sign what is sent. Where it is, is in hook.go.

// Webhook is what is known of a webhook. Its secrets are not told.
type Webhook struct {
	ID       string     `json:"webhook"`
	Tenant   string     `json:"tenant"`
	Name     string     `json:"name"` // of the tenant's, no other has it
	URL      string     `json:"url"`
	Types    []string   `json:"types,omitempty"` // of events that it is told; all when there are none
	Secrets  int        `json:"secrets"`         // that sign: two while one is replaced
	Created  time.Time  `json:"created"`
	Disabled *time.Time `json:"disabled,omitempty"` // since when it is told nothing
	Entry    int64      `json:"ledgerEntry"`        // by which it was added, or changed last
}

// NewWebhook says what a webhook is to be.
type NewWebhook struct {
	Tenant string
	Name   string
	URL    string
	Types  []string
}

// WebhookChange says what is to be changed: what is nil stays.
type WebhookChange struct {
	URL      *string
	Types    *[]string
	Disabled *bool        // false also lets one go on that answered that it is gone
	Secret   SecretChange // "" for none
}

// SecretChange is a step of replacing a secret.
type SecretChange string

// The steps: a second secret is drawn, and both sign; the first is dropped.
const (
	RotateSecret SecretChange = "rotate"
	RetireSecret SecretChange = "retire"
)

// webhookRecord is a webhook; its secret is a salt and a webhookSecret.
type webhookRecord struct {
	ID       string     `json:"id"`
	Tenant   string     `json:"tenant"`
	Types    []string   `json:"types,omitempty"`
	Created  time.Time  `json:"created"`
	Disabled *time.Time `json:"disabled,omitempty"`
	Entry    int64      `json:"entry"`
	Key      uint64     `json:"key"` // data key number

	key  [32]byte
	salt [saltSize]byte
	said webhookSecret
}

// webhookSecret is what of a webhook is enciphered.
type webhookSecret struct {
	Name    string   `json:"name"`
	URL     string   `json:"url"`
	Secrets [][]byte `json:"secrets"` // the oldest first
}

const (
	webhookID         = "w"
	maxWebhooks       = 20 // of a tenant: each has a connection of its own
	hookSecretSize    = 32
	hookSecretPrefix  = "whsec_" // of Standard Webhooks
	maxHookTypes      = 50
	maxReceiverLength = 2000
)

var (
	hookName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$`)
	eventType = regexp.MustCompile(`^sae\.[a-z][a-z-]{0,60}$`)
)

// AddWebhook registers a webhook, on behalf of agent: it is told what happens from now on. The secret is
// given this once.
func (a *Archive) AddWebhook(ctx context.Context, agent string, n NewWebhook) (w *Webhook, secret string, err error) {
	of, err := a.administers(agent, n.Tenant)
	if err != nil {
		return nil, "", err
	}
	a.acting.Lock() // two of one name
	defer a.acting.Unlock()
	there, err := a.Webhooks(of.ID)
	if err != nil {
		return nil, "", err
	}
	bad := &Refusal{}
	if !hookName.MatchString(n.Name) {
		bad.addf("name %.80q: want at most 64 letters, digits, points and hyphens", n.Name)
	}
	if slices.ContainsFunc(there, func(w *Webhook) bool { return w.Name == n.Name }) {
		bad.addf("name %q: another webhook of this tenant has it", n.Name)
	}
	if len(there) >= maxWebhooks {
		bad.addf("there are %d webhooks: remove one first, a tenant has at most %d", len(there), maxWebhooks)
	}
	checkReceiver(n.URL, n.Types, bad)
	if err := bad.orNil(); err != nil {
		return nil, "", err
	}
	r := &webhookRecord{ID: newID(webhookID), Tenant: of.ID, Types: n.Types, key: newKey(), salt: newSalt(), said: webhookSecret{Name: n.Name, URL: n.URL}}
	secret = r.said.draw()
	op := r.operation(a, agent, integrity.WebhookAdded)
	op.keys = [][32]byte{r.key}
	op.records = append(op.records, func(p position) []record {
		r.Created, r.Key = p.time, p.key
		return r.stored(p)
	})
	// It begins behind all that was noted, too: that is known in the transaction alone.
	op.alone, op.last = true, func(t *tx, p position) error {
		noted, err := t.nextNoted()
		if err != nil {
			return err
		}
		return t.put(bktHook, hookKey(of.ID, r.ID), mustJSON(HookState{At: Cursor{p.entry + 1, noted}}))
	}
	if err := a.commitBy(ctx, agent, op); err != nil {
		return nil, "", fmt.Errorf("adding a webhook: %w", err)
	}
	return r.shown(), secret, nil
}

// checkReceiver says what is wrong with where, and of what, a webhook is told.
func checkReceiver(url string, types []string, bad *Refusal) {
	if !serving.Receiver(url) || len(url) > maxReceiverLength {
		bad.addf("url: want an https URL, or an http one of this machine, without a user, of at most %d bytes", maxReceiverLength)
	}
	for _, x := range types {
		if !eventType.MatchString(x) {
			bad.addf("type %.80q: want one of an event, such as sae.deposit", x)
		}
	}
	if len(types) > maxHookTypes {
		bad.addf("%d types: at most %d", len(types), maxHookTypes)
	}
}

// draw draws a secret behind those that there are, and gives it in the form of Standard Webhooks.
func (s *webhookSecret) draw() string {
	b := make([]byte, hookSecretSize)
	rand.Read(b)
	s.Secrets = append(s.Secrets, b)
	return hookSecretPrefix + base64.StdEncoding.EncodeToString(b)
}

// operation is one that adds, changes or removes a webhook.
func (r *webhookRecord) operation(a *Archive, agent string, kind integrity.Kind) *operation {
	detail := integrity.WebhookDetail{Webhook: r.ID, Types: r.Types, Disabled: r.Disabled != nil, Secrets: len(r.said.Secrets),
		Address: groupLeaf(sha256.Sum256([]byte(r.said.Name+"\x00"+r.said.URL)), r.salt)}
	return &operation{id: newID(opID), entry: integrity.Entry{Kind: kind, Tenant: r.Tenant, Agent: agentID(a.indexKey, agent)}, detail: func(position) any { return detail }}
}

// stored is the record at its position.
func (r *webhookRecord) stored(p position) []record {
	r.Entry = p.entry
	return []record{{bktWebhook, []byte(r.ID), encodeRecord(r, r.key, append(r.salt[:], mustJSON(r.said)...))}}
}

func (r *webhookRecord) shown() *Webhook {
	return &Webhook{ID: r.ID, Tenant: r.Tenant, Name: r.said.Name, URL: r.said.URL, Types: r.Types, Secrets: len(r.said.Secrets), Created: r.Created, Disabled: r.Disabled, Entry: r.Entry}
}

// ChangeWebhook changes a webhook, on behalf of agent. A secret that is drawn is given this once.
func (a *Archive) ChangeWebhook(ctx context.Context, agent, tenant, id string, c WebhookChange) (w *Webhook, secret string, err error) {
	of, err := a.administers(agent, tenant)
	if err != nil {
		return nil, "", err
	}
	a.acting.Lock() // two changes of one webhook
	defer a.acting.Unlock()
	r, err := a.webhook(of.ID, id)
	if err != nil {
		return nil, "", err
	}
	if secret, err = r.change(c); err != nil {
		return nil, "", err
	}
	op := r.operation(a, agent, integrity.WebhookChanged)
	op.records = append(op.records, r.stored)
	if c.Disabled != nil && !*c.Disabled { // it has its whole time again
		op.alone, op.last = true, func(t *tx, _ position) error {
			s, err := t.hookState(of.ID, id)
			if err != nil {
				return err
			}
			return t.put(bktHook, hookKey(of.ID, id), mustJSON(HookState{At: s.At, Moves: s.Moves + 1}))
		}
	}
	if err := a.commitBy(ctx, agent, op); err != nil {
		return nil, "", fmt.Errorf("changing webhook %s: %w", id, err)
	}
	return r.shown(), secret, nil
}

// change changes the record, or says all that stands against it.
func (r *webhookRecord) change(c WebhookChange) (secret string, err error) {
	bad := &Refusal{}
	if c.URL == nil && c.Types == nil && c.Disabled == nil && c.Secret == "" {
		bad.addf("nothing is to be changed: name url, types, disabled or secret")
	}
	if c.URL != nil {
		r.said.URL = *c.URL
	}
	if c.Types != nil {
		r.Types = *c.Types
	}
	checkReceiver(r.said.URL, r.Types, bad)
	switch at := now().UTC().Truncate(time.Second); {
	case c.Disabled == nil:
	case !*c.Disabled:
		r.Disabled = nil
	case r.Disabled == nil:
		r.Disabled = &at
	}
	switch n := len(r.said.Secrets); {
	case c.Secret == "":
	case c.Secret == RotateSecret: // one that was drawn before, and that nobody may have got, is drawn again
		r.said.Secrets = r.said.Secrets[:1]
		secret = r.said.draw()
	case c.Secret == RetireSecret && n == 2:
		r.said.Secrets = r.said.Secrets[1:]
	case c.Secret == RetireSecret:
		bad.addf("secret: there is one alone, draw the next first (%s)", RotateSecret)
	default:
		bad.addf("secret %.20q: want %s or %s", c.Secret, RotateSecret, RetireSecret)
	}
	return secret, bad.orNil()
}

// RemoveWebhook forgets a webhook, its secrets and its dead letters, on behalf of agent.
func (a *Archive) RemoveWebhook(ctx context.Context, agent, tenant, id string) error {
	of, err := a.administers(agent, tenant)
	if err != nil {
		return err
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	r, err := a.webhook(of.ID, id)
	if err != nil {
		return err
	}
	op := r.operation(a, agent, integrity.WebhookRemoved)
	op.deletes = []record{{bucket: bktWebhook, key: []byte(id)}}
	op.alone, op.last = true, func(t *tx, _ position) error { return t.dropHook(of.ID, id) }
	if err := a.commitBy(ctx, agent, op); err != nil {
		return fmt.Errorf("removing webhook %s: %w", id, err)
	}
	return nil
}

// webhook reads a webhook of a tenant.
func (a *Archive) webhook(tenant, id string) (r *webhookRecord, err error) {
	err = a.cat.view(func(t *tx) error {
		v, err := t.get(bktWebhook, []byte(id))
		if err == nil && v != nil {
			r, err = a.openWebhook(t, v)
		}
		if err == nil && (v == nil || r.Tenant != tenant) {
			err = fmt.Errorf("webhook %q: %w", id, ErrNotFound)
		}
		return err
	})
	return r, err
}

func (a *Archive) openWebhook(t *tx, v []byte) (*webhookRecord, error) {
	r := &webhookRecord{}
	s, err := decodeRecord(v, r)
	if err == nil {
		r.key, err = a.vault.Unwrap(keyStore{t}, r.Key)
	}
	var b []byte
	if err == nil {
		r.salt, b, err = s.open(r.key)
	}
	if err == nil {
		err = json.Unmarshal(b, &r.said)
	}
	if err != nil {
		return nil, damaged("webhook", r.ID, err)
	}
	return r, nil
}

// Webhooks are those of a tenant, the oldest first.
func (a *Archive) Webhooks(tenant string) ([]*Webhook, error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	out := []*Webhook{}
	err = a.cat.view(func(t *tx) error {
		return t.scan(bktWebhook, nil, nil, func(_, v []byte) (bool, error) {
			var clear webhookRecord
			if err := decodeClear(v, &clear); err != nil || clear.Tenant != of.ID {
				return err == nil, err
			}
			r, err := a.openWebhook(t, v)
			if err == nil {
				out = append(out, r.shown())
			}
			return err == nil, err
		})
	})
	slices.SortFunc(out, func(x, y *Webhook) int { return x.Created.Compare(y.Created) })
	return out, err
}

// WebhookOf gives a webhook of a tenant, by its identifier or its name.
func (a *Archive) WebhookOf(tenant, word string) (*Webhook, error) {
	all, err := a.Webhooks(tenant)
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		if w.ID == word || w.Name == word {
			return w, nil
		}
	}
	return nil, fmt.Errorf("webhook %.80q: %w", word, ErrNotFound)
}

// WebhookSecrets are the secrets of a webhook, the oldest first: for who signs by them.
func (a *Archive) WebhookSecrets(tenant, id string) ([][]byte, error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	r, err := a.webhook(of.ID, id)
	if err != nil {
		return nil, err
	}
	return r.said.Secrets, nil
}

// ToTell gives the webhooks of all tenants that are told what happens, each with the entry by which it
// was changed last: it costs little, and is asked for again and again.
func (a *Archive) ToTell() (map[string]ToldHook, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	out := map[string]ToldHook{}
	err := a.cat.view(func(t *tx) error {
		return t.scan(bktWebhook, nil, nil, func(k, v []byte) (bool, error) {
			var r webhookRecord
			if err := decodeClear(v, &r); err != nil {
				return false, damaged("webhook", string(k), err)
			}
			if r.Disabled == nil {
				out[r.ID] = ToldHook{r.Tenant, r.Entry}
			}
			return true, nil
		})
	})
	return out, err
}

// ToldHook is a webhook that is told: of which tenant, and as of which entry.
type ToldHook struct {
	Tenant string
	Entry  int64
}
