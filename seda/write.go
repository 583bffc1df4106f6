package seda

import (
	"io"
	"strconv"
	"time"
)

// writer writes XML. Elements are in the default namespace, which is that of a version.
type writer struct {
	w     io.Writer
	buf   []byte
	open  []string
	fresh bool // the last thing written was a start tag
	err   error
}

func newWriter(w io.Writer) *writer {
	return &writer{w: w, buf: append(make([]byte, 0, 64<<10), "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"...)}
}

// start opens an element; attributes come as name, value, name, value.
func (x *writer) start(name string, attributes ...string) {
	x.indent()
	x.buf = append(append(x.buf, '<'), name...)
	for i := 0; i+1 < len(attributes); i += 2 {
		x.buf = append(append(append(x.buf, ' '), attributes[i]...), `="`...)
		x.buf = append(appendEscaped(x.buf, []byte(attributes[i+1]), true), '"')
	}
	x.buf = append(x.buf, '>')
	x.open, x.fresh = append(x.open, name), true
	x.flush(false)
}

// end closes the element that was opened last.
func (x *writer) end() {
	name := x.open[len(x.open)-1]
	x.open = x.open[:len(x.open)-1]
	if x.fresh {
		x.buf = append(x.buf[:len(x.buf)-1], "/>"...)
		x.fresh = false
		return
	}
	x.indent()
	x.buf = append(append(append(x.buf, "</"...), name...), '>')
}

// element writes an element of text.
func (x *writer) element(name, text string, attributes ...string) {
	x.start(name, attributes...)
	x.buf = appendEscaped(x.buf, []byte(text), false)
	x.buf = append(append(append(x.buf, "</"...), name...), '>')
	x.open, x.fresh = x.open[:len(x.open)-1], false
}

// optional writes an element of text, when there is text.
func (x *writer) optional(name, text string) {
	if text != "" {
		x.element(name, text)
	}
}

// raw writes XML as it is.
func (x *writer) raw(xml []byte) {
	if len(xml) > 0 {
		x.indent()
		x.buf = append(x.buf, xml...)
		x.flush(false)
	}
}

func (x *writer) indent() {
	if x.buf[len(x.buf)-1] != '\n' {
		x.buf = append(x.buf, '\n')
	}
	for range x.open {
		x.buf = append(x.buf, ' ', ' ')
	}
	x.fresh = false
}

// flush hands on what was written; all of it at the end.
func (x *writer) flush(all bool) {
	if x.err != nil || !all && len(x.buf) < 32<<10 {
		return
	}
	keep := 1 // a start tag may still become an empty element
	if all {
		keep = 0
	}
	n := len(x.buf) - keep
	_, x.err = x.w.Write(x.buf[:n])
	x.buf = append(x.buf[:0], x.buf[n:]...)
}

func (x *writer) close() error {
	x.buf = append(x.buf, '\n')
	x.flush(true)
	return x.err
}

// organization writes an agency by its identifier.
func (x *writer) organization(name, id string) {
	x.start(name)
	x.element("Identifier", id)
	x.end()
}

func dateTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func number(n int64) string { return strconv.FormatInt(n, 10) }
