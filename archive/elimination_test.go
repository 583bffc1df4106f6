package archive

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
)

// eliminating is an archive with roles, and units that are eliminable since 2020.
func eliminating(t *testing.T, units int) (*Archive, *Deposited) {
	t.Helper()
	dir := createEdited(t, func(c string) string {
		return strings.Replace(c, "    accept-unknown:", "    roles: {archivist: [alice, dave], originating-agency: [bob], control-authority: [carol]}\n    accept-unknown:", 1)
	})
	a := reopened(t, dir)
	t.Cleanup(func() { a.Close() })
	var all []NewUnit
	for i := range units {
		u := digital(fmt.Sprint("unit ", i), fmt.Sprint(i))
		u.Rule, u.RuleStart = "EXAMPLE-5Y", "2015-01-01"
		all = append(all, u)
	}
	return a, deposit(t, a, all...)
}

func propose(t *testing.T, a *Archive) *Elimination {
	t.Helper()
	e, err := a.ProposeElimination(context.Background(), "alice", EliminationRequest{At: "2020-01-01", Reason: "every year"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestEliminationListIsFrozen: what the catalogue loses or changes of a list, of a request or of
// what was said, an audit finds.
func TestEliminationListIsFrozen(t *testing.T) {
	ctx := context.Background()
	a, _ := eliminating(t, 5)
	e := propose(t, a)
	if e.Units != 5 || len(e.Lines) != 1 || e.Lines[0].Bytes != 5 {
		t.Fatalf("%+v", e)
	}
	if _, err := a.StepElimination(ctx, "bob", e.ID, Agreed, StepText{Refused: []RefusedUnits{{[]int64{4, 2, 2}, "in use"}}}); err != nil {
		t.Fatal(err)
	}
	if e, _ := a.Elimination(e.ID); len(e.Refusals) != 2 || e.Steps[1].Refused != 2 {
		t.Errorf("%+v", e)
	}
	sound := func() bool {
		r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1})
		if err != nil {
			t.Fatal(err)
		}
		return r.Sound()
	}
	if !sound() {
		t.Fatal("an archive with a request is not sound")
	}
	row := func(b bucket, key []byte) (value []byte) {
		if err := a.cat.view(func(t *tx) (err error) { value, err = t.get(b, key); value = bytes.Clone(value); return err }); err != nil {
			t.Fatal(err)
		}
		return value
	}
	put := func(b bucket, key, value []byte) {
		err := a.update(nil, func(t *tx) error {
			if value == nil {
				return t.delete(b, key)
			}
			return t.put(b, key, value)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	record := row(bktElim, []byte(e.ID))
	third := row(bktElim, elimRowKey(e.ID, 3))
	for name, c := range map[string]struct{ key, value []byte }{
		"no request":     {[]byte(e.ID), nil},
		"a refusal less": {[]byte(e.ID), bytes.Replace(record, []byte(`"step":"agreed"`), []byte(`"step":"visaed"`), 1)},
		"no third":       {elimRowKey(e.ID, 3), nil},
		"another third":  {elimRowKey(e.ID, 3), unitKey(newID(unitID), 1)},
		"a sixth":        {elimRowKey(e.ID, 6), third},
	} {
		was := row(bktElim, c.key)
		put(bktElim, c.key, c.value)
		if sound() {
			t.Errorf("%s: it is sound", name)
		}
		put(bktElim, c.key, was)
	}
	if !sound() {
		t.Error("put back as it was, it is not sound")
	}
}

// TestEliminationsDoNotShareUnits: a unit is on one open list at a time; what is left of a list
// that did not come about is removed.
func TestEliminationsDoNotShareUnits(t *testing.T) {
	ctx := context.Background()
	a, d := eliminating(t, 3)
	litter := newID(eliminationID)
	if err := a.writeList(ctx, litter, []frozen{{unit: d.Units[0].ID, version: 1}, {unit: d.Units[1].ID, version: 1}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{d.Units[2].ID}, Reason: "dispute"}); err != nil {
		t.Fatal(err)
	}
	first := propose(t, a)
	if first.Units != 2 {
		t.Errorf("%d units: want the two that are not held", first.Units)
	}
	if err := a.cat.view(func(t *tx) error {
		v, err := t.get(bktElim, elimRowKey(litter, 1))
		if v != nil {
			return fmt.Errorf("litter is left: %x", v)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if _, err := a.ProposeElimination(ctx, "alice", EliminationRequest{At: "2020-01-01"}); err == nil {
		t.Error("the same units were proposed twice")
	}
	if _, err := a.StepElimination(ctx, "bob", first.ID, Refused, StepText{Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.StepElimination(ctx, "carol", first.ID, Visaed, StepText{}); err == nil {
		t.Error("a refused request got a visa")
	}
	second := propose(t, a)
	for _, c := range []struct {
		who  string
		step EliminationStep
		text StepText
	}{
		{"carol", Visaed, StepText{}}, // not agreed yet
		{"carol", Agreed, StepText{}}, // not her role
		{"bob", Agreed, StepText{Refused: []RefusedUnits{{[]int64{1, 2}, "all"}}}}, // then it is to be refused
		{"bob", Agreed, StepText{Refused: []RefusedUnits{{[]int64{1}, ""}}}},       // without a reason
		{"bob", Agreed, StepText{Refused: []RefusedUnits{{[]int64{0}, "x"}}}},      // no such number
		{"bob", Agreed, StepText{Bordereau: "unothere"}},                           // no such unit
		{"bob", Refused, StepText{}},                                               // without a reason
		{"alice", Proposed, StepText{}},                                            // it is already
		{"mallory", Withdrawn, StepText{Reason: "x"}},                              // nobody
	} {
		if _, err := a.StepElimination(ctx, c.who, second.ID, c.step, c.text); err == nil {
			t.Errorf("%s could take step %s with %+v", c.who, c.step, c.text)
		}
	}
	listed := 0
	if err := a.EachListed(ctx, second.ID, func(u ListedUnit) error { listed++; return nil }); err != nil || listed != 2 {
		t.Error(listed, err)
	}
}
