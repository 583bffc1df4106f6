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
	blob   uint64 // number in this session; 0 for none
	at     *landing
	size   int64
	key    [32]byte
	digest [sha256.Size]byte // of the content
	cipher [sha256.Size]byte // of the ciphertext
	format *Format
}

// inMemory is the size up to which content is read whole before it is
// enciphered; longer content streams.
const inMemory = 1 << 20

// storeContent reads content once: declared size and digest held against it,
// SHA-256, format, encipherment under a new key, a copy in every offer.
func (a *Archive) storeContent(ctx context.Context, c *Content, p *policy, progress func(int64)) (s storedContent, err error) {
	var dst *copies
	defer func() { // after r.Close, which may say that the file changed meanwhile
		if err != nil && dst != nil {
			dst.abort()
		}
	}()
	r, err := c.Open()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if dst, err = a.createCopies(ctx, a.session, p, false); err != nil {
		return s, err
	}
	rand.Read(s.key[:])
	s.format = &Format{}
	head := make([]byte, min(inMemory, max(c.Size, 0))+1)
	if c.Size < 0 {
		head = make([]byte, inMemory+1)
	}
	n, err := io.ReadFull(&contextReader{ctx, r}, head)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		err = a.storeWhole(&s, dst, c, head[:n])
		progress(int64(n))
	case err == nil:
		err = a.storeStream(&s, dst, io.MultiReader(bytes.NewReader(head), &contextReader{ctx, r}), progress)
	}
	if err != nil {
		return s, err
	}
	if err := c.checkDeclared(s.size, s.digest); err != nil {
		return s, err
	}
	dst.sum.Sum(s.cipher[:0])
	if err = dst.close(); err != nil {
		return s, err
	}
	s.blob, s.at = dst.number, dst.at
	if s.size > inMemory {
		*s.format, err = a.formatOfStored(ctx, &s, c.Filename)
	}
	return s, err
}

// storeWhole takes content that is in memory.
func (a *Archive) storeWhole(s *storedContent, dst io.Writer, c *Content, content []byte) error {
	s.size, s.digest = int64(len(content)), sha256.Sum256(content)
	*s.format = identify(bytes.NewReader(content), s.size, c.Filename)
	var cipher bytes.Buffer
	cipher.Grow(int(stream.CiphertextSize(s.size)))
	if err := encipher(&cipher, s.key, bytes.NewReader(content)); err != nil {
		return err
	}
	_, err := dst.Write(cipher.Bytes())
	return err
}

// storeStream takes content of any length in constant memory. Its three parts of
// about equal work, hashing content, enciphering, hashing and writing ciphertext,
// run a few buffers behind each other, so that two cores are busy.
func (a *Archive) storeStream(s *storedContent, dst io.Writer, r io.Reader, progress func(int64)) error {
	m := &meter{r: r, sum: sha256.New(), progress: progress}
	written := newBehind(dst)
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
