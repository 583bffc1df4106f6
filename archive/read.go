package archive

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"sae/archive/blobs"
	"sae/archive/stream"
	"sae/integrity"
)

// Unit is a unit as it is shown: one version of it, in clear.
type Unit struct {
	Description
	Operation string     `json:"operation"` // that deposited it
	Archived  time.Time  `json:"archived"`
	Entry     int64      `json:"ledgerEntry"`
	Revised   *Revision  `json:"revised,omitempty"` // what made this version; absent for the first
	Sealed    *time.Time `json:"sealed,omitempty"`  // genTime of the token over this version; absent while pending
	Children  []string   `json:"children,omitempty"`
	// PaperGone says how the paper was destroyed, which the description still names.
	PaperGone *PaperGone `json:"paperDestroyed,omitempty"`
	// Closed says why most of it is withheld from a Reader.
	Closed *Closed `json:"notOpen,omitempty"`

	record unitRecord
	salt   [saltSize]byte
	doc    []byte
}

// Revision is an operation that made a version of a unit after its deposit.
type Revision struct {
	Operation string    `json:"operation"`
	Time      time.Time `json:"time"`
	Entry     int64     `json:"ledgerEntry"`
}

// Unit gives the last version of a unit.
func (a *Archive) Unit(id string) (*Unit, error) { return a.UnitVersion(id, 0) }

// UnitVersion gives a version of a unit; 0 is the last.
func (a *Archive) UnitVersion(id string, version int) (u *Unit, err error) {
	if err := a.knows("unit", id); err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		u, err = a.unit(t, id, version)
		if err == nil {
			u.Children, err = a.children(t, u.record)
		}
		if err == nil {
			u.PaperGone, err = t.paperGone(id)
		}
		return err
	})
	return u, err
}

// unit reads one version of a unit; 0 is the last.
func (a *Archive) unit(t *tx, id string, version int) (*Unit, error) {
	rec, s, err := t.unitRecord(id, version)
	if err != nil {
		return nil, err
	}
	key, err := a.vault.Unwrap(keyStore{t}, rec.Key)
	if err != nil {
		return nil, damaged("key of unit", id, err)
	}
	first := rec.deposited()
	u := &Unit{Operation: first.Operation, Archived: first.Time, Entry: first.Entry, record: rec}
	if rec.First != nil {
		u.Revised = &Revision{rec.Operation, rec.Time, rec.Entry}
	}
	if u.salt, u.doc, err = s.open(key); err != nil {
		return nil, damaged("unit record", id, err)
	}
	if u.Description, err = parseDescription(u.doc); err != nil {
		return nil, damaged("unit record", id, err)
	}
	u.Sealed, err = t.sealedAt(rec.Leaf)
	return u, err
}

func (t *tx) unitRecord(id string, version int) (rec unitRecord, s sealed, err error) {
	max := unitKey(id, version)
	if version == 0 {
		max = unitKey(id, 1<<31)
	}
	k, v, err := t.last(bktUnit, max)
	if err == nil && (!idForm.MatchString(id) || len(k) != len(max) || string(k[:len(id)]) != id || version != 0 && string(k) != string(max)) {
		err = t.notFound("unit", id)
	}
	if err != nil {
		return rec, s, err
	}
	if s, err = decodeRecord(v, &rec); err != nil {
		return rec, s, damaged("unit record", id, err)
	}
	switch visible, err := t.visible(rec.Leaf); {
	case err != nil || visible:
		return rec, s, err
	case version == 0 && rec.Version > 1: // the one before
		return t.unitRecord(id, rec.Version-1)
	}
	return unitRecord{}, sealed{}, fmt.Errorf("unit %q: %w", id, ErrNotFound)
}

// sealedAt is the time of the token over a leaf, nil while it is pending.
func (t *tx) sealedAt(leaf uint64) (*time.Time, error) {
	b, err := t.batchOf(leaf)
	if errors.Is(err, ErrNotSealed) {
		return nil, nil
	}
	return &b.Stamped, err
}

// Object is a binary object as it is shown.
type Object struct {
	ID     string `json:"id"`
	Unit   string `json:"unit"`
	Usage  string `json:"usage"`
	Size   int64  `json:"size"`
	Format Format `json:"format"`
	SHA256 string `json:"sha256"`

	record objectRecord
	key    [32]byte
	salt   [saltSize]byte
	digest [sha256.Size]byte
}

// Object gives one object.
func (a *Archive) Object(id string) (o *Object, err error) {
	if err := a.knows("object", id); err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		o, err = a.object(t, id)
		return err
	})
	return o, err
}

func (a *Archive) object(t *tx, id string) (*Object, error) {
	o := &Object{}
	var s sealed
	var err error
	if o.record, s, err = t.objectRecord(id); err != nil {
		return nil, err
	}
	if o.key, err = a.vault.Unwrap(keyStore{t}, o.record.Key); err != nil {
		return nil, damaged("key of object", id, err)
	}
	salt, digest, err := s.open(o.key)
	if err == nil && len(digest) != sha256.Size {
		err = fmt.Errorf("digest of %d bytes", len(digest))
	}
	if err != nil {
		return nil, damaged("object record", id, err)
	}
	o.salt, o.digest = salt, [sha256.Size]byte(digest)
	o.ID, o.Unit, o.Usage, o.Size, o.Format = o.record.Object, o.record.Unit, o.record.Usage, o.record.Size, o.record.Format
	o.SHA256 = fmt.Sprintf("%x", o.digest)
	return o, nil
}

func (t *tx) objectRecord(id string) (rec objectRecord, s sealed, err error) {
	v, err := t.get(bktObject, []byte(id))
	if err != nil {
		return rec, s, err
	}
	there := v != nil
	if there {
		if s, err = decodeRecord(v, &rec); err != nil {
			return rec, s, damaged("object record", id, err)
		}
		there, err = t.visible(rec.Leaf)
	}
	if err == nil && !there {
		err = t.notFound("object", id)
	}
	return rec, s, err
}

// eachUnit calls f for every version of every unit, and of the records of transfers, in
// the order of identifiers.
func (t *tx) eachUnit(f func(*unitRecord) error) error {
	return t.scan(bktUnit, nil, nil, func(k, v []byte) (bool, error) {
		var r unitRecord
		if err := decodeClear(v, &r); err != nil {
			return false, damaged("unit record", string(k[:len(k)-4]), err)
		}
		visible, err := t.visible(r.Leaf)
		if err == nil && visible {
			err = f(&r)
		}
		return err == nil, err
	})
}

// eachObject calls f for every object, in the order of identifiers.
func (t *tx) eachObject(f func(*objectRecord) error) error {
	return t.scan(bktObject, nil, nil, func(k, v []byte) (bool, error) {
		var r objectRecord
		if err := decodeClear(v, &r); err != nil {
			return false, damaged("object record", string(k), err)
		}
		visible, err := t.visible(r.Leaf)
		if err == nil && visible {
			err = f(&r)
		}
		return err == nil, err
	})
}

// Resolve gives the one object that an identifier names: an object's own, or that
// of a unit with a single object. Copies in other formats, which were made in the archive, have
// to be named: what stands for the unit is what was deposited.
func (a *Archive) Resolve(id string) (object string, err error) {
	if err := a.knows("unit or object", id); err != nil {
		return "", err
	}
	err = a.cat.view(func(t *tx) error {
		if _, _, err := t.objectRecord(id); !errors.Is(err, ErrNotFound) {
			object = id
			return err
		}
		rec, _, err := t.unitRecord(id, 0)
		var destroyed *DestroyedError
		if errors.As(err, &destroyed) {
			return err
		}
		if err != nil {
			return fmt.Errorf("unit or object %q: %w", id, ErrNotFound)
		}
		originals, err := t.originals(&rec)
		if err != nil {
			return err
		}
		switch len(originals) {
		case 1:
			object = originals[0]
		case 0:
			return fmt.Errorf("unit %s has no object (a folder, or paper): %w", id, ErrNotFound)
		default:
			return &Refusal{Problems: []string{fmt.Sprintf("unit %s has %d objects, name one: %v", id, len(originals), originals)}}
		}
		return nil
	})
	return object, err
}

// originals are the objects of a unit that were deposited.
func (t *tx) originals(rec *unitRecord) (out []string, err error) {
	if rec.First == nil {
		return rec.Objects, nil
	}
	for _, id := range rec.Objects {
		o, _, err := t.objectRecord(id)
		if err != nil {
			return nil, err
		}
		if o.From == "" {
			out = append(out, id)
		}
	}
	return out, nil
}

// Failure is a copy that could not be read right.
type Failure struct {
	Offer string
	Err   error
}

// Reading is an open object.
type Reading struct {
	*stream.Reader
	object *Object
	blobs  []blobs.Blob
	failed []Failure // copies that could not be opened
}

// OpenObject opens an object for reading, at random or in order. Every segment is
// authenticated before it is given out; one that is bad or missing in a copy is
// read from the next.
func (a *Archive) OpenObject(ctx context.Context, id string) (*Reading, error) {
	if err := a.knows("object", id); err != nil {
		return nil, err
	}
	o, err := a.Object(id)
	if err != nil {
		return nil, err
	}
	return a.openObject(ctx, o)
}

// openObject opens an object that was looked up before; it may have been moved since.
func (a *Archive) openObject(ctx context.Context, o *Object) (*Reading, error) {
	r, err := a.openCopies(ctx, o)
	if err == nil {
		return r, nil
	}
	if again, found := a.Object(o.ID); found == nil && again.record.Blob != o.record.Blob {
		return a.openCopies(ctx, again)
	}
	return nil, err
}

func (a *Archive) openCopies(ctx context.Context, o *Object) (*Reading, error) {
	r := &Reading{object: o}
	var sources []stream.Source
	for i, of := range a.offers {
		if a.config.Offers[i].S3 != nil && len(sources) > 0 && of.down == nil { // each opening is a request
			b := &spare{ctx: ctx, of: of, record: &o.record}
			r.blobs = append(r.blobs, b)
			sources = append(sources, stream.Source{Name: of.name, ReaderAt: b, Size: b.Size(), Spare: true})
			continue
		}
		b, err := of.openCopy(ctx, &o.record)
		if err != nil {
			r.failed = append(r.failed, Failure{of.name, err})
			continue
		}
		r.blobs = append(r.blobs, b)
		sources = append(sources, stream.Source{Name: of.name, ReaderAt: b, Size: b.Size()})
	}
	if len(sources) == 0 {
		return nil, &DamagedError{What: "object", Where: o.ID, Why: "no copy can be read", Err: joinFailures(r.failed)}
	}
	var err error
	if r.Reader, err = stream.NewReader(o.key, streamAD, sources...); err != nil {
		r.Close()
		return nil, &DamagedError{What: "object", Where: o.ID, Why: "no good copy", Err: err}
	}
	return r, nil
}

// spare is a copy that is opened when it is read.
type spare struct {
	ctx    context.Context
	of     *offer
	record *objectRecord

	mu sync.Mutex
	b  blobs.Blob
}

func (s *spare) Size() int64 { return s.record.length() }

func (s *spare) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	if s.b == nil {
		b, err := s.of.openCopy(s.ctx, s.record)
		if err != nil {
			s.mu.Unlock()
			return 0, err
		}
		s.b = b
	}
	s.mu.Unlock()
	return s.b.ReadAt(p, off)
}

func (s *spare) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.b == nil {
		return nil
	}
	return s.b.Close()
}

func (o *offer) open(ctx context.Context, name string) (blobs.Blob, error) {
	if o.down != nil {
		return nil, o.down
	}
	return o.blobs.Open(ctx, name)
}

func joinFailures(failed []Failure) error {
	var errs []error
	for _, f := range failed {
		errs = append(errs, fmt.Errorf("offer %s: %w", f.Offer, f.Err))
	}
	return errors.Join(errs...)
}

// Close closes the copies.
func (r *Reading) Close() error {
	var errs []error
	for _, b := range r.blobs {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}

// Failures are the copies found bad so far.
func (r *Reading) Failures() []Failure {
	out := append([]Failure(nil), r.failed...)
	for _, f := range r.Reader.Failures() {
		out = append(out, Failure{f.Source, f.Err})
	}
	return out
}

// Get copies the content of an object to w and holds what it copied against the
// SHA-256 taken at deposit. Copies that were bad are told, and logged; when none
// is good the error is a *DamagedError, and what was already written to w is a
// true beginning of the content.
func (a *Archive) Get(ctx context.Context, id string, w io.Writer) (o *Object, bad []Failure, err error) {
	if err := a.knows("object", id); err != nil {
		return nil, nil, err
	}
	if o, err = a.Object(id); err != nil {
		return nil, nil, err
	}
	r, err := a.openObject(ctx, o)
	if err != nil {
		return o, nil, err
	}
	defer r.Close()
	sum := sha256.New()
	_, err = io.CopyBuffer(io.MultiWriter(w, sum), onlyReader{&contextReader{ctx, r}}, make([]byte, 256<<10))
	bad = r.Failures()
	for _, f := range bad {
		a.log.Warn("bad copy", "offer", f.Offer, "object", id, "error", f.Err)
	}
	var corrupt *stream.CorruptError
	switch {
	case errors.As(err, &corrupt):
		return o, bad, &DamagedError{What: "object", Where: id, Why: "no good copy", Err: err}
	case err != nil:
		return o, bad, err
	case [sha256.Size]byte(sum.Sum(nil)) != o.digest:
		return o, bad, &DamagedError{What: "object", Where: id, Why: "the content is not the one that was deposited"}
	}
	return o, bad, nil
}

// Event is one ledger entry about a unit.
type Event struct {
	Index int64           `json:"index"`
	Entry integrity.Entry `json:"entry"`
	Item  *integrity.Item `json:"item,omitempty"` // what of the unit the entry touched; absent for a seal
}

// History gives every ledger entry on a unit, in order: those that touched it and
// the seals that cover it.
func (a *Archive) History(unit string) (events []Event, err error) {
	if err := a.knows("unit", unit); err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		var destroyed *DestroyedError
		if _, _, err := t.unitRecord(unit, 0); err != nil && !errors.As(err, &destroyed) {
			return err
		}
		seals := map[int64]bool{}
		err := t.scan(bktHist, []byte(unit), prefixEnd([]byte(unit)), func(k, v []byte) (bool, error) {
			e, leaf, err := t.event(k[len(unit):], v)
			if err != nil {
				return false, err
			}
			events = append(events, e)
			b, err := t.batchOf(leaf)
			if errors.Is(err, ErrNotSealed) {
				return true, nil
			}
			seals[b.Entry] = true
			return true, err
		})
		if err != nil {
			return err
		}
		for index := range seals {
			b, err := t.entry(index)
			if err != nil {
				return err
			}
			e, err := integrity.ParseEntry(b)
			if err != nil {
				return err
			}
			events = append(events, Event{Index: index, Entry: e})
		}
		sortEvents(events)
		return nil
	})
	return events, err
}

// event reads the entry and the item that a row of the history names.
func (t *tx) event(place, leaf []byte) (Event, uint64, error) {
	index, item, n, err := parseHistRow(place, leaf)
	if err != nil {
		return Event{}, 0, err
	}
	b, err := t.entry(index)
	if err != nil {
		return Event{}, 0, err
	}
	e, err := integrity.ParseEntry(b)
	if err != nil {
		return Event{}, 0, err
	}
	if item == noItem {
		return Event{Index: index, Entry: e}, n, nil
	}
	if b, err = t.get(bktItem, itemKey(index, item)); err != nil {
		return Event{}, 0, err
	}
	it, err := integrity.ParseItem(b)
	return Event{Index: index, Entry: e, Item: &it}, n, err
}

func decodeBatch(v []byte) (rec batchRecord, err error) {
	err = json.Unmarshal(v, &rec)
	return rec, err
}
