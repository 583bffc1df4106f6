package archive

import (
	"encoding/binary"
	"slices"
	"strings"

	"sae/integrity"
)

// FedEvent is a ledger entry as it is fed to applications, with the units that it touched.
type FedEvent struct {
	Index int64
	Entry integrity.Entry
	Units []string // at most maxFedUnits
	More  bool     // it touched more
}

const (
	maxFedUnits = 1000
	maxFedScan  = 10_000 // entries looked at for one page
)

// notFed are kinds of entries that tell applications nothing: what the archive does with itself.
var notFed = []integrity.Kind{integrity.Accesses, integrity.AccessLogPurged, integrity.Audit, integrity.Repair, integrity.RootReplaced, integrity.RootEscrowed, integrity.Offer, integrity.APIKeyCreated, integrity.APIKeyRevoked}

// Feed gives the entries of a tenant, and the seals, from an index on, in their order. next is where to
// go on: at the end of the ledger, the index of the entry to come. It names nobody.
func (a *Archive) Feed(tenant string, from int64, limit int) (events []FedEvent, next int64, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, from, err
	}
	next = from
	err = a.cat.view(func(t *tx) error {
		return t.scan(bktEntry, be64(uint64(max(from, 0))), nil, func(k, v []byte) (bool, error) {
			index := int64(binary.BigEndian.Uint64(k))
			e, err := integrity.ParseEntry(v)
			if err != nil {
				return false, damaged("ledger", t.path, err)
			}
			next = index + 1
			if (e.Tenant == of.ID || e.Kind == integrity.Seal) && !slices.Contains(notFed, e.Kind) {
				x := FedEvent{Index: index, Entry: e}
				if err := t.touched(&x); err != nil {
					return false, err
				}
				events = append(events, x)
			}
			return len(events) < limit && next-from < maxFedScan, nil
		})
	})
	return events, next, err
}

// touched names the units that an entry touched.
func (t *tx) touched(x *FedEvent) error {
	prefix := be64(uint64(x.Index))
	return t.scan(bktItem, prefix, prefixEnd(prefix), func(_, v []byte) (bool, error) {
		it, err := integrity.ParseItem(v)
		if err != nil || it.Object != "" || !strings.HasPrefix(it.Unit, unitID) {
			return err == nil, err
		}
		if x.More = len(x.Units) == maxFedUnits; !x.More {
			x.Units = append(x.Units, it.Unit)
		}
		return !x.More, nil
	})
}
