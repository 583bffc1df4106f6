package archive

import (
	"context"
	"errors"
	"testing"

	"sae/integrity"
)

// asOf is what the archive says as of what something is.
func asOf(t *testing.T, a *Archive, id string) string {
	t.Helper()
	return must(a.AsOf(id))
}

// TestAsOf: what is read says as of what it is, and every change makes it another.
func TestAsOf(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s, file, _ := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin", BirthDate: "1950-01-01"}, franceConnect)
	unit := asOf(t, a, file)
	must(a.Seal(ctx, "alice"))
	if asOf(t, a, file) != unit {
		t.Error("its seal is a change")
	}
	hold := must(a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{file}, Reason: "recours"}))
	if hold.AsOf != asOf(t, a, hold.ID) || asOf(t, a, file) == unit {
		t.Errorf("hold %q, unit %q as before", hold.AsOf, unit)
	}
	reviewed := must(a.ReviewHold(ctx, "alice", hold.ID, "", "reste"))
	if reviewed.AsOf == hold.AsOf || reviewed.AsOf != asOf(t, a, hold.ID) {
		t.Errorf("reviewed: %q, before %q", reviewed.AsOf, hold.AsOf)
	}
	ended := must(a.EndAct(ctx, "alice", hold.ID, "fini"))
	if ended.AsOf == reviewed.AsOf || ended.AsOf != asOf(t, a, hold.ID) || ended.AsOf != must(a.ActOf(hold.ID)).AsOf {
		t.Errorf("ended: %q, before %q", ended.AsOf, reviewed.AsOf)
	}
	if s.AsOf() != asOf(t, a, s.ID) {
		t.Errorf("subject: %q and %q", s.AsOf(), asOf(t, a, s.ID))
	}
	linked := must(a.LinkIdentity(ctx, "alice", s.ID, FederatedID{"https://other.example", "1"}, ""))
	if linked.AsOf() == s.AsOf() || linked.AsOf() != asOf(t, a, s.ID) {
		t.Errorf("linked: %q", linked.AsOf())
	}
	q := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 15, Subject: s.ID}))
	if q.AsOf() != asOf(t, a, q.ID) {
		t.Errorf("request: %q", q.AsOf())
	}
	ended2 := must(a.WithdrawRequest(ctx, "alice", q.ID, "x"))
	if purged := must(a.PurgeRequest(ctx, "dora", q.ID)); purged.AsOf() == ended2.AsOf() || purged.AsOf() != asOf(t, a, q.ID) {
		t.Errorf("purged: %q", purged.AsOf())
	}
	if _, err := a.AsOf(newID(unitID)); !errors.Is(err, ErrNotFound) {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := a.AsOf("nonsense\xff"); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no identifier: %v", err)
	}
}

// TestNothingIsDoneOnWhatChanged: a change between what is asked for and its transaction stands against
// it, and leaves nothing of it.
func TestNothingIsDoneOnWhatChanged(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s, _, _ := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin", BirthDate: "1950-01-01"}, franceConnect)
	held := must(a.IfAsOf(ctx, s.ID, []string{"0", s.AsOf()}))
	late := must(a.IfAsOf(ctx, s.ID, []string{s.AsOf()}))
	link := func(ctx context.Context, sub string) (*Subject, error) {
		return a.LinkIdentity(ctx, "alice", s.ID, FederatedID{"https://other.example", sub}, "")
	}
	if _, err := link(held, "1"); err != nil {
		t.Fatal(err)
	}
	size := must(a.VerifyLedger(false)).Size
	if _, err := link(late, "2"); !errors.Is(err, ErrOutdated) {
		t.Errorf("on what changed: %v", err)
	}
	if _, err := a.IfAsOf(ctx, s.ID, []string{s.AsOf()}); !errors.Is(err, ErrOutdated) {
		t.Errorf("asked for on what changed: %v", err)
	}
	if now := must(a.Subject(s.ID)); now.Version != 2 || must(a.VerifyLedger(false)).Size != size {
		t.Errorf("something was done: version %d", now.Version)
	}
	if _, err := link(held, "3"); err != nil { // what a change does further is its own
		t.Errorf("the change goes on: %v", err)
	}
	mustAudit(t, a)
}

// TestOnceEndsWith: of a write that takes several operations only the one that ends it is remembered.
func TestOnceEndsWith(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s, _, _ := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin", BirthDate: "1950-01-01"}, franceConnect)
	begin := func() *Once {
		o := must(a.Once("alice", "", "k"))
		o.EndsWith(integrity.Subject)
		o.Add([]byte("link"))
		return o
	}
	o := begin()
	must(a.OpenRequest(o.Context(ctx), "alice", NewRequest{Article: 15, Subject: s.ID})) // a first operation, behind which it was stopped
	o.End()
	o = begin()
	if o.Before() {
		t.Error("what was begun is remembered as done")
	}
	must(a.LinkIdentity(o.Context(ctx), "alice", s.ID, FederatedID{"https://other.example", "1"}, ""))
	o.End()
	o = begin()
	defer o.End()
	if _, done, err := o.Done(); !done || err != nil {
		t.Errorf("what was done is not remembered: %v", err)
	}
}
