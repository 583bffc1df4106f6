package archive

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sae/archive/converter"
	"sae/integrity"
)

// A conversion adds copies of a unit's objects in other formats: a new version of the unit, whose
// description names them behind what it named before, and the copies as new objects, in the data
// object group of what they were made from. All that was there stays, with its evidence: what was
// deposited is the evidence, the copy is there to be read.

// ConvertedFile is a file in another format of an object.
type ConvertedFile struct {
	Object  string // that it was made from
	Usage   string // Dissemination, or BinaryMaster
	Tool    string // name and version of what made it
	Content *Content
	// Formats are PRONOM identifiers, of which its own must be one, and no other copy of the object
	// has one yet; none: any.
	Formats []string
}

// ConversionRequest says what to add to a unit, as one operation.
type ConversionRequest struct {
	Unit   string
	Files  []ConvertedFile
	Reason string
}

// Conversion is what a conversion added.
type Conversion struct {
	Unit      string            `json:"unit"`
	Version   int               `json:"version"`
	Operation string            `json:"operation"`
	Entry     int64             `json:"ledgerEntry"`
	Objects   []ConvertedObject `json:"objects"`
	Receipt   integrity.Receipt `json:"-"`
}

// ConvertedObject is a copy that was made, without what tells of the document: who converts need
// not be somebody who may read it.
type ConvertedObject struct {
	ID     string `json:"id"`
	From   string `json:"convertedFrom"`
	Usage  string `json:"usage"`
	Size   int64  `json:"size"`
	Format string `json:"format"` // PRONOM identifier, "" when unknown
}

// conversionText is what is said with a conversion; it is kept enciphered.
type conversionText struct {
	Reason string   `json:"reason"`
	Tools  []string `json:"tools"`
}

// maxConverted bounds the objects of one conversion: the ledger entry names each.
const maxConverted = 500

// errConverted says that an object has a copy in the format already.
var errConverted = errors.New("it is converted already")

// Convert adds copies of objects in other formats to a unit, on behalf of agent. When it returns
// nil they are durable in as many offers as the storage policy wants, and in the ledger; when it
// returns an error nothing was added.
func (a *Archive) Convert(ctx context.Context, agent string, r ConversionRequest) (*Conversion, error) {
	if err := a.knows("unit", r.Unit); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	c := &conversion{a: a, r: r}
	if err := a.cat.view(func(t *tx) error { return c.read(t) }); err != nil {
		return nil, err
	}
	if err := c.check(agent); err != nil {
		return nil, err
	}
	if err := c.store(ctx); err != nil {
		a.discard(c.in)
		return nil, fmt.Errorf("converting: %w", err)
	}
	out, err := c.commit(ctx, agent)
	if err != nil {
		if !errors.Is(err, errUncertain) {
			a.discard(c.in)
		}
		return nil, fmt.Errorf("converting: %w", err)
	}
	if err := a.setLocks(context.WithoutCancel(ctx)); err != nil { // it stands; they are set later
		a.log.Warn("locking copies", "error", err)
	}
	return out, nil
}

// conversion is a conversion on its way.
type conversion struct {
	a      *Archive
	r      ConversionRequest
	unit   *Unit // its last version
	tenant *Tenant
	until  time.Time // to which copies of its objects are locked
	starts []record  // rows by which it is found under what acts start
	policy []*policy // by file: that of the object that it was made from
	in     *intake
}

// read reads the unit as it is now.
func (c *conversion) read(t *tx) (err error) {
	a := c.a
	if c.unit, err = a.unit(t, c.r.Unit, 0); err != nil {
		return err
	}
	if !isUnit(c.r.Unit) {
		return fmt.Errorf("unit %q: %w", c.r.Unit, ErrNotFound)
	}
	if c.tenant, err = a.tenant(c.unit.Tenant); err != nil {
		return err
	}
	c.policy = nil
	for _, f := range c.r.Files {
		p := a.policy("")
		if slices.Contains(c.unit.record.Objects, f.Object) {
			r, _, err := t.objectRecord(f.Object)
			if err != nil {
				return err
			}
			p = a.policy(r.Policy)
		}
		c.policy = append(c.policy, p)
	}
	acts, err := a.actsOn(t, c.r.Unit, nil)
	if err != nil {
		return err
	}
	c.until = lockEnd(c.unit.Rule)
	for _, act := range acts {
		for _, start := range act.starts(act.Kind, c.r.Unit) {
			rule, _ := a.schedule(c.unit.Tenant).Rule(start.Rule)
			if end := lockEnd(&AppliedRule{Rule: rule.ID, StartDate: start.Start, Duration: rule.Duration.String()}); end.After(c.until) {
				c.until = end
			}
		}
	}
	c.starts, err = a.actRows(t, c.unit, c.unit.Version+1)
	return err
}

// check says all that is wrong with the request, before anything is stored.
func (c *conversion) check(agent string) error {
	if err := c.tenant.mayIfNamed(agent, Archivist); err != nil {
		return err
	}
	bad := &Refusal{}
	if strings.TrimSpace(c.r.Reason) == "" {
		bad.addf("no reason: say why")
	}
	checkText("reason", c.r.Reason, 10_000, bad)
	if n := len(c.r.Files); n == 0 || n > maxConverted {
		bad.addf("%d files: want 1 to %d", n, maxConverted)
	}
	for _, f := range c.r.Files {
		if !slices.Contains(c.unit.record.Objects, f.Object) {
			bad.addf("object %q is not one of unit %s; it has %v", f.Object, c.unit.Unit, c.unit.record.Objects)
		}
		if !slices.Contains(converter.Usages, f.Usage) {
			bad.addf("usage %q: want %s", f.Usage, strings.Join(converter.Usages, " or "))
		}
		if strings.TrimSpace(f.Tool) == "" {
			bad.addf("no tool: say what made the file, name and version")
		}
		checkText("tool", f.Tool, 1_000, bad)
		checkText("file name", f.Content.Filename, 1_000, bad)
		if f.Content.Filename == "" || f.Content.Filename != filepath.Base(f.Content.Filename) {
			bad.addf("file name %q is not a plain name", f.Content.Filename)
		}
	}
	return bad.orNil()
}

// store stores the files.
func (c *conversion) store(ctx context.Context) error {
	n := len(c.r.Files)
	c.in = newIntake(c.unit.Tenant, c.unit.Agreement, 1, newIDs(objectID, n))
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return c.a.storeContents(ctx, c.in, order, 1, nil, func(o int) source {
		f := &c.r.Files[o]
		return source{f.Content, f.Content.Filename, c.policy[o], c.until}
	})
}

// commit enters what was stored, as the version that follows on the last: none else makes one
// meanwhile.
func (c *conversion) commit(ctx context.Context, agent string) (*Conversion, error) {
	a := c.a
	a.acting.Lock()
	defer a.acting.Unlock()
	if err := a.cat.view(c.read); err != nil {
		return nil, err
	}
	d, err := c.draft()
	if err != nil {
		return nil, err
	}
	var links []integrity.Converted
	var added []ConvertedObject
	for _, o := range d.desc.Objects[len(d.desc.Objects)-len(d.stored):] {
		links = append(links, integrity.Converted{From: o.ConvertedFrom, Object: o.ID})
		added = append(added, ConvertedObject{o.ID, o.ConvertedFrom, o.Usage, o.Size, o.Format.PUID})
	}
	op := a.reasoned(integrity.Conversion, agent, c.words(), func(commitment integrity.Hash) any {
		return integrity.ConversionDetail{Converted: links, Text: commitment}
	})
	op.entry.Tenant, op.landed = c.unit.Tenant, c.in.landings()
	agentRecords, err := a.agentOnce(agent, op)
	if err != nil {
		return nil, err
	}
	op.records = append(op.records, agentRecords, func(position) []record { return c.starts })
	if err := a.addUnit(op, d); err != nil {
		return nil, err
	}
	c.lock(op)
	pos, receipt, err := a.commit(ctx, op)
	if err != nil {
		return nil, err
	}
	return &Conversion{Unit: c.unit.Unit, Version: d.desc.Version, Operation: op.id, Entry: pos.entry, Objects: added, Receipt: receipt}, nil
}

func (c *conversion) words() string {
	text := conversionText{Reason: c.r.Reason}
	for _, f := range c.r.Files {
		if !slices.Contains(text.Tools, f.Tool) {
			text.Tools = append(text.Tools, f.Tool)
		}
	}
	return string(mustJSON(text))
}

// draft describes the next version of the unit.
func (c *conversion) draft() (*draft, error) {
	first := c.unit.record.deposited()
	d := &draft{desc: c.unit.Description, where: "unit " + c.unit.Unit, first: &first}
	d.desc.Version++
	d.desc.Objects = slices.Clone(c.unit.Objects)
	bad, when := &Refusal{}, now()
	for i := range c.r.Files {
		f, s := &c.r.Files[i], &c.in.stored[i]
		if err := fits(&d.desc, f, s); err != nil {
			bad.addf("%s: %v", f.Content.Filename, err)
			if errors.Is(err, errConverted) {
				return nil, err
			}
			continue
		}
		source := describedObject(&d.desc, f.Object)
		if source.Group == "" {
			source.Group = newID(groupID)
		}
		d.desc.Objects = append(d.desc.Objects, DescribedObject{
			Usage: nextUsage(&d.desc, source.Group, f.Usage), Filename: f.Content.Filename, Group: source.Group, GroupXML: source.GroupXML,
			ConvertedFrom: f.Object, ConvertedBy: f.Tool, Converted: &when,
		})
		c.in.describe(d, len(d.desc.Objects)-1, i)
	}
	return d, bad.orNil()
}

func describedObject(d *Description, id string) *DescribedObject {
	i := slices.IndexFunc(d.Objects, func(o DescribedObject) bool { return o.ID == id })
	return &d.Objects[i]
}

// fits says what stands against a file that was stored, as a copy in another format.
func fits(d *Description, f *ConvertedFile, s *storedContent) error {
	if len(f.Formats) > 0 && !slices.Contains(f.Formats, s.format.PUID) {
		return fmt.Errorf("its format is %s, not %s", cmp.Or(s.format.PUID, "unknown"), strings.Join(f.Formats, " or "))
	}
	if len(f.Formats) > 0 && hasCopy(d, f.Object, f.Usage, f.Formats) {
		return errConverted
	}
	digest := hex.EncodeToString(s.digest[:])
	for _, o := range d.Objects {
		if o.SHA256 == digest {
			return fmt.Errorf("the unit has this content already, as object %s", o.ID)
		}
	}
	return nil
}

// hasCopy reports whether an object has a copy of a usage in one of some formats.
func hasCopy(d *Description, object, usage string, formats []string) bool {
	return slices.ContainsFunc(d.Objects, func(o DescribedObject) bool {
		name, _ := splitUsage(o.Usage)
		return o.ConvertedFrom == object && name == usage && slices.Contains(formats, o.Format.PUID)
	})
}

// splitUsage gives the name and the number of a SEDA DataObjectVersion; one without is the first,
// and what a transfer says nothing of is a BinaryMaster.
func splitUsage(usage string) (name string, number int) {
	name, digits, _ := strings.Cut(cmp.Or(usage, converter.BinaryMaster), "_")
	if n, err := strconv.Atoi(digits); err == nil && n > 0 {
		return name, n
	}
	return name, 1
}

// nextUsage is the DataObjectVersion of the next object of a usage in a group.
func nextUsage(d *Description, group, usage string) string {
	last := 0
	for _, o := range d.Objects {
		if name, n := splitUsage(o.Usage); o.Group == group && name == usage {
			last = max(last, n)
		}
	}
	return fmt.Sprintf("%s_%d", usage, last+1)
}

// lock lets the copies of the new objects be locked, and held, as those of the others are.
func (c *conversion) lock(op *operation) {
	for i := range op.blobs {
		b := &op.blobs[i]
		b.until = time.Time{}
		rows := c.a.movedLocks(b.at.policy, b.name, c.until)
		op.records = append(op.records, func(position) []record { return rows })
	}
}

// ConversionText gives what was said with a conversion: by which tools, why.
func (a *Archive) ConversionText(operation string) (reason string, tools []string, err error) {
	if err := a.knows("operation", operation); err != nil {
		return "", nil, err
	}
	var text conversionText
	err = a.cat.view(func(t *tx) error {
		words, err := a.operationText(t, operation)
		if err == nil {
			err = json.Unmarshal(words, &text)
		}
		return err
	})
	return text.Reason, text.Tools, err
}

// checkConversions holds the conversions against the ledger: what each entry links is linked so,
// and what was said with it is what the entry commits to.
func (a *Archive) checkConversions(t *tx, find func(where string, err error)) error {
	return t.entriesOf(func(entry int64, e integrity.Entry) error {
		var d integrity.ConversionDetail
		if err := e.ReadDetail(e.Kind, &d); err != nil {
			return err
		}
		if err := a.checkWords(t, entry, e, d.Text); err != nil {
			find(e.Operation, err)
		}
		for _, link := range d.Converted {
			if err := t.checkLink(link, entry); err != nil {
				find(link.Object, err)
			}
		}
		return nil
	}, integrity.Conversion)
}

// checkLink wants a copy to name what it was made from, and that to be there.
func (t *tx) checkLink(link integrity.Converted, entry int64) error {
	for _, id := range []string{link.Object, link.From} {
		r, _, err := t.objectRecord(id)
		var destroyed *DestroyedError
		switch {
		case errors.As(err, &destroyed):
			return nil // both, with their unit
		case err != nil:
			return err
		case id == link.Object && (r.From != link.From || r.Entry != entry):
			return &DamagedError{What: "object record", Where: id, Why: fmt.Sprintf("it is not linked as ledger entry %d says", entry)}
		}
	}
	return nil
}
