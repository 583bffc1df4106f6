package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sae/archive/procedure"
	"sae/retention"
)

// A citizen file (dossier usager) is a unit of level RecordGrp that belongs to a procedure, and under
// which the documents of one person's case stand. It declares the rules; documents inherit them, or
// declare those of their type. What happens to it are acts: events of its procedure, its closing and
// reopening. On the day of an event start the rules that wait for it.

// CitizenFile is what the description of a unit says of it as a citizen file. Its number is the
// Subject of the description, its fields are in Custom.
type CitizenFile struct {
	Procedure string   `json:"procedure"`
	Version   int      `json:"procedureVersion"` // when it was opened
	Persons   []string `json:"persons,omitempty"`
}

// fileRoles may open files, and say what happens to them.
var fileRoles = []Role{Depositor, Archivist, OriginatingAgency}

// What happens to a file without an event of its procedure.
const (
	fileClosed   = "closed"
	fileReopened = "reopened"
)

// closingTriggers start when a file is closed. A rule without a trigger, and one that counts from the
// latest document, do so for the file as a whole.
var closingTriggers = []string{"file-closed", "document-date", ""}

// NewFile says how to open a citizen file.
type NewFile struct {
	Tenant    string
	Procedure string
	Number    string
	Title     string   // of the procedure and the number when empty
	Opened    string   // day, YYYY-MM-DD; today when empty
	Persons   []string // data subjects whom it concerns
	Fields    map[string]string
	Rule      string // one of the procedure's appraisal rules; its first when empty
	Access    string // likewise
}

// OpenFile opens a citizen file, on behalf of agent.
func (a *Archive) OpenFile(ctx context.Context, agent string, n NewFile) (*Deposited, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	of, err := a.tenant(n.Tenant)
	if err == nil {
		err = of.mayIfNamed(agent, fileRoles...)
	}
	if err != nil {
		return nil, err
	}
	p, err := a.Procedure(of.ID, n.Procedure)
	if err != nil {
		return nil, err
	}
	a.acting.Lock() // two of one number do not open at once, nor is a subject merged meanwhile
	defer a.acting.Unlock()
	bad := &Refusal{}
	births, err := a.checkFile(of.ID, p, &n, bad)
	if err == nil {
		err = bad.orNil()
	}
	if err != nil {
		return nil, err
	}
	u := NewUnit{Parent: -1, Where: "the file", Title: n.Title, StartDate: n.Opened, Subject: n.Number, Rule: n.Rule, Access: n.Access, Custom: n.Fields,
		file: &CitizenFile{Procedure: p.ID, Version: p.Version, Persons: n.Persons}}
	u.RuleStart, u.AccessStart = a.startByBirth(of.ID, n.Rule, births), a.startByBirth(of.ID, n.Access, births)
	return a.Deposit(ctx, agent, Deposit{Tenant: of.ID, Agreement: p.Agreement, Agency: p.Agency, Units: []NewUnit{u}})
}

// checkFile says all that is wrong with a file to open, and fills in what is not said; births are
// those of its persons.
func (a *Archive) checkFile(tenant string, p *ProcedureVersion, n *NewFile, bad *Refusal) (births []string, err error) {
	if n.Number == "" || !p.NumberFits(n.Number) {
		bad.addf("the number is not of the form that procedure %s wants: %s", p.ID, cmp.Or(p.Number, "any text"))
	}
	checkText("number", n.Number, 200, bad)
	n.Opened = cmp.Or(n.Opened, now().Format(time.DateOnly))
	if _, err := time.Parse(time.DateOnly, n.Opened); err != nil {
		bad.addf("opened: %q is not a day: want YYYY-MM-DD", n.Opened)
	}
	n.Title = cmp.Or(n.Title, p.Name+" "+n.Number)
	bad.Problems = append(bad.Problems, procedure.Values(p.Fields, n.Fields)...)
	n.Rule = cmp.Or(n.Rule, p.Rules.Appraisal[0])
	if !slices.Contains(p.Rules.Appraisal, n.Rule) {
		bad.addf("rule %q is not one of procedure %s: %s", n.Rule, p.ID, strings.Join(p.Rules.Appraisal, ", "))
	}
	if len(p.Rules.Access) > 0 {
		n.Access = cmp.Or(n.Access, p.Rules.Access[0])
	}
	if n.Access != "" && !slices.Contains(p.Rules.Access, n.Access) {
		bad.addf("access rule %q is not one of procedure %s: %s", n.Access, p.ID, strings.Join(p.Rules.Access, ", "))
	}
	n.Persons = slices.Compact(slices.Sorted(slices.Values(n.Persons)))
	if len(n.Persons) > maxPersons {
		bad.addf("%d persons: a file concerns at most %d", len(n.Persons), maxPersons)
		return nil, nil
	}
	err = a.cat.view(func(t *tx) error {
		if other, err := a.fileNumbered(t, tenant, n.Number); err == nil {
			bad.addf("there is a file with this number already: unit %s", other.Unit)
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		for _, id := range n.Persons {
			s, err := a.subject(t, id)
			switch {
			case errors.Is(err, ErrNotFound) || err == nil && s.Tenant != tenant:
				bad.addf("subject %q: %v", id, ErrNotFound)
			case err != nil:
				return err
			case s.MergedInto != "":
				bad.addf("subject %s was merged into %s: name that", id, s.MergedInto)
			case s.BirthDate != "":
				births = append(births, s.BirthDate)
			}
		}
		return nil
	})
	return births, err
}

// maxPersons bounds the persons whom a file concerns.
const maxPersons = 100

// startByBirth is the day on which a rule that counts from a birthday starts, when the birth of the
// one person is known; else "".
func (a *Archive) startByBirth(tenant, rule string, births []string) string {
	r, ok := a.schedule(tenant).Rule(rule)
	if !ok || r.Event() != "birthday" || len(births) != 1 {
		return ""
	}
	day, err := time.Parse(time.DateOnly, births[0])
	if err != nil {
		return ""
	}
	return r.StartOf(day).Format(time.DateOnly)
}

// fileNumbered is the citizen file of a number.
func (a *Archive) fileNumbered(t *tx, tenant, number string) (file *Unit, err error) {
	err = a.namedBy(t, idxSubject, tenant, number, 0, ^uint64(0), func(id string, _ int, _ uint64) (bool, error) {
		u, err := a.unit(t, id, 0)
		if err == nil && u.File != nil && u.Subject == number {
			file = u
		}
		return file == nil, err
	})
	if err == nil && file == nil {
		err = fmt.Errorf("citizen file %q: %w", number, ErrNotFound)
	}
	return file, err
}

// fileUnit is a citizen file by its number, or by its unit.
func (a *Archive) fileUnit(t *tx, tenant, name string) (*Unit, error) {
	if !idForm.MatchString(name) || !isUnit(name) {
		return a.fileNumbered(t, tenant, name)
	}
	u, err := a.unit(t, name, 0)
	if err == nil && (u.File == nil || u.Tenant != tenant) {
		err = fmt.Errorf("citizen file %q: %w", name, ErrNotFound)
	}
	return u, err
}

// FileOf gives the unit of a citizen file that its number names, or the one open file of a procedure
// that concerns who has a federated identifier.
func (a *Archive) FileOf(tenant, number string) (unit string, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return "", err
	}
	err = a.cat.view(func(t *tx) error {
		u, err := a.fileUnit(t, of.ID, number)
		if err == nil {
			unit = u.Unit
		}
		return err
	})
	return unit, err
}

// FileOfPerson gives the one open file of a procedure that concerns who has a federated identifier.
func (a *Archive) FileOfPerson(tenant, procedure string, id FederatedID) (unit string, err error) {
	subject, open, closed, err := a.FilesOfPerson(tenant, procedure, id)
	switch {
	case err != nil:
		return "", err
	case len(open) == 1:
		return open[0], nil
	case len(open) == 0:
		return "", &Refusal{Problems: []string{fmt.Sprintf("subject %s has no open file%s (closed: %d): open one with sae file open", subject, ofProcedure(procedure), closed)}}
	}
	return "", &Refusal{Problems: []string{fmt.Sprintf("subject %s has %d open files%s: name one of %s", subject, len(open), ofProcedure(procedure), strings.Join(open, ", "))}}
}

// FilesOfPerson gives the subject that has a federated identifier, her open files of a procedure, or of
// any, and how many there are that are closed.
func (a *Archive) FilesOfPerson(tenant, procedure string, id FederatedID) (subject string, open []string, closed int, err error) {
	s, err := a.FindSubject(tenant, id)
	if err == nil && procedure != "" {
		_, err = a.Procedure(tenant, procedure)
	}
	if err != nil {
		return "", nil, 0, err
	}
	err = a.cat.view(func(t *tx) error {
		for _, f := range s.Files {
			u, err := a.unit(t, f.Unit, 0)
			if err != nil {
				return err
			}
			if u.File == nil || procedure != "" && u.File.Procedure != procedure {
				continue
			}
			acts, err := a.actsOn(t, f.Unit, nil)
			if err != nil {
				return err
			}
			if isClosed(acts) {
				closed++
			} else {
				open = append(open, f.Unit)
			}
		}
		return nil
	})
	return s.ID, open, closed, err
}

func ofProcedure(id string) string {
	if id == "" {
		return ""
	}
	return " of procedure " + id
}

// isClosed says by the acts on a file, in their order, whether it is closed.
func isClosed(acts []*Act) (closed bool) {
	for _, act := range acts {
		switch {
		case act.Closes:
			closed = true
		case act.Reopens:
			closed = false
		}
	}
	return closed
}

// FileEvent is something that happened to a file.
type FileEvent struct {
	Act      string    `json:"act"`
	Event    string    `json:"event"`
	Name     string    `json:"name,omitempty"`
	Day      string    `json:"day"`
	Recorded time.Time `json:"recorded"`
	Entry    int64     `json:"ledgerEntry"`
	Starts   []string  `json:"starts,omitempty"` // rules
}

// EventRequest says what happened to a file.
type EventRequest struct {
	Tenant string
	File   string // number, or unit
	Event  string // of the procedure
	Day    string // YYYY-MM-DD
	Reason string
}

// RecordEvent records that an event of its procedure happened to a citizen file, on behalf of agent.
// The rules of the file, and of the documents in it, that wait for the event start.
func (a *Archive) RecordEvent(ctx context.Context, agent string, r EventRequest) (*Act, error) {
	return a.happen(ctx, agent, r, func(p *ProcedureVersion, acts []*Act, text *ActText, bad *Refusal) []string {
		e, known := p.Event(r.Event)
		if !known {
			var ids []string
			for _, e := range p.Events {
				ids = append(ids, e.ID)
			}
			bad.addf("event %q is not one of procedure %s: %s", r.Event, p.ID, strings.Join(ids, ", "))
			return nil
		}
		before := slices.IndexFunc(acts, func(a *Act) bool { return a.Kind == EventAct && a.Event == r.Event })
		if before >= 0 && !e.Repeats {
			bad.addf("event %s happened already (act %s): it happens once; take that back first", r.Event, acts[before].ID) // the day may tell a birth, and is for who reads
		}
		text.Closes = e.Closes
		var triggers []string
		if e.Trigger != "" {
			triggers = []string{e.Trigger}
		}
		if e.Closes {
			triggers = append(triggers, closingTriggers...)
		}
		return triggers
	})
}

// CloseFile closes a citizen file, on behalf of agent: no document comes in any more, and the rules
// that wait for its end start.
func (a *Archive) CloseFile(ctx context.Context, agent string, r EventRequest) (*Act, error) {
	r.Event = fileClosed
	return a.happen(ctx, agent, r, func(_ *ProcedureVersion, acts []*Act, text *ActText, bad *Refusal) []string {
		if isClosed(acts) {
			bad.addf("the file is closed already")
		}
		text.Closes = true
		return closingTriggers
	})
}

// ReopenFile opens a closed citizen file again, on behalf of agent: what started with its end does
// not run any more.
func (a *Archive) ReopenFile(ctx context.Context, agent string, r EventRequest) (*Act, error) {
	r.Event = fileReopened
	return a.happen(ctx, agent, r, func(_ *ProcedureVersion, acts []*Act, text *ActText, bad *Refusal) []string {
		if !isClosed(acts) {
			bad.addf("the file is open")
		}
		if strings.TrimSpace(r.Reason) == "" {
			bad.addf("no reason: say why")
		}
		text.Reopens = true
		return nil
	})
}

// happening says what happens to a file, and which triggers it sets off.
type happening func(p *ProcedureVersion, acts []*Act, text *ActText, bad *Refusal) (triggers []string)

// happen records what happens to a file. What it starts is found before, and again in its
// transaction: documents come in meanwhile.
func (a *Archive) happen(ctx context.Context, agent string, r EventRequest, what happening) (*Act, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	of, err := a.tenant(r.Tenant)
	if err == nil {
		err = of.mayDecide(agent, EventAct)
	}
	if err != nil {
		return nil, err
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	for range maxHappen {
		var text ActText
		err := a.cat.view(func(t *tx) (err error) { text, err = a.happened(t, of, r, what); return err })
		if err != nil {
			return nil, err
		}
		act, err := a.decideIf(ctx, agent, of, EventAct, text, func(t *tx) error {
			again, err := a.happened(t, of, r, what)
			if err == nil && !bytes.Equal(mustJSON(again), mustJSON(text)) {
				err = errChanged
			}
			return err
		})
		if !errors.Is(err, errChanged) {
			return act, err
		}
	}
	return nil, &Refusal{Problems: []string{fmt.Sprintf("documents come into citizen file %s all the time: try again", r.File)}}
}

// maxHappen bounds how often what an event starts is found anew.
const maxHappen = 100

// happened is what an act says of something that happened to a file, as the file is now.
func (a *Archive) happened(t *tx, of *Tenant, r EventRequest, what happening) (text ActText, err error) {
	text, bad := ActText{Event: r.Event, Day: cmp.Or(r.Day, now().Format(time.DateOnly)), Reason: cmp.Or(r.Reason, r.Event)}, &Refusal{}
	day, err := time.Parse(time.DateOnly, text.Day)
	if err != nil || text.Day > now().Format(time.DateOnly) {
		bad.addf("%q is not a day until today: want YYYY-MM-DD", text.Day)
	}
	u, err := a.fileUnit(t, of.ID, r.File)
	if err != nil {
		return text, err
	}
	p, err := t.procedure(of.ID, u.File.Procedure)
	if err != nil {
		return text, err
	}
	acts, err := a.actsOn(t, u.Unit, nil)
	if err != nil {
		return text, err
	}
	text.Triggers = what(p, acts, &text, bad)
	if opened := dayOf(u.StartDate); (r.Event == fileClosed || r.Event == fileReopened) && text.Day < opened {
		bad.addf("the file was opened on %s: it was not closed, or reopened, before", opened)
	}
	if len(bad.Problems) > 0 {
		return text, bad
	}
	ended := map[string]bool{} // units of which rules started with an end of the file
	for _, act := range acts {
		for _, id := range act.Units {
			ended[id] = ended[id] || act.Closes
		}
	}
	err = a.under(t, u.Unit, map[string]bool{}, func(id string) error {
		if text.Reopens && ended[id] {
			text.Units = append(text.Units, id)
		}
		return a.startsOf(t, u.Unit, id, day, &text)
	})
	text.Units = slices.Compact(slices.Sorted(slices.Values(text.Units)))
	if err == nil && len(text.Units) > MaxActUnits {
		err = &Refusal{Problems: []string{fmt.Sprintf("%d units of the file have rules of their own that start: more than %d", len(text.Units), MaxActUnits)}}
	}
	return text, err
}

// startsOf adds what an event starts for a unit of a file.
func (a *Archive) startsOf(t *tx, file, id string, day time.Time, text *ActText) error {
	u, err := a.unit(t, id, 0)
	if err != nil {
		return err
	}
	s, n := a.schedule(u.Tenant), len(text.Starts)
	for _, c := range declared(u, s).Categories {
		for _, applied := range c.Rules {
			r, known := s.Last(applied.Rule)
			if !known || r.Within() == retention.Hold || !slices.Contains(text.Triggers, r.Event()) {
				continue
			}
			if id != file && (r.Event() == "document-date" || r.Event() == "" && applied.Start != "") {
				continue // it counts from the document
			}
			text.Starts = append(text.Starts, RuleStart{id, r.ID, r.StartOf(day).Format(time.DateOnly), r.Event()})
		}
	}
	slices.SortFunc(text.Starts[n:], func(x, y RuleStart) int { return cmp.Compare(x.Rule, y.Rule) })
	if id == file || len(text.Starts) > n {
		text.Units = append(text.Units, id)
	}
	return nil
}

// TakeBackEvent ends an event that was recorded by mistake, on behalf of agent.
func (a *Archive) TakeBackEvent(ctx context.Context, agent, act, reason string) (*Act, error) {
	if err := a.knows("act", act); err != nil {
		return nil, err
	}
	was, err := a.ActOf(act)
	if err == nil && was.Kind != EventAct {
		err = &Refusal{Problems: []string{fmt.Sprintf("%s is a %s, no event of a file", act, was.Kind)}}
	}
	if err != nil {
		return nil, err
	}
	return a.EndAct(ctx, agent, act, reason)
}

// mayTakeBack says what stands against taking an event of a file back: a reopening, after which
// documents came that would then stand in a closed file; and documents that came since, and say that
// they are kept from it on.
func (a *Archive) mayTakeBack(t *tx, act *Act) error {
	bad := &Refusal{}
	if act.Reopens {
		bad.addf("%s is a reopening: close the file again instead (sae file close)", act.ID)
		return bad
	}
	for _, file := range act.Units {
		u, err := a.unit(t, file, 0)
		if errors.Is(err, ErrNotFound) || err == nil && u.File == nil {
			continue
		}
		if err != nil {
			return err
		}
		acts, err := a.actsOn(t, file, nil)
		if err != nil {
			return err
		}
		rest := slices.DeleteFunc(slices.Clone(acts), func(x *Act) bool { return x.ID == act.ID })
		err = a.under(t, file, map[string]bool{}, func(id string) error { return a.startedBy(t, id, act, acts, rest, bad) })
		if err != nil {
			return err
		}
	}
	return bad.orNil()
}

// startedBy refuses a document that was deposited after an event, which its rules count from: without
// it, they would from another day. acts are those on its file, rest those but for the event.
func (a *Archive) startedBy(t *tx, id string, event *Act, acts, rest []*Act, bad *Refusal) error {
	u, err := a.unit(t, id, 0)
	if err != nil || u.Document == "" || u.Entry < event.Entry {
		return err
	}
	own, err := a.actsOn(t, id, nil)
	for _, r := range []*AppliedRule{u.Rule, u.AccessRule} {
		if err != nil || r == nil || len(bad.Problems) >= maxNamed {
			continue
		}
		started := slices.ContainsFunc(own, func(x *Act) bool {
			return slices.ContainsFunc(x.starts(x.Kind, id), func(s RuleStart) bool { return s.Rule == r.Rule })
		})
		from := a.startInFile(u.Tenant, r.Rule, u.StartDate, acts)
		if !started && r.StartDate == from && from != a.startInFile(u.Tenant, r.Rule, u.StartDate, rest) {
			bad.addf("unit %s came after it and counts rule %s from it, %s: say another day for it first (sae retention start --rule %s)", id, r.Rule, r.StartDate, r.Rule)
		}
	}
	return err
}

// File is a citizen file as it is shown.
type File struct {
	Unit      string            `json:"unit"`
	Tenant    string            `json:"tenant"`
	Number    string            `json:"number"`
	Title     string            `json:"title"`
	Procedure string            `json:"procedure"`
	Agency    string            `json:"originatingAgency,omitempty"`
	State     string            `json:"state"` // open, closed
	Opened    string            `json:"opened"`
	Persons   []string          `json:"persons"` // data subjects
	Fields    map[string]string `json:"fields,omitempty"`
	Events    []FileEvent       `json:"events"`
	Documents []FileDocument    `json:"documents"`
	Channels  map[Channel]int   `json:"channels"` // documents by the way they came
	// Missing are types of documents that the procedure expects and the file lacks; Unknown are those
	// of documents that it does not know any more.
	Missing  []string `json:"missing"`
	Complete bool     `json:"complete"`
	Unknown  []string `json:"unknown,omitempty"`
	FileTerms
	Restricted bool    `json:"restricted,omitempty"`
	Closed     *Closed `json:"notOpen,omitempty"` // to the reader, from whom most is withheld
}

// FileTerms are the retention of a file or document, as it is now.
type FileTerms struct {
	Rules  []FileRule           `json:"rules"`
	Assess retention.Assessment `json:"assessment"`
	Held   bool                 `json:"held,omitempty"`
}

// FileRule is a rule that applies.
type FileRule struct {
	Category retention.Category `json:"category"`
	Rule     string             `json:"rule"`
	Start    string             `json:"startDate,omitempty"`
	End      string             `json:"endDate,omitempty"`
	Action   string             `json:"finalAction,omitempty"`
}

// FileDocument is a document of a file.
type FileDocument struct {
	Unit     string     `json:"unit"`
	Title    string     `json:"title,omitempty"`
	Type     string     `json:"type,omitempty"` // by the procedure
	Name     string     `json:"typeName,omitempty"`
	Channel  Channel    `json:"channel,omitempty"`
	Date     string     `json:"date,omitempty"`
	Version  int        `json:"version"`
	Objects  int        `json:"objects"`
	Bytes    int64      `json:"bytes"`
	Archived time.Time  `json:"archived"`
	Sealed   *time.Time `json:"sealed,omitempty"`
	FileTerms
	Restricted bool `json:"restricted,omitempty"`
	Withheld   bool `json:"withheld,omitempty"` // from the reader

	unit *Unit
}

// File gives a citizen file by its number, or its unit, as the reader may see it.
func (r *Reader) File(tenant, name string) (f *File, err error) {
	of, err := r.a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	err = r.a.cat.view(func(t *tx) error {
		u, err := r.a.fileUnit(t, of.ID, name)
		if err == nil {
			f, err = r.a.file(t, r.a.heirs(t, "", nil), r, u, true)
		}
		return err
	})
	if err == nil {
		err = r.logRead(of.ID, VerbFile, f.told())
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// told are the units of which a file tells the reader something.
func (f *File) told() (units []string) {
	if f.Closed == nil {
		units = append(units, f.Unit)
	}
	for _, d := range f.Documents {
		if !d.Withheld {
			units = append(units, d.Unit)
		}
	}
	return units
}

// file describes a citizen file; a nil reader is the archive itself.
func (a *Archive) file(t *tx, h *heirs, r *Reader, u *Unit, documents bool) (*File, error) {
	f := &File{Unit: u.Unit, Tenant: u.Tenant, Number: u.Subject, Title: u.Title, Procedure: u.File.Procedure, Agency: u.Agency, State: "open", Opened: u.StartDate,
		Persons: []string{}, Fields: u.Custom, Events: []FileEvent{}, Documents: []FileDocument{}, Channels: map[Channel]int{}, Missing: []string{}}
	for _, id := range u.File.Persons {
		whole, err := a.whole(t, id)
		if errors.Is(err, ErrNotFound) { // erased
			continue
		}
		if err != nil {
			return nil, err
		}
		f.Persons = addMissing(f.Persons, []string{whole})
	}
	p, err := h.procedure(u.Tenant, u.File.Procedure)
	if err != nil {
		return nil, err
	}
	acts, err := a.actsOn(t, u.Unit, h.acts)
	if err != nil {
		return nil, err
	}
	f.events(acts, p)
	in, err := h.ofUnit(u)
	if err != nil {
		return nil, err
	}
	f.FileTerms = termsOf(in)
	if documents {
		if err := a.fileDocuments(t, h, r, f, u, p); err != nil {
			return nil, err
		}
	}
	if f.Restricted, err = h.restricted(u); err != nil || r == nil {
		return f, err
	}
	c, _, err := r.closed(t, h, u)
	if err == nil && c != nil {
		f.Closed, f.Number, f.Title, f.Fields, f.Persons, f.Opened = c, "", "", nil, []string{}, ""
		f.Events, f.Missing, f.Unknown = []FileEvent{}, []string{}, nil // what happened, and what is there, tells of the person
	}
	return f, err
}

func (f *File) events(acts []*Act, p *ProcedureVersion) {
	if isClosed(acts) {
		f.State = "closed"
	}
	for _, act := range acts {
		if act.Kind != EventAct {
			continue
		}
		e := FileEvent{Act: act.ID, Event: act.Event, Day: act.Day, Recorded: act.Time, Entry: act.Entry}
		if known, ok := p.Event(act.Event); ok {
			e.Name = known.Name
		}
		for _, s := range act.Starts {
			e.Starts = addMissing(e.Starts, []string{s.Rule})
		}
		f.Events = append(f.Events, e)
	}
}

func termsOf(in *retention.Inheritance) (terms FileTerms) {
	today := now().Format(time.DateOnly)
	terms.Rules, terms.Assess, terms.Held = []FileRule{}, retention.Appraise(in, today), retention.HeldOn(in, today)
	for _, c := range []retention.Category{retention.Appraisal, retention.Access} {
		for _, r := range in.Categories[c].Rules {
			rule := FileRule{Category: c, Rule: r.Rule, Start: r.Start, End: r.End}
			for _, p := range in.Categories[c].Properties {
				if p.Name == "FinalAction" {
					rule.Action = p.Value
				}
			}
			terms.Rules = append(terms.Rules, rule)
		}
	}
	return terms
}

// fileDocuments adds the units below a file that hold a document, and what is missing.
func (a *Archive) fileDocuments(t *tx, h *heirs, r *Reader, f *File, file *Unit, p *ProcedureVersion) error {
	have := map[string]bool{}
	err := a.under(t, file.Unit, map[string]bool{}, func(id string) error {
		u, err := a.unit(t, id, 0)
		if err != nil || id == file.Unit || u.Document == "" && len(u.Objects) == 0 && u.Paper == nil && len(u.Physical) == 0 {
			return err
		}
		have[u.Document] = true
		d, err := a.fileDocument(t, h, r, u, p)
		if err == nil {
			f.Documents = append(f.Documents, *d)
			f.Channels[u.Channel]++
		}
		return err
	})
	for _, d := range p.Documents {
		if d.Expected && !have[d.ID] {
			f.Missing = append(f.Missing, d.ID)
		}
		delete(have, d.ID)
	}
	delete(have, "")
	f.Unknown, f.Complete = slices.Sorted(maps.Keys(have)), len(f.Missing) == 0
	slices.SortFunc(f.Documents, func(x, y FileDocument) int {
		return cmp.Compare(x.unit.record.deposited().Leaf, y.unit.record.deposited().Leaf)
	})
	return err
}

func (a *Archive) fileDocument(t *tx, h *heirs, r *Reader, u *Unit, p *ProcedureVersion) (*FileDocument, error) {
	d := &FileDocument{Unit: u.Unit, Title: u.Title, Type: u.Document, Channel: u.Channel, Date: u.StartDate, Version: u.Version, Objects: len(u.Objects), Archived: u.Archived, Sealed: u.Sealed, unit: u}
	if known, ok := p.Document(u.Document); ok {
		d.Name = known.Name
	}
	for _, o := range u.Objects {
		d.Bytes += o.Size
	}
	in, err := h.ofUnit(u)
	if err != nil {
		return nil, err
	}
	d.FileTerms = termsOf(in)
	if d.Restricted, err = h.restricted(u); err != nil || r == nil {
		return d, err
	}
	c, _, err := r.closed(t, h, u)
	if err == nil && c != nil {
		d.Withheld, d.Title, d.Type, d.Name, d.Date = true, "", "", "", ""
	}
	return d, err
}

// FileFilter chooses citizen files.
type FileFilter struct {
	Tenant    string
	Procedure string // "" for all
	State     string // "open", "closed", or "" for both
	Person    string // data subject
	After     string // cursor: the Next of the page before
	Limit     int    // 100 when zero
}

// FilePage is one page of citizen files, without their documents.
type FilePage struct {
	Files []*File `json:"files"`
	Next  string  `json:"next,omitempty"`
}

// Files gives a page of the citizen files that a filter chooses, in the order in which they were
// opened.
func (r *Reader) Files(f FileFilter) (page FilePage, err error) {
	of, err := r.a.tenant(f.Tenant)
	if err != nil {
		return page, err
	}
	if f.Limit = cmp.Or(f.Limit, 100); f.Limit < 1 || f.Limit > maxPage {
		return page, &Refusal{Problems: []string{fmt.Sprintf("limit %d: want 1 to %d", f.Limit, maxPage)}}
	}
	if f.State != "" && f.State != "open" && f.State != "closed" {
		return page, &Refusal{Problems: []string{fmt.Sprintf("state %q is not known: want open or closed", f.State)}}
	}
	var from uint64
	if f.After != "" {
		if from, err = strconv.ParseUint(f.After, 10, 64); err != nil {
			return page, &Refusal{Problems: []string{fmt.Sprintf("cursor %q is not one that a page gave", f.After)}}
		}
	}
	page.Files = []*File{}
	err = r.a.cat.view(func(t *tx) error {
		h := r.a.heirs(t, "", nil)
		if f.Procedure != "" {
			if _, err := h.procedure(of.ID, f.Procedure); err != nil {
				return err
			}
		}
		take := func(u *Unit, leaf uint64) (bool, error) {
			if len(page.Files) == f.Limit {
				page.Next = fmt.Sprint(leaf)
				return false, nil
			}
			file, err := r.a.file(t, h, r, u, false)
			if err != nil {
				return false, err
			}
			if (f.State == "" || file.State == f.State) && (f.Person == "" || file.Closed == nil) { // else that it is hers would tell something
				page.Files = append(page.Files, file)
			}
			return true, nil
		}
		if f.Person != "" {
			return r.a.eachFileOf(t, of.ID, f.Person, f.Procedure, from, take)
		}
		return r.a.eachFile(t, of.ID, f.Procedure, from, take)
	})
	var told []string
	for _, f := range page.Files {
		told = append(told, f.told()...)
	}
	if err == nil {
		err = r.logRead(of.ID, VerbFile, told)
	}
	if err != nil {
		return FilePage{}, err
	}
	return page, nil
}

// everyFile is the value under which all citizen files of a tenant are found.
const everyFile = "*"

// eachFile calls f for the citizen files of a procedure, "" for all, from a leaf on, until it returns
// false.
func (a *Archive) eachFile(t *tx, tenant, procedure string, from uint64, f func(u *Unit, leaf uint64) (bool, error)) error {
	return t.indexed(a.indexPrefix(idxFile, tenant, cmp.Or(procedure, everyFile)), from, ^uint64(0), func(id string, _ int, leaf uint64) (bool, error) {
		u, err := a.unit(t, id, 0)
		if err != nil {
			return false, err
		}
		return f(u, leaf)
	})
}

// PersonsOf are the data subjects whom a citizen file concerns, by its number or its unit.
func (a *Archive) PersonsOf(tenant, name string) (out []string, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		u, err := a.fileUnit(t, of.ID, name)
		if err != nil {
			return err
		}
		for _, id := range u.File.Persons {
			whole, err := a.whole(t, id)
			if errors.Is(err, ErrNotFound) { // erased
				continue
			}
			if err != nil {
				return err
			}
			out = addMissing(out, []string{whole})
		}
		return nil
	})
	return out, err
}

// eachFileOf is eachFile for those that concern a subject; who was merged is whom she was merged into.
func (a *Archive) eachFileOf(t *tx, tenant, subject, procedure string, from uint64, f func(u *Unit, leaf uint64) (bool, error)) error {
	s, err := a.subject(t, subject)
	if err == nil && s.Tenant != tenant {
		err = fmt.Errorf("subject %q: %w", subject, ErrNotFound)
	}
	if err == nil && s.MergedInto != "" {
		if subject, err = a.whole(t, subject); err == nil {
			s, err = a.subject(t, subject)
		}
	}
	if err != nil {
		return err
	}
	var units []*Unit
	for _, file := range s.Files {
		u, err := a.unit(t, file.Unit, 0)
		if err != nil {
			return err
		}
		if u.record.deposited().Leaf >= from && (procedure == "" || u.File.Procedure == procedure) {
			units = append(units, u)
		}
	}
	slices.SortFunc(units, func(x, y *Unit) int { return cmp.Compare(x.record.deposited().Leaf, y.record.deposited().Leaf) })
	for _, u := range units {
		if more, err := f(u, u.record.deposited().Leaf); err != nil || !more {
			return err
		}
	}
	return nil
}
