package seda

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sae/seda/scan"
)

const xsiSpace = "http://www.w3.org/2001/XMLSchema-instance"

// maxValue bounds the text of one element, in bytes, maxAttachment that of an
// Attachment: larger content is a file of the package.
const (
	maxValue      = 10 << 20
	maxAttachment = 64 << 20
)

// frame is an open element.
type frame struct {
	typ    *complexType // nil: its content is passed over
	decl   *elementDecl // nil for the root, and for what is passed over
	name   scan.NameID
	state  uint8
	noted  bool   // text that should not be there was reported
	lax    bool   // passed over as content of any kind: messages in it are validated
	null   bool   // xsi:nil
	extra  bool   // an extension stands in it
	seen   uint64 // local symbols seen, for a type whose children come in any order
	id     string
	base64 *base64Checker // of text that is not kept
}

// visitor is told what a validator reads, once it has been held against the model. All
// slices are valid during the call.
type visitor interface {
	open(v *validator, f *frame)                // behind the start tag
	value(v *validator, f *frame, value []byte) // before the end tag of an element of text
	close(v *validator, f *frame)               // at the end tag
	identifier(v *validator, kind idKind, value []byte, f *frame)
}

// validator holds a document against the model of its version.
type validator struct {
	s        *scan.Scanner
	m        *model
	mode     Mode
	visit    visitor
	findings *Findings
	version  Version // as the document says
	stack    []frame
	names    []sedaName // by NameID
	text     []byte
}

// sedaName is what a name is to SEDA.
type sedaName struct {
	known bool
	seda  bool   // in the namespace of the document's version
	sym   symbol // 0 when no version has such an element
}

// validate reads a whole document. What is wrong with the document is in findings; the
// error is of reading.
//
// token, when not nil, is told of every token after that; when it says false, reading
// ends.
func validate(r io.Reader, mode Mode, visit visitor, findings *Findings, token func(*validator, scan.Kind) bool) (*validator, error) {
	v := &validator{s: scan.New(r, scan.DefaultLimits), mode: mode, visit: visit, findings: findings}
	for {
		k, err := v.s.Next()
		if err != nil {
			return v, v.ends(err)
		}
		switch k {
		case scan.Start:
			if len(v.stack) == 0 {
				if !v.root() {
					return v, nil
				}
				break
			}
			v.start()
		case scan.Text:
			v.characters(v.s.Text())
		case scan.End:
			v.end()
		}
		if token != nil && !token(v, k) || findings.Full {
			return v, nil
		}
	}
}

// ends takes the error with which scanning ended: that a document is not well-formed is a
// finding.
func (v *validator) ends(err error) error {
	var syntax *scan.SyntaxError
	switch {
	case err == io.EOF:
		return nil
	case errors.As(err, &syntax):
		v.findings.Add(Finding{Code: XMLSyntax, Severity: Error, Line: syntax.Line, Path: v.path(), Found: fmt.Sprintf("column %d: %s", syntax.Column, syntax.Why)})
		return nil
	}
	return err
}

// root finds version and message; false when nothing more can be said.
func (v *validator) root() bool {
	name := v.s.Expanded(v.s.Name())
	v.version = versionOf(name.Space)
	if v.version == 0 {
		v.find(VersionUnknown, Error, "", "2.1, 2.2, 2.3", name.Space)
		return false
	}
	v.m = modelOf(v.version)
	t := v.m.roots[name.Local]
	if t == nil {
		v.find(RootUnknown, Error, "", "", name.Local)
		return false
	}
	if v.version == V20 {
		v.find(VersionReadAs, Warning, "", V21.String(), V20.String())
	}
	v.push(frame{typ: t, name: v.s.Name()}, nil)
	return true
}

// lookup says what a name is to SEDA.
func (v *validator) lookup(id scan.NameID) sedaName {
	for int(id) >= len(v.names) {
		v.names = append(v.names, sedaName{})
	}
	n := v.names[id]
	if !n.known {
		name := v.s.Expanded(id)
		n = sedaName{known: true, seda: name.Space == v.version.Namespace()}
		if n.seda {
			n.sym = v.m.symbols.numbers[name.Local]
		}
		v.names[id] = n
	}
	return n
}

// start takes a start tag below the root.
func (v *validator) start() {
	parent := &v.stack[len(v.stack)-1]
	name := v.s.Name()
	n := v.lookup(name)
	t := parent.typ
	switch {
	case t == nil:
		v.passOver(name, parent.lax, n)
		return
	case t.simple != nil || parent.null:
		v.unexpected(parent, name)
		return
	}
	local := uint8(0)
	if n.sym != 0 {
		local = t.local[n.sym]
	}
	if local == 0 {
		v.foreign(parent, name, n)
		return
	}
	decl := &t.elements[local]
	to := t.next[parent.state][local]
	if to == 0 || t.all && parent.seen&(1<<local) != 0 {
		v.find(ElementOrder, Error, "", t.expected(parent.state), v.shown(name))
		to = t.anywhere(local)
	}
	parent.state, parent.seen = to, parent.seen|1<<(local&63)
	v.push(frame{typ: decl.typ, decl: decl, name: name}, decl)
}

// anywhere is a state that an element leads to from some other.
func (t *complexType) anywhere(local uint8) uint8 {
	for _, row := range t.next {
		if row[local] != 0 {
			return row[local]
		}
	}
	return 0
}

// foreign takes an element that its parent's type has no word of.
func (v *validator) foreign(parent *frame, name scan.NameID, n sedaName) {
	t := parent.typ
	local := v.s.Expanded(name).Local
	switch later, from := t.later(v.m.version, local, n.seda); {
	case t.open && !n.seda:
		v.push(frame{name: name, lax: true}, nil)
	case v.mode == Strict:
		v.unexpected(parent, name)
	case n.seda && v.m.dialect[t.name+"/"+local] != nil:
		decl := v.m.dialect[t.name+"/"+local]
		v.find(ElementExtension, Warning, "", "", local)
		v.push(frame{typ: decl.typ, decl: decl, name: name}, decl)
	case later != nil:
		v.find(ElementLater, Warning, "", from.String(), local)
		v.push(frame{typ: later.typ, decl: later, name: name}, later)
	case n.seda && t.earlier(v.m.version, local):
		v.unexpected(parent, name)
	case t.extends != "" || t.open:
		v.find(ElementExtension, Warning, "", "", v.shown(name))
		parent.extra = true
		v.push(frame{name: name}, nil)
	default:
		v.unexpected(parent, name)
	}
}

// later finds an element of this type in a later version.
func (t *complexType) later(v Version, local string, seda bool) (*elementDecl, Version) {
	if !seda {
		return nil, 0
	}
	for _, w := range []Version{V22, V23} {
		if w > v {
			if d := modelOf(w).element(t.name, local); d != nil {
				return d, w
			}
		}
	}
	return nil, 0
}

// earlier reports whether an earlier version had an element that this has no more.
func (t *complexType) earlier(v Version, local string) bool {
	for _, w := range []Version{V21, V22} {
		if w < v && modelOf(w).element(t.name, local) != nil {
			return true
		}
	}
	return false
}

func (m *model) element(typ, local string) *elementDecl {
	t := m.types[typ]
	if s := m.symbols.numbers[local]; t != nil && s != 0 && t.local[s] != 0 {
		return &t.elements[t.local[s]]
	}
	return nil
}

func (v *validator) unexpected(parent *frame, name scan.NameID) {
	expected := "#text"
	if parent.typ.simple == nil && !parent.null {
		expected = parent.typ.expected(parent.state)
	}
	v.find(ElementUnexpected, Error, "", expected, v.shown(name))
	v.push(frame{name: name}, nil)
}

// passOver takes an element inside one that is passed over. In lax content a message
// is validated where it stands (XML Schema part 1 section 3.10.1).
func (v *validator) passOver(name scan.NameID, lax bool, n sedaName) {
	f := frame{name: name, lax: lax}
	if lax && n.seda {
		f.typ = v.m.roots[v.s.Expanded(name).Local]
	}
	v.push(f, nil)
}

// expected lists what may come in a state.
func (t *complexType) expected(state uint8) string {
	var names []string
	for local, to := range t.next[state] {
		if to != 0 {
			names = append(names, t.elements[local].name)
		}
	}
	if t.final[state] {
		names = append(names, "</"+t.short()+">")
	}
	const most = 12
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return strings.Join(names, ", ")
}

// short is the name of a type as its elements are mostly called.
func (t *complexType) short() string { return strings.TrimSuffix(t.name, "Type") }

// push opens an element: its type, then its attributes.
func (v *validator) push(f frame, decl *elementDecl) {
	v.stack = append(v.stack, f)
	top := &v.stack[len(v.stack)-1]
	v.text = v.text[:0]
	if top.typ != nil {
		v.instance(top, decl)
	}
	if top.typ == nil {
		v.xmlID(top)
		return
	}
	v.attributes(top)
	if top.typ.simple != nil && top.typ.simple.name == "base64Binary" {
		top.base64 = &base64Checker{}
	}
	v.visit.open(v, top)
}

// xmlID minds the identifier of an element that is passed over: xml:id is one anywhere
// (W3C xml:id section 4).
func (v *validator) xmlID(f *frame) {
	for _, a := range v.s.Attrs() {
		if v.s.Expanded(a.Name) == (scan.Name{Space: scan.XMLSpace, Local: "id"}) {
			v.visit.identifier(v, isID, collapse.apply(a.Value), f)
		}
	}
}

// instance obeys xsi:type and xsi:nil (XML Schema part 1 section 2.6).
func (v *validator) instance(f *frame, decl *elementDecl) {
	for _, a := range v.s.Attrs() {
		switch v.s.Expanded(a.Name) {
		case scan.Name{Space: xsiSpace, Local: "type"}:
			f.typ = v.instanceType(f.typ, string(collapse.apply(a.Value)))
		case scan.Name{Space: xsiSpace, Local: "nil"}:
			value := string(collapse.apply(a.Value))
			switch {
			case value == "true" || value == "1":
				f.null = true
			case value != "false" && value != "0":
				v.find(ValueInvalid, Error, "", "true, false", value)
			}
			if decl == nil || !decl.nillable {
				v.find(NilInvalid, Error, "", "", "")
			}
		}
		if f.typ == nil {
			return
		}
	}
	if f.typ.abstract {
		severity := Error
		if v.mode == Tolerant && f.typ.open {
			severity = Warning
		}
		v.find(TypeInvalid, severity, "", "xsi:type", f.typ.name)
		f.typ = nil
	}
}

// instanceType finds what xsi:type names; nil, with a finding, when it cannot stand here.
func (v *validator) instanceType(declared *complexType, qname string) *complexType {
	prefix, local, ok := strings.Cut(qname, ":")
	if !ok {
		prefix, local = "", qname
	}
	space, bound := v.s.Lookup(prefix)
	var t *complexType
	switch {
	case !bound:
	case space == v.version.Namespace():
		t = v.m.types[local]
		if _, builtin := builtinNames[local]; builtin {
			t = nil
		}
	case space == "http://www.w3.org/2001/XMLSchema" && local != "xmlLang":
		if s := v.m.simples[local]; s != nil && builtinNames[local] {
			t = &complexType{name: local, simple: s}
		}
	}
	if t != nil && (t.derives(declared) || declared.simple != nil && t.simple != nil && len(declared.attrs) == 0 && t.simple.derives(declared.simple)) {
		return t
	}
	v.find(TypeInvalid, Error, "", declared.name, qname)
	return nil
}

// builtinNames are the names of XML Schema's own types.
var builtinNames = func() map[string]bool {
	out := map[string]bool{}
	for name := range builtins() {
		out[name] = true
	}
	return out
}()

func (v *validator) attributes(f *frame) {
	found := uint64(0)
	for _, a := range v.s.Attrs() {
		name := v.s.Expanded(a.Name)
		if name.Space == xsiSpace {
			switch name.Local {
			case "type", "nil", "schemaLocation", "noNamespaceSchemaLocation":
				continue
			}
		}
		i := f.typ.attribute(name)
		if i < 0 {
			severity := Error
			if v.mode == Tolerant {
				severity = Warning
			}
			v.find(AttributeUnknown, severity, "", "", string(a.Raw))
			continue
		}
		found |= 1 << i
		at := &f.typ.attrs[i]
		value, err := at.typ.validate(a.Value)
		if err != nil {
			v.invalid(at.typ, value, err, "@"+at.local)
			continue
		}
		if kind := at.typ.idOf(); kind != noID {
			if kind == isID && at.local == "id" {
				f.id = string(value)
			}
			v.visit.identifier(v, kind, value, f)
		}
	}
	for i := range f.typ.attrs {
		if f.typ.attrs[i].required && found&(1<<i) == 0 {
			v.find(AttributeMissing, Error, "", f.typ.attrs[i].local, "")
		}
	}
}

func (t *complexType) attribute(name scan.Name) int {
	for i := range t.attrs {
		if t.attrs[i].local == name.Local && t.attrs[i].space == name.Space {
			return i
		}
	}
	return -1
}

// invalid reports a value that is not of its type.
func (v *validator) invalid(t *simpleType, value []byte, err error, where string) {
	want := t.describe()
	if errors.Is(err, errEmpty) {
		want = "≠ \"\""
	}
	v.findAt(v.path()+where, ValueInvalid, Error, v.nearID(), want, clipped(value))
}

// describe says what a simple type wants.
func (t *simpleType) describe() string {
	switch {
	case len(t.enum) > 0:
		return strings.Join(t.enum, ", ")
	case len(t.union) > 0:
		var parts []string
		for _, m := range t.union {
			parts = append(parts, m.describe())
		}
		return strings.Join(parts, " | ")
	case builtinNames[t.name] || t.base == nil:
		return t.name
	}
	return t.base.describe()
}

// characters takes text.
func (v *validator) characters(p []byte) {
	f := &v.stack[len(v.stack)-1]
	switch {
	case f.typ == nil:
	case f.base64 != nil && !f.null:
		if n := f.base64.size; n <= maxAttachment && n+len(p) > maxAttachment {
			v.find(ValueTooLong, Error, f.id, strconv.Itoa(maxAttachment), "")
		}
		f.base64.write(p)
	case f.typ.simple != nil && !f.null:
		if len(v.text)+len(p) > maxValue {
			if len(v.text) <= maxValue {
				v.find(ValueTooLong, Error, f.id, strconv.Itoa(maxValue), "")
			}
			v.text = append(v.text[:0], make([]byte, maxValue+1)...)[:maxValue+1]
			return
		}
		v.text = append(v.text, p...)
	case f.noted:
	case f.null && len(p) > 0:
		f.noted = true
		v.find(NilInvalid, Error, "", "", "")
	case !blank(p):
		f.noted = true
		v.find(TextUnexpected, Error, "", "", clipped(p))
	}
}

// end takes an end tag: the content must be complete, the value of its type.
func (v *validator) end() {
	f := &v.stack[len(v.stack)-1]
	switch {
	case f.typ == nil || f.null:
	case f.base64 != nil:
		if !f.base64.done() {
			v.find(ValueInvalid, Error, "", "base64Binary", "")
		}
	case f.typ.simple != nil:
		v.endValue(f)
	case !f.typ.final[f.state] && !f.extra:
		v.find(ElementMissing, Error, f.id, f.typ.expected(f.state), v.shown(f.name))
	}
	if f.typ != nil {
		v.visit.close(v, f)
	}
	v.stack = v.stack[:len(v.stack)-1]
	v.text = v.text[:0]
}

func (v *validator) endValue(f *frame) {
	if len(v.text) > maxValue {
		return
	}
	text := v.text
	if len(text) == 0 && f.decl != nil && f.decl.fallback != nil {
		text = f.decl.fallback
	}
	value, err := f.typ.simple.validate(text)
	if err != nil {
		v.invalid(f.typ.simple, value, err, "")
		return
	}
	if kind := f.typ.simple.idOf(); kind != noID {
		v.visit.identifier(v, kind, value, f)
	}
	v.visit.value(v, f, value)
}

// inUnit reports whether the value that ends is in a reference of an archive unit
// itself, not of what it describes.
func (v *validator) inUnit() bool {
	n := len(v.stack)
	return n >= 3 && v.stack[n-3].typ != nil && v.stack[n-3].typ.name == "ArchiveUnitType"
}

// find adds a finding about the element that is open.
func (v *validator) find(code Code, severity Severity, id, expected, found string) {
	if id == "" {
		id = v.nearID()
	}
	v.findAt(v.path(), code, severity, id, expected, found)
}

func (v *validator) findAt(path string, code Code, severity Severity, id, expected, found string) {
	v.findings.Add(Finding{Code: code, Severity: severity, Line: v.s.Line(), Path: path, ID: id, Expected: expected, Found: found})
}

// nearID is the XML id of the innermost open element that has one.
func (v *validator) nearID() string {
	for i := len(v.stack) - 1; i >= 0; i-- {
		if v.stack[i].id != "" {
			return v.stack[i].id
		}
	}
	return ""
}

// path names the open elements.
func (v *validator) path() string {
	var b strings.Builder
	for _, f := range v.stack {
		b.WriteString("/" + v.s.Expanded(f.name).Local)
		if f.id != "" {
			fmt.Fprintf(&b, "[@id='%s']", f.id)
		}
	}
	return b.String()
}

// shown is a name as a finding shows it: with its namespace when that is another.
func (v *validator) shown(id scan.NameID) string {
	name := v.s.Expanded(id)
	if name.Space == "" || v.lookup(id).seda {
		return name.Local
	}
	return "{" + name.Space + "}" + name.Local
}
