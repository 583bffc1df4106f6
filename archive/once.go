package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"time"

	"sae/integrity"
)

// A write whose answer was lost is asked for again, and must not take place twice. Who asks names it
// by a key (the Idempotency-Key of HTTP). The row that remembers the key is written in the transaction
// of the operation: a kill leaves both or neither.

// Once is a write that its caller named by a key. It takes place within its Context, as one operation.
type Once struct {
	a       *Archive
	key     string // of the row
	request hash.Hash
	done    *onceRecord // it took place before
	ends    integrity.Kind
}

// onceRecord remembers a write that took place. It tells nothing about anybody: Request is a keyed hash.
type onceRecord struct {
	Operation string    `json:"operation"`
	Entry     int64     `json:"entry"`
	Time      time.Time `json:"time"`
	Request   []byte    `json:"request"`
}

// KeepOnce is how long it is remembered that a write took place, at least.
const KeepOnce = 48 * time.Hour

// The errors of writes that are named by a key.
var (
	// ErrUnderWay: the write of this key has not ended yet.
	ErrUnderWay = errors.New("the request of this key is under way")
	// ErrOtherRequest: another request took place under this key.
	ErrOtherRequest = errors.New("the key was used for another request")
)

// Once begins a write that agent names by a key. One of a key runs at a time: to others the error
// matches ErrUnderWay, until End.
func (a *Archive) Once(agent, tenant, key string) (*Once, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	bad := &Refusal{}
	if checkText("key", key, 255, bad); key == "" {
		bad.addf("the key is empty")
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	o := &Once{a: a, key: string(keyedHash(a.indexKey, "once", of.ID, agent, key)), request: sha256.New()}
	if _, running := a.running.LoadOrStore(o.key, true); running {
		return nil, ErrUnderWay
	}
	err = a.cat.view(func(t *tx) error {
		v, err := t.get(bktOnce, []byte(o.key))
		if err != nil || v == nil {
			return err
		}
		o.done = &onceRecord{}
		return json.Unmarshal(v, o.done)
	})
	if err != nil {
		o.End()
		return nil, fmt.Errorf("reading what became of a key: %w", err)
	}
	return o, nil
}

// EndsWith says that the write takes place as several operations, of which the one of a kind is the
// last: it alone is remembered. A retry of what was stopped before goes on.
func (o *Once) EndsWith(kind integrity.Kind) { o.ends = kind }

// End lets the next request of the key in.
func (o *Once) End() { o.a.running.Delete(o.key) }

// Add adds to what tells the request from others of the same key. A deposit adds the SHA-256 of each
// of its contents by itself, in their order, before it is committed.
func (o *Once) Add(part []byte) {
	fmt.Fprintf(o.request, "%d:", len(part))
	o.request.Write(part)
}

// sum stands for the request.
func (o *Once) sum() []byte { return keyedHash(o.a.indexKey, "request", string(o.request.Sum(nil))) }

// Done gives the ledger entry by which the write took place before; false when it did not. What the
// request says must have been added: when it is another, the error matches ErrOtherRequest.
func (o *Once) Done() (entry int64, done bool, err error) {
	if o.done == nil {
		return 0, false, nil
	}
	if !bytes.Equal(o.done.Request, o.sum()) {
		return 0, true, ErrOtherRequest
	}
	return o.done.Entry, true, nil
}

// Before reports whether a write took place under the key, whatever was asked for.
func (o *Once) Before() bool { return o.done != nil }

type onceKey struct{}

// Context is that in which the write takes place.
func (o *Once) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, onceKey{}, o)
}

// onceOf is the named write of a context; nil for none.
func onceOf(ctx context.Context) *Once {
	o, _ := ctx.Value(onceKey{}).(*Once)
	return o
}

// remember makes an operation write the row of its key.
func (o *Once) remember(op *operation) {
	request := o.sum()
	op.records = append(op.records, func(p position) []record {
		return []record{{bktOnce, []byte(o.key), mustJSON(onceRecord{op.id, p.entry, p.time, request})}}
	})
}

// ForgetOnce deletes the rows of keys that were kept long enough, and gives their number.
func (a *Archive) ForgetOnce(ctx context.Context) (n int, err error) {
	if err := a.archiveWide(); err != nil {
		return 0, err
	}
	if a.readOnly {
		return 0, ErrReadOnly
	}
	before := now().Add(-KeepOnce)
	for from := []byte(nil); ; {
		var old [][]byte
		err := a.cat.view(func(t *tx) error {
			return t.scan(bktOnce, from, nil, func(k, v []byte) (bool, error) {
				var r onceRecord
				if err := json.Unmarshal(v, &r); err != nil {
					return false, damaged("key of a request", fmt.Sprintf("%x", k), err)
				}
				if r.Time.Before(before) {
					old = append(old, bytes.Clone(k))
				}
				return len(old) < a.stageItems, ctx.Err()
			})
		})
		if err != nil || len(old) == 0 {
			return n, err
		}
		err = a.update(nil, func(t *tx) error {
			for _, k := range old {
				if err := t.delete(bktOnce, k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return n, fmt.Errorf("forgetting keys of requests: %w", err)
		}
		n, from = n+len(old), old[len(old)-1]
	}
}
