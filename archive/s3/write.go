package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"sae/archive/blobs"
)

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// Sizes of the parts of a multipart upload: small ones first, so that memory is little,
// then larger ones, so that 10,000 parts, the most there may be, make over 1 TiB.
const (
	partSize      = 16 << 20
	manyParts     = 2_000
	largePartSize = 128 << 20
	maxParts      = 10_000
)

// Create implements blobs.Store. That a name is taken is said at Close.
func (s *Store) Create(ctx context.Context, name string) (blobs.Writer, error) {
	if _, _, err := blobs.Split(name); err != nil {
		return nil, err
	}
	return &writer{s: s, ctx: ctx, name: name}, nil
}

// writer gathers a part while the one before is sent.
type writer struct {
	s      *Store
	ctx    context.Context
	name   string
	buf    []byte
	size   int64
	upload string // "" while one part may be all
	parts  []minio.CompletePart
	sums   []byte // checksums of the parts, one behind the other
	sent   chan error
	err    error
	closed bool
}

func (w *writer) partSize() int {
	if len(w.parts) >= manyParts {
		return largePartSize
	}
	return partSize
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && w.err == nil {
		if len(w.buf) == w.partSize() {
			w.send()
			continue
		}
		k := min(len(p), w.partSize()-len(w.buf))
		w.buf, p = append(w.buf, p[:k]...), p[k:]
	}
	if w.err != nil {
		return 0, w.err
	}
	w.size += int64(n)
	return n, nil
}

// wait waits for the part that is being sent.
func (w *writer) wait() {
	if w.sent == nil {
		return
	}
	if err := <-w.sent; err != nil && w.err == nil {
		w.err = w.s.explain("writing", w.name, err)
	}
	w.sent = nil
}

// send sends what was gathered as the next part.
func (w *writer) send() {
	if w.wait(); w.err != nil {
		return
	}
	if len(w.parts) == maxParts {
		w.err = fmt.Errorf("writing %s in %s: %d bytes are more than it can take", w.name, w.s.c.String(), w.size)
		return
	}
	if w.upload == "" {
		o := minio.PutObjectOptions{ContentType: "application/octet-stream", UserMetadata: map[string]string{"X-Amz-Checksum-Algorithm": "SHA256"}}
		var err error
		if w.upload, err = w.s.client.NewMultipartUpload(w.ctx, w.s.c.Bucket, w.s.key(w.name), o); err != nil {
			w.err = w.s.explain("writing", w.name, err)
			return
		}
	}
	part := w.buf
	w.buf = make([]byte, 0, w.partSize())
	sum := sha256.Sum256(part)
	w.sums = append(w.sums, sum[:]...)
	number := len(w.parts) + 1
	w.parts = append(w.parts, minio.CompletePart{PartNumber: number, ChecksumSHA256: base64Of(sum[:])})
	w.sent = make(chan error, 1)
	go func(sent chan error, to *minio.CompletePart) {
		header := http.Header{}
		header.Set("x-amz-checksum-sha256", to.ChecksumSHA256)
		o, err := w.s.client.PutObjectPart(w.ctx, w.s.c.Bucket, w.s.key(w.name), w.upload, number, bytes.NewReader(part), int64(len(part)),
			minio.PutObjectPartOptions{Sha256Hex: fmt.Sprintf("%x", sum), CustomHeader: header})
		to.ETag = o.ETag
		sent <- err
	}(w.sent, &w.parts[number-1])
}

// Close puts what was written, or completes the upload.
func (w *writer) Close() error {
	w.closed = true
	if w.err == nil && w.upload == "" {
		w.err = w.s.explain("writing", w.name, w.s.putWhole(w.ctx, w.s.key(w.name), w.buf))
		w.buf = nil
		return w.err
	}
	if w.err == nil && len(w.buf) > 0 {
		w.send()
	}
	w.wait()
	if w.err == nil {
		w.err = w.s.explain("writing", w.name, w.complete())
	}
	if w.err != nil {
		w.abortUpload()
	}
	w.upload, w.buf = "", nil
	return w.err
}

func (w *writer) complete() error {
	o := minio.PutObjectOptions{}
	o.SetMatchETagExcept("*")
	key := w.s.key(w.name)
	_, err := w.s.client.CompleteMultipartUpload(w.ctx, w.s.c.Bucket, key, w.upload, w.parts, o)
	code := minio.ToErrorResponse(err).Code
	if code == "PreconditionFailed" || code == "NoSuchUpload" { // a try before may have got through
		all := sha256.Sum256(w.sums)
		if w.s.holds(w.ctx, key, w.size, fmt.Sprintf("%s-%d", base64Of(all[:]), len(w.parts))) {
			return nil
		}
	}
	return err
}

// abortTime is how long is tried to take back what is not wanted.
const abortTime = 10 * time.Second

func (w *writer) abortUpload() {
	if w.upload == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), abortTime)
	defer cancel()
	w.s.client.AbortMultipartUpload(ctx, w.s.c.Bucket, w.s.key(w.name), w.upload) // else the bucket's own rule for unfinished uploads
}

// Abort implements blobs.Writer. What Close has put, or may have, is deleted; the blob of
// another that has the name is left.
func (w *writer) Abort() {
	w.wait()
	w.abortUpload()
	if w.closed && !errors.Is(w.err, fs.ErrExist) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), abortTime)
		defer cancel()
		w.s.Delete(ctx, w.name)
	}
}
