package archive

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"sae/seda"
)

// Channel is the way a document reached the archive. The four are kept apart
// because their probative value differs (Code civil art. 1366 and 1379).
type Channel string

// The channels.
const (
	Digital   Channel = "digital"   // born digital
	Digitised Channel = "digitised" // paper that was scanned: a copy
	Paper     Channel = "paper"     // paper only: a PhysicalDataObject without binary
	Both      Channel = "both"      // the paper original is kept beside its copy
)

// Channels are all of them, in the order in which they are reported.
var Channels = []Channel{Digital, Digitised, Paper, Both}

// Scan records how paper became an image: what the presumption of a faithful
// copy rests on (Code civil art. 1379; décret 2016-1673 art. 2 to 5: context and
// date of the reproduction, tested process, integrity by a fingerprint; NF
// Z42-026 for the process).
type Scan struct {
	By        string `json:"by"`                // who scanned
	Date      string `json:"date"`              // when: YYYY-MM-DD, or RFC 3339
	Device    string `json:"device"`            // make, model, serial number
	Settings  string `json:"settings"`          // resolution, colour, format, compression
	PaperKept *bool  `json:"paperKept"`         // whether the paper is kept
	Process   string `json:"process,omitempty"` // reference of the documented, tested process
	Control   string `json:"control,omitempty"` // how the copy was compared with the paper
	Pages     int    `json:"pages,omitempty"`
}

// PhysicalObject is paper (SEDA PhysicalDataObject): no binary, a place.
type PhysicalObject struct {
	Location   string `json:"location"`             // where it stands
	PhysicalID string `json:"physicalId,omitempty"` // SEDA PhysicalId: barcode, box
	Pages      int    `json:"pages,omitempty"`      // SEDA PhysicalDimensions/NumberOfPage
}

// AppliedRule is a rule as it applies to a unit (SEDA AppraisalRule, AccessRule): its terms
// are written down with the unit, since schedules change.
type AppliedRule struct {
	Rule        string `json:"rule"`
	StartDate   string `json:"startDate,omitempty"` // YYYY-MM-DD
	Duration    string `json:"duration"`
	FinalAction string `json:"finalAction,omitempty"`
}

// Format is what PRONOM says of the bytes of an object.
type Format struct {
	PUID    string `json:"puid"` // PRONOM identifier; "" when the format is unknown
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	MIME    string `json:"mime,omitempty"`
	Basis   string `json:"basis,omitempty"`   // what the identification rests on
	Warning string `json:"warning,omitempty"` // e.g. extension mismatch
}

// DescribedObject is an object as its unit's description names it.
type DescribedObject struct {
	ID       string `json:"id"`
	Usage    string `json:"usage"` // SEDA usage: BinaryMaster...
	Filename string `json:"filename"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"` // hex
	Format   Format `json:"format"`
	Group    string `json:"group,omitempty"` // system identifier of its data object group: of a SEDA transfer, or shared with its copies in other formats
	GroupXML string `json:"groupXmlId,omitempty"`
	XMLID    string `json:"xmlId,omitempty"` // of a SEDA transfer
	SEDA     string `json:"seda,omitempty"`  // its BinaryDataObject, as it was transferred
	// Of a copy in another format, made in the archive: the object that it was made from, which
	// stays what was deposited; by which tool, and when.
	ConvertedFrom string     `json:"convertedFrom,omitempty"`
	ConvertedBy   string     `json:"convertedBy,omitempty"`
	Converted     *time.Time `json:"converted,omitempty"`
}

// DescribedPhysical is a physical data object of a SEDA transfer.
type DescribedPhysical struct {
	ID       string `json:"id"`
	Usage    string `json:"usage"`
	Group    string `json:"group,omitempty"`
	GroupXML string `json:"groupXmlId,omitempty"`
	XMLID    string `json:"xmlId"`
	SEDA     string `json:"seda"` // its PhysicalDataObject, as it was transferred
}

// SharedObject is an object of another unit that this one refers to as well: SEDA lets
// units share a data object group.
type SharedObject struct {
	ID    string `json:"id"`
	Unit  string `json:"unit"` // whose it is
	Usage string `json:"usage"`
	Group string `json:"group,omitempty"`
}

// Transferred is what a SEDA transfer said of a unit. The elements are kept as XML, so
// that nothing is lost that this program does not interpret.
type Transferred struct {
	Version    string         `json:"version"` // of SEDA
	XMLID      string         `json:"xmlId,omitempty"`
	Profile    string         `json:"archiveUnitProfile,omitempty"`
	Management string         `json:"management,omitempty"`
	Content    string         `json:"content,omitempty"`
	Rules      []seda.RuleSet `json:"rules,omitempty"`    // of the unit itself
	Defaults   []seda.RuleSet `json:"defaults,omitempty"` // of the transfer's ManagementMetadata: for units without parent in it
	Fields     []seda.Field   `json:"fields,omitempty"`   // by which the unit can be named
	// Header and Metadata are those of the transfer, in its own record only; Messages is the record
	// of its manifest and reply.
	Header   *seda.Header `json:"header,omitempty"`
	Metadata string       `json:"managementMetadata,omitempty"`
	Messages string       `json:"messages,omitempty"`
}

// Description is the metadata of one version of a unit, with SEDA's terms. Its
// JSON bytes are what is sealed: they are kept as they were written, enciphered.
type Description struct {
	Form        string              `json:"form"` // "sae-description/1"
	Unit        string              `json:"unit"`
	Version     int                 `json:"version"`
	Level       string              `json:"descriptionLevel"` // RecordGrp for a folder, Item for a document
	Title       string              `json:"title"`
	Description string              `json:"description,omitempty"`
	StartDate   string              `json:"startDate,omitempty"` // of the document's facts
	EndDate     string              `json:"endDate,omitempty"`
	Tenant      string              `json:"archivalAgency"`
	Agreement   string              `json:"archivalAgreement"`
	Agency      string              `json:"originatingAgency,omitempty"`
	Subject     string              `json:"subject,omitempty"` // identifier of the citizen file
	Channel     Channel             `json:"channel,omitempty"` // none for a folder
	Scan        *Scan               `json:"scan,omitempty"`
	Paper       *PhysicalObject     `json:"physicalObject,omitempty"`
	Rule        *AppliedRule        `json:"appraisalRule,omitempty"`
	AccessRule  *AppliedRule        `json:"accessRule,omitempty"` // without final action
	Parents     []string            `json:"parents,omitempty"`
	Objects     []DescribedObject   `json:"objects,omitempty"`
	Physical    []DescribedPhysical `json:"physicalObjects,omitempty"`
	Shared      []SharedObject      `json:"sharedObjects,omitempty"`
	SEDA        *Transferred        `json:"seda,omitempty"`
	Custom      map[string]string   `json:"custom,omitempty"` // fields of the depositor's own, or of the procedure
	Received    time.Time           `json:"received"`
	// File says that the unit is a citizen file; Document is the type, by its procedure, of a document
	// of one.
	File     *CitizenFile `json:"citizenFile,omitempty"`
	Document string       `json:"document,omitempty"`
	// Person is of the record of a data subject, which is no unit.
	Person *Person `json:"person,omitempty"`
	// Corrections say what versions after the first corrected (GDPR art. 16).
	Corrections []Correction `json:"corrections,omitempty"`
}

const descriptionForm = "sae-description/1"

// maxDescription bounds one unit's metadata, in bytes of JSON.
const maxDescription = 12 << 20

func parseDescription(b []byte) (Description, error) {
	var d Description
	if err := json.Unmarshal(b, &d); err != nil {
		return Description{}, fmt.Errorf("parsing description: %w", err)
	}
	if d.Form != descriptionForm {
		return Description{}, fmt.Errorf("parsing description: form %q, this program knows %q", d.Form, descriptionForm)
	}
	return d, nil
}

// checkText refuses what no catalogue should hold: bytes that are not UTF-8, and
// control characters.
func checkText(what, s string, max int, bad *Refusal) {
	switch {
	case !utf8.ValidString(s):
		bad.addf("%s %q is not UTF-8; convert it, for example with convmv or iconv", what, s)
	case len(s) > max:
		bad.addf("%s has %d bytes, more than %d", what, len(s), max)
	default:
		for _, r := range s {
			if unicode.IsControl(r) && r != '\n' && r != '\t' {
				bad.addf("%s %q holds the control character U+%04X", what, s, r)
				return
			}
		}
	}
}

// checkDate refuses what is neither YYYY-MM-DD nor RFC 3339.
func checkDate(what, s string, bad *Refusal) {
	if s == "" {
		return
	}
	if _, err := time.Parse(time.DateOnly, s); err == nil {
		return
	}
	if _, err := time.Parse(time.RFC3339, s); err != nil {
		bad.addf("%s %q is not a date: want YYYY-MM-DD or RFC 3339", what, s)
	}
}

// checkChannel holds a channel against what it requires. where names the unit.
func checkChannel(where string, d *Description, hasContent bool, bad *Refusal) {
	switch d.Channel {
	case "":
		if hasContent || d.Paper != nil {
			bad.addf("%s: no channel: want digital, digitised, paper or both", where)
		}
		return
	case Digital, Digitised, Both:
		if !hasContent {
			bad.addf("%s: channel %s needs a file", where, d.Channel)
		}
	case Paper:
		if hasContent {
			bad.addf("%s: channel paper has no file; want both when the paper is kept beside its copy, digitised when the copy is what is deposited", where)
		}
	default:
		bad.addf("%s: channel %q is not known: want digital, digitised, paper or both", where, d.Channel)
		return
	}
	checkPaper(where, d, bad)
	checkScan(where, d, bad)
}

func checkPaper(where string, d *Description, bad *Refusal) {
	wants := d.Channel == Paper || d.Channel == Both
	switch {
	case wants && (d.Paper == nil || d.Paper.Location == ""):
		bad.addf("%s: channel %s needs the location of the paper (--paper-location, or paper.location in the metadata)", where, d.Channel)
	case !wants && d.Paper != nil:
		bad.addf("%s: channel %s has no paper; want both when the paper is kept", where, d.Channel)
	}
}

func checkScan(where string, d *Description, bad *Refusal) {
	if d.Channel != Digitised && d.Channel != Both {
		if d.Scan != nil {
			bad.addf("%s: channel %s has no scan record", where, d.Channel)
		}
		return
	}
	s := d.Scan
	if s == nil {
		s = &Scan{}
	}
	for _, f := range []struct{ name, value string }{
		{"scan.by", s.By}, {"scan.date", s.Date}, {"scan.device", s.Device}, {"scan.settings", s.Settings},
	} {
		if f.value == "" {
			bad.addf("%s: channel %s needs %s: without it the copy is not presumed faithful (décret 2016-1673)", where, d.Channel, f.name)
		}
	}
	checkDate(where+": scan.date", s.Date, bad)
	switch {
	case s.PaperKept == nil:
		bad.addf("%s: channel %s needs scan.paperKept: say whether the paper is kept (true or false)", where, d.Channel)
	case d.Channel == Both && !*s.PaperKept:
		bad.addf("%s: channel both says that the paper is kept, scan.paperKept says it is not", where)
	}
}
