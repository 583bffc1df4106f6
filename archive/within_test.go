package archive

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"sae/archive/procedure"
	"sae/integrity"
	"sae/retention"
	"sae/seda"
)

// theirs is what another tenant has.
type theirs struct {
	unit, object, operation, subject, file, act, event, elimination, request, key, secret, job string
	entry                                                                                      int64
}

// twoTenants is an archive with a second tenant, which has one of everything; its view and that of the
// first.
func twoTenants(t *testing.T) (a, mine, other *Archive, x theirs) {
	t.Helper()
	ctx := context.Background()
	a = newArchive(t, func(c string) string {
		c = strings.Replace(c, "    accept-unknown:", gdprRoles, 1)
		return strings.Replace(c, "\noffers:", "\n  - {id: other, name: Other, agreements: [{id: general, name: General}], roles: {archivist: [alice, dave], data-protection-officer: [dora], originating-agency: [bob]}}\noffers:", 1)
	})
	mine, err := a.Within("")
	if err == nil {
		other, err = a.Within("other")
	}
	if err != nil {
		t.Fatal(err)
	}
	rules, err := retention.Starting()
	for _, v := range []*Archive{mine, other} {
		var plan *RulesPlan
		if err == nil {
			plan, err = v.PlanRules(ctx, "", rules, false)
		}
		if err == nil {
			_, err = v.ChangeRules(ctx, "alice", plan)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	x.fill(t, other)
	return a, mine, other, x
}

// fill makes one of everything, by the view of its tenant.
func (x *theirs) fill(t *testing.T, v *Archive) {
	t.Helper()
	ctx := context.Background()
	s, file, docs := openOwn(t, v, "2026/1", PersonData{FamilyName: "Martin", GivenNames: "Claire"}, franceConnect)
	x.subject, x.file, x.unit, x.object, x.operation, x.entry = s.ID, file, docs.Units[0].ID, docs.Units[0].Objects[0].ID, docs.Operation, docs.Receipt.Index
	hold, err := v.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{x.unit}, Rule: "", Reason: "court"})
	if err != nil {
		t.Fatal(err)
	}
	event, err := v.RecordEvent(ctx, "alice", EventRequest{File: file, Event: "decision", Day: "2026-01-02"})
	if err != nil {
		t.Fatal(err)
	}
	old := digital("old", "old")
	old.Rule, old.RuleStart = "AIDE-REFUSEE", "2000-01-01"
	deposit(t, v, old)
	e, err := v.ProposeElimination(ctx, "alice", EliminationRequest{At: "2026-01-01", Reason: "every year"})
	if err != nil {
		t.Fatal(err)
	}
	q, err := v.OpenRequest(ctx, "alice", NewRequest{Article: 17, Subject: s.ID, Words: RequestWords{Who: "Claire Martin", Wish: "all"}})
	if err != nil {
		t.Fatal(err)
	}
	k, secret, err := v.CreateAPIKey(ctx, "alice", NewAPIKey{Name: "gru", Roles: []Role{Depositor}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := v.SpoolBody(strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := v.AcceptJob(NewJob{ID: NewJobID(), Kind: "deposit", JobRequest: JobRequest{Agent: "alice", Key: "k"}}, b)
	if err != nil {
		t.Fatal(err)
	}
	x.job = j.ID
	x.act, x.event, x.elimination, x.request, x.key, x.secret = hold.ID, event.ID, e.ID, q.ID, k.ID, secret
}

// refusedWithin are the methods that take an identifier: given one of another tenant's, they answer as
// if it did not exist.
func refusedWithin(v *Archive, x theirs) map[string]func() error {
	ctx := context.Background()
	who := "alice"
	day := "2026-02-01"
	r := v.As(who, retention.ToRead)
	return map[string]func() error{
		"ActOf":      func() error { _, err := v.ActOf(x.act); return err },
		"EndAct":     func() error { _, err := v.EndAct(ctx, who, x.act, "over"); return err },
		"ReviewHold": func() error { _, err := v.ReviewHold(ctx, who, x.act, "2030-01-01", "again"); return err },
		"Act": func() error {
			_, err := v.Act(ctx, who, "", HoldAct, ActText{Units: []string{x.unit}, Reason: "x"})
			return err
		},
		"APIKeyOf":     func() error { _, err := v.APIKeyOf(x.secret); return err },
		"RevokeAPIKey": func() error { _, err := v.RevokeAPIKey(ctx, who, "", x.key); return err },

		"CertificateOf":   func() error { _, err := v.CertificateOf(x.elimination); return err },
		"Certify":         func() error { _, err := v.Certify(ctx, who, x.elimination, nil); return err },
		"Elimination":     func() error { _, err := v.Elimination(x.elimination); return err },
		"EachListed":      func() error { return v.EachListed(ctx, x.elimination, func(ListedUnit) error { return nil }) },
		"StepElimination": func() error { _, err := v.StepElimination(ctx, "bob", x.elimination, Agreed, StepText{}); return err },
		"EliminationMessage": func() error {
			_, err := v.EliminationMessage(x.elimination, MessageRequest{Kind: "originating-agency"})
			return err
		},
		"ReplyToElimination":  func() error { _, err := v.ReplyToElimination(ctx, "bob", x.elimination, &seda.Message{}); return err },
		"ExecuteElimination":  func() error { _, err := v.ExecuteElimination(ctx, who, x.elimination, "due", nil); return err },
		"SendTransfer":        func() error { _, err := v.SendTransfer(ctx, who, x.elimination, ExportRequest{}, nil); return err },
		"AcknowledgeTransfer": func() error { _, err := v.AcknowledgeTransfer(ctx, who, x.elimination, nil, false, nil); return err },

		"DataRequest":     func() error { _, err := v.DataRequest(x.request); return err },
		"IdentifyRequest": func() error { _, err := v.IdentifyRequest(ctx, who, x.request, "desk", false); return err },
		"ExtendRequest":   func() error { _, err := v.ExtendRequest(ctx, who, x.request, 1, "many"); return err },
		"WithdrawRequest": func() error { _, err := v.WithdrawRequest(ctx, who, x.request, "no"); return err },
		"AnswerRequest":   func() error { _, err := v.AnswerRequest(ctx, "dora", x.request, "", ""); return err },
		"DecideRequest": func() error {
			_, err := v.DecideRequest(ctx, "dora", x.request, Decision{Outcome: "refused"})
			return err
		},
		"AnalyseRequest": func() error { _, _, err := v.AnalyseRequest(ctx, who, x.request); return err },
		"ExecuteErasure": func() error { _, err := v.ExecuteErasure(ctx, "dora", x.request, nil); return err },
		"PurgeRequest":   func() error { _, err := v.PurgeRequest(ctx, "dora", x.request); return err },
		"EndExecution":   func() error { _, err := v.EndExecution(ctx, "dora", x.request, "done"); return err },
		"ExecuteRectification": func() error {
			_, err := v.ExecuteRectification(ctx, who, x.request, Rectified{Unit: x.unit})
			return err
		},
		"ExecuteSubjectRectification": func() error {
			_, err := v.ExecuteSubjectRectification(ctx, who, x.request, PersonData{FamilyName: "M"}, "x")
			return err
		},
		"ExecuteRestriction": func() error { _, err := v.ExecuteRestriction(ctx, who, x.request, nil, "x"); return err },
		"OpenRequest": func() error {
			_, err := v.OpenRequest(ctx, who, NewRequest{Article: 15, Subject: x.subject, Words: RequestWords{Who: "x"}})
			return err
		},

		"AsOf":        func() error { _, err := v.AsOf(x.act); return err },
		"IfAsOf":      func() error { _, err := v.IfAsOf(ctx, x.elimination, []string{"1"}); return err },
		"MayExecute":  func() error { return v.MayExecute(who, x.elimination, "due") },
		"MayErase":    func() error { return v.MayErase("dora", x.request) },
		"Unit":        func() error { _, err := v.Unit(x.unit); return err },
		"UnitVersion": func() error { _, err := v.UnitVersion(x.file, 1); return err },
		"Object":      func() error { _, err := v.Object(x.object); return err },
		"Resolve":     func() error { _, err := v.Resolve(x.unit); return err },
		"OpenObject":  func() error { _, err := v.OpenObject(ctx, x.object); return err },
		"Get":         func() error { _, _, err := v.Get(ctx, x.object, io.Discard); return err },
		"History":     func() error { _, err := v.History(x.unit); return err },
		"Proof":       func() error { return v.Proof(ctx, x.unit, io.Discard) },
		"Retention":   func() error { _, err := v.Retention(x.unit, day); return err },
		"Tombstone":   func() error { _, _, err := v.Tombstone(x.unit); return err },
		"TenantOf":    func() error { _, err := v.TenantOf(x.object); return err },
		"UnitsOf":     func() error { return v.UnitsOf(x.entry, func(DepositedUnit) error { return nil }) },
		"Item":        func() error { _, err := v.Item(x.entry, 0); return err },
		"Export": func() error {
			_, err := v.Export(ctx, who, ExportRequest{IDs: []string{x.operation}, Message: "ArchiveDeliveryRequestReply"}, nil)
			return err
		},
		"Convert":        func() error { _, err := v.Convert(ctx, who, ConversionRequest{Unit: x.unit, Reason: "x"}); return err },
		"ConversionText": func() error { _, _, err := v.ConversionText(x.operation); return err },
		"RunConverter": func() error {
			_, err := v.RunConverter(ctx, who, ConvertRun{Converter: "x", Units: []string{x.unit}, Reason: "x"})
			return err
		},
		"Deposit": func() error {
			_, err := v.Deposit(ctx, who, Deposit{Parents: []string{x.file}, Units: []NewUnit{digital("x", "x")}})
			return err
		},
		"Deposit into a file": func() error {
			_, err := v.Deposit(ctx, who, Deposit{File: x.file, Units: []NewUnit{digital("x", "x")}})
			return err
		},
		"Act that starts": func() error {
			_, err := v.Act(ctx, who, "", StartAct, ActText{Units: []string{x.unit}, Rule: "AIDE-REFUSEE", Day: "2020-01-01"})
			return err
		},
		"Reader.Files of a person": func() error {
			p, err := r.Files(FileFilter{Person: x.subject})
			if err == nil && len(p.Files) == 0 {
				err = ErrNotFound // none of his
			}
			return err
		},

		"Job":         func() error { _, err := v.Job(x.job); return err },
		"StartJob":    func() error { _, err := v.StartJob(x.job); return err },
		"CancelJob":   func() error { _, err := v.CancelJob(x.job); return err },
		"LoseJob":     func() error { return v.LoseJob(x.job) },
		"JobKey":      func() error { _, _, _, _, err := v.JobKey(x.job); return err },
		"CompleteJob": func() error { _, _, err := v.CompleteJob(x.job, nil); return err },
		"JobAnswer":   func() error { _, err := v.JobAnswer(x.job); return err },
		"OpenUpload":  func() error { _, err := v.OpenUpload(x.job); return err },
		"DropUpload":  func() error { return v.DropUpload(x.job) },

		"Subject":     func() error { _, err := v.Subject(x.subject); return err },
		"FindSubject": func() error { _, err := v.FindSubject("", franceConnect); return err },
		"LinkIdentity": func() error {
			_, err := v.LinkIdentity(ctx, who, x.subject, FederatedID{"https://b.example", "1"}, "x")
			return err
		},
		"UnlinkIdentity": func() error { _, err := v.UnlinkIdentity(ctx, who, x.subject, franceConnect, "x"); return err },
		"MergeSubjects":  func() error { _, err := v.MergeSubjects(ctx, who, x.subject, x.subject, "x"); return err },
		"SplitSubject": func() error {
			_, err := v.SplitSubject(ctx, who, x.subject, SplitRequest{Merged: x.subject, Reason: "x"})
			return err
		},
		"RectifySubject": func() error {
			_, err := v.RectifySubject(ctx, who, x.subject, x.request, PersonData{FamilyName: "M"}, "x")
			return err
		},

		"OpenFile": func() error {
			_, err := v.OpenFile(ctx, who, NewFile{Procedure: "OWN", Persons: []string{x.subject}})
			return err
		},
		"FileOf":       func() error { _, err := v.FileOf("", "2026/1"); return err },
		"FileOfPerson": func() error { _, err := v.FileOfPerson("", "OWN", franceConnect); return err },
		"RecordEvent": func() error {
			_, err := v.RecordEvent(ctx, who, EventRequest{File: x.file, Event: "decision", Day: "2026-01-02"})
			return err
		},
		"CloseFile": func() error { _, err := v.CloseFile(ctx, who, EventRequest{File: x.file, Day: day}); return err },
		"ReopenFile": func() error {
			_, err := v.ReopenFile(ctx, who, EventRequest{File: x.file, Day: day, Reason: "x"})
			return err
		},
		"TakeBackEvent": func() error { _, err := v.TakeBackEvent(ctx, who, x.event, "x"); return err },
		"Procedure":     func() error { _, err := v.Procedure("", "OWN"); return err },

		"Reader.Explain":    func() error { _, err := r.Explain(x.unit, day); return err },
		"Reader.Unit":       func() error { _, err := r.Unit(x.unit, 0); return err },
		"Reader.Retention":  func() error { _, err := r.Retention(x.unit, day); return err },
		"Reader.EachListed": func() error { return r.EachListed(ctx, x.elimination, func(ListedUnit) error { return nil }) },
		"Reader.Act":        func() error { _, err := r.Act(x.act); return err },
		"Reader.Get":        func() error { _, _, err := r.Get(ctx, x.object, io.Discard); return err },
		"Reader.OpenObject": func() error { _, _, err := r.OpenObject(ctx, x.object); return err },
		"Reader.Proof":      func() error { return r.Proof(ctx, x.object, io.Discard) },
		"Reader.Export": func() error {
			_, err := r.Export(ctx, ExportRequest{IDs: []string{x.unit}, Message: "ArchiveDeliveryRequestReply"}, nil)
			return err
		},
		"Reader.MayHandOver":   func() error { return r.MayHandOver([]string{x.unit}) },
		"Reader.ExecuteAccess": func() error { _, err := r.ExecuteAccess(ctx, x.request, nil, nil); return err },
		"Reader.LetterContext": func() error { _, err := r.LetterContext(ctx, x.request); return err },
		"Reader.Request":       func() error { _, err := r.Request(x.request); return err },
		"Reader.Subject":       func() error { _, err := r.Subject(x.subject); return err },
		"Reader.FindSubject":   func() error { _, err := r.FindSubject("", franceConnect); return err },
		"Reader.File":          func() error { _, err := r.File("", x.file); return err },
	}
}

// tenantWithin are the methods that take a tenant, and no identifier: another one is not known, and
// what they give has nothing of another's.
func tenantWithin(v *Archive, other string) map[string]func() error {
	ctx := context.Background()
	r := v.As("alice", retention.ToRead)
	return map[string]func() error{
		"Within":  func() error { _, err := v.Within(other); return err },
		"Acts":    func() error { _, err := v.Acts(other, ""); return err },
		"APIKeys": func() error { _, err := v.APIKeys(other); return err },
		"CreateAPIKey": func() error {
			_, _, err := v.CreateAPIKey(ctx, "alice", NewAPIKey{Tenant: other, Name: "x", Roles: []Role{Depositor}, Expires: time.Now().Add(time.Hour)})
			return err
		},
		"PurgeAccessLog": func() error { _, err := v.PurgeAccessLog(ctx, "dora", other); return err },
		"ProposeElimination": func() error {
			_, err := v.ProposeElimination(ctx, "alice", EliminationRequest{At: "2026-01-01", Filter: Filter{Tenant: other}})
			return err
		},
		"Eliminations": func() error { _, err := v.Eliminations(other); return err },
		"Feed":         func() error { _, _, err := v.Feed(other, Cursor{}, 10); return err },
		"PersonsOf":    func() error { _, err := v.PersonsOf(other, "2026/1"); return err },
		"Risks":        func() error { _, err := v.Risks(other); return err },
		"Formats":      func() error { _, err := v.Formats(ctx, other, nil); return err },
		"CheckGDPR":    func() error { return v.CheckGDPR(ctx, other, func(GDPRFinding) error { return nil }) },
		"Register":     func() error { _, err := v.Register(ctx, other); return err },
		"GDPRSettings": func() error { _, err := v.GDPRSettings(other); return err },
		"List":         func() error { _, err := v.List(Filter{Tenant: other}); return err },
		"Once":         func() error { _, err := v.Once("alice", other, "k"); return err },
		"Jobs":         func() error { _, _, err := v.Jobs(JobFilter{Tenant: other, Limit: 10}); return err },
		"BeginJob":     func() error { _, _, err := v.BeginJob(NewJob{ID: NewJobID(), Tenant: other}); return err },
		"AcceptJob": func() error {
			b, err := v.SpoolBody(strings.NewReader("x"))
			if err == nil {
				_, _, err = v.AcceptJob(NewJob{ID: NewJobID(), Tenant: other}, b)
			}
			return err
		},
		"EachPaper":      func() error { return v.EachPaper(ctx, other, func(PaperUnit) error { return nil }) },
		"CheckProcedure": func() error { return v.CheckProcedure(other, &procedure.Procedure{}) },
		"AddProcedure":   func() error { _, err := v.AddProcedure(ctx, "alice", other, []byte(own)); return err },
		"Procedures":     func() error { _, err := v.Procedures(other); return err },
		"DataRequests":   func() error { _, err := v.DataRequests(other); return err },
		"Due":            func() error { return v.Due(ctx, other, "2026-01-01", func(DueUnit) error { return nil }) },
		"Calendar":       func() error { _, err := v.Calendar(ctx, other); return err },
		"Sample": func() error {
			_, err := v.Sample(ctx, "alice", SampleRequest{Tenant: other, Rule: "x", At: "2026-01-01"})
			return err
		},
		"Rules":       func() error { _, err := v.Rules(other); return err },
		"RulesAt":     func() error { _, err := v.RulesAt(other, 1); return err },
		"RuleHistory": func() error { _, err := v.RuleHistory(other, "x"); return err },
		"PlanRules":   func() error { _, err := v.PlanRules(ctx, other, nil, false); return err },
		"ChangeRules": func() error { _, err := v.ChangeRules(ctx, "alice", &RulesPlan{Tenant: other}); return err },
		"NoteRefused": func() error { return v.NoteRefused("alice", other, Noted{}) },
		"NoteDue":     func() error { _, err := v.NoteDue(ctx, other, 90); return err },
		"AddWebhook": func() error {
			_, _, err := v.AddWebhook(ctx, "alice", NewWebhook{Tenant: other, Name: "x", URL: "https://x.example/"})
			return err
		},
		"ChangeWebhook":   func() error { _, _, err := v.ChangeWebhook(ctx, "alice", other, "x", WebhookChange{}); return err },
		"RemoveWebhook":   func() error { return v.RemoveWebhook(ctx, "alice", other, "x") },
		"Webhooks":        func() error { _, err := v.Webhooks(other); return err },
		"WebhookOf":       func() error { _, err := v.WebhookOf(other, "x"); return err },
		"WebhookSecrets":  func() error { _, err := v.WebhookSecrets(other, "x"); return err },
		"HookGauge":       func() error { _, err := v.HookGauge(other, "x"); return err },
		"HookState":       func() error { _, err := v.HookState(other, "x"); return err },
		"MoveHook":        func() error { _, err := v.MoveHook(other, "x", 0, HookState{}, nil); return err },
		"DeadLetters":     func() error { return v.DeadLetters(other, "x", nil) },
		"DropLetter":      func() error { return v.DropLetter(other, "x", Cursor{}) },
		"KeepLetter":      func() error { return v.KeepLetter(other, "x", DeadLetter{}) },
		"ReplayLetters":   func() error { _, err := v.ReplayLetters(ctx, other, "x"); return err },
		"ReplayHook":      func() error { return v.ReplayHook(ctx, other, "x", Cursor{}) },
		"FilesOfPerson":   func() error { _, _, _, err := v.FilesOfPerson(other, "OWN", franceConnect); return err },
		"HoldingsOf":      func() error { _, _, err := v.HoldingsOf(other, ""); return err },
		"DepositTransfer": func() error { _, err := v.DepositTransfer(ctx, "alice", Transfer{Tenant: other}); return err },
		"Search":          func() error { _, err := v.Search(other, "form", 10); return err },
		"NewSubject": func() error {
			_, err := v.NewSubject(ctx, "alice", other, PersonData{FamilyName: "M"}, nil)
			return err
		},
		"Subjects": func() error { _, err := v.Subjects(other, PersonData{FamilyName: "Martin"}); return err },

		"Reader.List":         func() error { _, err := r.List(Filter{Tenant: other}); return err },
		"Reader.Search":       func() error { _, err := r.Search(other, "form", 10); return err },
		"Reader.Due":          func() error { return r.Due(ctx, other, "2026-01-01", func(DueUnit) error { return nil }) },
		"Reader.EachPaper":    func() error { return r.EachPaper(ctx, other, func(PaperUnit) error { return nil }) },
		"Reader.Acts":         func() error { _, err := r.Acts(other, ""); return err },
		"Reader.AccessLog":    func() error { return r.AccessLog(ctx, other, AccessFilter{}, func(Access) error { return nil }) },
		"Reader.Files":        func() error { _, err := r.Files(FileFilter{Tenant: other}); return err },
		"Reader.FormatUnits":  func() error { _, err := r.FormatUnits(ctx, other, "fmt/1", "", 10); return err },
		"Reader.Requests":     func() error { _, err := r.Requests(other); return err },
		"Reader.ListSubjects": func() error { _, err := r.ListSubjects(other, "", 10); return err },
		"Reader.Subjects":     func() error { _, err := r.Subjects(other, PersonData{FamilyName: "Martin"}); return err },
	}
}

// wideWithin are the methods that concern the archive as a whole.
func wideWithin(v *Archive) map[string]func() error {
	ctx := context.Background()
	return map[string]func() error{
		"Audit":           func() error { _, err := v.Audit(ctx, "alice", AuditOptions{}); return err },
		"HookGauges":      func() error { _, err := v.HookGauges(); return err },
		"ToTell":          func() error { _, err := v.ToTell(); return err },
		"RecoverJobs":     func() error { _, err := v.RecoverJobs(); return err },
		"ForgetJobs":      func() error { _, err := v.ForgetJobs(); return err },
		"Backup":          func() error { _, err := v.Backup(ctx, "alice", nil, BackupOptions{}); return err },
		"BackupInto":      func() error { _, err := v.BackupInto(ctx, "alice", nowhere, BackupOptions{}); return err },
		"LastBackup":      func() error { _, err := v.LastBackup(); return err },
		"Uploads":         func() error { _, err := v.Uploads(); return err },
		"Compact":         func() error { _, err := v.Compact(ctx); return err },
		"Escrow":          func() error { _, err := v.Escrow(ctx, "alice", "x"); return err },
		"Fsck":            func() error { _, err := v.Fsck(ctx); return err },
		"Gauges":          func() error { _, err := v.Gauges(); return err },
		"VerifyLedger":    func() error { _, err := v.VerifyLedger(false); return err },
		"AcceptLoss":      func() error { _, err := v.AcceptLoss(ctx, "alice", "x", "x"); return err },
		"ReplaceRoot":     func() error { return v.ReplaceRoot(ctx, "alice") },
		"RootStatus":      func() error { _, err := v.RootStatus(); return err },
		"ForgetNoted":     func() error { _, err := v.ForgetNoted(ctx); return err },
		"ForgetOnce":      func() error { _, err := v.ForgetOnce(ctx); return err },
		"RepairQueue":     func() error { _, err := v.RepairQueue(ctx, "alice"); return err },
		"AcceptRollback":  func() error { _, _, err := v.AcceptRollback(ctx, "alice", "x"); return err },
		"Scrub":           func() error { _, err := v.Scrub(ctx); return err },
		"Status":          func() error { _, err := v.Status(); return err },
		"Stats":           func() error { _, err := v.Stats(); return err },
		"SyncOffer":       func() error { _, err := v.SyncOffer(ctx, "alice", "x", SyncOptions{}); return err },
		"RecordOffer":     func() error { return v.RecordOffer(ctx, "alice", "x", "added") },
		"RemoveOffer":     func() error { return v.RemoveOffer(ctx, "alice", "x") },
		"ExportTiles":     func() error { _, err := v.ExportTiles(ctx, nowhere); return err },
		"VerifyAccessLog": func() error { _, err := v.VerifyAccessLog(); return err },
	}
}

const nowhere = "/nonexistent/tiles"

// openWithin are the methods that are open to a view, and why.
var openWithin = map[string]string{
	"As":               "gives a reader of the view",
	"Close":            "does nothing to a view",
	"Config":           "the configuration tells of no unit; the service needs it",
	"TenantName":       "the configuration's",
	"Converters":       "the configuration's",
	"EffectiveFrom":    "a time",
	"Ready":            "says whether the archive takes things in",
	"Pseudonym":        "a keyed hash of what is given",
	"JobID":            "a keyed hash of what is given",
	"SpoolBody":        "of nobody until a job is made of it",
	"StepWords":        "words of a step that was read before",
	"RequestWords":     "words of a request that was read before",
	"Checkpoint":       "the ledger names nobody",
	"Seal":             "what waits is sealed, whosever it is: certificates want it",
	"Counts":           "counts name nobody",
	"FeedEnd":          "a place",
	"FeedSince":        "a place",
	"Audits":           "what audits found names nobody",
	"LedgerKey":        "the ledger names nobody",
	"Entry":            "the ledger names nobody",
	"ProveEntry":       "the ledger names nobody",
	"ProveConsistency": "the ledger names nobody",
	"Tile":             "the ledger names nobody",
	"Reader.For":       "states a purpose",
}

// TestWithin calls every method of an archive by the view of a tenant with what another has: it is not
// there, and nothing changes.
func TestWithin(t *testing.T) {
	a, mine, other, x := twoTenants(t)
	size := func() int64 {
		cp, err := a.VerifyLedger(false)
		if err != nil {
			t.Fatal(err)
		}
		return cp.Size
	}
	before := size()
	refused, tenants, wide := refusedWithin(mine, x), tenantWithin(mine, "other"), wideWithin(mine)
	for name, call := range refused {
		if err := call(); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrBadKey) {
			t.Errorf("%s: %v", name, err)
		} else if told := err.Error(); strings.Contains(told, "other") || strings.Contains(told, "Martin") {
			t.Errorf("%s tells of it: %v", name, err)
		}
	}
	for name, call := range tenants {
		if err := call(); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, call := range wide {
		if err := call(); !errors.Is(err, ErrArchiveWide) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if size() != before {
		t.Errorf("the ledger grew from %d to %d entries", before, size())
	}
	for _, v := range []struct {
		prefix string
		of     reflect.Type
	}{{"", reflect.TypeFor[*Archive]()}, {"Reader.", reflect.TypeFor[*Reader]()}} {
		for m := range v.of.NumMethod() {
			name := v.prefix + v.of.Method(m).Name
			if refused[name] == nil && tenants[name] == nil && wide[name] == nil && openWithin[name] == "" {
				t.Errorf("%s is in no list: may a tenant reach another's by it?", name)
			}
		}
	}
	ownIsThere(t, other, x)
}

// ownIsThere holds the other way round: its own view finds all of it.
func ownIsThere(t *testing.T, v *Archive, x theirs) {
	t.Helper()
	ctx := context.Background()
	r := v.As("alice", retention.ToRead)
	for name, call := range map[string]func() error{
		"unit":        func() error { _, err := r.Unit(x.unit, 0); return err },
		"content":     func() error { _, _, err := r.Get(ctx, x.object, io.Discard); return err },
		"units of":    func() error { return v.UnitsOf(x.entry, func(DepositedUnit) error { return nil }) },
		"subject":     func() error { _, err := r.Subject(x.subject); return err },
		"file":        func() error { _, err := r.File("", "2026/1"); return err },
		"act":         func() error { _, err := r.Act(x.act); return err },
		"elimination": func() error { _, err := v.Elimination(x.elimination); return err },
		"request":     func() error { _, err := r.Request(x.request); return err },
		"API key":     func() error { _, err := v.APIKeyOf(x.secret); return err },
		"hold's end":  func() error { _, err := v.EndAct(ctx, "dave", x.act, "over"); return err },
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	units, err := v.Search("", "form", 10)
	if err != nil || len(units) != 1 || units[0].Tenant != "other" {
		t.Errorf("search: %d units, %v", len(units), err)
	}
	events, _, err := v.Feed("", Cursor{}, 100)
	for _, e := range events {
		if e.Entry.Tenant != "other" && e.Entry.Kind != integrity.Seal {
			t.Errorf("an event of %s", e.Entry.Tenant)
		}
	}
	if err != nil || len(events) == 0 {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// TestDestroyedWithin: what another tenant's unit was is not told either.
func TestDestroyedWithin(t *testing.T) {
	_, mine, other, x := twoTenants(t)
	d := deposit(t, other, digital("gone", "gone"))
	if err := destroyUnits(t, other, d.Units[0].ID); err != nil {
		t.Fatal(err)
	}
	var destroyed *DestroyedError
	if _, err := other.Unit(d.Units[0].ID); !errors.As(err, &destroyed) {
		t.Errorf("its own: %v", err)
	}
	for name, id := range map[string]string{"unit": d.Units[0].ID, "there": x.unit, "unknown": newID(unitID)} {
		_, err := mine.Unit(id)
		if !errors.Is(err, ErrNotFound) || errors.As(err, &destroyed) || strings.ReplaceAll(err.Error(), id, "") != `unit "": not found` {
			t.Errorf("%s: %v", name, err)
		}
	}
}
