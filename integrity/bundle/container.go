package bundle

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"
)

// Bounds of a container.
const (
	maxMembers = 100_000
	maxSmall   = 16 << 20 // any member but a document and SHA256SUMS
	maxHeader  = centralSize + maxName + 28
)

// ContainerError says that a file is not a container this package would write:
// nothing in it was believed.
type ContainerError struct {
	Member string // "" for the whole
	Why    string
}

func (e *ContainerError) Error() string {
	if e.Member == "" {
		return "not a proof bundle: " + e.Why
	}
	return fmt.Sprintf("not a proof bundle: member %q: %s", e.Member, e.Why)
}

// checkSize refuses a member that a verifier would not read.
func checkSize(name string, size int64) error {
	if size > maxSmall && !strings.HasPrefix(name, "documents/") && name != sumsName {
		return fmt.Errorf("%d bytes, more than %d", size, maxSmall)
	}
	return nil
}

const sumsName = "SHA256SUMS"

// container writes stored members one after the other, with their checksums in
// the local headers, so that the simplest reader reads it.
type container struct {
	w       *bufio.Writer
	when    stamp
	written int64
	members []*header
	sums    []byte // SHA256SUMS
	buf     []byte // for copying
}

func newContainer(w io.Writer, when time.Time) *container {
	return &container{w: bufio.NewWriter(w), when: stampOf(when), buf: make([]byte, 128<<10)}
}

// add writes a member from content that can be opened twice, and gives its SHA-256.
func (c *container) add(name string, size int64, open func() (io.ReadCloser, error)) ([]byte, error) {
	if err := errors.Join(checkName(name), checkSize(name, size)); err != nil {
		return nil, fmt.Errorf("writing %q: %w", name, err)
	}
	crc, sum := crc32.NewIEEE(), sha256.New()
	if err := c.copy(io.MultiWriter(crc, sum), size, open); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	h := &header{name: name, size: size, at: c.written, crc: crc.Sum32(), when: c.when}
	err := c.write(h.local())
	if err == nil {
		again := crc32.NewIEEE()
		if err = c.copy(io.MultiWriter(c.w, again), size, open); err == nil && again.Sum32() != h.crc {
			err = errors.New("it changed between two readings")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	c.written += size
	c.members = append(c.members, h)
	digest := sum.Sum(nil)
	c.sums = appendSum(c.sums, digest, name)
	return digest, nil
}

// appendSum appends a line of SHA256SUMS.
func appendSum(list, digest []byte, name string) []byte {
	list = append(hex.AppendEncode(list, digest), "  "...)
	return append(append(list, name...), '\n')
}

func (c *container) copy(w io.Writer, size int64, open func() (io.ReadCloser, error)) error {
	r, err := open()
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, c.buf)
	if err = errors.Join(err, r.Close()); err == nil && n != size {
		err = fmt.Errorf("%d bytes instead of %d", n, size)
	}
	return err
}

func (c *container) write(b []byte) error {
	n, err := c.w.Write(b)
	c.written += int64(n)
	return err
}

func (c *container) addBytes(name string, b []byte) error {
	_, err := c.add(name, int64(len(b)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
	return err
}

// close writes SHA256SUMS and the directory.
func (c *container) close() error {
	if err := c.addBytes(sumsName, bytes.Clone(c.sums)); err != nil {
		return err
	}
	if len(c.members) > maxMembers {
		return fmt.Errorf("%d members, more than %d", len(c.members), maxMembers)
	}
	var dir []byte
	for _, h := range c.members {
		dir = append(dir, h.central()...)
	}
	if err := c.write(append(dir, end{int64(len(c.members)), c.written, int64(len(dir))}.bytes()...)); err != nil {
		return err
	}
	return c.w.Flush()
}

// opened is a container whose form was found to be that which container writes.
type opened struct {
	r       io.ReaderAt
	members map[string]*header
	order   []string
	when    stamp // of every member
	buf     []byte
}

// openContainer reads the directory of a zip and refuses all that could be read
// in two ways. Its memory is bounded by maxMembers, whatever the file says.
func openContainer(r io.ReaderAt, size int64) (*opened, error) {
	dir, start, err := readDirectory(r, size)
	if err != nil {
		return nil, err
	}
	c := &opened{r: r, members: map[string]*header{}}
	var largest int64
	folded := map[string]bool{} // some file systems do not tell case apart
	var behind int64
	for len(dir) > 0 {
		var h *header
		if h, dir, err = parseHeader(dir); err == nil {
			err = c.check(h, behind)
		}
		if err == nil && folded[strings.ToLower(h.name)] {
			err = errors.New("there twice")
		}
		if err != nil {
			return nil, &ContainerError{nameOf(h), err.Error()}
		}
		folded[strings.ToLower(h.name)] = true
		c.members[h.name] = h
		c.order = append(c.order, h.name)
		c.when = h.when
		largest = max(largest, h.size)
		behind = h.at + int64(len(h.local())) + h.size
	}
	if behind != start {
		return nil, &ContainerError{Why: "bytes before its directory"}
	}
	c.buf = make([]byte, min(largest+1, 128<<10))
	return c, nil
}

func nameOf(h *header) string {
	if h == nil {
		return ""
	}
	return h.name
}

// readDirectory gives the directory's bytes and where it starts.
func readDirectory(r io.ReaderAt, size int64) ([]byte, int64, error) {
	tail, err := readAt(r, max(0, size-endSize-end64Size), min(size, endSize+end64Size))
	if err != nil {
		return nil, 0, err
	}
	e, err := parseEnd(tail, size)
	if err != nil {
		return nil, 0, &ContainerError{Why: err.Error()}
	}
	if e.members < 2 || e.members > maxMembers || e.size > e.members*maxHeader || e.size < e.members*centralSize {
		return nil, 0, &ContainerError{Why: fmt.Sprintf("%d members in a directory of %d bytes (2 to %d members are read)", e.members, e.size, maxMembers)}
	}
	dir, err := readAt(r, e.start, e.size)
	if err != nil {
		return nil, 0, err
	}
	if n := countHeaders(dir); n != e.members {
		return nil, 0, &ContainerError{Why: fmt.Sprintf("its directory does not hold %d members", e.members)}
	}
	return dir, e.start, nil
}

// countHeaders follows the lengths in a directory; -1 when they do not end with it.
func countHeaders(dir []byte) (n int64) {
	for ; len(dir) > 0; n++ {
		if len(dir) < centralSize {
			return -1
		}
		size := centralSize + int(le.Uint16(dir[28:])) + int(le.Uint16(dir[30:])) + int(le.Uint16(dir[32:]))
		if len(dir) < size {
			return -1
		}
		dir = dir[size:]
	}
	return n
}

// readAt reads exactly n bytes.
func readAt(r io.ReaderAt, at, n int64) ([]byte, error) {
	b := make([]byte, n)
	if got, err := r.ReadAt(b, at); got < len(b) {
		return nil, fmt.Errorf("reading bundle: %w", err)
	}
	return b, nil
}

// check holds a member's name, place and local header against the directory.
func (c *opened) check(h *header, behind int64) error {
	if err := errors.Join(checkName(h.name), checkSize(h.name, h.size)); err != nil {
		return err
	}
	if h.at != behind {
		return errors.New("not right behind the member before it: bytes lie between, or they overlap")
	}
	if len(c.order) == 0 && h.name != "mimetype" {
		return errors.New("the first member is not mimetype")
	}
	if len(c.order) > 0 && h.when != c.when {
		return errors.New("of another time than the others")
	}
	want := h.local()
	have, err := readAt(c.r, h.at, int64(len(want)))
	if err == nil && !bytes.Equal(have, want) {
		err = errors.New("its local header does not say what the directory says")
	}
	return err
}

// open reads the content of a member that is there.
func (c *opened) open(h *header) io.Reader {
	return io.NewSectionReader(c.r, h.at+int64(len(h.local())), h.size)
}

// copy copies a member's content whole.
func (c *opened) copy(w io.Writer, name string) error {
	h := c.members[name]
	if h == nil {
		return &ContainerError{name, "missing"}
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{c.open(h)}, c.buf)
	if err == nil && n != h.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("reading member %s: %w", name, err)
	}
	return nil
}

// small reads a member whole. Its checksum is left to sum.
func (c *opened) small(name string) ([]byte, error) {
	h := c.members[name]
	if h == nil {
		return nil, &ContainerError{name, "missing"}
	}
	if h.size > maxSmall {
		return nil, &ContainerError{name, fmt.Sprintf("%d bytes, more than %d", h.size, maxSmall)}
	}
	b := make([]byte, h.size)
	if _, err := io.ReadFull(c.open(h), b); err != nil {
		return nil, fmt.Errorf("reading member %s: %w", name, err)
	}
	return b, nil
}

// sum is the SHA-256 of a member, whose checksum must be right.
func (c *opened) sum(name string) (sum [sha256.Size]byte, err error) {
	crc, h := crc32.NewIEEE(), sha256.New()
	if err := c.copy(io.MultiWriter(crc, h), name); err != nil {
		return sum, err
	}
	if crc.Sum32() != c.members[name].crc {
		return sum, &ContainerError{name, "its content does not have the checksum in its headers"}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
