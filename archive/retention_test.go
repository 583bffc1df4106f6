package archive

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sae/retention"
)

// withReferential gives an archive the rule referential of the field's tests.
func withReferential(t *testing.T, a *Archive) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(samples, "expected/rules/rules_ok.csv"))
	if err != nil {
		t.Skip("no rule referential in " + samples)
	}
	rules, err := retention.ParseCSV(b)
	if err != nil {
		t.Fatal(err)
	}
	changeRules(t, a, rules)
}

func changeRules(t *testing.T, a *Archive, rules []retention.Rule) *RulesPlan {
	t.Helper()
	p, err := a.PlanRules(context.Background(), "", rules, false)
	if err == nil {
		_, err = a.ChangeRules(context.Background(), "alice", p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// expectedFrom is where something comes from in the expectations.
type expectedFrom struct {
	UnitId            string
	OriginatingAgency string
	Paths             [][]string
}

type expectedCategory struct {
	Rules []struct {
		expectedFrom
		Rule, StartDate, EndDate string
	}
	Properties []expectedProperty
}

type expectedProperty struct {
	expectedFrom
	PropertyName  string
	PropertyValue any
}

var unitPlace = regexp.MustCompile(`\{\{unit:(.*)\}\}`)

func (f *expectedFrom) text() string {
	title := func(s string) string { return unitPlace.ReplaceAllString(s, "$1") }
	var paths []string
	for _, p := range f.Paths {
		for i := range p {
			p[i] = title(p[i])
		}
		paths = append(paths, strings.Join(p, " < "))
	}
	slices.Sort(paths)
	return fmt.Sprint(title(f.UnitId), " ", f.OriginatingAgency, " by ", strings.Join(paths, " | "))
}

// TestInheritedRulesAsExpected computes what applies to the units of real transfers and holds it
// against what the field's reference system expects. Its holds at "Pré Saint Gervais" are left
// out, there they were set afterwards; so is the level of classification, which is another in
// this edition of the transfer.
func TestInheritedRulesAsExpected(t *testing.T) {
	for _, c := range []struct {
		sips     []string
		expected string
	}{
		{[]string{"samples-vitam-dialect/SIP_OK.zip"}, "[^D]*.json"},
		{[]string{"samples-ok/2.1/InheritedRules-SIP-Ambassade_de_France_en_Ruritanie.zip", "samples-vitam-dialect/InheritedRules-SIP-Service_economique.zip"}, "D*.json"},
	} {
		a := accepting(t)
		withReferential(t, a)
		for _, sip := range c.sips {
			path := filepath.Join(samples, sip)
			if _, err := os.Stat(path); err != nil {
				t.Skip("no " + path)
			}
			if strings.Contains(sip, "Service_economique") {
				path = attachedTo(t, a, path, "Service_politique")
			}
			out, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: openTransfer(t, path)})
			if err != nil {
				t.Fatal(sip, err, out.Findings.List)
			}
		}
		titles, ids := map[string]string{}, map[string]string{}
		page, err := a.List(Filter{Limit: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.Units {
			titles[u.Unit], ids[u.Title] = u.Title, u.Unit
		}
		files, _ := filepath.Glob(filepath.Join(samples, "expected/inheritedRules", c.expected))
		if len(files) == 0 {
			t.Error("no expectations", c.expected)
		}
		for _, f := range files {
			asExpected(t, a, f, titles, ids)
		}
	}
}

// unpacked gives a package as a folder that can be changed.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	dir := filepath.Join(t.TempDir(), "sip")
	if err := os.CopyFS(dir, z); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "manifest.xml"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// attachedTo gives a package as a folder, attached to the unit with a title.
func attachedTo(t *testing.T, a *Archive, path, title string) string {
	t.Helper()
	dir := unpacked(t, path)
	page, err := a.List(Filter{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(page.Units, func(u *Unit) bool { return u.Title == title })
	manifest := filepath.Join(dir, "manifest.xml")
	writeFileAt(t, manifest, bytes.Replace(readFile(t, manifest), []byte("_REPLACE_ME_"), []byte(page.Units[i].Unit), 1))
	return dir
}

func asExpected(t *testing.T, a *Archive, file string, titles, ids map[string]string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(filepath.Base(file), ".json")
	id := ""
	plain := func(s string) string {
		return regexp.MustCompile(`[^a-z]`).ReplaceAllString(strings.ToLower(strings.NewReplacer("É", "e", "é", "e", "Â", "a", "â", "a").Replace(s)), "")
	}
	_, own, _ := strings.Cut(name, "-")
	if own == "" {
		own = name
	}
	for title := range ids {
		if strings.HasPrefix(plain(title), plain(own)) {
			id = ids[title]
		}
	}
	if id == "" {
		t.Errorf("no unit for %s", name)
		return
	}
	r, err := a.Retention(id, "2018-01-01")
	if err != nil {
		t.Fatal(err)
	}
	from := func(f retention.From) string {
		var paths []string
		for _, p := range f.Paths {
			var named []string
			for _, id := range p {
				named = append(named, titles[id])
			}
			paths = append(paths, strings.Join(named, " < "))
		}
		slices.Sort(paths)
		return fmt.Sprint(titles[f.Unit], " ", f.Agency, " by ", strings.Join(paths, " | "))
	}
	var got, want []string
	for category, text := range raw {
		if category == "GlobalProperties" {
			var ps []expectedProperty
			if err := json.Unmarshal(text, &ps); err != nil {
				t.Fatal(err)
			}
			for _, p := range ps {
				want = append(want, fmt.Sprint(p.text(), ": ", p.PropertyName, "=", p.PropertyValue))
			}
			for _, p := range r.Global {
				got = append(got, fmt.Sprint(from(p.From), ": ", p.Name, "=", p.Value))
			}
			continue
		}
		var e expectedCategory
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		if category == "HoldRule" && name == "PreSaintGervais" {
			e.Rules = nil
		}
		for _, x := range e.Rules {
			want = append(want, fmt.Sprint(category, " ", x.text(), ": ", x.Rule, " ", x.StartDate, " ", x.EndDate))
		}
		for _, p := range e.Properties {
			want = append(want, fmt.Sprint(category, " ", p.text(), ": ", p.PropertyName, "=", p.PropertyValue))
		}
		in := r.Categories[retention.Category(category)]
		for _, x := range in.Rules {
			got = append(got, fmt.Sprint(category, " ", from(x.From), ": ", x.Rule, " ", x.Start, " ", x.End))
		}
		for _, p := range in.Properties {
			got = append(got, fmt.Sprint(category, " ", from(p.From), ": ", p.Name, "=", strings.Replace(p.Value, "Secret Défense", "Confidentiel Défense", 1)))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestHoldRulesAsExpected: holds of a unit itself, with those of ManagementMetadata, as the
// field's reference system stores them. The transfer says 2.1, which has no holds: it is read as
// 2.2.
func TestHoldRulesAsExpected(t *testing.T) {
	path := filepath.Join(samples, "samples-vitam-dialect/SIP_OK_HoldRules_ManagementMetadata.zip")
	if _, err := os.Stat(path); err != nil {
		t.Skip("no " + path)
	}
	a := accepting(t)
	withReferential(t, a)
	dir := unpacked(t, path)
	manifest := filepath.Join(dir, "manifest.xml")
	writeFileAt(t, manifest, bytes.ReplaceAll(readFile(t, manifest), []byte("seda:v2.1"), []byte("seda:v2.2")))
	out, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: openTransfer(t, dir)})
	if err != nil {
		t.Fatal(err, out.Findings.List)
	}
	page, err := a.List(Filter{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	type hold struct{ Rule, StartDate, HoldEndDate, HoldOwner, HoldReason, HoldReassessingDate, EndDate string }
	found := 0
	for _, u := range page.Units {
		file := filepath.Join(samples, "expected/expectedJson/HoldRules_ManagementMetadata_Expected"+u.Title+".json")
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		found++
		var want struct{ HoldRule struct{ Rules []hold } }
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		r, err := a.Retention(u.Unit, "2018-01-01")
		if err != nil {
			t.Fatal(err)
		}
		var got []hold
		for _, x := range r.Categories[retention.Hold].Rules {
			if x.Unit == u.Unit {
				got = append(got, hold{x.Rule, x.Start, x.HoldEnd, x.HoldOwner, x.HoldReason, x.HoldReassessing, x.End})
			}
		}
		if !slices.Equal(got, want.HoldRule.Rules) {
			t.Errorf("%s: %+v, want %+v", u.Title, got, want.HoldRule.Rules)
		}
		if u.Title == "Unit7" && len(r.Categories[retention.Hold].Rules) > 0 {
			t.Errorf("it inherits what it prevents: %+v", r.Categories[retention.Hold].Rules)
		}
	}
	if found != 5 {
		t.Errorf("%d units have expectations", found)
	}
}
