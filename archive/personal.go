package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"sae/integrity"
)

// What a person receives who asks for access to her data (GDPR art. 15), or to take them along (art.
// 20), is a folder that can be read without this program: an index, the documents as they are, all
// that the archive says of them as JSON, and the proof of each.

// PersonalData are what a package holds, as its data.json says.
type PersonalData struct {
	Form      string             `json:"form"` // "sae-personal-data/1"
	Request   string             `json:"request"`
	Article   int                `json:"article"`
	Tenant    string             `json:"archivalAgency"`
	Made      time.Time          `json:"made"`
	Subject   *Subject           `json:"subject,omitempty"`
	Files     []*File            `json:"files"`
	Documents []PersonalDocument `json:"documents"`
	// Withheld are units that are not given, and why.
	Withheld []PersonalWithheld `json:"withheld"`
	// Exports handed out units of the person before: others may hold copies.
	Exports []PersonalExport `json:"exports"`
}

// PersonalDocument is a unit of the package.
type PersonalDocument struct {
	Number  int             `json:"number"`
	Unit    Description     `json:"unit"`
	Folder  bool            `json:"folder,omitempty"`
	Objects []PersonalFile  `json:"objects,omitempty"`
	Proof   string          `json:"proof,omitempty"` // its file; none when it is not sealed yet
	Sealed  *time.Time      `json:"sealed,omitempty"`
	Terms   FileTerms       `json:"retention"`
	History []PersonalEvent `json:"history"`
	Type    string          `json:"typeName,omitempty"` // by the procedure
}

// PersonalFile is an object of the package.
type PersonalFile struct {
	Object string `json:"object"`
	Name   string `json:"name"` // of its file
}

// PersonalEvent is what happened to a unit.
type PersonalEvent struct {
	Time  time.Time      `json:"time"`
	Kind  integrity.Kind `json:"kind"`
	Entry int64          `json:"ledgerEntry"`
}

// PersonalWithheld is a unit that is not given.
type PersonalWithheld struct {
	Unit string `json:"unit"`
	Why  string `json:"why"`
}

// PersonalExport is an export that handed out units of a person.
type PersonalExport struct {
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
	Units   int       `json:"units"`
	Entry   int64     `json:"ledgerEntry"`
}

const personalForm = "sae-personal-data/1"

// ExecuteAccess writes the package of a request for access or portability, as its decision allows, on
// behalf of the reader, who must be an archivist and not who decided; index lays it out for people. The
// package is entered into the ledger as an export. It can be made again until the request is ended.
func (r *Reader) ExecuteAccess(ctx context.Context, request string, w Files, index func(*PersonalData, io.Writer) error) (*PersonalData, error) {
	if err := r.a.knows("request", request); err != nil {
		return nil, err
	}
	a := r.a
	if a.readOnly {
		return nil, ErrReadOnly
	}
	q, err := a.DataRequest(request)
	if err == nil {
		err = a.checkRequestStep(r.agent, q, RequestExecuted)
	}
	if err == nil && q.Article != 15 && q.Article != 20 {
		err = &Refusal{Problems: []string{fmt.Sprintf("request %s is for %s: a package is for access (15) and portability (20)", request, Articles[q.Article])}}
	}
	if err != nil {
		return nil, err
	}
	r = r.For(ForDataSubject, "request "+q.ID)
	p := &PersonalData{Form: personalForm, Request: q.ID, Article: q.Article, Tenant: q.Tenant, Made: now(), Files: []*File{}, Documents: []PersonalDocument{}, Withheld: []PersonalWithheld{}, Exports: []PersonalExport{}}
	units, err := r.gatherPersonal(ctx, q, p)
	if err != nil {
		return nil, fmt.Errorf("gathering what request %s is about: %w", request, err)
	}
	var told []string
	if p.Subject != nil {
		told = append(told, p.Subject.ID)
	}
	for _, u := range units {
		told = append(told, u.Unit)
	}
	if err := r.logRead(q.Tenant, VerbPackage, told); err != nil {
		return nil, err
	}
	if err := r.writePersonal(ctx, p, w, index); err != nil {
		return nil, fmt.Errorf("writing the package of request %s: %w", request, err)
	}
	return p, a.exportPersonal(ctx, r.agent, q, units, p)
}

// gatherPersonal reads what a request is about; units are those that are given.
func (r *Reader) gatherPersonal(ctx context.Context, q *Request, p *PersonalData) (units []*Unit, err error) {
	a := r.a
	err = a.cat.view(func(t *tx) error {
		ids, members, err := a.unitsOfRequest(ctx, t, q)
		if err != nil {
			return err
		}
		if len(members) > 0 {
			if p.Subject, err = a.subject(t, members[0]); err != nil {
				return err
			}
		}
		h, exports := a.heirs(t, "", nil), map[int64]*PersonalExport{}
		for _, id := range ids {
			u, err := a.unit(t, id, 0)
			if err != nil {
				return err
			}
			if why, err := r.keptFromPerson(t, h, u, members); err != nil {
				return err
			} else if why != "" {
				p.Withheld = append(p.Withheld, PersonalWithheld{id, why})
				continue
			}
			if err := r.gatherUnit(t, h, u, p, exports); err != nil {
				return err
			}
			units = append(units, u)
		}
		for _, e := range exports {
			p.Exports = append(p.Exports, *e)
		}
		slices.SortFunc(p.Exports, func(x, y PersonalExport) int { return int(x.Entry - y.Entry) })
		return nil
	})
	if err == nil && len(units) == 0 && p.Subject == nil {
		err = &Refusal{Problems: []string{"there is nothing to give"}}
	}
	return units, err
}

// keptFromPerson says why a person is not given a unit; "" when she is.
func (r *Reader) keptFromPerson(t *tx, h *heirs, u *Unit, members []string) (why string, err error) {
	c, _, err := r.closed(t, h, u)
	if err != nil {
		return "", err
	}
	if c != nil {
		return (&NotOpenError{Units: []*Closed{c}}).Error(), nil
	}
	others, err := r.a.others(t, u, members)
	if err == nil && others {
		why = "it concerns other persons, too (art. 15(4)): give it by hand, without what is theirs"
	}
	return why, err
}

func (r *Reader) gatherUnit(t *tx, h *heirs, u *Unit, p *PersonalData, exports map[int64]*PersonalExport) error {
	if u.File != nil {
		f, err := r.a.file(t, h, r, u, true)
		if err != nil {
			return err
		}
		p.Files = append(p.Files, f)
	}
	in, err := h.ofUnit(u)
	if err != nil {
		return err
	}
	d := PersonalDocument{Number: len(p.Documents) + 1, Unit: u.Description, Folder: len(u.Objects) == 0 && u.Paper == nil, Sealed: u.Sealed, Terms: termsOf(in), History: []PersonalEvent{}}
	for _, f := range p.Files {
		for _, doc := range f.Documents {
			if doc.Unit == u.Unit {
				d.Type = doc.Name
			}
		}
	}
	for _, o := range u.Objects {
		d.Objects = append(d.Objects, PersonalFile{o.ID, d.fileName(o.Filename)})
	}
	if u.Sealed != nil {
		d.Proof = fmt.Sprintf("proofs/%04d.asice", d.Number)
	}
	err = t.scan(bktHist, []byte(u.Unit), prefixEnd([]byte(u.Unit)), func(k, v []byte) (bool, error) {
		e, _, err := t.event(k[len(u.Unit):], v)
		if err != nil {
			return false, err
		}
		if n := len(d.History); n > 0 && d.History[n-1].Entry == e.Index { // of several items
			return true, nil
		}
		d.History = append(d.History, PersonalEvent{e.Entry.Time, e.Entry.Kind, e.Index})
		if e.Entry.Kind != integrity.Export {
			return true, nil
		}
		var x integrity.ExportDetail
		if err := e.Entry.ReadDetail(e.Entry.Kind, &x); err != nil {
			return false, err
		}
		if exports[e.Index] == nil {
			exports[e.Index] = &PersonalExport{Time: e.Entry.Time, Message: x.Message, Entry: e.Index}
		}
		exports[e.Index].Units++
		return true, nil
	})
	p.Documents = append(p.Documents, d)
	return err
}

// fileName is the name of an object's file: numbered as the index numbers it, with no path but its own.
func (d *PersonalDocument) fileName(name string) string {
	name = path.Base(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || r < ' ' {
			return '_'
		}
		return r
	}, name))
	const most = 180 // bytes: what stands before it has its place, too
	if ext := path.Ext(name); len(name) > most {
		if len(ext) > 20 {
			ext = ""
		}
		name = strings.ToValidUTF8(name[:most-len(ext)], "") + ext
	}
	if len(d.Objects) > 0 { // another of the same unit
		name = fmt.Sprintf("%d-%s", len(d.Objects)+1, name)
	}
	return fmt.Sprintf("documents/%04d-%s", d.Number, name)
}

// writePersonal writes the members of the package: index, data, documents, proofs.
func (r *Reader) writePersonal(ctx context.Context, p *PersonalData, w Files, index func(*PersonalData, io.Writer) error) error {
	out, err := w.File("index.pdf")
	if err == nil {
		err = index(p, out)
	}
	if err != nil {
		return err
	}
	if out, err = w.File("data.json"); err == nil {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(p)
	}
	if err != nil {
		return err
	}
	for _, d := range p.Documents {
		for _, o := range d.Objects {
			out, err := w.File(o.Name)
			if err == nil {
				_, _, err = r.a.Get(ctx, o.Object, out)
			}
			if err != nil {
				return err
			}
		}
	}
	for _, d := range p.Documents {
		if d.Proof == "" {
			continue
		}
		out, err := w.File(d.Proof)
		if err == nil {
			err = r.a.Proof(ctx, d.Unit.Unit, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// exportPersonal enters the package into the ledger, so that it is known who else may have the units.
func (a *Archive) exportPersonal(ctx context.Context, agent string, q *Request, units []*Unit, p *PersonalData) error {
	var tree integrity.ItemTree
	detail := integrity.ExportDetail{Message: "PersonalData", Request: q.ID, Units: int64(len(units))}
	for i, u := range units {
		tree.Add([]byte(u.Unit))
		detail.Objects += int64(len(p.Documents[i].Objects))
		for _, o := range u.Objects {
			detail.Bytes += o.Size
		}
	}
	if len(units) > 0 {
		detail.Root = tree.Items().Root
	}
	op := &operation{id: newID(opID), entry: integrity.Entry{Kind: integrity.Export, Tenant: q.Tenant, Agent: agentID(a.indexKey, agent)}, detail: func(position) any { return detail }}
	op.records = append(op.records, func(p position) (out []record) {
		for _, u := range units {
			out = append(out, histRow(u.Unit, p.entry, noItem, u.record.Leaf))
		}
		return out
	})
	if err := a.commitBy(ctx, agent, op); err != nil {
		return fmt.Errorf("recording the package of request %s: %w", q.ID, err)
	}
	return nil
}

// LetterContext are what an answer to a request says beside the decision: what the units are, as long
// as they are there, and to whom they were handed out.
type LetterContext struct {
	Request  *Request
	Opened   RequestWords
	Decided  RequestWords
	Extended RequestWords
	Titles   map[string]string // of units that the person may be told of
	Files    []*File
	Exports  []PersonalExport
}

// LetterContext gathers what an answer says, on behalf of the reader.
func (r *Reader) LetterContext(ctx context.Context, request string) (*LetterContext, error) {
	if err := r.a.knows("request", request); err != nil {
		return nil, err
	}
	a := r.a
	q, err := a.DataRequest(request)
	if err != nil {
		return nil, err
	}
	of, err := a.tenant(q.Tenant)
	if err == nil {
		err = of.mayIfNamed(r.agent, Archivist, DataProtection)
	}
	if err == nil && q.Purged != 0 {
		err = &Refusal{Problems: []string{fmt.Sprintf("what request %s said was destroyed by ledger entry %d: nobody knows any more whom to write to", request, q.Purged)}}
	}
	if err != nil {
		return nil, err
	}
	out := &LetterContext{Request: q, Titles: map[string]string{}}
	p := &PersonalData{}
	reader := r.For(ForDataSubject, "request "+q.ID)
	err = a.cat.view(func(t *tx) (err error) {
		if out.Opened, err = a.requestWords(t, q, RequestOpened); err != nil {
			return err
		}
		if out.Decided, err = a.requestWords(t, q, RequestDecided); err != nil {
			return err
		}
		if out.Extended, err = a.requestWords(t, q, RequestExtended); err != nil {
			return err
		}
		if len(out.Decided.Findings) == 0 { // it was refused: the analysis says why
			w, err := a.requestWords(t, q, RequestAnalysed)
			if err != nil {
				return err
			}
			out.Decided.Findings = w.Findings
		}
		ids, members, err := a.unitsOfRequest(ctx, t, q)
		if err != nil {
			return err
		}
		h, exports := a.heirs(t, "", nil), map[int64]*PersonalExport{}
		for _, id := range ids {
			u, err := a.unit(t, id, 0)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			switch why, err := reader.keptFromPerson(t, h, u, members); {
			case err != nil:
				return err
			case why == "":
				out.Titles[id] = u.Title
			}
			if err := reader.gatherUnit(t, h, u, p, exports); err != nil {
				return err
			}
		}
		for _, e := range exports {
			out.Exports = append(out.Exports, *e)
		}
		slices.SortFunc(out.Exports, func(x, y PersonalExport) int { return int(x.Entry - y.Entry) })
		out.Files = p.Files
		return nil
	})
	if err == nil {
		err = reader.logRead(q.Tenant, VerbLetter, slices.Sorted(maps.Keys(out.Titles)))
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}
