package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sae/retention"
)

func newSubject(t *testing.T, a *Archive, p PersonData, ids ...FederatedID) *Subject {
	t.Helper()
	s, err := a.NewSubject(context.Background(), "alice", "", p, ids)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustRefuse(t *testing.T, what string, err error, says string) {
	t.Helper()
	if !errors.Is(err, ErrRefused) || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%s: %v, want a refusal that says %q", what, err, says)
	}
}

func TestSubjectsAreRefused(t *testing.T) {
	ctx := context.Background()
	a, _ := citizens(t)
	one := newSubject(t, a, PersonData{FamilyName: "Martin", BirthDate: "1954-02-11"}, franceConnect)
	two := newSubject(t, a, PersonData{FamilyName: "Martin", BirthDate: "1954-02-12"})
	three := newSubject(t, a, PersonData{FamilyName: "Durand"})
	other := FederatedID{"https://autre.example", "1"}
	for _, c := range []struct {
		what, says string
		do         func() error
	}{
		{"nobody", "nothing is said", func() error { _, err := a.NewSubject(ctx, "alice", "", PersonData{}, nil); return err }},
		{"a birth to come", "birth date", func() error {
			_, err := a.NewSubject(ctx, "alice", "", PersonData{BirthDate: "2999-01-01"}, nil)
			return err
		}},
		{"a control character", "family name", func() error {
			_, err := a.NewSubject(ctx, "alice", "", PersonData{FamilyName: "a\x01"}, nil)
			return err
		}},
		{"an identifier that is another's", "linked to subject " + one.ID, func() error {
			_, err := a.NewSubject(ctx, "alice", "", PersonData{FamilyName: "x"}, []FederatedID{franceConnect})
			return err
		}},
		{"an identifier twice in one request", "linked already", func() error {
			_, err := a.NewSubject(ctx, "alice", "", PersonData{FamilyName: "x"}, []FederatedID{other, other})
			return err
		}},
		{"linked twice", "linked already", func() error { _, err := a.LinkIdentity(ctx, "alice", one.ID, franceConnect, ""); return err }},
		{"linked to another", "linked to subject", func() error { _, err := a.LinkIdentity(ctx, "alice", two.ID, franceConnect, ""); return err }},
		{"unlinked that is not", "does not have", func() error { _, err := a.UnlinkIdentity(ctx, "alice", two.ID, franceConnect, ""); return err }},
		{"merged into itself", "into itself", func() error { _, err := a.MergeSubjects(ctx, "alice", one.ID, one.ID, "r"); return err }},
		{"different births", "different birth dates", func() error { _, err := a.MergeSubjects(ctx, "alice", one.ID, two.ID, "r"); return err }},
		{"merged without reason", "no reason", func() error { _, err := a.MergeSubjects(ctx, "alice", one.ID, three.ID, " "); return err }},
		{"merged by who may not", "archivist", func() error { _, err := a.MergeSubjects(ctx, "bob", one.ID, three.ID, "r"); return err }},
		{"split of what is not merged", "was not merged", func() error {
			_, err := a.SplitSubject(ctx, "alice", one.ID, SplitRequest{Merged: two.ID, Reason: "r"})
			return err
		}},
		{"split of nothing", "nothing to take out", func() error { _, err := a.SplitSubject(ctx, "alice", one.ID, SplitRequest{Reason: "r"}); return err }},
		{"split of another's identifier", "does not have", func() error {
			_, err := a.SplitSubject(ctx, "alice", two.ID, SplitRequest{Identities: []FederatedID{franceConnect}, Reason: "r"})
			return err
		}},
		{"split of another's file", "does not name subject", func() error {
			_, err := a.SplitSubject(ctx, "alice", two.ID, SplitRequest{Files: []string{"u"}, Reason: "r"})
			return err
		}},
		{"rectified to nothing", "nothing to correct", func() error {
			_, err := a.RectifySubject(ctx, "alice", one.ID, "", PersonData{}, "r")
			return err
		}},
		{"found by given names", "family name", func() error { _, err := a.Subjects("", PersonData{GivenNames: "Jeanne"}); return err }},
		{"found by name by who does not read", "depositor", func() error {
			_, err := a.As("eve", retention.ToRead).Subjects("", PersonData{FamilyName: "Martin"})
			if err != nil && !strings.Contains(err.Error(), "Martin") {
				return fmt.Errorf("depositor: %w", err)
			}
			return err
		}},
		{"a cursor of another list", "cursor", func() error { _, err := a.As("alice", retention.ToRead).ListSubjects("", "12", 0); return err }},
	} {
		mustRefuse(t, c.what, c.do(), c.says)
	}
	if _, err := a.MergeSubjects(ctx, "alice", three.ID, one.ID, "one person"); err != nil {
		t.Fatal(err)
	}
	_, err := a.MergeSubjects(ctx, "alice", three.ID, two.ID, "r")
	mustRefuse(t, "merged twice", err, "split it first")
	_, err = a.MergeSubjects(ctx, "alice", two.ID, three.ID, "r")
	mustRefuse(t, "merged into what was merged", err, "merge into that")
	_, err = a.LinkIdentity(ctx, "alice", three.ID, other, "")
	mustRefuse(t, "linked to what was merged", err, "link it there")
	_, err = a.OpenFile(ctx, "alice", NewFile{Procedure: "RSA", Number: "R-1", Persons: []string{three.ID}})
	mustRefuse(t, "a file of who was merged", err, "name that")
	if _, err := a.Subject("u" + one.ID[1:]); !errors.Is(err, ErrNotFound) {
		t.Errorf("a subject under another letter: %v", err)
	}
	mustBeSound(t, a)
}

// TestSubjectsAreFoundByWhatTheyAreNow: rows of what was rectified, unlinked or split go.
func TestSubjectsAreFoundByWhatTheyAreNow(t *testing.T) {
	ctx := context.Background()
	a, dir := citizens(t)
	s, file, _ := openOwn(t, a, "F-1", PersonData{FamilyName: "Lefèvre", BirthName: "Saint-Just", GivenNames: "Jeanne Louise", BirthDate: "1954-02-11"}, franceConnect)
	count := func(like PersonData) int {
		t.Helper()
		all, err := a.Subjects("", like)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	for name, want := range map[string]int{"LEFEVRE": 1, "saint just": 1, "lefevr": 0} {
		if got := count(PersonData{FamilyName: name}); got != want {
			t.Errorf("%s: %d found, want %d", name, got, want)
		}
	}
	if count(PersonData{FamilyName: "lefevre", GivenNames: "jeanne"}) != 1 || count(PersonData{FamilyName: "lefevre", GivenNames: "louise"}) != 0 || count(PersonData{FamilyName: "lefevre", BirthDate: "1954-02-12"}) != 0 {
		t.Error("given names and birth date do not choose")
	}
	if _, err := a.RectifySubject(ctx, "alice", s.ID, "", PersonData{FamilyName: "Lemaître"}, "spelt wrong"); err != nil {
		t.Fatal(err)
	}
	if count(PersonData{FamilyName: "Lefevre"}) != 0 || count(PersonData{FamilyName: "lemaitre"}) != 1 {
		t.Error("found by the name that was corrected")
	}
	new, err := a.SplitSubject(ctx, "alice", s.ID, SplitRequest{Identities: []FederatedID{franceConnect}, Files: []string{file}, Person: PersonData{FamilyName: "Autre"}, Reason: "two persons"})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := a.FindSubject("", franceConnect); err != nil || found.ID != new.ID || len(found.Files) != 1 || found.SplitFrom != s.ID {
		t.Errorf("%+v %v", found, err)
	}
	if old, err := a.Subject(s.ID); err != nil || len(old.Files) != 0 || len(old.Identities) != 0 {
		t.Errorf("%+v %v", old, err)
	}
	if f, err := a.As("alice", retention.ToRead).File("", "F-1"); err != nil || !slices.Equal(f.Persons, []string{new.ID}) {
		t.Errorf("%+v %v", f, err)
	}
	if h, err := a.History(s.ID); err != nil || len(h) != 3 {
		t.Errorf("%d entries in the history, %v", len(h), err)
	}
	mustBeSound(t, a)
	a.Close()
	if f, err := reopened(t, dir).FindSubject("", franceConnect); err != nil || f.ID != new.ID {
		t.Errorf("after reopening: %v %v", f, err)
	}
}

// TestNamesAreForWhoReads: who may record subjects does not therefore read them.
func TestNamesAreForWhoReads(t *testing.T) {
	a, _ := citizens(t)
	s := newSubject(t, a, PersonData{FamilyName: planted}, franceConnect)
	for agent, reads := range map[string]bool{"alice": true, "dora": true, "bob": true, "eve": false} {
		r := a.As(agent, retention.ToRead)
		one, err := r.Subject(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		two, err := r.FindSubject("", franceConnect)
		if err != nil {
			t.Fatal(err)
		}
		page, err := r.ListSubjects("", "", 0)
		if err != nil || len(page.Subjects) != 1 {
			t.Fatal(page, err)
		}
		unit, err := r.Unit(s.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range []any{one, two, page, unit} {
			if got := strings.Contains(string(mustJSON(v)), planted); got != reads {
				t.Errorf("%s sees the name: %v, in answer %d", agent, got, i)
			}
		}
	}
}

// TestSubjectsInPages: each stands on one page, once.
func TestSubjectsInPages(t *testing.T) {
	a, _ := citizens(t)
	want := map[string]bool{}
	for i := range 7 {
		want[newSubject(t, a, PersonData{FamilyName: fmt.Sprint("N", i)}).ID] = true
	}
	after, r := "", a.As("alice", retention.ToRead)
	for {
		page, err := r.ListSubjects("", after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Subjects {
			if !want[s.ID] {
				t.Errorf("%s is there twice, or not one of them", s.ID)
			}
			delete(want, s.ID)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(want) > 0 {
		t.Errorf("left out: %v", want)
	}
}

// model is what subjects should be: by number, whom each was merged into (-1 for nobody), and by
// identifier and file, whose it is (-1 for nobody's).
type model struct {
	ids        []string
	into       []int
	identities []int
	files      []int
	fileUnits  []string
	birth      []string
}

func (m *model) whole(i int) int {
	for m.into[i] >= 0 {
		i = m.into[i]
	}
	return i
}

// TestSubjectsAsInTheModel: after any sequence of links, merges and splits an identifier finds at most
// one subject, the one of the model; a split undoes a merge; and the archive is sound.
func TestSubjectsAsInTheModel(t *testing.T) {
	a, _ := citizens(t)
	if _, err := a.AddProcedure(context.Background(), "alice", "", []byte(own)); err != nil {
		t.Fatal(err)
	}
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		ctx, m := context.Background(), &model{identities: []int{-1, -1, -1, -1}}
		id := func(i int) FederatedID { return FederatedID{"https://i.example", fmt.Sprintf("%d-%d", run, i)} }
		add := func(p PersonData) int {
			s, err := a.NewSubject(ctx, "alice", "", p, nil)
			if err != nil {
				t.Fatal(err)
			}
			m.ids, m.into, m.birth = append(m.ids, s.ID), append(m.into, -1), append(m.birth, p.BirthDate)
			return len(m.ids) - 1
		}
		for range 3 {
			add(PersonData{FamilyName: "N", BirthDate: rapid.SampledFrom([]string{"", "1950-01-01", "1960-01-01"}).Draw(t, "birth")})
		}
		for i := range 2 {
			f, err := a.OpenFile(ctx, "alice", NewFile{Procedure: "OWN", Number: fmt.Sprintf("R-%d-%d", run, i), Persons: []string{m.ids[i]}})
			if err != nil {
				t.Fatal(err)
			}
			m.files, m.fileUnits = append(m.files, i), append(m.fileUnits, f.Units[0].ID)
		}
		subject := rapid.Custom(func(t *rapid.T) int { return rapid.IntRange(0, len(m.ids)-1).Draw(t, "subject") })
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			i, k := subject.Draw(t, "i"), rapid.IntRange(0, 3).Draw(t, "identifier")
			switch step := rapid.SampledFrom([]string{"link", "unlink", "merge", "unmerge", "split"}).Draw(t, "step"); step {
			case "link":
				_, err := a.LinkIdentity(ctx, "alice", m.ids[i], id(k), "")
				if may := m.identities[k] < 0 && m.into[i] < 0; may != (err == nil) {
					t.Fatalf("link: may %v, %v", may, err)
				} else if may {
					m.identities[k] = i
				}
			case "unlink":
				_, err := a.UnlinkIdentity(ctx, "alice", m.ids[i], id(k), "")
				if may := m.identities[k] == i; may != (err == nil) {
					t.Fatalf("unlink: may %v, %v", may, err)
				} else if may {
					m.identities[k] = -1
				}
			case "merge":
				j := subject.Draw(t, "j")
				_, err := a.MergeSubjects(ctx, "alice", m.ids[i], m.ids[j], "r")
				may := i != j && m.into[i] < 0 && m.into[j] < 0 && (m.birth[i] == "" || m.birth[j] == "" || m.birth[i] == m.birth[j])
				if may != (err == nil) {
					t.Fatalf("merge: may %v, %v", may, err)
				} else if may {
					m.into[i] = j
				}
			case "unmerge":
				j := subject.Draw(t, "j")
				_, err := a.SplitSubject(ctx, "alice", m.ids[j], SplitRequest{Merged: m.ids[i], Reason: "r"})
				if may := m.into[i] == j; may != (err == nil) {
					t.Fatalf("unmerge: may %v, %v", may, err)
				} else if may {
					m.into[i] = -1
				}
			case "split":
				f := rapid.IntRange(0, 1).Draw(t, "file")
				s, err := a.SplitSubject(ctx, "alice", m.ids[i], SplitRequest{Identities: []FederatedID{id(k)}, Files: []string{m.fileUnits[f]}, Reason: "r"})
				if may := m.identities[k] == i && m.files[f] == i; may != (err == nil) {
					t.Fatalf("split: may %v, %v", may, err)
				} else if may {
					m.ids, m.into, m.birth = append(m.ids, s.ID), append(m.into, -1), append(m.birth, "")
					m.identities[k], m.files[f] = len(m.ids)-1, len(m.ids)-1
				}
			}
			m.hold(t, a, id)
		}
	})
	mustBeSound(t, a)
}

// hold wants the archive to be as the model says.
func (m *model) hold(t *rapid.T, a *Archive, id func(int) FederatedID) {
	for k, i := range m.identities {
		s, err := a.FindSubject("", id(k))
		switch {
		case i < 0 && !errors.Is(err, ErrNotFound):
			t.Fatalf("identifier %d is nobody's, and finds %v %v", k, s, err)
		case i >= 0 && (err != nil || s.ID != m.ids[m.whole(i)]):
			t.Fatalf("identifier %d finds %v %v, want %s", k, s, err, m.ids[m.whole(i)])
		}
	}
	for i := range m.ids {
		s, err := a.Subject(m.ids[i])
		if err != nil {
			t.Fatal(err)
		}
		var merged, files []string
		for j := range m.ids {
			for up := m.into[j]; up >= 0; up = m.into[up] {
				if up == i {
					merged = append(merged, m.ids[j])
				}
			}
		}
		for f, of := range m.files {
			if of == i || slices.Contains(merged, m.ids[of]) {
				files = append(files, m.fileUnits[f])
			}
		}
		var got []string
		for _, f := range s.Files {
			got = append(got, f.Unit)
		}
		slices.Sort(got)
		slices.Sort(files)
		slices.Sort(merged)
		slices.Sort(s.Merged)
		if !slices.Equal(s.Merged, merged) || !slices.Equal(got, files) {
			t.Fatalf("subject %d: merged %v, files %v; want %v, %v", i, s.Merged, got, merged, files)
		}
	}
}

// TestForgedRowsFindNobody: a row of the catalogue that finds a person by what is not hers is damage,
// and not an answer.
func TestForgedRowsFindNobody(t *testing.T) {
	a, _ := citizens(t)
	s, file, _ := openOwn(t, a, "F-1", PersonData{FamilyName: "Martin"}, franceConnect)
	victim := newSubject(t, a, PersonData{FamilyName: "Durand"})
	other := FederatedID{"https://autre.example", "1"}
	stays := func(unit string) *unitRecord {
		u, err := a.Unit(unit)
		if err != nil {
			t.Fatal(err)
		}
		return &u.record
	}
	index := func(kind byte, value string, r *unitRecord) record {
		return record{bktIndex, append(a.indexPrefix(kind, r.Tenant, value), be64(r.deposited().Leaf)...), unitKey(r.Unit, r.Version)}
	}
	for _, c := range []struct {
		what string
		row  record
		ask  func() error
	}{
		{"an identifier", a.namedRow(idxIdentity, stays(victim.ID), a.pseudonym("archives", other)), func() error { _, err := a.FindSubject("", other); return err }},
		{"a file", index(idxPerson, victim.ID, stays(file)), func() error { _, err := a.Subject(victim.ID); return err }},
		{"a merge", index(idxMerged, s.ID, stays(victim.ID)), func() error { _, err := a.Subject(s.ID); return err }},
	} {
		if err := c.ask(); err != nil && !errors.Is(err, ErrNotFound) {
			t.Error(c.what, err)
		}
		if err := a.update(nil, func(t *tx) error { return a.putRecords(t, []record{c.row}) }); err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if err := c.ask(); !errors.As(err, &damaged) {
			t.Errorf("%s: %v", c.what, err)
		}
		if err := a.update(nil, func(t *tx) error {
			rows := []record{c.row}
			if err := newGroups(a.vault, t).shut(rows); err != nil {
				return err
			}
			return t.delete(rows[0].bucket, rows[0].key)
		}); err != nil {
			t.Fatal(err)
		}
	}
	mustBeSound(t, a)
}
