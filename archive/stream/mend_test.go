package stream

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestMend cuts streams off everywhere that matters, and tears what is behind: what is left is a true
// beginning, at most a segment shorter than what was there, and is read as whole.
func TestMend(t *testing.T) {
	key, ad := [32]byte{7}, []byte("test")
	for _, n := range []int{0, 1, plainFirst - 1, plainFirst, plainFirst + 1, plainFirst + plainSegment, plainFirst + 2*plainSegment + 100} {
		content := make([]byte, n)
		for i := range content {
			content[i] = byte(rand.Uint32())
		}
		var whole bytes.Buffer
		w, err := NewWriter(&whole, key, ad)
		if err == nil {
			_, err = w.Write(content)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		cuts := map[int]bool{0: true, 1: true, headerSize: true, headerSize + tagSize: true, whole.Len(): true, whole.Len() - 1: true}
		for at := segmentSize; at <= whole.Len(); at += segmentSize {
			cuts[at-1], cuts[at], cuts[at+1], cuts[at+tagSize] = true, true, true, true
		}
		for at := range cuts {
			for _, torn := range []int{0, 1, 500, segmentSize} {
				if at > whole.Len() || at == whole.Len() && torn > 0 {
					continue // behind the end nothing is written
				}
				mustMend(t, append(bytes.Clone(whole.Bytes()[:at]), make([]byte, torn)...), content, at, at == whole.Len(), key, ad)
			}
		}
	}
}

func mustMend(t *testing.T, cut, content []byte, at int, whole bool, key [32]byte, ad []byte) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err == nil {
		_, err = f.Write(cut)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 { // mended once more it stays
		length, plain, err := Mend(f, int64(len(cut)), key, ad)
		if err != nil {
			t.Fatal(err)
		}
		least := max(0, at/segmentSize*segmentSize)
		if length < int64(least) || length > int64(at) || whole && plain != int64(len(content)) {
			t.Fatalf("%d of %d bytes: mended to %d, content %d", at, len(cut), length, plain)
		}
		if length == 0 {
			continue
		}
		r, err := NewReader(key, ad, Source{Name: "f", ReaderAt: f, Size: length})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, content[:plain]) {
			t.Fatalf("%d of %d bytes: %v, content of %d bytes", at, len(cut), err, len(got))
		}
		cut = cut[:length]
	}
}
