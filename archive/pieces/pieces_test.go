package pieces

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

var (
	key = [32]byte{1}
	ad  = []byte("test ")
)

// memory is a file that tells what of it is durable, and fails when told to.
type memory struct {
	b, durable []byte
	fail       func(op string) error
}

func (m *memory) step(op string) error {
	if m.fail == nil {
		return nil
	}
	return m.fail(op)
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(p, off)
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	err := m.step("write")
	if err != nil {
		p = p[:len(p)/2]
	}
	if need := int(off) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[off:], p), err
}

func (m *memory) Truncate(size int64) error {
	if err := m.step("truncate"); err != nil {
		return err
	}
	m.b = m.b[:size:size]
	return nil
}

func (m *memory) Sync() error {
	if err := m.step("sync"); err != nil {
		return err
	}
	m.durable = bytes.Clone(m.b)
	return nil
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func mustOpen(t *testing.T, f *memory) *Writer {
	t.Helper()
	w, err := Open(f, int64(len(f.b)), key, ad)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func mustRead(t *testing.T, f *memory, want []byte) {
	t.Helper()
	r, err := NewReader(f, int64(len(f.b)), key, ad)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) || r.Size() != int64(len(want)) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(want), err)
	}
	for range 20 {
		off := rand.IntN(len(want) + 1)
		part := make([]byte, rand.IntN(len(want)-off+1))
		if _, err := r.ReadAt(part, int64(off)); err != nil || !bytes.Equal(part, want[off:off+len(part)]) {
			t.Fatalf("at %d: %v", off, err)
		}
	}
}

func TestPieces(t *testing.T) {
	f, want := &memory{}, []byte(nil)
	w := mustOpen(t, f)
	for _, n := range []int{1, 100, 0, 64 << 10, 200_000, 5} {
		b := noise(n)
		got, err := w.Append(f, bytes.NewReader(b), nil)
		if want = append(want, b...); err != nil || got != int64(n) || w.Length() != int64(len(want)) {
			t.Fatalf("%d of %d, %v", got, n, err)
		}
		mustRead(t, f, want)
		if w = mustOpen(t, f); w.Length() != int64(len(want)) {
			t.Fatalf("taken up: %d of %d", w.Length(), len(want))
		}
	}
	for _, text := range [][]byte{want[:1], want[200:260]} {
		if len(text) > 8 && bytes.Contains(f.b, text) {
			t.Error("it lies in clear")
		}
	}
}

// TestCrash kills while a piece is written: what was durable stays, the rest is a true beginning of what
// came, in whole segments.
func TestCrash(t *testing.T) {
	for _, after := range []int{0, 1, 7, 8, 9, 50, 70, 65_000, 65_600, 131_000, 140_000, 200_000, 210_000} {
		for _, torn := range []int{0, 3, 70_000} {
			f := &memory{}
			first, second := noise(1000), noise(200_000)
			w := mustOpen(t, f)
			if _, err := w.Append(f, bytes.NewReader(first), nil); err != nil {
				t.Fatal(err)
			}
			before := len(f.b)
			f.fail = func(op string) error {
				if op == "sync" || op == "truncate" {
					return io.ErrClosedPipe
				}
				return nil
			}
			if n, err := w.Append(f, bytes.NewReader(second), nil); err == nil || n != 0 || w.Length() != 1000 {
				t.Fatalf("a sync that failed: %d, %v", n, err)
			}
			f.fail = nil
			if torn > 0 && before+after+torn > len(f.b) {
				continue // behind the end of a piece nothing is written before it is durable
			}
			f.b = append(f.b[:min(before+after, len(f.b))], make([]byte, torn)...)
			w = mustOpen(t, f)
			if w.Length() < 1000 {
				t.Fatalf("after %d bytes %d are left", after, w.Length())
			}
			if after > 140_000 && w.Length() < 1000+120_000 {
				t.Errorf("after %d bytes %d are left", after, w.Length())
			}
			all := append(bytes.Clone(first), second...)
			mustRead(t, f, all[:w.Length()])
			if _, err := w.Append(f, bytes.NewReader(all[w.Length():]), nil); err != nil {
				t.Fatal(err)
			}
			mustRead(t, f, all)
		}
	}
}

// TestOnlyWhole: of a piece that is checked nothing is kept when the check fails, nor when a crash comes
// before its end.
func TestOnlyWhole(t *testing.T) {
	f := &memory{}
	w := mustOpen(t, f)
	bad := errors.New("bad")
	if n, err := w.Append(f, bytes.NewReader(noise(200_000)), func() error { return bad }); !errors.Is(err, bad) || n != 0 || w.Length() != 0 || len(f.b) != 0 {
		t.Fatalf("%d, %v, %d bytes", n, err, len(f.b))
	}
	crashed := func() {
		left := mustOpen(t, &memory{b: bytes.Clone(f.b)})
		if left.Length() != 0 {
			t.Errorf("%d bytes of a piece that was not checked are kept", left.Length())
		}
	}
	good := noise(200_000)
	if n, err := w.Append(f, bytes.NewReader(good), func() error { crashed(); return nil }); err != nil || n != 200_000 {
		t.Fatal(n, err)
	}
	mustRead(t, f, good)
}

// TestErrors fails each step once: what was told stays, and the next attempt goes on from there.
func TestErrors(t *testing.T) {
	for at := range 20 {
		f, bad := &memory{}, errors.New("full")
		w := mustOpen(t, f)
		want := noise(300)
		if _, err := w.Append(f, bytes.NewReader(want), nil); err != nil {
			t.Fatal(err)
		}
		step := 0
		f.fail = func(string) error {
			if step++; step == at+1 {
				return bad
			}
			return nil
		}
		b := noise(150_000)
		n, err := w.Append(f, bytes.NewReader(b), nil)
		f.fail = nil
		if err != nil && (!errors.Is(err, bad) || n != 0) || err == nil && step > at {
			t.Fatalf("step %d: %d, %v", at, n, err)
		}
		mustOpen(t, &memory{b: bytes.Clone(f.b)})
		if _, err := w.Append(f, bytes.NewReader(b[n:]), nil); err != nil {
			t.Fatal(err)
		}
		mustRead(t, f, append(want, b...))
	}
}

// TestBrokenSource: what came before an error is kept.
func TestBrokenSource(t *testing.T) {
	f, bad := &memory{}, errors.New("gone")
	w := mustOpen(t, f)
	b := noise(100_000)
	n, err := w.Append(f, io.MultiReader(bytes.NewReader(b), failing{bad}), nil)
	if !errors.Is(err, bad) || n != 100_000 {
		t.Fatal(n, err)
	}
	mustRead(t, f, b)
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// TestMoved: pieces that were exchanged do not open.
func TestMoved(t *testing.T) {
	f := &memory{}
	w := mustOpen(t, f)
	for range 2 {
		if _, err := w.Append(f, bytes.NewReader(noise(100)), nil); err != nil {
			t.Fatal(err)
		}
	}
	half := len(f.b) / 2
	r, err := NewReader(&memory{b: append(bytes.Clone(f.b[half:]), f.b[:half]...)}, int64(len(f.b)), key, ad)
	if err == nil {
		_, err = io.ReadAll(r)
	}
	if err == nil {
		t.Error("they are read in another order")
	}
}

// FuzzOpen takes files of any content up: it never fails for good, and what it says is readable.
func FuzzOpen(f *testing.F) {
	m := &memory{}
	w, err := Open(m, 0, key, ad)
	if err == nil {
		_, err = w.Append(m, bytes.NewReader(noise(300)), nil)
	}
	if err == nil {
		_, err = w.Append(m, bytes.NewReader(noise(70_000)), nil)
	}
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.b)
	f.Add(m.b[:100])
	f.Add([]byte("p\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &memory{b: bytes.Clone(b)}
		w := mustOpen(t, m)
		r, err := NewReader(m, int64(len(m.b)), key, ad)
		if err != nil || r.Size() != w.Length() {
			t.Fatalf("%v", err)
		}
	})
}

// TestFile: on a real file as in memory.
func TestFile(t *testing.T) {
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := Open(f, 0, key, ad)
	if err != nil {
		t.Fatal(err)
	}
	b := noise(pieceSize + 100)
	if n, err := w.Append(f, bytes.NewReader(b), nil); err != nil || n != int64(len(b)) || w.n != 2 {
		t.Fatal(n, w.n, err)
	}
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(f, fi.Size(), key, ad)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}
