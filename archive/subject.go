package archive

import (
	"cmp"
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sae/archive/search"
	"sae/integrity"
)

// A data subject is the person whom citizen files concern. Its record is stored as units are: a
// version with a seal of its own for each change, enciphered under a data key of its own, so that
// it can be erased. Accounts of the person elsewhere (on the site of the département, through
// FranceConnect) are federated identifiers, an issuer and a sub; of them the archive keeps keyed
// pseudonyms alone. A subject that was merged into another stays as it was, and points there.

// Person is what the record of a data subject says.
type Person struct {
	PersonData
	Identities []Identity `json:"identities,omitempty"`
	// MergedInto is the subject that this one was found to be, too.
	MergedInto string `json:"mergedInto,omitempty"`
	// SplitFrom is the subject that this one was split from.
	SplitFrom string `json:"splitFrom,omitempty"`
}

// PersonData are names and birth.
type PersonData struct {
	FamilyName string `json:"familyName,omitempty"`
	BirthName  string `json:"birthName,omitempty"`
	GivenNames string `json:"givenNames,omitempty"`
	BirthDate  string `json:"birthDate,omitempty"` // YYYY-MM-DD
	BirthPlace string `json:"birthPlace,omitempty"`
}

// Identity is a federated identifier, as it is kept.
type Identity struct {
	Issuer    string    `json:"issuer"`
	Pseudonym string    `json:"pseudonym"` // keyed hash of issuer and sub
	Linked    time.Time `json:"linked"`
}

// FederatedID is an identifier that an issuer gives a person (OpenID Connect Core section 2: iss, sub).
type FederatedID struct{ Issuer, Sub string }

// ParseFederatedID reads ISSUER#SUB: an issuer has no fragment.
func ParseFederatedID(s string) (FederatedID, error) {
	issuer, sub, ok := strings.Cut(s, "#")
	if !ok || issuer == "" || sub == "" {
		return FederatedID{}, &Refusal{Problems: []string{"a federated identifier is ISSUER#SUB, for example https://fournisseur.example#af31…"}}
	}
	return FederatedID{issuer, sub}, nil
}

// pseudonym stands for a federated identifier.
func (a *Archive) pseudonym(tenant string, id FederatedID) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(keyedHash(a.indexKey, "identity", tenant, id.Issuer, id.Sub)))
}

// has reports whether an identifier is linked to a person; nobody has any.
func (p *Person) has(pseudonym string) bool {
	return p != nil && slices.ContainsFunc(p.Identities, func(i Identity) bool { return i.Pseudonym == pseudonym })
}

// names are those by which a subject is found.
func (p *Person) names() (out []string) {
	for _, n := range []string{p.FamilyName, p.BirthName} {
		if key := nameKey(n); key != "" && !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	return out
}

// nameKey is a name without what people write in one way or another.
func nameKey(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToUpper(search.FoldAccents(name)), func(r rune) bool {
		return r == ' ' || r == '-' || r == '\'' || r == '’' || r == '\t' || r == '\n'
	}), " ")
}

// Subject is a data subject as it is shown.
type Subject struct {
	ID       string    `json:"subject"`
	Tenant   string    `json:"tenant"`
	Version  int       `json:"version"`
	Entry    int64     `json:"ledgerEntry"`
	Recorded time.Time `json:"recorded"`
	Person
	Merged   []string      `json:"merged,omitempty"`   // subjects that were merged into it
	Files    []SubjectFile `json:"files,omitempty"`    // its own, and of those merged into it
	Withheld bool          `json:"withheld,omitempty"` // names and birth are not for the reader
}

// SubjectFile is a citizen file that concerns a subject.
type SubjectFile struct {
	Unit    string `json:"unit"`
	Subject string `json:"subject"` // that the file names
}

const maxIdentities = 100

// subjectRoles may record subjects and link their identifiers; mergingRoles may say that two
// subjects are one.
var (
	subjectRoles = []Role{Depositor, Archivist, OriginatingAgency, DataProtection}
	mergingRoles = []Role{Archivist, DataProtection}
	// rectifyingRoles may correct names and birth: what a depositor recorded stands.
	rectifyingRoles = []Role{Archivist, OriginatingAgency, DataProtection}
)

// NewSubject records a data subject, on behalf of agent.
func (a *Archive) NewSubject(ctx context.Context, agent, tenant string, data PersonData, ids []FederatedID) (*Subject, error) {
	of, err := a.mayChangeSubjects(agent, tenant, subjectRoles)
	if err != nil {
		return nil, err
	}
	bad := &Refusal{}
	data.check(bad)
	if data == (PersonData{}) && len(ids) == 0 {
		bad.addf("nothing is said of the person: give a name, or a federated identifier")
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	p := Person{PersonData: data}
	err = a.cat.view(func(t *tx) error { return a.addIdentities(t, of.ID, &p, ids, bad) })
	if err == nil {
		err = bad.orNil()
	}
	if err != nil {
		return nil, err
	}
	d := subjectDraft(of.ID, &p)
	if _, err := a.revise(ctx, agent, of.ID, revision{kind: integrity.Subject, act: "recorded", fresh: []*draft{d}}); err != nil {
		return nil, err
	}
	return a.Subject(d.desc.Unit)
}

// subjectDraft is the record of a new subject.
func subjectDraft(tenant string, p *Person) *draft {
	return &draft{where: "the subject", desc: Description{Form: descriptionForm, Unit: newID(subjectID), Version: 1, Level: "OtherLevel", Title: "Personne concernée",
		Tenant: tenant, Received: now(), Person: p}}
}

func (a *Archive) mayChangeSubjects(agent, tenant string, roles []Role) (*Tenant, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	of, err := a.tenant(tenant)
	if err == nil {
		err = of.mayIfNamed(agent, roles...)
	}
	return of, err
}

func (d *PersonData) check(bad *Refusal) {
	for _, f := range []struct{ what, value string }{{"family name", d.FamilyName}, {"birth name", d.BirthName}, {"given names", d.GivenNames}, {"birth place", d.BirthPlace}} {
		if problems := (&Refusal{}); len(f.value) > 0 {
			checkText(f.what, f.value, 500, problems)
			if len(problems.Problems) > 0 { // which would quote it
				bad.addf("%s: it is not plain text of at most 500 bytes", f.what)
			}
		}
	}
	if _, err := time.Parse(time.DateOnly, d.BirthDate); d.BirthDate != "" && (err != nil || d.BirthDate > now().Format(time.DateOnly)) {
		bad.addf("the birth date is not a past day, YYYY-MM-DD")
	}
}

// addIdentities adds identifiers to a person, which must not be another subject's.
func (a *Archive) addIdentities(t *tx, tenant string, p *Person, ids []FederatedID, bad *Refusal) error {
	for _, id := range ids {
		if id.Issuer == "" || id.Sub == "" || len(id.Issuer) > 500 || len(id.Sub) > 500 {
			bad.addf("a federated identifier has an issuer and a sub, each of 1 to 500 bytes")
			continue
		}
		pseudonym := a.pseudonym(tenant, id)
		if p.has(pseudonym) {
			bad.addf("this identifier of %s is linked already", id.Issuer)
			continue
		}
		other, err := a.subjectOf(t, tenant, pseudonym)
		switch {
		case err == nil:
			bad.addf("this identifier of %s is linked to subject %s: unlink it there, or merge the two", id.Issuer, other)
		case !errors.Is(err, ErrNotFound):
			return err
		}
		p.Identities = append(p.Identities, Identity{id.Issuer, pseudonym, now()})
	}
	if len(p.Identities) > maxIdentities {
		bad.addf("%d identifiers: a subject has at most %d", len(p.Identities), maxIdentities)
	}
	return nil
}

// subjectOf is the subject to which the pseudonym of an identifier is linked.
func (a *Archive) subjectOf(t *tx, tenant, pseudonym string) (found string, err error) {
	err = a.namedBy(t, idxIdentity, tenant, pseudonym, 0, ^uint64(0), func(id string, _ int, _ uint64) (bool, error) {
		u, err := a.unit(t, id, 0)
		if err == nil && !u.Person.has(pseudonym) {
			err = damaged("subject", id, errors.New("it is found by an identifier that it does not have"))
		}
		found = id
		return false, err
	})
	if err == nil && found == "" {
		err = fmt.Errorf("no subject has this identifier: record one with sae subject new, or link it with sae subject link: %w", ErrNotFound)
	}
	return found, err
}

// Subject gives a data subject.
func (a *Archive) Subject(id string) (s *Subject, err error) {
	if err := a.knows("subject", id); err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error { s, err = a.subject(t, id); return err })
	return s, err
}

func (a *Archive) subject(t *tx, id string) (*Subject, error) {
	if !idForm.MatchString(id) || id[:1] != subjectID {
		return nil, fmt.Errorf("subject %q: %w", id, ErrNotFound)
	}
	u, err := a.unit(t, id, 0)
	if err != nil {
		return nil, err
	}
	if u.Person == nil {
		return nil, damaged("subject", id, errors.New("its record is of no person"))
	}
	s := &Subject{ID: id, Tenant: u.Tenant, Version: u.Version, Entry: u.record.Entry, Recorded: u.Archived, Person: *u.Person}
	members, err := a.members(t, u.Tenant, id)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m != id {
			s.Merged = append(s.Merged, m)
		}
		err := t.indexed(a.indexPrefix(idxPerson, u.Tenant, m), 0, ^uint64(0), func(unit string, _ int, _ uint64) (bool, error) {
			f, err := a.unit(t, unit, 0)
			if err == nil && (f.File == nil || !slices.Contains(f.File.Persons, m)) {
				err = damaged("unit", unit, fmt.Errorf("it is found by subject %s, which it does not name", m))
			}
			if err != nil {
				return false, err
			}
			if !slices.ContainsFunc(s.Files, func(f SubjectFile) bool { return f.Unit == unit }) {
				s.Files = append(s.Files, SubjectFile{unit, m})
			}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// members are a subject and all that were merged into it, it first.
func (a *Archive) members(t *tx, tenant, id string) (out []string, err error) {
	out = []string{id}
	for i := 0; i < len(out) && err == nil; i++ {
		err = t.indexed(a.indexPrefix(idxMerged, tenant, out[i]), 0, ^uint64(0), func(merged string, _ int, _ uint64) (bool, error) {
			u, err := a.unit(t, merged, 0)
			if err == nil && (u.Person == nil || u.Person.MergedInto != out[i]) {
				err = damaged("subject", merged, fmt.Errorf("it is found by subject %s, into which it was not merged", out[i]))
			}
			out = addMissing(out, []string{merged})
			return err == nil, err
		})
	}
	return out, err
}

// whole follows where a subject was merged into.
func (a *Archive) whole(t *tx, id string) (string, error) {
	for range 1000 {
		u, err := a.unit(t, id, 0)
		if err != nil || u.Person == nil || u.Person.MergedInto == "" {
			return id, err
		}
		id = u.Person.MergedInto
	}
	return "", damaged("subject", id, errors.New("it is merged into itself"))
}

// FindSubject gives the subject that has a federated identifier; one that was merged is the one that
// it was merged into.
func (a *Archive) FindSubject(tenant string, id FederatedID) (s *Subject, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		found, err := a.subjectOf(t, of.ID, a.pseudonym(of.ID, id))
		if err == nil {
			found, err = a.whole(t, found)
		}
		if err == nil {
			s, err = a.subject(t, found)
		}
		return err
	})
	return s, err
}

// Subjects gives the subjects of a tenant with a family or birth name; given names and birth date
// choose among them when they are not empty.
func (a *Archive) Subjects(tenant string, like PersonData) (out []*Subject, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	name := nameKey(like.FamilyName)
	if name == "" {
		return nil, &Refusal{Problems: []string{"name the family name: subjects are found by it alone"}}
	}
	err = a.cat.view(func(t *tx) error {
		return a.namedBy(t, idxName, of.ID, name, 0, ^uint64(0), func(id string, _ int, _ uint64) (bool, error) {
			s, err := a.subject(t, id)
			if err == nil && (like.BirthDate == "" || s.BirthDate == like.BirthDate) && strings.HasPrefix(nameKey(s.GivenNames), nameKey(like.GivenNames)) {
				out = append(out, s)
			}
			return err == nil && len(out) < maxPage, err
		})
	})
	return out, err
}

// changeSubject makes the next version of a subject, on behalf of agent; the caller holds acting.
func (a *Archive) changeSubject(ctx context.Context, agent string, s *Subject, act, request, words string, edit func(*Person) error) (*Subject, error) {
	_, err := a.revise(ctx, agent, s.Tenant, revision{kind: integrity.Subject, act: act, request: request, words: words, changes: []change{personChange(s.ID, edit)}})
	if err != nil {
		return nil, err
	}
	return a.Subject(s.ID)
}

func personChange(id string, edit func(*Person) error) change {
	return change{id, func(d *Description) error {
		p := *d.Person
		p.Identities = slices.Clone(p.Identities)
		if err := edit(&p); err != nil {
			return err
		}
		d.Person = &p
		return nil
	}}
}

// LinkIdentity links a federated identifier to a subject, on behalf of agent.
func (a *Archive) LinkIdentity(ctx context.Context, agent, subject string, id FederatedID, reason string) (*Subject, error) {
	if err := a.knows("subject", subject); err != nil {
		return nil, err
	}
	return a.onSubject(ctx, agent, subject, subjectRoles, reason, func(s *Subject) (*Subject, error) {
		return a.changeSubject(ctx, agent, s, "linked", "", reason, func(p *Person) error {
			bad := &Refusal{}
			if p.MergedInto != "" {
				bad.addf("subject %s was merged into %s: link it there", s.ID, p.MergedInto)
			}
			err := a.cat.view(func(t *tx) error { return a.addIdentities(t, s.Tenant, p, []FederatedID{id}, bad) })
			return errors.Join(err, bad.orNil())
		})
	})
}

// UnlinkIdentity takes a federated identifier from a subject, on behalf of agent. It can be linked
// again, to the same subject or another.
func (a *Archive) UnlinkIdentity(ctx context.Context, agent, subject string, id FederatedID, reason string) (*Subject, error) {
	if err := a.knows("subject", subject); err != nil {
		return nil, err
	}
	return a.onSubject(ctx, agent, subject, subjectRoles, reason, func(s *Subject) (*Subject, error) {
		return a.changeSubject(ctx, agent, s, "unlinked", "", reason, func(p *Person) error {
			return a.dropIdentity(s.Tenant, p, id)
		})
	})
}

func (a *Archive) dropIdentity(tenant string, p *Person, id FederatedID) error {
	pseudonym, n := a.pseudonym(tenant, id), len(p.Identities)
	p.Identities = slices.DeleteFunc(p.Identities, func(i Identity) bool { return i.Pseudonym == pseudonym })
	if len(p.Identities) == n {
		return &Refusal{Problems: []string{fmt.Sprintf("the subject does not have this identifier of %s", id.Issuer)}}
	}
	return nil
}

// onSubject does something to a subject that may be changed.
func (a *Archive) onSubject(ctx context.Context, agent, id string, roles []Role, reason string, do func(*Subject) (*Subject, error)) (*Subject, error) {
	a.acting.Lock()
	defer a.acting.Unlock()
	s, err := a.Subject(id)
	if err != nil {
		return nil, err
	}
	if _, err := a.mayChangeSubjects(agent, s.Tenant, roles); err != nil {
		return nil, err
	}
	bad := &Refusal{}
	checkText("reason", reason, 10_000, bad)
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	return do(s)
}

// MergeSubjects records that a subject is the same person as another, into which it goes, on behalf
// of agent. Both records stay; SplitSubject takes it back.
func (a *Archive) MergeSubjects(ctx context.Context, agent, from, into, reason string) (*Subject, error) {
	if err := a.knows("subject", from, into); err != nil {
		return nil, err
	}
	return a.onSubject(ctx, agent, from, mergingRoles, reason, func(s *Subject) (*Subject, error) {
		other, err := a.Subject(into)
		if err != nil {
			return nil, err
		}
		bad := &Refusal{}
		switch {
		case s.Tenant != other.Tenant:
			return nil, fmt.Errorf("subject %q: %w", into, ErrNotFound) // another tenant's are not there
		case from == into:
			bad.addf("a subject is not merged into itself")
		case s.MergedInto != "":
			bad.addf("subject %s was merged into %s: split it first, or merge that", from, s.MergedInto)
		case other.MergedInto != "":
			bad.addf("subject %s was merged into %s: merge into that", into, other.MergedInto)
		}
		if strings.TrimSpace(reason) == "" {
			bad.addf("no reason: say how it is known that the two are one person")
		}
		if s.BirthDate != "" && other.BirthDate != "" && s.BirthDate != other.BirthDate {
			bad.addf("the two have different birth dates: they are not one person, or one of the dates is to be rectified first")
		}
		if err := errors.Join(a.noDecidedErasure(s, bad), a.noDecidedErasure(other, bad)); err != nil {
			return nil, err
		}
		if err := bad.orNil(); err != nil {
			return nil, err
		}
		return a.changeSubject(ctx, agent, s, "merged", "", reason, func(p *Person) error {
			p.MergedInto = into
			return nil
		})
	})
}

// SplitRequest says what a split takes out of a subject: a subject that was merged into it, or
// identifiers and citizen files, which become a new subject's.
type SplitRequest struct {
	Merged     string
	Identities []FederatedID
	Files      []string // units
	Person     PersonData
	Reason     string
}

// SplitSubject takes apart what is not one person, on behalf of agent; it gives the other subject.
func (a *Archive) SplitSubject(ctx context.Context, agent, from string, r SplitRequest) (*Subject, error) {
	if err := a.knows("subject", from); err != nil {
		return nil, err
	}
	return a.onSubject(ctx, agent, from, mergingRoles, r.Reason, func(s *Subject) (*Subject, error) {
		bad := &Refusal{}
		if strings.TrimSpace(r.Reason) == "" {
			bad.addf("no reason: say how it is known that these are two persons")
		}
		if err := a.noDecidedErasure(s, bad); err != nil {
			return nil, err
		}
		if r.Merged != "" {
			return a.unmerge(ctx, agent, s, r, bad)
		}
		return a.splitOff(ctx, agent, s, r, bad)
	})
}

func (a *Archive) unmerge(ctx context.Context, agent string, s *Subject, r SplitRequest, bad *Refusal) (*Subject, error) {
	if len(r.Identities) > 0 || len(r.Files) > 0 || r.Person != (PersonData{}) {
		bad.addf("a subject that was merged comes out as it was: name nothing else")
	}
	other, err := a.Subject(r.Merged)
	if err != nil {
		return nil, err
	}
	if other.MergedInto != s.ID {
		bad.addf("subject %s was not merged into %s", r.Merged, s.ID)
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	return a.changeSubject(ctx, agent, other, "split", "", r.Reason, func(p *Person) error {
		p.MergedInto = ""
		return nil
	})
}

// splitOff makes a new subject of identifiers and files.
func (a *Archive) splitOff(ctx context.Context, agent string, s *Subject, r SplitRequest, bad *Refusal) (*Subject, error) {
	r.Person.check(bad)
	if len(r.Identities) == 0 && len(r.Files) == 0 {
		bad.addf("nothing to take out: name a merged subject, identifiers or files")
	}
	left, p := s.Person, Person{PersonData: r.Person, SplitFrom: s.ID}
	left.Identities = slices.Clone(left.Identities)
	for _, id := range r.Identities {
		if err := a.dropIdentity(s.Tenant, &left, id); err != nil {
			bad.addf("%v", err)
			continue
		}
		p.Identities = append(p.Identities, Identity{id.Issuer, a.pseudonym(s.Tenant, id), now()})
	}
	d := subjectDraft(s.Tenant, &p)
	v := revision{kind: integrity.Subject, act: "split", words: r.Reason, fresh: []*draft{d}}
	if len(r.Identities) > 0 {
		v.changes = append(v.changes, personChange(s.ID, func(p *Person) error { p.Identities = left.Identities; return nil }))
	}
	for _, f := range slices.Compact(slices.Sorted(slices.Values(r.Files))) {
		if !slices.Contains(s.Files, SubjectFile{f, s.ID}) {
			bad.addf("file %s does not name subject %s", f, s.ID)
		}
		v.changes = append(v.changes, moveFile(f, s.ID, d.desc.Unit))
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	if _, err := a.revise(ctx, agent, s.Tenant, v); err != nil {
		return nil, err
	}
	return a.Subject(d.desc.Unit)
}

// moveFile lets a citizen file name another subject.
func moveFile(file, from, to string) change {
	return change{file, func(d *Description) error {
		f := *d.File
		f.Persons = slices.Clone(f.Persons)
		for i := range f.Persons {
			if f.Persons[i] == from {
				f.Persons[i] = to
			}
		}
		d.File = &f
		return nil
	}}
}

// RectifySubject corrects names and birth of a subject, on behalf of agent; request is that of the
// data subject, when there is one. Fields that are empty stay as they are.
func (a *Archive) RectifySubject(ctx context.Context, agent, id, request string, data PersonData, reason string) (*Subject, error) {
	if err := a.knows("subject", id); err != nil {
		return nil, err
	}
	return a.onSubject(ctx, agent, id, rectifyingRoles, reason, func(s *Subject) (*Subject, error) {
		return a.rectifySubject(ctx, agent, s, request, data, reason)
	})
}

// rectifySubject is RectifySubject for who holds acting.
func (a *Archive) rectifySubject(ctx context.Context, agent string, s *Subject, request string, data PersonData, reason string) (*Subject, error) {
	bad := &Refusal{}
	data.check(bad)
	if data == (PersonData{}) {
		bad.addf("nothing to correct: name what is to change")
	}
	if strings.TrimSpace(reason) == "" {
		bad.addf("no reason: say why")
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	return a.changeSubject(ctx, agent, s, "rectified", request, reason, func(p *Person) error {
		for _, f := range []struct {
			to   *string
			from string
		}{{&p.FamilyName, data.FamilyName}, {&p.BirthName, data.BirthName}, {&p.GivenNames, data.GivenNames}, {&p.BirthDate, data.BirthDate}, {&p.BirthPlace, data.BirthPlace}} {
			if f.from != "" {
				*f.to = f.from
			}
		}
		return nil
	})
}

// SubjectPage is one page of data subjects.
type SubjectPage struct {
	Subjects []*Subject `json:"subjects"`
	Next     string     `json:"next,omitempty"` // cursor of the next page; "" at the end
}

// ListSubjects gives a page of the subjects of a tenant, in the order of identifiers, which are drawn
// at random; after is the Next of the page before, and a limit of 0 is 100.
func (r *Reader) ListSubjects(tenant, after string, limit int) (page SubjectPage, err error) {
	of, err := r.a.tenant(tenant)
	if err != nil {
		return page, err
	}
	bad := &Refusal{}
	if limit = cmp.Or(limit, 100); limit < 1 || limit > maxPage {
		bad.addf("limit %d: want 1 to %d", limit, maxPage)
	}
	if after != "" && (!idForm.MatchString(after) || after[:1] != subjectID) {
		bad.addf("cursor %q is not one that a page gave", after)
	}
	if err := bad.orNil(); err != nil {
		return page, err
	}
	page.Subjects = []*Subject{}
	err = r.a.cat.view(func(t *tx) error {
		return r.a.eachSubject(t, of.ID, cmp.Or(after, subjectID), func(s *Subject) (bool, error) {
			if len(page.Subjects) == limit {
				page.Next = s.ID
				return false, nil
			}
			page.Subjects = append(page.Subjects, s)
			return true, nil
		})
	})
	if err == nil {
		err = r.tell(of.ID, page.Subjects...)
	}
	if err != nil {
		return SubjectPage{}, err
	}
	return page, nil
}

// eachSubject calls f for the subjects of a tenant, in the order of identifiers from one on, until it
// returns false.
func (a *Archive) eachSubject(t *tx, tenant, from string, f func(*Subject) (bool, error)) error {
	last := ""
	return t.scan(bktUnit, []byte(from), []byte{subjectID[0] + 1}, func(k, v []byte) (bool, error) {
		id, _ := splitUnitKey(k)
		if id == last {
			return true, nil
		}
		last = id
		var r unitRecord
		if err := decodeClear(v, &r); err != nil {
			return false, damaged("subject", id, err)
		}
		if r.Tenant != tenant {
			return true, nil
		}
		s, err := a.subject(t, id)
		if err != nil {
			return false, err
		}
		return f(s)
	})
}

// Subject is Archive.Subject; names and birth for those who have a role that reads.
func (r *Reader) Subject(id string) (*Subject, error) {
	if err := r.a.knows("subject", id); err != nil {
		return nil, err
	}
	s, err := r.a.Subject(id)
	if err != nil {
		return nil, err
	}
	if err := r.tell(s.Tenant, s); err != nil {
		return nil, err
	}
	return s, nil
}

// FindSubject is Archive.FindSubject, as Reader.Subject.
func (r *Reader) FindSubject(tenant string, id FederatedID) (*Subject, error) {
	s, err := r.a.FindSubject(tenant, id)
	if err != nil {
		return nil, err
	}
	if err := r.tell(s.Tenant, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Subjects is Archive.Subjects: only for those who have a role that reads, since that somebody of the
// name is there tells something.
func (r *Reader) Subjects(tenant string, like PersonData) ([]*Subject, error) {
	of, err := r.a.tenant(tenant)
	if err == nil {
		err = of.mayIfNamed(r.agent, readingRoles...)
	}
	if err != nil {
		return nil, err
	}
	all, err := r.a.Subjects(of.ID, like)
	if err == nil {
		err = r.tell(of.ID, all...)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// tell withholds of subjects what names persons from who has no role that reads, and else logs that
// they are read.
func (r *Reader) tell(tenant string, all ...*Subject) error {
	of, err := r.a.tenant(tenant)
	if err != nil {
		return err
	}
	var told []string
	for _, s := range all {
		if of.mayIfNamed(r.agent, readingRoles...) != nil {
			s.PersonData, s.Withheld = PersonData{}, true
		} else {
			told = append(told, s.ID)
		}
	}
	return r.logRead(of.ID, VerbSubject, told)
}
