package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"sae/integrity"
	"sae/seda"
)

// Transfer is a SEDA ArchiveTransfer to deposit.
type Transfer struct {
	Package   *seda.Package
	Tenant    string // code; "" is the first
	Agreement string // when the manifest names none; "" refuses such a manifest
	Subject   string // identifier of the citizen file, for all units
	Progress  func(bytes int64)
}

// TransferOutcome is what became of a transfer.
type TransferOutcome struct {
	Operation string            `json:"operation,omitempty"` // "" when it was refused
	Header    seda.Header       `json:"header"`
	Counts    seda.Counts       `json:"counts"`
	Units     []DepositedUnit   `json:"units,omitempty"`
	Findings  seda.Findings     `json:"-"`
	Reply     []byte            `json:"-"` // ArchiveTransferReply
	Receipt   integrity.Receipt `json:"-"`
}

// DepositTransfer archives a SEDA transfer as one operation: its units, its data
// objects, its manifest, and the reply to it, which names them all. All that is wrong
// with it is found before anything is kept, save digests, which are found while the
// content is stored; then nothing is kept either. A refused transfer gives an error
// matching ErrRefused, and an outcome with findings and reply all the same.
func (a *Archive) DepositTransfer(ctx context.Context, agent string, in Transfer) (*TransferOutcome, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	tenant, err := a.config.tenant(in.Tenant)
	if err != nil {
		return nil, err
	}
	d := &transferDeposit{a: a, ctx: ctx, in: in, tenant: tenant, began: now(), op: newID(opID)}
	if err := d.check(); err != nil {
		return nil, err
	}
	if d.t.Findings.Refused() {
		if err := d.t.Verify(ctx, Identify); err != nil { // so that all that is wrong is said
			return nil, err
		}
		return d.refused()
	}
	if err := d.draftUnits(); err != nil {
		return nil, err
	}
	if d.t.Findings.Refused() {
		return d.refused()
	}
	return d.deposit(agent)
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// transferDeposit is a transfer on its way.
type transferDeposit struct {
	a      *Archive
	ctx    context.Context
	in     Transfer
	tenant *Tenant
	t      *seda.Transfer
	op     string
	began  time.Time

	agreement string
	drafts    []draft
	units     []seda.Given // for the reply, by index of the unit
	objects   []seda.Given // for the reply, by index of the object
	owner     []int        // of each object: index of the unit that has it, -1 for none yet
	system    []string     // by index of the unit: its identifier in the archive
	groups    map[string]string
	mu        sync.Mutex
	mismatch  []seda.Finding // digests, found while storing
}

// check holds the manifest against the standard and what the tenant knows. An
// agreement that wants strictness is known only once it has been read.
func (d *transferDeposit) check() (err error) {
	o := seda.Options{Want: "ArchiveTransfer", Agreement: d.in.Agreement, Known: d.tenant.referential()}
	if d.t, err = seda.Check(d.in.Package, o); err != nil {
		return err
	}
	d.agreement = d.t.Header.Agreement
	if d.agreement == "" {
		d.agreement = d.in.Agreement
	}
	for i := range d.tenant.Agreements {
		g := &d.tenant.Agreements[i]
		if mode, err := g.mode(); err == nil && g.ID == d.agreement && mode == seda.Strict {
			o.Mode = mode
			if d.t, err = seda.Check(d.in.Package, o); err != nil {
				return err
			}
		}
	}
	if d.agreement != "" && !codeForm.MatchString(d.agreement) {
		d.find(seda.Finding{Code: seda.AgreementUnknown, Severity: seda.Error, Found: d.agreement, Expected: "[A-Za-z0-9._-]{1,64}"})
	}
	return d.schema()
}

func (d *transferDeposit) find(f seda.Finding) { d.t.Findings.Add(f) }

// schema applies the tenant's own schema files.
func (d *transferDeposit) schema() error {
	file := d.tenant.Schemas[d.t.Header.Version.String()]
	if file == "" {
		return nil
	}
	s, err := seda.LoadSchema(file)
	if err != nil {
		return &DamagedError{What: "configuration", Where: "seda-schemas", Err: err}
	}
	return s.ValidateManifest(d.in.Package, &d.t.Findings)
}

// referential is what a tenant knows.
func (t *Tenant) referential() seda.Referential {
	accepts := func(what string) bool { return slices.Contains(t.AcceptUnknown, what) }
	out := seda.Referential{}
	if !accepts("agreements") {
		out.Agreement = func(id string) (bool, string) {
			if _, err := t.agreement(id); err == nil {
				return true, ""
			}
			var known []string
			for _, a := range t.Agreements {
				known = append(known, a.ID)
			}
			return false, strings.Join(known, ", ")
		}
	}
	if !accepts("agencies") {
		out.Agency = func(id string) (bool, string) { return t.agency(id) == nil, strings.Join(t.Agencies, ", ") }
	}
	if !accepts("rules") {
		out.Rule = func(category, id string) (known, hasDuration bool) {
			if category != "AppraisalRule" {
				return true, false // the configuration has appraisal rules alone
			}
			_, err := t.rule(id)
			return err == nil, false
		}
	}
	return out
}

// draftUnits makes a draft of every unit, each with its identifier, so that parents can
// be named whatever the order.
func (d *transferDeposit) draftUnits() error {
	n := d.t.Counts.Units
	d.system, d.units, d.objects = make([]string, n), make([]seda.Given, n), make([]seda.Given, len(d.t.Objects))
	d.owner, d.groups = make([]int, len(d.t.Objects)), map[string]string{}
	for i := range d.system {
		d.system[i] = newID(unitID)
	}
	for i := range d.owner {
		d.owner[i] = -1
	}
	var parents [][]int // of each draft, by index
	err := d.t.Walk(func(u *seda.Unit) error {
		if err := d.attach(u); err != nil {
			return err
		}
		d.units[u.Index] = seda.Given{XMLID: u.ID, SystemID: d.system[u.Index]}
		if u.Update == nil {
			d.drafts, parents = append(d.drafts, d.draft(u)), append(parents, u.Parents)
		}
		return nil
	})
	for i, above := range parents { // now that attached units are known
		for _, p := range above {
			d.drafts[i].desc.Parents = append(d.drafts[i].desc.Parents, d.system[p])
		}
	}
	return err
}

// attach finds the unit of the archive that a unit of the transfer says it is.
func (d *transferDeposit) attach(u *seda.Unit) error {
	if u.Update == nil {
		return nil
	}
	id, err := d.a.named(d.tenant.ID, u.Update)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrRefused):
		d.find(seda.Finding{Code: seda.AttachmentInvalid, Severity: seda.Error, Line: u.Line, ID: u.ID, Found: err.Error()})
		return nil
	case err != nil:
		return err
	case len(u.Objects) > 0:
		d.find(seda.Finding{Code: seda.AttachmentInvalid, Severity: seda.Error, Line: u.Line, ID: u.ID, Found: "objects cannot be added to a unit that is sealed; deposit them in a unit below it"})
	}
	d.system[u.Index] = id
	return nil
}

// named finds the one unit of a tenant that an UpdateOperation names.
func (a *Archive) named(tenant string, up *seda.Update) (id string, err error) {
	err = a.cat.view(func(t *tx) error {
		if up.SystemID != "" {
			rec, _, err := t.unitRecord(up.SystemID, 0)
			if err == nil && rec.Tenant != tenant {
				err = fmt.Errorf("unit %q: %w", up.SystemID, ErrNotFound)
			}
			id = up.SystemID
			return err
		}
		found := map[string]bool{}
		prefix := a.indexPrefix(idxField, tenant, fieldKey(seda.Field{Name: up.Field, Value: up.Value}))
		err := t.scan(bktIndex, prefix, prefixEnd(prefix), func(_, v []byte) (bool, error) {
			id, _ = splitUnitKey(v)
			found[id] = true
			return len(found) < 2, nil
		})
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("a unit with this %s: %w", up.Field, ErrNotFound)
		}
		if len(found) > 1 {
			err = &Refusal{Problems: []string{fmt.Sprintf("several units have this %s", up.Field)}}
		}
		return err
	})
	return id, err
}

// draft makes a draft of a new unit.
func (d *transferDeposit) draft(u *seda.Unit) draft {
	h := &d.t.Header
	out := draft{where: "unit " + u.ID, desc: Description{
		Form: descriptionForm, Unit: d.system[u.Index], Version: 1, Level: u.Level, Title: u.Title, StartDate: u.StartDate, EndDate: u.EndDate,
		Tenant: d.tenant.ID, Agreement: d.agreement, Agency: h.OriginatingAgency, Subject: d.in.Subject, Received: d.began,
		SEDA: &Transferred{Version: h.Version.String(), XMLID: u.ID, Profile: u.Profile, Management: string(u.Management), Content: string(u.Content),
			Rules: u.Rules, Fields: u.Fields},
	}}
	if len(u.Parents) == 0 {
		out.desc.SEDA.Defaults = d.t.Rules
	}
	out.desc.Rule = d.appraisal(u.Rules)
	for _, o := range u.Objects {
		d.addObject(&out, u, o)
	}
	out.desc.Channel = channelOf(&out.desc)
	return out
}

// channelOf is the channel of a unit by what it has. That an image was made from paper
// a transfer does not say.
func channelOf(d *Description) Channel {
	binary, physical := len(d.Objects) > 0, len(d.Physical) > 0
	switch {
	case binary && physical:
		return Both
	case binary:
		return Digital
	case physical:
		return Paper
	}
	return ""
}

// appraisal is the appraisal rule of a unit, with its terms, when the tenant has it.
func (d *transferDeposit) appraisal(rules []seda.Rule) *AppliedRule {
	for _, r := range rules {
		if r.Category != "AppraisalRule" || r.ID == "" {
			continue
		}
		if known, err := d.tenant.rule(r.ID); err == nil {
			return &AppliedRule{Rule: r.ID, StartDate: r.StartDate, Duration: known.Duration.String(), FinalAction: r.FinalAction}
		}
	}
	return nil
}

// addObject gives a data object to the first unit that refers to it; the others refer
// to that unit's.
func (d *transferDeposit) addObject(out *draft, u *seda.Unit, o seda.UnitObject) {
	declared := &d.t.Objects[o.Index]
	group := ""
	if o.Group != "" {
		if d.groups[o.Group] == "" {
			d.groups[o.Group] = newID(groupID)
		}
		group = d.groups[o.Group]
	}
	if first := d.owner[o.Index]; first >= 0 {
		out.desc.Shared = append(out.desc.Shared, SharedObject{ID: d.objects[o.Index].SystemID, Unit: d.system[first], Usage: declared.Usage, Group: group})
		return
	}
	d.owner[o.Index] = u.Index
	given := seda.Given{XMLID: declared.ID, Group: o.Group, GroupID: group, Usage: declared.Usage, Physical: declared.Physical}
	if declared.Physical {
		given.SystemID = newID(objectID)
		out.desc.Physical = append(out.desc.Physical, DescribedPhysical{ID: given.SystemID, Usage: declared.Usage, Group: group, GroupXML: o.Group, XMLID: declared.ID, SEDA: string(o.XML)})
	} else {
		content := d.content(o.Index)
		if declared.Inline {
			if content, o.XML = d.inline(o); content == nil {
				return
			}
		}
		named := out.add(declared.Usage, content)
		named.Group, named.GroupXML, named.XMLID, named.SEDA = group, o.Group, declared.ID, string(o.XML)
		given.SystemID = named.ID
	}
	d.objects[o.Index] = given
}

// inline is content that the manifest itself carries, and the declaration without it.
func (d *transferDeposit) inline(o seda.UnitObject) (*Content, []byte) {
	declared := &d.t.Objects[o.Index]
	xml, content, err := seda.SplitAttachment(o.XML)
	if err != nil {
		d.find(seda.Finding{Code: seda.ValueInvalid, Severity: seda.Error, Line: declared.Line, ID: declared.ID, Expected: "base64Binary", Found: err.Error()})
		return nil, nil
	}
	for _, f := range seda.VerifyContent(declared, content) {
		d.find(f)
	}
	return &Content{Filename: d.t.Filename(o.Index), Size: int64(len(content)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}, xml
}

// content is the file of a data object; its digest is held against the declared one as
// it is read.
func (d *transferDeposit) content(object int) *Content {
	file := d.t.FileOf(object)
	f, _ := d.in.Package.File(file)
	name := d.t.Filename(object)
	return &Content{Filename: name, Size: f.Size, Place: d.t.Place(object), Open: func() (io.ReadCloser, error) {
		r, err := d.in.Package.Open(file)
		if err != nil {
			return nil, err
		}
		return &digested{r, seda.NewDigester(&d.t.Objects[object]), func(found []seda.Finding) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.mismatch = append(d.mismatch, found...)
		}, file, false}, nil
	}}
}

// digested hands what is read through it to a digester.
type digested struct {
	r     io.ReadCloser
	d     *seda.Digester
	tell  func([]seda.Finding)
	file  string
	ended bool
}

func (r *digested) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.d.Write(p[:n])
	if err == io.EOF && !r.ended {
		r.ended = true
		r.tell(r.d.Findings(r.file))
	}
	return n, err
}

func (r *digested) Close() error { return r.r.Close() }

// deposit stores content, then commits.
func (d *transferDeposit) deposit(agent string) (*TransferOutcome, error) {
	a := d.a
	a.storing.Add(1)
	fail := func(err error) (*TransferOutcome, error) {
		a.storing.Add(-1)
		a.discard(d.drafts)
		return nil, err
	}
	if err := a.storeContents(d.ctx, d.drafts, d.workers(), d.in.Progress); err != nil {
		return fail(err)
	}
	for _, f := range d.mismatch {
		d.find(f)
	}
	d.compareFormats()
	if d.t.Findings.Refused() {
		fail(nil)
		return d.refused()
	}
	reply, err := d.reply(now())
	if err != nil {
		return fail(err)
	}
	record := d.record(reply)
	d.drafts = append(d.drafts, record)
	if err := a.storeContents(d.ctx, d.drafts[len(d.drafts)-1:], 1, nil); err != nil {
		return fail(err)
	}
	op, err := a.depositOperation(agent, &Deposit{Tenant: d.tenant.ID, Agreement: d.agreement, operation: d.op}, d.drafts)
	if err != nil {
		return fail(err)
	}
	op.stored = true
	_, op.receipt, err = a.commit(d.ctx, &op.operation)
	if err != nil {
		if !errors.Is(err, errUncertain) {
			a.discard(d.drafts)
		}
		return nil, fmt.Errorf("depositing: %w", err)
	}
	out := d.outcome(reply)
	done := deposited(op, d.drafts[:len(d.drafts)-1])
	out.Operation, out.Units, out.Receipt = done.Operation, done.Units, done.Receipt
	return out, nil
}

func (d *transferDeposit) workers() int {
	if d.in.Package.Sequential {
		return 1
	}
	return runtime.GOMAXPROCS(0)
}

// compareFormats holds the formats found against those declared.
func (d *transferDeposit) compareFormats() {
	for i := range d.drafts {
		for _, o := range d.drafts[i].desc.Objects {
			declared := d.t.Declared(o.XMLID)
			if declared != nil && declared.Format != "" && o.Format.PUID != "" && declared.Format != o.Format.PUID {
				d.find(seda.Finding{Code: seda.FormatMismatch, Severity: seda.Warning, Line: declared.Line, ID: o.XMLID, Expected: declared.Format, Found: o.Format.PUID})
			}
		}
	}
}

// record is the transfer's own record, under the identifier of the operation: what it
// said of itself, its manifest, and the reply.
func (d *transferDeposit) record(reply []byte) draft {
	h := &d.t.Header
	out := draft{where: "the manifest", desc: Description{
		Form: descriptionForm, Unit: d.op, Version: 1, Level: "OtherLevel", Title: h.Message + " " + h.Identifier, Tenant: d.tenant.ID,
		Agreement: d.agreement, Agency: h.OriginatingAgency, Subject: d.in.Subject, Received: d.began,
		SEDA: &Transferred{Version: h.Version.String(), Header: h, Metadata: string(d.t.Metadata), Rules: d.t.Rules},
	}}
	p := d.in.Package
	f, _ := p.File(p.Manifest)
	out.add("ArchiveTransfer", &Content{Filename: "manifest.xml", Size: f.Size, Open: func() (io.ReadCloser, error) { return p.Open(p.Manifest) }})
	out.add("ArchiveTransferReply", &Content{Filename: "reply.xml", Size: int64(len(reply)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(reply)), nil }})
	return out
}

// refused is the outcome of a transfer that was not taken.
func (d *transferDeposit) refused() (*TransferOutcome, error) {
	d.units, d.objects = nil, nil
	reply, err := d.reply(time.Time{})
	if err != nil {
		return nil, err
	}
	return d.outcome(reply), fmt.Errorf("the transfer is %w: %d errors", ErrRefused, d.t.Findings.Errors)
}

func (d *transferDeposit) outcome(reply []byte) *TransferOutcome {
	return &TransferOutcome{Header: d.t.Header, Counts: d.t.Counts, Findings: d.t.Findings, Reply: reply}
}

// reply writes the ArchiveTransferReply.
func (d *transferDeposit) reply(granted time.Time) ([]byte, error) {
	outcome := d.t.Findings.Outcome()
	events := []seda.Event{
		{Code: "CHECK", Type: "Check of the transfer", Time: now(), Outcome: outcome, Detail: "CHECK." + outcome, Message: "Contrôle du versement"},
	}
	events = append(events, seda.EventsOf(&d.t.Findings, now())...)
	if !granted.IsZero() {
		events = append(events, seda.Event{Code: "ARCHIVE", Type: "Archiving", Time: granted, Outcome: seda.OutcomeOK, Detail: "ARCHIVE.OK",
			Message: "Prise en charge des archives", Data: d.op})
	}
	to := d.t.Header
	to.Agreement = d.agreement
	if to.ArchivalAgency == "" {
		to.ArchivalAgency = d.tenant.ID
	}
	r := seda.Reply{Version: d.t.Header.Version, Identifier: d.op, Date: now(), Granted: granted, To: to, Units: d.units, Events: events, Code: outcome}
	for _, o := range d.objects {
		if o.SystemID != "" {
			r.Objects = append(r.Objects, o)
		}
	}
	sortByGroup(r.Objects)
	var b bytes.Buffer
	err := r.Write(&b)
	return b.Bytes(), err
}

// sortByGroup puts the objects of a group one behind the other.
func sortByGroup(objects []seda.Given) {
	slices.SortStableFunc(objects, func(x, y seda.Given) int { return cmp.Compare(x.Group, y.Group) })
}
