package certificate

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"sae/integrity"
	"sae/integrity/bundle"
	"sae/integrity/ers"
	"sae/integrity/tsp"
)

// Proved is what a certificate proves of a unit that was destroyed.
type Proved struct {
	Number    int64     `json:"number"`
	Unit      string    `json:"unit"`
	Objects   int       `json:"objects"`
	Archived  time.Time `json:"archived"` // time of the ledger entry of its first version
	Entry     int64     `json:"depositEntry"`
	Sealed    time.Time `json:"sealed"` // genTime over its first version: it existed then
	Destroyed time.Time `json:"destroyed"`
	Under     int64     `json:"destroyedEntry"`
	Attested  time.Time `json:"attested"` // genTime over its tombstone
}

// Report is the outcome of Verify.
type Report struct {
	Verdict     bundle.Verdict `json:"verdict"`
	Elimination string         `json:"elimination"` // or erasure
	Listed      int64          `json:"listed"`
	// Visa is the time of the ledger entry of the visa; of an erasure, of its decision.
	Visa      time.Time `json:"visa"`
	VisaEntry int64     `json:"visaEntry"`
	// Of an erasure: the article of the GDPR, and the request of a data subject.
	Article int               `json:"article,omitempty"`
	Request string            `json:"request,omitempty"`
	Checks  []integrity.Check `json:"checks"`
	Units   []Proved          `json:"units"` // that were destroyed
}

// tombstone is what is read of one.
type tombstone struct {
	Unit    string `json:"unit"`
	Version int    `json:"version"`
	Under   string `json:"under"`
	Visa    int64  `json:"visaEntry"`
	Article int    `json:"article"`
}

// procedure is what must have been done before units go, each step by another person.
type procedure struct {
	steps    []integrity.Kind // in their order; the last is what came of executing
	destroys integrity.Kind
	articles []int // of the GDPR, under which it may be; none but 0 for an elimination
}

var (
	elimination = procedure{[]integrity.Kind{integrity.EliminationProposed, integrity.EliminationAgreed, integrity.EliminationVisaed, integrity.EliminationExecuted}, integrity.Destroyed, []int{0}}
	erasure     = procedure{[]integrity.Kind{integrity.ErasureDecided, integrity.ErasureExecuted}, integrity.Erased, []int{17, 21}}
)

// has reports whether an entry of a kind belongs to the procedure.
func (p *procedure) has(kind integrity.Kind) bool {
	return kind == p.destroys || slices.Contains(p.steps, kind)
}

// verifier holds a certificate while it is verified.
type verifier struct {
	options  bundle.Options
	head     Head
	report   *Report
	by       *procedure // an erasure's when an entry is of one
	entries  map[int64]*known
	order    []integrity.Leaf // entries, as leaves of the ledger
	batches  []*sealed        // by their first leaf
	list     integrity.Recompute
	listed   int64
	problems map[string]error // the first of each check
}

// known is an entry of the certificate.
type known struct {
	integrity.Entry
	proof []integrity.Hash
	items []integrity.Leaf
}

// sealed is a batch of the certificate.
type sealed struct {
	Batch
	leaves []integrity.Leaf
	time   time.Time
}

// The checks, in the order in which they are reported.
const (
	checkKey        = "ledger key known"
	checkCheckpoint = "checkpoint signature"
	checkSeal       = "checkpoint sealed"
	checkLedger     = "entries in the ledger"
	checkProcedure  = "procedure"
	checkList       = "list"
	checkDestroyed  = "tombstones"
	checkItems      = "items of the entries"
	checkEvidence   = "leaves in their batches"
	checkOrder      = "order of times"
)

// Verify verifies a certificate. The error is a *FormError, or of reading r: then there is no
// report. All else is in the report.
func Verify(r io.Reader, o bundle.Options) (*Report, error) {
	v := &verifier{options: o, by: &elimination, report: &Report{Units: []Proved{}}, entries: map[int64]*known{}, problems: map[string]error{}}
	if err := read(r, v.begin, v.entry, v.unit); err != nil {
		return nil, err
	}
	v.checkpoint()
	v.procedure()
	v.items()
	v.stamps()
	v.units()
	v.conclude()
	return v.report, nil
}

// fail notes the first problem of a check.
func (v *verifier) fail(check, format string, args ...any) {
	if v.problems[check] == nil {
		v.problems[check] = fmt.Errorf(format, args...)
	}
}

func (v *verifier) begin(h Head) error {
	v.head = h
	v.report.Elimination, v.report.Listed = h.Elimination, h.Units
	for _, b := range h.Batches {
		v.batches = append(v.batches, &sealed{Batch: b})
	}
	for i, b := range h.Batches {
		if b.Leaves < 1 || b.Leaves > ers.MaxLeaves || b.First > 1<<62 || i > 0 && b.First < h.Batches[i-1].First+uint64(h.Batches[i-1].Leaves)-1 {
			return &FormError{"batches", "they are not one behind the other"}
		}
	}
	return nil
}

func (v *verifier) entry(e Entry) error {
	parsed, err := integrity.ParseEntry(e.Entry)
	if err != nil {
		return &FormError{fmt.Sprintf("entry %d", e.Index), err.Error()}
	}
	if v.entries[e.Index] != nil {
		return &FormError{fmt.Sprintf("entry %d", e.Index), "it stands twice"}
	}
	if erasure.has(parsed.Kind) {
		v.by = &erasure
	}
	v.entries[e.Index] = &known{Entry: parsed, proof: e.Items}
	v.order = append(v.order, integrity.Leaf{Number: e.Index, Hash: tlog.RecordHash(e.Entry)})
	return nil
}

// unit takes a unit of the list.
func (v *verifier) unit(u Listed) error {
	v.listed++
	if u.Number != v.listed {
		return &FormError{fmt.Sprintf("list, element %d", v.listed-1), "it has another number"}
	}
	v.list.Add(fmt.Appendf(nil, "%s %d", u.Unit, u.Version))
	if u.Destroyed == nil {
		return nil
	}
	where := fmt.Sprintf("unit %d of the list", u.Number)
	var stone tombstone
	if err := json.Unmarshal(u.Tombstone, &stone); err != nil || len(u.Salt) != 32 {
		return &FormError{where, "it has no tombstone, or no salt of 32 bytes"}
	}
	p := Proved{Number: u.Number, Unit: u.Unit, Under: u.Destroyed.Entry, Entry: -1}
	switch destroyed := v.entries[u.Destroyed.Entry]; {
	case destroyed == nil || destroyed.Kind != v.by.destroys:
		v.fail(checkDestroyed, "%s: entry %d is not one of destroying", where, u.Destroyed.Entry)
	case stone.Unit != u.Unit || stone.Version != u.Version || stone.Under != v.head.Elimination:
		v.fail(checkDestroyed, "%s: its tombstone is of another unit, or elimination", where)
	default:
		p.Destroyed = destroyed.Time
		var d integrity.DestroyedDetail
		if err := destroyed.ReadDetail(v.by.destroys, &d); err != nil || d.Under != v.head.Elimination || d.Visa != stone.Visa || d.Article != stone.Article {
			v.fail(checkDestroyed, "%s: entry %d destroys under something else", where, u.Destroyed.Entry)
		}
	}
	text, salt := sha256.Sum256(u.Tombstone), sha256.Sum256(u.Salt)
	hash := integrity.Hash(ers.GroupHash(crypto.SHA256, text[:], salt[:]))
	p.Attested = v.commit(where, *u.Destroyed, integrity.Item{Unit: u.Unit, Version: u.Version, Leaf: hash})
	for _, c := range u.Archived {
		at := v.commit(where, c.Place, integrity.Item{Unit: u.Unit, Version: c.Version, Object: c.Object, Leaf: c.Hash})
		e := v.entries[c.Entry]
		switch {
		case c.Object != "":
			p.Objects++
		case e != nil && (p.Entry < 0 || c.Entry < p.Entry):
			p.Entry, p.Archived, p.Sealed = c.Entry, e.Time, at
		}
		if e != nil && c.Entry >= u.Destroyed.Entry {
			v.fail(checkOrder, "%s: it was archived behind its end", where)
		}
	}
	if p.Entry < 0 {
		v.fail(checkDestroyed, "%s: nothing shows that it existed", where)
	}
	v.report.Units = append(v.report.Units, p)
	return nil
}

// batchOf is the batch in which a leaf is, the checkpoint's apart; nil for none.
func (v *verifier) batchOf(leaf uint64) *sealed {
	i := sort.Search(len(v.batches), func(i int) bool { return v.batches[i].First > leaf }) - 1
	if i < 0 || leaf-v.batches[i].First >= uint64(v.batches[i].Leaves-1) {
		return nil
	}
	return v.batches[i]
}

// commit takes a commitment: an item of its entry, and a leaf of its batch. It gives the time
// that the batch's token says.
func (v *verifier) commit(where string, at Place, item integrity.Item) time.Time {
	e, b := v.entries[at.Entry], v.batchOf(at.Leaf)
	if e == nil || b == nil {
		v.fail(checkItems, "%s: entry %d or the batch of leaf %d is not here", where, at.Entry, at.Leaf)
		return time.Time{}
	}
	e.items = append(e.items, integrity.Leaf{Number: at.Item, Hash: tlog.RecordHash(item.Marshal())})
	b.leaves = append(b.leaves, integrity.Leaf{Number: int64(at.Leaf - b.First), Hash: item.Leaf})
	if e.Time.After(v.timeOf(b).Add(clockSkew)) {
		v.fail(checkOrder, "%s: entry %d is younger than the time-stamp over it", where, at.Entry)
	}
	return v.timeOf(b)
}

// clockSkew is allowed between the ledger's clock and an authority's.
const clockSkew = 5 * time.Minute

// timeOf is the time that the token of a batch gives; zero when it does not parse.
func (v *verifier) timeOf(b *sealed) time.Time {
	if b.time.IsZero() {
		if t, err := tsp.Parse(b.Token); err == nil {
			b.time = t.Time.UTC()
		}
	}
	return b.time
}

// checkpoint verifies the checkpoint, and the entries under it.
func (v *verifier) checkpoint() {
	key, err := note.NewVerifier(v.head.LedgerKey)
	if err != nil {
		v.fail(checkCheckpoint, "the ledger key is none: %v", err)
		return
	}
	if known := v.options.LedgerKey; known != "" && known != v.head.LedgerKey {
		v.fail(checkKey, "the certificate carries %s, the verifier knows %s", v.head.LedgerKey, known)
	}
	cp, err := integrity.ParseCheckpoint([]byte(v.head.Checkpoint), key)
	if err != nil {
		v.fail(checkCheckpoint, "%v", err)
		return
	}
	root, err := integrity.RootOfMany(cp.Size, v.order, v.head.Ledger, integrity.CombineRecords)
	if err == nil && root != cp.Root {
		err = errors.New("they are not those of the checkpoint")
	}
	if err != nil {
		v.fail(checkLedger, "%v", err)
	}
}

// procedure verifies that the steps were taken, in their order, each by another person, over
// the list that stands here; of an erasure also that all were under one article and request.
func (v *verifier) procedure() {
	steps := map[integrity.Kind]int64{}
	var refused int64
	agents := map[string]integrity.Kind{}
	kinds := v.by.steps
	executed := kinds[len(kinds)-1]
	for _, l := range v.order {
		e := v.entries[l.Number]
		if other := v.other(); other.has(e.Kind) {
			v.fail(checkProcedure, "entry %d is one of another procedure", l.Number)
		}
		if !slices.Contains(kinds, e.Kind) {
			continue
		}
		var d integrity.EliminationDetail
		if err := e.ReadDetail(e.Kind, &d); err != nil || d.Elimination != v.head.Elimination {
			v.fail(checkProcedure, "entry %d is of another elimination", l.Number)
			continue
		}
		if d.Units != v.listed || d.Root != v.list.Root() {
			v.fail(checkList, "entry %d commits to another list", l.Number)
		}
		if _, twice := steps[e.Kind]; twice || agents[e.Agent] != "" {
			v.fail(checkProcedure, "entry %d: the same step, or person, twice", l.Number)
		}
		if len(steps) == 0 {
			v.report.Article, v.report.Request = d.Article, d.Request
		}
		if d.Article != v.report.Article || d.Request != v.report.Request {
			v.fail(checkProcedure, "entry %d is of another request of a data subject, or article", l.Number)
		}
		steps[e.Kind], agents[e.Agent] = l.Number, e.Kind
		refused += d.Refused
	}
	if !slices.Contains(v.by.articles, v.report.Article) || (v.report.Request == "") != (v.report.Article == 0) {
		v.fail(checkProcedure, "it is under article %d of the GDPR, for request %q", v.report.Article, v.report.Request)
	}
	last := int64(-1)
	for _, kind := range kinds[:len(kinds)-1] {
		n, ok := steps[kind]
		if !ok || n <= last {
			v.fail(checkProcedure, "no %s in its place", kind)
		}
		last = n
	}
	if v.problems[checkProcedure] == nil {
		v.report.VisaEntry, v.report.Visa = last, v.entries[last].Time
	}
	if v.head.Units != v.listed || v.head.Destroyed != int64(len(v.report.Units)) {
		v.fail(checkList, "it has %d units, %d of them destroyed: the head says %d and %d", v.listed, len(v.report.Units), v.head.Units, v.head.Destroyed)
	}
	if int64(len(v.report.Units))+refused > v.listed {
		v.fail(checkProcedure, "more units were destroyed than had the visa")
	}
	for i, l := range v.order {
		e := v.entries[l.Number]
		if i > 0 && e.Time.Before(v.entries[v.order[i-1].Number].Time) {
			v.fail(checkOrder, "entry %d is older than the one before it", l.Number)
		}
		if e.Kind != v.by.destroys {
			continue
		}
		var d integrity.DestroyedDetail
		if err := e.ReadDetail(e.Kind, &d); err != nil || d.Visa != v.report.VisaEntry || l.Number <= d.Visa || d.Article != v.report.Article {
			v.fail(checkProcedure, "entry %d does not destroy under the visa, or the decision", l.Number)
		}
		if n, ok := steps[executed]; ok && l.Number > n {
			v.fail(checkProcedure, "entry %d destroys behind the end", l.Number)
		}
		if step := agents[e.Agent]; step != "" && step != executed {
			v.fail(checkProcedure, "entry %d: who destroyed took another step", l.Number)
		}
	}
}

// other is the procedure that it is not by.
func (v *verifier) other() *procedure {
	if v.by == &erasure {
		return &elimination
	}
	return &erasure
}

// items verifies that the items that stand here are those of their entries; of an entry of
// destroying, all.
func (v *verifier) items() {
	for _, l := range v.order {
		e := v.entries[l.Number]
		if len(e.items) == 0 && len(e.proof) == 0 {
			continue
		}
		if e.Items == nil {
			v.fail(checkItems, "entry %d has none", l.Number)
			continue
		}
		sortLeaves(e.items)
		if e.Kind == v.by.destroys && int64(len(e.items)) != e.Items.Count {
			v.fail(checkItems, "entry %d destroys other units too", l.Number)
		}
		root, err := integrity.RootOfMany(e.Items.Count, e.items, e.proof, integrity.CombineRecords)
		if err == nil && root != e.Items.Root {
			err = errors.New("they are others")
		}
		if err != nil {
			v.fail(checkItems, "entry %d: %v", l.Number, err)
		}
		e.items = nil
	}
}

func sortLeaves(l []integrity.Leaf) {
	slices.SortFunc(l, func(x, y integrity.Leaf) int { return cmp.Compare(x.Number, y.Number) })
}

// stamps verifies each batch under its token; the last leaf of one is the checkpoint.
func (v *verifier) stamps() {
	checkpoint := integrity.Hash(sha256.Sum256([]byte(v.head.Checkpoint)))
	holds := false
	for i, b := range v.batches {
		if i == len(v.batches)-1 {
			b.leaves = append(b.leaves, integrity.Leaf{Number: b.Leaves - 1, Hash: checkpoint})
			holds = true
		}
		sortLeaves(b.leaves)
		target := fmt.Sprintf("batch from leaf %d", b.First)
		root, err := integrity.RootOfMany(b.Leaves, b.leaves, b.Proof, combineEvidence)
		if err != nil {
			v.fail(checkEvidence, "%s: %v", target, err)
			continue
		}
		t, err := tsp.Parse(b.Token)
		if err != nil {
			v.fail(checkEvidence, "%s: %v", target, err)
			continue
		}
		v.report.Checks = append(v.report.Checks, t.Verify(tsp.Expect{Target: target, Hash: crypto.SHA256, Imprint: root[:], Roots: v.options.Roots})...)
		b.leaves = nil
	}
	if !holds {
		v.fail(checkSeal, "no batch is here that holds the checkpoint")
	}
}

// combineEvidence makes a node of the tree of a batch (RFC 4998 section 4.2).
func combineEvidence(l, r integrity.Hash) integrity.Hash {
	if bytes.Compare(l[:], r[:]) > 0 {
		l, r = r, l
	}
	return sha256.Sum256(append(l[:], r[:]...))
}

// units holds against each other what was proved of the units.
func (v *verifier) units() {
	seen := make(map[string]bool, len(v.report.Units))
	for _, u := range v.report.Units {
		if seen[u.Unit] {
			v.fail(checkList, "unit %d stands twice", u.Number)
		}
		seen[u.Unit] = true
	}
	if len(v.report.Units) == 0 {
		v.fail(checkDestroyed, "it proves nothing: no unit was destroyed")
	}
}

func (v *verifier) conclude() {
	var all []integrity.Check
	for _, name := range []string{checkKey, checkCheckpoint, checkSeal, checkLedger, checkProcedure, checkList, checkDestroyed, checkItems, checkEvidence, checkOrder} {
		c := integrity.Check{Name: name, Target: "certificate", Status: integrity.OK}
		if err := v.problems[name]; err != nil {
			c.Status, c.Detail = integrity.Failed, err.Error()
		} else if name == checkKey && v.options.LedgerKey == "" {
			c.Status, c.Detail = integrity.NotCheckable, "no ledger key was given: the checkpoint's signature is verified with the key in the certificate"
		}
		all = append(all, c)
	}
	v.report.Checks = append(all, v.report.Checks...)
	switch {
	case slices.ContainsFunc(v.report.Checks, func(c integrity.Check) bool { return c.Status == integrity.Failed }):
		v.report.Verdict = bundle.NotTrusted
	case v.options.Roots == nil:
		v.report.Verdict = bundle.OwnRoots
	default:
		v.report.Verdict = bundle.Verified
	}
}

// VerifyFile verifies the certificate in a file.
func VerifyFile(path string, o bundle.FileOptions) (*Report, error) {
	options, err := o.Options()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	report, err := Verify(bufio.NewReaderSize(f, 1<<16), options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return report, nil
}

// Verification is a report, of a bundle or of a certificate.
type Verification interface {
	Accepted(ownRoots bool) bool
	WriteText(w io.Writer) error
	Outcome() bundle.Verdict
}

// VerifyAny verifies a proof bundle or, when the file begins as JSON does, a certificate.
func VerifyAny(path string, o bundle.FileOptions) (Verification, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var first [1]byte
	_, err = io.ReadFull(f, first[:])
	f.Close()
	if err == nil && first[0] == '{' {
		return VerifyFile(path, o)
	}
	return bundle.VerifyFile(path, o)
}

// Outcome is the verdict.
func (r *Report) Outcome() bundle.Verdict { return r.Verdict }

// Accepted is as of a bundle's report.
func (r *Report) Accepted(ownRoots bool) bool {
	return r.Verdict == bundle.Verified || r.Verdict == bundle.OwnRoots && ownRoots
}

// told bounds the units that WriteText names.
const told = 100

// WriteText writes the report for a person.
func (r *Report) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	bundle.WriteChecks(b, r.Checks)
	what, visa := "elimination", "visa"
	if r.Article != 0 {
		what, visa = "erasure", fmt.Sprintf("decided for request %s (GDPR art. %d)", bundle.Plain(r.Request), r.Article)
	}
	fmt.Fprintf(b, "\n%s %s: %d units listed, %d destroyed\n", what, bundle.Plain(r.Elimination), r.Listed, len(r.Units))
	if !r.Visa.IsZero() {
		fmt.Fprintf(b, "%s on %s, entry %d of the ledger\n", visa, r.Visa.Format(time.RFC3339), r.VisaEntry)
	}
	for i, u := range r.Units {
		if i == told {
			fmt.Fprintf(b, "\nand %d more: --json names all\n", len(r.Units)-told)
			break
		}
		fmt.Fprintf(b, "\n%d  %s, %d objects\n  archived      %s, entry %d\n  time-stamped  %s\n  destroyed     %s, entry %d; time-stamped %s\n", u.Number, bundle.Plain(u.Unit), u.Objects,
			u.Archived.Format(time.RFC3339), u.Entry, u.Sealed.Format(time.RFC3339), u.Destroyed.Format(time.RFC3339), u.Under, u.Attested.Format(time.RFC3339))
	}
	bundle.WriteVerdict(b, r.Verdict, r.Checks)
	return b.Flush()
}
