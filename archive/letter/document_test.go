package letter

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden texts that are not there")

// TestGolden holds the text of each document, as poppler reads it line by line, against a file.
func TestGolden(t *testing.T) {
	documents := map[string]interface{ PDF(io.Writer) error }{
		"letter-access": accessed(), "letter-erasure": answer(Erasure, Partly), "letter-identity": bare(Restriction, Unidentified), "index": folder(3), "register": record(),
	}
	for name, d := range documents {
		var lines []string
		for line := range strings.SplitSeq(peer(t, pdfOf(t, d), "pdftotext", "-layout", "-", "-"), "\n") {
			if fields := strings.Fields(line); len(fields) > 0 {
				lines = append(lines, strings.Join(fields, " "))
			}
		}
		golden(t, name+".txt", strings.Join(lines, "\n")+"\n")
	}
	var text bytes.Buffer
	if err := record().Text(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "register-plain.txt", text.String())
}

func accessed() *Letter {
	l := bare(Access, Granted)
	l.Processing, l.Enclosures = []Processing{mdph}, []string{"Sommaire du dossier", "Dossier de pièces"}
	return l
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	want, err := os.ReadFile(path)
	if os.IsNotExist(err) && *update {
		want, err = []byte(got), os.WriteFile(path, []byte(got), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// TestIndex reads back what the index has beside its golden text.
func TestIndex(t *testing.T) {
	x := folder(2)
	x.Documents[0].Sealed, x.Documents[0].Proof = time.Time{}, ""
	x.Documents[1] = Document{Number: 2, Title: "Plan", Channel: "paper"}
	text := textOf(t, pdfOf(t, x))
	for _, want := range []string{"pas encore", "papier", "Ce que contient ce dossier", "sha256sum FICHIER", "sae-verify --roots RACINES.pem PREUVE.asice", "sh preuve/verify.sh RACINES.pem", "Ce dossier ne contient pas de dossiers de preuve", "Qui a eu accès à vos données",
		x.Documents[0].SHA256, "MDPH-2019-00412, APA-2024-7", "2, 1,2 Mo en tout"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	x.Documents, x.Accesses = nil, nil
	text = textOf(t, pdfOf(t, x))
	if !strings.Contains(text, "ne contient aucune pièce") || strings.Contains(text, "Empreintes SHA-256 complètes") || strings.Contains(text, "Qui a eu accès") {
		t.Errorf("an empty index says %q", text)
	}
	x.Documents = []Document{{Number: 7, Title: strings.Repeat("x", maxLine+1)}}
	if err := x.PDF(io.Discard); err == nil || !strings.Contains(err.Error(), "document 7: title: 2001 bytes, at most 2000") {
		t.Error(err)
	}
}

// TestLong has the rows of a long index on as many pages as it takes: the first and the last are read.
func TestLong(t *testing.T) {
	const n = 10_000
	b := pdfOf(t, folder(n))
	_, rest, _ := strings.Cut(peer(t, b, "pdfinfo", "-"), "Pages:")
	var pages int
	if _, err := fmt.Sscan(rest, &pages); err != nil || pages < n/100 {
		t.Fatal(pages, err)
	}
	first := peer(t, b, "pdftotext", "-raw", "-l", "3", "-", "-")
	for i := range 40 {
		if !strings.Contains(first, fmt.Sprintf("pieces/%05d-certificat-medi", i+1)) {
			t.Errorf("row %d is not there", i+1)
		}
	}
	last := peer(t, b, "pdftotext", "-raw", "-f", fmt.Sprint(pages-1), "-", "-")
	for _, want := range []string{fmt.Sprintf("%064x", n-1+0xabcdef), fmt.Sprintf("preuves/%05d.asice", n), fmt.Sprintf("page %d / %d", pages, pages), "Dossier de preuve"} {
		if !strings.Contains(last, want) {
			t.Errorf("%q is not on the last pages: %s", want, last)
		}
	}
}

// TestAnyText: no text makes an error, a panic, or plain text that a terminal would obey.
func TestAnyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := func(n int) *rapid.Generator[string] { return rapid.StringN(0, n/4, n) }
		s := func(name string) string {
			return rapid.OneOf(most(maxLine), rapid.SampledFrom([]string{"\xff\xc3", "x\u0301", strings.Repeat("W", maxLine), strings.Repeat("\n", 50), "{pages}\\(", "😀"})).Draw(t, name)
		}
		short := func(name string) string {
			return "x" + rapid.OneOf(most(maxBlock-1), rapid.SampledFrom([]string{strings.Repeat("W", maxBlock-1), "\xe2", "\n"})).Draw(t, name)
		}
		lines := func(name string) []string {
			return []string{short(name + " 1"), short(name + " 2")}
		}
		l := answer(rapid.SampledFrom([]Article{Access, Rectification, Erasure, Restriction, Portability, Objection}).Draw(t, "article"), rapid.SampledFrom([]Outcome{Granted, Partly, Refused, Nothing, Extended, Unidentified}).Draw(t, "outcome"))
		l.From, l.To, l.Place, l.Request, l.Signatory, l.Function = Sender{short("name"), lines("address")}, lines("to"), short("place"), short("request"), short("signatory"), short("function")
		l.Basis, l.Paragraphs, l.Officer, l.Court, l.Extension.Why, l.Asked = s("basis"), []string{s("paragraph")}, s("officer"), s("court"), "x"+s("why"), []string{s("asked")}
		l.Findings, l.Effective = nil, time.Time{}
		if l.Outcome == Granted || l.Outcome == Partly || l.Outcome == Refused {
			l.Findings = []Finding{{1, s("document"), Keep, s("ground"), s("explanation"), short("date")}}
		}
		x := folder(1)
		x.Documents = append(x.Documents, Document{Title: s("title"), Format: s("format"), SHA256: s("digest"), Name: s("file"), Channel: s("channel")})
		r := record()
		r.Activities[0].Name, r.Activities[0].Purpose, r.Activities[0].Data, r.Measures = short("activity"), s("purpose"), []string{s("data")}, []string{s("measure")}
		for _, d := range []interface{ PDF(io.Writer) error }{l, x, r} {
			if err := d.PDF(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
		var text bytes.Buffer
		if err := r.Text(&text); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(text.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Fatalf("plain text has %q", text.String()[i:])
		}
	})
}
