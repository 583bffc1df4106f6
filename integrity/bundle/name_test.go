package bundle

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestSafeName(t *testing.T) {
	for name, want := range map[string]string{
		"lettre.pdf":                     "lettre.pdf",
		"Évaluation n° 3 (été).pdf":      "Évaluation n° 3 (été).pdf",
		"文書.txt":                         "文書.txt",
		"../../etc/passwd":               "_._.._etc_passwd",
		`C:\autoexec.bat`:                "C__autoexec.bat",
		"a\x00b\nc\td":                   "a_b_c_d",
		"a\u202efdp.exe":                 "a_fdp.exe",
		"a\u009b2Jb":                     "a_2Jb",
		"a\u2028b":                       "a_b",
		"\xff\xfe":                       "__",
		"":                               "document",
		".":                              "document",
		"..":                             "document",
		" . ":                            "document",
		".profile":                       "_profile",
		"a.":                             "a_",
		"a ":                             "a_",
		strings.Repeat("é", 150):         strings.Repeat("é", 100),
		strings.Repeat("x", 199) + "é":   strings.Repeat("x", 199),
		strings.Repeat("x", 199) + ".pp": strings.Repeat("x", 199) + "_",
		strings.Repeat(".", 300):         "document",
	} {
		if got := SafeName(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// TestSafeNamesAreSafe: every name can be a member's, on any system, and is stable.
func TestSafeNamesAreSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := SafeName(rapid.OneOf(rapid.String(), rapid.StringMatching(`[. /\\a\n]{0,10}`), rapid.StringN(150, 300, -1)).Draw(t, "name"))
		switch {
		case SafeName(name) != name:
			t.Errorf("%q becomes %q", name, SafeName(name))
		case !utf8.ValidString(name) || len(name) > 200 || !filepath.IsLocal(name) || filepath.Base(name) != name:
			t.Errorf("%q is not a plain name", name)
		case checkName("documents/o1/"+name) != nil:
			t.Errorf("%q cannot be a member's", name)
		}
	})
}

func TestItemProofForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := ItemProof{Item: rapid.SliceOf(rapid.Byte()).Draw(t, "item"), Index: rapid.Int64Min(0).Draw(t, "index")}
		for range rapid.IntRange(0, 63).Draw(t, "hashes") {
			p.Proof = append(p.Proof, [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash")))
		}
		text := p.marshal()
		got, err := parseItemProof(text)
		if err != nil || string(got.marshal()) != string(text) || got.Index != p.Index || len(got.Proof) != len(p.Proof) {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func TestItemProofRefusals(t *testing.T) {
	const good = "sae-item-proof/1\nitem e30=\nindex 0\n"
	const hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	if _, err := parseItemProof([]byte(good + hash)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":             "",
		"other header":      strings.Replace(good, "/1", "/2", 1),
		"no line's end":     strings.TrimSuffix(good, "\n"),
		"line more":         good + "\n",
		"carriage return":   strings.ReplaceAll(good, "\n", "\r\n"),
		"stray base64":      strings.Replace(good, "e30=", "e31=", 1),
		"spaced base64":     strings.Replace(good, "e30=", "e3\r0=", 1),
		"no base64":         strings.Replace(good, "e30=", "{}", 1),
		"negative":          strings.Replace(good, "index 0", "index -1", 1),
		"zeros":             strings.Replace(good, "index 0", "index 00", 1),
		"plus":              strings.Replace(good, "index 0", "index +0", 1),
		"too great":         strings.Replace(good, "index 0", "index 9223372036854775808", 1),
		"short hash":        good + "AAAA\n",
		"stray hash bits":   good + strings.Replace(hash, "A=", "B=", 1),
		"too many hashes":   good + strings.Repeat(hash, 64),
		"too long":          good + strings.Repeat("\n", maxItemProof),
		"lines out of turn": "sae-item-proof/1\nindex 0\nitem e30=\n",
	} {
		if p, err := parseItemProof([]byte(text)); err == nil {
			t.Errorf("%s: taken: %v", name, p)
		}
	}
}
