package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"sae/archive/blobs"
	"sae/archive/stream"
)

// The small objects of a large deposit share blobs: a file, or a PUT, for each would cost
// more than its bytes do. Such a blob, a pack, is the ciphertexts of its objects one behind
// the other and nothing else; each is under its own key, and where it lies stands in its
// record. A pack is copied and repaired as a whole. See docs/design/008.

const (
	// maxPacked is the longest content that goes into a pack.
	maxPacked = 64 << 10
	// packSize is how long a pack becomes. It fits into memory, and into one PUT.
	packSize = 8 << 20
	// packObjects is how many objects a pack may have: their identifiers stand in one row.
	packObjects = 4096
	// packFrom is how many objects a deposit has at least when its small ones are packed.
	packFrom = 32
	// openPacks is how many packs a deposit fills at the same time.
	openPacks = 8
)

// packBlob marks, in the bucket of blobs, one that is a pack.
const packBlob = "pack "

// packRecord is a pack as it is registered.
type packRecord struct {
	Cipher  []byte   `json:"cipher"` // SHA-256 of the whole
	Size    int64    `json:"size"`
	Policy  string   `json:"policy,omitempty"`
	Objects []string `json:"objects"` // in the order in which they lie
}

func (p *packRecord) row() []byte { return append([]byte(packBlob), mustJSON(p)...) }

// parsePack reads a row of the bucket of blobs; nil when it is not a pack's.
func parsePack(row []byte) (*packRecord, error) {
	clear, ok := bytes.CutPrefix(row, []byte(packBlob))
	if !ok {
		return nil, nil
	}
	p := &packRecord{}
	return p, json.Unmarshal(clear, p)
}

// pack is a pack on its way.
type pack struct {
	number  uint64 // in this session
	at      *landing
	sum     []byte // SHA-256, once it is closed
	size    int64
	objects []string
	offsets []int64 // of objects
	taken   bool    // its row is written with an earlier object of it
}

// row is what the pack is registered as: one with a single object is that object's.
func (p *pack) row() []byte {
	if len(p.objects) == 1 {
		return []byte(p.objects[0])
	}
	r := packRecord{Cipher: p.sum, Size: p.size, Policy: p.at.policy.id, Objects: p.objects}
	return r.row()
}

// packKey is what the objects of a pack have in common: where they go and, when copies
// there are locked, until when.
type packKey struct {
	policy *policy
	until  time.Time
}

// packer fills packs.
type packer struct {
	a    *Archive
	ctx  context.Context
	mu   sync.Mutex // guards all but the closing of a full pack
	open map[packKey]*openPack
	used uint64  // counts additions, to find the pack that waited longest
	done []*pack // closed, or being closed
}

type openPack struct {
	*pack
	dst  *copies
	used uint64
}

func (a *Archive) newPacker(ctx context.Context) *packer {
	return &packer{a: a, ctx: ctx, open: map[packKey]*openPack{}}
}

// add puts the ciphertext of an object behind the others in a pack, and gives the pack and
// where in it.
func (p *packer) add(key packKey, object string, cipher []byte) (to *pack, offset int64, err error) {
	var full []*openPack
	p.mu.Lock()
	o := p.open[key]
	if o != nil && (o.size+int64(len(cipher)) > packSize || len(o.objects) == packObjects) {
		full = append(full, p.take(key))
		o = nil
	}
	if o == nil {
		if len(p.open) == openPacks {
			full = append(full, p.take(p.oldest()))
		}
		o, err = p.create(key)
	}
	if err == nil {
		p.used++
		o.used, to, offset = p.used, o.pack, o.size
		if _, err = o.dst.Write(cipher); err == nil {
			o.size += int64(len(cipher))
			o.objects, o.offsets = append(o.objects, object), append(o.offsets, offset)
		} else { // it has removed what was written
			delete(p.open, key)
		}
	}
	p.mu.Unlock()
	for _, f := range full {
		err = errors.Join(err, f.close())
	}
	return to, offset, err
}

func (p *packer) create(key packKey) (*openPack, error) {
	dst, err := p.a.createCopies(p.ctx, p.a.session, key.policy, false)
	if err != nil {
		return nil, err
	}
	o := &openPack{pack: &pack{number: dst.number}, dst: dst}
	p.open[key] = o
	return o, nil
}

func (p *packer) oldest() (key packKey) {
	least := p.used + 1
	for k, o := range p.open {
		if o.used < least {
			key, least = k, o.used
		}
	}
	return key
}

// take takes a pack out of those that are filled.
func (p *packer) take(key packKey) *openPack {
	o := p.open[key]
	delete(p.open, key)
	p.done = append(p.done, o.pack)
	return o
}

func (o *openPack) close() error {
	o.sum = o.dst.sum.Sum(nil)
	err := o.dst.close()
	o.at = o.dst.at
	return err
}

// finish closes the packs that are still open. The packer may be used again.
func (p *packer) finish() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for key := range p.open {
		errs = append(errs, p.take(key).close())
	}
	return errors.Join(errs...)
}

// abort removes the packs that are still open.
func (p *packer) abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, o := range p.open {
		o.dst.abort()
		delete(p.open, key)
	}
}

// length is the number of bytes of an object's ciphertext.
func (r *objectRecord) length() int64 { return stream.CiphertextSize(r.Size) }

// openCopy opens the ciphertext of an object in one offer.
func (o *offer) openCopy(ctx context.Context, r *objectRecord) (blobs.Blob, error) {
	if o.down != nil {
		return nil, o.down
	}
	if r.Pack {
		return o.blobs.OpenRange(ctx, r.Blob, r.Offset, r.length())
	}
	b, err := o.blobs.Open(ctx, r.Blob)
	if err == nil && b.Size() != r.length() {
		err = fmt.Errorf("%d bytes instead of %d", b.Size(), r.length())
		b.Close()
	}
	return b, err
}

// wholeBlob is a blob that is copied as a whole, whatever it holds.
type wholeBlob struct {
	name   string
	cipher []byte // SHA-256
	size   int64  // -1 when it is not known
	policy *policy
}

// blobRow reads how a blob is registered.
func (a *Archive) blobRow(t *tx, name string, row []byte) (c wholeBlob, err error) {
	c = wholeBlob{name: name, size: -1, policy: a.policy("")}
	if sum, ok := bytes.CutPrefix(row, []byte(journalBlob)); ok {
		c.cipher = bytes.Clone(sum)
		return c, nil
	}
	switch p, err := parsePack(row); {
	case err != nil:
		return c, damaged("pack", name, err)
	case p != nil:
		c.cipher, c.size, c.policy = p.Cipher, p.Size, a.policy(p.Policy)
		return c, nil
	}
	rec, _, err := t.objectRecord(string(row))
	if err != nil {
		return c, fmt.Errorf("blob %s: %w", name, err)
	}
	c.cipher, c.size, c.policy = rec.Cipher, rec.length(), a.policy(rec.Policy)
	return c, nil
}

// registeredBlob is blobRow by name.
func (a *Archive) registeredBlob(t *tx, name string) (wholeBlob, error) {
	row, err := t.get(bktBlob, []byte(name))
	if err != nil {
		return wholeBlob{}, err
	}
	return a.blobRow(t, name, row)
}

// registrations holds object records against the rows of their blobs. It keeps the pack that
// it read last: its objects come one behind the other.
type registrations struct {
	name    string
	pack    *packRecord
	objects map[string]bool
}

// check wants the blob of an object to be registered as its own, or as a pack that has it.
func (c *registrations) check(t *tx, r *objectRecord) error {
	if !r.Pack {
		row, err := t.get(bktBlob, []byte(r.Blob))
		if err == nil && string(row) != r.Object {
			err = &DamagedError{What: "object record", Where: r.Object, Why: "its blob is not registered"}
		}
		return err
	}
	if c.name != r.Blob {
		row, err := t.get(bktBlob, []byte(r.Blob))
		if err != nil {
			return err
		}
		p, err := parsePack(row)
		if err != nil {
			return damaged("pack", r.Blob, err)
		}
		*c = registrations{r.Blob, p, map[string]bool{}}
		if p != nil {
			for _, id := range p.Objects {
				c.objects[id] = true
			}
		}
	}
	if !c.objects[r.Object] || r.Offset+r.length() > c.pack.Size {
		return &DamagedError{What: "object record", Where: r.Object, Why: "the pack of its blob does not have it"}
	}
	return nil
}

// eachBlob calls f for every blob that copies are wanted of: the journal's, packs, and those
// of single objects.
func (a *Archive) eachBlob(t *tx, f func(wholeBlob) error) error {
	shared := func(row []byte) bool {
		return bytes.HasPrefix(row, []byte(journalBlob)) || bytes.HasPrefix(row, []byte(packBlob))
	}
	err := t.scan(bktBlob, nil, nil, func(k, row []byte) (bool, error) {
		if !shared(row) {
			return true, nil
		}
		if p, err := parsePack(row); err == nil && p != nil && len(p.Objects) > 0 {
			if _, _, err := t.objectRecord(p.Objects[0]); errors.Is(err, ErrNotFound) { // of a deposit on its way
				return true, nil
			}
		}
		c, err := a.blobRow(t, string(k), row)
		if err == nil {
			err = f(c)
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	return t.eachObject(func(r *objectRecord) error {
		if r.Pack {
			return nil
		}
		return f(wholeBlob{r.Blob, r.Cipher, r.length(), a.policy(r.Policy)})
	})
}

// ownerOf names the object of a blob, for a pack its first; "" for none.
func ownerOf(row []byte) string {
	if p, err := parsePack(row); err != nil || p != nil {
		if err != nil || len(p.Objects) == 0 {
			return ""
		}
		return p.Objects[0]
	}
	if strings.HasPrefix(string(row), journalBlob) {
		return ""
	}
	return string(row)
}
