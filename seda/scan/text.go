package scan

import (
	"bytes"
	"unicode/utf8"
)

// Classes of ASCII characters.
const (
	spaceChar = 1 << iota // S, section 2.3
	badChar               // not a Char, section 2.2
	nameStart             // NameStartChar but ":", section 2.3
	namePart              // NameChar but ":"
	textStop              // ends the fast loop over character data
	valueStop             // ends the fast loop over an attribute value
)

// class gives the classes of every byte; bytes of longer characters only stop loops.
var class = func() (t [256]uint8) {
	for b := range 256 {
		switch {
		case b == ' ':
			t[b] |= spaceChar
		case b == '\t' || b == '\n' || b == '\r':
			t[b] |= spaceChar | valueStop
		case b < ' ':
			t[b] |= badChar | textStop | valueStop
		case b >= 0x80:
			t[b] |= textStop | valueStop
		case b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_':
			t[b] |= nameStart | namePart
		case b >= '0' && b <= '9' || b == '-' || b == '.':
			t[b] |= namePart
		}
	}
	for _, b := range "<&]\r" {
		t[b] |= textStop
	}
	for _, b := range "<&\"'" {
		t[b] |= valueStop
	}
	return t
}()

func isSpace(b byte) bool { return class[b]&spaceChar != 0 }

// characters reads character data: up to a tag, a reference, or the end of the buffer.
func (s *Scanner) characters(rest []byte) (Kind, error) {
	if rest[0] == '&' {
		return s.reference(rest)
	}
	n, cr, err := s.plain(rest)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errShort
	}
	s.text = rest[:n]
	if cr {
		s.scratch = appendLines(s.scratch[:0], rest[:n])
		s.text = s.scratch
	}
	if len(s.stack) == 0 {
		for _, b := range s.text {
			if !isSpace(b) {
				return 0, s.errorf(s.pos, "text outside the root element")
			}
		}
		s.pos += n
		return 0, nil
	}
	s.pos += n
	return Text, nil
}

// plain gives the length of the character data that p begins with and that can be
// judged without what follows p.
func (s *Scanner) plain(p []byte) (n int, cr bool, err error) {
	for n < len(p) {
		b := p[n]
		if class[b]&textStop == 0 {
			n++
			continue
		}
		switch {
		case b == '<' || b == '&':
			return n, cr, nil
		case b == '\r':
			if n+1 == len(p) && !s.eof {
				return n, cr, nil // a line feed may follow
			}
			cr = true
			n++
		case b == ']':
			if len(p)-n < 3 && !s.eof {
				return n, cr, nil
			}
			if bytes.HasPrefix(p[n:], []byte("]]>")) {
				return 0, false, s.errorf(s.pos+n, "]]> in text")
			}
			n++
		case b >= utf8.RuneSelf:
			if !utf8.FullRune(p[n:]) && !s.eof {
				return n, cr, nil
			}
			k, err := s.multibyte(p[n:])
			if err != nil {
				return 0, false, err
			}
			n += k
		default:
			return 0, false, s.errorf(s.pos+n, "character U+%04X is not allowed in XML", b)
		}
	}
	return n, cr, nil
}

// maxReference is more than the longest reference needs.
const maxReference = 16

// reference reads "&...;" as a piece of text of its own.
func (s *Scanner) reference(rest []byte) (Kind, error) {
	if len(s.stack) == 0 {
		return 0, s.errorf(s.pos, "text outside the root element")
	}
	n := bytes.IndexByte(rest[:min(len(rest), maxReference)], ';')
	if n < 0 && len(rest) < maxReference && !s.eof {
		return 0, errShort
	}
	if n < 0 {
		return 0, s.errorf(s.pos, "& that begins no reference; write &amp;")
	}
	r, ok := resolve(rest[1:n])
	if !ok {
		return 0, s.errorf(s.pos, "reference &%s; is none of the five of XML, nor a character", rest[1:n])
	}
	s.scratch = utf8.AppendRune(s.scratch[:0], r)
	s.text = s.scratch
	s.pos += n + 1
	return Text, nil
}

// resolve gives the character that a reference stands for (XML 1.0 sections 4.1, 4.6).
func resolve(name []byte) (rune, bool) {
	switch string(name) {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "apos":
		return '\'', true
	case "quot":
		return '"', true
	}
	if len(name) < 2 || name[0] != '#' {
		return 0, false
	}
	digits, base := name[1:], rune(10)
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	var r rune
	for _, b := range digits {
		d, ok := digit(b)
		if !ok || d >= base {
			return 0, false
		}
		if r = r*base + d; r > utf8.MaxRune {
			return 0, false
		}
	}
	return r, len(digits) > 0 && isChar(r)
}

func digit(b byte) (rune, bool) {
	switch {
	case b >= '0' && b <= '9':
		return rune(b - '0'), true
	case b >= 'a' && b <= 'f':
		return rune(b-'a') + 10, true
	case b >= 'A' && b <= 'F':
		return rune(b-'A') + 10, true
	}
	return 0, false
}

// isChar is Char of XML 1.0 section 2.2.
func isChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= utf8.MaxRune
}

// nameLen is the length of the Name that p begins with (XML 1.0 section 2.3),
// colons included; 0 when there is none.
func nameLen(p []byte) int {
	n := 0
	for n < len(p) {
		b := p[n]
		switch {
		case b < utf8.RuneSelf:
			if c := class[b]; c&namePart == 0 && b != ':' || n == 0 && c&nameStart == 0 && b != ':' {
				return n
			}
			n++
		default:
			r, k := utf8.DecodeRune(p[n:])
			if r == utf8.RuneError && k < 3 || !isNameRune(r, n == 0) {
				return n
			}
			n += k
		}
	}
	return n
}

// isNameRune is NameStartChar, or NameChar, beyond ASCII.
func isNameRune(r rune, first bool) bool {
	for _, in := range nameRanges {
		if r >= in[0] && r <= in[1] {
			return true
		}
	}
	return !first && (r == 0xB7 || r >= 0x300 && r <= 0x36F || r == 0x203F || r == 0x2040)
}

var nameRanges = [...][2]rune{
	{0xC0, 0xD6}, {0xD8, 0xF6}, {0xF8, 0x2FF}, {0x370, 0x37D}, {0x37F, 0x1FFF}, {0x200C, 0x200D}, {0x2070, 0x218F},
	{0x2C00, 0x2FEF}, {0x3001, 0xD7FF}, {0xF900, 0xFDCF}, {0xFDF0, 0xFFFD}, {0x10000, 0xEFFFF},
}

// IsName reports whether v is an NCName (Namespaces in XML section 4).
func IsName(v []byte) bool {
	return len(v) > 0 && nameLen(v) == len(v) && bytes.IndexByte(v, ':') < 0
}
