package seda

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"sae/seda/scan"
)

// Header is what a transfer says of itself.
type Header struct {
	Version            Version `json:"-"`
	Message            string  `json:"message"` // name of the root element
	Identifier         string  `json:"messageIdentifier"`
	Date               string  `json:"date"`
	Comment            string  `json:"comment,omitempty"`
	Agreement          string  `json:"archivalAgreement,omitempty"`
	ArchivalAgency     string  `json:"archivalAgency,omitempty"`
	TransferringAgency string  `json:"transferringAgency,omitempty"`
	OriginatingAgency  string  `json:"originatingAgency,omitempty"`
	SubmissionAgency   string  `json:"submissionAgency,omitempty"`
	ArchivalProfile    string  `json:"archivalProfile,omitempty"`
	ServiceLevel       string  `json:"serviceLevel,omitempty"`
	Acquisition        string  `json:"acquisitionInformation,omitempty"`
	LegalStatus        string  `json:"legalStatus,omitempty"`
}

// Object is a data object as a manifest declares it.
type Object struct {
	ID        string // XML id
	Physical  bool
	Line      int
	Group     int32 // thing, -1 for none
	GroupSys  bool  // attached to a group of the archive, by DataObjectGroupSystemId
	Usage     string
	URI       string
	Inline    bool // its content is an Attachment in the manifest
	Algorithm string
	Digest    []byte
	digested  bool
	Size      int64  // -1 when not declared
	Format    string // FormatId: PRONOM
	Filename  string
}

// Referential is what an archive knows that a manifest refers to. A nil function holds
// nothing against it.
type Referential struct {
	// Rule says whether a rule of a category (AppraisalRule, HoldRule...) is known, and
	// whether it has a duration.
	Rule func(category, id string) (known, hasDuration bool)
	// Agreement and Agency refuse what is not known, saying what is.
	Agreement, Agency func(id string) (known bool, others string)
}

// Options of a check.
type Options struct {
	Mode      Mode
	Want      string // name of the message that is expected; "" for any
	Agreement string // when the manifest names none
	Known     Referential
}

// action is what a checker does about an element.
type action uint8

const (
	actNone action = iota
	actUnit
	actGroup
	actBinary
	actPhysical
	actContent
	actUnitRef
	actObjectRef
	actGroupRef
	actGroupID
	actGroupOf
	actGroupSystem
	actUsage
	actURI
	actAttachment
	actDigest
	actSize
	actFormat
	actPhysicalID
	actTitle
	actStart
	actEnd
	actCategory
	actRule
	actRuleStart
	actHoldEnd
	actUpdate
	actIdentifier
	actDate
	actComment
	actAgreement
	actOrganization
	actOriginating
	actSubmission
	actProfile
	actServiceLevel
	actAcquisition
	actLegalStatus
	actManagement
	actManagementMetadata
	actLevel
	actUnitProfile
	actUpdateID
	actUpdateField
	actUpdateValue
	actFinalAction
	actPrevent
	actRefNonRule
	actHoldOwner
	actHoldReason
	actHoldReassessing
	actHoldRearrangement
	actRuleProperty
	actNeedAuthorization
	actField
	actFilename
)

// actions are what elements mean, by the type they stand in and their name.
var actions = func() map[string]action {
	out := map[string]action{
		"DescriptiveMetadataType/ArchiveUnit": actUnit, "ArchiveUnitType/ArchiveUnit": actUnit, "ArchiveUnitType/ArchiveUnitRefId": actUnitRef,
		"ArchiveUnitType/Content": actContent, "ArchiveUnitType/Management": actManagement, "ArchiveUnitType/ArchiveUnitProfile": actUnitProfile,
		"UpdateOperationType/SystemId": actUpdateID, "ArchiveUnitIdentifierKeyType/MetadataName": actUpdateField, "ArchiveUnitIdentifierKeyType/MetadataValue": actUpdateValue,
		"DataObjectPackageType/ManagementMetadata": actManagementMetadata, "DescriptiveMetadataContentType/DescriptionLevel": actLevel,
		"ManagementType/UpdateOperation":          actUpdate,
		"DataObjectRefType/DataObjectReferenceId": actObjectRef, "DataObjectRefType/DataObjectGroupReferenceId": actGroupRef,
		"DataObjectPackageType/DataObjectGroup": actGroup, "PhysicalDataObjectType/PhysicalId": actPhysicalID,
		"BinaryDataObjectType/Uri": actURI, "BinaryDataObjectType/Attachment": actAttachment, "BinaryDataObjectType/MessageDigest": actDigest,
		"BinaryDataObjectType/Size": actSize, "FormatIdentificationType/FormatId": actFormat, "FileInfoType/Filename": actFilename,
		"DescriptiveMetadataContentType/Title": actTitle, "DescriptiveMetadataContentType/StartDate": actStart, "DescriptiveMetadataContentType/EndDate": actEnd,
		"OrganizationWithIdType/Identifier":                  actOrganization,
		"ManagementMetadataType/OriginatingAgencyIdentifier": actOriginating, "ManagementMetadataType/SubmissionAgencyIdentifier": actSubmission,
		"ManagementMetadataType/ArchivalProfile": actProfile, "ManagementMetadataType/ServiceLevel": actServiceLevel,
		"ManagementMetadataType/AcquisitionInformation": actAcquisition, "ManagementMetadataType/LegalStatus": actLegalStatus,
	}
	for _, in := range []string{"DataObjectPackageType", "DataObjectGroupType"} {
		out[in+"/BinaryDataObject"], out[in+"/PhysicalDataObject"] = actBinary, actPhysical
	}
	for _, in := range []string{"BinaryDataObjectType", "PhysicalDataObjectType"} {
		out[in+"/DataObjectGroupReferenceId"], out[in+"/DataObjectGroupId"] = actGroupOf, actGroupID
		out[in+"/DataObjectGroupSystemId"], out[in+"/DataObjectVersion"] = actGroupSystem, actUsage
	}
	for _, c := range RuleCategories {
		out["ManagementType/"+c], out["ManagementMetadataType/"+c] = actCategory, actCategory
		out[c+"Type/Rule"], out[c+"Type/StartDate"], out[c+"Type/FinalAction"] = actRule, actRuleStart, actFinalAction
		out[c+"Type/PreventInheritance"], out[c+"Type/RefNonRuleId"] = actPrevent, actRefNonRule
	}
	out["HoldRuleType/HoldEndDate"], out["HoldRuleType/HoldOwner"], out["HoldRuleType/HoldReason"] = actHoldEnd, actHoldOwner, actHoldReason
	out["HoldRuleType/HoldReassessingDate"], out["HoldRuleType/PreventRearrangement"] = actHoldReassessing, actHoldRearrangement
	for _, p := range []string{"ClassificationAudience", "ClassificationLevel", "ClassificationOwner", "ClassificationReassessingDate", "NeedReassessingAuthorization"} {
		out["ClassificationRuleType/"+p] = actRuleProperty
	}
	for _, m := range []string{"ManagementType", "ManagementMetadataType"} {
		out[m+"/NeedAuthorization"] = actNeedAuthorization
	}
	for _, f := range []string{"FilePlanPosition", "SystemId", "OriginatingSystemId", "ArchivalAgencyArchiveUnitIdentifier", "OriginatingAgencyArchiveUnitIdentifier",
		"TransferringAgencyArchiveUnitIdentifier"} {
		out["DescriptiveMetadataContentType/"+f] = actField
	}
	for _, m := range messages {
		t := m + "Type"
		out[t+"/Date"], out[t+"/MessageIdentifier"], out[t+"/Comment"], out[t+"/ArchivalAgreement"] = actDate, actIdentifier, actComment, actAgreement
	}
	return out
}()

// RuleCategories are the categories of management rules.
var RuleCategories = []string{"StorageRule", "AppraisalRule", "AccessRule", "DisseminationRule", "ReuseRule", "ClassificationRule", "HoldRule"}

// checker is the visitor that holds a transfer against what its schema cannot say.
type checker struct {
	o       Options
	header  Header
	graph   graph
	objects []Object
	unit    []openUnit
	object  *Object
	group   int32 // open DataObjectGroup, -1 for none
	rule    openRule
	common  ruleReader // of ManagementMetadata
	rules   []RuleSet  // of ManagementMetadata
	rec     recorder
	saving  bool
	saved   []byte // ManagementMetadata as XML
	counts  Counts
	last    int32             // thing that was identified last
	words   map[string]string // of usages, algorithms and formats, each kept once
}

// word keeps one copy of a text that many objects have.
func (c *checker) word(b []byte) string {
	s, ok := c.words[string(b)]
	if !ok {
		s = string(b)
		if len(c.words) < 10_000 {
			c.words[s] = s
		}
	}
	return s
}

// Counts are how much a transfer holds.
type Counts struct {
	Units    int   `json:"units"`
	Groups   int   `json:"groups"`
	Binary   int   `json:"binaryObjects"`
	Physical int   `json:"physicalObjects"`
	Bytes    int64 `json:"bytes"`
}

type openUnit struct {
	thing       int32
	titled      bool
	content     bool
	update      bool
	start, ends string
}

type openRule struct {
	category, id, start string
}

func newChecker(o Options) *checker {
	return &checker{o: o, group: -1, graph: graph{ids: map[string]int32{}}, words: map[string]string{}}
}

func (c *checker) open(v *validator, f *frame) {
	if f.decl == nil {
		c.header.Version, c.header.Message = v.version, v.s.Expanded(f.name).Local
		return
	}
	if len(c.unit) == 0 {
		c.common.open(f)
	}
	switch f.decl.act {
	case actManagementMetadata:
		c.rec.begin(v.s, v.version.Namespace(), nil)
		c.saving = true
	case actUnit:
		c.openUnit(v, f)
	case actContent:
		c.top().content = true
	case actUpdate:
		c.top().update = true
	case actGroup:
		c.group = c.declare(v, f, groupThing, -1)
		c.counts.Groups++
	case actBinary, actPhysical:
		c.openObject(v, f)
	case actAttachment:
		c.object.Inline = true
	case actDigest:
		c.object.Algorithm = c.word(attr(v, "algorithm"))
	case actCategory:
		c.rule = openRule{category: f.decl.name}
	}
}

func attr(v *validator, local string) []byte {
	for _, a := range v.s.Attrs() {
		if n := v.s.Expanded(a.Name); n.Local == local && n.Space == "" {
			return collapse.apply(a.Value)
		}
	}
	return nil
}

func (c *checker) top() *openUnit { return &c.unit[len(c.unit)-1] }

// declare makes what has the XML id of an element a thing of a kind.
func (c *checker) declare(v *validator, f *frame, kind thingKind, ref int32) int32 {
	if f.id == "" {
		return -1 // said to be missing
	}
	n := c.last // the XML id of a tag is its only identifier, mostly
	if int(n) >= len(c.graph.names) || c.graph.names[n] != f.id {
		n = c.graph.thing([]byte(f.id))
	}
	t := &c.graph.things[n]
	t.kind, t.ref = kind, ref
	return n
}

// identifier takes an xsd:ID or IDREF.
func (c *checker) identifier(v *validator, kind idKind, value []byte, f *frame) {
	n := c.graph.thing(value)
	c.last = n
	t := &c.graph.things[n]
	line := int32(v.s.Line())
	if kind == isIDREF {
		want := otherThing
		if f.decl != nil {
			want = wanted(f.decl.act)
			if f.decl.name == "ArchiveUnitRefId" {
				want = unitThing
			}
		}
		c.graph.refs = append(c.graph.refs, reference{n, want, line})
		return
	}
	if t.kind != notDeclared {
		v.find(IDDuplicate, Error, string(value), strconv.Itoa(int(t.line)), "")
		return
	}
	t.kind, t.line = otherThing, line
	if f.decl != nil && f.decl.act == actGroupID {
		t.kind = groupThing
	}
}

// wanted is what a reference must point to; otherThing for anything.
func wanted(a action) thingKind {
	switch a {
	case actUnitRef:
		return unitThing
	case actObjectRef:
		return objectThing
	case actGroupRef, actGroupOf:
		return groupThing
	}
	return otherThing
}

func (c *checker) openUnit(v *validator, f *frame) {
	n := c.declare(v, f, unitThing, int32(len(c.graph.units)))
	if len(c.unit) > 0 && n >= 0 && c.top().thing >= 0 {
		c.graph.edges = append(c.graph.edges, edge{c.top().thing, n})
	}
	c.unit = append(c.unit, openUnit{thing: n})
}

func (c *checker) closeUnit(v *validator) {
	u := c.top()
	c.unit = c.unit[:len(c.unit)-1]
	if u.thing < 0 || !u.content {
		return
	}
	c.counts.Units++
	c.graph.units = append(c.graph.units, u.thing)
	if !u.titled && !u.update && c.carries() {
		v.find(TitleMissing, Error, c.graph.names[u.thing], "", "")
	}
	if u.start != "" && u.ends != "" && dateLess(u.ends, u.start) {
		v.find(DateOrder, Error, c.graph.names[u.thing], u.start, u.ends)
	}
}

// dateLess compares dates as far as both say, when they have no time zone and years
// of four digits.
func dateLess(a, b string) bool {
	n := min(len(a), len(b))
	if n >= 4 && (a[0] == '-' || b[0] == '-' || strings.ContainsAny(a[4:]+b[4:], "Z+")) {
		n = min(n, 10)
	}
	return a[0] != '-' && b[0] != '-' && a[:n] < b[:n]
}

func (c *checker) openObject(v *validator, f *frame) {
	c.objects = append(c.objects, Object{ID: f.id, Physical: f.decl.act == actPhysical, Line: v.s.Line(), Group: c.group, Size: -1})
	c.object = &c.objects[len(c.objects)-1]
	c.declare(v, f, objectThing, int32(len(c.objects)-1))
	if c.object.Physical {
		c.counts.Physical++
	} else {
		c.counts.Binary++
	}
}

func (c *checker) close(v *validator, f *frame) {
	if f.decl == nil {
		return
	}
	switch f.decl.act {
	case actUnit:
		c.closeUnit(v)
	case actGroup:
		c.group = -1
	case actBinary, actPhysical:
		c.closeObject(v)
		c.object = nil
	case actCategory, actNeedAuthorization:
		if len(c.unit) == 0 {
			c.rules = append(c.rules, c.common.close(f)...)
		}
	}
}

// value takes the text of an element.
func (c *checker) value(v *validator, f *frame, value []byte) {
	if f.decl == nil {
		return
	}
	if len(c.unit) == 0 {
		c.common.value(f, value)
	}
	switch f.decl.act {
	case actNone:
	case actUnitRef:
		u := c.top()
		if u.thing >= 0 {
			t := &c.graph.things[u.thing]
			t.kind, t.ref = linkThing, c.graph.thing(value)
		}
	case actObjectRef, actGroupRef:
		if v.inUnit() {
			c.graph.things[c.graph.thing(value)].used = true
		}
	case actTitle:
		u := c.top()
		u.titled = u.titled || !blank(value)
	case actStart:
		c.top().start = string(value)
		c.checkYear(v, value)
	case actEnd:
		c.top().ends = string(value)
		c.checkYear(v, value)
	case actRule:
		c.rule.id, c.rule.start = string(value), ""
		c.checkRule(v)
	case actRuleStart:
		c.rule.start = string(value)
		c.checkYear(v, value)
	case actHoldEnd:
		c.holdEnd(v, string(value))
	default:
		if !c.objectValue(v, f, value) {
			c.headerValue(v, f, string(value))
		}
	}
}

// objectValue takes what a data object says; false for what is something else.
func (c *checker) objectValue(v *validator, f *frame, value []byte) bool {
	o := c.object
	if o == nil {
		return false
	}
	switch f.decl.act {
	case actGroupID, actGroupOf:
		n := c.graph.thing(value)
		switch {
		case o.Group < 0:
			o.Group = n
			if f.decl.act == actGroupID {
				c.counts.Groups++
			}
		case f.decl.act == actGroupID: // inside a DataObjectGroup, a second name for it
			c.graph.things[n].ref = o.Group
		}
	case actGroupSystem:
		o.GroupSys = true
	case actUsage:
		o.Usage = c.word(value)
	case actURI:
		o.URI = string(value)
	case actDigest:
		c.digest(v, value)
	case actSize:
		n, err := strconv.ParseInt(strings.TrimPrefix(string(value), "+"), 10, 64)
		if err != nil {
			v.find(ValueInvalid, Error, "", "< 2^63", clipped(value))
			break
		}
		o.Size = n
	case actFormat:
		o.Format = c.word(value)
	case actFilename:
		o.Filename = string(value)
	case actPhysicalID:
		if len(value) == 0 {
			v.find(PhysicalIDEmpty, Error, o.ID, "", "")
		}
	default:
		return false
	}
	return true
}

// headerValue takes what the message says of itself.
func (c *checker) headerValue(v *validator, f *frame, value string) {
	h := &c.header
	switch f.decl.act {
	case actIdentifier:
		h.Identifier = value
	case actDate:
		h.Date = value
	case actComment:
		h.Comment = value
	case actAgreement:
		h.Agreement = value
		c.checkKnown(v, c.o.Known.Agreement, AgreementUnknown, value)
	case actOrganization:
		switch v.s.Expanded(v.stack[len(v.stack)-2].name).Local {
		case "ArchivalAgency":
			h.ArchivalAgency = value
		case "TransferringAgency":
			h.TransferringAgency = value
		}
	case actOriginating:
		h.OriginatingAgency = value
		c.checkKnown(v, c.o.Known.Agency, AgencyUnknown, value)
	case actSubmission:
		h.SubmissionAgency = value
		c.checkKnown(v, c.o.Known.Agency, AgencyUnknown, value)
	case actProfile:
		h.ArchivalProfile = value
	case actServiceLevel:
		h.ServiceLevel = value
	case actAcquisition:
		h.Acquisition = value
	case actLegalStatus:
		h.LegalStatus = value
	}
}

func (c *checker) checkKnown(v *validator, known func(string) (bool, string), code Code, id string) {
	if known == nil || id == "" {
		return
	}
	if ok, others := known(id); !ok {
		v.find(code, Error, "", others, id)
	}
}

// checkYear refuses dates that no document has, and that later computation of terms
// would stumble over.
func (c *checker) checkYear(v *validator, date []byte) {
	if n := digits(date); n > 4 || n == 4 && string(date[:4]) >= "9000" {
		v.find(DateRange, Error, "", "< 9000", string(date))
	}
}

func (c *checker) checkRule(v *validator) {
	if c.o.Known.Rule == nil || c.rule.category == "" {
		return
	}
	if known, _ := c.o.Known.Rule(c.rule.category, c.rule.id); !known {
		v.find(RuleUnknown, Error, "", c.rule.category, c.rule.id)
	}
}

func (c *checker) holdEnd(v *validator, end string) {
	if end == "" {
		return
	}
	if c.rule.start != "" && dateLess(end, c.rule.start) {
		v.find(HoldDates, Error, "", c.rule.start, end)
	}
	if c.o.Known.Rule != nil {
		if _, duration := c.o.Known.Rule(c.rule.category, c.rule.id); duration {
			v.find(HoldEnd, Error, "", "", c.rule.id)
		}
	}
}

// digest decodes a MessageDigest: hexadecimal, or base64.
func (c *checker) digest(v *validator, value []byte) {
	o := c.object
	o.digested = true
	a, known := digestNamed(o.Algorithm)
	if !known {
		v.find(DigestAlgorithm, Error, o.ID, digestNames, o.Algorithm)
		return
	}
	if a.weak {
		v.find(DigestWeak, Warning, o.ID, "", a.name)
	}
	if o.Digest = a.decode(value); o.Digest == nil {
		v.find(ValueInvalid, Error, o.ID, a.name, clipped(value))
	}
}

// usages are the usages that French archives agree on, by kind of object.
var usages = map[string]bool{"BinaryMaster": false, "Dissemination": false, "Thumbnail": false, "TextContent": false, "PhysicalMaster": true}

const usageNames = "BinaryMaster, Dissemination, Thumbnail, TextContent, PhysicalMaster, with _1, _2..."

// splitUsage gives the name of a usage and its version, "" for none; false when it is
// not NAME or NAME_NUMBER.
func splitUsage(u string) (name, version string, ok bool) {
	name, version, versioned := strings.Cut(u, "_")
	ok = name != "" && !versioned
	if versioned {
		ok = name != "" && len(version) > 0 && len(version) < 10 && version[0] != '0' && digits([]byte(version)) == len(version)
	}
	for i := range name {
		if name[i]|0x20 < 'a' || name[i]|0x20 > 'z' {
			ok = false
		}
	}
	return name, version, ok
}

// closeObject checks what a data object said.
func (c *checker) closeObject(v *validator) {
	o := c.object
	c.checkUsage(v, o)
	if o.Physical || !c.carries() {
		return
	}
	switch {
	case o.URI == "" && !o.Inline:
		v.find(URIMissing, Error, o.ID, "", "")
	case !o.digested:
		v.find(DigestMissing, Error, o.ID, "", "")
	}
	if o.URI != "" {
		if _, ok := cleanName(o.URI); !ok {
			v.find(URIUnsafe, Error, o.ID, "", clipped([]byte(o.URI)))
		}
	}
	if o.Size < 0 {
		v.find(SizeMissing, Warning, o.ID, "", "")
	} else {
		c.counts.Bytes += o.Size
	}
	if o.Format == "" {
		v.find(FormatMissing, Warning, o.ID, "", "")
	}
}

func (c *checker) checkUsage(v *validator, o *Object) {
	if o.Usage == "" {
		o.Usage = "BinaryMaster"
		if o.Physical {
			o.Usage = "PhysicalMaster"
		}
		return
	}
	name, _, ok := splitUsage(o.Usage)
	physical, known := usages[name]
	known = known && ok
	switch {
	case known && physical != o.Physical:
		v.find(UsageKind, Error, o.ID, "", o.Usage)
	case known:
	case startsAsUsage(o.Usage):
		v.find(UsageInvalid, Error, o.ID, usageNames, o.Usage)
	default:
		v.find(UsageInvalid, Warning, o.ID, usageNames, o.Usage)
	}
}

// startsAsUsage tells a known usage that is written wrongly from another word.
func startsAsUsage(s string) bool {
	for u := range usages {
		if strings.HasPrefix(s, u) {
			return true
		}
	}
	return false
}

// usageKey is usage and version in one form: BinaryMaster is BinaryMaster_1.
func usageKey(u string) string {
	if _, version, ok := splitUsage(u); ok && version == "" {
		return u + "_1"
	}
	return u
}

// cleanName gives a relative path in its plain form; false when it leads elsewhere.
func cleanName(name string) (string, bool) {
	if name == "" || len(name) > 4096 || strings.ContainsAny(name, "\\\x00:") && !strings.Contains(name, "/") || strings.ContainsAny(name, "\\\x00") || path.IsAbs(name) {
		return "", false
	}
	clean := path.Clean(name)
	if clean == "." || clean == ".." || strings.HasPrefix(clean, "../") || strings.Contains("/"+name+"/", "/../") {
		return "", false
	}
	return clean, true
}

// conclude makes the findings that need the whole document.
func (c *checker) conclude(v *validator) {
	add := func(code Code, severity Severity, line int32, id, expected, found string) {
		v.findings.Add(Finding{Code: code, Severity: severity, Line: int(line), ID: id, Expected: expected, Found: found})
	}
	g := &c.graph
	for _, r := range g.refs {
		t := g.things[r.to]
		kind := t.kind
		if kind == linkThing && r.want == unitThing {
			kind = unitThing
		}
		switch {
		case kind == notDeclared:
			add(RefUnresolved, Error, r.line, "", "", g.names[r.to])
		case r.want == groupThing && kind != groupThing, r.want == unitThing && kind != unitThing, r.want == objectThing && kind != objectThing:
			add(RefKind, Error, r.line, "", kindNames[r.want], g.names[r.to])
		}
	}
	for _, way := range g.cycles() {
		add(UnitCycle, Error, g.things[way[0]].line, g.names[way[0]], "", g.nameOf(way))
	}
	if !c.carries() {
		return
	}
	c.concludeObjects(add)
	if c.header.Message == "ArchiveTransfer" && c.header.Agreement == "" && c.o.Agreement == "" {
		add(AgreementMissing, Error, 0, "", "", "")
	}
}

var kindNames = map[thingKind]string{unitThing: "ArchiveUnit", groupThing: "DataObjectGroup", objectThing: "BinaryDataObject, PhysicalDataObject"}

func (c *checker) concludeObjects(add func(Code, Severity, int32, string, string, string)) {
	g := &c.graph
	grouped := map[int32]bool{}
	type place struct {
		group int32
		usage string
	}
	seen := map[place]bool{}
	system := map[int32]bool{} // groups that are attached to one of the archive
	for i := range c.objects {
		o := &c.objects[i]
		if o.Group < 0 {
			if n, ok := g.ids[o.ID]; ok && !g.things[n].used && !o.GroupSys {
				add(GroupOrphan, Error, int32(o.Line), o.ID, "", "")
			}
			continue
		}
		if n, ok := g.ids[o.ID]; ok && g.things[n].used {
			add(RefKind, Error, int32(o.Line), o.ID, g.names[o.Group], o.ID)
		}
		grouped[o.Group] = true
		system[o.Group] = system[o.Group] || o.GroupSys
		p := place{o.Group, usageKey(o.Usage)}
		if seen[p] {
			add(UsageDuplicate, Error, int32(o.Line), o.ID, g.names[o.Group], o.Usage)
		}
		seen[p] = true
	}
	for n := range g.things {
		if t := &g.things[n]; t.kind == groupThing && t.ref >= 0 {
			g.things[t.ref].used = g.things[t.ref].used || t.used
		}
	}
	for n := range g.things {
		t := &g.things[n]
		if t.kind != groupThing || t.ref >= 0 {
			continue
		}
		if !t.used && !system[int32(n)] {
			add(GroupOrphan, Error, t.line, g.names[n], "", "")
		}
		if !grouped[int32(n)] {
			add(GroupEmpty, Warning, t.line, g.names[n], "", "")
		}
	}
}

// token records ManagementMetadata.
func (c *checker) token(_ *validator, k scan.Kind) bool {
	if c.saving && c.rec.token(k) {
		c.saving, c.saved = false, c.rec.buf
	}
	return true
}

// carries reports whether the message is one whose package holds archives.
func (c *checker) carries() bool {
	switch c.header.Message {
	case "ArchiveTransfer", "ArchiveDeliveryRequestReply", "ArchiveRestitutionRequestReply":
		return true
	}
	return false
}

// checkManifest reads a manifest and gives what it holds.
func checkManifest(r io.Reader, o Options, findings *Findings) (*checker, error) {
	c := newChecker(o)
	v, err := validate(r, o.Mode, c, findings, c.token)
	if err != nil {
		return c, fmt.Errorf("reading the manifest: %w", err)
	}
	if v.m == nil || findings.Full {
		return c, nil
	}
	if o.Want != "" && c.header.Message != o.Want {
		findings.Add(Finding{Code: MessageOther, Severity: Error, Line: 1, Expected: o.Want, Found: c.header.Message})
		return c, nil
	}
	c.conclude(v)
	return c, nil
}
