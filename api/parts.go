package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"sync"

	"sae/archive"
)

// parts are the parts of a multipart body, in the order in which they come. They are read once, into the
// archive, which enciphers them: nothing of them is written to disk in clear. A part of up to smallPart
// is read whole, so that the next one can be read while it is enciphered; of larger ones one is under
// way at a time.
type parts struct {
	body io.Reader // what the multipart reader Reads
	r    *multipart.Reader
	want []file

	mu     sync.Mutex
	turn   sync.Cond
	next   int // the part whose turn it is
	failed error
}

// file is a part that the metadata names.
type file struct {
	part string // name
	c    *archive.Content
}

const smallPart = 1 << 20

// recordSize is how much a record of TLS holds: more does not come at once.
const recordSize = 16 << 10

// openParts reads the head of a body.
func openParts(contentType, contentDigest string, body io.Reader) (*parts, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(media, "multipart/") || params["boundary"] == "" {
		return nil, fmt.Errorf("want multipart/form-data with a boundary: %w", errMediaType)
	}
	d, err := parseDigests(contentDigest)
	if err != nil {
		return nil, err
	}
	p := &parts{body: bufio.NewReaderSize(d.check(body), recordSize)} // the multipart reader asks for little at a time
	p.turn.L = &p.mu
	p.r = multipart.NewReader(p.body, params["boundary"])
	return p, nil
}

// metadata reads the first part, which must have this name.
func (p *parts) metadata(name string, most int64) ([]byte, error) {
	part, err := p.part(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(part, most+1))
	if err != nil {
		return nil, broken(err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("part %q has more than %d bytes: %w", name, most, errMalformed)
	}
	return b, nil
}

// part gives the next part, which must have this name.
func (p *parts) part(name string) (*multipart.Part, error) {
	part, err := p.r.NextRawPart()
	switch {
	case err == io.EOF:
		return nil, fmt.Errorf("part %q is missing: %w", name, errMalformed)
	case err != nil:
		return nil, broken(err)
	case part.FormName() != name:
		return nil, fmt.Errorf("part %q comes where %q is expected: the metadata first, then the files in the order of the units: %w", part.FormName(), name, errMalformed)
	}
	if e := part.Header.Get("Content-Transfer-Encoding"); e != "" && !strings.EqualFold(e, "binary") && !strings.EqualFold(e, "8bit") && !strings.EqualFold(e, "7bit") {
		return nil, fmt.Errorf("part %q: its bytes are to come as they are, not as %s: %w", name, e, errMalformed)
	}
	return part, nil
}

// broken says that a body could not be read, unless its reader says what is wrong.
func broken(err error) error {
	for _, known := range []error{errDigest, errIncomplete} {
		if errors.Is(err, known) {
			return err
		}
	}
	if as[interface {
		error
		Timeout() bool
	}](err) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", errIncomplete, err)
	}
	if kindOf(err).code == "too-large" {
		return err
	}
	return fmt.Errorf("reading the parts: %w: %w", errMalformed, err)
}

// add names a file that comes behind those added before.
func (p *parts) add(part string, c *archive.Content) {
	i := len(p.want)
	p.want = append(p.want, file{part, c})
	c.Open = func() (io.ReadCloser, error) { return p.open(i) }
}

// open gives part i when those before it were read.
func (p *parts) open(i int) (r io.ReadCloser, err error) {
	p.mu.Lock()
	for p.next != i && p.failed == nil {
		p.turn.Wait()
	}
	err = p.failed
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	r, err = p.begin(i)
	if err != nil {
		p.pass(err)
	}
	return r, err
}

// pass lets the next part come, or none any more.
func (p *parts) pass(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	if p.failed == nil {
		p.failed = err
	}
	p.turn.Broadcast()
}

// begin reads the head of part i, and the whole of one that is small.
func (p *parts) begin(i int) (io.ReadCloser, error) {
	f := p.want[i]
	part, err := p.part(f.part)
	if err != nil {
		return nil, err
	}
	d, err := bothDigests(part.Header.Get("Content-Digest"), part.Header.Get("Repr-Digest"))
	if err != nil {
		return nil, fmt.Errorf("part %q: %w", f.part, err)
	}
	if d.sha256 != nil { // the archive holds it against what it Reads
		if declared := hex.EncodeToString(d.sha256); f.c.SHA256 != "" && !strings.EqualFold(f.c.SHA256, declared) {
			return nil, fmt.Errorf("part %q: metadata and part declare different digests: %w", f.part, errDigest)
		}
		f.c.SHA256 = hex.EncodeToString(d.sha256)
	}
	d.sha256 = nil
	in := d.check(part)
	head := make([]byte, 0, 16<<10)
	for len(head) <= smallPart {
		if len(head) == cap(head) {
			head = append(make([]byte, 0, min(4*cap(head), smallPart+1)), head...)
		}
		n, err := in.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		if err == io.EOF {
			return p.whole(i, head)
		}
		if err != nil {
			return nil, broken(err)
		}
	}
	return &opened{p: p, i: i, r: io.MultiReader(bytes.NewReader(head), in)}, nil
}

// whole is a small part, read to its end.
func (p *parts) whole(i int, b []byte) (io.ReadCloser, error) {
	if err := p.ended(i); err != nil {
		return nil, err
	}
	if c := p.want[i].c; c.Size < 0 {
		c.Size = int64(len(b)) // so that the archive takes no more memory than that
	}
	p.pass(nil)
	return io.NopCloser(bytes.NewReader(b)), nil
}

// ended holds the end of the body against what was declared of it, behind the last part.
func (p *parts) ended(i int) error {
	if i < len(p.want)-1 {
		return nil
	}
	if part, err := p.r.NextRawPart(); err == nil {
		return fmt.Errorf("part %q comes behind the last that the metadata names: %w", part.FormName(), errMalformed)
	} else if err != io.EOF {
		return broken(err)
	}
	if _, err := io.Copy(io.Discard, p.body); err != nil {
		return broken(err)
	}
	return nil
}

// opened is a large part. Closed before its end, it lets no other come.
type opened struct {
	p      *parts
	i      int
	r      io.Reader
	atEnd  bool
	closed bool
}

func (o *opened) Read(b []byte) (int, error) {
	n, err := o.r.Read(b)
	if err == io.EOF {
		o.atEnd = true
	} else if err != nil {
		err = broken(err)
	}
	return n, err
}

func (o *opened) Close() error {
	if o.closed {
		return nil
	}
	o.closed = true
	err := errors.New("a part was not read to its end")
	if o.atEnd {
		err = o.p.ended(o.i)
	}
	o.p.pass(err)
	if !o.atEnd {
		return nil // why is known to who closed it
	}
	return err
}

// each reads all parts without archiving them, and gives the SHA-256 of each.
func (p *parts) each(f func(sum []byte)) error {
	if len(p.want) == 0 {
		return p.ended(0)
	}
	for i := range p.want {
		r, err := p.open(i)
		if err != nil {
			return err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
		f(sum.Sum(nil))
	}
	return nil
}
