package archive

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"sae/integrity"
	"sae/seda"
)

// ExportRequest says what to hand out, and how.
type ExportRequest struct {
	IDs       []string // units, with what they hold; operations; objects
	Message   string   // ArchiveDeliveryRequestReply (DIP), ArchiveTransfer, ArchiveRestitutionRequestReply
	Version   seda.Version
	Usages    []string // of the objects to hand out; none: all
	WithProof bool     // add a proof bundle of each unit
	Comment   string
	Agreement string // of an ArchiveTransfer: the receiving archive's; "" keeps the one it came under
	Archive   string // ArchivalAgency: of an ArchiveTransfer, who receives
	Requester string // who asked for a DIP
	InReplyTo string // MessageIdentifier of the request
	Exact     bool   // the units named alone, not what they hold
	// Custody is the receipt of the entry by which the units are handed over; it goes with the
	// proofs, and the archive that takes them enters it into its ledger.
	Custody []byte
	// OpenOnly leaves out what is not open to the Reader who exports.
	OpenOnly bool

	reader *Reader // nil: the archive itself
}

// ExportOutcome is what was handed out.
type ExportOutcome struct {
	Operation string            `json:"operation"`
	Message   string            `json:"message"`
	Version   string            `json:"version"`
	Units     int               `json:"units"`
	Objects   int               `json:"objects"`
	Bytes     int64             `json:"bytes"`
	Lost      []seda.Lost       `json:"lost,omitempty"`    // what the version of SEDA has no element for
	NotOpen   int               `json:"notOpen,omitempty"` // units that were left out
	Receipt   integrity.Receipt `json:"-"`
}

// Files is where an export writes: each file ends when the next begins.
type Files interface {
	File(name string) (io.Writer, error)
}

// ZipFiles are the members of a zip.
type ZipFiles struct {
	*zip.Writer
	Modified time.Time
}

// File begins a member. Proof bundles are stored, all else is deflated.
func (z ZipFiles) File(name string) (io.Writer, error) {
	method := zip.Deflate
	if strings.HasSuffix(name, ".asice") {
		method = zip.Store
	}
	return z.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: z.Modified})
}

// Export writes the files of a package of a SEDA message with units and their content, and
// enters that into the ledger. Content is held against its SHA-256 on the way out.
func (a *Archive) Export(ctx context.Context, agent string, r ExportRequest, w Files) (*ExportOutcome, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	if err := a.knows("unit, operation or object", r.IDs...); err != nil {
		return nil, err
	}
	e := &export{a: a, ctx: ctx, r: r, seen: map[string]int{}, files: w, op: newID(opID)}
	if err := e.r.reader.exporting(e, a.cat.view(e.gather)); err != nil {
		return nil, err
	}
	e.name()
	if err := e.write(); err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	var tree integrity.ItemTree
	for _, u := range e.units {
		tree.Add([]byte(u.Unit))
	}
	op := &operation{
		id:    e.op,
		entry: integrity.Entry{Kind: integrity.Export, Tenant: e.units[0].Tenant, Agent: agentID(a.indexKey, agent)},
		detail: func(position) any {
			return integrity.ExportDetail{Message: r.Message, Units: int64(len(e.units)), Objects: int64(len(e.out.Objects)), Bytes: e.bytes, Root: tree.Items().Root, Derogations: e.derogations}
		},
	}
	op.records = append(op.records, func(p position) (out []record) {
		for _, u := range e.units { // so that it is known, when one is destroyed, who else may have it
			out = append(out, histRow(u.Unit, p.entry, noItem, u.record.Leaf))
		}
		return out
	})
	_, receipt, err := a.commit(ctx, op)
	if err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	return &ExportOutcome{Operation: e.op, Message: r.Message, Version: r.Version.String(), Units: len(e.units), Objects: len(e.out.Objects), Bytes: e.bytes,
		Lost: e.lost, NotOpen: e.left, Receipt: receipt}, nil
}

// export is an export on its way.
type export struct {
	a      *Archive
	ctx    context.Context
	r      ExportRequest
	op     string
	units  []*Unit
	seen   map[string]int   // index of a unit
	shared map[string]*Unit // owners of shared objects that are not exported themselves
	// borrowed are the objects that an exported unit shares with their owners.
	borrowed map[string]bool
	files    Files
	out      seda.Export
	record   *Unit // of the transfer that all units came by; nil when there are several, or none
	scopes   map[string]map[string]string
	bytes    int64
	lost     []seda.Lost

	derogations []string // acts by which units are read
	left        int      // units that are not open
}

// gather collects the units asked for, each with what it holds.
func (e *export) gather(t *tx) error {
	e.shared, e.borrowed = map[string]*Unit{}, map[string]bool{}
	for _, id := range e.r.IDs {
		if err := e.gatherOne(t, id); err != nil {
			return err
		}
	}
	if len(e.units) == 0 {
		return fmt.Errorf("nothing to export: %w", ErrNotFound)
	}
	if err := e.openOnly(t); err != nil {
		return err
	}
	for _, u := range e.units {
		if u.Tenant != e.units[0].Tenant {
			return &Refusal{Problems: []string{"the units belong to several tenants: export them apart"}}
		}
		for _, s := range u.Shared {
			e.borrowed[s.ID] = true
			if _, ok := e.seen[s.Unit]; ok || e.shared[s.Unit] != nil {
				continue
			}
			owner, err := e.a.unit(t, s.Unit, 0)
			if err == nil {
				owner.PaperGone, err = t.paperGone(s.Unit)
			}
			if err != nil {
				return err
			}
			e.shared[s.Unit] = owner
		}
	}
	return e.transferOf(t)
}

func (e *export) gatherOne(t *tx, id string) error {
	if strings.HasPrefix(id, objectID) {
		o, err := e.a.object(t, id)
		if err != nil {
			return err
		}
		id = o.Unit
	}
	if strings.HasPrefix(id, subjectID) {
		return fmt.Errorf("unit %q: %w", id, ErrNotFound)
	}
	if !strings.HasPrefix(id, opID) {
		return e.gatherUnit(t, id)
	}
	entry, err := t.entryOf(id)
	if err != nil {
		return err
	}
	return t.unitsOf(entry, func(id string) (bool, error) {
		err := e.add(t, id)
		return err == nil, err
	})
}

// entryOf gives the ledger index of a deposit: that of a transfer by its record, that of
// any other by reading the ledger.
func (t *tx) entryOf(operation string) (int64, error) {
	rec, _, err := t.unitRecord(operation, 0)
	if !errors.Is(err, ErrNotFound) {
		return rec.Entry, err
	}
	found := int64(-1)
	err = t.scan(bktEntry, nil, nil, func(k, v []byte) (bool, error) {
		if !bytes.Contains(v, []byte(operation)) {
			return true, nil
		}
		e, err := integrity.ParseEntry(v)
		if err == nil && e.Operation == operation && e.Items != nil {
			found = int64(binary.BigEndian.Uint64(k))
		}
		return found < 0, err
	})
	if err == nil && found < 0 {
		err = fmt.Errorf("operation %q: %w", operation, ErrNotFound)
	}
	return found, err
}

// gatherUnit adds a unit and, below it, all that it holds.
func (e *export) gatherUnit(t *tx, id string) error {
	if _, ok := e.seen[id]; ok {
		return nil
	}
	if err := e.add(t, id); err != nil {
		return err
	}
	if e.r.Exact {
		return nil
	}
	for _, c := range e.units[e.seen[id]].Children {
		if err := e.gatherUnit(t, c); err != nil {
			return err
		}
	}
	return nil
}

func (e *export) add(t *tx, id string) error {
	if _, ok := e.seen[id]; ok {
		return nil
	}
	u, err := e.a.unit(t, id, 0)
	if err != nil {
		return err
	}
	if u.Children, err = e.a.children(t, u.record); err != nil {
		return err
	}
	if u.PaperGone, err = t.paperGone(id); err != nil {
		return err
	}
	e.seen[id] = len(e.units)
	e.units = append(e.units, u)
	return nil
}

// transferOf finds the record of the one transfer that all units came by.
func (e *export) transferOf(t *tx) error {
	first := e.units[0].Operation
	for _, u := range e.units {
		if u.Operation != first || u.SEDA == nil {
			return e.severalTransfers()
		}
	}
	rec, err := e.a.unit(t, first, 0)
	e.record = rec
	return err
}

// severalTransfers refuses what no one ManagementMetadata can say.
func (e *export) severalTransfers() error {
	for _, u := range e.units {
		if u.SEDA == nil {
			continue
		}
		for _, r := range u.SEDA.Defaults {
			if len(r.Rules) > 0 || r.FinalAction != "" || len(r.Properties) > 0 {
				return &Refusal{Problems: []string{fmt.Sprintf("unit %s has rules from the ManagementMetadata of its transfer, which the other units do not share: export each transfer apart", u.Unit)}}
			}
		}
	}
	return nil
}

// name gives every unit, group and object its XML id: the one it was transferred with, when
// all came by one transfer, else its identifier in the archive.
func (e *export) name() {
	e.scopes = map[string]map[string]string{}
	for _, u := range e.all() {
		scope := e.scopes[u.Operation]
		if scope == nil {
			scope = map[string]string{}
			e.scopes[u.Operation] = scope
		}
		give := func(xml, system string) {
			if xml == "" {
				return
			}
			if scope[xml] = system; e.record != nil {
				scope[xml] = xml
			}
		}
		if _, ok := e.seen[u.Unit]; ok && u.SEDA != nil {
			give(u.SEDA.XMLID, u.Unit)
		}
		for _, o := range u.Objects {
			if e.wants(o.Usage) {
				give(o.XMLID, o.ID)
				give(o.GroupXML, o.Group)
			}
		}
		for _, o := range u.Physical {
			if e.wants(o.Usage) {
				give(o.XMLID, o.ID)
				give(o.GroupXML, o.Group)
			}
		}
	}
}

// unique is an XML id that nothing else in the export has.
func (e *export) unique(id string) string {
	for _, scope := range e.scopes {
		for _, used := range scope {
			if used == id {
				return e.unique("sae-" + id)
			}
		}
	}
	return id
}

// all are the units, and those that only lend objects.
func (e *export) all() []*Unit {
	out := slices.Clone(e.units)
	for _, id := range slices.Sorted(maps.Keys(e.shared)) {
		out = append(out, e.shared[id])
	}
	return out
}

// wants reports whether objects of a usage are to be handed out; versions do not matter.
func (e *export) wants(usage string) bool {
	if len(e.r.Usages) == 0 {
		return true
	}
	name, _, _ := strings.Cut(usage, "_")
	return slices.Contains(e.r.Usages, name) || slices.Contains(e.r.Usages, usage)
}

// xmlID is what a unit is called in the export.
func (e *export) xmlID(u *Unit) string {
	if e.record != nil && u.SEDA.XMLID != "" {
		return u.SEDA.XMLID
	}
	return u.Unit
}

// inScope makes a fragment of XML that came with a unit.
func (e *export) inScope(u *Unit, xml string) *seda.Fragment {
	if xml == "" {
		return nil
	}
	v, err := seda.ParseVersion(u.SEDA.Version)
	if err != nil {
		v = seda.V21 // 2.0, which is read as 2.1
	}
	scope := e.scopes[u.Operation]
	f := &seda.Fragment{XML: []byte(xml), From: v, Rename: func(id string) string { return scope[id] }}
	if e.record == nil {
		f.Other = u.Operation + "-"
	}
	return f
}

// write writes content, proofs, and last the manifest, which names them.
func (e *export) write() error {
	e.header()
	for _, u := range e.all() {
		for i := range u.Objects {
			if err := e.binary(u, &u.Objects[i]); err != nil {
				return err
			}
		}
		for i := range u.Physical {
			e.physical(u, &u.Physical[i])
		}
		e.paper(u)
	}
	slices.SortStableFunc(e.out.Objects, func(x, y seda.ExportObject) int { return strings.Compare(x.Group, y.Group) })
	for _, u := range e.units {
		e.out.Units = append(e.out.Units, e.unit(u))
	}
	if e.r.WithProof {
		if err := e.proofs(); err != nil {
			return err
		}
	}
	w, err := e.files.File("manifest.xml")
	if err == nil {
		e.lost, err = e.out.Write(w)
	}
	return err
}

func (e *export) header() {
	h := seda.Header{Identifier: e.op, Comment: e.r.Comment, Agreement: e.r.Agreement, ArchivalAgency: e.r.Archive, OriginatingAgency: e.units[0].Agency}
	h.TransferringAgency = e.units[0].Tenant
	if e.record != nil {
		came := e.record.SEDA.Header
		h.OriginatingAgency, h.SubmissionAgency = came.OriginatingAgency, came.SubmissionAgency
		e.out.Metadata = e.inScope(e.record, e.record.SEDA.Metadata)
	}
	if h.Agreement == "" {
		h.Agreement = e.units[0].Agreement
	}
	if h.ArchivalAgency == "" {
		h.ArchivalAgency = e.units[0].Tenant
	}
	e.out.Message, e.out.Version, e.out.Date, e.out.Header = e.r.Message, e.r.Version, now(), h
	e.out.Requester, e.out.InReplyTo, e.out.Identifier = e.r.Requester, e.r.InReplyTo, e.r.IDs
	if e.out.InReplyTo == "" {
		e.out.InReplyTo = e.op
	}
}

// binary writes the content of an object, and what there is to say of it.
func (e *export) binary(u *Unit, o *DescribedObject) error {
	if !e.wants(o.Usage) || !e.lent(u, o.ID) {
		return nil
	}
	name := "Content/" + o.ID + seda.Extension(strings.ToLower(o.Filename))
	out := seda.ExportObject{XMLID: o.ID, SystemID: o.ID, Group: e.groupOf(u, o), GroupID: o.Group, Usage: versioned(o), URI: name, Algorithm: "SHA-256", Digest: o.SHA256, Size: o.Size,
		Format: o.Format.PUID, MIME: o.Format.MIME, Filename: o.Filename}
	if o.SEDA != "" {
		out.XML, out.XMLID = e.inScope(u, o.SEDA), e.scopes[u.Operation][o.XMLID]
	}
	e.out.Objects = append(e.out.Objects, out)
	object, err := e.a.Object(o.ID)
	if err != nil {
		return err
	}
	r, err := e.a.verifiedReader(e.ctx, object)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := e.files.File(name)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(w, onlyReader{r}, make([]byte, 256<<10))
	e.bytes += n
	return err
}

// groupOf is what the data object group of an object is called in the export: as it was
// transferred, or by its identifier when it came about in the archive; "" for none.
func (e *export) groupOf(u *Unit, o *DescribedObject) string {
	if o.GroupXML != "" {
		return e.scopes[u.Operation][o.GroupXML]
	}
	return o.Group
}

// versioned is the DataObjectVersion of an object: in a group each has a number.
func versioned(o *DescribedObject) string {
	if o.Group == "" || strings.Contains(o.Usage, "_") {
		return o.Usage
	}
	return o.Usage + "_1"
}

// lent reports whether an object is to be handed out: all of a unit that is exported; of
// one that is not, those that an exported unit shares.
func (e *export) lent(u *Unit, object string) bool {
	if _, ok := e.seen[u.Unit]; ok {
		return true
	}
	return e.borrowed[object]
}

func (e *export) physical(u *Unit, o *DescribedPhysical) {
	if !e.wants(o.Usage) || !e.lent(u, o.ID) || u.PaperGone != nil {
		return
	}
	scope := e.scopes[u.Operation]
	e.out.Objects = append(e.out.Objects, seda.ExportObject{XMLID: scope[o.XMLID], Group: scope[o.GroupXML], SystemID: o.ID, GroupID: o.Group, Physical: true,
		XML: e.inScope(u, o.SEDA), Usage: o.Usage})
}

// paper writes the paper of a unit that did not come by SEDA.
func (e *export) paper(u *Unit) {
	if _, ok := e.seen[u.Unit]; !ok || u.Paper == nil || u.PaperGone != nil || !e.wants("PhysicalMaster") {
		return
	}
	id := u.Paper.PhysicalID
	if id == "" {
		id = u.Paper.Location
	}
	e.out.Objects = append(e.out.Objects, seda.ExportObject{XMLID: "paper-" + u.Unit, Physical: true, Usage: "PhysicalMaster", PhysicalID: id})
}

func (e *export) unit(u *Unit) seda.ExportUnit {
	out := seda.ExportUnit{XMLID: e.xmlID(u)}
	if u.SEDA != nil {
		out.Profile, out.Management, out.Content = u.SEDA.Profile, e.inScope(u, u.SEDA.Management), e.inScope(u, u.SEDA.Content)
	} else {
		out.Plain = plain(u)
	}
	for _, c := range u.Children {
		if i, ok := e.seen[c]; ok {
			out.Children = append(out.Children, e.xmlID(e.units[i]))
		}
	}
	scope := e.scopes[u.Operation]
	refer := func(group, object string) {
		switch {
		case group != "" && !slices.Contains(out.Groups, group):
			out.Groups = append(out.Groups, group)
		case group == "":
			out.Objects = append(out.Objects, object)
		}
	}
	for i := range u.Objects {
		o, id := &u.Objects[i], u.Objects[i].ID
		if o.SEDA != "" {
			id = scope[o.XMLID]
		}
		if e.wants(o.Usage) {
			refer(e.groupOf(u, o), id)
		}
	}
	for _, o := range u.Physical {
		if e.wants(o.Usage) && u.PaperGone == nil {
			refer(scope[o.GroupXML], scope[o.XMLID])
		}
	}
	for _, s := range u.Shared {
		e.referShared(s, refer)
	}
	if u.Paper != nil && u.PaperGone == nil && e.wants("PhysicalMaster") {
		refer("", "paper-"+u.Unit)
	}
	return out
}

func (e *export) referShared(s SharedObject, refer func(group, object string)) {
	if !e.wants(s.Usage) {
		return
	}
	owner := e.shared[s.Unit]
	if i, ok := e.seen[s.Unit]; ok {
		owner = e.units[i]
	}
	scope := e.scopes[owner.Operation]
	for i := range owner.Objects {
		if d := &owner.Objects[i]; d.ID == s.ID {
			refer(e.groupOf(owner, d), scope[d.XMLID])
		}
	}
	for _, d := range owner.Physical {
		if d.ID == s.ID && owner.PaperGone == nil {
			refer(scope[d.GroupXML], scope[d.XMLID])
		}
	}
}

// plain says in SEDA what a unit is that did not come by it.
func plain(u *Unit) *seda.Plain {
	p := &seda.Plain{Level: u.Level, Title: u.Title, Description: u.Description.Description, StartDate: u.StartDate, EndDate: u.EndDate, Agency: u.Agency}
	if u.Rule != nil {
		p.Rule, p.RuleStart, p.FinalAction = u.Rule.Rule, u.Rule.StartDate, u.Rule.FinalAction
		if p.FinalAction != "Destroy" { // SEDA has no sorting: what is not destroyed is kept
			p.FinalAction = "Keep"
		}
	}
	if u.AccessRule != nil {
		p.Access, p.AccessStart = u.AccessRule.Rule, u.AccessRule.StartDate
	}
	if s := u.Scan; s != nil {
		when, err := time.Parse(time.RFC3339, s.Date)
		if err != nil {
			when, _ = time.Parse(time.DateOnly, s.Date)
		}
		p.Event = &seda.Event{Code: "DIGITISATION", Type: "Numérisation", Time: when, Outcome: seda.OutcomeOK,
			Data: strings.TrimSpace(fmt.Sprintf("by=%q device=%q settings=%q process=%q control=%q", s.By, s.Device, s.Settings, s.Process, s.Control))}
	}
	return p
}

// proofs adds a bundle of each unit, described by a unit of its own below one that holds
// them all.
func (e *export) proofs() error {
	above := seda.ExportUnit{XMLID: e.unique("proofs"), Plain: &seda.Plain{Level: "OtherLevel", Title: "Preuves d'intégrité de " + e.op}}
	var below []seda.ExportUnit
	for _, u := range e.units {
		name := "Proofs/" + u.Unit + ".asice"
		w, err := e.files.File(name)
		if err != nil {
			return err
		}
		c := &counter{sum: sha256.New(), w: w}
		if err := e.a.Proof(e.ctx, u.Unit, c); err != nil {
			if errors.Is(err, ErrNotSealed) {
				err = fmt.Errorf("unit %s has no evidence yet, run sae seal first: %w", u.Unit, err)
			}
			return err
		}
		id := "proof-" + u.Unit
		e.out.Objects = append(e.out.Objects, seda.ExportObject{XMLID: id + "-asice", Usage: "BinaryMaster", URI: name, Algorithm: "SHA-256",
			Digest: hex.EncodeToString(c.sum.Sum(nil)), Size: c.n, Format: "fmt/1564", MIME: "application/vnd.etsi.asic-e+zip", Filename: u.Unit + ".asice"})
		below = append(below, seda.ExportUnit{XMLID: id, Plain: &seda.Plain{Level: "Item", Title: "Preuve de " + u.Unit}, Objects: []string{id + "-asice"}})
		above.Children = append(above.Children, id)
	}
	if e.r.Custody != nil {
		id := "custody"
		u := seda.ExportUnit{XMLID: e.unique(id), Plain: &seda.Plain{Level: "Item", Title: "Chaîne de conservation"}}
		for _, f := range []struct {
			name string
			data []byte
		}{{custodyProof, e.r.Custody}, {custodyKey, []byte(e.a.ledgerKey + "\n")}} {
			w, err := e.files.File(f.name)
			if err == nil {
				_, err = w.Write(f.data)
			}
			if err != nil {
				return err
			}
			sum := sha256.Sum256(f.data)
			xml := e.unique(id + "-" + strings.ReplaceAll(path.Base(f.name), ".", "-"))
			e.out.Objects = append(e.out.Objects, seda.ExportObject{XMLID: xml, Usage: "BinaryMaster", URI: f.name, Algorithm: "SHA-256", Digest: hex.EncodeToString(sum[:]),
				Size: int64(len(f.data)), Format: "x-fmt/111", MIME: "text/plain", Filename: path.Base(f.name)})
			u.Objects = append(u.Objects, xml)
		}
		below = append(below, u)
		above.Children = append(above.Children, u.XMLID)
	}
	e.out.Units = append(append(e.out.Units, above), below...)
	return nil
}

// counter hashes and counts what it hands on.
type counter struct {
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.sum.Write(p[:n])
	c.n += int64(n)
	return n, err
}

// HoldingsOf gives the units of an originating agency, by the operation that archived
// them, operations in their order.
func (a *Archive) HoldingsOf(tenant, agency string) (operations []string, units map[string][]string, err error) {
	t, err := a.tenant(tenant)
	if err != nil {
		return nil, nil, err
	}
	units = map[string][]string{}
	seen := map[string]bool{}
	err = a.cat.view(func(tr *tx) error {
		return tr.indexed(a.indexPrefix(idxAgency, t.ID, agency), 0, ^uint64(0), func(id string, _ int, _ uint64) (bool, error) {
			if seen[id] { // by another version
				return true, nil
			}
			seen[id] = true
			rec, _, err := tr.unitRecord(id, 0)
			if err != nil {
				return false, err
			}
			op := rec.deposited().Operation
			if units[op] == nil {
				operations = append(operations, op)
			}
			units[op] = append(units[op], id)
			return true, nil
		})
	})
	if err == nil && len(operations) == 0 {
		err = fmt.Errorf("units of originating agency %q: %w", agency, ErrNotFound)
	}
	return operations, units, err
}
