package archive

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/richardlehane/siegfried/pkg/pronom"
	"github.com/richardlehane/siegfried/pkg/static"
)

// signatures are PRONOM's, read only; they take 20 ms to load, at the first use.
var signatures = sync.OnceValue(static.New)

// identifyBudget bounds the bytes read from one object to name its format: a
// format whose mark lies further in is reported as unknown. Constant work, and
// random access for container formats (zip, OLE2).
const identifyBudget = 4 << 20

// identify names the format of content after PRONOM. The name of the file helps only where the
// bytes do not tell. An identification that fails is an unknown format, never a
// failed deposit.
func identify(content io.ReaderAt, size int64, filename string) Format {
	results, err := signatures().Identify(&window{content: content, size: size}, extensionOnly(filename), "")
	if len(results) == 0 {
		return Format{Warning: reason(err)}
	}
	r, ok := results[0].(pronom.Identification)
	if !ok || !results[0].Known() {
		return Format{Warning: reason(err)}
	}
	return describeFormat(r)
}

// Identify gives the PRONOM identifier of content, "" when its format is unknown.
func Identify(content io.ReaderAt, size int64, filename string) string {
	return identify(content, size, filename).PUID
}

func reason(err error) string {
	if err != nil && !errors.Is(err, io.EOF) {
		return "not identified: " + err.Error()
	}
	return "not identified"
}

// describeFormat takes what is needed from siegfried's result.
func describeFormat(r pronom.Identification) Format {
	f := Format{PUID: r.ID, Name: r.Name, Version: r.Version, MIME: r.MIME, Warning: r.Warning}
	f.Basis = strings.Join(r.Basis, "; ")
	return f
}

// extensionOnly keeps the name of the file, which is personal data, from showing
// up in the basis of an identification.
func extensionOnly(filename string) string {
	ext := filepath.Ext(filename)
	if ext == "" || len(ext) > 12 || strings.ContainsAny(ext, " /\\") {
		return ""
	}
	return "file" + ext
}

// window is the random-access source that siegfried reads, up to its budget.
type window struct {
	content io.ReaderAt
	size    int64
	read    atomic.Int64 // bytes given so far; matchers read at the same time
	pos     int64
}

func (w *window) IsSlicer() bool { return true }
func (w *window) Size() int64    { return w.size }

// Slice gives up to l bytes at off; fewer, with io.EOF, at the end.
func (w *window) Slice(off int64, l int) ([]byte, error) {
	if off < 0 || off >= w.size || w.read.Load() >= identifyBudget {
		return nil, io.EOF
	}
	n := min(int64(l), w.size-off)
	w.read.Add(n)
	b := make([]byte, n)
	if _, err := w.content.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n < int64(l) {
		return b, io.EOF
	}
	return b, nil
}

// EofSlice gives up to l bytes that end off bytes before the end.
func (w *window) EofSlice(off int64, l int) ([]byte, error) {
	end := w.size - off
	if end <= 0 {
		return nil, io.EOF
	}
	start := max(0, end-int64(l))
	b, err := w.Slice(start, int(end-start))
	if err == nil && start == 0 {
		err = io.EOF
	}
	return b, err
}

// Read makes window an io.Reader, as siegfried's signature asks; it reads through
// Slice.
func (w *window) Read(p []byte) (int, error) {
	b, err := w.Slice(w.pos, len(p))
	w.pos += int64(len(b))
	return copy(p, b), err
}
