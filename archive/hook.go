package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"sae/integrity"
)

// A webhook is told what the feed tells. Where it is, and what it did not take, is kept here; what it
// is, in webhook.go. It names nobody, and holds nothing of what was sent.

// HookState is where a webhook is.
type HookState struct {
	At      Cursor     `json:"at"`                // all before it was delivered, or is among the dead letters
	Moves   int64      `json:"moves"`             // counts changes: see MoveHook
	Failing *time.Time `json:"failing,omitempty"` // since when nothing is delivered
	Tries   int        `json:"tries,omitempty"`   // in vain, of the event at At
	Why     string     `json:"why,omitempty"`     // the last one failed: a status, or timeout and the like
	Gone    bool       `json:"gone,omitempty"`    // the receiver answered 410: nothing is delivered until it is let go on
}

// DeadLetter is an event that a webhook did not take in the time it had.
type DeadLetter struct {
	At    Cursor    `json:"at"`
	ID    string    `json:"event"`
	Type  string    `json:"type"`
	Given time.Time `json:"givenUp"`
	Tries int       `json:"tries"`
	Why   string    `json:"why"`
	Again bool      `json:"again,omitempty"` // it is to be delivered again
}

func hookKey(tenant, id string) []byte { return []byte(tenant + "\x00" + id + "\x00") }

// letterKey places the dead letters of a webhook behind its state.
func letterKey(tenant, id string, at Cursor) []byte {
	k := append(hookKey(tenant, id), be64(uint64(at.Entry))...)
	return binary.BigEndian.AppendUint64(k, uint64(at.Noted))
}

// HookState gives where a webhook is.
func (a *Archive) HookState(tenant, id string) (s HookState, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return s, err
	}
	err = a.cat.view(func(t *tx) error {
		s, err = t.hookState(of.ID, id)
		return err
	})
	return s, err
}

func (t *tx) hookState(tenant, id string) (s HookState, err error) {
	v, err := t.get(bktHook, hookKey(tenant, id))
	if err == nil && v == nil {
		err = fmt.Errorf("webhook %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(v, &s); err != nil {
		return s, damaged("webhook", id, err)
	}
	return s, nil
}

// dropHook forgets where a webhook was, and its dead letters.
func (t *tx) dropHook(tenant, id string) error {
	var all [][]byte
	prefix := hookKey(tenant, id)
	err := t.scan(bktHook, prefix, prefixEnd(prefix), func(k, _ []byte) (bool, error) {
		all = append(all, bytes.Clone(k))
		return true, nil
	})
	for _, k := range all {
		if err == nil {
			err = t.delete(bktHook, k)
		}
	}
	return err
}

// MoveHook writes where a webhook is now, with what it gave up, unless it was moved, or removed, by
// somebody else meanwhile: then moved is false, and nothing is written.
func (a *Archive) MoveHook(tenant, id string, from int64, to HookState, dead *DeadLetter) (moved bool, err error) {
	to.Moves = from + 1
	err = a.changeHook(tenant, id, func(t *tx, tenant string, s HookState) error {
		if moved = s.Moves == from; !moved {
			return nil
		}
		if dead != nil {
			if err := t.put(bktHook, letterKey(tenant, id, dead.At), mustJSON(dead)); err != nil {
				return err
			}
		}
		return t.put(bktHook, hookKey(tenant, id), mustJSON(to))
	})
	return moved && err == nil, err
}

// changeHook changes what is kept of a webhook, which there must be: what was removed stays so.
func (a *Archive) changeHook(tenant, id string, f func(t *tx, tenant string, s HookState) error) error {
	of, err := a.tenant(tenant)
	if err != nil {
		return err
	}
	if a.readOnly {
		return ErrReadOnly
	}
	err = a.update(nil, func(t *tx) error {
		s, err := t.hookState(of.ID, id)
		if err != nil {
			return err
		}
		return f(t, of.ID, s)
	})
	if err != nil {
		return fmt.Errorf("moving a webhook: %w", err)
	}
	return nil
}

// DeadLetters calls f for what a webhook did not take, in the order of the feed.
func (a *Archive) DeadLetters(tenant, id string, f func(DeadLetter) (bool, error)) error {
	of, err := a.tenant(tenant)
	if err != nil {
		return err
	}
	prefix := hookKey(of.ID, id)
	return a.cat.view(func(t *tx) error {
		return t.scan(bktHook, prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
			if len(k) == len(prefix) {
				return true, nil
			}
			var d DeadLetter
			if err := json.Unmarshal(v, &d); err != nil {
				return false, damaged("dead letter", id, err)
			}
			return f(d)
		})
	})
}

// DropLetter forgets a dead letter, which was delivered or is not wanted.
func (a *Archive) DropLetter(tenant, id string, at Cursor) error {
	return a.changeHook(tenant, id, func(t *tx, tenant string, _ HookState) error {
		return t.delete(bktHook, letterKey(tenant, id, at))
	})
}

// KeepLetter writes a dead letter again.
func (a *Archive) KeepLetter(tenant, id string, d DeadLetter) error {
	return a.changeHook(tenant, id, func(t *tx, tenant string, _ HookState) error {
		return t.put(bktHook, letterKey(tenant, id, d.At), mustJSON(d))
	})
}

// ReplayLetters has all dead letters of a webhook delivered again, and gives their number.
func (a *Archive) ReplayLetters(ctx context.Context, tenant, id string) (n int, err error) {
	var all []DeadLetter
	err = a.DeadLetters(tenant, id, func(d DeadLetter) (bool, error) { all = append(all, d); return true, ctx.Err() })
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return len(all), a.changeHook(tenant, id, func(t *tx, tenant string, _ HookState) error {
		for _, d := range all {
			d.Again = true
			if err := t.put(bktHook, letterKey(tenant, id, d.At), mustJSON(d)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReplayHook has a webhook told again all that happened from a place on. One that answered that it is
// gone is told again, too.
func (a *Archive) ReplayHook(_ context.Context, tenant, id string, from Cursor) error {
	end, err := a.FeedEnd()
	if err != nil {
		return err
	}
	if from.Entry > end.Entry || from.Noted > end.Noted {
		return &Refusal{Problems: []string{fmt.Sprintf("cursor %s is behind the end of the feed, %s", from, end)}}
	}
	return a.changeHook(tenant, id, func(t *tx, tenant string, s HookState) error {
		return t.put(bktHook, hookKey(tenant, id), mustJSON(HookState{At: from, Moves: s.Moves + 1}))
	})
}

// HookGauge is how far behind a webhook is.
type HookGauge struct {
	ID     string
	Behind int64      // ledger entries and noted events that it was not told of yet
	Since  *time.Time // when the first of them happened
	Dead   int        // dead letters
}

// HookGauges gives how far behind each webhook is, those that are stopped too.
func (a *Archive) HookGauges() (out []HookGauge, err error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		return t.scan(bktWebhook, nil, nil, func(k, v []byte) (bool, error) {
			var r webhookRecord
			if err := decodeClear(v, &r); err != nil {
				return false, damaged("webhook", string(k), err)
			}
			g, err := a.hookGauge(t, r.Tenant, r.ID)
			out = append(out, g)
			return err == nil, err
		})
	})
	return out, err
}

// HookGauge gives how far behind a webhook of a tenant is.
func (a *Archive) HookGauge(tenant, id string) (g HookGauge, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return g, err
	}
	err = a.cat.view(func(t *tx) error {
		g, err = a.hookGauge(t, of.ID, id)
		return err
	})
	return g, err
}

func (a *Archive) hookGauge(t *tx, tenant, id string) (g HookGauge, err error) {
	g.ID = id
	s, err := t.hookState(tenant, id)
	if err != nil {
		return g, err
	}
	end, err := a.feedEnd(t)
	if err != nil {
		return g, err
	}
	g.Behind = max(0, end.Entry-s.At.Entry) + max(0, end.Noted-s.At.Noted)
	if g.Since, err = t.firstFrom(s.At, end); err != nil {
		return g, err
	}
	prefix := hookKey(tenant, id)
	err = t.scan(bktHook, append(bytes.Clone(prefix), 0), prefixEnd(prefix), func(_, _ []byte) (bool, error) {
		g.Dead++
		return true, nil
	})
	return g, err
}

// firstFrom is when the first thing at or behind a place happened; nil at the end.
func (t *tx) firstFrom(at, end Cursor) (first *time.Time, err error) {
	if at.Entry < end.Entry {
		b, err := t.entry(at.Entry)
		if err != nil {
			return nil, err
		}
		e, err := integrity.ParseEntry(b)
		if err != nil {
			return nil, err
		}
		first = &e.Time
	}
	err = t.eachNoted(at.Noted, func(_ int64, n *Noted) (bool, error) {
		if first == nil || n.Time.Before(*first) {
			first = &n.Time
		}
		return false, nil
	})
	return first, err
}
