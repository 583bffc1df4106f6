// Package stream enciphers content of any length so that any part of it can be
// read, and no changed byte of it is ever given out.
//
// The format is the streaming AEAD of Tink, AES256_GCM_HKDF with 64 KiB segments
// and HKDF-SHA256 (Tink: AesGcmHkdfStreaming; Hoang, Reyhanitabar, Rogaway, Vizár,
// "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance"):
//
//	header   1 byte: 40, the header's length
//	         32 bytes: salt
//	         7 bytes: nonce prefix
//	segment  AES-256-GCM, ciphertext and 16 bytes of tag
//
// The header and every segment but the last take 65,536 bytes each of the
// ciphertext, where the first segment is shorter by the header. The key of the
// segments is HKDF-SHA256(key, salt, info = associated data), 32 bytes. Segment i
// has the nonce: prefix, i as 4 bytes big-endian, 1 byte that is 1 for the last
// segment and 0 for the others. There is at least one segment. Segments cannot be
// changed, moved, added or cut off without the reader noticing.
package stream

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	segmentSize = 64 << 10 // of ciphertext
	tagSize     = 16
	saltSize    = 32
	prefixSize  = 7
	headerSize  = 1 + saltSize + prefixSize

	plainSegment = segmentSize - tagSize     // of every segment but the first
	plainFirst   = plainSegment - headerSize // of the first
	maxSegments  = 1 << 32                   // the counter's
)

// CiphertextSize is the length of the ciphertext of n bytes; n is not negative.
func CiphertextSize(n int64) int64 {
	return headerSize + n + tagSize*segments(n)
}

// segments is the number of segments of n bytes: one at least.
func segments(n int64) int64 {
	if n <= plainFirst {
		return 1
	}
	return 1 + (n-plainFirst+plainSegment-1)/plainSegment
}

// PlaintextSize is the length of the content of n bytes of ciphertext; an error
// when no content gives that length.
func PlaintextSize(n int64) (int64, error) {
	if n < headerSize+tagSize || n > maxSegments*segmentSize {
		return 0, fmt.Errorf("no content has a ciphertext of %d bytes", n)
	}
	count := (n + segmentSize - 1) / segmentSize
	plain := n - headerSize - tagSize*count
	if CiphertextSize(plain) != n {
		return 0, fmt.Errorf("no content has a ciphertext of %d bytes", n)
	}
	return plain, nil
}

// aead derives the key of the segments.
func aead(key [32]byte, salt, ad []byte) (cipher.AEAD, error) {
	k, err := hkdf.Key(sha256.New, key[:], salt, string(ad), 32)
	if err != nil {
		return nil, err
	}
	defer clear(k)
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// nonce is that of one segment.
type nonce [12]byte

func (n *nonce) set(segment int64, last bool) {
	binary.BigEndian.PutUint32(n[prefixSize:], uint32(segment))
	n[11] = 0
	if last {
		n[11] = 1
	}
}

// Writer enciphers what is written to it.
type Writer struct {
	dst     io.Writer
	aead    cipher.AEAD
	nonce   nonce
	segment int64
	plain   []byte // of the segment being filled
	cipher  []byte
	limit   int // length of the segment being filled
	err     error
}

var errClosed = errors.New("enciphering: writing after the end")

// NewWriter writes the header and gives a Writer, which must be closed: content
// without its last segment is never taken for whole. A key may serve one stream,
// or several with different associated data.
func NewWriter(dst io.Writer, key [32]byte, ad []byte) (*Writer, error) {
	header := make([]byte, headerSize)
	header[0] = headerSize
	rand.Read(header[1:]) // never fails: the program ends if the system has no randomness
	return newWriter(dst, key, ad, header)
}

func newWriter(dst io.Writer, key [32]byte, ad, header []byte) (*Writer, error) {
	a, err := aead(key, header[1:1+saltSize], ad)
	if err != nil {
		return nil, fmt.Errorf("enciphering: %w", err)
	}
	if err := writeAll(dst, header); err != nil {
		return nil, err
	}
	w := &Writer{dst: dst, aead: a, limit: plainFirst, plain: make([]byte, 0, plainSegment), cipher: make([]byte, 0, segmentSize)}
	copy(w.nonce[:], header[1+saltSize:])
	return w, nil
}

func writeAll(w io.Writer, p []byte) error {
	n, err := w.Write(p)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// Write implements io.Writer. An error of the writer below ends the stream.
func (w *Writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 && w.err == nil {
		// A full segment is written when more follows: only then it is not the last.
		k := min(len(p), w.limit-len(w.plain))
		switch {
		case k == 0:
			w.seal(w.plain, false)
			w.plain = w.plain[:0]
			continue
		case k == w.limit && len(p) > k: // a whole one, not worth keeping
			if w.seal(p[:k], false); w.err != nil {
				return n, w.err
			}
		default:
			w.plain = append(w.plain, p[:k]...)
		}
		p, n = p[k:], n+k
	}
	return n, w.err
}

func (w *Writer) seal(plain []byte, last bool) {
	if w.segment == maxSegments {
		w.err = errors.New("enciphering: content too long")
		return
	}
	w.nonce.set(w.segment, last)
	w.cipher = w.aead.Seal(w.cipher[:0], w.nonce[:], plain, nil)
	w.err = writeAll(w.dst, w.cipher)
	w.segment++
	w.limit = plainSegment
}

// Close writes the last segment. It does not close the writer below.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.seal(w.plain, true)
	clear(w.plain[:cap(w.plain)])
	if w.err != nil {
		return w.err
	}
	w.err = errClosed
	return nil
}
