package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"sae/integrity"
)

// samples are bundles that every verifier must accept.
var samples = map[string]func(t testing.TB) *maker{
	"one document": one,
	"description alone": func(t testing.TB) *maker {
		m := newMaker(t)
		m.deposit("u1", 0)
		m.seal(0)
		return m
	},
	"unit of three": func(t testing.TB) *maker {
		m := newMaker(t)
		m.fill(3)
		m.deposit("u1", 3, file{"o1", "a.txt", "a"}, file{"o2", "b.txt", "b"}, file{"o3", "c.txt", "c"})
		m.fill(2)
		m.seal(5)
		return m
	},
	"empty document": func(t testing.TB) *maker {
		m := newMaker(t)
		m.deposit("u1", 1, file{"o1", "vide.txt", ""})
		m.seal(1)
		return m
	},
	"two batches": func(t testing.TB) *maker {
		m := newMaker(t)
		m.deposit("u1", 0, file{"o1", "a.txt", "a"})
		m.seal(2)
		m.fill(4)
		m.deposit("u2", 2, file{"o2", "b.txt", "b"})
		m.seal(0)
		return m
	},
	"names": func(t testing.TB) *maker {
		m := newMaker(t)
		m.deposit("u1", 0, file{"o1", "Évaluation de M. Noël (été) & co.pdf", "a"}, file{"o2", SafeName(hostileName), "b"},
			file{"o3", "-rf 100% 'x' $HOME.txt", "c"}, file{"o4", "文書.txt", "d"}, file{"o5", "document", "e"})
		m.seal(0)
		return m
	},
	"hundred leaves": func(t testing.TB) *maker {
		m := newMaker(t)
		m.fill(50)
		m.deposit("u1", 98, file{"o1", "a.txt", "a"})
		m.fill(49)
		m.seal(97)
		return m
	},
}

func TestVerifyAccepts(t *testing.T) {
	strangers := newMaker(t).roots()
	for name, make := range samples {
		t.Run(name, func(t *testing.T) {
			m := make(t)
			zip := m.zip()
			if !bytes.Equal(zip, m.zip()) {
				t.Error("written twice, the bundle has other bytes")
			}
			for _, tc := range []struct {
				what string
				o    Options
				want Verdict
			}{
				{"roots", Options{Roots: m.roots()}, Verified},
				{"roots and key", Options{Roots: m.roots(), LedgerKey: m.vkey}, Verified},
				{"no roots", Options{}, OwnRoots},
				{"other roots", Options{Roots: strangers}, NotTrusted},
				{"other key", Options{Roots: m.roots(), LedgerKey: newMaker(t).vkey}, NotTrusted},
			} {
				if r := verify(t, zip, tc.o); r.Verdict != tc.want {
					t.Errorf("%s: %s, want %s: %v", tc.what, r.Verdict, tc.want, problems(r))
				}
			}
		})
	}
}

// TestEverythingIsOK: with roots and key, nothing is left open.
func TestEverythingIsOK(t *testing.T) {
	m := samples["two batches"](t)
	r := verify(t, m.zip(), Options{Roots: m.roots(), LedgerKey: m.vkey})
	if p := problems(r); p != nil {
		t.Error(p)
	}
	for _, want := range []string{"member digests", "ledger key known", "checkpoint signature", "token signature", "trust anchor",
		"revocation", "salted commitment", "item inclusion", "sealed checkpoint", "ledger inclusion", "time order", "description", "manifest", "text for people"} {
		if !slices.ContainsFunc(r.Checks, func(c integrity.Check) bool { return c.Name == want }) {
			t.Errorf("no check %q was made", want)
		}
	}
}

func TestReportSaysWhatIsProved(t *testing.T) {
	m := samples["two batches"](t)
	r := verify(t, m.zip(), Options{Roots: m.roots()})
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	want := []Document{
		{"units/u1.json", "u1", "u1", sum(describe(t, "u1", file{"o1", "a.txt", "a"})), at(1), at(2), "p0", 0},
		{"documents/o1/a.txt", "o1", "u1", sum("a"), at(1), at(2), "p0", 0},
		{"units/u2.json", "u2", "u2", sum(describe(t, "u2", file{"o2", "b.txt", "b"})), at(7), at(8), "p5", 5},
		{"documents/o2/b.txt", "o2", "u2", sum("b"), at(7), at(8), "p5", 5},
	}
	if !slices.Equal(r.Documents, want) {
		t.Errorf("documents\n%v, want\n%v", r.Documents, want)
	}
	var text strings.Builder
	check(t, r.WriteText(&text))
	for _, w := range []string{"documents/o2/b.txt", sum("b"), at(7).Format(time.RFC3339), "verdict: verified\n", "1 checks could not be made"} {
		if !strings.Contains(text.String(), w) {
			t.Errorf("the text does not say %q:\n%s", w, &text)
		}
	}
}

// TestReportCannotBeForged: text of others cannot write lines into a report.
func TestReportCannotBeForged(t *testing.T) {
	r := &Report{Verdict: NotTrusted, Checks: []integrity.Check{{Name: "n", Target: "x\nverdict: verified", Status: integrity.Failed, Detail: "\x1b[2J\nverdict: verified"}}}
	var text strings.Builder
	check(t, r.WriteText(&text))
	if strings.Contains(text.String(), "\nverdict: verified") || strings.Contains(text.String(), "\x1b") {
		t.Errorf("%q", &text)
	}
}

// TestOthersReadTheZip holds the zip against another reader.
func TestOthersReadTheZip(t *testing.T) {
	m := samples["names"](t)
	b := m.zip()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	check(t, err)
	c, err := openContainer(bytes.NewReader(b), int64(len(b)))
	check(t, err)
	if len(z.File) != len(c.order) {
		t.Fatalf("%d members, want %d", len(z.File), len(c.order))
	}
	for i, f := range z.File {
		r, err := f.Open()
		check(t, err)
		have, err := io.ReadAll(r)
		check(t, err)
		want, err := c.small(c.order[i])
		check(t, err)
		if f.Name != c.order[i] || !bytes.Equal(have, want) || f.NonUTF8 || f.Method != zip.Store || f.Mode() != 0o644 {
			t.Errorf("member %q is %q, %v", c.order[i], f.Name, f.FileHeader)
		}
		if last := start.Add(2 * time.Minute).Truncate(2 * time.Second); !f.Modified.Equal(last) {
			t.Errorf("%s: of %v, want %v", f.Name, f.Modified, last)
		}
	}
}

func TestWriteRefusesWhatVerifyWouldNotRead(t *testing.T) {
	for name, edit := range map[string]func(b *Bundle){
		"name":       func(b *Bundle) { b.Proofs[1].Filename = "../x" },
		"folder":     func(b *Bundle) { b.Proofs[1].Filename = "a/b" },
		"identifier": func(b *Bundle) { b.Proofs[1].ID = "o 1" },
		"size":       func(b *Bundle) { b.Proofs[1].Size++ },
		"description": func(b *Bundle) {
			b.Proofs[0].Size, b.Proofs[0].Open = maxSmall+1, content(strings.Repeat("x", maxSmall+1))
		},
		"token":   func(b *Bundle) { b.Checkpoints[0].Token = b.Checkpoints[0].Token[1:] },
		"key":     func(b *Bundle) { b.LedgerKey = "x" },
		"content": func(b *Bundle) { b.Proofs[1].Open = changing() },
	} {
		t.Run(name, func(t *testing.T) {
			b := one(t).bundle
			edit(&b)
			if err := Write(io.Discard, b); err == nil {
				t.Error("written")
			}
		})
	}
}

// changing gives other content of the same size at each reading.
func changing() func() (io.ReadCloser, error) {
	n := 0
	return func() (io.ReadCloser, error) {
		n++
		return content(fmt.Sprintf("Bonjour%d\n", n))()
	}
}
