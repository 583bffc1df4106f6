package archive

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sae/seda"
)

// Rows of the index bucket: kind, 16 bytes of a keyed hash of the value, leaf
// number -> unit, version. They stand in the order in which units were archived.
// What may tell of a person is in rows of another form: see named.go.
const (
	idxTenant    = 't' // every unit of a tenant
	idxSubject   = 's' // named
	idxAgreement = 'a'
	idxAgency    = 'g'
	idxChannel   = 'c'
	idxChild     = 'p' // by parent
	idxField     = 'f' // named: by an identifier that a SEDA transfer gave, or the title
	idxShared    = 'x' // by a unit to whose objects it refers
	idxPerson    = 'h' // citizen files, by a data subject that they concern
	idxFile      = 'l' // citizen files, by their procedure, and all
	idxMerged    = 'm' // data subjects, by the one that they were merged into
	idxIdentity  = 'i' // named: data subjects, by the pseudonym of a federated identifier
	idxName      = 'n' // named: data subjects, by family name
)

func (a *Archive) indexPrefix(kind byte, tenant, value string) []byte {
	return append([]byte{kind}, keyedHash(a.indexKey, string(kind), tenant, value)[:16]...)
}

// indexRows are the rows by which a unit is found, the named ones as shut wants them. Those of all
// its versions have the same keys, under the leaf of the first, so that a new version takes the place
// of the one before it and a unit stands once in a list, where it always stood.
func (a *Archive) indexRows(r *unitRecord, d *Description) []record {
	value := unitKey(r.Unit, r.Version)
	var rows []record
	add := func(kind byte, v string) {
		if v != "" {
			rows = append(rows, record{bktIndex, append(a.indexPrefix(kind, r.Tenant, v), be64(r.deposited().Leaf)...), value})
		}
	}
	if strings.HasPrefix(r.Unit, unitID) { // the record of a transfer is found by its identifier alone
		add(idxTenant, r.Tenant)
		add(idxAgreement, r.Agreement)
		add(idxAgency, r.Agency)
		add(idxChannel, string(r.Channel))
	}
	if isUnit(r.Unit) && d.Subject != "" {
		rows = append(rows, a.namedRow(idxSubject, r, d.Subject))
	}
	for _, p := range r.Parents {
		add(idxChild, p)
	}
	if d.SEDA != nil {
		for _, f := range d.SEDA.Fields {
			rows = append(rows, a.namedRow(idxField, r, fieldKey(f)))
		}
	}
	for _, s := range d.Shared {
		add(idxShared, s.Unit) // the same row for several objects of one unit
	}
	if isUnit(r.Unit) {
		rows = append(rows, a.ruleIndex(r, d)...)
	}
	if d.File != nil {
		add(idxFile, d.File.Procedure)
		add(idxFile, everyFile)
		for _, p := range d.File.Persons {
			add(idxPerson, p)
		}
	}
	if d.Person != nil {
		add(idxMerged, d.Person.MergedInto)
		for _, i := range d.Person.Identities {
			rows = append(rows, a.namedRow(idxIdentity, r, i.Pseudonym))
		}
		for _, name := range d.Person.names() {
			rows = append(rows, a.namedRow(idxName, r, name))
		}
	}
	return rows
}

func fieldKey(f seda.Field) string { return f.Name + "\x00" + f.Value }

func histRow(unit string, entry, item int64, leaf uint64) record {
	key := append([]byte(unit), itemKey(entry, item)...)
	return record{bktHist, key, be64(leaf)}
}

func parseHistRow(place, leaf []byte) (entry, item int64, n uint64, err error) {
	if len(place) != 16 || len(leaf) != 8 {
		return 0, 0, 0, fmt.Errorf("history row of %d and %d bytes", len(place), len(leaf))
	}
	return int64(binary.BigEndian.Uint64(place)), int64(binary.BigEndian.Uint64(place[8:])), binary.BigEndian.Uint64(leaf), nil
}

func sortEvents(events []Event) {
	slices.SortFunc(events, func(x, y Event) int {
		item := func(e Event) string {
			if e.Item == nil {
				return ""
			}
			return e.Item.Object
		}
		return cmp.Or(cmp.Compare(x.Index, y.Index), cmp.Compare(item(x), item(y)))
	})
}

// children are the units that have u as a parent.
func (a *Archive) children(t *tx, u unitRecord) (out []string, err error) {
	err = t.indexed(a.indexPrefix(idxChild, u.Tenant, u.Unit), 0, ^uint64(0), func(id string, _ int, _ uint64) (bool, error) {
		out = append(out, id)
		return true, nil
	})
	return out, err
}

// indexed calls f for the unit versions under a prefix of the index whose leaves are in
// [from, to), in that order, until it returns false.
func (t *tx) indexed(prefix []byte, from, to uint64, f func(unit string, version int, leaf uint64) (bool, error)) error {
	return t.byLeaf(bktIndex, prefix, from, to, f)
}

func (t *tx) byLeaf(b bucket, prefix []byte, from, to uint64, f func(unit string, version int, leaf uint64) (bool, error)) error {
	end, err := t.end()
	if err != nil {
		return err
	}
	to = min(to, end)
	return t.scan(b, append(prefix, be64(from)...), append(prefix, be64(to)...), func(k, v []byte) (bool, error) {
		id, version := splitUnitKey(v)
		return f(id, version, indexLeaf(k))
	})
}

// indexLeaf is the leaf number in the key of an index row.
func indexLeaf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

func splitUnitKey(k []byte) (unit string, version int) {
	n := len(k) - 4
	return string(k[:n]), int(binary.BigEndian.Uint32(k[n:]))
}

// Filter chooses units; empty fields choose all.
type Filter struct {
	Tenant    string // "" is the first
	Subject   string
	Agreement string
	Agency    string
	Channel   Channel
	State     string    // "pending" or "sealed"
	From, To  time.Time // archived from, and before
	After     string    // cursor: the Next of the page before
	Limit     int       // units on the page; 100 when zero
}

// Page is one page of units.
type Page struct {
	Units []*Unit `json:"units"`
	Next  string  `json:"next,omitempty"` // cursor of the next page; "" at the end
}

// maxPage bounds a page.
const maxPage = 10_000

// List gives a page of the units that a filter chooses, in the order in which
// they were archived. It reads the rows of the narrowest index that the filter
// names.
func (a *Archive) List(f Filter) (page Page, err error) {
	tenant, err := a.tenant(f.Tenant)
	if err != nil {
		return page, err
	}
	f.Tenant = tenant.ID
	if f.Limit == 0 {
		f.Limit = 100
	}
	if err := f.check(); err != nil {
		return page, err
	}
	page.Units = []*Unit{}
	err = a.cat.view(func(t *tx) error {
		from, to, err := a.leafRange(t, f)
		if err != nil {
			return err
		}
		take := func(id string, version int, leaf uint64) (bool, error) {
			if len(page.Units) == f.Limit {
				page.Next = fmt.Sprint(leaf)
				return false, nil
			}
			u, err := a.unit(t, id, version)
			if err == nil && f.chooses(u) && f.during(u) {
				page.Units = append(page.Units, u)
			}
			return err == nil, err
		}
		if f.State == "pending" {
			return t.pendingUnits(tenant.ID, from, take)
		}
		if f.Subject != "" {
			return a.namedBy(t, idxSubject, f.Tenant, f.Subject, from, to, take)
		}
		return t.indexed(a.narrowest(f), from, to, take)
	})
	return page, err
}

// pendingUnits calls f for the units of a tenant of which the last version has a leaf at or
// behind from. It goes through the leaves, and no index, under which a later version stands where
// the first does.
func (t *tx) pendingUnits(tenant string, from uint64, f func(unit string, version int, leaf uint64) (bool, error)) error {
	end, err := t.end()
	if err != nil {
		return err
	}
	return t.scan(bktLeaf, be64(from), be64(end), func(k, row []byte) (bool, error) {
		_, entry, item, err := parseLeafRow(row)
		if err != nil {
			return false, err
		}
		it, err := t.item(entry, item)
		if err != nil || it.Object != "" || !isUnit(it.Unit) {
			return err == nil, err
		}
		last, _, err := t.unitRecord(it.Unit, 0)
		var destroyed *DestroyedError
		switch {
		case errors.As(err, &destroyed):
			return true, nil
		case err != nil || last.Tenant != tenant || last.Version != it.Version:
			return err == nil, err
		}
		return f(it.Unit, it.Version, indexLeaf(k))
	})
}

// during says whether a unit came in the time of the filter and is in its state: its last version
// may have come later than the unit did.
func (f *Filter) during(u *Unit) bool {
	return (f.State != "sealed" || u.Sealed != nil) &&
		(f.From.IsZero() || !u.Archived.Before(f.From)) && (f.To.IsZero() || u.Archived.Before(f.To))
}

func (f *Filter) check() error {
	bad := &Refusal{}
	if f.Limit < 1 || f.Limit > maxPage {
		bad.addf("limit %d: want 1 to %d", f.Limit, maxPage)
	}
	if f.Channel != "" && !slices.Contains(Channels, f.Channel) {
		bad.addf("channel %q is not known: want digital, digitised, paper or both", f.Channel)
	}
	if f.State != "" && f.State != "pending" && f.State != "sealed" {
		bad.addf("state %q is not known: want pending or sealed", f.State)
	}
	return bad.orNil()
}

func (a *Archive) narrowest(f Filter) []byte {
	switch {
	case f.Agency != "":
		return a.indexPrefix(idxAgency, f.Tenant, f.Agency)
	case f.Agreement != "":
		return a.indexPrefix(idxAgreement, f.Tenant, f.Agreement)
	case f.Channel != "":
		return a.indexPrefix(idxChannel, f.Tenant, string(f.Channel))
	}
	return a.indexPrefix(idxTenant, f.Tenant, f.Tenant)
}

// leafRange narrows a list by what is ordered as leaves are: times, seals and the
// cursor.
func (a *Archive) leafRange(t *tx, f Filter) (from, to uint64, err error) {
	to = ^uint64(0)
	if f.After != "" {
		if _, err := fmt.Sscanf(f.After, "%d", &from); err != nil {
			return 0, 0, &Refusal{Problems: []string{fmt.Sprintf("cursor %q is not one that a page gave", f.After)}}
		}
	}
	narrow := func(when time.Time, bound *uint64, closer func(...uint64) uint64) error {
		if when.IsZero() || err != nil {
			return err
		}
		n, err := a.leafAt(t, when)
		*bound = closer(*bound, n)
		return err
	}
	first, err := t.firstPending()
	if err != nil || f.State == "pending" {
		return max(from, first), to, err
	}
	if err := narrow(f.From, &from, maxOf); err != nil {
		return 0, 0, err
	}
	if err := narrow(f.To, &to, minOf); err != nil {
		return 0, 0, err
	}
	if f.State == "sealed" {
		to = min(to, first)
	}
	return from, to, err
}

func maxOf(n ...uint64) uint64 { return slices.Max(n) }
func minOf(n ...uint64) uint64 { return slices.Min(n) }

// leafAt gives the number of the first leaf archived at or after a time.
func (a *Archive) leafAt(t *tx, when time.Time) (uint64, error) {
	entry, err := a.entryAt(t, when)
	if err != nil {
		return 0, err
	}
	return t.firstLeafFrom(entry)
}

// firstLeafFrom gives the number of the first leaf of a ledger entry at or after
// the given one: leaves stand in the order of their entries.
func (t *tx) firstLeafFrom(entry int64) (uint64, error) {
	hi, err := t.end()
	if err != nil {
		return 0, err
	}
	lo := uint64(0)
	for lo < hi {
		mid := lo + (hi-lo)/2
		row, err := t.get(bktLeaf, be64(mid))
		if err != nil {
			return 0, err
		}
		_, e, _, err := parseLeafRow(row)
		if err != nil {
			return 0, err
		}
		if e < entry {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, nil
}

// chooses says whether the filter's other fields choose a unit.
func (f *Filter) chooses(u *Unit) bool {
	return (f.Subject == "" || u.Subject == f.Subject) &&
		(f.Agreement == "" || u.Agreement == f.Agreement) &&
		(f.Agency == "" || u.Agency == f.Agency) &&
		(f.Channel == "" || u.Channel == f.Channel)
}
