package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
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
	if err := a.noteTogether(n); err != nil {
		return fmt.Errorf("noting a refusal: %w", err)
	}
	return nil
}

// noting are rows that wait to be written, together with those that others bring meanwhile: what a sync
// costs is shared, and a client that is refused again and again holds deposits up by little.
type noting struct {
	writing sync.Mutex // one transaction at a time
	mu      sync.Mutex // guards waiting
	waiting []*toNote
}

type toNote struct {
	Noted
	done bool
	err  error
}

// noteTogether writes a row, with those that wait.
func (a *Archive) noteTogether(n Noted) error {
	mine := &toNote{Noted: n}
	a.noting.mu.Lock()
	a.noting.waiting = append(a.noting.waiting, mine)
	a.noting.mu.Unlock()
	a.noting.writing.Lock()
	defer a.noting.writing.Unlock()
	if mine.done { // with those of the one before
		return mine.err
	}
	a.noting.mu.Lock()
	group := a.noting.waiting
	a.noting.waiting = nil
	a.noting.mu.Unlock()
	rows := make([]Noted, len(group))
	for i, x := range group {
		rows[i] = x.Noted
	}
	err := a.update(nil, func(t *tx) error { return a.noteIn(t, rows) })
	for _, x := range group {
		x.done, x.err = true, err
	}
	return err
}

// noteIn writes rows behind those that there are.
func (a *Archive) noteIn(t *tx, all []Noted) error {
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
	return t.put(bktMeta, metaNoted, be64(uint64(next+int64(len(all)))))
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

// dueAtOnce bounds the units that are looked at in one transaction: one that stays open keeps others
// from growing the catalogue.
const dueAtOnce = 1000

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
	until := now().AddDate(0, 0, within)
	broken := &brokenUnits{}
	for w := a.dueWalk(of, until); !w.ended; {
		found, err := a.dueUntold(ctx, w, until.Format(time.DateOnly), broken)
		if len(found) > 0 && err == nil {
			var told int
			told, err = a.noteDue(of, within, found)
			n += told
		}
		if err != nil {
			return n, errors.Join(err, broken.err())
		}
	}
	return n, broken.err()
}

// dueWalk is a walk over the units that may be due, in steps: it keeps no transaction open.
type dueWalk struct {
	rules [][2][]byte     // ranges of index rows that remain: of the units that declare a rule, by its begin
	stack []string        // units that were found and not looked at yet: one that declares a rule, and those under it
	seen  map[string]bool // of them; a unit that is under two of the first is looked at twice
	ended bool
}

func (a *Archive) dueWalk(of *Tenant, until time.Time) *dueWalk {
	w := &dueWalk{}
	for _, r := range a.schedule(of.ID).All() {
		latest, ok := r.Duration.Latest(until)
		if !ok || !r.Of(retention.Appraisal) {
			continue
		}
		prefix := a.rulePrefix(of.ID, r.ID)
		to := append(bytes.Clone(prefix), be64(dayNumber(latest.Format(time.DateOnly))+1)...)
		w.rules = append(w.rules, [2][]byte{append(bytes.Clone(prefix), be64(0)...), to})
	}
	return w
}

// next gives the next unit; "" is for a row that says nothing, and for the end.
func (w *dueWalk) next(a *Archive, t *tx) (id string, err error) {
	if len(w.stack) == 0 {
		return "", w.declared(t)
	}
	id, w.stack = w.stack[len(w.stack)-1], w.stack[:len(w.stack)-1]
	if w.seen[id] {
		return "", nil
	}
	w.seen[id] = true
	rec, _, err := t.unitRecord(id, 0)
	if err != nil {
		return "", passGone(err)
	}
	below, err := a.children(t, rec)
	w.stack = append(w.stack, below...)
	return id, err
}

// declared takes the next unit that declares a rule.
func (w *dueWalk) declared(t *tx) error {
	if w.ended = len(w.rules) == 0; w.ended {
		return nil
	}
	end, err := t.end()
	if err != nil {
		return err
	}
	at, found := &w.rules[0], false
	err = t.scan(bktIndex, at[0], at[1], func(k, v []byte) (bool, error) {
		at[0], found = append(bytes.Clone(k), 0), true
		if indexLeaf(k) >= end {
			return false, nil
		}
		id, version := splitUnitKey(v)
		rec, _, err := t.unitRecord(id, 0)
		if err == nil && rec.Version == version { // an older version's rules are not those of the unit
			w.stack, w.seen = append(w.stack, id), map[string]bool{}
		}
		return false, passGone(err)
	})
	if !found {
		w.rules = w.rules[1:]
	}
	return err
}

// passGone passes over what is not there any more.
func passGone(err error) error {
	if errors.Is(err, ErrNotFound) { // destroyed, too
		return nil
	}
	return err
}

// soon is a unit that is due soon.
type soon struct {
	unit    string
	verdict retention.Verdict
	tag     []byte // stands for the day
}

// dueUntold goes a step of the walk, and gives the units that are due until a day and were not told to be.
func (a *Archive) dueUntold(ctx context.Context, w *dueWalk, until string, broken *brokenUnits) (found []soon, err error) {
	err = a.cat.view(func(t *tx) error {
		h := a.heirs(t, "", nil)
		for range min(dueAtOnce, a.stageItems) {
			if err := ctx.Err(); err != nil || w.ended {
				return err
			}
			id, err := w.next(a, t)
			if err == nil && id != "" {
				var x *soon
				if x, err = a.dueSoon(t, h, id, until); x != nil {
					found = append(found, *x)
				}
			}
			if err := broken.add(err); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

// dueSoon gives a unit that is due until a day and was not told to be; nil for another.
func (a *Archive) dueSoon(t *tx, h *heirs, id, until string) (*soon, error) {
	u, err := a.unit(t, id, 0)
	if err != nil {
		return nil, passGone(err)
	}
	in, err := h.ofUnit(u)
	if err != nil {
		return nil, err
	}
	assess := retention.Appraise(in, until)
	if assess.Due == "" || assess.Due > until {
		return nil, nil
	}
	tag := keyedHash(a.indexKey, "due", id, assess.Due)[:16]
	told, err := t.get(bktTold, []byte(id))
	if err != nil || bytes.Equal(told, tag) {
		return nil, err
	}
	return &soon{id, assess.Verdict, tag}, nil
}

// noteDue notes units, and that it did, in one transaction: none is told twice for its day. What is not
// there any more is passed over: of a unit that was destroyed nothing is told after that.
func (a *Archive) noteDue(of *Tenant, within int, some []soon) (n int, err error) {
	var all []Noted
	err = a.update(nil, func(t *tx) error {
		all = all[:0]
		for _, x := range some {
			_, _, err := t.unitRecord(x.unit, 0)
			var told []byte
			if err == nil {
				told, err = t.get(bktTold, []byte(x.unit))
			}
			if passGone(err) != nil {
				return err
			}
			if err != nil || bytes.Equal(told, x.tag) { // gone, or twice in one step
				continue
			}
			all = append(all, Noted{Kind: NotedDue, Tenant: of.ID, Unit: x.unit, Verdict: x.verdict, Within: within})
			if err := t.put(bktTold, []byte(x.unit), x.tag); err != nil {
				return err
			}
		}
		return a.noteIn(t, all)
	})
	if err != nil {
		return 0, fmt.Errorf("noting what is due: %w", err)
	}
	return len(all), nil
}
