package seda

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// model is the compiled grammar of one version. It does not change.
type model struct {
	version Version
	types   map[string]*complexType
	simples map[string]*simpleType
	symbols *symbols // the same in all versions
	roots   map[string]*complexType
	dialect map[string]*elementDecl // by type and element
}

// symbol stands for the name of an element of any version of SEDA; 0 for none.
type symbol uint16

type symbols struct {
	numbers map[string]symbol
	names   []string // by symbol
}

// complexType is the type of elements: their attributes, and their text or children.
type complexType struct {
	name     string
	base     *complexType
	abstract bool
	simple   *simpleType // of the text; nil when the element holds elements
	attrs    []attribute
	open     bool   // elements of other namespaces may stand anywhere
	extends  string // abstract element whose place is in the content, "" for none
	all      bool   // children in any order, each at most once

	// The content is a deterministic automaton over local symbols, which number the
	// elements of this type from 1.
	local    []uint8       // by symbol
	elements []elementDecl // by local symbol
	next     [][]uint8     // by state, local symbol; 0 for none, state 0 being the start
	final    []bool        // by state
}

type attribute struct {
	space, local string // space is "" or that of a prefix of attributes
	typ          *simpleType
	required     bool
}

// elementDecl is an element within a type.
type elementDecl struct {
	name     string
	sym      symbol
	typ      *complexType
	nillable bool
	fallback []byte // value of an empty element
	act      action
}

// modelOf gives the model of a version.
func modelOf(v Version) *model {
	return models()[max(v, V21)-V21]
}

var models = sync.OnceValue(func() (out [3]*model) {
	names := &symbols{numbers: map[string]symbol{}, names: []string{""}}
	for i := range out {
		out[i] = compile(V21+Version(i), names)
	}
	for _, m := range out {
		for _, t := range m.types {
			t.local = grow(t.local, len(names.names))
		}
	}
	return out
})

// compile compiles the grammar for a version. It panics when the grammar is wrong,
// which a test would show.
func compile(v Version, names *symbols) *model {
	m := &model{version: v, types: map[string]*complexType{}, simples: builtins(), symbols: names, roots: map[string]*complexType{}, dialect: map[string]*elementDecl{}}
	c := &compiler{m: m, parts: map[string][]string{}, bodies: map[string][]string{}}
	for _, def := range definitions() {
		c.declare(def)
	}
	for _, name := range c.order {
		c.define(name)
	}
	for place, typ := range dialect {
		_, name, _ := strings.Cut(place, "/")
		m.dialect[place] = &elementDecl{name: name, typ: m.types[typ], act: actions[place]}
	}
	for _, name := range messages {
		m.roots[name] = m.types[name+"Type"]
	}
	return m
}

// definitions splits the grammar into definitions, each a list of words.
func definitions() [][]string {
	var out [][]string
	for line := range strings.Lines(grammar) {
		words := split(line)
		switch {
		case len(words) == 0:
		case strings.HasPrefix(line, " "):
			out[len(out)-1] = append(out[len(out)-1], words...)
		default:
			out = append(out, words)
		}
	}
	return out
}

// split splits a line at spaces, and around parentheses and bars that stand alone;
// "a value" is one word.
func split(line string) (words []string) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		n := 0
		switch {
		case line[0] == '"':
			n = strings.IndexByte(line[1:], '"') + 2
		case strings.HasPrefix(line, "&("):
			n = 2
		case line[0] == '(' || line[0] == ')':
			n = 1
			for n < len(line) && strings.IndexByte("?*+", line[n]) >= 0 {
				n++
			}
		default:
			if n = strings.IndexAny(line, " ()"); n < 0 {
				n = len(line)
			}
		}
		words = append(words, line[:n])
		line = line[n:]
	}
	return words
}

type compiler struct {
	m      *model
	parts  map[string][]string // of "%" definitions
	bodies map[string][]string // of types, behind their name
	order  []string
}

// declare files a definition, if it is of the version.
func (c *compiler) declare(words []string) {
	words = c.guard(words)
	if len(words) == 0 {
		return
	}
	name, body := words[0], words[1:]
	if strings.HasPrefix(name, "%") {
		c.parts[name] = body[1:]
		return
	}
	if body[0] == ":" && !slices.ContainsFunc(body, func(w string) bool { return strings.HasPrefix(w, "@") }) {
		c.simple(name, c.guarded(body[1:]))
		return
	}
	c.m.types[name] = &complexType{name: name}
	c.bodies[name] = body
	c.order = append(c.order, name)
}

// guard takes a version guard off the front of words; none are left when it is not
// of the version.
func (c *compiler) guard(words []string) []string {
	if len(words) == 0 || !strings.HasPrefix(words[0], "[") {
		return words
	}
	if !c.holds(words[0]) {
		return nil
	}
	return words[1:]
}

// holds reports whether a guard lets the version pass.
func (c *compiler) holds(guard string) bool {
	g := strings.Trim(guard, "[]")
	from, to, isRange := strings.Cut(g, "..")
	if open, ok := strings.CutSuffix(g, "+"); ok {
		from, to = open, "9.9"
	} else if !isRange {
		to = g
	}
	v := c.m.version.String()
	return from <= v && v <= to
}

// guarded drops what is not of the version: a guard is for the word behind it.
func (c *compiler) guarded(words []string) (out []string) {
	for i := 0; i < len(words); i++ {
		if strings.HasPrefix(words[i], "[") {
			if !c.holds(words[i]) {
				i++
			}
			continue
		}
		out = append(out, words[i])
	}
	return out
}

// simple defines a simple type.
func (c *compiler) simple(name string, body []string) {
	t := &simpleType{name: name}
	if members := strings.Split(body[0], "|"); len(members) > 1 {
		for _, m := range members {
			if m != "" {
				t.union = append(t.union, c.simpleNamed(m))
			}
		}
		t.space = collapse
	} else {
		base, nonEmpty := strings.CutSuffix(body[0], "+")
		b := c.simpleNamed(base)
		t.base, t.space, t.check, t.nonEmpty, t.id, t.enum = b, b.space, b.check, b.nonEmpty || nonEmpty, b.id, b.enum
	}
	for _, w := range body[1:] {
		t.enum = append(t.enum, strings.Trim(w, `"`))
	}
	c.m.simples[name] = t
	c.m.types[name] = &complexType{name: name, simple: t}
}

func (c *compiler) simpleNamed(name string) *simpleType {
	t := c.m.simples[name]
	if t == nil {
		panic("seda: no simple type " + name)
	}
	return t
}

// typeNamed gives the type that an element declares; a built-in simple type becomes
// one of elements.
func (c *compiler) typeNamed(name string) *complexType {
	if t := c.m.types[name]; t != nil {
		return t
	}
	t := &complexType{name: name, simple: c.simpleNamed(name)}
	c.m.types[name] = t
	return t
}

// define compiles a type. Bases stand before what extends them.
func (c *compiler) define(name string) {
	t, body := c.m.types[name], c.bodies[name]
	if body[0] == "!" {
		t.abstract, body = true, body[1:]
	}
	if body[0] == ":" {
		body = c.guarded(body[1:])
		t.simple = c.simpleNamed(body[0])
		t.base = c.m.types[body[0]]
		c.attributes(t, body[1:])
		return
	}
	var inherited []string
	if body[0] == "<" {
		t.base, body = c.m.types[body[1]], body[2:]
		t.attrs, t.simple, t.open = slices.Clone(t.base.attrs), t.base.simple, t.base.open
		if body[0] == ":" {
			c.attributes(t, body[1:])
			return
		}
		inherited = c.contentOf(t.base)
	}
	body = c.attributes(t, c.guarded(body[1:]))
	c.bodies[name] = append([]string{"="}, slices.Concat(inherited, body)...)
	c.automaton(t, c.contentOf(t))
}

// contentOf is the content of a type that is defined, its base's first.
func (c *compiler) contentOf(t *complexType) []string { return c.bodies[t.name][1:] }

// attributes takes attributes, places for extensions and #any off the words.
func (c *compiler) attributes(t *complexType, words []string) (rest []string) {
	for _, w := range words {
		switch {
		case w == "#any":
			t.open = true
		case strings.HasPrefix(w, "@"):
			decl, required := strings.CutSuffix(w[1:], "!")
			n := strings.LastIndexByte(decl, ':')
			prefix, local, ok := strings.Cut(decl[:n], ":")
			if !ok {
				prefix, local = "", prefix
			}
			t.attrs = append(t.attrs, attribute{attributeSpaces[prefix], local, c.simpleNamed(decl[n+1:]), required})
		default:
			rest = append(rest, w)
		}
	}
	return rest
}

// attributeSpaces are the namespaces of attributes that have one.
var attributeSpaces = map[string]string{"": "", "xml": "http://www.w3.org/XML/1998/namespace", "xlink": "http://www.w3.org/1999/xlink"}

// symbol numbers an element's name.
func (c *compiler) symbol(name string) symbol {
	t := c.m.symbols
	s, ok := t.numbers[name]
	if !ok {
		s = symbol(len(t.names))
		t.numbers[name] = s
		t.names = append(t.names, name)
	}
	return s
}

// element numbers an element within a type.
func (c *compiler) element(t *complexType, word string) uint8 {
	name, typ, _ := strings.Cut(word, ":")
	typ, fallback, _ := strings.Cut(typ, "=")
	typ, nillable := strings.CutSuffix(typ, "^")
	s := c.symbol(name)
	t.local = grow(t.local, int(s)+1)
	if len(t.elements) == 0 {
		t.elements = make([]elementDecl, 1)
	}
	if t.local[s] == 0 {
		t.local[s] = uint8(len(t.elements))
		decl := elementDecl{name: name, sym: s, typ: c.typeNamed(typ), nillable: nillable, act: actions[t.name+"/"+name]}
		if fallback != "" {
			decl.fallback = []byte(fallback)
		}
		t.elements = append(t.elements, decl)
	}
	return t.local[s]
}

func grow(p []uint8, n int) []uint8 {
	if len(p) < n {
		p = append(p, make([]uint8, n-len(p))...)
	}
	return p
}

// automaton compiles content by Glushkov's construction: a state for the start and
// one for each place where an element stands. The grammar being deterministic (XML
// Schema part 1 section 3.8.6, unique particle attribution), so is the automaton.
func (c *compiler) automaton(t *complexType, words []string) {
	g := &glushkov{c: c, t: t, symbols: []uint8{0}, follow: make([][]int, 1)}
	e := g.sequence(&words)
	if len(words) > 0 {
		panic(fmt.Sprintf("seda: %s: %v is left over", t.name, words))
	}
	g.follow[0] = e.first
	n := max(len(t.elements), 1)
	for state, follow := range g.follow {
		row := make([]uint8, n)
		for _, to := range follow {
			if l := g.symbols[to]; row[l] != 0 && int(row[l]) != to {
				panic(fmt.Sprintf("seda: %s: %s is ambiguous", t.name, t.elements[l].name))
			}
			row[g.symbols[to]] = uint8(to)
		}
		t.next = append(t.next, row)
		t.final = append(t.final, state == 0 && e.nullable || slices.Contains(e.last, state))
	}
}

type glushkov struct {
	c       *compiler
	t       *complexType
	symbols []uint8 // local symbol of each position; position 0 is the start
	follow  [][]int
}

// expr is a part of content: where it can begin and end.
type expr struct {
	first, last []int
	nullable    bool
}

// sequence reads parts up to a closing parenthesis, with bars between choices.
func (g *glushkov) sequence(words *[]string) expr {
	out, choices := expr{nullable: true}, []expr(nil)
	for len(*words) > 0 && !strings.HasPrefix((*words)[0], ")") {
		w := (*words)[0]
		*words = (*words)[1:]
		if w == "|" {
			choices, out = append(choices, out), expr{nullable: true}
			continue
		}
		out = g.then(out, g.part(w, words))
	}
	if choices == nil {
		return out
	}
	alt := expr{}
	for _, e := range append(choices, out) {
		alt.first, alt.last = append(alt.first, e.first...), append(alt.last, e.last...)
		alt.nullable = alt.nullable || e.nullable
	}
	return alt
}

func (g *glushkov) then(a, b expr) expr {
	for _, p := range a.last {
		g.follow[p] = append(g.follow[p], b.first...)
	}
	out := expr{first: slices.Clone(a.first), last: slices.Clone(b.last), nullable: a.nullable && b.nullable}
	if a.nullable {
		out.first = append(out.first, b.first...)
	}
	if b.nullable {
		out.last = append(out.last, a.last...)
	}
	return out
}

func (g *glushkov) part(w string, words *[]string) expr {
	switch {
	case w == "(":
		e := g.sequence(words)
		closing := (*words)[0]
		*words = (*words)[1:]
		return g.times(e, strings.TrimPrefix(closing, ")"))
	case w == "&(":
		return g.all(words)
	case strings.HasPrefix(w, "%"):
		body := g.c.guarded(g.c.parts[w])
		return g.sequence(&body)
	case strings.HasPrefix(w, "~"):
		g.t.extends = w[1:]
		return expr{nullable: w != "~OtherCoreTechnicalMetadataAbstract"}
	case strings.HasPrefix(w, "["):
		if !g.c.holds(w) {
			*words = (*words)[1:]
		}
		return expr{nullable: true}
	}
	word := strings.TrimRight(w, "?*+")
	pos := len(g.symbols)
	g.symbols, g.follow = append(g.symbols, g.c.element(g.t, word)), append(g.follow, nil)
	return g.times(expr{first: []int{pos}, last: []int{pos}}, w[len(word):])
}

func (g *glushkov) times(e expr, how string) expr {
	if how == "*" || how == "+" {
		for _, p := range e.last {
			for _, f := range e.first {
				if !slices.Contains(g.follow[p], f) {
					g.follow[p] = append(g.follow[p], f)
				}
			}
		}
	}
	e.nullable = e.nullable || how == "*" || how == "?"
	return e
}

// all reads elements that may come in any order: the automaton lets any follow any,
// and validation counts them.
func (g *glushkov) all(words *[]string) expr {
	g.t.all = true
	e := expr{nullable: true}
	for !strings.HasPrefix((*words)[0], ")") {
		one := g.part((*words)[0], nil)
		e.first, e.last = append(e.first, one.first...), append(e.last, one.last...)
		*words = (*words)[1:]
	}
	*words = (*words)[1:]
	return g.times(e, "*")
}

// derives reports whether t is d or derived from it.
func (t *complexType) derives(d *complexType) bool {
	for ; t != nil; t = t.base {
		if t == d {
			return true
		}
	}
	return false
}
