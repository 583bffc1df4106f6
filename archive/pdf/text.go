package pdf

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/norm"
)

// missing stands where the font has no character: it has this one.
const missing = '\uFFFD'

const nbsp = '\u00A0'

// glyphs knows which characters the fonts have; the three have the same.
type glyphs struct {
	font *sfnt.Font
	have map[rune]rune
}

func newGlyphs() glyphs {
	f, err := sfnt.Parse(goregular.TTF)
	if err != nil {
		panic(err) // it is in the program
	}
	return glyphs{f, map[rune]rune{}}
}

// of is the character to be set for another: itself when there is one.
func (g glyphs) of(r rune) rune {
	if c, ok := g.have[r]; ok {
		return c
	}
	c := missing
	switch {
	case r == '\u202F' || r == '\u2007':
		c = nbsp
	case r == '\u2010' || r == '\u2011':
		c = '-'
	case r == '\t' || unicode.Is(unicode.Zs, r) && r != nbsp:
		c = ' '
	case r == nbsp || unicode.IsPrint(r): // no controls, of direction or other
		var b sfnt.Buffer
		if i, err := g.font.GlyphIndex(&b, r); err == nil && i != 0 {
			c = r
		}
	}
	g.have[r] = c
	return c
}

// clean is a text of characters that the font has, and newlines.
func (d *Document) clean(text string) string {
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }); i < 0 {
		return text
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	var b strings.Builder
	for _, r := range norm.NFC.String(text) {
		if r != '\n' {
			r = d.glyphs.of(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// measure is the width of a clean text in millimetres.
func (d *Document) measure(clean string) float64 {
	n := 0
	for _, r := range clean {
		n += d.rune(r)
	}
	return d.millimetres(n)
}

func (d *Document) millimetres(n int) float64 { return float64(n) * d.size * point / 1000 }

// rune is the width of a character.
func (d *Document) rune(r rune) int {
	known := d.widths[d.style]
	if known == nil {
		known = map[rune]int{}
		d.widths[d.style] = known
	}
	n, ok := known[r]
	if !ok {
		n = d.f.GetStringSymbolWidth(string(r))
		known[r] = n
	}
	return n
}

// Lines breaks a text into lines of at most a width, in the font that is set. They are broken at
// spaces, but not where French does not allow it, and words that are wider anywhere. Of empty
// lines one stays.
func (d *Document) Lines(text string, width float64) (lines []string) {
	empty := true // there are none before the first
	for part := range strings.SplitSeq(d.clean(text), "\n") {
		part = strings.TrimRight(part, " ")
		if part == "" && empty {
			continue
		}
		empty = part == ""
		lines = d.wrap(lines, []rune(part), width)
	}
	if empty && len(lines) > 0 {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func (d *Document) wrap(lines []string, text []rune, width float64) []string {
	most := int(width * 1000 / (d.size * point))
	start, at, end := 0, 0, 0 // of the line, where it could be broken, where it would go on then
	total := 0
	for i := 0; i < len(text); i++ {
		if text[i] == ' ' && breaks(text, i) {
			at, end = i, i+1
		}
		total += d.rune(text[i])
		if total <= most || i == start || text[i] == ' ' {
			continue
		}
		if end <= start {
			at, end = i, i // in the middle of a word
		}
		lines = append(lines, strings.TrimRight(string(text[start:at]), " "))
		for end < len(text) && text[end] == ' ' {
			end++
		}
		start, i, total = end, end-1, 0
	}
	return append(lines, strings.TrimRight(string(text[start:]), " "))
}

// stuck are marks that French sets a space before, and that begin no line.
var stuck = []rune(":;!?»%/€")

// before are those that French sets a space behind, and that end no line.
var before = []string{"«", "n°", "N°", "art."}

// breaks says whether a line may end at a space.
func breaks(text []rune, i int) bool {
	if i+1 < len(text) && slices.Contains(stuck, text[i+1]) {
		return false
	}
	word := i
	for word > 0 && text[word-1] != ' ' && i-word < 6 {
		word--
	}
	return !slices.Contains(before, strings.TrimLeft(string(text[word:i]), "("))
}
