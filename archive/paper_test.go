package archive

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// scanned is a unit with paper beside its copy.
func scanned(title, process string) NewUnit {
	kept := true
	u := digital(title, title)
	u.Rule, u.RuleStart, u.Channel = "EXAMPLE-5Y", "2025-01-01", Both
	u.Scan = &Scan{By: "Numeris", Date: "2025-02-01", Device: "X100", Settings: "300 dpi", PaperKept: &kept, Process: process, Control: "image by image"}
	u.Paper = &PhysicalObject{Location: "box 12"}
	return u
}

// TestPaper destroys the paper of what has its visa: but of a unit on hold since, and of one
// whose copy is damaged; the copies stay. What the catalogue says wrongly of it an audit finds.
func TestPaper(t *testing.T) {
	ctx := context.Background()
	a, _ := eliminating(t, 1)
	var units []NewUnit
	for i := range 5 {
		units = append(units, scanned(fmt.Sprint("paper ", i), "tested"))
	}
	keep := scanned("to keep", "tested")
	keep.Rule, keep.RuleStart = "EXAMPLE-10Y", "2025-01-01" // Sort: the original may be wanted
	d := deposit(t, a, append(units, keep, scanned("untested", ""))...)
	mustSeal(t, a)
	reasons := map[string][]PaperReason{}
	if err := a.EachPaper(ctx, "", func(p PaperUnit) error { reasons[p.Title] = p.Reasons; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(reasons) != 7 || len(reasons["paper 0"]) != 0 || !slices.Equal(reasons["to keep"], []PaperReason{PaperToKeep}) || !slices.Equal(reasons["untested"], []PaperReason{ProcessUntested}) {
		t.Fatalf("%v", reasons)
	}
	e, err := a.ProposeElimination(ctx, "alice", EliminationRequest{Kind: ForPaper, At: "2026-01-01"})
	if err != nil || e.Units != 5 {
		t.Fatalf("%+v %v", e, err)
	}
	visaed(t, a, e)
	if _, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{d.Units[0].ID}, Reason: "litigation"}); err != nil {
		t.Fatal(err)
	}
	o, err := a.Object(d.Units[1].Objects[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, offer := range a.offers {
		if err := offer.blobs.Delete(ctx, o.record.Blob); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.ExecuteElimination(ctx, "dave", e.ID, "", nil); err == nil {
		t.Error("executed without a word on how")
	}
	x, err := a.ExecuteElimination(ctx, "dave", e.ID, "shredded by X, certificate 12", nil)
	if err != nil || x.Destroyed != 3 || len(x.Kept) != 2 {
		t.Fatalf("%+v %v", x, err)
	}
	for _, k := range x.Kept {
		if want := map[string]string{d.Units[0].ID: string(PaperHeld), d.Units[1].ID: string(CopyDamaged)}[k.Unit]; k.Reason != want {
			t.Errorf("%+v, want %s", k, want)
		}
	}
	u, err := a.Unit(d.Units[2].ID)
	if err != nil || u.PaperGone == nil || u.PaperGone.Under != e.ID {
		t.Fatalf("%+v %v", u, err)
	}
	if err := a.readWhole(ctx, u.Objects[0].ID); err != nil {
		t.Error("the copy is gone:", err)
	}
	if u, err := a.Unit(d.Units[0].ID); err != nil || u.PaperGone != nil {
		t.Errorf("%+v %v", u.PaperGone, err)
	}
	if _, err := a.ProposeElimination(ctx, "alice", EliminationRequest{Kind: ForPaper, At: "2026-01-01"}); err != nil {
		t.Error("the paper of the damaged copy cannot be proposed again:", err)
	}
	key := unitActKey(d.Units[2].ID, e.ID)
	row := []byte(nil)
	a.cat.view(func(t *tx) error { v, err := t.get(bktAct, key); row = slices.Clone(v); return err })
	found := func() (n int) {
		t.Helper()
		err := a.cat.view(func(t *tx) error { return a.checkEliminations(t, func(string, error) { n++ }) })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := found(); n != 0 {
		t.Errorf("%d findings before", n)
	}
	if err := a.update(nil, func(t *tx) error { return t.delete(bktAct, key) }); err != nil || found() != 1 {
		t.Error("a paper that is there again by the catalogue is not found", err)
	}
	if err := a.update(nil, func(t *tx) error { return t.put(bktAct, key, row) }); err != nil {
		t.Fatal(err)
	}
}
