package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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

// TestFeedSince: from the time of an event on, it and all later ones are told.
func TestFeedSince(t *testing.T) {
	a := newArchive(t, nil)
	for i := range 4 {
		deposit(t, a, digital(fmt.Sprint(i), "x"))
		if err := a.NoteRefused("gru", "", Noted{Request: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	all := told(t, a, "", 10)
	for i, x := range all {
		at := x.Entry.Time
		if x.Noted != nil {
			at = x.Noted.Time
		}
		from, err := a.FeedSince(at)
		if err != nil {
			t.Fatal(err)
		}
		events, _, err := a.Feed("", from, 100)
		if err != nil || len(events) < len(all)-i || nameOf(events[len(events)-(len(all)-i)]) != nameOf(x) || len(events) > len(all)-i+1 {
			t.Errorf("since %s: %d events from %s, %v; want %d", nameOf(x), len(events), from, err, len(all)-i)
		}
	}
	end, err := a.FeedEnd()
	if err != nil {
		t.Fatal(err)
	}
	if from, err := a.FeedSince(time.Now().Add(time.Hour)); err != nil || from != end {
		t.Errorf("since later: %s, %v; the end is %s", from, err, end)
	}
	if from, err := a.FeedSince(time.Time{}); err != nil || from != (Cursor{}) {
		t.Errorf("since ever: %s, %v", from, err)
	}
}

// TestSealNamesEntries: seals name the entries that they seal, without a gap.
func TestSealNamesEntries(t *testing.T) {
	a := newArchive(t, func(c string) string { return strings.Replace(c, "max-leaves: 1048576", "max-leaves: 4", 1) })
	want := map[int64]bool{}
	for range 2 {
		for range 3 {
			want[deposit(t, a, digital("x", "x"), digital("y", "y")).Receipt.Index] = true
		}
		if _, err := a.Seal(context.Background(), "sealer"); err != nil {
			t.Fatal(err)
		}
	}
	last, seals := int64(0), 0
	for _, x := range told(t, a, "", 10) {
		if x.Entry.Kind != integrity.Seal {
			continue
		}
		seals++
		if x.Sealed == nil || x.Sealed[0] < last || x.Sealed[1] < x.Sealed[0] || x.Sealed[1] >= x.At.Entry {
			t.Fatalf("entry %d seals %v, the one before up to %d", x.At.Entry, x.Sealed, last)
		}
		for i := x.Sealed[0]; i <= x.Sealed[1]; i++ {
			delete(want, i)
		}
		last = x.Sealed[1]
	}
	if len(want) > 0 || seals < 3 {
		t.Errorf("%d seals, none of entries %v", seals, want)
	}
}

// TestRefusalsTogether: refusals at one time are all told, with numbers of their own.
func TestRefusalsTogether(t *testing.T) {
	a := newArchive(t, nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if err := a.NoteRefused("gru", "", Noted{Request: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, x := range told(t, a, "", 7) {
		if x.Noted != nil {
			seen[x.Noted.Request] = true
		}
	}
	if len(seen) != 50 {
		t.Errorf("%d refusals are told", len(seen))
	}
}

func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"0", "12.7", "1.", "-1", "99999999999999999999", "1.2.3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err != nil {
			return
		}
		if again, err := ParseCursor(c.String()); err != nil || again != c || c.Entry < 0 || c.Noted < 0 {
			t.Errorf("%q is %v, and then %v, %v", s, c, again, err)
		}
	})
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

// TestDueInSteps: in steps of any size, interrupted or not, each unit that is due is told once: one that
// declares a rule, those under it, and one that is under it and declares one, too.
func TestDueInSteps(t *testing.T) {
	for _, step := range []int{1, 2, 3, 1000} {
		a, _ := eliminating(t, 1)
		var all []NewUnit
		for range 3 {
			top := len(all)
			for i := range 4 {
				u := digital("u", "u")
				u.Parent = top
				switch i {
				case 0:
					u.Parent, u.Rule, u.RuleStart = -1, "EXAMPLE-5Y", "2001-01-01"
				case 2:
					u.Parent, u.Rule, u.RuleStart = top+1, "EXAMPLE-5Y", "2000-01-01"
				}
				all = append(all, u)
			}
		}
		deposit(t, a, all...)
		a.stageItems = step
		var want []string
		err := a.Due(context.Background(), "", time.Now().Format(time.DateOnly), func(d DueUnit) error { want = append(want, d.ID); return nil })
		if err != nil || len(want) != len(all)+1 {
			t.Fatalf("%d units are due, %v; want %d", len(want), err, len(all)+1)
		}
		ctx := &endsAfter{Context: context.Background(), left: 5}
		first, err := a.NoteDue(ctx, "", 90)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("it was not interrupted: %d, %v", first, err)
		}
		if second, err := a.NoteDue(context.Background(), "", 90); err != nil || first+second != len(want) {
			t.Errorf("steps of %d: %d and %d are told, %v; want %d", step, first, second, err, len(want))
		}
		var got []string
		for _, x := range told(t, a, "", 3) {
			if x.Noted != nil {
				got = append(got, x.Noted.Unit)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("steps of %d: told\n%v, want\n%v", step, got, want)
		}
	}
}

// endsAfter is a context that ends when it was asked some times.
type endsAfter struct {
	context.Context
	left int
}

func (c *endsAfter) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
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
