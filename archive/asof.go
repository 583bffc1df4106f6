package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Who changes something decides on what he has read. He may say as of what he has read it; when it has
// changed since, nothing is done. It is looked at twice: when the change is asked for, so that the
// answer is that and no other, and in the transaction that begins the change, before anything is written.

// ErrOutdated: it changed since it was read.
var ErrOutdated = errors.New("it changed since it was read")

// AsOf says as of what a unit, the record of a data subject, an act, an elimination or a data subject's
// request is what it is now: two times the same when nothing changed in between. It holds digits and dots.
// Of what was destroyed it says as of its destruction. A unit is another with each ledger entry on it,
// also when it is handed out; its seal does not change it.
func (a *Archive) AsOf(id string) (as string, err error) {
	if err := a.knows(nounOf(id), id); err != nil {
		return "", err
	}
	err = a.cat.view(func(t *tx) error { as, err = t.asOf(id); return err })
	return as, err
}

func (t *tx) asOf(id string) (string, error) {
	if !idForm.MatchString(id) {
		return "", fmt.Errorf("%q: %w", id, ErrNotFound)
	}
	switch id[:1] {
	case requestID:
		q, err := t.dataRequest(id)
		if err != nil {
			return "", err
		}
		return q.AsOf(), nil
	case eliminationID:
		e, err := t.request(id)
		if err != nil {
			return "", err
		}
		return e.AsOf(), nil
	case actID:
		v, err := t.get(bktAct, []byte(id))
		if err == nil && v == nil {
			err = fmt.Errorf("act %q: %w", id, ErrNotFound)
		}
		var r actRecord
		if err == nil {
			err = decodeClear(v, &r)
		}
		if err != nil {
			return "", err
		}
		return r.asOf(), nil
	}
	k, _, err := t.last(bktHist, prefixEnd([]byte(id)))
	if err == nil && !bytes.HasPrefix(k, []byte(id)) {
		err = t.notFound("unit", id)
	}
	if err != nil {
		return "", err
	}
	entry, _, _, err := parseHistRow(k[len(id):], make([]byte, 8))
	if err != nil {
		return "", damaged("history", id, err)
	}
	return asOfEntry(entry), nil
}

// nounOf is what an identifier names, in words.
func nounOf(id string) string {
	switch {
	case strings.HasPrefix(id, requestID):
		return "request"
	case strings.HasPrefix(id, eliminationID):
		return "elimination"
	case strings.HasPrefix(id, actID):
		return "act"
	}
	return "unit"
}

func asOfEntry(entry int64) string { return strconv.FormatInt(entry, 10) }

// AsOf is what Archive.AsOf says of a request that was read.
func (q *Request) AsOf() string { return asOfEntry(max(q.Steps[len(q.Steps)-1].Entry, q.Purged)) }

// AsOf is what Archive.AsOf says of an elimination that was read.
func (e *Elimination) AsOf() string { return asOfEntry(e.Steps[len(e.Steps)-1].Entry) }

// AsOf is what Archive.AsOf says of a subject that was read.
func (s *Subject) AsOf() string { return asOfEntry(s.Entry) }

// asOf counts what was said on an act, too: of a review the record has no ledger entry.
func (r *actRecord) asOf() string { return fmt.Sprintf("%d.%d", max(r.Entry, r.Gone), len(r.Words)) }

// outdating is what a change is held against.
type outdating struct {
	id    string
	read  []string
	begun atomic.Bool // the change: what it does further is not held against it
}

type outdatingKey struct{}

// IfAsOf gives a context in which what changes something begins only while id is as of one of read.
// When it is not, the error matches ErrOutdated.
func (a *Archive) IfAsOf(ctx context.Context, id string, read []string) (context.Context, error) {
	if err := a.knows(nounOf(id), id); err != nil {
		return nil, err
	}
	o := &outdating{id: id, read: read}
	if err := a.cat.view(o.check); err != nil {
		return nil, err
	}
	return context.WithValue(ctx, outdatingKey{}, o), nil
}

func (o *outdating) check(t *tx) error {
	as, err := t.asOf(o.id)
	if err == nil && !slices.Contains(o.read, as) {
		err = fmt.Errorf("%s: %w", o.id, ErrOutdated)
	}
	return err
}

// hold makes an operation take place only when nothing changed.
func (o *outdating) hold(op *operation) {
	if o.begun.Load() {
		return
	}
	still := op.still
	op.alone = true // others of its group may change it
	op.still = func(t *tx) error {
		err := o.check(t)
		if err == nil && still != nil {
			err = still(t)
		}
		return err
	}
}

// outdatingOf is what the changes of a context are held against; nil for nothing.
func outdatingOf(ctx context.Context) *outdating {
	o, _ := ctx.Value(outdatingKey{}).(*outdating)
	return o
}
