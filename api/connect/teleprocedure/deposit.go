package teleprocedure

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
	"time"

	"sae/api"
	"sae/api/client"
	"sae/archive/procedure"
)

// Depositor deposits what lies in a drop folder.
type Depositor struct {
	Folder     *Folder
	Client     *client.Client
	Procedures func(id string) (*procedure.Procedure, error)
	Tell       func(Outcome) // what became of each submission; names nobody
}

// Outcome is what became of a submission in a pass.
type Outcome struct {
	Ref      string `json:"ref"`
	State    State  `json:"state"`
	Entry    int64  `json:"ledgerEntry,omitempty"`
	Problems int    `json:"problems,omitempty"` // that its report lists
	Why      string `json:"why,omitempty"`      // it comes later

	away bool // the archive is not reached
}

// State is where a submission is.
type State string

// The states.
const (
	Deposited State = "deposited"
	Refused   State = "refused"
	Later     State = "later" // it stays in in/, and is tried again
	// Incomplete: it stays in in/, and has had no manifest for long.
	Incomplete State = "incomplete"
)

// Answer is written beside a submission that was deposited.
type Answer struct {
	Ref       string         `json:"ref"`
	ID        string         `json:"id"`
	Procedure string         `json:"procedure"`
	Subject   string         `json:"subject"`
	File      string         `json:"file"` // unit of the citizen file
	Opened    bool           `json:"opened"`
	Deposit   *api.Deposited `json:"deposit"`
	Event     string         `json:"event,omitempty"` // act
	Problems  Problems       `json:"problems,omitempty"`
}

// Report is written beside a submission that was refused.
type Report struct {
	Ref      string    `json:"ref,omitempty"`
	ID       string    `json:"id,omitempty"`
	At       time.Time `json:"at"`
	Problems Problems  `json:"problems"`
}

// enough submissions for which the archive is away, one behind the other, end a pass.
const enough = 3

// abandoned is how long a submission may be without its manifest before that is told.
const abandoned = time.Hour

// Pass deposits all that is complete. An error ends it: the archive does not let in who asks, or the
// folder fails.
func (d *Depositor) Pass(ctx context.Context) error {
	names, err := d.Folder.names()
	if err != nil {
		return err
	}
	for away := 0; len(names) > 0 && away < enough; names = names[1:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		out, err := d.one(ctx, names[0])
		if err != nil {
			return err
		}
		if out == nil {
			continue
		}
		if away++; !out.away {
			away = 0
		}
		d.Tell(*out)
	}
	return nil
}

// one deposits one submission; nil while it is not complete.
func (d *Depositor) one(ctx context.Context, name string) (*Outcome, error) {
	it, err := d.Folder.open(name)
	if err != nil {
		return d.ended(name, &Outcome{}, nil, err)
	}
	defer it.close()
	s, digest, err := it.read()
	if err != nil {
		return d.ended(name, &Outcome{}, nil, err)
	}
	out := &Outcome{Ref: Ref(s.Procedure, s.ID)}
	r, err := d.Folder.load(out.Ref)
	if err != nil {
		return nil, err
	}
	if !r.isOf(digest) {
		return d.ended(name, out, s, Problems{"id: another submission of this id was deposited, or is on its way: a submission is deposited once"})
	}
	if r.Done == nil {
		if err := d.deposit(ctx, out.Ref, it, s, r); err != nil {
			return d.ended(name, out, s, err)
		}
	}
	out.State, out.Entry, out.Problems = Deposited, r.Deposit.Entry, len(r.Problems)
	return out, d.Folder.finish(name, done, r.answer(out.Ref, s))
}

// incomplete tells of a submission that is not complete for long; nil of one that may become so.
func (f *Folder) incomplete(name string) *Outcome {
	info, err := os.Lstat(filepath.Join(f.path, in, name))
	if err != nil || time.Since(info.ModTime()) < abandoned {
		return nil
	}
	return &Outcome{State: Incomplete, Why: "since " + info.ModTime().UTC().Format(time.RFC3339) + " it has no " + ManifestName}
}

// ended says what becomes of a submission that was not deposited.
func (d *Depositor) ended(name string, out *Outcome, s *Submission, err error) (*Outcome, error) {
	var bad Problems
	var refusal *client.Problem
	switch {
	case errors.Is(err, errIncomplete):
		return d.Folder.incomplete(name), nil
	case client.Ours(err):
		return nil, fmt.Errorf("the archive does not let this connector do what it must: %w", err)
	case client.Later(err):
		out.away = client.Away(err)
		out.State, out.Why = Later, strings.ReplaceAll(err.Error(), "\n", "; ")
		return out, nil
	case errors.As(err, &bad):
	case errors.As(err, &refusal):
		bad = strings.Split(refusal.Error(), "\n")
	default:
		return nil, err
	}
	out.State, out.Problems = Refused, len(bad)
	report := Report{Ref: out.Ref, At: time.Now().UTC().Truncate(time.Second), Problems: bad}
	if s != nil {
		report.ID = s.ID
	}
	return out, d.Folder.finish(name, refused, report)
}

// deposit does what is left to do for a submission.
func (d *Depositor) deposit(ctx context.Context, ref string, it *item, s *Submission, r *record) error {
	p, err := d.Procedures(s.Procedure)
	if err != nil {
		return err
	}
	want, err := s.plan(p)
	if held := it.hold(s); err == nil || errors.As(held, new(Problems)) {
		err = joined(err, held)
	}
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return d.intoFile(ctx, ref, want, r) },
		func() error { return d.units(ctx, ref, it, s, want, r) },
		func() error { return d.happened(ctx, ref, want, r) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	now := time.Now().UTC()
	r.Done = &now
	return d.Folder.save(ref, r)
}

// joined is all that is wrong by both.
func joined(a, b error) error {
	var first, second Problems
	if errors.As(a, &first) && errors.As(b, &second) {
		return append(first, second...)
	}
	return errors.Join(a, b)
}

// intoFile finds the citizen file into which a submission goes. Person and file are recorded when there
// is none. What a lost answer left is found: nothing here is done twice.
func (d *Depositor) intoFile(ctx context.Context, ref string, want *plan, r *record) error {
	if r.File != "" {
		return nil
	}
	found, err := d.Client.FindFiles(ctx, api.FileQuery{Person: want.person, Procedure: want.file.Procedure})
	if err != nil {
		return err
	}
	switch r.Subject = found.Subject; len(found.Files) {
	case 0:
	case 1:
		r.File = found.Files[0]
		return d.Folder.save(ref, r)
	default:
		return Problems{fmt.Sprintf("the person has %d open files of procedure %s: %s: close those that are not to take it", len(found.Files), want.file.Procedure, strings.Join(found.Files, ", "))}
	}
	if r.Subject == "" {
		if r.Subject, err = d.Client.NewSubject(ctx, key(ref, recordSubject), api.NewSubject{Names: want.names, Identities: []api.Person{want.person}}); err != nil {
			return err
		}
	}
	want.file.Persons = []string{r.Subject}
	opened, err := d.Client.OpenFile(ctx, key(ref, openFile), want.file)
	if err != nil {
		return err
	}
	if len(opened.Units) != 1 {
		return Problems{"the file that was opened for this submission was destroyed since"}
	}
	r.File, r.Opened = opened.Units[0].ID, true
	return d.Folder.save(ref, r)
}

// key names a request of a submission to the archive, the same for ever.
func key(ref, step string) string { return "teleprocedure-" + ref + "-" + step }

// ask remembers that a step is asked for. One whose answer the archive may not remember is not asked
// for again.
func (d *Depositor) ask(ref, step string, r *record) error {
	if at := r.Asked[step]; !at.IsZero() {
		if time.Since(at) > remembered {
			return Problems{fmt.Sprintf("%s was asked for on %s, and no answer came: look into file %s whether it was done. If it was not, remove %s/%s.json and put the submission back into %s/",
				step, at.Format(time.RFC3339), r.File, state, ref, in)}
		}
		return nil
	}
	r.Asked[step] = time.Now().UTC()
	return d.Folder.save(ref, r)
}

// units deposits the form, the pieces and the answers.
func (d *Depositor) units(ctx context.Context, ref string, it *item, s *Submission, want *plan, r *record) error {
	if r.Deposit != nil {
		return nil
	}
	m := &api.DepositMetadata{File: r.File, Units: want.units}
	files := s.files()
	var contents []client.Content
	for i := range m.Units {
		part := fmt.Sprintf("p%d", i)
		m.Units[i].Content.Part = part
		open := func() (io.ReadCloser, error) { return it.files.Open(files[i].Name) }
		if i >= len(files) {
			b, err := json.MarshalIndent(s.Answers, "", "  ")
			if err != nil {
				return fmt.Errorf("encoding the answers: %w", err)
			}
			open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
		}
		contents = append(contents, client.Content{Part: part, Open: open})
	}
	if err := d.ask(ref, deposit, r); err != nil {
		return err
	}
	made, err := d.Client.Deposit(ctx, key(ref, deposit), m, contents, nil)
	if client.Refused(err) { // something may have happened to the file meanwhile: the archive then says to deposit again
		made, err = d.Client.Deposit(ctx, key(ref, deposit), m, contents, nil)
	}
	if err == nil {
		r.Deposit = made
		return d.Folder.save(ref, r)
	}
	if client.Refused(err) || client.Ours(err) { // an answer: nothing was archived
		delete(r.Asked, deposit)
		r.File, r.Opened = "", false // it may be another when the submission comes again
		err = errors.Join(err, d.Folder.save(ref, r))
	}
	return err
}

// happened records the event that a form is. When the archive refuses it, the form is deposited all the
// same, and the answer says so.
func (d *Depositor) happened(ctx context.Context, ref string, want *plan, r *record) error {
	if want.event == nil || r.Event != "" {
		return nil
	}
	err := d.ask(ref, recordEvent, r)
	if err == nil {
		r.Event, err = d.Client.RecordEvent(ctx, key(ref, recordEvent), r.File, *want.event)
	}
	var bad Problems
	var refusal *client.Problem
	switch {
	case err == nil:
		return d.Folder.save(ref, r)
	case errors.As(err, &bad):
	case client.Refused(err) && errors.As(err, &refusal):
		bad = strings.Split(refusal.Error(), "\n")
	default:
		return err
	}
	for _, s := range bad {
		r.Problems.addf("event %s: %s", want.event.Event, s)
	}
	return nil
}
