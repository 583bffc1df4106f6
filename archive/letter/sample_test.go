package letter

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var date = time.Date(2026, 4, 1, 10, 0, 0, 0, time.UTC)

var mdph = Processing{
	Name: "Demande à la MDPH", Purpose: "Instruire les demandes de droits des personnes handicapées, et en conserver la preuve", Basis: "RGPD art. 6(1)(c) et (e) ; code de l'action sociale et des familles, art. L146-3",
	Special: "RGPD art. 9(2)(g) et (h) ; données de santé", Subjects: []string{"demandeur", "représentant légal"}, Data: []string{"identité", "santé", "ressources"}, Recipients: []string{"équipe pluridisciplinaire", "CDAPH"},
	Retention: []Retention{{"MDPH-ADULTE", "dossier d'un adulte", "P10Y", "dernière décision", "Destroy", "Instruction DAF/DITN/DPACI/RES/2009/002"}}, Source: "la personne elle-même ; son médecin",
}

// answer is a letter that has all that any outcome needs.
func answer(a Article, o Outcome) *Letter {
	return &Letter{
		From: Sender{"Conseil départemental de l'Yonne", []string{"Direction des archives départementales", "1 rue de l'Étang-Saint-Vincent", "89000 Auxerre"}}, Place: "Auxerre", Date: date,
		To: []string{"Madame Éloïse Lefèvre", "12 rue du Château d'eau", "89100 Sens"}, Request: "DR-2026-17", Article: a, Received: time.Date(2026, 3, 3, 9, 0, 0, 0, time.UTC), Outcome: o,
		Extension: &Extension{time.Date(2026, 6, 3, 0, 0, 0, 0, time.UTC), "le dossier compte 1 400 pièces, dont certaines ne sont que sur papier"}, Basis: "code du patrimoine, art. L. 212-2",
		Processing: []Processing{mdph}, Findings: []Finding{
			{1, "Certificat médical du 3 février 2019", EraseNow, "RGPD art. 17(1)(a)", "La pièce n'est plus nécessaire.", "2026-04-01"},
			{2, "pièce n° 2", EraseAt, "RGPD art. 17(1)(e)", "Sa durée de conservation finit à cette date.", "2027-12-31"},
			{3, "Notification de décision de la CDAPH", Keep, "RGPD art. 17(3)(b)", "Le code de l'action sociale et des familles en impose la conservation pendant dix ans.", ""},
			{4, "Recours", Held, "RGPD art. 17(3)(e)", "Une procédure est en cours devant le tribunal.", ""},
		},
		Effective: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), Exports: []Export{{"Caisse d'allocations familiales de l'Yonne", "2025-11-02", "notification de décision"}},
		Paragraphs: []string{"Je reste à votre disposition pour vous recevoir avec le dossier."}, Officer: "dpo@yonne.example, 03 86 00 00 00", Court: "22 rue d'Assas, 21000 Dijon",
		Enclosures: []string{"Sommaire du dossier", "Dossier de pièces"}, Signatory: "Camille Moreau", Function: "La directrice des archives départementales",
	}
}

func pdfOf(t testing.TB, d interface{ PDF(io.Writer) error }) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := d.PDF(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// peer runs a program of poppler on a PDF.
func peer(t testing.TB, pdf []byte, name string, args ...string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("SAE_REQUIRE_PEERS") == "1" {
			t.Fatal(name + " is missing: install poppler-utils")
		}
		t.Skip(name + " is missing: install poppler-utils")
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(pdf)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// bare is a letter without what only some outcomes have.
func bare(a Article, o Outcome) *Letter {
	l := answer(a, o)
	l.Extension, l.Processing, l.Findings, l.Effective, l.Exports, l.Paragraphs, l.Enclosures = nil, nil, nil, time.Time{}, nil, nil, nil
	return l
}

// textOf is what poppler reads, in one line.
func textOf(t testing.TB, pdf []byte) string {
	t.Helper()
	return strings.Join(strings.Fields(peer(t, pdf, "pdftotext", "-", "-")), " ")
}

func folder(n int) *Index {
	x := &Index{From: answer(Access, Granted).From, Request: "DR-2026-17", Article: Access, Made: date, Person: "Madame Éloïse Lefèvre", Files: []string{"MDPH-2019-00412", "APA-2024-7"}, Officer: "dpo@yonne.example",
		Accesses: []Consultation{{"2025-11-02", "Caisse d'allocations familiales de l'Yonne", "export de la notification de décision"}}}
	for i := range n {
		x.Documents = append(x.Documents, Document{Number: i + 1, Title: fmt.Sprintf("Certificat médical n° %d", i+1), Type: "Certificat médical", Date: "2019-02-03", Channel: "digitised", Format: "PDF/A-1b (fmt/354)", Size: 1_234_567,
			Name: fmt.Sprintf("pieces/%05d-certificat-medical.pdf", i+1), SHA256: fmt.Sprintf("%064x", i+0xabcdef), Proof: fmt.Sprintf("preuves/%05d.asice", i+1), Sealed: date, Rule: "MDPH-ADULTE", Due: "2029-02-03"})
	}
	return x
}

func record() *Register {
	return &Register{Controller: answer(Access, Granted).From, Officer: "dpo@yonne.example", Made: date, Activities: []Activity{{mdph, "MDPH", 12, 345, 6789}, {Processing{Name: "Revenu de solidarité active"}, "RSA", 0, 0, 0}},
		Measures: []string{"chiffrement de chaque pièce sous sa propre clé", "journal en écriture seule, horodaté"}}
}
