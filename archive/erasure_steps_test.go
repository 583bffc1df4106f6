package archive

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"sae/retention"
)

// rawRequest is the row of a request as it lies in the catalogue.
func rawRequest(t *testing.T, a *Archive, id string) (row []byte) {
	t.Helper()
	if err := a.cat.view(func(t *tx) error {
		v, err := t.get(bktReq, []byte(id))
		row = bytes.Clone(v)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return row
}

// overOwn opens a file of a person whose retention is over.
func overOwn(t *testing.T, a *Archive, number, name string) (subject *Subject, file string, docs *Deposited) {
	t.Helper()
	subject, file, docs = openOwn(t, a, number, PersonData{FamilyName: name})
	if _, err := a.RecordEvent(context.Background(), "alice", EventRequest{File: number, Event: "decision", Day: "2015-03-07", Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	return subject, file, docs
}

// TestErasureNamesNoDay: neither the request nor its list keep in clear a day that a birth may give.
func TestErasureNamesNoDay(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer a.Close()
	s, file, _ := overOwn(t, a, "F-1", "Durand")
	late := digital("late", "l")
	late.Rule, late.RuleStart = "EXAMPLE-5Y", "2024-11-13"
	d := deposit(t, a, late)
	q, err := a.OpenRequest(ctx, "alice", NewRequest{Article: 17, Subject: s.ID, Units: []string{d.Units[0].ID}, Words: RequestWords{Who: "w", Wish: "w"}})
	if err == nil {
		_, err = a.IdentifyRequest(ctx, "alice", q.ID, "at the desk", false)
	}
	var an *Analysis
	if err == nil {
		_, an, err = a.AnalyseRequest(ctx, "alice", q.ID)
	}
	if err != nil || !slices.ContainsFunc(an.Findings, func(f ErasureFinding) bool {
		return f.Unit == d.Units[0].ID && f.Verdict == retention.EraseAt && f.Date == "2029-11-13"
	}) {
		t.Fatalf("%+v %v", an, err)
	}
	if q, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Partly, LegalBasis: "b"}); err != nil || q.Promised != "2029-11-13" {
		t.Fatalf("%+v %v", q, err)
	}
	if q = must(a.DataRequest(q.ID)); q.Promised != "2029-11-13" {
		t.Error("the day that was promised is forgotten:", q.Promised)
	}
	if all := must(a.DataRequests("")); len(all) != 1 || all[0].Promised != q.Promised {
		t.Errorf("%+v", all)
	}
	for agent, day := range map[string]string{"dave": q.Promised, "eve": ""} { // it is for those who have a role that reads
		r := a.As(agent, retention.ToRead)
		if all := must(r.Requests("")); len(all) != 1 || all[0].Promised != day {
			t.Errorf("%s: %+v", agent, all)
		}
		if b := mustJSON(must(r.Request(q.ID))); bytes.Contains(b, []byte(`"promised":"2029-11-13"`)) != (day != "") {
			t.Errorf("%s: %s", agent, b)
		}
	}
	if row := rawRequest(t, a, q.ID); bytes.Contains(row, []byte("2029-")) {
		t.Errorf("the request names the day in clear: %s", row)
	}
	e := must(a.Elimination(q.Erasure))
	for _, l := range e.Lines {
		if len(l.Due) > 4 {
			t.Errorf("the list of the erasure of %s names a day in clear: %+v", file, l)
		}
	}
}

// TestErasureOfRecordAlone: a person of whom no file is left any more can still have the record erased.
func TestErasureOfRecordAlone(t *testing.T) {
	ctx := context.Background()
	a, dir := citizens(t)
	defer func() { a.Close() }()
	s, err := a.NewSubject(ctx, "alice", "", PersonData{FamilyName: planted}, []FederatedID{franceConnect})
	if err != nil {
		t.Fatal(err)
	}
	q := decided(t, a, s.ID, Granted)
	out, err := a.ExecuteErasure(ctx, "dave", q.ID, nil)
	if err != nil || out.Destroyed != 0 || !slices.Equal(out.Subjects, []string{s.ID}) || !out.Words {
		t.Fatalf("%+v %v", out, err)
	}
	if _, err := a.FindSubject("", franceConnect); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
	mustFsck(t, a)
	a.Close()
	a = reopened(t, dir)
	notIn(t, dir, planted)
}

// TestErasureNeedsItsPersons: also what is left of an erasure is carried out by an archivist who did
// not decide.
func TestErasureNeedsItsPersons(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer a.Close()
	s, file, _ := overOwn(t, a, "F-1", "Durand")
	q := decided(t, a, s.ID, Granted)
	hold, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{file}, Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"dora", "bob", "nobody"} {
		if _, err := a.ExecuteErasure(ctx, who, q.ID, nil); err == nil {
			t.Error("carried out by", who)
		}
	}
	out, err := a.ExecuteErasure(ctx, "dave", q.ID, nil)
	if err != nil || len(out.Kept) != 3 || len(out.Subjects) != 0 || out.Words {
		t.Fatalf("%+v %v", out, err)
	}
	for _, who := range []string{"dora", "bob", "nobody"} {
		if _, err := a.ExecuteErasure(ctx, who, q.ID, nil); err == nil {
			t.Error("its rest was carried out by", who)
		}
	}
	if _, err := a.EndAct(ctx, "alice", hold.ID, "r"); err != nil {
		t.Fatal(err)
	}
	if again := decided(t, a, s.ID, Granted); again.Erasure == q.Erasure {
		t.Error("two requests have one erasure")
	}
}

// TestErasureAtOnce: two who carry out the same erasure at once record its end once.
func TestErasureAtOnce(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer a.Close()
	s, _, _ := overOwn(t, a, "F-1", "Durand")
	q := decided(t, a, s.ID, Granted)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { a.ExecuteErasure(ctx, "dave", q.ID, nil) }) // all but one may be refused
	}
	wg.Wait()
	q = must(a.DataRequest(q.ID))
	if n := len(q.Steps); n != 6 || q.Purged == 0 {
		t.Errorf("%d steps, words destroyed by %d: %+v", n, q.Purged, q.Steps)
	}
	if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
}

// TestErasureOfFailedDecision: what a decision, which failed, froze does not keep units from other
// lists when the request is refused or withdrawn then.
func TestErasureOfFailedDecision(t *testing.T) {
	ctx := context.Background()
	for name, end := range map[string]func(a *Archive, id string) error{
		"refused": func(a *Archive, id string) error {
			_, err := a.DecideRequest(ctx, "dora", id, Decision{Outcome: Denied, Grounds: []string{"12(5)"}, LegalBasis: "b"})
			return err
		},
		"withdrawn": func(a *Archive, id string) error {
			_, err := a.WithdrawRequest(ctx, "alice", id, "r")
			return err
		},
	} {
		a, dir := citizens(t)
		s, file, _ := overOwn(t, a, "F-1", "Durand")
		q, err := a.OpenRequest(ctx, "alice", NewRequest{Article: 17, Subject: s.ID, Words: RequestWords{Who: "w", Wish: "w"}})
		if err == nil {
			_, err = a.IdentifyRequest(ctx, "alice", q.ID, "m", false)
		}
		if err == nil {
			_, _, err = a.AnalyseRequest(ctx, "alice", q.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		steps := 0 // the list, the erasure's step, the request's
		a.cat.fault = func(at string) error {
			if at == "commit" {
				if steps++; steps == 3 {
					return errors.New("fault")
				}
			}
			return nil
		}
		if _, err := a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "b"}); err == nil {
			t.Fatal("it does not fail")
		}
		a.Close()
		a = reopened(t, dir)
		taken := func() (taken map[string]bool) {
			if err := a.cat.view(func(t *tx) (err error) { taken, err = a.listed(t); return err }); err != nil {
				t.Fatal(err)
			}
			return taken
		}
		if !taken()[file] {
			t.Fatal(name, "nothing is frozen: the test tests nothing")
		}
		if err := end(a, q.ID); err != nil {
			t.Fatal(name, err)
		}
		if len(taken()) != 0 {
			t.Errorf("%s: units stand in the list of an erasure that nobody can carry out", name)
		}
		if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
			t.Errorf("%s: %+v %v", name, r.List, err)
		}
		a.Close()
	}
}

// TestErasureWithdrawn: a withdrawal that ended half-way is not taken for an erasure that was carried
// out, and can be ended.
func TestErasureWithdrawn(t *testing.T) {
	ctx := context.Background()
	a, dir := citizens(t)
	defer func() { a.Close() }()
	s, file, _ := overOwn(t, a, "F-1", "Durand")
	q, err := a.OpenRequest(ctx, "alice", NewRequest{Article: 17, Subject: s.ID, Words: RequestWords{Who: "w", Wish: "w"}})
	if err == nil {
		_, err = a.IdentifyRequest(ctx, "alice", q.ID, "m", false)
	}
	if err == nil {
		_, _, err = a.AnalyseRequest(ctx, "alice", q.ID)
	}
	if err == nil {
		_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "b"})
	}
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	a.cat.fault = func(at string) error {
		if at == "commit" {
			if steps++; steps == 2 {
				return errors.New("fault")
			}
		}
		return nil
	}
	if _, err := a.WithdrawRequest(ctx, "alice", q.ID, "r"); err == nil {
		t.Fatal("it does not fail")
	}
	a.Close()
	a = reopened(t, dir)
	if q = must(a.DataRequest(q.ID)); q.State() != RequestDecided || must(a.Elimination(q.Erasure)).State() != Withdrawn {
		t.Fatalf("%+v", q)
	}
	if q, err = a.WithdrawRequest(ctx, "alice", q.ID, "r"); err != nil || q.State() != RequestWithdrawn {
		t.Fatal(q, err)
	}
	if e := must(a.Elimination(q.Erasure)); len(e.Steps) != 2 {
		t.Errorf("%+v", e.Steps)
	}
	if _, err := a.Unit(file); err != nil {
		t.Error(err)
	}

	// Answered, instead of withdrawn again.
	s2, file2, _ := overOwn(t, a, "F-2", "Dupont")
	q2 := decided(t, a, s2.ID, Granted)
	e := must(a.Elimination(q2.Erasure))
	if err := a.takeStep(ctx, "alice", e, Withdrawn, StepText{Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ExecuteErasure(ctx, "dave", q2.ID, nil); err == nil || !strings.Contains(err.Error(), "withdrawn") {
		t.Error("what was withdrawn was carried out:", err)
	}
	if _, err := a.Unit(file2); err != nil {
		t.Error(err)
	}
}

// TestErasureOfMerged: the record of a person that was found to be another's, too, stays with the files
// of that.
func TestErasureOfMerged(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer a.Close()
	s, file, _ := overOwn(t, a, "F-1", "Durand")
	other, _, _ := overOwn(t, a, "F-2", "Durant")
	q := decided(t, a, s.ID, Granted)
	if _, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{file}, Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ExecuteErasure(ctx, "dave", q.ID, nil); err != nil { // all is kept
		t.Fatal(err)
	}
	if _, err := a.SplitSubject(ctx, "alice", s.ID, SplitRequest{Files: []string{file}, Person: PersonData{FamilyName: "Durand"}, Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.MergeSubjects(ctx, "alice", s.ID, other.ID, "r"); err != nil {
		t.Fatal(err)
	}
	if out, err := a.ExecuteErasure(ctx, "dave", q.ID, nil); err != nil || len(out.Subjects) != 0 || out.Words {
		t.Errorf("%+v %v", out, err)
	}
	if _, err := a.Subject(s.ID); err != nil {
		t.Error(err)
	}
}
