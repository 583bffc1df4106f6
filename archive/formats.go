package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"sae/archive/risk"
)

// FormatLine is what a tenant holds in one format, and the risk of that.
type FormatLine struct {
	PUID      string `json:"puid"` // "" for what is not identified
	Name      string `json:"name,omitempty"`
	Version   string `json:"version,omitempty"`
	MIME      string `json:"mime,omitempty"`
	Objects   int64  `json:"objects"`
	Bytes     int64  `json:"bytes"`
	Units     int64  `json:"units"`
	Converted int64  `json:"converted"` // objects of which there is a copy in another format
	risk.Note
}

// Risks gives the notes on formats in force for a tenant: the program's, and its own.
func (a *Archive) Risks(tenant string) (*risk.Registry, error) {
	of, err := a.tenant(tenant)
	if err != nil || of.Formats == "" {
		return risk.Own(), err
	}
	return risk.Own().WithFile(of.Formats)
}

// Formats counts what a tenant holds by format, greatest risk first. What came beside units, the
// manifests and replies of transfers, is not counted.
func (a *Archive) Formats(ctx context.Context, tenant string, risks *risk.Registry) ([]FormatLine, error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	lines := map[string]*FormatLine{}
	err = a.cat.view(func(t *tx) error {
		return t.eachHolding(ctx, of.ID, "", func(_ *unitRecord, objects []objectRecord) (bool, error) {
			countHolding(lines, objects)
			return true, nil
		})
	})
	if err != nil {
		return nil, err
	}
	out := []FormatLine{}
	for puid, l := range lines {
		l.Note = risks.Of(puid)
		out = append(out, *l)
	}
	slices.SortFunc(out, func(x, y FormatLine) int {
		return cmp.Or(cmp.Compare(risk.Order(x.Risk), risk.Order(y.Risk)), cmp.Compare(y.Objects, x.Objects), cmp.Compare(x.PUID, y.PUID))
	})
	return out, nil
}

// countHolding counts the objects of one unit.
func countHolding(lines map[string]*FormatLine, objects []objectRecord) {
	sources, seen := sourcesOf(objects), map[string]bool{}
	for i := range objects {
		o := &objects[i]
		l := lines[o.Format.PUID]
		if l == nil {
			l = &FormatLine{PUID: o.Format.PUID, Name: o.Format.Name, Version: o.Format.Version, MIME: o.Format.MIME}
			lines[o.Format.PUID] = l
		}
		l.Objects++
		l.Bytes += o.Size
		if sources[o.Object] {
			l.Converted++
		}
		if !seen[l.PUID] {
			seen[l.PUID] = true
			l.Units++
		}
	}
}

// sourcesOf are the objects from which others were made.
func sourcesOf(objects []objectRecord) map[string]bool {
	out := map[string]bool{}
	for _, o := range objects {
		if o.From != "" {
			out[o.From] = true
		}
	}
	return out
}

// eachHolding calls f for every unit of a tenant, as its last version is, behind one in the order
// of identifiers, with its objects, until it returns false.
func (t *tx) eachHolding(ctx context.Context, tenant, after string, f func(u *unitRecord, objects []objectRecord) (bool, error)) error {
	from := []byte(unitID)
	if after != "" {
		from = prefixEnd([]byte(after))
	}
	last := "" // the unit before; its versions stand behind each other
	return t.scan(bktUnit, from, []byte{unitID[0] + 1}, func(k, _ []byte) (bool, error) {
		id, _ := splitUnitKey(k)
		if id == last {
			return true, ctx.Err()
		}
		last = id
		rec, _, err := t.unitRecord(id, 0)
		if errors.Is(err, ErrNotFound) { // not visible yet
			return true, ctx.Err()
		}
		if err != nil || rec.Tenant != tenant || len(rec.Objects) == 0 {
			return err == nil, errors.Join(err, ctx.Err())
		}
		objects := make([]objectRecord, len(rec.Objects))
		for i, o := range rec.Objects {
			if objects[i], _, err = t.objectRecord(o); err != nil {
				return false, err
			}
		}
		more, err := f(&rec, objects)
		return more, errors.Join(err, ctx.Err())
	})
}

// HeldObject is an object in a format, and what there is to know of it. Of a unit that is not open
// to the reader, title, file name and warning are withheld.
type HeldObject struct {
	Unit      string `json:"unit"`
	Title     string `json:"title"`
	Object    string `json:"object"`
	Usage     string `json:"usage"`
	Filename  string `json:"filename"`
	Size      int64  `json:"size"`
	Warning   string `json:"warning,omitempty"` // of the identification
	Converted bool   `json:"converted"`         // there is a copy of it in another format
}

// HeldPage is one page of objects, in the order of the identifiers of their units.
type HeldPage struct {
	Objects []HeldObject `json:"objects"`
	Next    string       `json:"next,omitempty"` // cursor of the next page; "" at the end
}

// FormatUnits gives a page of the units that hold a format ("" for none that is known) and their
// objects in it: limit units, behind the one that after names.
func (r *Reader) FormatUnits(ctx context.Context, tenant, puid, after string, limit int) (page HeldPage, err error) {
	of, err := r.a.tenant(tenant)
	if err != nil {
		return page, err
	}
	if limit < 1 || limit > maxPage || after != "" && !idForm.MatchString(after) {
		return page, &Refusal{Problems: []string{fmt.Sprintf("limit %d, after %q: want 1 to %d units, and the cursor that a page gave", limit, after, maxPage)}}
	}
	page.Objects = []HeldObject{}
	err = r.a.cat.view(func(t *tx) error {
		h, units, last := r.a.heirs(t, "", nil), 0, ""
		return t.eachHolding(ctx, of.ID, after, func(u *unitRecord, objects []objectRecord) (bool, error) {
			if !slices.ContainsFunc(objects, func(o objectRecord) bool { return o.Format.PUID == puid }) {
				return true, nil
			}
			if units == limit {
				page.Next = last
				return false, nil
			}
			units, last = units+1, u.Unit
			held, err := r.held(t, h, u.Unit, puid, sourcesOf(objects))
			page.Objects = append(page.Objects, held...)
			return err == nil, err
		})
	})
	var told []string
	for _, o := range page.Objects {
		if (o.Title != "" || o.Filename != "") && !slices.Contains(told[max(0, len(told)-1):], o.Unit) {
			told = append(told, o.Unit)
		}
	}
	if err == nil {
		err = r.logRead(of.ID, VerbFormats, told)
	}
	if err != nil {
		return HeldPage{}, err
	}
	return page, nil
}

// held describes the objects of a unit in a format.
func (r *Reader) held(t *tx, h *heirs, id, puid string, sources map[string]bool) (out []HeldObject, err error) {
	u, err := r.a.unit(t, id, 0)
	if err == nil {
		u, err = r.shown(t, h, u)
	}
	if err != nil {
		return nil, err
	}
	for _, o := range u.Objects {
		if o.Format.PUID == puid {
			out = append(out, HeldObject{Unit: u.Unit, Title: u.Title, Object: o.ID, Usage: o.Usage, Filename: o.Filename, Size: o.Size,
				Warning: o.Format.Warning, Converted: sources[o.ID]})
		}
	}
	return out, nil
}
