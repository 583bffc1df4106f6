package archive

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sae/integrity"
)

// An API key lets a program ask things of the service: for a tenant, with roles, until a day. It is 256
// random bits behind its identifier; the catalogue has a hash of them, of which nobody finds them back.
// It is not written down when a key was last used.

// APIKey is what is known of a key.
type APIKey struct {
	ID         string     `json:"key"`
	Tenant     string     `json:"tenant"`
	Name       string     `json:"name"` // who acts by it, as roles of sae.yaml and the ledger name it
	Roles      []Role     `json:"roles"`
	Operations []string   `json:"operations,omitempty"` // of the service, to which it is limited; those of its roles when there are none
	Created    time.Time  `json:"created"`
	Expires    time.Time  `json:"expires"`
	Revoked    *time.Time `json:"revoked,omitempty"`
	Entry      int64      `json:"ledgerEntry"` // by which it was created, or revoked
}

// NewAPIKey says what a key is to be.
type NewAPIKey struct {
	Tenant     string
	Name       string
	Roles      []Role
	Operations []string
	Expires    time.Time
}

// apiKeyRecord is a key; its secret is a salt and the name.
type apiKeyRecord struct {
	ID         string     `json:"id"`
	Tenant     string     `json:"tenant"`
	Roles      []Role     `json:"roles"`
	Operations []string   `json:"operations,omitempty"`
	Created    time.Time  `json:"created"`
	Expires    time.Time  `json:"expires"`
	Revoked    *time.Time `json:"revoked,omitempty"`
	Entry      int64      `json:"entry"`
	Key        uint64     `json:"key"`  // data key number
	Hash       []byte     `json:"hash"` // SHA-256 of the 256 random bits
}

const (
	apiKeyID     = "k"
	apiKeyPrefix = "sae_" // so that a key is known for one where it should not be
	maxAPIKeyAge = 3 * 366 * 24 * time.Hour
)

// CreateAPIKey makes a key, on behalf of agent. The secret is given this once.
func (a *Archive) CreateAPIKey(ctx context.Context, agent string, n NewAPIKey) (k *APIKey, secret string, err error) {
	of, err := a.administers(agent, n.Tenant)
	if err != nil {
		return nil, "", err
	}
	if err := n.check(); err != nil {
		return nil, "", err
	}
	var random [32]byte
	rand.Read(random[:])
	hash := sha256.Sum256(random[:])
	r := apiKeyRecord{ID: newID(apiKeyID), Tenant: of.ID, Roles: n.Roles, Operations: n.Operations, Expires: n.Expires.UTC().Truncate(time.Second), Hash: hash[:]}
	key, salt := newKey(), newSalt()
	op := r.operation(a, agent, integrity.APIKeyCreated, salt, n.Name)
	op.keys = [][32]byte{key}
	op.records = append(op.records, func(p position) []record {
		r.Created, r.Entry, r.Key = p.time, p.entry, p.key
		return []record{{bktAPIKey, []byte(r.ID), encodeRecord(r, key, append(salt[:], n.Name...))}}
	})
	if err := a.commitBy(ctx, agent, op); err != nil {
		return nil, "", fmt.Errorf("creating an API key: %w", err)
	}
	return r.shown(n.Name), apiKeyPrefix + r.ID + "_" + base64.RawURLEncoding.EncodeToString(random[:]), nil
}

// administers gives a tenant whose ways in and out agent may open and close.
func (a *Archive) administers(agent, tenant string) (*Tenant, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	of, err := a.tenant(tenant)
	if err == nil {
		err = of.mayIfNamed(agent, Administrator)
	}
	return of, err
}

func (n *NewAPIKey) check() error {
	bad := &Refusal{}
	checkText("name", n.Name, 200, bad)
	if strings.TrimSpace(n.Name) == "" {
		bad.addf("no name: say who acts by the key")
	}
	if len(n.Roles) == 0 {
		bad.addf("no role: a key without one may do nothing")
	}
	for _, r := range n.Roles {
		if !slices.Contains(Roles, r) {
			bad.addf("%q is not a role: want some of %v", r, Roles)
		}
	}
	for _, o := range n.Operations {
		checkText("operation", o, 100, bad)
	}
	if len(n.Operations) > 100 {
		bad.addf("%d operations: at most 100", len(n.Operations))
	}
	if at := now(); !n.Expires.After(at) || n.Expires.After(at.Add(maxAPIKeyAge)) {
		bad.addf("it expires on %s: want a time to come, at most three years from now", n.Expires.Format(time.DateOnly))
	}
	return bad.orNil()
}

// operation is one that changes a key.
func (r *apiKeyRecord) operation(a *Archive, agent string, kind integrity.Kind, salt [saltSize]byte, name string) *operation {
	detail := integrity.APIKeyDetail{Key: r.ID, Operations: r.Operations, Expires: r.Expires, Name: groupLeaf(sha256.Sum256([]byte(name)), salt)}
	for _, role := range r.Roles {
		detail.Roles = append(detail.Roles, string(role))
	}
	return &operation{id: newID(opID), entry: integrity.Entry{Kind: kind, Tenant: r.Tenant, Agent: agentID(a.indexKey, agent)}, detail: func(position) any { return detail }}
}

func (r *apiKeyRecord) shown(name string) *APIKey {
	return &APIKey{ID: r.ID, Tenant: r.Tenant, Name: name, Roles: r.Roles, Operations: r.Operations, Created: r.Created, Expires: r.Expires, Revoked: r.Revoked, Entry: r.Entry}
}

// RevokeAPIKey ends a key, on behalf of agent: from the answer on nobody acts by it.
func (a *Archive) RevokeAPIKey(ctx context.Context, agent, tenant, id string) (*APIKey, error) {
	if err := a.knows("API key", id); err != nil {
		return nil, err
	}
	of, err := a.administers(agent, tenant)
	if err != nil {
		return nil, err
	}
	a.acting.Lock() // two revocations of one key
	defer a.acting.Unlock()
	r, key, salt, name, err := a.apiKey(id)
	if err == nil && r.Tenant != of.ID {
		err = fmt.Errorf("API key %q: %w", id, ErrNotFound)
	}
	if err == nil && r.Revoked != nil {
		err = &Refusal{Problems: []string{fmt.Sprintf("API key %s was revoked already, on %s", id, r.Revoked.Format(time.DateOnly))}}
	}
	if err != nil {
		return nil, err
	}
	op := r.operation(a, agent, integrity.APIKeyRevoked, salt, name)
	op.records = append(op.records, func(p position) []record {
		r.Revoked, r.Entry = &p.time, p.entry
		return []record{{bktAPIKey, []byte(r.ID), encodeRecord(r, key, append(salt[:], name...))}}
	})
	if err := a.commitBy(ctx, agent, op); err != nil {
		return nil, fmt.Errorf("revoking API key %s: %w", id, err)
	}
	return r.shown(name), nil
}

// apiKey reads a key.
func (a *Archive) apiKey(id string) (r *apiKeyRecord, key [32]byte, salt [saltSize]byte, name string, err error) {
	err = a.cat.view(func(t *tx) error {
		v, err := t.get(bktAPIKey, []byte(id))
		if err == nil && v == nil {
			err = fmt.Errorf("API key %q: %w", id, ErrNotFound)
		}
		if err == nil {
			r, key, salt, name, err = a.openAPIKey(t, v)
		}
		return err
	})
	return r, key, salt, name, err
}

func (a *Archive) openAPIKey(t *tx, v []byte) (r *apiKeyRecord, key [32]byte, salt [saltSize]byte, name string, err error) {
	r = &apiKeyRecord{}
	s, err := decodeRecord(v, r)
	if err == nil {
		key, err = a.vault.Unwrap(keyStore{t}, r.Key)
	}
	var b []byte
	if err == nil {
		salt, b, err = s.open(key)
	}
	if err != nil {
		return nil, key, salt, "", damaged("API key", r.ID, err)
	}
	return r, key, salt, string(b), nil
}

// APIKeys are the keys of a tenant, those that are not good any more too.
func (a *Archive) APIKeys(tenant string) ([]*APIKey, error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	out := []*APIKey{}
	err = a.cat.view(func(t *tx) error {
		return t.scan(bktAPIKey, nil, nil, func(_, v []byte) (bool, error) {
			r, _, _, name, err := a.openAPIKey(t, v)
			if err == nil && r.Tenant == of.ID {
				out = append(out, r.shown(name))
			}
			return err == nil, err
		})
	})
	slices.SortFunc(out, func(x, y *APIKey) int { return x.Created.Compare(y.Created) })
	return out, err
}

// ErrBadKey: it is no API key of this archive, or is not good any more. It does not say which.
var ErrBadKey = errors.New("not a good API key")

// APIKeyOf gives the key whose secret is presented.
func (a *Archive) APIKeyOf(secret string) (*APIKey, error) {
	id, random, ok := strings.Cut(strings.TrimPrefix(secret, apiKeyPrefix), "_")
	bits, err := base64.RawURLEncoding.DecodeString(random)
	if !ok || err != nil || !strings.HasPrefix(secret, apiKeyPrefix) || !idForm.MatchString(id) {
		return nil, ErrBadKey
	}
	r, _, _, name, err := a.apiKey(id)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrBadKey
	}
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(bits)
	if subtle.ConstantTimeCompare(hash[:], r.Hash) != 1 || r.Revoked != nil || a.only != "" && r.Tenant != a.only || !time.Now().Before(r.Expires) {
		return nil, ErrBadKey
	}
	return r.shown(name), nil
}
