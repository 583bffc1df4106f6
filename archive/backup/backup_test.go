package backup

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"sae/archive/durable"
)

func signed(t testing.TB, h Head) []byte {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "test.invalid")
	if err != nil {
		t.Fatal(err)
	}
	by, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	h.LedgerKey = vkey
	b, err := h.sign(by)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHeadIsSigned(t *testing.T) {
	good := signed(t, Head{Archive: "a", Generation: 1})
	if h, err := ParseHead(good); err != nil || h.Archive != "a" {
		t.Fatal(h, err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if h, err := ParseHead(bad); err == nil {
			t.Errorf("byte %d: %+v", i, h)
		}
	}
	if _, err := ParseHead(signed(t, Head{Archive: "a"})); err == nil {
		t.Error("generation 0")
	}
}

func TestDirKeepsToItsFolder(t *testing.T) {
	root := t.TempDir()
	d, err := OpenDir(durable.FS{}, filepath.Join(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../x", "/x", "a/../../x", "", "a//b"} {
		if _, err := d.Create(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("create %q: %v", name, err)
		}
		if err := d.Remove(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("remove %q: %v", name, err)
		}
		if err := d.Rename("a", name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("rename to %q: %v", name, err)
		}
	}
	if _, err := OpenDir(durable.FS{}, filepath.Join(root, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(root, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(durable.FS{}, filepath.Join(root, "f")); err == nil {
		t.Error("a file is a folder")
	}
}

func TestIndexLines(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for line, ok := range map[string]bool{
		sum + " 3 pieces/ab/" + sum:    true,
		sum + " -1 blobs/s/0/n":        true,
		sum + " -2 blobs/s/0/n":        false,
		sum + " 3 blobs/../../etc":     false,
		sum + " 3 /etc/passwd":         false,
		sum + " 3 new/1":               false,
		"AB" + sum[2:] + " 3 pieces/x": false,
		"ab 3 pieces/x":                false,
		sum + " x pieces/x":            false,
		"":                             false,
	} {
		n := 0
		err := ReadIndex(strings.NewReader(line+"\n"), func(File) error { n++; return nil })
		if (err == nil) != ok || ok && n != 1 {
			t.Errorf("%q: %v", line, err)
		}
	}
	for _, cut := range []string{sum + " 3 pieces/x", strings.Repeat("x", maxLine+1) + "\n"} {
		if err := ReadIndex(strings.NewReader(cut), func(File) error { return nil }); err == nil {
			t.Errorf("%q is taken", cut)
		}
	}
}

func FuzzHead(f *testing.F) {
	f.Add(signed(f, Head{Archive: "a", Generation: 1}))
	f.Add([]byte(headMagic + "{}\n\n— x y\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseHead(b); err == nil && (h.Generation < 1 || h.Files < 0) {
			t.Errorf("%+v", h)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(strings.Repeat("ab", 32) + " 3 pieces/ab/x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ReadIndex(bytes.NewReader(b), func(file File) error {
			if !fs.ValidPath(file.Name) || file.Length < -1 {
				t.Errorf("%+v", file)
			}
			return nil
		})
	})
}
