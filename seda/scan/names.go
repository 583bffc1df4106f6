package scan

import (
	"bytes"
	"errors"
	"fmt"
)

// Namespaces that XML itself binds.
const (
	XMLSpace   = "http://www.w3.org/XML/1998/namespace"
	XMLNSSpace = "http://www.w3.org/2000/xmlns/"
)

// names expands qualified names. It remembers what each means as long as no
// namespace declaration changes that.
type names struct {
	list   []Name
	ids    map[Name]NameID
	scopes []scope // innermost last
	raw    []byte  // names of the open elements as written, one behind the other
}

// scope is what prefixes mean within one element.
type scope struct {
	bindings          []Declaration
	elements, attribs map[string]NameID // by qualified name
}

func (n *names) init() {
	n.ids = map[Name]NameID{}
	n.scopes = []scope{newScope()}
	n.scopes[0].bindings = []Declaration{{"xml", XMLSpace}}
}

func newScope() scope {
	return scope{elements: map[string]NameID{}, attribs: map[string]NameID{}}
}

// declare takes a namespace declaration of the element that opens; *opened says
// whether that has a scope yet.
func (n *names) declare(name, value []byte, opened *bool) error {
	prefix := ""
	if len(name) > 5 {
		if prefix = string(name[6:]); prefix == "" || bytes.IndexByte(name[6:], ':') >= 0 || !IsName(name[6:]) {
			return fmt.Errorf("namespace declaration %q names no prefix", clip(name))
		}
	}
	space := string(value)
	switch {
	case prefix == "xmlns" || space == XMLNSSpace || (prefix == "xml") != (space == XMLSpace):
		return errors.New("the prefixes xml and xmlns and their namespaces cannot be bound otherwise")
	case prefix != "" && space == "":
		return fmt.Errorf("prefix %q is bound to no namespace", prefix)
	}
	if !*opened {
		n.scopes = append(n.scopes, newScope())
		*opened = true
	}
	top := &n.scopes[len(n.scopes)-1]
	for _, b := range top.bindings {
		if b.Prefix == prefix {
			return fmt.Errorf("namespace declaration %q is there twice", clip(name))
		}
	}
	top.bindings = append(top.bindings, Declaration{prefix, space})
	return nil
}

func (n *names) lookup(prefix string) (string, bool) {
	for i := len(n.scopes) - 1; i >= 0; i-- {
		for _, b := range n.scopes[i].bindings {
			if b.Prefix == prefix {
				return b.Space, true
			}
		}
	}
	return "", prefix == ""
}

func (n *names) element(raw []byte, limit int) (NameID, error) {
	known := n.scopes[len(n.scopes)-1].elements
	if id, ok := known[string(raw)]; ok {
		return id, nil
	}
	return n.expand(known, raw, true, limit)
}

func (n *names) attribute(raw []byte, limit int) (NameID, error) {
	known := n.scopes[len(n.scopes)-1].attribs
	if id, ok := known[string(raw)]; ok {
		return id, nil
	}
	return n.expand(known, raw, false, limit)
}

// maxName bounds a qualified name, in bytes.
const maxName = 1024

// expand finds what a qualified name means, and remembers it in known. The default
// namespace is for elements alone (Namespaces in XML section 6.2).
func (n *names) expand(known map[string]NameID, raw []byte, useDefault bool, limit int) (NameID, error) {
	if len(raw) > maxName {
		return 0, fmt.Errorf("a name of more than %d bytes", maxName)
	}
	prefix, local, qualified := bytes.Cut(raw, []byte(":"))
	if !qualified {
		prefix, local = nil, raw
	}
	if qualified && len(prefix) == 0 || !IsName(local) {
		return 0, fmt.Errorf("%q is no qualified name", clip(raw))
	}
	name := Name{Local: string(local)}
	if qualified || useDefault {
		space, ok := n.lookup(string(prefix))
		if !ok {
			return 0, fmt.Errorf("prefix %q of %q is bound to no namespace", clip(prefix), clip(raw))
		}
		name.Space = space
	}
	id, ok := n.ids[name]
	if !ok {
		if len(n.list) == limit {
			return 0, fmt.Errorf("more than %d different names", limit)
		}
		id = NameID(len(n.list))
		n.list, n.ids[name] = append(n.list, name), id
	}
	known[string(raw)] = id
	return id, nil
}

// push remembers the name of an element as written and gives where it ends.
func (n *names) push(raw []byte) int {
	n.raw = append(n.raw, raw...)
	return len(n.raw)
}

// open is the name, as written, of the innermost open element.
func (n *names) open(stack []element) []byte {
	from := 0
	if len(stack) > 1 {
		from = stack[len(stack)-2].rawEnd
	}
	return n.raw[from:stack[len(stack)-1].rawEnd]
}

// close forgets the element that is no longer on the stack.
func (n *names) close(stack []element, scoped bool) {
	end := 0
	if len(stack) > 0 {
		end = stack[len(stack)-1].rawEnd
	}
	n.raw = n.raw[:end]
	if scoped {
		n.scopes = n.scopes[:len(n.scopes)-1]
	}
}
