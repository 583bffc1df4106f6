package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sae/archive/durable"
	"sae/retention"
	"sae/seda"
)

func executeAll(t *testing.T, a *Archive) *Executed {
	t.Helper()
	e, err := a.ProposeElimination(context.Background(), "alice", EliminationRequest{At: "2020-01-01"})
	if err != nil {
		t.Fatal(err)
	}
	visaed(t, a, e)
	x, err := a.ExecuteElimination(context.Background(), "dave", e.ID, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func mustBeSound(t *testing.T, a *Archive) {
	t.Helper()
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("audit: %+v %v", r.List, err)
	}
	mustFsck(t, a)
}

func TestDueAfterStartTakenBack(t *testing.T) {
	ctx := context.Background()
	a, d := eliminating(t, 2)
	act, err := a.Act(ctx, "alice", "", StartAct, ActText{Units: []string{d.Units[0].ID}, Rule: "EXAMPLE-5Y", Start: "2014-01-01", Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.EndAct(ctx, "alice", act.ID, "wrong"); err != nil {
		t.Fatal(err)
	}
	if x := executeAll(t, a); x.Destroyed != 2 {
		t.Fatalf("%+v", x)
	}
	if err := a.Due(ctx, "", "2026-01-01", func(DueUnit) error { return nil }); err != nil {
		t.Error("due:", err)
	}
	if _, err := a.PlanRules(ctx, "", []retention.Rule{{ID: "EXAMPLE-5Y", Duration: retention.Duration{Count: 6, Unit: retention.Years}, FinalAction: retention.Destroy}}, false); err != nil {
		t.Error("plan:", err)
	}
	mustBeSound(t, a)
}

func TestTampering(t *testing.T) {
	ctx := context.Background()
	put := func(a *Archive, b bucket, key, value []byte) {
		if err := a.update(nil, func(t *tx) error {
			if value == nil {
				return t.delete(b, key)
			}
			return t.put(b, key, value)
		}); err != nil {
			t.Fatal(err)
		}
	}
	get := func(a *Archive, b bucket, key []byte) (out []byte) {
		a.cat.view(func(t *tx) error { v, err := t.get(b, key); out = bytes.Clone(v); return err })
		return out
	}
	found := func(a *Archive) bool {
		r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1})
		if err != nil {
			t.Fatal(err)
		}
		f, err := a.Fsck(ctx)
		return !r.Sound() || err != nil || len(f.Findings) > 0
	}
	t.Run("refusals", func(t *testing.T) {
		a, d := eliminating(t, 3)
		e := propose(t, a)
		if _, err := a.StepElimination(ctx, "bob", e.ID, Agreed, StepText{Refused: []RefusedUnits{{[]int64{1}, "keep it"}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.StepElimination(ctx, "carol", e.ID, Visaed, StepText{}); err != nil {
			t.Fatal(err)
		}
		var r Elimination
		json.Unmarshal(get(a, bktElim, []byte(e.ID)), &r)
		r.Refusals = nil
		put(a, bktElim, []byte(e.ID), mustJSON(r))
		if !found(a) {
			t.Error("audit and fsck do not find that a refusal was removed")
		}
		x, err := a.ExecuteElimination(ctx, "dave", e.ID, "", nil)
		if err == nil && x.Destroyed == 3 {
			t.Error("the refused unit was destroyed, too")
		}
		_ = d
	})
	t.Run("list", func(t *testing.T) {
		a, _ := eliminating(t, 3)
		e := propose(t, a)
		visaed(t, a, e)
		u := digital("other", "x")
		u.Rule, u.RuleStart = "EXAMPLE-5Y", "2015-01-01"
		d := deposit(t, a, u)
		put(a, bktElim, elimRowKey(e.ID, 2), unitKey(d.Units[0].ID, 1))
		x, err := a.ExecuteElimination(ctx, "dave", e.ID, "", nil)
		if _, gone := a.Unit(d.Units[0].ID); gone != nil {
			t.Errorf("a unit that the ledger's root does not list was destroyed: %+v %v", x, err)
		}
	})
	t.Run("step agent", func(t *testing.T) {
		a, _ := eliminating(t, 3)
		e := propose(t, a)
		r := *e
		r.Steps[0].Agent = "a" + strings.Repeat("a", 26)
		put(a, bktElim, []byte(e.ID), mustJSON(r))
		if !found(a) {
			t.Error("audit and fsck do not find that the agent of a step is another")
		}
	})
	t.Run("rule", func(t *testing.T) {
		a, _ := eliminating(t, 1)
		var r ruleRecord
		key := ruleKey("archives", "EXAMPLE-10Y", 1)
		if err := json.Unmarshal(get(a, bktRule, key), &r); err != nil {
			t.Fatal(err)
		}
		r.Duration, r.FinalAction = retention.Duration{Count: 1, Unit: retention.Days}, retention.Destroy
		put(a, bktRule, key, mustJSON(r))
		if !found(a) {
			t.Error("audit and fsck do not find that a rule of the schedule was changed")
		}
	})
	t.Run("act row", func(t *testing.T) {
		a, _ := eliminating(t, 1)
		sort := func(title string) NewUnit {
			u := digital(title, title)
			u.Rule, u.RuleStart = "EXAMPLE-10Y", "2001-01-01"
			return u
		}
		changeRules(t, a, []retention.Rule{{ID: "EXAMPLE-10Y", Duration: retention.Duration{Count: 10, Unit: retention.Years}, FinalAction: retention.Sort, Sampling: &retention.Sampling{Every: 2}}})
		deposit(t, a, sort("one"), sort("two"))
		s, err := a.Sample(ctx, "alice", SampleRequest{Rule: "EXAMPLE-10Y", At: "2020-01-01", Reason: "r"})
		if err != nil {
			t.Fatal(err)
		}
		u := digital("not sorted", "x")
		u.Rule, u.RuleStart = "EXAMPLE-10Y", "2001-01-01"
		d := deposit(t, a, u)
		put(a, bktAct, unitActKey(d.Units[0].ID, s.Act), be64(uint64(s.Entry)))
		if r, err := a.Retention(d.Units[0].ID, "2020-01-01"); err == nil {
			t.Errorf("a row makes a unit that the sample does not name %s", r.Assessment.Verdict)
		}
		if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || r.Sound() {
			t.Errorf("the audit does not find it: %v", err)
		}
	})
	t.Run("tombstone", func(t *testing.T) {
		a, d := eliminating(t, 3)
		executeAll(t, a)
		u := deposit(t, a, digital("victim", "v"))
		id := u.Units[0].ID
		mustSeal(t, a)
		var x *doomed
		if err := a.cat.view(func(t *tx) (err error) { x, err = a.doom(t, id, "e", 1, nil); return err }); err != nil {
			t.Fatal(err)
		}
		stone := get(a, bktTomb, []byte(d.Units[0].ID)) // of a unit that was destroyed lawfully: here its bytes will do
		if err := a.update(nil, func(t *tx) error {
			for _, r := range x.rows {
				if err := t.delete(r.bucket, r.key); err != nil {
					return err
				}
			}
			for _, o := range x.objects {
				if err := t.put(bktTomb, []byte(o.Object), []byte(id)); err != nil {
					return err
				}
			}
			if err := a.dropBlobs(t, []*doomed{x}, now()); err != nil {
				return err
			}
			return t.put(bktTomb, []byte(id), stone)
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.deleteUnused(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Unit(id); err == nil {
			t.Fatal("still there")
		} else {
			t.Log(err)
		}
		if !found(a) {
			t.Error("audit and fsck do not find that a unit was removed and a tombstone put in its place")
		}
	})
}

func TestHoldComesDownInSpiteOfPreventInheritance(t *testing.T) {
	ctx := context.Background()
	a := accepting(t)
	top := deposit(t, a, NewUnit{Parent: -1, Title: "folder"}).Units[0].ID
	_ = top
	doc := strings.Replace(simple("", "abc"), `<ArchiveUnit id="u">`, `<ArchiveUnit id="top"><Content><DescriptionLevel>RecordGrp</DescriptionLevel><Title>Dossier</Title></Content><ArchiveUnit id="u"><Management><HoldRule><PreventInheritance>true</PreventInheritance></HoldRule></Management>`, 1)
	doc = strings.Replace(doc, `</ArchiveUnit></DescriptiveMetadata>`, `</ArchiveUnit></ArchiveUnit></DescriptiveMetadata>`, 1)
	out, err := a.DepositTransfer(ctx, "test", Transfer{Package: packageOf(t, doc)})
	if err != nil {
		t.Fatal(err, out.Findings.List)
	}
	var folder, below string
	for _, u := range unitsOf(t, a, out) {
		if u.Title == "Dossier" {
			folder = u.ID
		} else {
			below = u.ID
		}
	}
	if _, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{folder}, Reason: "court"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{folder, below} {
		r, err := a.Retention(id, "2026-01-01")
		if err != nil {
			t.Fatal(err)
		}
		held := false
		for _, why := range r.Assessment.Reasons {
			held = held || why.Code == retention.Held
		}
		if !held {
			t.Errorf("%s is not held: %+v", r.Title, r.Assessment)
		}
	}
}

func TestDestroyWithOffersDown(t *testing.T) {
	for _, both := range []bool{true, false} {
		dir := createEdited(t, nil)
		a := reopened(t, dir)
		d := deposit(t, a, digital("goes", planted), digital("stays", "s"))
		a.Close()
		away := t.TempDir()
		mv := func(name string, back bool) {
			x, y := filepath.Join(dir, "offers", name), filepath.Join(away, name)
			if back {
				x, y = y, x
			}
			if err := os.Rename(x, y); err != nil {
				t.Fatal(err)
			}
		}
		names := []string{"second"}
		if both {
			names = append(names, "first")
		}
		for _, n := range names {
			mv(n, false)
		}
		a = reopened(t, dir)
		err := destroyUnits(t, a, d.Units[0].ID)
		t.Logf("both down %v: destroying: %v", both, err)
		a.Close()
		for _, n := range names {
			mv(n, true)
		}
		for _, n := range []string{"first", "second"} {
			from := RebuildFrom{Dir: filepath.Join(t.TempDir(), "new"), Path: filepath.Join(dir, "offers", n), Root: filepath.Join(dir, "keys/root"), AcceptLoss: true}
			if _, err := Rebuild(context.Background(), from); err != nil {
				t.Errorf("both down %v: the catalogue is lost: from offer %s: %.200v", both, n, err)
			}
		}
	}
}

func TestSampleThroughAFolder(t *testing.T) {
	ctx := context.Background()
	a, _ := eliminating(t, 1)
	changeRules(t, a, []retention.Rule{{ID: "TIRAGE", Duration: retention.Duration{Count: 1, Unit: retention.Years}, FinalAction: retention.Sort, Sampling: &retention.Sampling{Letters: []string{"F"}}}})
	var units []NewUnit
	for i := range 4 {
		units = append(units, NewUnit{Parent: -1, Title: fmt.Sprint("File ", i), Rule: "TIRAGE", RuleStart: "2015-01-01"})
		top := len(units) - 1
		units = append(units, NewUnit{Parent: top, Title: "Courrier"})
		doc := digital(fmt.Sprint("Document ", i), fmt.Sprint(i))
		doc.Parent, doc.Rule, doc.RuleStart = top+1, "TIRAGE", "2015-01-01"
		units = append(units, doc)
	}
	d := deposit(t, a, units...)
	s, err := a.Sample(ctx, "alice", SampleRequest{Rule: "TIRAGE", At: "2020-01-01", Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Candidates != 4 {
		t.Errorf("%d files are chosen among, want 4", s.Candidates)
	}
	for i := 0; i < len(units); i += 3 {
		if v, w := verdictOf(t, a, d.Units[i].ID, "2020-01-01"), verdictOf(t, a, d.Units[i+2].ID, "2020-01-01"); v != w {
			t.Errorf("the file is %q, the document in it is %q", v, w)
		}
	}
}

func TestStartOfARuleThatEndedForDeposits(t *testing.T) {
	ctx := context.Background()
	a, _ := eliminating(t, 1)
	r := retention.Rule{ID: "OLD", Duration: retention.Duration{Count: 1, Unit: retention.Years}, FinalAction: retention.Destroy}
	changeRules(t, a, []retention.Rule{r})
	u := digital("x", "x")
	u.Rule = "OLD"
	d := deposit(t, a, u)
	r.Until = "2020-12-31"
	changeRules(t, a, []retention.Rule{r})
	if _, err := a.Act(ctx, "alice", "", StartAct, ActText{Units: []string{d.Units[0].ID}, Rule: "OLD", Start: "2015-01-01", Reason: "r"}); err != nil {
		t.Error(err)
	}
}

func acceptingWithRoles(t *testing.T) *Archive {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "archive")
	if _, err := Create(dir, New{AcceptUnknown: acceptable}); err != nil {
		t.Fatal(err)
	}
	editConfig(t, dir, func(c string) string {
		return strings.Replace(c, "    accept-unknown:", "    roles: {archivist: [alice, dave], originating-agency: [bob], control-authority: [carol]}\n    accept-unknown:", 1)
	})
	a := reopened(t, dir)
	t.Cleanup(func() { a.Close() })
	return a
}

const zRule = `<Management><AppraisalRule><Rule>EXAMPLE-5Y</Rule><StartDate>2010-01-01</StartDate><FinalAction>Destroy</FinalAction></AppraisalRule></Management>`

// What a transfer said of a unit that was destroyed is not to be read any more, though other units
// of it stay; what it said of those, they say.
func TestManifestOfADestroyedTransfer(t *testing.T) {
	ctx := context.Background()
	a := acceptingWithRoles(t)
	goes := strings.Replace(simple(zRule, "abc"), "<Title>Titre</Title>", "<Title>"+planted+"</Title>", 1)
	stays := `<ArchiveUnit id="stays"><Content><DescriptionLevel>Item</DescriptionLevel><Title>Reste</Title></Content></ArchiveUnit>`
	for _, doc := range []string{goes, strings.Replace(goes, "</DescriptiveMetadata>", stays+"</DescriptiveMetadata>", 1)} {
		in, err := a.DepositTransfer(ctx, "test", Transfer{Package: packageOf(t, doc), Subject: planted})
		if err != nil {
			t.Fatal(err, in.Findings.List)
		}
		record, err := a.Unit(in.Operation)
		if err != nil {
			t.Fatal(err)
		}
		if b := mustJSON(record.Description); bytes.Contains(b, []byte(planted)) {
			t.Errorf("the record of the transfer says what its units are: %s", b)
		}
		said, err := a.Unit(record.SEDA.Messages)
		if err != nil || len(said.Objects) != 2 {
			t.Fatal(err, said)
		}
		mustSeal(t, a)
		if x := executeAll(t, a); x.Destroyed != 1 || len(x.Kept) != 0 {
			t.Fatalf("%+v", x)
		}
		var destroyed *DestroyedError
		if _, err := a.Unit(said.Unit); !errors.As(err, &destroyed) {
			t.Errorf("the manifest's record is still there: %v", err)
		}
		for _, o := range said.Objects {
			if _, _, err := a.Get(ctx, o.ID, io.Discard); !errors.As(err, &destroyed) {
				t.Errorf("%s is still there: %v", o.Filename, err)
			}
		}
		var left []string
		if err := a.UnitsOf(in.Receipt.Index, func(u DepositedUnit) error { left = append(left, u.ID); return nil }); err != nil {
			t.Error("units of the operation:", err)
		}
		if _, err := a.Unit(in.Operation); (err == nil) != (len(left) == 1) {
			t.Errorf("%d units are left, and of the record of the transfer: %v", len(left), err)
		}
		for _, id := range left { // its export has no need of the manifest
			exportTo(t, a, ExportRequest{IDs: []string{id}, Message: "ArchiveTransfer", Version: seda.V22, WithProof: true})
		}
	}
	if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%v %+v", err, r)
	}
}

func TestExportOfAnOperationInPart(t *testing.T) {
	ctx := context.Background()
	a, _ := eliminating(t, 1)
	u := digital("goes", "x")
	u.Rule, u.RuleStart = "EXAMPLE-5Y", "2010-01-01"
	d := deposit(t, a, u, digital("stays", "y"))
	if x := executeAll(t, a); x.Destroyed != 2 {
		t.Fatalf("%+v", x)
	}
	n := 0
	if err := a.UnitsOf(d.Receipt.Index, func(DepositedUnit) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("units of the operation: %d, %v", n, err)
	}
	err := a.cat.view(func(t *tx) error {
		e := &export{a: a, ctx: ctx, r: ExportRequest{IDs: []string{d.Operation}}, seen: map[string]int{}}
		return e.gather(t)
	})
	if err != nil {
		t.Error("export of the operation:", err)
	}
}

func TestRootSlotFaults(t *testing.T) {
	for _, op := range []durable.Op{durable.OpWrite, durable.OpSync} {
		for _, where := range []string{"/root", "/checkpoint"} {
			for nth := 1; nth < 5; nth++ {
				name := fmt.Sprint(op, where, nth)
				dir := createEdited(t, nil)
				f := &fault{op: op, where: where, nth: nth, err: syscall.EIO}
				a, err := Open(dir, Options{FS: durable.FS{Fault: f.ask}})
				if err != nil {
					t.Fatal(err)
				}
				d := deposit(t, a, digital("goes", "g"), digital("stays", "s"))
				f.armed.Store(true)
				err = destroyUnits(t, a, d.Units[0].ID)
				f.armed.Store(false)
				_, stays := a.Unit(d.Units[1].ID)
				again := depositOne(a)
				a.Close()
				a, err2 := Open(dir, Options{})
				if err2 != nil {
					t.Errorf("%s: %v, then reopening %v", name, err, err2)
					continue
				}
				var destroyed *DestroyedError
				_, gone := a.Unit(d.Units[0].ID)
				t.Logf("%s: destroying %.120v; other in the same process %v; deposit in it %v; reopened: destroyed %v", name, err, stays, again != nil, errors.As(gone, &destroyed))
				if _, err := a.Unit(d.Units[1].ID); err != nil {
					t.Error(name, err)
				}
				if err := destroyUnits(t, a, d.Units[1].ID); err != nil {
					t.Error(name, "destroying again:", err)
				}
				if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
					t.Errorf("%s: %+v %v", name, r.List, err)
				}
				a.Close()
			}
		}
	}
}

func depositOne(a *Archive) error {
	_, err := a.Deposit(context.Background(), "test", Deposit{Units: []NewUnit{digital("later", "l")}})
	return err
}

func TestCompactionMovesWhatIsDoomed(t *testing.T) {
	ctx := context.Background()
	a := packArchive(t)
	defer a.Close()
	units := manyUnits(60)
	d := deposit(t, a, units...)
	if err := destroyUnits(t, a, d.Units[0].ID); err != nil {
		t.Fatal(err)
	}
	var all []*doomed
	if err := a.cat.view(func(t *tx) error {
		x, err := a.doom(t, d.Units[1].ID, "test", 1, nil)
		all = append(all, x)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.destroy(ctx, "test", "archives", "test-destroyed", nil, all, func(t *tx) error { return a.stillDoomed(t, all) }); err != nil {
		if errors.Is(err, errChanged) {
			return
		}
		t.Fatal(err)
	}
	c, err := a.Compact(ctx)
	t.Logf("%+v %v", c, err)
	if c.Blobs == 0 {
		t.Error("the ciphertext of what was destroyed stays in its pack for ever")
	}
	mustFsck(t, a)
}

func TestTombstoneBirthday(t *testing.T) {
	ctx := context.Background()
	a, _ := eliminating(t, 1)
	r := retention.Rule{ID: "ENFANT", Duration: retention.Duration{Count: 10, Unit: retention.Years}, Trigger: "birthday-18", FinalAction: retention.Destroy}
	changeRules(t, a, []retention.Rule{r})
	u := digital("dossier", "x")
	u.Rule = "ENFANT"
	d := deposit(t, a, u)
	born := time.Date(1985, 5, 6, 0, 0, 0, 0, time.UTC)
	if _, err := a.Act(ctx, "alice", "", StartAct, ActText{Units: []string{d.Units[0].ID}, Rule: "ENFANT", Start: r.StartOf(born).Format(time.DateOnly), Reason: "acte de naissance"}); err != nil {
		t.Fatal(err)
	}
	executeAll(t, a)
	stone, _, err := a.Tombstone(d.Units[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(stone.Rules) == 1 && strings.HasSuffix(stone.Rules[0].Start, "-05-06") {
		t.Errorf("the tombstone says %+v: born on 1985-05-06", stone.Rules[0])
	}
}

var _ = filepath.Join

// A deposit below a unit that is destroyed before it is committed does not take place.
func TestDepositBelowWhatGoes(t *testing.T) {
	ctx := context.Background()
	a, d := eliminating(t, 1)
	parent := d.Units[0].ID
	u := digital("late", "x")
	open := u.Content.Open
	u.Content.Open = func() (io.ReadCloser, error) { // its parent was looked up by now
		if err := destroyUnits(t, a, parent); err != nil {
			t.Error(err)
		}
		return open()
	}
	if _, err := a.Deposit(ctx, "test", Deposit{Parents: []string{parent}, Units: []NewUnit{u}}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), parent) {
		t.Errorf("deposited below a unit that is not there: %v", err)
	}
	if _, err := a.Deposit(ctx, "test", Deposit{Units: []NewUnit{digital("other", "y")}}); err != nil {
		t.Error(err)
	}
	if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%v %+v", err, r)
	}
}

// Units that share an object go together, whichever of them a list names first.
func TestSharersGoTogether(t *testing.T) {
	ctx := context.Background()
	for range 5 { // identifiers are drawn
		a := acceptingWithRoles(t)
		doc := strings.Replace(simple(zRule, "abc"), "</DescriptiveMetadata>", `<ArchiveUnit id="other">`+zRule+`<Content><DescriptionLevel>Item</DescriptionLevel><Title>Aussi</Title></Content><DataObjectReference><DataObjectReferenceId>o</DataObjectReferenceId></DataObjectReference></ArchiveUnit></DescriptiveMetadata>`, 1)
		in, err := a.DepositTransfer(ctx, "test", Transfer{Package: packageOf(t, doc)})
		if err != nil {
			t.Fatal(err, in.Findings.List)
		}
		mustSeal(t, a)
		if x := executeAll(t, a); x.Destroyed != 2 || len(x.Kept) > 0 {
			t.Fatalf("%+v", x)
		}
	}
}

// Damage of one unit does not hide what else is due.
func TestDueBesideDamage(t *testing.T) {
	a, d := eliminating(t, 3)
	if err := a.cat.update(func(t *tx) error {
		v, err := t.get(bktUnit, unitKey(d.Units[1].ID, 1))
		if err != nil {
			return err
		}
		v = bytes.Clone(v)
		v[len(v)-1] ^= 1
		return t.put(bktUnit, unitKey(d.Units[1].ID, 1), v)
	}); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := a.Due(context.Background(), "", "2020-01-01", func(DueUnit) error { n++; return nil })
	var damage *DamagedError
	if n != 2 || !errors.As(err, &damage) {
		t.Errorf("%d units, %v", n, err)
	}
	if _, err := a.ProposeElimination(context.Background(), "alice", EliminationRequest{At: "2020-01-01"}); !errors.As(err, &damage) {
		t.Errorf("proposed in spite of damage: %v", err)
	}
}

func TestActForATenantThatIsNotThere(t *testing.T) {
	a, d := eliminating(t, 1)
	for _, kind := range []ActKind{HoldAct, StartAct, DerogationAct} {
		if _, err := a.Act(context.Background(), "alice", "nowhere", kind, ActText{Units: []string{d.Units[0].ID}, Reason: "r"}); err == nil || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// A request names its rules as they were when it was proposed.
func TestRulesOfARequest(t *testing.T) {
	a, _ := eliminating(t, 1)
	e := propose(t, a)
	before, err := a.Rules("")
	if err != nil {
		t.Fatal(err)
	}
	was, _ := before.Rule("EXAMPLE-5Y")
	changed := was.Rule
	changed.Name, changed.Basis = "another name", "another basis"
	changeRules(t, a, []retention.Rule{changed})
	now, err := a.Rules("")
	if err != nil {
		t.Fatal(err)
	}
	then, err := a.RulesAt("", e.Steps[0].Entry)
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := now.Rule("EXAMPLE-5Y"); r.Name != "another name" || r.Version != was.Version+1 {
		t.Errorf("now %+v", r)
	}
	if r, _ := then.Rule("EXAMPLE-5Y"); r.Name != was.Name || r.Basis != was.Basis || r.Version != was.Version {
		t.Errorf("then %+v", r)
	}
	if then.Digest() != before.Digest() {
		t.Error("the schedule of then is another")
	}
}
