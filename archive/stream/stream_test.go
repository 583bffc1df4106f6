package stream

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var (
	testKey    = [32]byte([]byte("a key of 32 bytes, for tests now"))
	testAD     = []byte("test")
	testHeader = append([]byte{headerSize}, "a salt of 32 bytes; fixed. 56789prefix7"...)
)

// content gives n bytes, of which byte i is i mod 251.
func content(n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

// boundaries are the sizes at which something changes, and their neighbours.
func boundaries() (sizes []int64) {
	for _, n := range []int64{1, plainFirst, plainSegment, segmentSize, plainFirst + plainSegment, plainFirst + 4*plainSegment, 1 << 20} {
		for d := int64(-1); d <= 1; d++ {
			sizes = append(sizes, n+d)
		}
	}
	return append(sizes, 13, 65480, 65496)
}

func seal(t testing.TB, header, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := newWriter(&b, testKey, testAD, header)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(plain); err != nil || n != len(plain) {
		t.Fatal(n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func source1(b []byte) Source { return Source{"one", bytes.NewReader(b), int64(len(b)), false} }

// open reads all of a ciphertext.
func openAll(key [32]byte, ad, b []byte) ([]byte, error) {
	r, err := NewReader(key, ad, source1(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// TestVectors reads and writes the streams of testdata/streams.txt.
func TestVectors(t *testing.T) {
	file, err := os.ReadFile("testdata/streams.txt")
	if err != nil {
		t.Fatal(err)
	}
	tested := 0
	for _, block := range strings.Split(string(file), "\n\n") {
		v := map[string]string{}
		for _, line := range strings.Split(block, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok && line[0] != '#' {
				v[name] = value
			}
		}
		if len(v) > 0 {
			testVector(t, v)
			tested++
		}
	}
	if tested != 12 {
		t.Errorf("%d vectors, want 12", tested)
	}
}

func testVector(t *testing.T, v map[string]string) {
	field := func(name string) []byte {
		b, err := hex.DecodeString(v[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return b
	}
	size, err := strconv.ParseInt(v["size"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	key := [32]byte(field("key"))
	var b bytes.Buffer
	w, err := newWriter(&b, key, field("ad"), field("header"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content(size)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(b.Bytes()); !bytes.Equal(sum[:], field("sha256")) {
		t.Errorf("size %d: another ciphertext", size)
	}
	if v["ciphertext"] != "" {
		b = *bytes.NewBuffer(field("ciphertext"))
	}
	if got, err := openAll(key, field("ad"), b.Bytes()); err != nil || !bytes.Equal(got, content(size)) {
		t.Errorf("size %d: reading: %v", size, err)
	}
}

func TestSizes(t *testing.T) {
	for _, n := range boundaries() {
		c := int64(len(seal(t, testHeader, content(n))))
		if got := CiphertextSize(n); got != c {
			t.Errorf("CiphertextSize(%d) = %d, want %d", n, got, c)
		}
		if got, err := PlaintextSize(c); err != nil || got != n {
			t.Errorf("PlaintextSize(%d) = %d, %v, want %d", c, got, err, n)
		}
	}
	// After each whole segment, the first 16 bytes of another one alone are no
	// content: an empty segment is only ever the first.
	for _, n := range []int64{math.MinInt64, -1, 0, 1, headerSize, headerSize + tagSize - 1, segmentSize + 1, segmentSize + tagSize,
		5*segmentSize + 1, 5*segmentSize + tagSize, maxSegments*segmentSize + 1, math.MaxInt64} {
		if got, err := PlaintextSize(n); err == nil {
			t.Errorf("PlaintextSize(%d) = %d, want an error", n, got)
		}
	}
	if n, err := PlaintextSize(maxSegments * segmentSize); err != nil || segments(n) != maxSegments {
		t.Errorf("the longest ciphertext: %d, %v", n, err)
	}
}

func TestSizesProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, maxSegments*segmentSize).Draw(t, "size")
		c := CiphertextSize(n)
		if got, err := PlaintextSize(c); c <= maxSegments*segmentSize && (err != nil || got != n) {
			t.Fatalf("PlaintextSize(CiphertextSize(%d)) = %d, %v", n, got, err)
		}
		if got, err := PlaintextSize(n); err == nil && CiphertextSize(got) != n {
			t.Fatalf("CiphertextSize(PlaintextSize(%d)) = %d", n, CiphertextSize(got))
		}
	})
}

func TestRoundTrip(t *testing.T) {
	for _, n := range boundaries() {
		var b bytes.Buffer
		w, err := NewWriter(&b, testKey, testAD)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, bytes.NewReader(content(n))); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := openAll(testKey, testAD, b.Bytes()); err != nil || !bytes.Equal(got, content(n)) {
			t.Errorf("size %d: %v", n, err)
		}
	}
}

// Two streams of the same content under the same key have nothing in common.
func TestFreshHeader(t *testing.T) {
	var b [2]bytes.Buffer
	for i := range b {
		w, err := NewWriter(&b[i], testKey, testAD)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(content(100))
		w.Close()
	}
	x, y := b[0].Bytes(), b[1].Bytes()
	if x[0] != headerSize || bytes.Equal(x[1:33], y[1:33]) || bytes.Equal(x[33:40], y[33:40]) || bytes.Equal(x[40:], y[40:]) {
		t.Error("not drawn anew")
	}
}

// However the content is cut into writes, the ciphertext is the same.
func TestWriteCuts(t *testing.T) {
	plain := content(plainFirst + 2*plainSegment)
	want := seal(t, testHeader, plain)
	rapid.Check(t, func(t *rapid.T) {
		var b bytes.Buffer
		w, err := newWriter(&b, testKey, testAD, testHeader)
		if err != nil {
			t.Fatal(err)
		}
		for p := plain; len(p) > 0; {
			n := min(len(p), rapid.OneOf(rapid.IntRange(0, 2*segmentSize), rapid.SampledFrom([]int{1, 16, plainFirst, plainSegment})).Draw(t, "write"))
			if k, err := w.Write(p[:n]); err != nil || k != n {
				t.Fatal(k, err)
			}
			p = p[n:]
		}
		if err := w.Close(); err != nil || !bytes.Equal(b.Bytes(), want) {
			t.Fatalf("another ciphertext, %v", err)
		}
	})
}

// failing takes some writes and then fails, or takes less than it is given.
type failing struct {
	left int
	err  error
}

func (w *failing) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return len(p) / 2, w.err
	}
	return len(p), nil
}

func TestWriterErrors(t *testing.T) {
	full := errors.New("full")
	for _, cause := range []error{full, nil} {
		want := cause
		if want == nil {
			want = io.ErrShortWrite
		}
		for writes := range 4 { // header and three segments
			err := func() error {
				w, err := newWriter(&failing{writes, cause}, testKey, testAD, testHeader)
				if err != nil {
					return err
				}
				_, werr := w.Write(content(plainFirst + plainSegment + 1))
				if err := w.Close(); err == nil || werr != nil && err != werr {
					t.Errorf("%d writes: Write %v, Close %v", writes, werr, err)
				}
				if n, err := w.Write([]byte("more")); n != 0 || !errors.Is(err, want) {
					t.Errorf("%d writes: then %d, %v", writes, n, err)
				}
				return w.Close()
			}()
			if !errors.Is(err, want) {
				t.Errorf("%d writes: %v, want %v", writes, err, want)
			}
		}
	}
}

func TestWriterClosed(t *testing.T) {
	var b bytes.Buffer
	w, err := newWriter(&b, testKey, testAD, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("Write after Close: %d, %v", n, err)
	}
	if err := w.Close(); err == nil {
		t.Error("Close after Close")
	}
	if b.Len() != headerSize+tagSize {
		t.Errorf("%d bytes", b.Len())
	}
	w.err, w.segment = nil, maxSegments
	if err := w.Close(); err == nil || b.Len() != headerSize+tagSize {
		t.Error("a segment beyond the counter's end was written")
	}
}

func TestNoAllocation(t *testing.T) {
	plain := content(10 * plainSegment)
	w, err := newWriter(io.Discard, testKey, testAD, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(3, func() { w.Write(plain) }); n != 0 {
		t.Errorf("writing allocates %v times", n)
	}
	r, err := NewReader(testKey, testAD, source1(seal(t, testHeader, plain)))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, plainSegment)
	if n := testing.AllocsPerRun(3, func() {
		for off := int64(0); off+plainSegment <= r.Size(); off += plainSegment {
			if _, err := r.ReadAt(buf, off); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("reading allocates %v times", n)
	}
}

func ExampleCiphertextSize() {
	fmt.Println(CiphertextSize(0), CiphertextSize(1<<20))
	// Output: 56 1048888
}
