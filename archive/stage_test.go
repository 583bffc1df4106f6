package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Stages are small in tests.
const (
	testStage  = 1000
	largeUnits = 2*testStage + 500
)

// largeDeposit has so many units that it is committed in three stages of units, and one of
// index rows; some have content.
func largeDeposit() Deposit {
	d := Deposit{Agency: "MDPH"}
	for i := range largeUnits {
		u := NewUnit{Parent: i/100 - 1, Title: fmt.Sprint("Dossier ", i), Subject: fmt.Sprint("S-", i%10)}
		if i%500 == 1 {
			u.Channel, u.Content = Digital, text("a.txt", u.Title)
		}
		d.Units = append(d.Units, u)
	}
	return d
}

// rows gives every row of the catalogue but nodes of the key tree, which may stay, and of the
// journal.
func rows(t *testing.T, a *Archive) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := a.cat.view(func(tx *tx) error {
		for _, b := range allBuckets {
			err := tx.scan(b, nil, nil, func(k, v []byte) (bool, error) {
				journal := b == bktBlob && k[0] == 'j' || b == bktMeta && string(k) == string(metaJournal)
				if (b != bktKey || k[0] == 0) && !journal {
					out[fmt.Sprintf("%s/%x", b, k)] = string(v)
				}
				return true, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameRows(t *testing.T, what string, before, after map[string]string) {
	t.Helper()
	shown := 0
	delete(after, fmt.Sprintf("meta/%x", metaRebuilt)) // until it is opened for writing
	for k, v := range after {
		if was, ok := before[k]; (!ok || was != v) && shown < 5 {
			t.Errorf("%s: row %s is new or changed", what, k)
			shown++
		}
	}
	if len(before) > len(after) {
		t.Errorf("%s: %d rows of %d", what, len(after), len(before))
	}
}

func TestStagedDeposit(t *testing.T) {
	a := newArchive(t, nil)
	a.stageItems = testStage
	before := deposit(t, a, digital("before", "x"))
	d, err := a.Deposit(context.Background(), "a new agent", largeDeposit())
	if err != nil {
		t.Fatal(err)
	}
	after := deposit(t, a, digital("after", "y"))
	key := d.Receipt
	if key.Index != before.Receipt.Index+1 || after.Receipt.Index != key.Index+1 {
		t.Errorf("entries %d, %d, %d", before.Receipt.Index, key.Index, after.Receipt.Index)
	}
	s, err := a.Status()
	if err != nil || s.Units != int64(len(d.Units))+2 || len(d.Units) != largeUnits {
		t.Fatalf("%d units of %d: %v", s.Units, len(d.Units), err)
	}
	u, err := a.Unit(d.Units[0].ID)
	if err != nil || len(u.Children) != 100 {
		t.Errorf("%d children: %v", len(u.Children), err)
	}
	if page, err := a.List(Filter{Subject: "S-3", Limit: 10_000}); err != nil || len(page.Units) != (largeUnits)/10 {
		t.Errorf("%d of the subject: %v", len(page.Units), err)
	}
	if _, err := a.Seal(context.Background(), "test"); err != nil {
		t.Fatal(err)
	}
	var objects int
	for _, u := range d.Units {
		for _, o := range u.Objects {
			objects++
			var out strings.Builder
			if _, _, err := a.Get(context.Background(), o.ID, &out); err != nil || out.String() != u.Title {
				t.Fatalf("%q: %v", out.String(), err)
			}
		}
	}
	if err := a.Proof(context.Background(), d.Units[len(d.Units)-1].ID, io.Discard); err != nil {
		t.Error(err)
	}
	r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1})
	if err != nil || !r.Sound() || r.Objects != int64(objects+2) || objects == 0 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestStagesAreUnseen fails each transaction of a large deposit in turn, before it is
// committed and behind it, and looks in between at what readers see: nothing, before the
// last; and after reopening nothing is left of it but the key tree's nodes.
func TestStagesAreUnseen(t *testing.T) {
	t.Parallel()
	fail := errors.New("test fault")
	for nth := 1; ; nth++ {
		for _, step := range []string{"commit", "committed"} {
			name := fmt.Sprintf("%s %d", step, nth)
			dir := filepath.Join(t.TempDir(), "archive")
			if _, err := Create(dir, New{}); err != nil {
				t.Fatal(err)
			}
			n, armed := 0, false
			var a *Archive
			var before map[string]string
			var small *Deposited
			fault := func(s string) error {
				if !armed || s != step {
					return nil
				}
				if step == "committed" {
					unseen(t, name, a, small, n < 4)
				}
				if n++; n == nth {
					return fail
				}
				return nil
			}
			var err error
			if a, err = Open(dir, Options{CatalogueFault: fault}); err != nil {
				t.Fatal(err)
			}
			a.stageItems = testStage
			small = deposit(t, a, digital("before", "x"))
			before = rows(t, a)
			armed = true
			_, err = a.Deposit(context.Background(), "a new agent", largeDeposit())
			armed = false
			if n < nth { // the deposit has no more transactions
				if err != nil {
					t.Fatal(err)
				}
				a.Close()
				if nth != 6 {
					t.Errorf("%d transactions, this test thinks of 5", nth-1)
				}
				return
			}
			if !errors.Is(err, fail) || !errors.Is(err, errUncertain) {
				t.Fatalf("%s: %v", name, err)
			}
			a.Close()
			if a, err = Open(dir, Options{}); err != nil {
				t.Fatal(err)
			}
			if step == "committed" && nth == 5 {
				if s, err := a.Status(); err != nil || s.Units != largeUnits+1 {
					t.Errorf("%s: %+v %v", name, s, err)
				}
			} else {
				sameRows(t, name, before, rows(t, a))
			}
			if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
				t.Errorf("%s: %+v %v", name, r, err)
			}
			deposit(t, a, digital("after", "y"))
			a.Close()
		}
	}
}

// unseen wants readers to see nothing of a large deposit under way.
func unseen(t *testing.T, name string, a *Archive, small *Deposited, want bool) {
	if !want {
		return
	}
	if s, err := a.Status(); err != nil || s.Units != 1 || s.Objects != 1 || s.Pending != 2 {
		t.Errorf("%s: status %+v %v", name, s, err)
	}
	if page, err := a.List(Filter{Agency: "MDPH"}); err != nil || len(page.Units) > 0 {
		t.Errorf("%s: %d units %v", name, len(page.Units), err)
	}
	if page, err := a.List(Filter{State: "pending", From: time.Unix(0, 0)}); err != nil || len(page.Units) != 1 {
		t.Errorf("%s: %d units %v", name, len(page.Units), err)
	}
	if s, err := a.Stats(); err != nil || s.Channels[0].Units != 1 {
		t.Errorf("%s: %+v %v", name, s, err)
	}
	err := a.cat.view(func(tx *tx) error {
		return tx.scan(bktUnit, nil, nil, func(k, _ []byte) (bool, error) {
			id, version := splitUnitKey(k)
			if _, err := a.unit(tx, id, version); id != small.Units[0].ID && !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: unit %s: %v", name, id, err)
			}
			return false, nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// TestStagesGivenUp: a large deposit that fails by itself is removed at once, and the
// archive goes on.
func TestStagesGivenUp(t *testing.T) {
	a := newArchive(t, nil)
	a.stageItems = testStage
	deposit(t, a, digital("before", "x"))
	before := rows(t, a)
	ctx, cancel := context.WithCancel(context.Background())
	in := newIntake(a.config.Tenants[0].ID, "general", testStage*3, nil)
	enough := errors.New("the source has ended")
	in.units = func(each func(*draft) error) error {
		p := &plainUnits{d: &Deposit{Tenant: in.tenant, Units: []NewUnit{{Parent: -1, Title: "x"}}}, tenant: &a.config.Tenants[0]}
		for range testStage * 2 {
			p.ids = []string{newID(unitID)}
			if err := each(p.draft(0)); err != nil {
				return err
			}
		}
		return enough
	}
	a.storing.Add(1)
	if _, err := a.commitIntake(ctx, "test", in); !errors.Is(err, enough) || errors.Is(err, errUncertain) {
		t.Fatal(err)
	}
	cancel()
	sameRows(t, "given up", before, rows(t, a))
	d := deposit(t, a, digital("after", "y"))
	if d.Receipt.Index != 2 {
		t.Errorf("entry %d", d.Receipt.Index)
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r, err)
	}
}
