package scan

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// flat writes what a scanner reads in a form that is easy to compare.
func flat(r io.Reader, l Limits) (string, error) {
	s := New(r, l)
	var out strings.Builder
	name := func(id NameID) string {
		n := s.Expanded(id)
		if n.Space != "" {
			return "{" + n.Space + "}" + n.Local
		}
		return n.Local
	}
	text := false
	for {
		k, err := s.Next()
		if err == io.EOF {
			return out.String(), nil
		}
		if err != nil {
			return out.String(), err
		}
		if k != Text && text {
			out.WriteString("'")
			text = false
		}
		switch k {
		case Start:
			fmt.Fprintf(&out, "<%s", name(s.Name()))
			for _, a := range s.Attrs() {
				fmt.Fprintf(&out, " %s=%q", name(a.Name), a.Value)
			}
			out.WriteString(">")
		case End:
			fmt.Fprintf(&out, "</%s>", name(s.Name()))
		case Text:
			if !text {
				out.WriteString("'")
				text = true
			}
			out.Write(s.Text())
		}
	}
}

func TestScan(t *testing.T) {
	for in, want := range map[string]string{
		`<a/>`: `<a></a>`,
		"<?xml version=\"1.0\" encoding='UTF-8' standalone=\"yes\"?>\n<a><b x='1' y=\"&lt;&#x41;&quot;\t\r\n\"/>t&amp;&#233;</a>": `<a><b x="1" y="<A\"  "></b>'t&é'</a>`,
		"<!-- c --><?p q?><a>1<!-- - --><?p?>2</a ><!---->\n":                                                                     `<a>'12'</a>`,
		"<a>x\r\ny\rz<![CDATA[<&]]]>]]&gt;</a>":                                                                                   "<a>'x\ny\nz<&]]]>'</a>",
		`<a xmlns="u" xmlns:p="v" p:x="1" x="2"><p:b/><b xmlns=""/></a>`:                                                          `<{u}a {v}x="1" x="2"><{v}b></{v}b><b></b></{u}a>`,
		`<a xmlns:p="v"><p:b xmlns:p="w"><p:c/></p:b><p:b/></a>`:                                                                  `<a><{w}b><{w}c></{w}c></{w}b><{v}b></{v}b></a>`,
		`<a xml:id="i" xml:lang=""/>`:                                                                                             `<a {` + XMLSpace + `}id="i" {` + XMLSpace + `}lang=""></a>`,
		"\xef\xbb\xbf<é à='ü'>ß</é>":                                                                                              `<é à="ü">'ß'</é>`,
		"<a>]] ]></a>":                                                                                                            "<a>']] ]>'</a>",
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in))} {
			if got, err := flat(r, DefaultLimits); got != want || err != nil {
				t.Errorf("%s: %q: %q, %v; want %q", name, in, got, err, want)
			}
		}
	}
}

var malformed = map[string]string{
	"empty":                  "",
	"only space":             " \n",
	"text outside":           "x<a/>",
	"text behind":            "<a/>x",
	"reference outside":      "<a/>&amp;",
	"CDATA outside":          "<a/><![CDATA[]]>",
	"two roots":              "<a/><b/>",
	"not closed":             "<a><b></b>",
	"wrong end":              "<a></b>",
	"end of nothing":         "<a/></a>",
	"prefix of end":          `<p:a xmlns:p="u"></a>`,
	"DTD":                    `<!DOCTYPE a><a/>`,
	"entities":               `<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`,
	"unknown entity":         `<a>&nbsp;</a>`,
	"bare &":                 `<a>a & b</a>`,
	"character 0":            `<a>&#0;</a>`,
	"surrogate":              `<a>&#xD800;</a>`,
	"beyond Unicode":         `<a>&#x110000;</a>`,
	"no digits":              `<a>&#x;</a>`,
	"control":                "<a>\x01</a>",
	"control in attribute":   "<a b='\x02'/>",
	"not UTF-8":              "<a>\xff</a>",
	"cut UTF-8":              "<a>\xc3",
	"U+FFFF":                 "<a>\uffff</a>",
	"]]>":                    "<a>x]]></a>",
	"< in attribute":         `<a b="<"/>`,
	"attribute twice":        `<a b="" b=""/>`,
	"attribute twice, by ns": `<a xmlns:p="u" xmlns:q="u" p:b="" q:b=""/>`,
	"no quotes":              `<a b=c/>`,
	"no value":               `<a b/>`,
	"no space":               `<a b="c"d="e"/>`,
	"bad name":               `<1a/>`,
	"space before name":      `< a/>`,
	"unbound prefix":         `<p:a/>`,
	"unbound attribute":      `<a p:b=""/>`,
	"two colons":             `<a:b:c xmlns:a="u"/>`,
	"prefix unbound again":   `<a xmlns:p=""/>`,
	"xmlns bound":            `<a xmlns:xmlns="u"/>`,
	"xml bound otherwise":    `<a xmlns:xml="u"/>`,
	"declared twice":         `<a xmlns="u" xmlns="v"/>`,
	"-- in comment":          `<a><!-- -- --></a>`,
	"comment open":           `<a><!-- `,
	"--->":                   `<a><!-- ---></a>`,
	"instruction open":       `<a><?p`,
	"instruction <?>":        `<?>`,
	"instruction xml":        `<a><?xml version="1.0"?></a>`,
	"space before XML":       ` <?xml version="1.0"?><a/>`,
	"XML 1.1":                `<?xml version="1.1"?><a/>`,
	"no version":             `<?xml encoding="UTF-8"?><a/>`,
	"standalone maybe":       `<?xml version="1.0" standalone="maybe"?><a/>`,
	"order of declaration":   `<?xml encoding="UTF-8" version="1.0"?><a/>`,
	"EBCDIC":                 `<?xml version="1.0" encoding="EBCDIC"?><a/>`,
	"tag open":               `<a b="`,
	"slash":                  `<a /b>`,
	"!":                      `<a><!x></a>`,
	"CDATA open":             `<a><![CDATA[x]]</a>`,
}

func TestMalformed(t *testing.T) {
	for name, in := range malformed {
		for how, r := range map[string]io.Reader{"whole": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in))} {
			got, err := flat(r, DefaultLimits)
			if se, ok := err.(*SyntaxError); !ok || se.Line < 1 || se.Column < 1 {
				t.Errorf("%s, %s: %q, %v", name, how, got, err)
			}
		}
	}
}

// TestMalformedAsXmllint holds our verdict against libxml2's.
func TestMalformedAsXmllint(t *testing.T) {
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("xmllint is missing: install libxml2-utils")
	}
	ours := map[string]string{ // well-formed, but not for us
		"DTD": "a DTD is refused", "entities": "a DTD is refused", "XML 1.1": "libxml2 reads it as 1.0",
	}
	for name, in := range malformed {
		cmd := exec.Command(lint, "--nonet", "--noout", "-")
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.CombinedOutput()
		accepted := err == nil && !bytes.Contains(out, []byte("namespace error"))
		if accepted != (ours[name] != "") {
			t.Errorf("%s: xmllint: %v, %s", name, err, out)
		}
	}
}

func TestEncodings(t *testing.T) {
	const doc = `<?xml version="1.0" encoding="%s"?><a b="é">décision €</a>`
	for name, e := range map[string]interface{ String(string) (string, error) }{
		"ISO-8859-15":  charmap.ISO8859_15.NewEncoder(),
		"windows-1252": charmap.Windows1252.NewEncoder(),
		"UTF-16":       unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder(),
	} {
		in, err := e.String(fmt.Sprintf(doc, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := flat(strings.NewReader(in), DefaultLimits); err != nil || got != `<a b="é">'décision €'</a>` {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestPlaces(t *testing.T) {
	s := New(strings.NewReader("<a>\n <b\n/>\n\n<c/>&bad;</a>"), DefaultLimits)
	var lines []int
	for {
		k, err := s.Next()
		if err != nil {
			if got := err.Error(); !strings.HasPrefix(got, "line 5, column 5: ") {
				t.Error(got)
			}
			break
		}
		if k == Start {
			lines = append(lines, s.Line())
		}
	}
	if fmt.Sprint(lines) != "[1 2 5]" {
		t.Error(lines)
	}
}

func TestLimits(t *testing.T) {
	l := Limits{Depth: 10, Attrs: 3, Tag: 256 << 10, Names: 20}
	var many strings.Builder
	for i := range 21 {
		fmt.Fprintf(&many, "<n%d/>", i)
	}
	for name, in := range map[string]string{
		"depth":   strings.Repeat("<a>", 11),
		"attrs":   `<a b="" c="" d="" e=""/>`,
		"tag":     `<a b="` + strings.Repeat("x", 300<<10) + `"/>`,
		"comment": `<a><!--` + strings.Repeat("x", 300<<10) + `--></a>`,
		"names":   "<a>" + many.String() + "</a>",
		"name":    "<" + strings.Repeat("n", maxName+1) + "/>",
	} {
		_, err := flat(strings.NewReader(in), l)
		if _, ok := err.(*SyntaxError); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Text has no bound, and needs no memory.
	long := "<a>" + strings.Repeat("texte ", 1<<20) + "</a>"
	if got, err := flat(strings.NewReader(long), l); err != nil || len(got) != len(long)+2 {
		t.Error(len(got), err)
	}
}

// FuzzScan: no input makes it fail otherwise than by a SyntaxError, and what it reads
// does not depend on how the input comes.
func FuzzScan(f *testing.F) {
	for _, in := range malformed {
		f.Add([]byte(in))
	}
	f.Add([]byte(`<?xml version="1.0"?><a xmlns="u" xmlns:p="v" p:x='1'><p:b/>&#10;<![CDATA[]]></a>`))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := flat(bytes.NewReader(in), DefaultLimits)
		bytewise, err2 := flat(iotest.OneByteReader(bytes.NewReader(in)), DefaultLimits)
		if _, ok := err.(*SyntaxError); err != nil && !ok {
			t.Fatal(err)
		}
		if whole != bytewise || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("%q, %v\n%q, %v", whole, err, bytewise, err2)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	var doc bytes.Buffer
	doc.WriteString(`<a xmlns="fr:gouv:culture:archivesdefrance:seda:v2.1">`)
	for i := range 10_000 {
		fmt.Fprintf(&doc, "\n    <ArchiveUnit id=\"ID%d\">\n        <Content>\n            <DescriptionLevel>Item</DescriptionLevel>\n            <Title>Décision n° %d</Title>\n            <StartDate>2016-06-03T15:28:00</StartDate>\n        </Content>\n    </ArchiveUnit>", i, i)
	}
	doc.WriteString("</a>")
	b.SetBytes(int64(doc.Len()))
	for b.Loop() {
		s := New(bytes.NewReader(doc.Bytes()), DefaultLimits)
		for {
			if _, err := s.Next(); err != nil {
				break
			}
		}
	}
}
