package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// threeSegments is the length of a content of three segments, the last a short one.
const threeSegments = plainFirst + plainSegment + 100

func newReader(t testing.TB, sources ...Source) *Reader {
	t.Helper()
	r, err := NewReader(testKey, testAD, sources...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReaderStandard(t *testing.T) {
	for _, n := range boundaries() {
		plain := content(n)
		sealed := seal(t, testHeader, plain)
		r := newReader(t, source1(sealed))
		if r.Size() != n {
			t.Errorf("size %d, want %d", r.Size(), n)
		}
		if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), plain); err != nil {
			t.Errorf("size %d: %v", n, err)
		}
		var b bytes.Buffer
		if k, err := r.WriteTo(&b); err != nil || k != n || !bytes.Equal(b.Bytes(), plain) {
			t.Errorf("size %d: WriteTo %d, %v", n, k, err)
		}
		if k, err := r.WriteTo(&b); err != nil || k != 0 || b.Len() != int(n) {
			t.Errorf("size %d: WriteTo at the end %d, %v", n, k, err)
		}
		if k, err := r.Read(make([]byte, 1)); k != 0 || err != io.EOF {
			t.Errorf("size %d: Read at the end %d, %v", n, k, err)
		}
	}
}

func TestReadAtProperty(t *testing.T) {
	plain := content(threeSegments)
	r := newReader(t, source1(seal(t, testHeader, plain)))
	at := rapid.OneOf(rapid.Int64Range(0, threeSegments+10),
		rapid.SampledFrom([]int64{0, plainFirst - 1, plainFirst, plainFirst + plainSegment, threeSegments - 1, threeSegments}))
	rapid.Check(t, func(t *rapid.T) {
		off := at.Draw(t, "off")
		p := make([]byte, rapid.IntRange(0, 2*segmentSize).Draw(t, "len"))
		want, err := bytes.NewReader(plain).ReadAt(p, off)
		got := make([]byte, len(p))
		n, gotErr := r.ReadAt(got, off)
		if len(p) == 0 {
			err = nil // package bytes says EOF at the end even then
		}
		if n != want || gotErr != err || !bytes.Equal(got, p) {
			t.Fatalf("ReadAt(%d bytes, %d) = %d, %v, want %d, %v", len(p), off, n, gotErr, want, err)
		}
	})
	if n, err := r.ReadAt(make([]byte, 1), -1); n != 0 || err == nil {
		t.Errorf("ReadAt(-1) = %d, %v", n, err)
	}
}

// Reading in order goes on where it was, whichever way, and whatever is read at
// random meanwhile.
func TestReadMixed(t *testing.T) {
	plain := content(threeSegments)
	sealed := seal(t, testHeader, plain)
	rapid.Check(t, func(t *rapid.T) {
		r, err := NewReader(testKey, testAD, source1(sealed))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		for range rapid.IntRange(0, 5).Draw(t, "reads") {
			io.CopyN(&got, struct{ io.Reader }{r}, rapid.Int64Range(0, segmentSize).Draw(t, "len"))
			r.ReadAt(make([]byte, 10), rapid.Int64Range(0, threeSegments).Draw(t, "off"))
		}
		if _, err := r.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), plain) {
			t.Fatalf("%d bytes, %v", got.Len(), err)
		}
	})
}

func TestReadConcurrently(t *testing.T) {
	plain := content(threeSegments)
	good := seal(t, testHeader, plain)
	bad := bytes.Clone(good)
	bad[segmentSize+5] ^= 1
	r := newReader(t, source1(bad), Source{"two", bytes.NewReader(good), int64(len(good)), false})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			p := make([]byte, 1000)
			for off := int64(i * 100); off+1000 <= r.Size(); off += 9973 {
				if _, err := r.ReadAt(p, off); err != nil || !bytes.Equal(p, plain[off:off+1000]) {
					t.Errorf("at %d: %v", off, err)
				}
				r.Failures()
			}
		})
	}
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), plain) {
		t.Errorf("in order: %v", err)
	}
	wg.Wait()
}

// flipped is a source with one bit changed.
type flipped struct {
	b   []byte
	pos int64
}

func (f *flipped) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(f.b).ReadAt(p, off)
	if off <= f.pos && f.pos < off+int64(n) {
		p[f.pos-off] ^= 1 << (f.pos % 8)
	}
	return n, err
}

// TestEveryFlip changes one bit of every byte of a stream of three segments: of
// the segment it is in, or of every one for the header, no byte is given out.
func TestEveryFlip(t *testing.T) {
	plain := content(threeSegments)
	f := &flipped{b: seal(t, testHeader, plain)}
	size := int64(len(f.b))
	for f.pos = range int64(headerSize) {
		r, err := NewReader(testKey, testAD, Source{"one", f, size, false})
		if err == nil {
			_, err = r.ReadAt(make([]byte, 1), r.Size()-1)
		}
		var c *CorruptError
		if !errors.As(err, &c) || f.pos > 0 && c.Segment != 2 {
			t.Fatalf("header byte %d: %v", f.pos, err)
		}
	}
	f.pos = -1
	r := newReader(t, Source{"one", f, size, false})
	step := int64(1)
	if testing.Short() {
		step = 101
	}
	p := make([]byte, 1)
	for f.pos = headerSize; f.pos < size; f.pos += step {
		segment := f.pos / segmentSize
		start := max(0, segment*segmentSize-headerSize-tagSize*segment)
		n, err := r.ReadAt(p, start)
		var c *CorruptError
		if n != 0 || !errors.As(err, &c) || c.Segment != segment || c.Offset != start || p[0] != 0 {
			t.Fatalf("byte %d: read %d, %v", f.pos, n, err)
		}
	}
	f.pos = -1
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, plain) {
		t.Errorf("unchanged: %v", err)
	}
}

// An empty content is authenticated too, however it is read.
func TestEmptyFlip(t *testing.T) {
	f := &flipped{b: seal(t, testHeader, nil)}
	for f.pos = range int64(len(f.b)) {
		for name, read := range map[string]func(r *Reader) error{
			"Read":    func(r *Reader) error { _, err := r.Read(make([]byte, 1)); return err },
			"ReadAt":  func(r *Reader) error { _, err := r.ReadAt(make([]byte, 1), 0); return err },
			"WriteTo": func(r *Reader) error { _, err := r.WriteTo(io.Discard); return err },
		} {
			r, err := NewReader(testKey, testAD, Source{"one", f, int64(len(f.b)), false})
			if err == nil {
				err = read(r)
			}
			var c *CorruptError
			if !errors.As(err, &c) {
				t.Errorf("byte %d, %s: %v", f.pos, name, err)
			}
		}
	}
}

// TestChangedStreams changes whole segments. good is how many bytes of content may
// be read before the error.
func TestChangedStreams(t *testing.T) {
	plain := content(threeSegments)
	b := seal(t, testHeader, plain)
	otherHeader := bytes.Clone(testHeader)
	otherHeader[39] ^= 1
	other := seal(t, otherHeader, plain)
	const s = segmentSize
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	var last bytes.Buffer // a stream that ends after its first segment
	w, err := newWriter(&last, testKey, testAD, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(plain[:plainFirst])
	w.Close()
	for name, c := range map[string]struct {
		b    []byte
		good int64
	}{
		"empty":                     {nil, 0},
		"header only":               {b[:headerSize], 0},
		"cut in the header":         {b[:20], 0},
		"cut in the first":          {b[:s-1], 0},
		"cut after the first":       {b[:s], 0},
		"cut in the second":         {b[:s+100], plainFirst},
		"cut after the second":      {b[:2*s], plainFirst},
		"cut by a byte":             {b[:len(b)-1], plainFirst + plainSegment},
		"cut to a tag":              {b[:2*s+tagSize], 0},
		"a byte more":               {join(b, []byte{0}), plainFirst + plainSegment},
		"the last twice":            {join(b, b[2*s:]), plainFirst + plainSegment},
		"second left out":           {join(b[:s], b[2*s:]), plainFirst},
		"second twice":              {join(b[:2*s], b[s:]), plainFirst + plainSegment},
		"swapped":                   {join(b[:headerSize], b[s:2*s-headerSize], b[headerSize:s], b[2*s-headerSize:]), 0},
		"segment of another stream": {join(b[:s], other[s:2*s], b[2*s:]), plainFirst},
		"header of another stream":  {join(other[:headerSize], b[headerSize:]), 0},
		"more after an end":         {join(last.Bytes(), b[s:]), 0},
		"zeros":                     {make([]byte, len(b)), 0},
	} {
		got, err := openAll(testKey, testAD, c.b)
		var ce *CorruptError
		if !errors.As(err, &ce) || !bytes.Equal(got, plain[:c.good]) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, c.good)
		}
	}
	wrong := testKey
	wrong[31] ^= 1
	if got, err := openAll(wrong, testAD, b); err == nil || len(got) > 0 {
		t.Error("read with another key")
	}
	if got, err := openAll(testKey, nil, b); err == nil || len(got) > 0 {
		t.Error("read with other associated data")
	}
}

// Every length that a stream can be cut to is noticed, at the latest at its end.
func TestTruncationProperty(t *testing.T) {
	plain := content(threeSegments)
	b := seal(t, testHeader, plain)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, len(b)-1).Draw(t, "length")
		got, err := openAll(testKey, testAD, b[:n])
		var c *CorruptError
		if !errors.As(err, &c) || !bytes.HasPrefix(plain, got) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}

var errDisk = errors.New("disk error")

// readerAt fails where a byte of a range is read.
type readerAt struct {
	b        []byte
	from, to int64
	reads    int
}

func (r *readerAt) ReadAt(p []byte, off int64) (int, error) {
	r.reads++
	if off < r.to && off+int64(len(p)) > r.from {
		return 0, errDisk
	}
	return bytes.NewReader(r.b).ReadAt(p, off)
}

func TestFailover(t *testing.T) {
	plain := content(threeSegments)
	good := seal(t, testHeader, plain)
	bad := func(pos ...int) []byte {
		b := bytes.Clone(good)
		for _, i := range pos {
			b[i] ^= 0x80
		}
		return b
	}
	const s = segmentSize
	whole := int64(len(good))
	type source = Source
	mem := func(name string, b []byte) source { return source{name, bytes.NewReader(b), int64(len(b)), false} }
	disk := func(name string, from, to int64) source {
		return source{name, &readerAt{b: good, from: from, to: to}, whole, false}
	}
	for name, c := range map[string]struct {
		sources  []source
		failures string
	}{
		"one good":             {[]source{mem("a", good)}, ""},
		"first bad":            {[]source{mem("a", bad(50)), mem("b", good)}, "a 0"},
		"second not asked":     {[]source{mem("a", good), mem("b", bad(50))}, ""},
		"each bad elsewhere":   {[]source{mem("a", bad(50)), mem("b", bad(s+1)), mem("c", bad(2*s+1))}, "a 0, b 1, c 2"},
		"two, bad in turn":     {[]source{mem("a", bad(s)), mem("b", bad(2*s))}, "a 1, b 2"},
		"twice bad, told once": {[]source{mem("a", bad(50, s, 2*s)), mem("b", good)}, "a 0"},
		"bad again, told once": {[]source{mem("a", bad(50, 2*s)), mem("b", bad(s))}, "a 0, b 1"},
		"header bad":           {[]source{mem("a", bad(0)), mem("b", good)}, "a -1"},
		"salt bad":             {[]source{mem("a", bad(1)), mem("b", good)}, "a 0"},
		"disk fails":           {[]source{disk("a", s, s+1), mem("b", good)}, "a 1"},
		"disk fails at once":   {[]source{disk("a", 0, whole), mem("b", good)}, "a -1"},
		"first cut":            {[]source{mem("a", good[:whole-1]), mem("b", good)}, "a -1"},
		"first cut to one":     {[]source{mem("a", good[:s]), mem("b", good)}, "a -1"},
		"first two cut alike":  {[]source{mem("a", good[:s]), mem("b", good[:s]), mem("c", good)}, "a -1, b -1"},
		"second cut":           {[]source{mem("a", good), mem("b", good[:s])}, "b -1"},
		"first longer":         {[]source{mem("a", append(bytes.Clone(good), 1)), mem("b", good)}, "a -1"},
		"first empty":          {[]source{mem("a", nil), mem("b", good)}, "a -1"},
		"cut, bad and good":    {[]source{mem("a", good[:100]), mem("b", bad(2*s)), mem("c", good)}, "a -1, b 2"},
	} {
		r, err := NewReader(testKey, testAD, c.sources...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		told := ""
		for i, f := range r.Failures() {
			if f.Err == nil {
				t.Errorf("%s: no cause", name)
			}
			if i > 0 {
				told += ", "
			}
			told += fmt.Sprint(f.Source, " ", f.Segment)
		}
		if told != c.failures {
			t.Errorf("%s: failures %q, want %q", name, told, c.failures)
		}
	}
}

// A source that failed is asked last from then on: one that answers slowly, or
// with errors, does not cost every segment.
func TestFailedSourceIsLast(t *testing.T) {
	plain := content(plainFirst + 20*plainSegment)
	good := seal(t, testHeader, plain)
	bad := &readerAt{b: good, from: segmentSize, to: 1 << 60}
	r := newReader(t, Source{"bad", bad, int64(len(good)), false}, Source{"good", bytes.NewReader(good), int64(len(good)), false})
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
		t.Fatal(err)
	}
	if bad.reads != 3 { // header, segment 0, segment 1
		t.Errorf("asked %d times", bad.reads)
	}
}

func TestNoGoodCopy(t *testing.T) {
	plain := content(threeSegments)
	good := seal(t, testHeader, plain)
	bad := bytes.Clone(good)
	bad[segmentSize] ^= 1
	whole := int64(len(good))
	r := newReader(t, Source{"a", &readerAt{b: good, from: segmentSize, to: segmentSize + 1}, whole, false}, Source{"b", bytes.NewReader(bad), whole, false})
	got, err := io.ReadAll(r)
	var c *CorruptError
	if !errors.As(err, &c) || c.Segment != 1 || c.Offset != plainFirst || !errors.Is(err, errDisk) || !errors.Is(err, errTag) {
		t.Errorf("error %v", err)
	}
	if !bytes.Equal(got, plain[:plainFirst]) {
		t.Errorf("%d bytes before", len(got))
	}
	want := []Failure{{"a", 1, errDisk}, {"b", 1, errTag}}
	if got := r.Failures(); !reflect.DeepEqual(got, want) {
		t.Errorf("failures %v, want %v", got, want)
	}
	// What is good elsewhere can still be read, what was read just before included.
	p := make([]byte, 100)
	for _, off := range []int64{plainFirst + plainSegment, 0} {
		for range 2 {
			if _, err := r.ReadAt(p, off); err != nil || !bytes.Equal(p, plain[off:off+100]) {
				t.Errorf("at %d: %v", off, err)
			}
			if _, err := r.ReadAt(p, plainFirst); !errors.As(err, &c) {
				t.Errorf("the bad segment: %v", err)
			}
		}
	}

	for name, sources := range map[string][]Source{
		"none":             nil,
		"none that opens":  {source1(nil), source1(bad[:10])},
		"two ends, no end": {source1(good[:segmentSize]), source1(good[:segmentSize+100])},
	} {
		if _, err := NewReader(testKey, testAD, sources...); !errors.As(err, &c) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWriteToErrors(t *testing.T) {
	sealed := seal(t, testHeader, content(threeSegments))
	full := errors.New("full")
	for _, cause := range []error{full, nil} {
		r := newReader(t, source1(sealed))
		n, err := r.WriteTo(&failing{1, cause})
		want := cause
		if want == nil {
			want = io.ErrShortWrite
		}
		if err != want || n != plainFirst+plainSegment/2 {
			t.Errorf("%d, %v, want %v", n, err, want)
		}
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(rest, content(threeSegments)[n:]) {
			t.Errorf("then %d bytes, %v", len(rest), err)
		}
	}
}

// FuzzReader reads any bytes: what is given out is authentic, so it is content.
func FuzzReader(f *testing.F) {
	for _, n := range []int64{0, 1, 300, plainFirst, plainFirst + 1} {
		f.Add(seal(f, testHeader, content(n)), int64(0), uint16(400))
	}
	f.Add(seal(f, testHeader, content(plainFirst+10))[:segmentSize], int64(plainFirst-1), uint16(2))
	f.Add([]byte{headerSize}, int64(-1), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, off int64, n uint16) {
		r, err := NewReader(testKey, testAD, source1(b))
		if err != nil {
			return
		}
		if CiphertextSize(r.Size()) != int64(len(b)) {
			t.Fatalf("%d bytes of content in %d", r.Size(), len(b))
		}
		p := make([]byte, n)
		k, err := r.ReadAt(p, off)
		if err == nil && k != len(p) {
			t.Fatalf("%d bytes instead of %d without an error", k, len(p))
		}
		for i, c := range p[:k] {
			if c != byte((off+int64(i))%251) {
				t.Fatalf("byte %d is %d", off+int64(i), c)
			}
		}
		if got, err := io.ReadAll(r); !bytes.Equal(got, content(int64(len(got)))) || err == nil && int64(len(got)) != r.Size() {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}
