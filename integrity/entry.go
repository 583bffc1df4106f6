package integrity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Kind says what operation an entry records.
type Kind string

// The kinds of entry. A kind is a code that outlives every program: kinds are
// only ever added.
const (
	Created          Kind = "created"           // the archive came into being
	Deposit          Kind = "deposit"           // units were archived
	Seal             Kind = "seal"              // a batch received its time-stamp
	Audit            Kind = "audit"             // copies, evidence and ledger were re-read
	Repair           Kind = "repair"            // bad or missing copies were replaced by good ones
	RollbackAccepted Kind = "rollback-accepted" // an older catalogue was knowingly put back
	Export           Kind = "export"            // units were handed out as a package
	LossAccepted     Kind = "loss-accepted"     // an object of which no good copy is left was given up
	Offer            Kind = "offer"             // a place for copies was added, drained or removed
	Rules            Kind = "rules"             // a retention schedule was changed
	Hold             Kind = "hold"              // units were put on hold
	Start            Kind = "start"             // the day was set on which a retention starts
	Derogation       Kind = "derogation"        // a person may read units that are not open yet
	HoldReviewed     Kind = "hold-reviewed"     // a hold was looked at again, and stays
	ActEnded         Kind = "act-ended"         // a hold was lifted, a start taken back, a sample undone, a derogation revoked
	SampleSeed       Kind = "sample-seed"       // a seed was drawn, before a sample is chosen by it
	Sample           Kind = "sample"            // of units that are to be sorted, some are kept and the rest may go

	EliminationProposed  Kind = "elimination-proposed"  // a list of units to destroy was frozen
	EliminationAgreed    Kind = "elimination-agreed"    // the originating agency agreed
	EliminationVisaed    Kind = "elimination-visaed"    // the control authority gave its visa
	EliminationRefused   Kind = "elimination-refused"   // one of them refused
	EliminationWithdrawn Kind = "elimination-withdrawn" // it was given up
	EliminationExecuted  Kind = "elimination-executed"  // what could be destroyed of it was
	EliminationCertified Kind = "elimination-certified" // its destruction certificate was archived

	TransferProposed     Kind = "transfer-proposed"     // a list of units was frozen that go to another archive
	TransferSent         Kind = "transfer-sent"         // they were sent
	TransferAcknowledged Kind = "transfer-acknowledged" // the reply was verified against what was sent
	TransferWithdrawn    Kind = "transfer-withdrawn"    // it was given up
	TransferExecuted     Kind = "transfer-executed"     // what the other archive has was destroyed here

	Destroyed Kind = "destroyed" // units were destroyed

	Accesses        Kind = "accesses"          // who read what was taken into the log of accesses
	AccessLogPurged Kind = "access-log-purged" // what of it was kept long enough was destroyed

	Conversion Kind = "conversion" // a unit got copies of its objects in other formats

	Procedure Kind = "procedure" // a procedure of citizen files was added or changed

	Subject       Kind = "subject"       // a data subject was recorded, or its record changed
	FileEvent     Kind = "file-event"    // an event of a citizen file was recorded
	Restriction   Kind = "restriction"   // units are kept from being read but for named purposes (GDPR art. 18)
	Rectification Kind = "rectification" // a unit got a version with corrected metadata (GDPR art. 16)

	// The steps of a request of a data subject have the kinds "request-" and the step, those of
	// an erasure the kinds "erasure-" and the step.
	ErasureDecided  Kind = "erasure-decided"  // the data-protection officer let a list of units go
	ErasureExecuted Kind = "erasure-executed" // what could be erased of it was
	Erased          Kind = "erased"           // units were erased (GDPR art. 17)
	RequestPurged   Kind = "request-purged"   // what a request said about a person was destroyed

	// The steps of destroying paper have the kinds "paper-" and the step, as those of an elimination.
	PaperDestroyed Kind = "paper-destroyed" // the paper of units was destroyed, their copies stay

	APIKeyCreated Kind = "apikey-created" // a program may ask things of the service
	APIKeyRevoked Kind = "apikey-revoked" // and may not any more

	WebhookAdded   Kind = "webhook-added"   // what happens is told to an address
	WebhookChanged Kind = "webhook-changed" // address, choice of events or secrets were changed, or it was stopped
	WebhookRemoved Kind = "webhook-removed" // it is told no more

	RootReplaced Kind = "root-replaced" // another root key was drawn, and nothing destroyed with the old one
	RootEscrowed Kind = "root-escrowed" // a sealed copy of the root key was made
)

// MaxEntry is the longest entry, in bytes: the entry bundles of C2SP tlog-tiles
// carry a 16-bit length.
const MaxEntry = 1<<16 - 1

// Entry is one line of the ledger: one operation. It is stored as one JSON
// object, whose bytes are the Merkle leaf.
type Entry struct {
	Version   int             `json:"v"`         // format of the entry: 1
	Kind      Kind            `json:"kind"`      // what was done
	Time      time.Time       `json:"time"`      // when it was committed, UTC; never before the previous entry's
	Tenant    string          `json:"tenant"`    // archival agency, a code
	Operation string          `json:"operation"` // random identifier of the operation
	Agent     string          `json:"agent"`     // keyed pseudonym of who asked
	Agreement string          `json:"agreement,omitempty"`
	Items     *Items          `json:"items,omitempty"`  // what the operation touched
	Detail    json.RawMessage `json:"detail,omitempty"` // per kind, one of the ...Detail types
}

// Items commits to the items of an operation: their number and the root of the
// RFC 6962 tree over their bytes.
type Items struct {
	Count int64 `json:"count"`
	Root  Hash  `json:"root"`
}

// CreatedDetail is the detail of a Created entry: the key that signs
// checkpoints, as a note verifier key (C2SP signed-note).
type CreatedDetail struct {
	LedgerKey string `json:"ledgerKey"`
	Schedule  *Hash  `json:"schedule,omitempty"` // of the first tenant, as in RulesDetail
}

// RulesDetail is the detail of a Rules entry: how many rules of the tenant's schedule were
// added, changed and ended, and the SHA-256 of the schedule after it: of its rules as JSON, a
// line each, in the order of categories and ids.
type RulesDetail struct {
	Added    int  `json:"added"`
	Changed  int  `json:"changed"`
	Ended    int  `json:"ended"`
	Schedule Hash `json:"schedule"`
}

// DepositDetail is the detail of a Deposit entry, of units that another archive handed over.
type DepositDetail struct {
	From CustodyFrom `json:"from"`
}

// CustodyFrom is the entry of another ledger by which its archive handed units over: its note
// verifier key, the entry's index and record hash (RFC 6962 section 2.1), and the size and root
// of the checkpoint under which it was proved.
type CustodyFrom struct {
	Ledger string `json:"ledger"`
	Entry  int64  `json:"entry"`
	Hash   Hash   `json:"hash"`
	Size   int64  `json:"size"`
	Root   Hash   `json:"root"`
}

// ProcedureDetail is the detail of a Procedure entry: its code, the number of the version, and
// the SHA-256 of its file.
type ProcedureDetail struct {
	Procedure string `json:"procedure"`
	Version   int    `json:"version"`
	File      Hash   `json:"file"`
}

// RevisionDetail is the detail of Subject and Rectification entries, whose one item is a version of
// the record or unit: what was done, and a salted commitment of what was said with it.
type RevisionDetail struct {
	Act     string `json:"act"`               // a code, such as "linked"
	Request string `json:"request,omitempty"` // that asked for it
	Text    Hash   `json:"text"`
}

// RequestDetail is the detail of the entries of a request of a data subject: the request, the
// article of the GDPR, the day by which it is to be answered, what a decision is, as codes, and a
// salted commitment of what was said with the step.
type RequestDetail struct {
	Request string   `json:"request"`
	Article int      `json:"article"`
	Due     string   `json:"due"`
	Outcome string   `json:"outcome,omitempty"`
	Grounds []string `json:"grounds,omitempty"` // such as "17(3)(b)"
	Erasure string   `json:"erasure,omitempty"` // the erasure that a decision allows
	Text    Hash     `json:"text"`
}

// PurgedDetail is the detail of a RequestPurged entry: the requests of which the words were destroyed.
type PurgedDetail struct {
	Requests []string `json:"requests"`
}

// SealDetail is the detail of a Seal entry. Checkpoint is the size of the ledger
// that the batch's last leaf, a signed checkpoint, stands for.
type SealDetail struct {
	Batch      string    `json:"batch"`      // random identifier
	Leaves     int64     `json:"leaves"`     // number of leaves, the checkpoint's included
	Root       Hash      `json:"root"`       // root of the evidence-record tree
	Token      Hash      `json:"token"`      // SHA-256 of the time-stamp token
	Stamped    time.Time `json:"stamped"`    // genTime of the token
	Authority  string    `json:"authority"`  // name of the time-stamping authority in the configuration
	Checkpoint int64     `json:"checkpoint"` // ledger size sealed by the batch
}

// AuditDetail is the detail of an Audit entry: what was read and what was wrong.
type AuditDetail struct {
	Sample   float64 `json:"sample"`   // share of the objects read, 0 to 1
	Objects  int64   `json:"objects"`  // objects read
	Copies   int64   `json:"copies"`   // copies read
	Bytes    int64   `json:"bytes"`    // bytes of content read
	Findings int64   `json:"findings"` // things found wrong
	Repaired int64   `json:"repaired"` // copies repaired
	Lost     int64   `json:"lost"`     // objects with no good copy left
}

// ExportDetail says what an Export handed out. To whom is for the package to say.
type ExportDetail struct {
	Message string `json:"message"` // SEDA message
	Units   int64  `json:"units"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"` // of content
	Root    Hash   `json:"root"`  // RFC 6962 root over the identifiers of the units, in their order
	// Derogations are the acts by which units were read that are not open yet.
	Derogations []string `json:"derogations,omitempty"`
	Request     string   `json:"request,omitempty"` // of a data subject, to whom it was given
}

// RepairDetail is the detail of a Repair entry.
type RepairDetail struct {
	Offer  string `json:"offer"`  // the offer whose copies were replaced
	Copies int64  `json:"copies"` // how many
}

// OfferDetail is the detail of an Offer entry.
type OfferDetail struct {
	Offer string `json:"offer"` // its name
	Act   string `json:"act"`   // added, drained, resumed, removed
}

// LossDetail is the detail of a LossAccepted entry: the object, and a salted commitment of the
// reason, whose text is kept enciphered.
type LossDetail struct {
	Object string `json:"object"`
	Reason Hash   `json:"reason"`
}

// RollbackDetail is the detail of a RollbackAccepted entry: the last checkpoint
// that was signed and is no longer covered, and a salted commitment of the
// reason, whose text is kept enciphered.
type RollbackDetail struct {
	LostSize int64 `json:"lostSize"`
	LostRoot Hash  `json:"lostRoot"`
	Reason   Hash  `json:"reason"`
}

// ActDetail is the detail of Hold, Start, Sample, Derogation and ActEnded entries: the act, how many units it is on,
// and a salted commitment of its text, which names them and is kept enciphered; of ActEnded and
// HoldReviewed, of the reason.
type ActDetail struct {
	Act    string `json:"act"`
	Units  int64  `json:"units"`
	Text   Hash   `json:"text"`
	Review string `json:"review,omitempty"` // of a hold: the day on which it is to be looked at again
}

// SampleSeedDetail is the detail of a SampleSeed entry: the rule, how many units are chosen
// among, the RFC 6962 root over their identifiers in order, and the seed, hex.
type SampleSeedDetail struct {
	Rule        string `json:"rule"`
	RuleVersion int    `json:"ruleVersion"`
	Candidates  int64  `json:"candidates"`
	Root        Hash   `json:"root"`
	Seed        string `json:"seed"`
}

// EliminationDetail is the detail of the entries of a request to eliminate or to transfer, of
// kinds "elimination-", "transfer-" or "paper-" and the step: the request, how many units its list has, the RFC 6962 root over
// "UNIT VERSION" of each in their order, how many of them the step refuses, and a salted
// commitment of what was said with it.
type EliminationDetail struct {
	Elimination string `json:"elimination"`
	Units       int64  `json:"units"`
	Root        Hash   `json:"root"`
	Refused     int64  `json:"refused,omitempty"`
	Destroyed   int64  `json:"destroyed,omitempty"` // units, when it was executed
	Text        Hash   `json:"text"`
	// Of an erasure: the request of a data subject that it is for, and the article of the GDPR.
	Request string `json:"request,omitempty"`
	Article int    `json:"article,omitempty"`
}

// DestroyedDetail is the detail of Destroyed and Erased entries, whose items are the units that were
// destroyed; their leaves commit to tombstones. Under is what allowed it, Visa the ledger entry
// of its visa.
type DestroyedDetail struct {
	Under   string `json:"under"`
	Visa    int64  `json:"visa"`
	Units   int64  `json:"units"`
	Article int    `json:"article,omitempty"` // of the GDPR, of Erased
}

// ConversionDetail is the detail of a Conversion entry, whose items are the new version of a unit
// and its new objects: what each new object was converted from, and a salted commitment of what
// was said with it: by which tool, why.
type ConversionDetail struct {
	Converted []Converted `json:"converted"`
	Text      Hash        `json:"text"`
}

// Converted links a new object to the one that it was made from, which stays.
type Converted struct {
	From   string `json:"from"`
	Object string `json:"object"`
}

// PaperDetail is the detail of a PaperDestroyed entry: what allowed it, the ledger entry of its
// visa, and the RFC 6962 root over the identifiers of the units, in the order of the list.
type PaperDetail struct {
	Under string `json:"under"`
	Visa  int64  `json:"visa"`
	Units int64  `json:"units"`
	Root  Hash   `json:"root"`
}

// AccessesDetail is the detail of an Accesses entry: how many records were taken into the log, the
// times of the first and the last, and the chunks in which they are kept.
type AccessesDetail struct {
	Count  int64         `json:"count"`
	First  time.Time     `json:"first"`
	Last   time.Time     `json:"last"`
	Chunks []AccessChunk `json:"chunks"`
}

// AccessChunk are the records of a tenant and a day, YYYY-MM-DD in UTC: their number, and the RFC
// 6962 root over them. Each record has 130 random bits, so that the root confirms no guess.
type AccessChunk struct {
	Tenant string `json:"tenant"`
	Day    string `json:"day"`
	Count  int64  `json:"count"`
	Root   Hash   `json:"root"`
}

// AccessLogPurgedDetail is the detail of an AccessLogPurged entry: of the entry's tenant, all chunks
// of days before one were destroyed: how many, and how many records.
type AccessLogPurgedDetail struct {
	Before string `json:"before"`
	Chunks int64  `json:"chunks"`
	Count  int64  `json:"count"`
}

// APIKeyDetail is the detail of APIKeyCreated and APIKeyRevoked entries: the key's identifier, its
// roles and operations, as codes, until when it is good, and a salted commitment of its name.
type APIKeyDetail struct {
	Key        string    `json:"key"`
	Roles      []string  `json:"roles"`
	Operations []string  `json:"operations,omitempty"`
	Expires    time.Time `json:"expires"`
	Name       Hash      `json:"name"`
}

// WebhookDetail is the detail of WebhookAdded, WebhookChanged and WebhookRemoved entries: the webhook's
// identifier, the types of events that it is told (all when there are none), whether it is stopped, how
// many secrets sign, and a salted commitment of its name, a zero byte and its address.
type WebhookDetail struct {
	Webhook  string   `json:"webhook"`
	Types    []string `json:"types,omitempty"`
	Disabled bool     `json:"disabled,omitempty"`
	Secrets  int      `json:"secrets"`
	Address  Hash     `json:"address"`
}

// RootReplacedDetail is the detail of a RootReplaced entry: where the new root key is kept, "file"
// or "pkcs11".
type RootReplacedDetail struct {
	Kept string `json:"kept"`
}

// RootEscrowedDetail is the detail of a RootEscrowed entry: to how many recipients the root key was
// sealed, for how many seconds a holder may keep the copy, and the size of the ledger, this entry
// included, of the catalogue that it opens.
type RootEscrowedDetail struct {
	Recipients int   `json:"recipients"`
	MaxAge     int64 `json:"maxAge"`
	Size       int64 `json:"size"`
}

// Item is one thing an operation touched: a version of a unit's metadata, or,
// when Object is set, the content of one of its objects. Leaf is the salted
// commitment: the root of the data object group {content, salt} of RFC 4998
// section 4.2, under SHA-256.
type Item struct {
	Unit    string `json:"unit"`
	Version int    `json:"version"`
	Object  string `json:"object,omitempty"`
	Leaf    Hash   `json:"leaf"`
}

// Marshal gives the bytes of the entry as they go into the ledger. It fails when
// they would not fit in an entry bundle.
func (e Entry) Marshal() ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding ledger entry: %w", err)
	}
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("encoding ledger entry: %d bytes, more than the %d an entry may have", len(b), MaxEntry)
	}
	return b, nil
}

// ParseEntry reads the bytes of an entry. Unknown fields and versions, and bytes
// that Marshal would not have written, are refused: what is not understood, or
// could be understood in two ways, is not vouched for.
func ParseEntry(b []byte) (Entry, error) {
	var e Entry
	if err := strictJSON(b, &e); err != nil {
		return Entry{}, fmt.Errorf("parsing ledger entry: %w", err)
	}
	if e.Version != 1 {
		return Entry{}, fmt.Errorf("parsing ledger entry: version %d, this program knows version 1", e.Version)
	}
	if e.Kind == "" || e.Time.IsZero() {
		return Entry{}, errors.New("parsing ledger entry: no kind or no time")
	}
	if _, offset := e.Time.Zone(); offset != 0 {
		return Entry{}, errors.New("parsing ledger entry: its time is not UTC")
	}
	return e, nil
}

// Marshal gives the bytes of the item as they go into the tree of its entry.
func (it Item) Marshal() []byte {
	b, err := json.Marshal(it)
	if err != nil {
		panic(err) // strings, an int and a fixed-size array always encode
	}
	return b
}

// ParseItem reads the bytes of an item.
func ParseItem(b []byte) (Item, error) {
	var it Item
	if err := strictJSON(b, &it); err != nil {
		return Item{}, fmt.Errorf("parsing ledger item: %w", err)
	}
	if it.Unit == "" || it.Version < 1 {
		return Item{}, errors.New("parsing ledger item: no unit or no version")
	}
	return it, nil
}

// strictJSON decodes exactly the JSON that encoding v gives: no unknown field, no
// field twice or in other case, no space, nothing behind. So every program that
// reads the bytes reads the same.
func strictJSON(b []byte, v any) error {
	if len(b) > MaxEntry {
		return fmt.Errorf("%d bytes, more than %d", len(b), MaxEntry)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return jsonProblem(err)
	}
	if again, err := json.Marshal(v); err != nil || !bytes.Equal(again, b) {
		return errors.New("not JSON in its one form")
	}
	return nil
}

// jsonProblem keeps values out of an error: they are a stranger's.
func jsonProblem(err error) error {
	if bad := new(json.UnmarshalTypeError); errors.As(err, &bad) {
		return fmt.Errorf("field %q is not of its type", bad.Field)
	}
	return errors.New("not JSON of known fields")
}

// ReadDetail reads the detail of an entry of the given kind into one of the
// ...Detail types.
func (e Entry) ReadDetail(kind Kind, detail any) error {
	if e.Kind != kind {
		return fmt.Errorf("a %s entry where a %s entry was expected", e.Kind, kind)
	}
	if err := strictJSON(e.Detail, detail); err != nil {
		return fmt.Errorf("parsing detail of a %s entry: %w", kind, err)
	}
	return nil
}
