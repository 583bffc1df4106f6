package seda

import (
	"fmt"
	"io"
	"time"
)

// Message is a message of SEDA that carries no package: a request, its reply, a
// notification, an acknowledgement. Which fields a message has depends on its Name; the
// others stay empty.
type Message struct {
	Name       string // of the root element
	Version    Version
	Identifier string
	Date       time.Time
	Comments   []string
	Agreement  string

	InReplyTo  string // MessageRequestIdentifier of a reply
	Code       string // ReplyCode of a reply
	Events     []Event
	Units      []string // UnitIdentifier
	Derogation bool     // of an ArchiveDeliveryRequest
	// Authorization is the identifier of the reply that authorises
	// (AuthorizationRequestReplyIdentifier).
	Authorization string
	Request       *AuthorizationRequest
	TransferDate  time.Time // of an ArchiveTransferRequest and its reply
	Related       []string  // RelatedTransferReference

	ArchivalAgency string
	Other          string // the other agency: Requester, OriginatingAgency, ControlAuthority, TransferringAgency

	Received         string // MessageReceivedIdentifier of an Acknowledgement
	Sender, Receiver string // of an Acknowledgement
}

// AuthorizationRequest is what an authorisation is asked for
// (AuthorizationRequestContent).
type AuthorizationRequest struct {
	Reason    string
	Comments  []string
	Date      time.Time
	Units     []string
	Requester string
}

// others names the element of the other agency, by message.
var others = map[string]string{
	"ArchiveDeliveryRequest": "Requester", "ArchiveDeliveryRequestReply": "Requester",
	"ArchiveModificationNotification": "OriginatingAgency", "ArchiveDestructionNotification": "OriginatingAgency",
	"ArchiveRestitutionRequest": "OriginatingAgency", "ArchiveRestitutionRequestReply": "OriginatingAgency",
	"ArchiveTransferRequest": "TransferringAgency", "ArchiveTransferRequestReply": "TransferringAgency",
	"ArchiveTransfer": "TransferringAgency", "ArchiveTransferReply": "TransferringAgency",
	"AuthorizationControlAuthorityRequest": "ControlAuthority", "AuthorizationControlAuthorityRequestReply": "ControlAuthority",
	"AuthorizationOriginatingAgencyRequest": "OriginatingAgency", "AuthorizationOriginatingAgencyRequestReply": "OriginatingAgency",
}

// Write writes the message as a document of its version of SEDA.
func (m *Message) Write(w io.Writer) error {
	t := modelOf(m.Version).roots[m.Name]
	if t == nil {
		return fmt.Errorf("writing a message: %q is none of SEDA", m.Name)
	}
	has := func(name string) bool { return t.local[modelOf(m.Version).symbols.numbers[name]] != 0 }
	x := newWriter(w)
	x.start(m.Name, "xmlns", max(m.Version, V21).Namespace())
	for _, c := range m.Comments {
		x.element("Comment", c)
	}
	x.element("Date", dateTime(m.Date))
	x.element("MessageIdentifier", m.Identifier)
	if has("CodeListVersions") {
		x.optional("ArchivalAgreement", m.Agreement)
		x.start("CodeListVersions")
		x.end()
	}
	if m.Name == "Acknowledgement" {
		x.element("MessageReceivedIdentifier", orUnknown(m.Received))
		x.organization("Sender", orUnknown(m.Sender))
		x.organization("Receiver", orUnknown(m.Receiver))
		x.end()
		return x.close()
	}
	m.writeReply(x, has)
	m.writeRequest(x, has)
	if has("ArchivalAgency") {
		x.organization("ArchivalAgency", orUnknown(m.ArchivalAgency))
	}
	x.organization(others[m.Name], orUnknown(m.Other))
	x.end()
	return x.close()
}

func (m *Message) writeReply(x *writer, has func(string) bool) {
	if !has("MessageRequestIdentifier") {
		return
	}
	x.optional("ReplyCode", m.Code)
	if len(m.Events) > 0 {
		x.start("Operation")
		for _, e := range m.Events {
			x.event(e)
		}
		x.end()
	}
	x.element("MessageRequestIdentifier", orUnknown(m.InReplyTo))
}

func (m *Message) writeRequest(x *writer, has func(string) bool) {
	if r := m.Request; has("AuthorizationRequestContent") && r != nil {
		x.start("AuthorizationRequestContent")
		x.element("AuthorizationReason", r.Reason)
		for _, c := range r.Comments {
			x.element("Comment", c)
		}
		x.element("RequestDate", r.Date.Format(time.DateOnly))
		for _, u := range r.Units {
			x.element("UnitIdentifier", u)
		}
		x.organization("Requester", orUnknown(r.Requester))
		x.end()
	}
	if has("RelatedTransferReference") {
		for _, r := range m.Related {
			x.element("RelatedTransferReference", r)
		}
	}
	if has("TransferDate") && !m.TransferDate.IsZero() {
		x.element("TransferDate", dateTime(m.TransferDate))
	}
	if has("AuthorizationRequestReplyIdentifier") {
		x.optional("AuthorizationRequestReplyIdentifier", m.Authorization)
	}
	if has("Derogation") {
		x.element("Derogation", fmt.Sprint(m.Derogation))
	}
	if has("UnitIdentifier") {
		for _, u := range m.Units {
			x.element("UnitIdentifier", u)
		}
	}
}

// ReadMessage reads a message. What is wrong with it is in findings; the error is of
// reading. A package in it is validated and passed over: see Check.
func ReadMessage(r io.Reader, mode Mode, findings *Findings) (*Message, error) {
	m := &messageReader{m: &Message{}, ids: map[string]bool{}}
	if _, err := validate(r, mode, m, findings, nil); err != nil {
		return nil, fmt.Errorf("reading a message: %w", err)
	}
	return m.m, nil
}

// messageReader is the visitor that takes what a message says.
type messageReader struct {
	m   *Message
	ids map[string]bool
}

func (r *messageReader) open(v *validator, f *frame) {
	switch {
	case f.decl == nil:
		r.m.Name, r.m.Version = v.s.Expanded(f.name).Local, v.version
	case f.decl.name == "AuthorizationRequestContent":
		r.m.Request = &AuthorizationRequest{}
	case f.decl.name == "Event" && len(v.stack) == 3:
		r.m.Events = append(r.m.Events, Event{})
	}
}

func (r *messageReader) close(*validator, *frame) {}

func (r *messageReader) identifier(v *validator, kind idKind, value []byte, _ *frame) {
	if kind == isID && r.ids[string(value)] {
		v.find(IDDuplicate, Error, string(value), "", "")
	}
	r.ids[string(value)] = r.ids[string(value)] || kind == isID
}

func (r *messageReader) value(v *validator, f *frame, value []byte) {
	if f.decl == nil || len(v.stack) > 4 {
		return
	}
	m, text := r.m, string(value)
	parent := v.s.Expanded(v.stack[len(v.stack)-2].name).Local
	switch len(v.stack) {
	case 2:
		m.header(f.decl.name, text)
	case 3:
		switch {
		case m.Request != nil && parent == "AuthorizationRequestContent":
			m.Request.take(f.decl.name, text)
		case f.decl.name == "Identifier":
			m.agency(parent, text)
		}
	case 4:
		switch {
		case parent == "Event" && len(m.Events) > 0 && v.s.Expanded(v.stack[1].name).Local == "Operation":
			m.Events[len(m.Events)-1].take(f.decl.name, text)
		case f.decl.name == "Identifier" && parent == "Requester" && m.Request != nil:
			m.Request.Requester = text
		}
	}
}

func (m *Message) header(name, text string) {
	switch name {
	case "Comment":
		m.Comments = append(m.Comments, text)
	case "Date":
		m.Date = parseTime(text)
	case "MessageIdentifier":
		m.Identifier = text
	case "ArchivalAgreement":
		m.Agreement = text
	case "ReplyCode":
		m.Code = text
	case "MessageRequestIdentifier":
		m.InReplyTo = text
	case "UnitIdentifier":
		m.Units = append(m.Units, text)
	case "Derogation":
		m.Derogation = text == "true" || text == "1"
	case "AuthorizationRequestReplyIdentifier":
		m.Authorization = text
	case "TransferDate", "GrantDate":
		m.TransferDate = parseTime(text)
	case "RelatedTransferReference":
		m.Related = append(m.Related, text)
	case "MessageReceivedIdentifier":
		m.Received = text
	}
}

func (m *Message) agency(role, id string) {
	switch role {
	case "ArchivalAgency":
		m.ArchivalAgency = id
	case "Sender":
		m.Sender = id
	case "Receiver":
		m.Receiver = id
	case others[m.Name]:
		m.Other = id
	}
}

func (a *AuthorizationRequest) take(name, text string) {
	switch name {
	case "AuthorizationReason":
		a.Reason = text
	case "Comment":
		a.Comments = append(a.Comments, text)
	case "RequestDate":
		a.Date, _ = time.Parse(time.DateOnly, text[:min(len(text), 10)])
	case "UnitIdentifier":
		a.Units = append(a.Units, text)
	}
}

func (e *Event) take(name, text string) {
	switch name {
	case "EventTypeCode":
		e.Code = text
	case "EventType":
		e.Type = text
	case "EventDateTime":
		e.Time = parseTime(text)
	case "Outcome":
		e.Outcome = text
	case "OutcomeDetail":
		e.Detail = text
	case "OutcomeDetailMessage":
		e.Message = text
	case "EventDetailData":
		e.Data = text
	}
}

// parseTime reads an xsd:dateTime; one without zone is taken as UTC. The zero time stands
// for what Go's calendar cannot hold.
func parseTime(s string) time.Time {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
