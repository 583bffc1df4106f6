package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
)

// DepositMetadata is the first part of a deposit: its units, and which parts are their content.
type DepositMetadata struct {
	Agreement string   `json:"archivalAgreement,omitempty" doc:"the tenant's first when absent"`
	Agency    string   `json:"originatingAgency,omitempty"`
	Parents   []string `json:"parents,omitempty" maxItems:"100" doc:"existing units below which those without parent come"`
	File      string   `json:"file,omitempty" doc:"citizen file into which the units go: its number, or its unit"`
	Person    *Person  `json:"person,omitempty" doc:"instead of file: whose open citizen file it is"`
	Procedure string   `json:"procedure,omitempty" doc:"with person: of which procedure the file is"`
	Units     []Unit   `json:"units" minItems:"1" maxItems:"10000"`
}

// Person is somebody, as an issuer names her.
type Person struct {
	Issuer string `json:"issuer" minLength:"1"`
	Sub    string `json:"sub" minLength:"1"`
}

// Unit is one unit of a deposit.
type Unit struct {
	Parent      *int                    `json:"parent,omitempty" minimum:"0" doc:"index among units of the one that it stands below, which comes before"`
	Title       string                  `json:"title" minLength:"1"`
	Description string                  `json:"description,omitempty"`
	StartDate   string                  `json:"startDate,omitempty"`
	EndDate     string                  `json:"endDate,omitempty"`
	Subject     string                  `json:"subject,omitempty" doc:"identifier of the citizen file"`
	Channel     archive.Channel         `json:"channel,omitempty" enum:"digital,digitised,paper,both" doc:"how it came; digital when absent and there is content"`
	Rule        string                  `json:"rule,omitempty" doc:"appraisal rule"`
	RuleStart   string                  `json:"ruleStart,omitempty"`
	Access      string                  `json:"accessRule,omitempty"`
	AccessStart string                  `json:"accessStart,omitempty"`
	Document    string                  `json:"document,omitempty" doc:"type, by the procedure of the citizen file"`
	Custom      map[string]string       `json:"custom,omitempty"`
	Scan        *archive.Scan           `json:"scan,omitempty"`
	Paper       *archive.PhysicalObject `json:"paper,omitempty"`
	Content     *UnitContent            `json:"content,omitempty" doc:"absent for a folder, and for paper"`
}

// UnitContent names the part that is the content of a unit.
type UnitContent struct {
	Part     string `json:"part" minLength:"1" doc:"name of the part; parts come in the order of the units"`
	Filename string `json:"filename" minLength:"1"`
	Size     *int64 `json:"size,omitempty" minimum:"0" doc:"held against what is received"`
	SHA256   string `json:"sha256,omitempty" pattern:"^[0-9a-fA-F]{64}$" doc:"held against what is received"`
}

// Deposited is what a deposit made.
type Deposited struct {
	Operation string                  `json:"operation"`
	Entry     int64                   `json:"ledgerEntry"`
	Units     []archive.DepositedUnit `json:"units" doc:"in the order of the request; those that were destroyed since are left out"`
	Archived  time.Time               `json:"archived"`
	Sealed    *time.Time              `json:"sealed,omitempty" doc:"time of the time-stamp over it; absent while it waits"`
	Receipt   string                  `json:"receipt" doc:"C2SP tlog-proof of the ledger entry, under the last checkpoint"`
}

const (
	maxMetadata = 16 << 20
	maxFaults   = 1000 // that are told of one request
	maxWait     = 60   // seconds
)

type depositInput struct {
	Keyed
	ContentType   string `header:"Content-Type" required:"true"`
	ContentDigest string `header:"Content-Digest" doc:"of the whole body (RFC 9530); held against what is received"`
	Prefer        string `header:"Prefer" doc:"wait=SECONDS waits for the seal, at most 60 seconds; respond-async answers once the body is durable, and with wait, when it is not archived by then (RFC 7240)"`
	Language      string `header:"Accept-Language"`
	Streamed
}

// Streamed is the body of a request that is read as it comes: the framework reads bodies that it knows of
// whole.
type Streamed struct{ body io.Reader }

// Resolve takes the body before anything reads it.
func (in *Streamed) Resolve(ctx huma.Context) []error {
	in.body = ctx.BodyReader()
	return nil
}

// takes tells the interface of a body that is streamed.
func takes(op *huma.Operation, mediaType string, m *huma.MediaType) {
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{mediaType: m}}
}

type depositOutput struct {
	Status   int
	Location string `header:"Location"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when it is the answer to an earlier request of the key"`
	Applied  string `header:"Preference-Applied"`
	Body     any    // Deposited, or Operation with 202
}

func (s *service) addDeposits() {
	registry := s.api.OpenAPI().Components.Schemas
	meta := registry.Schema(typeOf[DepositMetadata](), true, "DepositMetadata")
	add(s, huma.Operation{OperationID: "createDeposit", Method: http.MethodPost, Path: "/v1/deposits", DefaultStatus: http.StatusCreated,
		Summary: "Deposit units and files as one operation",
		Description: "Multipart: a part \"metadata\" (JSON, DepositMetadata), then each content as a part, in the order of the units. Parts are read once, as they come, and enciphered on the way. " +
			"A part may carry Content-Digest or Repr-Digest (sha-256, sha-512). 201 means that everything is durable and in the ledger; 202, with Prefer: respond-async, that the body is durable and is worked off later.",
		Responses: map[string]*huma.Response{
			"201": jsonOf[Deposited](registry, "What was archived"),
			"202": jsonOf[Operation](registry, "What is archived later")},
	}, noting(s, "createDeposit", s.createDeposit))
	takes(s.api.OpenAPI().Paths["/v1/deposits"].Post, "multipart/form-data", &huma.MediaType{
		Schema:   &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{"metadata": meta}, Required: []string{"metadata"}, AdditionalProperties: &huma.Schema{Type: "string", Format: "binary"}},
		Encoding: map[string]*huma.Encoding{"metadata": {ContentType: "application/json"}}})
	add(s, huma.Operation{OperationID: "showDeposit", Method: http.MethodGet, Path: "/v1/deposits/{entry}", Summary: "What became of a deposit"}, s.showDeposit)
}

func (s *service) createDeposit(ctx context.Context, who *Identity, in *depositInput) (*depositOutput, error) {
	if s.later(in.Prefer) {
		return s.createDepositLater(ctx, who, in)
	}
	done, replayed, err := s.deposit(ctx, who, in.Key, depositBody{in.ContentType, in.ContentDigest, in.body})
	if err != nil {
		return nil, err
	}
	out := &depositOutput{Status: http.StatusCreated, Location: depositAt(done.Entry), Replayed: replayed}
	out.Applied, err = s.waitForSeal(ctx, who, waitOf(in.Prefer), done)
	out.Body = *done
	return out, err
}

func depositAt(entry int64) string { return "/v1/deposits/" + strconv.FormatInt(entry, 10) }

// depositBody is the body of a deposit, as it comes or as it was received.
type depositBody struct {
	contentType, digest string
	io.Reader
}

// begin reads the metadata.
func (b depositBody) begin(s *service) (*parts, *DepositMetadata, error) {
	p, err := openParts(b.contentType, b.digest, b)
	if err != nil {
		return nil, nil, err
	}
	text, err := p.metadata("metadata", maxMetadata)
	if err != nil {
		return nil, nil, err
	}
	m, err := s.parseMetadata(text)
	return p, m, err
}

// told is what tells a deposit from others of the same key, beside its contents: the same, however it
// was written.
func (m *DepositMetadata) told(add func([]byte)) {
	add([]byte("createDeposit"))
	add(mustJSON(m))
}

// deposit archives what a body has, under a key. Requests are worked off by it, at once as later.
func (s *service) deposit(ctx context.Context, who *Identity, key string, body depositBody) (out *Deposited, replayed string, err error) {
	p, m, err := body.begin(s)
	if err != nil {
		return nil, "", err
	}
	o, err := s.of(who).Once(who.Name, who.Tenant, key)
	if err != nil {
		return nil, "", err
	}
	defer o.End()
	m.told(o.Add)
	d := m.deposit(who.Tenant, p)
	if o.Before() {
		if err := p.each(o.Add); err != nil {
			return nil, "", err
		}
		entry, _, err := o.Done()
		if err != nil {
			return nil, "", err
		}
		before, err := s.deposited(who, entry)
		return &before, repeated, err
	}
	if len(p.want) == 0 { // what is behind the metadata is read before anything is kept
		if err := p.ended(0); err != nil {
			return nil, "", err
		}
	}
	done, err := s.of(who).Deposit(o.Context(ctx), who.Name, d)
	if err != nil {
		return nil, "", err
	}
	e, err := integrity.ParseEntry(done.Receipt.Entry)
	if err != nil {
		return nil, "", err
	}
	return &Deposited{Operation: done.Operation, Entry: done.Receipt.Index, Units: done.Units, Archived: e.Time, Receipt: string(done.Receipt.Marshal())}, "", nil
}

// parseMetadata reads the metadata, and says all that is wrong with its form.
func (s *service) parseMetadata(b []byte) (*DepositMetadata, error) {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("metadata is not JSON: %w", errMalformed)
	}
	registry := s.api.OpenAPI().Components.Schemas
	schema := registry.Map()["DepositMetadata"]
	all, _ := v.(map[string]any)
	for name, p := range schema.Properties { // the framework would tell what is wrong with each element
		if list, ok := all[name].([]any); ok && p.MaxItems != nil && len(list) > *p.MaxItems {
			return nil, invalid(Fault{fmt.Sprintf("%d elements: at most %d at once", len(list), *p.MaxItems), "metadata." + name})
		}
	}
	res := &huma.ValidateResult{}
	huma.Validate(registry, schema, huma.NewPathBuffer([]byte("metadata"), len("metadata")), huma.ModeWriteToServer, v, res)
	if len(res.Errors) > 0 {
		var faults []Fault
		for _, e := range res.Errors[:min(len(res.Errors), maxFaults)] {
			f := Fault{Message: e.Error()}
			if d, ok := e.(huma.ErrorDetailer); ok {
				f = Fault{d.ErrorDetail().Message, d.ErrorDetail().Location}
			}
			faults = append(faults, f)
		}
		return nil, invalid(faults...)
	}
	m := &DepositMetadata{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("metadata: %w: %w", errMalformed, err)
	}
	return m, nil
}

// deposit is what the archive is asked for; the contents are the parts to come.
func (m *DepositMetadata) deposit(tenant string, p *parts) archive.Deposit {
	d := archive.Deposit{Tenant: tenant, Agreement: m.Agreement, Agency: m.Agency, Parents: m.Parents, File: m.File, Procedure: m.Procedure}
	if m.Person != nil {
		d.Person = archive.FederatedID{Issuer: m.Person.Issuer, Sub: m.Person.Sub}
	}
	for i, u := range m.Units {
		n := archive.NewUnit{Parent: -1, Where: fmt.Sprintf("metadata.units[%d]", i), Title: u.Title, Description: u.Description, StartDate: u.StartDate, EndDate: u.EndDate,
			Subject: u.Subject, Channel: u.Channel, Scan: u.Scan, Paper: u.Paper, Rule: u.Rule, RuleStart: u.RuleStart, Access: u.Access, AccessStart: u.AccessStart,
			Custom: u.Custom, Document: u.Document}
		if u.Parent != nil {
			n.Parent = *u.Parent
		}
		if c := u.Content; c != nil {
			n.Content = &archive.Content{Filename: c.Filename, Size: -1, SHA256: c.SHA256}
			if c.Size != nil {
				n.Content.Size = *c.Size
			}
			if n.Channel == "" {
				n.Channel = archive.Digital
			}
			p.add(c.Part, n.Content)
		}
		d.Units = append(d.Units, n)
	}
	return d
}

// deposited is what a deposit made, as it is now.
func (s *service) deposited(who *Identity, entry int64) (d Deposited, err error) {
	b, err := s.a.Entry(entry)
	if err != nil {
		return d, err
	}
	e, err := integrity.ParseEntry(b)
	if err == nil && (e.Kind != integrity.Deposit || e.Tenant != who.Tenant) {
		err = fmt.Errorf("deposit %d: %w", entry, archive.ErrNotFound)
	}
	if err != nil {
		return d, err
	}
	d = Deposited{Operation: e.Operation, Entry: entry, Archived: e.Time, Units: []archive.DepositedUnit{}}
	own := e.Agent == s.a.Pseudonym(who.Name)
	err = s.of(who).UnitsOf(entry, func(u archive.DepositedUnit) error {
		if !own {
			u.Title = ""
			for i := range u.Objects {
				u.Objects[i].SHA256 = ""
			}
		}
		d.Units = append(d.Units, u)
		return nil
	})
	if err != nil {
		return d, err
	}
	if len(d.Units) > 0 {
		u, err := s.of(who).UnitVersion(d.Units[0].ID, 1)
		if err != nil {
			return d, err
		}
		d.Sealed = u.Sealed
	}
	r, err := s.a.ProveEntry(entry)
	d.Receipt = string(r.Marshal())
	return d, err
}

// waitForSeal waits until what was deposited is sealed, or the time is over.
func (s *service) waitForSeal(ctx context.Context, who *Identity, wait time.Duration, d *Deposited) (applied string, err error) {
	if wait <= 0 || s.sealer == nil || len(d.Units) == 0 {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return "wait=" + strconv.Itoa(int(wait.Seconds())), s.sealer.wait(ctx, func() (bool, error) {
		u, err := s.of(who).UnitVersion(d.Units[0].ID, 1)
		if err != nil {
			return false, err
		}
		d.Sealed = u.Sealed
		return u.Sealed != nil, nil
	})
}

// waitOf is how long a request prefers to wait; zero for not.
func waitOf(prefer string) time.Duration {
	value, _ := preferred(prefer, "wait")
	seconds, err := strconv.Atoi(value)
	if err != nil || seconds < 1 {
		return 0
	}
	return time.Duration(min(seconds, maxWait)) * time.Second
}

type depositPath struct {
	Entry int64 `path:"entry" minimum:"0" doc:"ledger entry"`
}

type showDepositOutput struct {
	Body Deposited
}

// showDeposit tells who deposited what it deposited; others are told the identifiers alone.
func (s *service) showDeposit(_ context.Context, who *Identity, in *depositPath) (*showDepositOutput, error) {
	d, err := s.deposited(who, in.Entry)
	if err != nil {
		return nil, err
	}
	return &showDepositOutput{d}, nil
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // what is sent here always encodes
	}
	return b
}
