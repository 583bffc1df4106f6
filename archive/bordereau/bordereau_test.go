package bordereau

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func sample(lines int) *Bordereau {
	b := &Bordereau{Reference: "eabc", Authority: "Archives départementales de l'Yonne", Proposed: time.Date(2026, 8, 1, 9, 0, 0, 0, time.UTC), At: "2026-01-01", Units: int64(3 * lines), Refused: 2,
		Root: strings.Repeat("ab", 32), Entry: 17, Steps: []Step{{"Proposé", time.Date(2026, 8, 1, 9, 0, 0, 0, time.UTC), 17, 0}, {"Accord du service producteur", time.Date(2026, 9, 3, 9, 0, 0, 0, time.UTC), 18, 2}}}
	for i := range lines {
		b.Lines = append(b.Lines, Line{First: int64(3*i + 1), Units: 3, Objects: 5, Bytes: 1_234_567, Agency: fmt.Sprint("Service ", i), From: "1999-02-03", To: "2015-12-31", Due: "2025-12-31",
			Rules: []Rule{{"MDPH-ADULTE", "MDPH, dossier individuel d'un adulte, à compter de la dernière décision notifiée", "P10Y", "Destroy", "Instruction DAF/DITN/DPACI/RES/2009/002 du 16 janvier 2009"}}})
	}
	return b
}

// textOf is what poppler reads in a PDF.
func textOf(t *testing.T, pdf []byte) string {
	t.Helper()
	program, err := exec.LookPath("pdftotext")
	if err != nil {
		if os.Getenv("SAE_REQUIRE_PEERS") == "1" {
			t.Fatal("pdftotext is missing: install poppler-utils")
		}
		t.Skip("pdftotext is missing: install poppler-utils")
	}
	cmd := exec.Command(program, "-layout", "-", "-")
	cmd.Stdin = bytes.NewReader(pdf)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestPDF reads back with poppler what stands in a bordereau, on as many pages as it takes.
func TestPDF(t *testing.T) {
	b, err := sample(60).PDF()
	if err != nil {
		t.Fatal(err)
	}
	again, err := sample(60).PDF()
	if err != nil || !bytes.Equal(b, again) {
		t.Error("the same bordereau is not the same bytes", err)
	}
	text := textOf(t, b)
	for _, want := range []string{"BORDEREAU D'ÉLIMINATION", "Archives départementales de l'Yonne", "1er août 2026", "1er janvier 2026", "3 février 1999", "31 décembre 2015", "10 ans", "Élimination", "1,2 Mo",
		"Service 59", "178 à 180", "180, dont 2 refusées", "3 septembre 2026 (entrée 18 du journal), 2 unités refusées", "Visa du contrôle scientifique", "abababab"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the text", want)
		}
	}
	if pages := strings.Count(text, "\f"); pages < 3 || !strings.Contains(text, fmt.Sprintf("page %d / %d", pages, pages)) {
		t.Errorf("%d pages", pages)
	}
	if n := strings.Count(text, "Typologie et règle"); n < 3 {
		t.Errorf("the titles stand on %d pages", n)
	}
}

// TestAttestation reads back what an attestation says beside its bordereau.
func TestAttestation(t *testing.T) {
	s := sample(2)
	s.Attestation = &Attestation{Made: time.Date(2026, 10, 2, 9, 0, 0, 0, time.UTC), Destroyed: 4, Deleted: 8, Waiting: 1,
		Exports: []Export{{"pabc", time.Date(2026, 8, 2, 9, 0, 0, 0, time.UTC), 9, 3}}}
	b, err := s.PDF()
	if err != nil {
		t.Fatal(err)
	}
	text := textOf(t, b)
	for _, want := range []string{"ATTESTATION DE DESTRUCTION", "4, attesté le 2 octobre 2026", "8 effacées", "1 encore verrouillées", "pabc, le 2 août 2026 (entrée 9 du journal), 3 unités", "attestation-destruction.json"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the text", want)
		}
	}
	if strings.Contains(text, "signature") {
		t.Error("there is a place for signatures")
	}
}
