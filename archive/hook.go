package archive

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

// A webhook is told what the feed tells. Where it is, and what it did not take, is kept here: the
// address and the secrets are in sae.yaml and in files that it names.

// HookState is where a webhook is.
type HookState struct {
	At      Cursor     `json:"at"`                // all before it was delivered, or is among the dead letters
	Moves   int64      `json:"moves"`             // counts changes: see MoveHook
	Failing *time.Time `json:"failing,omitempty"` // since when nothing is delivered
	Tries   int        `json:"tries,omitempty"`   // in vain, of the event at At
	Why     string     `json:"why,omitempty"`     // the last one failed: a status, or timeout and the like
	Gone    bool       `json:"gone,omitempty"`    // the receiver answered 410: nothing is delivered until it is replayed
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

func hookKey(tenant, name string) []byte { return []byte(tenant + "\x00" + name + "\x00") }

// letterKey places the dead letters of a webhook behind its state.
func letterKey(tenant, name string, at Cursor) []byte {
	k := append(hookKey(tenant, name), be64(uint64(at.Entry))...)
	return binary.BigEndian.AppendUint64(k, uint64(at.Noted))
}

// HookState gives where a webhook is; one that nothing is known of begins at the end of the feed.
func (a *Archive) HookState(tenant, name string) (s HookState, known bool, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return s, false, err
	}
	err = a.cat.view(func(t *tx) error {
		s, known, err = t.hookState(of.ID, name)
		return err
	})
	if err == nil && !known {
		s.At, err = a.FeedEnd()
	}
	return s, known, err
}

func (t *tx) hookState(tenant, name string) (s HookState, known bool, err error) {
	v, err := t.get(bktHook, hookKey(tenant, name))
	if err != nil || v == nil {
		return s, false, err
	}
	if err := json.Unmarshal(v, &s); err != nil {
		return s, false, damaged("webhook", name, err)
	}
	return s, true, nil
}

// MoveHook writes where a webhook is now, with what it gave up, unless it was moved by somebody else
// meanwhile: then moved is false, and nothing is written.
func (a *Archive) MoveHook(tenant, name string, from int64, to HookState, dead *DeadLetter) (moved bool, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return false, err
	}
	if a.readOnly {
		return false, ErrReadOnly
	}
	to.Moves = from + 1
	err = a.update(nil, func(t *tx) error {
		s, _, err := t.hookState(of.ID, name)
		if moved = err == nil && s.Moves == from; !moved {
			return err
		}
		if dead != nil {
			if err := t.put(bktHook, letterKey(of.ID, name, dead.At), mustJSON(dead)); err != nil {
				return err
			}
		}
		return t.put(bktHook, hookKey(of.ID, name), mustJSON(to))
	})
	if err != nil {
		return false, fmt.Errorf("webhook %s: %w", name, err)
	}
	return moved, nil
}

// DeadLetters calls f for what a webhook did not take, in the order of the feed.
func (a *Archive) DeadLetters(tenant, name string, f func(DeadLetter) (bool, error)) error {
	of, err := a.tenant(tenant)
	if err != nil {
		return err
	}
	prefix := hookKey(of.ID, name)
	return a.cat.view(func(t *tx) error {
		return t.scan(bktHook, prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
			if len(k) == len(prefix) {
				return true, nil
			}
			var d DeadLetter
			if err := json.Unmarshal(v, &d); err != nil {
				return false, damaged("dead letter", name, err)
			}
			return f(d)
		})
	})
}

// DropLetter forgets a dead letter, which was delivered or is not wanted.
func (a *Archive) DropLetter(tenant, name string, at Cursor) error {
	return a.changeLetters(tenant, name, func(t *tx, tenant string) error { return t.delete(bktHook, letterKey(tenant, name, at)) })
}

// changeLetters changes the dead letters of a webhook.
func (a *Archive) changeLetters(tenant, name string, f func(t *tx, tenant string) error) error {
	of, err := a.tenant(tenant)
	if err != nil {
		return err
	}
	if a.readOnly {
		return ErrReadOnly
	}
	if err := a.update(nil, func(t *tx) error { return f(t, of.ID) }); err != nil {
		return fmt.Errorf("dead letters of webhook %s: %w", name, err)
	}
	return nil
}

// ReplayLetters has all dead letters of a webhook delivered again, and gives their number.
func (a *Archive) ReplayLetters(_ context.Context, tenant, name string) (n int, err error) {
	var all []DeadLetter
	err = a.DeadLetters(tenant, name, func(d DeadLetter) (bool, error) { all = append(all, d); return true, nil })
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return len(all), a.changeLetters(tenant, name, func(t *tx, tenant string) error {
		for _, d := range all {
			d.Again = true
			if err := t.put(bktHook, letterKey(tenant, name, d.At), mustJSON(d)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReplayHook has a webhook told again all that happened from a place on.
func (a *Archive) ReplayHook(_ context.Context, tenant, name string, from Cursor) error {
	end, err := a.FeedEnd()
	if err != nil {
		return err
	}
	if from.Entry > end.Entry || from.Noted > end.Noted {
		return &Refusal{Problems: []string{fmt.Sprintf("cursor %s is behind the end of the feed, %s", from, end)}}
	}
	for {
		s, _, err := a.HookState(tenant, name)
		if err != nil {
			return err
		}
		if moved, err := a.MoveHook(tenant, name, s.Moves, HookState{At: from}, nil); err != nil || moved {
			return err
		}
	}
}

// KeepLetter writes a dead letter again.
func (a *Archive) KeepLetter(tenant, name string, d DeadLetter) error {
	return a.changeLetters(tenant, name, func(t *tx, tenant string) error {
		return t.put(bktHook, letterKey(tenant, name, d.At), mustJSON(d))
	})
}
