package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"sae/archive"
	"sae/retention"
)

// fixture is an archive of cd99 with something of each kind.
type fixture struct {
	s                                                           *served
	unit, object, file, number, subject, elimination, operation string
	request, hold, derogation, start, event                     string
	upload                                                      string
	entry                                                       int64
	n                                                           int
}

const apa = `id: apa
name: Allocation personnalisée d'autonomie
channels: [digital]
rules: {appraisal: [APA]}
processing: {purpose: p, legal-basis: b, data-subjects: [s], data: [d]}
documents:
  - {id: demande, name: Demande}
events:
  - {id: decision, name: Décision, repeats: true}
`

func newFixture(t testing.TB, s *served) *fixture {
	t.Helper()
	ctx := context.Background()
	f := &fixture{s: s, number: "APA-1"}
	plan, err := s.a.PlanRules(ctx, "cd99", []retention.Rule{{ID: "APA", Category: retention.Appraisal, Name: "APA", Duration: retention.Duration{Count: 5, Unit: retention.Years}, FinalAction: retention.Destroy, Trigger: "file-closed", Basis: "CASF L232-1"}}, false)
	if err == nil {
		_, err = s.a.ChangeRules(ctx, "archivist", plan)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.a.AddProcedure(ctx, "archivist", "cd99", []byte(apa)); err != nil {
		t.Fatal(err)
	}
	d := s.deposited(s.key("cd99", archive.Depositor), "fixture", "contenu")
	f.unit, f.object, f.entry = d.Units[0].ID, d.Units[0].Objects[0].ID, d.Entry
	subject, err := s.a.NewSubject(ctx, "archivist", "cd99", archive.PersonData{FamilyName: "Martin"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.subject = subject.ID
	opened, err := s.a.OpenFile(ctx, "archivist", archive.NewFile{Tenant: "cd99", Procedure: "apa", Number: f.number, Persons: []string{f.subject}})
	if err != nil {
		t.Fatal(err)
	}
	f.file = opened.Units[0].ID
	_, err = s.a.Deposit(ctx, "archivist", archive.Deposit{Tenant: "cd99", Agency: "MDPH", Units: []archive.NewUnit{{Parent: -1, Title: "Périmé", Channel: archive.Paper, Paper: &archive.PhysicalObject{Location: "Magasin 2"}, Rule: "APA", RuleStart: "2001-01-01"}}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.a.ProposeElimination(ctx, "archivist", archive.EliminationRequest{At: today(), Filter: archive.Filter{Tenant: "cd99"}})
	if err != nil {
		t.Fatal(err)
	}
	f.elimination = e.ID
	q, err := s.a.OpenRequest(ctx, "archivist", archive.NewRequest{Tenant: "cd99", Article: 17, Subject: f.subject, Words: archive.RequestWords{Who: "Claire Martin", Address: []string{"1 rue des Lilas"}}})
	if err != nil {
		t.Fatal(err)
	}
	f.request = q.ID
	for _, act := range []struct {
		id   *string
		kind archive.ActKind
		text archive.ActText
	}{
		{&f.hold, archive.HoldAct, archive.ActText{Units: []string{f.unit}, Reason: "recours"}},
		{&f.derogation, archive.DerogationAct, archive.ActText{Units: []string{f.unit}, Reason: "thèse", Person: "chercheuse", Until: "2999-01-01", Categories: []retention.Category{retention.Access}}},
		{&f.start, archive.StartAct, archive.ActText{Units: []string{f.unit}, Reason: "décision", Rule: "APA", Start: "2024-01-01"}},
	} {
		done, err := s.a.Act(ctx, "archivist", "cd99", act.kind, act.text)
		if err != nil {
			t.Fatal(err)
		}
		*act.id = done.ID
	}
	happened, err := s.a.RecordEvent(ctx, "archivist", archive.EventRequest{Tenant: "cd99", File: f.file, Event: "decision", Day: "2024-03-01"})
	if err != nil {
		t.Fatal(err)
	}
	f.event = happened.ID
	ct, body := form(part{"metadata", oneFile, nil}, part{"f", "later", nil})
	later := s.ask(s.key("cd99", archive.Depositor), "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", "later", "Prefer", "respond-async")
	f.operation = decode[Operation](t, later.body).ID
	f.upload = strings.TrimPrefix(s.newUpload(s.key("cd99", archive.Depositor), "upload", 1000, asTransfer("sip.zip")), "/v1/uploads/")
	return f
}

func inAnHour() string { return time.Now().Add(time.Hour).UTC().Format(time.RFC3339) }

// ask asks for an operation as the table says.
func (f *fixture) ask(id string, w walk, key string) *reply {
	f.s.t.Helper()
	f.n++
	once := fmt.Sprintf("walk-%d", f.n)
	apiKey := "kaaaaaaaaaaaaaaaaaaaaaaaaaa"
	if strings.Contains(w.path, "KEY") && key == f.s.keys["cd99/administrator"] {
		k, _, err := f.s.a.CreateAPIKey(context.Background(), "administrator", archive.NewAPIKey{Tenant: "cd99", Name: once, Roles: []archive.Role{archive.Auditor}, Expires: time.Now().Add(time.Hour)})
		if err != nil {
			f.s.t.Fatal(err)
		}
		apiKey = k.ID
	}
	hook := "waaaaaaaaaaaaaaaaaaaaaaaaaa"
	if strings.Contains(w.path, "HOOK") {
		x, _, err := f.s.a.AddWebhook(context.Background(), "administrator", archive.NewWebhook{Tenant: "cd99", Name: once, URL: "https://gru.example/"})
		if err != nil {
			f.s.t.Fatal(err)
		}
		hook = x.ID
		defer f.s.a.RemoveWebhook(context.Background(), "administrator", "cd99", x.ID)
	}
	fill := strings.NewReplacer("HOOK", hook, "UNIT", f.unit, "OBJECT", f.object, "ELIMINATION", f.elimination, "OPERATION", f.operation, "UPLOAD", f.upload, "GUID", guidOf(0, f.operation), "FILE", f.file, "SUBJECT", f.subject, "ENTRY", fmt.Sprint(f.entry), "NUMBER", "APA-"+once, "EXPIRES", inAnHour(), "KEY", apiKey,
		"REQUEST", f.request, "HOLD", f.hold, "DEROGATION", f.derogation, "START", f.start, "EVENT", f.event)
	var body io.Reader
	headers := []string{"Idempotency-Key", once}
	if strings.Contains(w.path, "-external/") {
		headers = append(headers, "X-Tenant-Id", "0", "X-Context-Id", "DEFAULT_WORKFLOW", "X-Action", "RESUME", "X-Http-Method-Override", "GET")
	}
	if strings.HasPrefix(w.path, "/v1/uploads") {
		headers = append(headers, "Tus-Resumable", "1.0.0", "Upload-Length", "5", "Upload-Offset", "0", "Upload-Metadata", uploadMetadata(asTransfer("sip.zip")))
	}
	switch w.body {
	case "":
	case "multipart":
		ct, b := form(part{"metadata", oneFile, nil}, part{"f", once, nil})
		body, headers = b, append(headers, "Content-Type", ct)
	case "piece":
		body, headers = strings.NewReader("piece"), append(headers, "Content-Type", tusMedia)
	case "zip":
		body, headers = strings.NewReader("not a package"), append(headers, "Content-Type", "application/zip")
	default:
		body, headers = strings.NewReader(fill.Replace(w.body)), append(headers, "Content-Type", "application/json")
	}
	if administration[id] {
		return f.s.administer(key, w.method, fill.Replace(w.path), body, headers...)
	}
	return f.s.ask(key, w.method, fill.Replace(w.path), body, headers...)
}

func decode[T any](t testing.TB, b []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}
