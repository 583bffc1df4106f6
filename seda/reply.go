package seda

import (
	"fmt"
	"io"
	"iter"
	"time"
)

// Event is what happened to a transfer (SEDA EventType).
type Event struct {
	Code    string // EventTypeCode
	Type    string // EventType: what it was, for people
	Time    time.Time
	Outcome string // OK, WARNING, KO
	Detail  string // OutcomeDetail: code of the outcome
	Message string // OutcomeDetailMessage
	Data    string // EventDetailData
}

// Given is the identifier that an archive gave to what a transfer calls by its XML id.
type Given struct {
	XMLID    string
	SystemID string
	Group    string // of an object: XML id of its group, "" for none
	GroupID  string // of an object: system identifier of its group
	Usage    string // of an object: DataObjectVersion
	Physical bool
	// Of a binary object: the digest of what was archived, hex, and its size.
	Digest, Algorithm string
	Size              int64
}

// Reply is an ArchiveTransferReply.
type Reply struct {
	Version    Version
	Identifier string // of the reply
	Date       time.Time
	Granted    time.Time // when the archive took charge; zero when it refused
	To         Header    // the transfer that it answers
	Comment    string
	Objects    iter.Seq[Given] // those of a group one behind the other; nil when nothing was taken
	Units      iter.Seq[Given]
	Events     []Event
	Code       string // OK, WARNING, KO
}

// Outcomes of replies and events.
const (
	OutcomeOK      = "OK"
	OutcomeWarning = "WARNING"
	OutcomeKO      = "KO"
)

// Outcome is what findings make of a transfer.
func (fs *Findings) Outcome() string {
	switch {
	case fs.Refused():
		return OutcomeKO
	case len(fs.List) > 0:
		return OutcomeWarning
	}
	return OutcomeOK
}

// EventsOf gives each finding as an event.
func EventsOf(fs *Findings, when time.Time) (out []Event) {
	for _, f := range fs.List {
		outcome := OutcomeWarning
		if f.Severity == Error {
			outcome = OutcomeKO
		}
		data := ""
		for _, part := range [...]struct{ name, value string }{{"id", f.ID}, {"file", f.File}, {"line", lineOf(f.Line)}, {"path", f.Path}, {"expected", f.Expected}, {"found", f.Found}} {
			if part.value != "" {
				data += fmt.Sprintf("%s=%q ", part.name, part.value)
			}
		}
		out = append(out, Event{Code: "CHECK", Type: f.Sentence(English), Time: when, Outcome: outcome, Detail: string(f.Code), Message: f.Sentence(French), Data: data})
	}
	return out
}

func lineOf(n int) string {
	if n == 0 {
		return ""
	}
	return number(int64(n))
}

// Write writes the reply as a document of its version of SEDA.
func (r *Reply) Write(w io.Writer) error {
	x := newWriter(w)
	x.message("ArchiveTransferReply", r.Version, r.Comment, r.Date, r.Identifier, r.To.Agreement)
	if r.Units != nil {
		r.writePackage(x)
	}
	x.optional("ReplyCode", r.Code)
	x.start("Operation")
	for _, e := range r.Events {
		x.event(e)
	}
	x.end()
	x.element("MessageRequestIdentifier", orUnknown(r.To.Identifier))
	if !r.Granted.IsZero() {
		x.element("GrantDate", dateTime(r.Granted))
	}
	x.organization("ArchivalAgency", orUnknown(r.To.ArchivalAgency))
	x.organization("TransferringAgency", orUnknown(r.To.TransferringAgency))
	x.end()
	return x.close()
}

// orUnknown fills what a reply must have and a refused transfer may lack.
func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// message opens a message with what all begin with (SEDA MessageType, BusinessMessageType).
func (x *writer) message(name string, v Version, comment string, date time.Time, identifier, agreement string) {
	x.start(name, "xmlns", max(v, V21).Namespace())
	x.optional("Comment", comment)
	x.element("Date", dateTime(date))
	x.element("MessageIdentifier", identifier)
	x.optional("ArchivalAgreement", agreement)
	x.start("CodeListVersions")
	x.element("ReplyCodeListVersion", "sae-1")
	x.element("MessageDigestAlgorithmCodeListVersion", "sae-1")
	x.element("FileFormatCodeListVersion", "PRONOM")
	x.end()
}

// writePackage names what was taken: each object and unit by its XML id, with the
// identifier it has now.
func (r *Reply) writePackage(x *writer) {
	x.start("DataObjectPackage")
	group := "" // that is open
	for o := range r.Objects {
		if group != "" && o.Group != group {
			x.end()
		}
		if o.Group != "" && o.Group != group {
			x.start("DataObjectGroup", "id", o.Group)
		}
		group = o.Group
		o.write(x)
	}
	if group != "" {
		x.end()
	}
	x.start("DescriptiveMetadata")
	for u := range r.Units {
		x.start("ArchiveUnit", "id", u.XMLID)
		x.start("Content")
		x.element("SystemId", u.SystemID)
		x.end()
		x.end()
	}
	x.end()
	x.start("ManagementMetadata")
	x.end()
	x.end()
}

func (o *Given) write(x *writer) {
	name := "BinaryDataObject"
	if o.Physical {
		name = "PhysicalDataObject"
	}
	x.start(name, "id", o.XMLID)
	x.optional("DataObjectSystemId", o.SystemID)
	x.optional("DataObjectGroupSystemId", o.GroupID)
	x.optional("DataObjectVersion", o.Usage)
	if o.Digest != "" {
		x.element("MessageDigest", o.Digest, "algorithm", o.Algorithm)
		x.element("Size", number(o.Size))
	}
	x.end()
}

func (x *writer) event(e Event) {
	x.start("Event")
	x.optional("EventTypeCode", e.Code)
	x.optional("EventType", e.Type)
	x.element("EventDateTime", dateTime(e.Time))
	x.optional("Outcome", e.Outcome)
	x.optional("OutcomeDetail", e.Detail)
	x.optional("OutcomeDetailMessage", e.Message)
	x.optional("EventDetailData", e.Data)
	x.end()
}
