package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"sae/retention"
)

// refusedFor wants an error that refuses and says something.
func refusedFor(t *testing.T, err error, want string) {
	t.Helper()
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("want %q, got %v", want, err)
	}
}

// mustAudit wants an archive that is sound.
func mustAudit(t *testing.T, a *Archive) {
	t.Helper()
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r, err)
	}
	mustFsck(t, a)
}

// TestRequestsAreRefusedPlainly: what the law does not allow, and what people get wrong, is refused
// with a word of what to do.
func TestRequestsAreRefusedPlainly(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s, file, _ := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin", BirthDate: "1950-01-01"}, franceConnect)
	open := func(n NewRequest) (*Request, error) { return a.OpenRequest(ctx, "alice", n) }
	_, err := open(NewRequest{Article: 19, Subject: s.ID})
	refusedFor(t, err, "article 19: want 15 (access)")
	_, err = open(NewRequest{Article: 17})
	refusedFor(t, err, "whom is it about?")
	_, err = open(NewRequest{Article: 17, Subject: newID(subjectID)})
	refusedFor(t, err, "not found")
	_, err = open(NewRequest{Article: 17, Subject: s.ID, Received: "2999-01-01"})
	refusedFor(t, err, "is not a day until today")
	_, err = open(NewRequest{Article: 17, Subject: s.ID, Words: RequestWords{Who: "\x00"}})
	refusedFor(t, err, "who asks: it is not plain text")

	q := must(open(NewRequest{Article: 17, Subject: s.ID}))
	_, err = a.DecideRequest(ctx, "alice", q.ID, Decision{})
	refusedFor(t, err, "data-protection-officer")
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "b"})
	refusedFor(t, err, "the identity of who asks is not established")
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Denied, LegalBasis: "b", Grounds: []string{"18(1)"}})
	refusedFor(t, err, `ground "18(1)": of article 17 want some of`)
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: "maybe"})
	refusedFor(t, err, "no legal basis")
	must(a.IdentifyRequest(ctx, "alice", q.ID, "at the desk", false))
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "b"})
	refusedFor(t, err, "it was not analysed")
	_, _, err = a.AnalyseRequest(ctx, "alice", q.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.ExecuteErasure(ctx, "dave", q.ID, nil)
	refusedFor(t, err, "is not decided yet")

	// Under hold nothing can be erased, and the officer cannot say otherwise.
	hold := must(a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{file}, Reason: "dispute"}))
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "b"})
	refusedFor(t, err, "something changed since the analysis")
	if _, _, err = a.AnalyseRequest(ctx, "alice", q.ID); err != nil {
		t.Fatal(err)
	}
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Partly, LegalBasis: "b"})
	refusedFor(t, err, "nothing of it can be erased now")
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "b", Erase: []OtherDecision{{[]int64{1, 2, 3}, "17(1)(d)"}}})
	refusedFor(t, err, "number 1 is on hold")
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "b", Refuse: []OtherDecision{{[]int64{1, 2, 3}, "17(3)(e)"}}, Erase: []OtherDecision{{[]int64{1, 2, 3}, "17(1)(d)"}}})
	refusedFor(t, err, "number 1 is named twice")
	must(a.EndAct(ctx, "alice", hold.ID, "settled"))

	// Its retention has no start: it is not known until when it runs.
	_, an, err := a.AnalyseRequest(ctx, "alice", q.ID)
	if err != nil || len(an.Findings) != 3 || an.Findings[0].Verdict != retention.DontErase || an.Findings[0].Why != retention.ErasureOpenEnded || an.Findings[0].Ground != "17(3)(b)" {
		t.Fatalf("%+v %v", an, err)
	}
	must(a.RecordEvent(ctx, "alice", EventRequest{File: "F-1", Event: "decision", Day: "2015-03-01"}))
	if _, an, err = a.AnalyseRequest(ctx, "alice", q.ID); err != nil || an.Findings[0].Verdict != retention.EraseNow {
		t.Fatalf("%+v %v", an, err)
	}
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "b", Refuse: []OtherDecision{{[]int64{9}, "17(3)(e)"}}})
	refusedFor(t, err, "number 9: the analysis has 1 to 3")
	many := make([]int64, 1000)
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Partly, LegalBasis: "b", Refuse: []OtherDecision{{many, "17(3)(e)"}}})
	refusedFor(t, err, "number 0: the analysis has 1 to 3")
	if n := strings.Count(err.Error(), "number 0"); n > maxNamed {
		t.Errorf("%d problems are named", n)
	}
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Partly, LegalBasis: "b"})
	refusedFor(t, err, "all units are erased: it is granted")
	q = must(a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "b"}))
	if q.Erasure == "" || q.Outcome != Granted {
		t.Fatalf("%+v", q)
	}
	other := must(a.NewSubject(ctx, "alice", "", PersonData{FamilyName: "Martin"}, nil))
	_, err = a.MergeSubjects(ctx, "alice", other.ID, s.ID, "the same")
	refusedFor(t, err, "an erasure of subject "+s.ID+" is decided")
	_, err = a.ExecuteErasure(ctx, "dave", q.ID, nil)
	refusedFor(t, err, "is not answered")
	must(a.AnswerRequest(ctx, "dora", q.ID, "", ""))
	_, err = a.ExecuteErasure(ctx, "bob", q.ID, nil)
	refusedFor(t, err, "this is for the role archivist")
	_, err = a.ExecuteErasure(ctx, "dora", q.ID, nil)
	refusedFor(t, err, "this is for the role archivist")
	if _, err := a.ExecuteErasure(ctx, "alice", q.ID, nil); err != nil {
		t.Fatal(err)
	}
	_, err = a.ExecuteErasure(ctx, "alice", q.ID, nil)
	refusedFor(t, err, "is executed already")
	mustAudit(t, a)
}

// TestRequestsAreReadInTheLog: what somebody asked is read in the log of accesses, also when it names no
// subject.
func TestRequestsAreReadInTheLog(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	unit := deposit(t, a, digital("a letter", "x")).Units[0].ID
	q := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 15, Units: []string{unit}, Words: RequestWords{Who: planted}}))
	if s := must(a.As("dave", retention.ToRead).Request(q.ID)); s.Who != planted {
		t.Errorf("%+v", s)
	}
	if s := must(a.As("eve", retention.ToRead).Request(q.ID)); s.Who != "" {
		t.Errorf("%+v", s)
	}
	var read []string
	err := a.As("dora", retention.ToRead).AccessLog(ctx, "", AccessFilter{Unit: unit}, func(x Access) error {
		read = append(read, x.Name+" "+string(x.Verb))
		return nil
	})
	if err != nil || !slices.Equal(read, []string{"dave request"}) {
		t.Errorf("%q %v", read, err)
	}
}

// TestErasureInPart: what a law keeps stays, with the subject and what was said; what is to go later is
// promised.
func TestErasureInPart(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s, file, docs := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin"})
	kept := digital("kept", "kept")
	kept.Document, kept.Rule, kept.RuleStart = "mail", "AIDE-REFUSEE", "2015-01-01"
	must(a.RecordEvent(ctx, "alice", EventRequest{File: "F-1", Event: "decision", Day: "2015-03-01"}))
	running := digital("running", "running")
	running.Document, running.Rule, running.RuleStart = "mail", "AIDE-REFUSEE", now().AddDate(-1, 0, 0).Format("2006-01-02")
	d := must(a.Deposit(ctx, "alice", Deposit{File: "F-1", Units: []NewUnit{running}}))
	q := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 17, Subject: s.ID, Words: RequestWords{Who: planted}}))
	must(a.IdentifyRequest(ctx, "alice", q.ID, "at the desk", false))
	_, an, err := a.AnalyseRequest(ctx, "alice", q.ID)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]ErasureFinding{}
	for _, f := range an.Findings {
		verdicts[f.Unit] = f
	}
	if f := verdicts[d.Units[0].ID]; f.Verdict != retention.EraseAt || f.Date != now().AddDate(1, 0, 0).Format("2006-01-02") {
		t.Errorf("%+v", f)
	}
	if f := verdicts[file]; f.Verdict != retention.DontErase || f.Why != whyBelow {
		t.Errorf("%+v", f)
	}
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "b"})
	refusedFor(t, err, "2 of 4 units stay: it is granted partly")
	q = must(a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Partly, LegalBasis: "b"}))
	if q.Promised == "" || !slices.Equal(q.Grounds, []string{"17(3)(b)"}) {
		t.Errorf("%+v", q)
	}
	must(a.AnswerRequest(ctx, "dora", q.ID, "", ""))
	out, err := a.ExecuteErasure(ctx, "dave", q.ID, nil)
	if err != nil || out.Destroyed != 2 || len(out.Subjects) != 0 || out.Words {
		t.Errorf("%+v %v", out, err)
	}
	for _, id := range []string{file, d.Units[0].ID} {
		if _, err := a.Unit(id); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Unit(docs.Units[0].ID); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if w := must(a.RequestWords(q, RequestOpened)); w.Who != planted {
		t.Errorf("%+v", w)
	}
	_, err = a.PurgeRequest(ctx, "dora", q.ID)
	refusedFor(t, err, "promises that units are erased from")
	other := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 15, Subject: s.ID, Words: RequestWords{Who: planted}}))
	must(a.WithdrawRequest(ctx, "alice", other.ID, "by phone"))
	if q = must(a.PurgeRequest(ctx, "dora", other.ID)); q.Purged == 0 {
		t.Errorf("%+v", q)
	}
	if w := must(a.RequestWords(q, RequestOpened)); w.Who != "" {
		t.Errorf("%+v", w)
	}
	mustAudit(t, a)
}

// TestRectified: a unit gets a version with what is right, found by it and not by what was wrong; the
// version before stays under its seal, for named purposes.
func TestRectified(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s, _, docs := openOwn(t, a, "F-1", PersonData{FamilyName: "Matrin"})
	unit := docs.Units[0].ID
	mustSeal(t, a)
	q := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 16, Subject: s.ID}))
	must(a.IdentifyRequest(ctx, "alice", q.ID, "at the desk", false))
	must(a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "RGPD art. 16"}))
	title := "Formulaire Martin"
	r := Rectified{Unit: unit, Title: &title, Note: "the name was misspelt", Restrict: true}
	_, err := a.ExecuteRectification(ctx, "dora", q.ID, r)
	refusedFor(t, err, "archivist")
	_, err = a.ExecuteRectification(ctx, "dave", q.ID, Rectified{Unit: unit, Note: "n"})
	refusedFor(t, err, "nothing changes")
	_, err = a.ExecuteRectification(ctx, "dave", q.ID, Rectified{Unit: deposit(t, a, digital("another", "x")).Units[0].ID, Title: &title, Note: "n"})
	refusedFor(t, err, "is not one that request")
	if _, err := a.ExecuteRectification(ctx, "dave", q.ID, r); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ExecuteRectification(ctx, "dave", q.ID, r); err != nil { // again, as after an interruption
		t.Fatal(err)
	}
	if acts := must(a.Acts("", RestrictionAct)); len(acts) != 1 || must(a.Unit(unit)).Version != 2 {
		t.Errorf("%+v", acts)
	}
	if _, err := a.ExecuteSubjectRectification(ctx, "dave", q.ID, PersonData{FamilyName: "Martin"}, "misspelt"); err != nil {
		t.Fatal(err)
	}
	must(a.EndExecution(ctx, "dave", q.ID, "done"))
	u := must(a.Unit(unit))
	if u.Version != 2 || u.Title != title || len(u.Corrections) != 1 || !slices.Equal(u.Corrections[0].Fields, []string{"title"}) || u.Corrections[0].Request != q.ID {
		t.Errorf("%+v", u)
	}
	if old := must(a.UnitVersion(unit, 1)); old.Title == title {
		t.Errorf("%+v", old)
	}
	reader := a.As("dave", retention.ToRead)
	if old := must(reader.Unit(unit, 1)); old.Closed == nil || old.Title != "" {
		t.Errorf("the version before is open: %+v", old)
	}
	if old := must(reader.For(ForLegalClaims, "").Unit(unit, 1)); old.Closed != nil {
		t.Errorf("the version before is closed for legal claims: %+v", old.Closed)
	}
	if last := must(reader.Unit(unit, 0)); last.Closed != nil {
		t.Errorf("%+v", last.Closed)
	}
	if all := must(a.Subjects("", PersonData{FamilyName: "MATRIN"})); len(all) != 0 {
		t.Error("the subject is found by the name that was wrong")
	}
	if all := must(a.Subjects("", PersonData{FamilyName: "martin"})); len(all) != 1 {
		t.Error("the subject is not found by its name")
	}
	mustSeal(t, a)

	// The proof of an object describes its unit as it was when the object came.
	object := docs.Units[0].Objects[0].ID
	var closed *NotOpenError
	if err := reader.Proof(ctx, object, io.Discard); !errors.As(err, &closed) || !strings.Contains(err.Error(), "GDPR art. 18") {
		t.Errorf("the proof of an object tells of the version before: %v", err)
	}
	for _, err := range []error{reader.Proof(ctx, unit, io.Discard), reader.For(ForLegalClaims, "").Proof(ctx, object, io.Discard)} {
		if err != nil {
			t.Error(err)
		}
	}
	mustAudit(t, a)
}

// TestRestriction: what is restricted is read for named purposes alone, whatever the role, and is not
// destroyed; all below it, too.
func TestRestriction(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s, file, docs := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin"})
	unit, object := docs.Units[0].ID, docs.Units[0].Objects[0].ID
	must(a.RecordEvent(ctx, "alice", EventRequest{File: "F-1", Event: "decision", Day: "2015-03-01"}))
	q := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 18, Subject: s.ID}))
	must(a.IdentifyRequest(ctx, "alice", q.ID, "at the desk", false))
	must(a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "RGPD art. 18(1)(a)"}))
	_, err := a.ExecuteRestriction(ctx, "dave", q.ID, []Purpose{ForInstruction}, "r")
	refusedFor(t, err, `purpose "instruction": a restriction leaves open some of`)
	of := must(a.tenant(""))
	before := must(a.decide(ctx, "dave", of, RestrictionAct, ActText{Units: []string{file}, Reason: "contested", Purposes: []Purpose{ForLegalClaims, ForDataSubject}, Request: q.ID})) // and killed
	act := must(a.ExecuteRestriction(ctx, "dave", q.ID, []Purpose{ForLegalClaims, ForDataSubject}, "contested"))
	if act.ID != before.ID {
		t.Error("a run that goes on restricts again")
	}
	for _, agent := range []string{"dave", "dora", "alice"} {
		r := a.As(agent, retention.ToRead)
		var closed *NotOpenError
		if _, _, err := r.Get(ctx, object, io.Discard); !errors.As(err, &closed) || !strings.Contains(err.Error(), "GDPR art. 18") {
			t.Errorf("%s: %v", agent, err)
		}
		if u := must(r.Unit(unit, 0)); u.Closed == nil || u.Title != "" {
			t.Errorf("%s: %+v", agent, u)
		}
		if found := must(r.Search("", "form", 10)); len(found) != 0 {
			t.Errorf("%s: %+v", agent, found)
		}
		if _, _, err := r.For(ForLegalClaims, "").Get(ctx, object, io.Discard); err != nil {
			t.Errorf("%s: %v", agent, err)
		}
	}
	if v := verdictOf(t, a, file, now().Format("2006-01-02")); v != retention.Conflict {
		t.Errorf("a restricted file can be destroyed: %s", v)
	}
	must(a.EndAct(ctx, "dave", act.ID, "it was right"))
	if _, _, err := a.As("dave", retention.ToRead).Get(ctx, object, io.Discard); err != nil {
		t.Error(err)
	}
	mustAudit(t, a)
}

// memoryFiles are files in memory.
type memoryFiles map[string]*bytes.Buffer

func (m memoryFiles) File(name string) (io.Writer, error) {
	m[name] = &bytes.Buffer{}
	return m[name], nil
}

// TestPersonalData: the package has every document as it is, all that is said of them, and proofs; the
// archive knows that it was handed out.
func TestPersonalData(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s, _, docs := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin"})
	openOwn(t, a, "F-2", PersonData{FamilyName: "Durand"})
	mustSeal(t, a)
	q := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 15, Subject: s.ID}))
	files := memoryFiles{}
	index := func(_ *PersonalData, w io.Writer) error { _, err := io.WriteString(w, "index"); return err }
	_, err := a.As("dave", retention.ToRead).ExecuteAccess(ctx, q.ID, files, index)
	refusedFor(t, err, "is not decided yet")
	must(a.IdentifyRequest(ctx, "alice", q.ID, "at the desk", false))
	must(a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "RGPD art. 15"}))
	p := must(a.As("dave", retention.ToRead).ExecuteAccess(ctx, q.ID, files, index))
	if len(p.Documents) != 3 || len(p.Files) != 1 || len(files) != 2+2+3 {
		t.Errorf("%d documents, %d files, %d members", len(p.Documents), len(p.Files), len(files))
	}
	var data PersonalData
	if err := json.Unmarshal(files["data.json"].Bytes(), &data); err != nil || data.Form != personalForm || data.Subject.FamilyName != "Martin" {
		t.Errorf("%+v %v", data, err)
	}
	for name, b := range files {
		if strings.Contains(b.String(), "Durand") {
			t.Errorf("%s tells of another person", name)
		}
	}
	got := ""
	for _, d := range p.Documents {
		for _, o := range d.Objects {
			got += files[o.Name].String() + "\n"
		}
	}
	if got != "form of Martin\nmail of Martin\n" {
		t.Error(got)
	}
	events := must(a.History(docs.Units[0].ID))
	if !slices.ContainsFunc(events, func(e Event) bool { return e.Entry.Kind == "export" }) {
		t.Errorf("%+v", events)
	}
	must(a.AnswerRequest(ctx, "dora", q.ID, "", ""))
	must(a.EndExecution(ctx, "dave", q.ID, "given"))
	if q := must(a.DataRequest(q.ID)); !q.Ended() {
		t.Errorf("%+v", q)
	}
	mustAudit(t, a)
}

// TestLettersTellOfNobodyElse: a letter names no unit that concerns others, or that is restricted, as the
// package gives none.
func TestLettersTellOfNobodyElse(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s, file, docs := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin"})
	other, _, _ := openOwn(t, a, "F-2", PersonData{FamilyName: "Durand"})
	both := must(a.OpenFile(ctx, "alice", NewFile{Procedure: "OWN", Number: "F-3", Persons: []string{s.ID, other.ID}})).Units[0].ID
	q := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 15, Subject: s.ID}))
	r := a.As("dora", retention.ToRead)
	letter := must(r.LetterContext(ctx, q.ID))
	if letter.Titles[file] == "" || letter.Titles[docs.Units[0].ID] == "" || letter.Titles[both] != "" {
		t.Errorf("%+v", letter.Titles)
	}
	must(a.Act(ctx, "dora", "", RestrictionAct, ActText{Units: []string{docs.Units[0].ID}, Reason: "r", Purposes: []Purpose{ForLegalClaims}}))
	if letter = must(r.LetterContext(ctx, q.ID)); letter.Titles[file] == "" || letter.Titles[docs.Units[0].ID] != "" {
		t.Errorf("%+v", letter.Titles)
	}
}

// TestPackagesOfWhoIsNotThere: the package of a person without files is logged as read, and a request
// that names no subject gives nothing of a file that concerns two.
func TestPackagesOfWhoIsNotThere(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	one, _, _ := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin"})
	two := must(a.NewSubject(ctx, "alice", "", PersonData{FamilyName: "Durand"}, nil))
	both := must(a.OpenFile(ctx, "alice", NewFile{Procedure: "OWN", Number: "F-2", Persons: []string{one.ID, two.ID}})).Units[0].ID
	alone := must(a.NewSubject(ctx, "alice", "", PersonData{FamilyName: "Petit"}, nil))
	give := func(n NewRequest) (*PersonalData, error) {
		q := must(a.OpenRequest(ctx, "alice", n))
		must(a.IdentifyRequest(ctx, "alice", q.ID, "at the desk", false))
		must(a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "RGPD art. 15"}))
		return a.As("dave", retention.ToRead).ExecuteAccess(ctx, q.ID, memoryFiles{}, func(*PersonalData, io.Writer) error { return nil })
	}
	if _, err := give(NewRequest{Article: 15, Units: []string{both}}); err == nil {
		t.Error("what concerns two persons is given to whoever asks")
	}
	must(give(NewRequest{Article: 15, Subject: alone.ID}))
	read := 0
	err := a.As("dora", retention.ToRead).AccessLog(ctx, "", AccessFilter{Unit: alone.ID}, func(x Access) error {
		if x.Verb == VerbPackage {
			read++
		}
		return nil
	})
	if err != nil || read != 1 {
		t.Errorf("%d packages are logged, %v", read, err)
	}
}

// TestRequestFollowsAMerge: a request of somebody who was merged since is of the whole person.
func TestRequestFollowsAMerge(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s, _, _ := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin"})
	other, _, _ := openOwn(t, a, "F-2", PersonData{FamilyName: "Martin"})
	for _, f := range []string{"F-1", "F-2"} {
		must(a.RecordEvent(ctx, "alice", EventRequest{File: f, Event: "decision", Day: "2015-03-01"}))
	}
	q := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 17, Subject: s.ID}))
	must(a.IdentifyRequest(ctx, "alice", q.ID, "at the desk", false))
	must(a.MergeSubjects(ctx, "alice", s.ID, other.ID, "the same"))
	_, an, err := a.AnalyseRequest(ctx, "alice", q.ID)
	if err != nil || len(an.Findings) != 6 || !slices.Equal(an.Members, []string{other.ID, s.ID}) {
		t.Fatalf("%+v %v", an, err)
	}
	must(a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: "b"}))
	must(a.AnswerRequest(ctx, "dora", q.ID, "", ""))
	out, err := a.ExecuteErasure(ctx, "dave", q.ID, nil)
	if err != nil || out.Destroyed != 6 || len(out.Subjects) != 2 || !out.Words {
		t.Errorf("%+v %v", out, err)
	}
	mustAudit(t, a)
}

// TestBirthsAreVeiled: who may not read a file learns of a rule that counts from a birth the year alone.
func TestBirthsAreVeiled(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s := must(a.NewSubject(ctx, "alice", "", PersonData{FamilyName: "Martin", BirthDate: "2015-07-09"}, nil))
	f := must(a.OpenFile(ctx, "alice", NewFile{Procedure: "MDPH", Number: "F-1", Persons: []string{s.ID}, Rule: "MDPH-ENFANT", Fields: map[string]string{"depot": "2026-01-05", "nature": "première"}}))
	unit := f.Units[0].ID
	says := func(agent string) string {
		r := a.As(agent, retention.ToRead)
		u, err := r.Unit(unit, 0)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := r.Retention(unit, "2026-01-05")
		if err != nil {
			t.Fatal(err)
		}
		return string(mustJSON(u)) + string(mustJSON(rules))
	}
	if text := says("alice"); !strings.Contains(text, "2033-07-09") {
		t.Error("who may read does not learn when the rule starts")
	}
	if text := says("nobody"); strings.Contains(text, "-07-09") || !strings.Contains(text, "2033") {
		t.Errorf("the day of birth follows from what is told: %s", text)
	}
}

// TestRequestClock: a month, clamped to its last day; two more when it is extended within the first.
func TestRequestClock(t *testing.T) {
	for _, tt := range []struct {
		day    string
		months int
		want   string
	}{{"2026-01-31", 1, "2026-02-28"}, {"2028-01-31", 1, "2028-02-29"}, {"2026-11-25", 1, "2026-12-25"}, {"2026-11-30", 3, "2027-02-28"}, {"2026-12-31", 2, "2027-02-28"}} {
		if got := monthsAfter(tt.day, tt.months); got != tt.want {
			t.Errorf("%d months after %s: %s, want %s", tt.months, tt.day, got, tt.want)
		}
	}
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	s := must(a.NewSubject(ctx, "alice", "", PersonData{FamilyName: "Martin"}, nil))
	late := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 15, Subject: s.ID, Received: now().AddDate(0, -2, 0).Format("2006-01-02")}))
	_, err := a.ExtendRequest(ctx, "dora", late.ID, 2, "complex")
	refusedFor(t, err, "the first month is over")
	if st := must(a.Status()); st.LateRequests != 1 || !slices.ContainsFunc(st.Problems, func(p string) bool { return strings.Contains(p, "requests of data subjects are late") }) {
		t.Errorf("%+v", st)
	}
	q := must(a.OpenRequest(ctx, "alice", NewRequest{Article: 15, Subject: s.ID}))
	_, err = a.ExtendRequest(ctx, "dora", q.ID, 3, "complex")
	refusedFor(t, err, "by one or two")
	q = must(a.ExtendRequest(ctx, "dora", q.ID, 2, "complex"))
	if q.Due != monthsAfter(q.Received, 3) {
		t.Errorf("%+v", q)
	}
	_, err = a.ExtendRequest(ctx, "dora", q.ID, 1, "complex")
	refusedFor(t, err, "is extended already")
	q = must(a.WithdrawRequest(ctx, "alice", q.ID, "solved by phone"))
	_, err = a.AnswerRequest(ctx, "dora", q.ID, "", "")
	refusedFor(t, err, "was withdrawn")
	mustAudit(t, a)
}

// TestCheckGDPR names what is to be looked at, and nothing when all is well.
func TestCheckGDPR(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	defer func() { a.Close() }()
	codes := func() map[GDPRCode]int {
		found := map[GDPRCode]int{}
		if err := a.CheckGDPR(ctx, "", func(f GDPRFinding) error { found[f.Code]++; return nil }); err != nil {
			t.Fatal(err)
		}
		return found
	}
	s, _, _ := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin"})
	if found := codes(); len(found) != 0 {
		t.Error(found)
	}
	deposit(t, a, digital("no rule", "x"))
	must(a.OpenRequest(ctx, "alice", NewRequest{Article: 15, Subject: s.ID, Received: "2020-01-01"}))
	must(a.RecordEvent(ctx, "alice", EventRequest{File: "F-1", Event: "decision", Day: "2015-03-01"}))
	must(a.CloseFile(ctx, "alice", EventRequest{File: "F-1"}))
	found := codes()
	want := map[GDPRCode]int{GDPRNoRule: 1, GDPRLate: 1, GDPRPastDue: 3, GDPRNoFile: 1}
	for code, n := range want {
		if found[code] != n {
			t.Errorf("%s: %d, want %d", code, found[code], n)
		}
	}
	if len(found) != len(want) {
		t.Error(found)
	}
}
