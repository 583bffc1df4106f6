package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"sae/integrity"
)

// FedEvent is something that happened, as applications are told: a ledger entry with the units that it
// touched, or what was noted beside the ledger.
type FedEvent struct {
	At    Cursor // its place
	Entry integrity.Entry
	Units []string // at most maxFedUnits
	More  bool     // it touched more
	Noted *Noted   // nil for an entry
	// Sealed is, of a seal, what it seals: the first and the last ledger entry with a leaf in its batch.
	// A large entry may be in several.
	Sealed *[2]int64
}

// Cursor is a place in the feed: the next ledger entry, and the next of what was noted beside it. Of
// both all that comes later has a greater number, so that nothing is passed over.
type Cursor struct{ Entry, Noted int64 }

// String writes a cursor; an entry alone begins with all that was noted.
func (c Cursor) String() string { return fmt.Sprintf("%d.%d", c.Entry, c.Noted) }

// ParseCursor reads ENTRY.NOTED, or ENTRY alone: all that was noted is then told again.
func ParseCursor(s string) (c Cursor, err error) {
	entry, noted, both := strings.Cut(s, ".")
	if c.Entry, err = strconv.ParseInt(entry, 10, 64); err == nil && both {
		c.Noted, err = strconv.ParseInt(noted, 10, 64)
	}
	if err != nil || c.Entry < 0 || c.Noted < 0 {
		return Cursor{}, &Refusal{Problems: []string{fmt.Sprintf("cursor %q: want a number, or two with a point between them, as a page gave it", s)}}
	}
	return c, nil
}

const (
	maxFedUnits = 1000
	maxFedScan  = 10_000 // entries, and rows, looked at for one page
)

// notFed are kinds of entries that tell applications nothing: what the archive does with itself.
var notFed = []integrity.Kind{integrity.Accesses, integrity.AccessLogPurged, integrity.Audit, integrity.Repair, integrity.RootReplaced, integrity.RootEscrowed, integrity.Offer, integrity.APIKeyCreated, integrity.APIKeyRevoked, integrity.WebhookAdded, integrity.WebhookChanged, integrity.WebhookRemoved}

// Feed gives what happened to a tenant, and the seals, from a place on, in their order. next is where
// to go on: at the end, the place of what is to come. It names nobody.
func (a *Archive) Feed(tenant string, from Cursor, limit int) (events []FedEvent, next Cursor, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, from, err
	}
	p := &page{of: of.ID, limit: limit, next: from}
	err = a.cat.view(func(t *tx) error { return p.read(t) })
	return p.events, p.next, err
}

// FeedEnd is the place behind all that happened until now.
func (a *Archive) FeedEnd() (c Cursor, err error) {
	err = a.cat.view(func(t *tx) error {
		c, err = a.feedEnd(t)
		return err
	})
	return c, err
}

func (a *Archive) feedEnd(t *tx) (c Cursor, err error) {
	cp, err := a.checkpointIn(t)
	if err != nil {
		return c, err
	}
	c.Entry = cp.Size
	c.Noted, err = t.nextNoted()
	return c, err
}

// FeedSince is the place of what happened first at or after a time.
func (a *Archive) FeedSince(at time.Time) (c Cursor, err error) {
	err = a.cat.view(func(t *tx) error {
		cp, err := a.checkpointIn(t)
		if err != nil {
			return err
		}
		c.Entry, err = firstAt(cp.Size, func(i int64) (time.Time, error) {
			b, err := t.entry(i)
			if err != nil {
				return time.Time{}, err
			}
			e, err := integrity.ParseEntry(b)
			return e.Time, err
		}, at)
		if err != nil {
			return err
		}
		next, err := t.nextNoted()
		if err != nil {
			return err
		}
		c.Noted, err = firstAt(next, func(i int64) (when time.Time, err error) { // of the first row from i on: the oldest are forgotten
			when = at
			err = t.eachNoted(i, func(_ int64, n *Noted) (bool, error) { when = n.Time; return false, nil })
			return when, err
		}, at)
		return err
	})
	return c, err
}

// firstAt gives the first of n, whose times do not fall, that is not before a time; n for none.
func firstAt(n int64, when func(int64) (time.Time, error), at time.Time) (int64, error) {
	var failed error
	i := sort.Search(int(n), func(i int) bool {
		x, err := when(int64(i))
		failed = errors.Join(failed, err)
		return err != nil || !x.Before(at)
	})
	return int64(i), failed
}

// page is a page of the feed on its way.
type page struct {
	of     string
	limit  int
	next   Cursor
	events []FedEvent
	noted  []FedEvent // rows from next.Noted on, which wait for their turn; those of others too
}

func (p *page) read(t *tx) error {
	whole := true // all rows were read
	err := t.eachNoted(p.next.Noted, func(number int64, n *Noted) (bool, error) {
		p.noted = append(p.noted, FedEvent{At: Cursor{0, number}, Noted: n})
		whole = len(p.noted) < maxFedScan
		return whole, nil
	})
	if err != nil {
		return err
	}
	looked, ended := 0, true
	err = t.scan(bktEntry, be64(uint64(max(p.next.Entry, 0))), nil, func(k, v []byte) (bool, error) {
		index := int64(binary.BigEndian.Uint64(k))
		// What was noted before this entry comes first; when it is not all there, the entry waits.
		if !p.flush(index) || !whole && len(p.noted) == 0 || looked == maxFedScan || len(p.events) == p.limit {
			ended = false
			return false, nil
		}
		looked++
		e, err := integrity.ParseEntry(v)
		if err != nil {
			return false, damaged("ledger", t.path, err)
		}
		p.next.Entry = index + 1
		if e.Tenant != p.of && e.Kind != integrity.Seal || slices.Contains(notFed, e.Kind) {
			return true, nil
		}
		x := FedEvent{At: Cursor{index, p.next.Noted}, Entry: e}
		if err := t.touched(&x); err != nil {
			return false, err
		}
		p.events = append(p.events, x)
		return true, nil
	})
	if err == nil && ended {
		p.flush(p.next.Entry)
	}
	return err
}

// flush takes the rows that were noted before an entry; false when the page is full.
func (p *page) flush(index int64) bool {
	for len(p.noted) > 0 && p.noted[0].Noted.After <= index {
		x := p.noted[0]
		if x.Noted.Tenant == p.of {
			if len(p.events) == p.limit {
				return false
			}
			x.At.Entry = p.next.Entry
			p.events = append(p.events, x)
		}
		p.next.Noted, p.noted = x.At.Noted+1, p.noted[1:]
	}
	return true
}

// touched names the units that an entry touched, or the entries that a seal seals.
func (t *tx) touched(x *FedEvent) (err error) {
	if x.Entry.Kind == integrity.Seal {
		x.Sealed, err = t.sealedBy(x.At.Entry)
		return err
	}
	prefix := be64(uint64(x.At.Entry))
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

// sealedBy gives the first and the last entry with a leaf in the batch that became durable with an entry.
// Batches lie by their first leaf, and came in that order.
func (t *tx) sealedBy(index int64) (*[2]int64, error) {
	end, err := t.end()
	if err != nil {
		return nil, err
	}
	var rec batchRecord
	var failed error
	at := sort.Search(int(end), func(i int) bool {
		_, v, err := t.last(bktBatch, be64(uint64(i)))
		if err == nil && v != nil {
			rec, err = decodeBatch(v)
		}
		failed = errors.Join(failed, err)
		return err != nil || v != nil && rec.Entry >= index
	})
	if failed != nil || at == int(end) {
		return nil, failed
	}
	_, v, err := t.last(bktBatch, be64(uint64(at)))
	if err == nil {
		rec, err = decodeBatch(v)
	}
	if err != nil || rec.Entry != index {
		return nil, err
	}
	out := &[2]int64{}
	for i, leaf := range []uint64{rec.First, rec.First + rec.Count - 1} {
		row, err := t.get(bktLeaf, be64(leaf))
		if err == nil && row != nil {
			_, out[i], _, err = parseLeafRow(row)
		}
		if err != nil || row == nil {
			return nil, err
		}
	}
	return out, nil
}
