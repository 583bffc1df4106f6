package scan

import (
	"bytes"
	"unicode/utf8"
)

// rawAttr is an attribute as written.
type rawAttr struct {
	name, value []byte
	at          int // offset in the tag
}

// startTag reads "<name attributes >" or "<name attributes />".
func (s *Scanner) startTag(rest []byte) (Kind, error) {
	n := 1 + nameLen(rest[1:])
	if n == len(rest) {
		return 0, s.short("the document ends inside a tag")
	}
	if n == 1 {
		return 0, s.errorf(s.pos, "%q is no tag; write &lt; for <", clip(rest))
	}
	raw := rest[1:n]
	s.raws, s.scratch = s.raws[:0], s.scratch[:0]
	for {
		space := n
		for n < len(rest) && isSpace(rest[n]) {
			n++
		}
		switch {
		case n == len(rest):
			return 0, s.short("the document ends inside a tag")
		case rest[n] == '>':
			return Start, s.open(raw, n+1)
		case rest[n] == '/':
			if n+1 == len(rest) {
				return 0, s.short("the document ends inside a tag")
			}
			if rest[n+1] != '>' {
				return 0, s.errorf(s.pos+n, "/ that does not end the tag")
			}
			s.selfEnd = true
			err := s.open(raw, n+2)
			return Start, err
		case space == n:
			return 0, s.errorf(s.pos+n, "no space before an attribute")
		}
		k, err := s.attribute(rest, n)
		if err != nil {
			return 0, err
		}
		n = k
	}
}

// attribute reads name="value" at rest[n:] and gives where it ends.
func (s *Scanner) attribute(rest []byte, n int) (int, error) {
	at := n
	n += nameLen(rest[n:])
	name := rest[at:n]
	if len(name) == 0 {
		return 0, s.errorf(s.pos+n, "%q is no attribute", clip(rest[n:]))
	}
	for n < len(rest) && isSpace(rest[n]) {
		n++
	}
	if n < len(rest) && rest[n] != '=' {
		return 0, s.errorf(s.pos+n, "attribute %q without a value", clip(name))
	}
	n++
	for n < len(rest) && isSpace(rest[n]) {
		n++
	}
	if n >= len(rest) {
		return 0, s.short("the document ends inside a tag")
	}
	quote := rest[n]
	if quote != '"' && quote != '\'' {
		return 0, s.errorf(s.pos+n, "the value of attribute %q is not in quotes", clip(name))
	}
	value, end, err := s.value(rest, n+1, quote)
	if err != nil {
		return 0, err
	}
	if len(s.raws) == s.limits.Attrs {
		return 0, s.errorf(s.pos, "an element of more than %d attributes", s.limits.Attrs)
	}
	s.raws = append(s.raws, rawAttr{name, value, at})
	return end, nil
}

// value reads an attribute value up to its quote, normalised.
func (s *Scanner) value(rest []byte, n int, quote byte) (value []byte, end int, err error) {
	from := n
	for n < len(rest) && class[rest[n]]&valueStop == 0 {
		n++
	}
	if n < len(rest) && rest[n] == quote {
		return rest[from:n], n + 1, nil
	}
	start := len(s.scratch)
	s.scratch = append(s.scratch, rest[from:n]...)
	for n < len(rest) {
		b := rest[n]
		switch {
		case b == quote:
			return s.scratch[start:len(s.scratch):len(s.scratch)], n + 1, nil
		case class[b]&valueStop == 0 || b == '"' || b == '\'':
			s.scratch = append(s.scratch, b)
			n++
		case b == '\t' || b == '\n':
			s.scratch = append(s.scratch, ' ')
			n++
		case b == '\r':
			s.scratch = append(s.scratch, ' ')
			if n++; n < len(rest) && rest[n] == '\n' {
				n++
			}
		case b == '&':
			k := bytes.IndexByte(rest[n:min(len(rest), n+maxReference)], ';')
			if k < 0 && len(rest)-n < maxReference {
				return nil, 0, s.short("the document ends inside a tag")
			}
			r, ok := rune(0), false
			if k > 0 {
				r, ok = resolve(rest[n+1 : n+k])
			}
			if !ok {
				return nil, 0, s.errorf(s.pos+n, "& that begins no reference to one of the five entities of XML or a character; write &amp;")
			}
			s.scratch = utf8.AppendRune(s.scratch, r)
			n += k + 1
		case b >= utf8.RuneSelf:
			if !utf8.FullRune(rest[n:]) && !s.eof {
				return nil, 0, errShort
			}
			k, err := s.multibyte(rest[n:])
			if err != nil {
				return nil, 0, err
			}
			s.scratch = append(s.scratch, rest[n:n+k]...)
			n += k
		case b == '<':
			return nil, 0, s.errorf(s.pos+n, "< in the value of an attribute; write &lt;")
		default:
			return nil, 0, s.errorf(s.pos+n, "character U+%04X is not allowed in XML", b)
		}
	}
	return nil, 0, s.short("the document ends inside a tag")
}

// open makes the tag of length n the current element.
func (s *Scanner) open(raw []byte, n int) error {
	if len(s.stack) == 0 && s.started {
		return s.errorf(s.pos, "a second root element %q", clip(raw))
	}
	if len(s.stack) == s.limits.Depth {
		return s.errorf(s.pos, "elements nested more than %d deep", s.limits.Depth)
	}
	scope := false
	for _, a := range s.raws {
		if isDeclaration(a.name) {
			if err := s.names.declare(a.name, a.value, &scope); err != nil {
				return s.errorf(s.pos+a.at, "%v", err)
			}
		}
	}
	name, err := s.names.element(raw, s.limits.Names)
	if err != nil {
		return s.errorf(s.pos, "%v", err)
	}
	s.attrs = s.attrs[:0]
	for _, a := range s.raws {
		if isDeclaration(a.name) {
			continue
		}
		id, err := s.names.attribute(a.name, s.limits.Names)
		if err != nil {
			return s.errorf(s.pos+a.at, "%v", err)
		}
		for _, other := range s.attrs {
			if other.Name == id {
				return s.errorf(s.pos+a.at, "attribute %q is there twice", clip(a.name))
			}
		}
		s.attrs = append(s.attrs, Attr{id, a.name, a.value})
	}
	s.started = true
	s.stack = append(s.stack, element{name, s.names.push(raw), scope})
	s.name, s.rawName = name, raw
	s.pos += n
	return nil
}

func isDeclaration(name []byte) bool {
	return len(name) >= 5 && string(name[:5]) == "xmlns" && (len(name) == 5 || name[5] == ':')
}
