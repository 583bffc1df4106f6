package archive

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sae/integrity"
	"sae/retention"
	"sae/seda"
)

// sendAll sends a transfer and deposits its packages in another archive; it gives the replies.
func sendAll(t *testing.T, a, b *Archive, id string) (sent *SentTransfer, replies []ReplySource) {
	t.Helper()
	ctx := context.Background()
	var paths []string
	sent, err := a.SendTransfer(ctx, "alice", id, ExportRequest{Version: seda.V22}, func(name string, write func(Files) (*ExportOutcome, error)) error {
		path := filepath.Join(t.TempDir(), name+".zip")
		paths = append(paths, path)
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		z := zip.NewWriter(f)
		if _, err := write(ZipFiles{z, time.Now()}); err != nil {
			return err
		}
		return z.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		out, err := b.DepositTransfer(ctx, "test", Transfer{Package: openTransfer(t, path)})
		if err != nil {
			t.Fatalf("%v %+v", err, out)
		}
		var e integrity.Entry
		raw, err := b.Entry(out.Receipt.Index)
		if err == nil {
			e, err = integrity.ParseEntry(raw)
		}
		var d integrity.DepositDetail
		if err == nil {
			err = e.ReadDetail(integrity.Deposit, &d)
		}
		proposed, _ := a.Elimination(id)
		if err != nil || d.From.Entry != proposed.Steps[0].Entry || d.From.Ledger != a.LedgerKey() {
			t.Errorf("%+v %v: it does not refer to the ledger that the units come from", d, err)
		}
		replies = append(replies, ReplySource{filepath.Base(path), reply(t, out)})
	}
	return sent, replies
}

// TestTransferGoesOn transfers units that came by SEDA and units that did not, fails while it
// destroys them, and goes on from there without the replies.
func TestTransferGoesOn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a, _ := eliminating(t, 1)
	keep := `<Management><AppraisalRule><Rule>EXAMPLE-5Y</Rule><StartDate>2010-01-01</StartDate><FinalAction>Keep</FinalAction></AppraisalRule></Management>`
	in, err := a.DepositTransfer(ctx, "test", Transfer{Package: packageOf(t, simple(keep, "abc"))})
	if err != nil {
		t.Fatal(err)
	}
	byMessage := unitsOf(t, a, in)[0].ID
	rules, err := retention.ParseYAML([]byte("rules:\n  - id: KEEP-1Y\n    name: kept\n    duration: P1Y\n    final-action: Keep\n    status: to confirm\n"))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := a.PlanRules(ctx, "", rules, false)
	if err == nil {
		_, err = a.ChangeRules(ctx, "alice", plan)
	}
	if err != nil {
		t.Fatal(err)
	}
	units := []NewUnit{{Parent: -1, Title: "top", Rule: "KEEP-1Y", RuleStart: "2010-01-01"}}
	for i := range executeChunk + 20 {
		u := digital(fmt.Sprint("document ", i), fmt.Sprint(i))
		u.Parent = 0
		units = append(units, u)
	}
	d := deposit(t, a, units...)
	for i, u := range []DepositedUnit{d.Units[1], unitsOf(t, a, in)[0]} {
		convert(t, a, u, "BinaryMaster", pdf(fmt.Sprint("in another format ", i)))
	}
	mustSeal(t, a)
	e, err := a.ProposeElimination(ctx, "alice", EliminationRequest{Kind: ForTransfer, To: "AD", At: "2020-01-01"})
	if err != nil || e.Units != int64(len(units))+1 {
		t.Fatalf("%+v %v", e, err)
	}
	b := accepting(t)
	sent, replies := sendAll(t, a, b, e.ID)
	if len(sent.Packages) != 2 || len(sent.Left) != 0 {
		t.Fatalf("%+v", sent)
	}
	// The second archive calls itself what the message says.
	if _, err := a.AcknowledgeTransfer(ctx, "dave", e.ID, replies[:1], false, nil); !errors.Is(err, ErrRefused) {
		t.Error("a package without reply:", err)
	}
	for i, wrong := range []string{strings.Replace(string(replies[0].Data), "<SystemId>", "<SystemId/><!--", 1), strings.ReplaceAll(string(replies[1].Data), "SHA-256", "SHA-512"), "", "<a/>"} {
		if _, err := a.AcknowledgeTransfer(ctx, "dave", e.ID, []ReplySource{replies[1-i%2], {"wrong", []byte(wrong)}}, false, nil); !errors.Is(err, ErrRefused) {
			t.Error(i, "a wrong reply:", err)
		}
	}
	commits := 0
	a.cat.fault = func(at string) error {
		if at == "commit" {
			if commits++; commits == 4 { // acknowledged, a manifest, 500 units, and no more
				return errors.New("fault")
			}
		}
		return nil
	}
	if x, err := a.AcknowledgeTransfer(ctx, "dave", e.ID, replies, false, nil); err == nil || x.Destroyed != executeChunk {
		t.Fatalf("%+v %v", x, err)
	}
	a.Close()
	a = reopened(t, a.dir)
	defer a.Close()
	if _, err := a.StepElimination(ctx, "alice", e.ID, Withdrawn, StepText{Reason: "no more"}); err == nil {
		t.Error("what was begun was withdrawn")
	}
	x, err := a.AcknowledgeTransfer(ctx, "dave", e.ID, nil, false, nil)
	if err != nil || x.Destroyed != e.Units || len(x.Kept) != 0 {
		t.Fatalf("%+v %v", x, err)
	}
	for _, id := range []string{byMessage, d.Units[0].ID, d.Units[7].ID} {
		_, err := a.Unit(id)
		var gone *DestroyedError
		if !errors.As(err, &gone) || gone.Moved == nil || gone.Moved.Archive != "AD" {
			t.Fatalf("%s: %v", id, err)
		}
		if u, err := b.Unit(gone.Moved.Unit); err != nil {
			t.Errorf("%s is not %s there: %v", id, gone.Moved.Unit, err)
		} else if id == byMessage && u.Title != "Titre" || id == d.Units[7].ID && u.Title != "document 6" {
			t.Errorf("%s is %q there", id, u.Title)
		}
	}
	mustSeal(t, a)
	if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
	mustFsck(t, a)
	if err := a.Proof(ctx, byMessage, &bytes.Buffer{}); err != nil {
		t.Error(err)
	}
}

// TestTransferLeavesRest: what the other archive refused stays, and can be proposed again; what
// changed between sending and the reply stays, too.
func TestTransferLeavesRest(t *testing.T) {
	ctx := context.Background()
	a, _ := eliminating(t, 1)
	keep := `<Management><AppraisalRule><Rule>EXAMPLE-5Y</Rule><StartDate>2010-01-01</StartDate><FinalAction>Keep</FinalAction></AppraisalRule></Management>`
	var units []string
	for range 3 {
		in, err := a.DepositTransfer(ctx, "test", Transfer{Package: packageOf(t, simple(keep, "abc"))})
		if err != nil {
			t.Fatal(err)
		}
		units = append(units, unitsOf(t, a, in)[0].ID)
	}
	mustSeal(t, a)
	e, err := a.ProposeElimination(ctx, "alice", EliminationRequest{Kind: ForTransfer, To: "AD", At: "2020-01-01"})
	if err != nil {
		t.Fatal(err)
	}
	b := accepting(t)
	sent, replies := sendAll(t, a, b, e.ID)
	index := map[string]int{}
	for i, p := range sent.Packages {
		for _, id := range units {
			if u, err := a.Unit(id); err == nil && u.Operation == p.Operation {
				index[id] = i
			}
		}
	}
	if _, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: units[:1], Reason: "litigation"}); err != nil {
		t.Fatal(err)
	}
	given := []ReplySource{replies[index[units[0]]], replies[index[units[1]]], {"refused", bytes.Replace(replies[index[units[2]]].Data, []byte("<ReplyCode>WARNING"), []byte("<ReplyCode>KO"), 1)}}
	if _, err := a.AcknowledgeTransfer(ctx, "dave", e.ID, given, false, nil); !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	x, err := a.AcknowledgeTransfer(ctx, "dave", e.ID, given, true, nil)
	if err != nil || x.Destroyed != 1 || len(x.Kept) != 2 {
		t.Fatalf("%+v %v", x, err)
	}
	reasons := map[string]string{}
	for _, k := range x.Kept {
		reasons[k.Unit] = k.Reason
	}
	if reasons[units[0]] != keptUnfit || reasons[units[2]] != keptHere {
		t.Errorf("%+v", reasons)
	}
	if _, err := a.Unit(units[1]); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	again, err := a.ProposeElimination(ctx, "alice", EliminationRequest{Kind: ForTransfer, To: "AD", At: "2020-01-01"})
	if err != nil || again.Units != 1 {
		t.Errorf("%+v %v", again, err)
	}
	if b, err := json.Marshal(again); err != nil || !bytes.Contains(b, []byte(`"kind":"transfer"`)) {
		t.Errorf("%s %v", b, err)
	}
}
