package archive

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"sae/retention"
)

// visaed takes a request through its steps.
func visaed(t *testing.T, a *Archive, e *Elimination) {
	t.Helper()
	for _, s := range []struct {
		who  string
		step EliminationStep
	}{{"bob", Agreed}, {"carol", Visaed}} {
		if _, err := a.StepElimination(context.Background(), s.who, e.ID, s.step, StepText{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExecuteGoesOn destroys a deep tree in several transactions, fails in the middle, and goes
// on from there; what is below goes before what is above.
func TestExecuteGoesOn(t *testing.T) {
	ctx := context.Background()
	a, _ := eliminating(t, 1)
	units := []NewUnit{{Parent: -1, Title: "top", Rule: "EXAMPLE-5Y", RuleStart: "2010-01-01"}}
	for i := range 2*executeChunk + 100 {
		u := NewUnit{Parent: i / 10, Title: fmt.Sprint("folder ", i)}
		if i >= executeChunk {
			u = digital(fmt.Sprint("document ", i), fmt.Sprint(i))
			u.Parent = i / 10
		}
		units = append(units, u)
	}
	d := deposit(t, a, units...)
	e := propose(t, a)
	if e.Units != int64(len(units))+1 {
		t.Fatal(e.Units, len(units))
	}
	visaed(t, a, e)
	commits := 0
	a.cat.fault = func(at string) error {
		if at == "commit" {
			if commits++; commits == 2 {
				return errors.New("fault")
			}
		}
		return nil
	}
	x, err := a.ExecuteElimination(ctx, "dave", e.ID, "", nil)
	if err == nil || x.Destroyed != executeChunk {
		t.Fatalf("%+v %v", x, err)
	}
	a.Close() // the outcome of the one that failed is known then
	a = reopened(t, a.dir)
	defer a.Close()
	if _, err := a.StepElimination(ctx, "alice", e.ID, Withdrawn, StepText{Reason: "no more"}); err == nil {
		t.Error("what was begun was withdrawn")
	}
	if _, err := a.Unit(d.Units[0].ID); err != nil {
		t.Error("the top went before what is below it:", err)
	}
	if x, err = a.ExecuteElimination(ctx, "dave", e.ID, "", nil); err != nil || x.Destroyed != e.Units || len(x.Kept) != 0 || x.Waiting != 0 {
		t.Fatalf("%+v %v", x, err)
	}
	if n := len(objectBlobs(t, a, 0)); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
	if page, err := a.List(Filter{Limit: 10}); err != nil || len(page.Units) != 0 {
		t.Errorf("%d units are left, %v", len(page.Units), err)
	}
	if _, err := a.ExecuteElimination(ctx, "dave", e.ID, "", nil); err == nil {
		t.Error("it was executed twice")
	}
	if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
	mustFsck(t, a)
}

// TestExecuteLooksAgain: what came after the visa keeps a unit: a hold, a longer rule, a unit
// below it, also one that comes while it is executed.
func TestExecuteLooksAgain(t *testing.T) {
	ctx := context.Background()
	below := func(a *Archive, parent string) error {
		_, err := a.Deposit(ctx, "test", Deposit{Parents: []string{parent}, Units: []NewUnit{digital("late", "x")}})
		return err
	}
	for name, c := range map[string]struct {
		happens func(a *Archive, unit string) error
		reason  string
	}{
		"nothing": {func(*Archive, string) error { return nil }, ""},
		"a hold": {func(a *Archive, unit string) error {
			_, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{unit}, Reason: "r"})
			return err
		}, keptVerdict},
		"a longer rule": {func(a *Archive, _ string) error {
			s, _ := a.Rules("")
			r, _ := s.Rule("EXAMPLE-5Y")
			r.Duration = retention.Duration{Count: 90, Unit: retention.Years}
			p, err := a.PlanRules(ctx, "", []retention.Rule{r.Rule}, false)
			if err == nil {
				_, err = a.ChangeRules(ctx, "alice", p)
			}
			return err
		}, keptVerdict},
		"a later start": {func(a *Archive, unit string) error {
			_, err := a.Act(ctx, "alice", "", StartAct, ActText{Units: []string{unit}, Rule: "EXAMPLE-5Y", Start: "2099-01-01", Reason: "r"})
			return err
		}, keptVerdict},
		"a unit below": {below, keptChildren},
	} {
		a, d := eliminating(t, 1)
		e := propose(t, a)
		visaed(t, a, e)
		if err := c.happens(a, d.Units[0].ID); err != nil {
			t.Fatal(name, err)
		}
		x, err := a.ExecuteElimination(ctx, "dave", e.ID, "", nil)
		if err != nil || len(x.Kept) != min(1, len(c.reason)) || c.reason != "" && x.Kept[0].Reason != c.reason {
			t.Errorf("%s: %+v %v", name, x, err)
		}
		if _, err := a.Unit(d.Units[0].ID); (err == nil) != (c.reason != "") {
			t.Errorf("%s: %v", name, err)
		}
	}

	// Between looking and the transaction.
	a, d := eliminating(t, 1)
	var all []*doomed
	if err := a.cat.view(func(t *tx) error {
		x, err := a.doom(t, d.Units[0].ID, "test", 1, nil)
		all = append(all, x)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := below(a, d.Units[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := a.destroy(ctx, "test", "archives", "test-destroyed", nil, all, func(t *tx) error { return a.stillDoomed(t, all) }); !errors.Is(err, errChanged) {
		t.Error(err)
	}
	if _, err := a.Unit(d.Units[0].ID); err != nil {
		t.Error(err)
	}
}
