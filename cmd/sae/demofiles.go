package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// The documents of the demonstration: the citizen file of a person who does not
// exist, at a département that does not exist.

const (
	demoSubject = "MDPH-2026-00042"
	demoFolder  = "Dossier MDPH-2026-00042"
)

// demoFile is the number of a file of a procedure, of the same person.
const demoFile = "FSL-2026-7"

const demoProcedure = `id: FSL
name: Fonds de solidarité pour le logement
channels: [digital, digitised, paper, both]
rules: {appraisal: [EXAMPLE-10Y]}
processing:
  purpose: Instruire les demandes d'aide au logement, et en conserver la preuve
  legal-basis: RGPD art. 6(1)(e)
  data-subjects: [demandeur]
  data: [identité, ressources, logement]
number: "FSL-[0-9]{4}-[0-9]+"
documents:
  - {id: formulaire, name: Formulaire de demande, expected: true}
  - {id: identite, name: Justificatif d'identité, expected: true}
  - {id: notification, name: Notification de décision}
events:
  - {id: decision, name: Décision, closes: true}
`

const demoPerson = `{"familyName": "FICTIVE", "givenNames": "Camille", "birthDate": "1980-02-29", "birthPlace": "Exempleville",
 "identifiers": ["https://fournisseur.example#7d1c-0042"]}
`

// writeDemoCase writes a procedure, and who the person is.
func writeDemoCase(dir string) (procedure, person string, err error) {
	procedure, person = filepath.Join(dir, "fsl.yaml"), filepath.Join(dir, "person.json")
	return procedure, person, errors.Join(os.WriteFile(procedure, []byte(demoProcedure), 0o600), os.WriteFile(person, []byte(demoPerson), 0o600))
}

// demoPDF is a document born digital.
type demoPDF struct {
	file, title, heading string
	paragraphs           []string
}

var demoPDFs = []demoPDF{
	{"01-formulaire-demande.pdf", "Formulaire de demande à la MDPH", "Formulaire de demande à la MDPH", []string{
		"Demandeur : FICTIVE Camille, née le 29 février 1980 à Exempleville.",
		"Adresse : 1, rue de l'Exemple, 99000 Exempleville.",
		"Objet de la demande : allocation aux adultes handicapés (AAH), prestation de compensation du handicap (PCH), carte mobilité inclusion.",
		"Mes projets, mes besoins : poursuivre mon activité à temps partiel ; être aidée pour les gestes de la vie quotidienne ; aménager mon logement.",
		"Je certifie sur l'honneur l'exactitude des informations déclarées. Déposé par le téléservice le 2 mars 2026.",
	}},
	{"02-certificat-medical.pdf", "Certificat médical destiné à la MDPH", "Certificat médical", []string{
		"Patient : FICTIVE Camille.",
		"Ce certificat décrit une situation inventée de toutes pièces : déficience motrice, retentissement sur les déplacements et la préhension.",
		"Évolution prévisible : stable. Date du certificat : 16 février 2026.",
		"Docteur Modèle, médecin généraliste à Exempleville.",
	}},
	{"03-notification-decision.pdf", "Notification de décision de la CDAPH", "Notification de décision", []string{
		"La Commission des droits et de l'autonomie des personnes handicapées, réunie le 11 juin 2026, après examen de la demande n° " + demoSubject + ", décide :",
		"L'attribution de l'allocation aux adultes handicapés, du 1er avril 2026 au 31 mars 2031.",
		"L'attribution de la prestation de compensation du handicap, élément aide humaine, pour la même durée.",
		"Cette décision peut faire l'objet d'un recours administratif préalable obligatoire dans un délai de deux mois.",
		"Pour la commission, la présidente.",
	}},
}

// demoScan is a paper document that was scanned.
type demoScan struct {
	file, title string
	lines       []string
}

var demoScans = []demoScan{
	{"04-courrier-numerise.png", "Courrier du demandeur (numérisé)", []string{
		"Camille FICTIVE", "1, rue de l'Exemple", "99000 Exempleville", "", "A la MDPH", "",
		"Madame, Monsieur,", "", "Je vous prie de trouver ci-joint", "les pieces manquantes de mon dossier", "MDPH-2026-00042.", "",
		"Veuillez agreer mes salutations.", "", "C. Fictive"}},
	{"05-jugement-numerise.png", "Jugement de protection (numérisé, original conservé)", []string{
		"TRIBUNAL D'EXEMPLEVILLE", "", "Jugement du 3 janvier 2025", "", "Le juge des contentieux de la protection", "designe un mandataire.",
		"", "Copie certifiee conforme.", "", "Le greffier"}},
}

// writeDemoFiles writes the folder of the citizen file, and beside it the metadata.
func writeDemoFiles(dir string) (folder, metadata string, err error) {
	folder = filepath.Join(dir, demoFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", "", err
	}
	files := map[string]any{"": map[string]any{"title": demoFolder}}
	for _, d := range demoPDFs {
		if err := writeDemoPDF(filepath.Join(folder, d.file), d); err != nil {
			return "", "", err
		}
		files[d.file] = map[string]any{"title": d.title}
	}
	for i, s := range demoScans {
		if err := os.WriteFile(filepath.Join(folder, s.file), drawScan(s.lines), 0o600); err != nil {
			return "", "", err
		}
		kept := i == 1
		f := map[string]any{"title": s.title, "channel": "digitised", "scan": map[string]any{
			"by": "Atelier de numérisation, poste 2", "date": "2026-03-04", "device": "Exemple S-300, n° 0042", "settings": "200 ppp, gris 8 bits, PNG",
			"paperKept": kept, "process": "PV de qualification 2025-01 (NF Z42-026)", "control": "comparé page à page", "pages": 1}}
		if kept {
			f["channel"] = "both"
			f["paper"] = map[string]any{"location": "Magasin 2, travée 14, boîte 1187", "physicalId": "BX-1187", "pages": 1}
		}
		files[s.file] = f
	}
	delete(files, "")
	meta, err := json.MarshalIndent(map[string]any{"subject": demoSubject, "files": files, "custom": map[string]string{"procédure": "MDPH"}}, "", "  ")
	if err != nil {
		return "", "", err
	}
	metadata = filepath.Join(dir, "metadata.json")
	return folder, metadata, os.WriteFile(metadata, append(meta, '\n'), 0o600)
}

func writeDemoPDF(path string, d demoPDF) error {
	p := fpdf.New("P", "mm", "A4", "")
	latin := p.UnicodeTranslatorFromDescriptor("cp1252")
	when := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	p.SetCreationDate(when)
	p.SetModificationDate(when)
	p.SetTitle(d.title, true)
	p.SetMargins(25, 22, 25)
	p.AddPage()
	p.SetFont("Helvetica", "B", 10)
	p.SetTextColor(60, 60, 60)
	p.MultiCell(0, 5, latin("DÉPARTEMENT DE DÉMONSTRATION\nMaison départementale des personnes handicapées"), "", "L", false)
	p.SetDrawColor(0, 80, 140)
	p.SetLineWidth(0.6)
	p.Line(25, 36, 185, 36)
	p.SetY(44)
	p.SetTextColor(0, 80, 140)
	p.SetFont("Helvetica", "B", 17)
	p.MultiCell(0, 8, latin(d.heading), "", "L", false)
	p.SetTextColor(90, 90, 90)
	p.SetFont("Helvetica", "", 9)
	p.MultiCell(0, 6, latin("Dossier n° "+demoSubject+" - personne fictive, document de démonstration"), "", "L", false)
	p.Ln(6)
	p.SetTextColor(0, 0, 0)
	p.SetFont("Times", "", 12)
	for _, text := range d.paragraphs {
		p.MultiCell(0, 6.2, latin(text), "", "J", false)
		p.Ln(3.5)
	}
	return p.OutputFileAndClose(path)
}

// drawScan draws a letter as a scanner sees it: grey, slightly turned, with noise.
func drawScan(lines []string) []byte {
	const w, h, scale = 620, 877, 2
	page := image.NewGray(image.Rect(0, 0, w/scale, h/scale))
	for i := range page.Pix {
		page.Pix[i] = 244
	}
	d := font.Drawer{Dst: page, Src: image.NewUniform(color.Gray{Y: 40}), Face: basicfont.Face7x13}
	for i, l := range lines {
		d.Dot = fixed.P(22, 40+i*18)
		d.DrawString(l)
	}
	out := image.NewGray(image.Rect(0, 0, w, h))
	noise := rand.New(rand.NewPCG(42, 42)) // the same page every time
	sin, cos := math.Sincos(0.012)
	for y := range h {
		for x := range w {
			sx := int((float64(x)*cos+float64(y)*sin)/scale - 2)
			sy := int((-float64(x)*sin+float64(y)*cos)/scale + 2)
			v := 226 // the bed of the scanner
			if (image.Point{X: sx, Y: sy}).In(page.Rect) {
				v = int(page.GrayAt(sx, sy).Y)
			}
			out.SetGray(x, y, color.Gray{Y: uint8(max(0, min(255, v+noise.IntN(17)-8)))})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, out); err != nil {
		panic(fmt.Sprintf("drawing a scan: %v", err)) // a buffer takes every byte
	}
	return b.Bytes()
}
