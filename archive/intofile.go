package archive

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
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
		return a.outsideFiles(d, bad)
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
		if acts, err = a.actsOn(t, file.Unit, nil); err == nil && d.limited() {
			counts, err = a.ofEachType(t, file.Unit)
		}
		return err
	})
	if err != nil {
		return err
	}
	if isClosed(acts) {
		bad.addf("%s", closedFile(file.Unit))
	}
	if d.Procedure != "" && d.Procedure != d.procedure.ID {
		bad.addf("citizen file %s is of procedure %s, not of %s", file.Unit, d.procedure.ID, d.Procedure)
	}
	d.Parents = []string{file.Unit}
	d.Agreement, d.Agency = cmp.Or(d.Agreement, file.Agreement), cmp.Or(d.Agency, file.Agency)
	before, waits := maps.Clone(counts), false
	for i := range d.Units {
		waits = a.ofType(d, i, file, acts, counts, bad) || waits
	}
	d.still = func(t *tx) error { return a.stillTakes(t, d, file.Unit, acts, waits, before) }
	return nil
}

// stillTakes wants a file to be as it was when a deposit was checked, as far as that matters: it is
// open, nothing happened that rules of the units wait for, and of limited types there are as many.
func (a *Archive) stillTakes(t *tx, d *Deposit, file string, acts []*Act, waits bool, counts map[string]int) error {
	now, err := a.actsOn(t, file, nil)
	if err == nil && d.limited() {
		var again map[string]int
		if again, err = a.ofEachType(t, file); err == nil && !maps.Equal(again, counts) {
			err = &Refusal{Problems: []string{fmt.Sprintf("documents came into citizen file %s meanwhile, and of some types it has a limited number: deposit again", file)}}
		}
	}
	switch same := func(x, y *Act) bool { return x.ID == y.ID }; {
	case err != nil:
		return err
	case isClosed(now):
		return &Refusal{Problems: []string{closedFile(file)}}
	case waits && !slices.EqualFunc(eventsOf(acts), eventsOf(now), same):
		return &Refusal{Problems: []string{fmt.Sprintf("an event of citizen file %s was recorded, or taken back, meanwhile: deposit again", file)}}
	}
	return nil
}

func closedFile(unit string) string {
	return fmt.Sprintf("citizen file %s is closed: reopen it first (sae file reopen)", unit)
}

func eventsOf(acts []*Act) []*Act {
	return slices.DeleteFunc(slices.Clone(acts), func(a *Act) bool { return a.Kind != EventAct })
}

// ofEachType counts the documents of a file, by their type.
func (a *Archive) ofEachType(t *tx, file string) (map[string]int, error) {
	counts := map[string]int{}
	return counts, a.under(t, file, map[string]bool{}, func(id string) error {
		u, err := a.unit(t, id, 0)
		if err == nil {
			counts[u.Document]++
		}
		return err
	})
}

// outsideFiles wants the parents of a deposit that names no citizen file to stand in none.
func (a *Archive) outsideFiles(d *Deposit, bad *Refusal) error {
	return a.cat.view(func(t *tx) error {
		for _, p := range d.Parents {
			file, err := a.fileAbove(t, p)
			if err != nil {
				return err
			}
			if file != "" {
				bad.addf("unit %s stands in citizen file %s: deposit into the file (sae deposit --file), which says of which type a document is", p, file)
			}
		}
		return nil
	})
}

// openAbove refuses units that stand in a citizen file which is closed.
func (a *Archive) openAbove(t *tx, units ...string) error {
	for _, id := range units {
		file, err := a.fileAbove(t, id)
		if err != nil {
			return err
		}
		if file == "" {
			continue
		}
		acts, err := a.actsOn(t, file, nil)
		if err != nil {
			return err
		}
		if isClosed(acts) {
			return &Refusal{Problems: []string{closedFile(file)}}
		}
	}
	return nil
}

// fileAbove is the citizen file that a unit is, or stands in; "" for none, and for a unit that is not
// there.
func (a *Archive) fileAbove(t *tx, id string) (string, error) {
	seen := map[string]bool{}
	for next := []string{id}; len(next) > 0; next = next[1:] {
		if seen[next[0]] {
			continue
		}
		seen[next[0]] = true
		u, err := a.unit(t, next[0], 0)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return "", err
		}
		if u.File != nil {
			return u.Unit, nil
		}
		next = append(next, u.Parents...)
	}
	return "", nil
}

// limited reports whether a type of a unit's may be in the file so many times only.
func (d *Deposit) limited() bool {
	return d.procedure != nil && slices.ContainsFunc(d.Units, func(u NewUnit) bool {
		t, ok := d.procedure.Document(u.Document)
		return ok && t.Most > 0
	})
}

// ofType holds unit i against its type of document, and reports whether it has a rule that waits for
// an event of the file.
func (a *Archive) ofType(d *Deposit, i int, file *Unit, acts []*Act, counts map[string]int, bad *Refusal) (waits bool) {
	u, where := &d.Units[i], d.where(i)
	u.Subject = cmp.Or(u.Subject, file.Subject)
	if u.Subject != file.Subject {
		bad.addf("%s: its subject is not the number of the file that it goes into", where)
	}
	if u.Content == nil && u.Paper == nil {
		if u.Document != "" {
			bad.addf("%s: a folder is no document, and has no type", where)
		}
		return false
	}
	t, known := d.procedure.Document(u.Document)
	if !known {
		var ids []string
		for _, t := range d.procedure.Documents {
			ids = append(ids, t.ID)
		}
		bad.addf("%s: type of document %q: procedure %s has %s", where, u.Document, d.procedure.ID, strings.Join(ids, ", "))
		return false
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
	u.Rule, u.Access = cmp.Or(u.Rule, t.Rule), cmp.Or(u.Access, t.Access)
	for _, r := range []struct {
		rule  string
		start *string
	}{{u.Rule, &u.RuleStart}, {u.Access, &u.AccessStart}} {
		if r.rule != "" && *r.start == "" {
			*r.start, waits = a.startInFile(d.Tenant, r.rule, u.StartDate, acts), true
		}
	}
	return waits
}

// startInFile is the day on which a rule of a document of a day starts: that day, or that of the last
// event of the file that the rule waits for; "" while there was none.
func (a *Archive) startInFile(tenant, rule, documentDate string, acts []*Act) (start string) {
	r, ok := a.schedule(tenant).Rule(rule)
	if !ok {
		return ""
	}
	if r.Event() == "document-date" {
		return dayOf(documentDate)
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
