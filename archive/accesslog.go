package archive

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sae/integrity"
	"sae/retention"
)

// The log of accesses says who read what of whom, when and for what. A record is durable in the spool
// (spool.go) before anything is given out. Who writes to the archive takes the spool into the
// catalogue, as an operation: the records stand in chunks, by tenant and day, each enciphered under a
// data key of its own; the ledger commits to them. It has a retention of its own, at the end of which
// chunks are destroyed with their keys.

// Access is one record of the log. It names units by their identifiers alone.
type Access struct {
	ID     string    `json:"id"` // random: of its hash in the ledger nobody guesses the rest
	Time   time.Time `json:"time"`
	Tenant string    `json:"tenant"`
	Agent  string    `json:"agent"` // pseudonym, as in ledger entries
	Name   string    `json:"name"`
	Verb   Verb      `json:"verb"`
	// Outcome is whether it was read, or refused because a unit was not open.
	Outcome AccessOutcome `json:"outcome"`
	Purpose Purpose       `json:"purpose"`
	Why     string        `json:"why,omitempty"`
	Units   []string      `json:"units,omitempty"`
	// Of is the first record of an access to more units than one record names.
	Of          string   `json:"of,omitempty"`
	Derogations []string `json:"derogations,omitempty"` // acts by which units were open
}

// Verb is a way to read.
type Verb string

// The verbs.
const (
	VerbShow    Verb = "show"
	VerbList    Verb = "list"
	VerbSearch  Verb = "search"
	VerbGet     Verb = "get"
	VerbExport  Verb = "export"
	VerbProof   Verb = "proof"
	VerbExplain Verb = "explain" // what retention applies
	VerbDue     Verb = "due"
	VerbRequest Verb = "request" // the units of a request to eliminate or to transfer, or of a data subject
	VerbPaper   Verb = "paper"
	VerbFormats Verb = "formats"
	VerbLog     Verb = "log"     // this log
	VerbFile    Verb = "file"    // a citizen file
	VerbSubject Verb = "subject" // the record of a data subject
	VerbPackage Verb = "package" // what a data subject receives
	VerbAct     Verb = "act"     // a hold, a derogation...: why, and of whom
	VerbLetter  Verb = "letter"  // the answer to one
)

// AccessOutcome is what came of an access.
type AccessOutcome string

// The outcomes.
const (
	WasRead    AccessOutcome = "read"
	WasRefused AccessOutcome = "refused"
)

// Bounds of a record.
const (
	maxAccessUnits = 1000
	maxWhy         = 1000 // bytes
)

const accessID = "l"

// log writes down an access to units of a tenant ("": that of the first unit). Nothing may be given
// out when it fails.
func (r *Reader) log(tenant string, verb Verb, outcome AccessOutcome, units, derogations []string) error {
	r.used = nil
	bad := &Refusal{}
	checkText("why", r.why, maxWhy, bad)
	err := bad.orNil()
	if err == nil && tenant == "" {
		err = r.a.cat.view(func(t *tx) error {
			rec, _, err := t.unitRecord(units[0], 0)
			tenant = rec.Tenant
			return err
		})
	}
	if err != nil {
		return err
	}
	x := Access{Time: now(), Tenant: tenant, Agent: agentID(r.a.indexKey, r.agent), Name: r.agent, Verb: verb, Outcome: outcome,
		Purpose: r.stated, Why: r.why, Derogations: derogations}
	var lines []byte
	for first := true; first || len(units) > 0; first = false {
		n := min(len(units), maxAccessUnits)
		x.ID, x.Units, units = newID(accessID), units[:n], units[n:]
		line := mustJSON(x)
		if len(lines) > 0 && len(lines)+len(line) > maxFrame/2 {
			err = errors.Join(err, r.a.appendAccess(lines))
			lines = nil
		}
		if lines = append(append(lines, line...), '\n'); first {
			x.Of, x.Why, x.Derogations = x.ID, "", nil
		}
	}
	if err = errors.Join(err, r.a.appendAccess(lines)); err != nil {
		return fmt.Errorf("nothing is read that is not logged: logging the access: %w", err)
	}
	return nil
}

// logRead logs that units were read, by the derogations that opened them; of none there is nothing
// to log.
func (r *Reader) logRead(tenant string, verb Verb, units []string) error {
	if len(units) == 0 {
		return nil
	}
	return r.log(tenant, verb, WasRead, units, r.used)
}

// logRefused logs that units were refused, when that is what the error says, and gives the error.
func (r *Reader) logRefused(verb Verb, err error) error {
	var closed *NotOpenError
	if !errors.As(err, &closed) {
		return err
	}
	var units []string
	for _, c := range closed.Units {
		units = append(units, c.Unit)
	}
	return errors.Join(err, r.log("", verb, WasRefused, units, nil))
}

// exporting logs what an export is about to hand out to the reader, or what is refused to him; nil is
// the archive itself. It gives the error of gathering it.
func (r *Reader) exporting(e *export, err error) error {
	if r == nil {
		return err
	}
	if err != nil {
		return r.logRefused(VerbExport, err)
	}
	var units []string
	for _, u := range e.units {
		units = append(units, u.Unit)
		for _, s := range u.Shared {
			if _, too := e.seen[s.Unit]; !too {
				units = append(units, s.Unit)
			}
		}
	}
	return r.log(e.units[0].Tenant, VerbExport, WasRead, units, e.derogations)
}

// openOnes are the units that are not withheld.
func openOnes(units []*Unit) (out []string) {
	for _, u := range units {
		if u.Closed == nil {
			out = append(out, u.Unit)
		}
	}
	return out
}

// listing gives out a long list in parts, each of which is logged before.
type listing[T any] struct {
	r      *Reader
	tenant string
	verb   Verb
	open   func(T) string // the unit of which it tells something; "" for none
	f      func(T) error

	waiting []T
	units   []string
	failed  bool // nothing more is given out
}

func (l *listing[T]) add(x T) error {
	l.waiting = append(l.waiting, x)
	if id := l.open(x); id != "" {
		l.units = append(l.units, id)
	}
	if len(l.waiting) < maxAccessUnits {
		return nil
	}
	return l.flush()
}

func (l *listing[T]) flush() error {
	err := l.r.logRead(l.tenant, l.verb, l.units)
	for _, x := range l.waiting {
		if err == nil {
			err = l.f(x)
		}
	}
	l.waiting, l.units, l.failed = nil, nil, err != nil
	return err
}

// run goes through the list.
func (l *listing[T]) run(walk func() error) error {
	l.r.a.spooling.Lock()
	err := l.r.a.loadSpool() // the walk is within a transaction, in which another is not begun
	l.r.a.spooling.Unlock()
	if err != nil {
		return err
	}
	if err = walk(); l.failed {
		return err
	}
	return errors.Join(l.flush(), err) // of units that are damaged the error comes at the end
}

// toldOf is the unit, if it is open.
func (r *Reader) toldOf(u *Unit) string {
	if u.Closed != nil {
		return ""
	}
	return u.Unit
}

// accessRecord is a chunk of the log; its secret is a salt and the records, a line of JSON each.
type accessRecord struct {
	Tenant string `json:"tenant"`
	Day    string `json:"day"`
	Count  int64  `json:"count"`
	Entry  int64  `json:"entry"`
	Key    uint64 `json:"key"`
}

func accessKey(entry, chunk int64) []byte { return itemKey(entry, chunk) }

// accessChunk gathers the records of a chunk.
type accessChunk struct {
	tenant, day string
	lines       []byte
	tree        integrity.ItemTree
}

func (c *accessChunk) add(line []byte) {
	c.tree.Add(line)
	c.lines = append(append(c.lines, line...), '\n')
}

// Bounds of one operation that takes records in.
const (
	maxTakenChunks = 100
	maxTaken       = 4 << 20 // bytes of records
)

// Of the spool is taken in by who opens the archive for writing, or closes it, what is older than
// this, or more; by Seal and by who reads the log, all.
const (
	spoolAge  = time.Hour
	spoolSize = 1 << 20 // bytes
)

// takeAccessesWhenDue takes the spool in when it has grown old or long. When that fails it is told,
// and the spool waits on.
func (a *Archive) takeAccessesWhenDue() {
	if a.readOnly || a.failed.Load() != nil {
		return
	}
	n, since, size, err := a.spooled()
	if err == nil && (n == 0 || time.Since(since) < spoolAge && size < spoolSize) {
		return
	}
	if err = errors.Join(err, a.takeAccesses(context.Background())); err != nil {
		a.log.Error("taking the spool of accesses in", "error", err)
	}
}

// takeAccesses takes the spool into the catalogue. Nobody else appends to it meanwhile: who writes to
// the archive has it alone.
func (a *Archive) takeAccesses(ctx context.Context) error {
	a.spooling.Lock()
	defer a.spooling.Unlock()
	if err := a.takeSpool(ctx); err != nil {
		return fmt.Errorf("taking accesses into the log: %w", err)
	}
	return nil
}

// takeSpool does so; the caller holds spooling.
func (a *Archive) takeSpool(ctx context.Context) (err error) {
	if fi, err := os.Stat(filepath.Join(a.dir, spoolFile)); errors.Is(err, fs.ErrNotExist) || err == nil && fi.Size() == 0 {
		return nil
	}
	s, err := a.openSpool()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.new {
		return s.Empty()
	}
	in := &taking{a: a, ctx: ctx, sequence: s.sequence, spool: hex.EncodeToString(s.id[:]), taken: a.spool.Taken}
	if in.spool != a.spool.Spool {
		in.taken = 0
	}
	found, err := scanSpool(s, s.Size(), &s.spoolHeader, s.key, in.frame)
	if err == nil {
		err = in.commit()
	}
	if err != nil {
		return err
	}
	// A crash here leaves a spool of which the catalogue says that it was taken in.
	if found.damaged != nil {
		return a.setAside(s, s.spoolHeader, found.damaged)
	}
	if torn := s.Size() - found.end; torn > 0 {
		a.log.Warn("the torn end of the spool of accesses is cut", "bytes", torn)
		if torn > frameHead+maxFrame+frameTail {
			if err := a.keepCut(s, found.end); err != nil {
				return err
			}
		}
	}
	return s.Empty()
}

// taking takes frames of a spool in.
type taking struct {
	a        *Archive
	ctx      context.Context
	spool    string
	sequence uint64
	taken    uint64 // frames below this number were taken in before

	chunks      []*accessChunk
	bytes       int
	count       int64
	first, last time.Time
}

// frame takes the records of a frame. Frames that are committed together are a run of them, so that
// one number says which were.
func (in *taking) frame(number uint64, plain []byte) error {
	if number < in.taken {
		return nil
	}
	for line := range bytes.Lines(plain) {
		line = bytes.TrimSuffix(line, []byte{'\n'})
		var x Access
		if err := json.Unmarshal(line, &x); err != nil {
			return fmt.Errorf("frame %d: %w", number, err)
		}
		in.chunkOf(&x).add(line)
		if in.count++; in.first.IsZero() || x.Time.Before(in.first) {
			in.first = x.Time
		}
		if x.Time.After(in.last) {
			in.last = x.Time
		}
	}
	in.taken = number + 1
	if in.bytes += len(plain); in.bytes < maxTaken && len(in.chunks) < maxTakenChunks {
		return nil
	}
	return in.commit()
}

func (in *taking) chunkOf(x *Access) *accessChunk {
	day := x.Time.UTC().Format(time.DateOnly)
	for _, c := range in.chunks {
		if c.tenant == x.Tenant && c.day == day {
			return c
		}
	}
	c := &accessChunk{tenant: x.Tenant, day: day}
	in.chunks = append(in.chunks, c)
	return c
}

// commit takes what was gathered in, as one operation.
func (in *taking) commit() error {
	if in.count == 0 {
		return nil
	}
	a := in.a
	state := accessState{Key: a.spool.Key, Spool: in.spool, Sequence: in.sequence, Taken: in.taken}
	detail := integrity.AccessesDetail{Count: in.count, First: in.first, Last: in.last}
	op := &operation{id: newID(opID), entry: integrity.Entry{Kind: integrity.Accesses, Tenant: a.config.Tenants[0].ID, Agent: agentID(a.indexKey, "")},
		detail: func(position) any { return detail },
		records: []func(position) []record{func(position) []record {
			return []record{{bktMeta, metaAccesses, mustJSON(state)}}
		}},
	}
	for i, c := range in.chunks {
		items, key, salt := c.tree.Items(), newKey(), newSalt()
		detail.Chunks = append(detail.Chunks, integrity.AccessChunk{Tenant: c.tenant, Day: c.day, Count: items.Count, Root: items.Root})
		op.keys = append(op.keys, key)
		op.records = append(op.records, func(p position) []record {
			r := accessRecord{Tenant: c.tenant, Day: c.day, Count: items.Count, Entry: p.entry, Key: p.key + uint64(i)}
			return []record{{bktAccess, accessKey(p.entry, int64(i)), encodeRecord(r, key, append(salt[:], c.lines...))}}
		})
	}
	if _, _, err := a.commit(in.ctx, op); err != nil {
		return err
	}
	a.spool.accessState = state
	in.chunks, in.bytes, in.count, in.first, in.last = nil, 0, 0, time.Time{}, time.Time{}
	return nil
}

// AccessFilter chooses records of the log; the zero value of a field chooses all.
type AccessFilter struct {
	Unit     string
	Agent    string // name, as --as gives it
	From, To time.Time
	Purpose  Purpose
}

func (f *AccessFilter) chooses(x *Access, agent string) bool {
	return (f.Unit == "" || slices.Contains(x.Units, f.Unit)) && (f.Agent == "" || x.Agent == agent) &&
		!x.Time.Before(f.From) && (f.To.IsZero() || x.Time.Before(f.To)) && (f.Purpose == "" || x.Purpose == f.Purpose)
}

// AccessLog calls f for the records of a tenant's log, in the order in which they were taken in, once
// all are. It is for the data-protection officer, and logged itself.
func (r *Reader) AccessLog(ctx context.Context, tenant string, filter AccessFilter, f func(Access) error) error {
	a := r.a
	if a.readOnly {
		return ErrReadOnly
	}
	of, err := a.tenant(tenant)
	if err == nil {
		err = of.may(r.agent, DataProtection)
	}
	if err == nil {
		err = a.takeAccesses(ctx)
	}
	if err != nil {
		return err
	}
	var units []string
	if filter.Unit != "" {
		units = []string{filter.Unit}
	}
	if err := r.log(of.ID, VerbLog, WasRead, units, nil); err != nil {
		return err
	}
	chunks, err := a.accessChunks(func(c *accessRecord) bool {
		return c.Tenant == of.ID && (filter.From.IsZero() || c.Day >= filter.From.UTC().Format(time.DateOnly)) &&
			(filter.To.IsZero() || c.Day <= filter.To.UTC().Format(time.DateOnly))
	})
	who := agentID(a.indexKey, filter.Agent)
	for _, key := range chunks {
		var all []Access
		if err == nil {
			err = a.cat.view(func(t *tx) error { _, all, err = a.accessChunk(t, key); return err })
		}
		for _, x := range all {
			if err == nil && filter.chooses(&x, who) {
				err = f(x)
			}
		}
		if err == nil {
			err = ctx.Err()
		}
	}
	return err
}

// accessChunks gives the keys of chunks, in their order.
func (a *Archive) accessChunks(choose func(*accessRecord) bool) (keys [][]byte, err error) {
	err = a.cat.view(func(t *tx) error {
		return t.eachAccessChunk(func(k []byte, c *accessRecord) error {
			if choose(c) {
				keys = append(keys, bytes.Clone(k))
			}
			return nil
		})
	})
	return keys, err
}

func (t *tx) eachAccessChunk(f func(key []byte, c *accessRecord) error) error {
	return t.scan(bktAccess, nil, nil, func(k, v []byte) (bool, error) {
		var c accessRecord
		err := decodeClear(v, &c)
		if err != nil {
			err = damaged("log of accesses", fmt.Sprintf("chunk %x", k), err)
		} else {
			err = f(k, &c)
		}
		return err == nil, err
	})
}

// accessChunk reads a chunk and gives what the ledger is to say of it; its records are nil when it is
// not there.
func (a *Archive) accessChunk(t *tx, k []byte) (is integrity.AccessChunk, all []Access, err error) {
	v, err := t.get(bktAccess, k)
	if err != nil || v == nil {
		return is, nil, err
	}
	var r accessRecord
	var lines []byte
	s, err := decodeRecord(v, &r)
	if err == nil {
		var key [32]byte
		if key, err = a.vault.Unwrap(keyStore{t}, r.Key); err == nil {
			_, lines, err = s.open(key)
		}
	}
	var tree integrity.ItemTree
	all = []Access{}
	for line := range bytes.Lines(lines) {
		line = bytes.TrimSuffix(line, []byte{'\n'})
		var x Access
		if err == nil {
			err = json.Unmarshal(line, &x)
		}
		tree.Add(line)
		all = append(all, x)
	}
	if err != nil {
		return is, nil, damaged("log of accesses", fmt.Sprintf("chunk of ledger entry %d, of %s", r.Entry, r.Day), err)
	}
	items := tree.Items()
	return integrity.AccessChunk{Tenant: r.Tenant, Day: r.Day, Count: items.Count, Root: items.Root}, all, nil
}

// AccessLogCheck is what was held against the ledger.
type AccessLogCheck struct {
	Entries  int64    `json:"entries"` // of the ledger, by which records were taken in
	Chunks   int64    `json:"chunks"`
	Records  int64    `json:"records"`
	Purged   int64    `json:"purgedChunks"`
	Findings []string `json:"findings"`
}

// VerifyAccessLog holds the log of accesses against the ledger, and names what was changed or
// removed. Records that wait in the spool are only held against each other when they are taken in.
func (a *Archive) VerifyAccessLog() (*AccessLogCheck, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	out := &AccessLogCheck{Findings: []string{}}
	err := a.cat.view(func(t *tx) error {
		return a.checkAccesses(t, out, func(where string, err error) { out.Findings = append(out.Findings, where+": "+err.Error()) })
	})
	return out, err
}

// checkAccesses wants of each entry the chunks that it commits to, but for those that a later one
// destroyed, and no others; and no spool that was set aside.
func (a *Archive) checkAccesses(t *tx, out *AccessLogCheck, find func(where string, err error)) error {
	type purge struct {
		entry          int64
		tenant, before string
	}
	var purges []purge
	want := map[string]integrity.AccessChunk{}
	err := t.entriesOf(func(index int64, e integrity.Entry) error {
		if e.Kind == integrity.AccessLogPurged {
			var d integrity.AccessLogPurgedDetail
			err := e.ReadDetail(e.Kind, &d)
			purges = append(purges, purge{index, e.Tenant, d.Before})
			return err
		}
		var d integrity.AccessesDetail
		err := e.ReadDetail(e.Kind, &d)
		out.Entries++
		for i, c := range d.Chunks {
			want[string(accessKey(index, int64(i)))] = c
		}
		return err
	}, integrity.Accesses, integrity.AccessLogPurged)
	if err != nil {
		return err
	}
	for k, c := range want {
		entry := int64(indexLeaf([]byte(k[:8])))
		where := fmt.Sprintf("chunk of ledger entry %d, of %s", entry, c.Day)
		gone := slices.ContainsFunc(purges, func(p purge) bool { return p.entry > entry && p.tenant == c.Tenant && c.Day < p.before })
		have, all, err := a.accessChunk(t, []byte(k))
		switch {
		case err != nil:
			find(where, err)
		case gone && all == nil:
			out.Purged++
		case gone:
			find(where, errors.New("it was destroyed, and is still there"))
		case all == nil:
			find(where, errors.New("it is missing"))
		case have != c:
			find(where, errors.New("it is not what the ledger commits to"))
		default:
			out.Chunks, out.Records = out.Chunks+1, out.Records+c.Count
		}
	}
	err = t.scan(bktAccess, nil, nil, func(k, _ []byte) (bool, error) {
		if _, ok := want[string(k)]; !ok {
			find(fmt.Sprintf("chunk %x", k), errors.New("no ledger entry speaks of it"))
		}
		return true, nil
	})
	aside, failed := a.asideSpools()
	for _, path := range aside {
		find(filepath.Base(path), errors.New("a spool of accesses was damaged, and set aside: records of who read what may be lost; remove it when somebody has looked at it"))
	}
	return errors.Join(err, failed)
}

// AccessLogPurged is what a purge destroyed.
type AccessLogPurged struct {
	Before  string `json:"before"` // the first day that is kept
	Chunks  int64  `json:"chunks"`
	Records int64  `json:"records"`
	Entry   int64  `json:"ledgerEntry,omitempty"` // 0 when there was nothing to destroy
}

// keptFrom is the first day of which a tenant's log is kept today.
func (a *Archive) keptFrom(of *Tenant) string {
	d := of.GDPR.AccessLog
	if d.IsZero() {
		d = a.config.GDPR.AccessLog
	}
	if d.IsZero() {
		d = retention.Duration{Count: 1, Unit: retention.Years}
	}
	last, ok := d.Latest(now())
	if !ok {
		return ""
	}
	return last.AddDate(0, 0, 1).Format(time.DateOnly)
}

// PurgeAccessLog destroys what of a tenant's log was kept long enough, on behalf of agent, with its
// keys, and the key of the spools in which it was: an old copy of them, or of the catalogue, opens
// nothing of it. What the ledger says of it stays.
func (a *Archive) PurgeAccessLog(ctx context.Context, agent, tenant string) (*AccessLogPurged, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	of, err := a.tenant(tenant)
	if err == nil && !of.has(agent, DataProtection, Archivist) {
		err = of.may(agent, DataProtection)
	}
	if err != nil {
		return nil, err
	}
	a.acting.Lock() // one new root key at a time
	defer a.acting.Unlock()
	a.spooling.Lock()
	defer a.spooling.Unlock()
	if err := a.takeSpool(ctx); err != nil {
		return nil, fmt.Errorf("taking accesses into the log: %w", err)
	}
	out, err := a.purge(ctx, agent, of)
	if err != nil {
		return nil, fmt.Errorf("purging the log of accesses: %w", err)
	}
	return out, nil
}

func (a *Archive) purge(ctx context.Context, agent string, of *Tenant) (*AccessLogPurged, error) {
	if err := a.loadSpool(); err != nil {
		return nil, err
	}
	out := &AccessLogPurged{Before: a.keptFrom(of)}
	op := &operation{id: newID(opID), entry: integrity.Entry{Kind: integrity.AccessLogPurged, Tenant: of.ID, Agent: agentID(a.indexKey, agent)}, keys: [][32]byte{newKey()}}
	var keys []uint64
	if a.spool.Key != indexKeyNumber {
		keys = append(keys, a.spool.Key)
	}
	err := a.cat.view(func(t *tx) error {
		return t.eachAccessChunk(func(k []byte, c *accessRecord) error {
			if c.Tenant == of.ID && c.Day < out.Before {
				out.Chunks, out.Records = out.Chunks+1, out.Records+c.Count
				keys = append(keys, c.Key)
				op.deletes = append(op.deletes, record{bucket: bktAccess, key: bytes.Clone(k)})
			}
			return nil
		})
	})
	if err != nil || out.Chunks == 0 {
		return out, err
	}
	state := a.spool.accessState
	op.detail = func(position) any {
		return integrity.AccessLogPurgedDetail{Before: out.Before, Chunks: out.Chunks, Count: out.Records}
	}
	op.records = []func(position) []record{func(p position) []record {
		state.Key = p.key
		return []record{{bktMeta, metaAccesses, mustJSON(state)}}
	}}
	pos, err := a.commitNewRoot(ctx, agent, op, a.config.Slots.kept(), func(t *tx, _ position, root [rootSize]byte) error { return a.rekey(t, keys, root, nil) })
	a.spool.loaded = false // the key is another
	out.Entry = pos.entry
	return out, err
}
