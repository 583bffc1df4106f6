package spool

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestSpool(t *testing.T) {
	dir := t.TempDir() + "/spool"
	text := strings.Repeat("dossier de Mme Martin ", 20_000)
	s, err := Write(dir, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if s.SHA256 != sha256.Sum256([]byte(text)) || s.Size() != int64(len(text)) {
		t.Errorf("%x, %d bytes", s.SHA256, s.Size())
	}
	part := make([]byte, 11)
	if _, err := s.ReadAt(part, 22*10_000+11); err != nil || string(part) != "Mme Martin " {
		t.Errorf("%q, %v", part, err)
	}
	raw := make([]byte, 1<<20)
	n, err := s.f.ReadAt(raw, 0)
	if err != io.EOF || bytes.Contains(raw[:n], []byte("Martin")) {
		t.Errorf("the file holds the body in clear, %v", err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("%d files in the folder", len(names))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSpoolFails(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Write(t.TempDir(), io.MultiReader(strings.NewReader("x"), failing{broken})); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := Write("/dev/null/no", strings.NewReader("x")); err == nil {
		t.Error("no folder, no error")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
