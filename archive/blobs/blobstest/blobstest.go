// Package blobstest holds every place for copies against the same tests: what the archive
// relies on, and no more.
package blobstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"sae/archive/blobs"
)

// session is a session's name; letter tells several apart.
func session(letter string) string { return "s" + strings.Repeat(letter, 26) }

func content(size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(size)})
	r.Read(b)
	return b
}

// Put writes a blob in pieces.
func Put(t testing.TB, s blobs.Store, name string, b []byte) {
	t.Helper()
	w, err := s.Create(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	for p := range slices.Chunk(b, 1<<20+13) {
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func list(t testing.TB, s blobs.Store, prefix string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := s.List(context.Background(), prefix, func(name string, size int64) error {
		if _, twice := out[name]; twice {
			t.Errorf("%s is listed twice", name)
		}
		out[name] = size
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Run tests a store that is empty. Sizes are those of blobs to write: a place has limits
// of its own, such as that of a part.
func Run(t *testing.T, s blobs.Store, sizes ...int) {
	ctx := context.Background()
	t.Run("read back", func(t *testing.T) { readBack(t, s, sizes) })
	t.Run("never overwritten", func(t *testing.T) {
		for i, size := range sizes {
			name := blobs.Name(session("b"), uint64(i+1))
			first := content(size)
			Put(t, s, name, first)
			w, err := s.Create(ctx, name)
			if err == nil {
				w.Write(content(size + 1))
				err = w.Close()
				w.Abort()
			}
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("size %d: %v", size, err)
			}
			if got := read(t, s, name); !bytes.Equal(got, first) {
				t.Errorf("size %d: another content is there", size)
			}
		}
	})
	t.Run("abort leaves nothing", func(t *testing.T) {
		for i, size := range sizes {
			for _, closed := range []bool{false, true} {
				name := blobs.Name(session("c"), uint64(i+1))
				w, err := s.Create(ctx, name)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(content(size)); err != nil {
					t.Fatal(err)
				}
				if closed {
					if err := w.Close(); err != nil {
						t.Fatal(err)
					}
				}
				w.Abort()
				if l := list(t, s, session("c")); len(l) > 0 {
					t.Errorf("size %d, closed %v: %v", size, closed, l)
				}
			}
		}
	})
	t.Run("delete", func(t *testing.T) {
		name := blobs.Name(session("d"), 1)
		Put(t, s, name, content(100))
		for range 2 { // one that is missing is no error
			if err := s.Delete(ctx, name); err != nil {
				t.Error(err)
			}
		}
		if _, err := s.Open(ctx, name); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if l := list(t, s, session("d")); len(l) > 0 {
			t.Error(l)
		}
		Put(t, s, name, content(7)) // the name is free again: a repaired copy takes it
		if got := read(t, s, name); !bytes.Equal(got, content(7)) {
			t.Error("another content")
		}
	})
	t.Run("list", func(t *testing.T) {
		for i := range 1005 {
			Put(t, s, blobs.Name(session("e"), uint64(i+1)), content(i%3))
		}
		if l := list(t, s, session("e")+"-"); len(l) != 1005 || l[blobs.Name(session("e"), 3)] != 2 {
			t.Errorf("%d are listed", len(l))
		}
		if l := list(t, s, session("f")); len(l) > 0 {
			t.Error(l)
		}
		if l := list(t, s, ""); len(l) < 1005+2*len(sizes) {
			t.Errorf("%d of all", len(l))
		}
		enough := errors.New("enough")
		n := 0
		err := s.List(ctx, "", func(string, int64) error { n++; return enough })
		if !errors.Is(err, enough) || n != 1 {
			t.Error(err, n)
		}
	})
	t.Run("at the same time", func(t *testing.T) { atTheSameTime(t, s) })
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.List(ctx, "", func(string, int64) error { return nil }); err == nil {
			t.Error("a cancelled list ends well")
		}
	})
	t.Run("bad names", func(t *testing.T) {
		for _, name := range []string{"", "x", "../x", session("a"), session("a") + "-1", session("a") + "-000000000000", "/" + blobs.Name(session("a"), 1)} {
			if w, err := s.Create(ctx, name); err == nil {
				w.Abort()
				t.Errorf("%q is accepted", name)
			}
		}
	})
}

func read(t testing.TB, s blobs.Store, name string) []byte {
	t.Helper()
	b, err := s.Open(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func readBack(t *testing.T, s blobs.Store, sizes []int) {
	ctx := context.Background()
	for i, size := range sizes {
		name, want := blobs.Name(session("a"), uint64(i+1)), content(size)
		if _, err := s.Open(ctx, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a blob that is not there: %v", err)
		}
		Put(t, s, name, want)
		if err := s.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		if got := read(t, s, name); !bytes.Equal(got, want) {
			t.Fatalf("size %d: %d bytes, or others", size, len(got))
		}
		b, err := s.Open(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if b.Size() != int64(size) {
			t.Errorf("size %d, not %d", b.Size(), size)
		}
		for range 20 { // at random
			off := rand.IntN(size + 1)
			p := make([]byte, rand.IntN(size/4+10))
			n, err := b.ReadAt(p, int64(off))
			if end := min(size, off+len(p)); n != end-off || !bytes.Equal(p[:n], want[off:end]) || (err == nil) != (n == len(p)) || err != nil && err != io.EOF {
				t.Fatalf("size %d: %d bytes at %d: %d, %v", size, len(p), off, n, err)
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		ranges(t, s, name, want)
	}
}

// ranges opens parts of a blob.
func ranges(t *testing.T, s blobs.Store, name string, want []byte) {
	ctx := context.Background()
	for range 5 {
		if len(want) == 0 {
			break
		}
		off := rand.IntN(len(want))
		n := 1 + rand.IntN(len(want)-off)
		b, err := s.OpenRange(ctx, name, int64(off), int64(n))
		if err != nil {
			t.Fatalf("%d bytes at %d of %d: %v", n, off, len(want), err)
		}
		if b.Size() != int64(n) {
			t.Errorf("a range of %d bytes has %d", n, b.Size())
		}
		within := rand.IntN(n)
		p := make([]byte, n-within+1) // one more than there are
		if k, err := b.ReadAt(p, int64(within)); k != n-within || err != io.EOF || !bytes.Equal(p[:k], want[off+within:off+n]) {
			t.Errorf("%d bytes from %d of a range of %d: %v", k, within, n, err)
		}
		if k, err := b.ReadAt(p[:1], 0); k != 1 || p[0] != want[off] {
			t.Errorf("the first byte, after the last: %d, %v", k, err)
		}
		b.Close()
	}
	for _, r := range [][2]int{{0, len(want) + 1}, {len(want), 1}, {len(want) + 5, 1}, {-1, 1}, {0, 0}} {
		if b, err := s.OpenRange(ctx, name, int64(r[0]), int64(r[1])); err == nil {
			b.Close()
			t.Errorf("%d bytes at %d of %d were opened", r[1], r[0], len(want))
		}
	}
	if _, err := s.OpenRange(ctx, blobs.Name(session("z"), 1), 0, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a range of no blob: %v", err)
	}
}

func atTheSameTime(t *testing.T, s blobs.Store) {
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			name, want := blobs.Name(session("g"), uint64(i+1)), content(1000+i)
			w, err := s.Create(context.Background(), name)
			if err == nil {
				_, err = w.Write(want)
			}
			if err == nil {
				err = w.Close()
			}
			if err == nil {
				err = s.Sync(context.Background())
			}
			if err != nil {
				t.Error(err)
				return
			}
			b, err := s.Open(context.Background(), name)
			if err != nil {
				t.Error(err)
				return
			}
			defer b.Close()
			got := make([]byte, b.Size())
			if _, err := b.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
				t.Error(fmt.Sprint(i), err)
			}
		})
	}
	wg.Wait()
	if l := list(t, s, session("g")); len(l) != 32 {
		t.Errorf("%d are listed", len(l))
	}
}
