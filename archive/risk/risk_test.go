package risk

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/richardlehane/siegfried/pkg/static"
)

// TestOwnNotes: every note of the program is on a format that the program can identify, and
// advises formats that are themselves of low risk, or text.
func TestOwnNotes(t *testing.T) {
	r := Own()
	known := formats(t)
	for _, n := range r.All() {
		for _, id := range slices.Concat(n.IDs, n.To) {
			if id != Unidentified && !known[id] {
				t.Errorf("%s is not a format that PRONOM's signatures name", id)
			}
		}
		for _, to := range n.To {
			if r.Of(to).Risk != Low {
				t.Errorf("%v: to %s, which is %s", n.IDs, to, r.Of(to).Risk)
			}
		}
		if len(n.Basis) == 0 {
			t.Errorf("%v: rests on nothing", n.IDs)
		}
		if n.Risk == High && len(n.To) == 0 && !strings.Contains(n.Note, "Ask who") && !slices.Contains([]string{"fmt/111"}, n.IDs[0]) &&
			!strings.Contains(n.Note, "RealMedia") && !strings.Contains(n.Note, "Flash") {
			t.Errorf("%v: says not what to do", n.IDs)
		}
	}
	for id, want := range map[string]Level{"fmt/95": Low, "fmt/354": Low, "fmt/40": High, "fmt/18": Watch, "x-fmt/111": Low, "fmt/494": High,
		"x-fmt/119": High, "fmt/45": Watch, "": Unknown, "fmt/999999": Unknown} {
		if got := r.Of(id); got.Risk != want || got.Note == "" {
			t.Errorf("%s: %+v", id, got)
		}
	}
}

// formats are those of the signatures with which the program identifies. The library does not
// name them, so they are read where it keeps them.
func formats(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	ids := reflect.ValueOf(static.New()).Elem().FieldByName("ids")
	for i := range ids.Len() {
		for _, id := range ids.Index(i).Elem().Elem().FieldByName("infos").MapKeys() {
			out[id.String()] = true
		}
	}
	if len(out) < 2000 {
		t.Fatalf("%d formats", len(out))
	}
	return out
}

func TestWith(t *testing.T) {
	r, err := Own().With([]byte("sources: {own: Our own tests}\nformats:\n  - ids: [fmt/95, unidentified]\n    risk: high\n    note: We cannot read it\n    to: [fmt/354]\n    basis: [own]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Of("fmt/95"); n.Risk != High || n.Note != "We cannot read it" || !slices.Equal(n.IDs, []string{"fmt/95"}) || r.Sources["own"] == "" || r.Sources["nara"] == "" {
		t.Errorf("%+v", n)
	}
	if r.Of("").Risk != High || r.Of("fmt/354").Risk != Low || Own().Of("fmt/95").Risk != Low {
		t.Error("another note than those of the file changed, or not one that did")
	}
	if all := r.All(); all[0].Risk != High || all[len(all)-1].Risk != Low || len(all) != len(Own().All()) {
		t.Errorf("%d notes", len(all))
	}
}

// TestRefuses: each problem is told with its line, all at once.
func TestRefuses(t *testing.T) {
	for want, text := range map[string]string{
		"the file is empty":                          "",
		"unknown field \"risks\"":                    "risks: []",
		"want 1 to 10000 notes":                      "formats: []",
		"line 2, formats[0].ids: \"pdf\" is not":     "formats:\n  - ids: [pdf]\n    risk: low\n    note: x\n",
		"line 4, formats[1].ids: fmt/1 is there twi": "formats:\n  - {ids: [fmt/1], risk: low, note: x}\n  -\n    ids: [fmt/1]\n    risk: low\n    note: x\n",
		"line 3, formats[0].risk: \"none\": want":    "formats:\n  - ids: [fmt/1]\n    risk: none\n    note: x\n",
		"note: want a text":                          "formats:\n  - ids: [fmt/1]\n    risk: low\n",
		"to: \"odt\" is not":                         "formats:\n  - ids: [fmt/1]\n    risk: low\n    note: x\n    to: [odt]\n",
		"source \"loc\" is not among sources":        "formats:\n  - ids: [fmt/1]\n    risk: low\n    note: x\n    basis: [loc]\n",
		"ids is missing":                             "formats:\n  - risk: low\n    note: x\n",
		"already":                                    "formats:\n  - ids: [fmt/1]\n    risk: low\n    risk: high\n    note: x\n",
		"more than 1048576 bytes":                    strings.Repeat("#", maxFile+1),
	} {
		if _, err := Own().With([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	_, err := Own().With([]byte("formats:\n  - ids: [a]\n    risk: b\n"))
	if err == nil || len(strings.Split(err.Error(), "\n")) != 3 {
		t.Errorf("not all problems at once: %v", err)
	}
}

// FuzzNotes: any text is read, or refused; what is read stands in its bounds.
func FuzzNotes(f *testing.F) {
	f.Add(own[:2000])
	f.Add([]byte("formats:\n  - {ids: [fmt/1], risk: low, note: x, basis: []}\n"))
	f.Add([]byte("formats: &a [*a]"))
	base := Own()
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4000 {
			return
		}
		r, err := base.With(text)
		if err != nil {
			return
		}
		for _, n := range r.All() {
			if Order(n.Risk) < 0 || n.Note == "" || !plain(n.Note) {
				t.Errorf("%+v", n)
			}
		}
	})
}
