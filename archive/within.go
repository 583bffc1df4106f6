package archive

import (
	"encoding/json"
	"errors"
	"fmt"

	"sae/integrity"
)

// A view is the archive as one tenant has it: what the others have is not there. The service gives
// each of its clients the view of their tenant, so that no handler has to remember to ask whose a thing
// is.
//
// A method that takes a tenant goes through Archive.tenant, one that takes an identifier asks knows,
// and one that concerns the archive as a whole asks archiveWide: TestWithin calls them all, and fails for a
// method that is in no list. What a method does inside is not restricted: a view that did not see what
// others keep in a pack would take the pack for unused.

// ErrArchiveWide: it concerns the archive as a whole, and is not done within one tenant.
var ErrArchiveWide = errors.New("this concerns the archive as a whole, and not one tenant")

// Within gives the archive as one tenant has it; "" is the first. It is open as long as the archive is,
// and is not closed.
func (a *Archive) Within(tenant string) (*Archive, error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	return &Archive{state: a.state, only: of.ID}, nil
}

// tenant finds a tenant by its code; "" is that of a view, else the first.
func (a *Archive) tenant(id string) (*Tenant, error) {
	switch {
	case a.only == "":
		return a.config.tenant(id)
	case id == "" || id == a.only:
		return a.config.tenant(a.only)
	}
	return nil, unknownTenant(id, []string{a.only})
}

// archiveWide refuses to a view what concerns the archive as a whole.
func (a *Archive) archiveWide() error {
	if a.only != "" {
		return ErrArchiveWide
	}
	return nil
}

// knows fails, as for what does not exist, when an identifier is of what another tenant has. What
// nobody has, and "", is left to who asks for it.
func (a *Archive) knows(what string, ids ...string) error {
	if a.only == "" {
		return nil
	}
	return a.cat.view(func(t *tx) error {
		for _, id := range ids {
			tenant, err := t.tenantOf(id)
			if errors.Is(err, ErrNotFound) || err == nil && tenant == a.only {
				continue
			}
			if err == nil {
				err = fmt.Errorf("%s %q: %w", what, id, ErrNotFound)
			}
			return err
		}
		return nil
	})
}

// knowsEntry is knows for what a ledger entry touched: the entry itself is open to everybody.
func (a *Archive) knowsEntry(index int64) error {
	if a.only == "" {
		return nil
	}
	return a.cat.view(func(t *tx) error {
		b, err := t.entry(index)
		if err != nil {
			return err
		}
		e, err := integrity.ParseEntry(b)
		if err == nil && e.Tenant != a.only {
			err = fmt.Errorf("ledger entry %d: %w", index, ErrNotFound)
		}
		return err
	})
}

// tenantOf gives the tenant of what an identifier names, also of what was destroyed.
func (t *tx) tenantOf(id string) (string, error) {
	if !idForm.MatchString(id) {
		return "", ErrNotFound
	}
	switch id[:1] {
	case eliminationID:
		e, err := t.request(id)
		if err != nil {
			return "", err
		}
		return e.Tenant, nil
	case requestID:
		q, err := t.dataRequest(id)
		if err != nil {
			return "", err
		}
		return q.Tenant, nil
	case actID:
		return t.tenantOfClear(bktAct, id)
	case apiKeyID:
		return t.tenantOfClear(bktAPIKey, id)
	case opID:
		return t.tenantOfOperation(id)
	case jobID:
		r, _, err := t.jobRecord(id)
		if err != nil {
			return "", err
		}
		return r.Tenant, nil
	}
	return t.tenantOfUnit(id)
}

// tenantOfClear reads the tenant in the clear part of a record.
func (t *tx) tenantOfClear(b bucket, id string) (string, error) {
	v, err := t.get(b, []byte(id))
	if err == nil && v == nil {
		err = ErrNotFound
	}
	if err != nil {
		return "", err
	}
	var r struct {
		Tenant string `json:"tenant"`
	}
	if err := decodeClear(v, &r); err != nil {
		return "", damaged(string(b), id, err)
	}
	return r.Tenant, nil
}

// tenantOfOperation reads it in the ledger.
func (t *tx) tenantOfOperation(id string) (string, error) {
	index, err := t.entryOf(id)
	if err != nil {
		return "", err
	}
	b, err := t.entry(index)
	if err != nil {
		return "", err
	}
	e, err := integrity.ParseEntry(b)
	return e.Tenant, err
}

// tenantOfUnit is that of a unit, of the record of a data subject or of what a transfer said, or of the
// unit of an object.
func (t *tx) tenantOfUnit(id string) (string, error) {
	unit := id
	if o, _, err := t.objectRecord(id); err == nil {
		unit = o.Unit
	} else if !errors.Is(err, ErrNotFound) {
		return "", err
	}
	rec, _, err := t.unitRecord(unit, 0)
	var destroyed *DestroyedError
	if !errors.As(err, &destroyed) {
		return rec.Tenant, err
	}
	row, err := t.tomb(unit)
	if err == nil && row == nil {
		err = fmt.Errorf("tombstone %q: %w", unit, ErrNotFound)
	}
	if err != nil {
		return "", err
	}
	var stone Tombstone
	if err := json.Unmarshal(row.Doc, &stone); err != nil {
		return "", damaged("tombstone", unit, err)
	}
	return stone.Tenant, nil
}
