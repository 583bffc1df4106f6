// Package pieces keeps content that comes piece by piece, enciphered, in one file that is never written
// again before its end: what was received stays, whatever crashes.
//
//	piece    1 byte: 'p'
//	         7 bytes, big-endian: length of its content; 0 while it is written, 2^56-1 while one is
//	         written that counts only whole
//	         a stream (see the package stream), whose associated data end with the number of the
//	         piece, 8 bytes big-endian
//
// Pieces follow each other without gaps. All but the last are durable: the next one is begun after that.
package pieces

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"

	"sae/archive/stream"
)

const (
	mark     = 'p'
	markSize = 8

	underWay  = 0
	onlyWhole = 1<<56 - 1

	// pieceSize bounds what is received between two syncs, and what is read again after a crash.
	pieceSize = 64 << 20

	// MaxPieces bounds the pieces of a content, and so what is kept of each in memory.
	MaxPieces = 1 << 20
)

// ErrTooMany: the content came in more pieces than are taken.
var ErrTooMany = fmt.Errorf("more than %d pieces", MaxPieces)

// File is where pieces lie.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
}

// piece is one of a content.
type piece struct {
	content int64 // where in the content it begins
	at      int64 // where its stream is in the file
	length  int64 // of its content
}

func (p piece) end() int64 { return p.at + stream.CiphertextSize(p.length) }

// Writer adds pieces. One at a time has a file.
type Writer struct {
	key    [32]byte
	ad     []byte
	length int64 // of the content, all of it durable
	end    int64 // of the file
	n      int   // pieces
}

// Open takes up what a file of size bytes has: what a crash left behind the last whole segment is cut
// off. When it returns nil what there is is durable.
func Open(f File, size int64, key [32]byte, ad []byte) (*Writer, error) {
	all, rest, err := scan(f, size)
	if err != nil {
		return nil, err
	}
	w := &Writer{key: key, ad: ad}
	if rest == nil && len(all) > 0 { // whether the last is whole was never made sure of
		rest, all = &all[len(all)-1], all[:len(all)-1]
	}
	if len(all) > 0 {
		last := all[len(all)-1]
		w.length, w.end, w.n = last.content+last.length, last.end(), len(all)
	}
	if rest != nil && rest.length != onlyWhole {
		length, plain, err := stream.Mend(section{f, rest.at}, size-rest.at, key, w.adOf(w.n))
		if err != nil {
			return nil, fmt.Errorf("mending the last piece: %w", err)
		}
		if plain > 0 {
			if err := writeMark(f, w.end, plain); err != nil {
				return nil, err
			}
			w.length, w.end, w.n = w.length+plain, rest.at+length, w.n+1
		}
	}
	if w.end != size {
		err = f.Truncate(w.end)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, fmt.Errorf("taking pieces up: %w", err)
	}
	return w, nil
}

// section is a file from a place on.
type section struct {
	f  File
	at int64
}

func (s section) ReadAt(p []byte, off int64) (int, error)  { return s.f.ReadAt(p, s.at+off) }
func (s section) WriteAt(p []byte, off int64) (int, error) { return s.f.WriteAt(p, s.at+off) }

// scan gives the pieces of a file, and rest when the last was not ended, or not all of it is there.
func scan(f io.ReaderAt, size int64) (all []piece, rest *piece, err error) {
	var head [markSize]byte
	content := int64(0)
	for at := int64(0); at < size; {
		p := piece{content: content, at: at + markSize, length: onlyWhole}
		if p.at >= size { // a torn mark
			return all, &p, nil
		}
		if _, err := f.ReadAt(head[:], at); err != nil && err != io.EOF {
			return nil, nil, fmt.Errorf("reading a piece: %w", err)
		}
		n := binary.BigEndian.Uint64(head[:])
		p.length = int64(n & onlyWhole)
		if n>>56 != mark || len(all) == MaxPieces {
			p.length = onlyWhole
			return all, &p, nil
		}
		if p.length == underWay || p.length == onlyWhole || p.length > size || p.end() > size {
			return all, &p, nil
		}
		all = append(all, p)
		content, at = content+p.length, p.end()
	}
	return all, nil, nil
}

func writeMark(f io.WriterAt, at, length int64) error {
	_, err := f.WriteAt(binary.BigEndian.AppendUint64(nil, mark<<56|uint64(length)), at)
	return err
}

func (w *Writer) adOf(n int) []byte { return adOf(w.ad, n) }

func adOf(ad []byte, n int) []byte { return binary.BigEndian.AppendUint64(slices.Clone(ad), uint64(n)) }

// Length is how much of the content is durable.
func (w *Writer) Length() int64 { return w.length }

// Append adds what r gives; its error is given as it is, and what came before it is kept. When check is
// not nil all of it is one piece, which counts only when check gives nil. What Append gives is durable.
func (w *Writer) Append(f File, r io.Reader, check func() error) (n int64, err error) {
	limit := int64(pieceSize)
	if check != nil {
		limit = onlyWhole - 1
	}
	for {
		k, more, err := w.piece(f, r, limit, check)
		if n += k; err != nil || !more {
			return n, err
		}
	}
}

// piece adds one. A crash before its sync leaves a beginning of it; an error of the file leaves nothing
// of it, as far as it can be cut off.
func (w *Writer) piece(f File, r io.Reader, limit int64, check func() error) (n int64, more bool, err error) {
	if w.n == MaxPieces {
		return 0, false, ErrTooMany
	}
	mark := int64(underWay)
	if check != nil {
		mark = onlyWhole
	}
	out := &appender{f: f, at: w.end + markSize}
	sealing, err := stream.NewWriter(out, w.key, w.adOf(w.n))
	if err == nil {
		err = writeMark(f, w.end, mark)
	}
	var came error
	if err == nil {
		n, came, err = copyTo(sealing, r, limit)
	}
	if err == nil && check != nil && came == nil {
		came = check()
	}
	if err == nil && (n == 0 || check != nil && came != nil) { // there is nothing to keep
		return 0, false, errors.Join(came, f.Truncate(w.end))
	}
	if err == nil {
		err = sealing.Close()
	}
	if err == nil {
		err = writeMark(f, w.end, n)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return 0, false, errors.Join(fmt.Errorf("keeping a piece: %w", err), f.Truncate(w.end))
	}
	w.length, w.end, w.n = w.length+n, out.at, w.n+1
	return n, n == limit, came
}

// copyTo copies at most limit bytes; came is the error of who gives them.
func copyTo(w io.Writer, r io.Reader, limit int64) (n int64, came, err error) {
	b := make([]byte, 256<<10)
	for n < limit {
		k, came := r.Read(b[:min(int64(len(b)), limit-n)])
		if _, err := w.Write(b[:k]); err != nil {
			return n, nil, err
		}
		n += int64(k)
		if came == io.EOF {
			return n, nil, nil
		}
		if came != nil {
			return n, came, nil
		}
	}
	return n, nil, nil
}

// appender writes to a file from a place on.
type appender struct {
	f  File
	at int64
}

func (a *appender) Write(p []byte) (int, error) {
	n, err := a.f.WriteAt(p, a.at)
	a.at += int64(n)
	return n, err
}

// Reader reads the content, also at random, by any number at a time.
type Reader struct {
	f    io.ReaderAt
	key  [32]byte
	ad   []byte
	all  []piece
	size int64

	mu     sync.Mutex
	pos    int64
	opened int // piece that is open
	open   *stream.Reader
}

// NewReader reads the pieces of a file of size bytes, all of which must be whole.
func NewReader(f io.ReaderAt, size int64, key [32]byte, ad []byte) (*Reader, error) {
	all, rest, err := scan(f, size)
	if err == nil && rest != nil {
		err = errors.New("the last piece is not whole")
	}
	if err != nil {
		return nil, err
	}
	r := &Reader{f: f, key: key, ad: ad, all: all}
	if len(all) > 0 {
		r.size = all[len(all)-1].content + all[len(all)-1].length
	}
	return r, nil
}

// Size is the length of the content.
func (r *Reader) Size() int64 { return r.size }

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
			return n, io.EOF
		}
		i := sort.Search(len(r.all), func(i int) bool { return off < r.all[i].content+r.all[i].length })
		if err := r.load(i); err != nil {
			return n, err
		}
		k, err := r.open.ReadAt(p[n:], off-r.all[i].content)
		n, off = n+k, off+int64(k)
		if err != nil && (err != io.EOF || k == 0) {
			return n, err
		}
	}
	return n, nil
}

// load opens a piece.
func (r *Reader) load(i int) (err error) {
	if r.open != nil && r.opened == i {
		return nil
	}
	size := stream.CiphertextSize(r.all[i].length)
	source := stream.Source{Name: fmt.Sprintf("piece %d", i), ReaderAt: io.NewSectionReader(r.f, r.all[i].at, size), Size: size}
	r.open, err = stream.NewReader(r.key, adOf(r.ad, i), source)
	r.opened = i
	return err
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
