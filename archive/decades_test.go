package archive

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sae/retention"
)

// TestAFileThroughTheYears: a file is opened, decided on, closed, reopened and closed again; its
// retention runs from what counts; an erasure that is asked for too early is promised for its day, named
// when it has come, and carried out.
func TestAFileThroughTheYears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		a, _ := citizens(t)
		defer func() { a.Close() }()
		year := func(n int) { time.Sleep(time.Until(now().AddDate(n, 0, 0))) }
		today := func() string { return now().Format(time.DateOnly) }
		s, file, _ := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin"})
		due := func() string { return must(a.Retention(file, today())).Assessment.Due }
		if due() != "" {
			t.Errorf("a file without event is due on %s", due())
		}
		year(1)
		first := today()
		must(a.RecordEvent(ctx, "alice", EventRequest{File: "F-1", Event: "decision"}))
		if want := now().AddDate(2, 0, 0).Format(time.DateOnly); due() != want {
			t.Errorf("due %s, want %s", due(), want)
		}
		year(1)
		must(a.RecordEvent(ctx, "alice", EventRequest{File: "F-1", Event: "decision"})) // the last counts
		must(a.RecordEvent(ctx, "alice", EventRequest{File: "F-1", Event: "decision", Day: first}))
		last := now().AddDate(2, 0, 0).Format(time.DateOnly)
		if due() != last {
			t.Errorf("due %s, want %s", due(), last)
		}
		must(a.CloseFile(ctx, "alice", EventRequest{File: "F-1"}))
		form := digital("late", "late")
		form.Document = "form"
		_, err := a.Deposit(ctx, "alice", Deposit{File: "F-1", Units: []NewUnit{form}})
		refusedFor(t, err, "is closed: reopen it first")
		must(a.ReopenFile(ctx, "alice", EventRequest{File: "F-1", Reason: "recours"}))
		must(a.Deposit(ctx, "alice", Deposit{File: "F-1", Units: []NewUnit{form}}))
		must(a.CloseFile(ctx, "alice", EventRequest{File: "F-1"}))

		q := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 17, Subject: s.ID}))
		must(a.IdentifyRequest(ctx, "alice", q.ID, "at the desk", false))
		_, an, err := a.AnalyseRequest(ctx, "alice", q.ID)
		if err != nil || len(an.Findings) != 4 {
			t.Fatalf("%+v %v", an, err)
		}
		for _, f := range an.Findings {
			if f.Verdict != retention.EraseAt || f.Date != last || f.Ground != "17(3)(b)" {
				t.Errorf("%+v", f)
			}
		}
		must(a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Denied, Grounds: []string{"17(3)(b)"}, LegalBasis: "its retention runs"}))
		must(a.AnswerRequest(ctx, "dora", q.ID, "", ""))

		year(2)
		found := map[GDPRCode]int{}
		if err := a.CheckGDPR(ctx, "", func(f GDPRFinding) error { found[f.Code]++; return nil }); err != nil {
			t.Fatal(err)
		}
		if found[GDPRPromised] != 1 || found[GDPRPastDue] != 4 {
			t.Errorf("%+v", found)
		}
		promises := func(q *Request) (n int) {
			err := a.cat.view(func(t *tx) error {
				return a.checkRequestGDPR(ctx, t, q, now().Format(time.DateOnly), func(f GDPRFinding) error {
					if f.Code == GDPRPromised {
						n++
					}
					return nil
				})
			})
			if err != nil {
				t.Error(err)
			}
			return n
		}
		q = must(a.DataRequest(q.ID))
		withdrawn := *q
		withdrawn.Steps = append(slices.Clone(q.Steps), RequestStepTaken{Step: RequestWithdrawn})
		if promises(q) != 1 || promises(&withdrawn) != 0 {
			t.Error("a promise stands when the person does not ask any more, or does not stand")
		}
		out, err := a.ExecuteErasure(ctx, "dave", decided(t, a, s.ID, Granted).ID, nil)
		if err != nil || out.Destroyed != 4 || len(out.Subjects) != 1 || !out.Words {
			t.Errorf("%+v %v", out, err)
		}
		mustSeal(t, a)
		year(1)
		mustAudit(t, a)
	})
}
