package archive

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// metaRebuilt is the row of a catalogue that was rebuilt, until every offer was looked through for
// journal blobs from before the one that it begins with: their transactions are in that, and the
// catalogue, which was made from one offer, knows none of them. Its value is the sequence of the first
// blob. What has that or a later one stays: it may hold what was acknowledged.
var metaRebuilt = []byte("rebuilt")

// forgetOldJournals notes the journal blobs from before a rebuilt catalogue as unused.
func (a *Archive) forgetOldJournals(ctx context.Context) error {
	var first []byte
	err := a.cat.view(func(t *tx) error {
		v, err := t.get(bktMeta, metaRebuilt)
		first = slices.Clone(v)
		return err
	})
	if err != nil || len(first) != 8 {
		return err
	}
	all := true
	var old []record
	for _, o := range a.offers {
		if o.down != nil {
			all = false
			continue
		}
		err := o.blobs.List(ctx, "j", func(name string, _ int64) error {
			is, err := a.isOldJournal(ctx, o, name, binary.BigEndian.Uint64(first))
			if is {
				old = append(old, record{bktUnused, debtKey(o.name, name), mustJSON(unusedRecord{Since: now().Truncate(time.Millisecond)})})
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("looking for journals from before the catalogue was rebuilt: offer %s: %w", o.name, err)
		}
	}
	if len(old) == 0 && !all {
		return nil
	}
	return a.update(nil, func(t *tx) error {
		if err := t.putAll(old); err != nil || !all {
			return err
		}
		return t.delete(bktMeta, metaRebuilt)
	})
}

// isOldJournal reports whether a blob that the catalogue does not know is of this archive's journal, and
// from before a sequence. One that cannot be read is left to an audit.
func (a *Archive) isOldJournal(ctx context.Context, o *offer, name string, first uint64) (bool, error) {
	known, err := a.knowsBlob(name)
	if err != nil || known || a.isUnused(o.name, name) {
		return false, err
	}
	b, err := o.blobs.Open(ctx, name)
	if err != nil {
		return false, nil
	}
	defer b.Close()
	h, _, err := readHeader(b)
	return err == nil && h.Archive == a.config.Archive && h.Sequence < first, nil
}
