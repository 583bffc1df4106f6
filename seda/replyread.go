package seda

import (
	"fmt"
	"io"
)

// Taken is an ArchiveTransferReply as it is read: what the archive took, by the XML ids of the
// transfer.
type Taken struct {
	Message
	Units   map[string]string // XML id -> system identifier
	Objects map[string]Given  // binary ones, by XML id
}

// ReadReply reads an ArchiveTransferReply. What is wrong with it is in findings; the error is of
// reading.
func ReadReply(r io.Reader, mode Mode, findings *Findings) (*Taken, error) {
	t := &Taken{Units: map[string]string{}, Objects: map[string]Given{}}
	v := &replyReader{messageReader: messageReader{m: &t.Message, ids: map[string]bool{}}, taken: t}
	if _, err := validate(r, mode, v, findings, nil); err != nil {
		return nil, fmt.Errorf("reading a reply: %w", err)
	}
	if t.Name != "" && t.Name != "ArchiveTransferReply" {
		findings.Add(Finding{Code: MessageOther, Severity: Error, Expected: "ArchiveTransferReply", Found: t.Name})
	}
	return t, nil
}

// replyReader is the visitor that takes what a reply says of units and objects, too.
type replyReader struct {
	messageReader
	taken  *Taken
	units  []string // XML ids of those that are open
	object *Given   // that is open
}

func (r *replyReader) open(v *validator, f *frame) {
	r.messageReader.open(v, f)
	if f.decl == nil {
		return
	}
	switch f.decl.act {
	case actUnit:
		r.units = append(r.units, f.id)
	case actBinary:
		r.object = &Given{XMLID: f.id}
	case actDigest:
		if r.object != nil {
			r.object.Algorithm = string(attr(v, "algorithm"))
		}
	}
}

func (r *replyReader) close(v *validator, f *frame) {
	if f.decl == nil {
		return
	}
	switch f.decl.act {
	case actUnit:
		r.units = r.units[:len(r.units)-1]
	case actBinary:
		if r.object.XMLID != "" {
			r.taken.Objects[r.object.XMLID] = *r.object
		}
		r.object = nil
	}
}

func (r *replyReader) value(v *validator, f *frame, value []byte) {
	r.messageReader.value(v, f, value)
	if f.decl == nil {
		return
	}
	switch {
	case r.object != nil && f.decl.name == "DataObjectSystemId":
		r.object.SystemID = string(value)
	case r.object != nil && f.decl.act == actDigest:
		r.object.Digest = string(value)
	case len(r.units) > 0 && f.decl.name == "SystemId" && v.s.Expanded(v.stack[len(v.stack)-2].name).Local == "Content":
		if id := r.units[len(r.units)-1]; id != "" {
			r.taken.Units[id] = string(value)
		}
	}
}
