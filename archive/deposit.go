package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"sae/integrity"
)

// Deposit is what a depositor hands in, as one operation: all of it is archived,
// or nothing.
type Deposit struct {
	Tenant    string   // code; "" is the first
	Agreement string   // code; "" is the tenant's first
	Agency    string   // originating agency
	Parents   []string // existing units under which the units without Parent come
	Units     []NewUnit
	Progress  func(bytes int64) // called with the bytes read since the last call; may be nil

	operation string // identifier drawn before; "" for a new one
}

// NewUnit is one unit of a deposit.
type NewUnit struct {
	Parent      int    // index of the parent in Deposit.Units, which stands before; -1 for none
	Where       string // how to name the unit to the depositor in an error: its path
	Title       string
	Description string
	StartDate   string
	EndDate     string
	Subject     string // identifier of the citizen file
	Channel     Channel
	Scan        *Scan
	Paper       *PhysicalObject
	Rule        string // code of an appraisal rule
	RuleStart   string // start of its duration, YYYY-MM-DD
	Custom      map[string]string
	Content     *Content // nil for a folder, and for paper
}

// Deposited is what a deposit made.
type Deposited struct {
	Operation string            `json:"operation"`
	Units     []DepositedUnit   `json:"units"`
	Receipt   integrity.Receipt `json:"-"`
}

// DepositedUnit is one unit of a deposit, in the order in which they were given.
type DepositedUnit struct {
	ID      string            `json:"id"`
	Title   string            `json:"title"`
	Objects []DepositedObject `json:"objects"`
}

// DepositedObject is one object as it was archived.
type DepositedObject struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Format string `json:"format"` // PRONOM identifier, "" when unknown
}

// MaxUnits bounds the units of one deposit.
const MaxUnits = 1_000_000

// Deposit archives what it is given, on behalf of agent. When it returns nil,
// everything is durable in as many offers as the storage policy wants and in the
// ledger. When it returns an error, nothing was archived; a *Refusal lists all
// that is wrong with the request.
func (a *Archive) Deposit(ctx context.Context, agent string, d Deposit) (*Deposited, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	drafts, err := a.checkDeposit(&d)
	if err != nil {
		return nil, err
	}
	a.storing.Add(1)
	var op *depositOp
	err = a.storeContents(ctx, drafts, runtime.GOMAXPROCS(0), d.Progress)
	if err == nil {
		op, err = a.depositOperation(agent, &d, drafts)
	}
	if err != nil {
		a.storing.Add(-1)
		a.discard(drafts)
		return nil, err
	}
	op.stored = true
	_, op.receipt, err = a.commit(ctx, &op.operation)
	if err != nil {
		if !errors.Is(err, errUncertain) {
			a.discard(drafts)
		}
		return nil, fmt.Errorf("depositing: %w", err)
	}
	return deposited(op, drafts), nil
}

// draft is a unit on its way. Its description names the objects, in order.
type draft struct {
	desc    Description
	where   string
	objects []draftObject
}

// draftObject is an object of a draft: what is to be stored, then what was.
type draftObject struct {
	content *Content
	stored  *storedContent
}

// checkDeposit finds all that is wrong before anything is read, and fills in
// what is common.
func (a *Archive) checkDeposit(d *Deposit) ([]draft, error) {
	tenant, err := a.config.tenant(d.Tenant)
	if err != nil {
		return nil, err
	}
	d.Tenant = tenant.ID
	bad := &Refusal{}
	if d.Agreement, err = tenant.agreement(d.Agreement); err != nil {
		bad.addf("%v", err)
	}
	if err := tenant.agency(d.Agency); err != nil {
		bad.addf("%v", err)
	}
	if len(d.Units) == 0 || len(d.Units) > MaxUnits {
		bad.addf("%d units: a deposit has 1 to %d", len(d.Units), MaxUnits)
		return nil, bad
	}
	if err := a.checkParents(d); err != nil {
		bad.addf("%v", err)
	}
	drafts := make([]draft, len(d.Units))
	received := time.Now().UTC().Truncate(time.Millisecond)
	for i := range d.Units {
		drafts[i] = d.draft(i, drafts, tenant, bad)
		drafts[i].desc.Received = received
	}
	return drafts, bad.orNil()
}

func (a *Archive) checkParents(d *Deposit) error {
	for _, p := range d.Parents {
		u, err := a.Unit(p)
		if err != nil {
			return fmt.Errorf("parent %s: %w", p, err)
		}
		if u.Tenant != d.Tenant {
			return fmt.Errorf("parent %s: %w", p, ErrNotFound) // another tenant's units are not there
		}
	}
	return nil
}

// draft checks unit i and gives it an identifier. Those before it are drafted.
func (d *Deposit) draft(i int, before []draft, tenant *Tenant, bad *Refusal) draft {
	u := &d.Units[i]
	where := u.Where
	if where == "" {
		where = fmt.Sprintf("unit %d", i+1)
	}
	desc := Description{
		Form: descriptionForm, Unit: newID(unitID), Version: 1, Level: "RecordGrp",
		Title: u.Title, Description: u.Description, StartDate: u.StartDate, EndDate: u.EndDate,
		Tenant: d.Tenant, Agreement: d.Agreement, Agency: d.Agency, Subject: u.Subject,
		Channel: u.Channel, Scan: u.Scan, Paper: u.Paper, Custom: u.Custom,
	}
	switch {
	case u.Parent >= i || u.Parent < -1:
		bad.addf("%s: its parent does not stand before it", where)
	case u.Parent >= 0:
		desc.Parents = []string{before[u.Parent].desc.Unit}
	default:
		desc.Parents = d.Parents
	}
	if u.Content != nil || u.Paper != nil {
		desc.Level = "Item"
	}
	rule, err := tenant.rule(u.Rule)
	if err != nil {
		bad.addf("%s: %v", where, err)
	} else if u.Rule != "" {
		desc.Rule = &AppliedRule{Rule: rule.ID, StartDate: u.RuleStart, Duration: rule.Duration.String(), FinalAction: string(rule.FinalAction)}
	} else if u.RuleStart != "" {
		bad.addf("%s: a start date of a rule, but no rule", where)
	}
	checkDescription(where, &desc, u.Content, bad)
	out := draft{desc: desc, where: where}
	if u.Content != nil {
		out.add("BinaryMaster", u.Content)
	}
	return out
}

// add gives the draft one more object.
func (d *draft) add(usage string, c *Content) *DescribedObject {
	d.objects = append(d.objects, draftObject{content: c})
	d.desc.Objects = append(d.desc.Objects, DescribedObject{ID: newID(objectID), Usage: usage, Filename: c.Filename})
	return &d.desc.Objects[len(d.desc.Objects)-1]
}

func checkDescription(where string, d *Description, c *Content, bad *Refusal) {
	if d.Title == "" {
		bad.addf("%s: no title", where)
	}
	checkText(where+": title", d.Title, 10_000, bad)
	checkText(where+": description", d.Description, 100_000, bad)
	checkText(where+": subject", d.Subject, 1_000, bad)
	checkDate(where+": start date", d.StartDate, bad)
	checkDate(where+": end date", d.EndDate, bad)
	if d.Rule != nil {
		if _, err := time.Parse(time.DateOnly, d.Rule.StartDate); d.Rule.StartDate != "" && err != nil {
			bad.addf("%s: start date %q of the rule is not YYYY-MM-DD", where, d.Rule.StartDate)
		}
	}
	for k, v := range d.Custom {
		checkText(where+": field "+k, v, 100_000, bad)
	}
	if c != nil {
		checkText(where+": file name", c.Filename, 1_000, bad)
		if c.Filename == "" || c.Filename != filepath.Base(c.Filename) {
			bad.addf("%s: file name %q is not a plain name", where, c.Filename)
		}
	}
	checkChannel(where, d, c != nil, bad)
}

func (t *Tenant) agency(id string) error {
	if id == "" || len(t.Agencies) == 0 {
		bad := &Refusal{}
		checkText("originating agency", id, 200, bad)
		return bad.orNil()
	}
	for _, known := range t.Agencies {
		if known == id {
			return nil
		}
	}
	return fmt.Errorf("originating agency %q is not known to tenant %s; known: %v", id, t.ID, t.Agencies)
}

// storeContents stores the contents, workers at a time, and stops at the first that
// fails.
func (a *Archive) storeContents(ctx context.Context, drafts []draft, workers int, progress func(int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	report := func(n int64) {
		if progress != nil {
			mu.Lock()
			defer mu.Unlock()
			progress(n)
		}
	}
	next := make(chan place)
	var wg sync.WaitGroup
	for range min(workers, len(drafts)) {
		wg.Go(func() {
			for p := range next {
				d := &drafts[p.draft]
				s, err := a.storeContent(ctx, d.desc.Objects[p.object].ID, d.objects[p.object].content, report)
				if err != nil {
					cancel(fmt.Errorf("depositing %s: %w", d.where, err))
					continue
				}
				d.take(p.object, s)
			}
		})
	}
	for _, p := range placesOf(drafts) {
		if ctx.Err() != nil {
			break
		}
		next <- p
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// place is an object of a draft.
type place struct{ draft, object int }

// placesOf gives the objects of drafts in the order in which their sources lie.
func placesOf(drafts []draft) (out []place) {
	for i := range drafts {
		for j := range drafts[i].objects {
			out = append(out, place{i, j})
		}
	}
	at := func(p place) int { return drafts[p.draft].objects[p.object].content.Place }
	slices.SortStableFunc(out, func(x, y place) int { return cmp.Compare(at(x), at(y)) })
	return out
}

// take puts stored content into the draft's description.
func (d *draft) take(object int, s storedContent) {
	d.objects[object].stored = &s
	o := &d.desc.Objects[object]
	o.Size, o.SHA256, o.Format = s.size, hex.EncodeToString(s.digest[:]), s.format
}

// discard removes the blobs of a deposit that did not take place; what cannot be
// removed now, the next opening sweeps.
func (a *Archive) discard(drafts []draft) {
	for i := range drafts {
		for _, o := range drafts[i].objects {
			if o.stored != nil {
				a.discardBlob(o.stored.blob)
			}
		}
	}
}

func (a *Archive) discardBlob(b storedBlob) {
	for _, o := range b.in {
		if err := a.offers[o].blobs.Delete(context.Background(), b.name); err != nil {
			a.log.Warn("removing an unacknowledged blob", "offer", a.offers[o].name, "blob", b.name, "error", err)
		}
	}
}

type depositOp struct {
	operation
	receipt integrity.Receipt
}

// depositOperation builds what is committed: per unit an item and a leaf for its
// description, then one for each object.
func (a *Archive) depositOperation(agent string, d *Deposit, drafts []draft) (*depositOp, error) {
	op := &depositOp{}
	op.id = d.operation
	if op.id == "" {
		op.id = newID(opID)
	}
	op.entry = integrity.Entry{Kind: integrity.Deposit, Tenant: d.Tenant, Agent: agentID(a.indexKey, agent), Agreement: d.Agreement}
	agentRecords, err := a.agentOnce(agent, op)
	if err != nil {
		return nil, err
	}
	op.records = append(op.records, agentRecords)
	return op, a.addUnits(op, drafts)
}

// addUnits adds units to the operation.
func (a *Archive) addUnits(op *depositOp, drafts []draft) error {
	for i := range drafts {
		build, err := a.unitOperation(op, &drafts[i])
		if err != nil {
			return err
		}
		op.records = append(op.records, build)
	}
	return nil
}

// unitOperation adds one unit to the operation and gives what to store for it.
func (a *Archive) unitOperation(op *depositOp, d *draft) (func(position) []record, error) {
	doc := mustJSON(d.desc)
	if len(doc) > maxDescription {
		return nil, &Refusal{Problems: []string{fmt.Sprintf("%s: %d bytes of metadata, more than %d", d.where, len(doc), maxDescription)}}
	}
	if s := d.desc.SEDA; s != nil { // it is in doc; a large transfer need not hold it twice
		d.desc.SEDA = &Transferred{Fields: s.Fields}
	}
	salt := newSalt()
	key := newKey()
	unitItem, unitKeyN := int64(len(op.items)), uint64(len(op.keys))
	op.keys = append(op.keys, key)
	op.items = append(op.items, integrity.Item{Unit: d.desc.Unit, Version: d.desc.Version, Leaf: groupLeaf(sha256.Sum256(doc), salt)})
	var objects []func(position) []record
	for i := range d.objects {
		objects = append(objects, op.addObject(d, i))
	}
	return func(p position) []record {
		r := unitRecord{
			Unit: d.desc.Unit, Version: d.desc.Version, Tenant: d.desc.Tenant, Agreement: d.desc.Agreement, Agency: d.desc.Agency,
			Channel: d.desc.Channel, Parents: d.desc.Parents, Operation: op.id, Time: p.time,
			Entry: p.entry, Item: unitItem, Leaf: p.leaf + uint64(unitItem), Key: p.key + unitKeyN,
		}
		if d.desc.Rule != nil {
			r.Rule = d.desc.Rule.Rule
		}
		for _, o := range d.desc.Objects {
			r.Objects = append(r.Objects, o.ID)
		}
		out := []record{{bktUnit, unitKey(r.Unit, r.Version), encodeRecord(r, key, append(salt[:], doc...))}}
		out = append(out, a.indexRows(&r, &d.desc)...)
		for _, object := range objects {
			out = append(out, object(p)...)
		}
		return out
	}, nil
}

// addObject adds an object of the draft to the operation and gives what to store for it.
func (op *depositOp) addObject(d *draft, i int) func(position) []record {
	s, salt, usage := d.objects[i].stored, newSalt(), d.desc.Objects[i].Usage
	item, keyN := int64(len(op.items)), uint64(len(op.keys))
	op.keys = append(op.keys, s.key)
	op.blobs = append(op.blobs, s.blob)
	op.items = append(op.items, integrity.Item{
		Unit: d.desc.Unit, Version: d.desc.Version, Object: s.blob.object, Leaf: groupLeaf(s.digest, salt)})
	return func(p position) []record {
		r := objectRecord{
			Object: s.blob.object, Unit: d.desc.Unit, Version: d.desc.Version, Usage: usage,
			Size: s.size, Format: s.format, Blob: s.blob.name, Cipher: s.cipher,
			Entry: p.entry, Item: item, Leaf: p.leaf + uint64(item), Key: p.key + keyN,
		}
		return []record{{bktObject, []byte(r.Object), encodeRecord(r, s.key, append(salt[:], s.digest[:]...))}}
	}
}

// agentOnce keeps the name behind an agent's pseudonym, enciphered, the first
// time the agent acts.
func (a *Archive) agentOnce(agent string, op *depositOp) (func(position) []record, error) {
	none := func(position) []record { return nil }
	id := agentID(a.indexKey, agent)
	known := false
	err := a.cat.view(func(t *tx) error {
		v, err := t.get(bktAgent, []byte(id))
		known = v != nil
		return err
	})
	if err != nil || known || agent == "" {
		return none, err
	}
	key, n := newKey(), uint64(len(op.keys))
	op.keys = append(op.keys, key)
	salt := newSalt()
	return func(p position) []record {
		r := agentRecord{Agent: id, Key: p.key + n}
		return []record{{bktAgent, []byte(id), encodeRecord(r, key, append(salt[:], agent...))}}
	}, nil
}

func deposited(op *depositOp, drafts []draft) *Deposited {
	out := &Deposited{Operation: op.id, Receipt: op.receipt}
	for i := range drafts {
		u := DepositedUnit{ID: drafts[i].desc.Unit, Title: drafts[i].desc.Title, Objects: []DepositedObject{}}
		for _, o := range drafts[i].desc.Objects {
			u.Objects = append(u.Objects, DepositedObject{ID: o.ID, SHA256: o.SHA256, Size: o.Size, Format: o.Format.PUID})
		}
		out.Units = append(out.Units, u)
	}
	return out
}
