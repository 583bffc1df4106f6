package seda

import (
	"fmt"
	"io"
	"time"
)

// Export is a message with a package that an archive writes: a DIP
// (ArchiveDeliveryRequestReply, ArchiveRestitutionRequestReply) or an ArchiveTransfer.
type Export struct {
	Message    string
	Version    Version
	Date       time.Time
	Header     Header
	Requester  string // of a delivery
	InReplyTo  string // identifier of the request
	Metadata   *Fragment
	Objects    []ExportObject
	Units      []ExportUnit
	Identifier []string // UnitIdentifier of a reply: what was asked for
}

// ExportObject is a data object of an export. Those of a group stand together.
type ExportObject struct {
	XMLID             string
	Group             string // XML id of the group, "" for none
	GroupID           string // system identifier of the group
	SystemID          string
	Physical          bool
	XML               *Fragment // as it was transferred; nil for one that was not
	Usage             string
	URI               string // of the file in the package
	Algorithm, Digest string // hexadecimal; when XML says none
	Size              int64
	Format            string // PRONOM, when XML says none
	MIME              string
	Filename          string
	PhysicalID        string // when there is no XML
}

// ExportUnit is a unit of an export.
type ExportUnit struct {
	XMLID      string
	Profile    string
	Management *Fragment // nil for none
	Content    *Fragment // nil: see Plain
	Plain      *Plain
	Children   []string // XML ids
	Groups     []string // XML ids of its data object groups
	Objects    []string // XML ids of its data objects without group
}

// Plain is the description of a unit that did not come by SEDA.
type Plain struct {
	Level, Title, Description, StartDate, EndDate, Agency string
	Event                                                 *Event
	Rule, RuleStart, FinalAction                          string // of appraisal
	Access, AccessStart                                   string // rule of access
}

// Lost is what an export could not write.
type Lost struct {
	Unit     string   `json:"unit"` // XML id of the unit or object
	Elements []string `json:"elements"`
}

// exporter writes an export.
type exporter struct {
	*Export
	x    *writer
	ids  map[string]bool
	lost []Lost
	link int
}

// Write writes the manifest. What a version has no element for is left out and said.
func (e *Export) Write(w io.Writer) ([]Lost, error) {
	o := &exporter{Export: e, x: newWriter(w), ids: map[string]bool{}}
	for _, u := range e.Units {
		o.ids[u.XMLID] = true
	}
	for _, d := range e.Objects {
		o.ids[d.XMLID], o.ids[d.Group] = true, true
	}
	x := o.x
	x.message(e.Message, e.Version, e.Header.Comment, e.Date, e.Header.Identifier, e.Header.Agreement)
	x.start("DataObjectPackage")
	if err := o.objects(); err != nil {
		return nil, err
	}
	x.start("DescriptiveMetadata")
	for i := range e.Units {
		if err := o.unit(&e.Units[i]); err != nil {
			return nil, fmt.Errorf("writing unit %s: %w", e.Units[i].XMLID, err)
		}
	}
	x.end()
	if err := o.metadata(); err != nil {
		return nil, err
	}
	x.end()
	o.tail()
	x.end()
	return o.lost, x.close()
}

func (o *exporter) say(id string, lost []string) {
	if len(lost) > 0 {
		o.lost = append(o.lost, Lost{id, lost})
	}
}

// tail writes what stands behind the package.
func (o *exporter) tail() {
	x, h := o.x, &o.Header
	switch o.Message {
	case "ArchiveTransfer":
		x.organization("ArchivalAgency", orUnknown(h.ArchivalAgency))
		x.organization("TransferringAgency", orUnknown(h.TransferringAgency))
		return
	}
	x.element("ReplyCode", OutcomeOK)
	x.element("MessageRequestIdentifier", orUnknown(o.InReplyTo))
	for _, id := range o.Identifier {
		x.element("UnitIdentifier", id)
	}
	x.organization("ArchivalAgency", orUnknown(h.ArchivalAgency))
	if o.Message == "ArchiveRestitutionRequestReply" {
		x.organization("OriginatingAgency", orUnknown(h.OriginatingAgency))
	} else {
		x.organization("Requester", orUnknown(o.Requester))
	}
}

func (o *exporter) objects() error {
	for i := 0; i < len(o.Objects); {
		group := o.Objects[i].Group
		if group != "" {
			o.x.start("DataObjectGroup", "id", group)
		}
		for first := true; i < len(o.Objects) && (first || group != "" && o.Objects[i].Group == group); i++ {
			first = false
			if err := o.object(&o.Objects[i]); err != nil {
				return fmt.Errorf("writing object %s: %w", o.Objects[i].XMLID, err)
			}
		}
		if group != "" {
			o.x.end()
		}
	}
	return nil
}

// object writes a data object: what it was transferred with, with its new place.
func (o *exporter) object(d *ExportObject) error {
	name, typ := "BinaryDataObject", "BinaryDataObjectType"
	if d.Physical {
		name, typ = "PhysicalDataObject", "PhysicalDataObjectType"
	}
	set := map[string][]byte{}
	var old []child
	if d.XML != nil {
		f := *d.XML
		f.Type = typ
		var lost []string
		var err error
		if old, lost, err = f.children(o.Version); err != nil {
			return err
		}
		o.say(d.XMLID, lost)
	}
	has := func(name string) bool {
		for _, c := range old {
			if c.name == name {
				return true
			}
		}
		return false
	}
	one := func(name, text string, attributes ...string) {
		if text != "" {
			x := &writer{buf: []byte{'\n'}}
			x.element(name, text, attributes...)
			set[name] = x.buf[1:]
		}
	}
	one("DataObjectSystemId", d.SystemID)
	one("DataObjectGroupSystemId", d.GroupID)
	if !has("DataObjectVersion") {
		one("DataObjectVersion", d.Usage)
	}
	one("Uri", d.URI)
	if !d.Physical && !has("MessageDigest") {
		one("MessageDigest", d.Digest, "algorithm", d.Algorithm)
	}
	if !d.Physical && !has("Size") && d.Size > 0 {
		one("Size", number(d.Size))
	}
	if d.Physical && !has("PhysicalId") {
		one("PhysicalId", d.PhysicalID)
	}
	if !d.Physical && !has("FormatIdentification") && d.Format != "" {
		x := &writer{buf: []byte{'\n'}}
		x.start("FormatIdentification")
		x.optional("MimeType", d.MIME)
		x.element("FormatId", d.Format)
		x.end()
		set["FormatIdentification"] = x.buf[1:]
	}
	if !d.Physical && !has("FileInfo") && d.Filename != "" {
		x := &writer{buf: []byte{'\n'}}
		x.start("FileInfo")
		x.element("Filename", d.Filename)
		x.end()
		set["FileInfo"] = x.buf[1:]
	}
	o.x.start(name, "id", d.XMLID)
	for _, c := range o.merged(typ, old, set) {
		o.x.raw(c.xml)
	}
	o.x.end()
	return nil
}

// replaced are the elements of a data object that an export writes anew.
var replaced = map[string]bool{"DataObjectSystemId": true, "DataObjectGroupSystemId": true, "DataObjectGroupReferenceId": true, "DataObjectGroupId": true, "Attachment": true, "Uri": true}

// merged puts new children between those that stay, in the order of the type.
func (o *exporter) merged(typ string, old []child, set map[string][]byte) (out []child) {
	for _, c := range old {
		if !replaced[c.name] {
			out = append(out, c)
		}
	}
	for name, xml := range set {
		out = append(out, child{name, xml})
	}
	m := modelOf(o.Version)
	sortChildren(m, typ, out)
	return out
}

func (o *exporter) unit(u *ExportUnit) error {
	x := o.x
	x.start("ArchiveUnit", "id", u.XMLID)
	x.optional("ArchiveUnitProfile", u.Profile)
	if u.Plain != nil {
		u.Plain.write(x)
	} else {
		for _, part := range []struct {
			f    *Fragment
			name string
			typ  string
		}{{u.Management, "Management", "ManagementType"}, {u.Content, "Content", "DescriptiveMetadataContentType"}} {
			if part.f == nil || len(part.f.XML) == 0 {
				continue
			}
			if err := o.fragment(u.XMLID, part.f, part.name, part.typ); err != nil {
				return err
			}
		}
	}
	for _, c := range u.Children {
		o.link++
		for o.ids[fmt.Sprintf("link-%d", o.link)] {
			o.link++
		}
		x.start("ArchiveUnit", "id", fmt.Sprintf("link-%d", o.link))
		x.element("ArchiveUnitRefId", c)
		x.end()
	}
	for _, g := range u.Groups {
		x.start("DataObjectReference")
		x.element("DataObjectGroupReferenceId", g)
		x.end()
	}
	for _, d := range u.Objects {
		x.start("DataObjectReference")
		x.element("DataObjectReferenceId", d)
		x.end()
	}
	x.end()
	return nil
}

// fragment writes an element as it was, when the version is the same; else its children
// in the order of the other version.
func (o *exporter) fragment(id string, f *Fragment, name, typ string) error {
	g := *f
	g.Type = typ
	if max(f.From, V21) == o.Version {
		xml, lost, err := g.Rewrite(o.Version)
		o.say(id, lost)
		o.x.raw(xml)
		return err
	}
	children, lost, err := g.children(o.Version)
	if err != nil {
		return err
	}
	o.say(id, lost)
	o.x.start(name)
	for _, c := range children {
		o.x.raw(c.xml)
	}
	o.x.end()
	return nil
}

// metadata writes ManagementMetadata.
func (o *exporter) metadata() error {
	if o.Metadata != nil && len(o.Metadata.XML) > 0 {
		return o.fragment("ManagementMetadata", o.Metadata, "ManagementMetadata", "ManagementMetadataType")
	}
	o.x.start("ManagementMetadata")
	o.x.optional("OriginatingAgencyIdentifier", o.Header.OriginatingAgency)
	o.x.optional("SubmissionAgencyIdentifier", o.Header.SubmissionAgency)
	o.x.end()
	return nil
}

func (p *Plain) rule(x *writer, category, id, start, action string) {
	if id == "" {
		return
	}
	x.start(category)
	x.element("Rule", id)
	x.optional("StartDate", start)
	x.optional("FinalAction", action)
	x.end()
}

// write writes Management and Content.
func (p *Plain) write(x *writer) {
	if p.Rule != "" || p.Access != "" {
		x.start("Management")
		p.rule(x, "AppraisalRule", p.Rule, p.RuleStart, p.FinalAction)
		p.rule(x, "AccessRule", p.Access, p.AccessStart, "")
		x.end()
	}
	x.start("Content")
	x.optional("DescriptionLevel", p.Level)
	x.optional("Title", p.Title)
	x.optional("Description", p.Description)
	if p.Agency != "" {
		x.organization("OriginatingAgency", p.Agency)
	}
	x.optional("StartDate", p.StartDate)
	x.optional("EndDate", p.EndDate)
	if p.Event != nil {
		x.event(*p.Event)
	}
	x.end()
}
