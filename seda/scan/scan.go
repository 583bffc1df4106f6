// Package scan reads XML 1.0 with namespaces, strictly and fast, in constant memory.
//
// It is for documents from strangers. What is not well-formed (XML 1.0 fifth edition;
// Namespaces in XML 1.0 third edition) is refused with its line and column; a DTD is
// refused always, and with it every entity but the five of XML. Depth, attributes,
// names and values are bounded by Limits. Text comes in pieces, so that an element of
// any length needs no memory.
package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Kind is the kind of a token.
type Kind uint8

// The kinds. An empty-element tag is a Start and an End. Comments and processing
// instructions are checked and passed over.
const (
	Start Kind = iota + 1
	End
	Text
)

// NameID stands for an expanded name within one Scanner. Equal names have equal
// NameIDs.
type NameID int32

// Name is an expanded name.
type Name struct{ Space, Local string }

// Attr is an attribute. Value is normalised (XML 1.0 section 3.3.3, as CDATA) and
// valid until the next call of Next.
type Attr struct {
	Name  NameID
	Raw   []byte // its name as written
	Value []byte
}

// Declaration is a namespace declaration; Prefix is empty for the default namespace.
type Declaration struct{ Prefix, Space string }

// Limits bound what a document may ask for.
type Limits struct {
	Depth int // of elements
	Attrs int // of one element, namespace declarations included
	Tag   int // bytes of one tag
	Names int // different names in a document
}

// DefaultLimits are far above what real documents need.
var DefaultLimits = Limits{Depth: 1024, Attrs: 256, Tag: 4 << 20, Names: 100_000}

// SyntaxError says where and why a document cannot be read.
type SyntaxError struct {
	Line, Column int
	Why          string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Why)
}

// errShort asks for more input; it never leaves the package.
var errShort = errors.New("short")

// Scanner reads one document. Make one with New.
type Scanner struct {
	r      io.Reader
	limits Limits
	buf    []byte // input not yet consumed is buf[pos:]
	pos    int
	eof    bool
	ioErr  error

	// line is the line of buf[counted], lineStart the offset in buf of its first
	// byte, negative when that has left the buffer.
	line, counted, lineStart int
	base                     int64 // offset in the input of buf[0]

	names   names
	stack   []element
	started bool // the root was seen
	selfEnd bool // an End is due for an empty-element tag

	name    NameID
	rawName []byte
	attrs   []Attr
	text    []byte
	scratch []byte
	raws    []rawAttr
	tokenAt int // offset in buf of the token
}

type element struct {
	name   NameID
	rawEnd int  // end of its name as written in rawNames
	scope  bool // it declared namespaces
}

// New reads r. The encoding is found as in XML 1.0 appendix F: UTF-8, or what a byte
// order mark or the XML declaration says.
func New(r io.Reader, l Limits) *Scanner {
	s := &Scanner{limits: l, line: 1, buf: make([]byte, 0, 128<<10)}
	s.names.init()
	s.r, s.ioErr = decoded(r)
	return s
}

// Line is the line, from 1, on which the last token begins.
func (s *Scanner) Line() int { return s.lineAt(s.tokenAt) }

// Offset is the number of bytes of input, in UTF-8, before the last token.
func (s *Scanner) Offset() int64 { return s.base + int64(s.tokenAt) }

// Name is the name of the element that the last token, a Start or an End, is of.
func (s *Scanner) Name() NameID { return s.name }

// Attrs are the attributes of the last Start, without namespace declarations; valid
// until the next call of Next.
func (s *Scanner) Attrs() []Attr { return s.attrs }

// RawName is the name of the element that the last token, a Start or an End, is of, as
// written; valid until the next call of Next.
func (s *Scanner) RawName() []byte { return s.rawName }

// Declarations are the namespace declarations of the last Start.
func (s *Scanner) Declarations() []Declaration {
	if n := len(s.stack); n == 0 || !s.stack[n-1].scope {
		return nil
	}
	return s.names.scopes[len(s.names.scopes)-1].bindings
}

// Text is the last Text: a piece of the character data of an element, references
// replaced and line ends normalised; valid until the next call of Next.
func (s *Scanner) Text() []byte { return s.text }

// Depth is the number of elements that are open; a Start counts itself, an End no more.
func (s *Scanner) Depth() int { return len(s.stack) }

// Expanded gives the name that id stands for.
func (s *Scanner) Expanded(id NameID) Name { return s.names.list[id] }

// Lookup gives the namespace that a prefix stands for here, "" being the default.
func (s *Scanner) Lookup(prefix string) (space string, ok bool) { return s.names.lookup(prefix) }

// Next reads the next token. At the end of the document it gives io.EOF; its other
// errors are a *SyntaxError, or of reading.
func (s *Scanner) Next() (Kind, error) {
	if s.selfEnd {
		s.selfEnd = false
		return End, s.pop()
	}
	for {
		k, err := s.token()
		switch {
		case err == errShort:
			if err := s.fill(); err != nil {
				return 0, err
			}
		case err != nil || k != 0:
			return k, err
		}
	}
}

// token reads one token that lies in the buffer; 0 for what is passed over.
func (s *Scanner) token() (Kind, error) {
	s.tokenAt = s.pos
	rest := s.buf[s.pos:]
	if len(rest) == 0 {
		if !s.eof {
			return 0, errShort
		}
		return 0, s.atEnd()
	}
	if rest[0] != '<' {
		return s.characters(rest)
	}
	if len(rest) < 2 {
		return 0, s.short("the document ends inside a tag")
	}
	switch rest[1] {
	case '/':
		return s.endTag(rest)
	case '!':
		return s.bang(rest)
	case '?':
		return 0, s.instruction(rest)
	}
	return s.startTag(rest)
}

func (s *Scanner) atEnd() error {
	switch {
	case len(s.stack) > 0:
		return s.errorf(s.pos, "the document ends inside element %s", s.Expanded(s.stack[len(s.stack)-1].name).Local)
	case !s.started:
		return s.errorf(s.pos, "there is no XML element")
	}
	return io.EOF
}

// short is for a token that goes beyond the buffer.
func (s *Scanner) short(atEOF string) error {
	if s.eof {
		return s.errorf(s.tokenAt, "%s", atEOF)
	}
	return errShort
}

// fill reads more input behind what is not yet consumed.
func (s *Scanner) fill() error {
	if s.ioErr != nil {
		return s.ioErr
	}
	s.drop()
	if len(s.buf) == cap(s.buf) {
		if cap(s.buf) >= s.limits.Tag {
			return s.errorf(0, "a tag, comment or instruction of more than %d bytes", s.limits.Tag)
		}
		s.buf = append(make([]byte, 0, min(2*cap(s.buf), s.limits.Tag)), s.buf...)
	}
	n, err := io.ReadFull(s.r, s.buf[len(s.buf):cap(s.buf)]) // a tag is scanned again for each fill
	s.buf = s.buf[:len(s.buf)+n]
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		s.eof = true
	case err != nil:
		return s.readError(err)
	}
	return nil
}

func (s *Scanner) readError(err error) error {
	var e *encodingError
	if errors.As(err, &e) {
		return s.errorf(s.pos, "%v", err)
	}
	return fmt.Errorf("reading XML: %w", err)
}

// drop forgets what is consumed.
func (s *Scanner) drop() {
	s.lineAt(s.pos)
	n := s.pos
	s.base += int64(n)
	s.buf = s.buf[:copy(s.buf, s.buf[n:])]
	s.pos, s.counted, s.lineStart, s.tokenAt = 0, s.counted-n, s.lineStart-n, 0
}

// lineAt counts lines up to an offset in the buffer, not before where it counted last.
func (s *Scanner) lineAt(at int) int {
	if at > s.counted {
		p := s.buf[s.counted:at]
		if n := bytes.Count(p, newline); n > 0 {
			s.line += n
			s.lineStart = s.counted + bytes.LastIndexByte(p, '\n') + 1
		}
		s.counted = at
	}
	return s.line
}

var newline = []byte{'\n'}

func (s *Scanner) errorf(at int, format string, args ...any) error {
	line := s.lineAt(at)
	return &SyntaxError{line, 1 + max(0, at-s.lineStart), fmt.Sprintf(format, args...)}
}

// endTag reads "</name S? >".
func (s *Scanner) endTag(rest []byte) (Kind, error) {
	n := bytes.IndexByte(rest, '>')
	if n < 0 {
		return 0, s.short("the document ends inside an end tag")
	}
	raw := rest[2:n]
	for len(raw) > 0 && isSpace(raw[len(raw)-1]) {
		raw = raw[:len(raw)-1]
	}
	if len(s.stack) == 0 {
		return 0, s.errorf(s.pos, "end tag %q without a start tag", clip(raw))
	}
	if open := s.names.open(s.stack); string(open) != string(raw) {
		return 0, s.errorf(s.pos, "end tag %q where %q is open", clip(raw), clip(open))
	}
	s.pos += n + 1
	return End, s.pop()
}

func (s *Scanner) pop() error {
	top := s.stack[len(s.stack)-1]
	s.name, s.rawName = top.name, s.names.open(s.stack)
	s.stack = s.stack[:len(s.stack)-1]
	s.names.close(s.stack, top.scope)
	return nil
}

// bang reads what begins with "<!": a comment, a CDATA section, or what is refused.
func (s *Scanner) bang(rest []byte) (Kind, error) {
	const cdata = "<![CDATA["
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		return 0, s.comment(rest)
	case bytes.HasPrefix(rest, []byte(cdata)):
		return s.cdata(rest, len(cdata))
	case len(rest) < len(cdata) && !s.eof:
		return 0, errShort
	case bytes.HasPrefix(rest, []byte("<!DOCTYPE")):
		return 0, s.errorf(s.pos, "a document type declaration: it is refused, since it can define entities")
	}
	return 0, s.errorf(s.pos, "%q is no markup", clip(rest))
}

func (s *Scanner) comment(rest []byte) error {
	n := bytes.Index(rest[4:], []byte("--"))
	if n < 0 || len(rest) < n+7 {
		return s.short("the document ends inside a comment")
	}
	if rest[n+6] != '>' {
		return s.errorf(s.pos, "-- inside a comment")
	}
	if err := s.checkChars(rest[4 : n+4]); err != nil {
		return err
	}
	s.pos += n + 7
	return nil
}

func (s *Scanner) cdata(rest []byte, from int) (Kind, error) {
	n := bytes.Index(rest[from:], []byte("]]>"))
	if n < 0 {
		return 0, s.short("the document ends inside a CDATA section")
	}
	if len(s.stack) == 0 {
		return 0, s.errorf(s.pos, "a CDATA section outside the root element")
	}
	raw := rest[from : from+n]
	if err := s.checkChars(raw); err != nil {
		return 0, err
	}
	s.text = raw
	if bytes.IndexByte(raw, '\r') >= 0 {
		s.scratch = appendLines(s.scratch[:0], raw)
		s.text = s.scratch
	}
	s.pos += from + n + 3
	return Text, nil
}

// appendLines appends p with its line ends normalised (XML 1.0 section 2.11).
func appendLines(dst, p []byte) []byte {
	for i, b := range p {
		switch {
		case b != '\r':
			dst = append(dst, b)
		case i+1 == len(p) || p[i+1] != '\n':
			dst = append(dst, '\n')
		}
	}
	return dst
}

// instruction reads "<?target ...?>".
func (s *Scanner) instruction(rest []byte) error {
	n := bytes.Index(rest[2:], []byte("?>"))
	if n < 0 {
		return s.short("the document ends inside a processing instruction")
	}
	body := rest[2 : 2+n]
	target := body[:nameLen(body)]
	switch {
	case len(target) == 0 || bytes.IndexByte(target, ':') >= 0:
		return s.errorf(s.pos, "a processing instruction without a name")
	case len(target) < len(body) && !isSpace(body[len(target)]):
		return s.errorf(s.pos, "processing instruction %q: no space behind its name", clip(target))
	case bytes.EqualFold(target, []byte("xml")):
		if s.base+int64(s.pos) != 0 || string(target) != "xml" {
			return s.errorf(s.pos, "an XML declaration that is not the first thing in the document")
		}
		if err := checkDeclaration(body[3:]); err != nil {
			return s.errorf(s.pos, "%v", err)
		}
	}
	if err := s.checkChars(body); err != nil {
		return err
	}
	s.pos += n + 4
	return nil
}

// checkChars refuses what is no character of XML (XML 1.0 section 2.2).
func (s *Scanner) checkChars(p []byte) error {
	for i := 0; i < len(p); {
		if p[i] < utf8.RuneSelf {
			if class[p[i]]&badChar != 0 {
				return s.errorf(s.tokenAt, "character U+%04X is not allowed in XML", p[i])
			}
			i++
			continue
		}
		n, err := s.multibyte(p[i:])
		if err != nil {
			return err
		}
		i += n
	}
	return nil
}

// multibyte checks the character of several bytes that p begins with.
func (s *Scanner) multibyte(p []byte) (int, error) {
	r, n := utf8.DecodeRune(p)
	switch {
	case r == utf8.RuneError && n == 1:
		return 0, s.errorf(s.tokenAt, "byte 0x%02X: this is not UTF-8", p[0])
	case r == 0xFFFE || r == 0xFFFF:
		return 0, s.errorf(s.tokenAt, "character U+%04X is not allowed in XML", r)
	}
	return n, nil
}

func clip(p []byte) []byte { return p[:min(len(p), 60)] }
