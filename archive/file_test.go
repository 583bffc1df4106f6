package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"sae/retention"
)

// waiting is a procedure with documents that wait for events of their file.
const waiting = `id: WAIT
name: Attente
channels: [digital, paper]
rules: {appraisal: [AIDE-FACULTATIVE]}
processing: {purpose: p, legal-basis: b, data-subjects: [s], data: [d]}
number: "W-[0-9]+"
fields: [{id: day, type: date, required: true}]
documents:
  - {id: form, name: Formulaire, at-most: 1}
  - {id: decision, name: Décision, rule: AIDE-REFUSEE, fields: [{id: day, type: date}]}
  - {id: last, name: Dernier courrier, rule: ADM-MARCHE-SANS-SUITE}
  - {id: mail, name: Courrier, channels: [digital]}
events: [{id: decision, name: Décision, trigger: last-decision, repeats: true}, {id: once, name: Une fois}, {id: end, name: Fin, closes: true, repeats: true}]
`

// openWaiting is an archive with an open file W-1 of procedure WAIT.
func openWaiting(t *testing.T) (a *Archive, file string) {
	t.Helper()
	a, _ = citizens(t)
	ctx := context.Background()
	_, err := a.AddProcedure(ctx, "alice", "", []byte(waiting))
	if err != nil {
		t.Fatal(err)
	}
	d, err := a.OpenFile(ctx, "alice", NewFile{Procedure: "WAIT", Number: "W-1", Opened: "2020-01-01", Fields: map[string]string{"day": "2020-01-01"}})
	if err != nil {
		t.Fatal(err)
	}
	return a, d.Units[0].ID
}

func ofType(document string) NewUnit {
	u := digital(document, document)
	u.Document = document
	return u
}

// during is a document of a type, while the content of which is read do is done.
func during(document string, do func()) NewUnit {
	u := ofType(document)
	u.Content = &Content{Filename: "x.txt", Size: 1, Open: func() (io.ReadCloser, error) {
		do()
		return io.NopCloser(strings.NewReader("x")), nil
	}}
	return u
}

func into(t *testing.T, a *Archive, units ...NewUnit) (*Deposited, error) {
	t.Helper()
	return a.Deposit(context.Background(), "alice", Deposit{File: "W-1", Units: units})
}

func mustInto(t *testing.T, a *Archive, document string) (unit string) {
	t.Helper()
	d, err := into(t, a, ofType(document))
	if err != nil {
		t.Fatal(err)
	}
	return d.Units[0].ID
}

func happens(t *testing.T, a *Archive, event, day string) *Act {
	t.Helper()
	act, err := a.RecordEvent(context.Background(), "alice", EventRequest{File: "W-1", Event: event, Day: day})
	if err != nil {
		t.Fatal(err)
	}
	return act
}

// startOf is when the appraisal rule of a unit starts that is none of its file's.
func startOf(t *testing.T, a *Archive, unit, rule string) (start string) {
	t.Helper()
	r, err := a.Retention(unit, "2026-01-01")
	if err != nil {
		t.Fatal(err)
	}
	for _, applied := range r.Categories[retention.Appraisal].Rules {
		if applied.Rule == rule {
			return applied.Start
		}
	}
	t.Errorf("unit %s is not under rule %s", unit, rule)
	return ""
}

func TestFilesAreRefused(t *testing.T) {
	ctx := context.Background()
	a, file := openWaiting(t)
	folder, err := into(t, a, NewUnit{Parent: -1, Title: "folder"})
	if err != nil {
		t.Fatal(err)
	}
	newFile := func(edit func(*NewFile)) func() error {
		return func() error {
			n := NewFile{Procedure: "WAIT", Number: "W-2", Fields: map[string]string{"day": "2020-01-01"}}
			edit(&n)
			_, err := a.OpenFile(ctx, "alice", n)
			return err
		}
	}
	put := func(d Deposit) func() error {
		return func() error { _, err := a.Deposit(ctx, "alice", d); return err }
	}
	event := func(r EventRequest) func() error {
		return func() error { _, err := a.RecordEvent(ctx, "alice", r); return err }
	}
	paper := ofType("mail")
	paper.Content, paper.Channel, paper.Paper = nil, Paper, &PhysicalObject{Location: "here"}
	fielded := ofType("decision")
	fielded.Custom = map[string]string{"day": "tomorrow", "colour": "red"}
	typed := NewUnit{Parent: -1, Title: "folder", Document: "form"}
	happens(t, a, "once", "2020-02-01")
	for _, c := range []struct {
		what, says string
		do         func() error
	}{
		{"a number twice", "already: unit " + file, newFile(func(n *NewFile) { n.Number = "W-1" })},
		{"a number of another form", "the form that procedure WAIT wants", newFile(func(n *NewFile) { n.Number = "X" })},
		{"no number", "the form that procedure WAIT wants", newFile(func(n *NewFile) { n.Number = "" })},
		{"a rule of another procedure", "is not one of procedure WAIT", newFile(func(n *NewFile) { n.Rule = "RSA-DOSSIER" })},
		{"an access rule", "is not one of procedure WAIT", newFile(func(n *NewFile) { n.Access = "COM-VIE-PRIVEE" })},
		{"a field that is missing", "field day is missing", newFile(func(n *NewFile) { n.Fields = nil })},
		{"a subject that is not there", "not found", newFile(func(n *NewFile) { n.Persons = []string{"h" + strings.Repeat("a", 26)} })},
		{"an opening that is no day", "is not a day", newFile(func(n *NewFile) { n.Opened = "soon" })},
		{"a type of no file", "say into which file", put(Deposit{Units: []NewUnit{ofType("form")}})},
		{"file and person", "not by both", put(Deposit{File: "W-1", Person: franceConnect, Units: []NewUnit{ofType("form")}})},
		{"file and parent", "not both", put(Deposit{File: "W-1", Parents: []string{file}, Units: []NewUnit{ofType("form")}})},
		{"below the file", "--file", put(Deposit{Parents: []string{file}, Units: []NewUnit{digital("x", "x")}})},
		{"below a folder in the file", "--file", put(Deposit{Parents: []string{folder.Units[0].ID}, Units: []NewUnit{digital("x", "x")}})},
		{"a type that is not known", "procedure WAIT has form, decision, last, mail", put(Deposit{File: "W-1", Units: []NewUnit{ofType("photo")}})},
		{"no type", "procedure WAIT has", put(Deposit{File: "W-1", Units: []NewUnit{digital("x", "x")}})},
		{"a channel of another type", "comes by digital", put(Deposit{File: "W-1", Units: []NewUnit{paper}})},
		{"fields", "field day: its value is not a day", put(Deposit{File: "W-1", Units: []NewUnit{fielded}})},
		{"fields that are not known", `field "colour" is not known`, put(Deposit{File: "W-1", Units: []NewUnit{fielded}})},
		{"a folder of a type", "a folder is no document", put(Deposit{File: "W-1", Units: []NewUnit{typed}})},
		{"two where one is", "at most 1 of type form", put(Deposit{File: "W-1", Units: []NewUnit{ofType("form"), ofType("form")}})},
		{"another procedure", "is of procedure WAIT, not of RSA", put(Deposit{File: "W-1", Procedure: "RSA", Units: []NewUnit{ofType("form")}})},
		{"an event that is not known", "is not one of procedure WAIT: decision, once, end", event(EventRequest{File: "W-1", Event: "moon"})},
		{"a second event that does not repeat", "it happens once", event(EventRequest{File: "W-1", Event: "once"})},
		{"an event to come", "until today", event(EventRequest{File: "W-1", Event: "decision", Day: "2999-01-01"})},
		{"closed before it was opened", "opened on 2020-01-01", func() error {
			_, err := a.CloseFile(ctx, "alice", EventRequest{File: "W-1", Day: "2019-12-31"})
			return err
		}},
		{"reopened while open", "the file is open", func() error { _, err := a.ReopenFile(ctx, "alice", EventRequest{File: "W-1", Reason: "r"}); return err }},
		{"a state that is not known", "want open or closed", func() error { _, err := a.As("alice", retention.ToRead).Files(FileFilter{State: "lost"}); return err }},
		{"a cursor of another list", "cursor", func() error { _, err := a.As("alice", retention.ToRead).Files(FileFilter{After: "1x"}); return err }},
	} {
		mustRefuse(t, c.what, c.do(), c.says)
	}
	for _, name := range []string{"W-9", "", "u" + strings.Repeat("a", 26), folder.Units[0].ID} {
		if _, err := a.As("alice", retention.ToRead).File("", name); !errors.Is(err, ErrNotFound) {
			t.Errorf("file %q: %v", name, err)
		}
	}
	if _, err := a.FileOfPerson("", "NONE", franceConnect); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file of a person who is not known: %v", err)
	}
	mustBeSound(t, a)
}

// TestDepositsMeetWhatHappensToTheFile: what happens to a file while content comes in is not passed over.
func TestDepositsMeetWhatHappensToTheFile(t *testing.T) {
	ctx := context.Background()
	a, _ := openWaiting(t)
	_, err := into(t, a, during("decision", func() { happens(t, a, "decision", "2021-03-01") }))
	mustRefuse(t, "an event that a rule waits for", err, "meanwhile: deposit again")
	if _, err := into(t, a, during("mail", func() { happens(t, a, "decision", "2021-04-01") })); err != nil {
		t.Error("an event that no rule of the document waits for:", err)
	}
	_, err = into(t, a, during("form", func() { mustInto(t, a, "form") }))
	mustRefuse(t, "a second of one", err, "limited number")
	_, err = into(t, a, during("mail", func() { happens(t, a, "end", "") }))
	mustRefuse(t, "a file that closes", err, "is closed: reopen it first")
	reopen := func() {
		t.Helper()
		if _, err := a.ReopenFile(ctx, "alice", EventRequest{File: "W-1", Reason: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	reopen()
	a.stageItems = 2 // the next is too large for one transaction
	_, err = into(t, a, ofType("mail"), ofType("mail"), during("mail", func() { happens(t, a, "end", "") }))
	mustRefuse(t, "a file that closes, of a large deposit", err, "is closed: reopen it first")
	reopen()
	if _, err := into(t, a, ofType("mail"), ofType("mail"), ofType("mail")); err != nil {
		t.Error("a large deposit:", err)
	}
	happens(t, a, "end", "")
	_, err = into(t, a, ofType("mail"))
	mustRefuse(t, "a closed file", err, "is closed: reopen it first")
	_, err = a.CloseFile(ctx, "alice", EventRequest{File: "W-1"})
	mustRefuse(t, "closed twice", err, "closed already")
	f, err := a.As("alice", retention.ToRead).File("", "W-1")
	if err != nil || len(f.Documents) != 5 || f.State != "closed" {
		t.Errorf("%+v %v", f, err)
	}
	mustBeSound(t, a)
}

// TestEveryDocumentStarts: whenever documents come in, before, between and after events, each that
// waits for the event counts from the last one.
func TestEveryDocumentStarts(t *testing.T) {
	ctx := context.Background()
	a, _ := openWaiting(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	var units []string
	for range 4 {
		all.Go(func() {
			for range 10 {
				d, err := into(t, a, ofType("decision"))
				if err == nil {
					mu.Lock()
					units = append(units, d.Units[0].ID)
					mu.Unlock()
				} else if !errors.Is(err, ErrRefused) {
					t.Error(err)
				}
			}
		})
	}
	last := ""
	for i := range 10 {
		last = fmt.Sprintf("2021-03-%02d", i+1)
		if _, err := a.RecordEvent(ctx, "alice", EventRequest{File: "W-1", Event: "decision", Day: last}); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	if len(units) == 0 {
		t.Fatal("nothing came in")
	}
	for _, u := range units {
		if start := startOf(t, a, u, "AIDE-REFUSEE"); start != last {
			t.Errorf("unit %s counts from %q, want %s", u, start, last)
		}
	}
	mustBeSound(t, a)
}

func TestEventsAreTakenBack(t *testing.T) {
	ctx := context.Background()
	a, file := openWaiting(t)
	before := mustInto(t, a, "decision")
	wrong := happens(t, a, "decision", "2021-03-01")
	if got := startOf(t, a, before, "AIDE-REFUSEE"); got != "2021-03-01" {
		t.Errorf("the document before counts from %q", got)
	}
	after := mustInto(t, a, "decision")
	if got := startOf(t, a, after, "AIDE-REFUSEE"); got != "2021-03-01" {
		t.Errorf("the document after counts from %q", got)
	}
	_, err := a.TakeBackEvent(ctx, "alice", wrong.ID, "never happened")
	mustRefuse(t, "an event that a later document counts from", err, after)
	if _, err := a.Act(ctx, "alice", "", StartAct, ActText{Units: []string{after}, Rule: "AIDE-REFUSEE", Start: "2022-01-01", Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.TakeBackEvent(ctx, "alice", wrong.ID, "never happened"); err != nil {
		t.Fatal(err)
	}
	if b, c := startOf(t, a, before, "AIDE-REFUSEE"), startOf(t, a, after, "AIDE-REFUSEE"); b != "" || c != "2022-01-01" {
		t.Errorf("they count from %q and %q", b, c)
	}
	_, err = a.TakeBackEvent(ctx, "alice", wrong.ID, "again")
	mustRefuse(t, "taken back twice", err, "was ended")
	hold, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{file}, Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.TakeBackEvent(ctx, "alice", hold.ID, "r")
	mustRefuse(t, "a hold", err, "no event of a file")
	mustBeSound(t, a)
}

// TestClosingAndReopening: what started with the end of a file does not run in an open one.
func TestClosingAndReopening(t *testing.T) {
	ctx := context.Background()
	a, file := openWaiting(t)
	last := mustInto(t, a, "last")
	closeIt := func(day string) *Act {
		t.Helper()
		act, err := a.CloseFile(ctx, "alice", EventRequest{File: file, Day: day})
		if err != nil {
			t.Fatal(err)
		}
		return act
	}
	want := func(when string, units map[string]string) {
		t.Helper()
		for u, start := range units {
			rule := "ADM-MARCHE-SANS-SUITE"
			if u == file {
				rule = "AIDE-FACULTATIVE"
			}
			if got := startOf(t, a, u, rule); got != start {
				t.Errorf("%s: unit %s counts from %q, want %q", when, u, got, start)
			}
		}
	}
	first := closeIt("2021-05-01")
	want("closed", map[string]string{file: "2021-05-01", last: "2021-05-01"})
	_, err := a.ReopenFile(ctx, "alice", EventRequest{File: file})
	mustRefuse(t, "reopened without reason", err, "no reason")
	reopening, err := a.ReopenFile(ctx, "alice", EventRequest{File: file, Reason: "appeal"})
	if err != nil {
		t.Fatal(err)
	}
	want("reopened", map[string]string{file: "", last: ""})
	later := mustInto(t, a, "last")
	_, err = a.TakeBackEvent(ctx, "alice", reopening.ID, "r")
	mustRefuse(t, "a reopening", err, "close the file again")
	closeIt("2022-05-01")
	want("closed again", map[string]string{file: "2022-05-01", last: "2022-05-01", later: "2022-05-01"})
	if _, err := a.TakeBackEvent(ctx, "alice", first.ID, "r"); err != nil {
		t.Fatal(err)
	}
	want("without the first", map[string]string{file: "2022-05-01", last: "2022-05-01", later: "2022-05-01"})
	mustBeSound(t, a)
}

// TestFilesInPages: each stands on one page, once, by every filter; who may not read a file is not told
// that it is somebody's.
func TestFilesInPages(t *testing.T) {
	ctx := context.Background()
	a, _ := openWaiting(t)
	one := newSubject(t, a, PersonData{FamilyName: "Un"}, franceConnect)
	two := newSubject(t, a, PersonData{FamilyName: "Deux"})
	for i := range 7 {
		n := NewFile{Procedure: "WAIT", Number: fmt.Sprint("W-1", i), Fields: map[string]string{"day": "2020-01-01"}, Persons: []string{one.ID}}
		if i%2 == 1 {
			n = NewFile{Procedure: "RSA", Number: fmt.Sprint("R-", i), Persons: []string{two.ID}}
		}
		if _, err := a.OpenFile(ctx, "alice", n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.CloseFile(ctx, "alice", EventRequest{File: "W-12"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.MergeSubjects(ctx, "alice", two.ID, one.ID, "r"); err != nil {
		t.Fatal(err)
	}
	numbers := func(agent string, f FileFilter) (out []string) {
		t.Helper()
		for f.Limit = 2; ; {
			page, err := a.As(agent, retention.ToRead).Files(f)
			if err != nil || len(page.Files) > 2 {
				t.Fatal(page, err)
			}
			for _, x := range page.Files {
				out = append(out, x.Number)
			}
			if f.After = page.Next; f.After == "" {
				return out
			}
		}
	}
	for _, c := range []struct {
		agent string
		f     FileFilter
		want  []string
	}{
		{"alice", FileFilter{}, []string{"W-1", "W-10", "R-1", "W-12", "R-3", "W-14", "R-5", "W-16"}},
		{"alice", FileFilter{Procedure: "RSA"}, []string{"R-1", "R-3", "R-5"}},
		{"alice", FileFilter{State: "closed"}, []string{"W-12"}},
		{"alice", FileFilter{Person: one.ID}, []string{"W-10", "R-1", "W-12", "R-3", "W-14", "R-5", "W-16"}},
		{"alice", FileFilter{Person: two.ID, State: "open", Procedure: "WAIT"}, []string{"W-10", "W-14", "W-16"}},
		{"eve", FileFilter{Procedure: "RSA"}, []string{"", "", ""}},
		{"eve", FileFilter{Person: one.ID}, []string{"W-10", "W-12", "W-14", "W-16"}}, // those have no access rule
	} {
		if got := numbers(c.agent, c.f); !slices.Equal(got, c.want) {
			t.Errorf("%s, %+v: %v, want %v", c.agent, c.f, got, c.want)
		}
	}
	if _, err := a.As("alice", retention.ToRead).Files(FileFilter{Procedure: "NONE"}); !errors.Is(err, ErrNotFound) {
		t.Error("files of a procedure that is not there:", err)
	}
	_, err := a.FileOfPerson("", "WAIT", franceConnect)
	mustRefuse(t, "several open files", err, "3 open files of procedure WAIT")
	_, err = a.FileOfPerson("", "APA", franceConnect)
	mustRefuse(t, "no open file", err, "no open file of procedure APA")
	mustBeSound(t, a)
}

// TestFileOfWhoWasErased: when a person is forgotten no file names her, and a file that names others too
// stays and names them alone.
func TestFileOfWhoWasErased(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	s, file, _ := openOwn(t, a, "F-1", PersonData{FamilyName: "Seule"}, franceConnect)
	if _, err := a.RecordEvent(ctx, "alice", EventRequest{File: "F-1", Event: "decision", Day: "2015-03-01"}); err != nil {
		t.Fatal(err)
	}
	old := newSubject(t, a, PersonData{FamilyName: "Seule-Avant"})
	if _, err := a.MergeSubjects(ctx, "alice", old.ID, s.ID, "one person"); err != nil {
		t.Fatal(err)
	}
	q := decided(t, a, s.ID, Granted)
	third := newSubject(t, a, PersonData{FamilyName: "Tierce"})
	_, err := a.MergeSubjects(ctx, "alice", third.ID, s.ID, "r")
	mustRefuse(t, "merged into who is being erased", err, "erasure of subject")
	_, err = a.SplitSubject(ctx, "alice", s.ID, SplitRequest{Merged: old.ID, Reason: "r"})
	mustRefuse(t, "split while being erased", err, "erasure of subject")
	if _, err := a.ExecuteErasure(ctx, "dave", q.ID, nil); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{s.ID, old.ID, file} {
		var destroyed *DestroyedError
		if _, err := a.Unit(id); !errors.As(err, &destroyed) {
			t.Errorf("%s is still there: %v", id, err)
		}
	}
	if _, err := a.FindSubject("", franceConnect); !errors.Is(err, ErrNotFound) {
		t.Errorf("the identifier still finds somebody: %v", err)
	}
	_, err = a.OpenFile(ctx, "alice", NewFile{Procedure: "OWN", Number: "F-1", Persons: []string{s.ID}})
	mustRefuse(t, "a file of who was erased", err, "not found")
	if h, err := a.History(s.ID); err != nil || len(h) == 0 {
		t.Errorf("the history of who was erased: %v %v", h, err)
	}
	again := newSubject(t, a, PersonData{FamilyName: "Seule"}, franceConnect) // she comes again
	if _, err := a.OpenFile(ctx, "alice", NewFile{Procedure: "OWN", Number: "F-1", Persons: []string{again.ID}}); err != nil {
		t.Error(err)
	}
	mustBeSound(t, a)
}

// TestTransfersIntoFiles: a SEDA transfer comes into no closed file, and below no record of a person.
func TestTransfersIntoFiles(t *testing.T) {
	ctx := context.Background()
	a, file := openWaiting(t)
	s := newSubject(t, a, PersonData{FamilyName: "Martin"})
	below := func(id string) error {
		doc := strings.Replace(simple("", "abc"), `<ArchiveUnit id="u">`,
			`<ArchiveUnit id="top"><Management><UpdateOperation><SystemId>`+id+`</SystemId></UpdateOperation></Management><Content><DescriptionLevel>RecordGrp</DescriptionLevel><Title>t</Title></Content><ArchiveUnit id="u">`, 1)
		doc = strings.Replace(doc, `</ArchiveUnit></DescriptiveMetadata>`, `</ArchiveUnit></ArchiveUnit></DescriptiveMetadata>`, 1)
		out, err := a.DepositTransfer(ctx, "alice", Transfer{Package: packageOf(t, doc)})
		if err != nil {
			return fmt.Errorf("%w: %v", err, out.Findings.List)
		}
		return nil
	}
	if err := below(file); err != nil {
		t.Fatal(err)
	}
	if err := below(s.ID); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("below a person: %v", err)
	}
	happens(t, a, "end", "")
	if err := below(file); err == nil || !strings.Contains(err.Error(), "is closed") {
		t.Errorf("below a closed file: %v", err)
	}
	outside := deposit(t, a, NewUnit{Parent: -1, Title: "a folder outside"}).Units[0].ID
	err := a.cat.view(func(t *tx) error { return a.openAbove(t, outside, file) })
	refusedFor(t, err, "is closed")
	mustBeSound(t, a)
}
