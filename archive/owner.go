package archive

import "sae/integrity"

// TenantOf gives the tenant of a unit, the record of a data subject or an object, also of one that was
// destroyed.
func (a *Archive) TenantOf(id string) (tenant string, err error) {
	if err := a.knows("unit or object", id); err != nil {
		return "", err
	}
	err = a.cat.view(func(t *tx) error {
		tenant, err = t.tenantOf(id)
		return err
	})
	return tenant, err
}

// Item gives what an operation touched, by its ledger entry and its number there.
func (a *Archive) Item(entry, number int64) (it integrity.Item, err error) {
	if err := a.knowsEntry(entry); err != nil {
		return integrity.Item{}, err
	}
	err = a.cat.view(func(t *tx) error {
		it, err = t.item(entry, number)
		return err
	})
	return it, err
}

// Pseudonym is that of who acts, as in ledger entries.
func (a *Archive) Pseudonym(agent string) string { return agentID(a.indexKey, agent) }
