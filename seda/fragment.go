package seda

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"

	"sae/seda/scan"
)

// recorder writes an element of a document, and all in it, as XML that stands by itself
// below an element whose default namespace is the document's version of SEDA. Names and
// prefixes are as written; comments and processing instructions are left out. So the
// exclusive canonical form (W3C xml-exc-c14n) is that of the document.
type recorder struct {
	s     *scan.Scanner
	space string // of SEDA
	buf   []byte
	depth int
	gap   int                // where declarations of the outermost element go
	used  []scan.Declaration // prefixes that are used inside and bound outside
	inner [][]string         // prefixes declared by each open element
	empty bool               // a start tag waits for its ">"
}

func (r *recorder) begin(s *scan.Scanner, space string, buf []byte) {
	*r = recorder{s: s, space: space, buf: buf, used: r.used[:0], inner: r.inner[:0]}
}

// token takes what the scanner has just read; done when it was the end of the element
// with which it began.
func (r *recorder) token(k scan.Kind) (done bool) {
	switch k {
	case scan.Start:
		r.start()
	case scan.Text:
		if len(r.s.Text()) > 0 {
			r.closeTag()
			r.buf = appendEscaped(r.buf, r.s.Text(), false)
		}
	case scan.End:
		if r.empty {
			r.buf, r.empty = append(r.buf, "/>"...), false
		} else {
			r.buf = append(append(append(r.buf, "</"...), r.s.RawName()...), '>')
		}
		r.inner = r.inner[:len(r.inner)-1]
		if r.depth--; r.depth == 0 {
			r.declare()
			return true
		}
	}
	return false
}

func (r *recorder) closeTag() {
	if r.empty {
		r.buf, r.empty = append(r.buf, '>'), false
	}
}

func (r *recorder) start() {
	r.closeTag()
	r.buf = append(append(r.buf, '<'), r.s.RawName()...)
	if r.depth == 0 {
		r.gap = len(r.buf)
	}
	var here []string
	for _, d := range r.s.Declarations() {
		here = append(here, d.Prefix)
		if r.depth == 0 {
			continue // declared when used, like those from outside
		}
		r.attribute(declarationName(d), []byte(d.Space))
	}
	if r.depth == 0 {
		here = nil
	}
	r.inner = append(r.inner, here)
	r.use(r.s.RawName(), true)
	for _, a := range r.s.Attrs() {
		r.attribute(string(a.Raw), a.Value)
		r.use(a.Raw, false)
		if r.s.Expanded(a.Name).Space == xsiSpace {
			r.use(collapse.apply(a.Value), false) // xsi:type names a type by a prefix
		}
	}
	r.depth++
	r.empty = true
}

func (r *recorder) attribute(name string, value []byte) {
	r.buf = append(append(append(r.buf, ' '), name...), `="`...)
	r.buf = append(appendEscaped(r.buf, value, true), '"')
}

// use notes the prefix of a qualified name, when it is bound outside.
func (r *recorder) use(qname []byte, element bool) {
	prefix, _, ok := bytes.Cut(qname, []byte(":"))
	if !ok {
		if !element {
			return
		}
		prefix = nil
	}
	p := string(prefix)
	if p == "xml" || slices.ContainsFunc(r.used, func(d scan.Declaration) bool { return d.Prefix == p }) {
		return
	}
	for _, declared := range r.inner {
		if slices.Contains(declared, p) {
			return
		}
	}
	space, bound := r.s.Lookup(p)
	if bound && (p != "" || space != r.space) {
		r.used = append(r.used, scan.Declaration{Prefix: p, Space: space})
	}
}

// declare puts what is bound outside into the outermost tag.
func (r *recorder) declare() {
	slices.SortFunc(r.used, func(a, b scan.Declaration) int { return cmp.Compare(a.Prefix, b.Prefix) })
	tail := slices.Clone(r.buf[r.gap:])
	r.buf = r.buf[:r.gap]
	for _, d := range r.used {
		r.attribute(declarationName(d), []byte(d.Space))
	}
	r.buf = append(r.buf, tail...)
}

func declarationName(d scan.Declaration) string {
	if d.Prefix == "" {
		return "xmlns"
	}
	return "xmlns:" + d.Prefix
}

// appendEscaped appends text or an attribute value, escaped as in canonical XML.
func appendEscaped(dst, p []byte, attribute bool) []byte {
	for _, b := range p {
		switch {
		case b == '&':
			dst = append(dst, "&amp;"...)
		case b == '<':
			dst = append(dst, "&lt;"...)
		case b == '>' && !attribute:
			dst = append(dst, "&gt;"...)
		case b == '"' && attribute:
			dst = append(dst, "&quot;"...)
		case b == '\t' && attribute:
			dst = append(dst, "&#x9;"...)
		case b == '\n' && attribute:
			dst = append(dst, "&#xA;"...)
		case b == '\r':
			dst = append(dst, "&#xD;"...)
		default:
			dst = append(dst, b)
		}
	}
	return dst
}

// SplitAttachment takes the content out of a BinaryDataObject that carries it: what is
// left of the XML has an empty Attachment.
func SplitAttachment(xml []byte) (rest, content []byte, err error) {
	s := scan.New(bytes.NewReader(xml), scan.DefaultLimits)
	var text []byte
	from, inside := 0, false
	for {
		k, err := s.Next()
		if err != nil {
			return nil, nil, fmt.Errorf("reading an Attachment: %w", err)
		}
		switch {
		case k == scan.Start && s.Expanded(s.Name()).Local == "Attachment":
			from, inside = int(s.Offset())+bytes.IndexByte(xml[s.Offset():], '>')+1, true
		case k == scan.Text && inside:
			text = append(text, bytes.Map(dropSpace, s.Text())...)
		case k == scan.End && inside:
			content, err := base64.StdEncoding.DecodeString(string(text))
			if err != nil {
				return nil, nil, fmt.Errorf("reading an Attachment: %w", err)
			}
			return append(slices.Clone(xml[:from]), xml[max(int(s.Offset()), from):]...), content, nil
		}
	}
}
