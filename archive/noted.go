package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sae/retention"
)

// What applications are told of is in the ledger, but for two things: that a deposit was refused, of
// which nothing is kept, and that a retention is over soon, which nobody does. They are noted in rows of
// their own, each of which knows how long the ledger was: so the feed has one order (feed.go). They name
// nobody, and are forgotten after KeepNoted.

// Noted is something that happened and that the ledger does not hold.
type Noted struct {
	Kind   NotedKind `json:"kind"`
	Tenant string    `json:"tenant"`
	Time   time.Time `json:"time"`
	After  int64     `json:"after"` // entries that the ledger had

	// Of what was refused: who asked for it, by pseudonym, the request as the service names it, what it
	// was to be, the code of the problem, and how many things were wrong.
	Agent    string `json:"agent,omitempty"`
	Request  string `json:"request,omitempty"`
	Asked    string `json:"asked,omitempty"`
	Code     string `json:"code,omitempty"`
	Problems int    `json:"problems,omitempty"`

	// Of what is due: the unit, and what is to become of it. The day is not kept, as it may tell a birth.
	Unit    string            `json:"unit,omitempty"`
	Verdict retention.Verdict `json:"verdict,omitempty"`
	Within  int               `json:"withinDays,omitempty"`
}

// NotedKind says what was noted.
type NotedKind string

// What is noted.
const (
	NotedRefused NotedKind = "refused"
	NotedDue     NotedKind = "due"
)

// KeepNoted is how long it is kept at least.
const KeepNoted = 180 * 24 * time.Hour

// NoteRefused notes that a deposit was refused to agent, before he is told.
func (a *Archive) NoteRefused(agent, tenant string, n Noted) error {
	of, err := a.tenant(tenant)
	if err != nil {
		return err
	}
	if a.readOnly {
		return ErrReadOnly
	}
	n.Kind, n.Tenant, n.Agent = NotedRefused, of.ID, agentID(a.indexKey, agent)
	if err := a.note([]Noted{n}, nil); err != nil {
		return fmt.Errorf("noting a refusal: %w", err)
	}
	return nil
}

// note writes rows behind those that there are.
func (a *Archive) note(all []Noted, more func(*tx) error) error {
	return a.update(nil, func(t *tx) error {
		cp, err := a.checkpointIn(t)
		if err != nil {
			return err
		}
		next, err := t.nextNoted()
		if err != nil {
			return err
		}
		for i, n := range all {
			n.Time, n.After = now().UTC(), cp.Size
			if err := t.put(bktNoted, be64(uint64(next+int64(i))), mustJSON(n)); err != nil {
				return err
			}
		}
		if err := t.put(bktMeta, metaNoted, be64(uint64(next+int64(len(all))))); err != nil || more == nil {
			return err
		}
		return more(t)
	})
}

// metaNoted is the number of the next row: a number is not given twice, whatever is forgotten.
var metaNoted = []byte("noted")

func (t *tx) nextNoted() (int64, error) {
	v, err := t.get(bktMeta, metaNoted)
	if err != nil || v == nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, damaged("number of events", t.path, fmt.Errorf("%d bytes", len(v)))
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

// eachNoted calls f for the rows from a number on.
func (t *tx) eachNoted(from int64, f func(number int64, n *Noted) (bool, error)) error {
	return t.scan(bktNoted, be64(uint64(max(from, 0))), nil, func(k, v []byte) (bool, error) {
		n := &Noted{}
		if err := json.Unmarshal(v, n); err != nil || len(k) != 8 {
			return false, damaged("event", fmt.Sprintf("%x", k), err)
		}
		return f(int64(binary.BigEndian.Uint64(k)), n)
	})
}

// ForgetNoted deletes rows that were kept long enough, and gives their number.
func (a *Archive) ForgetNoted(ctx context.Context) (n int, err error) {
	if err := a.archiveWide(); err != nil {
		return 0, err
	}
	if a.readOnly {
		return 0, ErrReadOnly
	}
	before := now().Add(-KeepNoted)
	for {
		var old [][]byte
		err := a.cat.view(func(t *tx) error {
			return t.eachNoted(0, func(number int64, x *Noted) (bool, error) {
				if x.Time.Before(before) {
					old = append(old, be64(uint64(number)))
				}
				return x.Time.Before(before) && len(old) < a.stageItems, ctx.Err()
			})
		})
		if err != nil || len(old) == 0 {
			return n, err
		}
		err = a.update(nil, func(t *tx) error {
			for _, k := range old {
				if err := t.delete(bktNoted, k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return n, fmt.Errorf("forgetting events: %w", err)
		}
		n += len(old)
	}
}

// dueAtOnce bounds the units that one pass over those that are due takes into memory.
const dueAtOnce = 200_000

// errEnough ends a walk.
var errEnough = errors.New("enough")

// NoteDue notes the units of a tenant whose retention is over within some days, each once for the day on
// which it is over: when that changes, it is noted again. It gives their number. Units that are damaged
// are passed over, and are the error at the end.
func (a *Archive) NoteDue(ctx context.Context, tenant string, within int) (n int, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return 0, err
	}
	if a.readOnly {
		return 0, ErrReadOnly
	}
	until := now().AddDate(0, 0, within).Format(time.DateOnly)
	for {
		found, more, err := a.dueUntold(ctx, of, until)
		damage := err
		if as[*DamagedError](err) {
			err = nil
		}
		for len(found) > 0 && err == nil {
			some := found[:min(len(found), a.stageItems)]
			found = found[len(some):]
			err = a.noteDue(of, within, some)
			n += len(some)
		}
		if err != nil || damage != nil || !more {
			return n, errors.Join(err, damage)
		}
	}
}

func as[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// soon is a unit that is due soon.
type soon struct {
	unit    string
	verdict retention.Verdict
	tag     []byte // stands for the day
}

// dueUntold gives units that are due until a day and were not told to be; more says that there are more.
func (a *Archive) dueUntold(ctx context.Context, of *Tenant, until string) (found []soon, more bool, err error) {
	day, err := time.Parse(time.DateOnly, until)
	if err != nil {
		return nil, false, err
	}
	s, broken := a.schedule(of.ID), &brokenUnits{}
	err = a.cat.view(func(t *tx) error {
		h := a.heirs(t, "", nil)
		return a.candidates(ctx, t, of.ID, s, day, func(id string) error {
			u, err := a.unit(t, id, 0)
			if err != nil {
				return broken.add(err)
			}
			in, err := h.ofUnit(u)
			if err != nil {
				return broken.add(err)
			}
			assess := retention.Appraise(in, until)
			if assess.Due == "" || assess.Due > until {
				return nil
			}
			tag := keyedHash(a.indexKey, "due", id, assess.Due)[:16]
			if told, err := t.get(bktTold, []byte(id)); err != nil || bytes.Equal(told, tag) {
				return err
			}
			found = append(found, soon{id, assess.Verdict, tag})
			if len(found) == dueAtOnce {
				return errEnough
			}
			return nil
		})
	})
	if errors.Is(err, errEnough) {
		return found, true, broken.err()
	}
	return found, false, errors.Join(err, broken.err())
}

// noteDue notes units, and that it did.
func (a *Archive) noteDue(of *Tenant, within int, some []soon) error {
	all := make([]Noted, len(some))
	for i, x := range some {
		all[i] = Noted{Kind: NotedDue, Tenant: of.ID, Unit: x.unit, Verdict: x.verdict, Within: within}
	}
	err := a.note(all, func(t *tx) error {
		for _, x := range some {
			if err := t.put(bktTold, []byte(x.unit), x.tag); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("noting what is due: %w", err)
	}
	return nil
}
