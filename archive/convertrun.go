package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"sae/archive/converter"
	"sae/retention"
	"sae/seda"
)

// ConvertRun says what to convert with a converter of the configuration.
type ConvertRun struct {
	Converter string
	Tenant    string
	Units     []string // none: all of the tenant
	Limit     int      // units to convert at most; 0 for all
	Reason    string
	// Each is called for every unit that was converted, and for every object that could not be;
	// it may be nil.
	Each func(ConvertStep)
}

// ConvertStep is what became of a unit, or of an object that could not be converted.
type ConvertStep struct {
	Unit   string      `json:"unit"`
	Done   *Conversion `json:"done,omitempty"`
	Object string      `json:"object,omitempty"`
	Why    string      `json:"why,omitempty"`
	// Said is the end of what the converter wrote, which may tell of the document: "" when that is
	// not open to who converts.
	Said string `json:"said,omitempty"`
}

// ConvertOutcome is what a run did.
type ConvertOutcome struct {
	Converter string `json:"converter"`
	Tool      string `json:"tool"`
	Units     int64  `json:"units"`   // converted
	Objects   int64  `json:"objects"` // made
	Already   int64  `json:"already"` // objects that were converted before
	Failed    int64  `json:"failed"`  // objects that could not be converted
}

// convertPage is how many units are looked at in one transaction.
const convertPage = 100

// Converters are those of the configuration.
func (a *Archive) Converters() []converter.Config { return a.config.Converters }

// RunConverter converts what a converter takes, on behalf of agent, a unit at a time: each is
// durable when the next begins, and what was converted before is left alone, so that a run that
// was stopped goes on when it is called again. An object that cannot be converted does not stop it.
func (a *Archive) RunConverter(ctx context.Context, agent string, r ConvertRun) (*ConvertOutcome, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	of, err := a.tenant(r.Tenant)
	if err != nil {
		return nil, err
	}
	if err := of.mayIfNamed(agent, Archivist); err != nil {
		return nil, err
	}
	c, err := a.config.converter(r.Converter)
	if err != nil {
		return nil, err
	}
	bad := &Refusal{}
	if strings.TrimSpace(r.Reason) == "" {
		bad.addf("no reason: say why")
	}
	checkText("reason", r.Reason, 10_000, bad)
	if r.Limit < 0 {
		bad.addf("limit %d: want 0 or more", r.Limit)
	}
	if err := errors.Join(bad.orNil(), a.unitsThere(of, r.Units)); err != nil {
		return nil, err
	}
	tool, err := c.ToolName(ctx)
	if err != nil {
		return nil, &Refusal{Problems: []string{fmt.Sprintf("converter %s: %v", c.ID, err)}}
	}
	if err := converter.Sweep(a.convertPrefix()); err != nil {
		a.log.Warn("removing what a killed run left", "error", err)
	}
	run := &convertRun{a: a, r: r, c: c, of: of, agent: agent, out: &ConvertOutcome{Converter: c.ID, Tool: tool}}
	return run.out, run.all(ctx)
}

// unitsThere refuses units that are not the tenant's.
func (a *Archive) unitsThere(of *Tenant, ids []string) error {
	bad := &Refusal{}
	for _, id := range ids {
		u, err := a.Unit(id)
		if err == nil && (u.Tenant != of.ID || !isUnit(id)) {
			err = fmt.Errorf("unit %q: %w", id, ErrNotFound)
		}
		if errors.Is(err, ErrNotFound) {
			bad.addf("%v", err)
		} else if err != nil {
			return err
		}
	}
	return bad.orNil()
}

// converter is one of the configuration.
func (c *Config) converter(id string) (*converter.Config, error) {
	var known []string
	for i := range c.Converters {
		if c.Converters[i].ID == id {
			return &c.Converters[i], nil
		}
		known = append(known, c.Converters[i].ID)
	}
	return nil, &Refusal{Problems: []string{fmt.Sprintf("converter %q is not one of sae.yaml, under converters; known: %v", id, known)}}
}

// convertPrefix begins the names of the folders of this archive's runs; one process at a time
// writes to it.
func (a *Archive) convertPrefix() string { return "sae-convert-" + a.config.Archive + "-" }

// convertRun is a run on its way.
type convertRun struct {
	a     *Archive
	r     ConvertRun
	c     *converter.Config
	of    *Tenant
	agent string
	out   *ConvertOutcome
}

// convertUnit is a unit and its objects that are to be converted.
type convertUnit struct {
	unit    string
	objects []DescribedObject
}

// all converts page by page.
func (x *convertRun) all(ctx context.Context) error {
	after, more := "", true
	units := x.r.Units
	for more {
		var page []convertUnit
		err := x.a.cat.view(func(t *tx) (err error) {
			if len(x.r.Units) == 0 {
				page, after, more, err = x.page(ctx, t, after)
				return err
			}
			n := min(len(units), convertPage)
			page, err = x.named(t, units[:n])
			units = units[n:]
			more = len(units) > 0
			return err
		})
		if err != nil {
			return err
		}
		for _, u := range page {
			if x.r.Limit > 0 && x.out.Units >= int64(x.r.Limit) {
				return nil
			}
			if err := x.unit(ctx, u); err != nil {
				return fmt.Errorf("converting unit %s: %w", u.unit, err)
			}
		}
	}
	return nil
}

// page finds the next units that have something to convert.
func (x *convertRun) page(ctx context.Context, t *tx, after string) (page []convertUnit, next string, more bool, err error) {
	next = after
	err = t.eachHolding(ctx, x.of.ID, after, func(u *unitRecord, objects []objectRecord) (bool, error) {
		if len(page) == convertPage {
			more = true
			return false, nil
		}
		next = u.Unit
		if !slices.ContainsFunc(objects, func(o objectRecord) bool { return slices.Contains(x.c.From, o.Format.PUID) }) {
			return true, nil
		}
		found, err := x.named(t, []string{u.Unit})
		page = append(page, found...)
		return err == nil, err
	})
	return page, next, more, err
}

// named finds what is to be converted in units.
func (x *convertRun) named(t *tx, ids []string) (out []convertUnit, err error) {
	for _, id := range ids {
		u, err := x.a.unit(t, id, 0)
		if err != nil {
			return nil, err
		}
		objects, already := toConvert(&u.Description, x.c)
		x.out.Already += already
		if len(objects) > 0 {
			out = append(out, convertUnit{id, objects})
		}
	}
	return out, nil
}

// toConvert are the objects of a unit that a converter takes, and how many it has converted
// before. Copies for reading are nothing to convert, and what was itself made from an object that
// the converter takes is left to that: a copy of a copy has lost more.
func toConvert(d *Description, c *converter.Config) (out []DescribedObject, already int64) {
	takes := func(o *DescribedObject) bool {
		name, _ := splitUsage(o.Usage)
		return name == converter.BinaryMaster && slices.Contains(c.From, o.Format.PUID)
	}
	for i := range d.Objects {
		o := &d.Objects[i]
		if !takes(o) {
			continue
		}
		above := o
		for above.ConvertedFrom != "" && (above == o || !takes(above)) {
			above = describedObject(d, above.ConvertedFrom)
		}
		switch {
		case above != o && takes(above):
		case hasCopy(d, o.ID, c.UsageOf(), c.To):
			already++
		default:
			out = append(out, *o)
		}
	}
	return out, already
}

// unit converts the objects of one unit.
func (x *convertRun) unit(ctx context.Context, u convertUnit) (err error) {
	folder, err := converter.NewFolder(x.a.convertPrefix())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	req := ConversionRequest{Unit: u.unit, Reason: x.r.Reason}
	for _, o := range u.objects[:min(len(u.objects), maxConverted)] {
		f, err := x.convert(ctx, folder, &o)
		var failed *converter.FailedError
		switch {
		case errors.As(err, &failed):
			x.fail(u.unit, o.ID, failed.Why, failed.Said)
		case err != nil:
			return err
		default:
			req.Files = append(req.Files, *f)
		}
	}
	if len(req.Files) == 0 {
		return nil
	}
	done, err := x.a.Convert(ctx, x.agent, req)
	switch {
	case errors.Is(err, errConverted): // by somebody else meanwhile
		x.out.Already += int64(len(req.Files))
		return nil
	case errors.Is(err, ErrRefused), errors.Is(err, ErrNotFound):
		for _, f := range req.Files {
			x.fail(u.unit, f.Object, err.Error(), "")
		}
		return nil
	case err != nil:
		return err
	}
	x.out.Units++
	x.out.Objects += int64(len(done.Objects))
	x.tell(ConvertStep{Unit: u.unit, Done: done})
	return nil
}

func (x *convertRun) fail(unit, object, why, said string) {
	x.out.Failed++
	if said != "" && x.a.As(x.agent, retention.ToRead).may(unit) != nil {
		said = ""
	}
	x.tell(ConvertStep{Unit: unit, Object: object, Why: why, Said: said})
}

func (x *convertRun) tell(s ConvertStep) {
	if x.r.Each != nil {
		x.r.Each(s)
	}
}

// convert runs the converter on an object.
func (x *convertRun) convert(ctx context.Context, folder *converter.Folder, o *DescribedObject) (*ConvertedFile, error) {
	ext := seda.Extension(o.Filename)
	path, err := x.c.Run(ctx, folder, strings.ToLower(ext), func(w io.Writer) error {
		_, _, err := x.a.Get(ctx, o.ID, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	puid, size, err := identifyFile(path)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(x.c.To, puid) {
		return nil, &converter.FailedError{Why: fmt.Sprintf("the format of what it gave is %s, not %s", cmp.Or(puid, "unknown"), strings.Join(x.c.To, " or "))}
	}
	return &ConvertedFile{Object: o.ID, Usage: x.c.UsageOf(), Tool: x.out.Tool, Formats: x.c.To, Content: &Content{
		Filename: strings.TrimSuffix(o.Filename, ext) + seda.Extension(path), Size: size, Open: func() (io.ReadCloser, error) { return os.Open(path) }}}, nil
}

func identifyFile(path string) (puid string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	return Identify(f, fi.Size(), path), fi.Size(), nil
}
