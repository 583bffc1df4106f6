package archive

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"sae/archive/procedure"
)

// intoFile finds the citizen file that a deposit goes into, holds its units against the procedure,
// and fills in what follows from them: where they stand, agreement and agency, the file's number,
// rules of their types.
func (a *Archive) intoFile(d *Deposit, bad *Refusal) error {
	person := d.Person != FederatedID{}
	switch {
	case d.File == "" && !person:
		for i := range d.Units {
			if d.Units[i].Document != "" {
				bad.addf("%s: a type of document is one of a citizen file: say into which file it goes", d.where(i))
			}
		}
		return nil
	case d.File != "" && person:
		bad.addf("the file is named by its number, or by the person: not by both")
		return nil
	case len(d.Parents) > 0:
		bad.addf("units go into the file, or below other parents: not both")
		return nil
	}
	unit, err := d.File, error(nil)
	if person {
		unit, err = a.FileOfPerson(d.Tenant, d.Procedure, d.Person)
	}
	if err != nil {
		return err
	}
	var file *Unit
	var acts []*Act
	counts := map[string]int{}
	err = a.cat.view(func(t *tx) (err error) {
		if file, err = a.fileUnit(t, d.Tenant, unit); err != nil {
			return err
		}
		if d.procedure, err = t.procedure(d.Tenant, file.File.Procedure); err != nil {
			return err
		}
		if acts, err = a.actsOn(t, file.Unit, nil); err != nil || !d.limited() {
			return err
		}
		return a.under(t, file.Unit, map[string]bool{}, func(id string) error {
			u, err := a.unit(t, id, 0)
			if err == nil {
				counts[u.Document]++
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if isClosed(acts) {
		bad.addf("citizen file %s is closed: reopen it first (sae file reopen)", file.Unit)
	}
	if d.Procedure != "" && d.Procedure != d.procedure.ID {
		bad.addf("citizen file %s is of procedure %s, not of %s", file.Unit, d.procedure.ID, d.Procedure)
	}
	d.Parents = []string{file.Unit}
	d.Agreement, d.Agency = cmp.Or(d.Agreement, file.Agreement), cmp.Or(d.Agency, file.Agency)
	for i := range d.Units {
		a.ofType(d, i, file, acts, counts, bad)
	}
	return nil
}

// limited reports whether a type of a unit's may be in the file so many times only.
func (d *Deposit) limited() bool {
	return slices.ContainsFunc(d.Units, func(u NewUnit) bool {
		t, ok := d.procedure.Document(u.Document)
		return ok && t.Most > 0
	})
}

// ofType holds unit i against its type of document.
func (a *Archive) ofType(d *Deposit, i int, file *Unit, acts []*Act, counts map[string]int, bad *Refusal) {
	u, where := &d.Units[i], d.where(i)
	u.Subject = cmp.Or(u.Subject, file.Subject)
	if u.Subject != file.Subject {
		bad.addf("%s: its subject is not the number of the file that it goes into", where)
	}
	if u.Content == nil && u.Paper == nil {
		if u.Document != "" {
			bad.addf("%s: a folder is no document, and has no type", where)
		}
		return
	}
	t, known := d.procedure.Document(u.Document)
	if !known {
		var ids []string
		for _, t := range d.procedure.Documents {
			ids = append(ids, t.ID)
		}
		bad.addf("%s: type of document %q: procedure %s has %s", where, u.Document, d.procedure.ID, strings.Join(ids, ", "))
		return
	}
	channels := t.Channels
	if len(channels) == 0 {
		channels = d.procedure.Channels
	}
	if !slices.Contains(channels, string(u.Channel)) {
		bad.addf("%s: a document of type %s comes by %s, not by %q", where, t.ID, strings.Join(channels, ", "), u.Channel)
	}
	if counts[t.ID]++; t.Most > 0 && counts[t.ID] > t.Most {
		bad.addf("%s: a file has at most %d of type %s", where, t.Most, t.ID)
	}
	for _, problem := range procedure.Values(t.Fields, u.Custom) {
		bad.addf("%s: %s", where, problem)
	}
	if u.Rule == "" && t.Rule != "" {
		u.Rule, u.RuleStart = t.Rule, cmp.Or(u.RuleStart, a.startInFile(d.Tenant, t.Rule, u, acts))
	}
	if u.Access == "" && t.Access != "" {
		u.Access, u.AccessStart = t.Access, cmp.Or(u.AccessStart, a.startInFile(d.Tenant, t.Access, u, acts))
	}
}

// startInFile is the day on which a rule of a document's type starts: that of the document, or of the
// last event of the file that the rule waits for; "" while there was none.
func (a *Archive) startInFile(tenant, rule string, u *NewUnit, acts []*Act) (start string) {
	r, ok := a.schedule(tenant).Rule(rule)
	if !ok {
		return ""
	}
	if r.Event() == "document-date" {
		return dayOf(u.StartDate)
	}
	last := ""
	for _, act := range acts {
		if act.Kind != EventAct || act.Day < last || !slices.Contains(act.Triggers, r.Event()) || act.Closes && slices.Contains(closingTriggers, r.Event()) {
			continue // what closed the file was taken back: it is open
		}
		if day, err := time.Parse(time.DateOnly, act.Day); err == nil {
			last, start = act.Day, r.StartOf(day).Format(time.DateOnly)
		}
	}
	return start
}
