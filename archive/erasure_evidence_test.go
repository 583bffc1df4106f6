package archive

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"sae/integrity"
	"sae/integrity/bundle"
	"sae/integrity/certificate"
	"sae/integrity/ers/bctest"
)

// erasedOne is an archive from which one of two persons was erased, and receipts from before.
func erasedOne(t *testing.T) (a *Archive, goes, stays *somebody, receipts []integrity.Receipt, erasure string) {
	t.Helper()
	a, _ = citizensOf(t)
	t.Cleanup(func() { a.Close() })
	take := func(title string) {
		receipts = append(receipts, deposit(t, a, digital(title, title)).Receipt)
	}
	take("first")
	goes = plant(t, a, "Zephirine", "Z-1931", "1931-02-03")
	take("second")
	mustSeal(t, a)
	stays = plant(t, a, "Melchior", "M-1942", "1942-05-06")
	take("third")
	mustSeal(t, a)
	erasure = eraseAll(t, a, goes).Elimination
	take("fourth")
	mustSeal(t, a)
	return a, goes, stays, receipts, erasure
}

// TestEvidenceAfterErasure: all that was not erased is proved as before, in the ledger and to its
// receipts, too; of what was erased its tombstone and its history are, and they tell nothing of the
// person.
func TestEvidenceAfterErasure(t *testing.T) {
	ctx := context.Background()
	a, goes, stays, receipts, _ := erasedOne(t)
	needles := needlesOf(goes)
	for v := range goes.values {
		needles[v] = v
	}
	o := bundle.Options{LedgerKey: a.LedgerKey()}
	proved := func(id string) (b []byte) {
		t.Helper()
		var out bytes.Buffer
		if err := a.Proof(ctx, id, &out); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		r, err := bundle.Verify(bytes.NewReader(out.Bytes()), int64(out.Len()), o)
		if err != nil || !r.Accepted(true) {
			t.Errorf("%s: %+v %v", id, slices.DeleteFunc(r.Checks, func(c integrity.Check) bool { return c.Status != integrity.Failed }), err)
		}
		return out.Bytes()
	}
	var units []string
	err := a.cat.view(func(t *tx) error {
		return t.eachUnit(func(r *unitRecord) error {
			if r.deposited().Time.IsZero() == false && !slices.Contains(units, r.Unit) {
				units = append(units, r.Unit)
			}
			return nil
		})
	})
	if err != nil || len(units) < 10 {
		t.Fatal(units, err)
	}
	for _, id := range append(slices.Clone(units), stays.all...) {
		proved(id)
	}
	for _, id := range goes.all {
		b := proved(id)
		grep(t, "the bundle of "+id, b, needles)
		revealed(b, func(out []byte) { grep(t, "the bundle of "+id+", decompressed", out, needles) })
		events, err := a.History(id)
		if err != nil || len(events) < 2 {
			t.Errorf("%s: %+v %v", id, events, err)
			continue
		}
		var kinds []integrity.Kind
		for _, e := range events {
			kinds = append(kinds, e.Entry.Kind)
		}
		came := slices.Contains([]integrity.Kind{integrity.Deposit, integrity.Subject}, kinds[0])
		if sealed, gone := slices.Index(kinds, integrity.Seal), slices.Index(kinds, integrity.Erased); !came || sealed < 0 || gone < sealed {
			t.Errorf("%s: %v", id, kinds)
		}
		grep(t, "the history of "+id, mustJSON(events), needles)
	}
	ledgerTells(t, a, needles)
	consistentWith(t, a, receipts)
	t.Run("BouncyCastle", func(t *testing.T) {
		accept, roots := bctest.Verifier(t), readFile(t, filepath.Join(a.dir, tsaCAFile))
		for _, id := range slices.Concat(stays.units, goes.all) {
			b, err := a.bundle(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range b.Proofs {
				r, err := p.Open()
				if err != nil {
					t.Fatal(err)
				}
				content, err := io.ReadAll(r)
				if err = firstOf(err, r.Close()); err != nil {
					t.Fatal(err)
				}
				if err := accept(p.Record, [][]byte{content, p.Salt[:]}, roots); err != nil {
					t.Errorf("%s: %v", p.ID, err)
				}
				if err := accept(p.Record, [][]byte{append(content, 'x'), p.Salt[:]}, roots); err == nil {
					t.Errorf("%s: accepted for another content", p.ID)
				}
			}
		}
	})
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ledgerTells looks for needles in every entry, item and checkpoint of the ledger.
func ledgerTells(t *testing.T, a *Archive, needles map[string]string) {
	t.Helper()
	var all bytes.Buffer
	err := a.cat.view(func(t *tx) error {
		for _, b := range []bucket{bktEntry, bktItem, bktLeaf, bktTomb, bktBatch} {
			if err := t.scan(b, nil, nil, func(_, v []byte) (bool, error) { all.Write(v); all.WriteByte(0); return true, nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !bytes.Contains(all.Bytes(), []byte(integrity.Erased)) {
		t.Fatal(err)
	}
	grep(t, "the ledger", all.Bytes(), needles)
}

// consistentWith wants each receipt's checkpoint to be one that the newest extends (C2SP tlog-checkpoint).
func consistentWith(t *testing.T, a *Archive, receipts []integrity.Receipt) {
	t.Helper()
	key, err := note.NewVerifier(a.LedgerKey())
	if err != nil {
		t.Fatal(err)
	}
	now, err := integrity.ParseCheckpoint(must(a.Checkpoint()), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range receipts {
		_, cp, err := r.Check(key)
		if err != nil {
			t.Error(err)
			continue
		}
		proof, _, _, err := a.ProveConsistency(cp.Size, now.Size)
		if err == nil {
			err = integrity.CheckConsistency(cp, now, proof)
		}
		if err != nil {
			t.Errorf("the receipt of entry %d: %v", r.Index, err)
		}
		if len(proof) > 0 {
			proof[0][0] ^= 1
			if integrity.CheckConsistency(cp, now, proof) == nil {
				t.Error("a changed proof is accepted")
			}
		}
	}
}

// certificateOf is the certificate of an erasure, as it is archived.
func certificateOf(t *testing.T, a *Archive, erasure string) []byte {
	t.Helper()
	ctx := context.Background()
	c, err := a.Certify(ctx, "dave", erasure, noPDF)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, _, err := a.Get(ctx, c.JSON, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestCertificateOfErasure: the certificate of an erasure names the article and the request, and tells
// nothing of the person; nobody changes it, nor makes one of an erasure that one person alone did.
func TestCertificateOfErasure(t *testing.T) {
	t.Parallel()
	a, goes, _, _, erasure := erasedOne(t)
	cert := certificateOf(t, a, erasure)
	o := bundle.Options{LedgerKey: a.LedgerKey()}
	e := must(a.Elimination(erasure))
	r, err := certificate.Verify(bytes.NewReader(cert), o)
	if err != nil || !r.Accepted(true) || r.Article != 17 || r.Request != e.Request || r.VisaEntry != e.Steps[0].Entry || int64(len(r.Units)) != e.Units {
		t.Fatalf("%+v %v", r, err)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "GDPR art. 17") || strings.Contains(text.String(), "elimination") {
		t.Errorf("%s %v", text.String(), err)
	}
	needles := needlesOf(goes)
	grep(t, "the certificate", cert, needles)
	mustSeal(t, a)
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
	attackCertificate(t, cert, o)
}

// TestCertificateOfBothProcedures: steps of an elimination are no steps of an erasure, nor is an
// erasure one that who decided carried out.
func TestCertificateOfBothProcedures(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer a.Close()
	s, _, _ := overOwn(t, a, "F-1", "Durand")
	other, _, _ := overOwn(t, a, "F-2", "Dupont")
	overOwn(t, a, "F-3", "Martin")
	erased := must(a.ExecuteErasure(ctx, "dave", decided(t, a, s.ID, Granted).ID, nil)).Elimination
	proposed, err := a.ProposeElimination(ctx, "alice", EliminationRequest{At: now().Format("2006-01-02")})
	if err != nil {
		t.Fatal(err)
	}

	q := decided(t, a, other.ID, Granted)
	alone := must(a.Elimination(q.Erasure))
	x := a.execution("dora", alone) // who decided; the archive refuses it elsewhere
	var order []string
	err = a.cat.view(func(t *tx) error {
		if _, err := x.find(t, func(string) (bool, error) { return false, nil }); err != nil {
			return err
		}
		order, err = x.order(ctx, t)
		return err
	})
	if err == nil {
		err = x.inChunks(ctx, order, x.chunk, nil)
	}
	if err == nil {
		err = x.end(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	mustSeal(t, a)

	written := func(e *Elimination) (out bytes.Buffer) {
		c := &certifying{a: a, e: e}
		if err := a.cat.view(c.gather); err != nil {
			t.Fatal(err)
		}
		if err := a.cat.view(func(t *tx) error { return c.write(t, &out) }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	good := must(a.Elimination(erased))
	mixed := *good
	mixed.Steps = append(slices.Clone(good.Steps), proposed.Steps[0])
	for what, c := range map[string]struct {
		e    *Elimination
		fine bool
	}{"as it is": {good, true}, "with a step of an elimination": {&mixed, false}, "by one person": {must(a.Elimination(alone.ID)), false}} {
		cert := written(c.e)
		r, err := certificate.Verify(&cert, bundle.Options{LedgerKey: a.LedgerKey()})
		if err != nil || r.Accepted(true) != c.fine {
			t.Errorf("%s: %+v %v", what, r.Checks, err)
		}
	}
}
