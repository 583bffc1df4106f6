package archive

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"sae/integrity"
	"sae/retention"
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
	Attached  int               `json:"attached"` // units of the transfer that were in the archive
	Findings  seda.Findings     `json:"-"`
	Receipt   integrity.Receipt `json:"-"`

	reply       []byte // of a refused transfer
	archive     *Archive
	replyObject string // of one that was taken
}

// WriteReply writes the ArchiveTransferReply: of a transfer that was taken, the one that is
// kept with it.
func (o *TransferOutcome) WriteReply(ctx context.Context, w io.Writer) error {
	if o.archive == nil {
		_, err := w.Write(o.reply)
		return err
	}
	_, _, err := o.archive.Get(ctx, o.replyObject, w)
	return err
}

// UnitsOf calls each for the units that the operation of a ledger entry archived, in the
// order of its items, until it returns an error.
func (a *Archive) UnitsOf(entry int64, each func(DepositedUnit) error) error {
	if err := a.knowsEntry(entry); err != nil {
		return err
	}
	return a.cat.view(func(t *tx) error {
		return t.unitsOf(entry, func(id string) (bool, error) {
			u, err := a.unit(t, id, 1)
			if err == nil {
				err = each(depositedUnit(&u.Description))
			}
			return err == nil, err
		})
	})
}

// unitsOf calls f for the units, not the records of transfers, among the items of an entry; those
// that were destroyed are passed over.
func (t *tx) unitsOf(entry int64, f func(id string) (bool, error)) error {
	prefix := be64(uint64(entry))
	return t.scan(bktItem, prefix, prefixEnd(prefix), func(_, v []byte) (bool, error) {
		it, err := integrity.ParseItem(v)
		if err != nil || it.Object != "" || !strings.HasPrefix(it.Unit, unitID) {
			return err == nil, err
		}
		if stone, err := t.tomb(it.Unit); err != nil || stone != nil {
			return err == nil, err
		}
		return f(it.Unit)
	})
}

// DepositTransfer archives a SEDA transfer as one operation: its units, its data
// objects, its manifest, and the reply to it, which names them all. All that is wrong
// with it is found before anything is kept, save digests, which are found while the
// content is stored; then nothing is kept either. A refused transfer gives an error
// matching ErrRefused, and an outcome with findings and reply all the same.
func (a *Archive) DepositTransfer(ctx context.Context, agent string, in Transfer) (_ *TransferOutcome, err error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	ctx, end := a.begin(ctx, WorkDeposit)
	defer func() { end(err) }()
	tenant, err := a.tenant(in.Tenant)
	if err != nil {
		return nil, err
	}
	d := &transferDeposit{a: a, ctx: ctx, in: in, tenant: tenant, rules: a.schedule(tenant.ID), began: now()}
	if err := d.check(); err != nil {
		return nil, err
	}
	if d.t.Findings.Refused() {
		if err := d.t.Verify(ctx, Identify); err != nil { // so that all that is wrong is said
			return nil, err
		}
		return d.refused()
	}
	if err := d.name(); err != nil {
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
	rules  *retention.Schedule
	t      *seda.Transfer
	began  time.Time
	from   *integrity.DepositDetail // by which another archive handed the units over; nil for none

	agreement string
	units     []string // by index of the unit: its identifier in the archive
	objects   []takenObject
	existing  []string         // those of them that are in the archive already
	groups    map[int32]string // identifiers, by Object.Group
	said      string           // identifier of the record of its manifest and reply
	binary    []int            // indexes of the binary objects, in the order of the intake's
	taken     *intake          // its objects are these, then the manifest and the reply
	mu        sync.Mutex       // of findings, while content is stored
}

// takenObject is what becomes of a data object of the transfer.
type takenObject struct {
	id      string // in the archive; "" when no unit refers to it
	owner   int    // index of the unit that has it; others share it
	grouped bool   // its unit refers to its group
	number  int    // in the intake, -1 for a physical one
	policy  *policy
	until   time.Time // end of the retention of its owner; zero when it is not known
}

// check holds the manifest against the standard and what the tenant knows. An
// agreement that wants strictness is known only once it has been read.
func (d *transferDeposit) check() (err error) {
	o := seda.Options{Want: "ArchiveTransfer", Agreement: d.in.Agreement, Known: d.tenant.referential(d.rules)}
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
	if err := d.custody(); err != nil {
		return err
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
func (t *Tenant) referential(s *retention.Schedule) seda.Referential {
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
			r, ok := s.Rule(id)
			return ok && r.Of(retention.Category(category)) && r.Valid(now()), !r.Duration.IsZero()
		}
	}
	return out
}

// name gives every new unit, group and data object its identifier, so that they can name
// each other whatever their order, and finds the units of the archive that others are.
func (d *transferDeposit) name() error {
	ids := newIDs(unitID, d.t.Counts.Units)
	new := 0
	d.said = newID(messageID)
	d.units, d.objects, d.groups = make([]string, len(ids)), make([]takenObject, len(d.t.Objects)), map[int32]string{}
	err := d.t.Walk(func(u *seda.Unit) error {
		if u.Update != nil {
			return d.attach(u)
		}
		d.units[u.Index] = ids[new]
		new++
		for _, o := range u.Objects {
			if d.objects[o.Index].id == "" {
				d.objects[o.Index] = takenObject{id: newID(objectID), owner: u.Index, grouped: o.Group != "", number: -1, policy: d.storage(u), until: lockEnd(d.appraisal(u.Rules))}
				if !d.t.Objects[o.Index].Physical {
					d.objects[o.Index].number = len(d.binary)
					d.binary = append(d.binary, o.Index)
				}
				d.checkInline(o)
			}
			if g := d.t.Objects[o.Index].Group; g >= 0 && d.groups[g] == "" {
				d.groups[g] = newID(groupID)
			}
		}
		return nil
	})
	binary := newIDs(objectID, len(d.binary))
	for n, i := range d.binary {
		d.objects[i].id = binary[n]
	}
	d.taken = newIntake(d.tenant.ID, d.agreement, new+2, append(binary, newID(objectID), newID(objectID)))
	d.taken.needs = d.existing
	if len(d.existing) > 0 {
		d.taken.still = func(t *tx) error { return d.a.openAbove(t, d.existing...) }
	}
	if d.from != nil {
		d.taken.detail = d.from
	}
	return err
}

// storage is the policy for a unit's objects: the one that a StorageRule of its own names, when
// the archive has it, else the agreement's.
func (d *transferDeposit) storage(u *seda.Unit) *policy {
	for _, set := range u.Rules {
		for _, r := range set.Rules {
			if p := d.a.policies[r.ID]; set.Category == "StorageRule" && r.ID != "" && p != nil {
				return p
			}
		}
	}
	return d.a.policyOf(d.tenant, d.agreement)
}

// attach finds the unit of the archive that a unit of the transfer says it is.
func (d *transferDeposit) attach(u *seda.Unit) error {
	if u.Update == nil {
		return nil
	}
	id, err := d.a.named(d.tenant.ID, u.Update)
	if err == nil {
		err = d.a.cat.view(func(t *tx) error { return d.a.openAbove(t, id) })
	}
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrRefused):
		d.find(seda.Finding{Code: seda.AttachmentInvalid, Severity: seda.Error, Line: u.Line, ID: u.ID, Found: err.Error()})
		return nil
	case err != nil:
		return err
	case len(u.Objects) > 0:
		d.find(seda.Finding{Code: seda.AttachmentInvalid, Severity: seda.Error, Line: u.Line, ID: u.ID, Found: "objects cannot be added to a unit that is sealed; deposit them in a unit below it"})
	}
	d.units[u.Index] = id
	d.existing = append(d.existing, id)
	return nil
}

// named finds the one unit of a tenant that an UpdateOperation names.
func (a *Archive) named(tenant string, up *seda.Update) (id string, err error) {
	err = a.cat.view(func(t *tx) error {
		if up.SystemID != "" {
			rec, _, err := t.unitRecord(up.SystemID, 0)
			if err == nil && (rec.Tenant != tenant || !isUnit(up.SystemID)) {
				err = fmt.Errorf("unit %q: %w", up.SystemID, ErrNotFound)
			}
			id = up.SystemID
			return err
		}
		found := map[string]bool{}
		err := a.namedBy(t, idxField, tenant, fieldKey(seda.Field{Name: up.Field, Value: up.Value}), 0, ^uint64(0), func(unit string, _ int, _ uint64) (bool, error) {
			id = unit
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

// each makes a draft of every new unit, and of the records of the transfer.
func (d *transferDeposit) each(take func(*draft) error) error {
	err := d.t.Walk(func(u *seda.Unit) error {
		if err := d.ctx.Err(); u.Update != nil || err != nil {
			return err
		}
		out, err := d.draft(u)
		if err != nil {
			return err
		}
		return take(out)
	})
	if err != nil {
		return err
	}
	if err := take(d.message()); err != nil {
		return err
	}
	return take(d.record())
}

// draft describes a new unit.
func (d *transferDeposit) draft(u *seda.Unit) (*draft, error) {
	h := &d.t.Header
	out := &draft{where: "unit " + u.ID, desc: Description{
		Form: descriptionForm, Unit: d.units[u.Index], Version: 1, Level: u.Level, Title: u.Title, StartDate: u.StartDate, EndDate: u.EndDate,
		Tenant: d.tenant.ID, Agreement: d.agreement, Agency: h.OriginatingAgency, Subject: d.in.Subject, Received: d.began,
		SEDA: &Transferred{Version: h.Version.String(), XMLID: u.ID, Profile: u.Profile, Management: string(u.Management), Content: string(u.Content),
			Rules: u.Rules, Fields: u.Fields},
	}}
	for _, p := range u.Parents {
		out.desc.Parents = append(out.desc.Parents, d.units[p])
	}
	if len(u.Parents) == 0 {
		out.desc.SEDA.Defaults = d.t.Rules
	}
	out.desc.Rule = d.appraisal(u.Rules)
	for _, o := range u.Objects {
		if err := d.addObject(out, u, o); err != nil {
			return nil, err
		}
	}
	out.desc.Channel = channelOf(&out.desc)
	return out, nil
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
func (d *transferDeposit) appraisal(rules []seda.RuleSet) *AppliedRule {
	for _, set := range rules {
		if set.Category != "AppraisalRule" {
			continue
		}
		for _, r := range set.Rules {
			if known, ok := d.rules.Rule(r.ID); ok && known.Of(retention.Appraisal) {
				return &AppliedRule{Rule: r.ID, StartDate: r.StartDate, Duration: known.Duration.String(), FinalAction: set.FinalAction}
			}
		}
	}
	return nil
}

// addObject gives a data object to the first unit that refers to it; the others refer
// to that unit's.
func (d *transferDeposit) addObject(out *draft, u *seda.Unit, o seda.UnitObject) error {
	declared, taken := &d.t.Objects[o.Index], &d.objects[o.Index]
	group := ""
	if o.Group != "" {
		group = d.groups[declared.Group]
	}
	switch {
	case taken.owner != u.Index:
		out.desc.Shared = append(out.desc.Shared, SharedObject{ID: taken.id, Unit: d.units[taken.owner], Usage: declared.Usage, Group: group})
	case declared.Physical:
		out.desc.Physical = append(out.desc.Physical, DescribedPhysical{ID: taken.id, Usage: declared.Usage, Group: group, GroupXML: o.Group, XMLID: declared.ID, SEDA: string(o.XML)})
	default:
		xml := o.XML
		if declared.Inline {
			var err error
			if xml, _, err = seda.SplitAttachment(o.XML); err != nil {
				return err
			}
		}
		out.desc.Objects = append(out.desc.Objects, DescribedObject{Usage: declared.Usage, Filename: d.t.Filename(o.Index), Group: group, GroupXML: o.Group, XMLID: declared.ID, SEDA: string(xml)})
		d.taken.describe(out, len(out.desc.Objects)-1, taken.number)
	}
	return nil
}

// checkInline verifies content that the manifest itself carries.
func (d *transferDeposit) checkInline(o seda.UnitObject) {
	declared := &d.t.Objects[o.Index]
	if !declared.Inline {
		return
	}
	_, content, err := seda.SplitAttachment(o.XML)
	if err != nil {
		d.find(seda.Finding{Code: seda.ValueInvalid, Severity: seda.Error, Line: declared.Line, ID: declared.ID, Expected: "base64Binary", Found: err.Error()})
		return
	}
	for _, f := range seda.VerifyContent(declared, content) {
		d.find(f)
	}
}

// storeInline stores content that the manifest itself carries.
func (d *transferDeposit) storeInline() error {
	if !slices.ContainsFunc(d.t.Objects, func(o seda.Object) bool { return o.Inline }) {
		return nil
	}
	return d.t.Walk(func(u *seda.Unit) error {
		for _, o := range u.Objects {
			taken := &d.objects[o.Index]
			if u.Update != nil || taken.owner != u.Index || !d.t.Objects[o.Index].Inline {
				continue
			}
			_, content, err := seda.SplitAttachment(o.XML)
			if err != nil {
				return err
			}
			err = d.a.storeContents(d.ctx, d.taken, []int{taken.number}, 1, nil, func(int) source {
				return source{inMemoryContent(d.t.Filename(o.Index), content), "unit " + u.ID, taken.policy, taken.until}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func inMemoryContent(name string, b []byte) *Content {
	return &Content{Filename: name, Size: int64(len(b)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
}

// content is the file of a data object; its digest is held against the declared one as
// it is read.
func (d *transferDeposit) content(object int) *Content {
	file := d.t.FileOf(object)
	f, _ := d.in.Package.File(file)
	return &Content{Filename: d.t.Filename(object), Size: f.Size, Open: func() (io.ReadCloser, error) {
		r, err := d.in.Package.Open(file)
		if err != nil {
			return nil, err
		}
		return &digested{r, seda.NewDigester(&d.t.Objects[object]), func(found []seda.Finding) {
			d.mu.Lock()
			defer d.mu.Unlock()
			for _, f := range found {
				d.find(f)
			}
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
	if err := d.store(); err != nil {
		a.giveUp(d.taken)
		return nil, err
	}
	d.compareFormats()
	if d.t.Findings.Refused() {
		a.giveUp(d.taken)
		return d.refused()
	}
	manifest := len(d.taken.objects) - 2 // and the reply behind it
	own := a.policyOf(d.tenant, d.agreement)
	err := a.storeContents(d.ctx, d.taken, []int{manifest, manifest + 1}, 1, nil, func(o int) source {
		if o == manifest {
			return source{content: d.manifest(), where: "the manifest", policy: own}
		}
		return source{content: d.replyContent(now()), where: "the reply", policy: own}
	})
	if err != nil {
		a.giveUp(d.taken)
		return nil, err
	}
	d.taken.units = d.each
	out := d.outcome()
	out.Attached = len(d.existing)
	if out.Receipt, err = a.commitIntake(d.ctx, agent, d.taken); err != nil {
		return nil, err
	}
	out.Operation, out.archive, out.replyObject = d.taken.op, a, d.taken.objects[manifest+1]
	return out, nil
}

// store stores the content of data objects, in the order in which it lies in the package.
func (d *transferDeposit) store() error {
	var order []int
	for n, i := range d.binary {
		if !d.t.Objects[i].Inline {
			order = append(order, n)
		}
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(d.t.Place(d.binary[x]), d.t.Place(d.binary[y])) })
	workers := runtime.GOMAXPROCS(0)
	if d.in.Package.Sequential {
		workers = 1
	}
	err := d.a.storeContents(d.ctx, d.taken, order, workers, d.in.Progress, func(o int) source {
		object := d.binary[o]
		return source{d.content(object), "object " + d.t.Objects[object].ID, d.objects[object].policy, d.objects[object].until}
	})
	if err != nil {
		return err
	}
	return d.storeInline()
}

// compareFormats holds the formats found against those declared.
func (d *transferDeposit) compareFormats() {
	for n, i := range d.binary {
		declared, found := &d.t.Objects[i], d.taken.stored[n].format.PUID
		if declared.Format != "" && found != "" && declared.Format != found {
			d.find(seda.Finding{Code: seda.FormatMismatch, Severity: seda.Warning, Line: declared.Line, ID: declared.ID, Expected: declared.Format, Found: found})
		}
	}
}

// record is the transfer's own record, under the identifier of the operation: what it says of no
// unit alone, and where its words are.
func (d *transferDeposit) record() *draft {
	h := d.t.Header
	h.Comment = "" // it may name whose files these are: the manifest has it
	out := d.ownRecord(d.taken.op)
	out.desc.SEDA = &Transferred{Version: h.Version.String(), Header: &h, Metadata: string(d.t.Metadata), Rules: d.t.Rules, Messages: d.said}
	return out
}

// ownRecord is what the two records of the transfer have in common.
func (d *transferDeposit) ownRecord(id string) *draft {
	h := &d.t.Header
	return &draft{where: "the manifest", desc: Description{
		Form: descriptionForm, Unit: id, Version: 1, Level: "OtherLevel", Title: h.Message + " " + h.Identifier, Tenant: d.tenant.ID,
		Agreement: d.agreement, Agency: h.OriginatingAgency, Received: d.began,
	}}
}

// message is the record of what was said, word for word: the manifest, and the reply. It says all
// that the units say, and what is destroyed is not to be read there: with the first unit of the
// transfer that is destroyed, it is. What it says of the others, they say.
func (d *transferDeposit) message() *draft {
	out := d.ownRecord(d.said)
	out.desc.Objects = []DescribedObject{{Usage: "ArchiveTransfer", Filename: "manifest.xml"}, {Usage: "ArchiveTransferReply", Filename: "reply.xml"}}
	for i := range out.desc.Objects {
		d.taken.describe(out, i, len(d.taken.objects)-2+i)
	}
	return out
}

func (d *transferDeposit) manifest() *Content {
	p := d.in.Package
	f, _ := p.File(p.Manifest)
	return &Content{Filename: "manifest.xml", Size: f.Size, Open: func() (io.ReadCloser, error) { return p.Open(p.Manifest) }}
}

// replyContent is the reply, written while it is read: it names every unit.
func (d *transferDeposit) replyContent(granted time.Time) *Content {
	return &Content{Filename: "reply.xml", Size: -1, Open: func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(d.reply(granted).Write(w)) }()
		return r, nil
	}}
}

// refused is the outcome of a transfer that was not taken.
func (d *transferDeposit) refused() (*TransferOutcome, error) {
	var reply bytes.Buffer
	if err := d.reply(time.Time{}).Write(&reply); err != nil {
		return nil, err
	}
	out := d.outcome()
	out.reply = reply.Bytes()
	return out, fmt.Errorf("the transfer is %w: %d errors", ErrRefused, d.t.Findings.Errors)
}

func (d *transferDeposit) outcome() *TransferOutcome {
	return &TransferOutcome{Header: d.t.Header, Counts: d.t.Counts, Findings: d.t.Findings}
}

// reply is the ArchiveTransferReply; granted is zero when the transfer was refused.
func (d *transferDeposit) reply(granted time.Time) *seda.Reply {
	outcome, id := d.t.Findings.Outcome(), newID(opID)
	if d.taken != nil {
		id = d.taken.op
	}
	events := []seda.Event{
		{Code: "CHECK", Type: "Check of the transfer", Time: now(), Outcome: outcome, Detail: "CHECK." + outcome, Message: "Contrôle du versement"},
	}
	events = append(events, seda.EventsOf(&d.t.Findings, now())...)
	to := d.t.Header
	to.Agreement = d.agreement
	if to.ArchivalAgency == "" {
		to.ArchivalAgency = d.tenant.ID
	}
	r := &seda.Reply{Version: d.t.Header.Version, Identifier: id, Date: now(), Granted: granted, To: to, Code: outcome}
	if !granted.IsZero() {
		events = append(events, seda.Event{Code: "ARCHIVE", Type: "Archiving", Time: granted, Outcome: seda.OutcomeOK, Detail: "ARCHIVE.OK",
			Message: "Prise en charge des archives", Data: id})
		r.Units, r.Objects = d.givenUnits, d.givenObjects
	}
	r.Events = events
	return r
}

// givenUnits are the units with their identifiers, as they stand in the transfer.
func (d *transferDeposit) givenUnits(yield func(seda.Given) bool) {
	for i, id := range d.units {
		if !yield(seda.Given{XMLID: d.t.UnitID(i), SystemID: id}) {
			return
		}
	}
}

// givenObjects are the objects with their identifiers, those of a group one behind the
// other.
func (d *transferDeposit) givenObjects(yield func(seda.Given) bool) {
	group := func(i int) int32 {
		if d.objects[i].grouped {
			return d.t.Objects[i].Group
		}
		return -1
	}
	var order []int32
	for i := range d.objects {
		if d.objects[i].id != "" {
			order = append(order, int32(i))
		}
	}
	slices.SortStableFunc(order, func(x, y int32) int { return cmp.Compare(group(int(x)), group(int(y))) })
	for _, n := range order {
		i := int(n)
		o := &d.t.Objects[i]
		g := seda.Given{XMLID: o.ID, SystemID: d.objects[i].id, Usage: o.Usage, Physical: o.Physical}
		if at := d.objects[i].number; at >= 0 {
			s := &d.taken.stored[at]
			g.Digest, g.Algorithm, g.Size = hex.EncodeToString(s.digest[:]), "SHA-256", s.size
		}
		if d.objects[i].grouped {
			g.Group, g.GroupID = d.t.GroupOf(i), d.groups[o.Group]
		}
		if !yield(g) {
			return
		}
	}
}
