package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sae/integrity"
	"sae/retention"
)

// An act is a decision on units after their deposit, which changes what may become of them: a
// hold, or the day on which a retention starts. It touches no sealed description. Its text is
// enciphered; the ledger commits to it, to its units, and to its end.

// ActKind is the kind of an act.
type ActKind string

// The kinds.
const (
	HoldAct  ActKind = "hold"  // the units, and all below them, must not be destroyed (gel)
	StartAct ActKind = "start" // the retention of a rule starts, or starts anew, on a day
	// SampleAct: of units that are to be sorted, some are kept, and the others may go.
	SampleAct ActKind = "sample"
	// DerogationAct: a person may read the units, and all below them, before they are open (Code
	// du patrimoine art. L213-3).
	DerogationAct ActKind = "derogation"
	// EventAct: something happened to a citizen file, which starts retentions (file.go).
	EventAct ActKind = "file-event"
	// RestrictionAct: the units, and all below them, are read for named purposes alone, and must not
	// be destroyed (GDPR art. 18).
	RestrictionAct ActKind = "restriction"
	// bordereauAct is no act of anybody's: the unit is the signed bordereau of an elimination,
	// and is kept for ever.
	bordereauAct ActKind = "bordereau"
)

// Act is an act as it is shown.
type Act struct {
	ID     string    `json:"id"`
	Kind   ActKind   `json:"kind"`
	Tenant string    `json:"tenant"`
	Entry  int64     `json:"ledgerEntry"`
	Time   time.Time `json:"time"`
	Ended  *ActEnd   `json:"ended,omitempty"`
	Review string    `json:"review,omitempty"` // of a hold: the day on which it is to be looked at again
	// Withheld: whom it is for, and why, are not for the reader.
	Withheld bool `json:"withheld,omitempty"`
	// AsOf is what Archive.AsOf says of the act that was read.
	AsOf string `json:"-"`
	ActText
}

// ActText is what an act says.
type ActText struct {
	Units  []string `json:"units"`
	Reason string   `json:"reason"`
	Owner  string   `json:"owner,omitempty"` // of a hold: who wants it
	Class  string   `json:"class,omitempty"` // of a hold: see HoldClasses
	Review string   `json:"-"`               // of a hold that is set: Act.Review
	Until  string   `json:"until,omitempty"` // of a hold: first day on which it is over; "" until it is lifted
	Rule   string   `json:"rule,omitempty"`  // of a start
	Start  string   `json:"start,omitempty"` // of a start
	Kept   []string `json:"kept,omitempty"`  // of a sample: of the units, in order
	Seed   string   `json:"seed,omitempty"`  // of a sample, hex
	// Of a derogation: who may read, and whatever rules of which categories run.
	Person     string               `json:"person,omitempty"`
	Categories []retention.Category `json:"categories,omitempty"`
	// Of an event: its code and day, what starts with it, and whether it closes or reopens the file.
	Event   string      `json:"event,omitempty"`
	Day     string      `json:"day,omitempty"`
	Starts  []RuleStart `json:"starts,omitempty"`
	Closes  bool        `json:"closes,omitempty"`
	Reopens bool        `json:"reopens,omitempty"`
	// Triggers are those that the event sets off, for documents that come later, too.
	Triggers []string `json:"triggers,omitempty"`
	// Of a restriction: the purposes for which units are read all the same. Before restricts the
	// versions below it alone.
	Purposes []Purpose `json:"purposes,omitempty"`
	Before   int       `json:"beforeVersion,omitempty"`
	// Request is that of a data subject, by which it was done.
	Request string `json:"request,omitempty"`
}

// RuleStart is a rule that starts for a unit.
type RuleStart struct {
	Unit    string `json:"unit"`
	Rule    string `json:"rule"`
	Start   string `json:"start"`
	Trigger string `json:"trigger,omitempty"`
}

// starts are the rules that an act starts for a unit.
func (t *ActText) starts(kind ActKind, unit string) (out []RuleStart) {
	if kind == StartAct {
		return []RuleStart{{unit, t.Rule, t.Start, ""}}
	}
	for _, s := range t.Starts {
		if s.Unit == unit {
			out = append(out, s)
		}
	}
	return out
}

// ActEnd is how an act was ended.
type ActEnd struct {
	Entry int64     `json:"ledgerEntry"`
	Time  time.Time `json:"time"`
}

// actRecord is what is stored of an act; its secret is a salt and the ActText.
type actRecord struct {
	Act    string  `json:"act"`
	Kind   ActKind `json:"kind"`
	Tenant string  `json:"tenant"`
	Entry  int64   `json:"entry"`
	Key    uint64  `json:"key"`

	Time  time.Time `json:"time"`
	Ended *ActEnd   `json:"ended,omitempty"`
	// Review is as the last entry about the hold says.
	Review string `json:"review,omitempty"`
	// Words are operations that said something about it: reviews, its end.
	Words []string `json:"words,omitempty"`
	// Gone is the ledger entry that destroyed its words, with the last of its units.
	Gone int64 `json:"gone,omitempty"`
}

const actID = "d"

// MaxActUnits bounds the units of one act.
const MaxActUnits = 10_000

// unitActKey is the row by which a unit's acts are found.
func unitActKey(unit, act string) []byte { return []byte(unit + act) }

// noItem is the place in the history of an operation that has no item for the unit.
const noItem = 1<<63 - 1

// Act decides on units, on behalf of agent.
func (a *Archive) Act(ctx context.Context, agent, tenant string, kind ActKind, text ActText) (*Act, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	of, err := a.tenant(tenant)
	if err == nil {
		err = a.mayAct(agent, of, kind, &text)
	}
	if err != nil {
		return nil, err
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	return a.decide(ctx, agent, of, kind, text)
}

// mayAct refuses who may not do an act, by its kind and by what it says.
func (a *Archive) mayAct(agent string, of *Tenant, kind ActKind, text *ActText) error {
	if err := of.mayDecide(agent, kind); err != nil {
		return err
	}
	switch kind {
	case StartAct:
		if r, known := a.schedule(of.ID).Rule(text.Rule); known && r.Within() != retention.Appraisal {
			return of.mayIfNamed(agent, Archivist) // it says from when others may read, or use again
		}
	case DerogationAct:
		if text.Person == agent {
			return &Refusal{Problems: []string{"nobody gives a derogation to himself: another archivist does"}}
		}
	}
	return nil
}

// decide does an act that may be done; the caller holds acting.
func (a *Archive) decide(ctx context.Context, agent string, of *Tenant, kind ActKind, text ActText) (*Act, error) {
	return a.decideIf(ctx, agent, of, kind, text, nil)
}

// decideIf is decide if still, which may be nil, gives no error in its transaction.
func (a *Archive) decideIf(ctx context.Context, agent string, of *Tenant, kind ActKind, text ActText, still func(*tx) error) (*Act, error) {
	text.Units = slices.Compact(slices.Sorted(slices.Values(text.Units)))
	units, err := a.checkAct(of, kind, &text)
	if err != nil {
		return nil, err
	}
	var holds []record
	if kind == HoldAct {
		if err := a.cat.view(func(t *tx) (err error) { holds, err = a.holdRows(t, text.Units); return err }); err != nil {
			return nil, err
		}
	}
	salt, key, secret := newSalt(), newKey(), mustJSON(text)
	r := actRecord{Act: newID(actID), Kind: kind, Tenant: of.ID, Review: text.Review}
	op := &operation{
		id: newID(opID), keys: [][32]byte{key}, still: still, alone: still != nil,
		entry: integrity.Entry{Kind: integrity.Kind(kind), Tenant: of.ID, Agent: agentID(a.indexKey, agent)},
		detail: func(position) any {
			return integrity.ActDetail{Act: r.Act, Units: int64(len(units)), Text: groupLeaf(sha256.Sum256(secret), salt), Review: r.Review}
		},
	}
	op.records = []func(position) []record{func(p position) []record {
		r := r
		r.Entry, r.Key, r.Time = p.entry, p.key, p.time
		out := []record{{bktAct, []byte(r.Act), encodeRecord(r, key, append(salt[:], secret...))}}
		for _, u := range units {
			out = append(out, record{bktAct, unitActKey(u.Unit, r.Act), be64(uint64(p.entry))}, histRow(u.Unit, p.entry, noItem, u.record.Leaf))
			out = append(out, a.startRows(u, kind, &text)...)
		}
		return append(out, holds...)
	}}
	pos, _, err := a.commit(ctx, op)
	if err != nil {
		return nil, fmt.Errorf("recording the %s: %w", kind, err)
	}
	if err := a.setLocks(context.WithoutCancel(ctx)); err != nil {
		a.log.Warn("locking copies", "error", err)
	}
	r.Entry = pos.entry
	return &Act{ID: r.Act, Kind: kind, Tenant: of.ID, Entry: pos.entry, Time: pos.time, Review: r.Review, AsOf: r.asOf(), ActText: text}, nil
}

// checkAct finds all that is wrong with an act, and gives its units.
func (a *Archive) checkAct(of *Tenant, kind ActKind, text *ActText) (units []*Unit, err error) {
	bad := &Refusal{}
	most := MaxActUnits
	if kind == SampleAct {
		most = maxCandidates
	}
	if len(text.Units) == 0 || len(text.Units) > most {
		bad.addf("%d units: want 1 to %d", len(text.Units), most)
		return nil, bad
	}
	if strings.TrimSpace(text.Reason) == "" {
		bad.addf("no reason: say why")
	}
	checkText("reason", text.Reason, 10_000, bad)
	checkText("owner", text.Owner, 1_000, bad)
	if text.Class != "" && (kind != HoldAct || !slices.Contains(HoldClasses, text.Class)) {
		bad.addf("class %q: want one of %v", text.Class, HoldClasses)
	}
	if kind == HoldAct && text.Until != "" && text.Until <= now().Format(time.DateOnly) {
		bad.addf("the hold would be over since %s: name a day to come, or none", text.Until)
	}
	if text.Review != "" && text.Until != "" && text.Review > text.Until {
		bad.addf("it is to be looked at again on %s, when it is over since %s", text.Review, text.Until)
	}
	for _, day := range []string{text.Until, text.Start, text.Review, text.Day} {
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			bad.addf("%q is not a day: want YYYY-MM-DD", day)
		}
	}
	switch kind {
	case StartAct:
		checkStart(a.schedule(of.ID), of.ID, text, bad)
	case DerogationAct:
		checkDerogation(text, bad)
	case RestrictionAct:
		checkRestriction(text, bad)
	}
	err = a.cat.view(func(t *tx) error {
		for _, id := range text.Units {
			u, err := a.unit(t, id, 0)
			if err == nil && (u.Tenant != of.ID || !isUnit(id)) {
				err = fmt.Errorf("unit %q: %w", id, ErrNotFound)
			}
			if errors.Is(err, ErrNotFound) {
				bad.addf("%v", err)
				continue
			}
			if err != nil {
				return err
			}
			units = append(units, u)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return units, bad.orNil()
}

// checkStart wants a rule of the schedule, also one that no deposit may name any more, and a day.
func checkStart(s *retention.Schedule, tenant string, text *ActText, bad *Refusal) {
	r, ok := s.Rule(text.Rule)
	switch {
	case text.Rule == "" || text.Start == "":
		bad.addf("a start wants a rule and a day")
	case !ok:
		bad.addf("%v", unknownRule(s, tenant, text.Rule, func(r *retention.Rule) bool { return r.Within() != retention.Hold }))
	case r.Within() == retention.Hold:
		bad.addf("rule %s is of category %s: set a hold", r.ID, r.Category)
	}
}

// checkDerogation wants to know who may read, until when, and what for.
func checkDerogation(text *ActText, bad *Refusal) {
	if strings.TrimSpace(text.Person) == "" {
		bad.addf("a derogation is for a person: name who")
	}
	checkText("person", text.Person, 1_000, bad)
	if text.Until <= now().Format(time.DateOnly) {
		bad.addf("a derogation ends on a day to come: name it")
	}
	known := []retention.Category{retention.Access, retention.Classification, retention.Dissemination, retention.Reuse}
	for _, c := range text.Categories {
		if !slices.Contains(known, c) {
			bad.addf("category %q: want one or more of %v", c, known)
		}
	}
	if len(text.Categories) == 0 {
		bad.addf("no category of rules: want one or more of %v", known)
	}
}

// startRows are the rows that starts bring: by which the unit is found, and the locks that its
// copies can now have.
func (a *Archive) startRows(u *Unit, kind ActKind, text *ActText) (out []record) {
	for _, s := range text.starts(kind, u.Unit) {
		out = append(out, a.ruleRow(&u.record, s.Rule, s.Start))
		r, _ := a.schedule(u.Tenant).Rule(s.Rule)
		if r.Within() != retention.Appraisal {
			continue
		}
		until := lockEnd(&AppliedRule{Rule: r.ID, StartDate: s.Start, Duration: r.Duration.String()})
		if until.IsZero() {
			continue
		}
		a.cat.view(func(t *tx) error {
			for _, o := range u.Objects {
				rec, _, err := t.objectRecord(o.ID)
				if err == nil && !rec.Pack { // a lock of a pack would be one of other objects too
					out = append(out, a.lockRows(a.policy(rec.Policy), rec.Blob, until)...)
				}
			}
			return nil
		})
	}
	return out
}

// EndAct ends an act, on behalf of agent: a hold is lifted, a start taken back.
func (a *Archive) EndAct(ctx context.Context, agent, id, reason string) (*Act, error) {
	if err := a.knows("act", id); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	var act *Act
	var r actRecord
	var key [32]byte
	var secret []byte
	leaves := map[string]uint64{}
	var holds, gone []record
	err := a.cat.view(func(t *tx) (err error) {
		if act, r, key, secret, err = a.act(t, id); err != nil {
			return err
		}
		if r.Kind == HoldAct {
			if holds, err = a.holdRows(t, act.Units); err != nil {
				return err
			}
		}
		for _, u := range act.Units {
			rec, _, err := t.unitRecord(u, 0)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			leaves[u] = rec.Leaf
			rows, err := a.onlyStarts(t, act, u)
			if err != nil {
				return err
			}
			gone = append(gone, rows...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	bad := &Refusal{}
	of, err := a.tenant(r.Tenant)
	if err == nil {
		err = of.mayDecide(agent, r.Kind)
	}
	if err != nil {
		return nil, err
	}
	if r.Gone != 0 {
		bad.addf("%s %s is gone with its units (ledger entry %d)", r.Kind, id, r.Gone)
		return nil, bad
	}
	if r.Ended != nil {
		bad.addf("%s %s was ended by ledger entry %d", r.Kind, id, r.Ended.Entry)
	}
	if strings.TrimSpace(reason) == "" {
		bad.addf("no reason: say why")
	}
	checkText("reason", reason, 10_000, bad)
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	still := func(t *tx) error { return nil }
	if r.Kind == EventAct {
		still = func(t *tx) error { return a.mayTakeBack(t, act) }
	}
	if err := a.cat.view(still); err != nil {
		return nil, err
	}
	op := a.reasoned(integrity.ActEnded, agent, reason, func(commitment integrity.Hash) any {
		return integrity.ActDetail{Act: id, Units: int64(len(act.Units)), Text: commitment}
	})
	op.entry.Tenant, op.still, op.alone = r.Tenant, still, r.Kind == EventAct
	for _, u := range act.Units {
		op.deletes = append(op.deletes, record{bucket: bktAct, key: unitActKey(u, id)})
	}
	op.deletes = append(op.deletes, gone...)
	op.records = append(op.records, func(p position) []record {
		r := r
		r.Ended, r.Words = &ActEnd{p.entry, p.time}, append(slices.Clone(r.Words), op.id)
		act.Ended, act.AsOf = r.Ended, r.asOf()
		out := []record{{bktAct, []byte(id), encodeRecord(r, key, secret)}}
		for u, leaf := range leaves {
			out = append(out, histRow(u, p.entry, noItem, leaf))
		}
		return append(out, holds...)
	})
	if _, _, err := a.commit(ctx, op); err != nil {
		return nil, fmt.Errorf("ending %s %s: %w", r.Kind, id, err)
	}
	if err := a.setLocks(context.WithoutCancel(ctx)); err != nil {
		a.log.Warn("lifting legal holds", "error", err)
	}
	return act, nil
}

// onlyStarts are the rows by which a unit is found under what an act starts, but for those that the
// unit declares, or another act sets, too.
func (a *Archive) onlyStarts(t *tx, act *Act, unit string) (gone []record, err error) {
	u, err := a.unit(t, unit, 0)
	if err != nil {
		return nil, err
	}
	others, err := a.actsOn(t, unit, nil)
	if err != nil {
		return nil, err
	}
	stay := map[string]bool{}
	for _, r := range a.ruleIndex(&u.record, &u.Description) {
		stay[string(r.key)] = true
	}
	for _, o := range others {
		if o.ID == act.ID {
			continue
		}
		for _, s := range o.starts(o.Kind, unit) {
			stay[string(a.ruleRow(&u.record, s.Rule, s.Start).key)] = true
		}
	}
	for _, s := range act.starts(act.Kind, unit) {
		if row := a.ruleRow(&u.record, s.Rule, s.Start); !stay[string(row.key)] {
			gone = append(gone, record{bucket: row.bucket, key: row.key})
		}
	}
	return gone, nil
}

// HoldClasses are what a hold may be for.
var HoldClasses = []string{"litigation", "inquiry", "classified", "research", "other"}

// ReviewHold records that a hold was looked at again and stays, on behalf of agent; next is the day
// on which it is to be looked at the next time, "" for none.
func (a *Archive) ReviewHold(ctx context.Context, agent, id, next, reason string) (*Act, error) {
	if err := a.knows("act", id); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	var act *Act
	var r actRecord
	var key [32]byte
	var secret []byte
	err := a.cat.view(func(t *tx) (err error) { act, r, key, secret, err = a.act(t, id); return err })
	if err != nil {
		return nil, err
	}
	of, err := a.tenant(r.Tenant)
	if err == nil {
		err = of.mayDecide(agent, HoldAct)
	}
	if err != nil {
		return nil, err
	}
	bad := &Refusal{}
	if r.Kind != HoldAct || r.Ended != nil {
		bad.addf("%s is no hold in force", id)
	}
	if _, err := time.Parse(time.DateOnly, next); next != "" && (err != nil || next <= now().Format(time.DateOnly)) {
		bad.addf("%q is not a day to come: want YYYY-MM-DD", next)
	}
	if strings.TrimSpace(reason) == "" {
		bad.addf("no reason: say why it stays")
	}
	checkText("reason", reason, 10_000, bad)
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	op := a.reasoned(integrity.HoldReviewed, agent, reason, func(commitment integrity.Hash) any {
		return integrity.ActDetail{Act: id, Units: int64(len(act.Units)), Text: commitment, Review: next}
	})
	op.entry.Tenant, r.Review, act.Review = r.Tenant, next, next
	r.Words = append(slices.Clone(r.Words), op.id)
	act.AsOf = r.asOf()
	op.records = append(op.records, func(position) []record {
		return []record{{bktAct, []byte(id), encodeRecord(r, key, secret)}}
	})
	if _, _, err := a.commit(ctx, op); err != nil {
		return nil, fmt.Errorf("reviewing hold %s: %w", id, err)
	}
	return act, nil
}

// lateReviews counts the holds of all tenants that should have been looked at again.
func (t *tx) lateReviews(today string) (late int64, err error) {
	err = t.scan(bktAct, []byte(actID), []byte{actID[0] + 1}, func(k, v []byte) (bool, error) {
		var r actRecord
		if err := decodeClear(v, &r); err != nil {
			return false, damaged("act", string(k), err)
		}
		if r.Ended == nil && r.Review != "" && r.Review <= today {
			late++
		}
		return true, nil
	})
	return late, err
}

// act reads an act; secret is its salt and text.
func (a *Archive) act(t *tx, id string) (act *Act, r actRecord, key [32]byte, secret []byte, err error) {
	v, err := t.get(bktAct, []byte(id))
	if err == nil && (v == nil || !idForm.MatchString(id)) {
		err = fmt.Errorf("act %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, r, key, nil, err
	}
	s, err := decodeRecord(v, &r)
	if err == nil && r.Gone != 0 {
		return &Act{ID: id, Kind: r.Kind, Tenant: r.Tenant, Entry: r.Entry, Time: r.Time, Ended: r.Ended, Review: r.Review, Withheld: true, AsOf: r.asOf()}, r, key, nil, nil
	}
	if err == nil {
		key, err = a.vault.Unwrap(keyStore{t}, r.Key)
	}
	if err != nil {
		return nil, r, key, nil, damaged("act", id, err)
	}
	salt, text, err := s.open(key)
	act = &Act{ID: id, Kind: r.Kind, Tenant: r.Tenant, Entry: r.Entry, Time: r.Time, Ended: r.Ended, Review: r.Review, AsOf: r.asOf()}
	if err == nil {
		err = json.Unmarshal(text, &act.ActText)
	}
	if err != nil {
		return nil, r, key, nil, damaged("act", id, err)
	}
	return act, r, key, append(salt[:], text...), nil
}

// Acts gives the acts of a tenant, of one kind or of all ("").
func (a *Archive) Acts(tenant string, kind ActKind) (out []*Act, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		return a.eachAct(t, of.ID, kind, func(act *Act) { out = append(out, act) })
	})
	slices.SortFunc(out, func(x, y *Act) int { return int(x.Entry - y.Entry) })
	return out, err
}

// eachAct calls f for the acts of a tenant, of one kind or of all (""): of others nothing is
// deciphered.
func (a *Archive) eachAct(t *tx, tenant string, kind ActKind, f func(*Act)) error {
	return t.scan(bktAct, []byte(actID), []byte{actID[0] + 1}, func(k, v []byte) (bool, error) {
		var r actRecord
		if err := decodeClear(v, &r); err != nil {
			return false, damaged("act", string(k), err)
		}
		if r.Tenant != tenant || kind != "" && r.Kind != kind {
			return true, nil
		}
		act, _, _, _, err := a.act(t, string(k))
		if err == nil {
			f(act)
		}
		return err == nil, err
	})
}

// ActOf gives one act.
func (a *Archive) ActOf(id string) (act *Act, err error) {
	if err := a.knows("act", id); err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		act, _, _, _, err = a.act(t, id)
		return err
	})
	return act, err
}

// actsOn gives the acts in force on a unit, in their order. known are acts that were read
// before, and those read now; it may be nil.
func (a *Archive) actsOn(t *tx, unit string, known map[string]*Act) (out []*Act, err error) {
	var ids []string
	err = t.scan(bktAct, []byte(unit), prefixEnd([]byte(unit)), func(k, v []byte) (bool, error) {
		if _, says := requestRow(v); says != rowPaper {
			ids = append(ids, strings.TrimPrefix(string(k), unit))
		}
		return true, nil
	})
	for _, id := range ids {
		if err != nil {
			return nil, err
		}
		act := known[id]
		switch {
		case act != nil:
		case id[:1] == eliminationID:
			act, err = t.bordereauOf(unit, id)
		default:
			if act, _, _, _, err = a.act(t, id); known != nil {
				known[id] = act
			}
		}
		if err != nil {
			return nil, err
		}
		if _, named := slices.BinarySearch(act.Units, unit); !named || act.Ended != nil {
			return nil, &DamagedError{What: "act", Where: id, Why: "unit " + unit + " is found by it, and it does not name the unit, or has ended"}
		}
		out = append(out, act)
	}
	slices.SortFunc(out, func(x, y *Act) int { return int(x.Entry - y.Entry) })
	return out, err
}

// bordereauOf is the act by which the signed bordereau of an elimination is kept.
func (t *tx) bordereauOf(unit, elimination string) (*Act, error) {
	v, err := t.get(bktAct, unitActKey(unit, elimination))
	index, says := requestRow(v)
	if err == nil && says != rowBordereau {
		err = damaged("bordereau", unit, errors.New("its row has not the form of one"))
	}
	if err != nil {
		return nil, err
	}
	b, err := t.entry(index)
	if err != nil {
		return nil, err
	}
	e, err := integrity.ParseEntry(b)
	return &Act{ID: elimination, Kind: bordereauAct, Tenant: e.Tenant, Entry: index, Time: e.Time, ActText: ActText{Units: []string{unit}, Reason: "bordereau of elimination " + elimination}}, err
}

// applyActs adds acts, in their order, to what a unit declares.
func applyActs(d *retention.Declared, acts []*Act, s *retention.Schedule) {
	category := func(c retention.Category) *retention.DeclaredCategory {
		if d.Categories[c] == nil {
			d.Categories[c] = &retention.DeclaredCategory{}
		}
		return d.Categories[c]
	}
	reopened := -1
	for i := range acts {
		if acts[i].Reopens {
			reopened = i
		}
	}
	days := map[string]string{} // by rule: of the event that started it
	for i, act := range acts {
		switch act.Kind {
		case HoldAct, bordereauAct, RestrictionAct:
			if act.Before > 0 { // of former versions alone
				continue
			}
			c := category(retention.Hold)
			c.Rules = append(c.Rules, retention.Applied{Rule: act.ID, Start: act.Time.Format(time.DateOnly), End: act.Until, HoldEnd: act.Until, HoldOwner: act.Owner, HoldReason: act.Reason, Decided: true})
		case SampleAct:
			c := category(retention.Appraisal)
			action := retention.Destroy
			if _, kept := slices.BinarySearch(act.Kept, d.ID); kept {
				action = retention.Keep
			}
			c.Properties = append(slices.DeleteFunc(c.Properties, isFinalAction), retention.Property{Name: "FinalAction", Value: string(action)})
		case StartAct, EventAct:
			for _, start := range act.starts(act.Kind, d.ID) {
				if i < reopened && slices.Contains(closingTriggers, start.Trigger) && act.Closes {
					continue // the file was reopened since
				}
				if act.Kind == EventAct && act.Day < days[start.Rule] {
					continue // of several events the last counts
				}
				days[start.Rule] = act.Day
				r, _ := s.Last(start.Rule)
				c := category(r.Within())
				applied := retention.Applied{Rule: start.Rule, Start: start.Start, End: endOf(s, start.Rule, start.Start, "")}
				if i := slices.IndexFunc(c.Rules, func(r retention.Applied) bool { return r.Rule == start.Rule }); i >= 0 {
					c.Rules[i] = applied
				} else {
					c.Rules = append(c.Rules, applied)
				}
				c.Otherwise = cmp.Or(c.Otherwise, r.FinalAction) // it says when, and what then only if nobody did
			}
		} // a derogation changes who may read, not what becomes of the unit
	}
}

func isFinalAction(p retention.Property) bool { return p.Name == "FinalAction" }

// checkRules holds each tenant's schedule against the ledger's last word on it.
func (a *Archive) checkRules(t *tx, find func(where string, err error)) error {
	last := map[string]integrity.Hash{}
	err := t.entriesOf(func(_ int64, e integrity.Entry) (err error) {
		var created integrity.CreatedDetail
		var changed integrity.RulesDetail
		if e.Kind == integrity.Created {
			if err = e.ReadDetail(e.Kind, &created); created.Schedule != nil {
				last[e.Tenant] = *created.Schedule
			}
			return err
		}
		err = e.ReadDetail(e.Kind, &changed)
		last[e.Tenant] = changed.Schedule
		return err
	}, integrity.Created, integrity.Rules)
	if err != nil {
		return err
	}
	now, err := a.readSchedules(t)
	for tenant, want := range last {
		if s := now[tenant]; err == nil && s != nil && s.Digest() != want {
			find(tenant, errors.New("the retention schedule is not the one that the ledger commits to"))
		}
	}
	return err
}

// checkActs holds the acts against the ledger: each entry has its record, which is as it was
// committed to and ended as the ledger says, and is found by its units.
func (a *Archive) checkActs(t *tx, find func(where string, err error)) error {
	ended, reviewed, rows := map[string]int64{}, map[string]string{}, map[string]bool{}
	var begun []begunAct
	err := t.entriesOf(func(index int64, e integrity.Entry) error {
		var d integrity.ActDetail
		err := e.ReadDetail(e.Kind, &d)
		switch {
		case e.Kind != integrity.ActEnded && e.Kind != integrity.HoldReviewed && err != nil:
			find(d.Act, err)
			return nil
		case err != nil:
			return err
		case e.Kind == integrity.ActEnded:
			ended[d.Act] = index
		case e.Kind == integrity.HoldReviewed:
			reviewed[d.Act] = d.Review
		default:
			begun = append(begun, begunAct{index, d})
		}
		return nil
	}, integrity.Hold, integrity.Start, integrity.Sample, integrity.Derogation, integrity.FileEvent, integrity.Restriction, integrity.ActEnded, integrity.HoldReviewed)
	if err != nil {
		return err
	}
	for _, b := range begun {
		if day, ok := reviewed[b.Act]; ok {
			b.Review = day
		}
		if err := a.checkActRecord(t, b.entry, b.ActDetail, ended[b.Act], rows); err != nil {
			find(b.Act, err)
		}
	}
	return t.scan(bktAct, nil, nil, func(k, v []byte) (bool, error) {
		if _, says := requestRow(v); says == 0 && len(k) == 2*idSize && !rows[string(k)] {
			find(string(k[idSize:]), &DamagedError{What: "act", Where: string(k[idSize:]), Why: "unit " + string(k[:idSize]) + " is found by it, which it does not name"})
		}
		return true, nil
	})
}

// begunAct is what the ledger says of the beginning of an act.
type begunAct struct {
	entry int64
	integrity.ActDetail
}

// checkActRecord adds the rows by which its units are found to rows.
func (a *Archive) checkActRecord(t *tx, entry int64, d integrity.ActDetail, ended int64, rows map[string]bool) error {
	act, r, _, secret, err := a.act(t, d.Act)
	if err != nil {
		return err
	}
	if r.Gone != 0 {
		return t.checkGone(&r, entry)
	}
	text := secret[saltSize:]
	if r.Entry != entry || groupLeaf(sha256.Sum256(text), [saltSize]byte(secret)) != d.Text {
		return &DamagedError{What: "act", Where: d.Act, Why: fmt.Sprintf("it is not what ledger entry %d commits to", entry)}
	}
	if r.Review != d.Review {
		return &DamagedError{What: "act", Where: d.Act, Why: "it is to be looked at again on another day than the ledger says"}
	}
	if (r.Ended != nil) != (ended != 0) || r.Ended != nil && r.Ended.Entry != ended {
		return &DamagedError{What: "act", Where: d.Act, Why: "it is not ended as the ledger says"}
	}
	for _, u := range act.Units {
		rows[string(unitActKey(u, d.Act))] = true
		v, err := t.get(bktAct, unitActKey(u, d.Act))
		stone, failed := t.tomb(u)
		if err = errors.Join(err, failed); err == nil && (v != nil) != (ended == 0 && stone == nil) {
			err = &DamagedError{What: "act", Where: d.Act, Why: "unit " + u + " is not found by it"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkGone wants the words of an act to have gone by an entry that destroyed a unit.
func (t *tx) checkGone(r *actRecord, entry int64) error {
	prefix, destroys := be64(uint64(r.Gone)), false
	err := t.scan(bktItem, prefix, prefixEnd(prefix), func(_, b []byte) (bool, error) {
		it, err := integrity.ParseItem(b)
		if err != nil {
			return false, err
		}
		row, err := t.tomb(it.Unit)
		destroys = row != nil && row.Entry == r.Gone
		return !destroys, err
	})
	if err == nil && (r.Entry != entry || !destroys) {
		err = &DamagedError{What: "act", Where: r.Act, Why: fmt.Sprintf("ledger entry %d did not destroy its words", r.Gone)}
	}
	return err
}
