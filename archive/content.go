package archive

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"sae/archive/blobs"
	"sae/archive/durable"
	"sae/archive/stream"
)

// Content is the bytes of one object to deposit. It is opened once and read once.
type Content struct {
	Filename string // name without folder
	Size     int64  // -1 when not known beforehand; held against what is read
	SHA256   string // hex, when the depositor declares it; held against what is read
	Open     func() (io.ReadCloser, error)
}

// storedContent is content as the offers hold it, not yet durable. A deposit keeps one
// for each of its objects.
type storedContent struct {
	blob   uint64 // number in this session; 0 for none of its own
	at     *landing
	pack   *pack // that it lies in, and where; nil when it has a blob of its own
	offset int64
	size   int64
	key    [32]byte
	digest [sha256.Size]byte // of the content
	cipher [sha256.Size]byte // of the ciphertext
	format *Format
}

// inMemory is the size up to which content is read whole before it is
// enciphered; longer content streams.
const inMemory = 1 << 20

// landing is where the content landed.
func (s *storedContent) landing() *landing {
	if s.pack != nil {
		return s.pack.at
	}
	return s.at
}

// storing is one content on its way into the offers.
type storing struct {
	a        *Archive
	c        *Content
	object   string // identifier
	to       packKey
	packs    *packer // for small content; nil for none
	progress func(int64)
	dst      *copies // its own; nil while it has none
	storedContent
}

// run reads content once: declared size and digest held against it, SHA-256, format,
// encipherment under a new key, a copy in every offer.
func (s *storing) run(ctx context.Context) (err error) {
	defer func() { // after r.Close, which may say that the file changed meanwhile
		if err != nil && s.dst != nil {
			s.dst.abort()
		}
	}()
	r, err := s.c.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	rand.Read(s.key[:])
	s.format = &Format{}
	head := make([]byte, min(inMemory, max(s.c.Size, 0))+1)
	if s.c.Size < 0 {
		head = make([]byte, inMemory+1)
	}
	n, err := io.ReadFull(&contextReader{ctx, r}, head)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		err = s.whole(ctx, head[:n])
		s.progress(int64(n))
	case err == nil:
		err = s.stream(ctx, io.MultiReader(bytes.NewReader(head), &contextReader{ctx, r}))
	}
	return err
}

// whole takes content that is in memory.
func (s *storing) whole(ctx context.Context, content []byte) error {
	s.size, s.digest = int64(len(content)), sha256.Sum256(content)
	if err := s.c.checkDeclared(s.size, s.digest); err != nil {
		return err
	}
	*s.format = identify(bytes.NewReader(content), s.size, s.c.Filename)
	var cipher bytes.Buffer
	cipher.Grow(int(stream.CiphertextSize(s.size)))
	if err := encipher(&cipher, s.key, bytes.NewReader(content)); err != nil {
		return err
	}
	if s.packs != nil && len(content) <= maxPacked {
		s.cipher = sha256.Sum256(cipher.Bytes())
		var err error
		s.pack, s.offset, err = s.packs.add(s.to, s.object, cipher.Bytes())
		return err
	}
	if err := s.create(ctx); err != nil {
		return err
	}
	if _, err := s.dst.Write(cipher.Bytes()); err != nil {
		return err
	}
	return s.close()
}

// create begins a blob for the content alone.
func (s *storing) create(ctx context.Context) (err error) {
	s.dst, err = s.a.createCopies(ctx, s.a.session, s.to.policy, false)
	return err
}

func (s *storing) close() error {
	s.dst.sum.Sum(s.cipher[:0])
	if err := s.dst.close(); err != nil {
		return err
	}
	s.blob, s.at = s.dst.number, s.dst.at
	return nil
}

// stream takes content of any length.
func (s *storing) stream(ctx context.Context, r io.Reader) error {
	if err := s.create(ctx); err != nil {
		return err
	}
	if err := s.pipe(r); err != nil {
		return err
	}
	if err := s.c.checkDeclared(s.size, s.digest); err != nil {
		return err
	}
	err := s.close()
	if err == nil {
		*s.format, err = s.a.formatOfStored(ctx, &s.storedContent, s.c.Filename)
	}
	return err
}

// pipe enciphers content in constant memory. Its three parts of about equal work, hashing
// content, enciphering, hashing and writing ciphertext, run a few buffers behind each other,
// so that two cores are busy.
func (s *storing) pipe(r io.Reader) error {
	m := &meter{r: r, sum: sha256.New(), progress: s.progress}
	written := newBehind(s.dst)
	w, err := stream.NewWriter(written, s.key, streamAD)
	if err != nil {
		return errors.Join(err, written.close())
	}
	enciphered := newBehind(w)
	_, err = io.CopyBuffer(enciphered, onlyReader{m}, make([]byte, 256<<10))
	err = errors.Join(err, enciphered.close())
	if err == nil {
		err = w.Close()
	}
	err = errors.Join(err, written.close())
	s.size = m.n
	m.sum.Sum(s.digest[:0])
	return err
}

func encipher(dst io.Writer, key [32]byte, src io.Reader) error {
	w, err := stream.NewWriter(dst, key, streamAD)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(w, onlyReader{src}, make([]byte, 256<<10)); err != nil {
		return err
	}
	return w.Close()
}

// streamAD is the associated data of every object's stream.
var streamAD = []byte("sae object 1")

// checkDeclared holds what was read against what was declared.
func (c *Content) checkDeclared(size int64, digest [sha256.Size]byte) error {
	bad := &Refusal{}
	if c.Size >= 0 && c.Size != size {
		bad.addf("%s: %d bytes declared, %d read", c.Filename, c.Size, size)
	}
	if want, err := hex.DecodeString(c.SHA256); c.SHA256 != "" && (err != nil || !bytes.Equal(want, digest[:])) {
		bad.addf("%s: SHA-256 %s declared, %x read", c.Filename, c.SHA256, digest)
	}
	return bad.orNil()
}

// formatOfStored names the format of streamed content by reading it back, at
// random, from an offer that has just taken it.
func (a *Archive) formatOfStored(ctx context.Context, s *storedContent, filename string) (Format, error) {
	var b blobs.Blob
	var err error
	for _, i := range s.at.in {
		if b, err = a.offers[i].blobs.Open(ctx, blobs.Name(a.session, s.blob)); err == nil {
			break
		}
	}
	if err != nil {
		return Format{}, fmt.Errorf("reading back: %w", err)
	}
	defer b.Close()
	r, err := stream.NewReader(s.key, streamAD, stream.Source{Name: "written", ReaderAt: b, Size: b.Size()})
	if err != nil {
		return Format{}, fmt.Errorf("reading back: %w", err)
	}
	return identify(r, s.size, filename), nil
}

// meter hashes and counts what is read through it.
type meter struct {
	r        io.Reader
	n        int64
	sum      hash.Hash
	progress func(int64)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	m.sum.Write(p[:n])
	m.progress(int64(n))
	return n, err
}

// onlyReader hides WriterTo, so that a copy goes by the buffer it is given.
type onlyReader struct{ io.Reader }

// contextReader ends reading when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// behind writes to dst from a goroutine of its own, a few buffers behind. close
// waits for it.
type behind struct {
	full, free chan []byte
	buf        []byte
	done       chan struct{}
	err        error // of dst; read after done
}

const (
	behindBuffers = 4
	behindSize    = 512 << 10
)

func newBehind(dst io.Writer) *behind {
	b := &behind{full: make(chan []byte, behindBuffers), free: make(chan []byte, behindBuffers), done: make(chan struct{})}
	for range behindBuffers - 1 {
		b.free <- durable.AlignedBuffer(behindSize)
	}
	b.buf = durable.AlignedBuffer(behindSize)
	go func() {
		defer close(b.done)
		for p := range b.full {
			if b.err == nil {
				_, b.err = dst.Write(p)
			}
			b.free <- p[:0]
		}
	}()
	return b
}

// Write takes p; an error of dst shows at close.
func (b *behind) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), cap(b.buf)-len(b.buf))
		b.buf, p = append(b.buf, p[:k]...), p[k:]
		if len(b.buf) == cap(b.buf) {
			b.full <- b.buf
			b.buf = <-b.free
		}
	}
	return n, nil
}

func (b *behind) close() error {
	b.full <- b.buf
	close(b.full)
	<-b.done
	return b.err
}
