package seda

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sae/seda/scan"
)

// Transfer is a message with a package, as it was checked.
type Transfer struct {
	Header   Header
	Counts   Counts
	Objects  []Object
	Package  *Package
	Findings Findings
	Rules    []RuleSet // of ManagementMetadata: for all units
	Metadata []byte    // ManagementMetadata, as XML

	c     *checker
	files []string // by object, "" for none
}

// Check reads the manifest of a package and holds it, and what the package holds,
// against the standard. The content of files is not read: see Transfer.Verify.
func Check(p *Package, o Options) (*Transfer, error) {
	t := &Transfer{Package: p}
	r, err := p.Open(p.Manifest)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	defer r.Close()
	t.c, err = checkManifest(r, o, &t.Findings)
	if err != nil {
		return nil, err
	}
	t.Header, t.Counts, t.Objects, t.Rules, t.Metadata = t.c.header, t.c.counts, t.c.objects, t.c.rules, t.c.saved
	if t.c.carries() {
		t.matchFiles()
	}
	return t, nil
}

// matchFiles holds the files that are declared against those that are there.
func (t *Transfer) matchFiles() {
	used := make(map[string]string, len(t.Objects))
	t.files = make([]string, len(t.Objects))
	for i := range t.Objects {
		o := &t.Objects[i]
		if o.URI == "" {
			continue
		}
		if _, ok := cleanName(o.URI); !ok {
			continue // said
		}
		name, ok := t.Package.Resolve(o.URI)
		if !ok {
			t.find(i, FileMissing, Error, "", o.URI)
			continue
		}
		if used[name] != "" {
			t.find(i, FileShared, Warning, "", name)
		}
		used[name], t.files[i] = o.ID, name
		if f, _ := t.Package.File(name); o.Size >= 0 && f.Size != o.Size {
			t.find(i, SizeMismatch, Error, strconv.FormatInt(o.Size, 10), strconv.FormatInt(f.Size, 10))
		}
	}
	for _, f := range t.Package.Files {
		if used[f.Name] == "" && f.Name != t.Package.Manifest {
			t.Findings.Add(Finding{Code: FileUndeclared, Severity: Error, File: f.Name})
		}
	}
}

func (t *Transfer) find(object int, code Code, severity Severity, expected, found string) {
	o := &t.Objects[object]
	t.Findings.Add(Finding{Code: code, Severity: severity, Line: o.Line, ID: o.ID, File: t.files[object], Expected: expected, Found: found})
}

// Identify names the format of content by its PRONOM identifier, "" when unknown.
type Identify func(content io.ReaderAt, size int64, filename string) string

// Verify reads every file once and holds it against the size and digest that are
// declared for it, and against the format when identify is not nil.
func (t *Transfer) Verify(ctx context.Context, identify Identify) error {
	type job struct{ object int }
	jobs := make(chan job)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	workers := runtime.GOMAXPROCS(0)
	if t.Package.Sequential {
		workers = 1
	}
	for range workers {
		wg.Go(func() {
			for j := range jobs {
				found, err := t.verify(ctx, j.object, identify)
				mu.Lock()
				for _, f := range found {
					t.Findings.Add(f)
				}
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	for _, i := range t.inPackageOrder() {
		if ctx.Err() != nil {
			break
		}
		jobs <- job{i}
	}
	close(jobs)
	wg.Wait()
	if err := errors.Join(ctx.Err(), failed); err != nil {
		return err
	}
	return t.verifyInline()
}

// verifyInline verifies content that is in the manifest itself.
func (t *Transfer) verifyInline() error {
	if t.Findings.Refused() || !slices.ContainsFunc(t.Objects, func(o Object) bool { return o.Inline }) {
		return nil
	}
	return t.Walk(func(u *Unit) error {
		for _, o := range u.Objects {
			declared := &t.Objects[o.Index]
			if !declared.Inline {
				continue
			}
			_, content, err := SplitAttachment(o.XML)
			if err != nil {
				return err
			}
			for _, f := range VerifyContent(declared, content) {
				t.Findings.Add(f)
			}
		}
		return nil
	})
}

// VerifyContent holds content against what is declared for it.
func VerifyContent(o *Object, content []byte) []Finding {
	d := NewDigester(o)
	d.Write(content)
	found := d.Findings("")
	if o.Size >= 0 && o.Size != int64(len(content)) {
		found = append(found, Finding{Code: SizeMismatch, Severity: Error, Line: o.Line, ID: o.ID, Expected: strconv.FormatInt(o.Size, 10), Found: strconv.Itoa(len(content))})
	}
	return found
}

// inPackageOrder gives the objects that have a file, as the files lie.
func (t *Transfer) inPackageOrder() []int {
	var out []int
	for i := range t.files {
		if t.files[i] != "" {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b int) int { return t.Package.byName[t.files[a]] - t.Package.byName[t.files[b]] })
	return out
}

// GroupOf gives the XML id of the group of an object, "" for none.
func (t *Transfer) GroupOf(object int) string {
	if g := t.Objects[object].Group; g >= 0 {
		return t.c.graph.names[g]
	}
	return ""
}

// UnitID gives the XML id of a unit.
func (t *Transfer) UnitID(unit int) string { return t.c.graph.names[t.c.graph.units[unit]] }

// Declared gives the data object with an XML id, nil when there is none.
func (t *Transfer) Declared(id string) *Object {
	n, ok := t.c.graph.ids[id]
	if !ok || t.c.graph.things[n].kind != objectThing {
		return nil
	}
	return &t.Objects[t.c.graph.things[n].ref]
}

// Filename is how to call the content of an object: by FileInfo/Filename, else by its
// file in the package.
func (t *Transfer) Filename(object int) string {
	for _, name := range []string{t.Objects[object].Filename, t.FileOf(object)} {
		if i := strings.LastIndexAny(name, `/\`); i >= 0 {
			name = name[i+1:]
		}
		if name != "" && name != "." && name != ".." {
			return name
		}
	}
	return "content"
}

// Place is where the file of an object lies among the files of the package, -1 for none.
func (t *Transfer) Place(object int) int {
	if i, ok := t.Package.byName[t.FileOf(object)]; ok {
		return i
	}
	return -1
}

// FileOf gives the file of an object, "" for none.
func (t *Transfer) FileOf(object int) string {
	if t.files == nil {
		return ""
	}
	return t.files[object]
}

// headSize is how much of a file is kept to name its format.
const headSize = 1 << 20

func (t *Transfer) verify(ctx context.Context, i int, identify Identify) ([]Finding, error) {
	o := &t.Objects[i]
	r, err := t.Package.Open(t.files[i])
	if err != nil {
		return nil, err
	}
	defer r.Close()
	d := NewDigester(o)
	var head bytes.Buffer
	w := io.Writer(d)
	if identify != nil {
		w = io.MultiWriter(d, &prefix{&head, headSize})
	}
	buf := make([]byte, 256<<10)
	if _, err := io.CopyBuffer(w, struct{ io.Reader }{&cancelled{ctx, r}}, buf); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return []Finding{{Code: PackageEntry, Severity: Error, Line: o.Line, ID: o.ID, File: t.files[i], Found: err.Error()}}, nil
	}
	found := d.Findings(t.files[i])
	if identify != nil && o.Format != "" && d.size <= headSize {
		if f := identify(bytes.NewReader(head.Bytes()), d.size, t.files[i]); f != "" && f != o.Format {
			found = append(found, Finding{Code: FormatMismatch, Severity: Warning, Line: o.Line, ID: o.ID, File: t.files[i], Expected: o.Format, Found: f})
		}
	}
	return found, nil
}

// prefix keeps the first bytes of what is written.
type prefix struct {
	b    *bytes.Buffer
	most int
}

func (p *prefix) Write(q []byte) (int, error) {
	p.b.Write(q[:min(len(q), p.most-p.b.Len())])
	return len(q), nil
}

type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Digester holds content that is written to it against what an object declares.
type Digester struct {
	o    *Object
	h    hash.Hash // nil when no digest can be held against it
	size int64
}

// NewDigester begins to read the content of o.
func NewDigester(o *Object) *Digester {
	d := &Digester{o: o}
	if a, ok := digestNamed(o.Algorithm); ok && o.Digest != nil {
		d.h = a.hash.New()
	}
	return d
}

func (d *Digester) Write(p []byte) (int, error) {
	d.size += int64(len(p))
	if d.h != nil {
		d.h.Write(p)
	}
	return len(p), nil
}

// Findings says what is not as declared, once all content was written.
func (d *Digester) Findings(file string) []Finding {
	if d.h == nil {
		return nil
	}
	sum := d.h.Sum(nil)
	if bytes.Equal(sum, d.o.Digest) {
		return nil
	}
	return []Finding{{Code: DigestMismatch, Severity: Error, Line: d.o.Line, ID: d.o.ID, File: file, Expected: hex.EncodeToString(d.o.Digest), Found: hex.EncodeToString(sum)}}
}

// Recognise gives the name of the message of SEDA that path is, alone or in a package, by
// the root element of its manifest; "" when it is none, whatever else it is.
func Recognise(path string) string { return RecogniseIn(disk{}, path) }

// RecogniseIn is Recognise of files that may lie elsewhere: see OpenPackageIn.
func RecogniseIn(fsys fs.FS, path string) string {
	var found Findings
	p, err := OpenPackageIn(fsys, path, &found)
	if err != nil || p == nil {
		return ""
	}
	defer p.Close()
	r, err := p.Open(p.Manifest)
	if err != nil {
		return ""
	}
	defer r.Close()
	head := make([]byte, 1)
	if _, err := io.ReadFull(r, head); err != nil || bytes.IndexByte([]byte("< \t\r\n\xef\xfe\xff"), head[0]) < 0 {
		return "" // no XML begins so
	}
	s := scan.New(io.MultiReader(bytes.NewReader(head), r), scan.DefaultLimits)
	if k, err := s.Next(); err != nil || k != scan.Start {
		return ""
	}
	name := s.Expanded(s.Name())
	if versionOf(name.Space) == 0 {
		return ""
	}
	return name.Local
}
