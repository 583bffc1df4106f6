package s3

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/minio/minio-go/v7"
)

// blob reads an object. Reading in order takes one request; a jump takes another, but for
// short ones forward.
type blob struct {
	s    *Store
	ctx  context.Context
	name string
	size int64
	from int64 // of the object, where the blob begins
	part bool  // it is size bytes from there; else the object is read to its end

	mu   sync.Mutex
	body io.ReadCloser // nil when none is open
	at   int64         // of the next byte of body
}

// shortJump is how far ahead it is cheaper to read on than to ask anew.
const shortJump = 1 << 20

func (b *blob) Size() int64 { return b.size }

func (b *blob) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stop()
}

func (b *blob) stop() error {
	if b.body == nil {
		return nil
	}
	err := b.body.Close()
	b.body = nil
	return err
}

// seek opens the object at an offset.
func (b *blob) seek(off int64) error {
	b.stop()
	var o minio.GetObjectOptions
	var err error
	switch {
	case b.part:
		err = o.SetRange(b.from+off, b.from+b.size-1)
	case off > 0:
		err = o.SetRange(off, 0)
	}
	if err != nil {
		return err
	}
	body, info, _, err := b.s.client.GetObject(b.ctx, b.s.c.Bucket, b.s.key(b.name), o)
	if err != nil {
		return b.s.explain("reading", b.name, err)
	}
	if b.part && info.Size != b.size-off {
		body.Close()
		return fmt.Errorf("reading %s in %s: %d bytes from byte %d on, not %d", b.name, b.s.c.String(), info.Size, b.from+off, b.size-off)
	}
	if off == 0 {
		b.size = info.Size
	}
	b.body, b.at = body, off
	return nil
}

// ReadAt implements io.ReaderAt.
func (b *blob) ReadAt(p []byte, off int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if off < 0 || off > b.size {
		return 0, fmt.Errorf("reading %s at %d of %d bytes: %w", b.name, off, b.size, io.EOF)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if off == b.size {
		return 0, io.EOF
	}
	n, err := b.readAt(p, off)
	if n < len(p) && err == io.ErrUnexpectedEOF && off+int64(n) == b.size {
		err = io.EOF
	}
	return n, err
}

func (b *blob) readAt(p []byte, off int64) (int, error) {
	if b.body != nil && off > b.at && off-b.at <= shortJump {
		n, err := io.CopyN(io.Discard, b.body, off-b.at)
		if b.at += n; err != nil {
			b.stop()
		}
	}
	if b.body == nil || b.at != off {
		if err := b.seek(off); err != nil {
			return 0, err
		}
	}
	n, err := io.ReadFull(b.body, p)
	b.at += int64(n)
	if err != nil && off+int64(n) < b.size { // cut in between: once more, from there
		if err := b.seek(b.at); err != nil {
			return n, err
		}
		m, again := io.ReadFull(b.body, p[n:])
		n, err = n+m, again
		b.at += int64(m)
	}
	if err != nil {
		b.stop()
	}
	return n, err
}
