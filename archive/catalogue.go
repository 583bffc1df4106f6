package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// This file alone knows the database. What the others see is a set of flat
// buckets of order-preserving byte keys, read in a view and written in an
// update. No bbolt type leaves it, no cursor outlives its transaction, and a
// write transaction reads only the right edge of the ledger and of the key tree:
// a PostgreSQL catalogue can take its place.
//
// Every value ends with a CRC-32C over bucket, key and value, so that a byte
// changed by the disk is named when it is read: bbolt itself checks only its
// two meta pages. It is no defence against a person: the ledger is.

// bucket names a flat space of keys.
type bucket string

// The buckets, and the one kind of record each holds (see record.go).
const (
	bktMeta    bucket = "meta"    // name -> value
	bktEntry   bucket = "entry"   // ledger index -> entry bytes
	bktHash    bucket = "hash"    // stored hash index (RFC 6962 tree) -> 32 bytes
	bktItem    bucket = "item"    // ledger index, item number -> item bytes
	bktLeaf    bucket = "leaf"    // leaf number -> 32-byte leaf, ledger index, item number
	bktBatch   bucket = "batch"   // number of the first leaf -> batchRecord
	bktTile    bucket = "tile"    // first leaf, level, index -> node hashes
	bktUnit    bucket = "unit"    // unit, version -> unitRecord
	bktObject  bucket = "object"  // object -> objectRecord
	bktBlob    bucket = "blob"    // blob name -> object, pack or journal
	bktKey     bucket = "key"     // level, index -> wrapped key
	bktNamed   bucket = "named"   // kind, group of data keys, enciphered hash, leaf number -> unit, version (named.go)
	bktIndex   bucket = "index"   // kind, keyed hash, leaf number -> unit, version
	bktHist    bucket = "hist"    // unit, ledger index, item number -> nothing
	bktOp      bucket = "op"      // operation -> operationRecord
	bktDebt    bucket = "debt"    // offer, blob name -> when and why
	bktAgent   bucket = "agent"   // agent pseudonym -> sealed name
	bktLock    bucket = "lock"    // offer, blob name -> until when it is to be locked
	bktUnused  bucket = "unused"  // offer, blob name -> since when it is to be deleted
	bktRule    bucket = "rule"    // tenant, rule, version -> ruleRecord
	bktAct     bucket = "act"     // act -> actRecord; unit, act -> ledger index, while it is in force
	bktElim    bucket = "elim"    // elimination -> Elimination; elimination, number -> unit, version
	bktTomb    bucket = "tomb"    // unit -> tombRow; object -> unit
	bktProc    bucket = "proc"    // tenant, procedure, version -> procedureRecord
	bktReq     bucket = "req"     // request of a data subject -> Request
	bktAccess  bucket = "access"  // ledger index, number of the chunk -> accessRecord
	bktOnce    bucket = "once"    // keyed hash of who asks and its key -> onceRecord
	bktAPIKey  bucket = "apikey"  // API key -> apiKeyRecord
	bktJob     bucket = "job"     // "r", job -> jobRecord; "l", tenant, time, job -> nothing
	bktNoted   bucket = "noted"   // number -> Noted
	bktTold    bucket = "told"    // unit -> keyed hash of the day that it was last told to be due on
	bktHook    bucket = "hook"    // tenant, webhook -> HookState; tenant, webhook, position -> DeadLetter
	bktWebhook bucket = "webhook" // webhook -> webhookRecord
)

var allBuckets = []bucket{bktMeta, bktEntry, bktHash, bktItem, bktLeaf, bktBatch, bktTile, bktUnit,
	bktObject, bktBlob, bktKey, bktIndex, bktNamed, bktHist, bktOp, bktDebt, bktAgent, bktLock, bktUnused, bktRule, bktAct, bktElim, bktTomb, bktProc, bktReq, bktAccess, bktOnce, bktAPIKey, bktNoted, bktTold, bktHook, bktWebhook, bktJob}

// laterBuckets were not in the first catalogues: they are made when one is opened for writing.
var laterBuckets = map[bucket]bool{bktNamed: true, bktLock: true, bktUnused: true, bktRule: true, bktAct: true, bktElim: true, bktTomb: true, bktProc: true, bktReq: true, bktAccess: true, bktOnce: true, bktAPIKey: true, bktNoted: true, bktTold: true, bktHook: true, bktWebhook: true, bktJob: true}

// appendOnly buckets grow at their right edge: their pages are filled whole.
var appendOnly = map[bucket]bool{bktEntry: true, bktHash: true, bktItem: true, bktLeaf: true}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const crcSize = 4

// catalogue is the database of one archive.
type catalogue struct {
	db   *bbolt.DB
	path string
	// fault, in tests, fails a transaction before it commits ("commit") or hides
	// that it committed ("committed").
	fault func(step string) error
}

// createCatalogue makes an empty catalogue; an existing file is refused.
func createCatalogue(path string) (*catalogue, error) {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("creating catalogue %s: %w", path, os.ErrExist)
	}
	c, err := openBolt(path, false)
	if err != nil {
		return nil, err
	}
	err = c.db.Update(func(tx *bbolt.Tx) error {
		for _, b := range allBuckets {
			if _, err := tx.CreateBucket([]byte(b)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.db.Close()
		return nil, fmt.Errorf("creating catalogue %s: %w", path, err)
	}
	return c, nil
}

// openCatalogue opens an existing catalogue. A file that is cut short or whose
// pages do not hang together is a *DamagedError.
func openCatalogue(path string, readOnly bool) (*catalogue, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, &DamagedError{What: "catalogue", Where: path, Why: "missing or unreadable", Err: err}
	}
	if fi.Size() == 0 {
		return nil, &DamagedError{What: "catalogue", Where: path, Why: "the file is empty"}
	}
	c, err := openBolt(path, readOnly)
	if err != nil {
		return nil, err
	}
	lacks := false // a later bucket
	err = guard(path, func() error {
		return c.db.View(func(tx *bbolt.Tx) error {
			if tx.Size() > fi.Size() {
				return fmt.Errorf("the file has %d bytes, its header says %d", fi.Size(), tx.Size())
			}
			for _, b := range allBuckets {
				if tx.Bucket([]byte(b)) != nil {
					continue
				}
				if !laterBuckets[b] {
					return fmt.Errorf("bucket %q is missing", b)
				}
				lacks = true
			}
			return nil
		})
	})
	if err == nil && lacks && !readOnly {
		err = c.makeBuckets()
	}
	if err != nil {
		c.close()
		return nil, damaged("catalogue", path, err)
	}
	return c, nil
}

// makeBuckets makes the buckets that a catalogue of an earlier program lacks.
func (c *catalogue) makeBuckets() error {
	return c.db.Update(func(tx *bbolt.Tx) error {
		for b := range laterBuckets {
			if _, err := tx.CreateBucketIfNotExists([]byte(b)); err != nil {
				return err
			}
		}
		return nil
	})
}

// addressSpace is mapped for the file from the start. Beyond it bbolt maps anew while a
// transaction commits, and copies all that the transaction holds each time. It is
// address space alone, not memory.
const addressSpace = 16 << 30

func openBolt(path string, readOnly bool) (c *catalogue, err error) {
	err = guard(path, func() error {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: time.Second, FreelistType: bbolt.FreelistMapType, ReadOnly: readOnly, NoStatistics: true, InitialMmapSize: addressSpace,
		})
		c = &catalogue{db: db, path: path}
		return err
	})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("opening catalogue %s: another process holds it: %w", path, ErrLocked)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("opening catalogue: %w", err)
	case err != nil:
		return nil, damaged("catalogue", path, err)
	}
	return c, nil
}

func (c *catalogue) close() error { return c.db.Close() }

// tx is one transaction. Slices it returns are valid only inside it.
type tx struct {
	bolt   *bbolt.Tx
	path   string
	leaves *uint64  // see tx.end; nil until it is asked for
	log    *journal // takes what is written; nil when nothing does
}

// view runs f on a consistent snapshot.
func (c *catalogue) view(f func(*tx) error) error {
	return guard(c.path, func() error {
		return c.db.View(func(t *bbolt.Tx) error { return f(&tx{bolt: t, path: c.path}) })
	})
}

// update runs f and commits. When it returns nil, all that f wrote is on disk (two
// fdatasync); when it returns an error, none of it is, save for a *commitError,
// after which only reopening tells.
func (c *catalogue) update(f func(*tx) error) error {
	return guard(c.path, func() error {
		t, err := c.db.Begin(true)
		if err != nil {
			return err
		}
		defer t.Rollback() // does nothing once committed
		if err := f(&tx{bolt: t, path: c.path}); err != nil {
			return err
		}
		if err := c.faultAt("commit"); err != nil {
			return &commitError{err}
		}
		if err := t.Commit(); err != nil {
			return &commitError{err}
		}
		if err := c.faultAt("committed"); err != nil {
			return &commitError{err}
		}
		return nil
	})
}

func (c *catalogue) faultAt(step string) error {
	if c.fault == nil {
		return nil
	}
	return c.fault(step)
}

// commitError says that a commit failed half-way: what is on disk is either all
// of the transaction or nothing of it.
type commitError struct{ err error }

func (e *commitError) Error() string { return "committing to the catalogue: " + e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }

// guard turns the panic with which bbolt meets a broken page, or the fault of a
// file cut short under its memory map, into a *DamagedError.
func guard(path string, f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if p := recover(); p != nil {
			err = &DamagedError{What: "catalogue", Where: path, Why: fmt.Sprint(p)}
		}
	}()
	return f()
}

// get gives the value of a key, nil when there is none.
func (t *tx) get(b bucket, key []byte) ([]byte, error) {
	bk := t.bolt.Bucket([]byte(b))
	if bk == nil { // a later one
		return nil, nil
	}
	v := bk.Get(key)
	if v == nil {
		return nil, nil
	}
	return t.checked(b, key, v)
}

// put stores a value.
func (t *tx) put(b bucket, key, value []byte) error {
	bk := t.bolt.Bucket([]byte(b))
	if appendOnly[b] {
		bk.FillPercent = 1
	}
	if t.log != nil {
		t.log.put(b, key, value)
	}
	sealed := make([]byte, 0, len(value)+crcSize)
	sealed = binary.BigEndian.AppendUint32(append(sealed, value...), checksum(b, key, value))
	return bk.Put(key, sealed)
}

func (t *tx) delete(b bucket, key []byte) error {
	if t.log != nil {
		t.log.delete(b, key)
	}
	return t.bolt.Bucket([]byte(b)).Delete(key)
}

// scan calls f for the keys of [from, to) in order until it returns false. A nil
// to means the end of the bucket.
func (t *tx) scan(b bucket, from, to []byte, f func(key, value []byte) (bool, error)) error {
	bk := t.bolt.Bucket([]byte(b))
	if bk == nil { // a later one
		return nil
	}
	c := bk.Cursor()
	for k, v := c.Seek(from); k != nil; k, v = c.Next() {
		if to != nil && bytes.Compare(k, to) >= 0 {
			return nil
		}
		v, err := t.checked(b, k, v)
		if err != nil {
			return err
		}
		if more, err := f(k, v); err != nil || !more {
			return err
		}
	}
	return nil
}

// last gives the greatest key that is at most max, within the bucket; nil when
// there is none.
func (t *tx) last(b bucket, max []byte) (key, value []byte, err error) {
	c := t.bolt.Bucket([]byte(b)).Cursor()
	k, v := c.Seek(max)
	switch {
	case k == nil:
		k, v = c.Last()
	case !bytes.Equal(k, max):
		k, v = c.Prev()
	}
	if k == nil {
		return nil, nil, nil
	}
	v, err = t.checked(b, k, v)
	return k, v, err
}

func (t *tx) checked(b bucket, key, stored []byte) ([]byte, error) {
	n := len(stored) - crcSize
	if n < 0 || binary.BigEndian.Uint32(stored[n:]) != checksum(b, key, stored[:n]) {
		return nil, &DamagedError{What: "catalogue", Where: t.path, Why: fmt.Sprintf("record %s/%x does not match its checksum", b, key)}
	}
	return stored[:n:n], nil
}

func checksum(b bucket, key, value []byte) uint32 {
	sum := crc32.Update(0, castagnoli, []byte(b))
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, value)
}

// check walks every page and every record; each finding is a text.
func (c *catalogue) check(found func(string)) error {
	return guard(c.path, func() error {
		return c.db.View(func(t *bbolt.Tx) error {
			for err := range t.Check() {
				found(err.Error())
			}
			w := &tx{bolt: t, path: c.path}
			for _, b := range allBuckets {
				bk := t.Bucket([]byte(b))
				if bk == nil {
					continue
				}
				cur := bk.Cursor()
				for k, v := cur.First(); k != nil; k, v = cur.Next() {
					if _, err := w.checked(b, k, v); err != nil {
						found(err.Error())
					}
				}
			}
			return nil
		})
	})
}

// be64 is the order-preserving key of a number.
func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// prefixEnd is the least key above all those that begin with p, nil when there is none.
func prefixEnd(p []byte) []byte {
	end := bytes.Clone(p)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
