package archive

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"sae/integrity"
	"sae/retention"
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
	// File is the citizen file into which the units go, by its number or its unit; Person, instead,
	// names it by a federated identifier of the one whom it concerns, and Procedure says of which
	// procedure that person's file is.
	File      string
	Person    FederatedID
	Procedure string

	procedure *ProcedureVersion // of the file
	still     func(*tx) error   // whether the file still takes it; nil without one
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
	Access      string // code of an access rule
	AccessStart string // start of its duration, YYYY-MM-DD
	Custom      map[string]string
	Content     *Content // nil for a folder, and for paper
	Document    string   // type of document, by the procedure of the citizen file

	file *CitizenFile // of a citizen file that is opened
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
func (a *Archive) Deposit(ctx context.Context, agent string, d Deposit) (out *Deposited, err error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	ctx, end := a.begin(ctx, WorkDeposit)
	defer func() { end(err) }()
	units, err := a.checkDeposit(&d)
	if err != nil {
		return nil, err
	}
	out = &Deposited{}
	in := newIntake(d.Tenant, d.Agreement, len(d.Units), units.objects)
	in.needs, in.still, in.alone = d.Parents, d.still, d.limited()
	in.units = func(each func(*draft) error) error {
		out.Units = nil
		for i := range d.Units {
			if err := ctx.Err(); err != nil {
				return err
			}
			draft := units.draft(i)
			if o := units.object[i]; o >= 0 {
				in.describe(draft, 0, o)
			}
			if err := each(draft); err != nil {
				return err
			}
			out.Units = append(out.Units, depositedUnit(&draft.desc))
		}
		return nil
	}
	var order []int // as they were given
	for i := range in.stored {
		order = append(order, i)
	}
	where := a.policyOf(units.tenant, d.Agreement)
	a.storing.Add(1)
	err = a.storeContents(ctx, in, order, runtime.GOMAXPROCS(0), d.Progress, func(o int) source {
		u := units.unit[o]
		return source{d.Units[u].Content, d.where(u), where, lockEnd(units.rule(retention.Appraisal, d.Units[u].Rule, d.Units[u].RuleStart))}
	})
	if err != nil {
		a.giveUp(in)
		return nil, err
	}
	if o := onceOf(ctx); o != nil {
		for i := range in.stored {
			o.Add(in.stored[i].digest[:])
		}
	}
	out.Operation = in.op
	out.Receipt, err = a.commitIntake(ctx, agent, in)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// plainUnits are the units of a Deposit, with the identifiers that they and their objects
// receive.
type plainUnits struct {
	d        *Deposit
	tenant   *Tenant
	rules    *retention.Schedule
	received time.Time
	ids      []string // of the units
	objects  []string // identifiers of the objects
	object   []int    // by unit: its object, -1 for none
	unit     []int    // by object
}

// checkDeposit finds all that is wrong before anything is read, and fills in
// what is common.
func (a *Archive) checkDeposit(d *Deposit) (*plainUnits, error) {
	tenant, err := a.tenant(d.Tenant)
	if err != nil {
		return nil, err
	}
	d.Tenant = tenant.ID
	bad := &Refusal{}
	if err := a.intoFile(d, bad); err != nil {
		return nil, err
	}
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
	p := &plainUnits{d: d, tenant: tenant, rules: a.schedule(tenant.ID), received: now(), ids: newIDs(unitID, len(d.Units))}
	for i := range d.Units {
		p.object = append(p.object, -1)
		if d.Units[i].Content != nil {
			p.object[i] = len(p.unit)
			p.unit = append(p.unit, i)
		}
		p.check(i, p.draft(i), bad)
	}
	p.objects = newIDs(objectID, len(p.unit))
	return p, bad.orNil()
}

func (a *Archive) checkParents(d *Deposit) error {
	for _, p := range d.Parents {
		u, err := a.Unit(p)
		if err != nil {
			return fmt.Errorf("parent %s: %w", p, err)
		}
		if u.Tenant != d.Tenant || !isUnit(p) {
			return fmt.Errorf("parent %s: %w", p, ErrNotFound) // another tenant's units are not there
		}
	}
	return nil
}

// where names unit i to the depositor.
func (d *Deposit) where(i int) string {
	if w := d.Units[i].Where; w != "" {
		return w
	}
	return fmt.Sprintf("unit %d", i+1)
}

// draft describes unit i.
func (p *plainUnits) draft(i int) *draft {
	d, u := p.d, &p.d.Units[i]
	out := &draft{where: d.where(i), desc: Description{
		Form: descriptionForm, Unit: p.ids[i], Version: 1, Level: "RecordGrp",
		Title: u.Title, Description: u.Description, StartDate: u.StartDate, EndDate: u.EndDate,
		Tenant: d.Tenant, Agreement: d.Agreement, Agency: d.Agency, Subject: u.Subject,
		Channel: u.Channel, Scan: u.Scan, Paper: u.Paper, Custom: u.Custom, Received: p.received, File: u.file, Document: u.Document,
	}}
	out.desc.Parents = d.Parents
	if u.Parent >= 0 && u.Parent < i {
		out.desc.Parents = []string{p.ids[u.Parent]}
	}
	if u.Content != nil || u.Paper != nil {
		out.desc.Level = "Item"
	}
	out.desc.Rule, out.desc.AccessRule = p.rule(retention.Appraisal, u.Rule, u.RuleStart), p.rule(retention.Access, u.Access, u.AccessStart)
	if u.Content != nil {
		out.desc.Objects = []DescribedObject{{Usage: "BinaryMaster", Filename: u.Content.Filename}}
	}
	return out
}

// rule is a rule of a unit, with its terms; nil for none.
func (p *plainUnits) rule(of retention.Category, id, start string) *AppliedRule {
	rule, err := ruleNamed(p.rules, p.tenant.ID, of, id, p.received)
	if err != nil || id == "" {
		return nil
	}
	return &AppliedRule{Rule: rule.ID, StartDate: start, Duration: rule.Duration.String(), FinalAction: string(rule.FinalAction)}
}

// check says what is wrong with unit i.
func (p *plainUnits) check(i int, as *draft, bad *Refusal) {
	u := &p.d.Units[i]
	if u.Parent >= i || u.Parent < -1 {
		bad.addf("%s: its parent does not stand before it", as.where)
	}
	for _, r := range []struct {
		of        retention.Category
		id, start string
	}{{retention.Appraisal, u.Rule, u.RuleStart}, {retention.Access, u.Access, u.AccessStart}} {
		if _, err := ruleNamed(p.rules, p.tenant.ID, r.of, r.id, p.received); err != nil {
			bad.addf("%s: %v", as.where, err)
		} else if r.id == "" && r.start != "" {
			bad.addf("%s: a start date of a rule, but no rule (%s)", as.where, r.of)
		}
	}
	checkDescription(as.where, &as.desc, u.Content, bad)
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
	for _, r := range []*AppliedRule{d.Rule, d.AccessRule} {
		if r == nil || r.StartDate == "" {
			continue
		}
		if _, err := time.Parse(time.DateOnly, r.StartDate); err != nil {
			bad.addf("%s: start date %q of rule %s is not YYYY-MM-DD", where, r.StartDate, r.Rule)
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
