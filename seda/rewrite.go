package seda

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"sae/seda/scan"
)

// Fragment is an element of a document kept as XML, and how to write it into another.
type Fragment struct {
	XML  []byte
	Type string  // of the schema
	From Version // of the document that it was in
	// Rename gives the XML id that is to stand for another; "" when what that
	// identified is not in the document. Other, when not empty, is put before ids that
	// are renamed to nothing: those inside fragments, which would meet in a document
	// made of several.
	Rename Renamer
	Other  string
	// PID gives the identifier in the archive of a unit that is not in the document.
	PID Renamer
}

// Renamer gives the XML id that is to stand for another; "" when what it identified is
// not in the document.
type Renamer func(id string) string

// rewriter writes a fragment as one of another version, or with other identifiers.
type rewriter struct {
	s    *scan.Scanner
	from *model
	to   *model
	f    Fragment
	out  []byte
	lost []string // elements that the version has not
	last string   // identifier read last, as it was
}

func (f Fragment) open(to Version) (*rewriter, error) {
	doc := io.MultiReader(bytes.NewReader(fmt.Appendf(nil, "<w xmlns=%q>", f.From.Namespace())), bytes.NewReader(f.XML), bytes.NewReader([]byte("</w>")))
	r := &rewriter{s: scan.New(doc, scan.DefaultLimits), from: modelOf(f.From), to: modelOf(to), f: f}
	for range 2 {
		if k, err := r.s.Next(); err != nil || k != scan.Start {
			return nil, fmt.Errorf("rewriting a fragment: %w", err)
		}
	}
	return r, nil
}

// Rewrite gives a fragment as XML of a version, with identifiers renamed. What the
// version has no place for is left out and named in lost.
func (f Fragment) Rewrite(to Version) (out []byte, lost []string, err error) {
	r, err := f.open(to)
	if err != nil {
		return nil, nil, err
	}
	err = r.element(r.from.types[f.Type], r.to.types[f.Type])
	return r.out, r.lost, err
}

// child is an element in a fragment.
type child struct {
	name string // local, of the namespace of SEDA; "" for another
	xml  []byte
}

// children gives the elements in a fragment, rewritten, in the order of the version.
func (f Fragment) children(to Version) (out []child, lost []string, err error) {
	r, err := f.open(to)
	if err != nil {
		return nil, nil, err
	}
	for {
		k, err := r.s.Next()
		if err != nil {
			return nil, nil, fmt.Errorf("rewriting a fragment: %w", err)
		}
		switch k {
		case scan.End:
			sortChildren(r.to, f.Type, out)
			return out, r.lost, nil
		case scan.Start:
			c := child{}
			if n := r.s.Expanded(r.s.Name()); n.Space == f.From.Namespace() {
				c.name = n.Local
			}
			r.out = nil
			if err := r.child(r.from.types[f.Type], r.to.types[f.Type]); err != nil {
				return nil, nil, err
			}
			if c.xml = r.out; len(c.xml) > 0 {
				out = append(out, c)
			}
		}
	}
}

func sortChildren(m *model, typ string, children []child) {
	slices.SortStableFunc(children, func(x, y child) int { return m.order(typ, x.name) - m.order(typ, y.name) })
}

// order is the place of an element in a type that is a plain sequence; extensions are
// last.
func (m *model) order(typ, name string) int {
	t := m.types[typ]
	if s := m.symbols.numbers[name]; s != 0 && t.local[s] != 0 {
		return int(t.local[s])
	}
	return 1 << 10
}

// element writes the element whose start tag was just read. from and to are its types, nil
// for content that SEDA does not define.
func (r *rewriter) element(from, to *complexType) error {
	name := string(r.s.RawName())
	id := noID
	r.out = append(append(r.out, '<'), name...)
	for _, d := range r.s.Declarations() {
		r.attribute(declarationName(d), []byte(d.Space))
	}
	for _, a := range r.s.Attrs() {
		value := a.Value
		if from != nil {
			if i := from.attribute(r.s.Expanded(a.Name)); i >= 0 && from.attrs[i].typ.idOf() != noID {
				value = []byte(r.renamed(string(collapse.apply(value))))
			}
		}
		r.attribute(string(a.Raw), value)
	}
	r.out = append(r.out, '>')
	if from != nil && from.simple != nil {
		id = from.simple.idOf()
	}
	start := len(r.out)
	for {
		k, err := r.s.Next()
		if err != nil {
			return fmt.Errorf("rewriting a fragment: %w", err)
		}
		switch k {
		case scan.Text:
			r.out = appendEscaped(r.out, r.s.Text(), false)
		case scan.Start:
			if err := r.child(from, to); err != nil {
				return err
			}
		case scan.End:
			if id != noID {
				value := collapse.apply(slices.Clone(r.out[start:]))
				r.last = string(value)
				r.out = append(r.out[:start], r.renamed(string(value))...)
			}
			if len(r.out) == start {
				r.out = append(r.out[:start-1], "/>"...)
			} else {
				r.out = append(append(append(r.out, "</"...), name...), '>')
			}
			return nil
		}
	}
}

// renamed is an XML id as it is to be in the document.
func (r *rewriter) renamed(id string) string {
	if n := r.f.Rename(id); n != "" {
		return n
	}
	return r.f.Other + id
}

func (r *rewriter) attribute(name string, value []byte) {
	r.out = append(append(append(r.out, ' '), name...), `="`...)
	r.out = append(appendEscaped(r.out, value, true), '"')
}

// child writes a child, or leaves it out when the target version has no such element
// where the version of the fragment has one.
func (r *rewriter) child(from, to *complexType) error {
	name := r.s.Expanded(r.s.Name())
	if from == nil || name.Space != r.from.version.Namespace() {
		return r.element(nil, nil)
	}
	decl := r.from.element(from.name, name.Local)
	target := (*elementDecl)(nil)
	if to != nil {
		target = r.to.element(to.name, name.Local)
	}
	switch {
	case decl == nil && target == nil: // an extension, kept as it is
		return r.element(nil, nil)
	case target == nil && r.to != r.from:
		r.lost = append(r.lost, name.Local)
		return r.skip()
	}
	if decl == nil {
		decl = target
	}
	if target == nil {
		target = decl
	}
	if name.Local == "ArchiveUnitRefId" && from.name == "DataObjectOrArchiveUnitReferenceType" {
		return r.unitReference(decl, target)
	}
	at := len(r.out)
	if err := r.element(decl.typ, target.typ); err != nil || r.to == r.from || target.typ.simple == nil || !bytes.HasSuffix(r.out, []byte("/>")) {
		return err
	}
	if _, err := target.typ.simple.validate(nil); err != nil { // empty where the version wants a value
		r.out, r.lost = r.out[:at], append(r.lost, name.Local)
	}
	return nil
}

// unitReference writes a reference to a unit: by its XML id when it is in the document,
// else by its identifier in the archive (RepositoryArchiveUnitPID).
func (r *rewriter) unitReference(decl, target *elementDecl) error {
	at := len(r.out)
	if err := r.element(decl.typ, target.typ); err != nil {
		return err
	}
	if r.f.Rename(r.last) != "" || r.f.PID == nil {
		return nil
	}
	if pid := r.f.PID(r.last); pid != "" {
		r.out = append(r.out[:at], "<RepositoryArchiveUnitPID>"...)
		r.out = append(appendEscaped(r.out, []byte(pid), false), "</RepositoryArchiveUnitPID>"...)
	}
	return nil
}

// skip passes over the rest of an element.
func (r *rewriter) skip() error {
	for depth := 1; depth > 0; {
		k, err := r.s.Next()
		switch {
		case err != nil:
			return fmt.Errorf("rewriting a fragment: %w", err)
		case k == scan.Start:
			depth++
		case k == scan.End:
			depth--
		}
	}
	return nil
}
