// Package spool keeps the body of a request for random access, outside memory and never in clear. Its
// file has no name: when the program ends, however it ends, nothing of it is left.
package spool

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"sae/archive/stream"
)

// Spool is a body. The key under which it is enciphered lies in memory alone.
type Spool struct {
	*stream.Reader
	SHA256 [sha256.Size]byte

	f *os.File
}

var ad = []byte("sae spool 1")

// Write keeps what r gives, in a file in dir, a folder for it alone.
func Write(dir string, r io.Reader) (s *Spool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spooling: %w", err)
	}
	f, err := os.CreateTemp(dir, "body-*")
	if err != nil {
		return nil, fmt.Errorf("spooling: %w", err)
	}
	s = &Spool{f: f}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := os.Remove(f.Name()); err != nil { // a crash before leaves an empty file
		return nil, fmt.Errorf("spooling: %w", err)
	}
	var key [32]byte
	rand.Read(key[:])
	w, err := stream.NewWriter(f, key, ad)
	if err != nil {
		return nil, fmt.Errorf("spooling: %w", err)
	}
	sum := sha256.New()
	if _, err := io.CopyBuffer(io.MultiWriter(w, sum), struct{ io.Reader }{r}, make([]byte, 256<<10)); err != nil {
		return nil, err // of who sends, or of the disk: it says so itself
	}
	sum.Sum(s.SHA256[:0])
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("spooling: %w", err)
	}
	fi, err := f.Stat()
	if err == nil {
		s.Reader, err = stream.NewReader(key, ad, stream.Source{Name: "spool", ReaderAt: f, Size: fi.Size()})
	}
	if err != nil {
		return nil, fmt.Errorf("spooling: %w", err)
	}
	return s, nil
}

// Close lets go of the body.
func (s *Spool) Close() error { return s.f.Close() }
