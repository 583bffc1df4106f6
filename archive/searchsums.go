package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"
	"unicode"
	"unicode/utf8"

	"sae/archive/durable"
)

// The search index checks none of its files; this keeps their SHA-256 beside
// them in each shard, in the form of sha256sum, so that a damaged shard is noticed and
// made anew. Each search hashes every shard once, on all processors: 163 MB for a million
// units, 0.1 s of one, which is about half of what it costs.

var errNoShard = errors.New("it is not made yet")

const sumsFile = "SHA256SUMS"

func fileSums(dir string) ([]byte, error) {
	var out bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == filepath.Join(dir, sumsFile) {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		fmt.Fprintf(&out, "%x  %s\n", h.Sum(nil), rel)
		return err
	})
	return out.Bytes(), err
}

func (a *Archive) writeSums(dir string) error {
	sums, err := fileSums(dir)
	if err != nil {
		return err
	}
	return a.fs.WriteFile(filepath.Join(dir, sumsFile), sums, 0o600)
}

// checkSums names the first file of a shard that is not as it was left.
func checkSums(dir string) error {
	want, err := os.ReadFile(filepath.Join(dir, sumsFile))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(dir); err == nil {
			return fmt.Errorf("%s is missing", filepath.Join(dir, sumsFile))
		}
		return errNoShard
	}
	if err != nil {
		return err
	}
	have, err := fileSums(dir)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for s := bufio.NewScanner(bytes.NewReader(want)); s.Scan(); {
		known[s.Text()] = true
	}
	for s := bufio.NewScanner(bytes.NewReader(have)); s.Scan(); {
		if !known[s.Text()] {
			_, name, _ := strings.Cut(s.Text(), "  ")
			return fmt.Errorf("%s is not as it was left", filepath.Join(dir, name))
		}
		delete(known, s.Text())
	}
	for line := range known {
		_, name, _ := strings.Cut(line, "  ")
		return fmt.Errorf("%s is missing or not as it was left", filepath.Join(dir, name))
	}
	return nil
}

// waitLock takes the lock of the search index, waiting up to ten seconds.
func waitLock(path string) (unlock func(), err error) {
	for range 100 {
		l, err := durable.LockExclusive(path, "search")
		if err == nil {
			return func() { l.Unlock() }, nil
		}
		var held *durable.HeldError
		if !errors.As(err, &held) {
			return nil, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, fmt.Errorf("another search holds %s: %w", path, ErrLocked)
}

// foldAccents lets a word be found however its accents were typed.
func foldAccents(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) { // most words: it takes a third of the time to index
		return s
	}
	out, _, err := transform.String(transform.Chain(norm.NFD, runes.Remove(runes.In(unicode.Mn)), norm.NFC), s)
	if err != nil {
		return s
	}
	return out
}
