package archive

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"sae/archive/durable"
	"sae/integrity"
	"sae/integrity/ers"
	"sae/integrity/tsp"
)

// AuditOptions say how an audit is done.
type AuditOptions struct {
	Sample float64 // share of the objects whose copies are read: 0 < Sample <= 1
	// Continue reads not objects drawn at random but those that follow on the last audit
	// that continued: after 1/Sample such audits all have been read.
	Continue bool
	// Ciphertext holds copies against the SHA-256 of their ciphertext only, which is faster,
	// instead of deciphering them and holding the content against what was sealed.
	Ciphertext bool
	Repair     bool // replace a bad or missing copy by a good one
	// RemoveExtra removes blobs that no object refers to. Not without looking:
	// after a rollback they are what a newer catalogue, if it is found, refers to.
	RemoveExtra bool
	Progress    func(bytes, total int64)
}

// Finding is one thing that an audit found wrong.
type Finding struct {
	What     string `json:"what"`            // "copy", "object", "catalogue", "evidence", "extra"...
	Where    string `json:"where"`           // file, blob, identifier
	Offer    string `json:"offer,omitempty"` // of a copy
	Why      string `json:"why"`
	Repaired bool   `json:"repaired"`
	Lost     bool   `json:"lost"` // no good copy is left
}

// AuditReport is the outcome of an audit, as the ledger holds it, and the findings.
type AuditReport struct {
	integrity.AuditDetail
	Units   int64     `json:"units"`
	Batches int64     `json:"batches"`
	Seconds float64   `json:"seconds"`
	Entry   int64     `json:"ledgerEntry"`
	List    []Finding `json:"list"`
}

// Sound says that nothing is left wrong.
func (r *AuditReport) Sound() bool { return r.Findings == r.Repaired }

// Audit re-reads the archive: every page and record of the catalogue, the whole
// ledger, every batch and token, every description, and every copy of the
// objects in every offer, on all cores; it writes its result into the ledger on
// behalf of agent. What is wrong is in the report; the error is for an audit that
// could not be carried through.
func (a *Archive) Audit(ctx context.Context, agent string, o AuditOptions) (_ *AuditReport, err error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	ctx, end := a.begin(ctx, WorkAudit)
	defer func() { end(err) }()
	if !(o.Sample > 0 && o.Sample <= 1) {
		return nil, &Refusal{Problems: []string{fmt.Sprintf("sample %v: want more than 0 and at most 1", o.Sample)}}
	}
	start := time.Now()
	au := &audit{a: a, o: o, report: &AuditReport{List: []Finding{}}}
	au.report.Sample = o.Sample
	if err := a.cat.view(func(t *tx) (err error) { au.lost, err = t.lost(); return err }); err != nil {
		return nil, err
	}
	au.catalogue()
	au.keyFiles()
	au.tenants()
	au.evidence()
	au.findErr("catalogue", a.cat.path, a.cat.view(func(t *tx) error {
		return a.checkDecisions(t, au.findErr)
	}))
	if err := au.leaves(ctx); err != nil {
		return nil, fmt.Errorf("auditing: %w", err)
	}
	if err := au.journals(ctx); err != nil {
		return nil, fmt.Errorf("auditing: %w", err)
	}
	if err := au.extra(ctx); err != nil {
		return nil, fmt.Errorf("auditing: %w", err)
	}
	au.report.Seconds = time.Since(start).Seconds()
	if err := au.record(ctx, agent); err != nil || len(au.movedOut) == 0 {
		return au.report, err
	}
	_, err = a.deleteUnused(ctx)
	return au.report, err
}

// checkDecisions holds against the ledger what was decided: find is called with what is wrong, and
// where.
func (a *Archive) checkDecisions(t *tx, find func(what, where string, err error)) error {
	in := func(what string) func(where string, err error) {
		return func(where string, err error) { find(what, where, err) }
	}
	return errors.Join(a.checkActs(t, in("act")), a.checkEliminations(t, in("elimination")), a.checkRules(t, in("schedule")),
		t.checkTombs(in("tombstone")), a.checkConversions(t, in("conversion")), a.checkProcedures(t, in("procedure")),
		a.checkRequests(t, in("request")), a.checkRevisions(t, in("revision")),
		a.checkAccesses(t, &AccessLogCheck{}, in("log of accesses")))
}

type audit struct {
	a           *Archive
	o           AuditOptions
	done, total int64 // bytes of content

	mu       sync.Mutex // guards report, done and repairs
	report   *AuditReport
	repaired []repairedCopy
	badPacks map[repairedCopy]bool

	moving   sync.Mutex // guards movedOut
	movedOut map[string]bool

	registered registrations // of the leaves that are looked at
	gone       []string      // objects without a good copy
	good       []string      // objects with one, of those that had none
	lost       map[string]lostState
	cursor     uint64 // where the next audit that continues begins
}

type repairedCopy struct {
	offer int
	blob  string
}

func (au *audit) find(f Finding) {
	au.mu.Lock()
	defer au.mu.Unlock()
	au.report.Findings++
	if f.Repaired {
		au.report.Repaired++
	}
	if f.Lost {
		au.report.Lost++
	}
	au.report.List = append(au.report.List, f)
}

// findErr adds an error as a finding, if there is one.
func (au *audit) findErr(what, where string, err error) {
	if err == nil {
		return
	}
	var d *DamagedError
	if errors.As(err, &d) {
		what, where = d.What, d.Where
	}
	au.find(Finding{What: what, Where: where, Why: err.Error()})
}

func (au *audit) catalogue() {
	a := au.a
	au.findErr("catalogue", a.cat.path, a.cat.check(func(why string) {
		au.find(Finding{What: "catalogue", Where: a.cat.path, Why: why})
	}))
	_, err := a.VerifyLedger(true)
	au.findErr("ledger", a.cat.path, err)
}

// tenants wants the configuration to name every tenant that has units: those of another
// could not be found.
func (au *audit) tenants() {
	lost := map[string]bool{}
	err := au.a.cat.view(func(t *tx) error {
		return t.scan(bktUnit, nil, nil, func(_, v []byte) (bool, error) {
			var r unitRecord
			if decodeClear(v, &r) == nil { // else it is found with its leaf
				if _, unknown := au.a.tenant(r.Tenant); unknown != nil {
					lost[r.Tenant] = true
				}
			}
			return true, nil
		})
	})
	au.findErr("catalogue", au.a.cat.path, err)
	for id := range lost {
		au.find(Finding{What: "configuration", Where: filepath.Join(au.a.dir, ConfigName), Why: fmt.Sprintf("it does not name tenant %s, which has units", id)})
	}
}

// keyFiles reads again what opening has not: both places of each slot, the
// embedded authority, the marks of the offers, the search index.
func (au *audit) keyFiles() {
	a := au.a
	for what, path := range map[string]string{"root key": a.config.Slots.Root, "checkpoint slot": a.config.Slots.Checkpoint} {
		au.findErr(what, path, checkPlaces(a.fs, path))
	}
	for _, c := range a.config.Authority {
		if c.Embedded {
			_, err := a.loadEmbedded()
			au.findErr("embedded time-stamping authority", filepath.Join(a.dir, "keys"), err)
		} else {
			_, err := readCertificates(c.Roots)
			au.findErr("time-stamping authority "+c.Name, c.Roots, err)
		}
	}
	if a.slotHealed {
		au.find(Finding{What: "checkpoint slot", Where: a.config.Slots.Checkpoint, Repaired: true,
			Why: "one of its two places was damaged when the archive was opened: torn by a crash, or by the disk"})
		a.slotHealed = false
	}
	for i, o := range a.offers {
		au.findErr("offer", a.config.Offers[i].where(), o.down)
	}
	if where, err := a.checkSearch(); err != nil {
		repaired := au.o.Repair && a.repairSearch() == nil
		au.find(Finding{What: "search index", Where: where, Why: err.Error(), Repaired: repaired})
	}
}

func checkPlaces(fs durable.FS, path string) error {
	s, err := durable.OpenSlot(fs, path)
	if err != nil {
		return err
	}
	defer s.Close()
	_, _, damaged, err := s.Load()
	if err == nil && len(damaged) > 0 {
		err = fmt.Errorf("place %v of its two is damaged; the other is good, and the next commit writes this one again", damaged)
	}
	return err
}

// evidence recomputes every batch from its leaves and verifies its token.
func (au *audit) evidence() {
	a := au.a
	var next uint64
	au.findErr("evidence", a.cat.path, a.cat.view(func(t *tx) error {
		return t.scan(bktBatch, nil, nil, func(k, v []byte) (bool, error) {
			rec, err := decodeBatch(v)
			if err == nil && (rec.First != next || binary.BigEndian.Uint64(k) != next) {
				err = fmt.Errorf("a batch begins at leaf %d, the one before it ends at %d", rec.First, next)
			}
			if err != nil {
				return false, err
			}
			next = rec.First + rec.Count
			au.report.Batches++
			au.findErr("evidence", "batch "+rec.ID, a.auditBatch(t, rec))
			return true, nil
		})
	}))
}

// auditBatch holds a batch's root and tiles against its leaves, its token against
// the root and the authority's roots, and both against the ledger's Seal entry.
func (a *Archive) auditBatch(t *tx, rec batchRecord) error {
	n := int64(rec.Count) + 1
	leaf := func(i int64) ([]byte, error) {
		if i == n-1 {
			sum := sha256.Sum256(rec.Checkpoint)
			return sum[:], nil
		}
		row, err := t.get(bktLeaf, be64(rec.First+uint64(i)))
		if err != nil {
			return nil, err
		}
		h, _, _, err := parseLeafRow(row)
		return h[:], err
	}
	root, err := ers.Build(crypto.SHA256, n, leaf, func(level int, index int64, hashes []byte) error {
		stored, err := t.get(bktTile, tileKey(rec.First, level, index))
		if err == nil && string(stored) != string(hashes) {
			err = fmt.Errorf("tile %d of level %d is wrong", index, level)
		}
		return err
	})
	if err == nil && integrity.Hash(root) != rec.Root {
		err = errors.New("its root is not that of its leaves")
	}
	if err == nil {
		err = a.auditToken(rec)
	}
	if err == nil {
		err = t.auditSeal(rec)
	}
	return err
}

// auditToken verifies the token of a batch under the roots of the authority that
// the configuration names so; when it names none any more, under the token's own.
func (a *Archive) auditToken(rec batchRecord) error {
	token, err := tsp.Parse(rec.Token)
	if err != nil {
		return err
	}
	return failedChecks(token.Verify(tsp.Expect{Hash: crypto.SHA256, Imprint: rec.Root[:], Roots: a.rootsOf(rec.Authority)}))
}

func failedChecks(checks []integrity.Check) error {
	var errs []error
	for _, c := range checks {
		if c.Status == integrity.Failed {
			errs = append(errs, fmt.Errorf("%s: %s", c.Name, c.Detail))
		}
	}
	return errors.Join(errs...)
}

func (a *Archive) rootsOf(name string) *x509.CertPool {
	for _, auth := range a.authorities {
		if auth.name != name || auth.roots == nil {
			continue
		}
		certs, err := auth.roots()
		if err != nil {
			return nil
		}
		pool := x509.NewCertPool()
		for _, c := range certs {
			pool.AddCert(c)
		}
		return pool
	}
	return nil
}

// auditSeal wants the ledger to speak of the batch as it is.
func (t *tx) auditSeal(rec batchRecord) error {
	b, err := t.entry(rec.Entry)
	if err != nil {
		return err
	}
	e, err := integrity.ParseEntry(b)
	if err != nil {
		return err
	}
	want := integrity.SealDetail{Batch: rec.ID, Root: rec.Root, Token: sha256.Sum256(rec.Token)}
	var have integrity.SealDetail
	if err := e.ReadDetail(integrity.Seal, &have); err != nil {
		return err
	}
	if have.Batch != want.Batch || have.Root != want.Root || have.Token != want.Token {
		return fmt.Errorf("ledger entry %d seals another batch, root or token", rec.Entry)
	}
	return nil
}

// leaves goes through all that was ever committed, in order: each leaf has its
// item in the ledger, and each item its record, its index rows, its copies.
func (au *audit) leaves(ctx context.Context) error {
	a := au.a
	if err := a.cat.view(au.measure); err != nil {
		au.findErr("catalogue", a.cat.path, err)
	}
	work := make(chan []*Object)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			buf := make([]byte, 256<<10)
			for group := range work {
				au.group(ctx, group, buf)
			}
		})
	}
	next := uint64(0)
	chosen, err := au.chooser()
	for more := true; more && err == nil; { // short transactions: an audit may take days
		var objects []*Object
		objects, next, more, err = au.page(next)
		objects = slices.DeleteFunc(objects, func(o *Object) bool { return !chosen(o.record.Leaf) })
		for _, group := range byBlob(objects) {
			work <- group
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	close(work)
	wg.Wait()
	return err
}

// chooser says of which objects, by their leaves, the copies are read.
func (au *audit) chooser() (func(leaf uint64) bool, error) {
	if !au.o.Continue {
		return func(uint64) bool { return au.o.Sample == 1 || rand.Float64() < au.o.Sample }, nil
	}
	var end, from uint64
	err := au.a.cat.view(func(t *tx) (err error) {
		if end, err = t.end(); err != nil {
			return err
		}
		v, err := t.get(bktMeta, metaAuditCursor)
		if len(v) == 8 {
			from = binary.BigEndian.Uint64(v)
		}
		return err
	})
	if err != nil || end == 0 {
		return func(uint64) bool { return false }, err
	}
	from %= end
	width := min(end, uint64(math.Ceil(float64(end)*au.o.Sample)))
	au.cursor = (from + width) % end
	return func(leaf uint64) bool { return leaf < end && (leaf+end-from)%end < width }, nil
}

// metaAuditCursor is the row of the leaf at which the next audit that continues begins.
var metaAuditCursor = []byte("audit-cursor")

func (au *audit) measure(t *tx) error {
	return t.eachObject(func(r *objectRecord) error {
		au.total += r.Size
		return nil
	})
}

// page looks at the next thousand leaves and gives the objects among them.
func (au *audit) page(next uint64) (objects []*Object, _ uint64, more bool, err error) {
	a := au.a
	err = a.cat.view(func(t *tx) error {
		n := 0
		end, err := t.end()
		if err != nil {
			return err
		}
		err = t.scan(bktLeaf, be64(next), be64(end), func(k, row []byte) (bool, error) {
			number := binary.BigEndian.Uint64(k)
			o, err := au.leaf(t, number, row)
			if err != nil {
				au.findErr("leaf", fmt.Sprint(number), err)
			} else if o != nil {
				objects = append(objects, o)
			}
			n, next = n+1, number+1
			return n < 1000, nil
		})
		more = n == 1000
		return err
	})
	if err != nil {
		au.findErr("catalogue", a.cat.path, err)
		return objects, next, false, nil
	}
	return objects, next, more, nil
}

// leaf verifies one leaf and the record behind it; the object, when it is one's.
func (au *audit) leaf(t *tx, number uint64, row []byte) (*Object, error) {
	leaf, entry, item, err := parseLeafRow(row)
	if err != nil {
		return nil, err
	}
	it, err := t.item(entry, item)
	if err != nil {
		return nil, err
	}
	if it.Leaf != leaf {
		return nil, fmt.Errorf("leaf %d is not the one that ledger entry %d commits to", number, entry)
	}
	if row, err := t.tomb(it.Unit); err != nil || row != nil {
		if err == nil {
			err = t.checkTomb(it, row, number)
		}
		return nil, err
	}
	if it.Object != "" {
		o, err := au.a.object(t, it.Object)
		if err == nil && (groupLeaf(o.digest, o.salt) != leaf || o.record.Leaf != number) {
			err = &DamagedError{What: "object record", Where: it.Object, Why: "its salt and digest are not those sealed"}
		}
		if err == nil {
			err = au.registered.check(t, &o.record)
		}
		if err == nil {
			err = t.hasRows(it.Unit, histRow(it.Unit, entry, item, number))
		}
		return o, err
	}
	if it.Version == 1 {
		au.report.Units++
	}
	return nil, au.a.auditUnit(t, it, number)
}

func (a *Archive) auditUnit(t *tx, it integrity.Item, number uint64) error {
	u, err := a.unit(t, it.Unit, it.Version)
	if err != nil {
		return err
	}
	if groupLeaf(sha256.Sum256(u.doc), u.salt) != it.Leaf || u.record.Leaf != number {
		return &DamagedError{What: "unit record", Where: it.Unit, Why: "its description and salt are not those sealed"}
	}
	rows := []record{histRow(u.Unit, u.record.Entry, u.record.Item, number)}
	last, _, err := t.unitRecord(it.Unit, 0)
	if err != nil {
		return err
	}
	if last.Version == it.Version { // index rows are those of the last version
		index := a.indexRows(&u.record, &u.Description)
		if err := newGroups(a.vault, t).shut(index); err != nil {
			return err
		}
		rows = append(rows, index...)
	}
	return t.hasRows(it.Unit, rows...)
}

// hasRows wants the rows by which a unit is found.
func (t *tx) hasRows(unit string, rows ...record) error {
	for _, r := range rows {
		v, err := t.get(r.bucket, r.key)
		if err == nil && string(v) != string(r.value) {
			err = &DamagedError{What: "index", Where: unit, Why: "a row by which the unit is found is missing"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// extra names what lies in the offers and belongs to nothing.
func (au *audit) extra(ctx context.Context) error {
	for _, o := range au.a.offers {
		if o.down != nil {
			continue
		}
		err := o.blobs.List(ctx, "", func(name string, size int64) error {
			if strings.HasPrefix(name, au.a.session+"-") || strings.HasPrefix(name, journalSession(au.a.session)+"-") {
				return nil // being deposited right now
			}
			known, err := au.a.knowsBlob(name)
			if err == nil && !known && !au.a.isUnused(o.name, name) {
				f := Finding{What: "extra", Where: name, Offer: o.name, Why: fmt.Sprintf("%d bytes that no object refers to", size)}
				f.Repaired = au.o.RemoveExtra && o.blobs.Delete(ctx, name) == nil
				au.find(f)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// record writes the outcome into the ledger.
func (au *audit) record(ctx context.Context, agent string) error {
	if err := au.a.recordRepairs(ctx, agent, au.repaired); err != nil {
		return fmt.Errorf("recording repairs: %w", err)
	}
	op := &operation{
		id:     newID(opID),
		entry:  integrity.Entry{Kind: integrity.Audit, Tenant: au.a.config.Tenants[0].ID, Agent: agentID(au.a.indexKey, agent)},
		detail: func(position) any { return au.report.AuditDetail },
		records: []func(position) []record{func(p position) []record {
			out := append(lostRow(au.lost, au.gone, au.good, p.time), record{bktMeta, metaAudit, mustJSON(AuditState{p.time, p.entry, au.report.AuditDetail})})
			if au.o.Continue {
				out = append(out, record{bktMeta, metaAuditCursor, be64(au.cursor)})
			}
			return out
		}},
	}
	pos, _, err := au.a.commit(context.WithoutCancel(ctx), op)
	if err != nil {
		return fmt.Errorf("recording the audit: %w", err)
	}
	au.report.Entry = pos.entry
	return nil
}

var metaAudit = []byte("audit")
