package pdf

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func newDocument(title string) *Document {
	return New(Meta{Title: title, Made: time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC), Margin: 20})
}

func output(t testing.TB, d *Document) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := d.Output(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// textOf is what poppler reads in a PDF.
func textOf(t testing.TB, pdf []byte, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("pdftotext")
	if err != nil {
		if os.Getenv("SAE_REQUIRE_PEERS") == "1" {
			t.Fatal("pdftotext is missing: install poppler-utils")
		}
		t.Skip("pdftotext is missing: install poppler-utils")
	}
	cmd := exec.Command(program, append(args, "-", "-")...)
	cmd.Stdin = bytes.NewReader(pdf)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestUnicode reads back what is set: what the font has, and the sign for what it has not. What
// looks like a mark of the program stays text.
func TestUnicode(t *testing.T) {
	d := newDocument("Épreuve 漢")
	for _, s := range []string{"Œuvre cœur ÿ €", "Ελληνικά Кириллица", "e\u0301te\u0301", "alpha\u202Fbeta gamma", "x漢😀y", "droite\u202Egauche", "nul\x00", "\xff\xfe", "{nb} {pages}", "(a) \\ b"} {
		d.Paragraph(s)
	}
	text := textOf(t, output(t, d))
	for _, want := range []string{"Œuvre cœur ÿ €", "Ελληνικά Кириллица", "été", "alpha beta gamma", "x\uFFFD\uFFFDy", "droite\uFFFDgauche", "nul\uFFFD", "\uFFFD\uFFFD", "{nb} {pages}", "(a) \\ b", "Épreuve \uFFFD", "page 1 / 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
}

// TestLines breaks lines where French allows it, and never wider than asked for.
func TestLines(t *testing.T) {
	d := newDocument("x")
	for _, c := range []struct {
		text  string
		width float64
		want  []string
	}{
		{"", 50, nil},
		{"un deux", 50, []string{"un deux"}},
		{"\n\nun\n\n\n\ndeux \n\n", 50, []string{"un", "", "deux"}},
		{"un\r\ndeux\rtrois", 50, []string{"un", "deux", "trois"}},
		{"mot mot mot", d.measure("mot mot") + 0.1, []string{"mot mot", "mot"}},
		{"mot mot : mot", d.measure("mot mot") + 0.1, []string{"mot", "mot :", "mot"}},
		{"mot mot\u00A0mot", d.measure("mot mot") + 0.1, []string{"mot", "mot\u00A0mot"}},
		{"voir n° 3", d.measure("voir n°") + 0.1, []string{"voir", "n° 3"}},
		{"voir (art. 3)", d.measure("voir (art.") + 0.1, []string{"voir", "(art. 3)"}},
		{"mmmmm", d.measure("mm") + 0.1, []string{"mm", "mm", "m"}},
		{"mm", 0, []string{"m", "m"}},
	} {
		if got := d.Lines(c.text, c.width); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		width := rapid.Float64Range(3, 200).Draw(t, "width")
		var letters []rune
		for _, l := range d.Lines(text, width) {
			if d.measure(l) > width && len([]rune(l)) > 1 {
				t.Fatalf("%q is %f wide, of %f", l, d.measure(l), width)
			}
			letters = append(letters, []rune(l)...)
		}
		strip := func(s string) string { return strings.NewReplacer(" ", "", "\n", "").Replace(s) }
		if got, want := strip(string(letters)), strip(d.clean(text)); got != want {
			t.Fatalf("%q of %q", got, want)
		}
	})
}

// TestTable has its titles on each page, rows whole, and those that no page can hold on several.
func TestTable(t *testing.T) {
	d := newDocument("Table")
	table := d.Table([]Cell{{Title: "Colonne", Width: 40}, {Title: "Autre", Width: 60}})
	for i := range 100 {
		table.Row(fmt.Sprint("rang ", i), "a\nb")
	}
	table.Row("long", strings.Repeat("ligne\n", 150)+"fin")
	table.End()
	d.Break()
	text := textOf(t, output(t, d), "-layout")
	pages := strings.Split(strings.TrimSuffix(text, "\f"), "\f")
	for i, p := range pages {
		if !strings.Contains(p, fmt.Sprintf("page %d / %d", i+1, len(pages))) || strings.Contains(p, "Colonne") != (i < len(pages)-1) {
			t.Errorf("page %d: %q", i+1, p)
		}
		if strings.Count(p, " a\n") != strings.Count(p, "rang ") {
			t.Errorf("page %d: rows are broken", i+1)
		}
	}
	if n := strings.Count(text, "ligne"); n != 150 || !strings.Contains(text, "fin") || !strings.Contains(text, "rang 99") {
		t.Errorf("%d lines of the long row", n)
	}
}

// TestSameBytes makes documents at a time, in all styles: the library writes into its fonts.
func TestSameBytes(t *testing.T) {
	made := make([][]byte, 4)
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			d := newDocument("Titre")
			for _, s := range []Style{Mono, Bold, Regular} {
				d.Font(s, 9)
				d.Paragraph("Voix ambiguë d'un cœur 0123456789 Ω")
			}
			var out bytes.Buffer
			if err := d.Output(&out); err != nil {
				t.Error(err)
			}
			made[i] = out.Bytes()
		})
	}
	wg.Wait()
	for _, b := range made[1:] {
		if !bytes.Equal(b, made[0]) {
			t.Error("the same document is not the same bytes")
		}
	}
}

func TestFrench(t *testing.T) {
	for got, want := range map[string]string{
		Duration("P1Y"): "1 an", Duration("P6M"): "6 mois", Duration("P30D"): "30 jours", Duration("unlimited"): "illimitée", Duration("?"): "?", Duration("P3X"): "P3X",
		Date("2026-13-01"): "2026-13-01", Date("2024-02-29"): "29 février 2024", Octets(999): "999 octets", Octets(1500): "1,5 ko", Octets(2_000_000_000): "2,0 Go", Action("Keep"): "Conservation", Action("x"): "x",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
