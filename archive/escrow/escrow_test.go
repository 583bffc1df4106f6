package escrow

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestSealOpen(t *testing.T) {
	one, two, stranger := identity(t), identity(t), identity(t)
	root := [rootSize]byte(bytes.Repeat([]byte{0xa5}, rootSize))
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	h := Header{Archive: "a1", Made: at, Ledger: 7, DestroyBy: at.AddDate(0, 0, 30), Recipients: []string{one.Recipient().String(), two.Recipient().String()}}
	sealed, err := Seal(h, root)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, root[:8]) {
		t.Error("the root is in clear")
	}
	if got, _, err := ReadHeader(sealed); err != nil || got.Archive != "a1" || got.Ledger != 7 || !got.Made.Equal(at) {
		t.Errorf("%+v %v", got, err)
	}
	for _, id := range []*age.X25519Identity{one, two} {
		if got, r, err := Open(sealed, strings.NewReader("# a comment\n"+id.String()+"\n")); err != nil || r != root || got.Archive != "a1" {
			t.Errorf("%+v %v", got, err)
		}
	}
	other := bytes.Replace(sealed, []byte(`"ledger":7`), []byte(`"ledger":8`), 1)
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for name, x := range map[string]struct {
		sealed   []byte
		identity string
		want     string
	}{
		"a stranger":       {sealed, stranger.String(), "none of the identities"},
		"another header":   {other, one.String(), "header of the sealed copy was changed"},
		"a changed byte":   {flipped, one.String(), "opening a sealed copy"},
		"cut":              {sealed[:len(sealed)-20], one.String(), "opening a sealed copy"},
		"not one":          {[]byte("hello"), one.String(), "not a sealed copy"},
		"another form":     {bytes.Replace(sealed, []byte("escrow 1"), []byte("escrow 2"), 1), one.String(), "not a sealed copy"},
		"no identity file": {sealed, "AGE-SECRET-KEY-1NONSENSE", "holds no age identities"},
	} {
		_, got, err := Open(x.sealed, strings.NewReader(x.identity))
		if err == nil || !strings.Contains(err.Error(), x.want) || got != [rootSize]byte{} {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
		if err != nil && strings.Contains(err.Error(), "NONSENSE") {
			t.Errorf("%s: the error quotes the identity", name)
		}
	}
}

func TestCheckRecipient(t *testing.T) {
	if err := CheckRecipient(identity(t).Recipient().String()); err != nil {
		t.Error(err)
	}
	for _, s := range []string{"", "age1", "ssh-ed25519 AAAA", identity(t).String()} {
		if err := CheckRecipient(s); err == nil || s != "" && strings.Contains(err.Error(), s[4:]) && len(s) > 20 {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := Seal(Header{Archive: "a1", Recipients: []string{id.Recipient().String()}}, [rootSize]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte(magic + "{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, root, err := Open(b, strings.NewReader(id.String())); err == nil && root != [rootSize]byte{1} {
			t.Errorf("%x opens to %x", b, root)
		}
	})
}
