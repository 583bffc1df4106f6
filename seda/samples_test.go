package seda

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkFile opens, checks and verifies a package, and walks it when it is accepted.
func checkFile(t *testing.T, path string, o Options) (*Findings, int) {
	t.Helper()
	var found Findings
	p, err := OpenPackage(path, &found)
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		return &found, 0
	}
	defer p.Close()
	tr, err := Check(p, o)
	if err == nil {
		err = tr.Verify(context.Background(), nil)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	units := 0
	if !tr.Findings.Refused() {
		err := tr.Walk(func(u *Unit) error {
			units++
			if len(u.Content) == 0 || u.Index < 0 {
				t.Errorf("%s: unit %s without content", path, u.ID)
			}
			return nil
		})
		if err != nil || units != tr.Counts.Units {
			t.Errorf("%s: %d units walked of %d: %v", path, units, tr.Counts.Units, err)
		}
	}
	return &tr.Findings, units
}

func errorsOf(fs *Findings) string {
	var codes []string
	for _, f := range fs.List {
		if f.Severity == Error && !slices.Contains(codes, string(f.Code)) {
			codes = append(codes, string(f.Code))
		}
	}
	slices.Sort(codes)
	return strings.Join(codes, " ")
}

// TestGoodTransfers: what is valid and sound is accepted in both modes, without error.
func TestGoodTransfers(t *testing.T) {
	needSamples(t)
	n := 0
	err := filepath.WalkDir(filepath.Join(samples, "samples-ok"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".zip" {
			return err
		}
		n++
		for _, mode := range []Mode{Tolerant, Strict} {
			if found, _ := checkFile(t, path, Options{Mode: mode}); found.Refused() {
				t.Errorf("%s, %s: %v", path, mode, found.List)
			}
		}
		return nil
	})
	if err != nil || n < 50 {
		t.Fatal(n, err)
	}
}

// TestDialect: what is met in practice is accepted with warnings, and refused by strict
// mode, where the official schema refuses it.
func TestDialect(t *testing.T) {
	needSamples(t)
	paths, _ := filepath.Glob(filepath.Join(samples, "samples-vitam-dialect", "*.zip"))
	want := map[string]string{
		"OK_Rattachement_Multiple_AU.zip":                "XML_SYNTAX",    // cut
		"sip_all_metadata_with_custodialhistoryfile.zip": "SIZE_MISMATCH", // a size is wrong
	}
	for _, path := range paths {
		found, _ := checkFile(t, path, Options{})
		if got := errorsOf(found); got != want[filepath.Base(path)] {
			t.Errorf("%s: %v", path, found.List)
		}
		if len(found.List) == 0 {
			t.Errorf("%s: accepted without a word", path)
		}
		if found, _ := checkFile(t, path, Options{Mode: Strict}); !found.Refused() {
			t.Errorf("%s: strictly accepted", path)
		}
	}
}

// TestBadTransfers: transfers that another archive refuses, by what we find. Those with
// nothing need that archive's referentials, contracts or profiles, or rules of its own
// (no + or # in a file's name, a short name for the manifest).
func TestBadTransfers(t *testing.T) {
	needSamples(t)
	for name, want := range map[string]string{
		"DIGEST_VIDE.zip":                                            "VALUE_INVALID",
		"KO_1791_SIP_RG-STARTDATE_AN9000.zip":                        "DATE_RANGE",
		"KO_AU_GOT_VIDE.zip":                                         "GROUP_ORPHAN VALUE_INVALID",
		"KO_ArchivesPhysiques_EmptyPhysicalId.zip":                   "PHYSICAL_ID_EMPTY",
		"KO_ArchivesPhysiques_PhysicalInBinary.zip":                  "USAGE_DUPLICATE USAGE_KIND",
		"KO_BORD_AUrefphysobject.zip":                                "AGREEMENT_MISSING GROUP_ORPHAN REF_KIND",
		"KO_BinaryInPhysical.zip":                                    "USAGE_DUPLICATE USAGE_KIND",
		"KO_CYCLE.zip":                                               "UNIT_CYCLE",
		"KO_DEUX-Manifest.zip":                                       "FILE_UNDECLARED",
		"KO_Empreinte_test_ATR.zip":                                  "VALUE_INVALID",
		"KO_INFERIOR_BDO.zip":                                        "FILE_UNDECLARED",
		"KO_INVALID_URI.zip":                                         "FILE_MISSING FILE_UNDECLARED",
		"KO_MANIFESTE-URI.zip":                                       "FILE_MISSING FILE_UNDECLARED",
		"KO_OBJT_orphelins.zip":                                      "GROUP_ORPHAN",
		"KO_PhysicalInBinary.zip":                                    "USAGE_DUPLICATE USAGE_KIND",
		"KO_Plan_empty_title.zip":                                    "TITLE_MISSING",
		"KO_Reference_Unexisting.zip":                                "GROUP_ORPHAN REF_UNRESOLVED",
		"KO_SEDA_2.3_Signature.zip":                                  "ELEMENT_UNEXPECTED",
		"KO_SIP_1986_unit_declare_IDobjet_au_lieu_IDGOT.zip":         "GROUP_ORPHAN REF_KIND",
		"KO_SIP_Without_ArchivalAgreement_Tag_In_Manifest.zip":       "AGREEMENT_MISSING",
		"KO_SUPERIOR_BDO.zip":                                        "FILE_MISSING",
		"KO_USAGES_2_BM.zip":                                         "USAGE_DUPLICATE",
		"KO_USAGE_VERSION_TIRET.zip":                                 "USAGE_INVALID",
		"KO_VERSION_LETTRES.zip":                                     "USAGE_INVALID",
		"SIP_Conformity_KO.zip":                                      "DIGEST_MISMATCH SIZE_MISMATCH",
		"SIP_KO_HoldRules_HoldEndDateForRuleWithDefinedDuration.zip": "HOLD_DATES",
		"SIP_KO_PathTraversalInFileName.zip":                         "PACKAGE_NAME",
		"2194_IC_INACTIVE.zip":                                       "",
		"SIP_KO_PlusSignInFileName.zip":                              "",
	} {
		found, _ := checkFile(t, filepath.Join(samples, "samples-ko", name), Options{})
		if got := errorsOf(found); got != want {
			t.Errorf("%s: %q, want %q: %v", name, got, want, found.List)
		}
		for _, f := range found.List {
			if f.Sentence(French) == f.Sentence(English) || strings.ContainsAny(f.Sentence(French)+f.Sentence(English), "{}") {
				t.Errorf("%s: %s: %q, %q", name, f.Code, f.Sentence(French), f.Sentence(English))
			}
		}
	}
	// Known to no referential.
	none := func(string) (bool, string) { return false, "X-1" }
	o := Options{Known: Referential{Agreement: none, Agency: none, Rule: func(string, string) (bool, bool) { return false, false }}}
	found, _ := checkFile(t, filepath.Join(samples, "samples-ok", "2.1", "OK-RULES.zip"), o)
	if got := errorsOf(found); got != "AGENCY_UNKNOWN AGREEMENT_UNKNOWN RULE_UNKNOWN" {
		t.Errorf("unknown to the archive: %q", got)
	}
}

// TestSentences: every code says itself in both languages.
func TestSentences(t *testing.T) {
	for code, s := range sentences {
		if s.fr == "" || s.en == "" || s.fr == s.en {
			t.Errorf("%s: %q, %q", code, s.fr, s.en)
		}
		for _, part := range []string{"{id}", "{expected}", "{found}", "{file}"} {
			if strings.Contains(s.fr, part) != strings.Contains(s.en, part) {
				t.Errorf("%s: %s stands in one language alone", code, part)
			}
		}
	}
	if fmt.Sprint(Finding{Code: SizeMissing, Severity: Warning, Line: 3, ID: "a", Path: "/b"}) != "warning SIZE_MISSING line 3: The size of data object a is not declared. [/b]" {
		t.Error(Finding{Code: SizeMissing, Severity: Warning, Line: 3, ID: "a", Path: "/b"})
	}
}
