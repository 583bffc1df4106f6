package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sae/integrity"
	"sae/retention"
)

// told reads the feed of a tenant from its begin, page by page.
func told(t testing.TB, a *Archive, tenant string, limit int) (out []FedEvent) {
	t.Helper()
	for at := (Cursor{}); ; {
		events, next, err := a.Feed(tenant, at, limit)
		if err != nil {
			t.Fatal(err)
		}
		if next == at {
			return out
		}
		if len(events) > limit {
			t.Fatalf("%d events on a page of %d", len(events), limit)
		}
		out, at = append(out, events...), next
	}
}

func nameOf(x FedEvent) string {
	if x.Noted != nil {
		return fmt.Sprintf("n%d", x.At.Noted)
	}
	return fmt.Sprint(x.At.Entry)
}

// TestFeedIsOneOrder: what was noted stands between the ledger entries that were there before and
// those that came after; pages of any size tell the same, and each event is found again at its place.
func TestFeedIsOneOrder(t *testing.T) {
	a, mine, other, _ := twoTenants(t)
	var want []string
	for i := range 12 {
		if err := mine.NoteRefused("gru", "", Noted{Request: fmt.Sprint(i), Asked: "createDeposit", Code: "refused", Problems: 1}); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint("refused ", i))
		if err := other.NoteRefused("gru", "", Noted{Request: "other"}); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			want = append(want, fmt.Sprint("deposit ", deposit(t, mine, digital("x", "x")).Units[0].ID))
			deposit(t, other, digital("y", "y"))
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		var got []string
		for _, x := range told(t, a, "", rapid.IntRange(1, 30).Draw(r, "limit")) {
			switch {
			case x.Noted != nil:
				got = append(got, "refused "+x.Noted.Request)
			case x.Entry.Kind == integrity.Deposit:
				got = append(got, "deposit "+x.Units[0])
			}
		}
		if !slices.Equal(got, want) {
			r.Fatalf("told %v\nwant %v", got, want)
		}
	})
	for _, x := range told(t, a, "", 5) {
		if again, _, err := a.Feed("", x.At, 1); err != nil || len(again) != 1 || nameOf(again[0]) != nameOf(x) {
			t.Errorf("%s is not at its place: %v %v", nameOf(x), again, err)
		}
	}
}

func TestParseCursor(t *testing.T) {
	for s, want := range map[string]Cursor{"0": {}, "12": {12, 0}, "12.7": {12, 7}} {
		if c, err := ParseCursor(s); err != nil || c != want {
			t.Errorf("%q: %v, %v", s, c, err)
		}
	}
	for _, s := range []string{"", "-1", "1.", ".1", "1.2.3", "x", "99999999999999999999"} {
		if _, err := ParseCursor(s); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestDueIsToldOnce: a unit is told to be due once for a day; when the day changes, again.
func TestDueIsToldOnce(t *testing.T) {
	ctx := context.Background()
	a, _ := eliminating(t, 1) // a unit that was over long ago
	old := digital("old", "old")
	old.Rule, old.RuleStart = "EXAMPLE-5Y", time.Now().AddDate(-5, 0, 30).Format(time.DateOnly)
	far := digital("far", "far")
	far.Rule, far.RuleStart = "EXAMPLE-5Y", time.Now().AddDate(-1, 0, 0).Format(time.DateOnly)
	d := deposit(t, a, old, far)
	for round, want := range []int{2, 0} {
		if n, err := a.NoteDue(ctx, "", 90); err != nil || n != want {
			t.Errorf("round %d: %d units, %v; want %d", round, n, err, want)
		}
	}
	rule, _ := a.schedule("archives").Rule("EXAMPLE-5Y")
	rule.Duration.Count++ // a year, which is not over soon
	plan, err := a.PlanRules(ctx, "", []retention.Rule{rule.Rule}, false)
	if err == nil {
		_, err = a.ChangeRules(ctx, "alice", plan)
	}
	if err != nil {
		t.Fatal(err)
	}
	for round, within := range []int{90, 500, 500} {
		if n, err := a.NoteDue(ctx, "", within); err != nil || n != []int{1, 1, 0}[round] {
			t.Errorf("after the change, within %d days: %d units, %v", within, n, err)
		}
	}
	var due []string
	for _, x := range told(t, a, "", 10) {
		if x.Noted != nil && x.Noted.Unit == d.Units[0].ID {
			due = append(due, x.Noted.Unit)
		}
	}
	if !slices.Equal(due, []string{d.Units[0].ID, d.Units[0].ID}) {
		t.Errorf("told %v", due)
	}
}

// TestNotedIsForgotten after its time, and its numbers are not given again.
func TestNotedIsForgotten(t *testing.T) {
	a := newArchive(t, nil)
	note := func() {
		t.Helper()
		if err := a.NoteRefused("gru", "", Noted{Request: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	note()
	note()
	if n, err := a.ForgetNoted(context.Background()); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	err := a.update(nil, func(x *tx) error { // as if it were old
		return x.put(bktNoted, be64(0), mustJSON(Noted{Kind: NotedRefused, Tenant: "archives", Time: time.Now().Add(-2 * KeepNoted)}))
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := a.ForgetNoted(context.Background()); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	note()
	events := told(t, a, "", 10)
	if last := events[len(events)-1]; last.Noted == nil || last.At.Noted != 2 {
		t.Errorf("%+v", last)
	}
}

// TestMoveHook: who moves a webhook while another does is told so, and changes nothing.
func TestMoveHook(t *testing.T) {
	a := newArchive(t, nil)
	first, known, err := a.HookState("", "gru")
	if err != nil || known || first.At == (Cursor{}) {
		t.Fatalf("%+v %v %v", first, known, err)
	}
	dead := &DeadLetter{At: Cursor{3, 1}, ID: "3"}
	for _, x := range []struct {
		from int64
		want bool
	}{{0, true}, {0, false}, {1, true}} {
		if moved, err := a.MoveHook("", "gru", x.from, HookState{At: Cursor{x.from + 5, 0}}, dead); err != nil || moved != x.want {
			t.Errorf("from %d: %v, %v", x.from, moved, err)
		}
	}
	if err := a.ReplayHook(context.Background(), "", "gru", Cursor{1, 0}); err != nil {
		t.Error(err)
	}
	if err := a.ReplayHook(context.Background(), "", "gru", Cursor{1 << 40, 0}); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	if s, _, err := a.HookState("", "gru"); err != nil || s.At != (Cursor{1, 0}) || s.Moves != 3 {
		t.Errorf("%+v %v", s, err)
	}
	if n, err := a.ReplayLetters(context.Background(), "", "gru"); err != nil || n != 1 {
		t.Errorf("%d %v", n, err)
	}
	if err := a.DropLetter("", "gru", dead.At); err != nil {
		t.Error(err)
	}
	if n, err := a.ReplayLetters(context.Background(), "", "gru"); err != nil || n != 0 {
		t.Errorf("%d %v", n, err)
	}
}
