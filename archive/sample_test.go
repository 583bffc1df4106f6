package archive

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"sae/integrity"
	"sae/retention"
)

// TestSample: whole files are chosen, what is in them follows; anybody who has the seed of the
// ledger chooses the same; a sample that is taken back leaves all to be sorted.
func TestSample(t *testing.T) {
	ctx := context.Background()
	a, _ := eliminating(t, 1)
	changeRules(t, a, []retention.Rule{{ID: "TIRAGE", Duration: retention.Duration{Count: 1, Unit: retention.Years}, FinalAction: retention.Sort, Sampling: &retention.Sampling{Random: 20}}})
	var units []NewUnit
	for i := range 10 {
		units = append(units, NewUnit{Parent: -1, Title: fmt.Sprint("file ", i), Rule: "TIRAGE", RuleStart: "2015-01-01"})
		doc := digital(fmt.Sprint("document ", i), fmt.Sprint(i))
		doc.Parent, doc.Rule, doc.RuleStart = len(units)-1, "TIRAGE", "2015-01-01"
		inherits := digital(fmt.Sprint("annexe ", i), fmt.Sprint(i))
		inherits.Parent = doc.Parent
		units = append(units, doc, inherits)
	}
	d := deposit(t, a, units...)
	pick := d.Units[0].ID
	for _, bad := range []SampleRequest{
		{Rule: "TIRAGE", At: "2020-01-01", Reason: "r", Picks: []string{d.Units[1].ID}}, // a document of a file
		{Rule: "TIRAGE", At: "2015-06-01", Reason: "r"},                                 // not over
		{Rule: "NOPE", At: "2020-01-01", Reason: "r"},
		{Rule: "TIRAGE", At: "soon", Reason: "r"},
	} {
		if _, err := a.Sample(ctx, "alice", bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	s, err := a.Sample(ctx, "alice", SampleRequest{Rule: "TIRAGE", At: "2020-01-01", Reason: "décision", Picks: []string{pick}})
	if err != nil || s.Candidates != 10 || len(s.Kept) < 2 || len(s.Kept) > 3 || !slices.Contains(s.Kept, pick) || s.SeedEntry >= s.Entry {
		t.Fatalf("%+v %v", s, err)
	}
	var candidates []retention.Candidate
	var ids []string
	for i := 0; i < 30; i += 3 {
		file := d.Units[i].ID
		want := retention.Eliminable
		if slices.Contains(s.Kept, file) {
			want = retention.ToKeep
		}
		for _, u := range d.Units[i : i+3] {
			if v := verdictOf(t, a, u.ID, "2020-01-01"); v != want {
				t.Errorf("%s: %s, its file: %s", u.Title, v, want)
			}
		}
		ids = append(ids, file)
	}
	slices.Sort(ids)
	var tree integrity.Recompute
	for _, id := range ids {
		tree.Add([]byte(id))
		candidates = append(candidates, retention.Candidate{ID: id})
	}
	b, err := a.Entry(s.SeedEntry)
	if err != nil {
		t.Fatal(err)
	}
	var detail integrity.SampleSeedDetail
	entry, err := integrity.ParseEntry(b)
	if err == nil {
		err = entry.ReadDetail(integrity.SampleSeed, &detail)
	}
	if err != nil || detail.Root != tree.Root() || detail.Seed != s.Seed || detail.Candidates != 10 {
		t.Errorf("%+v %v", detail, err)
	}
	seed, err := hex.DecodeString(detail.Seed)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range s.Method.Choose(candidates, [32]byte(seed)) {
		if !slices.Contains(s.Kept, candidates[i].ID) {
			t.Error("who chooses again by the ledger's seed chooses others")
		}
	}
	if _, err := a.Sample(ctx, "alice", SampleRequest{Rule: "TIRAGE", At: "2020-01-01", Reason: "again"}); err == nil {
		t.Error("nothing is left to be sorted, and a sample was drawn")
	}
	if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
	if _, err := a.EndAct(ctx, "alice", s.Act, "wrong seed"); err != nil {
		t.Fatal(err)
	}
	for _, u := range d.Units {
		if v := verdictOf(t, a, u.ID, "2020-01-01"); v != retention.ToSort {
			t.Errorf("after it was taken back: %s", v)
		}
	}
}
