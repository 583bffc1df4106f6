package seda

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"sae/seda/scan"
)

// simpleType is a type of text (XML Schema part 2).
type simpleType struct {
	name     string
	base     *simpleType
	union    []*simpleType
	space    whiteSpace
	nonEmpty bool
	enum     []string
	check    func([]byte) bool // lexical form, white space done; nil for any
	id       idKind
}

type whiteSpace uint8

const (
	preserve whiteSpace = iota
	replace
	collapse
)

type idKind uint8

const (
	noID idKind = iota
	isID
	isIDREF
)

// builtins are the simple types of XML Schema that SEDA's types are made of, and
// those that xsi:type could name in their place.
func builtins() map[string]*simpleType {
	out := map[string]*simpleType{}
	def := func(name, base string, space whiteSpace, check func([]byte) bool) *simpleType {
		t := &simpleType{name: name, base: out[base], space: space, check: check}
		out[name] = t
		return t
	}
	def("string", "", preserve, nil)
	def("normalizedString", "string", replace, nil)
	def("token", "normalizedString", collapse, nil)
	def("language", "token", collapse, isLanguage)
	def("NMTOKEN", "token", collapse, isNMTOKEN)
	def("Name", "token", collapse, isXMLName)
	def("NCName", "Name", collapse, scan.IsName)
	def("ID", "NCName", collapse, scan.IsName).id = isID
	def("IDREF", "NCName", collapse, scan.IsName).id = isIDREF
	def("boolean", "", collapse, func(v []byte) bool { return slices.Contains([]string{"true", "false", "1", "0"}, string(v)) })
	def("decimal", "", collapse, isDecimal)
	def("integer", "decimal", collapse, isInteger)
	for _, t := range [...]struct{ name, base, low, high string }{
		{"nonPositiveInteger", "integer", "", "0"}, {"negativeInteger", "nonPositiveInteger", "", "-1"},
		{"long", "integer", "-9223372036854775808", "9223372036854775807"}, {"int", "long", "-2147483648", "2147483647"},
		{"short", "int", "-32768", "32767"}, {"byte", "short", "-128", "127"},
		{"nonNegativeInteger", "integer", "0", ""}, {"positiveInteger", "nonNegativeInteger", "1", ""},
		{"unsignedLong", "nonNegativeInteger", "0", "18446744073709551615"}, {"unsignedInt", "unsignedLong", "0", "4294967295"},
		{"unsignedShort", "unsignedInt", "0", "65535"}, {"unsignedByte", "unsignedShort", "0", "255"},
	} {
		def(t.name, t.base, collapse, integerBetween(t.low, t.high))
	}
	for name, f := range map[string]string{"dateTime": "YMDT", "date": "YMD", "gYear": "Y", "gYearMonth": "YM", "gMonth": "--M", "gMonthDay": "--MD", "gDay": "---D"} {
		def(name, "", collapse, temporal(f))
	}
	def("anyURI", "", collapse, isURI)
	def("base64Binary", "", collapse, isBase64)
	def("hexBinary", "", collapse, isHex)
	def("xmlLang", "", collapse, func(v []byte) bool { return len(v) == 0 || isLanguage(v) })
	return out
}

var (
	errEmpty = errors.New("empty")
	errEnum  = errors.New("none of the values there are")
	errForm  = errors.New("not of its type")
)

// validate checks a value whose white space is still as written, and gives it as its
// type sees it.
func (t *simpleType) validate(raw []byte) ([]byte, error) {
	v := t.space.apply(raw)
	if len(t.union) > 0 {
		for _, m := range t.union {
			if w, err := m.validate(raw); err == nil {
				return w, nil
			}
		}
		return v, errForm
	}
	switch {
	case t.nonEmpty && len(v) == 0:
		return v, errEmpty
	case t.check != nil && !t.check(v):
		return v, errForm
	case t.enum != nil && !slices.Contains(t.enum, string(v)):
		return v, errEnum
	}
	return v, nil
}

// derives reports whether t can stand where d is declared.
func (t *simpleType) derives(d *simpleType) bool {
	for s := t; s != nil; s = s.base {
		if s == d || slices.ContainsFunc(d.union, s.derives) {
			return true
		}
	}
	return false
}

// idOf is the kind of identifier that a type is of.
func (t *simpleType) idOf() idKind {
	if len(t.union) == 1 {
		return t.union[0].idOf()
	}
	return t.id
}

// apply gives v with its white space processed (XML Schema part 2 section 4.3.6).
func (w whiteSpace) apply(v []byte) []byte {
	switch w {
	case preserve:
		return v
	case replace:
		if !bytes.ContainsAny(v, "\t\n\r") {
			return v
		}
		return bytes.Map(func(r rune) rune {
			if r == '\t' || r == '\n' || r == '\r' {
				return ' '
			}
			return r
		}, v)
	}
	if collapsed(v) {
		return v
	}
	return bytes.Join(bytes.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }), []byte(" "))
}

// collapsed reports whether there is no white space to take off.
func collapsed(v []byte) bool {
	space := true // so that one in front is seen
	for _, b := range v {
		if b > ' ' {
			space = false
			continue
		}
		if b != ' ' || space {
			return false
		}
		space = true
	}
	return !space || len(v) == 0
}

func digits(v []byte) int {
	n := 0
	for n < len(v) && v[n] >= '0' && v[n] <= '9' {
		n++
	}
	return n
}

func unsigned(v []byte) []byte {
	if len(v) > 0 && (v[0] == '+' || v[0] == '-') {
		return v[1:]
	}
	return v
}

func isInteger(v []byte) bool {
	v = unsigned(v)
	return len(v) > 0 && digits(v) == len(v)
}

func isDecimal(v []byte) bool {
	v = unsigned(v)
	whole := digits(v)
	if whole == len(v) {
		return whole > 0
	}
	return v[whole] == '.' && digits(v[whole+1:]) == len(v)-whole-1 && len(v) > 1
}

// integerBetween checks an integer against bounds, "" for none.
func integerBetween(low, high string) func([]byte) bool {
	bound := func(s string) *big.Int {
		n, ok := new(big.Int).SetString(s, 10)
		if !ok {
			return nil
		}
		return n
	}
	lo, hi := bound(low), bound(high)
	return func(v []byte) bool {
		if !isInteger(v) || len(v) > 10_000 {
			return false
		}
		n, ok := new(big.Int).SetString(string(v), 10)
		return ok && (lo == nil || n.Cmp(lo) >= 0) && (hi == nil || n.Cmp(hi) <= 0)
	}
}

func isLanguage(v []byte) bool {
	for i, part := range bytes.Split(v, []byte("-")) {
		if len(part) < 1 || len(part) > 8 {
			return false
		}
		for _, b := range part {
			letter := b|0x20 >= 'a' && b|0x20 <= 'z'
			if !letter && (i == 0 || b < '0' || b > '9') {
				return false
			}
		}
	}
	return true
}

func isNMTOKEN(v []byte) bool {
	return len(v) > 0 && isXMLName(append([]byte("_"), v...))
}

func isXMLName(v []byte) bool {
	return scan.IsName(bytes.ReplaceAll(v, []byte(":"), []byte("_")))
}

func isHex(v []byte) bool {
	for _, b := range v {
		if (b < '0' || b > '9') && (b|0x20 < 'a' || b|0x20 > 'f') {
			return false
		}
	}
	return len(v)%2 == 0
}

// isBase64 checks base64 as XML Schema part 2 section 3.2.16 has it: single spaces
// are allowed anywhere.
func isBase64(v []byte) bool {
	var c base64Checker
	c.write(v)
	return c.done()
}

// base64Checker checks base64 that comes in pieces.
type base64Checker struct {
	n    int // characters so far, modulo 4
	size int // bytes so far
	pads int
	last byte
	bad  bool
}

func (c *base64Checker) write(p []byte) {
	c.size += len(p)
	for _, b := range p {
		switch {
		case b == ' ' || b == '\t' || b == '\n' || b == '\r':
			continue
		case b == '=':
			c.pads++
			c.bad = c.bad || c.n < 2
		case b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '+' || b == '/':
			c.bad = c.bad || c.pads > 0
			c.last = b
		default:
			c.bad = true
		}
		c.n = (c.n + 1) % 4
	}
}

func (c *base64Checker) done() bool {
	switch {
	case c.bad || c.n != 0 || c.pads > 2:
		return false
	case c.pads == 1:
		return bytes.IndexByte([]byte("AEIMQUYcgkosw048"), c.last) >= 0
	case c.pads == 2:
		return bytes.IndexByte([]byte("AQgw"), c.last) >= 0
	}
	return true
}

// isURI is loose, as anyURI is (XML Schema part 2 section 3.2.17): what is not
// allowed in a URI is taken as escaped.
func isURI(v []byte) bool {
	for i := range v {
		if v[i] == '%' && (i+2 >= len(v) || !isHex(v[i+1:i+3])) {
			return false
		}
	}
	return bytes.Count(v, []byte("#")) <= 1
}

// temporal checks dates and times (XML Schema part 2 sections 3.2.7 to 3.2.14). The
// form says what there is: Y, M, D, T (hours, minutes, seconds), and dashes.
func temporal(form string) func([]byte) bool {
	return func(v []byte) bool {
		year, month, day := 4, 1, 1 // a leap year, for --02-29
		for i, f := range form {
			ok := true
			switch f {
			case '-':
				v, ok = bytes.CutPrefix(v, []byte("-"))
			case 'Y':
				year, v, ok = takeYear(v)
			case 'M':
				if i > 0 && form[i-1] == 'Y' {
					v, ok = bytes.CutPrefix(v, []byte("-"))
				}
				if ok {
					month, v, ok = takeTwo(v, 1, 12)
				}
			case 'D':
				if i > 0 && form[i-1] == 'M' {
					v, ok = bytes.CutPrefix(v, []byte("-"))
				}
				if ok {
					day, v, ok = takeTwo(v, 1, 31)
				}
			case 'T':
				v, ok = takeTime(v)
			}
			if !ok {
				return false
			}
		}
		return day <= daysIn(year, month) && isZone(v)
	}
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// takeYear reads -?[0-9]{4,}, without needless zeros, not 0000.
func takeYear(v []byte) (int, []byte, bool) {
	w, negative := bytes.CutPrefix(v, []byte("-"))
	n := digits(w)
	if n < 4 || n > 9 || n > 4 && w[0] == '0' {
		return 0, v, false
	}
	year, err := strconv.Atoi(string(w[:n]))
	if negative {
		year = -year
	}
	return year, w[n:], err == nil && year != 0
}

func takeTwo(v []byte, low, high int) (int, []byte, bool) {
	if len(v) < 2 || digits(v[:2]) != 2 {
		return 0, v, false
	}
	n := int(v[0]-'0')*10 + int(v[1]-'0')
	return n, v[2:], n >= low && n <= high
}

// takeTime reads Thh:mm:ss with a fraction; 24:00:00 is the end of the day.
func takeTime(v []byte) ([]byte, bool) {
	v, ok := bytes.CutPrefix(v, []byte("T"))
	var part [3]int
	for i := range part {
		if i > 0 && ok {
			v, ok = bytes.CutPrefix(v, []byte(":"))
		}
		if !ok {
			return v, false
		}
		part[i], v, ok = takeTwo(v, 0, 59)
		if i == 0 && part[0] > 24 {
			return v, false
		}
	}
	fraction := 0
	if rest, dot := bytes.CutPrefix(v, []byte(".")); ok && dot {
		n := digits(rest)
		if n == 0 {
			return v, false
		}
		fraction = len(bytes.Trim(rest[:n], "0"))
		v = rest[n:]
	}
	return v, ok && (part[0] < 24 || part[1] == 0 && part[2] == 0 && fraction == 0)
}

// isZone accepts Z, +hh:mm, -hh:mm up to 14:00, or nothing.
func isZone(v []byte) bool {
	if len(v) == 0 || string(v) == "Z" {
		return true
	}
	if len(v) != 6 || v[0] != '+' && v[0] != '-' || v[3] != ':' {
		return false
	}
	h, _, ok := takeTwo(v[1:], 0, 14)
	m, _, ok2 := takeTwo(v[4:], 0, 59)
	return ok && ok2 && (h < 14 || m == 0)
}

// blank reports whether v is white space alone.
func blank(v []byte) bool {
	for _, b := range v {
		if b != ' ' && b != '\n' && b != '\t' && b != '\r' {
			return false
		}
	}
	return true
}

// clipped is a value as a finding quotes it.
func clipped(v []byte) string {
	const most = 100
	if len(v) <= most {
		return string(v)
	}
	v = v[:most]
	for len(v) > 0 && !utf8.Valid(v) {
		v = v[:len(v)-1]
	}
	return string(v) + "…"
}
