package bagit

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// folder is a Place on the disk.
type folder string

func (d folder) Mkdir(name string) error {
	return os.MkdirAll(filepath.Join(string(d), filepath.FromSlash(name)), 0o700)
}

func (d folder) Create(name string) (io.WriteCloser, error) {
	full := filepath.Join(string(d), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(full, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func makeBag(t *testing.T, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	b := Begin(folder(dir))
	files := map[string]string{"a.txt": "a", "x/y/100.txt": "b", "décision n° 1.txt": "", "x/line\nbreak": "c"}
	for _, name := range more {
		files[name] = "d"
	}
	for name, text := range files {
		w, err := b.File(name)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, out := range []string{"../a", "/a", "x/../../a"} {
		if _, err := b.File(out); err == nil {
			t.Errorf("%q is in the bag", out)
		}
	}
	if err := b.Close(Field{"Source-Organization", "MDPH\nof somewhere"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestAnotherReader has the Library of Congress's reader validate what we write, and notice
// what was changed.
func TestAnotherReader(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err == nil {
		err = exec.Command(python, "-c", "import bagit").Run()
	}
	if err != nil {
		if os.Getenv("SAE_REQUIRE_PEERS") != "" {
			t.Fatal("the reader is missing: pip install bagit")
		}
		t.Skip("the reader is missing: pip install bagit")
	}
	dir := makeBag(t)
	if out, err := exec.Command(python, "-m", "bagit", "--validate", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "a.txt"), []byte("b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, "-m", "bagit", "--validate", dir).CombinedOutput(); err == nil {
		t.Errorf("a changed bag is valid: %s", out)
	}
}

func TestBag(t *testing.T) {
	dir := makeBag(t, "100 %.txt") // which the other reader does not decode, as RFC 8493 section 2.1.3 wants
	for name, want := range map[string]string{
		"bagit.txt":           "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
		"manifest-sha256.txt": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  data/a.txt\n",
		"manifest-sha512.txt": "  data/100 %25.txt\n",
		"bag-info.txt":        "Payload-Oxum: 4.5\n",
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v: %s", name, err, b)
		}
	}
	if _, err := Begin(folder(dir)).File("a.txt"); err == nil {
		t.Error("written over another bag")
	}
}
