package seda

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto/sha512"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PackRequest says how to make a transfer of a folder and a CSV.
type PackRequest struct {
	Folder   string
	CSV      string // path of the CSV
	Header   Header // agreement, agencies, identifier, comment
	Version  Version
	All      bool     // files that the CSV does not name are taken too, by their names
	Identify Identify // may be nil
}

// Pack writes a transfer (a zip) of a folder. The CSV has a line for each unit, in the
// columns that French archivists use: File (a path in the folder; a folder is a unit that
// holds units), or ID, ParentID and File; then the elements of Content, with or without
// "Content." before them, and of "Management.", nested by dots; a number makes several
// of an element (Keyword.0.KeywordContent, Management.AppraisalRule.Rule.1), ".attr"
// gives it an attribute (Title.attr: xml:lang="fr"). The error says line and column.
func Pack(ctx context.Context, r PackRequest, w io.Writer) (*Counts, error) {
	p := &packing{r: r, ctx: ctx, byKey: map[string]*packUnit{}}
	if err := p.readCSV(); err != nil {
		return nil, err
	}
	if err := p.readFolder(); err != nil {
		return nil, err
	}
	p.zip = zip.NewWriter(w)
	e := Export{Message: "ArchiveTransfer", Version: r.Version, Date: time.Now(), Header: r.Header}
	counts := &Counts{}
	for i, u := range p.units {
		unit, object, err := p.unit(i, u)
		if err != nil {
			return nil, err
		}
		e.Units = append(e.Units, unit)
		counts.Units++
		if object != nil {
			e.Objects = append(e.Objects, *object)
			counts.Groups++
			counts.Binary++
			counts.Bytes += object.Size
		}
	}
	m, err := p.zip.CreateHeader(&zip.FileHeader{Name: "manifest.xml", Method: zip.Deflate, Modified: e.Date})
	if err != nil {
		return nil, err
	}
	if _, err := e.Write(m); err != nil {
		return nil, err
	}
	return counts, p.zip.Close()
}

type packing struct {
	r       PackRequest
	ctx     context.Context
	zip     *zip.Writer
	columns []column
	units   []*packUnit
	byKey   map[string]*packUnit // by ID, or by path
	byID    bool
}

// column is a column of the CSV: where its values go.
type column struct {
	name  string
	role  string // "File", "ID", "ParentID", or "" for metadata
	steps []step // from Content or Management on
	attr  bool
}

type step struct {
	name  string
	index int
}

// packUnit is a line of the CSV.
type packUnit struct {
	line     int
	file     string // clean path in the folder; "." for the folder itself, "" for none
	parent   string // key of the parent, "" for none
	id       string
	content  node
	manage   node
	children []int
	isFile   bool
}

// node is an element to be written.
type node struct {
	step
	text, attr string
	children   []*node
}

func (n *node) at(steps []step) *node {
	for _, s := range steps {
		i := slices.IndexFunc(n.children, func(c *node) bool { return c.step == s })
		if i < 0 {
			i = len(n.children)
			n.children = append(n.children, &node{step: s})
		}
		n = n.children[i]
	}
	return n
}

var columnName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(\.([A-Za-z][A-Za-z0-9]*|[0-9]{1,4}))*$`)

// maxRows bounds a CSV.
const maxRows = 2_000_000

func (p *packing) readCSV() error {
	f, err := os.Open(p.r.CSV)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := csvReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", p.r.CSV, err)
	}
	header, err := r.Read()
	if err != nil {
		return p.csvError(err)
	}
	if err := p.readHeader(r, header); err != nil {
		return err
	}
	for {
		row, err := r.Read()
		if err == io.EOF {
			return p.link()
		}
		if err != nil {
			return p.csvError(err)
		}
		if len(p.units) == maxRows {
			return fmt.Errorf("%s: more than %d lines", p.r.CSV, maxRows)
		}
		if err := p.readRow(r, row); err != nil {
			return err
		}
	}
}

// csvReader reads comma or semicolon, as the first line has more of.
func csvReader(f io.Reader) (*csv.Reader, error) {
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	r := csv.NewReader(bytes.NewReader(b))
	first, _, _ := bytes.Cut(b, []byte("\n"))
	if bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		r.Comma = ';'
	}
	return r, nil
}

func (p *packing) csvError(err error) error {
	var parse *csv.ParseError
	switch {
	case errors.As(err, &parse):
		return fmt.Errorf("%s:%d:%d: %w", p.r.CSV, parse.Line, parse.Column, parse.Err)
	case err == io.EOF:
		return fmt.Errorf("%s:1:1: the file is empty; its first line names the columns", p.r.CSV)
	}
	return fmt.Errorf("%s: %w", p.r.CSV, err)
}

func (p *packing) readHeader(r *csv.Reader, header []string) error {
	roles := map[string]bool{}
	for i, name := range header {
		line, col := r.FieldPos(i)
		bad := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d:%d: column %q %s", p.r.CSV, line, col, name, fmt.Sprintf(format, args...))
		}
		c := column{name: name}
		switch strings.ToLower(name) {
		case "file":
			c.role = "File"
		case "id":
			c.role = "ID"
		case "parentid":
			c.role = "ParentID"
		case "objectfiles":
			c.role = "File"
		}
		switch {
		case c.role != "" && roles[c.role] || slices.ContainsFunc(p.columns, func(o column) bool { return o.name == name }):
			return bad("is there twice")
		case c.role != "":
			roles[c.role] = true
		case !columnName.MatchString(name):
			return bad("is no name: letters, digits, and dots between them")
		default:
			if c.steps, c.attr = steps(name); !p.known(c.steps) {
				return bad("is no element of SEDA %s", p.r.Version)
			}
		}
		p.columns = append(p.columns, c)
	}
	p.byID = roles["ID"]
	switch {
	case !roles["File"]:
		return fmt.Errorf("%s:1:1: there is no column File, the path of a file or folder", p.r.CSV)
	case roles["ParentID"] && !roles["ID"]:
		return fmt.Errorf("%s:1:1: there is a column ParentID, but none ID", p.r.CSV)
	}
	return nil
}

// steps reads a column's name: elements, each with the number behind it.
func steps(name string) (out []step, attr bool) {
	parts := strings.Split(name, ".")
	if parts[0] != "Content" && parts[0] != "Management" {
		parts = append([]string{"Content"}, parts...)
	}
	for _, part := range parts {
		if n, err := strconv.Atoi(part); err == nil && len(out) > 0 {
			out[len(out)-1].index = n
		} else if part == "attr" {
			attr = true
		} else {
			out = append(out, step{name: part})
		}
	}
	return out, attr
}

// known reports whether each element is one of the type it would stand in.
func (p *packing) known(steps []step) bool {
	m := modelOf(p.r.Version)
	t := m.types["ArchiveUnitType"]
	for _, s := range steps {
		d := m.element(t.name, s.name)
		if d == nil {
			return false
		}
		t = d.typ
	}
	return t.simple != nil
}

func (p *packing) readRow(r *csv.Reader, row []string) error {
	line, _ := r.FieldPos(0)
	u := &packUnit{line: line}
	for i, v := range row {
		c := &p.columns[i]
		if v == "" && c.role == "" {
			continue
		}
		switch c.role {
		case "File":
			clean, ok := cleanName(strings.ReplaceAll(v, `\`, "/"))
			if v == "." || v == "./" || v == "" && p.byID {
				clean, ok = v, true
			}
			if !ok {
				_, col := r.FieldPos(i)
				return fmt.Errorf("%s:%d:%d: File %q is no relative path", p.r.CSV, line, col, v)
			}
			u.file = strings.TrimSuffix(clean, "/")
		case "ID":
			u.id = v
		case "ParentID":
			u.parent = v
		default:
			n := &u.content
			if c.steps[0].name == "Management" {
				n = &u.manage
			}
			n = n.at(c.steps[1:])
			if c.attr {
				n.attr = v
			} else {
				n.text = v
			}
		}
	}
	key := u.id
	if !p.byID {
		key, u.parent = u.file, ""
		if d := path.Dir(u.file); u.file != "." && d != "." {
			u.parent = d
		} else if u.file != "." {
			u.parent = "."
		}
	}
	if key == "" || p.byKey[key] != nil {
		return fmt.Errorf("%s:%d: %q names no unit, or one that has a line already", p.r.CSV, line, key)
	}
	p.byKey[key] = u
	p.units = append(p.units, u)
	return nil
}

// link finds each unit's parent: by ParentID, or the nearest folder above that has a line.
func (p *packing) link() error {
	for i, u := range p.units {
		parent := u.parent
		if !p.byID {
			for parent != "" && parent != "." && p.byKey[parent] == nil {
				parent = path.Dir(parent)
			}
		}
		above := p.byKey[parent]
		switch {
		case above != nil && above != u:
			above.children = append(above.children, i)
		case p.byID && parent != "":
			return fmt.Errorf("%s:%d: ParentID %q is the ID of no line", p.r.CSV, u.line, parent)
		}
	}
	return nil
}

// readFolder finds what each line names in the folder, and files without a line.
func (p *packing) readFolder() error {
	named := map[string]*packUnit{}
	for _, u := range p.units {
		if u.file == "" {
			continue
		}
		info, err := os.Lstat(filepath.Join(p.r.Folder, filepath.FromSlash(u.file)))
		if err != nil {
			return fmt.Errorf("%s:%d: File %q is not in %s: %w", p.r.CSV, u.line, u.file, p.r.Folder, err)
		}
		if !info.IsDir() && !info.Mode().IsRegular() {
			return fmt.Errorf("%s:%d: File %q is neither a file nor a folder", p.r.CSV, u.line, u.file)
		}
		u.isFile = info.Mode().IsRegular()
		named[u.file] = u
	}
	var unlisted []string
	err := filepath.WalkDir(p.r.Folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(p.r.Folder, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if same, _ := filepath.Abs(name); named[rel] == nil && same != absolute(p.r.CSV) {
			unlisted = append(unlisted, rel)
		}
		return nil
	})
	if err != nil || len(unlisted) == 0 {
		return err
	}
	if !p.r.All {
		return fmt.Errorf("%s names no unit for %d files, the first %q: add lines, or give --all", p.r.CSV, len(unlisted), unlisted[0])
	}
	for _, rel := range unlisted {
		p.addUnlisted(rel)
	}
	return nil
}

func absolute(name string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	return abs
}

func (p *packing) addUnlisted(rel string) {
	u := &packUnit{file: rel, isFile: true}
	u.content.at([]step{{name: "DescriptionLevel"}}).text = "Item"
	u.content.at([]step{{name: "Title"}}).text = path.Base(rel)
	dir := path.Dir(rel)
	for ; dir != "." && (p.byID || p.byKey[dir] == nil); dir = path.Dir(dir) {
	}
	if above := p.byKey[dir]; above != nil && !p.byID {
		above.children = append(above.children, len(p.units))
	}
	p.units = append(p.units, u)
}

func (p *packing) unit(i int, u *packUnit) (ExportUnit, *ExportObject, error) {
	if u.content.child("Title") == nil {
		title := path.Base(u.file)
		if u.file == "." || u.file == "" {
			title = filepath.Base(absolute(p.r.Folder))
		}
		u.content.at([]step{{name: "Title"}}).text = title
	}
	if u.content.child("DescriptionLevel") == nil {
		level := "RecordGrp"
		if u.isFile {
			level = "Item"
		}
		u.content.at([]step{{name: "DescriptionLevel"}}).text = level
	}
	out := ExportUnit{XMLID: fmt.Sprintf("AU%d", i+1), Content: p.fragment("Content", &u.content)}
	if len(u.manage.children) > 0 {
		out.Management = p.fragment("Management", &u.manage)
	}
	for _, c := range u.children {
		out.Children = append(out.Children, fmt.Sprintf("AU%d", c+1))
	}
	if !u.isFile {
		return out, nil, nil
	}
	object, err := p.object(i, u)
	if err == nil {
		out.Groups = []string{object.Group}
	}
	return out, object, err
}

func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (p *packing) fragment(name string, n *node) *Fragment {
	x := &writer{buf: []byte{'\n'}}
	m := modelOf(p.r.Version)
	n.name = name
	n.write(x, m, m.element("ArchiveUnitType", name).typ)
	return &Fragment{XML: x.buf[1:], From: p.r.Version, Rename: func(id string) string { return id }}
}

// write writes an element with its children in the order of its type. What belongs to a
// rule stands behind it.
func (n *node) write(x *writer, m *model, t *complexType) {
	attributes := attributesOf(n.attr)
	if t.simple != nil {
		x.element(n.name, n.text, attributes...)
		return
	}
	x.start(n.name, attributes...)
	rules := m.element(t.name, "Rule") != nil
	place := func(c *node) (int, int) {
		order := m.order(t.name, c.name)
		if rules && order <= m.order(t.name, "PreventInheritance")-1 && c.name != "ClassificationAudience" {
			return c.index, order
		}
		return 10_000 + order, c.index
	}
	slices.SortStableFunc(n.children, func(a, b *node) int {
		a1, a2 := place(a)
		b1, b2 := place(b)
		return cmp.Or(cmp.Compare(a1, b1), cmp.Compare(a2, b2))
	})
	for _, c := range n.children {
		c.write(x, m, m.element(t.name, c.name).typ)
	}
	x.end()
}

var attributeForm = regexp.MustCompile(`([A-Za-z][A-Za-z:]*)\s*=\s*"([^"]*)"`)

func attributesOf(s string) (out []string) {
	for _, m := range attributeForm.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1], m[2])
	}
	return out
}

// object copies a file into the package and describes it.
func (p *packing) object(i int, u *packUnit) (*ExportObject, error) {
	name := filepath.Join(p.r.Folder, filepath.FromSlash(u.file))
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	out := &ExportObject{XMLID: fmt.Sprintf("BDO%d", i+1), Group: fmt.Sprintf("DOG%d", i+1), Usage: "BinaryMaster_1", Algorithm: "SHA-512", Filename: path.Base(u.file),
		URI: fmt.Sprintf("Content/BDO%d%s", i+1, Extension(u.file))}
	if p.r.Identify != nil {
		out.Format = p.r.Identify(f, info.Size(), u.file)
	}
	w, err := p.zip.CreateHeader(&zip.FileHeader{Name: out.URI, Method: zip.Deflate, Modified: info.ModTime()})
	if err != nil {
		return nil, err
	}
	sum := sha512.New()
	out.Size, err = io.Copy(io.MultiWriter(w, sum), &cancelled{p.ctx, f})
	if err == nil && out.Size != info.Size() {
		err = errors.New("the file changed while it was read")
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	out.Digest = hex.EncodeToString(sum.Sum(nil))
	return out, nil
}

// Extension is the extension of a file name, when it is a plain one: letters and digits.
func Extension(name string) string {
	ext := path.Ext(name)
	if len(ext) < 2 || len(ext) > 11 || strings.Trim(ext[1:], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return ""
	}
	return ext
}
