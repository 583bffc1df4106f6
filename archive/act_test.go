package archive

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"sae/integrity"
	"sae/retention"
)

func verdictOf(t *testing.T, a *Archive, unit, at string) retention.Verdict {
	t.Helper()
	r, err := a.Retention(unit, at)
	if err != nil {
		t.Fatal(err)
	}
	return r.Assessment.Verdict
}

// TestActsAreFoundMissing: what the catalogue loses of a hold, or changes, an audit finds: else a
// hold could be made to disappear, and its units be destroyed.
func TestActsAreFoundMissing(t *testing.T) {
	ctx := context.Background()
	a := reopened(t, createEdited(t, nil))
	defer func() { a.Close() }()
	u := digital("held", "x")
	u.Rule, u.RuleStart = "EXAMPLE-5Y", "2010-01-01"
	d := deposit(t, a, u, digital("other", "y"))
	unit := d.Units[0].ID
	if v := verdictOf(t, a, unit, "2020-01-01"); v != retention.Eliminable {
		t.Fatal(v)
	}
	hold, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{unit, unit}, Reason: "dispute", Owner: "Me Dupont"})
	if err != nil || len(hold.Units) != 1 {
		t.Fatal(hold, err)
	}
	if v := verdictOf(t, a, unit, "2020-01-01"); v != retention.Conflict {
		t.Error(v)
	}
	entry, err := a.Entry(hold.Entry)
	if err != nil || strings.Contains(string(entry), "Dupont") || strings.Contains(string(entry), unit) {
		t.Errorf("%s %v", entry, err)
	}
	sound := func() bool {
		r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1})
		if err != nil {
			t.Fatal(err)
		}
		f, err := a.Fsck(ctx)
		if err != nil || r.Sound() != (len(f.Findings) == 0) {
			t.Errorf("audit %v, fsck %+v %v", r.List, f, err)
		}
		return r.Sound()
	}
	if !sound() {
		t.Error("an archive with a hold is not sound")
	}
	row := func(key []byte) (value []byte) {
		if err := a.cat.view(func(t *tx) (err error) { value, err = t.get(bktAct, key); value = bytes.Clone(value); return err }); err != nil {
			t.Fatal(err)
		}
		return value
	}
	put := func(key, value []byte) {
		err := a.update(nil, func(t *tx) error {
			if value == nil {
				return t.delete(bktAct, key)
			}
			return t.put(bktAct, key, value)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range [][]byte{[]byte(hold.ID), unitActKey(unit, hold.ID)} {
		was := row(key)
		put(key, nil)
		if sound() {
			t.Errorf("without row %s it is sound", key)
		}
		put(key, was)
	}
	was := row([]byte(hold.ID))
	put([]byte(hold.ID), bytes.Replace(was, []byte(`"entry":`), []byte(`"entry":1`), 1))
	if sound() {
		t.Error("with another record it is sound")
	}
	put([]byte(hold.ID), was)
	if _, err := a.EndAct(ctx, "alice", hold.ID, "settled"); err != nil {
		t.Fatal(err)
	}
	if v := verdictOf(t, a, unit, "2020-01-01"); v != retention.Eliminable || !sound() {
		t.Error(v)
	}
	events, err := a.History(unit)
	if err != nil || len(events) != 4 || events[2].Entry.Kind != integrity.Hold || events[2].Item != nil || events[3].Entry.Kind != integrity.ActEnded {
		t.Errorf("%+v %v", events, err)
	}
	for _, text := range []ActText{
		{}, {Units: []string{unit}}, {Units: []string{"x"}, Reason: "r"}, {Units: []string{unit}, Reason: "r", Until: "soon"}, {Units: []string{d.Units[0].Objects[0].ID}, Reason: "r"},
	} {
		if _, err := a.Act(ctx, "alice", "", HoldAct, text); err == nil {
			t.Errorf("%+v is accepted", text)
		}
	}
	for _, text := range []ActText{{Units: []string{unit}, Reason: "r"}, {Units: []string{unit}, Reason: "r", Rule: "NOPE", Start: "2020-01-01"}, {Units: []string{unit}, Reason: "r", Rule: "EXAMPLE-5Y"}} {
		if _, err := a.Act(ctx, "alice", "", StartAct, text); err == nil {
			t.Errorf("%+v is accepted", text)
		}
	}
}

// TestHoldComesDown: a hold on a folder holds what is below it, also what comes there later.
func TestHoldComesDown(t *testing.T) {
	ctx := context.Background()
	a := reopened(t, createEdited(t, nil))
	defer a.Close()
	folder := NewUnit{Parent: -1, Title: "folder", Rule: "EXAMPLE-5Y", RuleStart: "2010-01-01"}
	below := digital("below", "x")
	below.Parent = 0
	d := deposit(t, a, folder, below)
	if _, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{d.Units[0].ID}, Reason: "r", Until: "2099-01-01"}); err != nil {
		t.Fatal(err)
	}
	late, err := a.Deposit(ctx, "test", Deposit{Parents: []string{d.Units[0].ID}, Units: []NewUnit{digital("late", "y")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{d.Units[1].ID, late.Units[0].ID} {
		if v := verdictOf(t, a, id, "2098-12-31"); v != retention.Conflict {
			t.Errorf("%s: %s", id, v)
		}
		if v := verdictOf(t, a, id, "2099-01-01"); v != retention.Eliminable {
			t.Errorf("%s: %s", id, v)
		}
	}
}

// TestRuleHistory: a rule keeps its versions, also over its end, and each change commits to the
// schedule after it.
func TestRuleHistory(t *testing.T) {
	ctx := context.Background()
	dir := createEdited(t, nil)
	a := reopened(t, dir)
	defer func() { a.Close() }()
	before, err := a.Rules("")
	if err != nil {
		t.Fatal(err)
	}
	var kept []retention.Rule
	for _, r := range before.All() {
		kept = append(kept, r.Rule)
	}
	ten := retention.Rule{ID: "R", Duration: retention.Duration{Count: 10, Unit: retention.Years}}
	changeRules(t, a, []retention.Rule{ten})
	p, err := a.PlanRules(ctx, "", kept, true)
	if err != nil || len(p.Changes) != 1 || p.Changes[0].What != "ended" {
		t.Fatalf("%+v %v", p, err)
	}
	stale, err := a.PlanRules(ctx, "", kept, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.ChangeRules(ctx, "alice", p); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ChangeRules(ctx, "alice", stale); err == nil {
		t.Error("a plan made before another change was carried out")
	}
	a.Close()
	a = reopened(t, dir)
	if s, _ := a.Rules(""); s.Digest() != before.Digest() { // of the rules in force
		t.Error("it did not end")
	}
	changeRules(t, a, []retention.Rule{ten})
	versions, err := a.RuleHistory("", "R")
	if err != nil || len(versions) != 3 || !versions[1].Ended || versions[2].Version != 3 || versions[2].Ended {
		t.Errorf("%+v %v", versions, err)
	}
	s, _ := a.Rules("")
	b, err := a.Entry(versions[2].Entry)
	if err != nil {
		t.Fatal(err)
	}
	var detail integrity.RulesDetail
	entry, err := integrity.ParseEntry(b)
	if err == nil {
		err = entry.ReadDetail(integrity.Rules, &detail)
	}
	if err != nil || detail.Schedule != integrity.Hash(s.Digest()) || detail.Added != 1 {
		t.Errorf("%+v %v", detail, err)
	}
}

// TestReviewIsHeld: a hold whose review somebody puts off in the catalogue alone, and a derogation
// that somebody removes, extends or gives to himself, are found.
func TestReviewIsHeld(t *testing.T) {
	ctx := context.Background()
	a, d := eliminating(t, 1)
	unit := d.Units[0].ID
	hold, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{unit}, Reason: "r", Class: "inquiry", Review: "2030-01-01"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.ReviewHold(ctx, "alice", hold.ID, "2090-01-01", "stays"); err != nil {
		t.Fatal(err)
	}
	text := ActText{Units: []string{unit}, Reason: "r", Person: "lea", Until: "2090-01-01", Categories: []retention.Category{retention.Access}}
	if _, err := a.Act(ctx, "bob", "", DerogationAct, text); err == nil {
		t.Error("a derogation by who is no archivist")
	}
	derogation, err := a.Act(ctx, "alice", "", DerogationAct, text)
	if err != nil {
		t.Fatal(err)
	}
	findings := func() (n int) {
		if err := a.cat.view(func(t *tx) error { return a.checkActs(t, func(string, error) { n++ }) }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := findings(); n != 0 {
		t.Fatal(n, "findings before")
	}
	for name, change := range map[string]func(*actRecord, *ActText){
		"review": func(r *actRecord, _ *ActText) { r.Review = "2099-01-01" },
		"until":  func(_ *actRecord, x *ActText) { x.Until = "2099-01-01" },
		"person": func(_ *actRecord, x *ActText) { x.Person = "leo" },
	} {
		id := derogation.ID
		if name == "review" {
			id = hold.ID
		}
		var was []byte
		err := a.update(nil, func(t *tx) error {
			v, err := t.get(bktAct, []byte(id))
			if err != nil {
				return err
			}
			was = append(was, v...)
			act, r, key, secret, err := a.act(t, id)
			if err != nil {
				return err
			}
			change(&r, &act.ActText)
			return t.put(bktAct, []byte(id), encodeRecord(r, key, append(secret[:saltSize:saltSize], mustJSON(act.ActText)...)))
		})
		if err != nil || findings() == 0 {
			t.Error(name, "is not found to be changed", err)
		}
		if err := a.update(nil, func(t *tx) error { return t.put(bktAct, []byte(id), was) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.update(nil, func(t *tx) error { return t.delete(bktAct, []byte(derogation.ID)) }); err != nil || findings() == 0 {
		t.Error("a derogation that is gone is not found", err)
	}
}
