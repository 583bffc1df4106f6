package stream

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Source is one copy of a ciphertext. All sources of a reader hold the same bytes.
type Source struct {
	Name     string // for failures
	ReaderAt io.ReaderAt
	Size     int64
	// Spare is a copy that is dear to open: it is not touched before the others fail.
	Spare bool
}

// Failure is a source that could not be used, or gave a bad segment.
type Failure struct {
	Source  string
	Segment int64 // -1: not a segment, the source as a whole
	Err     error
}

// CorruptError says that no source has a good copy of a segment.
type CorruptError struct {
	Segment int64
	Offset  int64 // of the segment's content
	Err     error // what was wrong with each source
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("segment %d, content from byte %d, has no good copy: %v", e.Segment, e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// Reader reads content, at random (io.ReaderAt) or in order (io.Reader,
// io.WriterTo). Each segment is authenticated before any byte of it is given out;
// one that is bad in a source is read from the next. It may be used at the same
// time; one segment is then opened at a time.
type Reader struct {
	size int64 // of the content

	mu       sync.Mutex
	copies   []*source // those that failed come last
	failures []Failure
	pos      int64
	cached   int64 // segment in plain, -1 for none
	plain    []byte
	cipher   []byte
}

// source is a copy with the key that its header leads to.
type source struct {
	Source
	plain  int64 // length of the content, if its own length is right
	key    [32]byte
	ad     []byte
	aead   cipher.AEAD
	nonce  nonce
	failed bool
}

// NewReader reads the content enciphered under key and ad from the given copies,
// in their order. A copy whose length or header is impossible is a failure; when
// none is left the error is a *CorruptError. A copy cut off between two segments,
// when all are, is found no earlier than at its last segment: what was read before
// is a true beginning of the content.
func NewReader(key [32]byte, ad []byte, sources ...Source) (*Reader, error) {
	r := &Reader{cached: -1}
	var errs []error
	largest := int64(0)
	for _, s := range sources {
		c, err := prepare(key, ad, s)
		if err == nil && !s.Spare {
			err = c.open()
		}
		if err != nil {
			r.failures = append(r.failures, Failure{s.Name, -1, err})
			errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
			continue
		}
		r.copies = append(r.copies, c)
		largest = max(largest, s.Size)
	}
	r.cipher = make([]byte, min(largest, segmentSize))
	if err := r.agree(); err != nil {
		return nil, &CorruptError{Err: errors.Join(append(errs, err)...)}
	}
	return r, nil
}

func prepare(key [32]byte, ad []byte, s Source) (*source, error) {
	plain, err := PlaintextSize(s.Size)
	return &source{Source: s, plain: plain, key: key, ad: ad}, err
}

// open reads the header of a source.
func (c *source) open() error {
	if c.aead != nil {
		return nil
	}
	header := make([]byte, headerSize)
	if _, err := readFullAt(c.ReaderAt, header, 0); err != nil {
		return err
	}
	if header[0] != headerSize {
		return errors.New("not a header")
	}
	copy(c.nonce[:], header[1+saltSize:])
	var err error
	c.aead, err = aead(c.key, header[1:1+saltSize], c.ad)
	return err
}

// agree settles the length of the content. Where copies differ in it, the first
// whose last segment is authentic is right, since only the true last one is marked
// as such; those of another length are put aside.
func (r *Reader) agree() error {
	if len(r.copies) == 0 {
		return errors.New("no copy can be read")
	}
	right := r.copies[0]
	if slices.ContainsFunc(r.copies, func(c *source) bool { return c.plain != right.plain }) {
		i := slices.IndexFunc(r.copies, func(c *source) bool { return r.loadFrom(c, segments(c.plain)-1) == nil })
		if i < 0 {
			return errors.New("the copies differ in length, and the end of each is bad")
		}
		right = r.copies[i]
	}
	r.size = right.plain
	r.copies = slices.DeleteFunc(r.copies, func(c *source) bool {
		if c.plain == right.plain {
			return false
		}
		r.failures = append(r.failures, Failure{c.Name, -1, fmt.Errorf("%d bytes instead of %d", c.Size, right.Size)})
		return true
	})
	return nil
}

func readFullAt(r io.ReaderAt, p []byte, off int64) (int, error) {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Size is the length of the content.
func (r *Reader) Size() int64 { return r.size }

// Failures are the sources found bad so far, each with the first segment at which
// it was.
func (r *Reader) Failures() []Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Failure(nil), r.failures...)
}

// place gives the segment that holds a byte of the content, and where in it.
func place(off int64) (segment, within int64) {
	if off < plainFirst {
		return 0, off
	}
	off -= plainFirst
	return 1 + off/plainSegment, off % plainSegment
}

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("reading before the beginning")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.readAt(p, off)
}

func (r *Reader) readAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off >= r.size {
			// An empty content has a segment too: its tag is what says that it is empty.
			if r.size == 0 {
				if err := r.load(0); err != nil {
					return n, err
				}
			}
			return n, io.EOF
		}
		segment, within := place(off)
		if err := r.load(segment); err != nil {
			return n, err
		}
		k := copy(p[n:], r.plain[within:])
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.readAt(p, r.pos)
	r.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// WriteTo implements io.WriterTo.
func (r *Reader) WriteTo(w io.Writer) (n int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.pos < r.size || n == 0 && r.size == 0 {
		segment, within := place(r.pos)
		if err := r.load(segment); err != nil {
			return n, err
		}
		k, err := w.Write(r.plain[within:])
		r.pos, n = r.pos+int64(k), n+int64(k)
		switch {
		case err != nil:
			return n, err
		case k != len(r.plain)-int(within):
			return n, io.ErrShortWrite
		case r.size == 0:
			return 0, nil
		}
	}
	return n, nil
}

// load makes a segment the cached one.
func (r *Reader) load(segment int64) error {
	if segment == r.cached {
		return nil
	}
	r.cached = -1
	var errs []error
	for i, c := range r.copies {
		err := r.loadFrom(c, segment)
		if err == nil {
			if i > 0 { // those that failed are asked last from now on
				r.copies = slices.Concat(r.copies[i:], r.copies[:i])
			}
			r.cached = segment
			return nil
		}
		if !c.failed { // its first failure is enough to have the copy repaired
			c.failed = true
			r.failures = append(r.failures, Failure{c.Name, segment, err})
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.Name, err))
	}
	offset := int64(0)
	if segment > 0 {
		offset = plainFirst + (segment-1)*plainSegment
	}
	return &CorruptError{segment, offset, errors.Join(errs...)}
}

var errTag = errors.New("it was changed: its tag does not match")

// loadFrom opens a segment of one copy into plain.
func (r *Reader) loadFrom(c *source, segment int64) error {
	if err := c.open(); err != nil {
		return err
	}
	start, end := segment*segmentSize, min((segment+1)*segmentSize, c.Size)
	if segment == 0 {
		start = headerSize
	}
	b := r.cipher[:end-start]
	if _, err := readFullAt(c.ReaderAt, b, start); err != nil {
		return err
	}
	c.nonce.set(segment, segment == segments(c.plain)-1)
	plain, err := c.aead.Open(b[:0], c.nonce[:], b, nil)
	if err != nil {
		return errTag
	}
	r.plain = plain
	return nil
}
