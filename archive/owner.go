package archive

import (
	"encoding/json"
	"errors"
	"fmt"

	"sae/integrity"
)

// TenantOf gives the tenant of a unit, the record of a data subject or an object, also of one that was
// destroyed.
func (a *Archive) TenantOf(id string) (tenant string, err error) {
	err = a.cat.view(func(t *tx) error {
		tenant, err = t.tenantOf(id)
		return err
	})
	return tenant, err
}

func (t *tx) tenantOf(id string) (string, error) {
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

// Item gives what an operation touched, by its ledger entry and its number there.
func (a *Archive) Item(entry, number int64) (it integrity.Item, err error) {
	err = a.cat.view(func(t *tx) error {
		it, err = t.item(entry, number)
		return err
	})
	return it, err
}

// Pseudonym is that of who acts, as in ledger entries.
func (a *Archive) Pseudonym(agent string) string { return agentID(a.indexKey, agent) }
