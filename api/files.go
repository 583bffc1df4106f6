package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
)

func (s *service) addFiles() {
	add(s, huma.Operation{OperationID: "listFiles", Method: http.MethodGet, Path: "/v1/files", Summary: "List citizen files, in the order in which they were opened"}, s.listFiles)
	add(s, huma.Operation{OperationID: "showFile", Method: http.MethodGet, Path: "/v1/files/{file}", Summary: "A citizen file with its documents, events and rules"}, s.showFile)
	add(s, huma.Operation{OperationID: "findFiles", Method: http.MethodPost, Path: "/v1/files/find", Summary: "Find the open citizen files of a person, by a federated identifier",
		Description: "For who deposits: it tells identifiers alone. By POST, so that nobody's identifier stands in addresses."}, s.findFiles)
	add(s, huma.Operation{OperationID: "openFile", Method: http.MethodPost, Path: "/v1/files", DefaultStatus: http.StatusCreated, Summary: "Open a citizen file"}, s.openFile)
	add(s, huma.Operation{OperationID: "recordEvent", Method: http.MethodPost, Path: "/v1/files/{file}/events", DefaultStatus: http.StatusCreated, Summary: "Record that an event of its procedure happened to a file"}, s.recordEvent)
	add(s, huma.Operation{OperationID: "closeFile", Method: http.MethodPost, Path: "/v1/files/{file}/close", DefaultStatus: http.StatusCreated, Summary: "Close a file: rules that wait for its end start"}, s.closeFile)
	add(s, huma.Operation{OperationID: "takeBackEvent", Method: http.MethodPost, Path: "/v1/files/{file}/events/{act}/take-back", DefaultStatus: http.StatusCreated, Summary: "Take back an event that was recorded by mistake"}, s.takeBackEvent)
	add(s, huma.Operation{OperationID: "reopenFile", Method: http.MethodPost, Path: "/v1/files/{file}/reopen", DefaultStatus: http.StatusCreated, Summary: "Open a closed file again"}, s.reopenFile)
}

type listFilesInput struct {
	Reads
	Paged
	Procedure string `query:"procedure" maxLength:"64"`
	State     string `query:"state" enum:"open,closed"`
	Person    string `query:"subject" pattern:"^h[a-z2-7]{26}$" doc:"data subject whom they concern"`
}

type filesOutput struct {
	Body archive.FilePage
}

func (s *service) listFiles(_ context.Context, who *Identity, in *listFilesInput) (*filesOutput, error) {
	p, err := s.reader(who, in.Reads).Files(archive.FileFilter{Tenant: who.Tenant, Procedure: in.Procedure, State: in.State, Person: in.Person, After: in.After, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return &filesOutput{p}, nil
}

// FilePath names a citizen file.
type FilePath struct {
	File string `path:"file" minLength:"1" maxLength:"200" doc:"its unit, or its number"`
}

type showFileInput struct {
	Reads
	Fresh
	FilePath
}

func (s *service) showFile(_ context.Context, who *Identity, in *showFileInput) (*shown[*archive.File], error) {
	unit, err := s.fileUnit(who, in.File)
	if err != nil {
		return nil, err
	}
	as, err := s.of(who).AsOf(unit) // before it is read: what changes in between is not passed off as read
	if err != nil {
		return nil, err
	}
	f, err := s.reader(who, in.Reads).File(who.Tenant, unit)
	if err != nil {
		return nil, err
	}
	return show(as, in.Fresh, f), nil
}

// FileQuery names whose files to find.
type FileQuery struct {
	Person    Person `json:"person"`
	Procedure string `json:"procedure,omitempty" maxLength:"64" doc:"of which the files are; of any when absent"`
}

// FilesFound are the open files of a person.
type FilesFound struct {
	Subject string   `json:"subject,omitempty" doc:"data subject who has the identifier; absent when there is none"`
	Files   []string `json:"files" doc:"units of the open files"`
}

type findFilesInput struct {
	Body FileQuery
}

type filesFoundOutput struct {
	Body FilesFound
}

func (s *service) findFiles(_ context.Context, who *Identity, in *findFilesInput) (*filesFoundOutput, error) {
	id := archive.FederatedID{Issuer: in.Body.Person.Issuer, Sub: in.Body.Person.Sub}
	if in.Body.Procedure != "" { // one that is not known is an error, and not a person without files
		if _, err := s.of(who).Procedure(who.Tenant, in.Body.Procedure); err != nil {
			return nil, err
		}
	}
	subject, open, _, err := s.of(who).FilesOfPerson(who.Tenant, in.Body.Procedure, id)
	if err != nil && !errors.Is(err, archive.ErrNotFound) {
		return nil, err
	}
	out := &filesFoundOutput{Body: FilesFound{Subject: subject, Files: []string{}}}
	out.Body.Files = append(out.Body.Files, open...)
	return out, nil
}

// fileUnit is the unit of a citizen file, by its number or its unit.
func (s *service) fileUnit(who *Identity, name string) (string, error) {
	if unitForm.MatchString(name) {
		return name, s.ours(who, name)
	}
	return s.of(who).FileOf(who.Tenant, name)
}

var unitForm = regexp.MustCompile(`^u[a-z2-7]{26}$`)

// NewFile says how to open a citizen file.
type NewFile struct {
	Procedure string            `json:"procedure" minLength:"1" maxLength:"64"`
	Number    string            `json:"number" minLength:"1" maxLength:"200"`
	Title     string            `json:"title,omitempty" maxLength:"10000" doc:"of the procedure and the number when absent"`
	Opened    string            `json:"opened,omitempty" format:"date" doc:"today when absent"`
	Persons   []string          `json:"persons,omitempty" maxItems:"100" doc:"data subjects whom it concerns"`
	Fields    map[string]string `json:"fields,omitempty"`
	Rule      string            `json:"rule,omitempty"`
	Access    string            `json:"accessRule,omitempty"`
}

type openFileInput struct {
	Keyed
	Body NewFile
}

type openedOutput struct {
	Replayed string `header:"Idempotency-Replayed"`
	Location string `header:"Location"`
	Body     Deposited
}

func (s *service) openFile(ctx context.Context, who *Identity, in *openFileInput) (*openedOutput, error) {
	b := in.Body
	d, replayed, err := once(ctx, s, who, in.Key, "openFile", b, func(ctx context.Context) (Deposited, error) {
		done, err := s.of(who).OpenFile(ctx, who.Name, archive.NewFile{Tenant: who.Tenant, Procedure: b.Procedure, Number: b.Number, Title: b.Title, Opened: b.Opened, Persons: b.Persons, Fields: b.Fields, Rule: b.Rule, Access: b.Access})
		if err != nil {
			return Deposited{}, err
		}
		return s.deposited(who, done.Receipt.Index)
	}, by(who, s.deposited))
	if err != nil {
		return nil, err
	}
	out := &openedOutput{Replayed: replayed, Body: d}
	if len(d.Units) > 0 {
		out.Location = "/v1/files/" + d.Units[0].ID
	}
	return out, nil
}

// Happening is what happened to a file.
type Happening struct {
	Day    string `json:"day,omitempty" format:"date" doc:"today when absent"`
	Reason string `json:"reason,omitempty" maxLength:"1000"`
}

// FileEvent is an event of its procedure that happened to a file.
type FileEvent struct {
	Event string `json:"event" minLength:"1" maxLength:"64" doc:"code, by the procedure"`
	Happening
}

type eventInput struct {
	Keyed
	IfMatch
	FilePath
	Body FileEvent
}

type happeningInput struct {
	Keyed
	IfMatch
	FilePath
	Body Happening
}

type actOutput struct {
	Replayed string `header:"Idempotency-Replayed"`
	Body     *archive.Act
}

func (s *service) recordEvent(ctx context.Context, who *Identity, in *eventInput) (*actOutput, error) {
	return s.happen(ctx, who, in.Key, in.IfMatch, "recordEvent", archive.EventRequest{Tenant: who.Tenant, File: in.File, Event: in.Body.Event, Day: in.Body.Day, Reason: in.Body.Reason}, s.of(who).RecordEvent)
}

func (s *service) closeFile(ctx context.Context, who *Identity, in *happeningInput) (*actOutput, error) {
	return s.happen(ctx, who, in.Key, in.IfMatch, "closeFile", archive.EventRequest{Tenant: who.Tenant, File: in.File, Day: in.Body.Day, Reason: in.Body.Reason}, s.of(who).CloseFile)
}

func (s *service) reopenFile(ctx context.Context, who *Identity, in *happeningInput) (*actOutput, error) {
	return s.happen(ctx, who, in.Key, in.IfMatch, "reopenFile", archive.EventRequest{Tenant: who.Tenant, File: in.File, Day: in.Body.Day, Reason: in.Body.Reason}, s.of(who).ReopenFile)
}

// happen has something happen to a file, once.
func (s *service) happen(ctx context.Context, who *Identity, key string, match IfMatch, operation string, r archive.EventRequest, do func(context.Context, string, archive.EventRequest) (*archive.Act, error)) (*actOutput, error) {
	unit, err := s.fileUnit(who, r.File)
	if err != nil {
		return nil, err
	}
	act, replayed, err := once(ctx, s, who, key, operation, r,
		held(s, unit, match, false, func(ctx context.Context) (*archive.Act, error) { return do(ctx, who.Name, r) }),
		by(who, s.actOf))
	if err != nil {
		return nil, err
	}
	return &actOutput{replayed, act}, nil
}

type takeBackInput struct {
	Keyed
	IfMatch
	FilePath
	ActPath
	Body Reason
}

// takeBackEvent ends the act of an event. If-Match is of the file.
func (s *service) takeBackEvent(ctx context.Context, who *Identity, in *takeBackInput) (*actOutput, error) {
	unit, err := s.fileUnit(who, in.File)
	if err != nil {
		return nil, err
	}
	act, err := s.actOfKind(who, in.Act, archive.EventAct)
	if err == nil && len(act.Units) > 0 && !slices.Contains(act.Units, unit) {
		err = fmt.Errorf("event %q of file %s: %w", in.Act, unit, archive.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	act, replayed, err := once(ctx, s, who, in.Key, "takeBackEvent "+in.Act, in.Body, held(s, unit, in.IfMatch, false, func(ctx context.Context) (*archive.Act, error) {
		return s.of(who).TakeBackEvent(ctx, who.Name, in.Act, in.Body.Reason)
	}), by(who, s.actOf))
	if err == nil { // what happened, and when, is for who may read it
		act, err = s.reader(who, Reads{}).Act(act.ID)
	}
	if err != nil {
		return nil, err
	}
	return &actOutput{replayed, act}, nil
}

// actOf is the act that a ledger entry records.
func (s *service) actOf(who *Identity, entry int64) (*archive.Act, error) {
	var detail integrity.ActDetail
	if err := s.detail(entry, &detail); err != nil {
		return nil, err
	}
	return s.of(who).ActOf(detail.Act)
}

// detail reads the detail of a ledger entry.
func (s *service) detail(entry int64, into any) error {
	b, err := s.a.Entry(entry)
	if err != nil {
		return err
	}
	e, err := integrity.ParseEntry(b)
	if err != nil {
		return err
	}
	return e.ReadDetail(e.Kind, into)
}
