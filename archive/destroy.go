package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sae/integrity"
)

// To destroy a unit is to destroy its data keys and those of its objects, and all rows of it;
// a tombstone stays, which holds nothing about a person, and a leaf that commits to it. The
// ledger's items and leaves of the unit stay: they are salted commitments of which nobody
// knows the salt any more.

// Tombstone is what stays of a unit.
type Tombstone struct {
	Form      string            `json:"form"` // "sae-tombstone/1"
	Unit      string            `json:"unit"`
	Version   int               `json:"version"` // the last one
	Tenant    string            `json:"archivalAgency"`
	Agreement string            `json:"archivalAgreement"`
	Agency    string            `json:"originatingAgency,omitempty"`
	Deposited time.Time         `json:"deposited"`
	Entry     int64             `json:"depositEntry"` // ledger index of its deposit
	Leaf      uint64            `json:"leaf"`         // of its last version
	Rules     []TombstoneRule   `json:"rules,omitempty"`
	Objects   []TombstoneObject `json:"objects,omitempty"`
	// Under is by what it was destroyed: an elimination, and the entry of its visa; or a transfer,
	// and the entry by which its reply was verified.
	Under string `json:"under"`
	Visa  int64  `json:"visaEntry"`
	// Article is that of the GDPR, of a unit that was erased; Under is the erasure then, Visa its
	// decision.
	Article int `json:"article,omitempty"`
	// Transferred says where the unit is now, when it was destroyed here because another archive
	// keeps it.
	Transferred *TransferredTo `json:"transferred,omitempty"`
}

// TransferredTo is where a unit went.
type TransferredTo struct {
	Archive string `json:"archivalAgency"`
	Unit    string `json:"unit"` // identifier there
}

// TombstoneRule is a retention that was over.
type TombstoneRule struct {
	Rule  string `json:"rule"`
	Start string `json:"startDate"` // YYYY-MM-DD; of a birth or a death, the year alone
	End   string `json:"endDate"`
}

// TombstoneObject is an object that was destroyed with its unit.
type TombstoneObject struct {
	ID   string `json:"object"`
	Size int64  `json:"size"`
	Leaf uint64 `json:"leaf"`
}

const tombstoneForm = "sae-tombstone/1"

// tombRow is a tombstone as it is stored: the bytes that are committed to, their salt, and
// where the commitment stands.
type tombRow struct {
	Entry int64           `json:"entry"`
	Item  int64           `json:"item"`
	Leaf  uint64          `json:"leaf"`
	Time  time.Time       `json:"time"`
	Salt  []byte          `json:"salt"`
	Doc   json.RawMessage `json:"tombstone"`
}

// DestroyedError says that a unit, or an object, was destroyed. It matches ErrNotFound.
type DestroyedError struct {
	What, ID string
	Time     time.Time
	Entry    int64 // ledger entry
	Moved    *TransferredTo
}

func (e *DestroyedError) Error() string {
	if e.Moved != nil {
		return fmt.Sprintf("%s %s was transferred to %s on %s, where its unit is %s (ledger entry %d)", e.What, e.ID, e.Moved.Archive, e.Time.Format(time.DateOnly), e.Moved.Unit, e.Entry)
	}
	return fmt.Sprintf("%s %s was destroyed on %s (ledger entry %d)", e.What, e.ID, e.Time.Format(time.DateOnly), e.Entry)
}

// Is makes it an ErrNotFound.
func (e *DestroyedError) Is(target error) bool { return target == ErrNotFound }

// tomb gives what stays of a unit, or of the unit of an object; nil when it was not destroyed.
func (t *tx) tomb(id string) (*tombRow, error) {
	v, err := t.get(bktTomb, []byte(id))
	if err != nil || v == nil {
		return nil, err
	}
	if len(v) == len(id) { // an object's names its unit
		return t.tomb(string(v))
	}
	row := &tombRow{}
	if err := json.Unmarshal(bytes.Clone(v), row); err != nil {
		return nil, damaged("tombstone", id, err)
	}
	return row, nil
}

// notFound is the error for a unit or object that is not there.
func (t *tx) notFound(what, id string) error {
	if idForm.MatchString(id) {
		row, err := t.tomb(id)
		if err != nil {
			return err
		}
		if row != nil {
			var stone Tombstone
			if err := json.Unmarshal(row.Doc, &stone); err != nil {
				return damaged("tombstone", id, err)
			}
			return &DestroyedError{what, id, row.Time, row.Entry, stone.Transferred}
		}
	}
	return fmt.Errorf("%s %q: %w", what, id, ErrNotFound)
}

// Tombstone gives what stays of a unit that was destroyed.
func (a *Archive) Tombstone(unit string) (stone *Tombstone, entry int64, err error) {
	if err := a.knows("tombstone", unit); err != nil {
		return nil, 0, err
	}
	err = a.cat.view(func(t *tx) error {
		row, err := t.tomb(unit)
		if err == nil && row == nil {
			err = fmt.Errorf("tombstone %q: %w", unit, ErrNotFound)
		}
		if err != nil {
			return err
		}
		entry, stone = row.Entry, &Tombstone{}
		return json.Unmarshal(row.Doc, stone)
	})
	return stone, entry, err
}

// doomed is a unit that is to be destroyed or, without one, words.
type doomed struct {
	unit    *Unit
	stone   Tombstone
	keys    []uint64
	rows    []record // that go
	objects []objectRecord
	acts    []string                // on the unit, in force or ended
	after   func(position) []record // what is stored instead; may be nil
}

// errChanged says that a unit may not be destroyed any more as it stands.
var errChanged = errors.New("units changed meanwhile")

// doom gathers what goes with a unit, all its versions. known are acts that were read before; it
// may be nil.
func (a *Archive) doom(t *tx, id, under string, visa int64, known map[string]*Act) (*doomed, error) {
	u, err := a.unit(t, id, 0)
	if err != nil {
		return nil, err
	}
	d := &doomed{unit: u, stone: Tombstone{Form: tombstoneForm, Unit: id, Version: u.Version, Tenant: u.Tenant, Agreement: u.Agreement, Agency: u.Agency,
		Deposited: u.Archived, Entry: u.Entry, Leaf: u.record.Leaf, Under: under, Visa: visa}}
	for version := 1; version <= u.Version; version++ {
		v := u
		if version < u.Version {
			if v, err = a.unit(t, id, version); err != nil {
				return nil, err
			}
		}
		d.keys = append(d.keys, v.record.Key)
		d.rows = append(d.rows, record{bucket: bktUnit, key: unitKey(id, version)})
		for _, r := range a.indexRows(&v.record, &v.Description) {
			if r.bucket == bktIndex {
				d.rows = append(d.rows, r)
			}
		}
	}
	for _, o := range u.record.Objects {
		r, _, err := t.objectRecord(o)
		if err != nil {
			return nil, err
		}
		d.objects = append(d.objects, r)
		d.keys = append(d.keys, r.Key)
		d.rows = append(d.rows, record{bucket: bktObject, key: []byte(o)})
		d.stone.Objects = append(d.stone.Objects, TombstoneObject{ID: o, Size: r.Size, Leaf: r.Leaf})
	}
	acts, err := a.actsOn(t, id, known)
	if err != nil {
		return nil, err
	}
	for _, act := range acts {
		for _, s := range act.starts(act.Kind, id) {
			d.rows = append(d.rows, a.ruleRow(&u.record, s.Rule, s.Start))
		}
	}
	err = t.scan(bktAct, []byte(id), prefixEnd([]byte(id)), func(k, _ []byte) (bool, error) {
		d.rows = append(d.rows, record{bucket: bktAct, key: bytes.Clone(k)})
		return true, nil
	})
	if err == nil {
		err = a.doomHistory(t, d)
	}
	return d, err
}

// doomHistory adds the acts on a unit, and what was said with the operations that revised it.
func (a *Archive) doomHistory(t *tx, d *doomed) error {
	id := d.stone.Unit
	return t.scan(bktHist, []byte(id), prefixEnd([]byte(id)), func(k, v []byte) (bool, error) {
		e, _, err := t.event(k[len(id):], v)
		if err != nil {
			return false, err
		}
		switch e.Entry.Kind {
		case integrity.Hold, integrity.Start, integrity.Sample, integrity.Derogation, integrity.FileEvent, integrity.Restriction:
			var act integrity.ActDetail
			if err := e.Entry.ReadDetail(e.Entry.Kind, &act); err != nil {
				return false, err
			}
			d.acts = addMissing(d.acts, []string{act.Act})
		case integrity.Conversion, integrity.Subject, integrity.Rectification:
			err = a.doomWords(t, d, e.Entry.Operation)
		}
		return err == nil, err
	})
}

// doomWords adds what was said with an operation.
func (a *Archive) doomWords(t *tx, d *doomed, op string) error {
	v, err := t.get(bktOp, []byte(op))
	if err != nil || v == nil { // they went with another unit of the operation
		return err
	}
	var r operationRecord
	if err := decodeClear(v, &r); err != nil {
		return damaged("operation", op, err)
	}
	if !slices.Contains(d.keys, r.Key) {
		d.keys, d.rows = append(d.keys, r.Key), append(d.rows, record{bucket: bktOp, key: []byte(op)})
	}
	return nil
}

// doomActs adds to those that go the words of acts of which no unit is left: why units were held, or
// read, names persons. Their records stay, as codes.
func (a *Archive) doomActs(t *tx, all []*doomed, goes map[string]bool) error {
	seen := map[string]bool{}
	for _, d := range all {
		var gone []actRecord
		for _, id := range d.acts {
			if seen[id] {
				continue
			}
			seen[id] = true
			act, r, _, _, err := a.act(t, id)
			if err != nil {
				return err
			}
			left := false
			for _, u := range act.Units {
				stone, err := t.tomb(u)
				if err != nil {
					return err
				}
				if left = left || stone == nil && !goes[u]; left {
					break
				}
			}
			if left || r.Gone != 0 {
				continue
			}
			d.keys = append(d.keys, r.Key)
			for _, op := range r.Words {
				if err := a.doomWords(t, d, op); err != nil {
					return err
				}
			}
			gone = append(gone, r)
		}
		before := d.after
		d.after = func(p position) (out []record) {
			if before != nil {
				out = before(p)
			}
			for _, r := range gone {
				r.Gone = p.entry
				out = append(out, record{bktAct, []byte(r.Act), append(mustJSON(r), '\n')})
			}
			return out
		}
	}
	return nil
}

// messagesOf are the manifests and replies of the transfers by which units came that go: a manifest
// cannot be cut without an end of its seal, and would tell what they were.
func (a *Archive) messagesOf(t *tx, all []*doomed) (out []*doomed, err error) {
	seen := map[string]bool{}
	for _, d := range all {
		op := d.unit.record.deposited().Operation
		if seen[op] || !isUnit(d.unit.Unit) {
			continue
		}
		seen[op] = true
		record, err := a.unit(t, op, 0)
		if errors.Is(err, ErrNotFound) { // it came by no transfer
			continue
		}
		if err != nil {
			return nil, err
		}
		if record.SEDA == nil {
			continue
		}
		message, err := a.doom(t, record.SEDA.Messages, d.stone.Under, d.stone.Visa, nil)
		if errors.Is(err, ErrNotFound) { // destroyed before
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, message)
	}
	return out, nil
}

// destroy destroys units as one operation of a kind, on behalf of agent. check is asked again,
// within the transaction, whether it may still be done; what it gives up with errChanged is to
// be planned anew.
func (a *Archive) destroy(ctx context.Context, agent, tenant string, kind integrity.Kind, detail func(position) any, all []*doomed, check func(*tx) error) error {
	goes := map[string]bool{}
	for _, d := range all {
		goes[d.stone.Unit] = true
	}
	if err := a.cat.view(func(t *tx) error { return a.doomActs(t, all, goes) }); err != nil {
		return err
	}
	op := &operation{id: newID(opID), entry: integrity.Entry{Kind: kind, Tenant: tenant, Agent: agentID(a.indexKey, agent)}, detail: detail}
	var keys []uint64
	for _, d := range all {
		if d.after != nil {
			op.records = append(op.records, d.after)
		}
		keys = append(keys, d.keys...)
		op.deletes = append(op.deletes, d.rows...)
		if d.unit == nil {
			continue
		}
		doc, salt := mustJSON(d.stone), newSalt()
		item := int64(len(op.items))
		op.items = append(op.items, integrity.Item{Unit: d.stone.Unit, Version: d.stone.Version, Leaf: groupLeaf(sha256.Sum256(doc), salt)})
		op.records = append(op.records, func(p position) []record {
			row := tombRow{Entry: p.entry, Item: item, Leaf: p.leaf + uint64(item), Time: p.time, Salt: salt[:], Doc: doc}
			out := []record{{bktTomb, []byte(d.stone.Unit), mustJSON(row)}, histRow(d.stone.Unit, p.entry, item, row.Leaf)}
			for _, o := range d.objects {
				out = append(out, record{bktTomb, []byte(o.Object), []byte(d.stone.Unit)})
			}
			return out
		})
	}
	_, err := a.commitNewRoot(ctx, agent, op, a.config.Slots.kept(), func(t *tx, p position, root [rootSize]byte) error {
		if err := check(t); err != nil {
			return err
		}
		if err := a.dropBlobs(t, all, p.time); err != nil {
			return err
		}
		return a.rekey(t, keys, root, goes)
	})
	return err
}

// dropBlobs takes objects out of the registration of their blobs; those in which none is left
// are to be deleted.
func (a *Archive) dropBlobs(t *tx, all []*doomed, when time.Time) error {
	gone := map[string]map[string]bool{} // by blob
	for _, d := range all {
		for _, o := range d.objects {
			if gone[o.Blob] == nil {
				gone[o.Blob] = map[string]bool{}
			}
			gone[o.Blob][o.Object] = true
		}
	}
	for blob, objects := range gone {
		row, err := t.get(bktBlob, []byte(blob))
		if err != nil {
			return err
		}
		p, err := parsePack(row)
		if err != nil {
			return damaged("pack", blob, err)
		}
		if row == nil { // a compaction moved its objects since they were looked up
			return errChanged
		}
		if p != nil {
			for id := range objects {
				if !slices.Contains(p.Objects, id) {
					return errChanged
				}
			}
			p.Objects = slices.DeleteFunc(p.Objects, func(id string) bool { return objects[id] })
			if len(p.Objects) > 0 {
				if err := t.put(bktBlob, []byte(blob), p.row()); err != nil {
					return err
				}
				continue
			}
		}
		if err := a.unuse(t, blob, when); err != nil {
			return err
		}
	}
	return nil
}

// checkTombs holds every tombstone against the ledger: each is the one that a destruction of its
// unit commits to.
func (t *tx) checkTombs(find func(where string, err error)) error {
	return t.scan(bktTomb, nil, nil, func(k, v []byte) (bool, error) {
		if len(v) == len(k) { // an object's names its unit
			return true, nil
		}
		id := string(k)
		row, err := t.tomb(id)
		var stone Tombstone
		if err == nil {
			err = json.Unmarshal(row.Doc, &stone)
		}
		if err != nil {
			find(id, err)
			return true, nil
		}
		it, err := t.item(row.Entry, row.Item)
		if err == nil && (stone.Form != tombstoneForm || stone.Unit != id || it.Unit != id || len(row.Salt) != saltSize || it.Leaf != groupLeaf(sha256.Sum256(row.Doc), [saltSize]byte(row.Salt))) {
			err = errors.New("it is not one that the ledger commits to")
		}
		if err != nil {
			find(id, err)
		}
		return true, nil
	})
}

// checkTomb holds an item of a unit that was destroyed against its tombstone: nothing else of it
// may be left.
func (t *tx) checkTomb(it integrity.Item, row *tombRow, number uint64) error {
	if number == row.Leaf {
		if it.Leaf != groupLeaf(sha256.Sum256(row.Doc), [saltSize]byte(row.Salt)) {
			return &DamagedError{What: "tombstone", Where: it.Unit, Why: "it is not the one that the ledger commits to"}
		}
		return nil
	}
	left, err := t.get(bktUnit, unitKey(it.Unit, it.Version))
	if it.Object != "" {
		left, err = t.get(bktObject, []byte(it.Object))
	}
	if err == nil && left != nil {
		err = &DamagedError{What: "tombstone", Where: it.Unit, Why: "the unit was destroyed, and is still there"}
	}
	return err
}
